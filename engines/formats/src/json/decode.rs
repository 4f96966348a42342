//! JSON values into the slots of columns.

use super::cursor::{Cursor, Kind};
use crate::column::{Found, Members, Slot, Spans, Values};
use crate::error::{FormatError, Result};

/// Memory that one row may take once decoded: a short text like `[{},{},…]` can stand for a lot.
pub(crate) struct Budget {
    pub(crate) used: usize,
    pub(crate) limit: usize,
}

impl Budget {
    fn spend(&mut self, bytes: usize) -> Result<()> {
        self.used += bytes;
        if self.used > self.limit { Err(FormatError::row_too_large(self.limit)) } else { Ok(()) }
    }
}

/// Reads the text of one row, an object, into the columns.
pub(crate) fn read_row(text: &str, columns: &mut Members, budget: &mut Budget) -> Result<()> {
    let mut cursor = Cursor::new(text);
    if cursor.kind()? != Kind::Object {
        return Err(cursor.refuse("an object: each row is an object"));
    }
    object(&mut cursor, columns, budget)?;
    cursor.end()
}

/// Reads a text that is one value of any kind into a slot.
pub(crate) fn read_value(text: &str, slot: &mut Slot, budget: &mut Budget) -> Result<()> {
    let mut cursor = Cursor::new(text);
    value(&mut cursor, slot, budget)?;
    cursor.end()
}

fn value(cursor: &mut Cursor<'_>, slot: &mut Slot, budget: &mut Budget) -> Result<()> {
    match (cursor.kind()?, &mut slot.values) {
        (Kind::Null, _) => {
            cursor.null()?;
            slot.push_null()
        }
        (Kind::Bool, Values::Scalar(scalar)) => scalar.push_bool(cursor.bool()?),
        (Kind::Number, Values::Scalar(scalar)) => scalar.push_number(cursor.number()?),
        (Kind::String, Values::Scalar(scalar)) => scalar.push_string(&cursor.string()?),
        (Kind::List, Values::List(spans)) => list(cursor, spans, budget),
        (Kind::List, Values::Map(spans)) => map(cursor, spans, budget),
        (Kind::Object, Values::Struct(members)) => object(cursor, members, budget),
        _ => Err(cursor.mismatch(slot.expects())),
    }
}

fn object(cursor: &mut Cursor<'_>, members: &mut Members, budget: &mut Budget) -> Result<()> {
    cursor.enter(b'{', "an object")?;
    let mut first = true;
    while cursor.more(first, b'}')? {
        first = false;
        let key = cursor.key()?;
        match members.find(&key)? {
            Found::Field(at) => {
                let slot = &mut members.slots[at];
                value(cursor, slot, budget).map_err(|error| error.within(slot.field.name()))?;
            }
            Found::Unknown if is_void(cursor)? => {}
            Found::Unknown => return Err(members.unknown(&key)),
        }
    }
    members.end()
}

fn list(cursor: &mut Cursor<'_>, spans: &mut Spans, budget: &mut Budget) -> Result<()> {
    cursor.enter(b'[', "a list")?;
    let mut items = 0;
    while cursor.more(items == 0, b']')? {
        budget.spend(spans.item.width)?;
        value(cursor, &mut spans.item, budget).map_err(|error| error.within(&format!("[{items}]")))?;
        spans.count();
        items += 1;
    }
    spans.end(true);
    Ok(())
}

/// `[[key, value], …]`.
fn map(cursor: &mut Cursor<'_>, spans: &mut Spans, budget: &mut Budget) -> Result<()> {
    cursor.enter(b'[', "a list of [key, value] pairs")?;
    let mut items = 0;
    while cursor.more(items == 0, b']')? {
        budget.spend(spans.item.width)?;
        pair(cursor, &mut spans.item, budget).map_err(|error| error.within(&format!("[{items}]")))?;
        spans.count();
        items += 1;
    }
    spans.end(true);
    Ok(())
}

fn pair(cursor: &mut Cursor<'_>, entry: &mut Slot, budget: &mut Budget) -> Result<()> {
    let Values::Struct(members) = &mut entry.values else {
        return Err(FormatError::Encode("map entries are not a struct".to_owned()));
    };
    if cursor.kind()? != Kind::List {
        return Err(cursor.mismatch("a [key, value] pair"));
    }
    cursor.enter(b'[', "a [key, value] pair")?;
    let mut filled = 0;
    while cursor.more(filled == 0, b']')? {
        let Some(slot) = members.slots.get_mut(filled) else {
            return Err(FormatError::mismatch("a list of more than two", "a [key, value] pair"));
        };
        value(cursor, slot, budget)?;
        filled += 1;
    }
    if filled < 2 {
        return Err(FormatError::mismatch("a list of fewer than two", "a [key, value] pair"));
    }
    members.end_filled();
    Ok(())
}

/// Skips the value of a key that no column knows, and tells whether it holds nothing: null, or lists
/// and objects of nothing else. Such a key is passed over, because inference makes no column of it
/// and the same body must then be accepted.
fn is_void(cursor: &mut Cursor<'_>) -> Result<bool> {
    match cursor.kind()? {
        Kind::Null => cursor.null().map(|()| true),
        Kind::List => {
            cursor.enter(b'[', "a list")?;
            void_members(cursor, b']')
        }
        Kind::Object => {
            cursor.enter(b'{', "an object")?;
            void_members(cursor, b'}')
        }
        _ => Ok(false),
    }
}

fn void_members(cursor: &mut Cursor<'_>, close: u8) -> Result<bool> {
    let mut first = true;
    while cursor.more(first, close)? {
        first = false;
        if close == b'}' {
            cursor.key()?;
        }
        if !is_void(cursor)? {
            return Ok(false);
        }
    }
    Ok(true)
}
