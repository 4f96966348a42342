//! From stored rows to visible ones: filtered, gathered into full batches, masked.

use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, BooleanArray, RecordBatchOptions};
use arrow::compute::{BatchCoalescer, filter_record_batch, prep_null_mask_filter};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::common::cast::as_boolean_array;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr_common::utils::scatter;
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
    /// What the statement asks of rows that pass the filter; of those alone.
    pub(super) asked: Option<Asked>,
    /// Where in them those columns are that the outputs are made of; a filtered row is gathered of these.
    pub(super) kept: Vec<usize>,
    pub(super) outputs: Vec<Output>,
    /// The outputs' schema.
    pub(super) schema: SchemaRef,
}

/// A predicate of the statement.
#[derive(Clone)]
pub(super) struct Asked {
    /// Over the columns at `columns`.
    pub(super) predicate: Arc<dyn PhysicalExpr>,
    /// Where its columns are in those that the scan reads.
    pub(super) columns: Vec<usize>,
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
                    let mut keep = self.shaping.checked(keep(filter.as_ref(), &batch))?;
                    if let Some(asked) = &self.shaping.asked {
                        keep = self.shaping.checked(asked.among(&batch, keep))?;
                    }
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

impl Asked {
    /// Those of the rows to be kept for which the predicate is true. It sees no other row, not even its values in passing:
    /// how long it takes would tell of them.
    fn among(&self, batch: &RecordBatch, keep: BooleanArray) -> Result<BooleanArray> {
        let columns = batch.project(&self.columns)?;
        match keep.true_count() {
            0 => Ok(keep),
            all if all == batch.num_rows() => self::keep(self.predicate.as_ref(), &columns),
            _ => {
                let asked = self::keep(self.predicate.as_ref(), &filter_record_batch(&columns, &keep)?)?;
                Ok(prep_null_mask_filter(as_boolean_array(&scatter(&keep, &asked)?)?))
            }
        }
    }
}

/// The rows for which the filter is true; it is not for NULL.
fn keep(filter: &dyn PhysicalExpr, batch: &RecordBatch) -> Result<BooleanArray> {
    let truth = filter.evaluate(batch)?.into_array(batch.num_rows())?;
    let truth = as_boolean_array(&truth)?;
    Ok(if truth.null_count() > 0 { prep_null_mask_filter(truth) } else { truth.clone() })
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray as _, Int64Array};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};
    use datafusion::common::DFSchema;
    use datafusion::logical_expr::{ColumnarValue, Expr, Volatility, create_udf};
    use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
    use datafusion::prelude::{SessionContext, col, lit};
    use parking_lot::Mutex;

    use super::*;

    /// What came out of these values, each beside its row's number, and what the statement's predicate was shown.
    async fn shown(hides: Vec<Option<i64>>, row_filter: Expr) -> (Vec<i64>, Vec<i64>) {
        let fields = ["hides", "n"].map(|name| Field::new(name, DataType::Int64, true));
        let schema = Arc::new(Schema::new(fields.to_vec()));
        let rows = hides.len() as i64;
        let columns: Vec<ArrayRef> =
            vec![Arc::new(Int64Array::from(hides)), Arc::new(Int64Array::from_iter_values(0..rows))];
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns).expect("batch");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let watch = Arc::clone(&seen);
        let odd = create_udf("odd", vec![DataType::Int64], DataType::Boolean, Volatility::Volatile, {
            Arc::new(move |given: &[ColumnarValue]| {
                let values = ColumnarValue::values_to_arrays(given)?;
                let values = values[0].as_primitive::<Int64Type>();
                watch.lock().extend(values.iter().flatten());
                let odd: BooleanArray = values.iter().map(|value| value.map(|value| value % 2 == 1)).collect();
                Ok(ColumnarValue::Array(Arc::new(odd)))
            })
        });
        let context = SessionContext::new();
        let physical = |expr: Expr, schema: &Schema| {
            context.create_physical_expr(expr, &DFSchema::try_from(schema.clone()).expect("schema")).expect("fits")
        };
        let second = schema.project(&[1]).expect("there");
        let shaping = Shaping {
            dataset: "demo.t".to_owned(),
            filter: Some(physical(row_filter, &schema)),
            asked: Some(Asked { predicate: physical(odd.call(vec![col("n")]), &second), columns: vec![1] }),
            kept: vec![1],
            outputs: vec![Output::Stored(0)],
            schema: Arc::new(second),
        };
        let rows = RecordBatchStreamAdapter::new(schema, stream::iter([Ok(batch)]));
        let came: Vec<RecordBatch> =
            visible(shaping, Box::pin(rows), 100).expect("runs").try_collect().await.expect("rows");
        let came = came.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec());
        (came.collect(), std::mem::take(&mut *seen.lock()))
    }

    #[tokio::test]
    async fn what_is_asked_sees_no_row_that_the_policy_leaves_out() {
        let filter = || col("hides").eq(lit(0_i64));
        let every = |step: i64| (0..1_000).map(|n| Some(n % step)).collect::<Vec<_>>();
        for (hides, visible) in [
            (every(1), (0..1_000).collect::<Vec<i64>>()),
            (every(3), (0..1_000).step_by(3).collect()),
            (every(100), (0..1_000).step_by(100).collect()),
            (
                every(3).into_iter().map(|hides| hides.filter(|hides| *hides != 1)).collect(),
                (0..1_000).step_by(3).collect(),
            ),
            (vec![None; 1_000], Vec::new()),
            (vec![Some(1); 1_000], Vec::new()),
        ] {
            let (came, seen) = shown(hides, filter()).await;
            assert_eq!(seen, visible);
            assert_eq!(came, visible.into_iter().filter(|n| n % 2 == 1).collect::<Vec<_>>());
        }
    }
}
