//! Issuers that answer with something else than their keys, or not at all.

use lakegate_oidc::JwtError;
use serde_json::{Value, json};
use tokio::time::{Duration, Instant, timeout};

use crate::issuer::{Answer, LocalIssuer};
use crate::signer::Signer;
use crate::stage::{Hand, accept, draft, now};

const MIB: usize = 1 << 20;

/// Makes an issuer fail.
type Fault = fn(&LocalIssuer);

/// With `fault` on it, the issuer is unavailable; without, its token passes.
async fn fails(name: &str, fault: impl Fn(&LocalIssuer, &Signer)) {
    let (key, hand) = (Signer::p256("a"), Hand::default());
    let issuer = LocalIssuer::with(&[&key]).await;
    let token = draft(&issuer, &key).signed(&key);
    assert!(accept(&issuer, &hand).verify(&token, now()).await.is_ok(), "{name}: without the fault");
    let issuers = accept(&issuer, &hand);
    fault(&issuer, &key);
    let unavailable = JwtError::Unavailable { issuer: issuer.url.clone() };
    assert_eq!(issuers.verify(&token, now()).await, Err(unavailable), "{name}");
    issuer.recovers(&[&key]);
    hand.forward(60);
    assert!(issuers.verify(&token, now()).await.is_ok(), "{name}: when it is over");
}

fn keys(of: &[Value]) -> String {
    json!({"keys": of}).to_string()
}

#[tokio::test]
async fn answers_that_are_no_keys_are_not_believed() {
    let answers = [
        ("not found", Answer::Status(404)),
        ("failing", Answer::Status(500)),
        ("nothing", Answer::Status(204)),
        ("no JSON", Answer::Text("<html>keys</html>".to_owned())),
        ("an empty text", Answer::Text(String::new())),
        ("a list", Answer::Text("[]".to_owned())),
        ("no list of keys", Answer::Text(json!({"keys": {}}).to_string())),
        ("keys elsewhere", Answer::Text(json!({"jwks": []}).to_string())),
        ("keys twice", Answer::Text(r#"{"keys":[],"keys":[]}"#.to_owned())),
        ("101 keys", Answer::Text(keys(&vec![json!({"kty": "oct"}); 101]))),
        ("depth", Answer::Text("[".repeat(100_000))),
        ("an endless answer", Answer::Endless),
    ];
    for (name, answer) in answers {
        fails(name, |issuer, _| issuer.answers(answer.clone())).await;
        fails(name, |issuer, _| issuer.describes(answer.clone())).await;
    }
}

#[tokio::test]
async fn keys_with_another_status_do_not_count() {
    for status in [201, 203, 206, 400, 401, 404, 500] {
        fails(&format!("{status}"), |issuer, key| issuer.answers(Answer::Marked(status, keys(&[key.jwk()])))).await;
    }
}

#[tokio::test]
async fn an_answer_has_at_most_1_mib() {
    let padded = |issuer: &LocalIssuer, key: &Signer, length: usize| {
        let keys = keys(&[key.jwk()]);
        issuer.answers(Answer::Text(format!("{keys}{}", " ".repeat(length - keys.len()))));
    };
    fails("a byte too many", |issuer, key| padded(issuer, key, MIB + 1)).await;
    let key = Signer::p256("a");
    let issuer = LocalIssuer::start().await;
    padded(&issuer, &key, MIB);
    let token = draft(&issuer, &key).signed(&key);
    assert!(accept(&issuer, &Hand::default()).verify(&token, now()).await.is_ok());
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = LocalIssuer::start().await;
    let to = |path: &str| Answer::Redirect(format!("{}{path}", elsewhere.url));
    fails("keys elsewhere", |issuer, key| {
        elsewhere.shows(&[key.jwk()]);
        issuer.answers(to("/keys"));
    })
    .await;
    fails("a description elsewhere", |issuer, key| {
        elsewhere.shows(&[key.jwk()]);
        issuer.describes(to("/.well-known/openid-configuration"));
    })
    .await;
    fails("keys on the same host", |issuer, _| issuer.answers(Answer::Redirect("/keys".to_owned()))).await;
    assert_eq!(elsewhere.contacted(), 0);
}

#[tokio::test]
async fn a_description_is_of_this_issuer_and_names_a_safe_place() {
    let changes: [fn(&str) -> Value; 14] = [
        |url| json!({"issuer": format!("{url}/"), "jwks_uri": format!("{url}/keys")}),
        |url| json!({"issuer": url.replace("127.0.0.1", "localhost"), "jwks_uri": format!("{url}/keys")}),
        |url| json!({"issuer": "https://id.example.com", "jwks_uri": format!("{url}/keys")}),
        |url| json!({"issuer": [url], "jwks_uri": format!("{url}/keys")}),
        |url| json!({"jwks_uri": format!("{url}/keys")}),
        |url| json!({"issuer": url}),
        |url| json!({"issuer": url, "jwks_uri": [format!("{url}/keys")]}),
        |url| json!({"issuer": url, "jwks_uri": "/keys"}),
        |url| json!({"issuer": url, "jwks_uri": ""}),
        |url| json!({"issuer": url, "jwks_uri": "http://192.0.2.1/keys"}),
        |url| json!({"issuer": url, "jwks_uri": "http://169.254.169.254/latest/meta-data"}),
        |url| json!({"issuer": url, "jwks_uri": "file:///etc/passwd"}),
        |url| json!({"issuer": url, "jwks_uri": format!("{}/keys", url.replace("http://", "http://a:b@"))}),
        |url| json!({"issuer": url, "jwks_uri": "data:application/json,{\"keys\":[]}"}),
    ];
    for (n, change) in changes.into_iter().enumerate() {
        fails(&format!("description {n}"), |issuer, _| {
            issuer.describes(Answer::Text(change(&issuer.url).to_string()));
        })
        .await;
    }
}

#[tokio::test]
async fn an_issuer_has_five_seconds() {
    let faults: [(&str, Fault); 4] = [
        ("silence", |issuer| issuer.answers(Answer::Silence)),
        ("half of the keys", |issuer| issuer.answers(Answer::Beginning)),
        ("silence about itself", |issuer| issuer.describes(Answer::Silence)),
        ("half of a description", |issuer| issuer.describes(Answer::Beginning)),
    ];
    let all = faults.map(|(name, fault)| async move {
        let key = Signer::p256("a");
        let issuer = LocalIssuer::with(&[&key]).await;
        fault(&issuer);
        let (issuers, token) = (accept(&issuer, &Hand::default()), draft(&issuer, &key).signed(&key));
        let began = Instant::now();
        let verified = timeout(Duration::from_secs(60), issuers.verify(&token, now())).await.expect(name);
        let unavailable = JwtError::Unavailable { issuer: issuer.url.clone() };
        assert_eq!(verified, Err(unavailable), "{name}");
        assert!(began.elapsed() >= Duration::from_secs(5), "{name}: {:?}", began.elapsed());
    });
    futures::future::join_all(all).await;
}

#[tokio::test]
async fn keys_of_other_kinds_beside_it_do_not_hide_a_key() {
    let key = Signer::p256("a");
    let issuer = LocalIssuer::start().await;
    issuer.shows(&[
        json!({"kty": "oct", "k": "AAAA"}),
        json!({"kty": "future", "kid": "a"}),
        json!({"kty": "RSA", "kid": "a", "n": "AQAB", "e": "AQAB"}),
        json!({"kty": "EC", "crv": "P-256", "x": "!", "y": "!", "kid": "a"}),
        json!("not a key"),
        json!(null),
        key.jwk(),
    ]);
    let token = draft(&issuer, &key).signed(&key);
    assert!(accept(&issuer, &Hand::default()).verify(&token, now()).await.is_ok());
}
