//! Precedence, refusals and the printed form of settings.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lakegate_config::{ByteSize, ConfigError, LogFormat, Settings, Sources};
use proptest::prelude::*;

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn sources(flags: &[(&str, &str)], env: &[(&str, &str)], file: &str) -> Sources {
    let mut env = pairs(env);
    env.push(("HOME".to_owned(), "/home/ann".to_owned()));
    Sources {
        flags: pairs(flags),
        env,
        file: Some((PathBuf::from("lakegate.toml"), file.to_owned())),
        working_dir: PathBuf::from("/srv"),
    }
}

fn from_file(text: &str) -> Result<Settings, ConfigError> {
    Settings::from_sources(&sources(&[], &[], text))
}

fn message(result: Result<Settings, ConfigError>) -> String {
    result.expect_err("the settings must be refused").to_string()
}

#[test]
fn defaults_need_only_a_home() {
    let settings = from_file("").expect("defaults");
    assert_eq!(settings, Settings::with_data_dir("/home/ann/.local/share/lakegate"));
    assert_eq!(settings.database_url(), "sqlite:/home/ann/.local/share/lakegate/catalog.db");
    assert_eq!(settings.storage_root(), "file:///home/ann/.local/share/lakegate/lake/root");
    assert_eq!(Settings::from_sources(&Sources::default()), Err(ConfigError::NoDataDir));
}

/// Every subset of the three sources, each with a value of its own: the strongest one present wins.
#[test]
fn flags_beat_environment_beats_file_beats_defaults() {
    for present in 0..8 {
        let has = |bit: usize| present & bit != 0;
        let file = if has(1) { "[query]\nmax_concurrent = 1" } else { "" };
        let env = [("LAKEGATE__QUERY__MAX_CONCURRENT", "2")];
        let flags = [("query.max_concurrent", "3")];
        let sources = sources(if has(4) { &flags } else { &[] }, if has(2) { &env } else { &[] }, file);
        let settings = Settings::from_sources(&sources).expect("valid");
        let expected = [64, 1, 2, 2, 3, 3, 3, 3][present];
        assert_eq!(settings.query.max_concurrent, expected, "sources {present:03b}");
    }
}

#[test]
fn sources_are_joined_key_by_key() {
    let sources = sources(
        &[("rest.listen", "[::1]:0"), ("data_dir", "a"), ("data_dir", "b")],
        &[("LAKEGATE__REST__DRAIN_TIMEOUT", "5s"), ("LAKEGATE__DATA_DIR", "/c"), ("LAKEGATE_TOKEN", "lg_x")],
        "[rest]\nlisten = \"1.2.3.4:1\"\nmax_connections = 1_000\n[ingest]\nmax_row = \"1MiB\"\nmax_body = 2048\n\
         [log]\nformat = \"json\"\nlevel = \"warn,lakegate_query=trace\"\n[storage]",
    );
    let settings = Settings::from_sources(&sources).expect("valid");
    assert_eq!(settings.rest.listen.to_string(), "[::1]:0");
    assert_eq!(settings.rest.drain_timeout, Duration::from_secs(5));
    assert_eq!(settings.rest.max_connections, 1000);
    assert_eq!((settings.ingest.max_row, settings.ingest.max_body), (ByteSize::mib(1), ByteSize::new(2048)));
    assert_eq!((settings.log.format, settings.log.level.as_str()), (LogFormat::Json, "warn,lakegate_query=trace"));
    assert_eq!(settings.data_dir, Path::new("/srv/b"), "the later flag, below the working directory");
}

#[test]
fn folders_are_made_absolute_and_urls_escaped() {
    let settings = from_file("data_dir = \"~/lake gate#1\"").expect("valid");
    assert_eq!(settings.data_dir, Path::new("/home/ann/lake gate#1"));
    assert_eq!(settings.storage_root(), "file:///home/ann/lake%20gate%231/lake/root");
    assert_eq!(settings.database_url(), "sqlite:/home/ann/lake gate#1/catalog.db");
}

#[test]
fn a_dependent_limit_is_never_above_its_whole() {
    let settings = from_file("[query]\nmemory = \"100MiB\"\nmax_timeout = \"10s\"").expect("valid");
    assert_eq!(settings.query.memory_per_query, ByteSize::mib(100));
    assert_eq!(settings.query.timeout, Duration::from_secs(10));
}

#[test]
fn a_value_that_others_leave_no_room_for_is_refused() {
    for (text, expected) in [
        (
            "[query]\ntimeout = \"2h\"",
            "lakegate.toml, line 2: `query.timeout` is 2h, and the nearest that fits the other settings is 1h: no query may take longer \
             than `query.max_timeout`; change one of them",
        ),
        (
            "[query]\nmemory = \"1GiB\"\nmemory_per_query = \"2GiB\"",
            "lakegate.toml, line 3: `query.memory_per_query` is 2GiB, and the nearest that fits the other settings is 1GiB: all \
             queries together have `query.memory`; change one of them",
        ),
        (
            "[storage]\nretention = \"1h\"",
            "lakegate.toml, line 2: `storage.retention` is 1h, and the nearest that fits the other settings is 2h: readers and writers \
             need their files for twice `query.max_timeout`, `jobs.query_timeout` and `ingest.timeout`; change one of them",
        ),
    ] {
        assert_eq!(from_file(text).expect_err(text).to_string(), expected);
    }
    assert!(from_file("[query]\nmax_timeout = \"2h\"\ntimeout = \"2h\"").is_ok());
}

#[test]
fn an_unknown_key_is_refused_and_the_nearest_named() {
    for (text, expected) in [
        (
            "[rest]\nlistn = \"a\"",
            "lakegate.toml, line 2: there is no setting `rest.listn`; the nearest is `rest.listen`",
        ),
        ("listen = \"a\"", "lakegate.toml, line 1: there is no setting `listen`; the nearest is `rest.listen`"),
        ("datadir = \"a\"", "lakegate.toml, line 1: there is no setting `datadir`; the nearest is `data_dir`"),
        (
            "\n[query]\nmax_timeouts = \"1s\"",
            "lakegate.toml, line 3: there is no setting `query.max_timeouts`; the nearest is `query.max_timeout`",
        ),
        ("[logs]", "lakegate.toml, line 1: there is no setting `logs`; the nearest is `log.format`"),
        ("[log.level]\na = 1", "lakegate.toml, line 2: there is no setting `log.level.a`; the nearest is `log.level`"),
    ] {
        assert_eq!(message(from_file(text)), expected);
    }
    let env = sources(&[], &[("LAKEGATE__INGEST__MAXBODY", "1")], "");
    assert_eq!(
        message(Settings::from_sources(&env)),
        "environment variable LAKEGATE__INGEST__MAXBODY: there is no setting `ingest.maxbody`; the nearest is \
         `LAKEGATE__INGEST__MAX_BODY`"
    );
    let flag = sources(&[("rest.port", "1")], &[], "");
    assert!(message(Settings::from_sources(&flag)).starts_with("the command line: there is no setting `rest.port`"));
}

#[test]
fn a_bad_value_names_key_place_and_form() {
    assert_eq!(
        message(from_file("[rest]\n\nlisten = 7780")),
        "lakegate.toml, line 3: `rest.listen` must be an IP address and a port such as \"127.0.0.1:7780\" or \
         \"[::1]:7780\", not `7780`"
    );
    let env = sources(&[], &[("LAKEGATE__QUERY__TIMEOUT", "60")], "");
    assert_eq!(
        message(Settings::from_sources(&env)),
        "environment variable LAKEGATE__QUERY__TIMEOUT: `query.timeout` must be a duration above zero such as \"30s\", \
         \"10m\" or \"1h\", not `60`"
    );
    for (key, value) in [
        ("query.memory", "0"),
        ("query.memory", "1.5GiB"),
        ("query.threads", "-1"),
        ("query.threads", "99999999999"),
        ("query.default_rows", "0"),
        ("ingest.idle_timeout", "0s"),
        ("catalog.database_url", "mysql://db"),
        ("catalog.database_url", "sqlite:"),
        ("storage.root", "/srv/lake"),
        ("storage.allow_http", "yes"),
        ("storage.request_timeout", "0s"),
        ("storage.s3.endpoint", "s3.example.org"),
        ("storage.s3.endpoint", "https://key:secret@s3.example.org"),
        ("storage.s3.region", "eu west"),
        ("log.format", "xml"),
        ("log.level", "loud"),
        ("rest.public_url", "data.example.org"),
        ("rest.cors_origins", "https://a.example/app"),
        ("rest.cors_origins", "a.example"),
        ("rest.trusted_proxies", "10.0.0.0/8, proxy"),
        ("ingest.memory", "0"),
        ("jobs.lease", "0s"),
        ("jobs.per_tenant", "0"),
        ("jobs.max_waiting", "0"),
        ("jobs.max_result", "0"),
        ("otel.endpoint", "localhost:4318"),
        ("data_dir", ""),
    ] {
        let error = Settings::from_sources(&sources(&[(key, value)], &[], "")).expect_err(key);
        assert!(matches!(&error, ConfigError::BadValue { key: named, .. } if *named == key), "{error}");
    }
    for (text, shown) in [("[query]\nthreads = [1]", "<array>"), ("[query]\nthreads = true", "true")] {
        assert!(message(from_file(text)).ends_with(&format!("not `{shown}`")), "{text}");
    }
}

#[test]
fn what_is_overridden_is_checked_too() {
    let sources = sources(&[("query.threads", "1")], &[], "[query]\nthreads = \"many\"");
    assert!(message(Settings::from_sources(&sources)).contains("`query.threads` must be a whole number"));
}

#[test]
fn no_message_and_no_print_shows_a_password() {
    let url = "postgres://ann:hunter2@db/lake";
    let printed = from_file(&format!("[catalog]\ndatabase_url = \"{url}\"")).expect("valid").effective_toml();
    assert!(printed.contains("database_url = \"postgres://ann:***@db/lake\""), "{printed}");
    for text in [
        "[catalog]\ndatabase_url = \"mysql://ann:hunter2@db/lake\"",
        "[catalog]\ndatabase_url = \"postgres://ann:hunter2@db:x/lake\"",
        "[catalog]\ndatabase_url = \"postgres://ann:hunter2@db/lake",
    ] {
        assert!(!message(from_file(text)).contains("hunter2"), "{text}");
    }
}

#[test]
fn stores_have_sections_of_their_own() {
    let sources = sources(
        &[("storage.azure.account", "ann")],
        &[("LAKEGATE__STORAGE__S3__REGION", "eu-west-1"), ("LAKEGATE__STORAGE__ALLOW_HTTP", "true")],
        "[storage]\nroot = \"s3://lake/a\"\n[storage.s3]\nendpoint = \"http://127.0.0.1:9\"\npath_style = false\n\
         [storage.azure]",
    );
    let storage = Settings::from_sources(&sources).expect("valid").storage;
    assert_eq!(storage.s3.endpoint.as_deref(), Some("http://127.0.0.1:9"));
    assert_eq!((storage.s3.region.as_deref(), storage.s3.path_style), (Some("eu-west-1"), false));
    assert_eq!((storage.azure.account.as_deref(), storage.azure.endpoint), (Some("ann"), None));
    assert!(storage.allow_http && storage.request_timeout + storage.retry_timeout < Duration::from_secs(60));
}

#[test]
fn a_list_is_written_with_commas_or_as_an_array() {
    let array = "[rest]\ncors_origins = [\"https://a.example\", \"http://b.example:8080\"]";
    let text = "[rest]\ncors_origins = \"https://a.example, http://b.example:8080\"";
    let settings = from_file(array).expect("valid");
    assert_eq!(settings.rest.cors_origins, ["https://a.example", "http://b.example:8080"]);
    assert_eq!(from_file(text), Ok(settings.clone()));
    assert!(settings.effective_toml().contains("cors_origins = \"https://a.example,http://b.example:8080\""));
}

#[test]
fn a_file_that_is_not_toml_is_refused_with_its_line() {
    assert!(message(from_file("[rest]\nlisten = \n")).starts_with("lakegate.toml, line 2: not valid TOML"));
    assert!(message(from_file("[rest]\n[rest]\n")).starts_with("lakegate.toml, line 2: not valid TOML"));
}

#[test]
fn the_effective_settings_explain_each_key() {
    let printed = Settings::with_data_dir("/d").effective_toml();
    let expected =
        "# Where this process keeps its files: catalog, lake, spill, owner-token.\ndata_dir = \"/d\"\n\n[rest]\n# ";
    assert!(printed.starts_with(expected), "{printed}");
    for line in
        ["listen = \"127.0.0.1:7780\"", "memory = \"1GiB\"", "default_rows = 10000", "root = \"file:///d/lake/root\""]
    {
        assert!(printed.lines().any(|printed| printed == line), "{line} in {printed}");
    }
}

#[test]
fn the_catalog_is_in_the_data_folder_however_it_is_written() {
    for (folder, url) in [
        ("/srv/lake", "sqlite:/srv/lake/catalog.db"),
        ("//?@", "sqlite:/?@/catalog.db"),
        ("///a", "sqlite:/a/catalog.db"),
    ] {
        assert_eq!(Settings::with_data_dir(folder).database_url(), url);
    }
}

proptest! {
    /// What is printed, read as a file, gives the same settings.
    #[test]
    fn effective_settings_read_back(
        threads in 0_usize..1000,
        memory in 1_u64..1 << 50,
        millis in 1_u64..1 << 30,
        folder in "/[^\0\\p{Cc}]{0,20}",
        level in prop::sample::select(vec!["info", "debug,a=off"]),
    ) {
        let mut settings = Settings::with_data_dir(&folder);
        settings.query.threads = threads;
        settings.query.memory = ByteSize::new(memory);
        settings.query.memory_per_query = ByteSize::new(memory);
        settings.ingest.timeout = Duration::from_millis(millis);
        settings.jobs.query_timeout = Duration::from_millis(millis);
        settings.jobs.max_result = ByteSize::new(memory);
        settings.storage.retention = settings.storage.retention.max(2 * settings.ingest.timeout);
        settings.log.level = level.to_owned();
        settings.catalog.database_url = Some(settings.database_url());
        settings.storage.root = Some(settings.storage_root());
        settings.storage.s3.endpoint = (threads % 2 == 0).then(|| format!("https://s3.example.org:{threads}"));
        settings.storage.s3.path_style = threads % 3 == 0;
        settings.rest.trusted_proxies = vec!["10.0.0.0/8".parse().expect("a network"), "::1".parse().expect("one")];
        settings.rest.cors_origins = vec!["https://a.example".to_owned(), "*".to_owned()];
        settings.otel.endpoint = Some("http://127.0.0.1:4318".to_owned());
        let read = from_file(&settings.effective_toml());
        prop_assert_eq!(read, Ok(settings));
    }
}
