//! What the values of a JSON column have shown so far.

use std::collections::HashMap;

use lakegate_catalog::{Column, ColumnType};

use super::MAX_FIELDS;
use crate::error::{FormatError, Result};
use crate::text::{number, time};

/// The kind of a column.
#[derive(Default)]
pub(super) enum Shape {
    /// Nothing but nulls.
    #[default]
    Void,
    Bool,
    Number(Numbers),
    /// Text; whether all of it is RFC 3339 with a zone.
    Text {
        instants: bool,
    },
    List(Box<Shape>),
    Struct(Fields),
}

impl Shape {
    /// The kind in words, for messages.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Void => "null",
            Self::Bool => "a boolean",
            Self::Number(_) => "a number",
            Self::Text { .. } => "a string",
            Self::List(_) => "a list",
            Self::Struct(_) => "an object",
        }
    }

    fn ty(self) -> Option<ColumnType> {
        Some(match self {
            Self::Void => return None,
            Self::Bool => ColumnType::Boolean,
            Self::Number(numbers) => numbers.ty(),
            Self::Text { instants: true } => ColumnType::Timestamp,
            Self::Text { instants: false } => ColumnType::String,
            Self::List(item) => ColumnType::List(Box::new(item.ty()?)),
            Self::Struct(fields) => {
                let fields = fields.columns();
                (!fields.is_empty()).then_some(ColumnType::Struct(fields))?
            }
        })
    }
}

/// Whether text is an instant. One with more than six digits after the second is too: it is refused when the rows are
/// read, which says why, instead of making text of the column for good.
pub(super) fn is_instant(text: &str) -> bool {
    let read = match text.split_once('.') {
        Some((whole, rest)) if rest.bytes().take(7).all(|byte| byte.is_ascii_digit()) => {
            let zone = rest.trim_start_matches(|c: char| c.is_ascii_digit());
            time::read_date_time(&format!("{whole}{zone}"))
        }
        _ => time::read_date_time(text),
    };
    read.is_some_and(|time| time.zoned)
}

/// What the numbers of a column need.
#[derive(Clone, Copy, Default)]
pub(super) struct Numbers {
    negative: bool,
    /// Some are beyond 63 bits.
    beyond_signed: bool,
    /// Some are no integers, or beyond 64 bits.
    inexact: bool,
}

impl Numbers {
    /// Adds a number given as JSON writes it. `1.0` and `1e3` count as no integers: who writes so
    /// means a measure.
    pub(super) fn add(&mut self, text: &str) {
        self.negative |= text.starts_with('-');
        let integer = !text.bytes().any(|b| matches!(b, b'.' | b'e' | b'E'));
        match number::exact(text, 0).ok().filter(|_| integer) {
            Some(value) if i64::try_from(value).is_ok() => {}
            Some(value) if u64::try_from(value).is_ok() => self.beyond_signed = true,
            _ => self.inexact = true,
        }
    }

    pub(super) fn ty(self) -> ColumnType {
        match self {
            Self { inexact: true, .. } | Self { negative: true, beyond_signed: true, .. } => ColumnType::Double,
            Self { beyond_signed: true, .. } => ColumnType::Decimal(20, 0),
            _ => ColumnType::BigInt,
        }
    }
}

/// The fields of an object, in the order in which they were first seen.
#[derive(Default)]
pub(super) struct Fields {
    by_name: HashMap<String, usize>,
    fields: Vec<(String, Shape)>,
    /// The object in which each field was last seen, to notice a repeated key.
    seen_in: Vec<u64>,
    object: u64,
}

impl Fields {
    /// Begins the next object.
    pub(super) fn begin(&mut self) {
        self.object += 1;
    }

    /// The shape of a key's values, new ones included. `count` is what all objects have so far.
    pub(super) fn field(&mut self, key: &str, count: &mut usize) -> Result<&mut Shape> {
        let at = match self.by_name.get(key) {
            Some(at) => *at,
            None => self.insert(key, count)?,
        };
        if std::mem::replace(&mut self.seen_in[at], self.object) == self.object {
            return Err(FormatError::duplicate(key));
        }
        Ok(&mut self.fields[at].1)
    }

    fn insert(&mut self, key: &str, count: &mut usize) -> Result<usize> {
        *count += 1;
        if *count > MAX_FIELDS {
            return Err(FormatError::too_many_fields());
        }
        let at = self.fields.len();
        self.by_name.insert(key.to_owned(), at);
        self.fields.push((key.to_owned(), Shape::Void));
        self.seen_in.push(0);
        Ok(at)
    }

    /// Fields of these objects and of those inside them.
    pub(super) fn count(&self) -> usize {
        self.fields.iter().map(|(_, shape)| 1 + shape.count()).sum()
    }

    /// The columns that have a type.
    pub(super) fn columns(self) -> Vec<Column> {
        self.fields.into_iter().filter_map(|(name, shape)| Some(Column::new(name, shape.ty()?))).collect()
    }
}

impl Shape {
    fn count(&self) -> usize {
        match self {
            Self::List(item) => item.count(),
            Self::Struct(fields) => fields.count(),
            _ => 0,
        }
    }
}
