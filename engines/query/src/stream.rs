//! The answer: batches as they come, in bounded memory.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use arrow::array::{Array, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use futures::{FutureExt, Stream, StreamExt};
use lakegate_catalog::DatasetId;
use lakegate_lake::LakeError;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::WaitForCancellationFutureOwned;

use crate::error::{QueryError, Result};
use crate::explain;
use crate::plan::Planned;
use crate::planner::panicked;
use crate::running::{Running, Stop};
use crate::translate::{Budgets, translate};

/// Batches are cut to about this many bytes …
const PIECE_BYTES: usize = 1024 * 1024;
/// … and this many wait for a slow reader; the query then stands still.
const PIECES_AHEAD: usize = 4;

/// A query's answer.
///
/// A stream of record batches of exactly [`QueryStream::schema`], at most about 1 MiB each, made as
/// they are read. It ends after the first error. Dropping it cancels the query: its memory and CPU
/// come back within a second.
pub struct QueryStream {
    id: String,
    schema: SchemaRef,
    versions: Vec<(String, u64)>,
    repeatable: bool,
    truncated: bool,
    ended: bool,
    pieces: mpsc::Receiver<Piece>,
    stopped: Pin<Box<WaitForCancellationFutureOwned>>,
    running: StopOnDrop,
}

enum Piece {
    Rows(RecordBatch),
    Failed(QueryError),
    Done { truncated: bool },
}

impl QueryStream {
    /// Starts the plan on the runtime for queries.
    pub(crate) fn start(
        planned: Planned,
        running: StopOnDrop,
        limit: Option<u64>,
        versions: Vec<(String, u64)>,
        names: HashMap<DatasetId, String>,
        runtime: &Handle,
    ) -> Self {
        let (sender, pieces) = mpsc::channel(PIECES_AHEAD);
        let schema = Arc::clone(&planned.schema);
        let repeatable = planned.repeatable;
        let pool: Arc<dyn MemoryPool> = Arc::clone(&running.0.pool) as Arc<dyn MemoryPool>;
        let held = MemoryConsumer::new("answer").register(&pool);
        let drive = Drive { running: Arc::clone(&running.0), left: limit, names, sender, held };
        let task = runtime.spawn(drive.run(planned));
        running.0.attach(task.abort_handle());
        Self {
            id: running.0.record.id.clone(),
            schema,
            versions,
            repeatable,
            truncated: false,
            ended: false,
            pieces,
            stopped: Box::pin(running.0.token().cancelled_owned()),
            running,
        }
    }

    /// The query's id: the one that the request chose, or a new one.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The schema of every batch; all columns nullable, all names different.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// The datasets that were read, and which version of each.
    pub fn versions(&self) -> &[(String, u64)] {
        &self.versions
    }

    /// Whether the same statement over the same versions answers the same: it asks neither for the time nor for chance.
    pub fn repeatable(&self) -> bool {
        self.repeatable
    }

    /// Whether the limit cut rows off. Known once the stream has ended; false before.
    pub fn truncated(&self) -> bool {
        self.truncated
    }

    fn accept(&mut self, piece: Option<Piece>) -> Option<Result<RecordBatch>> {
        match piece {
            Some(Piece::Rows(batch)) => {
                self.running.0.record.read(batch.num_rows(), bytes_of(&batch));
                Some(Ok(batch))
            }
            Some(Piece::Done { truncated }) => {
                self.ended = true;
                self.running.0.record.done();
                self.truncated = truncated;
                None
            }
            Some(Piece::Failed(error)) => self.fail(error),
            None => self.fail(self.running.0.error()),
        }
    }

    fn fail(&mut self, error: QueryError) -> Option<Result<RecordBatch>> {
        self.ended = true;
        self.running.0.record.failed(&error);
        Some(Err(error))
    }
}

impl Stream for QueryStream {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if self.stopped.as_mut().poll(cx).is_ready() {
            // The task may be in the middle of something that does not yield: do not wait for it.
            let error = self.running.0.error();
            return Poll::Ready(self.fail(error));
        }
        let piece = ready!(self.pieces.poll_recv(cx));
        Poll::Ready(self.accept(piece))
    }
}

impl std::fmt::Debug for QueryStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QueryStream").field("id", &self.id).field("schema", &self.schema).finish_non_exhaustive()
    }
}

/// Stops a query that nobody waits for any more.
pub(crate) struct StopOnDrop(pub(crate) Arc<Running>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.record.failed(&QueryError::Cancelled);
        self.0.stop(Stop::Dropped);
    }
}

/// The task that runs a plan and hands out its rows.
struct Drive {
    running: Arc<Running>,
    left: Option<u64>,
    /// What the datasets are called that the query reads.
    names: HashMap<DatasetId, String>,
    sender: mpsc::Sender<Piece>,
    /// The batch whose pieces are on their way: a reader that takes its time holds it.
    held: MemoryReservation,
}

impl Drive {
    async fn run(mut self, planned: Planned) {
        let sender = self.sender.clone();
        let rows = AssertUnwindSafe(self.rows(planned)).catch_unwind().await;
        let last = match rows {
            Ok(Ok(truncated)) => Piece::Done { truncated },
            Ok(Err(error)) => Piece::Failed(error),
            Err(panic) => Piece::Failed(panicked(panic.as_ref())),
        };
        // Nobody listens any more: nothing to tell.
        let _ = sender.send(last).await;
    }

    async fn rows(&mut self, planned: Planned) -> Result<bool> {
        let Planned { plan, context, schema, analyze, repeatable: _ } = planned;
        if let Some(logical) = analyze {
            return self.analyze(&logical, plan, context).await;
        }
        let mut batches = execute_stream(plan, context).map_err(|e| self.translate(&e))?;
        while let Some(batch) = batches.next().await {
            let batch = batch.map_err(|e| self.translate(&e))?;
            let (batch, cut) = self.within_limit(batch);
            let batch =
                conform(&batch, &schema).map_err(|e| QueryError::internal("a batch does not fit its schema", e))?;
            // Not refused, it is here already: it counts for whoever wants more, and for which query is the largest.
            self.held.resize(bytes_of(&batch));
            for piece in pieces(&batch) {
                if self.sender.send(Piece::Rows(piece)).await.is_err() {
                    return Err(QueryError::Cancelled);
                }
            }
            if cut {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Runs the plan, throws its rows away and answers what it took.
    async fn analyze(
        &mut self,
        logical: &str,
        plan: Arc<dyn ExecutionPlan>,
        context: Arc<TaskContext>,
    ) -> Result<bool> {
        let mut batches = execute_stream(Arc::clone(&plan), context).map_err(|e| self.translate(&e))?;
        while let Some(batch) = batches.next().await {
            batch.map_err(|e| self.translate(&e))?;
        }
        let text = explain::analyzed(logical, plan.as_ref()).map_err(|e| self.translate(&e))?;
        self.sender.send(Piece::Rows(text)).await.map_err(|_| QueryError::Cancelled)?;
        Ok(false)
    }

    fn within_limit(&mut self, batch: RecordBatch) -> (RecordBatch, bool) {
        let Some(left) = self.left.as_mut() else { return (batch, false) };
        let rows = batch.num_rows() as u64;
        if rows > *left {
            let keep = usize::try_from(*left).unwrap_or(usize::MAX);
            return (batch.slice(0, keep), true);
        }
        *left -= rows;
        (batch, false)
    }

    fn translate(&self, error: &datafusion::error::DataFusionError) -> QueryError {
        if self.running.is_stopped() {
            return self.running.error();
        }
        match translate(error, self.running.budgets()) {
            QueryError::Lake(LakeError::Damaged(damage)) => {
                let name = self.names.get(&damage.dataset).cloned();
                QueryError::Damaged { name: name.unwrap_or_else(|| damage.dataset.to_string()), damage }
            }
            error => error,
        }
    }
}

impl Running {
    /// Which budgets the query has run into.
    pub(crate) fn budgets(&self) -> Budgets {
        Budgets { spill_exceeded: self.spill.exceeded(), memory_refused: self.pool.refused() }
    }
}

/// The batch with exactly this schema: same columns, perhaps other names and nullability.
fn conform(batch: &RecordBatch, schema: &SchemaRef) -> std::result::Result<RecordBatch, ArrowError> {
    let columns = batch.columns().iter().zip(schema.fields()).map(|(column, field)| {
        if column.data_type() == field.data_type() { Ok(Arc::clone(column)) } else { cast(column, field.data_type()) }
    });
    let columns = columns.collect::<std::result::Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
}

/// Cuts a batch by rows so that each piece is about [`PIECE_BYTES`]; pieces share its memory. Empty
/// batches vanish.
fn pieces(batch: &RecordBatch) -> impl Iterator<Item = RecordBatch> + '_ {
    let rows = batch.num_rows();
    let parts = bytes_of(batch).div_ceil(PIECE_BYTES).max(1);
    let step = rows.div_ceil(parts).max(1);
    (0..rows).step_by(step).map(move |at| batch.slice(at, step.min(rows - at)))
}

/// Bytes of the rows of a batch, without what its arrays hold besides.
fn bytes_of(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(|column| column.to_data().get_slice_memory_size().unwrap_or(0)).sum()
}
