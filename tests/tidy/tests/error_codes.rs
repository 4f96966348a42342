//! Clients program against error codes, so `docs/errors.md` lists exactly the codes that the code has.

use std::collections::BTreeSet;

use lakegate_tidy::{Result, Tree, root};

/// Codes of errors that end the process at its start; no client ever gets them.
const AT_START: &[&str] = &["bad_database_url", "bad_storage", "catalog_too_new", "database_too_old", "other_lake"];

/// Where the errors come from that are answered to clients.
const ANSWERING: &[&str] = &["catalog/", "engines/", "flight/", "gateway/rest/"];

fn is_code(word: &str) -> bool {
    !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c == '_')
}

/// The string literals of a text that look like codes.
fn literals(text: &str) -> impl Iterator<Item = &str> {
    text.split('"').skip(1).step_by(2).filter(|word| is_code(word))
}

/// The codes in one source file: what `fn code` answers, and what stands after an `ErrorKind` where a
/// problem is made.
fn codes(source: &str) -> BTreeSet<&str> {
    let source = source.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let bodies = source.split("fn code(&self) -> &'static str {").skip(1);
    let answered = bodies.filter_map(|body| body.split("\n    }").next()).flat_map(literals);
    let made = source.split("::new(").skip(1).filter_map(|call| {
        let (_, rest) = call.trim_start().strip_prefix("ErrorKind::")?.split_once(',')?;
        rest.trim_start().strip_prefix('"')?.split('"').next().filter(|word| is_code(word))
    });
    answered.chain(made).collect()
}

#[test]
fn the_document_and_the_code_have_the_same_error_codes() -> Result<()> {
    let tree = Tree::read()?;
    let sources: Vec<_> = tree
        .texts(&["rs"])
        .filter(|(path, _)| ANSWERING.iter().any(|folder| path.starts_with(folder)) && path.contains("/src/"))
        .map(|(_, text)| text)
        .collect();
    let in_code: BTreeSet<&str> = sources.iter().flat_map(|text| codes(text)).collect();
    let document = std::fs::read_to_string(root().join("docs/errors.md"))?;
    let first_cells = document.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next());
    let documented: BTreeSet<&str> =
        first_cells.flat_map(|cell| cell.split('`')).filter(|word| is_code(word)).collect();
    let documented: BTreeSet<&str> = documented.into_iter().filter(|word| *word != "code").collect();

    let missing: Vec<_> =
        in_code.iter().filter(|code| !documented.contains(*code) && !AT_START.contains(code)).collect();
    assert!(missing.is_empty(), "docs/errors.md does not explain {missing:?}");
    let gone: Vec<_> = documented.difference(&in_code).collect();
    assert!(gone.is_empty(), "docs/errors.md explains {gone:?}, and nothing answers them");
    Ok(())
}
