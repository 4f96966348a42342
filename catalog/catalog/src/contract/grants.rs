//! What [`crate::Grants`] and [`crate::Access`] promise.

use std::sync::Arc;

use super::{dataset, grant, name, namespace, new_dataset, new_user, refused, user};
use chrono::{SubsecRound as _, TimeDelta, Utc};

use crate::dataset::Visibility;
use crate::grant::{Grant, Grantee, Role, Scope};
use crate::{
    ApiToken, Caller, Catalog, Credential, Dataset, DatasetId, ExternalId, GroupId, Lack, NewDataset, NewPrincipal,
    NewToken, Policy, Principal, PrincipalId, TokenScope,
};

/// The caller's role on a dataset that it may see.
async fn role(catalog: &Arc<dyn Catalog>, who: &Principal, on: &Dataset) -> Option<Role> {
    let caller = Caller::from(who.clone());
    let access = catalog.access(&caller, &on.name).await.expect("answer");
    assert_eq!(catalog.access_by_id(&caller, on.id).await.expect("answer"), access);
    access.map(|access| access.role)
}

/// The suite of [`crate::Grants`].
pub async fn grants(make: impl AsyncFn() -> Arc<dyn Catalog>) {
    the_highest_role_of_all_scopes_counts(make().await).await;
    a_grant_replaces_the_one_on_its_scope(make().await).await;
    a_grant_needs_principal_and_scope(make().await).await;
    a_role_is_revoked_on_exactly_its_scope(make().await).await;
    the_last_owner_stays(make().await).await;
    access_joins_grants_and_visibility(make().await).await;
    a_credential_limits_what_its_principal_may(make().await).await;
    a_policy_is_for_whoever_is_no_owner(make().await).await;
    admitting_says_what_asking_twice_does(make().await).await;
    super::sight::everyone_sees_what_the_grants_say(make).await;
}

async fn the_highest_role_of_all_scopes_counts(catalog: Arc<dyn Catalog>) {
    let owner = user(&catalog, "owner").await;
    let made = dataset(&catalog, "geo.a", &owner).await;
    let geo = made.name.namespace().clone();
    assert_eq!(role(&catalog, &owner, &made).await, Some(Role::Owner));
    assert_eq!(catalog.role_on_namespace(&owner.clone().into(), &geo).await.expect("answer"), None);
    assert_eq!(catalog.role_on_instance(&owner.clone().into()).await.expect("answer"), None);

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
            assert_eq!(role(&catalog, &who, &made).await, own.max(space).max(all));
            let who = Caller::from(who);
            assert_eq!(catalog.role_on_namespace(&who, &geo).await.expect("answer"), space.max(all));
            assert_eq!(catalog.role_on_instance(&who).await.expect("answer"), all);
        }
    }
}

async fn a_grant_replaces_the_one_on_its_scope(catalog: Arc<dyn Catalog>) {
    let (ann, bob) = (user(&catalog, "ann").await, user(&catalog, "bob").await);
    let made = dataset(&catalog, "geo.a", &ann).await;
    let on_it = Scope::Dataset(made.id);
    grant(&catalog, &bob, on_it.clone(), Role::Writer).await;
    grant(&catalog, &bob, on_it.clone(), Role::Reader).await;
    assert_eq!(role(&catalog, &bob, &made).await, Some(Role::Reader));
    let of_bob = catalog.grants_of(Grantee::Principal(bob.id)).await.expect("answer");
    assert_eq!(of_bob, [Grant { grantee: Grantee::Principal(bob.id), scope: on_it.clone(), role: Role::Reader }]);

    grant(&catalog, &bob, Scope::Namespace(namespace("geo")), Role::Writer).await;
    grant(&catalog, &bob, Scope::Instance, Role::Reader).await;
    let of_bob = catalog.grants_of(Grantee::Principal(bob.id)).await.expect("answer");
    assert_eq!(of_bob.len(), 3);
    assert_eq!(of_bob, catalog.grants_of(Grantee::Principal(bob.id)).await.expect("answer"), "the order is stable");
    let on = catalog.grants_on(&on_it).await.expect("answer");
    assert_eq!(on.len(), 2);
    assert!(on.iter().all(|grant| grant.scope == on_it));
    assert_eq!(catalog.grants_on(&Scope::Instance).await.expect("answer").len(), 1);
}

async fn a_grant_needs_principal_and_scope(catalog: Arc<dyn Catalog>) {
    let ann = user(&catalog, "ann").await;
    let made = dataset(&catalog, "geo.a", &ann).await;
    let (nobody, no_group) = (Grantee::Principal(PrincipalId::generate()), Grantee::Group(GroupId::generate()));
    for (grantee, scope) in [
        (nobody, Scope::Dataset(made.id)),
        (nobody, Scope::Instance),
        (no_group, Scope::Dataset(made.id)),
        (Grantee::Principal(ann.id), Scope::Namespace(namespace("nowhere"))),
        (Grantee::Principal(ann.id), Scope::Dataset(DatasetId::generate())),
        (Grantee::Public, Scope::Namespace(namespace("nowhere"))),
    ] {
        refused(catalog.grant(Grant { grantee, scope, role: Role::Reader }).await, "not_found");
    }
    let space = Scope::Namespace(namespace("geo"));
    for (scope, role) in
        [(space, Role::Writer), (Scope::Instance, Role::Reader), (Scope::Dataset(made.id), Role::Reader)]
    {
        refused(catalog.grant(Grant { grantee: Grantee::Public, scope, role }).await, "invalid_name");
    }
    assert!(catalog.grants_on(&Scope::Instance).await.expect("answer").is_empty());
}

async fn a_role_is_revoked_on_exactly_its_scope(catalog: Arc<dyn Catalog>) {
    let (ann, bob) = (user(&catalog, "ann").await, user(&catalog, "bob").await);
    let made = dataset(&catalog, "geo.a", &ann).await;
    let space = Scope::Namespace(namespace("geo"));
    grant(&catalog, &bob, Scope::Dataset(made.id), Role::Writer).await;
    grant(&catalog, &bob, space.clone(), Role::Reader).await;
    catalog.revoke(Grantee::Principal(bob.id), &Scope::Dataset(made.id)).await.expect("revoked");
    assert_eq!(role(&catalog, &bob, &made).await, Some(Role::Reader));
    refused(catalog.revoke(Grantee::Principal(bob.id), &Scope::Dataset(made.id)).await, "not_found");
    refused(catalog.revoke(Grantee::Principal(bob.id), &Scope::Instance).await, "not_found");
    catalog.revoke(Grantee::Principal(bob.id), &space).await.expect("revoked");
    assert_eq!(role(&catalog, &bob, &made).await, None);
    assert_eq!(role(&catalog, &ann, &made).await, Some(Role::Owner), "hers stays");
    catalog
        .revoke(Grantee::Principal(ann.id), &Scope::Dataset(made.id))
        .await
        .expect("a dataset may lose its last owner");
}

async fn the_last_owner_stays(catalog: Arc<dyn Catalog>) {
    let (ann, bob) = (user(&catalog, "ann").await, user(&catalog, "bob").await);
    let role = |who: PrincipalId, role| Grant { grantee: Grantee::Principal(who), scope: Scope::Instance, role };
    grant(&catalog, &ann, Scope::Instance, Role::Owner).await;
    grant(&catalog, &bob, Scope::Instance, Role::Writer).await;
    grant(&catalog, &ann, Scope::Instance, Role::Owner).await;
    refused(catalog.grant(role(ann.id, Role::Writer)).await, "last_owner");
    refused(catalog.revoke(Grantee::Principal(ann.id), &Scope::Instance).await, "last_owner");
    refused(catalog.delete_principal(ann.id).await, "last_owner");
    let own = catalog.role_on_instance(&ann.clone().into()).await.expect("answer");
    assert_eq!(own, Some(Role::Owner));
    catalog.revoke(Grantee::Principal(bob.id), &Scope::Instance).await.expect("he was no owner");

    grant(&catalog, &bob, Scope::Instance, Role::Owner).await;
    catalog.grant(role(ann.id, Role::Reader)).await.expect("bob is owner too");
    refused(catalog.delete_principal(bob.id).await, "last_owner");
    grant(&catalog, &ann, Scope::Instance, Role::Owner).await;
    catalog.delete_principal(bob.id).await.expect("ann is owner too");
    refused(catalog.revoke(Grantee::Principal(ann.id), &Scope::Instance).await, "last_owner");
}

async fn access_joins_grants_and_visibility(catalog: Arc<dyn Catalog>) {
    let (ann, bob) = (user(&catalog, "ann").await, user(&catalog, "bob").await);
    dataset(&catalog, "geo.hidden", &ann).await;
    let open = NewDataset { visibility: Visibility::Public, ..new_dataset("geo.open") };
    catalog.create_dataset(open, ann.id).await.expect("created");
    let (ann, bob) = (Caller::from(ann), Caller::from(bob));
    for (caller, text, expected) in [
        (&Caller::Anonymous, "geo.hidden", None),
        (&Caller::Anonymous, "geo.open", Some(Role::Reader)),
        (&bob, "geo.hidden", None),
        (&bob, "geo.open", Some(Role::Reader)),
        (&ann, "geo.hidden", Some(Role::Owner)),
        (&ann, "geo.open", Some(Role::Owner)),
        (&ann, "geo.missing", None),
    ] {
        let access = catalog.access(caller, &name(text)).await.expect("answer");
        assert_eq!(access.as_ref().map(|access| access.role), expected, "{caller:?} on {text}");
        let write = access.map(|access| access.require(caller, Role::Writer));
        let lack = Lack::Role { role: Role::Writer, on: "it".to_owned() };
        let allowed = if expected >= Some(Role::Writer) { Ok(()) } else { Err(lack) };
        assert_eq!(write, expected.map(|_| allowed));
    }
}

async fn a_credential_limits_what_its_principal_may(catalog: Arc<dyn Catalog>) {
    let ann = user(&catalog, "ann").await;
    let geo = dataset(&catalog, "geo.a", &ann).await;
    dataset(&catalog, "lab.a", &ann).await;
    let open = NewDataset { visibility: Visibility::Public, ..new_dataset("lab.open") };
    catalog.create_dataset(open, ann.id).await.expect("created");
    grant(&catalog, &ann, Scope::Instance, Role::Owner).await;
    let limits = |json: &str| serde_json::from_str::<TokenScope>(json).expect("a scope");
    let only_geo = super::caller(&catalog, &ann, limits(r#"{"datasets":["geo.*"]}"#)).await;
    for (text, expected) in [("geo.a", Some(Role::Owner)), ("lab.a", None), ("lab.open", Some(Role::Reader))] {
        let access = catalog.access(&only_geo, &name(text)).await.expect("answer");
        assert_eq!(access.as_ref().map(|access| access.role), expected, "{text}");
        let id = catalog.dataset(&name(text)).await.expect("answer").expect("it is there").id;
        assert_eq!(catalog.access_by_id(&only_geo, id).await.expect("answer"), access, "{text}");
    }
    let on = async |space: &str| catalog.role_on_namespace(&only_geo, &namespace(space)).await.expect("answer");
    assert_eq!((on("geo").await, on("lab").await), (Some(Role::Owner), None));
    assert_eq!(catalog.role_on_instance(&only_geo).await.expect("answer"), None);

    let only_push = super::caller(&catalog, &ann, limits(r#"{"actions":["push"]}"#)).await;
    let access = catalog.access(&only_push, &geo.name).await.expect("answer").expect("it is seen");
    assert_eq!(access.role, Role::Owner);
    for (role, allowed) in
        [(Role::Reader, false), (Role::Writer, true), (Role::Maintainer, false), (Role::Owner, false)]
    {
        let expected = if allowed { Ok(()) } else { Err(Lack::Action(role.action())) };
        assert_eq!(access.require(&only_push, role), expected, "{role}");
    }
}

async fn a_policy_is_for_whoever_is_no_owner(catalog: Arc<dyn Catalog>) {
    let ann = user(&catalog, "ann").await;
    let made = dataset(&catalog, "geo.a", &ann).await;
    let policy = Policy { row_filter: Some("a > 1".to_owned()), ..Policy::default() };
    let change = crate::DatasetChange { policy: Some(policy.clone()), ..crate::DatasetChange::default() };
    catalog.update_dataset(made.id, change).await.expect("changed");
    for role in [Role::Reader, Role::Writer, Role::Maintainer, Role::Owner] {
        let who = user(&catalog, role.as_str()).await;
        grant(&catalog, &who, Scope::Dataset(made.id), role).await;
        let access = catalog.access(&who.into(), &made.name).await.expect("answer").expect("it is seen");
        assert_eq!(access.policy(), Some(&policy).filter(|_| role < Role::Owner), "{role}");
    }
}

async fn admitting_says_what_asking_twice_does(catalog: Arc<dyn Catalog>) {
    let (ann, bob) = (user(&catalog, "ann").await, user(&catalog, "bob").await);
    dataset(&catalog, "geo.a", &ann).await;
    dataset(&catalog, "lab.a", &ann).await;
    let open = NewDataset { visibility: Visibility::Public, ..new_dataset("lab.open") };
    catalog.create_dataset(open, ann.id).await.expect("created");
    let now = Utc::now().trunc_subsecs(6);
    let token = async |who: &Principal, expires_at, scope: &str| {
        let hash = ApiToken::generate().hash();
        let scope = serde_json::from_str(scope).expect("a scope");
        let new = NewToken { principal: who.id, name: "t".to_owned(), hash, expires_at, scope };
        catalog.create_token(new).await.expect("kept");
        Credential::Token(hash)
    };
    let external = ExternalId { issuer: "https://id.example".to_owned(), subject: "7".to_owned() };
    let new = NewPrincipal { external: Some(external.clone()), ..new_user("eve") };
    catalog.create_principal(new).await.expect("created");
    let vouched = |subject: &str| {
        let id = ExternalId { subject: subject.to_owned(), ..external.clone() };
        Credential::External { id, groups: vec!["crew".to_owned()] }
    };
    let shown = [
        token(&ann, None, "{}").await,
        token(&ann, None, r#"{"datasets":["lab.*"]}"#).await,
        token(&ann, Some(now), "{}").await,
        token(&bob, Some(now + TimeDelta::seconds(60)), "{}").await,
        Credential::Token(ApiToken::generate().hash()),
        vouched("7"),
        vouched("8"),
    ];
    let mut admitted = 0;
    // Twice: an answer may be remembered, and whom a credential stands for without the other.
    for (credential, named) in
        shown.iter().chain(&shown).flat_map(|shown| ["geo.a", "lab.open", "no.where"].map(|name| (shown, name)))
    {
        let named = name(named);
        let found = catalog.admit(credential, now, &named).await.expect("answer");
        let identity = match credential {
            Credential::Token(hash) => catalog.authenticate(hash, now).await,
            Credential::External { id, groups } => catalog.identify_external(id, groups).await,
        };
        let identity = identity.expect("answer");
        let expected = match identity {
            Some(identity) => {
                let access = catalog.access(&identity.clone().into(), &named).await.expect("answer");
                Some((identity, access))
            }
            None => None,
        };
        assert_eq!(found, expected, "{credential:?} {named}");
        admitted += usize::from(found.is_some_and(|(_, access)| access.is_some()));
    }
    // Ann sees both, by her limited token one; bob and eve see what is public.
    assert_eq!(admitted, 2 * (2 + 1 + 1 + 1));
}
