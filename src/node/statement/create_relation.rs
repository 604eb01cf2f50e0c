//! `CREATE SOURCE` and `CREATE TABLE`: every type, expression and option is checked here, so that nothing fails later for
//! what was written in the statement.

use super::scope::{Reader, Scope};
use super::{Context, Outcome, StateTables, temporary};
use crate::catalog::object::{Body, Column, Feed, Format, Object, PROCESSING_TIME, Source, Table, Watermark};
use crate::connectors;
use crate::connectors::connector::SourceRequest;
use crate::error::{Error, Kind, Result};
use crate::node::ddl::{is_keyed_feed, relation_of};
use crate::node::engine_api::When;
use crate::node::sources;
use crate::plan;
use crate::sql::ast::{CreateRelation, Name, RelationKind, Statement, Text};
use crate::sql::semantics::constant;
use crate::sql::{parse, types};
use crate::types::ids::TableId;
use arrow::datatypes::{DataType, Schema};
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::{Expr, ExprSchemable, Volatility};
use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) async fn execute(context: &Context, statement: &Statement, create: &CreateRelation) -> Result<Outcome> {
    let tag = if create.kind == RelationKind::Source { "CREATE SOURCE" } else { "CREATE TABLE" };
    let schema = if create.temporary { temporary::schema_for(context, &create.name).await? } else { context.schema_for(&create.name)? };
    if let Some(outcome) = existing(context, &schema, &create.name, create.if_not_exists, tag).await? {
        return Ok(outcome);
    }
    let mut columns = columns(create)?;
    let primary_key = primary_key(create, &mut columns)?;
    check_clauses(create, &primary_key)?;
    check_expressions(context, create, &mut columns)?;
    let watermark = watermark(context, create, &columns)?;
    let feed = feed(context, create, &columns, &primary_key, watermark.clone()).await?;
    let body = match (create.kind, feed) {
        (RelationKind::Source, Some(feed)) => Body::Source(Source { columns, feed }),
        (RelationKind::Source, None) => return Err(Error::new(Kind::Syntax, "a source needs a connector").with_hint("add WITH (connector = '…')")),
        (RelationKind::Table, feed) => Body::Table(Table { columns, primary_key, append_only: create.append_only, watermark, feed, state: Vec::new() }),
    };
    let id = context.engine.allocate_object()?;
    let object = Object { path: context.path(), ..Object::new(id, schema, create.name.name.clone(), statement.text.clone(), body) };
    let (object, plan) = planned(context, object)?;
    context.create(object, plan, When::Built).await?;
    Ok(Outcome::command(tag))
}

/// A table's plan, and the object with the state tables that it was given.
pub(super) fn planned(context: &Context, mut object: Object) -> Result<(Object, Option<plan::ViewPlan>)> {
    if !matches!(object.body, Body::Table(_)) {
        return Ok((object, None));
    }
    let mut state = StateTables::new(context);
    let plan = table_plan(&object, &mut || state.next())?;
    let state = state.finish()?;
    if let Body::Table(table) = &mut object.body {
        table.state = state;
    }
    Ok((object, Some(plan)))
}

/// The plan of a table's own storage; at a restart `allocate` gives what it gave at CREATE.
pub(super) fn table_plan(object: &Object, allocate: &mut dyn FnMut() -> TableId) -> Result<plan::ViewPlan> {
    let mut relation = relation_of(object, None).ok_or_else(|| Error::internal(format!("\"{}\" is not a table", object.name)))?;
    relation.processing_time = sources::processing_time(object);
    plan::table(&relation, is_keyed_feed(object), allocate)
}

/// With `IF NOT EXISTS` and a taken name, the outcome is a notice.
pub(super) async fn existing(context: &Context, schema: &str, name: &Name, if_not_exists: bool, tag: &str) -> Result<Option<Outcome>> {
    if context.engine.catalog().find(schema, &name.name).is_some_and(|o| o.is_building()) {
        // It may be what a cancelled statement leaves behind for a moment.
        context.engine.settle().await?;
    }
    let catalog = context.engine.catalog();
    if catalog.find(schema, &name.name).is_none() {
        return Ok(None);
    }
    if !if_not_exists {
        return catalog.check_free(schema, &name.name).map(|()| None);
    }
    let notice = Error::new(Kind::DuplicateTable, format!("relation \"{}\" already exists, skipping", name.name));
    Ok(Some(Outcome::command(tag).notice(notice)))
}

fn columns(create: &CreateRelation) -> Result<Vec<Column>> {
    let mut columns: Vec<Column> = Vec::new();
    for def in &create.columns {
        if columns.iter().any(|c| c.name == def.name) {
            return Err(Error::new(Kind::DuplicateColumn, format!("column \"{}\" specified more than once", def.name)).at(def.position));
        }
        let (field, sql_type) = types::field(&def.name, &def.data_type).map_err(|e| e.at(def.type_position))?;
        if def.generated.is_some() && def.default.is_some() {
            let message = format!("both default and generation expression specified for column \"{}\" of table \"{}\"", def.name, create.name.name);
            return Err(Error::new(Kind::Syntax, message).at(def.position));
        }
        columns.push(Column {
            name: def.name.clone(),
            field: field.with_nullable(!def.not_null),
            sql_type,
            not_null: def.not_null,
            default: def.default.as_ref().map(|t| t.sql.clone()),
            generated: def.generated.as_ref().map(|t| t.sql.clone()),
            include: def.include.clone(),
        });
    }
    if columns.is_empty() {
        return Err(Error::not_supported("a relation without columns is not supported").at(create.name.position));
    }
    Ok(columns)
}

/// Ordinals of the key, whose columns become NOT NULL.
fn primary_key(create: &CreateRelation, columns: &mut [Column]) -> Result<Vec<usize>> {
    let mut key = Vec::new();
    for (name, position) in &create.primary_key {
        let Some(at) = columns.iter().position(|c| c.name == *name) else {
            return Err(Error::new(Kind::UndefinedColumn, format!("column \"{name}\" named in key does not exist")).at(*position));
        };
        if key.contains(&at) {
            return Err(Error::new(Kind::DuplicateColumn, format!("column \"{name}\" appears twice in primary key constraint")).at(*position));
        }
        if matches!(columns[at].field.data_type(), DataType::Struct(_) | DataType::List(_)) {
            return Err(Error::not_supported(format!("a primary key over type {} is not supported", columns[at].sql_type)).at(*position));
        }
        columns[at].not_null = true;
        columns[at].field = columns[at].field.clone().with_nullable(false);
        key.push(at);
    }
    Ok(key)
}

/// Clauses that do not go together.
fn check_clauses(create: &CreateRelation, primary_key: &[usize]) -> Result<()> {
    let source = create.kind == RelationKind::Source;
    let at = create.name.position;
    if source && !primary_key.is_empty() {
        return Err(Error::not_supported("a source has no primary key: it keeps no rows").with_hint("write CREATE TABLE … WITH (connector = …)").at(at));
    }
    if !source && create.append_only && !primary_key.is_empty() {
        return Err(Error::not_supported("an append-only table with a primary key is not supported").with_hint("drop APPEND ONLY or PRIMARY KEY").at(at));
    }
    if let Some(watermark) = &create.watermark
        && !source
        && !create.append_only
    {
        return Err(Error::not_supported("WATERMARK is for sources and append-only tables")
            .with_hint("add APPEND ONLY, or write CREATE SOURCE")
            .at(watermark.position));
    }
    let fed = create.with.contains_key("connector");
    if !fed && !create.with.is_empty() {
        let option = create.with.keys().next().map_or("", String::as_str);
        return Err(Error::new(Kind::InvalidParameter, format!("option \"{option}\" needs a connector")).with_hint("add connector = '…'").at(at));
    }
    if !fed && let Some(format) = &create.format {
        return Err(Error::new(Kind::Syntax, "FORMAT needs a connector").with_hint("add WITH (connector = '…')").at(format.position));
    }
    if !fed && let Some(column) = create.columns.iter().find(|c| c.include.is_some()) {
        return Err(Error::new(Kind::Syntax, "INCLUDE needs a connector").at(column.position));
    }
    if let Some(format) = &create.format
        && format.upsert
        && (source || primary_key.is_empty())
    {
        return Err(Error::new(Kind::InvalidObjectDefinition, "FORMAT UPSERT needs a table with a primary key")
            .with_hint("write CREATE TABLE with PRIMARY KEY")
            .at(format.position));
    }
    Ok(())
}

/// DEFAULT and generation expressions: bound, typed, and of their column's type.
fn check_expressions(context: &Context, create: &CreateRelation, columns: &mut [Column]) -> Result<()> {
    let base: Vec<_> = columns.iter().filter(|c| c.generated.is_none()).map(|c| c.field.clone()).collect();
    let base = DFSchema::try_from(Schema::new(base))?;
    for (def, column) in create.columns.iter().zip(columns) {
        if let Some(text) = &def.default {
            typed(context, text, &DFSchema::empty(), column, "DEFAULT")?;
        }
        if let Some(text) = &def.generated {
            let bound = typed(context, text, &base, column, "a generated column")?;
            if is_processing_time(&bound) {
                check_processing_time(create, text, column)?;
                column.generated = Some(PROCESSING_TIME.to_owned());
                continue;
            }
            check_immutable(&bound, text)?;
            // Stored with its cast, so that whoever evaluates it gets the column's type.
            column.generated = Some(format!("({})::{}", text.sql, cast_type(&column.sql_type)));
        }
    }
    Ok(())
}

/// `PROCTIME()` and nothing around it.
fn is_processing_time(bound: &Expr) -> bool {
    matches!(bound, Expr::ScalarFunction(call) if call.func.name() == "proctime")
}

fn check_processing_time(create: &CreateRelation, text: &Text, column: &Column) -> Result<()> {
    if !create.with.contains_key("connector") {
        return Err(Error::not_supported("PROCTIME() is for relations with a connector").with_hint("write DEFAULT now()").at(text.position));
    }
    if *column.field.data_type() != types::timestamptz() {
        let message = format!("column \"{}\" is of type {} but PROCTIME() is of type timestamp with time zone", column.name, column.sql_type);
        return Err(Error::new(Kind::DatatypeMismatch, message).at(text.position));
    }
    Ok(())
}

/// A generated column is a function of its row: after a restart it is computed again.
fn check_immutable(bound: &Expr, text: &Text) -> Result<()> {
    let unstable = |e: &Expr| matches!(e, Expr::ScalarFunction(call) if call.func.signature().volatility != Volatility::Immutable);
    if !bound.exists(|e| Ok(unstable(e))).map_err(crate::sql::errors::untranslated)? {
        return Ok(());
    }
    Err(Error::new(Kind::InvalidObjectDefinition, "generation expression is not immutable")
        .with_hint("PROCTIME() alone gives the time at which a row is taken in")
        .at(text.position))
}

/// The type as it is written in a cast.
fn cast_type(sql_type: &str) -> &str {
    if sql_type.starts_with("struct<") { "text" } else { sql_type }
}

fn typed(context: &Context, text: &Text, schema: &DFSchema, column: &Column, what: &str) -> Result<Expr> {
    let at = |e: Error| e.at(text.position);
    let catalog = context.engine.catalog();
    let scope = Scope::new(&catalog, &|_| None, Reader::Definition(context));
    let expr = context.binder.expression(&scope, parse::expression(&text.sql)?, schema).map_err(at)?;
    let (_, field) = expr.to_field(schema).map_err(crate::sql::errors::untranslated)?;
    let literal = matches!(expr, Expr::Literal(..));
    if let Expr::Literal(ScalarValue::Utf8(Some(value)), _) = &expr {
        constant(value, &super::assign::assigned_field(column)).map_err(crate::sql::errors::untranslated).map_err(at)?;
    }
    if !super::assign::assignable(&field, &column.field, literal) {
        let message = format!("column \"{}\" is of type {} but {what} is of type {}", column.name, column.sql_type, types::sql_type(&field));
        return Err(at(Error::new(Kind::DatatypeMismatch, message).with_hint("You will need to rewrite or cast the expression.")));
    }
    Ok(expr)
}

fn watermark(context: &Context, create: &CreateRelation, columns: &[Column]) -> Result<Option<Watermark>> {
    let Some(def) = &create.watermark else { return Ok(None) };
    let Some(column) = columns.iter().position(|c| c.name == def.column) else {
        return Err(Error::new(Kind::UndefinedColumn, format!("column \"{}\" does not exist", def.column)).at(def.position));
    };
    let time = columns[column].field.data_type();
    if !matches!(time, DataType::Timestamp(..)) {
        let message = format!("the watermark column \"{}\" must be a timestamp, not {}", def.column, columns[column].sql_type);
        return Err(Error::new(Kind::DatatypeMismatch, message).at(def.position));
    }
    let schema = DFSchema::try_from(Schema::new(columns.iter().map(|c| c.field.clone()).collect::<Vec<_>>()))?;
    let catalog = context.engine.catalog();
    let scope = Scope::new(&catalog, &|_| None, Reader::Definition(context));
    let at = |e: Error| e.at(def.expression.position);
    let expr = context.binder.expression(&scope, parse::expression(&def.expression.sql)?, &schema).map_err(at)?;
    let is = expr.get_type(&schema).map_err(crate::sql::errors::untranslated)?;
    if is != *time {
        return Err(at(Error::new(
            Kind::DatatypeMismatch,
            format!("the watermark must have the type of column \"{}\", {}", def.column, columns[column].sql_type),
        )));
    }
    Ok(Some(Watermark { column, expression: def.expression.sql.clone() }))
}

/// The checked connector, with where reading begins.
async fn feed(context: &Context, create: &CreateRelation, columns: &[Column], primary_key: &[usize], watermark: Option<Watermark>) -> Result<Option<Feed>> {
    let Some(connector) = create.with.get("connector") else { return Ok(None) };
    context.check_connector(connector, &create.with)?;
    let created_at = context.now;
    let mut options: BTreeMap<String, String> = create.with.iter().filter(|(name, _)| *name != "connector").map(|(n, v)| (n.clone(), v.clone())).collect();
    let format = create.format.as_ref().map(|f| Format { upsert: f.upsert, encode: f.encode.clone(), options: f.options.clone() });
    let read: Vec<&Column> = columns.iter().filter(|c| c.generated.is_none()).collect();
    let key: Vec<String> = primary_key.iter().map(|&i| columns[i].name.clone()).collect();
    let nothing = BTreeMap::new();
    let revealed = context.engine.revealed(&options)?;
    let request = SourceRequest {
        name: &create.name.name,
        connector,
        options: &revealed,
        encode: format.as_ref().map(|f| f.encode.as_str()),
        encode_options: format.as_ref().map_or(&nothing, |f| &f.options),
        upsert: format.as_ref().is_some_and(|f| f.upsert),
        primary_key: &key,
        declared: Arc::new(Schema::new(read.iter().map(|c| c.field.clone()).collect::<Vec<_>>())),
        not_null: read.iter().map(|c| c.not_null).collect(),
        metadata: read.iter().map(|c| c.include.as_ref().map(sources::metadata)).collect(),
        created_at,
    };
    let source = connectors::build(&request)?;
    // Asks the outside (a broker, a directory), so not on a thread that others wait for.
    let ask = move || source.start().map(|start| (start, source.pinned()));
    let (start, pinned) = tokio::task::spawn_blocking(ask).await.map_err(|e| Error::internal(format!("the connector panicked: {e}")))??;
    // What ties later readings to the same input: another topic of the same name is then an error.
    options.extend(pinned);
    Ok(Some(Feed { connector: connector.clone(), options, format, watermark, start, created_at }))
}
