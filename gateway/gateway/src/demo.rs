//! `lakegate demo`: a gateway with real data, loaded through the public push API.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::cli::{Cli, DemoArgs};
use crate::client::Client;
use crate::data_folder::owner_token;
use crate::failure::{Failure, Result, say};
use crate::serve::Gateway;
use crate::{logging, serve, settings};

/// Datasets of the demo, as requests that create them; then their rows. Sources and licences are in testdata/README.md.
const DATASETS: &str = include_str!("../../../testdata/datasets.json");
const ROWS: [(&str, &[u8]); 3] = [
    ("earthquakes", include_bytes!("../../../testdata/earthquakes.ndjson")),
    ("airports", include_bytes!("../../../testdata/airports.ndjson")),
    ("flights", include_bytes!("../../../testdata/flights.ndjson")),
];

/// How long loading one dataset may take.
const LOAD_WITHIN: Duration = Duration::from_secs(120);

/// `lakegate demo`.
pub(crate) fn command(cli: &Cli, args: &DemoArgs) -> Result<()> {
    let mut settings = settings::load(cli)?;
    settings.data_dir = settings.data_dir.join("demo");
    logging::start(&settings.log, None)?;
    if args.reset {
        reset(&settings.data_dir)?;
    }
    serve::runtime(settings.ingest.max_concurrent)?.block_on(async {
        let gateway = Gateway::open(&settings).await?;
        let url = gateway.url();
        let listening = gateway.listening();
        let token = owner_token(&settings.data_dir);
        let stop = gateway.stopper();
        let serving = tokio::spawn(gateway.run());
        if let Err(failure) = load(&url, token).await {
            stop.cancel();
            // The reason why loading failed is the one to show.
            let _ = serving.await;
            return Err(failure);
        }
        greet(&listening, &url, &settings.data_dir);
        serving.await.map_err(|e| Failure::other(e.to_string()))?
    })
}

/// Only a folder that a demo made is deleted.
fn reset(folder: &std::path::Path) -> Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    // Fails with the holder's name while another demo runs.
    drop(crate::data_folder::DataFolder::open(folder)?);
    std::fs::remove_dir_all(folder).map_err(|e| Failure::usage(format!("{} cannot be deleted: {e}", folder.display())))
}

async fn load(url: &str, token: Option<String>) -> Result<()> {
    let client = Client::new(url, token)?;
    let datasets: Vec<Value> = serde_json::from_str(DATASETS).map_err(|e| Failure::other(e.to_string()))?;
    for dataset in datasets {
        let create = &dataset["create"];
        let name = create["name"].as_str().unwrap_or_default();
        let created = client.send(client.request(Method::POST, "/v1/datasets").json(create)).await;
        match created {
            Ok(_) => {}
            Err(problem) if problem.code == "already_exists" => {}
            Err(problem) => return Err(problem.into()),
        }
        push(&client, name).await?;
    }
    Ok(())
}

async fn push(client: &Client, name: &str) -> Result<()> {
    let table = name.rsplit('.').next().unwrap_or_default();
    let rows = ROWS.iter().find(|(known, _)| *known == table);
    let (_, rows) = rows.ok_or_else(|| Failure::other(format!("there are no rows for {name}")))?;
    let path = format!("/v1/datasets/{}/ingest", name.replace('.', "/"));
    // The table has the rows already when the first version is there, however long ago it was pushed.
    let shown = client.json(client.request(Method::GET, path.trim_end_matches("/ingest"))).await?;
    if shown["version"].as_u64().unwrap_or_default() > 0 {
        return Ok(());
    }
    let request = client
        .request(Method::POST, &path)
        .header("Content-Type", "application/x-ndjson")
        .header("Idempotency-Key", format!("demo-{table}"))
        .timeout(LOAD_WITHIN)
        .body(*rows);
    let pushed = client.json(request).await?;
    say(format_args!("loaded {name}: {} rows", pushed["rows"]));
    Ok(())
}

fn greet(listening: &str, url: &str, folder: &std::path::Path) {
    let question = json!({"sql": "SELECT mag, place FROM demo.earthquakes ORDER BY mag DESC LIMIT 5"});
    say(format_args!("{listening}"));
    say(format_args!("\nThree datasets are ready: demo.earthquakes, demo.airports, demo.flights. Ask:\n"));
    say(format_args!("  curl -s {url}/v1/query -H 'Content-Type: application/json' -d '{question}'"));
    say(format_args!("  lakegate sql --url {url}\n"));
    say(format_args!("Start page {url}/ · owner's token {}/owner-token · stop: Ctrl-C", folder.display()));
}
