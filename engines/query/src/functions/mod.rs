//! The functions that SQL has here, and the bounds on those that make big values.
//!
//! The memory pool does not see what a function allocates, so a function that can make much from
//! little ([`Rule`] lists them) is wrapped: it works out the size of its answer first and refuses
//! when a value or a batch of values would be too large.

mod aggregate;
mod bound;
mod budget;
mod concat;
mod now;
mod rule;
mod scalar;
mod size;
mod sum;

use std::sync::{Arc, LazyLock};

use datafusion::execution::SessionStateDefaults;
use datafusion::logical_expr::ScalarUDF;
use lakegate_statement::Functions;

pub(crate) use bound::{Makes, bounded, bounded_alone, makes, repeatable, repeatable_alone};
pub(crate) use budget::{CallLimits, planning};
use rule::Rule;

/// Bytes that one value made by a function may take.
pub(crate) const MAX_VALUE: u64 = 16 * 1024 * 1024;
/// Bytes that the values which a function makes for one batch may take together.
pub(crate) const MAX_BATCH: u64 = 64 * 1024 * 1024;

/// A function refused to make something big.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{function} would take {bytes} bytes, more than the {limit} allowed {scope}")]
pub(crate) struct ValueTooLarge {
    pub(crate) function: String,
    pub(crate) bytes: u64,
    pub(crate) limit: u64,
    pub(crate) scope: &'static str,
}

impl ValueTooLarge {
    /// Checks one size against the bound on values.
    pub(crate) fn check_value(function: &str, bytes: u64) -> datafusion::common::Result<()> {
        Self::check(function, bytes, MAX_VALUE, "per value")
    }

    /// Checks one size against the bound on batches.
    pub(crate) fn check_batch(function: &str, bytes: u64, limit: u64) -> datafusion::common::Result<()> {
        Self::check(function, bytes, limit, "per batch of rows")
    }

    fn check(function: &str, bytes: u64, limit: u64, scope: &'static str) -> datafusion::common::Result<()> {
        if bytes <= limit {
            return Ok(());
        }
        let error = Self { function: function.to_owned(), bytes, limit, scope };
        Err(datafusion::error::DataFusionError::External(Box::new(error)))
    }
}

/// Functions of DataFusion that are left out: they tell about the server's build or files, or let
/// a statement name a type of any width (`arrow_cast(NULL, 'FixedSizeBinary(2000000000)')`).
const LEFT_OUT: &[&str] = &[
    "arrow_cast",
    "arrow_try_cast",
    "cast_to_type",
    "try_cast_to_type",
    "arrow_field",
    "arrow_metadata",
    "with_metadata",
    "version",
    "input_file_name",
    "file_row_index",
];

/// The scalar functions, JSON's excepted.
pub(crate) fn scalar_functions() -> Vec<Arc<ScalarUDF>> {
    let all = SessionStateDefaults::default_scalar_functions().into_iter();
    let now = Arc::new(ScalarUDF::new_from_impl(now::Now::new()));
    all.filter(|function| function.name() != "now" && !LEFT_OUT.contains(&function.name())).chain([now]).collect()
}

/// Every name that can be called, aliases too.
pub(crate) fn known() -> &'static Functions {
    static KNOWN: LazyLock<Functions> = LazyLock::new(|| {
        let named = |name: &str, aliases: &[String]| [&[name.to_owned()], aliases].concat();
        let mut names: Vec<String> = Vec::new();
        names.extend(scalar_functions().iter().flat_map(|function| named(function.name(), function.aliases())));
        let windows = SessionStateDefaults::default_window_functions();
        names.extend(windows.iter().flat_map(|function| named(function.name(), function.aliases())));
        names.extend(["", "_bool", "_float", "_int", "_json", "_array", "_str"].map(|kind| format!("json_get{kind}")));
        names.extend(JSON.iter().chain(SYNTAX).map(|&name| name.to_owned()));
        let aggregates = SessionStateDefaults::default_aggregate_functions();
        Functions::new(names, aggregates.iter().flat_map(|function| named(function.name(), function.aliases())))
    });
    &KNOWN
}

const JSON: &[&str] = &[
    "json_as_text",
    "json_contains",
    "json_length",
    "json_object_keys",
    "json_keys",
    "json_from_scalar",
    "json_union_to_text",
];

/// What the planner resolves by itself.
const SYNTAX: &[&str] = &["unnest", "make_map", "map", "struct", "row", "grouping"];

#[cfg(test)]
mod tests;
