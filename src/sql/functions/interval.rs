//! Intervals: `interval * number`, `interval / number`, `-interval`, and the order of intervals, in which a month is 30 days and a
//! day 24 hours.

use super::table::{Overload, Type, function};
use crate::error::{Error, Kind, Result};
use arrow::array::{ArrayRef, AsArray, Decimal128Array, IntervalMonthDayNanoArray};
use arrow::datatypes::{Float64Type, IntervalMonthDayNano, IntervalMonthDayNanoType};
use datafusion::logical_expr::ScalarUDF;
use std::sync::Arc;

const MULTIPLY: [Overload; 1] = [Overload { takes: &[Type::Interval, Type::Double], gives: Type::Interval, run: |c| scaled(c, Ok) }];
const DIVIDE: [Overload; 1] = [Overload { takes: &[Type::Interval, Type::Double], gives: Type::Interval, run: |c| scaled(c, reciprocal_of) }];
const NEGATE: [Overload; 1] = [Overload { takes: &[Type::Interval], gives: Type::Interval, run: negated }];
const ORDER: [Overload; 1] = [Overload { takes: &[Type::Interval], gives: Type::Numeric(0), run: ordered }];

const NANOS_PER_DAY: i128 = 86_400_000_000_000;
const DAYS_PER_MONTH: f64 = 30.0;
const SECONDS_PER_DAY: f64 = 86_400.0;

pub fn multiply() -> Arc<ScalarUDF> {
    function("tw_interval_multiply", &MULTIPLY)
}

pub fn divide() -> Arc<ScalarUDF> {
    function("tw_interval_divide", &DIVIDE)
}

pub fn negate() -> Arc<ScalarUDF> {
    function("tw_interval_negate", &NEGATE)
}

/// A number that orders as the interval does.
pub fn order() -> Arc<ScalarUDF> {
    function("tw_interval_order", &ORDER)
}

fn out_of_range() -> Error {
    Error::new(Kind::DatetimeOverflow, "interval out of range")
}

fn reciprocal_of(divisor: f64) -> Result<f64> {
    if divisor == 0.0 { Err(Error::new(Kind::DivisionByZero, "division by zero")) } else { Ok(1.0 / divisor) }
}

fn scaled(columns: &[ArrayRef], factor: fn(f64) -> Result<f64>) -> Result<ArrayRef> {
    let (intervals, numbers) = (columns[0].as_primitive::<IntervalMonthDayNanoType>(), columns[1].as_primitive::<Float64Type>());
    let products = (0..intervals.len()).map(|row| scale(intervals.value(row), factor(numbers.value(row))?));
    Ok(Arc::new(IntervalMonthDayNanoArray::from(products.collect::<Result<Vec<_>>>()?)))
}

/// Each field by itself; what is left of a month goes to the days, what is left of a day to the time.
fn scale(interval: IntervalMonthDayNano, factor: f64) -> Result<IntervalMonthDayNano> {
    let to_micros = |v: f64| (v * 1e6).round_ties_even() / 1e6;
    let whole = |v: f64| if v.is_finite() && v.abs() < f64::from(i32::MAX) { Ok(v.trunc() as i32) } else { Err(out_of_range()) };
    let (months, days) = (f64::from(interval.months) * factor, f64::from(interval.days) * factor);
    let (whole_months, mut whole_days) = (whole(months)?, whole(days)?);
    let days_of_months = to_micros((months - f64::from(whole_months)) * DAYS_PER_MONTH);
    let mut seconds = to_micros((days - f64::from(whole_days) + days_of_months - days_of_months.trunc()) * SECONDS_PER_DAY);
    if seconds.abs() >= SECONDS_PER_DAY {
        whole_days = whole_days.checked_add(whole(seconds / SECONDS_PER_DAY)?).ok_or_else(out_of_range)?;
        seconds %= SECONDS_PER_DAY;
    }
    whole_days = whole_days.checked_add(whole(days_of_months)?).ok_or_else(out_of_range)?;
    let micros = (interval.nanoseconds as f64 / 1000.0 * factor + seconds * 1e6).round_ties_even();
    if !(-9.2e15..9.2e15).contains(&micros) {
        return Err(out_of_range());
    }
    Ok(IntervalMonthDayNano::new(whole_months, whole_days, micros as i64 * 1000))
}

fn negated(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let negated = columns[0].as_primitive::<IntervalMonthDayNanoType>().values().iter().map(|i| {
        let fields = i.months.checked_neg().zip(i.days.checked_neg()).zip(i.nanoseconds.checked_neg());
        fields.map(|((months, days), nanoseconds)| IntervalMonthDayNano::new(months, days, nanoseconds)).ok_or_else(out_of_range)
    });
    Ok(Arc::new(IntervalMonthDayNanoArray::from(negated.collect::<Result<Vec<_>>>()?)))
}

fn ordered(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let key = |i: &IntervalMonthDayNano| (i128::from(i.months) * 30 + i128::from(i.days)) * NANOS_PER_DAY + i128::from(i.nanoseconds);
    let keys: Decimal128Array = columns[0].as_primitive::<IntervalMonthDayNanoType>().values().iter().map(|i| Some(key(i))).collect();
    Ok(Arc::new(keys.with_precision_and_scale(38, 0)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::text::interval::{parse_interval, write_interval};

    fn product(text: &str, factor: f64) -> String {
        let mut out = Vec::new();
        write_interval(scale(parse_interval(text).unwrap(), factor).unwrap(), &mut out);
        String::from_utf8(out).unwrap()
    }

    /// As PostgreSQL 15 prints them.
    #[test]
    fn what_is_left_of_a_field_goes_to_the_next() {
        assert_eq!(product("1 day", 2.0), "2 days");
        assert_eq!(product("1 hour", 0.5), "00:30:00");
        assert_eq!(product("1 mon", 0.5), "15 days");
        assert_eq!(product("1 year 1 mon", 1.5), "1 year 7 mons 15 days");
        assert_eq!(product("1 day", 0.1), "02:24:00");
        assert_eq!(product("-1 day", 1.5), "-1 days -12:00:00");
        assert!(scale(parse_interval("1 year").unwrap(), 1e10).is_err());
        assert!(reciprocal_of(0.0).is_err());
    }

    #[test]
    fn a_month_is_as_long_as_thirty_days() {
        let of = |text: &str| {
            let column: ArrayRef = Arc::new(IntervalMonthDayNanoArray::from(vec![parse_interval(text).unwrap()]));
            ordered(&[column]).unwrap().as_primitive::<arrow::datatypes::Decimal128Type>().value(0)
        };
        assert_eq!(of("1 month"), of("30 days"));
        assert!(of("1 day") > of("23 hours"));
        assert_eq!(of("1 day"), of("24 hours"));
    }
}
