//! A DataFusion session for one query: it can reach what the query may read, and nothing else.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, CatalogProviderList, SchemaProvider, TableProvider};
use datafusion::common::Result;
use datafusion::execution::SessionStateDefaults;
use datafusion::execution::config::SessionConfig;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};

use crate::functions;
use crate::zoned::zoned;

/// The catalog's name in SQL.
const CATALOG: &str = "lake";
/// What a bare name resolves to: no namespace can have this name.
const NOWHERE: &str = "$none";

/// Rows per batch, unless values are large.
pub(crate) const BATCH_ROWS: usize = 8192;

/// A relation that a query may read.
pub(crate) struct Opened {
    /// The namespace, or `information_schema`.
    pub(crate) schema: String,
    pub(crate) table: String,
    pub(crate) provider: Arc<dyn TableProvider>,
}

/// How values are answered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shape {
    /// The zone of timestamps, when it is not UTC.
    pub(crate) time_zone: Option<String>,
    /// Whether views stay views.
    pub(crate) keep_types: bool,
}

/// Makes sessions. What they have in common, functions and rules, is put together once.
pub(crate) struct Sessions(SessionState);

impl Sessions {
    /// `runtime` has the stores and caches that plans are made with; what a query runs with is said when it does.
    pub(crate) fn new(runtime: Arc<RuntimeEnv>) -> Result<Self> {
        let mut state = SessionStateBuilder::new()
            .with_config(config(1, &Shape::default()))
            .with_runtime_env(runtime)
            .with_catalog_list(Arc::new(Only::new(Vec::new(), None)))
            .with_scalar_functions(functions::scalar_functions())
            .with_aggregate_functions(SessionStateDefaults::default_aggregate_functions())
            .with_window_functions(SessionStateDefaults::default_window_functions())
            .with_table_function_list(datafusion::functions_table::all_default_table_functions())
            .with_expr_planners(SessionStateDefaults::default_expr_planners())
            .build();
        datafusion_functions_json::register_all(&mut state)?;
        Ok(Self(state))
    }

    /// A session over these relations.
    pub(crate) fn of(&self, relations: Vec<Opened>, threads: usize, shape: &Shape) -> SessionState {
        let config = config(threads, shape);
        let mut state = if shape.time_zone.is_some() {
            // Some functions keep the zone.
            SessionStateBuilder::new_from_existing(self.0.clone()).with_config(config).build()
        } else {
            let mut state = self.0.clone();
            *state.config_mut() = config;
            state
        };
        state.register_catalog_list(Arc::new(Only::new(relations, shape.time_zone.as_deref())));
        // The time that now() answers.
        state.mark_start_execution();
        state
    }
}

fn config(threads: usize, shape: &Shape) -> SessionConfig {
    let mut config = SessionConfig::new()
        .with_target_partitions(threads)
        .with_batch_size(BATCH_ROWS)
        .with_information_schema(false)
        .with_create_default_catalog_and_schema(false)
        .with_default_catalog_and_schema(CATALOG, NOWHERE);
    let options = config.options_mut();
    // What is stored with a zone is stored in UTC.
    options.execution.time_zone = Some(shape.time_zone.clone().unwrap_or_else(|| "UTC".to_owned()));
    // Clients of several protocols cannot read view types.
    options.sql_parser.map_string_types_to_utf8view = shape.keep_types;
    options.execution.parquet.schema_force_view_types = shape.keep_types;
    // A filter that fails inside the Parquet reader comes back as text of a storage error. Above it, the
    // error keeps its type; files, row groups and pages are skipped all the same.
    options.execution.parquet.pushdown_filters = false;
    // DataFusion 55.2 takes a typed NULL for the least value there is: when a partition begins with NULLs, its filter for
    // `min` is left out of those for the other aggregates, and rows are skipped that are less.
    options.optimizer.enable_aggregate_dynamic_filter_pushdown = false;
    config
}

/// The relations of one query as a catalog that nothing can be added to.
#[derive(Debug)]
struct Only {
    schemas: Arc<Schemas>,
}

#[derive(Debug)]
struct Schemas(HashMap<String, Arc<Tables>>);

#[derive(Default)]
struct Tables(HashMap<String, Arc<dyn TableProvider>>);

impl fmt::Debug for Tables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Only {
    fn new(relations: Vec<Opened>, zone: Option<&str>) -> Self {
        let mut schemas: HashMap<String, Tables> = HashMap::new();
        for Opened { schema, table, provider } in relations {
            let provider = match zone {
                Some(zone) => zoned(provider, zone),
                None => provider,
            };
            schemas.entry(schema).or_default().0.insert(table, provider);
        }
        let schemas = schemas.into_iter().map(|(name, tables)| (name, Arc::new(tables))).collect();
        Self { schemas: Arc::new(Schemas(schemas)) }
    }
}

impl CatalogProviderList for Only {
    fn register_catalog(&self, _: String, _: Arc<dyn CatalogProvider>) -> Option<Arc<dyn CatalogProvider>> {
        None
    }

    fn catalog_names(&self) -> Vec<String> {
        vec![CATALOG.to_owned()]
    }

    fn catalog(&self, name: &str) -> Option<Arc<dyn CatalogProvider>> {
        (name == CATALOG).then(|| Arc::clone(&self.schemas) as Arc<dyn CatalogProvider>)
    }
}

impl CatalogProvider for Schemas {
    fn schema_names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        self.0.get(name).map(|tables| Arc::clone(tables) as Arc<dyn SchemaProvider>)
    }
}

#[async_trait]
impl SchemaProvider for Tables {
    fn table_names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        Ok(self.0.get(name).map(Arc::clone))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
}
