//! bit_and, bit_or, bit_xor of integers: per bit, how many values have it, and how many values there are. A retraction subtracts; NULLs do not count.

use super::accumulator::{Accumulator, Results, Touched, Update, grow};
use super::bytes::{Reader, put_integer};
use crate::error::Result;
use crate::state::keyed::Slot;
use crate::state::multiset::Multiset;
use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use std::sync::Arc;

/// Which of the three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    And,
    Or,
    Xor,
}

/// Values, and of each bit those that have it.
#[derive(Clone, Default)]
struct Counted {
    values: i64,
    /// Empty: no value has any bit.
    bits: Vec<i64>,
}

/// See the module.
pub struct Bits {
    operation: Operation,
    counts: Vec<Counted>,
    output: DataType,
}

impl Bits {
    pub fn new(operation: Operation, output: DataType) -> Self {
        Bits { operation, counts: Vec::new(), output }
    }

    fn value(&self, counted: &Counted) -> Option<i64> {
        if counted.values == 0 {
            return None;
        }
        let is_set = |count: i64| match self.operation {
            Operation::And => count == counted.values,
            Operation::Or => count != 0,
            Operation::Xor => count % 2 != 0,
        };
        let bits = counted.bits.iter().enumerate().filter(|(_, count)| is_set(**count));
        Some(bits.fold(0, |value, (bit, _)| value | 1 << bit))
    }
}

impl Accumulator for Bits {
    fn load(&mut self, slot: Slot, stored: Option<&mut Reader<'_>>) -> Result<()> {
        *grow(&mut self.counts, slot) = match stored {
            None => Counted::default(),
            Some(reader) => {
                let values = reader.i64()?;
                let bits = (0..reader.byte()?).map(|_| reader.i64()).collect::<Result<_>>()?;
                Counted { values, bits }
            }
        };
        Ok(())
    }

    fn store(&self, slot: Slot, out: &mut Vec<u8>) {
        let counted = &self.counts[slot as usize];
        put_integer(out, i128::from(counted.values));
        out.push(counted.bits.len() as u8);
        counted.bits.iter().for_each(|count| put_integer(out, i128::from(*count)));
    }

    fn clear(&mut self, slot: Slot) {
        self.counts[slot as usize] = Counted::default();
    }

    fn bytes(&self, slot: Slot) -> usize {
        self.counts[slot as usize].bits.capacity() * size_of::<i64>()
    }

    fn update(&mut self, rows: &Update<'_>, columns: &[ArrayRef], _table: Option<&mut Multiset>) -> Result<()> {
        let values = cast(&columns[0], &DataType::Int64)?;
        let values = values.as_primitive::<Int64Type>();
        let counts = &mut self.counts;
        rows.each_valid(&columns[0], |i, slot, weight| {
            let counted = &mut counts[slot];
            counted.values += weight;
            let mut rest = values.value(i) as u64;
            if rest != 0 && counted.bits.is_empty() {
                counted.bits = vec![0; 64];
            }
            while rest != 0 {
                counted.bits[rest.trailing_zeros() as usize] += weight;
                rest &= rest - 1;
            }
        });
        Ok(())
    }

    fn result(&mut self, groups: &Touched<'_>, _table: Option<&mut Multiset>) -> Result<Results> {
        let values: Int64Array = groups.slots.iter().map(|slot| self.value(&self.counts[*slot as usize])).collect();
        Ok((cast(&(Arc::new(values) as ArrayRef), &self.output)?).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_counted() {
        let of = |operation, values: i64, set: &[(usize, i64)]| {
            let mut bits = vec![0; 64];
            set.iter().for_each(|(bit, count)| bits[*bit] = *count);
            Bits::new(operation, DataType::Int64).value(&Counted { values, bits })
        };
        // 5, 7, -1
        let set: Vec<(usize, i64)> = (0..64).map(|bit| (bit, [3, 2, 3].get(bit).copied().unwrap_or(1))).collect();
        assert_eq!(of(Operation::And, 3, &set), Some(5));
        assert_eq!(of(Operation::Or, 3, &set), Some(-1));
        assert_eq!(of(Operation::Xor, 3, &set), Some(5 ^ 7 ^ -1));
        assert_eq!(of(Operation::And, 0, &[]), None);
    }
}
