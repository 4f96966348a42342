//! The settings of a Lakegate process: plain data, checked before anything is built from it.
//!
//! It does no IO: the caller collects [`Sources`] (flags, environment, the text of a file) and reads
//! the first existing file of [`search_path`]. It builds nothing and knows no other crate of Lakegate.
//!
//! The main type is [`Settings`]. **Precedence: flags > environment (`LAKEGATE__SECTION__KEY`) > file >
//! defaults**, key by key; [`Settings::from_sources`] is the one place that knows it. One table of keys serves
//! reading, printing and the error that names the nearest key.

mod effective;
mod error;
mod file;
mod form;
mod keys;
mod network;
mod paths;
mod settings;
mod size;
mod sources;
mod span;

pub use error::{ConfigError, Place};
pub use network::{Network, ParseNetworkError};
pub use paths::search_path;
pub use settings::{Azure, Catalog, Flight, Ingest, Jobs, Log, LogFormat, Otel, Query, Rest, S3, Settings, Storage};
pub use size::ByteSize;
pub use sources::Sources;
