//! Options that hold for the calls that bring the session's cookie.

use std::collections::HashMap;

use arrow::array::AsArray as _;
use arrow::datatypes::{DataType, Field};
use arrow::util::pretty::pretty_format_batches;
use arrow_flight::sql::{ActionBeginTransactionRequest, CommandStatementQuery, CommandStatementUpdate};
use lakegate_e2e::flight::{code, descriptor};
use lakegate_e2e::{FlightClient, Gateway, Result};
use prost::{Message, Oneof};
use tonic::Code;

/// The messages of `Flight.proto` that the crate has none for, once more: what the gateway reads is judged by them.
#[derive(Clone, PartialEq, Message)]
struct Options {
    #[prost(map = "string, message", tag = "1")]
    all: HashMap<String, OptionValue>,
}

#[derive(Clone, PartialEq, Message)]
struct OptionValue {
    #[prost(oneof = "Value", tags = "1, 2, 3")]
    value: Option<Value>,
}

#[derive(Clone, PartialEq, Oneof)]
enum Value {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(bool, tag = "2")]
    Truth(bool),
    #[prost(sfixed64, tag = "3")]
    Whole(i64),
}

#[derive(Clone, PartialEq, Message)]
struct Errors {
    #[prost(map = "string, message", tag = "1")]
    errors: HashMap<String, Wrong>,
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
struct Wrong {
    #[prost(int32, tag = "1")]
    value: i32,
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

/// Sets options; what was wrong with them, and the client with the cookie that came.
async fn set(client: &FlightClient, options: &[(&str, Value)]) -> Result<(HashMap<String, i32>, FlightClient)> {
    let all = options.iter().map(|(name, value)| ((*name).to_owned(), OptionValue { value: Some(value.clone()) }));
    let body = Options { all: all.collect() }.encode_to_vec();
    let (results, headers) = client.act("SetSessionOptions", body).await?;
    let errors = Errors::decode(results[0].clone())?.errors;
    let cookie = headers.get("set-cookie").ok_or("no cookie")?.to_str()?;
    let pair = cookie.split(';').next().unwrap_or_default().to_owned();
    assert!(pair.starts_with("arrow_flight_session_id="), "{pair}");
    Ok((errors.into_iter().map(|(name, wrong)| (name, wrong.value)).collect(), client.clone().header("cookie", &pair)))
}

async fn shown(client: &FlightClient) -> Result<HashMap<String, Value>> {
    let (results, _) = client.act("GetSessionOptions", "").await?;
    let all = Options::decode(results[0].clone())?.all;
    Ok(all.into_iter().filter_map(|(name, option)| Some((name, option.value?))).collect())
}

#[tokio::test]
async fn options_hold_for_who_has_the_cookie() -> Result {
    let gateway = Gateway::demo().await?;
    let plain = FlightClient::connect(gateway.flight(), Some(gateway.token())).await?;
    let (errors, client) = set(&plain, &[("schema", text("demo")), ("row_limit", Value::Whole(7))]).await?;
    assert!(errors.is_empty(), "{errors:?}");
    assert_eq!(client.ask("SELECT * FROM airports").await?.count(), 7);
    assert_eq!(plain.ask("SELECT * FROM demo.airports").await?.count(), 3376);
    assert_eq!(plain.ask("SELECT * FROM airports").await.expect_err("no schema").code(), Code::InvalidArgument);
    let options = shown(&client).await?;
    assert_eq!((options.get("catalog"), options.get("schema")), (Some(&text("lake")), Some(&text("demo"))));
    // One more on top of those; an empty schema unsets it.
    let (_, client) = set(&client, &[("row_limit", Value::Whole(2))]).await?;
    assert_eq!(client.ask("SELECT * FROM airports").await?.count(), 2);
    let (_, client) = set(&client, &[("schema", text(""))]).await?;
    assert!(client.ask("SELECT * FROM airports").await.is_err());
    let (_, headers) = client.act("CloseSession", "").await?;
    assert!(headers.get("set-cookie").ok_or("no cookie")?.to_str()?.contains("Max-Age=0"));
    Ok(())
}

#[tokio::test]
async fn wrong_options_are_named_and_the_rest_are_set() -> Result {
    let gateway = Gateway::demo().await?;
    let client = FlightClient::connect(gateway.flight(), None).await?;
    let (errors, client) = set(
        &client,
        &[
            ("schema", text("demo")),
            ("nothing", text("x")),
            ("time_zone", text("Mars/Base")),
            ("row_limit", text("many")),
            ("query_timeout", text("25h")),
            ("catalog", text("other")),
        ],
    )
    .await?;
    // 1 is an unknown name, 2 a wrong value.
    let expected = [("nothing", 1), ("time_zone", 2), ("row_limit", 2), ("query_timeout", 2), ("catalog", 2)];
    assert_eq!(errors, expected.map(|(name, wrong)| (name.to_owned(), wrong)).into());
    assert_eq!(client.ask("SELECT count(*) FROM flights").await?.count(), 1);
    Ok(())
}

#[tokio::test]
async fn the_time_zone_is_that_of_the_session() -> Result {
    let gateway = Gateway::demo().await?;
    let client = FlightClient::connect(gateway.flight(), None).await?;
    let (_, client) = set(&client, &[("time_zone", text("Asia/Tokyo"))]).await?;
    let rows = client.ask("SELECT CAST('2026-01-01T00:00:00' AS TIMESTAMPTZ) = '2025-12-31T15:00:00Z' AS same").await?;
    assert!(rows.batches[0].column(0).as_boolean().value(0));
    Ok(())
}

/// What a session in a zone computes is what a session without one computes where the statement names the zone; and what is
/// skipped by the bounds of files is nothing that matches.
#[tokio::test]
async fn what_computes_with_timestamps_counts_in_the_zone_of_the_session() -> Result {
    let gateway = Gateway::demo().await?;
    let plain = FlightClient::connect(gateway.flight(), None).await?;
    for zone in ["Asia/Kathmandu", "America/New_York"] {
        let (_, session) = set(&plain, &[("time_zone", text(zone))]).await?;
        let local = format!("to_local_time(time AT TIME ZONE '{zone}')");
        for (in_session, spelled) in [
            (
                "CAST(date_trunc('day', time) AS VARCHAR)",
                format!("CAST(date_trunc('day', time AT TIME ZONE '{zone}') AS VARCHAR)"),
            ),
            ("extract(hour FROM time)", format!("extract(hour FROM {local})")),
            ("CAST(time AS DATE)", format!("CAST({local} AS DATE)")),
            ("to_char(time, '%H:%M')", format!("to_char({local}, '%H:%M')")),
        ] {
            let sql =
                |expr: &str| format!("SELECT {expr} AS v, count(*) AS n FROM demo.earthquakes GROUP BY 1 ORDER BY 1");
            let (ours, theirs) = (session.ask(&sql(in_session)).await?, plain.ask(&sql(&spelled)).await?);
            assert!(ours.count() > 1, "{in_session}");
            assert_eq!(
                pretty_format_batches(&ours.batches)?.to_string(),
                pretty_format_batches(&theirs.batches)?.to_string(),
                "{zone}: {in_session}"
            );
        }
        let median = "SELECT CAST(CAST(approx_percentile_cont(CAST(time AS BIGINT), 0.5) AS TIMESTAMP) AS VARCHAR) AS at FROM demo.earthquakes";
        let median = plain.ask(median).await?.batches[0].column(0).as_string::<i32>().value(0).to_owned();
        for (in_session, spelled) in [
            (format!("time >= '{median}'"), format!("{local} >= TIMESTAMP '{median}'")),
            (format!("time < TIMESTAMP '{median}' AND mag > 2"), format!("{local} < TIMESTAMP '{median}' AND mag > 2")),
            (
                format!("NOT time BETWEEN '{median}' AND '2099-01-01'"),
                format!("NOT {local} BETWEEN TIMESTAMP '{median}' AND TIMESTAMP '2099-01-01'"),
            ),
            (format!("time > '{median}Z' OR mag IS NULL"), format!("time > '{median}Z' OR mag IS NULL")),
            (
                format!("date_trunc('hour', time) = date_trunc('hour', CAST('{median}Z' AS TIMESTAMPTZ))"),
                format!(
                    "date_trunc('hour', {local}) = date_trunc('hour', to_local_time(CAST('{median}Z' AS TIMESTAMPTZ) AT TIME ZONE '{zone}'))"
                ),
            ),
        ] {
            let sql = |filter: &str| format!("SELECT id FROM demo.earthquakes WHERE {filter} ORDER BY id");
            let (ours, theirs) = (session.ask(&sql(&in_session)).await?, plain.ask(&sql(&spelled)).await?);
            assert!(ours.count() > 0, "{in_session}");
            assert_eq!(
                pretty_format_batches(&ours.batches)?.to_string(),
                pretty_format_batches(&theirs.batches)?.to_string(),
                "{zone}: {in_session}"
            );
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_deadline_is_that_of_the_session() -> Result {
    let gateway = Gateway::demo().await?;
    let client = FlightClient::connect(gateway.flight(), None).await?;
    let (_, client) = set(&client, &[("query_timeout", text("300ms"))]).await?;
    let sql = "SELECT sum(a.delay * b.delay) FROM demo.flights a, demo.flights b, demo.flights c";
    let late = client.ask(sql).await.expect_err("late");
    assert_eq!((late.code(), code(&late).as_str()), (Code::DeadlineExceeded, "query_deadline"), "{late}");
    Ok(())
}

#[tokio::test]
async fn who_wants_views_gets_them() -> Result {
    let gateway = Gateway::demo().await?;
    let client = FlightClient::connect(gateway.flight(), None).await?;
    let sql = "SELECT md5('x') AS v, CAST('y' AS VARCHAR) AS t, [md5('z')] AS l";
    let (_, views) = set(&client, &[("plain_types", Value::Truth(false))]).await?;
    let types = |rows: &lakegate_e2e::flight::Rows| {
        rows.schema.fields().iter().map(|field| field.data_type().clone()).collect::<Vec<_>>()
    };
    let plain = client.ask(sql).await?;
    let list = |item| DataType::List(Field::new_list_field(item, true).into());
    assert_eq!(types(&plain), [DataType::Utf8, DataType::Utf8, list(DataType::Utf8)]);
    let kept = views.ask(sql).await?;
    assert_eq!(types(&kept), [DataType::Utf8View, DataType::Utf8View, list(DataType::Utf8View)]);
    assert_eq!(kept.promised, kept.schema);
    assert_eq!(kept.count(), 1);
    Ok(())
}

#[tokio::test]
async fn a_cookie_of_another_is_refused() -> Result {
    let gateway = Gateway::demo().await?;
    let owner = FlightClient::connect(gateway.flight(), Some(gateway.token())).await?;
    let (_, theirs) = set(&owner, &[("schema", text("demo"))]).await?;
    let refused = theirs.clone().anonymous().ask("SELECT 1").await.expect_err("another's");
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    let forged = owner.header("cookie", "arrow_flight_session_id=AAAA").ask("SELECT 1").await.expect_err("forged");
    assert_eq!((forged.code(), code(&forged).as_str()), (Code::InvalidArgument, "invalid_handle"));
    Ok(())
}

#[tokio::test]
async fn there_are_no_transactions() -> Result {
    let gateway = Gateway::demo().await?;
    let client = FlightClient::connect(gateway.flight(), Some(gateway.token())).await?;
    let refused = client.act_on("BeginTransaction", &ActionBeginTransactionRequest {}).await.expect_err("none");
    assert_eq!(refused.code(), Code::Unimplemented);
    let within = CommandStatementQuery { query: "SELECT 1".to_owned(), transaction_id: Some("t".into()) };
    assert_eq!(client.info(&within).await.expect_err("none").code(), Code::Unimplemented);
    let update = CommandStatementUpdate { query: "SELECT 1".to_owned(), transaction_id: None };
    let message = arrow_flight::FlightData::new().with_descriptor(descriptor(&update));
    // A statement that only reads changes nothing, and may be run as an update.
    let done = client.put(futures::stream::iter([message])).await?;
    let told = arrow_flight::sql::DoPutUpdateResult::decode(done[0].app_metadata.clone())?;
    assert_eq!(told.record_count, 0);
    let update = CommandStatementUpdate { query: "DELETE FROM demo.flights".to_owned(), transaction_id: None };
    let message = arrow_flight::FlightData::new().with_descriptor(descriptor(&update));
    let refused = client.put(futures::stream::iter([message])).await.expect_err("it writes");
    assert_eq!(code(&refused), "statement_not_allowed");
    Ok(())
}
