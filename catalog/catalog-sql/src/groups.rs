//! [`Groups`] in SQL.

use async_trait::async_trait;
use lakegate_catalog::{Change, Group, GroupId, Groups, Listing, NewPrincipal, Page, Principal, PrincipalId, Result};

use crate::SqlCatalog;
use crate::database::{Tx, in_transaction};
use crate::error::{Failure, already_exists, not_found};
use crate::events::tell;
use crate::principals::{read_principal, require_principal};
use crate::row::{Row, int, now, text, time};

/// A group from three columns, the first of which is `at`.
pub(crate) fn read_group(row: &Row, at: usize) -> Result<Group, Failure> {
    Ok(Group { id: row.parsed(at)?, name: row.text(at + 1)?, created_at: row.time(at + 2)? })
}

fn read(rows: &[Row]) -> Result<Vec<Group>, Failure> {
    rows.iter().map(|row| read_group(row, 0)).collect()
}

#[async_trait]
impl Groups for SqlCatalog {
    async fn create_group(&self, name: &str) -> Result<Group> {
        Group::check_name(name)?;
        in_transaction!(self.database, |tx| create(&mut tx, name))
    }

    async fn group(&self, id: GroupId) -> Result<Option<Group>> {
        let sql = "SELECT id, name, created_at FROM principal_groups WHERE id = $1";
        Ok(read(&self.database.fetch(sql, [text(&id)]).await?)?.pop())
    }

    async fn group_by_name(&self, name: &str) -> Result<Option<Group>> {
        if !NewPrincipal::valid_name(name) {
            return Ok(None);
        }
        let sql = "SELECT id, name, created_at FROM principal_groups WHERE name = $1";
        Ok(read(&self.database.fetch(sql, [text(&name)]).await?)?.pop())
    }

    async fn list_groups(&self, page: &Page) -> Result<Listing<Group>> {
        let after = page.after(NewPrincipal::name_from)?.unwrap_or_default();
        let limit = i64::try_from(page.size() + 1).unwrap_or(i64::MAX);
        let sql = "SELECT id, name, created_at FROM principal_groups WHERE name > $1 ORDER BY name LIMIT $2";
        let items = read(&self.database.fetch(sql, [text(&after), int(limit)]).await?)?;
        Ok(Listing::from_overfull(items, page.size(), |group| group.name.clone()))
    }

    async fn delete_group(&self, id: GroupId) -> Result<()> {
        in_transaction!(self.database, |tx| delete(&mut tx, id))
    }

    async fn add_member(&self, group: GroupId, principal: PrincipalId) -> Result<()> {
        in_transaction!(self.database, |tx| add(&mut tx, group, principal))
    }

    async fn remove_member(&self, group: GroupId, principal: PrincipalId) -> Result<()> {
        in_transaction!(self.database, |tx| remove(&mut tx, group, principal))
    }

    async fn members(&self, group: GroupId, page: &Page) -> Result<Listing<Principal>> {
        let after = page.after(NewPrincipal::name_from)?.unwrap_or_default();
        let limit = i64::try_from(page.size() + 1).unwrap_or(i64::MAX);
        let sql = "SELECT p.id, p.name, p.kind, p.created_at FROM group_members m
             JOIN principals p ON p.id = m.principal_id
             WHERE m.group_id = $1 AND p.name > $2 ORDER BY p.name LIMIT $3";
        let rows = self.database.fetch(sql, [text(&group), text(&after), int(limit)]).await?;
        let items = rows.iter().map(read_principal).collect::<Result<_, _>>()?;
        Ok(Listing::from_overfull(items, page.size(), |principal: &Principal| principal.name.clone()))
    }

    async fn groups_of(&self, principal: PrincipalId) -> Result<Vec<Group>> {
        let sql = "SELECT g.id, g.name, g.created_at FROM group_members m
             JOIN principal_groups g ON g.id = m.group_id WHERE m.principal_id = $1 ORDER BY g.name";
        Ok(read(&self.database.fetch(sql, [text(&principal)]).await?)?)
    }
}

/// Fails with `NotFound` when there is no such group.
pub(crate) async fn require_group(tx: &mut Tx, id: GroupId) -> Result<(), Failure> {
    let found = tx.finds("SELECT id FROM principal_groups WHERE id = $1", [text(&id)]).await?;
    if found { Ok(()) } else { Err(not_found("group", &id)) }
}

async fn create(tx: &mut Tx, name: &str) -> Result<Group, Failure> {
    let made = Group { id: GroupId::generate(), name: name.to_owned(), created_at: now() };
    let sql = "INSERT INTO principal_groups (id, name, created_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
    if tx.execute(sql, [text(&made.id), text(&made.name), time(made.created_at)]).await? == 0 {
        return Err(already_exists("group", &name));
    }
    Ok(made)
}

async fn delete(tx: &mut Tx, id: GroupId) -> Result<(), Failure> {
    if tx.execute("DELETE FROM principal_groups WHERE id = $1", [text(&id)]).await? == 0 {
        return Err(not_found("group", &id));
    }
    tell(tx, &[Change::RightsChanged]).await
}

async fn add(tx: &mut Tx, group: GroupId, principal: PrincipalId) -> Result<(), Failure> {
    require_group(tx, group).await?;
    require_principal(tx, principal).await?;
    let sql = "INSERT INTO group_members (group_id, principal_id) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    let added = tx.execute(sql, [text(&group), text(&principal)]).await?;
    if added > 0 { tell(tx, &[Change::RightsChanged]).await } else { Ok(()) }
}

async fn remove(tx: &mut Tx, group: GroupId, principal: PrincipalId) -> Result<(), Failure> {
    let sql = "DELETE FROM group_members WHERE group_id = $1 AND principal_id = $2";
    if tx.execute(sql, [text(&group), text(&principal)]).await? == 0 {
        return Err(not_found("member", &principal));
    }
    tell(tx, &[Change::RightsChanged]).await
}
