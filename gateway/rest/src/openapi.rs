//! The routes, and the document that is generated from them.
//!
//! Every route is registered through its annotated handler, so the document cannot miss one; a test
//! walks both ways.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router, middleware};
use lakegate_catalog::ErrorKind;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Components, InfoBuilder, License, OpenApi, OpenApiBuilder, SecurityRequirement, Server};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::problem::Problem;
use crate::{
    dataset_change, datasets, docs, edge, events, grants, groups, health, ingest, jobs, login, maintenance, metrics,
    namespaces, observe, page, policy, principals, queries, query, receipts, refusals, rows, tokens, versions, whoami,
};

/// Bytes of a request body other than a push.
const MAX_REQUEST: usize = 1 << 20;

fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::with_openapi(frame())
        .routes(routes!(page::start_page))
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .routes(routes!(metrics::metrics))
        .routes(routes!(openapi_json))
        .routes(routes!(docs::docs))
        .routes(routes!(datasets::list_datasets, datasets::create_dataset))
        .routes(routes!(datasets::show_dataset, dataset_change::change_dataset, datasets::delete_dataset))
        .routes(routes!(policy::show_policy, policy::put_policy, policy::delete_policy))
        .routes(routes!(versions::list_versions))
        .routes(routes!(rows::read_rows))
        .routes(routes!(maintenance::compact))
        .routes(routes!(maintenance::vacuum))
        .routes(routes!(query::query, query::query_by_url))
        .routes(routes!(queries::list_queries))
        .routes(routes!(queries::show_query, queries::cancel_query))
        .routes(routes!(jobs::list_jobs, jobs::submit::submit_job))
        .routes(routes!(jobs::show_job, jobs::cancel_job))
        .routes(routes!(jobs::show_log))
        .routes(routes!(jobs::follow::follow_job))
        .routes(routes!(jobs::result::job_result))
        .routes(routes!(receipts::show_receipt))
        .routes(routes!(whoami::whoami))
        .routes(routes!(principals::list_principals, principals::create_principal))
        .routes(routes!(principals::delete_principal))
        .routes(routes!(principals::set_password, principals::remove_password))
        .routes(routes!(groups::list_groups, groups::create_group))
        .routes(routes!(groups::delete_group))
        .routes(routes!(groups::list_members))
        .routes(routes!(groups::add_member, groups::remove_member))
        .routes(routes!(namespaces::list_namespaces, namespaces::create_namespace))
        .routes(routes!(namespaces::delete_namespace))
        .routes(routes!(events::follow))
        .routes(routes!(login::log_in))
        .routes(routes!(tokens::list_tokens, tokens::create_token))
        .routes(routes!(tokens::revoke_token))
        .routes(routes!(grants::list_grants, grants::put_grant, grants::delete_grant))
        .layer(DefaultBodyLimit::max(MAX_REQUEST))
        // A push has its own, streaming bounds.
        .routes(routes!(ingest::ingest))
}

/// The service. Every request passes [`observe::observe`].
pub fn router(app: Arc<App>) -> Router {
    let (router, _) = routes().split_for_parts();
    let router = router
        // Parts of the page at /docs, which is in the document.
        .route("/docs/", get(docs::page))
        .route("/docs/{*part}", get(docs::page))
        .fallback(no_route)
        .method_not_allowed_fallback(wrong_method)
        .layer(CatchPanicLayer::custom(observe::panicked));
    let router = match app.edge.cors() {
        Some(cors) => router.layer(cors),
        None => router,
    };
    router
        .layer(middleware::from_fn_with_state(Arc::clone(&app), edge::admit))
        .layer(middleware::from_fn_with_state(Arc::clone(&app), observe::observe))
        .with_state(app)
}

/// The API document, OpenAPI 3.1.
pub fn document() -> OpenApi {
    let mut document = routes().into_openapi();
    refusals::complete(&mut document);
    document
}

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "service", responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json", body = serde_json::Value)))]
pub(crate) async fn openapi_json(State(app): State<Arc<App>>, request: Request) -> Json<OpenApi> {
    let mut document = document();
    document.servers = app.edge.base(&request).map(|base| vec![Server::new(base)]);
    Json(document)
}

fn frame() -> OpenApi {
    let token = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("lg_…")
        .description(Some("A Lakegate API token. Public datasets can be read without one."))
        .build();
    let mut components = Components::new();
    components.add_security_scheme("token", SecurityScheme::Http(token));
    let info = InfoBuilder::new()
        .title("Lakegate")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("Push rows, ask SQL. Errors are RFC 9457 problem documents with a stable `code`."))
        .license(Some(License::new("Apache-2.0")))
        .build();
    OpenApiBuilder::new()
        .info(info)
        .components(Some(components))
        .security(Some([SecurityRequirement::default(), SecurityRequirement::new("token", [] as [&str; 0])]))
        .build()
}

async fn no_route(request: Request) -> Response {
    let detail = format!("there is nothing at {}; /openapi.json lists what there is", clip(request.uri().path()));
    Problem::new(ErrorKind::NotFound, "not_found", detail).into_response()
}

async fn wrong_method(request: Request) -> Response {
    let detail = format!("{} is not a method of {}", clip(request.method().as_str()), clip(request.uri().path()));
    Problem::new(ErrorKind::Unsupported, "method_not_allowed", detail).into_response()
}

fn clip(text: &str) -> String {
    text.chars().take(100).collect()
}
