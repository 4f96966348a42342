//! The examples of docs/clients.md do what the document says.

use std::path::Path;

use lakegate_clients::Environment;
use lakegate_e2e::{Gateway, Result};

const DOCUMENT: &str = "docs/clients.md";
const RUST: &str = include_str!("../src/bin/flight_client.rs");

/// A block of code and, when one follows at once, what it prints.
struct Example {
    heading: String,
    language: String,
    code: String,
    prints: Option<String>,
}

fn read(path: &str) -> Result<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    Ok(std::fs::read_to_string(root.join(path))?)
}

fn examples(document: &str) -> Vec<Example> {
    let mut found: Vec<Example> = Vec::new();
    let (mut heading, mut lines) = (String::new(), document.lines());
    // Whether nothing but empty lines stands between the last block and here.
    let mut at_once = false;
    while let Some(line) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let code: String =
                lines.by_ref().take_while(|line| *line != "```").map(|line| format!("{line}\n")).collect();
            match (language, found.last_mut()) {
                ("text", Some(example)) if at_once => example.prints = Some(code),
                (language, _) => {
                    found.push(Example { heading: heading.clone(), language: language.to_owned(), code, prints: None });
                }
            }
            at_once = true;
        } else if let Some(text) = line.strip_prefix("## ") {
            text.clone_into(&mut heading);
        } else if !line.is_empty() {
            at_once = false;
        }
    }
    found
}

#[tokio::test]
async fn every_example_of_python_runs() -> Result {
    let gateway = Gateway::demo().await?;
    let address = gateway.flight().trim_start_matches("grpc://");
    let mut clients = Vec::new();
    for example in examples(&read(DOCUMENT)?).into_iter().filter(|example| example.language == "python") {
        let older = example.code.contains("sqlalchemy");
        let environment = if older { Environment::Sqlalchemy } else { Environment::Adbc };
        let output = environment
            .command(gateway.options().folder())?
            .args(["-W", "ignore", "-c", &example.code.replace("localhost:7781", address)])
            .env("LAKEGATE_TOKEN", gateway.token())
            .output()
            .await?;
        let (printed, said) = (String::from_utf8(output.stdout)?, String::from_utf8_lossy(&output.stderr));
        let what = format!("under \"{}\":\n{}", example.heading, example.code);
        assert!(output.status.success(), "{what}{said}");
        match example.prints {
            Some(expected) => assert_eq!(printed, expected, "{what}"),
            None => assert!(!printed.is_empty(), "{what}"),
        }
        clients.push(example.heading);
    }
    clients.dedup();
    assert_eq!(clients, ["ADBC", "polars", "DuckDB", "pyarrow.flight", "SQLAlchemy", "pandas"]);
    Ok(())
}

#[tokio::test]
async fn the_example_of_rust_is_the_one_that_runs() -> Result {
    let gateway = Gateway::demo().await?;
    let all = examples(&read(DOCUMENT)?);
    let example = all.into_iter().find(|example| example.language == "rust").ok_or("no example")?;
    assert!(RUST.ends_with(&example.code), "the document and src/bin/flight_client.rs differ:\n{}", example.code);
    let address = gateway.flight().replacen("grpc://", "http://", 1);
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_flight_client")).arg(address).output().await?;
    assert_eq!(Some(String::from_utf8(output.stdout)?), example.prints, "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

#[test]
fn the_versions_of_the_document_are_those_that_are_installed() -> Result {
    let document = read(DOCUMENT)?;
    let pinned = read("tests/requirements.txt")? + &read("tests/clients/requirements-sqlalchemy.txt")?;
    for (package, words) in [
        ("adbc-driver-flightsql", "adbc-driver-flightsql "),
        ("flightsql-dbapi", "flightsql-dbapi "),
        ("pyarrow", "[pyarrow.flight](#pyarrow-flight) | "),
    ] {
        let line = pinned.lines().find_map(|line| line.strip_prefix(package)?.strip_prefix("==")).ok_or(package)?;
        assert!(document.contains(&format!("{words}{line}")), "{package} is at {line}");
    }
    Ok(())
}
