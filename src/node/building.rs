//! A view that is being built: its lane takes in history a share at a time, on the same workers, while the live lane goes on (design D7).
//!
//! ```text
//!   relation R (table, view):  snapshot at epoch E, in chunks  ->  R's deltas of epochs E+1, E+2, ... (tapped from the live lane)
//!   source S:                  a reader of its own from S's beginning, with its own watermark  ->  up to the live lane's positions
//!   when nothing is left of either, at an epoch boundary: the view joins the live lane, in one commit with its catalog record
//! ```
//!
//! A source that no live view reads has no position to catch up with: its reader simply moves to the live lane. The object is in the catalog from the beginning,
//! marked as building, and every checkpoint records how far its lane has come, so that a start goes on there (`resume.rs`).

use super::engine_api::When;
use super::feed::{self, Feed, ReadRange};
use super::resume::BuildingRecord;
use super::scheduler::{Lane, Scheduler};
use super::share::{Share, Took};
use super::system::Progress;
use crate::catalog::object::Object;
use crate::connectors::connector::Partition;
use crate::dataflow::worker::ViewChange;
use crate::error::{Kind, Result};
use crate::plan::ViewPlan;
use crate::types::delta::Delta;
use crate::types::ids::{CLOCK, ObjectId};
use crate::types::time::{Step, WATERMARK_NONE};
use crate::views::stored::{RelationScan, Taken};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// How long a step of a view that is built should take at most: the live lane waits for it.
const STEP_MAX: Duration = Duration::from_millis(50);
/// Rows of the first step, when nothing is known of how dear the view is.
const FIRST_SHARE: usize = 16 * 1024;

pub struct Building {
    pub object: Object,
    pub plan: Arc<ViewPlan>,
    pub lane: Lane,
    /// What is left of the relations' snapshots.
    pub(super) scans: VecDeque<(ObjectId, RelationScan)>,
    /// Deltas of these relations since their snapshot, oldest first.
    pub(super) tapped: BTreeMap<ObjectId, VecDeque<Vec<Delta>>>,
    /// The statement that waits; `None`: none does, and nobody can cancel it but by DROP.
    pub reply: Option<oneshot::Sender<Result<()>>>,
    pub started: Instant,
    pub rows: u64,
    /// Rows and time of earlier runs of the server, which are in `rows`, and not in `started`.
    pub before: (u64, Duration),
    /// Nothing has run yet.
    pub(super) first: bool,
    /// Rows of its next step.
    pub(super) share: Share,
}

/// A lane that reads from where it is to begin, what is left of snapshots, and empty taps of their relations.
pub(super) type Opened = (Lane, VecDeque<(ObjectId, RelationScan)>, BTreeMap<ObjectId, VecDeque<Vec<Delta>>>);

impl Building {
    pub fn taps(&self) -> impl Iterator<Item = ObjectId> + '_ {
        self.tapped.keys().copied()
    }

    pub fn tap(&mut self, deltas: &BTreeMap<ObjectId, Vec<Delta>>) {
        for (relation, queue) in &mut self.tapped {
            if let Some(deltas) = deltas.get(relation).filter(|d| !d.is_empty()) {
                queue.push_back(deltas.clone());
            }
        }
    }

    fn drained(&self) -> bool {
        self.scans.is_empty() && self.tapped.values().all(|q| q.is_empty())
    }
}

impl Scheduler {
    /// Begins to build a view over what exists.
    pub(super) fn start_building(&mut self, object: Object, plan: ViewPlan, answer: When, reply: oneshot::Sender<Result<()>>) -> Result<()> {
        let plan = Arc::new(plan);
        let (lane, scans, tapped) = match self.open_lane(object.id, &plan, None) {
            Ok(opened) => opened,
            Err(e) => {
                let _ = reply.send(Err(e));
                return Ok(());
            }
        };
        if let Err(e) = self.add_to_workers(object.id, &plan, true) {
            let _ = reply.send(Err(e));
            return self.remove_from_workers(object.id);
        }
        self.persist(&object)?;
        self.open_outbox(&object, 0)?;
        self.start_publishing()?;
        self.announce(&object, Some(&plan));
        let reply = match answer {
            When::Built => Some(reply),
            When::Begun => {
                let _ = reply.send(Ok(()));
                None
            }
        };
        let building = Building {
            object,
            plan,
            lane,
            scans,
            tapped,
            reply,
            started: Instant::now(),
            rows: 0,
            before: (0, Duration::ZERO),
            first: true,
            share: self.build_share_of_rows(),
        };
        self.show_progress(&building);
        self.building.push(building);
        Ok(())
    }

    /// The first share of a view that is built.
    pub(super) fn build_share_of_rows(&self) -> Share {
        Share::new(FIRST_SHARE, self.shared.limits.build_rows, STEP_MAX, self.shared.limits.step_bytes)
    }

    /// Readers of all that a view reads: of relations behind what `from` has taken of them, of sources behind its positions.
    pub(super) fn open_lane(&self, view: ObjectId, plan: &ViewPlan, from: Option<&BuildingRecord>) -> Result<Opened> {
        let mut lane = Lane { views: vec![view], watermarks: from.map(|r| r.watermarks.clone()).unwrap_or_default(), ..Lane::default() };
        let (mut scans, mut tapped) = (VecDeque::new(), BTreeMap::new());
        for &input in &plan.inputs {
            if let Some(rows) = self.relations.get(&input) {
                let taken = match from {
                    None => Some(Taken::default()),
                    Some(record) => record.scans.iter().find(|(relation, _)| *relation == input).map(|(_, taken)| taken.clone()),
                };
                if let Some(taken) = taken {
                    scans.push_back((input, rows.scan_behind(self.checkpoints.snapshot(), &taken)));
                }
                tapped.insert(input, VecDeque::new());
            } else {
                lane.feeds.insert(input, self.open_feed(input, from.and_then(|r| r.sources.get(&input)))?);
            }
        }
        Ok((lane, scans, tapped))
    }

    /// A share of work for each view that is being built; joins those that have caught up.
    pub(super) fn build_some(&mut self) -> Result<bool> {
        self.give_up_abandoned()?;
        let mut worked = false;
        // One at a time is out of the list: a checkpoint records the others.
        for _ in 0..self.building.len() {
            let mut building = self.building.remove(0);
            match self.build_share(&mut building) {
                Ok(did) => worked |= did,
                Err(e) if e.kind() == Kind::Connector => {
                    let id = building.object.id;
                    tracing::warn!(view = building.object.name, error = %e, "a materialized view could not be built");
                    if let Some(reply) = building.reply.take() {
                        let _ = reply.send(Err(e));
                    }
                    self.building.push(building);
                    self.drop_objects(&[id])?;
                    continue;
                }
                Err(e) => return Err(e),
            }
            if self.load.is_none() && self.caught_up(&building) {
                self.join(building)?;
                worked = true;
            } else {
                self.building.push(building);
            }
        }
        Ok(worked)
    }

    /// Nothing remains of a view whose statement was cancelled, or whose client has gone.
    pub(super) fn give_up_abandoned(&mut self) -> Result<()> {
        let gone = |b: &Building| b.reply.as_ref().is_some_and(|r| r.is_closed());
        let abandoned: Vec<ObjectId> = self.building.iter().filter(|b| gone(b)).map(|b| b.object.id).collect();
        if abandoned.is_empty() { Ok(()) } else { self.drop_objects(&abandoned) }
    }

    fn build_share(&mut self, building: &mut Building) -> Result<bool> {
        if self.outbox_is_full() {
            return Ok(false);
        }
        let clock = self.now();
        let mut feeds: BTreeMap<ObjectId, Vec<(Option<Partition>, Delta)>> = BTreeMap::new();
        let mut rows = self.take_snapshot_chunk(building, &mut feeds)?;
        let mut after = building.lane.watermarks.clone();
        if building.scans.is_empty() {
            // The relations' own sources: their live promises hold once the snapshot is in.
            for source in building.plan.fragment.nodes.iter().flat_map(|n| n.spec.watermarks()) {
                if source != CLOCK && !building.lane.feeds.contains_key(&source) {
                    after.0.insert(source, self.main.watermarks.0.get(&source).copied().unwrap_or(WATERMARK_NONE));
                }
            }
        }
        let mut read = Vec::new();
        // Behind the snapshots: a temporal join looks up in them.
        let sources: Vec<ObjectId> = if building.scans.is_empty() { building.lane.feeds.keys().copied().collect() } else { Vec::new() };
        for source in sources {
            let Some(taken) = self.take_history(building, source, clock)? else { continue };
            rows += taken.rows;
            after.0.insert(source, taken.cut.watermark);
            read.push(taken.range(source));
            if !self.main.feeds.contains_key(&source) {
                self.shared.system.record_dead(source, taken.dead, clock);
            }
            feeds.entry(source).or_default().extend(taken.deltas.into_iter().map(|(p, d)| (Some(p), d)));
        }
        if rows == 0 && !building.first && !self.is_due(building.object.id, clock) && after == building.lane.watermarks {
            return Ok(false);
        }
        if building.scans.is_empty() {
            // What these steps date themselves, and what the live lane will date from now on, is not older.
            after.0.insert(CLOCK, clock.saturating_sub(1));
        }
        building.first = false;
        building.rows += rows as u64;
        let step = Step { epoch: self.epoch, clock, before: building.lane.watermarks.clone(), after };
        let began = Instant::now();
        let (changes, _) = self.step(&step, building.lane.views.clone(), feeds, BTreeSet::new())?;
        building.share.took(Took { rows, full: rows >= building.share.rows(), time: began.elapsed(), made: self.made });
        building.lane.watermarks = step.after;
        self.keep_changes(building, changes, &read)?;
        self.show_progress(building);
        Ok(true)
    }

    /// What a step of the lane gave: rows of the view, late rows, errors.
    pub(super) fn keep_changes(&mut self, building: &Building, changes: Vec<ViewChange>, read: &[ReadRange]) -> Result<()> {
        for change in changes {
            self.record_change(&change, read)?;
            if !change.records.is_empty() {
                self.owe(building.object.id, &change.records);
            }
            let sequence = self.sequence;
            if let (Some(run), Some(rows)) = (change.run, self.relation_rows(&building.object, &building.plan)?) {
                rows.push(sequence, run);
            }
        }
        Ok(())
    }

    pub(super) fn show_progress(&self, building: &Building) {
        let ran = building.started.elapsed();
        let (rows_before, time_before) = building.before;
        let phase = match building.scans.front() {
            Some((relation, _)) => format!("reading {}", self.name_of(*relation)),
            None if building.lane.feeds.is_empty() => "catching up".to_string(),
            None => format!("reading {}", building.lane.feeds.keys().map(|s| self.name_of(*s)).collect::<Vec<_>>().join(", ")),
        };
        let progress = Progress {
            rows: building.rows,
            expected: self.rows_left(building).map(|left| building.rows + left),
            elapsed: time_before + ran,
            rate: (building.rows - rows_before) as f64 / ran.as_secs_f64().max(1e-3),
            phase,
        };
        self.shared.system.progress(building.object.id, progress);
    }

    fn name_of(&self, id: ObjectId) -> String {
        self.shared.catalog.load().get(id).map_or_else(|| id.to_string(), |o| o.name.clone())
    }

    /// About how many rows are still to come; `None`: somebody does not tell.
    fn rows_left(&self, building: &Building) -> Option<u64> {
        let snapshot = self.checkpoints.snapshot();
        let of_scan = |(relation, scan): &(ObjectId, RelationScan)| self.relations.get(relation)?.estimated_left(snapshot.as_ref(), scan);
        let of_feed = |(source, feed): (&ObjectId, &Feed)| match self.main.feeds.get(source) {
            Some(live) => Some(feed.distance(&live.partitions).max(0) as u64),
            None => feed.left(),
        };
        let scans = building.scans.iter().map(of_scan).sum::<Option<u64>>()?;
        let feeds = building.lane.feeds.iter().map(of_feed).sum::<Option<u64>>()?;
        let tapped: usize = building.tapped.values().flatten().flatten().map(Delta::rows).sum();
        Some(scans + feeds + tapped as u64)
    }

    /// The next chunk of the relations' snapshots, or, once these are done, everything tapped so far.
    fn take_snapshot_chunk(&mut self, building: &mut Building, feeds: &mut BTreeMap<ObjectId, Vec<(Option<Partition>, Delta)>>) -> Result<usize> {
        let mut rows = 0;
        while let Some((relation, scan)) = building.scans.front_mut() {
            match scan.next(building.share.rows())? {
                Some(delta) => {
                    rows += delta.rows();
                    feeds.entry(*relation).or_default().push((None, delta));
                    return Ok(rows);
                }
                None => {
                    building.scans.pop_front();
                }
            }
        }
        for (relation, queue) in &mut building.tapped {
            for delta in queue.drain(..).flatten() {
                rows += delta.rows();
                feeds.entry(*relation).or_default().push((None, delta));
            }
        }
        Ok(rows)
    }

    /// The next share of a source's history; the last one ends exactly where the live lane stands.
    fn take_history(&self, building: &mut Building, source: ObjectId, clock: i64) -> Result<Option<feed::Taken>> {
        let Some(feed) = building.lane.feeds.get_mut(&source) else { return Ok(None) };
        feed.drain(clock);
        if !feed.ready(clock) {
            return Ok(None);
        }
        match self.main.feeds.get(&source) {
            Some(live) if feed.distance(&live.partitions) == 0 => Ok(None),
            Some(live) => feed.take_towards(&live.partitions, building.share.rows(), clock).map(Some),
            None => feed.take(building.share.rows(), clock).map(Some),
        }
    }

    /// Whether the live lane should wait a moment, so that a lane that is nearly there meets it: a source that never rests would else stay ahead.
    /// Every other half second only, for the lane's own reader may be what is slow.
    pub(super) fn awaits_joining(&self) -> bool {
        self.building.iter().any(|b| {
            let behind: i64 = b.lane.feeds.iter().filter_map(|(source, feed)| self.main.feeds.get(source).map(|live| feed.distance(&live.partitions))).sum();
            behind > 0 && behind <= 2 * b.share.rows() as i64 && b.started.elapsed().as_millis() % 1000 < 500
        })
    }

    fn caught_up(&self, building: &Building) -> bool {
        !building.first
            && building.drained()
            && building.lane.feeds.iter().all(|(source, feed)| self.main.feeds.get(source).is_none_or(|live| feed.distance(&live.partitions) == 0))
    }

    /// At an epoch boundary: the view becomes part of the live lane (an isolated one goes to workers of its own), with a checkpoint that holds its state and its catalog record.
    fn join(&mut self, building: Building) -> Result<()> {
        if building.object.is_isolated() {
            return self.isolate(building);
        }
        let Building { object, plan, lane, reply, .. } = building;
        let object = object.with_building(false);
        for (source, feed) in lane.feeds {
            self.main.feeds.entry(source).or_insert(feed);
        }
        for (source, watermark) in lane.watermarks.0 {
            self.main.watermarks.0.entry(source).or_insert(watermark);
        }
        self.main.views.push(object.id);
        self.share.begin_again();
        self.make_running(&object, plan.clone())?;
        self.relation_rows(&object, &plan)?;
        self.announce(&object, Some(&plan));
        self.shared.system.built(object.id);
        self.checkpoint_with(object, reply)
    }
}
