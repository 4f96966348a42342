//! The size of a function's answer, worked out from its arguments before it runs.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::datatypes::{Date32Type, IntervalDayTimeType, IntervalMonthDayNanoType, IntervalYearMonthType};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs};

use super::{Rule, ValueTooLarge, budget};

/// Refuses a call whose answer would be too large: per value, or all values of the batch together.
pub(super) fn check(function: &str, rule: Rule, call: &ScalarFunctionArgs) -> Result<()> {
    check_args(function, rule, &call.args, call.number_rows, budget::CallLimits::of(&call.config_options))
}

pub(super) fn check_args(function: &str, rule: Rule, args: &[ColumnarValue], rows: usize, limit: u64) -> Result<()> {
    if rule == Rule::Copy && args.iter().all(|arg| matches!(arg, ColumnarValue::Array(_))) {
        return Ok(());
    }
    let args: Vec<Arg> = args.iter().map(Arg::new).collect::<Result<_>>()?;
    // Constants make a constant: it is made once, whatever the number of rows.
    let rows = if args.iter().all(|arg| arg.constant) { 1 } else { rows };
    let mut total = 0_u64;
    for row in 0..rows {
        let bytes = bytes_of(rule, &args, row);
        ValueTooLarge::check_value(function, bytes)?;
        total = total.saturating_add(bytes);
    }
    budget::spend(total)?;
    ValueTooLarge::check_batch(function, total, limit)
}

fn bytes_of(rule: Rule, args: &[Arg], row: usize) -> u64 {
    let bytes = |i: usize| args.get(i).map_or(0, |arg| arg.bytes(row));
    let count = |i: usize| args.get(i).map_or(0, |arg| arg.count(row));
    let last = args.len().saturating_sub(1);
    let sum = || args.iter().map(|arg| arg.bytes(row)).fold(0, u64::saturating_add);
    match rule {
        Rule::Sum => sum(),
        // A column is there already; only what was one constant becomes many copies.
        Rule::Copy => args.iter().filter(|arg| arg.constant).map(|arg| arg.bytes(row)).fold(0, u64::saturating_add),
        Rule::Times => bytes(0).max(1).saturating_mul(count(1)),
        Rule::Pad => count(1).saturating_mul(widest_char(args.get(2), row)).max(bytes(0)),
        Rule::Replace => replaced(args, row),
        Rule::Resize => count(1).saturating_mul(bytes(2).max(8)),
        Rule::Product => {
            let length = |i: usize| args.get(i).map_or(0, |arg| arg.elements(row).max(arg.bytes(row) / 8));
            length(0).saturating_mul(length(1))
        }
        Rule::Series => series(args, row).saturating_mul(8),
        Rule::PerElement => {
            let elements = args.first().map_or(0, |arg| arg.elements(row));
            sum().saturating_add(elements.saturating_mul(bytes(last).max(bytes(2)).saturating_add(24)))
        }
    }
}

/// A padding of plain letters takes a byte per character, any other up to four.
fn widest_char(fill: Option<&Arg>, row: usize) -> u64 {
    match fill {
        None => 1,
        Some(fill) if fill.bytes(row) <= 1 => 1,
        Some(_) => 4,
    }
}

/// Each match of at least one byte is replaced once; a replacement with `\1` can repeat what it
/// matched as often as it is long.
fn replaced(args: &[Arg], row: usize) -> u64 {
    let bytes = |i: usize| args.get(i).map_or(0, |arg| arg.bytes(row));
    let (text, pattern, replacement) = (bytes(0), bytes(1), bytes(2));
    let matches = if args.len() == 3 { text / pattern.max(1) + 1 } else { text + 1 };
    text.saturating_add(matches.saturating_mul(replacement))
}

/// How many steps there are between two numbers, dates or timestamps.
fn series(args: &[Arg], row: usize) -> u64 {
    let (start, stop) = match args {
        [stop] => (0, stop.number(row)),
        [start, stop, ..] => (start.number(row), stop.number(row)),
        [] => return 0,
    };
    let step = args.get(2).map_or(1, |step| step.number(row)).unsigned_abs().max(1);
    u64::try_from(start.abs_diff(stop) / step + 1).unwrap_or(u64::MAX)
}

/// One argument: a constant is kept as an array of one value.
struct Arg {
    array: ArrayRef,
    constant: bool,
}

impl Arg {
    fn new(value: &ColumnarValue) -> Result<Self> {
        Ok(match value {
            ColumnarValue::Array(array) => Self { array: array.clone(), constant: false },
            ColumnarValue::Scalar(scalar) => Self { array: ScalarValue::to_array(scalar)?, constant: true },
        })
    }

    fn at(&self, row: usize) -> Option<usize> {
        let row = if self.constant { 0 } else { row };
        (row < self.array.len() && !self.array.is_null(row)).then_some(row)
    }

    /// Bytes of the value.
    fn bytes(&self, row: usize) -> u64 {
        let Some(row) = self.at(row) else { return 0 };
        bytes_at(&self.array, row)
    }

    /// Elements of a list; 0 for anything else.
    fn elements(&self, row: usize) -> u64 {
        let Some(row) = self.at(row) else { return 0 };
        match self.array.data_type() {
            DataType::List(_) => total_elements(&self.array.as_list::<i32>().value(row)),
            DataType::LargeList(_) => total_elements(&self.array.as_list::<i64>().value(row)),
            _ => 0,
        }
    }

    /// A number that counts; negative and NULL are none.
    fn count(&self, row: usize) -> u64 {
        u64::try_from(self.number(row)).unwrap_or(0)
    }

    fn number(&self, row: usize) -> i128 {
        self.at(row).map_or(0, |row| number_at(&self.array, row))
    }
}

fn total_elements(array: &ArrayRef) -> u64 {
    match array.data_type() {
        DataType::List(_) => total_elements(array.as_list::<i32>().values()),
        _ => array.len() as u64,
    }
}

fn bytes_at(array: &ArrayRef, row: usize) -> u64 {
    let bytes = match array.data_type() {
        DataType::Utf8 => array.as_string::<i32>().value(row).len(),
        DataType::LargeUtf8 => array.as_string::<i64>().value(row).len(),
        DataType::Utf8View => array.as_string_view().value(row).len(),
        DataType::Binary => array.as_binary::<i32>().value(row).len(),
        DataType::LargeBinary => array.as_binary::<i64>().value(row).len(),
        DataType::BinaryView => array.as_binary_view().value(row).len(),
        other => match other.primitive_width() {
            Some(width) => width,
            None => array.slice(row, 1).to_data().get_slice_memory_size().unwrap_or(64),
        },
    };
    bytes as u64
}

/// Integers as they are; dates in days and timestamps in their unit, intervals in the smallest
/// length that they can have. NULL and other types are 0.
fn number_at(array: &ArrayRef, row: usize) -> i128 {
    const DAY_NANOS: i128 = 86_400_000_000_000;
    match array.data_type() {
        DataType::Int8 => array.as_primitive::<Int8Type>().value(row).into(),
        DataType::Int16 => array.as_primitive::<Int16Type>().value(row).into(),
        DataType::Int32 => array.as_primitive::<Int32Type>().value(row).into(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).into(),
        DataType::UInt8 => array.as_primitive::<UInt8Type>().value(row).into(),
        DataType::UInt16 => array.as_primitive::<UInt16Type>().value(row).into(),
        DataType::UInt32 => array.as_primitive::<UInt32Type>().value(row).into(),
        DataType::UInt64 => array.as_primitive::<UInt64Type>().value(row).into(),
        DataType::Date32 => i128::from(array.as_primitive::<Date32Type>().value(row)) * DAY_NANOS,
        DataType::Timestamp(unit, _) => nanos(array, row, *unit),
        DataType::Interval(arrow::datatypes::IntervalUnit::YearMonth) => {
            i128::from(array.as_primitive::<IntervalYearMonthType>().value(row)) * 28 * DAY_NANOS
        }
        DataType::Interval(arrow::datatypes::IntervalUnit::DayTime) => {
            let value = array.as_primitive::<IntervalDayTimeType>().value(row);
            i128::from(value.days) * DAY_NANOS + i128::from(value.milliseconds) * 1_000_000
        }
        DataType::Interval(arrow::datatypes::IntervalUnit::MonthDayNano) => {
            let value = array.as_primitive::<IntervalMonthDayNanoType>().value(row);
            (i128::from(value.months) * 28 + i128::from(value.days)) * DAY_NANOS + i128::from(value.nanoseconds)
        }
        _ => 0,
    }
}

fn nanos(array: &ArrayRef, row: usize, unit: arrow::datatypes::TimeUnit) -> i128 {
    use arrow::datatypes::{
        TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
    };
    match unit {
        TimeUnit::Second => i128::from(array.as_primitive::<TimestampSecondType>().value(row)) * 1_000_000_000,
        TimeUnit::Millisecond => i128::from(array.as_primitive::<TimestampMillisecondType>().value(row)) * 1_000_000,
        TimeUnit::Microsecond => i128::from(array.as_primitive::<TimestampMicrosecondType>().value(row)) * 1_000,
        TimeUnit::Nanosecond => array.as_primitive::<TimestampNanosecondType>().value(row).into(),
    }
}
