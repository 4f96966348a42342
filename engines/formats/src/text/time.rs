//! Dates and times of the proleptic Gregorian calendar as text, over the whole range of Arrow's types.
//!
//! RFC 3339 has years 0000 to 9999. Years outside are written with a sign (`+12024-01-01`,
//! `-0044-03-15`), as ISO 8601 does, and read back.

use std::io::Write as _;

const MICROS: i64 = 1_000_000;
const DAY: i64 = 86_400;

/// Days since 1970-01-01 of a civil date. Howard Hinnant, "chrono-compatible low-level date
/// algorithms", days_from_civil.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Year, month and day of a day since 1970-01-01; the inverse of [`days_from_civil`].
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    let (next_year, next_month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
    days_from_civil(next_year, next_month, 1) - days_from_civil(year, month, 1)
}

/// Writes a day since 1970-01-01 as `YYYY-MM-DD`.
pub(crate) fn write_date(days: i64, out: &mut Vec<u8>) {
    let (year, month, day) = civil_from_days(days);
    // Writing to a Vec cannot fail.
    let _ = if (0..=9_999).contains(&year) {
        write!(out, "{year:04}-{month:02}-{day:02}")
    } else {
        write!(out, "{year:+05}-{month:02}-{day:02}")
    };
}

/// Writes a time of day, with as many digits of the fraction as it needs in groups of three.
pub(crate) fn write_time(seconds: i64, nanos: i64, out: &mut Vec<u8>) {
    let _ = write!(out, "{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60);
    let _ = match nanos {
        0 => Ok(()),
        n if n % 1_000_000 == 0 => write!(out, ".{:03}", n / 1_000_000),
        n if n % 1_000 == 0 => write!(out, ".{:06}", n / 1_000),
        n => write!(out, ".{n:09}"),
    };
}

/// Writes seconds and nanoseconds since 1970-01-01T00:00:00 as `YYYY-MM-DDThh:mm:ss[.fraction]`.
pub(crate) fn write_date_time(seconds: i64, nanos: i64, out: &mut Vec<u8>) {
    write_date(seconds.div_euclid(DAY), out);
    out.push(b'T');
    write_time(seconds.rem_euclid(DAY), nanos, out);
}

/// What a date-time text says about its zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DateTime {
    /// Microseconds since 1970-01-01T00:00:00, in UTC when there is a zone, else on the wall clock.
    pub(crate) micros: i64,
    /// Whether the text names a zone (`Z` or an offset).
    pub(crate) zoned: bool,
}

/// Reads `YYYY-MM-DD` as days since 1970-01-01.
pub(crate) fn read_date(text: &str) -> Option<i64> {
    let mut reader = Reader { rest: text.as_bytes() };
    let days = reader.date()?;
    reader.rest.is_empty().then_some(days)
}

/// Reads RFC 3339, the zone optional, `T` or a space between date and time. `None` also for what
/// microseconds cannot tell: finer digits, leap seconds, and times too far from 1970.
pub(crate) fn read_date_time(text: &str) -> Option<DateTime> {
    let mut reader = Reader { rest: text.as_bytes() };
    let days = reader.date()?;
    reader.one_of(b"Tt ")?;
    let seconds = reader.time()?;
    let fraction = reader.fraction()?;
    let offset = if reader.rest.is_empty() { None } else { Some(reader.offset()?) };
    if !reader.rest.is_empty() {
        return None;
    }
    // Wider than i64 on the way: the first microseconds of the range have a date before it.
    let seconds = i128::from(days * DAY + seconds - offset.unwrap_or(0));
    let micros = i64::try_from(seconds * i128::from(MICROS) + i128::from(fraction)).ok()?;
    Some(DateTime { micros, zoned: offset.is_some() })
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn one_of(&mut self, bytes: &[u8]) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        bytes.contains(first).then(|| self.rest = rest)?;
        Some(*first)
    }

    /// Exactly `count` digits.
    fn digits(&mut self, count: usize) -> Option<i64> {
        let (digits, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        digits.iter().try_fold(0, |n, b| b.is_ascii_digit().then(|| n * 10 + i64::from(b - b'0')))
    }

    fn two(&mut self, range: std::ops::RangeInclusive<i64>) -> Option<i64> {
        self.digits(2).filter(|n| range.contains(n))
    }

    fn year(&mut self) -> Option<i64> {
        let Some(sign) = self.one_of(b"+-") else { return self.digits(4) };
        let length = self.rest.iter().take_while(|b| b.is_ascii_digit()).count();
        if !(4..=7).contains(&length) {
            return None;
        }
        self.digits(length).map(|year| if sign == b'-' { -year } else { year })
    }

    fn date(&mut self) -> Option<i64> {
        let year = self.year()?;
        self.one_of(b"-")?;
        let month = self.two(1..=12)?;
        self.one_of(b"-")?;
        let day = self.two(1..=days_in_month(year, month))?;
        Some(days_from_civil(year, month, day))
    }

    /// Seconds since midnight.
    fn time(&mut self) -> Option<i64> {
        let hours = self.two(0..=23)?;
        self.one_of(b":")?;
        let minutes = self.two(0..=59)?;
        self.one_of(b":")?;
        let seconds = self.two(0..=59)?;
        Some(hours * 3_600 + minutes * 60 + seconds)
    }

    /// Microseconds; none when there is no point.
    fn fraction(&mut self) -> Option<i64> {
        if self.one_of(b".").is_none() {
            return Some(0);
        }
        let length = self.rest.iter().take_while(|b| b.is_ascii_digit()).count();
        let (kept, finer) = self.rest[..length].split_at(length.min(6));
        if length == 0 || finer.iter().any(|digit| *digit != b'0') {
            return None;
        }
        let micros = kept.iter().fold(0, |n, digit| n * 10 + i64::from(digit - b'0'));
        self.rest = &self.rest[length..];
        Some((kept.len()..6).fold(micros, |n, _| n * 10))
    }

    /// Seconds east of UTC.
    fn offset(&mut self) -> Option<i64> {
        let sign = match self.one_of(b"Zz+-")? {
            b'+' => 1,
            b'-' => -1,
            _ => return Some(0),
        };
        let hours = self.two(0..=23)?;
        self.one_of(b":")?;
        let minutes = self.two(0..=59)?;
        Some(sign * (hours * 3_600 + minutes * 60))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn micros(text: &str) -> Option<i64> {
        read_date_time(text).map(|time| time.micros)
    }

    #[test]
    fn known_times_are_read() {
        assert_eq!(read_date("1970-01-01"), Some(0));
        assert_eq!(read_date("2000-02-29"), Some(11_016));
        assert_eq!(read_date("1969-12-31"), Some(-1));
        assert_eq!(micros("1970-01-01T00:00:01.5Z"), Some(1_500_000));
        assert_eq!(micros("1970-01-01 01:00:00+01:00"), Some(0));
        assert_eq!(micros("1970-01-01t00:00:00.123456000z"), Some(123_456));
        assert_eq!(read_date_time("1970-01-01T00:00:00").map(|time| time.zoned), Some(false));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in
            ["", "2023-02-29", "1900-02-29", "2024-13-01", "2024-1-1", "24-01-01", "+99999999-01-01", "2024-01-01 "]
        {
            assert_eq!(read_date(text), None, "{text}");
        }
        for text in [
            "2024-01-01",
            "2024-01-01T24:00:00Z",
            "2024-01-01T00:00Z",
            "2024-01-01T00:00:60Z",
            "2024-01-01T00:00:00.Z",
            "2024-01-01T00:00:00.1234567Z",
            "2024-01-01T00:00:00+0100",
            "2024-01-01T00:00:00Zx",
            "+9999999-01-01T00:00:00Z",
        ] {
            assert_eq!(read_date_time(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_date_reads_back(days in any::<i32>()) {
            let mut text = Vec::new();
            write_date(i64::from(days), &mut text);
            prop_assert_eq!(read_date(std::str::from_utf8(&text).expect("ascii")), Some(i64::from(days)));
        }

        #[test]
        fn every_time_reads_back(micros in any::<i64>()) {
            let mut text = Vec::new();
            write_date_time(micros.div_euclid(MICROS), micros.rem_euclid(MICROS) * 1_000, &mut text);
            let read = read_date_time(std::str::from_utf8(&text).expect("ascii"));
            prop_assert_eq!(read, Some(DateTime { micros, zoned: false }));
        }
    }
}
