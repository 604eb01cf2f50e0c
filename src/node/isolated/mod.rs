//! An isolated view (`WITH (isolated = true)`): a dataflow of its own, on worker threads of its own, which may fall behind and holds nobody back (design D5).
//!
//! ```text
//!   live lane --epoch: changes of what the view reads--> entries --one at a time--> its workers --> its rows, as of its frontier
//!                                                          |
//!                                                          +-- more than a few MiB, or not in its rows at a checkpoint --> log on disk
//! ```
//!
//! It takes the live lane's epochs one by one with their cuts, so at each epoch it holds what it would hold as an ordinary view, however late. An entry is kept until a
//! checkpoint has the view's state behind it. The view takes part in checkpoints between two steps of its own: one that begins during a step goes without it, has the entries in the log
//! instead, and the view takes nothing further in until the next one has begun. When the log on disk is full, input waits after all.
//!
//! Where a plan has nothing to do with time, an epoch that only adds rows is taken in by as many steps as it needs: rows of a dear view fan out, and memory must hold what a step gives.
//!
//! In reading order: this file (the lane), `entry` (what it has to take in), `epochs` (which epochs statements may read it at), `lanes` (the scheduler's side).

mod entry;
mod epochs;
mod lanes;

use super::share::{Share, Took};
use crate::catalog::object::Object;
use crate::dataflow::worker::{Command as WorkerCommand, StepPlan, StepResult, ViewChange};
use crate::error::{Error, Result};
use crate::plan::ViewPlan;
use crate::state::checkpoint::{Generation, Ops};
use crate::state::log::Logs;
use crate::types::delta::Delta;
use crate::types::ids::ObjectId;
use crate::types::time::{Epoch, Step};
use crate::views::stored::RelationRows;
use arrow::datatypes::SchemaRef;
use crossbeam_channel::{Receiver, Sender};
use entry::{Entry, Taken};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Worker threads, and the way to them.
pub(super) type Crew = (Vec<Sender<WorkerCommand>>, Vec<JoinHandle<()>>);

/// Bytes of entries that one view has in memory; what comes beyond goes to the log at once, so that no checkpoint has much to write for it.
const ENTRY_BYTES: usize = 8 << 20;

/// Rows of its first step, of any, and how long one should take: nobody waits for it but who drops the view, yet all that it gives is in memory.
const FIRST_SHARE: usize = 256;
const MOST_SHARE: usize = 64 * 1024;
const STEP_MAX: Duration = Duration::from_millis(200);

/// One isolated view; see the module.
pub struct Isolated {
    pub object: Object,
    pub plan: Arc<ViewPlan>,
    workers: Vec<Sender<WorkerCommand>>,
    threads: Vec<JoinHandle<()>>,
    /// Its rows as of `frontier`.
    rows: RelationRows,
    frontier: Epoch,
    /// Its rows are not shown at epochs before this one: they are not known, or were shown at this one by an earlier run of the server.
    since: Epoch,
    /// Sources whose watermarks its operators follow.
    marks: BTreeSet<ObjectId>,
    /// Oldest first; the first `done` are in the rows already, and wait for a checkpoint that has them.
    entries: VecDeque<Entry>,
    done: usize,
    /// Bytes of entries in memory, and in the log.
    held: usize,
    logged: u64,
    /// What is left of the entry that is being taken in.
    rest: Option<Taken>,
    running: Option<Running>,
    share: Share,
    /// Whether it is the same to take an epoch in at once or in parts.
    divisible: bool,
    /// The clock at which it is to be run without input, µs.
    due: i64,
    /// Bytes of its operators' state, and what they were when it last took part in a checkpoint.
    memory: usize,
    memory_recorded: usize,
    /// The frontier that its durable state has.
    recorded: Epoch,
    /// A checkpoint went without it: no further step before the next one.
    owed: bool,
    handed_over: Option<Generation>,
    /// Late rows and errors of steps that no checkpoint has: they are counted when one has.
    aside: Vec<(Epoch, ViewChange, String)>,
}

/// A step under way.
struct Running {
    epoch: Epoch,
    source_positions: String,
    rows: usize,
    began: Instant,
    results: Receiver<StepResult>,
    arrived: Vec<StepResult>,
}

impl Isolated {
    /// `fresh`: nothing of it is on disk. `frontier`: the epoch that its state is of. `step_bytes`: see `Limits`.
    pub(super) fn start(object: Object, plan: Arc<ViewPlan>, crew: Crew, rows: RelationRows, frontier: Epoch, step_bytes: usize) -> Isolated {
        let marks: BTreeSet<ObjectId> = plan.fragment.nodes.iter().flat_map(|n| n.spec.watermarks()).collect();
        // Until its operators have looked: what was due while the server was down is due now.
        let due = if plan.fragment.has_timer() { i64::MIN } else { i64::MAX };
        let divisible = marks.is_empty() && !plan.fragment.has_timer() && plan.fragment.nodes.iter().all(|n| n.spec.name() != "TemporalJoin");
        let (workers, threads) = crew;
        Isolated {
            object,
            plan,
            workers,
            threads,
            rows,
            frontier,
            since: frontier,
            marks,
            entries: VecDeque::new(),
            done: 0,
            held: 0,
            logged: 0,
            rest: None,
            running: None,
            share: Share::new(FIRST_SHARE, MOST_SHARE, STEP_MAX, step_bytes),
            divisible,
            due,
            memory: 0,
            memory_recorded: 0,
            recorded: frontier,
            owed: false,
            handed_over: None,
            aside: Vec::new(),
        }
    }

    /// Its operators over the state that is on disk.
    pub(super) fn build(&self) -> Result<()> {
        let fragment = Arc::new(self.plan.fragment.clone());
        let (reply, results) = crossbeam_channel::bounded(self.workers.len());
        self.send_all(|| WorkerCommand::Add { view: self.object.id, fragment: fragment.clone(), fresh: false, reply: reply.clone() })?;
        drop(reply);
        results.into_iter().collect::<Result<Vec<()>>>().map(|_| ())
    }

    fn send_all(&self, mut command: impl FnMut() -> WorkerCommand) -> Result<()> {
        self.workers.iter().try_for_each(|worker| worker.send(command()).map_err(|_| Error::internal("a worker thread has ended")))
    }

    pub(super) fn id(&self) -> ObjectId {
        self.object.id
    }

    /// Nothing waits for it.
    fn is_level(&self) -> bool {
        self.done == self.entries.len()
    }

    /// Whether an epoch should be formed for its timer alone.
    pub(super) fn awaits_epoch(&self, clock: i64) -> bool {
        self.is_level() && self.due <= clock
    }

    /// Bytes of its log on disk.
    pub(super) fn logged_bytes(&self) -> u64 {
        self.logged
    }

    /// One that an earlier run of the server has logged.
    fn resume(&mut self, epoch: Epoch, bytes: usize) {
        self.logged += bytes as u64;
        self.entries.push_back(Entry::in_log(epoch, bytes));
    }

    /// What a checkpoint would free: it should come soon.
    pub(super) fn grown(&self) -> usize {
        self.memory.saturating_sub(self.memory_recorded) + self.rows.run_bytes()
    }

    pub(super) fn memory(&self) -> usize {
        self.memory
    }

    /// Whether a checkpoint would find something of it.
    pub(super) fn is_dirty(&self) -> bool {
        self.owed || self.done > 0
    }

    /// A checkpoint is owed to it, and could begin.
    pub(super) fn awaits_checkpoint(&self) -> bool {
        self.owed && self.is_between()
    }

    /// Its rows and state are those of its frontier.
    fn is_between(&self) -> bool {
        self.running.is_none() && self.rest.is_none()
    }

    /// Takes note of an epoch of the live lane: `changes` are those of all relations, `source_positions` says what was read for it.
    pub(super) fn offer(&mut self, step: &Step, changes: &BTreeMap<ObjectId, Vec<Delta>>, source_positions: &dyn Fn() -> String, logs: &Logs) -> Result<()> {
        let of_input = |r: &ObjectId| Some((*r, changes.get(r)?.iter().filter(|d| !d.is_empty()).cloned().collect::<Vec<_>>()));
        let changes: BTreeMap<ObjectId, Vec<Delta>> = self.plan.inputs.iter().filter_map(of_input).filter(|(_, d)| !d.is_empty()).collect();
        let moved = self.marks.iter().any(|s| step.before.0.get(s) != step.after.0.get(s));
        let timer = self.plan.fragment.has_timer() && (self.due <= step.clock || !self.is_level());
        if changes.is_empty() && !moved && !timer {
            if self.is_level() {
                self.frontier = step.epoch;
            }
            return Ok(());
        }
        let entry = Entry::new(Taken { step: step.clone(), source_positions: source_positions(), changes });
        self.held += entry.bytes;
        self.entries.push_back(entry);
        self.spill(logs)
    }

    /// Leaves entries to the log until those in memory are within their bound: first those that are in the rows, which nobody needs unless the server is killed.
    fn spill(&mut self, logs: &Logs) -> Result<()> {
        let newest_first = (0..self.done).chain((self.done..self.entries.len()).rev());
        for at in newest_first {
            if self.held <= ENTRY_BYTES {
                return Ok(());
            }
            let entry = &mut self.entries[at];
            if entry.taken.is_some() {
                self.held -= entry.bytes;
                self.logged += entry.log(self.object.id, logs)?;
                entry.taken = None;
            }
        }
        Ok(())
    }

    /// Numbers of epochs are left out: `epoch` shows what the one before the gap shows.
    pub(super) fn skip_to(&mut self, epoch: Epoch) {
        if self.is_level() {
            self.frontier = epoch;
        }
    }

    /// Begins the next step if there is one; `schema`: of a relation's rows.
    fn begin(&mut self, logs: &Logs, schema: &dyn Fn(ObjectId) -> Result<SchemaRef>) -> Result<()> {
        if self.running.is_some() || (self.owed && self.rest.is_none()) {
            return Ok(());
        }
        let taken = match (self.rest.take(), self.entries.get(self.done)) {
            (Some(rest), _) => rest,
            (None, Some(entry)) => entry.read(self.object.id, logs, schema)?,
            (None, None) => return Ok(()),
        };
        let (taken, rest) = if self.divisible { taken.split(self.share.rows()) } else { (taken, None) };
        let Taken { step, source_positions, changes } = taken;
        self.rest = rest;
        let id = self.object.id;
        let moved = step.after.0.iter().filter(|(s, w)| step.before.0.get(s) != Some(w)).map(|(s, _)| *s).collect();
        let due = if self.due <= step.clock { BTreeSet::from([id]) } else { BTreeSet::new() };
        let plan = Arc::new(StepPlan { views: vec![id], fed: changes.keys().copied().collect(), moved, due, taps: BTreeSet::new() });
        let step = Arc::new(step);
        let (reply, results) = crossbeam_channel::bounded(self.workers.len());
        let rows = changes.values().flatten().map(Delta::rows).sum();
        let feeds = changes.into_iter().map(|(r, deltas)| (r, deltas.into_iter().map(|d| (None, d)).collect())).collect();
        let shares = super::scheduler::deal(self.workers.len(), feeds, |_| false);
        for (worker, feeds) in self.workers.iter().zip(shares) {
            let command = WorkerCommand::Step { step: step.clone(), plan: plan.clone(), feeds, reply: reply.clone() };
            worker.send(command).map_err(|_| Error::internal("a worker thread has ended"))?;
        }
        self.running = Some(Running { epoch: step.epoch, source_positions, rows, began: Instant::now(), results, arrived: Vec::new() });
        Ok(())
    }

    /// Takes in what a step has given, if it has ended. `live`: the newest epoch of the live lane.
    fn finish(&mut self, live: Epoch) -> Result<bool> {
        let Some(running) = &mut self.running else { return Ok(false) };
        while let Ok(result) = running.results.try_recv() {
            running.arrived.push(result);
        }
        if running.arrived.len() < self.workers.len() {
            return Ok(false);
        }
        let Some(Running { epoch, source_positions, rows, began, arrived, .. }) = self.running.take() else { return Ok(false) };
        let made = arrived.iter().map(|result| result.made).sum();
        self.share.took(Took { rows, full: rows >= self.share.rows(), time: began.elapsed(), made });
        (self.memory, self.due) = (0, i64::MAX);
        for result in arrived {
            result.result?;
            self.memory += result.memory;
            self.due = result.due.iter().map(|(_, at)| *at).fold(self.due, i64::min);
            for mut change in result.changes {
                if let Some(run) = change.run.take() {
                    self.rows.push(epoch, run);
                }
                if !change.late.is_empty() || !change.errors.is_empty() {
                    self.aside.push((epoch, change, source_positions.clone()));
                }
            }
        }
        if self.rest.is_none() {
            self.done += 1;
            self.frontier = self.entries.get(self.done).map_or(live, |next| Epoch(next.epoch.0 - 1));
        }
        Ok(true)
    }

    /// A checkpoint begins: has the state handed over, or, in the middle of a step, sees that everything behind the durable state is in the log. `told` is given what it had set aside.
    /// Returns how many workers will send their part to `reply`.
    pub(super) fn checkpoint(
        &mut self,
        generation: Generation,
        logs: &Logs,
        told: &dyn Fn(&ViewChange, Epoch, &str) -> Result<()>,
        reply: &Sender<Ops>,
        ops: &mut Ops,
    ) -> Result<usize> {
        let takes_part = self.is_between();
        if !takes_part {
            self.owed = true;
        } else {
            self.send_all(|| WorkerCommand::Checkpoint { generation, reply: reply.clone() })?;
            self.aside.drain(..).try_for_each(|(epoch, change, positions)| told(&change, epoch, &positions))?;
            for entry in self.entries.drain(..self.done) {
                self.held -= entry.taken.as_ref().map_or(0, |_| entry.bytes);
                if let Some(bytes) = entry.logged {
                    self.logged -= bytes;
                    logs.trim_isolated(self.object.id, entry.epoch, ops);
                }
            }
            self.rows.seal();
            (self.done, self.owed) = (0, false);
            (self.recorded, self.memory_recorded, self.handed_over) = (self.frontier, self.memory, Some(generation));
        }
        for entry in &mut self.entries {
            self.logged += entry.log(self.object.id, logs)?;
        }
        Ok(if takes_part { self.workers.len() } else { 0 })
    }

    /// The frontier of the state that the newest checkpoint has.
    pub(super) fn recorded(&self) -> Epoch {
        self.recorded
    }

    pub(super) fn committed(&mut self, generation: Generation) -> Result<()> {
        if self.handed_over.take_if(|g| *g == generation).is_some() {
            self.rows.drop_sealed();
            self.send_all(|| WorkerCommand::Committed { generation })?;
        }
        Ok(())
    }

    /// Gives about so many bytes of state back.
    pub(super) fn evict(&self, bytes: usize) -> Result<()> {
        self.send_all(|| WorkerCommand::Evict { bytes: bytes / self.workers.len() })
    }

    /// Ends its threads once their step is done; they are to be joined before the store is closed.
    pub(super) fn close(self) -> Vec<JoinHandle<()>> {
        self.threads
    }

    pub(super) fn results(&self) -> Option<&Receiver<StepResult>> {
        self.running.as_ref().map(|r| &r.results)
    }
}
