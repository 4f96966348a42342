//! `/openapi.json` and the routes say the same.

use lakegate_e2e::{Answer, Gateway, Result};
use reqwest::Method;
use serde_json::{Value, json};

const METHODS: [&str; 5] = ["get", "post", "put", "delete", "patch"];

/// Every operation of the document: method and path.
fn operations(document: &Value) -> Vec<(String, String)> {
    let paths = document["paths"].as_object().into_iter().flatten();
    paths
        .flat_map(|(path, item)| {
            METHODS
                .iter()
                .filter(move |method| item.get(**method).is_some())
                .map(move |m| ((*m).to_owned(), path.clone()))
        })
        .collect()
}

fn filled(path: &str) -> String {
    path.split('/').map(|part| if part.starts_with('{') { "absent" } else { part }).collect::<Vec<_>>().join("/")
}

#[tokio::test]
async fn every_documented_operation_exists_and_no_other_method_does() -> Result {
    let gateway = Gateway::start().await?;
    let client = gateway.client();
    let document = client.get("/openapi.json").await?.expect(200)?.json()?;
    let documented = operations(&document);
    assert!(documented.len() >= 15, "{documented:?}");
    for (path, _) in document["paths"].as_object().into_iter().flatten() {
        for method in METHODS {
            let call = Method::from_bytes(method.to_uppercase().as_bytes())?;
            // Else the answer would not end.
            let query = if path == "/v1/events" { "?wait=0" } else { "" };
            let answer = Answer::of(client.request(call, &(filled(path) + query)).json(&json!({}))).await?;
            let known = documented.contains(&(method.to_owned(), path.clone()));
            assert_eq!(answer.status != 405, known, "{method} {path}: {} {}", answer.status, answer.text());
            assert!(!answer.text().contains("there is nothing at"), "{method} {path}: {}", answer.text());
        }
    }
    Ok(())
}

/// What this project promises to clients; a route that is here and not in the document is undocumented.
const ROUTES: &[(&str, &str)] = &[
    ("get", "/healthz"),
    ("get", "/readyz"),
    ("get", "/metrics"),
    ("get", "/openapi.json"),
    ("get", "/docs"),
    ("get", "/v1/whoami"),
    ("get", "/v1/datasets"),
    ("post", "/v1/datasets"),
    ("get", "/v1/datasets/{namespace}/{name}"),
    ("patch", "/v1/datasets/{namespace}/{name}"),
    ("delete", "/v1/datasets/{namespace}/{name}"),
    ("post", "/v1/datasets/{namespace}/{name}/ingest"),
    ("get", "/v1/datasets/{namespace}/{name}/rows"),
    ("get", "/v1/datasets/{namespace}/{name}/versions"),
    ("get", "/v1/datasets/{namespace}/{name}/policy"),
    ("put", "/v1/datasets/{namespace}/{name}/policy"),
    ("delete", "/v1/datasets/{namespace}/{name}/policy"),
    ("get", "/v1/receipts/{receipt}"),
    ("post", "/v1/query"),
    ("get", "/v1/query"),
    ("get", "/v1/queries"),
    ("get", "/v1/queries/{id}"),
    ("delete", "/v1/queries/{id}"),
    ("get", "/v1/jobs"),
    ("post", "/v1/jobs"),
    ("get", "/v1/jobs/{id}"),
    ("delete", "/v1/jobs/{id}"),
    ("get", "/v1/jobs/{id}/log"),
    ("get", "/v1/jobs/{id}/events"),
    ("get", "/v1/jobs/{id}/result"),
    ("get", "/v1/events"),
    ("get", "/v1/namespaces"),
    ("post", "/v1/namespaces"),
    ("delete", "/v1/namespaces/{name}"),
    ("get", "/v1/groups"),
    ("post", "/v1/groups"),
    ("delete", "/v1/groups/{name}"),
    ("get", "/v1/groups/{name}/members"),
    ("put", "/v1/groups/{name}/members/{principal}"),
    ("delete", "/v1/groups/{name}/members/{principal}"),
    ("post", "/v1/login"),
    ("put", "/v1/principals/{name}/password"),
    ("delete", "/v1/principals/{name}/password"),
    ("get", "/v1/principals"),
    ("post", "/v1/principals"),
    ("delete", "/v1/principals/{name}"),
    ("get", "/v1/tokens"),
    ("post", "/v1/tokens"),
    ("delete", "/v1/tokens/{id}"),
    ("get", "/v1/grants"),
    ("put", "/v1/grants"),
    ("delete", "/v1/grants"),
];

#[tokio::test]
async fn every_route_is_documented() -> Result {
    let gateway = Gateway::start().await?;
    let document = gateway.client().get("/openapi.json").await?.expect(200)?.json()?;
    // Names in braces may differ; their places may not.
    let shape =
        |path: &str| path.split('/').map(|p| if p.starts_with('{') { "{}" } else { p }).collect::<Vec<_>>().join("/");
    let documented: Vec<_> = operations(&document).into_iter().map(|(method, path)| (method, shape(&path))).collect();
    for (method, path) in ROUTES {
        assert!(documented.contains(&((*method).to_owned(), shape(path))), "{method} {path} is not in the document");
    }
    Ok(())
}

#[tokio::test]
async fn every_reference_leads_somewhere_and_every_operation_is_described() -> Result {
    let gateway = Gateway::start().await?;
    let document = gateway.client().get("/openapi.json").await?.expect(200)?.json()?;
    let mut references = Vec::new();
    collect_references(&document, &mut references);
    assert!(!references.is_empty());
    for reference in references {
        let pointer = reference.strip_prefix('#').ok_or("a reference outside")?;
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
    for (method, path) in operations(&document) {
        let operation = &document["paths"][&path][&method];
        let described = operation["summary"].is_string() || operation["description"].is_string();
        assert!(described, "{method} {path} is not described");
        assert!(operation["responses"].as_object().is_some_and(|r| !r.is_empty()), "{method} {path} has no answers");
        assert!(operation["operationId"].is_string(), "{method} {path} has no operationId");
    }
    Ok(())
}

fn collect_references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get("$ref").and_then(Value::as_str).map(str::to_owned));
            members.values().for_each(|member| collect_references(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| collect_references(item, found)),
        _ => {}
    }
}

#[tokio::test]
async fn a_path_that_is_no_route_is_a_problem_document() -> Result {
    let gateway = Gateway::start().await?;
    for path in ["/v1/nothing", "/v2/datasets", "/favicon.txt"] {
        let answer = gateway.client().get(path).await?.expect(404)?;
        assert!(answer.code().is_some(), "{path}: {}", answer.text());
    }
    let page = gateway.client().anonymous().get("/").await?.expect(200)?;
    assert!(page.header("content-type").starts_with("text/html"));
    assert!(page.text().contains("/openapi.json"));
    Ok(())
}

/// The page works on a machine without a network: it and its parts come from here, and the browser is told to
/// take nothing from elsewhere.
#[tokio::test]
async fn the_page_of_the_api_asks_no_other_host() -> Result {
    let gateway = Gateway::start().await?;
    let client = gateway.client().anonymous();
    assert!(client.get("/").await?.expect(200)?.text().contains("href=\"/docs/\""));
    let page = client.get("/docs").await?.expect(200)?;
    let policy = page.header("content-security-policy").to_owned();
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("http") && !policy.contains('*'), "{policy}");
    let text = page.text();
    let parts: Vec<&str> = ["src=\"", "href=\""]
        .iter()
        .flat_map(|mark| text.split(mark).skip(1).filter_map(|rest| rest.split('"').next()))
        .collect();
    assert!(parts.len() >= 4, "{text}");
    for part in parts {
        assert!(!part.contains("//"), "{part} is somewhere else");
        client.get(&format!("/docs/{}", part.trim_start_matches("./"))).await?.expect(200)?;
    }
    let start = client.get("/docs/swagger-initializer.js").await?.expect(200)?.text();
    assert!(start.contains("/openapi.json") && !start.contains("http"), "{start}");
    client.get("/docs/none.js").await?.expect_problem(404, "not_found")?;
    Ok(())
}
