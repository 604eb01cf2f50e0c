//! `SELECT`: bound against the catalog, run whole by DataFusion over one epoch, or as a look-up.

use super::lookup::{Lookup, Reach};
use super::scope::{Reader, Scope, with_rows};
use super::{Context, Outcome};
use crate::catalog::catalog::Catalog;
use crate::catalog::object::Body;
use crate::error::{Error, Kind, Result};
use crate::node::engine_api::Snapshot;
use crate::plan::relation::{origins, scanned};
use crate::sql::ast::{Set, Statement};
use crate::sql::bind::{Bound, Parameters};
use crate::sql::errors::{placed, untranslated};
use crate::sql::names::{name_columns, substitute};
use crate::sql::parse;
use crate::types::ids::ObjectId;
use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, StringArray};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::{Cast, Expr, LogicalPlan, LogicalPlanBuilder};
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

/// Mark of a result's column that shows a relation's: the relation's number and the column's, from 1.
const ORIGIN: &str = "tw.origin";

/// The result's columns, each with where it comes from.
pub(super) fn columns(bound: &Bound) -> Vec<FieldRef> {
    let marked = |(field, origin): (FieldRef, Option<(ObjectId, usize)>)| {
        let Some((relation, column)) = origin else { return field };
        let mut field = field.as_ref().clone();
        field.metadata_mut().insert(ORIGIN.to_owned(), format!("{}.{}", relation.0, column + 1));
        Arc::new(field)
    };
    bound.columns().into_iter().zip(origins(&bound.plan)).map(marked).collect()
}

/// The relation and the column's number, from 1, that [`columns`] marked.
pub fn origin(field: &Field) -> Option<(ObjectId, i16)> {
    let (relation, column) = field.metadata().get(ORIGIN)?.split_once('.')?;
    Some((ObjectId(relation.parse().ok()?), column.parse().ok()?))
}

/// A nullable text column.
pub(super) fn text_column(name: &str) -> FieldRef {
    Arc::new(Field::new(name, DataType::Utf8, true))
}

pub(super) async fn execute(context: &Context, statement: &Statement, query: &ast::Query, parameters: &[ScalarValue]) -> Result<Outcome> {
    let catalog = context.engine.catalog();
    let bound = bind(context, statement, query, Parameters::Typed(parameters, &context.parameter_types))?;
    let columns = columns(&bound);
    let reads = scanned(&bound.plan);
    let snapshot = context.snapshot(&reads).await?;
    // With parameters it was tried already, by what Describe found.
    if parameters.is_empty()
        && let Some(lookup) = Lookup::of(context, catalog.clone(), &bound)
        && let Some(batch) = lookup.run(snapshot.as_ref(), &[], Reach::Ranges)?
    {
        return Ok(with_notice(context, &catalog, &reads, Outcome::rows(Results::ready(columns, batch, "SELECT"))));
    }
    let plan = with_rows(bound.plan, snapshot.as_ref()).map_err(|e| placed(e, &statement.source, query))?;
    let (schema, stream) = context.binder.run(plan, context.now).await?;
    let stream = context.pool.stream(stream.map_err(untranslated).boxed());
    Ok(with_notice(context, &catalog, &reads, Outcome::rows(Results { columns, schema, stream, tag: "SELECT" })))
}

/// A transaction's own changes are in the tables that it reads, not in views over them.
fn with_notice(context: &Context, catalog: &Catalog, reads: &[ObjectId], outcome: Outcome) -> Outcome {
    let is_view = |id: &ObjectId| catalog.get(*id).is_some_and(|o| matches!(o.body, Body::MaterializedView(_)));
    if !context.transaction.as_ref().is_some_and(|t| t.has_changed()) || !reads.iter().any(is_view) {
        return outcome;
    }
    outcome.notice(Error::new(Kind::Notice, "materialized views show what this transaction has written when it has committed"))
}

pub(super) fn describe(context: &Context, statement: &Statement, query: &ast::Query, declared: &[Option<FieldRef>]) -> Result<Shape> {
    let catalog = context.engine.catalog();
    let bound = bind(context, statement, query, Parameters::Declared(declared))?;
    Ok(Shape { columns: Some(columns(&bound)), lookup: Lookup::of(context, catalog, &bound), parameters: bound.parameters })
}

/// The values of constant expressions, each as the type given, if there is one.
pub async fn values(context: &Context, list: &[(String, Option<FieldRef>)]) -> Result<Vec<ArrayRef>> {
    if list.is_empty() {
        return Ok(Vec::new());
    }
    let plan = {
        let catalog = context.engine.catalog();
        let relation = |id| context.engine.relation(id);
        let scope = Scope::new(&catalog, &relation, Reader::Session(context));
        let nothing = DFSchema::empty();
        let mut items = Vec::new();
        for (i, (text, field)) in list.iter().enumerate() {
            let value = with_session_values(context, parse::expression(text)?)?;
            let value = context.binder.uncoerced(&scope, value, &nothing)?;
            let value = match field {
                Some(field) => Expr::Cast(Cast { expr: Box::new(value), field: field.clone() }),
                None => value,
            };
            items.push(value.alias(format!("value_{i}")));
        }
        let plan = LogicalPlanBuilder::empty(true).project(items).and_then(|b| b.build()).map_err(untranslated)?;
        context.binder.coerce(plan)?
    };
    let (_, stream) = context.binder.run(plan, context.now).await?;
    let batches: Vec<RecordBatch> = stream.map_err(untranslated).try_collect().await?;
    let row = batches.iter().find(|b| b.num_rows() > 0).ok_or_else(|| Error::internal("constants gave no row"))?;
    Ok(row.columns().to_vec())
}

/// A query over the catalog, with the session's values in it.
pub(super) fn bind(context: &Context, statement: &Statement, query: &ast::Query, parameters: Parameters<'_>) -> Result<Bound> {
    let catalog = context.engine.catalog();
    let relation = |id| context.engine.relation(id);
    let scope = Scope::new(&catalog, &relation, Reader::Session(context));
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
        ("current_user" | "user" | "current_role", []) => Some(Ok(Some(context.engine.catalog().roles().name_of(context.role())))),
        ("session_user", []) => Some(Ok(Some(context.engine.catalog().roles().name_of(context.settings.identity().session.oid)))),
        ("set_config", [name, value, local]) => {
            context.sets.lock().push(Set { name: name.clone(), value: Some(value.clone()), local: local == "true" });
            Some(Ok(Some(value.clone())))
        }
        ("current_setting", [setting]) => Some(context.settings.current(setting, false)),
        ("current_setting", [setting, missing_ok]) => Some(context.settings.current(setting, missing_ok == "true")),
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
