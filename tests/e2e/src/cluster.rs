//! Two gateways that share a companion on PostgreSQL and tables in S3, under load, while any of the processes is killed.
//!
//! Clients push through both gateways, each push again by its key until one of them answers; an owner makes datasets,
//! gives a reader rights and takes them back. Then one process is killed, and started again while the load goes on.
//! What was acknowledged is there, each push once; and nobody reads what it may no longer.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::client::dataset_path;
use crate::{Answer, Client, Companion, Gateway, Moto, Options, Postgres, Result};

const DATASET: &str = "crash.rows";
/// Clients that push at the same time.
const CLIENTS: usize = 4;
/// Rows of a push.
const ROWS: u64 = 3;
/// Answers that the load gets before a kill, while a process is away, and afterwards.
const BETWEEN: usize = 12;
/// How long the load may take to get them.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two tries of a client.
const PACE: Duration = Duration::from_millis(50);
/// How long a right may count after it was taken back: when gateways hear of it, and when they do not.
const HEARD: Duration = Duration::from_secs(1);
const UNHEARD: Duration = Duration::from_secs(5);

/// What the kills met, over all rounds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Kills.
    pub rounds: u32,
    /// Pushes that were acknowledged.
    pub pushes: usize,
    /// How often one was sent again.
    pub sent_again: usize,
    /// Datasets that were made.
    pub datasets: usize,
    /// Rights that were taken back and watched.
    pub revoked: usize,
}

/// Who is killed.
#[derive(Clone, Copy, Debug)]
enum Victim {
    Gateway(usize),
    Companion,
    Postgres,
}

/// In turns.
const VICTIMS: [Victim; 4] = [Victim::Gateway(0), Victim::Companion, Victim::Postgres, Victim::Gateway(1)];

struct Cluster {
    _moto: Moto,
    postgres: Postgres,
    companion: Option<Companion>,
    gateways: [Option<Gateway>; 2],
}

/// What the load and the kills share.
struct Shared {
    /// A client of the owner for each gateway, as it is reached now.
    owners: Mutex<[Client; 2]>,
    /// The reader's token.
    reader: String,
    /// Pushes that were acknowledged.
    acknowledged: Mutex<BTreeSet<String>>,
    datasets: Mutex<BTreeSet<String>>,
    answers: watch::Sender<usize>,
    sent_again: AtomicUsize,
    revoked: AtomicUsize,
    /// Since when all processes are well.
    whole: Mutex<Option<Instant>>,
    stop: AtomicBool,
}

impl Shared {
    fn owner(&self, gateway: usize) -> Client {
        self.owners.lock()[gateway].clone()
    }

    fn stops(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    fn answered(&self) {
        self.answers.send_modify(|count| *count += 1);
    }

    /// Waits for more answers to the load.
    async fn await_answers(&self, more: usize) -> Result {
        let mut answers = self.answers.subscribe();
        let enough = *answers.borrow() + more;
        let waited = tokio::time::timeout(PATIENCE, answers.wait_for(|count| *count >= enough)).await;
        waited.map_err(|_| format!("the load got no {more} answers in {} s", PATIENCE.as_secs()))??;
        Ok(())
    }

    /// Asks through one gateway after the other until `good` says that it is done.
    async fn insist<F>(&self, first: usize, ask: impl Fn(Client) -> F, good: &'static [u16]) -> Result<Answer>
    where
        F: Future<Output = Result<Answer>>,
    {
        let begun = Instant::now();
        for attempt in first.. {
            if attempt > first {
                self.sent_again.fetch_add(1, Ordering::SeqCst);
            }
            match ask(self.owner(attempt % 2)).await {
                Ok(answer) if good.contains(&answer.status) => return Ok(answer),
                // What may pass: somebody is away, or the same push still runs elsewhere.
                Ok(answer) if [409, 429, 503].contains(&answer.status) => {}
                Ok(answer) => return Err(format!("answered {}: {}", answer.status, answer.text()).into()),
                Err(_) => {}
            }
            if begun.elapsed() > PATIENCE {
                return Err("a request was not answered well for two minutes".into());
            }
            tokio::time::sleep(PACE).await;
        }
        Err("no attempts are left".into())
    }
}

/// Kills one process after the other, on the same tables.
pub async fn rounds(count: u32) -> Result<Tally> {
    let mut cluster = Cluster::start().await?;
    let owner = cluster.owner(0)?;
    owner.create(DATASET, &[("push", "string"), ("row", "int")]).await?.expect(201)?;
    owner.post("/v1/principals", &json!({ "name": "reader" })).await?.expect(201)?;
    let made =
        owner.post("/v1/tokens", &json!({ "name": "test", "principal": "reader" })).await?.expect(201)?.json()?;
    let shared = Arc::new(Shared {
        owners: Mutex::new([owner, cluster.owner(1)?]),
        reader: made["token"].as_str().ok_or("a token")?.to_owned(),
        acknowledged: Mutex::default(),
        datasets: Mutex::default(),
        answers: watch::Sender::new(0),
        sent_again: AtomicUsize::new(0),
        revoked: AtomicUsize::new(0),
        whole: Mutex::new(Some(Instant::now())),
        stop: AtomicBool::new(false),
    });
    for round in 0..count {
        cluster.round(&shared, round).await.map_err(|error| format!("round {round}: {error}"))?;
    }
    Ok(Tally {
        rounds: count,
        pushes: shared.acknowledged.lock().len(),
        sent_again: shared.sent_again.load(Ordering::SeqCst),
        datasets: shared.datasets.lock().len(),
        revoked: shared.revoked.load(Ordering::SeqCst),
    })
}

impl Cluster {
    async fn start() -> Result<Self> {
        let (moto, postgres) = tokio::try_join!(Moto::start(), Postgres::start())?;
        let bucket = moto.bucket("lake").await?;
        let companion = Companion::with(Options::serve()?.setting("catalog.database_url", postgres.url())).await?;
        let on_bucket =
            || Ok::<_, Box<dyn std::error::Error + Send + Sync>>(bucket.through(moto.url(), companion.gateway()?));
        let first = on_bucket()?.start().await?;
        let second = on_bucket()?.owned(first.token()).start().await?;
        Ok(Self { _moto: moto, postgres, companion: Some(companion), gateways: [Some(first), Some(second)] })
    }

    fn owner(&self, gateway: usize) -> Result<Client> {
        Ok(self.gateways[gateway].as_ref().ok_or("it is killed")?.client().clone())
    }

    /// Load, a kill within it, and what is there afterwards.
    async fn round(&mut self, shared: &Arc<Shared>, round: u32) -> Result {
        shared.stop.store(false, Ordering::SeqCst);
        let mut load: JoinSet<Result> = JoinSet::new();
        for client in 0..CLIENTS {
            load.spawn(push(Arc::clone(shared), round, client));
        }
        load.spawn(make_datasets(Arc::clone(shared), round));
        load.spawn(change_rights(Arc::clone(shared)));
        let killing = async {
            // Early and late kills, the same ones in every run.
            shared.await_answers(1 + (round as usize * 7) % BETWEEN).await?;
            self.kill(shared, VICTIMS[round as usize % VICTIMS.len()]).await?;
            shared.await_answers(BETWEEN).await
        };
        let killed = tokio::select! {
            killed = killing => killed,
            // A client ends by itself only with an error.
            Some(ended) = load.join_next() => ended?.and(Err("a client ended".into())),
        };
        shared.stop.store(true, Ordering::SeqCst);
        while let Some(ended) = load.join_next().await {
            ended??;
        }
        killed?;
        for gateway in 0..2 {
            present(shared, &self.owner(gateway)?).await.map_err(|error| format!("at gateway {gateway}: {error}"))?;
        }
        Ok(())
    }

    /// Kills a process and starts it again; while a gateway is away the load goes on through the other.
    async fn kill(&mut self, shared: &Shared, victim: Victim) -> Result {
        *shared.whole.lock() = None;
        match victim {
            Victim::Gateway(which) => {
                let stopped = self.gateways[which].take().ok_or("it is killed")?.kill().await?;
                shared.await_answers(BETWEEN).await?;
                let gateway = stopped.start().await?;
                shared.owners.lock()[which] = gateway.client().clone();
                self.gateways[which] = Some(gateway);
            }
            Victim::Companion => {
                let stopped = self.companion.take().ok_or("it is killed")?.kill().await?;
                self.companion = Some(stopped.start().await?);
            }
            Victim::Postgres => self.postgres.crash().await?,
        }
        *shared.whole.lock() = Some(Instant::now());
        Ok(())
    }
}

/// One push after another, each by its key until it is acknowledged.
async fn push(shared: Arc<Shared>, round: u32, client: usize) -> Result {
    for sequence in 0.. {
        if shared.stops() {
            break;
        }
        let key = format!("r{round}-c{client}-{sequence}");
        let rows: String = (0..ROWS).map(|row| format!("{}\n", json!({ "push": key, "row": row }))).collect();
        let ask = |owner: Client| {
            let request = owner.push_request(DATASET, "application/x-ndjson", rows.clone());
            Answer::of(request.header("idempotency-key", &key))
        };
        shared.insist(client, ask, &[200]).await?;
        shared.acknowledged.lock().insert(key);
        shared.answered();
    }
    Ok(())
}

/// One dataset after another. One that is there after a lost answer was made by it.
async fn make_datasets(shared: Arc<Shared>, round: u32) -> Result {
    for number in 0.. {
        if shared.stops() {
            break;
        }
        let name = format!("crash.d{round}_{number}");
        let ask = |owner: Client| {
            let name = name.clone();
            async move {
                let made = owner.create(&name, &[("n", "bigint")]).await?;
                let there = made.code().as_deref() == Some("already_exists");
                if there { owner.get(&dataset_path(&name)).await } else { Ok(made) }
            }
        };
        shared.insist(number, ask, &[200, 201]).await?;
        shared.datasets.lock().insert(name);
        shared.answered();
    }
    Ok(())
}

/// Gives a right and takes it back, and watches how long it counts.
async fn change_rights(shared: Arc<Shared>) -> Result {
    let grant = json!({ "principal": "reader", "role": "reader", "dataset": DATASET });
    for turn in 0.. {
        if shared.stops() {
            break;
        }
        let give = |owner: Client| {
            let grant = grant.clone();
            async move { owner.send(Method::PUT, "/v1/grants", &grant).await }
        };
        shared.insist(turn, give, &[200]).await?;
        // So that both gateways know it.
        for gateway in 0..2 {
            let _ = read(&shared, gateway).await;
        }
        let take = |owner: Client| async move {
            owner.delete(&format!("/v1/grants?principal=reader&dataset={DATASET}")).await
        };
        // Taken back already, when an answer was lost.
        shared.insist(turn, take, &[204, 404]).await?;
        let (taken, whole) = (Instant::now(), *shared.whole.lock());
        shared.revoked.fetch_add(1, Ordering::SeqCst);
        let mut last = None;
        while taken.elapsed() < UNHEARD + HEARD {
            let mut refused = 0;
            for gateway in 0..2 {
                let asked = taken.elapsed();
                match read(&shared, gateway).await {
                    Ok(200) => last = Some(asked),
                    Ok(404) => refused += 1,
                    // Away, or asked when the catalog is.
                    Ok(_) | Err(_) => {}
                }
            }
            if refused == 2 {
                break;
            }
            tokio::time::sleep(PACE).await;
        }
        // Well since before the right was given, and still.
        let heard =
            whole.is_some() && whole == *shared.whole.lock() && whole.is_some_and(|since| since + UNHEARD < taken);
        let limit = if heard { HEARD } else { UNHEARD };
        if let Some(last) = last.filter(|last| *last > limit) {
            return Err(format!("a right counted {last:?} after it was taken back").into());
        }
        shared.answered();
    }
    Ok(())
}

async fn read(shared: &Shared, gateway: usize) -> Result<u16> {
    let reader = shared.owner(gateway).with_token(&shared.reader);
    Ok(reader.query(&format!("SELECT 1 FROM {DATASET} LIMIT 1")).await?.status)
}

/// Whether all that was acknowledged is there, and each push once.
async fn present(shared: &Shared, client: &Client) -> Result {
    let sql = format!("SELECT push, count(*) AS n, count(DISTINCT row) AS d FROM {DATASET} GROUP BY push");
    let body = client.post("/v1/query", &json!({ "sql": sql, "limit": 1_000_000 })).await?.expect(200)?.json()?;
    let rows = body["rows"].as_array().ok_or("no rows")?;
    let wrong: Vec<&Value> = rows.iter().filter(|row| row["n"] != ROWS || row["d"] != ROWS).collect();
    let there: BTreeSet<&str> = rows.iter().filter_map(|row| row["push"].as_str()).collect();
    let acknowledged = shared.acknowledged.lock().clone();
    let lost: Vec<_> = acknowledged.iter().filter(|key| !there.contains(key.as_str())).collect();
    let unknown = there.len() - (acknowledged.len() - lost.len());
    if !wrong.is_empty() || !lost.is_empty() || unknown != 0 {
        return Err(format!("not exactly once {wrong:?}, lost {lost:?}, {unknown} never acknowledged").into());
    }
    let tables = "SELECT concat(table_schema, '.', table_name) AS name FROM information_schema.tables";
    let body = client.post("/v1/query", &json!({ "sql": tables, "limit": 1_000_000 })).await?.expect(200)?.json()?;
    let names: BTreeSet<&str> =
        body["rows"].as_array().into_iter().flatten().filter_map(|row| row["name"].as_str()).collect();
    let lost: Vec<String> =
        shared.datasets.lock().iter().filter(|name| !names.contains(name.as_str())).cloned().collect();
    if lost.is_empty() { Ok(()) } else { Err(format!("datasets are lost: {lost:?}").into()) }
}
