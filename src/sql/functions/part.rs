//! `extract(field FROM time)`, which is exact (numeric), and `date_part('field', time)`, which is a double.
//!
//! | field of | gives digits behind the point |
//! | --- | --- |
//! | second, epoch | 6 (epoch of a date: 0) |
//! | milliseconds | 3 |
//! | all others | 0 |
//!
//! A field that is no constant gives 6 digits, whatever it names.

use super::table::external;
use crate::error::{Error, Kind, Result};
use crate::sql::types::{TIMESTAMP, sql_type, timestamptz};
use crate::types::text::calendar::{Date, MICROS_PER_DAY, MICROS_PER_HOUR, MICROS_PER_MINUTE, MICROS_PER_SECOND};
use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, Float64Array};
use arrow::datatypes::{
    DataType, Date32Type, Field, FieldRef, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit, Time64MicrosecondType, TimeUnit,
    TimestampMicrosecondType,
};
use datafusion::common::{Result as DataFusionResult, ScalarValue};
use datafusion::logical_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use std::sync::Arc;

/// Values are computed in millionths.
const SCALE: i8 = 6;
const MILLION: i128 = 1_000_000;

#[derive(Debug, PartialEq, Eq, Hash)]
struct Part {
    exact: bool,
    signature: Signature,
}

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    [true, false].map(|exact| Arc::new(ScalarUDF::new_from_impl(Part { exact, signature: Signature::user_defined(Volatility::Immutable) }))).to_vec()
}

impl ScalarUDFImpl for Part {
    fn name(&self) -> &str {
        if self.exact { "extract" } else { "date_part" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        let time = match types {
            [_, DataType::Timestamp(_, None)] => TIMESTAMP,
            [_, DataType::Timestamp(_, Some(_)) | DataType::Null] => timestamptz(),
            [_, DataType::Date32 | DataType::Date64] => DataType::Date32,
            [_, DataType::Time32(_) | DataType::Time64(_)] => DataType::Time64(TimeUnit::Microsecond),
            [_, DataType::Interval(_) | DataType::Duration(_)] => DataType::Interval(IntervalUnit::MonthDayNano),
            _ => {
                let names: Vec<String> = types.iter().map(|t| sql_type(&Field::new("", t.clone(), true))).collect();
                let error = Error::new(Kind::UndefinedFunction, format!("function {}({}) does not exist", self.name(), names.join(", ")));
                return Err(external(error.with_hint("No function matches the given name and argument types. You might need to add explicit type casts.")));
            }
        };
        Ok(vec![DataType::Utf8, time])
    }

    fn return_type(&self, _types: &[DataType]) -> DataFusionResult<DataType> {
        Ok(if self.exact { DataType::Decimal128(38, SCALE) } else { DataType::Float64 })
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs) -> DataFusionResult<FieldRef> {
        let time = arguments.arg_fields.get(1).map(|f| f.data_type());
        let scale = match arguments.scalar_arguments.first().copied().flatten() {
            Some(ScalarValue::Utf8(Some(name))) => scale(&name.to_lowercase(), time == Some(&DataType::Date32)),
            _ => SCALE,
        };
        let data_type = if self.exact { DataType::Decimal128(if scale == 0 { 19 } else { 25 }, scale) } else { DataType::Float64 };
        Ok(Arc::new(Field::new(self.name(), data_type, true)))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let rows = arguments.number_rows;
        let (names, times) = (arguments.args[0].to_array(rows)?, arguments.args[1].to_array(rows)?);
        let values = parts(&names, &times).map_err(external)?;
        let DataType::Decimal128(precision, scale) = arguments.return_field.data_type() else {
            let doubles: Float64Array = values.iter().map(|v| v.map(|v| v as f64 / MILLION as f64)).collect();
            return Ok(ColumnarValue::Array(Arc::new(doubles)));
        };
        let unit = 10i128.pow((SCALE - scale) as u32);
        let numerics: Decimal128Array = values.iter().map(|v| v.map(|v| v / unit)).collect();
        Ok(ColumnarValue::Array(Arc::new(numerics.with_precision_and_scale(*precision, *scale)?)))
    }
}

fn scale(name: &str, of_date: bool) -> i8 {
    match name {
        "epoch" if of_date => 0,
        "second" | "seconds" | "epoch" => SCALE,
        "millisecond" | "milliseconds" => 3,
        _ => 0,
    }
}

/// The fields in millionths.
fn parts(names: &ArrayRef, times: &ArrayRef) -> Result<Vec<Option<i128>>> {
    let names = names.as_string::<i32>();
    let type_name = sql_type(&Field::new("", times.data_type().clone(), true));
    let each = |row: usize| -> Result<Option<i128>> {
        if names.is_null(row) || times.is_null(row) {
            return Ok(None);
        }
        let name = names.value(row).to_lowercase();
        let value = match times.data_type() {
            DataType::Timestamp(_, zone) => of_timestamp(&name, times.as_primitive::<TimestampMicrosecondType>().value(row), zone.is_some()),
            DataType::Date32 => of_date(&name, i64::from(times.as_primitive::<Date32Type>().value(row))),
            DataType::Time64(_) => of_time(&name, times.as_primitive::<Time64MicrosecondType>().value(row)),
            _ => of_interval(&name, times.as_primitive::<IntervalMonthDayNanoType>().value(row)),
        };
        let known = is_field(&name);
        value.map(Some).ok_or_else(|| match known {
            true => Error::not_supported(format!("unit \"{name}\" not supported for type {type_name}")),
            false => Error::new(Kind::InvalidParameter, format!("unit \"{name}\" not recognized for type {type_name}")),
        })
    };
    (0..names.len()).map(each).collect()
}

fn is_field(name: &str) -> bool {
    let probe = of_timestamp(name, 0, true);
    probe.is_some()
}

fn of_timestamp(name: &str, micros: i64, zoned: bool) -> Option<i128> {
    match name {
        "epoch" => Some(i128::from(micros)),
        "timezone" | "timezone_hour" | "timezone_minute" => zoned.then_some(0),
        _ => of_day(name, micros.div_euclid(MICROS_PER_DAY)).or_else(|| of_time(name, micros.rem_euclid(MICROS_PER_DAY))),
    }
}

fn of_date(name: &str, days: i64) -> Option<i128> {
    match name {
        "epoch" => Some(i128::from(days) * 86_400 * MILLION),
        _ => of_day(name, days),
    }
}

fn of_day(name: &str, days: i64) -> Option<i128> {
    let date = Date::from_days(days);
    // There is no year 0.
    let year = if date.year > 0 { date.year } else { date.year - 1 };
    let periods = |length: i64| if year > 0 { (year + length - 1) / length } else { -((-year + length - 1) / length) };
    let iso_weekday = (days + 3).rem_euclid(7) + 1;
    let thursday = days - iso_weekday + 4;
    let iso_year = Date::from_days(thursday).year;
    let january = |year: i64| Date { year, month: 1, day: 1 }.days();
    let value = match name {
        "year" | "years" => year,
        "month" | "months" => i64::from(date.month),
        "day" | "days" => i64::from(date.day),
        "quarter" => i64::from(date.month - 1) / 3 + 1,
        "decade" | "decades" => date.year.div_euclid(10),
        "century" | "centuries" => periods(100),
        "millennium" | "millenniums" => periods(1000),
        "dow" => iso_weekday % 7,
        "isodow" => iso_weekday,
        "doy" => days - january(date.year) + 1,
        "week" | "weeks" => (thursday - january(iso_year)) / 7 + 1,
        "isoyear" => {
            if iso_year > 0 {
                iso_year
            } else {
                iso_year - 1
            }
        }
        "julian" => days + 2_440_588,
        _ => return None,
    };
    Some(i128::from(value) * MILLION)
}

fn of_time(name: &str, micros: i64) -> Option<i128> {
    let whole = |value: i64| Some(i128::from(value) * MILLION);
    match name {
        "hour" | "hours" => whole(micros / MICROS_PER_HOUR),
        "minute" | "minutes" => whole(micros / MICROS_PER_MINUTE % 60),
        "second" | "seconds" => Some(i128::from(micros % MICROS_PER_MINUTE)),
        "millisecond" | "milliseconds" => Some(i128::from(micros % MICROS_PER_MINUTE) * 1000),
        "microsecond" | "microseconds" => whole(micros % MICROS_PER_MINUTE),
        "epoch" => Some(i128::from(micros)),
        _ => None,
    }
}

fn of_interval(name: &str, interval: IntervalMonthDayNano) -> Option<i128> {
    let (years, months) = (i64::from(interval.months / 12), i64::from(interval.months % 12));
    let micros = interval.nanoseconds / 1000;
    let value = match name {
        // A year is 365.25 days here and a month 30, as in Postgres.
        "epoch" => {
            let quarter_days = i128::from(years) * 1461 + (i128::from(months) * 30 + i128::from(interval.days)) * 4;
            return Some(quarter_days * i128::from(MICROS_PER_DAY / 4) + i128::from(micros));
        }
        "year" | "years" => years,
        "month" | "months" => months,
        "day" | "days" => i64::from(interval.days),
        "quarter" => months / 3 + 1,
        "decade" | "decades" => years / 10,
        "century" | "centuries" => years / 100,
        "millennium" | "millenniums" => years / 1000,
        "hour" | "hours" => micros / MICROS_PER_HOUR,
        _ => return of_time(name, micros % MICROS_PER_HOUR),
    };
    Some(i128::from(value) * MILLION)
}

const _: () = assert!(MICROS_PER_SECOND as i128 == MILLION);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_days_and_clocks() {
        let days = Date { year: 2024, month: 12, day: 30 }.days();
        let whole = |name: &str| of_day(name, days).map(|v| v / MILLION);
        assert_eq!((whole("week"), whole("isoyear"), whole("year")), (Some(1), Some(2025), Some(2024)));
        assert_eq!((whole("dow"), whole("isodow"), whole("doy")), (Some(1), Some(1), Some(365)));
        assert_eq!((whole("century"), whole("millennium"), whole("quarter")), (Some(21), Some(3), Some(4)));
        assert_eq!(of_time("milliseconds", 61_500_000), Some(1_500_000_000));
        assert_eq!(of_timestamp("hour", -1, false), Some(23 * MILLION));
        assert_eq!(of_timestamp("timezone", 0, false), None);
    }

    #[test]
    fn an_interval_counts_its_own_units() {
        let interval = IntervalMonthDayNano::new(14, 3, 25 * 3_600_000_000_000 + 1_500_000_000);
        assert_eq!(of_interval("hour", interval), Some(25 * MILLION));
        assert_eq!(of_interval("month", interval), Some(2 * MILLION));
        assert_eq!(of_interval("epoch", IntervalMonthDayNano::new(12, 0, 0)), Some(31_557_600 * MILLION));
        assert_eq!(of_interval("dow", interval), None);
    }
}
