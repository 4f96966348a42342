//! The catalog in a process of its own: gateways behave as with one in theirs, share it, and live through its absence.

use std::time::{Duration, Instant};

use lakegate_e2e::{Companion, Gateway, Options, Result};
use reqwest::Method;
use serde_json::json;

async fn pair(companion: &Companion) -> Result<(Gateway, Gateway)> {
    let first = companion.gateway()?.start().await?;
    let second = companion.gateway()?.owned(first.token()).start().await?;
    Ok((first, second))
}

#[tokio::test]
async fn two_gateways_share_datasets_rows_and_rights() -> Result {
    let companion = Companion::start().await?;
    let (first, second) = pair(&companion).await?;
    first.client().create("lab.t", &[("n", "bigint")]).await?.expect(201)?;
    first.client().push("lab.t", "{\"n\":1}\n").await?.expect(200)?;
    second.client().push("lab.t", "{\"n\":2}\n").await?.expect(200)?;
    assert_eq!((first.client().count("lab.t").await?, second.client().count("lab.t").await?), (2, 2));
    let made = second.client().post("/v1/principals", &json!({ "name": "ada" })).await?.expect(201)?;
    assert_eq!(made.json()?["kind"], "user");
    let again = first.client().post("/v1/principals", &json!({ "name": "ada" })).await?;
    again.expect_problem(409, "already_exists")?;
    let anyone = lakegate_e2e::Client::new(companion.url(), None)?;
    anyone.get("/healthz").await?.expect(200)?;
    let document = anyone.get("/openapi.json").await?.expect(200)?.json()?;
    assert!(document["paths"]["/v1/call/create_principal"]["post"].is_object(), "{document}");
    let metrics = anyone.get("/metrics").await?.expect(200)?.text();
    for counted in ["{call=\"create_principal\",status=\"200\"} 1", "{call=\"create_principal\",status=\"409\"} 1"] {
        assert!(metrics.contains(&format!("lakegate_catalog_calls_total{counted}")), "{metrics}");
    }
    Ok(())
}

#[tokio::test]
async fn what_one_gateway_takes_back_is_gone_at_the_other_within_a_second() -> Result {
    let companion = Companion::start().await?;
    let (first, second) = pair(&companion).await?;
    let owner = first.client();
    owner.create("lab.t", &[("n", "bigint")]).await?.expect(201)?;
    owner.post("/v1/principals", &json!({ "name": "ada" })).await?.expect(201)?;
    let made = owner.post("/v1/tokens", &json!({ "principal": "ada", "name": "test" })).await?.expect(201)?.json()?;
    let ada = second.client().with_token(made["token"].as_str().ok_or("a token")?);
    let grant = json!({ "principal": "ada", "role": "reader", "dataset": "lab.t" });
    for round in 0..5 {
        owner.send(Method::PUT, "/v1/grants", &grant).await?.expect(200)?;
        let given = Instant::now();
        while ada.get("/v1/datasets/lab/t").await?.status != 200 {
            assert!(given.elapsed() < Duration::from_secs(1), "round {round}: not there yet");
        }
        owner.delete("/v1/grants?principal=ada&dataset=lab.t").await?.expect(204)?;
        let taken = Instant::now();
        while ada.get("/v1/datasets/lab/t").await?.status != 404 {
            assert!(taken.elapsed() < Duration::from_secs(1), "round {round}: still there");
        }
    }
    owner.delete(&format!("/v1/tokens/{}", made["id"].as_str().ok_or("an id")?)).await?.expect(204)?;
    let revoked = Instant::now();
    while ada.get("/v1/whoami").await?.status != 401 {
        assert!(revoked.elapsed() < Duration::from_secs(1), "the token still works");
    }
    Ok(())
}

#[tokio::test]
async fn a_right_on_a_namespace_goes_with_it_and_does_not_come_back_with_its_name() -> Result {
    let companion = Companion::start().await?;
    let (first, second) = pair(&companion).await?;
    let owner = first.client();
    owner.post("/v1/principals", &json!({ "name": "bob" })).await?.expect(201)?;
    let made = owner.post("/v1/tokens", &json!({ "principal": "bob", "name": "test" })).await?.expect(201)?.json()?;
    let bob = second.client().with_token(made["token"].as_str().ok_or("a token")?);
    let name = json!({ "name": "tmp" });
    for round in 0..3 {
        owner.post("/v1/namespaces", &name).await?.expect(201)?;
        let mut heard = second.client().request(Method::GET, "/v1/events").send().await?;
        let grant = json!({ "principal": "bob", "role": "owner", "namespace": "tmp" });
        owner.send(Method::PUT, "/v1/grants", &grant).await?.expect(200)?;
        // From then on what the gateway remembers is not forgotten because of the grant.
        let told = async {
            while let Ok(Some(piece)) = heard.chunk().await {
                if String::from_utf8_lossy(&piece).contains("rights_changed") {
                    return true;
                }
            }
            false
        };
        assert!(tokio::time::timeout(Duration::from_secs(10), told).await?, "round {round}: the feed ended");
        bob.get("/v1/grants?namespace=tmp").await?.expect(200)?;
        owner.delete("/v1/namespaces/tmp").await?.expect(204)?;
        owner.post("/v1/namespaces", &name).await?.expect(201)?;
        let taken = Instant::now();
        while bob.get("/v1/grants?namespace=tmp").await?.status != 403 {
            assert!(taken.elapsed() < Duration::from_secs(1), "round {round}: still there");
        }
        owner.delete("/v1/namespaces/tmp").await?.expect(204)?;
    }
    Ok(())
}

#[tokio::test]
async fn long_jobs_and_wide_datasets_are_listed_page_after_page() -> Result {
    let companion = Companion::start().await?;
    let gateway = companion.gateway()?.setting("jobs.concurrent", "1").start().await?;
    let owner = gateway.client();
    // Together more than a page holds.
    let (count, long) = (16, "x".repeat(900_000));
    let job = json!({ "kind": "query", "sql": "SELECT 1 AS a WHERE 'x' <> $1", "params": [long] });
    for _ in 0..count {
        owner.post("/v1/jobs", &job).await?.expect(202)?;
    }
    let (mut seen, mut next) = (0, String::new());
    loop {
        let answer = owner.get(&format!("/v1/jobs?limit=100{next}")).await?.expect(200)?;
        assert!(answer.text().len() < 8 << 20, "a page of {} bytes", answer.text().len());
        let page = answer.json()?;
        seen += page["items"].as_array().map_or(0, Vec::len);
        let Some(cursor) = page["next"].as_str() else { break };
        next = format!("&cursor={cursor}");
    }
    assert_eq!(seen, count);
    let counted = owner.rows("SELECT count(*) AS n FROM system.jobs WHERE kind = 'query'").await?;
    assert_eq!(counted, [json!({ "n": count })]);
    // Whoever goes takes what waits along, all of it.
    let id = owner.post("/v1/principals", &json!({ "name": "ada" })).await?.expect(201)?.json()?["id"].take();
    let made = owner.post("/v1/tokens", &json!({ "principal": "ada", "name": "test" })).await?.expect(201)?.json()?;
    let ada = owner.with_token(made["token"].as_str().ok_or("a token")?);
    let endless = crate::jobs::submit(&ada, json!({ "kind": "query", "sql": crate::jobs::ENDLESS, "priority": 100 }));
    crate::jobs::until(&ada, &endless.await?, "running").await?;
    for _ in 0..6 {
        ada.post("/v1/jobs", &job).await?.expect(202)?;
    }
    owner.delete("/v1/principals/ada").await?.expect(204)?;
    let id = id.as_str().ok_or("an id")?;
    let of_ada = |state: &str| {
        format!("SELECT count(*) > 0 AS some FROM system.jobs WHERE principal_id = '{id}' AND state = '{state}'")
    };
    assert_eq!(owner.rows(&of_ada("cancelled")).await?, [json!({ "some": true })]);
    assert_eq!(owner.rows(&of_ada("waiting")).await?, [json!({ "some": false })]);

    // 30 of them are more than a page holds.
    let columns: Vec<_> =
        (0..1_000).map(|n| json!({ "name": format!("{}{n}", "c".repeat(120)), "type": "int" })).collect();
    for n in 0..30 {
        let wide = json!({ "name": format!("wide.t{n:02}"), "schema": columns, "visibility": "public" });
        owner.post("/v1/datasets", &wide).await?.expect(201)?;
    }
    let nobody = owner.anonymous();
    let (mut seen, mut pages, mut next) = (0, 0, String::new());
    loop {
        let page = nobody.get(&format!("/v1/datasets?limit=100{next}")).await?.expect(200)?.json()?;
        (seen, pages) = (seen + page["items"].as_array().map_or(0, Vec::len), pages + 1);
        let Some(cursor) = page["next"].as_str() else { break };
        next = format!("&cursor={cursor}");
    }
    assert!(seen == 30 && pages > 1, "{seen} on {pages} pages");
    let columns = "SELECT count(*) AS n FROM information_schema.columns WHERE table_schema = 'wide'";
    assert_eq!(nobody.rows(columns).await?, [json!({ "n": 30_000 })]);
    Ok(())
}

#[tokio::test]
async fn what_was_decided_counts_a_little_longer_where_the_settings_say_so() -> Result {
    let companion = Companion::start().await?;
    let strict = companion.gateway()?.start().await?;
    let lenient = companion.gateway()?.owned(strict.token()).setting("catalog.stale_for", "60s").start().await?;
    strict.client().create("lab.t", &[("n", "bigint")]).await?.expect(201)?;
    for gateway in [&strict, &lenient] {
        gateway.client().push("lab.t", "{\"n\":1}\n").await?.expect(200)?;
        assert!(gateway.client().count("lab.t").await? > 0);
    }
    let stopped = companion.kill().await?;
    // Past the time for which an answer is remembered where nothing is said.
    tokio::time::sleep(Duration::from_secs(6)).await;
    let ask = |gateway: &Gateway| {
        let client = gateway.client().clone();
        async move { client.query("SELECT count(*) FROM lab.t").await }
    };
    ask(&strict).await?.expect_problem(503, "catalog_unavailable")?;
    ask(&lenient).await?.expect(200)?;
    lenient.client().push("lab.t", "{\"n\":1}\n").await?.expect_problem(403, "denied")?;
    lenient.client().get("/v1/principals").await?.expect_problem(503, "catalog_unavailable")?;
    let _companion = stopped.start().await?;
    ask(&strict).await?.expect(200)?;
    lenient.client().push("lab.t", "{\"n\":1}\n").await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn a_gateway_s_token_opens_no_other_door() -> Result {
    let companion = Companion::start().await?;
    let gateway = companion.gateway()?.start().await?;
    let token = std::fs::read_to_string(companion.folder().join("gateway-token"))?;
    let as_gateway = lakegate_e2e::Client::new(gateway.base(), Some(token.trim().to_owned()))?;
    as_gateway.get("/v1/datasets").await?.expect_problem(401, "unauthenticated")?;
    let owner = lakegate_e2e::Client::new(companion.url(), Some(gateway.token().to_owned()))?;
    owner.post("/v1/call/ping", &json!({})).await?.expect_problem(401, "unauthenticated")?;
    Ok(())
}

#[tokio::test]
async fn a_gateway_lives_through_the_absence_of_its_companion() -> Result {
    let companion = Companion::start().await?;
    let gateway = companion.gateway()?.start().await?;
    let client = gateway.client();
    client.create("lab.t", &[("n", "bigint")]).await?.expect(201)?;
    client.push("lab.t", "{\"n\":1}\n").await?.expect(200)?;
    let stopped = companion.kill().await?;
    client.create("lab.u", &[("n", "bigint")]).await?.expect_problem(503, "catalog_unavailable")?;
    assert_eq!(client.get("/readyz").await?.status, 503);
    let _companion = stopped.start().await?;
    client.create("lab.u", &[("n", "bigint")]).await?.expect(201)?;
    assert_eq!(client.count("lab.t").await?, 1);
    Ok(())
}

#[tokio::test]
async fn what_is_missing_or_unsafe_is_refused_with_what_to_change() -> Result {
    let companion = Companion::start().await?;
    let token = std::fs::read_to_string(companion.folder().join("gateway-token"))?;
    for (settings, expected) in [
        (vec![("catalog.url", "http://127.0.0.1:9")], "catalog.token_file"),
        (vec![("catalog.url", "http://catalog.example:7782"), ("catalog.token_file", "token")], "https"),
    ] {
        let mut options = Options::serve()?;
        std::fs::write(options.folder().join("token"), &token)?;
        for (key, value) in settings {
            options = options.setting(key, value);
        }
        let ended = options.command()?.output().await?;
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(2), "{said}");
        assert!(said.contains(expected), "{said}");
    }
    let open = Options::serve()?.with_command("catalog").setting("catalog.listen", "0.0.0.0:0");
    let ended = open.command()?.output().await?;
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(ended.status.code() == Some(2) && said.contains("catalog.tls_certificate"), "{said}");
    Ok(())
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_is_told_as_that() -> Result {
    let options = Options::serve()?;
    let own = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()])?;
    let file = |name: &str| options.folder().join(name).display().to_string();
    let (certificate, key) = (file("catalog.pem"), file("catalog.key"));
    std::fs::write(&certificate, own.cert.pem())?;
    std::fs::write(&key, own.signing_key.serialize_pem())?;
    let options = options.setting("catalog.tls_certificate", &certificate).setting("catalog.tls_key", &key);
    let companion = Companion::with(options).await?;
    let ended = companion.gateway()?.command()?.output().await?;
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(2), "{said}");
    assert!(said.contains("UnknownIssuer") && said.contains("catalog.trusted_certificates"), "{said}");
    assert!(!said.contains("rustls_platform_verifier"), "{said}");
    let told = companion.output();
    assert!(told.contains("catalog.trusted_certificates"), "{told}");
    companion.gateway()?.setting("catalog.trusted_certificates", &certificate).start().await?;
    Ok(())
}

#[tokio::test]
async fn whatever_is_killed_nothing_is_lost_no_right_is_stale_and_each_job_ends_once() -> Result {
    let tally = lakegate_e2e::cluster::rounds(4).await?;
    assert!(tally.pushes > 20 && tally.datasets > 4 && tally.revoked > 4, "{tally:?}");
    assert!(tally.heard == 4 && tally.jobs > 4, "{tally:?}");
    Ok(())
}
