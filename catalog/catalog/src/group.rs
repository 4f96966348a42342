//! Groups: named sets of principals that are granted roles together.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::error::{CatalogError, Result};
use crate::ids::{GroupId, PrincipalId};
use crate::page::{Listing, Page};
use crate::principal::{NewPrincipal, Principal};

/// A set of principals.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Names it for ever.
    pub id: GroupId,
    /// Unique among groups, `[a-z][a-z0-9_.@-]{0,62}`.
    pub name: String,
    /// When it was created; microseconds are kept.
    pub created_at: DateTime<Utc>,
}

impl Group {
    /// Checks a name for a new group; every implementation calls it before it stores anything.
    pub fn check_name(name: &str) -> Result<()> {
        if NewPrincipal::valid_name(name) {
            return Ok(());
        }
        Err(CatalogError::Invalid {
            what: "group name".into(),
            value: name.chars().take(80).collect(),
            why: "it must match [a-z][a-z0-9_.@-]{0,62}".to_owned(),
        })
    }
}

/// Groups and who is in them.
#[async_trait]
pub trait Groups: Send + Sync {
    /// Creates a group without members. Errors: `AlreadyExists`, `Invalid`.
    async fn create_group(&self, name: &str) -> Result<Group>;

    /// The group with this id.
    async fn group(&self, id: GroupId) -> Result<Option<Group>>;

    /// The group with this name.
    async fn group_by_name(&self, name: &str) -> Result<Option<Group>>;

    /// All groups, by name. Errors: `Invalid` for a cursor that no listing gave.
    async fn list_groups(&self, page: &Page) -> Result<Listing<Group>>;

    /// Deletes a group with its grants; its members stay. Errors: `NotFound`.
    async fn delete_group(&self, id: GroupId) -> Result<()>;

    /// Puts a principal into a group; nothing happens when it is there. Errors: `NotFound` for either.
    async fn add_member(&self, group: GroupId, principal: PrincipalId) -> Result<()>;

    /// Takes a principal out of a group. Errors: `NotFound` when it is not in it.
    async fn remove_member(&self, group: GroupId, principal: PrincipalId) -> Result<()>;

    /// Who is in a group, by name. Errors: `Invalid` for a cursor that no listing gave.
    async fn members(&self, group: GroupId, page: &Page) -> Result<Listing<Principal>>;

    /// The groups that a principal is in, by name.
    async fn groups_of(&self, principal: PrincipalId) -> Result<Vec<Group>>;
}
