//! Grants: who has which role, and on what.

use std::fmt;
use std::str::FromStr;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::access::{Access, Caller};
use crate::error::{CatalogError, Result};
use crate::ids::{DatasetId, GroupId, PrincipalId};
use crate::name::{DatasetName, Namespace};

/// What a principal may do; each role includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// See and query.
    Reader,
    /// And push.
    Writer,
    /// And alter, compact and vacuum.
    Maintainer,
    /// And create, delete, publish, and grant.
    Owner,
}

impl Role {
    /// The role's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Writer => "writer",
            Self::Maintainer => "maintainer",
            Self::Owner => "owner",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = CatalogError;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "reader" => Ok(Self::Reader),
            "writer" => Ok(Self::Writer),
            "maintainer" => Ok(Self::Maintainer),
            "owner" => Ok(Self::Owner),
            _ => Err(CatalogError::Invalid {
                what: "role".into(),
                value: text.chars().take(80).collect(),
                why: "it must be reader, writer, maintainer or owner".to_owned(),
            }),
        }
    }
}

/// What a grant covers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Everything, and the administration of principals.
    Instance,
    /// Every dataset of a namespace, present and future.
    Namespace(Namespace),
    /// One dataset.
    Dataset(DatasetId),
}

/// Who has a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Grantee {
    /// One principal.
    Principal(PrincipalId),
    /// Whoever is in a group.
    Group(GroupId),
    /// Everyone, also without a credential; at most [`Role::Reader`], of a namespace.
    Public,
}

impl fmt::Display for Grantee {
    /// The id, or `public`: it names the grantee among all.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Principal(id) => id.fmt(f),
            Self::Group(id) => id.fmt(f),
            Self::Public => f.write_str("public"),
        }
    }
}

/// A role on one scope.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Grant {
    /// Who.
    pub grantee: Grantee,
    /// On what.
    pub scope: Scope,
    /// Which role.
    pub role: Role,
}

impl Grant {
    /// Checks what needs no look-up; every implementation calls it before it stores anything.
    pub fn check(&self) -> Result<()> {
        let why = match (self.grantee, &self.scope, self.role) {
            (Grantee::Public, _, role) if role > Role::Reader => "everyone can be reader and nothing more",
            (Grantee::Public, Scope::Instance, _) => "everyone can be given a namespace, not the whole instance",
            (Grantee::Public, Scope::Dataset(_), _) => "what everyone may do to a dataset is its visibility",
            _ => return Ok(()),
        };
        Err(CatalogError::Invalid { what: "grant to".into(), value: self.grantee.to_string(), why: why.to_owned() })
    }
}

/// The grants of an instance, and what they come to.
#[async_trait]
pub trait Grants: Send + Sync {
    /// Gives this role on the scope, in place of the one that the grantee had there.
    ///
    /// Errors: `NotFound` for the principal, group, namespace or dataset; `Invalid` as [`Grant::check`] says; `LastOwner`
    /// when it would take the role `owner` on the instance from the only principal that has it by itself.
    async fn grant(&self, grant: Grant) -> Result<()>;

    /// Takes the role on exactly this scope away. Errors: `NotFound`, `LastOwner`.
    async fn revoke(&self, grantee: Grantee, scope: &Scope) -> Result<()>;

    /// All grants of exactly this grantee, in a stable order.
    async fn grants_of(&self, grantee: Grantee) -> Result<Vec<Grant>>;

    /// All grants on exactly this scope, in a stable order.
    async fn grants_on(&self, scope: &Scope) -> Result<Vec<Grant>>;

    /// What a caller may do to the dataset with this name; `None` when there is none *or it may not be seen*: nobody can
    /// tell the two apart. The role is the highest that the caller has by itself, by its groups or as one of the public,
    /// on the dataset, its namespace or the instance; visibility counts.
    async fn access(&self, caller: &Caller, name: &DatasetName) -> Result<Option<Access>>;

    /// The same for the dataset with this id.
    async fn access_by_id(&self, caller: &Caller, id: DatasetId) -> Result<Option<Access>>;

    /// The caller's highest role on a namespace, by it or through the instance.
    async fn role_on_namespace(&self, caller: &Caller, namespace: &Namespace) -> Result<Option<Role>>;

    /// The caller's role on the instance.
    async fn role_on_instance(&self, caller: &Caller) -> Result<Option<Role>>;
}
