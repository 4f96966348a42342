//! One version of a table: its columns and the files that hold its rows.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::common::Statistics;
use deltalake::kernel::{Action, Add};
use lakegate_catalog::{Column, DatasetId};

use crate::damage::Damages;
use crate::error::{LakeError, Result};
use crate::layout::Layout;
use crate::scan::SnapshotProvider;
use crate::stats;

/// One version of a dataset, immutable. Cheap to keep: rows stay in storage.
#[derive(Debug)]
pub struct Snapshot {
    pub(crate) dataset: DatasetId,
    pub(crate) version: u64,
    pub(crate) layout: Arc<Layout>,
    pub(crate) files: Vec<Arc<DataFile>>,
    /// Versions between two checkpoints.
    pub(crate) checkpoint_every: u64,
    pub(crate) damages: Arc<Damages>,
}

/// A Parquet file of a version.
#[derive(Debug)]
pub(crate) struct DataFile {
    /// Relative to the table's folder.
    pub(crate) path: String,
    pub(crate) size: u64,
    /// Milliseconds since 1970.
    pub(crate) modified: i64,
    /// For the stored schema's columns in order; bounds hold for every value.
    pub(crate) statistics: Arc<Statistics>,
    /// Whether the bounds inside the file hold for every value too, see [`stats::covers_every_value`].
    pub(crate) prunable: bool,
}

impl DataFile {
    pub(crate) fn new(layout: &Layout, path: String, size: i64, modified: i64, stats: Option<&str>) -> Result<Self> {
        let size =
            u64::try_from(size).map_err(|_| LakeError::UnsupportedTable("a file of negative size".to_owned()))?;
        let statistics = Arc::new(stats::from_log(&layout.stored, stats, size));
        let prunable = stats::covers_every_value(&layout.stored, &statistics);
        Ok(Self { path, size, modified, statistics, prunable })
    }

    /// Rows in the file; `None` when its writer did not say.
    pub(crate) fn rows(&self) -> Option<u64> {
        self.statistics.num_rows.get_value().map(|rows| *rows as u64)
    }

    pub(crate) fn from_add(layout: &Layout, add: &Add) -> Result<Self> {
        if add.deletion_vector.is_some() {
            return Err(LakeError::UnsupportedTable("deletion vectors".to_owned()));
        }
        Self::new(layout, add.path.clone(), add.size, add.modification_time, add.stats.as_deref())
    }
}

impl Snapshot {
    /// The Delta version.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The columns under the clients' names.
    pub fn columns(&self) -> &[Column] {
        &self.layout.columns
    }

    /// The Arrow schema under the clients' names.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.layout.schema)
    }

    /// Rows in this version; `None` when a file of another writer does not say.
    pub fn rows(&self) -> Option<u64> {
        self.files.iter().map(|file| file.rows()).sum()
    }

    /// The rows of this version as a DataFusion table. Its plans name files only under
    /// `lake://<dataset-id>/`, which [`crate::Lake::object_store_registry`] resolves.
    pub fn provider(self: &Arc<Self>) -> Arc<dyn TableProvider> {
        Arc::new(SnapshotProvider::new(Arc::clone(self)))
    }

    /// The version that a commit's actions make of this one.
    ///
    /// `None` when the commit changes columns or protocol, which only a full replay understands.
    pub(crate) fn apply(&self, version: u64, actions: &[Action]) -> Result<Option<Self>> {
        if actions.iter().any(|a| matches!(a, Action::Metadata(_) | Action::Protocol(_))) {
            return Ok(None);
        }
        let removed: HashSet<&str> = actions
            .iter()
            .filter_map(|a| match a {
                Action::Remove(remove) => Some(remove.path.as_str()),
                _ => None,
            })
            .collect();
        let mut files: Vec<_> = self.files.iter().filter(|f| !removed.contains(f.path.as_str())).cloned().collect();
        for action in actions {
            if let Action::Add(add) = action {
                files.push(Arc::new(DataFile::from_add(&self.layout, add)?));
            }
        }
        Ok(Some(self.with_files(version, files)))
    }

    /// Other files under the same columns.
    pub(crate) fn with_files(&self, version: u64, files: Vec<Arc<DataFile>>) -> Self {
        Self {
            dataset: self.dataset,
            version,
            layout: Arc::clone(&self.layout),
            files,
            checkpoint_every: self.checkpoint_every,
            damages: Arc::clone(&self.damages),
        }
    }
}
