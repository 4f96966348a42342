//! Datasets: create, list, show, delete, and the names and schemas that are refused.

use lakegate_e2e::client::dataset_path;
use lakegate_e2e::{Gateway, Result};
use serde_json::json;

#[tokio::test]
async fn a_dataset_is_created_shown_and_deleted() -> Result {
    let gateway = Gateway::start().await?;
    let client = gateway.client();
    let body = json!({
        "name": "shop.orders",
        "description": "What was bought",
        "schema": [
            { "name": "id", "type": "bigint", "nullable": false },
            { "name": "price", "type": "decimal(10,2)" },
            { "name": "lines", "type": "list<struct<sku: string, count: int>>" },
        ],
    });
    let created = client.post("/v1/datasets", &body).await?.expect(201)?;
    assert!(created.header("location").ends_with("/v1/datasets/shop/orders"), "{}", created.header("location"));

    let shown = client.get(&dataset_path("shop.orders")).await?.expect(200)?.json()?;
    assert_eq!(shown["name"], "shop.orders");
    assert_eq!(shown["kind"], "root");
    assert_eq!(shown["visibility"], "private");
    assert_eq!(shown["merge"], "append");
    assert_eq!(shown["version"], 0);
    assert_eq!(shown["schema"][0], json!({ "name": "id", "type": "bigint", "nullable": false }));
    assert_eq!(shown["schema"][2]["type"], "list<struct<sku: string, count: int>>");

    client.post("/v1/datasets", &body).await?.expect_problem(409, "already_exists")?;
    client.delete(&dataset_path("shop.orders")).await?.expect(204)?;
    client.get(&dataset_path("shop.orders")).await?.expect(404)?;
    client.query("SELECT * FROM shop.orders").await?.expect_problem(404, "dataset_not_found")?;
    client.post("/v1/datasets", &body).await?.expect(201)?;
    assert_eq!(client.count("shop.orders").await?, 0, "a name can be used again, and starts empty");
    Ok(())
}

#[tokio::test]
async fn a_list_is_read_page_by_page() -> Result {
    let gateway = Gateway::start().await?;
    let client = gateway.client();
    for n in 0..7 {
        client.create(&format!("many.t{n}"), &[("id", "bigint")]).await?.expect(201)?;
    }
    let mut names = Vec::new();
    let mut path = "/v1/datasets?limit=3".to_owned();
    loop {
        let page = client.get(&path).await?.expect(200)?.json()?;
        let items = page["items"].as_array().ok_or("no items")?;
        assert!(items.len() <= 3);
        names.extend(items.iter().filter_map(|item| item["name"].as_str()).map(str::to_owned));
        match page.get("next").and_then(|next| next.as_str()) {
            Some(next) => path = format!("/v1/datasets?limit=3&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(names, (0..7).map(|n| format!("many.t{n}")).collect::<Vec<_>>());
    client.get("/v1/datasets?cursor=nonsense").await?.expect(400)?;
    client.get("/v1/datasets?limit=0").await?.expect(400)?;
    Ok(())
}

#[tokio::test]
async fn bad_names_and_schemas_are_refused_with_the_rule() -> Result {
    let gateway = Gateway::start().await?;
    let client = gateway.client();
    let id = json!([{ "name": "id", "type": "bigint" }]);
    let long = format!("shop.{}", "a".repeat(64));
    for name in [
        "orders",
        "Shop.orders",
        "shop.1st",
        "shop.or-ders",
        "system.t",
        "information_schema.t",
        "lake.t",
        "a.b.c",
        &long,
        "",
    ] {
        let answer = client.post("/v1/datasets", &json!({ "name": name, "schema": id })).await?;
        assert_eq!(answer.status, 400, "{name}: {}", answer.text());
        assert!(answer.code().is_some(), "{name}: {}", answer.text());
    }
    for schema in [
        json!([]),
        json!([{ "name": "a", "type": "integer" }]),
        json!([{ "name": "_a", "type": "int" }]),
        json!([{ "name": "a", "type": "int" }, { "name": "A", "type": "int" }]),
        json!([{ "name": "", "type": "int" }]),
        json!([{ "name": "a" }]),
        json!("id bigint"),
    ] {
        let answer = client.post("/v1/datasets", &json!({ "name": "shop.orders", "schema": schema })).await?;
        assert!(answer.status == 400 && answer.code().is_some(), "{schema}: {} {}", answer.status, answer.text());
    }
    let misspelt = json!({ "name": "shop.orders", "schema": id, "visiblity": "public" });
    client.post("/v1/datasets", &misspelt).await?.expect(400)?;
    assert_eq!(client.get("/v1/datasets").await?.expect(200)?.json()?["items"], json!([]));
    Ok(())
}

#[tokio::test]
async fn every_type_takes_its_values_back_out_as_they_went_in() -> Result {
    let gateway = Gateway::start().await?;
    let client = gateway.client();
    let columns = [
        ("a", "boolean", json!(true)),
        ("b", "smallint", json!(-32768)),
        ("c", "int", json!(2147483647)),
        ("d", "bigint", json!("9223372036854775807")),
        ("e", "real", json!(1.5)),
        ("f", "double", json!(0.1)),
        ("g", "decimal(38,9)", json!("12345678901234567890123456789.123456789")),
        ("h", "string", json!("Zürich \u{1F30D} \"quoted\"\n")),
        ("i", "binary", json!("AP8Q")),
        ("j", "date", json!("2024-02-29")),
        ("k", "timestamp", json!("2024-02-29T23:59:59.123456Z")),
        ("l", "timestamp_ntz", json!("2024-02-29T23:59:59")),
        ("m", "list<int>", json!([1, null, 3])),
        ("n", "struct<x: double, y: string>", json!({ "x": 1.25, "y": null })),
        ("o", "map<string,int>", json!([["k", 1]])),
    ];
    let pairs: Vec<_> = columns.iter().map(|(name, ty, _)| (*name, *ty)).collect();
    client.create("lab.types", &pairs).await?.expect(201)?;
    let row: serde_json::Map<_, _> =
        columns.iter().map(|(name, _, value)| ((*name).to_owned(), value.clone())).collect();
    let row = serde_json::Value::Object(row);
    client.push("lab.types", format!("{row}\n{{}}\n")).await?.expect(200)?;
    let rows = client.rows("SELECT * FROM lab.types ORDER BY a NULLS LAST").await?;
    assert_eq!(rows.first(), Some(&row));
    assert!(
        rows.get(1).and_then(|row| row.as_object()).is_some_and(|row| row.values().all(serde_json::Value::is_null))
    );
    Ok(())
}

#[tokio::test]
async fn versions_are_listed_page_by_page() -> Result {
    let gateway = Gateway::start().await?;
    let client = gateway.client();
    client.create("lab.readings", &[("id", "bigint")]).await?.expect(201)?;
    for id in 0..4 {
        client.push("lab.readings", format!("{{\"id\":{id}}}\n{{\"id\":{id}}}\n")).await?.expect(200)?;
    }
    let path = format!("{}/versions", dataset_path("lab.readings"));
    let (mut seen, mut next) = (Vec::new(), format!("{path}?limit=2"));
    loop {
        let page = client.get(&next).await?.expect(200)?.json()?;
        for item in page["items"].as_array().ok_or("no items")? {
            assert_eq!(item["rows_added"], if item["version"] == 0 { 0 } else { 2 }, "{item}");
            assert!(item["timestamp"].is_string() && item["operation"].is_string(), "{item}");
            seen.push(item["version"].as_u64());
        }
        match page["next"].as_str() {
            Some(cursor) => next = format!("{path}?limit=2&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(seen, (0..=4).rev().map(Some).collect::<Vec<_>>());
    client.get(&format!("{path}?cursor=x")).await?.expect_problem(400, "invalid_request")?;
    client.anonymous().get(&path).await?.expect_problem(404, "dataset_not_found")?;
    Ok(())
}

#[tokio::test]
async fn rows_are_read_page_by_page_from_one_version() -> Result {
    let gateway = Gateway::start().await?;
    let client = gateway.client();
    client.create("lab.readings", &[("id", "bigint"), ("a \"b\"", "string")]).await?.expect(201)?;
    for start in [0, 100, 200] {
        let rows: String = (start..start + 100).map(|id| format!("{{\"id\":{id},\"a \\\"b\\\"\":\"x\"}}\n")).collect();
        client.push("lab.readings", rows).await?.expect(200)?;
    }
    let path = format!("{}/rows", dataset_path("lab.readings"));
    let mut ids = Vec::new();
    let mut cursors = Vec::new();
    let mut next = format!("{path}?limit=70&columns=id");
    loop {
        let page = client.get(&next).await?.expect(200)?;
        assert_eq!(page.header("lakegate-versions"), "lab.readings=3");
        ids.extend(page.json()?["rows"].as_array().ok_or("no rows")?.iter().filter_map(|row| row["id"].as_u64()));
        // What comes meanwhile belongs to another version.
        client.push("lab.readings", "{\"id\":999}\n").await?.expect(200)?;
        match page.header("lakegate-next-cursor") {
            "" => break,
            cursor => {
                next = format!("{path}?limit=70&columns=id&cursor={cursor}");
                cursors.push(cursor.to_owned());
            }
        }
    }
    assert_eq!(ids, (0..300).collect::<Vec<_>>(), "each once, in the order of the files");
    let csv = client.get(&format!("{path}?format=csv")).await?.expect(200)?.text();
    assert_eq!(csv.lines().count(), 1 + 305, "other formats answer all");
    for (query, status, code) in [
        ("columns=nope", 400, "unknown_column"),
        ("cursor=1", 400, "invalid_request"),
        (&format!("cursor={}", cursors[0].replacen("3.", "99.", 1)), 404, "version_not_found"),
        ("limit=0", 400, "invalid_request"),
        ("format=xml", 406, "not_acceptable"),
    ] {
        client.get(&format!("{path}?{query}")).await?.expect_problem(status, code)?;
    }
    client.anonymous().get(&path).await?.expect_problem(404, "dataset_not_found")?;

    // Another dataset of that name is not read on in.
    client.delete(&dataset_path("lab.readings")).await?.expect(204)?;
    client.create("lab.readings", &[("id", "bigint")]).await?.expect(201)?;
    for _ in 0..3 {
        client.push("lab.readings", "{\"id\":7}\n{\"id\":8}\n").await?.expect(200)?;
    }
    let other = client.get(&format!("{path}?limit=1&cursor={}", cursors[0])).await?;
    other.expect_problem(404, "version_not_found")?;
    Ok(())
}
