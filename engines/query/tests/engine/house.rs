//! An engine over two datasets: `demo.quakes` is public, `demo.secret` belongs to its owner.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::util::pretty::pretty_format_batches;
use futures::{StreamExt, TryStreamExt};
use lakegate_catalog::{
    Caller, Column, ColumnType, DatasetName, Datasets, MemoryCatalog, NewDataset, NewPrincipal, PrincipalKind,
    Principals, Visibility,
};
use lakegate_lake::{Begin, Lake};
use lakegate_query::{Engine, EngineOptions, Params, QueryError, QueryRequest, QueryStream};

pub(crate) struct House {
    pub(crate) engine: Arc<Engine>,
    pub(crate) catalog: Arc<MemoryCatalog>,
    pub(crate) owner: Caller,
    _spill: tempfile::TempDir,
}

pub(crate) fn options(spill: &std::path::Path) -> EngineOptions {
    EngineOptions {
        memory: 512 << 20,
        memory_per_query: 256 << 20,
        process_memory: usize::MAX,
        spill_dir: spill.to_owned(),
        spill_per_query: 1 << 30,
        threads: 2,
        timeout: Duration::from_secs(60),
        max_timeout: Duration::from_secs(60),
        max_background: Duration::from_secs(120),
        max_concurrent: 4,
    }
}

impl House {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut EngineOptions)) -> Self {
        let catalog = Arc::new(MemoryCatalog::new());
        let lake = Lake::in_memory().await.expect("lake");
        let owner = catalog
            .create_principal(NewPrincipal { name: "owner".into(), kind: PrincipalKind::User, external: None })
            .await
            .expect("principal");
        let name = |text: &str| text.parse::<DatasetName>().expect("name");
        catalog.ensure_namespace(name("demo.quakes").namespace()).await.expect("namespace");
        for (dataset, visibility) in [("demo.quakes", Visibility::Public), ("demo.secret", Visibility::Private)] {
            let columns = vec![
                Column::new("id", ColumnType::BigInt),
                Column::new("Mag", ColumnType::Double),
                Column::new("place", ColumnType::String),
            ];
            let new = NewDataset { visibility, ..NewDataset::root(name(dataset), columns.clone()) };
            lake.create(new.id, &columns).await.expect("table");
            fill(&lake, new.id).await;
            catalog.create_dataset(new, owner.id).await.expect("dataset");
        }
        let spill = tempfile::tempdir().expect("spill folder");
        let mut options = options(spill.path());
        change(&mut options);
        let engine = Engine::new(options, Arc::clone(&catalog) as Arc<_>, lake).expect("engine");
        Self { engine: Arc::new(engine), catalog, owner: Caller::from(owner), _spill: spill }
    }

    pub(crate) async fn start(&self, request: QueryRequest) -> Result<QueryStream, QueryError> {
        self.engine.query(&Caller::Anonymous, request).await
    }

    /// All rows as a table of text.
    pub(crate) async fn text(&self, sql: &str) -> Result<String, QueryError> {
        self.text_with(sql, Params::None).await
    }

    pub(crate) async fn text_with(&self, sql: &str, params: Params) -> Result<String, QueryError> {
        let stream = self.start(QueryRequest { params, ..request(sql) }).await?;
        let batches: Vec<RecordBatch> = stream.try_collect().await?;
        Ok(pretty_format_batches(&batches).expect("printable").to_string())
    }

    /// The single value that the statement answers.
    pub(crate) async fn value(&self, sql: &str) -> Result<String, QueryError> {
        let text = self.text(sql).await?;
        let row = text.lines().nth(3).unwrap_or_default();
        Ok(row.trim_matches(['|', ' ']).to_owned())
    }

    /// Runs to the end and throws the rows away.
    pub(crate) async fn drain(&self, sql: &str) -> Result<usize, QueryError> {
        let mut stream = self.start(request(sql)).await?;
        let mut rows = 0;
        while let Some(batch) = stream.next().await {
            rows += batch?.num_rows();
        }
        Ok(rows)
    }

    pub(crate) async fn code(&self, sql: &str) -> &'static str {
        match self.drain(sql).await {
            Ok(_) => "ok",
            Err(error) => error.code(),
        }
    }
}

pub(crate) fn request(sql: &str) -> QueryRequest {
    QueryRequest { sql: sql.to_owned(), ..QueryRequest::default() }
}

async fn fill(lake: &Lake, id: lakegate_catalog::DatasetId) {
    let table = lake.table(id).await.expect("table");
    let Begin::New(mut append) = table.begin(None).await.expect("begins") else { unreachable!("no key was used") };
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(Int64Array::from(vec![1, 2, 3]))),
        ("Mag", Arc::new(Float64Array::from(vec![Some(5.5), Some(6.25), None]))),
        ("place", Arc::new(StringArray::from(vec!["Chile", "Japan", "Fiji"]))),
    ];
    let batch = RecordBatch::try_from_iter(columns).expect("batch");
    append.write(&batch).await.expect("written");
    append.commit(None).await.expect("committed");
}
