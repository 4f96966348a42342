//! The words of the API document that more than one request has: names, formats, times.
//!
//! They exist in the document alone. What is sent is text, and whoever uses it checks it; a test holds the two
//! together.

use lakegate_formats::Format;
use utoipa::openapi::schema::{AdditionalProperties, AnyOfBuilder, ArrayBuilder, OneOfBuilder, SchemaType, Type};
use utoipa::openapi::{KnownFormat, Object, ObjectBuilder, RefOr, Schema, SchemaFormat};
use utoipa::{PartialSchema, ToSchema};

/// No control characters, and neither `_` nor `$` first.
const COLUMN: &str = "^[^_$\\u0000-\\u001f\\u007f-\\u009f][^\\u0000-\\u001f\\u007f-\\u009f]*$";

const DATASET: &str = "^[a-z][a-z0-9_]{0,62}\\.[a-z][a-z0-9_]{0,62}$";

macro_rules! words {
    ($($(#[doc = $doc:literal])+ $name:ident = $schema:expr;)*) => {$(
        $(#[doc = $doc])+
        pub(crate) enum $name {}

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                let schema: ObjectBuilder = $schema;
                schema.description(Some([$($doc.trim()),+].join("\n"))).into()
            }
        }

        impl ToSchema for $name {}
    )*};
}

words! {
    /// A namespace, or a dataset's name in it.
    Name = pattern("^[a-z][a-z0-9_]{0,62}$");
    /// `namespace.dataset`.
    DatasetName = pattern(DATASET).examples(["demo.flights"]);
    /// The name of a principal.
    PrincipalName = pattern("^[a-z][a-z0-9_.@-]{0,62}$").examples(["ada"]);
    /// UTF-8 of 1 to 255 bytes without control characters, not starting with `_` or `$`, unique ignoring case.
    ColumnName = pattern(COLUMN)
        .min_length(Some(1))
        .max_length(Some(255))
        .examples(["mag"]);
    /// boolean, smallint, int, bigint, real, double, decimal(p,s), string, binary, date, timestamp, timestamp_ntz,
    /// list<T>, struct<name: T, …>, map<K,V>.
    ColumnType = text().min_length(Some(1)).examples(["double"]);
    /// The format of rows.
    RowFormat = one_of(Format::ALL.map(Format::name));
    /// How long it may take, above zero; the gateway has a default and a maximum.
    Timeout = pattern("^0*[1-9][0-9]{0,9}(ms|s|m|h)$").examples(["30s"]);
    /// True.
    Always = ObjectBuilder::new().schema_type(Type::Boolean).enum_values(Some([true]));
    /// What a token may be used for.
    Action = one_of(["read", "push", "maintain", "manage"]);
    /// `namespace.dataset`, or `namespace.*` for all of a namespace.
    DatasetPattern = pattern("^[a-z][a-z0-9_]{0,62}\\.([a-z][a-z0-9_]{0,62}|\\*)$").examples(["geo.*"]);
    /// An origin, as browsers send it.
    Origin = pattern("^https?://[A-Za-z0-9._:\\[\\]-]+$").max_length(Some(300)).examples(["https://maps.example"]);
    /// The role of a principal; each may do what those before it may.
    Role = one_of(["reader", "writer", "maintainer", "owner"]);
    /// Who may read without a grant: everybody, or nobody.
    Visibility = one_of(["private", "public"]);
    /// What a push does with rows already there.
    Merge = one_of(["append"]);
    /// Written from outside, or made from other datasets.
    Kind = one_of(["root", "derivative"]);
    /// A person or a program.
    PrincipalKind = one_of(["user", "service"]);
    /// `committed`, or `duplicate` when the idempotency key was used before for the same body.
    PushStatus = one_of(["committed", "duplicate"]);
    /// Bytes of a binary format.
    Bytes = text().format(Some(SchemaFormat::KnownFormat(KnownFormat::Binary)));
    /// How far a query is.
    QueryState = one_of(["queued", "planning", "running", "done", "failed", "cancelled"]);
    /// What kind of work a job is.
    JobKind = pattern("^[a-z][a-z0-9_]{0,62}$").examples(["query"]);
    /// A kind of job that can be submitted by itself.
    SubmittedKind = one_of(["query"]);
    /// How far a job is.
    JobState = one_of(["waiting", "running", "done", "failed", "cancelled"]);
    /// A label, as `name:word`.
    Label = pattern("^[A-Za-z0-9_.-]{1,63}:[^\\u0000-\\u001f\\u007f-\\u009f]{1,63}$").examples(["team:maps"]);
    /// Words by name, to find something by.
    Labels = ObjectBuilder::new()
        .schema_type(Type::Object)
        .property_names(Some(Schema::Object(pattern("^[A-Za-z0-9_.-]{1,63}$").build())))
        .additional_properties(Some(AdditionalProperties::RefOr(
            pattern("^[^\\u0000-\\u001f\\u007f-\\u009f]{1,63}$").into(),
        )))
        .max_properties(Some(16));
    /// An id of a query.
    QueryId = id();
    /// Versions by dataset.
    Versions = by_dataset(count());
}

/// Which version of each dataset to read where the statement does not say: a time, or a version or time of each.
pub(crate) enum AsOf {}

impl PartialSchema for AsOf {
    fn schema() -> RefOr<Schema> {
        let each = AnyOfBuilder::new()
            .item(count())
            .item(pattern("^v[0-9]{1,19}$").examples(["v12"]))
            .item(instant())
            .item(day())
            .description(Some("A version or a time."));
        AnyOfBuilder::new()
            .item(instant())
            .item(day())
            .item(by_dataset(each))
            .description(Some(
                "Which version of each dataset to read where the statement does not say: a time, or a version or time \
                 of each.",
            ))
            .into()
    }
}

impl ToSchema for AsOf {}

/// Rows in JSON: values by column.
pub(crate) enum Rows {}

impl PartialSchema for Rows {
    fn schema() -> RefOr<Schema> {
        let row = || ObjectBuilder::new().schema_type(Type::Object).description(Some("Values by column."));
        OneOfBuilder::new()
            .item(ArrayBuilder::new().items(row()).min_items(Some(1)))
            .item(row())
            .description(Some("Rows, or one row."))
            .into()
    }
}

impl ToSchema for Rows {}

/// The values of a statement's parameters.
pub(crate) enum Params {}

impl PartialSchema for Params {
    fn schema() -> RefOr<Schema> {
        let list = ArrayBuilder::new().items(Object::with_type(SchemaType::AnyValue));
        let named = ObjectBuilder::new()
            .schema_type(Type::Object)
            .additional_properties(Some(AdditionalProperties::FreeForm(true)));
        OneOfBuilder::new()
            .item(list.description(Some("For `$1`, `$2`, …")))
            .item(named.description(Some("For `$name`.")))
            .description(Some("The values of the statement's parameters."))
            .into()
    }
}

impl ToSchema for Params {}

/// Text.
pub(crate) fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

/// Text of a pattern.
fn pattern(pattern: &str) -> ObjectBuilder {
    text().pattern(Some(pattern))
}

/// An id that clients may choose.
pub(crate) fn id() -> ObjectBuilder {
    pattern("^[A-Za-z0-9_-]{1,64}$")
}

/// Seconds from 1.
pub(crate) fn seconds() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1))
}

fn count() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0))
}

fn instant() -> ObjectBuilder {
    text().format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime))).examples(["2026-01-31T00:00:00Z"])
}

fn day() -> ObjectBuilder {
    text().format(Some(SchemaFormat::KnownFormat(KnownFormat::Date))).examples(["2026-01-31"])
}

fn one_of<const N: usize>(words: [&str; N]) -> ObjectBuilder {
    text().enum_values(Some(words))
}

/// An object whose members are named as datasets.
fn by_dataset(value: impl Into<RefOr<Schema>>) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .property_names(Some(Schema::Object(pattern(DATASET).build())))
        .additional_properties(Some(AdditionalProperties::RefOr(value.into())))
}
