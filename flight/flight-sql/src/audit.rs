//! What the audit is told of a call, beside what the engine tells of statements.

use lakegate_catalog::{AuditAction, AuditEntry, Audited, Caller, DatasetName, ErrorKind, Protocol, Visit};
use lakegate_flight_wire::{Purpose, WireError};
use lakegate_query::Description;
use prost::Message;
use tonic::metadata::MetadataMap;

use crate::caller::{Credential, caller, credential};
use crate::service::Flight;
use crate::status::{Failure, Result};

impl Flight {
    /// Begins to note something that `by` does.
    pub(crate) fn visit(&self, action: AuditAction, by: &Caller) -> Visit {
        let by = by.principal().map(Audited::from);
        Visit::begin(self.engine.trail(), AuditEntry::new(Protocol::Flight, action, by))
    }

    /// Who calls; noted when the credential is refused.
    pub(crate) async fn caller(&self, metadata: &MetadataMap) -> Result<Caller> {
        caller(&self.door, metadata).await.inspect_err(|failure| self.refused(failure))
    }

    /// The credential of a call, not yet looked at; noted when it can be none.
    pub(crate) fn credential(&self, metadata: &MetadataMap) -> Result<Option<Credential>> {
        credential(metadata).inspect_err(|failure| self.refused(failure))
    }

    fn refused(&self, failure: &Failure) {
        if failure.kind == ErrorKind::Unauthenticated {
            self.visit(AuditAction::Authenticate, &Caller::Anonymous).end(Some((failure.kind, failure.code)));
        }
    }

    /// Opens what was given to this caller; noted when it was given to another.
    pub(crate) fn open<T: Message + Default>(&self, purpose: Purpose, caller: &Caller, handle: &[u8]) -> Result<T> {
        let opened = self.seal.open(purpose, caller, handle).inspect_err(|error: &WireError| {
            if error.kind() == ErrorKind::Denied {
                let visit = self.visit(AuditAction::Query, caller);
                visit.say(error);
                visit.end(Some((error.kind(), error.code())));
            }
        });
        Ok(opened?)
    }

    /// Notes that a caller has looked at the columns of what a statement reads.
    pub(crate) fn shown(&self, caller: &Caller, description: &Description) {
        for (name, (id, version)) in &description.found {
            let visit = self.on_dataset(AuditAction::ShowDataset, caller, name);
            visit.note(|entry| (entry.dataset_id, entry.version) = (Some(*id), Some(*version)));
            visit.end(None);
        }
    }

    /// Begins to note something that `by` does to a dataset that may not be there.
    pub(crate) fn on_dataset(&self, action: AuditAction, by: &Caller, name: &DatasetName) -> Visit {
        let visit = self.visit(action, by);
        visit.note(|entry| entry.dataset = Some(name.clone()));
        visit
    }
}
