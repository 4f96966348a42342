//! Policies: which rows and values of a dataset its readers get.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::column::Column;
use crate::dataset::Dataset;
use crate::error::{CatalogError, Result};

/// What readers of a dataset get of it. It holds for everyone but owners of the dataset, of its namespace and of the
/// instance.
///
/// The expressions are SQL over the dataset's columns, with `current_principal()` and `is_member('group')` of whoever
/// asks. They are kept as text and checked by the gateway that stores them; a policy that no longer fits its dataset lets
/// nothing through.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// A predicate: rows for which it is not true are not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row_filter: Option<String>,
    /// What is read in place of a column, by the column's name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub masks: BTreeMap<String, Mask>,
}

/// What is read in place of a column.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Mask {
    /// Nothing: the column is not there.
    Hidden,
    /// The value of an expression, cast to the column's type.
    Expression(String),
}

impl Policy {
    /// Characters that one expression may have.
    pub const MAX_EXPRESSION: usize = 10_000;

    /// Checks what needs no look-up; every implementation calls it before it stores anything.
    pub fn check(&self) -> Result<()> {
        let masks = self.masks.values().filter_map(|mask| match mask {
            Mask::Hidden => None,
            Mask::Expression(sql) => Some(sql),
        });
        let bad = |sql: &&String| sql.is_empty() || sql.contains('\0') || sql.chars().count() > Self::MAX_EXPRESSION;
        match self.row_filter.iter().chain(masks).find(bad) {
            None => Ok(()),
            Some(sql) => Err(CatalogError::Invalid {
                what: "policy".into(),
                value: sql.chars().take(80).collect(),
                why: "an expression has 1 to 10,000 characters without NUL".to_owned(),
            }),
        }
    }

    /// Whether it lets everything through.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The columns that a reader under the policy knows of. What a mask makes may be NULL.
    pub fn visible(&self, columns: &[Column]) -> Vec<Column> {
        let visible = columns.iter().filter(|column| !self.hides(&column.name)).cloned();
        let masked = |column: &Column| self.masks.contains_key(&column.name);
        visible.map(|column| Column { nullable: column.nullable || masked(&column), ..column }).collect()
    }

    /// A dataset's record as a reader under the policy knows it: nothing names a hidden column.
    #[must_use]
    pub fn shown(&self, dataset: Dataset) -> Dataset {
        let hides = |column: &String| self.hides(column);
        Dataset {
            schema: self.visible(&dataset.schema),
            primary_key: Some(dataset.primary_key).filter(|key| !key.iter().any(hides)).unwrap_or_default(),
            event_time: dataset.event_time.filter(|column| !hides(column)),
            geometry: dataset.geometry.filter(|geometry| !hides(&geometry.column)),
            policy: None,
            ..dataset
        }
    }

    /// Whether readers do not know of a column.
    pub fn hides(&self, column: &str) -> bool {
        self.masks.get(column) == Some(&Mask::Hidden)
    }
}
