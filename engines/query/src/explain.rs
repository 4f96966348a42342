//! EXPLAIN: the plan as text, without files, folders or hosts.

use std::fmt;
use std::sync::Arc;

use arrow::array::{RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::catalog::memory::MemorySourceConfig;
use datafusion::common::Result;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan};

/// A plan that answers the text of another: columns `plan_type` and `plan`, one row each for the
/// logical and the physical plan.
pub(crate) fn plan(logical: &LogicalPlan, physical: &dyn ExecutionPlan) -> Result<Arc<dyn ExecutionPlan>> {
    let mut text = String::new();
    write_node(&mut text, physical, 0)?;
    let types = StringArray::from(vec!["logical_plan", "physical_plan"]);
    let plans = StringArray::from(vec![logical.display_indent().to_string(), text]);
    let fields = ["plan_type", "plan"].map(|name| Field::new(name, DataType::Utf8, true));
    let schema = Arc::new(Schema::new(fields.to_vec()));
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(types), Arc::new(plans)])?;
    Ok(MemorySourceConfig::try_new_exec(&[vec![batch]], schema, None)?)
}

fn write_node(text: &mut String, node: &dyn ExecutionPlan, depth: usize) -> Result<()> {
    use fmt::Write;
    let indent = "  ".repeat(depth);
    let children = node.children();
    let written = if children.is_empty() {
        // A leaf describes itself by its files; its name and columns are all that a reader needs.
        let columns: Vec<String> = node.schema().fields().iter().map(|field| field.name().clone()).collect();
        writeln!(text, "{indent}{}: columns=[{}]", node.name(), columns.join(", "))
    } else {
        writeln!(text, "{indent}{}", Shown(node))
    };
    written.map_err(|e| datafusion::error::DataFusionError::Internal(e.to_string()))?;
    children.iter().try_for_each(|child| write_node(text, child.as_ref(), depth + 1))
}

struct Shown<'a>(&'a dyn ExecutionPlan);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        DisplayAs::fmt_as(self.0, DisplayFormatType::Default, f)
    }
}
