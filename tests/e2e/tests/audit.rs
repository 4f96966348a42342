//! The audit: who did what, and who may know.

use std::path::Path;
use std::time::{Duration, Instant};

use arrow::array::{Int64Array, RecordBatch};
use arrow_flight::sql::{
    CommandStatementIngest, CommandStatementQuery, TableDefinitionOptions, TableExistsOption, TableNotExistOption,
};
use arrow_flight::{FlightDescriptor, HandshakeRequest};
use futures::TryStreamExt as _;
use lakegate_e2e::flight::descriptor;
use lakegate_e2e::{Answer, Client, Companion, FlightClient, Gateway, OpenPush, Result, environment};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::jobs::{ENDLESS, submit, until};

/// How long an entry may take to be there; a tenth of a second is promised to who is not busy.
const SOON: Duration = Duration::from_secs(20);

const SECRET: &str = "correct horse battery";

/// Entries that the condition lets through, the oldest first, once there are as many as expected.
async fn entries(client: &Client, condition: &str, expected: usize) -> Result<Vec<Value>> {
    let asked = Instant::now();
    loop {
        let found = client.rows(&format!("SELECT * FROM system.audit WHERE {condition} ORDER BY at, id")).await?;
        if found.len() >= expected && expected > 0 {
            assert_eq!(found.len(), expected, "{condition}: {found:#?}");
            return Ok(found);
        }
        let all = || client.rows("SELECT action, decision, dataset, code, detail FROM system.audit ORDER BY at");
        assert!(asked.elapsed() < SOON, "{condition}: {found:#?}\nof {:#?}", all().await?);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn entry(client: &Client, condition: &str) -> Result<Value> {
    Ok(entries(client, condition, 1).await?.remove(0))
}

/// Some fields of an entry.
fn of(entry: &Value, fields: &[&str]) -> Value {
    fields.iter().map(|field| entry[*field].clone()).collect()
}

async fn principal(owner: &Client, name: &str) -> Result<Client> {
    owner.post("/v1/principals", &json!({ "name": name })).await?.expect(201)?;
    let made = owner.post("/v1/tokens", &json!({ "principal": name, "name": "test" })).await?.expect(201)?.json()?;
    Ok(owner.with_token(made["token"].as_str().ok_or("no token")?))
}

/// A gateway with the dataset `lab.t`, one row in its version 1.
async fn lab() -> Result<Gateway> {
    let gateway = Gateway::start().await?;
    gateway.client().create("lab.t", &[("n", "bigint")]).await?.expect(201)?;
    gateway.client().push("lab.t", "{\"n\":1}\n").await?.expect(200)?;
    Ok(gateway)
}

#[tokio::test]
async fn pushes_and_queries_are_recorded_with_versions_rows_and_bytes() -> Result {
    let gateway = lab().await?;
    let owner = gateway.client();
    let made = entry(owner, "action = 'create_dataset'").await?;
    let fields = ["principal", "protocol", "decision", "dataset", "code"];
    assert_eq!(of(&made, &fields), json!(["owner", "rest", "allowed", "lab.t", null]));
    let pushed = entry(owner, "action = 'push'").await?;
    let counts = ["dataset", "version", "rows", "bytes", "decision"];
    assert_eq!(of(&pushed, &counts), json!(["lab.t", 1, 1, 8, "allowed"]));
    assert_eq!((&pushed["dataset_id"], &pushed["principal_id"]), (&made["dataset_id"], &made["principal_id"]));
    assert!(made["dataset_id"].is_string());

    let asked = owner
        .request(Method::POST, "/v1/query")
        .header("x-request-id", "my-request")
        .header("lakegate-query-id", "my-query")
        .json(&json!({ "sql": "SELECT n, n + $1 AS m FROM lab.t", "params": [41] }));
    Answer::of(asked).await?.expect(200)?;
    let read = entry(owner, "query_id = 'my-query'").await?;
    assert_eq!(of(&read, &counts), json!(["lab.t", 1, 1, 16, "allowed"]));
    assert_eq!(of(&read, &["action", "protocol", "request_id"]), json!(["query", "rest", "my-request"]));
    let query = owner.rows("SELECT * FROM system.queries WHERE query_id = 'my-query'").await?.remove(0);
    let fields = ["principal", "protocol", "sql", "state", "rows", "bytes", "versions", "code"];
    let sql = "SELECT n, n + $1 AS m FROM lab.t";
    assert_eq!(of(&query, &fields), json!(["owner", "rest", sql, "done", 1, 16, "{\"lab.t\":1}", null]));

    owner.get("/v1/datasets/lab/t/rows").await?.expect(200)?;
    let by_rows = entry(owner, "query_id IN (SELECT query_id FROM system.queries WHERE sql LIKE '%OFFSET 0')").await?;
    assert_eq!(of(&by_rows, &counts), json!(["lab.t", 1, 1, 8, "allowed"]));

    // Two versions of one dataset, and one that reads none.
    owner.push("lab.t", "{\"n\":2}\n").await?.expect(200)?;
    owner.rows("SELECT 'both' AS b, a.n FROM lab.t a JOIN lab.t@v1 b ON a.n = b.n").await?;
    let both = "query_id IN (SELECT query_id FROM system.queries WHERE sql LIKE 'SELECT ''both''%')";
    let both = entries(owner, both, 2).await?;
    assert_eq!(both.iter().map(|one| one["version"].clone()).collect::<Value>(), json!([1, 2]));
    owner.rows("SELECT 'none' AS n").await?;
    let none =
        entry(owner, "query_id IN (SELECT query_id FROM system.queries WHERE sql LIKE 'SELECT ''none''%')").await?;
    assert_eq!(of(&none, &counts), json!([null, null, 1, none["bytes"], "allowed"]));
    Ok(())
}

#[tokio::test]
async fn flight_is_recorded_like_rest() -> Result {
    let gateway = lab().await?;
    let owner = gateway.client();
    let path = "/v1/principals/owner/password";
    owner.send(Method::PUT, path, &json!({ "password": SECRET })).await?.expect(204)?;
    let flight = FlightClient::connect(gateway.flight(), owner.token()).await?;
    let (mine, rows) = ("protocol = 'flight' AND action", ["dataset", "version", "rows", "decision", "code"]);
    let asked = flight.ask("SELECT n FROM lab.t").await?;
    let read = entry(owner, &format!("{mine} = 'query'")).await?;
    assert_eq!(of(&read, &rows), json!(["lab.t", 1, 1, "allowed", null]));
    assert_eq!(
        Some(read["query_id"].as_str().ok_or("an id")?),
        asked.headers.get("lakegate-query-id").map(|id| id.to_str()).transpose()?
    );
    assert_eq!(of(&read, &["principal", "bytes"]), json!(["owner", 8]));

    let batch = RecordBatch::try_from_iter([("n", std::sync::Arc::new(Int64Array::from(vec![2, 3])) as _)])?;
    let options = TableDefinitionOptions {
        if_not_exist: TableNotExistOption::Fail.into(),
        if_exists: TableExistsOption::Append.into(),
    };
    let ingest = |table: &str| CommandStatementIngest {
        table_definition_options: Some(options),
        table: table.to_owned(),
        schema: Some("lab".to_owned()),
        ..CommandStatementIngest::default()
    };
    flight.put_rows(descriptor(&ingest("t")), vec![batch.clone()]).await?;
    let pushed = entry(owner, &format!("{mine} = 'push'")).await?;
    assert_eq!(of(&pushed, &rows), json!(["lab.t", 2, 2, "allowed", null]));
    assert!(pushed["bytes"].as_u64() > Some(16), "{pushed}");
    let stranger = FlightClient::connect(gateway.flight(), principal(owner, "ada").await?.token()).await?;
    stranger.put_rows(descriptor(&ingest("t")), vec![batch]).await.expect_err("hidden");
    let refused = entry(owner, &format!("{mine} = 'push' AND decision = 'denied'")).await?;
    assert_eq!(of(&refused, &rows), json!(["lab.t", null, null, "denied", "dataset_not_found"]));
    assert_eq!(of(&refused, &["principal", "dataset_id"]), json!(["ada", null]));
    stranger.ask("SELECT n FROM lab.t").await.map(drop).expect_err("hidden");
    let refused = entry(owner, &format!("{mine} = 'query' AND decision = 'denied'")).await?;
    assert_eq!(of(&refused, &rows), json!(["lab.t", null, null, "denied", "dataset_not_found"]));
    let path = FlightDescriptor::new_path(vec!["lab.t".to_owned()]);
    flight.raw().get_schema(flight.request(path)).await?;
    let shown = entry(owner, &format!("{mine} = 'show_dataset'")).await?;
    assert_eq!(of(&shown, &rows), json!(["lab.t", 2, null, "allowed", null]));

    // `owner:` with the password, and with another.
    let shake = async |authorization: &str| {
        let client = flight.clone().header("authorization", authorization);
        let hello = futures::stream::iter([HandshakeRequest::default()]);
        client.raw().handshake(client.request(hello)).await?.into_inner().try_collect::<Vec<_>>().await
    };
    shake("Basic b3duZXI6Y29ycmVjdCBob3JzZSBiYXR0ZXJ5").await?;
    shake("Basic b3duZXI6d3JvbmcgaG9yc2U=").await.expect_err("wrong");
    let came = entries(owner, &format!("{mine} = 'log_in'"), 2).await?;
    let fields = ["principal", "decision", "code", "detail"];
    assert_eq!(of(&came[0], &fields), json!(["owner", "allowed", null, "owner"]));
    assert_eq!(of(&came[1], &fields), json!([null, "denied", "unauthenticated", "owner"]));
    let wrong = FlightClient::connect(gateway.flight(), Some("lg_nonsense")).await?;
    wrong.ask("SELECT 1").await.map(drop).expect_err("refused");
    let wrong = entry(owner, &format!("{mine} = 'authenticate'")).await?;
    assert_eq!(of(&wrong, &fields), json!([null, "denied", "unauthenticated", null]));
    Ok(())
}

#[tokio::test]
async fn what_jobs_do_is_recorded_too() -> Result {
    let gateway = lab().await?;
    let owner = gateway.client();
    for work in ["compact", "vacuum"] {
        owner.call(Method::POST, &format!("/v1/datasets/lab/t/{work}")).await?.expect(200)?;
    }
    for kept in entries(owner, "action = 'maintain'", 2).await? {
        let fields = ["principal", "protocol", "dataset", "decision", "code"];
        assert_eq!(of(&kept, &fields), json!(["owner", "rest", "lab.t", "allowed", null]));
    }
    let path = submit(owner, json!({ "kind": "query", "sql": "SELECT n FROM lab.t" })).await?;
    until(owner, &path, "done").await?;
    let asked = entry(owner, "action = 'change_job'").await?;
    let id = path.rsplit('/').next().unwrap_or_default();
    assert_eq!(of(&asked, &["principal", "protocol", "decision"]), json!(["owner", "rest", "allowed"]));
    assert!(asked["detail"].as_str().is_some_and(|detail| detail.contains(id)), "{asked}");
    let read = entry(owner, "protocol = 'job' AND action = 'query'").await?;
    let fields = ["principal", "dataset", "version", "rows", "bytes", "decision"];
    assert_eq!(of(&read, &fields), json!(["owner", "lab.t", 1, 1, 8, "allowed"]));
    let told = owner.rows("SELECT sql, state FROM system.queries WHERE protocol = 'job'").await?;
    assert_eq!(told, [json!({ "sql": "SELECT n FROM lab.t", "state": "done" })]);
    let path = submit(owner, json!({ "kind": "query", "sql": ENDLESS })).await?;
    owner.delete(&path).await?.expect(202)?;
    let last = entries(owner, "action = 'change_job'", 3).await?.remove(2);
    assert!(last["detail"].as_str().is_some_and(|detail| detail.starts_with("cancels query ")), "{last}");

    // What was given to one, and shown by another.
    let theirs = FlightClient::connect(gateway.flight(), owner.token()).await?;
    let command = CommandStatementQuery { query: "SELECT n FROM lab.t".to_owned(), transaction_id: None };
    let ticket = theirs.info(&command).await?.endpoint[0].ticket.clone().ok_or("no ticket")?;
    let ada = FlightClient::connect(gateway.flight(), principal(owner, "ada").await?.token()).await?;
    ada.get(ticket).await.expect_err("another's ticket");
    let shown = entry(owner, "protocol = 'flight' AND decision = 'denied'").await?;
    assert_eq!(of(&shown, &["principal", "action"]), json!(["ada", "query"]));
    Ok(())
}

/// Requests of the owner, and what is recorded of each: action, dataset, decision, code and detail.
fn changes() -> Vec<(Method, &'static str, Value, Value)> {
    use reqwest::Method as M;
    let none = Value::Null;
    let on_t = |action: &str| json!([action, "lab.t", "allowed", null, null]);
    let said = |action: &str, detail: &str| json!([action, null, "allowed", null, detail]);
    vec![
        (M::GET, "/v1/datasets/lab/t", none.clone(), on_t("show_dataset")),
        (M::GET, "/v1/datasets/lab/t/versions", none.clone(), on_t("show_dataset")),
        (M::GET, "/v1/datasets/lab/t/policy", none.clone(), on_t("show_dataset")),
        (
            M::PUT,
            "/v1/datasets/lab/t/policy",
            json!({ "row_filter": "concat('plum pudding', n) <> 'x'" }),
            on_t("change_policy"),
        ),
        (M::DELETE, "/v1/datasets/lab/t/policy", none.clone(), on_t("change_policy")),
        (
            M::PATCH,
            "/v1/datasets/lab/t",
            json!({ "description": "ours", "add_columns": [{ "name": "m", "type": "int" }] }),
            json!(["change_dataset", "lab.t", "allowed", null, "description, column m"]),
        ),
        (
            M::PATCH,
            "/v1/datasets/lab/t",
            json!({ "visibility": "public" }),
            json!(["change_dataset", "lab.t", "allowed", null, "visibility public"]),
        ),
        (
            M::POST,
            "/v1/datasets",
            json!({ "name": "lab.open", "visibility": "public", "schema": [{ "name": "n", "type": "int" }] }),
            json!(["create_dataset", "lab.open", "allowed", null, "visibility public"]),
        ),
        (M::POST, "/v1/namespaces", json!({ "name": "geo" }), said("change_namespace", "geo")),
        (M::DELETE, "/v1/namespaces/geo", none.clone(), said("change_namespace", "geo")),
        (M::POST, "/v1/principals", json!({ "name": "ada" }), said("change_principal", "ada")),
        (M::PUT, "/v1/principals/ada/password", json!({ "password": SECRET }), said("change_principal", "ada")),
        (M::POST, "/v1/groups", json!({ "name": "crew" }), said("change_group", "crew")),
        (M::PUT, "/v1/groups/crew/members/ada", none.clone(), said("change_group", "crew ada")),
        (
            M::PUT,
            "/v1/grants",
            json!({ "group": "crew", "role": "reader", "namespace": "lab" }),
            said("change_grant", "reader to group crew on namespace lab"),
        ),
        (
            M::PUT,
            "/v1/grants",
            json!({ "principal": "ada", "role": "writer", "dataset": "lab.t" }),
            json!(["change_grant", "lab.t", "allowed", null, "writer to principal ada on dataset lab.t"]),
        ),
        (M::GET, "/v1/grants?group=crew", none.clone(), said("show_grants", "of group crew")),
        (M::GET, "/v1/grants?dataset=lab.t", none.clone(), on_t("show_grants")),
        (
            M::DELETE,
            "/v1/grants?group=crew&namespace=lab",
            none.clone(),
            said("change_grant", "none to group crew on namespace lab"),
        ),
        (M::DELETE, "/v1/groups/crew", none.clone(), said("change_group", "crew")),
        (M::POST, "/v1/login", json!({ "name": "ada", "password": SECRET }), said("log_in", "ada")),
        (
            M::POST,
            "/v1/login",
            json!({ "name": "ada", "password": "wrong horse" }),
            json!(["log_in", null, "denied", "unauthenticated", "ada"]),
        ),
        (M::DELETE, "/v1/datasets/lab/t", none.clone(), on_t("delete_dataset")),
        (
            M::GET,
            "/v1/datasets/lab/t",
            none.clone(),
            json!(["show_dataset", "lab.t", "denied", "dataset_not_found", null]),
        ),
        (
            M::POST,
            "/v1/groups",
            json!({ "name": "No Name" }),
            json!(["change_group", null, "failed", "invalid_name", null]),
        ),
    ]
}

#[tokio::test]
async fn every_kind_of_change_is_recorded() -> Result {
    let gateway = lab().await?;
    let owner = gateway.client();
    let changes = changes();
    for (n, (method, path, body, expected)) in changes.iter().enumerate() {
        let request = owner.request(method.clone(), path).header("x-request-id", format!("change-{n}"));
        let request = if body.is_null() { request } else { request.json(body) };
        let answer = Answer::of(request).await?;
        assert_eq!(answer.status < 400, expected[2] == "allowed", "{method} {path}: {}", answer.text());
        let told = entry(owner, &format!("request_id = 'change-{n}'")).await?;
        let fields = ["action", "dataset", "decision", "code", "detail"];
        assert_eq!(of(&told, &fields), *expected, "{method} {path}");
        let by = match *path {
            "/v1/login" if expected[2] == "allowed" => json!("ada"),
            "/v1/login" => Value::Null,
            _ => json!("owner"),
        };
        assert_eq!(told["principal"], by, "{method} {path}");
    }
    let token = owner.post("/v1/tokens", &json!({ "name": "mine" })).await?.expect(201)?.json()?;
    owner.delete(&format!("/v1/tokens/{}", token["id"].as_str().ok_or("an id")?)).await?.expect(204)?;
    let tokens = entries(owner, "action = 'change_token'", 2).await?;
    assert_eq!(tokens[0]["detail"], json!(format!("{} of owner", token["id"].as_str().ok_or("an id")?)));
    assert_eq!(tokens[1]["detail"], token["id"]);

    // Nothing secret is in any of it: neither credentials nor what a policy says.
    owner.with_token("lg_0123456789012345678901234567890123456z").get("/v1/whoami").await?.expect(401)?;
    let refused = entry(owner, "action = 'authenticate'").await?;
    assert_eq!(of(&refused, &["principal", "decision", "detail"]), json!([null, "denied", "GET /v1/whoami"]));
    owner.delete(&format!("/v1/tokens/{}", gateway.token())).await?.expect(404)?;
    owner.get(&format!("/v1/datasets/lab/{}", gateway.token())).await?.expect(404)?;
    entries(owner, "decision = 'denied' AND action IN ('change_token', 'show_dataset') AND dataset IS NULL", 2).await?;
    let all = json!(owner.rows("SELECT * FROM system.audit").await?).to_string();
    let queries = json!(owner.rows("SELECT * FROM system.queries").await?).to_string();
    for secret in ["lg_", SECRET, "wrong horse", "plum", token["token"].as_str().ok_or("a token")?] {
        assert!(!all.contains(secret), "{secret} in {all}");
    }
    assert!(!queries.contains("lg_"), "{queries}");
    Ok(())
}

#[tokio::test]
async fn owners_see_all_others_themselves_and_nobody_nothing() -> Result {
    let gateway = lab().await?;
    let owner = gateway.client();
    let (ada, nobody) = (principal(owner, "ada").await?, owner.anonymous());
    let hidden = "SELECT n FROM lab.t";
    ada.query(hidden).await?.expect_problem(404, "dataset_not_found")?;
    nobody.query(hidden).await?.expect_problem(404, "dataset_not_found")?;
    ada.push("lab.t", "{\"n\":1}\n").await?.expect_problem(404, "dataset_not_found")?;
    ada.get("/v1/principals").await?.expect_problem(403, "denied")?;
    ada.delete("/v1/principals/owner").await?.expect_problem(403, "denied")?;
    let denied = entries(owner, "decision = 'denied'", 4).await?;
    let told: Vec<_> = denied.iter().map(|one| of(one, &["principal", "action", "dataset", "dataset_id"])).collect();
    for expected in [
        json!(["ada", "query", "lab.t", null]),
        json!([null, "query", "lab.t", null]),
        json!(["ada", "push", "lab.t", null]),
        json!(["ada", "change_principal", null, null]),
    ] {
        assert!(told.contains(&expected), "{expected} in {told:?}");
    }
    entries(&ada, "decision = 'denied'", 3).await?;
    let whose = "SELECT DISTINCT principal FROM system.audit";
    assert_eq!(ada.rows(whose).await?, [json!({ "principal": "ada" })]);
    let queries = "SELECT DISTINCT principal FROM system.queries";
    assert_eq!(ada.rows(queries).await?, [json!({ "principal": "ada" })]);
    for view in ["audit", "queries", "jobs"] {
        assert!(nobody.rows(&format!("SELECT * FROM system.{view}")).await?.is_empty(), "{view}");
    }
    let flight = FlightClient::connect(gateway.flight(), ada.token()).await?;
    assert_eq!(flight.ask(whose).await?.count(), 1);
    assert_eq!(flight.anonymous().ask("SELECT * FROM system.audit").await?.count(), 0);

    let tables = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'system' ORDER BY 1";
    let names = json!([{ "table_name": "audit" }, { "table_name": "jobs" }, { "table_name": "queries" }]);
    assert_eq!(json!(ada.rows(tables).await?), names);
    assert!(nobody.rows(tables).await?.is_empty());
    // It changes all the time, has no versions, and takes no rows.
    let asked = owner.get("/v1/query?sql=SELECT+count(*)+FROM+system.audit").await?.expect(200)?;
    assert_eq!((asked.header("etag"), asked.header("lakegate-versions")), ("", ""));
    owner.query("SELECT * FROM system.audit@v1").await?.expect(400)?;
    owner.push("system.audit", "{\"n\":1}\n").await?.expect(404)?;
    let creating = owner.request(Method::POST, "/v1/datasets/system/audit/ingest?create=true");
    Answer::of(creating.json(&json!([{ "n": 1 }]))).await?.expect_problem(400, "invalid_name")?;
    owner.create("system.audit", &[("n", "bigint")]).await?.expect_problem(400, "invalid_name")?;
    Ok(())
}

#[tokio::test]
async fn what_somebody_leaves_is_recorded_as_failed() -> Result {
    let gateway = lab().await?;
    let owner = gateway.client();
    owner.create("lab.large", &[("id", "bigint"), ("name", "string")]).await?.expect(201)?;
    let mut push = OpenPush::begin(owner, "lab.large", None).await?;
    push.row(1).await?;
    push.break_off().await?;
    let left = entry(owner, "action = 'push' AND decision = 'failed'").await?;
    assert_eq!(of(&left, &["principal", "dataset", "version"]), json!(["owner", "lab.large", null]));
    assert!(["request_cancelled", "truncated_body"].contains(&left["code"].as_str().unwrap_or_default()), "{left}");
    let endless = json!({ "sql": "SELECT value FROM generate_series(1, 1000000000000)", "format": "ndjson" });
    drop(owner.request(Method::POST, "/v1/query").json(&endless).send().await?);
    let left = entry(owner, "action = 'query' AND code = 'query_cancelled'").await?;
    assert_eq!(of(&left, &["principal", "decision"]), json!(["owner", "failed"]));
    Ok(())
}

#[tokio::test]
async fn a_companion_that_is_away_and_back_has_all_of_it() -> Result {
    let companion = Companion::start().await?;
    let gateway = companion.gateway()?.setting("catalog.stale_for", "60s").start().await?;
    let client = gateway.client();
    client.create("lab.t", &[("n", "bigint")]).await?.expect(201)?;
    client.push("lab.t", "{\"n\":1}\n").await?.expect(200)?;
    client.rows("SELECT n FROM lab.t").await?;
    entry(client, "action = 'push'").await?;
    let stopped = companion.kill().await?;
    for n in 0..5 {
        client.rows(&format!("SELECT n + {n} AS away FROM lab.t")).await?;
    }
    let _companion = stopped.start().await?;
    let away = "query_id IN (SELECT query_id FROM system.queries WHERE sql LIKE '% AS away FROM%')";
    entries(client, &format!("decision = 'allowed' AND dataset = 'lab.t' AND {away}"), 5).await?;
    let metrics = client.get("/metrics").await?.expect(200)?.text();
    assert!(metrics.contains("lakegate_audit_lost_total 0"), "{metrics}");
    Ok(())
}

#[tokio::test]
async fn what_was_done_last_is_told_before_a_gateway_stops() -> Result {
    let gateway = lab().await?;
    gateway.client().query("SELECT 'the last' AS one").await?.expect(200)?;
    let (options, status) = gateway.stop().await?;
    assert!(status.success(), "{status}");
    let gateway = options.start().await?;
    let last = gateway.client().rows("SELECT rows FROM system.queries WHERE sql LIKE 'SELECT ''the last''%'").await?;
    assert_eq!(last, [json!({ "rows": 1 })]);
    Ok(())
}

#[tokio::test]
async fn old_entries_are_forgotten() -> Result {
    let gateway = lab().await?;
    entry(gateway.client(), "action = 'push'").await?;
    let (options, _) = gateway.stop().await?;
    let gateway = options.setting("catalog.audit_for", "1ms").start().await?;
    let asked = Instant::now();
    while !gateway.client().rows("SELECT * FROM system.audit WHERE action = 'push'").await?.is_empty() {
        assert!(asked.elapsed() < SOON, "they stay");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// The page about the audit.
fn page() -> Result<String> {
    Ok(std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/audit.md"))?)
}

#[tokio::test]
async fn the_page_has_the_columns_that_there_are_and_its_commands_run() -> Result {
    let (page, gateway) = (page()?, Gateway::start().await?);
    let owner = gateway.client();
    // She sees what she did herself, so that what is asked here until it can be read does not come between.
    let ann = principal(owner, "ann").await?;
    owner.post("/v1/namespaces", &json!({ "name": "lab" })).await?.expect(201)?;
    let all = json!({ "principal": "ann", "role": "owner", "namespace": "lab" });
    owner.send(Method::PUT, "/v1/grants", &all).await?;
    ann.create("lab.readings", &[("n", "bigint")]).await?.expect(201)?;
    ann.rows("SELECT n FROM lab.readings").await?;
    ann.query("SELECT n FROM lab.nothing").await?.expect(404)?;
    entry(owner, "principal = 'ann' AND action = 'query' AND decision = 'allowed'").await?;
    entry(owner, "principal = 'ann' AND decision = 'denied'").await?;
    for view in ["audit", "queries", "jobs"] {
        let told = page.split(&format!("\n## system.{view}\n")).nth(1).and_then(|rest| rest.split("\n## ").next());
        let told: Vec<_> = told
            .ok_or("a part for each")?
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
            .collect();
        let found = owner.rows(&format!("DESCRIBE system.{view}")).await?;
        let found: Vec<_> = found.iter().filter_map(|column| column["column_name"].as_str()).collect();
        assert_eq!(told, found, "system.{view}");
    }
    let folder = tempfile::TempDir::with_prefix("lakegate-audit-")?;
    std::os::unix::fs::symlink(environment("LAKEGATE_BIN", "the built binary")?, folder.path().join("lakegate"))?;
    let mut said = String::new();
    for block in page.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next()) {
        let run = Command::new("bash")
            .args(["-eu", "-c", block])
            .env_clear()
            .env("PATH", format!("{}:{}", folder.path().display(), environment("PATH", "set it")?))
            .envs([("HOME", folder.path().as_os_str())])
            .envs([("LAKEGATE_URL", gateway.base()), ("LAKEGATE_TOKEN", ann.token().ok_or("a token")?)])
            .current_dir(folder.path())
            .output();
        let run = tokio::time::timeout(SOON, run).await??;
        assert!(run.status.success(), "{block}\n{}", String::from_utf8_lossy(&run.stderr));
        said += &String::from_utf8_lossy(&run.stdout);
    }
    for expected in ["create_dataset", "dataset_not_found", "lab.nothing", "reads", "SELECT n FROM lab.readings"] {
        assert!(said.contains(expected), "{expected} in {said}");
    }
    Ok(())
}
