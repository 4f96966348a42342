//! What the JDBC driver sends, step by step. Java is not among what these tests install, so its messages are written out:
//! each step names the class of `flight-sql-jdbc-core` 19.0.0 (or of `flight-sql`, `flight-core`) that it was read from,
//! and sends the fields that this class sends, in its order.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, RecordBatchOptions, StringArray};
use arrow::datatypes::{DataType, Schema};
use arrow::ipc::convert::try_schema_from_ipc_buffer;
use arrow_flight::sql::{
    ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult,
    Any, CommandGetSqlInfo, CommandGetTables, CommandPreparedStatementQuery, CommandPreparedStatementUpdate,
    DoPutPreparedStatementResult,
};
use arrow_flight::{Empty, HandshakeRequest};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use lakegate_e2e::flight::{code, descriptor};
use lakegate_e2e::{FlightClient, Gateway, Result};
use prost::Message;

/// `ActionCreatePreparedStatementResult`'s fourth field, which version 20 reads.
#[derive(Clone, PartialEq, Message)]
struct IsUpdate {
    #[prost(bool, optional, tag = "4")]
    is_update: Option<bool>,
}

/// `client.ArrowFlightSqlClientHandler.Builder#build`: user and password become a bearer token by a handshake
/// (`auth2.ClientHandshakeWrapper`, `auth2.ClientIncomingAuthHeaderMiddleware`); cookies are kept
/// (`client.ClientCookieMiddleware`).
async fn connect(gateway: &Gateway) -> Result<FlightClient> {
    let client = FlightClient::connect(gateway.flight(), None).await?;
    let pair = BASE64_STANDARD.encode(format!("ann:{}", gateway.token()));
    let greeting = client.clone().header("authorization", &format!("Basic {pair}"));
    // The stream of requests is closed without one.
    let none = futures::stream::empty::<HandshakeRequest>();
    let response = greeting.raw().handshake(greeting.request(none)).await?;
    let bearer = response.metadata().get("authorization").ok_or("no bearer")?.to_str()?.to_owned();
    assert_eq!(bearer, format!("Bearer {}", gateway.token()));
    Ok(client.header("authorization", &bearer).header("user-agent", "JDBC Flight SQL Driver 19.0.0"))
}

/// `FlightSqlClient#prepare`, which every statement goes through (`ArrowFlightMetaImpl#prepareForHandle`).
async fn prepare(client: &FlightClient, sql: &str) -> Result<(ActionCreatePreparedStatementResult, Option<bool>)> {
    let request = ActionCreatePreparedStatementRequest { query: sql.to_owned(), transaction_id: None };
    let results = client.act_on("CreatePreparedStatement", &request).await?;
    let any = Any::decode(results[0].clone())?;
    let is_update = IsUpdate::decode(any.value.clone())?.is_update;
    Ok((any.unpack()?.ok_or("another message")?, is_update))
}

/// `FlightSqlClient.PreparedStatement#deserializeSchema`: no bytes are a schema without fields.
fn schema(bytes: &Bytes) -> Result<Schema> {
    Ok(if bytes.is_empty() { Schema::empty() } else { try_schema_from_ipc_buffer(bytes)? })
}

async fn close(client: &FlightClient, handle: Bytes) -> Result {
    let request = ActionClosePreparedStatementRequest { prepared_statement_handle: handle };
    assert!(client.act_on("ClosePreparedStatement", &request).await?.is_empty());
    Ok(())
}

fn query(handle: &Bytes) -> CommandPreparedStatementQuery {
    CommandPreparedStatementQuery { prepared_statement_handle: handle.clone() }
}

#[tokio::test]
async fn execute_query() -> Result {
    let gateway = Gateway::demo().await?;
    let client = connect(&gateway).await?;
    // Names of three parts are what tools make of the metadata.
    let sql = r#"SELECT "iata" FROM "lake"."demo"."airports" WHERE "state" = 'RI'"#;
    let (made, is_update) = prepare(&client, sql).await?;
    assert_eq!(is_update, Some(false));
    // `ArrowFlightSqlClientHandler.PreparedStatement#getType`: a schema with fields is a SELECT.
    assert_eq!(schema(&made.dataset_schema)?.fields().len(), 1);
    assert!(schema(&made.parameter_schema)?.fields().is_empty());
    assert_eq!(client.run(&query(&made.prepared_statement_handle)).await?.count(), 6);
    close(&client, made.prepared_statement_handle).await
}

#[tokio::test]
async fn execute_query_with_parameters() -> Result {
    let gateway = Gateway::demo().await?;
    let client = connect(&gateway).await?;
    let (made, _) =
        prepare(&client, "SELECT iata, ? AS label FROM demo.airports WHERE state = ? AND latitude > ?").await?;
    // `utils.AvaticaParameterBinder` makes vectors of these fields and can only fill those whose type it knows.
    let fields = schema(&made.parameter_schema)?;
    let types: Vec<&DataType> = fields.fields().iter().map(|field| field.data_type()).collect();
    assert_eq!(types, [&DataType::Utf8, &DataType::Utf8, &DataType::Float64]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(vec!["here"])),
        Arc::new(StringArray::from(vec!["RI"])),
        Arc::new(Float64Array::from(vec![41.5])),
    ];
    let row = RecordBatch::try_new(fields.into(), columns)?;
    // `FlightSqlClient.PreparedStatement#execute`: DoPut, then the handle that the answer brings.
    let handle = &made.prepared_statement_handle;
    let results = client.put_rows(descriptor(&query(handle)), vec![row]).await?;
    let bound = DoPutPreparedStatementResult::decode(results[0].app_metadata.clone())?.prepared_statement_handle;
    let rows = client.run(&query(&bound.ok_or("no handle")?)).await?;
    assert!(rows.count() > 0 && rows.count() < 6, "{}", rows.count());
    close(&client, made.prepared_statement_handle).await
}

#[tokio::test]
async fn execute_update() -> Result {
    let gateway = Gateway::demo().await?;
    let client = connect(&gateway).await?;
    let (made, is_update) = prepare(&client, "DELETE FROM demo.flights").await?;
    assert_eq!(is_update, Some(true));
    assert!(schema(&made.dataset_schema)?.fields().is_empty());
    let handle = made.prepared_statement_handle;
    // `FlightSqlClient.PreparedStatement#executeUpdate` puts one batch without columns when nothing is bound.
    let nothing = RecordBatch::try_new_with_options(
        Schema::empty().into(),
        vec![],
        &RecordBatchOptions::new().with_row_count(Some(0)),
    )?;
    let command = CommandPreparedStatementUpdate { prepared_statement_handle: handle.clone() };
    let refused = client.put_rows(descriptor(&command), vec![nothing]).await.expect_err("it writes");
    assert_eq!(code(&refused), "statement_not_allowed", "{refused}");
    close(&client, handle).await
}

#[tokio::test]
async fn database_metadata() -> Result {
    let gateway = Gateway::demo().await?;
    let client = connect(&gateway).await?;
    // `ArrowDatabaseMetadata#getSqlInfoAndCacheIfCacheIsEmpty` asks once, for everything, by naming nothing.
    assert!(client.run(&CommandGetSqlInfo { info: vec![] }).await?.count() > 80);
    // `ArrowDatabaseMetadata#getTables`: types are named, schemas are not asked for.
    let tables = CommandGetTables {
        catalog: Some("lake".to_owned()),
        db_schema_filter_pattern: Some("demo".to_owned()),
        table_name_filter_pattern: Some("%".to_owned()),
        table_types: vec!["TABLE".to_owned()],
        include_schema: false,
    };
    assert_eq!(client.run(&tables).await?.count(), 3);
    // `ArrowDatabaseMetadata#getColumns`: the schemas of all, filtered here; each field's metadata is read as
    // `FlightSqlColumnMetadata`.
    let columns = CommandGetTables {
        catalog: None,
        db_schema_filter_pattern: None,
        table_name_filter_pattern: Some("airports".to_owned()),
        table_types: vec![],
        include_schema: true,
    };
    let found = client.run(&columns).await?;
    let told = arrow::array::AsArray::as_binary::<i32>(found.batches[0].column(4)).value(0);
    let schema = try_schema_from_ipc_buffer(told)?;
    let field = schema.field_with_name("latitude")?;
    for (key, value) in [
        ("CATALOG_NAME", "lake"),
        ("SCHEMA_NAME", "demo"),
        ("TABLE_NAME", "airports"),
        ("TYPE_NAME", "double"),
        ("IS_AUTO_INCREMENT", "0"),
        ("IS_SEARCHABLE", "1"),
    ] {
        assert_eq!(field.metadata().get(&format!("ARROW:FLIGHT:SQL:{key}")).map(String::as_str), Some(value), "{key}");
    }
    Ok(())
}

#[tokio::test]
async fn a_catalog_in_the_url() -> Result {
    let gateway = Gateway::demo().await?;
    let client = connect(&gateway).await?;
    // `ArrowFlightSqlClientHandler#setCatalog`: SetSessionOptionsRequest{session_options: {"catalog": string_value}};
    // field 1, a map's entry of key 1 and message 2, in which field 1 is the text.
    let with = |catalog: &str| {
        let value = [&[0x0a, catalog.len() as u8], catalog.as_bytes()].concat();
        let entry = [&[0x0a, 7][..], b"catalog", &[0x12, value.len() as u8], &value].concat();
        [&[0x0a, entry.len() as u8][..], &entry].concat()
    };
    let (results, headers) = client.act("SetSessionOptions", with("lake")).await?;
    // SetSessionOptionsResult without errors has no bytes.
    assert!(results[0].is_empty(), "{:?}", results[0]);
    let cookie = headers.get("set-cookie").ok_or("no cookie")?.to_str()?.split(';').next().unwrap_or_default();
    let client = client.clone().header("cookie", cookie);
    assert_eq!(client.ask("SELECT count(*) FROM demo.airports").await?.count(), 1);
    let (results, _) = client.act("SetSessionOptions", with("other")).await?;
    assert!(!results[0].is_empty());
    // `ArrowFlightSqlClientHandler#close`
    let (results, _) = client.act("CloseSession", "").await?;
    // CloseSessionResult{status: CLOSED}
    assert_eq!(results[0].as_ref(), [0x08, 1]);
    let actions = client.raw().list_actions(client.request(Empty {})).await?;
    assert!(actions.into_inner().message().await?.is_some());
    Ok(())
}
