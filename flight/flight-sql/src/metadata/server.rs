//! What this server is and can do, as drivers ask for it.

use std::collections::HashMap;
use std::sync::LazyLock;

use arrow_flight::sql::metadata::{SqlInfoData, SqlInfoDataBuilder};
use arrow_flight::sql::{SqlInfo, SqlSupportsConvert};

/// Bytes of a statement, and so of a literal.
const MAX_STATEMENT: i64 = lakegate_query::MAX_STATEMENT as i64;
/// Characters of a name.
const MAX_NAME: i64 = 63;

#[expect(clippy::expect_used, reason = "the table below is the same each time")]
static FACTS: LazyLock<SqlInfoData> = LazyLock::new(|| table().build().expect("a table of constants"));

/// All facts; a request that names none gets them all.
pub(super) fn facts() -> &'static SqlInfoData {
    &FACTS
}

/// What `CAST` makes of what, by `SqlSupportsConvert` of `FlightSql.proto`.
fn conversions() -> HashMap<i32, Vec<i32>> {
    use SqlSupportsConvert as C;
    let numbers = [
        C::SqlConvertBigint,
        C::SqlConvertDecimal,
        C::SqlConvertFloat,
        C::SqlConvertInteger,
        C::SqlConvertNumeric,
        C::SqlConvertReal,
        C::SqlConvertSmallint,
    ];
    let text = [C::SqlConvertVarchar];
    let times = [C::SqlConvertDate, C::SqlConvertTimestamp];
    let of_number = [&numbers[..], &text, &[C::SqlConvertBit]].concat();
    let of_text = [&numbers[..], &times, &text, &[C::SqlConvertBit]].concat();
    let rows = numbers.map(|number| (number, of_number.clone())).into_iter();
    let rows = rows.chain(times.map(|time| (time, [&times[..], &text].concat())));
    let rows = rows.chain([(C::SqlConvertBit, of_number.clone()), (C::SqlConvertVarchar, of_text)]);
    rows.map(|(from, to)| (from as i32, to.into_iter().map(|to| to as i32).collect())).collect()
}

fn table() -> SqlInfoDataBuilder {
    use SqlInfo as I;
    let mut facts = SqlInfoDataBuilder::new();
    let text = [
        (I::FlightSqlServerName, "Lakegate"),
        (I::FlightSqlServerVersion, env!("CARGO_PKG_VERSION")),
        (I::FlightSqlServerArrowVersion, arrow::ARROW_VERSION),
        (I::SqlIdentifierQuoteChar, "\""),
        (I::SqlSearchStringEscape, "\\"),
        (I::SqlExtraNameCharacters, ""),
        (I::SqlSchemaTerm, "namespace"),
        (I::SqlProcedureTerm, ""),
        (I::SqlCatalogTerm, "catalog"),
    ];
    for (fact, value) in text {
        facts.append(fact, value);
    }
    let truths = [
        // Rows can be ingested.
        (I::FlightSqlServerReadOnly, false),
        (I::FlightSqlServerSql, true),
        (I::FlightSqlServerSubstrait, false),
        (I::FlightSqlServerCancel, true),
        (I::FlightSqlServerBulkIngestion, true),
        (I::FlightSqlServerIngestTransactionsSupported, false),
        (I::SqlDdlCatalog, false),
        (I::SqlDdlSchema, false),
        (I::SqlDdlTable, false),
        (I::SqlAllTablesAreSelectable, true),
        (I::SqlSupportsColumnAliasing, true),
        (I::SqlNullPlusNullIsNull, true),
        (I::SqlSupportsTableCorrelationNames, true),
        (I::SqlSupportsDifferentTableCorrelationNames, false),
        (I::SqlSupportsExpressionsInOrderBy, true),
        (I::SqlSupportsOrderByUnrelated, true),
        (I::SqlSupportsLikeEscapeClause, true),
        (I::SqlSupportsNonNullableColumns, true),
        (I::SqlSupportsIntegrityEnhancementFacility, false),
        (I::SqlCatalogAtStart, true),
        (I::SqlSelectForUpdateSupported, false),
        (I::SqlStoredProceduresSupported, false),
        (I::SqlCorrelatedSubqueriesSupported, true),
        (I::SqlMaxRowSizeIncludesBlobs, true),
        (I::SqlTransactionsSupported, false),
        (I::SqlDataDefinitionCausesTransactionCommit, false),
        (I::SqlDataDefinitionsInTransactionsIgnored, false),
        (I::SqlBatchUpdatesSupported, false),
        (I::SqlSavepointsSupported, false),
        (I::SqlNamedParametersSupported, false),
        (I::SqlLocatorsUpdateCopy, false),
        (I::SqlStoredFunctionsUsingCallSyntaxSupported, false),
    ];
    for (fact, value) in truths {
        facts.append(fact, value);
    }
    // Ordinals and bit masks, by the enumerations of `FlightSql.proto`.
    let masks = [
        (I::FlightSqlServerTransaction, 0),
        // A day, in milliseconds.
        (I::FlightSqlServerStatementTimeout, 86_400_000),
        (I::FlightSqlServerTransactionTimeout, 0),
        // Unquoted names fold to lower case; quoted ones are what they are.
        (I::SqlIdentifierCase, 3),
        (I::SqlQuotedIdentifierCase, 0),
        // NULLs come last, ascending, and first, descending: they are the highest.
        (I::SqlNullOrdering, 0),
        (I::SqlSupportedGroupBy, 0b11),
        (I::SqlSupportedGrammar, 0b11),
        (I::SqlAnsi92SupportedLevel, 0b1),
        (I::SqlOuterJoinsSupportLevel, 0b10),
        (I::SqlSchemasSupportedActions, 0),
        (I::SqlCatalogsSupportedActions, 0),
        (I::SqlSupportedPositionedCommands, 0),
        (I::SqlSupportedSubqueries, 0b0111),
        (I::SqlSupportedUnions, 0b11),
        (I::SqlDefaultTransactionIsolation, 0),
        (I::SqlSupportedTransactionsIsolationLevels, 0b1),
        (I::SqlSupportedResultSetTypes, 0b10),
        (I::SqlSupportedConcurrenciesForResultSetUnspecified, 0),
        (I::SqlSupportedConcurrenciesForResultSetForwardOnly, 0b10),
        (I::SqlSupportedConcurrenciesForResultSetScrollSensitive, 0),
        (I::SqlSupportedConcurrenciesForResultSetScrollInsensitive, 0),
    ];
    for (fact, value) in masks {
        facts.append(fact, value);
    }
    // 0 is no limit, or none that is known.
    let counts = [
        (I::SqlMaxBinaryLiteralLength, MAX_STATEMENT),
        (I::SqlMaxCharLiteralLength, MAX_STATEMENT),
        (I::SqlMaxColumnNameLength, 0),
        (I::SqlMaxColumnsInGroupBy, 0),
        (I::SqlMaxColumnsInIndex, 0),
        (I::SqlMaxColumnsInOrderBy, 0),
        (I::SqlMaxColumnsInSelect, 0),
        (I::SqlMaxColumnsInTable, lakegate_formats::MAX_COLUMNS as i64),
        (I::SqlMaxConnections, 0),
        (I::SqlMaxCursorNameLength, 0),
        (I::SqlMaxIndexLength, 0),
        (I::SqlDbSchemaNameLength, MAX_NAME),
        (I::SqlMaxProcedureNameLength, 0),
        (I::SqlMaxCatalogNameLength, MAX_NAME),
        (I::SqlMaxRowSize, 0),
        (I::SqlMaxStatementLength, MAX_STATEMENT),
        (I::SqlMaxStatements, 0),
        (I::SqlMaxTableNameLength, MAX_NAME),
        (I::SqlMaxTablesInSelect, 0),
        (I::SqlMaxUsernameLength, 0),
    ];
    for (fact, value) in counts {
        facts.append(fact, value);
    }
    facts.append(I::SqlSupportsConvert, conversions());
    let lists: [(I, &[&str]); 5] = [
        (I::SqlKeywords, &["EXPLAIN", "ILIKE", "QUALIFY", "SHOW", "DESCRIBE"]),
        (
            I::SqlNumericFunctions,
            &["abs", "ceil", "exp", "floor", "ln", "log", "mod", "power", "round", "sign", "sqrt", "trunc"],
        ),
        (
            I::SqlStringFunctions,
            &[
                "btrim",
                "char_length",
                "concat",
                "left",
                "lower",
                "lpad",
                "ltrim",
                "position",
                "repeat",
                "replace",
                "reverse",
                "right",
                "rpad",
                "rtrim",
                "split_part",
                "strpos",
                "substr",
                "upper",
            ],
        ),
        (I::SqlSystemFunctions, &["coalesce", "nullif"]),
        (
            I::SqlDatetimeFunctions,
            &["current_date", "date_bin", "date_part", "date_trunc", "extract", "now", "to_timestamp"],
        ),
    ];
    for (fact, value) in lists {
        facts.append(fact, value);
    }
    facts
}
