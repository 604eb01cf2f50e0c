//! Times made, cut and compared: `date_trunc`, `to_timestamp(seconds)`, `make_timestamp`, `age`, `justify_*`, `isfinite`.

use super::table::{Overload, Type, function};
use crate::error::{Error, Kind, Result};
use crate::types::text::Zone;
use crate::types::text::calendar::{Date, MICROS_PER_DAY, MICROS_PER_HOUR, MICROS_PER_MINUTE, MICROS_PER_SECOND, days_in_month};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, IntervalMonthDayNanoArray, TimestampMicrosecondArray};
use arrow::datatypes::{Date32Type, Float64Type, Int32Type, IntervalMonthDayNano, IntervalMonthDayNanoType, TimestampMicrosecondType};
use datafusion::logical_expr::ScalarUDF;
use std::sync::Arc;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    vec![
        date_trunc(),
        function("make_timestamp", &MAKE_TIMESTAMP),
        function("age", &AGE),
        function("justify_hours", &JUSTIFY_HOURS),
        function("justify_days", &JUSTIFY_DAYS),
        function("justify_interval", &JUSTIFY_INTERVAL),
        function("isfinite", &IS_FINITE),
    ]
}

pub fn date_trunc() -> Arc<ScalarUDF> {
    function("date_trunc", &DATE_TRUNC)
}

const DATE_TRUNC: [Overload; 4] = [
    Overload { takes: &[Type::Text, Type::TimestampTz], gives: Type::TimestampTz, run: |c| Ok(Arc::new(truncated(c, Zone::Utc)?.with_timezone("UTC"))) },
    Overload { takes: &[Type::Text, Type::Timestamp], gives: Type::Timestamp, run: |c| Ok(Arc::new(truncated(c, Zone::Utc)?)) },
    Overload { takes: &[Type::Text, Type::TimestampTz, Type::Text], gives: Type::TimestampTz, run: truncated_in_zone },
    Overload { takes: &[Type::Text, Type::Interval], gives: Type::Interval, run: truncated_intervals },
];
const MAKE_TIMESTAMP: [Overload; 1] = [Overload {
    takes: &[Type::Integer, Type::Integer, Type::Integer, Type::Integer, Type::Integer, Type::Double],
    gives: Type::Timestamp,
    run: make_timestamp,
}];
const AGE: [Overload; 2] = [
    Overload { takes: &[Type::TimestampTz, Type::TimestampTz], gives: Type::Interval, run: ages },
    Overload { takes: &[Type::Timestamp, Type::Timestamp], gives: Type::Interval, run: ages },
];
const JUSTIFY_HOURS: [Overload; 1] =
    [Overload { takes: &[Type::Interval], gives: Type::Interval, run: |c| map(c, |i| narrow(days_aligned(hours_to_days(i)))) }];
const JUSTIFY_DAYS: [Overload; 1] =
    [Overload { takes: &[Type::Interval], gives: Type::Interval, run: |c| map(c, |i| narrow(months_aligned(days_to_months(i)))) }];
const JUSTIFY_INTERVAL: [Overload; 1] =
    [Overload { takes: &[Type::Interval], gives: Type::Interval, run: |c| map(c, |i| narrow(days_aligned(months_aligned(days_to_months(hours_to_days(i)))))) }];
const IS_FINITE: [Overload; 4] = [
    Overload { takes: &[Type::TimestampTz], gives: Type::Boolean, run: finite_timestamps },
    Overload { takes: &[Type::Timestamp], gives: Type::Boolean, run: finite_timestamps },
    Overload { takes: &[Type::Date], gives: Type::Boolean, run: finite_dates },
    Overload { takes: &[Type::Interval], gives: Type::Boolean, run: |c| Ok(Arc::new(BooleanArray::from(vec![true; c[0].len()]))) },
];

fn out_of_range() -> Error {
    Error::new(Kind::DatetimeOverflow, "timestamp out of range")
}

fn interval_out_of_range() -> Error {
    Error::new(Kind::DatetimeOverflow, "interval out of range")
}

/// `seconds` since 1970 as an instant.
pub(super) fn of_seconds(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let instants = columns[0].as_primitive::<Float64Type>().iter().map(|seconds| {
        let micros = (seconds.unwrap_or_default() * MICROS_PER_SECOND as f64).round_ties_even();
        if seconds.is_some_and(f64::is_nan) {
            return Err(Error::new(Kind::DatetimeOverflow, "timestamp cannot be NaN"));
        }
        if (-9.2e18..9.2e18).contains(&micros) { Ok(micros as i64) } else { Err(out_of_range()) }
    });
    Ok(Arc::new(TimestampMicrosecondArray::from(instants.collect::<Result<Vec<_>>>()?).with_timezone("UTC")))
}

/// What `date_trunc` cuts to, as microseconds of a day or as a run of months.
enum Unit {
    Micros(i64),
    Week,
    Months(i64),
}

fn unit(name: &str, type_name: &str) -> Result<Unit> {
    Ok(match name.to_lowercase().as_str() {
        "microsecond" | "microseconds" => Unit::Micros(1),
        "millisecond" | "milliseconds" => Unit::Micros(1000),
        "second" | "seconds" => Unit::Micros(MICROS_PER_SECOND),
        "minute" | "minutes" => Unit::Micros(MICROS_PER_MINUTE),
        "hour" | "hours" => Unit::Micros(MICROS_PER_HOUR),
        "day" | "days" => Unit::Micros(MICROS_PER_DAY),
        "week" | "weeks" => Unit::Week,
        "month" | "months" => Unit::Months(1),
        "quarter" => Unit::Months(3),
        "year" | "years" => Unit::Months(12),
        "decade" | "decades" => Unit::Months(120),
        "century" | "centuries" => Unit::Months(1200),
        "millennium" | "millenniums" => Unit::Months(12_000),
        other => return Err(Error::new(Kind::InvalidParameter, format!("unit \"{other}\" not recognized for type {type_name}"))),
    })
}

fn truncated(columns: &[ArrayRef], zone: Zone) -> Result<TimestampMicrosecondArray> {
    let (names, times) = (columns[0].as_string::<i32>(), columns[1].as_primitive::<TimestampMicrosecondType>());
    let type_name = if times.timezone().is_some() { "timestamp with time zone" } else { "timestamp without time zone" };
    let cut = (0..times.len()).map(|row| truncate(&unit(names.value(row), type_name)?, times.value(row), zone));
    Ok(TimestampMicrosecondArray::from(cut.collect::<Result<Vec<_>>>()?))
}

fn truncated_in_zone(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let zones = columns[2].as_string::<i32>();
    let mut cut = Vec::with_capacity(zones.len());
    for row in 0..zones.len() {
        let zone =
            Zone::parse(zones.value(row)).map_err(|_| Error::new(Kind::InvalidParameter, format!("time zone \"{}\" not recognized", zones.value(row))))?;
        let one = [columns[0].slice(row, 1), columns[1].slice(row, 1)];
        cut.push(truncated(&one, zone)?.value(0));
    }
    Ok(Arc::new(TimestampMicrosecondArray::from(cut).with_timezone("UTC")))
}

fn truncate(unit: &Unit, micros: i64, zone: Zone) -> Result<i64> {
    if matches!(micros, i64::MIN | i64::MAX) {
        return Ok(micros);
    }
    let local = micros.checked_add(i64::from(zone.offset_at(micros)) * MICROS_PER_SECOND).ok_or_else(out_of_range)?;
    let cut = match unit {
        Unit::Micros(length) => local.checked_sub(local.rem_euclid(*length)),
        Unit::Week => {
            let days = local.div_euclid(MICROS_PER_DAY);
            (days - (days + 3).rem_euclid(7)).checked_mul(MICROS_PER_DAY)
        }
        Unit::Months(length) => first_of(Date::from_days(local.div_euclid(MICROS_PER_DAY)), *length).days().checked_mul(MICROS_PER_DAY),
    };
    let cut = cut.ok_or_else(out_of_range)?;
    cut.checked_sub(i64::from(zone.offset_at_local(cut)) * MICROS_PER_SECOND).ok_or_else(out_of_range)
}

/// The first day of the run of months that holds `date`. Centuries and millennia begin with their year 1.
fn first_of(date: Date, months: i64) -> Date {
    let shift = if months >= 1200 { 1 } else { 0 };
    let month = (date.year - shift) * 12 + i64::from(date.month) - 1;
    let first = month - month.rem_euclid(months);
    Date { year: first.div_euclid(12) + shift, month: first.rem_euclid(12) as u8 + 1, day: 1 }
}

fn truncated_intervals(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let (names, intervals) = (columns[0].as_string::<i32>(), columns[1].as_primitive::<IntervalMonthDayNanoType>());
    let cut = (0..intervals.len()).map(|row| {
        let i = intervals.value(row);
        Ok(match unit(names.value(row), "interval")? {
            Unit::Micros(MICROS_PER_DAY) => IntervalMonthDayNano::new(i.months, i.days, 0),
            Unit::Micros(length) => IntervalMonthDayNano::new(i.months, i.days, i.nanoseconds - i.nanoseconds % (length * 1000)),
            Unit::Week => return Err(Error::not_supported("unit \"week\" not supported for type interval")),
            Unit::Months(length) => IntervalMonthDayNano::new(i.months - (i64::from(i.months) % length) as i32, 0, 0),
        })
    });
    Ok(Arc::new(IntervalMonthDayNanoArray::from(cut.collect::<Result<Vec<_>>>()?)))
}

fn make_timestamp(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let part = |i: usize, row: usize| columns[i].as_primitive::<Int32Type>().value(row);
    let seconds = columns[5].as_primitive::<Float64Type>();
    let made = (0..seconds.len()).map(|row| {
        let [year, month, day, hour, minute] = [0, 1, 2, 3, 4].map(|i| part(i, row));
        let out_of_range = |text: String| Error::new(Kind::DatetimeOverflow, format!("{text} field value out of range"));
        let date = u32::try_from(month).ok().zip(u32::try_from(day).ok()).and_then(|(m, d)| Date::new(i64::from(year), m, d));
        let date = date.filter(|_| year > 0).ok_or_else(|| out_of_range(format!("date {year}-{month:02}-{day:02}")))?;
        let second = seconds.value(row);
        let valid = (0..24).contains(&hour) && (0..60).contains(&minute) && (0.0..=60.0).contains(&second) || (hour, minute, second) == (24, 0, 0.0);
        if !valid {
            return Err(out_of_range(format!("time {hour}:{minute:02}:{second:02}")));
        }
        let clock = i64::from(hour) * MICROS_PER_HOUR + i64::from(minute) * MICROS_PER_MINUTE + (second * 1e6).round_ties_even() as i64;
        date.days().checked_mul(MICROS_PER_DAY).and_then(|d| d.checked_add(clock)).ok_or_else(self::out_of_range)
    });
    Ok(Arc::new(TimestampMicrosecondArray::from(made.collect::<Result<Vec<_>>>()?)))
}

fn ages(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let (later, earlier) = (columns[0].as_primitive::<TimestampMicrosecondType>(), columns[1].as_primitive::<TimestampMicrosecondType>());
    let ages = (0..later.len()).map(|row| age(later.value(row), earlier.value(row)));
    Ok(Arc::new(IntervalMonthDayNanoArray::from(ages.collect::<Result<Vec<_>>>()?)))
}

/// Years, months, days and time between two clocks: a whole month leads to the same day of another month.
fn age(later: i64, earlier: i64) -> Result<IntervalMonthDayNano> {
    if later < earlier {
        let i = age(earlier, later)?;
        return Ok(IntervalMonthDayNano::new(-i.months, -i.days, -i.nanoseconds));
    }
    let split = |micros: i64| (Date::from_days(micros.div_euclid(MICROS_PER_DAY)), micros.rem_euclid(MICROS_PER_DAY));
    let ((to, to_time), (from, from_time)) = (split(later), split(earlier));
    let mut time = to_time - from_time;
    let mut days = i64::from(to.day) - i64::from(from.day);
    let mut months = (to.year - from.year) * 12 + i64::from(to.month) - i64::from(from.month);
    if time < 0 {
        time += MICROS_PER_DAY;
        days -= 1;
    }
    if days < 0 {
        // A month is as long as the one that the earlier clock stands in.
        days += i64::from(days_in_month(from.year, u32::from(from.month)));
        months -= 1;
    }
    let months = i32::try_from(months).map_err(|_| interval_out_of_range())?;
    Ok(IntervalMonthDayNano::new(months, days as i32, time * 1000))
}

fn map(columns: &[ArrayRef], f: fn(Wide) -> Result<IntervalMonthDayNano>) -> Result<ArrayRef> {
    let intervals = columns[0].as_primitive::<IntervalMonthDayNanoType>();
    let mapped = intervals.iter().flatten().map(|i| f(Wide { months: i64::from(i.months), days: i64::from(i.days), nanoseconds: i.nanoseconds }));
    Ok(Arc::new(IntervalMonthDayNanoArray::from(mapped.collect::<Result<Vec<_>>>()?)))
}

/// An interval with room for what is carried.
#[derive(Clone, Copy)]
struct Wide {
    months: i64,
    days: i64,
    nanoseconds: i64,
}

const NANOS_PER_DAY: i64 = MICROS_PER_DAY * 1000;

fn hours_to_days(i: Wide) -> Wide {
    Wide { days: i.days + i.nanoseconds / NANOS_PER_DAY, nanoseconds: i.nanoseconds % NANOS_PER_DAY, ..i }
}

fn days_to_months(i: Wide) -> Wide {
    Wide { months: i.months + i.days / 30, days: i.days % 30, ..i }
}

/// Months and what is below them get one sign.
fn months_aligned(i: Wide) -> Wide {
    let below = if i.days == 0 { i.nanoseconds.signum() } else { i.days.signum() };
    match (i.months.signum(), below) {
        (1, -1) => Wide { months: i.months - 1, days: i.days + 30, ..i },
        (-1, 1) => Wide { months: i.months + 1, days: i.days - 30, ..i },
        _ => i,
    }
}

/// Days and time get one sign.
fn days_aligned(i: Wide) -> Wide {
    match (i.days.signum(), i.nanoseconds.signum()) {
        (1, -1) => Wide { days: i.days - 1, nanoseconds: i.nanoseconds + NANOS_PER_DAY, ..i },
        (-1, 1) => Wide { days: i.days + 1, nanoseconds: i.nanoseconds - NANOS_PER_DAY, ..i },
        _ => i,
    }
}

fn narrow(i: Wide) -> Result<IntervalMonthDayNano> {
    let narrow = |v: i64| i32::try_from(v).map_err(|_| interval_out_of_range());
    Ok(IntervalMonthDayNano::new(narrow(i.months)?, narrow(i.days)?, i.nanoseconds))
}

fn finite_timestamps(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let times = columns[0].as_primitive::<TimestampMicrosecondType>();
    Ok(Arc::new(times.values().iter().map(|t| Some(!matches!(*t, i64::MIN | i64::MAX))).collect::<BooleanArray>()))
}

fn finite_dates(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let dates = columns[0].as_primitive::<Date32Type>();
    Ok(Arc::new(dates.values().iter().map(|d| Some(!matches!(*d, i32::MIN | i32::MAX))).collect::<BooleanArray>()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::text::datetime::parse_timestamp;
    use crate::types::text::interval::write_interval;

    fn cut(name: &str, text: &str) -> i64 {
        truncate(&unit(name, "timestamp").unwrap(), parse_timestamp(text).unwrap(), Zone::Utc).unwrap()
    }

    #[test]
    fn times_are_cut_to_the_start_of_their_unit() {
        for (name, start) in [
            ("hour", "2024-08-15 13:00"),
            ("week", "2024-08-12"),
            ("month", "2024-08-01"),
            ("quarter", "2024-07-01"),
            ("year", "2024-01-01"),
            ("decade", "2020-01-01"),
            ("century", "2001-01-01"),
            ("millennium", "2001-01-01"),
        ] {
            assert_eq!(cut(name, "2024-08-15 13:14:15.5"), parse_timestamp(start).unwrap(), "{name}");
        }
        assert_eq!(cut("day", "1969-12-31 23:00"), -MICROS_PER_DAY);
        assert!(unit("fortnight", "timestamp").is_err());
    }

    #[test]
    fn an_age_counts_months_to_the_same_day() {
        let text = |later: &str, earlier: &str| {
            let mut out = Vec::new();
            write_interval(age(parse_timestamp(later).unwrap(), parse_timestamp(earlier).unwrap()).unwrap(), &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(text("2024-03-01", "2023-01-15"), "1 year 1 mon 17 days");
        assert_eq!(text("2024-03-01 10:00", "2024-02-29 12:00"), "22:00:00");
        assert_eq!(text("2023-01-15", "2024-03-01"), "-1 years -1 mons -17 days");
    }
}
