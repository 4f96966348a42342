//! Which functions can make much from little, and how much: read from each function's source.
//!
//! Not listed are functions whose answer is a number, or no longer than a small multiple of their
//! arguments' own arrays.

/// How large a function's answer can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Rule {
    /// The arguments together, each constant once per row: `concat`, `make_array` …
    Sum,
    /// No more than one argument's column, unless that argument is a constant: `substr`, `upper` …
    Copy,
    /// The first argument as often as the second says: `repeat`, `array_repeat`.
    Times,
    /// As many characters as the second argument says: `lpad`, `rpad`.
    Pad,
    /// The last argument once per byte of the first: `replace`, `translate`, `regexp_replace`.
    Replace,
    /// As many of the third argument as the second says: `array_resize`.
    Resize,
    /// Every number from the first to the second: `range`, `generate_series`.
    Series,
    /// The last argument once per element of the first: `array_replace`, `array_to_string`.
    PerElement,
    /// Takes time in the product of the lengths of two arguments: `levenshtein`, `array_has_any`.
    Product,
}

/// The rule for a function; `None` when it cannot make much from little.
pub(crate) fn rule(name: &str) -> Option<Rule> {
    Some(match name {
        "repeat" | "array_repeat" => Rule::Times,
        "lpad" | "rpad" => Rule::Pad,
        "replace" | "regexp_replace" | "translate" | "overlay" => Rule::Replace,
        "levenshtein" | "array_has_all" | "array_has_any" => Rule::Product,
        "array_resize" => Rule::Resize,
        "range" | "generate_series" => Rule::Series,
        "array_replace" | "array_replace_n" | "array_replace_all" | "array_to_string" => Rule::PerElement,
        "concat" | "concat_ws" | "||" | "make_array" | "struct" | "named_struct" | "map" => Rule::Sum,
        "array_append" | "array_prepend" | "array_concat" | "array_union" | "arrays_zip" => Rule::Sum,
        "nullif" | "greatest" | "least" | "to_char" | "encode" | "decode" | "regexp_match" => Rule::Copy,
        "upper" | "lower" | "initcap" | "reverse" | "left" | "right" | "substr" | "substr_index" | "split_part" => {
            Rule::Copy
        }
        "btrim" | "ltrim" | "rtrim" | "string_to_array" | "array_slice" | "flatten" | "array_element" => Rule::Copy,
        "array_sort" | "array_reverse" | "array_distinct" | "array_except" | "array_intersect" => Rule::Copy,
        "array_remove" | "array_remove_n" | "array_remove_all" | "array_pop_back" | "array_pop_front" => Rule::Copy,
        "array_any_value" | "array_compact" | "array_add" | "array_subtract" | "array_scale" => Rule::Copy,
        "array_normalize" | "array_positions" | "map_entries" | "map_extract" | "map_keys" | "map_values" => Rule::Copy,
        _ => return None,
    })
}
