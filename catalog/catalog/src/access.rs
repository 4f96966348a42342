//! Who calls, and what that caller may do to a dataset.

use std::borrow::Cow;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::Catalog;
use crate::dataset::Dataset;
use crate::grant::{Grantee, Role};
use crate::group::Group;
use crate::name::{DatasetName, Namespace};
use crate::policy::Policy;
use crate::principal::{ExternalId, Principal};
use crate::token::TokenHash;
use crate::token_scope::{Action, TokenScope};

/// Who a credential stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The principal.
    pub principal: Principal,
    /// The groups that the principal is in, by name.
    pub groups: Vec<Group>,
    /// What the credential is limited to.
    pub scope: TokenScope,
    /// When the credential stops working; what the caller makes with it must not outlive it.
    pub expires_at: Option<DateTime<Utc>>,
}

impl Identity {
    /// Whether the credential still works then.
    pub fn lasts(&self, now: DateTime<Utc>) -> bool {
        self.expires_at.is_none_or(|end| end > now)
    }
}

impl From<Principal> for Identity {
    /// The principal in no group, by a credential without limits.
    fn from(principal: Principal) -> Self {
        Self { principal, groups: Vec::new(), scope: TokenScope::default(), expires_at: None }
    }
}

/// What a request shows to say who makes it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Credential {
    /// A token of ours.
    Token(TokenHash),
    /// Somebody whom an issuer vouches for.
    External {
        /// Who it is there.
        id: ExternalId,
        /// The groups that it is in there, by name.
        groups: Vec<String>,
    },
}

/// Who makes a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Caller {
    /// No credential was sent.
    Anonymous,
    /// A credential was sent and is valid.
    Known(#[serde(with = "crate::arc")] Arc<Identity>),
}

impl From<Principal> for Caller {
    fn from(principal: Principal) -> Self {
        Self::Known(Arc::new(principal.into()))
    }
}

impl From<Identity> for Caller {
    fn from(identity: Identity) -> Self {
        Self::Known(Arc::new(identity))
    }
}

impl Caller {
    /// Who it is, when a credential was sent.
    pub fn identity(&self) -> Option<&Identity> {
        match self {
            Self::Anonymous => None,
            Self::Known(identity) => Some(identity),
        }
    }

    /// The principal, when there is one.
    pub fn principal(&self) -> Option<&Principal> {
        self.identity().map(|identity| &identity.principal)
    }

    /// The names of the groups that the caller is in.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.identity().into_iter().flat_map(|identity| &identity.groups).map(|group| group.name.as_str())
    }

    /// Whether the caller's credential may be used for this; whoever has none is not limited by one.
    pub fn may(&self, action: Action) -> bool {
        self.identity().is_none_or(|identity| identity.scope.allows(action))
    }

    /// The caller as it is to a dataset: nobody where its credential does not reach.
    pub fn on_dataset(&self, name: &DatasetName) -> Cow<'_, Self> {
        self.where_reached(|scope| scope.covers(name))
    }

    /// The caller as it is to a namespace.
    pub fn on_namespace(&self, namespace: &Namespace) -> Cow<'_, Self> {
        self.where_reached(|scope| scope.covers_namespace(namespace))
    }

    /// The caller as it is to the instance.
    pub fn on_instance(&self) -> Cow<'_, Self> {
        self.where_reached(|scope| scope.datasets.is_empty())
    }

    fn where_reached(&self, reaches: impl FnOnce(&TokenScope) -> bool) -> Cow<'_, Self> {
        let reached = self.identity().is_none_or(|identity| reaches(&identity.scope));
        if reached { Cow::Borrowed(self) } else { Cow::Owned(Self::Anonymous) }
    }

    /// All whose grants are the caller's: everyone, itself, its groups. As one text, `|public|<id>|<id>|`, in which each
    /// [`Grantee`] stands between bars; two callers with the same text have the same rights.
    pub fn holders(&self) -> String {
        let groups = self.identity().into_iter().flat_map(|identity| &identity.groups);
        let mut all = format!("|{}|", Grantee::Public);
        let own = self.principal().map(|principal| Grantee::Principal(principal.id));
        for grantee in own.into_iter().chain(groups.map(|group| Grantee::Group(group.id))) {
            all.push_str(&format!("{grantee}|"));
        }
        all
    }
}

/// What is missing for what a caller wants to do; its words follow "this needs".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lack {
    /// A role.
    #[error("the role {role} on {on}")]
    Role {
        /// The role.
        role: Role,
        /// On what, in words.
        on: String,
    },
    /// The role is there, but the credential is not for this.
    #[error("the action `{}`, which your token is not for", .0.as_str())]
    Action(Action),
}

/// What a caller may do to one dataset that it can see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// The dataset.
    #[serde(with = "crate::arc")]
    pub dataset: Arc<Dataset>,
    /// The caller's highest role; at least [`Role::Reader`].
    pub role: Role,
}

impl Access {
    /// Whether the caller may do what needs `role`, by its own role and by what its credential is for; what is missing
    /// when not.
    pub fn require(&self, caller: &Caller, role: Role) -> Result<(), Lack> {
        if self.role < role {
            return Err(Lack::Role { role, on: "it".to_owned() });
        }
        if caller.may(role.action()) { Ok(()) } else { Err(Lack::Action(role.action())) }
    }

    /// The dataset's record as the caller may know it.
    pub fn seen(self) -> Dataset {
        let policy = self.policy().cloned();
        let dataset = Arc::unwrap_or_clone(self.dataset);
        match policy {
            Some(policy) => policy.shown(dataset),
            None => dataset,
        }
    }

    /// A record of a list, as the caller may know it. Asks the catalog only where there is a policy.
    pub async fn of_list(catalog: &dyn Catalog, caller: &Caller, dataset: Dataset) -> crate::Result<Dataset> {
        let Some(policy) = &dataset.policy else { return Ok(dataset) };
        match catalog.access_by_id(caller, dataset.id).await? {
            Some(access) => Ok(access.seen()),
            // Gone, or taken back, since it was listed.
            None => Ok(policy.clone().shown(dataset)),
        }
    }

    /// What holds for the caller's reading; `None` when it reads all as it is.
    pub fn policy(&self) -> Option<&Policy> {
        self.dataset.policy.as_ref().filter(|policy| self.role < Role::Owner && !policy.is_empty())
    }
}
