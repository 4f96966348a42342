//! Attempts to learn what a policy hides. Each is made in two houses that differ in nothing else, and everything that
//! comes back must be the same: columns, rows, plans, codes and words of errors.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use lakegate_catalog::{Caller, Column, ColumnType, DatasetId};
use lakegate_query::QueryRequest;

use super::guarded::{Answer, Guarded, policy};
use super::leaks_attempts::ATTEMPTS;
use crate::house::request;

/// A row; the last four are behind the policy.
type Row = (i64, &'static str, Option<f64>, i64, Option<i64>, &'static str, &'static str, i64, &'static str);

const OPEN: &str = "open";
const DAY: i64 = 86_400_000_000;

/// The rows of one house, version by version. Ann's pay is hers to see, and the first letter of each note.
fn versions(first: bool) -> Vec<Vec<Row>> {
    let pick = |x: i64, y: i64| if first { x } else { y };
    let text = |x: &'static str, y: &'static str| if first { x } else { y };
    let row = |id: i64, name: &'static str, score: Option<f64>, pay: Option<i64>, note: &'static str| {
        let pay = if name == "ann" { pay } else { pay.map(|n| pick(n, n * 7 - 1)) };
        (id, name, score, id * DAY, pay, note, text("123-45", "ABC"), pick(0, id), OPEN)
    };
    let hidden = |id: i64, name: &'static str| {
        let (score, pay) = if first { (0.0, Some(0)) } else { (f64::NAN, Some(i64::MAX)) };
        (id, name, Some(score), id * DAY, pay, text("x[", "(y"), text("0", "none"), pick(0, 9), "closed")
    };
    let many = |count: i64, from: i64, name: &'static str| (from..from + count).map(move |id| hidden(id, name));
    vec![
        [row(1, "ann", Some(1.5), Some(10), text("alpha", "a"))]
            .into_iter()
            .chain(many(pick(1, 30), pick(100, 2), "amy"))
            .chain([row(2, "bob", Some(-2.0), Some(20), text("beta", "bee"))])
            .collect(),
        many(pick(3, 40), pick(500, -9000), text("zed", "abe")).collect(),
        vec![row(3, "cyd", None, None, text("12", "1x")), row(4, "ann", Some(8.0), Some(5), "alpha")],
        vec![row(5, "eve", Some(0.25), Some(0), text("", ""))],
        many(pick(2, 1), pick(3, 77_000), "bob").collect(),
    ]
}

fn batch(rows: &[Row]) -> RecordBatch {
    let texts = |of: fn(&Row) -> &'static str| Arc::new(StringArray::from_iter_values(rows.iter().map(of))) as ArrayRef;
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0)))),
        ("name", texts(|row| row.1)),
        ("score", Arc::new(rows.iter().map(|row| row.2).collect::<Float64Array>())),
        (
            "at",
            Arc::new(TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| row.3)).with_timezone("UTC")),
        ),
        ("pay", Arc::new(rows.iter().map(|row| row.4).collect::<Int64Array>())),
        ("note", texts(|row| row.5)),
        ("ssn", texts(|row| row.6)),
        ("secret", Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.7)))),
        ("Dept", texts(|row| row.8)),
    ];
    RecordBatch::try_from_iter(columns).expect("batch")
}

fn columns() -> Vec<Column> {
    use ColumnType::{BigInt, Double, String, Timestamp};
    let types = [BigInt, String, Double, Timestamp, BigInt, String, String, BigInt, String];
    let names = ["id", "name", "score", "at", "pay", "note", "ssn", "secret", "Dept"];
    names.into_iter().zip(types).map(|(name, ty)| Column::new(name, ty)).collect()
}

async fn house(first: bool) -> (Guarded, DatasetId) {
    let house = Guarded::new().await;
    let batches: Vec<RecordBatch> = versions(first).iter().map(|rows| batch(rows)).collect();
    let id = house.table("demo.t", &columns(), &batches).await;
    let masks = [
        ("pay", Some("CASE WHEN name = current_principal() THEN pay END")),
        ("note", Some("left(note, 1)")),
        ("ssn", None),
        ("secret", None),
        ("Dept", None),
    ];
    house.guard(id, policy(Some("\"Dept\" = 'open'"), &masks)).await;
    (house, id)
}

/// All that a question brings back in one house.
async fn observed(house: &Guarded, caller: &Caller, asked: &QueryRequest) -> (Answer, String) {
    let described = match house.engine.describe(caller, asked.clone()).await {
        Ok(told) => format!("{:?} {:?} {:?}", told.schema, told.parameters, told.versions),
        Err(error) => format!("{} {:?} {error}", error.code(), error.position()),
    };
    (house.answer(caller, asked.clone()).await, described)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_hidden_changes_nothing_that_comes_back() {
    let ((x, _), (y, _)) = (house(true).await, house(false).await);
    assert!(ATTEMPTS.len() >= 60, "{}", ATTEMPTS.len());
    let (mut owners_see, mut refused) = (0, 0);
    for sql in ATTEMPTS {
        let plain = request(sql);
        let zoned = QueryRequest { time_zone: Some("Asia/Tokyo".to_owned()), limit: Some(100), ..plain.clone() };
        let ordered = QueryRequest { in_order: true, keep_types: true, ..plain.clone() };
        for asked in [&plain, &zoned, &ordered] {
            for (reader_x, reader_y) in [(&x.ann, &y.ann), (&Caller::Anonymous, &Caller::Anonymous)] {
                let seen = observed(&x, reader_x, asked).await;
                assert_eq!(seen, observed(&y, reader_y, asked).await, "{asked:?}");
                refused += usize::from(matches!(seen.0, Answer::Refused(..)));
            }
        }
        owners_see += usize::from(observed(&x, &x.owner, &plain).await.0 != observed(&y, &y.owner, &plain).await.0);
    }
    // Without the policy most attempts tell the houses apart: they do look at what is hidden.
    assert!(owners_see * 10 >= ATTEMPTS.len() * 7, "{owners_see} of {}", ATTEMPTS.len());
    eprintln!(
        "{} attempts, {owners_see} of which tell owners; {refused} answers of readers were errors",
        ATTEMPTS.len()
    );
}

#[tokio::test]
async fn a_hidden_column_is_one_that_never_was() {
    let (house, _) = house(true).await;
    for (hidden, never) in [("ssn", "sss"), ("secret", "secrex"), ("\"Dept\"", "\"Depp\""), ("\"SSN\"", "\"SSS\"")] {
        for shape in [
            "SELECT # FROM demo.t",
            "SELECT t.# FROM demo.t",
            "SELECT id FROM demo.t WHERE # = '1'",
            "SELECT count(*) FROM demo.t GROUP BY #",
            "SELECT id FROM demo.t ORDER BY #",
            "SELECT a.id FROM demo.t a JOIN demo.t b USING (#)",
            "SELECT * EXCLUDE (#) FROM demo.t",
            "SELECT * REPLACE (1 AS #) FROM demo.t",
            "SELECT (SELECT # FROM (SELECT 1 AS one) q) FROM demo.t",
            "SELECT sum(1) OVER (PARTITION BY #) FROM demo.t",
            "SELECT count(*) FROM demo.t@v1 WHERE # IS NULL",
        ] {
            let ask = |column: &str| request(&shape.replace('#', column));
            let bare = |text: &str| text.trim_matches('"').to_owned();
            let same = |answer: Answer| match answer {
                Answer::Refused(code, at, words) => (code, at, words.replace(&bare(hidden), &bare(never))),
                Answer::Rows(..) => ("ok", None, String::new()),
            };
            let (of_hidden, of_never) =
                (house.answer(&house.ann, ask(hidden)).await, house.answer(&house.ann, ask(never)).await);
            assert_eq!(same(of_hidden), same(of_never), "{shape} {hidden}");
        }
    }
}
