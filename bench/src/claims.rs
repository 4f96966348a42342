//! Jobs that several workers take, do nothing for, and end: what the catalog's databases bear.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::try_join_all;
use lakegate_catalog::{Catalog, Claim, Hold, NewJob, Outcome};
use lakegate_catalog_sql::{SqlCatalog, SqlOptions};
use lakegate_e2e::{Options, Postgres, Result};
use serde_json::json;

use crate::record::Recorder;

const ROUNDS: u32 = 5;
/// Jobs of a round.
const JOBS: usize = 1_000;
/// Who takes them, side by side, each with a connection where the database has several.
const WORKERS: usize = 8;

/// Each round is as many jobs: first all are taken, then all are ended; and as many more, each ended when it is taken.
pub(crate) async fn run(record: &Recorder) -> Result {
    let (folder, postgres) = (Options::serve()?, Postgres::durable().await?);
    let sqlite = format!("sqlite:{}", folder.folder().join("jobs.db").display());
    let mut sides = Vec::new();
    for (name, url) in [("PostgreSQL", postgres.url()), ("SQLite", sqlite.as_str())] {
        let options = SqlOptions { max_connections: WORKERS as u32, ..SqlOptions::default() };
        let catalog: Arc<dyn Catalog> = Arc::new(SqlCatalog::connect(url, &options).await?);
        sides.push((name, catalog));
    }
    for round in 0..=ROUNDS {
        for tenants in [20, 1] {
            for (name, catalog) in &sides {
                let (held, taken) = by_workers(catalog, tenants, false).await?;
                let begun = Instant::now();
                let ends = shared(held).map(|held| tokio::spawn(end(Arc::clone(catalog), held)));
                try_join_all(ends).await?.into_iter().collect::<Result<()>>()?;
                let ended = per_second(begun);
                let (_, both) = by_workers(catalog, tenants, true).await?;
                // The first round fills caches and opens connections.
                if round > 0 {
                    for (what, per_second) in [("taken", taken), ("ended", ended), ("taken and ended in turn", both)] {
                        let what = format!("jobs of {tenants} tenants, {what}");
                        record.measured("claims", &what, name, round, json!({ "per_second": per_second }))?;
                    }
                }
            }
        }
    }
    Ok(())
}

fn per_second(begun: Instant) -> f64 {
    JOBS as f64 / begun.elapsed().as_secs_f64()
}

/// As many shares as there are workers.
fn shared(held: Vec<Hold>) -> impl Iterator<Item = Vec<Hold>> {
    (0..WORKERS).map(move |worker| held.iter().copied().skip(worker).step_by(WORKERS).collect())
}

/// Submits jobs, and lets the workers take them; those that are still held, and jobs a second.
async fn by_workers(catalog: &Arc<dyn Catalog>, tenants: usize, ending: bool) -> Result<(Vec<Hold>, f64)> {
    for n in 0..JOBS {
        catalog.submit_job(NewJob::new("bench", &format!("tenant {}", n % tenants))).await?;
    }
    let begun = Instant::now();
    let work = (0..WORKERS).map(|_| tokio::spawn(work(Arc::clone(catalog), ending)));
    let done: Vec<Vec<Hold>> = try_join_all(work).await?.into_iter().collect::<Result<_>>()?;
    let per_second = per_second(begun);
    let done = done.concat();
    match done.len() {
        JOBS => Ok((done, per_second)),
        other => Err(format!("{other} jobs were taken instead of {JOBS}").into()),
    }
}

/// Takes jobs until none waits.
async fn work(catalog: Arc<dyn Catalog>, ending: bool) -> Result<Vec<Hold>> {
    let kinds = BTreeSet::from(["bench".to_owned()]);
    let per_tenant = u32::try_from(JOBS)?;
    let claim = Claim { kinds, worker: "bench".to_owned(), lease: Duration::from_secs(600), per_tenant };
    let mut held = Vec::new();
    while let Some(job) = catalog.claim_job(&claim).await? {
        let hold = Hold { job: job.id, fence: job.fence };
        if ending {
            end(Arc::clone(&catalog), vec![hold]).await?;
        }
        held.push(hold);
    }
    Ok(held)
}

async fn end(catalog: Arc<dyn Catalog>, held: Vec<Hold>) -> Result {
    for hold in held {
        catalog.end_job(hold, Outcome::Done(json!(null)), &[]).await?;
    }
    Ok(())
}
