//! What [`crate::Datasets::update_dataset`] promises.

use std::sync::Arc;

use futures::future::join_all;

use super::{dataset, name, refused, user};
use crate::dataset::{ColumnsAt, DatasetChange, MergeStrategy, NewDataset, Visibility};
use crate::{Catalog, Column, ColumnType, DatasetId, Mask, Policy};

/// The suite of changes.
pub(super) async fn changes(make: impl AsyncFn() -> Arc<dyn Catalog>) {
    what_is_named_changes_and_nothing_else(make().await).await;
    columns_are_those_of_the_latest_version(make().await).await;
    what_names_a_lost_column_goes_with_it(make().await).await;
    a_refused_change_changes_nothing(make().await).await;
    changes_at_the_same_time_are_all_kept(make().await).await;
}

fn columns(count: usize) -> Vec<Column> {
    let more = (1..count).map(|i| Column::new(format!("c{i}"), ColumnType::String));
    std::iter::once(Column::new("a", ColumnType::BigInt)).chain(more).collect()
}

fn at(version: u64, columns: Vec<Column>) -> DatasetChange {
    DatasetChange { columns: Some(ColumnsAt { version, columns }), ..DatasetChange::default() }
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
    let masks = [("a".to_owned(), Mask::Hidden), ("b".to_owned(), Mask::Expression("left(b, 1)".to_owned()))];
    let policy = Policy { row_filter: Some("owner = current_principal()".to_owned()), masks: masks.into() };
    for (sent, kept) in [(policy.clone(), Some(policy)), (Policy::default(), None)] {
        let change = DatasetChange { policy: Some(sent), ..DatasetChange::default() };
        expected.policy = kept;
        let now = catalog.update_dataset(made.id, change).await.expect("changed");
        expected.updated_at = now.updated_at;
        assert_eq!(now, expected);
        assert_eq!(catalog.dataset(&made.name).await.expect("answer").as_ref(), Some(&expected));
    }
    let public = DatasetChange { visibility: Some(Visibility::Public), ..DatasetChange::default() };
    let now = catalog.update_dataset(made.id, public).await.expect("changed");
    assert_eq!((now.visibility, now.description.as_str()), (Visibility::Public, "it's \"here\""));
    assert_eq!(catalog.dataset(&made.name).await.expect("answer"), Some(now.clone()));
    assert_eq!(catalog.dataset_by_id(made.id).await.expect("answer"), Some(now));
    assert_eq!(catalog.dataset(&name("geo.b")).await.expect("answer"), Some(other));
}

async fn columns_are_those_of_the_latest_version(catalog: Arc<dyn Catalog>) {
    let ann = user(&catalog, "ann").await;
    let made = dataset(&catalog, "geo.a", &ann).await;
    assert_eq!(made.schema_version, 0);
    for (version, sent, kept, known) in
        [(3, 3, 3, 3), (2, 5, 3, 3), (3, 4, 3, 3), (9, 2, 2, 9), (10, 6, 6, 10), (0, 1, 6, 10)]
    {
        let now = catalog.update_dataset(made.id, at(version, columns(sent))).await.expect("changed");
        assert_eq!((now.schema, now.schema_version), (columns(kept), known), "after version {version}");
    }
    let now = catalog.dataset(&made.name).await.expect("answer").expect("it is there");
    assert_eq!((now.schema, now.schema_version), (columns(6), 10));
}

async fn what_names_a_lost_column_goes_with_it(catalog: Arc<dyn Catalog>) {
    let ann = user(&catalog, "ann").await;
    catalog.ensure_namespace(name("geo.keyed").namespace()).await.expect("namespace");
    let column = |name: &str| Column { nullable: false, ..Column::new(name, ColumnType::Timestamp) };
    let new = NewDataset {
        primary_key: vec!["key".to_owned()],
        event_time: Some("when".to_owned()),
        ..NewDataset::root(name("geo.keyed"), vec![column("key"), column("when")])
    };
    let made = catalog.create_dataset(new, ann.id).await.expect("made");
    let more = vec![column("when"), column("key"), column("other")];
    let now = catalog.update_dataset(made.id, at(1, more)).await.expect("changed");
    assert_eq!((now.primary_key, now.event_time.as_deref()), (vec!["key".to_owned()], Some("when")));
    let now = catalog.update_dataset(made.id, at(2, vec![column("when")])).await.expect("changed");
    assert_eq!((now.primary_key.len(), now.event_time.as_deref()), (0, Some("when")));
    assert_eq!(now.merge, MergeStrategy::Append);
    catalog.update_dataset(made.id, at(3, vec![column("other")])).await.expect("changed");
    let now = catalog.dataset(&made.name).await.expect("answer").expect("it is there");
    assert_eq!((now.primary_key.len(), now.event_time), (0, None));
}

async fn a_refused_change_changes_nothing(catalog: Arc<dyn Catalog>) {
    let ann = user(&catalog, "ann").await;
    let made = dataset(&catalog, "geo.a", &ann).await;
    refused(catalog.update_dataset(DatasetId::generate(), at(2, columns(2))).await, "not_found");
    let twice = vec![Column::new("a", ColumnType::BigInt), Column::new("A", ColumnType::Int)];
    let bad = DatasetChange { description: Some("x".to_owned()), ..at(1, twice) };
    refused(catalog.update_dataset(made.id, bad).await, "invalid_name");
    let long = DatasetChange { description: Some("x".repeat(10_001)), ..DatasetChange::default() };
    refused(catalog.update_dataset(made.id, long).await, "invalid_name");
    let empty = Policy { row_filter: Some(String::new()), ..Policy::default() };
    let empty = DatasetChange { policy: Some(empty), ..DatasetChange::default() };
    refused(catalog.update_dataset(made.id, empty).await, "invalid_name");
    let now = catalog.dataset(&made.name).await.expect("answer").expect("it is there");
    assert_eq!((now.schema, now.description), (made.schema, made.description));
    catalog.delete_dataset(made.id).await.expect("deleted");
    refused(catalog.update_dataset(made.id, at(2, columns(2))).await, "not_found");
}

async fn changes_at_the_same_time_are_all_kept(catalog: Arc<dyn Catalog>) {
    let ann = user(&catalog, "ann").await;
    let made = dataset(&catalog, "geo.a", &ann).await;
    let described = DatasetChange { description: Some("told".to_owned()), ..DatasetChange::default() };
    let public = DatasetChange { visibility: Some(Visibility::Public), ..DatasetChange::default() };
    let all = [3, 8, 5, 2].map(|count| at(count as u64, columns(count))).into_iter().chain([described, public]);
    for done in join_all(all.map(|change| catalog.update_dataset(made.id, change))).await {
        done.expect("changed");
    }
    let now = catalog.dataset_by_id(made.id).await.expect("answer").expect("it is there");
    assert_eq!(now.schema, columns(8), "those of the latest version, in whatever order they came");
    assert_eq!((now.description.as_str(), now.visibility), ("told", Visibility::Public));
}
