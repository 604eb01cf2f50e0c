//! A session's time zone: what stands between a timestamptz (microseconds in UTC) and what a person reads.

use super::calendar::MICROS_PER_SECOND;
use crate::error::{Error, Kind, Result};
use chrono::{DateTime, MappedLocalTime, NaiveDateTime, Offset, TimeZone};
use chrono_tz::{OffsetName, Tz};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Zone {
    Utc,
    /// Seconds east of Greenwich.
    Fixed(i32),
    Named(Tz),
}

/// No civil offset has ever been further from Greenwich (Postgres allows as much).
const MAX_OFFSET_SECONDS: i32 = 15 * 3600 + 59 * 60 + 59;

impl Zone {
    /// As `SET TimeZone` takes it: a name of the IANA database in any case, or a POSIX offset, whose sign counts *west*
    /// (`+02` is two hours behind Greenwich, as in Postgres).
    pub fn parse(name: &str) -> Result<Zone> {
        let name = name.trim();
        if let Some(zone) = Self::named(name) {
            return Ok(zone);
        }
        let posix = name.strip_prefix("UTC").or_else(|| name.strip_prefix("GMT")).unwrap_or(name);
        match parse_offset(posix) {
            Some(east) => Ok(Zone::fixed(-east)),
            None => Err(Error::new(Kind::InvalidParameter, format!("invalid value for parameter \"TimeZone\": \"{name}\""))),
        }
    }

    /// What [`Zone::parse`] reads it from.
    pub fn name(self) -> String {
        match self {
            Zone::Utc => "UTC".to_owned(),
            Zone::Named(tz) => tz.name().to_owned(),
            Zone::Fixed(east) => {
                let west = -east;
                let (sign, seconds) = (if west < 0 { '-' } else { '+' }, west.unsigned_abs());
                format!("{sign}{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
            }
        }
    }

    /// A zone of the IANA database, or one of the words for Greenwich.
    pub(super) fn named(name: &str) -> Option<Zone> {
        if ["utc", "gmt", "z", "zulu", "etc/utc"].iter().any(|s| name.eq_ignore_ascii_case(s)) {
            return Some(Zone::Utc);
        }
        let exact = name.parse::<Tz>().ok();
        exact.or_else(|| chrono_tz::TZ_VARIANTS.into_iter().find(|tz| tz.name().eq_ignore_ascii_case(name))).map(Zone::Named)
    }

    /// Seconds east of Greenwich.
    pub fn fixed(east_seconds: i32) -> Zone {
        if east_seconds == 0 { Zone::Utc } else { Zone::Fixed(east_seconds) }
    }

    /// Seconds east of Greenwich at an instant (microseconds since 1970 in UTC).
    pub fn offset_at(self, utc_micros: i64) -> i32 {
        match self {
            Zone::Utc => 0,
            Zone::Fixed(east) => east,
            Zone::Named(tz) => naive(utc_micros).map_or(0, |t| tz.offset_from_utc_datetime(&t).fix().local_minus_utc()),
        }
    }

    /// What the offset at an instant is called: `CEST`, or the offset where it has no name.
    pub fn abbreviation_at(self, utc_micros: i64) -> String {
        let named =
            if let Zone::Named(tz) = self { naive(utc_micros).and_then(|t| tz.offset_from_utc_datetime(&t).abbreviation().map(str::to_owned)) } else { None };
        match (self, named) {
            (_, Some(name)) => name,
            (Zone::Utc, None) => "UTC".to_owned(),
            (_, None) => shown_offset(self.offset_at(utc_micros)),
        }
    }

    /// Seconds east of Greenwich for what a wall clock shows. Where clocks were put back the hour that is in standard
    /// time, where they were put forward the offset before the gap: what Postgres does.
    pub fn offset_at_local(self, local_micros: i64) -> i32 {
        match self {
            Zone::Utc => 0,
            Zone::Fixed(east) => east,
            Zone::Named(tz) => match naive(local_micros).map(|t| tz.offset_from_local_datetime(&t)) {
                Some(MappedLocalTime::Single(offset)) => offset.fix().local_minus_utc(),
                Some(MappedLocalTime::Ambiguous(_, later)) => later.fix().local_minus_utc(),
                Some(MappedLocalTime::None) => self.offset_at(local_micros.saturating_sub(86_400 * MICROS_PER_SECOND)),
                None => 0,
            },
        }
    }
}

/// `+02`, `-05:30`.
pub fn shown_offset(east: i32) -> String {
    let (sign, minutes) = (if east < 0 { '-' } else { '+' }, east.unsigned_abs() / 60);
    let rest = if minutes % 60 == 0 { String::new() } else { format!(":{:02}", minutes % 60) };
    format!("{sign}{:02}{rest}", minutes / 60)
}

fn naive(micros: i64) -> Option<NaiveDateTime> {
    DateTime::from_timestamp_micros(micros).map(|t| t.naive_utc())
}

/// `+02`, `-5:30`, `+0530`, `+05:30:15` as seconds, sign as written.
pub(super) fn parse_offset(text: &str) -> Option<i32> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'+' => (1, &text[1..]),
        b'-' => (-1, &text[1..]),
        _ => return None,
    };
    let number = |s: &str| if (1..=2).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_digit()) { s.parse::<i32>().ok() } else { None };
    let (hours, minutes, seconds) = if digits.contains(':') {
        let mut parts = digits.split(':');
        let hours = number(parts.next()?)?;
        let minutes = number(parts.next()?)?;
        let seconds = parts.next().map_or(Some(0), number)?;
        if parts.next().is_some() {
            return None;
        }
        (hours, minutes, seconds)
    } else if !digits.is_ascii() {
        return None;
    } else {
        match digits.len() {
            1 | 2 => (number(digits)?, 0, 0),
            3 | 4 => (number(&digits[..digits.len() - 2])?, number(&digits[digits.len() - 2..])?, 0),
            6 => (number(&digits[..2])?, number(&digits[2..4])?, number(&digits[4..])?),
            _ => return None,
        }
    };
    let total = hours * 3600 + minutes * 60 + seconds;
    if minutes > 59 || seconds > 59 || total > MAX_OFFSET_SECONDS { None } else { Some(sign * total) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_by_name_in_any_case_and_posix_offsets() {
        assert_eq!(Zone::parse("UTC").unwrap(), Zone::Utc);
        assert_eq!(Zone::parse("europe/berlin").unwrap(), Zone::Named(chrono_tz::Europe::Berlin));
        assert_eq!(Zone::parse("+02").unwrap(), Zone::Fixed(-7200));
        assert_eq!(Zone::parse("UTC-05:30").unwrap(), Zone::Fixed(19_800));
        assert_eq!(Zone::parse("Mars/Olympus").unwrap_err().message(), "invalid value for parameter \"TimeZone\": \"Mars/Olympus\"");
        for name in ["UTC", "Europe/Berlin", "+02", "-05:30"] {
            let zone = Zone::parse(name).unwrap();
            assert_eq!(Zone::parse(&zone.name()).unwrap(), zone, "{name}");
        }
        assert_eq!(parse_offset("+99"), None);
        assert_eq!(parse_offset("+0é"), None);
    }

    #[test]
    fn clocks_put_forward_and_back() {
        let berlin = Zone::parse("Europe/Berlin").unwrap();
        let at = |days: i64, hour: i64, minute: i64| (days * 86_400 + hour * 3600 + minute * 60) * MICROS_PER_SECOND;
        // 2024-03-31 02:30 does not exist in Berlin; 2024-10-27 02:30 exists twice.
        assert_eq!(berlin.offset_at_local(at(19_813, 2, 30)), 3600);
        assert_eq!(berlin.offset_at_local(at(20_023, 2, 30)), 3600);
        assert_eq!(berlin.offset_at_local(at(19_900, 12, 0)), 7200);
        assert_eq!(berlin.offset_at(i64::MAX), 0);
    }
}
