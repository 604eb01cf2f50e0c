//! A multiset of rows under each key: key bytes -> ordered (row bytes -> weight). Arrangements of joins, and the ordered state of min/max, Top-N, string_agg.
//! Weights are merged in the store, so adding a row needs no read; groups are read back only as far as somebody looks.
//!
//! A group in memory is *known* from some row to some row: not at all, between bounds, or all of it.
//!
//! ```text
//!   rows in byte order    a  b  |  c  d  e  |  f  g …
//!                             bound  known  bound   beyond: only in the store, and in changes that are not committed yet
//! ```
//!
//! The one invariant: *the known part equals the group's true content between the bounds*, at every moment. An added row goes to the log of changes, and, if
//! it is within the bounds, into the known part. The known part is extended by reading: what a snapshot of generation `G` says of the rows beyond a bound, plus
//! the group's changes of later generations, which is the truth by the argument in [`super::committed`]. It may be forgotten at any time, where
//! somebody looks elsewhere. Groups of a new table are
//! known from birth, and never read until they have been evicted; a group is evicted only when all its changes are committed.

use super::changes::{Changes, Position};
use super::checkpoint::{Action, Generation, HandOver, Ops, weight};
use super::committed::{Committed, Rounds};
use super::extent::{self, Extent};
use super::kept::Kept;
use super::keyed::{Layout, Slot, TableContext};
use super::paged::Paged;
use super::rowset::RowSet;
use super::slots::Slots;
use super::store::after_prefix;
use crate::error::Result;
use crate::types::ids::TableId;
use crate::types::key::{Rows, window_of_key};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Rows read at once behind the bound: the first step, and the largest (each is twice the one before).
const FIRST_STEP: usize = 32;
const LAST_STEP: usize = 4096;

/// One worker's share of one state table.
pub struct Multiset {
    slots: Slots,
    groups: Paged<Group>,
    changes: Changes,
    /// Groups that were without rows when last looked at: of no use once that is committed.
    empty: Vec<Slot>,
    /// What was written for the checkpoint that has begun before its turn.
    early: Ops,
    extent: Extent,
    rounds: Rounds,
    store: Arc<Committed>,
    limit: Option<usize>,
    /// Heap of the rows in memory.
    row_bytes: usize,
}

#[derive(Default)]
struct Group {
    rows: RowSet,
    known: Known,
    /// Its newest change.
    newest: Position,
    /// Changes before this one were made by another group in the same slot; without a group: all.
    born: Position,
    /// Whether it is in the list of empty groups.
    listed: bool,
}

#[derive(Default, Debug, PartialEq, Eq)]
enum Known {
    #[default]
    Nothing,
    /// Both rows included; no first one: from the beginning, no last one: to the end (one of them is there).
    Between(Option<Box<[u8]>>, Option<Box<[u8]>>),
    All,
}

/// Which rows to read.
#[derive(Clone, Copy)]
enum Beyond<'r> {
    /// Nothing is known: from this row on.
    Nothing(&'r [u8]),
    Last,
    First,
}

impl Group {
    fn knows(&self, row: &[u8]) -> bool {
        match &self.known {
            Known::Nothing => false,
            Known::Between(first, last) => first.as_ref().is_none_or(|first| &**first <= row) && last.as_ref().is_none_or(|last| row <= &**last),
            Known::All => true,
        }
    }
}

impl Multiset {
    pub fn new(table: TableId, layout: Layout, context: &TableContext) -> Self {
        let rounds = Rounds::new();
        Multiset {
            slots: Slots::default(),
            groups: Paged::default(),
            changes: Changes::new(rounds.current()),
            empty: Vec::new(),
            early: Ops::default(),
            extent: Extent::new(extent::MULTISET, table, layout, context),
            rounds,
            store: context.store.clone(),
            limit: context.cache_entries,
            row_bytes: 0,
        }
    }

    /// Appends one slot per key to `slots`, without reading any row. Slots stay valid until the next `trim`, `evict` or `close`.
    pub fn resolve(&mut self, keys: &Rows, hashes: &[u64], slots: &mut Vec<Slot>) {
        // If the store cannot be asked, every group counts as unknown, and the first one that is looked at reports the error.
        let _ = self.extent.discover(&self.store);
        let (extent, groups, empty, changes) = (&mut self.extent, &mut self.groups, &mut self.empty, &self.changes);
        self.slots.find_all(keys, hashes, slots, |table, i| {
            let slot = table.insert(keys.row(i), hashes[i]);
            let known = if extent.add(keys.row(i), slot) { Known::Nothing } else { Known::All };
            let group = Group { known, born: changes.end(), listed: true, ..Group::default() };
            empty.push(slot);
            if (slot as usize) < groups.len() {
                groups[slot as usize] = group;
            } else {
                groups.push(group);
            }
            slot
        });
    }

    pub fn key(&self, slot: Slot) -> &[u8] {
        self.slots.key(slot)
    }

    /// Windowed layout only: ends of the windows that hold groups, or may, ascending.
    pub fn windows(&mut self) -> Result<Vec<i64>> {
        self.extent.discover(&self.store)?;
        Ok(self.extent.ends())
    }

    /// Groups in memory.
    pub fn len(&self) -> usize {
        self.slots.live()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds `weight` to the row's weight; reads nothing. A row at weight 0 is gone.
    pub fn add(&mut self, slot: Slot, row: &[u8], weight: i64) {
        if weight == 0 {
            return;
        }
        let group = &mut self.groups[slot as usize];
        group.newest = self.changes.push(slot, group.newest, row, weight);
        if group.knows(row) {
            self.row_bytes -= group.rows.heap();
            group.rows.add(row, weight);
            self.row_bytes += group.rows.heap();
            if group.rows.is_empty() && !group.listed {
                group.listed = true;
                self.empty.push(slot);
            }
        }
    }

    /// Makes all rows of these slots available to `rows`: one batched read for those that are not in memory. Slots may repeat.
    pub fn load(&mut self, slots: &[Slot]) -> Result<()> {
        let mut unknown: Vec<(Vec<u8>, Slot)> = Vec::new();
        for &slot in slots {
            if self.groups[slot as usize].known != Known::All {
                unknown.push((self.prefix(slot), slot));
            } else {
                self.settle(slot);
            }
        }
        if unknown.is_empty() {
            return Ok(());
        }
        self.extent.discover(&self.store)?;
        unknown.sort_unstable();
        unknown.dedup();
        let (generation, snapshot) = self.store.read();
        let contained = self.rounds.contained_in(generation);
        let prefixes: Vec<&[u8]> = unknown.iter().map(|(prefix, _)| &prefix[..]).collect();
        let mut loaded: Vec<RowSet> = unknown.iter().map(|_| RowSet::default()).collect();
        let mut result = Ok(());
        snapshot.scan_prefixes(&prefixes, &mut |i, key, value| match weight(value) {
            Ok(weight) => loaded[i].add(&key[prefixes[i].len()..], weight),
            Err(e) => result = Err(e),
        })?;
        result?;
        for ((_, slot), mut rows) in unknown.iter().zip(loaded) {
            let group = &mut self.groups[*slot as usize];
            self.changes.chain(group.newest, contained).for_each(|(row, weight)| rows.add(row, weight));
            rows.settle();
            self.row_bytes = self.row_bytes + rows.heap() - group.rows.heap();
            group.rows = rows;
            group.known = Known::All;
        }
        Ok(())
    }

    /// The rows of a slot in ascending byte order with their weights (never 0; negative only if the input retracted what it never inserted).
    /// Requires `load` of this slot in the same epoch.
    pub fn rows(&self, slot: Slot) -> impl Iterator<Item = (&[u8], i64)> {
        let group = &self.groups[slot as usize];
        assert!(group.known == Known::All, "a group is loaded before its rows are looked at");
        group.rows.iter()
    }

    /// Visits the rows of a slot in ascending byte order until `each` returns false, reading from the store only as far as that
    /// (in steps of some dozens of rows): the first rows of a million cost no more than those of a thousand.
    pub fn first(&mut self, slot: Slot, each: &mut dyn FnMut(&[u8], i64) -> bool) -> Result<()> {
        self.forward(slot, &[], each)
    }

    /// Visits `row`, if it is there, and the rows behind it until `each` returns false; reads as `first` does.
    pub fn forward(&mut self, slot: Slot, row: &[u8], each: &mut dyn FnMut(&[u8], i64) -> bool) -> Result<()> {
        let mut step = FIRST_STEP;
        self.reach(slot, row, &mut step)?;
        let mut passed: Option<Box<[u8]>> = None;
        loop {
            self.settle(slot);
            let group = &self.groups[slot as usize];
            let rows = passed.as_deref().map_or_else(|| group.rows.from(row), |passed| group.rows.after(Some(passed)));
            for (row, weight) in rows {
                if !each(row, weight) {
                    return Ok(());
                }
            }
            passed = match &group.known {
                Known::Between(_, Some(last)) => Some(last.clone()),
                _ => return Ok(()),
            };
            self.extend(slot, Beyond::Last, &mut step)?;
        }
    }

    /// Visits the rows before `row` (which need not be there), the nearest first, until `each` returns false; reads as `first` does.
    pub fn backward(&mut self, slot: Slot, row: &[u8], each: &mut dyn FnMut(&[u8], i64) -> bool) -> Result<()> {
        let mut step = FIRST_STEP;
        self.reach(slot, row, &mut { FIRST_STEP })?;
        let mut passed: Box<[u8]> = row.into();
        loop {
            self.settle(slot);
            let group = &self.groups[slot as usize];
            for (row, weight) in group.rows.before(&passed) {
                if !each(row, weight) {
                    return Ok(());
                }
            }
            passed = match &group.known {
                Known::Between(Some(first), _) => first.clone(),
                _ => return Ok(()),
            };
            self.extend(slot, Beyond::First, &mut step)?;
        }
    }

    /// Makes `row` one of the known ones.
    fn reach(&mut self, slot: Slot, row: &[u8], step: &mut usize) -> Result<()> {
        let group = &mut self.groups[slot as usize];
        if group.knows(row) {
            return Ok(());
        }
        self.row_bytes -= group.rows.heap();
        (group.rows, group.known) = (RowSet::default(), Known::Nothing);
        self.extend(slot, Beyond::Nothing(row), step)
    }

    /// Brings the known rows in order.
    fn settle(&mut self, slot: Slot) {
        let rows = &mut self.groups[slot as usize].rows;
        self.row_bytes -= rows.heap();
        rows.settle();
        self.row_bytes += rows.heap();
    }

    /// Moves one of the group's bounds beyond the next `step` stored rows, or to its end; the next step is larger.
    fn extend(&mut self, slot: Slot, beyond: Beyond<'_>, step: &mut usize) -> Result<()> {
        self.extent.discover(&self.store)?;
        let prefix = self.prefix(slot);
        let (generation, snapshot) = self.store.read();
        let contained = self.rounds.contained_in(generation);
        let group = &mut self.groups[slot as usize];
        let mut news: BTreeMap<Vec<u8>, i64> = BTreeMap::new();
        let mut changes = 0;
        for (row, weight) in self.changes.chain(group.newest, contained) {
            changes += 1;
            if !group.knows(row) {
                *news.entry(row.to_vec()).or_default() += weight;
            }
        }
        // Many changes to go through: read more, so that this happens less often.
        let wanted = (*step).max(changes / 8);
        *step = (*step * 2).min(LAST_STEP);
        let (mut read, mut end, mut result) = (0, None, Ok(()));
        let mut each = |key: &[u8], value: &[u8]| {
            let row = &key[prefix.len()..];
            match weight(value) {
                Ok(weight) => *news.entry(row.to_vec()).or_default() += weight,
                Err(e) => result = Err(e),
            }
            read += 1;
            if read == wanted {
                end = Some(Box::from(row));
            }
            read < wanted && result.is_ok()
        };
        let mut edge = prefix.clone();
        match (beyond, &group.known) {
            (Beyond::Nothing(row), _) => edge.extend_from_slice(row),
            (Beyond::Last, Known::Between(_, Some(last))) => {
                edge.extend_from_slice(last);
                edge.push(0); // the next possible row
            }
            (Beyond::First, Known::Between(Some(first), _)) => edge.extend_from_slice(first),
            _ => return Ok(()),
        }
        match beyond {
            Beyond::First => snapshot.scan_back(&prefix, &edge, &mut each)?,
            _ => snapshot.scan(&edge, &after_prefix(&prefix), &mut each)?,
        }
        result?;
        self.row_bytes -= group.rows.heap();
        group.known = match (beyond, std::mem::take(&mut group.known)) {
            (Beyond::Nothing(row), _) => between(Some(row.into()).filter(|_| !row.is_empty()), end),
            (Beyond::Last, Known::Between(first, _)) => between(first, end),
            (Beyond::First, Known::Between(_, last)) => between(end, last),
            (_, known) => known,
        };
        for (row, weight) in news {
            if weight != 0 && group.knows(&row) {
                group.rows.add(&row, weight);
            }
        }
        self.row_bytes += group.rows.heap();
        Ok(())
    }

    /// What the keys of the group's rows begin with on disk.
    fn prefix(&self, slot: Slot) -> Vec<u8> {
        let mut prefix = Vec::with_capacity(64);
        self.write_prefix(slot, &mut prefix);
        prefix
    }

    fn write_prefix(&self, slot: Slot, out: &mut Vec<u8>) {
        let (key, hash) = (self.slots.key(slot), self.slots.hash(slot));
        self.extent.head(key, hash, out);
        out.extend_from_slice(&hash.to_be_bytes());
        out.extend_from_slice(&(key.len() as u32).to_be_bytes());
        out.extend_from_slice(key);
    }

    /// Windowed layout only: forgets all groups with `window_end <= upto` (µs), in memory now and on disk by range deletion at the next checkpoint.
    pub fn close(&mut self, upto: i64) {
        if self.extent.discover(&self.store).is_err() {
            self.extent.close_undiscovered(upto);
        }
        while let Some((end, window)) = self.extent.close_first(upto) {
            for slot in window.slots {
                if self.slots.is_live(slot) && self.extent.window(self.slots.key(slot)) == Some(end) {
                    self.write_early(slot);
                    self.forget(slot);
                }
            }
        }
    }

    fn forget(&mut self, slot: Slot) {
        let nobody = Group { born: Position::MAX, ..Group::default() };
        let group = std::mem::replace(&mut self.groups[slot as usize], nobody);
        self.row_bytes -= group.rows.heap();
        self.slots.remove(slot);
    }

    /// What is owed of a group that is to be forgotten.
    fn write_early(&mut self, slot: Slot) {
        let group = &self.groups[slot as usize];
        if self.changes.owed_len() == 0 {
            return;
        }
        let prefix = self.prefix(slot);
        for (row, weight) in self.changes.owed_of(group.newest) {
            self.early.push(Action::Merge, &[&prefix, row], &weight.to_le_bytes());
        }
    }

    /// Evicts down to `cache_entries` groups, if that is set.
    pub fn trim(&mut self) {
        self.drop_empty();
        let Some(limit) = self.limit else { return };
        while self.slots.live() > limit {
            let Some(slot) = self.next_idle() else { break };
            self.drop_slot(slot);
        }
    }

    fn next_idle(&mut self) -> Option<Slot> {
        let (groups, changes) = (&self.groups, &self.changes);
        self.slots.next_idle(|slot| !changes.holds(groups[slot as usize].newest))
    }

    /// Forgets groups that are known to be empty, in memory and in the store: keys that came and went, or were only asked for.
    fn drop_empty(&mut self) -> usize {
        let (mut waiting, mut freed) = (Vec::new(), 0);
        for slot in std::mem::take(&mut self.empty) {
            let group = &mut self.groups[slot as usize];
            if !group.listed || !self.slots.is_live(slot) {
                continue;
            }
            if !group.rows.is_empty() || group.known != Known::All {
                group.listed = false;
            } else if self.changes.holds(group.newest) {
                waiting.push(slot);
            } else {
                freed += self.drop_slot(slot);
            }
        }
        self.empty = waiting;
        freed
    }

    fn drop_slot(&mut self, slot: Slot) -> usize {
        let group = &self.groups[slot as usize];
        let stored = !(group.rows.is_empty() && group.known == Known::All);
        let freed = group.rows.heap() + size_of::<Group>() + self.slots.freed_by(slot);
        let window = self.extent.window(self.slots.key(slot));
        self.forget(slot);
        let slots = &self.slots;
        self.extent.evicted(window, stored, |s| slots.is_live(s) && window_of_key(slots.key(s)) == window);
        freed
    }
}

impl Kept for Multiset {
    /// What is owed: the changes since the last checkpoint, and the windows closed since.
    fn checkpoint(&mut self, generation: Generation) {
        assert!(self.changes.owed_len() == 0, "one checkpoint at a time is handed over");
        self.extent.checkpoint(&mut self.early);
        self.rounds.hand_over(generation);
        self.changes.hand_over(self.rounds.current());
    }

    fn hand_over(&mut self, piece: &mut HandOver) {
        piece.append(std::mem::take(&mut self.early));
        let count = piece.left().min(self.changes.owed_len());
        let ops = piece.add(count);
        let (mut prefix, mut prefix_of) = (Vec::new(), None);
        for (position, slot, row, weight) in self.changes.owed().take(count) {
            if position < self.groups[slot as usize].born {
                continue; // its window was closed
            }
            if prefix_of != Some(slot) {
                prefix.clear();
                self.write_prefix(slot, &mut prefix);
                prefix_of = Some(slot);
            }
            ops.push(Action::Merge, &[&prefix, row], &weight.to_le_bytes());
        }
        self.changes.written(count);
    }

    fn committed(&mut self, generation: Generation) {
        self.rounds.commit(generation);
        self.changes.commit(self.rounds.committed());
    }

    fn memory(&self) -> usize {
        self.slots.memory()
            + self.slots.live() * size_of::<Group>()
            + self.row_bytes
            + self.changes.memory()
            + self.empty.capacity() * size_of::<Slot>()
            + self.extent.memory()
    }

    fn evict(&mut self, bytes: usize) {
        let mut freed = self.drop_empty();
        while freed < bytes {
            let Some(slot) = self.next_idle() else { break };
            freed += self.drop_slot(slot);
        }
    }
}

fn between(first: Option<Box<[u8]>>, last: Option<Box<[u8]>>) -> Known {
    if first.is_none() && last.is_none() { Known::All } else { Known::Between(first, last) }
}

#[cfg(test)]
mod tests;
