//! `lakegate serve`, and the wiring of all parts: this happens here and nowhere else.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use lakegate_catalog::{ApiToken, CachedCatalog, Catalog, Door, InstanceKey, LakeId, Scope};
use lakegate_catalog_http::{HttpCatalog, HttpOptions};
use lakegate_catalog_sql::{SqlCatalog, SqlOptions};
use lakegate_config::{ByteSize, Settings, Storage};
use lakegate_flight_sql::Flight;
use lakegate_ingest::{Ingest, Limits};
use lakegate_lake::{AzureOptions, Lake, LakeOptions, S3Options, StoreOptions, Upkeep, UpkeepOptions, Which};
use lakegate_query::{Engine, EngineOptions};
use lakegate_rest::{Answers, App, Edge};
use prometheus_client::registry::Registry;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::cli::Cli;
use crate::data_folder::DataFolder;
use crate::failure::{Failure, Result, say};
use crate::jobs::counts::Counts;
use crate::jobs::query::BackgroundQueries;
use crate::jobs::{Runner, Work};
use crate::server::{self, Connections, Listener};
use crate::telemetry::Telemetry;
use crate::{causes, issuers, jobs, logging, news, settings, sweep, tls, trail};

/// `lakegate serve`.
pub(crate) fn command(cli: &Cli) -> Result<()> {
    let settings = settings::load(cli)?;
    let telemetry = Telemetry::start(&settings.otel)?;
    logging::start(&settings.log, telemetry.as_ref())?;
    let ended = runtime(settings.ingest.max_concurrent)?.block_on(async {
        let gateway = Gateway::open(&settings).await?;
        if let Some(telemetry) = &telemetry {
            telemetry.observe(&gateway.app.metrics);
        }
        gateway.greet();
        gateway.run().await
    });
    if let Some(telemetry) = telemetry {
        telemetry.finish();
    }
    ended
}

/// The runtime of requests; queries have their own. Each of `pushes` may hold a thread that waits for its rows, and writing
/// them takes threads, too.
pub(crate) fn runtime(pushes: usize) -> Result<tokio::runtime::Runtime> {
    const OTHERS: usize = 512;
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("lakegate")
        .max_blocking_threads(OTHERS.saturating_add(pushes))
        .build()
        .map_err(|e| Failure::other(format!("threads cannot be started: {e}")))
}

/// Everything that one process holds.
pub(crate) struct Gateway {
    settings: Settings,
    /// Held until the end: it keeps other processes out.
    folder: DataFolder,
    app: Arc<App>,
    /// The catalog's answers that are remembered, where any are.
    cached: Option<Arc<CachedCatalog>>,
    last_event: watch::Sender<u64>,
    jobs: Counts,
    rest: Listener,
    flight: Listener,
    routes: axum::Router,
    new_owner: Option<ApiToken>,
    stop: CancellationToken,
}

impl Gateway {
    /// Opens folder, catalog, storage and engine, and binds the port. Nothing is served yet.
    pub(crate) async fn open(settings: &Settings) -> Result<Self> {
        let folder = DataFolder::open(&settings.data_dir)?;
        let of_flight = &settings.flight;
        let tls = tls::acceptor("flight", of_flight.tls_certificate.as_ref(), of_flight.tls_key.as_ref(), &[b"h2"])?;
        let rest = bind(settings.rest.listen, "--listen 127.0.0.1:7790", None)?;
        let flight = bind(settings.flight.listen, "--set flight.listen=127.0.0.1:7791", tls)?;
        let (catalog, cached) = open_catalog(settings).await?;
        let lake = open_lake(settings, catalog.as_ref()).await?;
        let new_owner = folder.ensure_owner(catalog.as_ref()).await?;
        let engine = Engine::new(engine_options(settings, &folder), Arc::clone(&catalog), Arc::clone(&lake));
        let engine = Arc::new(engine.map_err(|e| Failure::other(format!("the query engine cannot start: {e}")))?);
        let ingest = Arc::new(Ingest::new(Arc::clone(&catalog), Arc::clone(&lake), limits(settings, &folder)));
        let key = catalog.remember_key(InstanceKey::generate()).await;
        let key = key.map_err(|e| Failure::other(format!("the catalog cannot be used: {e}")))?;
        let door = Door::new(Arc::clone(&catalog));
        let door = Arc::new(match &settings.catalog.issuers_file {
            Some(file) => door.with_issuers(issuers::read(file)?, settings.catalog.create_principals),
            None => door,
        });
        let service = Flight::new(
            Arc::clone(&catalog),
            Arc::clone(&door),
            Arc::clone(&engine),
            Arc::clone(&ingest),
            key,
            lakegate_flight_sql::Options {
                write_timeout: settings.flight.write_timeout,
                max_message: bytes(settings.flight.max_message),
            },
        );
        let mut counts = Registry::with_prefix("lakegate");
        service.register(&mut counts);
        let jobs = Counts::default();
        jobs.register(&mut counts);
        counts.register_collector(Box::new(trail::Counts(Arc::clone(engine.trail()))));
        let routes = lakegate_flight_sql::routes(service).await;
        let answers = Answers {
            default_rows: settings.query.default_rows as u64,
            results_for: settings.jobs.results_for,
            max_waiting: u32::try_from(settings.jobs.max_waiting).unwrap_or(u32::MAX),
        };
        let last_event = watch::Sender::new(0);
        let app = App::new(door, last_event.subscribe(), engine, ingest, answers, edge(settings, rest.address), counts);
        let settings = settings.clone();
        let stop = CancellationToken::new();
        Ok(Self { settings, folder, app, cached, last_event, jobs, rest, flight, routes, new_owner, stop })
    }

    /// Where REST listens.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.rest.address)
    }

    /// Where the listeners are. The line is a promise to scripts.
    pub(crate) fn listening(&self) -> String {
        let grpc = if self.flight.tls.is_some() { "grpc+tls" } else { "grpc" };
        format!("listening rest={} flight={grpc}://{}", self.url(), self.flight.address)
    }

    pub(crate) fn owner_token_file(&self) -> std::path::PathBuf {
        self.folder.join("owner-token")
    }

    /// Says where to go next. The first line is a promise to scripts.
    pub(crate) fn greet(&self) {
        let url = self.url();
        say(format_args!("{}", self.listening()));
        say(format_args!("start page {url}/ · API {url}/openapi.json · data {}", self.settings.data_dir.display()));
        match &self.new_owner {
            Some(token) if std::io::stdout().is_terminal() => {
                say(format_args!("a new instance; its owner's token, shown this once: {}", token.reveal()));
            }
            Some(_) => {
                say(format_args!("a new instance; its owner's token is in {}", self.owner_token_file().display()));
            }
            None => {}
        }
        say(format_args!("ask: lakegate sql --url {url} · stop: Ctrl-C"));
    }

    /// A switch that stops [`Gateway::run`].
    pub(crate) fn stopper(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Serves until SIGTERM or Ctrl-C, then drains.
    pub(crate) async fn run(self) -> Result<()> {
        let connections = within_open_files(self.settings.rest.max_connections, self.settings.flight.max_connections);
        let how = Connections {
            max: connections.0,
            write_timeout: self.settings.rest.write_timeout,
            header_timeout: self.settings.rest.header_timeout,
            drain_timeout: self.settings.rest.drain_timeout,
        };
        tokio::spawn(stop_on_signal(self.stop.clone())?);
        let lake = Arc::clone(&self.app.lake);
        let upkeep_thread = upkeep_thread()?;
        let runners = self.run_jobs(&upkeep_thread);
        let catalog = || Arc::clone(&self.app.catalog);
        let mut background = JoinSet::new();
        background.spawn(jobs::upkeep::submit(catalog(), lake.wanted()));
        background.spawn(self.jobs.clone().watch(catalog()));
        background.spawn(jobs::expiry::run(catalog(), Arc::clone(&lake), self.settings.jobs.results_for));
        background.spawn(news::tell(catalog(), Arc::clone(&lake)));
        let follow = news::follow(catalog(), self.cached, self.last_event);
        // Those who listen for events would wait for ever: they are told that there will be no more.
        let stop = self.stop.clone();
        background.spawn(async move {
            stop.run_until_cancelled_owned(follow).await;
        });
        background.spawn(news::forget(catalog()));
        background.spawn(trail::forget(catalog(), self.settings.catalog.audit_for));
        let served = CancellationToken::new();
        let telling = trail::tell(catalog(), Arc::clone(self.app.engine.trail()), served.clone());
        let telling = tokio::spawn(telling);
        let longest = self.settings.query.max_timeout.max(self.settings.jobs.query_timeout);
        background.spawn(sweep::run(catalog(), lake, longest));
        tracing::info!(rest = %self.rest.address, flight = %self.flight.address, "serving");
        let router = lakegate_rest::router(Arc::clone(&self.app));
        let of_flight = Connections { max: connections.1, write_timeout: self.settings.flight.write_timeout, ..how };
        let (rest, flight) = tokio::join!(
            server::run(self.rest, router, how, self.stop.clone()),
            server::run(self.flight, self.routes, of_flight, self.stop),
        );
        let drained = rest && flight;
        background.abort_all();
        // What they did is given back, for others to go on with at once.
        if tokio::time::timeout(CLOSE, runners.join_all()).await.is_err() {
            tracing::warn!("jobs were cut; they go on elsewhere once their lease is over");
        }
        served.cancel();
        if tokio::time::timeout(CLOSE, telling).await.is_err() {
            tracing::warn!("the catalog did not take in time what was done last: it is not in the audit");
        }
        // A rewrite that is cut leaves the table as it was.
        upkeep_thread.shutdown_background();
        if tokio::time::timeout(CLOSE, self.app.catalog.close()).await.is_err() {
            // Nothing is lost: the next start reads the write-ahead log.
            tracing::warn!("the catalog's database did not close in time");
        }
        if drained {
            tracing::info!("all requests ended; stopped");
            Ok(())
        } else {
            Err(Failure::other(
                "some requests did not end within rest.drain_timeout and were cut; none of their rows was acknowledged",
            ))
        }
    }
}

impl Gateway {
    /// Does jobs until the gateway stops. Rewriting files computes; it has a runtime apart from requests and queries.
    fn run_jobs(&self, upkeep_thread: &tokio::runtime::Runtime) -> JoinSet<()> {
        let (catalog, jobs) = (&self.app.catalog, &self.settings.jobs);
        let datasets: Arc<dyn Catalog> = Arc::clone(catalog);
        let upkeep = Upkeep::new(Arc::clone(&self.app.lake), datasets, upkeep_options(&self.settings, &self.folder));
        let runner = |works: Vec<Arc<dyn Work>>, at_once| {
            let (counts, stop) = (self.jobs.clone(), self.stop.clone());
            Runner::new(Arc::clone(catalog), works, at_once, jobs.lease, counts, stop).run()
        };
        let at_once = (jobs::upkeep::AT_ONCE, jobs::upkeep::AT_ONCE);
        let mut runners = JoinSet::new();
        runners.spawn_on(runner(jobs::upkeep::works(upkeep).into(), at_once), upkeep_thread.handle());
        let (engine, lake) = (Arc::clone(&self.app.engine), Arc::clone(&self.app.lake));
        let statements = BackgroundQueries::new(Arc::clone(catalog), engine, lake, jobs.max_result.bytes());
        runners.spawn(runner(vec![Arc::new(statements)], (jobs.concurrent, jobs.per_tenant)));
        runners
    }
}

/// How long the catalog may take to close.
const CLOSE: Duration = Duration::from_secs(5);

/// Connections that may wait to be accepted; one more is sent away, and its client tries again a second later. The system
/// may allow fewer.
const BACKLOG: u32 = 4_096;

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A port can be used again at once after a stop.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

pub(crate) fn bind(address: SocketAddr, other: &str, tls: Option<TlsAcceptor>) -> Result<Listener> {
    let socket = listen(address).map_err(|error| {
        Failure::usage(format!("cannot listen on {address}: {error}; choose another with {other}, or port 0 for any"))
    })?;
    let address = socket.local_addr().map_err(|e| Failure::other(e.to_string()))?;
    Ok(Listener { socket, address, tls })
}

/// How old an answer of the catalog may be when no write has come between.
const REMEMBERED: Duration = Duration::from_secs(1);
/// The same where others write, too.
const REMEMBERED_OF_COMPANION: Duration = Duration::from_secs(5);

/// The catalog, and the memory of its answers where there is one.
async fn open_catalog(settings: &Settings) -> Result<(Arc<dyn Catalog>, Option<Arc<CachedCatalog>>)> {
    let remembered = |catalog: CachedCatalog| {
        let cached = Arc::new(catalog);
        (Arc::clone(&cached) as Arc<dyn Catalog>, Some(cached))
    };
    if let Some(url) = &settings.catalog.url {
        let companion = companion(settings, url)?;
        let asked = companion.ping().await;
        asked.map_err(|error| causes::of_companion(&error))?;
        let stale_for = settings.catalog.stale_for;
        return Ok(remembered(CachedCatalog::new(Arc::new(companion), REMEMBERED_OF_COMPANION, stale_for)));
    }
    let url = settings.database_url();
    let opened = SqlCatalog::connect(&url, &SqlOptions::default()).await;
    match opened {
        // The file in our own data folder is written to by this process alone: answers are remembered until it does.
        Ok(catalog) if settings.catalog.database_url.is_none() => {
            Ok(remembered(CachedCatalog::new(Arc::new(catalog), REMEMBERED, Duration::ZERO)))
        }
        Ok(catalog) => Ok((Arc::new(catalog), None)),
        // The URL may hold a password; the key's name is enough to find it.
        Err(error) => Err(Failure::usage(format!("the catalog cannot be opened: {error}; see catalog.database_url"))),
    }
}

/// The client for the companion that the settings name.
fn companion(settings: &Settings, url: &str) -> Result<HttpCatalog> {
    let of_catalog = &settings.catalog;
    let read = |path: &std::path::Path| {
        std::fs::read(path).map_err(|e| Failure::usage(format!("{} cannot be read: {e}", path.display())))
    };
    let file = of_catalog.token_file.as_ref().ok_or_else(|| {
        Failure::usage("catalog.url needs catalog.token_file: a copy of the file `gateway-token` that `lakegate catalog` leaves in its data folder")
    })?;
    let text = String::from_utf8(read(file)?).unwrap_or_default();
    let token = ApiToken::parse(text.trim())
        .ok_or_else(|| Failure::usage(format!("{} holds no token (lg_…); see catalog.token_file", file.display())))?;
    let trusted = of_catalog.trusted_certificates.as_deref().map(read).transpose()?;
    let url = Url::parse(url).map_err(|e| Failure::usage(format!("catalog.url is not a URL: {e}")))?;
    let options = HttpOptions { url, token, trusted, timeout: of_catalog.timeout };
    HttpCatalog::new(options).map_err(|e| Failure::usage(e.to_string()))
}

/// Opens the lake that the catalog knows. A new catalog begins a new lake, and refuses one that is there: it is
/// another's, or its catalog has been lost.
async fn open_lake(settings: &Settings, catalog: &dyn Catalog) -> Result<Arc<Lake>> {
    let root = settings.storage_root();
    let root = Url::parse(&root).map_err(|e| Failure::usage(format!("storage.root is not a URL: {e}")))?;
    let unusable_catalog = |e| Failure::other(format!("the catalog cannot be used: {e}"));
    let refused = |e| Failure::usage(format!("{e}; see storage.root"));
    // Nothing was ever served without an owner, who is created after the lake.
    let new = catalog.grants_on(&Scope::Instance).await.map_err(unusable_catalog)?.is_empty();
    let known = catalog.lake().await.map_err(unusable_catalog)?;
    let which = match (known, new) {
        (Some(lake), false) => Which::Known(lake),
        // Remembered first: a start that is cut short goes on where it was.
        (_, true) => Which::New(catalog.remember_lake(LakeId::generate()).await.map_err(unusable_catalog)?),
        (None, false) => Which::Any,
    };
    let (stores, idempotency_window) = (store_options(settings), settings.ingest.idempotency_window);
    let mut options = LakeOptions { root, stores, idempotency_window, which };
    let lake = Lake::open(&options).await.map_err(refused)?;
    let remembered = catalog.remember_lake(lake.id()).await.map_err(unusable_catalog)?;
    if remembered == lake.id() {
        return Ok(lake);
    }
    // Another gateway on the same catalog was first, with another root.
    options.which = Which::Known(remembered);
    Lake::open(&options).await.map_err(refused)
}

pub(crate) fn store_options(settings: &Settings) -> StoreOptions {
    let Storage { root: _, retention: _, allow_http, request_timeout, retry_timeout, s3, azure } =
        settings.storage.clone();
    StoreOptions {
        allow_http,
        request_timeout,
        retry_timeout,
        s3: S3Options { endpoint: s3.endpoint, region: s3.region, path_style: s3.path_style },
        azure: AzureOptions { account: azure.account, endpoint: azure.endpoint },
        environment: settings::store_environment(),
    }
}

fn engine_options(settings: &Settings, folder: &DataFolder) -> EngineOptions {
    let query = &settings.query;
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    EngineOptions {
        memory: bytes(query.memory),
        memory_per_query: bytes(query.memory_per_query),
        process_memory: process_memory(settings),
        spill_dir: folder.join("spill"),
        spill_per_query: query.spill_per_query.bytes(),
        threads: if query.threads == 0 { cores } else { query.threads },
        timeout: query.timeout,
        max_timeout: query.max_timeout,
        max_background: settings.jobs.query_timeout,
        max_concurrent: query.max_concurrent,
    }
}

/// The process's memory at which a query is stopped. The pools are no hard limit: an operator may take more than it
/// reserves while it grows or answers, up to twice. Past that something has gone wrong, long before the
/// machine is full.
fn process_memory(settings: &Settings) -> usize {
    const REST_OF_THE_PROCESS: usize = 512 << 20;
    let query = &settings.query;
    if query.process_memory != ByteSize::ZERO {
        return bytes(query.process_memory);
    }
    let pools = bytes(query.memory).saturating_mul(2).saturating_add(bytes(settings.ingest.memory));
    pools.saturating_add(REST_OF_THE_PROCESS).min(lakegate_query::available_memory())
}

/// Rewriting files computes; it has one thread, apart from requests and queries.
fn upkeep_thread() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .thread_name("upkeep")
        .build()
        .map_err(|e| Failure::other(format!("threads cannot be started: {e}")))
}

fn upkeep_options(settings: &Settings, folder: &DataFolder) -> UpkeepOptions {
    /// Enough to sort what one rewrite takes in with little spilling.
    const MEMORY: usize = 128 << 20;
    /// Half a GiB is read and written in it, also by a slow store.
    const DEADLINE: Duration = Duration::from_secs(900);
    UpkeepOptions {
        memory: MEMORY,
        spill: Some((folder.join("spill"), settings.query.spill_per_query.bytes())),
        retention: settings.storage.retention,
        deadline: DEADLINE,
    }
}

fn limits(settings: &Settings, folder: &DataFolder) -> Limits {
    let ingest = &settings.ingest;
    Limits {
        max_body: ingest.max_body.bytes(),
        max_row: bytes(ingest.max_row),
        max_pushes: ingest.max_concurrent,
        max_queued: ingest.max_queued,
        memory: ingest.memory.bytes(),
        patience: ingest.queue_timeout,
        timeout: ingest.timeout,
        idle_timeout: ingest.idle_timeout,
        spool: folder.join("spill"),
    }
}

fn edge(settings: &Settings, address: SocketAddr) -> Edge {
    let rest = &settings.rest;
    let proxies = rest.trusted_proxies.clone();
    Edge {
        loopback: address.ip().to_canonical().is_loopback(),
        public_url: rest.public_url.clone(),
        cors_origins: rest.cors_origins.clone(),
        trusted: Some(Arc::new(move |peer| proxies.iter().any(|proxy| proxy.contains(peer)))),
        adopt: settings.otel.endpoint.is_some().then(Telemetry::adopt),
    }
}

/// As many connections of two listeners as asked for, or as the system allows the process: each is an open file.
pub(crate) fn within_open_files(rest: usize, flight: usize) -> (usize, usize) {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    /// For tables, the catalog and spilled rows.
    const OTHERS: u64 = 512;
    let connections = rest + flight;
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return (rest, flight) };
    let wanted = (connections as u64 + OTHERS).min(hard).max(soft);
    let allowed = if setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).is_ok() { wanted } else { soft };
    let fitting = usize::try_from(allowed.saturating_sub(OTHERS).max(allowed / 2)).unwrap_or(usize::MAX);
    if fitting < connections {
        tracing::warn!(
            connections = fitting,
            open_files = allowed,
            "fewer connections than rest.max_connections and flight.max_connections fit"
        );
        // Each listener gets its part.
        return (fitting * rest / connections, fitting * flight / connections);
    }
    (rest, flight)
}

fn bytes(size: ByteSize) -> usize {
    usize::try_from(size.bytes()).unwrap_or(usize::MAX)
}

/// The first SIGTERM or Ctrl-C drains, the second Ctrl-C ends at once.
pub(crate) fn stop_on_signal(stop: CancellationToken) -> Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let cannot = |e: std::io::Error| Failure::other(format!("signals cannot be watched: {e}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(cannot)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(cannot)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.cancel();
        tracing::info!("stopping: running requests may end; Ctrl-C ends them now");
        interrupt.recv().await;
        // 128 + SIGINT, as shells expect.
        #[expect(clippy::disallowed_methods, reason = "the second Ctrl-C asks for exactly this")]
        std::process::exit(130);
    })
}
