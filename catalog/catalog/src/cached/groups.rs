//! Groups are asked for each time: what counts is in the identity of who is in them.

use async_trait::async_trait;

use super::CachedCatalog;
use crate::error::Result;
use crate::group::{Group, Groups};
use crate::ids::{GroupId, PrincipalId};
use crate::page::{Listing, Page};
use crate::principal::Principal;

#[async_trait]
impl Groups for CachedCatalog {
    async fn create_group(&self, name: &str) -> Result<Group> {
        let _writing = self.write();
        self.inner.create_group(name).await
    }

    async fn group(&self, id: GroupId) -> Result<Option<Group>> {
        self.inner.group(id).await
    }

    async fn group_by_name(&self, name: &str) -> Result<Option<Group>> {
        self.inner.group_by_name(name).await
    }

    async fn list_groups(&self, page: &Page) -> Result<Listing<Group>> {
        self.inner.list_groups(page).await
    }

    async fn delete_group(&self, id: GroupId) -> Result<()> {
        let _writing = self.write();
        self.inner.delete_group(id).await
    }

    async fn add_member(&self, group: GroupId, principal: PrincipalId) -> Result<()> {
        let _writing = self.write();
        self.inner.add_member(group, principal).await
    }

    async fn remove_member(&self, group: GroupId, principal: PrincipalId) -> Result<()> {
        let _writing = self.write();
        self.inner.remove_member(group, principal).await
    }

    async fn members(&self, group: GroupId, page: &Page) -> Result<Listing<Principal>> {
        self.inner.members(group, page).await
    }

    async fn groups_of(&self, principal: PrincipalId) -> Result<Vec<Group>> {
        self.inner.groups_of(principal).await
    }
}
