//! Who may do what, as a table: 401 for a bad token, 404 for what may not be seen, 403 for what may be
//! seen and not be done.

use lakegate_e2e::client::dataset_path;
use lakegate_e2e::{Answer, Client, Gateway, Result};
use reqwest::Method;
use serde_json::{Value, json};

/// A namespace with a public and a private dataset, and callers with each role on the private one.
struct House {
    gateway: Gateway,
    callers: Vec<(&'static str, Client)>,
}

async fn principal(owner: &Client, name: &str) -> Result<Client> {
    owner.post("/v1/principals", &json!({ "name": name })).await?.expect(201)?;
    let token = owner.post("/v1/tokens", &json!({ "principal": name, "name": "test" })).await?.expect(201)?.json()?;
    Ok(owner.with_token(token["token"].as_str().ok_or_else(|| format!("no token in {token}"))?))
}

async fn house() -> Result<House> {
    let gateway = Gateway::start().await?;
    let owner = gateway.client().clone();
    for (name, visibility) in [("acme.open", "public"), ("acme.closed", "private")] {
        let body = json!({ "name": name, "visibility": visibility, "schema": [{ "name": "id", "type": "bigint" }] });
        owner.post("/v1/datasets", &body).await?.expect(201)?;
        owner.push(name, "{\"id\":1}\n").await?.expect(200)?;
    }
    let mut callers = vec![("anonymous", owner.anonymous()), ("owner", owner.clone())];
    for name in ["stranger", "reader", "writer", "keeper"] {
        callers.push((name, principal(&owner, name).await?));
    }
    for (name, role) in [("reader", "reader"), ("writer", "writer"), ("keeper", "owner")] {
        let grant = json!({ "principal": name, "role": role, "dataset": "acme.closed" });
        let answer = owner.send(Method::PUT, "/v1/grants", &grant).await?;
        assert!((200..300).contains(&answer.status), "{name}: {}", answer.text());
    }
    Ok(House { gateway, callers })
}

impl House {
    fn caller(&self, name: &str) -> Result<&Client> {
        let found = self.callers.iter().find(|(caller, _)| *caller == name);
        found.map(|(_, client)| client).ok_or_else(|| format!("no caller {name}").into())
    }
}

async fn attempt(client: &Client, what: &str, dataset: &str) -> Result<Answer> {
    match what {
        "show" => client.get(&dataset_path(dataset)).await,
        "query" => client.query(&format!("SELECT count(*) AS n FROM {dataset}")).await,
        "push" => client.push(dataset, "{\"id\":2}\n").await,
        "delete" => client.delete(&dataset_path(dataset)).await,
        other => Err(format!("no such attempt: {other}").into()),
    }
}

/// Caller, attempt, dataset, status. The rows that delete come last.
const MATRIX: &[(&str, &str, &str, u16)] = &[
    ("anonymous", "show", "acme.open", 200),
    ("anonymous", "query", "acme.open", 200),
    ("anonymous", "push", "acme.open", 403),
    ("anonymous", "delete", "acme.open", 403),
    ("anonymous", "show", "acme.closed", 404),
    ("anonymous", "query", "acme.closed", 404),
    ("anonymous", "push", "acme.closed", 404),
    ("anonymous", "delete", "acme.closed", 404),
    ("stranger", "query", "acme.open", 200),
    ("stranger", "push", "acme.open", 403),
    ("stranger", "delete", "acme.open", 403),
    ("stranger", "show", "acme.closed", 404),
    ("stranger", "query", "acme.closed", 404),
    ("stranger", "push", "acme.closed", 404),
    ("stranger", "delete", "acme.closed", 404),
    ("reader", "show", "acme.closed", 200),
    ("reader", "query", "acme.closed", 200),
    ("reader", "push", "acme.closed", 403),
    ("reader", "delete", "acme.closed", 403),
    ("writer", "query", "acme.closed", 200),
    ("writer", "push", "acme.closed", 200),
    ("writer", "delete", "acme.closed", 403),
    ("keeper", "push", "acme.closed", 200),
    ("owner", "push", "acme.closed", 200),
    ("keeper", "delete", "acme.closed", 204),
    ("keeper", "query", "acme.closed", 404),
    ("owner", "delete", "acme.open", 204),
];

#[tokio::test]
async fn roles_decide_what_a_caller_may_do() -> Result {
    let house = house().await?;
    let mut wrong = Vec::new();
    for (caller, what, dataset, status) in MATRIX {
        let answer = attempt(house.caller(caller)?, what, dataset).await?;
        if answer.status != *status {
            wrong.push(format!(
                "{caller} {what} {dataset}: expected {status}, got {} {}",
                answer.status,
                answer.text()
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

#[tokio::test]
async fn what_may_not_be_seen_looks_as_if_it_did_not_exist() -> Result {
    let house = house().await?;
    let stranger = house.caller("stranger")?;
    for what in ["show", "query", "push", "delete"] {
        let hidden = attempt(stranger, what, "acme.closed").await?;
        let absent = attempt(stranger, what, "acme.absent").await?;
        let text = |answer: &Answer| -> Result<String> {
            let mut problem = answer.json()?;
            problem["request_id"] = Value::Null;
            Ok(problem.to_string().replace("closed", "absent"))
        };
        assert_eq!(text(&hidden)?, text(&absent)?, "{what}");
    }
    let listed = stranger.get("/v1/datasets").await?.expect(200)?.text();
    assert!(listed.contains("acme.open") && !listed.contains("acme.closed"), "{listed}");
    let tables = stranger.rows("SELECT table_name FROM information_schema.tables WHERE table_schema = 'acme'").await?;
    assert_eq!(tables, [json!({ "table_name": "open" })]);
    Ok(())
}

#[tokio::test]
async fn a_bad_token_is_refused_everywhere() -> Result {
    let house = house().await?;
    let good = house.gateway.token().to_owned();
    let flipped = if good.ends_with('0') { "1" } else { "0" };
    let one_off = format!("{}{flipped}", &good[..good.len() - 1]);
    for token in ["nonsense", "lg_", &one_off, &format!("{good}x"), ""] {
        let client = house.gateway.client().with_token(token);
        for path in ["/v1/datasets", "/v1/datasets/acme/open", "/v1/whoami"] {
            let answer = client.get(path).await?;
            assert_eq!(answer.status, 401, "{token:?} {path}: {}", answer.text());
            assert!(answer.header("www-authenticate").starts_with("Bearer"), "{token:?} {path}");
        }
        client.query("SELECT * FROM acme.open").await?.expect(401)?;
    }
    Ok(())
}

#[tokio::test]
async fn a_revoked_token_and_a_revoked_grant_end_at_once() -> Result {
    let house = house().await?;
    let owner = house.gateway.client();
    let reader = house.caller("reader")?;
    reader.query("SELECT * FROM acme.closed").await?.expect(200)?;
    owner.delete("/v1/grants?principal=reader&dataset=acme.closed").await?.expect(204)?;
    reader.query("SELECT * FROM acme.closed").await?.expect(404)?;

    let token =
        owner.post("/v1/tokens", &json!({ "principal": "reader", "name": "short" })).await?.expect(201)?.json()?;
    let client = owner.with_token(token["token"].as_str().ok_or("no token")?);
    client.get("/v1/whoami").await?.expect(200)?;
    owner.delete(&format!("/v1/tokens/{}", token["id"].as_str().ok_or("no id")?)).await?.expect(204)?;
    client.get("/v1/whoami").await?.expect(401)?;
    Ok(())
}

#[tokio::test]
async fn a_role_on_a_namespace_holds_for_its_datasets() -> Result {
    let house = house().await?;
    let owner = house.gateway.client();
    let stranger = house.caller("stranger")?;
    let grant = json!({ "principal": "stranger", "role": "writer", "namespace": "acme" });
    owner.send(Method::PUT, "/v1/grants", &grant).await?;
    stranger.push("acme.closed", "{\"id\":2}\n").await?.expect(200)?;
    stranger.delete(&dataset_path("acme.closed")).await?.expect(403)?;
    Ok(())
}

#[tokio::test]
async fn only_owners_give_access() -> Result {
    let house = house().await?;
    for name in ["stranger", "reader", "writer"] {
        let client = house.caller(name)?;
        let grant = json!({ "principal": name, "role": "owner", "dataset": "acme.closed" });
        let answer = client.send(Method::PUT, "/v1/grants", &grant).await?;
        let expected = if name == "stranger" { 404 } else { 403 };
        assert_eq!(answer.status, expected, "{name}: {}", answer.text());
        client.post("/v1/principals", &json!({ "name": "another" })).await?.expect(403)?;
        client.post("/v1/tokens", &json!({ "principal": "keeper", "name": "stolen" })).await?.expect(403)?;
    }
    house.caller("anonymous")?.get("/v1/principals").await?.expect(403)?;
    Ok(())
}

/// How long a token answered by the gateway has left, in seconds; `None` for ever.
fn seconds_left(token: &Value) -> Result<Option<i64>> {
    let Some(end) = token["expires_at"].as_str() else {
        return Ok(None);
    };
    let end = chrono::DateTime::parse_from_rfc3339(end)?;
    Ok(Some((end.to_utc() - chrono::Utc::now()).num_seconds()))
}

#[tokio::test]
async fn a_token_that_ends_makes_none_that_outlives_it() -> Result {
    let gateway = Gateway::start().await?;
    let owner = gateway.client().clone();
    let made = owner.post("/v1/tokens", &json!({ "name": "hour", "expires_in": 3_600 })).await?.expect(201)?.json()?;
    let hour = owner.with_token(made["token"].as_str().ok_or("no token")?);
    owner.post("/v1/principals", &json!({ "name": "ann" })).await?.expect(201)?;
    for principal in ["owner", "ann"] {
        let longer = json!({ "principal": principal, "name": "day", "expires_in": 86_400 });
        let refused = hour.post("/v1/tokens", &longer).await?.expect(403)?;
        assert!(refused.text().contains("outlive"), "{}", refused.text());
        for (asked, least) in [(json!({}), 3_000), (json!({ "expires_in": 60 }), 0)] {
            let mut body = json!({ "principal": principal, "name": "made" });
            body.as_object_mut().ok_or("an object")?.extend(asked.as_object().ok_or("an object")?.clone());
            let made = hour.post("/v1/tokens", &body).await?.expect(201)?.json()?;
            let left = seconds_left(&made)?.ok_or_else(|| format!("it never ends: {made}"))?;
            assert!((least..=3_600).contains(&left), "{left} s: {made}");
        }
    }
    let made = owner.post("/v1/tokens", &json!({ "name": "for ever" })).await?.expect(201)?.json()?;
    assert_eq!(seconds_left(&made)?, None);
    Ok(())
}
