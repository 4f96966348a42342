//! The catalog over HTTP keeps the contract of every catalog.

use std::sync::Arc;
use std::time::Duration;

use lakegate_catalog::{
    ApiToken, Catalog, MemoryCatalog, NewPrincipal, NewToken, PrincipalKind, Principals as _, TokenScope, contract,
};
use lakegate_catalog_http::{Companion, HttpCatalog, HttpOptions, routes};

/// A token of a new principal of this kind.
async fn token(catalog: &MemoryCatalog, name: &str, kind: PrincipalKind) -> ApiToken {
    let principal =
        catalog.create_principal(NewPrincipal { name: name.to_owned(), kind, external: None }).await.expect("created");
    let token = ApiToken::generate();
    let new = NewToken {
        principal: principal.id,
        name: "test".to_owned(),
        hash: token.hash(),
        expires_at: None,
        scope: TokenScope::default(),
    };
    catalog.create_token(new).await.expect("kept");
    token
}

async fn serve(catalog: Arc<MemoryCatalog>, gateways: Arc<MemoryCatalog>) -> String {
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", socket.local_addr().expect("bound"));
    tokio::spawn(async move { axum::serve(socket, routes(Companion::new(catalog, gateways))).await });
    url
}

fn client(url: &str, token: ApiToken) -> HttpCatalog {
    let timeout = Duration::from_secs(10);
    let options = HttpOptions { url: url.parse().expect("a URL"), token, trusted: None, timeout };
    HttpCatalog::new(options).expect("a client")
}

async fn make() -> Arc<dyn Catalog> {
    // Apart, so that the catalog under test is empty.
    let gateways = Arc::new(MemoryCatalog::new());
    let token = token(&gateways, "gateway", PrincipalKind::Gateway).await;
    Arc::new(client(&serve(Arc::default(), gateways).await, token))
}

#[tokio::test]
async fn keeps_the_contract_of_datasets() {
    contract::datasets(make).await;
}

#[tokio::test]
async fn keeps_the_contract_of_principals() {
    contract::principals(make).await;
}

#[tokio::test]
async fn keeps_the_contract_of_groups() {
    contract::groups(make).await;
}

#[tokio::test]
async fn keeps_the_contract_of_grants() {
    contract::grants(make).await;
}

#[tokio::test]
async fn keeps_the_contract_of_events() {
    contract::events(make).await;
}

#[tokio::test]
async fn keeps_the_contract_of_jobs() {
    contract::jobs(make).await;
}

#[tokio::test]
async fn keeps_the_contract_of_the_audit() {
    contract::audit(make).await;
}

#[tokio::test]
async fn keeps_the_contract_of_the_first_owner() {
    contract::owner(make).await;
}

#[tokio::test]
async fn keeps_the_contract_in_races() {
    contract::races(make).await;
}

#[tokio::test]
async fn only_gateways_are_let_in() {
    let catalog = Arc::new(MemoryCatalog::new());
    let user = token(&catalog, "ann", PrincipalKind::User).await;
    let service = token(&catalog, "loader", PrincipalKind::Service).await;
    let gateway = token(&catalog, "gate", PrincipalKind::Gateway).await;
    let url = serve(Arc::clone(&catalog), catalog).await;
    for stranger in [user, service, ApiToken::generate()] {
        let error = client(&url, stranger).ping().await.expect_err("refused");
        assert_eq!(error.code(), "catalog_unavailable");
        assert!(error.to_string().contains("401"), "{error}");
    }
    client(&url, gateway).ping().await.expect("let in");
}

#[tokio::test]
async fn a_companion_that_is_away_is_unavailable() {
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", socket.local_addr().expect("bound"));
    drop(socket);
    let error = client(&url, ApiToken::generate()).ping().await.expect_err("away");
    assert_eq!(error.code(), "catalog_unavailable", "{error}");
}
