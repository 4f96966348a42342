//! Values of one type as values of another, each exactly what it was.

use arrow::array::{Array, ArrayRef, AsArray as _};
use arrow::compute::kernels::cmp::distinct;
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::Misfit;
use crate::column::Slot;
use crate::error::{FormatError, clip};

/// Casts; the first value that would overflow or lose digits is refused.
pub(super) fn exact(array: &ArrayRef, wanted: &DataType) -> Result<ArrayRef, Misfit> {
    let safe = CastOptions { safe: true, ..CastOptions::default() };
    let cast = |array: &ArrayRef, to: &DataType| cast_with_options(array, to, &safe).map_err(|error| broken(&error));
    let fitted = cast(array, wanted)?;
    // A safe cast turns what does not fit into null.
    if fitted.null_count() != array.null_count()
        && let Some(row) = (0..array.len()).find(|row| fitted.is_null(*row) && array.is_valid(*row))
    {
        return Err(refuse(array, wanted, row, true));
    }
    if !narrows(array.data_type(), wanted) {
        return Ok(fitted);
    }
    let changed = if matches!((array.data_type(), wanted), (DataType::Float64, DataType::Float32)) {
        first_rounded(array, &fitted)
    } else {
        let back = cast(&fitted, array.data_type())?;
        let differs = distinct(&back, array).map_err(|error| broken(&error))?;
        (0..differs.len()).find(|row| differs.value(*row))
    };
    match changed {
        None => Ok(fitted),
        Some(row) => Err(refuse(array, wanted, row, false)),
    }
}

/// Whether a cast can change a value without making it null.
fn narrows(found: &DataType, wanted: &DataType) -> bool {
    match (found, wanted) {
        (DataType::Float32, DataType::Float64) => false,
        (found, wanted) if found.is_integer() && wanted.is_integer() => false,
        (found, _) => found.is_numeric() || found.is_temporal(),
    }
}

/// The first double that a real does not hold exactly; NaN is NaN whatever its bits.
fn first_rounded(doubles: &ArrayRef, reals: &ArrayRef) -> Option<usize> {
    let (doubles, reals) = (doubles.as_primitive::<Float64Type>(), reals.as_primitive::<Float32Type>());
    (0..doubles.len()).find(|row| {
        let (double, real) = (doubles.value(*row), f64::from(reals.value(*row)));
        doubles.is_valid(*row) && double.to_bits() != real.to_bits() && !double.is_nan()
    })
}

fn refuse(array: &ArrayRef, wanted: &DataType, row: usize, overflow: bool) -> Misfit {
    let found = shown(array, row);
    let expected = Slot::new(&Field::new("", wanted.clone(), true).into())
        .map_or_else(|_| wanted.to_string(), |slot| slot.expects());
    let error = if overflow {
        FormatError::out_of_range(&found, expected)
    } else {
        FormatError::mismatch(clip(&found), format!("{expected}, which cannot hold it exactly"))
    };
    Misfit::new(row, error)
}

/// The value as text; a time that no calendar has as the number that counts it.
fn shown(array: &ArrayRef, row: usize) -> String {
    let text = |array: &ArrayRef| {
        let format = FormatOptions::new().with_display_error(false);
        ArrayFormatter::try_new(array, &format).ok()?.value(row).try_to_string().ok()
    };
    let counted = || text(&cast(array, &DataType::Int64).ok()?);
    text(array).or_else(counted).unwrap_or_default()
}

fn broken(error: &arrow::error::ArrowError) -> Misfit {
    Misfit::new(0, FormatError::mismatch(clip(&error.to_string()), "a value that can be cast"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::TimestampSecondArray;

    use super::*;

    #[test]
    fn a_time_that_no_calendar_has_is_named_by_its_number() {
        let times: ArrayRef = Arc::new(TimestampSecondArray::from(vec![0, 1 << 62]));
        assert_eq!(shown(&times, 0), "1970-01-01T00:00:00");
        assert_eq!(shown(&times, 1), "4611686018427387904");
    }
}
