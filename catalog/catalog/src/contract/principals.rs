//! What [`crate::Principals`] promises.

use std::sync::Arc;

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};

use super::{dataset, grant, new_user, refused, user};
use crate::grant::{Grantee, Role, Scope};
use crate::page::Page;
use crate::principal::{NewPrincipal, NewToken, Principal, PrincipalKind, TokenRecord};
use crate::{ApiToken, Catalog, PrincipalId, TokenHash, TokenId, TokenScope};

/// The suite of [`crate::Principals`].
pub async fn principals(make: impl AsyncFn() -> Arc<dyn Catalog>) {
    a_principal_is_found_by_id_and_name(make().await).await;
    names_are_checked_and_unique(make().await).await;
    principals_are_listed_by_name(make().await).await;
    tokens_authenticate_until_they_end(make().await).await;
    tokens_are_kept_whole(make().await).await;
    tokens_that_ended_long_ago_go_when_there_is_another(make().await).await;
    a_revoked_token_stops_at_once(make().await).await;
    deletion_takes_tokens_and_grants_along(make().await).await;
    a_token_keeps_its_limits(make().await).await;
    super::login::login(make).await;
}

async fn a_principal_is_found_by_id_and_name(catalog: Arc<dyn Catalog>) {
    let before = Utc::now().trunc_subsecs(6);
    let new = NewPrincipal { kind: PrincipalKind::Service, ..new_user("loader.1@site-b") };
    let made = catalog.create_principal(new.clone()).await.expect("created");
    assert_eq!((&made.name, made.kind), (&new.name, new.kind));
    assert!(before <= made.created_at && made.created_at <= Utc::now());
    assert_eq!(catalog.principal(made.id).await.expect("answer").as_ref(), Some(&made));
    assert_eq!(catalog.principal_by_name(&new.name).await.expect("answer"), Some(made));
    assert_eq!(catalog.principal(PrincipalId::generate()).await.expect("answer"), None);
    for unknown in ["ann", "", "Loader", "a\0b", "' OR 1=1 --"] {
        assert_eq!(catalog.principal_by_name(unknown).await.expect("answer"), None, "{unknown:?}");
    }
}

async fn names_are_checked_and_unique(catalog: Arc<dyn Catalog>) {
    user(&catalog, "ann").await;
    refused(catalog.create_principal(new_user("ann")).await, "already_exists");
    for bad in ["", "Ann", "1a", "a b", "ä", "a\0", &"a".repeat(64)] {
        refused(catalog.create_principal(new_user(bad)).await, "invalid_name");
    }
    user(&catalog, &"a".repeat(63)).await;
}

async fn principals_are_listed_by_name(catalog: Arc<dyn Catalog>) {
    let mut expected = vec!["a-b", "a.b", "a1", "a@b", "a_b", "ab", "b"];
    for name in expected.iter().rev() {
        user(&catalog, name).await;
    }
    expected.sort_unstable();
    for limit in 1..=8 {
        let mut page = Page::first(limit);
        let mut names = Vec::new();
        loop {
            let listing = catalog.list_principals(&page).await.expect("a page");
            assert!(listing.items.len() <= limit);
            // A companion knows its gateways from its start.
            let made = listing.items.into_iter().filter(|principal| principal.kind != PrincipalKind::Gateway);
            names.extend(made.map(|principal| principal.name));
            let Some(cursor) = listing.next else { break };
            page.cursor = Some(cursor);
        }
        assert_eq!(names, expected, "pages of {limit}");
    }
    let page = Page { limit: 1, cursor: Some("a\0".to_owned()) };
    refused(catalog.list_principals(&page).await, "invalid_name");
}

/// Keeps a new token and answers its hash too.
async fn token(
    catalog: &Arc<dyn Catalog>,
    principal: &Principal,
    name: &str,
    expires_at: Option<DateTime<Utc>>,
) -> (TokenHash, TokenRecord) {
    let hash = ApiToken::generate().hash();
    let scope = TokenScope::default();
    let new = NewToken { principal: principal.id, name: name.to_owned(), hash, expires_at, scope };
    (hash, catalog.create_token(new).await.expect("kept"))
}

async fn tokens_authenticate_until_they_end(catalog: Arc<dyn Catalog>) {
    let (ann, bob) = (user(&catalog, "ann").await, user(&catalog, "bob").await);
    let now = Utc::now().trunc_subsecs(6);
    let (for_ever, _) = token(&catalog, &ann, "for ever", None).await;
    let (ending, _) = token(&catalog, &bob, "ending", Some(now)).await;
    let tick = TimeDelta::microseconds(1);
    let far = now + TimeDelta::days(36_500);
    for (hash, at, who) in [
        (for_ever, far, Some((&ann, None))),
        (ending, now - tick, Some((&bob, Some(now)))),
        (ending, now, None),
        (ending, now + tick, None),
        (ApiToken::generate().hash(), now, None),
    ] {
        let found = catalog.authenticate(&hash, at).await.expect("answer");
        assert_eq!(found.as_ref().map(|found| (&found.principal, found.expires_at)), who, "at {at}");
    }
}

async fn tokens_that_ended_long_ago_go_when_there_is_another(catalog: Arc<dyn Catalog>) {
    let (ann, bob) = (user(&catalog, "ann").await, user(&catalog, "bob").await);
    let (ended, just) = (Utc::now() - TokenRecord::KEPT - TimeDelta::minutes(1), Utc::now() - TimeDelta::minutes(1));
    let (_, old) = token(&catalog, &ann, "old", Some(ended)).await;
    let (_, others) = token(&catalog, &bob, "old", Some(ended)).await;
    assert_eq!(catalog.list_tokens(ann.id).await.expect("answer"), [old]);
    let (_, recent) = token(&catalog, &ann, "recent", Some(just)).await;
    let (_, new) = token(&catalog, &ann, "new", None).await;
    assert_eq!(catalog.list_tokens(ann.id).await.expect("answer"), [recent, new]);
    assert_eq!(catalog.list_tokens(bob.id).await.expect("answer"), [others], "of others none goes");
}

async fn tokens_are_kept_whole(catalog: Arc<dyn Catalog>) {
    let ann = user(&catalog, "ann").await;
    let end = Utc::now() + TimeDelta::nanoseconds(123_456_789);
    let (hash, first) = token(&catalog, &ann, "laptop's \"🔑\"", Some(end)).await;
    let (_, second) = token(&catalog, &ann, "", None).await;
    assert_eq!(first.expires_at, Some(end.trunc_subsecs(6)));
    assert_eq!((first.principal, first.name.as_str()), (ann.id, "laptop's \"🔑\""));
    assert_eq!(catalog.token(first.id).await.expect("answer").as_ref(), Some(&first));
    assert_eq!(catalog.list_tokens(ann.id).await.expect("answer"), [first, second]);
    assert!(catalog.list_tokens(PrincipalId::generate()).await.expect("answer").is_empty());
    assert_eq!(catalog.token(TokenId::generate()).await.expect("answer"), None);

    let scope = TokenScope::default;
    let new = |principal, name: &str, hash| NewToken {
        principal,
        name: name.to_owned(),
        hash,
        expires_at: None,
        scope: scope(),
    };
    let fresh = || ApiToken::generate().hash();
    refused(catalog.create_token(new(PrincipalId::generate(), "x", fresh())).await, "not_found");
    refused(catalog.create_token(new(ann.id, "x", hash)).await, "already_exists");
    refused(catalog.create_token(new(ann.id, "a\0b", fresh())).await, "invalid_name");
    refused(catalog.create_token(new(ann.id, &"é".repeat(101), fresh())).await, "invalid_name");
    catalog.create_token(new(ann.id, &"é".repeat(100), fresh())).await.expect("kept");
}

async fn a_revoked_token_stops_at_once(catalog: Arc<dyn Catalog>) {
    let ann = user(&catalog, "ann").await;
    let (gone, record) = token(&catalog, &ann, "gone", None).await;
    let (kept, _) = token(&catalog, &ann, "kept", None).await;
    catalog.revoke_token(record.id).await.expect("revoked");
    refused(catalog.revoke_token(record.id).await, "not_found");
    assert_eq!(catalog.authenticate(&gone, Utc::now()).await.expect("answer"), None);
    assert_eq!(catalog.authenticate(&kept, Utc::now()).await.expect("answer").map(|found| found.principal), Some(ann));
}

async fn deletion_takes_tokens_and_grants_along(catalog: Arc<dyn Catalog>) {
    let (ann, bob) = (user(&catalog, "ann").await, user(&catalog, "bob").await);
    let made = dataset(&catalog, "geo.a", &ann).await;
    grant(&catalog, &bob, Scope::Dataset(made.id), Role::Reader).await;
    let (hash, record) = token(&catalog, &ann, "t", None).await;
    catalog.delete_principal(ann.id).await.expect("deleted");
    refused(catalog.delete_principal(ann.id).await, "not_found");
    assert_eq!(catalog.principal(ann.id).await.expect("answer"), None);
    assert_eq!(catalog.authenticate(&hash, Utc::now()).await.expect("answer"), None);
    assert_eq!(catalog.token(record.id).await.expect("answer"), None);
    assert!(catalog.grants_of(Grantee::Principal(ann.id)).await.expect("answer").is_empty());
    let left = catalog.grants_on(&Scope::Dataset(made.id)).await.expect("answer");
    assert_eq!(left.iter().map(|grant| grant.grantee).collect::<Vec<_>>(), [Grantee::Principal(bob.id)]);
    let again = user(&catalog, "ann").await;
    assert_ne!(again.id, ann.id, "the name is free, the id is not reused");
    assert!(catalog.dataset(&made.name).await.expect("answer").is_some(), "the dataset stays");
}

async fn a_token_keeps_its_limits(catalog: Arc<dyn Catalog>) {
    let ann = user(&catalog, "ann").await;
    let json = r#"{"actions":["read","push"],"datasets":["geo.*","lab.a"],"referrers":["https://maps.example"]}"#;
    let scope: TokenScope = serde_json::from_str(json).expect("a scope");
    let hash = ApiToken::generate().hash();
    let new = |hash, scope| NewToken { principal: ann.id, name: "t".to_owned(), hash, expires_at: None, scope };
    let made = catalog.create_token(new(hash, scope.clone())).await.expect("kept");
    assert_eq!(made.scope, scope);
    assert_eq!(catalog.token(made.id).await.expect("answer"), Some(made.clone()));
    assert_eq!(catalog.list_tokens(ann.id).await.expect("answer"), [made]);
    let found = catalog.authenticate(&hash, Utc::now()).await.expect("answer").expect("it works");
    assert_eq!((found.scope, found.principal.id), (scope, ann.id));
    let bad = TokenScope { referrers: ["maps".to_owned()].into(), ..TokenScope::default() };
    refused(catalog.create_token(new(ApiToken::generate().hash(), bad)).await, "invalid_name");
}
