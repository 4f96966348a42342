//! The catalog on SQLite, in files of their own.

use std::sync::Arc;

use futures::future::join_all;
use lakegate_catalog::{
    Catalog, Datasets as _, Grants as _, LakeId, Namespace, Principals as _, Role, contract, ensure_owner,
};
use lakegate_catalog_sql::{ConnectError, SCHEMA_VERSION, SqlCatalog, SqlOptions};
use sqlx::Connection as _;
use tempfile::TempDir;

mod old;
use old::VERSION_4;

fn url(folder: &TempDir) -> String {
    format!("sqlite:{}", folder.path().join("catalog's db?#%20.db").display())
}

async fn open(url: &str) -> SqlCatalog {
    SqlCatalog::connect(url, &SqlOptions::default()).await.expect("the catalog opens")
}

/// Catalogs in one folder that lives as long as the test.
struct Fresh(TempDir);

impl Fresh {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    async fn catalog(&self) -> Arc<dyn Catalog> {
        let file = self.0.path().join(format!("{}.db", uuid::Uuid::new_v4()));
        Arc::new(open(&format!("sqlite:{}", file.display())).await)
    }
}

#[tokio::test]
async fn keeps_the_contract_of_datasets() {
    let fresh = Fresh::new();
    contract::datasets(async || fresh.catalog().await).await;
}

#[tokio::test]
async fn keeps_the_contract_of_principals() {
    let fresh = Fresh::new();
    contract::principals(async || fresh.catalog().await).await;
}

#[tokio::test]
async fn keeps_the_contract_of_groups() {
    let fresh = Fresh::new();
    contract::groups(async || fresh.catalog().await).await;
}

#[tokio::test]
async fn keeps_the_contract_of_grants() {
    let fresh = Fresh::new();
    contract::grants(async || fresh.catalog().await).await;
}

#[tokio::test]
async fn keeps_the_contract_of_events() {
    let fresh = Fresh::new();
    contract::events(async || fresh.catalog().await).await;
}

#[tokio::test]
async fn keeps_the_contract_of_jobs() {
    let fresh = Fresh::new();
    contract::jobs(async || fresh.catalog().await).await;
}

#[tokio::test]
async fn keeps_the_contract_of_the_audit() {
    let fresh = Fresh::new();
    contract::audit(async || fresh.catalog().await).await;
}

#[tokio::test]
async fn keeps_the_contract_of_the_first_owner() {
    let fresh = Fresh::new();
    contract::owner(async || fresh.catalog().await).await;
}

#[tokio::test]
async fn keeps_the_contract_in_races() {
    let fresh = Fresh::new();
    contract::races(async || fresh.catalog().await).await;
}

#[tokio::test]
async fn what_was_written_is_there_after_opening_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let namespace = Namespace::new("geo").expect("valid");
    let first = open(&url(&folder)).await;
    first.ensure_namespace(&namespace).await.expect("written");
    first.close().await;
    assert!(first.ping().await.is_err(), "a closed catalog does not answer");
    let second = open(&url(&folder)).await;
    assert!(second.namespace_exists(&namespace).await.expect("answer"));
}

#[tokio::test]
async fn several_may_open_a_new_file_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let (url, options) = (url(&folder), SqlOptions::default());
    let opened = join_all((0..6).map(|_| SqlCatalog::connect(&url, &options))).await;
    let catalogs: Vec<_> = opened.into_iter().map(|catalog| catalog.expect("it opens")).collect();
    let made = join_all(catalogs.iter().map(|catalog| ensure_owner(catalog, "owner"))).await;
    assert_eq!(made.into_iter().filter(|token| token.as_ref().expect("answer").is_some()).count(), 1);
}

/// Runs statements in the file behind the catalog's back.
async fn tamper(url: &str, sql: impl Into<String>) {
    let path = url.trim_start_matches("sqlite:");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
    let mut connection = sqlx::SqliteConnection::connect_with(&options).await.expect("the file opens");
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql.into())).execute(&mut connection).await.expect("the statement runs");
    connection.close().await.expect("closed");
}

#[tokio::test]
async fn a_newer_database_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = url(&folder);
    open(&url).await.close().await;
    tamper(&url, "UPDATE schema_version SET version = version + 1").await;
    for _ in 0..2 {
        let Err(error) = SqlCatalog::connect(&url, &SqlOptions::default()).await else {
            panic!("a newer database must be refused");
        };
        assert!(matches!(error, ConnectError::TooNew { found } if found == SCHEMA_VERSION + 1), "{error}");
        assert_eq!(error.code(), "catalog_too_new");
    }
}

#[tokio::test]
async fn an_older_database_is_copied_before_it_is_brought_up_to_date() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = url(&folder);
    let catalog = open(&url).await;
    ensure_owner(&catalog, "owner").await.expect("made");
    catalog.close().await;
    // As version 1 left it.
    let version_1 = "ALTER TABLE datasets DROP COLUMN schema_version; ALTER TABLE instance DROP COLUMN signing_key; \
         ALTER TABLE instance DROP COLUMN lake_id; UPDATE grants SET role = 3; UPDATE schema_version SET version = 1";
    tamper(&url, [VERSION_4, version_1].concat()).await;
    let options = SqlOptions::default();
    for catalog in join_all((0..3).map(|_| SqlCatalog::connect(&url, &options))).await {
        let catalog = catalog.expect("it opens");
        assert_eq!(catalog.lake().await.expect("answer"), None);
        assert_eq!(role_of_owner(&catalog).await, Some(Role::Owner), "roles are numbered anew, once");
    }
    let mut names: Vec<_> =
        std::fs::read_dir(folder.path()).expect("listed").map(|f| f.expect("read").path()).collect();
    names.retain(|path| !path.to_string_lossy().ends_with("-wal") && !path.to_string_lossy().ends_with("-shm"));
    names.sort();
    assert_eq!(names.len(), 2, "the file and one copy: {names:?}");
    let copy = format!("sqlite:{}", names[1].display());
    assert!(copy.ends_with(".v1"), "{copy}");
    // The copy is whole, and can be brought up to date like any other.
    let copy = open(&copy).await;
    assert_eq!(role_of_owner(&copy).await, Some(Role::Owner));
}

#[tokio::test]
async fn a_database_of_version_2_keeps_its_lake_and_its_owners() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = url(&folder);
    let catalog = open(&url).await;
    ensure_owner(&catalog, "owner").await.expect("made");
    let lake = catalog.remember_lake(LakeId::generate()).await.expect("remembered");
    catalog.close().await;
    let version_2 = "ALTER TABLE datasets DROP COLUMN schema_version; ALTER TABLE instance DROP COLUMN signing_key; \
         UPDATE grants SET role = 3; UPDATE schema_version SET version = 2";
    tamper(&url, [VERSION_4, version_2].concat()).await;
    let catalog = open(&url).await;
    assert_eq!(catalog.lake().await.expect("answer"), Some(lake));
    assert_eq!(role_of_owner(&catalog).await, Some(Role::Owner));
    assert!(folder.path().join("catalog's db?#%20.db.v2").exists());
}

async fn role_of_owner(catalog: &SqlCatalog) -> Option<Role> {
    let owner = catalog.principal_by_name("owner").await.expect("answer").expect("it is there");
    catalog.role_on_instance(&owner.into()).await.expect("answer")
}

#[tokio::test]
async fn a_failed_migration_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = url(&folder);
    tokio::fs::write(url.trim_start_matches("sqlite:"), "").await.expect("an empty file");
    tamper(&url, "CREATE TABLE tombstones (mine TEXT)").await;
    for _ in 0..2 {
        assert!(SqlCatalog::connect(&url, &SqlOptions::default()).await.is_err(), "the table is in the way");
    }
    tamper(&url, "DROP TABLE tombstones").await;
    open(&url).await;
}

#[tokio::test]
async fn a_record_of_unknown_form_is_reported_as_such() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = url(&folder);
    let catalog = open(&url).await;
    ensure_owner(&catalog, "owner").await.expect("made");
    tamper(&url, "UPDATE principals SET kind = 'robot'").await;
    let error = lakegate_catalog::Principals::principal_by_name(&catalog, "owner").await.expect_err("unknown kind");
    assert_eq!(error.code(), "internal", "{error}");
}

#[tokio::test]
async fn other_urls_are_refused_without_showing_them() {
    for url in
        ["", "sqlite:", "sqlite::memory:", "mysql://ann:hunter2@db", "/srv/catalog.db", "postgres://ann:hunter2@:x"]
    {
        let Err(error) = SqlCatalog::connect(url, &SqlOptions::default()).await else {
            panic!("{url:?} must be refused");
        };
        assert_eq!(error.code(), "bad_database_url", "{url:?}: {error}");
        assert!(!error.to_string().contains("hunter2"));
    }
    let nowhere = SqlCatalog::connect("sqlite:/no/such/folder/catalog.db", &SqlOptions::default()).await;
    assert_eq!(nowhere.err().map(|error| error.code()), Some("catalog_unavailable"));
}
