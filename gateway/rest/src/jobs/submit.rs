//! `POST /v1/jobs`: a statement that runs in the background.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use lakegate_catalog::{Action, NewJob, Protocol};
use lakegate_formats::{Format, RowEncoder};
use lakegate_query::{BackgroundQuery, QueryRequest};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use utoipa::ToSchema;

use crate::app::App;
use crate::caller::Identified;
use crate::extract::{Json, whole};
use crate::jobs::{JobDocument, accepted, is_label_name};
use crate::problem::{Problem, Result};
use crate::query::{duration, rows_limit};
use crate::{refusals, words};

/// How often a statement is begun: a gateway that ends in its middle should not end it, and one that it ends should be the last
/// but two.
const ATTEMPTS: u32 = 3;

/// The most that a priority may be, up or down.
const MOST: i64 = 100;

/// A job to submit.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "kind": "query", "sql": "SELECT state, count(*) AS n FROM demo.airports GROUP BY state", "labels": {"team": "maps"}
}))]
pub(crate) struct SubmitJob {
    /// `query`, a statement in the background.
    #[schema(value_type = words::SubmittedKind)]
    kind: String,
    /// One SELECT, WITH, VALUES or EXPLAIN.
    #[serde(default)]
    #[schema(value_type = String, required = true, min_length = 1)]
    sql: Option<String>,
    /// A list for `$1`, `$2`, …, or an object for `$name`.
    #[serde(default)]
    #[schema(value_type = Option<words::Params>)]
    params: serde_json::Value,
    /// Which version of each dataset to read where the statement does not say; the newest when it runs, when not given.
    #[serde(default)]
    #[schema(value_type = Option<words::AsOf>)]
    as_of: serde_json::Value,
    /// At most this many rows.
    #[serde(default, deserialize_with = "whole")]
    #[schema(minimum = 0, maximum = 9007199254740992_i64)]
    limit: Option<u64>,
    /// How long it may take once it runs, such as `"30m"`; the setting `jobs.query_timeout` is the most, and what holds when not
    /// given.
    #[serde(default)]
    #[schema(value_type = Option<words::Timeout>)]
    timeout: Option<String>,
    /// Words to find it by, at most 16.
    #[serde(default)]
    #[schema(value_type = words::Labels)]
    labels: BTreeMap<String, String>,
    /// -100 to 100; higher ones go first.
    #[serde(default, deserialize_with = "priority")]
    #[schema(value_type = i16, minimum = -100, maximum = 100)]
    priority: i16,
}

/// Submits a statement that runs in the background, as you, with the rights that you have when it runs.
///
/// It is read and planned before this answers, so that mistakes are told at once. `jobs.per_tenant` of a principal's statements
/// run side by side, and `jobs.max_waiting` wait; more are refused. The rows are kept for the time of the setting `jobs.results_for`.
#[utoipa::path(post, path = "/v1/jobs", security(("token" = [])), tag = "jobs", request_body = SubmitJob, responses(
    (status = 202, description = "It will be done", body = JobDocument, headers(("Location" = String, description = "The job's path"))),
    refusals::NotFound, refusals::Conflict, refusals::Cancelled, refusals::TooMany,
))]
pub(crate) async fn submit_job(
    State(app): State<Arc<App>>,
    caller: Identified,
    Json(job): Json<SubmitJob>,
) -> Result<Response> {
    let by = caller.principal()?.id;
    if !caller.caller.may(Action::Read) {
        return Err(Problem::denied("your token is not for reading: it needs the action `read`"));
    }
    let (labels, priority) = (job.labels.clone(), job.priority);
    check_labels(&labels)?;
    let query = job.query(&app, &caller)?;
    check(&app, &caller, &query).await?;
    let tenant = by.to_string();
    let new = NewJob {
        labels,
        priority,
        params: serde_json::to_value(&query).map_err(Problem::defect)?,
        by: Some(by),
        max_attempts: ATTEMPTS,
        keep_for: app.answers.results_for,
        most_waiting: Some(app.answers.max_waiting),
        ..NewJob::new(BackgroundQuery::KIND, &tenant)
    };
    let job = app.catalog.submit_job(new).await?;
    caller.visit.say(format_args!("submits {} {}", job.kind, job.id));
    Ok(accepted(job))
}

impl SubmitJob {
    fn query(self, app: &App, caller: &Identified) -> Result<BackgroundQuery> {
        if self.kind != BackgroundQuery::KIND {
            return Err(Problem::invalid(
                "kind must be `query`; compact and vacuum jobs are made by POST /v1/datasets/{ns}/{name}/compact and …/vacuum",
            ));
        }
        let timeout = self.timeout.as_deref().map(duration).transpose()?;
        let timeout = app.engine.deadline(Protocol::Job, timeout)?;
        Ok(BackgroundQuery {
            sql: self.sql.ok_or_else(|| Problem::invalid("sql is missing: the statement to run"))?,
            params: self.params,
            as_of: self.as_of,
            limit: self.limit.map(rows_limit).transpose()?,
            timeout_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
            scope: caller.caller.identity().map(|identity| identity.scope.clone()).unwrap_or_default(),
        })
    }
}

/// Whether the statement can be run by this caller now, and its answer be kept.
async fn check(app: &App, caller: &Identified, query: &BackgroundQuery) -> Result<()> {
    let request = QueryRequest { protocol: Protocol::Rest, timeout: None, ..query.request()? };
    let described = app.engine.describe(&caller.caller, request).await?;
    // What no file can hold is told now, not when all has been computed.
    Ok(RowEncoder::new(Format::Parquet, &described.schema)?.start(&mut Vec::new())?)
}

fn check_labels(labels: &BTreeMap<String, String>) -> Result<()> {
    match labels.keys().find(|name| !is_label_name(name)) {
        None => Ok(()),
        Some(name) => {
            let name: String = name.chars().take(80).collect();
            Err(Problem::invalid(format!("`{name}` is not the name of a label: use 1 to 63 of A-Z a-z 0-9 _ . -")))
        }
    }
}

/// A whole number, also when it is written as `10.0`.
fn priority<'de, D: Deserializer<'de>>(field: D) -> Result<i16, D::Error> {
    let number = serde_json::Number::deserialize(field)?;
    let exact = |float: f64| (float.fract() == 0.0 && float.abs() <= MOST as f64).then_some(float as i64);
    let whole = number.as_i64().or_else(|| number.as_f64().and_then(exact));
    let within = whole.filter(|n| (-MOST..=MOST).contains(n)).and_then(|n| i16::try_from(n).ok());
    within.ok_or_else(|| {
        D::Error::custom(format_args!("invalid number `{number}`, expected a whole one from -100 to 100"))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn priority_of(value: &Value) -> Option<i16> {
        let job = json!({ "kind": "query", "sql": "SELECT 1", "priority": value });
        serde_json::from_value::<SubmitJob>(job).ok().map(|job| job.priority)
    }

    #[test]
    fn a_priority_is_whole_and_within_its_bounds() {
        for (sent, read) in [(json!(-100), -100), (json!(5.0), 5), (json!(100), 100)] {
            assert_eq!(priority_of(&sent), Some(read));
        }
        for bad in [json!(101), json!(-101), json!(0.5), json!("1"), json!(null), json!(1e300), json!(i64::MIN)] {
            assert_eq!(priority_of(&bad), None, "{bad}");
        }
    }

    #[test]
    fn names_of_labels_are_plain() {
        let check = |name: &str| check_labels(&BTreeMap::from([(name.to_owned(), "x:y".to_owned())]));
        assert!(check("Team.a_b-1").is_ok());
        for bad in ["a:b", "a=b", "a b", "ä", "", &"a".repeat(64)] {
            assert_eq!(check(bad).expect_err(bad).code, "invalid_request");
        }
    }
}
