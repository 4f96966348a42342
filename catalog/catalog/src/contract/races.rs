//! What holds when callers come at the same time.

use std::sync::Arc;

use futures::future::join_all;

use super::{dataset, grant, namespace, new_dataset, new_user, refused, user};
use crate::grant::{Grant, Grantee, Role, Scope};
use crate::{Catalog, ensure_owner};

/// Rounds of each race: the order of events differs from round to round.
const ROUNDS: usize = 5;

/// Callers in each race.
const CALLERS: usize = 8;

/// The suite of races. It is worth most on a store that runs statements at the same time.
pub async fn races(make: impl AsyncFn() -> Arc<dyn Catalog>) {
    one_creation_of_a_name_wins(make().await).await;
    different_names_do_not_disturb_each_other(make().await).await;
    one_owner_is_left(make().await).await;
    a_deleted_principal_owns_nothing(make().await).await;
    one_first_owner(make).await;
}

async fn one_creation_of_a_name_wins(catalog: Arc<dyn Catalog>) {
    let ann = user(&catalog, "ann").await;
    for round in 0..ROUNDS {
        let space = namespace(&format!("n{round}"));
        let made = join_all((0..CALLERS).map(|_| catalog.ensure_namespace(&space))).await;
        assert_eq!(made.into_iter().filter(|new| *new.as_ref().expect("answer")).count(), 1);

        let name = format!("n{round}.d");
        let made = join_all((0..CALLERS).map(|_| catalog.create_dataset(new_dataset(&name), ann.id))).await;
        one_wins(made);
        let name = format!("p{round}");
        let made = join_all((0..CALLERS).map(|_| catalog.create_principal(new_user(&name)))).await;
        one_wins(made);
    }
    assert_eq!(
        catalog.grants_of(Grantee::Principal(ann.id)).await.expect("answer").len(),
        ROUNDS,
        "the losers left no grant"
    );
}

fn one_wins<T: std::fmt::Debug>(results: Vec<crate::Result<T>>) {
    let (won, lost): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    assert_eq!(won.len(), 1, "{won:?}");
    for result in lost {
        refused(result, "already_exists");
    }
}

async fn different_names_do_not_disturb_each_other(catalog: Arc<dyn Catalog>) {
    let ann = user(&catalog, "ann").await;
    catalog.ensure_namespace(&namespace("n")).await.expect("namespace");
    let made = join_all((0..32).map(|i| catalog.create_dataset(new_dataset(&format!("n.d{i}")), ann.id))).await;
    for result in made {
        result.expect("each has a name of its own");
    }
}

async fn one_owner_is_left(catalog: Arc<dyn Catalog>) {
    for round in 0..ROUNDS {
        for i in 0..CALLERS {
            let who = user(&catalog, &format!("o{round}.{i}")).await;
            grant(&catalog, &who, Scope::Instance, Role::Owner).await;
        }
        let owners = catalog.grants_on(&Scope::Instance).await.expect("answer");
        let removals = owners.iter().enumerate().map(|(i, owner)| remove(&catalog, owner.grantee, i));
        let removed = join_all(removals).await;
        let refusals = removed.into_iter().filter(Result::is_err).map(|result| refused(result, "last_owner")).count();
        let left = catalog.grants_on(&Scope::Instance).await.expect("answer");
        assert_eq!((refusals, left.len()), (1, 1), "one refused, and it is the one that stays");
        assert_eq!(left[0].role, Role::Owner);
    }
}

/// Takes the owner role away, in one of the three ways there are.
async fn remove(catalog: &Arc<dyn Catalog>, grantee: Grantee, way: usize) -> crate::Result<()> {
    match (way % 3, grantee) {
        (0, Grantee::Principal(id)) => catalog.delete_principal(id).await,
        (1, _) => {
            catalog.grant(Grant { grantee, scope: Scope::Instance, role: Role::Reader }).await?;
            catalog.revoke(grantee, &Scope::Instance).await
        }
        _ => catalog.revoke(grantee, &Scope::Instance).await,
    }
}

async fn a_deleted_principal_owns_nothing(catalog: Arc<dyn Catalog>) {
    let ann = user(&catalog, "ann").await;
    dataset(&catalog, "n.first", &ann).await;
    for round in 0..ROUNDS {
        let bob = user(&catalog, &format!("bob{round}")).await;
        let create = catalog.create_dataset(new_dataset(&format!("n.d{round}")), bob.id);
        let delete = catalog.delete_principal(bob.id);
        let (created, deleted) = futures::join!(create, delete);
        deleted.expect("bob may go");
        if created.is_err() {
            refused(created, "not_found");
        }
        assert!(catalog.grants_of(Grantee::Principal(bob.id)).await.expect("answer").is_empty());
    }
}

async fn one_first_owner(make: impl AsyncFn() -> Arc<dyn Catalog>) {
    let catalog = make().await;
    let names: Vec<_> = (0..CALLERS).map(|i| format!("owner{}", i % 2)).collect();
    let made = join_all(names.iter().map(|name| ensure_owner(catalog.as_ref(), name))).await;
    let tokens = made.into_iter().filter(|token| token.as_ref().expect("answer").is_some()).count();
    assert_eq!(tokens, 1);
    assert_eq!(catalog.grants_on(&Scope::Instance).await.expect("answer").len(), 1);
    let owner0 = catalog.principal_by_name("owner0").await.expect("answer");
    let owner1 = catalog.principal_by_name("owner1").await.expect("answer");
    assert!(owner0.is_some() != owner1.is_some(), "the losers created nobody");
}
