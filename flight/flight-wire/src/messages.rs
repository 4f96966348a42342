//! Messages of `Flight.proto` and `FlightSql.proto` that the `arrow-flight` crate leaves out, by their published numbers.

use std::collections::HashMap;

use arrow_flight::sql::{ActionCreatePreparedStatementResult, Any, ProstMessageExt as _};
use prost::{Enumeration, Message, Oneof};

/// A value of a session option.
#[derive(Clone, PartialEq, Message)]
pub struct SessionOptionValue {
    /// The value; none unsets the option.
    #[prost(oneof = "OptionValue", tags = "1, 2, 3, 4, 5")]
    pub option_value: Option<OptionValue>,
}

/// What a session option can be; none unsets it.
#[derive(Clone, PartialEq, Oneof)]
pub enum OptionValue {
    /// `string_value`
    #[prost(string, tag = "1")]
    Text(String),
    /// `bool_value`
    #[prost(bool, tag = "2")]
    Truth(bool),
    /// `int64_value`
    #[prost(sfixed64, tag = "3")]
    Whole(i64),
    /// `double_value`
    #[prost(double, tag = "4")]
    Real(f64),
    /// `string_list_value`
    #[prost(message, tag = "5")]
    Texts(Texts),
}

/// A list of texts.
#[derive(Clone, PartialEq, Message)]
pub struct Texts {
    /// The texts in their order.
    #[prost(string, repeated, tag = "1")]
    pub values: Vec<String>,
}

/// The body of `SetSessionOptions`.
#[derive(Clone, PartialEq, Message)]
pub struct SetSessionOptionsRequest {
    /// The options to set, by name.
    #[prost(map = "string, message", tag = "1")]
    pub session_options: HashMap<String, SessionOptionValue>,
}

/// The result of `SetSessionOptions`.
#[derive(Clone, PartialEq, Message)]
pub struct SetSessionOptionsResult {
    /// The options that were not set.
    #[prost(map = "string, message", tag = "1")]
    pub errors: HashMap<String, SetSessionOptionError>,
}

/// What is wrong with one option.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct SetSessionOptionError {
    /// A [`SetSessionOptionErrorValue`].
    #[prost(enumeration = "SetSessionOptionErrorValue", tag = "1")]
    pub value: i32,
}

/// Why an option was not set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum SetSessionOptionErrorValue {
    /// Nothing is said.
    Unspecified = 0,
    /// There is no such option.
    InvalidName = 1,
    /// The option cannot have this value.
    InvalidValue = 2,
    /// Something else.
    Error = 3,
}

/// The result of `GetSessionOptions`.
#[derive(Clone, PartialEq, Message)]
pub struct GetSessionOptionsResult {
    /// The options that hold, by name.
    #[prost(map = "string, message", tag = "1")]
    pub session_options: HashMap<String, SessionOptionValue>,
}

/// The result of `CloseSession`.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct CloseSessionResult {
    /// A [`CloseSessionStatus`].
    #[prost(enumeration = "CloseSessionStatus", tag = "1")]
    pub status: i32,
}

/// Whether a session is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum CloseSessionStatus {
    /// Nothing is said.
    Unspecified = 0,
    /// It is.
    Closed = 1,
    /// It will be.
    Closing = 2,
    /// It cannot be.
    NotCloseable = 3,
}

/// `DoPutUpdateResult`, with what else an ingest tells; clients pass over fields that they do not know.
#[derive(Clone, PartialEq, Message)]
pub struct IngestResult {
    /// Rows that were stored.
    #[prost(int64, tag = "1")]
    pub record_count: i64,
    /// Names what was stored.
    #[prost(string, tag = "1001")]
    pub receipt: String,
    /// `committed` or `duplicate`.
    #[prost(string, tag = "1002")]
    pub status: String,
    /// The version that holds the rows.
    #[prost(uint64, tag = "1003")]
    pub version: u64,
}

/// `ActionCreatePreparedStatementResult` with the field that the crate does not know yet.
#[derive(Clone, PartialEq, Message)]
pub struct PreparedStatementResult {
    /// What stands for the statement from now on.
    #[prost(bytes = "vec", tag = "1")]
    pub handle: Vec<u8>,
    /// The schema of its rows as an IPC message; empty when it has none.
    #[prost(bytes = "vec", tag = "2")]
    pub dataset_schema: Vec<u8>,
    /// That of its parameters.
    #[prost(bytes = "vec", tag = "3")]
    pub parameter_schema: Vec<u8>,
    /// Whether it is to be run as an update: it has no rows.
    #[prost(bool, optional, tag = "4")]
    pub is_update: Option<bool>,
}

impl PreparedStatementResult {
    /// As the body of an action's result.
    pub fn packed(&self) -> Any {
        Any { type_url: ActionCreatePreparedStatementResult::type_url().to_owned(), value: self.encode_to_vec().into() }
    }
}
