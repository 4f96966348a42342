//! What is told of queries while they run and afterwards, and the way to stop one.

use std::time::{Duration, Instant};

use futures::StreamExt;
use lakegate_e2e::{Answer, Client, Gateway, Result, process};
use reqwest::Method;
use serde_json::{Value, json};

/// Runs for minutes and uses a whole processor.
const ENDLESS: &str = "SELECT count(*) FROM generate_series(1, 10000000) a, generate_series(1, 10000000) b \
                       WHERE a.value + b.value < 0";

/// Fails long after its first rows are out.
const LATE: &str = "SELECT 1 / (value - 3000000) AS x FROM generate_series(1, 5000000)";

async fn principal(owner: &Client, name: &str) -> Result<Client> {
    owner.post("/v1/principals", &json!({ "name": name })).await?.expect(201)?;
    let made = owner.post("/v1/tokens", &json!({ "principal": name, "name": "t" })).await?.expect(201)?.json()?;
    Ok(owner.with_token(made["token"].as_str().ok_or("no token")?))
}

/// Starts a statement under an id; the answer comes when it has ended.
fn start(client: &Client, id: &str, sql: &str) -> tokio::task::JoinHandle<Result<Answer>> {
    let request = client.request(Method::POST, "/v1/query").header("lakegate-query-id", id);
    let request = request.json(&json!({ "sql": sql }));
    tokio::spawn(async move { Answer::of(request).await })
}

async fn shown(client: &Client, id: &str) -> Result<Value> {
    client.get(&format!("/v1/queries/{id}")).await?.expect(200)?.json()
}

async fn until(client: &Client, id: &str, state: &str) -> Result<Value> {
    let patience = Instant::now();
    loop {
        let answer = client.get(&format!("/v1/queries/{id}")).await?;
        if answer.status == 200 && answer.json()?["state"] == state {
            return answer.json();
        }
        assert!(patience.elapsed() < Duration::from_secs(20), "{id} is not {state}: {}", answer.text());
    }
}

/// Processor time that the gateway uses during half a second.
async fn busy(pid: u32) -> Result<Duration> {
    let before = process::processor_time(pid)?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    Ok(process::processor_time(pid)?.saturating_sub(before))
}

#[tokio::test]
async fn a_query_is_listed_with_what_it_read_and_answered() -> Result {
    let gateway = Gateway::demo().await?;
    let client = gateway.client();
    let sql = "SELECT iata FROM demo.airports WHERE state = 'RI'";
    let id = client.query(sql).await?.expect(200)?.json()?["query_id"].as_str().ok_or("no id")?.to_owned();
    let one = shown(client, &id).await?;
    assert_eq!((&one["state"], &one["rows"], &one["sql"]), (&json!("done"), &json!(6), &json!(sql)));
    assert_eq!(one["versions"], json!({ "demo.airports": 1 }));
    assert!(one["bytes"].as_u64() > Some(0) && one["error"].is_null(), "{one}");
    let list = client.get("/v1/queries?limit=1").await?.expect(200)?.json()?;
    assert_eq!(list["items"][0]["id"], id.as_str());
    client.get("/v1/queries?limit=0").await?.expect(400)?;
    client.get("/v1/queries/absent").await?.expect_problem(404, "query_not_found")?;
    Ok(())
}

#[tokio::test]
async fn the_list_goes_on_page_after_page() -> Result {
    let gateway = Gateway::start().await?;
    let client = gateway.client();
    for n in 0..5 {
        client.query(&format!("SELECT {n} AS n")).await?.expect(200)?;
    }
    let mut seen = Vec::new();
    let mut path = "/v1/queries?limit=2".to_owned();
    loop {
        let page = client.get(&path).await?.expect(200)?.json()?;
        seen.extend(page["items"].as_array().into_iter().flatten().map(|item| item["sql"].clone()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/v1/queries?limit=2&cursor={next}");
    }
    assert_eq!(seen, (0..5).rev().map(|n| json!(format!("SELECT {n} AS n"))).collect::<Vec<_>>());
    Ok(())
}

#[tokio::test]
async fn a_cancelled_query_gives_the_processor_back_within_a_second() -> Result {
    let gateway = Gateway::start().await?;
    let (client, pid) = (gateway.client(), gateway.pid()?);
    let query = start(client, "mine", ENDLESS);
    until(client, "mine", "running").await?;
    start(client, "mine", "SELECT 1").await??.expect_problem(409, "query_id_in_use")?;
    let cancelled = Instant::now();
    client.delete("/v1/queries/mine").await?.expect(204)?;
    query.await??.expect_problem(499, "query_cancelled")?;
    while busy(pid).await? > Duration::from_millis(50) {
        assert!(cancelled.elapsed() < Duration::from_secs(3), "still busy after {:?}", cancelled.elapsed());
    }
    // The measurement itself takes half a second, and it must have begun within one.
    assert!(cancelled.elapsed() <= Duration::from_millis(1600), "{:?}", cancelled.elapsed());
    assert_eq!(shown(client, "mine").await?["state"], "cancelled");
    client.delete("/v1/queries/mine").await?.expect(204)?;
    client.delete("/v1/queries/other").await?.expect_problem(404, "query_not_found")?;
    Ok(())
}

#[tokio::test]
async fn nobody_sees_or_stops_the_queries_of_others_but_the_owner() -> Result {
    let gateway = Gateway::start().await?;
    let owner = gateway.client();
    let (ann, bob) = (principal(owner, "ann").await?, principal(owner, "bob").await?);
    let query = start(&ann, "of-ann", ENDLESS);
    until(&ann, "of-ann", "running").await?;
    assert_eq!(shown(&ann, "of-ann").await?["principal"], "ann");
    let ids = |list: &Value| -> Vec<Value> {
        list["items"].as_array().into_iter().flatten().map(|item| item["id"].clone()).collect()
    };
    for other in [&bob, &owner.anonymous()] {
        other.get("/v1/queries/of-ann").await?.expect_problem(404, "query_not_found")?;
        other.delete("/v1/queries/of-ann").await?.expect_problem(404, "query_not_found")?;
        assert_eq!(ids(&other.get("/v1/queries").await?.expect(200)?.json()?), [] as [Value; 0]);
    }
    assert_eq!(ids(&owner.get("/v1/queries").await?.expect(200)?.json()?), ["of-ann"]);
    owner.delete("/v1/queries/of-ann").await?.expect(204)?;
    query.await??.expect_problem(499, "query_cancelled")?;
    Ok(())
}

#[tokio::test]
async fn a_limited_token_reaches_only_what_was_asked_with_as_little() -> Result {
    let gateway = Gateway::start().await?;
    let owner = gateway.client();
    let ann = principal(owner, "ann").await?;
    let limited = async |client: &Client, token: Value| -> Result<Client> {
        let made = client.post("/v1/tokens", &token).await?.expect(201)?.json()?;
        Ok(client.with_token(made["token"].as_str().ok_or("no token")?))
    };
    let map = limited(&ann, json!({ "name": "map", "actions": ["read"], "datasets": ["geo.*"] })).await?;
    // An owner's that is not for managing is no owner's.
    let push = limited(owner, json!({ "name": "push", "actions": ["push"] })).await?;
    let query = start(&ann, "whole", ENDLESS);
    until(&ann, "whole", "running").await?;
    for other in [&map, &push] {
        other.get("/v1/queries/whole").await?.expect_problem(404, "query_not_found")?;
        other.delete("/v1/queries/whole").await?.expect_problem(404, "query_not_found")?;
        assert_eq!(other.get("/v1/queries").await?.expect(200)?.json()?["items"], json!([]));
    }
    start(&map, "narrow", "SELECT 1 AS a").await??.expect(200)?;
    for who in [&map, &ann, owner] {
        assert_eq!(shown(who, "narrow").await?["state"], "done");
    }
    ann.delete("/v1/queries/whole").await?.expect(204)?;
    query.await??.expect_problem(499, "query_cancelled")?;
    Ok(())
}

#[tokio::test]
async fn without_a_token_only_an_id_made_here_leads_to_a_query() -> Result {
    let gateway = Gateway::start().await?;
    let anyone = gateway.client().anonymous();
    let id = anyone.query("SELECT 1 AS a").await?.expect(200)?.json()?["query_id"].as_str().ok_or("no id")?.to_owned();
    assert_eq!(shown(&anyone, &id).await?["state"], "done");
    start(&anyone, "guessed", "SELECT 1 AS a").await??.expect(200)?;
    anyone.get("/v1/queries/guessed").await?.expect_problem(404, "query_not_found")?;
    Ok(())
}

#[tokio::test]
async fn a_caller_that_leaves_has_cancelled_its_query() -> Result {
    let gateway = Gateway::start().await?;
    let query = start(gateway.client(), "left", ENDLESS);
    until(gateway.client(), "left", "running").await?;
    query.abort();
    let ended = until(gateway.client(), "left", "cancelled").await?;
    assert_eq!(ended["error"]["code"], "query_cancelled");
    Ok(())
}

/// An error after the first byte: in the body where the format has a place for it, else the body breaks off. The
/// query's page has it always.
#[tokio::test]
async fn a_late_error_is_told_in_each_format_and_afterwards() -> Result {
    let gateway = Gateway::start().await?;
    let client = gateway.client();
    for format in ["json", "ndjson", "csv", "arrow"] {
        let request = client.request(Method::POST, &format!("/v1/query?format={format}"));
        let request = request.header("lakegate-query-id", format);
        let response = request.json(&json!({ "sql": LATE, "limit": 5_000_000 })).send().await?;
        assert_eq!(response.status().as_u16(), 200, "{format}");
        let mut tail = Vec::new();
        let mut whole = true;
        let mut chunks = response.bytes_stream();
        while let Some(chunk) = chunks.next().await {
            match chunk {
                Ok(chunk) => {
                    tail.extend_from_slice(&chunk);
                    tail.drain(..tail.len().saturating_sub(1_000));
                }
                Err(_) => whole = false,
            }
        }
        let tail = String::from_utf8_lossy(&tail).into_owned();
        match format {
            "json" => assert!(
                whole
                    && tail.contains("],\"row_count\":")
                    && tail.contains("\"error\":{\"code\":\"evaluation_failed\""),
                "{tail}"
            ),
            "ndjson" => assert!(
                whole
                    && tail
                        .lines()
                        .last()
                        .is_some_and(|l| l.starts_with("{\"$error\":{\"code\":\"evaluation_failed\"")),
                "{tail}"
            ),
            _ => assert!(!whole, "{format} ended as if it were whole"),
        }
        let told = shown(client, format).await?;
        assert_eq!(
            (&told["state"], &told["error"]["code"]),
            (&json!("failed"), &json!("evaluation_failed")),
            "{format}"
        );
        assert!(told["rows"].as_u64() > Some(0), "{told}");
    }
    Ok(())
}

#[tokio::test]
async fn an_early_error_is_told_too() -> Result {
    let gateway = Gateway::start().await?;
    start(gateway.client(), "wrong", "SELECT no_such FROM demo.nothing").await??.expect(404)?;
    let told = shown(gateway.client(), "wrong").await?;
    assert_eq!((&told["state"], &told["error"]["code"]), (&json!("failed"), &json!("dataset_not_found")));
    Ok(())
}

#[tokio::test]
async fn a_deadline_past_the_longest_is_refused() -> Result {
    let gateway = Gateway::start().await?;
    let body = json!({ "sql": "SELECT 1 AS a", "timeout": "2h" });
    let problem = gateway.client().post("/v1/query", &body).await?.expect_problem(400, "timeout_too_long")?.json()?;
    assert!(problem["detail"].as_str().is_some_and(|d| d.contains("3600s")), "{problem}");
    Ok(())
}
