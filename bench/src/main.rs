//! Speed, measured: every suite compares two or more ways to do one thing, in turns, in one run. What it prints are
//! the raw numbers, a JSON object a line; `bench report` makes tables of them. No number here fails anything:
//! they are kept under `bench/runs/` with the commit that they were made on.
//!
//! Run it through `make bench`: it builds with optimisation and sets up the peers.
//!
//! - [`tpch`]: 22 queries over REST, in process, in duckdb and roapi
//! - [`scan`]: our scan and delta-rs's on one table: time and bytes read
//! - [`answers`]: bytes of an answer in each format, per second of processor time
//! - [`pushes`]: small durable pushes by 1, 8 and 64 clients, and as a table grows old
//! - [`flight`]: Flight SQL beside plain DataFusion, a server of prepared batches, and the Parquet writer
//! - [`catalog`]: who may do what, 100,000 datasets, policies beside the same predicates written by hand
//! - [`claims`]: jobs that several workers take and end
//! - [`footprint`]: start-up time and idle memory
//! - [`counts`]: instructions of the inner loops, by valgrind

mod answers;
mod catalog;
mod claims;
mod counts;
mod flight;
mod footprint;
mod pushes;
mod record;
mod report;
mod scan;
mod sides;
mod tpch;

use lakegate_e2e::Result;

use crate::record::Recorder;

/// A suite and its name on the command line.
const SUITES: &[&str] = &[
    "tpch",
    "scan",
    "answers",
    "pushes",
    "flight-tpch",
    "flight-answer",
    "flight-latency",
    "flight-put",
    "authorise",
    "namespace",
    "policies",
    "claims",
    "footprint",
    "counts",
];

#[tokio::main]
async fn main() -> Result {
    // Two providers of cryptography are linked; which one is used must be said once.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["report", file] => report::print(file),
        ["scan-once", root, dataset, sql] => scan::once(root, dataset, sql).await,
        ["count-once", what, times] => counts::once(what, times.parse()?),
        suites => run(suites).await,
    }
}

async fn run(wanted: &[&str]) -> Result {
    if let Some(unknown) = wanted.iter().find(|word| !SUITES.contains(word)) {
        return Err(format!("no suite `{unknown}`; there are {}", SUITES.join(", ")).into());
    }
    let record = Recorder::start()?;
    for suite in SUITES.iter().filter(|suite| wanted.is_empty() || wanted.contains(suite)) {
        match *suite {
            "tpch" => tpch::run(&record).await?,
            "scan" => scan::run(&record).await?,
            "answers" => answers::run(&record).await?,
            "pushes" => pushes::run(&record).await?,
            flight if flight.starts_with("flight-") => flight::run(&record, flight).await?,
            "authorise" => catalog::authorise(&record).await?,
            "namespace" => catalog::namespace(&record).await?,
            "policies" => catalog::policies(&record).await?,
            "claims" => claims::run(&record).await?,
            "footprint" => footprint::run(&record).await?,
            _ => counts::run(&record).await?,
        }
    }
    Ok(())
}
