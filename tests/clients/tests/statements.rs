//! Statements: what is promised is what comes, in types that every client reads.

use arrow::datatypes::DataType;
use arrow_flight::sql::{
    ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult, Any, CommandPreparedStatementQuery,
    CommandStatementQuery, ProstMessageExt as _,
};
use arrow_flight::{FlightDescriptor, IpcMessage, Ticket};
use lakegate_e2e::flight::{code, count, descriptor};
use lakegate_e2e::{FlightClient, Gateway, Result};
use prost::Message as _;
use tonic::Code;

fn query(sql: &str) -> CommandStatementQuery {
    CommandStatementQuery { query: sql.to_owned(), transaction_id: None }
}

/// Statements whose plan and rows could disagree about types or nulls.
const STATEMENTS: &[&str] = &[
    "SELECT 1 AS one",
    "SELECT * FROM demo.airports",
    "SELECT * FROM demo.airports WHERE false",
    "SELECT * FROM demo.airports LIMIT 0",
    "SELECT min(latitude), max(latitude), count(*) FROM demo.airports",
    "SELECT min(latitude) FROM demo.airports WHERE false",
    "SELECT state, count(*) AS n, avg(latitude) FROM demo.airports GROUP BY state ORDER BY n DESC",
    "SELECT a.iata, f.delay FROM demo.airports a LEFT JOIN demo.flights f ON f.origin = a.iata LIMIT 10",
    "SELECT NULL",
    "SELECT NULL AS nothing, 'x' AS text UNION ALL SELECT 1, NULL",
    "SELECT 1 AS a UNION ALL SELECT 2.5",
    "SELECT [1, NULL] AS list, named_struct('a', 1, 'b', 'x') AS record, map(['k'], [1]) AS pairs",
    "SELECT CAST(1.5 AS DECIMAL(5, 2)) AS a, CAST(1.5 AS DECIMAL(9, 2)) AS b, CAST(1 AS DECIMAL(38, 0)) AS c",
    "SELECT md5('x') AS view, [md5('y')] AS views, sha256('z') AS bytes",
    "SELECT string_agg(iata, ',') AS long, array_agg(md5(iata)) AS list FROM demo.airports",
    "SELECT row_number() OVER (ORDER BY iata) FROM demo.airports LIMIT 3",
    "SELECT CASE WHEN latitude > 45 THEN 'north' END FROM demo.airports LIMIT 5",
    "SELECT interval '1 day' AS span, DATE '2026-01-01' AS day, now() AS moment",
    "EXPLAIN SELECT 1",
    "SHOW TABLES",
    "DESCRIBE demo.flights",
    "SELECT table_name FROM information_schema.tables",
];

fn is_plain(ty: &DataType) -> bool {
    match ty {
        DataType::Utf8View
        | DataType::BinaryView
        | DataType::ListView(_)
        | DataType::LargeListView(_)
        | DataType::Dictionary(..)
        | DataType::RunEndEncoded(..)
        | DataType::Decimal32(..)
        | DataType::Decimal64(..) => false,
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            is_plain(item.data_type())
        }
        DataType::Map(entry, _) => is_plain(entry.data_type()),
        DataType::Struct(fields) => fields.iter().all(|field| is_plain(field.data_type())),
        _ => true,
    }
}

#[tokio::test]
async fn what_is_promised_is_what_comes() -> Result {
    let gateway = Gateway::demo().await?;
    let client = FlightClient::connect(gateway.flight(), Some(gateway.token())).await?;
    for sql in STATEMENTS {
        let rows = client.ask(sql).await.map_err(|status| format!("{sql}: {status}"))?;
        assert_eq!(rows.promised, rows.schema, "{sql}");
        let schema = client.raw().get_schema(client.request(descriptor(&query(sql)))).await?.into_inner();
        let told: arrow::datatypes::Schema = IpcMessage(schema.schema).try_into()?;
        assert_eq!(told, *rows.schema, "{sql}");
        for field in rows.schema.fields() {
            assert!(is_plain(field.data_type()), "{sql}: {field}");
            assert!(field.metadata().contains_key("ARROW:FLIGHT:SQL:TYPE_NAME"), "{sql}: {field}");
        }
        for batch in &rows.batches {
            assert_eq!(batch.schema(), rows.schema, "{sql}");
            for (field, column) in rows.schema.fields().iter().zip(batch.columns()) {
                assert!(field.is_nullable() || column.null_count() == 0, "{sql}: {field} has nulls");
            }
        }
        let prepared = prepare(&client, sql).await?;
        let told: arrow::datatypes::Schema = IpcMessage(prepared.dataset_schema).try_into()?;
        assert_eq!(told, *rows.schema, "{sql}");
        let command = CommandPreparedStatementQuery { prepared_statement_handle: prepared.prepared_statement_handle };
        assert_eq!(client.run(&command).await?.count(), rows.count(), "{sql}");
    }
    Ok(())
}

async fn prepare(client: &FlightClient, sql: &str) -> Result<ActionCreatePreparedStatementResult> {
    let request = ActionCreatePreparedStatementRequest { query: sql.to_owned(), transaction_id: None };
    let results = client.act_on("CreatePreparedStatement", &request).await?;
    let [result] = results.as_slice() else { return Err("not one result".into()) };
    Ok(Any::decode(result.clone())?.unpack()?.ok_or("another message")?)
}

#[tokio::test]
async fn nothing_runs_before_it_is_fetched() -> Result {
    let gateway = Gateway::demo().await?;
    let client = FlightClient::connect(gateway.flight(), Some(gateway.token())).await?;
    client.info(&query("SELECT count(*) FROM demo.flights a, demo.flights b, demo.flights c")).await?;
    let running = gateway.client().get("/v1/queries").await?.expect(200)?.json()?;
    let text = running.to_string();
    assert!(!text.contains("running"), "{text}");
    Ok(())
}

#[tokio::test]
async fn a_ticket_reads_the_version_that_it_was_given_for() -> Result {
    let gateway = Gateway::start().await?;
    let rest = gateway.client();
    rest.create("lab.t", &[("n", "bigint")]).await?.expect(201)?;
    rest.push("lab.t", "{\"n\":1}\n").await?.expect(200)?;
    let client = FlightClient::connect(gateway.flight(), Some(gateway.token())).await?;
    let info = client.info(&query("SELECT n FROM lab.t")).await?;
    rest.push("lab.t", "{\"n\":2}\n").await?.expect(200)?;
    let ticket = info.endpoint[0].ticket.clone().ok_or("no ticket")?;
    let (_, batches, headers) = client.get(ticket.clone()).await?;
    assert_eq!(count(&batches), 1);
    assert_eq!(headers.get("lakegate-versions").ok_or("no versions")?, "lab.t=1");
    let about: serde_json::Value = serde_json::from_slice(&info.app_metadata)?;
    assert_eq!(headers.get("lakegate-query-id").ok_or("no id")?.to_str()?, about["query_id"].as_str().unwrap_or(""));
    // It may be redeemed again, also while it is being redeemed.
    let both = futures::future::join(client.get(ticket.clone()), client.get(ticket)).await;
    assert_eq!((both.0?.1.len(), both.1?.1.len()), (1, 1));
    assert_eq!(client.ask("SELECT n FROM lab.t").await?.count(), 2);
    Ok(())
}

#[tokio::test]
async fn a_ticket_is_for_the_dataset_that_had_the_name_then() -> Result {
    let gateway = Gateway::start().await?;
    let rest = gateway.client();
    let client = FlightClient::connect(gateway.flight(), Some(gateway.token())).await?;
    let make = async |n: i64| -> Result {
        rest.create("lab.t", &[("n", "bigint")]).await?.expect(201)?;
        rest.push("lab.t", format!("{{\"n\":{n}}}\n")).await?.expect(200)?;
        Ok(())
    };
    make(1).await?;
    let info = client.info(&query("SELECT n FROM lab.t")).await?;
    let ticket = info.endpoint[0].ticket.clone().ok_or("no ticket")?;
    rest.delete("/v1/datasets/lab/t").await?.expect(204)?;
    // The same name, the same columns, the same version: another dataset.
    make(2).await?;
    // With the plan that was kept for it, and without.
    for _ in 0..2 {
        let gone = client.get(ticket.clone()).await.expect_err("the dataset is gone");
        assert_eq!((gone.code(), code(&gone).as_str()), (Code::NotFound, "dataset_not_found"), "{gone}");
    }
    assert_eq!(client.ask("SELECT n FROM lab.t WHERE n = 2").await?.count(), 1);
    Ok(())
}

#[tokio::test]
async fn poll_answers_at_once() -> Result {
    let gateway = Gateway::demo().await?;
    let client = FlightClient::connect(gateway.flight(), Some(gateway.token())).await?;
    let descriptor = descriptor(&query("SELECT iata FROM demo.airports"));
    let poll = client.raw().poll_flight_info(client.request(descriptor)).await?.into_inner();
    assert_eq!((poll.progress, poll.flight_descriptor), (Some(1.0), None));
    let ticket = poll.info.and_then(|info| info.endpoint.into_iter().next()).and_then(|endpoint| endpoint.ticket);
    let (_, batches, _) = client.get(ticket.ok_or("no ticket")?).await?;
    assert_eq!(count(&batches), 3376);
    Ok(())
}

#[tokio::test]
async fn a_command_may_be_its_own_ticket() -> Result {
    let gateway = Gateway::demo().await?;
    let client = FlightClient::connect(gateway.flight(), None).await?;
    let ticket = Ticket::new(query("SELECT 1 AS one").as_any().encode_to_vec());
    assert_eq!(client.get(ticket).await?.1.len(), 1);
    Ok(())
}

#[tokio::test]
async fn rows_are_compressed_on_request() -> Result {
    let gateway = Gateway::demo().await?;
    let client = FlightClient::connect(gateway.flight(), None).await?;
    let sql = "SELECT * FROM demo.flights ORDER BY origin";
    let mut sizes = Vec::new();
    for compression in ["none", "lz4", "zstd"] {
        let client = client.clone().header("lakegate-compression", compression);
        let info = client.info(&query(sql)).await?;
        let ticket = info.endpoint[0].ticket.clone().ok_or("no ticket")?;
        let messages = client.messages(ticket.clone()).await?.into_inner();
        let bodies: Vec<usize> = futures::TryStreamExt::try_collect::<Vec<_>>(messages)
            .await?
            .iter()
            .map(|message| message.data_body.len())
            .collect();
        sizes.push(bodies.iter().sum::<usize>());
        let (_, batches, _) = client.get(ticket).await?;
        assert_eq!(count(&batches), 20_000, "{compression}");
    }
    assert!(sizes[1] < sizes[0] && sizes[2] < sizes[0], "{sizes:?}");
    let refused = client.header("lakegate-compression", "brotli").ask(sql).await.expect_err("unknown");
    assert_eq!(refused.code(), Code::InvalidArgument);
    Ok(())
}

#[tokio::test]
async fn messages_are_of_a_size_that_clients_take() -> Result {
    let gateway = Gateway::demo().await?;
    let client = FlightClient::connect(gateway.flight(), None).await?;
    let wide = "SELECT a.name || repeat('x', 2000) AS text FROM demo.airports a LIMIT 3000";
    let info = client.info(&query(wide)).await?;
    let ticket = info.endpoint[0].ticket.clone().ok_or("no ticket")?;
    let messages: Vec<_> = futures::TryStreamExt::try_collect(client.messages(ticket).await?.into_inner()).await?;
    let sizes: Vec<usize> = messages.iter().map(|message| message.data_body.len()).collect();
    // Clients that are not told otherwise take 4 MiB.
    assert!(sizes.iter().all(|size| *size < (4 << 20)), "{sizes:?}");
    assert!(sizes.len() < 12, "{sizes:?}");
    Ok(())
}

#[tokio::test]
async fn errors_have_a_status_and_a_code() -> Result {
    let gateway = Gateway::demo().await?;
    let client = FlightClient::connect(gateway.flight(), None).await?;
    for (sql, status, expected) in [
        ("SELEC 1", Code::InvalidArgument, "syntax_error"),
        ("SELECT nope FROM demo.flights", Code::InvalidArgument, "unknown_column"),
        ("SELECT * FROM demo.nothing", Code::NotFound, "dataset_not_found"),
        ("DROP TABLE demo.flights", Code::Unimplemented, "statement_not_allowed"),
        ("SELECT 1; SELECT 2", Code::InvalidArgument, "one_statement"),
        ("SELECT $1", Code::InvalidArgument, "invalid_parameters"),
        ("", Code::InvalidArgument, "one_statement"),
    ] {
        let refused = client.ask(sql).await.expect_err(sql);
        assert_eq!((refused.code(), code(&refused).as_str()), (status, expected), "{sql}: {refused}");
        // REST says the same.
        let answer = gateway.client().anonymous().query(sql).await?.json()?;
        assert_eq!(answer["code"], expected, "{sql}: {answer}");
    }
    let nothing = client.raw().get_flight_info(client.request(FlightDescriptor::new_cmd(""))).await;
    assert_eq!(nothing.expect_err("no command").code(), Code::InvalidArgument);
    Ok(())
}
