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

/// Each round is as many jobs, taken and ended.
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
                let per_second = taken_and_ended(catalog, tenants).await?;
                // The first round fills caches and opens connections.
                if round > 0 {
                    let what = format!("jobs of {tenants} tenants");
                    record.measured("claims", &what, name, round, json!({ "per_second": per_second }))?;
                }
            }
        }
    }
    Ok(())
}

async fn taken_and_ended(catalog: &Arc<dyn Catalog>, tenants: usize) -> Result<f64> {
    for n in 0..JOBS {
        catalog.submit_job(NewJob::new("bench", &format!("tenant {}", n % tenants))).await?;
    }
    let begun = Instant::now();
    let done: Vec<usize> = try_join_all((0..WORKERS).map(|_| tokio::spawn(work(Arc::clone(catalog)))))
        .await?
        .into_iter()
        .collect::<Result<_>>()?;
    let elapsed = begun.elapsed().as_secs_f64();
    match done.iter().sum() {
        JOBS => Ok(JOBS as f64 / elapsed),
        other => Err(format!("{other} jobs were done instead of {JOBS}").into()),
    }
}

/// Takes jobs and ends them until none waits; how many.
async fn work(catalog: Arc<dyn Catalog>) -> Result<usize> {
    let kinds = BTreeSet::from(["bench".to_owned()]);
    let claim = Claim { kinds, worker: "bench".to_owned(), lease: Duration::from_secs(60), per_tenant: 64 };
    let mut done = 0;
    while let Some(job) = catalog.claim_job(&claim).await? {
        catalog.end_job(Hold { job: job.id, fence: job.fence }, Outcome::Done(json!(null)), &[]).await?;
        done += 1;
    }
    Ok(done)
}
