//! The demo data is what its README says it is.

use lakegate_tidy::{Result, root};
use sha2::{Digest, Sha256};

/// The lines `<sha256>  <file>` of testdata/README.md.
fn stated() -> Result<Vec<(String, String)>> {
    let text = std::fs::read_to_string(root().join("testdata/README.md"))?;
    let pairs = text.lines().filter_map(|line| line.split_once("  "));
    Ok(pairs
        .filter(|(digest, _)| digest.len() == 64 && digest.chars().all(|c| c.is_ascii_hexdigit()))
        .map(|(digest, file)| (digest.to_owned(), file.to_owned()))
        .collect())
}

#[test]
fn the_committed_data_has_the_stated_digests() -> Result<()> {
    let files: Vec<_> = stated()?.into_iter().filter(|(_, file)| file.ends_with(".ndjson")).collect();
    assert_eq!(files.len(), 3);
    for (digest, file) in files {
        let data = std::fs::read(root().join("testdata").join(&file))?;
        let actual: String = Sha256::digest(&data).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(actual, digest, "{file}");
    }
    Ok(())
}

#[test]
fn the_program_and_the_readme_agree_on_the_inputs() -> Result<()> {
    let program = std::fs::read_to_string(root().join("testdata/make.py"))?;
    let inputs: Vec<_> = stated()?.into_iter().filter(|(_, file)| file.starts_with("data/")).collect();
    assert_eq!(inputs.len(), 3);
    for (digest, file) in inputs {
        assert!(program.contains(&digest), "make.py does not expect the stated {file}");
    }
    Ok(())
}
