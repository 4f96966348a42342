//! The columns of each relation of `system`, and their rows.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray, TimestampMicrosecondArray};
use chrono::{DateTime, Utc};
use lakegate_catalog::{AuditEntry, Audited, Column, ColumnType, Job, QueryEntry};
use lakegate_statement::SystemView;

use ColumnType::{BigInt, String as Text, Timestamp};

/// The columns of a relation, as `information_schema` has them.
pub(crate) fn columns(view: SystemView) -> Vec<Column> {
    let all: &[(&str, ColumnType)] = match view {
        SystemView::Audit => &[
            ("id", Text),
            ("at", Timestamp),
            ("principal", Text),
            ("principal_id", Text),
            ("protocol", Text),
            ("action", Text),
            ("decision", Text),
            ("code", Text),
            ("dataset", Text),
            ("dataset_id", Text),
            ("version", BigInt),
            ("rows", BigInt),
            ("bytes", BigInt),
            ("query_id", Text),
            ("request_id", Text),
            ("detail", Text),
        ],
        SystemView::Queries => &[
            ("id", Text),
            ("at", Timestamp),
            ("query_id", Text),
            ("principal", Text),
            ("principal_id", Text),
            ("protocol", Text),
            ("sql", Text),
            ("state", Text),
            ("elapsed_ms", BigInt),
            ("rows", BigInt),
            ("bytes", BigInt),
            ("versions", Text),
            ("code", Text),
        ],
        SystemView::Jobs => &[
            ("id", Text),
            ("kind", Text),
            ("state", Text),
            ("priority", BigInt),
            ("principal_id", Text),
            ("dataset", Text),
            ("labels", Text),
            ("attempts", BigInt),
            ("progress_done", BigInt),
            ("progress_total", BigInt),
            ("error_code", Text),
            ("error_detail", Text),
            ("created_at", Timestamp),
            ("started_at", Timestamp),
            ("ended_at", Timestamp),
        ],
    };
    all.iter().map(|(name, ty)| Column::new(*name, ty.clone())).collect()
}

pub(super) fn audit(entries: &[AuditEntry]) -> Vec<ArrayRef> {
    vec![
        text(entries, |entry| Some(entry.id.to_string())),
        time(entries, |entry| Some(entry.at)),
        text(entries, |entry| name_of(entry.by.as_ref())),
        text(entries, |entry| id_of(entry.by.as_ref())),
        text(entries, |entry| Some(entry.protocol.as_str())),
        text(entries, |entry| Some(entry.action.as_str())),
        text(entries, |entry| Some(entry.decision.as_str())),
        text(entries, |entry| entry.code.clone()),
        text(entries, |entry| entry.dataset.as_ref().map(ToString::to_string)),
        text(entries, |entry| entry.dataset_id.map(|id| id.to_string())),
        whole(entries, |entry| entry.version),
        whole(entries, |entry| entry.rows),
        whole(entries, |entry| entry.bytes),
        text(entries, |entry| entry.query_id.clone()),
        text(entries, |entry| entry.request_id.clone()),
        text(entries, |entry| entry.detail.clone()),
    ]
}

pub(super) fn queries(queries: &[QueryEntry]) -> Vec<ArrayRef> {
    vec![
        text(queries, |query| Some(query.id.to_string())),
        time(queries, |query| Some(query.at)),
        text(queries, |query| Some(query.query_id.clone())),
        text(queries, |query| name_of(query.by.as_ref())),
        text(queries, |query| id_of(query.by.as_ref())),
        text(queries, |query| Some(query.protocol.as_str())),
        text(queries, |query| Some(query.sql.clone())),
        text(queries, |query| Some(query.state.clone())),
        whole(queries, |query| Some(query.elapsed_ms)),
        whole(queries, |query| Some(query.rows)),
        whole(queries, |query| Some(query.bytes)),
        text(queries, |query| Some(json(&query.versions))),
        text(queries, |query| query.code.clone()),
    ]
}

/// Neither parameters nor results: they may hold what their owner keeps to itself.
pub(super) fn jobs(jobs: &[Job]) -> Vec<ArrayRef> {
    vec![
        text(jobs, |job| Some(job.id.to_string())),
        text(jobs, |job| Some(job.kind.clone())),
        text(jobs, |job| Some(job.state.as_str())),
        Arc::new(jobs.iter().map(|job| Some(i64::from(job.priority))).collect::<Int64Array>()),
        text(jobs, |job| job.by.map(|id| id.to_string())),
        text(jobs, |job| job.dataset.as_ref().map(|subject| subject.dataset.to_string())),
        text(jobs, |job| Some(json(&job.labels))),
        whole(jobs, |job| Some(u64::from(job.attempts))),
        whole(jobs, |job| job.progress.as_ref().map(|progress| progress.done)),
        whole(jobs, |job| job.progress.as_ref().and_then(|progress| progress.total)),
        text(jobs, |job| job.error.as_ref().map(|error| error.code.clone())),
        text(jobs, |job| job.error.as_ref().map(|error| error.detail.clone())),
        time(jobs, |job| Some(job.created_at)),
        time(jobs, |job| job.started_at),
        time(jobs, |job| job.ended_at),
    ]
}

fn name_of(by: Option<&Audited>) -> Option<String> {
    by.map(|by| by.name.clone())
}

fn id_of(by: Option<&Audited>) -> Option<String> {
    by.map(|by| by.id.to_string())
}

fn json<T: serde::Serialize>(map: &T) -> String {
    serde_json::to_string(map).unwrap_or_default()
}

fn text<T, V: AsRef<str>>(items: &[T], value: impl Fn(&T) -> Option<V>) -> ArrayRef {
    Arc::new(items.iter().map(value).collect::<StringArray>())
}

fn whole<T>(items: &[T], value: impl Fn(&T) -> Option<u64>) -> ArrayRef {
    Arc::new(items.iter().map(|item| value(item).and_then(|n| i64::try_from(n).ok())).collect::<Int64Array>())
}

fn time<T>(items: &[T], value: impl Fn(&T) -> Option<DateTime<Utc>>) -> ArrayRef {
    let micros = items.iter().map(|item| value(item).map(|at| at.timestamp_micros()));
    Arc::new(micros.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
}
