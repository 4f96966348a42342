//! The one table between Arrow, stored columns and Delta.
//!
//! Every column of a dataset has a [`ColumnType`]; this module says which Arrow type holds it in
//! memory and in Parquet, which Delta type names it in the log, and how any other Arrow type is
//! cast to it. Casts are checked: a value that would change is refused, before anything is
//! acknowledged, so no accepted push can make a dataset unreadable.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray as _};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit, TimestampNanosecondType};
use deltalake::kernel::{ArrayType, DataType as DeltaType, MapType, PrimitiveType, StructField, StructType};
use lakegate_catalog::{Column, ColumnType};

use crate::error::{LakeError, Result};

/// What a dataset's columns look like in Arrow, under the names that clients use.
///
/// Errors: a geometry column, which this version does not store yet.
pub fn arrow_schema(columns: &[Column]) -> Result<SchemaRef> {
    let fields = columns
        .iter()
        .map(|column| Ok(Field::new(&column.name, arrow_type(&column.name, &column.ty)?, column.nullable)))
        .collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(Schema::new(fields)))
}

/// The Arrow type that holds a column type. `column` is for the error message only.
pub fn arrow_type(column: &str, ty: &ColumnType) -> Result<DataType> {
    Ok(match ty {
        ColumnType::Boolean => DataType::Boolean,
        ColumnType::SmallInt => DataType::Int16,
        ColumnType::Int => DataType::Int32,
        ColumnType::BigInt => DataType::Int64,
        ColumnType::Real => DataType::Float32,
        ColumnType::Double => DataType::Float64,
        ColumnType::Decimal(precision, scale) => DataType::Decimal128(*precision, scale.cast_signed()),
        ColumnType::String => DataType::Utf8,
        ColumnType::Binary => DataType::Binary,
        ColumnType::Date => DataType::Date32,
        ColumnType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        ColumnType::TimestampNtz => DataType::Timestamp(TimeUnit::Microsecond, None),
        ColumnType::List(item) => DataType::List(Arc::new(Field::new("element", arrow_type(column, item)?, true))),
        ColumnType::Struct(fields) => DataType::Struct(struct_fields(column, fields)?),
        ColumnType::Map(key, value) => map_type(arrow_type(column, key)?, arrow_type(column, value)?),
        ColumnType::Geometry => {
            return Err(unsupported(column, "geometry is not stored yet; push WKT or GeoJSON text as string for now"));
        }
    })
}

fn struct_fields(column: &str, fields: &[Column]) -> Result<Fields> {
    fields
        .iter()
        .map(|field| {
            // Top-level names are stored under safe names; nested ones are stored as they are.
            if !field.name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                let why = format!("struct field `{}` may only use letters, digits and `_`", field.name);
                return Err(unsupported(column, &why));
            }
            Ok(Field::new(&field.name, arrow_type(column, &field.ty)?, field.nullable))
        })
        .collect()
}

fn map_type(key: DataType, value: DataType) -> DataType {
    let entries = Fields::from(vec![Field::new("key", key, false), Field::new("value", value, true)]);
    DataType::Map(Arc::new(Field::new("key_value", DataType::Struct(entries), false)), false)
}

fn unsupported(column: &str, why: &str) -> LakeError {
    LakeError::UnsupportedType { column: column.to_owned(), why: why.to_owned() }
}

/// The type of a column of an answer, in the words of the API. Intervals and the like can be computed and not stored; they have
/// the words of Arrow.
pub fn answered_type(column: &str, ty: &DataType) -> String {
    match stored_type(column, ty) {
        Ok(Some(ty)) => ty.to_string(),
        Ok(None) => "null".to_owned(),
        Err(_) => ty.to_string().to_lowercase(),
    }
}

/// Which column type stores an Arrow column: unsigned integers widen, dictionaries and views are
/// decoded, timestamps become microseconds. `None` for a column of nulls only, which is not created.
///
/// Errors: time, interval, duration, union, half-precision floats, structs without fields and more than
/// [`ColumnType::MAX_DEPTH`] levels have no stored form.
pub fn stored_type(column: &str, ty: &DataType) -> Result<Option<ColumnType>> {
    stored_at(column, ty, 0)
}

/// The same for what stands `depth` levels deep.
fn stored_at(column: &str, ty: &DataType, depth: usize) -> Result<Option<ColumnType>> {
    if depth >= ColumnType::MAX_DEPTH {
        let why = format!("it is nested more than {} levels deep; flatten it, or send text", ColumnType::MAX_DEPTH);
        return Err(unsupported(column, &why));
    }
    let nested = |field: &Field| {
        let found = stored_at(column, field.data_type(), depth + 1)?;
        found.ok_or_else(|| unsupported(column, "a nested field holds only nulls, so its type is unknown"))
    };
    Ok(Some(match ty {
        DataType::Null => return Ok(None),
        DataType::Boolean => ColumnType::Boolean,
        DataType::Int8 | DataType::Int16 | DataType::UInt8 => ColumnType::SmallInt,
        DataType::Int32 | DataType::UInt16 => ColumnType::Int,
        DataType::Int64 | DataType::UInt32 => ColumnType::BigInt,
        DataType::UInt64 => ColumnType::Decimal(20, 0),
        DataType::Float32 => ColumnType::Real,
        DataType::Float64 => ColumnType::Double,
        DataType::Decimal32(p, s)
        | DataType::Decimal64(p, s)
        | DataType::Decimal128(p, s)
        | DataType::Decimal256(p, s) => decimal(column, *p, *s)?,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => ColumnType::String,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            ColumnType::Binary
        }
        DataType::Date32 | DataType::Date64 => ColumnType::Date,
        DataType::Timestamp(_, Some(_)) => ColumnType::Timestamp,
        DataType::Timestamp(_, None) => ColumnType::TimestampNtz,
        DataType::Dictionary(_, value) => return stored_at(column, value, depth),
        DataType::RunEndEncoded(_, value) => return stored_at(column, value.data_type(), depth),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::ListView(item)
        | DataType::LargeListView(item) => ColumnType::List(Box::new(nested(item)?)),
        DataType::Struct(fields) if fields.is_empty() => {
            return Err(unsupported(column, "structs without fields are not stored; give it a field, or leave it out"));
        }
        DataType::Struct(fields) => ColumnType::Struct(
            fields
                .iter()
                .map(|f| Ok(Column { name: f.name().clone(), ty: nested(f)?, nullable: f.is_nullable() }))
                .collect::<Result<_>>()?,
        ),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(kv) if kv.len() == 2 => {
                ColumnType::Map(Box::new(nested(&kv[0])?), Box::new(nested(&kv[1])?))
            }
            _ => return Err(unsupported(column, "the map's entries are malformed")),
        },
        DataType::Float16 => return Err(unsupported(column, "half-precision floats are not stored; cast to float32")),
        DataType::Time32(_) | DataType::Time64(_) => {
            return Err(unsupported(column, "time of day is not stored; use a timestamp or a string"));
        }
        DataType::Duration(_) | DataType::Interval(_) => {
            return Err(unsupported(column, "durations and intervals are not stored; use a number with a unit"));
        }
        DataType::Union(_, _) => return Err(unsupported(column, "unions are not stored; use a struct")),
    }))
}

fn decimal(column: &str, precision: u8, scale: i8) -> Result<ColumnType> {
    match u8::try_from(scale) {
        Ok(scale) if (1..=38).contains(&precision) && scale <= precision => Ok(ColumnType::Decimal(precision, scale)),
        _ => Err(unsupported(column, "decimals need a precision of 1 to 38 and a scale of 0 to the precision")),
    }
}

/// Casts a column to the Arrow type that stores it.
///
/// Errors: [`LakeError::BadValue`] with the first row (counted from `first_row`) whose value would
/// overflow, lose digits or not parse.
pub fn cast_column(column: &str, array: &ArrayRef, target: &DataType, first_row: u64) -> Result<ArrayRef> {
    if array.data_type() == target {
        return Ok(Arc::clone(array));
    }
    refuse_finer_digits(column, array, first_row)?;
    let lossy = cast_with_options(array, target, &CastOptions { safe: true, ..CastOptions::default() })
        .map_err(|_| unsupported(column, &format!("{} cannot be stored as {target}", array.data_type())))?;
    // A safe cast turns what does not fit into null: a new null is a value that did not fit.
    if lossy.logical_null_count() != array.logical_null_count() {
        let before = array.logical_nulls();
        let row = (0..array.len())
            .find(|i| lossy.is_null(*i) && before.as_ref().is_none_or(|nulls| nulls.is_valid(*i)))
            .unwrap_or_default();
        return Err(bad_value(column, first_row + row as u64, &format!("the value does not fit {target}")));
    }
    Ok(lossy)
}

fn refuse_finer_digits(column: &str, array: &ArrayRef, first_row: u64) -> Result<()> {
    let DataType::Timestamp(TimeUnit::Nanosecond, _) = array.data_type() else {
        return Ok(());
    };
    let values = array.as_primitive::<TimestampNanosecondType>();
    let finer = |i: &usize| values.is_valid(*i) && values.value(*i) % 1_000 != 0;
    match (0..values.len()).find(finer) {
        None => Ok(()),
        Some(row) => Err(bad_value(
            column,
            first_row + row as u64,
            "timestamps keep microseconds and this one has finer digits; round it before the push",
        )),
    }
}

fn bad_value(column: &str, row: u64, why: &str) -> LakeError {
    LakeError::BadValue { row, column: column.to_owned(), why: why.to_owned() }
}

/// The Delta type that names a column type in the log.
pub(crate) fn delta_type(ty: &ColumnType) -> Result<DeltaType> {
    let primitive = |p| Ok(DeltaType::Primitive(p));
    match ty {
        ColumnType::Boolean => primitive(PrimitiveType::Boolean),
        ColumnType::SmallInt => primitive(PrimitiveType::Short),
        ColumnType::Int => primitive(PrimitiveType::Integer),
        ColumnType::BigInt => primitive(PrimitiveType::Long),
        ColumnType::Real => primitive(PrimitiveType::Float),
        ColumnType::Double => primitive(PrimitiveType::Double),
        ColumnType::Decimal(precision, scale) => {
            DeltaType::decimal(*precision, *scale).map_err(|e| LakeError::Defect(e.to_string()))
        }
        ColumnType::String => primitive(PrimitiveType::String),
        ColumnType::Binary | ColumnType::Geometry => primitive(PrimitiveType::Binary),
        ColumnType::Date => primitive(PrimitiveType::Date),
        ColumnType::Timestamp => primitive(PrimitiveType::Timestamp),
        ColumnType::TimestampNtz => primitive(PrimitiveType::TimestampNtz),
        ColumnType::List(item) => Ok(ArrayType::new(delta_type(item)?, true).into()),
        ColumnType::Map(key, value) => Ok(MapType::new(delta_type(key)?, delta_type(value)?, true).into()),
        ColumnType::Struct(fields) => {
            let fields = fields
                .iter()
                .map(|f| Ok(StructField::new(&f.name, delta_type(&f.ty)?, f.nullable)))
                .collect::<Result<Vec<_>>>()?;
            StructType::try_new(fields).map(Into::into).map_err(|e| LakeError::Defect(e.to_string()))
        }
    }
}

/// The column type behind a Delta type in the log.
pub(crate) fn column_type(ty: &DeltaType) -> Result<ColumnType> {
    Ok(match ty {
        DeltaType::Primitive(primitive) => match primitive {
            PrimitiveType::Boolean => ColumnType::Boolean,
            PrimitiveType::Byte | PrimitiveType::Short => ColumnType::SmallInt,
            PrimitiveType::Integer => ColumnType::Int,
            PrimitiveType::Long => ColumnType::BigInt,
            PrimitiveType::Float => ColumnType::Real,
            PrimitiveType::Double => ColumnType::Double,
            PrimitiveType::Decimal(d) => ColumnType::Decimal(d.precision(), d.scale()),
            PrimitiveType::String => ColumnType::String,
            PrimitiveType::Binary => ColumnType::Binary,
            PrimitiveType::Date => ColumnType::Date,
            PrimitiveType::Timestamp => ColumnType::Timestamp,
            PrimitiveType::TimestampNtz => ColumnType::TimestampNtz,
            other => return Err(LakeError::UnsupportedTable(format!("column type {other}"))),
        },
        DeltaType::Array(array) => ColumnType::List(Box::new(column_type(array.element_type())?)),
        DeltaType::Map(map) => {
            ColumnType::Map(Box::new(column_type(map.key_type())?), Box::new(column_type(map.value_type())?))
        }
        DeltaType::Struct(fields) => ColumnType::Struct(
            fields
                .fields()
                .map(|f| {
                    Ok(Column { name: f.name().clone(), ty: column_type(f.data_type())?, nullable: f.is_nullable() })
                })
                .collect::<Result<_>>()?,
        ),
        other @ DeltaType::Variant(_) => return Err(LakeError::UnsupportedTable(format!("column type {other}"))),
    })
}

#[cfg(test)]
mod tests {
    use arrow::array::{
        DictionaryArray, Int64Array, StringArray, StringViewArray, TimestampNanosecondArray, UInt64Array,
    };

    use super::*;

    fn every_type() -> Vec<ColumnType> {
        [
            "boolean",
            "smallint",
            "int",
            "bigint",
            "real",
            "double",
            "decimal(38,9)",
            "string",
            "binary",
            "date",
            "timestamp",
            "timestamp_ntz",
            "list<int>",
            "struct<a: int, b: list<string>>",
            "map<string,double>",
        ]
        .iter()
        .map(|t| t.parse().expect("a type"))
        .collect()
    }

    #[test]
    fn arrow_and_delta_give_every_type_back() {
        for ty in every_type() {
            let arrow = arrow_type("c", &ty).expect("stored");
            assert_eq!(stored_type("c", &arrow).expect("known"), Some(ty.clone()));
            assert_eq!(column_type(&delta_type(&ty).expect("delta")).expect("column"), ty);
        }
    }

    #[test]
    fn unsigned_integers_widen_and_decode() {
        let cases = [
            (DataType::UInt8, "smallint"),
            (DataType::UInt16, "int"),
            (DataType::UInt32, "bigint"),
            (DataType::UInt64, "decimal(20,0)"),
            (DataType::Utf8View, "string"),
            (DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8)), "string"),
        ];
        for (arrow, stored) in cases {
            assert_eq!(stored_type("c", &arrow).expect("known").expect("stored").to_string(), stored);
        }
        assert_eq!(stored_type("c", &DataType::Null).expect("known"), None);
        let refused = [DataType::Float16, DataType::Time32(TimeUnit::Second), DataType::Duration(TimeUnit::Second)];
        for ty in refused {
            assert!(matches!(stored_type("c", &ty), Err(LakeError::UnsupportedType { .. })), "{ty}");
        }
    }

    #[test]
    fn casts_keep_values_or_refuse() {
        let max: ArrayRef = Arc::new(UInt64Array::from(vec![Some(u64::MAX), None]));
        let stored = cast_column("c", &max, &DataType::Decimal128(20, 0), 1).expect("fits");
        assert_eq!(stored.as_primitive::<arrow::datatypes::Decimal128Type>().value(0), i128::from(u64::MAX));

        let big: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(1 << 40)]));
        let error = cast_column("c", &big, &DataType::Int32, 11).expect_err("overflow");
        assert!(matches!(error, LakeError::BadValue { row: 13, .. }), "{error}");

        let view: ArrayRef = Arc::new(StringViewArray::from(vec!["a"]));
        assert_eq!(cast_column("c", &view, &DataType::Utf8, 1).expect("decodes").as_string::<i32>().value(0), "a");

        let words: DictionaryArray<arrow::datatypes::Int8Type> = vec![Some("x"), None].into_iter().collect();
        let words: ArrayRef = Arc::new(words);
        let plain = cast_column("c", &words, &DataType::Utf8, 1).expect("decodes");
        assert_eq!(plain.as_ref(), &StringArray::from(vec![Some("x"), None]) as &dyn Array);
    }

    #[test]
    fn types_are_as_deep_as_they_can_be_written_down() {
        let deep = |levels: usize| {
            (1..levels).fold(DataType::Int64, |ty, _| DataType::Struct(vec![Field::new("s", ty, true)].into()))
        };
        let stored = stored_type("c", &deep(ColumnType::MAX_DEPTH)).expect("stored").expect("a type");
        assert_eq!(stored.to_string().parse::<ColumnType>().as_ref(), Ok(&stored));
        for ty in [deep(ColumnType::MAX_DEPTH + 1), deep(200), DataType::Struct(Fields::empty())] {
            assert!(matches!(stored_type("c", &ty), Err(LakeError::UnsupportedType { .. })), "{ty}");
        }
    }

    #[test]
    fn nanoseconds_pass_only_without_finer_digits() {
        let target = DataType::Timestamp(TimeUnit::Microsecond, None);
        let whole: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![5_000]));
        assert!(cast_column("t", &whole, &target, 1).is_ok());
        let finer: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![5_000, 5_001]));
        assert!(matches!(cast_column("t", &finer, &target, 1), Err(LakeError::BadValue { row: 2, .. })));
    }
}
