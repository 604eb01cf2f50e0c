//! `DROP`: without CASCADE refused if anything depends on it (2BP01), with it told what goes as well.

use super::{Context, Outcome};
use crate::catalog::catalog::{Catalog, SYSTEM};
use crate::catalog::object::{Body, Object};
use crate::error::{Error, Kind, Result};
use crate::sql::ast::{Drop, Name, ObjectKind};
use crate::types::ids::ObjectId;
use std::sync::Arc;

pub(super) async fn execute(context: &Context, drop: &Drop) -> Result<Outcome> {
    let catalog = context.engine.catalog();
    let mut outcome = Outcome::command(format!("DROP {}", drop.kind.name().to_uppercase()));
    let mut ids: Vec<ObjectId> = Vec::new();
    for name in &drop.names {
        match context.find(name) {
            Some(object) => {
                check_kind(&object, drop.kind, name)?;
                context.check_owner(&object)?;
                if !ids.contains(&object.id) {
                    ids.push(object.id);
                }
            }
            None => {
                let message = format!("{} \"{}\" does not exist", drop.kind.name(), name.name);
                let kind = if drop.kind == ObjectKind::Index { Kind::UndefinedObject } else { Kind::UndefinedTable };
                if !drop.if_exists {
                    return Err(Error::new(kind, message));
                }
                outcome = outcome.notice(Error::new(kind, format!("{message}, skipping")));
            }
        }
    }
    if ids.is_empty() {
        return Ok(outcome);
    }
    // Indexes go with what they are on.
    let indexes: Vec<ObjectId> = ids.iter().flat_map(|id| catalog.indexes_on(*id)).map(|o| o.id).filter(|id| !ids.contains(id)).collect();
    ids.extend(indexes);
    if !drop.cascade {
        catalog.check_droppable(&ids)?;
    }
    let all = catalog.with_dependants(&ids);
    drop_all(context, outcome, &catalog, &ids, &all).await
}

/// Drops `all`, readers first, and `named`, telling of those that were not named.
pub(super) async fn drop_all(context: &Context, mut outcome: Outcome, catalog: &Catalog, named: &[ObjectId], all: &[ObjectId]) -> Result<Outcome> {
    let others: Vec<&Arc<Object>> =
        all.iter().rev().filter(|id| !named.contains(id)).filter_map(|id| catalog.get(*id)).filter(|o| o.index().is_none() && o.schema != SYSTEM).collect();
    if let Some(notice) = cascade_notice(&others) {
        outcome = outcome.notice(notice);
    }
    let rest = named.iter().copied().filter(|id| !all.contains(id));
    let ids: Vec<ObjectId> = all.iter().copied().chain(rest).collect();
    if !ids.is_empty() {
        context.drop_objects(&ids).await?;
    }
    Ok(outcome)
}

fn cascade_notice(others: &[&Arc<Object>]) -> Option<Error> {
    let line = |o: &Arc<Object>| format!("drop cascades to {} {}", o.kind_name(), o.name);
    // 00000 is what a notice has; the nearest kind that says nothing wrong happened.
    match others {
        [] => None,
        [only] => Some(Error::new(Kind::DependentObjectsExist, line(only))),
        many => {
            let lines: Vec<String> = many.iter().map(|o| line(o)).collect();
            Some(Error::new(Kind::DependentObjectsExist, format!("drop cascades to {} other objects", many.len())).with_detail(lines.join("\n")))
        }
    }
}

/// `None`: a schema, which no name of a relation finds.
pub(super) fn kind_of(object: &Object) -> Option<ObjectKind> {
    Some(match &object.body {
        Body::Source(_) => ObjectKind::Source,
        Body::Table(_) => ObjectKind::Table,
        Body::View(_) => ObjectKind::View,
        Body::MaterializedView(_) => ObjectKind::MaterializedView,
        Body::Index(_) => ObjectKind::Index,
        Body::Sink(_) => ObjectKind::Sink,
        Body::Schema => return None,
    })
}

fn article(kind: ObjectKind) -> &'static str {
    if kind == ObjectKind::Index { "an" } else { "a" }
}

pub(super) fn check_kind(object: &Object, wanted: ObjectKind, name: &Name) -> Result<()> {
    let is = kind_of(object);
    let Some(is) = is.filter(|is| *is != wanted) else { return Ok(()) };
    Err(Error::new(Kind::WrongObjectType, format!("\"{}\" is not {} {}", name.name, article(wanted), wanted.name())).with_hint(format!(
        "Use DROP {} to remove {} {}.",
        is.name().to_uppercase(),
        article(is),
        is.name()
    )))
}
