//! [`Audit`] in memory.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::MemoryCatalog;
use crate::audit::{Audit, AuditEntry, AuditFilter, MAX_FORGOTTEN, QueryEntry};
use crate::error::Result;
use crate::ids::AuditId;
use crate::page::{Listing, Page};

/// What is kept.
#[derive(Default)]
pub(super) struct Audited {
    entries: BTreeMap<AuditId, AuditEntry>,
    queries: BTreeMap<AuditId, QueryEntry>,
}

/// The newest first, from after the page's cursor.
fn page<T: Clone>(
    all: &BTreeMap<AuditId, T>,
    page: &Page,
    admits: impl Fn(&T) -> bool,
    id: impl Fn(&T) -> AuditId,
) -> Result<Listing<T>> {
    let before = page.after(|text| text.parse::<AuditId>().ok())?;
    let older = all.iter().rev().filter(|(id, _)| before.is_none_or(|before| **id < before));
    let items = older.map(|(_, entry)| entry).filter(|entry| admits(entry)).take(page.size() + 1).cloned().collect();
    Ok(Listing::from_overfull(items, page.size(), |entry| id(entry).to_string()))
}

#[async_trait]
impl Audit for MemoryCatalog {
    async fn record(&self, entries: &[AuditEntry]) -> Result<()> {
        let kept = &mut self.state.lock().audited.entries;
        for entry in entries {
            kept.entry(entry.id).or_insert_with(|| entry.clone());
        }
        Ok(())
    }

    async fn record_queries(&self, queries: &[QueryEntry]) -> Result<()> {
        let kept = &mut self.state.lock().audited.queries;
        for query in queries {
            kept.entry(query.id).or_insert_with(|| query.clone());
        }
        Ok(())
    }

    async fn audit(&self, filter: &AuditFilter, of: &Page) -> Result<Listing<AuditEntry>> {
        let admits = |entry: &AuditEntry| filter.admits(entry.at, entry.by.as_ref());
        page(&self.state.lock().audited.entries, of, admits, |entry| entry.id)
    }

    async fn audited_queries(&self, filter: &AuditFilter, of: &Page) -> Result<Listing<QueryEntry>> {
        let admits = |query: &QueryEntry| filter.admits(query.at, query.by.as_ref());
        page(&self.state.lock().audited.queries, of, admits, |query| query.id)
    }

    async fn forget_audit(&self, before: DateTime<Utc>) -> Result<u64> {
        let audited = &mut self.state.lock().audited;
        let entries = forget(&mut audited.entries, |entry| entry.at < before);
        Ok(entries + forget(&mut audited.queries, |query| query.at < before))
    }
}

fn forget<T>(kept: &mut BTreeMap<AuditId, T>, old: impl Fn(&T) -> bool) -> u64 {
    let gone = kept.iter().filter(|(_, entry)| old(entry)).map(|(id, _)| *id).take(MAX_FORGOTTEN);
    let gone: Vec<_> = gone.collect();
    gone.iter().for_each(|id| drop(kept.remove(id)));
    gone.len() as u64
}
