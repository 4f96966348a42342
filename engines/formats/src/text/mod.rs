//! Numbers and times as text: exact, and the same in JSON and in CSV.

pub(crate) mod number;
pub(crate) mod time;
