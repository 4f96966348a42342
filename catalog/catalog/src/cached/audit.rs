//! The audit is not remembered: it is asked each time.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::CachedCatalog;
use crate::audit::{Audit, AuditEntry, AuditFilter, QueryEntry};
use crate::error::Result;
use crate::page::{Listing, Page};

#[async_trait]
impl Audit for CachedCatalog {
    async fn record(&self, entries: &[AuditEntry]) -> Result<()> {
        self.inner.record(entries).await
    }

    async fn record_queries(&self, queries: &[QueryEntry]) -> Result<()> {
        self.inner.record_queries(queries).await
    }

    async fn audit(&self, filter: &AuditFilter, page: &Page) -> Result<Listing<AuditEntry>> {
        self.inner.audit(filter, page).await
    }

    async fn audited_queries(&self, filter: &AuditFilter, page: &Page) -> Result<Listing<QueryEntry>> {
        self.inner.audited_queries(filter, page).await
    }

    async fn forget_audit(&self, before: DateTime<Utc>) -> Result<u64> {
        self.inner.forget_audit(before).await
    }
}
