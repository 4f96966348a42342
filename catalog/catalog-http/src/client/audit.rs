//! The audit, asked of the companion.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use lakegate_catalog::{Audit, AuditEntry, AuditFilter, Listing, Page, QueryEntry, Result};

use super::HttpCatalog;
use crate::protocol;

#[async_trait]
impl Audit for HttpCatalog {
    async fn record(&self, entries: &[AuditEntry]) -> Result<()> {
        self.call(protocol::Record { entries: entries.to_vec() }).await
    }

    async fn record_queries(&self, queries: &[QueryEntry]) -> Result<()> {
        self.call(protocol::RecordQueries { queries: queries.to_vec() }).await
    }

    async fn audit(&self, filter: &AuditFilter, page: &Page) -> Result<Listing<AuditEntry>> {
        self.call(protocol::GetAudit { filter: filter.clone(), page: page.clone() }).await
    }

    async fn audited_queries(&self, filter: &AuditFilter, page: &Page) -> Result<Listing<QueryEntry>> {
        self.call(protocol::AuditedQueries { filter: filter.clone(), page: page.clone() }).await
    }

    async fn forget_audit(&self, before: DateTime<Utc>) -> Result<u64> {
        self.call(protocol::ForgetAudit { before }).await
    }
}
