//! The first owner of the instance, in one transaction.

use lakegate_catalog::{Grantee, NewPrincipal, NewToken, Principal, Role, Scope, TokenHash, TokenScope};

use crate::database::Tx;
use crate::error::Failure;
use crate::grants::{lock_owners, owners, put_grant};
use crate::principals::{create_principal, create_token};

pub(crate) async fn create_first(
    tx: &mut Tx,
    new: &NewPrincipal,
    token: &TokenHash,
) -> Result<Option<Principal>, Failure> {
    lock_owners(tx).await?;
    if !owners(tx).await?.is_empty() {
        return Ok(None);
    }
    let owner = create_principal(tx, new).await?;
    let token = NewToken {
        principal: owner.id,
        name: "owner".to_owned(),
        hash: *token,
        expires_at: None,
        scope: TokenScope::default(),
    };
    create_token(tx, &token).await?;
    put_grant(tx, Grantee::Principal(owner.id), &Scope::Instance, Role::Owner).await?;
    Ok(Some(owner))
}
