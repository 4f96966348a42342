//! [`Grants`] in SQL.

use std::borrow::Cow;
use std::sync::Arc;

use async_trait::async_trait;
use lakegate_catalog::{
    Access, Caller, CatalogError, Change, DatasetId, DatasetName, Grant, Grantee, Grants, Namespace, PrincipalId,
    Result, Role, Scope, Visibility,
};

use crate::SqlCatalog;
use crate::database::{Tx, in_transaction};
use crate::datasets::{read as read_dataset, select};
use crate::error::{Failure, not_found};
use crate::events::tell;
use crate::groups::require_group;
use crate::principals::require_principal;
use crate::row::{Arg, Row, int, text};

fn number(role: Role) -> i64 {
    match role {
        Role::Reader => 1,
        Role::Writer => 2,
        Role::Maintainer => 3,
        Role::Owner => 4,
    }
}

fn role(number: i64) -> Result<Role, Failure> {
    match number {
        1 => Ok(Role::Reader),
        2 => Ok(Role::Writer),
        3 => Ok(Role::Maintainer),
        4 => Ok(Role::Owner),
        _ => Err(CatalogError::Corrupt(format!("role {number}")).into()),
    }
}

/// The scope as the key of its grants.
fn scope_key(scope: &Scope) -> String {
    match scope {
        Scope::Instance => "instance".to_owned(),
        Scope::Namespace(namespace) => format!("namespace:{namespace}"),
        Scope::Dataset(id) => format!("dataset:{id}"),
    }
}

fn read_scope(key: &str) -> Result<Scope, Failure> {
    let scope = match key.split_once(':') {
        None if key == "instance" => Some(Scope::Instance),
        Some(("namespace", name)) => Namespace::new(name).ok().map(Scope::Namespace),
        Some(("dataset", id)) => id.parse().ok().map(Scope::Dataset),
        _ => None,
    };
    scope.ok_or_else(|| CatalogError::Corrupt(format!("scope `{key}`")).into())
}

fn read(row: &Row) -> Result<Grant, Failure> {
    let grantee = match (row.optional_text(1)?, row.optional_text(2)?) {
        (Some(_), _) => Grantee::Principal(row.parsed(1)?),
        (None, Some(_)) => Grantee::Group(row.parsed(2)?),
        (None, None) => Grantee::Public,
    };
    Ok(Grant { grantee, scope: read_scope(&row.text(3)?)?, role: role(row.int(4)?)? })
}

/// Of one dataset `d`, and the highest role on it of [holders](Caller::holders) `$2`.
macro_rules! access {
    ($rest:literal) => {
        select!(
            ", (SELECT MAX(g.role) FROM grants g WHERE $2 LIKE '%|' || g.grantee || '|%'
                AND (g.scope = 'instance' OR g.namespace = d.namespace OR g.dataset_id = d.id))",
            $rest
        )
    };
}

fn read_access(row: &Row) -> Result<Option<Access>, Failure> {
    let dataset = read_dataset(row)?;
    let public = (dataset.visibility == Visibility::Public).then_some(Role::Reader);
    let granted = row.optional_int(14)?.map(role).transpose()?;
    Ok(granted.max(public).map(|role| Access { dataset: Arc::new(dataset), role }))
}

#[async_trait]
impl Grants for SqlCatalog {
    async fn grant(&self, grant: Grant) -> Result<()> {
        grant.check()?;
        in_transaction!(self.database, |tx| give(&mut tx, &grant))
    }

    async fn revoke(&self, grantee: Grantee, scope: &Scope) -> Result<()> {
        in_transaction!(self.database, |tx| take(&mut tx, grantee, scope))
    }

    async fn grants_of(&self, grantee: Grantee) -> Result<Vec<Grant>> {
        let sql = "SELECT grantee, principal_id, group_id, scope, role FROM grants WHERE grantee = $1 ORDER BY scope";
        let rows = self.database.fetch(sql, [text(&grantee)]).await?;
        Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
    }

    async fn grants_on(&self, scope: &Scope) -> Result<Vec<Grant>> {
        let sql = "SELECT grantee, principal_id, group_id, scope, role FROM grants WHERE scope = $1 ORDER BY grantee";
        let rows = self.database.fetch(sql, [text(&scope_key(scope))]).await?;
        Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
    }

    async fn access(&self, caller: &Caller, name: &DatasetName) -> Result<Option<Access>> {
        let args = [text(name), text(&caller.on_dataset(name).holders())];
        let row = self.database.fetch_first(access!("WHERE d.name = $1"), args).await?;
        Ok(row.map(|row| read_access(&row)).transpose()?.flatten())
    }

    async fn access_by_id(&self, caller: &Caller, id: DatasetId) -> Result<Option<Access>> {
        let row = self.database.fetch_first(access!("WHERE d.id = $1"), [text(&id), text(&caller.holders())]).await?;
        let Some(found) = row.map(|row| read_access(&row)).transpose()?.flatten() else { return Ok(None) };
        // Only now is it known whether the credential reaches it.
        match caller.on_dataset(&found.dataset.name) {
            Cow::Borrowed(_) => Ok(Some(found)),
            Cow::Owned(nobody) => self.access(&nobody, &found.dataset.name).await,
        }
    }

    async fn role_on_namespace(&self, caller: &Caller, namespace: &Namespace) -> Result<Option<Role>> {
        let sql = "SELECT MAX(g.role) FROM grants g
             WHERE $1 LIKE '%|' || g.grantee || '|%' AND (g.scope = 'instance' OR g.namespace = $2)";
        self.highest(sql, &[text(&caller.on_namespace(namespace).holders()), text(namespace)]).await
    }

    async fn role_on_instance(&self, caller: &Caller) -> Result<Option<Role>> {
        let sql = "SELECT MAX(g.role) FROM grants g WHERE $1 LIKE '%|' || g.grantee || '|%' AND g.scope = 'instance'";
        self.highest(sql, &[text(&caller.on_instance().holders())]).await
    }
}

impl SqlCatalog {
    /// The role that a statement finds; `None` when it finds no grant.
    async fn highest(&self, sql: &'static str, args: &[Arg]) -> Result<Option<Role>> {
        let row = self.database.fetch_first(sql, args.iter().cloned()).await?;
        let highest = row.map(|row| row.optional_int(0)).transpose()?.flatten();
        Ok(highest.map(role).transpose()?)
    }
}

async fn give(tx: &mut Tx, grant: &Grant) -> Result<(), Failure> {
    match grant.grantee {
        Grantee::Principal(id) => require_principal(tx, id).await?,
        Grantee::Group(id) => require_group(tx, id).await?,
        Grantee::Public => {}
    }
    let exists = match &grant.scope {
        Scope::Instance => true,
        Scope::Namespace(name) => tx.finds("SELECT name FROM namespaces WHERE name = $1", [text(name)]).await?,
        Scope::Dataset(id) => tx.finds("SELECT id FROM datasets WHERE id = $1", [text(id)]).await?,
    };
    match &grant.scope {
        Scope::Namespace(name) if !exists => return Err(not_found("namespace", name)),
        Scope::Dataset(id) if !exists => return Err(not_found("dataset", id)),
        Scope::Instance if grant.role < Role::Owner => keep_an_owner_besides(tx, grant.grantee).await?,
        Scope::Instance => lock_owners(tx).await?,
        _ => {}
    }
    put_grant(tx, grant.grantee, &grant.scope, grant.role).await?;
    tell(tx, &[Change::RightsChanged]).await
}

async fn take(tx: &mut Tx, grantee: Grantee, scope: &Scope) -> Result<(), Failure> {
    if *scope == Scope::Instance {
        keep_an_owner_besides(tx, grantee).await?;
    }
    let sql = "DELETE FROM grants WHERE grantee = $1 AND scope = $2";
    if tx.execute(sql, [text(&grantee), text(&scope_key(scope))]).await? == 0 {
        return Err(not_found("grant to", &grantee));
    }
    tell(tx, &[Change::RightsChanged]).await
}

/// Stores a grant in place of the one that the grantee has on the scope.
pub(crate) async fn put_grant(tx: &mut Tx, grantee: Grantee, scope: &Scope, role: Role) -> Result<(), Failure> {
    const NONE: Arg = Arg::Text(None);
    let (namespace, dataset) = match scope {
        Scope::Instance => (NONE, NONE),
        Scope::Namespace(name) => (text(name), NONE),
        Scope::Dataset(id) => (NONE, text(id)),
    };
    let (principal, group) = match &grantee {
        Grantee::Principal(id) => (text(id), NONE),
        Grantee::Group(id) => (NONE, text(id)),
        Grantee::Public => (NONE, NONE),
    };
    let sql = "INSERT INTO grants (grantee, principal_id, group_id, scope, namespace, dataset_id, role)
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (grantee, scope) DO UPDATE SET role = excluded.role";
    let args = [text(&grantee), principal, group, text(&scope_key(scope)), namespace, dataset, int(number(role))];
    tx.execute(sql, args).await?;
    Ok(())
}

/// Waits for every other transaction that changes who owns the instance, and makes later ones wait for
/// this one. What is read afterwards stays true until the commit.
pub(crate) async fn lock_owners(tx: &mut Tx) -> Result<(), Failure> {
    tx.execute("UPDATE instance SET changes = changes + 1 WHERE id = 1", []).await?;
    Ok(())
}

/// Fails with `LastOwner` when this is the only principal that owns the instance by itself.
pub(crate) async fn keep_an_owner_besides(tx: &mut Tx, grantee: Grantee) -> Result<(), Failure> {
    lock_owners(tx).await?;
    let owners = owners(tx).await?;
    let last = matches!((grantee, owners.as_slice()), (Grantee::Principal(id), [only]) if id == *only);
    if last { Err(CatalogError::LastOwner.into()) } else { Ok(()) }
}

/// Two of the principals that own the instance by themselves; fewer when there are fewer.
pub(crate) async fn owners(tx: &mut Tx) -> Result<Vec<PrincipalId>, Failure> {
    let sql = "SELECT principal_id FROM grants
         WHERE scope = 'instance' AND role = 4 AND principal_id IS NOT NULL LIMIT 2";
    tx.fetch(sql, []).await?.iter().map(|row| row.parsed(0)).collect()
}
