//! Answers of every type that a SELECT can produce.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryViewArray, BooleanArray, Date64Array, Decimal128Array, Decimal256Array, DictionaryArray,
    DurationMillisecondArray, FixedSizeBinaryArray, FixedSizeListArray, Float16Array, Float32Array, Float64Array,
    Int8Array, Int32Array, Int64Array, IntervalMonthDayNanoArray, LargeListArray, LargeStringArray, ListArray,
    ListViewArray, MapBuilder, NullArray, RecordBatch, RunArray, StringArray, StringBuilder, StringViewArray,
    Time32SecondArray, Time64NanosecondArray, TimestampMillisecondArray, TimestampNanosecondArray,
    TimestampSecondArray, UInt64Array, UnionArray,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, Float16Type, Int32Type, IntervalMonthDayNano, Schema, UnionFields, i256};
use arrow::ipc::reader::StreamReader;
use lakegate_formats::{Format, RowEncoder, answer_schema, value_to_json};

fn array(array: impl arrow::array::Array + 'static) -> ArrayRef {
    Arc::new(array)
}

/// A column of each kind, and its first value in JSON.
fn columns() -> Vec<(ArrayRef, &'static str)> {
    let item = || Arc::new(Field::new("item", DataType::Int32, true));
    let ints = || array(Int32Array::from(vec![1, 2, 3]));
    let half = <Float16Type as arrow::datatypes::ArrowPrimitiveType>::Native::from_f32(1.5);
    let mut map = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    map.keys().append_value("k");
    map.values().append_null();
    map.append(true).expect("pairs");
    let dictionary: DictionaryArray<Int32Type> = vec!["a"].into_iter().collect();
    let runs = RunArray::<Int32Type>::try_new(&Int32Array::from(vec![1]), &StringArray::from(vec!["r"]));
    let variants = UnionFields::try_new(
        [3, 4],
        [Field::new("n", DataType::Int32, true), Field::new("s", DataType::Utf8View, true)],
    );
    let children = vec![ints().slice(0, 1), array(StringViewArray::from(vec!["u"]))];
    let union = UnionArray::try_new(variants.expect("two"), ScalarBuffer::from(vec![4_i8]), None, children);
    vec![
        (array(NullArray::new(1)), "null"),
        (array(BooleanArray::from(vec![true])), "true"),
        (array(Int8Array::from(vec![-1])), "-1"),
        (array(Int64Array::from(vec![9_007_199_254_740_991])), "9007199254740991"),
        (array(Int64Array::from(vec![-9_007_199_254_740_992])), "\"-9007199254740992\""),
        (array(UInt64Array::from(vec![u64::MAX])), "\"18446744073709551615\""),
        (array(Float16Array::from(vec![half])), "1.5"),
        (array(Float32Array::from(vec![0.1])), "0.1"),
        (array(Float64Array::from(vec![f64::NAN])), "\"NaN\""),
        (array(Decimal128Array::from(vec![-5]).with_precision_and_scale(10, 2).expect("fits")), "\"-0.05\""),
        (array(Decimal256Array::from(vec![i256::from_i128(12)])), "\"0.0000000012\""),
        (array(StringViewArray::from(vec!["\u{1}\"\\\n é"])), "\"\\u0001\\\"\\\\\\n é\""),
        (array(LargeStringArray::from(vec![""])), "\"\""),
        (array(BinaryViewArray::from(vec![&b"\xff\x00"[..]])), "\"/wA=\""),
        (array(FixedSizeBinaryArray::try_from_iter([b"abc"].into_iter()).expect("one size")), "\"YWJj\""),
        (array(Date64Array::from(vec![86_400_000])), "\"1970-01-02\""),
        (array(Time32SecondArray::from(vec![3_661])), "\"01:01:01\""),
        (array(Time64NanosecondArray::from(vec![1_000])), "\"00:00:00.000001\""),
        (array(TimestampSecondArray::from(vec![0])), "\"1970-01-01T00:00:00\""),
        (array(TimestampMillisecondArray::from(vec![-1]).with_timezone("UTC")), "\"1969-12-31T23:59:59.999Z\""),
        (array(TimestampSecondArray::from(vec![0]).with_timezone("+05:30")), "\"1970-01-01T05:30:00+05:30\""),
        (
            array(TimestampNanosecondArray::from(vec![1]).with_timezone("Europe/Berlin")),
            "\"1970-01-01T01:00:00.000000001+01:00\"",
        ),
        (
            array(TimestampSecondArray::from(vec![i64::MIN]).with_timezone("Asia/Tokyo")),
            "\"-292277022657-01-27T08:29:52Z\"",
        ),
        (array(DurationMillisecondArray::from(vec![1_500])), "\"PT1.5S\""),
        (array(IntervalMonthDayNanoArray::from(vec![IntervalMonthDayNano::new(1, 2, 0)])), "\"P1M2D\""),
        (array(dictionary), "\"a\""),
        (array(runs.expect("one run")), "\"r\""),
        (array(ListArray::new(item(), OffsetBuffer::from_lengths([3]), ints(), None)), "[1,2,3]"),
        (array(LargeListArray::new(item(), OffsetBuffer::from_lengths([3]), ints(), None)), "[1,2,3]"),
        (array(FixedSizeListArray::new(item(), 3, ints(), None)), "[1,2,3]"),
        (array(ListViewArray::new(item(), vec![1].into(), vec![2].into(), ints(), None)), "[2,3]"),
        (array(map.finish()), "[[\"k\",null]]"),
        (array(union.expect("one value")), "\"u\""),
    ]
}

fn encode(format: Format, batch: &RecordBatch) -> Vec<u8> {
    let mut encoder = RowEncoder::new(format, &batch.schema()).expect("every type");
    let mut out = Vec::new();
    encoder.start(&mut out).expect("starts");
    encoder.batch(batch, &mut out).expect("every type");
    encoder.finish(&mut out).expect("ends");
    out
}

fn one_row() -> RecordBatch {
    let columns = columns().into_iter().enumerate();
    RecordBatch::try_from_iter_with_nullable(columns.map(|(at, (array, _))| (format!("c{at}"), array, true)))
        .expect("one row each")
}

#[test]
fn every_type_is_written_as_json() {
    for (array, expected) in columns() {
        let mut out = Vec::new();
        value_to_json(&array, 0, &mut out).expect("every type");
        assert_eq!(String::from_utf8_lossy(&out), expected, "{}", array.data_type());
    }
    let body = String::from_utf8(encode(Format::NdJson, &one_row())).expect("text");
    let row: serde_json::Value = serde_json::from_str(body.trim_end()).expect("one object");
    assert_eq!(row["c31"], serde_json::json!([["k", null]]));
}

#[test]
fn every_type_is_written_as_csv() {
    let body = String::from_utf8(encode(Format::Csv, &one_row())).expect("text");
    assert!(body.starts_with("c0,c1,c2,"), "{body}");
    assert!(
        body.contains("\r\n,true,-1,9007199254740991,-9007199254740992,18446744073709551615,1.5,0.1,NaN,"),
        "{body}"
    );
    assert!(body.ends_with(",\"[[\"\"k\"\",null]]\",\"\"\"u\"\"\"\r\n"), "{body}");
}

#[test]
fn arrow_answers_have_plain_types_and_the_announced_schema() {
    let batch = one_row();
    let body = encode(Format::ArrowStream, &batch);
    let mut reader = StreamReader::try_new(&body[..], None).expect("a stream");
    assert_eq!(reader.schema(), answer_schema(&batch.schema()));
    for field in reader.schema().fields() {
        let name = field.data_type().to_string();
        let exotic = ["Dictionary", "RunEndEncoded", "ListView"].iter().any(|word| name.contains(word));
        assert!(!exotic && *field.data_type() != DataType::Utf8View, "{name}");
    }
    assert_eq!(reader.next().expect("a batch").expect("readable").num_rows(), 1);
    assert!(reader.next().is_none());
}

#[test]
fn rows_of_several_batches_are_joined_and_repeated_names_numbered() {
    let schema =
        Arc::new(Schema::new(vec![Field::new("a", DataType::Int32, true), Field::new("a", DataType::Int32, true)]));
    let column = || array(Int32Array::from(vec![Some(1), None]));
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![column(), column()]).expect("fits");
    let mut encoder = RowEncoder::new(Format::Json, &schema).expect("json");
    let mut out = Vec::new();
    encoder.start(&mut out).expect("starts");
    for part in [batch.slice(0, 0), batch.slice(0, 1), batch.slice(1, 1)] {
        encoder.batch(&part, &mut out).expect("fits");
    }
    encoder.finish(&mut out).expect("ends");
    assert_eq!(String::from_utf8_lossy(&out), r#"{"a":1,"a_2":1},{"a":null,"a_2":null}"#);
    assert_eq!(encoder.rows(), 2);
}

#[test]
fn an_answer_without_rows_still_has_its_head() {
    let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Utf8View, true)]));
    let empty = RecordBatch::new_empty(Arc::clone(&schema));
    assert_eq!(encode(Format::Json, &empty), b"");
    assert_eq!(encode(Format::Csv, &empty), b"a\r\n");
    let stream = encode(Format::ArrowStream, &empty);
    assert_eq!(StreamReader::try_new(&stream[..], None).expect("a stream").schema(), answer_schema(&schema));
}

#[test]
fn an_encoder_moves_between_threads() {
    fn is_send<T: Send>() {}
    is_send::<RowEncoder>();
    is_send::<lakegate_formats::BodyReader>();
}
