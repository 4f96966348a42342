//! The README's table of limits says what the binary does.

use std::path::Path;

use lakegate_e2e::gateway::binary;
use lakegate_e2e::{Gateway, Options, Result};
use tokio::process::Command;

/// A row of the table: what is limited, the numbers, and the settings; none are fixed.
struct Row {
    what: String,
    numbers: Vec<u64>,
    settings: Vec<String>,
}

fn table() -> Result<Vec<Row>> {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md"))?;
    let (_, rest) = readme.split_once("| | default | setting |").ok_or("no table of limits")?;
    let lines = rest.lines().skip(2).take_while(|line| line.starts_with('|'));
    let row = |line: &str| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [what, numbers, settings] = cells.as_slice() else { return Err(format!("not three cells: {line}")) };
        let settings = settings.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        Ok(Row { what: (*what).to_owned(), numbers: quantities(numbers), settings })
    };
    Ok(lines.map(row).collect::<Result<_, _>>()?)
}

/// The quantities of a text in bytes, seconds or pieces: `60 s, at most 1 h` has 60 and 3600.
fn quantities(text: &str) -> Vec<u64> {
    // A comma within a number is no comma between two.
    let words = text.replace(", ", " ").replace(',', "");
    let digits = |text: &str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let mut rest = words.as_str();
    let mut found = Vec::new();
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        rest = &rest[start..];
        let (number, after) = rest.split_at(digits(rest));
        let unit: String = after.trim_start().chars().take_while(char::is_ascii_alphabetic).collect();
        let factor = match unit.as_str() {
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            "m" => 60,
            "h" => 3_600,
            "d" | "day" | "days" => 86_400,
            _ => 1,
        };
        found.extend(number.parse::<u64>().ok().map(|number| number * factor));
        rest = after;
    }
    found
}

#[test]
fn quantities_are_read_with_their_units() {
    for (text, expected) in [
        ("1 GiB, 512 MiB", vec![1 << 30, 512 << 20]),
        ("60 s, at most 1 h", vec![60, 3_600]),
        ("\"1m\"", vec![60]),
        ("7 days", vec![604_800]),
        ("256 KiB, 40, 200", vec![256 << 10, 40, 200]),
        ("16,384", vec![16_384]),
    ] {
        assert_eq!(quantities(text), expected, "{text}");
    }
}

#[tokio::test]
async fn the_defaults_of_the_readme_are_those_of_the_binary() -> Result {
    let options = Options::serve()?;
    let printed = Command::new(binary()?).arg("config").env_clear().env("HOME", options.folder()).output().await?;
    let mut section = String::new();
    let mut defaults = std::collections::BTreeMap::new();
    for line in String::from_utf8(printed.stdout)?.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').to_owned();
        } else if let Some((key, value)) = line.split_once(" = ") {
            defaults.insert(format!("{section}.{key}"), quantities(value));
        }
    }
    let rows = table()?;
    assert!(rows.len() >= 10, "the table has {} rows", rows.len());
    let mut named = std::collections::BTreeSet::new();
    for row in rows.iter().filter(|row| !row.settings.is_empty()) {
        let defaults = row.settings.iter().filter_map(|setting| defaults.get(setting)).flatten().copied();
        assert_eq!(row.numbers, defaults.collect::<Vec<_>>(), "{}: {:?}", row.what, row.settings);
        for setting in &row.settings {
            assert!(named.insert(setting), "{setting} has two rows");
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_fixed_bounds_of_the_readme_are_those_that_refusals_name() -> Result {
    let rows = table()?;
    let fixed = rows.iter().find(|row| row.settings.is_empty()).ok_or("no row of fixed bounds")?;
    let [size, levels, operators, relations, value] = fixed.numbers.as_slice() else {
        return Err(format!("not five numbers: {:?}", fixed.numbers).into());
    };
    let gateway = Gateway::demo().await?;
    let many = |text: &str, times: u64| Ok::<_, std::num::TryFromIntError>(text.repeat(usize::try_from(times)?));
    let sources: Vec<String> = (0..=*relations).map(|n| format!("demo.airports t{n}")).collect();
    for (sql, code, bound) in [
        (format!("SELECT '{}'", many("x", *size)?), "statement_too_complex", size),
        (format!("SELECT {}1{}", many("(", levels + 1)?, many(")", levels + 1)?), "statement_too_complex", levels),
        (format!("SELECT 1{}", many("+1", operators + 1)?), "statement_too_complex", operators),
        (format!("SELECT 1 FROM {}", sources.join(", ")), "statement_too_complex", relations),
        (format!("SELECT repeat('x', {})", value + 1), "value_too_large", value),
    ] {
        let answer = gateway.client().query(&sql).await?;
        assert_eq!(answer.code().as_deref(), Some(code), "{}", answer.start());
        let detail = answer.json()?["detail"].as_str().unwrap_or_default().to_owned();
        let named = quantities(&detail);
        assert!(named.contains(bound), "the README has {bound}: {detail}");
    }
    Ok(())
}
