use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray};
use datafusion::logical_expr::ColumnarValue;
use datafusion::scalar::ScalarValue;

use super::rule::{Rule, rule};
use super::*;

fn column(array: impl arrow::array::Array + 'static) -> ColumnarValue {
    ColumnarValue::Array(Arc::new(array) as ArrayRef)
}

fn text(value: &str) -> ColumnarValue {
    ColumnarValue::Scalar(ScalarValue::from(value))
}

fn number(value: i64) -> ColumnarValue {
    ColumnarValue::Scalar(ScalarValue::from(value))
}

fn fits(rule: Rule, args: &[ColumnarValue], rows: usize) -> bool {
    size::check_args("f", rule, args, rows, super::MAX_BATCH).is_ok()
}

#[test]
fn sizes_are_judged_before_anything_is_made() {
    let max = i64::try_from(MAX_VALUE).expect("small");
    assert!(fits(Rule::Times, &[text("x"), number(max)], 1));
    assert!(!fits(Rule::Times, &[text("x"), number(max + 1)], 1));
    assert!(fits(Rule::Times, &[text("x"), number(-5)], 1));
    assert!(!fits(Rule::Times, &[text("xy"), number(i64::MAX)], 1), "no overflow");
    assert!(!fits(Rule::Pad, &[text("x"), number(max), text("ab")], 1), "characters may take four bytes");
    assert!(!fits(Rule::Series, &[number(i64::MIN), number(i64::MAX)], 1));
    assert!(fits(Rule::Series, &[number(0), number(i64::MAX), number(i64::MAX / 2)], 1));
}

#[test]
fn a_batch_is_bounded_as_a_whole() {
    let counts = || column(Int64Array::from(vec![10 << 20; 8]));
    assert!(!fits(Rule::Times, &[text("x"), counts()], 8), "eight values of 10 MiB");
    let constants = [text("x"), number(10 << 20)];
    assert!(fits(Rule::Times, &constants, 8192), "a constant is made once");
    let wide = text(&"x".repeat(1 << 20));
    let names = column(StringArray::from(vec!["a"; 100]));
    assert!(!fits(Rule::Sum, &[names.clone(), wide.clone()], 100), "a constant beside a column is copied");
    assert!(fits(Rule::Copy, &[names], 100));
}

#[test]
fn every_function_whose_answer_has_no_fixed_size_has_a_rule() {
    // These answer numbers, or what is already in memory, or no more than a few dozen bytes.
    const HARMLESS: &[&str] = &[
        "array_any_match",
        "array_dims",
        "arrow_typeof",
        "chr",
        "coalesce",
        "digest",
        "from_unixtime",
        "get_field",
        "md5",
        "nvl",
        "nvl2",
        "sha224",
        "sha256",
        "sha384",
        "sha512",
        "to_hex",
        "union_extract",
        "union_tag",
        "uuid",
        "array_max",
        "array_min",
    ];
    let unlisted: Vec<String> = scalar_functions()
        .iter()
        .filter(|function| rule(function.name()).is_none() && !HARMLESS.contains(&function.name()))
        .map(|function| function.name().to_owned())
        .filter(|name| !NUMBERS.split_whitespace().any(|number| number == name))
        .collect();
    assert!(unlisted.is_empty(), "decide about these: {unlisted:?}");
}

/// Functions that answer numbers, booleans, dates or timestamps.
const NUMBERS: &str = "
    current_date current_time date_bin date_part date_trunc make_date make_time now to_date
    to_local_time to_time to_unixtime to_timestamp to_timestamp_seconds to_timestamp_millis
    to_timestamp_micros to_timestamp_nanos abs acos acosh asin asinh atan atan2 atanh cbrt ceil cos cosh
    cot degrees exp factorial floor gcd isnan iszero lcm ln log log2 log10 nanvl pi power radians random
    signum sin sinh sqrt tan tanh round trunc regexp_count regexp_instr regexp_like character_length
    find_in_set strpos ascii bit_length ends_with octet_length starts_with contains cardinality
    array_ndims array_has empty array_length array_avg array_product array_sum cosine_distance
    inner_product array_distance array_position
";

#[test]
fn unknown_names_get_the_closest_known_one() {
    assert_eq!(known().find("lower"), Ok(()));
    assert_eq!(known().find("sum"), Ok(()));
    assert_eq!(known().find("lowre"), Err(Some("lower")));
    assert_eq!(known().find("qqqqqqqqqqqqqqqq"), Err(None));
}
