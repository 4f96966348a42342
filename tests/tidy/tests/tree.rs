//! The tree is the table of contents: files that can be read in one sitting, nothing left open, nothing
//! of one person's machine, every folder explained.

use std::collections::BTreeSet;

use lakegate_tidy::{Result, Tree, root};

/// Longer than this, a file is two files.
const MOST_LINES: usize = 500;

/// Larger than this, a file does not belong into version control.
const MOST_BYTES: u64 = 3_000_000;

#[test]
fn source_files_can_be_read_in_one_sitting() -> Result<()> {
    let tree = Tree::read()?;
    let long: Vec<_> = tree
        .texts(&["rs", "py", "sh"])
        .map(|(path, text)| (text.lines().count(), path.to_owned()))
        .filter(|(lines, _)| *lines > MOST_LINES)
        .collect();
    assert!(long.is_empty(), "split by what a reader looks for: {long:?}");
    Ok(())
}

#[test]
fn files_are_small_enough_for_version_control() -> Result<()> {
    for path in Tree::read()?.files {
        let bytes = root().join(&path).metadata()?.len();
        assert!(bytes <= MOST_BYTES, "{path} has {bytes} bytes");
    }
    Ok(())
}

#[test]
fn nothing_is_left_open() -> Result<()> {
    // Put together here, so that this file does not find itself.
    let macros = ["todo", "unimplemented"].map(|name| format!("{name}!("));
    let attributes = ["ignore", "allow("].map(|name| format!("#[{name}"));
    let marks = macros.into_iter().chain(attributes).collect::<Vec<_>>();
    for (path, text) in Tree::read()?.texts(&["rs"]) {
        for (number, line) in text.lines().enumerate() {
            assert!(!marks.iter().any(|mark| line.contains(mark)), "{path}:{}: {line}", number + 1);
        }
    }
    Ok(())
}

#[test]
fn folders_do_not_have_names_that_say_nothing() -> Result<()> {
    let empty = ["common", "util", "utils", "helpers", "misc", "shared"];
    for path in Tree::read()?.files {
        let named = path.split('/').map(|part| part.trim_end_matches(".rs")).find(|part| empty.contains(part));
        assert_eq!(named, None, "{path}: name it after what is in it");
    }
    Ok(())
}

#[test]
fn no_path_of_a_machine_is_written_down() -> Result<()> {
    // Not `home`: tests and documents need an example of a home folder.
    let homes = ["Users", "root", "work"].map(|folder| format!("/{folder}/"));
    let tree = Tree::read()?;
    for (path, text) in tree.texts(&["rs", "md", "toml", "py", "sh", "yaml", "slt", "json", "run", "txt"]) {
        for (number, line) in text.lines().enumerate() {
            let found = homes.iter().find(|home| starts_a_path(line, home));
            assert_eq!(found, None, "{path}:{}: {line}", number + 1);
        }
    }
    Ok(())
}

/// Whether `line` names an absolute path under `folder`, and not just one that contains it, such as
/// `lake/root/x` or `example.org/home/`.
fn starts_a_path(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|c| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '(' | '='))
    })
}

#[test]
fn every_top_level_folder_is_explained() -> Result<()> {
    let architecture = std::fs::read_to_string(root().join("ARCHITECTURE.md"))?;
    let tree = Tree::read()?;
    let folders: BTreeSet<&str> =
        tree.files.iter().filter_map(|path| path.split_once('/')).map(|(folder, _)| folder).collect();
    for folder in folders.into_iter().filter(|folder| !folder.starts_with('.')) {
        assert!(architecture.contains(&format!("{folder}/")), "ARCHITECTURE.md does not name {folder}/");
    }
    Ok(())
}
