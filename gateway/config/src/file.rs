//! A settings file: TOML, flattened to `section.key` with the line of each.

use std::path::Path;

use toml::de::{DeTable, DeValue};

use crate::error::{ConfigError, Place};

/// One scalar of the file, as text.
pub(crate) struct Entry {
    /// `section.key`.
    pub(crate) name: String,
    /// The value; what is not a scalar appears as its type's name in angle brackets.
    pub(crate) text: String,
    /// Where.
    pub(crate) place: Place,
}

/// Reads the file. An empty section that is not known appears as an entry, so that it is refused too.
pub(crate) fn entries(path: &Path, text: &str) -> Result<Vec<Entry>, ConfigError> {
    let line = |offset: usize| text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count() + 1;
    let place = |offset| Place::File(path.to_owned(), line(offset));
    let table = DeTable::parse(text).map_err(|error| ConfigError::Syntax {
        place: place(error.span().map_or(0, |span| span.start)),
        // Not the parser's full text: it quotes the line, which may hold a password.
        message: error.message().to_owned(),
    })?;
    let mut entries = Vec::new();
    flatten("", table.get_ref(), &place, &mut entries);
    Ok(entries)
}

fn flatten(prefix: &str, table: &DeTable<'_>, place: &dyn Fn(usize) -> Place, entries: &mut Vec<Entry>) {
    for (key, value) in table {
        let name = if prefix.is_empty() { key.get_ref().to_string() } else { format!("{prefix}.{}", key.get_ref()) };
        match value.get_ref() {
            DeValue::Table(inner) if !inner.is_empty() || is_section(&name) => flatten(&name, inner, place, entries),
            scalar => entries.push(Entry { name, text: as_text(scalar), place: place(key.span().start) }),
        }
    }
}

fn is_section(name: &str) -> bool {
    crate::keys::KEYS.iter().any(|key| key.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')))
}

fn as_text(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(number) if number.radix() == 10 => number.as_str().replace('_', ""),
        DeValue::Boolean(truth) => truth.to_string(),
        DeValue::Float(number) => number.as_str().to_owned(),
        // A list of texts is the same as one text with commas.
        DeValue::Array(items) if items.iter().all(|item| item.get_ref().is_str()) => {
            items.iter().map(|item| as_text(item.get_ref())).collect::<Vec<_>>().join(",")
        }
        other => format!("<{}>", other.type_str()),
    }
}
