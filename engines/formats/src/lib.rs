//! Bodies of pushes into Arrow record batches, and Arrow record batches into bodies of answers.
//!
//! It is pure and synchronous: bytes are fed in as they arrive and bytes come out, nothing here
//! waits, and nothing here knows HTTP, SQL or storage. Memory is bounded by a batch and a row.
//!
//! The main types are [`BodyReader`] (in) and RowEncoder (out).

mod body;
mod column;
mod csv;
mod error;
mod format;
mod json;
mod rows;
mod text;

pub use body::{BodyLimits, BodyReader};
pub use error::{FormatError, Place, Result};
pub use format::Format;
