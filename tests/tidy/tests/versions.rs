//! Two versions of a core crate are two sets of types that do not fit together, twice the build and
//! twice the code: there is one of each.

use lakegate_tidy::{Result, Workspace};

const ONCE: &[&str] = &[
    "arrow",
    "arrow-array",
    "arrow-schema",
    "axum",
    "datafusion",
    "datafusion-common",
    "deltalake",
    "deltalake-core",
    "http",
    "hyper",
    "libsqlite3-sys",
    "object_store",
    "parquet",
    "rustls",
    "sqlparser",
    "sqlx",
    "tokio",
    "tower",
    "tracing",
];

#[test]
fn there_is_one_version_of_each_core_crate() -> Result<()> {
    let workspace = Workspace::read()?;
    let versions = workspace.versions();
    for name in ONCE {
        let found = versions.get(name).map_or(0, Vec::len);
        assert_eq!(found, 1, "{name}: {:?}", versions.get(name));
    }
    Ok(())
}

#[test]
fn every_crate_of_ours_says_what_it_is_and_takes_the_workspace_lints() -> Result<()> {
    for package in Workspace::read()?.ours() {
        assert!(package.description.len() >= 20, "{} needs a description", package.name);
        let manifest = std::fs::read_to_string(&package.manifest)?;
        assert!(manifest.contains("[lints]\nworkspace = true"), "{} does not take the workspace lints", package.name);
    }
    Ok(())
}
