//! What bodies are refused for, with the code and the place that the sender is told.

use std::sync::Arc;

use arrow::array::Array as _;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use lakegate_catalog::ErrorKind;
use lakegate_formats::{BodyLimits, BodyReader, Format, FormatError};

fn schema() -> SchemaRef {
    let place = DataType::Struct(vec![Field::new("lat", DataType::Float64, true)].into());
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int32, false),
        Field::new("mag", DataType::Float64, true),
        Field::new("time", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
        Field::new("tags", DataType::List(Arc::new(Field::new("item", DataType::Utf8, true))), true),
        Field::new("place", place, true),
    ]))
}

fn refuse(format: Format, body: &[u8]) -> FormatError {
    let mut reader = BodyReader::new(format, schema(), BodyLimits::default()).expect("stored types");
    reader.feed(body).and_then(|()| reader.finish()).expect_err(&String::from_utf8_lossy(body))
}

#[test]
fn json_refusals_have_codes() {
    for (body, code) in [
        (&b""[..], "empty_body"),
        (b" [ ] ", "empty_body"),
        (b"\xef\xbb\xbf", "empty_body"),
        (b"[{\"id\":1}", "truncated_body"),
        (b"{\"id\":1", "truncated_body"),
        (b"[{\"id\":1}]]", "invalid_json"),
        (b"[1,2]", "invalid_json"),
        (b"{\"id\":1,}", "invalid_json"),
        (b"{'id':1}", "invalid_json"),
        (b"{\"id\":01}", "invalid_json"),
        (b"{\"id\":NaN}", "invalid_json"),
        (b"{\"id\":1}//", "invalid_json"),
        (b"{\"id\":1,\"tags\":[\"\\ud800\"]}", "invalid_json"),
        (b"{\"id\":1,\"tags\":[\"\xff\"]}", "invalid_utf8"),
        (b"{\"id\":1,\"id\":1}", "duplicate_column"),
        (b"{\"id\":1,\"place\":{\"lat\":1,\"lat\":1}}", "duplicate_column"),
        (b"{\"id\":1,\"ID\":1}", "unknown_column"),
        (b"{\"id\":1,\"other\":[[0]]}", "unknown_column"),
        (b"{\"id\":1,\"place\":{\"lon\":1}}", "unknown_column"),
        (b"{\"id\":1.5}", "type_mismatch"),
        (b"{\"id\":\"1\"}", "type_mismatch"),
        (b"{\"id\":true}", "type_mismatch"),
        (b"{\"id\":1,\"tags\":\"a\"}", "type_mismatch"),
        (b"{\"id\":1,\"time\":1700000000}", "type_mismatch"),
        (b"{\"id\":1,\"time\":\"2024-01-01\"}", "type_mismatch"),
        (b"{\"id\":2147483648}", "number_out_of_range"),
        (b"{\"id\":1,\"mag\":1e999999}", "number_out_of_range"),
        (b"{\"id\":1,\"mag\":-1e309}", "number_out_of_range"),
        (b"{\"mag\":1}", "missing_value"),
        (b"{\"id\":null}", "missing_value"),
    ] {
        let error = refuse(Format::Json, body);
        assert_eq!(error.code(), code, "{}: {error}", String::from_utf8_lossy(body));
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
}

#[test]
fn ndjson_lines_are_whole_objects() {
    for (body, code) in [
        (&b"\n \r\n"[..], "empty_body"),
        (b"{\"id\":1\n{\"id\":2}\n", "invalid_json"),
        (b"{\"id\":1}{\"id\":2}\n", "invalid_json"),
        (b"[{\"id\":1}]\n", "invalid_json"),
        (b"{\"id\":1}\n{\"id\":", "truncated_body"),
        (b"{\"id\":1}\n{\"id\":2,\"tags\":[\"\xc3", "truncated_body"),
        (b"{\"id\":1}\n{\"$error\":{\"code\":\"internal\"}}\n", "unknown_column"),
    ] {
        let error = refuse(Format::NdJson, body);
        assert_eq!(error.code(), code, "{}: {error}", String::from_utf8_lossy(body));
    }
}

#[test]
fn csv_refusals_have_codes() {
    for (body, code) in [
        (&b""[..], "empty_body"),
        (b"id,mag\r\n", "empty_body"),
        (b"\n1,2\n", "invalid_csv"),
        (b"id,mag\n1\n", "invalid_csv"),
        (b"id,mag\n1,2,3\n", "invalid_csv"),
        (b"id,mag\n1,\"2\"3\n", "invalid_csv"),
        (b"id,mag\n1,2\"\n", "invalid_csv"),
        (b"id,mag\r1,2\r", "invalid_csv"),
        (b"id,tags\n1,[\n", "invalid_json"),
        (b"id,mag\n1,\"2\n", "truncated_body"),
        (b"id,mag\n1,\xff\n", "invalid_utf8"),
        (b"id,id\n1,2\n", "duplicate_column"),
        (b"id,magn\n1,2\n", "unknown_column"),
        (b"mag\n1\n", "missing_value"),
        (b"idd,mag\n1,2\n", "unknown_column"),
        (b"id,mag\n,2\n", "missing_value"),
        (b"id,mag\n1,x\n", "type_mismatch"),
        (b"id,mag\n1,\"\"\n", "type_mismatch"),
        (b"id,mag\n1, 2\n", "type_mismatch"),
        (b"id,mag\n99999999999,2\n", "number_out_of_range"),
    ] {
        let error = refuse(Format::Csv, body);
        assert_eq!(error.code(), code, "{}: {error}", String::from_utf8_lossy(body));
    }
}

#[test]
fn a_refusal_says_where_and_what() {
    let mut body = b"{\"id\":1}\n".repeat(90_000);
    body.extend_from_slice(b"\n{\"id\":\"x\"}\n{\"id\":1}\n");
    let error = refuse(Format::NdJson, &body);
    let expected = "row 90001 (line 90002), column `id`: found \"x\", expected int (-2147483648 to 2147483647)";
    assert_eq!(error.to_string(), expected);
    let place = error.place().expect("has a place");
    assert_eq!((place.row, place.line, place.column.as_str()), (90_001, 90_002, "id"));

    let error = refuse(Format::Csv, b"tags,id\r\n\"[\n]\",1\r\n,x\r\n");
    assert_eq!(error.to_string().split(':').next(), Some("row 2 (line 4), column `id`"));
    let error = refuse(Format::Json, b"[{\"id\":1},{\"id\":1,\"tags\":[\"a\",2]}]");
    assert_eq!(error.to_string(), "row 2, column `tags[1]`: found 2, expected string");
    let error = refuse(Format::Json, b"[{\"id\":1,\"tags\":\"a\"}]");
    assert_eq!(error.to_string(), "row 1, column `tags`: found \"a\", expected a list");
    let error = refuse(Format::Json, b"{\"id\":1,\"place\":{\"lta\":1}}");
    assert_eq!(error.to_string(), "row 1, column `place`: no column is named `lta`; did you mean `lat`?");
}

#[test]
fn blank_csv_lines_are_nulls_only_when_there_is_one_column() {
    let rows = |fields: Vec<Field>, body: &[u8]| {
        let mut reader = BodyReader::new(Format::Csv, Arc::new(Schema::new(fields)), BodyLimits::default());
        let reader = reader.as_mut().expect("stored types");
        reader.feed(body).expect("valid");
        let batch = reader.finish().expect("valid").expect("rows");
        (batch.num_rows(), batch.column(0).null_count())
    };
    let field = |name| Field::new(name, DataType::Utf8, true);
    assert_eq!(rows(vec![field("a")], b"a\nx\n\n\"\"\n"), (3, 1));
    assert_eq!(rows(vec![field("a"), field("b")], b"b,a\n\n1,x\n\n"), (1, 0));
}

#[test]
fn depth_is_bounded_even_where_nothing_is_kept() {
    let nested = |depth: usize| format!("{{\"id\":1,\"x\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(refuse(Format::Json, nested(64).as_bytes()).code(), "nesting_too_deep");
    assert_eq!(refuse(Format::Json, nested(1_000_000).as_bytes()).code(), "nesting_too_deep");
    let mut reader = BodyReader::new(Format::Json, schema(), BodyLimits::default()).expect("stored types");
    assert_eq!(reader.feed(nested(63).as_bytes()), Ok(()));
}

#[test]
fn a_row_is_bounded_as_text_and_once_decoded() {
    let limits = BodyLimits { max_row_bytes: 1_000, ..BodyLimits::default() };
    let row = |size: usize| format!("{{\"id\":1,\"tags\":[\"{}\"]}}", "x".repeat(size));
    let small = format!("{{\"id\":1,\"tags\":[{}null]}}", "null,".repeat(150));
    for (body, refused) in [(row(900), false), (row(1_000), true), (small, false)] {
        let mut reader = BodyReader::new(Format::Json, schema(), limits).expect("stored types");
        let code = reader.feed(body.as_bytes()).err().map(|error| (error.code(), error.kind()));
        assert_eq!(code, refused.then_some(("row_too_large", ErrorKind::TooLarge)), "{}", body.len());
    }

    // Three bytes of text for each item of a hundred doubles.
    let wide = (0..100).map(|n| Field::new(format!("c{n}"), DataType::Float64, true)).collect::<Vec<_>>();
    let items = DataType::List(Arc::new(Field::new("item", DataType::Struct(wide.into()), true)));
    let schema = Arc::new(Schema::new(vec![Field::new("items", items, true)]));
    let mut reader = BodyReader::new(Format::Json, schema, limits).expect("stored types");
    let body = format!("{{\"items\":[{}{{}}]}}", "{},".repeat(200));
    assert_eq!(reader.feed(body.as_bytes()).expect_err("large").code(), "row_too_large");
}

#[test]
fn types_that_datasets_do_not_store_are_refused_by_name() {
    for ty in [DataType::UInt8, DataType::Utf8View, DataType::Timestamp(TimeUnit::Nanosecond, None)] {
        let schema = Arc::new(Schema::new(vec![Field::new("a", ty, true)]));
        let error = BodyReader::new(Format::Json, schema, BodyLimits::default()).err().expect("not stored");
        assert_eq!((error.code(), error.kind()), ("unsupported_type", ErrorKind::Unsupported));
    }
    let parquet = BodyReader::new(Format::Parquet, schema(), BodyLimits::default()).err().expect("not read");
    assert_eq!((parquet.code(), parquet.kind()), ("unsupported_format", ErrorKind::Unsupported));
}
