//! `CREATE VIEW`: a query under a name, checked now and bound again wherever the name stands. `CREATE MATERIALIZED VIEW`:
//! its query is bound, planned incrementally, and given to the engine, which answers when the view is backfilled.

use super::create_relation::existing;
use super::scope::{Reader, Scope};
use super::{Context, Outcome, StateTables};
use crate::catalog::object::{Body, Column, ISOLATED, MaterializedView, Object, View};
use crate::error::{Error, Kind, Result};
use crate::node::engine_api::When;
use crate::plan::{self, Request, ViewPlan, growth};
use crate::sql::ast::{CreateView, Name, Options, Statement};
use crate::sql::bind::{Bound, Parameters};
use crate::sql::errors::placed;
use crate::sql::types;
use crate::types::ids::ObjectId;

pub(super) async fn execute(context: &Context, statement: &Statement, create: &CreateView) -> Result<Outcome> {
    let tag = if create.materialized { "CREATE MATERIALIZED VIEW" } else { "CREATE VIEW" };
    let schema = context.schema_for(&create.name)?;
    if let Some(outcome) = existing(context, &schema, &create.name, create.if_not_exists, tag).await? {
        return Ok(outcome);
    }
    let options = checked(&create.with)?;
    let catalog = context.engine.catalog();
    let relation = |id| context.engine.relation(id);
    let scope = Scope::new(&catalog, &relation, Reader::Definition(context));
    let bound = context.binder.query(&scope, create.query.clone(), Parameters::Values(&[]), Some(&statement.source))?;
    if !bound.parameters.is_empty() {
        return Err(Error::new(Kind::InvalidObjectDefinition, "views cannot hold parameters"));
    }
    let columns = described(&create.columns, &bound, create.name.position)?;
    let depends_on = scope.used();
    let (body, plan) = if create.materialized {
        let (view, plan) = materialized(context, create, options, columns, &bound).map_err(|e| placed(e, &statement.source, create.query.as_ref()))?;
        refuse_isolated(context, "a materialized view", &create.name, &plan.inputs)?;
        (Body::MaterializedView(view), Some(plan))
    } else {
        (Body::View(View { query: create.query_text.sql.clone(), columns }), None)
    };
    let id = context.engine.allocate_object()?;
    let object =
        Object { depends_on, path: context.path(), zone: context.zone(), ..Object::new(id, schema, create.name.name.clone(), statement.text.clone(), body) };
    let growth = plan.as_ref().map_or(Ok(None), |plan| unbounded(context, "materialized view", &create.name, plan))?;
    let answer = if context.settings.is_on("background_ddl") { When::Begun } else { When::Built };
    context.create(object, plan, answer).await?;
    let outcome = Outcome::command(tag);
    Ok(match growth {
        Some(notice) => outcome.notice(notice),
        None => outcome,
    })
}

/// The options of a materialized view: only `isolated`.
fn checked(options: &Options) -> Result<Options> {
    let check = |(name, value): (&String, &String)| {
        if name != ISOLATED {
            let unknown = format!("unrecognized parameter \"{name}\"");
            return Err(Error::new(Kind::InvalidParameter, unknown).with_hint("a materialized view has one option: isolated = true"));
        }
        match value.to_lowercase().as_str() {
            "true" | "false" => Ok((name.clone(), value.to_lowercase())),
            _ => Err(Error::new(Kind::InvalidParameter, format!("invalid value for boolean option \"{name}\": {value}")).with_hint("write true or false")),
        }
    };
    options.iter().map(check).collect()
}

/// Nothing is maintained over an isolated view, whose epochs come later than everybody's.
pub(super) fn refuse_isolated(context: &Context, what: &str, name: &Name, inputs: &[ObjectId]) -> Result<()> {
    let catalog = context.engine.catalog();
    let Some(view) = inputs.iter().filter_map(|id| catalog.get(*id)).find(|o| o.is_isolated()) else { return Ok(()) };
    let refused = format!("{what} over the isolated materialized view \"{}\" is not supported", view.name);
    Err(Error::not_supported(refused).with_hint("create that view without isolated = true, or repeat its query here").at(name.position))
}

/// What is said of state that grows for ever, as `unbounded_state` wants it: a notice, an error, or nothing.
pub(super) fn unbounded(context: &Context, kind: &str, name: &Name, plan: &ViewPlan) -> Result<Option<Error>> {
    let growing = match context.settings.get("unbounded_state").as_deref() {
        Some("allow") => return Ok(None),
        _ => growth::growing(plan, &|relation| is_endless(context, relation)),
    };
    let Some(first) = growing.first() else { return Ok(None) };
    let lines: Vec<String> = growing.iter().map(|g| format!("{} {}", g.operator, g.how)).collect();
    let message = format!("state of {kind} \"{}\" grows without bound", name.name);
    let worded = |kind, message| Error::new(kind, message).with_detail(lines.join("\n")).with_hint(first.hint);
    if context.settings.get("unbounded_state").as_deref() == Some("error") {
        let refused = worded(Kind::InvalidObjectDefinition, format!("{message}, which unbounded_state = 'error' does not allow"));
        return Err(refused.at(name.position));
    }
    Ok(Some(worded(Kind::Notice, message)))
}

/// Whether rows are only ever added, by somebody outside: a source, or an append-only view over one.
fn is_endless(context: &Context, relation: ObjectId) -> bool {
    let catalog = context.engine.catalog();
    let Some(object) = catalog.get(relation) else { return false };
    match &object.body {
        Body::Source(_) => true,
        Body::MaterializedView(_) => {
            context.engine.relation(relation).is_some_and(|r| r.append_only) && object.depends_on.iter().any(|input| is_endless(context, *input))
        }
        Body::View(_) => object.depends_on.iter().any(|input| is_endless(context, *input)),
        Body::Table(_) | Body::Index(_) | Body::Sink(_) | Body::Schema => false,
    }
}

/// The columns of a query under these names, as far as they go; `position`: of the object's name.
pub(super) fn described(names: &[String], bound: &Bound, position: usize) -> Result<Vec<Column>> {
    let fields = bound.columns();
    if names.len() > fields.len() {
        return Err(Error::new(Kind::Syntax, "CREATE VIEW specifies more column names than columns").at(position));
    }
    let mut columns: Vec<Column> = Vec::new();
    for (i, field) in fields.iter().enumerate() {
        let name = names.get(i).unwrap_or(field.name()).clone();
        if columns.iter().any(|c| c.name == name) {
            return Err(Error::new(Kind::DuplicateColumn, format!("column \"{name}\" specified more than once"))
                .with_hint("name the columns: AS, or a list behind the view's name"));
        }
        columns.push(Column {
            field: field.as_ref().clone().with_name(&name),
            sql_type: types::sql_type(field),
            not_null: !field.is_nullable(),
            name,
            default: None,
            generated: None,
            include: None,
        });
    }
    Ok(columns)
}

fn materialized(context: &Context, create: &CreateView, options: Options, columns: Vec<Column>, bound: &Bound) -> Result<(MaterializedView, ViewPlan)> {
    let mut state = StateTables::new(context);
    let plan = plan::incremental(Request { query: &bound.plan, emit_on_window_close: create.emit_on_window_close, allocate: &mut || state.next() })?;
    let state = state.finish()?;
    let view = MaterializedView {
        query: create.query_text.sql.clone(),
        columns,
        emit_on_window_close: create.emit_on_window_close,
        options,
        plan: plan::explain(&plan),
        building: true,
        state,
    };
    Ok((view, plan))
}
