//! A Parquet source whose errors say which file of the table is damaged, when one is.
//!
//! DataFusion's errors name no file, and a decoder's do not tell a store that failed in passing from bytes that are
//! gone. So whatever fails while a file is planned, read or decoded passes here, where the file is known: the store is
//! asked for it once more, and [`Damages`] judges.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileOpener, FileScanConfig, FileSource};
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::filter_pushdown::FilterPushdownPropagation;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::{DisplayFormatType, SortOrderPushdownResult};
use datafusion_datasource::TableSchema;
use datafusion_datasource::morsel::{Morsel, MorselPlan, MorselPlanner, Morselizer};
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use lakegate_catalog::DatasetId;
use object_store::ObjectStore;
use parquet::errors::ParquetError;

use crate::damage::Damages;
use crate::snapshot::Snapshot;

/// Another source, watched. What changes it changes the inner one.
pub(crate) struct Watched {
    inner: Arc<dyn FileSource>,
    version: Version,
}

/// Whose files are read.
#[derive(Clone, Debug)]
struct Version {
    damages: Arc<Damages>,
    dataset: DatasetId,
    version: u64,
}

impl Watched {
    pub(crate) fn new(inner: impl FileSource, snapshot: &Snapshot) -> Self {
        let damages = Arc::clone(&snapshot.damages);
        let version = Version { damages, dataset: snapshot.dataset, version: snapshot.version };
        Self { inner: Arc::new(inner), version }
    }

    fn around(&self, inner: Arc<dyn FileSource>) -> Arc<dyn FileSource> {
        Arc::new(Self { inner, version: self.version.clone() })
    }
}

impl FileSource for Watched {
    fn create_file_opener(
        &self,
        object_store: Arc<dyn ObjectStore>,
        base_config: &FileScanConfig,
        partition: usize,
    ) -> Result<Arc<dyn FileOpener>> {
        self.inner.create_file_opener(object_store, base_config, partition)
    }

    fn create_morselizer(
        &self,
        object_store: Arc<dyn ObjectStore>,
        base_config: &FileScanConfig,
        partition: usize,
    ) -> Result<Box<dyn Morselizer>> {
        let inner = self.inner.create_morselizer(object_store, base_config, partition)?;
        Ok(Box::new(WatchedFiles { inner, version: self.version.clone() }))
    }

    fn table_schema(&self) -> &TableSchema {
        self.inner.table_schema()
    }

    fn with_batch_size(&self, batch_size: usize) -> Arc<dyn FileSource> {
        self.around(self.inner.with_batch_size(batch_size))
    }

    fn filter(&self) -> Option<Arc<dyn PhysicalExpr>> {
        self.inner.filter()
    }

    fn projection(&self) -> Option<&ProjectionExprs> {
        self.inner.projection()
    }

    fn metrics(&self) -> &ExecutionPlanMetricsSet {
        self.inner.metrics()
    }

    fn file_type(&self) -> &str {
        self.inner.file_type()
    }

    fn fmt_extra(&self, t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_extra(t, f)
    }

    fn supports_repartitioning(&self) -> bool {
        self.inner.supports_repartitioning()
    }

    fn try_pushdown_filters(
        &self,
        filters: Vec<Arc<dyn PhysicalExpr>>,
        config: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn FileSource>>> {
        let FilterPushdownPropagation { filters, updated_node } = self.inner.try_pushdown_filters(filters, config)?;
        Ok(FilterPushdownPropagation { filters, updated_node: updated_node.map(|node| self.around(node)) })
    }

    fn try_pushdown_sort(
        &self,
        order: &[PhysicalSortExpr],
        properties: &EquivalenceProperties,
    ) -> Result<SortOrderPushdownResult<Arc<dyn FileSource>>> {
        Ok(self.inner.try_pushdown_sort(order, properties)?.map(|node| self.around(node)))
    }

    fn reorder_files(&self, files: Vec<PartitionedFile>) -> Vec<PartitionedFile> {
        self.inner.reorder_files(files)
    }

    fn try_pushdown_projection(&self, projection: &ProjectionExprs) -> Result<Option<Arc<dyn FileSource>>> {
        Ok(self.inner.try_pushdown_projection(projection)?.map(|node| self.around(node)))
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.inner.apply_expressions(f)
    }
}

#[derive(Debug)]
struct WatchedFiles {
    inner: Box<dyn Morselizer>,
    version: Version,
}

impl Morselizer for WatchedFiles {
    fn plan_file(&self, file: PartitionedFile) -> Result<Box<dyn MorselPlanner>> {
        let watch = Watch {
            version: self.version.clone(),
            file: file.object_meta.location.to_string(),
            bytes: file.object_meta.size,
        };
        Ok(watch.planner(self.inner.plan_file(file)?))
    }
}

/// One file that is being read.
#[derive(Debug)]
struct Watch {
    version: Version,
    file: String,
    bytes: u64,
}

impl Watch {
    fn planner(self, inner: Box<dyn MorselPlanner>) -> Box<dyn MorselPlanner> {
        Box::new(WatchedStep { inner, watch: Arc::new(self) })
    }

    /// The error, or the damage that is behind it.
    async fn judged(&self, error: DataFusionError) -> DataFusionError {
        let unreadable = match suspicion(&error) {
            Suspicion::None => return error,
            Suspicion::Store => None,
            Suspicion::Bytes => Some(error.strip_backtrace()),
        };
        let Version { damages, dataset, version } = &self.version;
        match damages.judge(*dataset, &self.file, Some(*version), Some(self.bytes), unreadable).await {
            Ok(Some(damaged)) => DataFusionError::External(Box::new(damaged)),
            Ok(None) | Err(_) => error,
        }
    }
}

#[derive(Debug)]
struct WatchedStep<T: ?Sized> {
    watch: Arc<Watch>,
    inner: Box<T>,
}

impl MorselPlanner for WatchedStep<dyn MorselPlanner> {
    fn plan(self: Box<Self>) -> Result<Option<MorselPlan>> {
        let Self { inner, watch } = *self;
        let mut plan = match inner.plan() {
            Ok(Some(plan)) => plan,
            Ok(None) => return Ok(None),
            // Judging waits for the store, which is not done here.
            Err(error) => {
                let failing = async move { Err(watch.judged(error).await) };
                return Ok(Some(MorselPlan::new().with_pending_planner(failing)));
            }
        };
        let around = |inner: Box<dyn MorselPlanner>| -> Box<dyn MorselPlanner> {
            Box::new(WatchedStep { inner, watch: Arc::clone(&watch) })
        };
        let planners = plan.take_ready_planners().into_iter().map(around).collect();
        let morsels = plan
            .take_morsels()
            .into_iter()
            .map(|inner| -> Box<dyn Morsel> { Box::new(WatchedStep { inner, watch: Arc::clone(&watch) }) });
        let mut watched = MorselPlan::new().with_morsels(morsels.collect()).with_planners(planners);
        if let Some(pending) = plan.take_pending_planner() {
            watched.set_pending_planner(async move {
                match pending.await {
                    Ok(inner) => Ok(Box::new(WatchedStep { inner, watch }) as Box<dyn MorselPlanner>),
                    Err(error) => Err(watch.judged(error).await),
                }
            });
        }
        Ok(Some(watched))
    }
}

impl Morsel for WatchedStep<dyn Morsel> {
    fn into_stream(self: Box<Self>) -> BoxStream<'static, Result<RecordBatch>> {
        let Self { inner, watch } = *self;
        let judge = move |error| {
            let watch = Arc::clone(&watch);
            async move { Err(watch.judged(error).await) }
        };
        inner.into_stream().or_else(judge).boxed()
    }
}

/// What an error makes one think of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Suspicion {
    /// The statement, a budget, a cancellation: nothing of the file.
    None,
    /// The store failed, in passing unless the file is gone.
    Store,
    /// Bytes came that cannot be decoded.
    Bytes,
}

fn suspicion(error: &DataFusionError) -> Suspicion {
    match error.find_root() {
        DataFusionError::ParquetError(error) => of_parquet(error),
        DataFusionError::ArrowError(error, _) => of_arrow(error),
        DataFusionError::ObjectStore(_) => Suspicion::Store,
        DataFusionError::External(error) => of_any(error.as_ref()),
        _ => Suspicion::None,
    }
}

fn of_parquet(error: &ParquetError) -> Suspicion {
    match error {
        ParquetError::External(inner) => of_any(inner.as_ref()),
        _ => Suspicion::Bytes,
    }
}

fn of_arrow(error: &ArrowError) -> Suspicion {
    match error {
        // Only decoders put their errors here, as text; what reads does not.
        ArrowError::ParquetError(_) => Suspicion::Bytes,
        ArrowError::ExternalError(inner) => of_any(inner.as_ref()),
        _ => Suspicion::None,
    }
}

fn of_any(error: &(dyn StdError + Send + Sync + 'static)) -> Suspicion {
    if let Some(error) = error.downcast_ref::<DataFusionError>() {
        suspicion(error)
    } else if let Some(error) = error.downcast_ref::<ParquetError>() {
        of_parquet(error)
    } else if let Some(error) = error.downcast_ref::<ArrowError>() {
        of_arrow(error)
    } else if error.is::<object_store::Error>() {
        Suspicion::Store
    } else if error.is::<std::io::Error>() || error.is::<std::str::Utf8Error>() {
        // Of a codec: the store's own come inside of its errors.
        Suspicion::Bytes
    } else {
        Suspicion::None
    }
}
