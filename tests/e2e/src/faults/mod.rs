//! An object store that fails in every way, and the proof that no row is lost, doubled or changed by it.
//!
//! A [`Proxy`] stands in front of an emulator and deals faults: each [`Kind`] × [`Operation`] that makes sense, on a
//! dataset of its own. Clients push through one gateway, with idempotency keys, send again what was not
//! acknowledged, and ask another gateway, which has to find everything in the store. Then everything that was acknowledged must be there exactly once: for a query, for a gateway that starts anew, and for two other
//! readers. What was dealt is counted, so that a fault that never happened fails the run.

mod case;
mod law;
mod proxy;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

use futures::future::try_join_all;
use futures::{StreamExt as _, TryStreamExt as _};

use crate::{Azurite, Bucket, Gateway, Moto, Options, Result};

pub use proxy::Proxy;

/// How a store can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// 503, and nothing was done.
    Unavailable,
    /// 503, after it was done.
    UnavailableAfterwards,
    /// The connection is reset after it was done.
    Reset,
    /// 409, and nothing was done: what S3 answers to two writers at once.
    Conflict,
    /// 412, after it was done: the client's own object is there.
    OwnPrecondition,
    /// 429, several times in a row.
    Storm,
    /// The answer breaks off half-way.
    Truncated,
    /// A list without its newest entry.
    Stale,
    /// It is done, and the answer does not come for a minute.
    Stall,
    /// It is done, and the answer's first byte comes late.
    SlowFirstByte,
}

/// What a gateway does with a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// Writes a data file.
    DataFile,
    /// Writes a log entry.
    Commit,
    /// Writes a checkpoint.
    Checkpoint,
    /// Writes the pointer to the newest checkpoint.
    LastCheckpoint,
    /// Reads of a data file.
    ReadData,
    /// Reads of the log.
    ReadLog,
    /// Lists a table.
    List,
    /// Removes objects.
    Delete,
}

impl Kind {
    const ALL: [Self; 10] = [
        Self::Unavailable,
        Self::UnavailableAfterwards,
        Self::Reset,
        Self::Conflict,
        Self::OwnPrecondition,
        Self::Storm,
        Self::Truncated,
        Self::Stale,
        Self::Stall,
        Self::SlowFirstByte,
    ];

    /// Whether a store can fail so in this operation.
    fn happens_to(self, operation: Operation) -> bool {
        use Operation::{Commit, List, ReadData, ReadLog};
        match self {
            Self::OwnPrecondition => operation == Commit,
            Self::Conflict => !matches!(operation, ReadData | ReadLog | List),
            Self::Truncated => matches!(operation, ReadData | ReadLog | List),
            Self::Stale => operation == List,
            _ => true,
        }
    }

    /// How often in a row it is dealt.
    fn times(self) -> u32 {
        if self == Self::Storm { 5 } else { 1 }
    }
}

impl Operation {
    const ALL: [Self; 8] = [
        Self::DataFile,
        Self::Commit,
        Self::Checkpoint,
        Self::LastCheckpoint,
        Self::ReadData,
        Self::ReadLog,
        Self::List,
        Self::Delete,
    ];
}

/// One fault: what happens to what.
pub type Fault = (Kind, Operation);

/// How often each fault was dealt.
pub type Dealt = BTreeMap<Fault, u32>;

/// Cases that run side by side in all lanes: more of them would make a query wait past its deadline for the emulator alone.
const AT_ONCE: usize = 12;

/// Deals every fault `rounds` times on S3; an error when one of them was not dealt, or a row is lost, doubled or wrong.
pub async fn rounds(rounds: u32) -> Result<Dealt> {
    rounds_beside(Store::S3, rounds, 1, |_| ()).await
}

/// The same on Azure Blob Storage.
pub async fn rounds_on_azure(rounds: u32) -> Result<Dealt> {
    rounds_beside(Store::Azure, rounds, 1, |_| ()).await
}

/// Which store is emulated.
#[derive(Clone, Copy, Debug)]
pub enum Store {
    /// Amazon's, by moto.
    S3,
    /// Azure Blob Storage, by azurite.
    Azure,
}

/// The same in so many lanes, each with a store, a proxy and gateways of its own. Most of a round is waiting. `told` hears how
/// many rounds are done.
pub async fn rounds_beside(store: Store, rounds: u32, lanes: u32, told: impl Fn(u32)) -> Result<Dealt> {
    let done = AtomicU32::new(0);
    let after_round = || told(done.fetch_add(1, Ordering::Relaxed) + 1);
    let mut dealt = Dealt::new();
    let at_once = AT_ONCE.div_ceil(lanes as usize);
    let each = (0..lanes.min(rounds))
        .map(|first| one_lane(store, (first..rounds).step_by(lanes as usize), at_once, &after_round));
    for lane in try_join_all(each).await? {
        lane.into_iter().for_each(|(fault, times)| *dealt.entry(fault).or_default() += times);
    }
    for fault in faults() {
        let times = dealt.get(&fault).copied().unwrap_or(0);
        if times < rounds {
            return Err(format!("{fault:?} was dealt {times} times, not {rounds}: {dealt:?}").into());
        }
    }
    Ok(dealt)
}

/// Some rounds, one after the other.
async fn one_lane(
    store: Store,
    rounds: impl Iterator<Item = u32>,
    at_once: usize,
    after_round: &impl Fn(),
) -> Result<Dealt> {
    match store {
        Store::S3 => {
            let moto = Moto::start().await?;
            deal(&moto.bucket("lake").await?, moto.url(), rounds, at_once, after_round).await
        }
        Store::Azure => {
            let azurite = Azurite::start().await?;
            deal(&azurite.bucket("lake").await?, azurite.url(), rounds, at_once, after_round).await
        }
    }
}

async fn deal(
    bucket: &Bucket,
    url: &str,
    rounds: impl Iterator<Item = u32>,
    at_once: usize,
    after_round: &impl Fn(),
) -> Result<Dealt> {
    let proxy = Proxy::start(url).await?;
    let mut options = [impatient(Options::serve()?), impatient(Options::serve()?)];
    for round in rounds {
        options = one_round(options, round, at_once, bucket, &proxy).await?;
        after_round();
    }
    Ok(proxy.dealt())
}

/// Deadlines short enough that a store which says nothing is not waited for long.
fn impatient(options: Options) -> Options {
    options
        .setting("storage.request_timeout", "5s")
        .setting("storage.retry_timeout", "15s")
        .setting("query.max_timeout", "50s")
        .setting("jobs.query_timeout", "50s")
}

/// Every fault that makes sense.
fn faults() -> impl Iterator<Item = Fault> {
    let pairs = Kind::ALL.into_iter().flat_map(|kind| Operation::ALL.map(|operation| (kind, operation)));
    pairs.filter(|(kind, operation)| kind.happens_to(*operation))
}

/// Each fault once, on a dataset of its own; answers how to start the gateways again.
async fn one_round(
    options: [Options; 2],
    round: u32,
    at_once: usize,
    bucket: &Bucket,
    proxy: &Proxy,
) -> Result<[Options; 2]> {
    let gateways = bucket.two_gateways(proxy.url(), options).await?;
    let [writer, reader] = gateways.each_ref().map(Gateway::client);
    let cases = case::all(round).map(|case| async move {
        let named = |error| format!("{case:?}: {error}").into();
        case.run(writer, reader, bucket, proxy).await.map_err(named)
    });
    let tables: Result<Vec<law::Table>> = futures::stream::iter(cases).buffer_unordered(at_once).try_collect().await;
    let tables = tables?;
    law::for_other_readers(bucket, &tables).await?;
    // Nothing that a process remembers may be what holds the law.
    let [writer, reader] = gateways;
    let reader = reader.stop().await?.0;
    let writer = writer.stop().await?.0.start().await?;
    law::for_queries(writer.client(), &tables).await?;
    Ok([case::remove(writer, &tables, bucket, proxy).await?, reader])
}
