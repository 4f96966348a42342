//! Older versions: every way to ask for one reads the rows that were there then, and no other.

use lakegate_e2e::{Answer, Client, Gateway, Result};
use reqwest::Method;
use serde_json::{Value, json};

/// A dataset with the ids 1 to `pushes`, one pushed after the other: version `v` has the ids 1 to `v`.
async fn steps(client: &Client, pushes: u64) -> Result {
    client.create("lab.steps", &[("id", "bigint")]).await?.expect(201)?;
    for id in 1..=pushes {
        client.push("lab.steps", format!("{{\"id\":{id}}}\n")).await?.expect(200)?;
    }
    Ok(())
}

async fn ask(client: &Client, sql: &str, as_of: Value) -> Result<Answer> {
    client.post("/v1/query", &json!({ "sql": sql, "as_of": as_of })).await
}

/// The number of rows and what the answer says it read.
async fn counted(client: &Client, from: &str, as_of: Value) -> Result<(u64, Value)> {
    let sql = format!("SELECT count(*) AS n, max(id) AS last FROM {from}");
    let mut answer = ask(client, &sql, as_of).await?.expect(200)?.json()?;
    let n = answer["rows"][0]["n"].as_u64().ok_or("no count")?;
    if n > 0 {
        assert_eq!(answer["rows"][0]["last"], n, "{from}");
    }
    Ok((n, answer["versions"].take()))
}

async fn committed_at(client: &Client, version: u64) -> Result<String> {
    let sql = format!("SELECT timestamp FROM lab.steps$versions WHERE version = {version}");
    let rows = client.rows(&sql).await?;
    Ok(rows.first().and_then(|row| row["timestamp"].as_str()).ok_or("no such version")?.to_owned())
}

#[tokio::test]
async fn every_way_to_name_a_version_reads_what_its_push_left() -> Result {
    let gateway = Gateway::start().await?;
    let client = gateway.client();
    steps(client, 5).await?;
    for version in 0..=5 {
        let at = committed_at(client, version).await?;
        let read = (version, json!({ "lab.steps": version }));
        for from in [
            format!("lab.steps@v{version}"),
            format!("lab.\"steps\"@v{version} AS s"),
            format!("\"lab\".\"steps@v{version}\""),
            format!("lab.steps FOR VERSION AS OF {version}"),
            format!("lab.steps FOR TIMESTAMP AS OF '{at}'"),
            format!("lab.steps@'{at}'"),
        ] {
            assert_eq!(counted(client, &from, Value::Null).await?, read, "{from}");
        }
        for as_of in [json!({ "lab.steps": version }), json!({ "lab.steps": at }), json!(at)] {
            assert_eq!(counted(client, "lab.steps", as_of.clone()).await?, read, "{as_of}");
        }
    }
    assert_eq!(counted(client, "lab.steps", json!("2100-01-01T00:00:00Z")).await?.0, 5, "the newest then");
    assert_eq!(counted(client, "lab.steps@v2", json!("2100-01-01T00:00:00Z")).await?.0, 2, "the statement decides");
    Ok(())
}

#[tokio::test]
async fn two_versions_of_one_dataset_can_be_compared() -> Result {
    let gateway = Gateway::start().await?;
    let client = gateway.client();
    steps(client, 3).await?;
    let sql = "SELECT new.id FROM lab.steps new LEFT JOIN lab.steps@v1 old ON new.id = old.id WHERE old.id IS NULL ORDER BY 1";
    let answer = client.query(sql).await?.expect(200)?;
    let body = answer.json()?;
    assert_eq!(body["rows"], json!([{ "id": 2 }, { "id": 3 }]));
    assert_eq!(body["versions"], json!({ "lab.steps@v1": 1, "lab.steps@v3": 3 }));
    assert_eq!(answer.header("lakegate-versions"), "lab.steps@v1=1, lab.steps@v3=3");
    Ok(())
}

#[tokio::test]
async fn versions_survive_a_restart_and_a_compaction() -> Result {
    let gateway = Gateway::start().await?;
    steps(gateway.client(), 8).await?;
    let compacted = gateway.client().call(Method::POST, "/v1/datasets/lab/steps/compact").await?.expect(200)?;
    assert!(compacted.json()?["version"].as_u64() > Some(8), "{}", compacted.text());
    let (options, _) = gateway.stop().await?;
    let gateway = options.start().await?;
    for version in [0, 1, 7, 8] {
        assert_eq!(counted(gateway.client(), &format!("lab.steps@v{version}"), Value::Null).await?.0, version);
    }
    assert_eq!(counted(gateway.client(), "lab.steps", Value::Null).await?.0, 8);
    Ok(())
}

#[tokio::test]
async fn a_version_whose_files_were_removed_is_gone_and_says_so() -> Result {
    let gateway = Gateway::start().await?;
    let client = gateway.client();
    steps(client, 3).await?;
    let shown = client.get("/v1/datasets/lab/steps").await?.expect(200)?.json()?;
    let folder = gateway.options().kept().join("lake/root").join(shown["id"].as_str().ok_or("no id")?);
    let mut old = Vec::new();
    for entry in std::fs::read_dir(&folder)? {
        let path = entry?.path();
        old.extend(path.is_file().then_some(path));
    }
    client.call(Method::POST, "/v1/datasets/lab/steps/compact").await?.expect(200)?;
    assert_eq!(counted(client, "lab.steps@v2", Value::Null).await?.0, 2, "read before, and so known");
    for path in old {
        std::fs::remove_file(path)?;
    }
    for version in [1, 2, 3] {
        let sql = format!("SELECT * FROM lab.steps@v{version}");
        client.query(&sql).await?.expect_problem(404, "version_expired")?;
    }
    assert_eq!(counted(client, "lab.steps", Value::Null).await?.0, 3);
    Ok(())
}

#[tokio::test]
async fn what_was_never_there_and_what_is_gone_are_told_apart() -> Result {
    let gateway = Gateway::start().await?;
    let client = gateway.client();
    steps(client, 2).await?;
    for (from, as_of) in [
        ("lab.steps@v3", Value::Null),
        ("lab.steps FOR VERSION AS OF 99999999999", Value::Null),
        ("lab.steps@'2001-01-01'", Value::Null),
        ("lab.steps", json!({ "lab.steps": 7 })),
        ("lab.steps", json!("2001-01-01T00:00:00Z")),
    ] {
        let answer = ask(client, &format!("SELECT * FROM {from}"), as_of).await?;
        let problem = answer.expect_problem(404, "version_not_found")?.json()?;
        assert!(problem["detail"].as_str().is_some_and(|d| d.contains("lab.steps")), "{problem}");
    }
    let shown = client.get("/v1/datasets/lab/steps").await?.expect(200)?.json()?;
    let id = shown["id"].as_str().ok_or("no id")?;
    let log = gateway.options().kept().join("lake/root").join(id).join("_delta_log");
    std::fs::remove_file(log.join(format!("{:020}.json", 0)))?;
    ask(client, "SELECT * FROM lab.steps@v1", Value::Null).await?.expect_problem(404, "version_expired")?;
    assert_eq!(counted(client, "lab.steps", Value::Null).await?.0, 2, "the newest is not touched by it");
    Ok(())
}

#[tokio::test]
async fn a_version_that_would_be_lost_is_refused() -> Result {
    let gateway = Gateway::start().await?;
    let client = gateway.client();
    steps(client, 2).await?;
    for (sql, as_of) in [
        ("SELECT * FROM lab.steps AS s@v1", Value::Null),
        ("SELECT * FROM lab.steps s FOR VERSION AS OF 1", Value::Null),
        ("SELECT * FROM lab.steps@latest", Value::Null),
        ("SELECT * FROM lab.steps FOR VERSION AS OF $1", Value::Null),
        ("SELECT 1", json!({ "lab.steps": 1 })),
        ("SELECT * FROM lab.steps", json!({ "lab.stairs": 1 })),
        ("SELECT * FROM lab.steps@v1", json!({ "lab.steps": 2 })),
        ("SELECT * FROM lab.steps", json!(1)),
        ("SELECT * FROM lab.steps", json!("soon")),
        ("SELECT * FROM lab.steps", json!({ "lab.steps": -1 })),
    ] {
        ask(client, sql, as_of).await?.expect_problem(400, "invalid_as_of")?;
    }
    Ok(())
}

#[tokio::test]
async fn what_may_not_be_seen_has_no_versions_either() -> Result {
    let gateway = Gateway::start().await?;
    steps(gateway.client(), 1).await?;
    let anyone = gateway.client().anonymous();
    for from in ["lab.steps@v1", "lab.steps@v99", "lab.steps$versions", "lab.steps@'2001-01-01'"] {
        anyone.query(&format!("SELECT * FROM {from}")).await?.expect_problem(404, "dataset_not_found")?;
    }
    anyone.query("DESCRIBE lab.steps").await?.expect_problem(404, "dataset_not_found")?;
    Ok(())
}

#[tokio::test]
async fn the_versions_say_what_each_push_did() -> Result {
    let gateway = Gateway::start().await?;
    let client = gateway.client();
    steps(client, 3).await?;
    client.push("lab.steps", "{\"id\":4}\n{\"id\":5}\n").await?.expect(200)?;
    let rows = client
        .rows(
            "SELECT version, operation, rows_added, files_added FROM lab.steps$versions ORDER BY version DESC LIMIT 2",
        )
        .await?;
    assert_eq!(
        rows,
        [
            json!({ "version": 4, "operation": "WRITE", "rows_added": 2, "files_added": 1 }),
            json!({ "version": 3, "operation": "WRITE", "rows_added": 1, "files_added": 1 }),
        ]
    );
    let all = client.rows("SELECT count(*) AS n, sum(rows_added) AS rows FROM lab.steps$versions").await?;
    assert_eq!(all, [json!({ "n": 5, "rows": 5 })]);
    let then = ask(client, "SELECT max(version) AS n FROM lab.steps$versions", json!({ "lab.steps": 2 })).await?;
    assert_eq!(then.json()?["rows"], json!([{ "n": 2 }]));
    client.query("SELECT * FROM lab.steps$changes").await?.expect_problem(400, "not_supported")?;
    Ok(())
}
