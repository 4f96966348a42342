//! The schema that clients see: types that all of them read, and what drivers want to know of each column.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use lakegate_formats::answer_schema;
use lakegate_lake::types::stored_type;

/// The schema of an answer: plain types unless the session keeps others, each field with the metadata of Flight SQL.
pub(crate) fn described(schema: &Schema, keeps_types: bool) -> SchemaRef {
    let plain = if keeps_types { Arc::new(schema.clone()) } else { answer_schema(schema) };
    let fields: Vec<FieldRef> = plain.fields().iter().map(|field| Arc::new(field_with_type(field))).collect();
    Arc::new(Schema::new_with_metadata(fields, plain.metadata().clone()))
}

/// The schema of a table's columns, which also names the table.
pub(crate) fn of_table(schema: &Schema, namespace: &str, table: &str) -> SchemaRef {
    let named = |field: &FieldRef| {
        let mut field = field_with_type(field);
        let names = [("CATALOG_NAME", crate::session::CATALOG), ("SCHEMA_NAME", namespace), ("TABLE_NAME", table)];
        field.metadata_mut().extend(names.map(|(key, value)| (prefixed(key), value.to_owned())));
        Arc::new(field)
    };
    Arc::new(Schema::new(answer_schema(schema).fields().iter().map(named).collect::<Vec<_>>()))
}

fn prefixed(key: &str) -> String {
    format!("ARROW:FLIGHT:SQL:{key}")
}

fn field_with_type(field: &FieldRef) -> Field {
    let ty = field.data_type();
    let mut facts = vec![
        ("TYPE_NAME", type_name(field.name(), ty)),
        ("IS_AUTO_INCREMENT", "0".to_owned()),
        ("IS_CASE_SENSITIVE", u8::from(is_text(ty)).to_string()),
        ("IS_READ_ONLY", "1".to_owned()),
        ("IS_SEARCHABLE", "1".to_owned()),
    ];
    if let Some((precision, scale)) = digits(ty) {
        facts.extend([("PRECISION", precision.to_string()), ("SCALE", scale.to_string())]);
    }
    let mut field = field.as_ref().clone();
    field.metadata_mut().extend(facts.into_iter().map(|(key, value)| (prefixed(key), value)));
    field
}

/// The type in the words of the SQL that is spoken here; Arrow's own for a type that is not stored.
pub(crate) fn type_name(column: &str, ty: &DataType) -> String {
    match stored_type(column, ty) {
        Ok(Some(stored)) => stored.to_string(),
        _ => ty.to_string(),
    }
}

fn is_text(ty: &DataType) -> bool {
    matches!(ty, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

/// Decimal digits, and those after the point.
fn digits(ty: &DataType) -> Option<(u8, i8)> {
    Some(match ty {
        DataType::Int8 | DataType::UInt8 => (3, 0),
        DataType::Int16 | DataType::UInt16 => (5, 0),
        DataType::Int32 | DataType::UInt32 => (10, 0),
        DataType::Int64 => (19, 0),
        DataType::UInt64 => (20, 0),
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => (*precision, *scale),
        _ => return None,
    })
}
