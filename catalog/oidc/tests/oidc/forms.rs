//! Tokens that are not three parts of base64url around two objects, and signatures that are not of these bytes.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lakegate_oidc::JwtError;
use serde_json::{Value, json};

use crate::signer::{Signer, base64, sign};
use crate::stage::{Stage, case, judge};

/// The parts of a token.
fn parts(token: &str) -> [&str; 3] {
    let mut parts = token.split('.');
    std::array::from_fn(|_| parts.next().expect("three parts"))
}

/// The token with another signature.
fn resigned(token: &str, change: impl Fn(&mut Vec<u8>)) -> String {
    let [header, claims, signature] = parts(token);
    let mut bytes = URL_SAFE_NO_PAD.decode(signature).expect("base64");
    change(&mut bytes);
    format!("{header}.{claims}.{}", base64(bytes))
}

#[tokio::test]
async fn what_is_not_three_parts_is_refused() {
    let stage = Stage::set().await;
    let token = stage.claiming(&json!({}));
    let [header, claims, signature] = parts(&token);
    let sealed = base64(json!({"alg": "RSA-OAEP", "enc": "A256GCM", "kid": "rsa"}).to_string());
    let forged = [
        ("nothing", String::new()),
        ("points alone", "..".to_owned()),
        ("one part", header.to_owned()),
        ("two parts", format!("{header}.{claims}")),
        ("no signature", format!("{header}.{claims}.")),
        ("no claims", format!("{header}..{signature}")),
        ("no header", format!(".{claims}.{signature}")),
        ("four parts", format!("{token}.{signature}")),
        ("a point at the end", format!("{token}.")),
        ("a point at the beginning", format!(".{token}")),
        ("two tokens", format!("{token}.{token}")),
        ("an encrypted token", format!("{sealed}.{signature}.{header}.{claims}.{signature}")),
    ];
    let cases = forged.map(|(name, forged)| case(name, forged, &token, JwtError::NotThreeParts));
    judge(&stage.issuers, cases.into()).await;
}

#[tokio::test]
async fn other_spellings_of_base64_are_refused() {
    let stage = Stage::set().await;
    // Every third of such letters has a spelling of its own in the alphabet for URLs.
    let token = stage.claiming(&json!({"nick": "???>>>"}));
    let [header, claims, signature] = parts(&token);
    let standard = |part: &str| part.replace('-', "+").replace('_', "/");
    let in_files = format!("{header}.{}.{signature}", standard(claims));
    // 256 bytes leave four bits of the last letter unused; these are the same bytes to a lax reader.
    let last = signature.chars().next_back().expect("a letter");
    let same_bytes = char::from(last as u8 + 1);
    let (header_wrong, claims_wrong) = (JwtError::NotBase64("header"), JwtError::NotBase64("payload"));
    let signature_wrong = || JwtError::NotBase64("signature");
    let cases = vec![
        case("padding", format!("{token}=="), &token, signature_wrong()),
        case("padded claims", format!("{header}.{claims}=.{signature}"), &token, claims_wrong.clone()),
        case("the alphabet of files", in_files, &token, claims_wrong.clone()),
        case("a space before", format!(" {token}"), &token, header_wrong.clone()),
        case("a space after", format!("{token} "), &token, signature_wrong()),
        case("a line end", format!("{token}\n"), &token, signature_wrong()),
        case(
            "a line end within",
            format!("{header}.{}\n{}.{signature}", &claims[..8], &claims[8..]),
            &token,
            claims_wrong,
        ),
        case("the scheme", format!("Bearer {token}"), &token, header_wrong.clone()),
        case("a letter of another script", token.replacen('e', "е", 1), &token, header_wrong),
        case("a percent escape", token.replace('.', "%2E"), &token, JwtError::NotThreeParts),
        case(
            "unused bits of the last letter",
            format!("{header}.{claims}.{}{same_bytes}", &signature[..signature.len() - 1]),
            &token,
            signature_wrong(),
        ),
    ];
    judge(&stage.issuers, cases).await;
}

#[tokio::test]
async fn what_is_not_one_object_is_refused_though_it_is_signed() {
    let stage = Stage::set().await;
    let draft = stage.draft(&stage.rsa);
    let (header, claims, token) = (draft.header.to_string(), draft.claims.to_string(), draft.signed(&stage.rsa));
    let sign =
        |header: &[u8], claims: &[u8]| sign(&format!("{}.{}", base64(header), base64(claims)), &stage.rsa, "RS256");
    assert_eq!(sign(header.as_bytes(), claims.as_bytes()), token, "as it is signed below, it passes");
    let add = |object: &str, member: &str| format!("{{{member},{}", &object[1..]);
    let payload = |name: &str, claims: &[u8]| {
        case(name, sign(header.as_bytes(), claims), &token, JwtError::NotAnObject("payload"))
    };
    let head = |name: &str, header: &str| {
        case(name, sign(header.as_bytes(), claims.as_bytes()), &token, JwtError::NotAnObject("header"))
    };
    let nested = format!("{claims} {claims}");
    let cases = vec![
        payload("a list", format!("[{claims}]").as_bytes()),
        payload("a text", b"\"u-17\""),
        payload("null", b"null"),
        payload("a number", b"17"),
        payload("not JSON", b"sub=u-17"),
        payload("a token in a token", token.as_bytes()),
        payload("two objects", nested.as_bytes()),
        payload("cut off", &claims.as_bytes()[..claims.len() - 1]),
        payload("bytes that are no text", &[claims.as_bytes(), b"\xff"].concat()),
        payload("a mark of byte order", &[b"\xef\xbb\xbf", claims.as_bytes()].concat()),
        payload("a comment", add(&claims, "/* */ \"a\":1").as_bytes()),
        payload("half a surrogate", add(&claims, r#""a":"\ud800""#).as_bytes()),
        payload("a subject twice", add(&claims, r#""sub":"root""#).as_bytes()),
        payload("a subject twice, the same", add(&claims, r#""sub":"u-17""#).as_bytes()),
        payload("a subject twice, escaped", add(&claims, r#""\u0073ub":"root""#).as_bytes()),
        payload("an expiry twice", add(&claims, r#""exp":9000000000"#).as_bytes()),
        payload("a claim twice, deep", add(&claims, r#""realm":{"roles":1,"roles":2}"#).as_bytes()),
        payload("lists in lists", add(&claims, &format!(r#""a":{}{}"#, "[".repeat(3000), "]".repeat(3000))).as_bytes()),
        payload(
            "objects in objects",
            add(&claims, &format!("{}1{}", r#""a":{"a":"#.repeat(900), "}".repeat(900))).as_bytes(),
        ),
        head("an algorithm twice", &add(&header, r#""alg":"none""#)),
        head("a key twice", &add(&header, r#""kid":"p256""#)),
        head("a list", &format!("[{header}]")),
        head("a text", "\"RS256\""),
        head("lists in lists", &add(&header, &format!(r#""a":{}{}"#, "[".repeat(3000), "]".repeat(3000)))),
    ];
    judge(&stage.issuers, cases).await;
    let shallow = add(&claims, &format!(r#""a":{}{}"#, "[".repeat(20), "]".repeat(20)));
    assert!(stage.verify(&sign(header.as_bytes(), shallow.as_bytes())).await.is_ok(), "depth alone is no fault");
}

#[tokio::test]
async fn a_token_is_at_most_16_kib_long() {
    let stage = Stage::set().await;
    // base64 leaves gaps in the lengths of one part; with two parts to lengthen, each length can be had.
    let long = |header: usize, claims: usize| {
        let draft = stage.draft(&stage.rsa).header(&json!({"pad": "x".repeat(header)}));
        draft.claims(&json!({"pad": "x".repeat(claims)}))
    };
    let exactly = |length: usize| {
        let about = (length - long(0, 0).signed(&stage.rsa).len()) * 3 / 4;
        let paddings = (0..3).flat_map(|header| (about - 8..=about).map(move |claims| (header, claims)));
        let mut drafts = paddings.map(|(header, claims)| long(header, claims).signed(&stage.rsa));
        drafts.find(|token| token.len() == length).expect("a token of this length")
    };
    let (genuine, forged) = (exactly(16 * 1024), exactly(16 * 1024 + 1));
    let endless = format!("{genuine}{}", "A".repeat(10 << 20));
    let cases = vec![
        case("a letter too long", forged, &genuine, JwtError::TooLong),
        case("10 MiB", endless, &genuine, JwtError::TooLong),
    ];
    judge(&stage.issuers, cases).await;
}

#[tokio::test]
async fn a_signature_of_other_bytes_is_refused() {
    let stage = Stage::set().await;
    let token = stage.claiming(&json!({}));
    let other = stage.claiming(&json!({"sub": "root", "groups": ["admins"]}));
    let [header, claims, signature] = parts(&token);
    let [_, root, root_signature] = parts(&other);
    let renamed = base64(json!({"kid": "rsa", "alg": "RS256", "typ": "JWT", "a": 1}).to_string());
    let refused = |name: &str, forged: String| case(name, forged, &token, JwtError::Signature);
    let mut cases = vec![
        refused("other claims", format!("{header}.{root}.{signature}")),
        refused("the signature of another token", format!("{header}.{claims}.{root_signature}")),
        refused("another header", format!("{renamed}.{claims}.{signature}")),
        refused("a byte less", resigned(&token, |bytes| bytes.truncate(bytes.len() - 1))),
        refused("a byte less at the front", resigned(&token, |bytes| *bytes = bytes[1..].to_vec())),
        refused("a byte more", resigned(&token, |bytes| bytes.push(0))),
        refused("a byte more at the front", resigned(&token, |bytes| bytes.insert(0, 0))),
        refused("one byte", resigned(&token, |bytes| bytes.truncate(1))),
        refused("zeros", resigned(&token, |bytes| bytes.fill(0))),
        refused(
            "a one",
            resigned(&token, |bytes| bytes.iter_mut().rev().enumerate().for_each(|(i, b)| *b = u8::from(i == 0))),
        ),
        refused("twice", resigned(&token, |bytes| bytes.extend(bytes.clone()))),
    ];
    for bit in [0, 7, 1000, 2047] {
        cases.push(refused(&format!("bit {bit} flipped"), resigned(&token, |bytes| bytes[bit / 8] ^= 1 << (bit % 8))));
    }
    judge(&stage.issuers, cases).await;
}

#[tokio::test]
async fn signatures_of_curves_have_one_form() {
    let stage = Stage::set().await;
    let make = |signer: &Signer| stage.draft(signer).signed(signer);
    let mut cases = Vec::new();
    for signer in [&stage.p256, &stage.p384, &stage.ed25519] {
        let token = make(signer);
        let mut refused = |name: &str, change: &dyn Fn(&mut Vec<u8>)| {
            let name = format!("{}: {name}", signer.kid);
            cases.push(case(name, resigned(&token, change), &token, JwtError::Signature));
        };
        refused("zeros", &|bytes| bytes.fill(0));
        refused("all ones", &|bytes| bytes.fill(0xff));
        refused("halves exchanged", &|bytes| *bytes = halves_exchanged(bytes));
        refused("a byte less", &|bytes| bytes.truncate(bytes.len() - 1));
        refused("a byte more", &|bytes| bytes.push(0));
        refused("the first bit flipped", &|bytes| bytes[0] ^= 0x80);
        refused("the last bit flipped", &|bytes| bytes.last_mut().into_iter().for_each(|last| *last ^= 1));
        refused("in DER", &|bytes| *bytes = in_der(bytes));
    }
    judge(&stage.wide, cases).await;
}

fn halves_exchanged(bytes: &[u8]) -> Vec<u8> {
    let (first, second) = bytes.split_at(bytes.len() / 2);
    [second, first].concat()
}

/// Two numbers as certificates write them, which is not how tokens do.
fn in_der(numbers: &[u8]) -> Vec<u8> {
    let (first, second) = numbers.split_at(numbers.len() / 2);
    let number = |bytes: &[u8]| [&[2, bytes.len() as u8 + 1, 0], bytes].concat();
    let both = [number(first), number(second)].concat();
    [&[0x30, both.len() as u8], both.as_slice()].concat()
}

#[tokio::test]
async fn errors_repeat_nothing_of_the_token() {
    let stage = Stage::set().await;
    let canary = "canary\u{7}<script>";
    let changes: [Value; 6] = [
        json!({"iss": canary}),
        json!({"aud": canary}),
        json!({"exp": canary}),
        json!({"sub": canary}),
        json!({"groups": canary}),
        json!({"sub": [canary]}),
    ];
    let mut tokens: Vec<_> = changes.iter().map(|change| stage.claiming(change)).collect();
    tokens.extend(["kid", "alg", "typ", "crit"].map(|name| stage.headed(&json!({name: canary}))));
    tokens.push(canary.to_owned());
    for token in tokens {
        let error = stage.verify(&token).await.expect_err("refused");
        assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
    }
}
