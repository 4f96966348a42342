//! [`Grants`] in memory.

use std::sync::Arc;

use async_trait::async_trait;

use super::{MemoryCatalog, State, not_found};
use crate::access::{Access, Caller};
use crate::dataset::{Dataset, Visibility};
use crate::error::Result;
use crate::event::Change;
use crate::grant::{Grant, Grantee, Grants, Role, Scope};
use crate::ids::DatasetId;
use crate::name::{DatasetName, Namespace};

#[async_trait]
impl Grants for MemoryCatalog {
    async fn grant(&self, grant: Grant) -> Result<()> {
        grant.check()?;
        let mut state = self.state.lock();
        match grant.grantee {
            Grantee::Principal(id) => drop(state.principal(id)?),
            Grantee::Group(id) => drop(state.group(id)?),
            Grantee::Public => {}
        }
        match &grant.scope {
            Scope::Instance if grant.role < Role::Owner => state.check_not_last_owner(grant.grantee)?,
            Scope::Instance => {}
            Scope::Namespace(namespace) if !state.namespaces.contains_key(namespace) => {
                return Err(not_found("namespace", namespace));
            }
            Scope::Namespace(_) => {}
            Scope::Dataset(id) => drop(state.dataset_by_id(*id)?),
        }
        state.grants.insert((grant.grantee, grant.scope), grant.role);
        state.tell(Change::RightsChanged);
        Ok(())
    }

    async fn revoke(&self, grantee: Grantee, scope: &Scope) -> Result<()> {
        let mut state = self.state.lock();
        if *scope == Scope::Instance {
            state.check_not_last_owner(grantee)?;
        }
        state.grants.remove(&(grantee, scope.clone())).ok_or_else(|| not_found("grant to", &grantee))?;
        state.tell(Change::RightsChanged);
        Ok(())
    }

    async fn grants_of(&self, grantee: Grantee) -> Result<Vec<Grant>> {
        Ok(self.state.lock().grants_where(|who, _| who == grantee))
    }

    async fn grants_on(&self, scope: &Scope) -> Result<Vec<Grant>> {
        Ok(self.state.lock().grants_where(|_, on| on == scope))
    }

    async fn access(&self, caller: &Caller, name: &DatasetName) -> Result<Option<Access>> {
        let state = self.state.lock();
        Ok(state.datasets.get(name).and_then(|dataset| state.access(caller, dataset)))
    }

    async fn access_by_id(&self, caller: &Caller, id: DatasetId) -> Result<Option<Access>> {
        let state = self.state.lock();
        Ok(state.dataset_by_id(id).ok().and_then(|dataset| state.access(caller, dataset)))
    }

    async fn role_on_namespace(&self, caller: &Caller, namespace: &Namespace) -> Result<Option<Role>> {
        let scope = Scope::Namespace(namespace.clone());
        let caller = caller.on_namespace(namespace);
        Ok(self.state.lock().highest(&caller, &[Scope::Instance, scope]))
    }

    async fn role_on_instance(&self, caller: &Caller) -> Result<Option<Role>> {
        let caller = caller.on_instance();
        Ok(self.state.lock().highest(&caller, &[Scope::Instance]))
    }
}

impl State {
    pub(super) fn access(&self, caller: &Caller, dataset: &Dataset) -> Option<Access> {
        let scope = Scope::Dataset(dataset.id);
        let caller = caller.on_dataset(&dataset.name);
        let namespace = Scope::Namespace(dataset.name.namespace().clone());
        let public = (dataset.visibility == Visibility::Public).then_some(Role::Reader);
        let role = public.max(self.highest(&caller, &[Scope::Instance, namespace, scope]));
        role.map(|role| Access { dataset: Arc::new(dataset.clone()), role })
    }

    pub(super) fn highest(&self, caller: &Caller, scopes: &[Scope]) -> Option<Role> {
        let identity = caller.identity();
        let own = identity.map(|identity| Grantee::Principal(identity.principal.id));
        let groups = identity.into_iter().flat_map(|identity| &identity.groups).map(|group| Grantee::Group(group.id));
        let holders = own.into_iter().chain(groups).chain([Grantee::Public]);
        let roles = holders.flat_map(|who| scopes.iter().map(move |scope| (who, scope.clone())));
        roles.filter_map(|key| self.grants.get(&key).copied()).max()
    }

    fn grants_where(&self, wanted: impl Fn(Grantee, &Scope) -> bool) -> Vec<Grant> {
        let grants = self.grants.iter().filter(|((grantee, scope), _)| wanted(*grantee, scope));
        grants.map(|((grantee, scope), role)| Grant { grantee: *grantee, scope: scope.clone(), role: *role }).collect()
    }
}
