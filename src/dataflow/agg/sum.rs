//! sum and avg of integers and numerics: exact integer sums at the argument's scale, and the count of values that are not NULL.
//! A retraction subtracts. Sums are 128 bits wide where no realistic number of rows can overflow that, otherwise 256.

use super::accumulator::{Accumulator, Results, Touched, Update, grow, out_of_range};
use super::bytes::{Reader, put_integer};
use crate::error::{Error, Kind, Result};
use crate::state::keyed::Slot;
use crate::state::multiset::Multiset;
use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, Decimal256Array, Float64Array, Int64Array};
use arrow::datatypes::{DataType, Decimal128Type, Decimal256Type, Int16Type, Int32Type, Int64Type, i256};
use std::sync::Arc;

/// What becomes of a sum and a count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Sum,
    Average,
}

/// An integer wide enough for a sum.
pub trait Total: Copy + Default + Send {
    /// `self + value * times`.
    fn plus(self, value: Self, times: i64) -> Self;
    fn narrow(value: i128) -> Self;
    fn wide(self) -> i256;
    fn from_wide(value: i256) -> Self;
    fn store(self, out: &mut Vec<u8>);
    fn load(reader: &mut Reader<'_>) -> Result<Self>;
}

impl Total for i128 {
    fn plus(self, value: i128, times: i64) -> i128 {
        self.wrapping_add(if times == 1 { value } else { value.wrapping_mul(i128::from(times)) })
    }

    fn narrow(value: i128) -> i128 {
        value
    }

    fn wide(self) -> i256 {
        i256::from_i128(self)
    }

    fn from_wide(value: i256) -> i128 {
        value.as_i128()
    }

    fn store(self, out: &mut Vec<u8>) {
        put_integer(out, self);
    }

    fn load(reader: &mut Reader<'_>) -> Result<i128> {
        reader.integer()
    }
}

impl Total for i256 {
    fn plus(self, value: i256, times: i64) -> i256 {
        match times {
            1 => self.wrapping_add(value),
            -1 => self.wrapping_sub(value),
            _ => self.wrapping_add(value.wrapping_mul(i256::from_i128(i128::from(times)))),
        }
    }

    fn narrow(value: i128) -> i256 {
        i256::from_i128(value)
    }

    fn wide(self) -> i256 {
        self
    }

    fn from_wide(value: i256) -> i256 {
        value
    }

    fn store(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_le_bytes());
    }

    fn load(reader: &mut Reader<'_>) -> Result<i256> {
        Ok(i256::from_le_bytes(reader.array()?))
    }
}

/// See the module.
pub struct Sum<T> {
    outcome: Outcome,
    /// Of the argument.
    scale: i8,
    output: DataType,
    counts: Vec<i64>,
    sums: Vec<T>,
}

/// The accumulator for an integer or numeric argument; `None` for others.
pub fn sum_of(outcome: Outcome, argument: &DataType, output: &DataType) -> Option<Box<dyn Accumulator>> {
    let scale = match argument {
        DataType::Int16 | DataType::Int32 | DataType::Int64 => 0,
        DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) => *scale,
        _ => return None,
    };
    if !matches!(output, DataType::Int64 | DataType::Float64 | DataType::Decimal128(..) | DataType::Decimal256(..)) {
        return None;
    }
    // 10^27 * 10^11 rows fit into 127 bits.
    let wide = matches!(argument, DataType::Decimal128(28.., _) | DataType::Decimal256(..));
    let output = output.clone();
    Some(match wide {
        true => Box::new(Sum::<i256> { outcome, scale, output, counts: Vec::new(), sums: Vec::new() }),
        false => Box::new(Sum::<i128> { outcome, scale, output, counts: Vec::new(), sums: Vec::new() }),
    })
}

impl<T: Total> Sum<T> {
    fn add(&mut self, rows: &Update<'_>, column: &ArrayRef, value: impl Fn(usize) -> T) {
        let (counts, sums) = (&mut self.counts, &mut self.sums);
        rows.each_valid(column, |i, slot, weight| {
            counts[slot] += weight;
            sums[slot] = sums[slot].plus(value(i), weight);
        });
    }

    /// The result at the output's scale; `None` for NULL.
    fn exact(&self, slot: Slot, scale: i8) -> Result<Option<i256>> {
        let (count, sum) = (self.counts[slot as usize], self.sums[slot as usize].wide());
        if count == 0 {
            return Ok(None);
        }
        if self.outcome == Outcome::Sum && self.scale == scale {
            return Ok(Some(sum));
        }
        let divisor = if self.outcome == Outcome::Average { count } else { 1 };
        rescale(sum, self.scale, scale, divisor).map(Some).ok_or_else(|| out_of_range("numeric"))
    }

    /// Results through `convert`, which tells when a value does not fit the output.
    fn collect<V>(&self, groups: &Touched<'_>, scale: i8, convert: impl Fn(i256) -> Result<V>) -> (Vec<Option<V>>, Vec<(u32, Error)>) {
        let mut bad = Vec::new();
        let value = |(i, slot): (usize, &Slot)| match self.exact(*slot, scale).and_then(|v| v.map(&convert).transpose()) {
            Ok(value) => value,
            Err(error) => {
                bad.push((i as u32, error));
                None
            }
        };
        (groups.slots.iter().enumerate().map(value).collect(), bad)
    }

    fn doubles(&self, groups: &Touched<'_>) -> Float64Array {
        let unit = 10f64.powi(i32::from(self.scale));
        let value = |slot: &Slot| {
            let (count, sum) = (self.counts[*slot as usize], to_f64(self.sums[*slot as usize].wide()) / unit);
            (count != 0).then_some(if self.outcome == Outcome::Average { sum / count as f64 } else { sum })
        };
        groups.slots.iter().map(value).collect()
    }
}

impl<T: Total> Accumulator for Sum<T> {
    fn load(&mut self, slot: Slot, stored: Option<&mut Reader<'_>>) -> Result<()> {
        let (count, sum) = match stored {
            None => (0, T::default()),
            Some(reader) => (reader.i64()?, T::load(reader)?),
        };
        *grow(&mut self.counts, slot) = count;
        *grow(&mut self.sums, slot) = sum;
        Ok(())
    }

    fn store(&self, slot: Slot, out: &mut Vec<u8>) {
        put_integer(out, i128::from(self.counts[slot as usize]));
        self.sums[slot as usize].store(out);
    }

    fn update(&mut self, rows: &Update<'_>, columns: &[ArrayRef], _table: Option<&mut Multiset>) -> Result<()> {
        let column = &columns[0];
        match column.data_type() {
            DataType::Int16 => {
                let values = column.as_primitive::<Int16Type>().values();
                self.add(rows, column, |i| T::narrow(i128::from(values[i])));
            }
            DataType::Int32 => {
                let values = column.as_primitive::<Int32Type>().values();
                self.add(rows, column, |i| T::narrow(i128::from(values[i])));
            }
            DataType::Int64 => {
                let values = column.as_primitive::<Int64Type>().values();
                self.add(rows, column, |i| T::narrow(i128::from(values[i])));
            }
            DataType::Decimal128(..) => {
                let values = column.as_primitive::<Decimal128Type>().values();
                self.add(rows, column, |i| T::narrow(values[i]));
            }
            DataType::Decimal256(..) => {
                let values = column.as_primitive::<Decimal256Type>().values();
                self.add(rows, column, |i| T::from_wide(values[i]));
            }
            other => return Err(Error::internal(format!("sum of a {other} column"))),
        }
        Ok(())
    }

    fn result(&mut self, groups: &Touched<'_>, _table: Option<&mut Multiset>) -> Result<Results> {
        let (values, bad): (ArrayRef, _) = match &self.output {
            DataType::Int64 => {
                let narrow = |v: i256| v.to_i128().and_then(|v| i64::try_from(v).ok()).ok_or_else(|| out_of_range("bigint"));
                let (values, bad) = self.collect(groups, 0, narrow);
                (Arc::new(Int64Array::from(values)), bad)
            }
            DataType::Decimal128(precision, scale) => {
                let limit = 10i128.pow(u32::from(*precision));
                let fits = |v: i256| v.to_i128().filter(|v| v.unsigned_abs() < limit.unsigned_abs()).ok_or_else(|| overflow(*precision, *scale));
                let (values, bad) = self.collect(groups, *scale, fits);
                (Arc::new(Decimal128Array::from(values).with_precision_and_scale(*precision, *scale)?), bad)
            }
            DataType::Decimal256(precision, scale) => {
                let limit = i256::from_i128(10).wrapping_pow(u32::from(*precision));
                let fits = |v: i256| Some(v).filter(|v| v.wrapping_abs() < limit).ok_or_else(|| overflow(*precision, *scale));
                let (values, bad) = self.collect(groups, *scale, fits);
                (Arc::new(Decimal256Array::from(values).with_precision_and_scale(*precision, *scale)?), bad)
            }
            _ => (Arc::new(self.doubles(groups)), Vec::new()),
        };
        Ok(Results { values, bad })
    }
}

/// `value / 10^from * 10^to / divisor`, rounded half away from zero as Postgres rounds numerics; `None` if it overflows 256 bits.
pub fn rescale(value: i256, from: i8, to: i8, divisor: i64) -> Option<i256> {
    let shift = to.checked_sub(from)?;
    if let Some(small) = value.to_i128().and_then(|v| rescale_small(v, shift, divisor)) {
        return Some(i256::from_i128(small));
    }
    let power = i256::from_i128(10).checked_pow(shift.unsigned_abs().into())?;
    let divisor = i256::from_i128(i128::from(divisor));
    let (numerator, denominator) = if shift >= 0 { (value.checked_mul(power)?, divisor) } else { (value, divisor.checked_mul(power)?) };
    let (quotient, rest) = (numerator.checked_div(denominator)?, numerator.checked_rem(denominator)?);
    let up = rest.wrapping_abs() >= denominator.wrapping_abs().wrapping_sub(rest.wrapping_abs());
    let away = if numerator.is_negative() == denominator.is_negative() { i256::ONE } else { i256::MINUS_ONE };
    Some(if up && rest != i256::ZERO { quotient.wrapping_add(away) } else { quotient })
}

/// The same where 128 bits are enough, as they nearly always are.
fn rescale_small(value: i128, shift: i8, divisor: i64) -> Option<i128> {
    let power = 10i128.checked_pow(shift.unsigned_abs().into())?;
    let divisor = i128::from(divisor);
    let (numerator, denominator) = if shift >= 0 { (value.checked_mul(power)?, divisor) } else { (value, divisor.checked_mul(power)?) };
    let (quotient, rest) = (numerator.checked_div(denominator)?, numerator.checked_rem(denominator)?);
    let up = rest != 0 && rest.unsigned_abs() >= denominator.unsigned_abs() - rest.unsigned_abs();
    let away = if (numerator < 0) == (denominator < 0) { 1 } else { -1 };
    quotient.checked_add(if up { away } else { 0 })
}

/// The nearest double, within a unit in the last place.
pub fn to_f64(value: i256) -> f64 {
    match value.to_i128() {
        Some(small) => small as f64,
        None => {
            let (low, high) = value.to_parts();
            (high as f64) * 2f64.powi(128) + low as f64
        }
    }
}

fn overflow(precision: u8, scale: i8) -> Error {
    Error::new(Kind::NumericOutOfRange, "numeric field overflow").with_detail(format!(
        "a result with precision {precision}, scale {scale} must be less than 10^{} in magnitude",
        i32::from(precision) - i32::from(scale)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_half_away_from_zero_on_both_paths() {
        let wide = i256::from_i128(i128::MAX).wrapping_mul(i256::from_i128(1000));
        assert_eq!(rescale(i256::from_i128(7), 0, 0, 2), Some(i256::from_i128(4)));
        assert_eq!(rescale(i256::from_i128(-7), 0, 0, 2), Some(i256::from_i128(-4)));
        assert_eq!(rescale(i256::from_i128(10), 0, 4, 3), Some(i256::from_i128(33333)));
        assert_eq!(rescale(i256::from_i128(149), 2, 0, 1), Some(i256::from_i128(1)));
        assert_eq!(rescale(i256::from_i128(-150), 2, 0, 1), Some(i256::from_i128(-2)));
        assert_eq!(rescale(wide, 3, 0, 1), Some(i256::from_i128(i128::MAX)));
        assert_eq!(rescale(i256::MAX, 0, 10, 1), None);
    }
}
