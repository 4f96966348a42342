//! `/v1/query`: SQL in, rows out. POST is the general form; GET can be kept by caches and asked again cheaply.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::Response;
use lakegate_catalog::ErrorKind;
use lakegate_formats::Format;
use lakegate_query::{AsOf, Params, QueryRequest};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use crate::answer::{Keep, answer};
use crate::answer_document::{Rows, TaggedRows};
use crate::app::App;
use crate::caller::Identified;
use crate::extract::{Json, Query, whole};
use crate::problem::{Problem, Result};
use crate::trace::step;
use crate::{audit, refusals, strict_json, tag, words};

/// A question.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"sql": "SELECT iata, name FROM demo.airports WHERE state = $1", "params": ["RI"]}))]
pub(crate) struct Question {
    /// One SELECT, WITH, VALUES or EXPLAIN. Datasets are written `namespace.dataset`.
    #[schema(min_length = 1)]
    sql: String,
    /// A list for `$1`, `$2`, …, or an object for `$name`.
    #[serde(default)]
    #[schema(value_type = Option<words::Params>)]
    params: serde_json::Value,
    /// At most this many rows; the answer says `truncated` when there were more. 10,000 for JSON when
    /// not given, no bound for the other formats.
    #[serde(default, deserialize_with = "whole")]
    #[schema(minimum = 0, maximum = 9007199254740992_i64)]
    limit: Option<u64>,
    /// Which version of each dataset to read where the statement does not say: a time such as
    /// `"2026-01-31T00:00:00Z"`, or an object such as `{"demo.flights": 12}`.
    #[serde(default)]
    #[schema(value_type = Option<words::AsOf>)]
    as_of: serde_json::Value,
    /// How long it may take, such as `"30s"`; the server has a default and a maximum.
    #[serde(default)]
    #[schema(value_type = Option<words::Timeout>)]
    timeout: Option<String>,
    /// `json`, `ndjson`, `csv`, `arrow`, `arrow-file` or `parquet`; `?format=` and `Accept` are the other ways.
    #[serde(default)]
    #[schema(value_type = Option<words::RowFormat>)]
    format: Option<String>,
}

/// A question in a URL.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct AskedByUrl {
    /// One SELECT, WITH, VALUES or EXPLAIN.
    #[param(min_length = 1, example = "SELECT count(*) AS airports FROM demo.airports")]
    sql: String,
    /// The parameters as JSON: a list or an object.
    #[param(example = "[]")]
    params: Option<String>,
    /// At most this many rows.
    #[param(minimum = 0, maximum = 9007199254740992_i64)]
    limit: Option<u64>,
    /// How long it may take, such as `30s`.
    #[param(inline, required = false, value_type = words::Timeout)]
    timeout: Option<String>,
    /// `json`, `ndjson`, `csv`, `arrow`, `arrow-file` or `parquet`; beats `Accept`.
    #[param(inline, required = false, value_type = words::RowFormat)]
    format: Option<String>,
    /// A time, or an object of versions as JSON.
    #[param(example = "{\"demo.airports\": 1}")]
    as_of: Option<String>,
}

impl TryFrom<AskedByUrl> for Question {
    type Error = Problem;

    fn try_from(asked: AskedByUrl) -> Result<Self> {
        let json = |name: &str, text: String| {
            strict_json::parse(text.as_bytes()).map_err(|e| Problem::invalid(format!("{name} must be JSON: {e}")))
        };
        let as_of = match asked.as_of {
            Some(text) if text.starts_with('{') => json("as_of", text)?,
            Some(text) => serde_json::Value::String(text),
            None => serde_json::Value::Null,
        };
        let params = asked.params.map(|text| json("params", text)).transpose()?.unwrap_or_default();
        let AskedByUrl { sql, limit, timeout, format, .. } = asked;
        Ok(Self { sql, params, limit, as_of, timeout, format })
    }
}

/// How to answer.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct AnswerQuery {
    /// `json`, `ndjson`, `csv`, `arrow`, `arrow-file` or `parquet`; beats `Accept`.
    #[param(inline, required = false, value_type = words::RowFormat)]
    format: Option<String>,
}

/// Answers a statement, streaming.
#[utoipa::path(post, path = "/v1/query", tag = "query", params(AnswerQuery,
        ("Lakegate-Query-Id" = Option<String>, Header, pattern = "^[A-Za-z0-9_-]{1,64}$", description = "An id of your own for this query")),
    request_body = Question,
    responses(Rows, refusals::NotFound, refusals::NotAcceptable, refusals::Conflict, refusals::Cancelled))]
pub(crate) async fn query(
    State(app): State<Arc<App>>,
    Identified { caller, visit, .. }: Identified,
    Query(how): Query<AnswerQuery>,
    headers: HeaderMap,
    Json(question): Json<Question>,
) -> Result<Response> {
    let started = Instant::now();
    let format = answer_format(how.format.as_deref().or(question.format.as_deref()), &headers)?;
    let request = audit::asked(&visit, question.request(format, &app, &headers)?);
    let stream = step!("plan", app.engine.query(&caller, request)).await?;
    step!("run", answer(format, stream, started, Keep::Nowhere)).await
}

/// Answers a statement in the URL. The same question over the same versions has the same `ETag`; asked again with
/// `If-None-Match` it is answered 304 without being run. What depends on time or chance has none.
#[utoipa::path(get, path = "/v1/query", tag = "query", params(AskedByUrl,
        ("Lakegate-Query-Id" = Option<String>, Header, pattern = "^[A-Za-z0-9_-]{1,64}$", description = "An id of your own for this query"),
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` of an answer that is at hand")),
    responses(
        TaggedRows,
        (status = 304, description = "The answer at hand is still right", headers(("ETag" = String, description = "Names the rows"))),
        refusals::NotFound, refusals::NotAcceptable, refusals::Conflict, refusals::Exhausted, refusals::Cancelled,
    ))]
pub(crate) async fn query_by_url(
    State(app): State<Arc<App>>,
    Identified { caller, visit, .. }: Identified,
    Query(asked): Query<AskedByUrl>,
    headers: HeaderMap,
) -> Result<Response> {
    let started = Instant::now();
    let question = Question::try_from(asked)?;
    let format = answer_format(question.format.as_deref(), &headers)?;
    let request = audit::asked(&visit, question.request(format, &app, &headers)?);
    let asked = tag::Asked::of(&request, format, &caller);
    let prepared = app.engine.prepare(&caller, request).await?;
    let tag = prepared.fingerprint().map(|read| asked.tag(&read));
    if let Some(tag) = tag.as_ref().filter(|tag| tag.is_among(&headers)) {
        prepared.finish();
        return Ok(tag.not_modified(&caller));
    }
    let stream = step!("plan", app.engine.run(prepared)).await?;
    let tag = tag.filter(|_| stream.repeatable());
    let keep = if tag.is_some() { Keep::ByCaches } else { Keep::Nowhere };
    let mut response = step!("run", answer(format, stream, started, keep)).await?;
    if let Some(tag) = tag {
        tag.put(&caller, response.headers_mut());
    }
    Ok(response)
}

impl Question {
    fn request(self, format: Format, app: &App, headers: &HeaderMap) -> Result<QueryRequest> {
        let limit = self.limit.map(rows_limit).transpose()?;
        Ok(QueryRequest {
            id: headers.get("lakegate-query-id").map(|id| String::from_utf8_lossy(id.as_bytes()).into_owned()),
            params: params(self.params)?,
            timeout: self.timeout.as_deref().map(duration).transpose()?,
            as_of: AsOf::from_json(&self.as_of)?,
            limit: limit.or((format == Format::Json).then_some(app.answers.default_rows)),
            sql: self.sql,
            in_order: false,
            namespace: None,
            time_zone: None,
            keep_types: false,
            ..QueryRequest::default()
        })
    }
}

/// The most rows that a request may ask for. Beyond any table; a JSON number past it may not arrive as it was sent.
const MAX_LIMIT: u64 = 1 << 53;

/// A limit that makes sense.
pub(crate) fn rows_limit(limit: u64) -> Result<u64> {
    if limit <= MAX_LIMIT { Ok(limit) } else { Err(Problem::invalid(format!("limit must be at most {MAX_LIMIT}"))) }
}

fn params(value: serde_json::Value) -> Result<Params> {
    match value {
        serde_json::Value::Null => Ok(Params::None),
        serde_json::Value::Array(values) => Ok(Params::Positional(values)),
        serde_json::Value::Object(values) => Ok(Params::Named(values)),
        _ => Err(Problem::invalid("params must be a list for $1, $2, … or an object for $name")),
    }
}

/// `250ms`, `30s`, `5m`, `1h`.
pub(crate) fn duration(text: &str) -> Result<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => 0_u64,
    };
    let total = number.parse::<u64>().ok().and_then(|n| n.checked_mul(millis)).filter(|total| *total > 0);
    total.map(Duration::from_millis).ok_or_else(|| {
        Problem::invalid("timeout must be a duration above zero, such as \"500ms\", \"30s\", \"5m\" or \"1h\"")
    })
}

/// The first format of `Accept` that is done here; a name given in the request beats it.
pub(crate) fn answer_format(named: Option<&str>, headers: &HeaderMap) -> Result<Format> {
    let none = || {
        Problem::new(
            ErrorKind::Unsupported,
            "not_acceptable",
            "answers come as application/json, application/x-ndjson, text/csv, application/vnd.apache.arrow.stream, \
             application/vnd.apache.arrow.file or application/vnd.apache.parquet \
             (?format=json|ndjson|csv|arrow|arrow-file|parquet)",
        )
    };
    if let Some(name) = named {
        return Format::from_name(name).ok_or_else(none);
    }
    let mut sent = headers.get_all(header::ACCEPT).iter().peekable();
    if sent.peek().is_none() {
        return Ok(Format::Json);
    }
    let ranges = sent.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    best_format(ranges.map(weighted).collect()).ok_or_else(none)
}

/// A range of media types, and how much it is wanted, in thousandths (RFC 9110, 12.4.2).
fn weighted(range: &str) -> (&str, u16) {
    let mut parts = range.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default();
    let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    let thousandths = |text: &str| text.trim().parse::<f32>().ok().map(|q| (q.clamp(0.0, 1.0) * 1000.0).round() as u16);
    (essence, weight.map_or(1000, |text| thousandths(text).unwrap_or(0)))
}

/// The format that is wanted most; of equals the first. What has the weight 0 is not wanted, also not by `*/*`.
fn best_format(mut ranges: Vec<(&str, u16)>) -> Option<Format> {
    let unwanted: Vec<Format> =
        ranges.iter().filter(|(_, q)| *q == 0).filter_map(|(essence, _)| Format::from_media_type(essence)).collect();
    ranges.sort_by_key(|(_, q)| std::cmp::Reverse(*q));
    let first = |formats: &[Format]| formats.iter().copied().find(|format| !unwanted.contains(format));
    ranges.into_iter().filter(|(_, q)| *q > 0).find_map(|(essence, _)| match essence {
        "*/*" | "application/*" => first(&[Format::Json, Format::NdJson]),
        "text/*" => first(&[Format::Csv]),
        _ => Format::from_media_type(essence),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_that_is_wanted_most_is_chosen() {
        let best = |accept: &str| best_format(accept.split(',').map(weighted).collect());
        for (accept, expected) in [
            ("text/csv;q=0.1, application/json;q=0.9", Some(Format::Json)),
            ("text/csv, application/json", Some(Format::Csv)),
            ("application/json;q=0, */*", Some(Format::NdJson)),
            ("application/x-ndjson;q=0", None),
            ("*/*;q=0", None),
            ("text/*;q=0.5, */*;q=0.1", Some(Format::Csv)),
            ("image/png, */*;q=0.8", Some(Format::Json)),
            ("text/csv;q=high", None),
            ("image/png", None),
        ] {
            assert_eq!(best(accept), expected, "{accept}");
        }
    }

    #[test]
    fn durations_have_a_number_and_a_unit() {
        assert_eq!(duration("250ms").expect("valid"), Duration::from_millis(250));
        assert_eq!(duration("2h").expect("valid"), Duration::from_secs(7_200));
        for bad in ["", "5", "s", "0s", "-1s", "1.5s", "1d", "99999999999999999999s", "99999999999999999h"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_first_acceptable_format_wins() {
        let accept = |value: &str| {
            let headers = HeaderMap::from_iter([(header::ACCEPT, value.parse().expect("header"))]);
            answer_format(None, &headers).ok()
        };
        assert_eq!(accept("*/*"), Some(Format::Json));
        assert_eq!(accept("text/html, text/csv;q=0.9"), Some(Format::Csv));
        assert_eq!(accept("application/vnd.apache.arrow.stream"), Some(Format::ArrowStream));
        assert_eq!(accept("image/png"), None);
    }
}
