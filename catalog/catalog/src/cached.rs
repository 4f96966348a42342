//! A catalog whose answers about callers and datasets are remembered for a moment.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use parking_lot::Mutex;

use crate::Catalog;
use crate::access::Caller;
use crate::dataset::{Dataset, DatasetChange, Datasets, NewDataset, Tombstone};
use crate::error::Result;
use crate::grant::{Grant, Grants, Role, Scope};
use crate::ids::{DatasetId, LakeId, PrincipalId, TokenId};
use crate::key::InstanceKey;
use crate::name::{DatasetName, Namespace};
use crate::page::{Listing, Page};
use crate::principal::{Authenticated, NewPrincipal, NewToken, Principal, Principals, TokenRecord};
use crate::token::TokenHash;

/// Answers of one kind that are remembered; beyond it all are forgotten.
const MOST: usize = 10_000;

/// Remembers who a token belongs to, the datasets by name, and roles.
///
/// For a store that only this process writes to: every write that passes through forgets all before it is answered, so
/// what was revoked is revoked at once. A write that was given up and may have been made all the same shows within
/// the age that answers may have.
pub struct CachedCatalog {
    inner: Arc<dyn Catalog>,
    age: Duration,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// Counts writes; an answer that was asked for before one is not remembered after it.
    writes: u64,
    writing: usize,
    tokens: Answers<TokenHash, Authenticated>,
    datasets: Answers<DatasetName, Dataset>,
    roles: Answers<(PrincipalId, Scope), Option<Role>>,
}

impl Known {
    fn forget(&mut self) {
        self.writes += 1;
        self.tokens.0.clear();
        self.datasets.0.clear();
        self.roles.0.clear();
    }
}

struct Answers<K, V>(HashMap<K, (Instant, V)>);

impl<K, V> Default for Answers<K, V> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash, V: Clone> Answers<K, V> {
    fn get(&self, key: &K, age: Duration) -> Option<V> {
        let (since, value) = self.0.get(key)?;
        (since.elapsed() < age).then(|| value.clone())
    }

    fn put(&mut self, key: K, value: V) {
        if self.0.len() >= MOST {
            self.0.clear();
        }
        self.0.insert(key, (Instant::now(), value));
    }
}

/// A write that is going on.
struct Writing<'a>(&'a Mutex<Known>);

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        let mut known = self.0.lock();
        known.writing -= 1;
        known.forget();
    }
}

impl CachedCatalog {
    /// Remembers answers of `inner` for `age`.
    pub fn new(inner: Arc<dyn Catalog>, age: Duration) -> Self {
        Self { inner, age, known: Mutex::default() }
    }

    fn write(&self) -> Writing<'_> {
        let mut known = self.known.lock();
        known.writing += 1;
        known.forget();
        Writing(&self.known)
    }

    fn writes(&self) -> u64 {
        self.known.lock().writes
    }

    /// Remembers an answer unless a write has come between.
    fn keep(&self, writes: u64, remember: impl FnOnce(&mut Known)) {
        let mut known = self.known.lock();
        if known.writes == writes && known.writing == 0 {
            remember(&mut known);
        }
    }

    async fn role(
        &self,
        principal: PrincipalId,
        scope: Scope,
        ask: impl Future<Output = Result<Option<Role>>> + Send,
    ) -> Result<Option<Role>> {
        let key = (principal, scope);
        if let Some(role) = self.known.lock().roles.get(&key, self.age) {
            return Ok(role);
        }
        let writes = self.writes();
        let role = ask.await?;
        self.keep(writes, |known| known.roles.put(key, role));
        Ok(role)
    }
}

#[async_trait]
impl Datasets for CachedCatalog {
    async fn ensure_namespace(&self, namespace: &Namespace) -> Result<bool> {
        self.inner.ensure_namespace(namespace).await
    }

    async fn namespace_exists(&self, namespace: &Namespace) -> Result<bool> {
        self.inner.namespace_exists(namespace).await
    }

    async fn create_dataset(&self, dataset: NewDataset, owner: PrincipalId) -> Result<Dataset> {
        let _writing = self.write();
        self.inner.create_dataset(dataset, owner).await
    }

    async fn dataset(&self, name: &DatasetName) -> Result<Option<Dataset>> {
        if let Some(dataset) = self.known.lock().datasets.get(name, self.age) {
            return Ok(Some(dataset));
        }
        let writes = self.writes();
        let found = self.inner.dataset(name).await?;
        if let Some(dataset) = found.clone() {
            self.keep(writes, |known| known.datasets.put(name.clone(), dataset));
        }
        Ok(found)
    }

    async fn dataset_by_id(&self, id: DatasetId) -> Result<Option<Dataset>> {
        self.inner.dataset_by_id(id).await
    }

    async fn list_datasets(
        &self,
        caller: &Caller,
        namespace: Option<&Namespace>,
        page: &Page,
    ) -> Result<Listing<Dataset>> {
        self.inner.list_datasets(caller, namespace, page).await
    }

    async fn update_dataset(&self, id: DatasetId, change: DatasetChange) -> Result<Dataset> {
        let _writing = self.write();
        self.inner.update_dataset(id, change).await
    }

    async fn delete_dataset(&self, id: DatasetId) -> Result<()> {
        let _writing = self.write();
        self.inner.delete_dataset(id).await
    }

    async fn tombstones(&self) -> Result<Vec<Tombstone>> {
        self.inner.tombstones().await
    }

    async fn forget_tombstone(&self, id: DatasetId) -> Result<()> {
        self.inner.forget_tombstone(id).await
    }
}

#[async_trait]
impl Principals for CachedCatalog {
    async fn create_principal(&self, principal: NewPrincipal) -> Result<Principal> {
        self.inner.create_principal(principal).await
    }

    async fn principal(&self, id: PrincipalId) -> Result<Option<Principal>> {
        self.inner.principal(id).await
    }

    async fn principal_by_name(&self, name: &str) -> Result<Option<Principal>> {
        self.inner.principal_by_name(name).await
    }

    async fn list_principals(&self, page: &Page) -> Result<Listing<Principal>> {
        self.inner.list_principals(page).await
    }

    async fn delete_principal(&self, id: PrincipalId) -> Result<()> {
        let _writing = self.write();
        self.inner.delete_principal(id).await
    }

    async fn create_token(&self, token: NewToken) -> Result<TokenRecord> {
        self.inner.create_token(token).await
    }

    async fn authenticate(&self, hash: &TokenHash, now: DateTime<Utc>) -> Result<Option<Authenticated>> {
        if let Some(known) = self.known.lock().tokens.get(hash, self.age) {
            // It may have ended since.
            return Ok(Some(known).filter(|known| known.expires_at.is_none_or(|end| end > now)));
        }
        let writes = self.writes();
        let found = self.inner.authenticate(hash, now).await?;
        if let Some(authenticated) = found.clone() {
            self.keep(writes, |known| known.tokens.put(*hash, authenticated));
        }
        Ok(found)
    }

    async fn list_tokens(&self, principal: PrincipalId) -> Result<Vec<TokenRecord>> {
        self.inner.list_tokens(principal).await
    }

    async fn token(&self, id: TokenId) -> Result<Option<TokenRecord>> {
        self.inner.token(id).await
    }

    async fn revoke_token(&self, id: TokenId) -> Result<()> {
        let _writing = self.write();
        self.inner.revoke_token(id).await
    }
}

#[async_trait]
impl Grants for CachedCatalog {
    async fn grant(&self, grant: Grant) -> Result<()> {
        let _writing = self.write();
        self.inner.grant(grant).await
    }

    async fn revoke(&self, principal: PrincipalId, scope: &Scope) -> Result<()> {
        let _writing = self.write();
        self.inner.revoke(principal, scope).await
    }

    async fn grants_of(&self, principal: PrincipalId) -> Result<Vec<Grant>> {
        self.inner.grants_of(principal).await
    }

    async fn grants_on(&self, scope: &Scope) -> Result<Vec<Grant>> {
        self.inner.grants_on(scope).await
    }

    async fn role_on_dataset(&self, principal: PrincipalId, dataset: &Dataset) -> Result<Option<Role>> {
        let ask = self.inner.role_on_dataset(principal, dataset);
        self.role(principal, Scope::Dataset(dataset.id), ask).await
    }

    async fn role_on_namespace(&self, principal: PrincipalId, namespace: &Namespace) -> Result<Option<Role>> {
        let ask = self.inner.role_on_namespace(principal, namespace);
        self.role(principal, Scope::Namespace(namespace.clone()), ask).await
    }

    async fn role_on_instance(&self, principal: PrincipalId) -> Result<Option<Role>> {
        self.role(principal, Scope::Instance, self.inner.role_on_instance(principal)).await
    }
}

#[async_trait]
impl Catalog for CachedCatalog {
    async fn ping(&self) -> Result<()> {
        self.inner.ping().await
    }

    async fn close(&self) {
        self.inner.close().await;
    }

    async fn create_first_owner(&self, owner: NewPrincipal, token: &TokenHash) -> Result<Option<Principal>> {
        let _writing = self.write();
        self.inner.create_first_owner(owner, token).await
    }

    async fn lake(&self) -> Result<Option<LakeId>> {
        self.inner.lake().await
    }

    async fn remember_lake(&self, lake: LakeId) -> Result<LakeId> {
        self.inner.remember_lake(lake).await
    }

    async fn remember_key(&self, key: InstanceKey) -> Result<InstanceKey> {
        self.inner.remember_key(key).await
    }
}
