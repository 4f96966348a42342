//! What the API document says of answers with rows.

use std::collections::BTreeMap;

use lakegate_formats::Format;
use serde::Serialize;
use utoipa::openapi::{Content, ContentBuilder, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoResponses, ToSchema};

use crate::refusals::header;
use crate::words;

/// A JSON answer. The other formats are the rows alone.
#[derive(Serialize, ToSchema)]
pub(crate) struct Answer {
    #[schema(value_type = words::QueryId)]
    query_id: String,
    schema: Vec<AnswerColumn>,
    rows: Vec<serde_json::Map<String, serde_json::Value>>,
    row_count: u64,
    /// Whether there were more rows than `limit`.
    truncated: bool,
    /// The version of each dataset that was read.
    #[schema(value_type = words::Versions)]
    versions: BTreeMap<String, u64>,
    elapsed_ms: u64,
    /// Why the rows end where they do, when that is an error.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<AnswerError>,
}

/// A column of an answer.
#[derive(Serialize, ToSchema)]
pub(crate) struct AnswerColumn {
    /// As in the statement; the second of two that are the same ends in `_2`.
    name: String,
    #[serde(rename = "type")]
    #[schema(value_type = words::ColumnType)]
    ty: String,
    nullable: bool,
}

/// What ended an answer that had begun.
#[derive(Serialize, ToSchema)]
pub(crate) struct AnswerError {
    /// The stable code to program against.
    code: String,
    /// What is wrong, and what to do.
    detail: String,
}

macro_rules! answers {
    ($($(#[doc = $doc:literal])+ $name:ident: $headers:expr;)*) => {$(
        $(#[doc = $doc])+
        pub(crate) enum $name {}

        impl IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                BTreeMap::from([("200".to_owned(), rows($headers).into())])
            }
        }
    )*};
}

answers! {
    /// Rows that no cache keeps.
    Rows: &[];
    /// Rows that may be asked for again.
    TaggedRows: &[("ETag", "Names these rows; absent when they depend on time or chance"),
        ("Vary", "What else decides the answer")];
    /// A page of a dataset.
    RowsOfDataset: &[("Lakegate-Next-Cursor", "The cursor of the next page; absent at the end")];
}

/// Rows in every format.
fn rows(headers: &[(&str, &str)]) -> Response {
    let mut response = ResponseBuilder::new()
        .description("The rows")
        .header("Lakegate-Query-Id", header(words::id(), "The query's id, for `/v1/queries/{id}`"))
        .header("Lakegate-Versions", header(words::text(), "What was read, as `ns.a=12, ns.b=3`"))
        .header("Cache-Control", header(words::text(), "Whether a cache may keep it"));
    for (name, description) in headers {
        response = response.header(*name, header(words::text(), description));
    }
    Format::ALL
        .into_iter()
        .fold(response, |response, format| response.content(format.media_type(), content(format)))
        .build()
}

fn content(format: Format) -> Content {
    let content = ContentBuilder::new();
    match format {
        Format::Json => content.schema(Some(Ref::from_schema_name(Answer::name()))),
        Format::NdJson | Format::Csv => content.schema(Some(words::text())),
        // Bytes have no schema (OpenAPI 3.1, 4.8.14).
        Format::ArrowStream | Format::ArrowFile | Format::Parquet => content,
    }
    .build()
}
