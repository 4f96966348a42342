//! Bad input over Flight: the typed status, nothing half-written, memory bounded, and everybody else is served.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Int64Array, ListArray, NullArray, RecordBatch, StringArray, UnionArray};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{DataType, Field, Int64Type, UnionFields};
use arrow_flight::sql::{
    ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult, Any, CommandPreparedStatementQuery,
    CommandStatementIngest, CommandStatementQuery, DoPutPreparedStatementResult, ProstMessageExt as _,
};
use arrow_flight::{FlightData, FlightDescriptor, Ticket};
use futures::StreamExt as _;
use lakegate_e2e::flight::{code, descriptor};
use lakegate_e2e::hostile::{Corpus, prepare, run_over_flight};
use lakegate_e2e::process::{self, MIB};
use lakegate_e2e::{FlightClient, Gateway, Options, Result};
use prost::Message as _;
use tonic::{Code, Status};

async fn class(file: &str, name: &str, at_least: usize) -> Result {
    let corpus = Corpus::read(file)?;
    // Small budgets, so that the ceilings show whether they hold.
    let options = Options::demo()?
        .setting("query.threads", "2")
        .setting("query.memory", "256MiB")
        .setting("query.memory_per_query", "128MiB");
    let mut gateway = options.start().await?;
    prepare(&gateway).await?;
    let (sent, wrong) = run_over_flight(&mut gateway, &corpus, name).await?;
    assert!(sent >= at_least, "only {sent} cases of {name} were sent");
    assert!(wrong.is_empty(), "{} of {sent}:\n{}", wrong.len(), wrong.join("\n"));
    Ok(())
}

macro_rules! classes {
    ($($name:ident of $file:literal, $at_least:literal;)*) => {$(
        #[tokio::test]
        async fn $name() -> Result {
            class($file, stringify!($name), $at_least).await
        }
    )*};
}

classes! {
    host_access of "sql.yaml", 6;
    url_access of "sql.yaml", 6;
    statements of "sql.yaml", 6;
    nesting of "sql.yaml", 6;
    value_bombs of "sql.yaml", 6;
    casts of "sql.yaml", 6;
    dropped_words of "sql.yaml", 6;
    arrow_damage of "columnar.yaml", 2;
    arrow_lengths of "columnar.yaml", 5;
    arrow_bomb of "columnar.yaml", 4;
    arrow_columns of "columnar.yaml", 6;
}

/// A command that is good, to be damaged.
fn good() -> Vec<u8> {
    CommandStatementQuery { query: "SELECT 1".to_owned(), transaction_id: None }.as_any().encode_to_vec()
}

/// Bytes that are no command of Flight SQL.
fn no_commands() -> Vec<Vec<u8>> {
    let any = |url: &str, value: &[u8]| Any { type_url: url.to_owned(), value: value.to_vec().into() }.encode_to_vec();
    let mut bytes: Vec<Vec<u8>> = (0..good().len()).map(|end| good()[..end].to_vec()).collect();
    bytes.extend([
        vec![0xff; 4096],
        vec![0x0a; 4096],
        // A length past the end, and one past 2^63.
        vec![0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f],
        [&[0x0a][..], &[0xff; 9], &[0x01]].concat(),
        // A group that never ends, and a deep one.
        vec![0x0b; 5_000],
        any("type.googleapis.com/arrow.flight.protocol.sql.NoSuchCommand", b""),
        any("type.googleapis.com/google.protobuf.Timestamp", b""),
        any("", b""),
        any("type.googleapis.com/arrow.flight.protocol.sql.CommandStatementQuery", &[0xff; 32]),
        any("type.googleapis.com/arrow.flight.protocol.sql.TicketStatementQuery", &[0x0a, 3, 1, 2, 3]),
        any("type.googleapis.com/arrow.flight.protocol.sql.CommandPreparedStatementQuery", b""),
        any("type.googleapis.com/arrow.flight.protocol.sql.CommandStatementSubstraitPlan", b""),
        any("type.googleapis.com/arrow.flight.protocol.sql.ActionCreatePreparedStatementRequest", b""),
        b"SELECT 1".to_vec(),
        b"{\"sql\":\"SELECT 1\"}".to_vec(),
    ]);
    bytes
}

fn is_typed(status: &Status) -> bool {
    matches!(status.code(), Code::InvalidArgument | Code::Unimplemented) && code(status) != "none"
}

#[tokio::test]
async fn what_is_no_command_is_refused_everywhere() -> Result {
    let mut gateway = Gateway::demo().await?;
    let client = FlightClient::connect(gateway.flight(), Some(gateway.token())).await?;
    let before = process::peak_memory(gateway.pid()?)?;
    for bytes in no_commands() {
        let shown: Vec<u8> = bytes.iter().take(40).copied().collect();
        let of = |bytes: &[u8]| FlightDescriptor::new_cmd(bytes.to_vec());
        let answers = [
            client.get(Ticket::new(bytes.clone())).await.map(drop),
            client.raw().get_flight_info(client.request(of(&bytes))).await.map(drop),
            client.raw().poll_flight_info(client.request(of(&bytes))).await.map(drop),
            client.raw().get_schema(client.request(of(&bytes))).await.map(drop),
            client.put(futures::stream::iter([FlightData::new().with_descriptor(of(&bytes))])).await.map(drop),
        ];
        for (at, answer) in answers.into_iter().enumerate() {
            let status = answer.expect_err("it was taken");
            assert!(is_typed(&status), "call {at} of {shown:x?}: {status:?}");
        }
        for action in [
            "CreatePreparedStatement",
            "ClosePreparedStatement",
            "CancelQuery",
            "BeginTransaction",
            "EndSavepoint",
            "CreatePreparedSubstraitPlan",
            "\u{0}",
            "",
        ] {
            let status = client.act(action, bytes.clone()).await.expect_err("it was taken");
            assert!(is_typed(&status), "{action} of {shown:x?}: {status:?}");
        }
    }
    gateway.alive()?;
    assert!(process::peak_memory(gateway.pid()?)? < before + 32 * MIB);
    assert_eq!(client.ask("SELECT 1").await?.count(), 1);
    Ok(())
}

#[tokio::test]
async fn paths_that_lead_nowhere_are_refused() -> Result {
    let gateway = Gateway::demo().await?;
    let client = FlightClient::connect(gateway.flight(), Some(gateway.token())).await?;
    let long = "x".repeat(1_000_000);
    for path in [
        vec!["demo", "nothing"],
        vec!["demo", "flights", "more"],
        vec![""],
        vec!["", ""],
        vec!["demo", "flights; DROP TABLE demo.flights"],
        vec!["demo", "flights\" UNION SELECT 1 --"],
        vec!["..", "..", "etc", "passwd"],
        vec!["file:///etc/passwd"],
        vec![&long],
        vec!["demo"; 10_000],
    ] {
        let shown: Vec<String> = path.iter().take(4).map(|part| part.chars().take(40).collect()).collect();
        let descriptor = FlightDescriptor::new_path(path.into_iter().map(str::to_owned).collect());
        let status = client.raw().get_flight_info(client.request(descriptor.clone())).await.expect_err("nowhere");
        assert!(matches!(status.code(), Code::InvalidArgument | Code::NotFound), "{shown:?}: {status:?}");
        assert_ne!(code(&status), "none", "{shown:?}");
        let status = client.put_rows(descriptor, vec![ids(1)]).await.expect_err("nowhere");
        assert!(matches!(status.code(), Code::InvalidArgument | Code::NotFound), "{shown:?}: {status:?}");
        assert!(status.message().len() < 4_096, "{} bytes of words", status.message().len());
    }
    Ok(())
}

fn ids(count: i64) -> RecordBatch {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..count));
    RecordBatch::try_from_iter([("id", ids)]).expect("a column")
}

async fn prepared(client: &FlightClient, sql: &str) -> Result<bytes::Bytes> {
    let request = ActionCreatePreparedStatementRequest { query: sql.to_owned(), transaction_id: None };
    let results = client.act_on("CreatePreparedStatement", &request).await?;
    let made: ActionCreatePreparedStatementResult =
        Any::decode(results[0].clone())?.unpack()?.ok_or("another message")?;
    Ok(made.prepared_statement_handle)
}

#[tokio::test]
async fn parameters_that_cannot_be_are_refused() -> Result {
    let gateway = Gateway::demo().await?;
    let client = FlightClient::connect(gateway.flight(), Some(gateway.token())).await?;
    let handle = prepared(&client, "SELECT $1 AS a, $2 AS b").await?;
    let command = CommandPreparedStatementQuery { prepared_statement_handle: handle };
    let text = |value: &str| Arc::new(StringArray::from(vec![value])) as ArrayRef;
    let list: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>([Some([Some(1)])]));
    let fields = UnionFields::try_new(
        [0, 1],
        [Field::new("l", list.data_type().clone(), true), Field::new("s", DataType::Utf8, true)],
    )?;
    let of_lists = UnionArray::try_new(
        fields,
        ScalarBuffer::from(vec![0_i8]),
        Some(ScalarBuffer::from(vec![0])),
        vec![Arc::clone(&list), text("x")],
    )?;
    let row = |columns: Vec<(&str, ArrayRef)>| RecordBatch::try_from_iter(columns);
    for (batch, expected) in [
        (row(vec![("1", text("a"))])?, "invalid_parameters"),
        (row(vec![("1", text("a")), ("2", text("b")), ("3", text("c"))])?, "invalid_parameters"),
        (row(vec![("1", text("a")), ("2", list)])?, "invalid_parameters"),
        (row(vec![("1", text("a")), ("2", Arc::new(of_lists))])?, "invalid_parameters"),
        (row(vec![("1", text("a")), ("2", text("b"))])?.slice(0, 0), "empty_body"),
    ] {
        let schema = batch.schema();
        let refused = client.put_rows(descriptor(&command), vec![batch]).await.expect_err("cannot be");
        assert!(is_typed(&refused), "{schema}: {refused:?}");
        assert!(
            matches!(code(&refused).as_str(), "invalid_parameters" | "not_supported") || code(&refused) == expected,
            "{schema}: {refused:?}"
        );
    }
    // More than parameters may weigh.
    let heavy = row(vec![("1", text(&"x".repeat(20 << 20))), ("2", text("b"))])?;
    let refused = client.put_rows(descriptor(&command), vec![heavy]).await.expect_err("heavy");
    assert_eq!(code(&refused), "body_too_large", "{refused}");
    // Nulls of no type are fine.
    let nulls = row(vec![("1", Arc::new(NullArray::new(1)) as ArrayRef), ("2", text("b"))])?;
    let results = client.put_rows(descriptor(&command), vec![nulls]).await?;
    let bound = DoPutPreparedStatementResult::decode(results[0].app_metadata.clone())?;
    let handle = bound.prepared_statement_handle.ok_or("no handle")?;
    assert_eq!(client.run(&CommandPreparedStatementQuery { prepared_statement_handle: handle }).await?.count(), 1);
    // Nothing is bound to the first handle.
    let unbound = client.run(&command).await.expect_err("nothing is bound");
    assert_eq!(code(&unbound), "invalid_parameters");
    Ok(())
}

#[tokio::test]
async fn streams_that_make_no_sense_are_refused() -> Result {
    let gateway = Gateway::start().await?;
    gateway.client().create("lab.t", &[("id", "bigint")]).await?.expect(201)?;
    let client = FlightClient::connect(gateway.flight(), Some(gateway.token())).await?;
    let path = FlightDescriptor::new_path(vec!["lab".to_owned(), "t".to_owned()]);
    let good = lakegate_e2e::flight::messages(path.clone(), vec![ids(3)]).await?;
    let [schema, rows] = good.as_slice() else { return Err("two messages were expected".into()) };
    let bare = FlightData { flight_descriptor: None, ..schema.clone() };
    let only = FlightData::new().with_descriptor(path);
    let cases: Vec<(&str, Vec<FlightData>)> = vec![
        ("nothing", vec![]),
        ("no descriptor", vec![bare.clone(), rows.clone()]),
        ("a descriptor alone", vec![only.clone()]),
        ("rows without a schema", vec![only.clone(), rows.clone()]),
        ("two schemas", vec![schema.clone(), bare, rows.clone()]),
        (
            "a header without its body",
            vec![schema.clone(), FlightData { data_body: bytes::Bytes::new(), ..rows.clone() }],
        ),
        (
            "a body cut in half",
            vec![
                schema.clone(),
                FlightData { data_body: rows.data_body.slice(..rows.data_body.len() / 2), ..rows.clone() },
            ],
        ),
        (
            "a body without a header",
            vec![schema.clone(), FlightData { data_header: bytes::Bytes::new(), ..rows.clone() }],
        ),
        ("a header of zeros", vec![schema.clone(), FlightData { data_header: vec![0; 256].into(), ..rows.clone() }]),
    ];
    for (what, messages) in cases {
        let refused = client.put(futures::stream::iter(messages)).await.expect_err(what);
        assert!(is_typed(&refused), "{what}: {refused:?}");
    }
    assert_eq!(gateway.client().count("lab.t").await?, 0);
    Ok(())
}

#[tokio::test]
async fn floods_of_headers_are_refused() -> Result {
    let mut gateway = Gateway::demo().await?;
    let before = process::peak_memory(gateway.pid()?)?;
    for (count, length) in [(1, 1 << 20), (2_000, 20), (100, 20_000)] {
        // Each on a connection of its own: it may be closed for it.
        let client = FlightClient::connect(gateway.flight(), None).await?;
        let mut request = client.request(FlightDescriptor::new_cmd(good()));
        for n in 0..count {
            let name: tonic::metadata::AsciiMetadataKey = format!("x-flood-{n}").parse()?;
            request.metadata_mut().insert(name, "x".repeat(length).parse()?);
        }
        let refused = client.raw().get_flight_info(request).await;
        assert!(refused.is_err(), "{count} headers of {length} bytes were taken");
        gateway.alive()?;
    }
    assert!(process::peak_memory(gateway.pid()?)? < before + 64 * MIB);
    let client = FlightClient::connect(gateway.flight(), None).await?;
    assert_eq!(client.ask("SELECT 1").await?.count(), 1);
    Ok(())
}

#[tokio::test]
async fn ten_thousand_idle_streams_cost_little_and_end() -> Result {
    const STREAMS: usize = 10_000;
    const PER_CONNECTION: usize = 100;
    let gateway = Options::demo()?.setting("ingest.idle_timeout", "20s").start().await?;
    let before = process::peak_memory(gateway.pid()?)?;
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..STREAMS / PER_CONNECTION {
        let client = FlightClient::connect(gateway.flight(), Some(gateway.token())).await?;
        for _ in 0..PER_CONNECTION {
            let client = client.clone();
            waiting.spawn(async move { client.put(futures::stream::pending()).await.map(drop) });
        }
    }
    // Whoever has something to ask is answered meanwhile.
    let client = FlightClient::connect(gateway.flight(), None).await?;
    let asked = Instant::now();
    assert_eq!(client.ask("SELECT count(*) FROM demo.flights").await?.count(), 1);
    assert!(asked.elapsed() < Duration::from_secs(15), "they had ended already");
    let mut late = 0;
    while let Some(ended) = waiting.join_next().await {
        let status = ended?.expect_err("nothing was sent");
        late += usize::from(status.code() == Code::DeadlineExceeded);
    }
    assert_eq!(late, STREAMS);
    let grown = process::peak_memory(gateway.pid()?)?.saturating_sub(before);
    assert!(grown < STREAMS as u64 * 48 * 1024, "{} MiB", grown / MIB);
    Ok(())
}

#[tokio::test]
async fn puts_that_stall_do_not_keep_others_out() -> Result {
    let options = Options::serve()?.setting("ingest.max_concurrent", "2").setting("ingest.max_queued", "2");
    let gateway = options.setting("ingest.queue_timeout", "500ms").setting("ingest.idle_timeout", "3s").start().await?;
    gateway.client().create("lab.t", &[("id", "bigint")]).await?.expect(201)?;
    let path = FlightDescriptor::new_path(vec!["lab".to_owned(), "t".to_owned()]);
    let schema = lakegate_e2e::flight::messages(path.clone(), vec![ids(1)]).await?.remove(0);
    let mut stalled = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let client = FlightClient::connect(gateway.flight(), Some(gateway.token())).await?;
        let messages = futures::stream::iter([schema.clone()]).chain(futures::stream::pending());
        stalled.spawn(async move { client.put(messages).await.expect_err("it stalls") });
    }
    let mut codes = Vec::new();
    while let Some(status) = stalled.join_next().await {
        codes.push(status?.code());
    }
    codes.sort_by_key(|code| *code as i32);
    // Two were read and given up; the others were told to come again, now or after they had waited.
    assert_eq!(codes.iter().filter(|code| **code == Code::DeadlineExceeded).count(), 2, "{codes:?}");
    assert_eq!(codes.iter().filter(|code| **code == Code::Unavailable).count(), 6, "{codes:?}");
    let client = FlightClient::connect(gateway.flight(), Some(gateway.token())).await?;
    client.put_rows(path, vec![ids(3)]).await?;
    assert_eq!(gateway.client().count("lab.t").await?, 3);
    Ok(())
}

#[tokio::test]
async fn an_ingest_command_with_nonsense_in_it_is_refused() -> Result {
    let gateway = Gateway::start().await?;
    let client = FlightClient::connect(gateway.flight(), Some(gateway.token())).await?;
    let command = |table: &str| CommandStatementIngest {
        table_definition_options: None,
        table: table.to_owned(),
        schema: None,
        catalog: None,
        temporary: false,
        transaction_id: None,
        options: (0..1_000).map(|n| (format!("option{n}"), "x".repeat(100))).collect(),
    };
    for table in ["", ".", "a.b.c", "lab.", ".t", "lab.t t", "lab.\u{202e}t", &"x".repeat(100_000)] {
        let refused = client.put_rows(descriptor(&command(table)), vec![ids(1)]).await.expect_err("nonsense");
        assert!(is_typed(&refused), "{refused:?}");
        assert!(refused.message().len() < 4_096, "{} bytes of words", refused.message().len());
    }
    Ok(())
}
