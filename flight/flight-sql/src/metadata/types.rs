//! The types of columns, as ODBC and JDBC drivers ask for them.

use std::sync::LazyLock;

use arrow_flight::sql::metadata::{XdbcTypeInfo, XdbcTypeInfoData, XdbcTypeInfoDataBuilder};
use arrow_flight::sql::{Nullable, Searchable, XdbcDataType, XdbcDatetimeSubcode};

#[expect(clippy::expect_used, reason = "the table below is the same each time")]
static ALL: LazyLock<XdbcTypeInfoData> = LazyLock::new(|| {
    let mut types = XdbcTypeInfoDataBuilder::new();
    for ty in table() {
        types.append(ty);
    }
    types.build().expect("a table of constants")
});

/// All types.
pub(super) fn all() -> &'static XdbcTypeInfoData {
    &ALL
}

fn named(name: &str, ty: XdbcDataType) -> XdbcTypeInfo {
    XdbcTypeInfo {
        type_name: name.to_owned(),
        data_type: ty,
        sql_data_type: ty,
        nullable: Nullable::NullabilityNullable,
        searchable: Searchable::Full,
        auto_increment: Some(false),
        local_type_name: Some(name.to_owned()),
        ..XdbcTypeInfo::default()
    }
}

/// A number of so many digits in this base.
fn number(name: &str, ty: XdbcDataType, digits: i32, base: i32) -> XdbcTypeInfo {
    XdbcTypeInfo {
        column_size: Some(digits),
        unsigned_attribute: Some(false),
        num_prec_radix: Some(base),
        searchable: Searchable::Basic,
        ..named(name, ty)
    }
}

/// A type whose literals stand in quotes.
fn quoted(name: &str, ty: XdbcDataType, size: i32, before: &str) -> XdbcTypeInfo {
    XdbcTypeInfo {
        column_size: Some(size),
        literal_prefix: Some(before.to_owned()),
        literal_suffix: Some("'".to_owned()),
        ..named(name, ty)
    }
}

fn table() -> Vec<XdbcTypeInfo> {
    let time = |name: &str, before: &str| XdbcTypeInfo {
        sql_data_type: XdbcDataType::XdbcDatetime,
        datetime_subcode: Some(XdbcDatetimeSubcode::XdbcSubcodeTimestamp),
        minimum_scale: Some(6),
        maximum_scale: Some(6),
        ..quoted(name, XdbcDataType::XdbcTimestamp, 26, before)
    };
    vec![
        XdbcTypeInfo { column_size: Some(1), ..named("boolean", XdbcDataType::XdbcBit) },
        number("smallint", XdbcDataType::XdbcSmallint, 5, 10),
        number("int", XdbcDataType::XdbcInteger, 10, 10),
        number("bigint", XdbcDataType::XdbcBigint, 19, 10),
        number("real", XdbcDataType::XdbcReal, 24, 2),
        number("double", XdbcDataType::XdbcDouble, 53, 2),
        XdbcTypeInfo {
            create_params: Some(vec!["precision".to_owned(), "scale".to_owned()]),
            minimum_scale: Some(0),
            maximum_scale: Some(38),
            ..number("decimal", XdbcDataType::XdbcDecimal, 38, 10)
        },
        XdbcTypeInfo { case_sensitive: true, ..quoted("string", XdbcDataType::XdbcVarchar, i32::MAX, "'") },
        quoted("binary", XdbcDataType::XdbcVarbinary, i32::MAX, "X'"),
        XdbcTypeInfo {
            sql_data_type: XdbcDataType::XdbcDatetime,
            // 1 is a date here, and a year among intervals.
            datetime_subcode: Some(XdbcDatetimeSubcode::XdbcSubcodeYear),
            ..quoted("date", XdbcDataType::XdbcDate, 10, "DATE '")
        },
        time("timestamp", "TIMESTAMP '"),
        time("timestamp_ntz", "TIMESTAMP '"),
    ]
}
