//! CSV as RFC 4180 has it, read strictly. Its empty field tells NULL (nothing) from text (`""`).

mod decode;
mod record;

pub(crate) use decode::{Header, check_names, check_width};
pub(crate) use record::{Record, read_record};
