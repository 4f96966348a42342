//! From stored rows to visible ones: filtered, gathered into full batches, masked.

use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, BooleanArray, RecordBatchOptions};
use arrow::compute::{BatchCoalescer, prep_null_mask_filter};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::common::cast::as_boolean_array;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_expr::PhysicalExpr;
use futures::stream::BoxStream;
use futures::{Stream, TryStreamExt as _, stream};

use super::PolicyFailed;

/// What is done to the rows of one scan.
#[derive(Clone)]
pub(super) struct Shaping {
    /// The dataset, for errors.
    pub(super) dataset: String,
    /// Over the columns that the scan reads.
    pub(super) filter: Option<Arc<dyn PhysicalExpr>>,
    /// Where in them those columns are that the outputs are made of; a filtered row is gathered of these.
    pub(super) kept: Vec<usize>,
    pub(super) outputs: Vec<Output>,
    /// The outputs' schema.
    pub(super) schema: SchemaRef,
}

/// One column that comes out, of the columns that are kept.
#[derive(Clone)]
pub(super) enum Output {
    /// The column at this place.
    Stored(usize),
    Mask(Arc<dyn PhysicalExpr>),
}

/// The visible rows of `stored`, in batches of `batch_rows`, so that where a batch ends tells nothing of rows left out.
pub(super) fn visible(
    shaping: Shaping,
    stored: SendableRecordBatchStream,
    batch_rows: usize,
) -> Result<impl Stream<Item = Result<RecordBatch>> + Send> {
    let gathered = BatchCoalescer::new(Arc::new(stored.schema().project(&shaping.kept)?), batch_rows);
    let rows = Rows { shaping, stored: Box::pin(stored), gathered, ended: false };
    Ok(stream::try_unfold(rows, |mut rows| async move { Ok(rows.next().await?.map(|batch| (batch, rows))) }))
}

struct Rows {
    shaping: Shaping,
    stored: BoxStream<'static, Result<RecordBatch>>,
    gathered: BatchCoalescer,
    ended: bool,
}

impl Rows {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if let Some(batch) = self.gathered.next_completed_batch() {
                return self.shaping.masked(&batch).map(Some);
            }
            if self.ended {
                return Ok(None);
            }
            let Some(batch) = self.stored.try_next().await? else {
                self.ended = true;
                self.gathered.finish_buffered_batch()?;
                continue;
            };
            let kept = batch.project(&self.shaping.kept)?;
            match &self.shaping.filter {
                None => return self.shaping.masked(&kept).map(Some),
                Some(filter) => {
                    let keep = self.shaping.checked(keep(filter.as_ref(), &batch))?;
                    self.gathered.push_batch_with_filter(kept, &keep)?;
                }
            }
        }
    }
}

impl Shaping {
    fn masked(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let columns: Vec<ArrayRef> = self
            .outputs
            .iter()
            .map(|output| match output {
                Output::Stored(at) => Ok(Arc::clone(batch.column(*at))),
                Output::Mask(mask) => {
                    self.checked(mask.evaluate(batch).and_then(|value| value.into_array(batch.num_rows())))
                }
            })
            .collect::<Result<_>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        self.checked(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options).map_err(Into::into))
    }

    /// An error of an expression tells of values: it goes to the log, and the caller learns that there was one.
    fn checked<T>(&self, result: Result<T>) -> Result<T> {
        result.map_err(|error| {
            tracing::error!(%error, dataset = self.dataset, "an expression of a policy failed on a row");
            DataFusionError::External(Box::new(PolicyFailed(self.dataset.clone())))
        })
    }
}

/// The rows for which the filter is true; it is not for NULL.
fn keep(filter: &dyn PhysicalExpr, batch: &RecordBatch) -> Result<BooleanArray> {
    let truth = filter.evaluate(batch)?.into_array(batch.num_rows())?;
    let truth = as_boolean_array(&truth)?;
    Ok(if truth.null_count() > 0 { prep_null_mask_filter(truth) } else { truth.clone() })
}
