//! `CREATE TABLE … AS query`: a table of the query's columns and the rows that it has now.

use super::atomic::atomically;
use super::create_relation::{existing, planned};
use super::create_view::described;
use super::target::Target;
use super::{Context, Outcome, insert, select, temporary};
use crate::catalog::object::{Body, Column, Object, Table};
use crate::error::{Error, Kind, Result};
use crate::node::engine_api::When;
use crate::sql::ast::{CreateTableAs, Name, Statement};
use crate::sql::bind::Parameters;
use std::sync::Arc;

pub(super) async fn execute(context: &Context, statement: &Arc<Statement>, create: &CreateTableAs) -> Result<Outcome> {
    const TAG: &str = "CREATE TABLE AS";
    let schema = if create.temporary { temporary::schema_for(context, &create.name).await? } else { context.schema_for(&create.name)? };
    if let Some(outcome) = existing(context, &schema, &create.name, create.if_not_exists, TAG).await? {
        return Ok(outcome);
    }
    let body = Body::Table(Table {
        columns: columns(context, statement, create)?,
        primary_key: Vec::new(),
        append_only: false,
        watermark: None,
        feed: None,
        state: Vec::new(),
    });
    let id = context.engine.allocate_object()?;
    let object = Object { path: context.path(), ..Object::new(id, schema.clone(), create.name.name.clone(), statement.text.clone(), body) };
    let (object, plan) = planned(context, object)?;
    let name = Name { schema: Some(schema), ..create.name.clone() };
    let filled = |context: Context| async move {
        context.create(object, plan, When::Built).await?;
        if !create.with_data {
            return Ok(TAG.to_owned());
        }
        let target = Target::named(&context, &name, "insert into")?;
        Ok(format!("SELECT {}", insert::query(&context, statement, target, &create.query).await?))
    };
    let (tag, written) = atomically(context, filled).await?;
    Ok(Outcome { written, ..Outcome::command(tag) })
}

/// The query's, under the names that were given; all of them may be NULL.
fn columns(context: &Context, statement: &Statement, create: &CreateTableAs) -> Result<Vec<Column>> {
    let bound = select::bind(context, statement, &create.query, Parameters::Values(&[]))?;
    if create.columns.len() > bound.columns().len() {
        return Err(Error::new(Kind::Syntax, "too many column names were specified").at(create.name.position));
    }
    let nullable = |column: Column| Column { not_null: false, field: column.field.with_nullable(true), ..column };
    Ok(described(&create.columns, &bound, create.name.position)?.into_iter().map(nullable).collect())
}
