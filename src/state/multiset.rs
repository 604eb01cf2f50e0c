//! A multiset of rows under each key: key bytes -> ordered (row bytes -> weight). Arrangements of joins, and the ordered state of min/max, Top-N, string_agg.
//! Weights are merged in the store, so adding a row needs no read; groups are read back only as far as somebody looks.

use super::checkpoint::{Generation, Ops};
use super::keyed::{Layout, Slot, TableContext};
use crate::error::Result;
use crate::types::ids::TableId;
use crate::types::key::Rows;

/// One worker's share of one state table.
pub struct Multiset {}

impl Multiset {
    pub fn new(table: TableId, layout: Layout, context: &TableContext) -> Self {
        let _ = (table, layout, context);
        todo!()
    }

    /// Appends one slot per key to `slots`, without reading any row. Slots stay valid until the next `trim`, `evict` or `close`.
    pub fn resolve(&mut self, keys: &Rows, hashes: &[u64], slots: &mut Vec<Slot>) {
        let _ = (keys, hashes, slots);
        todo!()
    }

    pub fn key(&self, slot: Slot) -> &[u8] {
        let _ = slot;
        todo!()
    }

    /// Adds `weight` to the row's weight; reads nothing. A row at weight 0 is gone.
    pub fn add(&mut self, slot: Slot, row: &[u8], weight: i64) {
        let _ = (slot, row, weight);
        todo!()
    }

    /// Makes all rows of these slots available to `rows`: one batched read for those that are not in memory. Slots may repeat.
    pub fn load(&mut self, slots: &[Slot]) -> Result<()> {
        let _ = slots;
        todo!()
    }

    /// The rows of a slot in ascending byte order with their weights (never 0; negative only if the input retracted what it never inserted).
    /// Requires `load` of this slot in the same epoch.
    pub fn rows(&self, slot: Slot) -> impl Iterator<Item = (&[u8], i64)> {
        let _ = slot;
        std::iter::empty()
    }

    /// Visits the rows of a slot in ascending byte order until `each` returns false, reading from the store only as far as that
    /// (in steps of some dozens of rows): the first rows of a million cost no more than those of a thousand.
    pub fn first(&mut self, slot: Slot, each: &mut dyn FnMut(&[u8], i64) -> bool) -> Result<()> {
        let _ = (slot, each);
        todo!()
    }

    /// Windowed layout only: forgets all groups with `window_end <= upto` (µs), in memory now and on disk by range deletion at the next checkpoint.
    pub fn close(&mut self, upto: i64) {
        let _ = upto;
        todo!()
    }

    pub fn checkpoint(&mut self, generation: Generation, ops: &mut Ops) {
        let _ = (generation, ops);
        todo!()
    }

    pub fn committed(&mut self, generation: Generation) {
        let _ = generation;
        todo!()
    }

    pub fn evict(&mut self, bytes: usize) {
        let _ = bytes;
        todo!()
    }

    /// Evicts down to `cache_entries` groups, if that is set.
    pub fn trim(&mut self) {
        todo!()
    }

    pub fn memory(&self) -> usize {
        todo!()
    }
}
