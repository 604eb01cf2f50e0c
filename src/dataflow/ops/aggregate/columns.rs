//! The values of groups, in columns by slot: how many rows a group has, and one accumulator per aggregate.

use crate::dataflow::agg::accumulator::{Accumulator, grow};
use crate::dataflow::agg::bytes::{Reader, put_integer};
use crate::error::{Error, Kind, Result};
use crate::state::keyed::{Slot, SlotValues};

/// First byte of every stored group.
const VERSION: u8 = 1;

/// See the module.
pub(super) struct Columns {
    pub rows: Vec<i64>,
    /// Only of the one group of a query without GROUP BY: whether its row was ever given out.
    pub emitted: Vec<bool>,
    pub accumulators: Vec<Box<dyn Accumulator>>,
}

impl Columns {
    pub fn new(accumulators: Vec<Box<dyn Accumulator>>) -> Self {
        Columns { rows: Vec::new(), emitted: Vec::new(), accumulators }
    }

    /// Whether the group has a row in the output.
    pub fn present(&self, slot: Slot) -> bool {
        self.rows[slot as usize] > 0 || self.emitted[slot as usize]
    }
}

impl SlotValues for Columns {
    fn load(&mut self, slot: Slot, stored: Option<&[u8]>) -> Result<()> {
        let (rows, emitted) = (grow(&mut self.rows, slot), grow(&mut self.emitted, slot));
        (*rows, *emitted) = (0, false);
        let Some(stored) = stored else {
            return self.accumulators.iter_mut().try_for_each(|a| a.load(slot, None));
        };
        let mut reader = Reader::new(stored);
        let version = reader.byte()?;
        if version != VERSION {
            return Err(Error::new(Kind::DataCorrupted, format!("stored group has format version {version}, not {VERSION}")));
        }
        *rows = reader.i64()?;
        *emitted = reader.byte()? == 1;
        self.accumulators.iter_mut().try_for_each(|a| a.load(slot, Some(&mut reader)))
    }

    fn store(&self, slot: Slot, out: &mut Vec<u8>) -> bool {
        let (rows, emitted) = (self.rows[slot as usize], self.emitted[slot as usize]);
        out.push(VERSION);
        put_integer(out, i128::from(rows));
        out.push(u8::from(emitted));
        self.accumulators.iter().for_each(|a| a.store(slot, out));
        rows != 0 || emitted
    }

    fn clear(&mut self, slot: Slot) {
        (self.rows[slot as usize], self.emitted[slot as usize]) = (0, false);
        self.accumulators.iter_mut().for_each(|a| a.clear(slot));
    }

    fn width(&self) -> usize {
        9 + 32 * self.accumulators.len()
    }

    fn bytes(&self, slot: Slot) -> usize {
        self.accumulators.iter().map(|a| a.bytes(slot)).sum()
    }
}
