//! CSV records into columns.

use super::record::Record;
use crate::column::{Found, Members, Slot, Values};
use crate::error::{FormatError, Result, clip};
use crate::json::{Budget, read_value};

/// Which column each field of a record belongs to.
pub(crate) struct Header {
    fields: Vec<Target>,
}

/// What a name of the header stands for.
enum Target {
    Column(usize),
    /// No column has this name. As with unknown JSON keys, that is wrong only once there is a value.
    Unknown(String),
}

impl Header {
    /// Matches the header's names with the columns: each name exactly, in any order. Columns that the
    /// header leaves out are null in every row.
    pub(crate) fn read(record: &Record, columns: &mut Members) -> Result<Self> {
        check_names(record)?;
        let mut fields = Vec::with_capacity(record.len());
        for name in record.fields() {
            let name = name.unwrap_or_default();
            fields.push(match columns.find(name)? {
                Found::Field(at) => Target::Column(at),
                Found::Unknown => Target::Unknown(name.to_owned()),
            });
        }
        let missing = columns.take_missing();
        let unknown = fields.iter().find_map(|field| match field {
            Target::Column(_) => None,
            Target::Unknown(name) => Some(name),
        });
        match (missing, unknown) {
            // Likely the same column, misspelled.
            (Some(_), Some(name)) => Err(columns.unknown(name)),
            (Some(at), None) => Err(FormatError::missing_value().within(columns.slots[at].field.name())),
            (None, _) => Ok(Self { fields }),
        }
    }

    /// How many fields a record has.
    pub(crate) fn len(&self) -> usize {
        self.fields.len()
    }

    /// Adds one record as a row. A field of a list, struct or map column holds JSON text.
    pub(crate) fn push(&self, record: &Record, columns: &mut Members, budget: &mut Budget) -> Result<()> {
        check_width(record, self.fields.len())?;
        for (target, text) in self.fields.iter().zip(record.fields()) {
            let Some(text) = text else { continue };
            let at = match target {
                Target::Column(at) => *at,
                Target::Unknown(name) => return Err(columns.unknown(name)),
            };
            columns.fill(at);
            let slot = &mut columns.slots[at];
            field(text, slot, budget).map_err(|error| error.within(slot.field.name()))?;
        }
        columns.end()
    }
}

fn field(text: &str, slot: &mut Slot, budget: &mut Budget) -> Result<()> {
    match &mut slot.values {
        Values::Scalar(scalar) => scalar.push_field(text),
        _ => read_value(text, slot, budget).map_err(|error| inside_field(error, text)),
    }
}

/// A JSON text that ends too early is no sign that the body was cut off: its field is whole.
fn inside_field(error: FormatError, text: &str) -> FormatError {
    match error {
        FormatError::Truncated { .. } => FormatError::json(format!("`{}`", clip(text)), "a whole JSON value"),
        other => other,
    }
}

/// A header must have names, each once.
pub(crate) fn check_names(record: &Record) -> Result<()> {
    if record.is_blank() {
        return Err(FormatError::csv("an empty first line", "a header with the names of the columns"));
    }
    let mut seen = std::collections::HashSet::new();
    match record.fields().find(|name| !seen.insert(*name)) {
        Some(name) => Err(FormatError::duplicate(name.unwrap_or_default())),
        None => Ok(()),
    }
}

/// Every record has as many fields as the header.
pub(crate) fn check_width(record: &Record, width: usize) -> Result<()> {
    if record.len() == width {
        return Ok(());
    }
    Err(FormatError::csv(format!("{} fields", record.len()), format!("{width} fields, as in the header")))
}
