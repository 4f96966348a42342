//! Who calls, and what that caller may do to a dataset.

use crate::Catalog;
use crate::dataset::{Dataset, Visibility};
use crate::error::{ErrorKind, Result};
use crate::grant::Role;
use crate::name::DatasetName;
use crate::principal::Principal;

/// Who makes a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// No credential was sent.
    Anonymous,
    /// A credential was sent and is valid.
    Principal(Principal),
}

impl Caller {
    /// The principal, when there is one.
    pub fn principal(&self) -> Option<&Principal> {
        match self {
            Self::Anonymous => None,
            Self::Principal(principal) => Some(principal),
        }
    }
}

/// What a caller may do to one dataset that it can see.
#[derive(Clone, Debug)]
pub struct Access {
    /// The dataset.
    pub dataset: Dataset,
    /// The caller's highest role; at least [`Role::Reader`].
    pub role: Role,
}

impl Access {
    /// Looks a dataset up for a caller. `None` when it does not exist *or may not be seen*: nobody
    /// can tell the two apart.
    pub async fn find(catalog: &dyn Catalog, caller: &Caller, name: &DatasetName) -> Result<Option<Self>> {
        match catalog.dataset(name).await? {
            Some(dataset) => Self::of(catalog, caller, dataset).await,
            None => Ok(None),
        }
    }

    /// What a caller may do to a dataset that was looked up already; `None` when it may not see it.
    pub async fn of(catalog: &dyn Catalog, caller: &Caller, dataset: Dataset) -> Result<Option<Self>> {
        let granted = match caller {
            Caller::Anonymous => None,
            Caller::Principal(principal) => catalog.role_on_dataset(principal.id, &dataset).await?,
        };
        let public = (dataset.visibility == Visibility::Public).then_some(Role::Reader);
        Ok(granted.max(public).map(|role| Self { dataset, role }))
    }

    /// Whether the caller may do what needs `role`; the kind to refuse with when not.
    pub fn require(&self, role: Role) -> std::result::Result<(), ErrorKind> {
        if self.role >= role { Ok(()) } else { Err(ErrorKind::Denied) }
    }
}
