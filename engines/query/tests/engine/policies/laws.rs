//! One law: under a policy a statement answers what it would over a table that holds the filtered and masked rows.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use lakegate_catalog::{Caller, Column, ColumnType, Mask, Policy};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::guarded::{Answer, Guarded};
use crate::house::request;

const COLUMNS: [(&str, ColumnType, &str); 6] = [
    ("a", ColumnType::BigInt, "bigint"),
    ("b", ColumnType::BigInt, "bigint"),
    ("f", ColumnType::Double, "double"),
    ("g", ColumnType::Boolean, "boolean"),
    ("s", ColumnType::String, "varchar"),
    ("t", ColumnType::Timestamp, "timestamp with time zone"),
];

type Row = (Option<i64>, Option<i64>, Option<f64>, Option<bool>, Option<&'static str>, Option<i64>);

fn rows() -> impl Strategy<Value = Vec<Vec<Row>>> {
    let floats = select(vec![0.0, -0.0, 1.5, -2.25, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300]);
    let texts = select(vec!["", "ann", "bob", "a%", "12", "Ünï"]);
    let row = (
        option::weighted(0.8, -5_i64..5),
        option::weighted(0.8, select(vec![0, 1, 7, 100, -100, i64::MAX])),
        option::weighted(0.8, floats),
        option::of(any::<bool>()),
        option::weighted(0.8, texts),
        option::weighted(0.8, -3_i64..3),
    );
    vec(vec(row, 1..25), 0..4)
}

fn batch(rows: &[Row]) -> RecordBatch {
    const YEAR: i64 = 31_557_600_000_000;
    let times = rows.iter().map(|row| row.5.map(|years| years * YEAR)).collect::<TimestampMicrosecondArray>();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("a", Arc::new(rows.iter().map(|row| row.0).collect::<Int64Array>())),
        ("b", Arc::new(rows.iter().map(|row| row.1).collect::<Int64Array>())),
        ("f", Arc::new(rows.iter().map(|row| row.2).collect::<Float64Array>())),
        ("g", Arc::new(rows.iter().map(|row| row.3).collect::<BooleanArray>())),
        ("s", Arc::new(rows.iter().map(|row| row.4).collect::<StringArray>())),
        ("t", Arc::new(times.with_timezone("UTC"))),
    ];
    RecordBatch::try_from_iter(columns).expect("batch")
}

/// Predicates that fail on no value.
fn predicate() -> impl Strategy<Value = String> {
    let leaf = select(vec![
        "a > 1",
        "a = 0",
        "a IN (1, 2, -3)",
        "a NOT IN (1, NULL)",
        "a BETWEEN -1 AND 2",
        "a IS NULL",
        "b >= 7",
        "b <> 1",
        "a < b",
        "f < 1.5",
        "f = 'NaN'::double",
        "f >= 0",
        "f IS NOT NULL",
        "g",
        "NOT g",
        "g IS NOT TRUE",
        "s = 'ann'",
        "s > 'a'",
        "s LIKE 'a%'",
        "s IS NULL",
        "length(s) = 2",
        "t >= TIMESTAMP '1970-01-01'",
        "t < '1969-06-01'",
        "coalesce(a, 0) % 3 = 1",
        "CASE WHEN g THEN a > 0 ELSE s = 'bob' END",
        "true",
        "NULL",
        "t IS NULL",
    ]);
    let leaf = leaf.prop_map(str::to_owned);
    leaf.prop_recursive(3, 8, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} AND {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} OR {b})")),
            inner.prop_map(|a| format!("NOT ({a})")),
        ]
    })
}

fn policies() -> impl Strategy<Value = Policy> {
    let asking = prop_oneof![
        4 => predicate(),
        1 => predicate().prop_map(|p| format!("is_member('staff') AND {p}")),
        1 => predicate().prop_map(|p| format!("is_member('board') OR {p}")),
        1 => predicate().prop_map(|p| format!("s = current_principal() OR {p}")),
    ];
    let value = prop_oneof![select(vec![
        "NULL",
        "a",
        "a + 1",
        "b % 10",
        "length(s)",
        "CASE WHEN g THEN 1 ELSE 0 END",
        "NULLIF(a, 0)"
    ]),];
    let value = prop_oneof![
        value.prop_map(str::to_owned),
        predicate().prop_map(|p| format!("CASE WHEN {p} THEN 1 END")),
        predicate().prop_map(|p| format!("CASE WHEN {p} AND is_member('staff') THEN 2 ELSE 3 END")),
    ];
    // Whole numbers can be cast to every type but that of times.
    let number = value.prop_map(Mask::Expression);
    let time = select(vec!["NULL", "date_trunc('year', t)", "CASE WHEN g THEN t END", "TIMESTAMP '2000-01-01'"]);
    let text =
        select(vec!["NULL", "left(s, 1)", "upper(s)", "current_principal()", "'x'", "CASE WHEN a > 0 THEN s END"]);
    let mask = (number, time, text, 0..4_u8);
    let masks = btree_map(select((0..6_usize).collect::<Vec<_>>()), mask, 0..4);
    (option::weighted(0.8, asking), masks).prop_map(|(row_filter, masks)| {
        let masks = masks.into_iter().map(|(at, (number, time, text, hidden))| {
            let mask = match (hidden, COLUMNS[at].0) {
                (0, _) => Mask::Hidden,
                (_, "t") => Mask::Expression(time.to_owned()),
                (_, "s") => Mask::Expression(text.to_owned()),
                (_, "g") => Mask::Expression("a > 0".to_owned()),
                _ => number,
            };
            (COLUMNS[at].0.to_owned(), mask)
        });
        Policy { row_filter, masks: masks.collect() }
    })
}

/// Statements over `T`. What is named may be hidden; then both must refuse in the same words.
fn statements() -> impl Strategy<Value = String> {
    let column = || select(COLUMNS.map(|(name, ..)| name).to_vec());
    let shapes = select(vec![
        "SELECT * FROM T WHERE P",
        "SELECT count(*), count(C), min(C), max(C), count(DISTINCT D) FROM T WHERE P",
        "SELECT count(*) FROM T",
        "SELECT min(C), max(D) FROM T",
        "SELECT C, count(*), min(D) FROM T WHERE P GROUP BY C",
        "SELECT C, D, count(*) FROM T GROUP BY GROUPING SETS ((C), (D), ())",
        "SELECT C, D FROM T WHERE P ORDER BY 1, 2 LIMIT 5",
        "SELECT C, D FROM T ORDER BY 1 DESC NULLS LAST, 2 LIMIT 3 OFFSET 2",
        "SELECT max(C) FROM (SELECT C FROM T WHERE P ORDER BY 1 LIMIT 4) q",
        "SELECT x.C, y.D FROM T x JOIN T y ON x.a = y.a WHERE x.a > 0",
        "SELECT x.C, y.D FROM T x LEFT JOIN T y ON x.C = y.C AND y.a < 2",
        "SELECT C, v FROM T JOIN (VALUES (1), (0), (7), (100)) AS q(v) ON a = v WHERE P",
        "SELECT C FROM T WHERE D IN (SELECT D FROM T WHERE P)",
        "SELECT C FROM T x WHERE EXISTS (SELECT 1 FROM T y WHERE y.a = x.b AND y.g)",
        "SELECT C, (SELECT count(*) FROM T y WHERE y.a = x.a) FROM T x",
        "SELECT C FROM T WHERE P UNION SELECT C FROM T WHERE Q",
        "SELECT C FROM T WHERE P EXCEPT SELECT C FROM T WHERE Q",
        "SELECT C, rank() OVER (ORDER BY D), count(*) OVER (PARTITION BY C) FROM T WHERE P",
        "SELECT DISTINCT C FROM T WHERE P AND Q",
        "SELECT 10 / a FROM T",
        "SELECT CAST(s AS bigint) FROM T WHERE P",
        "WITH w AS (SELECT C, D FROM T WHERE P) SELECT count(*), min(w.C) FROM w WHERE w.D IS NOT NULL",
        "SELECT sum(a), sum(a) FILTER (WHERE g) FROM T WHERE P",
        "SELECT C FROM T WHERE P AND Q QUALIFY row_number() OVER (PARTITION BY D ORDER BY C) = 1 ORDER BY 1",
    ]);
    (shapes, column(), column(), predicate(), predicate()).prop_map(|(shape, c, d, p, q)| {
        let letter = |text: String, letter: char, with: &str| {
            let mut made = String::new();
            for (at, found) in text.char_indices() {
                let alone = |other: Option<char>| !other.is_some_and(|c| c.is_alphanumeric() || c == '_');
                let is_alone =
                    alone(text[..at].chars().next_back()) && alone(text[at + found.len_utf8()..].chars().next());
                if found == letter && is_alone { made.push_str(with) } else { made.push(found) }
            }
            made
        };
        let text = letter(letter(shape.to_owned(), 'C', c), 'D', d);
        letter(letter(text, 'P', &format!("({p})")), 'Q', &format!("({q})"))
    })
}

/// The policy's query in plain SQL, for ann.
fn in_sql(policy: &Policy, table: &str) -> (String, Vec<Column>) {
    let (mut outputs, mut columns) = (Vec::new(), Vec::new());
    for (name, ty, sql) in COLUMNS {
        let output = match policy.masks.get(name) {
            Some(Mask::Hidden) => continue,
            Some(Mask::Expression(mask)) => format!("CAST({mask} AS {sql}) AS {name}"),
            None => name.to_owned(),
        };
        outputs.push(output);
        columns.push(Column::new(name, ty));
    }
    let filter = policy.row_filter.as_deref().unwrap_or("true");
    let text = format!("SELECT {} FROM {table} WHERE {filter}", outputs.join(", "));
    let of_ann = text
        .replace("current_principal()", "'ann'")
        .replace("is_member('staff')", "true")
        .replace("is_member('board')", "false");
    (of_ann, columns)
}

fn named(answer: Answer, table: &str) -> Answer {
    match answer {
        // Versions differ.
        Answer::Rows(schema, rows) => Answer::Rows(schema.split("} [(").next().unwrap_or_default().to_owned(), rows),
        Answer::Refused(code, at, words) => Answer::Refused(code, at.map(|_| (0, 0)), words.replace(table, "T")),
    }
}

struct World {
    runtime: tokio::runtime::Runtime,
    house: Guarded,
    made: AtomicUsize,
}

impl World {
    async fn check(&self, rows: &[Vec<Row>], policy: &Policy, statements: &[String]) -> Result<(), TestCaseError> {
        let n = self.made.fetch_add(1, Ordering::Relaxed);
        let (guarded, held) = (format!("demo.g{n}"), format!("demo.h{n}"));
        let columns = COLUMNS.map(|(name, ty, _)| Column::new(name, ty));
        let batches: Vec<RecordBatch> = rows.iter().map(|rows| batch(rows)).collect();
        let id = self.house.table(&guarded, &columns, &batches).await;
        let (sql, visible) = in_sql(policy, &guarded);
        let kept = self.house.batches(&self.house.owner, request(&sql)).await.expect("owners read all");
        self.house.table(&held, &visible, &kept).await;
        self.house.guard(id, policy.clone()).await;
        let ann: &Caller = &self.house.ann;
        for statement in statements {
            let ask = |table: &str| {
                request(&statement.replace("T ", &format!("{table} ")).replace("FROM T", &format!("FROM {table}")))
            };
            let under = named(self.house.answer(ann, ask(&guarded)).await, &guarded);
            let over = named(self.house.answer(ann, ask(&held)).await, &held);
            prop_assert_eq!(under, over, "{} under {:?}, which is {}", statement, policy, sql);
        }
        Ok(())
    }
}

#[test]
fn a_policy_is_a_table_of_what_it_lets_through() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("runtime");
    let house = runtime.block_on(Guarded::new());
    let world = World { runtime, house, made: AtomicUsize::new(0) };
    let config =
        ProptestConfig { cases: 100, failure_persistence: None, max_shrink_iters: 200, ..ProptestConfig::default() };
    proptest!(config, |(rows in rows(), policy in policies(), statements in vec(statements(), 6))| {
        world.runtime.block_on(world.check(&rows, &policy, &statements))?;
    });
}
