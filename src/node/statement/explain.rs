//! `EXPLAIN`: of a materialized view its bound plan, its incremental plan with state tables, and how its rows are kept; of
//! anything else the plan that DataFusion would run.

use super::scope::Scope;
use super::select::{Results, text_column, with_session_values};
use super::{Context, Outcome};
use crate::error::{Error, Result};
use crate::plan::{self, Request, ViewPlan};
use crate::sql::ast::{CreateView, Statement, StatementKind};
use crate::sql::bind::Parameters;
use crate::sql::errors::placed;
use crate::types::ids::TableId;
use arrow::datatypes::FieldRef;
use datafusion::logical_expr::LogicalPlan;

pub(super) fn shape() -> Vec<FieldRef> {
    vec![text_column("QUERY PLAN")]
}

pub(super) fn execute(context: &Context, statement: &Statement) -> Result<Outcome> {
    let text = match &statement.kind {
        StatementKind::CreateView(create) if create.materialized => view(context, statement, create)?,
        StatementKind::CreateView(create) => query(context, statement, &create.query)?,
        StatementKind::Query(select) => query(context, statement, select)?,
        _ => return Err(Error::not_supported("EXPLAIN of this statement is not supported").with_hint("EXPLAIN takes a query or CREATE MATERIALIZED VIEW")),
    };
    let rows: Vec<_> = text.lines().map(|line| vec![Some(line.to_owned())]).collect();
    Ok(Outcome::rows(Results::texts(shape(), &rows, "EXPLAIN")?))
}

fn query(context: &Context, statement: &Statement, query: &datafusion::sql::sqlparser::ast::Query) -> Result<String> {
    let bound = super::select::bind(context, statement, query, Parameters::Values(&[]))?;
    context.binder.explain(bound.plan, context.now)
}

fn view(context: &Context, statement: &Statement, create: &CreateView) -> Result<String> {
    let (bound, plan) = planned(context, statement, create)?;
    Ok(plan::explain_in_full(&bound, &plan))
}

/// The bound and the incremental plan of a view that is not made: numbers of its state tables are for show.
pub(super) fn planned(context: &Context, statement: &Statement, create: &CreateView) -> Result<(LogicalPlan, ViewPlan)> {
    let catalog = context.engine.catalog();
    let relation = |id| context.engine.relation(id);
    let scope = Scope::new(&catalog, &relation, None);
    let query = with_session_values(context, create.query.clone())?;
    let bound = context.binder.query(&scope, query, Parameters::Values(&[]), Some(&statement.source))?;
    let mut next = 0;
    let mut allocate = || {
        next += 1;
        TableId(next)
    };
    let plan = plan::incremental(Request { query: &bound.plan, emit_on_window_close: create.emit_on_window_close, allocate: &mut allocate })
        .map_err(|e| placed(e, &statement.source, create.query.as_ref()))?;
    Ok((bound.plan, plan))
}
