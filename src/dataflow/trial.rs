//! A fragment run over a sample of its input, on one thread and in memory: what each state table holds after every slice. It is the plan itself
//! that runs, so the figures hold for any operator, and for data as it is: skewed keys, filters that let little through, windows that close.

use super::exchange::Exchange;
use super::operator::{BuildContext, Fragment};
use super::worker::{Command, StepPlan, Worker};
use crate::error::{Error, Result};
use crate::state::checkpoint::{Generation, space};
use crate::state::committed::Committed;
use crate::state::memory::MemoryStore;
use crate::state::store::{Durability, Store};
use crate::types::delta::Delta;
use crate::types::ids::{ObjectId, TableId};
use crate::types::time::{Epoch, Step, Watermarks};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One epoch of the trial.
#[derive(Debug, Default)]
pub struct Slice {
    pub feeds: BTreeMap<ObjectId, Vec<Delta>>,
    /// At its end.
    pub watermarks: Watermarks,
}

/// What a state table holds, as it is on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    pub entries: u64,
    pub bytes: u64,
}

/// The view's number in the trial's worker, which knows no other.
const VIEW: ObjectId = ObjectId(0);

/// What every state table holds after each slice. Tables that hold nothing are not listed. `clock`: the processing time of all slices, µs.
pub fn run(fragment: &Fragment, slices: Vec<Slice>, clock: i64) -> Result<Vec<BTreeMap<TableId, Held>>> {
    let committed = Committed::new(Arc::new(MemoryStore::new()), Generation(0));
    let context = BuildContext { store: committed, worker: 0, workers: 1, cache_entries: None, fresh: true, checks: false };
    // The worker serves what is in the channel, then ends: this thread is its thread.
    let (commands, work) = crossbeam_channel::unbounded();
    let ended = |_| Error::internal("the trial has ended early");
    let (added, add) = crossbeam_channel::bounded(1);
    commands.send(Command::Add { view: VIEW, fragment: Arc::new(fragment.clone()), fresh: true, reply: added }).map_err(ended)?;
    let (stepped, steps) = crossbeam_channel::bounded(slices.len());
    let (written, checkpoints) = crossbeam_channel::bounded(slices.len());
    let mut before = Watermarks::default();
    for (i, slice) in slices.into_iter().enumerate() {
        let after = slice.watermarks;
        let moved = after.0.iter().filter(|(s, w)| before.0.get(s) != Some(w)).map(|(s, _)| *s).collect();
        let plan = StepPlan { views: vec![VIEW], fed: slice.feeds.keys().copied().collect(), moved, ..StepPlan::default() };
        let step = Step { epoch: Epoch(i as u64 + 1), clock, before, after: after.clone() };
        before = after;
        let feeds = slice.feeds.into_iter().collect();
        commands.send(Command::Step { step: Arc::new(step), plan: Arc::new(plan), feeds, reply: stepped.clone() }).map_err(ended)?;
        commands.send(Command::Checkpoint { generation: Generation(i as u32 + 1), reply: written.clone() }).map_err(ended)?;
    }
    drop((commands, stepped, written));
    Worker::new(context, Exchange::new(1)).run(work);
    add.recv().map_err(|_| Error::internal("the trial has ended early"))??;
    steps.into_iter().try_for_each(|s| s.result)?;
    let store = MemoryStore::new();
    let held = |ops| {
        store.write(ops, Durability::Logged)?;
        count(&store)
    };
    checkpoints.into_iter().map(held).collect()
}

fn count(store: &MemoryStore) -> Result<BTreeMap<TableId, Held>> {
    let mut tables: BTreeMap<TableId, Held> = BTreeMap::new();
    // Every state table's key begins with its space and its number.
    store.scan(&[space::KEYED], &[space::VIEW + 1], &mut |key, value| {
        if let Some(number) = key.get(1..5).and_then(|b| b.try_into().ok()) {
            let held = tables.entry(TableId(u32::from_be_bytes(number))).or_default();
            held.entries += 1;
            held.bytes += (key.len() + value.len()) as u64;
        }
        true
    })?;
    Ok(tables)
}
