//! Intervals and durations as ISO 8601: `P1Y2M3DT4H5M6.7S`, each part with its own sign as PostgreSQL
//! writes them.

use std::io::Write as _;

/// Writes a duration counted in `per_second` parts.
pub(super) fn span(value: i64, per_second: i64, out: &mut Vec<u8>) {
    let negative = value < 0;
    let value = value.unsigned_abs();
    let per_second = per_second.unsigned_abs();
    out.extend_from_slice(if negative { b"-PT" } else { b"PT" });
    seconds("", value / per_second, value % per_second * (1_000_000_000 / per_second), out);
}

/// Writes an interval of months, days and nanoseconds.
pub(super) fn write(months: i64, days: i64, nanos: i64, out: &mut Vec<u8>) {
    out.push(b'P');
    part(months / 12, 'Y', out);
    part(months % 12, 'M', out);
    part(days, 'D', out);
    if nanos != 0 || (months == 0 && days == 0) {
        out.push(b'T');
        let sign = if nanos < 0 { "-" } else { "" };
        let nanos = nanos.unsigned_abs();
        let whole = nanos / 1_000_000_000;
        for (amount, unit) in [(whole / 3_600, 'H'), (whole / 60 % 60, 'M')] {
            if amount != 0 {
                let _ = write!(out, "{sign}{amount}{unit}");
            }
        }
        if nanos == 0 || !nanos.is_multiple_of(60_000_000_000) {
            seconds(sign, whole % 60, nanos % 1_000_000_000, out);
        }
    }
}

fn part(amount: i64, unit: char, out: &mut Vec<u8>) {
    if amount != 0 {
        let _ = write!(out, "{amount}{unit}");
    }
}

fn seconds(sign: &str, whole: u64, nanos: u64, out: &mut Vec<u8>) {
    let _ = write!(out, "{sign}{whole}");
    if nanos != 0 {
        let fraction = format!("{nanos:09}");
        let _ = write!(out, ".{}", fraction.trim_end_matches('0'));
    }
    out.push(b'S');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).expect("ascii")
    }

    #[test]
    fn parts_that_are_zero_are_left_out() {
        assert_eq!(text(|out| write(14, 3, 3_661_500_000_000, out)), "P1Y2M3DT1H1M1.5S");
        assert_eq!(text(|out| write(-1, 0, -500_000_000, out)), "P-1MT-0.5S");
        assert_eq!(text(|out| write(0, 0, 0, out)), "PT0S");
        assert_eq!(text(|out| write(0, 0, 3_600_000_000_000, out)), "PT1H");
        assert_eq!(text(|out| write(0, 1, 0, out)), "P1D");
    }

    #[test]
    fn durations_are_seconds() {
        assert_eq!(text(|out| span(90_500, 1_000, out)), "PT90.5S");
        assert_eq!(text(|out| span(-1, 1_000_000_000, out)), "-PT0.000000001S");
        assert_eq!(text(|out| span(i64::MIN, 1, out)), "-PT9223372036854775808S");
    }
}
