//! The table of keys: every setting's name, meaning, form and place in [`Settings`].

use crate::form::{
    Address, Count, CountOrZero, Database, Endpoint, Folder, Form, Format, Level, Networks, OptionalFile, Origins,
    Printed, Size, SizeOrZero, Span, SpanOrZero, Store, Truth, Web, Word,
};
use crate::settings::Settings;

/// One setting.
pub(crate) struct Key {
    /// `section.key`, or `data_dir`.
    pub(crate) name: &'static str,
    /// What it does, in one line.
    pub(crate) help: &'static str,
    /// The form of its value, in words.
    pub(crate) expected: &'static str,
    /// Reads the text into the settings; `None` when it does not have the form.
    pub(crate) set: fn(&mut Settings, &str) -> Option<()>,
    /// The value in effect.
    pub(crate) get: fn(&Settings) -> Printed,
}

macro_rules! key {
    ($section:ident$(.$field:ident)+, $form:ty, $help:literal) => {
        Key {
            name: concat!(stringify!($section), $(".", stringify!($field)),+),
            help: $help,
            expected: <$form>::EXPECTED,
            set: |settings, text| {
                settings.$section$(.$field)+ = <$form>::read(text)?;
                Some(())
            },
            get: |settings| <$form>::print(&settings.$section$(.$field)+),
        }
    };
}

/// All settings, in the order in which they are printed: those without a section first.
pub(crate) const KEYS: &[Key] = &[
    Key {
        name: "data_dir",
        help: "Where this process keeps its files: catalog, lake, spill, owner-token.",
        expected: Folder::EXPECTED,
        set: |settings, text| {
            settings.data_dir = Folder::read(text)?;
            Some(())
        },
        get: |settings| Folder::print(&settings.data_dir),
    },
    key!(rest.listen, Address, "Address and port of the REST API; port 0 takes any free one."),
    key!(rest.max_connections, Count, "Connections open at once."),
    key!(rest.drain_timeout, SpanOrZero, "How long running requests may take to end after SIGTERM."),
    key!(rest.header_timeout, Span, "How long a client may take to send a request's headers."),
    key!(rest.write_timeout, Span, "How long a client may take none of an answer's bytes."),
    key!(
        rest.public_url,
        Web,
        "Where clients reach this gateway, such as https://data.example.org; empty asks the request."
    ),
    key!(
        rest.cors_origins,
        Origins,
        "Origins whose pages may call the API, such as https://app.example.org; * is any."
    ),
    key!(rest.trusted_proxies, Networks, "Proxies whose X-Forwarded headers are believed, such as 10.0.0.0/8."),
    key!(flight.listen, Address, "Address and port of Arrow Flight SQL; port 0 takes any free one."),
    key!(flight.max_connections, Count, "Connections open at once."),
    key!(flight.max_message, Size, "Bytes of one message that comes in."),
    key!(flight.write_timeout, Span, "How long a client may take none of an answer's rows."),
    key!(
        flight.tls_certificate,
        OptionalFile,
        "PEM file with the certificate and those that lead to its root; with tls_key the listener speaks TLS alone."
    ),
    key!(flight.tls_key, OptionalFile, "PEM file with the certificate's private key."),
    key!(
        catalog.url,
        Web,
        "The companion that holds the catalog, such as https://catalog.example.org:7782; empty keeps it in this process."
    ),
    key!(catalog.token_file, OptionalFile, "File with the token by which the companion knows this gateway."),
    key!(catalog.trusted_certificates, OptionalFile, "PEM file with certificates to trust for catalog.url."),
    key!(catalog.timeout, Span, "How long one call of the companion may take."),
    key!(
        catalog.stale_for,
        SpanOrZero,
        "How long what was decided counts when the companion is away, for reading alone; at most 60s."
    ),
    key!(catalog.issuers_file, OptionalFile, "TOML file with an [[issuer]] for each issuer whose JWTs are taken."),
    key!(
        catalog.create_principals,
        Truth,
        "Whether somebody who first comes with such a JWT becomes a principal, without any right."
    ),
    key!(catalog.listen, Address, "Address and port of `lakegate catalog`; port 0 takes any free one."),
    key!(catalog.max_connections, Count, "Connections of gateways that the companion holds open at once."),
    key!(catalog.tls_certificate, OptionalFile, "PEM file with the companion's certificate and its chain."),
    key!(catalog.tls_key, OptionalFile, "PEM file with that certificate's private key."),
    key!(catalog.audit_for, Span, "How long the audit is kept: system.audit and system.queries."),
    Key {
        get: |settings| Database::print(&Some(settings.database_url())),
        ..key!(catalog.database_url, Database, "The catalog's database; default sqlite:<data_dir>/catalog.db.")
    },
    Key {
        get: |settings| Store::print(&Some(settings.storage_root())),
        ..key!(storage.root, Store, "Where root datasets are stored; default file://<data_dir>/lake/root.")
    },
    key!(
        storage.retention,
        Span,
        "How long files of older versions stay; at least twice query.max_timeout, jobs.query_timeout and ingest.timeout."
    ),
    key!(storage.allow_http, Truth, "Whether a store's endpoint may be http://, which anyone on the way can read."),
    key!(storage.request_timeout, Span, "Deadline of one request to a remote store."),
    key!(storage.retry_timeout, SpanOrZero, "How long a failing request to a remote store is tried again."),
    key!(storage.s3.endpoint, Endpoint, "Where s3:// is when it is not AWS; empty takes AWS_ENDPOINT_URL, else AWS."),
    key!(storage.s3.region, Word, "The bucket's region; empty takes AWS_REGION, else us-east-1."),
    key!(storage.s3.path_style, Truth, "Whether requests name the bucket in their path; false puts it in the host."),
    key!(storage.azure.account, Word, "The storage account of az://; empty takes AZURE_STORAGE_ACCOUNT_NAME."),
    key!(storage.azure.endpoint, Endpoint, "Where az:// is when it is not Azure's public cloud."),
    key!(query.memory, Size, "Memory of all queries together."),
    key!(query.memory_per_query, Size, "Memory of one query; never more than query.memory."),
    key!(
        query.process_memory,
        SizeOrZero,
        "The process's memory at which the largest query is cancelled; 0 is twice query.memory, and what else it may use."
    ),
    key!(query.spill_per_query, SizeOrZero, "Disk that one query may spill to."),
    key!(query.threads, CountOrZero, "Threads that run queries; 0 is one per core."),
    key!(query.timeout, Span, "Deadline of a query that names none; never more than query.max_timeout."),
    key!(query.max_timeout, Span, "The longest deadline that a query may ask for."),
    key!(query.max_concurrent, Count, "Queries running at once; eight times as many may wait."),
    key!(query.default_rows, Count, "Rows of a JSON answer to a query that names no limit."),
    key!(ingest.max_body, Size, "Bytes of one push after decompression."),
    key!(ingest.max_row, Size, "Bytes of one row as text."),
    key!(ingest.max_concurrent, Count, "Pushes running at once; more wait."),
    key!(ingest.memory, Size, "Memory of all pushes together; a push waits until there is room for it."),
    key!(ingest.max_queued, CountOrZero, "Pushes that may wait; more are refused as overloaded."),
    key!(ingest.queue_timeout, Span, "How long a push may wait for its turn."),
    key!(ingest.idempotency_window, Span, "How long an Idempotency-Key is remembered."),
    key!(ingest.timeout, Span, "Deadline of one push."),
    key!(ingest.idle_timeout, Span, "How long a push may send nothing."),
    key!(jobs.concurrent, Count, "Jobs that this gateway does side by side."),
    key!(jobs.per_tenant, Count, "Jobs of one tenant that run side by side, wherever they run."),
    key!(jobs.max_waiting, Count, "Statements in the background of one principal that may wait; more are refused."),
    key!(jobs.lease, Span, "How long whoever does a job may be silent before it is given to somebody else."),
    key!(jobs.query_timeout, Span, "The longest that a statement in the background may take."),
    key!(jobs.max_result, Size, "Bytes of the result of a statement in the background."),
    key!(jobs.results_for, Span, "How long a job that has ended is kept, and its result."),
    key!(log.format, Format, "How log lines look: text on a terminal and JSON otherwise (auto), text, or json."),
    key!(log.level, Level, "What is logged: a level, or directives such as info,lakegate_query=debug."),
    key!(
        otel.endpoint,
        Web,
        "Where traces and metrics go over OTLP/HTTP, such as http://127.0.0.1:4318; empty is nowhere."
    ),
    key!(otel.interval, Span, "How often metrics are sent."),
];

/// The setting with this name.
pub(crate) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// The name of the setting that is most like `name`, which may be a whole name, a section or a key alone.
pub(crate) fn nearest(name: &str) -> &'static str {
    let name: String = name.chars().take(80).collect();
    let distance = |key: &&Key| {
        let (section, last) = key.name.rsplit_once('.').unwrap_or((key.name, key.name));
        [key.name, section, last].map(|word| strsim::damerau_levenshtein(word, &name)).into_iter().min()
    };
    KEYS.iter().min_by_key(distance).map_or("data_dir", |key| key.name)
}
