//! A catalog whose answers about callers and datasets are remembered for a moment.

mod audit;
mod groups;
mod jobs;

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use parking_lot::Mutex;

use crate::Catalog;
use crate::access::{Access, Caller, Credential, Identity};
use crate::dataset::{Dataset, DatasetChange, Datasets, NamespaceRecord, NewDataset, Tombstone};
use crate::error::{CatalogError, Result};
use crate::event::{Events, Feed};
use crate::grant::{Grant, Grantee, Grants, Role, Scope};
use crate::ids::{DatasetId, LakeId, PrincipalId, TokenId};
use crate::key::InstanceKey;
use crate::name::{DatasetName, Namespace};
use crate::page::{Listing, Page};
use crate::password::{Attempt, PasswordHash};
use crate::principal::{ExternalId, NewPrincipal, NewToken, Principal, Principals, TokenRecord};
use crate::token::TokenHash;

/// Answers of one kind that are remembered; beyond it all are forgotten.
const MOST: usize = 10_000;

/// Remembers whom a credential stands for, what callers may do to datasets, and roles.
///
/// Every write that passes through forgets all before it is answered, so where this process alone writes, what was revoked
/// is revoked at once. A write of another process, or one that was given up and may have been made all the same, shows
/// within the age that answers may have. What is not there, or may not be seen, is asked for each time.
pub struct CachedCatalog {
    inner: Arc<dyn Catalog>,
    age: Duration,
    stale: Duration,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// Counts writes; an answer that was asked for before one is not remembered after it.
    writes: u64,
    writing: usize,
    identities: Answers<Credential, Identity>,
    /// By [`Caller::holders`]: the same holders have the same rights.
    access: Answers<(String, DatasetName), Access>,
    roles: Answers<(String, Scope), Option<Role>>,
    /// So that the record of a dataset is there once, however many callers use it.
    datasets: HashMap<DatasetId, Arc<Dataset>>,
}

impl Known {
    fn forget(&mut self) {
        self.writes += 1;
        self.identities.0.clear();
        self.access.0.clear();
        self.roles.0.clear();
        self.datasets.clear();
    }
}

struct Answers<K, V>(HashMap<K, (Instant, V)>);

impl<K, V> Default for Answers<K, V> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash, V: Clone> Answers<K, V> {
    /// What is remembered, unless it is older.
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

impl Known {
    fn remember_access(&mut self, holders: String, access: &mut Access) {
        if self.datasets.len() >= MOST {
            self.datasets.clear();
        }
        let kept = self.datasets.entry(access.dataset.id).or_insert_with(|| Arc::clone(&access.dataset));
        if *kept == access.dataset {
            access.dataset = Arc::clone(kept);
        } else {
            *kept = Arc::clone(&access.dataset);
        }
        self.access.put((holders, access.dataset.name.clone()), access.clone());
    }
}

impl CachedCatalog {
    /// Remembers answers of `inner` for `age`. When `inner` cannot be reached, identities and the right to read that are
    /// remembered count for `stale` longer; nothing else does.
    pub fn new(inner: Arc<dyn Catalog>, age: Duration, stale: Duration) -> Self {
        Self { inner, age, stale, known: Mutex::default() }
    }

    /// Forgets everything: somebody else has written.
    pub fn forget(&self) {
        self.known.lock().forget();
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

    /// What to answer when nothing could be asked: what is remembered for a little longer, or the failure.
    fn instead<T>(
        &self,
        error: CatalogError,
        remembered: impl FnOnce(&Known, Duration) -> Option<T>,
    ) -> Result<Option<T>> {
        let away = matches!(error, CatalogError::Store(_)) && !self.stale.is_zero();
        match remembered(&self.known.lock(), self.age + self.stale).filter(|_| away) {
            Some(known) => Ok(Some(known)),
            None => Err(error),
        }
    }

    async fn role(
        &self,
        holders: String,
        scope: Scope,
        ask: impl Future<Output = Result<Option<Role>>> + Send,
    ) -> Result<Option<Role>> {
        let key = (holders, scope);
        if let Some(role) = self.known.lock().roles.get(&key, self.age) {
            return Ok(role);
        }
        let writes = self.writes();
        let role = ask.await?;
        self.keep(writes, |known| known.roles.put(key, role));
        Ok(role)
    }

    async fn identity(
        &self,
        credential: Credential,
        ask: impl Future<Output = Result<Option<Identity>>> + Send,
    ) -> Result<Option<Identity>> {
        if let Some(identity) = self.known.lock().identities.get(&credential, self.age) {
            return Ok(Some(identity));
        }
        let writes = self.writes();
        let found = match ask.await {
            Ok(found) => found,
            Err(error) => return self.instead(error, |known, age| known.identities.get(&credential, age)),
        };
        if let Some(identity) = found.clone() {
            self.keep(writes, |known| known.identities.put(credential, identity));
        }
        Ok(found)
    }
}

/// What counts of a right while nobody can be asked.
fn only_read(access: Access) -> Access {
    Access { role: Role::Reader, ..access }
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

    async fn list_namespaces(&self, caller: &Caller, page: &Page) -> Result<Listing<NamespaceRecord>> {
        self.inner.list_namespaces(caller, page).await
    }

    async fn delete_namespace(&self, namespace: &Namespace) -> Result<()> {
        let _writing = self.write();
        self.inner.delete_namespace(namespace).await
    }

    async fn dataset(&self, name: &DatasetName) -> Result<Option<Dataset>> {
        self.inner.dataset(name).await
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

    async fn authenticate(&self, hash: &TokenHash, now: DateTime<Utc>) -> Result<Option<Identity>> {
        let ask = self.inner.authenticate(hash, now);
        let found = self.identity(Credential::Token(*hash), ask).await?;
        // It may have ended since it was remembered.
        Ok(found.filter(|identity| identity.lasts(now)))
    }

    async fn identify_external(&self, external: &ExternalId, groups: &[String]) -> Result<Option<Identity>> {
        let ask = self.inner.identify_external(external, groups);
        self.identity(Credential::External { id: external.clone(), groups: groups.to_vec() }, ask).await
    }

    async fn set_password(&self, id: PrincipalId, password: Option<PasswordHash>) -> Result<()> {
        self.inner.set_password(id, password).await
    }

    async fn attempt_login(&self, name: &str, now: DateTime<Utc>) -> Result<Attempt> {
        self.inner.attempt_login(name, now).await
    }

    async fn finish_login(&self, name: &str) -> Result<()> {
        self.inner.finish_login(name).await
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

    async fn revoke(&self, grantee: Grantee, scope: &Scope) -> Result<()> {
        let _writing = self.write();
        self.inner.revoke(grantee, scope).await
    }

    async fn grants_of(&self, grantee: Grantee) -> Result<Vec<Grant>> {
        self.inner.grants_of(grantee).await
    }

    async fn grants_on(&self, scope: &Scope) -> Result<Vec<Grant>> {
        self.inner.grants_on(scope).await
    }

    async fn access(&self, caller: &Caller, name: &DatasetName) -> Result<Option<Access>> {
        let key = (caller.on_dataset(name).holders(), name.clone());
        if let Some(access) = self.known.lock().access.get(&key, self.age) {
            return Ok(Some(access));
        }
        let writes = self.writes();
        let mut found = match self.inner.access(caller, name).await {
            Ok(found) => found,
            Err(error) => {
                return self.instead(error, |known, age| known.access.get(&key, age).map(only_read));
            }
        };
        if let Some(access) = &mut found {
            self.keep(writes, |known| known.remember_access(key.0, access));
        }
        Ok(found)
    }

    async fn access_by_id(&self, caller: &Caller, id: DatasetId) -> Result<Option<Access>> {
        let remembered = {
            let known = self.known.lock();
            known.datasets.get(&id).and_then(|dataset| {
                let key = (caller.on_dataset(&dataset.name).holders(), dataset.name.clone());
                known.access.get(&key, self.age).filter(|access| access.dataset.id == id)
            })
        };
        if remembered.is_some() {
            return Ok(remembered);
        }
        let writes = self.writes();
        let mut found = self.inner.access_by_id(caller, id).await?;
        if let Some(access) = &mut found {
            let holders = caller.on_dataset(&access.dataset.name).holders();
            self.keep(writes, |known| known.remember_access(holders, access));
        }
        Ok(found)
    }

    async fn role_on_namespace(&self, caller: &Caller, namespace: &Namespace) -> Result<Option<Role>> {
        let holders = caller.on_namespace(namespace).holders();
        let ask = self.inner.role_on_namespace(caller, namespace);
        self.role(holders, Scope::Namespace(namespace.clone()), ask).await
    }

    async fn role_on_instance(&self, caller: &Caller) -> Result<Option<Role>> {
        self.role(caller.on_instance().holders(), Scope::Instance, self.inner.role_on_instance(caller)).await
    }
}

#[async_trait]
impl Events for CachedCatalog {
    async fn tell_versions(&self, versions: &[(DatasetId, u64)]) -> Result<()> {
        self.inner.tell_versions(versions).await
    }

    async fn events(&self, after: u64, limit: usize) -> Result<Feed> {
        self.inner.events(after, limit).await
    }

    async fn last_event(&self) -> Result<u64> {
        self.inner.last_event().await
    }

    async fn wait_for_event(&self, after: u64, within: Duration) -> Result<u64> {
        self.inner.wait_for_event(after, within).await
    }

    async fn forget_events(&self, before: DateTime<Utc>) -> Result<u64> {
        self.inner.forget_events(before).await
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

    async fn admit(
        &self,
        credential: &Credential,
        now: DateTime<Utc>,
        name: &DatasetName,
    ) -> Result<Option<(Identity, Option<Access>)>> {
        let key = |identity: &Identity| {
            let caller = Caller::from(identity.clone());
            (caller.on_dataset(name).holders(), name.clone())
        };
        let remembered = self.known.lock().identities.get(credential, self.age);
        if let Some(identity) = remembered.filter(|identity| identity.lasts(now)) {
            let access = self.access(&identity.clone().into(), name).await?;
            return Ok(Some((identity, access)));
        }
        let writes = self.writes();
        let mut found = match self.inner.admit(credential, now, name).await {
            Ok(found) => found,
            Err(error) => {
                return self.instead(error, |known, age| {
                    let identity = known.identities.get(credential, age).filter(|identity| identity.lasts(now))?;
                    let access = known.access.get(&key(&identity), age).map(only_read)?;
                    Some((identity, Some(access)))
                });
            }
        };
        if let Some((identity, access)) = &mut found {
            self.keep(writes, |known| {
                if let Some(access) = access {
                    known.remember_access(key(identity).0, access);
                }
                known.identities.put(credential.clone(), identity.clone());
            });
        }
        Ok(found)
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
