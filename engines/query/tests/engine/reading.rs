//! What a query answers: names, types, parameters, plans, `information_schema`.

use futures::TryStreamExt;
use lakegate_query::{Params, QueryRequest};

use crate::house::{House, request};

#[tokio::test]
async fn rows_come_back_with_the_versions_that_were_read() {
    let house = House::new().await;
    let mut stream =
        house.start(request("SELECT id, \"Mag\" FROM demo.quakes WHERE id > 1 ORDER BY id")).await.expect("runs");
    let versions: Vec<String> = stream.versions().iter().map(|(name, version)| format!("{name}={version}")).collect();
    assert_eq!(versions, ["demo.quakes=1"]);
    let mut rows = 0;
    while let Some(batch) = stream.try_next().await.expect("rows") {
        assert_eq!(batch.schema(), stream.schema());
        rows += batch.num_rows();
    }
    assert_eq!(rows, 2);
    assert!(!stream.truncated());
}

#[tokio::test]
async fn what_a_caller_may_not_see_does_not_exist() {
    let house = House::new().await;
    let hidden = house.text("SELECT * FROM demo.secret").await.expect_err("hidden");
    let missing = house.text("SELECT * FROM demo.nothing").await.expect_err("missing");
    assert_eq!(hidden.code(), "dataset_not_found");
    assert_eq!(hidden.to_string().replace("secret", "nothing"), missing.to_string());
    let stream = house.engine.query(&house.owner, request("SELECT * FROM demo.secret")).await.expect("visible");
    assert_eq!(stream.try_fold(0, |n, batch| async move { Ok(n + batch.num_rows()) }).await.expect("rows"), 3);
}

#[tokio::test]
async fn names_fold_and_errors_offer_the_quoted_spelling() {
    let house = House::new().await;
    assert_eq!(house.value("SELECT COUNT(*) FROM Lake.DEMO.Quakes AS Q WHERE Q.ID = 2").await.expect("runs"), "1");
    let error = house.text("SELECT Mag FROM demo.quakes").await.expect_err("folds to mag");
    assert_eq!(error.code(), "unknown_column");
    assert!(error.to_string().contains("write \"Mag\""), "{error}");
    assert_eq!(house.code("SELECT repeet('x', 2)").await, "unknown_function");
    assert_eq!(house.code("SELECT id FROM demo.quakes GROUP BY place").await, "invalid_statement");
}

#[tokio::test]
async fn errors_of_evaluation_are_told_apart() {
    let house = House::new().await;
    for (sql, code) in [
        ("SELECT 1 / (id - id) FROM demo.quakes", "evaluation_failed"),
        ("SELECT 1 / 0", "evaluation_failed"),
        ("SELECT CAST(place AS bigint) FROM demo.quakes", "cast_failed"),
        ("SELECT CAST('x' AS timestamp)", "cast_failed"),
        ("SELECT missing FROM demo.quakes", "unknown_column"),
        ("SELECT regexp_like(place, '(') FROM demo.quakes", "evaluation_failed"),
        ("SELECT 1 WHERE 'a'", "invalid_statement"),
        ("WITH a AS (SELECT 1) SELECT * FROM (WITH b AS (SELECT 1) SELECT * FROM b) x, b", "invalid_statement"),
    ] {
        assert_eq!(house.code(sql).await, code, "{sql}: {:?}", house.text(sql).await.err());
    }
    assert_eq!(house.value("SELECT try_cast('x' AS bigint) IS NULL").await.expect("runs"), "true");
}

#[tokio::test]
async fn the_limit_cuts_and_says_so() {
    let house = House::new().await;
    for (limit, rows, truncated) in [(2, 2, true), (3, 3, false), (9, 3, false), (0, 0, true)] {
        let request = QueryRequest { limit: Some(limit), ..request("SELECT * FROM demo.quakes") };
        let mut stream = house.start(request).await.expect("runs");
        let mut seen = 0;
        while let Some(batch) = stream.try_next().await.expect("rows") {
            seen += batch.num_rows();
        }
        assert_eq!((seen, stream.truncated()), (rows, truncated), "limit {limit}");
    }
}

#[tokio::test]
async fn parameters_have_types() {
    let house = House::new().await;
    let list = Params::Positional(
        serde_json::from_str(r#"[2, "Japan", 0.5, null, true, -9223372036854775808]"#).expect("list"),
    );
    let sql = "SELECT id, $2 AS s, $3 * 2 AS d, $4 AS n, $5 AS b, $6 AS least, arrow_typeof($1) AS t FROM demo.quakes WHERE id = $1 AND place = $2";
    let text = house.text_with(sql, list).await.expect("runs");
    let row: Vec<&str> = text.lines().nth(3).expect("a row").split('|').map(str::trim).collect();
    assert_eq!(row[1..8], ["2", "Japan", "1.0", "", "true", "-9223372036854775808", "Int64"]);
    let limit = Params::Named(serde_json::from_str(r#"{"n": 1}"#).expect("object"));
    assert!(
        house.text_with("EXPLAIN SELECT id FROM demo.quakes LIMIT $n", limit).await.expect("plans").lines().count() > 4
    );
}

#[tokio::test]
async fn repeated_output_names_are_told_apart() {
    let house = House::new().await;
    let stream = house.start(request(
        "SELECT id, id, q.id, 1 AS x, 2 AS x, r.place, q.place FROM demo.quakes q JOIN demo.quakes r USING (id)",
    ));
    let schema = stream.await.expect("runs").schema();
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["id", "id_2", "id_3", "x", "x_2", "place", "place_2"]);
}

#[tokio::test]
async fn explain_shows_no_files() {
    let house = House::new().await;
    let text =
        house.text("EXPLAIN SELECT place, count(*) FROM demo.quakes WHERE id > 1 GROUP BY place").await.expect("plans");
    assert!(text.contains("demo.quakes") && text.contains("AggregateExec"), "{text}");
    for secret in ["lake://", ".parquet", "file_groups", "/"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

#[tokio::test]
async fn information_schema_shows_what_the_caller_may_see() {
    let house = House::new().await;
    let tables =
        house.text("SELECT table_schema, table_name, table_type FROM information_schema.tables").await.expect("runs");
    assert!(tables.contains("quakes") && !tables.contains("secret"), "{tables}");
    let columns = house
        .text("SELECT column_name, data_type FROM information_schema.columns ORDER BY ordinal_position")
        .await
        .expect("runs");
    let names: Vec<&str> = columns.lines().skip(3).filter_map(|line| line.split('|').nth(1)).map(str::trim).collect();
    assert_eq!(names, ["id", "Mag", "place"]);
    assert_eq!(house.value("SELECT count(*) FROM lake.information_schema.schemata").await.expect("runs"), "1");
    assert_eq!(house.code("SELECT * FROM information_schema.df_settings").await, "dataset_not_found");
}

#[tokio::test]
async fn json_works_and_its_union_becomes_text() {
    let house = House::new().await;
    for (sql, value) in [
        (r#"SELECT '{"a": {"b": 5}}' ->> 'a'"#, r#"{"b": 5}"#),
        (r#"SELECT json_get_int('{"a": 5}', 'a') + 1"#, "6"),
        (r#"SELECT '{"a": [1, 2]}' -> 'a'"#, "[1, 2]"),
        (r#"SELECT ('{"a": 7}' -> 'a')::bigint * 2"#, "14"),
        (r#"SELECT json_contains('{"a": 1}', 'a')"#, "true"),
    ] {
        assert_eq!(house.value(sql).await.unwrap_or_else(|e| e.to_string()), value, "{sql}");
    }
}

#[tokio::test]
async fn common_sql_runs() {
    let house = House::new().await;
    for (sql, value) in [
        ("SELECT max(\"Mag\") FROM demo.quakes", "6.25"),
        ("SELECT 'a' || 1 || NULL", ""),
        ("SELECT place || '!' FROM demo.quakes WHERE id = 1", "Chile!"),
        ("SELECT string_agg(place, ',' ORDER BY id) FROM demo.quakes", "Chile,Japan,Fiji"),
        ("SELECT array_agg(id ORDER BY id DESC) FROM demo.quakes", "[3, 2, 1]"),
        ("SELECT count(*) FROM generate_series(1, 100000)", "100000"),
        ("SELECT sum(x) FROM unnest([1, 2, 3]) AS t(x)", "6"),
        ("SELECT coalesce(\"Mag\", 0) FROM demo.quakes WHERE id = 3", "0.0"),
        ("SELECT [1, 2] || [3]", "[1, 2, 3]"),
        ("SELECT array_to_string(range(1, 4), '-')", "1-2-3"),
        ("SELECT CASE WHEN 1 > 2 THEN 'a' ELSE 'b' END", "b"),
        ("SELECT count(*) FROM demo.quakes a CROSS JOIN demo.quakes b", "9"),
        ("SELECT extract(year FROM TIMESTAMP '2020-05-01')", "2020"),
        ("WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 10) SELECT sum(i) FROM n", "55"),
        ("SELECT row_number() OVER (ORDER BY id DESC) FROM demo.quakes WHERE id = 2", "1"),
        ("SELECT now() > TIMESTAMP '2020-01-01'", "true"),
        ("SELECT arrow_typeof(place) FROM demo.quakes LIMIT 1", "Utf8"),
        ("SELECT {a: 1}['a']", "1"),
        ("SELECT id FROM demo.quakes QUALIFY rank() OVER (ORDER BY id) = 3", "3"),
        ("SELECT count(*) FROM demo.quakes q, LATERAL (SELECT r.id FROM demo.quakes r WHERE r.id = q.id) l", "3"),
    ] {
        assert_eq!(house.value(sql).await.unwrap_or_else(|e| e.to_string()), value, "{sql}");
    }
}

#[tokio::test]
async fn the_types_of_the_schema_and_of_the_batches_agree() {
    let house = House::new().await;
    for sql in [
        "SELECT min(id), max(id), count(*), min(place) FROM demo.quakes",
        "SELECT id FROM demo.quakes WHERE id = 7",
        "SELECT NULL",
        "SELECT current_date",
        "SELECT [NULL, 1]",
        "SELECT {a: NULL}",
        "SELECT place, upper(place), 'x' AS x, 1.5, date_trunc('day', now()) FROM demo.quakes",
        "VALUES (1, 'a'), (2, NULL)",
        "SELECT 1 WHERE false",
    ] {
        let mut stream = house.start(request(sql)).await.expect(sql);
        while let Some(batch) = stream.try_next().await.expect(sql) {
            assert_eq!(batch.schema(), stream.schema(), "{sql}");
        }
    }
}
