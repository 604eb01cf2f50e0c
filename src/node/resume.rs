//! What a restart needs to go on with a view that is being built. A checkpoint holds the state that the lane has come to; beside it goes how that state
//! was reached. For sources that is a position. For relations it is a key: the state is that of
//!
//! ```text
//!   the relation's rows up to the last key taken, as of the checkpoint's epoch      (what has been scanned, and what changed in it since)
//! ```
//!
//! so that a scan of the relation at that epoch, behind that key, gives exactly the rest. To make it so, a checkpoint first brings every lane up to date: of
//! the changes tapped since a scan's snapshot, those of keys it has taken are run, the others are dropped, for the scan goes on over a snapshot of now,
//! which has them. This also bounds what is tapped, and how long an old snapshot is held.

use super::building::Building;
use super::checkpoints::{Record, SourceRecord};
use super::recover::Replan;
use super::scheduler::Scheduler;
use crate::catalog::object::Object;
use crate::connectors::connector::Partition;
use crate::error::{Error, Result};
use crate::state::checkpoint::Ops;
use crate::state::store::Durability;
use crate::types::delta::Delta;
use crate::types::ids::ObjectId;
use crate::types::time::{Step, Watermarks};
use crate::views::stored::Taken;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Of one view, as of a checkpoint.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct BuildingRecord {
    pub sources: BTreeMap<ObjectId, SourceRecord>,
    pub watermarks: Watermarks,
    /// Relations that are not read to their end, with what has been taken.
    pub scans: Vec<(ObjectId, Taken)>,
    pub rows: u64,
    pub seconds: f64,
    /// Nothing had run: there is no state.
    pub first: bool,
}

impl Building {
    pub(super) fn record(&self) -> BuildingRecord {
        let sources = self.lane.feeds.iter().map(|(id, f)| (*id, SourceRecord { watermark: f.watermark, partitions: f.partitions.clone() })).collect();
        BuildingRecord {
            sources,
            watermarks: self.lane.watermarks.clone(),
            scans: self.scans.iter().map(|(relation, scan)| (*relation, scan.taken())).collect(),
            rows: self.rows,
            seconds: (self.before.1 + self.started.elapsed()).as_secs_f64(),
            first: self.first,
        }
    }
}

impl Scheduler {
    /// Before a checkpoint: see the module.
    pub(super) fn bring_buildings_up_to_date(&mut self) -> Result<()> {
        for _ in 0..self.building.len() {
            let mut building = self.building.remove(0);
            let done = self.bring_up_to_date(&mut building);
            self.building.push(building);
            done?;
        }
        Ok(())
    }

    fn bring_up_to_date(&mut self, building: &mut Building) -> Result<()> {
        let mut feeds: BTreeMap<ObjectId, Vec<(Option<Partition>, Delta)>> = BTreeMap::new();
        for (relation, queue) in building.tapped.iter_mut().filter(|(_, q)| !q.is_empty()) {
            let deltas = queue.drain(..).flatten();
            let Some((_, scan)) = building.scans.iter_mut().find(|(r, _)| r == relation) else {
                feeds.entry(*relation).or_default().extend(deltas.map(|d| (None, d)));
                continue;
            };
            let rows = self.relations.get(relation).ok_or_else(|| Error::internal("a relation that a view is built over has gone"))?;
            let taken = scan.taken();
            for delta in deltas {
                if let Some(part) = rows.taken_part(&delta, &taken)? {
                    feeds.entry(*relation).or_default().push((None, part));
                }
            }
            *scan = rows.scan_behind(self.checkpoints.snapshot(), &taken);
        }
        if feeds.is_empty() {
            return Ok(());
        }
        let marks = building.lane.watermarks.clone();
        let step = Step { epoch: self.epoch, clock: self.now(), before: marks.clone(), after: marks };
        let (changes, _) = self.step(&step, building.lane.views.clone(), feeds, BTreeSet::new())?;
        self.keep_changes(building, changes, &[])
    }

    /// After a start, before the epochs behind the checkpoint are replayed: the lane stands where the checkpoint found it. Without a record it begins anew.
    pub(super) fn resume_building(&mut self, object: &Object, record: &Record, replan: &Replan<'_>) -> Result<()> {
        let plan = replan(object)?.ok_or_else(|| Error::internal("a view without a plan"))?;
        let plan = Arc::new(plan);
        let from = record.building.get(&object.id).filter(|r| !r.first);
        if from.is_none() {
            let mut ops = Ops::default();
            self.delete_state(&plan, &mut ops);
            self.store.write(ops, Durability::Synced)?;
        }
        let (lane, scans, tapped) = self.open_lane(object.id, &plan, from)?;
        self.add_to_workers(object.id, &plan, from.is_none())?;
        self.relation_rows(object, &plan)?;
        self.open_outbox(object, record.outbox_position(object.id))?;
        self.announce(object, Some(&plan));
        let (rows, seconds) = from.map_or((0, 0.0), |r| (r.rows, r.seconds));
        tracing::info!(view = object.name, rows, "goes on building a materialized view");
        let before = (rows, Duration::from_secs_f64(seconds.max(0.0)));
        let building = Building {
            object: object.clone(),
            plan,
            lane,
            scans,
            tapped,
            reply: None,
            started: Instant::now(),
            rows,
            before,
            first: from.is_none(),
            share: self.build_share_of_rows(),
        };
        self.show_progress(&building);
        self.building.push(building);
        Ok(())
    }
}
