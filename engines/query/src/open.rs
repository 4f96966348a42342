//! Opening what a statement names: the datasets that its caller may see, each at one version.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use futures::stream::{self, StreamExt, TryStreamExt};
use lakegate_catalog::{Access, Caller, Catalog, Dataset, DatasetId, DatasetName, ErrorKind, Role};
use lakegate_lake::{Lake, LakeError, Snapshot, Table};
use lakegate_statement::{AsOf, Moment, Part, Relation, StatementError};

use crate::account::Read;
use crate::error::{QueryError, Result};
use crate::information_schema;
use crate::planner::Planner;
use crate::policy::{self, Held, Rules};
use crate::session::{Opened, Sessions};
use crate::system::{self, Whose};
use crate::versions;

/// Questions of one statement that the catalog, or the storage, is asked side by side.
pub(crate) const SIDE_BY_SIDE: usize = 16;

/// What a statement reads.
#[derive(Default)]
pub(crate) struct Reading {
    pub(crate) relations: Vec<Opened>,
    /// The versions read, of each dataset.
    read: BTreeMap<DatasetName, (DatasetId, BTreeSet<u64>)>,
    /// The names of the datasets that are opened.
    pub(crate) names: HashMap<DatasetId, String>,
    /// Whether it reads something that changes without a new version.
    pub(crate) unversioned: bool,
    /// [`Held::fingerprint`] of each policy that says what is read.
    policies: BTreeSet<String>,
    /// The rules that were made last, of which policy and for which columns: versions of a dataset mostly share them.
    rules: Option<(String, SchemaRef, Arc<Rules>)>,
}

impl Reading {
    /// The versions by the names of their datasets. One that is read at several versions has a name for each.
    pub(crate) fn versions(&self) -> Vec<(String, u64)> {
        let named = |(name, (_, versions)): (&DatasetName, &(DatasetId, BTreeSet<u64>))| {
            let several = versions.len() > 1;
            let name = name.to_string();
            let label =
                move |version: &u64| (if several { format!("{name}@v{version}") } else { name.clone() }, *version);
            versions.iter().map(label).collect::<Vec<_>>()
        };
        self.read.iter().flat_map(named).collect()
    }

    /// The datasets that are read at one version, and which.
    pub(crate) fn found(&self) -> BTreeMap<DatasetName, (DatasetId, u64)> {
        let one = |(name, (id, versions)): (&DatasetName, &(DatasetId, BTreeSet<u64>))| {
            let version = versions.first().filter(|_| versions.len() == 1);
            version.map(|version| (name.clone(), (*id, *version)))
        };
        self.read.iter().filter_map(one).collect()
    }

    /// The datasets, for the audit: each at each version, and those of which only `$versions` is read.
    pub(crate) fn datasets(&self) -> Vec<Read> {
        let at_versions = self.read.iter().flat_map(|(name, (id, versions))| {
            versions.iter().map(|version| Read { name: name.clone(), id: *id, version: Some(*version) })
        });
        let others = self.names.iter().filter_map(|(id, name)| {
            let name = name.parse::<DatasetName>().ok().filter(|name| !self.read.contains_key(name))?;
            Some(Read { name, id: *id, version: None })
        });
        at_versions.chain(others).collect()
    }

    /// Text that differs when the rows read may differ; a dataset that was made anew has another id, and what a policy
    /// lets through depends on the caller too.
    pub(crate) fn fingerprint(&self) -> String {
        let ids = self.read.values().map(|(id, versions)| format!("{id}={versions:?}"));
        ids.chain(self.policies.iter().cloned()).collect::<Vec<_>>().join(";")
    }

    fn note(&mut self, name: &DatasetName, id: DatasetId, version: u64) {
        let entry = self.read.entry(name.clone()).or_insert_with(|| (id, BTreeSet::new()));
        entry.1.insert(version);
    }
}

/// Opens datasets for one caller.
pub(crate) struct Opener<'a> {
    pub(crate) catalog: &'a Arc<dyn Catalog>,
    pub(crate) lake: &'a Lake,
    pub(crate) caller: &'a Caller,
    pub(crate) as_of: &'a AsOf,
    /// Where the expressions of policies are planned.
    pub(crate) sessions: &'a Arc<Sessions>,
    pub(crate) planner: &'a Planner,
}

/// A dataset that a statement names, for a caller who may read it.
struct Found {
    name: DatasetName,
    /// The table's name in the statement.
    table: String,
    access: Access,
    stored: Stored,
}

/// What the storage has of it.
enum Stored {
    Rows(Arc<Snapshot>),
    Versions(Arc<Table>),
}

impl Opener<'_> {
    /// Opens each relation once. Errors: `DatasetNotFound` and `Denied` before any other, `Version`, `AsOf` for a name that
    /// is not read.
    ///
    /// Costs one question to the catalog for each dataset and then what the storage needs to tell its version, up to
    /// [`SIDE_BY_SIDE`] of each at once.
    pub(crate) async fn open(&self, relations: &[Relation]) -> Result<Reading> {
        let mut reading = Reading::default();
        let mut visible: Option<Vec<Dataset>> = None;
        for found in self.find(relations).await? {
            let opened = self.dataset(found, &mut reading).await?;
            reading.relations.push(opened);
        }
        for relation in relations {
            match relation {
                Relation::Dataset { .. } => {}
                Relation::InformationSchema(view) => {
                    reading.unversioned = true;
                    if visible.is_none() {
                        visible = Some(information_schema::visible(self.catalog.as_ref(), self.caller).await?);
                    }
                    let datasets = visible.as_deref().unwrap_or_default();
                    let masked = datasets.iter().filter(|dataset| dataset.policy.is_some());
                    let told = masked.map(|dataset| policy::sealed(&format!("{}: {:?}", dataset.id, dataset.schema)));
                    reading.policies.extend(told);
                    let system = self.caller.on_instance().principal().is_some();
                    let provider = information_schema::table(*view, datasets, system)?;
                    let (schema, table) = ("information_schema".to_owned(), view.name().to_owned());
                    reading.relations.push(Opened { schema, table, provider });
                }
                Relation::System(view) => {
                    reading.unversioned = true;
                    let whose = Whose::of(self.catalog.as_ref(), self.caller, *view).await?;
                    // A plan is kept for a moment; who may read it may change meanwhile.
                    reading.policies.insert(format!("{whose:?}"));
                    let provider = system::relation(*view, whose, self.catalog)?;
                    let (schema, table) = (system::SCHEMA.to_owned(), view.name().to_owned());
                    reading.relations.push(Opened { schema, table, provider });
                }
            }
        }
        self.check_names(relations)?;
        Ok(reading)
    }

    async fn dataset(&self, found: Found, reading: &mut Reading) -> Result<Opened> {
        let Found { name, table, access, stored } = found;
        let id = access.dataset.id;
        reading.names.insert(id, name.to_string());
        let policy = access.policy().map(|policy| Held::new(policy, &access.dataset, self.caller));
        reading.policies.extend(policy.as_ref().map(Held::fingerprint));
        let provider = match stored {
            Stored::Rows(snapshot) => {
                reading.note(&name, id, snapshot.version());
                match policy {
                    None => snapshot.provider(),
                    Some(policy) => self.under(policy, snapshot, reading).await?,
                }
            }
            Stored::Versions(table) => {
                reading.unversioned = true;
                self.versions(&name, table, policy.is_none()).await?
            }
        };
        Ok(Opened { schema: name.namespace().to_string(), table, provider })
    }

    /// A name in `as_of` that the statement does not read would be a version that nobody gets.
    fn check_names(&self, relations: &[Relation]) -> Result<()> {
        let reads = |wanted: &DatasetName| {
            relations.iter().any(|relation| match relation {
                // With a version of its own it would not get this one.
                Relation::Dataset { name, part: Part::Rows(None) | Part::Versions, .. } => name == wanted,
                _ => false,
            })
        };
        match self.as_of.names().find(|name| !reads(name)) {
            None => Ok(()),
            Some(name) => Err(StatementError::AsOf(format!(
                "as_of names `{name}`, which the statement does not read, or reads at a version of its own"
            ))
            .into()),
        }
    }

    /// The relations that are datasets', in their order.
    async fn find(&self, relations: &[Relation]) -> Result<Vec<Found>> {
        let named = relations.iter().filter_map(|relation| match relation {
            Relation::Dataset { name, table, part } => Some((name.clone(), table.clone(), *part)),
            _ => None,
        });
        let named: Vec<_> = named.collect();
        // Each name once, and all to the end: what the catalog is asked does not depend on what it answers.
        let names: BTreeSet<_> = named.iter().map(|(name, ..)| name.clone()).collect();
        let asked = stream::iter(names).map(|name| async move { (self.access(&name).await, name) });
        let answers: Vec<_> = asked.buffered(SIDE_BY_SIDE).collect().await;
        let mut allowed = HashMap::new();
        for (access, name) in answers {
            allowed.insert(name, access?);
        }
        let readable =
            named.into_iter().filter_map(|(name, table, part)| Some((allowed.get(&name)?.clone(), name, table, part)));
        let found = stream::iter(readable).map(|(access, name, table, part)| async move {
            let stored = self.stored(&name, access.dataset.id, part).await?;
            Ok(Found { name, table, access, stored })
        });
        found.buffered(SIDE_BY_SIDE).try_collect().await
    }

    async fn access(&self, name: &DatasetName) -> Result<Access> {
        let not_found = || StatementError::DatasetNotFound { name: name.to_string() };
        let access = self.catalog.access(self.caller, name).await?.ok_or_else(not_found)?;
        access.require(self.caller, Role::Reader).map_err(|_| QueryError::Denied(name.to_string()))?;
        if self.as_of.identity(name).is_some_and(|then| then != access.dataset.id) {
            // What had the name is gone, whoever has it now.
            return Err(not_found().into());
        }
        Ok(access)
    }

    async fn stored(&self, name: &DatasetName, id: DatasetId, part: Part) -> Result<Stored> {
        let table = self.lake.listed_table(id, self.catalog.as_ref()).await.map_err(|error| failed(name, error))?;
        match part {
            Part::Rows(at) => Ok(Stored::Rows(self.snapshot(name, &table, at).await?)),
            Part::Versions => Ok(Stored::Versions(table)),
        }
    }

    async fn snapshot(&self, name: &DatasetName, table: &Table, at: Option<Moment>) -> Result<Arc<Snapshot>> {
        let snapshot = match at.or_else(|| self.as_of.of(name)) {
            None => table.snapshot().await,
            Some(moment) => match version(table, moment).await {
                Ok(version) => table.snapshot_at(version).await,
                Err(error) => Err(error),
            },
        };
        snapshot.map_err(|error| failed(name, error))
    }

    /// The rows of a version, as the policy of now lets the caller see them.
    async fn under(
        &self,
        policy: Held,
        snapshot: Arc<Snapshot>,
        reading: &mut Reading,
    ) -> Result<Arc<dyn TableProvider>> {
        let (which, stored) = (policy.fingerprint(), snapshot.schema());
        let known = reading.rules.take().filter(|(of, over, _)| *of == which && *over == stored);
        let rules = match known {
            Some((_, _, rules)) => rules,
            None => {
                let (policy, stored, sessions) = (policy.clone(), Arc::clone(&stored), Arc::clone(self.sessions));
                self.planner.run(move || policy.rules(&stored, &sessions)).await?
            }
        };
        reading.unversioned |= !rules.repeatable;
        reading.rules = Some((which, stored, Arc::clone(&rules)));
        Ok(policy.over(&snapshot, rules))
    }

    async fn versions(&self, name: &DatasetName, table: Arc<Table>, sizes: bool) -> Result<Arc<dyn TableProvider>> {
        let before = match self.as_of.of(name) {
            None => None,
            Some(moment) => Some(version(&table, moment).await.map_err(|error| failed(name, error))?.saturating_add(1)),
        };
        versions::relation(table, before, sizes)
    }
}

async fn version(table: &Table, moment: Moment) -> lakegate_lake::Result<u64> {
    match moment {
        Moment::Version(version) => Ok(version),
        Moment::Time(time) => table.version_at(time).await,
    }
}

fn failed(name: &DatasetName, error: LakeError) -> QueryError {
    match error {
        // Deleted since the catalog was asked.
        LakeError::NoTable => StatementError::DatasetNotFound { name: name.to_string() }.into(),
        LakeError::Damaged(damage) => QueryError::Damaged { name: name.to_string(), damage },
        error if error.kind() == ErrorKind::NotFound => QueryError::Version { name: name.to_string(), error },
        error => {
            tracing::error!(%error, "a dataset cannot be opened");
            QueryError::Lake(error)
        }
    }
}
