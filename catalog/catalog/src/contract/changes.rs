//! What [`crate::Datasets::update_dataset`] promises.

use std::sync::Arc;

use futures::future::join_all;

use super::{dataset, name, refused, user};
use crate::dataset::{DatasetChange, Visibility};
use crate::{Catalog, Column, ColumnType, DatasetId};

/// The suite of changes.
pub(super) async fn changes(make: impl AsyncFn() -> Arc<dyn Catalog>) {
    what_is_named_changes_and_nothing_else(make().await).await;
    columns_only_grow(make().await).await;
    a_refused_change_changes_nothing(make().await).await;
    changes_at_the_same_time_are_all_kept(make().await).await;
}

fn columns(count: usize) -> Vec<Column> {
    let more = (1..count).map(|i| Column::new(format!("c{i}"), ColumnType::String));
    std::iter::once(Column::new("a", ColumnType::BigInt)).chain(more).collect()
}

fn to_columns(count: usize) -> DatasetChange {
    DatasetChange { columns: Some(columns(count)), ..DatasetChange::default() }
}

async fn what_is_named_changes_and_nothing_else(catalog: Arc<dyn Catalog>) {
    let ann = user(&catalog, "ann").await;
    let made = dataset(&catalog, "geo.a", &ann).await;
    let other = dataset(&catalog, "geo.b", &ann).await;
    let described = DatasetChange { description: Some("it's \"here\"".to_owned()), ..DatasetChange::default() };
    let now = catalog.update_dataset(made.id, described).await.expect("changed");
    assert!(now.updated_at >= made.updated_at);
    let mut expected = made.clone();
    expected.description = "it's \"here\"".to_owned();
    expected.updated_at = now.updated_at;
    assert_eq!(now, expected);
    let public = DatasetChange { visibility: Some(Visibility::Public), ..DatasetChange::default() };
    let now = catalog.update_dataset(made.id, public).await.expect("changed");
    assert_eq!((now.visibility, now.description.as_str()), (Visibility::Public, "it's \"here\""));
    assert_eq!(catalog.dataset(&made.name).await.expect("answer"), Some(now.clone()));
    assert_eq!(catalog.dataset_by_id(made.id).await.expect("answer"), Some(now));
    assert_eq!(catalog.dataset(&name("geo.b")).await.expect("answer"), Some(other));
}

async fn columns_only_grow(catalog: Arc<dyn Catalog>) {
    let ann = user(&catalog, "ann").await;
    let made = dataset(&catalog, "geo.a", &ann).await;
    for (sent, kept) in [(1, 1), (3, 3), (2, 3), (3, 3), (5, 5), (1, 5)] {
        let now = catalog.update_dataset(made.id, to_columns(sent)).await.expect("changed");
        assert_eq!(now.schema, columns(kept), "after {sent} columns were named");
    }
}

async fn a_refused_change_changes_nothing(catalog: Arc<dyn Catalog>) {
    let ann = user(&catalog, "ann").await;
    let made = dataset(&catalog, "geo.a", &ann).await;
    refused(catalog.update_dataset(DatasetId::generate(), to_columns(2)).await, "not_found");
    let renamed = vec![Column::new("b", ColumnType::BigInt), Column::new("c", ColumnType::Int)];
    let retyped = vec![Column::new("a", ColumnType::String), Column::new("c", ColumnType::Int)];
    let twice = vec![Column::new("a", ColumnType::BigInt), Column::new("A", ColumnType::Int)];
    for columns in [renamed, retyped, twice] {
        let bad = DatasetChange { columns: Some(columns), description: Some("x".to_owned()), ..to_columns(1) };
        refused(catalog.update_dataset(made.id, bad).await, "invalid_name");
    }
    let long = DatasetChange { description: Some("x".repeat(10_001)), ..DatasetChange::default() };
    refused(catalog.update_dataset(made.id, long).await, "invalid_name");
    let now = catalog.dataset(&made.name).await.expect("answer").expect("it is there");
    assert_eq!((now.schema, now.description), (made.schema, made.description));
    catalog.delete_dataset(made.id).await.expect("deleted");
    refused(catalog.update_dataset(made.id, to_columns(2)).await, "not_found");
}

async fn changes_at_the_same_time_are_all_kept(catalog: Arc<dyn Catalog>) {
    let ann = user(&catalog, "ann").await;
    let made = dataset(&catalog, "geo.a", &ann).await;
    let described = DatasetChange { description: Some("told".to_owned()), ..DatasetChange::default() };
    let public = DatasetChange { visibility: Some(Visibility::Public), ..DatasetChange::default() };
    let all = [3, 8, 5, 2].map(to_columns).into_iter().chain([described, public]);
    for done in join_all(all.map(|change| catalog.update_dataset(made.id, change))).await {
        done.expect("changed");
    }
    let now = catalog.dataset_by_id(made.id).await.expect("answer").expect("it is there");
    assert_eq!(now.schema, columns(8), "the most columns are the newest, in whatever order they came");
    assert_eq!((now.description.as_str(), now.visibility), ("told", Visibility::Public));
}
