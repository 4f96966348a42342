//! The catalog in memory: for tests, and for instances that keep nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;

use async_trait::async_trait;
use chrono::{DateTime, SubsecRound as _, Utc};
use parking_lot::Mutex;

use crate::Catalog;
use crate::access::Caller;
use crate::dataset::{Dataset, Datasets, NewDataset, Tombstone, Visibility};
use crate::error::{CatalogError, Result};
use crate::grant::{Grant, Grants, Role, Scope};
use crate::ids::{DatasetId, PrincipalId, TokenId};
use crate::name::{DatasetName, Namespace};
use crate::page::{Listing, Page};
use crate::principal::{NewPrincipal, NewToken, Principal, Principals, TokenRecord};
use crate::token::TokenHash;

/// A [`Catalog`] of plain maps behind one lock. Nothing waits while the lock is held, and nothing
/// outlives the value.
#[derive(Default)]
pub struct MemoryCatalog {
    state: Mutex<State>,
}

impl MemoryCatalog {
    /// An empty catalog.
    pub fn new() -> Self {
        Self::default()
    }
}

#[derive(Default)]
struct State {
    namespaces: BTreeSet<Namespace>,
    datasets: BTreeMap<DatasetName, Dataset>,
    /// In order of deletion.
    tombstones: Vec<Tombstone>,
    principals: BTreeMap<String, Principal>,
    tokens: HashMap<TokenHash, TokenRecord>,
    grants: BTreeMap<(PrincipalId, Scope), Role>,
}

impl State {
    fn dataset_by_id(&self, id: DatasetId) -> Result<&Dataset> {
        self.datasets.values().find(|dataset| dataset.id == id).ok_or_else(|| not_found("dataset", &id))
    }

    fn principal(&self, id: PrincipalId) -> Result<&Principal> {
        self.principals.values().find(|principal| principal.id == id).ok_or_else(|| not_found("principal", &id))
    }

    fn role(&self, principal: PrincipalId, scope: Scope) -> Option<Role> {
        self.grants.get(&(principal, scope)).copied()
    }

    fn owners(&self) -> impl Iterator<Item = PrincipalId> {
        let owner = |((id, scope), role): (&(PrincipalId, Scope), &Role)| {
            (*scope == Scope::Instance && *role == Role::Owner).then_some(*id)
        };
        self.grants.iter().filter_map(owner)
    }

    /// Refuses to take the role `owner` from the only principal that has it on the instance.
    fn check_not_last_owner(&self, principal: PrincipalId) -> Result<()> {
        let mut owners = self.owners();
        let last = owners.next() == Some(principal) && owners.next().is_none();
        if last { Err(CatalogError::LastOwner) } else { Ok(()) }
    }

    fn id_is_taken(&self, id: DatasetId) -> bool {
        self.dataset_by_id(id).is_ok() || self.tombstones.iter().any(|tombstone| tombstone.id == id)
    }

    fn create_principal(&mut self, new: NewPrincipal) -> Result<Principal> {
        new.check()?;
        if self.principals.contains_key(&new.name) {
            return Err(already_exists("principal", &new.name));
        }
        let NewPrincipal { name, kind } = new;
        let principal = Principal { id: PrincipalId::generate(), name, kind, created_at: now() };
        self.principals.insert(principal.name.clone(), principal.clone());
        Ok(principal)
    }

    fn create_token(&mut self, new: NewToken) -> Result<TokenRecord> {
        new.check()?;
        self.principal(new.principal)?;
        if self.tokens.contains_key(&new.hash) {
            return Err(already_exists("token", &new.name));
        }
        let record = TokenRecord {
            id: TokenId::generate(),
            principal: new.principal,
            name: new.name,
            created_at: now(),
            expires_at: new.expires_at.map(|time| time.trunc_subsecs(6)),
        };
        self.tokens.insert(new.hash, record.clone());
        Ok(record)
    }
}

fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(6)
}

fn not_found(what: &'static str, name: &impl ToString) -> CatalogError {
    CatalogError::NotFound { what, name: name.to_string() }
}

fn already_exists(what: &'static str, name: &impl ToString) -> CatalogError {
    CatalogError::AlreadyExists { what, name: name.to_string() }
}

#[async_trait]
impl Datasets for MemoryCatalog {
    async fn ensure_namespace(&self, namespace: &Namespace) -> Result<bool> {
        Ok(self.state.lock().namespaces.insert(namespace.clone()))
    }

    async fn namespace_exists(&self, namespace: &Namespace) -> Result<bool> {
        Ok(self.state.lock().namespaces.contains(namespace))
    }

    async fn create_dataset(&self, dataset: NewDataset, owner: PrincipalId) -> Result<Dataset> {
        dataset.check()?;
        let mut state = self.state.lock();
        if !state.namespaces.contains(dataset.name.namespace()) {
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
        state.grants.insert((owner, Scope::Dataset(dataset.id)), Role::Owner);
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
        let visible = |dataset: &&Dataset| {
            dataset.visibility == Visibility::Public
                || caller.principal().is_some_and(|principal| state.highest(principal.id, dataset).is_some())
        };
        let items = state
            .datasets
            .range((start, Bound::Unbounded))
            .map(|(_, dataset)| dataset)
            .filter(|dataset| namespace.is_none_or(|namespace| dataset.name.namespace() == namespace))
            .filter(visible)
            .take(page.size() + 1)
            .cloned()
            .collect();
        Ok(Listing::from_overfull(items, page.size(), |dataset| dataset.name.to_string()))
    }

    async fn delete_dataset(&self, id: DatasetId) -> Result<()> {
        let mut state = self.state.lock();
        let name = state.dataset_by_id(id)?.name.clone();
        state.datasets.remove(&name);
        state.grants.retain(|(_, scope), _| *scope != Scope::Dataset(id));
        state.tombstones.push(Tombstone { id, deleted_at: now() });
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
        primary_key: new.primary_key,
        merge: new.merge,
        event_time: new.event_time,
        geometry: new.geometry,
        visibility: new.visibility,
        description: new.description,
        created_at,
        updated_at: created_at,
    }
}

#[async_trait]
impl Principals for MemoryCatalog {
    async fn create_principal(&self, principal: NewPrincipal) -> Result<Principal> {
        self.state.lock().create_principal(principal)
    }

    async fn principal(&self, id: PrincipalId) -> Result<Option<Principal>> {
        Ok(self.state.lock().principal(id).ok().cloned())
    }

    async fn principal_by_name(&self, name: &str) -> Result<Option<Principal>> {
        Ok(self.state.lock().principals.get(name).cloned())
    }

    async fn list_principals(&self, page: &Page) -> Result<Listing<Principal>> {
        let start = page.after(NewPrincipal::name_from)?.map_or(Bound::Unbounded, Bound::Excluded);
        let state = self.state.lock();
        let range = state.principals.range((start, Bound::Unbounded));
        let items = range.map(|(_, principal)| principal.clone()).take(page.size() + 1).collect();
        Ok(Listing::from_overfull(items, page.size(), |principal: &Principal| principal.name.clone()))
    }

    async fn delete_principal(&self, id: PrincipalId) -> Result<()> {
        let mut state = self.state.lock();
        let name = state.principal(id)?.name.clone();
        state.check_not_last_owner(id)?;
        state.principals.remove(&name);
        state.tokens.retain(|_, token| token.principal != id);
        state.grants.retain(|(principal, _), _| *principal != id);
        Ok(())
    }

    async fn create_token(&self, token: NewToken) -> Result<TokenRecord> {
        self.state.lock().create_token(token)
    }

    async fn authenticate(&self, hash: &TokenHash, now: DateTime<Utc>) -> Result<Option<Principal>> {
        let state = self.state.lock();
        let token = state.tokens.get(hash).filter(|token| token.expires_at.is_none_or(|end| now < end));
        Ok(token.and_then(|token| state.principal(token.principal).ok().cloned()))
    }

    async fn list_tokens(&self, principal: PrincipalId) -> Result<Vec<TokenRecord>> {
        let state = self.state.lock();
        let mut tokens: Vec<_> = state.tokens.values().filter(|token| token.principal == principal).cloned().collect();
        tokens.sort_by_key(|token| (token.created_at, token.id));
        Ok(tokens)
    }

    async fn token(&self, id: TokenId) -> Result<Option<TokenRecord>> {
        Ok(self.state.lock().tokens.values().find(|token| token.id == id).cloned())
    }

    async fn revoke_token(&self, id: TokenId) -> Result<()> {
        let mut state = self.state.lock();
        let before = state.tokens.len();
        state.tokens.retain(|_, token| token.id != id);
        if state.tokens.len() == before { Err(not_found("token", &id)) } else { Ok(()) }
    }
}

impl State {
    fn highest(&self, principal: PrincipalId, dataset: &Dataset) -> Option<Role> {
        let own = self.role(principal, Scope::Dataset(dataset.id));
        own.max(self.highest_on_namespace(principal, dataset.name.namespace()))
    }

    fn highest_on_namespace(&self, principal: PrincipalId, namespace: &Namespace) -> Option<Role> {
        let own = self.role(principal, Scope::Namespace(namespace.clone()));
        own.max(self.role(principal, Scope::Instance))
    }
}

#[async_trait]
impl Grants for MemoryCatalog {
    async fn grant(&self, grant: Grant) -> Result<()> {
        let mut state = self.state.lock();
        state.principal(grant.principal)?;
        match &grant.scope {
            Scope::Instance if grant.role < Role::Owner => state.check_not_last_owner(grant.principal)?,
            Scope::Instance => {}
            Scope::Namespace(namespace) if !state.namespaces.contains(namespace) => {
                return Err(not_found("namespace", namespace));
            }
            Scope::Namespace(_) => {}
            Scope::Dataset(id) => drop(state.dataset_by_id(*id)?),
        }
        state.grants.insert((grant.principal, grant.scope), grant.role);
        Ok(())
    }

    async fn revoke(&self, principal: PrincipalId, scope: &Scope) -> Result<()> {
        let mut state = self.state.lock();
        if *scope == Scope::Instance {
            state.check_not_last_owner(principal)?;
        }
        let removed = state.grants.remove(&(principal, scope.clone()));
        removed.map(drop).ok_or_else(|| not_found("grant of principal", &principal))
    }

    async fn grants_of(&self, principal: PrincipalId) -> Result<Vec<Grant>> {
        Ok(self.state.lock().grants_where(|id, _| id == principal))
    }

    async fn grants_on(&self, scope: &Scope) -> Result<Vec<Grant>> {
        Ok(self.state.lock().grants_where(|_, on| on == scope))
    }

    async fn role_on_dataset(&self, principal: PrincipalId, dataset: &Dataset) -> Result<Option<Role>> {
        Ok(self.state.lock().highest(principal, dataset))
    }

    async fn role_on_namespace(&self, principal: PrincipalId, namespace: &Namespace) -> Result<Option<Role>> {
        Ok(self.state.lock().highest_on_namespace(principal, namespace))
    }

    async fn role_on_instance(&self, principal: PrincipalId) -> Result<Option<Role>> {
        Ok(self.state.lock().role(principal, Scope::Instance))
    }
}

impl State {
    fn grants_where(&self, wanted: impl Fn(PrincipalId, &Scope) -> bool) -> Vec<Grant> {
        let grants = self.grants.iter().filter(|((principal, scope), _)| wanted(*principal, scope));
        grants
            .map(|((principal, scope), role)| Grant { principal: *principal, scope: scope.clone(), role: *role })
            .collect()
    }
}

#[async_trait]
impl Catalog for MemoryCatalog {
    async fn ping(&self) -> Result<()> {
        Ok(())
    }

    async fn create_first_owner(&self, owner: NewPrincipal, token: &TokenHash) -> Result<Option<Principal>> {
        let mut state = self.state.lock();
        if state.owners().next().is_some() {
            return Ok(None);
        }
        if state.tokens.contains_key(token) {
            return Err(already_exists("token", &"owner"));
        }
        let owner = state.create_principal(owner)?;
        state.create_token(NewToken {
            principal: owner.id,
            name: "owner".to_owned(),
            hash: *token,
            expires_at: None,
        })?;
        state.grants.insert((owner.id, Scope::Instance), Role::Owner);
        Ok(Some(owner))
    }
}
