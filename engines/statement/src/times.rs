//! Types: a timestamp in SQL is what a stored one is, counted in microseconds. Left to itself the planner counts in
//! nanoseconds, which end in 1677 and 2262.

use std::ops::ControlFlow;

use sqlparser::ast::{ArrayElemTypeDef, DataType, Expr, VisitMut, VisitorMut};

/// Digits after the second.
const MICROSECONDS: u64 = 6;

/// Gives every type `timestamp` that names no precision that of stored ones.
pub(crate) fn count_microseconds(tree: &mut impl VisitMut) {
    let _ = tree.visit(&mut Microseconds);
}

struct Microseconds;

impl VisitorMut for Microseconds {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Cast { data_type, .. } => precise(data_type),
            Expr::TypedString(typed) => precise(&mut typed.data_type),
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

fn precise(mut ty: &mut DataType) {
    loop {
        ty = match ty {
            DataType::Timestamp(precision @ None, _) => return *precision = Some(MICROSECONDS),
            DataType::Array(
                ArrayElemTypeDef::AngleBracket(item)
                | ArrayElemTypeDef::SquareBracket(item, _)
                | ArrayElemTypeDef::Parenthesis(item),
            ) => item,
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::functions::Functions;
    use crate::params::Params;
    use crate::statement::Statement;

    #[test]
    fn timestamps_count_microseconds_wherever_they_stand() {
        let sql = "SELECT CAST('x' AS timestamp), 'x'::timestamp[], TIMESTAMP '2020-01-01', CAST('x' AS timestamp(3)), \
                   (SELECT max(CAST('x' AS timestamp with time zone)))";
        let functions = Functions::new([], ["max".to_owned()]);
        let statement = Statement::parse(sql, &Params::default(), &functions).expect("accepted");
        let text = statement.query().to_string();
        assert_eq!(
            text,
            "SELECT CAST('x' AS TIMESTAMP(6)), 'x'::TIMESTAMP(6)[], TIMESTAMP(6) '2020-01-01', CAST('x' AS TIMESTAMP(3)), \
             (SELECT max(CAST('x' AS TIMESTAMP(6) WITH TIME ZONE)))"
        );
    }
}
