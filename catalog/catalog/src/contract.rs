//! The contract suites: what the traits promise, as code that every implementation runs.
//!
//! Each suite takes a function that makes a new, empty catalog, and panics where a promise is broken.
//! An implementation calls [`datasets`], [`principals`], [`groups`], [`grants`], [`events`], [`jobs`],
//! [`audit`], [`owner`] and [`races`] from its tests. It is ordinary public code so that an implementation in any crate can be held to it.

use std::sync::Arc;

use chrono::Utc;

use crate::error::Result;
use crate::grant::{Grant, Grantee, Role, Scope};
use crate::name::{DatasetName, Namespace};
use crate::principal::{NewPrincipal, NewToken, Principal, PrincipalKind};
use crate::{ApiToken, Caller, Catalog, Column, ColumnType, Dataset, NewDataset, TokenScope};

mod audit;
mod changes;
mod datasets;
mod events;
mod grants;
mod groups;
mod jobs;
mod login;
mod owner;
mod principals;
mod races;
mod sight;

pub use audit::audit;
pub use datasets::datasets;
pub use events::events;
pub use grants::grants;
pub use groups::groups;
pub use jobs::jobs;
pub use owner::owner;
pub use principals::principals;
pub use races::races;

fn namespace(text: &str) -> Namespace {
    Namespace::new(text).expect("a valid namespace")
}

fn name(text: &str) -> DatasetName {
    text.parse().expect("a valid dataset name")
}

/// A dataset to create, with one column.
fn new_dataset(text: &str) -> NewDataset {
    NewDataset::root(name(text), vec![Column::new("a", ColumnType::BigInt)])
}

fn new_user(name: &str) -> NewPrincipal {
    NewPrincipal { name: name.to_owned(), kind: PrincipalKind::User, external: None }
}

async fn user(catalog: &Arc<dyn Catalog>, name: &str) -> Principal {
    catalog.create_principal(new_user(name)).await.expect("a free, valid name")
}

/// Creates the dataset and, where it is missing, its namespace.
async fn dataset(catalog: &Arc<dyn Catalog>, text: &str, owner: &Principal) -> Dataset {
    let new = new_dataset(text);
    catalog.ensure_namespace(new.name.namespace()).await.expect("the namespace");
    catalog.create_dataset(new, owner.id).await.expect("a free name")
}

async fn grant(catalog: &Arc<dyn Catalog>, principal: &Principal, scope: Scope, role: Role) {
    let grant = Grant { grantee: Grantee::Principal(principal.id), scope, role };
    catalog.grant(grant).await.expect("a possible grant");
}

/// The principal as it comes with a token of these limits.
async fn caller(catalog: &Arc<dyn Catalog>, principal: &Principal, scope: TokenScope) -> Caller {
    let hash = ApiToken::generate().hash();
    let new = NewToken { principal: principal.id, name: "test".to_owned(), hash, expires_at: None, scope };
    catalog.create_token(new).await.expect("kept");
    catalog.authenticate(&hash, Utc::now()).await.expect("answer").expect("it works").into()
}

/// The call failed with this code.
#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T>, code: &str) {
    let error = result.expect_err("the call must be refused");
    assert_eq!(error.code(), code, "{error}");
}
