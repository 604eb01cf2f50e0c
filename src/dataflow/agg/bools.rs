//! bool_and, bool_or: how many values are true and how many are false. A retraction subtracts; NULLs count as neither.

use super::accumulator::{Accumulator, Results, Touched, Update, grow};
use super::bytes::{Reader, put_integer};
use crate::error::Result;
use crate::state::keyed::Slot;
use crate::state::multiset::Multiset;
use arrow::array::{ArrayRef, AsArray, BooleanArray};
use std::sync::Arc;

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connective {
    And,
    Or,
}

/// See the module.
pub struct Bools {
    connective: Connective,
    /// (false, true)
    counts: Vec<(i64, i64)>,
}

impl Bools {
    pub fn new(connective: Connective) -> Self {
        Bools { connective, counts: Vec::new() }
    }
}

impl Accumulator for Bools {
    fn load(&mut self, slot: Slot, stored: Option<&mut Reader<'_>>) -> Result<()> {
        *grow(&mut self.counts, slot) = match stored {
            None => (0, 0),
            Some(reader) => (reader.i64()?, reader.i64()?),
        };
        Ok(())
    }

    fn store(&self, slot: Slot, out: &mut Vec<u8>) {
        let (falses, trues) = self.counts[slot as usize];
        put_integer(out, i128::from(falses));
        put_integer(out, i128::from(trues));
    }

    fn update(&mut self, rows: &Update<'_>, columns: &[ArrayRef], _table: Option<&mut Multiset>) -> Result<()> {
        let values = columns[0].as_boolean();
        let counts = &mut self.counts;
        rows.each_valid(&columns[0], |i, slot, weight| {
            let (falses, trues) = &mut counts[slot];
            *(if values.value(i) { trues } else { falses }) += weight;
        });
        Ok(())
    }

    fn result(&mut self, groups: &Touched<'_>, _table: Option<&mut Multiset>) -> Result<Results> {
        let value = |slot: &Slot| {
            let (falses, trues) = self.counts[*slot as usize];
            (falses + trues != 0).then_some(match self.connective {
                Connective::And => falses == 0,
                Connective::Or => trues != 0,
            })
        };
        Ok((Arc::new(groups.slots.iter().map(value).collect::<BooleanArray>()) as ArrayRef).into())
    }
}
