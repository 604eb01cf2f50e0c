//! `INTERSECT ALL` and `EXCEPT ALL`: a row that the left side has m times and the right one n times is there min(m, n) or max(m − n, 0) times.
//!
//! DataFusion makes semi and anti joins of them, which count the left side's rows alone. Here they are written as a call in FROM before
//! binding, and planned as
//!
//! ```text
//! Projection(columns)
//!   Unnest(as many as remain)
//!     Projection(columns, series(1, least(m, n)) or series(1, m - n))
//!       Aggregate(columns, count(left) AS m, count(right) AS n)
//!         Union(left with a mark, right with a mark)
//! ```

use super::functions::series;
use super::names::SUFFIX;
use crate::error::{Error, Kind};
use crate::sql::functions::table::external;
use crate::sql::parse;
use datafusion::common::{Column, Result, ScalarValue, UnnestOptions};
use datafusion::functions_aggregate::count::count_udaf;
use datafusion::logical_expr::planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning};
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan, LogicalPlanBuilder, Projection, Union, lit, when};
use datafusion::sql::sqlparser::ast::{self, FunctionArg, FunctionArgExpr, Query, SetExpr, SetOperator, SetQuantifier, TableAlias, TableFactor};
use std::collections::HashSet;
use std::sync::Arc;

const INTERSECT: &str = "tw_intersect_all";
const EXCEPT: &str = "tw_except_all";
const LEFT: &str = "__left";
const RIGHT: &str = "__right";
const COPIES: &str = "__copies";

/// Set operations over duplicates in `body` as calls.
pub(super) fn rewrite(body: &mut SetExpr) {
    let SetExpr::SetOperation { left, right, .. } = body else { return };
    rewrite(left);
    rewrite(right);
    let SetExpr::SetOperation { op, set_quantifier: SetQuantifier::All, left, right } = body else { return };
    let name = match op {
        SetOperator::Intersect => INTERSECT,
        SetOperator::Except => EXCEPT,
        _ => return,
    };
    let Some(mut template) = parse::query(&format!("SELECT * FROM {name}((SELECT 0), (SELECT 0))")).ok() else { return };
    let SetExpr::Select(select) = template.body.as_mut() else { return };
    if let Some(TableFactor::Table { args: Some(arguments), .. }) = select.from.first_mut().map(|from| &mut from.relation) {
        for (argument, side) in arguments.args.iter_mut().zip([left, right]) {
            if let FunctionArg::Unnamed(FunctionArgExpr::Expr(ast::Expr::Subquery(query))) = argument {
                std::mem::swap(&mut query.body, side);
            }
        }
    }
    *body = SetExpr::Select(Box::new(select.as_ref().clone()));
}

/// Plans the calls.
#[derive(Debug)]
pub struct Multisets;

impl RelationPlanner for Multisets {
    fn plan_relation(&self, relation: TableFactor, context: &mut dyn RelationPlannerContext) -> Result<RelationPlanning> {
        let TableFactor::Table { name, args: Some(arguments), alias, .. } = &relation else { return Ok(RelationPlanning::Original(Box::new(relation))) };
        let name = super::names::function_name(name);
        if !matches!(name.as_deref(), Some(INTERSECT | EXCEPT)) {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        }
        let [left, right] = arguments.args.as_slice() else { return Err(external(Error::internal("a set operation without two sides"))) };
        let (left, right) = (side(left, context)?, side(right, context)?);
        let alias: Option<TableAlias> = alias.clone();
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(counted(left, right, name.as_deref() == Some(INTERSECT))?, alias))))
    }
}

fn side(argument: &FunctionArg, context: &mut dyn RelationPlannerContext) -> Result<LogicalPlan> {
    let FunctionArg::Unnamed(FunctionArgExpr::Expr(ast::Expr::Subquery(query))) = argument else {
        return Err(external(Error::internal("the side of a set operation is no query")));
    };
    let query: Box<Query> = query.clone();
    context.plan(TableFactor::Derived { lateral: false, subquery: query, alias: None, sample: None })
}

fn counted(left: LogicalPlan, right: LogicalPlan, least: bool) -> Result<LogicalPlan> {
    if left.schema().fields().len() != right.schema().fields().len() {
        let name = if least { "INTERSECT" } else { "EXCEPT" };
        return Err(external(Error::new(Kind::Syntax, format!("each {name} query must have the same number of columns"))));
    }
    let names = names(&left);
    let sides = vec![Arc::new(marked(left, &names, true)?), Arc::new(marked(right, &names, false)?)];
    let both = LogicalPlan::Union(Union::try_new_with_loose_types(sides)?);
    let of = |name: &str| Expr::Column(Column::new_unqualified(name));
    let columns: Vec<Expr> = names.iter().map(|n| of(n)).collect();
    let count = |name: &str| count_udaf().call(vec![of(name)]).alias(name);
    let counted = LogicalPlan::Aggregate(Aggregate::try_new(Arc::new(both), columns.clone(), vec![count(LEFT), count(RIGHT)])?);
    let (m, n) = (of(LEFT), of(RIGHT));
    let remain = if least { when(m.clone().lt(n.clone()), m).otherwise(n)? } else { m - n };
    let copies = series::series().call(vec![lit(1i64), remain]).alias(COPIES);
    let list = columns.iter().cloned().chain([copies]).collect();
    let repeated = LogicalPlan::Projection(Projection::try_new(list, Arc::new(counted))?);
    let options = UnnestOptions::new().with_preserve_nulls(false);
    LogicalPlanBuilder::from(repeated).unnest_column_with_options(COPIES, options)?.project(columns)?.build()
}

/// The columns under unqualified names, and a mark of the side.
fn marked(plan: LogicalPlan, names: &[String], is_left: bool) -> Result<LogicalPlan> {
    let mark = |there: bool| Expr::Literal(ScalarValue::Int64(there.then_some(1)), None);
    let columns = plan.schema().columns().into_iter().zip(names).map(|(column, name)| Expr::Column(column).alias(name));
    let list = columns.chain([mark(is_left).alias(LEFT), mark(!is_left).alias(RIGHT)]).collect();
    Ok(LogicalPlan::Projection(Projection::try_new(list, Arc::new(plan))?))
}

/// Names of the left side's columns, told apart.
fn names(plan: &LogicalPlan) -> Vec<String> {
    let mut taken = HashSet::new();
    let told = |(i, field): (usize, &arrow::datatypes::FieldRef)| {
        let name = field.name().clone();
        if taken.insert(name.clone()) { name } else { format!("{name}{SUFFIX}{i}") }
    };
    plan.schema().fields().iter().enumerate().map(told).collect()
}
