//! Rows come in: formats, compression, retries, and errors that say where.

use std::io::Write;

use lakegate_e2e::client::dataset_path;
use lakegate_e2e::{Answer, Client, Gateway, OpenPush, Result};
use reqwest::Method;
use serde_json::json;

const COLUMNS: &[(&str, &str)] = &[("id", "bigint"), ("name", "string"), ("at", "timestamp")];

async fn gateway_with(dataset: &str) -> Result<Gateway> {
    let gateway = Gateway::start().await?;
    gateway.client().create(dataset, COLUMNS).await?.expect(201)?;
    Ok(gateway)
}

async fn push_keyed(client: &Client, dataset: &str, key: &str, body: &str) -> Result<Answer> {
    let request = client.push_request(dataset, "application/x-ndjson", body.to_owned());
    Answer::of(request.header("idempotency-key", key)).await
}

fn gzip(text: &str) -> Result<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text.as_bytes())?;
    Ok(encoder.finish()?)
}

#[tokio::test]
async fn every_format_brings_the_same_rows() -> Result {
    let gateway = gateway_with("shop.orders").await?;
    let bodies = [
        ("application/json", r#"[{"id":1,"name":"a","at":"2024-05-01T12:00:00Z"},{"id":2,"name":null}]"#),
        ("application/x-ndjson", "{\"id\":1,\"name\":\"a\",\"at\":\"2024-05-01T14:00:00+02:00\"}\n{\"id\":2}\n"),
        ("text/csv", "id,name,at\r\n1,a,2024-05-01T12:00:00Z\r\n2,,\r\n"),
    ];
    for (version, (content_type, body)) in (1..).zip(bodies) {
        let request = gateway.client().push_request("shop.orders", content_type, body);
        let answer = Answer::of(request).await?.expect(200)?.json()?;
        assert_eq!(answer["rows"], 2, "{content_type}");
        assert_eq!(answer["status"], "committed", "{content_type}");
        assert_eq!(answer["version"], version, "one request is one version");
    }
    let sql = "SELECT id, name, at, count(*) AS n FROM shop.orders GROUP BY id, name, at ORDER BY id";
    assert_eq!(
        gateway.client().rows(sql).await?,
        [
            json!({ "id": 1, "name": "a", "at": "2024-05-01T12:00:00Z", "n": 3 }),
            json!({ "id": 2, "name": null, "at": null, "n": 3 }),
        ]
    );
    Ok(())
}

#[tokio::test]
async fn gzip_is_unpacked() -> Result {
    let gateway = gateway_with("shop.orders").await?;
    let body = gzip("{\"id\":1}\n{\"id\":2}\n")?;
    let request = gateway.client().push_request("shop.orders", "application/x-ndjson", body);
    Answer::of(request.header("content-encoding", "gzip")).await?.expect(200)?;
    assert_eq!(gateway.client().count("shop.orders").await?, 2);
    Ok(())
}

#[tokio::test]
async fn a_retry_with_the_same_key_is_answered_with_the_first_receipt() -> Result {
    let gateway = gateway_with("shop.orders").await?;
    let client = gateway.client();
    let first = push_keyed(client, "shop.orders", "order-1", "{\"id\":1}\n").await?.expect(200)?.json()?;
    let again = push_keyed(client, "shop.orders", "order-1", "{\"id\":1}\n").await?.expect(200)?.json()?;
    assert_eq!(again["status"], "duplicate");
    assert_eq!(again["receipt"], first["receipt"]);
    assert_eq!(again["version"], first["version"]);
    assert_eq!(client.count("shop.orders").await?, 1);

    push_keyed(client, "shop.orders", "order-1", "{\"id\":2}\n").await?.expect(422)?;
    assert_eq!(client.count("shop.orders").await?, 1, "another body under the same key changes nothing");
    Ok(())
}

#[tokio::test]
async fn a_key_outlives_a_kill_and_belongs_to_one_dataset() -> Result {
    let gateway = gateway_with("shop.orders").await?;
    gateway.client().create("shop.returns", COLUMNS).await?.expect(201)?;
    push_keyed(gateway.client(), "shop.orders", "k", "{\"id\":1}\n").await?.expect(200)?;

    let gateway = gateway.kill().await?.start().await?;
    let again = push_keyed(gateway.client(), "shop.orders", "k", "{\"id\":1}\n").await?.expect(200)?.json()?;
    assert_eq!(again["status"], "duplicate");
    let other = push_keyed(gateway.client(), "shop.returns", "k", "{\"id\":1}\n").await?.expect(200)?.json()?;
    assert_eq!(other["status"], "committed");
    Ok(())
}

#[tokio::test]
async fn a_key_in_use_is_a_conflict_that_says_when_to_come_back() -> Result {
    let gateway = gateway_with("shop.orders").await?;
    let client = gateway.client();
    let first = OpenPush::begin(client, "shop.orders", Some("k")).await?;
    let second = push_keyed(client, "shop.orders", "k", "{\"id\":1}\n").await?.expect(409)?;
    assert!(second.header("retry-after").parse::<u32>().is_ok(), "it says when to retry");
    first.finish().await?.expect(200)?;
    assert_eq!(client.count("shop.orders").await?, OpenPush::BEGUN);
    Ok(())
}

#[tokio::test]
async fn keys_that_are_not_well_formed_are_refused() -> Result {
    let gateway = gateway_with("shop.orders").await?;
    for key in ["", "with space", &"k".repeat(256)] {
        push_keyed(gateway.client(), "shop.orders", key, "{\"id\":1}\n").await?.expect(400)?;
    }
    push_keyed(gateway.client(), "shop.orders", &"k".repeat(255), "{\"id\":1}\n").await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn an_error_names_the_row_and_the_column() -> Result {
    let gateway = gateway_with("shop.orders").await?;
    let rows = "{\"id\":1}\n{\"id\":2}\n{\"id\":\"three\"}\n";
    let problem = gateway.client().push("shop.orders", rows).await?.expect_problem(400, "type_mismatch")?.json()?;
    let detail = problem["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("row 3") && detail.contains("`id`") && detail.contains("three"), "{detail}");
    assert_eq!(gateway.client().count("shop.orders").await?, 0, "the good rows before it are not kept");
    Ok(())
}

#[tokio::test]
async fn the_first_push_can_create_the_dataset() -> Result {
    let gateway = Gateway::start().await?;
    let client = gateway.client();
    let rows =
        "{\"n\":1,\"x\":1.5,\"ok\":true,\"at\":\"2024-05-01T12:00:00Z\",\"s\":\"a\",\"l\":[1,2],\"none\":null}\n";
    client.push("lab.runs", rows).await?.expect(404)?;

    let path = format!("{}/ingest?create=true", dataset_path("lab.runs"));
    let request = client.request(Method::POST, &path).header("content-type", "application/x-ndjson");
    Answer::of(request.body(rows)).await?.expect(200)?;
    let dataset = client.get(&dataset_path("lab.runs")).await?.expect(200)?.json()?;
    let types: Vec<_> = dataset["schema"].as_array().into_iter().flatten().map(|c| (&c["name"], &c["type"])).collect();
    let expected = [
        ("n", "bigint"),
        ("x", "double"),
        ("ok", "boolean"),
        ("at", "timestamp"),
        ("s", "string"),
        ("l", "list<bigint>"),
    ];
    let expected: Vec<_> = expected.map(|(name, ty)| (json!(name), json!(ty))).into();
    assert_eq!(types, expected.iter().map(|(name, ty)| (name, ty)).collect::<Vec<_>>());
    Ok(())
}

#[tokio::test]
async fn a_receipt_can_be_looked_up() -> Result {
    let gateway = gateway_with("shop.orders").await?;
    let pushed = gateway.client().push("shop.orders", "{\"id\":1}\n").await?.expect(200)?.json()?;
    let receipt = pushed["receipt"].as_str().ok_or("no receipt")?;
    assert!(receipt.len() <= 120, "{receipt}");
    let found = gateway.client().get(&format!("/v1/receipts/{receipt}")).await?.expect(200)?.json()?;
    assert_eq!(found["version"], pushed["version"]);
    gateway.client().get("/v1/receipts/nothing").await?.expect(404)?;
    Ok(())
}

#[tokio::test]
async fn first_pushes_at_the_same_time_all_land() -> Result {
    let gateway = Gateway::start().await?;
    let pushes = (0..12).map(|n| {
        let request = gateway.client().request(Method::POST, "/v1/datasets/shop/rush/ingest?create=true");
        Answer::of(request.header("content-type", "application/json").body(format!("{{\"id\":{n}}}")))
    });
    for answer in futures::future::join_all(pushes).await {
        answer?.expect(200)?;
    }
    assert_eq!(gateway.client().count("shop.rush").await?, 12);
    Ok(())
}

#[tokio::test]
async fn two_keys_on_one_push_are_refused() -> Result {
    let gateway = gateway_with("shop.orders").await?;
    let request = gateway.client().push_request("shop.orders", "application/x-ndjson", "{\"id\":1}\n");
    let answer = Answer::of(request.header("idempotency-key", "a").header("idempotency-key", "b")).await?;
    assert_eq!(answer.expect(400)?.json()?["code"], "invalid_idempotency_key");
    assert_eq!(gateway.client().count("shop.orders").await?, 0);
    Ok(())
}

#[tokio::test]
async fn the_rule_of_names_is_told_to_who_creates() -> Result {
    let gateway = Gateway::start().await?;
    let request = gateway.client().request(Method::POST, "/v1/datasets/shop/Orders/ingest?create=true");
    let answer = Answer::of(request.header("content-type", "application/json").body("{\"id\":1}")).await?;
    assert_eq!(answer.expect(400)?.json()?["code"], "invalid_name");
    Ok(())
}

/// A disk that is not mounted must not come back as an empty one.
#[tokio::test]
async fn rows_are_not_taken_where_storage_is_gone() -> Result {
    let gateway = gateway_with("shop.orders").await?;
    gateway.client().push("shop.orders", "{\"id\":1}\n").await?.expect(200)?;
    let kept = gateway.options().kept();
    let (lake, away) = (kept.join("lake"), kept.join("away"));
    std::fs::rename(&lake, &away)?;
    gateway.client().push("shop.orders", "{\"id\":2}\n").await?.expect(503)?;
    let create = gateway.client().request(Method::POST, "/v1/datasets/shop/others/ingest?create=true");
    Answer::of(create.header("content-type", "application/json").body("{\"id\":1}")).await?.expect(503)?;
    assert!(!lake.exists(), "the folder is not made again");
    std::fs::rename(&away, &lake)?;
    assert_eq!(gateway.client().count("shop.orders").await?, 1);
    Ok(())
}
