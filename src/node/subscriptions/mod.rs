//! `SUBSCRIBE`: the changes of relations, epoch by epoch, on their way to those who follow them.
//!
//! ```text
//!   epoch -> workers -> deltas of the relations that are followed -> one Change, shared --> a queue per subscriber --> its connection
//!                                                                              \---------> history --> disk, with the checkpoint
//! ```
//!
//! A subscription begins at an epoch boundary: its rows are those published there, every later change comes through its queue, so none is missed and none comes twice. The scheduler
//! hands a change over and never waits: what is not read in time ends the subscription, not the epoch.
//!
//! In reading order: this file (the scheduler's side), `change` (what an epoch changed, and its shape), `queue` (what waits for one subscriber), `history` (what is kept for those who
//! come back), `stream` (the connection's side).

pub mod change;
pub mod history;
pub mod queue;
pub mod stream;

use super::config::SUBSCRIPTIONS_MAX;
use super::scheduler::Scheduler;
use crate::catalog::catalog::SYSTEM;
use crate::error::{Error, Kind, Result};
use crate::state;
use crate::state::checkpoint::Ops;
use crate::state::store::Durability;
use crate::types::delta::Delta;
use crate::types::ids::ObjectId;
use crate::types::time::Epoch;
use arrow::datatypes::SchemaRef;
use change::Change;
use crossbeam_channel::Sender;
use history::{History, Retention};
use queue::{End, Queue};
use std::collections::BTreeMap;
use std::sync::Arc;
use stream::{Beginning, Listener, Subscription};

/// Of the bytes that may wait for all subscribers, what may wait for one.
const SHARE_OF_ONE: usize = 4;

/// What a statement asks for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    pub relation: ObjectId,
    pub start: Start,
    /// Rows that tell up to which epoch everything was sent.
    pub progress: bool,
    /// The relation is the subscription's own: nobody comes back to it.
    pub own: bool,
    pub pid: i32,
}

/// Where a subscription begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the rows of now.
    Rows,
    /// With what comes.
    Now,
    /// With the changes behind an epoch.
    Behind(Epoch),
}

/// The scheduler's side; see the module.
#[derive(Default)]
pub struct Subscriptions {
    followed: BTreeMap<ObjectId, Followed>,
    /// The newest epoch that survives power loss.
    durable: Epoch,
}

/// A relation that is followed, or may be again.
struct Followed {
    schema: SchemaRef,
    queues: Vec<Arc<Queue>>,
    history: Option<History>,
    /// The clock when the last subscriber was there, µs.
    seen: i64,
}

impl Subscriptions {
    /// Whose changes the workers are to give back.
    pub fn taps(&self) -> impl Iterator<Item = ObjectId> + '_ {
        self.followed.keys().copied()
    }

    /// Bytes of changes that wait for a checkpoint.
    pub fn held_bytes(&self) -> usize {
        self.followed.values().filter_map(|f| f.history.as_ref()).map(History::held).sum()
    }

    fn are_too_many(&mut self) -> bool {
        let count = |all: &Self| all.followed.values().map(|f| f.queues.len()).sum::<usize>();
        if count(self) < SUBSCRIPTIONS_MAX {
            return false;
        }
        self.followed.values_mut().for_each(|f| f.queues.retain(|queue| queue.is_open()));
        count(self) >= SUBSCRIPTIONS_MAX
    }

    /// Takes what an epoch has changed.
    fn offer(&mut self, epoch: Epoch, mut changes: BTreeMap<ObjectId, Vec<Delta>>) {
        for (relation, followed) in &mut self.followed {
            let deltas: Vec<Delta> = changes.remove(relation).unwrap_or_default().into_iter().filter(|d| !d.is_empty()).collect();
            if deltas.is_empty() {
                continue;
            }
            let change = Arc::new(Change::new(epoch, followed.schema.clone(), deltas));
            if let Some(history) = &mut followed.history {
                history.add(&change);
            }
            followed.queues.retain(|queue| queue.push(&change));
            followed.queues.iter().for_each(|queue| queue.progressed(epoch, self.durable));
        }
    }

    /// Whoever holds most of what waits is cut off, until it is no more than `limit` bytes.
    fn bound(&mut self, limit: usize) {
        let queues = || self.followed.values().flat_map(|f| &f.queues);
        let mut all: usize = queues().map(|queue| queue.bytes()).sum();
        while all > limit
            && let Some((bytes, queue)) = queues().map(|queue| (queue.bytes(), queue)).max_by_key(|(bytes, _)| *bytes).filter(|(bytes, _)| *bytes > 0)
        {
            queue.end(End::Slow(bytes));
            all = all.saturating_sub(bytes);
        }
    }

    /// Everything up to `durable` survives power loss; `epoch` is the newest.
    fn committed(&mut self, epoch: Epoch, durable: Epoch) {
        self.durable = durable;
        for followed in self.followed.values_mut() {
            followed.history.iter_mut().for_each(History::committed);
            followed.queues.retain(|queue| queue.is_open());
            followed.queues.iter().for_each(|queue| queue.progressed(epoch, durable));
        }
    }

    /// The server ends.
    pub fn close(&mut self) {
        self.followed.values().flat_map(|f| &f.queues).for_each(|queue| queue.end(End::Stopping));
    }
}

impl Scheduler {
    /// Begins a subscription. The outer error is a broken store, the inner one the user's.
    pub(super) fn subscribe(&mut self, wanted: Wanted) -> Result<Result<Subscription>> {
        let Wanted { relation, start, progress, own, pid } = wanted;
        let Some(rows) = self.relations.get(&relation).filter(|rows| rows.ready).cloned() else {
            return Ok(Err(Error::new(Kind::UndefinedTable, "the relation was dropped meanwhile")));
        };
        if self.subscriptions.are_too_many() {
            let many = Error::new(Kind::LimitExceeded, format!("a server may have {SUBSCRIPTIONS_MAX} subscriptions"));
            return Ok(Err(many.with_hint("close cursors that are not read; tidewater.subscriptions shows whose they are")));
        }
        let (snapshot, schema) = (self.checkpoints.snapshot(), rows.schema().clone());
        let beginning = match start {
            Start::Rows => Beginning::Rows(Box::new(rows), snapshot),
            Start::Now => Beginning::Nothing,
            Start::Behind(epoch) => match self.check_retained(relation, epoch) {
                Err(e) => return Ok(Err(e)),
                Ok(None) => Beginning::Nothing,
                Ok(Some(history)) => Beginning::Changes(history.behind(epoch, &schema, snapshot)),
            },
        };
        let (clock, limit) = (self.now(), self.shared.limits.subscription_bytes / SHARE_OF_ONE);
        let new = || Followed { schema, queues: Vec::new(), history: None, seen: clock };
        let followed = self.subscriptions.followed.entry(relation).or_insert_with(new);
        if followed.history.is_none() && !own && !self.shared.limits.retain_history.is_zero() {
            let (history, mark) = History::begin(relation, self.epoch, clock);
            let mut ops = Ops::default();
            state::history::put_mark(relation, mark, &mut ops);
            self.store.write(ops, Durability::Logged)?;
            followed.history = Some(history);
        }
        let queue = Arc::new(Queue::new(pid, relation, progress, limit));
        followed.queues.push(queue.clone());
        self.shared.system.subscribed(&queue);
        Ok(Ok(Subscription { epoch: self.epoch, durable: self.subscriptions.durable, beginning, queue: Listener(queue) }))
    }

    /// The history that has what is behind `epoch`; `None`: nothing is. Error: it is not known what is.
    fn check_retained(&self, relation: ObjectId, epoch: Epoch) -> Result<Option<&History>> {
        let refused = |message: String, detail: String| {
            let error = Error::new(Kind::NotRetained, message).with_detail(detail);
            Err(error.with_hint("begin anew: SUBSCRIBE without AS OF gives all rows first"))
        };
        if epoch > self.epoch {
            let detail = format!("The newest epoch is {}. An epoch that was seen and not yet durable is lost with the power.", self.epoch);
            return refused(format!("there has been no epoch {epoch}"), detail);
        }
        if let Some((last, next)) = self.numbers.lost(epoch) {
            let detail = format!("The server was ended without its last checkpoint: epoch {last} is the last one before, {next} the first one after.");
            return refused(format!("epoch {epoch} is lost"), detail);
        }
        if epoch == self.epoch {
            return Ok(None);
        }
        match self.subscriptions.followed.get(&relation).and_then(|f| f.history.as_ref()) {
            Some(history) if history.since() <= epoch => Ok(Some(history)),
            Some(history) => refused(
                format!("changes behind epoch {epoch} are no longer kept"),
                format!("Those behind epoch {} are. They are kept as retain_history says, and since the relation is subscribed to.", history.since()),
            ),
            None => refused(
                format!("changes behind epoch {epoch} are not kept"),
                "A relation's changes are kept from its first subscription on, and for retain_history after its last one.".into(),
            ),
        }
    }

    /// Tells subscribers what an epoch has changed.
    pub(super) fn tell_subscribers(&mut self, changes: BTreeMap<ObjectId, Vec<Delta>>) {
        if !self.subscriptions.followed.is_empty() {
            self.subscriptions.offer(self.epoch, changes);
            self.subscriptions.bound(self.shared.limits.subscription_bytes);
        }
    }

    /// A checkpoint begins: what it is to keep of histories is made by a thread of its own, which sends its part to `reply` as workers do. Gives how many parts that will be.
    pub(super) fn checkpoint_histories(&mut self, reply: &Sender<Ops>, ops: &mut Ops) -> Result<usize> {
        let (clock, epoch, age) = (self.now(), self.epoch, self.shared.limits.retain_history);
        let retention = Retention { age, bytes: self.shared.limits.history_bytes };
        self.forget_unfollowed(clock.saturating_sub(i64::try_from(age.as_micros()).unwrap_or(i64::MAX)), clock)?;
        let mut changes = Vec::new();
        for (relation, followed) in &mut self.subscriptions.followed {
            let Some(history) = &mut followed.history else { continue };
            changes.extend(history.seal(epoch, clock, retention, ops).into_iter().map(|change| (*relation, change)));
        }
        if changes.is_empty() {
            return Ok(0);
        }
        let reply = reply.clone();
        std::thread::Builder::new().name("history".into()).spawn(move || match history::encode(&changes) {
            Ok(ops) => drop(reply.send(ops)),
            // Without this part the checkpoint fails, and with it the server.
            Err(error) => tracing::error!(%error, "changes of a relation cannot be written"),
        })?;
        Ok(1)
    }

    /// Histories end that nobody has asked for since `old`. At once, for one that begins anew must not be deleted by a checkpoint that began before.
    fn forget_unfollowed(&mut self, old: i64, clock: i64) -> Result<()> {
        let mut ops = Ops::default();
        self.subscriptions.followed.retain(|relation, followed| {
            followed.queues.retain(|queue| queue.is_open());
            if !followed.queues.is_empty() {
                followed.seen = clock;
            }
            let kept = !followed.queues.is_empty() || (followed.history.is_some() && followed.seen > old);
            if !kept && followed.history.is_some() {
                state::history::delete(*relation, &mut ops);
            }
            kept
        });
        if ops.is_empty() { Ok(()) } else { self.store.write(ops, Durability::Logged) }
    }

    pub(super) fn histories_committed(&mut self, durable: Epoch) {
        self.subscriptions.committed(self.epoch, durable);
    }

    /// `ids`, and before them the views that subscriptions have made over them: whoever drops something need not know of those.
    pub(super) fn with_subscriptions(&self, ids: &[ObjectId]) -> Vec<ObjectId> {
        let catalog = self.shared.catalog.load();
        let made = |id: &ObjectId| !ids.contains(id) && catalog.get(*id).is_some_and(|object| object.schema == SYSTEM);
        catalog.with_dependants(ids).into_iter().filter(made).chain(ids.iter().copied()).collect()
    }

    /// Ends subscriptions to what is dropped; its history goes with its record.
    pub(super) fn end_subscriptions(&mut self, ids: &[ObjectId]) {
        let catalog = self.shared.catalog.load();
        for id in ids {
            let Some(followed) = self.subscriptions.followed.remove(id) else { continue };
            let what = match catalog.get(*id) {
                Some(object) if object.schema != SYSTEM => format!("{} \"{}\"", object.kind_name(), object.name),
                _ => "what a query reads".to_owned(),
            };
            followed.queues.iter().for_each(|queue| queue.end(End::Dropped(what.clone())));
        }
    }

    /// After a start, before epochs are run again: their changes are kept anew. `durable`: the checkpoint's epoch.
    pub(super) fn recover_histories(&mut self, durable: Epoch) -> Result<()> {
        self.subscriptions.durable = durable;
        let seen = self.now();
        for (relation, marks) in state::history::marks(self.store.as_ref())? {
            // What is no longer there took its history along.
            let Some(rows) = self.relations.get(&relation) else { continue };
            let history = Some(History::resume(relation, marks));
            self.subscriptions.followed.insert(relation, Followed { schema: rows.schema().clone(), queues: Vec::new(), history, seen });
        }
        Ok(())
    }
}
