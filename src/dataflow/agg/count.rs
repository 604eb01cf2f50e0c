//! count(*), count(x, …): the sum of the weights of the rows (in which no argument is NULL). A retraction subtracts.

use super::accumulator::{Accumulator, Results, Touched, Update, grow};
use super::bytes::{Reader, put_integer};
use crate::error::Result;
use crate::state::keyed::Slot;
use crate::state::multiset::Multiset;
use arrow::array::{Array, ArrayRef, Int64Array};
use std::sync::Arc;

/// See the module.
#[derive(Default)]
pub struct Count {
    counts: Vec<i64>,
}

impl Accumulator for Count {
    fn load(&mut self, slot: Slot, stored: Option<&mut Reader<'_>>) -> Result<()> {
        *grow(&mut self.counts, slot) = stored.map_or(Ok(0), |r| r.i64())?;
        Ok(())
    }

    fn store(&self, slot: Slot, out: &mut Vec<u8>) {
        put_integer(out, i128::from(self.counts[slot as usize]));
    }

    fn update(&mut self, rows: &Update<'_>, columns: &[ArrayRef], _table: Option<&mut Multiset>) -> Result<()> {
        let counts = &mut self.counts;
        match columns {
            [only] => rows.each_valid(only, |_, slot, weight| counts[slot] += weight),
            _ => {
                let nulls = columns.iter().filter_map(|c| c.logical_nulls()).collect::<Vec<_>>();
                for (i, slot) in rows.slots.iter().enumerate() {
                    if nulls.iter().all(|n| n.is_valid(i)) {
                        counts[*slot as usize] += rows.weight(i);
                    }
                }
            }
        }
        Ok(())
    }

    fn result(&mut self, groups: &Touched<'_>, _table: Option<&mut Multiset>) -> Result<Results> {
        let values: Int64Array = groups.slots.iter().map(|s| self.counts[*s as usize]).collect::<Vec<_>>().into();
        Ok((Arc::new(values) as ArrayRef).into())
    }
}
