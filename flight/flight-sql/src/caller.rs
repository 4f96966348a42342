//! Who calls, from the `authorization` metadata.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use lakegate_catalog::{ApiToken, Bearer, Caller, Door, ErrorKind};
use tonic::metadata::MetadataMap;

use crate::status::{Failure, Result};

/// Clients differ in whether they fill up what they encode.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a client shows of itself.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Credential {
    /// An API token.
    Token(ApiToken),
    /// A token of another issuer.
    Foreign(String),
    /// A name and a password, for the handshake.
    Password { name: String, password: String },
}

/// The caller of a request. A credential that is malformed, unknown or expired is refused whatever the call; none at all
/// is [`Caller::Anonymous`], and so is `Bearer None`, which some clients send when they have no token.
pub(crate) async fn caller(door: &Door, metadata: &MetadataMap) -> Result<Caller> {
    let bearer = credential(metadata)?;
    let bearer = match &bearer {
        None => return Ok(Caller::Anonymous),
        Some(Credential::Token(token)) => Bearer::Token(token),
        Some(Credential::Foreign(token)) => Bearer::Foreign(token),
        Some(Credential::Password { .. }) => {
            return Err(refused("a name and a password are for the handshake: send the token that it answers"));
        }
    };
    Ok(door.admit(bearer, None, None).await?.into())
}

/// The credential of a request, not yet looked at.
pub(crate) fn credential(metadata: &MetadataMap) -> Result<Option<Credential>> {
    const HELP: &str =
        "the authorization metadata must be `Bearer lg_…`, or `Basic` with a Lakegate API token as password";
    let mut sent = metadata.get_all("authorization").iter();
    let Some(value) = sent.next() else { return Ok(None) };
    if sent.next().is_some() {
        return Err(refused("send one authorization entry"));
    }
    let text = value.to_str().map_err(|_| refused(HELP))?;
    let (scheme, credential) = text.split_once(' ').ok_or_else(|| refused(HELP))?;
    let credential = credential.trim();
    if scheme.eq_ignore_ascii_case("basic") {
        return of_basic(credential);
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(refused(HELP));
    }
    match credential {
        "None" => Ok(None),
        text => of_bearer(text).map(Some).ok_or_else(|| refused(HELP)),
    }
}

fn of_bearer(text: &str) -> Option<Credential> {
    let foreign = || Bearer::foreign(text).map(|_| Credential::Foreign(text.to_owned()));
    ApiToken::parse(text).map(Credential::Token).or_else(foreign)
}

/// `user:password`, where the password is a token, whoever the user is, or the user's own. Neither is nobody.
fn of_basic(text: &str) -> Result<Option<Credential>> {
    const HELP: &str = "give a name and its password, or a Lakegate API token (lg_…) as the password with any name";
    let decoded = BASE64.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let pair = decoded.ok_or_else(|| refused(HELP))?;
    match pair.split_once(':').ok_or_else(|| refused(HELP))? {
        ("", "") => Ok(None),
        (_, "") => Err(refused(HELP)),
        // A token with a typing mistake is no password.
        (_, password) if password.starts_with("lg_") && ApiToken::parse(password).is_none() => Err(refused(HELP)),
        (name, password) => Ok(Some(
            of_bearer(password)
                .unwrap_or_else(|| Credential::Password { name: name.to_owned(), password: password.to_owned() }),
        )),
    }
}

fn refused(detail: &str) -> Failure {
    Failure::new(ErrorKind::Unauthenticated, "unauthenticated", detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Result<Option<Credential>, ErrorKind> {
        let mut metadata = MetadataMap::new();
        metadata.insert("authorization", value.parse().expect("ascii"));
        credential(&metadata).map_err(|failure| failure.kind)
    }

    #[test]
    fn a_token_comes_as_bearer_or_as_password() {
        let token = ApiToken::generate();
        let basic = |pair: String| format!("Basic {}", BASE64.encode(pair));
        for good in [
            format!("Bearer {}", token.reveal()),
            format!("bearer  {}", token.reveal()),
            basic(format!("ann:{}", token.reveal())),
            basic(format!(":{}", token.reveal())),
            basic(format!("ann:{}", token.reveal())).trim_end_matches('=').to_owned(),
        ] {
            assert!(read(&good) == Ok(Some(Credential::Token(token.clone()))), "{good}");
        }
        for nobody in ["Bearer None".to_owned(), basic(":".to_owned())] {
            assert!(read(&nobody) == Ok(None), "{nobody}");
        }
        for bad in
            ["Bearer", "Bearer lg_x", "Digest x", "Basic ???", &basic("ann".to_owned()), &basic("ann:".to_owned())]
        {
            assert!(read(bad) == Err(ErrorKind::Unauthenticated), "{bad}");
        }
        let own = Credential::Password { name: "ann".to_owned(), password: "b:c".to_owned() };
        assert!(read(&basic("ann:b:c".to_owned())) == Ok(Some(own)));
        assert!(read("Bearer a.b.c") == Ok(Some(Credential::Foreign("a.b.c".to_owned()))));
        assert!(matches!(credential(&MetadataMap::new()), Ok(None)));
    }
}
