//! Upkeep from outside: fewer files, the same rows, for us and for other readers; and who may ask for it.

use lakegate_e2e::client::dataset_path;
use lakegate_e2e::{Client, Gateway, Result, environment};
use reqwest::Method;
use serde_json::json;

async fn ask(client: &Client, dataset: &str, what: &str) -> Result<lakegate_e2e::Answer> {
    client.call(Method::POST, &format!("{}/{what}", dataset_path(dataset))).await
}

/// Pushes one row at a time, the last first.
async fn push_each(client: &Client, dataset: &str, rows: u64) -> Result {
    for n in (0..rows).rev() {
        let row = format!("{{\"id\":{n},\"at\":\"2024-05-01T12:00:{:02}Z\"}}\n", n % 60);
        client.push(dataset, row).await?.expect(200)?;
    }
    Ok(())
}

async fn events(client: &Client) -> Result<String> {
    let schema = json!([{ "name": "id", "type": "bigint" }, { "name": "at", "type": "timestamp" }]);
    let body = json!({ "name": "shop.events", "schema": schema, "event_time": "at" });
    let made = client.post("/v1/datasets", &body).await?.expect(201)?.json()?;
    Ok(made["id"].as_str().ok_or("no id")?.to_owned())
}

#[tokio::test]
async fn compacted_rows_are_the_same_in_fewer_files_for_every_reader() -> Result {
    let python = environment("LAKEGATE_PYTHON", "an interpreter with tests/requirements.txt installed")?;
    let gateway = Gateway::start().await?;
    let client = gateway.client();
    let id = events(client).await?;
    push_each(client, "shop.events", 12).await?;
    let done = ask(client, "shop.events", "compact").await?.expect(200)?.json()?;
    assert_eq!(done, json!({ "version": 13, "files_removed": 12, "files_added": 1 }));
    let again = ask(client, "shop.events", "compact").await?.expect(200)?.json()?;
    assert_eq!(again, json!({ "version": 13, "files_removed": 0, "files_added": 0 }));
    let rows = client.rows("SELECT id FROM shop.events").await?;
    assert_eq!(rows, (0..12).map(|n| json!({ "id": n })).collect::<Vec<_>>(), "sorted by the time of the event");
    // Nothing is old enough to go.
    let vacuum = ask(client, "shop.events", "vacuum").await?.expect(200)?.json()?;
    assert_eq!(vacuum, json!({ "files_removed": 0, "bytes_removed": 0 }));
    client.push("shop.events", "{\"id\":12}\n").await?.expect(200)?;
    assert_eq!(client.count("shop.events").await?, 13);

    let table = gateway.options().kept().join("lake/root").join(id);
    let script = "import sys, deltalake\n\
                  t = deltalake.DeltaTable(sys.argv[1])\n\
                  print(t.version(), len(t.file_uris()), sorted(t.to_pyarrow_table()['id'].to_pylist()) == list(range(13)))\n\
                  t.load_as_version(12)\n\
                  print(t.version(), len(t.file_uris()), sorted(t.to_pyarrow_table()['id'].to_pylist()) == list(range(12)))";
    let output = tokio::process::Command::new(python).arg("-c").arg(script).arg(&table).output().await?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(said.trim(), "14 2 True\n12 12 True", "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

#[tokio::test]
async fn many_small_pushes_are_rewritten_unasked() -> Result {
    let gateway = Gateway::start().await?;
    let client = gateway.client();
    let id = events(client).await?;
    push_each(client, "shop.events", 64).await?;
    // The newest version is above the pushes once files were rewritten.
    let patience = std::time::Instant::now();
    let version = loop {
        let shown = client.get("/v1/datasets/shop/events").await?.expect(200)?.json()?;
        let version = shown["version"].as_u64().ok_or("no version")?;
        if version > 64 {
            break version;
        }
        assert!(patience.elapsed().as_secs() < 60, "nothing was rewritten at version {version}");
    };
    assert_eq!(client.count("shop.events").await?, 64, "at version {version}");
    let sum = client.rows("SELECT sum(id) AS n FROM shop.events").await?;
    assert_eq!(sum, [json!({ "n": 63 * 64 / 2 })]);
    // Nothing that a receipt says changes by it.
    let log = gateway.options().kept().join("lake/root").join(id).join("_delta_log");
    assert!(log.join(format!("{version:020}.json")).exists());
    Ok(())
}

#[tokio::test]
async fn only_owners_ask_for_upkeep() -> Result {
    let gateway = Gateway::start().await?;
    let owner = gateway.client();
    events(owner).await?;
    owner.post("/v1/principals", &json!({ "name": "ann" })).await?.expect(201)?;
    let made = owner.post("/v1/tokens", &json!({ "principal": "ann", "name": "t" })).await?.expect(201)?.json()?;
    let ann = owner.with_token(made["token"].as_str().ok_or("no token")?);
    for what in ["compact", "vacuum"] {
        ask(&ann, "shop.events", what).await?.expect(404)?;
        ask(&owner.anonymous(), "shop.events", what).await?.expect(404)?;
    }
    let grant = json!({ "principal": "ann", "role": "writer", "dataset": "shop.events" });
    owner.send(Method::PUT, "/v1/grants", &grant).await?;
    for what in ["compact", "vacuum"] {
        ask(&ann, "shop.events", what).await?.expect(403)?;
        ask(owner, "shop.events", what).await?.expect(200)?;
    }
    Ok(())
}
