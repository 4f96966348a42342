//! Statistics of a data file: from the Parquet footer to the log, and from the log to the planner.
//!
//! Top-level columns of integer, floating point, string, date and timestamp type are covered, the
//! first 32 of them, as Delta has it. A floating point column that holds NaN gets no bounds: Parquet
//! leaves NaN out of them while SQL sorts it above every number.

use std::sync::Arc;

use arrow::array::Array;
use arrow::datatypes::{DataType, Field, SchemaRef, TimeUnit};
use chrono::{DateTime, NaiveDate, NaiveDateTime};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue, Statistics};
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::file::metadata::ParquetMetaData;
use serde_json::{Map, Value, json};

use crate::error::Result;

/// Delta's default number of columns with statistics.
pub(crate) const INDEXED_COLUMNS: usize = 32;

/// The `stats` text of an Add action.
///
/// `has_nan[i]` says that column `i` holds a NaN and must have no bounds.
pub(crate) fn to_log(stored: &SchemaRef, parquet: &ParquetMetaData, has_nan: &[bool]) -> Result<String> {
    let (mut mins, mut maxs, mut nulls) = (Map::new(), Map::new(), Map::new());
    for (field, nan) in stored.fields().iter().zip(has_nan).take(INDEXED_COLUMNS) {
        if field.data_type().is_nested() {
            continue;
        }
        let converter = StatisticsConverter::try_new(field.name(), stored, parquet.file_metadata().schema_descr())?;
        let groups = || parquet.row_groups().iter();
        let counts = converter.row_group_null_counts(groups())?;
        if counts.null_count() == 0 {
            nulls.insert(field.name().clone(), json!(counts.iter().flatten().sum::<u64>()));
        }
        if *nan || !has_bounds(field.data_type()) {
            continue;
        }
        let low = extreme(&converter.row_group_mins(groups())?, std::cmp::Ordering::Less)?;
        let high = extreme(&converter.row_group_maxes(groups())?, std::cmp::Ordering::Greater)?;
        if let (Some(low), Some(high)) = (low.as_ref().and_then(scalar_to_json), high.as_ref().and_then(scalar_to_json))
        {
            mins.insert(field.name().clone(), low);
            maxs.insert(field.name().clone(), high);
        }
    }
    let rows = parquet.file_metadata().num_rows();
    Ok(json!({"numRecords": rows, "minValues": mins, "maxValues": maxs, "nullCount": nulls}).to_string())
}

fn has_bounds(ty: &DataType) -> bool {
    matches!(
        ty,
        DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::Float32
            | DataType::Float64
            | DataType::Utf8
            | DataType::Date32
            | DataType::Timestamp(TimeUnit::Microsecond, _)
    )
}

/// The smallest or largest of the row groups' bounds; `None` when any row group with rows has none.
fn extreme(bounds: &dyn Array, wanted: std::cmp::Ordering) -> Result<Option<ScalarValue>> {
    let mut best: Option<ScalarValue> = None;
    for i in 0..bounds.len() {
        let Ok(value) = ScalarValue::try_from_array(bounds, i) else {
            return Ok(None);
        };
        if value.is_null() {
            return Ok(None);
        }
        if best.as_ref().is_none_or(|b| value.partial_cmp(b) == Some(wanted)) {
            best = Some(value);
        }
    }
    Ok(best)
}

fn scalar_to_json(value: &ScalarValue) -> Option<Value> {
    Some(match value {
        ScalarValue::Int16(Some(v)) => json!(v),
        ScalarValue::Int32(Some(v)) => json!(v),
        ScalarValue::Int64(Some(v)) => json!(v),
        ScalarValue::Float32(Some(v)) if v.is_finite() => json!(v),
        ScalarValue::Float64(Some(v)) if v.is_finite() => json!(v),
        ScalarValue::Utf8(Some(v)) => json!(v),
        ScalarValue::Date32(Some(days)) => json!(epoch_day(*days)?.to_string()),
        ScalarValue::TimestampMicrosecond(Some(us), zone) => {
            let text = DateTime::from_timestamp_micros(*us)?.naive_utc().format("%Y-%m-%dT%H:%M:%S%.6f").to_string();
            json!(if zone.is_some() { text + "Z" } else { text })
        }
        _ => return None,
    })
}

fn epoch_day(days: i32) -> Option<NaiveDate> {
    DateTime::from_timestamp(i64::from(days) * 86_400, 0).map(|t| t.date_naive())
}

/// What the planner may know of a file, for the columns of `stored` in order.
///
/// Bounds are marked exact in the sense that no value lies outside; see [`bounds_inexact`].
pub(crate) fn from_log(stored: &SchemaRef, stats: Option<&str>, size: u64) -> Statistics {
    let mut statistics = Statistics::new_unknown(stored);
    statistics.total_byte_size = Precision::Inexact(usize::try_from(size).unwrap_or(usize::MAX));
    let Some(stats) = stats.and_then(|text| serde_json::from_str::<Value>(text).ok()) else {
        return statistics;
    };
    if let Some(rows) = stats["numRecords"].as_u64().and_then(|n| usize::try_from(n).ok()) {
        statistics.num_rows = Precision::Exact(rows);
    }
    statistics.column_statistics = stored.fields().iter().map(|field| column_from_log(field, &stats)).collect();
    statistics
}

fn column_from_log(field: &Arc<Field>, stats: &Value) -> ColumnStatistics {
    let name = field.name().as_str();
    let bound = |which: &str| match json_to_scalar(field.data_type(), &stats[which][name]) {
        Some(value) => Precision::Exact(value),
        None => Precision::Absent,
    };
    let nulls = stats["nullCount"][name].as_u64().and_then(|n| usize::try_from(n).ok());
    ColumnStatistics::new_unknown()
        .with_null_count(nulls.map_or(Precision::Absent, Precision::Exact))
        .with_min_value(bound("minValues"))
        .with_max_value(bound("maxValues"))
}

fn json_to_scalar(ty: &DataType, value: &Value) -> Option<ScalarValue> {
    Some(match ty {
        DataType::Int16 => ScalarValue::Int16(Some(value.as_i64()?.try_into().ok()?)),
        DataType::Int32 => ScalarValue::Int32(Some(value.as_i64()?.try_into().ok()?)),
        DataType::Int64 => ScalarValue::Int64(Some(value.as_i64()?)),
        // Printed from an f32, so the nearest f32 is the same number again.
        #[expect(clippy::cast_possible_truncation, reason = "the text came from an f32")]
        DataType::Float32 => ScalarValue::Float32(Some(value.as_f64()? as f32)),
        DataType::Float64 => ScalarValue::Float64(Some(value.as_f64()?)),
        DataType::Utf8 => ScalarValue::Utf8(Some(value.as_str()?.to_owned())),
        DataType::Date32 => {
            let day: NaiveDate = value.as_str()?.parse().ok()?;
            ScalarValue::Date32(Some(day.signed_duration_since(NaiveDate::default()).num_days().try_into().ok()?))
        }
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let text = value.as_str()?;
            let us = if zone.is_some() {
                DateTime::parse_from_rfc3339(text).ok()?.timestamp_micros()
            } else {
                text.parse::<NaiveDateTime>().ok()?.and_utc().timestamp_micros()
            };
            ScalarValue::TimestampMicrosecond(Some(us), zone.clone())
        }
        _ => return None,
    })
}

/// Whether the bounds that Parquet keeps for row groups and pages hold for every value of the file.
///
/// They leave NaN out, which SQL sorts above every number: a row group of 1, 2 and NaN would be skipped by `x > 5`. Bounds in
/// the log are absent exactly when there may be a NaN, so a floating point column without them says to read all.
pub(crate) fn covers_every_value(stored: &SchemaRef, statistics: &Statistics) -> bool {
    let columns = stored.fields().iter().zip(&statistics.column_statistics).take(INDEXED_COLUMNS);
    columns.filter(|(field, _)| field.data_type().is_floating()).all(|(_, column)| {
        let only_nulls = column.null_count.get_value().is_some() && column.null_count == statistics.num_rows;
        column.max_value.get_value().is_some() || only_nulls
    })
}

/// The same statistics for the optimizer, which takes exact bounds for the answer to `MIN` and
/// `MAX`: a truncated string is a bound but not a value.
pub(crate) fn bounds_inexact(mut statistics: Statistics) -> Statistics {
    for column in &mut statistics.column_statistics {
        column.min_value = std::mem::take(&mut column.min_value).to_inexact();
        column.max_value = std::mem::take(&mut column.max_value).to_inexact();
    }
    statistics
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_round_trip_through_the_log() {
        let utc: Arc<str> = "UTC".into();
        for value in [
            ScalarValue::Int16(Some(-3)),
            ScalarValue::Int64(Some(i64::MIN)),
            ScalarValue::Float32(Some(0.1)),
            ScalarValue::Float64(Some(-1e300)),
            ScalarValue::Utf8(Some("é\"".to_owned())),
            ScalarValue::Date32(Some(-719_000)),
            ScalarValue::TimestampMicrosecond(Some(-1), Some(utc)),
            ScalarValue::TimestampMicrosecond(Some(1_700_000_000_123_456), None),
        ] {
            let json = scalar_to_json(&value).expect("has a text");
            assert_eq!(json_to_scalar(&value.data_type(), &json), Some(value));
        }
    }
}
