//! [`Grants`] in memory.

use async_trait::async_trait;

use super::{MemoryCatalog, State, not_found};
use crate::dataset::Dataset;
use crate::error::Result;
use crate::grant::{Grant, Grants, Role, Scope};
use crate::ids::PrincipalId;
use crate::name::Namespace;

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
    pub(super) fn highest(&self, principal: PrincipalId, dataset: &Dataset) -> Option<Role> {
        let own = self.role(principal, Scope::Dataset(dataset.id));
        own.max(self.highest_on_namespace(principal, dataset.name.namespace()))
    }

    pub(super) fn highest_on_namespace(&self, principal: PrincipalId, namespace: &Namespace) -> Option<Role> {
        let own = self.role(principal, Scope::Namespace(namespace.clone()));
        own.max(self.role(principal, Scope::Instance))
    }

    fn grants_where(&self, wanted: impl Fn(PrincipalId, &Scope) -> bool) -> Vec<Grant> {
        let grants = self.grants.iter().filter(|((principal, scope), _)| wanted(*principal, scope));
        grants
            .map(|((principal, scope), role)| Grant { principal: *principal, scope: scope.clone(), role: *role })
            .collect()
    }
}
