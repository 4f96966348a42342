//! New columns for a table that has rows.
//!
//! A commit that holds the table's metadata again, with more columns at the end. No file is touched: rows that
//! were written before read as null in the new columns, and so do those of pushes that were on their way.

use std::sync::Arc;

use deltalake::DeltaTableError;
use deltalake::kernel::{Action, Metadata, MetadataExt as _, Protocol, StructType};
use deltalake::protocol::DeltaOperation;
use lakegate_catalog::{Column, ColumnType};
use serde_json::{Value, json};

use crate::error::{LakeError, Result};
use crate::layout::Layout;
use crate::log::{Attempt, Log};
use crate::snapshot::Snapshot;
use crate::table::{MAX_LOST_RACES, Table};

impl Table {
    /// Adds columns at the end, all in one version, and answers the snapshot that has them. Columns that are there
    /// with the same type are left as they are, so that it is safe to repeat.
    ///
    /// Errors: [`LakeError::SchemaMismatch`] for a column that may not be null, [`LakeError::ColumnExists`],
    /// [`LakeError::UnsupportedType`], [`LakeError::Contended`], [`LakeError::Damaged`], [`LakeError::Storage`].
    pub async fn add_columns(self: &Arc<Self>, columns: Vec<Column>) -> Result<Arc<Snapshot>> {
        let table = Arc::clone(self);
        // Runs to its end even when the caller stops waiting: a commit is never left half known.
        let adding = tokio::spawn(async move { table.alter(&columns).await });
        adding.await.map_err(|e| LakeError::Defect(e.to_string()))?
    }

    async fn alter(&self, columns: &[Column]) -> Result<Arc<Snapshot>> {
        self.snapshot_and_log().await?;
        let _advance = self.advance.lock().await;
        for _ in 0..MAX_LOST_RACES {
            let newest = self.catch_up().await?;
            let missing = missing(&newest.layout, columns)?;
            if missing.is_empty() {
                return Ok(newest);
            }
            let layout = newest.layout.extended(&missing)?;
            let actions = self.log.metadata_with(&layout).await?;
            let fields = layout.delta_fields()?.split_off(newest.layout.columns.len());
            let operation = DeltaOperation::AddColumn { fields };
            // Ours or another writer's: the next round reads what is there now.
            match self.log.commit(newest.version + 1, actions, operation).await? {
                Attempt::Landed | Attempt::Taken => {}
            }
        }
        Err(LakeError::Contended(MAX_LOST_RACES))
    }
}

/// The columns that the table does not have yet.
fn missing(layout: &Layout, wanted: &[Column]) -> Result<Vec<Column>> {
    let mut missing = Vec::new();
    for column in wanted {
        match layout.columns.iter().find(|known| known.name.to_lowercase() == column.name.to_lowercase()) {
            Some(known) if known.name == column.name && known.ty == column.ty => {}
            Some(known) => {
                return Err(LakeError::ColumnExists { column: known.name.clone(), ty: known.ty.to_string() });
            }
            None if !column.nullable => {
                let why =
                    format!("the new column `{}` must be nullable: rows that are there have no value", column.name);
                return Err(LakeError::SchemaMismatch(why));
            }
            None => missing.push(column.clone()),
        }
    }
    Ok(missing)
}

impl Log {
    /// The table's metadata with these columns, and its protocol when they need more than it says.
    pub(crate) async fn metadata_with(&self, layout: &Layout) -> Result<Vec<Action>> {
        let table = self.load(None).await?;
        let state = table.snapshot()?;
        let schema = StructType::try_new(layout.delta_fields()?).map_err(|e| LakeError::Defect(e.to_string()))?;
        let metadata: Metadata = state.metadata().clone().with_schema(&schema).map_err(DeltaTableError::from)?;
        let mut actions = vec![Action::Metadata(metadata)];
        if layout.columns.iter().any(|column| has_timestamp_ntz(&column.ty)) {
            actions.extend(with_timestamp_ntz(state.protocol())?.map(Action::Protocol));
        }
        Ok(actions)
    }
}

fn has_timestamp_ntz(ty: &ColumnType) -> bool {
    match ty {
        ColumnType::TimestampNtz => true,
        ColumnType::List(item) => has_timestamp_ntz(item),
        ColumnType::Map(key, value) => has_timestamp_ntz(key) || has_timestamp_ntz(value),
        ColumnType::Struct(fields) => fields.iter().any(|field| has_timestamp_ntz(&field.ty)),
        _ => false,
    }
}

/// The protocol with the feature that timestamps without a zone need; `None` when it has it. Reader version 3 and
/// writer version 7 are those with lists of features; what older writer versions imply is listed too.
fn with_timestamp_ntz(protocol: &Protocol) -> Result<Option<Protocol>> {
    const FEATURE: &str = "timestampNtz";
    let old = serde_json::to_value(protocol).map_err(DeltaTableError::from)?;
    let listed = |name: &str| -> Vec<Value> { old[name].as_array().cloned().unwrap_or_default() };
    let (mut reader, mut writer) = (listed("readerFeatures"), listed("writerFeatures"));
    if reader.iter().any(|feature| feature == FEATURE) {
        return Ok(None);
    }
    if old["minWriterVersion"].as_i64() > Some(2) && writer.is_empty() {
        return Err(LakeError::UnsupportedTable("a writer version between 3 and 6".to_owned()));
    }
    if writer.is_empty() {
        writer.extend(["appendOnly", "invariants"].map(Value::from));
    }
    reader.push(FEATURE.into());
    writer.push(FEATURE.into());
    let new = json!({"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": reader, "writerFeatures": writer});
    Ok(Some(serde_json::from_value(new).map_err(DeltaTableError::from)?))
}
