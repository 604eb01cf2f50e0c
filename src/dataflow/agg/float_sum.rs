//! sum and avg of real and double precision: exact sums (see [`super::exact`]), rounded on output. A retraction subtracts exactly.

use super::accumulator::{Accumulator, Results, Touched, Update, grow, out_of_range};
use super::bytes::{Reader, put_integer};
use super::exact::ExactSum;
use super::sum::Outcome;
use crate::error::{Error, Result};
use crate::state::keyed::Slot;
use crate::state::multiset::Multiset;
use arrow::array::{Array, ArrayRef, AsArray, Float64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use std::sync::Arc;

/// See the module.
pub struct FloatSum {
    outcome: Outcome,
    output: DataType,
    counts: Vec<i64>,
    sums: Vec<ExactSum>,
}

impl FloatSum {
    pub fn new(outcome: Outcome, output: DataType) -> Self {
        FloatSum { outcome, output, counts: Vec::new(), sums: Vec::new() }
    }
}

impl Accumulator for FloatSum {
    fn load(&mut self, slot: Slot, stored: Option<&mut Reader<'_>>) -> Result<()> {
        let (count, sum) = match stored {
            None => (0, ExactSum::default()),
            Some(reader) => (reader.i64()?, ExactSum::load(reader)?),
        };
        *grow(&mut self.counts, slot) = count;
        *grow(&mut self.sums, slot) = sum;
        Ok(())
    }

    fn store(&self, slot: Slot, out: &mut Vec<u8>) {
        put_integer(out, i128::from(self.counts[slot as usize]));
        self.sums[slot as usize].store(out);
    }

    fn clear(&mut self, slot: Slot) {
        self.sums[slot as usize] = ExactSum::default();
    }

    fn bytes(&self, slot: Slot) -> usize {
        self.sums[slot as usize].heap_bytes()
    }

    fn update(&mut self, rows: &Update<'_>, columns: &[ArrayRef], _table: Option<&mut Multiset>) -> Result<()> {
        let column = as_doubles(&columns[0])?;
        let values = column.as_primitive::<Float64Type>().values();
        let (counts, sums) = (&mut self.counts, &mut self.sums);
        rows.each_valid(&column, |i, slot, weight| {
            counts[slot] += weight;
            sums[slot].add(values[i], weight);
        });
        Ok(())
    }

    fn result(&mut self, groups: &Touched<'_>, _table: Option<&mut Multiset>) -> Result<Results> {
        let mut bad: Vec<(u32, Error)> = Vec::new();
        let mut value = |(i, slot): (usize, &Slot)| {
            let (count, sum) = (self.counts[*slot as usize], &self.sums[*slot as usize]);
            let value = match self.outcome {
                Outcome::Sum => sum.value(),
                Outcome::Average => sum.value() / count as f64,
            };
            if sum.overflows() || (value.is_finite() && self.output == DataType::Float32 && (value as f32).is_infinite()) {
                bad.push((i as u32, out_of_range("value")));
                return None;
            }
            (count != 0).then_some(value)
        };
        let values: Float64Array = groups.slots.iter().enumerate().map(&mut value).collect();
        Ok(Results { values: cast(&values, &self.output)?, bad })
    }
}

/// real as double precision, which holds all its values.
pub fn as_doubles(column: &ArrayRef) -> Result<ArrayRef> {
    match column.data_type() {
        DataType::Float64 => Ok(Arc::clone(column)),
        _ => Ok(cast(column, &DataType::Float64)?),
    }
}
