//! Who sees a job: whoever asked for it, owners of the instance, maintainers of the dataset that it is about.

use lakegate_e2e::{Client, Gateway, Result};
use reqwest::Method;
use serde_json::{Value, json};

use crate::jobs::{principal, submit, until};

/// What each request about the job is answered.
async fn answers(client: &Client, path: &str) -> Result<Vec<u16>> {
    let mut all = Vec::new();
    for rest in ["", "/log", "/events?wait=0", "/result"] {
        all.push(client.get(&format!("{path}{rest}")).await?.status);
    }
    all.push(client.delete(path).await?.status);
    Ok(all)
}

async fn listed(client: &Client, filter: &str) -> Result<Vec<Value>> {
    let list = client.get(&format!("/v1/jobs?{filter}")).await?.expect(200)?.json()?;
    Ok(list["items"].as_array().into_iter().flatten().map(|job| job["kind"].clone()).collect())
}

async fn limited(client: &Client, token: Value) -> Result<Client> {
    let made = client.post("/v1/tokens", &token).await?.expect(201)?.json()?;
    Ok(client.with_token(made["token"].as_str().ok_or("a token")?))
}

#[tokio::test]
async fn nobody_sees_the_jobs_of_others_but_owners_and_maintainers() -> Result {
    const ABSENT: [u16; 5] = [404; 5];
    let gateway = Gateway::start().await?;
    let owner = gateway.client();
    owner.create("lab.t", &[("n", "bigint")]).await?.expect(201)?;
    let (ann, bob) = (principal(owner, "ann").await?, principal(owner, "bob").await?);
    let (keeper, reader) = (principal(owner, "keeper").await?, principal(owner, "reader").await?);
    for (who, role) in [("ann", "reader"), ("keeper", "maintainer"), ("reader", "reader")] {
        let grant = json!({ "principal": who, "role": role, "dataset": "lab.t" });
        owner.send(Method::PUT, "/v1/grants", &grant).await?.expect(200)?;
    }
    let path = submit(&ann, json!({ "kind": "query", "sql": "SELECT count(*) AS n FROM lab.t" })).await?;
    let job = until(&ann, &path, "done").await?;
    assert_eq!(job["principal_id"], ann.get("/v1/whoami").await?.expect(200)?.json()?["principal"]["id"]);
    assert!(job["params"].get("scope").is_none() && !job.to_string().contains("fence"), "{job}");
    let seen = [200, 200, 200, 200, 202];
    for (told, client, expected) in [
        ("ann", &ann, seen),
        ("the owner", owner, seen),
        ("bob", &bob, ABSENT),
        ("a maintainer of what it read", &keeper, ABSENT),
        ("nobody", &owner.anonymous(), ABSENT),
    ] {
        assert_eq!(answers(client, &path).await?, expected, "{told}");
    }
    assert_eq!(listed(&ann, "").await?, ["query"]);
    assert_eq!(listed(&bob, "").await?, [] as [Value; 0]);
    assert_eq!(listed(owner, "kind=query").await?, ["query"]);
    owner.anonymous().get("/v1/jobs").await?.expect_problem(403, "denied")?;

    // With a token that may do less than the one it was asked for with, it is not there.
    let elsewhere = limited(&ann, json!({ "name": "a", "datasets": ["other.*"] })).await?;
    assert_eq!(answers(&elsewhere, &path).await?, ABSENT);
    assert_eq!(listed(&elsewhere, "").await?, [] as [Value; 0]);
    let narrow = limited(&ann, json!({ "name": "b", "datasets": ["lab.*"], "actions": ["read"] })).await?;
    let own = submit(&narrow, json!({ "kind": "query", "sql": "SELECT n FROM lab.t" })).await?;
    until(&narrow, &own, "done").await?;
    assert_eq!(answers(&narrow, &own).await?, seen);
    assert_eq!(answers(&ann, &own).await?, seen);
    // It reaches what its token reaches, also in the background.
    owner.create("vault.t", &[("n", "bigint")]).await?.expect(201)?;
    let grant = json!({ "principal": "ann", "role": "reader", "dataset": "vault.t" });
    owner.send(Method::PUT, "/v1/grants", &grant).await?.expect(200)?;
    let beyond = json!({ "kind": "query", "sql": "SELECT n FROM vault.t" });
    narrow.post("/v1/jobs", &beyond).await?.expect_problem(404, "dataset_not_found")?;
    let fetch_only = limited(owner, json!({ "name": "c", "actions": ["manage"] })).await?;
    fetch_only.get(&format!("{path}/result")).await?.expect_problem(403, "denied")?;

    // One that is about a dataset.
    owner.post("/v1/datasets/lab/t/vacuum", &json!({})).await?.expect(200)?;
    let about = "dataset=lab.t&kind=vacuum";
    let list = keeper.get(&format!("/v1/jobs?{about}")).await?.expect(200)?.json()?;
    let path = format!("/v1/jobs/{}", list["items"][0]["id"].as_str().ok_or("no job")?);
    assert_eq!(list["items"][0]["dataset"], "lab.t");
    assert_eq!(listed(&reader, about).await?, [] as [Value; 0]);
    bob.get(&format!("/v1/jobs?{about}")).await?.expect_problem(404, "dataset_not_found")?;
    let seen = [200, 200, 200, 404, 202];
    for (told, client, expected) in [
        ("a maintainer", &keeper, seen),
        ("the owner", owner, seen),
        ("a reader", &reader, ABSENT),
        ("bob", &bob, ABSENT),
    ] {
        assert_eq!(answers(client, &path).await?, expected, "{told}");
    }
    keeper.get(&format!("{path}/result")).await?.expect_problem(404, "result_not_found")?;
    Ok(())
}

#[tokio::test]
async fn it_runs_with_the_rights_of_then() -> Result {
    let gateway = lakegate_e2e::Options::serve()?.setting("jobs.concurrent", "1").start().await?;
    let owner = gateway.client();
    owner.create("lab.t", &[("n", "bigint")]).await?.expect(201)?;
    let (ann, bob) = (principal(owner, "ann").await?, principal(owner, "bob").await?);
    for who in ["ann", "bob"] {
        let grant = json!({ "principal": who, "role": "reader", "dataset": "lab.t" });
        owner.send(Method::PUT, "/v1/grants", &grant).await?.expect(200)?;
    }
    let before = submit(owner, json!({ "kind": "query", "sql": crate::jobs::ENDLESS })).await?;
    until(owner, &before, "running").await?;
    let sql = json!({ "kind": "query", "sql": "SELECT n FROM lab.t" });
    let (of_ann, of_bob) = (submit(&ann, sql.clone()).await?, submit(&bob, sql).await?);
    owner.delete("/v1/grants?principal=ann&dataset=lab.t").await?.expect(204)?;
    owner.delete("/v1/principals/bob").await?.expect(204)?;
    owner.delete(&before).await?.expect(202)?;
    let job = until(&ann, &of_ann, "failed").await?;
    assert_eq!(job["error"]["code"], "dataset_not_found");
    // What somebody who is gone has left is not done any more.
    until(owner, &of_bob, "cancelled").await?;
    Ok(())
}

#[tokio::test]
async fn what_runs_ends_with_its_principal() -> Result {
    let gateway = Gateway::start().await?;
    let owner = gateway.client();
    let (ann, bob) = (principal(owner, "ann").await?, principal(owner, "bob").await?);
    let endless = json!({ "kind": "query", "sql": crate::jobs::ENDLESS });
    let (of_ann, of_bob) = (submit(&ann, endless.clone()).await?, submit(&bob, endless).await?);
    until(&ann, &of_ann, "running").await?;
    owner.delete("/v1/principals/ann").await?.expect(204)?;
    until(owner, &of_ann, "cancelled").await?;
    until(&bob, &of_bob, "running").await?;
    bob.delete(&of_bob).await?.expect(202)?;
    until(&bob, &of_bob, "cancelled").await?;
    Ok(())
}
