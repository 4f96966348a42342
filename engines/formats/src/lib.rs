//! Bodies of pushes into Arrow record batches, and Arrow record batches into bodies of answers.
//!
//! It is pure and synchronous: bytes are fed in as they arrive and bytes come out, nothing here
//! waits, and nothing here knows HTTP, SQL or storage. Memory is bounded by a batch and a row.
//!
//! The main types are [`BodyReader`] (in) and [`RowEncoder`] (out); [`ParquetRows`] reads Parquet, which
//! needs the whole body at hand. [`Gunzip`] and [`Unzstd`] unpack compressed bodies, [`Inferrer`] and
//! [`ArrowSchema`] find the columns of a body without a schema.

mod arrow_body;
mod body;
mod column;
mod conform;
mod csv;
mod encode;
mod error;
mod format;
mod guard;
mod gunzip;
mod infer;
mod json;
mod parquet_body;
mod rows;
mod text;
mod text_body;
mod unzstd;

pub use arrow_body::{ArrowBatches, ArrowSchema, STREAM_END, framed};
pub use body::{BodyLimits, BodyReader};
pub use encode::{RowEncoder, answer_schema, plain_batch, unique_names, value_to_json};
pub use error::{FormatError, Place, Result};
pub use format::Format;
pub use guard::is_guarded;
pub use gunzip::Gunzip;
pub use infer::{Inferrer, MAX_COLUMNS};
pub use parquet_body::ParquetRows;
pub use unzstd::Unzstd;
