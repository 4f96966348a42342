//! [`Audit`] in SQL: two tables of the same form, each entry as JSON beside what it is found by.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use lakegate_catalog::{
    Audit, AuditEntry, AuditFilter, AuditId, Audited, Listing, MAX_FORGOTTEN, Page, QueryEntry, Result,
};
use serde::de::DeserializeOwned;

use crate::SqlCatalog;
use crate::database::{Tx, in_transaction};
use crate::error::Failure;
use crate::row::{Arg, int, json, text, time};

/// An entry on its way into a table.
type New = [Arg; 4];

fn new(id: AuditId, at: DateTime<Utc>, by: Option<&Audited>, entry: Arg) -> New {
    [text(&id), time(at), Arg::Text(by.map(|by| by.id.to_string())), entry]
}

#[async_trait]
impl Audit for SqlCatalog {
    async fn record(&self, entries: &[AuditEntry]) -> Result<()> {
        let rows = entries.iter().map(|entry| Ok(new(entry.id, entry.at, entry.by.as_ref(), json(entry)?)));
        let rows: Vec<New> = rows.collect::<Result<_, Failure>>()?;
        let sql = "INSERT INTO audit (id, at, principal_id, entry) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
        in_transaction!(self.database, |tx| insert(&mut tx, sql, &rows))
    }

    async fn record_queries(&self, queries: &[QueryEntry]) -> Result<()> {
        let rows = queries.iter().map(|query| Ok(new(query.id, query.at, query.by.as_ref(), json(query)?)));
        let rows: Vec<New> = rows.collect::<Result<_, Failure>>()?;
        let sql = "INSERT INTO audited_queries (id, at, principal_id, entry) VALUES ($1, $2, $3, $4)
             ON CONFLICT DO NOTHING";
        in_transaction!(self.database, |tx| insert(&mut tx, sql, &rows))
    }

    async fn audit(&self, filter: &AuditFilter, page: &Page) -> Result<Listing<AuditEntry>> {
        let all = "SELECT entry FROM audit WHERE id < $1 AND at >= $2 AND at < $3 ORDER BY id DESC LIMIT $4";
        let of_one = "SELECT entry FROM audit WHERE id < $1 AND at >= $2 AND at < $3 AND principal_id = $5
             ORDER BY id DESC LIMIT $4";
        self.listing(all, of_one, filter, page, |entry: &AuditEntry| entry.id).await
    }

    async fn audited_queries(&self, filter: &AuditFilter, page: &Page) -> Result<Listing<QueryEntry>> {
        let all = "SELECT entry FROM audited_queries WHERE id < $1 AND at >= $2 AND at < $3 ORDER BY id DESC LIMIT $4";
        let of_one = "SELECT entry FROM audited_queries WHERE id < $1 AND at >= $2 AND at < $3 AND principal_id = $5
             ORDER BY id DESC LIMIT $4";
        self.listing(all, of_one, filter, page, |query: &QueryEntry| query.id).await
    }

    async fn forget_audit(&self, before: DateTime<Utc>) -> Result<u64> {
        in_transaction!(self.database, |tx| forget(&mut tx, before))
    }
}

impl SqlCatalog {
    async fn listing<T: DeserializeOwned>(
        &self,
        all: &'static str,
        of_one: &'static str,
        filter: &AuditFilter,
        page: &Page,
        id: impl Fn(&T) -> AuditId,
    ) -> Result<Listing<T>> {
        /// Sorts after every id.
        const LAST: &str = "g";
        let before = page.after(|text| text.parse::<AuditId>().ok())?;
        let before = before.map_or_else(|| text(&LAST), |id| text(&id));
        let (since, until) = (filter.since.map_or(int(i64::MIN), time), filter.until.map_or(int(i64::MAX), time));
        let limit = int(i64::try_from(page.size() + 1).unwrap_or(i64::MAX));
        let args = [before, since, until, limit].into_iter().chain(filter.by.as_ref().map(text));
        let sql = if filter.by.is_some() { of_one } else { all };
        let rows = self.database.fetch(sql, args).await?;
        let items = rows.iter().map(|row| row.json(0)).collect::<Result<Vec<T>, _>>()?;
        Ok(Listing::from_overfull(items, page.size(), |entry| id(entry).to_string()))
    }
}

async fn insert(tx: &mut Tx, sql: &'static str, rows: &[New]) -> Result<(), Failure> {
    for row in rows {
        tx.execute(sql, row.clone()).await?;
    }
    Ok(())
}

async fn forget(tx: &mut Tx, before: DateTime<Utc>) -> Result<u64, Failure> {
    let most = || int(i64::try_from(MAX_FORGOTTEN).unwrap_or(i64::MAX));
    let sql = "DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE at < $1 ORDER BY at LIMIT $2)";
    let entries = tx.execute(sql, [time(before), most()]).await?;
    let sql = "DELETE FROM audited_queries WHERE id IN (
                   SELECT id FROM audited_queries WHERE at < $1 ORDER BY at LIMIT $2)";
    Ok(entries + tx.execute(sql, [time(before), most()]).await?)
}
