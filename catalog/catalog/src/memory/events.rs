//! [`Events`] in memory.

use std::collections::VecDeque;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tokio::sync::watch;

use super::{MemoryCatalog, State, now};
use crate::audit::MAX_FORGOTTEN;
use crate::dataset::Dataset;
use crate::error::Result;
use crate::event::{Change, Event, Events, Feed, MAX_EVENTS, Subject};
use crate::ids::DatasetId;

/// What was told, and who waits for more.
pub(super) struct Told {
    events: VecDeque<Event>,
    last: watch::Sender<u64>,
}

impl Default for Told {
    fn default() -> Self {
        Self { events: VecDeque::new(), last: watch::Sender::new(0) }
    }
}

impl State {
    pub(super) fn tell(&mut self, change: Change) {
        let id = *self.told.last.borrow() + 1;
        self.told.events.push_back(Event { id, at: now(), change });
        self.told.last.send_replace(id);
    }
}

pub(super) fn subject(dataset: &Dataset) -> Subject {
    Subject { dataset_id: dataset.id, dataset: dataset.name.clone() }
}

#[async_trait]
impl Events for MemoryCatalog {
    async fn tell_versions(&self, versions: &[(DatasetId, u64)]) -> Result<()> {
        let mut state = self.state.lock();
        for (id, version) in versions {
            if let Ok(subject) = state.dataset_by_id(*id).map(subject) {
                state.tell(Change::VersionCommitted { subject, version: *version });
            }
        }
        Ok(())
    }

    async fn events(&self, after: u64, limit: usize) -> Result<Feed> {
        let state = self.state.lock();
        let first = state.told.events.front().map_or(0, |event| event.id);
        let astray = after > *state.told.last.borrow();
        let after = if astray { 0 } else { after };
        let events = state.told.events.iter().filter(|event| event.id > after);
        let events = events.take(limit.min(MAX_EVENTS)).cloned().collect();
        Ok(Feed { events, missed: astray || after + 1 < first })
    }

    async fn last_event(&self) -> Result<u64> {
        Ok(*self.state.lock().told.last.borrow())
    }

    async fn wait_for_event(&self, after: u64, within: Duration) -> Result<u64> {
        let mut last = self.state.lock().told.last.subscribe();
        let _ = tokio::time::timeout(within, last.wait_for(|last| *last > after)).await;
        self.last_event().await
    }

    async fn forget_events(&self, before: DateTime<Utc>) -> Result<u64> {
        let told = &mut self.state.lock().told;
        let there = told.events.len();
        while there - told.events.len() < MAX_FORGOTTEN
            && told.events.len() > 1
            && told.events.front().is_some_and(|event| event.at < before)
        {
            told.events.pop_front();
        }
        Ok((there - told.events.len()) as u64)
    }
}
