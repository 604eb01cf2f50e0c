//! The scheduler: one thread that forms cuts, logs them, has the workers run them, and publishes what they give.
//!
//! ```text
//!   feeds, writes --> cut --> epoch log --> workers (one step) --> runs --> published epoch --> waiting writers, readers
//!                                                   |
//!                                                   +--- every checkpoint_interval: dirty state --> one atomic commit
//! ```
//!
//! Views that are being built run in lanes of their own on the same workers, a bounded share at a time (`building.rs`);
//! they join the live lane at an epoch boundary together with a checkpoint. Isolated views have workers of their own (`isolated/`).

use super::building::Building;
use super::checkpoints::CheckpointState;
use super::cut::Cut;
use super::feed::{Feed, ReadRange, Taken};
use super::isolated::Isolated;
use super::load::Load;
use super::metrics;
use super::numbers::Numbers;
use super::share::{Share, Took};
use super::shared::{Command, Shared};
use super::sinks::Delivery;
use super::sources;
use super::subscriptions::Subscriptions;
use crate::connectors::connector::Partition;
use crate::connectors::pump::ReadAhead;
use crate::dataflow::worker::{Command as WorkerCommand, StepPlan, StepResult, ViewChange};
use crate::error::{Error, Result};
use crate::plan::ViewPlan;
use crate::state::committed::Committed;
use crate::state::store::Store;
use crate::types::delta::Delta;
use crate::types::expr::ExprRef;
use crate::types::ids::{CLOCK, ObjectId};
use crate::types::records::Records;
use crate::types::time::{Epoch, Step, WATERMARK_NONE, Watermarks};
use crate::views::published::{Kept, Published};
use crate::views::stored::RelationRows;
use ::metrics::histogram;
use crossbeam_channel::{Receiver, Sender};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How stale the state of sources may look while nothing comes in.
const SHOW_FEEDS_EVERY: Duration = Duration::from_millis(100);

/// Views and feeds that step together.
#[derive(Default)]
pub struct Lane {
    /// Each after those it reads.
    pub views: Vec<ObjectId>,
    pub feeds: BTreeMap<ObjectId, Feed>,
    pub watermarks: Watermarks,
}

/// A change of a table that waits for its epoch; it is in the table's log already.
pub struct PendingWrite {
    pub table: ObjectId,
    pub position: u64,
    pub delta: Delta,
    pub reply: Option<tokio::sync::oneshot::Sender<Result<Epoch>>>,
}

/// What runs for one table or materialized view.
pub struct Running {
    pub plan: Arc<ViewPlan>,
    /// Whether rows of one partition must stay in order (upsert tables).
    pub ordered: bool,
    /// What rows that statements write promise of the table's event time.
    pub watermark: Option<ExprRef>,
}

pub struct Scheduler {
    pub(super) shared: Arc<Shared>,
    pub(super) store: Arc<dyn Store>,
    pub(super) workers: Vec<Sender<WorkerCommand>>,
    pub(super) worker_threads: Vec<JoinHandle<()>>,
    pub(super) commands: Receiver<Command>,
    pub(super) wake: Receiver<()>,
    /// Given to pumps: tells that input has come.
    pub(super) waker: Sender<()>,
    /// What all pumps together may read ahead.
    pub(super) read_ahead: Arc<ReadAhead>,
    pub(super) main: Lane,
    pub(super) building: Vec<Building>,
    pub(super) isolated: Vec<Isolated>,
    /// Of sinks that publish.
    pub(super) deliveries: Vec<Delivery>,
    pub(super) subscriptions: Subscriptions,
    /// Epochs that isolated views are read at; see `isolated::epochs`.
    pub(super) kept: BTreeMap<Epoch, Arc<Kept>>,
    /// What workers read.
    pub(super) committed: Arc<Committed>,
    pub(super) running: HashMap<ObjectId, Running>,
    pub(super) relations: HashMap<ObjectId, RelationRows>,
    pub(super) writes: VecDeque<PendingWrite>,
    /// A change that comes in parts, and commands that wait for its end.
    pub(super) load: Option<Load>,
    pub(super) deferred: VecDeque<Command>,
    /// Position in each table's log behind the last change that an epoch took.
    pub(super) table_positions: BTreeMap<ObjectId, u64>,
    pub(super) epoch: Epoch,
    pub(super) numbers: Numbers,
    /// The clock of the newest step, µs: a machine's clock that is set back must not turn an operator's time back.
    pub(super) clock: i64,
    /// Of each view with a timer, the clock (µs) at which it is to be run without input.
    pub(super) due: BTreeMap<ObjectId, i64>,
    /// Counts steps of all lanes: orders runs, where the epoch does not tell steps of building lanes apart.
    pub(super) sequence: Epoch,
    pub(super) checkpoints: CheckpointState,
    /// Bytes of operator state after the last step, all workers, without isolated views.
    pub(super) state_bytes: usize,
    /// Bytes of all rows that operators gave out in the last step.
    pub(super) made: usize,
    /// Rows of the next epoch, all sources together.
    pub(super) share: Share,
    /// When `tidewater.sources` was last brought up to date without an epoch.
    pub(super) feeds_shown: Instant,
    pub(super) stopping: Option<tokio::sync::oneshot::Sender<Result<()>>>,
}

impl Scheduler {
    /// Runs until told to stop, or until state can no longer be trusted: then the error is the program's last word.
    pub fn run(mut self) -> Result<()> {
        let result = self.serve().and_then(|()| self.final_checkpoint());
        let stopping = self.stopping.take();
        self.close(result.is_ok());
        match stopping {
            Some(reply) => {
                let _ = reply.send(result);
                Ok(())
            }
            None => result,
        }
    }

    /// Ends all threads that use the store, which must not outlive the program's last statement.
    fn close(mut self, clean: bool) {
        self.main.feeds.clear();
        self.building.clear();
        self.subscriptions.close();
        self.workers.clear();
        self.worker_threads.extend(self.isolated.drain(..).flat_map(Isolated::close));
        let publishing = self.close_outboxes();
        self.worker_threads.extend(publishing);
        if clean {
            // After a failure they may wait for each other for ever.
            self.worker_threads.drain(..).for_each(|thread| drop(thread.join()));
        }
        self.store.close();
    }

    /// Epochs, one after the other, until told to stop.
    fn serve(&mut self) -> Result<()> {
        loop {
            self.serve_commands()?;
            if self.stopping.is_some() {
                return Ok(());
            }
            let lived = self.live_epoch()?;
            let built = self.build_some()?;
            let stepped = self.step_isolated()?;
            self.further_checkpoint()?;
            self.start_checkpoint_if_due()?;
            if !lived && !built && !stepped {
                self.wait();
            }
        }
    }

    /// Sleeps until input, a command, a finished checkpoint, a finished step of an isolated view or the next timer.
    fn wait(&mut self) {
        let timeout = self.checkpoints.until_due(self.dirty()).min(Duration::from_millis(20));
        let mut any = crossbeam_channel::Select::new();
        any.recv(&self.commands);
        any.recv(&self.wake);
        any.recv(self.checkpoints.done());
        if let Some(handing_over) = self.checkpoints.handing_over() {
            any.recv(handing_over);
        }
        for results in self.isolated.iter().filter_map(Isolated::results) {
            any.recv(results);
        }
        // Whoever is ready is asked in the next turn; a wake-up says nothing more.
        let _ = any.ready_timeout(timeout);
        let _ = self.wake.try_recv();
    }

    fn serve_commands(&mut self) -> Result<()> {
        while let Some(command) = self.next_command() {
            match command {
                Command::Create { object, plan, answer, reply } => self.create(*object, plan.map(|p| *p), answer, reply)?,
                Command::Settle { reply } => {
                    self.give_up_abandoned()?;
                    let _ = reply.send(Ok(()));
                }
                Command::Drop { ids, reply } => {
                    self.drop_objects(&ids)?;
                    let _ = reply.send(Ok(()));
                }
                Command::Secure { change, reply } => {
                    let _ = reply.send(self.secure(change)?);
                }
                Command::Alter { objects, reply } => {
                    let _ = reply.send(self.alter(objects)?);
                }
                Command::Write { writes, objects, shown } => {
                    self.writes.extend(writes);
                    objects.iter().for_each(|object| self.announce_name(object));
                    if let Some(shown) = shown {
                        let _ = shown.send(());
                    }
                }
                Command::Load(load) => self.load = Some(load),
                Command::Subscribe { wanted, reply } => {
                    let _ = reply.send(self.subscribe(wanted)?);
                }
                Command::Flush { reply } => self.checkpoints.flush(reply),
                Command::Stop { reply } => {
                    self.stopping = Some(reply);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// One epoch of the live lane, if there is anything to take in.
    fn live_epoch(&mut self) -> Result<bool> {
        self.hold_back()?;
        let clock = self.now();
        let mut ready = !self.writes.is_empty() || self.load.is_some() || self.main.views.iter().any(|view| self.is_due(*view, clock));
        ready |= self.isolated.iter().any(|view| view.awaits_epoch(clock));
        let mut fed = 0;
        for feed in self.main.feeds.values_mut() {
            feed.drain(clock);
            fed += usize::from(feed.ready(clock));
        }
        ready |= fed > 0;
        if !ready || self.awaits_joining() || self.isolated_log_is_full() || self.outbox_is_full() {
            self.show_feeds();
            return Ok(false);
        }
        self.form_epoch(clock, fed)?;
        Ok(true)
    }

    /// Cuts the next epoch, logs the cut, and runs it. `fed`: sources that have something.
    pub(super) fn form_epoch(&mut self, clock: i64, fed: usize) -> Result<()> {
        let mut cut = Cut { epoch: self.next_number()?, clock, ..Cut::default() };
        let mut taken = BTreeMap::new();
        let share = (self.share.rows() / fed.max(1)).max(1);
        for (source, feed) in &mut self.main.feeds {
            if !feed.ready(clock) {
                continue;
            }
            let rows = feed.take(share, clock)?;
            cut.sources.insert(*source, rows.cut.clone());
            taken.insert(*source, rows);
        }
        let mut writes: Vec<PendingWrite> = self.writes.drain(..).collect();
        writes.extend(self.take_parts()?);
        for write in &writes {
            cut.tables.insert(write.table, write.position + 1);
        }
        self.shared.logs.append_cut(cut.epoch, &cut.encode())?;
        let parts: usize = writes.iter().map(|w| w.delta.rows()).sum();
        let (rows, began) = (parts + taken.values().map(|t| t.rows).sum::<usize>(), Instant::now());
        self.run_epoch(cut, taken, writes)?;
        let full = self.load.is_some() || self.main.feeds.values().any(Feed::waits);
        self.share.took(Took { rows, full, time: began.elapsed(), made: self.made });
        Ok(())
    }

    /// The clock for the next step.
    pub(super) fn now(&self) -> i64 {
        self.shared.clock.now().max(self.clock)
    }

    /// Whether a timer of the view has come: a row of a temporal filter that is to leave, for instance.
    pub(super) fn is_due(&self, view: ObjectId, clock: i64) -> bool {
        self.due.get(&view).is_some_and(|due| *due <= clock)
    }

    /// Runs a logged cut over the live lane, and publishes the epoch.
    pub(super) fn run_epoch(&mut self, cut: Cut, taken: BTreeMap<ObjectId, Taken>, writes: Vec<PendingWrite>) -> Result<()> {
        let started = Instant::now();
        let received = taken.values().filter_map(|part| part.received).min();
        let rows: usize = taken.values().map(|part| part.rows).sum::<usize>() + writes.iter().map(|w| w.delta.rows()).sum::<usize>();
        let mut after = self.main.watermarks.clone();
        for (source, part) in &cut.sources {
            after.0.insert(*source, part.watermark);
        }
        after.0.insert(CLOCK, cut.clock.saturating_sub(1));
        let mut feeds: BTreeMap<ObjectId, Vec<(Option<Partition>, Delta)>> = BTreeMap::new();
        let read: Vec<ReadRange> = taken.iter().filter(|(_, part)| part.rows > 0).map(|(id, part)| part.range(*id)).collect();
        for (source, part) in taken {
            self.shared.system.record_dead(source, part.dead, cut.clock);
            feeds.entry(source).or_default().extend(part.deltas.into_iter().map(|(p, d)| (Some(p), d)));
        }
        let mut replies = Vec::new();
        for write in writes {
            self.table_positions.insert(write.table, write.position + 1);
            if let Some(watermark) = self.running.get(&write.table).and_then(|r| r.watermark.as_ref()) {
                let promised = sources::promised(watermark, write.delta.batch())?.unwrap_or(WATERMARK_NONE);
                let now = after.0.entry(write.table).or_insert(WATERMARK_NONE);
                *now = promised.max(*now);
            }
            feeds.entry(write.table).or_default().push((None, write.delta));
            replies.extend(write.reply);
        }
        let step = Step { epoch: cut.epoch, clock: cut.clock, before: self.main.watermarks.clone(), after };
        let of_lanes = self.building.iter().flat_map(|b| b.taps()).chain(self.isolated.iter().flat_map(|v| v.plan.inputs.iter().copied()));
        let taps = of_lanes.chain(self.subscriptions.taps()).collect();
        let views = self.main.views.clone();
        let (changes, tapped) = self.step(&step, views, feeds, taps)?;
        self.epoch = cut.epoch;
        self.offer(&step, &tapped, &read)?;
        self.main.watermarks = step.after;
        for building in &mut self.building {
            building.tap(&tapped);
        }
        self.publish(changes, &read)?;
        self.tell_subscribers(tapped);
        self.shared.system.set_shown_clock(cut.clock);
        self.keep_epochs()?;
        histogram!(metrics::EPOCH_SECONDS).record(started.elapsed());
        histogram!(metrics::EPOCH_ROWS).record(rows as f64);
        if let Some(received) = received {
            histogram!(metrics::FRESHNESS_SECONDS).record(received.elapsed());
        }
        for reply in replies {
            let _ = reply.send(Ok(self.epoch));
        }
        Ok(())
    }

    /// Keeps what one epoch set aside for one view, and counts what went into a sink. `read`: where the rows are in their sources.
    pub(super) fn record_change(&self, change: &ViewChange, read: &[ReadRange]) -> Result<()> {
        self.shared.system.record_change(change, self.epoch, &|| self.shared.positions(read))
    }

    /// Has all workers run one step.
    pub(super) fn step(
        &mut self,
        step: &Step,
        views: Vec<ObjectId>,
        feeds: BTreeMap<ObjectId, Vec<(Option<Partition>, Delta)>>,
        taps: BTreeSet<ObjectId>,
    ) -> Result<(Vec<ViewChange>, BTreeMap<ObjectId, Vec<Delta>>)> {
        let moved = step.after.0.iter().filter(|(s, w)| step.before.0.get(s) != Some(w)).map(|(s, _)| *s).collect();
        let fed = feeds.iter().filter(|(_, d)| !d.is_empty()).map(|(r, _)| *r).collect();
        // From what the operators said alone, so that a replayed epoch runs whatever the first run did.
        let due = views.iter().copied().filter(|view| self.is_due(*view, step.clock)).collect();
        self.clock = self.clock.max(step.clock);
        let plan = Arc::new(StepPlan { views, fed, moved, due, taps });
        self.sequence = self.sequence.next();
        let shares = deal(self.workers.len(), feeds, |relation| self.running.get(&relation).is_some_and(|r| r.ordered));
        let step = Arc::new(step.clone());
        let (reply, results) = crossbeam_channel::bounded(self.workers.len());
        for (worker, feeds) in self.workers.iter().zip(shares) {
            let command = WorkerCommand::Step { step: step.clone(), plan: plan.clone(), feeds, reply: reply.clone() };
            worker.send(command).map_err(|_| Error::internal("a worker thread has ended"))?;
        }
        drop(reply);
        self.collect(results)
    }

    fn collect(&mut self, results: Receiver<StepResult>) -> Result<(Vec<ViewChange>, BTreeMap<ObjectId, Vec<Delta>>)> {
        let (mut changes, mut taps, mut memory, mut failure) = (Vec::new(), BTreeMap::<ObjectId, Vec<Delta>>::new(), 0, Ok(()));
        self.made = 0;
        let mut count = 0;
        let mut due = BTreeMap::new();
        for result in results {
            count += 1;
            for (view, at) in result.due {
                let first = due.entry(view).or_insert(at);
                *first = at.min(*first);
            }
            memory += result.memory;
            self.made += result.made;
            changes.extend(result.changes);
            for (relation, deltas) in result.taps {
                taps.entry(relation).or_default().extend(deltas);
            }
            failure = failure.and(result.result);
        }
        failure?;
        if count != self.workers.len() {
            return Err(Error::internal("a worker thread has ended"));
        }
        self.due = due;
        self.state_bytes = memory;
        self.shared.system.set_state_bytes(self.all_state_bytes());
        Ok((changes, taps))
    }

    /// Makes the epoch's changes readable, all at once.
    fn publish(&mut self, changes: Vec<ViewChange>, read: &[ReadRange]) -> Result<()> {
        let mut records: BTreeMap<ObjectId, Records> = BTreeMap::new();
        for change in changes {
            self.record_change(&change, read)?;
            if let (Some(run), Some(rows)) = (change.run, self.relations.get_mut(&change.view)) {
                rows.push(self.sequence, run);
            }
            if !change.records.is_empty() {
                records.entry(change.view).or_default().append(change.records);
            }
        }
        self.deliver(records)?;
        self.shared.system.update_feeds(&self.main.feeds);
        self.swap_published();
        Ok(())
    }

    /// Keeps `tidewater.sources` true while no epoch runs: a broker that is down gives no rows, but an error to be seen.
    fn show_feeds(&mut self) {
        if self.feeds_shown.elapsed() >= SHOW_FEEDS_EVERY {
            self.shared.system.update_feeds(&self.main.feeds);
            self.feeds_shown = Instant::now();
        }
    }

    /// Readers go over to the newest epoch, unless it holds a part of a change.
    pub(super) fn swap_published(&mut self) {
        if self.load.is_some() {
            return;
        }
        self.shared.publish(Published::new(self.epoch, self.checkpoints.snapshot(), &self.relations));
    }

    /// Whether anything has changed since the last checkpoint began.
    pub(super) fn dirty(&self) -> bool {
        self.epoch > self.checkpoints.last_epoch || !self.building.is_empty() || self.isolated.iter().any(Isolated::is_dirty)
    }

    pub(super) fn send_all(&self, mut command: impl FnMut() -> WorkerCommand) -> Result<()> {
        for worker in &self.workers {
            worker.send(command()).map_err(|_| Error::internal("a worker thread has ended"))?;
        }
        Ok(())
    }
}

/// Deltas for each worker, about equal numbers of rows; those of one partition of an `ordered` relation stay together.
pub(super) fn deal(
    workers: usize,
    feeds: BTreeMap<ObjectId, Vec<(Option<Partition>, Delta)>>,
    ordered: impl Fn(ObjectId) -> bool,
) -> Vec<Vec<(ObjectId, Vec<Delta>)>> {
    let mut load = vec![0usize; workers];
    let mut shares: Vec<Vec<(ObjectId, Vec<Delta>)>> = vec![Vec::new(); workers];
    for (relation, deltas) in feeds {
        let ordered = ordered(relation);
        let mut parts: Vec<Vec<Delta>> = vec![Vec::new(); workers];
        for (partition, delta) in deltas {
            let lightest = (0..workers).min_by_key(|w| load[*w]).unwrap_or(0);
            let worker = if ordered { partition.unwrap_or(0) as usize % workers } else { lightest };
            load[worker] += delta.rows();
            parts[worker].push(delta);
        }
        for (share, part) in shares.iter_mut().zip(parts) {
            share.push((relation, part));
        }
    }
    shares
}
