use std::sync::LazyLock;

use super::*;
use crate::names::Part;

/// Those that the tests call.
static FUNCTIONS: LazyLock<Functions> = LazyLock::new(|| {
    let names = ["abs", "now", "substring"].map(str::to_owned);
    Functions::new(names, ["array_agg", "count", "max", "sum"].map(str::to_owned))
});

fn parse(sql: &str) -> Result<Statement> {
    Statement::parse(sql, &Params::None, &FUNCTIONS)
}

fn code(sql: &str) -> &'static str {
    match parse(sql) {
        Ok(_) => "ok",
        Err(error) => error.code(),
    }
}

#[test]
fn queries_are_accepted() {
    for sql in [
        "SELECT 1",
        "select * from a.b;",
        "SELECT x.* EXCLUDE (c) FROM lake.a.b AS x",
        "WITH t AS (SELECT * FROM a.b) SELECT count(*) FROM t JOIN a.c USING (id)",
        "VALUES (1, 'a'), (2, 'b')",
        "(SELECT a FROM a.b) UNION ALL BY NAME (SELECT a FROM a.c) ORDER BY 1 LIMIT 3 OFFSET 2",
        "EXPLAIN SELECT 1",
        "SELECT sum(x) OVER (PARTITION BY y ORDER BY z) FROM a.b QUALIFY x > 1",
        "SELECT a FROM a.b WHERE x IN (SELECT y FROM a.c) AND EXISTS (SELECT 1 FROM a.d WHERE d.i = b.i)",
        "SELECT * FROM generate_series(1, 10)",
        "SELECT * FROM unnest([1, 2, 3])",
        "SELECT * FROM a.b, LATERAL (SELECT * FROM a.c WHERE c.i = b.i) AS l",
        "SELECT json ->> 'k', arr[1], CASE WHEN a THEN 1 ELSE 2 END FROM a.b",
        "SELECT DISTINCT ON (a) a, b FROM a.b ORDER BY a, b",
        "SELECT a, count(*) FROM a.b GROUP BY ROLLUP (a)",
        "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 10) SELECT * FROM n",
        "SELECT now(), CAST('2020-01-01' AS date), INTERVAL '1 day', extract(year FROM now()), substring('abc' from 2)",
    ] {
        assert_eq!(code(sql), "ok", "{sql}: {:?}", parse(sql).err());
    }
}

#[test]
fn statements_that_do_not_read_are_refused() {
    for sql in [
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'",
        "CREATE TABLE t AS SELECT 1",
        "COPY (SELECT 1) TO '/tmp/x'",
        "COPY a.b TO '/tmp/x.parquet'",
        "SET datafusion.execution.batch_size = 1",
        "RESET datafusion.execution.batch_size",
        "SHOW ALL",
        "SHOW FUNCTIONS",
        "SHOW datafusion.execution.batch_size",
        "INSERT INTO a.b VALUES (1)",
        "DELETE FROM a.b",
        "UPDATE a.b SET x = 1",
        "DROP TABLE a.b",
        "SELECT 1 INTO x",
        "EXPLAIN INSERT INTO a.b VALUES (1)",
        "PREPARE p AS SELECT 1",
        "BEGIN",
        "LOAD DATA INPATH '/x' INTO TABLE t",
        "ATTACH DATABASE '/tmp/x' AS y",
        "WITH t AS (SELECT 1) INSERT INTO a.b SELECT * FROM t",
        "TRUNCATE a.b",
        "CALL f()",
        "GRANT SELECT ON a.b TO c",
    ] {
        assert_eq!(code(sql), "statement_not_allowed", "{sql}: {:?}", parse(sql).err());
    }
}

#[test]
fn constructs_that_the_planner_would_ignore_are_refused() {
    for sql in [
        "SELECT * FROM a.b FOR UPDATE",
        "SELECT * FROM a.b TABLESAMPLE BERNOULLI (10)",
        "SELECT * FROM a.b$changes",
        "SELECT * FROM a.b WITH (NOLOCK)",
        "SELECT * FROM a.b LATERAL VIEW explode(x) t AS y",
        "SELECT * FROM a.b PIVOT (sum(x) FOR y IN ('a', 'b'))",
        "SELECT * FROM JSON_TABLE('[]', '$[*]' COLUMNS (a INT PATH '$.a')) AS t",
        "SELECT * FROM OPENJSON('[]')",
        "SELECT TOP 5 * FROM a.b",
        "SELECT * FROM a.b FETCH FIRST 3 ROWS ONLY",
        "SELECT * FROM a.b SETTINGS max_threads = 1",
        "SELECT * FROM a.b FORMAT JSON",
        "SELECT * FROM a.b |> WHERE x = 1",
        "FROM a.b SELECT x",
        "SELECT * FROM a.b SORT BY x",
        "SELECT * FROM a.b PREWHERE x = 1",
        "SELECT sum((SELECT 1)) WITHIN GROUP (ORDER BY x) FROM a.b ORDER BY x WITH FILL",
        "SELECT array_agg(SELECT 1)",
        "SELECT * FROM generate_series(1, 3) WITH ORDINALITY",
        "SELECT MATCH (a) AGAINST ('x') FROM a.b",
        "EXPLAIN VERBOSE SELECT 1",
        "TABLE a.b",
        "SELECT x FROM a.b GROUP BY x WITH TOTALS",
        "SELECT * FROM a.b ASOF JOIN a.c MATCH_CONDITION (b.t >= c.t) ON b.i = c.i",
    ] {
        let code = code(sql);
        assert!(code == "not_supported" || code == "syntax_error", "{sql}: {code}");
    }
}

#[test]
fn relations_are_found_wherever_they_hide() {
    let sql = "WITH c AS (SELECT * FROM a.one) SELECT (SELECT max(x) FROM A.Two), y FROM c JOIN (SELECT * FROM \"a\".three) t \
               ON t.i IN (SELECT i FROM lake.a.four) WHERE EXISTS (SELECT 1 FROM information_schema.tables) ORDER BY (SELECT 1 FROM a.one), (SELECT 1 FROM System.Jobs)";
    let names: Vec<String> = parse(sql)
        .expect("parses")
        .relations
        .iter()
        .map(|relation| match relation {
            Relation::Dataset { name, .. } => name.to_string(),
            Relation::InformationSchema(view) => view.name().to_owned(),
            Relation::System(view) => view.name().to_owned(),
        })
        .collect();
    assert_eq!(names, ["a.four", "a.one", "a.three", "a.two", "tables", "jobs"]);
}

#[test]
fn every_way_to_name_a_version_reads_it() {
    use crate::moment::Moment;
    let moment = |sql: &str| match &parse(sql).map_err(|e| panic!("{sql}: {e}")).expect("parses").relations[..] {
        [Relation::Dataset { name, part: Part::Rows(at), .. }] => (name.to_string(), *at),
        other => panic!("{sql}: {other:?}"),
    };
    let version = ("a.b".to_owned(), Some(Moment::Version(12)));
    for sql in [
        "SELECT b.x FROM a.b@v12",
        "SELECT x FROM lake.A.B@V12 AS t",
        "SELECT x FROM a.\"b\"@v12 t",
        "SELECT x FROM \"a\".\"b@v12\"",
        "SELECT x FROM a.b FOR VERSION AS OF 12",
        "SELECT x FROM a.b /* then */ for version as of 12 AS t WHERE x = 1",
        "SELECT x FROM a.b FOR SYSTEM_VERSION AS OF 12",
        "SELECT x FROM a.b VERSION AS OF 12",
        "SELECT x FROM (SELECT * FROM a.b@v12) JOIN c USING (x)",
    ] {
        if sql.contains("JOIN c") {
            assert_eq!(code(sql), "invalid_dataset_name", "{sql}");
        } else {
            assert_eq!(moment(sql), version, "{sql}");
        }
    }
    let time = ("a.b".to_owned(), Some(Moment::parse("2026-01-31T00:00:00Z").expect("a time")));
    for sql in [
        "SELECT x FROM a.b@'2026-01-31T00:00:00Z'",
        "SELECT x FROM a.\"b\"@'2026-01-31T01:00:00+01:00' AS t",
        "SELECT x FROM a.b FOR TIMESTAMP AS OF '2026-01-31T00:00:00Z'",
        "SELECT x FROM a.b FOR SYSTEM_TIME AS OF '2026-01-31'",
        "SELECT x FROM a.b TIMESTAMP AS OF '2026-01-31'",
    ] {
        assert_eq!(moment(sql), time, "{sql}");
    }
    assert_eq!(moment("SELECT version AS of FROM a.b").1, None, "a column with a name");
    assert_eq!(moment("SELECT \"x@v1\" FROM a.b").1, None, "a column with a name");
}

/// Each of these would read the newest rows if the version were only dropped.
#[test]
fn a_version_that_would_be_lost_is_refused() {
    for (sql, expected) in [
        ("SELECT * FROM a.b t FOR VERSION AS OF 12", "invalid_as_of"),
        ("SELECT * FROM a.b AS t@v12", "invalid_as_of"),
        ("SELECT x@v12 FROM a.b", "invalid_as_of"),
        ("SELECT * FROM a@v12.b", "dataset_not_found"),
        ("SELECT * FROM a.b @v12", "invalid_as_of"),
        ("SELECT * FROM a.b@v1 FOR VERSION AS OF 2", "invalid_as_of"),
        ("SELECT * FROM a.b@v1@v2", "invalid_as_of"),
        ("SELECT * FROM a.b@", "invalid_as_of"),
        ("SELECT * FROM a.b@12", "invalid_as_of"),
        ("SELECT * FROM a.b@latest", "invalid_as_of"),
        ("SELECT * FROM a.b@'yesterday'", "invalid_as_of"),
        ("SELECT * FROM a.b FOR VERSION AS OF 1.5", "invalid_as_of"),
        ("SELECT * FROM a.b FOR VERSION AS OF $1", "invalid_as_of"),
        ("SELECT * FROM a.b FOR TIMESTAMP AS OF now()", "invalid_as_of"),
        ("SELECT * FROM (SELECT * FROM a.b) FOR VERSION AS OF 1", "invalid_as_of"),
        ("SELECT * FROM generate_series(1, 2) FOR VERSION AS OF 1", "invalid_as_of"),
        ("WITH t AS (SELECT 1) SELECT * FROM t@v1", "invalid_dataset_name"),
        ("SELECT * FROM information_schema.tables@v1", "not_supported"),
        ("SELECT * FROM system.audit@v1", "not_supported"),
        ("SELECT * FROM system.jobs FOR TIMESTAMP AS OF '2026-01-01T00:00:00Z'", "not_supported"),
        ("SELECT * FROM system.audit$versions", "not_supported"),
        ("SELECT * FROM a.b$versions@v1", "invalid_as_of"),
        ("DESCRIBE a.b@v1", "not_supported"),
    ] {
        assert_eq!(code(sql), expected, "{sql}: {:?}", parse(sql).err());
    }
    for sql in [
        "SELECT * FROM a.b TIMESTAMP AS OF now()",
        "SELECT * FROM a.b VERSION AS OF $1",
        "SELECT * FROM a.b FOR VERSION BETWEEN 1 AND 2",
        "SELECT * FROM a.b AT (VERSION => 1)",
        "SELECT * FROM a.b BEFORE (TIMESTAMP => '2026-01-31')",
        "SELECT * FROM a.b CHANGES (INFORMATION => DEFAULT) AT (VERSION => 1)",
        "SELECT * FROM a.b$changes",
    ] {
        let code = code(sql);
        assert!(code == "not_supported" || code == "syntax_error" || code == "invalid_parameters", "{sql}: {code}");
    }
}

#[test]
fn what_shows_is_a_query_on_information_schema() {
    for (sql, expected) in [
        ("SHOW TABLES", "FROM information_schema.tables WHERE true ORDER"),
        ("SHOW TABLES FROM demo LIKE '%''x'", "AND table_schema = 'demo' AND table_name LIKE '%''x'"),
        ("SHOW COLUMNS FROM a.b", "WHERE table_schema = 'a' AND table_name = 'b' ORDER"),
        ("SHOW COLUMNS IN a.b ILIKE 'x%'", "AND column_name ILIKE 'x%'"),
        ("DESCRIBE a.b", "table_name = 'b'"),
        ("DESC lake.a.b", "table_name = 'b'"),
        ("DESCRIBE system.audit", "WHERE table_schema = 'system' AND table_name = 'audit' ORDER"),
    ] {
        let query = parse(sql).unwrap_or_else(|e| panic!("{sql}: {e}")).query.to_string();
        assert!(query.contains(expected), "{sql}: {query}");
    }
    for sql in [
        "SHOW FULL TABLES",
        "SHOW COLUMNS",
        "SHOW TABLES WHERE true",
        "SHOW EXTENDED COLUMNS FROM a.b",
        "DESC FORMATTED a.b",
    ] {
        let error = parse(sql).expect_err(sql);
        assert!(error.to_string().contains("information_schema"), "{sql}: {error}");
    }
    for sql in ["SHOW ALL", "SHOW FUNCTIONS", "SHOW CREATE TABLE a.b", "DESCRIBE"] {
        let error = parse(sql).expect_err(sql);
        assert_eq!(error.code(), "statement_not_allowed", "{sql}");
        assert!(error.to_string().contains("information_schema"), "{sql}: {error}");
    }
}

#[test]
fn names_that_are_no_datasets_get_their_own_answers() {
    for (sql, expected) in [
        ("SELECT * FROM flights", "invalid_dataset_name"),
        ("SELECT * FROM x.y.z.w", "invalid_dataset_name"),
        ("SELECT * FROM other.a.b", "invalid_dataset_name"),
        ("SELECT * FROM '/etc/passwd'", "invalid_dataset_name"),
        ("SELECT * FROM \"file:///etc/passwd\"", "invalid_dataset_name"),
        ("SELECT * FROM information_schema.df_settings", "dataset_not_found"),
        ("SELECT * FROM system.secrets", "dataset_not_found"),
        ("SELECT * FROM a.\"B\"", "dataset_not_found"),
        ("SELECT * FROM read_csv('/etc/passwd')", "unknown_function"),
    ] {
        assert_eq!(code(sql), expected, "{sql}: {:?}", parse(sql).err());
    }
}

#[test]
fn syntax_errors_say_where() {
    let error = parse("SELECT a\nFROM a.b WHERE )").expect_err("wrong");
    assert_eq!(error.code(), "syntax_error");
    assert_eq!(error.position().map(|p| p.line), Some(2), "{error}");
    for sql in ["SELECT 'open", "SELECT (1", "SELECT", "FROM", "SELEC 1", "\"", "$$"] {
        assert_eq!(code(sql), "syntax_error", "{sql}: {:?}", parse(sql).err());
    }
    for sql in ["", "  ", ";", "SELECT 1; SELECT 2", "-- nothing"] {
        assert_eq!(code(sql), "one_statement", "{sql}: {:?}", parse(sql).err());
    }
}

#[test]
fn oversized_statements_are_refused() {
    let nested = |open: &str, close: &str, n: usize| format!("SELECT {}1{}", open.repeat(n), close.repeat(n));
    let mut doubling = "SELECT 1 AS x".to_owned();
    let mut ctes = "WITH c0 AS (SELECT 1 AS x)".to_owned();
    for i in 1..20 {
        doubling = format!("SELECT x + x AS x FROM ({doubling})");
        ctes += &format!(", c{i} AS (SELECT a.x FROM c{p} AS a, c{p} AS b)", p = i - 1);
    }
    for sql in [
        format!("SELECT '{}'", "x".repeat(300_000)),
        format!("SELECT 1 {}", "OR true ".repeat(10_000)),
        format!("SELECT 1 {}", "+ 1 ".repeat(10_000)),
        format!("SELECT 1 IN ({}1)", "1,".repeat(20_000)),
        nested("(", ")", 1_000),
        nested("[", "]", 1_000),
        nested("abs(", ")", 1_000),
        nested("CASE WHEN true THEN ", " END", 1_000),
        nested("NOT ", "", 1_000),
        nested("- ", "", 1_000),
        format!("SELECT 1 {}", "UNION ALL SELECT 1 ".repeat(5_000)),
        format!("SELECT * FROM a.b t0 {}", (1..200).map(|i| format!("CROSS JOIN a.b t{i} ")).collect::<String>()),
        doubling,
        format!("{ctes} SELECT * FROM c19"),
    ] {
        assert_eq!(code(&sql), "statement_too_complex", "{}: {:?}", &sql[..60.min(sql.len())], parse(&sql).err());
    }
}

#[test]
fn parameters_take_their_places() {
    let named = |text: &str| Params::Named(serde_json::from_str(text).expect("object"));
    let positional = |text: &str| Params::Positional(serde_json::from_str(text).expect("list"));
    let text = |sql: &str, params: &Params| Statement::parse(sql, params, &FUNCTIONS).map(|s| s.query.to_string());
    let sql = text("SELECT $1, $2, $1", &positional(r#"["it's", -5]"#)).expect("fits");
    assert_eq!(sql.replace("AS \"$1_2\"", ""), "SELECT 'it''s', -5, 'it''s' AS \"'it''s'_2\"");
    assert_eq!(
        text("SELECT a FROM a.b WHERE a = ? AND b = ?", &positional("[1, null]")).expect("fits"),
        "SELECT a FROM a.b WHERE a = 1 AND b = NULL"
    );
    assert_eq!(text("SELECT $n", &named(r#"{"n": true}"#)).expect("fits"), "SELECT true");
    for (sql, params) in [
        ("SELECT $1", Params::None),
        ("SELECT $2", positional("[1]")),
        ("SELECT 1", positional("[1]")),
        ("SELECT $1", positional("[[1]]")),
        ("SELECT $a", named("{}")),
        ("SELECT $1", positional("[18446744073709551615]")),
        ("SELECT ?, $1", positional("[1]")),
    ] {
        assert_eq!(text(sql, &params).expect_err(sql).code(), "invalid_parameters", "{sql}");
    }
}

proptest::proptest! {
    /// Whatever is sent, the guard answers; it never panics and never overflows a 2 MiB stack.
    #[test]
    fn the_guard_survives_anything(words in proptest::collection::vec(proptest::sample::select(WORDS), 0..60)) {
        let _ = parse(&words.join(" "));
        let _ = parse(&words.concat());
    }

    #[test]
    fn the_guard_survives_any_text(text in ".{0,200}") {
        let _ = parse(&text);
    }
}

const WORDS: &[&str] = &[
    "SELECT",
    "FROM",
    "WHERE",
    "a",
    "a.b",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    "'x'",
    "\"q\"",
    "1",
    "1e9",
    "$1",
    "?",
    "@",
    "CASE",
    "WHEN",
    "THEN",
    "END",
    "NOT",
    "-",
    "~",
    "*",
    "UNION",
    "JOIN",
    "ON",
    "WITH",
    "AS",
    "VALUES",
    "EXPLAIN",
    "IN",
    "BETWEEN",
    "AND",
    "::",
    "->",
    "CAST",
    "INTERVAL",
    "OVER",
    "GROUP BY",
    "ORDER BY",
    "LIMIT",
    "LATERAL",
    "UNNEST",
    ";",
    "/*",
    "*/",
    "--",
    "\n",
    "\u{0}",
    "é",
    "$$",
    "E'\\",
    "X'",
    "LIKE",
    "ESCAPE",
    "FOR",
    "INTO",
    "PIVOT",
    "MAP",
    "STRUCT<",
    "a.b@v1",
    "@v2",
    "@'2026-01-31'",
    "VERSION",
    "TIMESTAMP",
    "OF",
    "SHOW",
    "DESCRIBE",
    "$versions",
];
