//! Columns under construction: the types that datasets store, and what each accepts.

mod fields;
mod scalar;

use std::sync::Arc;

use arrow::array::{ArrayRef, ListArray, MapArray, StructArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, FieldRef};

pub(crate) use fields::{Found, Members};
pub(crate) use scalar::{Scalar, is_utc, read_bool};

use crate::error::{FormatError, Result};
use crate::format::Format;

/// One column, list item or struct field under construction.
pub(crate) struct Slot {
    pub(crate) field: FieldRef,
    pub(crate) values: Values,
    /// Bytes that one value takes at least, whatever its text: what a short text can blow up to.
    pub(crate) width: usize,
}

/// The values of a slot.
pub(crate) enum Values {
    Scalar(Scalar),
    List(Spans),
    Map(Spans),
    Struct(Members),
}

impl Slot {
    /// A slot for a field; refuses types that no dataset stores.
    pub(crate) fn new(field: &FieldRef) -> Result<Self> {
        let values = match field.data_type() {
            DataType::List(item) => Values::List(Spans::new(item)?),
            DataType::Map(entries, _) => Values::Map(Spans::new(entries)?),
            DataType::Struct(fields) => Values::Struct(Members::new(fields)?),
            other => Values::Scalar(Scalar::new(other).ok_or_else(|| unsupported(field))?),
        };
        let width = match &values {
            Values::Scalar(scalar) => scalar.width(),
            Values::List(_) | Values::Map(_) => 4,
            Values::Struct(members) => members.width(),
        };
        Ok(Self { field: Arc::clone(field), values, width })
    }

    /// Adds a null; refused when the field must have a value.
    pub(crate) fn push_null(&mut self) -> Result<()> {
        if self.field.is_nullable() {
            self.push_default();
            Ok(())
        } else {
            Err(FormatError::missing_value())
        }
    }

    /// Adds a place under a null: nobody sees its value, so that it need not follow the rules.
    fn push_default(&mut self) {
        match &mut self.values {
            Values::Scalar(scalar) => scalar.push_null(),
            Values::List(spans) | Values::Map(spans) => spans.end(false),
            Values::Struct(members) => members.push_null(),
        }
    }

    /// Takes the values out as an array and starts again.
    pub(crate) fn finish(&mut self) -> Result<ArrayRef> {
        Ok(match (&mut self.values, self.field.data_type()) {
            (Values::Scalar(scalar), _) => scalar.finish(),
            (Values::List(spans), DataType::List(item)) => {
                let (offsets, items, nulls) = spans.finish()?;
                Arc::new(ListArray::try_new(Arc::clone(item), offsets, items, nulls)?)
            }
            (Values::Map(spans), DataType::Map(entries, sorted)) => {
                let (offsets, items, nulls) = spans.finish()?;
                let items = items.as_any().downcast_ref::<StructArray>().cloned();
                let items = items.ok_or_else(|| FormatError::Encode("map entries are not a struct".to_owned()))?;
                Arc::new(MapArray::try_new(Arc::clone(entries), offsets, items, nulls, *sorted)?)
            }
            (Values::Struct(members), DataType::Struct(fields)) => {
                let (arrays, nulls, length) = members.finish()?;
                Arc::new(StructArray::try_new_with_length(fields.clone(), arrays, nulls, length)?)
            }
            _ => return Err(FormatError::Encode("a column has another type than its field".to_owned())),
        })
    }

    /// What a value of this slot looks like, for messages.
    pub(crate) fn expects(&self) -> String {
        match &self.values {
            Values::Scalar(scalar) => scalar.expects(),
            Values::List(_) => "a list".to_owned(),
            Values::Map(_) => "a map as a list of [key, value] pairs".to_owned(),
            Values::Struct(_) => "an object".to_owned(),
        }
    }
}

fn unsupported(field: &Field) -> FormatError {
    FormatError::UnsupportedType {
        format: Format::Json,
        column: field.name().clone(),
        ty: field.data_type().to_string(),
    }
}

/// Runs of items: the values of a list or map column.
pub(crate) struct Spans {
    pub(crate) item: Box<Slot>,
    items: usize,
    offsets: Vec<i32>,
    valid: Vec<bool>,
}

impl Spans {
    fn new(item: &FieldRef) -> Result<Self> {
        Ok(Self { item: Box::new(Slot::new(item)?), items: 0, offsets: vec![0], valid: Vec::new() })
    }

    /// Counts an item that was pushed into [`Spans::item`].
    pub(crate) fn count(&mut self) {
        self.items += 1;
    }

    /// Ends a run; `valid` false makes it a null.
    pub(crate) fn end(&mut self, valid: bool) {
        // A batch has far fewer than 2^31 items: each takes at least a byte of a bounded row.
        self.offsets.push(i32::try_from(self.items).unwrap_or(i32::MAX));
        self.valid.push(valid);
    }

    fn finish(&mut self) -> Result<(OffsetBuffer<i32>, ArrayRef, Option<NullBuffer>)> {
        self.items = 0;
        let offsets = OffsetBuffer::new(std::mem::replace(&mut self.offsets, vec![0]).into());
        let nulls = nulls(std::mem::take(&mut self.valid));
        Ok((offsets, self.item.finish()?, nulls))
    }
}

/// The null buffer, when there is a null.
fn nulls(valid: Vec<bool>) -> Option<NullBuffer> {
    Some(NullBuffer::from(valid)).filter(|nulls| nulls.null_count() > 0)
}
