//! Columns of single values.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Float32Builder, Float64Builder,
    Int16Builder, Int32Builder, Int64Builder, StringBuilder, TimestampMicrosecondBuilder,
};
use arrow::datatypes::{DataType, TimeUnit};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::error::{FormatError, Result, clip};
use crate::text::number::{self, Misfit};
use crate::text::time;

/// The values of a column that has no parts.
pub(crate) enum Scalar {
    Boolean(BooleanBuilder),
    Int16(Int16Builder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    Float32(Float32Builder),
    Float64(Float64Builder),
    Decimal { values: Decimal128Builder, precision: u8, scale: i8 },
    Utf8(StringBuilder),
    Binary { values: BinaryBuilder, scratch: Vec<u8> },
    Date(Date32Builder),
    Timestamp { values: TimestampMicrosecondBuilder, zoned: bool },
}

/// The same call on the builder, whatever the type.
macro_rules! each {
    ($scalar:expr, $values:ident => $call:expr) => {
        match $scalar {
            Scalar::Boolean($values) => $call,
            Scalar::Int16($values) => $call,
            Scalar::Int32($values) => $call,
            Scalar::Int64($values) => $call,
            Scalar::Float32($values) => $call,
            Scalar::Float64($values) => $call,
            Scalar::Decimal { values: $values, .. } => $call,
            Scalar::Utf8($values) => $call,
            Scalar::Binary { values: $values, .. } => $call,
            Scalar::Date($values) => $call,
            Scalar::Timestamp { values: $values, .. } => $call,
        }
    };
}

impl Scalar {
    /// A column of the type; `None` when datasets do not store it, or it has parts.
    pub(crate) fn new(ty: &DataType) -> Option<Self> {
        Some(match ty {
            DataType::Boolean => Self::Boolean(BooleanBuilder::new()),
            DataType::Int16 => Self::Int16(Int16Builder::new()),
            DataType::Int32 => Self::Int32(Int32Builder::new()),
            DataType::Int64 => Self::Int64(Int64Builder::new()),
            DataType::Float32 => Self::Float32(Float32Builder::new()),
            DataType::Float64 => Self::Float64(Float64Builder::new()),
            DataType::Decimal128(precision, scale) => Self::Decimal {
                values: Decimal128Builder::new().with_data_type(ty.clone()),
                precision: *precision,
                scale: *scale,
            },
            DataType::Utf8 => Self::Utf8(StringBuilder::new()),
            DataType::Binary => Self::Binary { values: BinaryBuilder::new(), scratch: Vec::new() },
            DataType::Date32 => Self::Date(Date32Builder::new()),
            DataType::Timestamp(TimeUnit::Microsecond, zone) if zone.as_deref().is_none_or(is_utc) => Self::Timestamp {
                values: TimestampMicrosecondBuilder::new().with_data_type(ty.clone()),
                zoned: zone.is_some(),
            },
            _ => return None,
        })
    }

    pub(crate) fn width(&self) -> usize {
        match self {
            Self::Boolean(_) => 1,
            Self::Int16(_) => 2,
            Self::Int32(_) | Self::Float32(_) | Self::Utf8(_) | Self::Binary { .. } | Self::Date(_) => 4,
            Self::Int64(_) | Self::Float64(_) | Self::Timestamp { .. } => 8,
            Self::Decimal { .. } => 16,
        }
    }

    pub(crate) fn push_null(&mut self) {
        each!(self, values => values.append_null());
    }

    pub(crate) fn finish(&mut self) -> ArrayRef {
        each!(self, values => Arc::new(values.finish()))
    }

    /// Adds `true` or `false`.
    pub(crate) fn push_bool(&mut self, value: bool) -> Result<()> {
        let Self::Boolean(values) = self else {
            return Err(FormatError::mismatch(value.to_string(), self.expects()));
        };
        values.append_value(value);
        Ok(())
    }

    /// Adds a number given as decimal text.
    pub(crate) fn push_number(&mut self, text: &str) -> Result<()> {
        self.number(text).map_err(|misfit| self.refuse(misfit, text))
    }

    fn number(&mut self, text: &str) -> Result<(), Misfit> {
        match self {
            Self::Int16(values) => values.append_value(integer(text)?),
            Self::Int32(values) => values.append_value(integer(text)?),
            Self::Int64(values) => values.append_value(integer(text)?),
            Self::Float32(values) => values.append_value(number::real(text)?),
            Self::Float64(values) => values.append_value(number::double(text)?),
            Self::Decimal { values, precision, scale } => {
                let value = number::exact(text, *scale)?;
                if value.unsigned_abs() >= 10_u128.pow(u32::from(*precision)) {
                    return Err(Misfit::OutOfRange);
                }
                values.append_value(value);
            }
            _ => return Err(Misfit::NotANumber),
        }
        Ok(())
    }

    /// Adds what JSON writes as a string: text, bytes, times, and the numbers that JSON's own cannot
    /// carry (big integers, decimals, NaN and the infinities).
    pub(crate) fn push_string(&mut self, text: &str) -> Result<()> {
        let fits = match self {
            Self::Int64(_) | Self::Decimal { .. } => {
                return self.number(text).map_err(|misfit| self.refuse_string(misfit, text));
            }
            Self::Boolean(_) | Self::Int16(_) | Self::Int32(_) => false,
            Self::Float32(_) | Self::Float64(_) => self.push_special(text),
            Self::Utf8(values) => {
                values.append_value(text);
                true
            }
            Self::Binary { values, scratch } => {
                scratch.clear();
                STANDARD.decode_vec(text, scratch).map(|()| values.append_value(scratch)).is_ok()
            }
            Self::Date(values) => {
                let days = time::read_date(text).and_then(|days| i32::try_from(days).ok());
                days.map(|days| values.append_value(days)).is_some()
            }
            Self::Timestamp { values, zoned } => {
                let time = time::read_date_time(text).filter(|time| time.zoned == *zoned);
                time.map(|time| values.append_value(time.micros)).is_some()
            }
        };
        if fits { Ok(()) } else { Err(FormatError::mismatch(format!("\"{}\"", clip(text)), self.expects())) }
    }

    /// Adds the text of a CSV field, which has no kinds of its own.
    pub(crate) fn push_field(&mut self, text: &str) -> Result<()> {
        match self {
            Self::Boolean(values) => {
                let value = read_bool(text);
                values.append_option(value);
                value.map(|_| ()).ok_or_else(|| FormatError::mismatch(format!("`{}`", clip(text)), self.expects()))
            }
            Self::Int16(_) | Self::Int32(_) | Self::Int64(_) | Self::Decimal { .. } => self.push_number(text),
            Self::Float32(_) | Self::Float64(_) => {
                if self.push_special(text) {
                    Ok(())
                } else {
                    self.push_number(text)
                }
            }
            _ => self.push_string(text),
        }
    }

    fn push_special(&mut self, text: &str) -> bool {
        let value = match text {
            "NaN" => f64::NAN,
            "Infinity" => f64::INFINITY,
            "-Infinity" => f64::NEG_INFINITY,
            _ => return false,
        };
        match self {
            Self::Float32(values) if value.is_nan() => values.append_value(f32::NAN),
            Self::Float32(values) => values.append_value(if value > 0.0 { f32::INFINITY } else { f32::NEG_INFINITY }),
            Self::Float64(values) => values.append_value(value),
            _ => return false,
        }
        true
    }

    fn refuse(&self, misfit: Misfit, text: &str) -> FormatError {
        match misfit {
            Misfit::OutOfRange => FormatError::out_of_range(text, self.expects()),
            Misfit::NotANumber | Misfit::Inexact => FormatError::mismatch(clip(text), self.expects()),
        }
    }

    fn refuse_string(&self, misfit: Misfit, text: &str) -> FormatError {
        match misfit {
            Misfit::OutOfRange => self.refuse(misfit, text),
            _ => FormatError::mismatch(format!("\"{}\"", clip(text)), self.expects()),
        }
    }

    /// The type in the words of the API, with the form of its values where that needs saying.
    pub(crate) fn expects(&self) -> String {
        match self {
            Self::Boolean(_) => "boolean (true or false)",
            Self::Int16(_) => "smallint (-32768 to 32767)",
            Self::Int32(_) => "int (-2147483648 to 2147483647)",
            Self::Int64(_) => "bigint (64 bits, signed)",
            Self::Float32(_) => "real (a number, \"NaN\", \"Infinity\" or \"-Infinity\")",
            Self::Float64(_) => "double (a number, \"NaN\", \"Infinity\" or \"-Infinity\")",
            Self::Decimal { precision, scale, .. } => {
                return format!("decimal({precision},{scale})");
            }
            Self::Utf8(_) => "string",
            Self::Binary { .. } => "binary (base64 text)",
            Self::Date(_) => "date (YYYY-MM-DD)",
            Self::Timestamp { zoned: true, .. } => {
                "timestamp (RFC 3339 with a zone and at most 6 decimals, like 2024-01-31T12:00:00Z)"
            }
            Self::Timestamp { zoned: false, .. } => {
                "timestamp_ntz (like 2024-01-31T12:00:00, without a zone and with at most 6 decimals)"
            }
        }
        .to_owned()
    }
}

/// Whether a zone's name means UTC, however it is spelled.
pub(crate) fn is_utc(zone: &str) -> bool {
    zone.eq_ignore_ascii_case("utc") || matches!(zone, "Z" | "+00:00" | "+0000" | "+00")
}

/// `true` or `false` in any case, as CSV writers spell them.
pub(crate) fn read_bool(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("true") {
        Some(true)
    } else if text.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

fn integer<T: std::str::FromStr + TryFrom<i128>>(text: &str) -> Result<T, Misfit> {
    if let Ok(value) = text.parse() {
        return Ok(value);
    }
    T::try_from(number::exact(text, 0)?).map_err(|_| Misfit::OutOfRange)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(ty: &DataType, text: &str) -> Result<()> {
        Scalar::new(ty).expect("stored").push_field(text)
    }

    #[test]
    fn numbers_fit_or_are_refused() {
        assert!(push(&DataType::Int16, "-32768").is_ok());
        assert!(push(&DataType::Int32, "1e3").is_ok());
        assert!(push(&DataType::Decimal128(4, 2), "99.990").is_ok());
        for (ty, text, code) in [
            (DataType::Int16, "32768", "number_out_of_range"),
            (DataType::Int64, "9223372036854775808", "number_out_of_range"),
            (DataType::Int32, "1.5", "type_mismatch"),
            (DataType::Float64, "1e999999", "number_out_of_range"),
            (DataType::Float32, "inf", "type_mismatch"),
            (DataType::Decimal128(4, 2), "100", "number_out_of_range"),
            (DataType::Decimal128(4, 2), "1.001", "type_mismatch"),
        ] {
            assert_eq!(push(&ty, text).expect_err(text).code(), code, "{text}");
        }
    }

    #[test]
    fn json_strings_are_not_coerced() {
        for ty in [DataType::Boolean, DataType::Int32, DataType::Float64] {
            let error = Scalar::new(&ty).expect("stored").push_string("1").expect_err("a string");
            assert_eq!(error.code(), "type_mismatch");
        }
        assert!(Scalar::new(&DataType::Int64).expect("stored").push_string("9007199254740993").is_ok());
    }

    #[test]
    fn a_timestamp_says_its_zone_and_a_wall_clock_does_not() {
        let zoned = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let local = DataType::Timestamp(TimeUnit::Microsecond, None);
        assert!(push(&zoned, "2024-01-31T12:00:00+02:00").is_ok());
        assert!(push(&zoned, "2024-01-31T12:00:00").is_err());
        assert!(push(&local, "2024-01-31T12:00:00").is_ok());
        assert!(push(&local, "2024-01-31T12:00:00Z").is_err());
    }
}
