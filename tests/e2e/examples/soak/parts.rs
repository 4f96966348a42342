//! The parts that are not fuzzing. Each answers its line of the report.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt;
use lakegate_e2e::faults::{Dealt, Store};
use lakegate_e2e::process::{MIB, peak_memory, reset_peak};
use lakegate_e2e::{Answer, Client, Gateway, Options, Result, client, cluster, crash, faults, overload};
use reqwest::Method;
use serde_json::json;

use crate::board::Board;

/// Rounds of faults at a time: more of them on two processors make each slower, until deadlines pass that no fault was
/// to blame for.
const LANES: u32 = 2;

/// Rounds of faults on S3 for each one on Azure, whose client is mostly the same code.
const AZURE_SHARE: u32 = 5;

const READER_BYTES_PER_SECOND: f64 = 1_048_576.0;
const OVER_IDLE: u64 = 256 * MIB;

/// Longer than 5 GB take at 1 MiB/s.
const PATIENCE: Duration = Duration::from_secs(3 * 3600);

pub(crate) async fn overload(seconds: u64) -> Result<String> {
    let measured = overload::measure(Duration::from_secs(seconds)).await?;
    let overload::Overload { peak, under: [three, ten], shed, recovery } = measured;
    let text = format!(
        "{peak:.1} requests done per second at best, {three:.1} under 3 times as many clients, {ten:.1} under 10 times, \
         for {seconds} s each; {shed} told to come back; recovered after {} ms",
        recovery.as_millis()
    );
    measured.judge().map_err(|error| format!("{error}; {text}"))?;
    Ok(text)
}

pub(crate) async fn kills(kills: u32, all: bool) -> Result<String> {
    let mut tally = crash::rounds(kills).await?;
    // Where a kill lands is chance: a few more when too few met the moments that matter.
    while all && !tally.is_telling() && tally.rounds < 3 * kills {
        tally = tally.and(crash::rounds(kills / 2).await?);
    }
    let text = format!(
        "{} times kill -9; {} pushes acknowledged, each of their rows there exactly once; {} pushes were open and sent \
         again, of which {} had a file and no commit, {} a commit and no answer",
        tally.rounds, tally.acknowledged, tally.sent_again, tally.file_without_commit, tally.commit_without_answer
    );
    if all && !tally.is_telling() {
        let few = "fewer than 5 kills met a push between file and commit, or between commit and answer";
        return Err(format!("{few}: {text}").into());
    }
    Ok(text)
}

pub(crate) async fn cluster(kills: u32) -> Result<String> {
    let tally = cluster::rounds(kills).await?;
    Ok(format!(
        "{} times kill -9 of a gateway, the companion or PostgreSQL, in turns; {} pushes acknowledged, each of their rows \
         there exactly once, {} requests sent again; {} datasets made and there; {} rights taken back, none of which \
         counted 5 s later, nor 1 s later of {} that gateways could hear of; {} jobs, each of which came to one end ({} begun \
         again)",
        tally.rounds,
        tally.pushes,
        tally.sent_again,
        tally.datasets,
        tally.revoked,
        tally.heard,
        tally.jobs,
        tally.begun_again
    ))
}

pub(crate) async fn deal_faults(board: &Board, rounds: u32) -> Result<String> {
    let on_azure = rounds.div_ceil(AZURE_SHARE);
    let told = |done| board.at("faults", format!("{done} of {rounds} rounds on S3"));
    let s3 = faults::rounds_beside(Store::S3, rounds, LANES, told).await?;
    let told = |done| board.at("faults", format!("{done} of {on_azure} rounds on Azure"));
    let azure = faults::rounds_beside(Store::Azure, on_azure, LANES, told).await?;
    let dealt = |dealt: Dealt| {
        let least = dealt.values().min().copied().unwrap_or(0);
        format!("each of {} at least {least} times, {} in all", dealt.len(), dealt.values().sum::<u32>())
    };
    Ok(format!(
        "on S3 {}, on Azure {}, {LANES} rounds at a time; 0 rows lost, 0 doubled, 0 wrong for queries, deltalake and duckdb",
        dealt(s3),
        dealt(azure)
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

pub(crate) async fn push(board: &Board, bytes: u64) -> Result<String> {
    let (gateway, client) = patient_gateway().await?;
    client.create("soak.rows", &[("n", "bigint"), ("text", "string"), ("x", "double")]).await?.expect(201)?;
    reset_peak(gateway.pid()?)?;
    let idle = peak_memory(gateway.pid()?)?;
    let path = format!("{}/ingest", client::dataset_path("soak.rows"));
    let request = client.request(Method::POST, &path).header("content-type", "application/x-ndjson");
    let body =
        reqwest::Body::wrap_stream(futures::stream::iter(chunks(board.clone(), bytes)).map(Ok::<_, std::io::Error>));
    let pushed = Answer::of(request.body(body)).await?.expect(200)?.json()?;
    let rows = pushed["rows"].as_u64().ok_or("no row count")?;
    let memory = judged_peak(&gateway, idle)?;
    let counted = client.count("soak.rows").await?;
    if counted != rows {
        return Err(format!("{rows} rows pushed, {counted} there").into());
    }
    Ok(format!("{bytes} bytes of NDJSON, {rows} rows; {memory}"))
}

/// Pieces of NDJSON, together at least so many bytes, each with texts of its own.
fn chunks(board: Board, bytes: u64) -> impl Iterator<Item = Bytes> + Send {
    let mut sent = 0;
    let mut row = 0_u64;
    std::iter::from_fn(move || {
        board.at("push", format!("{} of {} MiB", sent / MIB, bytes / MIB));
        if sent >= bytes {
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

pub(crate) async fn answer(board: &Board, bytes: u64) -> Result<String> {
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
    while read < bytes {
        board.at("answer", format!("{} of {} MiB", read / MIB, bytes / MIB));
        read += chunks.next().await.ok_or("the answer ended early")??.len() as u64;
        // The reader's own pace: not before its time is the next piece taken.
        let due = Duration::from_secs_f64(read as f64 / READER_BYTES_PER_SECOND);
        tokio::time::sleep(due.saturating_sub(started.elapsed())).await;
    }
    drop(chunks);
    let memory = judged_peak(&gateway, idle)?;
    Ok(format!("{read} bytes of NDJSON read at 1 MiB/s; {memory}"))
}
