//! The seam to what keeps bytes: an ordered map with atomic batches and snapshots. Two sides: RocksDB and,
//! for tests, memory.

use super::checkpoint::Ops;
use crate::error::Result;
use std::sync::Arc;

/// Ordered map from key bytes to value bytes. A value written by `merge` is an `i64` weight, little-endian, that adds up; a sum of
/// zero reads as absent.
pub trait Store: Send + Sync {
    /// Values of `keys`, which are sorted and distinct; `found(i, value)` is called in order for each of them that exists.
    fn get_many(&self, keys: &[&[u8]], found: &mut dyn FnMut(usize, &[u8])) -> Result<()>;

    /// Entries with `from <= key < to`, in order, until `each` returns false.
    fn scan(&self, from: &[u8], to: &[u8], each: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<()>;

    /// All of `ops` or nothing. `Durability::Synced` returns when they survive power loss, `Logged` when they survive `kill -9`.
    fn write(&self, ops: Ops, durability: Durability) -> Result<()>;

    /// The state as of now, unchanged by later writes.
    fn snapshot(&self) -> Arc<dyn Snapshot>;

    /// Nothing is written any more: ends the store's own background work and waits for it, so that the program may end.
    fn close(&self) {}

    /// Reads counted since start (get keys + scanned entries) and entries written: tests compare them.
    fn accesses(&self) -> Accesses;
}

/// A frozen view of a store.
pub trait Snapshot: Send + Sync {
    fn get_many(&self, keys: &[&[u8]], found: &mut dyn FnMut(usize, &[u8])) -> Result<()>;
    fn scan(&self, from: &[u8], to: &[u8], each: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<()>;

    /// About how many bytes of files the entries with `from <= key < to` take: for estimates, so 0 where it is not known.
    fn file_bytes(&self, _from: &[u8], _to: &[u8]) -> u64 {
        0
    }

    /// Entries with `from <= key < to`, the last one first, until `each` returns false.
    fn scan_back(&self, from: &[u8], to: &[u8], each: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<()>;

    /// All entries that begin with one of `prefixes`, which are sorted; `each` is told which. For many short groups one call is
    /// several times cheaper than one `scan` each. The prefixes must be as long as the space's hash prefix or longer.
    fn scan_prefixes(&self, prefixes: &[&[u8]], each: &mut dyn FnMut(usize, &[u8], &[u8])) -> Result<()> {
        for (i, prefix) in prefixes.iter().enumerate() {
            self.scan(prefix, &after_prefix(prefix), &mut |key, value| {
                each(i, key, value);
                true
            })?;
        }
        Ok(())
    }
}

/// The smallest key behind all keys that begin with `prefix`.
pub fn after_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < 0xFF {
            end.push(last + 1);
            return end;
        }
    }
    unreachable!("every prefix begins with a space byte, and 0xFF is none")
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    Logged,
    Synced,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accesses {
    pub reads: u64,
    pub writes: u64,
}
