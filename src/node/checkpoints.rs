//! Checkpoints: every so often the workers hand over their dirty state, and a thread of its own writes it in one atomic commit while epochs go on.
//!
//! ```text
//!   epoch E done -> positions, counters, catalog changes; workers: what is dirty is owed
//!                -> a piece of it as ops after each epoch, until all is handed over -> written, synced -> readers swap to the new snapshot
//! ```
//!
//! One is under way at a time. The commit deletes what it makes superfluous: the epoch log up to E and the table logs up to E's positions.

use super::feed::PartitionState;
use super::isolated::Isolated;
use super::metrics;
use super::resume::BuildingRecord;
use super::scheduler::{Running, Scheduler};
use super::sources;
use crate::catalog::catalog;
use crate::catalog::object::Object;
use crate::connectors::connector::Partition;
use crate::dataflow::worker::Command as WorkerCommand;
use crate::error::{Error, Result};
use crate::plan::ViewPlan;
use crate::state::checkpoint::{Generation, Ops};
use crate::state::log::{Checkpointer, Commit, CommitDone};
use crate::state::store::Snapshot;
use crate::types::ids::ObjectId;
use crate::types::time::{Epoch, Watermarks};
use ::metrics::histogram;
use crossbeam_channel::{Receiver, TryRecvError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// What a checkpoint records besides state (JSON, in the record `checkpoint`).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Record {
    pub epoch: Epoch,
    pub generation: u32,
    /// The clock of the newest step, µs.
    #[serde(default)]
    pub clock: i64,
    pub watermarks: Watermarks,
    pub sources: BTreeMap<ObjectId, SourceRecord>,
    /// Position in each table's log behind the last change in the state.
    pub tables: BTreeMap<ObjectId, u64>,
    /// How far views that are being built have come.
    #[serde(default)]
    pub building: BTreeMap<ObjectId, BuildingRecord>,
    /// The epoch that the state of each isolated view is of.
    #[serde(default)]
    pub isolated: BTreeMap<ObjectId, Epoch>,
    /// Positions of the next entries in sinks' outboxes.
    #[serde(default)]
    pub outboxes: BTreeMap<ObjectId, u64>,
}

impl Record {
    pub fn outbox_position(&self, sink: ObjectId) -> u64 {
        self.outboxes.get(&sink).copied().unwrap_or(0)
    }
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SourceRecord {
    pub watermark: i64,
    pub partitions: BTreeMap<Partition, PartitionState>,
}

pub const RECORD: &str = "checkpoint";

/// A checkpoint is followed by a pause of so many times what it took, at most by this one: writing state takes a tenth of the time, and not the machine from those who
/// make it. What a restart has to read again grows as much.
const PAUSE: u32 = 9;
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The checkpoint under way, and what waits for it.
pub struct CheckpointState {
    checkpointer: Checkpointer,
    snapshot: Arc<dyn Snapshot>,
    pub last_epoch: Epoch,
    generation: Generation,
    started: Instant,
    /// How long the last one took.
    took: Duration,
    /// Bytes of operator state when the last one started.
    state_bytes: usize,
    under_way: Option<UnderWay>,
    flushes: Vec<oneshot::Sender<Result<()>>>,
}

struct UnderWay {
    epoch: Epoch,
    generation: Generation,
    /// Handed over so far, and what is still to come from workers (`None`: all has, and the checkpoint thread has it).
    parts: Vec<Ops>,
    handing_over: Option<Receiver<Ops>>,
    /// Workers that have a part in it, and the thread that writes histories if there is something to write.
    workers: usize,
    replies: Vec<oneshot::Sender<Result<()>>>,
    ready: Vec<ObjectId>,
}

impl CheckpointState {
    pub fn new(checkpointer: Checkpointer, snapshot: Arc<dyn Snapshot>, record: &Record) -> Self {
        CheckpointState {
            checkpointer,
            snapshot,
            last_epoch: record.epoch,
            generation: Generation(record.generation),
            started: Instant::now(),
            took: Duration::ZERO,
            state_bytes: 0,
            under_way: None,
            flushes: Vec::new(),
        }
    }

    pub fn done(&self) -> &Receiver<CommitDone> {
        self.checkpointer.done()
    }

    pub fn snapshot(&self) -> Arc<dyn Snapshot> {
        self.snapshot.clone()
    }

    pub fn flush(&mut self, reply: oneshot::Sender<Result<()>>) {
        self.flushes.push(reply);
    }

    /// Where workers send what they hand over.
    pub fn handing_over(&self) -> Option<&Receiver<Ops>> {
        self.under_way.as_ref()?.handing_over.as_ref()
    }

    /// Takes in what workers have handed over of the checkpoint under way, or waits for all of it; the last part sends it to be written.
    fn gather(&mut self, wait: bool) -> Result<()> {
        let Some(under_way) = &mut self.under_way else { return Ok(()) };
        let Some(handing_over) = &under_way.handing_over else { return Ok(()) };
        // The first part is of no worker.
        while under_way.parts.len() <= under_way.workers {
            let part = match handing_over.try_recv() {
                Err(TryRecvError::Empty) if wait => handing_over.recv().ok(),
                Err(TryRecvError::Empty) => return Ok(()),
                part => part.ok(),
            };
            under_way.parts.push(part.ok_or_else(|| Error::internal("a worker thread has ended"))?);
        }
        under_way.handing_over = None;
        self.checkpointer.submit(Commit { generation: under_way.generation, parts: std::mem::take(&mut under_way.parts) })
    }

    /// How long the scheduler may sleep without missing a checkpoint.
    pub fn until_due(&self, dirty: bool) -> Duration {
        if dirty { Duration::from_millis(20) } else { Duration::from_secs(1) }
    }
}

impl Scheduler {
    /// Starts a checkpoint if the interval has passed, somebody waits for one, or unwritten rows take too much memory.
    pub(super) fn start_checkpoint_if_due(&mut self) -> Result<()> {
        let state = &self.checkpoints;
        if state.under_way.is_some() || (!self.dirty() && state.flushes.is_empty()) {
            return Ok(());
        }
        let rested = state.took + (state.took * PAUSE).min(LONGEST_PAUSE);
        let due = state.started.elapsed() >= self.shared.limits.checkpoint_interval.max(rested)
            || !state.flushes.is_empty()
            || self.run_bytes() > self.shared.limits.run_bytes
            || self.grown() > self.shared.limits.dirty_bytes
            || self.all_state_bytes() > self.shared.limits.state_bytes
            || self.isolated.iter().any(Isolated::awaits_checkpoint);
        if due { self.start_checkpoint(Ops::default(), Vec::new(), Vec::new()) } else { Ok(()) }
    }

    /// Bytes of operator state in memory.
    pub(super) fn all_state_bytes(&self) -> usize {
        self.state_bytes + self.isolated.iter().map(Isolated::memory).sum::<usize>()
    }

    /// Bytes of view rows, of what new sinks are to publish, and of changes that are kept for subscribers, that are not in the store.
    pub(super) fn run_bytes(&self) -> usize {
        self.relations.values().map(|r| r.run_bytes()).sum::<usize>() + self.owed_bytes() + self.subscriptions.held_bytes()
    }

    /// Bytes that operator state has grown by since the last checkpoint started: about what the next one has to write.
    fn grown(&self) -> usize {
        self.state_bytes.saturating_sub(self.checkpoints.state_bytes)
    }

    /// Backpressure: while the checkpoint under way cannot keep up with the input, no epoch is formed, and the input waits where it is.
    pub(super) fn hold_back(&mut self) -> Result<()> {
        let limits = &self.shared.limits;
        if self.grown() > 2 * limits.dirty_bytes || self.run_bytes() > 2 * limits.run_bytes {
            self.await_checkpoint()?;
        }
        Ok(())
    }

    /// A checkpoint that also makes a new object durable; `reply` is told when it is.
    pub(super) fn checkpoint_with(&mut self, object: Object, reply: Option<oneshot::Sender<Result<()>>>) -> Result<()> {
        self.await_checkpoint()?;
        let mut ops = Ops::default();
        self.shared.logs.put_object(object.id, &catalog::encode(&object)?, &mut ops);
        self.start_checkpoint(ops, reply.into_iter().collect(), vec![object.id])
    }

    pub(super) fn start_checkpoint(&mut self, extra: Ops, mut replies: Vec<oneshot::Sender<Result<()>>>, ready: Vec<ObjectId>) -> Result<()> {
        self.bring_buildings_up_to_date()?;
        self.checkpoints.generation = Generation(self.checkpoints.generation.0 + 1);
        let generation = self.checkpoints.generation;
        let (reply, handing_over) = crossbeam_channel::unbounded();
        self.send_all(|| WorkerCommand::Checkpoint { generation, reply: reply.clone() })?;
        self.relations.values_mut().for_each(|rows| rows.seal());
        let mut ops = extra;
        let workers = self.workers.len() + self.checkpoint_isolated(generation, &reply, &mut ops)? + self.checkpoint_histories(&reply, &mut ops)?;
        let record = self.record(generation);
        self.shared.logs.put_record_into(RECORD, &serde_json::to_vec(&record).expect("a record has only numbers and number keys"), &mut ops);
        self.shared.logs.trim_epochs(record.epoch, &mut ops);
        for (table, position) in &record.tables {
            self.shared.logs.trim_table(*table, *position, &mut ops);
        }
        self.shared.system.checkpoint(&mut ops, &self.shared.logs);
        self.checkpoint_outboxes(&mut ops);
        replies.append(&mut self.checkpoints.flushes);
        self.checkpoints.under_way =
            Some(UnderWay { epoch: record.epoch, generation, parts: vec![ops], handing_over: Some(handing_over), workers, replies, ready });
        self.checkpoints.started = Instant::now();
        self.checkpoints.state_bytes = self.state_bytes;
        self.checkpoints.last_epoch = record.epoch;
        Ok(())
    }

    fn record(&self, generation: Generation) -> Record {
        let sources = self.main.feeds.iter().map(|(id, f)| (*id, SourceRecord { watermark: f.watermark, partitions: f.partitions.clone() })).collect();
        Record {
            epoch: self.epoch,
            generation: generation.0,
            clock: self.clock,
            watermarks: self.main.watermarks.clone(),
            sources,
            tables: self.table_positions.clone(),
            building: self.building.iter().map(|b| (b.object.id, b.record())).collect(),
            isolated: self.isolated.iter().map(|v| (v.object.id, v.recorded())).collect(),
            outboxes: self.outbox_positions(),
        }
    }

    /// Has the checkpoint under way written when all of it is handed over, and takes note when it is: readers go over to its snapshot, workers may forget what is in it.
    pub(super) fn further_checkpoint(&mut self) -> Result<()> {
        self.checkpoints.gather(false)?;
        if let Ok(committed) = self.checkpoints.checkpointer.done().try_recv() {
            self.committed(committed)?;
        }
        Ok(())
    }

    /// Waits for the checkpoint under way, if there is one.
    pub(super) fn await_checkpoint(&mut self) -> Result<()> {
        if self.checkpoints.under_way.is_none() {
            return Ok(());
        }
        self.checkpoints.gather(true)?;
        let committed = self.checkpoints.checkpointer.done().recv().map_err(|_| Error::internal("the checkpoint thread has ended"))?;
        self.committed(committed)
    }

    fn committed(&mut self, committed: CommitDone) -> Result<()> {
        let Some(under_way) = self.checkpoints.under_way.take() else { return Ok(()) };
        committed.result?;
        self.checkpoints.snapshot = committed.snapshot;
        self.send_all(|| WorkerCommand::Committed { generation: committed.generation })?;
        self.relations.values_mut().for_each(|rows| rows.drop_sealed());
        self.outboxes_committed();
        self.histories_committed(under_way.epoch);
        self.isolated.iter_mut().try_for_each(|view| view.committed(committed.generation))?;
        for id in under_way.ready {
            if let Some(rows) = self.relations.get_mut(&id) {
                rows.ready = true;
            }
        }
        self.swap_published();
        for feed in self.main.feeds.values() {
            feed.committed();
        }
        let took = self.checkpoints.started.elapsed();
        self.checkpoints.took = took;
        self.shared.system.checkpointed(under_way.epoch, took);
        histogram!(metrics::CHECKPOINT_SECONDS).record(took);
        for reply in under_way.replies {
            let _ = reply.send(Ok(()));
        }
        self.evict()
    }

    /// Memory beyond its share is given back, by everybody in proportion.
    fn evict(&mut self) -> Result<()> {
        let (all, kept) = (self.all_state_bytes(), self.shared.limits.state_bytes * 4 / 5);
        let over = all.saturating_sub(kept);
        if over == 0 {
            return Ok(());
        }
        self.checkpoints.state_bytes = self.checkpoints.state_bytes.min(kept);
        let part = |of: usize| (over as u128 * of as u128 / all as u128) as usize;
        self.isolated.iter().try_for_each(|view| view.evict(part(view.memory())))?;
        self.send_all(|| WorkerCommand::Evict { bytes: part(self.state_bytes) / self.workers.len() })
    }

    /// The clean end: everything is in the store, synced.
    pub(super) fn final_checkpoint(&mut self) -> Result<()> {
        self.await_checkpoint()?;
        self.start_checkpoint(Ops::default(), Vec::new(), Vec::new())?;
        self.await_checkpoint()?;
        self.release_numbers()
    }

    /// Registers what runs for an object of the live lane.
    pub(super) fn make_running(&mut self, object: &Object, plan: Arc<ViewPlan>) -> Result<()> {
        let ordered = super::ddl::is_keyed_feed(object);
        let watermark = sources::table_watermark(object)?;
        self.running.insert(object.id, Running { plan, ordered, watermark });
        Ok(())
    }
}
