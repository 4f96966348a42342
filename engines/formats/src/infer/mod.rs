//! The columns of a body that no schema describes.

mod csv;
mod json;
mod shape;

use lakegate_catalog::Column;

use crate::body::BodyLimits;
use crate::csv::{Record, check_names, check_width, read_record};
use crate::error::{FormatError, Result};
use crate::format::Format;
use crate::rows::Rows;
use crate::text_body::{row_text, whole_row};

/// Rows of the sample.
const SAMPLE_ROWS: u64 = 10_000;

/// Bytes of the sample; it ends with the row that reaches them.
const SAMPLE_BYTES: u64 = 8 << 20;

/// Columns that a dataset may have.
pub const MAX_COLUMNS: usize = 1_000;

/// Columns and fields of structs that a body may have, all counted.
pub(crate) const MAX_FIELDS: usize = 2_000;

/// Finds the columns of a body from its first 10,000 rows or 8 MiB.
///
/// JSON: integers are `bigint`; integers beyond it are `decimal(20,0)` if none is negative and all fit
/// 64 bits unsigned, else `double`; other numbers, or a mixture, `double`; strings are `timestamp`
/// when all are RFC 3339 with a zone, else `string`; objects are structs, arrays lists. Values of
/// different kinds in one column are refused, naming row and column.
///
/// CSV: `bigint`, `double`, `boolean`, `timestamp`, `date` (YYYY-MM-DD) when every field that is not
/// empty is one; else `string`. Numbers with a leading zero or plus sign are text, for they are codes.
///
/// Columns come in the order in which they are first seen and are all nullable. A column without a
/// value (null, or lists and objects of nothing else) is not created, and
/// [`BodyReader`](crate::BodyReader) passes over it.
pub struct Inferrer {
    rows: Rows,
    sample: Sample,
    row: u64,
    line: u64,
    bytes: u64,
}

enum Sample {
    Json(shape::Fields),
    NdJson(shape::Fields),
    Csv { columns: Option<csv::Columns>, record: Record },
}

impl Inferrer {
    /// An inferrer for bodies in `format`. Errors: `unsupported_format` (Arrow and Parquet say their types themselves).
    pub fn new(format: Format, limits: BodyLimits) -> Result<Self> {
        let sample = match format {
            Format::Json => Sample::Json(shape::Fields::default()),
            Format::NdJson => Sample::NdJson(shape::Fields::default()),
            Format::Csv => Sample::Csv { columns: None, record: Record::default() },
            _ => return Err(FormatError::UnsupportedFormat { format }),
        };
        Ok(Self { rows: Rows::new(format, limits.row_bytes())?, sample, row: 0, line: 0, bytes: 0 })
    }

    /// Looks at a piece of the body; false once the sample is large enough, and what is fed after is
    /// not looked at.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<bool> {
        while self.wants_more() {
            let place = (self.row + 1, self.line + 1);
            let next = self.rows.next(&mut bytes).map_err(|error| self.sample.place(error, place))?;
            let Some(text) = next else { return Ok(true) };
            let counted = self.sample.add(text, false).map_err(|error| self.sample.place(error, place))?;
            self.row += u64::from(counted);
            self.line += memchr::memchr_iter(b'\n', text).count() as u64;
            self.bytes += text.len() as u64;
        }
        Ok(false)
    }

    /// The columns. When the body ended before the sample was full, its end is judged as well.
    /// Errors: `empty_body`, `no_columns`, `invalid_column_name`, and those of reading.
    pub fn finish(mut self) -> Result<Vec<Column>> {
        if self.wants_more() {
            let place = (self.row + 1, self.line + 1);
            let text = self.rows.rest();
            if !text.is_empty() {
                let counted = self.sample.add(text, true).map_err(|error| self.sample.place(error, place))?;
                self.row += u64::from(counted);
            }
            self.rows.end().map_err(|error| self.sample.place(error, place))?;
        }
        if self.row == 0 {
            return Err(FormatError::Empty);
        }
        let columns = self.sample.columns();
        if columns.is_empty() {
            return Err(FormatError::NoColumns);
        }
        Column::check_all(&columns).map_err(|error| FormatError::ColumnName(error.to_string()))?;
        Ok(columns)
    }

    fn wants_more(&self) -> bool {
        self.row < SAMPLE_ROWS && self.bytes < SAMPLE_BYTES
    }
}

impl Sample {
    /// Looks at one row; false when it is no data row.
    fn add(&mut self, bytes: &[u8], last: bool) -> Result<bool> {
        let text = row_text(bytes, last)?;
        match self {
            Self::NdJson(_) if text.trim_ascii().is_empty() => return Ok(false),
            Self::Json(fields) | Self::NdJson(fields) => {
                json::add_row(text, fields).map_err(|error| if last { error } else { whole_row(error) })?;
            }
            Self::Csv { columns, record } => {
                read_record(text, record)?;
                match columns {
                    None => {
                        check_names(record)?;
                        *columns = Some(csv::Columns::new(record));
                        return Ok(false);
                    }
                    Some(columns) if record.is_blank() && columns.len() > 1 => return Ok(false),
                    Some(columns) => {
                        check_width(record, columns.len())?;
                        columns.add(record);
                    }
                }
            }
        }
        Ok(true)
    }

    fn place(&self, error: FormatError, (row, line): (u64, u64)) -> FormatError {
        match self {
            Self::Json(_) => error.at(row, 0),
            Self::NdJson(_) => error.at(row, line),
            Self::Csv { columns: None, .. } => error.at(0, line),
            Self::Csv { .. } => error.at(row, line),
        }
    }

    fn columns(self) -> Vec<Column> {
        match self {
            Self::Json(fields) | Self::NdJson(fields) => fields.columns(),
            Self::Csv { columns, .. } => columns.map(csv::Columns::columns).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn infer(format: Format, body: &str) -> Result<String> {
        let mut inferrer = Inferrer::new(format, BodyLimits::default())?;
        inferrer.feed(body.as_bytes())?;
        let columns = inferrer.finish()?;
        let shown: Vec<String> = columns.iter().map(|column| format!("{} {}", column.name, column.ty)).collect();
        Ok(shown.join(", "))
    }

    #[test]
    fn json_kinds_become_types() {
        let body = r#"
            {"i":1,"d":1,"u":18446744073709551615,"b":true,"t":"2024-01-01T00:00:00Z","s":"2024-01-01","n":null}
            {"i":-2,"d":1.5,"u":1,"l":[1,2.5],"o":{"x":[],"y":"a"},"t":"2024-01-01T00:00:00+01:00","v":[null,{}]}
            {"o":{"z":{"deep":[[true]]}}}
        "#;
        let expected = "i bigint, d double, u decimal(20,0), b boolean, t timestamp, s string, l list<double>, \
                        o struct<y: string, z: struct<deep: list<list<boolean>>>>";
        assert_eq!(infer(Format::Json, body).as_deref(), Ok(expected));
    }

    #[test]
    fn integers_that_nothing_holds_are_doubles() {
        assert_eq!(infer(Format::Json, r#"[{"a":-1},{"a":18446744073709551615}]"#).as_deref(), Ok("a double"));
        assert_eq!(infer(Format::Json, r#"[{"a":18446744073709551616}]"#).as_deref(), Ok("a double"));
    }

    #[test]
    fn a_header_may_have_as_many_columns_as_a_dataset() {
        let body = |columns: usize| {
            let header: Vec<String> = (0..columns).map(|n| format!("c{n}")).collect();
            format!("{}\n{}\n", header.join(","), vec!["1"; columns].join(","))
        };
        assert_eq!(infer(Format::Csv, &body(MAX_COLUMNS)).map(|columns| columns.matches("bigint").count()), Ok(1_000));
        assert_eq!(infer(Format::Csv, &body(MAX_COLUMNS + 1)).expect_err("wide").code(), "too_many_columns");
    }

    #[test]
    fn instants_with_nanoseconds_are_no_text() {
        let body = r#"[{"a":"2024-01-01T00:00:00.123456789Z","b":"2024-01-01T00:00:00.1234567","c":"1.23456789Z"}]"#;
        assert_eq!(infer(Format::Json, body).as_deref(), Ok("a timestamp, b string, c string"));
    }

    #[test]
    fn a_json_column_of_two_kinds_is_refused() {
        let error = infer(Format::NdJson, "{\"a\":{\"b\":[1]}}\n\n{\"a\":{\"b\":[2,\"x\"]}}\n").expect_err("two kinds");
        assert_eq!(error.code(), "type_mismatch");
        assert!(error.to_string().starts_with("row 2 (line 3), column `a.b[1]`: found \"x\""), "{error}");
    }

    #[test]
    fn csv_columns_take_the_narrowest_type_that_fits_all() {
        let body = "i,d,b,t,day,zip,mixed,none,big\n\
                    1,1,true,2024-01-01T00:00:00Z,2024-01-01,00501,1,,18446744073709551615\n\
                    ,2.5,FALSE,,2024-01-02,12345,x,,1\n";
        let expected = "i bigint, d double, b boolean, t timestamp, day date, zip string, mixed string, \
                        big decimal(20,0)";
        assert_eq!(infer(Format::Csv, body).as_deref(), Ok(expected));
    }

    #[test]
    fn what_shows_no_column_is_refused() {
        for (format, body, code) in [
            (Format::Json, "", "empty_body"),
            (Format::Json, "[]", "empty_body"),
            (Format::Csv, "a,b\r\n", "empty_body"),
            (Format::Json, "[{},{\"a\":null}]", "no_columns"),
            (Format::Json, "{\"_a\":1}", "invalid_column_name"),
            (Format::Json, "{\"a\":1,\"A\":1}", "invalid_column_name"),
            (Format::Json, "{\"a\":1,\"a\":1}", "duplicate_column"),
            (Format::Csv, "a,a\n1,2\n", "duplicate_column"),
            (Format::Json, "[{\"a\":1}", "truncated_body"),
        ] {
            assert_eq!(infer(format, body).expect_err(body).code(), code, "{body}");
        }
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(16), "]".repeat(16));
        assert_eq!(infer(Format::Json, &deep).expect_err("deep").code(), "nesting_too_deep");
        let wide: Vec<String> = (0..=MAX_FIELDS).map(|n| format!("\"c{n}\":1")).collect();
        let wide = format!("{{{}}}", wide.join(","));
        assert_eq!(infer(Format::Json, &wide).expect_err("wide").code(), "too_many_columns");
    }

    #[test]
    fn the_sample_ends_with_its_last_row() {
        let mut inferrer = Inferrer::new(Format::NdJson, BodyLimits::default()).expect("has rows");
        let body = "{\"a\":1}\n".repeat(10_000) + "no json\n";
        assert_eq!(inferrer.feed(body.as_bytes()), Ok(false));
        assert!(inferrer.finish().is_ok());
    }
}
