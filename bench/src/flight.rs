//! Flight SQL: the queries of TPC-H beside plain DataFusion in this process; a long answer beside a server that has its
//! batches ready; rows that come in beside the Parquet writer alone; and how long the smallest question takes. Two other
//! servers of Flight SQL, roapi and Sail, answer the same where they can, on the same Parquet files.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::flight_service_server::{FlightService, FlightServiceServer};
use arrow_flight::sql::{
    CommandStatementIngest, CommandStatementQuery, TableDefinitionOptions, TableExistsOption, TableNotExistOption,
};
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest, HandshakeResponse,
    PollInfo, PutResult, SchemaResult, Ticket,
};
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use lakegate_e2e::flight::descriptor;
use lakegate_e2e::{Client, FlightClient, Gateway, Result, process};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use serde_json::{Value, json};
use tonic::{Request, Response, Status, Streaming};

use crate::record::Recorder;
use crate::sides::{FlightPeer, Peer, Took, in_process, open, over_flight, over_rest, run_in_process};
use crate::tpch::{Loaded, queries};

/// One of the suites whose names begin with `flight-`.
pub(crate) async fn run(record: &Recorder, suite: &str) -> Result {
    if suite == "flight-put" {
        return puts(record, &Gateway::start().await?).await;
    }
    let loaded = Loaded::new().await?;
    let folders = loaded.folders();
    let folders: Vec<&str> = folders.iter().map(String::as_str).collect();
    let peers = FlightPeer::all(&folders).await?;
    match suite {
        "flight-tpch" => statements(record, &loaded, &folders, &peers).await?,
        "flight-answer" => long_answers(record, &loaded, &peers).await?,
        _ => small_questions(record, &loaded.gateway, &peers).await?,
    }
    for peer in peers {
        peer.stop().await?;
    }
    Ok(())
}

async fn statements(record: &Recorder, loaded: &Loaded, folders: &[&str], peers: &[FlightPeer]) -> Result {
    const ROUNDS: u32 = 10;
    /// Rounds of the peers, some of which take seconds a query.
    const PEER_ROUNDS: u32 = 2;
    let mut duckdb = Peer::start("duckdb_sql.py", folders).await?;
    let client = FlightClient::connect(loaded.gateway.flight(), Some(loaded.gateway.token())).await?;
    let rest = loaded.gateway.client();
    let lake = open(&loaded.root()).await?;
    let session = in_process(&lake, "tpch", &loaded.tables).await?;
    for (name, sql) in queries()? {
        for round in 0..=ROUNDS {
            // Each goes first in every third round.
            let mut took = [const { None }; 3];
            for turn in 0..3 {
                let side = (turn + round as usize) % 3;
                took[side] = Some(match side {
                    0 => over_flight(&client, &sql).await?,
                    1 => run_in_process(&session, &sql).await?,
                    _ => over_rest(rest, &sql).await?,
                });
            }
            let [Some(flight), Some(here), Some(rest)] = took else { return Err("a side was left out".into()) };
            if flight.rows != here.rows || rest.rows != here.rows {
                return Err(format!("{name}: {} rows over Flight, {} in process", flight.rows, here.rows).into());
            }
            // The first round fills caches.
            if round > 0 {
                for (side, took) in [("flight", flight), ("in process", here), ("rest", rest)] {
                    let numbers = json!({ "ms": took.time.as_secs_f64() * 1e3, "rows": took.rows });
                    record.measured("flight-tpch", &name, side, round, numbers)?;
                }
            }
            if round > PEER_ROUNDS {
                continue;
            }
            let mut others = vec![("duckdb", duckdb.run(&sql).await?)];
            for peer in peers {
                others.push((peer.name, peer.run(&sql).await));
            }
            for (side, numbers) in others.into_iter().filter(|_| round > 0) {
                record.measured("flight-tpch", &name, side, round, numbers)?;
            }
        }
    }
    duckdb.stop().await
}

/// Two answers of about 5 GB, read and let go: all of `lineitem` seven times over, which is read from Parquet for it; and a
/// tenth of it times seventy, where a row that was read is sent seventy times.
async fn long_answers(record: &Recorder, loaded: &Loaded, peers: &[FlightPeer]) -> Result {
    const ROUNDS: usize = 5;
    /// Rounds of the peers.
    const PEER_ROUNDS: usize = 1;
    const TIMES: usize = 7;
    let columns = "l_orderkey, l_partkey, l_suppkey, l_linenumber, l_quantity, l_extendedprice, l_discount, l_tax, \
                   l_shipdate, l_commitdate, l_receiptdate";
    let once = format!("SELECT {columns} FROM tpch.lineitem");
    let all = vec![once.clone(); TIMES].join(" UNION ALL ");
    let numbers: Vec<String> = (0..10 * TIMES).map(|n| format!("({n})")).collect();
    let few = format!("{once} CROSS JOIN (VALUES {}) AS t(n) WHERE l_orderkey <= 600000", numbers.join(", "));
    let gateway = FlightClient::connect(loaded.gateway.flight(), Some(loaded.gateway.token())).await?;
    // The same rows, in batches of the same size, ready in memory.
    let ready = gateway.ask(&once).await?.batches;
    let plain = Ready { batches: ready.into(), times: TIMES }.serve().await?;
    let plain = FlightClient::connect(&plain, None).await?;
    let pid = loaded.gateway.pid()?;
    for (what, sql) in [("lineitem, 7 times", &all), ("a tenth of it, 70 times", &few)] {
        for round in 1..=ROUNDS {
            let mut sides =
                vec![("gateway", &gateway, Some((sql.clone(), pid))), ("batches that are ready", &plain, None)];
            if round % 2 == 0 {
                sides.reverse();
            }
            for peer in peers.iter().filter(|_| round <= PEER_ROUNDS) {
                sides.push((peer.name, &peer.client, Some((peer.spelled(sql), peer.pid))));
            }
            for (side, client, asked) in sides {
                let numbers = match read_through(client, asked).await {
                    Ok(numbers) => numbers,
                    Err(error) if peers.iter().any(|peer| peer.name == side) => {
                        json!({ "error": error.to_string().chars().take(300).collect::<String>() })
                    }
                    Err(error) => return Err(error),
                };
                record.measured("flight-answer", what, side, u32::try_from(round)?, numbers)?;
            }
        }
    }
    Ok(())
}

/// Reads all messages of an answer: of a statement to a process, or of the one ticket that a server has.
async fn read_through(client: &FlightClient, asked: Option<(String, u32)>) -> Result<Value> {
    let started = Instant::now();
    let (ticket, pid) = match asked {
        Some((query, pid)) => {
            process::reset_peak(pid)?;
            let info = client.info(&CommandStatementQuery { query, transaction_id: None }).await?;
            (info.endpoint[0].ticket.clone().ok_or("no ticket")?, Some(pid))
        }
        None => (Ticket::new("all"), None),
    };
    let (mut bytes, mut messages) = (0_u64, client.messages(ticket).await?.into_inner());
    while let Some(message) = messages.next().await {
        bytes += message?.data_body.len() as u64;
    }
    let seconds = started.elapsed().as_secs_f64();
    let peak = pid.map(process::peak_memory).transpose()?;
    Ok(json!({ "bytes": bytes, "mb_per_second": bytes as f64 / 1e6 / seconds, "peak_bytes": peak }))
}

/// How long `SELECT 1` takes, one client after another question and 64 at a time.
async fn small_questions(record: &Recorder, gateway: &Gateway, peers: &[FlightPeer]) -> Result {
    const ROUNDS: u32 = 3;
    const LONG: Duration = Duration::from_secs(5);
    for round in 1..=ROUNDS {
        for clients in [1, 64] {
            let what = format!("SELECT 1, {clients} clients");
            let mut sides = vec![("flight", gateway.flight(), Some(gateway.token())), ("rest", gateway.base(), None)];
            sides.extend(peers.iter().map(|peer| (peer.name, peer.address.as_str(), None)));
            for (side, address, token) in sides {
                let until = Instant::now() + LONG;
                let mut running = tokio::task::JoinSet::new();
                for _ in 0..clients {
                    if side == "rest" {
                        let rest = Client::new(address, Some(gateway.token().to_owned()))?;
                        running.spawn(async move { again(until, || over_rest(&rest, "SELECT 1")).await });
                    } else {
                        let flight = FlightClient::connect(address, token).await?;
                        running.spawn(async move { again(until, || over_flight(&flight, "SELECT 1")).await });
                    }
                }
                let mut times = Vec::new();
                while let Some(done) = running.join_next().await {
                    times.extend(done??);
                }
                let numbers = crate::pushes::summary(&mut times, LONG);
                record.measured("flight-latency", &what, side, round, numbers)?;
            }
        }
    }
    Ok(())
}

/// Asks one after another until the time is over; how long each took.
async fn again<F: Future<Output = Result<Took>>>(until: Instant, mut ask: impl FnMut() -> F) -> Result<Vec<Duration>> {
    let mut times = Vec::new();
    while Instant::now() < until {
        times.push(ask().await?.time);
    }
    Ok(times)
}

/// Rows of 24 bytes, from a number on.
fn rows(from: i64, count: i64) -> Result<RecordBatch> {
    let columns: [(&str, ArrayRef); 3] = [
        ("id", Arc::new(Int64Array::from_iter_values(from..from + count))),
        ("value", Arc::new(Float64Array::from_iter_values((from..from + count).map(|n| (n % 1_000) as f64 / 8.0)))),
        (
            "at",
            Arc::new(
                TimestampMicrosecondArray::from_iter_values((from..from + count).map(|n| n * 1_000))
                    .with_timezone("UTC"),
            ),
        ),
    ];
    Ok(RecordBatch::try_from_iter(columns)?)
}

/// 50 million rows by one put, beside the Parquet writer alone with the same settings and the same batches.
async fn puts(record: &Recorder, gateway: &Gateway) -> Result {
    const ROUNDS: u32 = 3;
    const BATCH: i64 = 65_536;
    const BATCHES: i64 = 763;
    let client = FlightClient::connect(gateway.flight(), Some(gateway.token())).await?;
    for round in 1..=ROUNDS {
        for turn in 0..2 {
            let ours = (turn + round) % 2 == 0;
            let pid = gateway.pid()?;
            process::reset_peak(pid)?;
            let started = Instant::now();
            if ours {
                let command = CommandStatementIngest {
                    table_definition_options: Some(TableDefinitionOptions {
                        if_not_exist: TableNotExistOption::Create as i32,
                        if_exists: TableExistsOption::Fail as i32,
                    }),
                    table: format!("rows_{round}"),
                    schema: Some("bench".to_owned()),
                    catalog: None,
                    temporary: false,
                    transaction_id: None,
                    options: std::collections::HashMap::new(),
                };
                let batches = (0..BATCHES).map(|n| rows(n * BATCH, BATCH).map_err(|e| e.to_string()));
                let batches = futures::stream::iter(batches)
                    .map_err(|e| arrow_flight::error::FlightError::ExternalError(e.into()));
                let encoder = FlightDataEncoderBuilder::new().with_flight_descriptor(Some(descriptor(&command)));
                let messages = encoder.build(batches).filter_map(|message| async { message.ok() });
                client.put(messages).await?;
            } else {
                let file = std::env::temp_dir().join(format!("lakegate-bench-{}.parquet", std::process::id()));
                tokio::task::spawn_blocking(move || write_alone(&file, BATCHES, BATCH)).await??;
            }
            let seconds = started.elapsed().as_secs_f64();
            let side = if ours { "put" } else { "the Parquet writer alone" };
            let numbers = json!({
                "rows_per_second": (BATCH * BATCHES) as f64 / seconds,
                "peak_bytes": if ours { process::peak_memory(pid)? } else { 0 },
            });
            record.measured("flight-put", "50 million rows of 24 bytes", side, round, numbers)?;
        }
    }
    Ok(())
}

const ROW_GROUP_ROWS: usize = 65_536;
const PAGE_ROWS: usize = 4_096;

fn write_alone(path: &std::path::Path, batches: i64, batch: i64) -> Result {
    // As the gateway's own files are written.
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_write_batch_size(PAGE_ROWS)
        .set_column_dictionary_enabled("value".into(), false)
        .set_column_dictionary_enabled("at".into(), false)
        .build();
    let file = std::fs::File::create(path)?;
    let mut writer = ArrowWriter::try_new(file, rows(0, 1)?.schema(), Some(properties))?;
    for n in 0..batches {
        writer.write(&rows(n * batch, batch)?)?;
    }
    writer.into_inner()?.sync_all()?;
    Ok(std::fs::remove_file(path)?)
}

/// The least that a server of Flight can do: it encodes batches that it has, and sends them.
struct Ready {
    batches: Arc<[RecordBatch]>,
    times: usize,
}

type Messages<T> = BoxStream<'static, Result<T, Status>>;

impl Ready {
    /// Serves on any free port; the address.
    async fn serve(self) -> Result<String> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = format!("grpc://{}", listener.local_addr()?);
        let incoming = tonic::transport::server::TcpIncoming::from(listener).with_nodelay(Some(true));
        let server = tonic::transport::Server::builder().add_service(FlightServiceServer::new(self));
        tokio::spawn(server.serve_with_incoming(incoming));
        Ok(address)
    }
}

macro_rules! not_here {
    ($($name:ident($request:ty) -> $answer:ty;)*) => {$(
        fn $name<'s, 'r>(&'s self, _: $request) -> futures::future::BoxFuture<'r, Result<Response<$answer>, Status>>
        where
            's: 'r,
            Self: 'r,
        {
            Box::pin(async { Err(Status::unimplemented(stringify!($name))) })
        }
    )*};
}

impl FlightService for Ready {
    type HandshakeStream = Messages<HandshakeResponse>;
    type ListFlightsStream = Messages<FlightInfo>;
    type DoGetStream = Messages<FlightData>;
    type DoPutStream = Messages<PutResult>;
    type DoActionStream = Messages<arrow_flight::Result>;
    type ListActionsStream = Messages<ActionType>;
    type DoExchangeStream = Messages<FlightData>;

    fn do_get<'s, 'r>(
        &'s self,
        _: Request<Ticket>,
    ) -> futures::future::BoxFuture<'r, Result<Response<Self::DoGetStream>, Status>>
    where
        's: 'r,
        Self: 'r,
    {
        let (batches, times) = (Arc::clone(&self.batches), self.times);
        let all = (0..times * batches.len()).map(move |n| Ok(batches[n % batches.len()].clone()));
        let messages = FlightDataEncoderBuilder::new().build(futures::stream::iter(all)).map_err(Status::from);
        Box::pin(async move { Ok(Response::new(messages.boxed() as Self::DoGetStream)) })
    }

    not_here! {
        handshake(Request<Streaming<HandshakeRequest>>) -> Self::HandshakeStream;
        list_flights(Request<Criteria>) -> Self::ListFlightsStream;
        get_flight_info(Request<FlightDescriptor>) -> FlightInfo;
        poll_flight_info(Request<FlightDescriptor>) -> PollInfo;
        get_schema(Request<FlightDescriptor>) -> SchemaResult;
        do_put(Request<Streaming<FlightData>>) -> Self::DoPutStream;
        do_exchange(Request<Streaming<FlightData>>) -> Self::DoExchangeStream;
        do_action(Request<Action>) -> Self::DoActionStream;
        list_actions(Request<Empty>) -> Self::ListActionsStream;
    }
}
