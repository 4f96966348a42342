//! Datasets: the record and the trait that keeps it.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::access::Caller;
use crate::column::Column;
use crate::error::{CatalogError, Result};
use crate::ids::{DatasetId, PrincipalId};
use crate::name::{DatasetName, Namespace};
use crate::page::{Listing, Page};
use crate::policy::Policy;

/// Where a dataset's rows come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DatasetKind {
    /// Written from outside: push, bulk ingest, import.
    Root,
    /// Defined by SQL over other datasets.
    Derivative,
}

/// What a push does with rows that are already there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MergeStrategy {
    /// Adds the rows.
    Append,
}

/// Who may read without a grant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Visibility {
    /// Anyone, also without a token.
    Public,
    /// Only principals with a role on it.
    #[default]
    Private,
}

impl Visibility {
    /// The word of the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Private => "private",
        }
    }
}

/// The geometry column of a dataset that has one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GeometryColumn {
    /// The column's name.
    pub column: String,
    /// Its coordinate reference system, such as `EPSG:4326`.
    pub crs: String,
}

/// What the catalog knows of one dataset. Its version and rows are in storage, not here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dataset {
    /// Names it for ever, also after a rename; names its folder in storage.
    pub id: DatasetId,
    /// The name in SQL and URLs.
    pub name: DatasetName,
    /// Where rows come from.
    pub kind: DatasetKind,
    /// The columns, in order.
    pub schema: Vec<Column>,
    /// The version of the table that these columns were read from.
    pub schema_version: u64,
    /// Columns that identify a row; empty when nothing does.
    pub primary_key: Vec<String>,
    /// What a push does with rows already there.
    pub merge: MergeStrategy,
    /// The column that says when a row happened, where one does.
    pub event_time: Option<String>,
    /// The geometry column, where there is one.
    pub geometry: Option<GeometryColumn>,
    /// Who may read without a grant.
    pub visibility: Visibility,
    /// What its readers get of it; all of it when there is none.
    #[serde(default)]
    pub policy: Option<Policy>,
    /// Free text for people.
    pub description: String,
    /// When it was created; microseconds are kept.
    pub created_at: DateTime<Utc>,
    /// When this record last changed.
    pub updated_at: DateTime<Utc>,
}

fn json_size(value: &impl Serialize) -> u64 {
    serde_json::to_string(value).map_or(0, |json| json.len() as u64)
}

fn size(schema: &[Column], description: &str) -> u64 {
    json_size(&schema) + json_size(&description)
}

impl Dataset {
    /// Bytes of records, by [`Dataset::size`], that are gathered for one answer at most.
    pub const MAX_GATHERED: u64 = 128 << 20;

    /// Bytes of what may be long of it, its columns, its policy and its description, as JSON.
    pub fn size(&self) -> u64 {
        size(&self.schema, &self.description) + self.policy.as_ref().map_or(0, json_size)
    }

    fn forget_lost_columns(&mut self) {
        let has = |name: &String| self.schema.iter().any(|column| column.name == *name);
        let (has_key, has_time) = (self.primary_key.iter().all(has), self.event_time.iter().all(has));
        let has_geometry = self.geometry.iter().all(|geometry| has(&geometry.column));
        if !has_key {
            self.primary_key = Vec::new();
            self.merge = MergeStrategy::Append;
        }
        self.event_time = self.event_time.take().filter(|_| has_time);
        self.geometry = self.geometry.take().filter(|_| has_geometry);
    }

    /// The columns by which rows are best kept sorted: when they happened, else what identifies them; none when neither
    /// is known.
    pub fn order(&self) -> Vec<String> {
        match &self.event_time {
            Some(column) => vec![column.clone()],
            None => self.primary_key.clone(),
        }
    }
}

/// A dataset to create.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewDataset {
    /// The id, chosen by the caller so that storage can be prepared first.
    pub id: DatasetId,
    /// The name; must be free.
    pub name: DatasetName,
    /// Where rows come from.
    pub kind: DatasetKind,
    /// The columns, at least one.
    pub schema: Vec<Column>,
    /// Columns that identify a row.
    pub primary_key: Vec<String>,
    /// What a push does with rows already there.
    pub merge: MergeStrategy,
    /// The column that says when a row happened.
    pub event_time: Option<String>,
    /// The geometry column.
    pub geometry: Option<GeometryColumn>,
    /// Who may read without a grant.
    pub visibility: Visibility,
    /// Free text.
    pub description: String,
}

impl NewDataset {
    /// [`Dataset::size`] of the dataset that it becomes.
    pub fn size(&self) -> u64 {
        size(&self.schema, &self.description)
    }

    /// A private root dataset with these columns and nothing else set.
    pub fn root(name: DatasetName, schema: Vec<Column>) -> Self {
        Self {
            id: DatasetId::generate(),
            name,
            kind: DatasetKind::Root,
            schema,
            primary_key: Vec::new(),
            merge: MergeStrategy::Append,
            event_time: None,
            geometry: None,
            visibility: Visibility::Private,
            description: String::new(),
        }
    }

    /// Checks what needs no look-up; every implementation calls it before it stores anything. The
    /// columns follow [`Column::check_all`], and every column that another field names exists.
    pub fn check(&self) -> Result<()> {
        if self.schema.is_empty() {
            return Err(invalid("dataset", &self.name.to_string(), "it must have at least one column"));
        }
        Column::check_all(&self.schema)?;
        let named = self.primary_key.iter().chain(&self.event_time).chain(self.geometry.iter().map(|g| &g.column));
        for name in named {
            if !self.schema.iter().any(|column| column.name == *name) {
                return Err(invalid("column name", name, "the schema has no such column"));
            }
        }
        let texts = [Some(&self.description), self.geometry.as_ref().map(|g| &g.crs)];
        texts.into_iter().flatten().try_for_each(|text| check_text(text))
    }
}

/// Characters that a free text may have.
const MAX_TEXT: usize = 10_000;

fn check_text(text: &str) -> Result<()> {
    if text.contains('\0') || text.chars().count() > MAX_TEXT {
        return Err(invalid("description", text, "it must be at most 10,000 characters without NUL"));
    }
    Ok(())
}

/// What to change of a dataset; what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetChange {
    /// Free text for people.
    pub description: Option<String>,
    /// Who may read without a grant.
    pub visibility: Option<Visibility>,
    /// What readers get of it; an empty one takes it away.
    pub policy: Option<Policy>,
    /// All columns that the table has. Whoever comes first: those of the later version count.
    pub columns: Option<ColumnsAt>,
}

/// The columns of a version of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnsAt {
    /// The version.
    pub version: u64,
    /// Its columns, in order.
    pub columns: Vec<Column>,
}

impl DatasetChange {
    /// Checks what needs no look-up; every implementation calls it before it stores anything.
    pub fn check(&self) -> Result<()> {
        self.columns.as_ref().map_or(Ok(()), |known| Column::check_all(&known.columns))?;
        self.policy.as_ref().map_or(Ok(()), Policy::check)?;
        self.description.as_deref().map_or(Ok(()), check_text)
    }

    /// Makes the change; the time is the caller's. What names a column that is there no more is forgotten with it.
    pub fn apply(self, dataset: &mut Dataset) {
        if let Some(ColumnsAt { version, columns }) =
            self.columns.filter(|known| known.version > dataset.schema_version)
        {
            dataset.schema = columns;
            dataset.schema_version = version;
            dataset.forget_lost_columns();
        }
        if let Some(policy) = self.policy {
            dataset.policy = Some(policy).filter(|policy| !policy.is_empty());
        }
        if let Some(description) = self.description {
            dataset.description = description;
        }
        if let Some(visibility) = self.visibility {
            dataset.visibility = visibility;
        }
    }
}

fn invalid(what: &'static str, value: &str, why: &str) -> CatalogError {
    CatalogError::Invalid { what: what.into(), value: value.chars().take(80).collect(), why: why.to_owned() }
}

/// A namespace as lists have it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespaceRecord {
    /// The name.
    pub name: Namespace,
    /// When it was created; microseconds are kept.
    pub created_at: DateTime<Utc>,
}

/// A dataset that was deleted and whose files wait to be removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    /// The deleted dataset.
    pub id: DatasetId,
    /// When it was deleted; readers that started before may still need the files for a while.
    pub deleted_at: DateTime<Utc>,
}

/// Namespaces and datasets.
#[async_trait]
pub trait Datasets: Send + Sync {
    /// Creates a namespace if it does not exist; true when it was new.
    async fn ensure_namespace(&self, namespace: &Namespace) -> Result<bool>;

    /// Whether the namespace exists.
    async fn namespace_exists(&self, namespace: &Namespace) -> Result<bool>;

    /// The namespaces that `caller` may see, by name: those on which it has a role, and those of datasets that it may see.
    /// Errors: `Invalid` for a cursor that no listing gave.
    async fn list_namespaces(&self, caller: &Caller, page: &Page) -> Result<Listing<NamespaceRecord>>;

    /// Deletes a namespace that has no dataset, with the grants on it. Errors: `NotFound`, `NotEmpty`.
    async fn delete_namespace(&self, namespace: &Namespace) -> Result<()>;

    /// Creates a dataset in an existing namespace and makes `owner` its owner, both or neither.
    ///
    /// [`NewDataset::check`] must pass. Errors: `AlreadyExists` for the name, or for an id that a dataset
    /// or a tombstone has; `NotFound` for the namespace or the owner; `Invalid`.
    async fn create_dataset(&self, dataset: NewDataset, owner: PrincipalId) -> Result<Dataset>;

    /// The dataset with this name; `None` when there is none. Does not look at rights.
    async fn dataset(&self, name: &DatasetName) -> Result<Option<Dataset>>;

    /// The dataset with this id; `None` when there is none. Does not look at rights.
    async fn dataset_by_id(&self, id: DatasetId) -> Result<Option<Dataset>>;

    /// The datasets that `caller` may see, by name, optionally of one namespace only; a page ends at [`Page::MAX_BYTES`].
    /// Errors: `Invalid` for a cursor that no listing gave.
    async fn list_datasets(
        &self,
        caller: &Caller,
        namespace: Option<&Namespace>,
        page: &Page,
    ) -> Result<Listing<Dataset>>;

    /// Changes a dataset, all of it or nothing, and answers what it is then. Of changes at the same time none is
    /// lost. [`DatasetChange::check`] says what is refused. Errors: `NotFound`, `Invalid`.
    async fn update_dataset(&self, id: DatasetId, change: DatasetChange) -> Result<Dataset>;

    /// Takes the dataset and its grants away and leaves a [`Tombstone`]. Errors: `NotFound`.
    async fn delete_dataset(&self, id: DatasetId) -> Result<()>;

    /// Deleted datasets whose files are not known to be gone, oldest first, at most 1,000.
    async fn tombstones(&self) -> Result<Vec<Tombstone>>;

    /// Forgets a tombstone once its files are gone; nothing happens when there is none.
    async fn forget_tombstone(&self, id: DatasetId) -> Result<()>;
}
