//! Laws of reading and writing bodies, over random batches and random bytes.

mod sample;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use lakegate_catalog::{Column, ColumnType};
use lakegate_formats::{BodyLimits, BodyReader, Format, FormatError, Inferrer, RowEncoder};
use proptest::prelude::*;

const TEXT: [Format; 3] = [Format::Json, Format::NdJson, Format::Csv];

/// What is read piece by piece.
const STREAMED: [Format; 5] = [Format::Json, Format::NdJson, Format::Csv, Format::ArrowStream, Format::ArrowFile];

/// Small limits, so that batches are cut and rows are refused.
const SMALL: BodyLimits = BodyLimits { max_row_bytes: 4_000, batch_rows: 3, batch_bytes: 3_000, max_decoded: 1 << 30 };

fn encode(format: Format, batch: &RecordBatch) -> Vec<u8> {
    let mut encoder = RowEncoder::new(format, &batch.schema()).expect("stored types have every format");
    let mut body = Vec::new();
    encoder.start(&mut body).expect("starts");
    encoder.batch(batch, &mut body).expect("fits its own schema");
    encoder.finish(&mut body).expect("ends");
    if format == Format::Json { [b"[", &body[..], b"]"].concat() } else { body }
}

/// All that reading a body gives, for comparison: batches, rows and the first error.
type Outcome = (Vec<RecordBatch>, u64, Option<FormatError>);

fn read(format: Format, schema: &SchemaRef, limits: BodyLimits, pieces: &[&[u8]]) -> Outcome {
    let mut reader = BodyReader::new(format, Arc::clone(schema), limits).expect("stored types");
    let mut batches = Vec::new();
    for piece in pieces {
        let fed = reader.feed(piece);
        while let Ok(Some(batch)) = reader.take_batch() {
            batches.push(batch);
        }
        if let Err(error) = fed {
            assert_eq!(reader.finish(), Err(error.clone()), "an error stays");
            return (batches, reader.rows(), Some(error));
        }
    }
    let last = reader.finish();
    let rows = reader.rows();
    match last {
        Ok(last) => {
            batches.extend(last);
            (batches, rows, None)
        }
        Err(error) => (batches, rows, Some(error)),
    }
}

/// Cuts a body at places given as any numbers.
fn pieces<'a>(body: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (body.len() + 1)).collect();
    cuts.extend([0, body.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|pair| &body[pair[0]..pair[1]]).collect()
}

/// A body that was damaged in a few places: most are refused, none may do worse.
fn damage(mut body: Vec<u8>, places: &[(usize, u8)]) -> Vec<u8> {
    const TELLING: &[u8] = b"\"\\{}[],:\n\r 0-+.eEtnu\xef\xff\x00a";
    for (at, byte) in places {
        let (length, with) = (body.len(), TELLING[usize::from(*byte) % TELLING.len()]);
        match byte % 3 {
            _ if length == 0 => {}
            0 => body[at % length] = with,
            1 => body.insert(at % length, with),
            _ => drop(body.remove(at % length)),
        }
    }
    body
}

/// The Arrow field of a column, as a dataset stores it.
fn field(column: &Column) -> Field {
    Field::new(&column.name, arrow_type(&column.ty), column.nullable)
}

fn arrow_type(ty: &ColumnType) -> DataType {
    match ty {
        ColumnType::Boolean => DataType::Boolean,
        ColumnType::BigInt => DataType::Int64,
        ColumnType::Double => DataType::Float64,
        ColumnType::Decimal(precision, scale) => DataType::Decimal128(*precision, i8::try_from(*scale).expect("small")),
        ColumnType::String => DataType::Utf8,
        ColumnType::Date => DataType::Date32,
        ColumnType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        ColumnType::List(item) => DataType::List(Arc::new(Field::new("item", arrow_type(item), true))),
        ColumnType::Struct(fields) => DataType::Struct(fields.iter().map(field).collect()),
        other => unreachable!("inference makes no {other}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_reads_back(batch in sample::batch()) {
        for format in STREAMED {
            let body = encode(format, &batch);
            let (batches, rows, error) = read(format, &batch.schema(), BodyLimits::default(), &[&body]);
            prop_assert_eq!(&error, &None, "{}: {}", format, String::from_utf8_lossy(&body));
            prop_assert_eq!(rows, batch.num_rows() as u64);
            let read = concat_batches(&batch.schema(), &batches).expect("one schema");
            prop_assert_eq!(&read, &batch, "{}: {}", format, String::from_utf8_lossy(&body));
        }
    }

    #[test]
    fn the_split_of_a_body_does_not_matter(
        batch in sample::batch(),
        cuts in prop::collection::vec(any::<usize>(), 0..20),
        places in prop::collection::vec((any::<usize>(), any::<u8>()), 0..4),
    ) {
        for format in STREAMED {
            let body = damage(encode(format, &batch), &places);
            let whole = read(format, &batch.schema(), SMALL, &[&body]);
            let bytewise: Vec<&[u8]> = body.chunks(1).collect();
            prop_assert_eq!(&read(format, &batch.schema(), SMALL, &pieces(&body, &cuts)), &whole);
            prop_assert_eq!(&read(format, &batch.schema(), SMALL, &bytewise), &whole);
        }
    }

    #[test]
    fn inference_does_not_depend_on_the_split(
        batch in sample::batch(),
        cuts in prop::collection::vec(any::<usize>(), 0..20),
        places in prop::collection::vec((any::<usize>(), any::<u8>()), 0..4),
    ) {
        for format in TEXT {
            let body = damage(encode(format, &batch), &places);
            let infer = |pieces: &[&[u8]]| {
                let mut inferrer = Inferrer::new(format, BodyLimits::default()).expect("has rows");
                pieces.iter().try_for_each(|piece| inferrer.feed(piece).map(|_| ()))?;
                inferrer.finish()
            };
            prop_assert_eq!(infer(&pieces(&body, &cuts)), infer(&[&body]));
        }
    }

    #[test]
    fn what_inference_makes_of_a_body_reads_it(batch in sample::batch()) {
        for format in TEXT {
            let body = encode(format, &batch);
            let mut inferrer = Inferrer::new(format, BodyLimits::default()).expect("has rows");
            // Numbers that JSON writes as strings (NaN, big integers) can make a column of two kinds.
            let Ok(columns) = inferrer.feed(&body).and_then(|_| inferrer.finish()) else { continue };
            let fields: Vec<Field> = columns.iter().map(field).collect();
            let (_, rows, error) = read(format, &Arc::new(Schema::new(fields)), BodyLimits::default(), &[&body]);
            prop_assert_eq!((rows, error), (batch.num_rows() as u64, None), "{}", String::from_utf8_lossy(&body));
        }
    }

    #[test]
    fn random_bytes_are_answered(body in prop::collection::vec(any::<u8>(), 0..300)) {
        let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, true)]));
        for format in STREAMED {
            let (_, _, error) = read(format, &schema, SMALL, &[&body]);
            prop_assert!(error.is_some());
        }
    }
}

#[test]
fn an_inferred_body_is_accepted() {
    let body = br#"[{"a":1,"never":null,"void":[{}],"s":"x"},{"a":null,"never":[null],"s":"\u00e9"}]"#;
    let mut inferrer = Inferrer::new(Format::Json, BodyLimits::default()).expect("has rows");
    inferrer.feed(body).expect("valid");
    let names: Vec<String> = inferrer.finish().expect("columns").into_iter().map(|column| column.name).collect();
    assert_eq!(names, ["a", "s"]);
    let fields = vec![Field::new("a", DataType::Int64, true), Field::new("s", DataType::Utf8, true)];
    let (batches, rows, error) = read(Format::Json, &Arc::new(Schema::new(fields)), BodyLimits::default(), &[body]);
    assert_eq!((batches.len(), rows, error), (1, 2, None));
}
