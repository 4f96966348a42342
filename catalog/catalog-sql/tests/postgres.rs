//! The catalog on a real PostgreSQL, each test in schemas of its own.
//!
//! `make test` starts the server, or: `sh scripts/with-postgres.sh cargo nextest run -p lakegate-catalog-sql`

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use lakegate_catalog::{
    Catalog, Claim, DatasetName, Datasets as _, Events as _, Grants as _, Groups as _, Jobs as _, Namespace, NewJob,
    Scope, contract, ensure_owner,
};
use lakegate_catalog::{Column, ColumnType, NewDataset, NewPrincipal, PrincipalKind, Principals as _};
use lakegate_catalog_sql::{ConnectError, SCHEMA_VERSION, SqlCatalog, SqlOptions};
use sqlx::Connection as _;

mod old;
use old::VERSION_4;

/// A URL of an empty schema.
#[expect(clippy::disallowed_methods, reason = "which server to test with is no setting of Lakegate")]
async fn fresh_url() -> String {
    let server = std::env::var("LAKEGATE_TEST_POSTGRES").expect(
        "no PostgreSQL to test with: run `make test`, or `sh scripts/with-postgres.sh cargo nextest run -p \
         lakegate-catalog-sql`",
    );
    let schema = format!("test_{}", uuid::Uuid::new_v4().simple());
    run(&server, format!("CREATE SCHEMA {schema}")).await;
    let and = if server.contains('?') { '&' } else { '?' };
    format!("{server}{and}options=-c%20search_path%3D{schema}")
}

/// Runs statements behind the catalog's back.
async fn run(url: &str, sql: String) {
    let mut connection = sqlx::PgConnection::connect(url).await.expect("the server answers");
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut connection).await.expect("the statement runs");
    connection.close().await.expect("closed");
}

async fn open(url: &str) -> SqlCatalog {
    SqlCatalog::connect(url, &SqlOptions::default()).await.expect("the catalog opens")
}

async fn make() -> Arc<dyn Catalog> {
    Arc::new(open(&fresh_url().await).await)
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
async fn several_may_open_a_new_database_at_once() {
    let (url, options) = (fresh_url().await, SqlOptions::default());
    let opened = join_all((0..6).map(|_| SqlCatalog::connect(&url, &options))).await;
    let catalogs: Vec<_> = opened.into_iter().map(|catalog| catalog.expect("it opens")).collect();
    let made = join_all(catalogs.iter().map(|catalog| ensure_owner(catalog, "owner"))).await;
    assert_eq!(made.into_iter().filter(|token| token.as_ref().expect("answer").is_some()).count(), 1);
}

#[tokio::test]
async fn an_older_database_is_brought_up_to_date() {
    let url = fresh_url().await;
    let catalog = open(&url).await;
    ensure_owner(&catalog, "owner").await.expect("made");
    let before = catalog.grants_on(&Scope::Instance).await.expect("answer");
    catalog.close().await;
    run(&url, VERSION_4.to_owned()).await;
    let catalog = open(&url).await;
    assert_eq!(catalog.grants_on(&Scope::Instance).await.expect("answer"), before);
    catalog.create_group("crew").await.expect("made");
}

#[tokio::test]
async fn a_newer_database_is_refused() {
    let url = fresh_url().await;
    open(&url).await.close().await;
    run(&url, "UPDATE schema_version SET version = version + 1".to_owned()).await;
    let Err(error) = SqlCatalog::connect(&url, &SqlOptions::default()).await else {
        panic!("a newer database must be refused");
    };
    assert!(matches!(error, ConnectError::TooNew { found } if found == SCHEMA_VERSION + 1), "{error}");
}

/// Another session deletes the owner between the check and the end of the transaction: the foreign key fails,
/// the transaction runs again, and the second check answers.
#[tokio::test]
async fn a_check_that_went_stale_is_made_again() {
    let url = fresh_url().await;
    let catalog = open(&url).await;
    catalog.ensure_namespace(&Namespace::new("n").expect("valid")).await.expect("made");
    let bob = NewPrincipal { name: "bob".to_owned(), kind: PrincipalKind::User, external: None };
    let bob = catalog.create_principal(bob).await.expect("made");

    let mut other = sqlx::PgConnection::connect(&url).await.expect("the server answers");
    sqlx::raw_sql("BEGIN; DELETE FROM principals WHERE name = 'bob'").execute(&mut other).await.expect("deleted");
    let name: DatasetName = "n.d".parse().expect("valid");
    let new = NewDataset::root(name, vec![Column::new("a", ColumnType::Int)]);
    let create = catalog.create_dataset(new, bob.id);
    let commit = async {
        // Only once the creation waits for the other session's lock has its check gone stale.
        let mut watch = sqlx::PgConnection::connect(&url).await.expect("the server answers");
        let waiting = "SELECT COUNT(*) FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
             WHERE NOT l.granted AND a.query LIKE 'INSERT INTO grants%'";
        let deadline = Instant::now() + Duration::from_secs(8);
        while sqlx::query_scalar::<_, i64>(waiting).fetch_one(&mut watch).await.expect("answer") == 0 {
            assert!(Instant::now() < deadline, "the creation never waited");
            tokio::task::yield_now().await;
        }
        sqlx::raw_sql("COMMIT").execute(&mut other).await.expect("committed");
    };
    let (created, ()) = futures::join!(create, commit);
    assert_eq!(created.expect_err("bob is gone").code(), "not_found");
}

/// A transaction that tells of something and stays open holds up whoever tells after it: nobody sees the later event before
/// the earlier one.
#[tokio::test]
async fn an_event_of_an_open_transaction_is_not_skipped() {
    let url = fresh_url().await;
    let catalog = open(&url).await;
    let last = catalog.last_event().await.expect("answer");
    let mut other = sqlx::PgConnection::connect(&url).await.expect("the server answers");
    let open = format!(
        "BEGIN; UPDATE event_counter SET last = last + 1;
         INSERT INTO events VALUES ({}, 0, '{{\"type\":\"rights_changed\"}}')",
        last + 1
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(open)).execute(&mut other).await.expect("told");
    let group = catalog.create_group("crew").await.expect("tells nothing");
    let delete = catalog.delete_group(group.id);
    let commit = async {
        let mut watch = sqlx::PgConnection::connect(&url).await.expect("the server answers");
        let waiting = "SELECT COUNT(*) FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
             WHERE NOT l.granted AND a.query LIKE 'UPDATE event_counter%'";
        let deadline = Instant::now() + Duration::from_secs(8);
        while sqlx::query_scalar::<_, i64>(waiting).fetch_one(&mut watch).await.expect("answer") == 0 {
            assert!(Instant::now() < deadline, "the later one never waited");
            tokio::task::yield_now().await;
        }
        assert!(catalog.events(last, 10).await.expect("a feed").events.is_empty());
        sqlx::raw_sql("COMMIT").execute(&mut other).await.expect("committed");
    };
    let (deleted, ()) = futures::join!(delete, commit);
    deleted.expect("deleted");
    let ids: Vec<_> = catalog.events(last, 10).await.expect("a feed").events.iter().map(|event| event.id).collect();
    assert_eq!(ids, [last + 1, last + 2]);
}

/// Whoever waits in one process is woken by what another writes.
#[tokio::test]
async fn events_of_another_process_wake() {
    let url = fresh_url().await;
    let (here, there) = (open(&url).await, open(&url).await);
    let group = there.create_group("crew").await.expect("made");
    let last = here.last_event().await.expect("answer");
    let (woken, gone) =
        futures::join!(here.wait_for_event(last, Duration::from_secs(30)), there.delete_group(group.id));
    gone.expect("deleted");
    assert_eq!(woken.expect("answer"), last + 1);
}

/// A lock that somebody else holds costs a call its deadline, not for ever, and the catalog goes on.
#[tokio::test]
async fn what_the_server_cannot_hold_is_refused_and_not_tried_again() {
    let catalog = open(&fresh_url().await).await;
    catalog.submit_job(NewJob::new("work", "ann")).await.expect("submitted");
    let claim = |worker: &str| Claim {
        kinds: ["work".to_owned()].into(),
        worker: worker.to_owned(),
        lease: Duration::from_secs(60),
        per_tenant: 1,
    };
    let error = catalog.claim_job(&claim("a\0b")).await.expect_err("no text of PostgreSQL has NUL");
    assert_eq!(error.code(), "invalid_name", "{error}");
    assert!(catalog.claim_job(&claim("ab")).await.expect("answer").is_some(), "nothing came of it");
}

#[tokio::test]
async fn a_call_ends_at_its_deadline() {
    let url = fresh_url().await;
    let options = SqlOptions { max_connections: 1, timeout: Duration::from_millis(300) };
    open(&url).await.close().await;
    let catalog = SqlCatalog::connect(&url, &options).await.expect("it opens");
    let mut other = sqlx::PgConnection::connect(&url).await.expect("the server answers");
    sqlx::raw_sql("BEGIN; UPDATE instance SET changes = 0").execute(&mut other).await.expect("locked");
    let error = ensure_owner(&catalog, "owner").await.expect_err("the row is locked");
    assert_eq!(error.code(), "catalog_unavailable", "{error}");
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.expect("unlocked");
    assert!(ensure_owner(&catalog, "owner").await.expect("answer").is_some());
}
