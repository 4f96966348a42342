//! The contract of every catalog, kept by the real companion: `lakegate catalog` in processes of its own, on SQLite, over HTTP.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use lakegate_catalog::{ApiToken, Catalog, contract};
use lakegate_catalog_http::{HttpCatalog, HttpOptions};
use parking_lot::Mutex;
use tempfile::TempDir;

/// Companions with empty catalogs, for as long as a test runs.
struct Fresh {
    folder: TempDir,
    running: Mutex<Vec<Child>>,
}

impl Drop for Fresh {
    fn drop(&mut self) {
        for companion in self.running.get_mut() {
            let killed = companion.kill().and_then(|()| companion.wait());
            killed.expect("a companion of this test");
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "which binary to test is no setting of Lakegate")]
fn binary() -> String {
    std::env::var("LAKEGATE_BIN").expect(
        "these tests run the built binary: build it with `cargo build --bin lakegate` and export LAKEGATE_BIN with its path, \
         or run `make test`",
    )
}

impl Fresh {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder"), running: Mutex::default() }
    }

    async fn catalog(&self) -> Arc<dyn Catalog> {
        let data = self.folder.path().join(self.running.lock().len().to_string());
        let settings = format!("data_dir = {:?}\ncatalog.listen = \"127.0.0.1:0\"\n", data.display().to_string());
        let file = data.with_extension("toml");
        std::fs::write(&file, settings).expect("written");
        let mut command = Command::new(binary());
        command.arg("--config").arg(&file).arg("catalog").stdout(Stdio::piped()).stderr(Stdio::null());
        let mut companion = command.spawn().expect("it starts");
        let mut lines = BufReader::new(companion.stdout.take().expect("piped")).lines();
        self.running.lock().push(companion);
        let url = lines.by_ref().find_map(|line| line.ok()?.strip_prefix("listening catalog=").map(str::to_owned));
        let url = url.expect("it listens").trim().parse().expect("a URL");
        // Read on, so that it is never held up.
        std::thread::spawn(move || lines.for_each(drop));
        let token = std::fs::read_to_string(data.join("gateway-token")).expect("a token");
        let token = ApiToken::parse(token.trim()).expect("a token");
        let options = HttpOptions { url, token, trusted: None, timeout: Duration::from_secs(20) };
        Arc::new(HttpCatalog::new(options).expect("a client"))
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
