//! Times of their parts, and bins of time: `make_date`, `make_time`, `make_interval`, `date_bin`, `OVERLAPS`.

use super::table::{Overload, Type, function};
use crate::error::{Error, Kind, Result};
use crate::types::text::calendar::{Date, MICROS_PER_DAY, MICROS_PER_HOUR, MICROS_PER_MINUTE, MICROS_PER_SECOND, days_in_month};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Date32Array, IntervalMonthDayNanoArray, Time64MicrosecondArray, TimestampMicrosecondArray};
use arrow::datatypes::{Float64Type, Int32Type, IntervalMonthDayNano, IntervalMonthDayNanoType, TimestampMicrosecondType};
use chrono::Months;
use datafusion::logical_expr::ScalarUDF;
use std::sync::Arc;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    vec![
        function("make_date", &MAKE_DATE),
        function("make_time", &MAKE_TIME),
        function("make_interval", &MAKE_INTERVAL),
        function("date_bin", &DATE_BIN),
        function("tw_overlaps", &OVERLAPS),
    ]
}

const MAKE_DATE: [Overload; 1] = [Overload { takes: &[Type::Integer, Type::Integer, Type::Integer], gives: Type::Date, run: dates }];
const MAKE_TIME: [Overload; 1] = [Overload { takes: &[Type::Integer, Type::Integer, Type::Double], gives: Type::Time, run: times }];
const MAKE_INTERVAL: [Overload; 1] = [Overload {
    takes: &[Type::Integer, Type::Integer, Type::Integer, Type::Integer, Type::Integer, Type::Integer, Type::Double],
    gives: Type::Interval,
    run: intervals,
}];
const DATE_BIN: [Overload; 2] = [
    Overload { takes: &[Type::Interval, Type::Timestamp, Type::Timestamp], gives: Type::Timestamp, run: |c| Ok(Arc::new(binned(c)?)) },
    Overload {
        takes: &[Type::Interval, Type::TimestampTz, Type::TimestampTz],
        gives: Type::TimestampTz,
        run: |c| Ok(Arc::new(binned(c)?.with_timezone("UTC"))),
    },
];
const OVERLAPS: [Overload; 8] = [
    Overload { takes: &[Type::Timestamp, Type::Timestamp, Type::Timestamp, Type::Timestamp], gives: Type::Boolean, run: overlaps },
    Overload { takes: &[Type::TimestampTz, Type::TimestampTz, Type::TimestampTz, Type::TimestampTz], gives: Type::Boolean, run: overlaps },
    Overload { takes: &[Type::Timestamp, Type::Interval, Type::Timestamp, Type::Interval], gives: Type::Boolean, run: overlaps },
    Overload { takes: &[Type::Timestamp, Type::Interval, Type::Timestamp, Type::Timestamp], gives: Type::Boolean, run: overlaps },
    Overload { takes: &[Type::Timestamp, Type::Timestamp, Type::Timestamp, Type::Interval], gives: Type::Boolean, run: overlaps },
    Overload { takes: &[Type::TimestampTz, Type::Interval, Type::TimestampTz, Type::TimestampTz], gives: Type::Boolean, run: overlaps },
    Overload { takes: &[Type::TimestampTz, Type::TimestampTz, Type::TimestampTz, Type::Interval], gives: Type::Boolean, run: overlaps },
    Overload { takes: &[Type::TimestampTz, Type::Interval, Type::TimestampTz, Type::Interval], gives: Type::Boolean, run: overlaps },
];

fn overflow(message: impl Into<String>) -> Error {
    Error::new(Kind::DatetimeOverflow, message)
}

fn integers(columns: &[ArrayRef], row: usize) -> impl Fn(usize) -> i32 + '_ {
    move |column| columns[column].as_primitive::<Int32Type>().value(row)
}

fn dates(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let made = |row: usize| {
        let part = integers(columns, row);
        let (year, month, day) = (part(0), part(1), part(2));
        // There is no year 0: -1 is the one before 1.
        let calendar = i64::from(if year < 0 { year.saturating_add(1) } else { year });
        let is_day = (1..=12).contains(&month) && day >= 1 && day.unsigned_abs() <= days_in_month(calendar, month as u32) && year != 0;
        let date = is_day.then(|| Date { year: calendar, month: month as u8, day: day as u8 }.days()).and_then(|days| i32::try_from(days).ok());
        date.ok_or_else(|| overflow(format!("date field value out of range: {year}-{month:02}-{day:02}")))
    };
    Ok(Arc::new(Date32Array::from((0..columns[0].len()).map(made).collect::<Result<Vec<_>>>()?)))
}

fn times(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let seconds = columns[2].as_primitive::<Float64Type>();
    let made = |row: usize| {
        let part = integers(columns, row);
        let (hour, minute, second) = (part(0), part(1), seconds.value(row));
        let micros = i64::from(hour) * MICROS_PER_HOUR + i64::from(minute) * MICROS_PER_MINUTE + (second * MICROS_PER_SECOND as f64).round_ties_even() as i64;
        let is_time = (0..=24).contains(&hour) && (0..60).contains(&minute) && (0.0..=60.0).contains(&second) && micros <= MICROS_PER_DAY;
        if is_time { Ok(micros) } else { Err(overflow(format!("time field value out of range: {hour}:{minute:02}:{second:02}"))) }
    };
    Ok(Arc::new(Time64MicrosecondArray::from((0..seconds.len()).map(made).collect::<Result<Vec<_>>>()?)))
}

fn intervals(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let seconds = columns[6].as_primitive::<Float64Type>();
    let made = |row: usize| {
        let out_of_range = || overflow("interval out of range");
        let part = |column: usize| i64::from(integers(columns, row)(column));
        let months = i32::try_from(part(0) * 12 + part(1)).map_err(|_| out_of_range())?;
        let days = i32::try_from(part(2) * 7 + part(3)).map_err(|_| out_of_range())?;
        let micros = (seconds.value(row) * MICROS_PER_SECOND as f64).round_ties_even();
        let micros = (micros.abs() < 9e15).then(|| micros as i64 + part(4) * MICROS_PER_HOUR + part(5) * MICROS_PER_MINUTE).ok_or_else(out_of_range)?;
        Ok(IntervalMonthDayNano::new(months, days, micros.checked_mul(1000).ok_or_else(out_of_range)?))
    };
    Ok(Arc::new(IntervalMonthDayNanoArray::from((0..seconds.len()).map(made).collect::<Result<Vec<_>>>()?)))
}

fn binned(columns: &[ArrayRef]) -> Result<TimestampMicrosecondArray> {
    let strides = columns[0].as_primitive::<IntervalMonthDayNanoType>();
    let [values, origins] = [1, 2].map(|i| columns[i].as_primitive::<TimestampMicrosecondType>());
    let bin = |row: usize| {
        let stride = strides.value(row);
        if stride.months != 0 {
            return Err(Error::not_supported("timestamps cannot be binned into intervals containing months or years").with_hint("use date_trunc()"));
        }
        let length = i64::from(stride.days).checked_mul(MICROS_PER_DAY).and_then(|days| days.checked_add(stride.nanoseconds / 1000));
        let length = length.filter(|l| *l > 0).ok_or_else(|| overflow("stride must be greater than zero"))?;
        let (value, origin) = (values.value(row), origins.value(row));
        let since = value.checked_sub(origin).ok_or_else(|| overflow("timestamp out of range"))?;
        Ok(value - since.rem_euclid(length))
    };
    Ok((0..values.len()).map(bin).collect::<Result<Vec<_>>>()?.into())
}

/// Two periods share a time; a period holds its start and not its end, unless they are one.
fn overlaps(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let period = |column: usize, row: usize| -> Result<(i64, i64)> {
        let start = columns[column].as_primitive::<TimestampMicrosecondType>().value(row);
        let end = match columns[column + 1].as_primitive_opt::<IntervalMonthDayNanoType>() {
            Some(lengths) => later(start, lengths.value(row)).ok_or_else(|| overflow("timestamp out of range"))?,
            None => columns[column + 1].as_primitive::<TimestampMicrosecondType>().value(row),
        };
        Ok((start.min(end), start.max(end)))
    };
    let shared = |row: usize| {
        let (one, other) = (period(0, row)?, period(2, row)?);
        Ok(one.0 == other.0 || if one.0 > other.0 { one.0 < other.1 } else { other.0 < one.1 })
    };
    Ok(Arc::new(BooleanArray::from((0..columns[0].len()).map(shared).collect::<Result<Vec<_>>>()?)))
}

fn later(micros: i64, length: IntervalMonthDayNano) -> Option<i64> {
    let time = chrono::DateTime::from_timestamp_micros(micros)?.naive_utc();
    let months = Months::new(length.months.unsigned_abs());
    let moved = if length.months < 0 { time.checked_sub_months(months) } else { time.checked_add_months(months) }?;
    let days = i64::from(length.days).checked_mul(MICROS_PER_DAY)?;
    moved.and_utc().timestamp_micros().checked_add(days)?.checked_add(length.nanoseconds / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Int32Array;
    use arrow::datatypes::Date32Type;

    #[test]
    fn dates_are_made_of_parts_that_are_there() {
        let date = |year: i32, month: i32, day: i32| {
            let columns = [year, month, day].map(|v| Arc::new(Int32Array::from(vec![v])) as ArrayRef);
            dates(&columns).map(|c| c.as_primitive::<Date32Type>().value(0))
        };
        assert_eq!(date(1970, 1, 2).unwrap(), 1);
        assert_eq!(date(2023, 2, 29).unwrap_err().message(), "date field value out of range: 2023-02-29");
        assert_eq!(date(0, 1, 1).unwrap_err().sqlstate(), "22008");
    }

    #[test]
    fn bins_begin_before_their_times() {
        let bin = |micros: i64, value: i64| {
            let stride = Arc::new(IntervalMonthDayNanoArray::from(vec![IntervalMonthDayNano::new(0, 0, micros * 1000)])) as ArrayRef;
            let time = |v: i64| Arc::new(TimestampMicrosecondArray::from(vec![v])) as ArrayRef;
            binned(&[stride, time(value), time(0)]).map(|c| c.value(0))
        };
        assert_eq!((bin(10, 25).unwrap(), bin(10, -5).unwrap(), bin(10, 20).unwrap()), (20, -10, 20));
        assert_eq!(bin(0, 5).unwrap_err().message(), "stride must be greater than zero");
    }
}
