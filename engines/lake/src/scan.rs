//! Our scan: files of a snapshot to a DataFusion plan under `lake://<dataset-id>/`.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use chrono::DateTime;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::pruning::PrunableStatistics;
use datafusion::common::stats::Precision;
use datafusion::common::{DFSchema, Result, Statistics};
use datafusion::config::TableParquetOptions;
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column as ColumnExpr;
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::union::UnionExec;
use object_store::ObjectMeta;
use object_store::path::Path;

use crate::registry::dataset_url;
use crate::snapshot::{DataFile, Snapshot};
use crate::stats::bounds_inexact;
use crate::watched::Watched;

/// Bytes read from a file's end in the first request; covers the footer of most files.
const FOOTER_HINT: usize = 64 << 10;

/// A snapshot as a DataFusion table, under the clients' column names.
#[derive(Debug)]
pub(crate) struct SnapshotProvider {
    snapshot: Arc<Snapshot>,
}

impl SnapshotProvider {
    pub(crate) fn new(snapshot: Arc<Snapshot>) -> Self {
        Self { snapshot }
    }

    fn stored(&self) -> &SchemaRef {
        &self.snapshot.layout.stored
    }

    /// The files that may hold rows matching all `filters`, by the bounds in the log.
    fn matching_files(&self, state: &dyn Session, filters: &[Expr]) -> Result<Vec<Arc<DataFile>>> {
        let files = &self.snapshot.files;
        let Some(filter) = conjunction(filters.iter().cloned()) else {
            return Ok(files.clone());
        };
        let schema = Arc::clone(&self.snapshot.layout.schema);
        let filter = state.create_physical_expr(filter, &DFSchema::try_from(Arc::clone(&schema))?)?;
        let Some(predicate) = PruningPredicateBuilder::new().with_file_schema(Arc::clone(&schema)).build(filter) else {
            // Not every expression can prune; the filter still runs on the rows.
            return Ok(files.clone());
        };
        let statistics = files.iter().map(|f| Arc::clone(&f.statistics)).collect();
        let keep = predicate.prune(&PrunableStatistics::new(statistics, schema))?;
        Ok(files.iter().zip(keep).filter(|(_, keep)| *keep).map(|(f, _)| Arc::clone(f)).collect())
    }

    fn parquet_source(&self, state: &dyn Session, prunable: bool) -> Result<ParquetSource> {
        let mut options = TableParquetOptions {
            global: state.config_options().execution.parquet.clone(),
            ..TableParquetOptions::default()
        };
        options.global.pruning &= prunable;
        options.global.enable_page_index &= prunable;
        let url = dataset_url(self.snapshot.dataset).map_err(|e| DataFusionError::External(Box::new(e)))?;
        let store = state.runtime_env().object_store(url)?;
        let footers = state.runtime_env().cache_manager.get_file_metadata_cache();
        Ok(ParquetSource::new(Arc::clone(self.stored()))
            .with_table_parquet_options(options)
            .with_metadata_size_hint(FOOTER_HINT)
            .with_parquet_file_reader_factory(Arc::new(CachedParquetFileReaderFactory::new(store, footers))))
    }

    fn scan_files(
        &self,
        state: &dyn Session,
        files: &[Arc<DataFile>],
        prunable: bool,
        projection: Option<&Vec<usize>>,
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let url = dataset_url(self.snapshot.dataset).map_err(|e| DataFusionError::External(Box::new(e)))?;
        let source = Watched::new(self.parquet_source(state, prunable)?, &self.snapshot);
        let config = FileScanConfigBuilder::new(url, Arc::new(source))
            .with_file_groups(file_groups(files, state.config().target_partitions()))
            .with_statistics(total(files, self.stored())?)
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }

    /// Gives the stored columns of a plan the clients' names again.
    fn renamed(&self, plan: Arc<dyn ExecutionPlan>, projection: Option<&Vec<usize>>) -> Result<Arc<dyn ExecutionPlan>> {
        if self.snapshot.layout.is_identity() {
            return Ok(plan);
        }
        let all: Vec<usize> = (0..self.stored().fields().len()).collect();
        let columns = projection.unwrap_or(&all).iter().enumerate().map(|(at, original)| {
            let stored = Arc::new(ColumnExpr::new(self.stored().field(*original).name(), at)) as Arc<dyn PhysicalExpr>;
            (stored, self.snapshot.layout.schema.field(*original).name().clone())
        });
        Ok(Arc::new(ProjectionExec::try_new(columns.collect::<Vec<_>>(), plan)?))
    }
}

#[async_trait]
impl TableProvider for SnapshotProvider {
    fn schema(&self) -> SchemaRef {
        self.snapshot.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        // Files are skipped by them; the rows are still filtered above (or by the Parquet reader).
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let files = self.matching_files(state, filters)?;
        if files.is_empty() {
            let schema = match projection {
                Some(columns) => self.schema().project(columns)?,
                None => Schema::clone(&self.schema()),
            };
            return Ok(Arc::new(EmptyExec::new(Arc::new(schema))));
        }
        // Files whose own bounds cannot be relied on are read whole, beside the others.
        let (prunable, whole): (Vec<_>, Vec<_>) = files.into_iter().partition(|file| file.prunable);
        let mut scans = Vec::new();
        for (files, prunable) in [(prunable, true), (whole, false)] {
            if !files.is_empty() {
                scans.push(self.scan_files(state, &files, prunable, projection, limit)?);
            }
        }
        let scan = match scans.len() {
            1 => scans.remove(0),
            _ => UnionExec::try_new(scans)?,
        };
        self.renamed(scan, projection)
    }

    fn statistics(&self) -> Option<Statistics> {
        let rows = self.snapshot.rows().and_then(|n| usize::try_from(n).ok());
        let unknown = Statistics::new_unknown(&self.schema());
        Some(unknown.with_num_rows(rows.map_or(Precision::Absent, Precision::Exact)))
    }
}

fn total(files: &[Arc<DataFile>], stored: &SchemaRef) -> Result<Statistics> {
    let all = Statistics::try_merge_iter(files.iter().map(|f| f.statistics.as_ref()), stored)?;
    Ok(bounds_inexact(all))
}

/// Spreads files over at most `partitions` groups of about equal bytes.
fn file_groups(files: &[Arc<DataFile>], partitions: usize) -> Vec<FileGroup> {
    let mut groups: Vec<(u64, Vec<PartitionedFile>)> = vec![(0, Vec::new()); partitions.clamp(1, files.len().max(1))];
    let mut ordered: Vec<&Arc<DataFile>> = files.iter().collect();
    // With one group the order of files is the order of rows: the same each time, however the version was put together.
    ordered.sort_by(|a, b| a.path.cmp(&b.path));
    for file in ordered {
        if let Some((bytes, group)) = groups.iter_mut().min_by_key(|(bytes, _)| *bytes) {
            *bytes += file.size.max(1);
            group.push(partitioned(file));
        }
    }
    groups.into_iter().map(|(_, group)| FileGroup::new(group)).collect()
}

fn partitioned(file: &DataFile) -> PartitionedFile {
    let meta = ObjectMeta {
        location: Path::from(file.path.as_str()),
        last_modified: DateTime::from_timestamp_millis(file.modified).unwrap_or_default(),
        size: file.size,
        e_tag: None,
        version: None,
    };
    PartitionedFile::new_from_meta(meta)
}
