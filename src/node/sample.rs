//! A sample of a relation's rows, for estimates: a source is read a little from its beginning, by a reader of its own; tables and views give the first
//! rows of their newest epoch. Nothing of it reaches a view, and no position moves.

use super::shared::Shared;
use super::sources;
use crate::catalog::object::Object;
use crate::connectors::connector::Partition;
use crate::connectors::pump::{Event, Pump, PumpConfig};
use crate::error::{Error, Kind, Result};
use crate::types::delta::Delta;
use crate::types::ids::ObjectId;
use crate::types::time::WATERMARK_NONE;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long a source is read for a sample.
const PATIENCE: Duration = Duration::from_millis(700);
/// Rows of one part: small, so that the watermark moves within a sample.
const PART_ROWS: usize = 1024;

#[derive(Clone, Debug)]
pub struct Part {
    pub rows: Delta,
    /// What the relation's own watermark promises behind them, µs.
    pub watermark: Option<i64>,
}

#[derive(Clone, Debug, Default)]
pub struct Sample {
    pub parts: Vec<Part>,
    /// Rows that there are in all; `None`: not known.
    pub total: Option<u64>,
}

impl Sample {
    pub fn rows(&self) -> u64 {
        self.parts.iter().map(|p| p.rows.rows() as u64).sum()
    }
}

/// About `max` rows. Blocks: for a thread that may.
pub fn sample(shared: &Shared, id: ObjectId, max: usize) -> Result<Sample> {
    let published = shared.published();
    if let Some(rows) = published.relations.get(&id).filter(|r| r.ready) {
        let mut scan = rows.scan(published.snapshot.clone());
        let mut sample = Sample::default();
        while sample.rows() < max as u64 {
            let Some(rows) = scan.next(PART_ROWS)? else {
                sample.total = Some(sample.rows());
                break;
            };
            sample.parts.push(Part { rows, watermark: None });
        }
        if sample.total.is_none() {
            sample.total = rows.estimated_rows(published.snapshot.as_ref(), &scan, sample.rows());
        }
        return Ok(sample);
    }
    let catalog = shared.catalog.load();
    let object = catalog.get(id).ok_or_else(|| Error::new(Kind::UndefinedTable, "a relation was dropped meanwhile"))?;
    if object.feed().is_none() {
        return Ok(Sample::default());
    }
    from_source(shared, object, max)
}

fn from_source(shared: &Shared, object: &Object, max: usize) -> Result<Sample> {
    let opened = sources::open(&shared.revealed(object)?, None, shared.clock.clone(), BTreeMap::new())?;
    let start = object.feed().map(|f| f.start.clone()).unwrap_or_default().into_iter().collect();
    let config = PumpConfig { name: format!("sample of {}", object.name), max_rows: PART_ROWS, ..PumpConfig::default() };
    let pump = Pump::start(opened.source, start, opened.preparation, config)?;
    let mut sample = Sample::default();
    // Per partition: the greatest promise, and what is left behind what was read.
    let mut partitions: BTreeMap<Partition, (i64, Option<u64>)> = BTreeMap::new();
    let deadline = Instant::now() + PATIENCE;
    while sample.rows() < max as u64 {
        match pump.events().recv_deadline(deadline) {
            Ok(Event::Rows(batch)) => {
                let state = partitions.entry(batch.partition).or_insert((WATERMARK_NONE, None));
                let promised = batch.watermark_times.iter().flatten().copied().max();
                state.0 = state.0.max(promised.unwrap_or(WATERMARK_NONE));
                state.1 = batch.lag.and_then(|l| u64::try_from(l).ok());
                let watermark = partitions.values().map(|p| p.0).min().filter(|w| *w != WATERMARK_NONE);
                sample.parts.push(Part { rows: Delta::inserts(batch.rows.clone()), watermark });
            }
            Ok(Event::CaughtUp { partition } | Event::Ended { partition }) => {
                partitions.entry(partition).or_insert((WATERMARK_NONE, None)).1 = Some(0);
                if partitions.values().all(|p| p.1 == Some(0)) && partitions.len() >= object.feed().map_or(0, |f| f.start.len()) {
                    break;
                }
            }
            Ok(_) => {}
            Err(_) => break,
        }
    }
    let left = partitions.values().map(|p| p.1).sum::<Option<u64>>();
    let read = shared.system.sources().get(&object.id).map(|s| s.partitions.values().map(|p| p.rows).sum::<u64>());
    sample.total = left.filter(|_| !partitions.is_empty()).map(|left| left + sample.rows()).max(read);
    Ok(sample)
}
