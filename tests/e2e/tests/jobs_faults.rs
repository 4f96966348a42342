//! Jobs whose gateway is killed or paused, results that are too large, and the time for which they are kept.

use std::time::{Duration, Instant};

use lakegate_e2e::{Azurite, Bucket, Client, Gateway, Moto, Options, Postgres, Result, process};
use serde_json::json;

use crate::jobs::{ENDLESS, submit, until};

/// Takes some seconds.
const LONG: &str = "SELECT count(*) AS n FROM generate_series(1, 40000) a, generate_series(1, 40000) b \
                    WHERE a.value + b.value = 3";

/// How long anything here may take.
const SOON: Duration = Duration::from_secs(60);

/// The files of results that are kept below a folder.
fn kept(root: &std::path::Path) -> Vec<String> {
    let files = std::fs::read_dir(root.join("_results"));
    files.into_iter().flatten().filter_map(|file| file.ok()?.file_name().into_string().ok()).collect()
}

#[tokio::test]
async fn a_job_whose_gateway_is_killed_is_done_by_the_next() -> Result {
    let gateway = Options::serve()?.setting("jobs.lease", "2s").start().await?;
    let path = submit(gateway.client(), json!({ "kind": "query", "sql": LONG })).await?;
    until(gateway.client(), &path, "running").await?;
    let gateway = gateway.kill().await?.start().await?;
    let job = until(gateway.client(), &path, "done").await?;
    assert_eq!((&job["attempts"], &job["result"]["rows"]), (&json!(2), &json!(1)));
    let answer = gateway.client().get(&format!("{path}/result")).await?.expect(200)?.json()?;
    assert_eq!(answer["rows"], json!([{ "n": 2 }]));
    assert_eq!(kept(&gateway.options().kept().join("lake/root")).len(), 1);
    Ok(())
}

#[tokio::test]
async fn one_that_ends_every_gateway_is_given_up() -> Result {
    let mut gateway = Options::serve()?.setting("jobs.lease", "500ms").start().await?;
    let path = submit(gateway.client(), json!({ "kind": "query", "sql": ENDLESS })).await?;
    for attempt in 1..=3 {
        let begun = Instant::now();
        while until(gateway.client(), &path, "running").await?["attempts"] != attempt {
            assert!(begun.elapsed() < SOON, "attempt {attempt} is not begun");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        gateway = gateway.kill().await?.start().await?;
    }
    let begun = Instant::now();
    let job = loop {
        let job = gateway.client().get(&path).await?.expect(200)?.json()?;
        if job["state"] == "failed" {
            break job;
        }
        assert!(begun.elapsed() < SOON, "{job}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!((&job["error"]["code"], &job["attempts"]), (&json!("job_lost"), &json!(3)));
    Ok(())
}

/// The gateway in whose hands the job is: the one that lists its query.
async fn holder(gateways: &[Gateway; 2], path: &str) -> Result<usize> {
    let id = path.rsplit('/').next().ok_or("an id")?.to_owned();
    let begun = Instant::now();
    loop {
        for (at, gateway) in gateways.iter().enumerate() {
            if gateway.client().get(&format!("/v1/queries/{id}-1")).await?.status == 200 {
                return Ok(at);
            }
        }
        assert!(begun.elapsed() < SOON, "nobody has the job");
    }
}

async fn lost(client: &Client) -> Result<bool> {
    let metrics = client.get("/metrics").await?.expect(200)?.text();
    Ok(metrics.contains("lakegate_jobs_ended_total{kind=\"query\",state=\"lost\"} 1"))
}

#[tokio::test]
async fn a_gateway_that_was_paused_past_the_lease_changes_nothing_when_it_goes_on() -> Result {
    let postgres = Postgres::start().await?;
    let tables = tempfile::TempDir::with_prefix("lakegate-tables-")?;
    let root = format!("file://{}", tables.path().display());
    let options = || -> Result<Options> {
        let options = Options::serve()?.setting("catalog.database_url", postgres.url());
        Ok(options.setting("storage.root", &root).setting("jobs.lease", "2s"))
    };
    let first = options()?.start().await?;
    let second = options()?.owned(first.token()).start().await?;
    let gateways = [first, second];
    let path = submit(gateways[0].client(), json!({ "kind": "query", "sql": LONG })).await?;
    let holder = holder(&gateways, &path).await?;
    let (paused, other) = (&gateways[holder], &gateways[1 - holder]);
    process::signal(paused.pid()?, "STOP")?;
    let done = until(other.client(), &path, "done").await;
    process::signal(paused.pid()?, "CONT")?;
    let done = done?;
    assert_eq!((&done["attempts"], &done["result"]["rows"]), (&json!(2), &json!(1)));
    // It learns that the job is not its own any more, by its clock or by what the catalog says.
    let begun = Instant::now();
    while !lost(paused.client()).await? {
        assert!(begun.elapsed() < SOON, "it did not learn of it: {}", paused.output());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for gateway in &gateways {
        assert_eq!(gateway.client().get(&path).await?.expect(200)?.json()?, done, "the job changed");
        let answer = gateway.client().get(&format!("{path}/result")).await?.expect(200)?.json()?;
        assert_eq!(answer["rows"], json!([{ "n": 2 }]));
    }
    let id = path.rsplit('/').next().ok_or("an id")?;
    assert!(kept(tables.path()).contains(&format!("{id}-2.parquet")), "{:?}", kept(tables.path()));
    Ok(())
}

#[tokio::test]
async fn a_result_that_is_too_large_is_not_kept() -> Result {
    let gateway = Options::serve()?.setting("jobs.max_result", "64KiB").start().await?;
    let client = gateway.client();
    let sql = "SELECT random() AS a, random() AS b FROM generate_series(1, 1000000)";
    let path = submit(client, json!({ "kind": "query", "sql": sql })).await?;
    let job = until(client, &path, "failed").await?;
    assert_eq!((&job["error"]["code"], &job["attempts"]), (&json!("result_too_large"), &json!(1)));
    assert!(job["error"]["detail"].as_str().is_some_and(|detail| detail.contains("65536")), "{job}");
    client.get(&format!("{path}/result")).await?.expect_problem(409, "job_not_done")?;
    assert_eq!(kept(&gateway.options().kept().join("lake/root")), [] as [String; 0]);
    let fits = submit(client, json!({ "kind": "query", "sql": "SELECT random() AS a" })).await?;
    until(client, &fits, "done").await?;
    Ok(())
}

#[tokio::test]
async fn a_job_and_its_result_are_forgotten_after_a_while() -> Result {
    let gateway = Options::serve()?.setting("jobs.results_for", "3s").start().await?;
    let (client, root) = (gateway.client(), gateway.options().kept().join("lake/root"));
    let path = submit(client, json!({ "kind": "query", "sql": "SELECT 1 AS a" })).await?;
    until(client, &path, "done").await?;
    client.get(&format!("{path}/result")).await?.expect(200)?;
    assert_eq!(kept(&root).len(), 1);
    let begun = Instant::now();
    while client.get(&path).await?.status != 404 {
        assert!(begun.elapsed() < SOON, "it is still there");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(begun.elapsed() > Duration::from_secs(1), "it was forgotten too early");
    client.get(&format!("{path}/result")).await?.expect_problem(404, "job_not_found")?;
    assert_eq!(kept(&root), [] as [String; 0]);
    Ok(())
}

/// Larger than one part of an upload.
const LARGE: &str = "SELECT value AS n, random() AS a, random() AS b FROM generate_series(1, 1000000)";

async fn is_kept_in(bucket: &Bucket, uploads: bool) -> Result {
    let gateway = bucket.options()?.setting("jobs.results_for", "10s").start().await?;
    let client = gateway.client();
    let path = submit(client, json!({ "kind": "query", "sql": LARGE })).await?;
    let job = until(client, &path, "done").await?;
    let file = client.get(&format!("{path}/result?format=parquet")).await?.expect(200)?;
    assert_eq!(json!(file.body.len()), job["result"]["bytes"]);
    assert!(file.body.len() > 9 << 20, "{} bytes fit one part", file.body.len());
    let lines = client.get(&format!("{path}/result?format=csv")).await?.expect(200)?.text();
    assert_eq!(lines.lines().count(), 1_000_001);
    // One that is given up in its middle leaves no part behind.
    let endless = LARGE.replace("1000000", "2000000000");
    let given_up = submit(client, json!({ "kind": "query", "sql": endless })).await?;
    let begun = Instant::now();
    while client.get(&given_up).await?.json()?["progress"]["done"].as_u64().unwrap_or(0) < 1_000_000 {
        assert!(begun.elapsed() < SOON, "it does not get on");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    client.delete(&given_up).await?.expect(202)?;
    until(client, &given_up, "cancelled").await?;
    while uploads && !bucket.uploads().await?.is_empty() {
        assert!(begun.elapsed() < SOON, "an upload is left open");
    }
    // And in the end nothing is left.
    while !bucket.keys("lake/_results").await?.is_empty() {
        assert!(begun.elapsed() < SOON, "{:?}", bucket.keys("lake/_results").await?);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

#[tokio::test]
async fn a_result_is_kept_in_a_bucket_of_s3() -> Result {
    let moto = Moto::start().await?;
    is_kept_in(&moto.bucket("lake").await?, true).await
}

#[tokio::test]
async fn a_result_is_kept_in_a_container_of_azure() -> Result {
    let azurite = Azurite::start().await?;
    is_kept_in(&azurite.bucket("lake").await?, false).await
}

#[tokio::test]
async fn a_result_without_a_job_is_removed() -> Result {
    let gateway = Gateway::start().await?;
    let root = gateway.options().kept().join("lake/root");
    let path = submit(gateway.client(), json!({ "kind": "query", "sql": "SELECT 1 AS a" })).await?;
    until(gateway.client(), &path, "done").await?;
    let (options, _) = gateway.stop().await?;
    let stray = "019aa000-0000-7000-8000-000000000000-1.parquet";
    std::fs::write(root.join("_results").join(stray), "left")?;
    let gateway = options.start().await?;
    let begun = Instant::now();
    while kept(&root).iter().any(|name| name == stray) {
        assert!(begun.elapsed() < SOON, "it stays");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    gateway.client().get(&format!("{path}/result")).await?.expect(200)?;
    Ok(())
}
