//! The engine: admission, opening what a statement names, planning, running.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::execution::disk_manager::DiskManagerBuilder;
use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use lakegate_catalog::{
    Caller, Catalog, Column, ColumnType, DatasetId, DatasetName, Namespace, Policy, Protocol, Trail,
};
use lakegate_lake::Lake;
use lakegate_statement::{AsOf, Explain, Params, Statement, StatementError, TypedValue};
use tokio::runtime::{Builder, Handle, Runtime};

use crate::account::Account;
use crate::error::{QueryError, Result};
use crate::functions;
use crate::kept::{Asked, Key, Plans};
use crate::memory::QueryPool;
use crate::open::{Opener, Reading};
use crate::plan::{Described, Made, Planning, describe, plan};
use crate::planner::Planner;
use crate::policy;
use crate::record::{QueryInfo, QueryState, Record, Tally, Viewer};
use crate::running::{Queries, Running, Stop};
use crate::session::{Opened, Sessions, Shape};
use crate::spill::{self, Spill};
use crate::stream::{QueryStream, StopOnDrop};
use crate::translate::translate;
use crate::watch;

/// Stack of the threads that run queries: expressions are evaluated as deep as they are nested.
const STACK: usize = 32 * 1024 * 1024;

/// What the engine may use.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Bytes that all queries may reserve together.
    pub memory: usize,
    /// Bytes that one query may reserve.
    pub memory_per_query: usize,
    /// Bytes that the whole process may have in memory before the largest query is stopped.
    pub process_memory: usize,
    /// Where queries spill. Made when it is not there; what an earlier process left is removed.
    pub spill_dir: PathBuf,
    /// Bytes that one query may have on disk at a time.
    pub spill_per_query: u64,
    /// Threads that run queries, and partitions per query.
    pub threads: usize,
    /// The deadline of a request that names none, from the moment it arrives.
    pub timeout: Duration,
    /// The longest deadline that a request may name.
    pub max_timeout: Duration,
    /// The same for a statement in the background, and its deadline when it names none.
    pub max_background: Duration,
    /// Queries that run at a time. Eight times as many may wait; more are turned away.
    pub max_concurrent: usize,
}

/// One query to run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QueryRequest {
    /// An id of the caller's choice, `[A-Za-z0-9_-]{1,64}` and not that of a running query; `None`
    /// makes a new one.
    pub id: Option<String>,
    /// One SQL statement.
    pub sql: String,
    /// The values of its parameters.
    pub params: Params,
    /// Rows to answer at most; more set [`QueryStream::truncated`].
    pub limit: Option<u64>,
    /// The deadline; the engine's default when there is none.
    pub timeout: Option<Duration>,
    /// Which versions to read where the statement does not say.
    pub as_of: AsOf,
    /// The namespace of names that have one part; without it such names are refused.
    pub namespace: Option<Namespace>,
    /// The time zone, an IANA name, in which text without one is read as a timestamp, and timestamps are answered;
    /// UTC when there is none.
    pub time_zone: Option<String>,
    /// Whether columns may be of types that not every client reads: views.
    pub keep_types: bool,
    /// Whether rows of one version of a dataset come in the same order each time. Slower: one thread reads.
    pub in_order: bool,
    /// How it came, for the audit.
    pub protocol: Protocol,
    /// The request that it came with, for the audit.
    pub request_id: Option<String>,
}

/// A query that is admitted, checked and knows what it reads, and has not been planned.
///
/// It holds a slot; dropping it cancels the query.
pub struct PreparedQuery {
    running: StopOnDrop,
    asked: Asked,
    statement: Statement,
    reading: Reading,
    spill: Spill,
    limit: Option<u64>,
    threads: usize,
    shape: Shape,
}

impl PreparedQuery {
    /// The datasets that will be read, and which version of each.
    pub fn versions(&self) -> Vec<(String, u64)> {
        self.reading.versions()
    }

    /// Text that stays the same as long as what the statement reads stays the same; `None` when nothing says so, as
    /// for `information_schema` or a plan. Whether the statement itself answers the same each time is known later:
    /// [`QueryStream::repeatable`].
    pub fn fingerprint(&self) -> Option<String> {
        let rows = self.statement.explain() == Explain::No;
        (rows && !self.reading.unversioned).then(|| self.reading.fingerprint())
    }

    /// Ends the query well without running it: its caller has the answer already.
    pub fn finish(self) {
        self.running.0.record.done();
    }
}

/// What a statement would answer.
#[derive(Clone, Debug)]
pub struct Description {
    /// The schema of its rows, as [`QueryStream::schema`] has it.
    pub schema: SchemaRef,
    /// Its parameters: `1`, `2`, … in their order, or names; and the type of each where the statement says enough.
    pub parameters: Vec<(String, Option<DataType>)>,
    /// The datasets that it reads, and the newest version of each, or the one that it names.
    pub versions: Vec<(String, u64)>,
    /// The same for [`AsOf::Found`], without those that it reads at several versions.
    pub found: BTreeMap<DatasetName, (DatasetId, u64)>,
}

/// What is going on, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Queries that hold a slot.
    pub running: usize,
    /// Queries that wait for one.
    pub queued: usize,
    /// Bytes that queries have reserved.
    pub memory_reserved: usize,
    /// Bytes that they may reserve together.
    pub memory_limit: usize,
    /// Bytes that running queries have on disk.
    pub spilled: u64,
    /// Queries that have ended well, since the engine was made.
    pub done: u64,
    /// Queries that have ended with an error.
    pub failed: u64,
    /// Queries that were cancelled, or whose caller left.
    pub cancelled: u64,
    /// Rows that callers of ended queries have read.
    pub rows: u64,
}

/// Runs SQL for callers.
///
/// Parsing and planning have their own threads, running has its own runtime: nothing that a
/// statement does holds up the caller's. Dropping the engine stops its queries.
pub struct Engine {
    options: EngineOptions,
    catalog: Arc<dyn Catalog>,
    lake: Arc<Lake>,
    /// The budget of all queries.
    memory: Arc<dyn MemoryPool>,
    /// Object stores and caches that queries share.
    shared: Arc<RuntimeEnv>,
    sessions: Arc<Sessions>,
    queries: Arc<Queries>,
    planner: Planner,
    workers: Workers,
    /// Plans of statements that were described under the id that they will run by.
    plans: Plans,
    /// What is on its way into the audit.
    trail: Arc<Trail>,
}

impl Engine {
    /// Makes the engine: empties the spill folder, starts its threads and the watchdog.
    pub fn new(options: EngineOptions, catalog: Arc<dyn Catalog>, lake: Arc<Lake>) -> Result<Self> {
        spill::prepare(&options.spill_dir).map_err(|e| QueryError::internal("the spill folder cannot be used", e))?;
        let shared = RuntimeEnvBuilder::new().with_object_store_registry(lake.object_store_registry()).build_arc();
        let shared = shared.map_err(|e| QueryError::internal("the shared environment cannot be made", e))?;
        let sessions = Sessions::new(Arc::clone(&shared));
        let sessions = sessions.map_err(|e| QueryError::internal("the functions cannot be put together", e))?;
        let threads = options.threads.max(1);
        let queries = Arc::new(Queries::new(options.max_concurrent.max(1)));
        watch::start(&queries, options.process_memory)?;
        Ok(Self {
            catalog,
            lake,
            memory: Arc::new(GreedyMemoryPool::new(options.memory)),
            shared,
            sessions: Arc::new(sessions),
            queries,
            planner: Planner::new(threads + 1),
            workers: Workers::start(threads)?,
            plans: Plans::default(),
            trail: Trail::new(),
            options,
        })
    }

    /// What is on its way into the audit, of queries and of whoever else adds to it. Somebody is to bring it to the catalog.
    pub fn trail(&self) -> &Arc<Trail> {
        &self.trail
    }

    /// Starts a query; answers once it is planned and running.
    ///
    /// Names resolve to the datasets that `caller` may see; what it may not see does not exist.
    /// Waits at most until the request's deadline, which the stream then keeps too. Dropping the
    /// future or the stream cancels the query.
    pub async fn query(&self, caller: &Caller, request: QueryRequest) -> Result<QueryStream> {
        self.run(self.prepare(caller, request).await?).await
    }

    /// Admits and checks a query, and opens what it reads.
    pub async fn prepare(&self, caller: &Caller, request: QueryRequest) -> Result<PreparedQuery> {
        let chosen = request.id.is_some();
        let account = Account::new(&self.trail, caller, &request);
        let id = query_id(request.id.clone()).inspect_err(|error| account.refused(None, error))?;
        let record = Record::new(id, chosen, &request.sql, caller, self.tally()).on_account(account);
        self.admit(caller, request, record).await
    }

    /// What a statement would answer, and which parameters it has, without running it. Parameters may be
    /// [`Params::Later`]; their types are found where the statement says enough.
    ///
    /// When the request has an id, [`Engine::query`] with the same request and [`AsOf::Found`] for what was found need not
    /// plan it again if it comes soon.
    ///
    /// The audit is told when it is refused; else it is told of the query.
    pub async fn describe(&self, caller: &Caller, request: QueryRequest) -> Result<Description> {
        let (account, id) = (Account::new(&self.trail, caller, &request), request.id.clone());
        // In a box: futures within futures have a bound, and protocols put theirs around it.
        let described = Box::pin(self.describe_somehow(caller, request)).await;
        described.inspect_err(|error| account.refused(id.as_deref(), error))
    }

    async fn describe_somehow(&self, caller: &Caller, request: QueryRequest) -> Result<Description> {
        let described = self.describe_once(caller, request.clone()).await;
        let (Err(error), Params::Later) = (&described, &request.params) else { return described };
        if !matches!(error, QueryError::InvalidStatement(_) | QueryError::Statement(StatementError::NotSupported(_))) {
            return described;
        }
        // Some expressions have no type before their parameters have: NULL goes nearly anywhere, and text where that is
        // asked for.
        let parsed = self.planner.run({
            let (sql, namespace) = (request.sql.clone(), request.namespace.clone());
            move || Ok(Statement::parse_within(namespace.as_ref(), &sql, &Params::Later, functions::known())?)
        });
        let names = parsed.await?.placeholders().to_vec();
        if names.is_empty() {
            return described;
        }
        for ty in [None, Some(ColumnType::String)] {
            let nulls = names.iter().map(|name| (name.clone(), TypedValue::Null(ty.clone()))).collect();
            let with_nulls = QueryRequest { params: Params::Typed(nulls), ..request.clone() };
            if let Ok(found) = self.describe_once(caller, with_nulls).await {
                let parameters = names.into_iter().map(|name| (name, None)).collect();
                return Ok(Description { parameters, ..found });
            }
        }
        described
    }

    async fn describe_once(&self, caller: &Caller, request: QueryRequest) -> Result<Description> {
        let id = uuid::Uuid::now_v7().to_string();
        let record = Record::new(id, false, &request.sql, caller, self.tally()).unlisted();
        let PreparedQuery { running, asked, statement, reading, limit, threads, shape, .. } =
            self.admit(caller, request, record).await?;
        let (versions, found, reads) = (reading.versions(), reading.found(), reading.fingerprint());
        let planning = self.planning(reading.relations, limit, threads, shape);
        let running = &running.0;
        let work = self.planner.run({
            let running = Arc::clone(running);
            move || describe(statement, planning).map_err(|e| translate(&e, running.budgets()))
        });
        let Described { schema, parameters, made } = running.while_alive(work).await.and_then(|described| described)?;
        running.record.done();
        if let Some(made) = made.filter(|_| asked.has_id()) {
            self.plans.keep(Key { asked, reads }, made);
        }
        Ok(Description { schema, parameters, versions, found })
    }

    async fn admit(&self, caller: &Caller, request: QueryRequest, record: Record) -> Result<PreparedQuery> {
        let record = Arc::new(record);
        let timeout = self.deadline(request.protocol, request.timeout).inspect_err(|error| record.failed(error))?;
        let pool = QueryPool::new(self.options.memory_per_query, Arc::clone(&self.memory));
        let spill = Spill::new(self.options.spill_dir.clone(), self.options.spill_per_query);
        let admitted = self.queries.admit(caller, Arc::clone(&record), timeout, pool, spill.quota()).await;
        let running = StopOnDrop(admitted.inspect_err(|error| record.failed(error))?);
        running.0.record.enter(QueryState::Planning);
        let limit = request.limit;
        let asked = Asked::new(caller, &request);
        let shape = Shape { time_zone: request.time_zone.clone(), keep_types: request.keep_types };
        let threads = if request.in_order { 1 } else { self.options.threads.max(1) };
        let read = running.0.while_alive(self.read(caller, request)).await.and_then(|read| read);
        let (statement, reading) = read.inspect_err(|error| running.0.record.failed(error))?;
        running.0.record.reads(reading.versions(), reading.datasets());
        Ok(PreparedQuery { running, asked, statement, reading, spill, limit, threads, shape })
    }

    /// Plans a query and starts it.
    pub async fn run(&self, query: PreparedQuery) -> Result<QueryStream> {
        let PreparedQuery { running, asked, statement, reading, spill, limit, threads, shape } = query;
        let versions = reading.versions();
        let runtime = self.runtime_for(&running.0, spill)?;
        // What it reads was opened again above, for this caller: a plan from before is used only over the same.
        let key = Key { asked, reads: reading.fingerprint() };
        let made = match self.plans.take(&key) {
            Some(made) => Ok(made),
            None => {
                let planning = self.planning(reading.relations, limit, threads, shape);
                running.0.while_alive(self.plan(statement, planning, &running.0)).await.and_then(|planned| planned)
            }
        };
        let token = running.0.token();
        let planned = made.and_then(|made| made.ready(runtime, &token).map_err(|e| translate(&e, running.0.budgets())));
        let planned = planned.inspect_err(|error| running.0.record.failed(error))?;
        running.0.record.enter(QueryState::Running);
        Ok(QueryStream::start(planned, running, limit, versions, reading.names, self.workers.handle()))
    }

    fn planning(&self, relations: Vec<Opened>, limit: Option<u64>, threads: usize, shape: Shape) -> Planning {
        let fetch = limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX).saturating_add(1));
        let sessions = Arc::clone(&self.sessions);
        Planning { relations, sessions, threads, fetch, shape, handle: self.workers.handle().clone() }
    }

    /// Checks that a policy fits a dataset with these columns: each mask is of a column that there is and can be cast to
    /// its type, the row filter is a predicate, something stays visible, and all expressions together are no larger than
    /// a statement. Errors: [`QueryError::InvalidPolicy`], with the position in the part that is wrong where it is known.
    pub async fn check_policy(&self, columns: Vec<Column>, policy: Policy) -> Result<()> {
        let sessions = Arc::clone(&self.sessions);
        self.planner.run(move || policy::check(&columns, &policy, &sessions)).await
    }

    /// The longest deadline that a query may ask for.
    pub fn max_timeout(&self) -> Duration {
        self.options.max_timeout
    }

    /// How long a statement may take that came by this protocol and asks for this, if for anything. Errors:
    /// [`QueryError::TimeoutTooLong`].
    pub fn deadline(&self, protocol: Protocol, asked: Option<Duration>) -> Result<Duration> {
        let (default, max) = match protocol {
            Protocol::Job => (self.options.max_background, self.options.max_background),
            Protocol::Rest | Protocol::Flight => (self.options.timeout, self.options.max_timeout),
        };
        match asked {
            None => Ok(default.min(max)),
            Some(asked) if asked > max => Err(QueryError::TimeoutTooLong { asked, max }),
            Some(asked) => Ok(asked),
        }
    }

    /// The queries that `viewer` may see: those that run, and the last few hundred that have ended, newest first.
    pub fn queries(&self, viewer: &Viewer) -> Vec<QueryInfo> {
        self.queries.records.list(viewer)
    }

    /// One of them.
    pub fn find_query(&self, viewer: &Viewer, id: &str) -> Option<QueryInfo> {
        self.queries.records.find(viewer, id).map(|(_, info)| info)
    }

    /// Stops one of them; its processors are free within a second. True when there is such a query, also when it has
    /// ended.
    pub fn cancel(&self, viewer: &Viewer, id: &str) -> bool {
        let Some((record, _)) = self.queries.records.find(viewer, id) else { return false };
        if let Some(running) = self.queries.all().iter().find(|running| Arc::ptr_eq(&running.record, &record)) {
            running.stop(Stop::Cancelled);
        }
        true
    }

    fn tally(&self) -> Arc<Tally> {
        Arc::clone(&self.queries.records.tally)
    }

    /// What is going on now, and what has been.
    pub fn usage(&self) -> Usage {
        let (running, queued) = self.queries.counts();
        let tally = &self.queries.records.tally;
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Usage {
            running,
            queued,
            memory_reserved: self.memory.reserved(),
            memory_limit: self.options.memory,
            spilled: self.queries.all().iter().map(|running| running.spill.used()).sum(),
            done: of(&tally.done),
            failed: of(&tally.failed),
            cancelled: of(&tally.cancelled),
            rows: of(&tally.rows),
        }
    }

    async fn read(&self, caller: &Caller, request: QueryRequest) -> Result<(Statement, Reading)> {
        let QueryRequest { sql, params, as_of, namespace, .. } = request;
        let parse = move || Statement::parse_within(namespace.as_ref(), &sql, &params, functions::known());
        let statement = self.planner.run(move || Ok(parse()?)).await?;
        let (catalog, sessions) = (&self.catalog, &self.sessions);
        let opener = Opener { catalog, lake: &self.lake, caller, as_of: &as_of, sessions, planner: &self.planner };
        let reading = opener.open(statement.relations()).await?;
        Ok((statement, reading))
    }

    async fn plan(&self, statement: Statement, planning: Planning, running: &Arc<Running>) -> Result<Made> {
        let running = Arc::clone(running);
        self.planner.run(move || plan(statement, planning).map_err(|e| translate(&e, running.budgets()))).await
    }

    fn runtime_for(&self, running: &Running, spill: Spill) -> Result<Arc<RuntimeEnv>> {
        RuntimeEnvBuilder::from_runtime_env(&self.shared)
            .with_memory_pool(Arc::clone(&running.pool) as Arc<dyn MemoryPool>)
            .with_disk_manager_builder(DiskManagerBuilder::default().with_temp_file_factory(Arc::new(spill)))
            .build_arc()
            .map_err(|e| QueryError::internal("a query's environment cannot be made", e))
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("options", &self.options).finish_non_exhaustive()
    }
}

fn query_id(chosen: Option<String>) -> Result<String> {
    let Some(id) = chosen else { return Ok(uuid::Uuid::now_v7().to_string()) };
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if (1..=64).contains(&id.len()) && id.bytes().all(allowed) {
        return Ok(id);
    }
    Err(QueryError::QueryId(id.chars().take(80).collect()))
}

/// The runtime for queries, which ends without waiting for them.
struct Workers(Option<Runtime>, Handle);

impl Workers {
    fn start(threads: usize) -> Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("query")
            .thread_stack_size(STACK)
            .enable_all()
            .build()
            .map_err(|e| QueryError::internal("the query threads cannot start", e))?;
        let handle = runtime.handle().clone();
        Ok(Self(Some(runtime), handle))
    }

    fn handle(&self) -> &Handle {
        &self.1
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        // Waiting is not possible where an engine may be dropped: inside another runtime.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
