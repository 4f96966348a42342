//! Spans of time, written as people write them: `30s`, `10m`, `1h30m`, `500ms`, `7d`.

use std::time::Duration;

/// Units in milliseconds, the larger first.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Ten years: adding it to any clock cannot overflow.
const MAX_MILLIS: u64 = 3_650 * 86_400_000;

/// Reads a span: numbers with units, added up. `None` for anything else, or for more than ten years.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut millis = 0_u64;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at(digits);
        let letters = after.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, after) = after.split_at(letters);
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit)?;
        millis = millis.checked_add(number.parse::<u64>().ok()?.checked_mul(*factor)?)?;
        rest = after.trim_start();
    }
    (!text.trim().is_empty() && millis <= MAX_MILLIS).then(|| Duration::from_millis(millis))
}

/// Writes a span of whole milliseconds exactly, in the largest unit that divides it.
pub(crate) fn print(span: Duration) -> String {
    let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    match UNITS.iter().find(|(_, unit)| millis > 0 && millis.is_multiple_of(*unit)) {
        Some((name, unit)) => format!("{}{name}", millis / unit),
        None => "0s".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spans_are_read_as_written() {
        for (text, millis, printed) in [
            ("30s", 30_000, "30s"),
            ("10m", 600_000, "10m"),
            ("24h", 86_400_000, "1d"),
            ("90s", 90_000, "90s"),
            ("1h30m", 5_400_000, "90m"),
            ("1h 30m", 5_400_000, "90m"),
            ("250ms", 250, "250ms"),
            ("0s", 0, "0s"),
        ] {
            assert_eq!(parse(text), Some(Duration::from_millis(millis)), "{text}");
            assert_eq!(print(Duration::from_millis(millis)), printed);
        }
        for text in ["", "30", "s", "-1s", "1.5h", "1y", "30 s", "99999999999999999999s", "4000d", "1é"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_printed_span_reads_back(millis in 0..=MAX_MILLIS) {
            let span = Duration::from_millis(millis);
            prop_assert_eq!(parse(&print(span)), Some(span));
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,20}") {
            let _ = parse(&text);
        }
    }
}
