//! Sinks that publish. What an epoch gives one is an entry of its outbox: written to the store right behind the epoch, published by a thread of the sink's own.
//!
//! ```text
//!   epoch -> records -> outbox entry (position n, n+1, …; logged) -> store synced -> transaction of the other side: records and position together
//!                                                                                       \-> deleted with the next checkpoint
//! ```
//!
//! *Exactly once.* Entries are numbered without gaps, in the order of epochs. After a crash the epochs behind the checkpoint are run again with the same input, so their
//! entries come again under the same numbers; the other side says up to which number it has them. What is published is synced before, log of epochs and all,
//! so no power loss can make it come out differently. A sink over existing rows is different while it is built: its steps are no epochs of the log, so their entries are
//! written with the checkpoint that holds its state, and published behind it.

use super::metrics;
use super::scheduler::Scheduler;
use crate::catalog::object::{Body, Object};
use crate::connectors::connector::{Publisher, SinkRequest};
use crate::connectors::{self, options};
use crate::error::{Error, Kind, Result};
use crate::state::checkpoint::Ops;
use crate::state::log::Logs;
use crate::types::ids::ObjectId;
use crate::types::records::Records;
use ::metrics::histogram;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Bytes of one transaction, about; an entry is never split.
const TRANSACTION: usize = 4 << 20;
/// See [`Thread`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// An idle sink says its position again, for Kafka forgets those of groups that are not heard of for days.
const SAY_AGAIN: Duration = Duration::from_secs(6 * 3600);

/// What the scheduler, the sink's thread and `tidewater.sinks` share.
#[derive(Debug, Default)]
pub struct Outbox {
    /// Position behind the last entry that is in the store.
    written: AtomicU64,
    /// Position behind the last entry that is published.
    published: AtomicU64,
    /// Bytes of entries that are not published, and how many there may be: beyond it input waits.
    bytes: AtomicU64,
    limit: u64,
    ended: AtomicBool,
    trouble: Mutex<Option<Trouble>>,
}

/// Why a sink does not publish.
#[derive(Clone, Debug)]
pub struct Trouble {
    pub error: String,
    /// It will not go on by itself.
    pub stopped: bool,
}

impl Outbox {
    /// Entries and bytes that wait.
    pub fn waiting(&self) -> (u64, u64) {
        let published = self.published.load(Ordering::Acquire);
        (self.written.load(Ordering::Acquire).saturating_sub(published), self.bytes.load(Ordering::Acquire))
    }

    pub fn is_full(&self) -> bool {
        self.bytes.load(Ordering::Acquire) > self.limit
    }

    pub fn trouble(&self) -> Option<Trouble> {
        self.trouble.lock().clone()
    }
}

/// The scheduler's side of one sink.
pub struct Delivery {
    sink: ObjectId,
    outbox: Arc<Outbox>,
    /// Of the next entry.
    next: u64,
    /// Entries that the next checkpoint writes, and their bytes.
    owed: Ops,
    /// Behind the last entry of the checkpoint under way, if it writes some.
    in_checkpoint: Option<u64>,
    /// Entries before this one are deleted.
    trimmed: u64,
    wake: Sender<()>,
    /// The thread, until it is started, as what it runs.
    publishing: Publishing,
}

enum Publishing {
    Ready(Box<Thread>),
    Runs(JoinHandle<()>),
}

impl Delivery {
    /// Entries in the store may be published, unless some before them are not in it yet.
    fn offer(&self) {
        if self.owed.is_empty() && self.in_checkpoint.is_none() {
            self.outbox.written.store(self.next, Ordering::Release);
        }
        // A full channel already tells that there is something to do.
        let _ = self.wake.try_send(());
    }

    fn end(self) -> Option<JoinHandle<()>> {
        self.outbox.ended.store(true, Ordering::Release);
        let _ = self.wake.try_send(());
        match self.publishing {
            Publishing::Runs(thread) => Some(thread),
            Publishing::Ready(_) => None,
        }
    }
}

/// What CREATE SINK and a restart make of a sink's definition; `None`: it publishes nothing.
pub fn publisher(object: &Object) -> Result<Option<Box<dyn Publisher>>> {
    let Body::Sink(sink) = &object.body else { return Ok(None) };
    connectors::build_sink(&SinkRequest { id: &format!("{}-{}", sink.first_name.as_ref().unwrap_or(&object.name), sink.token), options: &sink.options })
}

impl Scheduler {
    /// Gives a sink its outbox, whose next entry is `next`; entries from there on are of a run that did not come to a checkpoint, and come again.
    pub(super) fn open_outbox(&mut self, object: &Object, next: u64) -> Result<()> {
        let (Body::Sink(sink), Some(target)) = (&object.body, publisher(&self.shared.revealed(object)?)?) else { return Ok(()) };
        let logs = &self.shared.logs;
        let mut ops = Ops::default();
        logs.trim_outbox(object.id, next, u64::MAX, &mut ops);
        self.store.write(ops, crate::state::store::Durability::Logged)?;
        let published = logs.published(object.id)?.unwrap_or(0);
        let outbox = Arc::new(Outbox {
            written: AtomicU64::new(next),
            published: AtomicU64::new(published),
            bytes: AtomicU64::new(logs.outbox_bytes(object.id, published, next.max(published))?),
            limit: options::outbox_limit(&sink.options),
            ..Outbox::default()
        });
        let (wake, woken) = crossbeam_channel::bounded(1);
        let thread = Thread { sink: object.id, name: object.name.clone(), target, outbox: outbox.clone(), logs: logs.clone(), woken, first_pause: FIRST_PAUSE };
        self.shared.system.set_outbox(object.id, outbox.clone());
        self.deliveries.push(Delivery {
            sink: object.id,
            outbox,
            next,
            owed: Ops::default(),
            in_checkpoint: None,
            // What an earlier run published and did not delete goes with the first checkpoint.
            trimmed: 0,
            wake,
            publishing: Publishing::Ready(Box::new(thread)),
        });
        Ok(())
    }

    /// Starts the threads of sinks that have none. After a start only when all epochs are run again: until then the other side may have more than is here.
    pub(super) fn start_publishing(&mut self) -> Result<()> {
        for delivery in std::mem::take(&mut self.deliveries) {
            let publishing = match delivery.publishing {
                Publishing::Ready(thread) => Publishing::Runs(std::thread::Builder::new().name(format!("sink {}", thread.name)).spawn(move || thread.run())?),
                runs => runs,
            };
            self.deliveries.push(Delivery { publishing, ..delivery });
        }
        Ok(())
    }

    /// Takes what a step of the live lane gave sinks, by sink; all workers' records of one sink are one entry.
    pub(super) fn deliver(&mut self, records: BTreeMap<ObjectId, Records>) -> Result<()> {
        for (sink, records) in records {
            let Some(delivery) = self.deliveries.iter_mut().find(|d| d.sink == sink) else { continue };
            // One that comes again after a crash may be published already.
            if delivery.next >= delivery.outbox.published.load(Ordering::Acquire) {
                delivery.outbox.bytes.fetch_add(records.bytes() as u64, Ordering::AcqRel);
            }
            self.shared.logs.append_outbox(sink, delivery.next, &records)?;
            delivery.next += 1;
            delivery.offer();
        }
        Ok(())
    }

    /// Takes what a step of a sink that is built gave it: for the next checkpoint.
    pub(super) fn owe(&mut self, sink: ObjectId, records: &Records) {
        let Some(delivery) = self.deliveries.iter_mut().find(|d| d.sink == sink) else { return };
        delivery.outbox.bytes.fetch_add(records.bytes() as u64, Ordering::AcqRel);
        self.shared.logs.put_outbox(sink, delivery.next, records, &mut delivery.owed);
        delivery.next += 1;
    }

    /// Bytes of entries that wait for a checkpoint.
    pub(super) fn owed_bytes(&self) -> usize {
        self.deliveries.iter().map(|d| d.owed.size()).sum()
    }

    /// Whether what a sink has still to publish has no more room: input waits.
    pub(super) fn outbox_is_full(&self) -> bool {
        self.deliveries.iter().any(|d| d.outbox.is_full())
    }

    /// Positions of the next entries, for the checkpoint's record.
    pub(super) fn outbox_positions(&self) -> BTreeMap<ObjectId, u64> {
        self.deliveries.iter().map(|d| (d.sink, d.next)).collect()
    }

    /// A checkpoint begins: it writes what it is owed, and deletes what is published.
    pub(super) fn checkpoint_outboxes(&mut self, ops: &mut Ops) {
        for delivery in &mut self.deliveries {
            if !delivery.owed.is_empty() {
                ops.append(std::mem::take(&mut delivery.owed));
                delivery.in_checkpoint = Some(delivery.next);
            }
            let published = delivery.outbox.published.load(Ordering::Acquire);
            if published > delivery.trimmed {
                self.shared.logs.trim_outbox(delivery.sink, delivery.trimmed, published, ops);
                delivery.trimmed = published;
            }
        }
    }

    /// The checkpoint is in the store: what it wrote may be published.
    pub(super) fn outboxes_committed(&mut self) {
        for delivery in &mut self.deliveries {
            if let Some(written) = delivery.in_checkpoint.take() {
                delivery.outbox.written.store(written, Ordering::Release);
                delivery.offer();
            }
        }
    }

    /// The sink publishes no more; a transaction under way ends in its own time.
    pub(super) fn close_outbox(&mut self, sink: ObjectId) {
        if let Some(at) = self.deliveries.iter().position(|d| d.sink == sink) {
            let thread = self.deliveries.remove(at).end();
            self.worker_threads.extend(thread);
        }
    }

    pub(super) fn close_outboxes(&mut self) -> Vec<JoinHandle<()>> {
        self.deliveries.drain(..).filter_map(Delivery::end).collect()
    }
}

/// A sink's thread: publishes entries in order, in transactions of some megabytes.
struct Thread {
    sink: ObjectId,
    name: String,
    target: Box<dyn Publisher>,
    outbox: Arc<Outbox>,
    logs: Arc<Logs>,
    woken: Receiver<()>,
    /// After a failure; doubled with each that follows it.
    first_pause: Duration,
}

impl Thread {
    fn run(mut self) {
        let mut pause = self.first_pause;
        while !self.has_ended() {
            let before = self.published();
            let Err(error) = self.publish() else { return };
            let stopped = error.kind() != Kind::Connector;
            if self.published() > before {
                pause = self.first_pause;
            }
            self.tell(Trouble { error: error.to_string(), stopped });
            if stopped {
                self.rest(Duration::MAX);
            } else {
                self.rest(pause);
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }

    /// In `tidewater.sinks`, and, if it is news, in the log.
    fn tell(&self, trouble: Trouble) {
        let mut told = self.outbox.trouble.lock();
        if told.as_ref().is_none_or(|before| before.error != trouble.error) {
            let then = if trouble.stopped { "" } else { "; it tries again" };
            tracing::warn!(sink = self.name, error = trouble.error, "a sink does not publish{then}");
        }
        *told = Some(trouble);
    }

    fn has_ended(&self) -> bool {
        self.outbox.ended.load(Ordering::Acquire)
    }

    fn published(&self) -> u64 {
        self.outbox.published.load(Ordering::Acquire)
    }

    /// Waits so long, or until the sink is ended.
    fn rest(&self, long: Duration) {
        let until = Instant::now().checked_add(long);
        while !self.has_ended() {
            let woken = match until {
                Some(until) => self.woken.recv_deadline(until),
                None => self.woken.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            if woken.is_err() {
                return;
            }
        }
    }

    /// Publishes until the sink is ended.
    fn publish(&mut self) -> Result<()> {
        let there = self.target.open()?;
        self.go_on_from(there)?;
        self.outbox.trouble.lock().take();
        while !self.has_ended() {
            let (published, written) = (self.published(), self.outbox.written.load(Ordering::Acquire));
            // Synced: the epochs that these entries are of come again as they were, and nobody finds the other side ahead of this one.
            let began = Instant::now();
            self.logs.put_published(self.sink, published)?;
            let (chunks, position) = self.logs.outbox(self.sink, published, written, TRANSACTION)?;
            self.target.begin()?;
            for chunk in &chunks {
                Records::of_chunk(chunk)?.into_iter().try_for_each(|record| self.target.send(record))?;
            }
            self.target.commit(position)?;
            histogram!(metrics::SINK_SECONDS).record(began.elapsed());
            self.outbox.published.store(position, Ordering::Release);
            self.outbox.bytes.fetch_sub(chunks.iter().map(|c| c.len() as u64).sum(), Ordering::AcqRel);
            let (mut idle, again) = (position == self.outbox.written.load(Ordering::Acquire), Instant::now() + SAY_AGAIN);
            while idle && !self.has_ended() && self.woken.recv_deadline(again).is_ok() {
                idle = position == self.outbox.written.load(Ordering::Acquire);
            }
        }
        Ok(())
    }

    /// Begins behind what the other side has. Error: it has less than it had, or more than was ever here.
    fn go_on_from(&self, there: Option<u64>) -> Result<()> {
        let (known, written) = (self.published(), self.outbox.written.load(Ordering::Acquire));
        let stop = |message: String, hint: &str| Err(Error::new(Kind::DataCorrupted, message).with_hint(hint));
        let name = &self.name;
        match there {
            Some(there) if there > written => stop(
                format!("sink \"{name}\" has published {there} entries, of which this data directory knows {written}"),
                "it is an older copy of the data directory that published them: go on with the newer one, or drop the sink and create it again over an empty topic",
            ),
            Some(there) if there >= known => {
                let bytes = self.logs.outbox_bytes(self.sink, known, there)?;
                self.outbox.bytes.fetch_sub(bytes, Ordering::AcqRel);
                self.outbox.published.store(there, Ordering::Release);
                Ok(())
            }
            None if known == 0 => Ok(()),
            _ => stop(
                format!("the position of sink \"{name}\" is no longer where it was kept: what it has published cannot be told from what it has not"),
                "the topic was deleted and made anew, or its consumer group's offsets have expired: drop the sink and create it again",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::memory::MemoryStore;
    use crate::types::records::Record;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    /// What is published, and up to which position.
    #[derive(Default)]
    struct There {
        position: Option<u64>,
        records: Vec<String>,
    }

    /// Fails now and then, before or after it did what it was asked for.
    struct Flaky {
        there: Arc<Mutex<There>>,
        sent: Vec<String>,
        random: StdRng,
    }

    impl Flaky {
        fn fails(&mut self, share: f64) -> Result<()> {
            if self.random.random_bool(share) { Err(Error::new(Kind::Connector, "the line is down")) } else { Ok(()) }
        }
    }

    impl Publisher for Flaky {
        fn check(&self) -> Result<BTreeMap<String, String>> {
            Ok(BTreeMap::new())
        }

        fn open(&mut self) -> Result<Option<u64>> {
            self.fails(0.2)?;
            Ok(self.there.lock().position)
        }

        fn begin(&mut self) -> Result<()> {
            self.sent.clear();
            Ok(())
        }

        fn send(&mut self, (_, value): Record<'_>) -> Result<()> {
            // Not each of very many: a long transaction must come through at last.
            if self.sent.len() < 16 {
                self.fails(0.02)?;
            }
            self.sent.push(String::from_utf8(value.unwrap().to_vec()).unwrap());
            Ok(())
        }

        fn commit(&mut self, position: u64) -> Result<()> {
            self.fails(0.1)?;
            let mut there = self.there.lock();
            there.records.append(&mut self.sent);
            there.position = Some(position);
            drop(there);
            self.fails(0.1)
        }
    }

    const SINK: ObjectId = ObjectId(7);

    fn start(logs: &Arc<Logs>, there: &Arc<Mutex<There>>, written: u64, seed: u64) -> (Arc<Outbox>, Sender<()>, JoinHandle<()>) {
        let published = logs.published(SINK).unwrap().unwrap_or(0);
        let bytes = logs.outbox_bytes(SINK, published, written).unwrap();
        let outbox = Arc::new(Outbox { written: written.into(), published: published.into(), bytes: bytes.into(), ..Outbox::default() });
        let (wake, woken) = crossbeam_channel::bounded(1);
        let target = Box::new(Flaky { there: there.clone(), sent: Vec::new(), random: StdRng::seed_from_u64(seed) });
        let first_pause = Duration::from_micros(100);
        let thread = Thread { sink: SINK, name: "s".into(), target, outbox: outbox.clone(), logs: logs.clone(), woken, first_pause };
        (outbox, wake, std::thread::spawn(move || thread.run()))
    }

    fn wait_until(what: impl Fn() -> bool) {
        let start = Instant::now();
        while !what() {
            assert!(start.elapsed() < Duration::from_secs(60), "it does not come to an end");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn every_entry_is_published_once_whatever_fails_and_whenever_it_ends() {
        let mut random = StdRng::seed_from_u64(1);
        let logs = Arc::new(Logs::new(Arc::new(MemoryStore::default())).unwrap());
        let (there, mut expected) = (Arc::<Mutex<There>>::default(), Vec::new());
        let (mut outbox, mut wake, mut thread) = start(&logs, &there, 0, 0);
        for position in 0..300u64 {
            let mut records = Records::default();
            for n in 0..random.random_range(1..6) {
                let text = format!("{position}.{n}");
                records.push((None, Some(text.as_bytes())));
                expected.push(text);
            }
            outbox.bytes.fetch_add(records.bytes() as u64, Ordering::AcqRel);
            logs.append_outbox(SINK, position, &records).unwrap();
            outbox.written.store(position + 1, Ordering::Release);
            let _ = wake.try_send(());
            if random.random_bool(0.1) {
                outbox.ended.store(true, Ordering::Release);
                let _ = wake.try_send(());
                thread.join().unwrap();
                (outbox, wake, thread) = start(&logs, &there, position + 1, position);
            } else if random.random_bool(0.3) {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        wait_until(|| outbox.waiting() == (0, 0));
        outbox.ended.store(true, Ordering::Release);
        let _ = wake.try_send(());
        thread.join().unwrap();
        assert_eq!(there.lock().records, expected);
        assert_eq!(there.lock().position, Some(300));
    }

    #[test]
    fn a_position_that_cannot_be_is_the_end_of_publishing() {
        let stopped = |known: u64, there: Option<u64>, written: u64| {
            let logs = Arc::new(Logs::new(Arc::new(MemoryStore::default())).unwrap());
            logs.put_published(SINK, known).unwrap();
            let there = Arc::new(Mutex::new(There { position: there, records: Vec::new() }));
            let (outbox, wake, thread) = start(&logs, &there, written, 3);
            wait_until(|| outbox.trouble().is_some_and(|t| t.stopped));
            outbox.ended.store(true, Ordering::Release);
            let _ = wake.try_send(());
            thread.join().unwrap();
            outbox.trouble().unwrap().error
        };
        assert!(stopped(5, None, 9).contains("no longer where it was kept"));
        assert!(stopped(5, Some(4), 9).contains("no longer where it was kept"));
        assert!(stopped(5, Some(10), 9).contains("knows 9"));
    }
}
