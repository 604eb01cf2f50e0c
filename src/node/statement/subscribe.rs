//! `SUBSCRIBE`: the changes of a table or materialized view as rows without an end. A query is followed as a materialized view that nobody else sees, and that goes with the subscription.

use super::create_view::{described, refuse_isolated, unbounded};
use super::scope::{Reader, Scope};
use super::select::Results;
use super::target::find_relation;
use super::{Context, Outcome, Shape as Described, StateTables};
use crate::catalog::access::{Access, Privileges};
use crate::catalog::catalog::SYSTEM;
use crate::catalog::object::{Body, MaterializedView, Object};
use crate::error::{Error, Kind, Result};
use crate::node::engine_api::{Engine, When};
use crate::node::subscriptions::change::Shape;
use crate::node::subscriptions::{Start, Wanted};
use crate::plan::{self, Request, ViewPlan};
use crate::sql::ast::{Followed, Name, Statement, Subscribe};
use crate::sql::bind::{Bound, Parameters};
use crate::sql::errors::placed;
use crate::sql::parse;
use crate::types::ids::ObjectId;
use crate::types::time::Epoch;
use arrow::datatypes::FieldRef;
use datafusion::sql::sqlparser::ast;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is followed.
enum What {
    Relation(Arc<Object>),
    Query(Query),
}

struct Query {
    tree: Box<ast::Query>,
    text: String,
    /// Where it stands, or the name of the view that it is of.
    position: usize,
    /// It stands in the statement: its errors have their places there.
    typed: bool,
}

impl Query {
    fn placed(&self, error: Error, statement: &Statement) -> Error {
        if self.typed { placed(error, &statement.source, self.tree.as_ref()) } else { error.at(self.position) }
    }
}

/// The materialized view of a subscription to a query; it goes with this.
struct Own {
    engine: Arc<dyn Engine>,
    view: ObjectId,
}

impl Drop for Own {
    fn drop(&mut self) {
        self.engine.let_go(vec![self.view]);
    }
}

pub(super) async fn execute(context: &Context, statement: &Statement, subscribe: &Subscribe) -> Result<Outcome> {
    if context.transaction.as_ref().is_some_and(|t| t.has_changed()) {
        return Err(Error::not_supported("SUBSCRIBE in a transaction that has written rows is not supported").with_hint("COMMIT first"));
    }
    let what = what(context, subscribe)?;
    let start = start(subscribe, &what)?;
    let mut outcome = Outcome::command("SUBSCRIBE");
    let (relation, columns, own) = match what {
        What::Relation(object) => (object.id, fields(&object), None),
        What::Query(query) => {
            let (bound, reads) = bind(context, statement, &query)?;
            let (object, plan) = view(context, &bound, reads, &query).map_err(|e| query.placed(e, statement))?;
            let name = Name { schema: None, name: object.name.clone(), position: query.position };
            if let Some(notice) = unbounded(context, "materialized view", &name, &plan)? {
                outcome = outcome.notice(notice);
            }
            let own = Own { engine: context.engine.clone(), view: object.id };
            context.engine.create(object, Some(plan), When::Built).await?;
            (own.view, bound.columns(), Some(own))
        }
    };
    let shape = Shape::new(&columns, subscribe.progress);
    let wanted = Wanted { relation, start, progress: subscribe.progress, own: own.is_some(), pid: context.pid };
    let subscription = context.engine.subscribe(wanted).await?;
    let (columns, schema) = (shape.columns(), shape.schema().clone());
    let stream = subscription.stream(&context.pool, shape, own);
    Ok(Outcome { notices: outcome.notices, ..Outcome::rows(Results { columns, schema, stream, tag: "SUBSCRIBE" }) })
}

pub(super) fn describe(context: &Context, statement: &Statement, subscribe: &Subscribe) -> Result<Described> {
    let columns = match what(context, subscribe)? {
        What::Relation(object) => fields(&object),
        What::Query(query) => bind(context, statement, &query)?.0.columns(),
    };
    Ok(Described::fixed(Shape::new(&columns, subscribe.progress).columns()))
}

fn fields(object: &Object) -> Vec<FieldRef> {
    object.arrow_schema().fields().iter().cloned().collect()
}

fn what(context: &Context, subscribe: &Subscribe) -> Result<What> {
    let name = match &subscribe.what {
        Followed::Query { query, text } => {
            return Ok(What::Query(Query { tree: query.clone(), text: text.sql.clone(), position: text.position, typed: true }));
        }
        Followed::Relation(name) => name,
    };
    if name.schema.as_deref() == Some(SYSTEM) && context.engine.system_relations().iter().any(|(system, _)| *system == name.name) {
        return Err(Error::not_supported("system relations cannot be subscribed to").with_hint("read them with SELECT").at(name.position));
    }
    let object = find_relation(context, name)?;
    let wrong = |what: &str| Error::new(Kind::WrongObjectType, format!("{} \"{}\" {what}", object.kind_name(), object.name)).at(name.position);
    match &object.body {
        Body::Table(_) | Body::MaterializedView(_) if object.is_isolated() => {
            Err(Error::not_supported("SUBSCRIBE to an isolated materialized view is not supported")
                .with_hint("create the view without isolated = true, or subscribe to its query: SUBSCRIBE (SELECT …)")
                .at(name.position))
        }
        Body::Table(_) | Body::MaterializedView(_) => {
            context.check_may(&object, Privileges::SELECT)?;
            Ok(What::Relation(object))
        }
        Body::View(_) => {
            let text = format!("SELECT * FROM {}", name.quoted());
            Ok(What::Query(Query { tree: parse::query(&text)?, text, position: name.position, typed: false }))
        }
        Body::Source(_) => {
            Err(wrong("keeps no rows that could be read").with_hint(format!("subscribe to a query over it: SUBSCRIBE (SELECT * FROM {})", name.quoted())))
        }
        Body::Index(_) | Body::Sink(_) | Body::Schema => Err(wrong("cannot be subscribed to").with_hint("subscribe to what it reads")),
    }
}

/// Where it begins.
fn start(subscribe: &Subscribe, what: &What) -> Result<Start> {
    let Some((epoch, position)) = subscribe.as_of else { return Ok(if subscribe.snapshot { Start::Rows } else { Start::Now }) };
    if let What::Query(_) = what {
        return Err(Error::not_supported("AS OF in a subscription to a query is not supported")
            .with_detail("What a query gave is not kept when its subscription ends.")
            .with_hint("CREATE MATERIALIZED VIEW of the query, and subscribe to that")
            .at(position));
    }
    if subscribe.snapshot {
        return Err(Error::not_supported("the rows of an older epoch cannot be had")
            .with_detail("AS OF gives the changes behind an epoch.")
            .with_hint("go on from it: WITH (SNAPSHOT = false) AS OF …; or leave AS OF out and begin with the rows of now")
            .at(position));
    }
    Ok(Start::Behind(Epoch(epoch)))
}

/// With the objects that it reads.
fn bind(context: &Context, statement: &Statement, query: &Query) -> Result<(Bound, Vec<ObjectId>)> {
    let catalog = context.engine.catalog();
    let relation = |id| context.engine.relation(id);
    let scope = Scope::new(&catalog, &relation, Reader::Definition(context));
    let bound = context.binder.query(&scope, query.tree.clone(), Parameters::Values(&[]), query.typed.then_some(statement.source.as_ref()))?;
    if !bound.parameters.is_empty() {
        return Err(Error::not_supported("a subscription cannot hold parameters").with_hint("write their values"));
    }
    Ok((bound, scope.used()))
}

/// The view that maintains a query; nobody has committed it, so that a start without the subscription takes it away.
fn view(context: &Context, bound: &Bound, depends_on: Vec<ObjectId>, query: &Query) -> Result<(Object, ViewPlan)> {
    let columns = described(&[], bound, query.position)?;
    let mut state = StateTables::new(context);
    let request = Request { query: &bound.plan, emit_on_window_close: false, allocate: &mut || state.next() };
    let plan = plan::incremental(request)?;
    let id = context.engine.allocate_object()?;
    let name = Name { schema: None, name: format!("subscription_{}", id.0), position: query.position };
    refuse_isolated(context, "SUBSCRIBE to a query", &name, &plan.inputs)?;
    let view = MaterializedView {
        query: query.text.clone(),
        columns,
        emit_on_window_close: false,
        options: BTreeMap::new(),
        state: state.finish()?,
        plan: plan::explain(&plan),
        building: true,
    };
    let object = Object {
        depends_on,
        path: context.path(),
        zone: context.zone(),
        uncommitted: true,
        access: Access::of(context.role()),
        ..Object::new(id, SYSTEM.into(), name.name, query.text.clone(), Body::MaterializedView(view))
    };
    Ok((object, plan))
}
