//! Why a body could not be read or an answer not be written.

use std::fmt;

use lakegate_catalog::ErrorKind;

use crate::format::Format;
use crate::infer::{MAX_COLUMNS, MAX_FIELDS};

/// The result of reading or writing a body.
pub type Result<T, E = FormatError> = std::result::Result<T, E>;

/// Where in a body something is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The data row, counted from 1; 0 when no row is meant (a CSV header).
    pub row: u64,
    /// The line of text on which the row starts, counted from 1; 0 when the format has no lines.
    pub line: u64,
    /// The column, with fields and list positions below it (`tags[3].name`); empty for the whole row.
    pub column: String,
}

impl Place {
    fn prefix(&mut self, outer: &str) {
        let joint = if self.column.is_empty() || self.column.starts_with('[') { "" } else { "." };
        self.column = format!("{outer}{joint}{}", self.column);
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.row, self.line) {
            (0, 0) => f.write_str("body")?,
            (0, line) => write!(f, "header (line {line})")?,
            (row, 0) => write!(f, "row {row}")?,
            (row, line) => write!(f, "row {row} (line {line})")?,
        }
        if !self.column.is_empty() {
            write!(f, ", column `{}`", clip(&self.column))?;
        }
        Ok(())
    }
}

/// Why a body could not be read or an answer not be written.
///
/// | code | when | kind |
/// |---|---|---|
/// | `invalid_json` | the text is not JSON, or a row is not an object | invalid |
/// | `invalid_csv` | stray quote, bare CR, row with too few or too many fields, no header | invalid |
/// | `invalid_utf8` | bytes that are not UTF-8 | invalid |
/// | `type_mismatch` | a value of another kind than the column's type | invalid |
/// | `number_out_of_range` | a number that the column's type cannot hold | invalid |
/// | `unknown_column` | a key or header name that no column has | invalid |
/// | `duplicate_column` | the same key twice in an object, or the same name twice in a header | invalid |
/// | `missing_value` | nothing for a column that must have a value | invalid |
/// | `invalid_column_name` | an inferred name breaks the rules for column names | invalid |
/// | `no_columns` | nothing in the sample shows a column's type | invalid |
/// | `nesting_too_deep` | objects and lists within each other beyond the limit | invalid |
/// | `empty_body` | no row at all | invalid |
/// | `truncated_body` | the body ends within a row, an array or a compressed stream | invalid |
/// | `invalid_gzip`, `invalid_zstd` | the compressed stream is damaged or followed by something else | invalid |
/// | `invalid_arrow`, `invalid_parquet` | the bytes are not what the format says | invalid |
/// | `batch_too_large` | a batch, dictionary, page or row group needs more memory than a push may use | too_large |
/// | `unsupported_body` | a part of Arrow or Parquet that is not read: delta dictionaries, Brotli, encryption … | unsupported |
/// | `row_too_large` | one row is larger than the limit | too_large |
/// | `body_too_large` | the unpacked body is larger than the limit | too_large |
/// | `too_many_columns` | more columns than a dataset may have | too_large |
/// | `unsupported_format` | a format that this reader does not have | unsupported |
/// | `unsupported_type` | a type that this format cannot carry | unsupported |
/// | `encoding_failed` | batches that do not fit the schema they were announced with | internal |
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// The text breaks the format's grammar.
    #[error("{place}: found {found}, expected {expected}")]
    Syntax {
        /// The format whose grammar it breaks.
        format: Format,
        /// Where.
        place: Place,
        /// What is there, clipped.
        found: String,
        /// What could be there.
        expected: String,
    },
    /// Bytes that are not UTF-8.
    #[error("{place}: the bytes are not UTF-8; save the file as UTF-8 and send it again")]
    Utf8 {
        /// Where.
        place: Place,
    },
    /// A value of another kind than the column's type.
    #[error("{place}: found {found}, expected {expected}")]
    Mismatch {
        /// Where.
        place: Place,
        /// The value, clipped.
        found: String,
        /// The type, and the form in which its values are written.
        expected: String,
    },
    /// A number that the column's type cannot hold.
    #[error("{place}: the number {found} is out of range for {expected}")]
    OutOfRange {
        /// Where.
        place: Place,
        /// The number, clipped.
        found: String,
        /// The type.
        expected: String,
    },
    /// A name that no column has.
    #[error("{place}: no column is named `{name}`{}", did_you_mean(nearest.as_deref()))]
    UnknownColumn {
        /// Where.
        place: Place,
        /// The name, clipped.
        name: String,
        /// The known name most like it.
        nearest: Option<String>,
    },
    /// The same name twice.
    #[error("{place}: `{name}` appears twice; keep one")]
    DuplicateColumn {
        /// Where.
        place: Place,
        /// The name, clipped.
        name: String,
    },
    /// Nothing for a column that must have a value.
    #[error("{place}: a value is required, the column is not nullable")]
    MissingValue {
        /// Where.
        place: Place,
    },
    /// An inferred name breaks the rules for column names.
    #[error("{0}")]
    ColumnName(String),
    /// Nothing in the sample shows a column's type.
    #[error("no column can be inferred: every value is null or empty; create the dataset with a schema first")]
    NoColumns,
    /// Objects and lists within each other beyond the limit.
    #[error("{place}: objects and lists are nested more than {limit} deep")]
    TooDeep {
        /// Where.
        place: Place,
        /// The limit.
        limit: usize,
    },
    /// No row at all.
    #[error("the body holds no row; send at least one")]
    Empty,
    /// The body ends too early.
    #[error("{place}: the body ends before {missing}; it was cut off, send it again whole")]
    Truncated {
        /// Where.
        place: Place,
        /// What should have come.
        missing: &'static str,
    },
    /// A damaged compressed stream.
    #[error("the body is not valid gzip: {0}")]
    Gzip(&'static str),
    /// A damaged zstd stream.
    #[error("the body is not valid zstd: {0}")]
    Zstd(&'static str),
    /// Bytes that are not what the format says.
    #[error("{place}: the body is not valid {}: {why}", binary_name(*format))]
    Binary {
        /// The format.
        format: Format,
        /// Where.
        place: Place,
        /// What is wrong, clipped.
        why: String,
    },
    /// A part of the body that would take more memory than a push may use.
    #[error("{what} takes more than {limit} bytes; {advice}")]
    BatchTooLarge {
        /// Which part.
        what: String,
        /// The limit in bytes.
        limit: u64,
        /// How to write it smaller.
        advice: &'static str,
    },
    /// A part of the format that is not read here.
    #[error("{what} in {} bodies; {advice}", binary_name(*format))]
    UnsupportedBody {
        /// The format.
        format: Format,
        /// What is not read.
        what: String,
        /// How to write it.
        advice: &'static str,
    },
    /// One row is larger than the limit.
    #[error("{place}: the row is larger than {limit} bytes; split it, or keep large values elsewhere")]
    RowTooLarge {
        /// Where.
        place: Place,
        /// The limit in bytes.
        limit: usize,
    },
    /// The unpacked body is larger than the limit.
    #[error("the unpacked body is larger than {limit} bytes; send it in smaller parts")]
    BodyTooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// More columns than a dataset may have.
    #[error("{place}: more than {limit} {what}; gather rare keys in a list of key and value")]
    TooManyColumns {
        /// Where.
        place: Place,
        /// The limit.
        limit: usize,
        /// What is counted.
        what: &'static str,
    },
    /// A format that this reader does not have.
    #[error("{format} is not read by this reader")]
    UnsupportedFormat {
        /// The format.
        format: Format,
    },
    /// A type that this format cannot carry.
    #[error("column `{column}` has the type {ty}, which {format} cannot carry; cast it to another")]
    UnsupportedType {
        /// The format.
        format: Format,
        /// The column.
        column: String,
        /// The type's name.
        ty: String,
    },
    /// Batches that do not fit the schema they were announced with.
    #[error("the answer cannot be written: {0}")]
    Encode(String),
}

impl FormatError {
    /// What the caller should do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::RowTooLarge { .. }
            | Self::BodyTooLarge { .. }
            | Self::BatchTooLarge { .. }
            | Self::TooManyColumns { .. } => ErrorKind::TooLarge,
            Self::UnsupportedFormat { .. } | Self::UnsupportedBody { .. } | Self::UnsupportedType { .. } => {
                ErrorKind::Unsupported
            }
            Self::Encode(_) => ErrorKind::Internal,
            _ => ErrorKind::Invalid,
        }
    }

    /// The stable code of the problem document; see the table above.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Syntax { format: Format::Csv, .. } => "invalid_csv",
            Self::Syntax { .. } => "invalid_json",
            Self::Utf8 { .. } => "invalid_utf8",
            Self::Mismatch { .. } => "type_mismatch",
            Self::OutOfRange { .. } => "number_out_of_range",
            Self::UnknownColumn { .. } => "unknown_column",
            Self::DuplicateColumn { .. } => "duplicate_column",
            Self::MissingValue { .. } => "missing_value",
            Self::ColumnName(_) => "invalid_column_name",
            Self::NoColumns => "no_columns",
            Self::TooDeep { .. } => "nesting_too_deep",
            Self::Empty => "empty_body",
            Self::Truncated { .. } => "truncated_body",
            Self::Gzip(_) => "invalid_gzip",
            Self::Zstd(_) => "invalid_zstd",
            Self::Binary { format: Format::Parquet, .. } => "invalid_parquet",
            Self::Binary { .. } => "invalid_arrow",
            Self::BatchTooLarge { .. } => "batch_too_large",
            Self::UnsupportedBody { .. } => "unsupported_body",
            Self::RowTooLarge { .. } => "row_too_large",
            Self::BodyTooLarge { .. } => "body_too_large",
            Self::TooManyColumns { .. } => "too_many_columns",
            Self::UnsupportedFormat { .. } => "unsupported_format",
            Self::UnsupportedType { .. } => "unsupported_type",
            Self::Encode(_) => "encoding_failed",
        }
    }

    /// Where in the body it is; `None` for what concerns the whole of it.
    pub fn place(&self) -> Option<&Place> {
        match self {
            Self::Syntax { place, .. }
            | Self::Utf8 { place }
            | Self::Mismatch { place, .. }
            | Self::OutOfRange { place, .. }
            | Self::UnknownColumn { place, .. }
            | Self::DuplicateColumn { place, .. }
            | Self::MissingValue { place }
            | Self::TooDeep { place, .. }
            | Self::Truncated { place, .. }
            | Self::Binary { place, .. }
            | Self::RowTooLarge { place, .. }
            | Self::TooManyColumns { place, .. } => Some(place),
            Self::ColumnName(_)
            | Self::NoColumns
            | Self::Empty
            | Self::Gzip(_)
            | Self::Zstd(_)
            | Self::BatchTooLarge { .. }
            | Self::UnsupportedBody { .. }
            | Self::BodyTooLarge { .. }
            | Self::UnsupportedFormat { .. }
            | Self::UnsupportedType { .. }
            | Self::Encode(_) => None,
        }
    }

    fn place_mut(&mut self) -> Option<&mut Place> {
        match self {
            Self::Syntax { place, .. }
            | Self::Utf8 { place }
            | Self::Mismatch { place, .. }
            | Self::OutOfRange { place, .. }
            | Self::UnknownColumn { place, .. }
            | Self::DuplicateColumn { place, .. }
            | Self::MissingValue { place }
            | Self::TooDeep { place, .. }
            | Self::Truncated { place, .. }
            | Self::Binary { place, .. }
            | Self::RowTooLarge { place, .. }
            | Self::TooManyColumns { place, .. } => Some(place),
            _ => None,
        }
    }

    /// Adds the row and line, which only the reader of the whole body knows.
    pub(crate) fn at(mut self, row: u64, line: u64) -> Self {
        if let Some(place) = self.place_mut() {
            place.row = row;
            place.line = line;
        }
        self
    }

    /// Adds the column, field or list position around the value that is wrong.
    pub(crate) fn within(mut self, outer: &str) -> Self {
        if let Some(place) = self.place_mut() {
            place.prefix(outer);
        }
        self
    }

    pub(crate) fn json(found: impl Into<String>, expected: impl Into<String>) -> Self {
        Self::syntax(Format::Json, found, expected)
    }

    pub(crate) fn csv(found: impl Into<String>, expected: impl Into<String>) -> Self {
        Self::syntax(Format::Csv, found, expected)
    }

    fn syntax(format: Format, found: impl Into<String>, expected: impl Into<String>) -> Self {
        Self::Syntax { format, place: Place::default(), found: found.into(), expected: expected.into() }
    }

    /// Bytes of Arrow or Parquet that break its rules; `why` may be the text of a library's error.
    pub(crate) fn binary(format: Format, why: impl fmt::Display) -> Self {
        Self::Binary { format, place: Place::default(), why: clip_to(&why.to_string(), 200) }
    }

    /// A part that is too large to be held in memory.
    pub(crate) fn batch_too_large(what: impl Into<String>, limit: usize, advice: &'static str) -> Self {
        Self::BatchTooLarge { what: what.into(), limit: limit as u64, advice }
    }

    pub(crate) fn truncated(missing: &'static str) -> Self {
        Self::Truncated { place: Place::default(), missing }
    }

    pub(crate) fn utf8() -> Self {
        Self::Utf8 { place: Place::default() }
    }

    pub(crate) fn mismatch(found: impl Into<String>, expected: impl Into<String>) -> Self {
        Self::Mismatch { place: Place::default(), found: found.into(), expected: expected.into() }
    }

    pub(crate) fn out_of_range(found: &str, expected: impl Into<String>) -> Self {
        Self::OutOfRange { place: Place::default(), found: clip(found), expected: expected.into() }
    }

    pub(crate) fn duplicate(name: &str) -> Self {
        Self::DuplicateColumn { place: Place::default(), name: clip(name) }
    }

    pub(crate) fn missing_value() -> Self {
        Self::MissingValue { place: Place::default() }
    }

    pub(crate) fn too_deep(limit: usize) -> Self {
        Self::TooDeep { place: Place::default(), limit }
    }

    pub(crate) fn row_too_large(limit: usize) -> Self {
        Self::RowTooLarge { place: Place::default(), limit }
    }

    pub(crate) fn too_many_columns() -> Self {
        Self::TooManyColumns { place: Place::default(), limit: MAX_COLUMNS, what: "columns" }
    }

    pub(crate) fn too_many_fields() -> Self {
        Self::TooManyColumns { place: Place::default(), limit: MAX_FIELDS, what: "columns and fields of structs" }
    }

    /// Names the known column most like the unknown one, unless nothing is like it.
    pub(crate) fn unknown<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Self {
        let clipped = clip(name);
        let likeness =
            |known: &str| strsim::normalized_damerau_levenshtein(&clipped.to_lowercase(), &known.to_lowercase());
        let nearest = known
            .take(1_000)
            .map(|known| (likeness(known), known))
            .filter(|(likeness, _)| *likeness >= 0.5)
            .max_by(|(a, _), (b, _)| a.total_cmp(b))
            .map(|(_, known)| known.to_owned());
        Self::UnknownColumn { place: Place::default(), name: clipped, nearest }
    }
}

impl From<arrow::error::ArrowError> for FormatError {
    fn from(error: arrow::error::ArrowError) -> Self {
        Self::Encode(error.to_string())
    }
}

fn binary_name(format: Format) -> &'static str {
    if format == Format::Parquet { "Parquet" } else { "Arrow" }
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}

/// What a body holds must not fill a log line or an answer.
pub(crate) fn clip(text: &str) -> String {
    clip_to(text, 60)
}

fn clip_to(text: &str, longest: usize) -> String {
    let mut clipped: String = text.chars().take(longest).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(longest).is_some() {
        clipped.push('…');
    }
    clipped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_says_where_what_and_what_else() {
        let error = FormatError::mismatch("\"x\"", "int").within("[3]").within("tags").at(7, 9);
        assert_eq!(error.to_string(), "row 7 (line 9), column `tags[3]`: found \"x\", expected int");
        let error = FormatError::unknown("magn", ["mag", "time"].into_iter()).within("quake").at(2, 0);
        assert_eq!(error.to_string(), "row 2, column `quake`: no column is named `magn`; did you mean `mag`?");
        assert_eq!((error.kind(), error.code()), (ErrorKind::Invalid, "unknown_column"));
    }

    #[test]
    fn long_values_are_clipped() {
        assert_eq!(clip(&"x".repeat(1_000)).chars().count(), 61);
        assert_eq!(clip("a\nb"), "a\u{fffd}b");
    }
}
