//! A cut: what one epoch takes in, as the epoch log keeps it. Replaying the logged cuts over the state of the last checkpoint shows every
//! epoch again that was shown before a crash, row for row (design, invariant 2).

use crate::connectors::connector::{Partition, Position};
use crate::error::{Error, Kind, Result};
use crate::types::ids::ObjectId;
use crate::types::time::Epoch;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Format version 1, JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    pub epoch: Epoch,
    /// Processing time of the epoch, µs.
    pub clock: i64,
    pub sources: BTreeMap<ObjectId, SourceCut>,
    /// Position in each table's log behind the last change that is in.
    pub tables: BTreeMap<ObjectId, u64>,
}

/// What an epoch takes from one source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceCut {
    /// Position behind the last record that is in, for partitions that moved.
    pub ends: BTreeMap<Partition, Position>,
    /// The source's watermark after the epoch, µs.
    pub watermark: i64,
    /// Partitions that count as idle, so that they hold no window open.
    pub idle: BTreeSet<Partition>,
    /// Partitions whose input has ended for good.
    pub ended: BTreeSet<Partition>,
    /// Records set aside because their event time lay too far ahead of the clock: the verdict of the first reading holds on replay.
    pub ahead: Vec<(Partition, Position)>,
}

impl Cut {
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a cut has only numbers and maps with number keys")
    }

    pub fn decode(bytes: &[u8]) -> Result<Cut> {
        serde_json::from_slice(bytes).map_err(|e| Error::new(Kind::DataCorrupted, "the epoch log is damaged").with_detail(e.to_string()))
    }
}
