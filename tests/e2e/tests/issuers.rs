//! Tokens of others: whoever an issuer vouches for comes in, and no forgery does.

use std::time::{Duration, Instant};

use lakegate_e2e::issuer::{AUDIENCE, Issuer, Key, base64};
use lakegate_e2e::{Answer, Client, FlightClient, Gateway, Options, Result};
use reqwest::Method;
use serde_json::{Value, json};

/// A gateway that takes tokens of `issuer`.
async fn gateway(issuer: &Issuer, create_principals: bool) -> Result<Gateway> {
    let options = Options::serve()?;
    let file = options.folder().join("issuers.toml");
    std::fs::write(&file, format!("[[issuer]]\nurl = \"{}\"\naudience = [\"{AUDIENCE}\"]\n", issuer.url()))?;
    let options = options.setting("catalog.issuers_file", &file.to_string_lossy());
    options.setting("catalog.create_principals", &create_principals.to_string()).start().await
}

/// `object` with the members of `changes`; null takes one away.
fn with(mut object: Value, changes: Value) -> Value {
    if let (Some(object), Value::Object(changes)) = (object.as_object_mut(), changes) {
        for (name, value) in changes {
            match value {
                Value::Null => drop(object.remove(&name)),
                value => drop(object.insert(name, value)),
            }
        }
    }
    object
}

async fn name(client: &Client) -> Result<String> {
    let told = client.get("/v1/whoami").await?.expect(200)?.json()?;
    Ok(told["principal"]["name"].as_str().ok_or("a name")?.to_owned())
}

/// Waits until the gateway has asked the issuer again.
async fn admitted(client: &Client) -> Result {
    let begun = Instant::now();
    while client.get("/v1/whoami").await?.status != 200 {
        if begun.elapsed() > Duration::from_secs(60) {
            return Err("the issuer is not asked again".into());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}

#[tokio::test]
async fn who_is_vouched_for_comes_in_with_the_rights_that_it_has_here() -> Result {
    let key = Key::generate("one")?;
    let issuer = Issuer::start(&[&key]).await?;
    let gateway = gateway(&issuer, false).await?;
    let owner = gateway.client();
    owner.create("lab.t", &[("n", "bigint")]).await?.expect(201)?;
    owner.push("lab.t", "{\"n\":1}\n").await?.expect(200)?;
    let token = key.sign(&key.header(), &issuer.claims("u17"))?;
    let ada = owner.with_token(token.clone());

    // A good token of somebody that nobody here knows.
    let refused = ada.get("/v1/whoami").await?.expect_problem(401, "unauthenticated")?.text();
    assert!(refused.contains("create a principal"), "{refused}");
    let new = json!({ "name": "ada", "external": { "issuer": issuer.url(), "subject": "u17" } });
    owner.post("/v1/principals", &new).await?.expect(201)?;
    assert_eq!(name(&ada).await?, "ada");
    ada.get("/v1/datasets/lab/t").await?.expect(404)?;

    // What a group may, its members by the token may, over each protocol, as long as the token says so.
    owner.post("/v1/groups", &json!({ "name": "crew" })).await?.expect(201)?;
    let grant = json!({ "group": "crew", "role": "reader", "dataset": "lab.t" });
    owner.send(Method::PUT, "/v1/grants", &grant).await?.expect(200)?;
    let claims = with(issuer.claims("u17"), json!({ "groups": ["crew", "nobody's"] }));
    let crew = key.sign(&key.header(), &claims)?;
    assert_eq!(owner.with_token(crew.clone()).count("lab.t").await?, 1);
    let flight = FlightClient::connect(gateway.flight(), Some(&crew)).await?;
    assert_eq!(flight.ask("SELECT * FROM lab.t").await?.count(), 1);
    ada.get("/v1/datasets/lab/t").await?.expect(404)?;

    // What it makes here does not outlast its token.
    let asked = json!({ "name": "mine", "expires_in": 86_400 });
    ada.post("/v1/tokens", &asked).await?.expect_problem(403, "denied")?;
    let made = ada.post("/v1/tokens", &json!({ "name": "mine" })).await?.expect(201)?.json()?;
    assert!(made["expires_at"].is_string(), "{made}");

    // Keys that rotate are asked for once; an issuer that is away keeps nobody out whose key is known.
    let next = Key::generate("two")?;
    issuer.show(&[&next]);
    let rotated = owner.with_token(next.sign(&next.header(), &issuer.claims("u17"))?);
    // It does not ask for keys at every token whose key it does not know.
    admitted(&rotated).await?;
    assert_eq!(name(&rotated).await?, "ada");
    issuer.set_away(true);
    assert_eq!(name(&rotated).await?, "ada");
    owner.delete("/v1/principals/ada").await?.expect(204)?;
    rotated.get("/v1/whoami").await?.expect_problem(401, "unauthenticated")?;
    Ok(())
}

#[tokio::test]
async fn whoever_is_vouched_for_becomes_a_principal_where_the_settings_say_so() -> Result {
    let key = Key::generate("one")?;
    let issuer = Issuer::start(&[&key]).await?;
    issuer.set_away(true);
    let gateway = gateway(&issuer, true).await?;
    let of = |subject: &str| -> Result<Client> {
        Ok(gateway.client().with_token(key.sign(&key.header(), &issuer.claims(subject))?))
    };
    of("grace")?.get("/v1/whoami").await?.expect_problem(503, "issuer_unavailable")?;
    issuer.set_away(false);
    let first = of("grace")?;
    admitted(&first).await?;
    let (one, two) = tokio::join!(name(&first), name(&first));
    assert_eq!((one?.as_str(), two?.as_str()), ("grace", "grace"));
    let made = first.get("/v1/datasets").await?.expect(200)?.json()?;
    assert_eq!(made["items"], json!([]), "it has no right");
    // A name that is somebody's already is not given away, and one that cannot be a name here is told.
    let refused = of("17")?.get("/v1/whoami").await?.expect_problem(401, "unauthenticated")?.text();
    assert!(refused.contains("`17`"), "{refused}");
    let owner = name(gateway.client()).await?;
    of(&owner)?.get("/v1/whoami").await?.expect_problem(401, "unauthenticated")?;
    Ok(())
}

/// A forged or stale credential, by name.
type Forged = (String, String);

/// Tokens that are almost good: each differs from a good one in what its name says.
fn forgeries(issuer: &Issuer, key: &Key) -> Result<Vec<Forged>> {
    let stranger = Key::generate("one")?;
    let unknown = Key::generate("another")?;
    let (header, claims) = (key.header(), issuer.claims("u17"));
    let now = chrono::Utc::now().timestamp();
    let mut forged = Vec::new();
    let mut add = |name: &str, token: String| forged.push((name.to_owned(), token));

    for (name, change) in [
        ("ended", json!({ "exp": now - 3_600 })),
        ("ended a moment ago", json!({ "exp": now - 61 })),
        ("not good yet", json!({ "nbf": now + 3_600 })),
        ("made in the future", json!({ "iat": now + 3_600 })),
        ("without an end", json!({ "exp": null })),
        ("an end in words", json!({ "exp": "never" })),
        ("an end beyond time", json!({ "exp": 1e300 })),
        ("an end before time", json!({ "exp": -1 })),
        ("for nobody", json!({ "aud": null })),
        ("for others", json!({ "aud": "other" })),
        ("for others in a list", json!({ "aud": ["other", "lakegate.example"] })),
        ("for an empty list", json!({ "aud": [] })),
        ("an audience that is an object", json!({ "aud": { "lakegate": true } })),
        ("an audience in capitals", json!({ "aud": "LAKEGATE" })),
        ("of no issuer", json!({ "iss": null })),
        ("of another issuer", json!({ "iss": "https://id.example" })),
        ("of an issuer with a slash more", json!({ "iss": format!("{}/", issuer.url()) })),
        ("of a list of issuers", json!({ "iss": [issuer.url()] })),
        ("for no subject", json!({ "sub": null })),
        ("for an empty subject", json!({ "sub": "" })),
        ("for a subject that is a number", json!({ "sub": 17 })),
        ("for a subject with a line end", json!({ "sub": "17\n" })),
        ("groups that are an object", json!({ "groups": { "crew": true } })),
    ] {
        add(name, key.sign(&header, &with(claims.clone(), change))?);
    }
    for (name, change) in [
        ("an algorithm that is none", json!({ "alg": "none" })),
        ("an algorithm that is None", json!({ "alg": "None" })),
        ("a shared secret", json!({ "alg": "HS256" })),
        ("an algorithm that the issuer does not have", json!({ "alg": "ES384" })),
        ("an algorithm of another family", json!({ "alg": "RS256" })),
        ("no algorithm", json!({ "alg": null })),
        ("an unknown key", json!({ "kid": "two" })),
        ("a key that is a path", json!({ "kid": "../../../../dev/null" })),
        ("an extension that must be understood", json!({ "crit": ["exp"] })),
        ("a body that is not packed", json!({ "b64": false, "crit": ["b64"] })),
    ] {
        add(name, key.sign(&with(header.clone(), change), &claims)?);
    }
    add("a stranger's key of the same name", stranger.sign(&header, &claims)?);
    add(
        "a stranger's key that the token brings",
        stranger.sign(&with(header.clone(), json!({ "jwk": stranger.public() })), &claims)?,
    );
    let elsewhere = json!({ "jku": format!("{}/keys", issuer.url()), "kid": "another" });
    add("a key from where the token says", unknown.sign(&with(header.clone(), elsewhere), &claims)?);

    let good = key.sign(&header, &claims)?;
    let parts: Vec<&str> = good.split('.').collect();
    let (head, body, mark) = (parts[0], parts[1], parts[2]);
    let others = base64(with(claims, json!({ "sub": "1" })).to_string());
    add("no signature", format!("{head}.{body}."));
    add("half a signature", format!("{head}.{body}.{}", &mark[..mark.len() / 2]));
    add("a signature of zeros", format!("{head}.{body}.{}", base64([0; 64])));
    add("another's claims below a good signature", format!("{head}.{others}.{mark}"));
    add("not signed at all", format!("{}.{body}.", base64(json!({ "alg": "none" }).to_string())));
    add("two parts", format!("{head}.{body}"));
    add("five parts", format!("{good}.{mark}.{mark}"));
    add("points alone", "..".to_owned());
    add("claims that are no object", key.sign(&header, &json!([]))?);
    add("no JSON", format!("{}.{}.{mark}", base64("x"), base64("y")));
    add("very long", format!("{head}.{}.{mark}", "A".repeat(6_000)));
    Ok(forged)
}

/// Our own tokens, changed.
fn changed(token: &str) -> Vec<Forged> {
    let last = if token.ends_with('0') { '1' } else { '0' };
    let swapped: String = token.chars().rev().collect();
    [
        ("unknown", "lg_0000000000000000000000000000000000aaaaaa".to_owned()),
        ("its last letter", format!("{}{last}", &token[..token.len() - 1])),
        ("one letter less", token[..token.len() - 1].to_owned()),
        ("one letter more", format!("{token}0")),
        ("its prefix alone", "lg_".to_owned()),
        ("without its prefix", token[3..].to_owned()),
        ("another prefix", format!("LG_{}", &token[3..])),
        ("turned round", swapped),
        ("nothing", String::new()),
    ]
    .map(|(name, token)| (format!("ours: {name}"), token))
    .to_vec()
}

#[tokio::test]
async fn no_forged_or_stale_token_is_let_in() -> Result {
    let key = Key::generate("one")?;
    let issuer = Issuer::start(&[&key]).await?;
    let gateway = gateway(&issuer, true).await?;
    let owner = gateway.client();
    owner.create("lab.open", &[("n", "bigint")]).await?.expect(201)?;
    owner.send(Method::PATCH, "/v1/datasets/lab/open", &json!({ "visibility": "public" })).await?.expect(200)?;
    let good = owner.with_token(key.sign(&key.header(), &issuer.claims("u17"))?);
    assert_eq!(name(&good).await?, "u17");
    let made = owner.post("/v1/tokens", &json!({ "name": "revoked" })).await?.expect(201)?.json()?;
    owner.delete(&format!("/v1/tokens/{}", made["id"].as_str().ok_or("an id")?)).await?.expect(204)?;
    let revoked = ("ours: revoked".to_owned(), made["token"].as_str().ok_or("a token")?.to_owned());

    let forged = [forgeries(&issuer, &key)?, changed(gateway.token()), vec![revoked]].concat();
    assert!(forged.len() >= 55, "{}", forged.len());
    for (name, token) in &forged {
        // Also where nobody would have been let in: whoever shows a credential wants to be somebody.
        for path in ["/v1/whoami", "/v1/datasets/lab/open", "/v1/query?sql=SELECT+1"] {
            let asked = owner.anonymous().request(Method::GET, path).header("authorization", format!("Bearer {token}"));
            let answer = Answer::of(asked).await?;
            let answer = answer.expect_problem(401, "unauthenticated").map_err(|e| format!("{name}, {path}: {e}"))?;
            assert!(token.len() < 10 || !answer.text().contains(token), "{name}: the answer shows the token");
        }
        let over_flight = FlightClient::connect(gateway.flight(), Some(token)).await?.ask("SELECT 1").await;
        let code = over_flight.err().map(|status| status.code());
        assert_eq!(code, Some(tonic::Code::Unauthenticated), "{name} over Flight");
    }
    assert_eq!(self::name(&good).await?, "u17", "a good one still is");
    assert!(issuer.asked() < 20, "{} requests: forgeries make the gateway ask again and again", issuer.asked());
    let log = gateway.output();
    assert!(forged.iter().all(|(_, token)| token.len() < 30 || !log.contains(token)), "a token is in the log");
    Ok(())
}
