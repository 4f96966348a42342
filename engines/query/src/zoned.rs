//! A relation whose timestamps are labelled with the zone of the session, so that what computes with them
//! (`date_trunc`, `extract`, a comparison with text) counts in that zone as their answer does.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, ScalarValue};
use datafusion::datasource::TableType;
use datafusion::logical_expr::{Expr, Operator, TableProviderFilterPushDown};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{Column, cast};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::projection::ProjectionExec;

/// The zone of what is stored with one.
const STORED: &str = "UTC";

/// `provider` with its timestamps in `zone`; the provider itself when it has none with a zone.
pub(crate) fn zoned(provider: Arc<dyn TableProvider>, zone: &str) -> Arc<dyn TableProvider> {
    let stored = provider.schema();
    let fields: Vec<FieldRef> = stored.fields().iter().map(|field| labelled(field, zone)).collect();
    let schema = Schema::new_with_metadata(fields, stored.metadata().clone());
    if schema == *stored {
        return provider;
    }
    Arc::new(Zoned { inner: provider, schema: Arc::new(schema) })
}

#[derive(Debug)]
struct Zoned {
    inner: Arc<dyn TableProvider>,
    schema: SchemaRef,
}

#[async_trait]
impl TableProvider for Zoned {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        self.inner.table_type()
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        // The relation below only skips by them: not all of them reach it.
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let filters = filters.iter().cloned().map(in_stored_zone).collect::<Result<Vec<_>>>()?;
        let filters: Vec<Expr> = filters.into_iter().flatten().collect();
        let scan = self.inner.scan(state, projection, &filters, limit).await?;
        let stored = scan.schema();
        let all: Vec<usize> = (0..self.schema.fields().len()).collect();
        let outputs = projection.unwrap_or(&all).iter().enumerate().map(|(at, original)| {
            let field = self.schema.field(*original);
            let column = Arc::new(Column::new(stored.field(at).name(), at)) as Arc<dyn PhysicalExpr>;
            // The instants stay what they are: a cast from zone to zone only changes the label.
            let column = if stored.field(at).data_type() == field.data_type() {
                column
            } else {
                cast(column, &stored, field.data_type().clone())?
            };
            Ok((column, field.name().clone()))
        });
        Ok(Arc::new(ProjectionExec::try_new(outputs.collect::<Result<Vec<_>>>()?, scan)?))
    }
}

/// `field` with every timestamp that has a zone, however deep, in `zone`.
fn labelled(field: &FieldRef, zone: &str) -> FieldRef {
    let deep = |inner: &FieldRef| labelled(inner, zone);
    let data_type = match field.data_type() {
        DataType::Timestamp(unit, Some(_)) => DataType::Timestamp(*unit, Some(zone.into())),
        DataType::List(item) => DataType::List(deep(item)),
        DataType::LargeList(item) => DataType::LargeList(deep(item)),
        DataType::FixedSizeList(item, size) => DataType::FixedSizeList(deep(item), *size),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(deep).collect()),
        DataType::Map(entries, sorted) => DataType::Map(deep(entries), *sorted),
        _ => return Arc::clone(field),
    };
    Arc::new(Field::clone(field).with_data_type(data_type))
}

/// A filter over the labelled columns as one over the stored ones that keeps the same rows, or `None` where its meaning
/// may depend on the zone: only columns, values, comparisons and what joins them mean the same instants in every zone.
fn in_stored_zone(filter: Expr) -> Result<Option<Expr>> {
    let mut same = true;
    filter.apply(|node| {
        same &= match node {
            Expr::BinaryExpr(binary) => binary.op.is_logic_operator() || compares(binary.op),
            Expr::Column(_)
            | Expr::Literal(..)
            | Expr::Not(_)
            | Expr::IsNull(_)
            | Expr::IsNotNull(_)
            | Expr::InList(_)
            | Expr::Between(_) => true,
            _ => false,
        };
        Ok(if same { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    })?;
    if !same {
        return Ok(None);
    }
    let stored = filter.transform(|node| {
        Ok(match node {
            Expr::Literal(value, metadata) => match in_utc(value) {
                (value, true) => Transformed::yes(Expr::Literal(value, metadata)),
                (value, false) => Transformed::no(Expr::Literal(value, metadata)),
            },
            other => Transformed::no(other),
        })
    })?;
    Ok(Some(stored.data))
}

fn compares(operator: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq};
    matches!(operator, Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
}

fn in_utc(value: ScalarValue) -> (ScalarValue, bool) {
    let utc = || Some(STORED.into());
    match value {
        ScalarValue::TimestampSecond(at, Some(_)) => (ScalarValue::TimestampSecond(at, utc()), true),
        ScalarValue::TimestampMillisecond(at, Some(_)) => (ScalarValue::TimestampMillisecond(at, utc()), true),
        ScalarValue::TimestampMicrosecond(at, Some(_)) => (ScalarValue::TimestampMicrosecond(at, utc()), true),
        ScalarValue::TimestampNanosecond(at, Some(_)) => (ScalarValue::TimestampNanosecond(at, utc()), true),
        other => (other, false),
    }
}
