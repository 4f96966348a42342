//! Small durable pushes: by 1, 8 and 64 clients on a disk and on an S3 emulator, beside what the disk takes for a
//! write that is synced and the emulator for one object; and by one client as the table grows old, beside a new table.

use std::io::Write as _;
use std::time::{Duration, Instant};

use lakegate_e2e::client::dataset_path;
use lakegate_e2e::emulator::Moto;
use lakegate_e2e::{Answer, Bucket, Gateway, Result};
use reqwest::Method;
use serde_json::json;

use crate::record::Recorder;

/// What the steps of a measurement fail with.
type Failed = Box<dyn std::error::Error + Send + Sync>;

/// Longer than any push takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1_800);
const ROUNDS: u32 = 3;
const CLIENTS: [usize; 3] = [1, 8, 64];
const ROWS: usize = 10;
const LONG: Duration = Duration::from_secs(5);
const AGES: [u64; 3] = [10, 1_000, 10_000];

pub(crate) async fn run(record: &Recorder) -> Result {
    let disk = Gateway::start().await?;
    let emulator = Moto::start().await?;
    let bucket = emulator.bucket("lake").await?;
    let remote = bucket.options()?.start().await?;
    for round in 1..=ROUNDS {
        for clients in CLIENTS {
            let what = format!("{ROWS} rows, {clients} clients");
            record.measured("pushes", &what, "one synced write of the disk", round, synced_writes(clients)?)?;
            let mut written = written_objects(&bucket, clients).await?;
            record.measured("pushes", &what, "one object of the emulator", round, summary(&mut written, LONG))?;
            for (side, gateway) in [("disk", &disk), ("s3 emulator", &remote)] {
                let name = format!("bench.r{round}_c{clients}");
                let mut times = burst(gateway, &name, clients).await?;
                record.measured("pushes", &what, side, round, summary(&mut times, LONG))?;
            }
        }
    }
    ages(record, &disk).await
}

/// Pushes for a while; how long each took.
async fn burst(gateway: &Gateway, dataset: &str, clients: usize) -> Result<Vec<Duration>> {
    create(gateway, dataset).await?;
    let until = Instant::now() + LONG;
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..clients {
        let pusher = Pusher::new(gateway, dataset)?;
        running.spawn(async move {
            let mut times = Vec::new();
            while Instant::now() < until {
                times.push(pusher.push().await?);
            }
            Ok::<_, Failed>(times)
        });
    }
    let mut all = Vec::new();
    while let Some(done) = running.join_next().await {
        all.extend(done??);
    }
    Ok(all)
}

async fn create(gateway: &Gateway, dataset: &str) -> Result {
    let schema = json!([{ "name": "id", "type": "bigint" }, { "name": "word", "type": "string" }]);
    gateway.client().post("/v1/datasets", &json!({ "name": dataset, "schema": schema })).await?.expect(201)?;
    Ok(())
}

/// One client with a connection that it keeps.
struct Pusher {
    http: reqwest::Client,
    url: String,
    token: String,
    body: String,
}

impl Pusher {
    fn new(gateway: &Gateway, dataset: &str) -> Result<Self> {
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build()?;
        let url = format!("{}{}/ingest", gateway.base(), dataset_path(dataset));
        let body = (0..ROWS).map(|n| format!("{{\"id\":{n},\"word\":\"word {n}\"}}\n")).collect();
        Ok(Self { http, url, token: gateway.token().to_owned(), body })
    }

    async fn push(&self) -> Result<Duration> {
        let started = Instant::now();
        let request = self.http.request(Method::POST, &self.url).bearer_auth(&self.token);
        let request = request.header("content-type", "application/x-ndjson").body(self.body.clone());
        let answer = Answer::of(request).await?;
        match answer.status {
            200 => Ok(started.elapsed()),
            // Told to come back: the wait is part of what a push costs.
            503 | 429 => {
                tokio::time::sleep(Duration::from_millis(100)).await;
                Box::pin(self.push()).await.map(|more| started.elapsed().max(more))
            }
            _ => Err(answer.expect(200).err().unwrap_or_else(|| "refused".into())),
        }
    }
}

/// What the emulator takes: new objects of a few kilobytes, by as many clients.
async fn written_objects(bucket: &Bucket, clients: usize) -> Result<Vec<Duration>> {
    let until = Instant::now() + LONG;
    let mut running = tokio::task::JoinSet::new();
    for client in 0..clients {
        let bucket = bucket.clone();
        running.spawn(async move {
            let mut times = Vec::new();
            while Instant::now() < until {
                let started = Instant::now();
                bucket.put(&format!("plain/{client}-{}", times.len()), vec![7; 2_048]).await?;
                times.push(started.elapsed());
            }
            Ok::<_, Failed>(times)
        });
    }
    let mut all = Vec::new();
    while let Some(done) = running.join_next().await {
        all.extend(done??);
    }
    Ok(all)
}

/// How many there were in `span`, and how long they took.
pub(crate) fn summary(times: &mut [Duration], span: Duration) -> serde_json::Value {
    times.sort_unstable();
    let at = |share: f64| {
        let last = times.len().saturating_sub(1);
        times.get((last as f64 * share) as usize).map_or(0.0, |time| time.as_secs_f64() * 1e3)
    };
    let per_second = times.len() as f64 / span.as_secs_f64();
    json!({ "pushes": times.len(), "per_second": per_second, "p50_ms": at(0.5), "p99_ms": at(0.99) })
}

/// What the disk takes: new files of a few kilobytes, each synced, by as many threads.
fn synced_writes(threads: usize) -> Result<serde_json::Value> {
    let folder = std::env::temp_dir().join(format!("lakegate-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let until = Instant::now() + LONG / 5;
    let mut times = std::thread::scope(|scope| {
        let write = |thread: usize| {
            let folder = &folder;
            move || {
                let mut times = Vec::new();
                while Instant::now() < until {
                    let started = Instant::now();
                    let mut file = std::fs::File::create(folder.join(format!("{thread}-{}", times.len())))?;
                    file.write_all(&[7; 2_048])?;
                    file.sync_all()?;
                    times.push(started.elapsed());
                }
                Ok::<_, std::io::Error>(times)
            }
        };
        let running: Vec<_> = (0..threads).map(|thread| scope.spawn(write(thread))).collect();
        running.into_iter().flat_map(|one| one.join().map(Result::unwrap_or_default)).flatten().collect::<Vec<_>>()
    });
    std::fs::remove_dir_all(&folder)?;
    Ok(summary(&mut times, LONG / 5))
}

/// One client on tables that are 10, 1,000 and 10,000 pushes old and on a new one, in turns. Each round has a new table of
/// none and of 10 pushes; the others age by as much as they are pushed to.
async fn ages(record: &Recorder, gateway: &Gateway) -> Result {
    const PUSHES: u64 = 100;
    let [young, old, ancient] = AGES;
    let kept = [aged(gateway, "bench.old", old).await?, aged(gateway, "bench.ancient", ancient).await?];
    for round in 1..=ROUNDS {
        let new = aged(gateway, &format!("bench.new_{round}"), 0).await?;
        let young = aged(gateway, &format!("bench.young_{round}"), young).await?;
        let [old, ancient] = &kept;
        let turns = [&new, &young, old, ancient];
        let mut times = turns.map(|_| Vec::new());
        for _ in 0..PUSHES {
            for (pusher, times) in turns.iter().zip(&mut times) {
                times.push(pusher.push().await?);
            }
        }
        let [new, olds @ ..] = times.map(|mut times| {
            let span = times.iter().sum();
            summary(&mut times, span)
        });
        for (age, old) in AGES.into_iter().zip(olds) {
            let what = format!("after {age} pushes");
            record.measured("ages", &what, "old table", round, old)?;
            record.measured("ages", &what, "new table", round, new.clone())?;
        }
    }
    Ok(())
}

/// One who pushes to a table that has been pushed to so many times.
async fn aged(gateway: &Gateway, dataset: &str, pushes: u64) -> Result<Pusher> {
    create(gateway, dataset).await?;
    let pusher = Pusher::new(gateway, dataset)?;
    for _ in 0..pushes {
        pusher.push().await?;
    }
    Ok(pusher)
}
