//! What an operator sees: metrics, logs, request ids; and what nobody may see in them.

use lakegate_e2e::client::dataset_path;
use lakegate_e2e::{Answer, Gateway, Result};
use reqwest::Method;
use serde_json::{Value, json};

/// The value of a metric, summed over its labels; 0 when it is not there.
fn metric(text: &str, name: &str) -> f64 {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let of_name = lines.filter(|line| line.split(['{', ' ']).next() == Some(name));
    of_name.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

#[tokio::test]
async fn metrics_count_what_happens_and_name_nobody() -> Result {
    let gateway = Gateway::start().await?;
    let client = gateway.client();
    client.create("secretns.secretset", &[("id", "bigint")]).await?.expect(201)?;
    let before = client.get("/metrics").await?.expect(200)?.text();
    client.push("secretns.secretset", "{\"id\":1}\n{\"id\":2}\n").await?.expect(200)?;
    client.rows("SELECT id FROM secretns.secretset").await?;
    let after = client.get("/metrics").await?.expect(200)?.text();
    let grew = |name: &str| metric(&after, name) - metric(&before, name);
    assert_eq!(grew("lakegate_push_rows_total"), 2.0, "{after}");
    assert_eq!(grew("lakegate_queries_total"), 1.0, "{after}");
    assert!(grew("lakegate_http_requests_total") >= 2.0, "{after}");
    for name in after.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        assert!(name.starts_with("lakegate_"), "{name}");
    }
    assert!(!after.contains("secretns") && !after.contains("secretset"), "{after}");
    Ok(())
}

#[tokio::test]
async fn a_request_id_finds_the_log_line() -> Result {
    let gateway = Gateway::start().await?;
    let request = gateway.client().request(Method::GET, "/v1/datasets/no/such").header("x-request-id", "find-me-17");
    let answer = Answer::of(request).await?.expect(404)?;
    assert_eq!(answer.header("x-request-id"), "find-me-17");
    assert_eq!(answer.json()?["request_id"], "find-me-17");
    let other = gateway.client().get("/v1/whoami").await?.expect(200)?;
    assert!(!other.header("x-request-id").is_empty(), "one is made when none came");

    // Stopping flushes the log.
    let mut gateway = gateway;
    lakegate_e2e::process::signal(gateway.pid()?, "TERM")?;
    gateway.ended().await?;
    let output = gateway.output();
    let line =
        output.lines().find(|line| line.contains("find-me-17")).ok_or_else(|| format!("not in the log:\n{output}"))?;
    let entry: Value = serde_json::from_str(line)?;
    assert!(entry.to_string().contains("404"), "{entry}");
    Ok(())
}

#[tokio::test]
async fn tokens_are_never_logged_and_rows_only_for_debugging() -> Result {
    for (level, secret_rows) in [("info", true), ("trace", false)] {
        logged_secrets(level, secret_rows).await?;
    }
    Ok(())
}

async fn logged_secrets(level: &str, secret_rows: bool) -> Result {
    let mut gateway = lakegate_e2e::Options::serve()?.setting("log.level", level).start().await?;
    let client = gateway.client().clone();
    client.post("/v1/principals", &json!({ "name": "ada" })).await?.expect(201)?;
    let made = client.post("/v1/tokens", &json!({ "principal": "ada", "name": "t" })).await?.expect(201)?.json()?;
    let token = made["token"].as_str().ok_or("no token")?.to_owned();
    client.with_token(&token).get("/v1/whoami").await?.expect(200)?;
    client.with_token(format!("{token}x")).get("/v1/whoami").await?.expect(401)?;
    client.get(&format!("/v1/datasets?access_token={token}")).await?;
    client.create("shop.orders", &[("id", "bigint"), ("name", "string")]).await?.expect(201)?;
    client.push("shop.orders", "{\"id\":1,\"name\":\"privatevalue\"}\n").await?.expect(200)?;
    client.push("shop.orders", "{\"id\":\"privatevalue\"}\n").await?.expect(400)?;
    client.get(&dataset_path("shop.orders")).await?.expect(200)?;
    lakegate_e2e::process::signal(gateway.pid()?, "TERM")?;
    gateway.ended().await?;
    let output = gateway.output();
    assert!(output.lines().count() > 5, "there is a log: {output}");
    for secret in [gateway.token(), &token] {
        assert!(!output.contains(secret), "{level}: logged {secret}");
    }
    assert!(!(secret_rows && output.contains("privatevalue")), "{level}: a value was logged");
    Ok(())
}
