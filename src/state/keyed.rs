//! Keyed state: key bytes -> a slot number, under which the operator keeps whatever it likes in columns of its own.
//! Misses are read back from the store in one sorted look-up per batch; dirty slots are written at checkpoints; clean ones are evicted.
//!
//! The operator implements [`SlotValues`] over its columns. Slots are small and dense, and are used again after eviction.
//!
//! ```text
//!   resolve     known key -> its slot;  unknown, table partial on disk -> new slot, loaded;  else -> new slot, empty, no read
//!   touch       dirty                                        a dirty slot stays in memory
//!   checkpoint  to be handed over under generation g         stays
//!   hand_over   written, a piece at a time                   stays
//!   committed   g is in every snapshot from now on           may be evicted: the next resolve reads it back
//! ```
//!
//! What is handed over is the state of the moment of `checkpoint`, although epochs go on between the pieces: a slot whose turn has not come is written before
//! it can change, which is when it is resolved, or when it is freed because its window has closed.
//!
//! Memory always holds the newest value of every key whose newest value is not committed, so a key that is read from the store
//! is one whose committed value is the newest: it does not matter how far the snapshot is ahead of what the table has heard.

use super::checkpoint::{Action, Generation, HandOver, Ops};
use super::committed::{Committed, Rounds};
use super::extent::{self, Extent};
use super::slots::Slots;
use crate::error::Result;
use crate::types::ids::TableId;
use crate::types::key::{Rows, hash, window_key, window_of_key};
use std::collections::VecDeque;
use std::sync::Arc;

pub use super::slots::Slot;

/// The operator's columns, indexed by slot.
pub trait SlotValues {
    /// A slot was assigned: set it from `stored` (bytes that `store` once wrote), or to the empty value.
    fn load(&mut self, slot: Slot, stored: Option<&[u8]>) -> Result<()>;

    /// Appends the value's bytes to `out` and returns true; false: the value is empty, the key is deleted.
    fn store(&self, slot: Slot, out: &mut Vec<u8>) -> bool;

    /// The slot was evicted or its window closed: free what it holds.
    fn clear(&mut self, slot: Slot);

    /// Bytes of each slot in the columns themselves.
    fn width(&self) -> usize;

    /// Bytes of heap that the slot holds besides.
    fn bytes(&self, _slot: Slot) -> usize {
        0
    }

    /// The same of all slots together, if the operator keeps count.
    fn heap(&self) -> usize {
        0
    }
}

/// Told of each entry of a window that closes: its key, and its value as `SlotValues::store` writes it.
pub type Closing<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<()>;

/// Slots of closed windows that are freed at least with each epoch; more are freed where more wait.
const FREED_AT_ONCE: usize = if cfg!(test) { 2 } else { 1024 };

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
    pub store: Arc<Committed>,
    pub worker: usize,
    pub workers: usize,
    pub cache_entries: Option<usize>,
    pub fresh: bool,
}

/// The slot's value differs from what was last handed over.
const DIRTY: u8 = 1;
/// The store may hold an entry of the key, or will.
const STORED: u8 = 2;
/// What was last handed over was a deletion.
const DELETED: u8 = 4;
/// The slot's value as of the checkpoint that has begun is still to be handed over.
const OWED: u8 = 8;

/// See the module. One worker's share of one state table.
pub struct Keyed {
    slots: Slots,
    marks: Marks,
    dirty: Vec<Slot>,
    /// Slots that are owed, or were when the checkpoint began; and what was written of them before its turn.
    owed: Vec<Slot>,
    early: Ops,
    /// Slots handed over as deleted: of no use once that is committed.
    deleted: Vec<Slot>,
    extent: Extent,
    /// Windows that were closed, with slots that are still to be freed: some with each `trim`, for that takes longer than all else about closing.
    closed: VecDeque<(i64, Vec<Slot>)>,
    rounds: Rounds,
    store: Arc<Committed>,
    limit: Option<usize>,
    scratch: Vec<u8>,
    head: Vec<u8>,
    hash: fn(&[u8]) -> u64,
}

/// Per slot: what is to be done with it, and the round in which it was last handed over.
#[derive(Default)]
struct Marks {
    flags: Vec<u8>,
    written: Vec<u32>,
}

/// Bytes of them per slot.
const MARKS: usize = 5;

impl Marks {
    fn reset(&mut self, slot: Slot) {
        let slot = slot as usize;
        if slot >= self.flags.len() {
            self.flags.resize(slot + 1, 0);
            self.written.resize(slot + 1, 0);
        }
        self.flags[slot] = 0;
        self.written[slot] = 0;
    }
}

impl Keyed {
    pub fn new(table: TableId, layout: Layout, context: &TableContext) -> Self {
        Self::placed(table, layout, context, hash)
    }

    /// With a hash of one's own: its top byte says which worker owns a key, where that is not the owner of the whole key's hash.
    pub fn placed(table: TableId, layout: Layout, context: &TableContext, hash: fn(&[u8]) -> u64) -> Self {
        Keyed {
            slots: Slots::default(),
            marks: Marks::default(),
            dirty: Vec::new(),
            owed: Vec::new(),
            early: Ops::default(),
            deleted: Vec::new(),
            extent: Extent::new(extent::KEYED, table, layout, context),
            closed: VecDeque::new(),
            rounds: Rounds::new(),
            store: context.store.clone(),
            limit: context.cache_entries,
            scratch: Vec::new(),
            head: Vec::new(),
            hash,
        }
    }

    /// Appends one slot per key to `slots`, finding or creating it; `hashes[i]` is the hash of `keys.row(i)`. Keys that are not in memory are looked up
    /// in the store in one sorted batch; `values.load` is called once for each newly assigned slot. Slots stay valid until the next `trim`, `evict` or `close`.
    pub fn resolve(&mut self, keys: &Rows, hashes: &[u64], values: &mut dyn SlotValues, slots: &mut Vec<Slot>) -> Result<()> {
        self.extent.discover(&self.store)?;
        let (extent, marks) = (&mut self.extent, &mut self.marks);
        let (mut unread, mut result, known) = (Vec::new(), Ok(()), slots.len());
        self.slots.find_all(keys, hashes, slots, |table, i| {
            let slot = table.insert(keys.row(i), hashes[i]);
            marks.reset(slot);
            if extent.add(keys.row(i), slot) {
                unread.push(slot);
            } else if let Err(e) = values.load(slot, None) {
                result = Err(e);
            }
            slot
        });
        result?;
        if !self.owed.is_empty() {
            slots[known..].iter().for_each(|slot| self.write_early(*slot, values));
        }
        if unread.is_empty() {
            return Ok(());
        }
        let result = self.read_back(&unread, values);
        if result.is_err() {
            // A slot that was not loaded must not be found by the next attempt.
            unread.iter().for_each(|slot| self.slots.remove(*slot));
        }
        result
    }

    /// Loads new slots from the store.
    fn read_back(&mut self, unread: &[Slot], values: &mut dyn SlotValues) -> Result<()> {
        let mut keys = Rows::default();
        for &slot in unread {
            self.scratch.clear();
            let (key, hash) = (self.slots.key(slot), self.slots.hash(slot));
            let window = self.extent.head(key, hash, &mut self.scratch);
            self.scratch.extend_from_slice(&key[window..]);
            keys.push(&self.scratch);
        }
        let mut order: Vec<u32> = (0..unread.len() as u32).collect();
        order.sort_unstable_by(|a, b| keys.row(*a as usize).cmp(keys.row(*b as usize)));
        let sorted: Vec<&[u8]> = order.iter().map(|i| keys.row(*i as usize)).collect();
        let (_, snapshot) = self.store.read();
        let flags = &mut self.marks.flags;
        let mut result = Ok(());
        snapshot.get_many(&sorted, &mut |i, value| {
            let slot = unread[order[i] as usize];
            flags[slot as usize] = STORED;
            if let Err(e) = values.load(slot, Some(value)) {
                result = Err(e);
            }
        })?;
        result?;
        unread.iter().filter(|slot| flags[**slot as usize] == 0).try_for_each(|slot| values.load(*slot, None))
    }

    /// The slot's value has changed: it is written at the next checkpoint. O(1), idempotent. The slot was resolved in the same epoch.
    #[inline]
    pub fn touch(&mut self, slot: Slot) {
        let flags = &mut self.marks.flags[slot as usize];
        if *flags & DIRTY == 0 {
            assert!(*flags & OWED == 0, "a slot is resolved before it changes");
            *flags |= DIRTY;
            self.dirty.push(slot);
        }
    }

    pub fn key(&self, slot: Slot) -> &[u8] {
        self.slots.key(slot)
    }

    /// Windowed layout only: the end of the first window that is not closed, as far as the store was asked.
    pub fn first_window(&self) -> Option<i64> {
        self.extent.first_window()
    }

    /// Keys in memory.
    pub fn len(&self) -> usize {
        self.slots.live()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Windowed layout only: calls `closing` for every entry of every window with `window_end <= upto` (µs), windows in order, reading back what is not in
    /// memory, then forgets these windows and deletes them by range at the next checkpoint. Touching a slot inside `closing` has no effect.
    /// Keys whose value is empty are no entries. From now on no key of these windows may be resolved.
    pub fn close(&mut self, upto: i64, values: &mut dyn SlotValues, mut closing: Option<Closing<'_>>) -> Result<()> {
        self.extent.discover(&self.store)?;
        while let Some((end, window)) = self.extent.close_first(upto) {
            if let Some(closing) = &mut closing {
                if window.is_partial() {
                    self.close_stored(end, closing)?;
                }
                for &slot in &window.slots {
                    self.scratch.clear();
                    if self.is_of(slot, end) && values.store(slot, &mut self.scratch) {
                        closing(self.slots.key(slot), &self.scratch)?;
                    }
                }
            }
            self.closed.push_back((end, window.slots));
        }
        Ok(())
    }

    /// Whether the slot holds a key of this window; it may have been given to another.
    fn is_of(&self, slot: Slot, end: i64) -> bool {
        self.slots.is_live(slot) && self.extent.window(self.slots.key(slot)) == Some(end)
    }

    /// Frees so many slots of closed windows; gives the bytes.
    fn free_closed(&mut self, count: usize, values: &mut dyn SlotValues) -> usize {
        let (mut left, mut freed) = (count, 0);
        while let Some((end, slots)) = self.closed.front_mut().filter(|_| left > 0) {
            let end = *end;
            let some = slots.split_off(slots.len().saturating_sub(left));
            if slots.is_empty() {
                self.closed.pop_front();
            }
            left -= some.len();
            for slot in some {
                if self.is_of(slot, end) {
                    self.write_early(slot, values);
                    freed += self.drop_slot(slot, values);
                }
            }
        }
        freed
    }

    /// The entries of a window that are only in the store, one at a time: a window may be larger than memory.
    fn close_stored(&mut self, end: i64, closing: &mut Closing<'_>) -> Result<()> {
        let (from, to, head) = self.extent.owned_span(end);
        let (_, snapshot) = self.store.read();
        let (slots, hash_of) = (&self.slots, self.hash);
        let mut key = window_key(end).to_vec();
        let mut result = Ok(());
        snapshot.scan(&from, &to, &mut |stored, value| {
            key.truncate(window_key(end).len());
            key.extend_from_slice(&stored[head..]);
            if slots.find(&key, hash_of(&key)).is_none() {
                result = closing(&key, value);
            }
            result.is_ok()
        })?;
        result
    }

    /// A checkpoint begins: every touched slot's value of now (or its deletion) is owed to it, and the windows closed since the last one.
    /// All that the last one was owed has been handed over.
    pub fn checkpoint(&mut self, generation: Generation) {
        assert!(self.owed.is_empty(), "one checkpoint at a time is handed over");
        self.extent.checkpoint(&mut self.early);
        for slot in self.dirty.drain(..) {
            if self.marks.flags[slot as usize] & DIRTY == 0 {
                continue; // it was freed
            }
            self.marks.flags[slot as usize] ^= DIRTY;
            let closed = self.extent.window(self.slots.key(slot)).is_some_and(|window| self.extent.is_closed(window));
            if !closed {
                self.marks.flags[slot as usize] |= OWED;
                self.owed.push(slot);
            }
        }
        self.rounds.hand_over(generation);
    }

    /// Adds what is owed until the piece is full.
    pub fn hand_over(&mut self, values: &dyn SlotValues, piece: &mut HandOver) {
        piece.append(std::mem::take(&mut self.early));
        let count = piece.left().min(self.owed.len());
        let ops = piece.add(count);
        for slot in self.owed.split_off(self.owed.len() - count) {
            self.write(slot, values, ops);
        }
    }

    fn write_early(&mut self, slot: Slot, values: &dyn SlotValues) {
        let mut early = std::mem::take(&mut self.early);
        self.write(slot, values, &mut early);
        self.early = early;
    }

    /// What is owed of the slot, if anything.
    fn write(&mut self, slot: Slot, values: &dyn SlotValues, ops: &mut Ops) {
        let flags = &mut self.marks.flags[slot as usize];
        if *flags & OWED == 0 {
            return;
        }
        *flags &= !OWED;
        let (key, hash) = (self.slots.key(slot), self.slots.hash(slot));
        self.head.clear();
        self.scratch.clear();
        let window = self.extent.head(key, hash, &mut self.head);
        if values.store(slot, &mut self.scratch) {
            *flags = STORED;
            ops.push(Action::Put, &[&self.head, &key[window..]], &self.scratch);
        } else {
            if *flags & STORED != 0 {
                ops.push(Action::Delete, &[&self.head, &key[window..]], &[]);
            }
            *flags |= DELETED;
            self.deleted.push(slot);
        }
        self.marks.written[slot as usize] = self.rounds.handed_over();
    }

    /// What `checkpoint(generation)` and earlier ones wrote is in the store: those slots may be evicted.
    pub fn committed(&mut self, generation: Generation) {
        self.rounds.commit(generation);
    }

    /// Evicts clean committed slots until about `bytes` are free (clock algorithm). Operators call it between epochs only.
    pub fn evict(&mut self, bytes: usize, values: &mut dyn SlotValues) {
        let mut freed = self.drop_deleted(values) + self.free_closed(usize::MAX, values);
        while freed < bytes {
            let Some(slot) = self.next_idle() else { break };
            freed += self.drop_slot(slot, values);
        }
    }

    /// Evicts down to `cache_entries`, if that is set. Operators call it at the end of each `apply`.
    pub fn trim(&mut self, values: &mut dyn SlotValues) {
        self.drop_deleted(values);
        let closed: usize = self.closed.iter().map(|(_, slots)| slots.len()).sum();
        self.free_closed((closed / 4).max(FREED_AT_ONCE), values);
        let Some(limit) = self.limit else { return };
        while self.slots.live() > limit {
            let Some(slot) = self.next_idle() else { break };
            self.drop_slot(slot, values);
        }
    }

    /// Bytes of the keys in memory, with the operator's columns, and with what slots hold on the heap if that is counted.
    pub fn memory(&self, values: &dyn SlotValues) -> usize {
        self.slots.memory()
            + self.slots.live() * (MARKS + values.width())
            + values.heap()
            + (self.dirty.capacity() + self.owed.capacity() + self.deleted.capacity()) * 4
            + self.extent.memory()
            + self.closed.iter().map(|(_, slots)| slots.capacity() * size_of::<Slot>()).sum::<usize>()
    }

    fn next_idle(&mut self) -> Option<Slot> {
        let (marks, committed) = (&self.marks, self.rounds.committed());
        self.slots.next_idle(|slot| marks.flags[slot as usize] & (DIRTY | OWED) == 0 && marks.written[slot as usize] <= committed)
    }

    /// Forgets keys whose deletion is committed. The store does not know them, so the table stays complete.
    fn drop_deleted(&mut self, values: &mut dyn SlotValues) -> usize {
        let (mut waiting, mut freed) = (Vec::new(), 0);
        for slot in std::mem::take(&mut self.deleted) {
            let flags = self.marks.flags[slot as usize];
            if flags & DELETED == 0 || flags & (DIRTY | OWED) != 0 {
                continue; // used again, or gone
            }
            if self.marks.written[slot as usize] > self.rounds.committed() {
                waiting.push(slot);
                continue;
            }
            self.marks.flags[slot as usize] = 0;
            freed += self.drop_slot(slot, values);
        }
        self.deleted = waiting;
        freed
    }

    fn drop_slot(&mut self, slot: Slot, values: &mut dyn SlotValues) -> usize {
        let freed = values.width() + values.bytes(slot) + MARKS + self.slots.freed_by(slot);
        let window = self.extent.window(self.slots.key(slot));
        let stored = self.marks.flags[slot as usize] & STORED != 0;
        values.clear(slot);
        self.marks.reset(slot);
        self.slots.remove(slot);
        let slots = &self.slots;
        self.extent.evicted(window, stored, |s| slots.is_live(s) && window_of_key(slots.key(s)) == window);
        freed
    }
}

#[cfg(test)]
mod tests;
