//! What every handler sees.

use std::sync::Arc;
use std::time::Duration;

use lakegate_catalog::{Catalog, Dataset, Door};
use lakegate_ingest::Ingest;
use lakegate_lake::{Lake, Table};
use lakegate_query::Engine;
use prometheus_client::registry::Registry;
use tokio::sync::watch;

use crate::edge::Edge;
use crate::followers::Followers;
use crate::metrics::Metrics;
use crate::problem::Result;

/// How much is answered, and how long it is kept.
#[derive(Clone, Copy, Debug)]
pub struct Answers {
    /// Rows of a JSON answer when the request sets no limit.
    pub default_rows: u64,
    /// How long the rows of a statement in the background are kept, and its job.
    pub results_for: Duration,
    /// Statements in the background of one principal that may wait.
    pub max_waiting: u32,
}

/// The state of the REST service. Cheap to clone through its [`Arc`].
pub struct App {
    /// Datasets, principals, grants.
    pub catalog: Arc<dyn Catalog>,
    /// Who may come in.
    pub door: Arc<Door>,
    /// The id of the last event, as it becomes known.
    pub last_event: watch::Receiver<u64>,
    /// Tables.
    pub lake: Arc<Lake>,
    /// SQL.
    pub engine: Arc<Engine>,
    /// Pushes.
    pub ingest: Arc<Ingest>,
    /// How much is answered, and how long it is kept.
    pub answers: Answers,
    /// Who listens to what happens.
    pub(crate) followers: Followers,
    /// Counts for `/metrics`.
    pub metrics: Arc<Metrics>,
    /// How this service is reached.
    pub edge: Edge,
}

impl App {
    /// Puts the parts together. `counts` holds what other protocols count; `/metrics` tells of all.
    pub fn new(
        door: Arc<Door>,
        last_event: watch::Receiver<u64>,
        engine: Arc<Engine>,
        ingest: Arc<Ingest>,
        answers: Answers,
        edge: Edge,
        counts: Registry,
    ) -> Arc<Self> {
        let (catalog, lake) = (Arc::clone(door.catalog()), Arc::clone(ingest.lake()));
        let metrics = Arc::new(Metrics::new(counts, Arc::clone(&engine), Arc::clone(&lake), Arc::clone(&ingest)));
        let followers = Followers::new(Arc::clone(&catalog));
        Arc::new(Self { catalog, door, last_event, lake, engine, ingest, answers, followers, metrics, edge })
    }

    /// The table of a dataset that the catalog has answered.
    pub(crate) async fn table(&self, dataset: &Dataset) -> Result<Arc<Table>> {
        Ok(self.ingest.table(dataset).await?)
    }
}
