//! What every handler sees.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lakegate_catalog::{Catalog, Dataset};
use lakegate_lake::{Lake, Table};
use lakegate_query::Engine;

use crate::admission::Admission;
use crate::edge::Edge;
use crate::metrics::Metrics;
use crate::problem::{Problem, Result};
use crate::turns::Turns;

/// The state of the REST service. Cheap to clone through its [`Arc`].
pub struct App {
    /// Datasets, principals, grants.
    pub catalog: Arc<dyn Catalog>,
    /// Tables.
    pub lake: Arc<Lake>,
    /// SQL.
    pub engine: Arc<Engine>,
    /// What a request may use.
    pub limits: Limits,
    /// Counts for `/metrics`.
    pub metrics: Arc<Metrics>,
    /// Places for pushes.
    pub(crate) pushes: Admission,
    /// How this service is reached.
    pub edge: Edge,
    /// Datasets that a push is about to create.
    pub(crate) creating: Turns,
}

impl App {
    /// Puts the parts together.
    pub fn new(
        catalog: Arc<dyn Catalog>,
        lake: Arc<Lake>,
        engine: Arc<Engine>,
        limits: Limits,
        edge: Edge,
    ) -> Arc<Self> {
        let pushes = Admission::new(&limits);
        let metrics =
            Arc::new(Metrics::new(Arc::clone(&engine), Arc::clone(&lake), pushes.places(), limits.max_pushes));
        Arc::new(Self { catalog, lake, engine, limits, metrics, pushes, edge, creating: Turns::default() })
    }

    /// The table of a dataset that the catalog has answered.
    pub(crate) async fn table(&self, dataset: &Dataset) -> Result<Arc<Table>> {
        let opened = self.lake.listed_table(dataset.id, self.catalog.as_ref()).await;
        opened.map_err(|error| Problem::with_dataset(&dataset.name, error))
    }
}

/// What a request may use.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of a push after decompression.
    pub max_body: u64,
    /// Bytes of one row of a push.
    pub max_row: usize,
    /// Pushes that run at the same time; the next ones wait.
    pub max_pushes: usize,
    /// Pushes that wait; the next one is told to come back.
    pub max_queued_pushes: usize,
    /// Bytes that all pushes together may hold in memory.
    pub push_memory: u64,
    /// How long a push may wait.
    pub push_patience: Duration,
    /// How long a push may take as a whole.
    pub push_timeout: Duration,
    /// How long a push may send nothing.
    pub idle_timeout: Duration,
    /// A folder for bodies that have to be there whole before they can be read.
    pub spool: PathBuf,
    /// Rows of a JSON answer when the request sets no limit.
    pub default_rows: u64,
}
