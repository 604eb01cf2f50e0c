//! Keyed state: key bytes -> a slot number, under which the operator keeps whatever it likes in columns of its own.
//! Misses are read back from the store in one sorted look-up per batch; dirty slots are written at checkpoints; clean ones are evicted.
//!
//! The operator implements [`SlotValues`] over its columns. Slots are small and dense, and are used again after eviction.

use super::checkpoint::{Generation, Ops};
use super::store::Store;
use crate::error::Result;
use crate::types::ids::TableId;
use crate::types::key::Rows;
use std::sync::Arc;

pub type Slot = u32;

/// The operator's columns, indexed by slot.
pub trait SlotValues {
    /// A slot was assigned: set it from `stored` (bytes that `store` once wrote), or to the empty value.
    fn load(&mut self, slot: Slot, stored: Option<&[u8]>) -> Result<()>;

    /// Appends the value's bytes to `out` and returns true; false: the value is empty, the key is deleted.
    fn store(&self, slot: Slot, out: &mut Vec<u8>) -> bool;

    /// The slot was evicted or its window closed: free what it holds.
    fn clear(&mut self, slot: Slot);

    /// Bytes of heap that the slot holds.
    fn bytes(&self, _slot: Slot) -> usize {
        0
    }
}

/// How keys are laid out on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    Hash,
    /// The first 9 bytes of every key are `key::window_key(window end)` (or a NULL's encoding, which never closes): whole windows are dropped together.
    Windowed,
}

/// What a state table is opened with; from `dataflow::BuildContext`.
#[derive(Clone)]
pub struct TableContext {
    pub store: Arc<dyn Store>,
    pub worker: usize,
    pub workers: usize,
    pub cache_entries: Option<usize>,
    pub fresh: bool,
}

/// See the module. One worker's share of one state table.
pub struct Keyed {}

impl Keyed {
    pub fn new(table: TableId, layout: Layout, context: &TableContext) -> Self {
        let _ = (table, layout, context);
        todo!()
    }

    /// Appends one slot per key to `slots`, finding or creating it; `hashes[i]` is `key::hash(keys.row(i))`. Keys that are not in memory are looked up
    /// in the store in one sorted batch; `values.load` is called once for each newly assigned slot. Slots stay valid until the next `trim`, `evict` or `close`.
    pub fn resolve(&mut self, keys: &Rows, hashes: &[u64], values: &mut dyn SlotValues, slots: &mut Vec<Slot>) -> Result<()> {
        let _ = (keys, hashes, values, slots);
        todo!()
    }

    /// The slot's value has changed: it is written at the next checkpoint. O(1), idempotent.
    pub fn touch(&mut self, slot: Slot) {
        let _ = slot;
        todo!()
    }

    pub fn key(&self, slot: Slot) -> &[u8] {
        let _ = slot;
        todo!()
    }

    /// Windowed layout only: calls `closing` for every entry of every window with `window_end <= upto` (µs), windows in order, reading back what is not in
    /// memory, then forgets these windows and deletes them by range at the next checkpoint. Touching a slot inside `closing` has no effect.
    pub fn close(
        &mut self,
        upto: i64,
        values: &mut dyn SlotValues,
        closing: &mut dyn FnMut(&mut dyn SlotValues, Slot, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let _ = (upto, values, closing);
        todo!()
    }

    /// Appends every touched slot's value (or its deletion) and closed windows to `ops`.
    pub fn checkpoint(&mut self, generation: Generation, values: &dyn SlotValues, ops: &mut Ops) {
        let _ = (generation, values, ops);
        todo!()
    }

    /// What `checkpoint(generation)` and earlier ones wrote is in the store: those slots may be evicted.
    pub fn committed(&mut self, generation: Generation) {
        let _ = generation;
        todo!()
    }

    /// Evicts clean committed slots until about `bytes` are free (clock algorithm). Operators call it between epochs only.
    pub fn evict(&mut self, bytes: usize, values: &mut dyn SlotValues) {
        let _ = (bytes, values);
        todo!()
    }

    /// Evicts down to `cache_entries`, if that is set. Operators call it at the end of each `apply`.
    pub fn trim(&mut self, values: &mut dyn SlotValues) {
        let _ = values;
        todo!()
    }

    /// Bytes of the table itself (keys, hash table), without the operator's columns.
    pub fn memory(&self) -> usize {
        todo!()
    }
}
