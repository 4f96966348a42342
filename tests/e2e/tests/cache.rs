//! GET /v1/query: an answer that a cache may keep, and asking whether it still holds.

use lakegate_e2e::{Answer, Client, Gateway, Options, Result};
use reqwest::Method;

const STRONGEST: &str = "SELECT id, mag FROM demo.earthquakes ORDER BY mag DESC, id LIMIT 3";

/// Escapes what would end a value in a URL.
fn escaped(text: &str) -> String {
    let keep = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    text.bytes().map(|byte| if keep(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

fn url(parameters: &[(&str, &str)]) -> String {
    let pairs: Vec<String> = parameters.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect();
    format!("/v1/query?{}", pairs.join("&"))
}

async fn again(client: &Client, path: &str, tag: &str) -> Result<Answer> {
    Answer::of(client.request(Method::GET, path).header("if-none-match", tag)).await
}

#[tokio::test]
async fn the_same_rows_as_with_post_in_every_format() -> Result {
    let gateway = Gateway::demo().await?;
    let client = gateway.client();
    let rows = client.rows(STRONGEST).await?;
    let answer = client.get(&url(&[("sql", STRONGEST)])).await?.expect(200)?;
    assert_eq!(answer.json()?["rows"], serde_json::Value::Array(rows));
    let csv = client.get(&url(&[("sql", STRONGEST), ("format", "csv")])).await?.expect(200)?;
    assert_eq!(csv.text().lines().count(), 4);
    let sql = "SELECT count(*) AS n FROM demo.airports WHERE state = $1 AND latitude > ?";
    client.get(&url(&[("sql", sql), ("params", r#"["TX", 30]"#)])).await?.expect_problem(400, "invalid_parameters")?;
    let sql = "SELECT count(*) AS n FROM demo.airports WHERE state = ? AND latitude > ?";
    let asked = client.get(&url(&[("sql", sql), ("params", r#"["TX", 30]"#)])).await?.expect(200)?.json()?;
    assert!(asked["rows"][0]["n"].as_u64() > Some(0), "{asked}");
    for (name, value) in
        [("params", "[1"), ("limit", "-1"), ("as_of", "soon"), ("as_of", "{"), ("other", "1"), ("timeout", "5")]
    {
        client.get(&url(&[("sql", "SELECT 1"), (name, value)])).await?.expect(400)?;
    }
    client.get("/v1/query").await?.expect_problem(400, "invalid_request")?;
    Ok(())
}

#[tokio::test]
async fn an_answer_holds_until_what_it_read_changes() -> Result {
    let gateway = Gateway::start().await?;
    let client = gateway.client();
    client.create("lab.steps", &[("id", "bigint")]).await?.expect(201)?;
    client.push("lab.steps", "{\"id\":1}\n").await?.expect(200)?;
    let path = url(&[("sql", "SELECT count(*) AS n FROM lab.steps")]);
    let pinned = url(&[("sql", "SELECT count(*) AS n FROM lab.steps"), ("as_of", r#"{"lab.steps": 1}"#)]);
    let first = client.get(&path).await?.expect(200)?;
    let tag = first.header("etag").to_owned();
    assert!(tag.starts_with("W/\""), "{:?}", first.headers);
    assert_eq!(first.header("cache-control"), "private, no-cache");
    assert_eq!(first.header("vary"), "Accept, Accept-Encoding, Authorization");

    let same = again(client, &path, &tag).await?.expect(304)?;
    assert_eq!((same.header("etag"), same.body.len()), (tag.as_str(), 0));
    again(client, &path, &format!("\"other\", {tag}")).await?.expect(304)?;
    again(client, &path, "W/\"other\"").await?.expect(200)?;
    let pinned_tag = client.get(&pinned).await?.expect(200)?.header("etag").to_owned();

    client.push("lab.steps", "{\"id\":2}\n").await?.expect(200)?;
    let changed = again(client, &path, &tag).await?.expect(200)?;
    assert_ne!(changed.header("etag"), tag);
    assert_eq!(changed.json()?["rows"][0]["n"], 2);
    again(client, &pinned, &pinned_tag).await?.expect(304)?;

    // A new dataset of the same name begins with the same versions.
    client.delete("/v1/datasets/lab/steps").await?.expect(204)?;
    client.create("lab.steps", &[("id", "bigint")]).await?.expect(201)?;
    client.push("lab.steps", "{\"id\":7}\n").await?.expect(200)?;
    assert_eq!(again(client, &path, &tag).await?.expect(200)?.json()?["rows"][0]["n"], 1);
    Ok(())
}

#[tokio::test]
async fn each_caller_and_each_question_has_its_own_tag() -> Result {
    let gateway = Gateway::demo().await?;
    let (owner, anyone) = (gateway.client(), gateway.client().anonymous());
    let mut tags = std::collections::BTreeSet::new();
    for (client, parameters) in [
        (owner, vec![("sql", STRONGEST)]),
        (&anyone, vec![("sql", STRONGEST)]),
        (&anyone, vec![("sql", STRONGEST), ("limit", "2")]),
        (&anyone, vec![("sql", STRONGEST), ("format", "csv")]),
        (&anyone, vec![("sql", "SELECT ? AS a"), ("params", "[1]")]),
        (&anyone, vec![("sql", "SELECT ? AS a"), ("params", "[2]")]),
    ] {
        let answer = client.get(&url(&parameters)).await?.expect(200)?;
        assert!(tags.insert(answer.header("etag").to_owned()), "{parameters:?}: {tags:?}");
    }
    let answer = anyone.get(&url(&[("sql", STRONGEST)])).await?.expect(200)?;
    assert_eq!(answer.header("cache-control"), "public, no-cache");
    Ok(())
}

/// Who may not see a dataset any more is not told that an answer at hand still holds.
#[tokio::test]
async fn a_tag_is_no_way_round_the_rights() -> Result {
    let gateway = Gateway::demo().await?;
    let path = url(&[("sql", "SELECT count(*) AS n FROM demo.flights")]);
    let anyone = gateway.client().anonymous();
    let tag = anyone.get(&path).await?.expect(200)?.header("etag").to_owned();
    gateway.client().delete("/v1/datasets/demo/flights").await?.expect(204)?;
    again(&anyone, &path, &tag).await?.expect_problem(404, "dataset_not_found")?;
    Ok(())
}

#[tokio::test]
async fn what_time_or_chance_decides_has_no_tag() -> Result {
    let gateway = Gateway::demo().await?;
    for sql in [
        "SELECT now() AS t",
        "SELECT current_date AS t",
        "SELECT current_timestamp AS t",
        "SELECT random() AS r",
        "SELECT uuid() AS r",
        "SELECT count(*) FROM demo.flights WHERE date < now()",
        "SELECT (SELECT max(random()) FROM demo.flights) AS r",
        "SELECT count(*) AS n FROM information_schema.tables",
        "SELECT count(*) AS n FROM demo.flights$versions",
        "EXPLAIN SELECT 1",
    ] {
        let answer = gateway.client().get(&url(&[("sql", sql)])).await?.expect(200)?;
        assert_eq!((answer.header("etag"), answer.header("cache-control")), ("", "no-store"), "{sql}");
    }
    let post = gateway.client().query("SELECT 1 AS a").await?.expect(200)?;
    assert_eq!(post.header("etag"), "");
    Ok(())
}

#[tokio::test]
async fn a_url_has_a_bound() -> Result {
    let gateway = Gateway::start().await?;
    let long = format!("SELECT 1 AS a -- {}", "x".repeat(17_000));
    gateway.client().get(&url(&[("sql", &long)])).await?.expect_problem(414, "uri_too_long")?;
    Ok(())
}

/// A cache that keeps whole answers must not keep one that ended with an error.
#[tokio::test]
async fn an_answer_that_fails_late_is_cut_off() -> Result {
    let gateway = Options::serve()?.start().await?;
    let sql = "SELECT 1 / (value - 3000000) AS x FROM generate_series(1, 5000000)";
    let request = gateway.client().request(Method::GET, &url(&[("sql", sql), ("format", "ndjson")]));
    let response = request.send().await?;
    assert_eq!(response.status().as_u16(), 200);
    assert!(response.headers().contains_key("etag"));
    assert!(response.bytes().await.is_err(), "it ended as if it were whole");
    Ok(())
}
