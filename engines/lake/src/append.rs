//! One push on its way into a table: rows go to files at once, and become visible in one commit.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use deltalake::kernel::Action;

use crate::error::{LakeError, Result};
use crate::layout::Layout;
use crate::table::{Claim, Table};
use crate::txn::PushKey;
use crate::types::cast_column;
use crate::writer::FileWriter;

/// A file is ended when it has about this many bytes, so that readers can share a large push.
pub(crate) const FILE_BYTES: usize = 512 << 20;

/// Rows being added to a table. Nothing is visible before [`Append::commit`]; dropping it discards
/// the rows. Memory: one row group, whatever the size of the push.
pub struct Append {
    table: Arc<Table>,
    layout: Arc<Layout>,
    current: Option<FileWriter>,
    done: Vec<Action>,
    rows: u64,
    claim: Option<Claim>,
    /// Whether the rows are to be all that there is.
    replaces: bool,
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
        Self { table, layout, current: None, done: Vec::new(), rows: 0, claim, replaces: false }
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
    /// Errors: [`LakeError::BadValue`], [`LakeError::SchemaMismatch`], [`LakeError::Storage`]. The
    /// append cannot be used after an error.
    pub async fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let stored = self.to_stored(batch)?;
        let file = match &mut self.current {
            Some(file) => file,
            none => none.insert(FileWriter::start(Arc::clone(&self.table.log.files), Arc::clone(&self.layout.stored))?),
        };
        file.write(&stored).await?;
        self.rows += batch.num_rows() as u64;
        if file.size() >= FILE_BYTES {
            self.end_file().await?;
        }
        Ok(())
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

    async fn end_file(&mut self) -> Result<()> {
        if let Some(file) = self.current.take() {
            self.done.push(Action::Add(file.finish().await?));
        }
        Ok(())
    }

    /// Makes the rows visible, all in one version. `body` is the hash of the push's body, needed
    /// when the push has a key.
    ///
    /// Runs to its end even when the caller stops waiting: a commit is never left half known.
    /// Errors: [`LakeError::KeyReused`], [`LakeError::Replaced`], [`LakeError::Contended`], [`LakeError::Storage`].
    pub async fn commit(mut self, body: Option<[u8; 16]>) -> Result<Committed> {
        self.end_file().await?;
        let push = self.claim.as_ref().map(|claim| PushKey { key: claim.key, body: body.unwrap_or_default() });
        let landing = tokio::spawn(async move {
            let Self { table, layout, done, rows, replaces, .. } = &self;
            let landed = if *replaces {
                table.commit_replacing(layout, done, *rows, push).await
            } else {
                table.commit(layout, done, *rows, push).await
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
