//! The ways to run a query: over REST, in this process, in a peer.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::ipc::reader::StreamReader;
use datafusion::catalog::MemorySchemaProvider;
use datafusion::catalog::SchemaProvider as _;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::StreamExt as _;
use lakegate_e2e::{Client, Result, environment};
use lakegate_lake::{Lake, LakeOptions, StoreOptions, Which};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use url::Url;

/// What one query took and how many rows came.
pub(crate) struct Took {
    /// From the first byte of the request to the last of the answer.
    pub(crate) time: Duration,
    pub(crate) rows: u64,
}

/// The answer over REST as Arrow, read to its end and decoded.
pub(crate) async fn over_rest(client: &Client, sql: &str) -> Result<Took> {
    let started = Instant::now();
    let body = json!({ "sql": sql });
    let request = client.request(Method::POST, "/v1/query?format=arrow").json(&body);
    let answer = lakegate_e2e::Answer::of(request).await?.expect(200)?;
    let mut rows = 0;
    for batch in StreamReader::try_new(answer.body.as_ref(), None)? {
        rows += batch?.num_rows() as u64;
    }
    Ok(Took { time: started.elapsed(), rows })
}

/// A lake in a folder, for a session in this process.
pub(crate) async fn open(root: &Path) -> Result<Arc<Lake>> {
    let root = Url::from_directory_path(root).map_err(|()| "the lake's root is not an absolute path")?;
    let options = LakeOptions {
        root,
        idempotency_window: Duration::from_secs(86_400),
        stores: StoreOptions::default(),
        which: Which::Any,
    };
    Ok(Lake::open(&options).await?)
}

/// A session of plain DataFusion over the tables of a lake, under `schema`.
pub(crate) async fn in_process(lake: &Lake, schema: &str, tables: &[(String, String)]) -> Result<SessionContext> {
    let environment = RuntimeEnvBuilder::new().with_object_store_registry(lake.object_store_registry()).build_arc()?;
    let session = SessionContext::new_with_config_rt(SessionConfig::new(), environment);
    let provider = MemorySchemaProvider::new();
    for (name, id) in tables {
        let snapshot = lake.table(id.parse()?).await?.snapshot().await?;
        provider.register_table(name.clone(), snapshot.provider())?;
    }
    let catalog = session.catalog("datafusion").ok_or("no default catalog")?;
    catalog.register_schema(schema, Arc::new(provider))?;
    Ok(session)
}

/// The same statement in a session of this process, its batches read to the end.
pub(crate) async fn run_in_process(session: &SessionContext, sql: &str) -> Result<Took> {
    let started = Instant::now();
    let mut batches = session.sql(sql).await?.execute_stream().await?;
    let mut rows = 0;
    while let Some(batch) = batches.next().await {
        rows += batch?.num_rows() as u64;
    }
    Ok(Took { time: started.elapsed(), rows })
}

/// A peer that runs one statement a line: `bench/peers/*.py`.
pub(crate) struct Peer {
    _process: Child,
    statements: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Peer {
    /// Starts a script with its arguments and waits until it is ready.
    pub(crate) async fn start(script: &str, arguments: &[&str]) -> Result<Self> {
        let python = environment("LAKEGATE_BENCH_PYTHON", "an interpreter with bench/requirements.txt installed")?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers").join(script);
        let mut process = Command::new(python)
            .arg(script)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let statements = process.stdin.take().ok_or("no stdin")?;
        let answers = BufReader::new(process.stdout.take().ok_or("no stdout")?).lines();
        let mut peer = Self { _process: process, statements, answers };
        peer.answer().await?;
        Ok(peer)
    }

    /// Runs a statement; the numbers that the peer measured, with `ms` and `rows`.
    pub(crate) async fn run(&mut self, sql: &str) -> Result<Value> {
        let line = sql.split_whitespace().collect::<Vec<_>>().join(" ");
        self.statements.write_all(format!("{line}\n").as_bytes()).await?;
        self.answer().await
    }

    async fn answer(&mut self) -> Result<Value> {
        let line = self.answers.next_line().await?.ok_or("the peer ended; what it said is above")?;
        Ok(serde_json::from_str(&line)?)
    }
}
