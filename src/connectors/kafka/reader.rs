//! Reads one partition with a client of its own. Its messages come in batches out of the partition's queue; what the client has to say otherwise (a broker that is gone) comes out of
//! its main queue.
//!
//! A quiet partition is "caught up" only on the broker's word: the end-of-partition mark of a fetch that was just answered, or, later, its bounds asked anew. The same answer
//! tells whether our position still lies within the partition: beyond its end the topic is another one, before its beginning records are gone.

use super::batch::{Message, PartitionQueue};
use super::source::Plan;
use super::upsert::{Deletions, merge};
use super::{Consumer, Context};
use crate::connectors::connector::{Batch, Bell, DeadRecord, Metadata, Partition, Polled, Position, Reader};
use crate::connectors::encode::{Received, decode};
use crate::connectors::file::to_declared;
use crate::error::{Error, Kind, Result};
use crate::formats::format::{Decoder, Payloads};
use arrow::array::{ArrayRef, BinaryArray, Int32Array, Int64Array, TimestampMicrosecondArray};
use rdkafka::consumer::Consumer as _;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::ffi::CString;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a quiet partition waits before it asks for its bounds again, and for how long it waits for them.
const CONFIRM_EVERY: Duration = Duration::from_secs(2);
const CONFIRM_WAIT: Duration = Duration::from_millis(150);
/// How long a broker may be silent before that is an error.
const SILENCE: Duration = Duration::from_secs(5);
/// How long opening waits for the topic's id.
const OPEN_WAIT: Duration = Duration::from_secs(3);

/// Reads one partition.
pub struct KafkaReader {
    plan: Arc<Plan>,
    /// Bytes that the client may hold.
    ahead: usize,
    partition: Partition,
    /// The offset after the last message handed over.
    next: Position,
    /// Offsets before this one are read or hold no record (the end that a fetch told: markers of transactions lie before it). At least `next`.
    end: Position,
    decoder: Box<dyn Decoder>,
    key_decoder: Option<Box<dyn Decoder>>,
    /// `None`: to be opened (again).
    link: Option<Link>,
    bell: Option<Arc<Bell>>,
    /// What the client reported behind the messages of the last batch.
    pending: Option<RDKafkaErrorCode>,
    buffers: Buffers,
}

/// A client with the partition assigned.
struct Link {
    queue: PartitionQueue,
    consumer: Arc<Consumer>,
    /// When the broker last answered, as far as we know.
    heard: Instant,
    /// When it last confirmed that there is nothing more.
    confirmed: Option<Instant>,
    trouble: Option<String>,
}

/// What a poll collects besides payloads.
#[derive(Default)]
struct Buffers {
    received: Received,
    /// The payloads of the last batch: nobody holds them any more when the next one is read, and their buffer is filled again.
    handed_over: Option<Arc<Payloads>>,
    /// Filled if keys are wanted.
    keys: Payloads,
    /// One per named header.
    headers: Vec<(CString, Payloads)>,
    wants_keys: bool,
    /// Null payloads of an upsert source, with their keys and times.
    deleted: Vec<Position>,
    deleted_times: Vec<Option<i64>>,
    deleted_keys: Payloads,
    /// The end of the partition, if a fetch told that this is it.
    end: Option<Position>,
    error: Option<RDKafkaErrorCode>,
}

impl KafkaReader {
    /// Connects when it is first polled.
    pub fn new(plan: Arc<Plan>, partition: Partition, from: Position, ahead: usize) -> Result<KafkaReader> {
        let decoder = plan.encoding.decoder()?;
        let key_decoder = plan.keys.as_ref().map(|k| k.decoder()).transpose()?;
        let mut headers = Vec::new();
        for m in plan.metadata.iter().flatten() {
            if let Metadata::Header(name) = m {
                let name = CString::new(name.as_str()).map_err(|_| Error::new(Kind::InvalidParameter, "a header's name holds no zero byte"))?;
                headers.push((name, Payloads::default()));
            }
        }
        let wants_keys = plan.metadata.contains(&Some(Metadata::Key));
        let buffers = Buffers { headers, wants_keys, ..Buffers::default() };
        Ok(KafkaReader { plan, ahead, partition, next: from, end: from, decoder, key_decoder, link: None, bell: None, pending: None, buffers })
    }

    fn connect(&self) -> Result<Link> {
        self.plan.check_identity(OPEN_WAIT)?;
        let failed = |e: rdkafka::error::KafkaError| self.plan.worded("read", e.rdkafka_error_code(), None);
        let consumer: Consumer = self.plan.reading(self.ahead).create_with_context(Context::default()).map_err(failed)?;
        let consumer = Arc::new(consumer);
        let mut assignment = TopicPartitionList::new();
        assignment.add_partition_offset(&self.plan.topic, self.partition as i32, Offset::Offset(self.end)).map_err(failed)?;
        consumer.assign(&assignment).map_err(failed)?;
        let mut queue = PartitionQueue::new(consumer.clone(), &self.plan.topic, self.partition as i32)?;
        self.bell.iter().for_each(|bell| queue.announce(bell));
        Ok(Link { queue, consumer, heard: Instant::now(), confirmed: None, trouble: None })
    }

    /// Nothing came: is that the end, or is something wrong?
    fn quiet(&mut self, link: &mut Link) -> Result<Polled> {
        let now = Instant::now();
        if let Some(end) = self.buffers.end {
            self.end = self.end.max(end);
            (link.heard, link.confirmed, link.trouble) = (now, Some(now), None);
            return Ok(Polled::Nothing { caught_up: true });
        }
        let asked_recently = now.duration_since(link.confirmed.unwrap_or(link.heard)) < CONFIRM_EVERY;
        if asked_recently && link.trouble.is_none() {
            return Ok(Polled::Nothing { caught_up: link.confirmed.is_some() });
        }
        match self.plan.bounds(self.partition, CONFIRM_WAIT) {
            Ok((low, high)) => {
                self.check_bounds(low, high)?;
                (link.heard, link.trouble) = (now, None);
                link.confirmed = (high == self.end).then_some(now);
                Ok(Polled::Nothing { caught_up: high == self.end })
            }
            Err(error) => {
                link.confirmed = None;
                match &link.trouble {
                    // Why it cannot be reached says more than that it does not answer.
                    Some(trouble) => Err(self.plan.worded("read", None, Some(trouble.clone()))),
                    None if now.duration_since(link.heard) > SILENCE => Err(error),
                    None => Ok(Polled::Nothing { caught_up: false }),
                }
            }
        }
    }

    /// Error: our position is not in the partition.
    fn check_bounds(&self, low: Position, high: Position) -> Result<()> {
        let (topic, partition, next) = (&self.plan.topic, self.partition, self.end);
        if next > high {
            return Err(Error::new(Kind::Connector, format!("partition {partition} of topic \"{topic}\" ends at offset {high}, before offset {next} that was read already: the topic was deleted and created again, or lost records"))
                .with_hint("drop the source and create it again"));
        }
        if next < low {
            return Err(Error::new(
                Kind::Connector,
                format!("partition {partition} of topic \"{topic}\" begins at offset {low} now: records from offset {next} on are gone by retention"),
            )
            .with_hint("drop the source and create it again, or restart reading sooner than the topic's retention"));
        }
        Ok(())
    }

    fn failed(&mut self, code: RDKafkaErrorCode) -> Error {
        if code != RDKafkaErrorCode::AutoOffsetReset && code != RDKafkaErrorCode::OffsetOutOfRange {
            return self.plan.worded("read", Some(code), None);
        }
        // The client has stopped fetching: connect anew when this is over.
        self.link = None;
        let bounds = self.plan.bounds(self.partition, OPEN_WAIT);
        match bounds.and_then(|(low, high)| self.check_bounds(low, high)) {
            Err(error) => error,
            Ok(()) => self.plan.worded("read", Some(code), None),
        }
    }

    fn batch(&mut self, from: Position, lag: Option<i64>) -> Result<Batch> {
        let received = std::mem::take(&mut self.buffers.received);
        let (times, positions) = (received.timestamps.clone(), received.positions.clone());
        let shown = Shown {
            plan: &self.plan,
            partition: self.partition,
            positions: &positions,
            times: &times,
            keys: &self.buffers.keys,
            headers: &self.buffers.headers,
        };
        let column = |m: &Metadata, kept: &[u32], payloads: &Payloads| shown.column(m, kept, Some(payloads));
        let mut batch = decode(self.decoder.as_mut(), received, (from, self.next), &self.plan.schema, &self.plan.metadata, &column)?;
        batch.lag = lag;
        if !self.buffers.deleted.is_empty() {
            let deletions = self.deletions()?;
            batch = merge(batch, deletions)?;
        }
        self.buffers.handed_over = batch.raw.as_ref().map(|raw| raw.payloads.clone());
        Ok(batch)
    }

    fn deletions(&mut self) -> Result<Deletions> {
        let (Some(keys), Some(decoder)) = (&self.plan.keys, self.key_decoder.as_mut()) else {
            return Err(Error::internal("only upsert sources have deletions"));
        };
        let Buffers { deleted, deleted_times, deleted_keys, .. } = &self.buffers;
        let (columns, bad) = keys.decode(decoder.as_mut(), deleted_keys)?;
        let dead = |(i, error): (usize, String)| DeadRecord { position: deleted[i], timestamp: deleted_times[i], error, raw: deleted_keys.raw(i).into() };
        let is_bad = |i: u32| bad.binary_search_by_key(&(i as usize), |(at, _)| *at).is_ok();
        let kept: Vec<u32> = (0..deleted.len() as u32).filter(|i| !is_bad(*i)).collect();
        let shown = Shown { plan: &self.plan, partition: self.partition, positions: deleted, times: deleted_times, keys: deleted_keys, headers: &[] };
        let rows = keys.rows(&self.plan.schema, &self.plan.metadata, columns, kept.len(), &|m| shown.column(m, &kept, None))?;
        let positions = kept.iter().map(|i| deleted[*i as usize]).collect();
        Ok(Deletions { rows, positions, dead: bad.into_iter().map(dead).collect() })
    }
}

/// What metadata columns are made of.
struct Shown<'a> {
    plan: &'a Plan,
    partition: Partition,
    positions: &'a [Position],
    times: &'a [Option<i64>],
    keys: &'a Payloads,
    headers: &'a [(CString, Payloads)],
}

impl Shown<'_> {
    /// One metadata column over the records `kept`.
    fn column(&self, m: &Metadata, kept: &[u32], payloads: Option<&Payloads>) -> Result<ArrayRef> {
        let bytes = |values: Option<&Payloads>| kept.iter().map(|i| values.and_then(|v| v.get(*i as usize))).collect::<BinaryArray>();
        let native: ArrayRef = match m {
            Metadata::Partition => Arc::new(Int32Array::from_value(self.partition as i32, kept.len())),
            Metadata::Offset => Arc::new(kept.iter().map(|i| self.positions[*i as usize]).collect::<Int64Array>()),
            Metadata::Timestamp => Arc::new(kept.iter().map(|i| self.times[*i as usize]).collect::<TimestampMicrosecondArray>().with_timezone("UTC")),
            Metadata::Key => Arc::new(bytes(Some(self.keys))),
            Metadata::Payload => Arc::new(bytes(payloads)),
            Metadata::Header(name) => Arc::new(bytes(self.headers.iter().find(|(n, _)| n.as_bytes() == name.as_bytes()).map(|(_, values)| values))),
        };
        let at = self.plan.metadata.iter().position(|other| other.as_ref() == Some(m)).unwrap_or(0);
        to_declared(native, self.plan.schema.field(at).data_type())
    }
}

impl Buffers {
    fn clear(&mut self) {
        if let Some(payloads) = self.handed_over.take().and_then(Arc::into_inner) {
            self.received.payloads = payloads;
        }
        self.received.clear();
        self.keys.clear();
        self.headers.iter_mut().for_each(|(_, values)| values.clear());
        self.deleted.clear();
        self.deleted_times.clear();
        self.deleted_keys.clear();
        self.end = None;
        self.error = None;
    }

    fn take(&mut self, message: &Message<'_>, upsert: bool) {
        match message.error() {
            None => {}
            Some(RDKafkaErrorCode::PartitionEOF) => {
                self.end = Some(message.offset());
                return;
            }
            Some(code) => {
                self.error = Some(code);
                return;
            }
        }
        // A message behind the mark: it is not the end any more.
        self.end = None;
        let time = message.timestamp().map(|ms| ms.saturating_mul(1000));
        let payload = message.payload();
        if payload.is_none() && upsert {
            self.deleted.push(message.offset());
            self.deleted_times.push(time);
            self.deleted_keys.push(message.key());
            return;
        }
        self.received.payloads.push(payload);
        self.received.positions.push(message.offset());
        self.received.timestamps.push(time);
        if self.wants_keys {
            self.keys.push(message.key());
        }
        for (name, values) in &mut self.headers {
            values.push(message.header(name));
        }
    }
}

impl Drop for KafkaReader {
    fn drop(&mut self) {
        // Closing a client takes a tenth of a second; whoever stops reading many partitions must not wait for each of them. Without a thread it closes here.
        if let Some(link) = self.link.take() {
            drop(std::thread::Builder::new().name("kafka close".to_string()).spawn(move || drop(link)));
        }
    }
}

impl Reader for KafkaReader {
    fn poll(&mut self, max_rows: usize, wait: Duration) -> Result<Polled> {
        if let Some(code) = self.pending.take() {
            return Err(self.failed(code));
        }
        let mut link = match self.link.take() {
            Some(link) => link,
            None => self.connect()?,
        };
        self.buffers.clear();
        let upsert = self.plan.keys.is_some();
        let buffers = &mut self.buffers;
        let mut last = None;
        link.queue.consume(max_rows, wait, |message| {
            if message.error().is_none() {
                last = Some(message.offset());
            }
            buffers.take(message, upsert);
        });
        // The client's own events: why it cannot reach a broker.
        match link.consumer.poll(Duration::ZERO) {
            Some(Ok(_)) => return Err(Error::internal("a message came out of the wrong queue; the partition is opened again")),
            // The first reason stays until the broker answers: later ones only repeat it in other words.
            Some(Err(error)) => {
                let trouble = link.consumer.context().take_trouble().unwrap_or_else(|| error.to_string());
                link.trouble.get_or_insert(trouble);
            }
            None => {
                if let Some(trouble) = link.consumer.context().take_trouble() {
                    link.trouble.get_or_insert(trouble);
                }
            }
        }
        let from = self.next;
        if let Some(last) = last {
            self.next = last + 1;
            self.end = self.next.max(self.buffers.end.unwrap_or(0));
            self.pending = self.buffers.error;
            let now = Instant::now();
            (link.heard, link.confirmed, link.trouble) = (now, self.buffers.end.map(|_| now), None);
            let high = link.queue.high_watermark(&self.plan.topic, self.partition as i32);
            let lag = high.map(|h| (h - self.end).max(0));
            // What cannot be handed over is read again, by a new link.
            let batch = self.batch(from, lag).inspect_err(|_| (self.next, self.end) = (from, from))?;
            self.link = Some(link);
            return Ok(Polled::Batch(batch));
        }
        if let Some(code) = self.buffers.error {
            self.link = Some(link);
            return Err(self.failed(code));
        }
        // A quiet partition keeps no large buffer.
        self.buffers.received = Received::default();
        let outcome = self.quiet(&mut link);
        self.link = Some(link);
        outcome
    }

    fn announce(&mut self, bell: &Arc<Bell>) -> bool {
        self.bell = Some(bell.clone());
        self.link.iter_mut().for_each(|link| link.queue.announce(bell));
        true
    }
}
