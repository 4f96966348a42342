//! Deadlines, budgets, quotas, slots; and that what was taken is given back.

use std::time::{Duration, Instant};

use futures::StreamExt;
use lakegate_query::{QueryError, QueryRequest};

use crate::house::{House, request};

/// Statements that would run for minutes or for ever.
const ENDLESS: &[&str] = &[
    "SELECT count(*) FROM generate_series(1, 100000000000)",
    "SELECT count(*) FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b WHERE a.value + b.value < 0",
    "SELECT count(*) FROM generate_series(1, 1000000) a CROSS JOIN generate_series(1, 1000000) b",
    "SELECT count(*) FROM generate_series(1, 1000000) a JOIN generate_series(1, 1000000) b ON a.value % 1 = b.value % 1",
    "SELECT count(*) FROM generate_series(1, 300000) a JOIN generate_series(1, 300000) b ON a.value % 1 = b.value % 1 AND a.value + b.value < 0",
    "SELECT count(*) FROM generate_series(1, 1000000) a FULL JOIN generate_series(1, 1000000) b ON a.value + b.value < 0",
    "SELECT count(*) FROM generate_series(1, 1000000) a WHERE NOT EXISTS (SELECT 1 FROM generate_series(1, 1000000) b WHERE a.value + b.value < 0)",
    "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n",
    "WITH RECURSIVE n AS (SELECT 1 AS i UNION SELECT 1 - i FROM n WHERE i >= 0) SELECT count(*) FROM n, generate_series(1, 100000000000)",
    "SELECT sum(value) OVER (ORDER BY value ROWS BETWEEN 100000 PRECEDING AND CURRENT ROW) FROM generate_series(1, 100000000)",
    "SELECT * FROM generate_series(1, 100000000000) WHERE value < 0",
];

async fn idle(house: &House) -> Duration {
    let start = Instant::now();
    loop {
        let usage = house.engine.usage();
        if usage.running == 0 && usage.memory_reserved == 0 {
            return start.elapsed();
        }
        if start.elapsed() > Duration::from_secs(5) {
            return start.elapsed();
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn endless_queries_end_at_their_deadline_and_give_everything_back() {
    let house = House::new().await;
    for sql in ENDLESS {
        let start = Instant::now();
        let request = QueryRequest { timeout: Some(Duration::from_millis(500)), ..request(sql) };
        let error = match house.start(request).await {
            Ok(mut stream) => loop {
                match stream.next().await {
                    Some(Ok(_)) => {}
                    Some(Err(error)) => break error,
                    None => panic!("ended: {sql}"),
                }
            },
            Err(error) => error,
        };
        assert_eq!(error.code(), "query_deadline", "{sql}: {error}");
        assert!(start.elapsed() < Duration::from_secs(2), "{sql}: {:?}", start.elapsed());
        let left = idle(&house).await;
        assert!(left < Duration::from_secs(1), "{sql}: busy for {left:?} after its end");
    }
}

#[tokio::test]
async fn a_dropped_stream_gives_everything_back() {
    let house = House::new().await;
    for sql in ENDLESS {
        let stream = house.start(request(sql)).await.expect(sql);
        tokio::time::sleep(Duration::from_millis(200)).await;
        drop(stream);
        let left = idle(&house).await;
        assert!(left < Duration::from_secs(1), "{sql}: busy for {left:?} after it was dropped");
    }
}

#[tokio::test]
async fn a_query_that_keeps_too_much_is_refused() {
    let house = House::with(|options| options.memory_per_query = 20 << 20).await;
    // Lists do not spill.
    let sql = "SELECT array_agg(value) FROM generate_series(1, 20000000)";
    assert_eq!(house.code(sql).await, "query_memory_exhausted");
    assert!(idle(&house).await < Duration::from_secs(1));
}

#[tokio::test]
async fn sorts_spill_within_their_quota() {
    let sql = "SELECT value, repeat('x', 100) AS s FROM generate_series(1, 300000) ORDER BY (value * 7919) % 300007";
    let roomy = House::with(|options| options.memory_per_query = 40 << 20).await;
    assert_eq!(roomy.drain(sql).await.expect("spills"), 300_000);
    assert_eq!(roomy.engine.usage().spilled, 0, "spill files are gone");
    let tight = House::with(|options| {
        options.memory_per_query = 40 << 20;
        options.spill_per_query = 1 << 20;
    })
    .await;
    assert_eq!(tight.code(sql).await, "spill_quota_exceeded");
}

#[tokio::test]
async fn a_tiny_budget_ends_and_does_not_hang() {
    let house = House::with(|options| options.memory_per_query = 1 << 20).await;
    let sql = "SELECT value, repeat('x', 100) AS s FROM generate_series(1, 300000) ORDER BY (value * 7919) % 300007";
    let start = Instant::now();
    let request = QueryRequest { timeout: Some(Duration::from_secs(5)), ..request(sql) };
    let mut stream = house.start(request).await.expect("starts");
    let mut last = None;
    while let Some(batch) = stream.next().await {
        last = batch.err();
    }
    assert!(start.elapsed() < Duration::from_secs(7), "{last:?}");
}

#[tokio::test]
async fn more_queries_than_slots_wait_and_more_than_places_are_turned_away() {
    let house = House::with(|options| options.max_concurrent = 1).await;
    let endless = house.start(request(ENDLESS[0])).await.expect("runs");
    let short = || house.start(QueryRequest { timeout: Some(Duration::from_millis(300)), ..request("SELECT 1") });
    assert_eq!(short().await.expect_err("waits").code(), "query_deadline");
    let waiting = futures::future::join_all((0..9).map(|_| short())).await;
    let codes: Vec<&str> =
        waiting.iter().map(|answer| answer.as_ref().map_or_else(QueryError::code, |_| "ok")).collect();
    assert_eq!(codes.iter().filter(|code| **code == "too_many_queries").count(), 1, "{codes:?}");
    drop(endless);
    assert_eq!(house.value("SELECT 1").await.expect("the slot is free"), "1");
}

/// Readers that take nothing keep their places; not all of them are theirs.
#[tokio::test]
async fn one_caller_leaves_places_for_others() {
    let house = House::with(|options| options.max_concurrent = 16).await;
    let many = "SELECT repeat('x', 1000) FROM generate_series(1, 10000000)";
    let mut stalled = Vec::new();
    for _ in 0..14 {
        stalled.push(house.start(request(many)).await.expect("a place"));
    }
    let short = QueryRequest { timeout: Some(Duration::from_millis(300)), ..request("SELECT 1") };
    assert_eq!(house.start(short.clone()).await.expect_err("waits").code(), "query_deadline");
    let mut rows = house.engine.query(&house.owner, short).await.expect("has a place");
    assert!(rows.next().await.is_some_and(|batch| batch.is_ok()));
    drop(stalled);
}

/// What waits for a reader is counted, so that it is known which query holds most.
#[tokio::test]
async fn an_answer_that_waits_counts() {
    let house = House::new().await;
    let mut rows =
        house.start(request("SELECT repeat('x', 20000) FROM generate_series(1, 100000)")).await.expect("runs");
    assert!(rows.next().await.is_some_and(|batch| batch.is_ok()));
    let counted = async {
        while house.engine.usage().memory_reserved < 10 << 20 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), counted).await.expect("counted");
    drop(rows);
    idle(&house).await;
    assert_eq!(house.engine.usage().memory_reserved, 0);
}

#[tokio::test]
async fn query_ids_are_chosen_checked_and_unique_while_they_run() {
    let house = House::new().await;
    let named = |id: &str, sql: &str| house.start(QueryRequest { id: Some(id.to_owned()), ..request(sql) });
    let first = named("mine-1", ENDLESS[0]).await.expect("runs");
    assert_eq!(first.id(), "mine-1");
    assert_eq!(named("mine-1", "SELECT 1").await.expect_err("taken").code(), "query_id_in_use");
    drop(first);
    idle(&house).await;
    named("mine-1", "SELECT 1").await.expect("free again");
    for bad in ["", "a b", "é", &"x".repeat(65)] {
        assert_eq!(named(bad, "SELECT 1").await.expect_err(bad).code(), "invalid_query_id");
    }
    assert_ne!(
        house.start(request("SELECT 1")).await.expect("runs").id(),
        house.start(request("SELECT 1")).await.expect("runs").id()
    );
}

#[tokio::test]
async fn the_watchdog_stops_queries_when_the_process_is_too_large() {
    let house = House::with(|options| options.process_memory = 1).await;
    assert_eq!(house.code(ENDLESS[0]).await, "query_memory_exhausted");
}

#[tokio::test]
async fn a_slow_reader_holds_little() {
    let house = House::new().await;
    let sql = "SELECT value, repeat('x', 1000) AS s FROM generate_series(1, 5000000)";
    let mut stream = house.start(request(sql)).await.expect("runs");
    for _ in 0..5 {
        let batch = stream.next().await.expect("rows").expect("rows");
        let bytes: usize = batch.columns().iter().map(|c| c.to_data().get_slice_memory_size().expect("size")).sum();
        assert!(bytes <= 2 << 20, "a piece of {bytes} bytes");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let resident = memory_stats::memory_stats().expect("known").physical_mem;
    assert!(resident < 1 << 30, "{resident} bytes in memory");
}
