//! No policy that is accepted makes planning long, alone or under a statement that names its dataset often.

use std::time::Duration;

use cpu_time::ProcessTime;
use lakegate_catalog::{Column, ColumnType, Policy};

use super::guarded::{Guarded, policy};
use crate::house::request;

const SECOND: Duration = Duration::from_secs(1);

fn repeated(first: &str, next: impl Fn(usize) -> String, n: usize) -> String {
    (0..n).fold(first.to_owned(), |text, i| text + &next(i))
}

type Shape = (&'static str, Box<dyn Fn(usize) -> Policy>);

fn shapes() -> Vec<Shape> {
    fn filter(name: &'static str, make: impl Fn(usize) -> String + 'static) -> Shape {
        (name, Box::new(move |n| policy(Some(&make(n)), &[])))
    }
    let calls = |n: usize| format!("{}'x'{} = s", "lower(".repeat(n), ")".repeat(n));
    let masks = |n: usize| {
        let sum = repeated("c0", |i| format!("+{i}"), n);
        let masked: Vec<String> = (0..12).map(|i| format!("c{i}")).collect();
        policy(None, &masked.iter().map(|name| (name.as_str(), Some(sum.as_str()))).collect::<Vec<_>>())
    };
    vec![
        filter("sum", |n| repeated("0 < c0", |i| format!("+{i}"), n)),
        filter("or", |n| repeated("c0 = 0", |i| format!(" OR c{} = {i}", i % 12), n)),
        filter("and of or", |n| repeated("c0 = 0", |i| format!(" AND (c1 = {i} OR s = '{i}')"), n)),
        filter("in list", |n| repeated("c0 IN (0", |i| format!(",{i}"), n) + ")"),
        filter("in list of sums", |n| repeated("c0 IN (0", |i| format!(",c1+{i}"), n) + ")"),
        filter("case", |n| repeated("CASE WHEN c0 = 0 THEN true", |i| format!(" WHEN c0 = {i} THEN g"), n) + " END"),
        filter("concat", |n| repeated("s = s", |i| format!("||'{i}'"), n)),
        filter("concat call", |n| repeated("s = concat(s", |i| format!(",'{i}'"), n) + ")"),
        filter("calls", calls),
        filter("like", |n| repeated("s LIKE 'a'", |i| format!(" OR s LIKE '%{i}%'"), n)),
        ("masks", Box::new(masks)),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn no_accepted_policy_plans_for_more_than_a_second() {
    let house = Guarded::new().await;
    let mut columns: Vec<Column> = (0..12).map(|i| Column::new(format!("c{i}"), ColumnType::BigInt)).collect();
    columns.extend([Column::new("s", ColumnType::String), Column::new("g", ColumnType::Boolean)]);
    let id = house.table("demo.t", &columns, &[]).await;
    let often = repeated("SELECT g FROM demo.t", |_| " UNION ALL SELECT g FROM demo.t@v0".to_owned(), 98);
    let mut slow = Vec::new();
    for (name, shape) in shapes() {
        let (mut low, mut high) = (1, 10_000);
        while low + 1 < high {
            let middle = (low + high) / 2;
            let accepted = shape(middle).check().is_ok()
                && house.engine.check_policy(columns.clone(), shape(middle)).await.is_ok();
            if accepted { low = middle } else { high = middle }
        }
        house.guard(id, shape(low)).await;
        for sql in ["SELECT * FROM demo.t", often.as_str()] {
            let mut fastest = Duration::MAX;
            for _ in 0..3 {
                let start = ProcessTime::now();
                house.batches(&house.ann, request(sql)).await.expect("planned");
                fastest = fastest.min(start.elapsed());
            }
            eprintln!("{:>8.1} ms {low:>6} {name}, {} bytes of SQL", fastest.as_secs_f64() * 1e3, sql.len());
            if fastest > SECOND {
                slow.push((name, low, fastest));
            }
        }
    }
    assert!(slow.is_empty(), "{slow:?}");
}
