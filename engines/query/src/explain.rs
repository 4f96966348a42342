//! EXPLAIN: the plan as text, without files, folders or hosts.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::memory::MemorySourceConfig;
use datafusion::common::Result;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan};

use crate::policy;

/// Columns `plan_type` and `plan`.
pub(crate) fn schema() -> SchemaRef {
    let fields = ["plan_type", "plan"].map(|name| Field::new(name, DataType::Utf8, true));
    Arc::new(Schema::new(fields.to_vec()))
}

/// A plan that answers the text of another, one row each for the logical and the physical plan.
pub(crate) fn plan(logical: &LogicalPlan, physical: &dyn ExecutionPlan) -> Result<Arc<dyn ExecutionPlan>> {
    let mut text = String::new();
    write_node(&mut text, physical, 0, false)?;
    let batch = rows(["logical_plan", "physical_plan"], &[logical.display_indent().to_string(), text])?;
    Ok(MemorySourceConfig::try_new_exec(&[vec![batch]], schema(), None)?)
}

/// The text of a plan that has run, with what each step took. Where something is read under a policy that would tell of
/// rows left out, by how they and the others are spread over files: there the plan is all.
pub(crate) fn analyzed(logical: &str, physical: &dyn ExecutionPlan) -> Result<RecordBatch> {
    let mut text = String::new();
    write_node(&mut text, physical, 0, !policy::governs(physical))?;
    rows(["logical_plan", "plan_with_metrics"], &[logical.to_owned(), text])
}

fn rows(types: [&str; 2], plans: &[String; 2]) -> Result<RecordBatch> {
    let columns: Vec<ArrayRef> =
        vec![Arc::new(StringArray::from(types.to_vec())), Arc::new(StringArray::from(plans.to_vec()))];
    Ok(RecordBatch::try_new(schema(), columns)?)
}

fn write_node(text: &mut String, node: &dyn ExecutionPlan, depth: usize, metrics: bool) -> Result<()> {
    use fmt::Write;
    let indent = "  ".repeat(depth);
    let children = node.children();
    let took = if metrics { measured(node) } else { String::new() };
    let written = if children.is_empty() {
        // A leaf describes itself by its files; its name and columns are all that a reader needs.
        let columns: Vec<String> = node.schema().fields().iter().map(|field| field.name().clone()).collect();
        writeln!(text, "{indent}{}: columns=[{}]{took}", node.name(), columns.join(", "))
    } else {
        writeln!(text, "{indent}{}{took}", Shown(node))
    };
    written.map_err(|e| datafusion::error::DataFusionError::Internal(e.to_string()))?;
    children.iter().try_for_each(|child| write_node(text, child.as_ref(), depth + 1, metrics))
}

/// The measurements that say nothing of files and hosts. A node that keeps its own to itself has none.
fn measured(node: &dyn ExecutionPlan) -> String {
    let Some(metrics) = node.metrics() else { return String::new() };
    let mut shown = Vec::new();
    shown.extend(metrics.output_rows().map(|rows| format!("output_rows={rows}")));
    shown.extend(
        metrics.elapsed_compute().map(|nanos| format!("elapsed_compute={:?}", Duration::from_nanos(nanos as u64))),
    );
    shown.extend(metrics.spilled_bytes().filter(|bytes| *bytes > 0).map(|bytes| format!("spilled_bytes={bytes}")));
    if shown.is_empty() { String::new() } else { format!(", metrics=[{}]", shown.join(", ")) }
}

struct Shown<'a>(&'a dyn ExecutionPlan);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        DisplayAs::fmt_as(self.0, DisplayFormatType::Default, f)
    }
}
