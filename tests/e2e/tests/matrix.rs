//! The table of docs/security.md, every cell of it: action × role × how the role came × visibility × protocol.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch};
use arrow_flight::FlightDescriptor;
use arrow_flight::sql::{
    CommandStatementIngest, TableDefinitionOptions, TableExistsOption as Exists, TableNotExistOption as Missing,
};
use lakegate_e2e::client::dataset_path;
use lakegate_e2e::flight::{FlightClient, descriptor};
use lakegate_e2e::{Client, Gateway, Result};
use reqwest::Method;
use serde_json::{Value, json};
use tonic::Code;

const ROLES: [&str; 5] = ["no role", "reader", "writer", "maintainer", "owner"];

/// What the table says of one action, by role.
type Cells = BTreeMap<&'static str, String>;

/// The table of the document: actions in their order.
fn table() -> Result<Vec<(String, Cells)>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/security.md");
    let text = std::fs::read_to_string(path)?;
    let mut lines = text.lines().skip_while(|line| !line.starts_with("| action |"));
    let split = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let head = split(lines.next().ok_or("the document has no table")?);
    assert_eq!(head[1..], ROLES, "the columns of the table");
    let rows = lines.skip(1).take_while(|line| line.starts_with('|')).map(|line| {
        let mut cells = split(line).into_iter();
        let action = cells.next().unwrap_or_default();
        (action, ROLES.into_iter().zip(cells).collect())
    });
    Ok(rows.collect())
}

/// Somebody with a role, or none, and how it came.
struct Caller {
    told: String,
    role: usize,
    token: Option<String>,
}

async fn token(owner: &Client, name: &str) -> Result<String> {
    owner.post("/v1/principals", &json!({ "name": name })).await?.expect(201)?;
    let made = owner.post("/v1/tokens", &json!({ "principal": name, "name": "test" })).await?.expect(201)?.json()?;
    Ok(made["token"].as_str().ok_or("no token")?.to_owned())
}

async fn grant(owner: &Client, grant: Value) -> Result {
    owner.send(Method::PUT, "/v1/grants", &grant).await?.expect(200)?;
    Ok(())
}

/// Nobody, owners of other things, and each role by each way, on what namespace `ns` has and on `dataset` in it.
async fn callers(owner: &Client, ns: &str, dataset: &str) -> Result<Vec<Caller>> {
    let mut all = vec![Caller { told: "nobody".to_owned(), role: 0, token: None }];
    let name = |what: &str| format!("{ns}.{what}");
    let stranger = token(owner, &name("stranger")).await?;
    all.push(Caller { told: "a stranger".to_owned(), role: 0, token: Some(stranger) });
    let tenant = token(owner, &name("tenant")).await?;
    grant(owner, json!({ "principal": name("tenant"), "role": "owner", "namespace": "others" })).await?;
    all.push(Caller { told: "the owner of another namespace".to_owned(), role: 0, token: Some(tenant) });
    for (rank, role) in ROLES.iter().enumerate().skip(1) {
        for way in ["dataset", "namespace", "group", "instance", "token for it alone"] {
            let who = name(&format!("{role}.{}", &way[..5]));
            let mut shown = token(owner, &who).await?;
            match way {
                "namespace" => grant(owner, json!({ "principal": who, "role": role, "namespace": ns })).await?,
                "instance" => grant(owner, json!({ "principal": who, "role": role })).await?,
                "group" => {
                    owner.post("/v1/groups", &json!({ "name": who })).await?.expect(201)?;
                    let path = format!("/v1/groups/{who}/members/{who}");
                    owner.call(Method::PUT, &path).await?.expect(204)?;
                    grant(owner, json!({ "group": who, "role": role, "dataset": dataset })).await?;
                }
                "token for it alone" => {
                    grant(owner, json!({ "principal": who, "role": role, "namespace": ns })).await?;
                    let limited = json!({ "principal": who, "name": "limited", "datasets": [dataset] });
                    let made = owner.post("/v1/tokens", &limited).await?.expect(201)?.json()?;
                    shown = made["token"].as_str().ok_or("no token")?.to_owned();
                }
                _ => grant(owner, json!({ "principal": who, "role": role, "dataset": dataset })).await?,
            }
            all.push(Caller { told: format!("a {role} by {way}"), role: rank, token: Some(shown) });
        }
    }
    // A token that does not reach the dataset makes nobody of its owner.
    let limited = json!({ "name": "elsewhere", "datasets": ["others.*"] });
    let made = owner.post("/v1/tokens", &limited).await?.expect(201)?.json()?;
    let shown = made["token"].as_str().map(str::to_owned);
    all.push(Caller { told: "the owner by a token for elsewhere".to_owned(), role: 0, token: shown });
    Ok(all)
}

/// Tries an action over REST; `None` when REST has no such action.
async fn over_rest(client: &Client, action: &str, dataset: &str, job: &str) -> Result<Option<String>> {
    let path = dataset_path(dataset);
    let patch = async |body: Value| client.send(Method::PATCH, &path, &body).await;
    let answer = match action {
        "see it" => client.get(&path).await?,
        "query it" => client.query(&format!("SELECT count(*) FROM {dataset}")).await?,
        "read its rows" => client.get(&format!("{path}/rows")).await?,
        "read its versions" => client.get(&format!("{path}/versions")).await?,
        "push rows" => client.push(dataset, "{\"id\":2}\n").await?,
        "describe it" => patch(json!({ "description": "told" })).await?,
        "add a column" => {
            let name = format!("c{}", chrono::Utc::now().timestamp_micros());
            patch(json!({ "add_columns": [{ "name": name, "type": "int" }] })).await?
        }
        "compact it" => client.call(Method::POST, &format!("{path}/compact")).await?,
        "vacuum it" => client.call(Method::POST, &format!("{path}/vacuum")).await?,
        "publish it" => {
            // To what it is already: the cells after this one must find it as it was.
            let visibility = if dataset.ends_with(".open") { "public" } else { "private" };
            patch(json!({ "visibility": visibility })).await?
        }
        "see its policy" => client.get(&format!("{path}/policy")).await?,
        "set its policy" => {
            // One that hides nothing: the cells after this one must find it as it was.
            client.send(Method::PUT, &format!("{path}/policy"), &json!({ "row_filter": "TRUE" })).await?
        }
        "take its policy away" => client.delete(&format!("{path}/policy")).await?,
        "see its grants" => client.get(&format!("/v1/grants?dataset={dataset}")).await?,
        "grant it" => {
            let grant = json!({ "principal": "somebody", "role": "reader", "dataset": dataset });
            client.send(Method::PUT, "/v1/grants", &grant).await?
        }
        "see its jobs" => client.get(job).await?,
        "delete it" => client.delete(&path).await?,
        _ => return Ok(None),
    };
    Ok(Some(match answer.status {
        200 | 204 => "yes".to_owned(),
        403 => "denied".to_owned(),
        404 => "absent".to_owned(),
        _ => format!("{} {}", answer.status, answer.text()),
    }))
}

/// Tries an action over Flight SQL; `None` when it has no such action.
async fn over_flight(client: &FlightClient, action: &str, dataset: &str) -> Result<Option<String>> {
    let (ns, name) = dataset.split_once('.').ok_or("a name")?;
    let ingest = |missing: Missing, exists: Exists| CommandStatementIngest {
        table_definition_options: Some(TableDefinitionOptions {
            if_not_exist: missing.into(),
            if_exists: exists.into(),
        }),
        table: name.to_owned(),
        schema: Some(ns.to_owned()),
        ..CommandStatementIngest::default()
    };
    let rows = || RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from(vec![3])) as _)]);
    let done = match action {
        "query it" => client.ask(&format!("SELECT count(*) FROM {dataset}")).await.map(drop),
        "ask for its schema" => {
            let path = FlightDescriptor::new_path(vec![ns.to_owned(), name.to_owned()]);
            client.raw().get_schema(client.request(path)).await.map(drop)
        }
        "push rows" => {
            client.put_rows(descriptor(&ingest(Missing::Fail, Exists::Append)), vec![rows()?]).await.map(drop)
        }
        "create or replace it" => {
            client.put_rows(descriptor(&ingest(Missing::Create, Exists::Replace)), vec![rows()?]).await.map(drop)
        }
        _ => return Ok(None),
    };
    Ok(Some(match done {
        Ok(()) => "yes".to_owned(),
        Err(status) if status.code() == Code::PermissionDenied => "denied".to_owned(),
        Err(status) if status.code() == Code::NotFound => "absent".to_owned(),
        Err(status) => format!("{:?} {}", status.code(), status.message()),
    }))
}

#[tokio::test]
async fn every_cell_of_the_table_holds() -> Result {
    let gateway = Gateway::start().await?;
    let owner = gateway.client();
    token(owner, "somebody").await?;
    owner.post("/v1/namespaces", &json!({ "name": "others" })).await?.expect(201)?;
    let (mut wrong, mut tried) = (Vec::new(), BTreeMap::new());
    for (ns, name, visibility) in [("acme", "closed", "private"), ("zoo", "open", "public")] {
        let dataset = format!("{ns}.{name}");
        let create =
            json!({ "name": dataset, "visibility": visibility, "schema": [{ "name": "id", "type": "bigint" }] });
        owner.post("/v1/datasets", &create).await?.expect(201)?;
        owner.call(Method::POST, &format!("{}/vacuum", dataset_path(&dataset))).await?.expect(200)?;
        let jobs = owner.get(&format!("/v1/jobs?dataset={dataset}&kind=vacuum")).await?.expect(200)?.json()?;
        let job = format!("/v1/jobs/{}", jobs["items"][0]["id"].as_str().ok_or("no job")?);
        let callers = callers(owner, ns, &dataset).await?;
        for (action, cells) in table()? {
            for caller in &callers {
                let rank = if visibility == "public" { caller.role.max(1) } else { caller.role };
                let expected = cells.get(ROLES[rank]).ok_or("a cell")?;
                let client = caller.token.as_ref().map_or_else(|| owner.anonymous(), |token| owner.with_token(token));
                let flight = FlightClient::connect(gateway.flight(), caller.token.as_deref()).await?;
                let results = [
                    ("REST", over_rest(&client, &action, &dataset, &job).await?),
                    ("Flight", over_flight(&flight, &action, &dataset).await?),
                ];
                for (protocol, found) in results {
                    let Some(found) = found else { continue };
                    *tried.entry(action.clone()).or_insert(0) += 1;
                    if found != *expected {
                        let told = &caller.told;
                        wrong.push(format!("{told}: {action} ({visibility}, {protocol}): {expected}, but {found}"));
                    }
                }
                if action == "delete it" && expected == "yes" {
                    // For the next one: made anew, with the grants that went with it.
                    owner.post("/v1/datasets", &create).await?.expect(201)?;
                    again(owner, ns, &dataset).await?;
                }
            }
        }
    }
    let actions: Vec<_> = table()?.into_iter().map(|(action, _)| action).collect();
    assert!(actions.iter().all(|action| tried.get(action).is_some_and(|count| *count >= 48)), "{tried:?}");
    assert!(wrong.is_empty(), "{} cells:\n{}", wrong.len(), wrong.join("\n"));
    Ok(())
}

/// Grants again what is granted on the dataset itself.
async fn again(owner: &Client, ns: &str, dataset: &str) -> Result {
    for role in &ROLES[1..] {
        grant(owner, json!({ "principal": format!("{ns}.{role}.datas"), "role": role, "dataset": dataset })).await?;
        grant(owner, json!({ "group": format!("{ns}.{role}.group"), "role": role, "dataset": dataset })).await?;
    }
    Ok(())
}
