//! [`Grants`] in SQL.

use async_trait::async_trait;
use lakegate_catalog::{CatalogError, Dataset, Grant, Grants, Namespace, PrincipalId, Result, Role, Scope};

use crate::SqlCatalog;
use crate::database::{Tx, in_transaction};
use crate::error::{Failure, not_found};
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
    Ok(Grant { principal: row.parsed(0)?, scope: read_scope(&row.text(1)?)?, role: role(row.int(2)?)? })
}

#[async_trait]
impl Grants for SqlCatalog {
    async fn grant(&self, grant: Grant) -> Result<()> {
        in_transaction!(self.database, |tx| give(&mut tx, &grant))
    }

    async fn revoke(&self, principal: PrincipalId, scope: &Scope) -> Result<()> {
        in_transaction!(self.database, |tx| take(&mut tx, principal, scope))
    }

    async fn grants_of(&self, principal: PrincipalId) -> Result<Vec<Grant>> {
        let sql = "SELECT principal_id, scope, role FROM grants WHERE principal_id = $1 ORDER BY scope";
        let rows = self.database.fetch(sql, [text(&principal)]).await?;
        Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
    }

    async fn grants_on(&self, scope: &Scope) -> Result<Vec<Grant>> {
        let sql = "SELECT principal_id, scope, role FROM grants WHERE scope = $1 ORDER BY principal_id";
        let rows = self.database.fetch(sql, [text(&scope_key(scope))]).await?;
        Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
    }

    async fn role_on_dataset(&self, principal: PrincipalId, dataset: &Dataset) -> Result<Option<Role>> {
        let namespace = dataset.name.namespace();
        let sql = "SELECT MAX(role) FROM grants
             WHERE principal_id = $1 AND (scope = 'instance' OR namespace = $2 OR dataset_id = $3)";
        self.highest(sql, &[text(&principal), text(namespace), text(&dataset.id)]).await
    }

    async fn role_on_namespace(&self, principal: PrincipalId, namespace: &Namespace) -> Result<Option<Role>> {
        let sql = "SELECT MAX(role) FROM grants WHERE principal_id = $1 AND (scope = 'instance' OR namespace = $2)";
        self.highest(sql, &[text(&principal), text(namespace)]).await
    }

    async fn role_on_instance(&self, principal: PrincipalId) -> Result<Option<Role>> {
        let sql = "SELECT MAX(role) FROM grants WHERE principal_id = $1 AND scope = 'instance'";
        self.highest(sql, &[text(&principal)]).await
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
    require_principal(tx, grant.principal).await?;
    let exists = match &grant.scope {
        Scope::Instance => true,
        Scope::Namespace(name) => tx.finds("SELECT name FROM namespaces WHERE name = $1", [text(name)]).await?,
        Scope::Dataset(id) => tx.finds("SELECT id FROM datasets WHERE id = $1", [text(id)]).await?,
    };
    match &grant.scope {
        Scope::Namespace(name) if !exists => return Err(not_found("namespace", name)),
        Scope::Dataset(id) if !exists => return Err(not_found("dataset", id)),
        Scope::Instance if grant.role < Role::Owner => keep_an_owner_besides(tx, grant.principal).await?,
        Scope::Instance => lock_owners(tx).await?,
        _ => {}
    }
    put_grant(tx, grant.principal, &grant.scope, grant.role).await
}

async fn take(tx: &mut Tx, principal: PrincipalId, scope: &Scope) -> Result<(), Failure> {
    if *scope == Scope::Instance {
        keep_an_owner_besides(tx, principal).await?;
    }
    let sql = "DELETE FROM grants WHERE principal_id = $1 AND scope = $2";
    if tx.execute(sql, [text(&principal), text(&scope_key(scope))]).await? == 0 {
        return Err(not_found("grant of principal", &principal));
    }
    Ok(())
}

/// Stores a grant in place of the one that the principal has on the scope.
pub(crate) async fn put_grant(tx: &mut Tx, principal: PrincipalId, scope: &Scope, role: Role) -> Result<(), Failure> {
    let (namespace, dataset) = match scope {
        Scope::Instance => (Arg::Text(None), Arg::Text(None)),
        Scope::Namespace(name) => (text(name), Arg::Text(None)),
        Scope::Dataset(id) => (Arg::Text(None), text(id)),
    };
    let sql = "INSERT INTO grants (principal_id, scope, namespace, dataset_id, role) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (principal_id, scope) DO UPDATE SET role = excluded.role";
    tx.execute(sql, [text(&principal), text(&scope_key(scope)), namespace, dataset, int(number(role))]).await?;
    Ok(())
}

/// Waits for every other transaction that changes who owns the instance, and makes later ones wait for
/// this one. What is read afterwards stays true until the commit.
pub(crate) async fn lock_owners(tx: &mut Tx) -> Result<(), Failure> {
    tx.execute("UPDATE instance SET changes = changes + 1 WHERE id = 1", []).await?;
    Ok(())
}

/// Fails with `LastOwner` when this principal is the only owner of the instance.
pub(crate) async fn keep_an_owner_besides(tx: &mut Tx, principal: PrincipalId) -> Result<(), Failure> {
    lock_owners(tx).await?;
    let owners = owners(tx).await?;
    if owners == [principal] { Err(CatalogError::LastOwner.into()) } else { Ok(()) }
}

/// Two of the instance's owners; fewer when it has fewer.
pub(crate) async fn owners(tx: &mut Tx) -> Result<Vec<PrincipalId>, Failure> {
    let sql = "SELECT principal_id FROM grants WHERE scope = 'instance' AND role = 4 LIMIT 2";
    tx.fetch(sql, []).await?.iter().map(|row| row.parsed(0)).collect()
}
