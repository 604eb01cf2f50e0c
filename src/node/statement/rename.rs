//! `ALTER … RENAME TO`. Objects know each other by number, but what they keep as text (queries of views and sinks) has names: the text of all
//! that reads a renamed object follows it ([`crate::sql::renaming`]). A restart plans that text again, so the plan is checked here: a rename
//! after which it would be another is refused.

use super::drop::kind_of;
use super::replan::replan;
use super::scope::{Reader, Scope};
use super::target::find_relation;
use super::{Context, Outcome};
use crate::catalog::catalog::Catalog;
use crate::catalog::object::{Body, Object, Pending, View};
use crate::catalog::pg;
use crate::error::{Error, Kind, Result};
use crate::sql::ast::{ObjectKind, Rename};
use crate::sql::bind::Parameters;
use crate::sql::renaming::{in_create, in_query};
use crate::sql::{parse, style};
use crate::types::ids::ObjectId;
use crate::types::text::Zone;
use std::sync::Arc;

pub(super) async fn execute(context: &Context, rename: &Rename) -> Result<Outcome> {
    let tag = format!("ALTER {}", rename.kind.name().to_uppercase());
    let object = match find_relation(context, &rename.name) {
        Err(e) if rename.if_exists && e.kind() == Kind::UndefinedTable => {
            return Ok(Outcome::command(tag).notice(Error::new(Kind::Notice, format!("{}, skipping", e.message()))));
        }
        found => found?,
    };
    // ALTER TABLE takes all that stands among tables.
    if rename.kind != ObjectKind::Table && kind_of(&object) != Some(rename.kind) {
        let message = format!("\"{}\" is not a{} {}", object.name, if rename.kind == ObjectKind::Index { "n" } else { "" }, rename.kind.name());
        return Err(Error::new(Kind::WrongObjectType, message).at(rename.name.position));
    }
    context.check_owner(&object)?;
    context.check_create_in(&object.schema)?;
    context.engine.catalog().check_free(&object.schema, &rename.to).map_err(|e| e.at(rename.position))?;
    context.alter(renamed(context, &[(object.id, rename.to.clone())])?).await?;
    Ok(Outcome::command(tag))
}

/// `ids`, and all that reads them, as they are when nobody finds `ids` any more: what a transaction drops until it ends.
pub(super) fn set_aside(context: &Context, ids: &[ObjectId]) -> Result<Vec<Object>> {
    let hidden: Vec<(ObjectId, String)> = ids.iter().map(|id| (*id, format!("pg_dropped_{}", id.0))).collect();
    let mut objects = renamed(context, &hidden)?;
    objects.iter_mut().filter(|o| ids.contains(&o.id)).for_each(|o| o.pending.dropped = true);
    Ok(objects)
}

/// The objects under their new names, and those that read them, as far as their texts change.
fn renamed(context: &Context, names: &[(ObjectId, String)]) -> Result<Vec<Object>> {
    let catalog = context.engine.catalog();
    let ids: Vec<ObjectId> = names.iter().map(|(id, _)| *id).collect();
    let mut objects: Vec<Object> = names.iter().filter_map(|(id, name)| Some(under_name(catalog.get(*id)?, name))).collect();
    let after = catalog.replacing_all(objects.clone());
    let mut followed = Vec::new();
    for reader in catalog.with_dependants(&ids) {
        let Some(object) = catalog.get(reader).filter(|o| o.depends_on.iter().any(|d| ids.contains(d))) else { continue };
        let known = objects.iter().position(|o| o.id == reader);
        let mut next = known.map_or_else(|| object.as_ref().clone(), |at| objects[at].clone());
        if !follow(&mut next, object, &catalog, &after, &ids)? {
            continue;
        }
        followed.push(reader);
        match known {
            Some(at) => objects[at] = next,
            None => objects.push(next),
        }
    }
    let after = Arc::new(catalog.replacing_all(objects.clone()));
    for object in objects.iter().filter(|o| followed.contains(&o.id)) {
        check_plan(context, object, &after).map_err(|cause| {
            Error::not_supported(format!("{} \"{}\" cannot follow the new name", object.kind_name(), object.name))
                .with_detail(format!("Its query would mean something else: {}.", cause.message()))
                .with_hint("drop it, and create it again with the new name")
        })?;
    }
    Ok(objects)
}

fn under_name(object: &Object, name: &str) -> Object {
    let quoted = pg::quoted(name);
    let own = |schema: Option<&str>, written: &str| {
        let is_own = written == object.name && schema.is_none_or(|s| s == object.schema);
        is_own.then(|| schema.map_or_else(|| quoted.to_string(), |s| format!("{}.{quoted}", pg::quoted(s))))
    };
    let sql = in_create(&object.sql, &["source", "table", "view", "index", "sink", "concurrently", "exists"], &own);
    let mut next = Object { name: name.to_owned(), sql, ..object.clone() };
    if let Body::Sink(sink) = &mut next.body {
        sink.first_name.get_or_insert_with(|| object.name.clone());
    }
    next
}

/// Has the texts of `next` name what `ids` are called `after`. False: they do not name them.
fn follow(next: &mut Object, object: &Object, catalog: &Catalog, after: &Catalog, ids: &[ObjectId]) -> Result<bool> {
    let new_name = |schema: Option<&str>, name: &str| {
        let found = match schema {
            Some(schema) => catalog.find(schema, name),
            None => catalog.find_in(&object.path, name),
        };
        let renamed = after.get(found.map(|o| o.id).filter(|id| ids.contains(id))?)?;
        let alone = schema.is_none() && after.find_in(&object.path, &renamed.name).is_some_and(|o| o.id == renamed.id);
        let quoted = pg::quoted(&renamed.name);
        Some(if alone { quoted.into_owned() } else { format!("{}.{quoted}", pg::quoted(&renamed.schema)) })
    };
    if object.index().is_some() {
        next.sql = in_create(&next.sql, &["on"], &new_name);
        return Ok(true);
    }
    let Some(query) = next.query_mut() else { return Ok(false) };
    let before = std::mem::take(query);
    *query = in_query(&before, &new_name)?;
    let (query, changed) = (query.clone(), *query != before);
    next.sql = match next.sql.contains(&before) {
        true => next.sql.replacen(&before, &query, 1),
        // CREATE SINK … FROM
        false => in_create(&next.sql, &["from"], &new_name),
    };
    Ok(changed)
}

/// Error: a restart would not come to the plan of now.
fn check_plan(context: &Context, object: &Object, after: &Arc<Catalog>) -> Result<()> {
    let Body::View(view) = &object.body else {
        let known = after.all().filter_map(|o| Some((o.id, context.engine.relation(o.id)?))).collect();
        return replan(&context.binder, object, after.clone(), Arc::new(known)).map(drop);
    };
    let zone = object.zone.as_deref().map_or(Ok(Zone::Utc), Zone::parse)?;
    style::within(zone, || check_columns(context, object, view, after))
}

fn check_columns(context: &Context, object: &Object, view: &View, after: &Catalog) -> Result<()> {
    let relation = |id| context.engine.relation(id);
    let scope = Scope::new(after, &relation, Reader::Restart).within(object.path.clone());
    let bound = context.binder.query(&scope, parse::query(&view.query)?, Parameters::Values(&[]), None)?;
    let same = |(now, then): (&arrow::datatypes::FieldRef, &crate::catalog::object::Column)| now.data_type() == then.field.data_type();
    let columns = bound.columns();
    if columns.len() == view.columns.len() && columns.iter().zip(&view.columns).all(same) {
        return Ok(());
    }
    Err(Error::new(Kind::InvalidObjectDefinition, "its columns would be others"))
}

/// The object as a transaction has it that may take the change back. Error: another transaction has changed it and may take that back (40001).
pub(super) fn marked(mut object: Object, now: &Arc<Object>, is_own: bool, in_transaction: bool) -> Result<Object> {
    if now.pending.before.is_some() && !is_own {
        let message = format!("{} \"{}\" is being altered by another transaction", now.kind_name(), now.name);
        return Err(Error::new(Kind::SerializationFailure, message).with_hint("try again when that has ended"));
    }
    if in_transaction && !now.uncommitted && now.pending.before.is_none() {
        object.pending = Pending { before: Some(Box::new(now.as_ref().clone())), ..object.pending };
    }
    Ok(object)
}
