//! What readers of a dataset with a policy get: rows and values that it lets through, and nothing that tells of others.

mod bounds;
mod guarded;
mod laws;
mod leaks;
mod leaks_attempts;

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::util::pretty::pretty_format_batches;
use lakegate_catalog::{Caller, Column, ColumnType, DatasetId, Identity, Policy, TokenScope};
use lakegate_query::{AsOf, QueryRequest, visible_columns};

use crate::house::request;
use guarded::{Guarded, policy};

fn columns() -> Vec<Column> {
    let text = |name: &str| Column::new(name, ColumnType::String);
    let id = Column { nullable: false, ..Column::new("id", ColumnType::BigInt) };
    vec![id, text("who"), text("note"), Column::new("pay", ColumnType::BigInt)]
}

fn people(rows: &[(i64, &str, Option<i64>)]) -> RecordBatch {
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(rows.iter().map(|row| Some(row.0)).collect::<Int64Array>())),
        ("who", Arc::new(rows.iter().map(|row| Some(row.1)).collect::<StringArray>())),
        ("note", Arc::new(rows.iter().map(|row| Some(format!("of {}", row.1))).collect::<StringArray>())),
        ("pay", Arc::new(rows.iter().map(|row| row.2).collect::<Int64Array>())),
    ];
    RecordBatch::try_from_iter(columns).expect("batch")
}

/// Three versions of four rows together, under a policy.
async fn house(policy: Policy) -> (Guarded, DatasetId) {
    let house = Guarded::new().await;
    let batches = [
        people(&[(1, "ann", Some(10)), (2, "bob", Some(20))]),
        people(&[(3, "ann", None)]),
        people(&[(4, "eve", Some(0))]),
    ];
    let id = house.table("demo.t", &columns(), &batches).await;
    house.guard(id, policy).await;
    (house, id)
}

#[tokio::test]
async fn rows_and_values_depend_on_who_asks() {
    let filter = "who = current_principal() OR is_member('board') OR current_principal() IS NULL AND id = 4";
    let masks = [("note", None), ("pay", Some("CASE WHEN is_member('staff') THEN pay / 10 ELSE -1 END"))];
    let (house, _) = house(policy(Some(filter), &masks)).await;
    let sql = "SELECT * FROM demo.t";
    assert_eq!(house.cells(&house.ann, sql).await, "1,ann,1 3,ann");
    assert_eq!(house.cells(&Caller::Anonymous, sql).await, "4,eve,-1");
    assert_eq!(house.cells(&house.owner, sql).await, "1,ann,of ann,10 2,bob,of bob,20 3,ann,of ann 4,eve,of eve,0");
    assert_eq!(house.cells(&house.mel, "SELECT count(*) FROM demo.t").await, "0", "a maintainer is no owner");
    assert_eq!(
        house.cells(&house.ann, "SELECT pay, id FROM demo.t@v1").await,
        "1,1",
        "the policy of now, rows of then"
    );
    assert_eq!(house.cells(&house.ann, "SELECT count(*), min(id), max(pay) FROM demo.t").await, "2,1,1");
    assert_eq!(house.cells(&house.ann, "SELECT id FROM demo.t WHERE pay = 1 AND id > 0").await, "1");
    assert_eq!(house.cells(&house.ann, "SELECT note FROM demo.t").await, "unknown_column");
}

#[tokio::test]
async fn a_credential_that_does_not_reach_a_dataset_is_nobodys() {
    let (house, _) = house(policy(Some("current_principal() IS NOT NULL"), &[])).await;
    let identity = house.ann.identity().expect("ann is known").clone();
    let scope = TokenScope { datasets: ["other.*".parse().expect("pattern")].into(), ..TokenScope::default() };
    let elsewhere = Caller::from(Identity { scope, ..identity });
    assert_eq!(house.cells(&house.ann, "SELECT count(*) FROM demo.t").await, "4");
    assert_eq!(house.cells(&elsewhere, "SELECT count(*) FROM demo.t").await, "0");
}

#[tokio::test]
async fn a_filter_of_no_answer_lets_nothing_through() {
    for (filter, rows) in [("NULL", "0"), ("pay > 5", "2"), ("false", "0"), ("true", "4"), ("is_member('x')", "0")] {
        let (house, _) = house(policy(Some(filter), &[])).await;
        assert_eq!(house.cells(&house.ann, "SELECT count(*) FROM demo.t").await, rows, "{filter}");
        assert_eq!(house.cells(&house.ann, "SELECT count(*) FROM (SELECT * FROM demo.t) q").await, rows, "{filter}");
    }
}

#[tokio::test]
async fn a_policy_that_does_not_fit_lets_nothing_through() {
    for bad in [
        policy(Some("gone = 1"), &[]),
        policy(Some("id"), &[]),
        policy(Some("id = "), &[]),
        policy(Some("(SELECT true)"), &[]),
        policy(Some("random() < 2"), &[]),
        policy(None, &[("gone", None)]),
        policy(None, &[("note", Some("sum(id)"))]),
        policy(None, &[("id", Some("[1, 2]"))]),
        policy(None, &[("id", None), ("who", None), ("note", None), ("pay", None)]),
    ] {
        let (house, _) = house(bad.clone()).await;
        assert_eq!(
            house.engine.check_policy(columns(), bad.clone()).await.expect_err("wrong").code(),
            "invalid_policy"
        );
        for sql in
            ["SELECT 1 FROM demo.t", "EXPLAIN SELECT * FROM demo.t", "DESCRIBE demo.t", "SELECT id FROM demo.t@v1"]
        {
            let error = house.batches(&house.ann, request(sql)).await.expect_err("unfit");
            assert_eq!((error.code(), error.kind().to_string().as_str()), ("policy_unfit", "denied"), "{bad:?} {sql}");
            assert!(!error.to_string().contains("gone"), "{error}");
        }
        assert_eq!(house.cells(&house.owner, "SELECT count(*) FROM demo.t").await, "4");
    }
}

#[tokio::test]
async fn errors_of_a_policy_tell_its_writer_what_and_where() {
    let house = Guarded::new().await;
    for (wrong, words, line) in [
        (policy(Some("id = 1 AND\n  gone > 2"), &[]), "the row filter: column `gone` does not exist", None),
        (policy(Some("id = 1 AND\n )"), &[]), "the row filter: ", Some(2)),
        (policy(Some("id + 1"), &[]), "the row filter: it is of type bigint and must be a boolean", None),
        (policy(Some("who > 1 + []"), &[]), "the row filter: ", None),
        (policy(None, &[("Note", None)]), "the mask of column `Note`: column \"Note\" does not exist", None),
        (policy(None, &[("note", Some("nope(note)"))]), "the mask of column `note`: there is no function `nope`", None),
        (policy(None, &[("pay", Some("{a: 1}"))]), "the mask of column `pay`: ", None),
    ] {
        let error = house.engine.check_policy(columns(), wrong.clone()).await.expect_err("wrong");
        let plain = |text: &str| text.replace(['`', '"'], "");
        assert!(plain(&error.to_string()).starts_with(&plain(words)), "{wrong:?}: {error}");
        assert_eq!(error.position().map(|at| at.line), line, "{wrong:?}: {error}");
    }
    let long = (0..150).fold("id".to_owned(), |text, n| format!("{text}+{n}"));
    let masks = [("id", Some(long.as_str())), ("pay", Some(long.as_str()))];
    assert!(house.engine.check_policy(columns(), policy(None, &masks[..1])).await.is_ok());
    let error = house.engine.check_policy(columns(), policy(None, &masks)).await.expect_err("too much together");
    assert!(error.to_string().contains("too complex"), "{error}");
    let fits = policy(Some("who = current_principal()"), &[("pay", Some("'7'")), ("note", Some("NULL"))]);
    house.engine.check_policy(columns(), fits).await.expect("fits");
}

#[tokio::test]
async fn what_fails_in_a_policy_tells_no_value() {
    for (broken, sql) in [
        (policy(Some("100 / pay > 1"), &[]), "SELECT id FROM demo.t"),
        (policy(None, &[("pay", Some("note"))]), "SELECT pay FROM demo.t"),
        (policy(None, &[("pay", Some("100 / pay"))]), "SELECT sum(pay) FROM demo.t"),
        (policy(None, &[("who", Some("repeat(who, 100000000)"))]), "SELECT who FROM demo.t"),
        (policy(None, &[("who", Some("regexp_replace(who, '(', '')"))]), "SELECT who FROM demo.t"),
    ] {
        let (house, _) = house(broken).await;
        let error = house.batches(&house.ann, request(sql)).await.expect_err("fails");
        let words =
            "the policy of dataset `demo.t` cannot be evaluated on its rows: ask an owner of it to correct the policy";
        assert_eq!((error.code(), error.to_string().as_str()), ("policy_failed", words));
        let error = house.batches(&house.ann, request(&format!("EXPLAIN ANALYZE {sql}"))).await.expect_err("fails");
        assert_eq!(error.to_string(), words);
    }
}

#[tokio::test]
async fn a_mask_is_not_evaluated_on_rows_that_are_not_there() {
    let (house, _) = house(policy(Some("pay <> 0"), &[("pay", Some("100 / pay"))])).await;
    assert_eq!(house.cells(&house.ann, "SELECT sum(pay) FROM demo.t").await, "15");
}

#[tokio::test]
async fn versions_tell_no_sizes_and_plans_no_counts() {
    let (house, _) = house(policy(Some("id = 1"), &[])).await;
    let sql = "SELECT version, operation IS NULL, rows_added, files_added, files_removed, bytes_added FROM demo.t$versions WHERE version > 0";
    assert_eq!(house.cells(&house.ann, sql).await, "1,false 2,false 3,false");
    assert!(house.cells(&house.owner, sql).await.starts_with("1,false,2,1,0,"));
    let sql = "EXPLAIN ANALYZE SELECT count(*) FROM demo.t WHERE id > 0 AND who = 'ann'";
    let plan = house.cells(&house.ann, sql).await;
    assert!(plan.contains("PolicyScanExec: columns=[id, who]"), "{plan}");
    for word in ["output_rows", "elapsed", "lake://", ".parquet", "DataSourceExec", "id = Int64(1)"] {
        assert!(!plan.contains(word), "{word} in {plan}");
    }
    assert!(house.cells(&house.owner, sql).await.contains("output_rows"));
}

#[tokio::test]
async fn hidden_columns_are_in_no_list() {
    let (house, _) = house(policy(None, &[("who", None), ("id", Some("id % 2"))])).await;
    let sql = "SELECT column_name, ordinal_position, is_nullable FROM information_schema.columns WHERE table_name = 't' ORDER BY 2";
    assert_eq!(house.cells(&house.ann, sql).await, "id,1,YES note,2,YES pay,3,YES");
    assert_eq!(house.cells(&house.owner, sql).await, "id,1,NO who,2,YES note,3,YES pay,4,YES");
    assert_eq!(house.cells(&house.ann, "DESCRIBE demo.t").await, "id,bigint,YES note,string,YES pay,bigint,YES");
    let error = house.batches(&house.ann, request("SELECT whoo FROM demo.t")).await.expect_err("unknown");
    assert!(error.to_string().contains("\"note\"") && !error.to_string().contains("\"who\""), "{error}");
    let seen = visible_columns(&columns(), &policy(None, &[("who", None)]));
    assert_eq!(seen.iter().map(|column| column.name.as_str()).collect::<Vec<_>>(), ["id", "note", "pay"]);
}

#[tokio::test]
async fn columns_that_a_version_lacks_are_null_to_the_policy() {
    let (house, id) = house(Policy::default()).await;
    house.extend(id, &[Column::new("level", ColumnType::BigInt)]).await;
    let masks = [("level", Some("level + 1")), ("pay", Some("coalesce(level, 0)"))];
    house.guard(id, policy(Some("coalesce(level, id) < 3"), &masks)).await;
    assert_eq!(house.cells(&house.ann, "SELECT id, pay FROM demo.t@v3").await, "1,0 2,0");
    assert_eq!(house.cells(&house.ann, "SELECT id, pay, level FROM demo.t").await, "1,0 2,0");
    assert_eq!(house.cells(&house.ann, "SELECT level FROM demo.t@v3").await, "unknown_column");
}

#[tokio::test]
async fn a_time_zone_changes_no_policy() {
    let filter = "date_part('hour', TIMESTAMP '2020-01-01 00:00:00'::timestamp with time zone) = 0";
    let (house, _) = house(policy(Some(filter), &[("pay", Some("date_part('hour', to_timestamp(0))"))])).await;
    for zone in ["UTC", "Asia/Tokyo"] {
        let asked =
            QueryRequest { time_zone: Some(zone.to_owned()), ..request("SELECT count(*), max(pay) FROM demo.t") };
        let batches = house.batches(&house.ann, asked).await.expect("runs");
        let text = pretty_format_batches(&batches).expect("printable").to_string();
        let row: Vec<&str> = text.lines().nth(3).expect("a row").split('|').map(str::trim).collect();
        assert_eq!(row[1..3], ["4", "0"], "{zone}");
    }
}

async fn fingerprint(house: &Guarded, caller: &Caller, sql: &str) -> Option<String> {
    let prepared = house.engine.prepare(caller, request(sql)).await.expect("prepared");
    let fingerprint = prepared.fingerprint();
    prepared.finish();
    fingerprint
}

/// Ann before she joined her group.
fn alone(ann: &Caller) -> Caller {
    Identity { groups: Vec::new(), ..ann.identity().expect("ann is known").clone() }.into()
}

#[tokio::test]
async fn answers_are_told_apart_by_policy_and_caller() {
    let (house, id) = house(policy(Some("is_member('staff')"), &[])).await;
    let sql = "SELECT count(*) FROM demo.t";
    let tag = fingerprint(&house, &house.ann, sql).await;
    assert!(tag.is_some() && tag == fingerprint(&house, &house.ann, sql).await);
    for other in [&house.owner, &house.mel, &alone(&house.ann), &Caller::Anonymous] {
        assert_ne!(fingerprint(&house, other, sql).await, tag);
    }
    house.guard(id, policy(Some("is_member('staff') AND id > 0"), &[])).await;
    assert_ne!(fingerprint(&house, &house.ann, sql).await, tag);
    house.guard(id, policy(Some("now() > TIMESTAMP '2020-01-01'"), &[])).await;
    assert_eq!(fingerprint(&house, &house.ann, sql).await, None, "it changes with the time");
    assert!(fingerprint(&house, &house.owner, sql).await.is_some());
}

/// Describes as one caller and runs as another, under the same id.
async fn kept(
    house: &Guarded,
    first: &Caller,
    then: &Caller,
    sql: &str,
    between: Option<(DatasetId, Policy)>,
) -> String {
    let asked = QueryRequest { id: Some("q".to_owned()), ..request(sql) };
    let told = house.engine.describe(first, asked.clone()).await.expect("described");
    if let Some((id, policy)) = between {
        house.guard(id, policy).await;
    }
    let asked = QueryRequest { as_of: AsOf::Found(told.found), ..asked };
    let batches = house.batches(then, asked).await.expect("runs");
    let text = pretty_format_batches(&batches).expect("printable").to_string();
    text.lines().nth(3).unwrap_or_default().trim_matches(['|', ' ']).to_owned()
}

#[tokio::test]
async fn a_plan_that_was_kept_is_used_under_no_other_policy() {
    let sql = "SELECT count(*) FROM demo.t";
    let of_staff = || policy(Some("is_member('staff')"), &[]);
    let (house, id) = house(of_staff()).await;
    let ann = &house.ann;
    assert_eq!(kept(&house, ann, ann, sql, None).await, "4");
    assert_eq!(kept(&house, &house.owner, ann, sql, None).await, "4");
    assert_eq!(kept(&house, ann, &alone(ann), sql, None).await, "0", "another group");
    assert_eq!(kept(&house, &alone(ann), ann, sql, None).await, "4", "another group");
    let changed = || Some((id, policy(Some("id = 1"), &[])));
    assert_eq!(kept(&house, ann, ann, sql, changed()).await, "1", "another policy");
    let sql = "SELECT sum(rows_added) FROM demo.t$versions";
    house.guard(id, Policy::default()).await;
    assert_eq!(kept(&house, ann, ann, sql, changed()).await, "", "a policy where there was none");
    house.guard(id, Policy::default()).await;
    let sql = "SELECT count(*) FROM information_schema.columns WHERE table_schema = 'demo'";
    let hiding = Some((id, policy(None, &[("note", None)])));
    assert_eq!(kept(&house, ann, ann, sql, hiding).await, "3", "a column that was hidden since");
}

#[tokio::test]
async fn recursion_reads_a_dataset_again_and_again() {
    let (house, _) = house(policy(Some("id < 4"), &[])).await;
    let sql = "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT t.id + 1 FROM r JOIN demo.t t ON t.id = r.n) SELECT n FROM r";
    assert_eq!(house.cells(&house.ann, sql).await, "1 2 3 4");
}
