//! JSON rows into shapes.

use lakegate_catalog::ColumnType;

use super::shape::{Fields, Numbers, Shape, is_instant};
use crate::error::{FormatError, Result};
use crate::json::{Cursor, Kind};

/// Looks at one row.
pub(super) fn add_row(text: &str, fields: &mut Fields) -> Result<()> {
    let mut cursor = Cursor::new(text);
    if cursor.kind()? != Kind::Object {
        return Err(cursor.refuse("an object: each row is an object"));
    }
    let mut count = fields.count();
    object(&mut cursor, fields, 0, &mut count)?;
    cursor.end()
}

/// `level` counts the types around the members of the object.
fn object(cursor: &mut Cursor<'_>, fields: &mut Fields, level: usize, count: &mut usize) -> Result<()> {
    cursor.enter(b'{', "an object")?;
    fields.begin();
    let mut first = true;
    while cursor.more(first, b'}')? {
        first = false;
        let key = cursor.key()?;
        let shape = fields.field(&key, count)?;
        value(cursor, shape, level, count).map_err(|error| error.within(&key))?;
    }
    Ok(())
}

fn value(cursor: &mut Cursor<'_>, shape: &mut Shape, level: usize, count: &mut usize) -> Result<()> {
    if level >= ColumnType::MAX_DEPTH {
        return Err(FormatError::too_deep(ColumnType::MAX_DEPTH));
    }
    let kind = cursor.kind()?;
    if kind == Kind::Null {
        return cursor.null();
    }
    if matches!(shape, Shape::Void) {
        *shape = empty(kind);
    }
    match (kind, &mut *shape) {
        (Kind::Bool, Shape::Bool) => cursor.bool().map(|_| ()),
        (Kind::Number, Shape::Number(numbers)) => cursor.number().map(|text| numbers.add(text)),
        (Kind::String, Shape::Text { instants }) => {
            let text = cursor.string()?;
            *instants = *instants && is_instant(&text);
            Ok(())
        }
        (Kind::List, Shape::List(item)) => list(cursor, item, level + 1, count),
        (Kind::Object, Shape::Struct(fields)) => object(cursor, fields, level + 1, count),
        (_, shape) => Err(cursor.mismatch(format!("{}, like the values before", shape.name()))),
    }
}

/// The shape of a first value before it is looked at.
fn empty(kind: Kind) -> Shape {
    match kind {
        Kind::Null => Shape::Void,
        Kind::Bool => Shape::Bool,
        Kind::Number => Shape::Number(Numbers::default()),
        Kind::String => Shape::Text { instants: true },
        Kind::List => Shape::List(Box::default()),
        Kind::Object => Shape::Struct(Fields::default()),
    }
}

fn list(cursor: &mut Cursor<'_>, item: &mut Shape, level: usize, count: &mut usize) -> Result<()> {
    cursor.enter(b'[', "a list")?;
    let mut items = 0;
    while cursor.more(items == 0, b']')? {
        value(cursor, item, level, count).map_err(|error| error.within(&format!("[{items}]")))?;
        items += 1;
    }
    Ok(())
}
