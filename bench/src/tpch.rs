//! TPC-H at scale 1: 22 queries over REST as Arrow, by plain DataFusion in this process on the same tables, and by
//! duckdb and roapi on the same Parquet files.

use std::path::{Path, PathBuf};

use lakegate_e2e::client::dataset_path;
use lakegate_e2e::{Answer, Client, Gateway, Options, Result, environment};
use reqwest::Method;
use serde_json::json;
use tokio::process::Command;

use crate::record::Recorder;
use crate::sides::{Peer, in_process, open, over_rest, run_in_process};

const ROUNDS: u32 = 6;
/// Rounds of the slowest side, some seconds a query.
const SLOW_ROUNDS: u32 = 2;
const TABLES: [&str; 8] = ["customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier"];

/// A gateway with the tables loaded, and where their files are.
pub(crate) struct Loaded {
    pub(crate) gateway: Gateway,
    /// Names and ids of the datasets.
    pub(crate) tables: Vec<(String, String)>,
}

impl Loaded {
    /// Makes the data if need be and pushes it, one push a table.
    pub(crate) async fn new() -> Result<Self> {
        let parquet = generated().await?;
        let gateway = Options::serve()?.setting("ingest.timeout", "30m").start().await?;
        let client = Client::patient(gateway.base(), Some(gateway.token().to_owned()), super::pushes::PATIENCE)?;
        let mut tables = Vec::new();
        for table in TABLES {
            let file = tokio::fs::read(parquet.join(format!("{table}.parquet"))).await?;
            let path = format!("{}/ingest?create=true", dataset_path(&format!("tpch.{table}")));
            let push = client.request(Method::POST, &path).header("content-type", "application/vnd.apache.parquet");
            Answer::of(push.body(file)).await?.expect(200)?;
            let shown = client.get(&dataset_path(&format!("tpch.{table}"))).await?.expect(200)?.json()?;
            tables.push((table.to_owned(), shown["id"].as_str().ok_or("no id")?.to_owned()));
        }
        Ok(Self { gateway, tables })
    }

    /// The folder of all tables.
    pub(crate) fn root(&self) -> PathBuf {
        self.gateway.options().kept().join("lake/root")
    }

    /// Each table and the folder of its files, as peers are told of them.
    pub(crate) fn folders(&self) -> Vec<String> {
        self.tables.iter().map(|(name, id)| format!("{name}={}", self.root().join(id).display())).collect()
    }

    /// Where a table's files are.
    pub(crate) fn folder(&self, table: &str) -> Result<PathBuf> {
        let (_, id) = self.tables.iter().find(|(name, _)| name == table).ok_or("no such table")?;
        Ok(self.root().join(id))
    }
}

/// The tables as Parquet, made once by `tpchgen-cli` and kept.
async fn generated() -> Result<PathBuf> {
    let folder = PathBuf::from(environment("LAKEGATE_BENCH_DATA", "a folder for generated data")?).join("tpch-1");
    if folder.join("done").exists() {
        return Ok(folder);
    }
    let python = environment("LAKEGATE_BENCH_PYTHON", "an interpreter with bench/requirements.txt installed")?;
    let generator = Path::new(&python).with_file_name("tpchgen-cli");
    let mut made = Command::new(generator);
    made.args(["parquet", "-s", "1"]).arg("--output-dir").arg(&folder).kill_on_drop(true);
    let status = made.status().await?;
    if !status.success() {
        return Err("tpchgen-cli failed".into());
    }
    tokio::fs::write(folder.join("done"), "").await?;
    Ok(folder)
}

/// The statements, by name.
pub(crate) fn queries() -> Result<Vec<(String, String)>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("queries");
    let mut queries = Vec::new();
    for n in 1..=22 {
        let name = format!("q{n:02}");
        queries.push((name.clone(), std::fs::read_to_string(folder.join(format!("{name}.sql")))?));
    }
    Ok(queries)
}

pub(crate) async fn run(record: &Recorder) -> Result {
    let loaded = Loaded::new().await?;
    let client = loaded.gateway.client();
    let lake = open(&loaded.root()).await?;
    let session = in_process(&lake, "tpch", &loaded.tables).await?;
    let folders = loaded.folders();
    let arguments: Vec<&str> = folders.iter().map(String::as_str).collect();
    let mut duckdb = Peer::start("duckdb_sql.py", &arguments).await?;
    let mut roapi = Peer::start("roapi_sql.py", &[&["memory"], arguments.as_slice()].concat()).await?;
    let mut roapi_files = Peer::start("roapi_sql.py", &[&["files"], arguments.as_slice()].concat()).await?;
    for (name, sql) in queries()? {
        for round in 0..=ROUNDS {
            // Each goes first in every other round.
            let (rest, here);
            if round % 2 == 0 {
                rest = over_rest(client, &sql).await?;
                here = run_in_process(&session, &sql).await?;
            } else {
                here = run_in_process(&session, &sql).await?;
                rest = over_rest(client, &sql).await?;
            }
            let mut others =
                vec![("duckdb", duckdb.run(&sql).await?), ("roapi, tables in memory", roapi.run(&sql).await?)];
            if round <= SLOW_ROUNDS {
                others.push(("roapi", roapi_files.run(&sql).await?));
            }
            if rest.rows != here.rows {
                return Err(format!("{name}: {} rows over REST, {} in process", rest.rows, here.rows).into());
            }
            // The first round fills caches.
            if round == 0 {
                continue;
            }
            for (side, took) in [("rest", &rest), ("in process", &here)] {
                let numbers = json!({ "ms": took.time.as_secs_f64() * 1e3, "rows": took.rows });
                record.measured("tpch", &name, side, round, numbers)?;
            }
            for (side, numbers) in others {
                record.measured("tpch", &name, side, round, numbers)?;
            }
        }
    }
    for peer in [duckdb, roapi, roapi_files] {
        peer.stop().await?;
    }
    Ok(())
}
