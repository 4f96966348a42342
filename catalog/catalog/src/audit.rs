//! The audit: who did what to which dataset, and how it was decided.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::ids::{AuditId, DatasetId, PrincipalId};
use crate::name::DatasetName;
use crate::page::{Listing, Page};
use crate::principal::Principal;

/// Something that somebody did, or tried to. It outlives what it is about: names are as they were then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Names it; ids sort by age.
    pub id: AuditId,
    /// When it ended; microseconds are kept.
    pub at: DateTime<Utc>,
    /// Who it was; `None` without a credential, or with one that is not valid.
    pub by: Option<Audited>,
    /// By which protocol.
    pub protocol: Protocol,
    /// What was done.
    pub action: AuditAction,
    /// How it was decided.
    pub decision: Decision,
    /// The code of the error, when there was one.
    pub code: Option<String>,
    /// The dataset, as it was named; also one that there is not.
    pub dataset: Option<DatasetName>,
    /// Its id, where it was found.
    pub dataset_id: Option<DatasetId>,
    /// The version that was read or made.
    pub version: Option<u64>,
    /// Rows of the whole answer, or of the push.
    pub rows: Option<u64>,
    /// Bytes of the whole answer before they are encoded, or of the push as it was sent.
    pub bytes: Option<u64>,
    /// The query that it was part of.
    pub query_id: Option<String>,
    /// The request, as the log has it.
    pub request_id: Option<String>,
    /// What else there is to say: the namespace, the principal, the role. Never a secret.
    pub detail: Option<String>,
}

/// A principal as it was then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audited {
    /// Its id.
    pub id: PrincipalId,
    /// Its name.
    pub name: String,
}

impl From<&Principal> for Audited {
    fn from(principal: &Principal) -> Self {
        Self { id: principal.id, name: principal.name.clone() }
    }
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$of:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$of])* #[serde(rename = $word)] $variant,)*
        }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Its stable word.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }
    };
}

words! {
    /// How something came in.
    Protocol {
        /// REST.
        Rest = "rest",
        /// Arrow Flight SQL.
        Flight = "flight",
        /// A job, some time after it was asked for.
        Job = "job",
    }
}

words! {
    /// How something was decided.
    Decision {
        /// It was allowed, and done.
        Allowed = "allowed",
        /// It was refused: the credential is not valid, the dataset not to be seen, or the role too low.
        Denied = "denied",
        /// It was allowed, and failed.
        Failed = "failed",
    }
}

words! {
    /// What was done.
    AuditAction {
        /// A credential was refused.
        Authenticate = "authenticate",
        /// A name and a password were shown.
        LogIn = "log_in",
        /// A statement was asked, or rows were read.
        Query = "query",
        /// Rows were pushed.
        Push = "push",
        /// A dataset was looked at: its record, its versions, its policy.
        ShowDataset = "show_dataset",
        /// A dataset was created.
        CreateDataset = "create_dataset",
        /// A dataset's description, visibility or columns were changed.
        ChangeDataset = "change_dataset",
        /// A dataset was deleted.
        DeleteDataset = "delete_dataset",
        /// A policy was set or taken away.
        ChangePolicy = "change_policy",
        /// A dataset's files were rewritten or cleaned up because somebody asked.
        Maintain = "maintain",
        /// A namespace was created or deleted.
        ChangeNamespace = "change_namespace",
        /// Grants were looked at.
        ShowGrants = "show_grants",
        /// A role was given or taken away.
        ChangeGrant = "change_grant",
        /// A principal was created or deleted, or its password set.
        ChangePrincipal = "change_principal",
        /// A group was created or deleted, or its members changed.
        ChangeGroup = "change_group",
        /// A token was made or revoked.
        ChangeToken = "change_token",
        /// A job was submitted or cancelled.
        ChangeJob = "change_job",
    }
}

/// A query that has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryEntry {
    /// Names the entry; a query's own id may have been chosen by its caller, and used before.
    pub id: AuditId,
    /// When the query arrived; microseconds are kept.
    pub at: DateTime<Utc>,
    /// The query's id.
    pub query_id: String,
    /// Who asked; `None` without a token.
    pub by: Option<Audited>,
    /// By which protocol.
    pub protocol: Protocol,
    /// The beginning of its statement.
    pub sql: String,
    /// How it ended: `done`, `failed` or `cancelled`.
    pub state: String,
    /// How long it took, in milliseconds.
    pub elapsed_ms: u64,
    /// Rows that its caller has read.
    pub rows: u64,
    /// Their bytes before they are encoded.
    pub bytes: u64,
    /// The version of each dataset that it read.
    pub versions: BTreeMap<String, u64>,
    /// What it failed with.
    pub code: Option<String>,
}

/// Which entries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditFilter {
    /// Only what this principal did.
    pub by: Option<PrincipalId>,
    /// Only from this time on.
    pub since: Option<DateTime<Utc>>,
    /// Only before this time.
    pub until: Option<DateTime<Utc>>,
}

impl AuditFilter {
    /// Whether it lets an entry of this time by this principal through.
    pub fn admits(&self, at: DateTime<Utc>, by: Option<&Audited>) -> bool {
        let whose = self.by.is_none_or(|id| by.is_some_and(|by| by.id == id));
        whose && self.since.is_none_or(|since| at >= since) && self.until.is_none_or(|until| at < until)
    }
}

/// Entries, queries or events that one call forgets at most, so that it ends soon, however many there are.
pub const MAX_FORGOTTEN: usize = 5_000;

/// What was done, kept for those who must answer for it.
#[async_trait]
pub trait Audit: Send + Sync {
    /// Keeps entries, all or none; those whose id is there already stay as they are, so that it may be tried again.
    async fn record(&self, entries: &[AuditEntry]) -> Result<()>;

    /// Keeps queries, all or none; those whose id is there already stay as they are.
    async fn record_queries(&self, queries: &[QueryEntry]) -> Result<()>;

    /// Entries that the filter lets through, the newest first.
    async fn audit(&self, filter: &AuditFilter, page: &Page) -> Result<Listing<AuditEntry>>;

    /// Queries that the filter lets through, the newest first.
    async fn audited_queries(&self, filter: &AuditFilter, page: &Page) -> Result<Listing<QueryEntry>>;

    /// Forgets entries and queries of before this time, at most [`MAX_FORGOTTEN`] of each; how many. Whoever wants all gone asks
    /// until there were none.
    async fn forget_audit(&self, before: DateTime<Utc>) -> Result<u64>;
}
