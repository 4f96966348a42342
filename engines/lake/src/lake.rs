//! All tables under one root.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use datafusion::execution::object_store::ObjectStoreRegistry;
use futures::{StreamExt as _, TryStreamExt as _};
use lakegate_catalog::{Column, DatasetId, Datasets, LakeId};
use object_store::ObjectStore;
use object_store::path::Path;
use parking_lot::Mutex;
use tokio::sync::OnceCell;
use url::Url;

use crate::commits::Commits;
use crate::compact::{CompactOptions, Compacted};
use crate::damage::{Damage, Damages, LOG};
use crate::error::{LakeError, Result};
use crate::layout::Layout;
use crate::log::Log;
use crate::registry::LakeRegistry;
use crate::store::{self, StoreOptions, Which};
use crate::table::Table;
use crate::upkeep::Wanted;
use crate::vacuum::Vacuumed;

/// Open tables kept in memory; beyond it, idle ones are closed.
const OPEN_TABLES: usize = 1_024;

/// How a lake is set up.
#[derive(Clone, Debug)]
pub struct LakeOptions {
    /// Where the tables are: `file:///folder`, `s3://bucket/prefix`, `az://…`, `gs://…` or `memory:`.
    pub root: Url,
    /// How remote stores are spoken to.
    pub stores: StoreOptions,
    /// How long a push's idempotency key is remembered.
    pub idempotency_window: Duration,
    /// Which lake must be there.
    pub which: Which,
}

/// The tables under one root.
pub struct Lake {
    id: LakeId,
    pub(crate) root: Arc<dyn ObjectStore>,
    pub(crate) damages: Arc<Damages>,
    window: Duration,
    tables: Mutex<HashMap<DatasetId, Arc<OnceCell<Arc<Table>>>>>,
    wanted: Arc<Wanted>,
    commits: Arc<Commits>,
}

impl Lake {
    /// Opens the root. A missing folder is created, and an unmarked root marked, unless a certain lake is
    /// expected. Errors: [`LakeError::BadStore`], [`LakeError::OtherLake`], [`LakeError::Storage`].
    pub async fn open(options: &LakeOptions) -> Result<Arc<Self>> {
        let (root, id) = store::open(&options.root, &options.stores, options.which).await?;
        Ok(Arc::new(Self {
            id,
            damages: Damages::new(Arc::clone(&root)),
            root,
            window: options.idempotency_window,
            tables: Mutex::default(),
            wanted: Arc::default(),
            commits: Arc::default(),
        }))
    }

    /// What is committed through this lake, for whoever tells others.
    pub fn commits(&self) -> Arc<Commits> {
        Arc::clone(&self.commits)
    }

    /// Which tables want upkeep, for whoever runs it.
    pub fn wanted(&self) -> Arc<Wanted> {
        Arc::clone(&self.wanted)
    }

    /// A lake that lives as long as the process, for tests.
    pub async fn in_memory() -> Result<Arc<Self>> {
        let root = Url::parse("memory:/").map_err(|e| LakeError::Defect(e.to_string()))?;
        let stores = StoreOptions::default();
        let idempotency_window = Duration::from_secs(86_400);
        Self::open(&LakeOptions { root, stores, idempotency_window, which: Which::Any }).await
    }

    /// Which lake this is, wherever it is moved.
    pub fn id(&self) -> LakeId {
        self.id
    }

    /// Creates the table of a new dataset, empty, at version 0.
    ///
    /// Errors: [`LakeError::UnsupportedType`] for a column that cannot be stored.
    pub async fn create(&self, id: DatasetId, columns: &[Column]) -> Result<()> {
        let layout = Layout::new(columns.to_vec())?;
        Log::new(&self.root, &self.damages, id)?.create(&layout, self.window).await
    }

    /// The table of a dataset. Errors: [`LakeError::NoTable`].
    pub async fn table(&self, id: DatasetId) -> Result<Arc<Table>> {
        let cell = {
            let mut tables = self.tables.lock();
            if tables.len() >= OPEN_TABLES && !tables.contains_key(&id) {
                // In use means that someone besides the map and its cell holds the table.
                tables.retain(|_, cell| cell.get().is_none_or(|table| Arc::strong_count(table) > 1));
            }
            Arc::clone(tables.entry(id).or_default())
        };
        let open = || async {
            let log = Log::new(&self.root, &self.damages, id)?;
            Table::open(log, id, self.window, Arc::clone(&self.wanted), Arc::clone(&self.commits)).await.map(Arc::new)
        };
        match cell.get_or_try_init(open).await.cloned() {
            Err(LakeError::NoTable) => {
                // Without its storage every table looks as if it did not exist.
                self.ping().await?;
                Err(LakeError::NoTable)
            }
            opened => opened,
        }
    }

    /// The table of a dataset that the catalog lists. When there is none, the catalog is asked once more.
    ///
    /// Errors: [`LakeError::NoTable`] when the dataset has been deleted, and else [`LakeError::Damaged`].
    pub async fn listed_table(&self, id: DatasetId, datasets: &dyn Datasets) -> Result<Arc<Table>> {
        match self.table(id).await {
            Err(LakeError::NoTable) => {}
            opened => return opened,
        }
        // A table is created before its dataset is listed, and goes after the dataset is not listed any more.
        match datasets.dataset_by_id(id).await {
            Ok(None) => Err(LakeError::NoTable),
            Ok(Some(_)) => {
                let empty = Some("no version is left in it".to_owned());
                Err(self.damages.judge(id, LOG, None, None, empty).await?.unwrap_or(LakeError::NoTable))
            }
            Err(error) => {
                tracing::warn!(dataset = %id, %error, "the catalog does not say whether a dataset is still there");
                Err(LakeError::NoTable)
            }
        }
    }

    /// What of a dataset is known to be damaged, by any statement or job of this process. It is forgotten once the file
    /// that was damaged changes, and a missing one is there. Costs a request when there is something.
    pub async fn damage(&self, id: DatasetId) -> Option<Damage> {
        self.damages.of(id).await
    }

    /// How often this process met damage, and of how many datasets it knows to be damaged.
    pub fn damage_counts(&self) -> (u64, usize) {
        self.damages.counts()
    }

    /// Looks again at all that is known to be damaged.
    pub async fn recheck_damage(&self) {
        for id in self.damages.datasets() {
            self.damages.of(id).await;
        }
    }

    /// Removes all files of a dataset. Safe to repeat; a missing table is no error.
    pub async fn remove(&self, id: DatasetId) -> Result<()> {
        self.tables.lock().remove(&id);
        self.damages.forget(id);
        let files = self.root.list(Some(&Path::from(id.to_string())));
        // Many at once where the store can.
        let mut removed = self.root.delete_stream(files.map_ok(|file| file.location).boxed());
        while let Some(file) = removed.next().await {
            match file {
                Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Rewrites small files of a dataset once, the same rows in few files; `None` when there is nothing to do. See
    /// [`CompactOptions`]. Errors: [`LakeError::Overtaken`], [`LakeError::NoRoom`], [`LakeError::NoTable`].
    pub async fn compact(&self, id: DatasetId, options: &CompactOptions) -> Result<Option<Compacted>> {
        self.table(id).await?.compact(options, self.object_store_registry()).await
    }

    /// Removes the files of a dataset that nothing needs and that are older than `retention`, which must be
    /// longer than any push and any query takes. Errors: [`LakeError::NoTable`], [`LakeError::Storage`].
    pub async fn vacuum(&self, id: DatasetId, retention: Duration) -> Result<Vacuumed> {
        self.table(id).await?.vacuum(retention).await
    }

    /// The stores that plans over this lake's snapshots need, and no others.
    pub fn object_store_registry(&self) -> Arc<dyn ObjectStoreRegistry> {
        Arc::new(LakeRegistry::new(Arc::clone(&self.root)))
    }

    /// Really reaches storage; `/readyz` calls it.
    pub async fn ping(&self) -> Result<()> {
        store::ping(self.root.as_ref()).await
    }
}
