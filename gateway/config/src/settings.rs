//! The settings themselves.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::network::Network;
use crate::size::ByteSize;

/// Everything that can be set. A value of this type is complete and within its bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where the process keeps its files; absolute when the working directory is.
    pub data_dir: PathBuf,
    /// The REST listener.
    pub rest: Rest,
    /// The Flight SQL listener.
    pub flight: Flight,
    /// The catalog.
    pub catalog: Catalog,
    /// Object storage.
    pub storage: Storage,
    /// Limits of queries.
    pub query: Query,
    /// Limits of pushes.
    pub ingest: Ingest,
    /// Work in the background.
    pub jobs: Jobs,
    /// Logs.
    pub log: Log,
    /// Traces and metrics for a collector.
    pub otel: Otel,
}

/// `[rest]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rest {
    /// Address and port; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Connections open at once; more wait in the system's queue.
    pub max_connections: usize,
    /// How long running requests may take to end after SIGTERM.
    pub drain_timeout: Duration,
    /// How long a client may take to send a request's headers.
    pub header_timeout: Duration,
    /// How long a client may take none of an answer's bytes.
    pub write_timeout: Duration,
    /// Where clients reach this listener, such as `https://data.example.org`.
    pub public_url: Option<String>,
    /// Origins whose pages may call the API: `https://app.example.org`, or `*` for any.
    pub cors_origins: Vec<String>,
    /// Proxies whose `X-Forwarded-*` headers are believed.
    pub trusted_proxies: Vec<Network>,
}

/// `[flight]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flight {
    /// Address and port; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Connections open at once; more wait in the system's queue.
    pub max_connections: usize,
    /// Bytes of one message that comes in.
    pub max_message: ByteSize,
    /// How long a client may take none of an answer's rows.
    pub write_timeout: Duration,
    /// A PEM file with the certificate and those that lead to its root; with `tls_key` the listener speaks TLS alone.
    pub tls_certificate: Option<PathBuf>,
    /// A PEM file with the certificate's private key.
    pub tls_key: Option<PathBuf>,
}

/// `[catalog]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Catalog {
    /// Where the companion is, for a gateway whose catalog is one; `None` when it is in this process.
    pub url: Option<String>,
    /// A file with the token by which the companion knows this gateway.
    pub token_file: Option<PathBuf>,
    /// A PEM file with certificates to trust for `url`, beside those of the system.
    pub trusted_certificates: Option<PathBuf>,
    /// How long one call of the companion may take.
    pub timeout: Duration,
    /// How long what was decided counts when the companion is away, for reading alone; nothing does by default.
    pub stale_for: Duration,
    /// A file that lists the issuers of OpenID Connect whose tokens are taken.
    pub issuers_file: Option<PathBuf>,
    /// Whether somebody who comes with such a token for the first time becomes a principal, without any right.
    pub create_principals: bool,
    /// `sqlite:PATH` or `postgres://…`; see [`Settings::database_url`] for the default.
    pub database_url: Option<String>,
    /// Where `lakegate catalog` listens; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Connections of gateways open at once.
    pub max_connections: usize,
    /// A PEM file with the companion's certificate; with `tls_key` it speaks TLS alone.
    pub tls_certificate: Option<PathBuf>,
    /// A PEM file with the certificate's private key.
    pub tls_key: Option<PathBuf>,
    /// How long the audit is kept.
    pub audit_for: Duration,
}

/// `[storage]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Storage {
    /// URL of the folder of root datasets; see [`Settings::storage_root`] for the default.
    pub root: Option<String>,
    /// How long files that the newest version no longer has stay, for older versions and running queries. At least
    /// twice as long as a query or a push may run.
    pub retention: Duration,
    /// Whether a store's endpoint may be without TLS.
    pub allow_http: bool,
    /// Deadline of one request to a remote store.
    pub request_timeout: Duration,
    /// How long a failing request to a remote store is begun anew.
    pub retry_timeout: Duration,
    /// `[storage.s3]`
    pub s3: S3,
    /// `[storage.azure]`
    pub azure: Azure,
}

/// `[storage.s3]`; what is not set comes from the environment (`AWS_*`), credentials always.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3 {
    /// Where the store is, when it is not AWS.
    pub endpoint: Option<String>,
    /// The bucket's region.
    pub region: Option<String>,
    /// Whether requests name the bucket in their path, not in their host.
    pub path_style: bool,
}

/// `[storage.azure]`; what is not set comes from the environment (`AZURE_*`), credentials always.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Azure {
    /// The storage account.
    pub account: Option<String>,
    /// Where the account is, when it is not Azure's public cloud.
    pub endpoint: Option<String>,
}

/// `[query]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Memory pool of all queries together.
    pub memory: ByteSize,
    /// Memory pool of one query; never more than `memory`.
    pub memory_per_query: ByteSize,
    /// Resident memory of the process at which the largest query is cancelled; 0 takes
    /// twice `memory`, `ingest.memory` and 512 MiB, at most nine tenths of the memory there is.
    pub process_memory: ByteSize,
    /// Disk that one query may spill to.
    pub spill_per_query: ByteSize,
    /// Threads that run queries; 0 is one per core.
    pub threads: usize,
    /// Deadline of a query that names none; never more than `max_timeout`.
    pub timeout: Duration,
    /// The longest deadline that a query may ask for.
    pub max_timeout: Duration,
    /// Queries running at once; eight times as many may wait, more are refused as overloaded.
    pub max_concurrent: usize,
    /// Rows of a JSON answer to a query that names no limit.
    pub default_rows: usize,
}

/// `[ingest]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ingest {
    /// Bytes of one push after decompression.
    pub max_body: ByteSize,
    /// Bytes of one row as text.
    pub max_row: ByteSize,
    /// Pushes running at once; more wait.
    pub max_concurrent: usize,
    /// Memory of all pushes together; a push waits until there is room for it.
    pub memory: ByteSize,
    /// Pushes that may wait; more are refused as overloaded.
    pub max_queued: usize,
    /// How long a push may wait for its turn.
    pub queue_timeout: Duration,
    /// How long an `Idempotency-Key` is remembered.
    pub idempotency_window: Duration,
    /// Deadline of one push.
    pub timeout: Duration,
    /// How long a push may send nothing.
    pub idle_timeout: Duration,
}

/// `[jobs]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jobs {
    /// Jobs that this gateway does side by side.
    pub concurrent: usize,
    /// Jobs of one tenant that run side by side, wherever they run.
    pub per_tenant: usize,
    /// Statements in the background of one principal that may wait; more are refused.
    pub max_waiting: usize,
    /// How long whoever does a job may be silent before it is given to somebody else.
    pub lease: Duration,
    /// The longest deadline of a statement in the background, and its deadline when it names none.
    pub query_timeout: Duration,
    /// Bytes of a statement's result as it is kept.
    pub max_result: ByteSize,
    /// How long a job that has ended is kept, and its result.
    pub results_for: Duration,
}

/// `[otel]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Otel {
    /// Where traces and metrics go over OTLP/HTTP, such as `http://127.0.0.1:4318`; nowhere when there is none.
    pub endpoint: Option<String>,
    /// How often metrics are sent.
    pub interval: Duration,
}

/// `[log]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// How a line looks.
    pub format: LogFormat,
    /// A level, or directives such as `info,lakegate_query=debug`.
    pub level: String,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    #[default]
    Auto,
    /// Text for people.
    Text,
    /// One JSON object per line.
    Json,
}

impl Settings {
    /// The defaults, with this data folder.
    pub fn with_data_dir(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            rest: Rest::default(),
            flight: Flight::default(),
            catalog: Catalog::default(),
            storage: Storage::default(),
            query: Query::default(),
            ingest: Ingest::default(),
            jobs: Jobs::default(),
            log: Log::default(),
            otel: Otel::default(),
        }
    }

    /// Where the catalog is: as set, else `sqlite:<data_dir>/catalog.db`. The path after `sqlite:` is
    /// taken as it stands, without escapes.
    pub fn database_url(&self) -> String {
        let default = || {
            let file = self.data_dir.join("catalog.db").display().to_string();
            // Of a path, several slashes are as one; of a URL, two begin a host.
            let rooted = file.strip_prefix("//").map(|rest| format!("/{}", rest.trim_start_matches('/')));
            format!("sqlite:{}", rooted.unwrap_or(file))
        };
        self.catalog.database_url.clone().unwrap_or_else(default)
    }

    /// Where root datasets are: as set, else `file://<data_dir>/lake/root`, escaped as URLs are.
    pub fn storage_root(&self) -> String {
        self.storage.root.clone().unwrap_or_else(|| {
            let path = self.data_dir.join("lake").join("root");
            url::Url::from_file_path(&path).map_or_else(|()| format!("file://{}", path.display()), String::from)
        })
    }
}

impl Default for Catalog {
    fn default() -> Self {
        Self {
            url: None,
            token_file: None,
            trusted_certificates: None,
            timeout: Duration::from_secs(10),
            stale_for: Duration::ZERO,
            issuers_file: None,
            create_principals: false,
            database_url: None,
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 7782)),
            max_connections: 1_000,
            tls_certificate: None,
            tls_key: None,
            audit_for: Duration::from_secs(90 * 86_400),
        }
    }
}

impl Default for Rest {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 7780)),
            max_connections: 16_384,
            drain_timeout: Duration::from_secs(30),
            header_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(60),
            public_url: None,
            cors_origins: Vec::new(),
            trusted_proxies: Vec::new(),
        }
    }
}

impl Default for Flight {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 7781)),
            max_connections: 16_384,
            max_message: ByteSize::mib(64),
            write_timeout: Duration::from_secs(60),
            tls_certificate: None,
            tls_key: None,
        }
    }
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            root: None,
            retention: Duration::from_secs(7 * 86_400),
            allow_http: false,
            request_timeout: Duration::from_secs(20),
            retry_timeout: Duration::from_secs(30),
            s3: S3::default(),
            azure: Azure::default(),
        }
    }
}

impl Default for S3 {
    fn default() -> Self {
        Self { endpoint: None, region: None, path_style: true }
    }
}

impl Default for Query {
    fn default() -> Self {
        Self {
            memory: ByteSize::gib(1),
            memory_per_query: ByteSize::mib(512),
            process_memory: ByteSize::ZERO,
            spill_per_query: ByteSize::gib(4),
            threads: 0,
            timeout: Duration::from_secs(60),
            max_timeout: Duration::from_secs(3600),
            max_concurrent: 64,
            default_rows: 10_000,
        }
    }
}

impl Default for Ingest {
    fn default() -> Self {
        Self {
            max_body: ByteSize::gib(4),
            max_row: ByteSize::mib(16),
            max_concurrent: 32,
            memory: ByteSize::mib(512),
            max_queued: 512,
            queue_timeout: Duration::from_secs(10),
            idempotency_window: Duration::from_secs(24 * 3600),
            timeout: Duration::from_secs(600),
            idle_timeout: Duration::from_secs(30),
        }
    }
}

impl Default for Jobs {
    fn default() -> Self {
        Self {
            concurrent: 2,
            per_tenant: 2,
            max_waiting: 1_000,
            lease: Duration::from_secs(30),
            query_timeout: Duration::from_secs(3600),
            max_result: ByteSize::gib(10),
            results_for: Duration::from_secs(24 * 3600),
        }
    }
}

impl Default for Otel {
    fn default() -> Self {
        Self { endpoint: None, interval: Duration::from_secs(30) }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::default(), level: "info".to_owned() }
    }
}
