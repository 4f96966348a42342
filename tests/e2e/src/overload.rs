//! More load than a gateway can bear, and what comes of it: work that is done, and clients that are told to come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use tokio::time::timeout;

use crate::{Client, Options, Result};

/// Clients that keep the gateway busy.
const BUSY: usize = 4;

/// How many times as many are too many.
pub const TIMES: [usize; 2] = [3, 10];

/// How soon a gateway answers as usual once the load is gone.
const RECOVERY: Duration = Duration::from_secs(10);

/// Of what is done at best, how much is still done under any load.
const GOODPUT: f64 = 0.8;

/// What came of a load.
#[derive(Debug, Default)]
struct Load {
    done: AtomicU64,
    shed: AtomicU64,
}

/// What was measured.
#[derive(Clone, Debug)]
pub struct Overload {
    /// Requests done per second by as many clients as keep the gateway busy.
    pub peak: f64,
    /// Requests done per second by so many [`TIMES`] as many.
    pub under: [f64; 2],
    /// Requests that were told to come back.
    pub shed: u64,
    /// How long a push and a query took together, after all that.
    pub recovery: Duration,
}

/// Loads a gateway for `slice` each with as many clients as keep it busy, three and ten times as many, twice in turns;
/// the best of each counts, for other work on the machine hits all of them alike.
pub async fn measure(slice: Duration) -> Result<Overload> {
    let options = Options::serve()?
        .setting("ingest.max_concurrent", "4")
        .setting("ingest.max_queued", "8")
        .setting("ingest.queue_timeout", "1s")
        .setting("query.max_concurrent", "2");
    let gateway = options.start().await?;
    let client = gateway.client();
    client.create("lab.load", &[("id", "bigint"), ("name", "string")]).await?.expect(201)?;
    goodput(client, BUSY, slice).await?;
    let (mut peak, mut under, mut shed) = (0_f64, [0_f64; 2], 0);
    for _ in 0..2 {
        peak = peak.max(goodput(client, BUSY, slice).await?.0);
        for (best, times) in under.iter_mut().zip(TIMES) {
            let (done, told) = goodput(client, BUSY * times, slice).await?;
            *best = best.max(done);
            shed += told;
        }
    }
    let after = Instant::now();
    let recovered = async {
        client.push("lab.load", "{\"id\":2}\n").await?.expect(200)?;
        client.count("lab.load").await
    };
    timeout(RECOVERY, recovered).await.map_err(|_| format!("no answer within {RECOVERY:?} after the load"))??;
    Ok(Overload { peak, under, shed, recovery: after.elapsed() })
}

impl Overload {
    /// An error when overload costs more than a fifth of what is done at best, or nobody was told to come back.
    pub fn judge(&self) -> Result {
        if self.under.iter().any(|done| *done < GOODPUT * self.peak) {
            return Err(format!("{:.1?} done per second under overload, {:.1} at best", self.under, self.peak).into());
        }
        if self.shed == 0 { Err("ten times as many were never too many".into()) } else { Ok(()) }
    }
}

/// Requests that were done per second under so many clients, and how many were told to come back.
async fn goodput(client: &Client, clients: usize, slice: Duration) -> Result<(f64, u64)> {
    let load = Arc::new(Load::default());
    let begun = Instant::now();
    for done in join_all((0..clients).map(|_| work(client, begun + slice, &load))).await {
        done?;
    }
    let per_second = load.done.load(Ordering::Relaxed) as f64 / slice.as_secs_f64();
    Ok((per_second, load.shed.load(Ordering::Relaxed)))
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
                // What ends later was done while others had left already.
                200 => load.done.fetch_add(u64::from(Instant::now() < until), Ordering::Relaxed),
                503 => {
                    let after: u64 = answer.header("retry-after").parse()?;
                    load.shed.fetch_add(1, Ordering::Relaxed);
                    let again = Instant::now() + Duration::from_secs(after);
                    tokio::time::sleep_until(again.min(until).into()).await;
                    0
                }
                other => return Err(format!("{other}: {}", answer.start()).into()),
            };
        }
    }
    Ok(())
}
