//! The first owner of a new instance.

use crate::Catalog;
use crate::error::Result;
use crate::principal::{NewPrincipal, PrincipalKind};
use crate::token::ApiToken;

/// Makes sure that the instance has an owner. Answers the token of the owner that it created, to be
/// shown once, or `None` when there was one already.
///
/// The token exists nowhere else once this returns: a caller that must not lose it in a crash writes
/// it down first and calls [`Catalog::create_first_owner`] itself.
pub async fn ensure_owner(catalog: &dyn Catalog, name: &str) -> Result<Option<ApiToken>> {
    let token = ApiToken::generate();
    let owner = NewPrincipal { name: name.to_owned(), kind: PrincipalKind::User, external: None };
    let created = catalog.create_first_owner(owner, &token.hash()).await?;
    Ok(created.map(|_| token))
}
