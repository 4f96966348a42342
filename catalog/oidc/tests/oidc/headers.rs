//! Headers that ask for another way to judge the signature, and keys that are not the issuer's.

use lakegate_oidc::JwtError;
use serde_json::json;

use crate::issuer::LocalIssuer;
use crate::signer::{Signer, base64, mac, sign};
use crate::stage::{Hand, Stage, accept, case, draft, judge, now};

#[tokio::test]
async fn an_unsigned_token_is_refused_however_it_says_so() {
    let stage = Stage::set().await;
    let token = stage.claiming(&json!({}));
    let mut cases = Vec::new();
    for name in ["none", "None", "NONE", "nOnE", "none ", " none", "none\u{0}", "n\u{f6}ne", "", "null", "RS256,none"] {
        let draft = stage.draft(&stage.rsa).header(&json!({"alg": name}));
        let empty = format!("{}.", draft.message());
        cases.push(case(format!("{name:?} without signature"), empty, &token, JwtError::NotThreeParts));
        let short = format!("{}.{}", draft.message(), base64([0]));
        cases.push(case(format!("{name:?} with a byte"), short, &token, JwtError::Algorithm));
        cases.push(case(format!("{name:?} signed"), draft.signed(&stage.rsa), &token, JwtError::Algorithm));
    }
    judge(&stage.issuers, cases).await;
}

#[tokio::test]
async fn a_public_key_is_no_secret_to_sign_with() {
    let stage = Stage::set().await;
    let token = stage.claiming(&json!({}));
    let secrets = [
        ("PEM", stage.rsa.pem().into_bytes()),
        ("PEM without its last line end", stage.rsa.pem().trim_end().as_bytes().to_vec()),
        ("DER", stage.rsa.der()),
        ("modulus", stage.rsa.modulus().to_vec()),
        ("modulus as the set has it", base64(stage.rsa.modulus()).into_bytes()),
        ("the key as the set has it", stage.rsa.jwk().to_string().into_bytes()),
        ("nothing", Vec::new()),
        ("the secret of the set", b"secret".to_vec()),
    ];
    let mut cases = Vec::new();
    for (name, secret) in &secrets {
        for (algorithm, kid) in [("HS256", "rsa"), ("HS384", "rsa"), ("HS512", "rsa"), ("HS256", "secret")] {
            let message = stage.draft(&stage.rsa).header(&json!({"alg": algorithm, "kid": kid})).message();
            cases.push(case(format!("{algorithm}, {name}, {kid}"), mac(&message, secret), &token, JwtError::Algorithm));
        }
        // A MAC under the name of an algorithm that is accepted.
        let message = stage.draft(&stage.rsa).message();
        cases.push(case(format!("RS256, {name}"), mac(&message, secret), &token, JwtError::Signature));
    }
    judge(&stage.issuers, cases).await;
}

#[tokio::test]
async fn only_algorithms_of_the_settings_count() {
    let stage = Stage::set().await;
    let with = |algorithm: &str| {
        let draft = stage.draft(&stage.rsa).header(&json!({"alg": algorithm}));
        draft.signed(&stage.rsa)
    };
    let token = with("RS256");
    let mut cases = Vec::new();
    for algorithm in ["RS384", "RS512", "PS256", "PS384", "PS512"] {
        assert!(stage.wide.verify(&with(algorithm), now()).await.is_ok(), "{algorithm} is judged where it is accepted");
        cases.push(case(algorithm, with(algorithm), &token, JwtError::Algorithm));
    }
    for signer in [&stage.p384, &stage.ed25519] {
        let forged = stage.draft(signer).signed(signer);
        assert!(stage.wide.verify(&forged, now()).await.is_ok(), "{}", signer.kid);
        cases.push(case(signer.kid.clone(), forged, &token, JwtError::Algorithm));
    }
    for wrong in [json!("rs256"), json!("RS256 "), json!("RS255"), json!(256), json!(["RS256"]), json!(true)] {
        cases.push(case(wrong.to_string(), stage.headed(&json!({"alg": wrong})), &token, JwtError::Algorithm));
    }
    cases.push(case("none named", stage.headed(&json!({"alg": null})), &token, JwtError::Algorithm));
    judge(&stage.issuers, cases).await;
}

#[tokio::test]
async fn a_key_is_used_for_its_own_algorithm_alone() {
    let stage = Stage::set().await;
    // Signed in truth by `signer` with `truly`, said to be `algorithm` by the key `kid`.
    let forge = |signer: &Signer, truly: &str, algorithm: &str, kid: &str| {
        let message = stage.draft(signer).header(&json!({"alg": algorithm, "kid": kid})).message();
        sign(&message, signer, truly)
    };
    let genuine = |signer: &Signer| stage.draft(signer).signed(signer);
    let (rsa, p256, p384) = (&stage.rsa, &stage.p256, &stage.p384);
    let by_rsa = genuine(rsa);
    let pinned = forge(&stage.pinned, "PS256", "PS256", "pinned");
    let cases = vec![
        case("PS256 said to be RS256", forge(rsa, "PS256", "RS256", "rsa"), &by_rsa, JwtError::Signature),
        case("RS256 said to be PS256", forge(rsa, "RS256", "PS256", "rsa"), &by_rsa, JwtError::Signature),
        case("RS512 said to be RS256", forge(rsa, "RS512", "RS256", "rsa"), &by_rsa, JwtError::Signature),
        case("RS256 said to be RS384", forge(rsa, "RS256", "RS384", "rsa"), &by_rsa, JwtError::Signature),
        case("ES256 with a key of RSA", forge(p256, "", "ES256", "rsa"), &genuine(p256), JwtError::UnfitKey),
        case("ES256, signed by RSA", forge(rsa, "RS256", "ES256", "rsa"), &by_rsa, JwtError::UnfitKey),
        case("RS256 with a key of a curve", forge(rsa, "RS256", "RS256", "p256"), &by_rsa, JwtError::UnfitKey),
        case("ES384 with P-256", forge(p256, "", "ES384", "p256"), &genuine(p256), JwtError::UnfitKey),
        case("ES256 with P-384", forge(p384, "", "ES256", "p384"), &genuine(p384), JwtError::UnfitKey),
        case("EdDSA with P-256", forge(p256, "", "EdDSA", "p256"), &genuine(p256), JwtError::UnfitKey),
        case("ES256 with Ed25519", forge(&stage.ed25519, "", "ES256", "ed25519"), &genuine(p256), JwtError::UnfitKey),
        case(
            "RS256 with a key for PS256",
            forge(&stage.pinned, "RS256", "RS256", "pinned"),
            &pinned,
            JwtError::UnfitKey,
        ),
        case(
            "PS384 with a key for PS256",
            forge(&stage.pinned, "PS384", "PS384", "pinned"),
            &pinned,
            JwtError::UnfitKey,
        ),
        case("a key for encryption", genuine(&stage.sealing), &genuine(p256), JwtError::UnknownKey),
        case("a key for wrapping", genuine(&stage.wrapping), &genuine(p256), JwtError::UnknownKey),
        case("a secret of the set", forge(p256, "", "ES256", "secret"), &genuine(p256), JwtError::UnknownKey),
    ];
    judge(&stage.wide, cases).await;
}

#[tokio::test]
async fn a_key_of_somebody_else_is_refused() {
    let stage = Stage::set().await;
    let token = stage.claiming(&json!({}));
    let by = |signer: &Signer, kid: &str| stage.draft(signer).header(&json!({"kid": kid})).signed(signer);
    let long = "k".repeat(257);
    let mut cases = vec![
        case("another key under our name", by(&Signer::other_rsa("x"), "rsa"), &token, JwtError::Signature),
        case("another curve key under our name", by(&Signer::p256("x"), "p256"), &token, JwtError::Signature),
        case("a key of the other issuer", by(&stage.theirs, "theirs"), &token, JwtError::UnknownKey),
        case("the same under our name", by(&stage.theirs, "p256"), &token, JwtError::Signature),
        case(
            "no name, another key",
            stage.draft(&stage.theirs).header(&json!({"kid": null})).signed(&stage.theirs),
            &token,
            JwtError::Signature,
        ),
        case("no name, a key for PS256 and one for any", by_nobody(&stage), &token, JwtError::AmbiguousKey),
        case("a name that is not there", by(&stage.rsa, "rsb"), &token, JwtError::UnknownKey),
        case("a name in capitals", by(&stage.rsa, "RSA"), &token, JwtError::UnknownKey),
        case("a name with a space", by(&stage.rsa, "rsa "), &token, JwtError::UnknownKey),
        case("a path", by(&stage.rsa, "../../../../dev/null"), &token, JwtError::UnknownKey),
        case("a statement", by(&stage.rsa, "rsa' OR '1'='1"), &token, JwtError::UnknownKey),
        case("an empty name", by(&stage.rsa, ""), &token, JwtError::KeyId),
        case("a long name", by(&stage.rsa, &long), &token, JwtError::KeyId),
    ];
    for wrong in [json!(1), json!(["rsa"]), json!({"rsa": 1}), json!(false)] {
        cases.push(case(wrong.to_string(), stage.headed(&json!({"kid": wrong})), &token, JwtError::KeyId));
    }
    judge(&stage.wide, cases).await;
}

/// A token whose signature two keys of the set could judge.
fn by_nobody(stage: &Stage) -> String {
    stage.draft(&stage.rsa).header(&json!({"kid": null, "alg": "PS256"})).signed(&stage.rsa)
}

#[tokio::test]
async fn a_token_of_another_issuer_is_refused() {
    let stage = Stage::set().await;
    let token = stage.claiming(&json!({}));
    let (theirs, stranger) = (&stage.theirs, LocalIssuer::with(&[&stage.theirs]).await);
    let of_the_other = draft(&stage.other, theirs).claims(&json!({"aud": "another-gateway"}));
    let genuine = of_the_other.clone().signed(theirs);
    let cases = vec![
        case("of a stranger", draft(&stranger, theirs).signed(theirs), &token, JwtError::UnknownIssuer),
        case("of the other, for us", draft(&stage.other, theirs).signed(theirs), &genuine, JwtError::Audience),
        case(
            "of the other, our key",
            draft(&stage.other, &stage.rsa).claims(&json!({"aud": "another-gateway"})).signed(&stage.rsa),
            &genuine,
            JwtError::UnknownKey,
        ),
        case(
            "said to be ours",
            of_the_other.claims(&json!({"iss": stage.ours.url, "aud": "lakegate"})).signed(theirs),
            &genuine,
            JwtError::UnknownKey,
        ),
    ];
    judge(&stage.issuers, cases).await;
    assert_eq!(stranger.contacted(), 0, "who is not in the settings is not asked");
}

#[tokio::test]
async fn keys_that_a_token_brings_are_not_looked_at() {
    let stage = Stage::set().await;
    let mallory = Signer::other_rsa("rsa");
    let attacker = LocalIssuer::with(&[&mallory]).await;
    let keys = format!("{}/keys", attacker.url);
    let certificate = rcgen::generate_simple_self_signed(vec!["id.example.com".to_owned()]).expect("a certificate");
    let certificate = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, certificate.cert.der());
    let offers = [
        json!({"jwk": mallory.jwk()}),
        json!({"jku": keys}),
        json!({"x5u": keys}),
        json!({"x5c": [certificate]}),
        json!({"x5t": "AAAA", "x5t#S256": "AAAA"}),
        json!({"jwk": mallory.jwk(), "jku": keys, "x5u": keys, "x5c": [certificate]}),
        json!({"iss": attacker.url}),
    ];
    let mut cases = Vec::new();
    for offer in &offers {
        let genuine = stage.headed(offer);
        let forged = stage.draft(&mallory).header(offer).signed(&mallory);
        cases.push(case(offer.to_string(), forged, &genuine, JwtError::Signature));
        let unknown = stage.draft(&mallory).header(offer).header(&json!({"kid": "mallory"})).signed(&mallory);
        cases.push(case(format!("{offer}, by name"), unknown, &genuine, JwtError::UnknownKey));
    }
    judge(&stage.issuers, cases).await;
    assert_eq!(attacker.contacted(), 0);
    // The attacker's server would have been of use to somebody who asks it.
    let attackers = accept(&attacker, &Hand::default());
    assert!(attackers.verify(&draft(&attacker, &mallory).signed(&mallory), now()).await.is_ok());
    assert!(attacker.contacted() > 0);
}

#[tokio::test]
async fn other_kinds_of_tokens_and_extensions_are_refused() {
    let stage = Stage::set().await;
    let token = stage.claiming(&json!({}));
    let mut cases = Vec::new();
    let types =
        ["JWE", "JOSE", "logout+jwt", "dpop+jwt", "secevent+jwt", "JWT+at", "jwt ", "", "application/", "text/jwt"];
    for wrong in types.map(|name| json!(name)).into_iter().chain([json!(1), json!(["JWT"]), json!(true)]) {
        cases.push(case(format!("typ {wrong}"), stage.headed(&json!({"typ": wrong})), &token, JwtError::Type));
    }
    for critical in [json!([]), json!(["exp"]), json!(["b64"]), json!("exp"), json!(false)] {
        let forged = stage.headed(&json!({"crit": critical, "b64": true}));
        cases.push(case(format!("crit {critical}"), forged, &token, JwtError::Critical));
    }
    judge(&stage.issuers, cases).await;
    for good in ["JWT", "jwt", "Jwt", "at+jwt", "AT+JWT", "application/at+jwt", "application/JWT"] {
        assert!(stage.verify(&stage.headed(&json!({"typ": good}))).await.is_ok(), "{good}");
    }
    assert!(stage.verify(&stage.headed(&json!({"typ": null}))).await.is_ok(), "absent");
}
