//! Intervals: months, days and a time, which never turn into each other (a month has no fixed number of days).
//!
//! Output is IntervalStyle `postgres`. Input takes the same form, the verbose one (`@ 1 day 2 hours ago`), ISO 8601
//! (`P1Y2M3DT4H5M6.7S`) and the SQL standard's (`1-2`, `3 4:05:06`). A fraction of a unit spills into the smaller
//! ones as in Postgres: half a month is 15 days, half a day is 12 hours. Arrow counts nanoseconds, Postgres
//! microseconds: what is finer is cut off when printed.

use super::calendar::{MICROS_PER_DAY, MICROS_PER_HOUR, MICROS_PER_MINUTE, MICROS_PER_SECOND};
use super::datetime::{fraction_micros, parse_clock, write_fraction, write_two};
use super::number::write_integer;
use super::{invalid_syntax, trim};
use crate::error::{Error, Kind, Result};
use arrow::datatypes::IntervalMonthDayNano;

pub fn write_interval(value: IntervalMonthDayNano, out: &mut Vec<u8>) {
    let micros = value.nanoseconds / 1000;
    let mut printer = Printer { out, empty: true, after_negative: false };
    printer.unit((value.months / 12) as i64, "year");
    printer.unit((value.months % 12) as i64, "mon");
    printer.unit(value.days as i64, "day");
    printer.clock(micros);
}

struct Printer<'a> {
    out: &'a mut Vec<u8>,
    empty: bool,
    /// A positive field behind a negative one carries its sign, or it would read as negative too.
    after_negative: bool,
}

impl Printer<'_> {
    fn unit(&mut self, value: i64, name: &str) {
        if value == 0 {
            return;
        }
        self.blank();
        if self.after_negative && value > 0 {
            self.out.push(b'+');
        }
        write_integer(value, self.out);
        self.out.push(b' ');
        self.out.extend_from_slice(name.as_bytes());
        if value != 1 {
            self.out.push(b's');
        }
        self.after_negative = value < 0;
    }

    fn clock(&mut self, micros: i64) {
        if micros == 0 && !self.empty {
            return;
        }
        self.blank();
        if micros < 0 {
            self.out.push(b'-');
        } else if self.after_negative {
            self.out.push(b'+');
        }
        let micros = micros.unsigned_abs();
        let hours = micros / MICROS_PER_HOUR as u64;
        if hours < 10 {
            self.out.push(b'0');
        }
        write_integer(hours, self.out);
        self.out.push(b':');
        write_two((micros / MICROS_PER_MINUTE as u64 % 60) as u8, self.out);
        self.out.push(b':');
        write_two((micros / MICROS_PER_SECOND as u64 % 60) as u8, self.out);
        write_fraction((micros % MICROS_PER_SECOND as u64) as u32, self.out);
    }

    fn blank(&mut self) {
        if !self.empty {
            self.out.push(b' ');
        }
        self.empty = false;
    }
}

pub fn parse_interval(text: &str) -> Result<IntervalMonthDayNano> {
    let bare = trim(text);
    let invalid = || invalid_syntax(Kind::InvalidDatetime, "interval", text);
    if bare.is_empty() || bare.len() > 200 {
        return Err(invalid());
    }
    let mut sum = Sum::default();
    let known = match bare.strip_prefix('P') {
        Some(iso) => sum.iso(iso).unwrap_or(false),
        None => sum.words(bare, text)?,
    };
    if !known {
        return Err(invalid());
    }
    sum.finish().ok_or_else(|| Error::new(Kind::IntervalOverflow, format!("interval field value out of range: \"{text}\"")))
}

/// Fields as they add up; i128 so that no sum of the few that fit into a text overflows.
#[derive(Default)]
struct Sum {
    months: i128,
    days: i128,
    micros: i128,
}

#[derive(Clone, Copy, PartialEq)]
enum Unit {
    Months(i64),
    Days(i64),
    Micros(i64),
}

impl Unit {
    fn parse(word: &str) -> Option<Unit> {
        let lower = word.to_ascii_lowercase();
        Some(match lower.as_str() {
            "us" | "usec" | "usecs" | "usecond" | "useconds" | "microsecond" | "microseconds" => Unit::Micros(1),
            "ms" | "msec" | "msecs" | "msecond" | "mseconds" | "millisecond" | "milliseconds" => Unit::Micros(1000),
            "s" | "sec" | "secs" | "second" | "seconds" => Unit::Micros(MICROS_PER_SECOND),
            "m" | "min" | "mins" | "minute" | "minutes" => Unit::Micros(MICROS_PER_MINUTE),
            "h" | "hr" | "hrs" | "hour" | "hours" => Unit::Micros(MICROS_PER_HOUR),
            "d" | "day" | "days" => Unit::Days(1),
            "w" | "week" | "weeks" => Unit::Days(7),
            "mon" | "mons" | "month" | "months" => Unit::Months(1),
            "y" | "yr" | "yrs" | "year" | "years" => Unit::Months(12),
            "dec" | "decs" | "decade" | "decades" => Unit::Months(120),
            "c" | "cent" | "century" | "centuries" => Unit::Months(1200),
            "mil" | "mils" | "millennium" | "millennia" => Unit::Months(12_000),
            _ => return None,
        })
    }
}

/// A number with its fraction in millionths, both carrying the sign.
#[derive(Clone, Copy)]
struct Quantity {
    whole: i128,
    millionths: i128,
}

impl Quantity {
    fn parse(text: &str) -> Option<Quantity> {
        let (negative, digits) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        if whole.len() > 18 || whole.len() + fraction.len() == 0 || !whole.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        let millionths = fraction_micros(fraction)? as i128;
        Some(if negative { Quantity { whole: -whole, millionths: -millionths } } else { Quantity { whole, millionths } })
    }
}

impl Sum {
    fn add(&mut self, quantity: Quantity, unit: Unit) {
        const MILLION: i128 = 1_000_000;
        match unit {
            Unit::Micros(each) => self.micros += quantity.whole * each as i128 + quantity.millionths * each as i128 / MILLION,
            Unit::Days(each) => {
                self.days += quantity.whole * each as i128;
                self.add_part_of_days(quantity.millionths * each as i128);
            }
            Unit::Months(each) => {
                let part = quantity.millionths * each as i128;
                self.months += quantity.whole * each as i128 + part / MILLION;
                // Only a fraction of a month itself spills into days; one of a year is whole months, as in Postgres.
                if each == 1 {
                    self.add_part_of_days(part % MILLION * 30);
                }
            }
        }
    }

    fn add_part_of_days(&mut self, millionths: i128) {
        self.days += millionths / 1_000_000;
        self.micros += millionths % 1_000_000 * MICROS_PER_DAY as i128 / 1_000_000;
    }

    /// The verbose, postgres and SQL standard forms.
    fn words(&mut self, bare: &str, text: &str) -> Result<bool> {
        let mut pending: Option<Quantity> = None;
        let mut ago = false;
        for word in split_words(bare.strip_prefix('@').unwrap_or(bare)) {
            if ago {
                return Ok(false);
            }
            if word.eq_ignore_ascii_case("ago") {
                ago = true;
            } else if let Some(unit) = Unit::parse(word) {
                let Some(quantity) = pending.take() else { return Ok(false) };
                self.add(quantity, unit);
            } else if word.contains(':') {
                if let Some(days) = pending.take() {
                    self.add(days, Unit::Days(1));
                }
                let Some(micros) = signed_clock(word, text)? else { return Ok(false) };
                self.micros += micros;
            } else if let Some(months) = years_and_months(word) {
                self.months += months;
            } else if let Some(quantity) = Quantity::parse(word) {
                if pending.replace(quantity).is_some() {
                    return Ok(false);
                }
            } else {
                return Ok(false);
            }
        }
        if let Some(seconds) = pending {
            self.add(seconds, Unit::Micros(MICROS_PER_SECOND));
        }
        if ago {
            (self.months, self.days, self.micros) = (-self.months, -self.days, -self.micros);
        }
        Ok(true)
    }

    /// What follows the `P` of ISO 8601 with designators.
    fn iso(&mut self, text: &str) -> Option<bool> {
        let (date, time) = text.split_once('T').map_or((text, None), |(date, time)| (date, Some(time)));
        if date.is_empty() && time.is_none_or(str::is_empty) {
            return None;
        }
        self.iso_fields(date, &[('Y', Unit::Months(12)), ('M', Unit::Months(1)), ('W', Unit::Days(7)), ('D', Unit::Days(1))])?;
        let clock = [('H', Unit::Micros(MICROS_PER_HOUR)), ('M', Unit::Micros(MICROS_PER_MINUTE)), ('S', Unit::Micros(MICROS_PER_SECOND))];
        self.iso_fields(time.unwrap_or(""), &clock)?;
        Some(true)
    }

    fn iso_fields(&mut self, mut text: &str, units: &[(char, Unit)]) -> Option<()> {
        while !text.is_empty() {
            let end = text.find(|c: char| c.is_ascii_alphabetic())?;
            let quantity = Quantity::parse(&text[..end])?;
            let unit = units.iter().find(|(letter, _)| text[end..].starts_with(*letter))?.1;
            self.add(quantity, unit);
            text = &text[end + 1..];
        }
        Some(())
    }

    fn finish(self) -> Option<IntervalMonthDayNano> {
        let nanos = self.micros.checked_mul(1000)?;
        Some(IntervalMonthDayNano::new(self.months.try_into().ok()?, self.days.try_into().ok()?, nanos.try_into().ok()?))
    }
}

/// Words apart at blanks, and where a number meets its unit (`5min`).
fn split_words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c.is_ascii_whitespace() || c == ',').filter(|w| !w.is_empty()).flat_map(|word| {
        let at = word.find(|c: char| c.is_ascii_alphabetic()).filter(|at| *at > 0).unwrap_or(word.len());
        let (number, unit) = word.split_at(at);
        [number, unit].into_iter().filter(|w| !w.is_empty())
    })
}

/// `[+-]hh:mm[:ss[.f]]`, where hours may be many.
fn signed_clock(word: &str, text: &str) -> Result<Option<i128>> {
    let (sign, clock) = match word.as_bytes().first() {
        Some(b'-') => (-1, &word[1..]),
        Some(b'+') => (1, &word[1..]),
        _ => (1, word),
    };
    let Some((hours, rest)) = clock.split_once(':') else { return Ok(None) };
    let Some(hours) = Quantity::parse(hours).filter(|q| q.millionths == 0 && q.whole >= 0) else { return Ok(None) };
    let Some(micros) = parse_clock(&format!("0:{rest}"), text)? else { return Ok(None) };
    Ok(Some(sign * (hours.whole * MICROS_PER_HOUR as i128 + micros as i128)))
}

/// `1-2`: a year and two months.
fn years_and_months(word: &str) -> Option<i128> {
    let (sign, digits) = match word.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, word.strip_prefix('+').unwrap_or(word)),
    };
    let (years, months) = digits.split_once('-')?;
    let (years, months) = (Quantity::parse(years)?, Quantity::parse(months)?);
    let plain = years.millionths == 0 && months.millionths == 0 && (0..12).contains(&months.whole) && !digits.contains(['+', '.']);
    plain.then_some(sign * (years.whole * 12 + months.whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(text: &str) -> String {
        match parse_interval(text) {
            Ok(value) => {
                let mut out = Vec::new();
                write_interval(value, &mut out);
                String::from_utf8(out).unwrap()
            }
            Err(e) => format!("{} {}", e.sqlstate(), e.message()),
        }
    }

    #[test]
    fn every_form_reads_and_prints_in_the_postgres_style() {
        let cases = [
            ("1 year 2 mons 3 days 04:05:06.789", "1 year 2 mons 3 days 04:05:06.789"),
            ("0", "00:00:00"),
            ("1 day", "1 day"),
            ("-1 days", "-1 days"),
            ("-1 mons +2 days", "-1 mons +2 days"),
            ("1 day -04:05:06", "1 day -04:05:06"),
            ("-1 day 04:05:06", "-1 days +04:05:06"),
            ("@ 1 day 2 hours ago", "-1 days -02:00:00"),
            ("P1Y2M3DT4H5M6.7S", "1 year 2 mons 3 days 04:05:06.7"),
            ("PT36H", "36:00:00"),
            ("P2W", "14 days"),
            ("1-2", "1 year 2 mons"),
            ("3 4:05:06", "3 days 04:05:06"),
            ("1.5 days", "1 day 12:00:00"),
            ("1.5 months", "1 mon 15 days"),
            ("1.5 years", "1 year 6 mons"),
            ("90 seconds", "00:01:30"),
            ("1500 ms", "00:00:01.5"),
            ("5min", "00:05:00"),
            ("2 weeks", "14 days"),
            ("100:00:00", "100:00:00"),
            ("1 hour 30 minutes", "01:30:00"),
            ("30", "00:00:30"),
            ("14 months", "1 year 2 mons"),
            ("-14 months", "-1 years -2 mons"),
            ("abc", "22007 invalid input syntax for type interval: \"abc\""),
            ("", "22007 invalid input syntax for type interval: \"\""),
            ("P", "22007 invalid input syntax for type interval: \"P\""),
            ("1 2 days", "22007 invalid input syntax for type interval: \"1 2 days\""),
            ("days", "22007 invalid input syntax for type interval: \"days\""),
            ("9999999999 years", "22015 interval field value out of range: \"9999999999 years\""),
        ];
        for (text, expected) in cases {
            assert_eq!(round(text), expected, "{text}");
        }
    }

    #[test]
    fn strange_texts_do_not_panic() {
        for text in ["Pé", "é", "-", "--", "1-", "-1-", ":", "1:", "P1", "PT", "1é", "P1é", "@", "ago", "999999999999999999 millennia", "1-2-3", "1.", "."]
        {
            round(text);
        }
        let mut out = Vec::new();
        write_interval(IntervalMonthDayNano::new(i32::MIN, i32::MIN, i64::MIN), &mut out);
        write_interval(IntervalMonthDayNano::new(i32::MAX, i32::MAX, i64::MAX), &mut out);
    }
}
