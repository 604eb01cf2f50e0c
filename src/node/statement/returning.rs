//! `RETURNING`: a select list over the rows that a statement wrote (or removed), under the table's name.

use super::Context;
use super::scope::{Reader, Scope, with_rows};
use super::select::{Results, with_session_values};
use crate::error::Result;
use crate::plan::relation::scanned;
use crate::sql::ast::Statement;
use crate::sql::bind::{Bound, Parameters};
use crate::sql::parse;
use arrow::array::RecordBatch;
use arrow::datatypes::{FieldRef, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::sql::sqlparser::ast::{SelectItem, SetExpr};
use futures::{StreamExt, TryStreamExt};

pub(super) async fn returning(
    context: &Context,
    statement: &Statement,
    name: &str,
    items: &[SelectItem],
    rows: RecordBatch,
    parameters: &[ScalarValue],
    tag: &'static str,
) -> Result<Results> {
    let bound = bind(context, statement, name, items, rows, Parameters::Values(parameters))?;
    let columns = bound.columns();
    let snapshot = context.snapshot(&scanned(&bound.plan)).await?;
    let plan = with_rows(bound.plan, snapshot.as_ref())?;
    let (schema, stream) = context.binder.run(plan, context.now).await?;
    let stream = stream.map_err(crate::sql::errors::untranslated).boxed();
    Ok(Results { columns, schema, stream, tag })
}

pub(super) fn returning_shape(context: &Context, statement: &Statement, name: &str, items: &[SelectItem], schema: SchemaRef) -> Result<Vec<FieldRef>> {
    Ok(bind(context, statement, name, items, RecordBatch::new_empty(schema), Parameters::Declared(&[]))?.columns())
}

fn bind(context: &Context, statement: &Statement, name: &str, items: &[SelectItem], rows: RecordBatch, parameters: Parameters<'_>) -> Result<Bound> {
    let mut query = parse::query(&format!("SELECT 1 FROM {}", quoted(name)))?;
    if let SetExpr::Select(select) = query.body.as_mut() {
        select.projection = items.to_vec();
    }
    let query = with_session_values(context, query)?;
    let catalog = context.engine.catalog();
    let relation = |id| context.engine.relation(id);
    let scope = Scope::new(&catalog, &relation, Reader::Session(context)).with_local(name, rows);
    context.binder.query(&scope, query, parameters, Some(&statement.source))
}

/// A name as an identifier of SQL text.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
