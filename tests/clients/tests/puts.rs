//! Rows that come in: whole or not at all, once, and with an answer that names them.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::sql::{
    CommandStatementIngest, CommandStatementQuery, DoPutUpdateResult, TableDefinitionOptions, TableExistsOption,
    TableNotExistOption,
};
use arrow_flight::{FlightData, FlightDescriptor, PutResult};
use futures::{StreamExt as _, TryStreamExt as _};
use lakegate_e2e::flight::{code, count, descriptor, messages};
use lakegate_e2e::{FlightClient, Gateway, Options, Result};
use prost::Message;
use serde_json::{Value, json};
use tonic::{Code, Status};

/// `DoPutUpdateResult` with what else an ingest tells.
#[derive(Clone, PartialEq, Message)]
struct Told {
    #[prost(int64, tag = "1")]
    record_count: i64,
    #[prost(string, tag = "1001")]
    receipt: String,
    #[prost(string, tag = "1002")]
    status: String,
    #[prost(uint64, tag = "1003")]
    version: u64,
}

fn rows(from: i64, count: i64) -> RecordBatch {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(from..from + count));
    let text: ArrayRef = Arc::new(StringArray::from_iter_values((from..from + count).map(|n| format!("row {n}"))));
    RecordBatch::try_from_iter([("id", ids), ("text", text)]).expect("columns")
}

/// Into `lab.{table}`, made when it is missing.
fn ingest(table: &str) -> CommandStatementIngest {
    CommandStatementIngest {
        table_definition_options: Some(TableDefinitionOptions {
            if_not_exist: TableNotExistOption::Create as i32,
            if_exists: TableExistsOption::Append as i32,
        }),
        table: table.to_owned(),
        schema: Some("lab".to_owned()),
        catalog: None,
        temporary: false,
        transaction_id: None,
        options: std::collections::HashMap::new(),
    }
}

fn told(results: &[PutResult]) -> Result<Told> {
    let [result] = results else { return Err(format!("{} results", results.len()).into()) };
    // A client that knows only the published message reads it too.
    let known = DoPutUpdateResult::decode(result.app_metadata.clone())?;
    let told = Told::decode(result.app_metadata.clone())?;
    assert_eq!(known.record_count, told.record_count);
    Ok(told)
}

#[tokio::test]
async fn an_ingest_is_one_version_with_a_receipt() -> Result {
    let gateway = Gateway::start().await?;
    let client = FlightClient::connect(gateway.flight(), Some(gateway.token())).await?;
    let put = client.put_rows(descriptor(&ingest("t")), vec![rows(0, 10), rows(10, 5)]).await?;
    let first = told(&put)?;
    assert_eq!((first.record_count, first.status.as_str()), (15, "committed"));
    assert_eq!(gateway.client().count("lab.t").await?, 15);
    let second = told(&client.put_rows(descriptor(&ingest("t")), vec![rows(15, 1)]).await?)?;
    assert_eq!(second.version, first.version + 1);
    // REST knows the receipt.
    let receipt = gateway.client().get(&format!("/v1/receipts/{}", first.receipt)).await?.expect(200)?.json()?;
    assert_eq!(receipt["version"], first.version, "{receipt}");
    Ok(())
}

#[tokio::test]
async fn an_idempotency_key_makes_it_once() -> Result {
    let gateway = Gateway::start().await?;
    let client = FlightClient::connect(gateway.flight(), Some(gateway.token())).await?;
    let mut by_option = ingest("t");
    by_option.options.insert("lakegate.idempotency_key".to_owned(), "k1".to_owned());
    let first = told(&client.put_rows(descriptor(&by_option), vec![rows(0, 3)]).await?)?;
    let again = told(&client.put_rows(descriptor(&by_option), vec![rows(0, 3)]).await?)?;
    assert_eq!((again.status.as_str(), &again.receipt), ("duplicate", &first.receipt));
    let keyed = client.clone().header("idempotency-key", "k1");
    let again = told(&keyed.put_rows(descriptor(&ingest("t")), vec![rows(0, 3)]).await?)?;
    assert_eq!(again.status, "duplicate");
    let other = keyed.put_rows(descriptor(&ingest("t")), vec![rows(7, 3)]).await.expect_err("other rows");
    assert_eq!(code(&other), "idempotency_key_reused", "{other}");
    let twice = keyed.put_rows(descriptor(&by_option), vec![rows(0, 3)]).await.expect_err("two keys");
    assert_eq!(twice.code(), Code::InvalidArgument);
    assert_eq!(gateway.client().count("lab.t").await?, 3);
    Ok(())
}

#[tokio::test]
async fn a_key_is_for_one_mode() -> Result {
    let gateway = Gateway::start().await?;
    let client = FlightClient::connect(gateway.flight(), Some(gateway.token())).await?;
    let keyed = client.clone().header("idempotency-key", "k");
    told(&client.put_rows(descriptor(&ingest("t")), vec![rows(5, 1)]).await?)?;
    told(&keyed.put_rows(descriptor(&ingest("t")), vec![rows(0, 2)]).await?)?;
    let mut replace = ingest("t");
    replace.table_definition_options = Some(TableDefinitionOptions {
        if_not_exist: TableNotExistOption::Create as i32,
        if_exists: TableExistsOption::Replace as i32,
    });
    let refused = keyed.put_rows(descriptor(&replace), vec![rows(0, 2)]).await.expect_err("another thing to do");
    assert_eq!((refused.code(), code(&refused).as_str()), (Code::FailedPrecondition, "idempotency_key_reused"));
    assert_eq!(gateway.client().count("lab.t").await?, 3);
    Ok(())
}

/// Who opens puts and sends next to nothing holds next to nothing, and never all there is.
#[tokio::test]
async fn idle_puts_leave_room_for_others() -> Result {
    let gateway = Options::serve()?.setting("ingest.queue_timeout", "2s").start().await?;
    let owner = FlightClient::connect(gateway.flight(), Some(gateway.token())).await?;
    told(&owner.put_rows(descriptor(&ingest("t")), vec![rows(0, 1)]).await?)?;
    let rest = gateway.client();
    rest.post("/v1/principals", &json!({ "name": "ada" })).await?.expect(201)?;
    let token = rest.post("/v1/tokens", &json!({ "principal": "ada", "name": "t" })).await?.expect(201)?.json()?;
    let right = json!({ "principal": "ada", "role": "writer", "namespace": "lab" });
    rest.send(reqwest::Method::PUT, "/v1/grants", &right).await?.expect(200)?;
    let ada = FlightClient::connect(gateway.flight(), token["token"].as_str()).await?;

    let idle = async |count: usize, idle: &mut tokio::task::JoinSet<_>| -> Result {
        for _ in 0..count {
            let client = FlightClient::connect(gateway.flight(), Some(gateway.token())).await?;
            let some = messages(descriptor(&ingest("t")), vec![rows(1, 10)]).await?;
            let stalled = futures::stream::iter(some).chain(futures::stream::pending());
            idle.spawn(async move { client.put(stalled).await });
        }
        Ok(())
    };
    let mut puts = tokio::task::JoinSet::new();
    idle(8, &mut puts).await?;
    settled(&gateway, 8).await?;
    told(&owner.put_rows(descriptor(&ingest("t")), vec![rows(20, 1)]).await?)?;
    // As many as there may be: what is left is for others.
    idle(32, &mut puts).await?;
    while let Some(refused) = puts.join_next().await {
        let refused = refused?.expect_err("refused");
        assert_eq!(code(&refused), "too_many_pushes", "{refused}");
        if puts.len() < 14 {
            break;
        }
    }
    told(&ada.put_rows(descriptor(&ingest("t")), vec![rows(21, 1)]).await?)?;
    puts.abort_all();
    Ok(())
}

/// Waits until this many pushes run.
async fn settled(gateway: &Gateway, pushes: u64) -> Result {
    let line = format!("lakegate_pushes_running {pushes}\n");
    let within = async {
        loop {
            let metrics = gateway.client().get("/metrics").await?.expect(200)?.text();
            if metrics.contains(&line) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), within).await?
}

#[tokio::test]
async fn a_client_that_vanishes_leaves_nothing() -> Result {
    let gateway = Gateway::start().await?;
    let client = FlightClient::connect(gateway.flight(), Some(gateway.token())).await?;
    told(&client.put_rows(descriptor(&ingest("t")), vec![rows(0, 1)]).await?)?;
    let parts = messages(descriptor(&ingest("t")), vec![rows(1, 50_000), rows(60_000, 50_000)]).await?;
    for sent in 1..=parts.len() {
        let client = FlightClient::connect(gateway.flight(), Some(gateway.token())).await?;
        let some: Vec<FlightData> = parts[..sent].to_vec();
        let stalled = futures::stream::iter(some).chain(futures::stream::pending());
        // The connection goes with the client; a put that is not ended is no put.
        let gone = tokio::time::timeout(Duration::from_millis(300), client.put(stalled)).await;
        assert!(gone.is_err(), "it was answered: {gone:?}");
    }
    assert_eq!(gateway.client().count("lab.t").await?, 1);
    let versions = gateway.client().get("/v1/datasets/lab/t/versions").await?.expect(200)?.json()?;
    let count = versions["items"].as_array().map_or(0, Vec::len);
    told(&client.put_rows(descriptor(&ingest("t")), vec![rows(1, 1)]).await?)?;
    let versions = gateway.client().get("/v1/datasets/lab/t/versions").await?.expect(200)?.json()?;
    assert_eq!(versions["items"].as_array().map_or(0, Vec::len), count + 1, "{versions}");
    Ok(())
}

#[tokio::test]
async fn a_silent_put_ends_at_the_deadline() -> Result {
    let gateway = Options::serve()?.setting("ingest.idle_timeout", "1s").start().await?;
    let client = FlightClient::connect(gateway.flight(), Some(gateway.token())).await?;
    let parts = messages(descriptor(&ingest("t")), vec![rows(0, 10)]).await?;
    let stalled = futures::stream::iter(parts).chain(futures::stream::pending());
    let late = client.put(stalled).await.expect_err("silent");
    assert_eq!(late.code(), Code::DeadlineExceeded, "{late}");
    let nothing = client.put(futures::stream::pending()).await.expect_err("silent from the start");
    assert_eq!(nothing.code(), Code::DeadlineExceeded, "{nothing}");
    gateway.client().get("/v1/datasets/lab/t").await?.expect(404)?;
    Ok(())
}

#[tokio::test]
async fn a_batch_may_be_larger_than_four_mebibytes() -> Result {
    let gateway = Gateway::start().await?;
    let client = FlightClient::connect(gateway.flight(), Some(gateway.token())).await?;
    let text: ArrayRef =
        Arc::new(StringArray::from_iter_values((0..10_000).map(|n| format!("{n}{}", "x".repeat(1_500)))));
    let batch = RecordBatch::try_from_iter([("text", text)])?;
    let mut encoder = FlightDataEncoderBuilder::new()
        .with_flight_descriptor(Some(descriptor(&ingest("large"))))
        .with_max_flight_data_size(64 << 20);
    encoder = encoder.with_schema(batch.schema());
    let messages: Vec<FlightData> = encoder.build(futures::stream::iter([Ok(batch)])).try_collect().await?;
    assert!(messages.len() == 2 && messages[1].data_body.len() > (12 << 20));
    let done = told(&client.put(futures::stream::iter(messages)).await?)?;
    assert_eq!(done.record_count, 10_000);
    Ok(())
}

#[tokio::test]
async fn a_message_past_the_limit_is_refused() -> Result {
    let gateway = Options::serve()?.setting("flight.max_message", "1MiB").start().await?;
    let client = FlightClient::connect(gateway.flight(), Some(gateway.token())).await?;
    let parts = messages(descriptor(&ingest("t")), vec![rows(0, 10)]).await?;
    let large = FlightData { data_body: vec![0; 2 << 20].into(), ..FlightData::default() };
    let refused = client.put(futures::stream::iter([parts[0].clone(), large])).await.expect_err("large");
    assert_eq!((refused.code(), code(&refused).as_str()), (Code::ResourceExhausted, "batch_too_large"), "{refused}");
    assert!(refused.message().contains("1048576"), "{refused}");
    gateway.client().get("/v1/datasets/lab/t").await?.expect(404)?;
    Ok(())
}

#[tokio::test]
async fn a_path_takes_rows_for_what_is_there() -> Result {
    let gateway = Gateway::start().await?;
    gateway.client().create("lab.t", &[("id", "bigint"), ("text", "string")]).await?.expect(201)?;
    let client = FlightClient::connect(gateway.flight(), Some(gateway.token())).await?;
    for path in [vec!["lab", "t"], vec!["lab.t"]] {
        let path = FlightDescriptor::new_path(path.into_iter().map(str::to_owned).collect());
        let results = client.put_rows(path, vec![rows(0, 4)]).await?;
        let told: Value = serde_json::from_slice(&results[0].app_metadata)?;
        assert_eq!((&told["status"], &told["rows"]), (&"committed".into(), &4.into()), "{told}");
    }
    assert_eq!(gateway.client().count("lab.t").await?, 8);
    let missing = FlightDescriptor::new_path(vec!["lab".to_owned(), "missing".to_owned()]);
    assert_eq!(client.put_rows(missing, vec![rows(0, 1)]).await.expect_err("missing").code(), Code::NotFound);
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_is_refused_by_name() -> Result {
    let gateway = Gateway::start().await?;
    let client = FlightClient::connect(gateway.flight(), Some(gateway.token())).await?;
    told(&client.put_rows(descriptor(&ingest("t")), vec![rows(0, 1)]).await?)?;
    let with = |change: fn(&mut CommandStatementIngest)| {
        let mut command = ingest("t");
        change(&mut command);
        command
    };
    let modes = |missing: TableNotExistOption, there: TableExistsOption| TableDefinitionOptions {
        if_not_exist: missing as i32,
        if_exists: there as i32,
    };
    let mut replace = ingest("t");
    replace.table_definition_options = Some(modes(TableNotExistOption::Fail, TableExistsOption::Replace));
    let mut neither = ingest("t");
    neither.table_definition_options = Some(modes(TableNotExistOption::Fail, TableExistsOption::Fail));
    let mut new = ingest("t");
    new.table_definition_options = Some(modes(TableNotExistOption::Create, TableExistsOption::Fail));
    for (command, expected, words) in [
        (with(|c| c.temporary = true), Code::Unimplemented, "temporary"),
        (with(|c| c.catalog = Some("other".to_owned())), Code::InvalidArgument, "catalog"),
        (with(|c| c.schema = None), Code::InvalidArgument, "schema"),
        (with(|c| c.schema = Some("No".to_owned())), Code::InvalidArgument, "No"),
        (with(|c| c.table = "../t".to_owned()), Code::InvalidArgument, "../t"),
        (with(|c| c.table = String::new()), Code::InvalidArgument, "name"),
        (with(|c| c.transaction_id = Some("t".into())), Code::Unimplemented, "transactions"),
        (with(|c| c.schema = Some("system".to_owned())), Code::InvalidArgument, "system"),
        (replace, Code::Unimplemented, "replac"),
        (neither, Code::InvalidArgument, "must"),
        (new, Code::AlreadyExists, "lab.t"),
    ] {
        let refused = client.put_rows(descriptor(&command), vec![rows(0, 1)]).await.expect_err("cannot be");
        assert_eq!(refused.code(), expected, "{command:?}: {refused}");
        assert!(refused.message().contains(words), "{command:?}: {refused}");
    }
    let refused = client.clone().anonymous().put_rows(descriptor(&ingest("t")), vec![rows(0, 1)]).await;
    assert_eq!(refused.expect_err("nobody").code(), Code::PermissionDenied);
    assert_eq!(gateway.client().count("lab.t").await?, 1);
    Ok(())
}

#[tokio::test]
async fn wrong_rows_are_refused_and_named() -> Result {
    let gateway = Gateway::start().await?;
    gateway.client().create("lab.t", &[("id", "bigint"), ("text", "string")]).await?.expect(201)?;
    let client = FlightClient::connect(gateway.flight(), Some(gateway.token())).await?;
    let batch = |name: &str, values: ArrayRef| RecordBatch::try_from_iter([(name, values)]);
    for (batch, words) in [
        (batch("id", Arc::new(StringArray::from(vec!["x"])))?, "id"),
        (batch("nope", Arc::new(Int64Array::from(vec![1])))?, "nope"),
        (batch("id", Arc::new(arrow::array::Time32SecondArray::from(vec![1])))?, "id"),
    ] {
        let schema = batch.schema();
        let refused = client.put_rows(descriptor(&ingest("t")), vec![batch]).await.expect_err("wrong");
        assert_eq!(refused.code(), Code::InvalidArgument, "{schema}: {refused}");
        assert!(refused.message().contains(words), "{schema}: {refused}");
    }
    assert_eq!(gateway.client().count("lab.t").await?, 0);
    Ok(())
}

fn replacing(table: &str, key: Option<&str>) -> CommandStatementIngest {
    let mut replace = ingest(table);
    replace.table_definition_options = Some(TableDefinitionOptions {
        if_not_exist: TableNotExistOption::Create as i32,
        if_exists: TableExistsOption::Replace as i32,
    });
    replace.options = key.map(|key| ("lakegate.idempotency_key".to_owned(), key.to_owned())).into_iter().collect();
    replace
}

#[tokio::test]
async fn a_key_outlives_what_is_replaced() -> Result {
    let gateway = Gateway::start().await?;
    let client = FlightClient::connect(gateway.flight(), Some(gateway.token())).await?;
    let put =
        async |command: CommandStatementIngest, rows| told(&client.put_rows(descriptor(&command), vec![rows]).await?);
    let keyed = |table: &str, key: &str| {
        let mut command = ingest(table);
        command.options.insert("lakegate.idempotency_key".to_owned(), key.to_owned());
        command
    };
    // A replacement that is sent again after a push does not take that push away.
    put(ingest("a"), rows(0, 1)).await?;
    let first = put(replacing("a", Some("r")), rows(1, 1)).await?;
    put(ingest("a"), rows(2, 1)).await?;
    let again = put(replacing("a", Some("r")), rows(1, 1)).await?;
    assert_eq!((again.status.as_str(), again.version), ("duplicate", first.version));
    assert_eq!(gateway.client().count("lab.a").await?, 2);
    // Nor does a push that is sent again after a replacement come back.
    put(keyed("b", "k"), rows(0, 5)).await?;
    put(replacing("b", None), rows(9, 1)).await?;
    assert_eq!(put(keyed("b", "k"), rows(0, 5)).await?.status, "duplicate");
    assert_eq!(gateway.client().count("lab.b").await?, 1);
    // A creation whose answer was lost is answered again.
    let mut new = keyed("c", "k");
    new.table_definition_options = Some(TableDefinitionOptions {
        if_not_exist: TableNotExistOption::Create as i32,
        if_exists: TableExistsOption::Fail as i32,
    });
    let first = put(new.clone(), rows(0, 3)).await?;
    assert_eq!(put(new.clone(), rows(0, 3)).await?.receipt, first.receipt);
    let other = client.put_rows(descriptor(&new), vec![rows(7, 1)]).await.expect_err("other rows");
    assert_eq!(code(&other), "idempotency_key_reused");
    Ok(())
}

#[tokio::test]
async fn a_ticket_reads_what_it_was_given_for_also_when_that_is_replaced() -> Result {
    let gateway = Gateway::start().await?;
    let client = FlightClient::connect(gateway.flight(), Some(gateway.token())).await?;
    told(&client.put_rows(descriptor(&ingest("t")), vec![rows(0, 4)]).await?)?;
    let command = CommandStatementQuery { query: "SELECT * FROM lab.t".to_owned(), transaction_id: None };
    let info = client.info(&command).await?;
    let promised = info.clone().try_decode_schema()?;
    let ticket = info.endpoint[0].ticket.clone().ok_or("no ticket")?;
    let other: ArrayRef = Arc::new(StringArray::from(vec!["x"]));
    let other = RecordBatch::try_from_iter([("other", other)])?;
    told(&client.put_rows(descriptor(&replacing("t", None)), vec![other.clone()]).await?)?;
    told(&client.put_rows(descriptor(&ingest("t")), vec![other]).await?)?;
    for _ in 0..3 {
        let (schema, batches, _) = client.get(ticket.clone()).await?;
        assert_eq!((schema.as_ref(), count(&batches)), (&promised, 4));
    }
    assert_eq!(client.run(&command).await?.count(), 2);
    // What a catalog lists is what the table has.
    let shown = gateway.client().get("/v1/datasets/lab/t").await?.expect(200)?.json()?;
    assert_eq!(shown["schema"].as_array().map(Vec::len), Some(1), "{shown}");
    let versions = client.ask("SELECT version FROM lab.t$versions").await?;
    assert_eq!(versions.count(), 4, "the versions before are there");
    Ok(())
}

#[tokio::test]
async fn readers_do_not_notice_that_a_table_is_replaced() -> Result {
    let gateway = Gateway::start().await?;
    let client = FlightClient::connect(gateway.flight(), Some(gateway.token())).await?;
    told(&client.put_rows(descriptor(&ingest("t")), vec![rows(0, 10)]).await?)?;
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (client, stop) = (client.clone(), Arc::clone(&stop));
        readers.spawn(async move {
            let mut asked = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let found = client.ask("SELECT id FROM lab.t").await?.count();
                if ![10, 11, 12].contains(&found) {
                    return Err(Status::internal(format!("{found} rows")));
                }
                asked += 1;
            }
            Ok(asked)
        });
    }
    for _ in 0..15 {
        told(&client.put_rows(descriptor(&replacing("t", None)), vec![rows(0, 10)]).await?)?;
        for more in 0..2 {
            told(&client.put_rows(descriptor(&ingest("t")), vec![rows(10 + more, 1)]).await?)?;
        }
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    while let Some(asked) = readers.join_next().await {
        assert!(asked?? > 0);
    }
    Ok(())
}

#[tokio::test]
async fn replacing_takes_the_old_table_away_at_once_or_not_at_all() -> Result {
    let gateway = Gateway::start().await?;
    let client = FlightClient::connect(gateway.flight(), Some(gateway.token())).await?;
    told(&client.put_rows(descriptor(&ingest("t")), vec![rows(0, 5)]).await?)?;
    let mut replace = ingest("t");
    replace.table_definition_options = Some(TableDefinitionOptions {
        if_not_exist: TableNotExistOption::Create as i32,
        if_exists: TableExistsOption::Replace as i32,
    });
    // One that breaks off leaves the old table.
    let parts = messages(descriptor(&replace), vec![rows(0, 3)]).await?;
    let broken = FlightData { data_header: vec![1; 16].into(), ..FlightData::default() };
    let refused = client.put(futures::stream::iter(parts.into_iter().chain([broken]))).await.expect_err("broken");
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    assert_eq!(gateway.client().count("lab.t").await?, 5);
    let other: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    let done = client.put_rows(descriptor(&replace), vec![RecordBatch::try_from_iter([("other", other)])?]).await?;
    assert_eq!(told(&done)?.record_count, 2);
    assert_eq!(client.ask("SELECT other FROM lab.t").await?.count(), 2);
    assert!(client.ask("SELECT id FROM lab.t").await.is_err());
    Ok(())
}
