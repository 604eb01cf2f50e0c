//! What the scheduler thread, the writer and the sessions share: published epochs, the catalog, logs, numbers, limits.

use super::audit::Audit;
use super::config::Limits;
use super::engine_api::{Secure, When};
use super::feed::ReadRange;
use super::load::Load;
use super::scheduler::PendingWrite;
use super::secrets::Secrets;
use super::subscriptions::Wanted;
use super::subscriptions::stream::Subscription;
use super::system::System;
use crate::catalog::catalog::Catalog;
use crate::catalog::object::Object;
use crate::catalog::roles;
use crate::error::{Error, Result};
use crate::plan::{Relation, ViewPlan};
use crate::state::log::Logs;
use crate::types::ids::{ObjectId, TableId};
use crate::types::time::{Clock, Epoch};
use crate::views::published::{Kept, KeptEpochs, Published};
use arc_swap::ArcSwap;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::sync::{oneshot, watch};

/// What sessions ask of the scheduler.
pub enum Command {
    Create {
        object: Box<Object>,
        plan: Option<Box<ViewPlan>>,
        answer: When,
        reply: oneshot::Sender<Result<()>>,
    },
    /// Replied once nothing is left of views whose statement was cancelled before now.
    Settle {
        reply: oneshot::Sender<Result<()>>,
    },
    Alter {
        objects: Vec<Object>,
        reply: oneshot::Sender<Result<()>>,
    },
    Secure {
        change: Secure,
        reply: oneshot::Sender<Result<Vec<Error>>>,
    },
    Drop {
        ids: Vec<ObjectId>,
        reply: oneshot::Sender<Result<()>>,
    },
    /// Changes of one epoch, in the tables' logs already, and objects that their transaction has committed.
    Write {
        writes: Vec<PendingWrite>,
        objects: Vec<Object>,
        /// The catalog shows the objects; `None`: there are none.
        shown: Option<oneshot::Sender<()>>,
    },
    /// A change that is in a table's log in parts.
    Load(Load),
    Subscribe {
        wanted: Wanted,
        reply: oneshot::Sender<Result<Subscription>>,
    },
    /// Replied once everything taken in so far is in a synced checkpoint.
    Flush {
        reply: oneshot::Sender<Result<()>>,
    },
    Stop {
        reply: oneshot::Sender<Result<()>>,
    },
}

pub struct Shared {
    pub clock: Arc<dyn Clock>,
    pub limits: Limits,
    pub logs: Arc<Logs>,
    pub system: System,
    pub secrets: Secrets,
    pub audit: Audit,
    pub catalog: ArcSwap<Catalog>,
    /// What the planner knows of each source, table and materialized view.
    pub known: ArcSwap<HashMap<ObjectId, Arc<Relation>>>,
    published: ArcSwap<Published>,
    epochs: watch::Sender<Epoch>,
    kept: watch::Sender<Arc<KeptEpochs>>,
    next_object: AtomicU32,
    next_table: AtomicU32,
}

/// Objects of users have ids from here, as in Postgres.
pub const FIRST_OBJECT: u32 = 16384;

/// Names of the durable records.
pub const NEXT_OBJECT: &str = "next_object";
pub const NEXT_TABLE: &str = "next_table";
pub const ROLES: &str = "roles";

impl Shared {
    pub fn new(clock: Arc<dyn Clock>, limits: Limits, logs: Arc<Logs>, published: Published) -> Result<Shared> {
        let next = |name: &str, first: u32| -> Result<AtomicU32> {
            let stored = logs.record(name)?;
            let number = stored.and_then(|b| b.try_into().ok()).map(u32::from_le_bytes);
            Ok(AtomicU32::new(number.unwrap_or(first)))
        };
        let catalog = match logs.record(ROLES)? {
            Some(record) => Catalog::default().with_roles(roles::decode(&record)?),
            None => Catalog::default(),
        };
        let secrets = Secrets::open(limits.data_dir.as_ref())?;
        secrets.keep_only(catalog.roles())?;
        Ok(Shared {
            clock,
            secrets,
            audit: Audit::open(limits.data_dir.as_ref(), limits.audit_log.as_ref())?,
            limits,
            next_object: next(NEXT_OBJECT, FIRST_OBJECT)?,
            next_table: next(NEXT_TABLE, 1)?,
            logs,
            system: System::default(),
            catalog: ArcSwap::from_pointee(catalog),
            known: ArcSwap::from_pointee(HashMap::new()),
            epochs: watch::channel(published.epoch).0,
            kept: watch::channel(Arc::default()).0,
            published: ArcSwap::from_pointee(published),
        })
    }

    /// An object whose connector can be made: with the values of the secrets that its options name.
    pub fn revealed(&self, object: &Object) -> Result<Object> {
        self.secrets.revealed_object(self.catalog.load().roles(), object)
    }

    pub fn published(&self) -> Arc<Published> {
        self.published.load_full()
    }

    pub fn publish(&self, published: Published) {
        let epoch = published.epoch;
        self.published.store(Arc::new(published));
        self.epochs.send_replace(epoch);
    }

    pub fn epochs(&self) -> watch::Receiver<Epoch> {
        self.epochs.subscribe()
    }

    /// The epochs that are kept for isolated views.
    pub fn kept(&self) -> Arc<KeptEpochs> {
        self.kept.borrow().clone()
    }

    pub fn keep(&self, views: BTreeSet<ObjectId>, epochs: Vec<Arc<Kept>>) {
        self.kept.send_replace(Arc::new(KeptEpochs { views, epochs }));
    }

    /// Epoch and clock (µs) that a materialized view can be read at; `None`: it cannot be.
    pub fn shown(&self, view: &Object) -> Option<(Epoch, i64)> {
        if view.is_isolated() {
            return self.kept().newest_of(&[view.id]).map(|kept| (kept.published.epoch, kept.clock));
        }
        (!self.system.building().contains_key(&view.id)).then(|| (self.published().epoch, self.system.shown_clock()))
    }

    pub fn kept_changes(&self) -> watch::Receiver<Arc<KeptEpochs>> {
        self.kept.subscribe()
    }

    /// What was read of sources, for people.
    pub fn positions(&self, read: &[ReadRange]) -> String {
        let catalog = self.catalog.load();
        read.iter().map(|r| r.text(catalog.get(r.source).map_or("", |o| o.name.as_str()))).collect::<Vec<_>>().join(", ")
    }

    /// Numbers are durable before anybody uses them: they are in keys on disk and must never come twice.
    pub fn allocate_object(&self) -> Result<ObjectId> {
        Ok(ObjectId(self.allocate(&self.next_object, NEXT_OBJECT)?))
    }

    pub fn allocate_table(&self) -> Result<TableId> {
        Ok(TableId(self.allocate(&self.next_table, NEXT_TABLE)?))
    }

    fn allocate(&self, counter: &AtomicU32, name: &str) -> Result<u32> {
        let number = counter.fetch_add(1, Ordering::SeqCst);
        let next = number.checked_add(1).ok_or_else(|| Error::internal("numbers have run out"))?;
        // Two allocations at once may store their records in either order; the greater one is kept by storing the counter's newest value.
        self.logs.put_record(name, &counter.load(Ordering::SeqCst).max(next).to_le_bytes())?;
        Ok(number)
    }

    /// Changes the catalog; the scheduler is its only writer.
    pub fn update_catalog(&self, change: impl FnOnce(&Catalog) -> Catalog) {
        let new = change(&self.catalog.load());
        self.catalog.store(Arc::new(new));
    }

    pub fn update_known(&self, change: impl FnOnce(&mut HashMap<ObjectId, Arc<Relation>>)) {
        let mut new = HashMap::clone(&self.known.load());
        change(&mut new);
        self.known.store(Arc::new(new));
    }
}
