//! Start: the store's last checkpoint, then the epochs that were logged after it, under the same numbers and with the same rows.
//! Only then are clients let in: every epoch that was shown before a crash is shown again (design, invariant 2).

use super::checkpoints::{RECORD, Record};
use super::cut::Cut;
use super::feed::Taken;
use super::load::Load;
use super::scheduler::Scheduler;
use super::writer::Entry;
use crate::catalog::catalog;
use crate::catalog::object::{Body, Object};
use crate::error::{Error, Kind, Result};
use crate::node::sources;
use crate::plan::ViewPlan;
use crate::types::ids::ObjectId;
use crate::types::time::Epoch;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Plans an object anew over the state tables that it was given at CREATE. Error: the plan is not the one that built the state.
pub type Replan<'a> = dyn Fn(&Object) -> Result<Option<ViewPlan>> + 'a;

/// The last checkpoint's record; the default for a new data directory.
pub fn last_checkpoint(logs: &crate::state::log::Logs) -> Result<Record> {
    match logs.record(RECORD)? {
        None => Ok(Record::default()),
        Some(bytes) => {
            serde_json::from_slice(&bytes).map_err(|e| Error::new(Kind::DataCorrupted, "the checkpoint record is damaged").with_detail(e.to_string()))
        }
    }
}

impl Scheduler {
    /// Brings everything back. Returns the next position of each table's log, for the writer.
    pub fn recover(&mut self, record: Record, replan: &Replan<'_>) -> Result<HashMap<ObjectId, u64>> {
        if let Some(bytes) = self.shared.logs.record(super::system::RECORD)? {
            self.shared.system.restore(&bytes)?;
        }
        self.epoch = record.epoch;
        self.clock = record.clock;
        self.main.watermarks = record.watermarks.clone();
        self.table_positions = record.tables.clone();
        let objects = self.shared.logs.objects()?.iter().map(|bytes| catalog::decode(bytes)).collect::<Result<Vec<Object>>>()?;
        let (building, whole): (Vec<&Object>, Vec<&Object>) = objects.iter().partition(|o| o.is_building());
        for object in whole {
            self.recover_object(object, &record, replan)?;
        }
        let cuts = self.shared.logs.cuts_after(record.epoch)?.iter().map(|bytes| Cut::decode(bytes)).collect::<Result<Vec<Cut>>>()?;
        self.recover_feeds(&objects, &record, &cuts)?;
        for object in building {
            self.resume_building(object, &record, replan)?;
        }
        self.recover_histories(record.epoch)?;
        self.swap_published();
        let logged = self.logged_changes(&objects)?;
        let positions = self.replay(cuts, logged)?;
        self.resume_numbers()?;
        self.start_publishing()?;
        self.keep_epochs()?;
        self.finish_load()?;
        self.end_transactions()?;
        Ok(positions)
    }

    /// What transactions that did not come to their end have made goes, with what was made over it; what they have altered is as it was.
    /// What a transaction has dropped whose end was cut short goes as well.
    fn end_transactions(&mut self) -> Result<()> {
        let catalog = self.shared.catalog.load_full();
        let goes = |o: &&Arc<Object>| o.uncommitted || o.pending.dropped && o.pending.before.is_none();
        let gone = catalog.with_dependants(&catalog.all().filter(goes).map(|o| o.id).collect::<Vec<ObjectId>>());
        if !gone.is_empty() {
            self.drop_objects(&gone)?;
        }
        let mut back: Vec<Object> = catalog.all().filter(|o| !gone.contains(&o.id)).filter_map(|o| o.pending.before.as_deref().cloned()).collect();
        let is_back = |id: ObjectId| catalog.get(id).is_some_and(|o| o.pending.before.is_some());
        for object in &mut back {
            // Another transaction may have taken the name, and committed.
            let holder = catalog.find(&object.schema, &object.name).filter(|holder| !is_back(holder.id) && !gone.contains(&holder.id));
            if let (Some(_), Some(now)) = (holder, catalog.get(object.id)) {
                tracing::warn!(name = object.name, "an object keeps the name that a lost transaction gave it: its own is taken");
                *object = Object { pending: Default::default(), ..now.as_ref().clone() };
            }
        }
        if back.is_empty() { Ok(()) } else { self.put_in_place(back) }
    }

    fn recover_object(&mut self, object: &Object, record: &Record, replan: &Replan<'_>) -> Result<()> {
        if let Some(plan) = replan(object)? {
            if object.is_isolated() {
                return self.recover_isolated(object, plan, record);
            }
            let plan = Arc::new(plan);
            self.add_to_workers(object.id, &plan, false)?;
            self.open_outbox(object, record.outbox_position(object.id))?;
            self.main.views.push(object.id);
            self.make_running(object, plan.clone())?;
            if let Some(rows) = self.relation_rows(object, &plan)? {
                rows.ready = true;
            }
            self.announce(object, Some(&plan));
        } else {
            self.announce(object, None);
        }
        Ok(())
    }

    fn recover_feeds(&mut self, objects: &[Object], record: &Record, cuts: &[Cut]) -> Result<()> {
        for object in objects.iter().filter(|o| o.feed().is_some()) {
            let read = self.running.iter().any(|(id, r)| *id == object.id || r.plan.inputs.contains(&object.id));
            if !read {
                continue;
            }
            let from = record.sources.get(&object.id).map(|s| (s.partitions.clone(), s.watermark));
            let mut verdicts = sources::Verdicts::new();
            for part in cuts.iter().filter_map(|c| c.sources.get(&object.id)) {
                for (partition, end) in &part.ends {
                    verdicts.entry(*partition).or_default().until = *end;
                }
                for (partition, position) in &part.ahead {
                    verdicts.entry(*partition).or_default().skewed.insert(*position);
                }
            }
            let feed = self.open_feed_with(object, from, verdicts)?;
            self.main.feeds.insert(object.id, feed);
        }
        Ok(())
    }

    /// Of every table, how far its log goes. Parts of a change that has no last one are taken out.
    fn logged_changes(&self, objects: &[Object]) -> Result<BTreeMap<ObjectId, u64>> {
        let mut ends = BTreeMap::new();
        for object in objects.iter().filter(|o| matches!(o.body, Body::Table(_))) {
            let mut end = self.table_positions.get(&object.id).copied().unwrap_or(0);
            self.shared.logs.table_from(object.id, end, |position, bytes| {
                if Entry::of(bytes) != Some(Entry::Part) {
                    end = position + 1;
                }
            })?;
            self.shared.logs.take_back(object.id, end)?;
            ends.insert(object.id, end);
        }
        Ok(ends)
    }

    fn replay(&mut self, cuts: Vec<Cut>, logged: BTreeMap<ObjectId, u64>) -> Result<HashMap<ObjectId, u64>> {
        let count = cuts.len();
        for cut in cuts {
            self.replay_cut(cut)?;
        }
        // Durable, but in no logged epoch yet: what several tables have was written together.
        for (table, end) in &logged {
            let next = self.table_positions.get(table).copied().unwrap_or(0);
            let first = self.shared.logs.table_at(*table, next)?;
            if self.load.is_none() && first.is_some_and(|bytes| Entry::of(&bytes) == Some(Entry::Part)) {
                self.load = Some(Load::resumed(*table, next, end - 1));
            } else {
                self.writes.extend(self.logged_writes(*table, next, *end)?);
            }
        }
        let mut next: HashMap<ObjectId, u64> = self.table_positions.iter().map(|(t, p)| (*t, *p)).collect();
        next.extend(logged);
        if count > 0 {
            tracing::info!(epochs = count, epoch = self.epoch.0, "replayed the epochs since the last checkpoint");
        }
        self.checkpoints.last_epoch = if count > 0 { Epoch(0) } else { self.epoch };
        Ok(next)
    }

    fn replay_cut(&mut self, cut: Cut) -> Result<()> {
        let mut taken: BTreeMap<ObjectId, Taken> = BTreeMap::new();
        for (source, part) in &cut.sources {
            let Some(feed) = self.main.feeds.get_mut(source) else { continue };
            let name = self.shared.catalog.load().get(*source).map(|o| o.name.clone()).unwrap_or_default();
            let rows = feed.take_logged(part, cut.clock, self.shared.limits.replay_timeout).map_err(|e| {
                Error::new(e.kind(), format!("cannot replay epoch {} from source \"{name}\": {}", cut.epoch, e.message()))
                    .with_detail(e.detail().unwrap_or("").to_string())
                    .with_hint("make the source readable again and start the server anew; nothing is lost")
            })?;
            taken.insert(*source, rows);
        }
        let mut writes = Vec::new();
        for (table, end) in &cut.tables {
            let next = self.table_positions.get(table).copied().unwrap_or(0);
            writes.extend(self.logged_writes(*table, next, *end)?);
        }
        self.run_epoch(cut, taken, writes)
    }
}
