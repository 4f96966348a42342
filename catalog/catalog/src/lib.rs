//! What the catalog is: the words, records and traits through which the rest of Lakegate knows
//! datasets and callers.
//!
//! It holds metadata and decides who may do what. It is not a storage engine and never sees table
//! data: nothing here knows Arrow, DataFusion, HTTP or a path.
//!
//! The main type is the [`Catalog`] trait, the sum of [`Datasets`], [`Principals`], [`Groups`], [`Grants`],
//! [`Events`], [`Jobs`] and [`Audit`].
//! [`MemoryCatalog`] implements it in memory; `lakegate-catalog-sql` does on SQLite and PostgreSQL.
//! [`contract`] holds the suites that every implementation must pass.

mod access;
mod arc;
mod audit;
mod cached;
mod column;
pub mod contract;
mod dataset;
mod door;
mod error;
mod event;
mod grant;
mod group;
mod hex;
mod ids;
mod job;
mod key;
mod memory;
mod name;
mod owner;
mod pace;
mod page;
mod password;
mod policy;
mod principal;
mod shares;
mod token;
mod token_scope;
mod trail;

pub use access::{Access, Caller, Credential, Identity, Lack};
pub use audit::{Audit, AuditAction, AuditEntry, AuditFilter, Audited, Decision, MAX_FORGOTTEN, Protocol, QueryEntry};
pub use cached::CachedCatalog;
pub use column::{Column, ColumnType, ParseTypeError};
pub use dataset::{
    ColumnsAt, Dataset, DatasetChange, DatasetKind, Datasets, GeometryColumn, MergeStrategy, NamespaceRecord,
    NewDataset, Tombstone, Visibility,
};
pub use door::{Bearer, Door, DoorError, NotVouched, Vouched, Vouching};
pub use error::{CatalogError, ErrorKind, Result};
pub use event::{Change, Event, Events, Feed, JobEnd, MAX_EVENTS, Subject};
pub use grant::{Grant, Grantee, Grants, Role, Scope};
pub use group::{Group, Groups};
pub use ids::{AuditId, DatasetId, GroupId, JobId, LakeId, PrincipalId, TokenId};
pub use job::{
    Claim, Hold, Job, JobCounts, JobError, JobFilter, JobState, Jobs, LogLine, MAX_LINE, MAX_LOG_LINES, NewJob,
    Outcome, Progress, backoff, log_line,
};
pub use key::{InstanceKey, ParseKeyError};
pub use memory::MemoryCatalog;
pub use name::{DatasetName, Namespace};
pub use owner::ensure_owner;
pub use pace::Pace;
pub use page::{Listing, Page};
pub use password::{Attempt, Failures, Login, PasswordHash, log_in};
pub use policy::{Mask, Policy};
pub use principal::{ExternalId, NewPrincipal, NewToken, Principal, PrincipalKind, Principals, TokenRecord};
pub use shares::Shares;
pub use token::{ApiToken, TokenHash};
pub use token_scope::{Action, DatasetPattern, TokenScope};
pub use trail::{Taken, Trail, Visit};

use async_trait::async_trait;
use chrono::{DateTime, Utc};

/// All that the gateway asks of a catalog.
#[async_trait]
pub trait Catalog: Datasets + Principals + Groups + Grants + Events + Jobs + Audit + 'static {
    /// Reaches the backing store and answers once it has really answered; `/readyz` calls it.
    async fn ping(&self) -> Result<()>;

    /// Waits for running calls and lets go of the backing store; a SQLite file is whole by itself afterwards. Later
    /// calls may fail as unavailable.
    async fn close(&self);

    /// Creates the instance's first owner together with its first token, all or nothing. `None`, and
    /// nothing changed, when the instance already has an owner: of several callers at once, in one process or in
    /// many, exactly one creates it.
    ///
    /// The caller makes the token, so that it can be kept safe before the instance comes to depend on
    /// it. Errors: `AlreadyExists` when a principal without that role has the name; `Invalid`.
    async fn create_first_owner(&self, owner: NewPrincipal, token: &TokenHash) -> Result<Option<Principal>>;

    /// Who a credential stands for and what that caller may do to a dataset, asked at once: what
    /// [`Principals::authenticate`] or [`Principals::identify_external`] and then [`Grants::access`] say. `None` for a
    /// credential that stands for nobody.
    async fn admit(
        &self,
        credential: &Credential,
        now: DateTime<Utc>,
        name: &DatasetName,
    ) -> Result<Option<(Identity, Option<Access>)>> {
        let found = match credential {
            Credential::Token(hash) => self.authenticate(hash, now).await?,
            Credential::External { id, groups } => self.identify_external(id, groups).await?,
        };
        let Some(identity) = found else { return Ok(None) };
        let access = self.access(&identity.clone().into(), name).await?;
        Ok(Some((identity, access)))
    }

    /// The lake that holds the tables of this catalog's datasets; `None` until one is remembered.
    async fn lake(&self) -> Result<Option<LakeId>>;

    /// Remembers the lake, once for ever, and answers the one that is remembered: of several callers at
    /// once, the first one's. A caller whose lake is another must not use it: every dataset would look empty.
    async fn remember_lake(&self, lake: LakeId) -> Result<LakeId>;

    /// Remembers the key that the gateways of this instance sign with, once for ever, and answers the one that is
    /// remembered: of several callers at once, the first one's.
    async fn remember_key(&self, key: InstanceKey) -> Result<InstanceKey>;
}
