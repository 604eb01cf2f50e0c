//! Variances and standard deviations, sound under retraction: the sums of x and of x² are kept exactly, so taking a value back
//! leaves no trace, and the difference n·Σx² − (Σx)² is formed before anything is rounded. (Numerics are read as doubles.)

use super::accumulator::{Accumulator, Results, Touched, Update, grow};
use super::bytes::{Reader, put_integer};
use super::exact::ExactSum;
use super::regression::difference;
use super::sum::to_f64;
use crate::error::{Error, Result};
use crate::state::keyed::Slot;
use crate::state::multiset::Multiset;
use arrow::array::{Array, ArrayRef, AsArray, Float64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type, i256};
use std::sync::Arc;

/// Which statistic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    VariancePopulation,
    VarianceSample,
    DeviationPopulation,
    DeviationSample,
}

impl Spread {
    /// From n and n·Σx² − (Σx)²; `None` where Postgres gives NULL.
    fn of(self, count: i64, difference: f64) -> Option<f64> {
        let n = count as f64;
        let divisor = match self {
            Spread::VariancePopulation | Spread::DeviationPopulation => n,
            Spread::VarianceSample | Spread::DeviationSample => n - 1.0,
        };
        if divisor <= 0.0 {
            return None;
        }
        let variance = if difference < 0.0 { 0.0 } else { difference / n / divisor };
        Some(match self {
            Spread::VariancePopulation | Spread::VarianceSample => variance,
            Spread::DeviationPopulation | Spread::DeviationSample => variance.sqrt(),
        })
    }
}

/// Of integers.
pub struct IntegerSpread {
    spread: Spread,
    output: DataType,
    /// Count, Σx, Σx².
    sums: Vec<(i64, i128, i256)>,
}

impl IntegerSpread {
    pub fn new(spread: Spread, output: DataType) -> Self {
        IntegerSpread { spread, output, sums: Vec::new() }
    }
}

impl Accumulator for IntegerSpread {
    fn load(&mut self, slot: Slot, stored: Option<&mut Reader<'_>>) -> Result<()> {
        *grow(&mut self.sums, slot) = match stored {
            None => Default::default(),
            Some(reader) => (reader.i64()?, reader.integer()?, i256::from_le_bytes(reader.array()?)),
        };
        Ok(())
    }

    fn store(&self, slot: Slot, out: &mut Vec<u8>) {
        let (count, sum, squares) = self.sums[slot as usize];
        put_integer(out, i128::from(count));
        put_integer(out, sum);
        out.extend_from_slice(&squares.to_le_bytes());
    }

    fn update(&mut self, rows: &Update<'_>, columns: &[ArrayRef], _table: Option<&mut Multiset>) -> Result<()> {
        let column = cast(&columns[0], &DataType::Int64)?;
        let values = column.as_primitive::<Int64Type>().values();
        let all = &mut self.sums;
        rows.each_valid(&column, |i, slot, weight| {
            let (count, sum, squares) = &mut all[slot];
            let (value, weight_wide) = (i128::from(values[i]), i128::from(weight));
            *count += weight;
            *sum = sum.wrapping_add(value.wrapping_mul(weight_wide));
            let square = i256::from_i128(value * value);
            *squares = squares.wrapping_add(if weight == 1 { square } else { square.wrapping_mul(i256::from_i128(weight_wide)) });
        });
        Ok(())
    }

    fn result(&mut self, groups: &Touched<'_>, _table: Option<&mut Multiset>) -> Result<Results> {
        let value = |slot: &Slot| {
            let (count, sum, squares) = self.sums[*slot as usize];
            let (n, sum) = (i256::from_i128(i128::from(count)), i256::from_i128(sum));
            let difference = squares.wrapping_mul(n).wrapping_sub(sum.wrapping_mul(sum));
            self.spread.of(count, to_f64(difference))
        };
        let values: Float64Array = groups.slots.iter().map(value).collect();
        Ok(cast(&values, &self.output)?.into())
    }
}

/// Of floating point and numerics.
pub struct FloatSpread {
    spread: Spread,
    output: DataType,
    /// Count, Σx, Σx².
    sums: Vec<(i64, ExactSum, ExactSum)>,
}

impl FloatSpread {
    pub fn new(spread: Spread, output: DataType) -> Self {
        FloatSpread { spread, output, sums: Vec::new() }
    }
}

impl Accumulator for FloatSpread {
    fn load(&mut self, slot: Slot, stored: Option<&mut Reader<'_>>) -> Result<()> {
        *grow(&mut self.sums, slot) = match stored {
            None => Default::default(),
            Some(reader) => (reader.i64()?, ExactSum::load(reader)?, ExactSum::load(reader)?),
        };
        Ok(())
    }

    fn store(&self, slot: Slot, out: &mut Vec<u8>) {
        let (count, sum, squares) = &self.sums[slot as usize];
        put_integer(out, i128::from(*count));
        sum.store(out);
        squares.store(out);
    }

    fn clear(&mut self, slot: Slot) {
        self.sums[slot as usize] = Default::default();
    }

    fn bytes(&self, slot: Slot) -> usize {
        let (_, sum, squares) = &self.sums[slot as usize];
        sum.heap_bytes() + squares.heap_bytes()
    }

    fn update(&mut self, rows: &Update<'_>, columns: &[ArrayRef], _table: Option<&mut Multiset>) -> Result<()> {
        let column: ArrayRef = match columns[0].data_type() {
            DataType::Float64 => Arc::clone(&columns[0]),
            _ => cast(&columns[0], &DataType::Float64)?,
        };
        let values = column.as_primitive::<Float64Type>().values();
        let all = &mut self.sums;
        rows.each_valid(&column, |i, slot, weight| {
            let (count, sum, squares) = &mut all[slot];
            let value = values[i];
            *count += weight;
            sum.add(value, weight);
            squares.add_product(value, value, weight);
        });
        Ok(())
    }

    fn result(&mut self, groups: &Touched<'_>, _table: Option<&mut Multiset>) -> Result<Results> {
        let mut bad: Vec<(u32, Error)> = Vec::new();
        let value = |(i, slot): (usize, &Slot)| {
            let (count, sum, squares) = &self.sums[*slot as usize];
            let difference = difference(*count, [sum, sum], squares).unwrap_or_else(|e| {
                bad.push((i as u32, e));
                0.0
            });
            self.spread.of(*count, difference)
        };
        let values: Float64Array = groups.slots.iter().enumerate().map(value).collect();
        Ok(Results { values: cast(&values, &self.output)?, bad })
    }
}
