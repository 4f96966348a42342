//! What we are built from may be given away with us under Apache-2.0.

use std::collections::BTreeSet;

use lakegate_tidy::{Result, Tree, Workspace, root};

/// Licences that ask for no more than a notice, and `MPL-2.0`, which binds only its own files.
const ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// The crates under `MPL-2.0`, one by one: a new one is looked at before it comes in.
const MPL: &[&str] = &["option-ext"];

/// Whether an SPDX expression can be met with allowed licences alone. `/` is how older crates write OR.
fn allowed(expression: &str) -> bool {
    let mut tokens = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    tokens = tokens.replace(" WITH ", "\u{1}");
    let tokens: Vec<String> = tokens.split_whitespace().map(|t| t.replace('\u{1}', " WITH ")).collect();
    let mut rest = tokens.as_slice();
    any_of(&mut rest) && rest.is_empty()
}

fn any_of(rest: &mut &[String]) -> bool {
    let mut met = all_of(rest);
    while take(rest, "OR") {
        met |= all_of(rest);
    }
    met
}

fn all_of(rest: &mut &[String]) -> bool {
    let mut met = one(rest);
    while take(rest, "AND") {
        met &= one(rest);
    }
    met
}

fn one(rest: &mut &[String]) -> bool {
    if take(rest, "(") {
        return any_of(rest) & take(rest, ")");
    }
    let Some((name, tail)) = rest.split_first() else { return false };
    *rest = tail;
    ALLOWED.contains(&name.as_str())
}

fn take(rest: &mut &[String], token: &str) -> bool {
    let found = rest.first().is_some_and(|t| t == token);
    if found {
        *rest = &rest[1..];
    }
    found
}

#[test]
fn expressions_are_read_as_spdx_means_them() {
    for good in
        ["MIT", "MIT/Apache-2.0", "GPL-3.0 OR MIT", "(MIT OR GPL-3.0) AND ISC", "Apache-2.0 WITH LLVM-exception"]
    {
        assert!(allowed(good), "{good}");
    }
    for bad in ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT OR ISC) AND GPL-3.0", "MIT ISC", "(MIT"] {
        assert!(!allowed(bad), "{bad}");
    }
}

#[test]
fn every_dependency_has_an_allowed_licence() -> Result<()> {
    let workspace = Workspace::read()?;
    assert!(workspace.others().count() > 100, "the dependency graph was read");
    let refused: Vec<_> =
        workspace.others().filter(|p| !allowed(&p.licence)).map(|p| format!("{}: {}", p.name, p.licence)).collect();
    assert!(refused.is_empty(), "{refused:#?}");
    let mpl: BTreeSet<_> = workspace.others().filter(|p| p.licence.contains("MPL")).map(|p| p.name.as_str()).collect();
    assert!(mpl.iter().all(|name| MPL.contains(name)), "{mpl:?}");
    Ok(())
}

#[test]
fn the_project_is_apache_licensed() -> Result<()> {
    let licence = std::fs::read_to_string(root().join("LICENSE"))?;
    assert!(licence.contains("Apache License") && licence.contains("Version 2.0, January 2004"));
    for package in Workspace::read()?.ours() {
        assert_eq!(package.licence, "Apache-2.0", "{}", package.name);
    }
    let others: Vec<_> = Tree::read()?
        .files
        .into_iter()
        .filter(|path| path.ends_with("/LICENSE") || path.ends_with("/COPYING"))
        .collect();
    assert!(others.is_empty(), "one licence for the whole tree, not {others:?}");
    Ok(())
}
