//! A count per key: the state of DISTINCT and of the sides of semi, anti and outer joins.

use crate::dataflow::agg::accumulator::grow;
use crate::dataflow::agg::bytes::{Reader, put_integer};
use crate::dataflow::operator::BuildContext;
use crate::error::Result;
use crate::state::kept::{Kept, KeyedWith};
use crate::state::keyed::{Keyed, Layout, Slot, SlotValues};
use crate::types::ids::TableId;
use crate::types::key::{Rows, hash};

/// Key -> sum of weights; a key at 0 is forgotten.
pub(crate) struct Counts {
    keyed: Keyed,
    values: Values,
    slots: Vec<Slot>,
}

#[derive(Default)]
struct Values(Vec<i64>);

impl SlotValues for Values {
    fn load(&mut self, slot: Slot, stored: Option<&[u8]>) -> Result<()> {
        *grow(&mut self.0, slot) = stored.map_or(Ok(0), |bytes| Reader::new(bytes).i64())?;
        Ok(())
    }

    fn store(&self, slot: Slot, out: &mut Vec<u8>) -> bool {
        let count = self.0[slot as usize];
        put_integer(out, i128::from(count));
        count != 0
    }

    fn clear(&mut self, slot: Slot) {
        self.0[slot as usize] = 0;
    }

    fn width(&self) -> usize {
        size_of::<i64>()
    }
}

impl Counts {
    pub fn new(table: TableId, layout: Layout, context: &BuildContext) -> Counts {
        Self::placed(table, layout, context, hash)
    }

    /// Keys belong to workers by this hash.
    pub fn placed(table: TableId, layout: Layout, context: &BuildContext, hash: fn(&[u8]) -> u64) -> Counts {
        Counts { keyed: Keyed::placed(table, layout, &context.table(), hash), values: Values::default(), slots: Vec::new() }
    }

    /// The counts of distinct `keys`.
    pub fn get(&mut self, keys: &Rows, hashes: &[u64]) -> Result<Vec<i64>> {
        self.slots.clear();
        self.keyed.resolve(keys, hashes, &mut self.values, &mut self.slots)?;
        Ok(self.slots.iter().map(|s| self.values.0[*s as usize]).collect())
    }

    /// Adds `weights[i]` to the count of `keys[i]` (distinct); gives the counts before.
    pub fn add(&mut self, keys: &Rows, hashes: &[u64], weights: &[i64]) -> Result<Vec<i64>> {
        let before = self.get(keys, hashes)?;
        for (slot, weight) in self.slots.iter().zip(weights).filter(|(_, w)| **w != 0) {
            self.values.0[*slot as usize] += weight;
            self.keyed.touch(*slot);
        }
        Ok(before)
    }

    /// Windowed layout: forgets every key whose window column is at most `upto`.
    pub fn close(&mut self, upto: i64) -> Result<()> {
        self.keyed.close(upto, &mut self.values, None)
    }

    /// The same, telling which keys these are.
    pub fn close_each(&mut self, upto: i64, each: &mut dyn FnMut(&[u8])) -> Result<()> {
        let mut closing = |key: &[u8], _: &[u8]| {
            each(key);
            Ok(())
        };
        self.keyed.close(upto, &mut self.values, Some(&mut closing))
    }

    /// The end of the first window that is not closed.
    pub fn first_window(&self) -> Option<i64> {
        self.keyed.first_window()
    }

    pub fn state(&mut self, each: &mut dyn FnMut(&mut dyn Kept)) {
        each(&mut KeyedWith(&mut self.keyed, &mut self.values));
    }

    pub fn trim(&mut self) {
        self.keyed.trim(&mut self.values);
    }
}
