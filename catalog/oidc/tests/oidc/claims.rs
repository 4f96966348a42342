//! Claims that are missing, stale, for somebody else or not what they must be. All these tokens are signed by their issuer.

use std::time::Duration;

use lakegate_oidc::{Issuers, JwtError};
use serde_json::{Value, json};

use crate::stage::{AUDIENCE, Hand, NOW, Stage, case, judge, now, settings};

const NOT_A_DATE: &str = "is not a whole number of seconds between 1970 and 9999";
const NOT_A_TEXT: &str = "is not a text of 1 to 256 bytes without control characters";
const NOT_GROUPS: &str = "is not a list of at most 1000 texts of 1 to 256 bytes";
const MISSING: &str = "is missing";

fn wrong(name: &str, wrong: &'static str) -> JwtError {
    JwtError::Claim { name: name.to_owned(), wrong }
}

#[tokio::test]
async fn a_token_counts_between_its_dates() {
    let stage = Stage::set().await;
    // Leeway is a minute: what is refused, and the nearest that is not.
    let table: &[(&str, Value, Value, JwtError)] = &[
        ("exp", json!(NOW - 60), json!(NOW - 59), JwtError::Expired),
        ("exp", json!(NOW - 3600), json!(NOW), JwtError::Expired),
        ("exp", json!(1), json!(253_402_300_799_i64), JwtError::Expired),
        ("nbf", json!(NOW + 61), json!(NOW + 60), JwtError::NotYet),
        ("nbf", json!(253_402_300_799_i64), json!(null), JwtError::NotYet),
        ("iat", json!(NOW + 61), json!(NOW + 60), JwtError::IssuedLater),
        ("iat", json!(NOW + 3600), json!(null), JwtError::IssuedLater),
        ("iat", json!(NOW * 1000), json!(NOW), wrong("iat", NOT_A_DATE)),
        ("exp", json!(null), json!(NOW + 1), wrong("exp", MISSING)),
    ];
    let mut cases = Vec::new();
    for (name, forged, genuine, error) in table {
        let (forged, genuine) = (stage.claiming(&json!({*name: forged})), stage.claiming(&json!({*name: genuine})));
        cases.push(case(format!("{name}: {error}"), forged, &genuine, error.clone()));
    }
    let genuine = stage.claiming(&json!({}));
    let huge = [json!(253_402_300_800_i64), json!(i64::MAX), json!(u64::MAX), json!(1e18), json!(1e300)];
    let others = [json!(0), json!(-1), json!(i64::MIN), json!(NOW as f64 + 600.5), json!(NOW as f64 + 600.0)];
    let forms = [json!((NOW + 600).to_string()), json!(""), json!(true), json!([NOW + 600]), json!({"a": 1})];
    for value in huge.into_iter().chain(others).chain(forms) {
        for name in ["exp", "nbf", "iat"] {
            let forged = stage.claiming(&json!({name: value}));
            cases.push(case(format!("{name} {value}"), forged, &genuine, wrong(name, NOT_A_DATE)));
        }
    }
    judge(&stage.issuers, cases).await;
}

#[tokio::test]
async fn null_is_not_a_date() {
    let stage = Stage::set().await;
    for name in ["exp", "nbf", "iat"] {
        let mut draft = stage.draft(&stage.rsa);
        draft.claims[name] = Value::Null;
        assert_eq!(stage.verify(&draft.signed(&stage.rsa)).await, Err(wrong(name, NOT_A_DATE)));
    }
}

#[tokio::test]
async fn leeway_is_what_the_settings_say() {
    let stage = Stage::set().await;
    let late = stage.claiming(&json!({"exp": NOW - 59}));
    let mut strict = settings(&stage.ours);
    strict.leeway = Duration::ZERO;
    let strict = Issuers::with_clock(vec![strict], &Hand::default().clock()).expect("settings");
    let cases = [("exp", JwtError::Expired, NOW, NOW + 1), ("nbf", JwtError::NotYet, NOW + 1, NOW)];
    for (name, error, forged, genuine) in cases {
        let make = |date: i64| stage.claiming(&json!({name: date}));
        judge(&strict, vec![case(name, make(forged), &make(genuine), error)]).await;
    }
    assert_eq!(strict.verify(&late, now()).await, Err(JwtError::Expired));
    assert!(stage.verify(&late).await.is_ok());
}

#[tokio::test]
async fn a_token_for_somebody_else_is_refused() {
    let stage = Stage::set().await;
    let genuine = stage.claiming(&json!({}));
    let others = [
        json!(null),
        json!("another-gateway"),
        json!(""),
        json!("lake"),
        json!("lakegate2"),
        json!("Lakegate"),
        json!("lakegate "),
        json!("lakegate,another"),
        json!("l\u{430}kegate"),
        json!([]),
        json!(["another", "lakegate2"]),
        json!([""]),
        json!([[AUDIENCE]]),
        json!([AUDIENCE, 1]),
        json!({"0": AUDIENCE}),
        json!(1),
        json!(true),
    ];
    let forged = |aud: &Value| stage.claiming(&json!({"aud": aud}));
    let cases = others.iter().map(|aud| case(aud.to_string(), forged(aud), &genuine, JwtError::Audience));
    judge(&stage.issuers, cases.collect()).await;
    for good in [json!([AUDIENCE]), json!(["another", AUDIENCE])] {
        assert!(stage.verify(&forged(&good)).await.is_ok(), "{good}");
    }
}

#[tokio::test]
async fn an_issuer_is_compared_byte_by_byte() {
    let stage = Stage::set().await;
    let genuine = stage.claiming(&json!({}));
    let url = &stage.ours.url;
    let others = [
        json!(null),
        json!(format!("{url}/")),
        json!(format!("{url}/.")),
        json!(format!("{url}#")),
        json!(format!("{url}?")),
        json!(format!(" {url}")),
        json!(format!("{url}\u{0}")),
        json!(url.to_uppercase()),
        json!(url.replace("http", "HTTP")),
        json!(url.replace("http:", "https:")),
        json!(url.replace("127.0.0.1", "localhost")),
        json!(url.replace("127.0.0.1", "127.1")),
        json!(url.replace("127.0.0.1", "127\u{3002}0.0.1")),
        json!(url.replace("127", "\u{ff11}27")),
        json!(""),
        json!([url]),
        json!({"iss": url}),
        json!(1),
    ];
    let forged = |iss: &Value| stage.claiming(&json!({"iss": iss}));
    let cases = others.iter().map(|iss| case(iss.to_string(), forged(iss), &genuine, JwtError::UnknownIssuer));
    judge(&stage.issuers, cases.collect()).await;
}

#[tokio::test]
async fn a_token_names_somebody() {
    let stage = Stage::set().await;
    let genuine = stage.claiming(&json!({}));
    let forged = |sub: &Value| stage.claiming(&json!({"sub": sub}));
    let mut cases = vec![case("no sub", forged(&json!(null)), &genuine, wrong("sub", MISSING))];
    let others = [
        json!(""),
        json!(17),
        json!(true),
        json!(["u-17"]),
        json!({"sub": "u-17"}),
        json!("u-17\n"),
        json!("u-17\u{0}root"),
        json!("x".repeat(257)),
        json!("\u{e9}".repeat(129)),
    ];
    cases.extend(others.iter().map(|sub| case(sub.to_string(), forged(sub), &genuine, wrong("sub", NOT_A_TEXT))));
    judge(&stage.issuers, cases).await;
    assert!(stage.verify(&forged(&json!("\u{e9}".repeat(128)))).await.is_ok());
}

#[tokio::test]
async fn groups_are_a_list_of_names() {
    let stage = Stage::set().await;
    let genuine = stage.claiming(&json!({"groups": vec!["x"; 1000]}));
    let others = [
        json!("admins"),
        json!(1),
        json!({"admins": true}),
        json!([1]),
        json!(["a", ["admins"]]),
        json!(["a", null]),
        json!([""]),
        json!(["a\nb"]),
        json!(["x".repeat(257)]),
        json!(vec!["x"; 1001]),
    ];
    let forged = |groups: &Value| stage.claiming(&json!({"groups": groups}));
    let cases =
        others.iter().map(|groups| case(groups.to_string(), forged(groups), &genuine, wrong("groups", NOT_GROUPS)));
    judge(&stage.issuers, cases.collect()).await;
}

#[tokio::test]
async fn an_address_counts_only_when_it_was_verified() {
    let stage = Stage::set().await;
    let mut by_mail = settings(&stage.ours);
    by_mail.principal_claim = "email".to_owned();
    let by_mail = Issuers::with_clock(vec![by_mail], &Hand::default().clock()).expect("settings");
    let unverified = "does not count, for `email_verified` is not true";
    let claiming = |email: Value, verified: Value| stage.claiming(&json!({"email": email, "email_verified": verified}));
    let genuine = claiming(json!("ann@example.com"), json!(true));
    let mut cases = Vec::new();
    for verified in [json!(null), json!(false), json!("true"), json!("false"), json!(1), json!([true])] {
        let forged = claiming(json!("ann@example.com"), verified.clone());
        cases.push(case(format!("verified: {verified}"), forged, &genuine, wrong("email", unverified)));
    }
    cases.push(case("no address", claiming(json!(null), json!(true)), &genuine, wrong("email", MISSING)));
    cases.push(case("an empty address", claiming(json!(""), json!(true)), &genuine, wrong("email", NOT_A_TEXT)));
    judge(&by_mail, cases).await;
    let claims = by_mail.verify(&genuine, now()).await.expect("genuine");
    assert_eq!((claims.name.as_str(), claims.subject.as_str()), ("ann@example.com", "u-17"));
}
