//! Changing a dataset: description, visibility, new columns, and who may.

use lakegate_e2e::client::dataset_path;
use lakegate_e2e::{Answer, Client, Gateway, Result};
use reqwest::Method;
use serde_json::{Value, json};

async fn change(client: &Client, dataset: &str, body: &Value) -> Result<Answer> {
    client.send(Method::PATCH, &dataset_path(dataset), body).await
}

/// Adds a nullable column.
async fn add(client: &Client, dataset: &str, name: &str, ty: &str) -> Result<Answer> {
    change(client, dataset, &json!({ "add_columns": [{ "name": name, "type": ty }] })).await
}

/// A new principal with a role on a dataset.
async fn with_role(gateway: &Gateway, name: &str, role: &str, dataset: &str) -> Result<Client> {
    let owner = gateway.client();
    owner.post("/v1/principals", &json!({ "name": name })).await?.expect(201)?;
    let grant = json!({ "principal": name, "role": role, "dataset": dataset });
    owner.send(Method::PUT, "/v1/grants", &grant).await?.expect(200)?;
    let token = owner.post("/v1/tokens", &json!({ "principal": name, "name": "test" })).await?.expect(201)?.json()?;
    Ok(owner.with_token(token["token"].as_str().ok_or("no token")?))
}

#[tokio::test]
async fn new_columns_are_null_in_old_rows_and_taken_by_new_pushes() -> Result {
    let gateway = Gateway::start().await?;
    let client = gateway.client();
    client.create("lab.readings", &[("id", "bigint")]).await?.expect(201)?;
    client.push("lab.readings", "{\"id\":1}\n").await?.expect(200)?;
    let changed = json!({ "description": "In the attic", "add_columns": [
        { "name": "Größe (m)", "type": "double" }, { "name": "seen", "type": "timestamp_ntz" },
        { "name": "tags", "type": "list<struct<k: string, v: int>>" },
    ] });
    let now = change(client, "lab.readings", &changed).await?.expect(200)?.json()?;
    assert_eq!((&now["description"], &now["version"]), (&json!("In the attic"), &json!(2)));
    assert_eq!(now["schema"][1], json!({ "name": "Größe (m)", "type": "double", "nullable": true }));
    let again = change(client, "lab.readings", &changed).await?.expect(200)?.json()?;
    assert_eq!(again["version"], 2, "what is there already makes no version");

    let row = json!({ "id": 2, "Größe (m)": 1.5, "seen": "2026-01-31T10:00:00", "tags": [{ "k": "a", "v": 1 }] });
    client.push("lab.readings", format!("{row}\n")).await?.expect(200)?;
    let rows =
        client.rows("SELECT id, \"Größe (m)\" AS size, seen IS NULL AS unseen FROM lab.readings ORDER BY id").await?;
    assert_eq!(
        rows,
        [json!({ "id": 1, "size": null, "unseen": true }), json!({ "id": 2, "size": 1.5, "unseen": false })]
    );
    let listed =
        client.rows("SELECT count(*) AS n FROM information_schema.columns WHERE table_name = 'readings'").await?;
    assert_eq!(listed[0]["n"], 4);

    let cleared = change(client, "lab.readings", &json!({ "description": null })).await?.expect(200)?.json()?;
    assert_eq!(cleared["description"], "");
    let same = change(client, "lab.readings", &json!({})).await?.expect(200)?.json()?;
    assert_eq!(same["updated_at"], cleared["updated_at"]);
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_changed_is_refused_and_nothing_else_is_done() -> Result {
    let gateway = Gateway::start().await?;
    let client = gateway.client();
    client.create("lab.readings", &[("id", "bigint")]).await?.expect(201)?;
    let column = |name: &str, ty: &str| json!({ "add_columns": [{ "name": name, "type": ty }], "description": "x" });
    for (body, status, code) in [
        (column("ID", "bigint"), 409, "column_exists"),
        (column("id", "string"), 409, "column_exists"),
        (column("_hidden", "int"), 400, "invalid_name"),
        (column("when", "datetime"), 400, "invalid_type"),
        (column("where", "geometry"), 400, "unsupported_type"),
        (json!({ "add_columns": [{ "name": "must", "type": "int", "nullable": false }] }), 400, "schema_mismatch"),
        (json!({ "visibility": null }), 400, "invalid_json"),
        (json!({ "visibility": "shared" }), 400, "invalid_json"),
        (json!({ "name": "lab.other" }), 400, "invalid_json"),
        (json!({ "description": "x".repeat(10_001) }), 400, "invalid_name"),
    ] {
        change(client, "lab.readings", &body).await?.expect_problem(status, code)?;
    }
    let many: Vec<_> = (0..1_000).map(|n| json!({ "name": format!("c{n}"), "type": "int" })).collect();
    change(client, "lab.readings", &json!({ "add_columns": many })).await?.expect_problem(413, "too_many_columns")?;
    let shown = client.get(&dataset_path("lab.readings")).await?.json()?;
    assert_eq!((&shown["description"], &shown["version"]), (&json!(""), &json!(0)));
    change(client, "lab.nothing", &json!({})).await?.expect_problem(404, "dataset_not_found")?;
    Ok(())
}

#[tokio::test]
async fn maintainers_alter_and_owners_publish() -> Result {
    let gateway = Gateway::start().await?;
    gateway.client().create("lab.readings", &[("id", "bigint")]).await?.expect(201)?;
    let writer = with_role(&gateway, "walt", "writer", "lab.readings").await?;
    let maintainer = with_role(&gateway, "maya", "maintainer", "lab.readings").await?;
    let owner = with_role(&gateway, "olga", "owner", "lab.readings").await?;
    let public = json!({ "visibility": "public" });

    change(&gateway.client().anonymous(), "lab.readings", &public).await?.expect(404)?;
    add(&writer, "lab.readings", "a", "int").await?.expect_problem(403, "denied")?;
    add(&maintainer, "lab.readings", "a", "int").await?.expect(200)?;
    maintainer.push("lab.readings", "{\"id\":1,\"a\":2}\n").await?.expect(200)?;
    change(&maintainer, "lab.readings", &public).await?.expect_problem(403, "denied")?;
    maintainer.delete(&dataset_path("lab.readings")).await?.expect_problem(403, "denied")?;
    let grant = json!({ "principal": "walt", "role": "maintainer", "dataset": "lab.readings" });
    maintainer.send(Method::PUT, "/v1/grants", &grant).await?.expect_problem(403, "denied")?;
    owner.send(Method::PUT, "/v1/grants", &grant).await?.expect(200)?;
    add(&writer, "lab.readings", "b", "int").await?.expect(200)?;

    change(&owner, "lab.readings", &public).await?.expect(200)?;
    assert_eq!(gateway.client().anonymous().count("lab.readings").await?, 1);
    change(&owner, "lab.readings", &json!({ "visibility": "private" })).await?.expect(200)?;
    gateway.client().anonymous().get(&dataset_path("lab.readings")).await?.expect(404)?;
    Ok(())
}

#[tokio::test]
async fn pushes_and_new_columns_at_the_same_time_lose_nothing() -> Result {
    let gateway = Gateway::start().await?;
    let client = gateway.client();
    client.create("lab.readings", &[("id", "bigint")]).await?.expect(201)?;
    let pushes =
        (0..30).map(|id| async move { client.push("lab.readings", format!("{{\"id\":{id}}}\n")).await?.expect(200) });
    let columns =
        (0..8).map(|n| async move { add(client, "lab.readings", &format!("c{n}"), "string").await?.expect(200) });
    let (pushed, added) = tokio::join!(futures::future::join_all(pushes), futures::future::join_all(columns));
    for done in pushed.into_iter().chain(added) {
        done?;
    }
    assert_eq!(client.count("lab.readings").await?, 30);
    let shown = client.get(&dataset_path("lab.readings")).await?.json()?;
    // Compaction may have made versions of its own.
    assert!(shown["version"].as_u64() >= Some(38), "{}", shown["version"]);
    assert_eq!(shown["schema"].as_array().map(Vec::len), Some(9));
    Ok(())
}

/// As after a crash between the commit to the table and the one to the catalog.
#[tokio::test]
async fn a_catalog_that_does_not_know_a_new_column_learns_it() -> Result {
    let gateway = Gateway::start().await?;
    gateway.client().create("lab.readings", &[("id", "bigint")]).await?.expect(201)?;
    let (options, _) = gateway.stop().await?;
    let (catalog, kept) = (options.data_dir().join("catalog.db"), options.folder().join("kept.db"));
    std::fs::copy(&catalog, &kept)?;
    let gateway = options.start().await?;
    add(gateway.client(), "lab.readings", "a", "int").await?.expect(200)?;
    let (options, _) = gateway.stop().await?;
    std::fs::copy(&kept, &catalog)?;

    let gateway = options.start().await?;
    let client = gateway.client();
    client.push("lab.readings", "{\"id\":1,\"a\":2}\n").await?.expect(200)?;
    let shown = client.get(&dataset_path("lab.readings")).await?.json()?;
    assert_eq!(shown["schema"][1]["name"], "a");
    let listed =
        client.rows("SELECT column_name FROM information_schema.columns WHERE table_name = 'readings'").await?;
    assert_eq!(listed.len(), 2, "{listed:?}");
    Ok(())
}
