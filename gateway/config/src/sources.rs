//! From flags, environment and file to settings: the one place that knows precedence.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::effective::hide_secrets;
use crate::error::{ConfigError, Place};
use crate::file;
use crate::keys;
use crate::paths::{absolute, default_data_dir};
use crate::settings::Settings;

/// All that settings are made from; collected by the caller, so that reading them needs no IO.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// `(section.key, value)` from the command line; of two for one key the later counts.
    pub flags: Vec<(String, String)>,
    /// The whole environment: `LAKEGATE__…`, and `HOME` and `XDG_*` for default folders.
    pub env: Vec<(String, String)>,
    /// The settings file and its text, if there is one.
    pub file: Option<(PathBuf, String)>,
    /// What a relative `data_dir` is relative to, whichever source names it.
    pub working_dir: PathBuf,
}

/// How variables start that are settings. Two underscores, so that `LAKEGATE_TOKEN` is none.
const PREFIX: &str = "LAKEGATE__";

impl Settings {
    /// The settings in effect: flags > environment > file > defaults, key by key. Every source is checked
    /// whole, also what another overrides.
    pub fn from_sources(sources: &Sources) -> Result<Self, ConfigError> {
        let mut settings = Self::with_data_dir("");
        let mut asked = Asked::new();
        if let Some((path, text)) = &sources.file {
            for entry in file::entries(path, text)? {
                set(&mut settings, &mut asked, &entry.name, &entry.text, entry.place)?;
            }
        }
        for (variable, value) in &sources.env {
            if let Some(name) = variable.strip_prefix(PREFIX) {
                let name = name.to_ascii_lowercase().replace("__", ".");
                set(&mut settings, &mut asked, &name, value, Place::Env(variable.clone()))?;
            }
        }
        for (name, value) in &sources.flags {
            set(&mut settings, &mut asked, name, value, Place::Flag)?;
        }
        settings.complete(sources, &asked)
    }

    /// Fills in what depends on other settings or on the environment. A default gives way to what others leave it; a value
    /// that somebody asked for is refused, not changed.
    fn complete(mut self, sources: &Sources, asked: &Asked) -> Result<Self, ConfigError> {
        if self.data_dir == Path::new("") {
            self.data_dir = default_data_dir(&sources.env).ok_or(ConfigError::NoDataDir)?;
        }
        self.data_dir = absolute(&self.data_dir, &sources.env, &sources.working_dir);
        let files = [
            &mut self.flight.tls_certificate,
            &mut self.flight.tls_key,
            &mut self.catalog.token_file,
            &mut self.catalog.trusted_certificates,
            &mut self.catalog.tls_certificate,
            &mut self.catalog.tls_key,
        ];
        for file in files.into_iter().flatten() {
            *file = absolute(file, &sources.env, &sources.working_dir);
        }
        let before = self.clone();
        self.query.timeout = self.query.timeout.min(self.query.max_timeout);
        self.query.memory_per_query = self.query.memory_per_query.min(self.query.memory);
        self.catalog.stale_for = self.catalog.stale_for.min(Duration::from_secs(60));
        let longest = self.query.max_timeout.max(self.ingest.timeout).max(self.jobs.query_timeout);
        self.storage.retention = self.storage.retention.max(longest.saturating_mul(2));
        for (name, why) in FITTED {
            let key = keys::find(name).filter(|key| (key.get)(&before) != (key.get)(&self));
            if let Some((key, place)) = key.and_then(|key| Some((key, asked.get(key.name)?))) {
                let (value, bound) = ((key.get)(&before).to_string(), (key.get)(&self).to_string());
                return Err(ConfigError::Unfitting { key: key.name, place: place.clone(), value, bound, why });
            }
        }
        Ok(self)
    }
}

/// Where the settings come from that are not the defaults.
type Asked = BTreeMap<&'static str, Place>;

/// Settings that others bound, and by what.
const FITTED: [(&str, &str); 4] = [
    ("catalog.stale_for", "what was decided longer ago may have been taken back since"),
    ("query.timeout", "no query may take longer than `query.max_timeout`"),
    ("query.memory_per_query", "all queries together have `query.memory`"),
    (
        "storage.retention",
        "readers and writers need their files for twice `query.max_timeout`, `jobs.query_timeout` and `ingest.timeout`",
    ),
];

/// Sets one key, and remembers where it was asked for.
fn set(settings: &mut Settings, asked: &mut Asked, name: &str, value: &str, place: Place) -> Result<(), ConfigError> {
    let Some(key) = keys::find(name) else {
        return Err(unknown(name, place));
    };
    if (key.set)(settings, value).is_none() {
        let value = hide_secrets(value).chars().take(80).collect();
        return Err(ConfigError::BadValue { key: key.name, place, expected: key.expected, value });
    }
    asked.insert(key.name, place);
    Ok(())
}

fn unknown(name: &str, place: Place) -> ConfigError {
    let nearest = keys::nearest(name);
    let nearest = match &place {
        Place::Env(_) => format!("{PREFIX}{}", nearest.replace('.', "__").to_ascii_uppercase()),
        _ => nearest.to_owned(),
    };
    ConfigError::UnknownKey { key: name.chars().take(80).collect(), place, nearest }
}
