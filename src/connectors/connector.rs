//! The seam to the outside: a source's partitions, each read in order by position.

use crate::error::{Error, Result};
use crate::formats::format::Payloads;
use crate::types::records::Record;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use parking_lot::{Condvar, Mutex};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Number of a partition within its source, stable for ever.
pub type Partition = u32;
/// Position of a record within its partition (Kafka offset, row number, byte offset): rises with each record, the same on every reading.
pub type Position = i64;

/// A source as CREATE made it: options checked, ready to be read. Several readers of one partition may exist at once (backfill).
pub trait Source: Send + Sync {
    /// The partitions there are now, asked for at start and from time to time; never shrinks. Errors are worded for the user.
    fn partitions(&self) -> Result<Vec<Partition>>;

    /// Where reading begins, per partition (`scan.startup.mode`); asked once, at CREATE.
    fn start(&self) -> Result<BTreeMap<Partition, Position>>;

    /// A reader whose first record is the one at `from`, or the first after it, that holds at most about `ahead` bytes beyond what it hands over.
    fn open(&self, partition: Partition, from: Position, ahead: usize) -> Result<Box<dyn Reader>>;

    /// Told after a checkpoint, for monitoring only (Kafka: committed to the group).
    fn committed(&self, _positions: &BTreeMap<Partition, Position>) {}

    /// What the batches hold: the declared columns that are not generated, metadata (INCLUDE) columns among them, in declared order.
    fn schema(&self) -> SchemaRef;

    /// Options to keep with the source's own, known once `start` was asked: they tie later readings to the same input (a topic's id).
    fn pinned(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    /// How often it is worth asking for partitions again; `None`: there will be no others.
    fn discovery_interval(&self) -> Option<Duration> {
        None
    }

    /// What a partition is called outside, where that is not its number: a file's path.
    fn partition_name(&self, _partition: Partition) -> Option<String> {
        None
    }

    /// Whether records may look ahead of the wall clock (generators, files): then `max_future_skew` is off by default.
    fn replays_history(&self) -> bool {
        false
    }
}

/// Reads one partition in order. Used by one thread.
pub trait Reader: Send {
    /// At most about `max_rows` records, waiting up to `wait` for the first. A broken connection is an error here; the caller shows it in `tidewater.sources`, waits and
    /// calls again: readers reconnect by themselves.
    fn poll(&mut self, max_rows: usize, wait: Duration) -> Result<Polled>;

    /// From now on `bell` rings when there may be something to read behind a poll that gave nothing. False: it does not, and has to be asked now and again.
    fn announce(&mut self, _bell: &Arc<Bell>) -> bool {
        false
    }
}

/// For a thread that reads several partitions: it waits for none of them, but for the bell of all.
#[derive(Debug, Default)]
pub struct Bell {
    rung: Mutex<bool>,
    heard: Condvar,
}

impl Bell {
    /// Ends the wait that is on, or else the next one.
    pub fn ring(&self) {
        *self.rung.lock() = true;
        self.heard.notify_one();
    }

    /// Until it rings, at most `time`.
    pub fn wait(&self, time: Duration) {
        let mut rung = self.rung.lock();
        if !*rung {
            self.heard.wait_for(&mut rung, time);
        }
        *rung = false;
    }
}

/// What one poll gave.
#[derive(Debug)]
pub enum Polled {
    Batch(Batch),
    /// Nothing now. `caught_up`: the other side confirmed that there is nothing more at this moment (so the partition may be idle).
    Nothing {
        caught_up: bool,
    },
    /// A bounded input has ended for good.
    End,
}

/// Decoded records of one partition: positions `from <= p < to` were read; each is a row of `rows`, a dead letter, or a hole (compacted, aborted).
#[derive(Clone, Debug)]
pub struct Batch {
    pub from: Position,
    pub to: Position,
    pub rows: RecordBatch,
    /// Position of each row, rising.
    pub positions: Vec<Position>,
    /// For `FORMAT UPSERT`: true where the record is a deletion (null value); the row then holds only the key columns. `None`: none.
    pub deletions: Option<Vec<bool>>,
    pub dead: Vec<DeadRecord>,
    /// The rows' records as received, one per row, if there is such a thing: for those that become dead letters after decoding.
    pub raw: Option<RawRecords>,
    /// Bytes of input, as received.
    pub bytes: u64,
    /// Records behind this batch that are known to wait (Kafka: high watermark - to), if known.
    pub lag: Option<i64>,
}

/// Records as received, by row.
#[derive(Clone, Debug)]
pub struct RawRecords {
    pub payloads: Arc<Payloads>,
    /// Ordinal in `payloads` of each row; `None`: row i is record i.
    pub rows: Option<Vec<u32>>,
}

impl RawRecords {
    /// The record of a row.
    pub fn row(&self, row: usize) -> &[u8] {
        self.payloads.raw(self.rows.as_ref().map_or(row, |rows| rows[row] as usize))
    }
}

/// The other side of a sink: takes records in transactions, and keeps with them how far they go. Used by one thread. Errors of kind `Connector` may pass; the caller
/// begins again at `open`. Others will not.
pub trait Publisher: Send {
    /// Whether the other side is there, and options to keep with the sink's own that tie it to this one (a topic's id); at CREATE.
    fn check(&self) -> Result<BTreeMap<String, String>>;

    /// Connects, shuts out whoever published for this sink before, and says behind which position all is published; `None`: nothing ever was.
    fn open(&mut self) -> Result<Option<u64>>;

    /// Begins a transaction: what is sent in it is seen by nobody before `commit`.
    fn begin(&mut self) -> Result<()>;

    fn send(&mut self, record: Record<'_>) -> Result<()>;

    /// What was sent since `begin` is published, and all before `position` with it: both or neither. After an error only `open` tells which.
    fn commit(&mut self, position: u64) -> Result<()>;
}

/// A record that could not be decoded.
#[derive(Clone, Debug)]
pub struct DeadRecord {
    pub position: Position,
    /// The record's own timestamp, µs, if the input has one.
    pub timestamp: Option<i64>,
    pub error: String,
    pub raw: Arc<[u8]>,
}

/// Makes the source that `Feed` options describe. `declared` are the declared columns (not generated ones), `included` tells which of them
/// are metadata. Unknown options: 22023-class error that names the nearest right one.
pub struct SourceRequest<'a> {
    pub name: &'a str,
    pub connector: &'a str,
    pub options: &'a BTreeMap<String, String>,
    pub encode: Option<&'a str>,
    pub encode_options: &'a BTreeMap<String, String>,
    pub upsert: bool,
    pub primary_key: &'a [String],
    pub declared: SchemaRef,
    pub not_null: Vec<bool>,
    pub metadata: Vec<Option<Metadata>>,
    pub created_at: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Metadata {
    Key,
    Partition,
    Offset,
    Timestamp,
    Header(String),
    Payload,
}

impl Metadata {
    /// As `INCLUDE` spells it.
    pub fn name(&self) -> &'static str {
        match self {
            Metadata::Key => "key",
            Metadata::Partition => "partition",
            Metadata::Offset => "offset",
            Metadata::Timestamp => "timestamp",
            Metadata::Header(_) => "header",
            Metadata::Payload => "payload",
        }
    }
}

/// What CREATE SINK says to a connector. `id`: of this sink and no other, for ever.
pub struct SinkRequest<'a> {
    pub id: &'a str,
    pub options: &'a BTreeMap<String, String>,
}

pub fn unknown_connector(name: &str, known: &[&str]) -> Error {
    Error::new(crate::error::Kind::InvalidParameter, format!("connector \"{name}\" does not exist")).with_hint(format!("connectors are {}", known.join(", ")))
}
