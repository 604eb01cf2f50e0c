//! What the system keeps about itself, for the relations of the schema `tidewater`: partitions of sources, dead letters, late rows,
//! evaluation errors, views being built. Counters are exact for ever: they are part of each checkpoint, and replay counts again what came after it.

use super::feed::{Feed, PartitionState};
use super::sinks::Outbox;
use super::subscriptions::queue::Queue;
use crate::connectors::connector::{DeadRecord, Partition};
use crate::dataflow::operator::Sunk;
use crate::dataflow::worker::ViewChange;
use crate::error::{Error, Kind, Result};
use crate::state::checkpoint::Ops;
use crate::state::log::Logs;
use crate::types::ids::ObjectId;
use crate::types::pretty;
use crate::types::time::Epoch;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Dead letters, late rows and errors kept for each source or view; older ones are trimmed and counted.
pub const KEPT_PER_OBJECT: usize = 10_000;
/// Bytes of a raw record kept with its dead letter.
const KEPT_RAW_BYTES: usize = 64 * 1024;

/// One dead letter.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeadLetter {
    pub partition: Partition,
    pub position: i64,
    /// The record's own time, µs, if it has one.
    pub timestamp: Option<i64>,
    /// Processing time at which it was set aside, µs.
    pub at: i64,
    pub error: String,
    pub raw: Vec<u8>,
}

/// One late row.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LateRow {
    pub epoch: Epoch,
    /// What the epoch read of each source, by partition: the row is in there.
    #[serde(default)]
    pub source_positions: String,
    pub window_end: i64,
    pub row: String,
    pub weight: i64,
}

/// Rows on which an expression failed, by their text: a Z-set.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Failing {
    pub sqlstate: String,
    pub message: String,
    pub weight: i64,
}

/// Kept items of one object, with exact counts of all there ever were.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Kept<T> {
    pub total: u64,
    pub items: VecDeque<T>,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Kept { total: 0, items: VecDeque::new() }
    }
}

impl<T> Kept<T> {
    fn push(&mut self, item: T, count: u64) {
        self.total += count;
        self.items.push_back(item);
        if self.items.len() > KEPT_PER_OBJECT {
            self.items.pop_front();
        }
    }

    pub fn trimmed(&self) -> u64 {
        self.total - (self.items.len() as u64).min(self.total)
    }
}

/// The durable part, JSON in the record `system`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Durable {
    pub dead: BTreeMap<ObjectId, Kept<DeadLetter>>,
    pub late: BTreeMap<ObjectId, Kept<LateRow>>,
    pub errors: BTreeMap<ObjectId, BTreeMap<String, Failing>>,
    #[serde(default)]
    pub sunk: BTreeMap<ObjectId, Sunk>,
}

/// How far a view's building is.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    pub rows: u64,
    /// About how many there will be; `None`: a source does not tell.
    pub expected: Option<u64>,
    /// Since CREATE, without the time that the server was down.
    pub elapsed: Duration,
    /// Rows per second since the start of this server.
    pub rate: f64,
    pub phase: String,
}

impl Progress {
    /// Seconds that are left.
    pub fn eta(&self) -> Option<f64> {
        let left = self.expected?.saturating_sub(self.rows) as f64;
        (self.rate > 0.0).then(|| left / self.rate)
    }
}

impl std::fmt::Display for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ", self.rows)?;
        if let Some(expected) = self.expected {
            write!(f, "of about {expected} ")?;
        }
        write!(f, "rows taken in, in {:.1} s", self.elapsed.as_secs_f64())?;
        self.eta().map_or(Ok(()), |eta| write!(f, "; about {eta:.0} s left"))
    }
}

/// The newest state of one live source.
#[derive(Clone, Debug)]
pub struct SourceStatus {
    pub partitions: BTreeMap<Partition, PartitionState>,
    pub watermark: i64,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct CheckpointStatus {
    pub epoch: Epoch,
    pub took: Duration,
    pub count: u64,
}

#[derive(Default)]
pub struct System {
    durable: Mutex<Durable>,
    changed: std::sync::atomic::AtomicBool,
    building: Mutex<BTreeMap<ObjectId, Progress>>,
    sources: Mutex<BTreeMap<ObjectId, SourceStatus>>,
    outboxes: Mutex<BTreeMap<ObjectId, Arc<Outbox>>>,
    subscriptions: Mutex<Vec<Weak<Queue>>>,
    checkpoint: Mutex<CheckpointStatus>,
    state_bytes: std::sync::atomic::AtomicUsize,
    shown_clock: std::sync::atomic::AtomicI64,
}

pub const RECORD: &str = "system";

impl System {
    pub fn restore(&self, bytes: &[u8]) -> Result<()> {
        let durable = serde_json::from_slice(bytes)
            .map_err(|e| Error::new(Kind::DataCorrupted, "the record of dead letters and late rows is damaged").with_detail(e.to_string()))?;
        *self.durable.lock() = durable;
        Ok(())
    }

    /// `at`: the clock of the cut that took them.
    pub fn record_dead(&self, source: ObjectId, dead: Vec<(Partition, DeadRecord)>, at: i64) {
        if dead.is_empty() {
            return;
        }
        let mut durable = self.durable.lock();
        let kept = durable.dead.entry(source).or_default();
        for (partition, record) in dead {
            let raw = record.raw[..record.raw.len().min(KEPT_RAW_BYTES)].to_vec();
            kept.push(DeadLetter { partition, position: record.position, timestamp: record.timestamp, at, error: record.error, raw }, 1);
        }
        self.touch();
    }

    /// What one epoch set aside for one view, or put into one sink. `source_positions` is asked only for late rows.
    pub fn record_change(&self, change: &ViewChange, epoch: Epoch, source_positions: &dyn Fn() -> String) -> Result<()> {
        let ViewChange { view, late, errors, sunk, .. } = change;
        if late.is_empty() && errors.is_empty() && sunk.is_none() {
            return Ok(());
        }
        let view = *view;
        let mut durable = self.durable.lock();
        if let Some(sunk) = sunk {
            *durable.sunk.entry(view).or_default() += *sunk;
        }
        let source_positions = if late.is_empty() { String::new() } else { source_positions() };
        for rows in late {
            let kept = durable.late.entry(view).or_default();
            for (i, text) in pretty::rows(rows.rows.batch())?.into_iter().enumerate() {
                let weight = rows.rows.weight(i);
                kept.push(
                    LateRow { epoch, source_positions: source_positions.clone(), window_end: rows.window_end[i], row: text, weight },
                    weight.unsigned_abs(),
                );
            }
        }
        for failed in errors {
            let failing = durable.errors.entry(view).or_default();
            for (i, (row, (sqlstate, message))) in pretty::rows(failed.rows.batch())?.into_iter().zip(&failed.errors).enumerate() {
                let key = format!("{row} | {message}");
                let entry = failing.entry(key.clone()).or_insert_with(|| Failing { sqlstate: sqlstate.to_string(), message: message.clone(), weight: 0 });
                entry.weight += failed.rows.weight(i);
                if entry.weight == 0 {
                    failing.remove(&key);
                }
            }
        }
        self.touch();
        Ok(())
    }

    fn touch(&self) {
        self.changed.store(true, std::sync::atomic::Ordering::Relaxed);
    }

    /// Adds the durable part to a checkpoint, if it has changed since the last one.
    pub fn checkpoint(&self, ops: &mut Ops, logs: &Logs) {
        if self.changed.swap(false, std::sync::atomic::Ordering::Relaxed) {
            let bytes = serde_json::to_vec(&*self.durable.lock()).expect("texts and numbers serialize");
            logs.put_record_into(RECORD, &bytes, ops);
        }
    }

    pub fn forget(&self, ids: &[ObjectId]) {
        let mut durable = self.durable.lock();
        for id in ids {
            durable.dead.remove(id);
            durable.late.remove(id);
            durable.errors.remove(id);
            durable.sunk.remove(id);
            self.building.lock().remove(id);
            self.sources.lock().remove(id);
            self.outboxes.lock().remove(id);
        }
        self.touch();
    }

    /// A sink that has no more room for what it has still to publish.
    pub fn full_outbox(&self) -> Option<ObjectId> {
        self.outboxes.lock().iter().find(|(_, outbox)| outbox.is_full()).map(|(sink, _)| *sink)
    }

    pub fn set_outbox(&self, sink: ObjectId, outbox: Arc<Outbox>) {
        self.outboxes.lock().insert(sink, outbox);
    }

    /// Of sinks that publish.
    pub fn outboxes(&self) -> BTreeMap<ObjectId, Arc<Outbox>> {
        self.outboxes.lock().clone()
    }

    pub fn subscribed(&self, queue: &Arc<Queue>) {
        let mut subscriptions = self.subscriptions.lock();
        subscriptions.retain(|queue| queue.strong_count() > 0);
        subscriptions.push(Arc::downgrade(queue));
    }

    /// Subscriptions that there are, oldest first.
    pub fn subscriptions(&self) -> Vec<Arc<Queue>> {
        self.subscriptions.lock().iter().filter_map(Weak::upgrade).filter(|queue| queue.is_open()).collect()
    }

    pub fn progress(&self, view: ObjectId, progress: Progress) {
        self.building.lock().insert(view, progress);
    }

    pub fn built(&self, view: ObjectId) {
        self.building.lock().remove(&view);
    }

    pub fn building(&self) -> BTreeMap<ObjectId, Progress> {
        self.building.lock().clone()
    }

    pub fn update_feeds(&self, feeds: &BTreeMap<ObjectId, Feed>) {
        let mut sources = self.sources.lock();
        sources.retain(|id, _| feeds.contains_key(id));
        for (id, feed) in feeds {
            sources.insert(*id, SourceStatus { partitions: feed.partitions.clone(), watermark: feed.watermark });
        }
    }

    pub fn sources(&self) -> BTreeMap<ObjectId, SourceStatus> {
        self.sources.lock().clone()
    }

    pub fn durable<T>(&self, read: impl FnOnce(&Durable) -> T) -> T {
        read(&self.durable.lock())
    }

    pub fn checkpointed(&self, epoch: Epoch, took: Duration) {
        let mut status = self.checkpoint.lock();
        *status = CheckpointStatus { epoch, took, count: status.count + 1 };
    }

    /// Bytes of operator state in memory, after the last step.
    pub fn set_state_bytes(&self, bytes: usize) {
        self.state_bytes.store(bytes, std::sync::atomic::Ordering::Relaxed);
    }

    /// The clock of the newest epoch that is shown, µs.
    pub fn set_shown_clock(&self, clock: i64) {
        self.shown_clock.store(clock, std::sync::atomic::Ordering::Relaxed);
    }

    pub fn shown_clock(&self) -> i64 {
        self.shown_clock.load(std::sync::atomic::Ordering::Relaxed)
    }

    pub fn state_bytes(&self) -> usize {
        self.state_bytes.load(std::sync::atomic::Ordering::Relaxed)
    }

    pub fn checkpoint_status(&self) -> CheckpointStatus {
        *self.checkpoint.lock()
    }
}
