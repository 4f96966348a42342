//! Arrow and Parquet bodies: what fits is kept exactly, the rest is refused, and damage is an error.

mod sample;

use std::io::Write as _;
use std::sync::Arc;

use arrow::array::{
    Array as _, ArrayRef, AsArray as _, BinaryArray, Date64Array, DictionaryArray, FixedSizeListArray, Float64Array,
    Int32Array, Int64Array, LargeStringArray, NullArray, RecordBatch, RunArray, StringArray, StringViewArray,
    StructArray, TimestampNanosecondArray, UInt8Array, UInt64Array,
};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Decimal128Type, Field, Int8Type, Int32Type, Schema, SchemaRef, TimeUnit};
use arrow::ipc::CompressionType;
use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};
use lakegate_formats::{BodyLimits, BodyReader, Format, FormatError, ParquetRows, Result, RowEncoder};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding};
use parquet::file::properties::{WriterProperties, WriterVersion};
use proptest::prelude::*;

fn array(array: impl arrow::array::Array + 'static) -> ArrayRef {
    Arc::new(array)
}

fn arrow_body(batch: &RecordBatch, compression: Option<CompressionType>) -> Vec<u8> {
    let options = IpcWriteOptions::default().try_with_compression(compression).expect("an option");
    let mut writer = StreamWriter::try_new_with_options(Vec::new(), &batch.schema(), options).expect("memory");
    writer.write(batch).expect("memory");
    writer.into_inner().expect("memory")
}

fn parquet_body(batch: &RecordBatch, properties: WriterProperties) -> Vec<u8> {
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).expect("memory");
    writer.write(batch).expect("memory");
    writer.into_inner().expect("memory")
}

fn read_arrow(body: &[u8], target: &SchemaRef) -> Result<RecordBatch> {
    read_arrow_within(body, target, BodyLimits::default())
}

fn read_arrow_within(body: &[u8], target: &SchemaRef, limits: BodyLimits) -> Result<RecordBatch> {
    let mut reader = BodyReader::new(Format::ArrowStream, Arc::clone(target), limits)?;
    let mut batches = Vec::new();
    reader.feed(body)?;
    while let Some(batch) = reader.take_batch()? {
        assert!(batch.get_array_memory_size() < 64 << 20, "a slice is bounded");
        batches.push(batch);
    }
    reader.finish()?;
    Ok(concat_batches(target, &batches).expect("one schema"))
}

fn read_parquet(body: &[u8], target: &SchemaRef, limits: BodyLimits) -> Result<RecordBatch> {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(body).expect("room");
    let mut rows = ParquetRows::open(file)?;
    rows.start(Arc::clone(target), limits)?;
    let mut batches = Vec::new();
    while let Some(batch) = rows.next_batch()? {
        batches.push(batch);
    }
    Ok(concat_batches(target, &batches).expect("one schema"))
}

fn one(name: &str, column: ArrayRef) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable([(name, column, true)]).expect("one column")
}

fn column(ty: DataType) -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("c", ty, true)]))
}

/// What parquet-mr writes as its second version, and others on demand.
#[test]
fn texts_in_the_delta_encodings_are_read() {
    let texts: Vec<Option<String>> =
        (0..9_000).map(|n| (n % 7 != 3).then(|| format!("customer/{:04}/{}", n / 9, "ö".repeat(n % 40)))).collect();
    let lists = arrow::array::ListArray::from_iter_primitive::<arrow::datatypes::Int32Type, _, _>(
        (0..9_000).map(|n| (n % 5 != 0).then(|| (0..n % 4).map(Some).collect::<Vec<_>>())),
    );
    let words = array(StringArray::from_iter(
        lists.values().as_primitive::<Int32Type>().iter().map(|n| n.map(|n| format!("w{n}"))),
    ));
    let (_, offsets, _, nulls) = lists.into_parts();
    let field = Arc::new(Field::new("item", DataType::Utf8, true));
    let lists = arrow::array::ListArray::new(field, offsets, words, nulls);
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("c", array(StringArray::from_iter(&texts)), true),
        ("needed", array(StringArray::from_iter_values((0..9_000).map(|n| n.to_string()))), false),
        ("bytes", array(BinaryArray::from_iter(texts.iter().map(|text| text.as_ref().map(String::as_bytes)))), true),
        ("list", array(lists), true),
    ])
    .expect("columns of one length");
    for encoding in [Encoding::DELTA_BYTE_ARRAY, Encoding::DELTA_LENGTH_BYTE_ARRAY] {
        for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
            for codec in [Compression::UNCOMPRESSED, Compression::SNAPPY, Compression::GZIP(Default::default())] {
                let properties = WriterProperties::builder()
                    .set_writer_version(version)
                    .set_dictionary_enabled(false)
                    .set_encoding(encoding)
                    .set_data_page_row_count_limit(2_000)
                    .set_compression(codec)
                    .build();
                let body = parquet_body(&batch, properties);
                let read = read_parquet(&body, &batch.schema(), BodyLimits::default());
                assert_eq!(read.expect("fits"), batch, "{encoding} {version:?} {codec}");
            }
        }
    }
}

/// On the wire each text is a number.
#[test]
fn texts_that_begin_alike_are_counted_in_full() {
    let text = "a".repeat(1 << 20);
    let batch = one("c", array(StringArray::from_iter_values((0..64).map(|_| &text))));
    let properties =
        || WriterProperties::builder().set_dictionary_enabled(false).set_encoding(Encoding::DELTA_BYTE_ARRAY);
    let body = parquet_body(&batch, properties().set_compression(Compression::SNAPPY).build());
    assert!(body.len() < 200 << 10, "{}", body.len());
    let limits = BodyLimits { batch_bytes: 8 << 20, ..BodyLimits::default() };
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(&body).expect("room");
    let mut rows = ParquetRows::open(file).expect("a footer");
    rows.start(batch.schema(), limits).expect("fits");
    let mut read = 0;
    while let Some(part) = rows.next_batch().expect("fits") {
        assert!(part.num_rows() <= 8, "{} rows of a MiB at once", part.num_rows());
        read += part.num_rows();
    }
    assert_eq!(read, 64);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn parquet_answers_read_back(batch in sample::batch()) {
        let mut encoder = RowEncoder::new(Format::Parquet, &batch.schema()).expect("stored types");
        let mut body = Vec::new();
        encoder.start(&mut body).expect("starts");
        encoder.batch(&batch, &mut body).expect("fits");
        encoder.finish(&mut body).expect("ends");
        let small = BodyLimits { batch_rows: 3, ..BodyLimits::default() };
        for limits in [BodyLimits::default(), small] {
            prop_assert_eq!(read_parquet(&body, &batch.schema(), limits), Ok(batch.clone()));
        }
    }

    #[test]
    fn compressed_bodies_read_back(batch in sample::batch()) {
        for compression in [CompressionType::LZ4_FRAME, CompressionType::ZSTD] {
            let body = arrow_body(&batch, Some(compression));
            prop_assert_eq!(read_arrow(&body, &batch.schema()), Ok(batch.clone()));
        }
        let codecs = [Compression::SNAPPY, Compression::GZIP(Default::default()), Compression::LZ4_RAW];
        for (codec, version) in codecs.into_iter().zip([1, 2, 1]) {
            let version = if version == 2 {
                parquet::file::properties::WriterVersion::PARQUET_2_0
            } else {
                parquet::file::properties::WriterVersion::PARQUET_1_0
            };
            let properties = WriterProperties::builder()
                .set_compression(codec)
                .set_writer_version(version)
                .set_max_row_group_row_count(Some(4))
                .set_encoding(Encoding::PLAIN);
            let body = parquet_body(&batch, properties.build());
            prop_assert_eq!(read_parquet(&body, &batch.schema(), BodyLimits::default()), Ok(batch.clone()));
        }
    }

    #[test]
    fn damage_is_an_error_or_other_rows_and_never_worse(
        batch in sample::batch(),
        places in prop::collection::vec((any::<usize>(), any::<u8>()), 1..6),
        cut in any::<usize>(),
    ) {
        let schema = batch.schema();
        let bodies = [
            arrow_body(&batch, None),
            arrow_body(&batch, Some(CompressionType::LZ4_FRAME)),
            parquet_body(&batch, WriterProperties::builder().set_compression(Compression::GZIP(Default::default())).build()),
        ];
        for (at, body) in bodies.into_iter().enumerate() {
            let mut damaged = body.clone();
            for (place, byte) in &places {
                let length = damaged.len();
                damaged[place % length] = *byte;
            }
            for body in [&damaged[..], &body[..cut % body.len()]] {
                let read = if at < 2 { read_arrow(body, &schema) } else { read_parquet(body, &schema, BodyLimits::default()) };
                if let Err(error) = read {
                    prop_assert!(error.code() != "encoding_failed", "{error}");
                }
            }
        }
    }
}

#[test]
fn values_that_fit_are_kept_exactly() {
    let words: DictionaryArray<Int8Type> = vec![Some("x"), None, Some("x")].into_iter().collect();
    let runs = RunArray::<Int32Type>::try_new(&Int32Array::from(vec![2, 3]), &StringArray::from(vec!["r", "s"]));
    let text = |values: Vec<Option<&str>>| array(StringArray::from(values));
    let cases: Vec<(ArrayRef, ArrayRef)> = vec![
        (array(words), text(vec![Some("x"), None, Some("x")])),
        (array(runs.expect("runs")), text(vec![Some("r"), Some("r"), Some("s")])),
        (
            array(StringViewArray::from(vec!["long enough not to be inlined"])),
            text(vec![Some("long enough not to be inlined")]),
        ),
        (array(LargeStringArray::from(vec![Some(""), None])), text(vec![Some(""), None])),
        (array(UInt8Array::from(vec![255])), array(Int64Array::from(vec![255]))),
        (array(Float64Array::from(vec![Some(3.0), None])), array(Int32Array::from(vec![Some(3), None]))),
        (array(Int64Array::from(vec![1 << 53])), array(Float64Array::from(vec![9_007_199_254_740_992.0]))),
        (array(Date64Array::from(vec![86_400_000])), array(arrow::array::Date32Array::from(vec![1]))),
        (
            array(TimestampNanosecondArray::from(vec![5_000]).with_timezone("Europe/Berlin")),
            array(arrow::array::TimestampMicrosecondArray::from(vec![5]).with_timezone("UTC")),
        ),
        (array(NullArray::new(2)), text(vec![None, None])),
    ];
    for (found, wanted) in cases {
        let target = column(wanted.data_type().clone());
        let ty = found.data_type().clone();
        let body = arrow_body(&one("c", found), None);
        assert_eq!(read_arrow(&body, &target).expect("fits").column(0), &wanted, "{ty}");
    }
    let largest = arrow_body(&one("c", array(UInt64Array::from(vec![u64::MAX]))), None);
    let read = read_arrow(&largest, &column(DataType::Decimal128(20, 0))).expect("fits");
    assert_eq!(read.column(0).as_primitive::<Decimal128Type>().value(0), i128::from(u64::MAX));
}

#[test]
fn values_that_would_change_are_refused_with_their_row() {
    let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
    let cases: Vec<(ArrayRef, DataType, &str)> = vec![
        (array(Int64Array::from(vec![1, 1 << 40])), DataType::Int32, "number_out_of_range"),
        (array(Float64Array::from(vec![1.0, 1.5])), DataType::Int64, "type_mismatch"),
        (array(Float64Array::from(vec![1.0, f64::NAN])), DataType::Int64, "number_out_of_range"),
        (array(Float64Array::from(vec![0.5, 0.1])), DataType::Float32, "type_mismatch"),
        (array(Int64Array::from(vec![1, (1 << 53) + 1])), DataType::Float64, "type_mismatch"),
        (array(TimestampNanosecondArray::from(vec![1_000, 1_001])), micros.clone(), "type_mismatch"),
        (array(Date64Array::from(vec![0, 1])), DataType::Date32, "type_mismatch"),
    ];
    for (found, wanted, code) in cases {
        let error = read_arrow(&arrow_body(&one("c", found), None), &column(wanted.clone())).expect_err("changes");
        assert_eq!((error.code(), error.place().map(|place| place.row)), (code, Some(2)), "{wanted}: {error}");
    }
    for (found, wanted) in [
        (array(StringArray::from(vec!["1"])), DataType::Int64),
        (array(Int64Array::from(vec![1])), DataType::Utf8),
        (array(TimestampNanosecondArray::from(vec![0]).with_timezone("UTC")), micros),
        (array(BinaryArray::from(vec![&b"x"[..]])), DataType::Utf8),
    ] {
        let error = read_arrow(&arrow_body(&one("c", found), None), &column(wanted)).expect_err("another kind");
        assert_eq!(error.code(), "type_mismatch", "{error}");
    }
}

#[test]
fn misfits_inside_lists_and_structs_name_their_row() {
    let item = Arc::new(Field::new("item", DataType::Int64, true));
    let numbers = array(Int64Array::from(vec![1, 2, 3, 1 << 40]));
    let list = FixedSizeListArray::new(item, 2, numbers, None);
    let fields = vec![Field::new("n", list.data_type().clone(), true), Field::new("gone", DataType::Null, true)];
    let nested = StructArray::new(fields.into(), vec![array(list), array(NullArray::new(2))], None);
    let body = arrow_body(&one("c", array(nested)), None);
    let list = |item: DataType| DataType::List(Arc::new(Field::new("element", item, true)));
    let target = |item| column(DataType::Struct(vec![Field::new("n", list(item), true)].into()));
    let error = read_arrow(&body, &target(DataType::Int32)).expect_err("too large");
    assert!(error.to_string().starts_with("row 2, column `c.n[1]`: the number 1099511627776"), "{error}");
    assert!(read_arrow(&body, &target(DataType::Int64)).is_ok());
}

#[test]
fn columns_match_by_name() {
    let target: SchemaRef = Arc::new(Schema::new(vec![
        Field::new("a", DataType::Int64, true),
        Field::new("needed", DataType::Utf8, false),
    ]));
    let int = || array(Int64Array::from(vec![1]));
    let text = |value: Option<&str>| array(StringArray::from(vec![value]));
    let read = |columns: Vec<(&str, ArrayRef)>| {
        let fields: Vec<Field> = columns.iter().map(|(n, c)| Field::new(*n, c.data_type().clone(), true)).collect();
        let columns = columns.into_iter().map(|(_, column)| column).collect();
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("fits");
        read_arrow(&arrow_body(&batch, None), &target)
    };
    let swapped = read(vec![("needed", text(Some("x"))), ("a", int()), ("other", array(NullArray::new(1)))]);
    assert_eq!(swapped.expect("by name").column(0), &int());
    for (columns, code) in [
        (vec![("a", int())], "missing_value"),
        (vec![("needed", text(None))], "missing_value"),
        (vec![("needed", text(Some("x"))), ("A", int())], "unknown_column"),
        (vec![("needed", text(Some("x"))), ("a", int()), ("a", int())], "duplicate_column"),
    ] {
        assert_eq!(read(columns).expect_err("refused").code(), code);
    }
}

#[test]
fn short_bodies_that_stand_for_much_are_cut_or_refused() {
    let word = "w".repeat(1 << 20);
    let keys = Int32Array::from(vec![0; 100]);
    let repeated = DictionaryArray::<Int32Type>::try_new(keys, array(StringArray::from(vec![word.as_str()])));
    let body = arrow_body(&one("c", array(repeated.expect("one word"))), None);
    let target = column(DataType::Utf8);
    assert_eq!(read_arrow(&body, &target).expect("slices").num_rows(), 100);
    let small = BodyLimits { max_decoded: 50 << 20, ..BodyLimits::default() };
    assert_eq!(read_arrow_within(&body, &target, small), Err(FormatError::BodyTooLarge { limit: 50 << 20 }));
    let row = BodyLimits { max_row_bytes: 1 << 19, ..BodyLimits::default() };
    assert_eq!(read_arrow_within(&body, &target, row).expect_err("a large row").code(), "row_too_large");

    let nulls = arrow_body(&one("c", array(NullArray::new(2_000_000_000))), None);
    let error = read_arrow_within(&nulls, &target, small).expect_err("many rows");
    assert_eq!(error.code(), "body_too_large");
}
