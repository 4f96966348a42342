//! The ways to run a query: over REST, over Flight, in this process, in a peer.

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
use lakegate_e2e::{Client, FlightClient, Result, environment};
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

/// The answer over Flight, asked as drivers ask: a flight info, then its ticket.
pub(crate) async fn over_flight(client: &FlightClient, sql: &str) -> Result<Took> {
    let started = Instant::now();
    let rows = client.ask(sql).await?;
    Ok(Took { time: started.elapsed(), rows: rows.count() as u64 })
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
    /// What it said when it was ready.
    ready: Value,
    process: Child,
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
        let mut peer = Self { ready: Value::Null, process, statements, answers };
        peer.ready = peer.answer().await?;
        Ok(peer)
    }

    /// Runs a statement; the numbers that the peer measured, with `ms` and `rows`.
    pub(crate) async fn run(&mut self, sql: &str) -> Result<Value> {
        let line = sql.split_whitespace().collect::<Vec<_>>().join(" ");
        self.statements.write_all(format!("{line}\n").as_bytes()).await?;
        self.answer().await
    }

    /// Ends the script, and with it what it started.
    pub(crate) async fn stop(self) -> Result {
        let Self { ready: _, mut process, statements, answers: _ } = self;
        drop(statements);
        let status = tokio::time::timeout(Duration::from_secs(30), process.wait()).await??;
        if status.success() { Ok(()) } else { Err(format!("a peer ended with {status}").into()) }
    }

    async fn answer(&mut self) -> Result<Value> {
        let line = self.answers.next_line().await?.ok_or("the peer ended; what it said is above")?;
        Ok(serde_json::from_str(&line)?)
    }
}

/// A peer that serves Flight SQL.
pub(crate) struct FlightPeer {
    /// What it is called.
    pub(crate) name: &'static str,
    pub(crate) client: FlightClient,
    /// Its address, for more clients.
    pub(crate) address: String,
    /// Its process.
    pub(crate) pid: u32,
    /// It knows its tables without a schema.
    bare: bool,
    script: Peer,
}

impl FlightPeer {
    /// Starts each peer of Flight SQL on the Parquet files of these tables, given as `TABLE=FOLDER`.
    pub(crate) async fn all(tables: &[&str]) -> Result<Vec<Self>> {
        let mut peers = Vec::new();
        for (name, bare) in [("roapi", true), ("sail", false)] {
            let script = Peer::start("flight_server.py", &[&[name], tables].concat()).await?;
            let address = script.ready["address"].as_str().ok_or("no address")?.to_owned();
            let pid = u32::try_from(script.ready["pid"].as_u64().ok_or("no process")?)?;
            let client = FlightClient::connect(&address, None).await?;
            for statement in script.ready["setup"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                client.ask(statement).await?;
            }
            peers.push(Self { name, client, address, pid, bare, script });
        }
        Ok(peers)
    }

    /// A statement as this peer knows the tables.
    pub(crate) fn spelled(&self, sql: &str) -> String {
        if self.bare { sql.replace("tpch.", "") } else { sql.to_owned() }
    }

    /// The numbers of a statement, or what the peer said instead of an answer.
    pub(crate) async fn run(&self, sql: &str) -> Value {
        match over_flight(&self.client, &self.spelled(sql)).await {
            Ok(took) => json!({ "ms": took.time.as_secs_f64() * 1e3, "rows": took.rows }),
            Err(error) => json!({ "error": error.to_string().chars().take(300).collect::<String>() }),
        }
    }

    /// Ends it.
    pub(crate) async fn stop(self) -> Result {
        self.script.stop().await
    }
}
