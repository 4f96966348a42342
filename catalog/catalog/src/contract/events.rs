//! What [`crate::Events`] promises.

use std::sync::Arc;
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use futures::future::join_all;

use super::{dataset, grant, user};
use crate::dataset::{DatasetChange, Visibility};
use crate::event::{Change, Event, Feed, Subject};
use crate::grant::{Grantee, Role, Scope};
use crate::{ApiToken, Catalog, DatasetId, NewToken, TokenScope};

/// The suite of [`crate::Events`].
pub async fn events(make: impl AsyncFn() -> Arc<dyn Catalog>) {
    every_change_is_told_once_and_in_order(make().await).await;
    what_did_not_happen_is_not_told(make().await).await;
    versions_are_told_of_datasets_that_there_are(make().await).await;
    whoever_waits_is_woken(make().await).await;
    old_events_are_forgotten_and_missed(make().await).await;
    events_of_many_have_no_gaps(make().await).await;
}

async fn all(catalog: &Arc<dyn Catalog>) -> Vec<Event> {
    let feed = catalog.events(0, usize::MAX).await.expect("a feed");
    assert!(!feed.missed);
    feed.events
}

async fn changes(catalog: &Arc<dyn Catalog>, after: u64) -> Vec<Change> {
    let feed = catalog.events(after, usize::MAX).await.expect("a feed");
    feed.events.into_iter().map(|event| event.change).collect()
}

async fn every_change_is_told_once_and_in_order(catalog: Arc<dyn Catalog>) {
    let ann = user(&catalog, "ann").await;
    let before = catalog.last_event().await.expect("answer");
    let made = dataset(&catalog, "geo.a", &ann).await;
    let subject = Subject { dataset_id: made.id, dataset: made.name.clone() };
    let public = DatasetChange { visibility: Some(Visibility::Public), ..DatasetChange::default() };
    catalog.update_dataset(made.id, public).await.expect("changed");
    catalog.tell_versions(&[(made.id, 3)]).await.expect("told");
    catalog.delete_dataset(made.id).await.expect("deleted");
    assert_eq!(
        changes(&catalog, before).await,
        [
            Change::DatasetCreated(subject.clone()),
            Change::DatasetChanged(subject.clone()),
            Change::VersionCommitted { subject: subject.clone(), version: 3 },
            Change::DatasetDropped(subject),
        ]
    );
    let ids: Vec<_> = all(&catalog).await.iter().map(|event| event.id).collect();
    assert_eq!(ids, (1..=ids.len() as u64).collect::<Vec<_>>());
    assert_eq!(catalog.events(0, 2).await.expect("a feed").events.len(), 2);
    assert!(all(&catalog).await.iter().all(|event| (Utc::now() - event.at).abs() < TimeDelta::minutes(5)));

    // Each of these changes what somebody may do.
    let hash = ApiToken::generate().hash();
    let scope = TokenScope::default();
    let new = NewToken { principal: ann.id, name: "t".to_owned(), hash, expires_at: None, scope };
    let token = catalog.create_token(new).await.expect("kept");
    let crew = catalog.create_group("crew").await.expect("created");
    let tmp = super::namespace("tmp");
    catalog.ensure_namespace(&tmp).await.expect("created");
    let last = catalog.last_event().await.expect("answer");
    grant(&catalog, &ann, Scope::Namespace(tmp.clone()), Role::Owner).await;
    catalog.delete_namespace(&tmp).await.expect("deleted");
    catalog.add_member(crew.id, ann.id).await.expect("added");
    grant(&catalog, &ann, Scope::Instance, Role::Reader).await;
    catalog.revoke(Grantee::Principal(ann.id), &Scope::Instance).await.expect("revoked");
    catalog.remove_member(crew.id, ann.id).await.expect("removed");
    catalog.delete_group(crew.id).await.expect("deleted");
    catalog.revoke_token(token.id).await.expect("revoked");
    catalog.delete_principal(ann.id).await.expect("deleted");
    assert_eq!(changes(&catalog, last).await, vec![Change::RightsChanged; 9]);
}

async fn what_did_not_happen_is_not_told(catalog: Arc<dyn Catalog>) {
    let ann = user(&catalog, "ann").await;
    let made = dataset(&catalog, "geo.a", &ann).await;
    let before = catalog.last_event().await.expect("answer");
    catalog.create_dataset(super::new_dataset("geo.a"), ann.id).await.expect_err("the name is taken");
    catalog.delete_dataset(DatasetId::generate()).await.expect_err("not there");
    catalog.update_dataset(DatasetId::generate(), DatasetChange::default()).await.expect_err("not there");
    catalog.revoke(Grantee::Principal(ann.id), &Scope::Instance).await.expect_err("not there");
    catalog.access(&ann.into(), &made.name).await.expect("answer");
    assert_eq!(catalog.last_event().await.expect("answer"), before);
}

async fn versions_are_told_of_datasets_that_there_are(catalog: Arc<dyn Catalog>) {
    let ann = user(&catalog, "ann").await;
    let (a, b) = (dataset(&catalog, "geo.a", &ann).await, dataset(&catalog, "geo.b", &ann).await);
    let before = catalog.last_event().await.expect("answer");
    let gone = DatasetId::generate();
    catalog.tell_versions(&[(b.id, 7), (gone, 1), (a.id, u64::from(u32::MAX) + 1)]).await.expect("told");
    catalog.tell_versions(&[]).await.expect("nothing to tell");
    let version = |change| match change {
        Change::VersionCommitted { subject, version } => Some((subject.dataset_id, version)),
        _ => None,
    };
    let told: Vec<_> = changes(&catalog, before).await.into_iter().filter_map(version).collect();
    assert_eq!(told, [(b.id, 7), (a.id, u64::from(u32::MAX) + 1)]);
}

async fn whoever_waits_is_woken(catalog: Arc<dyn Catalog>) {
    let ann = user(&catalog, "ann").await;
    let last = catalog.last_event().await.expect("answer");
    let none = catalog.wait_for_event(last, Duration::from_millis(50)).await.expect("answer");
    assert_eq!(none, last, "nothing happened");
    let long = Duration::from_secs(60);
    let (woken, _) = futures::join!(catalog.wait_for_event(last, long), dataset(&catalog, "geo.a", &ann));
    assert!(woken.expect("answer") > last);
    assert!(catalog.wait_for_event(last, long).await.expect("at once") > last);
}

async fn old_events_are_forgotten_and_missed(catalog: Arc<dyn Catalog>) {
    let ann = user(&catalog, "ann").await;
    for name in ["geo.a", "geo.b", "geo.c"] {
        dataset(&catalog, name, &ann).await;
    }
    let last = catalog.last_event().await.expect("answer");
    assert_eq!(catalog.forget_events(Utc::now() - TimeDelta::hours(1)).await.expect("answer"), 0);
    let forgotten = catalog.forget_events(Utc::now() + TimeDelta::hours(1)).await.expect("answer");
    assert_eq!(forgotten, last - 1, "the last one stays");
    let feed = catalog.events(0, 10).await.expect("a feed");
    assert!(feed.missed && feed.events.len() == 1 && feed.events[0].id == last, "{feed:?}");
    assert!(!catalog.events(last - 1, 10).await.expect("a feed").missed);
    let astray = catalog.events(last + 5, 10).await.expect("a feed");
    assert_eq!(astray, feed, "after an event that was never told, as after one that is forgotten");
    assert_eq!(catalog.events(last, 10).await.expect("a feed"), Feed::default());
    dataset(&catalog, "geo.d", &ann).await;
    assert!(catalog.last_event().await.expect("answer") > last, "ids are never used again");
}

/// Whoever follows while many write sees each event once and in order.
async fn events_of_many_have_no_gaps(catalog: Arc<dyn Catalog>) {
    let ann = user(&catalog, "ann").await;
    catalog.ensure_namespace(&super::namespace("n")).await.expect("namespace");
    let start = catalog.last_event().await.expect("answer");
    let writers = join_all((0..24).map(|i| {
        let (catalog, ann) = (Arc::clone(&catalog), ann.id);
        async move {
            let made = catalog.create_dataset(super::new_dataset(&format!("n.d{i}")), ann).await.expect("created");
            catalog.tell_versions(&[(made.id, 1)]).await.expect("told");
        }
    }));
    let follow = async {
        let mut seen = Vec::new();
        while seen.len() < 48 {
            let after = seen.last().copied().unwrap_or(start);
            let feed = catalog.events(after, 5).await.expect("a feed");
            seen.extend(feed.events.iter().map(|event| event.id));
            catalog
                .wait_for_event(seen.last().copied().unwrap_or(start), Duration::from_secs(1))
                .await
                .expect("answer");
        }
        seen
    };
    let (_, seen) = futures::join!(writers, tokio::time::timeout(Duration::from_secs(60), follow));
    assert_eq!(seen.expect("in time"), (start + 1..=start + 48).collect::<Vec<_>>());
}
