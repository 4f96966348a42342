//! Two versions of a core crate are two sets of types that do not fit together, twice the build and
//! twice the code: there is one of each.

use std::collections::BTreeSet;

use lakegate_tidy::{Result, Workspace, root};

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

/// Packages that only the fuzz targets are built from.
const ONLY_FUZZING: &[&str] = &["arbitrary", "lakegate-fuzz", "libfuzzer-sys"];

#[test]
fn fuzzing_tests_the_versions_that_are_shipped_and_builds_no_engine() -> Result<()> {
    let locked = |path: &str| -> Result<BTreeSet<(String, String)>> {
        let lock = std::fs::read_to_string(root().join(path))?;
        let packages = lock.split("[[package]]").skip(1);
        let value = |package: &str, key: &str| {
            let line = package.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = \""));
            line.map(|value| value.trim_end_matches('"').to_owned()).ok_or(format!("{path} has no {key}"))
        };
        packages.map(|package| Ok((value(package, "name")?, value(package, "version")?))).collect()
    };
    let (ours, fuzzing) = (locked("Cargo.lock")?, locked("tests/fuzz/Cargo.lock")?);
    let others: Vec<_> = fuzzing.difference(&ours).filter(|(name, _)| !ONLY_FUZZING.contains(&name.as_str())).collect();
    assert!(others.is_empty(), "copy Cargo.lock to tests/fuzz and run cargo there; it has {others:?}");
    let engines: Vec<_> =
        fuzzing.iter().filter(|(name, _)| name.starts_with("datafusion") || name.starts_with("deltalake")).collect();
    assert!(engines.is_empty(), "fuzz targets build {engines:?}");
    Ok(())
}
