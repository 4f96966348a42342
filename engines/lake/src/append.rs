//! One push on its way into a table: rows go to files at once, and become visible in one commit.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use deltalake::kernel::Action;
use object_store::ObjectStore;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::error::{LakeError, Result};
use crate::layout::Layout;
use crate::table::{Claim, Table};
use crate::txn::PushKey;
use crate::types::cast_column;
use crate::writer::FileWriter;

/// A file is ended when it has about this many bytes, so that readers can share a large push.
pub(crate) const FILE_BYTES: usize = 512 << 20;

/// Rows being added to a table. Nothing is visible before [`Append::commit`]; dropping it discards
/// the rows. Memory: one row group and three batches, whatever the size of the push.
pub struct Append {
    table: Arc<Table>,
    layout: Arc<Layout>,
    /// What writes the files, once there are rows.
    files: Option<Files>,
    rows: u64,
    claim: Option<Claim>,
    /// Whether the rows are to be all that there is.
    replaces: bool,
}

/// A thread that writes files: the next rows arrive and are decoded meanwhile, and what it compresses holds up nobody.
/// Dropped before its end, it leaves nothing that a reader sees.
struct Files {
    /// One batch waits; then whoever sends the rows does.
    steps: mpsc::Sender<Step>,
    written: JoinHandle<Result<Vec<Action>>>,
}

/// What is asked of the thread, in order.
enum Step {
    /// Write these rows.
    Rows(RecordBatch),
    /// Say that all rows so far are written.
    Settled(oneshot::Sender<()>),
    /// Complete the files.
    End,
}

impl Files {
    fn start(store: Arc<dyn ObjectStore>, stored: SchemaRef) -> Self {
        let (steps, received) = mpsc::channel(1);
        let waiting = Handle::current();
        let written = tokio::task::spawn_blocking(move || waiting.block_on(write_files(store, stored, received)));
        Self { steps, written }
    }

    /// Completes the files; one Add action for each.
    async fn finish(self) -> Result<Vec<Action>> {
        // Where nobody listens any more, the result says why.
        let _ = self.steps.send(Step::End).await;
        self.written.await.map_err(|e| LakeError::Defect(e.to_string()))?
    }
}

async fn write_files(
    store: Arc<dyn ObjectStore>,
    stored: SchemaRef,
    mut steps: mpsc::Receiver<Step>,
) -> Result<Vec<Action>> {
    let mut done = Vec::new();
    let mut current: Option<FileWriter> = None;
    while let Some(step) = steps.recv().await {
        let batch = match step {
            Step::Rows(batch) => batch,
            Step::Settled(told) => {
                // Who asked may have given up.
                let _ = told.send(());
                continue;
            }
            Step::End => {
                if let Some(last) = current {
                    done.push(Action::Add(last.finish().await?));
                }
                return Ok(done);
            }
        };
        let mut file = match current.take() {
            Some(file) => file,
            None => FileWriter::start(Arc::clone(&store), Arc::clone(&stored))?,
        };
        file.write(&batch).await?;
        if file.size() < FILE_BYTES {
            current = Some(file);
        } else {
            done.push(Action::Add(file.finish().await?));
        }
    }
    // The rows were given up.
    Ok(Vec::new())
}

/// What a commit made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The version that holds the rows.
    pub version: u64,
    /// The rows that the push added.
    pub rows: u64,
    /// Whether an earlier push with the same key had added them already.
    pub duplicate: bool,
}

impl Append {
    pub(crate) fn new(table: Arc<Table>, layout: Arc<Layout>, claim: Option<Claim>) -> Self {
        Self { table, layout, files: None, rows: 0, claim, replaces: false }
    }

    pub(crate) fn with_layout(self, layout: Arc<Layout>) -> Self {
        Self { layout, ..self }
    }

    /// The same, but the rows and the columns take the place of all that is there when they are committed.
    pub(crate) fn replacing(self) -> Self {
        Self { replaces: true, ..self }
    }

    /// The columns under the clients' names and types.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.layout.schema)
    }

    /// Rows written so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Adds rows under the clients' column names; columns that are left out are null, types are cast
    /// with checks.
    ///
    /// Errors: [`LakeError::BadValue`], [`LakeError::SchemaMismatch`]; [`LakeError::Storage`], perhaps of a batch before.
    /// The append cannot be used after an error.
    pub async fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let stored = self.to_stored(batch)?;
        let rows = stored.num_rows() as u64;
        let start = || Files::start(Arc::clone(&self.table.log.files), Arc::clone(&self.layout.stored));
        let files = self.files.get_or_insert_with(start);
        if files.steps.send(Step::Rows(stored)).await.is_err() {
            // They ended before their time: with an error.
            self.finish_files().await?;
            return Err(LakeError::Defect("a file was ended before its rows were".to_owned()));
        }
        self.rows += rows;
        Ok(())
    }

    /// Waits until the batches so far are written, so that nothing of them is held any more but the row group.
    ///
    /// Errors: as [`Append::write`].
    pub async fn settle(&mut self) -> Result<()> {
        let Some(files) = &self.files else { return Ok(()) };
        let (told, settled) = oneshot::channel();
        if files.steps.send(Step::Settled(told)).await.is_ok() && settled.await.is_ok() {
            return Ok(());
        }
        self.finish_files().await?;
        Err(LakeError::Defect("a file was ended before its rows were".to_owned()))
    }

    async fn finish_files(&mut self) -> Result<Vec<Action>> {
        match self.files.take() {
            Some(files) => files.finish().await,
            None => Ok(Vec::new()),
        }
    }

    fn to_stored(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let schema = batch.schema_ref();
        for field in schema.fields() {
            self.layout.position(field.name())?;
        }
        let columns = self.layout.schema.fields().iter().map(|field| match batch.column_by_name(field.name()) {
            Some(column) => cast_column(field.name(), column, field.data_type(), self.rows + 1),
            None => Ok(arrow::array::new_null_array(field.data_type(), batch.num_rows())),
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        for (field, column) in self.layout.schema.fields().iter().zip(&columns) {
            if !field.is_nullable() && column.logical_null_count() > 0 {
                return Err(LakeError::SchemaMismatch(format!("column `{}` must not be null", field.name())));
            }
        }
        Ok(RecordBatch::try_new(Arc::clone(&self.layout.stored), columns)?)
    }

    /// Makes the rows visible, all in one version. `body` is the hash of the push's body, needed
    /// when the push has a key.
    ///
    /// Runs to its end even when the caller stops waiting: a commit is never left half known.
    /// Errors: [`LakeError::KeyReused`], [`LakeError::Replaced`], [`LakeError::Contended`], [`LakeError::Storage`].
    pub async fn commit(mut self, body: Option<[u8; 16]>) -> Result<Committed> {
        let done = self.finish_files().await?;
        let push = self.claim.as_ref().map(|claim| PushKey { key: claim.key, body: body.unwrap_or_default() });
        let landing = tokio::spawn(async move {
            let Self { table, layout, rows, replaces, .. } = &self;
            let landed = if *replaces {
                table.commit_replacing(layout, &done, *rows, push).await
            } else {
                table.commit(layout, &done, *rows, push).await
            };
            let (record, duplicate) = landed?;
            if push.is_some_and(|push| push.body != record.body) {
                return Err(LakeError::KeyReused);
            }
            Ok(Committed { version: record.version, rows: record.rows, duplicate })
        });
        landing.await.map_err(|e| LakeError::Defect(e.to_string()))?
    }
}
