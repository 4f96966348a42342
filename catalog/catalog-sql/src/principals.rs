//! [`Principals`] in SQL.

use async_trait::async_trait;
use chrono::{DateTime, SubsecRound as _, Utc};
use lakegate_catalog::{
    Attempt, Change, ExternalId, Failures, Grantee, Identity, Listing, NewPrincipal, NewToken, Page, PasswordHash,
    Principal, PrincipalId, Principals, Result, TokenHash, TokenId, TokenRecord, TokenScope,
};

use crate::SqlCatalog;
use crate::database::{Tx, in_transaction};
use crate::error::{Failure, already_exists, not_found};
use crate::events::tell;
use crate::grants::keep_an_owner_besides;
use crate::groups::read_group;
use crate::row::{Arg, Row, int, json, now, text, time, word};

pub(crate) fn read_principal(row: &Row) -> Result<Principal, Failure> {
    Ok(Principal { id: row.parsed(0)?, name: row.text(1)?, kind: row.word(2)?, created_at: row.time(3)? })
}

fn read_token(row: &Row) -> Result<TokenRecord, Failure> {
    Ok(TokenRecord {
        id: row.parsed(0)?,
        principal: row.parsed(1)?,
        name: row.text(2)?,
        created_at: row.time(3)?,
        expires_at: row.optional_time(4)?,
        scope: read_scope(row, 5)?,
    })
}

fn read_scope(row: &Row, column: usize) -> Result<TokenScope, Failure> {
    row.optional_text(column)?.map_or_else(|| Ok(TokenScope::default()), |_| row.json(column))
}

/// One row for each of its groups, or one without a group.
fn read_identity(rows: &[Row]) -> Result<Option<Identity>, Failure> {
    let Some(first) = rows.first() else { return Ok(None) };
    let in_groups = rows.iter().filter(|row| !matches!(row.optional_text(4), Ok(None)));
    let groups = in_groups.map(|row| read_group(row, 4)).collect::<Result<_, _>>()?;
    Ok(Some(Identity { groups, ..Identity::from(read_principal(first)?) }))
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

    async fn authenticate(&self, hash: &TokenHash, now: DateTime<Utc>) -> Result<Option<Identity>> {
        let sql = "SELECT p.id, p.name, p.kind, p.created_at, g.id, g.name, g.created_at, t.expires_at, t.scope
             FROM tokens t JOIN principals p ON p.id = t.principal_id
             LEFT JOIN group_members m ON m.principal_id = p.id LEFT JOIN principal_groups g ON g.id = m.group_id
             WHERE t.hash = $1 AND (t.expires_at IS NULL OR t.expires_at > $2) ORDER BY g.name";
        let rows = self.database.fetch(sql, [text(&hash.to_hex()), time(now)]).await?;
        let Some(identity) = read_identity(&rows)? else { return Ok(None) };
        let limits = |row: &Row| Ok::<_, Failure>((row.optional_time(7)?, read_scope(row, 8)?));
        let (expires_at, scope) = rows.first().map(limits).transpose()?.unwrap_or_default();
        Ok(Some(Identity { expires_at, scope, ..identity }))
    }

    async fn identify_external(&self, external: &ExternalId, groups: &[String]) -> Result<Option<Identity>> {
        let groups: String = groups
            .iter()
            .filter(|name| NewPrincipal::valid_name(name))
            .fold("|".to_owned(), |all, one| format!("{all}{one}|"));
        let sql = "SELECT p.id, p.name, p.kind, p.created_at, g.id, g.name, g.created_at
             FROM external_ids e JOIN principals p ON p.id = e.principal_id
             LEFT JOIN principal_groups g ON $3 LIKE '%|' || replace(g.name, '_', '!_') || '|%' ESCAPE '!'
                OR g.id IN (SELECT m.group_id FROM group_members m WHERE m.principal_id = p.id)
             WHERE e.issuer = $1 AND e.subject = $2 ORDER BY g.name";
        let args = [text(&external.issuer), text(&external.subject), text(&groups)];
        Ok(read_identity(&self.database.fetch(sql, args).await?)?)
    }

    async fn set_password(&self, id: PrincipalId, password: Option<PasswordHash>) -> Result<()> {
        in_transaction!(self.database, |tx| set_password(&mut tx, id, password.as_ref()))
    }

    async fn attempt_login(&self, name: &str, now: DateTime<Utc>) -> Result<Attempt> {
        if !NewPrincipal::valid_name(name) {
            return Ok(Attempt::Unknown);
        }
        in_transaction!(self.database, |tx| attempt_login(&mut tx, name, now))
    }

    async fn finish_login(&self, name: &str) -> Result<()> {
        in_transaction!(self.database, |tx| forget_failures(&mut tx, name))
    }

    async fn list_tokens(&self, principal: PrincipalId) -> Result<Vec<TokenRecord>> {
        let sql = "SELECT id, principal_id, name, created_at, expires_at, scope FROM tokens
             WHERE principal_id = $1 ORDER BY created_at, id";
        let rows = self.database.fetch(sql, [text(&principal)]).await?;
        Ok(rows.iter().map(read_token).collect::<Result<_, _>>()?)
    }

    async fn token(&self, id: TokenId) -> Result<Option<TokenRecord>> {
        let sql = "SELECT id, principal_id, name, created_at, expires_at, scope FROM tokens WHERE id = $1";
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
    if let Some(external) = &new.external {
        let sql = "INSERT INTO external_ids (issuer, subject, principal_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
        if tx.execute(sql, [text(&external.issuer), text(&external.subject), text(&made.id)]).await? == 0 {
            return Err(already_exists("external id", &external.subject));
        }
    }
    Ok(made)
}

async fn delete_principal(tx: &mut Tx, id: PrincipalId) -> Result<(), Failure> {
    require_principal(tx, id).await?;
    keep_an_owner_besides(tx, Grantee::Principal(id)).await?;
    if tx.execute("DELETE FROM principals WHERE id = $1", [text(&id)]).await? == 0 {
        return Err(not_found("principal", &id));
    }
    tell(tx, &[Change::RightsChanged]).await
}

pub(crate) async fn create_token(tx: &mut Tx, new: &NewToken) -> Result<TokenRecord, Failure> {
    require_principal(tx, new.principal).await?;
    let sql = "DELETE FROM tokens WHERE principal_id = $1 AND expires_at < $2";
    tx.execute(sql, [text(&new.principal), time(now() - TokenRecord::KEPT)]).await?;
    let made = TokenRecord {
        id: TokenId::generate(),
        principal: new.principal,
        name: new.name.clone(),
        created_at: now(),
        expires_at: new.expires_at.map(|time| time.trunc_subsecs(6)),
        scope: new.scope.clone(),
    };
    let sql = "INSERT INTO tokens (id, principal_id, name, hash, created_at, expires_at, scope)
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING";
    let args = [
        text(&made.id),
        text(&made.principal),
        text(&made.name),
        text(&new.hash.to_hex()),
        time(made.created_at),
        made.expires_at.map_or(Arg::Int(None), time),
        if made.scope.is_whole() { Arg::Text(None) } else { json(&made.scope)? },
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
    tell(tx, &[Change::RightsChanged]).await
}

async fn set_password(tx: &mut Tx, id: PrincipalId, password: Option<&PasswordHash>) -> Result<(), Failure> {
    let sql = "UPDATE principals SET password = $2 WHERE id = $1";
    let password = Arg::Text(password.map(|password| password.as_str().to_owned()));
    if tx.execute(sql, [text(&id), password]).await? == 0 {
        return Err(not_found("principal", &id));
    }
    let sql = "DELETE FROM login_failures WHERE name IN (SELECT name FROM principals WHERE id = $1)";
    tx.execute(sql, [text(&id)]).await?;
    Ok(())
}

async fn forget_failures(tx: &mut Tx, name: &str) -> Result<(), Failure> {
    tx.execute("DELETE FROM login_failures WHERE name = $1", [text(&name)]).await?;
    Ok(())
}

async fn attempt_login(tx: &mut Tx, name: &str, now: DateTime<Utc>) -> Result<Attempt, Failure> {
    tx.execute("DELETE FROM login_failures WHERE last_at <= $1", [time(now - Failures::AGE)]).await?;
    // Written first: whoever tries the same name waits here, and reads what this transaction counted.
    let first = "INSERT INTO login_failures (name, failures, last_at) VALUES ($1, 0, $2)
         ON CONFLICT (name) DO UPDATE SET last_at = excluded.last_at";
    tx.execute(first, [text(&name), time(now)]).await?;
    let known = tx.fetch("SELECT failures, locked_until FROM login_failures WHERE name = $1", [text(&name)]).await?;
    let read = |row: &Row| {
        let count = u32::try_from(row.int(0)?).unwrap_or(u32::MAX);
        Ok::<_, Failure>(Failures { count, locked_until: row.optional_time(1)? })
    };
    let failures = known.first().map(read).transpose()?.unwrap_or_default();
    if let Some(until) = failures.locked(now) {
        return Ok(Attempt::Locked { until });
    }
    let next = failures.one_more(now);
    let sql = "UPDATE login_failures SET failures = $2, locked_until = $3 WHERE name = $1";
    let until = next.locked_until.map_or(Arg::Int(None), time);
    tx.execute(sql, [text(&name), int(next.count.into()), until]).await?;
    let sql = "SELECT id, name, kind, created_at, password FROM principals WHERE name = $1 AND password IS NOT NULL";
    let found = tx.fetch(sql, [text(&name)]).await?;
    let Some(row) = found.first() else { return Ok(Attempt::Unknown) };
    let password = PasswordHash::try_from(row.text(4)?)?;
    Ok(Attempt::Check { principal: read_principal(row)?, password })
}
