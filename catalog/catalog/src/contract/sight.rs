//! For random grants: what each caller sees is what one rule says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use super::{caller, name, namespace, new_dataset, user};
use crate::dataset::Visibility;
use crate::grant::{Grant, Grantee, Role, Scope};
use crate::page::Page;
use crate::{Caller, Catalog, Dataset, DatasetName, Group, Namespace, NewDataset, Principal, TokenScope};

/// Names that differ in characters which patterns of SQL take for any.
const SPACES: [&str; 4] = ["a_b", "axb", "geo", "geo_"];
const NAMES: [&str; 4] = ["d", "d_1", "dx1", "e"];
const ROLES: [Role; 4] = [Role::Reader, Role::Writer, Role::Maintainer, Role::Owner];

/// What there is.
struct World {
    principals: Vec<Principal>,
    groups: Vec<(Group, BTreeSet<usize>)>,
    datasets: Vec<Dataset>,
    grants: BTreeMap<(Grantee, Scope), Role>,
}

pub(super) async fn everyone_sees_what_the_grants_say(make: impl AsyncFn() -> Arc<dyn Catalog>) {
    for seed in 0..4 {
        let catalog = make().await;
        let mut random = StdRng::seed_from_u64(seed);
        let world = World::make(&catalog, &mut random).await;
        for who in 0..=world.principals.len() {
            for limits in ["{}", r#"{"datasets":["a_b.*","geo_.d"]}"#, r#"{"datasets":["geo.d_1","axb.dx1"]}"#] {
                let limits: TokenScope = serde_json::from_str(limits).expect("a scope");
                world.check(&catalog, who, limits, seed).await;
            }
        }
    }
}

impl World {
    async fn make(catalog: &Arc<dyn Catalog>, random: &mut StdRng) -> Self {
        let owner = user(catalog, "owner").await;
        let mut world =
            Self { principals: Vec::new(), groups: Vec::new(), datasets: Vec::new(), grants: BTreeMap::new() };
        for i in 0..4 {
            world.principals.push(user(catalog, &format!("u{i}")).await);
        }
        for i in 0..3 {
            let group = catalog.create_group(&format!("g{i}")).await.expect("created");
            let members: BTreeSet<_> = (0..4).filter(|_| random.random_bool(0.4)).collect();
            for member in &members {
                catalog.add_member(group.id, world.principals[*member].id).await.expect("added");
            }
            world.groups.push((group, members));
        }
        for space in SPACES {
            catalog.ensure_namespace(&namespace(space)).await.expect("namespace");
            for text in NAMES {
                if random.random_bool(0.3) {
                    continue;
                }
                let public = if random.random_bool(0.2) { Visibility::Public } else { Visibility::Private };
                let new = NewDataset { visibility: public, ..new_dataset(&format!("{space}.{text}")) };
                world.datasets.push(catalog.create_dataset(new, owner.id).await.expect("created"));
            }
        }
        for _ in 0..12 {
            world.grant(catalog, random).await;
        }
        world
    }

    async fn grant(&mut self, catalog: &Arc<dyn Catalog>, random: &mut StdRng) {
        let space = || Scope::Namespace(namespace(SPACES[0]));
        let dataset = self.datasets.choose(random).map_or_else(space, |dataset| Scope::Dataset(dataset.id));
        let space = Scope::Namespace(namespace(SPACES.choose(random).expect("some")));
        let mut role = *ROLES.choose(random).expect("some");
        let mut scope = match random.random_range(0..10) {
            0 => Scope::Instance,
            1..5 => space.clone(),
            _ => dataset,
        };
        let grantee = match random.random_range(0..8) {
            0 => Grantee::Public,
            1..4 => Grantee::Group(self.groups.choose(random).expect("some").0.id),
            _ => Grantee::Principal(self.principals.choose(random).expect("some").id),
        };
        if grantee == Grantee::Public {
            (scope, role) = (space, Role::Reader);
        }
        // None of these is ever the last owner.
        if scope == Scope::Instance && role == Role::Owner {
            role = Role::Maintainer;
        }
        catalog.grant(Grant { grantee, scope: scope.clone(), role }).await.expect("granted");
        self.grants.insert((grantee, scope), role);
    }

    /// The highest role of principal number `who`, one more than the last for nobody, on any of the scopes.
    fn highest(&self, who: usize, scopes: &[Scope]) -> Option<Role> {
        let own = self.principals.get(who).map(|principal| Grantee::Principal(principal.id));
        let groups = self.groups.iter().filter(|(_, members)| members.contains(&who));
        let holders: Vec<_> =
            own.into_iter().chain(groups.map(|(group, _)| Grantee::Group(group.id))).chain([Grantee::Public]).collect();
        let counts = |(grantee, scope): &(Grantee, Scope)| holders.contains(grantee) && scopes.contains(scope);
        self.grants.iter().filter(|(key, _)| counts(key)).map(|(_, role)| *role).max()
    }

    fn role(&self, who: usize, limits: &TokenScope, dataset: &Dataset) -> Option<Role> {
        let who = if limits.covers(&dataset.name) { who } else { self.principals.len() };
        let space = Scope::Namespace(dataset.name.namespace().clone());
        let public = (dataset.visibility == Visibility::Public).then_some(Role::Reader);
        self.highest(who, &[Scope::Instance, space, Scope::Dataset(dataset.id)]).max(public)
    }

    fn role_on_namespace(&self, who: usize, limits: &TokenScope, space: &Namespace) -> Option<Role> {
        let who = if limits.covers_namespace(space) { who } else { self.principals.len() };
        self.highest(who, &[Scope::Instance, Scope::Namespace(space.clone())])
    }

    async fn check(&self, catalog: &Arc<dyn Catalog>, who: usize, limits: TokenScope, seed: u64) {
        let known = match self.principals.get(who) {
            Some(principal) => caller(catalog, principal, limits.clone()).await,
            None => Caller::Anonymous,
        };
        let told = format!("seed {seed}, {who} with {limits:?}");
        let mut seen = Vec::new();
        for space in SPACES {
            for text in NAMES {
                let wanted: DatasetName = name(&format!("{space}.{text}"));
                let there = self.datasets.iter().find(|dataset| dataset.name == wanted);
                let expected = there.and_then(|dataset| self.role(who, &limits, dataset));
                let access = catalog.access(&known, &wanted).await.expect("answer");
                assert_eq!(access.map(|access| access.role), expected, "{told} on {wanted}");
                if expected.is_some() {
                    seen.push(wanted.to_string());
                }
            }
        }
        seen.sort();
        let page = Page::first(100);
        let listed = catalog.list_datasets(&known, None, &page).await.expect("a page").items;
        assert_eq!(listed.iter().map(|dataset| dataset.name.to_string()).collect::<Vec<_>>(), seen, "{told}");
        let mut spaces = Vec::new();
        for text in SPACES {
            let space = namespace(text);
            let expected = self.role_on_namespace(who, &limits, &space);
            assert_eq!(catalog.role_on_namespace(&known, &space).await.expect("answer"), expected, "{told} on {text}");
            if expected.is_some() || seen.iter().any(|name| name.starts_with(&format!("{text}."))) {
                spaces.push(text);
            }
        }
        spaces.sort_unstable();
        let listed = catalog.list_namespaces(&known, &page).await.expect("a page").items;
        assert_eq!(listed.iter().map(|record| record.name.as_str()).collect::<Vec<_>>(), spaces, "{told}");
        let everywhere = if limits.datasets.is_empty() { who } else { self.principals.len() };
        let expected = self.highest(everywhere, &[Scope::Instance]);
        assert_eq!(catalog.role_on_instance(&known).await.expect("answer"), expected, "{told}");
    }
}
