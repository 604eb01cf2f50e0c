//! Times by Postgres' patterns: `to_char(time, 'YYYY-MM-DD HH24:MI:SS.MS')`, and back with `to_date` and `to_timestamp`.
//!
//! | pattern | |
//! | --- | --- |
//! | `YYYY YYY YY Y`, `Y,YYY`, `IYYY IYY IY I` | year, ISO year |
//! | `MM`, `MONTH Month month`, `MON Mon mon` | month |
//! | `DD DDD D ID`, `DAY Day day`, `DY Dy dy` | day |
//! | `HH24 HH12 HH MI SS SSSS MS US FF1`…`FF6`, `AM PM A.M. P.M.` (any case) | time |
//! | `W WW IW Q CC J BC AD TZ tz TZH TZM OF` | the rest |
//!
//! `FM` before a pattern takes its padding off, `TH` or `th` behind it adds `1st`. Text in double quotes stands for itself. Patterns for
//! numbers are in number_pattern.rs.

use super::datetime::of_seconds;
use super::number_pattern;
use super::table::{Overload, Type, function};
use crate::error::{Error, Kind, Result};
use crate::types::text::calendar::{Date, MICROS_PER_DAY, MICROS_PER_HOUR, MICROS_PER_MINUTE, MICROS_PER_SECOND};
use crate::types::text::{Zone, shown_offset};
use arrow::array::{Array, ArrayRef, AsArray, Date32Array, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{IntervalMonthDayNano, IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType};
use datafusion::logical_expr::ScalarUDF;
use std::fmt::Write as _;
use std::sync::Arc;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    vec![function("to_char", &TO_CHAR), function("to_date", &TO_DATE), function("to_timestamp", &TO_TIMESTAMP)]
}

const TO_CHAR: [Overload; 7] = [
    Overload { takes: &[Type::TimestampTz, Type::Text, Type::Text], gives: Type::Text, run: timestamps_in_zone },
    Overload { takes: &[Type::TimestampTz, Type::Text], gives: Type::Text, run: |c| timestamps(c, Some(Zone::Utc)) },
    Overload { takes: &[Type::Timestamp, Type::Text], gives: Type::Text, run: |c| timestamps(c, None) },
    Overload { takes: &[Type::Interval, Type::Text], gives: Type::Text, run: intervals },
    Overload { takes: &[Type::Time, Type::Text], gives: Type::Text, run: times },
    Overload { takes: &[Type::Numeric(0), Type::Text], gives: Type::Text, run: number_pattern::numerics },
    Overload { takes: &[Type::Double, Type::Text], gives: Type::Text, run: number_pattern::doubles },
];
const TO_DATE: [Overload; 1] = [Overload { takes: &[Type::Text, Type::Text], gives: Type::Date, run: dates }];
const TO_TIMESTAMP: [Overload; 2] = [
    Overload { takes: &[Type::Double], gives: Type::TimestampTz, run: of_seconds },
    Overload { takes: &[Type::Text, Type::Text], gives: Type::TimestampTz, run: instants },
];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Piece {
    Year(usize),
    YearWithComma,
    IsoYear(usize),
    Month,
    MonthName { length: Option<usize> },
    Day,
    DayOfYear,
    Weekday,
    IsoWeekday,
    DayName { length: Option<usize> },
    Hour24,
    Hour12,
    Minute,
    Second,
    SecondOfDay,
    Fraction(usize),
    Meridian { dotted: bool },
    Era { dotted: bool },
    WeekOfMonth,
    WeekOfYear,
    IsoWeek,
    Quarter,
    Century,
    Julian,
    Zone,
    ZoneHour,
    ZoneMinute,
    Offset,
}

#[derive(Clone, Copy, PartialEq)]
enum Case {
    Upper,
    Capital,
    Lower,
}

enum Token {
    Literal(char),
    Field { piece: Piece, case: Case, padded: bool, ordinal: Option<&'static str> },
}

/// Longer patterns first, so that `YYYY` is not `Y` four times. In lower case; names look at the case that was written.
const PIECES: [(&str, Piece); 56] = [
    ("month", Piece::MonthName { length: None }),
    ("y,yyy", Piece::YearWithComma),
    ("sssss", Piece::SecondOfDay),
    ("iyyy", Piece::IsoYear(4)),
    ("yyyy", Piece::Year(4)),
    ("hh24", Piece::Hour24),
    ("hh12", Piece::Hour12),
    ("ssss", Piece::SecondOfDay),
    ("a.m.", Piece::Meridian { dotted: true }),
    ("p.m.", Piece::Meridian { dotted: true }),
    ("b.c.", Piece::Era { dotted: true }),
    ("a.d.", Piece::Era { dotted: true }),
    ("iddd", Piece::DayOfYear),
    ("iyy", Piece::IsoYear(3)),
    ("yyy", Piece::Year(3)),
    ("mon", Piece::MonthName { length: Some(3) }),
    ("day", Piece::DayName { length: None }),
    ("ddd", Piece::DayOfYear),
    ("ff1", Piece::Fraction(1)),
    ("ff2", Piece::Fraction(2)),
    ("ff3", Piece::Fraction(3)),
    ("ff4", Piece::Fraction(4)),
    ("ff5", Piece::Fraction(5)),
    ("ff6", Piece::Fraction(6)),
    ("tzh", Piece::ZoneHour),
    ("tzm", Piece::ZoneMinute),
    ("iy", Piece::IsoYear(2)),
    ("yy", Piece::Year(2)),
    ("mm", Piece::Month),
    ("dd", Piece::Day),
    ("dy", Piece::DayName { length: Some(3) }),
    ("id", Piece::IsoWeekday),
    ("hh", Piece::Hour12),
    ("mi", Piece::Minute),
    ("ss", Piece::Second),
    ("ms", Piece::Fraction(3)),
    ("us", Piece::Fraction(6)),
    ("am", Piece::Meridian { dotted: false }),
    ("pm", Piece::Meridian { dotted: false }),
    ("bc", Piece::Era { dotted: false }),
    ("ad", Piece::Era { dotted: false }),
    ("ww", Piece::WeekOfYear),
    ("iw", Piece::IsoWeek),
    ("cc", Piece::Century),
    ("tz", Piece::Zone),
    ("of", Piece::Offset),
    ("rm", Piece::Julian),
    ("y", Piece::Year(1)),
    ("i", Piece::IsoYear(1)),
    ("d", Piece::Weekday),
    ("w", Piece::WeekOfMonth),
    ("q", Piece::Quarter),
    ("j", Piece::Julian),
    ("fx", Piece::Zone),
    ("tm", Piece::Zone),
    ("sp", Piece::Zone),
];

const MONTHS: [&str; 12] = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
/// The width that names are padded to.
const NAME_WIDTH: usize = 9;

fn refused(pattern: &str) -> Error {
    Error::not_supported(format!("pattern \"{pattern}\" in a format of times is not supported"))
}

fn tokens(format: &str) -> Result<Vec<Token>> {
    let mut out = Vec::new();
    let mut rest = format;
    let mut padded = true;
    while let Some(first) = rest.chars().next() {
        if first == '"' {
            let end = rest[1..].find('"').map_or(rest.len(), |at| at + 1);
            out.extend(rest[1..end].chars().map(Token::Literal));
            rest = rest.get(end + 1..).unwrap_or("");
            continue;
        }
        if starts_with(rest, "fm") {
            padded = false;
            rest = &rest[2..];
            continue;
        }
        let Some((name, piece)) = PIECES.iter().find(|(name, _)| starts_with(rest, name)) else {
            let literal = if first == '\\' { rest[1..].chars().next() } else { None };
            rest = &rest[first.len_utf8() + literal.map_or(0, char::len_utf8)..];
            out.push(Token::Literal(literal.unwrap_or(first)));
            continue;
        };
        if matches!(*name, "rm" | "fx" | "tm" | "sp" | "iddd") {
            return Err(refused(&rest[..name.len()]));
        }
        let mut letters = rest.chars().filter(|c| c.is_alphabetic());
        let case = match (letters.next().is_some_and(char::is_uppercase), letters.next().is_some_and(char::is_uppercase)) {
            (true, true) => Case::Upper,
            (true, false) if name.len() > 1 => Case::Capital,
            _ => Case::Lower,
        };
        rest = &rest[name.len()..];
        let ordinal = [("TH", "TH"), ("th", "th")].iter().find(|(suffix, _)| rest.starts_with(suffix)).map(|(_, kind)| *kind);
        rest = &rest[ordinal.map_or(0, str::len)..];
        out.push(Token::Field { piece: *piece, case, padded, ordinal });
        padded = true;
    }
    Ok(out)
}

fn starts_with(text: &str, lower: &str) -> bool {
    text.get(..lower.len()).is_some_and(|head| head.eq_ignore_ascii_case(lower))
}

/// What a pattern can ask of a time, or of an interval.
struct Moment {
    year: i64,
    month: i64,
    day: i64,
    micros: i64,
    /// Days since 1970; an interval has none.
    days: Option<i64>,
    /// Where an instant is shown.
    zone: Option<Shown>,
}

/// A zone at an instant.
struct Shown {
    east: i32,
    zone: Zone,
    utc_micros: i64,
}

impl Moment {
    fn of_timestamp(utc_micros: i64, zone: Option<Zone>) -> Moment {
        let zone = zone.map(|zone| Shown { east: zone.offset_at(utc_micros), zone, utc_micros });
        let micros = utc_micros.saturating_add(zone.as_ref().map_or(0, |shown| i64::from(shown.east) * MICROS_PER_SECOND));
        let days = micros.div_euclid(MICROS_PER_DAY);
        let date = Date::from_days(days);
        let (month, day) = (i64::from(date.month), i64::from(date.day));
        Moment { year: date.year, month, day, micros: micros.rem_euclid(MICROS_PER_DAY), days: Some(days), zone }
    }

    fn of_interval(i: IntervalMonthDayNano) -> Moment {
        let (year, month) = (i64::from(i.months / 12), i64::from(i.months % 12));
        Moment { year, month, day: i64::from(i.days), micros: i.nanoseconds / 1000, days: None, zone: None }
    }

    /// Seconds east of Greenwich.
    fn east(&self) -> i32 {
        self.zone.as_ref().map_or(0, |shown| shown.east)
    }

    /// The year as it is written: 1 BC is 1.
    fn shown_year(&self) -> i64 {
        if self.days.is_some() && self.year <= 0 { 1 - self.year } else { self.year }
    }

    fn hour(&self) -> i64 {
        self.micros / MICROS_PER_HOUR
    }

    fn hour12(&self) -> i64 {
        match self.hour() % 12 {
            0 => 12,
            hour => hour,
        }
    }

    fn write(&self, token: &Token, out: &mut String) -> Result<()> {
        let Token::Field { piece, case, padded, ordinal } = token else {
            if let Token::Literal(c) = token {
                out.push(*c);
            }
            return Ok(());
        };
        let start = out.len();
        match piece {
            Piece::MonthName { length } if self.days.is_none() && self.month == 0 => {
                out.extend(std::iter::repeat_n(' ', if *padded && length.is_none() { NAME_WIDTH } else { 0 }));
            }
            Piece::MonthName { length } => name(MONTHS[(self.month - 1).rem_euclid(12) as usize], *length, *case, *padded, out),
            Piece::DayName { length } => name(DAYS[self.weekday()? as usize], *length, *case, *padded, out),
            Piece::Meridian { dotted } => {
                let word = if self.hour().rem_euclid(24) >= 12 { "PM" } else { "AM" };
                marker(word, *dotted, *case, out);
            }
            Piece::Era { dotted } => marker(if self.days.is_some() && self.year <= 0 { "BC" } else { "AD" }, *dotted, *case, out),
            Piece::Zone => {
                let name = self.zone.as_ref().map(|shown| shown.zone.abbreviation_at(shown.utc_micros)).unwrap_or_default();
                out.push_str(&if *case == Case::Upper { name.to_uppercase() } else { name.to_lowercase() });
            }
            Piece::Offset => out.push_str(&shown_offset(self.east())),
            Piece::ZoneHour => out.push_str(&shown_offset(self.east())[..3]),
            Piece::YearWithComma => {
                let year = self.shown_year();
                let _ = write!(out, "{},{:03}", year / 1000, year % 1000);
            }
            Piece::Fraction(digits) => {
                let micros = self.micros.rem_euclid(MICROS_PER_SECOND);
                let _ = write!(out, "{:0digits$}", micros / 10i64.pow(6 - *digits as u32));
            }
            number => {
                let (value, width) = self.number(*number)?;
                let width = if *padded { width + usize::from(value < 0) } else { 0 };
                let _ = write!(out, "{value:0width$}");
            }
        }
        if let Some(kind) = ordinal {
            let suffix = ordinal_of(&out[start..]);
            out.push_str(&if *kind == "TH" { suffix.to_uppercase() } else { suffix.to_owned() });
        }
        Ok(())
    }

    fn date(&self) -> Result<i64> {
        self.days.ok_or_else(|| {
            Error::new(Kind::InvalidDatetime, "invalid format specification for an interval value")
                .with_hint("intervals are not tied to specific calendar dates")
        })
    }

    /// 0 is Sunday.
    fn weekday(&self) -> Result<i64> {
        Ok((self.date()? + 4).rem_euclid(7))
    }

    fn day_of_year(&self) -> Result<i64> {
        Ok(self.date()? - Date { year: self.year, month: 1, day: 1 }.days() + 1)
    }

    fn thursday(&self) -> Result<i64> {
        let days = self.date()?;
        Ok(days - (days + 3).rem_euclid(7) + 3)
    }

    /// A field that is a number, and its digits.
    fn number(&self, piece: Piece) -> Result<(i64, usize)> {
        let last = |value: i64, digits: usize| if digits >= 4 { value } else { value % 10i64.pow(digits as u32) };
        Ok(match piece {
            Piece::Year(digits) => (last(self.shown_year(), digits), digits),
            Piece::IsoYear(digits) => (last(Date::from_days(self.thursday()?).year, digits), digits),
            Piece::Month => (self.month, 2),
            Piece::Day => (self.day, 2),
            Piece::DayOfYear => (self.day_of_year()?, 3),
            Piece::Weekday => (self.weekday()? + 1, 1),
            Piece::IsoWeekday => ((self.weekday()? + 6) % 7 + 1, 1),
            Piece::Hour24 => (self.hour(), 2),
            Piece::Hour12 => (self.hour12(), 2),
            Piece::Minute => (self.micros / MICROS_PER_MINUTE % 60, 2),
            Piece::Second => (self.micros / MICROS_PER_SECOND % 60, 2),
            Piece::SecondOfDay => (self.micros / MICROS_PER_SECOND, 1),
            Piece::WeekOfMonth => ((self.day - 1) / 7 + 1, 1),
            Piece::WeekOfYear => ((self.day_of_year()? - 1) / 7 + 1, 2),
            Piece::IsoWeek => {
                let thursday = self.thursday()?;
                let january = Date { year: Date::from_days(thursday).year, month: 1, day: 1 }.days();
                ((thursday - january) / 7 + 1, 2)
            }
            Piece::Quarter => ((self.month - 1).max(0) / 3 + 1, 1),
            Piece::Century => ((self.shown_year() + 99) / 100, 2),
            Piece::Julian => (self.date()? + 2_440_588, 1),
            Piece::ZoneMinute => (i64::from(self.east()).abs() / 60 % 60, 2),
            _ => (0, 2),
        })
    }
}

fn name(full: &str, length: Option<usize>, case: Case, padded: bool, out: &mut String) {
    let short = &full[..length.unwrap_or(full.len()).min(full.len())];
    let start = out.len();
    match case {
        Case::Upper => out.push_str(&short.to_uppercase()),
        Case::Capital => out.push_str(short),
        Case::Lower => out.push_str(&short.to_lowercase()),
    }
    if padded && length.is_none() {
        out.extend(std::iter::repeat_n(' ', NAME_WIDTH.saturating_sub(out.len() - start)));
    }
}

fn marker(word: &str, dotted: bool, case: Case, out: &mut String) {
    for letter in word.chars() {
        out.push(if case == Case::Lower { letter.to_ascii_lowercase() } else { letter });
        if dotted {
            out.push('.');
        }
    }
}

fn ordinal_of(digits: &str) -> &'static str {
    let (tens, ones) = (digits.bytes().rev().nth(1), digits.bytes().next_back());
    match (tens, ones) {
        (Some(b'1'), _) => "th",
        (_, Some(b'1')) => "st",
        (_, Some(b'2')) => "nd",
        (_, Some(b'3')) => "rd",
        _ => "th",
    }
}

/// Each row with its format; formats are mostly one constant, so the last one is kept.
fn written(formats: &ArrayRef, moment: impl Fn(usize) -> Moment) -> Result<ArrayRef> {
    let formats = formats.as_string::<i32>();
    let mut known: Option<(&str, Vec<Token>)> = None;
    let mut texts = Vec::with_capacity(formats.len());
    for row in 0..formats.len() {
        let format = formats.value(row);
        let tokens = match &known {
            Some((same, tokens)) if *same == format => tokens,
            _ => &known.insert((format, tokens(format)?)).1,
        };
        let (moment, mut text) = (moment(row), String::with_capacity(format.len() + 8));
        tokens.iter().try_for_each(|token| moment.write(token, &mut text))?;
        texts.push(text);
    }
    Ok(Arc::new(StringArray::from(texts)))
}

fn timestamps_in_zone(columns: &[ArrayRef]) -> Result<ArrayRef> {
    // A zone is that of a session: one for all rows.
    let zone = columns[2].as_string::<i32>().iter().flatten().next().map(Zone::parse).transpose()?;
    timestamps(columns, Some(zone.unwrap_or(Zone::Utc)))
}

fn timestamps(columns: &[ArrayRef], zone: Option<Zone>) -> Result<ArrayRef> {
    let times = columns[0].as_primitive::<TimestampMicrosecondType>();
    written(&columns[1], |row| Moment::of_timestamp(times.value(row), zone))
}

fn intervals(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let values = columns[0].as_primitive::<IntervalMonthDayNanoType>();
    written(&columns[1], |row| Moment::of_interval(values.value(row)))
}

/// A time of day is the interval since midnight.
fn times(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let values = columns[0].as_primitive::<Time64MicrosecondType>();
    written(&columns[1], |row| Moment::of_interval(IntervalMonthDayNano::new(0, 0, values.value(row) * 1000)))
}

fn dates(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let days = read(columns)?.into_iter().map(|micros| micros.div_euclid(MICROS_PER_DAY) as i32);
    Ok(Arc::new(Date32Array::from_iter_values(days)))
}

fn instants(columns: &[ArrayRef]) -> Result<ArrayRef> {
    Ok(Arc::new(TimestampMicrosecondArray::from(read(columns)?).with_timezone("UTC")))
}

fn read(columns: &[ArrayRef]) -> Result<Vec<i64>> {
    let (texts, formats) = (columns[0].as_string::<i32>(), columns[1].as_string::<i32>());
    (0..texts.len()).map(|row| read_one(texts.value(row), &tokens(formats.value(row))?)).collect()
}

/// What of a time a text has given so far.
struct Reading {
    year: i64,
    month: u32,
    day: u32,
    hour: i64,
    minute: i64,
    second: i64,
    micros: i64,
    afternoon: Option<bool>,
    day_of_year: Option<i64>,
}

fn read_one(text: &str, tokens: &[Token]) -> Result<i64> {
    let mut reading = Reading { year: 0, month: 1, day: 1, hour: 0, minute: 0, second: 0, micros: 0, afternoon: None, day_of_year: None };
    let mut rest = text;
    for (i, token) in tokens.iter().enumerate() {
        match token {
            // A separator stands for any one; letters must be skipped one by one as well.
            Token::Literal(_) => {
                let skipped = rest.chars().next().filter(|c| !c.is_ascii_digit());
                rest = &rest[skipped.map_or(0, char::len_utf8)..];
            }
            Token::Field { piece, .. } => {
                let next_is_field = matches!(tokens.get(i + 1), Some(Token::Field { .. }));
                rest = reading.take(*piece, rest.trim_start(), next_is_field, text)?;
            }
        }
    }
    reading.micros(text)
}

impl Reading {
    fn take<'t>(&mut self, piece: Piece, text: &'t str, adjacent: bool, whole: &str) -> Result<&'t str> {
        let invalid = |what: &str| Error::new(Kind::InvalidDatetime, format!("invalid value \"{}\" for \"{what}\"", text.chars().take(4).collect::<String>()));
        match piece {
            Piece::MonthName { length } => {
                let found = MONTHS.iter().position(|m| starts_with(text, &m[..length.unwrap_or(m.len())].to_lowercase()));
                let month = found.ok_or_else(|| invalid("Month"))?;
                self.month = month as u32 + 1;
                return Ok(&text[length.unwrap_or(MONTHS[month].len())..]);
            }
            Piece::DayName { .. } => return Ok(text.trim_start_matches(|c: char| c.is_alphabetic())),
            Piece::Meridian { dotted } => {
                self.afternoon = Some(starts_with(text, "p"));
                return Ok(text.get(if dotted { 4 } else { 2 }..).unwrap_or(""));
            }
            _ => {}
        }
        let width = match piece {
            Piece::Year(digits) if adjacent || digits < 4 => digits,
            Piece::Year(_) => 7,
            Piece::Fraction(digits) => digits,
            Piece::DayOfYear => 3,
            Piece::SecondOfDay => 5,
            Piece::Month | Piece::Day | Piece::Hour24 | Piece::Hour12 | Piece::Minute | Piece::Second => 2,
            _ => return Err(Error::not_supported("a pattern of this format can be written but not read").with_detail(format!("the text is \"{whole}\""))),
        };
        let end = text.bytes().take(width).take_while(u8::is_ascii_digit).count();
        let value: i64 = text[..end].parse().map_err(|_| invalid("a number"))?;
        match piece {
            // Two digits mean the year nearest to 2020, as in Postgres.
            Piece::Year(digits) if digits < 4 && end < 4 => self.year = if value < 70 { value + 2000 } else { value + 1900 },
            Piece::Year(_) => self.year = value,
            Piece::Month => self.month = value as u32,
            Piece::Day => self.day = value as u32,
            Piece::DayOfYear => self.day_of_year = Some(value),
            Piece::Hour24 | Piece::Hour12 => self.hour = value,
            Piece::Minute => self.minute = value,
            Piece::Second => self.second = value,
            Piece::SecondOfDay => (self.hour, self.minute, self.second) = (value / 3600, value / 60 % 60, value % 60),
            _ => self.micros = value * 10i64.pow(6 - end as u32),
        }
        Ok(&text[end..])
    }

    fn micros(mut self, text: &str) -> Result<i64> {
        let out_of_range = || Error::new(Kind::DatetimeOverflow, format!("date/time field value out of range: \"{text}\""));
        if let Some(afternoon) = self.afternoon {
            if !(1..=12).contains(&self.hour) {
                return Err(Error::new(Kind::InvalidDatetime, format!("hour \"{}\" is invalid for the 12-hour clock", self.hour))
                    .with_hint("Use the 24-hour clock, or give an hour between 1 and 12."));
            }
            self.hour = self.hour % 12 + if afternoon { 12 } else { 0 };
        }
        if self.hour > 23 || self.minute > 59 || self.second > 59 {
            return Err(out_of_range());
        }
        // Without a year it is 1 BC.
        let date = Date::new(self.year, self.month, self.day).ok_or_else(out_of_range)?;
        let days = match self.day_of_year {
            Some(day) => Date { year: self.year, month: 1, day: 1 }.days() + day - 1,
            None => date.days(),
        };
        let clock = self.hour * MICROS_PER_HOUR + self.minute * MICROS_PER_MINUTE + self.second * MICROS_PER_SECOND + self.micros;
        days.checked_mul(MICROS_PER_DAY).and_then(|d| d.checked_add(clock)).ok_or_else(out_of_range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::text::datetime::parse_timestamp;

    fn show(text: &str, format: &str) -> String {
        let moment = Moment::of_timestamp(parse_timestamp(text).unwrap(), None);
        let mut out = String::new();
        tokens(format).unwrap().iter().for_each(|t| moment.write(t, &mut out).unwrap());
        out
    }

    /// As PostgreSQL 15 prints them.
    #[test]
    fn patterns_print_as_in_postgres() {
        let at = "2024-03-05 14:05:06.123456";
        for (format, text) in [
            ("YYYY-MM-DD HH24:MI:SS.MS", "2024-03-05 14:05:06.123"),
            ("HH12:MI AM, hh a.m.", "02:05 PM, 02 p.m."),
            ("FMMonth FMDDth, Y,YYY", "March 5th, 2,024"),
            ("[MONTH] [Day] [dy]", "[MARCH    ] [Tuesday  ] [tue]"),
            ("US FF2 SSSS", "123456 12 50706"),
            ("IYYY-IW-ID Q J DDD WW W CC", "2024-10-2 1 2460375 065 10 1 21"),
            ("\"year\" YY \\Y", "year 24 Y"),
            ("YYYYMMDD\"T\"HH24MISS", "20240305T140506"),
        ] {
            assert_eq!(show(at, format), text, "{format}");
        }
        assert!(tokens("RM").is_err());
    }

    #[test]
    fn texts_are_read_by_the_same_patterns() {
        let read = |text: &str, format: &str| read_one(text, &tokens(format).unwrap());
        for (text, format, same) in [
            ("2024-01-05", "YYYY-MM-DD", "2024-01-05"),
            ("05 Dec 2000", "DD Mon YYYY", "2000-12-05"),
            ("20240305 140506.5", "YYYYMMDD HH24MISS.MS", "2024-03-05 14:05:06.5"),
            ("3/5/24 2 pm", "MM/DD/YY HH12 am", "2024-03-05 14:00"),
        ] {
            assert_eq!(read(text, format).unwrap(), parse_timestamp(same).unwrap(), "{format}");
        }
        assert_eq!(read("2024-13-01", "YYYY-MM-DD").unwrap_err().sqlstate(), "22008");
        assert_eq!(read("x", "YYYY").unwrap_err().sqlstate(), "22007");
    }
}
