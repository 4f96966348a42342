//! Policies: the rows and values of a dataset that a caller gets who is no owner of it.
//!
//! A policy's expressions are compiled for one caller ([`compile`]) and put around a dataset's rows ([`scan`]) as a leaf:
//! nothing of the statement is evaluated below it but what [`leakproof`] lets in to skip files, and nothing
//! comes out of it but visible rows, neither counts nor bounds nor texts of errors. A policy that does not fit its table
//! lets nothing through.

mod compile;
mod leakproof;
mod rows;
mod scan;

use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, LazyLock};

use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::physical_plan::ExecutionPlan;
use lakegate_catalog::{Caller, Column, Dataset, DatasetId, Mask, Policy};
use lakegate_lake::Snapshot;

use crate::error::{QueryError, Result};
use crate::session::Sessions;
pub(crate) use compile::Rules;
use compile::Subject;
use scan::{PolicyScan, PolicyScanExec};

/// An expression of a policy failed on a row. What happened is in the log: it may tell of values.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the policy of dataset `{0}` cannot be evaluated")]
pub(crate) struct PolicyFailed(pub(crate) String);

/// The columns that a reader under the policy knows of. What a mask makes may be NULL.
pub fn visible_columns(columns: &[Column], policy: &Policy) -> Vec<Column> {
    policy.visible(columns)
}

/// Checks that a policy fits a dataset with these columns; see [`Engine::check_policy`](crate::Engine::check_policy).
pub(crate) fn check(columns: &[Column], policy: &Policy, sessions: &Sessions) -> Result<()> {
    let known = lakegate_lake::types::arrow_schema(columns)?;
    let subject = Subject { policy, columns, stored: &known, caller: &Caller::Anonymous };
    compile::compile(&subject, sessions).map(|_: Rules| ())
}

/// A policy, for one caller and one dataset.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    policy: Policy,
    caller: Caller,
    dataset: DatasetId,
    name: String,
    /// The columns that the dataset has now. An older version may lack some.
    columns: Vec<Column>,
}

impl Held {
    pub(crate) fn new(policy: &Policy, dataset: &Dataset, caller: &Caller) -> Self {
        Self {
            policy: policy.clone(),
            // To a dataset that its credential does not reach the caller is nobody.
            caller: caller.on_dataset(&dataset.name).into_owned(),
            dataset: dataset.id,
            name: dataset.name.to_string(),
            columns: dataset.schema.clone(),
        }
    }

    /// Text that differs when the same statement over the same versions may answer something else: another policy, or
    /// another caller to whom it may mean something else.
    pub(crate) fn fingerprint(&self) -> String {
        let groups: Vec<&str> = self.caller.groups().collect();
        let principal = self.caller.principal().map(|principal| principal.name.as_str());
        sealed(&format!("{}: {:?} for {principal:?} of {groups:?}", self.dataset, self.policy))
    }

    /// What the policy means for this caller over a version with these columns. Costs planning: call it on a planner
    /// thread. Errors: [`QueryError::PolicyUnfit`].
    pub(crate) fn rules(&self, stored: &SchemaRef, sessions: &Sessions) -> Result<Arc<Rules>> {
        let subject = Subject { policy: &self.policy, columns: &self.columns, stored, caller: &self.caller };
        compile::compile(&subject, sessions).map(Arc::new).map_err(|error| {
            tracing::error!(%error, dataset = self.name, "a policy does not fit its table: only its owners can read it");
            QueryError::PolicyUnfit(self.name.clone())
        })
    }

    /// The rows of a version as the caller may read them.
    pub(crate) fn over(&self, snapshot: &Arc<Snapshot>, rules: Arc<Rules>) -> Arc<dyn TableProvider> {
        Arc::new(PolicyScan::new(self.name.clone(), snapshot.provider(), rules))
    }
}

/// A hash of text with a key of this process: it goes into tags that clients get, who must not be able to try out what a
/// policy says.
pub(crate) fn sealed(text: &str) -> String {
    static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    format!("{:016x}", KEY.hash_one(text))
}

/// Whether a plan reads something under a policy.
pub(crate) fn governs(plan: &dyn ExecutionPlan) -> bool {
    plan.is::<PolicyScanExec>() || plan.children().into_iter().any(|child| governs(child.as_ref()))
}

/// What a mask or filter is called in an error for whoever writes policies.
fn part(column: Option<&str>) -> String {
    match column {
        None => "the row filter".to_owned(),
        Some(column) => format!("the mask of column `{column}`"),
    }
}

fn expression(mask: &Mask) -> Option<&str> {
    match mask {
        Mask::Hidden => None,
        Mask::Expression(sql) => Some(sql),
    }
}

#[cfg(test)]
mod tests;
