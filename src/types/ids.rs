//! Names of things, as numbers that are durable: they are part of keys on disk and never used again.

use serde::{Deserialize, Serialize};
use std::fmt;

/// An object of the catalog: a source, table, view or materialized view. Also its OID towards clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectId(pub u32);

/// Processing time as a source of event time: its watermark at the end of an epoch is the epoch's clock less one, for the next epoch may have the same clock.
pub const CLOCK: ObjectId = ObjectId(u32::MAX);

/// A state table: what one operator remembers, or the rows of one view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TableId(pub u32);

/// A node of the dataflow graph, in topological order within its view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId(pub u32);

/// Number of virtual nodes: shares of the key space that threads own ranges of.
pub const VIRTUAL_NODES: usize = 256;

/// The virtual node of a key: the top byte of its hash.
pub fn virtual_node(hash: u64) -> u8 {
    (hash >> 56) as u8
}

/// Which of `workers` threads owns a virtual node; owners hold contiguous ranges.
pub fn owner(node: u8, workers: usize) -> usize {
    node as usize * workers / VIRTUAL_NODES
}

/// The first and last virtual node that `worker` of `workers` owns.
pub fn owned_range(worker: usize, workers: usize) -> (u8, u8) {
    let first = (worker * VIRTUAL_NODES).div_ceil(workers);
    let end = ((worker + 1) * VIRTUAL_NODES).div_ceil(workers);
    (first as u8, (end - 1) as u8)
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for TableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "t{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_virtual_node_is_owned_once_and_ranges_agree_with_owner() {
        for workers in 1..=16 {
            for worker in 0..workers {
                let (first, last) = owned_range(worker, workers);
                for node in 0..=255u8 {
                    assert_eq!(owner(node, workers) == worker, (first..=last).contains(&node), "{node} of {workers}");
                }
            }
        }
    }
}
