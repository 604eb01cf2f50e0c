//! How the scheduler deals with isolated views: they begin when their history is in, come back at a start, step beside the live lane, and go.

use super::super::building::Building;
use super::super::checkpoints::Record;
use super::super::node::start_workers;
use super::super::scheduler::Scheduler;
use super::{Crew, Isolated};
use crate::catalog::catalog;
use crate::catalog::object::Object;
use crate::dataflow::worker::ViewChange;
use crate::error::{Error, Result};
use crate::node::feed::ReadRange;
use crate::plan::ViewPlan;
use crate::state::checkpoint::{Generation, Ops};
use crate::state::store::Durability;
use crate::types::delta::Delta;
use crate::types::ids::ObjectId;
use crate::types::time::{Epoch, Step};
use crossbeam_channel::Sender;
use std::collections::BTreeMap;
use std::sync::Arc;

impl Scheduler {
    fn crew(&self) -> Result<Crew> {
        start_workers("isolated", self.workers.len(), &self.committed)
    }

    /// At an epoch boundary: a view whose history is in goes over to workers of its own, through a checkpoint that holds its state and its catalog record.
    pub(in crate::node) fn isolate(&mut self, building: Building) -> Result<()> {
        let Building { object, plan, lane, reply, .. } = building;
        let object = object.with_building(false);
        self.await_checkpoint()?;
        for (source, feed) in lane.feeds {
            self.main.feeds.entry(source).or_insert(feed);
        }
        for (source, watermark) in lane.watermarks.0 {
            self.main.watermarks.0.entry(source).or_insert(watermark);
        }
        self.make_running(&object, plan.clone())?;
        let mut rows = self.relation_rows(&object, &plan)?.ok_or_else(|| Error::internal("an isolated view without rows"))?.clone();
        rows.ready = true;
        let view = Isolated::start(object.clone(), plan.clone(), self.crew()?, rows, self.epoch, self.shared.limits.step_bytes);
        self.isolated.push(view);
        let mut ops = Ops::default();
        self.shared.logs.put_object(object.id, &catalog::encode(&object)?, &mut ops);
        self.start_checkpoint(ops, Vec::new(), Vec::new())?;
        self.await_checkpoint()?;
        self.relations.remove(&object.id);
        self.remove_from_workers(object.id)?;
        if let Some(view) = self.isolated.last() {
            view.build()?;
        }
        self.swap_published();
        self.keep_epochs()?;
        self.announce(&object, Some(&plan));
        self.shared.system.built(object.id);
        if let Some(reply) = reply {
            let _ = reply.send(Ok(()));
        }
        Ok(())
    }

    /// After a start, before the epochs behind the checkpoint are replayed: the view stands where its state does, and has before it what the log holds.
    pub(in crate::node) fn recover_isolated(&mut self, object: &Object, plan: ViewPlan, record: &Record) -> Result<()> {
        let plan = Arc::new(plan);
        self.make_running(object, plan.clone())?;
        let mut rows = self.relation_rows(object, &plan)?.ok_or_else(|| Error::internal("an isolated view without rows"))?.clone();
        self.relations.remove(&object.id);
        rows.ready = true;
        let frontier = record.isolated.get(&object.id).copied().unwrap_or(record.epoch);
        let mut view = Isolated::start(object.clone(), plan.clone(), self.crew()?, rows, frontier, self.shared.limits.step_bytes);
        view.since = self.shared.logs.shown(object.id)?.map_or(frontier, |shown| shown.max(frontier));
        view.build()?;
        let mut ahead = Ops::default();
        for (epoch, bytes) in self.shared.logs.isolated_epochs(object.id)? {
            if epoch > record.epoch {
                // Its epoch is replayed, and offered anew.
                self.shared.logs.trim_isolated(object.id, epoch, &mut ahead);
            } else if epoch > frontier {
                view.resume(epoch, bytes);
            }
        }
        self.store.write(ahead, Durability::Logged)?;
        view.frontier = view.entries.front().map_or(record.epoch, |next| Epoch(next.epoch.0 - 1));
        self.isolated.push(view);
        self.announce(object, Some(&plan));
        Ok(())
    }

    /// Tells isolated views of an epoch of the live lane.
    pub(in crate::node) fn offer(&mut self, step: &Step, changes: &BTreeMap<ObjectId, Vec<Delta>>, read: &[ReadRange]) -> Result<()> {
        let positions = || self.shared.positions(read);
        self.isolated.iter_mut().try_for_each(|view| view.offer(step, changes, &positions, &self.shared.logs))
    }

    /// Ends steps that are done and begins the next ones; whether one has ended.
    pub(in crate::node) fn step_isolated(&mut self) -> Result<bool> {
        let mut ended = false;
        let catalog = self.shared.catalog.load();
        let schema = |id: ObjectId| catalog.get(id).map(|o| o.arrow_schema()).ok_or_else(|| Error::internal("a relation that a view reads has gone"));
        for view in &mut self.isolated {
            ended |= view.finish(self.epoch)?;
            view.owed |= view.grown() > self.shared.limits.dirty_bytes;
            view.begin(&self.shared.logs, &schema)?;
        }
        drop(catalog);
        if ended {
            self.keep_epochs()?;
        }
        Ok(ended)
    }

    /// A checkpoint begins: how many workers will send their part of it to `reply`.
    pub(in crate::node) fn checkpoint_isolated(&mut self, generation: Generation, reply: &Sender<Ops>, ops: &mut Ops) -> Result<usize> {
        let Scheduler { isolated, shared, .. } = self;
        let told = |change: &ViewChange, epoch: Epoch, positions: &str| shared.system.record_change(change, epoch, &|| positions.to_string());
        let mut workers = 0;
        for view in isolated {
            workers += view.checkpoint(generation, &shared.logs, &told, reply, ops)?;
        }
        Ok(workers)
    }

    /// Whether what isolated views have still to take in has no more room on disk: input waits.
    pub(in crate::node) fn isolated_log_is_full(&self) -> bool {
        self.isolated.iter().any(|view| view.logged_bytes() > self.shared.limits.isolated_log_bytes)
    }

    /// The view goes; its state and log are deleted by who drops it.
    pub(in crate::node) fn drop_isolated(&mut self, id: ObjectId) -> Result<()> {
        let Some(at) = self.isolated.iter().position(|view| view.id() == id) else { return Ok(()) };
        let threads = self.isolated.remove(at).close();
        // A step under way ends in its own time; nobody takes what it gives.
        self.worker_threads.extend(threads);
        for kept in self.kept.values_mut() {
            Arc::make_mut(kept).isolated.remove(&id);
        }
        self.keep_epochs()
    }
}
