//! From DataFusion's errors to ours: by variant, never by text.

use std::collections::HashSet;
use std::error::Error as StdError;

use arrow::error::ArrowError;
use datafusion::common::{Column, DataFusionError, SchemaError};
use datafusion::object_store;
use datafusion::parquet::errors::ParquetError;
use lakegate_catalog::{CatalogError, ErrorKind};
use lakegate_lake::LakeError;
use lakegate_statement::StatementError;

use crate::error::QueryError;
use crate::functions::ValueTooLarge;
use crate::policy::PolicyFailed;

/// Budgets that explain a failure for want of resources.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Budgets {
    /// The spill quota refused a write.
    pub(crate) spill_exceeded: bool,
    /// The memory pool refused a reservation.
    pub(crate) memory_refused: bool,
}

/// The error that the caller sees.
pub(crate) fn translate(error: &DataFusionError, budgets: Budgets) -> QueryError {
    if budgets.spill_exceeded {
        return QueryError::SpillExhausted;
    }
    match error {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => translate(inner, budgets),
        DataFusionError::Shared(inner) => translate(inner, budgets),
        DataFusionError::Collection(all) => match all.first() {
            Some(first) => translate(first, budgets),
            None => QueryError::internal("an empty error", error),
        },
        DataFusionError::ArrowError(inner, _) => arrow(inner, budgets),
        DataFusionError::SchemaError(inner, _) => schema(inner),
        DataFusionError::SQL(inner, _) => QueryError::InvalidStatement(inner.to_string()),
        DataFusionError::NotImplemented(text) => not_supported(text),
        DataFusionError::Plan(text) | DataFusionError::Configuration(text) => QueryError::InvalidStatement(clean(text)),
        DataFusionError::Execution(text) => QueryError::Evaluation(clean(text)),
        DataFusionError::ResourcesExhausted(_) => QueryError::MemoryExhausted,
        DataFusionError::External(inner) => external(inner.as_ref(), budgets),
        DataFusionError::ObjectStore(_) | DataFusionError::IoError(_) | DataFusionError::ParquetError(_) => {
            storage(error)
        }
        DataFusionError::ExecutionJoin(join) if join.is_cancelled() => QueryError::Cancelled,
        _ if budgets.memory_refused => {
            tracing::warn!(%error, "a query failed after its memory pool had refused a reservation");
            QueryError::MemoryExhausted
        }
        _ => QueryError::internal("a query failed", error),
    }
}

/// What DataFusion does not implement; a subquery that it could not turn into a join is told in words of SQL.
fn not_supported(text: &str) -> QueryError {
    let correlated = ["ScalarSubquery", "InSubquery", "Exists(", "OuterReferenceColumn"];
    let what = if correlated.iter().any(|word| text.contains(word)) {
        "a subquery in such a place, or one that refers to the row around it in another way than `its column = outer \
         column`,"
            .to_owned()
    } else {
        clean(text)
    };
    StatementError::NotSupported(what).into()
}

fn storage(error: &dyn std::fmt::Display) -> QueryError {
    tracing::error!(%error, "storage failed under a query");
    QueryError::Storage
}

fn arrow(error: &ArrowError, budgets: Budgets) -> QueryError {
    match error {
        ArrowError::CastError(text) | ArrowError::ParseError(text) => QueryError::Cast(clean(text)),
        ArrowError::DivideByZero => QueryError::Evaluation("division by zero".to_owned()),
        ArrowError::ArithmeticOverflow(text)
        | ArrowError::ComputeError(text)
        | ArrowError::InvalidArgumentError(text)
        | ArrowError::JsonError(text)
        | ArrowError::SchemaError(text) => QueryError::Evaluation(clean(text)),
        ArrowError::NotYetImplemented(text) => not_supported(text),
        ArrowError::MemoryError(_)
        | ArrowError::OffsetOverflowError(_)
        | ArrowError::DictionaryKeyOverflowError
        | ArrowError::RunEndIndexOverflowError => QueryError::MemoryExhausted,
        ArrowError::ExternalError(inner) => external(inner.as_ref(), budgets),
        ArrowError::IoError(..) | ArrowError::ParquetError(_) | ArrowError::IpcError(_) => storage(error),
        _ => QueryError::internal("a query failed", error),
    }
}

fn external(error: &(dyn StdError + Send + Sync + 'static), budgets: Budgets) -> QueryError {
    if let Some(inner) = error.downcast_ref::<DataFusionError>() {
        return translate(inner, budgets);
    }
    if let Some(inner) = error.downcast_ref::<ArrowError>() {
        return arrow(inner, budgets);
    }
    if let Some(LakeError::Damaged(damage)) = error.downcast_ref() {
        return QueryError::Lake(LakeError::Damaged(damage.clone()));
    }
    if let Some(ValueTooLarge { function, bytes, limit, scope }) = error.downcast_ref() {
        return QueryError::ValueTooLarge { function: function.clone(), bytes: *bytes, limit: *limit, scope };
    }
    if let Some(PolicyFailed(dataset)) = error.downcast_ref() {
        return QueryError::PolicyFailed(dataset.clone());
    }
    if let Some(error) = error.downcast_ref::<StatementError>() {
        return error.clone().into();
    }
    if let Some(crate::alive::Stopped) = error.downcast_ref() {
        return QueryError::Cancelled;
    }
    if let Some(error) = error.downcast_ref::<CatalogError>() {
        tracing::error!(%error, "the catalog failed under a query");
        return match error.kind() {
            ErrorKind::Unavailable => CatalogError::store(std::io::Error::other("it failed under a query")).into(),
            _ => QueryError::Internal,
        };
    }
    if comes_from_storage(error) {
        return storage(&error);
    }
    // What remains is what functions say about their arguments, such as a bad regular expression.
    QueryError::Evaluation(clean(&error.to_string()))
}

fn comes_from_storage(error: &(dyn StdError + 'static)) -> bool {
    let here = error.is::<LakeError>()
        || error.is::<object_store::Error>()
        || error.is::<ParquetError>()
        || error.is::<std::io::Error>();
    here || error.source().is_some_and(comes_from_storage)
}

/// DataFusion's texts may carry a backtrace and several lines.
fn clean(text: &str) -> String {
    let text = text.split(DataFusionError::BACK_TRACE_SEP).next().unwrap_or(text);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join(" ").chars().take(600).collect()
}

fn schema(error: &SchemaError) -> QueryError {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            QueryError::UnknownColumn { column: field.quoted_flat_name(), hint: hint(field, valid_fields) }
        }
        SchemaError::AmbiguousReference { field } => {
            QueryError::InvalidStatement(format!("`{}` is ambiguous: say of which relation", field.name))
        }
        other => QueryError::InvalidStatement(clean(&other.to_string())),
    }
}

/// Names that one hint offers.
const OFFERED: usize = 20;

fn hint(field: &Column, valid: &[Column]) -> String {
    let same_but_case = valid.iter().find(|other| other.name.to_lowercase() == field.name.to_lowercase());
    if let Some(other) = same_but_case {
        return format!("; unquoted names fold to lower case, write \"{}\"", other.name.replace('"', "\"\""));
    }
    if valid.is_empty() {
        return String::new();
    }
    // A column that several relations have is there once for each.
    let mut seen = HashSet::new();
    let all = valid.iter().map(|column| column.name.as_str()).filter(|&name| seen.insert(name));
    let mut names: Vec<String> = all.take(OFFERED + 1).map(|name| format!("\"{name}\"")).collect();
    if names.len() > OFFERED {
        names.truncate(OFFERED);
        names.push("…".to_owned());
    }
    format!("; there are {}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_found_below_their_wrappings() {
        let cause = DataFusionError::ArrowError(Box::new(ArrowError::DivideByZero), None);
        let wrapped = DataFusionError::External(Box::new(DataFusionError::Shared(std::sync::Arc::new(
            DataFusionError::Context("somewhere".to_owned(), Box::new(cause)),
        ))));
        assert_eq!(translate(&wrapped, Budgets::default()).code(), "evaluation_failed");
    }

    #[test]
    fn subqueries_that_cannot_be_planned_are_told_in_words_of_sql() {
        let text = "Physical plan does not support logical expression ScalarSubquery(<subquery>)";
        let shown = translate(&DataFusionError::NotImplemented(text.to_owned()), Budgets::default()).to_string();
        assert!(shown.starts_with("a subquery in such a place") && !shown.contains("logical"), "{shown}");
    }

    #[test]
    fn storage_errors_show_no_path() {
        let error = DataFusionError::IoError(std::io::Error::other("/secret/path is gone"));
        let shown = translate(&error, Budgets::default());
        assert_eq!(shown.code(), "storage_unavailable");
        assert!(!shown.to_string().contains("secret"), "{shown}");
    }

    #[test]
    fn a_column_that_differs_in_case_is_offered_quoted() {
        let error = SchemaError::FieldNotFound {
            field: Box::new(Column::from_name("mag")),
            valid_fields: vec![Column::from_name("id"), Column::from_name("Mag")],
        };
        let error = DataFusionError::SchemaError(Box::new(error), Box::new(None));
        assert!(translate(&error, Budgets::default()).to_string().ends_with("write \"Mag\""));
    }

    #[test]
    fn a_column_that_several_relations_have_is_offered_once() {
        let of = |relation: &str, name: &str| Column::new(Some(relation.to_owned()), name);
        let offered = |valid: &[Column]| hint(&Column::from_name("mag"), valid);
        let joined = [of("a", "id"), of("a", "place"), of("b", "id"), of("b", "place"), of("b", "depth")];
        assert_eq!(offered(&joined), "; there are \"id\", \"place\", \"depth\"");
        let many: Vec<Column> = (0..21).map(|n| Column::from_name(format!("c{n}"))).collect();
        assert!(offered(&many).ends_with("\"c19\", …"));
        assert!(offered(&many[..20]).ends_with("\"c19\""));
    }
}
