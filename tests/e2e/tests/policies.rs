//! Row filters and masks: what readers get through every door.

use arrow_flight::sql::{CommandGetPrimaryKeys, CommandGetTables};
use lakegate_e2e::{Answer, Client, FlightClient, Gateway, Result};
use reqwest::Method;
use serde_json::{Value, json};

const SCHEMA: &str = r#"[{"name":"id","type":"bigint","nullable":false},{"name":"owner","type":"string"},
    {"name":"email","type":"string"},{"name":"salary","type":"double"}]"#;

const ROWS: &str = r#"[{"id":1,"owner":"ada","email":"a@x","salary":10},{"id":2,"owner":"bob","email":"b@x","salary":20},
    {"id":3,"owner":"ada","email":"c@x","salary":30}]"#;

/// A dataset under a policy, and two who read it.
async fn house() -> Result<(Gateway, Client, Client)> {
    let gateway = Gateway::start().await?;
    let owner = gateway.client();
    let schema: Value = serde_json::from_str(SCHEMA)?;
    let create = json!({ "name": "hr.people", "schema": schema, "primary_key": ["id"] });
    owner.post("/v1/datasets", &create).await?.expect(201)?;
    Answer::of(owner.push_request("hr.people", "application/json", ROWS)).await?.expect(200)?;
    let (ada, bob) = (principal(owner, "ada").await?, principal(owner, "bob").await?);
    owner.post("/v1/groups", &json!({ "name": "staff" })).await?.expect(201)?;
    let policy = json!({
        "row_filter": "owner = current_principal() OR is_member('staff')",
        "masks": { "email": { "expression": "concat('…', substr(email, 2))" }, "salary": "hidden" },
    });
    let path = "/v1/datasets/hr/people/policy";
    let set = owner.send(Method::PUT, path, &policy).await?.expect(200)?.json()?;
    assert_eq!((&set, &owner.get(path).await?.json()?), (&policy, &policy));
    Ok((gateway, ada, bob))
}

async fn principal(owner: &Client, name: &str) -> Result<Client> {
    owner.post("/v1/principals", &json!({ "name": name })).await?.expect(201)?;
    let made = owner.post("/v1/tokens", &json!({ "principal": name, "name": "test" })).await?.expect(201)?.json()?;
    let grant = json!({ "principal": name, "role": "reader", "dataset": "hr.people" });
    owner.send(Method::PUT, "/v1/grants", &grant).await?.expect(200)?;
    Ok(owner.with_token(made["token"].as_str().ok_or("a token")?))
}

#[tokio::test]
async fn each_reads_what_the_policy_leaves() -> Result {
    let (gateway, ada, bob) = house().await?;
    let all = "SELECT * FROM hr.people ORDER BY id";
    let row = |id: u64, owner: &str, email: &str| json!({ "id": id, "owner": owner, "email": email });
    assert_eq!(ada.rows(all).await?, [row(1, "ada", "…@x"), row(3, "ada", "…@x")]);
    assert_eq!(bob.rows(all).await?, [row(2, "bob", "…@x")]);
    assert_eq!(gateway.client().rows(all).await?.len(), 3);
    assert_eq!(gateway.client().rows("SELECT salary FROM hr.people WHERE id = 3").await?, [json!({ "salary": 30.0 })]);
    let flight = FlightClient::connect(gateway.flight(), bob.token()).await?;
    assert_eq!(flight.ask(all).await?.count(), 1);

    // The rights of a group come with it.
    gateway.client().call(Method::PUT, "/v1/groups/staff/members/bob").await?.expect(204)?;
    assert_eq!(bob.rows("SELECT count(*) AS n FROM hr.people").await?, [json!({ "n": 3 })]);
    gateway.client().delete("/v1/datasets/hr/people/policy").await?.expect(204)?;
    assert_eq!(ada.rows("SELECT sum(salary) AS s FROM hr.people").await?, [json!({ "s": 60.0 })]);
    Ok(())
}

#[tokio::test]
async fn a_hidden_column_is_nowhere() -> Result {
    let (gateway, ada, _) = house().await?;
    let told = ada.get("/v1/datasets/hr/people").await?.expect(200)?.text();
    assert!(!told.contains("salary") && told.contains("email"), "{told}");
    let told = ada.get("/v1/datasets").await?.expect(200)?.text();
    assert!(!told.contains("salary") && told.contains("hr.people"), "{told}");
    let columns = "SELECT column_name FROM information_schema.columns WHERE table_name = 'people' ORDER BY 1";
    let names: Vec<_> = ada.rows(columns).await?.iter().map(|row| row["column_name"].clone()).collect();
    assert_eq!(names, ["email", "id", "owner"]);
    // It is answered as one that there never was.
    for column in ["salary", "celery"] {
        let asked = ada.query(&format!("SELECT {column} FROM hr.people")).await?;
        let problem = asked.expect_problem(400, "unknown_column")?.json()?;
        let detail = problem["detail"].to_string().replace(column, "…");
        assert!(!detail.contains("salary"), "{detail}");
        ada.get(&format!("/v1/datasets/hr/people/rows?columns={column}"))
            .await?
            .expect_problem(400, "unknown_column")?;
    }
    let versions = ada.get("/v1/datasets/hr/people/versions").await?.expect(200)?.json()?;
    assert_eq!(versions["items"][0]["rows_added"], Value::Null);
    assert_eq!(versions["items"][0]["bytes_added"], Value::Null);
    let flight = FlightClient::connect(gateway.flight(), ada.token()).await?;
    let tables = CommandGetTables { include_schema: true, ..CommandGetTables::default() };
    let schemas = format!("{:?}", flight.run(&tables).await?.batches);
    assert!(!schemas.contains("salary"), "{schemas}");
    let keys = CommandGetPrimaryKeys { table: "people".to_owned(), db_schema: Some("hr".to_owned()), catalog: None };
    assert_eq!(flight.run(&keys).await?.count(), 1);
    ada.get("/v1/datasets/hr/people/policy").await?.expect_problem(403, "denied")?;
    Ok(())
}

#[tokio::test]
async fn numbers_of_rows_are_not_told_by_the_way() -> Result {
    let (gateway, ada, _) = house().await?;
    let owner = gateway.client();
    let id = ada.get("/v1/datasets/hr/people").await?.expect(200)?.json()?["id"].to_string();
    let id: String = id.chars().filter(char::is_ascii_hexdigit).collect();
    let receipt = |rows: u64| format!("/v1/receipts/r1_{id}_1_{rows:x}");
    for rows in [1, 3] {
        let told = ada.get(&receipt(rows)).await?.expect(200)?.json()?;
        assert_eq!((&told["status"], &told["rows"]), (&json!("committed"), &Value::Null));
    }
    assert_eq!(owner.get(&receipt(3)).await?.expect(200)?.json()?["rows"], 3);
    owner.get(&receipt(1)).await?.expect_problem(404, "receipt_not_found")?;

    let grant = json!({ "principal": "ada", "role": "maintainer", "dataset": "hr.people" });
    owner.send(Method::PUT, "/v1/grants", &grant).await?.expect(200)?;
    let compacted = ada.call(Method::POST, "/v1/datasets/hr/people/compact").await?.expect(200)?.json()?;
    assert!(compacted.get("rows").is_none(), "{compacted}");
    // What is hidden cannot be added, and its type is not told by whether it is the same.
    let mut told = Vec::new();
    for (name, ty) in [("salary", "double"), ("Salary", "string")] {
        let add = json!({ "add_columns": [{ "name": name, "type": ty }] });
        let answer = ada.send(Method::PATCH, "/v1/datasets/hr/people", &add).await?;
        told.push(answer.expect_problem(409, "column_exists")?.json()?["detail"].to_string().to_lowercase());
    }
    assert_eq!(told[0], told[1]);
    Ok(())
}

/// Two with different rights take turns on one URL, each with the tag that the other was given.
#[tokio::test]
async fn no_answer_of_one_is_given_to_another() -> Result {
    let (gateway, ada, bob) = house().await?;
    let path = "/v1/query?sql=SELECT+id,owner+FROM+hr.people+ORDER+BY+id&format=ndjson";
    let ask = async |who: &Client, tag: Option<&str>| {
        let request = who.request(Method::GET, path);
        Answer::of(tag.into_iter().fold(request, |request, tag| request.header("if-none-match", tag))).await
    };
    let (mut tag_of_ada, mut tag_of_bob) = (String::new(), String::new());
    for _ in 0..4 {
        let answer = ask(&ada, Some(&tag_of_bob)).await?.expect(200)?;
        assert!(answer.text().contains("ada") && !answer.text().contains("bob"), "{}", answer.text());
        tag_of_ada = answer.header("etag").to_owned();
        let answer = ask(&bob, Some(&tag_of_ada)).await?.expect(200)?;
        assert!(answer.text().contains("bob") && !answer.text().contains("ada"), "{}", answer.text());
        tag_of_bob = answer.header("etag").to_owned();
        assert_eq!(ask(&ada, Some(&tag_of_ada)).await?.status, 304);
    }
    // Another policy is another answer.
    let policy = json!({ "row_filter": "id = 3" });
    gateway.client().send(Method::PUT, "/v1/datasets/hr/people/policy", &policy).await?.expect(200)?;
    let answer = ask(&ada, Some(&tag_of_ada)).await?.expect(200)?;
    assert_eq!(answer.text().lines().count(), 1);
    Ok(())
}

#[tokio::test]
async fn a_policy_that_does_not_fit_is_refused() -> Result {
    let (gateway, ada, _) = house().await?;
    let path = "/v1/datasets/hr/people/policy";
    for bad in [
        json!({ "row_filter": "nothing = 1" }),
        json!({ "row_filter": "id + 1" }),
        json!({ "row_filter": "id IN (SELECT id FROM hr.people)" }),
        json!({ "row_filter": "random() < 0.5" }),
        json!({ "row_filter": "" }),
        json!({ "row_filter": "id = 1; DROP TABLE hr.people" }),
        json!({ "masks": { "nothing": "hidden" } }),
        json!({ "masks": { "email": { "expression": "sum(id)" } } }),
        json!({ "masks": { "email": { "expression": "$1" } } }),
        json!({ "masks": { "email": "shown" } }),
        json!({ "filter": "true" }),
    ] {
        let answer = gateway.client().send(Method::PUT, path, &bad).await?;
        assert_eq!(answer.status, 400, "{bad}: {}", answer.text());
    }
    assert_eq!(ada.rows("SELECT id FROM hr.people").await?.len(), 2, "what was refused changed nothing");
    ada.send(Method::PUT, path, &json!({})).await?.expect_problem(403, "denied")?;
    ada.delete(path).await?.expect_problem(403, "denied")?;
    Ok(())
}
