//! The forms that values have: how each is read from text, bounded and written back.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::network::Network;
use crate::settings::LogFormat;
use crate::size::ByteSize;
use crate::span;

/// A value as `Settings::effective_toml` writes it.
#[derive(PartialEq)]
pub(crate) enum Printed {
    /// A TOML string.
    Text(String),
    /// A TOML integer.
    Number(usize),
    /// A TOML boolean.
    Truth(bool),
}

impl fmt::Display for Printed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Number(number) => number.fmt(f),
            Self::Truth(truth) => truth.fmt(f),
        }
    }
}

/// One form. The text may come from a flag, a variable or a TOML scalar.
pub(crate) trait Form {
    /// What the settings keep.
    type Value;

    /// The form in words, to follow "must be".
    const EXPECTED: &'static str;

    /// Reads and bounds; `None` when the text does not have the form.
    fn read(text: &str) -> Option<Self::Value>;

    /// Writes so that `read` gives the same value.
    fn print(value: &Self::Value) -> Printed;
}

/// A whole number, at least 1.
pub(crate) struct Count;

impl Form for Count {
    type Value = usize;
    const EXPECTED: &'static str = "a whole number, at least 1";

    fn read(text: &str) -> Option<usize> {
        CountOrZero::read(text).filter(|count| *count > 0)
    }

    fn print(value: &usize) -> Printed {
        Printed::Number(*value)
    }
}

/// A whole number.
pub(crate) struct CountOrZero;

impl Form for CountOrZero {
    type Value = usize;
    const EXPECTED: &'static str = "a whole number";

    fn read(text: &str) -> Option<usize> {
        text.trim().parse().ok().filter(|count| u32::try_from(*count).is_ok())
    }

    fn print(value: &usize) -> Printed {
        Printed::Number(*value)
    }
}

/// A size above zero.
pub(crate) struct Size;

impl Form for Size {
    type Value = ByteSize;
    const EXPECTED: &'static str = "a size above zero such as \"512MiB\" or \"4GiB\"";

    fn read(text: &str) -> Option<ByteSize> {
        SizeOrZero::read(text).filter(|size| *size > ByteSize::ZERO)
    }

    fn print(value: &ByteSize) -> Printed {
        Printed::Text(value.to_string())
    }
}

/// A size.
pub(crate) struct SizeOrZero;

impl Form for SizeOrZero {
    type Value = ByteSize;
    const EXPECTED: &'static str = "a size such as \"512MiB\" or \"4GiB\"";

    fn read(text: &str) -> Option<ByteSize> {
        text.parse().ok()
    }

    fn print(value: &ByteSize) -> Printed {
        Printed::Text(value.to_string())
    }
}

/// A span of time above zero.
pub(crate) struct Span;

impl Form for Span {
    type Value = Duration;
    const EXPECTED: &'static str = "a duration above zero such as \"30s\", \"10m\" or \"1h\"";

    fn read(text: &str) -> Option<Duration> {
        SpanOrZero::read(text).filter(|span| !span.is_zero())
    }

    fn print(value: &Duration) -> Printed {
        Printed::Text(span::print(*value))
    }
}

/// A span of time.
pub(crate) struct SpanOrZero;

impl Form for SpanOrZero {
    type Value = Duration;
    const EXPECTED: &'static str = "a duration such as \"30s\", \"10m\" or \"1h\"";

    fn read(text: &str) -> Option<Duration> {
        span::parse(text)
    }

    fn print(value: &Duration) -> Printed {
        Printed::Text(span::print(*value))
    }
}

/// An address to listen on.
pub(crate) struct Address;

impl Form for Address {
    type Value = SocketAddr;
    const EXPECTED: &'static str = "an IP address and a port such as \"127.0.0.1:7780\" or \"[::1]:7780\"";

    fn read(text: &str) -> Option<SocketAddr> {
        let text = text.trim();
        text.strip_prefix("localhost:").map_or_else(|| text.parse(), |port| format!("127.0.0.1:{port}").parse()).ok()
    }

    fn print(value: &SocketAddr) -> Printed {
        Printed::Text(value.to_string())
    }
}

/// A folder; made absolute later.
pub(crate) struct Folder;

impl Form for Folder {
    type Value = PathBuf;
    const EXPECTED: &'static str = "the path of a folder";

    fn read(text: &str) -> Option<PathBuf> {
        (!text.is_empty() && !text.contains('\0')).then(|| PathBuf::from(text))
    }

    fn print(value: &PathBuf) -> Printed {
        Printed::Text(value.display().to_string())
    }
}

/// A file, or none; made absolute later.
pub(crate) struct OptionalFile;

impl Form for OptionalFile {
    type Value = Option<PathBuf>;
    const EXPECTED: &'static str = "the path of a file, or nothing";

    fn read(text: &str) -> Option<Option<PathBuf>> {
        (!text.contains('\0')).then(|| Some(PathBuf::from(text)).filter(|path| !path.as_os_str().is_empty()))
    }

    fn print(value: &Option<PathBuf>) -> Printed {
        Printed::Text(value.as_ref().map(|path| path.display().to_string()).unwrap_or_default())
    }
}

/// Where a database is.
pub(crate) struct Database;

impl Form for Database {
    type Value = Option<String>;
    const EXPECTED: &'static str = "sqlite:PATH or postgres://USER:PASSWORD@HOST:PORT/DATABASE";

    fn read(text: &str) -> Option<Option<String>> {
        let file = text.strip_prefix("sqlite:").is_some_and(|path| !path.is_empty());
        let server = ["postgres://", "postgresql://"].iter().any(|scheme| text.starts_with(scheme));
        (file || (server && url::Url::parse(text).is_ok())).then(|| Some(text.to_owned()))
    }

    fn print(value: &Option<String>) -> Printed {
        Printed::Text(value.clone().unwrap_or_default())
    }
}

/// Where objects are.
pub(crate) struct Store;

impl Form for Store {
    type Value = Option<String>;
    const EXPECTED: &'static str = "a URL such as \"file:///srv/lake\" or \"s3://bucket/prefix\"";

    fn read(text: &str) -> Option<Option<String>> {
        (text.contains("://") && url::Url::parse(text).is_ok()).then(|| Some(text.to_owned()))
    }

    fn print(value: &Option<String>) -> Printed {
        Printed::Text(value.clone().unwrap_or_default())
    }
}

/// An address on the web; empty for none.
pub(crate) struct Web;

impl Form for Web {
    type Value = Option<String>;
    const EXPECTED: &'static str = "a URL such as \"https://data.example.org\"";

    fn read(text: &str) -> Option<Option<String>> {
        if text.is_empty() {
            return Some(None);
        }
        let url = url::Url::parse(text).ok()?;
        let plain = url.has_host() && url.query().is_none() && url.fragment().is_none();
        (plain && matches!(url.scheme(), "http" | "https")).then(|| Some(text.trim_end_matches('/').to_owned()))
    }

    fn print(value: &Option<String>) -> Printed {
        Printed::Text(value.clone().unwrap_or_default())
    }
}

/// The parts of a list that is written with commas.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty())
}

/// Origins of web pages.
pub(crate) struct Origins;

impl Form for Origins {
    type Value = Vec<String>;
    const EXPECTED: &'static str = "origins such as \"https://app.example.org\", with commas between them, or \"*\"";

    fn read(text: &str) -> Option<Vec<String>> {
        let origin = |part: &str| {
            let url = url::Url::parse(part).ok();
            let exact = url.is_some_and(|url| url.origin().ascii_serialization() == part);
            (exact || part == "*").then(|| part.to_owned())
        };
        parts(text).map(origin).collect()
    }

    fn print(value: &Vec<String>) -> Printed {
        Printed::Text(value.join(","))
    }
}

/// Networks.
pub(crate) struct Networks;

impl Form for Networks {
    type Value = Vec<Network>;
    const EXPECTED: &'static str = "addresses or networks such as \"10.0.0.0/8\", with commas between them";

    fn read(text: &str) -> Option<Vec<Network>> {
        parts(text).map(|part| part.parse().ok()).collect()
    }

    fn print(value: &Vec<Network>) -> Printed {
        Printed::Text(value.iter().map(Network::to_string).collect::<Vec<_>>().join(","))
    }
}

/// Yes or no.
pub(crate) struct Truth;

impl Form for Truth {
    type Value = bool;
    const EXPECTED: &'static str = "true or false";

    fn read(text: &str) -> Option<bool> {
        text.trim().parse().ok()
    }

    fn print(value: &bool) -> Printed {
        Printed::Truth(*value)
    }
}

/// Where a store answers; empty leaves it open.
pub(crate) struct Endpoint;

impl Form for Endpoint {
    type Value = Option<String>;
    const EXPECTED: &'static str = "a URL such as \"https://s3.example.org\", without credentials, or empty";

    fn read(text: &str) -> Option<Option<String>> {
        if text.is_empty() {
            return Some(None);
        }
        let url = url::Url::parse(text).ok()?;
        let plain = matches!(url.scheme(), "http" | "https") && url.username().is_empty() && url.password().is_none();
        plain.then(|| Some(text.to_owned()))
    }

    fn print(value: &Option<String>) -> Printed {
        Printed::Text(value.clone().unwrap_or_default())
    }
}

/// A name without spaces; empty leaves it open.
pub(crate) struct Word;

impl Form for Word {
    type Value = Option<String>;
    const EXPECTED: &'static str = "a name, or empty";

    fn read(text: &str) -> Option<Option<String>> {
        let fits = text.len() <= 255 && text.chars().all(|c| c.is_ascii_graphic());
        fits.then(|| (!text.is_empty()).then(|| text.to_owned()))
    }

    fn print(value: &Option<String>) -> Printed {
        Printed::Text(value.clone().unwrap_or_default())
    }
}

/// How logs look.
pub(crate) struct Format;

impl Form for Format {
    type Value = LogFormat;
    const EXPECTED: &'static str = "auto, text or json";

    fn read(text: &str) -> Option<LogFormat> {
        match text {
            "auto" => Some(LogFormat::Auto),
            "text" => Some(LogFormat::Text),
            "json" => Some(LogFormat::Json),
            _ => None,
        }
    }

    fn print(value: &LogFormat) -> Printed {
        let word = match value {
            LogFormat::Auto => "auto",
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        };
        Printed::Text(word.to_owned())
    }
}

/// A log level or directives. Only the form is looked at here: a level word, alone or after `=`, in
/// every part.
pub(crate) struct Level;

impl Form for Level {
    type Value = String;
    const EXPECTED: &'static str =
        "a level (off, error, warn, info, debug, trace), or such as \"info,lakegate_query=debug\"";

    fn read(text: &str) -> Option<String> {
        let levels = ["off", "error", "warn", "info", "debug", "trace"];
        let is_level = |part: &str| {
            let word = part.rsplit('=').next().unwrap_or(part).trim();
            levels.iter().any(|level| level.eq_ignore_ascii_case(word))
        };
        text.split(',').all(is_level).then(|| text.to_owned())
    }

    fn print(value: &String) -> Printed {
        Printed::Text(value.clone())
    }
}
