//! What a statement would answer, asked before it runs; and the plan that is kept for the run.

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use arrow::util::pretty::pretty_format_batches;
use futures::TryStreamExt;
use lakegate_catalog::Caller;
use lakegate_query::{Params, QueryError, QueryRequest};

use crate::house::{House, request};

fn named(id: &str, sql: &str) -> QueryRequest {
    QueryRequest { id: Some(id.to_owned()), ..request(sql) }
}

async fn rows(house: &House, request: QueryRequest) -> String {
    let batches: Vec<RecordBatch> = house.start(request).await.expect("runs").try_collect().await.expect("rows");
    pretty_format_batches(&batches).expect("printable").to_string()
}

#[tokio::test]
async fn the_description_is_what_comes() {
    let house = House::new().await;
    for sql in [
        "SELECT * FROM demo.quakes",
        "SELECT min(id), max(place), count(*) FROM demo.quakes WHERE false",
        "SELECT NULL, 1 AS a, [1, NULL] AS list",
        "EXPLAIN SELECT 1",
    ] {
        let told = house.engine.describe(&Caller::Anonymous, request(sql)).await.expect(sql);
        assert_eq!(told.schema, house.start(request(sql)).await.expect(sql).schema(), "{sql}");
        assert!(told.parameters.is_empty(), "{sql}");
    }
}

#[tokio::test]
async fn parameters_are_found_in_the_order_of_their_numbers() {
    let house = House::new().await;
    let later = |sql: &str| QueryRequest { params: Params::Later, ..request(sql) };
    let describe = |sql: &'static str| house.engine.describe(&Caller::Anonymous, later(sql));
    let told = describe("SELECT id FROM demo.quakes WHERE place = $2 AND \"Mag\" > $1").await.expect("described");
    let expected = [("1".to_owned(), Some(DataType::Float64)), ("2".to_owned(), Some(DataType::Utf8))];
    assert_eq!(told.parameters, expected);
    let many = (1..=12).map(|n| format!("${n} AS c{n}")).collect::<Vec<_>>().join(", ");
    let told = house.engine.describe(&Caller::Anonymous, later(&format!("SELECT {many}"))).await.expect("described");
    let names: Vec<String> = told.parameters.into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, (1..=12).map(|n| n.to_string()).collect::<Vec<_>>());
    assert_eq!(told.schema.fields().len(), 12);
}

#[tokio::test]
async fn a_plan_is_used_once_by_the_request_that_it_was_made_for() {
    let house = House::new().await;
    // The time that a plan was made at tells which plan ran.
    let asked = named("q1", "SELECT now() AS made");
    house.engine.describe(&Caller::Anonymous, asked.clone()).await.expect("described");
    let before = rows(&house, request("SELECT now() AS made")).await;
    let kept = rows(&house, asked.clone()).await;
    assert!(kept < before, "{kept} was made after {before}");
    // An id is free again once the last task of its query has ended.
    let again = loop {
        match house.start(asked.clone()).await {
            Err(QueryError::QueryIdInUse(_)) => tokio::task::yield_now().await,
            again => break again.expect("runs").try_collect::<Vec<RecordBatch>>().await.expect("rows"),
        }
    };
    assert!(pretty_format_batches(&again).expect("printable").to_string() > before, "it was used twice");

    // Any difference makes it another request.
    let changes: [fn(QueryRequest) -> QueryRequest; 3] = [
        |asked| QueryRequest { id: Some("other".to_owned()), ..asked },
        |asked| QueryRequest { limit: Some(10), ..asked },
        |asked| QueryRequest { time_zone: Some("Asia/Tokyo".to_owned()), ..asked },
    ];
    for (n, change) in changes.into_iter().enumerate() {
        let asked = named(&format!("c{n}"), "SELECT now() AS made");
        house.engine.describe(&Caller::Anonymous, asked.clone()).await.expect("described");
        let before = rows(&house, request("SELECT now() AS made")).await;
        let other = change(asked);
        assert!(rows(&house, other.clone()).await > before, "{other:?}");
    }
}

#[tokio::test]
async fn a_plan_is_its_callers_own() {
    let house = House::new().await;
    let asked = named("q", "SELECT count(*) FROM demo.secret");
    house.engine.describe(&house.owner, asked.clone()).await.expect("described");
    let Err(refused) = house.start(asked.clone()).await else { panic!("nobody reads it") };
    assert_eq!(refused.code(), "dataset_not_found");
    let batches: Vec<RecordBatch> =
        house.engine.query(&house.owner, asked).await.expect("runs").try_collect().await.expect("rows");
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 1);
}
