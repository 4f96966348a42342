//! Backups.

use std::path::Path;

use futures::future::join_all;
use lakegate_e2e::client::dataset_path;
use lakegate_e2e::gateway::binary;
use lakegate_e2e::{Gateway, Moto, Options, Result};
use serde_json::json;
use tokio::process::Command;

/// Runs `lakegate backup`; answers the exit code and what it said.
async fn backup(options: &Options, into: &Path) -> Result<(Option<i32>, String)> {
    let mut command = Command::new(binary()?);
    command.arg("backup").arg(into).arg("--data-dir").arg(options.data_dir());
    command.env_clear().env("HOME", options.folder()).kill_on_drop(true);
    let output = tokio::time::timeout(std::time::Duration::from_secs(60), command.output()).await??;
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    Ok((output.status.code(), text))
}

/// A gateway on a copy that was put where its data folder is to be.
async fn restored(copy: &Path) -> Result<Gateway> {
    let options = Options::serve()?;
    std::fs::rename(copy, options.data_dir())?;
    options.start().await
}

#[tokio::test]
async fn a_backup_under_pushes_holds_all_that_was_acknowledged_before() -> Result {
    let gateway = Gateway::start().await?;
    let client = gateway.client();
    for name in ["lab.a", "lab.b", "lab.gone"] {
        client.create(name, &[("id", "bigint"), ("key", "string")]).await?.expect(201)?;
    }
    client.delete(&dataset_path("lab.gone")).await?.expect(204)?;
    // Enough for checkpoints and compactions, before and while it is copied.
    let push = |name: &'static str, id: u64| async move {
        let request = client.push_request(name, "application/x-ndjson", format!("{{\"id\":{id}}}\n"));
        lakegate_e2e::Answer::of(request.header("idempotency-key", format!("k{id}"))).await?.expect(200)
    };
    for id in 0..60 {
        push("lab.a", id).await?;
        push("lab.b", id).await?;
    }
    let into = gateway.options().folder().join("copy");
    let pushing = async {
        for id in 60..140 {
            for done in join_all([push("lab.a", id), push("lab.b", id)]).await {
                done?;
            }
        }
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
    };
    let (pushed, copied) = tokio::join!(pushing, backup(gateway.options(), &into));
    pushed?;
    let (code, said) = copied?;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("copied 2 datasets"), "{said}");
    assert!(!gateway.options().folder().join("copy.incomplete").exists());

    let copy = restored(&into).await?;
    let client = copy.client();
    for name in ["lab.a", "lab.b"] {
        let sql = format!("SELECT count(*) AS n, count(DISTINCT id) AS ids, max(id) AS last FROM {name}");
        let rows = client.rows(&sql).await?;
        let (n, last) = (rows[0]["n"].as_u64(), rows[0]["last"].as_u64());
        assert_eq!(n, rows[0]["ids"].as_u64(), "each once: {rows:?}");
        assert!(n >= Some(60) && n == last.map(|last| last + 1), "all up to one: {rows:?}");
        // Keys are remembered, and it takes new rows.
        let again = client.push_request(name, "application/x-ndjson", "{\"id\":3}\n");
        let again = lakegate_e2e::Answer::of(again.header("idempotency-key", "k3")).await?.expect(200)?.json()?;
        assert_eq!(again["status"], "duplicate");
        client.push(name, "{\"id\":1000}\n").await?.expect(200)?;
        assert_eq!(client.count(name).await?, n.unwrap_or_default() + 1);
    }
    client.get(&dataset_path("lab.gone")).await?.expect(404)?;
    Ok(())
}

/// What a store holds is copied with its own means: the catalog first.
#[tokio::test]
async fn a_backup_of_tables_in_a_store_holds_the_catalog_and_says_what_is_missing() -> Result {
    let moto = Moto::start().await?;
    let bucket = moto.bucket("lake").await?;
    let gateway = bucket.options()?.start().await?;
    let client = gateway.client();
    client.create("lab.a", &[("id", "bigint")]).await?.expect(201)?;
    for id in 0..5 {
        client.push("lab.a", format!("{{\"id\":{id}}}\n")).await?.expect(200)?;
    }
    let into = gateway.options().folder().join("copy");
    let command = gateway.options().clone().with_command("backup").argument(&into.to_string_lossy());
    let output = tokio::time::timeout(lakegate_e2e::client::DEADLINE, command.command()?.output()).await??;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("copied the catalog with 1 datasets, and not the tables in s3://lake/lake"), "{said}");
    assert!(said.contains("with storage.root = \"s3://lake/lake\""), "{said}");
    client.push("lab.a", "{\"id\":5}\n").await?.expect(200)?;
    client.create("lab.later", &[("id", "bigint")]).await?.expect(201)?;
    let copied = moto.bucket("copy").await?;
    bucket.copy(&copied).await?;
    gateway.kill().await?;

    let options = bucket.options()?;
    std::fs::rename(&into, options.data_dir())?;
    let said = options.clone().setting("storage.root", &format!("file://{}/none", options.folder().display()));
    let refused = tokio::time::timeout(lakegate_e2e::client::DEADLINE, said.command()?.output()).await??;
    assert_eq!(refused.status.code(), Some(2), "tables that are not there are not taken for empty");
    for options in [options.clone(), copied.through(moto.url(), options)] {
        let copy = options.start().await?;
        assert_eq!(copy.client().count("lab.a").await?, 6);
        copy.client().get("/v1/datasets/lab/later").await?.expect(404)?;
        copy.stop().await?;
    }
    Ok(())
}

/// A table that has lost its log is no deleted dataset, and a backup without it would be none.
#[tokio::test]
async fn a_backup_of_a_damaged_table_fails_and_says_which() -> Result {
    let gateway = Gateway::start().await?;
    let made = gateway.client().create("lab.a", &[("id", "bigint")]).await?.expect(201)?.json()?;
    let id = made["id"].as_str().ok_or("no id")?.to_owned();
    let (options, _) = gateway.stop().await?;
    std::fs::remove_dir_all(options.kept().join("lake/root").join(&id))?;
    let into = options.folder().join("copy");
    let (code, said) = backup(&options, &into).await?;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&format!("the table in {id} of file://")), "{said}");
    assert!(!into.exists() && !options.folder().join("copy.incomplete").exists());
    Ok(())
}

#[tokio::test]
async fn a_stopped_instance_is_backed_up_too_and_nothing_is_overwritten() -> Result {
    let gateway = Gateway::start().await?;
    let client = gateway.client();
    client.create("lab.a", &[("id", "bigint")]).await?.expect(201)?;
    client.push("lab.a", "{\"id\":1}\n").await?.expect(200)?;
    client.post("/v1/principals", &json!({ "name": "ada" })).await?.expect(201)?;
    let (options, _) = gateway.stop().await?;
    let into = options.folder().join("copy");
    let (code, said) = backup(&options, &into).await?;
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = backup(&options, &into).await?;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("is there already"), "{said}");
    let (code, said) = backup(&options, &options.data_dir().join("copy")).await?;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("is within the instance itself"), "{said}");
    let empty = Options::serve()?;
    let (code, said) = backup(&empty, &empty.folder().join("copy")).await?;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("holds no instance"), "{said}");

    let copy = restored(&into).await?;
    assert_eq!(copy.client().count("lab.a").await?, 1);
    copy.client().get("/v1/principals").await?.expect(200)?;
    Ok(())
}
