//! The messages of Flight SQL as strangers send them, and the handles that they bring back.
//!
//! It is pure and synchronous: bytes become a message or a [`WireError`]. Nothing here knows a query or a dataset, so that
//! it is built and fuzzed alone. What a message asks for is done by `lakegate-flight-sql`.
//!
//! In reading order: `command` reads what a descriptor, a ticket or an action holds, `handle` signs what is handed out,
//! `messages` has those that the `arrow-flight` crate leaves out.

mod command;
mod error;
mod handle;
mod messages;

pub use command::{command, packed};
pub use error::{Result, WireError};
pub use handle::{Purpose, Seal};
pub use messages::{
    CloseSessionResult, CloseSessionStatus, GetSessionOptionsResult, IngestResult, OptionValue,
    PreparedStatementResult, SessionOptionValue, SetSessionOptionError, SetSessionOptionErrorValue,
    SetSessionOptionsRequest, SetSessionOptionsResult, Texts,
};
