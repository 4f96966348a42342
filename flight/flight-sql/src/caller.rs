//! Who calls, from the `authorization` metadata.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use chrono::Utc;
use lakegate_catalog::{ApiToken, Caller, Catalog, ErrorKind};
use tonic::metadata::MetadataMap;

use crate::status::{Failure, Result};

/// Clients differ in whether they fill up what they encode.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The caller of a request. A credential that is malformed, unknown or expired is refused whatever the call; none at all
/// is [`Caller::Anonymous`], and so is `Bearer None`, which some clients send when they have no token.
pub(crate) async fn caller(catalog: &dyn Catalog, metadata: &MetadataMap) -> Result<Caller> {
    match token(metadata)? {
        None => Ok(Caller::Anonymous),
        Some(token) => match catalog.authenticate(&token.hash(), Utc::now()).await? {
            Some(known) => Ok(Caller::Principal(known.principal)),
            None => Err(refused("the token is unknown, revoked or expired; ask an owner for a new one")),
        },
    }
}

/// The token of a request, not yet looked up.
pub(crate) fn token(metadata: &MetadataMap) -> Result<Option<ApiToken>> {
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
        token => ApiToken::parse(token).map(Some).ok_or_else(|| refused(HELP)),
    }
}

/// `user:password`, where the password is a token. The user is not asked for: the token says who it is. An empty
/// password is none.
fn of_basic(credential: &str) -> Result<Option<ApiToken>> {
    const HELP: &str = "give a Lakegate API token (lg_…) as the password; any user name will do";
    let decoded = BASE64.decode(credential).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let pair = decoded.ok_or_else(|| refused(HELP))?;
    let (_, password) = pair.split_once(':').ok_or_else(|| refused(HELP))?;
    match password {
        "" => Ok(None),
        token => ApiToken::parse(token).map(Some).ok_or_else(|| refused(HELP)),
    }
}

fn refused(detail: &str) -> Failure {
    Failure::new(ErrorKind::Unauthenticated, "unauthenticated", detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Result<Option<ApiToken>> {
        let mut metadata = MetadataMap::new();
        metadata.insert("authorization", value.parse().expect("ascii"));
        token(&metadata)
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
            assert_eq!(read(&good).expect(&good), Some(token.clone()), "{good}");
        }
        for nobody in ["Bearer None".to_owned(), basic("ann:".to_owned()), basic(":".to_owned())] {
            assert_eq!(read(&nobody).expect(&nobody), None, "{nobody}");
        }
        for bad in
            ["Bearer", "Bearer lg_x", "Digest x", "Basic ???", &basic("ann".to_owned()), &basic("a:b".to_owned())]
        {
            assert_eq!(read(bad).expect_err(bad).kind, ErrorKind::Unauthenticated, "{bad}");
        }
        assert_eq!(super::token(&MetadataMap::new()).expect("none"), None);
    }
}
