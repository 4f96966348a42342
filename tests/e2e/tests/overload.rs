//! More than the gateway can do: what it took on it finishes, the rest is told to come back, and afterwards all is as
//! before.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use lakegate_e2e::{Client, OpenPush, Options, Result};
use tokio::time::timeout;

/// How long each load lasts.
const SLICE: Duration = Duration::from_secs(3);
/// Clients that keep the gateway busy.
const BUSY: usize = 4;

/// What came of a load.
#[derive(Debug, Default)]
struct Load {
    done: AtomicU64,
    shed: AtomicU64,
}

/// One client: pushes and queries, one after the other, that come back when they are told to.
async fn work(client: &Client, until: Instant, load: &Load) -> Result {
    let rows = format!("{{\"id\":1,\"name\":\"{}\"}}\n", "x".repeat(1000)).repeat(200);
    while Instant::now() < until {
        for answer in [
            client.push("lab.load", rows.clone()).await?,
            client.query("SELECT sum(value) AS s FROM range(200000)").await?,
        ] {
            match answer.status {
                200 => load.done.fetch_add(1, Ordering::Relaxed),
                503 => {
                    let after: u64 = answer.header("retry-after").parse()?;
                    load.shed.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_secs(after)).await;
                    0
                }
                other => return Err(format!("{other}: {}", answer.start()).into()),
            };
        }
    }
    Ok(())
}

/// Requests that were done per second under so many clients.
async fn goodput(client: &Client, clients: usize) -> Result<(f64, u64)> {
    let load = Arc::new(Load::default());
    let begun = Instant::now();
    for done in join_all((0..clients).map(|_| work(client, begun + SLICE, &load))).await {
        done?;
    }
    let per_second = load.done.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64();
    Ok((per_second, load.shed.load(Ordering::Relaxed)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overload_costs_little_of_what_is_done_and_passes() -> Result {
    let options = Options::serve()?
        .setting("ingest.max_concurrent", "4")
        .setting("ingest.max_queued", "8")
        .setting("ingest.queue_timeout", "1s")
        .setting("query.max_concurrent", "2");
    let gateway = options.start().await?;
    let client = gateway.client();
    client.create("lab.load", &[("id", "bigint"), ("name", "string")]).await?.expect(201)?;
    goodput(client, BUSY).await?;
    // In turns, and the best of each: other work on the machine hits all of them alike.
    let (mut peak, mut worst, mut shed) = (0_f64, [0_f64; 2], 0);
    for _ in 0..2 {
        peak = peak.max(goodput(client, BUSY).await?.0);
        for (best, times) in worst.iter_mut().zip([3, 10]) {
            let (done, told) = goodput(client, BUSY * times).await?;
            *best = best.max(done);
            shed += told;
        }
    }
    assert!(worst.iter().all(|done| *done >= 0.8 * peak), "{worst:?} of {peak} per second");
    assert!(shed > 0, "ten times as many were never too many");
    let recovered = async {
        client.push("lab.load", "{\"id\":2}\n").await?.expect(200)?;
        client.count("lab.load").await
    };
    timeout(Duration::from_secs(10), recovered).await??;
    Ok(())
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
    // Bodies without a length count as large: two have room.
    let first = OpenPush::begin(client, "lab.large", None).await?;
    let second = OpenPush::begin(client, "lab.large", None).await?;
    let third = client.push("lab.large", "{\"id\":1}\n").await?.expect_problem(503, "too_many_pushes")?;
    assert_eq!(third.header("retry-after"), "1");
    first.finish().await?.expect(200)?;
    client.push("lab.large", "{\"id\":1}\n").await?.expect(200)?;
    second.finish().await?.expect(200)?;
    assert_eq!(client.count("lab.large").await?, 2 * OpenPush::BEGUN + 1);
    Ok(())
}
