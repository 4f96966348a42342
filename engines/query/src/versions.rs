//! `ns.t$versions`: what each version of a dataset did, read from its log as far as it is asked for.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::catalog::TableProvider;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::common::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use futures::stream;
use lakegate_lake::{Table, VersionInfo};

use crate::error::{QueryError, Result};

/// Versions per batch; each costs a request to storage.
const BATCH: usize = 64;

/// The relation, the newest version first, all of them before `before` when that is given. Without `sizes`, how many
/// rows, files and bytes there are is NULL.
pub(crate) fn relation(table: Arc<Table>, before: Option<u64>, sizes: bool) -> Result<Arc<dyn TableProvider>> {
    let schema = schema();
    let versions = Arc::new(Versions { table, before, sizes, schema: Arc::clone(&schema) });
    let relation = StreamingTable::try_new(schema, vec![versions]);
    Ok(Arc::new(relation.map_err(|e| QueryError::internal("$versions", e))?))
}

fn schema() -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let fields = [
        ("version", DataType::Int64),
        ("timestamp", time),
        ("operation", DataType::Utf8),
        ("rows_added", DataType::Int64),
        ("files_added", DataType::Int64),
        ("files_removed", DataType::Int64),
        ("bytes_added", DataType::Int64),
    ];
    Arc::new(Schema::new(fields.map(|(name, ty)| Field::new(name, ty, true)).to_vec()))
}

struct Versions {
    table: Arc<Table>,
    before: Option<u64>,
    sizes: bool,
    schema: SchemaRef,
}

impl fmt::Debug for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Versions").field("before", &self.before).finish_non_exhaustive()
    }
}

impl PartitionStream for Versions {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let start = Some((Arc::clone(&self.table), self.before));
        let sizes = self.sizes;
        let batches = stream::try_unfold(start, move |state| async move {
            let Some((table, before)) = state else { return Ok(None) };
            let found = table.history(BATCH, before).await.map_err(|e| DataFusionError::External(Box::new(e)))?;
            let Some(last) = found.last() else { return Ok(None) };
            let next = (last.version > 0).then_some((table, Some(last.version)));
            Ok(Some((batch(&found, sizes)?, next)))
        });
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), batches))
    }
}

fn batch(versions: &[VersionInfo], sizes: bool) -> datafusion::common::Result<RecordBatch> {
    let whole = |value: fn(&VersionInfo) -> Option<u64>| -> ArrayRef {
        Arc::new(versions.iter().map(|v| value(v).and_then(|n| i64::try_from(n).ok())).collect::<Int64Array>())
    };
    let size = |value: fn(&VersionInfo) -> Option<u64>| whole(if sizes { value } else { |_| None });
    let times = versions.iter().map(|v| v.timestamp.timestamp_micros());
    let columns: Vec<ArrayRef> = vec![
        whole(|v| Some(v.version)),
        Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC")),
        Arc::new(StringArray::from_iter_values(versions.iter().map(|v| v.operation.as_str()))),
        size(|v| v.rows_added),
        size(|v| Some(v.files_added)),
        size(|v| Some(v.files_removed)),
        size(|v| Some(v.bytes_added)),
    ];
    Ok(RecordBatch::try_new(schema(), columns)?)
}
