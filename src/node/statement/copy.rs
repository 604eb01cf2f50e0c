//! `COPY`: a query whose rows go out as data, and rows that come in as data and are inserted all at once.

use super::copied::Copied;
use super::target::{Target, find_relation};
use super::{Answer, Context, Outcome, select, subscribe};
use crate::catalog::object::{Body, Column, Object};
use crate::error::{Error, Kind, Result};
use crate::sql::ast::{Copy, CopyWhat, Name, Statement, StatementKind};
use crate::sql::parse;
use arrow::datatypes::FieldRef;
use std::sync::Arc;

pub(super) async fn execute(context: &Context, statement: &Statement, copy: &Copy) -> Result<Outcome> {
    if copy.from {
        let (target, columns) = target(context, copy)?;
        let fields = columns.iter().map(|c| incoming(&target.columns()[*c])).collect();
        let relation = target.name().to_owned();
        let rows = Box::new(Copied::new(context, target, columns)?);
        return Ok(Outcome::answer(Answer::CopyIn { relation, columns: fields, options: copy.options.clone(), rows }));
    }
    let outcome = match &copy.what {
        CopyWhat::Query(query) => match &query.kind {
            StatementKind::Query(tree) => select::execute(context, query, tree, &[]).await?,
            StatementKind::Subscribe(subscribed) => subscribe::execute(context, query, subscribed).await?,
            _ => return Err(Error::internal("COPY of a statement that is no query")),
        },
        CopyWhat::Relation { name, columns } => {
            let object = find_relation(context, name)?;
            check_source(&object, name)?;
            let columns = ordinals(&object, columns.as_deref())?;
            let list: Vec<String> = columns.iter().map(|c| super::returning::quoted(&object.columns()[*c].name)).collect();
            let query = parse::query(&format!("SELECT {} FROM {}", list.join(", "), name.quoted()))?;
            select::execute(context, statement, &query, &[]).await?
        }
    };
    let Outcome { answer: Answer::Rows(results), notices, .. } = outcome else { return Err(Error::internal("a query without rows")) };
    Ok(Outcome { notices, ..Outcome::answer(Answer::CopyOut { results, options: copy.options.clone() }) })
}

fn target(context: &Context, copy: &Copy) -> Result<(Target, Vec<usize>)> {
    let CopyWhat::Relation { name, columns } = &copy.what else { return Err(Error::new(Kind::Syntax, "COPY FROM needs a table")) };
    let target = Target::named(context, name, "copy to")?;
    let columns = ordinals(&target.object, columns.as_deref())?;
    Ok((target, columns))
}

/// Sources keep no rows; a view's are those of its query.
fn check_source(object: &Object, name: &Name) -> Result<()> {
    match object.body {
        Body::Table(_) | Body::MaterializedView(_) => Ok(()),
        _ => Err(Error::new(Kind::WrongObjectType, format!("cannot copy from {} \"{}\"", object.kind_name(), object.name))
            .with_hint("Try the COPY (SELECT ...) TO variant.")
            .at(name.position)),
    }
}

/// The columns that are named; without a list all that are not generated.
fn ordinals(object: &Object, named: Option<&[(String, usize)]>) -> Result<Vec<usize>> {
    let Some(named) = named else { return Ok((0..object.columns().len()).filter(|c| object.columns()[*c].generated.is_none()).collect()) };
    let mut found = Vec::new();
    for (name, position) in named {
        let column = object
            .columns()
            .iter()
            .position(|c| c.name == *name)
            .ok_or_else(|| Error::new(Kind::UndefinedColumn, format!("column \"{name}\" of relation \"{}\" does not exist", object.name)).at(*position))?;
        if object.columns()[column].generated.is_some() {
            let error = Error::new(Kind::InvalidColumnReference, format!("column \"{name}\" is a generated column"));
            return Err(error.with_detail("Generated columns cannot be used in COPY.").at(*position));
        }
        if found.contains(&column) {
            return Err(Error::new(Kind::DuplicateColumn, format!("column \"{name}\" specified more than once")).at(*position));
        }
        found.push(column);
    }
    Ok(found)
}

/// What the client's values are read as.
fn incoming(column: &Column) -> FieldRef {
    Arc::new(column.field.clone().with_name(&column.name).with_nullable(true))
}
