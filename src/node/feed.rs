//! One source as one lane reads it: the pump's batches wait here until an epoch takes them, and the watermark follows what was taken.
//!
//! A partition counts as idle once the other side has confirmed for `idle_timeout` that there is nothing more to read (design D12);
//! a partition that cannot be reached is not idle, and holds the watermark.

use super::cut::SourceCut;
use crate::connectors::connector::{DeadRecord, Partition, Position, Source};
use crate::connectors::pump::{Event, Prepared, Pump};
use crate::error::{Error, Kind, Result};
use crate::types::delta::Delta;
use crate::types::ids::ObjectId;
use crate::types::time::{WATERMARK_END, WATERMARK_NONE};
use arrow::array::RecordBatch;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One partition: where reading stands, and counters that are exact for ever, because they are part of the checkpoint.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct PartitionState {
    /// Where the next epoch goes on.
    pub position: Position,
    /// Greatest event-time promise of the rows taken so far, µs.
    pub watermark: Option<i64>,
    pub ended: bool,
    pub rows: u64,
    pub bytes: u64,
    pub dead_letters: u64,
    pub tombstones: u64,
    /// Nothing more will come; rows may still wait. It has ended when they are taken: a checkpoint before that must have it read again.
    #[serde(skip)]
    pub ending: bool,
    #[serde(skip)]
    pub idle: bool,
    /// Since when the other side has confirmed that nothing waits, µs of the engine's clock.
    #[serde(skip)]
    pub caught_up_since: Option<i64>,
    #[serde(skip)]
    pub lag: Option<i64>,
    #[serde(skip)]
    pub error: Option<String>,
}

/// How long a replay waits for the pump before it looks at the time.
const REPLAY_POLL: Duration = Duration::from_millis(100);

/// What an epoch takes from a source.
#[derive(Default)]
pub struct Taken {
    /// Rows by partition, in order of position.
    pub deltas: Vec<(Partition, Delta)>,
    pub dead: Vec<(Partition, DeadRecord)>,
    pub rows: usize,
    /// When the first of the rows came from the reader.
    pub received: Option<Instant>,
    /// Where each partition of the cut stood before.
    pub starts: BTreeMap<Partition, Position>,
    pub cut: SourceCut,
}

impl Taken {
    /// What was read of `source`.
    pub fn range(&self, source: ObjectId) -> ReadRange {
        let range = |(partition, end): (&Partition, &Position)| (*partition, *self.starts.get(partition).unwrap_or(end), *end);
        ReadRange { source, partitions: self.cut.ends.iter().map(range).collect() }
    }
}

/// What one epoch read of a source: of each partition, from a position to before another.
pub struct ReadRange {
    pub source: ObjectId,
    pub partitions: Vec<(Partition, Position, Position)>,
}

impl ReadRange {
    /// For people: `payments 0:[120,180) 1:[77,80)`.
    pub fn text(&self, source: &str) -> String {
        self.partitions.iter().fold(source.to_owned(), |text, (partition, from, to)| format!("{text} {partition}:[{from},{to})"))
    }
}

/// See the module.
pub struct Feed {
    pub id: ObjectId,
    source: Arc<dyn Source>,
    pump: Pump,
    waiting: BTreeMap<Partition, VecDeque<Box<Prepared>>>,
    pub partitions: BTreeMap<Partition, PartitionState>,
    pub watermark: i64,
    /// µs; `None`: partitions never count as idle.
    idle_timeout: Option<i64>,
    changed: bool,
}

impl Feed {
    /// `partitions`: the state at the last checkpoint, or the start positions.
    pub fn new(
        id: ObjectId,
        source: Arc<dyn Source>,
        pump: Pump,
        partitions: BTreeMap<Partition, PartitionState>,
        watermark: i64,
        idle_timeout: Option<i64>,
    ) -> Feed {
        Feed { id, source, pump, waiting: BTreeMap::new(), partitions, watermark, idle_timeout, changed: true }
    }

    pub fn source(&self) -> Arc<dyn Source> {
        self.source.clone()
    }

    /// Takes what the pump has ready. Batches keep their room in the pump's bounds until an epoch takes them, so this holds no more than those.
    pub fn drain(&mut self, clock: i64) {
        while let Ok(event) = self.pump.events().try_recv() {
            self.accept(event, clock);
        }
    }

    fn accept(&mut self, event: Event, clock: i64) {
        match event {
            Event::Rows(batch) => {
                let state = self.partitions.entry(batch.partition).or_default();
                if batch.to <= state.position {
                    return;
                }
                state.caught_up_since = None;
                state.error = None;
                state.lag = batch.lag;
                self.waiting.entry(batch.partition).or_default().push_back(batch);
            }
            Event::CaughtUp { partition } => {
                let state = self.partitions.entry(partition).or_default();
                state.lag = Some(0);
                state.error = None;
                if state.caught_up_since.is_none() {
                    state.caught_up_since = Some(clock);
                }
            }
            Event::Ended { partition } => {
                let state = self.partitions.entry(partition).or_default();
                self.changed |= !state.ended;
                state.ending = true;
            }
            Event::Found { partition, from } => {
                self.changed = true;
                self.partitions.entry(partition).or_insert_with(|| PartitionState { position: from, ..PartitionState::default() });
            }
            Event::Failed { partition, error } => {
                for (p, state) in &mut self.partitions {
                    if partition.is_none_or(|only| only == *p) {
                        state.error = Some(error.clone());
                        state.caught_up_since = None;
                    }
                }
            }
            Event::Recovered { partition } => {
                for (p, state) in &mut self.partitions {
                    if partition.is_none_or(|only| only == *p) {
                        state.error = None;
                    }
                }
            }
        }
    }

    /// Whether rows wait.
    pub fn waits(&self) -> bool {
        self.waiting.values().any(|q| !q.is_empty())
    }

    /// Whether an epoch would take something: rows, or a watermark that moves without rows.
    pub fn ready(&self, clock: i64) -> bool {
        self.waits() || self.changed || self.partitions.values().any(|p| !p.idle && !p.ended && self.turns_idle(p, clock))
    }

    fn turns_idle(&self, partition: &PartitionState, clock: i64) -> bool {
        idle_since(partition, self.idle_timeout, clock)
    }

    /// The next epoch's share, about `max_rows`; the partition that is furthest behind in event time goes first.
    pub fn take(&mut self, max_rows: usize, clock: i64) -> Result<Taken> {
        let mut taken = Taken::default();
        while taken.rows < max_rows {
            let next = self.waiting.iter().filter(|(_, q)| !q.is_empty()).map(|(p, _)| *p).min_by_key(|p| self.partitions.get(p).and_then(|s| s.watermark));
            let Some(partition) = next else { break };
            let end = self.end_of(partition, max_rows - taken.rows);
            self.absorb(partition, end, &mut taken)?;
        }
        self.finish(&mut taken, clock);
        Ok(taken)
    }

    /// Replay: exactly what the logged cut took. Waits for the pump; an error after `timeout` without progress says what is missing.
    pub fn take_logged(&mut self, cut: &SourceCut, clock: i64, timeout: Duration) -> Result<Taken> {
        let mut taken = Taken::default();
        for (&partition, &end) in &cut.ends {
            self.take_partition_to(partition, end, clock, timeout, &mut taken)?;
        }
        for partition in &cut.ended {
            self.partitions.entry(*partition).or_default().ended = true;
        }
        for (partition, state) in &mut self.partitions {
            state.idle = cut.idle.contains(partition);
        }
        self.watermark = cut.watermark;
        taken.cut = cut.clone();
        Ok(taken)
    }

    /// Takes rows of one partition up to position `end`, waiting for them.
    fn take_partition_to(&mut self, partition: Partition, end: Position, clock: i64, timeout: Duration, taken: &mut Taken) -> Result<()> {
        let mut deadline = Instant::now() + timeout;
        while self.partitions.entry(partition).or_default().position < end {
            if self.waiting.get(&partition).is_some_and(|q| !q.is_empty()) {
                self.absorb(partition, end, taken)?;
                continue;
            }
            match self.pump.events().recv_timeout(REPLAY_POLL) {
                Ok(event) => {
                    self.accept(event, clock);
                    deadline = Instant::now() + timeout;
                }
                Err(_) if Instant::now() > deadline => {
                    let why = self.partitions.get(&partition).and_then(|p| p.error.clone()).unwrap_or_else(|| "no data came".into());
                    return Err(Error::new(Kind::Connector, format!("cannot read partition {partition} again up to position {end}")).with_detail(why));
                }
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// About `max_rows` of what waits, but nothing behind the other feed's positions: a lane that catches up with the live one.
    pub fn take_towards(&mut self, ends: &BTreeMap<Partition, PartitionState>, max_rows: usize, clock: i64) -> Result<Taken> {
        let mut taken = Taken::default();
        for (&partition, end) in ends {
            while taken.rows < max_rows
                && self.waiting.get(&partition).is_some_and(|q| !q.is_empty())
                && self.partitions.entry(partition).or_default().position < end.position
            {
                let part = self.end_of(partition, max_rows - taken.rows).min(end.position);
                self.absorb(partition, part, &mut taken)?;
            }
        }
        self.finish(&mut taken, clock);
        Ok(taken)
    }

    /// Behind the first `rows` rows of a partition's first waiting batch.
    fn end_of(&self, partition: Partition, rows: usize) -> Position {
        let first = self.waiting.get(&partition).and_then(VecDeque::front);
        first.and_then(|batch| batch.positions.get(rows)).copied().unwrap_or(Position::MAX)
    }

    /// Rows that are still to be read, as far as the other side tells; `None`: it does not.
    pub fn left(&self) -> Option<u64> {
        let of_partition = |(partition, state): (&Partition, &PartitionState)| {
            let waiting: i64 = self.waiting.get(partition).map_or(0, |q| q.iter().map(|b| b.to - b.from).sum());
            let beyond = if state.ending || state.ended || state.caught_up_since.is_some() { Some(0) } else { state.lag };
            Some((waiting + beyond?).max(0) as u64)
        };
        self.partitions.iter().map(of_partition).sum()
    }

    /// Rows that this feed is behind another one, by positions.
    pub fn distance(&self, ends: &BTreeMap<Partition, PartitionState>) -> i64 {
        ends.iter().map(|(p, end)| (end.position - self.partitions.get(p).map_or(0, |s| s.position)).max(0)).sum()
    }

    /// Takes the first waiting batch of a partition, or its part before position `end`.
    fn absorb(&mut self, partition: Partition, end: Position, taken: &mut Taken) -> Result<()> {
        let Some(queue) = self.waiting.get_mut(&partition) else { return Ok(()) };
        let Some(mut batch) = queue.pop_front() else { return Ok(()) };
        let part = split_front(&mut batch, end);
        taken.received = Some(taken.received.map_or(batch.received, |first| first.min(batch.received)));
        if batch.from < batch.to {
            queue.push_front(batch);
        }
        let state = self.partitions.entry(partition).or_default();
        taken.starts.entry(partition).or_insert(state.position);
        state.position = part.to;
        state.bytes += part.bytes;
        state.dead_letters += part.dead.len() as u64;
        state.rows += part.rows.num_rows() as u64;
        state.watermark = state.watermark.max(part.watermark);
        state.tombstones += part.deletions.iter().flatten().filter(|d| **d).count() as u64;
        taken.cut.ends.insert(partition, part.to);
        taken.cut.ahead.extend(part.skewed.iter().map(|p| (partition, *p)));
        taken.rows += part.rows.num_rows();
        if part.rows.num_rows() > 0 {
            // A deletion is a retraction of its key: `Upsert` knows the row that had it.
            let delta = match &part.deletions {
                Some(deletions) => Delta::new(part.rows, deletions.iter().map(|d| if *d { -1 } else { 1 }).collect::<Vec<i64>>()),
                None => Delta::inserts(part.rows),
            };
            taken.deltas.push((partition, delta));
        }
        taken.dead.extend(part.dead.into_iter().map(|d| (partition, d)));
        Ok(())
    }

    /// Idleness and the watermark after what was taken.
    fn finish(&mut self, taken: &mut Taken, clock: i64) {
        self.changed = false;
        let idle_timeout = self.idle_timeout;
        for (partition, state) in &mut self.partitions {
            let waits = self.waiting.get(partition).is_some_and(|q| !q.is_empty());
            state.ended |= state.ending && !waits;
            state.idle = !waits && !state.ended && idle_since(state, idle_timeout, clock);
        }
        let all_ended = !self.partitions.is_empty() && self.partitions.values().all(|s| s.ended);
        let promise = self.partitions.values().filter(|s| !s.idle && !s.ended).map(|s| s.watermark.unwrap_or(WATERMARK_NONE)).min();
        let watermark = if all_ended { WATERMARK_END } else { promise.unwrap_or(self.watermark) };
        self.watermark = self.watermark.max(watermark);
        taken.cut.watermark = self.watermark;
        taken.cut.idle = self.partitions.iter().filter(|(_, s)| s.idle).map(|(p, _)| *p).collect();
        taken.cut.ended = self.partitions.iter().filter(|(_, s)| s.ended).map(|(p, _)| *p).collect();
    }

    /// The checkpoint holds everything up to these positions.
    pub fn committed(&self) {
        self.source.committed(&self.positions());
    }

    pub fn positions(&self) -> BTreeMap<Partition, Position> {
        self.partitions.iter().map(|(p, s)| (*p, s.position)).collect()
    }
}

fn idle_since(partition: &PartitionState, idle_timeout: Option<i64>, clock: i64) -> bool {
    matches!((partition.caught_up_since, idle_timeout), (Some(since), Some(timeout)) if clock - since >= timeout)
}

/// What an epoch takes of one batch.
struct Part {
    to: Position,
    rows: RecordBatch,
    watermark: Option<i64>,
    deletions: Option<Vec<bool>>,
    dead: Vec<DeadRecord>,
    skewed: Vec<Position>,
    bytes: u64,
}

/// Takes everything before position `end` out of a batch; `batch.from == batch.to` tells that nothing is left.
fn split_front(batch: &mut Prepared, end: Position) -> Part {
    let to = end.min(batch.to);
    let row = batch.positions.partition_point(|p| *p < to);
    let rest = batch.rows.num_rows() - row;
    let bytes = batch.bytes * row as u64 / (row + rest).max(1) as u64;
    let (dead, later_dead) = std::mem::take(&mut batch.dead).into_iter().partition(|d| d.position < to);
    let (skewed, later_skewed) = std::mem::take(&mut batch.skewed).into_iter().partition(|p| *p < to);
    let times: Option<Vec<i64>> = batch.watermark_times.as_mut().map(|t| t.drain(..row).collect());
    let part = Part {
        to,
        rows: batch.rows.slice(0, row),
        watermark: times.and_then(|t| t.into_iter().max()).filter(|t| *t != WATERMARK_NONE),
        deletions: batch.deletions.as_mut().map(|d| d.drain(..row).collect()),
        dead,
        skewed,
        bytes: if to == batch.to { batch.bytes } else { bytes },
    };
    batch.from = to;
    batch.rows = batch.rows.slice(row, rest);
    batch.positions.drain(..row);
    batch.dead = later_dead;
    batch.skewed = later_skewed;
    batch.bytes -= part.bytes;
    part
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connectors::pump::PumpConfig;
    use crate::connectors::pump::tests::{numbers, preparation};

    #[test]
    fn a_partition_has_ended_when_its_last_row_is_taken() {
        let source = numbers(&[("fields.n.kind", "sequence"), ("rows", "1000")]);
        let pump = Pump::start(source.clone(), [(0, 0)].into(), preparation(&source), PumpConfig::default()).unwrap();
        let mut feed = Feed::new(ObjectId(1), source, pump, [(0, PartitionState::default())].into(), WATERMARK_NONE, None);
        let start = Instant::now();
        while !feed.partitions[&0].ending {
            assert!(start.elapsed() < Duration::from_secs(60), "the pump does not end");
            feed.drain(0);
            std::thread::yield_now();
        }
        // What a checkpoint keeps now must have the rest read again.
        let first = feed.take(400, 0).unwrap();
        assert_eq!((first.rows, feed.partitions[&0].position, feed.partitions[&0].ended), (400, 400, false));
        assert!(first.cut.ended.is_empty() && first.cut.watermark < WATERMARK_END);
        let rest = feed.take(1000, 0).unwrap();
        assert_eq!((rest.rows, feed.partitions[&0].position, feed.partitions[&0].ended), (600, 1000, true));
        assert_eq!(rest.cut.watermark, WATERMARK_END);
    }
}
