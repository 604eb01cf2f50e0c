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

    /// Reads counted since start (get keys + scanned entries) and entries written: tests compare them.
    fn accesses(&self) -> Accesses;
}

/// A frozen view of a store.
pub trait Snapshot: Send + Sync {
    fn get_many(&self, keys: &[&[u8]], found: &mut dyn FnMut(usize, &[u8])) -> Result<()>;
    fn scan(&self, from: &[u8], to: &[u8], each: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<()>;
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
