//! Principals and their API tokens.

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::access::Identity;
use crate::error::{CatalogError, Result};
use crate::ids::{PrincipalId, TokenId};
use crate::page::{Listing, Page};
use crate::password::{Attempt, PasswordHash};
use crate::token::TokenHash;
use crate::token_scope::TokenScope;

/// What kind of caller a principal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PrincipalKind {
    /// A person.
    User,
    /// A program.
    Service,
    /// A gateway of this instance: it may ask the companion, and nothing else.
    Gateway,
}

/// Someone or something that calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    /// Names it for ever.
    pub id: PrincipalId,
    /// Unique, `[a-z][a-z0-9_.@-]{0,62}`.
    pub name: String,
    /// Person or program.
    pub kind: PrincipalKind,
    /// When it was created; microseconds are kept.
    pub created_at: DateTime<Utc>,
}

/// A principal to create.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewPrincipal {
    /// The name; must be free and match `[a-z][a-z0-9_.@-]{0,62}`.
    pub name: String,
    /// Person or program.
    pub kind: PrincipalKind,
    /// Who it is to an issuer of tokens, if it comes from one; must be free.
    #[serde(default)]
    pub external: Option<ExternalId>,
}

/// Who a principal is to somebody else who vouches for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExternalId {
    /// The issuer, `iss` of its tokens.
    pub issuer: String,
    /// The principal there, `sub`.
    pub subject: String,
}

impl NewPrincipal {
    /// Checks the rules of its texts; every implementation calls it before it stores anything.
    pub fn check(&self) -> Result<()> {
        let text =
            |text: &String| !text.is_empty() && text.chars().count() <= 256 && !text.chars().any(char::is_control);
        if let Some(external) = &self.external
            && !(text(&external.issuer) && text(&external.subject))
        {
            return Err(CatalogError::Invalid {
                what: "external id".into(),
                value: external.subject.chars().take(80).collect(),
                why: "issuer and subject have 1 to 256 characters, none of them a control character".to_owned(),
            });
        }
        if Self::valid_name(&self.name) {
            return Ok(());
        }
        Err(CatalogError::Invalid {
            what: "principal name".into(),
            value: self.name.chars().take(80).collect(),
            why: "it must match [a-z][a-z0-9_.@-]{0,62}".to_owned(),
        })
    }

    /// The text as a name, if it can be one.
    pub fn name_from(text: &str) -> Option<String> {
        Self::valid_name(text).then(|| text.to_owned())
    }

    /// Whether a principal could have this name; a look-up of any other is answered without the store.
    pub fn valid_name(name: &str) -> bool {
        let bytes = name.as_bytes();
        let allowed = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_.@-".contains(b);
        bytes.first().is_some_and(u8::is_ascii_lowercase) && bytes.iter().all(allowed) && bytes.len() <= 63
    }
}

/// What the catalog keeps of a token: never the token itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRecord {
    /// Names the token for listing and revoking.
    pub id: TokenId,
    /// Whose it is.
    pub principal: PrincipalId,
    /// What its owner calls it.
    pub name: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it stops working; `None` never.
    pub expires_at: Option<DateTime<Utc>>,
    /// What it is limited to.
    #[serde(default)]
    pub scope: TokenScope,
}

impl TokenRecord {
    /// How long the record of a token is kept after the token's end, at least: it goes when its principal gets another token.
    pub const KEPT: TimeDelta = TimeDelta::days(1);
}

/// A token to keep.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NewToken {
    /// Whose it is.
    pub principal: PrincipalId,
    /// What its owner calls it; free text up to 100 characters, no control characters.
    pub name: String,
    /// The SHA-256 of the token.
    pub hash: TokenHash,
    /// When it stops working; microseconds are kept.
    pub expires_at: Option<DateTime<Utc>>,
    /// What it is limited to.
    #[serde(default)]
    pub scope: TokenScope,
}

impl NewToken {
    /// Checks the rules of name and scope; every implementation calls it before it stores anything.
    pub fn check(&self) -> Result<()> {
        self.scope.check()?;
        if self.name.chars().count() <= 100 && !self.name.chars().any(char::is_control) {
            return Ok(());
        }
        Err(CatalogError::Invalid {
            what: "token name".into(),
            value: self.name.chars().take(80).collect(),
            why: "it must have at most 100 characters, none of them a control character".to_owned(),
        })
    }
}

/// Principals and tokens.
#[async_trait]
pub trait Principals: Send + Sync {
    /// Creates a principal. Errors: `AlreadyExists` for the name or the external id, `Invalid`.
    async fn create_principal(&self, principal: NewPrincipal) -> Result<Principal>;

    /// The principal with this id.
    async fn principal(&self, id: PrincipalId) -> Result<Option<Principal>>;

    /// The principal with this name.
    async fn principal_by_name(&self, name: &str) -> Result<Option<Principal>>;

    /// All principals, by name. Errors: `Invalid` for a cursor that no listing gave.
    async fn list_principals(&self, page: &Page) -> Result<Listing<Principal>>;

    /// Deletes a principal with its tokens and grants. Errors: `NotFound`, `LastOwner`.
    async fn delete_principal(&self, id: PrincipalId) -> Result<()>;

    /// Keeps a token, and forgets those of its principal that ended [`TokenRecord::KEPT`] ago. Errors: `NotFound` for the
    /// principal, `AlreadyExists` for a hash that is kept already, `Invalid`.
    async fn create_token(&self, token: NewToken) -> Result<TokenRecord>;

    /// Whom the unexpired token with this hash stands for. A token works while `now` is before `expires_at`.
    async fn authenticate(&self, hash: &TokenHash, now: DateTime<Utc>) -> Result<Option<Identity>>;

    /// Whom an issuer's token stands for: the principal that has this external id, in its own groups and in those of
    /// `groups`, names of the issuer's, that there are. Limits and end are the token's, and for the caller to set.
    async fn identify_external(&self, external: &ExternalId, groups: &[String]) -> Result<Option<Identity>>;

    /// Sets a principal's password, or takes it away; wrong passwords are forgotten. Errors: `NotFound`.
    async fn set_password(&self, id: PrincipalId, password: Option<PasswordHash>) -> Result<()>;

    /// Looks up whose password is to be compared, and counts a wrong one for this name, whether or not there is such a
    /// principal. [`crate::log_in`] is what calls it.
    async fn attempt_login(&self, name: &str, now: DateTime<Utc>) -> Result<Attempt>;

    /// The password was right: wrong ones for this name are forgotten.
    async fn finish_login(&self, name: &str) -> Result<()>;

    /// The tokens of a principal, oldest first, expired ones too.
    async fn list_tokens(&self, principal: PrincipalId) -> Result<Vec<TokenRecord>>;

    /// The token with this id.
    async fn token(&self, id: TokenId) -> Result<Option<TokenRecord>>;

    /// Makes a token stop working at once. Errors: `NotFound`.
    async fn revoke_token(&self, id: TokenId) -> Result<()>;
}
