//! What [`crate::Grants`] and [`crate::Access`] promise.

use std::sync::Arc;

use super::{dataset, grant, name, namespace, new_dataset, refused, user};
use crate::dataset::Visibility;
use crate::grant::{Grant, Role, Scope};
use crate::{Access, Caller, Catalog, DatasetId, ErrorKind, NewDataset, PrincipalId};

/// The suite of [`crate::Grants`].
pub async fn grants(make: impl AsyncFn() -> Arc<dyn Catalog>) {
    the_highest_role_of_all_scopes_counts(make().await).await;
    a_grant_replaces_the_one_on_its_scope(make().await).await;
    a_grant_needs_principal_and_scope(make().await).await;
    a_role_is_revoked_on_exactly_its_scope(make().await).await;
    the_last_owner_stays(make().await).await;
    access_joins_grants_and_visibility(make().await).await;
}

async fn the_highest_role_of_all_scopes_counts(catalog: Arc<dyn Catalog>) {
    let owner = user(&catalog, "owner").await;
    let made = dataset(&catalog, "geo.a", &owner).await;
    let geo = made.name.namespace().clone();
    assert_eq!(catalog.role_on_dataset(owner.id, &made).await.expect("answer"), Some(Role::Owner));
    assert_eq!(catalog.role_on_namespace(owner.id, &geo).await.expect("answer"), None);
    assert_eq!(catalog.role_on_instance(owner.id).await.expect("answer"), None);

    let roles = [None, Some(Role::Reader), Some(Role::Writer), Some(Role::Maintainer), Some(Role::Owner)];
    for (i, (own, space)) in roles.iter().flat_map(|own| roles.iter().map(move |space| (*own, *space))).enumerate() {
        for all in roles {
            let who = user(&catalog, &format!("u{i}{}", all.map_or("", Role::as_str))).await;
            let scopes = [Scope::Dataset(made.id), Scope::Namespace(geo.clone()), Scope::Instance];
            for (scope, role) in scopes.into_iter().zip([own, space, all]) {
                if let Some(role) = role {
                    grant(&catalog, &who, scope, role).await;
                }
            }
            assert_eq!(catalog.role_on_dataset(who.id, &made).await.expect("answer"), own.max(space).max(all));
            assert_eq!(catalog.role_on_namespace(who.id, &geo).await.expect("answer"), space.max(all));
            assert_eq!(catalog.role_on_instance(who.id).await.expect("answer"), all);
        }
    }
}

async fn a_grant_replaces_the_one_on_its_scope(catalog: Arc<dyn Catalog>) {
    let (ann, bob) = (user(&catalog, "ann").await, user(&catalog, "bob").await);
    let made = dataset(&catalog, "geo.a", &ann).await;
    let on_it = Scope::Dataset(made.id);
    grant(&catalog, &bob, on_it.clone(), Role::Writer).await;
    grant(&catalog, &bob, on_it.clone(), Role::Reader).await;
    assert_eq!(catalog.role_on_dataset(bob.id, &made).await.expect("answer"), Some(Role::Reader));
    let of_bob = catalog.grants_of(bob.id).await.expect("answer");
    assert_eq!(of_bob, [Grant { principal: bob.id, scope: on_it.clone(), role: Role::Reader }]);

    grant(&catalog, &bob, Scope::Namespace(namespace("geo")), Role::Writer).await;
    grant(&catalog, &bob, Scope::Instance, Role::Reader).await;
    let of_bob = catalog.grants_of(bob.id).await.expect("answer");
    assert_eq!(of_bob.len(), 3);
    assert_eq!(of_bob, catalog.grants_of(bob.id).await.expect("answer"), "the order is stable");
    let on = catalog.grants_on(&on_it).await.expect("answer");
    assert_eq!(on.len(), 2);
    assert!(on.iter().all(|grant| grant.scope == on_it));
    assert_eq!(catalog.grants_on(&Scope::Instance).await.expect("answer").len(), 1);
}

async fn a_grant_needs_principal_and_scope(catalog: Arc<dyn Catalog>) {
    let ann = user(&catalog, "ann").await;
    let made = dataset(&catalog, "geo.a", &ann).await;
    for (principal, scope) in [
        (PrincipalId::generate(), Scope::Dataset(made.id)),
        (PrincipalId::generate(), Scope::Instance),
        (ann.id, Scope::Namespace(namespace("nowhere"))),
        (ann.id, Scope::Dataset(DatasetId::generate())),
    ] {
        refused(catalog.grant(Grant { principal, scope, role: Role::Reader }).await, "not_found");
    }
    assert!(catalog.grants_on(&Scope::Instance).await.expect("answer").is_empty());
}

async fn a_role_is_revoked_on_exactly_its_scope(catalog: Arc<dyn Catalog>) {
    let (ann, bob) = (user(&catalog, "ann").await, user(&catalog, "bob").await);
    let made = dataset(&catalog, "geo.a", &ann).await;
    let space = Scope::Namespace(namespace("geo"));
    grant(&catalog, &bob, Scope::Dataset(made.id), Role::Writer).await;
    grant(&catalog, &bob, space.clone(), Role::Reader).await;
    catalog.revoke(bob.id, &Scope::Dataset(made.id)).await.expect("revoked");
    assert_eq!(catalog.role_on_dataset(bob.id, &made).await.expect("answer"), Some(Role::Reader));
    refused(catalog.revoke(bob.id, &Scope::Dataset(made.id)).await, "not_found");
    refused(catalog.revoke(bob.id, &Scope::Instance).await, "not_found");
    catalog.revoke(bob.id, &space).await.expect("revoked");
    assert_eq!(catalog.role_on_dataset(bob.id, &made).await.expect("answer"), None);
    assert_eq!(catalog.role_on_dataset(ann.id, &made).await.expect("answer"), Some(Role::Owner), "hers stays");
    catalog.revoke(ann.id, &Scope::Dataset(made.id)).await.expect("a dataset may lose its last owner");
}

async fn the_last_owner_stays(catalog: Arc<dyn Catalog>) {
    let (ann, bob) = (user(&catalog, "ann").await, user(&catalog, "bob").await);
    let role = |who: PrincipalId, role| Grant { principal: who, scope: Scope::Instance, role };
    grant(&catalog, &ann, Scope::Instance, Role::Owner).await;
    grant(&catalog, &bob, Scope::Instance, Role::Writer).await;
    grant(&catalog, &ann, Scope::Instance, Role::Owner).await;
    refused(catalog.grant(role(ann.id, Role::Writer)).await, "last_owner");
    refused(catalog.revoke(ann.id, &Scope::Instance).await, "last_owner");
    refused(catalog.delete_principal(ann.id).await, "last_owner");
    assert_eq!(catalog.role_on_instance(ann.id).await.expect("answer"), Some(Role::Owner));
    catalog.revoke(bob.id, &Scope::Instance).await.expect("he was no owner");

    grant(&catalog, &bob, Scope::Instance, Role::Owner).await;
    catalog.grant(role(ann.id, Role::Reader)).await.expect("bob is owner too");
    refused(catalog.delete_principal(bob.id).await, "last_owner");
    grant(&catalog, &ann, Scope::Instance, Role::Owner).await;
    catalog.delete_principal(bob.id).await.expect("ann is owner too");
    refused(catalog.revoke(ann.id, &Scope::Instance).await, "last_owner");
}

async fn access_joins_grants_and_visibility(catalog: Arc<dyn Catalog>) {
    let (ann, bob) = (user(&catalog, "ann").await, user(&catalog, "bob").await);
    dataset(&catalog, "geo.hidden", &ann).await;
    let open = NewDataset { visibility: Visibility::Public, ..new_dataset("geo.open") };
    catalog.create_dataset(open, ann.id).await.expect("created");
    let (ann, bob) = (Caller::Principal(ann), Caller::Principal(bob));
    for (caller, text, expected) in [
        (&Caller::Anonymous, "geo.hidden", None),
        (&Caller::Anonymous, "geo.open", Some(Role::Reader)),
        (&bob, "geo.hidden", None),
        (&bob, "geo.open", Some(Role::Reader)),
        (&ann, "geo.hidden", Some(Role::Owner)),
        (&ann, "geo.open", Some(Role::Owner)),
        (&ann, "geo.missing", None),
    ] {
        let access = Access::find(catalog.as_ref(), caller, &name(text)).await.expect("answer");
        assert_eq!(access.as_ref().map(|access| access.role), expected, "{caller:?} on {text}");
        let write = access.map(|access| access.require(Role::Writer));
        let allowed = if expected >= Some(Role::Writer) { Ok(()) } else { Err(ErrorKind::Denied) };
        assert_eq!(write, expected.map(|_| allowed));
    }
}
