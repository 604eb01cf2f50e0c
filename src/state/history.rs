//! What relations were changed by, epoch by epoch, for those who go on reading where they were: one entry per epoch, with marks between them.
//!
//! ```text
//!   mark 40   entry 43, entry 44   mark 50   entry 58   mark 60          the first mark: whoever has everything up to epoch 40 can go on
//! ```
//!
//! Entries are written with the checkpoint that contains their epoch, those behind it are made again by a replay. A mark goes with each such checkpoint and tells the clock and how many
//! bytes stand before it, so that old entries are deleted, and found again at a start, without reading any.

use super::checkpoint::{Ops, space};
use super::store::{Snapshot, Store, after_prefix};
use crate::error::{Error, Kind, Result};
use crate::types::ids::ObjectId;
use crate::types::time::Epoch;
use std::collections::{BTreeMap, VecDeque};

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    pub epoch: Epoch,
    /// At that epoch, µs.
    pub clock: i64,
    /// Of the entries since the mark before, about.
    pub bytes: u64,
}

fn key(space: u8, relation: ObjectId, epoch: Epoch) -> Vec<u8> {
    [&[space][..], &relation.0.to_be_bytes(), &epoch.0.to_be_bytes()].concat()
}

pub fn put_entry(relation: ObjectId, epoch: Epoch, change: &[u8], ops: &mut Ops) {
    ops.put(&key(space::HISTORY, relation, epoch), change);
}

pub fn put_mark(relation: ObjectId, mark: Mark, ops: &mut Ops) {
    ops.put(&key(space::HISTORY_MARK, relation, mark.epoch), &[mark.clock.to_le_bytes(), mark.bytes.to_le_bytes()].concat());
}

/// The history begins at the mark `next`, and no longer at `first`.
pub fn trim(relation: ObjectId, first: Mark, next: Mark, ops: &mut Ops) {
    ops.delete(&key(space::HISTORY_MARK, relation, first.epoch));
    if next.bytes > 0 {
        ops.delete_range(&key(space::HISTORY, relation, first.epoch), &key(space::HISTORY, relation, next.epoch.next()));
    }
}

/// Nothing is left of a relation's history.
pub fn delete(relation: ObjectId, ops: &mut Ops) {
    for space in [space::HISTORY, space::HISTORY_MARK] {
        let all = [&[space][..], &relation.0.to_be_bytes()].concat();
        ops.delete_range(&all, &after_prefix(&all));
    }
}

/// All relations' marks, oldest first.
pub fn marks(store: &dyn Store) -> Result<BTreeMap<ObjectId, VecDeque<Mark>>> {
    let mut found: BTreeMap<ObjectId, VecDeque<Mark>> = BTreeMap::new();
    let mut damaged = false;
    store.scan(&[space::HISTORY_MARK], &after_prefix(&[space::HISTORY_MARK]), &mut |key, value| {
        match mark(key, value) {
            Some((relation, mark)) => found.entry(relation).or_default().push_back(mark),
            None => damaged = true,
        }
        !damaged
    })?;
    if damaged { Err(Error::new(Kind::DataCorrupted, "a mark of a relation's history is damaged")) } else { Ok(found) }
}

fn mark(key: &[u8], value: &[u8]) -> Option<(ObjectId, Mark)> {
    let (relation, epoch) = key.get(1..)?.split_first_chunk()?;
    let (clock, bytes) = value.split_first_chunk()?;
    let epoch = Epoch(u64::from_be_bytes(epoch.try_into().ok()?));
    Some((ObjectId(u32::from_be_bytes(*relation)), Mark { epoch, clock: i64::from_le_bytes(*clock), bytes: u64::from_le_bytes(bytes.try_into().ok()?) }))
}

/// Entries behind `epoch`, oldest first, until there are about so many bytes.
pub fn entries_after(snapshot: &dyn Snapshot, relation: ObjectId, epoch: Epoch, bytes: usize) -> Result<Vec<(Epoch, Vec<u8>)>> {
    let (mut entries, mut taken) = (Vec::new(), 0);
    let end = after_prefix(&[&[space::HISTORY][..], &relation.0.to_be_bytes()].concat());
    snapshot.scan(&key(space::HISTORY, relation, epoch.next()), &end, &mut |key, value| {
        let epoch = key[5..].iter().fold(0, |n, byte| n << 8 | u64::from(*byte));
        entries.push((Epoch(epoch), value.to_vec()));
        taken += value.len();
        taken < bytes
    })?;
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::memory::MemoryStore;
    use crate::state::store::Durability;

    const RELATION: ObjectId = ObjectId(7);

    #[test]
    fn what_is_behind_an_epoch_is_read_in_pieces_until_it_is_trimmed() {
        let store = MemoryStore::new();
        let mark = |epoch: u64, bytes| Mark { epoch: Epoch(epoch), clock: epoch as i64 * 1000, bytes };
        let mut ops = Ops::default();
        for epoch in [43, 44, 58] {
            put_entry(RELATION, Epoch(epoch), &epoch.to_be_bytes(), &mut ops);
        }
        [mark(40, 0), mark(50, 16), mark(60, 8)].into_iter().for_each(|m| put_mark(RELATION, m, &mut ops));
        put_mark(ObjectId(8), mark(1, 0), &mut ops);
        store.write(ops, Durability::Logged).unwrap();
        let after = |epoch: u64, bytes| {
            let entries = entries_after(store.snapshot().as_ref(), RELATION, Epoch(epoch), bytes).unwrap();
            entries.into_iter().map(|(e, _)| e.0).collect::<Vec<_>>()
        };
        assert_eq!((after(40, 100), after(43, 100), after(40, 1), after(58, 100)), (vec![43, 44, 58], vec![44, 58], vec![43], vec![]));
        assert_eq!(marks(&store).unwrap()[&RELATION], [mark(40, 0), mark(50, 16), mark(60, 8)]);
        let mut ops = Ops::default();
        trim(RELATION, mark(40, 0), mark(50, 16), &mut ops);
        store.write(ops, Durability::Logged).unwrap();
        assert_eq!(after(0, 100), [58]);
        assert_eq!(marks(&store).unwrap()[&RELATION], [mark(50, 16), mark(60, 8)]);
        let mut ops = Ops::default();
        delete(RELATION, &mut ops);
        store.write(ops, Durability::Logged).unwrap();
        assert!(after(0, 100).is_empty());
        assert_eq!(marks(&store).unwrap().keys().collect::<Vec<_>>(), [&ObjectId(8)]);
    }
}
