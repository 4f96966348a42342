//! The fields of an object: of a row, or of a struct inside one.

use std::collections::HashMap;

use arrow::array::ArrayRef;
use arrow::buffer::NullBuffer;
use arrow::datatypes::Fields;

use super::{Slot, nulls};
use crate::error::{FormatError, Result};

/// What a key of an object stands for.
pub(crate) enum Found {
    /// The field with this position.
    Field(usize),
    /// No field.
    Unknown,
}

/// A group of slots filled together, one object at a time.
pub(crate) struct Members {
    pub(crate) slots: Vec<Slot>,
    by_name: HashMap<String, usize>,
    /// Which slots the current object has filled.
    filled: Vec<bool>,
    /// Where the next key is looked for first: writers repeat the order of their keys.
    guess: usize,
    valid: Vec<bool>,
}

impl Members {
    pub(crate) fn new(fields: &Fields) -> Result<Self> {
        let slots = fields.iter().map(Slot::new).collect::<Result<Vec<_>>>()?;
        let by_name = fields.iter().enumerate().map(|(at, field)| (field.name().clone(), at)).collect();
        Ok(Self { filled: vec![false; slots.len()], slots, by_name, guess: 0, valid: Vec::new() })
    }

    pub(crate) fn width(&self) -> usize {
        self.slots.iter().map(|slot| slot.width).sum()
    }

    /// Finds a key's field; refuses a key that this object has had before.
    pub(crate) fn find(&mut self, key: &str) -> Result<Found> {
        let guessed = self.slots.get(self.guess).is_some_and(|slot| slot.field.name() == key);
        let at = if guessed { Some(self.guess) } else { self.position(key) };
        let Some(at) = at else { return Ok(Found::Unknown) };
        if std::mem::replace(&mut self.filled[at], true) {
            return Err(FormatError::duplicate(key));
        }
        self.guess = at + 1;
        Ok(Found::Field(at))
    }

    /// Marks a slot as filled by the current object.
    pub(crate) fn fill(&mut self, at: usize) {
        self.filled[at] = true;
    }

    /// The first slot that must have a value and was not found; forgets what was found without being
    /// filled: names of a header, not values.
    pub(crate) fn take_missing(&mut self) -> Option<usize> {
        let missing = self.slots.iter().zip(&self.filled).position(|(slot, found)| !slot.field.is_nullable() && !found);
        self.filled.fill(false);
        self.guess = 0;
        missing
    }

    /// The position of the field with this name.
    fn position(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// The error for a key that no field has.
    pub(crate) fn unknown(&self, key: &str) -> FormatError {
        FormatError::unknown(key, self.slots.iter().map(|slot| slot.field.name().as_str()))
    }

    /// Ends an object: what it has not filled is null.
    pub(crate) fn end(&mut self) -> Result<()> {
        for (slot, filled) in self.slots.iter_mut().zip(&mut self.filled) {
            if !std::mem::take(filled) {
                slot.push_null().map_err(|error| error.within(slot.field.name()))?;
            }
        }
        self.guess = 0;
        self.valid.push(true);
        Ok(())
    }

    /// Ends an object whose every slot was filled by position.
    pub(crate) fn end_filled(&mut self) {
        self.valid.push(true);
    }

    pub(crate) fn push_null(&mut self) {
        self.slots.iter_mut().for_each(Slot::push_default);
        self.valid.push(false);
    }

    /// The arrays of the fields, the nulls and the number of objects; starts again.
    pub(crate) fn finish(&mut self) -> Result<(Vec<ArrayRef>, Option<NullBuffer>, usize)> {
        let arrays = self.slots.iter_mut().map(Slot::finish).collect::<Result<Vec<_>>>()?;
        let valid = std::mem::take(&mut self.valid);
        let length = valid.len();
        Ok((arrays, nulls(valid), length))
    }
}
