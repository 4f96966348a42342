//! Keys: those that datasets declare. There are no foreign ones.

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow_flight::sql::CommandGetPrimaryKeys;

use super::tables::dataset_of;
use crate::service::{Asked, Flight};
use crate::session::CATALOG;
use crate::status::Result;

static PRIMARY: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("catalog_name", DataType::Utf8, true),
        Field::new("db_schema_name", DataType::Utf8, true),
        Field::new("table_name", DataType::Utf8, false),
        Field::new("column_name", DataType::Utf8, false),
        Field::new("key_name", DataType::Utf8, true),
        Field::new("key_sequence", DataType::Int32, false),
    ]))
});

static FOREIGN: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("pk_catalog_name", DataType::Utf8, true),
        Field::new("pk_db_schema_name", DataType::Utf8, true),
        Field::new("pk_table_name", DataType::Utf8, false),
        Field::new("pk_column_name", DataType::Utf8, false),
        Field::new("fk_catalog_name", DataType::Utf8, true),
        Field::new("fk_db_schema_name", DataType::Utf8, true),
        Field::new("fk_table_name", DataType::Utf8, false),
        Field::new("fk_column_name", DataType::Utf8, false),
        Field::new("key_sequence", DataType::Int32, false),
        Field::new("fk_key_name", DataType::Utf8, true),
        Field::new("pk_key_name", DataType::Utf8, true),
        Field::new("update_rule", DataType::UInt8, false),
        Field::new("delete_rule", DataType::UInt8, false),
    ]))
});

/// The schema of primary keys.
pub(super) fn primary_schema() -> SchemaRef {
    Arc::clone(&PRIMARY)
}

/// The schema of exported, imported and cross-referenced keys.
pub(super) fn foreign_schema() -> SchemaRef {
    Arc::clone(&FOREIGN)
}

/// `CommandGetPrimaryKeys`: the columns in the order of the key; none for a table that is not there or has no key.
pub(super) async fn primary(flight: &Flight, asked: &Asked, command: CommandGetPrimaryKeys) -> Result<RecordBatch> {
    let elsewhere = command.catalog.as_deref().is_some_and(|catalog| catalog != CATALOG);
    let namespace = command.db_schema.as_deref().filter(|schema| !schema.is_empty());
    let found = if elsewhere { None } else { dataset_of(flight, asked, namespace, &command.table).await? };
    let Some(dataset) = found else { return Ok(RecordBatch::new_empty(primary_schema())) };
    let key = &dataset.primary_key;
    let all = |text: &str| Arc::new(StringArray::from_iter_values(key.iter().map(|_| text))) as ArrayRef;
    let sequence = Int32Array::from_iter_values((1..).take(key.len()));
    let columns: Vec<ArrayRef> = vec![
        all(CATALOG),
        all(dataset.name.namespace().as_str()),
        all(dataset.name.dataset()),
        Arc::new(StringArray::from_iter_values(key)),
        Arc::new(StringArray::new_null(key.len())),
        Arc::new(sequence),
    ];
    Ok(RecordBatch::try_new(primary_schema(), columns)?)
}
