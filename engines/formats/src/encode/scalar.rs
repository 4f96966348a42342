//! Single values as text: what JSON and CSV share.

use std::io::Write as _;

use arrow::array::timezone::Tz;
use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray as _, LargeStringArray, PrimitiveArray, StringArray};
use arrow::datatypes::{
    DataType, Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type, DecimalType,
    DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType, DurationSecondType, Float16Type,
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, IntervalDayTimeType, IntervalMonthDayNanoType,
    IntervalUnit, IntervalYearMonthType, Time32MillisecondType, Time32SecondType, Time64MicrosecondType,
    Time64NanosecondType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Offset as _, TimeZone as _};

use super::interval;
use crate::column::is_utc;
use crate::text::time;

/// Appends the value of a row, which is not null.
pub(super) type Writer = Box<dyn Fn(usize, &mut Vec<u8>)>;

/// How the values of a column become text.
pub(super) enum Scalar {
    /// JSON has the same form, without quotes.
    Bare(Writer),
    /// JSON puts it in quotes; nothing in it needs an escape.
    Quoted(Writer),
    /// JSON puts it in quotes when the second function says so.
    Either(Writer, Box<dyn Fn(usize) -> bool>),
    /// Any text.
    Text(Text),
}

/// A column of text.
pub(super) enum Text {
    Short(StringArray),
    Long(LargeStringArray),
}

impl Text {
    pub(super) fn value(&self, row: usize) -> &str {
        match self {
            Self::Short(values) => values.value(row),
            Self::Long(values) => values.value(row),
        }
    }
}

/// Integers beyond this do not survive readers that keep numbers as doubles.
const MAX_SAFE: u64 = (1 << 53) - 1;

impl Scalar {
    /// How a column of single values is written; `None` for nested ones.
    pub(super) fn new(array: &ArrayRef) -> Option<Self> {
        Some(match array.data_type() {
            DataType::Boolean => {
                let values = array.as_boolean().clone();
                Self::bare(move |row, out| out.extend_from_slice(if values.value(row) { b"true" } else { b"false" }))
            }
            DataType::Int8 => integer::<Int8Type>(array),
            DataType::Int16 => integer::<Int16Type>(array),
            DataType::Int32 => integer::<Int32Type>(array),
            DataType::UInt8 => integer::<UInt8Type>(array),
            DataType::UInt16 => integer::<UInt16Type>(array),
            DataType::UInt32 => integer::<UInt32Type>(array),
            DataType::Int64 => big::<Int64Type>(array, |value| value.unsigned_abs() > MAX_SAFE),
            DataType::UInt64 => big::<UInt64Type>(array, |value| value > MAX_SAFE),
            DataType::Float16 => float::<Float16Type>(
                array,
                |value| f64::from(value.to_f32()),
                |value, out| shortest(value.to_f32(), out),
            ),
            DataType::Float32 => float::<Float32Type>(array, f64::from, shortest),
            DataType::Float64 => float::<Float64Type>(array, |value| value, shortest),
            DataType::Decimal32(_, scale) => decimal::<Decimal32Type>(array, *scale),
            DataType::Decimal64(_, scale) => decimal::<Decimal64Type>(array, *scale),
            DataType::Decimal128(_, scale) => decimal::<Decimal128Type>(array, *scale),
            DataType::Decimal256(_, scale) => decimal::<Decimal256Type>(array, *scale),
            DataType::Utf8 => Self::Text(Text::Short(array.as_string().clone())),
            DataType::LargeUtf8 => Self::Text(Text::Long(array.as_string().clone())),
            DataType::Binary => {
                let values = array.as_binary::<i32>().clone();
                Self::quoted(move |row, out| write_base64(values.value(row), out))
            }
            DataType::LargeBinary => {
                let values = array.as_binary::<i64>().clone();
                Self::quoted(move |row, out| write_base64(values.value(row), out))
            }
            DataType::FixedSizeBinary(_) => {
                let values = array.as_fixed_size_binary().clone();
                Self::quoted(move |row, out| write_base64(values.value(row), out))
            }
            ty => return temporal(array, ty),
        })
    }

    fn bare(write: impl Fn(usize, &mut Vec<u8>) + 'static) -> Self {
        Self::Bare(Box::new(write))
    }

    fn quoted(write: impl Fn(usize, &mut Vec<u8>) + 'static) -> Self {
        Self::Quoted(Box::new(write))
    }
}

fn temporal(array: &ArrayRef, ty: &DataType) -> Option<Scalar> {
    Some(match ty {
        DataType::Date32 => of::<Date32Type>(array, |days, out| time::write_date(i64::from(days), out)),
        DataType::Date64 => of::<Date64Type>(array, |ms, out| time::write_date(ms.div_euclid(86_400_000), out)),
        DataType::Time32(TimeUnit::Second) => of::<Time32SecondType>(array, |t, out| clock(i64::from(t), 1, out)),
        DataType::Time32(_) => of::<Time32MillisecondType>(array, |t, out| clock(i64::from(t), 1_000, out)),
        DataType::Time64(TimeUnit::Microsecond) => {
            of::<Time64MicrosecondType>(array, |t, out| clock(t, 1_000_000, out))
        }
        DataType::Time64(_) => of::<Time64NanosecondType>(array, |t, out| clock(t, 1_000_000_000, out)),
        DataType::Timestamp(TimeUnit::Second, zone) => timestamp::<TimestampSecondType>(array, zone.as_deref(), 1),
        DataType::Timestamp(TimeUnit::Millisecond, zone) => {
            timestamp::<TimestampMillisecondType>(array, zone.as_deref(), 1_000)
        }
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            timestamp::<TimestampMicrosecondType>(array, zone.as_deref(), 1_000_000)
        }
        DataType::Timestamp(TimeUnit::Nanosecond, zone) => {
            timestamp::<TimestampNanosecondType>(array, zone.as_deref(), 1_000_000_000)
        }
        DataType::Duration(TimeUnit::Second) => of::<DurationSecondType>(array, |n, out| interval::span(n, 1, out)),
        DataType::Duration(TimeUnit::Millisecond) => {
            of::<DurationMillisecondType>(array, |n, out| interval::span(n, 1_000, out))
        }
        DataType::Duration(TimeUnit::Microsecond) => {
            of::<DurationMicrosecondType>(array, |n, out| interval::span(n, 1_000_000, out))
        }
        DataType::Duration(TimeUnit::Nanosecond) => {
            of::<DurationNanosecondType>(array, |n, out| interval::span(n, 1_000_000_000, out))
        }
        DataType::Interval(IntervalUnit::YearMonth) => {
            of::<IntervalYearMonthType>(array, |months, out| interval::write(i64::from(months), 0, 0, out))
        }
        DataType::Interval(IntervalUnit::DayTime) => of::<IntervalDayTimeType>(array, |value, out| {
            interval::write(0, i64::from(value.days), i64::from(value.milliseconds) * 1_000_000, out);
        }),
        DataType::Interval(IntervalUnit::MonthDayNano) => of::<IntervalMonthDayNanoType>(array, |value, out| {
            interval::write(i64::from(value.months), i64::from(value.days), value.nanoseconds, out);
        }),
        _ => return None,
    })
}

fn of<T: ArrowPrimitiveType>(array: &ArrayRef, write: fn(T::Native, &mut Vec<u8>)) -> Scalar {
    let values: PrimitiveArray<T> = array.as_primitive::<T>().clone();
    Scalar::quoted(move |row, out| write(values.value(row), out))
}

fn integer<T: ArrowPrimitiveType<Native: std::fmt::Display>>(array: &ArrayRef) -> Scalar {
    let values: PrimitiveArray<T> = array.as_primitive::<T>().clone();
    Scalar::bare(move |row, out| write_display(values.value(row), out))
}

fn big<T: ArrowPrimitiveType<Native: std::fmt::Display>>(array: &ArrayRef, beyond: fn(T::Native) -> bool) -> Scalar {
    let values: PrimitiveArray<T> = array.as_primitive::<T>().clone();
    let judged = values.clone();
    Scalar::Either(
        Box::new(move |row, out| write_display(values.value(row), out)),
        Box::new(move |row| beyond(judged.value(row))),
    )
}

fn write_display(value: impl std::fmt::Display, out: &mut Vec<u8>) {
    // Writing to a Vec cannot fail.
    let _ = write!(out, "{value}");
}

fn float<T: ArrowPrimitiveType>(
    array: &ArrayRef,
    widen: fn(T::Native) -> f64,
    write: fn(T::Native, &mut Vec<u8>),
) -> Scalar {
    let values: PrimitiveArray<T> = array.as_primitive::<T>().clone();
    let judged = values.clone();
    let write = move |row: usize, out: &mut Vec<u8>| {
        let value = values.value(row);
        match widen(value) {
            wide if wide.is_finite() => write(value, out),
            wide if wide.is_nan() => out.extend_from_slice(b"NaN"),
            wide if wide > 0.0 => out.extend_from_slice(b"Infinity"),
            _ => out.extend_from_slice(b"-Infinity"),
        }
    };
    Scalar::Either(Box::new(write), Box::new(move |row| !widen(judged.value(row)).is_finite()))
}

/// The shortest decimal text that reads back as the same number of the same width.
fn shortest(value: impl serde::Serialize, out: &mut Vec<u8>) {
    // Writing a finite number to a Vec cannot fail.
    let _ = serde_json::to_writer(out, &value);
}

fn decimal<T: DecimalType + ArrowPrimitiveType>(array: &ArrayRef, scale: i8) -> Scalar {
    let values: PrimitiveArray<T> = array.as_primitive::<T>().clone();
    Scalar::quoted(move |row, out| {
        out.extend_from_slice(T::format_decimal(values.value(row), T::MAX_PRECISION, scale).as_bytes());
    })
}

fn write_base64(bytes: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, b'=');
    // The room was made for exactly this.
    let _ = STANDARD.encode_slice(bytes, &mut out[start..]);
}

/// A time of day counted in `per_second` parts. Out of a day's range, which Arrow does not forbid, it
/// wraps as a clock does.
fn clock(value: i64, per_second: i64, out: &mut Vec<u8>) {
    let seconds = value.div_euclid(per_second).rem_euclid(86_400);
    time::write_time(seconds, value.rem_euclid(per_second) * (1_000_000_000 / per_second), out);
}

fn timestamp<T: ArrowPrimitiveType<Native = i64>>(array: &ArrayRef, zone: Option<&str>, per_second: i64) -> Scalar {
    let values: PrimitiveArray<T> = array.as_primitive::<T>().clone();
    let zoned = zone.is_some();
    let tz: Option<Tz> = zone.filter(|zone| !is_utc(zone)).and_then(|zone| zone.parse().ok());
    Scalar::quoted(move |row, out| {
        let value = values.value(row);
        let seconds = value.div_euclid(per_second);
        let nanos = value.rem_euclid(per_second) * (1_000_000_000 / per_second);
        let offset = tz.and_then(|tz| offset(tz, seconds)).unwrap_or(0);
        time::write_date_time(seconds.saturating_add(offset), nanos, out);
        match offset {
            _ if !zoned => {}
            0 => out.push(b'Z'),
            _ => {
                let (sign, minutes) = (if offset < 0 { '-' } else { '+' }, offset.abs() / 60);
                let _ = write!(out, "{sign}{:02}:{:02}", minutes / 60, minutes % 60);
            }
        }
    })
}

/// Seconds east of UTC at an instant; `None` (then UTC is written) where RFC 3339 has no form for it:
/// offsets with seconds, and years far away.
fn offset(tz: Tz, seconds: i64) -> Option<i64> {
    let instant = DateTime::from_timestamp(seconds, 0)?;
    let offset = tz.offset_from_utc_datetime(&instant.naive_utc()).fix().local_minus_utc();
    (offset % 60 == 0).then_some(i64::from(offset))
}
