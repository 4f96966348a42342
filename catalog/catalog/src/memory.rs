//! The catalog in memory: for tests, and for instances that keep nothing.

mod audit;
mod datasets;
mod events;
mod grants;
mod groups;
mod jobs;
mod principals;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use async_trait::async_trait;
use chrono::{DateTime, SubsecRound as _, Utc};
use parking_lot::Mutex;

use crate::Catalog;
use crate::dataset::{Dataset, Tombstone};
use crate::error::{CatalogError, Result};
use crate::grant::{Grantee, Role, Scope};
use crate::group::Group;
use crate::ids::{DatasetId, GroupId, LakeId, PrincipalId};
use crate::key::InstanceKey;
use crate::name::{DatasetName, Namespace};
use crate::password::{Failures, PasswordHash};
use crate::principal::{ExternalId, NewPrincipal, NewToken, Principal, TokenRecord};
use crate::token::TokenHash;
use crate::token_scope::TokenScope;

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
    namespaces: BTreeMap<Namespace, DateTime<Utc>>,
    datasets: BTreeMap<DatasetName, Dataset>,
    /// In order of deletion.
    tombstones: Vec<Tombstone>,
    principals: BTreeMap<String, Principal>,
    external: HashMap<ExternalId, PrincipalId>,
    passwords: HashMap<PrincipalId, PasswordHash>,
    /// By name, with the time of the last one.
    failures: HashMap<String, (DateTime<Utc>, Failures)>,
    tokens: HashMap<TokenHash, TokenRecord>,
    groups: BTreeMap<String, Group>,
    members: BTreeSet<(GroupId, PrincipalId)>,
    grants: BTreeMap<(Grantee, Scope), Role>,
    told: events::Told,
    work: jobs::Work,
    audited: audit::Audited,
    lake: Option<LakeId>,
    key: Option<InstanceKey>,
}

impl State {
    fn dataset_by_id(&self, id: DatasetId) -> Result<&Dataset> {
        self.datasets.values().find(|dataset| dataset.id == id).ok_or_else(|| not_found("dataset", &id))
    }

    fn principal(&self, id: PrincipalId) -> Result<&Principal> {
        self.principals.values().find(|principal| principal.id == id).ok_or_else(|| not_found("principal", &id))
    }

    /// Principals that own the instance by themselves.
    fn owners(&self) -> impl Iterator<Item = Grantee> {
        let owner = |((who, scope), role): (&(Grantee, Scope), &Role)| {
            let owns = matches!(who, Grantee::Principal(_)) && *scope == Scope::Instance && *role == Role::Owner;
            owns.then_some(*who)
        };
        self.grants.iter().filter_map(owner)
    }

    /// Refuses to take the role `owner` from the only principal that has it on the instance.
    fn check_not_last_owner(&self, grantee: Grantee) -> Result<()> {
        let mut owners = self.owners();
        let last = owners.next() == Some(grantee) && owners.next().is_none();
        if last { Err(CatalogError::LastOwner) } else { Ok(()) }
    }

    fn id_is_taken(&self, id: DatasetId) -> bool {
        self.dataset_by_id(id).is_ok() || self.tombstones.iter().any(|tombstone| tombstone.id == id)
    }
}

fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(6)
}

fn not_found(what: &'static str, name: &impl ToString) -> CatalogError {
    CatalogError::NotFound { what: what.into(), name: name.to_string() }
}

fn already_exists(what: &'static str, name: &impl ToString) -> CatalogError {
    CatalogError::AlreadyExists { what: what.into(), name: name.to_string() }
}

#[async_trait]
impl Catalog for MemoryCatalog {
    async fn ping(&self) -> Result<()> {
        Ok(())
    }

    async fn close(&self) {}

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
            scope: TokenScope::default(),
        })?;
        state.grants.insert((Grantee::Principal(owner.id), Scope::Instance), Role::Owner);
        Ok(Some(owner))
    }

    async fn lake(&self) -> Result<Option<LakeId>> {
        Ok(self.state.lock().lake)
    }

    async fn remember_lake(&self, lake: LakeId) -> Result<LakeId> {
        Ok(*self.state.lock().lake.get_or_insert(lake))
    }

    async fn remember_key(&self, key: InstanceKey) -> Result<InstanceKey> {
        Ok(*self.state.lock().key.get_or_insert(key))
    }
}
