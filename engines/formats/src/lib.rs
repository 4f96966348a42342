//! Bodies of pushes into Arrow record batches, and Arrow record batches into bodies of answers.
//!
//! It is pure and synchronous: bytes are fed in as they arrive and bytes come out, nothing here
//! waits, and nothing here knows HTTP, SQL or storage. Memory is bounded by a batch and a row.
//!
//! The main types are [`BodyReader`] (in) and [`RowEncoder`] (out).
//! [`Gunzip`] unpacks compressed bodies, [`Inferrer`] finds the columns of a body without a schema.

mod body;
mod column;
mod csv;
mod encode;
mod error;
mod format;
mod gunzip;
mod infer;
mod json;
mod rows;
mod text;

pub use body::{BodyLimits, BodyReader};
pub use encode::{RowEncoder, answer_schema, unique_names, value_to_json};
pub use error::{FormatError, Place, Result};
pub use format::Format;
pub use gunzip::Gunzip;
pub use infer::Inferrer;
