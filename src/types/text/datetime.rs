//! Dates, times and timestamps: ISO output (DateStyle `ISO, MDY`), and input in the forms that Postgres takes:
//! ISO 8601 (`2024-02-29 12:30:00.5+01`, `2024-02-29T12:30Z`, `20240229T123000`), `2/29/2024` (month first),
//! `Feb 29, 2024`, `29-Feb-2024`, with `BC`, `AM`/`PM` and zone names.

use super::calendar::{Date, MICROS_PER_DAY, MICROS_PER_HOUR, MICROS_PER_MINUTE, MICROS_PER_SECOND};
use super::number::write_integer;
use super::zone::{Zone, parse_offset};
use super::{invalid_syntax, trim};
use crate::error::{Error, Kind, Result};

// ---- output

/// Days since 1970-01-01.
pub fn write_date(days: i32, out: &mut Vec<u8>) {
    let before_christ = write_day(days as i64, out);
    if before_christ {
        out.extend_from_slice(b" BC");
    }
}

/// Microseconds since midnight.
pub fn write_time(micros: i64, out: &mut Vec<u8>) {
    let micros = micros.clamp(0, MICROS_PER_DAY);
    write_two((micros / MICROS_PER_HOUR) as u8, out);
    out.push(b':');
    write_two((micros / MICROS_PER_MINUTE % 60) as u8, out);
    out.push(b':');
    write_two((micros / MICROS_PER_SECOND % 60) as u8, out);
    write_fraction((micros % MICROS_PER_SECOND) as u32, out);
}

/// Microseconds since 1970-01-01 00:00:00, no zone.
pub fn write_timestamp(micros: i64, out: &mut Vec<u8>) {
    let before_christ = write_day(micros.div_euclid(MICROS_PER_DAY), out);
    out.push(b' ');
    write_time(micros.rem_euclid(MICROS_PER_DAY), out);
    if before_christ {
        out.extend_from_slice(b" BC");
    }
}

/// Microseconds since 1970 in UTC, shown in a zone with its offset there and then.
pub fn write_timestamptz(micros: i64, zone: Zone, out: &mut Vec<u8>) {
    let offset = zone.offset_at(micros);
    let local = micros.saturating_add(offset as i64 * MICROS_PER_SECOND);
    let before_christ = write_day(local.div_euclid(MICROS_PER_DAY), out);
    out.push(b' ');
    write_time(local.rem_euclid(MICROS_PER_DAY), out);
    out.push(if offset < 0 { b'-' } else { b'+' });
    let seconds = offset.unsigned_abs();
    write_two((seconds / 3600) as u8, out);
    if !seconds.is_multiple_of(3600) {
        out.push(b':');
        write_two((seconds / 60 % 60) as u8, out);
    }
    if !seconds.is_multiple_of(60) {
        out.push(b':');
        write_two((seconds % 60) as u8, out);
    }
    if before_christ {
        out.extend_from_slice(b" BC");
    }
}

/// `2024-02-29`; tells whether the year is before Christ, whose mark stands at the very end of a value.
fn write_day(days: i64, out: &mut Vec<u8>) -> bool {
    let date = Date::from_days(days);
    let before_christ = date.year <= 0;
    let year = if before_christ { 1 - date.year } else { date.year };
    if year < 10_000 {
        write_two((year / 100) as u8, out);
        write_two((year % 100) as u8, out);
    } else {
        write_integer(year, out);
    }
    out.push(b'-');
    write_two(date.month, out);
    out.push(b'-');
    write_two(date.day, out);
    before_christ
}

/// Two decimal digits.
pub(super) fn write_two(value: u8, out: &mut Vec<u8>) {
    out.push(b'0' + value / 10);
    out.push(b'0' + value % 10);
}

/// `.5` for 500000 microseconds, nothing for none.
pub(super) fn write_fraction(micros: u32, out: &mut Vec<u8>) {
    if micros == 0 {
        return;
    }
    out.push(b'.');
    let mut rest = micros;
    let mut unit = 100_000;
    while rest > 0 {
        out.push(b'0' + (rest / unit) as u8);
        rest %= unit;
        unit /= 10;
    }
}

// ---- input

/// Days since 1970-01-01. A time of day behind the date is read and dropped, as Postgres does.
pub fn parse_date(text: &str) -> Result<i32> {
    if let Some(iso) = Iso::parse(text.as_bytes()).filter(|iso| iso.time.is_none()) {
        return Ok(iso.days as i32);
    }
    let parts = Parts::parse(text, "date")?;
    let days = parts.day(text, "date")?;
    i32::try_from(days).map_err(|_| out_of_range(text, "date"))
}

/// Microseconds since midnight; a date before it is read and dropped, a zone too.
pub fn parse_time(text: &str) -> Result<i64> {
    let parts = Parts::parse(text, "time")?;
    parts.time.ok_or_else(|| invalid_syntax(Kind::InvalidDatetime, "time", text))
}

/// Microseconds since 1970-01-01 00:00:00; a zone is read and dropped, as Postgres does for timestamp without time zone.
pub fn parse_timestamp(text: &str) -> Result<i64> {
    if let Some(iso) = Iso::parse(text.as_bytes()) {
        return Ok(iso.local_micros());
    }
    Parts::parse(text, "timestamp")?.local_micros(text, "timestamp")
}

/// Microseconds since 1970 in UTC; without an offset or zone of its own the text is local time in `zone`.
pub fn parse_timestamptz(text: &str, zone: Zone) -> Result<i64> {
    const NAME: &str = "timestamp with time zone";
    if let Some(iso) = Iso::parse(text.as_bytes()) {
        let local = iso.local_micros();
        let offset = iso.offset_seconds.unwrap_or_else(|| zone.offset_at_local(local));
        return Ok(local - offset as i64 * MICROS_PER_SECOND);
    }
    let parts = Parts::parse(text, NAME)?;
    let local = parts.local_micros(text, NAME)?;
    let offset = parts.zone.unwrap_or(zone).offset_at_local(local);
    local.checked_sub(offset as i64 * MICROS_PER_SECOND).ok_or_else(|| out_of_range(text, NAME))
}

/// `12:30[:15[.5]]`, or `123015` after a `T`, as microseconds; `None` if it is no such thing, an error if it is no time of day.
pub(super) fn parse_clock(token: &str, whole: &str) -> Result<Option<i64>> {
    let mut fields = token.splitn(3, ':');
    let (Some(hours), Some(minutes)) = (fields.next(), fields.next()) else { return Ok(None) };
    let Some((seconds, fraction)) = split_fraction(fields.next().unwrap_or("0")) else { return Ok(None) };
    let (Some(hours), Some(minutes), Some(seconds)) = (small(hours), small(minutes), small(seconds)) else { return Ok(None) };
    clock(hours, minutes, seconds, fraction).map(Some).ok_or_else(|| field_out_of_range(whole))
}

fn clock(hours: u32, minutes: u32, seconds: u32, fraction: i64) -> Option<i64> {
    if minutes > 59 || seconds > 60 || hours > 24 {
        return None;
    }
    let micros = hours as i64 * MICROS_PER_HOUR + minutes as i64 * MICROS_PER_MINUTE + seconds as i64 * MICROS_PER_SECOND + fraction;
    (micros <= MICROS_PER_DAY).then_some(micros)
}

/// Seconds and what follows their point, rounded to microseconds.
fn split_fraction(text: &str) -> Option<(&str, i64)> {
    let Some((whole, fraction)) = text.split_once('.') else { return Some((text, 0)) };
    Some((whole, fraction_micros(fraction)?))
}

pub(super) fn fraction_micros(digits: &str) -> Option<i64> {
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let digit = |i: usize| digits.as_bytes().get(i).map_or(0, |d| (d - b'0') as i64);
    let micros = (0..6).fold(0, |sum, i| sum * 10 + digit(i));
    // To the nearest, and from the middle to the even one, as C's rint does for Postgres.
    let above_middle = digits.bytes().skip(7).any(|d| d != b'0');
    let up = digit(6) > 5 || (digit(6) == 5 && (above_middle || micros % 2 == 1));
    Some(micros + i64::from(up))
}

/// An unsigned number of at most 7 digits.
fn small(text: &str) -> Option<u32> {
    if text.is_empty() || text.len() > 7 || !text.bytes().all(|b| b.is_ascii_digit()) { None } else { text.parse().ok() }
}

fn field_out_of_range(text: &str) -> Error {
    Error::new(Kind::DatetimeOverflow, format!("date/time field value out of range: \"{text}\""))
}

fn out_of_range(text: &str, type_name: &str) -> Error {
    let short = type_name.strip_suffix(" with time zone").unwrap_or(type_name);
    Error::new(Kind::DatetimeOverflow, format!("{short} out of range: \"{text}\""))
}

/// `2024-02-29[T12:30:15[.5][Z|+01[:30]]]`, the form in which nearly all dates come by the million, read without a
/// detour. What it does not take, right or wrong, is read by [`Parts`], which also words the errors.
struct Iso {
    days: i64,
    /// Microseconds since midnight.
    time: Option<i64>,
    offset_seconds: Option<i32>,
}

impl Iso {
    fn parse(text: &[u8]) -> Option<Iso> {
        let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, rest @ ..] = text else { return None };
        let year = two(*y1, *y2)? as i64 * 100 + two(*y3, *y4)? as i64;
        // Year 0 is an error, and not worded here.
        let days = Date::new(year, two(*m1, *m2)?, two(*d1, *d2)?).filter(|d| d.year > 0)?.days();
        if rest.is_empty() {
            return Some(Iso { days, time: None, offset_seconds: None });
        }
        let [b'T' | b' ', h1, h2, b':', m1, m2, b':', s1, s2, rest @ ..] = rest else { return None };
        let digits = if rest.first() == Some(&b'.') { rest[1..].iter().take_while(|b| b.is_ascii_digit()).count() } else { 0 };
        let (fraction, zone) = if digits > 0 { (&rest[1..=digits], &rest[1 + digits..]) } else { (&rest[..0], rest) };
        let micros = fraction_micros(std::str::from_utf8(fraction).ok()?)?;
        let time = clock(two(*h1, *h2)?, two(*m1, *m2)?, two(*s1, *s2)?, micros)?;
        let offset_seconds = match zone {
            [] => None,
            [b'Z'] => Some(0),
            [sign @ (b'+' | b'-'), h1, h2, minutes @ ..] => {
                let minutes = match minutes {
                    [] => 0,
                    [m1, m2] | [b':', m1, m2] => two(*m1, *m2)?,
                    _ => return None,
                };
                let seconds = (two(*h1, *h2)? * 3600 + minutes * 60) as i32;
                if minutes > 59 || seconds > 15 * 3600 {
                    return None;
                }
                Some(if *sign == b'-' { -seconds } else { seconds })
            }
            _ => return None,
        };
        Some(Iso { days, time: Some(time), offset_seconds })
    }

    /// A year of four digits cannot overflow.
    fn local_micros(&self) -> i64 {
        self.days * MICROS_PER_DAY + self.time.unwrap_or(0)
    }
}

fn two(tens: u8, ones: u8) -> Option<u32> {
    (tens.is_ascii_digit() && ones.is_ascii_digit()).then(|| (tens - b'0') as u32 * 10 + (ones - b'0') as u32)
}

/// What was found in a text, in whatever order it stood.
#[derive(Default)]
struct Parts {
    year: Option<i64>,
    month: Option<u32>,
    day: Option<u32>,
    /// Microseconds since midnight.
    time: Option<i64>,
    zone: Option<Zone>,
    before_christ: bool,
    epoch: bool,
}

impl Parts {
    fn parse(text: &str, type_name: &str) -> Result<Parts> {
        let mut parts = Parts::default();
        let bare = trim(text);
        if bare.is_empty() || bare.len() > 100 {
            return Err(invalid_syntax(Kind::InvalidDatetime, type_name, text));
        }
        if ["infinity", "-infinity", "+infinity"].iter().any(|s| bare.eq_ignore_ascii_case(s)) {
            return Err(Error::not_supported(format!("{type_name} value \"{bare}\" is not supported")));
        }
        for word in bare.split(|c: char| c.is_ascii_whitespace() || c == ',').filter(|w| !w.is_empty()) {
            let known = match split_at_t(word) {
                Some((date, time)) => parts.date_word(date) && parts.time_word(time, text)?,
                None => parts.word(word, text)?,
            };
            if !known {
                return Err(invalid_syntax(Kind::InvalidDatetime, type_name, text));
            }
        }
        Ok(parts)
    }

    /// One word; false if nobody knows it.
    fn word(&mut self, word: &str, text: &str) -> Result<bool> {
        Ok(self.mark_word(word, text)? || self.time_word(word, text)? || self.date_word(word) || self.zone_word(word))
    }

    /// BC, AM, PM, epoch, names of days.
    fn mark_word(&mut self, word: &str, text: &str) -> Result<bool> {
        const DAY_NAMES: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
        let lower = word.to_ascii_lowercase();
        match lower.as_str() {
            "bc" => self.before_christ = true,
            "ad" => {}
            "epoch" => self.epoch = true,
            "am" | "pm" => {
                let Some(time) = self.time else { return Ok(false) };
                if time >= 13 * MICROS_PER_HOUR {
                    return Err(field_out_of_range(text));
                }
                let noon = time >= 12 * MICROS_PER_HOUR;
                let shift = i64::from(lower == "pm") - i64::from(noon);
                self.time = Some(time + shift * 12 * MICROS_PER_HOUR);
            }
            _ => return Ok(lower.len() >= 3 && DAY_NAMES.iter().any(|d| d.starts_with(&lower))),
        }
        Ok(true)
    }

    /// `12:30:00.5`, with AM/PM, `Z`, an offset or a zone right behind it.
    fn time_word(&mut self, word: &str, text: &str) -> Result<bool> {
        let end = word.find(|c: char| !c.is_ascii_digit() && c != ':' && c != '.').unwrap_or(word.len());
        let (time, rest) = word.split_at(end);
        let micros = if time.contains(':') {
            parse_clock(time, text)?
        } else if self.has_date() && matches!(time.split('.').next().map_or(0, str::len), 4 | 6) && self.time.is_none() {
            compact_clock(time, text)?
        } else {
            None
        };
        let Some(micros) = micros else { return Ok(false) };
        if self.time.is_some() {
            return Ok(false);
        }
        self.time = Some(micros);
        Ok(rest.is_empty() || self.mark_word(rest, text)? || self.zone_word(rest))
    }

    fn zone_word(&mut self, word: &str) -> bool {
        if self.zone.is_some() {
            return false;
        }
        self.zone = match parse_offset(word) {
            Some(east) => Some(Zone::fixed(east)),
            None => abbreviation(word).or_else(|| Zone::named(word)),
        };
        self.zone.is_some()
    }

    fn has_date(&self) -> bool {
        self.year.is_some() && self.month.is_some() && self.day.is_some()
    }

    /// A whole date, or one part of a date that is written in words (`Feb`, `29`, `2024`).
    fn date_word(&mut self, word: &str) -> bool {
        let separator = word.bytes().find(|b| matches!(b, b'-' | b'/' | b'.'));
        let Some(separator) = separator else { return self.date_part(word) };
        let fields: Vec<&str> = word.split(separator as char).collect();
        let [a, b, c] = fields[..] else { return false };
        if self.year.is_some() || self.day.is_some() {
            return false;
        }
        let (year, month, day) = if a.len() >= 3 && small(a).is_some() {
            (a, b, c) // 2024-02-29, 2024-Feb-29
        } else if month_by_name(b).is_some() {
            (c, b, a) // 29-Feb-2024
        } else {
            (c, a, b) // 2/29/2024, Feb-29-2024
        };
        let (Some(year), Some(month), Some(day)) = (year_number(year), month_by_name(month).or_else(|| small(month)), small(day)) else {
            return false;
        };
        (self.year, self.month, self.day) = (Some(year), Some(month), Some(day));
        true
    }

    fn date_part(&mut self, word: &str) -> bool {
        if let Some(month) = month_by_name(word) {
            return self.month.replace(month).is_none();
        }
        let Some(number) = small(word).or_else(|| if word.len() == 8 { word.parse().ok() } else { None }) else { return false };
        match word.len() {
            8 if self.year.is_none() && self.month.is_none() => {
                (self.year, self.month, self.day) = (Some(number as i64 / 10_000), Some(number / 100 % 100), Some(number % 100));
                true
            }
            1 | 2 if self.month.is_some() && self.day.is_none() => self.day.replace(number).is_none(),
            1 | 2 if self.day.is_none() && self.year.is_none() => self.day.replace(number).is_none(),
            1..=7 if self.year.is_none() => {
                self.year = year_number(word);
                true
            }
            _ => false,
        }
    }

    fn day(&self, text: &str, type_name: &str) -> Result<i64> {
        if self.epoch {
            return Ok(0);
        }
        let (Some(year), Some(month), Some(day)) = (self.year, self.month, self.day) else {
            return Err(invalid_syntax(Kind::InvalidDatetime, type_name, text));
        };
        let year = if self.before_christ { 1 - year } else { year };
        if year == 0 && !self.before_christ {
            return Err(field_out_of_range(text));
        }
        Date::new(year, month, day).map(Date::days).ok_or_else(|| field_out_of_range(text))
    }

    fn local_micros(&self, text: &str, type_name: &str) -> Result<i64> {
        let day = self.day(text, type_name)?;
        let micros = day.checked_mul(MICROS_PER_DAY).and_then(|m| m.checked_add(self.time.unwrap_or(0)));
        micros.ok_or_else(|| out_of_range(text, type_name))
    }
}

/// `2024-02-29T12:30` is two words.
fn split_at_t(word: &str) -> Option<(&str, &str)> {
    let at = word.find(['T', 't'])?;
    let digits_around = word[..at].ends_with(|c: char| c.is_ascii_digit()) && word[at + 1..].starts_with(|c: char| c.is_ascii_digit());
    digits_around.then(|| (&word[..at], &word[at + 1..]))
}

/// `1230` or `123015.5`.
fn compact_clock(token: &str, text: &str) -> Result<Option<i64>> {
    let Some((digits, fraction)) = split_fraction(token) else { return Ok(None) };
    let Some(number) = small(digits) else { return Ok(None) };
    let number = if digits.len() == 4 { number * 100 } else { number };
    clock(number / 10_000, number / 100 % 100, number % 100, fraction).map(Some).ok_or_else(|| field_out_of_range(text))
}

/// Two digits mean 1970 to 2069.
fn year_number(word: &str) -> Option<i64> {
    let number = small(word)? as i64;
    Some(match word.len() {
        1 | 2 if number < 70 => number + 2000,
        1 | 2 => number + 1900,
        _ => number,
    })
}

fn month_by_name(word: &str) -> Option<u32> {
    const MONTHS: [&str; 12] = ["january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december"];
    let lower = word.to_ascii_lowercase();
    let full = |m: &str| m == lower || m[..3] == lower || (lower == "sept" && m == "september");
    MONTHS.iter().position(|m| full(m)).map(|i| i as u32 + 1)
}

/// Abbreviations whose offset is part of their meaning (the common ones of Postgres's default set).
fn abbreviation(word: &str) -> Option<Zone> {
    const HOURS: [(&str, i32); 16] = [
        ("est", -5),
        ("edt", -4),
        ("cst", -6),
        ("cdt", -5),
        ("mst", -7),
        ("mdt", -6),
        ("pst", -8),
        ("pdt", -7),
        ("wet", 0),
        ("west", 1),
        ("bst", 1),
        ("cet", 1),
        ("cest", 2),
        ("eet", 2),
        ("eest", 3),
        ("jst", 9),
    ];
    HOURS.iter().find(|(name, _)| word.eq_ignore_ascii_case(name)).map(|(_, hours)| Zone::fixed(hours * 3600))
}

#[cfg(test)]
mod tests;
