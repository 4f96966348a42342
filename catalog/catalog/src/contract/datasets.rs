//! What [`crate::Datasets`] promises.

use std::sync::Arc;

use chrono::{SubsecRound as _, Utc};

use super::{dataset, grant, name, namespace, new_dataset, refused, user};
use crate::dataset::{ColumnsAt, DatasetChange, GeometryColumn, Visibility};
use crate::grant::{Grantee, Role, Scope};
use crate::page::Page;
use crate::{Caller, Catalog, Column, ColumnType, Dataset, DatasetId, NewDataset, PrincipalId};

/// The suite of [`crate::Datasets`].
pub async fn datasets(make: impl AsyncFn() -> Arc<dyn Catalog>) {
    namespaces_are_created_once(make().await).await;
    a_dataset_reads_back_whole(make().await).await;
    every_column_type_reads_back(make().await).await;
    a_namespace_is_deleted_when_it_is_empty(make().await).await;
    creation_needs_namespace_owner_and_free_name(make().await).await;
    creation_checks_columns_and_texts(make().await).await;
    a_refused_creation_leaves_nothing(make().await).await;
    lists_show_what_the_caller_may_see(make().await).await;
    pages_cover_a_list_exactly_once(make().await).await;
    a_page_of_wide_datasets_ends_early(make().await).await;
    deletion_leaves_a_tombstone_and_frees_the_name(make().await).await;
    super::changes::changes(make).await;
}

async fn namespaces_are_created_once(catalog: Arc<dyn Catalog>) {
    let geo = namespace("geo");
    assert!(!catalog.namespace_exists(&geo).await.expect("answer"));
    assert!(catalog.ensure_namespace(&geo).await.expect("new"));
    assert!(!catalog.ensure_namespace(&geo).await.expect("there already"));
    assert!(catalog.namespace_exists(&geo).await.expect("answer"));
    catalog.ping().await.expect("the store answers");
}

async fn a_namespace_is_deleted_when_it_is_empty(catalog: Arc<dyn Catalog>) {
    let ann = user(&catalog, "ann").await;
    let made = dataset(&catalog, "geo.a", &ann).await;
    let geo = made.name.namespace().clone();
    grant(&catalog, &ann, Scope::Namespace(geo.clone()), Role::Owner).await;
    refused(catalog.delete_namespace(&geo).await, "namespace_not_empty");
    catalog.delete_dataset(made.id).await.expect("deleted");
    catalog.delete_namespace(&geo).await.expect("deleted");
    refused(catalog.delete_namespace(&geo).await, "not_found");
    assert!(!catalog.namespace_exists(&geo).await.expect("answer"));
    assert!(catalog.ensure_namespace(&geo).await.expect("answer"), "the name is free");
    let role = catalog.role_on_namespace(&Caller::from(ann), &geo).await.expect("answer");
    assert_eq!(role, None, "the grants went with the namespace");
}

async fn a_dataset_reads_back_whole(catalog: Arc<dyn Catalog>) {
    let owner = user(&catalog, "ann").await;
    catalog.ensure_namespace(&namespace("geo")).await.expect("namespace");
    let column = |name: &str, ty, nullable| Column { nullable, ..Column::new(name, ty) };
    let new = NewDataset {
        primary_key: vec!["o'id \"x\"; --".to_owned(), "größe".to_owned()],
        event_time: Some("時刻".to_owned()),
        geometry: Some(GeometryColumn { column: "geom".to_owned(), crs: "EPSG:4326".to_owned() }),
        visibility: Visibility::Public,
        description: "it's \"here\"\n\\ 🌍 $1 ? %".to_owned(),
        ..NewDataset::root(
            name("geo.quakes"),
            vec![
                column("o'id \"x\"; --", ColumnType::BigInt, false),
                column("größe", ColumnType::Double, false),
                column("時刻", ColumnType::Timestamp, true),
                column("geom", ColumnType::Geometry, true),
            ],
        )
    };
    let before = Utc::now().trunc_subsecs(6);
    let made = catalog.create_dataset(new.clone(), owner.id).await.expect("created");
    let read = catalog.dataset(&new.name).await.expect("answer").expect("it exists");
    assert_eq!(made, read, "the answer of the creation is what is kept, to the microsecond");
    assert!(before <= read.created_at && read.created_at <= Utc::now(), "{}", read.created_at);
    assert_eq!(read.created_at, read.updated_at);
    assert_eq!(catalog.dataset_by_id(read.id).await.expect("answer").as_ref(), Some(&read));
    assert!(catalog.dataset_by_id(DatasetId::generate()).await.expect("answer").is_none());
    let back = NewDataset {
        id: read.id,
        name: read.name,
        kind: read.kind,
        schema: read.schema,
        primary_key: read.primary_key,
        merge: read.merge,
        event_time: read.event_time,
        geometry: read.geometry,
        visibility: read.visibility,
        description: read.description,
    };
    assert_eq!(back, new);
    assert!(catalog.dataset(&name("geo.other")).await.expect("answer").is_none());
}

async fn every_column_type_reads_back(catalog: Arc<dyn Catalog>) {
    let owner = user(&catalog, "ann").await;
    catalog.ensure_namespace(&namespace("t")).await.expect("namespace");
    let schema: Vec<_> = every_type().into_iter().enumerate().map(|(i, ty)| Column::new(format!("c{i}"), ty)).collect();
    let new = NewDataset::root(name("t.types"), schema.clone());
    catalog.create_dataset(new, owner.id).await.expect("created");
    let read = catalog.dataset(&name("t.types")).await.expect("answer").expect("it exists");
    assert_eq!(read.schema, schema);
}

fn every_type() -> Vec<ColumnType> {
    let fields = vec![Column::new("a", ColumnType::Int), Column::new("b: \"c\", <d>", ColumnType::Date)];
    vec![
        ColumnType::Boolean,
        ColumnType::SmallInt,
        ColumnType::Int,
        ColumnType::BigInt,
        ColumnType::Real,
        ColumnType::Double,
        ColumnType::Decimal(38, 0),
        ColumnType::Decimal(5, 5),
        ColumnType::String,
        ColumnType::Binary,
        ColumnType::Date,
        ColumnType::Timestamp,
        ColumnType::TimestampNtz,
        ColumnType::List(Box::new(ColumnType::List(Box::new(ColumnType::Real)))),
        ColumnType::Struct(fields.clone()),
        ColumnType::Map(Box::new(ColumnType::String), Box::new(ColumnType::Struct(fields))),
        ColumnType::Geometry,
    ]
}

async fn creation_needs_namespace_owner_and_free_name(catalog: Arc<dyn Catalog>) {
    let owner = user(&catalog, "ann").await;
    refused(catalog.create_dataset(new_dataset("geo.a"), owner.id).await, "not_found");
    let made = dataset(&catalog, "geo.a", &owner).await;
    refused(catalog.create_dataset(new_dataset("geo.a"), owner.id).await, "already_exists");
    let same_id = NewDataset { id: made.id, ..new_dataset("geo.b") };
    refused(catalog.create_dataset(same_id.clone(), owner.id).await, "already_exists");
    refused(catalog.create_dataset(new_dataset("geo.b"), PrincipalId::generate()).await, "not_found");
    catalog.delete_dataset(made.id).await.expect("deleted");
    refused(catalog.create_dataset(same_id, owner.id).await, "already_exists");
    let grants = catalog.grants_of(Grantee::Principal(owner.id)).await.expect("answer");
    assert!(grants.is_empty(), "only the first creation made a grant, and it went with the dataset");
}

async fn creation_checks_columns_and_texts(catalog: Arc<dyn Catalog>) {
    let owner = user(&catalog, "ann").await;
    catalog.ensure_namespace(&namespace("t")).await.expect("namespace");
    let base = || new_dataset("t.bad");
    let twice = vec![Column::new("É", ColumnType::Int), Column::new("é", ColumnType::Int)];
    let geometry = GeometryColumn { column: "g".to_owned(), crs: "EPSG:4326".to_owned() };
    for bad in [
        NewDataset { schema: Vec::new(), ..base() },
        NewDataset { schema: vec![Column::new("_a", ColumnType::Int)], ..base() },
        NewDataset { schema: twice, ..base() },
        NewDataset { primary_key: vec!["b".to_owned()], ..base() },
        NewDataset { event_time: Some("b".to_owned()), ..base() },
        NewDataset { geometry: Some(geometry), ..base() },
        NewDataset { description: "a\0b".to_owned(), ..base() },
        NewDataset { description: "x".repeat(10_001), ..base() },
    ] {
        refused(catalog.create_dataset(bad, owner.id).await, "invalid_name");
    }
    assert!(catalog.dataset(&name("t.bad")).await.expect("answer").is_none());
}

async fn a_refused_creation_leaves_nothing(catalog: Arc<dyn Catalog>) {
    let (ann, bob) = (user(&catalog, "ann").await, user(&catalog, "bob").await);
    dataset(&catalog, "geo.a", &ann).await;
    refused(catalog.create_dataset(new_dataset("geo.a"), bob.id).await, "already_exists");
    assert!(catalog.grants_of(Grantee::Principal(bob.id)).await.expect("answer").is_empty());
}

async fn lists_show_what_the_caller_may_see(catalog: Arc<dyn Catalog>) {
    let ann = user(&catalog, "ann").await;
    for text in ["geo.b", "geo.a", "geo_2.a", "geo2.a"] {
        dataset(&catalog, text, &ann).await;
    }
    let public = NewDataset { visibility: Visibility::Public, ..new_dataset("geo2.open") };
    catalog.create_dataset(public, ann.id).await.expect("created");
    let on_one = user(&catalog, "one").await;
    let one = catalog.dataset(&name("geo.b")).await.expect("answer").expect("it exists");
    grant(&catalog, &on_one, Scope::Dataset(one.id), Role::Reader).await;
    let on_namespace = user(&catalog, "space").await;
    grant(&catalog, &on_namespace, Scope::Namespace(namespace("geo")), Role::Writer).await;
    let on_all = user(&catalog, "all").await;
    grant(&catalog, &on_all, Scope::Instance, Role::Reader).await;
    let nobody = user(&catalog, "nobody").await;

    let all = ["geo.a", "geo.b", "geo2.a", "geo2.open", "geo_2.a"];
    for (caller, expected) in [
        (Caller::Anonymous, &["geo2.open"][..]),
        (Caller::from(nobody), &["geo2.open"]),
        (Caller::from(on_one), &["geo.b", "geo2.open"]),
        (Caller::from(on_namespace.clone()), &["geo.a", "geo.b", "geo2.open"]),
        (Caller::from(on_all), &all),
        (Caller::from(ann), &all),
    ] {
        assert_eq!(names(&catalog, &caller, None, 10).await, expected, "{caller:?}");
    }
    let caller = Caller::from(on_namespace);
    assert_eq!(names(&catalog, &caller, Some("geo"), 10).await, ["geo.a", "geo.b"]);
    assert_eq!(names(&catalog, &caller, Some("geo2"), 10).await, ["geo2.open"]);
    assert!(names(&catalog, &caller, Some("nowhere"), 10).await.is_empty());
}

/// The names of a list, read in pages of `limit`.
async fn names(catalog: &Arc<dyn Catalog>, caller: &Caller, within: Option<&str>, limit: usize) -> Vec<String> {
    let within = within.map(namespace);
    let mut page = Page::first(limit);
    let mut names = Vec::new();
    loop {
        let listing = catalog.list_datasets(caller, within.as_ref(), &page).await.expect("a page");
        assert!(listing.items.len() <= limit, "a page is never longer than asked");
        names.extend(listing.items.iter().map(|dataset| dataset.name.to_string()));
        match listing.next {
            Some(cursor) => page.cursor = Some(cursor),
            None => return names,
        }
        assert!(!listing.items.is_empty(), "a page with another after it is not empty");
    }
}

async fn pages_cover_a_list_exactly_once(catalog: Arc<dyn Catalog>) {
    let ann = user(&catalog, "ann").await;
    let expected: Vec<_> = (0..7).map(|i| format!("n{}.d{i}", i % 2)).collect();
    for text in &expected {
        dataset(&catalog, text, &ann).await;
    }
    let mut expected = expected;
    expected.sort();
    let caller = Caller::from(ann);
    for limit in 1..=8 {
        assert_eq!(names(&catalog, &caller, None, limit).await, expected, "pages of {limit}");
    }
    for cursor in ["", "nonsense", "n0.d0; --", "a\0.b"] {
        let page = Page { limit: 2, cursor: Some(cursor.to_owned()) };
        refused(catalog.list_datasets(&caller, None, &page).await, "invalid_name");
    }
}

async fn a_page_of_wide_datasets_ends_early(catalog: Arc<dyn Catalog>) {
    let ann = user(&catalog, "ann").await;
    catalog.ensure_namespace(&namespace("wide")).await.expect("the namespace");
    let column = |n| Column::new(format!("{}{n}", "c".repeat(120)), ColumnType::BigInt);
    let columns: Vec<_> = (0..1_500).map(column).collect();
    let mut expected = Vec::new();
    for n in 0..24 {
        let text = format!("wide.d{n:02}");
        let new = NewDataset::root(name(&text), if n % 4 == 3 { columns[..1].to_vec() } else { columns.clone() });
        let made = catalog.create_dataset(new, ann.id).await.expect("a free name");
        if n == 7 {
            let wider = ColumnsAt { version: 1, columns: columns.clone() };
            let wider = DatasetChange { columns: Some(wider), ..DatasetChange::default() };
            catalog.update_dataset(made.id, wider).await.expect("changed");
        }
        expected.push(text);
    }
    let caller = Caller::from(ann);
    let page = catalog.list_datasets(&caller, None, &Page::first(24)).await.expect("a page");
    let before_last = page.items.iter().rev().skip(1).map(Dataset::size).sum::<u64>();
    assert!(before_last < Page::MAX_BYTES && page.items.len() > 10, "{before_last} of {} items", page.items.len());
    assert_eq!(names(&catalog, &caller, Some("wide"), 24).await, expected);
}

async fn deletion_leaves_a_tombstone_and_frees_the_name(catalog: Arc<dyn Catalog>) {
    let ann = user(&catalog, "ann").await;
    let first = dataset(&catalog, "geo.a", &ann).await;
    let second = dataset(&catalog, "geo.b", &ann).await;
    refused(catalog.delete_dataset(DatasetId::generate()).await, "not_found");
    catalog.delete_dataset(second.id).await.expect("deleted");
    catalog.delete_dataset(first.id).await.expect("deleted");
    refused(catalog.delete_dataset(first.id).await, "not_found");

    assert!(catalog.dataset(&first.name).await.expect("answer").is_none());
    assert!(catalog.dataset_by_id(first.id).await.expect("answer").is_none());
    assert!(catalog.grants_on(&Scope::Dataset(first.id)).await.expect("answer").is_empty());
    let again = dataset(&catalog, "geo.a", &ann).await;
    assert_ne!(again.id, first.id);

    let waiting = catalog.tombstones().await.expect("answer");
    assert_eq!(waiting.iter().map(|t| t.id).collect::<Vec<_>>(), [second.id, first.id], "oldest first");
    assert!(waiting[0].deleted_at >= second.created_at);
    catalog.forget_tombstone(second.id).await.expect("forgotten");
    catalog.forget_tombstone(second.id).await.expect("nothing happens twice");
    assert_eq!(catalog.tombstones().await.expect("answer"), waiting[1..]);
}
