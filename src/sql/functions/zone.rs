//! `AT TIME ZONE`, which is `timezone(zone, time)`: an instant becomes what a clock in the zone shows, and what a clock shows an
//! instant. A zone is a name of the IANA database, a POSIX offset (whose sign counts west, as in Postgres) or an interval (east).

use super::table::{Overload, Type, function};
use crate::error::{Error, Kind, Result};
use crate::types::text::Zone;
use crate::types::text::calendar::MICROS_PER_SECOND;
use arrow::array::{ArrayRef, AsArray, TimestampMicrosecondArray};
use arrow::datatypes::{IntervalMonthDayNanoType, TimestampMicrosecondType};
use datafusion::logical_expr::ScalarUDF;
use std::sync::Arc;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    vec![timezone()]
}

pub fn timezone() -> Arc<ScalarUDF> {
    function("timezone", &TIMEZONE)
}

const TIMEZONE: [Overload; 4] = [
    Overload { takes: &[Type::Text, Type::TimestampTz], gives: Type::Timestamp, run: to_clock },
    Overload { takes: &[Type::Text, Type::Timestamp], gives: Type::TimestampTz, run: to_instant },
    Overload { takes: &[Type::Interval, Type::TimestampTz], gives: Type::Timestamp, run: to_clock },
    Overload { takes: &[Type::Interval, Type::Timestamp], gives: Type::TimestampTz, run: to_instant },
];

fn to_clock(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let shifted = shift(columns, |zone, micros| micros.checked_add(i64::from(zone.offset_at(micros)) * MICROS_PER_SECOND))?;
    Ok(Arc::new(shifted))
}

fn to_instant(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let shifted = shift(columns, |zone, micros| micros.checked_sub(i64::from(zone.offset_at_local(micros)) * MICROS_PER_SECOND))?;
    Ok(Arc::new(shifted.with_timezone("UTC")))
}

fn shift(columns: &[ArrayRef], f: impl Fn(Zone, i64) -> Option<i64>) -> Result<TimestampMicrosecondArray> {
    let times = columns[1].as_primitive::<TimestampMicrosecondType>();
    let mut last: Option<(String, Zone)> = None;
    let mut out = Vec::with_capacity(times.len());
    for row in 0..times.len() {
        let zone = match columns[0].as_string_opt::<i32>() {
            None => east(columns[0].as_primitive::<IntervalMonthDayNanoType>().value(row))?,
            Some(names) => match &last {
                Some((name, zone)) if name == names.value(row) => *zone,
                _ => {
                    let zone = named(names.value(row))?;
                    last = Some((names.value(row).to_owned(), zone));
                    zone
                }
            },
        };
        // The two infinities stay what they are.
        let micros = times.value(row);
        let shifted = if matches!(micros, i64::MIN | i64::MAX) { Some(micros) } else { f(zone, micros) };
        out.push(shifted.ok_or_else(|| Error::new(Kind::DatetimeOverflow, "timestamp out of range"))?);
    }
    Ok(TimestampMicrosecondArray::from(out))
}

fn named(name: &str) -> Result<Zone> {
    Zone::parse(name).map_err(|_| Error::new(Kind::InvalidParameter, format!("time zone \"{name}\" not recognized")))
}

fn east(interval: arrow::datatypes::IntervalMonthDayNano) -> Result<Zone> {
    if interval.months != 0 || interval.days != 0 {
        return Err(Error::new(Kind::InvalidParameter, "interval time zone must not include months or days"));
    }
    let seconds = interval.nanoseconds / 1_000_000_000;
    i32::try_from(seconds).map(Zone::fixed).map_err(|_| Error::new(Kind::InvalidParameter, "interval time zone is out of range"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::StringArray;

    fn shifted(zone: &str, micros: i64, f: fn(&[ArrayRef]) -> Result<ArrayRef>) -> Result<i64> {
        let result = f(&[Arc::new(StringArray::from(vec![zone])), Arc::new(TimestampMicrosecondArray::from(vec![micros]))])?;
        Ok(result.as_primitive::<TimestampMicrosecondType>().value(0) / MICROS_PER_SECOND)
    }

    #[test]
    fn instants_and_clocks_are_each_others_reverse() {
        // 2024-07-01 12:00 UTC is 14:00 in Berlin.
        let noon = 1_719_835_200;
        assert_eq!(shifted("Europe/Berlin", noon * MICROS_PER_SECOND, to_clock).unwrap(), noon + 7200);
        assert_eq!(shifted("europe/berlin", (noon + 7200) * MICROS_PER_SECOND, to_instant).unwrap(), noon);
        assert_eq!(shifted("-03", noon * MICROS_PER_SECOND, to_clock).unwrap(), noon + 3 * 3600);
        assert_eq!(shifted("UTC", i64::MAX, to_clock).unwrap(), i64::MAX / MICROS_PER_SECOND);
        assert_eq!(shifted("Mars/Olympus", 0, to_clock).unwrap_err().message(), "time zone \"Mars/Olympus\" not recognized");
    }
}
