//! Pushes: from a body that arrives to one committed version and its receipt.
//!
//! A push is admitted, its caller's right is asked for, its body is unpacked, counted and hashed while it arrives, read
//! into batches of the dataset's columns, written to files and committed: all of it or nothing. It knows no protocol: a
//! body is a stream of bytes in a [`Format`](lakegate_formats::Format), wherever it comes from.
//!
//! The main type is [`Ingest`]; [`Ingest::push`] does all of it.
//!
//! In reading order: `push` has the steps; `admission` and `turns` say who goes first; `body` and `packing` take in bytes;
//! `decode` makes rows of them, `infer` columns; `creation` makes datasets; `receipt` names what was stored.

mod admission;
mod body;
mod creation;
mod decode;
mod error;
mod infer;
mod limits;
mod packing;
mod push;
mod receipt;
mod turns;

pub use admission::{Place, Size};
pub use body::Body;
pub use creation::{allow_create, check_width, create_dataset};
pub use error::{IngestError, Result};
pub use limits::Limits;
pub use packing::Packing;
pub use push::{Create, Ingest, Push, PushUsage, Stored};
pub use receipt::Receipt;

/// The target of spans for a collector of traces. They are apart from the log: the names of things stay out of them.
pub const TRACE: &str = "lakegate_trace";
