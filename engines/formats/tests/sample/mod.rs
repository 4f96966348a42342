//! Random batches with a column of every type that datasets store.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int16Array,
    Int32Array, Int64Array, Int64Builder, ListBuilder, MapBuilder, RecordBatch, StringArray, StringBuilder,
    StructArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, TimeUnit};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

/// Text with the characters that formats trip over.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        "[a-z,\"\\\\\r\n\t é😀\u{feff}\u{0}]{0,8}",
        Just("NaN".to_owned()),
        Just("2024-01-01T00:00:00Z".to_owned()),
    ]
}

fn double() -> impl Strategy<Value = f64> {
    prop_oneof![any::<f64>(), Just(f64::NAN), Just(f64::INFINITY), Just(f64::NEG_INFINITY), Just(-0.0), Just(1.0)]
}

fn real() -> impl Strategy<Value = f32> {
    prop_oneof![any::<f32>(), Just(f32::NAN), Just(f32::INFINITY), Just(f32::NEG_INFINITY)]
}

fn decimal() -> impl Strategy<Value = i128> {
    let most = 10_i128.pow(38) - 1;
    prop_oneof![-most..=most, -100_000_i128..100_000]
}

type Numbers = (Option<bool>, Option<i16>, Option<i32>, Option<i64>, Option<f32>, Option<f64>, Option<i128>);
type Texts = (Option<String>, Option<Vec<u8>>, Option<i32>, Option<i64>, Option<i64>);
type Nested = (Option<Vec<Option<i64>>>, Option<(Option<String>, Option<i64>)>, Option<Vec<(String, Option<String>)>>);

fn row() -> impl Strategy<Value = (Numbers, Texts, Nested)> {
    let numbers = (
        option::of(any::<bool>()),
        option::of(any::<i16>()),
        option::of(any::<i32>()),
        option::of(any::<i64>()),
        option::of(real()),
        option::of(double()),
        option::of(decimal()),
    );
    let texts = (
        option::of(text()),
        option::of(vec(any::<u8>(), 0..5)),
        option::of(any::<i32>()),
        option::of(any::<i64>()),
        option::of(any::<i64>()),
    );
    let nested = (
        option::of(vec(option::of(any::<i64>()), 0..4)),
        option::of((option::of(text()), option::of(any::<i64>()))),
        option::of(vec((text(), option::of(text())), 0..3)),
    );
    (numbers, texts, nested)
}

/// A batch of 1 to 12 rows.
pub(crate) fn batch() -> impl Strategy<Value = RecordBatch> {
    vec(row(), 1..12).prop_map(|rows| {
        let (numbers, rest): (Vec<Numbers>, Vec<(Texts, Nested)>) =
            rows.into_iter().map(|(n, t, s)| (n, (t, s))).unzip();
        let (texts, nested): (Vec<Texts>, Vec<Nested>) = rest.into_iter().unzip();
        let columns = [number_columns(&numbers), text_columns(&texts), nested_columns(&nested)].concat();
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true)))
            .expect("columns of one length")
    })
}

type Columns = Vec<(&'static str, ArrayRef)>;

fn number_columns(rows: &[Numbers]) -> Columns {
    let decimals: Decimal128Array = rows.iter().map(|row| row.6).collect();
    vec![
        ("flag", Arc::new(rows.iter().map(|row| row.0).collect::<BooleanArray>())),
        ("i16", Arc::new(rows.iter().map(|row| row.1).collect::<Int16Array>())),
        ("i32", Arc::new(rows.iter().map(|row| row.2).collect::<Int32Array>())),
        ("i64", Arc::new(rows.iter().map(|row| row.3).collect::<Int64Array>())),
        ("f32", Arc::new(rows.iter().map(|row| row.4).collect::<Float32Array>())),
        ("f64", Arc::new(rows.iter().map(|row| row.5).collect::<Float64Array>())),
        ("decimal", Arc::new(decimals.with_precision_and_scale(38, 9).expect("within precision"))),
    ]
}

fn text_columns(rows: &[Texts]) -> Columns {
    let instants: TimestampMicrosecondArray = rows.iter().map(|row| row.3).collect();
    vec![
        ("text, \"quoted\"", Arc::new(rows.iter().map(|row| row.0.as_deref()).collect::<StringArray>())),
        ("bytes", Arc::new(rows.iter().map(|row| row.1.as_deref()).collect::<BinaryArray>())),
        ("day", Arc::new(rows.iter().map(|row| row.2).collect::<Date32Array>())),
        ("instant", Arc::new(instants.with_timezone("UTC"))),
        ("clock", Arc::new(rows.iter().map(|row| row.4).collect::<TimestampMicrosecondArray>())),
    ]
}

fn nested_columns(rows: &[Nested]) -> Columns {
    let mut list = ListBuilder::new(Int64Builder::new());
    let mut map = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    for (items, _, entries) in rows {
        list.append_option(items.clone());
        for (key, value) in entries.iter().flatten() {
            map.keys().append_value(key);
            map.values().append_option(value.as_deref());
        }
        map.append(entries.is_some()).expect("as many keys as values");
    }
    let texts: StringArray = rows.iter().map(|row| row.1.as_ref().and_then(|parts| parts.0.as_deref())).collect();
    let instants: TimestampMicrosecondArray = rows.iter().map(|row| row.1.as_ref().and_then(|parts| parts.1)).collect();
    let fields = vec![
        Field::new("name", DataType::Utf8, true),
        Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, None), true),
    ];
    let valid: Vec<bool> = rows.iter().map(|row| row.1.is_some()).collect();
    let parts = StructArray::new(fields.into(), vec![Arc::new(texts), Arc::new(instants)], Some(valid.into()));
    vec![("list", Arc::new(list.finish())), ("parts", Arc::new(parts)), ("map", Arc::new(map.finish()))]
}
