//! The axis of a RANGE frame: the values of the one ORDER BY column as integers that rise in the order of the rows, and how far along it a
//! distance leads. Numbers are at the column's scale, times are microseconds, doubles are their bits in an order that sorts them.
//! What would leave the type ends at the type's end, as PostgreSQL has it.

use super::frame::Distance;
use crate::error::{Error, Result};
use crate::types::float::Float;
use crate::types::text::calendar::{Date, MICROS_PER_DAY, days_in_month};
use arrow::array::{ArrayRef, ArrowPrimitiveType, AsArray, Decimal128Array, Float32Array, Float64Array, PrimitiveArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Date32Type, Decimal128Type, Float64Type, Int16Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use std::sync::Arc;

/// Where a distance leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Towards {
    Start,
    End,
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    data_type: DataType,
    descending: bool,
}

impl Axis {
    /// `None`: values of this type have no distance.
    pub fn new(data_type: &DataType, descending: bool) -> Option<Axis> {
        use DataType as D;
        let measured = match data_type {
            D::Int16 | D::Int32 | D::Int64 | D::Decimal128(..) | D::Float32 | D::Float64 | D::Date32 => true,
            D::Timestamp(unit, _) => *unit == TimeUnit::Microsecond,
            _ => false,
        };
        measured.then(|| Axis { data_type: data_type.clone(), descending })
    }

    pub fn values(&self, column: &ArrayRef) -> Result<Vec<Option<i128>>> {
        let sign = |v: i128| if self.descending { -v } else { v };
        let numbers = |column: &ArrayRef| -> Result<Vec<Option<i128>>> {
            let column = cast(column, &DataType::Int64)?;
            Ok(column.as_primitive::<Int64Type>().iter().map(|v| v.map(|v| sign(v.into()))).collect())
        };
        match column.data_type() {
            DataType::Int16 | DataType::Int32 | DataType::Int64 | DataType::Timestamp(..) => numbers(column),
            DataType::Decimal128(..) => Ok(column.as_primitive::<Decimal128Type>().iter().map(|v| v.map(sign)).collect()),
            DataType::Date32 => Ok(column.as_primitive::<Date32Type>().iter().map(|v| v.map(|v| sign(i128::from(v) * i128::from(MICROS_PER_DAY)))).collect()),
            DataType::Float32 | DataType::Float64 => {
                let column = cast(column, &DataType::Float64)?;
                Ok(column.as_primitive::<Float64Type>().iter().map(|v| v.map(|v| sign(of_real(v)))).collect())
            }
            other => Err(Error::internal(format!("a RANGE frame over {other}"))),
        }
    }

    /// The place that is `far` away from `value`.
    pub fn moved(&self, value: i128, far: Distance, towards: Towards) -> i128 {
        let (value, adds) = if self.descending { (-value, towards == Towards::Start) } else { (value, towards == Towards::End) };
        let moved = match far {
            Distance::Number(n) => value.saturating_add(if adds { n } else { -n }),
            Distance::Real(x) => of_real(if adds { to_real(value) + x } else { to_real(value) - x }),
            Distance::Interval { months, micros } => time(value, i64::from(months) * if adds { 1 } else { -1 }, i128::from(micros) * if adds { 1 } else { -1 }),
            Distance::Count(_) => value,
        };
        if self.descending { moved.saturating_neg() } else { moved }
    }

    /// An upper bound of how far apart two values are of which one is within `far` of the other; `None`: not known.
    pub fn span(&self, far: Distance) -> Option<i128> {
        match far {
            Distance::Number(n) => Some(n),
            // A month is at most 31 days, and going there and back loses up to 3.
            Distance::Interval { months, micros } => {
                let days = if months == 0 { 0 } else { i128::from(months.unsigned_abs()) * 31 + 3 };
                Some(days * i128::from(MICROS_PER_DAY) + i128::from(micros.unsigned_abs()))
            }
            Distance::Real(_) | Distance::Count(_) => None,
        }
    }

    /// The column's value at `value`, or the nearest one further `towards`; at the type's end where there is none.
    pub fn column(&self, value: i128, towards: Towards) -> Result<ArrayRef> {
        let up = (towards == Towards::End) != self.descending;
        let value = if self.descending { value.saturating_neg() } else { value };
        Ok(match &self.data_type {
            DataType::Int16 => clamped::<Int16Type>(value, i16::MIN.into(), i16::MAX.into(), |v| v as i16),
            DataType::Int32 => clamped::<Int32Type>(value, i32::MIN.into(), i32::MAX.into(), |v| v as i32),
            DataType::Int64 => clamped::<Int64Type>(value, i64::MIN.into(), i64::MAX.into(), |v| v as i64),
            DataType::Timestamp(_, zone) => {
                let time = PrimitiveArray::<TimestampMicrosecondType>::from(vec![value.clamp(i64::MIN.into(), i64::MAX.into()) as i64]);
                Arc::new(time.with_timezone_opt(zone.clone()))
            }
            DataType::Date32 => {
                let day = i128::from(MICROS_PER_DAY);
                let days = value.div_euclid(day) + i128::from(up && value.rem_euclid(day) != 0);
                clamped::<Date32Type>(days, i32::MIN.into(), i32::MAX.into(), |v| v as i32)
            }
            DataType::Decimal128(precision, scale) => {
                let most = 10i128.checked_pow((*precision).into()).map_or(i128::MAX, |p| p - 1);
                Arc::new(Decimal128Array::from(vec![value.clamp(-most, most)]).with_precision_and_scale(*precision, *scale)?)
            }
            DataType::Float32 => Arc::new(Float32Array::from(vec![to_real(value) as f32])),
            _ => Arc::new(Float64Array::from(vec![to_real(value)])),
        })
    }
}

fn clamped<T: ArrowPrimitiveType>(value: i128, least: i128, most: i128, narrow: impl Fn(i128) -> T::Native) -> ArrayRef {
    Arc::new(PrimitiveArray::<T>::from_iter_values([narrow(value.clamp(least, most))]))
}

/// Doubles as integers in their order: -0 is 0, every NaN the one that is greatest.
fn of_real(value: f64) -> i128 {
    ordered(value.canonical().to_bits() as i64).into()
}

fn to_real(value: i128) -> f64 {
    f64::from_bits(ordered(value.clamp(i64::MIN.into(), i64::MAX.into()) as i64) as u64)
}

/// Its own inverse.
fn ordered(bits: i64) -> i64 {
    bits ^ ((bits >> 63) as u64 >> 1) as i64
}

/// A time with months added, to the last day of a month where it has no such day, then the rest.
fn time(micros: i128, months: i64, rest: i128) -> i128 {
    if months == 0 {
        return micros.saturating_add(rest);
    }
    let day = i128::from(MICROS_PER_DAY);
    let (days, of_day) = (micros.div_euclid(day), micros.rem_euclid(day));
    let end = if months > 0 { i128::MAX / 4 } else { i128::MIN / 4 };
    let Ok(days) = i64::try_from(days) else { return end };
    let date = Date::from_days(days);
    let month = date.year * 12 + i64::from(date.month) - 1 + months;
    let (year, month) = (month.div_euclid(12), month.rem_euclid(12) as u32 + 1);
    match Date::new(year, month, u32::from(date.day).min(days_in_month(year, month))) {
        Some(date) => (i128::from(date.days()) * day + of_day).saturating_add(rest),
        None => end,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Array;

    #[test]
    fn doubles_keep_their_order_and_come_back() {
        let rising = [f64::NEG_INFINITY, -1e300, -1.5, -0.0, 1e-300, 2.0, f64::INFINITY, f64::NAN];
        let places = rising.map(of_real);
        assert!(places.is_sorted(), "{places:?}");
        assert_eq!(of_real(-0.0), of_real(0.0));
        assert_eq!(of_real(-f64::NAN), of_real(f64::NAN));
        assert_eq!(to_real(of_real(-1.5)), -1.5);
    }

    #[test]
    fn months_end_at_the_last_day_and_descending_turns_around() {
        let at = |year, month, day| i128::from(Date::new(year, month, day).unwrap().days() * MICROS_PER_DAY);
        let month = Distance::Interval { months: 1, micros: 0 };
        let rising = Axis::new(&DataType::Date32, false).unwrap();
        assert_eq!(rising.moved(at(2024, 3, 31), month, Towards::Start), at(2024, 2, 29));
        let falling = Axis::new(&DataType::Date32, true).unwrap();
        assert_eq!(falling.moved(-at(2024, 1, 31), month, Towards::Start), -at(2024, 2, 29));
        assert_eq!(Axis::new(&DataType::Utf8, false).map(|a| a.descending), None);
    }

    #[test]
    fn what_leaves_the_type_ends_there() {
        let axis = Axis::new(&DataType::Int16, false).unwrap();
        let far = axis.moved(32_000, Distance::Number(i64::MAX.into()), Towards::End);
        assert_eq!(axis.column(far, Towards::End).unwrap().as_primitive::<Int16Type>().value(0), i16::MAX);
        let time = Axis::new(&DataType::Timestamp(TimeUnit::Microsecond, None), false).unwrap();
        let end = time.moved(0, Distance::Interval { months: i32::MAX, micros: 0 }, Towards::End);
        assert_eq!(time.column(end, Towards::End).unwrap().len(), 1);
    }
}
