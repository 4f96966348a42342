//! The engine: admission, opening what a statement names, planning, running.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use datafusion::execution::disk_manager::DiskManagerBuilder;
use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use lakegate_catalog::{Access, Caller, Catalog, Dataset, DatasetName, ErrorKind};
use lakegate_lake::{Lake, LakeError, Snapshot};
use tokio::runtime::{Builder, Handle, Runtime};

use crate::error::{QueryError, Result};
use crate::information_schema;
use crate::memory::QueryPool;
use crate::plan::{Planned, Planning, plan};
use crate::planner::Planner;
use crate::running::{Queries, Running};
use crate::session::Opened;
use crate::spill::{self, Spill};
use crate::statement::{Params, Relation, Statement};
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
    /// Bytes that the whole process may have in memory before the largest query is stopped; `None`
    /// takes nine tenths of the cgroup's limit or the machine's memory.
    pub process_memory: Option<usize>,
    /// Where queries spill. Made when it is not there; what an earlier process left is removed.
    pub spill_dir: PathBuf,
    /// Bytes that one query may have on disk at a time.
    pub spill_per_query: u64,
    /// Threads that run queries, and partitions per query.
    pub threads: usize,
    /// The deadline of a request that names none, from the moment it arrives.
    pub timeout: Duration,
    /// The longest deadline; a longer one is cut to it.
    pub max_timeout: Duration,
    /// Queries that run at a time. Eight times as many may wait; more are turned away.
    pub max_concurrent: usize,
}

/// One query to run.
#[derive(Clone, Debug, Default)]
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
    shared: RuntimeEnv,
    queries: Arc<Queries>,
    planner: Planner,
    workers: Workers,
}

impl Engine {
    /// Makes the engine: empties the spill folder, starts its threads and the watchdog.
    pub fn new(options: EngineOptions, catalog: Arc<dyn Catalog>, lake: Arc<Lake>) -> Result<Self> {
        spill::prepare(&options.spill_dir).map_err(|e| QueryError::internal("the spill folder cannot be used", e))?;
        let shared = RuntimeEnvBuilder::new().with_object_store_registry(lake.object_store_registry()).build();
        let shared = shared.map_err(|e| QueryError::internal("the shared environment cannot be made", e))?;
        let threads = options.threads.max(1);
        let queries = Arc::new(Queries::new(options.max_concurrent.max(1)));
        watch::start(&queries, options.process_memory.unwrap_or_else(watch::automatic_limit))?;
        Ok(Self {
            catalog,
            lake,
            memory: Arc::new(GreedyMemoryPool::new(options.memory)),
            shared,
            queries,
            planner: Planner::new(threads + 1),
            workers: Workers::start(threads)?,
            options,
        })
    }

    /// Starts a query; answers once it is planned and running.
    ///
    /// Names resolve to the datasets that `caller` may see; what it may not see does not exist.
    /// Waits at most until the request's deadline, which the stream then keeps too. Dropping the
    /// future or the stream cancels the query.
    pub async fn query(&self, caller: &Caller, request: QueryRequest) -> Result<QueryStream> {
        let id = query_id(request.id.clone())?;
        let timeout = request.timeout.unwrap_or(self.options.timeout).min(self.options.max_timeout);
        let pool = QueryPool::new(self.options.memory_per_query, Arc::clone(&self.memory));
        let spill = Spill::new(self.options.spill_dir.clone(), self.options.spill_per_query);
        let running = StopOnDrop(self.queries.admit(id, timeout, pool, spill.quota()).await?);
        let limit = request.limit;
        let (planned, versions) = running.0.while_alive(self.prepare(caller, request, &running.0, spill)).await??;
        Ok(QueryStream::start(planned, running, limit, versions, self.workers.handle()))
    }

    /// What is going on now.
    pub fn usage(&self) -> Usage {
        let (running, queued) = self.queries.counts();
        Usage {
            running,
            queued,
            memory_reserved: self.memory.reserved(),
            memory_limit: self.options.memory,
            spilled: self.queries.all().iter().map(|running| running.spill.used()).sum(),
        }
    }

    async fn prepare(
        &self,
        caller: &Caller,
        request: QueryRequest,
        running: &Arc<Running>,
        spill: Spill,
    ) -> Result<(Planned, Vec<(DatasetName, u64)>)> {
        let QueryRequest { sql, params, limit, .. } = request;
        let statement = self.planner.run(move || Statement::parse(&sql, &params)).await?;
        let (relations, versions) = self.open(caller, &statement.relations).await?;
        let planning = Planning {
            relations,
            runtime: self.runtime_for(running, spill)?,
            threads: self.options.threads.max(1),
            fetch: limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX).saturating_add(1)),
            token: running.token(),
            handle: self.workers.handle().clone(),
        };
        let running = Arc::clone(running);
        let planned = self.planner.run(move || plan(statement, planning).map_err(|e| translate(&e, running.budgets())));
        Ok((planned.await?, versions))
    }

    fn runtime_for(&self, running: &Running, spill: Spill) -> Result<Arc<RuntimeEnv>> {
        RuntimeEnvBuilder::from_runtime_env(&self.shared)
            .with_memory_pool(Arc::clone(&running.pool) as Arc<dyn MemoryPool>)
            .with_disk_manager_builder(DiskManagerBuilder::default().with_temp_file_factory(Arc::new(spill)))
            .build_arc()
            .map_err(|e| QueryError::internal("a query's environment cannot be made", e))
    }

    /// Opens what the statement names, each dataset once and in its newest version.
    async fn open(&self, caller: &Caller, relations: &[Relation]) -> Result<(Vec<Opened>, Vec<(DatasetName, u64)>)> {
        let (mut opened, mut versions) = (Vec::new(), Vec::new());
        let mut visible: Option<Vec<Dataset>> = None;
        for relation in relations {
            match relation {
                Relation::Dataset(name) => {
                    let snapshot = self.snapshot(caller, name).await?;
                    versions.push((name.clone(), snapshot.version()));
                    let (schema, table) = (name.namespace().to_string(), name.dataset().to_owned());
                    opened.push(Opened { schema, table, provider: snapshot.provider() });
                }
                Relation::InformationSchema(view) => {
                    if visible.is_none() {
                        visible = Some(information_schema::visible(self.catalog.as_ref(), caller).await?);
                    }
                    let provider = view.table(visible.as_deref().unwrap_or_default())?;
                    let (schema, table) = ("information_schema".to_owned(), view.name().to_owned());
                    opened.push(Opened { schema, table, provider });
                }
            }
        }
        Ok((opened, versions))
    }

    async fn snapshot(&self, caller: &Caller, name: &DatasetName) -> Result<Arc<Snapshot>> {
        let not_found = || QueryError::DatasetNotFound { name: name.to_string() };
        let access = Access::find(self.catalog.as_ref(), caller, name).await?.ok_or_else(not_found)?;
        let newest = async { self.lake.table(access.dataset.id).await?.snapshot().await };
        newest.await.map_err(|error: LakeError| {
            // Deleted since the catalog was asked.
            if error.kind() == ErrorKind::NotFound { not_found() } else { logged(error) }
        })
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("options", &self.options).finish_non_exhaustive()
    }
}

fn logged(error: LakeError) -> QueryError {
    tracing::error!(%error, "a dataset cannot be opened");
    QueryError::Lake(error)
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
