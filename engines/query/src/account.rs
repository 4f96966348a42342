//! What the audit is told of a query: an entry for each dataset that it read, and the query itself.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, SubsecRound as _, Utc};
use lakegate_catalog::{
    AuditAction, AuditEntry, AuditId, Audited, Caller, DatasetId, DatasetName, Protocol, QueryEntry, Trail,
};

use crate::engine::QueryRequest;
use crate::error::QueryError;
use crate::record::QueryState;

/// A dataset that a query reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Read {
    pub(crate) name: DatasetName,
    pub(crate) id: DatasetId,
    /// `None` where only what is known of its versions is read.
    pub(crate) version: Option<u64>,
}

/// On whose behalf a query runs, and who is told how it ended.
#[derive(Debug)]
pub(crate) struct Account {
    trail: Arc<Trail>,
    by: Option<Audited>,
    protocol: Protocol,
    request_id: Option<String>,
}

/// A query that has ended.
pub(crate) struct Ending<'a> {
    pub(crate) query_id: &'a str,
    pub(crate) sql: &'a str,
    pub(crate) state: QueryState,
    pub(crate) started_at: DateTime<Utc>,
    pub(crate) elapsed: Duration,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    pub(crate) versions: &'a [(String, u64)],
    pub(crate) reads: &'a [Read],
    pub(crate) error: Option<&'a QueryError>,
}

impl Account {
    pub(crate) fn new(trail: &Arc<Trail>, caller: &Caller, request: &QueryRequest) -> Self {
        Self {
            trail: Arc::clone(trail),
            by: caller.principal().map(Audited::from),
            protocol: request.protocol,
            request_id: request.request_id.clone(),
        }
    }

    /// A query has ended.
    pub(crate) fn ended(&self, ending: &Ending<'_>) {
        let entry = AuditEntry {
            rows: Some(ending.rows),
            bytes: Some(ending.bytes),
            ..self.entry(Some(ending.query_id), ending.error)
        };
        for read in ending.reads {
            let (dataset, dataset_id) = (Some(read.name.clone()), Some(read.id));
            let id = AuditId::generate();
            self.trail.add(AuditEntry { id, dataset, dataset_id, version: read.version, ..entry.clone() });
        }
        if ending.reads.is_empty() {
            self.trail.add(entry);
        }
        self.trail.add_query(QueryEntry {
            id: AuditId::generate(),
            at: ending.started_at.trunc_subsecs(6),
            query_id: ending.query_id.to_owned(),
            by: self.by.clone(),
            protocol: self.protocol,
            sql: ending.sql.to_owned(),
            state: ending.state.as_str().to_owned(),
            elapsed_ms: u64::try_from(ending.elapsed.as_millis()).unwrap_or(u64::MAX),
            rows: ending.rows,
            bytes: ending.bytes,
            versions: ending.versions.iter().cloned().collect(),
            code: ending.error.map(|error| error.code().to_owned()),
        });
    }

    /// A statement was refused before anything ran.
    pub(crate) fn refused(&self, query_id: Option<&str>, error: &QueryError) {
        self.trail.add(self.entry(query_id, Some(error)));
    }

    fn entry(&self, query_id: Option<&str>, error: Option<&QueryError>) -> AuditEntry {
        AuditEntry {
            // One that may not be seen has the name that was asked for.
            dataset: error.and_then(QueryError::dataset).and_then(|name| name.parse().ok()),
            query_id: query_id.map(str::to_owned),
            request_id: self.request_id.clone(),
            ..AuditEntry::new(self.protocol, AuditAction::Query, self.by.clone())
                .ended(error.map(|error| (error.kind(), error.code())))
        }
    }
}
