//! Tables that have lost something for good: their statements say what, all others go on, and what comes back works.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lakegate_e2e::client::dataset_path;
use lakegate_e2e::{Answer, Client, Gateway, Result};
use reqwest::Method;
use serde_json::{Value, json};

const COLUMNS: &[(&str, &str)] = &[("id", "bigint"), ("name", "string")];

/// Versions that make a checkpoint.
const CHECKPOINT: u64 = 50;

/// A dataset with one push of rows, and the folder of its table.
async fn dataset(gateway: &Gateway, name: &str) -> Result<PathBuf> {
    let made = gateway.client().create(name, COLUMNS).await?.expect(201)?.json()?;
    let rows: String = (0..2_000).map(|id| format!("{{\"id\":{id},\"name\":\"{}\"}}\n", id * 7_919)).collect();
    gateway.client().push(name, rows).await?.expect(200)?;
    Ok(gateway.options().kept().join("lake/root").join(made["id"].as_str().ok_or("no id")?))
}

/// The newest data file of a table.
fn newest_file(table: &Path) -> Result<PathBuf> {
    let files = std::fs::read_dir(table)?.filter_map(|entry| Some(entry.ok()?.path()));
    files.filter(|path| path.extension().is_some_and(|e| e == "parquet")).max().ok_or_else(|| "no file".into())
}

fn commit(table: &Path, version: u64) -> PathBuf {
    table.join("_delta_log").join(format!("{version:020}.json"))
}

fn flip(path: &Path, at: impl Fn(usize) -> usize) -> Result {
    let mut bytes = std::fs::read(path)?;
    let at = at(bytes.len());
    bytes.iter_mut().skip(at).take(12).for_each(|byte| *byte ^= 0xff);
    Ok(std::fs::write(path, bytes)?)
}

/// What a statement that meets damage answers: what is damaged, what to do, and no path of the machine.
fn damaged(answer: Answer, dataset: &str, says: &str) -> Result<Value> {
    let problem = answer.expect_problem(500, "dataset_damaged")?.json()?;
    let detail = problem["detail"].as_str().unwrap_or_default();
    let named = detail.starts_with(&format!("dataset `{dataset}` is damaged: `"));
    if !named || !detail.contains(says) || problem["help"].is_null() || problem.to_string().contains("lake/root") {
        return Err(format!("expected that {dataset} {says}: {problem}").into());
    }
    Ok(problem)
}

async fn shown(client: &Client, dataset: &str) -> Result<Value> {
    client.get(&dataset_path(dataset)).await?.expect(200)?.json()
}

async fn metric(client: &Client, name: &str) -> Result<u64> {
    let text = client.get("/metrics").await?.expect(200)?.text();
    let line =
        text.lines().find_map(|line| line.strip_prefix(&format!("{name} "))).ok_or_else(|| format!("no {name}"))?;
    Ok(line.parse()?)
}

const SUM: &str = "SELECT sum(id) AS n, max(length(name)) AS l FROM";

#[tokio::test]
async fn a_damaged_data_file_fails_its_dataset_alone_and_works_when_it_is_back() -> Result {
    let gateway = Gateway::start().await?;
    dataset(&gateway, "shop.healthy").await?;
    let mut cases = Vec::new();
    for (name, says) in [
        ("shop.missing", "of version 2 is missing"),
        ("shop.short", "of version 2 has 100 bytes instead of"),
        ("shop.footer", "of version 2 cannot be decoded"),
        ("shop.page", "of version 2 cannot be decoded"),
    ] {
        let table = dataset(&gateway, name).await?;
        gateway.client().push(name, "{\"id\":1,\"name\":\"second\"}\n").await?.expect(200)?;
        let file = newest_file(&table)?;
        let whole = std::fs::read(&file)?;
        match name {
            "shop.missing" => std::fs::remove_file(&file)?,
            "shop.short" => std::fs::write(&file, whole.get(..100).ok_or("short")?)?,
            "shop.footer" => flip(&file, |length| length - 60)?,
            _ => flip(&file, |_| 30)?,
        }
        cases.push((name, says, file, whole));
    }
    let gateway = gateway.stop().await?.0.start().await?;
    let client = gateway.client();
    for (name, says, _, _) in &cases {
        let problem = damaged(client.query(&format!("{SUM} {name}")).await?, name, says)?;
        assert!(problem["help"].as_str().is_some_and(|help| help.contains("as_of")), "{problem}");
        assert!(shown(client, name).await?["damage"].as_str().is_some_and(|damage| damage.contains(says)));
        let older = client.rows(&format!("SELECT count(name) AS n FROM {name}@v1")).await?;
        assert_eq!(older, [json!({ "n": 2_000 })]);
        // Rows of the other file have left already.
        let rows = client.get(&format!("{}/rows", dataset_path(name))).await?.expect(200)?.json()?;
        assert_eq!(
            (rows["rows"].as_array().map(Vec::len), &rows["error"]["code"]),
            (Some(2_000), &json!("dataset_damaged"))
        );
        client.push(name, "{\"id\":2}\n").await?.expect(200)?;
        client.rows(&format!("SELECT count(*) AS n FROM {name}$versions")).await?;
    }
    let both = "SELECT h.id, d.name FROM shop.healthy h JOIN shop.missing d ON h.id = d.id";
    damaged(client.query(both).await?, "shop.missing", "is missing")?;
    assert_eq!(client.rows(&format!("{SUM} shop.healthy")).await?.len(), 1);
    assert!(shown(client, "shop.healthy").await?["damage"].is_null());
    assert_eq!(metric(client, "lakegate_damaged_datasets").await?, 4);
    assert!(metric(client, "lakegate_damage_met_total").await? >= 9);
    client.get("/readyz").await?.expect(200)?;
    assert!(gateway.output().contains("a dataset is damaged"), "{}", gateway.output());

    for (name, _, file, whole) in &cases {
        std::fs::write(file, whole)?;
        assert!(shown(client, name).await?["damage"].is_null(), "{name}");
        assert_eq!(client.rows(&format!("SELECT count(name) AS n FROM {name}")).await?, [json!({ "n": 2_001 })]);
    }
    assert_eq!(metric(client, "lakegate_damaged_datasets").await?, 0);
    Ok(())
}

#[tokio::test]
async fn a_table_whose_folder_is_gone_is_damaged_and_not_deleted() -> Result {
    let gateway = Gateway::start().await?;
    let table = dataset(&gateway, "shop.gone").await?;
    let aside = table.with_extension("aside");
    std::fs::rename(&table, &aside)?;
    // Its newest version is still known here; nothing may be committed behind the gap.
    damaged(gateway.client().query(&format!("{SUM} shop.gone")).await?, "shop.gone", "is missing")?;
    damaged(
        gateway.client().push("shop.gone", "{\"id\":1}\n").await?,
        "shop.gone",
        "0001.json` of version 1 is missing",
    )?;
    assert!(!table.exists());

    let gateway = gateway.stop().await?.0.start().await?;
    let client = gateway.client();
    let says = "`_delta_log` is missing";
    damaged(client.query(&format!("{SUM} shop.gone")).await?, "shop.gone", says)?;
    damaged(client.push("shop.gone", "{\"id\":1}\n").await?, "shop.gone", says)?;
    damaged(client.get("/v1/datasets/shop/gone/versions").await?, "shop.gone", says)?;
    let path = "/v1/datasets/shop/gone/compact";
    damaged(client.call(reqwest::Method::POST, path).await?, "shop.gone", says)?;
    let described = shown(client, "shop.gone").await?;
    assert_eq!((&described["version"], &described["damage"]), (&Value::Null, &json!(says)));

    std::fs::rename(&aside, &table)?;
    client.rows(&format!("{SUM} shop.gone")).await?;
    client.push("shop.gone", "{\"id\":1}\n").await?.expect(200)?;
    assert!(shown(client, "shop.gone").await?["damage"].is_null());

    std::fs::remove_dir_all(&table)?;
    let gateway = gateway.stop().await?.0.start().await?;
    let client = gateway.client();
    client.delete("/v1/datasets/shop/gone").await?.expect(204)?;
    client.query("SELECT * FROM shop.gone").await?.expect_problem(404, "dataset_not_found")?;
    dataset(&gateway, "shop.gone").await?;
    assert_eq!(client.count("shop.gone").await?, 2_000);
    Ok(())
}

/// Pushes until there is a checkpoint, and a few versions more, with idempotency keys.
async fn checkpointed(gateway: &Gateway, name: &str) -> Result<PathBuf> {
    let table = dataset(gateway, name).await?;
    for number in 2..CHECKPOINT + 5 {
        push_keyed(gateway.client(), name, number).await?.expect(200)?;
    }
    let patience = Instant::now();
    while !table.join("_delta_log/_last_checkpoint").exists() {
        assert!(patience.elapsed() < lakegate_e2e::client::DEADLINE, "{}", gateway.output());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(table)
}

async fn push_keyed(client: &Client, name: &str, number: u64) -> Result<Answer> {
    let request = client.push_request(name, "application/x-ndjson", format!("{{\"id\":{number}}}\n"));
    Answer::of(request.header("idempotency-key", format!("n{number}"))).await
}

/// The newest checkpoint of a table, and its version.
fn checkpoint(table: &Path) -> Result<(PathBuf, u64)> {
    let files = std::fs::read_dir(table.join("_delta_log"))?.filter_map(|entry| Some(entry.ok()?.path()));
    let file = files.filter(|path| path.to_string_lossy().ends_with(".checkpoint.parquet")).max().ok_or("none")?;
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok((file, name.split('.').next().unwrap_or_default().parse()?))
}

#[tokio::test]
async fn a_damaged_log_fails_its_dataset_alone() -> Result {
    let gateway = Gateway::start().await?;
    dataset(&gateway, "shop.healthy").await?;
    let mut cases = Vec::new();
    for (name, says) in [
        ("shop.first", "`_delta_log/00000000000000000000.json` of version 0 is missing"),
        ("shop.gap", "`_delta_log/00000000000000000001.json` of version 1 is missing"),
        ("shop.garbled", "`_delta_log/00000000000000000001.json` of version 1 cannot be decoded"),
        ("shop.empty", "`_delta_log/00000000000000000002.json` of version 2 cannot be decoded"),
    ] {
        let table = dataset(&gateway, name).await?;
        gateway.client().push(name, "{\"id\":1}\n").await?.expect(200)?;
        let (file, harm): (_, fn(&Path) -> Result) = match name {
            "shop.first" => (commit(&table, 0), |file| Ok(std::fs::remove_file(file)?)),
            "shop.gap" => (commit(&table, 1), |file| Ok(std::fs::remove_file(file)?)),
            "shop.garbled" => (commit(&table, 1), |file| flip(file, |length| length / 2)),
            _ => (commit(&table, 2), |file| Ok(std::fs::write(file, "")?)),
        };
        cases.push((name, says.to_owned(), std::fs::read(&file)?, file.clone()));
        harm(&file)?;
    }
    let checkpoints = [("shop.nocheckpoint", "is missing"), ("shop.badcheckpoint", "cannot be decoded")];
    let mut tables = Vec::new();
    for (name, says) in checkpoints {
        tables.push((name, says, checkpointed(&gateway, name).await?));
    }
    let (options, _) = gateway.stop().await?;
    for (name, says, table) in tables {
        let (file, version) = checkpoint(&table)?;
        let says = format!(".checkpoint.parquet` of version {version} {says}");
        cases.push((name, says, std::fs::read(&file)?, file.clone()));
        if name == "shop.nocheckpoint" { std::fs::remove_file(&file)? } else { flip(&file, |length| length - 60)? }
    }
    let gateway = options.start().await?;
    let client = gateway.client();
    for (name, says, _, _) in &cases {
        let problem = damaged(client.query(&format!("{SUM} {name}")).await?, name, says)?;
        assert!(problem["help"].as_str().is_some_and(|help| !help.contains("as_of")), "{problem}");
        damaged(client.push(name, "{\"id\":1}\n").await?, name, says)?;
        assert!(shown(client, name).await?["damage"].as_str().is_some_and(|damage| damage.contains(says)));
    }
    assert_eq!(client.count("shop.healthy").await?, 2_000);
    client.push("shop.healthy", "{\"id\":1}\n").await?.expect(200)?;
    client.get("/readyz").await?.expect(200)?;
    assert_eq!(metric(client, "lakegate_damaged_datasets").await?, cases.len() as u64);
    for (name, _, whole, file) in &cases {
        std::fs::write(file, whole)?;
        client.rows(&format!("{SUM} {name}")).await?;
        client.push(name, "{\"id\":1}\n").await?.expect(200)?;
    }
    assert_eq!(metric(client, "lakegate_damaged_datasets").await?, 0);
    Ok(())
}

/// What would be committed behind such a gap could never be read, and what is removed might be needed when it is closed.
#[tokio::test]
async fn nothing_is_committed_to_or_removed_from_a_log_that_is_damaged() -> Result {
    let gateway = Gateway::start().await?;
    let client = gateway.client();
    for (name, harm) in [("lab.cut", 40_usize), ("lab.lost", 0)] {
        let table = dataset(&gateway, name).await?;
        client.push(name, "{\"id\":1}\n").await?.expect(200)?;
        let newest = commit(&table, 2);
        let whole = std::fs::read(&newest)?;
        match harm {
            0 => std::fs::remove_file(&newest)?,
            bytes => std::fs::write(&newest, &whole[..bytes])?,
        }
        let path = dataset_path(name);
        let columns = json!({ "add_columns": [{ "name": "more", "type": "bigint" }] });
        damaged(client.push(name, "{\"id\":2}\n").await?, name, "00002.json")?;
        damaged(client.send(Method::PATCH, &path, &columns).await?, name, "00002.json")?;
        damaged(client.call(Method::POST, &format!("{path}/compact")).await?, name, "00002.json")?;
        damaged(client.call(Method::POST, &format!("{path}/vacuum")).await?, name, "00002.json")?;
        damaged(client.get(&format!("{path}/versions")).await?, name, "00002.json")?;
        damaged(client.query(&format!("SELECT max(version) FROM {name}$versions")).await?, name, "00002.json")?;
        assert!(!commit(&table, 3).exists(), "{name}");
        std::fs::write(&newest, &whole)?;
        client.push(name, "{\"id\":2}\n").await?.expect(200)?;
        assert_eq!(client.count(name).await?, 2_002);
    }
    Ok(())
}

/// The pointer to the newest checkpoint only saves a list.
#[tokio::test]
async fn a_lost_or_garbled_pointer_to_the_checkpoint_is_done_without() -> Result {
    let gateway = Gateway::start().await?;
    let mut tables = Vec::new();
    for name in ["shop.lost", "shop.garbled"] {
        tables.push((name, checkpointed(&gateway, name).await?));
    }
    let (options, _) = gateway.stop().await?;
    for (name, table) in &tables {
        // As a clean-up leaves it.
        for version in 0..checkpoint(table)?.1 {
            std::fs::remove_file(commit(table, version))?;
        }
        let pointer = table.join("_delta_log/_last_checkpoint");
        if *name == "shop.lost" { std::fs::remove_file(&pointer)? } else { std::fs::write(&pointer, "{\"version\":")? }
    }
    let gateway = options.start().await?;
    let client = gateway.client();
    for (name, table) in tables {
        let pointer = table.join("_delta_log/_last_checkpoint");
        let (_, before) = checkpoint(&table)?;
        assert_eq!(client.count(name).await?, 2_000 + CHECKPOINT + 3);
        for key in [3, CHECKPOINT + 4] {
            let again = push_keyed(client, name, key).await?.expect(200)?.json()?;
            assert_eq!(again["status"], "duplicate", "{name}, key {key}");
        }
        assert!(shown(client, name).await?["damage"].is_null());
        // The next checkpoint points again.
        for number in 0..CHECKPOINT + 1 {
            push_keyed(client, name, 1_000 + number).await?.expect(200)?;
        }
        let patience = Instant::now();
        let points_to = || serde_json::from_slice::<Value>(&std::fs::read(&pointer).ok()?).ok()?["version"].as_u64();
        while points_to().is_none_or(|version| version <= before) {
            assert!(patience.elapsed() < lakegate_e2e::client::DEADLINE, "{}", gateway.output());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    Ok(())
}
