//! [`Datasets`] in memory.

use std::ops::Bound;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::events::subject;
use super::{MemoryCatalog, already_exists, not_found, now};
use crate::access::Caller;
use crate::dataset::{Dataset, DatasetChange, Datasets, NamespaceRecord, NewDataset, Tombstone};
use crate::error::{CatalogError, Result};
use crate::event::Change;
use crate::grant::{Grantee, Role, Scope};
use crate::ids::{DatasetId, PrincipalId};
use crate::name::{DatasetName, Namespace};
use crate::page::{Listing, Page};

#[async_trait]
impl Datasets for MemoryCatalog {
    async fn ensure_namespace(&self, namespace: &Namespace) -> Result<bool> {
        let mut state = self.state.lock();
        let new = !state.namespaces.contains_key(namespace);
        if new {
            state.namespaces.insert(namespace.clone(), now());
        }
        Ok(new)
    }

    async fn namespace_exists(&self, namespace: &Namespace) -> Result<bool> {
        Ok(self.state.lock().namespaces.contains_key(namespace))
    }

    async fn list_namespaces(&self, caller: &Caller, page: &Page) -> Result<Listing<NamespaceRecord>> {
        let start = page.after(|text| Namespace::new(text).ok())?.map_or(Bound::Unbounded, Bound::Excluded);
        let state = self.state.lock();
        let visible = |name: &Namespace| {
            let scopes = [Scope::Instance, Scope::Namespace(name.clone())];
            let of_it = |dataset: &&Dataset| dataset.name.namespace() == name;
            state.highest(&caller.on_namespace(name), &scopes).is_some()
                || state.datasets.values().filter(of_it).any(|dataset| state.access(caller, dataset).is_some())
        };
        let all = state.namespaces.range((start, Bound::Unbounded)).filter(|(name, _)| visible(name));
        let record = |(name, at): (&Namespace, &DateTime<Utc>)| NamespaceRecord { name: name.clone(), created_at: *at };
        let items = all.map(record).take(page.size() + 1).collect();
        Ok(Listing::from_overfull(items, page.size(), |record| record.name.to_string()))
    }

    async fn delete_namespace(&self, namespace: &Namespace) -> Result<()> {
        let mut state = self.state.lock();
        if state.datasets.keys().any(|name| name.namespace() == namespace) {
            return Err(CatalogError::NotEmpty { name: namespace.to_string() });
        }
        if state.namespaces.remove(namespace).is_none() {
            return Err(not_found("namespace", namespace));
        }
        let before = state.grants.len();
        state.grants.retain(|(_, scope), _| *scope != Scope::Namespace(namespace.clone()));
        if state.grants.len() < before {
            state.tell(Change::RightsChanged);
        }
        Ok(())
    }

    async fn create_dataset(&self, dataset: NewDataset, owner: PrincipalId) -> Result<Dataset> {
        dataset.check()?;
        let mut state = self.state.lock();
        if !state.namespaces.contains_key(dataset.name.namespace()) {
            return Err(not_found("namespace", dataset.name.namespace()));
        }
        state.principal(owner)?;
        if state.datasets.contains_key(&dataset.name) {
            return Err(already_exists("dataset", &dataset.name));
        }
        if state.id_is_taken(dataset.id) {
            return Err(already_exists("dataset", &dataset.id));
        }
        let dataset = record(dataset);
        state.datasets.insert(dataset.name.clone(), dataset.clone());
        state.grants.insert((Grantee::Principal(owner), Scope::Dataset(dataset.id)), Role::Owner);
        state.tell(Change::DatasetCreated(subject(&dataset)));
        Ok(dataset)
    }

    async fn dataset(&self, name: &DatasetName) -> Result<Option<Dataset>> {
        Ok(self.state.lock().datasets.get(name).cloned())
    }

    async fn dataset_by_id(&self, id: DatasetId) -> Result<Option<Dataset>> {
        Ok(self.state.lock().datasets.values().find(|dataset| dataset.id == id).cloned())
    }

    async fn list_datasets(
        &self,
        caller: &Caller,
        namespace: Option<&Namespace>,
        page: &Page,
    ) -> Result<Listing<Dataset>> {
        let start = page.after(|text| text.parse::<DatasetName>().ok())?.map_or(Bound::Unbounded, Bound::Excluded);
        let state = self.state.lock();
        let items = state
            .datasets
            .range((start, Bound::Unbounded))
            .map(|(_, dataset)| dataset)
            .filter(|dataset| namespace.is_none_or(|namespace| dataset.name.namespace() == namespace))
            .filter(|dataset| state.access(caller, dataset).is_some())
            .take(page.size() + 1)
            .map(|dataset| (dataset.clone(), dataset.size()))
            .collect();
        Ok(Listing::of_long(items, page.size(), |dataset: &Dataset| dataset.name.to_string()))
    }

    async fn update_dataset(&self, id: DatasetId, change: DatasetChange) -> Result<Dataset> {
        change.check()?;
        let mut state = self.state.lock();
        let mut changed = state.dataset_by_id(id)?.clone();
        change.apply(&mut changed);
        changed.updated_at = now();
        state.datasets.insert(changed.name.clone(), changed.clone());
        state.tell(Change::DatasetChanged(subject(&changed)));
        Ok(changed)
    }

    async fn delete_dataset(&self, id: DatasetId) -> Result<()> {
        let mut state = self.state.lock();
        let gone = subject(state.dataset_by_id(id)?);
        state.datasets.remove(&gone.dataset);
        state.grants.retain(|(_, scope), _| *scope != Scope::Dataset(id));
        state.tombstones.push(Tombstone { id, deleted_at: now() });
        state.tell(Change::DatasetDropped(gone));
        Ok(())
    }

    async fn tombstones(&self) -> Result<Vec<Tombstone>> {
        Ok(self.state.lock().tombstones.iter().take(1_000).cloned().collect())
    }

    async fn forget_tombstone(&self, id: DatasetId) -> Result<()> {
        self.state.lock().tombstones.retain(|tombstone| tombstone.id != id);
        Ok(())
    }
}

fn record(new: NewDataset) -> Dataset {
    let created_at = now();
    Dataset {
        id: new.id,
        name: new.name,
        kind: new.kind,
        schema: new.schema,
        schema_version: 0,
        primary_key: new.primary_key,
        merge: new.merge,
        event_time: new.event_time,
        geometry: new.geometry,
        visibility: new.visibility,
        policy: None,
        description: new.description,
        created_at,
        updated_at: created_at,
    }
}
