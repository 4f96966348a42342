//! Bodies: every batch is sound, the split does not matter, and what was read can be written and read again.

use std::cell::RefCell;
use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::sync::{Arc, LazyLock};

use arrow::array::{Array as _, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use lakegate_catalog::{Column, ColumnType};
use lakegate_formats::{
    ArrowSchema, BodyLimits, BodyReader, Format, FormatError, Inferrer, ParquetRows, Result, RowEncoder,
};
use libfuzzer_sys::arbitrary::Unstructured;

use crate::sample;

/// Small ones, so that small bodies meet them.
const LIMITS: BodyLimits =
    BodyLimits { max_row_bytes: 64 << 10, batch_rows: 100, batch_bytes: 256 << 10, max_decoded: 32 << 20 };

/// Rows of more bytes are not written again: it would only take time.
const WRITTEN_AGAIN: usize = 1 << 20;

/// The columns of `hostile.target`, for which the corpus of hostile bodies is made, and what it lacks of the types.
static COLUMNS: LazyLock<SchemaRef> = LazyLock::new(|| {
    let list = |item| DataType::List(Arc::new(Field::new("item", item, true)));
    let instant = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let clock = DataType::Timestamp(TimeUnit::Microsecond, None);
    let parts = vec![Field::new("a", DataType::Utf8, false), Field::new("b", list(DataType::Decimal128(38, 9)), true)];
    let entry = vec![Field::new("keys", DataType::Utf8, false), Field::new("values", DataType::Int64, true)];
    let entries = Field::new("entries", DataType::Struct(entry.into()), false);
    let columns = [
        ("id", DataType::Int64),
        ("small", DataType::Int16),
        ("whole", DataType::Int32),
        ("price", DataType::Decimal128(10, 2)),
        ("ratio", DataType::Float64),
        ("name", DataType::Utf8),
        ("day", DataType::Date32),
        ("at", instant),
        ("flag", DataType::Boolean),
        ("tags", list(DataType::Utf8)),
        ("real", DataType::Float32),
        ("bytes", DataType::Binary),
        ("clock", clock),
        ("parts", DataType::Struct(parts.into())),
        ("map", DataType::Map(Arc::new(entries), false)),
    ];
    let mut fields = columns.map(|(name, ty)| Field::new(name, ty, true)).to_vec();
    fields.push(Field::new("needed", DataType::Utf8, false));
    Arc::new(Schema::new(fields))
});

/// Reads a body of text or Arrow.
pub fn body(format: Format, bytes: &[u8]) {
    let whole = read(format, &COLUMNS, &[bytes]);
    let split = read(format, &COLUMNS, &halves(bytes));
    assert!(whole == split, "the split matters: {:?} and {:?}", whole.end, split.end);
    if !format.is_text() {
        schema_of(format, bytes);
    }
    if whole.end.is_ok() {
        written_again(&whole.batches, &Format::ALL[..3]);
    }
}

/// All that reading a body gives.
#[derive(PartialEq)]
struct Outcome {
    batches: Vec<RecordBatch>,
    end: Result<()>,
}

fn read(format: Format, schema: &SchemaRef, pieces: &[&[u8]]) -> Outcome {
    let mut reader = BodyReader::new(format, Arc::clone(schema), LIMITS).expect("stored types");
    let mut batches = Vec::new();
    let end = reading(&mut reader, pieces, &mut batches);
    if let Err(error) = &end {
        assert_eq!(reader.finish(), Err(error.clone()), "an error stays");
        let _ = (error.to_string(), error.kind(), error.code());
    }
    batches.iter().for_each(|batch| sound(batch, schema));
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    assert!(end.is_err() || rows as u64 == reader.rows(), "{rows} rows came, {} were counted", reader.rows());
    Outcome { batches, end }
}

fn reading(reader: &mut BodyReader, pieces: &[&[u8]], batches: &mut Vec<RecordBatch>) -> Result<()> {
    for piece in pieces {
        let fed = reader.feed(piece);
        while let Some(batch) = reader.take_batch()? {
            batches.push(batch);
        }
        fed?;
    }
    batches.extend(reader.finish()?);
    Ok(())
}

fn sound(batch: &RecordBatch, schema: &SchemaRef) {
    assert_eq!(&batch.schema(), schema);
    assert!(batch.num_rows() > 0, "an empty batch");
    for (column, field) in batch.columns().iter().zip(schema.fields()) {
        column.to_data().validate_full().expect("a sound array");
        assert!(field.is_nullable() || column.null_count() == 0, "{} has nulls", field.name());
    }
}

fn schema_of(format: Format, bytes: &[u8]) {
    let mut found = ArrowSchema::new(format).expect("Arrow");
    for piece in halves(bytes) {
        if !matches!(found.feed(piece), Ok(None)) {
            return;
        }
    }
    let _ = found.missing().to_string();
}

/// Two pieces of a body, cut somewhere: at a place that the bytes themselves say.
pub(crate) fn halves(bytes: &[u8]) -> [&[u8]; 2] {
    let hash = bytes.iter().fold(0_usize, |hash, byte| hash.wrapping_mul(31).wrapping_add(usize::from(*byte)));
    bytes.split_at(hash % (bytes.len() + 1)).into()
}

/// Writes the rows in these formats, reads them and compares.
fn written_again(batches: &[RecordBatch], formats: &[Format]) {
    let Some(first) = batches.first() else { return };
    let schema = first.schema();
    let rows = concat_batches(&schema, batches).expect("one schema");
    if rows.get_array_memory_size() > WRITTEN_AGAIN {
        return;
    }
    for format in formats {
        let body = written(*format, &rows);
        let read = match format {
            Format::Parquet => read_parquet(&body, &schema),
            _ => read(*format, &schema, &[&body]),
        };
        let shown = || format!("{format}: {}", String::from_utf8_lossy(&body).chars().take(5_000).collect::<String>());
        assert_eq!(read.end, Ok(()), "{}", shown());
        assert_eq!(concat_batches(&schema, &read.batches).expect("one schema"), rows, "{}", shown());
    }
}

fn written(format: Format, rows: &RecordBatch) -> Vec<u8> {
    let mut encoder = RowEncoder::new(format, &rows.schema()).expect("stored types have every format");
    let mut body = Vec::new();
    encoder.start(&mut body).expect("starts");
    encoder.batch(rows, &mut body).expect("fits its own schema");
    encoder.finish(&mut body).expect("ends");
    if format == Format::Json { [b"[", &body[..], b"]"].concat() } else { body }
}

/// Reads a Parquet body.
pub fn parquet(bytes: &[u8]) {
    let outcome = read_parquet(bytes, &COLUMNS);
    if outcome.end.is_ok() {
        written_again(&outcome.batches, &[Format::NdJson]);
    }
}

thread_local! {
    static SPOOLED: RefCell<File> = RefCell::new(tempfile::tempfile().expect("a temporary file"));
}

fn read_parquet(bytes: &[u8], schema: &SchemaRef) -> Outcome {
    let spooled = SPOOLED.with_borrow_mut(|file| {
        file.rewind()?;
        file.write_all(bytes)?;
        file.set_len(bytes.len() as u64)?;
        file.rewind()?;
        file.try_clone()
    });
    let mut batches = Vec::new();
    let end = reading_parquet(spooled.expect("room for a body"), schema, &mut batches);
    if let Err(error) = &end {
        let _ = (error.to_string(), error.kind(), error.code());
    }
    batches.iter().for_each(|batch| sound(batch, schema));
    Outcome { batches, end }
}

fn reading_parquet(file: File, schema: &SchemaRef, batches: &mut Vec<RecordBatch>) -> Result<()> {
    let mut rows = ParquetRows::open(file)?;
    rows.start(Arc::clone(schema), LIMITS)?;
    while let Some(batch) = rows.next_batch()? {
        batches.push(batch);
    }
    Ok(())
}

/// Finds the columns of a body and reads it with them. The first byte says which format.
pub fn inference(bytes: &[u8]) {
    let Some((format, bytes)) = bytes.split_first() else { return };
    let format = Format::ALL[usize::from(*format) % 3];
    let whole = inferred(format, &[bytes]);
    assert_eq!(inferred(format, &halves(bytes)), whole, "the split matters");
    let Ok(columns) = whole else { return };
    Column::check_all(&columns).expect("columns that a dataset may have");
    let fields: Vec<Field> = columns.iter().map(field).collect();
    let read = read(format, &Arc::new(Schema::new(fields)), &[bytes]);
    // 1e999 shows that a column has doubles, and is none; a time with seven decimals that it has timestamps, and is none.
    let told =
        |error: &FormatError| error.code() == "number_out_of_range" || error.to_string().contains("at most 6 decimals");
    let fits = read.end.as_ref().map_or_else(told, |()| true);
    assert!(fits, "the columns found do not fit the body that they were found in: {:?}", read.end);
}

fn inferred(format: Format, pieces: &[&[u8]]) -> Result<Vec<Column>> {
    let mut inferrer = Inferrer::new(format, LIMITS).expect("text");
    for piece in pieces {
        inferrer.feed(piece)?;
    }
    inferrer.finish()
}

fn field(column: &Column) -> Field {
    Field::new(&column.name, stored(&column.ty), column.nullable)
}

/// As a dataset stores the types that are inferred.
fn stored(ty: &ColumnType) -> DataType {
    match ty {
        ColumnType::Boolean => DataType::Boolean,
        ColumnType::BigInt => DataType::Int64,
        ColumnType::Double => DataType::Float64,
        ColumnType::Decimal(precision, scale) => DataType::Decimal128(*precision, i8::try_from(*scale).expect("small")),
        ColumnType::String => DataType::Utf8,
        ColumnType::Date => DataType::Date32,
        ColumnType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        ColumnType::List(item) => DataType::List(Arc::new(Field::new("item", stored(item), true))),
        ColumnType::Struct(fields) => DataType::Struct(fields.iter().map(field).collect()),
        other => unreachable!("inference makes no {other}"),
    }
}

/// Makes rows of the bytes, writes them and reads them: in one format, which the first byte names.
pub fn answers(bytes: &[u8]) {
    let Some((format, bytes)) = bytes.split_first() else { return };
    if let Ok(rows) = sample::rows(&COLUMNS, &mut Unstructured::new(bytes)) {
        // A file of Parquet takes as long as a hundred of the others.
        let format = if *format == 0 { Format::Parquet } else { Format::ALL[usize::from(*format) % 5] };
        written_again(&[rows], &[format]);
    }
}
