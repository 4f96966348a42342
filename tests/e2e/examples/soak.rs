//! The long proofs, each printed as a line of a report: `soak [kills] [faults] [push] [answer]`, all of them when
//! none is named. `make soak` runs it and keeps the report in `docs/soak/`.
//!
//! - kills: 50 times kill -9 under pushes; every acknowledged row exactly once
//! - faults: every fault of an object store 50 times; no row lost, doubled or changed
//! - push: 2 GiB of NDJSON in one push; the peak stays under idle + 256 MiB
//! - answer: 5 GB of rows to a reader of 1 MiB/s; the peak stays under idle + 256 MiB

use std::io::Write;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt;
use lakegate_e2e::process::{MIB, peak_memory, reset_peak};
use lakegate_e2e::{Answer, Client, Gateway, Options, Result, client, crash, faults};
use reqwest::Method;
use serde_json::json;

const KILLS: u32 = 50;
const FAULTS: u32 = 50;
const PUSH_BYTES: u64 = 2 << 30;
const ANSWER_BYTES: u64 = 5_000_000_000;
const READER_BYTES_PER_SECOND: f64 = 1_048_576.0;
const OVER_IDLE: u64 = 256 * MIB;

/// Longer than 5 GB take at 1 MiB/s.
const PATIENCE: Duration = Duration::from_secs(3 * 3600);

#[tokio::main]
async fn main() -> Result {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let asked = |name: &str| wanted.is_empty() || wanted.iter().any(|word| word == name);
    if asked("kills") {
        kills().await?;
    }
    if asked("faults") {
        deal_faults().await?;
    }
    if asked("push") {
        push().await?;
    }
    if asked("answer") {
        answer().await?;
    }
    Ok(())
}

fn report(line: &str) -> Result {
    Ok(writeln!(std::io::stdout().lock(), "{line}")?)
}

async fn kills() -> Result {
    let started = Instant::now();
    let mut tally = crash::rounds(KILLS).await?;
    // Where a kill lands is chance: a few more when too few met the moments that matter.
    while !tally.is_telling() && tally.rounds < 3 * KILLS {
        tally = tally.and(crash::rounds(KILLS / 2).await?);
    }
    report(&format!(
        "kills: {} times kill -9; {} pushes acknowledged, each of their rows there exactly once; {} pushes were open and \
         sent again, of which {} had a file and no commit, {} a commit and no answer; {} s",
        tally.rounds,
        tally.acknowledged,
        tally.sent_again,
        tally.file_without_commit,
        tally.commit_without_answer,
        started.elapsed().as_secs()
    ))?;
    if !tally.is_telling() {
        return Err("fewer than 5 kills met a push between file and commit, or between commit and answer".into());
    }
    Ok(())
}

async fn deal_faults() -> Result {
    let started = Instant::now();
    let dealt = faults::rounds(FAULTS).await?;
    let least = dealt.values().min().copied().unwrap_or(0);
    let sum: u32 = dealt.values().sum();
    report(&format!(
        "faults: {} kinds of fault, each dealt at least {least} times, {sum} in all; 0 rows lost, 0 doubled, 0 wrong for \
         queries, deltalake and duckdb; {} s",
        dealt.len(),
        started.elapsed().as_secs()
    ))
}

/// A gateway that lets one request take hours, and a client that waits as long.
async fn patient_gateway() -> Result<(Gateway, Client)> {
    let options = Options::demo()?.setting("query.max_timeout", "4h").setting("ingest.timeout", "4h");
    let gateway = options.start().await?;
    let client = Client::patient(gateway.base(), Some(gateway.token().to_owned()), PATIENCE)?;
    Ok((gateway, client))
}

/// The peak since `idle`, or an error when it is over the ceiling.
fn judged_peak(gateway: &Gateway, idle: u64) -> Result<String> {
    let peak = peak_memory(gateway.pid()?)?;
    let text = format!("idle {} MiB, peak {} MiB, ceiling {} MiB", idle / MIB, peak / MIB, (idle + OVER_IDLE) / MIB);
    if peak > idle + OVER_IDLE { Err(text.into()) } else { Ok(text) }
}

async fn push() -> Result {
    let (gateway, client) = patient_gateway().await?;
    client.create("soak.rows", &[("n", "bigint"), ("text", "string"), ("x", "double")]).await?.expect(201)?;
    reset_peak(gateway.pid()?)?;
    let idle = peak_memory(gateway.pid()?)?;
    let started = Instant::now();
    let path = format!("{}/ingest", client::dataset_path("soak.rows"));
    let request = client.request(Method::POST, &path).header("content-type", "application/x-ndjson");
    let body = reqwest::Body::wrap_stream(futures::stream::iter(chunks()).map(Ok::<_, std::io::Error>));
    let pushed = Answer::of(request.body(body)).await?.expect(200)?.json()?;
    let rows = pushed["rows"].as_u64().ok_or("no row count")?;
    let memory = judged_peak(&gateway, idle)?;
    let counted = client.count("soak.rows").await?;
    if counted != rows {
        return Err(format!("{rows} rows pushed, {counted} there").into());
    }
    report(&format!("push: {PUSH_BYTES} bytes of NDJSON, {rows} rows, {} s; {memory}", started.elapsed().as_secs()))
}

/// Pieces of NDJSON, together at least [`PUSH_BYTES`], each with texts of its own.
fn chunks() -> impl Iterator<Item = Bytes> + Send {
    let mut sent = 0;
    let mut row = 0_u64;
    std::iter::from_fn(move || {
        if sent >= PUSH_BYTES {
            return None;
        }
        let mut chunk = String::new();
        while chunk.len() < 256 * 1024 {
            row += 1;
            let mixed = row.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            chunk.push_str(&format!(
                "{{\"n\":{row},\"text\":\"{mixed:016x}-{:016x}\",\"x\":{}.5}}\n",
                !mixed,
                row % 1000
            ));
        }
        sent += chunk.len() as u64;
        Some(Bytes::from(chunk))
    })
}

async fn answer() -> Result {
    let (gateway, client) = patient_gateway().await?;
    reset_peak(gateway.pid()?)?;
    let idle = peak_memory(gateway.pid()?)?;
    let started = Instant::now();
    let sql = "SELECT a.date, a.origin, a.destination, b.date AS back, b.origin AS from_there \
               FROM demo.flights a CROSS JOIN demo.flights b";
    let body = json!({ "sql": sql, "timeout": "3h" });
    let response = client.request(Method::POST, "/v1/query?format=ndjson").json(&body).send().await?;
    if response.status() != 200 {
        return Err(response.text().await?.into());
    }
    let mut chunks = response.bytes_stream();
    let mut read = 0_u64;
    while read < ANSWER_BYTES {
        read += chunks.next().await.ok_or("the answer ended early")??.len() as u64;
        // The reader's own pace: not before its time is the next piece taken.
        let due = Duration::from_secs_f64(read as f64 / READER_BYTES_PER_SECOND);
        tokio::time::sleep(due.saturating_sub(started.elapsed())).await;
    }
    drop(chunks);
    let memory = judged_peak(&gateway, idle)?;
    report(&format!("answer: {read} bytes of NDJSON read at 1 MiB/s, {} s; {memory}", started.elapsed().as_secs()))
}
