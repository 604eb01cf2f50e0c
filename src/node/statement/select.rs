//! `SELECT`: bound against the catalog, run whole by DataFusion over one epoch, or as a look-up.

use super::lookup::{Lookup, Reach};
use super::scope::{Scope, with_rows};
use super::{Context, Outcome};
use crate::error::{Error, Kind, Result};
use crate::node::engine_api::Snapshot;
use crate::plan::relation::scanned;
use crate::sql::ast::Statement;
use crate::sql::bind::{Bound, Parameters};
use crate::sql::errors::{placed, untranslated};
use crate::sql::names::{name_columns, substitute};
use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, StringArray};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast::{self, VisitMut};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use std::sync::Arc;

/// Rows on their way to the client.
pub struct Results {
    pub columns: Vec<FieldRef>,
    pub schema: SchemaRef,
    pub stream: BoxStream<'static, Result<RecordBatch>>,
    pub tag: &'static str,
}

impl Results {
    /// Rows that are there already.
    pub fn ready(columns: Vec<FieldRef>, batch: RecordBatch, tag: &'static str) -> Results {
        Results { columns, schema: batch.schema(), stream: futures::stream::iter([Ok(batch)]).boxed(), tag }
    }

    /// Rows of texts.
    pub fn texts(columns: Vec<FieldRef>, rows: &[Vec<Option<String>>], tag: &'static str) -> Result<Results> {
        let schema = Arc::new(Schema::new(columns.iter().map(|c| c.as_ref().clone()).collect::<Vec<_>>()));
        let arrays = (0..columns.len()).map(|i| Arc::new(rows.iter().map(|row| row.get(i).cloned().flatten()).collect::<StringArray>()) as ArrayRef).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        Ok(Results::ready(columns, RecordBatch::try_new_with_options(schema, arrays, &options)?, tag))
    }
}

/// What Describe tells.
#[derive(Default)]
pub struct Shape {
    pub parameters: Vec<FieldRef>,
    pub columns: Option<Vec<FieldRef>>,
    /// How it is run if it is a look-up.
    pub lookup: Option<Lookup>,
}

impl Shape {
    /// Rows of these columns, no parameters.
    pub fn fixed(columns: Vec<FieldRef>) -> Shape {
        Shape { columns: Some(columns), ..Shape::default() }
    }
}

/// A nullable text column.
pub(super) fn text_column(name: &str) -> FieldRef {
    Arc::new(Field::new(name, DataType::Utf8, true))
}

pub(super) async fn execute(context: &Context, statement: &Statement, query: &ast::Query, parameters: &[ScalarValue]) -> Result<Outcome> {
    let catalog = context.engine.catalog();
    let bound = bind(context, statement, query, Parameters::Values(parameters))?;
    let columns = bound.columns();
    let snapshot = context.engine.snapshot(context.wait_for, &scanned(&bound.plan)).await?;
    // With parameters it was tried already, by what Describe found.
    if parameters.is_empty()
        && let Some(lookup) = Lookup::of(context, catalog, &bound)
        && let Some(batch) = lookup.run(snapshot.as_ref(), &[], Reach::Ranges)?
    {
        return Ok(Outcome::rows(Results::ready(columns, batch, "SELECT")));
    }
    let plan = with_rows(bound.plan, snapshot.as_ref()).map_err(|e| placed(e, &statement.source, query))?;
    let (schema, stream) = context.binder.run(plan, context.now).await?;
    let stream = context.pool.stream(stream.map_err(untranslated).boxed());
    Ok(Outcome::rows(Results { columns, schema, stream, tag: "SELECT" }))
}

pub(super) fn describe(context: &Context, statement: &Statement, query: &ast::Query, declared: &[Option<FieldRef>]) -> Result<Shape> {
    let catalog = context.engine.catalog();
    let bound = bind(context, statement, query, Parameters::Declared(declared))?;
    Ok(Shape { columns: Some(bound.columns()), lookup: Lookup::of(context, catalog, &bound), parameters: bound.parameters })
}

/// A query over the catalog, with the session's values in it.
pub(super) fn bind(context: &Context, statement: &Statement, query: &ast::Query, parameters: Parameters<'_>) -> Result<Bound> {
    let catalog = context.engine.catalog();
    let relation = |id| context.engine.relation(id);
    let scope = Scope::new(&catalog, &relation, Some(context.engine.as_ref()));
    // Columns are named before values take the place of calls: `current_user` is called so.
    let mut query = Box::new(query.clone());
    name_columns(&mut query);
    let query = with_session_values(context, query)?;
    context.binder.query(&scope, query, parameters, Some(&statement.source))
}

/// The tree with the values of functions that ask for the session's state.
pub(super) fn with_session_values<T: VisitMut>(context: &Context, mut tree: T) -> Result<T> {
    substitute(&mut tree, &mut |name, arguments| session_value(context, name, arguments))?;
    Ok(tree)
}

fn session_value(context: &Context, name: &str, arguments: &[String]) -> Option<Result<Option<String>>> {
    match (name, arguments) {
        ("current_user" | "user" | "session_user" | "current_role", []) => Some(Ok(context.settings.get("session_authorization"))),
        ("current_setting", [setting]) => Some(context.settings.show(setting).map(Some)),
        ("current_setting", [setting, missing_ok]) => Some(match context.settings.get(setting) {
            None if missing_ok != "true" => Err(Error::new(Kind::UndefinedObject, format!("unrecognized configuration parameter \"{setting}\""))),
            value => Ok(value),
        }),
        _ => None,
    }
}

/// All rows of a plan, over one epoch, as one batch of the plan's own columns.
pub(super) async fn collect(context: &Context, plan: LogicalPlan, snapshot: &dyn Snapshot) -> Result<RecordBatch> {
    let plan = with_rows(plan, snapshot)?;
    let (schema, stream) = context.binder.run(plan, context.now).await?;
    let batches: Vec<RecordBatch> = stream.map_err(untranslated).try_collect().await?;
    Ok(arrow::compute::concat_batches(&schema, &batches)?)
}
