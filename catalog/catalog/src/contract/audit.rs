//! What [`crate::Audit`] promises.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};

use super::{name, refused, user};
use crate::audit::{AuditAction, AuditEntry, AuditFilter, Audited, Decision, MAX_FORGOTTEN, Protocol, QueryEntry};
use crate::ids::AuditId;
use crate::page::Page;
use crate::{Catalog, DatasetId, Principal};

/// The suite of [`crate::Audit`].
pub async fn audit(make: impl AsyncFn() -> Arc<dyn Catalog>) {
    entries_come_back_as_they_were(make().await).await;
    what_is_recorded_twice_is_there_once(make().await).await;
    filters_and_pages_leave_nothing_out(make().await).await;
    an_entry_outlives_its_principal(make().await).await;
    what_is_old_is_forgotten(make().await).await;
}

fn entry(by: Option<&Principal>, at: DateTime<Utc>) -> AuditEntry {
    let entry = AuditEntry::new(Protocol::Rest, AuditAction::Query, by.map(Audited::from));
    AuditEntry { at: at.trunc_subsecs(6), ..entry }
}

fn query(by: Option<&Principal>, at: DateTime<Utc>) -> QueryEntry {
    QueryEntry {
        id: AuditId::generate(),
        at: at.trunc_subsecs(6),
        query_id: "q".to_owned(),
        by: by.map(Audited::from),
        protocol: Protocol::Flight,
        sql: "SELECT 'ä' -- \u{1F40B}".to_owned(),
        state: "done".to_owned(),
        elapsed_ms: 12,
        rows: 3,
        bytes: u64::from(u32::MAX) + 1,
        versions: BTreeMap::from([("geo.a".to_owned(), 7)]),
        code: None,
    }
}

async fn entries_come_back_as_they_were(catalog: Arc<dyn Catalog>) {
    let ann = user(&catalog, "ann").await;
    let mut all = Vec::new();
    for (n, action) in AuditAction::ALL.iter().enumerate() {
        all.push(AuditEntry {
            action: *action,
            protocol: Protocol::ALL[n % Protocol::ALL.len()],
            decision: Decision::ALL[n % Decision::ALL.len()],
            code: Some("not_found".to_owned()),
            dataset: Some(name("geo.a")),
            dataset_id: Some(DatasetId::generate()),
            version: Some(n as u64),
            rows: Some(u64::from(u32::MAX) + 1),
            bytes: Some(0),
            query_id: Some("q".to_owned()),
            request_id: Some("r".to_owned()),
            detail: Some("a \"word\"".to_owned()),
            ..entry(Some(&ann), Utc::now())
        });
    }
    all.push(entry(None, Utc::now()));
    catalog.record(&[]).await.expect("nothing to do");
    catalog.record(&all).await.expect("kept");
    let mut found = catalog.audit(&AuditFilter::default(), &Page::first(1_000)).await.expect("a page").items;
    found.reverse();
    assert_eq!(found, all, "the newest first");
    let asked = [query(Some(&ann), Utc::now()), query(None, Utc::now())];
    catalog.record_queries(&asked).await.expect("kept");
    let found = catalog.audited_queries(&AuditFilter::default(), &Page::first(1_000)).await.expect("a page").items;
    assert_eq!(found, [asked[1].clone(), asked[0].clone()]);
}

async fn what_is_recorded_twice_is_there_once(catalog: Arc<dyn Catalog>) {
    let (first, second) = (entry(None, Utc::now()), entry(None, Utc::now()));
    catalog.record(std::slice::from_ref(&first)).await.expect("kept");
    let changed = AuditEntry { detail: Some("later".to_owned()), ..first.clone() };
    catalog.record(&[changed, second.clone()]).await.expect("kept");
    let found = catalog.audit(&AuditFilter::default(), &Page::first(10)).await.expect("a page").items;
    assert_eq!(found, [second, first], "an entry does not change");
}

async fn filters_and_pages_leave_nothing_out(catalog: Arc<dyn Catalog>) {
    let (ann, bob) = (user(&catalog, "ann").await, user(&catalog, "bob").await);
    let start = Utc::now().trunc_subsecs(6);
    let mut all = Vec::new();
    for n in 0..30 {
        let by = [Some(&ann), Some(&bob), None][n % 3];
        all.push(entry(by, start + TimeDelta::seconds(n as i64)));
    }
    catalog.record(&all).await.expect("kept");
    let queries: Vec<_> =
        all.iter().map(|entry| QueryEntry { by: entry.by.clone(), ..query(None, entry.at) }).collect();
    catalog.record_queries(&queries).await.expect("kept");
    let second = |n| start + TimeDelta::seconds(n);
    for filter in [
        AuditFilter::default(),
        AuditFilter { by: Some(ann.id), ..AuditFilter::default() },
        AuditFilter { since: Some(second(7)), until: Some(second(23)), ..AuditFilter::default() },
        AuditFilter { by: Some(bob.id), since: Some(second(7)), until: None },
        AuditFilter { until: Some(start), ..AuditFilter::default() },
    ] {
        let expected = all.iter().rev().filter(|entry| filter.admits(entry.at, entry.by.as_ref()));
        let expected: Vec<_> = expected.map(|entry| entry.id).collect();
        let (mut found, mut cursor) = (Vec::new(), None);
        loop {
            let page = catalog.audit(&filter, &Page { limit: 4, cursor }).await.expect("a page");
            assert!(page.items.len() <= 4);
            found.extend(page.items.iter().map(|entry| entry.id));
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(found, expected, "{filter:?}");
        let page = catalog.audited_queries(&filter, &Page::first(1_000)).await.expect("a page");
        assert_eq!(page.items.len(), expected.len(), "{filter:?}");
    }
    let wrong = Page { limit: 4, cursor: Some("x".to_owned()) };
    refused(catalog.audit(&AuditFilter::default(), &wrong).await, "invalid_name");
}

async fn an_entry_outlives_its_principal(catalog: Arc<dyn Catalog>) {
    let ann = user(&catalog, "ann").await;
    catalog.record(&[entry(Some(&ann), Utc::now())]).await.expect("kept");
    catalog.delete_principal(ann.id).await.expect("deleted");
    let found = catalog.audit(&AuditFilter { by: Some(ann.id), ..AuditFilter::default() }, &Page::first(10)).await;
    assert_eq!(found.expect("a page").items[0].by, Some(Audited::from(&ann)));
}

async fn what_is_old_is_forgotten(catalog: Arc<dyn Catalog>) {
    let (now, old) = (Utc::now(), Utc::now() - TimeDelta::days(2));
    catalog.record(&[entry(None, old), entry(None, now)]).await.expect("kept");
    catalog.record_queries(&[query(None, old), query(None, now)]).await.expect("kept");
    assert_eq!(catalog.forget_audit(now - TimeDelta::days(1)).await.expect("answer"), 2);
    assert_eq!(catalog.forget_audit(now - TimeDelta::days(1)).await.expect("answer"), 0);
    let all = AuditFilter::default();
    assert_eq!(catalog.audit(&all, &Page::first(10)).await.expect("a page").items.len(), 1);
    assert_eq!(catalog.audited_queries(&all, &Page::first(10)).await.expect("a page").items.len(), 1);
    let many: Vec<_> = (0..MAX_FORGOTTEN + 10).map(|_| entry(None, old)).collect();
    for some in many.chunks(1_000) {
        catalog.record(some).await.expect("kept");
    }
    for left in [MAX_FORGOTTEN as u64, 10, 0] {
        assert_eq!(catalog.forget_audit(now - TimeDelta::days(1)).await.expect("answer"), left, "a part at a time");
    }
    assert_eq!(catalog.audit(&all, &Page::first(10)).await.expect("a page").items.len(), 1);
}
