//! [`Groups`] in memory.

use std::ops::Bound;

use async_trait::async_trait;

use super::{MemoryCatalog, State, already_exists, not_found, now};
use crate::error::Result;
use crate::event::Change;
use crate::grant::Grantee;
use crate::group::{Group, Groups};
use crate::ids::{GroupId, PrincipalId};
use crate::page::{Listing, Page};
use crate::principal::{NewPrincipal, Principal};

#[async_trait]
impl Groups for MemoryCatalog {
    async fn create_group(&self, name: &str) -> Result<Group> {
        Group::check_name(name)?;
        let mut state = self.state.lock();
        if state.groups.contains_key(name) {
            return Err(already_exists("group", &name));
        }
        let group = Group { id: GroupId::generate(), name: name.to_owned(), created_at: now() };
        state.groups.insert(name.to_owned(), group.clone());
        Ok(group)
    }

    async fn group(&self, id: GroupId) -> Result<Option<Group>> {
        Ok(self.state.lock().group(id).ok().cloned())
    }

    async fn group_by_name(&self, name: &str) -> Result<Option<Group>> {
        Ok(self.state.lock().groups.get(name).cloned())
    }

    async fn list_groups(&self, page: &Page) -> Result<Listing<Group>> {
        let start = page.after(NewPrincipal::name_from)?.map_or(Bound::Unbounded, Bound::Excluded);
        let state = self.state.lock();
        let items = state.groups.range((start, Bound::Unbounded)).take(page.size() + 1);
        let items = items.map(|(_, group)| group.clone()).collect();
        Ok(Listing::from_overfull(items, page.size(), |group| group.name.clone()))
    }

    async fn delete_group(&self, id: GroupId) -> Result<()> {
        let mut state = self.state.lock();
        let name = state.group(id)?.name.clone();
        state.groups.remove(&name);
        state.members.retain(|(group, _)| *group != id);
        state.grants.retain(|(grantee, _), _| *grantee != Grantee::Group(id));
        state.tell(Change::RightsChanged);
        Ok(())
    }

    async fn add_member(&self, group: GroupId, principal: PrincipalId) -> Result<()> {
        let mut state = self.state.lock();
        state.group(group)?;
        state.principal(principal)?;
        state.members.insert((group, principal));
        state.tell(Change::RightsChanged);
        Ok(())
    }

    async fn remove_member(&self, group: GroupId, principal: PrincipalId) -> Result<()> {
        let mut state = self.state.lock();
        if !state.members.remove(&(group, principal)) {
            return Err(not_found("member", &principal));
        }
        state.tell(Change::RightsChanged);
        Ok(())
    }

    async fn members(&self, group: GroupId, page: &Page) -> Result<Listing<Principal>> {
        let start = page.after(NewPrincipal::name_from)?.map_or(Bound::Unbounded, Bound::Excluded);
        let state = self.state.lock();
        let all = state.principals.range((start, Bound::Unbounded)).map(|(_, principal)| principal);
        let members = all.filter(|principal| state.members.contains(&(group, principal.id)));
        let items = members.take(page.size() + 1).cloned().collect();
        Ok(Listing::from_overfull(items, page.size(), |principal: &Principal| principal.name.clone()))
    }

    async fn groups_of(&self, principal: PrincipalId) -> Result<Vec<Group>> {
        Ok(self.state.lock().groups_of(principal))
    }
}

impl State {
    pub(super) fn group(&self, id: GroupId) -> Result<&Group> {
        self.groups.values().find(|group| group.id == id).ok_or_else(|| not_found("group", &id))
    }

    pub(super) fn groups_of(&self, principal: PrincipalId) -> Vec<Group> {
        self.groups.values().filter(|group| self.members.contains(&(group.id, principal))).cloned().collect()
    }
}
