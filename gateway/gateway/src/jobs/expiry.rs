//! Forgets jobs that ended long enough ago, and removes what is left of them.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use lakegate_catalog::{Catalog, Hold};
use lakegate_lake::Lake;

/// Time between two looks for jobs that may be forgotten.
const EVERY: Duration = Duration::from_secs(60);

/// Of so many looks one is for results of jobs that there are not: of an attempt that went on after its job was forgotten, or of
/// a catalog that was put back to what it was before.
const STRAYS_EVERY: u32 = 60;

/// Forgets for ever; as often as results are kept for less time than there is between two looks.
pub(crate) async fn run(catalog: Arc<dyn Catalog>, lake: Arc<Lake>, results_for: Duration) {
    let mut ticks = tokio::time::interval(EVERY.min(results_for.max(Duration::from_secs(1))));
    for look in 0_u32.. {
        ticks.tick().await;
        forget(catalog.as_ref(), &lake).await;
        if look.is_multiple_of(STRAYS_EVERY) {
            remove_strays(catalog.as_ref(), &lake).await;
        }
    }
}

/// Forgets all jobs that are due.
async fn forget(catalog: &dyn Catalog, lake: &Lake) {
    loop {
        let expired = match catalog.expired_jobs().await {
            Ok(expired) => expired,
            Err(error) => {
                return tracing::warn!(%error, "jobs that have expired cannot be listed; they and their results stay");
            }
        };
        let mut stays = expired.is_empty();
        for last in &expired {
            stays |= !forget_one(catalog, lake, *last).await;
        }
        // What could not be forgotten is listed again.
        if stays {
            return;
        }
    }
}

/// Removes the results first: a job that is forgotten leads to none.
async fn forget_one(catalog: &dyn Catalog, lake: &Lake, last: Hold) -> bool {
    for fence in 1..=last.fence {
        if let Err(error) = lake.remove_result(Hold { fence, ..last }).await {
            tracing::warn!(job = %last.job, %error, "the result of a job stays for now");
            return false;
        }
    }
    let forgotten = catalog.forget_job(last.job).await;
    forgotten.inspect_err(|error| tracing::warn!(job = %last.job, %error, "a job cannot be forgotten yet")).is_ok()
}

/// Removes results of which no job knows.
async fn remove_strays(catalog: &dyn Catalog, lake: &Lake) {
    let mut results = std::pin::pin!(lake.results());
    while let Some(found) = results.next().await {
        let hold = match found {
            Ok(hold) => hold,
            Err(error) => return tracing::debug!(%error, "results without a job cannot be looked for"),
        };
        // A job is there before anything of it is.
        match catalog.job(hold.job).await {
            Ok(Some(_)) => {}
            Ok(None) => {
                if let Err(error) = lake.remove_result(hold).await {
                    tracing::warn!(job = %hold.job, %error, "the result of a job that there is not stays for now");
                }
            }
            Err(error) => return tracing::debug!(%error, "results without a job cannot be looked for"),
        }
    }
}
