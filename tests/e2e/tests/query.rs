//! SQL over REST: formats, parameters, limits, deadlines, and what happens when the caller leaves.

use std::time::{Duration, Instant};

use futures::StreamExt;
use lakegate_e2e::{Answer, Gateway, Result, process};
use reqwest::Method;
use serde_json::{Value, json};

const STRONGEST: &str = "SELECT id, mag FROM demo.earthquakes ORDER BY mag DESC, id LIMIT 3";

/// Runs for minutes and uses a whole processor.
const ENDLESS: &str = "SELECT count(*) FROM demo.flights a, demo.flights b, demo.flights c \
                       WHERE a.delay + b.delay = c.delay";

#[tokio::test]
async fn an_answer_says_what_was_read() -> Result {
    let gateway = Gateway::demo().await?;
    let answer = gateway.client().query(STRONGEST).await?.expect(200)?;
    let body = answer.json()?;
    assert_eq!(body["row_count"], 3);
    assert_eq!(body["truncated"], false);
    assert_eq!(body["schema"][1]["name"], "mag");
    assert_eq!(body["schema"][1]["type"], "double");
    assert_eq!(body["versions"]["demo.earthquakes"], 1);
    assert_eq!(body["rows"][0]["mag"], 6.4);
    assert!(body["elapsed_ms"].is_number(), "{body}");
    assert_eq!(answer.header("lakegate-query-id"), body["query_id"].as_str().unwrap_or("none"));
    assert_eq!(answer.header("lakegate-versions"), "demo.earthquakes=1");
    Ok(())
}

#[tokio::test]
async fn every_format_has_the_same_rows() -> Result {
    let gateway = Gateway::demo().await?;
    let rows = gateway.client().rows(STRONGEST).await?;
    for (format, media_type) in [
        ("json", "application/json"),
        ("ndjson", "application/x-ndjson"),
        ("csv", "text/csv"),
        ("arrow", "application/vnd.apache.arrow.stream"),
    ] {
        let request = gateway.client().request(Method::POST, &format!("/v1/query?format={format}"));
        let by_name = Answer::of(request.json(&json!({ "sql": STRONGEST }))).await?.expect(200)?;
        let request = gateway.client().request(Method::POST, "/v1/query").header("accept", media_type);
        let by_accept = Answer::of(request.json(&json!({ "sql": STRONGEST }))).await?.expect(200)?;
        for answer in [&by_name, &by_accept] {
            assert!(answer.header("content-type").starts_with(media_type), "{format}");
        }
        match format {
            "ndjson" => {
                let lines: Vec<Value> =
                    by_name.text().lines().map(serde_json::from_str).collect::<std::result::Result<_, _>>()?;
                assert_eq!(lines, rows);
            }
            "csv" => {
                let text = by_name.text();
                assert_eq!(text.lines().next(), Some("id,mag"));
                assert_eq!(text.lines().count(), 4);
            }
            "arrow" => assert!(by_name.body.starts_with(&[0xff, 0xff, 0xff, 0xff]), "an IPC stream"),
            _ => {}
        }
    }
    let request = gateway.client().request(Method::POST, "/v1/query").header("accept", "image/png");
    Answer::of(request.json(&json!({ "sql": STRONGEST }))).await?.expect(406)?;
    Ok(())
}

#[tokio::test]
async fn parameters_are_values_and_never_text() -> Result {
    let gateway = Gateway::demo().await?;
    let cases = [
        json!({ "sql": "SELECT count(*) AS n FROM demo.airports WHERE state = $1 AND latitude > $2", "params": ["TX", 30] }),
        json!({ "sql": "SELECT count(*) AS n FROM demo.airports WHERE state = ? AND latitude > ?", "params": ["TX", 30] }),
        json!({ "sql": "SELECT count(*) AS n FROM demo.airports WHERE state = $s AND latitude > $lat", "params": { "s": "TX", "lat": 30 } }),
    ];
    let direct = "SELECT count(*) AS n FROM demo.airports WHERE state = 'TX' AND latitude > 30";
    let expected = gateway.client().rows(direct).await?;
    for case in cases {
        let answer = gateway.client().post("/v1/query", &case).await?.expect(200)?.json()?;
        assert_eq!(answer["rows"], Value::Array(expected.clone()), "{case}");
    }
    let quoted =
        json!({ "sql": "SELECT count(*) AS n FROM demo.airports WHERE state = $1", "params": ["' OR '1'='1"] });
    let answer = gateway.client().post("/v1/query", &quoted).await?.expect(200)?.json()?;
    assert_eq!(answer["rows"][0]["n"], 0);
    for bad in [json!([]), json!(["TX", 30, 1]), json!({ "s": "TX" })] {
        let body = json!({ "sql": "SELECT $1 AS a, $2 AS b", "params": bad });
        gateway.client().post("/v1/query", &body).await?.expect_problem(400, "invalid_parameters")?;
    }
    Ok(())
}

#[tokio::test]
async fn a_limit_caps_and_says_so() -> Result {
    let gateway = Gateway::demo().await?;
    for (limit, rows, truncated) in [(Some(5), 5, true), (Some(20_000), 20_000, false), (None, 10_000, true)] {
        let mut body = json!({ "sql": "SELECT origin FROM demo.flights" });
        if let Some(limit) = limit {
            body["limit"] = json!(limit);
        }
        let answer = gateway.client().post("/v1/query", &body).await?.expect(200)?.json()?;
        assert_eq!((&answer["row_count"], &answer["truncated"]), (&json!(rows), &json!(truncated)), "{limit:?}");
    }
    Ok(())
}

#[tokio::test]
async fn ndjson_has_no_default_limit() -> Result {
    let gateway = Gateway::demo().await?;
    let request = gateway.client().request(Method::POST, "/v1/query?format=ndjson");
    let answer = Answer::of(request.json(&json!({ "sql": "SELECT origin FROM demo.flights" }))).await?.expect(200)?;
    assert_eq!(answer.body.iter().filter(|byte| **byte == b'\n').count(), 20_000);
    Ok(())
}

#[tokio::test]
async fn a_syntax_error_says_where() -> Result {
    let gateway = Gateway::start().await?;
    let problem = gateway
        .client()
        .query("SELECT 1\nFROM demo.flights WHERE )")
        .await?
        .expect_problem(400, "syntax_error")?
        .json()?;
    assert_eq!(problem["position"]["line"], 2, "{problem}");
    assert_eq!(problem["type"], "urn:lakegate:error:syntax_error");
    assert!(problem["request_id"].is_string(), "{problem}");
    Ok(())
}

#[tokio::test]
async fn a_deadline_ends_the_query() -> Result {
    let gateway = Gateway::demo().await?;
    let started = Instant::now();
    let body = json!({ "sql": ENDLESS, "timeout": "500ms" });
    gateway.client().post("/v1/query", &body).await?.expect_problem(422, "query_deadline")?;
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    Ok(())
}

/// Processor time that the gateway uses during half a second.
async fn busy(pid: u32) -> Result<Duration> {
    let before = process::processor_time(pid)?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    Ok(process::processor_time(pid)?.saturating_sub(before))
}

#[tokio::test]
async fn a_caller_that_leaves_gives_the_processor_back_within_a_second() -> Result {
    let gateway = Gateway::demo().await?;
    let pid = gateway.pid()?;
    let request =
        gateway.client().request(Method::POST, "/v1/query").json(&json!({ "sql": ENDLESS, "timeout": "60s" }));
    let query = tokio::spawn(request.send());
    let patience = Instant::now();
    while busy(pid).await? < Duration::from_millis(300) {
        assert!(patience.elapsed() < Duration::from_secs(20), "the query never got going");
    }
    query.abort();
    let left = Instant::now();
    while busy(pid).await? > Duration::from_millis(50) {
        assert!(left.elapsed() < Duration::from_secs(2), "still busy after {:?}", left.elapsed());
    }
    // The measurement itself takes half a second, and it must have begun within one.
    assert!(left.elapsed() <= Duration::from_millis(1600), "{:?}", left.elapsed());
    Ok(())
}

#[tokio::test]
async fn least_and_greatest_are_found_behind_nothing() -> Result {
    let gateway = Gateway::start().await?;
    let client = gateway.client();
    client.create("lab.sparse", &[("n", "bigint"), ("word", "string")]).await?.expect(201)?;
    for rows in ["{}\n{}\n", "{}\n", "{\"n\":9,\"word\":\"i\"}\n", "{\"n\":0,\"word\":\"a\"}\n"] {
        client.push("lab.sparse", rows).await?.expect(200)?;
    }
    let answer =
        client.query("SELECT min(n) AS a, max(n) AS b, min(word) AS c, max(word) AS d FROM lab.sparse").await?;
    assert_eq!(answer.expect(200)?.json()?["rows"], json!([{ "a": 0, "b": 9, "c": "a", "d": "i" }]));
    Ok(())
}

#[tokio::test]
async fn rows_arrive_before_the_query_has_ended() -> Result {
    let gateway = Gateway::demo().await?;
    let sql = "SELECT a.origin, b.destination FROM demo.flights a CROSS JOIN demo.flights b";
    let request = gateway.client().request(Method::POST, "/v1/query?format=ndjson").json(&json!({ "sql": sql }));
    let mut chunks = request.send().await?.bytes_stream();
    // 400 million rows would take minutes; the first megabyte is here at once.
    let mut seen = 0;
    while seen < 1 << 20 {
        seen += chunks.next().await.ok_or("it ended early")??.len();
    }
    drop(chunks);
    assert!(process::peak_memory(gateway.pid()?)? < 800 * process::MIB);
    Ok(())
}

#[tokio::test]
async fn an_error_after_the_first_row_is_in_the_body() -> Result {
    let gateway = Gateway::demo().await?;
    let sql = "SELECT 1 / (distance - 1497) AS x FROM demo.flights";
    let request = gateway.client().request(Method::POST, "/v1/query?format=ndjson").json(&json!({ "sql": sql }));
    let answer = Answer::of(request).await?;
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    let last: Value = serde_json::from_str(text.lines().last().ok_or("no line")?)?;
    let code = if answer.status == 200 { &last["$error"]["code"] } else { &last["code"] };
    assert_eq!(code, "evaluation_failed");
    Ok(())
}

#[tokio::test]
async fn explain_shows_no_path_of_the_host() -> Result {
    let gateway = Gateway::demo().await?;
    let answer =
        gateway.client().query("EXPLAIN SELECT origin FROM demo.flights WHERE delay > 60").await?.expect(200)?;
    let folder = gateway.options().folder().to_string_lossy().into_owned();
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    assert!(!text.contains(&folder) && !text.contains("/tmp/") && !text.contains("file://"), "{text}");
    Ok(())
}

#[tokio::test]
async fn explain_analyze_runs_within_the_limits_and_shows_rows_and_no_path() -> Result {
    let gateway = Gateway::demo().await?;
    let sql = "EXPLAIN ANALYZE SELECT origin, count(*) FROM demo.flights@v1 WHERE delay > 60 GROUP BY origin";
    let answer = gateway.client().query(sql).await?.expect(200)?;
    let folder = gateway.options().folder().to_string_lossy().into_owned();
    let text = answer.text();
    for hidden in [folder.as_str(), "/tmp/", "file://", "lake://", ".parquet", "127.0.0.1"] {
        assert!(!text.contains(hidden), "{hidden} in {text}");
    }
    let body = answer.json()?;
    let plan = body["rows"][1]["plan"].as_str().ok_or("no plan")?;
    assert!(
        plan.contains("AggregateExec") && plan.contains("output_rows=") && plan.contains("elapsed_compute="),
        "{plan}"
    );
    assert_eq!((&body["row_count"], &body["versions"]), (&json!(2), &json!({ "demo.flights": 1 })));
    let body = json!({ "sql": format!("EXPLAIN ANALYZE {ENDLESS}"), "timeout": "500ms" });
    gateway.client().post("/v1/query", &body).await?.expect_problem(422, "query_deadline")?;
    Ok(())
}

#[tokio::test]
async fn a_caller_may_choose_the_query_id() -> Result {
    let gateway = Gateway::start().await?;
    let request = gateway.client().request(Method::POST, "/v1/query").header("lakegate-query-id", "mine-1");
    let answer = Answer::of(request.json(&json!({ "sql": "SELECT 1 AS a" }))).await?.expect(200)?;
    assert_eq!(answer.json()?["query_id"], "mine-1");
    let request = gateway.client().request(Method::POST, "/v1/query").header("lakegate-query-id", "not an id");
    Answer::of(request.json(&json!({ "sql": "SELECT 1 AS a" }))).await?.expect_problem(400, "invalid_query_id")?;
    Ok(())
}
