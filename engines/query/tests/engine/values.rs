//! Functions that would make big values say no before they do.

use crate::house::House;

#[tokio::test]
async fn value_bombs_are_refused() {
    let house = House::new().await;
    for sql in [
        "SELECT repeat('x', 1000000000)",
        "SELECT repeat(place, 1000000000) FROM demo.quakes",
        "SELECT lpad('x', 1000000000)",
        "SELECT lpad(place, 1000000000, 'ab') FROM demo.quakes",
        "SELECT rpad(place, 2000000000) FROM demo.quakes",
        "SELECT range(0, 200000000)",
        "SELECT generate_series(1, id * 100000000) FROM demo.quakes",
        "SELECT range(TIMESTAMP '1970-01-01', TIMESTAMP '2070-01-01', INTERVAL '1 second')",
        "SELECT array_repeat('x', 1000000000)",
        "SELECT levenshtein(repeat('x', 10000000), repeat('y', 10000000))",
        "SELECT array_repeat(array_repeat(id, 10000), 10000) FROM demo.quakes",
        "SELECT array_resize([1], 1000000000, 2)",
        "SELECT replace(repeat('x', 1000000), 'x', repeat('y', 1000))",
        "SELECT replace(repeat('x', 1000000), '', repeat('y', 1000))",
        "SELECT regexp_replace(repeat('x', 1000000), 'x', repeat('y', 1000), 'g')",
        "SELECT array_to_string(range(0, 1000000), repeat('y', 1000))",
        "SELECT array_replace_all(range(0, 1000000)::varchar[], '1', repeat('y', 1000000))",
        "SELECT concat(r, r, r, r) FROM (SELECT repeat(place, 2000000) AS r FROM demo.quakes)",
        "SELECT r || r || r || r FROM (SELECT repeat(place, 2000000) AS r FROM demo.quakes)",
        "SELECT repeat(place, 100000) FROM demo.quakes, generate_series(1, 100000)",
        "SELECT string_agg(repeat('x', 1000000), '') FROM generate_series(1, 1000)",
        "SELECT string_agg('abcdefghijklmnopqrst', '') OVER (ORDER BY value) FROM generate_series(1, 100000)",
        "SELECT array_agg(value) OVER (ORDER BY value) FROM generate_series(1, 100000)",
    ] {
        let code = house.code(sql).await;
        assert!(
            code == "value_too_large" || code == "query_memory_exhausted",
            "{sql}: {code} {:?}",
            house.drain(sql).await.err()
        );
    }
}

#[tokio::test]
async fn ordinary_values_are_made() {
    let house = House::new().await;
    for (sql, value) in [
        ("SELECT length(repeat('x', 1000000))", "1000000"),
        ("SELECT sum(length(repeat('x', 1000))) FROM generate_series(1, 100000)", "100000000"),
        (
            "SELECT sum(length(s)) FROM (SELECT repeat('x', 10000000) AS s, value FROM generate_series(1, 100))",
            "1000000000",
        ),
        ("SELECT lpad('7', 3, '0')", "007"),
        ("SELECT max(levenshtein(repeat('x', 100), value::varchar)) FROM generate_series(1, 100000)", "100"),
        ("SELECT array_length(range(0, 1000000))", "1000000"),
        ("SELECT length(string_agg('x', ',')) FROM generate_series(1, 100000)", "199999"),
        ("SELECT replace('banana', 'a', 'o')", "bonono"),
        ("SELECT regexp_replace('banana', 'a', 'o', 'g')", "bonono"),
        ("SELECT length(concat(repeat('x', 1000000), repeat('y', 1000000)))", "2000000"),
    ] {
        assert_eq!(house.value(sql).await.unwrap_or_else(|e| e.to_string()), value, "{sql}");
    }
}

#[tokio::test]
async fn functions_that_tell_about_the_server_are_not_there() {
    let house = House::new().await;
    for call in [
        "version()",
        "input_file_name()",
        "arrow_cast(NULL, 'FixedSizeBinary(2000000000)')",
        "current_setting('x')",
        "getenv('HOME')",
    ] {
        assert_eq!(house.code(&format!("SELECT {call}")).await, "unknown_function", "{call}");
    }
}
