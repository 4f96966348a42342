//! Pushes under kill -9: every acknowledged row is there exactly once, and every push that was not
//! acknowledged can be sent again.
//!
//! Nothing in the gateway helps: several clients push at once, the process is killed as soon as a certain
//! number of pushes has been answered, and what each open push had reached is read from storage before
//! the restart.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::{Answer, Bucket, Client, Gateway, Options, Result};

const DATASET: &str = "crash.rows";

/// Clients that push at the same time.
const CLIENTS: u32 = 6;

/// Rows of a push.
const ROWS: u32 = 3;

/// What the kills met, over all rounds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Kills.
    pub rounds: u32,
    /// Pushes that were answered before a kill.
    pub acknowledged: usize,
    /// Open pushes that had written their file, and not committed it.
    pub file_without_commit: usize,
    /// Open pushes that had committed, and not been answered.
    pub commit_without_answer: usize,
    /// All pushes that were open at a kill, and sent again.
    pub sent_again: usize,
}

impl Tally {
    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            rounds: self.rounds + other.rounds,
            acknowledged: self.acknowledged + other.acknowledged,
            file_without_commit: self.file_without_commit + other.file_without_commit,
            commit_without_answer: self.commit_without_answer + other.commit_without_answer,
            sent_again: self.sent_again + other.sent_again,
        }
    }

    /// Whether enough kills met a push at each of the two moments that matter.
    pub fn is_telling(&self) -> bool {
        self.file_without_commit >= 5 && self.commit_without_answer >= 5
    }
}

/// Pushes by idempotency key; a push's rows are named after its key.
#[derive(Debug, Default)]
struct Ledger {
    acknowledged: BTreeSet<String>,
    open: BTreeSet<String>,
}

/// Where the tables are.
#[derive(Clone, Debug)]
pub enum Kept {
    /// In the data folder.
    Folder,
    /// In a bucket, under `lake/`.
    Bucket(Bucket),
}

/// Kills a gateway under pushes, as often as told, on one and the same folder.
pub async fn rounds(count: u32) -> Result<Tally> {
    rounds_on(Options::serve()?, Kept::Folder, count).await
}

/// The same for tables that are kept elsewhere.
pub async fn rounds_on(options: Options, kept: Kept, count: u32) -> Result<Tally> {
    let mut tally = Tally::default();
    let gateway: Gateway = options.start().await?;
    gateway.client().create(DATASET, &[("push", "string"), ("row", "int")]).await?.expect(201)?;
    let (mut options, _) = gateway.stop().await?;
    let mut expected = BTreeSet::new();
    let mut orphans = BTreeSet::new();
    for round in 0..count {
        let (stopped, ledger) = push_until_killed(options, round).await?;
        let lost = match &kept {
            Kept::Folder => files_without_commit(&stopped.kept())?,
            Kept::Bucket(bucket) => objects_without_commit(bucket).await?,
        };
        tally.file_without_commit += lost.difference(&orphans).count();
        orphans.extend(lost);

        let gateway = stopped.start().await?;
        tally.commit_without_answer +=
            present(gateway.client()).await?.keys().filter(|k| ledger.open.contains(*k)).count();
        for key in &ledger.open {
            push(gateway.client(), key).await?.expect(200)?;
        }
        tally.rounds += 1;
        tally.acknowledged += ledger.acknowledged.len();
        tally.sent_again += ledger.open.len();
        expected.extend(ledger.acknowledged);
        expected.extend(ledger.open);
        compare(&present(gateway.client()).await?, &expected)?;
        options = gateway.stop().await?.0;
    }
    Ok(tally)
}

/// Every client pushes, one push after another, until the process is gone.
async fn push_until_killed(options: Options, round: u32) -> Result<(Options, Ledger)> {
    let gateway = options.start().await?;
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let enough = Arc::new(Notify::new());
    // Early and late kills, the same ones in every run.
    let answers = 1 + (round as usize * 7) % 23;
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let (client, ledger, enough) = (gateway.client().clone(), Arc::clone(&ledger), Arc::clone(&enough));
        clients.spawn(async move {
            for sequence in 0.. {
                let key = format!("r{round}-c{number}-{sequence}");
                ledger.lock().open.insert(key.clone());
                // An answer that is not 200 would be a defect, and stays open; so it fails when sent again.
                let Ok(Answer { status: 200, .. }) = push(&client, &key).await else { break };
                let mut ledger = ledger.lock();
                ledger.open.remove(&key);
                ledger.acknowledged.insert(key);
                if ledger.acknowledged.len() == answers {
                    enough.notify_one();
                }
            }
        });
    }
    let waited = tokio::time::timeout(crate::client::DEADLINE, enough.notified()).await;
    waited.map_err(|_| format!("no {answers} pushes were answered in time; its output:\n{}", gateway.output()))?;
    let options = gateway.kill().await?;
    clients.join_all().await;
    let ledger = std::mem::take(&mut *ledger.lock());
    Ok((options, ledger))
}

async fn push(client: &Client, key: &str) -> Result<Answer> {
    let rows: String = (0..ROWS).map(|row| format!("{}\n", json!({ "push": key, "row": row }))).collect();
    let request = client.push_request(DATASET, "application/x-ndjson", rows);
    Answer::of(request.header("idempotency-key", key)).await
}

/// How many rows each push has.
async fn present(client: &Client) -> Result<BTreeMap<String, u64>> {
    let sql = format!("SELECT push, count(*) AS n, count(DISTINCT row) AS d FROM {DATASET} GROUP BY push");
    let body = client.post("/v1/query", &json!({ "sql": sql, "limit": 1_000_000 })).await?.expect(200)?.json()?;
    let rows = body["rows"].as_array().ok_or("no rows")?;
    let counted = rows.iter().filter_map(|row| {
        // A push with one row twice and another missing has the right count, and is wrong.
        let whole = row["d"].as_u64() == Some(u64::from(ROWS));
        Some((row["push"].as_str()?.to_owned(), if whole { row["n"].as_u64()? } else { 0 }))
    });
    Ok(counted.collect())
}

fn compare(present: &BTreeMap<String, u64>, expected: &BTreeSet<String>) -> Result {
    let missing: Vec<_> = expected.iter().filter(|key| !present.contains_key(*key)).collect();
    let unknown: Vec<_> = present.keys().filter(|key| !expected.contains(*key)).collect();
    let wrong: Vec<_> = present.iter().filter(|(_, rows)| **rows != u64::from(ROWS)).collect();
    if missing.is_empty() && unknown.is_empty() && wrong.is_empty() {
        return Ok(());
    }
    Err(format!("lost {missing:?}, never sent {unknown:?}, not exactly once {wrong:?}").into())
}

/// Whole data files that no version of any table names.
fn files_without_commit(kept: &Path) -> Result<BTreeSet<String>> {
    let mut lost = BTreeSet::new();
    for table in std::fs::read_dir(kept.join("lake/root"))? {
        let table = table?.path();
        if !table.is_dir() {
            continue;
        }
        let named = named_files(&table.join("_delta_log"))?;
        for file in std::fs::read_dir(&table)? {
            let path = file?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let whole = name.ends_with(".parquet") && std::fs::read(&path)?.ends_with(b"PAR1");
            if whole && !named.contains(&name) {
                lost.insert(name);
            }
        }
    }
    Ok(lost)
}

/// The files that the log's commits add.
fn named_files(log: &Path) -> Result<BTreeSet<String>> {
    let mut named = BTreeSet::new();
    for entry in std::fs::read_dir(log)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        named.extend(added(&std::fs::read_to_string(&path)?)?);
    }
    Ok(named)
}

/// The files that a log entry adds.
fn added(entry: &str) -> Result<Vec<String>> {
    let mut added = Vec::new();
    for line in entry.lines() {
        let action: Value = serde_json::from_str(line)?;
        added.extend(action["add"]["path"].as_str().map(str::to_owned));
    }
    Ok(added)
}

/// The same of a bucket, where what is there is whole.
async fn objects_without_commit(bucket: &Bucket) -> Result<BTreeSet<String>> {
    let (mut files, mut named) = (BTreeSet::new(), BTreeSet::new());
    for key in bucket.keys("lake/").await? {
        if key.contains("/_delta_log/") && key.ends_with(".json") {
            named.extend(added(std::str::from_utf8(&bucket.get(&key).await?)?)?);
        } else if key.ends_with(".parquet") && !key.contains("/_delta_log/") {
            files.extend(key.rsplit('/').next().map(str::to_owned));
        }
    }
    Ok(files.difference(&named).cloned().collect())
}
