//! Bytes of an answer in each format, per second of the gateway's processor time, and beside the same rows as Arrow.

use std::time::Instant;

use futures::StreamExt as _;
use lakegate_e2e::{Result, process};
use reqwest::Method;
use serde_json::json;

use crate::record::Recorder;
use crate::tpch::Loaded;

const ROUNDS: u32 = 5;
const ROWS: u32 = 1_000_000;
const SQL: &str = "SELECT * FROM tpch.lineitem LIMIT 1000000";

pub(crate) async fn run(record: &Recorder) -> Result {
    let loaded = Loaded::new().await?;
    let (client, pid) = (loaded.gateway.client(), loaded.gateway.pid()?);
    for round in 0..=ROUNDS {
        for format in ["arrow", "parquet", "csv", "ndjson", "json"] {
            let (started, busy) = (Instant::now(), process::processor_time(pid)?);
            let body = json!({ "sql": SQL, "limit": ROWS });
            let path = format!("/v1/query?format={format}");
            let mut answer = client.request(Method::POST, &path).json(&body).send().await?.bytes_stream();
            let mut bytes = 0;
            while let Some(chunk) = answer.next().await {
                bytes += chunk?.len();
            }
            let (ms, busy) = (started.elapsed().as_secs_f64() * 1e3, process::processor_time(pid)? - busy);
            if round > 0 {
                let numbers = json!({
                    "bytes": bytes,
                    "ms": ms,
                    "cpu_ms": busy.as_millis(),
                    "mb_per_core_second": bytes as f64 / 1e6 / busy.as_secs_f64(),
                    "rows_per_core_second": f64::from(ROWS) / busy.as_secs_f64(),
                });
                record.measured("answers", "1,000,000 rows of lineitem", format, round, numbers)?;
            }
        }
    }
    Ok(())
}
