//! CSV fields into types.

use lakegate_catalog::{Column, ColumnType};

use super::shape::{Numbers, is_instant};
use crate::column::read_bool;
use crate::csv::Record;
use crate::text::{number, time};

/// What the fields of each column have shown so far.
pub(super) struct Columns {
    columns: Vec<(String, Fields)>,
}

/// The types that every field of a column fits so far.
struct Fields {
    any: bool,
    number: bool,
    numbers: Numbers,
    boolean: bool,
    instant: bool,
    date: bool,
}

impl Columns {
    /// Columns with the names of a header.
    pub(super) fn new(header: &Record) -> Self {
        let columns = header.fields().map(|name| (name.unwrap_or_default().to_owned(), Fields::new())).collect();
        Self { columns }
    }

    pub(super) fn len(&self) -> usize {
        self.columns.len()
    }

    /// Looks at one record, which is as wide as the header.
    pub(super) fn add(&mut self, record: &Record) {
        for ((_, column), field) in self.columns.iter_mut().zip(record.fields()) {
            if let Some(text) = field {
                column.add(text);
            }
        }
    }

    pub(super) fn columns(self) -> Vec<Column> {
        let columns = self.columns.into_iter().filter(|(_, fields)| fields.any);
        columns.map(|(name, fields)| Column::new(name, fields.ty())).collect()
    }
}

impl Fields {
    fn new() -> Self {
        Self { any: false, number: true, numbers: Numbers::default(), boolean: true, instant: true, date: true }
    }

    fn add(&mut self, text: &str) {
        self.any = true;
        if self.number {
            self.number = number::is_json_number(text) && number::double(text).is_ok();
            self.numbers.add(text);
        }
        self.boolean = self.boolean && read_bool(text).is_some();
        self.instant = self.instant && is_instant(text);
        self.date = self.date && time::read_date(text).is_some_and(|days| i32::try_from(days).is_ok());
    }

    fn ty(&self) -> ColumnType {
        if self.number {
            self.numbers.ty()
        } else if self.boolean {
            ColumnType::Boolean
        } else if self.instant {
            ColumnType::Timestamp
        } else if self.date {
            ColumnType::Date
        } else {
            ColumnType::String
        }
    }
}
