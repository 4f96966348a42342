//! Queries that are not wanted any more: cancelled, dropped, or never taken.

use std::time::{Duration, Instant};

use arrow_flight::sql::{ActionCancelQueryRequest, ActionCancelQueryResult, Any, CommandStatementQuery};
use arrow_flight::{CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, FlightInfo};
use futures::StreamExt as _;
use lakegate_clients::reader;
use lakegate_e2e::flight::code;
use lakegate_e2e::{FlightClient, Gateway, Options, Result, process};
use prost::Message as _;
use tonic::Code;

/// Computes until it is stopped.
const ENDLESS: &str = "SELECT sum(a.delay * b.delay * c.delay) FROM demo.flights a, demo.flights b, demo.flights c";
/// Has rows for ever.
const ROWS: &str = "SELECT a.*, b.* FROM demo.flights a, demo.flights b, demo.flights c";

async fn info(client: &FlightClient, sql: &str) -> Result<FlightInfo> {
    Ok(client.info(&CommandStatementQuery { query: sql.to_owned(), transaction_id: None }).await?)
}

/// Waits until so many queries run; a minute is more than any start takes.
async fn running(gateway: &Gateway, expected: usize) -> Result {
    let begun = Instant::now();
    loop {
        let queries = gateway.client().get("/v1/queries").await?.expect(200)?.json()?;
        let items = queries["items"].as_array().ok_or("no items")?;
        let count = items.iter().filter(|query| query["state"] == "running").count();
        if count == expected {
            return Ok(());
        }
        if begun.elapsed() > Duration::from_secs(60) {
            return Err(format!("{count} queries run, not {expected}").into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The gateway computes nothing any more: in one of some seconds it takes less than a fifth of a processor.
async fn idle(gateway: &Gateway) -> Result {
    let mut spent = Duration::ZERO;
    for _ in 0..20 {
        let before = process::processor_time(gateway.pid()?)?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        spent = process::processor_time(gateway.pid()?)?.saturating_sub(before);
        if spent < Duration::from_millis(200) {
            return Ok(());
        }
    }
    Err(format!("it still takes {spent:?} of a second").into())
}

#[tokio::test]
async fn cancel_flight_info_stops_the_query() -> Result {
    let gateway = Gateway::demo().await?;
    let client = FlightClient::connect(gateway.flight(), Some(gateway.token())).await?;
    let info = info(&client, ENDLESS).await?;
    let ticket = info.endpoint[0].ticket.clone().ok_or("no ticket")?;
    let fetching = tokio::spawn({
        let client = client.clone();
        async move { client.get(ticket).await }
    });
    running(&gateway, 1).await?;
    let request = CancelFlightInfoRequest { info: Some(info.clone()) };
    let (results, _) = client.act("CancelFlightInfo", request.encode_to_vec()).await?;
    assert_eq!(CancelFlightInfoResult::decode(results[0].clone())?.status(), CancelStatus::Cancelled);
    let stopped = fetching.await?.expect_err("cancelled");
    assert_eq!((stopped.code(), code(&stopped).as_str()), (Code::Cancelled, "query_cancelled"), "{stopped}");
    idle(&gateway).await?;
    // There is nothing more to cancel.
    let (results, _) = client.act("CancelFlightInfo", request.encode_to_vec()).await?;
    assert_eq!(CancelFlightInfoResult::decode(results[0].clone())?.status(), CancelStatus::NotCancellable);
    Ok(())
}

#[tokio::test]
async fn the_older_cancel_stops_it_too_and_only_for_its_owner() -> Result {
    let gateway = Gateway::demo().await?;
    let client = FlightClient::connect(gateway.flight(), Some(gateway.token())).await?;
    let other = FlightClient::connect(gateway.flight(), Some(&reader(gateway.client()).await?)).await?;
    let info = info(&client, ENDLESS).await?;
    let ticket = info.endpoint[0].ticket.clone().ok_or("no ticket")?;
    let fetching = tokio::spawn({
        let client = client.clone();
        async move { client.get(ticket).await }
    });
    running(&gateway, 1).await?;
    let request = ActionCancelQueryRequest { info: info.encode_to_vec().into() };
    let refused = other.act_on("CancelQuery", &request).await.expect_err("another's");
    assert_eq!(refused.code(), Code::PermissionDenied);
    running(&gateway, 1).await?;
    let results = client.act_on("CancelQuery", &request).await?;
    let told: ActionCancelQueryResult = Any::decode(results[0].clone())?.unpack()?.ok_or("another message")?;
    // CANCEL_RESULT_CANCELLED
    assert_eq!(told.result, 1);
    assert_eq!(fetching.await?.expect_err("cancelled").code(), Code::Cancelled);
    Ok(())
}

#[tokio::test]
async fn a_dropped_stream_stops_it() -> Result {
    let gateway = Gateway::demo().await?;
    let client = FlightClient::connect(gateway.flight(), None).await?;
    for sql in [ENDLESS, ROWS] {
        let ticket = info(&client, sql).await?.endpoint[0].ticket.clone().ok_or("no ticket")?;
        let mut messages = client.messages(ticket).await?.into_inner();
        messages.next().await.ok_or("no schema")??;
        running(&gateway, 1).await?;
        drop(messages);
        running(&gateway, 0).await?;
        idle(&gateway).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_given_up() -> Result {
    let options = Options::demo()?.setting("flight.write_timeout", "1s");
    let gateway = options.start().await?;
    let client = FlightClient::connect(gateway.flight(), None).await?;
    let ticket = info(&client, ROWS).await?.endpoint[0].ticket.clone().ok_or("no ticket")?;
    let mut messages = client.messages(ticket).await?.into_inner();
    messages.next().await.ok_or("no schema")??;
    let before = process::peak_memory(gateway.pid()?)?;
    running(&gateway, 0).await?;
    // What waited for the client is all that was held.
    assert!(process::peak_memory(gateway.pid()?)? < before + 64 * process::MIB);
    let end = loop {
        match messages.next().await {
            Some(Ok(_)) => {}
            Some(Err(status)) => break status,
            None => return Err("the answer was cut without a word".into()),
        }
    };
    assert_eq!((end.code(), code(&end).as_str()), (Code::DeadlineExceeded, "answer_not_taken"), "{end}");
    // The connection serves on.
    assert_eq!(client.ask("SELECT 1").await?.count(), 1);
    Ok(())
}

#[tokio::test]
async fn silence_is_broken_by_batches_without_rows() -> Result {
    let gateway = Gateway::demo().await?;
    let client = FlightClient::connect(gateway.flight(), None).await?;
    let ticket = info(&client, ENDLESS).await?.endpoint[0].ticket.clone().ok_or("no ticket")?;
    let mut messages = client.messages(ticket).await?.into_inner();
    messages.next().await.ok_or("no schema")??;
    let sign = tokio::time::timeout(Duration::from_secs(60), messages.next()).await?.ok_or("it ended")??;
    let schema = info(&client, ENDLESS).await?.try_decode_schema()?;
    let batch = arrow_flight::utils::flight_data_to_arrow_batch(&sign, schema.into(), &Default::default())?;
    assert_eq!(batch.num_rows(), 0);
    Ok(())
}
