//! What [`crate::Principals`] promises of passwords and of tokens that somebody else issues.

use std::sync::Arc;

use chrono::{TimeDelta, Utc};

use super::{new_user, refused, user};
use crate::principal::ExternalId;
use crate::{Attempt, Catalog, Failures, Login, NewPrincipal, PasswordHash, PrincipalId, log_in};

pub(super) async fn login(make: impl AsyncFn() -> Arc<dyn Catalog>) {
    a_password_lets_in_until_it_is_changed(make().await).await;
    wrong_passwords_have_to_wait(make().await).await;
    an_issuer_vouches_for_its_own(make().await).await;
}

async fn hash(password: &str) -> Option<PasswordHash> {
    Some(PasswordHash::of(password).await.expect("a hash"))
}

async fn a_password_lets_in_until_it_is_changed(catalog: Arc<dyn Catalog>) {
    let (ann, now) = (user(&catalog, "ann").await, Utc::now());
    let log_in =
        async |name: &str, password: &str| log_in(catalog.as_ref(), name, password, now).await.expect("answer");
    assert_eq!(log_in("ann", "").await, Login::Refused, "she has no password");
    catalog.set_password(ann.id, hash("correct horse").await).await.expect("set");
    assert_eq!(log_in("ann", "correct horse").await, Login::Welcome(ann.clone()));
    assert_eq!(log_in("ann", "Correct horse").await, Login::Refused);
    assert_eq!(log_in("Ann", "correct horse").await, Login::Refused);
    catalog.set_password(ann.id, hash("battery staple").await).await.expect("set");
    assert_eq!(log_in("ann", "correct horse").await, Login::Refused);
    assert_eq!(log_in("ann", "battery staple").await, Login::Welcome(ann.clone()));
    catalog.set_password(ann.id, None).await.expect("taken away");
    assert_eq!(log_in("ann", "battery staple").await, Login::Refused);
    refused(catalog.set_password(PrincipalId::generate(), None).await, "not_found");
}

async fn wrong_passwords_have_to_wait(catalog: Arc<dyn Catalog>) {
    let (ann, now) = (user(&catalog, "ann").await, Utc::now());
    catalog.set_password(ann.id, hash("correct horse").await).await.expect("set");
    // Whether or not somebody has the name: whoever tries cannot tell.
    for name in ["ann", "nobody"] {
        let mut at = now;
        for wrong in 1..=8 {
            let attempt = catalog.attempt_login(name, at).await.expect("answer");
            assert!(!matches!(attempt, Attempt::Locked { .. }), "{name}, {wrong}");
            if wrong < 5 {
                continue;
            }
            let wait = TimeDelta::seconds(1 << (wrong - 5));
            for waited in [TimeDelta::zero(), wait - TimeDelta::milliseconds(1)] {
                let locked = catalog.attempt_login(name, at + waited).await.expect("answer");
                let until = match locked {
                    Attempt::Locked { until } => Some(until),
                    _ => None,
                };
                let near = until.is_some_and(|until| (until - (at + wait)).abs() < TimeDelta::milliseconds(1));
                assert!(near, "{name}, {wrong}: {until:?}");
            }
            at += wait;
        }
        catalog.finish_login(name).await.expect("forgotten");
        for _ in 0..4 {
            catalog.attempt_login(name, at).await.expect("answer");
        }
        let a_day_later = at + Failures::AGE;
        for _ in 0..5 {
            let attempt = catalog.attempt_login(name, a_day_later).await.expect("answer");
            assert!(!matches!(attempt, Attempt::Locked { .. }), "{name}: old ones are forgotten");
        }
    }
    // Side by side there are no more than one after another.
    catalog.finish_login("ann").await.expect("forgotten");
    let tries = futures::future::join_all((0..20).map(|_| catalog.attempt_login("ann", now))).await;
    let looked_at = tries.iter().filter(|one| matches!(one, Ok(Attempt::Check { .. }))).count();
    assert_eq!(looked_at, 5);
}

async fn an_issuer_vouches_for_its_own(catalog: Arc<dyn Catalog>) {
    let external = |issuer: &str, subject: &str| ExternalId { issuer: issuer.to_owned(), subject: subject.to_owned() };
    let of = |name: &str, external| NewPrincipal { external: Some(external), ..new_user(name) };
    let (here, there) = ("https://id.example", "https://id.example/other");
    let ann = catalog.create_principal(of("ann", external(here, "17"))).await.expect("created");
    refused(catalog.create_principal(of("eve", external(here, "17"))).await, "already_exists");
    assert_eq!(catalog.principal_by_name("eve").await.expect("answer"), None, "all of it or nothing");
    refused(catalog.create_principal(of("eve", external(here, ""))).await, "invalid_name");
    let other = catalog.create_principal(of("ann.2", external(there, "17"))).await.expect("another's 17");
    for name in ["crew", "crew_1", "band"] {
        catalog.create_group(name).await.expect("created");
    }
    let band = catalog.group_by_name("band").await.expect("answer").expect("it is there");
    catalog.add_member(band.id, ann.id).await.expect("added");

    let named = ["crew", "crew|band", "crewx1", "", "no such group", "%", "CREW"].map(str::to_owned);
    let found = catalog.identify_external(&external(here, "17"), &named).await.expect("answer").expect("known");
    let groups: Vec<_> = found.groups.iter().map(|group| group.name.as_str()).collect();
    assert_eq!((&found.principal, &groups[..]), (&ann, &["band", "crew"][..]));
    let found = catalog.identify_external(&external(there, "17"), &["crew_1".to_owned()]).await.expect("answer");
    let found = found.expect("known");
    assert_eq!((found.principal.id, found.groups.len()), (other.id, 1));
    for stranger in [external(here, "18"), external("https://id.example/", "17")] {
        assert_eq!(catalog.identify_external(&stranger, &named).await.expect("answer"), None);
    }
    catalog.delete_principal(ann.id).await.expect("deleted");
    assert_eq!(catalog.identify_external(&external(here, "17"), &[]).await.expect("answer"), None);
    catalog.create_principal(of("ann", external(here, "17"))).await.expect("the id is free");
}
