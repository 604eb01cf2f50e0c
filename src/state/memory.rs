//! A store in memory, for tests: the same contract, with counted accesses and injected failures.
//!
//! Every key keeps its versions, as many as open snapshots can still see: a write appends one and drops those that nobody sees.

use super::checkpoint::{Action, Ops, weight};
use super::store::{Accesses, Durability, Snapshot, Store};
use crate::error::{Error, Kind, Result};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// See the module. Clones share the content: closing one "process" and opening the next is a clone.
#[derive(Clone, Default)]
pub struct MemoryStore {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    reads: AtomicU64,
    writes: AtomicU64,
}

#[derive(Default)]
struct State {
    /// Versions of each key, oldest first: (sequence number of the write, value or deletion).
    entries: BTreeMap<Vec<u8>, Vec<(u64, Option<Vec<u8>>)>>,
    sequence: u64,
    /// Open snapshots: sequence number -> how many.
    snapshots: BTreeMap<u64, usize>,
    fail_writes: Option<Kind>,
    fail_reads: Option<Kind>,
}

struct MemorySnapshot {
    shared: Arc<Shared>,
    sequence: u64,
}

impl MemoryStore {
    pub fn new() -> MemoryStore {
        MemoryStore::default()
    }

    /// From now on every write fails with this kind (`None`: works again). Nothing of a failed write is kept.
    pub fn fail_writes(&self, kind: Option<Kind>) {
        self.shared.state.lock().fail_writes = kind;
    }

    pub fn fail_reads(&self, kind: Option<Kind>) {
        self.shared.state.lock().fail_reads = kind;
    }

    /// Number of live entries that begin with `prefix`; not counted as a read.
    pub fn entries(&self, prefix: &[u8]) -> usize {
        let state = self.shared.state.lock();
        state.entries.range(prefix.to_vec()..).take_while(|(k, _)| k.starts_with(prefix)).filter(|(_, v)| visible(v, u64::MAX).is_some()).count()
    }
}

/// The value that a reader at `sequence` sees.
fn visible(versions: &[(u64, Option<Vec<u8>>)], sequence: u64) -> Option<&[u8]> {
    versions.iter().rev().find(|(s, _)| *s <= sequence).and_then(|(_, value)| value.as_deref())
}

impl State {
    fn apply(&mut self, ops: &Ops) -> Result<()> {
        let sequence = self.sequence + 1;
        for (from, to) in ops.ranges() {
            let keys: Vec<Vec<u8>> = self.entries.range(from.clone()..to.clone()).map(|(k, _)| k.clone()).collect();
            keys.iter().for_each(|k| self.set(k, sequence, None));
        }
        for (action, key, value) in ops.iter() {
            let value = match action {
                Action::Put => Some(value.to_vec()),
                Action::Delete => None,
                Action::Merge => {
                    let old = self.entries.get(key).and_then(|v| visible(v, u64::MAX)).map_or(Ok(0), weight)?;
                    Some(old.wrapping_add(weight(value)?)).filter(|sum| *sum != 0).map(|sum| sum.to_le_bytes().to_vec())
                }
            };
            self.set(key, sequence, value);
        }
        self.sequence = sequence;
        Ok(())
    }

    fn set(&mut self, key: &[u8], sequence: u64, value: Option<Vec<u8>>) {
        let oldest = self.snapshots.keys().next().copied().unwrap_or(u64::MAX);
        let versions = self.entries.entry(key.to_vec()).or_default();
        if versions.last().is_some_and(|(s, _)| *s == sequence) {
            versions.pop();
        }
        versions.push((sequence, value));
        // The version that the oldest snapshot sees, and all newer ones, stay.
        let seen = versions.iter().rposition(|(s, _)| *s <= oldest).unwrap_or(0);
        versions.drain(..seen);
        if let [(_, None)] = versions.as_slice() {
            self.entries.remove(key);
        }
    }
}

impl Shared {
    fn get_many(&self, sequence: u64, keys: &[&[u8]], found: &mut dyn FnMut(usize, &[u8])) -> Result<()> {
        let state = self.state.lock();
        state.fail_reads.map_or(Ok(()), |kind| Err(injected(kind)))?;
        debug_assert!(keys.is_sorted(), "look-ups come sorted");
        self.reads.fetch_add(keys.len() as u64, Ordering::Relaxed);
        for (i, key) in keys.iter().enumerate() {
            if let Some(value) = state.entries.get(*key).and_then(|v| visible(v, sequence)) {
                found(i, value);
            }
        }
        Ok(())
    }

    fn scan(&self, sequence: u64, from: &[u8], to: &[u8], each: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<()> {
        if from >= to {
            return Ok(());
        }
        let state = self.state.lock();
        state.fail_reads.map_or(Ok(()), |kind| Err(injected(kind)))?;
        for (key, versions) in state.entries.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to))) {
            if let Some(value) = visible(versions, sequence) {
                self.reads.fetch_add(1, Ordering::Relaxed);
                if !each(key, value) {
                    break;
                }
            }
        }
        Ok(())
    }

    fn scan_back(&self, sequence: u64, from: &[u8], to: &[u8], each: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<()> {
        if from >= to {
            return Ok(());
        }
        let state = self.state.lock();
        state.fail_reads.map_or(Ok(()), |kind| Err(injected(kind)))?;
        for (key, versions) in state.entries.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to))).rev() {
            if let Some(value) = visible(versions, sequence) {
                self.reads.fetch_add(1, Ordering::Relaxed);
                if !each(key, value) {
                    break;
                }
            }
        }
        Ok(())
    }
}

fn injected(kind: Kind) -> Error {
    Error::new(kind, "injected failure")
}

impl Store for MemoryStore {
    fn get_many(&self, keys: &[&[u8]], found: &mut dyn FnMut(usize, &[u8])) -> Result<()> {
        self.shared.get_many(u64::MAX, keys, found)
    }

    fn scan(&self, from: &[u8], to: &[u8], each: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<()> {
        self.shared.scan(u64::MAX, from, to, each)
    }

    fn write(&self, ops: Ops, _durability: Durability) -> Result<()> {
        let mut state = self.shared.state.lock();
        state.fail_writes.map_or(Ok(()), |kind| Err(injected(kind)))?;
        self.shared.writes.fetch_add((ops.len() + ops.ranges().len()) as u64, Ordering::Relaxed);
        state.apply(&ops)
    }

    fn snapshot(&self) -> Arc<dyn Snapshot> {
        let mut state = self.shared.state.lock();
        let sequence = state.sequence;
        *state.snapshots.entry(sequence).or_default() += 1;
        Arc::new(MemorySnapshot { shared: self.shared.clone(), sequence })
    }

    fn accesses(&self) -> Accesses {
        Accesses { reads: self.shared.reads.load(Ordering::Relaxed), writes: self.shared.writes.load(Ordering::Relaxed) }
    }
}

impl Snapshot for MemorySnapshot {
    fn get_many(&self, keys: &[&[u8]], found: &mut dyn FnMut(usize, &[u8])) -> Result<()> {
        self.shared.get_many(self.sequence, keys, found)
    }

    fn scan(&self, from: &[u8], to: &[u8], each: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<()> {
        self.shared.scan(self.sequence, from, to, each)
    }

    fn scan_back(&self, from: &[u8], to: &[u8], each: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<()> {
        self.shared.scan_back(self.sequence, from, to, each)
    }
}

impl Drop for MemorySnapshot {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        if let Some(count) = state.snapshots.get_mut(&self.sequence) {
            *count -= 1;
            if *count == 0 {
                state.snapshots.remove(&self.sequence);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(store: &dyn Snapshot) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut rows = Vec::new();
        store
            .scan(&[0], &[0xFE], &mut |k, v| {
                rows.push((k.to_vec(), v.to_vec()));
                true
            })
            .unwrap();
        rows
    }

    #[test]
    fn ranges_apply_first_and_merges_that_add_up_to_nothing_are_gone() {
        let store = MemoryStore::new();
        let mut ops = Ops::default();
        ops.merge(b"a", 2);
        ops.merge(b"a", -2);
        ops.put(b"b", b"old");
        store.write(ops, Durability::Logged).unwrap();
        let before = store.snapshot();
        let mut ops = Ops::default();
        ops.put(b"c", b"new");
        ops.delete_range(b"a", b"z");
        store.write(ops, Durability::Logged).unwrap();
        assert_eq!(all(&*before), [(b"b".to_vec(), b"old".to_vec())]);
        assert_eq!(all(&*store.snapshot()), [(b"c".to_vec(), b"new".to_vec())]);
        assert_eq!(store.entries(b""), 1);
        drop(before);
        let mut ops = Ops::default();
        ops.delete(b"c");
        store.write(ops, Durability::Logged).unwrap();
        assert!(store.shared.state.lock().entries.len() <= 1, "versions that nobody sees are dropped");
    }

    #[test]
    fn a_failed_write_leaves_nothing() {
        let store = MemoryStore::new();
        store.fail_writes(Some(Kind::DiskFull));
        let mut ops = Ops::default();
        ops.put(b"a", b"1");
        assert_eq!(store.write(ops, Durability::Synced).unwrap_err().kind(), Kind::DiskFull);
        assert_eq!(store.entries(b""), 0);
    }
}
