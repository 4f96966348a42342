//! The columns of a push that creates its dataset.

use arrow::datatypes::Schema;
use lakegate_catalog::{Column, ColumnType};
use lakegate_formats::{ArrowSchema, Format, FormatError, Inferrer};
use lakegate_lake::types::stored_type;

use crate::body::Body;
use crate::decode::{Head, spool};
use crate::error::Result;
use crate::limits::Limits;

/// The columns of a body, and the part of it that was read to know them: a sample of text, the schema
/// that Arrow begins with, all of a Parquet file.
pub(crate) async fn infer(body: &mut Body<'_>, limits: &Limits) -> Result<(Vec<Column>, Head)> {
    match body.format() {
        Format::Json | Format::NdJson | Format::Csv => from_text(body, limits).await,
        Format::ArrowStream | Format::ArrowFile => from_arrow(body).await,
        Format::Parquet => {
            let rows = spool(body, &limits.spool).await?;
            Ok((columns(rows.schema())?, Head::Whole(Box::new(rows))))
        }
    }
}

async fn from_text(body: &mut Body<'_>, limits: &Limits) -> Result<(Vec<Column>, Head)> {
    let mut inferrer = Inferrer::new(body.format(), limits.of_body())?;
    let mut sample = Vec::new();
    while let Some(bytes) = body.next().await? {
        let more = inferrer.feed(&bytes)?;
        sample.push(bytes);
        if !more {
            break;
        }
    }
    Ok((inferrer.finish()?, Head::Pieces(sample)))
}

async fn from_arrow(body: &mut Body<'_>) -> Result<(Vec<Column>, Head)> {
    let mut finder = ArrowSchema::new(body.format())?;
    let mut pieces = Vec::new();
    while let Some(bytes) = body.next().await? {
        let schema = finder.feed(&bytes)?;
        pieces.push(bytes);
        if let Some(schema) = schema {
            return Ok((columns(&schema)?, Head::Pieces(pieces)));
        }
    }
    Err(finder.missing().into())
}

/// The columns that store a schema. All may be null, as in bodies of text: one batch says nothing of
/// the next push. A column of nulls only is not created.
fn columns(schema: &Schema) -> Result<Vec<Column>> {
    let mut columns = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        if let Some(ty) = stored_type(field.name(), field.data_type())? {
            columns.push(Column { name: field.name().clone(), ty: nullable(ty), nullable: true });
        }
    }
    if columns.is_empty() {
        return Err(FormatError::NoColumns.into());
    }
    Column::check_all(&columns).map_err(|error| FormatError::ColumnName(error.to_string()))?;
    Ok(columns)
}

fn nullable(ty: ColumnType) -> ColumnType {
    match ty {
        ColumnType::Struct(fields) => {
            let field = |field: Column| Column { ty: nullable(field.ty), nullable: true, ..field };
            ColumnType::Struct(fields.into_iter().map(field).collect())
        }
        ColumnType::List(item) => ColumnType::List(Box::new(nullable(*item))),
        ColumnType::Map(key, value) => ColumnType::Map(key, Box::new(nullable(*value))),
        other => other,
    }
}
