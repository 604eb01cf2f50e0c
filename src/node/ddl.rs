//! How objects come and go in the running system. Every change is durable before it is answered; what holds rows changes at an epoch boundary.

use super::checkpoints::SourceRecord;
use super::engine_api::{Secure, When};
use super::feed::{Feed, PartitionState};
use super::scheduler::Scheduler;
use super::shared::ROLES;
use crate::catalog::catalog::{self, Catalog, SYSTEM};
use crate::catalog::object::{Body, Object};
use crate::catalog::roles;
use crate::connectors::connector::{Partition, Source};
use crate::connectors::pump::{Pump, PumpConfig};
use crate::dataflow::worker::Command as WorkerCommand;
use crate::error::{Error, Kind, Result};
use crate::node::sources;
use crate::plan::{EventTime, Relation, ViewKey, ViewPlan};
use crate::state::checkpoint::Ops;
use crate::state::run::RunKind;
use crate::state::store::Durability;
use crate::types::ids::{CLOCK, ObjectId};
use crate::types::time::WATERMARK_NONE;
use crate::views::stored::{IndexOf, Layout, RelationRows};
use std::collections::BTreeMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use tokio::sync::oneshot;

impl Scheduler {
    /// Only a broken store is an error here; what the user did wrong goes to `reply`.
    pub(super) fn create(&mut self, object: Object, plan: Option<ViewPlan>, answer: When, reply: oneshot::Sender<Result<()>>) -> Result<()> {
        if let Err(e) = self.check_new(&object) {
            let _ = reply.send(Err(e));
            return Ok(());
        }
        match (&object.body, plan) {
            (Body::MaterializedView(_) | Body::Index(_) | Body::Sink(_), Some(plan)) => self.start_building(object, plan, answer, reply),
            (Body::Table(_), Some(plan)) => {
                let result = self.create_table(object, Arc::new(plan))?;
                let _ = reply.send(result);
                Ok(())
            }
            (Body::Source(_) | Body::View(_) | Body::Schema, _) => {
                self.persist(&object)?;
                self.announce(&object, None);
                let _ = reply.send(Ok(()));
                Ok(())
            }
            _ => {
                let _ = reply.send(Err(Error::internal(format!("{} without a plan", object.kind_name()))));
                Ok(())
            }
        }
    }

    /// Names and inputs as they are now; the session saw an older catalog.
    fn check_new(&self, object: &Object) -> Result<()> {
        let catalog = self.shared.catalog.load();
        if matches!(object.body, Body::Schema) {
            let taken = || Error::new(Kind::DuplicateSchema, format!("schema \"{}\" already exists", object.name));
            return if catalog.has_schema(&object.name) { Err(taken()) } else { Ok(()) };
        }
        if object.schema != SYSTEM && !catalog.has_schema(&object.schema) {
            return Err(Error::new(Kind::InvalidSchemaName, format!("schema \"{}\" was dropped meanwhile", object.schema)));
        }
        if catalog.find(&object.schema, &object.name).is_some() {
            return Err(Error::new(Kind::DuplicateTable, format!("relation \"{}\" already exists", object.name)));
        }
        check_not_reserved(&catalog, object)?;
        for id in &object.depends_on {
            let Some(input) = catalog.get(*id) else {
                return Err(Error::new(Kind::UndefinedTable, format!("a relation that \"{}\" reads was dropped meanwhile", object.name)));
            };
            if input.is_building() {
                return Err(Error::new(Kind::NotReady, format!("materialized view \"{}\" is still being built", input.name))
                    .with_hint("create the view when it is complete; see tidewater.jobs"));
            }
        }
        Ok(())
    }

    /// A table has no history: it joins the live lane at once, empty. The outer error is a broken store, the inner one the user's.
    fn create_table(&mut self, object: Object, plan: Arc<ViewPlan>) -> Result<Result<()>> {
        let feed = match object.feed() {
            Some(_) => match self.open_feed_with(&object, None, BTreeMap::new()) {
                Ok(feed) => Some(feed),
                Err(e) => return Ok(Err(e)),
            },
            None => None,
        };
        self.add_to_workers(object.id, &plan, true)?;
        self.persist(&object)?;
        if let Some(feed) = feed {
            self.main.feeds.insert(object.id, feed);
        }
        self.main.views.push(object.id);
        self.share.begin_again();
        self.make_running(&object, plan.clone())?;
        if let Some(rows) = self.relation_rows(&object, &plan)? {
            rows.ready = true;
        }
        self.announce(&object, Some(&plan));
        self.swap_published();
        Ok(Ok(()))
    }

    /// See [`super::engine_api::Engine::alter`]. The outer error is a broken store, the inner one the user's.
    pub(super) fn alter(&mut self, objects: Vec<Object>) -> Result<Result<()>> {
        if let Err(e) = self.check_alterable(&objects) {
            return Ok(Err(e));
        }
        self.put_in_place(objects).map(Ok)
    }

    fn check_alterable(&self, objects: &[Object]) -> Result<()> {
        let catalog = self.shared.catalog.load();
        for object in objects {
            // Another that gives its name away in the same change does not hold it.
            let holder = catalog.find(&object.schema, &object.name).filter(|o| objects.iter().all(|altered| altered.id != o.id));
            if holder.is_some() {
                return Err(Error::new(Kind::DuplicateTable, format!("relation \"{}\" already exists", object.name)));
            }
            check_not_reserved(&catalog, object)?;
            // What is being built keeps a definition of its own until it is done.
            match catalog.get(object.id) {
                None => return Err(Error::new(Kind::UndefinedTable, format!("relation \"{}\" was dropped meanwhile", object.name))),
                Some(now) if now.is_building() => {
                    return Err(
                        Error::new(Kind::NotReady, format!("{} \"{}\" is still being built", now.kind_name(), now.name)).with_hint("see tidewater.jobs")
                    );
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// Objects that are there already, under these definitions.
    pub(super) fn put_in_place(&mut self, objects: Vec<Object>) -> Result<()> {
        let mut ops = Ops::default();
        for object in &objects {
            self.shared.logs.put_object(object.id, &catalog::encode(object)?, &mut ops);
        }
        self.store.write(ops, Durability::Synced)?;
        self.shared.update_known(|known| {
            for object in &objects {
                if let Some(relation) = known.get_mut(&object.id).filter(|relation| relation.name != object.name) {
                    *relation = Arc::new(Relation { name: object.name.clone(), ..relation.as_ref().clone() });
                }
            }
        });
        for object in &objects {
            if let Some(rows) = self.relations.get_mut(&object.id) {
                rows.index_of = index_of(object);
            }
        }
        self.shared.update_catalog(|now| now.replacing_all(objects));
        self.swap_published();
        Ok(())
    }

    /// See [`super::engine_api::Engine::secure`]. The outer error is a broken store, the inner one the user's.
    pub(super) fn secure(&mut self, change: Secure) -> Result<Result<Vec<Error>>> {
        let secured = match change(&self.shared.catalog.load_full()) {
            Ok(secured) => secured,
            Err(e) => return Ok(Err(e)),
        };
        // What is being built keeps a definition of its own until it is done.
        if let Some(object) = secured.objects.iter().find(|o| o.is_building()) {
            let building = format!("{} \"{}\" is still being built", object.kind_name(), object.name);
            return Ok(Err(Error::new(Kind::NotReady, building).with_hint("see tidewater.jobs")));
        }
        let mut ops = Ops::default();
        if let Some(roles) = &secured.roles {
            self.shared.logs.put_record_into(ROLES, &roles::encode(roles)?, &mut ops);
        }
        for object in &secured.objects {
            self.shared.logs.put_object(object.id, &catalog::encode(object)?, &mut ops);
        }
        self.store.write(ops, Durability::Synced)?;
        self.shared.update_catalog(|now| {
            let now = secured.objects.iter().fold(now.clone(), |catalog, object| catalog.replacing(object.clone()));
            secured.roles.map_or(now.clone(), |roles| now.with_roles(roles))
        });
        Ok(Ok(secured.notices))
    }

    pub(super) fn persist(&self, object: &Object) -> Result<()> {
        let mut ops = Ops::default();
        self.shared.logs.put_object(object.id, &catalog::encode(object)?, &mut ops);
        self.store.write(ops, Durability::Synced)
    }

    /// Makes the object known to sessions and to the planner.
    pub(super) fn announce(&self, object: &Object, plan: Option<&ViewPlan>) {
        if let Some(relation) = relation_of(object, plan) {
            self.shared.update_known(|known| {
                known.insert(object.id, Arc::new(relation));
            });
        }
        self.announce_name(object);
    }

    /// The object is in the catalog that sessions see, in the place of an older one of its name and id.
    pub(super) fn announce_name(&self, object: &Object) {
        self.shared.update_catalog(|c| c.replacing(object.clone()));
    }

    /// `ids`: readers first. The state goes with one range deletion per state table.
    pub(super) fn drop_objects(&mut self, ids: &[ObjectId]) -> Result<()> {
        let ids = &self.with_subscriptions(ids)[..];
        self.await_checkpoint()?;
        self.end_subscriptions(ids);
        let mut ops = Ops::default();
        for id in ids {
            if let Some(i) = self.building.iter().position(|b| b.object.id == *id) {
                let building = self.building.remove(i);
                self.delete_state(&building.plan, &mut ops);
                if let Some(reply) = building.reply {
                    let dropped = format!("{} \"{}\" was dropped while it was built", building.object.kind_name(), building.object.name);
                    let _ = reply.send(Err(Error::new(Kind::QueryCanceled, dropped)));
                }
            }
            if let Some(running) = self.running.remove(id) {
                self.delete_state(&running.plan, &mut ops);
            }
            self.shared.logs.delete_object(*id, &mut ops);
            self.drop_isolated(*id)?;
            self.close_outbox(*id);
            self.main.views.retain(|v| v != id);
            self.relations.remove(id);
            self.table_positions.remove(id);
            self.remove_from_workers(*id)?;
        }
        self.store.write(ops, Durability::Synced)?;
        self.close_unread_feeds();
        self.shared.system.forget(ids);
        self.shared.update_known(|known| known.retain(|id, _| !ids.contains(id)));
        self.shared.update_catalog(|c| c.without(ids));
        self.swap_published();
        Ok(())
    }

    pub(super) fn delete_state(&self, plan: &ViewPlan, ops: &mut Ops) {
        for table in plan.fragment.nodes.iter().flat_map(|n| n.spec.state_tables()) {
            self.shared.logs.delete_state(table.id, ops);
        }
    }

    /// A source that no view reads any more is not read.
    fn close_unread_feeds(&mut self) {
        let running = &self.running;
        self.main.feeds.retain(|source, _| running.iter().any(|(id, r)| id == source || r.plan.inputs.contains(source)));
        let feeds = &self.main.feeds;
        self.main.watermarks.0.retain(|source, _| *source == CLOCK || feeds.contains_key(source) || running.contains_key(source));
    }

    pub(super) fn add_to_workers(&mut self, view: ObjectId, plan: &ViewPlan, fresh: bool) -> Result<()> {
        if plan.fragment.has_timer() {
            // Until its operators have looked: what was due while the server was down is due now.
            self.due.insert(view, i64::MIN);
        }
        let fragment = Arc::new(plan.fragment.clone());
        let (reply, results) = crossbeam_channel::bounded(self.workers.len());
        self.send_all(|| WorkerCommand::Add { view, fragment: fragment.clone(), fresh, reply: reply.clone() })?;
        drop(reply);
        results.into_iter().collect::<Result<Vec<()>>>().map(|_| ())
    }

    pub(super) fn remove_from_workers(&mut self, view: ObjectId) -> Result<()> {
        self.due.remove(&view);
        self.send_all(|| WorkerCommand::Remove { view })
    }

    /// The readable rows of a view, made at first use; a sink has none.
    pub(super) fn relation_rows(&mut self, object: &Object, plan: &ViewPlan) -> Result<Option<&mut RelationRows>> {
        match self.relations.entry(object.id) {
            Entry::Occupied(known) => Ok(Some(known.into_mut())),
            Entry::Vacant(new) => Ok(layout_of(object, plan)?.map(|layout| new.insert(RelationRows::new(layout, index_of(object))))),
        }
    }

    /// A reader of a source, from its beginning unless `from` says where.
    pub(super) fn open_feed(&self, source: ObjectId, from: Option<&SourceRecord>) -> Result<Feed> {
        let catalog = self.shared.catalog.load();
        let object = catalog.get(source).ok_or_else(|| Error::internal(format!("source {source} is not in the catalog")))?;
        self.open_feed_with(object, from.map(|s| (s.partitions.clone(), s.watermark)), BTreeMap::new())
    }

    /// The connector of a source that is being read.
    fn running_source(&self, id: ObjectId) -> Option<Arc<dyn Source>> {
        let lanes = std::iter::once(&self.main).chain(self.building.iter().map(|b| &b.lane));
        lanes.filter_map(|lane| lane.feeds.get(&id)).map(Feed::source).next()
    }

    /// `replay`: verdicts about records ahead of the clock, up to a position per partition.
    pub(super) fn open_feed_with(&self, object: &Object, from: Option<(BTreeMap<Partition, PartitionState>, i64)>, replay: sources::Verdicts) -> Result<Feed> {
        let feed = object.feed().ok_or_else(|| Error::internal(format!("\"{}\" reads no connector", object.name)))?;
        let (partitions, watermark) = from.unwrap_or_else(|| {
            let start = feed.start.iter().map(|(p, at)| (*p, PartitionState { position: *at, ..PartitionState::default() })).collect();
            (start, WATERMARK_NONE)
        });
        let opened = sources::open(&self.shared.revealed(object)?, self.running_source(object.id), self.shared.clock.clone(), replay)?;
        let positions = partitions.iter().filter(|(_, s)| !s.ended).map(|(p, s)| (*p, s.position)).collect();
        let wake = self.waker.clone();
        let config = PumpConfig {
            name: object.name.clone(),
            threads: self.workers.len(),
            read_ahead: self.read_ahead.clone(),
            notify: Arc::new(move || {
                // A full channel already tells that there is something to do.
                let _ = wake.try_send(());
            }),
            ..PumpConfig::default()
        };
        let pump = Pump::start(opened.source.clone(), positions, opened.preparation, config)?;
        Ok(Feed::new(object.id, opened.source, pump, partitions, watermark, opened.idle_timeout))
    }
}

/// A name that an open transaction may have to give back is for nobody outside of one.
fn check_not_reserved(catalog: &Catalog, object: &Object) -> Result<()> {
    let of_transaction = object.uncommitted || object.pending.before.is_some();
    let reserves = |o: &Object| o.pending.before.as_ref().is_some_and(|before| before.schema == object.schema && before.name == object.name);
    if of_transaction || !catalog.all().any(|o| o.id != object.id && reserves(o)) {
        return Ok(());
    }
    Err(Error::new(Kind::DuplicateTable, format!("relation \"{}\" already exists", object.name))
        .with_hint("a transaction that has not ended has renamed or dropped it; try again when it has"))
}

fn index_of(object: &Object) -> Option<IndexOf> {
    object.index().map(|index| IndexOf { relation: index.on, name: object.name.clone() })
}

/// How the rows of a table or view are stored, under the object's column names, which need not be those of its query; a sink's are not.
fn layout_of(object: &Object, plan: &ViewPlan) -> Result<Option<Layout>> {
    let (kind, unique): (_, &[usize]) = match &plan.key {
        ViewKey::Index(key) => {
            return plan.rows.map(|rows| Layout::of_index(rows, &key.columns, &key.orders, key.unique, plan.schema.clone())).transpose();
        }
        ViewKey::Unique(columns) => (RunKind::Unique, columns),
        ViewKey::Row => (RunKind::Weighted, &[]),
        ViewKey::Append => (RunKind::Append, &[]),
        ViewKey::Nothing => return Ok(None),
    };
    plan.rows.map(|rows| Layout::of_relation(rows, kind, unique, object.arrow_schema())).transpose()
}

/// What the planner knows of an object; `None` for plain views, which are inlined, for indexes, and for a materialized view without its plan.
pub fn relation_of(object: &Object, plan: Option<&ViewPlan>) -> Option<Relation> {
    let (append_only, key, event_time) = match &object.body {
        Body::View(_) | Body::Index(_) | Body::Sink(_) | Body::Schema => return None,
        Body::Source(source) => (true, Vec::new(), source.feed.watermark.iter().map(|w| sources::event_time(object.id, w)).collect()),
        Body::Table(table) => {
            let declared = table.watermark.iter().map(|w| sources::event_time(object.id, w));
            let dated = sources::processing_time(object).into_iter().filter(|_| table.append_only).map(EventTime::by_clock);
            (table.append_only, table.primary_key.clone(), declared.chain(dated).collect())
        }
        Body::MaterializedView(_) => {
            let plan = plan?;
            let key = match &plan.key {
                ViewKey::Unique(columns) => columns.clone(),
                _ => Vec::new(),
            };
            (plan.append_only, key, plan.event_time.clone())
        }
    };
    // A table's rows were dated before they were stored.
    let processing_time = if matches!(object.body, Body::Source(_)) { sources::processing_time(object) } else { Vec::new() };
    Some(Relation { id: object.id, name: object.name.clone(), schema: object.arrow_schema(), append_only, key, event_time, processing_time })
}

/// A table that a connector feeds by key: the newest record of each key counts.
pub fn is_keyed_feed(object: &Object) -> bool {
    matches!(&object.body, Body::Table(t) if t.feed.is_some() && !t.primary_key.is_empty())
}
