//! What may not be seen and what is not there take the same path: the catalog is asked the same, and the answers are equal.

use lakegate_e2e::recorder::{Call, Recorder};
use lakegate_e2e::{Answer, Client, Companion, FlightClient, Gateway, Result};
use reqwest::Method;
use serde_json::{Value, json};

/// Names of the same length, so that only what they stand for differs.
const HIDDEN: &str = "vault.hidden";
const ABSENT: &str = "vault.absent";

/// Requests about a dataset: method, path and body, with `NS` and `NAME` for the parts of its name.
const REQUESTS: &[(&str, &str, Option<&str>)] = &[
    ("GET", "/v1/datasets/NS/NAME", None),
    ("PATCH", "/v1/datasets/NS/NAME", Some(r#"{"description":"mine"}"#)),
    ("PATCH", "/v1/datasets/NS/NAME", Some(r#"{"add_columns":[{"name":"m","type":"int"}]}"#)),
    ("DELETE", "/v1/datasets/NS/NAME", None),
    ("POST", "/v1/datasets/NS/NAME/ingest", Some(r#"[{"n":1}]"#)),
    ("POST", "/v1/datasets/NS/NAME/ingest", Some(r#"[{"other":"x"}]"#)),
    ("POST", "/v1/datasets/NS/NAME/ingest?create=true", Some(r#"[{"n":1}]"#)),
    ("GET", "/v1/datasets/NS/NAME/rows", None),
    ("GET", "/v1/datasets/NS/NAME/rows?columns=n", None),
    ("GET", "/v1/datasets/NS/NAME/rows?columns=other", None),
    ("GET", "/v1/datasets/NS/NAME/versions", None),
    ("POST", "/v1/datasets/NS/NAME/compact", None),
    ("POST", "/v1/datasets/NS/NAME/vacuum", None),
    ("GET", "/v1/datasets/NS/NAME/policy", None),
    ("PUT", "/v1/datasets/NS/NAME/policy", Some(r#"{"row_filter":"n = 1"}"#)),
    ("DELETE", "/v1/datasets/NS/NAME/policy", None),
    ("GET", "/v1/grants?dataset=NS.NAME", None),
    ("PUT", "/v1/grants", Some(r#"{"principal":"ada","role":"owner","dataset":"NS.NAME"}"#)),
    ("DELETE", "/v1/grants?principal=ada&dataset=NS.NAME", None),
    ("POST", "/v1/query", Some(r#"{"sql":"SELECT * FROM NS.NAME"}"#)),
    ("POST", "/v1/query", Some(r#"{"sql":"SELECT other FROM NS.NAME"}"#)),
    ("POST", "/v1/query", Some(r#"{"sql":"EXPLAIN SELECT n FROM NS.NAME"}"#)),
    ("POST", "/v1/query", Some(r#"{"sql":"SELECT * FROM NS.NAME$versions"}"#)),
    ("POST", "/v1/query", Some(r#"{"sql":"SELECT * FROM NS.NAME@v1"}"#)),
    ("POST", "/v1/query", Some(r#"{"sql":"SELECT 1 WHERE EXISTS (SELECT 1 FROM NS.NAME)"}"#)),
    ("POST", "/v1/query", Some(r#"{"sql":"SELECT 1","as_of":{"NS.NAME":1}}"#)),
    (
        "POST",
        "/v1/query",
        Some(r#"{"sql":"SELECT count(*) FROM information_schema.tables WHERE table_name = 'NAME'"}"#),
    ),
    ("POST", "/v1/query", Some(r#"{"sql":"SHOW COLUMNS FROM NS.NAME"}"#)),
    ("GET", "/v1/query?sql=SELECT+n+FROM+NS.NAME", None),
    ("GET", "/v1/datasets?namespace=NS", None),
    ("GET", "/v1/jobs?dataset=NS.NAME", None),
    ("POST", "/v1/jobs", Some(r#"{"kind":"query","sql":"SELECT * FROM NS.NAME"}"#)),
    ("POST", "/v1/jobs", Some(r#"{"kind":"query","sql":"SELECT 1","as_of":{"NS.NAME":1}}"#)),
];

struct House {
    _companion: Companion,
    recorder: Recorder,
    gateway: Gateway,
}

/// A gateway whose catalog remembers what it is asked, a dataset that is its owner's alone, and somebody called ada.
async fn house() -> Result<House> {
    let companion = Companion::start().await?;
    let recorder = Recorder::start(companion.url()).await?;
    let gateway = companion.gateway()?.setting("catalog.url", recorder.url()).start().await?;
    let owner = gateway.client();
    owner.create(HIDDEN, &[("n", "bigint")]).await?.expect(201)?;
    owner.push(HIDDEN, "{\"n\":1}\n").await?.expect(200)?;
    owner.post("/v1/principals", &json!({ "name": "ada" })).await?.expect(201)?;
    Ok(House { _companion: companion, recorder, gateway })
}

/// A stranger whom the gateway has not met, or nobody.
async fn stranger(owner: &Client, known: bool) -> Result<Client> {
    if !known {
        return Ok(owner.anonymous());
    }
    let made = owner.post("/v1/tokens", &json!({ "principal": "ada", "name": "test" })).await?.expect(201)?.json()?;
    Ok(owner.with_token(made["token"].as_str().ok_or("a token")?))
}

/// What a text says when the name is left out.
fn nameless(text: &str, dataset: &str) -> String {
    let (ns, name) = dataset.split_once('.').unwrap_or_default();
    text.replace(dataset, "?").replace(&format!("{ns}/{name}"), "?").replace(name, "?")
}

/// What a call says, but for whom it is made and when.
fn said(call: &Call) -> String {
    match serde_json::from_str::<Value>(&call.body) {
        Ok(body) if call.name == "admit" => body["name"].to_string(),
        _ => call.body.clone(),
    }
}

/// What the catalog was asked because of a request: not what a gateway asks all the time, nor who the token is.
fn asked(calls: Vec<Call>, dataset: &str) -> Vec<Call> {
    let apart = [
        "wait_for_event",
        "last_event",
        "events",
        "tell_versions",
        "ping",
        "authenticate",
        // Jobs, and what is audited, a moment later.
        "wait_for_job",
        "claim_job",
        "job_counts",
        "expired_jobs",
        "record",
        "record_queries",
    ];
    let own = calls.into_iter().filter(|call| !apart.contains(&call.name.as_str()));
    let mut own: Vec<_> = own.map(|call| Call { body: nameless(&said(&call), dataset), ..call }).collect();
    own.sort();
    own
}

/// Status, header names and body of an answer, without what differs from one request to the next.
fn told(answer: &Answer, dataset: &str) -> Result<String> {
    let mut document: Value = answer.json().unwrap_or(Value::Null);
    for own in ["request_id", "query_id", "elapsed_ms"] {
        if let Some(object) = document.as_object_mut() {
            object.remove(own);
        }
    }
    let headers: std::collections::BTreeSet<_> =
        answer.headers.keys().map(reqwest::header::HeaderName::as_str).collect();
    Ok(nameless(&format!("{} {headers:?} {document}", answer.status), dataset))
}

#[tokio::test]
async fn who_calls_and_what_it_may_do_are_asked_at_once() -> Result {
    let house = house().await?;
    let new = house.gateway.client().post("/v1/tokens", &json!({ "name": "new" })).await?.expect(201)?.json()?;
    let owner = house.gateway.client().with_token(new["token"].as_str().ok_or("a token")?);
    house.recorder.take();
    for path in ["/v1/datasets/vault/hidden", "/v1/datasets/vault/hidden/versions"] {
        owner.get(path).await?.expect(200)?;
    }
    let own = ["admit", "authenticate", "access"];
    let asked = house.recorder.take().into_iter().filter(|call| own.contains(&call.name.as_str()));
    assert_eq!(asked.map(|call| call.name).collect::<Vec<_>>(), ["admit"]);
    Ok(())
}

#[tokio::test]
async fn the_datasets_of_a_statement_are_asked_side_by_side_and_once_each() -> Result {
    let house = house().await?;
    let owner = house.gateway.client();
    for name in ["vault.second", "vault.third"] {
        owner.create(name, &[("n", "bigint")]).await?.expect(201)?;
        owner.push(name, "{\"n\":1}\n").await?.expect(200)?;
    }
    let new = owner.post("/v1/tokens", &json!({ "principal": "ada", "name": "new" })).await?.expect(201)?.json()?;
    let grant = json!({ "principal": "ada", "role": "reader", "namespace": "vault" });
    owner.send(Method::PUT, "/v1/grants", &grant).await?.expect(200)?;
    let ada = owner.with_token(new["token"].as_str().ok_or("a token")?);
    house.recorder.take();
    house.recorder.gather("access", 3);
    let sql = "SELECT count(*) AS n FROM vault.hidden a JOIN vault.second b ON a.n = b.n JOIN vault.third c ON a.n = c.n \
               JOIN vault.hidden@v1 d ON a.n = d.n";
    assert_eq!(ada.rows(sql).await?, [json!({ "n": 1 })]);
    assert_eq!(house.recorder.take().iter().filter(|call| call.name == "access").count(), 3);
    assert_eq!(house.recorder.alone(), 0, "questions to the catalog waited for the answers to others");
    Ok(())
}

async fn over_rest(
    house: &House,
    known: bool,
    request: (&str, &str, Option<&str>),
    dataset: &str,
) -> Result<(String, Vec<Call>)> {
    let client = stranger(house.gateway.client(), known).await?;
    let (ns, name) = dataset.split_once('.').ok_or("a name")?;
    let filled = |text: &str| text.replace("NS", ns).replace("NAME", name);
    let (method, path, body) = request;
    house.recorder.take();
    let asking = client.request(method.parse::<Method>()?, &filled(path));
    let asking = match body {
        Some(body) => asking.header("content-type", "application/json").body(filled(body)),
        None => asking,
    };
    let answer = Answer::of(asking).await?;
    Ok((told(&answer, dataset)?, asked(house.recorder.take(), dataset)))
}

async fn over_flight(house: &House, known: bool, sql: &str, dataset: &str) -> Result<(String, Vec<Call>)> {
    let client = stranger(house.gateway.client(), known).await?;
    let flight = FlightClient::connect(house.gateway.flight(), client.token()).await?;
    house.recorder.take();
    let status = flight.ask(&sql.replace("NS.NAME", dataset)).await.err().ok_or("it must be refused")?;
    let told = format!("{:?} {} {}", status.code(), lakegate_e2e::flight::code(&status), status.message());
    Ok((nameless(&told, dataset), asked(house.recorder.take(), dataset)))
}

/// Compares the two; what the gateway forgets in between because of an event may make it ask once more, so that a difference
/// counts when it is there each time.
async fn compare<F>(what: &str, ask: impl Fn(&'static str) -> F) -> Result
where
    F: Future<Output = Result<(String, Vec<Call>)>>,
{
    for last in [false, false, true] {
        let (hidden, absent) = (ask(HIDDEN).await?, ask(ABSENT).await?);
        assert_eq!(hidden.0, absent.0, "{what}: the answers differ");
        if hidden.1 == absent.1 {
            return Ok(());
        }
        assert!(
            !last,
            "{what}: the catalog is asked\n{:#?}\nfor what is hidden, and\n{:#?}\nfor what is absent",
            hidden.1, absent.1
        );
    }
    Ok(())
}

#[tokio::test]
async fn what_is_hidden_is_asked_for_and_answered_as_what_is_absent() -> Result {
    let house = house().await?;
    let mut recorded = 0;
    for known in [false, true] {
        for request in REQUESTS {
            let what = format!("{} {} {:?}, known: {known}", request.0, request.1, request.2);
            compare(&what, |dataset| over_rest(&house, known, *request, dataset)).await?;
            recorded += over_rest(&house, known, *request, HIDDEN).await?.1.len();
        }
        for sql in ["SELECT * FROM NS.NAME", "SELECT * FROM NS.NAME$versions", "EXPLAIN SELECT n FROM NS.NAME"] {
            compare(sql, |dataset| over_flight(&house, known, sql, dataset)).await?;
        }
    }
    assert!(recorded > REQUESTS.len(), "the recorder sees {recorded} calls: the comparison would be of nothing");
    // One who may see it asks more, and is answered otherwise: the comparison can tell.
    let owner = house.gateway.client();
    house.recorder.take();
    let seen = owner.get("/v1/datasets/vault/hidden").await?.expect(200)?;
    let gone = owner.get("/v1/datasets/vault/absent").await?.expect(404)?;
    assert_ne!(told(&seen, HIDDEN)?, told(&gone, ABSENT)?);
    Ok(())
}
