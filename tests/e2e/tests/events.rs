//! The feed of events, as a client of server-sent events reads it.

use std::time::Duration;

use futures::StreamExt as _;
use lakegate_e2e::recorder::Recorder;
use lakegate_e2e::{Client, Companion, Gateway, Result};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::timeout;

/// How long an event may take to come.
const SOON: Duration = Duration::from_secs(20);

/// Someone who follows.
struct Follower {
    body: futures::stream::BoxStream<'static, reqwest::Result<bytes::Bytes>>,
    unread: String,
}

impl Follower {
    async fn after(client: &Client, after: &str) -> Result<Self> {
        let response = client.request(Method::GET, &format!("/v1/events{after}")).send().await?;
        assert_eq!(response.status().as_u16(), 200);
        assert!(response.headers()["content-type"].to_str()?.starts_with("text/event-stream"));
        Ok(Self { body: response.bytes_stream().boxed(), unread: String::new() })
    }

    /// The next event: its name, and what it says.
    async fn next(&mut self) -> Result<(String, Value)> {
        loop {
            while let Some((message, rest)) = self.unread.split_once("\n\n") {
                let field = |name: &str| message.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
                let read = field("event:").zip(field("data:"));
                let read =
                    read.map(|(kind, data)| Ok::<_, serde_json::Error>((kind.to_owned(), serde_json::from_str(data)?)));
                self.unread = rest.to_owned();
                if let Some(read) = read {
                    return Ok(read?);
                }
            }
            let piece = timeout(SOON, self.body.next()).await?.ok_or("the feed ended")??;
            self.unread.push_str(&String::from_utf8_lossy(&piece));
        }
    }

    /// The next events: name and dataset of each.
    async fn take(&mut self, count: usize) -> Result<Vec<String>> {
        let mut all = Vec::new();
        for _ in 0..count {
            let (kind, data) = self.next().await?;
            all.push(format!("{kind} {}", data["dataset"].as_str().unwrap_or_default()).trim().to_owned());
        }
        Ok(all)
    }
}

async fn principal(owner: &Client, name: &str) -> Result<Client> {
    owner.post("/v1/principals", &json!({ "name": name })).await?.expect(201)?;
    let made = owner.post("/v1/tokens", &json!({ "principal": name, "name": "test" })).await?.expect(201)?.json()?;
    Ok(owner.with_token(made["token"].as_str().ok_or("a token")?))
}

#[tokio::test]
async fn everyone_follows_what_it_may_see() -> Result {
    let gateway = Gateway::start().await?;
    let owner = gateway.client();
    let ada = principal(owner, "ada").await?;
    let mut of_owner = Follower::after(owner, "").await?;
    let mut of_ada = Follower::after(&ada, "").await?;
    for (name, visibility) in [("lab.closed", "private"), ("lab.open", "public")] {
        let schema = json!([{ "name": "n", "type": "bigint" }]);
        owner
            .post("/v1/datasets", &json!({ "name": name, "visibility": visibility, "schema": schema }))
            .await?
            .expect(201)?;
    }
    assert_eq!(of_owner.take(2).await?, ["dataset_created lab.closed", "dataset_created lab.open"]);
    owner.push("lab.closed", "{\"n\":1}\n").await?.expect(200)?;
    assert_eq!(of_owner.take(1).await?, ["version_committed lab.closed"]);
    owner.push("lab.open", "{\"n\":1}\n").await?.expect(200)?;
    let (kind, told) = of_owner.next().await?;
    assert_eq!(
        (kind.as_str(), &told["dataset"], &told["version"]),
        ("version_committed", &json!("lab.open"), &json!(1))
    );
    owner.send(Method::PATCH, "/v1/datasets/lab/open", &json!({ "description": "told" })).await?.expect(200)?;
    let grant = json!({ "principal": "ada", "role": "reader", "dataset": "lab.closed" });
    owner.send(Method::PUT, "/v1/grants", &grant).await?.expect(200)?;
    owner.push("lab.closed", "{\"n\":2}\n").await?.expect(200)?;
    owner.delete("/v1/datasets/lab/open").await?.expect(204)?;
    let rest = ["dataset_changed lab.open", "rights_changed"];
    assert_eq!(of_owner.take(2).await?, rest);
    // Versions are told a moment later than what the catalog itself changes.
    let mut last = of_owner.take(2).await?;
    last.sort();
    assert_eq!(last, ["dataset_dropped lab.open", "version_committed lab.closed"]);

    // What is hidden is left out, and what is granted comes from then on.
    let seen = of_ada.take(4).await?;
    assert_eq!(
        seen,
        [
            "dataset_created lab.open",
            "version_committed lab.open",
            "dataset_changed lab.open",
            "version_committed lab.closed"
        ]
    );
    Ok(())
}

#[tokio::test]
async fn who_loses_group_or_token_is_told_nothing_more() -> Result {
    let gateway = Gateway::start().await?;
    let owner = gateway.client();
    let ada = principal(owner, "ada").await?;
    owner.post("/v1/groups", &json!({ "name": "crew" })).await?.expect(201)?;
    owner.call(Method::PUT, "/v1/groups/crew/members/ada").await?.expect(204)?;
    owner.create("lab.closed", &[("n", "bigint")]).await?.expect(201)?;
    let grant = json!({ "group": "crew", "role": "reader", "dataset": "lab.closed" });
    owner.send(Method::PUT, "/v1/grants", &grant).await?.expect(200)?;
    let mut of_ada = Follower::after(&ada, "").await?;
    owner.push("lab.closed", "{\"n\":1}\n").await?.expect(200)?;
    assert_eq!(of_ada.take(1).await?, ["version_committed lab.closed"]);
    owner.delete("/v1/groups/crew/members/ada").await?.expect(204)?;
    owner.push("lab.closed", "{\"n\":2}\n").await?.expect(200)?;
    let open = json!({ "name": "lab.open", "visibility": "public", "schema": [{ "name": "n", "type": "bigint" }] });
    owner.post("/v1/datasets", &open).await?.expect(201)?;
    assert_eq!(of_ada.take(1).await?, ["dataset_created lab.open"]);
    let tokens = owner.get("/v1/tokens?principal=ada").await?.expect(200)?.json()?;
    let id = tokens["items"][0]["id"].as_str().ok_or("a token")?.to_owned();
    owner.delete(&format!("/v1/tokens/{id}")).await?.expect(204)?;
    owner.push("lab.open", "{\"n\":1}\n").await?.expect(200)?;
    assert_eq!(of_ada.next().await.expect_err("it has ended").to_string(), "the feed ended");
    Ok(())
}

#[tokio::test]
async fn a_follower_goes_on_where_it_was_also_after_a_restart() -> Result {
    let gateway = Gateway::start().await?;
    let owner = gateway.client();
    owner.create("lab.t", &[("n", "bigint")]).await?.expect(201)?;
    let mut from_start = Follower::after(owner, "?after=0").await?;
    let (kind, first) = loop {
        let (kind, told) = from_start.next().await?;
        if kind != "rights_changed" {
            break (kind, told);
        }
    };
    assert_eq!(kind, "dataset_created");
    owner.push("lab.t", "{\"n\":1}\n").await?.expect(200)?;
    assert_eq!(from_start.take(1).await?, ["version_committed lab.t"]);
    let stopped = gateway.kill().await?;
    let gateway = stopped.start().await?;
    let mut again = Follower::after(gateway.client(), &format!("?after={}", first["id"])).await?;
    assert_eq!(again.take(1).await?, ["version_committed lab.t"]);
    gateway.client().push("lab.t", "{\"n\":2}\n").await?.expect(200)?;
    let (_, told) = again.next().await?;
    assert_eq!(told["version"], 2);
    // A stop does not wait for those who listen.
    let told = gateway.client().get("/v1/events?after=0&wait=0").await?.expect(200)?.text();
    assert!(told.contains("event: dataset_created") && told.contains("\"version\":2"), "{told}");
    let bad = gateway.client().request(Method::GET, "/v1/events").header("last-event-id", "x").send().await?;
    assert_eq!(bad.status().as_u16(), 400);
    gateway.client().get("/v1/events?after=-1").await?.expect(400)?;
    let listens = Follower::after(gateway.client(), "").await?;
    assert!(gateway.stop().await?.1.success(), "it was held up");
    drop(listens);
    Ok(())
}

#[tokio::test]
async fn whoever_was_told_what_never_happened_begins_anew() -> Result {
    let gateway = Gateway::start().await?;
    let owner = gateway.client();
    owner.create("lab.t", &[("n", "bigint")]).await?.expect(201)?;
    // As after the catalog was put back to what it was before.
    let mut astray = Follower::after(owner, "?after=99999999").await?;
    assert_eq!(astray.next().await?.0, "missed");
    while astray.take(1).await? != ["dataset_created lab.t"] {}
    owner.push("lab.t", "{\"n\":1}\n").await?.expect(200)?;
    assert_eq!(astray.take(1).await?, ["version_committed lab.t"]);
    Ok(())
}

#[tokio::test]
async fn many_followers_are_few_questions() -> Result {
    let companion = Companion::start().await?;
    let recorder = Recorder::start(companion.url()).await?;
    let gateway = companion.gateway()?.setting("catalog.url", recorder.url()).start().await?;
    let owner = gateway.client();
    let open = json!({ "name": "lab.open", "visibility": "public", "schema": [{ "name": "n", "type": "bigint" }] });
    owner.post("/v1/datasets", &open).await?.expect(201)?;
    owner.push("lab.open", "{\"n\":1}\n").await?.expect(200)?;
    let mut followers = Vec::new();
    for _ in 0..40 {
        let mut follower = Follower::after(&owner.anonymous(), "?after=0").await?;
        while follower.take(1).await? != ["version_committed lab.open"] {}
        followers.push(follower);
    }
    recorder.take();
    owner.push("lab.open", "{\"n\":2}\n").await?.expect(200)?;
    for follower in &mut followers {
        assert_eq!(follower.take(1).await?, ["version_committed lab.open"]);
    }
    let asked = recorder.take().into_iter().filter(|call| call.name == "events").count();
    assert!((1..20).contains(&asked), "{asked} looks at the feed for 40 followers");
    Ok(())
}

#[tokio::test]
async fn whoever_may_know_of_nothing_waits_no_longer_and_an_ended_token_ends_it() -> Result {
    let gateway = Gateway::start().await?;
    let owner = gateway.client();
    owner.create("lab.t", &[("n", "bigint")]).await?.expect(201)?;
    let made = owner.post("/v1/tokens", &json!({ "name": "brief", "expires_in": 3 })).await?.expect(201)?.json()?;
    let brief = owner.with_token(made["token"].as_str().ok_or("a token")?);
    let mut ending = Follower::after(&brief, "?after=0").await?;
    let ended = timeout(SOON / 2, async { while ending.next().await.is_ok() {} }).await;
    assert!(ended.is_ok(), "the token has ended, and nothing happens");
    let (mut nobody, mut pushes) = (Follower::after(&owner.anonymous(), "?wait=2").await?, 0);
    while !matches!(timeout(Duration::from_millis(300), nobody.body.next()).await, Ok(None)) {
        owner.push("lab.t", "{\"n\":1}\n").await?.expect(200)?;
        pushes += 1;
        assert!(pushes < 60, "what it may not know of makes it wait");
    }
    Ok(())
}

/// A dataset that a push creates is listed after its first rows are committed.
#[tokio::test]
async fn the_first_version_of_a_dataset_is_told_whoever_creates_it() -> Result {
    const DATASETS: usize = 12;
    let gateway = Gateway::start().await?;
    let owner = gateway.client();
    let mut follower = Follower::after(owner, "").await?;
    for n in 0..DATASETS {
        // By then it waits for commits, so that it looks at this one at once: before the dataset is listed.
        tokio::time::sleep(Duration::from_millis(150)).await;
        let create = owner.request(Method::POST, &format!("/v1/datasets/lab/t{n}/ingest?create=true"));
        let answer = create.header("content-type", "application/x-ndjson").body("{\"n\":1}\n").send().await?;
        assert_eq!(answer.status().as_u16(), 200);
        let mut told = String::new();
        while told != format!("version_committed lab.t{n}") {
            told = follower.take(1).await?.remove(0);
        }
    }
    Ok(())
}
