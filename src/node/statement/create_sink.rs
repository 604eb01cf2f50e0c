//! `CREATE SINK`: a maintained query whose changes go to a connector. Planned and built like a materialized view; it keeps no rows, so nothing can read it.

use super::create_relation::{check_schema, existing};
use super::create_view::{described, refuse_isolated, unbounded};
use super::scope::Scope;
use super::{Context, Outcome, StateTables};
use crate::catalog::catalog::PUBLIC;
use crate::catalog::object::{Body, Object, Sink};
use crate::connectors;
use crate::error::{Error, Kind, Result};
use crate::node::engine_api::When;
use crate::plan::{self, Request};
use crate::sql::ast::{CreateSink, Statement};
use crate::sql::bind::Parameters;
use crate::sql::errors::placed;
use crate::sql::parse;

pub(super) async fn execute(context: &Context, statement: &Statement, create: &CreateSink) -> Result<Outcome> {
    const TAG: &str = "CREATE SINK";
    check_schema(&create.name)?;
    if let Some(outcome) = existing(context, &create.name, create.if_not_exists, TAG).await? {
        return Ok(outcome);
    }
    connectors::check_sink(&create.with)?;
    let catalog = context.engine.catalog();
    let relation = |id| context.engine.relation(id);
    let scope = Scope::new(&catalog, &relation, None);
    let query = parse::query(&create.query.sql)?;
    let bound = context.binder.query(&scope, query.clone(), Parameters::Values(&[]), Some(&statement.source))?;
    if !bound.parameters.is_empty() {
        return Err(Error::new(Kind::InvalidObjectDefinition, "sinks cannot hold parameters"));
    }
    let columns = described(&[], &bound, create.name.position)?;
    let mut state = StateTables::new(context);
    let plan = plan::blackhole(Request { query: &bound.plan, emit_on_window_close: false, allocate: &mut || state.next() })
        .map_err(|e| placed(e, &statement.source, query.as_ref()))?;
    refuse_isolated(context, "a sink", &create.name, &plan.inputs)?;
    let sink =
        Sink { query: create.query.sql.clone(), columns, options: create.with.clone(), plan: plan::explain(&plan), state: state.finish()?, building: true };
    let object = Object {
        id: context.engine.allocate_object()?,
        schema: PUBLIC.into(),
        name: create.name.name.clone(),
        sql: statement.text.clone(),
        depends_on: scope.used(),
        body: Body::Sink(sink),
    };
    let growth = unbounded(context, "sink", &create.name, &plan)?;
    let answer = if context.settings.is_on("background_ddl") { When::Begun } else { When::Built };
    context.engine.create(object, Some(plan), answer).await?;
    let outcome = Outcome::command(TAG);
    Ok(match growth {
        Some(notice) => outcome.notice(notice),
        None => outcome,
    })
}
