//! [`Datasets`] in SQL.

use async_trait::async_trait;
use lakegate_catalog::{
    Caller, CatalogError, Change, Dataset, DatasetChange, DatasetId, DatasetName, Datasets, Grantee, Listing,
    Namespace, NamespaceRecord, NewDataset, Page, PrincipalId, Result, Role, Scope, Subject, Tombstone,
};

use crate::SqlCatalog;
use crate::database::{Tx, in_transaction};
use crate::error::{Failure, already_exists, not_found};
use crate::events::tell;
use crate::grants::put_grant;
use crate::principals::require_principal;
use crate::row::{Arg, Row, int, json, now, page_within, text, time, word};

/// Every column that [`read`] needs, in its order, from a table called `d`.
macro_rules! columns {
    () => {
        "d.id, d.name, d.kind, d.columns, d.primary_key, d.merge, d.event_time, d.geometry, d.visibility, d.description, \
         d.created_at, d.updated_at, d.schema_version, d.policy"
    };
}
pub(crate) use columns;

/// [`columns`], and then others.
macro_rules! select {
    ($rest:expr) => {
        select!("", $rest)
    };
    ($more:expr, $rest:expr) => {
        concat!("SELECT ", $crate::datasets::columns!(), $more, " FROM datasets d ", $rest)
    };
}

/// Whether a caller may see dataset `d`: `$2` are its [holders](Caller::holders), `$3` the datasets that its credential is
/// limited to, between bars, or nothing.
macro_rules! visible {
    () => {
        "(d.visibility = 'public' OR EXISTS (
            SELECT g.role FROM grants g
            WHERE (g.scope = 'instance' OR g.namespace = d.namespace OR g.dataset_id = d.id)
            AND (g.grantee = 'public' OR ($2 LIKE '%|' || g.grantee || '|%' AND ($3 = ''
                OR $3 LIKE '%|' || replace(d.name, '_', '!_') || '|%' ESCAPE '!'
                OR $3 LIKE '%|' || replace(d.namespace, '_', '!_') || '.*|%' ESCAPE '!')))))"
    };
}

/// What [`visible`] needs to know of a caller.
fn sight(caller: &Caller) -> [Arg; 2] {
    let limits = caller.identity().map(|identity| &identity.scope.datasets).filter(|limits| !limits.is_empty());
    let limits = limits.map(|limits| limits.iter().map(ToString::to_string).collect::<Vec<_>>().join("|"));
    [text(&caller.holders()), text(&limits.map_or_else(String::new, |limits| format!("|{limits}|")))]
}

pub(crate) fn read(row: &Row) -> Result<Dataset, Failure> {
    Ok(Dataset {
        id: row.parsed(0)?,
        name: row.parsed(1)?,
        kind: row.word(2)?,
        schema: row.json(3)?,
        schema_version: row.int(12)?.cast_unsigned(),
        primary_key: row.json(4)?,
        merge: row.word(5)?,
        event_time: row.optional_text(6)?,
        geometry: row.optional_text(7)?.map(|_| row.json(7)).transpose()?,
        visibility: row.word(8)?,
        policy: row.optional_text(13)?.map(|_| row.json(13)).transpose()?,
        description: row.text(9)?,
        created_at: row.time(10)?,
        updated_at: row.time(11)?,
    })
}

pub(crate) use select;

#[async_trait]
impl Datasets for SqlCatalog {
    async fn ensure_namespace(&self, namespace: &Namespace) -> Result<bool> {
        in_transaction!(self.database, |tx| put_namespace(&mut tx, namespace))
    }

    async fn namespace_exists(&self, namespace: &Namespace) -> Result<bool> {
        let sql = "SELECT name FROM namespaces WHERE name = $1";
        Ok(self.database.fetch_first(sql, [text(namespace)]).await?.is_some())
    }

    async fn create_dataset(&self, dataset: NewDataset, owner: PrincipalId) -> Result<Dataset> {
        dataset.check()?;
        in_transaction!(self.database, |tx| create(&mut tx, &dataset, owner))
    }

    async fn dataset(&self, name: &DatasetName) -> Result<Option<Dataset>> {
        let row = self.database.fetch_first(select!("WHERE d.name = $1"), [text(name)]).await?;
        Ok(row.as_ref().map(read).transpose()?)
    }

    async fn dataset_by_id(&self, id: DatasetId) -> Result<Option<Dataset>> {
        let row = self.database.fetch_first(select!("WHERE d.id = $1"), [text(&id)]).await?;
        Ok(row.as_ref().map(read).transpose()?)
    }

    async fn list_datasets(
        &self,
        caller: &Caller,
        namespace: Option<&Namespace>,
        page: &Page,
    ) -> Result<Listing<Dataset>> {
        let after = page.after(|cursor| cursor.parse::<DatasetName>().ok())?;
        // No name is empty: empty text stands for "from the start" and "any".
        let [holders, limits] = sight(caller);
        let args = [
            text(&after.map_or_else(String::new, |name| name.to_string())),
            holders,
            limits,
            int(i64::try_from(page.size() + 1).unwrap_or(i64::MAX)),
            text(&namespace.map_or("", Namespace::as_str)),
            int(Page::MAX_BYTES.cast_signed()),
        ];
        let sql = page_within!(
            concat!("SELECT ", columns!(), ", d.size"),
            concat!(" FROM datasets d WHERE d.name > $1 AND ($5 = '' OR d.namespace = $5) AND ", visible!()),
            "d.name",
            "",
            "$4",
            "$6"
        );
        let rows = self.database.fetch(sql, args).await?;
        let read = |row: &Row| Ok((read(row)?, row.int(14)?.cast_unsigned()));
        let items = rows.iter().map(read).collect::<Result<_, Failure>>()?;
        Ok(Listing::of_long(items, page.size(), |dataset: &Dataset| dataset.name.to_string()))
    }

    async fn list_namespaces(&self, caller: &Caller, page: &Page) -> Result<Listing<NamespaceRecord>> {
        let after = page.after(|cursor| Namespace::new(cursor).ok())?;
        let [holders, limits] = sight(caller);
        let args = [
            text(&after.as_ref().map_or("", Namespace::as_str)),
            holders,
            limits,
            int(i64::try_from(page.size() + 1).unwrap_or(i64::MAX)),
        ];
        let sql = concat!(
            "SELECT n.name, n.created_at FROM namespaces n WHERE n.name > $1 AND (EXISTS (
                SELECT g.role FROM grants g WHERE (g.scope = 'instance' OR g.namespace = n.name)
                AND (g.grantee = 'public' OR ($2 LIKE '%|' || g.grantee || '|%' AND ($3 = ''
                    OR $3 LIKE '%|' || replace(n.name, '_', '!_') || '.*|%' ESCAPE '!'))))
             OR EXISTS (SELECT d.id FROM datasets d WHERE d.namespace = n.name AND ",
            visible!(),
            ")) ORDER BY n.name LIMIT $4"
        );
        let read = |row: &Row| Ok(NamespaceRecord { name: row.parsed(0)?, created_at: row.time(1)? });
        let items = self.database.fetch(sql, args).await?.iter().map(read).collect::<Result<_, Failure>>()?;
        Ok(Listing::from_overfull(items, page.size(), |record: &NamespaceRecord| record.name.to_string()))
    }

    async fn delete_namespace(&self, namespace: &Namespace) -> Result<()> {
        in_transaction!(self.database, |tx| delete_namespace(&mut tx, namespace))
    }

    async fn update_dataset(&self, id: DatasetId, change: DatasetChange) -> Result<Dataset> {
        change.check()?;
        in_transaction!(self.database, |tx| update(&mut tx, id, &change))
    }

    async fn delete_dataset(&self, id: DatasetId) -> Result<()> {
        in_transaction!(self.database, |tx| delete(&mut tx, id))
    }

    async fn tombstones(&self) -> Result<Vec<Tombstone>> {
        let sql = "SELECT dataset_id, deleted_at FROM tombstones ORDER BY deleted_at, dataset_id LIMIT 1000";
        let read = |row: &Row| Ok(Tombstone { id: row.parsed(0)?, deleted_at: row.time(1)? });
        let rows = self.database.fetch(sql, []).await?;
        Ok(rows.iter().map(read).collect::<Result<_, Failure>>()?)
    }

    async fn forget_tombstone(&self, id: DatasetId) -> Result<()> {
        in_transaction!(self.database, |tx| forget(&mut tx, id))
    }
}

async fn put_namespace(tx: &mut Tx, namespace: &Namespace) -> Result<bool, Failure> {
    let sql = "INSERT INTO namespaces (name, created_at) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    Ok(tx.execute(sql, [text(namespace), time(now())]).await? > 0)
}

async fn delete_namespace(tx: &mut Tx, namespace: &Namespace) -> Result<(), Failure> {
    if tx.finds("SELECT id FROM datasets WHERE namespace = $1 LIMIT 1", [text(namespace)]).await? {
        return Err(CatalogError::NotEmpty { name: namespace.to_string() }.into());
    }
    let rights = tx.execute("DELETE FROM grants WHERE namespace = $1", [text(namespace)]).await?;
    if tx.execute("DELETE FROM namespaces WHERE name = $1", [text(namespace)]).await? == 0 {
        return Err(not_found("namespace", namespace));
    }
    // Whoever had one of them is not to have it on a namespace that gets the name later.
    if rights == 0 { Ok(()) } else { tell(tx, &[Change::RightsChanged]).await }
}

async fn create(tx: &mut Tx, new: &NewDataset, owner: PrincipalId) -> Result<Dataset, Failure> {
    let namespace = new.name.namespace();
    if !tx.finds("SELECT name FROM namespaces WHERE name = $1", [text(namespace)]).await? {
        return Err(not_found("namespace", namespace));
    }
    require_principal(tx, owner).await?;
    let at = now();
    let inserted = tx
        .execute(
            "INSERT INTO datasets (id, namespace, name, kind, columns, primary_key, merge, event_time, geometry,
             visibility, description, created_at, updated_at, size)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $12, $13) ON CONFLICT DO NOTHING",
            [
                text(&new.id),
                text(namespace),
                text(&new.name),
                word(&new.kind)?,
                json(&new.schema)?,
                json(&new.primary_key)?,
                word(&new.merge)?,
                Arg::Text(new.event_time.clone()),
                new.geometry.as_ref().map_or(Ok(Arg::Text(None)), json)?,
                word(&new.visibility)?,
                text(&new.description),
                time(at),
                int(new.size().cast_signed()),
            ],
        )
        .await?;
    if inserted == 0 {
        let name_is_taken = tx.finds("SELECT id FROM datasets WHERE name = $1", [text(&new.name)]).await?;
        return Err(if name_is_taken {
            already_exists("dataset", &new.name)
        } else {
            already_exists("dataset", &new.id)
        });
    }
    if tx.finds("SELECT dataset_id FROM tombstones WHERE dataset_id = $1", [text(&new.id)]).await? {
        return Err(already_exists("dataset", &new.id));
    }
    put_grant(tx, Grantee::Principal(owner), &Scope::Dataset(new.id), Role::Owner).await?;
    let rows = tx.fetch(select!("WHERE d.id = $1"), [text(&new.id)]).await?;
    let made = read(rows.first().ok_or_else(|| not_found("dataset", &new.id))?)?;
    tell(tx, &[Change::DatasetCreated(subject(&made))]).await?;
    Ok(made)
}

async fn update(tx: &mut Tx, id: DatasetId, change: &DatasetChange) -> Result<Dataset, Failure> {
    // Written first: whoever changes the same dataset waits here, and reads what this transaction made of it.
    let touched = "UPDATE datasets SET updated_at = $2 WHERE id = $1";
    if tx.execute(touched, [text(&id), time(now())]).await? == 0 {
        return Err(not_found("dataset", &id));
    }
    let found = tx.fetch(select!("WHERE d.id = $1"), [text(&id)]).await?;
    let mut dataset = read(found.first().ok_or_else(|| not_found("dataset", &id))?)?;
    change.clone().apply(&mut dataset);
    let sql = "UPDATE datasets SET columns = $2, visibility = $3, description = $4, schema_version = $5,
               primary_key = $6, merge = $7, event_time = $8, geometry = $9, policy = $10, size = $11 WHERE id = $1";
    let args = [
        text(&id),
        json(&dataset.schema)?,
        word(&dataset.visibility)?,
        text(&dataset.description),
        int(dataset.schema_version.cast_signed()),
        json(&dataset.primary_key)?,
        word(&dataset.merge)?,
        Arg::Text(dataset.event_time.clone()),
        dataset.geometry.as_ref().map_or(Ok(Arg::Text(None)), json)?,
        dataset.policy.as_ref().map_or(Ok(Arg::Text(None)), json)?,
        int(dataset.size().cast_signed()),
    ];
    tx.execute(sql, args).await?;
    tell(tx, &[Change::DatasetChanged(subject(&dataset))]).await?;
    Ok(dataset)
}

async fn delete(tx: &mut Tx, id: DatasetId) -> Result<(), Failure> {
    let found = tx.fetch("SELECT name FROM datasets WHERE id = $1", [text(&id)]).await?;
    let deleted = tx.execute("DELETE FROM datasets WHERE id = $1", [text(&id)]).await?;
    let Some(row) = found.first().filter(|_| deleted > 0) else { return Err(not_found("dataset", &id)) };
    let sql = "INSERT INTO tombstones (dataset_id, deleted_at) VALUES ($1, $2)";
    tx.execute(sql, [text(&id), time(now())]).await?;
    tell(tx, &[Change::DatasetDropped(Subject { dataset_id: id, dataset: row.parsed(0)? })]).await
}

fn subject(dataset: &Dataset) -> Subject {
    Subject { dataset_id: dataset.id, dataset: dataset.name.clone() }
}

async fn forget(tx: &mut Tx, id: DatasetId) -> Result<(), Failure> {
    tx.execute("DELETE FROM tombstones WHERE dataset_id = $1", [text(&id)]).await?;
    Ok(())
}
