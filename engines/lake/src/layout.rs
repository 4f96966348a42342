//! A dataset's columns under both of their names: the clients' and the stored ones.
//!
//! Files and the Delta log use names of `[A-Za-z0-9_]` only, so that any Delta reader opens them.
//! The name that the first writer used is kept in the Delta field's metadata.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use deltalake::kernel::{MetadataValue, StructField, StructType};
use lakegate_catalog::Column;

use crate::error::{LakeError, Result};
use crate::types::{arrow_schema, column_type, delta_type};

/// Key of a Delta field's metadata that keeps the clients' name of the column.
const DISPLAY_NAME: &str = "lakegate.name";

/// The columns of one version of a table.
#[derive(Debug)]
pub(crate) struct Layout {
    /// Under the clients' names, in order.
    pub(crate) columns: Vec<Column>,
    /// Arrow schema under the clients' names.
    pub(crate) schema: SchemaRef,
    /// Arrow schema under the stored names, in the same order.
    pub(crate) stored: SchemaRef,
}

impl Layout {
    /// Chooses stored names for new columns.
    pub(crate) fn new(columns: Vec<Column>) -> Result<Self> {
        let names = stored_names(&columns, &mut HashSet::new());
        Self::with_names(columns, &names)
    }

    /// Reads the layout back from the schema in the log.
    pub(crate) fn from_delta(schema: &StructType) -> Result<Self> {
        let mut columns = Vec::new();
        let mut names = Vec::new();
        for field in schema.fields() {
            let display = match field.metadata().get(DISPLAY_NAME) {
                Some(MetadataValue::String(name)) => name.clone(),
                _ => field.name().clone(),
            };
            columns.push(Column { name: display, ty: column_type(field.data_type())?, nullable: field.is_nullable() });
            names.push(field.name().clone());
        }
        Self::with_names(columns, &names)
    }

    /// This layout with more columns at its end; the stored names that there are stay.
    pub(crate) fn extended(&self, more: &[Column]) -> Result<Self> {
        let mut names: Vec<String> = self.stored.fields().iter().map(|f| f.name().clone()).collect();
        let mut taken = names.iter().map(|name| name.to_lowercase()).collect();
        names.extend(stored_names(more, &mut taken));
        Self::with_names(self.columns.iter().chain(more).cloned().collect(), &names)
    }

    fn with_names(columns: Vec<Column>, names: &[String]) -> Result<Self> {
        let schema = arrow_schema(&columns)?;
        let renamed = schema.fields().iter().zip(names).map(|(f, name)| f.as_ref().clone().with_name(name));
        let stored = Arc::new(Schema::new(renamed.collect::<Vec<_>>()));
        Ok(Self { columns, schema, stored })
    }

    /// Whether files of another layout can be read by this one: it has all of its columns, under the same stored names.
    pub(crate) fn reads(&self, other: &Self) -> bool {
        let there = |name: &str, ty| self.stored.field_with_name(name).is_ok_and(|field| field.data_type() == ty);
        let columns = other.columns.iter().zip(other.stored.fields());
        columns.into_iter().all(|(column, stored)| {
            there(stored.name(), stored.data_type()) && self.columns.iter().any(|known| known.name == column.name)
        })
    }

    /// Whether the stored names are the clients' names.
    pub(crate) fn is_identity(&self) -> bool {
        self.schema == self.stored
    }

    /// The fields for the Delta log.
    pub(crate) fn delta_fields(&self) -> Result<Vec<StructField>> {
        let pairs = self.columns.iter().zip(self.stored.fields());
        pairs
            .map(|(column, stored)| {
                let field = StructField::new(stored.name(), delta_type(&column.ty)?, column.nullable);
                if stored.name() == &column.name {
                    return Ok(field);
                }
                Ok(field.with_metadata([(DISPLAY_NAME, MetadataValue::String(column.name.clone()))]))
            })
            .collect()
    }

    /// The position of a column by the clients' name.
    pub(crate) fn position(&self, name: &str) -> Result<usize> {
        self.schema
            .index_of(name)
            .map_err(|_| LakeError::SchemaMismatch(format!("column `{name}` is not a column of the dataset")))
    }
}

/// Replaces what Parquet and Delta readers may choke on, and keeps the results apart. A name that needs no replacing stays
/// what it is, wherever it stands: other readers ask for it.
fn stored_names(columns: &[Column], taken: &mut HashSet<String>) -> Vec<String> {
    let is_free = |name: &str, taken: &HashSet<String>| sanitize(name) == name && !taken.contains(&name.to_lowercase());
    let kept: Vec<bool> = columns.iter().map(|column| is_free(&column.name, taken)).collect();
    let names = columns.iter().zip(&kept).filter(|(_, kept)| **kept);
    taken.extend(names.map(|(column, _)| column.name.to_lowercase()));
    let chosen = columns.iter().zip(kept);
    chosen
        .map(|(column, kept)| if kept { column.name.clone() } else { free_name(&sanitize(&column.name), taken) })
        .collect()
}

fn sanitize(name: &str) -> String {
    let safe: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if safe.starts_with(|c: char| c.is_ascii_alphabetic()) { safe } else { format!("c{safe}") }
}

fn free_name(wanted: &str, taken: &mut HashSet<String>) -> String {
    let mut name = wanted.to_owned();
    let mut n = 1;
    while !taken.insert(name.to_lowercase()) {
        n += 1;
        name = format!("{wanted}_{n}");
    }
    name
}

#[cfg(test)]
mod tests {
    use lakegate_catalog::ColumnType;

    use super::*;

    #[test]
    fn a_name_that_can_be_stored_is_stored() {
        let stored = |columns: &[&str], more: &[&str]| {
            let of = |names: &[&str]| names.iter().map(|n| Column::new(*n, ColumnType::Int)).collect::<Vec<_>>();
            let layout = Layout::new(of(columns)).expect("layout").extended(&of(more)).expect("layout");
            layout.stored.fields().iter().map(|f| f.name().clone()).collect::<Vec<_>>()
        };
        assert_eq!(stored(&["a b", "a_b", "a-b"], &[]), ["a_b_2", "a_b", "a_b_3"]);
        assert_eq!(stored(&["A b", "x"], &["a.b", "a_b_2", "y"]), ["A_b", "x", "a_b_3", "a_b_2", "y"]);
    }

    #[test]
    fn display_names_survive_the_log() {
        let names = ["id", "pop (2020), est.", "pop [2020], est.", "Größe", "1st"];
        let columns: Vec<_> = names.iter().map(|n| Column::new(*n, ColumnType::Int)).collect();
        let layout = Layout::new(columns).expect("layout");
        let stored: Vec<_> = layout.stored.fields().iter().map(|f| f.name().as_str()).collect();
        assert_eq!(stored, ["id", "pop__2020___est_", "pop__2020___est__2", "Gr__e", "c1st"]);
        let delta = StructType::try_new(layout.delta_fields().expect("fields")).expect("struct");
        let back = Layout::from_delta(&delta).expect("read back");
        assert_eq!(back.columns, layout.columns);
        assert_eq!(back.stored, layout.stored);
    }
}
