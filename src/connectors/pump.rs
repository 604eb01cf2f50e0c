//! Keeps the partitions of a source read, decoded and prepared ahead of the engine, on threads of its own.
//!
//! ```text
//!   Source ── Reader p0 ┐
//!          ── Reader p1 ┴ thread 0 ── poll, prepare ──┐
//!          ── Reader p2 ── thread 1 ── poll, prepare ──┴─> one bounded channel of events ──> engine
//! ```
//!
//! What is on its way is bounded twice: batches per partition, and bytes, of which all pumps share [`ReadAhead`]. Both are given back when the engine drops
//! the [`Prepared`] batch; until then the threads wait, and so does the input. A partition that fails is tried again, ever more rarely; the others go on.

use super::connector::{Bell, DeadRecord, Partition, Polled, Position, Reader, Source};
use super::prepare::{Preparation, Ready};
use crate::error::{Error, Result};
use arrow::array::RecordBatch;
use crossbeam_channel::{Receiver, SendTimeoutError, Sender, bounded};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How a pump runs.
pub struct PumpConfig {
    /// For thread names: the source.
    pub name: String,
    pub threads: usize,
    /// Records per batch.
    pub max_rows: usize,
    /// Batches of one partition that may be on their way. At least 1.
    pub queue_batches: usize,
    /// Shared with other pumps; one batch may always be on its way.
    pub read_ahead: Arc<ReadAhead>,
    /// Called after each event that was sent: the engine has something to do.
    pub notify: Arc<dyn Fn() + Send + Sync>,
}

impl Default for PumpConfig {
    /// One thread; bounds that keep two cores busy within a few tens of MB.
    fn default() -> Self {
        PumpConfig { name: String::new(), threads: 1, max_rows: 16_384, queue_batches: 4, read_ahead: ReadAhead::of(64 << 20), notify: Arc::new(|| ()) }
    }
}

/// Bytes that may be read ahead of the engine, shared evenly by all partitions that are read: what is on its way of all their batches, and as much again
/// for what their readers hold undecoded.
#[derive(Debug)]
pub struct ReadAhead {
    total: usize,
    partitions: AtomicUsize,
}

impl ReadAhead {
    pub fn of(total: usize) -> Arc<ReadAhead> {
        Arc::new(ReadAhead { total, partitions: AtomicUsize::new(0) })
    }

    /// Of so many of the partitions that are read.
    fn share(&self, partitions: usize) -> usize {
        self.total * partitions / self.partitions.load(Ordering::Acquire).max(1)
    }
}

/// Rows of one partition, as the engine takes them: positions `from <= p < to` are covered.
#[derive(Debug)]
pub struct Prepared {
    pub partition: Partition,
    pub from: Position,
    pub to: Position,
    /// Under the full schema.
    pub rows: RecordBatch,
    /// One per row, rising.
    pub positions: Vec<Position>,
    /// The watermark expression's value per row, µs; `None` without WATERMARK.
    pub watermark_times: Option<Vec<i64>>,
    /// For upsert sources: which rows are deletions.
    pub deletions: Option<Vec<bool>>,
    /// By position.
    pub dead: Vec<DeadRecord>,
    /// Positions that are dead only because the clock said so: the epoch log keeps them.
    pub skewed: Vec<Position>,
    pub bytes: u64,
    pub lag: Option<i64>,
    /// When the reader handed it over.
    pub received: Instant,
    /// Gives the room back when dropped.
    pub room: Reserved,
}

/// What a pump tells the engine, in order per partition.
#[derive(Debug)]
pub enum Event {
    Rows(Box<Prepared>),
    /// The other side confirmed just now that the partition has nothing more to read.
    CaughtUp {
        partition: Partition,
    },
    /// A bounded partition has ended for good.
    Ended {
        partition: Partition,
    },
    /// Reading fails and is tried again. `None`: asking for the partitions.
    Failed {
        partition: Option<Partition>,
        error: String,
    },
    Recovered {
        partition: Option<Partition>,
    },
    /// A partition that was not known; it is read from its beginning.
    Found {
        partition: Partition,
        from: Position,
    },
}

/// How long one poll waits; also bounds how long stopping takes.
const POLL_WAIT: Duration = Duration::from_millis(50);
/// How often "caught up" is confirmed again, and how soon after rows: a trickle must not double the engine's events.
const CAUGHT_UP_EVERY: Duration = Duration::from_secs(1);
const CAUGHT_UP_AFTER_ROWS: Duration = Duration::from_millis(100);
/// First and longest wait after a failure.
const RETRY_FIRST: Duration = Duration::from_millis(250);
const RETRY_LAST: Duration = Duration::from_secs(5);
/// Events in the channel; batches are bounded apart.
const CHANNEL: usize = 1024;

/// A running pump; dropping it stops its threads.
pub struct Pump {
    shared: Arc<Shared>,
    events: Receiver<Event>,
    workers: Vec<JoinHandle<()>>,
}

struct Shared {
    source: Arc<dyn Source>,
    config: PumpConfig,
    preparation: Preparation,
    sender: Sender<Event>,
    stop: AtomicBool,
    /// Partitions handed to each worker and not yet taken up.
    assigned: Mutex<Vec<Vec<(Partition, Position)>>>,
    /// How many are read; of those of `read_ahead`.
    partitions: AtomicUsize,
    room: Arc<Room>,
}

/// Bytes on their way, and the bell of each worker: rung when room is given back, too.
#[derive(Debug)]
struct Room {
    bytes: Mutex<usize>,
    bells: Vec<Arc<Bell>>,
}

impl Room {
    fn ring(&self) {
        self.bells.iter().for_each(|bell| bell.ring());
    }
}

/// A share of the pump's bounds.
#[derive(Debug)]
pub struct Reserved {
    room: Arc<Room>,
    in_flight: Arc<AtomicUsize>,
    bytes: usize,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.in_flight.fetch_sub(1, Ordering::AcqRel);
        *self.room.bytes.lock() -= self.bytes;
        self.room.ring();
    }
}

impl Pump {
    /// Starts reading each partition of `positions` from there; others, if the source may get more, from 0 as they are found.
    pub fn start(source: Arc<dyn Source>, positions: BTreeMap<Partition, Position>, preparation: Preparation, config: PumpConfig) -> Result<Pump> {
        let (sender, events) = bounded(CHANNEL);
        let threads = config.threads.clamp(1, positions.len().max(1));
        let mut assigned = vec![Vec::new(); threads];
        positions.iter().enumerate().for_each(|(i, (p, at))| assigned[i % threads].push((*p, *at)));
        let shared = Arc::new(Shared {
            source,
            config,
            preparation,
            sender,
            stop: AtomicBool::new(false),
            assigned: Mutex::new(assigned),
            partitions: AtomicUsize::new(0),
            room: Arc::new(Room { bytes: Mutex::new(0), bells: (0..threads).map(|_| Arc::default()).collect() }),
        });
        shared.count(positions.len());
        let mut workers = Vec::new();
        for worker in 0..threads {
            let shared = shared.clone();
            let name = format!("pump {} {worker}", shared.config.name);
            workers.push(std::thread::Builder::new().name(name).spawn(move || shared.work(worker))?);
        }
        if let Some(interval) = shared.source.discovery_interval() {
            let known: BTreeSet<Partition> = positions.into_keys().collect();
            let finder = shared.clone();
            // Not joined: it may be waiting for a broker's answer. It holds nothing that outlives it.
            std::thread::Builder::new().name(format!("partitions of {}", shared.config.name)).spawn(move || finder.find(known, interval))?;
        }
        Ok(Pump { shared, events, workers })
    }

    /// Where the events come out.
    pub fn events(&self) -> &Receiver<Event> {
        &self.events
    }

    /// Bytes of rows on their way to the engine.
    pub fn queued_bytes(&self) -> usize {
        *self.shared.room.bytes.lock()
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.room.ring();
        for worker in self.workers.drain(..) {
            // A worker does not panic: its work is caught. There is nobody left to tell if it did.
            drop(worker.join());
        }
        self.shared.config.read_ahead.partitions.fetch_sub(self.shared.partitions.swap(0, Ordering::AcqRel), Ordering::AcqRel);
    }
}

/// One partition as its worker sees it.
struct Slot {
    partition: Partition,
    reader: Option<Box<dyn Reader>>,
    /// The reader rings the worker's bell.
    announces: bool,
    next: Position,
    in_flight: Arc<AtomicUsize>,
    ended: bool,
    failure: Option<Failure>,
    /// When it was last told to be caught up, and whether rows came since.
    caught_up_at: Option<Instant>,
    rows_since: bool,
}

struct Failure {
    error: String,
    wait: Duration,
    again: Instant,
}

/// What became of one slot's turn.
#[derive(PartialEq, Eq)]
enum Turn {
    Rows,
    Nothing,
    /// Nothing can be read before room is given back or a failure's wait is over.
    Blocked,
}

impl Shared {
    /// So many more partitions are read here.
    fn count(&self, more: usize) {
        self.partitions.fetch_add(more, Ordering::AcqRel);
        self.config.read_ahead.partitions.fetch_add(more, Ordering::AcqRel);
    }

    fn share_of_all(&self) -> usize {
        self.config.read_ahead.share(self.partitions.load(Ordering::Acquire))
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Waits while the channel is full; false: stopped.
    fn send(&self, mut event: Event) -> bool {
        while !self.stopped() {
            match self.sender.send_timeout(event, POLL_WAIT) {
                Ok(()) => {
                    (self.config.notify)();
                    return true;
                }
                Err(SendTimeoutError::Timeout(back)) => event = back,
                Err(SendTimeoutError::Disconnected(_)) => return false,
            }
        }
        false
    }

    fn work(&self, worker: usize) {
        let mut slots: Vec<Slot> = Vec::new();
        let mut quiet_rounds = 0u32;
        while !self.stopped() {
            for (partition, next) in std::mem::take(&mut self.assigned.lock()[worker]) {
                slots.push(Slot {
                    partition,
                    reader: None,
                    announces: false,
                    next,
                    in_flight: Arc::default(),
                    ended: false,
                    failure: None,
                    caught_up_at: None,
                    rows_since: false,
                });
            }
            slots.retain(|s| !s.ended);
            // With one partition the reader itself may wait; with several nobody waits in another's turn.
            let wait = if slots.len() == 1 { POLL_WAIT } else { Duration::ZERO };
            let bell = &self.room.bells[worker];
            let turns: Vec<Turn> = slots.iter_mut().map(|slot| self.turn(slot, wait, bell)).collect();
            if turns.contains(&Turn::Rows) {
                quiet_rounds = 0;
            } else if slots.len() != 1 || turns[0] == Turn::Blocked {
                quiet_rounds = (quiet_rounds + 1).min(5);
                let silent = slots.iter().any(|slot| !slot.announces);
                bell.wait(if silent { Duration::from_micros(500) * (1 << quiet_rounds) } else { POLL_WAIT });
            }
        }
    }

    fn turn(&self, slot: &mut Slot, wait: Duration, bell: &Arc<Bell>) -> Turn {
        let full = slot.in_flight.load(Ordering::Acquire) >= self.config.queue_batches.max(1) || *self.room.bytes.lock() >= self.share_of_all();
        if full || slot.failure.as_ref().is_some_and(|f| Instant::now() < f.again) {
            return Turn::Blocked;
        }
        // A panic while decoding must not take the source down silently: it is an error of this partition.
        let outcome = catch_unwind(AssertUnwindSafe(|| self.poll(slot, wait, bell))).unwrap_or_else(|_| {
            slot.reader = None;
            Err(Error::internal("reading a partition failed on a broken invariant; the server's log has the details"))
        });
        match outcome {
            Ok(turn) => {
                if slot.failure.take().is_some() {
                    self.send(Event::Recovered { partition: Some(slot.partition) });
                }
                turn
            }
            Err(error) => {
                self.failed(slot, &error);
                Turn::Blocked
            }
        }
    }

    fn failed(&self, slot: &mut Slot, error: &Error) {
        let error = error.to_string();
        let known = slot.failure.as_ref().is_some_and(|f| f.error == error);
        let wait = slot.failure.as_ref().map_or(RETRY_FIRST, |f| (f.wait * 2).min(RETRY_LAST));
        slot.failure = Some(Failure { error: error.clone(), wait, again: Instant::now() + wait });
        slot.caught_up_at = None;
        if !known {
            self.send(Event::Failed { partition: Some(slot.partition), error });
        }
    }

    fn poll(&self, slot: &mut Slot, wait: Duration, bell: &Arc<Bell>) -> Result<Turn> {
        let reader = match &mut slot.reader {
            Some(reader) => reader,
            none => {
                let mut reader = self.source.open(slot.partition, slot.next, self.config.read_ahead.share(1))?;
                slot.announces = reader.announce(bell);
                none.insert(reader)
            }
        };
        match reader.poll(self.config.max_rows, wait)? {
            Polled::Batch(batch) => {
                let received = Instant::now();
                let (from, to, bytes, lag) = (batch.from, batch.to, batch.bytes, batch.lag);
                let ready = self.preparation.prepare(slot.partition, batch).inspect_err(|_| {
                    // The reader is past the batch: read it again.
                    slot.reader = None;
                })?;
                slot.next = to;
                slot.rows_since = true;
                let room = self.reserve(slot, &ready);
                let Ready { rows, positions, watermark_times, deletions, dead, skewed } = ready;
                let prepared =
                    Prepared { partition: slot.partition, from, to, rows, positions, watermark_times, deletions, dead, skewed, bytes, lag, received, room };
                self.send(Event::Rows(Box::new(prepared)));
                Ok(Turn::Rows)
            }
            Polled::Nothing { caught_up } => {
                let every = if slot.rows_since { CAUGHT_UP_AFTER_ROWS } else { CAUGHT_UP_EVERY };
                if caught_up && slot.caught_up_at.is_none_or(|at| at.elapsed() >= every) {
                    (slot.caught_up_at, slot.rows_since) = (Some(Instant::now()), false);
                    self.send(Event::CaughtUp { partition: slot.partition });
                }
                Ok(Turn::Nothing)
            }
            Polled::End => {
                slot.ended = true;
                self.send(Event::Ended { partition: slot.partition });
                Ok(Turn::Nothing)
            }
        }
    }

    fn reserve(&self, slot: &Slot, ready: &Ready) -> Reserved {
        let dead: usize = ready.dead.iter().map(|d| d.raw.len() + d.error.len()).sum();
        let bytes = ready.rows.get_array_memory_size() + ready.positions.len() * 16 + dead;
        slot.in_flight.fetch_add(1, Ordering::AcqRel);
        *self.room.bytes.lock() += bytes;
        Reserved { room: self.room.clone(), in_flight: slot.in_flight.clone(), bytes }
    }

    /// Looks for new partitions until stopped.
    fn find(&self, mut known: BTreeSet<Partition>, interval: Duration) {
        let mut failed: Option<String> = None;
        let mut asked = Instant::now();
        loop {
            match self.source.partitions() {
                Ok(now) => {
                    if failed.take().is_some() {
                        self.send(Event::Recovered { partition: None });
                    }
                    for partition in now {
                        if known.insert(partition) {
                            self.take_in(partition);
                        }
                    }
                }
                Err(error) => {
                    let error = error.to_string();
                    if failed.as_ref() != Some(&error) {
                        self.send(Event::Failed { partition: None, error: error.clone() });
                        failed = Some(error);
                    }
                }
            }
            while asked.elapsed() < interval {
                if self.stopped() {
                    return;
                }
                std::thread::sleep(POLL_WAIT);
            }
            asked = Instant::now();
        }
    }

    fn take_in(&self, partition: Partition) {
        if !self.send(Event::Found { partition, from: 0 }) {
            return;
        }
        self.count(1);
        let mut assigned = self.assigned.lock();
        let worker = partition as usize % assigned.len();
        assigned[worker].push((partition, 0));
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::connectors::connector::SourceRequest;
    use crate::types::time::ManualClock;
    use arrow::array::AsArray;
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};

    /// Numbers from the generator.
    pub(crate) fn numbers(options: &[(&str, &str)]) -> Arc<dyn Source> {
        let options: BTreeMap<String, String> = options.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        let request = SourceRequest {
            name: "n",
            connector: "datagen",
            options: &options,
            encode: None,
            encode_options: &BTreeMap::new(),
            upsert: false,
            primary_key: &[],
            declared: Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)])),
            not_null: vec![false],
            metadata: vec![None],
            created_at: 0,
        };
        crate::connectors::build(&request).unwrap()
    }

    /// That changes nothing.
    pub(crate) fn preparation(source: &Arc<dyn Source>) -> Preparation {
        Preparation {
            full_schema: source.schema(),
            generated: vec![],
            not_null: vec![],
            primary_key: vec![],
            watermark: None,
            event_time: None,
            max_future_skew: None,
            clock: Arc::new(ManualClock::at(0)),
            replay: BTreeMap::new(),
        }
    }

    fn config() -> PumpConfig {
        PumpConfig { name: "n".into(), threads: 2, max_rows: 100, queue_batches: 2, read_ahead: ReadAhead::of(1 << 20), notify: Arc::new(|| ()) }
    }

    #[test]
    fn every_row_arrives_once_and_bounded_partitions_end() {
        let source = numbers(&[("fields.n.kind", "sequence"), ("rows", "1000"), ("partitions", "3")]);
        let pump = Pump::start(source.clone(), [(0, 0), (1, 400), (2, 0)].into(), preparation(&source), config()).unwrap();
        let (mut seen, mut ended) = (Vec::new(), BTreeSet::new());
        while ended.len() < 3 {
            match pump.events().recv_timeout(Duration::from_secs(10)).unwrap() {
                Event::Rows(p) => seen.extend_from_slice(p.rows.column(0).as_primitive::<Int64Type>().values()),
                Event::Ended { partition } => drop(ended.insert(partition)),
                other => panic!("{other:?}"),
            }
        }
        seen.sort_unstable();
        let expected: Vec<i64> = (0..1000).filter(|n| n % 3 != 1 || *n >= 400).collect();
        assert_eq!(seen, expected);
    }

    /// Two partitions that have nothing until they are told; each counts how often it was asked.
    struct Told {
        numbers: Arc<dyn Source>,
        asked: Arc<AtomicUsize>,
        bells: Arc<Mutex<Vec<Arc<Bell>>>>,
        told: Arc<AtomicBool>,
    }

    impl Source for Told {
        fn partitions(&self) -> Result<Vec<Partition>> {
            Ok(vec![0, 1])
        }

        fn start(&self) -> Result<BTreeMap<Partition, Position>> {
            Ok([(0, 0), (1, 0)].into())
        }

        fn open(&self, partition: Partition, from: Position, ahead: usize) -> Result<Box<dyn Reader>> {
            let numbers = self.numbers.open(partition, from, ahead)?;
            Ok(Box::new(ToldReader { numbers, asked: self.asked.clone(), bells: self.bells.clone(), told: self.told.clone() }))
        }

        fn schema(&self) -> arrow::datatypes::SchemaRef {
            self.numbers.schema()
        }
    }

    struct ToldReader {
        numbers: Box<dyn Reader>,
        asked: Arc<AtomicUsize>,
        bells: Arc<Mutex<Vec<Arc<Bell>>>>,
        told: Arc<AtomicBool>,
    }

    impl Reader for ToldReader {
        fn poll(&mut self, max_rows: usize, wait: Duration) -> Result<Polled> {
            self.asked.fetch_add(1, Ordering::AcqRel);
            if self.told.load(Ordering::Acquire) { self.numbers.poll(max_rows, wait) } else { Ok(Polled::Nothing { caught_up: false }) }
        }

        fn announce(&mut self, bell: &Arc<Bell>) -> bool {
            self.bells.lock().push(bell.clone());
            true
        }
    }

    #[test]
    fn partitions_that_ring_are_not_asked_again_and_again() {
        let numbers = numbers(&[("partitions", "2")]);
        let (asked, bells, told) = (Arc::<AtomicUsize>::default(), Arc::<Mutex<Vec<Arc<Bell>>>>::default(), Arc::<AtomicBool>::default());
        let source: Arc<dyn Source> = Arc::new(Told { numbers, asked: asked.clone(), bells: bells.clone(), told: told.clone() });
        let config = PumpConfig { threads: 1, ..config() };
        let began = Instant::now();
        let pump = Pump::start(source.clone(), [(0, 0), (1, 0)].into(), preparation(&source), config).unwrap();
        while asked.load(Ordering::Acquire) < 6 {
            std::thread::yield_now();
        }
        assert!(began.elapsed() > POLL_WAIT, "asked six times in {:?}", began.elapsed());
        told.store(true, Ordering::Release);
        bells.lock()[0].ring();
        assert!(matches!(pump.events().recv_timeout(Duration::from_secs(10)).unwrap(), Event::Rows(_)));
    }

    #[test]
    fn what_is_on_its_way_is_bounded_and_stopping_is_quick() {
        let source = numbers(&[]);
        let pump = Pump::start(source.clone(), [(0, 0)].into(), preparation(&source), config()).unwrap();
        let first = pump.events().recv_timeout(Duration::from_secs(10)).unwrap();
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(pump.events().len(), 1, "two batches are out: one is held, one is queued");
        assert!(pump.queued_bytes() > 0);
        drop(first);
        let Event::Rows(second) = pump.events().recv_timeout(Duration::from_secs(10)).unwrap() else { panic!("rows") };
        assert_eq!((second.from, second.to, second.positions.len()), (100, 200, 100));
        let started = Instant::now();
        drop(pump);
        assert!(started.elapsed() < Duration::from_millis(200), "{:?}", started.elapsed());
    }
}
