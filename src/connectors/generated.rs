//! The source behind every built-in generator. A generator is a pure function from an event number to a row,
//! so any row can be made without those before it: the position of a record is its event number, reading can
//! begin anywhere, and every reading gives the same rows.
//!
//! ```text
//!   events    0 1 2 3 | 4 5 6 7 | 8 9 …      groups of `group` events (here 4)
//!   partition    0    |    1    |  0          are dealt out to the partitions in turn
//! ```

use super::connector::{Batch, Metadata, Partition, Polled, Position, Reader, Source, SourceRequest};
use super::options::{OptionKind, OptionSpec, Options};
use super::pace::Pace;
use crate::error::{Error, Kind, Result};
use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch, RecordBatchOptions};
use arrow::compute::CastOptions;
use arrow::datatypes::{DataType, SchemaRef};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Makes rows from event numbers.
pub trait Generator: Send + Sync {
    /// How many consecutive events stay in one partition. At least 1.
    fn group(&self) -> i64 {
        1
    }

    /// Which events are rows of this source; the others are holes.
    fn wanted(&self, _event: i64) -> bool {
        true
    }

    /// One more maker of rows, owned by one reader.
    fn maker(&self) -> Box<dyn Maker>;
}

/// A reader's own part of a generator: it may cache, but what it makes depends on the event numbers alone.
pub trait Maker: Send {
    /// One array per column the generator was made with, in that order, one row per event; events rise.
    fn make(&mut self, events: &[i64]) -> Result<Vec<ArrayRef>>;
}

/// Options that all generators share; `rate` and `rows` mean the same everywhere.
pub const RATE: OptionSpec =
    OptionSpec::new("rate", OptionKind::Rate, "", "Events per second of wall-clock time, over all partitions; 0 or absent: as fast as they are taken.")
        .or(&["datagen.rows.per.second", "rows_per_second"]);
pub const ROWS: OptionSpec =
    OptionSpec::new("rows", OptionKind::Integer { min: 0, max: i64::MAX }, "", "How many events there are; then the source has ended. Absent: no end.")
        .or(&["nexmark.event.num", "event_num"]);
pub const SEED: OptionSpec = OptionSpec::new("seed", OptionKind::Integer { min: 0, max: i64::MAX }, "0", "Another seed gives other events.");
pub const PARTITIONS: OptionSpec = OptionSpec::new(
    "partitions",
    OptionKind::Integer { min: 1, max: 1024 },
    "1",
    "Over how many partitions the events are dealt out, so that several threads can make them.",
)
.or(&["nexmark.split.num", "datagen.split.num", "split_num"]);
pub const BASE_TIME: OptionSpec = OptionSpec::new(
    "base_time",
    OptionKind::Integer { min: 0, max: 253_402_300_799_999 },
    "the time of CREATE SOURCE",
    "Event time of the first event, in milliseconds since 1970.",
)
.or(&["nexmark.base.time"]);
pub const EVENT_RATE: OptionSpec =
    OptionSpec::new("event_rate", OptionKind::Rate, "rate, else 10000", "Events per second of event time: how fast the events' own clock runs.");

pub const PREPARED: OptionSpec = OptionSpec::new(
    "prepared",
    OptionKind::Boolean,
    "false",
    "Makes all rows, which rows must bound, in memory before the first is given out: so a benchmark measures what is behind the source, and not the source.",
);

/// The shared options, read.
#[derive(Clone, Debug)]
pub struct Shape {
    pub rate: Option<f64>,
    pub rows: Option<i64>,
    pub seed: u64,
    pub partitions: u32,
    /// Event time of event 0, µs.
    pub base_time: i64,
    /// Events per second of event time.
    pub event_rate: f64,
    /// Whether all rows are made before the first is given out.
    pub prepared: bool,
}

impl Shape {
    /// `created_at`: the clock at CREATE, µs.
    pub fn read(options: &Options<'_>, created_at: i64) -> Result<Shape> {
        let rate = options.number("rate")?.filter(|r| *r > 0.0);
        let event_rate = options.number("event_rate")?.filter(|r| *r > 0.0).or(rate).unwrap_or(10_000.0);
        let (rows, prepared) = (options.integer("rows")?, options.boolean("prepared")?.unwrap_or(false));
        if prepared && rows.is_none() {
            return Err(Error::new(Kind::InvalidParameter, "prepared needs rows").with_hint("say how many rows are to be made, such as rows = '1000000'"));
        }
        Ok(Shape {
            rate,
            rows,
            prepared,
            seed: options.integer("seed")?.unwrap_or(0) as u64,
            partitions: options.integer("partitions")?.unwrap_or(1) as u32,
            base_time: options.integer("base_time")?.map_or(created_at, |ms| ms * 1000),
            event_rate,
        })
    }

    /// The undisturbed event time of an event, µs.
    pub fn time(&self, event: i64) -> i64 {
        self.base_time.saturating_add((event as f64 * (1e6 / self.event_rate)) as i64)
    }
}

/// What one declared column is.
#[derive(Clone, Debug)]
enum Slot {
    /// The next column of the generator, cast to the declared type.
    Made,
    Partition,
    Offset,
}

/// A generator as a source.
pub struct GeneratedSource {
    plan: Arc<Plan>,
    rows: Option<i64>,
    partitions: u32,
}

/// What all readers share.
struct Plan {
    generator: Box<dyn Generator>,
    schema: SchemaRef,
    slots: Vec<Slot>,
    pace: Pace,
    prepared: bool,
    /// Readers, and those whose rows are all made. A partition that has ended is not opened again after a restart.
    opened: AtomicU32,
    ready: AtomicU32,
}

impl GeneratedSource {
    /// `generator` makes the declared columns that are not metadata, in declared order, in types that cast to the declared ones.
    pub fn new(request: &SourceRequest<'_>, shape: &Shape, rows: Option<i64>, generator: Box<dyn Generator>) -> Result<Self> {
        let slots = request.metadata.iter().map(|m| slot(request.connector, m.as_ref())).collect::<Result<_>>()?;
        let plan = Plan {
            generator,
            schema: request.declared.clone(),
            slots,
            pace: Pace::new(shape.rate),
            prepared: shape.prepared,
            opened: AtomicU32::new(0),
            ready: AtomicU32::new(0),
        };
        Ok(GeneratedSource { plan: Arc::new(plan), rows, partitions: shape.partitions })
    }
}

fn slot(connector: &str, metadata: Option<&Metadata>) -> Result<Slot> {
    match metadata {
        None => Ok(Slot::Made),
        Some(Metadata::Partition) => Ok(Slot::Partition),
        Some(Metadata::Offset) => Ok(Slot::Offset),
        Some(other) => {
            Err(Error::not_supported(format!("connector \"{connector}\" has no metadata {}", other.name())).with_hint("it has partition and offset"))
        }
    }
}

/// The declared columns that a generator must make: not the metadata ones. `FORMAT PLAIN ENCODE JSON` (as peers write it for generators) or `NATIVE` changes nothing;
/// any other format is refused.
pub fn made_columns<'a>(request: &'a SourceRequest<'_>) -> Result<Vec<(&'a str, &'a DataType)>> {
    let encode = request.encode.map(str::to_lowercase);
    let harmless = matches!(encode.as_deref(), None | Some("json" | "native")) && request.encode_options.is_empty();
    if !harmless || request.upsert {
        return Err(Error::new(Kind::InvalidParameter, format!("connector \"{}\" makes rows, so FORMAT and ENCODE have no meaning", request.connector))
            .with_hint("leave out FORMAT … ENCODE …"));
    }
    let fields = request.declared.fields().iter().zip(&request.metadata);
    Ok(fields.filter(|(_, m)| m.is_none()).map(|(f, _)| (f.name().as_str(), f.data_type())).collect())
}

/// Finds each made column in `offered` (name and native type); error: unknown name, or a declared type it does not fit in.
pub fn match_columns(request: &SourceRequest<'_>, of: &str, offered: &[(&str, DataType)]) -> Result<Vec<usize>> {
    let names: Vec<&str> = offered.iter().map(|(n, _)| *n).collect();
    let find = |(name, declared): (&str, &DataType)| {
        let Some(at) = names.iter().position(|n| *n == name) else {
            let near = super::options::nearest(name, &names).map_or(String::new(), |n| format!("did you mean \"{n}\"? "));
            return Err(
                Error::new(Kind::UndefinedColumn, format!("{of} has no column \"{name}\"")).with_hint(format!("{near}columns are {}", names.join(", ")))
            );
        };
        if !fits(&offered[at].1, declared) {
            return Err(Error::new(Kind::DatatypeMismatch, format!("column \"{name}\" of {of} cannot be of the declared type"))
                .with_hint(format!("it is {}", sql_name(&offered[at].1))));
        }
        Ok(at)
    };
    made_columns(request)?.into_iter().map(find).collect()
}

fn fits(native: &DataType, declared: &DataType) -> bool {
    use DataType as T;
    let number = |t: &T| t.is_numeric();
    match (native, declared) {
        (a, b) if a == b => true,
        (T::Timestamp(..), T::Timestamp(..)) | (T::Int64, T::Utf8) => true,
        (T::Int64 | T::Decimal128(..) | T::Float64, to) => number(to) && (native == &T::Int64 || !to.is_integer()),
        _ => false,
    }
}

fn sql_name(t: &DataType) -> &'static str {
    match t {
        DataType::Int64 => "bigint",
        DataType::Utf8 => "text",
        DataType::Boolean => "boolean",
        DataType::Timestamp(..) => "timestamp",
        DataType::Decimal128(..) => "numeric",
        _ => "double precision",
    }
}

impl Source for GeneratedSource {
    fn partitions(&self) -> Result<Vec<Partition>> {
        Ok((0..self.partitions).collect())
    }

    fn start(&self) -> Result<BTreeMap<Partition, Position>> {
        Ok((0..self.partitions).map(|p| (p, 0)).collect())
    }

    fn open(&self, partition: Partition, from: Position, _ahead: usize) -> Result<Box<dyn Reader>> {
        let next = from.max(0);
        self.plan.pace.begin(next, Instant::now());
        self.plan.opened.fetch_add(1, Ordering::AcqRel);
        Ok(Box::new(GeneratedReader {
            plan: self.plan.clone(),
            maker: self.plan.generator.maker(),
            partition,
            partitions: i64::from(self.partitions),
            rows: self.rows.unwrap_or(i64::MAX),
            next,
            made: None,
        }))
    }

    fn schema(&self) -> SchemaRef {
        self.plan.schema.clone()
    }

    fn replays_history(&self) -> bool {
        true
    }
}

struct GeneratedReader {
    plan: Arc<Plan>,
    maker: Box<dyn Maker>,
    partition: Partition,
    partitions: i64,
    rows: i64,
    next: i64,
    /// Batches made ahead.
    made: Option<VecDeque<Batch>>,
}

impl Reader for GeneratedReader {
    fn poll(&mut self, max_rows: usize, wait: Duration) -> Result<Polled> {
        if !self.plan.prepared {
            return self.make(max_rows, wait);
        }
        if self.made.is_none() {
            let mut made = VecDeque::new();
            loop {
                match self.make(max_rows, wait)? {
                    Polled::Batch(batch) => made.push_back(batch),
                    Polled::Nothing { .. } => {}
                    Polled::End => break,
                }
            }
            self.made = Some(made);
            self.plan.ready.fetch_add(1, Ordering::AcqRel);
        }
        if self.plan.ready.load(Ordering::Acquire) < self.plan.opened.load(Ordering::Acquire) {
            std::thread::sleep(wait.min(Duration::from_millis(1)));
            return Ok(Polled::Nothing { caught_up: false });
        }
        Ok(self.made.as_mut().and_then(VecDeque::pop_front).map_or(Polled::End, Polled::Batch))
    }
}

impl Drop for GeneratedReader {
    fn drop(&mut self) {
        if self.made.is_none() {
            // The others do not wait for it.
            self.plan.ready.fetch_add(1, Ordering::AcqRel);
        }
    }
}

impl GeneratedReader {
    fn make(&mut self, max_rows: usize, wait: Duration) -> Result<Polled> {
        if self.next >= self.rows {
            return Ok(Polled::End);
        }
        let mut due = self.plan.pace.due(Instant::now()).min(self.rows);
        if due <= self.next {
            std::thread::sleep(self.plan.pace.wait(self.next, Instant::now()).min(wait));
            due = self.plan.pace.due(Instant::now()).min(self.rows);
        }
        let from = self.next;
        let events = self.take(max_rows, due);
        if events.is_empty() {
            return Ok(if self.next >= self.rows { Polled::End } else { Polled::Nothing { caught_up: true } });
        }
        let rows = self.rows_of(&events)?;
        let lag = self.plan.pace.due(Instant::now()).min(self.rows).saturating_sub(self.next);
        let lag = (lag < i64::MAX / 2).then(|| lag.max(0) / self.partitions);
        Ok(Polled::Batch(Batch {
            from,
            to: self.next,
            bytes: rows.get_array_memory_size() as u64,
            rows,
            positions: events,
            deletions: None,
            dead: Vec::new(),
            raw: None,
            lag,
        }))
    }

    /// The next events of this partition below `due`; moves past those that are not.
    fn take(&mut self, max_rows: usize, due: i64) -> Vec<i64> {
        let group = self.plan.generator.group();
        let mut events = Vec::with_capacity(max_rows.min(usize::try_from(due.saturating_sub(self.next)).unwrap_or(0)));
        while self.next < due && events.len() < max_rows {
            let number = self.next / group;
            if number % self.partitions != i64::from(self.partition) {
                // To the next group that is ours.
                let ahead = (i64::from(self.partition) - number).rem_euclid(self.partitions);
                self.next = ((number + ahead) * group).min(due);
                continue;
            }
            let end = ((number + 1) * group).min(due);
            while self.next < end && events.len() < max_rows {
                if self.plan.generator.wanted(self.next) {
                    events.push(self.next);
                }
                self.next += 1;
            }
        }
        events
    }

    fn rows_of(&mut self, events: &[i64]) -> Result<RecordBatch> {
        let mut made = self.maker.make(events)?.into_iter();
        let fields = self.plan.schema.fields();
        let columns = fields.iter().zip(&self.plan.slots).map(|(field, slot)| {
            let native: ArrayRef = match slot {
                Slot::Made => made.next().ok_or_else(|| Error::internal("a generator makes every declared column"))?,
                Slot::Partition => Arc::new(Int32Array::from_value(self.partition as i32, events.len())),
                Slot::Offset => Arc::new(Int64Array::from(events.to_vec())),
            };
            cast(native, field.data_type())
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(events.len()));
        Ok(RecordBatch::try_new_with_options(self.plan.schema.clone(), columns, &options)?)
    }
}

/// To the declared type; `match_columns` has checked that it fits. Error: a value out of range.
fn cast(native: ArrayRef, to: &DataType) -> Result<ArrayRef> {
    if native.data_type() == to {
        return Ok(native);
    }
    Ok(arrow::compute::cast_with_options(&native, to, &CastOptions { safe: false, ..CastOptions::default() })?)
}

/// A number that depends on its two arguments alone (the finalizer of SplitMix64): a random generator with a
/// counter instead of a state, so that row n needs nothing from the rows before.
#[inline]
pub fn mix(seed: u64, counter: u64) -> u64 {
    let mut z = seed.wrapping_add(counter.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Spreads a random word over `0..bound` without division.
#[inline]
pub fn below(word: u64, bound: u64) -> u64 {
    ((u128::from(word) * u128::from(bound)) >> 64) as u64
}
