//! What there is, as drivers ask for it: the columns that `FlightSql.proto` names, for what the caller may see.

use std::collections::BTreeSet;

use arrow::array::{AsArray as _, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Int32Type, UInt32Type};
use arrow_flight::sql::{
    CommandGetCatalogs, CommandGetCrossReference, CommandGetDbSchemas, CommandGetExportedKeys, CommandGetImportedKeys,
    CommandGetPrimaryKeys, CommandGetSqlInfo, CommandGetTableTypes, CommandGetTables, CommandGetXdbcTypeInfo,
    ProstMessageExt, SqlInfo,
};
use lakegate_clients::reader;
use lakegate_e2e::{FlightClient, Gateway, Result};
use serde_json::json;

/// All rows of a command; what was promised came.
async fn all(client: &FlightClient, command: &impl ProstMessageExt) -> Result<RecordBatch> {
    let rows = client.run(command).await?;
    assert_eq!(rows.promised, rows.schema);
    Ok(concat_batches(&rows.schema, &rows.batches)?)
}

fn texts(batch: &RecordBatch, column: &str) -> Vec<String> {
    let values = batch.column_by_name(column).expect(column).as_string::<i32>();
    values.iter().map(|value| value.unwrap_or("NULL").to_owned()).collect()
}

fn columns(batch: &RecordBatch) -> Vec<(String, String, bool)> {
    let of = |field: &arrow::datatypes::FieldRef| {
        let ty = match field.data_type() {
            DataType::Utf8 => "utf8".to_owned(),
            DataType::Int32 => "int32".to_owned(),
            DataType::UInt8 => "uint8".to_owned(),
            DataType::UInt32 => "uint32".to_owned(),
            DataType::Boolean => "bool".to_owned(),
            DataType::Binary => "bytes".to_owned(),
            other => format!("{other}"),
        };
        (field.name().clone(), ty, field.is_nullable())
    };
    batch.schema().fields().iter().map(of).collect()
}

fn expect_columns(batch: &RecordBatch, expected: &[(&str, &str, bool)]) {
    let expected: Vec<_> =
        expected.iter().map(|(name, ty, null)| ((*name).to_owned(), (*ty).to_owned(), *null)).collect();
    assert_eq!(columns(batch), expected);
}

#[tokio::test]
async fn catalogs_schemas_and_table_types() -> Result {
    let gateway = Gateway::demo().await?;
    let client = FlightClient::connect(gateway.flight(), None).await?;
    let catalogs = all(&client, &CommandGetCatalogs {}).await?;
    expect_columns(&catalogs, &[("catalog_name", "utf8", false)]);
    assert_eq!(texts(&catalogs, "catalog_name"), ["lake"]);

    let schemas = |catalog: Option<&str>, pattern: Option<&str>| CommandGetDbSchemas {
        catalog: catalog.map(str::to_owned),
        db_schema_filter_pattern: pattern.map(str::to_owned),
    };
    let found = all(&client, &schemas(None, None)).await?;
    expect_columns(&found, &[("catalog_name", "utf8", true), ("db_schema_name", "utf8", false)]);
    assert_eq!(texts(&found, "db_schema_name"), ["demo", "information_schema"]);
    for (catalog, pattern, expected) in [
        (Some("lake"), None, vec!["demo", "information_schema"]),
        (Some("other"), None, vec![]),
        (None, Some("d%"), vec!["demo"]),
        (None, Some("_emo"), vec!["demo"]),
        (None, Some("information\\_schema"), vec!["information_schema"]),
        (None, Some("de\\_o"), vec![]),
        (None, Some("%"), vec!["demo", "information_schema"]),
        (None, Some("DEMO"), vec![]),
        (None, Some("d.mo"), vec![]),
        (None, Some(""), vec![]),
    ] {
        let found = texts(&all(&client, &schemas(catalog, pattern)).await?, "db_schema_name");
        assert_eq!(found, expected, "{catalog:?} {pattern:?}");
    }
    let types = all(&client, &CommandGetTableTypes {}).await?;
    expect_columns(&types, &[("table_type", "utf8", false)]);
    assert_eq!(texts(&types, "table_type"), ["TABLE", "VIEW"]);
    Ok(())
}

fn tables(schema: Option<&str>, table: Option<&str>, types: &[&str], include_schema: bool) -> CommandGetTables {
    CommandGetTables {
        catalog: None,
        db_schema_filter_pattern: schema.map(str::to_owned),
        table_name_filter_pattern: table.map(str::to_owned),
        table_types: types.iter().map(|&ty| ty.to_owned()).collect(),
        include_schema,
    }
}

#[tokio::test]
async fn tables_with_and_without_their_schemas() -> Result {
    let gateway = Gateway::demo().await?;
    let client = FlightClient::connect(gateway.flight(), None).await?;
    let plain = all(&client, &tables(Some("demo"), None, &[], false)).await?;
    let mut expected = vec![
        ("catalog_name", "utf8", true),
        ("db_schema_name", "utf8", true),
        ("table_name", "utf8", false),
        ("table_type", "utf8", false),
    ];
    expect_columns(&plain, &expected);
    assert_eq!(texts(&plain, "table_name"), ["airports", "earthquakes", "flights"]);
    let with = all(&client, &tables(Some("demo"), None, &[], true)).await?;
    expected.push(("table_schema", "bytes", false));
    expect_columns(&with, &expected);
    let schemas = with.column(4).as_binary::<i32>();
    for (at, name) in texts(&with, "table_name").iter().enumerate() {
        let told = arrow::ipc::convert::try_schema_from_ipc_buffer(schemas.value(at))?;
        let asked = client.ask(&format!("SELECT * FROM demo.{name}")).await?.schema;
        let plain = |schema: &arrow::datatypes::Schema| {
            let fields = schema.fields().iter();
            fields.map(|f| (f.name().clone(), f.data_type().clone())).collect::<Vec<_>>()
        };
        assert_eq!(plain(&told), plain(&asked), "{name}");
        assert_eq!(told.field(0).metadata()["ARROW:FLIGHT:SQL:TABLE_NAME"], *name);
        assert_eq!(told.field(0).metadata()["ARROW:FLIGHT:SQL:SCHEMA_NAME"], "demo");
        assert_eq!(told.field(0).metadata()["ARROW:FLIGHT:SQL:CATALOG_NAME"], "lake");
    }
    for (command, expected) in [
        (tables(None, Some("f%"), &[], false), vec!["flights"]),
        (tables(None, Some("%ts"), &["TABLE"], false), vec!["airports", "flights"]),
        (tables(Some("demo"), None, &["VIEW"], false), vec![]),
        (tables(Some("information_schema"), None, &["VIEW"], true), vec!["columns", "schemata", "tables"]),
        (tables(Some("none"), None, &[], true), vec![]),
    ] {
        assert_eq!(texts(&all(&client, &command).await?, "table_name"), expected, "{command:?}");
    }
    Ok(())
}

#[tokio::test]
async fn what_may_not_be_seen_is_not_listed() -> Result {
    let gateway = Gateway::demo().await?;
    gateway.client().create("lab.secret", &[("id", "bigint")]).await?.expect(201)?;
    let owner = FlightClient::connect(gateway.flight(), Some(gateway.token())).await?;
    let service = FlightClient::connect(gateway.flight(), Some(&reader(gateway.client()).await?)).await?;
    let key = |table: &str| CommandGetPrimaryKeys {
        catalog: None,
        db_schema: Some("lab".to_owned()),
        table: table.to_owned(),
    };
    for (client, seen) in [(&owner, true), (&service, false), (&owner.clone().anonymous(), false)] {
        let names = texts(&all(client, &tables(None, None, &[], false)).await?, "table_name");
        assert_eq!(names.contains(&"secret".to_owned()), seen);
        let schemas = CommandGetDbSchemas { catalog: None, db_schema_filter_pattern: None };
        assert_eq!(texts(&all(client, &schemas).await?, "db_schema_name").contains(&"lab".to_owned()), seen);
        assert_eq!(all(client, &key("secret")).await?.num_rows(), 0);
    }
    for (client, expected) in [
        (&owner, vec!["audit", "jobs", "queries"]),
        (&service, vec!["audit", "jobs", "queries"]),
        (&owner.clone().anonymous(), vec![]),
    ] {
        let system = all(client, &tables(Some("system"), None, &["VIEW"], true)).await?;
        assert_eq!(texts(&system, "table_name"), expected, "what was done is told of to who has done something");
    }
    Ok(())
}

#[tokio::test]
async fn keys_are_those_that_are_declared() -> Result {
    let gateway = Gateway::start().await?;
    let body = json!({
        "name": "lab.keyed",
        "schema": [{"name": "b", "type": "bigint", "nullable": false}, {"name": "a", "type": "string", "nullable": false}],
        "primary_key": ["b", "a"],
    });
    gateway.client().post("/v1/datasets", &body).await?.expect(201)?;
    let client = FlightClient::connect(gateway.flight(), Some(gateway.token())).await?;
    let keyed = CommandGetPrimaryKeys {
        catalog: Some("lake".to_owned()),
        db_schema: Some("lab".to_owned()),
        table: "keyed".to_owned(),
    };
    let found = all(&client, &keyed).await?;
    expect_columns(
        &found,
        &[
            ("catalog_name", "utf8", true),
            ("db_schema_name", "utf8", true),
            ("table_name", "utf8", false),
            ("column_name", "utf8", false),
            ("key_name", "utf8", true),
            ("key_sequence", "int32", false),
        ],
    );
    assert_eq!(texts(&found, "column_name"), ["b", "a"]);
    assert_eq!(found.column(5).as_primitive::<Int32Type>().values().as_ref(), [1, 2]);
    for (catalog, schema, table) in [
        (Some("other"), Some("lab"), "keyed"),
        (None, Some("lab"), "missing"),
        (None, None, "keyed"),
        (None, Some("No"), "keyed"),
    ] {
        let command = CommandGetPrimaryKeys {
            catalog: catalog.map(str::to_owned),
            db_schema: schema.map(str::to_owned),
            table: table.to_owned(),
        };
        assert_eq!(all(&client, &command).await?.num_rows(), 0, "{command:?}");
    }
    let foreign = [
        ("pk_catalog_name", "utf8", true),
        ("pk_db_schema_name", "utf8", true),
        ("pk_table_name", "utf8", false),
        ("pk_column_name", "utf8", false),
        ("fk_catalog_name", "utf8", true),
        ("fk_db_schema_name", "utf8", true),
        ("fk_table_name", "utf8", false),
        ("fk_column_name", "utf8", false),
        ("key_sequence", "int32", false),
        ("fk_key_name", "utf8", true),
        ("pk_key_name", "utf8", true),
        ("update_rule", "uint8", false),
        ("delete_rule", "uint8", false),
    ];
    let (schema, table) = (Some("lab".to_owned()), "keyed".to_owned());
    let exported = CommandGetExportedKeys { catalog: None, db_schema: schema.clone(), table: table.clone() };
    let imported = CommandGetImportedKeys { catalog: None, db_schema: schema.clone(), table: table.clone() };
    let across = CommandGetCrossReference {
        pk_catalog: None,
        pk_db_schema: schema.clone(),
        pk_table: table.clone(),
        fk_catalog: None,
        fk_db_schema: schema,
        fk_table: table,
    };
    for found in [all(&client, &exported).await?, all(&client, &imported).await?, all(&client, &across).await?] {
        expect_columns(&found, &foreign);
        assert_eq!(found.num_rows(), 0);
    }
    Ok(())
}

#[tokio::test]
async fn facts_are_told_all_or_by_number() -> Result {
    let gateway = Gateway::start().await?;
    let client = FlightClient::connect(gateway.flight(), None).await?;
    let everything = all(&client, &CommandGetSqlInfo { info: vec![] }).await?;
    let numbers: BTreeSet<u32> = everything.column(0).as_primitive::<UInt32Type>().values().iter().copied().collect();
    assert_eq!(numbers.len(), everything.num_rows());
    // All that have a name, but for the versions of Substrait, which is not spoken.
    let named = (0..10_000).filter(|number| SqlInfo::try_from(*number).is_ok() && ![6, 7].contains(number));
    let named: BTreeSet<u32> = named.filter_map(|number| u32::try_from(number).ok()).collect();
    assert_eq!(numbers, named);
    let union = everything.column(1).as_union();
    let at = |number: u32| {
        let row = everything.column(0).as_primitive::<UInt32Type>().values().iter().position(|&n| n == number);
        union.value(row.expect("listed"))
    };
    assert_eq!(at(0).as_string::<i32>().value(0), "Lakegate");
    // Vital to SQLAlchemy clients: whether it only reads, and the sign around names.
    assert!(!at(3).as_boolean().value(0));
    assert_eq!(at(504).as_string::<i32>().value(0), "\"");
    let some = all(&client, &CommandGetSqlInfo { info: vec![504, 3, 99_999] }).await?;
    assert_eq!(some.schema(), everything.schema());
    let numbers: BTreeSet<u32> = some.column(0).as_primitive::<UInt32Type>().values().iter().copied().collect();
    assert_eq!(numbers, BTreeSet::from([3, 504]));
    Ok(())
}

#[tokio::test]
async fn types_are_told_all_or_by_number() -> Result {
    let gateway = Gateway::start().await?;
    let client = FlightClient::connect(gateway.flight(), None).await?;
    let everything = all(&client, &CommandGetXdbcTypeInfo { data_type: None }).await?;
    let names = texts(&everything, "type_name");
    for name in
        ["boolean", "smallint", "int", "bigint", "real", "double", "decimal", "string", "binary", "date", "timestamp"]
    {
        assert!(names.contains(&name.to_owned()), "{name} of {names:?}");
    }
    // XDBC_BIGINT
    let bigint = all(&client, &CommandGetXdbcTypeInfo { data_type: Some(-5) }).await?;
    assert_eq!(texts(&bigint, "type_name"), ["bigint"]);
    assert_eq!(bigint.schema(), everything.schema());
    let names: Vec<&str> = vec![
        "type_name",
        "data_type",
        "column_size",
        "literal_prefix",
        "literal_suffix",
        "create_params",
        "nullable",
        "case_sensitive",
        "searchable",
        "unsigned_attribute",
        "fixed_prec_scale",
        "auto_increment",
        "local_type_name",
        "minimum_scale",
        "maximum_scale",
        "sql_data_type",
        "datetime_subcode",
        "num_prec_radix",
        "interval_precision",
    ];
    let schema = everything.schema();
    assert_eq!(schema.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>(), names);
    Ok(())
}
