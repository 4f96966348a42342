//! A program of others makes requests from `/openapi.json`, good ones and bad ones, and judges every answer by it.
//!
//! What it is told is in `tests/e2e/schemathesis`.

use std::collections::BTreeMap;
use std::path::Path;

use lakegate_e2e::{Answer, Client, Gateway, Result, environment};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::process::Command;

/// Requests per operation, besides those that walk along every bound; `LAKEGATE_EXAMPLES` asks for more.
const EXAMPLES: &str = "60";

/// Answers by operation and status.
type Counts = BTreeMap<String, BTreeMap<String, u64>>;

#[tokio::test]
async fn the_gateway_keeps_to_its_document() -> Result {
    let mut gateway = Gateway::demo().await?;
    let seed = seed(gateway.client()).await?;
    let told = gateway.options().folder().join("seed.json");
    let counted = gateway.options().folder().join("counts.json");
    std::fs::write(&told, seed.to_string())?;

    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemathesis");
    let python = environment("LAKEGATE_PYTHON", "an interpreter with tests/requirements.txt installed")?;
    let examples = environment("LAKEGATE_EXAMPLES", "").unwrap_or_else(|_| EXAMPLES.to_owned());
    let output = Command::new(Path::new(&python).with_file_name("schemathesis"))
        .arg("--config-file")
        .arg(kept.join("schemathesis.toml"))
        .args(["run", &format!("{}/openapi.json", gateway.base())])
        // One thread: with more, Python before 3.12 can lose count of how deep it parses ("recursion depth mismatch").
        .args(["--max-examples", &examples, "--workers", "1", "--seed", "1", "--no-color"])
        .env_clear()
        .env("PATH", environment("PATH", "set it")?)
        .env("HOME", gateway.options().folder())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("SCHEMATHESIS_HOOKS", kept.join("hooks.py"))
        .env("LAKEGATE_TOKEN", gateway.token())
        .env("LAKEGATE_SEED", &told)
        .env("LAKEGATE_COUNTS", &counted)
        .current_dir(gateway.options().folder())
        .kill_on_drop(true)
        .output()
        .await?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    gateway.alive()?;
    assert!(output.status.success(), "{said}\nin short:\n{}", in_short(&said));
    let document = gateway.client().get("/openapi.json").await?.expect(200)?.json()?;
    judge(&document, &serde_json::from_slice(&std::fs::read(&counted)?)?)
}

/// Which operation failed in what, and how it is asked: a few lines to stand last, below pages of detail.
fn in_short(said: &str) -> String {
    let tells = |line: &&str| {
        let line = line.trim_start();
        ["___", "- ", "[", "curl ", "====", "Got ", "❌"].iter().any(|start| line.starts_with(start))
    };
    let clipped = |line: &str| line.trim().trim_matches('_').chars().take(240).collect::<String>();
    said.lines().filter(tells).map(clipped).collect::<Vec<_>>().join("\n")
}

/// Every operation was answered well at least once, and none with an error of the gateway.
fn judge(document: &Value, counts: &Counts) -> Result {
    let paths = document["paths"].as_object().ok_or("no paths")?;
    // The document itself is what the rest is made from.
    for (path, item) in paths.iter().filter(|(path, _)| *path != "/openapi.json") {
        for method in item.as_object().into_iter().flat_map(|item| item.keys()) {
            let operation = format!("{} {path}", method.to_uppercase());
            let answers = counts.get(&operation).ok_or_else(|| format!("{operation} was never asked"))?;
            let well = answers.keys().any(|status| status.starts_with(['2', '3']));
            let broken = answers.keys().any(|status| status.starts_with('5'));
            assert!(well && !broken, "{operation}: {answers:?}");
        }
    }
    Ok(())
}

/// What requests can be about: a dataset that may grow, its receipts, a service account with a right and a token, and
/// queries that have ended; besides the datasets of the demo. The answer says how to name them.
async fn seed(client: &Client) -> Result<Value> {
    let schema = json!([
        {"name": "n", "type": "bigint"}, {"name": "text", "type": "string"}, {"name": "tags", "type": "list<string>"},
    ]);
    let target = json!({ "name": "fuzz.target", "visibility": "public", "schema": schema });
    client.post("/v1/datasets", &target).await?.expect(201)?;
    let mut receipts = Vec::new();
    for n in 0..3 {
        let pushed = client.push("fuzz.target", format!("{{\"n\":{n}}}\n")).await?.expect(200)?;
        receipts.push(pushed.json()?["receipt"].take());
    }
    let service = json!({ "name": "ada", "kind": "service" });
    client.post("/v1/principals", &service).await?.expect(201)?;
    let right = json!({ "principal": "ada", "role": "reader", "namespace": "demo" });
    client.send(Method::PUT, "/v1/grants", &right).await?.expect(200)?;
    client.post("/v1/tokens", &json!({ "name": "laptop", "principal": "ada" })).await?.expect(201)?;
    client.post("/v1/principals", &json!({ "name": "grace" })).await?.expect(201)?;
    let password = json!({ "password": "correct horse" });
    client.send(Method::PUT, "/v1/principals/grace/password", &password).await?.expect(204)?;
    for sql in ["SELECT 1", "SELECT count(*) FROM demo.flights"] {
        client.query(sql).await?.expect(200)?;
    }
    let owner = Answer::of(client.request(Method::GET, "/v1/whoami")).await?.expect(200)?.json()?;
    let tokens = client.get("/v1/tokens").await?.expect(200)?.json()?;
    Ok(json!({
        "target": {"ns": "fuzz", "name": "target"},
        "receipts": receipts,
        "service": "ada",
        "login": ["grace", "correct horse"],
        "owner": owner["principal"]["name"],
        "owner_token": tokens["items"][0]["id"],
    }))
}
