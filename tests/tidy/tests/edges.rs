//! Imports go one way. The table is the rule; a new edge is a decision, made here and in ARCHITECTURE.md.

use std::collections::BTreeSet;

use lakegate_tidy::{Result, Workspace};

/// Each crate, and which of ours it may be built with.
const MAY_USE: &[(&str, &[&str])] = &[
    ("lakegate-catalog", &[]),
    ("lakegate-catalog-http", &["lakegate-catalog"]),
    ("lakegate-catalog-sql", &["lakegate-catalog"]),
    ("lakegate-config", &[]),
    ("lakegate-oidc", &[]),
    ("lakegate-formats", &["lakegate-catalog"]),
    ("lakegate-lake", &["lakegate-catalog"]),
    ("lakegate-statement", &["lakegate-catalog"]),
    ("lakegate-query", &["lakegate-catalog", "lakegate-lake", "lakegate-statement"]),
    ("lakegate-ingest", &["lakegate-catalog", "lakegate-formats", "lakegate-lake"]),
    ("lakegate-rest", &["lakegate-catalog", "lakegate-formats", "lakegate-ingest", "lakegate-lake", "lakegate-query"]),
    ("lakegate-flight-wire", &["lakegate-catalog"]),
    (
        "lakegate-flight-sql",
        &[
            "lakegate-catalog",
            "lakegate-flight-wire",
            "lakegate-formats",
            "lakegate-ingest",
            "lakegate-lake",
            "lakegate-query",
        ],
    ),
    (
        "lakegate-gateway",
        &[
            "lakegate-catalog",
            "lakegate-catalog-http",
            "lakegate-catalog-sql",
            "lakegate-config",
            "lakegate-flight-sql",
            "lakegate-flight-wire",
            "lakegate-formats",
            "lakegate-ingest",
            "lakegate-lake",
            "lakegate-oidc",
            "lakegate-query",
            "lakegate-rest",
        ],
    ),
    (
        "lakegate-bench",
        &[
            "lakegate-catalog",
            "lakegate-catalog-http",
            "lakegate-catalog-sql",
            "lakegate-e2e",
            "lakegate-formats",
            "lakegate-lake",
            "lakegate-statement",
        ],
    ),
    ("lakegate-clients", &["lakegate-e2e"]),
    ("lakegate-e2e", &[]),
    ("lakegate-slt", &["lakegate-e2e", "lakegate-formats"]),
    ("lakegate-tidy", &[]),
];

/// Which crates may not name which libraries: the catalog knows no engine, an engine no protocol, and
/// only the gateway chooses adapters.
const MAY_NOT_NAME: &[(&[&str], &[&str])] = &[
    (
        &["lakegate-catalog", "lakegate-catalog-http", "lakegate-catalog-sql", "lakegate-config", "lakegate-oidc"],
        &["arrow", "datafusion", "deltalake", "parquet"],
    ),
    (
        &[
            "lakegate-catalog",
            "lakegate-catalog-sql",
            "lakegate-config",
            "lakegate-formats",
            "lakegate-ingest",
            "lakegate-lake",
            "lakegate-oidc",
            "lakegate-query",
            "lakegate-statement",
        ],
        &["axum", "hyper", "tonic", "tower", "tower-http", "utoipa"],
    ),
    (&["lakegate-formats"], &["datafusion", "deltalake", "object_store"]),
    (&["lakegate-statement"], &["arrow", "datafusion", "deltalake", "object_store", "tokio"]),
    (&["lakegate-rest"], &["sqlx", "deltalake", "object_store"]),
    (&["lakegate-config"], &["tokio", "sqlx"]),
];

#[test]
fn crates_use_only_what_stands_below_them() -> Result<()> {
    let workspace = Workspace::read()?;
    let ours: BTreeSet<&str> = workspace.ours().map(|p| p.name.as_str()).collect();
    let stated: BTreeSet<&str> = MAY_USE.iter().map(|(name, _)| *name).collect();
    assert_eq!(ours, stated, "every crate of the workspace has a row in MAY_USE");

    for package in workspace.ours() {
        let allowed = MAY_USE.iter().find(|(name, _)| *name == package.name).map_or(&[][..], |(_, allowed)| *allowed);
        let used = package.uses.iter().filter(|name| ours.contains(name.as_str()));
        let forbidden: Vec<_> = used.filter(|name| !allowed.contains(&name.as_str())).collect();
        assert!(forbidden.is_empty(), "{} must not use {forbidden:?}", package.name);
    }
    Ok(())
}

#[test]
fn layers_do_not_name_what_belongs_above_or_beside_them() -> Result<()> {
    let workspace = Workspace::read()?;
    for (crates, libraries) in MAY_NOT_NAME {
        for package in workspace.ours().filter(|p| crates.contains(&p.name.as_str())) {
            let named: Vec<_> = libraries.iter().filter(|library| package.uses.contains(**library)).collect();
            assert!(named.is_empty(), "{} must not name {named:?}", package.name);
        }
    }
    Ok(())
}

/// The rules above would pass if the names in them were wrong.
#[test]
fn every_library_that_is_forbidden_somewhere_is_in_the_tree() -> Result<()> {
    let workspace = Workspace::read()?;
    let versions = workspace.versions();
    let later = ["tonic"];
    for library in MAY_NOT_NAME.iter().flat_map(|(_, libraries)| *libraries) {
        assert!(
            versions.contains_key(library) || later.contains(library),
            "{library} is not there: is the name right?"
        );
    }
    Ok(())
}
