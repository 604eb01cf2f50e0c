//! `CREATE SINK`: a maintained query whose changes go to a connector. Planned and built like a materialized view; it keeps no rows, so nothing can read it.
//! One that publishes has an outbox (`node::sinks`).

use super::create_relation::existing;
use super::create_view::{described, refuse_isolated, unbounded};
use super::scope::{Reader, Scope};
use super::{Context, Outcome, StateTables};
use crate::catalog::object::{Body, Column, Object, Sink, SinkFormat};
use crate::connectors::connector::SinkRequest;
use crate::connectors::{self, options::PRIMARY_KEY};
use crate::error::{Error, Kind, Result};
use crate::formats::records::JsonRecords;
use crate::node::engine_api::When;
use crate::node::sinks;
use crate::plan::{self, Delivery, Request, ViewPlan};
use crate::sql::ast::{CreateSink, Statement};
use crate::sql::bind::Parameters;
use crate::sql::errors::placed;
use crate::sql::parse;
use crate::types::records::RecordEncoder;
use arrow::datatypes::SchemaRef;
use std::sync::Arc;

pub(super) async fn execute(context: &Context, statement: &Statement, create: &CreateSink) -> Result<Outcome> {
    const TAG: &str = "CREATE SINK";
    let schema = context.schema_for(&create.name)?;
    if let Some(outcome) = existing(context, &schema, &create.name, create.if_not_exists, TAG).await? {
        return Ok(outcome);
    }
    if let Some(connector) = create.with.get("connector") {
        context.check_connector(connector, &create.with)?;
    }
    let format = format(context, create)?;
    let catalog = context.engine.catalog();
    let relation = |id| context.engine.relation(id);
    let scope = Scope::new(&catalog, &relation, Reader::Definition(context));
    let query = parse::query(&create.query.sql)?;
    let bound = context.binder.query(&scope, query.clone(), Parameters::Values(&[]), Some(&statement.source))?;
    if !bound.parameters.is_empty() {
        return Err(Error::new(Kind::InvalidObjectDefinition, "sinks cannot hold parameters"));
    }
    let columns = described(&[], &bound, create.name.position)?;
    let format = format.map(|upsert| Ok::<_, Error>(SinkFormat { upsert, key: key(create, upsert, &columns)? })).transpose()?;
    let mut state = StateTables::new(context);
    let request = Request { query: &bound.plan, emit_on_window_close: false, allocate: &mut || state.next() };
    let plan = sink_plan(format.as_ref(), request).map_err(|e| placed(e, &statement.source, query.as_ref()))?;
    refuse_isolated(context, "a sink", &create.name, &plan.inputs)?;
    let id = context.engine.allocate_object()?;
    let sink = Sink {
        query: create.query.sql.clone(),
        columns,
        options: create.with.clone(),
        format,
        first_name: None,
        token: uuid::Uuid::new_v4().simple().to_string(),
        plan: plan::explain(&plan),
        state: state.finish()?,
        building: true,
    };
    let mut object = Object {
        depends_on: scope.used(),
        path: context.path(),
        zone: context.zone(),
        ..Object::new(id, schema, create.name.name.clone(), statement.text.clone(), Body::Sink(sink))
    };
    let revealed = context.engine.secrets().revealed_object(context.engine.catalog().roles(), &object)?;
    if let Some(publisher) = sinks::publisher(&revealed)? {
        let checked = tokio::task::spawn_blocking(move || publisher.check()).await;
        let pinned = checked.map_err(|e| Error::internal(format!("the check of the sink failed: {e}")))??;
        if let Body::Sink(sink) = &mut object.body {
            sink.options.extend(pinned);
        }
    }
    let growth = unbounded(context, "sink", &create.name, &plan)?;
    let answer = if context.settings.is_on("background_ddl") { When::Begun } else { When::Built };
    context.create(object, Some(plan), answer).await?;
    let outcome = Outcome::command(TAG);
    Ok(match growth {
        Some(notice) => outcome.notice(notice),
        None => outcome,
    })
}

/// Whether the sink publishes by key; `None`: it publishes nothing. Error: options that its connector does not have, a format that goes with another.
fn format(context: &Context, create: &CreateSink) -> Result<Option<bool>> {
    let options = context.engine.revealed(&create.with)?;
    let publishes = connectors::build_sink(&SinkRequest { id: &create.name.name, options: &options })?.is_some();
    match &create.format {
        None if publishes => Err(Error::new(Kind::Syntax, "this sink needs a format")
            .with_hint("add FORMAT PLAIN ENCODE JSON for rows that are only added, FORMAT UPSERT ENCODE JSON for the newest row of each key")
            .at(create.name.position)),
        None => Ok(None),
        Some(format) if !publishes => Err(Error::new(Kind::Syntax, "this sink publishes nothing and has no format").at(format.position)),
        Some(format) if format.encode != "json" || !format.options.is_empty() => {
            Err(Error::not_supported("sinks encode JSON, without options").with_hint("write ENCODE JSON").at(format.position))
        }
        Some(format) => Ok(Some(format.upsert)),
    }
}

/// The columns that the option `primary_key` names.
fn key(create: &CreateSink, upsert: bool, columns: &[Column]) -> Result<Vec<usize>> {
    let Some(names) = create.with.get(PRIMARY_KEY.name) else { return Ok(Vec::new()) };
    if !upsert {
        return Err(Error::new(Kind::InvalidParameter, "option \"primary_key\" has no meaning with FORMAT PLAIN").with_hint("use FORMAT UPSERT"));
    }
    let column = |name: &str| {
        columns
            .iter()
            .position(|c| c.name == name)
            .ok_or_else(|| Error::new(Kind::UndefinedColumn, format!("column \"{name}\" named in primary_key does not exist")).at(create.name.position))
    };
    names.split(',').map(|name| column(name.trim())).collect()
}

/// The plan of a sink, at CREATE and at a restart.
pub(super) fn sink_plan(format: Option<&SinkFormat>, request: Request<'_>) -> Result<ViewPlan> {
    let Some(format) = format else { return plan::blackhole(request) };
    let encoder: &dyn Fn(SchemaRef, Vec<usize>) -> Arc<dyn RecordEncoder> = &|schema, key| Arc::new(JsonRecords { schema, key });
    plan::delivered(request, &Delivery { key: format.upsert.then_some(format.key.as_slice()), encoder })
}
