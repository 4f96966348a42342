//! Tokens that pass, and what they say.

use chrono::DateTime;
use lakegate_oidc::{Claims, Issuers, JwtError};
use serde_json::json;

use crate::issuer::LocalIssuer;
use crate::signer::Signer;
use crate::stage::{Hand, NOW, Stage, accept, draft, now, settings};

#[tokio::test]
async fn a_genuine_token_says_who_calls() {
    let stage = Stage::set().await;
    let claims = Claims {
        issuer: stage.ours.url.clone(),
        subject: "u-17".to_owned(),
        name: "u-17".to_owned(),
        groups: vec!["crew".to_owned(), "pilots".to_owned()],
        expires_at: DateTime::from_timestamp(NOW + 600, 0).expect("a date"),
    };
    assert_eq!(stage.verify(&stage.claiming(&json!({}))).await, Ok(claims.clone()));
    let repeated = stage.claiming(&json!({"groups": ["pilots", "crew", "pilots"]}));
    assert_eq!(stage.verify(&repeated).await, Ok(claims.clone()));
    for none in [json!(null), json!([])] {
        let none = stage.claiming(&json!({"groups": none}));
        assert_eq!(stage.verify(&none).await, Ok(Claims { groups: Vec::new(), ..claims.clone() }));
    }
}

#[tokio::test]
async fn each_algorithm_is_judged() {
    let stage = Stage::set().await;
    for algorithm in ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"] {
        let token = stage.draft(&stage.rsa).header(&json!({"alg": algorithm})).signed(&stage.rsa);
        assert!(stage.wide.verify(&token, now()).await.is_ok(), "{algorithm}");
    }
    for signer in [&stage.p256, &stage.p384, &stage.ed25519] {
        assert!(stage.wide.verify(&stage.draft(signer).signed(signer), now()).await.is_ok(), "{}", signer.kid);
    }
}

#[tokio::test]
async fn a_token_without_kid_passes_where_one_key_fits() {
    let stage = Stage::set().await;
    for signer in [&stage.rsa, &stage.p256, &stage.p384, &stage.ed25519] {
        let token = stage.draft(signer).header(&json!({"kid": null})).signed(signer);
        assert!(stage.wide.verify(&token, now()).await.is_ok(), "{}", signer.kid);
    }
    let (one, two) = (Signer::p256("one"), Signer::p256("two"));
    let issuer = LocalIssuer::with(&[&one, &two]).await;
    let token = draft(&issuer, &one).header(&json!({"kid": null})).signed(&one);
    assert_eq!(accept(&issuer, &Hand::default()).verify(&token, now()).await, Err(JwtError::AmbiguousKey));
}

#[tokio::test]
async fn a_key_whose_name_is_there_twice_is_not_guessed() {
    let (one, two) = (Signer::p256("same"), Signer::p256("same"));
    let issuer = LocalIssuer::with(&[&one, &two]).await;
    let token = draft(&issuer, &one).signed(&one);
    assert_eq!(accept(&issuer, &Hand::default()).verify(&token, now()).await, Err(JwtError::AmbiguousKey));
    // Of another kind, it is no rival.
    issuer.shows(&[one.jwk(), Signer::p384("same").jwk()]);
    assert!(accept(&issuer, &Hand::default()).verify(&token, now()).await.is_ok());
}

#[tokio::test]
async fn names_and_groups_come_from_the_claims_of_the_settings() {
    let key = Signer::p256("a");
    let issuer = LocalIssuer::with(&[&key]).await;
    let mut ours = settings(&issuer);
    ours.principal_claim = "preferred_username".to_owned();
    ours.groups_claim = "roles".to_owned();
    ours.audience = vec!["first".to_owned(), "second".to_owned()];
    let issuers = Issuers::new(vec![ours]).expect("settings");
    let extra = json!({"preferred_username": "ann", "roles": ["admins"], "aud": ["second"]});
    let claims = issuers.verify(&draft(&issuer, &key).claims(&extra).signed(&key), now()).await.expect("genuine");
    assert_eq!((claims.subject.as_str(), claims.name.as_str()), ("u-17", "ann"));
    assert_eq!(claims.groups, ["admins"]);
    let nameless = draft(&issuer, &key).claims(&json!({"aud": "first"})).signed(&key);
    let missing = JwtError::Claim { name: "preferred_username".to_owned(), wrong: "is missing" };
    assert_eq!(issuers.verify(&nameless, now()).await, Err(missing));
}

#[tokio::test]
async fn an_issuer_s_groups_count_only_where_the_settings_say_so() {
    let key = Signer::p256("a");
    let issuer = LocalIssuer::with(&[&key]).await;
    for (claim, expected) in [("groups", vec!["admins"]), ("", vec![])] {
        let mut ours = settings(&issuer);
        ours.groups_claim = claim.to_owned();
        let issuers = Issuers::new(vec![ours]).expect("settings");
        let token = draft(&issuer, &key).claims(&json!({"groups": ["admins"], "": ["admins"]})).signed(&key);
        assert_eq!(issuers.verify(&token, now()).await.expect("genuine").groups, expected, "`{claim}`");
    }
}

#[tokio::test]
async fn keys_may_be_named_by_the_settings() {
    let key = Signer::p256("a");
    let issuer = LocalIssuer::with(&[&key]).await;
    let mut ours = settings(&issuer);
    ours.jwks_url = Some(format!("{}/keys", issuer.url));
    let issuers = Issuers::new(vec![ours]).expect("settings");
    assert!(issuers.verify(&draft(&issuer, &key).signed(&key), now()).await.is_ok());
    assert_eq!((issuer.described(), issuer.asked()), (0, 1), "no description is needed");
}

#[tokio::test]
async fn without_issuers_no_token_passes() {
    let key = Signer::p256("a");
    let issuer = LocalIssuer::with(&[&key]).await;
    let none = Issuers::new(Vec::new()).expect("settings");
    assert_eq!(none.verify(&draft(&issuer, &key).signed(&key), now()).await, Err(JwtError::UnknownIssuer));
}
