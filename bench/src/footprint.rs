//! How long a start takes until the gateway listens, and what it holds when it does nothing.

use std::time::{Duration, Instant};

use lakegate_e2e::{Options, Result, process};
use serde_json::json;

use crate::record::Recorder;

const ROUNDS: u32 = 10;
const IDLE: Duration = Duration::from_secs(5);

pub(crate) async fn run(record: &Recorder) -> Result {
    let mut options = Options::serve()?;
    for round in 1..=ROUNDS {
        let started = Instant::now();
        let gateway = options.start().await?;
        let ms = started.elapsed().as_secs_f64() * 1e3;
        gateway.client().get("/readyz").await?.expect(200)?;
        process::reset_peak(gateway.pid()?)?;
        tokio::time::sleep(IDLE).await;
        let idle = process::peak_memory(gateway.pid()?)?;
        let what = if round == 1 { "first start" } else { "start" };
        record.measured("footprint", what, "lakegate", round, json!({ "ms": ms, "idle_bytes": idle }))?;
        (options, _) = gateway.stop().await?;
    }
    Ok(())
}
