//! More than the gateway can do: what it took on it finishes, the rest is told to come back, and afterwards all is as
//! before.

use std::time::Duration;

use lakegate_e2e::{Answer, OpenPush, Options, Result, overload};
use serde_json::json;

/// How long each load lasts; `make soak` has longer ones.
const SLICE: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overload_costs_little_of_what_is_done_and_passes() -> Result {
    overload::measure(SLICE).await?.judge()
}

#[tokio::test]
async fn pushes_wait_for_memory_and_those_that_run_are_not_disturbed() -> Result {
    let options = Options::serve()?
        .setting("ingest.memory", "128MiB")
        .setting("ingest.max_queued", "1")
        .setting("ingest.queue_timeout", "300ms");
    let gateway = options.start().await?;
    let client = gateway.client();
    client.create("lab.large", &[("id", "bigint"), ("name", "string")]).await?.expect(201)?;
    // A body without a length counts as large: one has room beside what is kept for moments.
    let first = OpenPush::begin(client, "lab.large", None).await?;
    let next = client.push("lab.large", "{\"id\":1}\n").await?.expect_problem(503, "too_many_pushes")?;
    assert_eq!(next.header("retry-after"), "1");
    first.finish().await?.expect(200)?;
    client.push("lab.large", "{\"id\":1}\n").await?.expect(200)?;
    assert_eq!(client.count("lab.large").await?, OpenPush::BEGUN + 1);
    Ok(())
}

#[tokio::test]
async fn parquet_bodies_that_unpack_to_more_than_there_is_wait_for_each_other() -> Result {
    // Half of the memory is for unpacking, and each of these takes all of it for longer than the line is waited in.
    let options = Options::serve()?
        .setting("ingest.memory", "128MiB")
        .setting("ingest.max_queued", "1")
        .setting("ingest.queue_timeout", "100ms");
    let gateway = options.start().await?;
    let client = gateway.client();
    client.create("lab.large", &[("id", "bigint"), ("name", "string")]).await?.expect(201)?;
    let rows = 200_000;
    let noise = ["", "a", "b", "c"].map(|salt| format!("md5(concat(value, '{salt}'))")).join(", ");
    let sql = format!("SELECT value AS id, concat({noise}) AS name FROM generate_series(1, {rows})");
    let body = client.post("/v1/query", &json!({ "sql": sql, "format": "parquet" })).await?.expect(200)?.body;
    assert!(body.len() > 8 << 20, "{} bytes are too few to be unpacked one after another", body.len());
    let push = || client.push_request("lab.large", "application/vnd.apache.parquet", body.clone());
    for push in futures::future::join_all((0..3).map(|_| Answer::of(push()))).await {
        push?.expect(200)?;
    }
    assert_eq!(client.count("lab.large").await?, 3 * rows);
    Ok(())
}
