//! [`Events`] in SQL.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use lakegate_catalog::{Change, DatasetId, Event, Events, Feed, MAX_EVENTS, MAX_FORGOTTEN, Result, Subject};
use tokio::time::{Instant, timeout};

use crate::SqlCatalog;
use crate::database::{Tx, in_transaction};
use crate::error::Failure;
use crate::row::{Row, corrupt, int, json, now, text, time};

fn read(row: &Row) -> Result<Event, Failure> {
    Ok(Event { id: row.int(0)?.cast_unsigned(), at: row.time(1)?, change: row.json(2)? })
}

#[async_trait]
impl Events for SqlCatalog {
    async fn tell_versions(&self, versions: &[(DatasetId, u64)]) -> Result<()> {
        if versions.is_empty() {
            return Ok(());
        }
        in_transaction!(self.database, |tx| tell_versions(&mut tx, versions))
    }

    async fn events(&self, after: u64, limit: usize) -> Result<Feed> {
        let limit = i64::try_from(limit.min(MAX_EVENTS)).unwrap_or(i64::MAX);
        let args = [int(i64::try_from(after).unwrap_or(i64::MAX)), int(limit)];
        let sql = "SELECT id, at, change, (SELECT MIN(id) FROM events) FROM events
             WHERE id > $1 ORDER BY id LIMIT $2";
        let mut rows = self.database.fetch(sql, args).await?;
        let astray = rows.is_empty() && after > self.last_event().await?;
        if astray {
            rows = self.database.fetch(sql, [int(0), int(limit)]).await?;
        }
        let first = rows.first().map(|row| row.int(3)).transpose()?.unwrap_or_default();
        let events = rows.iter().map(read).collect::<Result<_, _>>()?;
        Ok(Feed { events, missed: astray || after + 1 < first.cast_unsigned() })
    }

    async fn last_event(&self) -> Result<u64> {
        let row = self.database.fetch_first("SELECT last FROM event_counter", []).await?;
        let last = row.ok_or_else(|| corrupt(&"no row in `event_counter`"))?.int(0)?;
        Ok(last.cast_unsigned())
    }

    async fn wait_for_event(&self, after: u64, within: Duration) -> Result<u64> {
        let end = Instant::now() + within;
        loop {
            let woken = self.database.woken();
            tokio::pin!(woken);
            // From now on, so that what is told after the look is not slept through.
            woken.as_mut().enable();
            let last = self.last_event().await?;
            let left = end.saturating_duration_since(Instant::now());
            if last > after || left.is_zero() {
                return Ok(last);
            }
            let _ = timeout(left.min(self.database.dialect().looks_every()), woken).await;
        }
    }

    async fn forget_events(&self, before: DateTime<Utc>) -> Result<u64> {
        in_transaction!(self.database, |tx| forget(&mut tx, before))
    }
}

/// Tells of changes, as the last thing in their transaction: whoever else tells waits at the counter until it ends, so that
/// the order of ids is that of commits, and nobody sees an event before one with a lower id.
pub(crate) async fn tell(tx: &mut Tx, changes: &[Change]) -> Result<(), Failure> {
    if changes.is_empty() {
        return Ok(());
    }
    // Sent when the transaction ends; before the counter is taken, which others wait for.
    tx.notify().await?;
    let count = changes.len() as i64;
    let rows = tx.fetch("UPDATE event_counter SET last = last + $1 RETURNING last", [int(count)]).await?;
    let last = rows.first().ok_or_else(|| corrupt(&"no row in `event_counter`"))?.int(0)?;
    for (id, change) in (last - count + 1..).zip(changes) {
        let sql = "INSERT INTO events (id, at, change) VALUES ($1, $2, $3)";
        tx.execute(sql, [int(id), time(now()), json(change)?]).await?;
    }
    Ok(())
}

async fn tell_versions(tx: &mut Tx, versions: &[(DatasetId, u64)]) -> Result<(), Failure> {
    let mut changes = Vec::new();
    for (id, version) in versions {
        if let Some(row) = tx.fetch("SELECT name FROM datasets WHERE id = $1", [text(id)]).await?.first() {
            let subject = Subject { dataset_id: *id, dataset: row.parsed(0)? };
            changes.push(Change::VersionCommitted { subject, version: *version });
        }
    }
    tell(tx, &changes).await
}

async fn forget(tx: &mut Tx, before: DateTime<Utc>) -> Result<u64, Failure> {
    let sql = "DELETE FROM events WHERE id IN (
             SELECT id FROM events WHERE at < $1 AND id < (SELECT last FROM event_counter) ORDER BY at LIMIT $2)";
    tx.execute(sql, [time(before), int(i64::try_from(MAX_FORGOTTEN).unwrap_or(i64::MAX))]).await
}
