//! Which predicates may enter a policy's scan: those that can neither fail nor be slow on any value, so that a row which
//! the caller may not see cannot be noticed by them. They skip files, row groups and pages; leave out, where nothing is
//! masked, rows that the policy lets through; and are applied to rows above.

use arrow::datatypes::{DataType, Schema};
use datafusion::common::Column;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{Between, BinaryExpr, Expr, Operator};

/// The parts of `filters` that only compare columns of `open` with constants, over columns without a qualifier.
pub(super) fn leak_proof(filters: &[Expr], open: &Schema) -> Vec<Expr> {
    let parts = filters.iter().flat_map(datafusion::logical_expr::utils::split_conjunction);
    parts.filter_map(|part| compares(part, open)).collect()
}

/// The expression over columns without a qualifier, when it is a comparison or made of some.
fn compares(expr: &Expr, open: &Schema) -> Option<Expr> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if matches!(op, Operator::And | Operator::Or) => {
            let (left, right) = (compares(left, open)?, compares(right, open)?);
            Some(Expr::BinaryExpr(BinaryExpr { left: left.into(), op: *op, right: right.into() }))
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_comparison(*op) => {
            let (left, right) = match (column(left, open), column(right, open)) {
                (Some((name, ty)), None) => (name, constant(right, ty)?),
                (None, Some((name, ty))) => (constant(left, ty)?, name),
                _ => return None,
            };
            Some(Expr::BinaryExpr(BinaryExpr { left: left.into(), op: *op, right: right.into() }))
        }
        Expr::IsNull(inner) => column(inner, open).map(|(name, _)| Expr::IsNull(name.into())),
        Expr::IsNotNull(inner) => column(inner, open).map(|(name, _)| Expr::IsNotNull(name.into())),
        Expr::InList(InList { expr, list, negated }) => {
            let (name, ty) = column(expr, open)?;
            let list = list.iter().map(|item| constant(item, ty)).collect::<Option<Vec<_>>>()?;
            Some(Expr::InList(InList { expr: name.into(), list, negated: *negated }))
        }
        Expr::Between(Between { expr, negated, low, high }) => {
            let (name, ty) = column(expr, open)?;
            let (low, high) = (constant(low, ty)?.into(), constant(high, ty)?.into());
            Some(Expr::Between(Between { expr: name.into(), negated: *negated, low, high }))
        }
        _ => None,
    }
}

fn is_comparison(operator: Operator) -> bool {
    matches!(operator, Operator::Eq | Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq)
}

/// The column and its type, when values of the type can be compared without failing.
fn column<'a>(expr: &Expr, open: &'a Schema) -> Option<(Expr, &'a DataType)> {
    let Expr::Column(column) = expr else { return None };
    let ty = open.field_with_name(&column.name).ok()?.data_type();
    let plain = ty.is_primitive() || matches!(ty, DataType::Boolean | DataType::Utf8 | DataType::Binary);
    plain.then(|| (Expr::Column(Column::from_name(&column.name)), ty))
}

/// A constant of exactly this type: no cast is needed, which might fail.
fn constant(expr: &Expr, ty: &DataType) -> Option<Expr> {
    match expr {
        Expr::Literal(value, _) if value.data_type() == *ty => Some(expr.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::Field;
    use datafusion::prelude::{cast, col, lit};

    use super::*;

    #[test]
    fn only_comparisons_with_constants_of_open_columns_enter() {
        let fields = [("id", DataType::Int64), ("name", DataType::Utf8)];
        let open = Schema::new(fields.map(|(name, ty)| Field::new(name, ty, true)).to_vec());
        let enters = |expr: Expr| leak_proof(&[expr], &open).iter().map(ToString::to_string).collect::<Vec<_>>();
        for expr in [
            col("t.id").eq(lit(1_i64)),
            lit("x").lt(col("name")),
            col("id").between(lit(1_i64), lit(2_i64)),
            col("id").in_list(vec![lit(1_i64), lit(2_i64)], true),
            col("name").is_null().or(col("id").gt_eq(lit(5_i64))),
        ] {
            assert_eq!(enters(expr.clone()), [expr.to_string().replace("t.id", "id")]);
        }
        for expr in [
            col("id").eq(lit(1_i32)),
            col("hidden").eq(lit(1_i64)),
            col("id").eq(col("id")),
            (lit(10_i64) / col("id")).gt(lit(1_i64)),
            cast(col("name"), DataType::Int64).eq(lit(1_i64)),
            col("name").like(lit("a%")),
            col("id").in_list(vec![lit(1_i64), lit(1_i64) / col("id")], false),
            col("name").is_null().or((lit(1_i64) / col("id")).gt(lit(5_i64))),
            lit(true),
        ] {
            assert_eq!(enters(expr.clone()), Vec::<String>::new(), "{expr}");
        }
        let both = col("id").gt(lit(1_i64)).and((lit(1_i64) / col("id")).gt(lit(0_i64)));
        assert_eq!(enters(both), ["id > Int64(1)"]);
    }
}
