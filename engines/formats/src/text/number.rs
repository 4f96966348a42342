//! Exact numbers from decimal text.

/// Why a number does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Misfit {
    /// Not a number at all.
    NotANumber,
    /// It has more digits after the point than are kept.
    Inexact,
    /// It has too many digits before the point.
    OutOfRange,
}

/// More digits than any `i128` has.
const MOST_DIGITS: i64 = 39;

/// `text × 10^scale` as an integer, when it is one: `exact("1.5e1", 0)` is 15.
///
/// Takes an optional sign, digits, an optional fraction and an optional exponent. The cost does not
/// depend on the exponent: `1e999999999` is refused as fast as `1`.
pub(crate) fn exact(text: &str, scale: i8) -> Result<i128, Misfit> {
    let number = split(text).ok_or(Misfit::NotANumber)?;
    let digits = || number.whole.bytes().chain(number.fraction.bytes());
    let count = number.whole.len() + number.fraction.len();
    let leading = digits().take_while(|digit| *digit == b'0').count();
    if leading == count {
        return Ok(0);
    }
    let trailing = digits().rev().take_while(|digit| *digit == b'0').count();
    let kept = count - leading - trailing;
    let length = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    let shift = number.exponent.saturating_add(i64::from(scale)) - length(number.fraction.len()) + length(trailing);
    if shift < 0 {
        return Err(Misfit::Inexact);
    }
    if shift.saturating_add(length(kept)) > MOST_DIGITS {
        return Err(Misfit::OutOfRange);
    }
    let zeros = std::iter::repeat_n(b'0', usize::try_from(shift).unwrap_or(0));
    let mut magnitude = digits().skip(leading).take(kept).chain(zeros);
    let sign = if number.negative { -1 } else { 1 };
    magnitude
        .try_fold(0_i128, |value, digit| value.checked_mul(10)?.checked_add(sign * i128::from(digit - b'0')))
        .ok_or(Misfit::OutOfRange)
}

struct Parts<'a> {
    negative: bool,
    whole: &'a str,
    fraction: &'a str,
    exponent: i64,
}

fn split(text: &str) -> Option<Parts<'_>> {
    let negative = text.starts_with('-');
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, read_exponent(exponent)?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all_digits = whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit());
    (all_digits && !(whole.is_empty() && fraction.is_empty())).then_some(Parts { negative, whole, fraction, exponent })
}

/// An exponent, clamped to where every non-zero number is out of range or inexact anyway.
fn read_exponent(text: &str) -> Option<i64> {
    const FAR: i64 = 1 << 40;
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let size = digits.parse::<i64>().unwrap_or(FAR).min(FAR);
    Some(if text.starts_with('-') { -size } else { size })
}

/// A finite double from decimal text. `OutOfRange` beyond the largest; too small becomes 0.
pub(crate) fn double(text: &str) -> Result<f64, Misfit> {
    finite(text, f64::is_finite)
}

/// A finite float from decimal text, rounded once.
pub(crate) fn real(text: &str) -> Result<f32, Misfit> {
    finite(text, f32::is_finite)
}

fn finite<T: std::str::FromStr + Copy>(text: &str, is_finite: fn(T) -> bool) -> Result<T, Misfit> {
    // Rust also reads `inf` and `nan`; those have their own spelling here.
    if !text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b)) {
        return Err(Misfit::NotANumber);
    }
    let value: T = text.parse().map_err(|_| Misfit::NotANumber)?;
    if is_finite(value) { Ok(value) } else { Err(Misfit::OutOfRange) }
}

/// Whether text is a number as JSON writes it; so `007` and `+1` are not.
pub(crate) fn is_json_number(text: &str) -> bool {
    json_number_length(text.as_bytes()) == Some(text.len()) && !text.is_empty()
}

/// How many bytes the JSON number at the start of the text has; `None` when there is none.
pub(crate) fn json_number_length(bytes: &[u8]) -> Option<usize> {
    let digits = |from: usize| from + bytes[from..].iter().take_while(|b| b.is_ascii_digit()).count();
    let start = usize::from(bytes.first() == Some(&b'-'));
    let mut at = digits(start);
    if at == start || (bytes[start] == b'0' && at > start + 1) {
        return None;
    }
    if bytes.get(at) == Some(&b'.') {
        let end = digits(at + 1);
        if end == at + 1 {
            return None;
        }
        at = end;
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        let signed = at + 1 + usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        let end = digits(signed.min(bytes.len()));
        if end == signed {
            return None;
        }
        at = end;
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_numbers_are_exact_or_refused() {
        for (text, scale, value) in [
            ("0", 0, 0),
            ("-0.000e-99999999999999999999", 2, 0),
            ("1.0", 0, 1),
            ("1e3", 0, 1_000),
            ("-1.25", 2, -125),
            ("12.50", 1, 125),
            ("0.0000001e7", 0, 1),
            ("100", -2, 1),
            ("170141183460469231731687303715884105727", 0, i128::MAX),
            ("-170141183460469231731687303715884105728", 0, i128::MIN),
        ] {
            assert_eq!(exact(text, scale), Ok(value), "{text}");
        }
        for text in ["1.5", "1e-1", "1e-999999999999999999999"] {
            assert_eq!(exact(text, 0), Err(Misfit::Inexact), "{text}");
        }
        for text in ["1e39", "1e999999999999999999999", "170141183460469231731687303715884105728"] {
            assert_eq!(exact(text, 0), Err(Misfit::OutOfRange), "{text}");
        }
        for text in ["", "-", ".", "1e", "1e+", "0x1", "1 ", "1.2.3", "--1"] {
            assert_eq!(exact(text, 0), Err(Misfit::NotANumber), "{text}");
        }
    }

    #[test]
    fn doubles_are_finite() {
        assert_eq!(double("1e308"), Ok(1e308));
        assert_eq!(double("1e999999"), Err(Misfit::OutOfRange));
        assert_eq!(real("1e39"), Err(Misfit::OutOfRange));
        assert_eq!(double("inf"), Err(Misfit::NotANumber));
    }

    #[test]
    fn json_numbers_follow_the_grammar() {
        for good in ["0", "-0", "10", "1.5", "1e5", "1E+5", "-1.5e-10"] {
            assert!(is_json_number(good), "{good}");
        }
        for bad in ["", "-", "00", "01", "+1", "1.", ".5", "1e", "1e+", "1x", " 1"] {
            assert!(!is_json_number(bad), "{bad}");
        }
    }
}
