//! What [`crate::Groups`] promises.

use std::sync::Arc;

use super::{caller, dataset, refused, user};
use crate::grant::{Grant, Grantee, Role, Scope};
use crate::page::Page;
use crate::{Catalog, GroupId, PrincipalId, TokenScope};

/// The suite of [`crate::Groups`].
pub async fn groups(make: impl AsyncFn() -> Arc<dyn Catalog>) {
    a_group_is_found_by_id_and_name(make().await).await;
    groups_and_members_are_listed_by_name(make().await).await;
    members_come_and_go(make().await).await;
    a_group_has_roles_for_its_members(make().await).await;
}

async fn a_group_is_found_by_id_and_name(catalog: Arc<dyn Catalog>) {
    let made = catalog.create_group("field.crew").await.expect("created");
    assert_eq!(catalog.group(made.id).await.expect("answer").as_ref(), Some(&made));
    assert_eq!(catalog.group_by_name("field.crew").await.expect("answer").as_ref(), Some(&made));
    assert_eq!(catalog.group(GroupId::generate()).await.expect("answer"), None);
    refused(catalog.create_group("field.crew").await, "already_exists");
    for bad in ["", "Crew", "a b", "a\0", &"a".repeat(64)] {
        refused(catalog.create_group(bad).await, "invalid_name");
        assert_eq!(catalog.group_by_name(bad).await.expect("answer"), None);
    }
    user(&catalog, "field.crew").await;
    catalog.delete_group(made.id).await.expect("deleted");
    refused(catalog.delete_group(made.id).await, "not_found");
    let again = catalog.create_group("field.crew").await.expect("the name is free");
    assert_ne!(again.id, made.id);
}

async fn groups_and_members_are_listed_by_name(catalog: Arc<dyn Catalog>) {
    let mut names = vec!["a-b", "a.b", "a1", "a_b", "b"];
    let crew = catalog.create_group("crew").await.expect("created");
    for name in names.iter().rev() {
        catalog.create_group(name).await.expect("created");
        catalog.add_member(crew.id, user(&catalog, name).await.id).await.expect("added");
    }
    user(&catalog, "stranger").await;
    names.sort_unstable();
    for limit in 1..=7 {
        let (mut page, mut groups) = (Page::first(limit), Vec::new());
        loop {
            let listing = catalog.list_groups(&page).await.expect("a page");
            assert!(listing.items.len() <= limit);
            groups.extend(listing.items.into_iter().map(|group| group.name));
            let Some(next) = listing.next else { break };
            page.cursor = Some(next);
        }
        assert_eq!(groups, [&names[..], &["crew"]].concat());
        let (mut page, mut members) = (Page::first(limit), Vec::new());
        loop {
            let listing = catalog.members(crew.id, &page).await.expect("a page");
            assert!(listing.items.len() <= limit);
            members.extend(listing.items.into_iter().map(|member| member.name));
            let Some(next) = listing.next else { break };
            page.cursor = Some(next);
        }
        assert_eq!(members, names);
    }
}

async fn members_come_and_go(catalog: Arc<dyn Catalog>) {
    let ann = user(&catalog, "ann").await;
    let (crew, band) = (catalog.create_group("crew").await, catalog.create_group("band").await);
    let (crew, band) = (crew.expect("created"), band.expect("created"));
    for group in [&crew, &band, &crew] {
        catalog.add_member(group.id, ann.id).await.expect("added, or there already");
    }
    assert_eq!(catalog.groups_of(ann.id).await.expect("answer"), [band.clone(), crew.clone()]);
    let known = caller(&catalog, &ann, TokenScope::default()).await;
    assert_eq!(known.groups().collect::<Vec<_>>(), ["band", "crew"]);
    catalog.remove_member(band.id, ann.id).await.expect("removed");
    refused(catalog.remove_member(band.id, ann.id).await, "not_found");
    let known = caller(&catalog, &ann, TokenScope::default()).await;
    assert_eq!(known.groups().collect::<Vec<_>>(), ["crew"]);
    refused(catalog.add_member(GroupId::generate(), ann.id).await, "not_found");
    refused(catalog.add_member(crew.id, PrincipalId::generate()).await, "not_found");
    catalog.delete_group(crew.id).await.expect("deleted");
    assert!(catalog.groups_of(ann.id).await.expect("answer").is_empty());
    catalog.add_member(band.id, ann.id).await.expect("added");
    catalog.delete_principal(ann.id).await.expect("deleted");
    assert!(catalog.members(band.id, &Page::default()).await.expect("a page").items.is_empty());
}

async fn a_group_has_roles_for_its_members(catalog: Arc<dyn Catalog>) {
    let (ann, bob) = (user(&catalog, "ann").await, user(&catalog, "bob").await);
    let made = dataset(&catalog, "geo.a", &ann).await;
    let crew = catalog.create_group("crew").await.expect("created");
    catalog.add_member(crew.id, bob.id).await.expect("added");
    let grantee = Grantee::Group(crew.id);
    let scopes = [Scope::Dataset(made.id), Scope::Namespace(made.name.namespace().clone()), Scope::Instance];
    for scope in scopes {
        let grant = Grant { grantee, scope: scope.clone(), role: Role::Writer };
        catalog.grant(grant.clone()).await.expect("granted");
        assert_eq!(catalog.grants_of(grantee).await.expect("answer"), std::slice::from_ref(&grant));
        assert!(catalog.grants_on(&scope).await.expect("answer").contains(&grant));
        let known = caller(&catalog, &bob, TokenScope::default()).await;
        let access = catalog.access(&known, &made.name).await.expect("answer");
        assert_eq!(access.map(|access| access.role), Some(Role::Writer), "{scope:?}");
        catalog.revoke(grantee, &scope).await.expect("revoked");
        refused(catalog.revoke(grantee, &scope).await, "not_found");
        assert_eq!(catalog.access(&known, &made.name).await.expect("answer"), None, "{scope:?}");
    }
    // A group may own the instance, but does not count as the owner that must stay.
    catalog.grant(Grant { grantee, scope: Scope::Instance, role: Role::Owner }).await.expect("granted");
    super::grant(&catalog, &ann, Scope::Instance, Role::Owner).await;
    refused(catalog.delete_principal(ann.id).await, "last_owner");
    catalog.revoke(grantee, &Scope::Instance).await.expect("revoked");
    catalog.grant(Grant { grantee, scope: Scope::Dataset(made.id), role: Role::Reader }).await.expect("granted");
    catalog.delete_group(crew.id).await.expect("deleted");
    assert!(catalog.grants_of(grantee).await.expect("answer").is_empty(), "its grants went with it");
}
