//! Plans an object of the catalog again, at a restart, from its stored definition. It must come to the plan that built the
//! state: state tables are handed out in the same order as at CREATE, and the explained plans are compared.

use super::create_index::index_plan;
use super::create_relation::table_plan;
use super::create_sink::sink_plan;
use super::scope::{Reader, Scope};
use crate::catalog::catalog::Catalog;
use crate::catalog::object::{Body, Object};
use crate::error::{Error, Kind, Result};
use crate::plan::{self, Relation, Request, ViewPlan};
use crate::sql::bind::{Binder, Parameters};
use crate::sql::{parse, style};
use crate::types::ids::{ObjectId, TableId};
use crate::types::text::Zone;
use std::collections::HashMap;
use std::sync::Arc;

/// The plan of a recovered object; `None`: it needs none. `known`: what the planner knows of the objects before it.
/// Error: the plan is not the one that built the state.
pub fn replan(binder: &Binder, object: &Object, catalog: Arc<Catalog>, known: Arc<HashMap<ObjectId, Arc<Relation>>>) -> Result<Option<ViewPlan>> {
    let zone = object.zone.as_deref().map_or(Ok(Zone::Utc), Zone::parse)?;
    style::within(zone, || planned(binder, object, &catalog, &known))
}

fn planned(binder: &Binder, object: &Object, catalog: &Catalog, known: &HashMap<ObjectId, Arc<Relation>>) -> Result<Option<ViewPlan>> {
    match &object.body {
        Body::Source(_) | Body::View(_) | Body::Schema => Ok(None),
        Body::Table(table) => {
            let mut state = Handed::new(object, &table.state);
            let plan = table_plan(object, &mut || state.next())?;
            state.check()?;
            Ok(Some(plan))
        }
        Body::Index(index) => {
            let relation = known.get(&index.on).ok_or_else(|| Error::internal(format!("what index \"{}\" is on is not known", object.name)))?;
            let mut state = Handed::new(object, &index.state);
            let plan = index_plan(index, relation, &mut || state.next())?;
            state.check()?;
            check_same(object, &plan, &index.plan)?;
            Ok(Some(plan))
        }
        Body::MaterializedView(view) => {
            maintained(binder, object, catalog, known, &Stored { query: &view.query, state: &view.state, plan: &view.plan }, |request| {
                plan::incremental(Request { emit_on_window_close: view.emit_on_window_close, ..request })
            })
        }
        Body::Sink(sink) => maintained(binder, object, catalog, known, &Stored { query: &sink.query, state: &sink.state, plan: &sink.plan }, |request| {
            sink_plan(sink.format.as_ref(), request)
        }),
    }
}

/// Error: the plan is not the one that `then` explains.
fn check_same(object: &Object, plan: &ViewPlan, then: &str) -> Result<()> {
    let now = plan::explain(plan);
    if now == then { Ok(()) } else { Err(changed(object).with_detail(format!("then:\n{then}\nnow:\n{now}"))) }
}

/// What CREATE kept of a maintained query.
struct Stored<'a> {
    query: &'a str,
    state: &'a [TableId],
    plan: &'a str,
}

fn maintained(
    binder: &Binder,
    object: &Object,
    catalog: &Catalog,
    known: &HashMap<ObjectId, Arc<Relation>>,
    stored: &Stored<'_>,
    plan: impl FnOnce(Request<'_>) -> Result<ViewPlan>,
) -> Result<Option<ViewPlan>> {
    let relation = |id| known.get(&id).cloned();
    let scope = Scope::new(catalog, &relation, Reader::Restart).within(object.path.clone());
    let bound = binder.query(&scope, parse::query(stored.query)?, Parameters::Values(&[]), None)?;
    let mut state = Handed::new(object, stored.state);
    let plan = plan(Request { query: &bound.plan, emit_on_window_close: false, allocate: &mut || state.next() })?;
    state.check()?;
    check_same(object, &plan, stored.plan)?;
    Ok(Some(plan))
}

fn changed(object: &Object) -> Error {
    Error::new(Kind::ConfigFile, format!("the plan of {} \"{}\" is not the one that built its state", object.kind_name(), object.name))
        .with_hint("start the release that wrote the data directory, drop the object and create it again with this one")
}

/// State tables in the order in which CREATE handed them out.
struct Handed<'a> {
    object: &'a Object,
    state: &'a [TableId],
    taken: usize,
}

impl<'a> Handed<'a> {
    fn new(object: &'a Object, state: &'a [TableId]) -> Self {
        Handed { object, state, taken: 0 }
    }

    fn next(&mut self) -> TableId {
        self.taken += 1;
        // Beyond the end any number does: the check refuses the plan.
        self.state.get(self.taken - 1).copied().unwrap_or(TableId(u32::MAX))
    }

    fn check(&self) -> Result<()> {
        if self.taken == self.state.len() { Ok(()) } else { Err(changed(self.object)) }
    }
}
