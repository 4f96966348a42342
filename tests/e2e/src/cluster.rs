//! Two gateways that share a companion on PostgreSQL and tables in S3, under load, while any of the processes is killed.
//!
//! Clients push through both gateways, each push again by its key until one of them answers; an owner makes datasets,
//! gives a reader rights and takes them back, and asks statements in the background. Then one process is killed, and started
//! again while the load goes on. What was acknowledged is there, each push once; each job came to one end, and to no other;
//! and nobody reads what it may no longer: each round ends with a right that is taken back while all are well.

use std::collections::{BTreeMap, BTreeSet};
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
/// Values of which each job joins four times as many.
const SLOWNESS: u64 = 40;
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
    /// Those of them that all gateways must have heard of within a second.
    pub heard: usize,
    /// Jobs that came to their end.
    pub jobs: usize,
    /// How often one of them was begun after the first time.
    pub begun_again: u64,
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
    heard: AtomicUsize,
    /// Jobs that were accepted.
    jobs: Mutex<BTreeSet<String>>,
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
        heard: AtomicUsize::new(0),
        jobs: Mutex::default(),
        whole: Mutex::new(Some(Instant::now())),
        stop: AtomicBool::new(false),
    });
    for round in 0..count {
        cluster.round(&shared, round).await.map_err(|error| format!("round {round}: {error}"))?;
    }
    let begun_again = ended_once(&shared).await?;
    Ok(Tally {
        rounds: count,
        pushes: shared.acknowledged.lock().len(),
        sent_again: shared.sent_again.load(Ordering::SeqCst),
        datasets: shared.datasets.lock().len(),
        revoked: shared.revoked.load(Ordering::SeqCst),
        heard: shared.heard.load(Ordering::SeqCst),
        jobs: shared.jobs.lock().len(),
        begun_again,
    })
}

impl Cluster {
    async fn start() -> Result<Self> {
        let (moto, postgres) = tokio::try_join!(Moto::start(), Postgres::start())?;
        let bucket = moto.bucket("lake").await?;
        let companion = Companion::with(Options::serve()?.setting("catalog.database_url", postgres.url())).await?;
        let on_bucket =
            // A short lease: what a killed gateway did goes on soon.
            || Ok::<_, Box<dyn std::error::Error + Send + Sync>>(bucket.through(moto.url(), companion.gateway()?).setting("jobs.lease", "3s"));
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
        load.spawn(submit_jobs(Arc::clone(shared), round));
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
        take_back_among_the_well(shared).await?;
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

/// Gives rights and takes them back, and watches how long they count.
async fn change_rights(shared: Arc<Shared>) -> Result {
    for turn in 0.. {
        if shared.stops() {
            break;
        }
        change_right(&shared, turn).await?;
        shared.answered();
    }
    Ok(())
}

/// Takes a right back after all processes have been well for so long that every gateway hears of it.
async fn take_back_among_the_well(shared: &Shared) -> Result {
    let well = shared.whole.lock().ok_or("somebody is away")?;
    tokio::time::sleep((UNHEARD + HEARD).saturating_sub(well.elapsed())).await;
    if change_right(shared, 0).await? {
        shared.heard.fetch_add(1, Ordering::SeqCst);
        return Ok(());
    }
    Err("all were well, and yet a right was not judged by the second in which gateways hear of it".into())
}

/// Gives a right and takes it back; whether it had to end within the second in which gateways hear of it.
async fn change_right(shared: &Shared, turn: usize) -> Result<bool> {
    let grant = json!({ "principal": "reader", "role": "reader", "dataset": DATASET });
    let give = |owner: Client| {
        let grant = grant.clone();
        async move { owner.send(Method::PUT, "/v1/grants", &grant).await }
    };
    shared.insist(turn, give, &[200]).await?;
    // So that both gateways know it.
    for gateway in 0..2 {
        let _ = read(shared, gateway).await;
    }
    let take =
        |owner: Client| async move { owner.delete(&format!("/v1/grants?principal=reader&dataset={DATASET}")).await };
    // Taken back already, when an answer was lost.
    shared.insist(turn, take, &[204, 404]).await?;
    let (taken, whole) = (Instant::now(), *shared.whole.lock());
    shared.revoked.fetch_add(1, Ordering::SeqCst);
    let mut last = None;
    while taken.elapsed() < UNHEARD + HEARD {
        let mut refused = 0;
        for gateway in 0..2 {
            let asked = taken.elapsed();
            match read(shared, gateway).await {
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
    let heard = whole.is_some() && whole == *shared.whole.lock() && whole.is_some_and(|since| since + UNHEARD < taken);
    let limit = if heard { HEARD } else { UNHEARD };
    if let Some(last) = last.filter(|last| *last > limit) {
        return Err(format!("a right counted {last:?} after it was taken back").into());
    }
    Ok(heard)
}

/// Counts the rows, and takes so long for something else that kills meet it.
fn slow_count() -> String {
    let values: Vec<_> = (0..SLOWNESS).map(|n| format!("({n})")).collect();
    format!(
        "WITH v AS (SELECT * FROM (VALUES {}) AS t(n)) SELECT (SELECT count(*) FROM {DATASET}) AS n, \
         (SELECT count(*) FROM v AS a, v AS b, v AS c, v AS d) AS m",
        values.join(", ")
    )
}

/// Asks one statement after another in the background. One that is there after a lost answer was made by it.
async fn submit_jobs(shared: Arc<Shared>, round: u32) -> Result {
    for number in 0.. {
        if shared.stops() {
            break;
        }
        let label = format!("r{round}-{number}");
        let ask = |owner: Client| {
            let label = label.clone();
            async move {
                let there = owner.get(&format!("/v1/jobs?label=load:{label}")).await?;
                let none = there.status == 200 && there.json()?["items"].as_array().is_some_and(Vec::is_empty);
                if !none {
                    return Ok(there);
                }
                owner
                    .post("/v1/jobs", &json!({ "kind": "query", "sql": slow_count(), "labels": { "load": label } }))
                    .await
            }
        };
        let answer = shared.insist(number, ask, &[200, 202]).await?.json()?;
        let job = answer["items"].get(0).unwrap_or(&answer);
        shared.jobs.lock().insert(job["id"].as_str().ok_or("a job's id")?.to_owned());
        shared.answered();
        // Not so many that the end waits for them.
        tokio::time::sleep(PACE * 4).await;
    }
    Ok(())
}

/// Whether each job that was accepted comes to its end, well and once; how often one was begun again.
async fn ended_once(shared: &Shared) -> Result<u64> {
    let (owner, jobs, begun) = (shared.owner(0), shared.jobs.lock().clone(), Instant::now());
    let mut again = 0;
    for id in &jobs {
        let job = loop {
            let job = owner.get(&format!("/v1/jobs/{id}")).await?.expect(200)?.json()?;
            match job["state"].as_str() {
                Some("waiting" | "running") if begun.elapsed() < PATIENCE => tokio::time::sleep(PACE).await,
                Some("done") => break job,
                _ => return Err(format!("a job has not come to a good end: {job}").into()),
            }
        };
        again += job["attempts"].as_u64().unwrap_or_default().saturating_sub(1);
        let rows = owner.get(&format!("/v1/jobs/{id}/result?format=json")).await?.expect(200)?.json()?;
        let (count, all) = (rows["rows"][0]["n"].as_u64().ok_or("a count")?, &rows["rows"][0]["m"]);
        if !count.is_multiple_of(ROWS) || *all != SLOWNESS.pow(4) {
            return Err(format!("job {id} answers {rows}: half a push, or half an answer").into());
        }
    }
    let feed = owner.get("/v1/events?after=0&wait=0").await?.expect(200)?.text();
    let mut ends = BTreeMap::<String, usize>::new();
    for data in feed.lines().filter_map(|line| line.strip_prefix("data:")) {
        let event: Value = serde_json::from_str(data)?;
        if event["type"] == "job_ended" {
            *ends.entry(event["job"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
        }
    }
    match jobs.iter().find(|id| ends.get(*id) != Some(&1)) {
        Some(id) => Err(format!("the end of job {id} was told {:?} times", ends.get(id)).into()),
        None => Ok(again),
    }
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
