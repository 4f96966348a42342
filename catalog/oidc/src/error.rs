//! Why a token does not count.

/// Why a token does not count. The text may go to the caller: it names claims and issuers of the settings, and repeats
/// nothing of the token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwtError {
    /// Longer than 16 KiB.
    #[error("the token is longer than 16 KiB")]
    TooLong,
    /// Not header, claims and signature; an encrypted token has five parts.
    #[error("the token is not a signed JWT: it does not have three parts")]
    NotThreeParts,
    /// A part is not base64 in the alphabet for URLs, without padding.
    #[error("the {0} of the token is not base64url without padding")]
    NotBase64(&'static str),
    /// A part is not JSON, or says something twice.
    #[error("the {0} of the token is not one JSON object whose members are distinct")]
    NotAnObject(&'static str),
    /// The header asks for an extension.
    #[error("the header of the token has `crit`: extensions are not supported")]
    Critical,
    /// `typ` names another kind of token.
    #[error("the header of the token has a `typ` other than JWT and at+jwt")]
    Type,
    /// `alg` is missing, unknown, or not one of the issuer's.
    #[error("the token is not signed with an algorithm that is accepted from its issuer")]
    Algorithm,
    /// `kid` is not a text of 1 to 256 bytes.
    #[error("the header of the token has a `kid` that is not a text of 1 to 256 bytes")]
    KeyId,
    /// `iss` is missing, or not exactly one of the settings.
    #[error("the token is not of an issuer that is accepted here")]
    UnknownIssuer,
    /// `aud` names others.
    #[error("the token is not meant for this gateway: its `aud` has no accepted audience")]
    Audience,
    /// A claim is missing or of another form than it must have.
    #[error("the claim `{name}` {wrong}")]
    Claim {
        /// Which, in the words of the settings.
        name: String,
        /// What is wrong with it, after "the claim ...".
        wrong: &'static str,
    },
    /// `exp` is over.
    #[error("the token has expired")]
    Expired,
    /// `nbf` is to come.
    #[error("the token is not valid yet")]
    NotYet,
    /// `iat` is to come.
    #[error("the token was issued in the future: compare the clocks of the issuer and of this gateway")]
    IssuedLater,
    /// No key of the issuer has its `kid`, or it has none and no key fits.
    #[error("the token is signed with a key that its issuer does not have")]
    UnknownKey,
    /// The key with its `kid` is not for its `alg`.
    #[error("the key that the token names is not for the algorithm of the token")]
    UnfitKey,
    /// Several keys fit.
    #[error("several keys of the issuer fit the token: the issuer must tell them apart by `kid`")]
    AmbiguousKey,
    /// The signature is not of this key, or not of these bytes.
    #[error("the signature of the token is wrong")]
    Signature,
    /// The issuer's keys cannot be fetched, and none that is kept fits.
    #[error("the keys of the issuer {issuer} cannot be fetched now: try again later")]
    Unavailable {
        /// `iss`, of the settings.
        issuer: String,
    },
}

impl JwtError {
    /// Whether nothing is known against the token: the caller may try it again (HTTP 503). Else it is refused (401).
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }

    pub(crate) fn claim(name: &str, wrong: &'static str) -> Self {
        Self::Claim { name: name.to_owned(), wrong }
    }
}
