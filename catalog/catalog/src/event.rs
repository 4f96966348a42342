//! Events: what has changed, in the order in which it did.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::ids::{DatasetId, JobId, PrincipalId};
use crate::job::{Job, JobState};
use crate::name::DatasetName;

/// Something that has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Its place in the order, from 1; there are no gaps.
    pub id: u64,
    /// When it was told; microseconds are kept.
    pub at: DateTime<Utc>,
    /// What has changed.
    pub change: Change,
}

/// What has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Change {
    /// A dataset came to be.
    DatasetCreated(Subject),
    /// Its record changed: description, columns, visibility, policy.
    DatasetChanged(Subject),
    /// It is gone.
    DatasetDropped(Subject),
    /// A version of its table was committed, and with it all before.
    VersionCommitted {
        /// Which dataset.
        #[serde(flatten)]
        subject: Subject,
        /// The newest version when this was told.
        version: u64,
    },
    /// What somebody may do changed: grants, groups, principals, tokens.
    RightsChanged,
    /// A job ended.
    JobEnded(JobEnd),
}

/// A job that ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobEnd {
    /// Its id.
    pub job: JobId,
    /// What kind of work it was.
    pub kind: String,
    /// How it ended.
    pub state: JobState,
    /// Who had asked for it.
    pub by: Option<PrincipalId>,
    /// The dataset that it was about.
    pub about: Option<Subject>,
}

impl From<&Job> for JobEnd {
    fn from(job: &Job) -> Self {
        Self { job: job.id, kind: job.kind.clone(), state: job.state, by: job.by, about: job.dataset.clone() }
    }
}

/// The dataset that an event is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// Its id.
    pub dataset_id: DatasetId,
    /// Its name then.
    pub dataset: DatasetName,
}

impl Change {
    /// The dataset that has changed, if one has.
    pub fn subject(&self) -> Option<&Subject> {
        match self {
            Self::DatasetCreated(subject)
            | Self::DatasetChanged(subject)
            | Self::DatasetDropped(subject)
            | Self::VersionCommitted { subject, .. } => Some(subject),
            Self::RightsChanged | Self::JobEnded(_) => None,
        }
    }
}

/// Some events in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Feed {
    /// The events, oldest first, without gaps.
    pub events: Vec<Event>,
    /// Whether there were events before these that are forgotten, or the one that whoever follows has seen last has not been
    /// told, as when the store was put back to what it was before: whoever follows has missed something, and must look at
    /// everything anew.
    pub missed: bool,
}

/// The feed of events.
///
/// What a call of the catalog changes is told by that call itself, in the same transaction: nobody can see an event whose
/// change is not there, nor miss one whose change is. Versions are told by whoever committed them, a moment later; an event
/// that is lost with a process leaves the version where it is, in storage.
#[async_trait]
pub trait Events: Send + Sync {
    /// Tells of versions that were committed. Datasets that are gone are left out.
    async fn tell_versions(&self, versions: &[(DatasetId, u64)]) -> Result<()>;

    /// The events after the one with this id, at most `limit` (and at most 1,000); after one that has not been told yet, from the
    /// first that is kept.
    async fn events(&self, after: u64, limit: usize) -> Result<Feed>;

    /// The id of the last event; 0 before the first.
    async fn last_event(&self) -> Result<u64>;

    /// Waits until there is an event after this one, or the time is over; the id of the last event then.
    async fn wait_for_event(&self, after: u64, within: Duration) -> Result<u64>;

    /// Forgets events that were told before this time, at most [`crate::MAX_FORGOTTEN`] and never the last one; how many.
    /// Whoever wants all gone asks until there were none.
    async fn forget_events(&self, before: DateTime<Utc>) -> Result<u64>;
}

/// Events that one call answers at most.
pub const MAX_EVENTS: usize = 1_000;
