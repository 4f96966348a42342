//! Lakes in object stores: the same promises as in a folder, and refusals that say what to change.

use lakegate_e2e::emulator::python;
use lakegate_e2e::{Answer, Azurite, Bucket, Client, Gateway, Moto, OpenPush, Options, Result, crash, faults};
use serde_json::json;
use tokio::task::JoinSet;

const DATASET: &str = "shop.orders";
const COLUMNS: &[(&str, &str)] = &[("id", "bigint"), ("name", "string")];

async fn push_keyed(client: &Client, key: &str, body: &str) -> Result<Answer> {
    let request = client.push_request(DATASET, "application/x-ndjson", body.to_owned());
    Answer::of(request.header("idempotency-key", key)).await
}

async fn id_of(client: &Client) -> Result<String> {
    let found = client.get("/v1/datasets/shop/orders").await?.expect(200)?.json()?;
    Ok(found["id"].as_str().ok_or("no id")?.to_owned())
}

/// Push, retry, many at once, restart, another reader, delete: what holds in a folder holds in a store.
async fn keeps_its_promises(bucket: &Bucket) -> Result<Options> {
    let gateway = bucket.options()?.start().await?;
    let client = gateway.client();
    client.create(DATASET, COLUMNS).await?.expect(201)?;
    let first = push_keyed(client, "monday", "{\"id\":1,\"name\":\"a\"}\n").await?.expect(200)?.json()?;
    assert_eq!((&first["status"], &first["version"]), (&json!("committed"), &json!(1)));
    let again = push_keyed(client, "monday", "{\"id\":1,\"name\":\"a\"}\n").await?.expect(200)?.json()?;
    assert_eq!((&again["status"], &again["version"]), (&json!("duplicate"), &json!(1)));
    push_keyed(client, "monday", "{\"id\":2}\n").await?.expect_problem(422, "idempotency_key_reused")?;

    let mut pushes = JoinSet::new();
    for id in 2..=12 {
        let client = client.clone();
        pushes.spawn(async move { client.push(DATASET, format!("{{\"id\":{id}}}\n")).await?.expect(200) });
    }
    while let Some(pushed) = pushes.join_next().await {
        pushed??;
    }
    let id = id_of(client).await?;
    let gateway = gateway.stop().await?.0.start().await?;
    let client = gateway.client();
    let sum = client.rows("SELECT count(*) AS n, sum(id) AS ids, max(id) AS last FROM shop.orders").await?;
    assert_eq!(sum, [json!({ "n": 12, "ids": 78, "last": 12 })]);
    let again = push_keyed(client, "monday", "{\"id\":1,\"name\":\"a\"}\n").await?.expect(200)?.json()?;
    assert_eq!(again["status"], "duplicate", "after a restart too");

    let script = "import sys, json, deltalake, polars\n\
                  options = json.loads(sys.argv[2])\n\
                  t = deltalake.DeltaTable(sys.argv[1], storage_options=options)\n\
                  ids = t.to_pyarrow_table()['id'].to_pylist()\n\
                  print(t.version(), len(ids), sum(ids))\n\
                  f = polars.scan_delta(sys.argv[1], storage_options=options).filter(polars.col('id') > 2).collect()\n\
                  print(f.height, f['id'].sum(), f['name'].null_count())";
    assert_eq!(python(script, &[&bucket.table(&id), &bucket.storage_options()]).await?, "12 12 78\n10 75 10");

    client.delete("/v1/datasets/shop/orders").await?.expect(204)?;
    client.query("SELECT * FROM shop.orders").await?.expect_problem(404, "dataset_not_found")?;
    Ok(gateway.stop().await?.0)
}

/// What a start that must be refused says.
async fn refusal(options: &Options) -> Result<String> {
    let output = tokio::time::timeout(lakegate_e2e::client::DEADLINE, options.command()?.output()).await??;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(!said.contains("not-so-secret"), "{said}");
    Ok(said)
}

#[tokio::test]
async fn s3_keeps_what_a_folder_keeps() -> Result {
    let moto = Moto::start().await?;
    let bucket = moto.bucket("lake").await?;
    let options = keeps_its_promises(&bucket).await?;
    // The next start sweeps what was deleted.
    let gateway = options.setting("query.max_timeout", "1ms").setting("jobs.query_timeout", "1ms").start().await?;
    for _ in 0..600 {
        if bucket.keys("").await? == ["lake/lakegate.json"] {
            gateway.stop().await?;
            return Ok(());
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    Err(format!("left behind: {:?}", bucket.keys("").await?).into())
}

#[tokio::test]
async fn azure_keeps_what_a_folder_keeps() -> Result {
    let azurite = Azurite::start().await?;
    keeps_its_promises(&azurite.bucket("lake").await?).await?;
    Ok(())
}

#[tokio::test]
async fn every_acknowledged_row_survives_kill_9_on_azure_exactly_once() -> Result {
    let azurite = Azurite::start().await?;
    let bucket = azurite.bucket("lake").await?;
    let tally = crash::rounds_on(bucket.options()?, crash::Kept::Bucket(bucket), 3).await?;
    assert!(tally.acknowledged > 0 && tally.sent_again > 0, "{tally:?}");
    Ok(())
}

#[tokio::test]
async fn every_acknowledged_row_survives_kill_9_on_s3_exactly_once() -> Result {
    let moto = Moto::start().await?;
    let bucket = moto.bucket("lake").await?;
    let tally = crash::rounds_on(bucket.options()?, crash::Kept::Bucket(bucket), 3).await?;
    assert!(tally.acknowledged > 0 && tally.sent_again > 0, "{tally:?}");
    Ok(())
}

#[tokio::test]
async fn two_gateways_push_into_one_bucket_and_lose_nothing() -> Result {
    let moto = Moto::start().await?;
    let bucket = moto.bucket("lake").await?;
    let [first, second] = bucket.two_gateways(moto.url(), [Options::serve()?, Options::serve()?]).await?;
    first.client().create(DATASET, COLUMNS).await?.expect(201)?;
    let mut pushes = JoinSet::new();
    for (at, gateway) in [&first, &second].into_iter().enumerate() {
        for number in 0..10 {
            let (client, id) = (gateway.client().clone(), number * 2 + at);
            pushes.spawn(async move { client.push(DATASET, format!("{{\"id\":{id}}}\n")).await?.expect(200) });
        }
    }
    while let Some(pushed) = pushes.join_next().await {
        pushed??;
    }
    for gateway in [&first, &second] {
        let sum = gateway.client().rows("SELECT count(*) AS n, sum(id) AS ids FROM shop.orders").await?;
        assert_eq!(sum, [json!({ "n": 20, "ids": 190 })]);
    }
    Ok(())
}

#[tokio::test]
async fn a_push_that_ends_half_way_leaves_no_upload() -> Result {
    let moto = Moto::start().await?;
    let bucket = moto.bucket("lake").await?;
    let gateway = bucket.options()?.start().await?;
    let client = gateway.client();
    client.create(DATASET, &[("id", "bigint"), ("name", "string")]).await?.expect(201)?;
    let mut push = OpenPush::begin(client, DATASET, None).await?;
    // Texts that do not compress: until parts of an upload have left.
    for id in 0.. {
        if !bucket.uploads().await?.is_empty() {
            break;
        }
        assert!(id < 2_000, "no upload began");
        push.noise(id).await?;
    }
    push.break_off().await?;
    for _ in 0..600 {
        if bucket.uploads().await?.is_empty() {
            assert_eq!(client.count(DATASET).await?, 0);
            return Ok(());
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    Err("the upload is still there".into())
}

#[tokio::test]
async fn a_large_push_is_whole_on_s3() -> Result {
    let moto = Moto::start().await?;
    let bucket = moto.bucket("lake").await?;
    let gateway = bucket.options()?.start().await?;
    let client = gateway.client();
    client.create(DATASET, COLUMNS).await?.expect(201)?;
    let mut push = OpenPush::begin(client, DATASET, Some("large")).await?;
    for id in 0..400 {
        push.noise(id).await?;
    }
    push.finish().await?.expect(200)?;
    assert!(bucket.uploads().await?.is_empty());
    let sum = client.rows("SELECT count(*) AS n, min(length(name)) AS l FROM shop.orders").await?;
    assert_eq!(sum, [json!({ "n": OpenPush::BEGUN + 400, "l": 64 * 1024 })]);
    Ok(())
}

#[tokio::test]
async fn what_is_wrong_with_a_store_is_said_at_the_start() -> Result {
    let moto = Moto::start().await?;
    let bucket = moto.bucket("lake").await?;
    let missing = bucket.options()?.setting("storage.root", "s3://nowhere/lake");
    let said = refusal(&missing).await?;
    assert!(
        said.contains("storage `s3://nowhere/lake` cannot be used: the bucket or container does not exist"),
        "{said}"
    );

    let said = refusal(&bucket.options()?.setting("storage.allow_http", "false")).await?;
    assert!(said.contains("set storage.allow_http = true"), "{said}");

    let said = refusal(&bucket.options()?.setting("storage.root", "s3://key:not-so-secret@lake/lake")).await?;
    assert!(said.contains("credentials do not belong into the URL"), "{said}");

    let unreachable = bucket.options()?.setting("storage.s3.endpoint", "http://127.0.0.1:9");
    let said = refusal(&unreachable.setting("storage.retry_timeout", "1s")).await?;
    assert!(said.contains("does not answer as it should"), "{said}");
    assert!(bucket.keys("").await?.is_empty(), "a refused start leaves nothing behind");
    Ok(())
}

#[tokio::test]
async fn wrong_credentials_are_refused_and_not_shown() -> Result {
    let moto = Moto::refusing_after(1).await?;
    let bucket = moto.bucket("lake").await?;
    let said = refusal(&bucket.options()?).await?;
    assert!(said.contains("the store refuses these credentials"), "{said}");
    assert!(said.contains("InvalidAccessKeyId"), "{said}");
    Ok(())
}

#[tokio::test]
async fn a_store_that_ignores_conditions_is_refused() -> Result {
    let moto = Moto::start().await?;
    let bucket = moto.bucket("lake").await?;
    let proxy = faults::Proxy::start(moto.url()).await?;
    proxy.ignore_conditions();
    let said = refusal(&bucket.through(proxy.url(), Options::serve()?)).await?;
    assert!(said.contains("commits rest on conditional writes (If-None-Match), and this store ignores them"), "{said}");
    assert!(bucket.keys("").await?.is_empty(), "the probe cleans up");
    Ok(())
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_disk_without_hard_links_is_refused() -> Result {
    let options = Options::serve()?;
    let trace = options.folder().join("trace").to_string_lossy().into_owned();
    let calls = ["strace", "-f", "-o", &trace, "-e", "trace=link,linkat", "-e", "inject=link,linkat:error=EPERM"];
    let said = refusal(&options.under(&calls)).await?;
    assert!(said.contains("its file system has no hard links"), "{said}");
    Ok(())
}

/// Another lake's bucket is no place for this catalog's tables.
#[tokio::test]
async fn a_swapped_or_emptied_bucket_is_refused() -> Result {
    let moto = Moto::start().await?;
    let (ours, others) = (moto.bucket("ours").await?, moto.bucket("others").await?);
    let (theirs, _) = others.options()?.start().await?.stop().await?;
    drop(theirs);
    let (options, _) = ours.options()?.start().await?.stop().await?;
    let said = refusal(&others.through(moto.url(), options.clone())).await?;
    assert!(said.contains("belongs to another catalog"), "{said}");
    let empty: Bucket = moto.bucket("empty").await?;
    let said = refusal(&empty.through(moto.url(), options.clone())).await?;
    assert!(said.contains("does not hold the tables"), "{said}");
    assert!(empty.keys("").await?.is_empty());
    let _gateway: Gateway = options.start().await?;
    Ok(())
}

#[tokio::test]
async fn no_fault_of_a_store_loses_doubles_or_changes_a_row() -> Result {
    let dealt = faults::rounds(1).await?;
    assert!(dealt.values().all(|times| *times > 0), "{dealt:?}");
    Ok(())
}
