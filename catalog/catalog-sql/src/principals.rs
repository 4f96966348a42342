//! [`Principals`] in SQL.

use async_trait::async_trait;
use chrono::{DateTime, SubsecRound as _, Utc};
use lakegate_catalog::{
    Authenticated, Listing, NewPrincipal, NewToken, Page, Principal, PrincipalId, Principals, Result, TokenHash,
    TokenId, TokenRecord,
};

use crate::SqlCatalog;
use crate::database::{Tx, in_transaction};
use crate::error::{Failure, already_exists, not_found};
use crate::grants::keep_an_owner_besides;
use crate::row::{Arg, Row, int, now, text, time, word};

fn read_principal(row: &Row) -> Result<Principal, Failure> {
    Ok(Principal { id: row.parsed(0)?, name: row.text(1)?, kind: row.word(2)?, created_at: row.time(3)? })
}

fn read_token(row: &Row) -> Result<TokenRecord, Failure> {
    Ok(TokenRecord {
        id: row.parsed(0)?,
        principal: row.parsed(1)?,
        name: row.text(2)?,
        created_at: row.time(3)?,
        expires_at: row.optional_time(4)?,
    })
}

#[async_trait]
impl Principals for SqlCatalog {
    async fn create_principal(&self, principal: NewPrincipal) -> Result<Principal> {
        principal.check()?;
        in_transaction!(self.database, |tx| create_principal(&mut tx, &principal))
    }

    async fn principal(&self, id: PrincipalId) -> Result<Option<Principal>> {
        let sql = "SELECT id, name, kind, created_at FROM principals WHERE id = $1";
        let row = self.database.fetch_first(sql, [text(&id)]).await?;
        Ok(row.as_ref().map(read_principal).transpose()?)
    }

    async fn principal_by_name(&self, name: &str) -> Result<Option<Principal>> {
        if !NewPrincipal::valid_name(name) {
            return Ok(None);
        }
        let sql = "SELECT id, name, kind, created_at FROM principals WHERE name = $1";
        let row = self.database.fetch_first(sql, [text(&name)]).await?;
        Ok(row.as_ref().map(read_principal).transpose()?)
    }

    async fn list_principals(&self, page: &Page) -> Result<Listing<Principal>> {
        let after = page.after(NewPrincipal::name_from)?.unwrap_or_default();
        let limit = i64::try_from(page.size() + 1).unwrap_or(i64::MAX);
        let sql = "SELECT id, name, kind, created_at FROM principals WHERE name > $1 ORDER BY name LIMIT $2";
        let rows = self.database.fetch(sql, [text(&after), int(limit)]).await?;
        let items = rows.iter().map(read_principal).collect::<Result<_, _>>()?;
        Ok(Listing::from_overfull(items, page.size(), |principal| principal.name.clone()))
    }

    async fn delete_principal(&self, id: PrincipalId) -> Result<()> {
        in_transaction!(self.database, |tx| delete_principal(&mut tx, id))
    }

    async fn create_token(&self, token: NewToken) -> Result<TokenRecord> {
        token.check()?;
        in_transaction!(self.database, |tx| create_token(&mut tx, &token))
    }

    async fn authenticate(&self, hash: &TokenHash, now: DateTime<Utc>) -> Result<Option<Authenticated>> {
        let sql = "SELECT p.id, p.name, p.kind, p.created_at, t.expires_at FROM tokens t
             JOIN principals p ON p.id = t.principal_id
             WHERE t.hash = $1 AND (t.expires_at IS NULL OR t.expires_at > $2)";
        let row = self.database.fetch_first(sql, [text(&hash.to_hex()), time(now)]).await?;
        let read = |row: &Row| {
            Ok::<_, Failure>(Authenticated { principal: read_principal(row)?, expires_at: row.optional_time(4)? })
        };
        Ok(row.as_ref().map(read).transpose()?)
    }

    async fn list_tokens(&self, principal: PrincipalId) -> Result<Vec<TokenRecord>> {
        let sql = "SELECT id, principal_id, name, created_at, expires_at FROM tokens
             WHERE principal_id = $1 ORDER BY created_at, id";
        let rows = self.database.fetch(sql, [text(&principal)]).await?;
        Ok(rows.iter().map(read_token).collect::<Result<_, _>>()?)
    }

    async fn token(&self, id: TokenId) -> Result<Option<TokenRecord>> {
        let sql = "SELECT id, principal_id, name, created_at, expires_at FROM tokens WHERE id = $1";
        let row = self.database.fetch_first(sql, [text(&id)]).await?;
        Ok(row.as_ref().map(read_token).transpose()?)
    }

    async fn revoke_token(&self, id: TokenId) -> Result<()> {
        in_transaction!(self.database, |tx| revoke_token(&mut tx, id))
    }
}

/// Fails with `NotFound` when there is no such principal.
pub(crate) async fn require_principal(tx: &mut Tx, id: PrincipalId) -> Result<(), Failure> {
    let found = tx.finds("SELECT id FROM principals WHERE id = $1", [text(&id)]).await?;
    if found { Ok(()) } else { Err(not_found("principal", &id)) }
}

pub(crate) async fn create_principal(tx: &mut Tx, new: &NewPrincipal) -> Result<Principal, Failure> {
    let made = Principal { id: PrincipalId::generate(), name: new.name.clone(), kind: new.kind, created_at: now() };
    let sql = "INSERT INTO principals (id, name, kind, created_at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
    let args = [text(&made.id), text(&made.name), word(&made.kind)?, time(made.created_at)];
    if tx.execute(sql, args).await? == 0 {
        return Err(already_exists("principal", &new.name));
    }
    Ok(made)
}

async fn delete_principal(tx: &mut Tx, id: PrincipalId) -> Result<(), Failure> {
    require_principal(tx, id).await?;
    keep_an_owner_besides(tx, id).await?;
    if tx.execute("DELETE FROM principals WHERE id = $1", [text(&id)]).await? == 0 {
        return Err(not_found("principal", &id));
    }
    Ok(())
}

pub(crate) async fn create_token(tx: &mut Tx, new: &NewToken) -> Result<TokenRecord, Failure> {
    require_principal(tx, new.principal).await?;
    let made = TokenRecord {
        id: TokenId::generate(),
        principal: new.principal,
        name: new.name.clone(),
        created_at: now(),
        expires_at: new.expires_at.map(|time| time.trunc_subsecs(6)),
    };
    let sql = "INSERT INTO tokens (id, principal_id, name, hash, created_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING";
    let args = [
        text(&made.id),
        text(&made.principal),
        text(&made.name),
        text(&new.hash.to_hex()),
        time(made.created_at),
        made.expires_at.map_or(Arg::Int(None), time),
    ];
    if tx.execute(sql, args).await? == 0 {
        return Err(already_exists("token", &new.name));
    }
    Ok(made)
}

async fn revoke_token(tx: &mut Tx, id: TokenId) -> Result<(), Failure> {
    if tx.execute("DELETE FROM tokens WHERE id = $1", [text(&id)]).await? == 0 {
        return Err(not_found("token", &id));
    }
    Ok(())
}
