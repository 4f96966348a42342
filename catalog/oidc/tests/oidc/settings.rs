//! Settings that cannot be kept to are refused before anything is asked.

use std::time::Duration;

use lakegate_oidc::{Issuer, Issuers, SettingsError};

const URL: &str = "https://id.example.com/realms/lake";

fn check(change: impl Fn(&mut Issuer)) -> Result<(), SettingsError> {
    let mut issuer = Issuer::new(URL, "lakegate");
    change(&mut issuer);
    Issuers::new(vec![issuer]).map(drop)
}

#[test]
fn the_defaults_are_those_of_the_document() {
    let issuer = Issuer::new(URL, "lakegate");
    assert_eq!(issuer.algorithms, ["RS256", "ES256"]);
    assert_eq!((issuer.principal_claim.as_str(), issuer.groups_claim.as_str()), ("sub", "groups"));
    assert_eq!((issuer.leeway, issuer.jwks_url, issuer.ca), (Duration::from_secs(60), None, None));
    assert!(check(|_| ()).is_ok());
}

#[test]
fn addresses_are_encrypted_or_of_this_machine() {
    let good = ["https://id.example.com", "https://10.1.2.3:8443/a/", "http://127.0.0.1:8080", "http://[::1]:80/a"];
    for url in good.into_iter().chain(["http://localhost:8080/realms/a"]) {
        assert!(check(|issuer| issuer.issuer = url.to_owned()).is_ok(), "{url}");
        assert!(check(|issuer| issuer.jwks_url = Some(url.to_owned())).is_ok(), "{url}");
    }
    let with_query = "https://id.example.com/keys?policy=a";
    assert!(check(|issuer| issuer.jwks_url = Some(with_query.to_owned())).is_ok());
    assert!(check(|issuer| issuer.issuer = with_query.to_owned()).is_err());
    let bad = [
        "",
        "id.example.com",
        "//id.example.com",
        "http://id.example.com",
        "http://10.1.2.3",
        "http://0.0.0.0",
        "http://localhost.example.com",
        "https://a:b@id.example.com",
        "https://id.example.com/#a",
        "ftp://id.example.com",
        "file:///keys.json",
        "https://",
    ];
    for url in bad {
        let refused = check(|issuer| issuer.issuer = url.to_owned());
        assert!(matches!(refused, Err(SettingsError::Issuer(_))), "{url}: {refused:?}");
        let refused = check(|issuer| issuer.jwks_url = Some(url.to_owned()));
        assert!(matches!(refused, Err(SettingsError::JwksUrl(_))), "{url}: {refused:?}");
    }
}

#[test]
fn only_algorithms_with_public_keys_may_be_set() {
    for good in ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"] {
        assert!(check(|issuer| issuer.algorithms = vec![good.to_owned()]).is_ok(), "{good}");
    }
    for bad in ["HS256", "HS384", "HS512", "none", "None", "", "rs256", "RS1", "ES512", "A128KW", "*"] {
        let refused = check(|issuer| issuer.algorithms.push(bad.to_owned()));
        assert!(matches!(refused, Err(SettingsError::Algorithm { .. })), "{bad}: {refused:?}");
    }
    assert!(matches!(check(|issuer| issuer.algorithms.clear()), Err(SettingsError::Algorithm { .. })));
}

#[test]
fn an_audience_is_required() {
    for bad in [vec![], vec![String::new()], vec!["lakegate".to_owned(), String::new()]] {
        let refused = check(|issuer| issuer.audience.clone_from(&bad));
        assert!(matches!(refused, Err(SettingsError::Audience(_))), "{bad:?}");
    }
}

#[test]
fn claims_have_names_and_leeway_has_a_bound() {
    for bad in [String::new(), "x".repeat(101)] {
        let name = check(|issuer| issuer.principal_claim.clone_from(&bad));
        assert!(matches!(name, Err(SettingsError::Claim { setting: "principal_claim", .. })), "{bad}");
    }
    let long = check(|issuer| issuer.groups_claim = "x".repeat(101));
    assert!(matches!(long, Err(SettingsError::Claim { setting: "groups_claim", .. })));
    assert!(check(|issuer| issuer.groups_claim.clear()).is_ok(), "its groups do not count");
    assert!(check(|issuer| issuer.leeway = Duration::from_secs(300)).is_ok());
    for bad in [Duration::from_millis(300_001), Duration::MAX] {
        assert!(matches!(check(|issuer| issuer.leeway = bad), Err(SettingsError::Leeway(_))));
    }
}

#[test]
fn certificates_are_in_pem_and_there() {
    for bad in ["", "not PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        let refused = check(|issuer| issuer.ca = Some(bad.as_bytes().to_vec()));
        let certificates = matches!(refused, Err(SettingsError::Certificates(_) | SettingsError::Client { .. }));
        assert!(certificates, "{bad:?}: {refused:?}");
    }
}

#[test]
fn an_issuer_is_there_once() {
    let (one, two) = (Issuer::new(URL, "a"), Issuer::new(URL, "b"));
    assert!(matches!(Issuers::new(vec![one.clone(), two]), Err(SettingsError::Twice(_))));
    assert!(Issuers::new(vec![one, Issuer::new(format!("{URL}/"), "b")]).is_ok(), "a `/` counts");
}
