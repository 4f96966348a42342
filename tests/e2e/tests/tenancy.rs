//! Groups, namespaces, limits of tokens, passwords.

use std::time::Duration;

use arrow_flight::HandshakeRequest;
use futures::TryStreamExt as _;
use lakegate_e2e::{Answer, Client, FlightClient, Gateway, Result};
use reqwest::Method;
use serde_json::{Value, json};
use tonic::Code;

/// A gateway with a dataset of one row in each of two namespaces, and one that is public.
async fn house() -> Result<Gateway> {
    let gateway = Gateway::start().await?;
    let owner = gateway.client();
    for (name, visibility) in [("geo.a", "private"), ("lab.a", "private"), ("lab.open", "public")] {
        let schema = json!([{ "name": "id", "type": "bigint" }]);
        owner
            .post("/v1/datasets", &json!({ "name": name, "visibility": visibility, "schema": schema }))
            .await?
            .expect(201)?;
        owner.push(name, "{\"id\":1}\n").await?.expect(200)?;
    }
    Ok(gateway)
}

async fn principal(owner: &Client, name: &str) -> Result<Client> {
    owner.post("/v1/principals", &json!({ "name": name })).await?.expect(201)?;
    limited(owner, json!({ "principal": name, "name": "test" })).await
}

/// The owner of a new token.
async fn limited(client: &Client, token: Value) -> Result<Client> {
    let made = client.post("/v1/tokens", &token).await?.expect(201)?.json()?;
    Ok(client.with_token(made["token"].as_str().ok_or("no token")?))
}

async fn status(client: &Client, dataset: &str) -> Result<u16> {
    Ok(client.query(&format!("SELECT * FROM {dataset}")).await?.status)
}

#[tokio::test]
async fn a_token_does_what_it_is_for_and_nothing_else() -> Result {
    let gateway = house().await?;
    let owner = gateway.client();
    let sensor = limited(owner, json!({ "name": "sensor", "actions": ["push"], "datasets": ["geo.a"] })).await?;
    sensor.push("geo.a", "{\"id\":2}\n").await?.expect(200)?;
    sensor.query("SELECT * FROM geo.a").await?.expect_problem(403, "denied")?;
    sensor.get("/v1/datasets/geo/a/rows").await?.expect_problem(403, "denied")?;
    sensor.delete("/v1/datasets/geo/a").await?.expect_problem(403, "denied")?;
    sensor.push("lab.a", "{\"id\":2}\n").await?.expect_problem(404, "dataset_not_found")?;
    sensor.push("geo.new", "{\"id\":2}\n").await?.expect_problem(404, "dataset_not_found")?;
    sensor.post("/v1/tokens", &json!({ "name": "more" })).await?.expect_problem(403, "denied")?;
    sensor.get("/v1/principals").await?.expect_problem(403, "denied")?;

    let reader = limited(owner, json!({ "name": "geo", "actions": ["read"], "datasets": ["geo.*"] })).await?;
    let found = [status(&reader, "geo.a").await?, status(&reader, "lab.a").await?, status(&reader, "lab.open").await?];
    assert_eq!(found, [200, 404, 200]);
    let listed = reader.get("/v1/datasets").await?.expect(200)?.json()?;
    let names: Vec<_> = listed["items"].as_array().ok_or("items")?.iter().map(|item| &item["name"]).collect();
    assert_eq!(names, ["geo.a", "lab.open"]);
    let spaces = reader.get("/v1/namespaces").await?.expect(200)?.json()?;
    let names: Vec<_> = spaces["items"].as_array().ok_or("items")?.iter().map(|item| &item["name"]).collect();
    assert_eq!(names, ["geo", "lab"]);
    let schemas = reader.rows("SELECT table_schema, table_name FROM information_schema.tables ORDER BY 1, 2").await?;
    assert!(!json!(schemas).to_string().contains("\"a\",\"table_schema\":\"lab\""), "{schemas:?}");
    let flight = FlightClient::connect(gateway.flight(), reader.token()).await?;
    flight.ask("SELECT * FROM geo.a").await?;
    assert_eq!(flight.ask("SELECT * FROM lab.a").await.map(drop).expect_err("hidden").code(), Code::NotFound);
    Ok(())
}

#[tokio::test]
async fn no_token_makes_one_that_may_do_more() -> Result {
    let gateway = house().await?;
    let own = json!({ "name": "narrow", "actions": ["read", "manage"], "datasets": ["geo.*"] });
    let narrow = limited(gateway.client(), own).await?;
    for (wanted, allowed) in [
        (json!({ "name": "x", "actions": ["read"], "datasets": ["geo.a"] }), true),
        (json!({ "name": "x", "actions": ["read", "manage"], "datasets": ["geo.*"] }), true),
        (json!({ "name": "x" }), false),
        (json!({ "name": "x", "actions": ["read"] }), false),
        (json!({ "name": "x", "datasets": ["geo.a"] }), false),
        (json!({ "name": "x", "actions": ["push"], "datasets": ["geo.a"] }), false),
        (json!({ "name": "x", "actions": ["read"], "datasets": ["geo.a", "lab.a"] }), false),
    ] {
        let answer = narrow.post("/v1/tokens", &wanted).await?;
        assert_eq!(answer.status, if allowed { 201 } else { 403 }, "{wanted}: {}", answer.text());
    }
    for bad in [json!(["*"]), json!(["geo"]), json!(["geo.*.*"])] {
        let answer = gateway.client().post("/v1/tokens", &json!({ "name": "x", "datasets": bad })).await?;
        assert_eq!(answer.status, 400, "{}", answer.text());
    }
    Ok(())
}

#[tokio::test]
async fn no_limited_token_becomes_a_whole_one() -> Result {
    let gateway = house().await?;
    let owner = gateway.client();
    let manager = limited(owner, json!({ "name": "m", "actions": ["manage"] })).await?;
    manager.post("/v1/principals", &json!({ "name": "ada" })).await?.expect(201)?;
    // Who can sign in gets a token without limits.
    let password = json!({ "password": "correct horse" });
    let path = "/v1/principals/ada/password";
    manager.send(Method::PUT, path, &password).await?.expect_problem(403, "denied")?;
    let external = json!({ "issuer": "https://id.example", "subject": "7" });
    let known = json!({ "name": "eve", "external": external });
    manager.post("/v1/principals", &known).await?.expect_problem(403, "denied")?;
    manager.post("/v1/tokens", &json!({ "principal": "ada", "name": "t" })).await?.expect_problem(403, "denied")?;
    owner.send(Method::PUT, path, &password).await?.expect(204)?;
    owner.post("/v1/principals", &known).await?.expect(201)?;
    // Nor does anyone become a gateway.
    for client in [&manager, owner] {
        let gateway = json!({ "name": "g", "kind": "gateway" });
        client.post("/v1/principals", &gateway).await?.expect_problem(400, "invalid_request")?;
    }
    Ok(())
}

/// The ends of jobs among the events that there are.
async fn jobs_told(client: &Client) -> Result<usize> {
    let told = client.get("/v1/events?after=0&wait=0").await?.expect(200)?.text();
    Ok(told.matches("event: job_ended").count())
}

#[tokio::test]
async fn a_limited_token_knows_and_ends_no_more_than_it_is_for() -> Result {
    let gateway = house().await?;
    let owner = gateway.client();
    let ada = principal(owner, "ada").await?;
    for (kind, on) in [("dataset", "geo.a"), ("dataset", "lab.a"), ("namespace", "lab")] {
        let grant = json!({ "principal": "ada", "role": "reader", kind: on });
        owner.send(Method::PUT, "/v1/grants", &grant).await?.expect(200)?;
    }
    let made =
        ada.post("/v1/tokens", &json!({ "name": "narrow", "datasets": ["geo.*"] })).await?.expect(201)?.json()?;
    let narrow = ada.with_token(made["token"].as_str().ok_or("a token")?);
    let grants = async |client: &Client| -> Result<Value> {
        Ok(client.get("/v1/grants?principal=ada").await?.expect(200)?.json()?["items"].take())
    };
    assert_eq!(grants(&ada).await?.as_array().map(Vec::len), Some(3));
    assert_eq!(grants(&narrow).await?, json!([{ "principal": "ada", "role": "reader", "dataset": "geo.a" }]));

    let tokens = async |client: &Client| -> Result<Vec<Value>> {
        let mut list = client.get("/v1/tokens").await?.expect(200)?.json()?;
        Ok(serde_json::from_value(list["items"].take())?)
    };
    let all = tokens(&ada).await?;
    let (whole, own) = (&all[0]["id"], &made["id"]);
    assert_eq!(all.iter().map(|token| &token["name"]).collect::<Vec<_>>(), ["test", "narrow"]);
    assert_eq!(tokens(&narrow).await?.iter().map(|token| &token["id"]).collect::<Vec<_>>(), [own]);
    // One that is for managing everything ends others, whatever they are for.
    let manager = limited(owner, json!({ "name": "m", "actions": ["manage"] })).await?;
    let read = json!({ "principal": "ada", "name": "r", "actions": ["read"] });
    let read = owner.post("/v1/tokens", &read).await?.expect(201)?.json()?["id"].take();
    manager.delete(&format!("/v1/tokens/{}", read.as_str().unwrap_or_default())).await?.expect(204)?;
    let path = |id: &Value| format!("/v1/tokens/{}", id.as_str().unwrap_or_default());
    narrow.delete(&path(whole)).await?.expect_problem(404, "token_not_found")?;
    ada.get("/v1/whoami").await?.expect(200)?;

    // Of jobs it is told what it may see of them.
    let run = async |client: &Client, sql: &str| -> Result {
        let path = crate::jobs::submit(client, json!({ "kind": "query", "sql": sql })).await?;
        crate::jobs::until(client, &path, "done").await.map(drop)
    };
    run(&ada, "SELECT * FROM lab.a").await?;
    assert_eq!((jobs_told(&ada).await?, jobs_told(&narrow).await?, jobs_told(&owner.anonymous()).await?), (1, 0, 0));
    run(&narrow, "SELECT * FROM geo.a").await?;
    assert_eq!((jobs_told(&ada).await?, jobs_told(&narrow).await?), (2, 1));

    narrow.delete(&path(own)).await?.expect(204)?;
    narrow.get("/v1/whoami").await?.expect(401)?;
    Ok(())
}

#[tokio::test]
async fn a_limit_that_names_nothing_is_refused() -> Result {
    let gateway = house().await?;
    for field in ["actions", "datasets", "referrers"] {
        let empty = json!({ "name": "x", field: [] });
        let problem = gateway.client().post("/v1/tokens", &empty).await?.expect_problem(400, "invalid_request")?;
        assert!(problem.text().contains(field), "{}", problem.text());
    }
    Ok(())
}

#[tokio::test]
async fn what_is_missing_is_said() -> Result {
    let gateway = house().await?;
    let reader = limited(gateway.client(), json!({ "name": "r", "actions": ["read"], "datasets": ["geo.*"] })).await?;
    let ann = principal(gateway.client(), "ann").await?;
    let grant = json!({ "principal": "ann", "role": "reader", "dataset": "geo.a" });
    gateway.client().send(Method::PUT, "/v1/grants", &grant).await?.expect(200)?;
    for (role, action) in [("writer", "push"), ("maintainer", "maintain"), ("owner", "manage")] {
        let ask = async |client: &Client| match role {
            "writer" => client.push("geo.a", "{\"id\":2}\n").await,
            "maintainer" => client.call(Method::POST, "/v1/datasets/geo/a/compact").await,
            _ => client.delete("/v1/datasets/geo/a").await,
        };
        let told = ask(&reader).await?.expect_problem(403, "denied")?.text();
        assert!(told.contains(&format!("the action `{action}`")) && !told.contains("the role"), "{told}");
        let told = ask(&ann).await?.expect_problem(403, "denied")?.text();
        assert!(told.contains(&format!("the role {role}")) && !told.contains("your token"), "{told}");
    }
    let create = reader.request(Method::POST, "/v1/datasets/geo/new/ingest?create=true").json(&json!([{ "n": 1 }]));
    let told = Answer::of(create).await?.expect_problem(403, "denied")?.text();
    assert!(told.contains("the action `manage`"), "{told}");
    Ok(())
}

#[tokio::test]
async fn a_token_for_pages_is_of_no_use_elsewhere() -> Result {
    let gateway = house().await?;
    let made = json!({ "name": "map", "actions": ["read"], "referrers": ["https://maps.example"] });
    let map = limited(gateway.client(), made).await?;
    for (header, value, expected) in [
        ("origin", "https://maps.example", 200),
        ("referer", "https://maps.example/a?b", 200),
        ("origin", "https://evil.example", 401),
        ("referer", "https://maps.example.evil/", 401),
        ("x-nothing", "", 401),
    ] {
        let request = map.request(Method::GET, "/v1/datasets/geo/a").header(header, value);
        assert_eq!(Answer::of(request).await?.status, expected, "{header}: {value}");
    }
    let flight = FlightClient::connect(gateway.flight(), map.token()).await?;
    assert_eq!(flight.ask("SELECT 1").await.map(drop).expect_err("no page").code(), Code::Unauthenticated);
    Ok(())
}

#[tokio::test]
async fn a_group_gives_and_takes_at_once() -> Result {
    let gateway = house().await?;
    let owner = gateway.client();
    let ada = principal(owner, "ada").await?;
    owner.post("/v1/groups", &json!({ "name": "crew" })).await?.expect(201)?;
    owner.post("/v1/groups", &json!({ "name": "crew" })).await?.expect_problem(409, "already_exists")?;
    owner
        .send(Method::PUT, "/v1/grants", &json!({ "group": "crew", "role": "reader", "namespace": "geo" }))
        .await?
        .expect(200)?;
    assert_eq!(status(&ada, "geo.a").await?, 404);
    owner.call(Method::PUT, "/v1/groups/crew/members/ada").await?.expect(204)?;
    assert_eq!(status(&ada, "geo.a").await?, 200);
    let grants = ada.get("/v1/grants?group=crew").await?.expect(200)?.json()?;
    assert_eq!(grants["items"], json!([{ "group": "crew", "role": "reader", "namespace": "geo" }]));
    ada.get("/v1/groups/crew/members").await?.expect_problem(403, "denied")?;
    let members = owner.get("/v1/groups/crew/members").await?.expect(200)?.json()?;
    assert_eq!(members["items"][0]["name"], "ada");
    owner.delete("/v1/groups/crew/members/ada").await?.expect(204)?;
    assert_eq!(status(&ada, "geo.a").await?, 404);
    owner.call(Method::PUT, "/v1/groups/crew/members/ada").await?.expect(204)?;
    owner.delete("/v1/groups/crew").await?.expect(204)?;
    assert_eq!(status(&ada, "geo.a").await?, 404);
    owner.call(Method::PUT, "/v1/groups/crew/members/ada").await?.expect_problem(404, "group_not_found")?;
    Ok(())
}

#[tokio::test]
async fn everyone_is_a_grantee_too() -> Result {
    let gateway = house().await?;
    let (owner, nobody) = (gateway.client(), gateway.client().anonymous());
    let on = |scope: &str, name: &str, role: &str| json!({ "public": true, "role": role, scope: name });
    owner.send(Method::PUT, "/v1/grants", &on("namespace", "geo", "reader")).await?.expect(200)?;
    assert_eq!(status(&nobody, "geo.a").await?, 200);
    owner.delete("/v1/grants?public=true&namespace=geo").await?.expect(204)?;
    assert_eq!(status(&nobody, "geo.a").await?, 404);
    // On a dataset it is the visibility, whichever of the two is asked for.
    owner.send(Method::PUT, "/v1/grants", &on("dataset", "geo.a", "reader")).await?.expect(200)?;
    assert_eq!(owner.get("/v1/datasets/geo/a").await?.json()?["visibility"], "public");
    assert_eq!(owner.get("/v1/grants?dataset=geo.a").await?.json()?["items"][0], on("dataset", "geo.a", "reader"));
    owner.delete("/v1/grants?public=true&dataset=geo.a").await?.expect(204)?;
    assert_eq!(owner.get("/v1/datasets/geo/a").await?.json()?["visibility"], "private");
    for bad in
        [on("namespace", "geo", "writer"), on("dataset", "geo.a", "owner"), json!({ "public": true, "role": "reader" })]
    {
        let answer = owner.send(Method::PUT, "/v1/grants", &bad).await?;
        assert_eq!(answer.status, 400, "{bad}: {}", answer.text());
    }
    for bad in [json!({ "role": "reader" }), json!({ "principal": "owner", "public": true, "role": "reader" })] {
        assert_eq!(owner.send(Method::PUT, "/v1/grants", &bad).await?.status, 400, "{bad}");
    }
    Ok(())
}

#[tokio::test]
async fn namespaces_are_made_and_taken_away() -> Result {
    let gateway = house().await?;
    let owner = gateway.client();
    let ada = principal(owner, "ada").await?;
    ada.post("/v1/namespaces", &json!({ "name": "mine" })).await?.expect_problem(403, "denied")?;
    owner.post("/v1/namespaces", &json!({ "name": "mine" })).await?.expect(201)?;
    owner.post("/v1/namespaces", &json!({ "name": "mine" })).await?.expect_problem(409, "already_exists")?;
    ada.create("mine.t", &[("id", "bigint")]).await?.expect_problem(403, "denied")?;
    owner
        .send(Method::PUT, "/v1/grants", &json!({ "principal": "ada", "role": "owner", "namespace": "mine" }))
        .await?
        .expect(200)?;
    ada.create("mine.t", &[("id", "bigint")]).await?.expect(201)?;
    let seen = ada.get("/v1/namespaces").await?.json()?;
    let names: Vec<_> = seen["items"].as_array().ok_or("items")?.iter().map(|item| &item["name"]).collect();
    assert_eq!(names, ["lab", "mine"]);
    ada.delete("/v1/namespaces/mine").await?.expect_problem(409, "namespace_not_empty")?;
    ada.delete("/v1/datasets/mine/t").await?.expect(204)?;
    for hidden in ["geo", "nowhere"] {
        ada.delete(&format!("/v1/namespaces/{hidden}")).await?.expect_problem(404, "namespace_not_found")?;
    }
    ada.delete("/v1/namespaces/mine").await?.expect(204)?;
    Ok(())
}

#[tokio::test]
async fn a_password_opens_and_a_wrong_one_has_to_wait() -> Result {
    let gateway = house().await?;
    let owner = gateway.client();
    let nobody = owner.anonymous();
    let ada = principal(owner, "ada").await?;
    let log_in = async |name: &str, password: &str| {
        nobody.post("/v1/login", &json!({ "name": name, "password": password })).await
    };
    log_in("ada", "correct horse").await?.expect_problem(401, "unauthenticated")?;
    let path = "/v1/principals/ada/password";
    ada.send(Method::PUT, path, &json!({ "password": "correct horse" })).await?.expect_problem(403, "denied")?;
    owner.send(Method::PUT, path, &json!({ "password": "short" })).await?.expect(400)?;
    owner.send(Method::PUT, path, &json!({ "password": "correct horse" })).await?.expect(204)?;
    let wrong = json!({ "password": "battery staple", "current": "wrong horse" });
    ada.send(Method::PUT, path, &wrong).await?.expect_problem(401, "unauthenticated")?;
    let change = json!({ "password": "battery staple", "current": "correct horse" });
    ada.send(Method::PUT, path, &change).await?.expect(204)?;
    log_in("ada", "correct horse").await?.expect(401)?;
    let came = log_in("ada", "battery staple").await?.expect(201)?.json()?;
    let session = owner.with_token(came["token"].as_str().ok_or("a token")?);
    assert_eq!(session.get("/v1/whoami").await?.json()?["principal"]["name"], "ada");
    let ends = chrono::DateTime::parse_from_rfc3339(came["expires_at"].as_str().ok_or("an end")?)?;
    let left = (ends.to_utc() - chrono::Utc::now()).num_seconds();
    assert!((43_100..=43_200).contains(&left), "{left}");

    let mut said = Vec::new();
    for name in ["ada", "nobody.here"] {
        let mut wrong = 0;
        // Waits begin with a second, which may pass while a slow machine compares: until there is one of more.
        loop {
            let answer = log_in(name, "wrong again").await?;
            if answer.status == 401 {
                wrong += 1;
                continue;
            }
            let wait: u64 = answer.expect_problem(429, "too_many_logins")?.header("retry-after").parse()?;
            if wait > 3 {
                break;
            }
            tokio::time::sleep(Duration::from_secs(wait)).await;
        }
        assert!((5..=10).contains(&wrong), "{wrong} wrong ones of {name}");
        // The right one has to wait as well.
        let locked = log_in(name, "battery staple").await?.expect_problem(429, "too_many_logins")?;
        let mut problem = locked.json()?;
        problem["request_id"] = Value::Null;
        said.push(problem.to_string().replace(|c: char| c.is_ascii_digit(), ""));
    }
    assert_eq!(said[0], said[1], "whether somebody has the name is not told");
    owner.delete(path).await?.expect(204)?;
    log_in("ada", "battery staple").await?.expect_problem(401, "unauthenticated")?;
    Ok(())
}

#[tokio::test]
async fn the_handshake_of_flight_takes_a_password() -> Result {
    let gateway = house().await?;
    let owner = gateway.client();
    principal(owner, "ada").await?;
    owner
        .send(Method::PUT, "/v1/principals/ada/password", &json!({ "password": "correct horse" }))
        .await?
        .expect(204)?;
    owner
        .send(Method::PUT, "/v1/grants", &json!({ "principal": "ada", "role": "reader", "namespace": "geo" }))
        .await?
        .expect(200)?;
    let flight = FlightClient::connect(gateway.flight(), None).await?;
    // `ada:correct horse` and `ada:wrong horse`.
    let right = flight.clone().header("authorization", "Basic YWRhOmNvcnJlY3QgaG9yc2U=");
    let wrong = flight.clone().header("authorization", "Basic YWRhOndyb25nIGhvcnNl");
    let shake = async |client: &FlightClient| {
        let hello = futures::stream::iter([HandshakeRequest::default()]);
        let answer = client.raw().handshake(client.request(hello)).await?;
        answer.into_inner().try_collect::<Vec<_>>().await
    };
    assert_eq!(shake(&wrong).await.expect_err("wrong").code(), Code::Unauthenticated);
    let token = String::from_utf8(shake(&right).await?.first().ok_or("an answer")?.payload.to_vec())?;
    assert!(token.starts_with("lg_"), "{token}");
    FlightClient::connect(gateway.flight(), Some(&token)).await?.ask("SELECT * FROM geo.a").await?;
    // Each call would be a try: a password is for the handshake alone.
    assert_eq!(right.ask("SELECT 1").await.map(drop).expect_err("refused").code(), Code::Unauthenticated);
    Ok(())
}
