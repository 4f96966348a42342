//! Runs `.slt` cases against the real binary, over REST and over Flight, with the demo data.
//!
//! [`Session`] is a database to the sqllogictest runner. A case is a statement and the rows that must
//! come, or `query error` and a pattern that the error must match; errors read `code: detail`.
//!
//! Columns are `I` (integers), `R` (real, double, decimal), `T` (string), `B` (boolean) and `?` (all
//! others). Values are as in JSON answers; NULL is `NULL`, empty text is `(empty)`, a line break in a text
//! is `\n`.

use std::path::{Path, PathBuf};

use arrow::array::ArrayRef;
use arrow::datatypes::FieldRef;
use async_trait::async_trait;
use lakegate_e2e::flight::code;
use lakegate_e2e::{Client, FlightClient, Gateway, Result};
use serde_json::{Value, json};
use sqllogictest::{AsyncDB, ColumnType, DBOutput, Runner};

/// The kind of a column, as the cases write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Integers.
    Integer,
    /// Numbers with a fraction.
    Real,
    /// Text.
    Text,
    /// True or false.
    Boolean,
    /// Everything else.
    Other,
}

impl Kind {
    const LETTERS: [(Self, char); 5] =
        [(Self::Integer, 'I'), (Self::Real, 'R'), (Self::Text, 'T'), (Self::Boolean, 'B'), (Self::Other, '?')];

    fn of(ty: &str) -> Self {
        match ty {
            "smallint" | "int" | "bigint" => Self::Integer,
            "real" | "double" => Self::Real,
            "string" => Self::Text,
            "boolean" => Self::Boolean,
            _ if ty.starts_with("decimal(") => Self::Real,
            _ => Self::Other,
        }
    }
}

impl ColumnType for Kind {
    fn from_char(letter: char) -> Option<Self> {
        Self::LETTERS.iter().find(|(_, c)| *c == letter).map(|(kind, _)| *kind)
    }

    fn to_char(&self) -> char {
        Self::LETTERS.iter().find(|(kind, _)| kind == self).map_or('?', |(_, c)| *c)
    }
}

/// What a statement failed with, `code: detail`.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Failure(String);

/// The protocol that statements are sent by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// JSON over HTTP.
    Rest,
    /// Flight SQL. What was promised must come: the schema of the flight info is that of the rows.
    Flight,
}

/// The demo, asked as anyone may ask it.
#[derive(Clone, Debug)]
pub enum Session {
    /// By [`Way::Rest`].
    Rest(Client),
    /// By [`Way::Flight`].
    Flight(FlightClient),
}

#[async_trait]
impl AsyncDB for Session {
    type Error = Failure;
    type ColumnType = Kind;

    async fn run(&mut self, sql: &str) -> std::result::Result<DBOutput<Kind>, Failure> {
        match self {
            Self::Rest(client) => over_rest(client, sql).await,
            Self::Flight(client) => over_flight(client, sql).await,
        }
    }

    async fn shutdown(&mut self) {}

    fn engine_name(&self) -> &'static str {
        "lakegate"
    }
}

fn failure(error: impl std::fmt::Display) -> Failure {
    Failure(error.to_string())
}

async fn over_rest(client: &Client, sql: &str) -> std::result::Result<DBOutput<Kind>, Failure> {
    let answer = client.query(sql).await.map_err(failure)?;
    let body = answer.json().map_err(failure)?;
    let failed = if answer.status == 200 { body.get("error") } else { Some(&body) };
    if let Some(problem) = failed {
        return Err(Failure(format!("{}: {}", written(&problem["code"]), written(&problem["detail"]))));
    }
    let columns: Vec<(String, Kind)> = array(&body["schema"])
        .map(|column| (written(&column["name"]), Kind::of(column["type"].as_str().unwrap_or_default())))
        .collect();
    let rows = array(&body["rows"]);
    let rows = rows.map(|row| columns.iter().map(|(name, _)| written(&row[name])).collect()).collect();
    Ok(DBOutput::Rows { types: columns.into_iter().map(|(_, kind)| kind).collect(), rows })
}

async fn over_flight(client: &FlightClient, sql: &str) -> std::result::Result<DBOutput<Kind>, Failure> {
    let asked = client.ask(sql).await;
    let answer = asked.map_err(|status| Failure(format!("{}: {}", code(&status), status.message())))?;
    if answer.promised != answer.schema {
        return Err(Failure(format!("promised: {:?}; came: {:?}", answer.promised, answer.schema)));
    }
    let ty =
        |field: &FieldRef| field.metadata().get("ARROW:FLIGHT:SQL:TYPE_NAME").map_or("", String::as_str).to_owned();
    let types = answer.schema.fields().iter().map(|field| Kind::of(&ty(field))).collect();
    let mut rows = Vec::new();
    for batch in &answer.batches {
        for row in 0..batch.num_rows() {
            rows.push(batch.columns().iter().map(|column| value(column, row)).collect::<Result<_, _>>()?);
        }
    }
    Ok(DBOutput::Rows { types, rows })
}

/// The value as a JSON answer has it.
fn value(column: &ArrayRef, row: usize) -> std::result::Result<String, Failure> {
    let mut json = Vec::new();
    lakegate_formats::value_to_json(column, row, &mut json).map_err(failure)?;
    Ok(written(&serde_json::from_slice(&json).map_err(failure)?))
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn written(value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::String(text) if text.is_empty() => "(empty)".to_owned(),
        Value::String(text) => text.replace('\n', "\\n"),
        other => other.to_string(),
    }
}

/// Where the cases are.
pub fn cases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cases")
}

/// A gateway with the demo data and one private dataset that nobody but its owner sees.
pub async fn gateway() -> Result<Gateway> {
    let gateway = Gateway::demo().await?;
    let body = json!({ "name": "demo.hidden", "schema": [{ "name": "id", "type": "bigint" }] });
    gateway.client().post("/v1/datasets", &body).await?.expect(201)?;
    let notes = json!({
        "name": "demo.notes",
        "visibility": "public",
        "schema": [{ "name": "id", "type": "bigint" }, { "name": "note", "type": "string" }],
    });
    gateway.client().post("/v1/datasets", &notes).await?.expect(201)?;
    let rows = [
        json!({ "id": 1, "note": r#"{"kind":"call","minutes":12,"who":{"name":"Ada"},"tags":["a","b"]}"# }),
        json!({ "id": 2, "note": r#"{"kind":"mail","minutes":null}"# }),
        json!({ "id": 3, "note": "not json" }),
        json!({ "id": 4, "note": null }),
    ];
    gateway.client().push("demo.notes", rows.map(|row| row.to_string()).join("\n")).await?.expect(200)?;
    Ok(gateway)
}

/// Runs sessions on a gateway, without a token.
pub async fn runner(
    gateway: &Gateway,
    way: Way,
) -> Result<Runner<Session, impl sqllogictest::MakeConnection<Conn = Session> + use<>>> {
    let session = match way {
        Way::Rest => Session::Rest(gateway.client().anonymous()),
        Way::Flight => Session::Flight(FlightClient::connect(gateway.flight(), None).await?),
    };
    let mut runner = Runner::new(move || {
        let session = session.clone();
        async move { Ok::<_, Failure>(session) }
    });
    runner.with_column_validator(sqllogictest::strict_column_validator);
    Ok(runner)
}
