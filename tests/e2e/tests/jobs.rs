//! Statements in the background: asked for, followed, fetched, cancelled, forgotten.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::ipc::reader::{FileReader, StreamReader};
use futures::StreamExt as _;
use lakegate_e2e::{Answer, Client, Gateway, Options, Result, process};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use reqwest::Method;
use serde_json::{Value, json};

/// Runs for minutes, and answers nothing until its end.
pub(crate) const ENDLESS: &str = "SELECT count(*) AS n FROM generate_series(1, 10000000) a, generate_series(1, 10000000) b \
                                  WHERE a.value + b.value < 0";

/// Answers rows for minutes.
const STREAMING: &str = "SELECT value, value * 2 AS twice FROM generate_series(1, 2000000000)";

/// How long anything here may take.
const SOON: Duration = Duration::from_secs(45);

pub(crate) async fn principal(owner: &Client, name: &str) -> Result<Client> {
    owner.post("/v1/principals", &json!({ "name": name })).await?.expect(201)?;
    let made = owner.post("/v1/tokens", &json!({ "principal": name, "name": "t" })).await?.expect(201)?.json()?;
    Ok(owner.with_token(made["token"].as_str().ok_or("a token")?))
}

/// Submits a statement; the job's path.
pub(crate) async fn submit(client: &Client, job: Value) -> Result<String> {
    let answer = client.post("/v1/jobs", &job).await?.expect(202)?;
    let (path, told) = (answer.header("location").to_owned(), answer.json()?);
    assert_eq!(path, format!("/v1/jobs/{}", told["id"].as_str().unwrap_or_default()));
    assert_eq!((&told["kind"], &told["params"]["sql"]), (&json!("query"), &job["sql"]));
    Ok(path)
}

fn query(sql: &str) -> Value {
    json!({ "kind": "query", "sql": sql })
}

/// The job, once it is in this state.
pub(crate) async fn until(client: &Client, path: &str, state: &str) -> Result<Value> {
    let begun = Instant::now();
    loop {
        let job = client.get(path).await?.expect(200)?.json()?;
        if job["state"] == state {
            return Ok(job);
        }
        let over = ["done", "failed", "cancelled"].iter().any(|over| job["state"] == *over);
        assert!(!over && begun.elapsed() < SOON, "it is not {state}: {job}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn ids(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().into_iter().flatten();
    items.map(|job| format!("/v1/jobs/{}", job["id"].as_str().unwrap_or_default())).collect()
}

/// The names of the results that are kept.
fn kept(gateway: &Gateway) -> BTreeSet<String> {
    let files = std::fs::read_dir(gateway.options().kept().join("lake/root/_results"));
    let names = files.into_iter().flatten().filter_map(|file| file.ok()?.file_name().into_string().ok());
    names.collect()
}

fn rows_of(format: &str, answer: &Answer) -> Result<RecordBatch> {
    let body = std::io::Cursor::new(answer.body.clone());
    let (schema, batches) = match format {
        "arrow" => {
            let reader = StreamReader::try_new(body, None)?;
            (reader.schema(), reader.collect::<Result<Vec<_>, _>>()?)
        }
        "arrow-file" => {
            let reader = FileReader::try_new(body, None)?;
            (reader.schema(), reader.collect::<Result<Vec<_>, _>>()?)
        }
        _ => {
            let reader = ParquetRecordBatchReaderBuilder::try_new(answer.body.clone())?.build()?;
            (arrow::array::RecordBatchReader::schema(&reader), reader.collect::<Result<Vec<_>, _>>()?)
        }
    };
    Ok(concat_batches(&schema, &batches)?)
}

/// Fetches the result in every format, and compares it with what the statement answers when it is asked directly.
async fn same_as_asked(client: &Client, path: &str, sql: &str) -> Result {
    for format in ["json", "ndjson", "csv", "arrow", "arrow-file", "parquet"] {
        let kept = client.get(&format!("{path}/result?format={format}")).await?.expect(200)?;
        let asked = client.post(&format!("/v1/query?format={format}"), &json!({ "sql": sql })).await?.expect(200)?;
        assert_eq!(kept.header("content-type"), asked.header("content-type"));
        assert_eq!(kept.header("lakegate-versions"), asked.header("lakegate-versions"));
        match format {
            "json" => {
                let (kept, asked) = (kept.json()?, asked.json()?);
                for part in ["schema", "rows", "row_count", "truncated", "versions"] {
                    assert_eq!(kept[part], asked[part], "{part}");
                }
            }
            "ndjson" | "csv" => assert_eq!(kept.text(), asked.text(), "{format}"),
            _ => assert_eq!(rows_of(format, &kept)?, rows_of(format, &asked)?, "{format}"),
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_result_is_what_the_statement_answers_in_every_format() -> Result {
    let gateway = Gateway::demo().await?;
    let client = gateway.client();
    let sql = "SELECT *, 123456789.125 AS exact, NULL AS nothing, DATE '2026-01-31' AS day, '' AS empty, 1 AS one, 2 AS one \
               FROM demo.earthquakes ORDER BY id";
    let path = submit(client, query(sql)).await?;
    let job = until(client, &path, "done").await?;
    assert_eq!((&job["result"]["rows"], &job["result"]["truncated"]), (&json!(1_707), &json!(false)));
    assert_eq!(job["result"]["versions"], json!({ "demo.earthquakes": 1 }));
    assert!(job["result"]["bytes"].as_u64() > Some(0) && job["expires_at"].is_string(), "{job}");
    same_as_asked(client, &path, sql).await?;
    let log = client.get(&format!("{path}/log")).await?.expect(200)?.json()?;
    assert!(log["items"][0]["text"].as_str().is_some_and(|text| text.contains("demo.earthquakes")), "{log}");
    let rest = client.get(&format!("{path}/log?after={}", log["items"][0]["n"])).await?.expect(200)?.json()?;
    assert_eq!(rest["items"].as_array().map(Vec::len), log["items"].as_array().map(|lines| lines.len() - 1));

    let some = json!({ "kind": "query", "sql": "SELECT iata FROM demo.airports WHERE state = $1", "params": ["RI"],
        "as_of": { "demo.airports": 1 }, "limit": 2, "timeout": "30s" });
    let path = submit(client, some).await?;
    let job = until(client, &path, "done").await?;
    assert_eq!((&job["result"]["rows"], &job["result"]["truncated"]), (&json!(2), &json!(true)));
    let answer = client.get(&format!("{path}/result")).await?.expect(200)?.json()?;
    assert_eq!((&answer["row_count"], &answer["truncated"]), (&json!(2), &json!(true)));
    let none = submit(client, query("SELECT iata FROM demo.airports WHERE 1 = 0")).await?;
    until(client, &none, "done").await?;
    same_as_asked(client, &none, "SELECT iata FROM demo.airports WHERE 1 = 0").await?;
    client.get(&format!("{path}/result?format=xml")).await?.expect_problem(406, "not_acceptable")?;
    Ok(())
}

#[tokio::test]
async fn a_policy_holds_in_the_background() -> Result {
    let gateway = Gateway::start().await?;
    let owner = gateway.client();
    owner.create("hr.people", &[("id", "bigint"), ("owner", "string"), ("salary", "double")]).await?.expect(201)?;
    let rows = "{\"id\":1,\"owner\":\"ada\",\"salary\":10}\n{\"id\":2,\"owner\":\"bob\",\"salary\":20}\n";
    owner.push("hr.people", rows).await?.expect(200)?;
    let policy =
        json!({ "row_filter": "owner = current_principal() OR is_member('staff')", "masks": { "salary": "hidden" } });
    owner.send(Method::PUT, "/v1/datasets/hr/people/policy", &policy).await?.expect(200)?;
    let ada = principal(owner, "ada").await?;
    let grant = json!({ "principal": "ada", "role": "reader", "dataset": "hr.people" });
    owner.send(Method::PUT, "/v1/grants", &grant).await?.expect(200)?;
    let sql = "SELECT * FROM hr.people ORDER BY id";
    let path = submit(&ada, query(sql)).await?;
    let job = until(&ada, &path, "done").await?;
    assert_eq!(job["result"]["rows"], 1);
    same_as_asked(&ada, &path, sql).await?;
    assert!(!ada.get(&format!("{path}/result")).await?.text().contains("salary"));
    // Groups count as they are when it runs.
    owner.post("/v1/groups", &json!({ "name": "staff" })).await?.expect(201)?;
    owner.call(Method::PUT, "/v1/groups/staff/members/ada").await?.expect(204)?;
    let path = submit(&ada, query(sql)).await?;
    assert_eq!(until(&ada, &path, "done").await?["result"]["rows"], 2);
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_run_is_refused_at_once() -> Result {
    let gateway = Gateway::demo().await?;
    let owner = gateway.client();
    for (job, status, code) in [
        (query("SELEC 1"), 400, "syntax_error"),
        (query("DROP TABLE demo.airports"), 400, "statement_not_allowed"),
        (query("SELECT * FROM demo.nothing"), 404, "dataset_not_found"),
        (query("SELECT nothing FROM demo.airports"), 400, "unknown_column"),
        (query("SELECT INTERVAL '1' DAY AS d"), 400, "unsupported_type"),
        (json!({ "kind": "query" }), 400, "invalid_request"),
        (json!({ "kind": "compact" }), 400, "invalid_request"),
        (json!({ "kind": "query", "sql": "SELECT $1", "params": 5 }), 400, "invalid_parameters"),
        (json!({ "kind": "query", "sql": "SELECT 1", "timeout": "2h" }), 400, "timeout_too_long"),
        (json!({ "kind": "query", "sql": "SELECT 1", "as_of": "then" }), 400, "invalid_as_of"),
        (json!({ "kind": "query", "sql": "SELECT 1", "priority": 101 }), 400, "invalid_json"),
        (json!({ "kind": "query", "sql": "SELECT 1", "labels": { "a:b": "c" } }), 400, "invalid_request"),
        (json!({ "kind": "query", "sql": "SELECT 1", "labels": { "a": "" } }), 400, "invalid_name"),
    ] {
        owner.post("/v1/jobs", &job).await?.expect_problem(status, code).map_err(|error| format!("{job}: {error}"))?;
    }
    owner.anonymous().post("/v1/jobs", &query("SELECT 1")).await?.expect_problem(403, "denied")?;
    let pushes = json!({ "name": "pushes", "actions": ["push"] });
    let made = owner.post("/v1/tokens", &pushes).await?.expect(201)?.json()?;
    let pushes = owner.with_token(made["token"].as_str().ok_or("a token")?);
    pushes.post("/v1/jobs", &query("SELECT 1")).await?.expect_problem(403, "denied")?;
    assert_eq!(owner.get("/v1/jobs?kind=query").await?.expect(200)?.json()?["items"], json!([]));
    // What only a value shows is told by the job.
    let path = submit(owner, query("SELECT 1 / (value - 5) AS x FROM generate_series(1, 10)")).await?;
    let job = until(owner, &path, "failed").await?;
    assert_eq!((&job["error"]["code"], &job["attempts"]), (&json!("evaluation_failed"), &json!(1)));
    let log = owner.get(&format!("{path}/log")).await?.expect(200)?.json()?;
    let failed = json!(format!("failed: {}", job["error"]["detail"].as_str().unwrap_or_default()));
    assert!(log["items"].as_array().is_some_and(|lines| lines.iter().any(|line| line["text"] == failed)), "{log}");
    owner.get(&format!("{path}/result")).await?.expect_problem(409, "job_not_done")?;
    Ok(())
}

#[tokio::test]
async fn jobs_are_listed_by_what_they_are_and_page_after_page() -> Result {
    let gateway = Gateway::start().await?;
    let client = gateway.client();
    let mut made = Vec::new();
    for n in 0..5 {
        let labels = json!({ "team": if n % 2 == 0 { "maps" } else { "tiles" }, "n": n.to_string() });
        let path = submit(client, json!({ "kind": "query", "sql": "SELECT 1 AS a", "labels": labels, "priority": n }));
        made.push(path.await?);
    }
    for path in &made {
        until(client, path, "done").await?;
    }
    let found = async |filter: &str| -> Result<Vec<String>> {
        Ok(ids(&client.get(&format!("/v1/jobs?{filter}")).await?.expect(200)?.json()?))
    };
    let newest_first: Vec<String> = made.iter().rev().cloned().collect();
    assert_eq!(found("kind=query").await?, newest_first);
    assert_eq!(found("kind=query&state=done").await?, newest_first);
    assert_eq!(found("label=team:maps").await?, [&made[4], &made[2], &made[0]].map(String::clone));
    assert_eq!(found("label=n:3").await?, [made[3].clone()]);
    for none in ["state=failed", "label=team:nobody", "kind=unknown", "kind=query&state=waiting"] {
        assert_eq!(found(none).await?, [] as [String; 0], "{none}");
    }
    let (mut seen, mut next) = (Vec::new(), String::new());
    loop {
        let page = client.get(&format!("/v1/jobs?kind=query&limit=2{next}")).await?.expect(200)?.json()?;
        seen.extend(ids(&page));
        let Some(cursor) = page["next"].as_str() else { break };
        next = format!("&cursor={cursor}");
    }
    assert_eq!(seen, newest_first);
    for bad in ["state=over", "label=team", "label=:x", "limit=0", "cursor=x", "kind=Query", "kind=", "colour=red"] {
        client.get(&format!("/v1/jobs?{bad}")).await?.expect(400)?;
    }
    client.get("/v1/jobs?dataset=lab.nothing").await?.expect_problem(404, "dataset_not_found")?;
    client.get("/v1/jobs/absent").await?.expect_problem(404, "job_not_found")?;
    Ok(())
}

#[tokio::test]
async fn the_important_goes_first_and_nobody_takes_all_places() -> Result {
    let options = Options::serve()?.setting("jobs.concurrent", "2").setting("jobs.per_tenant", "1");
    let gateway = options.start().await?;
    let owner = gateway.client();
    let (ann, bob) = (principal(owner, "ann").await?, principal(owner, "bob").await?);
    let first = submit(&ann, query(ENDLESS)).await?;
    until(&ann, &first, "running").await?;
    let mut later = Vec::new();
    for priority in [-100, 0, 100] {
        later.push(submit(&ann, json!({ "kind": "query", "sql": "SELECT 1 AS a", "priority": priority })).await?);
    }
    // There is a place, and it is not ann's.
    let of_bob = submit(&bob, json!({ "kind": "query", "sql": "SELECT 1 AS a", "priority": -100 })).await?;
    until(&bob, &of_bob, "done").await?;
    for path in &later {
        assert_eq!(ann.get(path).await?.expect(200)?.json()?["state"], "waiting");
    }
    ann.get(&format!("{}/result", later[0])).await?.expect_problem(409, "job_not_done")?;
    ann.delete(&first).await?.expect(202)?;
    let mut begun = Vec::new();
    for path in &later {
        begun.push(until(&ann, path, "done").await?["started_at"].as_str().unwrap_or_default().to_owned());
    }
    assert!(begun[2] < begun[1] && begun[1] < begun[0], "{begun:?}");
    Ok(())
}

#[tokio::test]
async fn only_so_many_of_one_principal_wait() -> Result {
    let gateway = Options::serve()?.setting("jobs.max_waiting", "2").setting("jobs.concurrent", "1").start().await?;
    let owner = gateway.client();
    let (ann, bob) = (principal(owner, "ann").await?, principal(owner, "bob").await?);
    let first = submit(&ann, query(ENDLESS)).await?;
    until(&ann, &first, "running").await?;
    let small = json!({ "kind": "query", "sql": "SELECT 1 AS a" });
    let waits = [submit(&ann, small.clone()).await?, submit(&ann, small.clone()).await?];
    let refused = ann.post("/v1/jobs", &small).await?.expect_problem(429, "too_many_jobs")?;
    assert!(refused.headers.contains_key("retry-after") && refused.text().contains('2'), "{}", refused.text());
    submit(&bob, small.clone()).await?;
    ann.delete(&waits[0]).await?.expect(202)?;
    let again = submit(&ann, small).await?;
    ann.delete(&first).await?.expect(202)?;
    until(&ann, &again, "done").await?;
    Ok(())
}

/// Reads server-sent events to the end of the answer, or until `enough`.
async fn follow(client: &Client, path: &str, enough: impl Fn(&str, &Value) -> bool) -> Result<Vec<(String, Value)>> {
    let response = client.request(Method::GET, path).send().await?;
    assert_eq!(response.status().as_u16(), 200);
    assert!(response.headers()["content-type"].to_str()?.starts_with("text/event-stream"));
    let (mut body, mut unread, mut all) = (response.bytes_stream(), String::new(), Vec::new());
    while let Some(piece) = tokio::time::timeout(SOON, body.next()).await? {
        unread.push_str(&String::from_utf8_lossy(&piece?));
        while let Some((message, rest)) = unread.split_once("\n\n") {
            let field = |name: &str| message.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
            let read = field("event:").zip(field("data:")).map(|(kind, data)| (kind.to_owned(), data.to_owned()));
            unread = rest.to_owned();
            let Some((kind, data)) = read else { continue };
            let data: Value = serde_json::from_str(&data)?;
            let last = enough(&kind, &data);
            all.push((kind, data));
            if last {
                return Ok(all);
            }
        }
    }
    Ok(all)
}

#[tokio::test]
async fn whoever_listens_is_told_how_far_it_is_and_how_it_ends() -> Result {
    let gateway = Gateway::start().await?;
    let client = gateway.client();
    let path = submit(client, query(STREAMING)).await?;
    let events = format!("{path}/events");
    let enough = |kind: &str, data: &Value| kind == "progress" && data["progress"]["done"].as_u64() > Some(100_000);
    let told = follow(client, &events, enough).await?;
    let last = &told.last().ok_or("nothing was told")?.1;
    assert_eq!((&last["state"], &last["progress"]["unit"]), (&json!("running"), &json!("rows")));
    client.delete(&path).await?.expect(202)?;
    let told = follow(client, &events, |_, _| false).await?;
    let (kind, end) = told.last().ok_or("nothing was told")?;
    assert_eq!((kind.as_str(), &end["state"]), ("end", &json!("cancelled")));
    assert_eq!(told.iter().filter(|(kind, _)| kind == "end").count(), 1);

    let short = submit(client, query("SELECT 1 AS a")).await?;
    let told = follow(client, &format!("{short}/events"), |_, _| false).await?;
    let kinds: BTreeSet<&str> = told.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, ["end", "log", "progress"].into());
    let lines: Vec<u64> = told.iter().filter_map(|(_, data)| data["n"].as_u64()).collect();
    let last = lines.last().ok_or("no line")?;
    let rest = client.request(Method::GET, &format!("{short}/events")).header("last-event-id", last.to_string());
    let rest = Answer::of(rest).await?.expect(200)?.text();
    assert!(!rest.contains("event: log") && rest.contains("event: end"), "{rest}");
    // A stop does not wait for those who listen, and does not lose what runs.
    let path = submit(client, query(ENDLESS)).await?;
    until(client, &path, "running").await?;
    let listens = client.request(Method::GET, &format!("{path}/events")).send().await?;
    let (options, status) = gateway.stop().await?;
    assert!(status.success(), "it was held up");
    drop(listens);
    let gateway = options.start().await?;
    let job = until(gateway.client(), &path, "running").await?;
    assert_eq!(job["attempts"], 1, "one that was given back was not begun");
    gateway.client().delete(&path).await?.expect(202)?;
    until(gateway.client(), &path, "cancelled").await?;
    Ok(())
}

#[tokio::test]
async fn a_cancelled_job_gives_the_processor_back_and_leaves_nothing() -> Result {
    let gateway = Options::serve()?.setting("jobs.per_tenant", "1").start().await?;
    let (client, pid) = (gateway.client(), gateway.pid()?);
    let path = submit(client, query(STREAMING)).await?;
    let waits = submit(client, query("SELECT 1 AS a")).await?;
    until(client, &path, "running").await?;
    let told = client.delete(&waits).await?.expect(202)?.json()?;
    assert_eq!((&told["state"], &told["attempts"]), (&json!("cancelled"), &json!(0)));
    let told = client.delete(&path).await?.expect(202)?.json()?;
    assert!(told["cancelled"] == true || told["state"] == "cancelled", "{told}");
    let cancelled = Instant::now();
    until(client, &path, "cancelled").await?;
    assert!(cancelled.elapsed() < Duration::from_millis(2_500), "{:?}", cancelled.elapsed());
    let before = process::processor_time(pid)?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let used = process::processor_time(pid)?.saturating_sub(before);
    assert!(used < Duration::from_millis(400), "still busy: {used:?} of a second");
    assert_eq!(kept(&gateway), BTreeSet::new());
    let again = client.delete(&path).await?.expect(202)?.json()?;
    assert_eq!(again["state"], "cancelled");
    let done = submit(client, query("SELECT 1 AS a")).await?;
    until(client, &done, "done").await?;
    assert_eq!(client.delete(&done).await?.expect(202)?.json()?["state"], "done");
    client.get(&format!("{done}/result")).await?.expect(200)?;
    Ok(())
}
