//! `CREATE INDEX`: a copy of a table's or a materialized view's rows under another key, planned like a view of it and built in the background; the statement
//! returns when it is complete.

use super::create_relation::existing;
use super::create_view::refuse_isolated;
use super::target::find_relation;
use super::{Context, Outcome, StateTables};
use crate::catalog::catalog::Catalog;
use crate::catalog::object::{Body, Index, IndexColumn, Object};
use crate::error::{Error, Kind, Result};
use crate::node::engine_api::When;
use crate::plan::{self, Relation, ViewPlan};
use crate::sql::ast::{self, CreateIndex, Name, Statement};
use crate::types::ids::TableId;
use crate::types::key::Order;

const TAG: &str = "CREATE INDEX";

pub(super) async fn execute(context: &Context, statement: &Statement, create: &CreateIndex) -> Result<Outcome> {
    let base = find_relation(context, &create.on)?;
    if let Some(name) = &create.name {
        check_schema(name, &base)?;
        context.check_create_in(&base.schema)?;
        if let Some(outcome) = existing(context, &base.schema, name, create.if_not_exists, TAG).await? {
            return Ok(outcome);
        }
    }
    check_base(&base, &create.on)?;
    context.check_owner(&base)?;
    refuse_isolated(context, "an index", &create.on, &[base.id])?;
    let not_ready = || Error::new(Kind::NotReady, format!("{} \"{}\" is still being built", base.kind_name(), base.name)).at(create.on.position);
    let relation = context.engine.relation(base.id).ok_or_else(not_ready)?;
    let key = create.columns.iter().map(|c| key_column(&base, c)).collect::<Result<Vec<_>>>()?;
    let include = match &create.include {
        Some(list) => Some(list.iter().map(|(name, position)| ordinal(&base, name, *position)).collect::<Result<Vec<_>>>()?),
        None => None,
    };
    let mut index = Index { on: base.id, key, include, state: Vec::new(), plan: String::new(), building: true };
    let mut state = StateTables::new(context);
    let plan = index_plan(&index, &relation, &mut || state.next())?;
    (index.state, index.plan) = (state.finish()?, plan::explain(&plan));
    let name = create.name.as_ref().map_or_else(|| free_name(&context.engine.catalog(), &base.schema, create), |n| n.name.clone());
    let id = context.engine.allocate_object()?;
    let object =
        Object { depends_on: vec![base.id], path: context.path(), ..Object::new(id, base.schema.clone(), name, statement.text.clone(), Body::Index(index)) };
    let answer = if context.settings.is_on("background_ddl") { When::Begun } else { When::Built };
    context.create(object, Some(plan), answer).await?;
    Ok(Outcome::command(TAG))
}

/// The plan of an index over the relation it is on; at a restart it must come out the same.
pub(super) fn index_plan(index: &Index, relation: &Relation, allocate: &mut dyn FnMut() -> TableId) -> Result<ViewPlan> {
    let key: Vec<(usize, Order)> = index.key.iter().map(|c| (c.column, Order { descending: c.descending, nulls_first: c.nulls_first })).collect();
    plan::index::index(relation, &key, index.include.as_deref(), allocate)
}

/// An index stands in the schema of what it is on.
fn check_schema(name: &Name, base: &Object) -> Result<()> {
    match &name.schema {
        Some(schema) if *schema != base.schema => {
            let message = format!("index \"{}\" cannot stand in another schema than \"{}\"", name.name, base.name);
            Err(Error::new(Kind::Syntax, message).with_hint("write its name without a schema").at(name.position))
        }
        _ => Ok(()),
    }
}

fn check_base(base: &Object, name: &Name) -> Result<()> {
    let hint = match &base.body {
        Body::Table(_) | Body::MaterializedView(_) => return Ok(()),
        Body::Source(_) => "a source keeps no rows: create a materialized view over it, and an index on that",
        Body::View(_) => "a view keeps no rows: make it a materialized view",
        _ => "create the index on the relation itself",
    };
    let message = format!("cannot create index on relation \"{}\"", base.name);
    let detail = format!("This operation is not supported for {}s.", base.kind_name());
    Err(Error::new(Kind::WrongObjectType, message).with_detail(detail).with_hint(hint).at(name.position))
}

fn key_column(base: &Object, column: &ast::IndexColumn) -> Result<IndexColumn> {
    let ordinal = ordinal(base, &column.name, column.position)?;
    let data_type = base.columns()[ordinal].field.data_type();
    if data_type.is_nested() {
        let message = format!("an index on column \"{}\" of type {} is not supported", column.name, base.columns()[ordinal].sql_type);
        return Err(Error::not_supported(message).with_hint("create a materialized view with the part that is searched for as a column").at(column.position));
    }
    Ok(IndexColumn { column: ordinal, descending: column.descending, nulls_first: column.nulls_first })
}

fn ordinal(base: &Object, name: &str, position: usize) -> Result<usize> {
    let undefined = || Error::new(Kind::UndefinedColumn, format!("column \"{name}\" does not exist")).at(position);
    base.columns().iter().position(|c| c.name == name).ok_or_else(undefined)
}

/// As Postgres names them: `t_a_b_idx`, `t_a_b_idx1`, …
fn free_name(catalog: &Catalog, schema: &str, create: &CreateIndex) -> String {
    let parts: Vec<&str> = std::iter::once(create.on.name.as_str()).chain(create.columns.iter().map(|c| c.name.as_str())).chain(["idx"]).collect();
    let stem = parts.join("_");
    let numbered = (1..).map(|n| format!("{stem}{n}"));
    std::iter::once(stem.clone()).chain(numbered).find(|name| catalog.find(schema, name).is_none()).expect("numbers do not end")
}
