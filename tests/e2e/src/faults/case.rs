//! One case: a dataset, the faults that its store deals, and pushes until all of them are dealt.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::json;

use super::law::Table;
use super::{Fault, Kind, Operation, Proxy};
use crate::client::dataset_path;
use crate::{Answer, Bucket, Client, Gateway, Options, Result};

/// Rows of a push.
pub(super) const ROWS: u32 = 3;

/// Pushes of a case whose faults need no more.
const FEW: u32 = 4;

/// Versions between two checkpoints of a case that needs one.
const INTERVAL: u32 = 6;

/// So many pushes make a checkpoint due.
const MANY: u32 = INTERVAL + 2;

/// How often one request is sent before the case fails.
const ATTEMPTS: u32 = 30;

/// How long a checkpoint may take, all that a store that says nothing costs it included.
const PATIENCE: Duration = Duration::from_secs(60);

/// When nothing has been removed for so long, nothing will be: longer than a request that meets a stall.
const QUIET: Duration = Duration::from_secs(4);

/// A dataset and the faults that wait for it.
#[derive(Clone, Debug)]
pub(super) struct Case {
    name: String,
    kind: Kind,
    operations: Vec<Operation>,
    /// After the rows are there.
    on_removal: bool,
}

/// Every fault in one case. A kind's two faults of a checkpoint share one: it takes many pushes.
pub(super) fn all(round: u32) -> impl Iterator<Item = Case> {
    use Operation::{Checkpoint, Commit, DataFile, Delete, LastCheckpoint, List, ReadData, ReadLog};
    let groups: [&'static [Operation]; 7] =
        [&[Checkpoint, LastCheckpoint], &[DataFile], &[Commit], &[ReadData], &[ReadLog], &[List], &[Delete]];
    groups.into_iter().flat_map(move |group| {
        Kind::ALL.into_iter().filter_map(move |kind| {
            let operations: Vec<_> = group.iter().copied().filter(|operation| kind.happens_to(*operation)).collect();
            let first = operations.first()?;
            let name = format!("r{round}.{first:?}_{kind:?}").to_lowercase();
            Some(Case { name, kind, on_removal: *first == Delete, operations })
        })
    })
}

impl Case {
    /// Pushes through one gateway and asks another, until all faults are dealt; answers what was acknowledged.
    pub(super) async fn run(&self, writer: &Client, reader: &Client, bucket: &Bucket, proxy: &Proxy) -> Result<Table> {
        let created = writer.create(&self.name, &[("push", "string"), ("row", "int")]).await?.expect(201)?.json()?;
        let id = created["id"].as_str().ok_or("no id")?.to_owned();
        let checkpoints = self.operations.contains(&Operation::Checkpoint);
        if checkpoints {
            bucket.set_checkpoint_interval(&id, INTERVAL).await?;
        }
        let faults: Vec<Fault> = self.operations.iter().map(|operation| (self.kind, *operation)).collect();
        if !self.on_removal {
            faults.iter().for_each(|fault| proxy.arm(&id, *fault));
        }
        let mut keys = BTreeSet::new();
        for number in 0..if checkpoints { MANY } else { FEW } {
            keys.insert(self.push(writer, number).await?);
        }
        let table = Table { name: self.name.clone(), id, keys, faults };
        table.holds(reader).await?;
        table.holds(writer).await?;
        if checkpoints { self.until_checkpointed(table, writer, bucket, proxy).await } else { self.spent(table, proxy) }
    }

    /// A push that is sent until it is acknowledged; answers its key.
    async fn push(&self, client: &Client, number: u32) -> Result<String> {
        let key = format!("p{number}");
        let rows: String = (0..ROWS).map(|row| format!("{}\n", json!({ "push": key, "row": row }))).collect();
        patiently(async || {
            let request = client.push_request(&self.name, "application/x-ndjson", rows.clone());
            Answer::of(request.header("idempotency-key", &key)).await
        })
        .await?;
        Ok(key)
    }

    /// A checkpoint that failed is written after a later push.
    async fn until_checkpointed(
        &self,
        mut table: Table,
        client: &Client,
        bucket: &Bucket,
        proxy: &Proxy,
    ) -> Result<Table> {
        let pointer = format!("lake/{}/_delta_log/_last_checkpoint", table.id);
        let patience = Instant::now();
        for number in MANY.. {
            if proxy.is_spent(&table.id) && bucket.get(&pointer).await.is_ok() {
                return Ok(table);
            }
            if patience.elapsed() > PATIENCE {
                break;
            }
            table.keys.insert(self.push(client, number).await?);
            proxy.news(Duration::from_millis(500)).await;
        }
        Err(format!("no checkpoint after {} pushes", table.keys.len()).into())
    }

    fn spent(&self, table: Table, proxy: &Proxy) -> Result<Table> {
        if self.on_removal || proxy.is_spent(&table.id) { Ok(table) } else { Err("the fault was not met".into()) }
    }
}

/// Sends until the answer is 200; what fails otherwise than for want of the store is an error.
pub(super) async fn patiently(send: impl AsyncFn() -> Result<Answer>) -> Result<Answer> {
    let mut last = String::new();
    for _ in 0..ATTEMPTS {
        let answer = send().await?;
        match answer.status {
            200 | 204 => return Ok(answer),
            503 | 409 => last = answer.start(),
            _ => return answer.expect(200),
        }
    }
    Err(format!("{ATTEMPTS} attempts, the last one: {last}").into())
}

/// Deletes the datasets, those of removal cases under their faults, and waits until their files are gone, which
/// takes a new start when a fault met the sweep. Answers how to start the gateway again.
pub(super) async fn remove(gateway: Gateway, tables: &[Table], bucket: &Bucket, proxy: &Proxy) -> Result<Options> {
    for table in tables {
        patiently(async || gateway.client().delete(&dataset_path(&table.name)).await).await?;
        for fault in table.faults.iter().filter(|(_, operation)| *operation == Operation::Delete) {
            proxy.arm(&table.id, *fault);
        }
    }
    let (options, _) = gateway.stop().await?;
    // Files are kept for as long as a query may run.
    let hasty = options.clone().setting("query.timeout", "1s").setting("query.max_timeout", "1s");
    let hasty = hasty.setting("jobs.query_timeout", "1s");
    for _ in 0..ATTEMPTS {
        let gateway = hasty.clone().start().await?;
        let emptied = emptied(bucket).await?;
        gateway.stop().await?;
        if emptied {
            let waiting = tables.iter().find(|table| !proxy.is_spent(&table.id));
            return waiting.map_or(Ok(options), |table| Err(format!("{:?} was not met", table.faults).into()));
        }
    }
    Err("files of deleted datasets are still there".into())
}

/// Whether only the marker remains, before nothing more goes away for a while.
async fn emptied(bucket: &Bucket) -> Result<bool> {
    let (mut there, mut since) = (usize::MAX, Instant::now());
    loop {
        let now = bucket.keys("lake/").await?.len();
        if now <= 1 || (now >= there && since.elapsed() > QUIET) {
            return Ok(now <= 1);
        }
        if now < there {
            (there, since) = (now, Instant::now());
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}
