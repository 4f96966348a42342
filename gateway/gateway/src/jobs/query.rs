//! Statements in the background: `query`, whose answer is kept as Parquet.

use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt as _;
use lakegate_catalog::{Catalog, CatalogError, ErrorKind};
use lakegate_formats::{FormatError, answer_schema, plain_batch};
use lakegate_lake::types::answered_type;
use lakegate_lake::{Lake, LakeError};
use lakegate_query::{BackgroundQuery, Engine, KeptAnswer, KeptColumn, QueryError, QueryRequest, QueryStream};

use super::{Failure, Task, Work};

/// Runs statements and keeps what they answer.
pub(crate) struct BackgroundQueries {
    catalog: Arc<dyn Catalog>,
    engine: Arc<Engine>,
    lake: Arc<Lake>,
    /// Bytes of one result.
    max_result: u64,
}

impl BackgroundQueries {
    pub(crate) fn new(catalog: Arc<dyn Catalog>, engine: Arc<Engine>, lake: Arc<Lake>, max_result: u64) -> Self {
        Self { catalog, engine, lake, max_result }
    }

    async fn answer(&self, task: &Task) -> Result<KeptAnswer, Broken> {
        let job = &task.job;
        let query = BackgroundQuery::of_job(&job.kind, &job.params).ok_or(Broken::Unreadable)?;
        let by = job.by.ok_or(Broken::NobodyAsked)?;
        let caller = query.caller(self.catalog.as_ref(), by).await?.ok_or(Broken::NobodyAsked)?;
        // An attempt before, of which nobody heard again, may still run in this process.
        let id = Some(format!("{}-{}", job.id, job.fence));
        let rows = self.engine.query(&caller, QueryRequest { id, ..query.request()? }).await?;
        for (name, version) in rows.versions() {
            task.log(format!("reads version {version} of {name}"));
        }
        self.keep(task, rows).await
    }

    /// Writes the rows as they come.
    async fn keep(&self, task: &Task, mut rows: QueryStream) -> Result<KeptAnswer, Broken> {
        let (hold, schema) = (task.hold(), answer_schema(&rows.schema()));
        let mut file = self.lake.write_result(hold, &schema, self.max_result)?;
        while let Some(batch) = rows.next().await {
            let batch = plain_batch(&batch?, &schema)?;
            file = file.write(batch).await?;
            task.progress(file.rows(), None, "rows");
        }
        // Whoever was paused and goes on writes nothing more; what it has written was never to be seen.
        if !task.is_held() {
            return Err(Broken::NotHeld);
        }
        let kept = file.rows();
        let bytes = file.finish().await?;
        task.log(format!("{kept} rows are kept in {bytes} bytes"));
        let columns = schema.fields().iter().map(|field| KeptColumn {
            name: field.name().clone(),
            ty: answered_type(field.name(), field.data_type()),
            nullable: field.is_nullable(),
        });
        Ok(KeptAnswer {
            fence: hold.fence,
            query_id: rows.id().to_owned(),
            rows: kept,
            bytes,
            truncated: rows.truncated(),
            schema: columns.collect(),
            versions: rows.versions().iter().cloned().collect(),
        })
    }
}

#[async_trait]
impl Work for BackgroundQueries {
    fn kind(&self) -> &'static str {
        BackgroundQuery::KIND
    }

    async fn run(&self, task: &Task) -> Result<serde_json::Value, Failure> {
        let kept = self.answer(task).await.map_err(|error| error.failure(task))?;
        serde_json::to_value(kept).map_err(|error| Broken::from(LakeError::Defect(error.to_string())).failure(task))
    }
}

/// Why a statement has no answer.
enum Broken {
    /// What the job keeps is not what this version writes.
    Unreadable,
    /// Who asked for it is gone.
    NobodyAsked,
    /// Another may have the job.
    NotHeld,
    Query(QueryError),
    Lake(LakeError),
    Format(FormatError),
    Catalog(CatalogError),
}

impl From<QueryError> for Broken {
    fn from(error: QueryError) -> Self {
        Self::Query(error)
    }
}

impl From<LakeError> for Broken {
    fn from(error: LakeError) -> Self {
        Self::Lake(error)
    }
}

impl From<FormatError> for Broken {
    fn from(error: FormatError) -> Self {
        Self::Format(error)
    }
}

impl From<CatalogError> for Broken {
    fn from(error: CatalogError) -> Self {
        Self::Catalog(error)
    }
}

impl Broken {
    /// The same in words for whoever asked; the log has all of it.
    fn failure(self, task: &Task) -> Failure {
        let (kind, code, detail) = match &self {
            Self::Unreadable => {
                (ErrorKind::Unsupported, "not_supported", "this version of Lakegate cannot read the job".to_owned())
            }
            Self::NobodyAsked => (
                ErrorKind::NotFound,
                "principal_not_found",
                "who asked for the statement does not exist any more".to_owned(),
            ),
            Self::NotHeld => (ErrorKind::Conflict, "job_not_held", "the job was given to somebody else".to_owned()),
            Self::Query(error) => (error.kind(), error.code(), error.to_string()),
            Self::Lake(error) => (error.kind(), error.code(), error.to_string()),
            Self::Format(error) => (error.kind(), error.code(), error.to_string()),
            Self::Catalog(error) => (error.kind(), error.code(), error.to_string()),
        };
        // What fails elsewhere may name hosts and paths; damage has words for everybody.
        let hidden = code != "dataset_damaged" && matches!(kind, ErrorKind::Unavailable | ErrorKind::Internal);
        if hidden {
            tracing::warn!(job = %task.job.id, code, detail, "a statement in the background failed");
        }
        let detail = if hidden { HIDDEN.to_owned() } else { detail };
        let retry = matches!(kind, ErrorKind::Unavailable | ErrorKind::Overloaded);
        Failure { code: code.to_owned(), detail, retry }
    }
}

const HIDDEN: &str = "storage, the catalog or this gateway failed; the gateway's log has it under the job's id";
