//! Grants: which role a principal has, and on what.

use std::fmt;
use std::str::FromStr;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::dataset::Dataset;
use crate::error::{CatalogError, Result};
use crate::ids::{DatasetId, PrincipalId};
use crate::name::Namespace;

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
                what: "role",
                value: text.chars().take(80).collect(),
                why: "it must be reader, writer, maintainer or owner".to_owned(),
            }),
        }
    }
}

/// What a grant covers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// Everything, and the administration of principals.
    Instance,
    /// Every dataset of a namespace, present and future.
    Namespace(Namespace),
    /// One dataset.
    Dataset(DatasetId),
}

/// One principal's role on one scope.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Grant {
    /// Who.
    pub principal: PrincipalId,
    /// On what.
    pub scope: Scope,
    /// Which role.
    pub role: Role,
}

/// The grants of an instance.
#[async_trait]
pub trait Grants: Send + Sync {
    /// Gives the principal this role on the scope, in place of the one it had there.
    ///
    /// Errors: `NotFound` for the principal, namespace or dataset; `LastOwner` when it would take
    /// the role `owner` on the instance from the only principal that has it.
    async fn grant(&self, grant: Grant) -> Result<()>;

    /// Takes the role on exactly this scope away. Errors: `NotFound`, `LastOwner`.
    async fn revoke(&self, principal: PrincipalId, scope: &Scope) -> Result<()>;

    /// All grants of a principal, in a stable order.
    async fn grants_of(&self, principal: PrincipalId) -> Result<Vec<Grant>>;

    /// All grants on exactly this scope, in a stable order.
    async fn grants_on(&self, scope: &Scope) -> Result<Vec<Grant>>;

    /// The highest role that the principal has on the dataset: by itself, through its namespace or
    /// through the instance. Visibility is not looked at.
    async fn role_on_dataset(&self, principal: PrincipalId, dataset: &Dataset) -> Result<Option<Role>>;

    /// The highest role on the namespace: by itself or through the instance.
    async fn role_on_namespace(&self, principal: PrincipalId, namespace: &Namespace) -> Result<Option<Role>>;

    /// The role on the instance.
    async fn role_on_instance(&self, principal: PrincipalId) -> Result<Option<Role>>;
}
