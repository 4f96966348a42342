//! Principals and their API tokens.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::error::{CatalogError, Result};
use crate::ids::{PrincipalId, TokenId};
use crate::page::{Listing, Page};
use crate::token::TokenHash;

/// What kind of caller a principal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PrincipalKind {
    /// A person.
    User,
    /// A program.
    Service,
}

/// Someone or something that calls.
#[derive(Clone, Debug, PartialEq, Eq)]
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPrincipal {
    /// The name; must be free and match `[a-z][a-z0-9_.@-]{0,62}`.
    pub name: String,
    /// Person or program.
    pub kind: PrincipalKind,
}

impl NewPrincipal {
    /// Checks the name's rule; every implementation calls it before it stores anything.
    pub fn check(&self) -> Result<()> {
        if Self::valid_name(&self.name) {
            return Ok(());
        }
        Err(CatalogError::Invalid {
            what: "principal name",
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
#[derive(Clone, Debug, PartialEq, Eq)]
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
}

/// A token to keep.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// Whose it is.
    pub principal: PrincipalId,
    /// What its owner calls it; free text up to 100 characters, no control characters.
    pub name: String,
    /// The SHA-256 of the token.
    pub hash: TokenHash,
    /// When it stops working; microseconds are kept.
    pub expires_at: Option<DateTime<Utc>>,
}

impl NewToken {
    /// Checks the name's rule; every implementation calls it before it stores anything.
    pub fn check(&self) -> Result<()> {
        if self.name.chars().count() <= 100 && !self.name.chars().any(char::is_control) {
            return Ok(());
        }
        Err(CatalogError::Invalid {
            what: "token name",
            value: self.name.chars().take(80).collect(),
            why: "it must have at most 100 characters, none of them a control character".to_owned(),
        })
    }
}

/// Whom a token stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authenticated {
    /// The principal.
    pub principal: Principal,
    /// When the token stops working; what the caller makes with it must not outlive it.
    pub expires_at: Option<DateTime<Utc>>,
}

/// Principals and tokens.
#[async_trait]
pub trait Principals: Send + Sync {
    /// Creates a principal. Errors: `AlreadyExists`, `Invalid`.
    async fn create_principal(&self, principal: NewPrincipal) -> Result<Principal>;

    /// The principal with this id.
    async fn principal(&self, id: PrincipalId) -> Result<Option<Principal>>;

    /// The principal with this name.
    async fn principal_by_name(&self, name: &str) -> Result<Option<Principal>>;

    /// All principals, by name. Errors: `Invalid` for a cursor that no listing gave.
    async fn list_principals(&self, page: &Page) -> Result<Listing<Principal>>;

    /// Deletes a principal with its tokens and grants. Errors: `NotFound`, `LastOwner`.
    async fn delete_principal(&self, id: PrincipalId) -> Result<()>;

    /// Keeps a token. Errors: `NotFound` for the principal, `AlreadyExists` for a hash that is kept
    /// already, `Invalid`.
    async fn create_token(&self, token: NewToken) -> Result<TokenRecord>;

    /// The principal whose unexpired token has this hash, and the token's end. A token works while
    /// `now` is before `expires_at`.
    async fn authenticate(&self, hash: &TokenHash, now: DateTime<Utc>) -> Result<Option<Authenticated>>;

    /// The tokens of a principal, oldest first, expired ones too.
    async fn list_tokens(&self, principal: PrincipalId) -> Result<Vec<TokenRecord>>;

    /// The token with this id.
    async fn token(&self, id: TokenId) -> Result<Option<TokenRecord>>;

    /// Makes a token stop working at once. Errors: `NotFound`.
    async fn revoke_token(&self, id: TokenId) -> Result<()>;
}
