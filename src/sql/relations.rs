//! `TUMBLE(t, ts, size[, offset])` and `HOP(t, ts, slide, size[, offset])` in FROM: the columns of `t` plus `window_start` and `window_end`.
//!
//! ```text
//! TUMBLE  Projection(*, tw_window_start(ts, size, offset), tw_window_end(ts, size, offset))
//! HOP     Projection(*, tw_window_plus(window_start, size))
//!           Unnest(window_start)
//!             Projection(*, tw_hop_starts(ts, slide, size, offset) AS window_start)
//! ```

use super::functions::window::{HOP_STARTS, WINDOW_END, WINDOW_PLUS, WINDOW_START, micros, named};
use crate::catalog::catalog::PUBLIC;
use crate::error::{Error, Kind};
use crate::types::time::AS_OF_PROCTIME;
use datafusion::common::{Column, Result, ScalarValue, TableReference, UnnestOptions};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::sqlparser::ast::{self, FunctionArg, FunctionArgExpr, ObjectName, TableFactor};

const START: &str = "window_start";
const END: &str = "window_end";

/// See the module.
#[derive(Debug)]
pub struct Windows;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kinds {
    Tumble,
    Hop,
}

impl RelationPlanner for Windows {
    fn plan_relation(&self, relation: TableFactor, context: &mut dyn RelationPlannerContext) -> Result<RelationPlanning> {
        if let TableFactor::Table { version: Some(_), .. } = &relation {
            return as_of_proctime(relation, context);
        }
        let TableFactor::Table { name, alias, args: Some(arguments), .. } = &relation else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let kind = match name.0.as_slice() {
            [part] => match part.as_ident().map(|i| i.value.to_lowercase()).as_deref() {
                Some("tumble") => Kinds::Tumble,
                Some("hop") => Kinds::Hop,
                Some(other @ ("session" | "cumulate")) => {
                    let refusal = Error::not_supported(format!("{} windows are not supported", other.to_uppercase())).with_hint("windows are TUMBLE and HOP");
                    return Err(external(refusal));
                }
                _ => return Ok(RelationPlanning::Original(Box::new(relation))),
            },
            _ => return Ok(RelationPlanning::Original(Box::new(relation))),
        };
        let plan = window(kind, &arguments.args, context)?;
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias.clone()))))
    }
}

/// A relation as of processing time (no other version is let through by `parse::refuse`): its name says so to the planner. Under no other name it is what it was.
fn as_of_proctime(mut relation: TableFactor, context: &mut dyn RelationPlannerContext) -> Result<RelationPlanning> {
    let TableFactor::Table { name, alias, version, .. } = &mut relation else { return Ok(RelationPlanning::Original(Box::new(relation))) };
    *version = None;
    let Some(last) = name.0.last().and_then(|part| part.as_ident()).cloned() else { return Ok(RelationPlanning::Original(Box::new(relation))) };
    let schema = match name.0.as_slice() {
        [schema, _] => schema.as_ident().cloned().unwrap_or_else(|| ast::Ident::new(PUBLIC)),
        _ => ast::Ident::new(PUBLIC),
    };
    *name = ObjectName::from(vec![ast::Ident::with_quote('"', AS_OF_PROCTIME), schema, last.clone()]);
    let alias = alias.take().unwrap_or_else(|| ast::TableAlias { explicit: true, name: last, columns: Vec::new(), at: None });
    let plan = context.plan(relation)?;
    Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, Some(alias)))))
}

fn external(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

fn usage(kind: Kinds) -> DataFusionError {
    let usage = match kind {
        Kinds::Tumble => "TUMBLE(relation, time column, size[, offset])",
        Kinds::Hop => "HOP(relation, time column, slide, size[, offset])",
    };
    external(Error::new(Kind::UndefinedFunction, "wrong arguments for a window function").with_hint(format!("write {usage}")))
}

fn window(kind: Kinds, arguments: &[FunctionArg], context: &mut dyn RelationPlannerContext) -> Result<LogicalPlan> {
    let arguments: Vec<&ast::Expr> = arguments
        .iter()
        .map(|a| match a {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => Ok(e),
            _ => Err(usage(kind)),
        })
        .collect::<Result<_>>()?;
    let sizes = if kind == Kinds::Tumble { 1..=2 } else { 2..=3 };
    let [relation, time, rest @ ..] = arguments.as_slice() else { return Err(usage(kind)) };
    if !sizes.contains(&rest.len()) {
        return Err(usage(kind));
    }
    let input = context.plan(factor(relation).ok_or_else(|| usage(kind))?)?;
    let schema = input.schema().clone();
    let time = context.sql_to_expr((*time).clone(), &schema)?;
    let time_type = time.get_type(schema.as_ref())?;
    if !matches!(time_type, arrow::datatypes::DataType::Timestamp(..) | arrow::datatypes::DataType::Date32) {
        return Err(external(Error::new(Kind::DatatypeMismatch, "the time column of a window must be a timestamp")));
    }
    let mut intervals = Vec::new();
    for (i, size) in rest.iter().enumerate() {
        let is_offset = i + 1 == *sizes.end();
        intervals.push(interval(context.sql_to_expr((*size).clone(), &schema)?, is_offset)?);
    }
    // A column that the relation has already would make every mention of it ambiguous.
    if let Some(taken) = [START, END].iter().find(|name| schema.has_column_with_unqualified_name(name)) {
        let error = Error::new(Kind::DuplicateColumn, format!("column \"{taken}\" exists already in the relation")).with_hint("rename it in a subquery");
        return Err(external(error));
    }
    match kind {
        Kinds::Tumble => tumble(input, time, intervals),
        Kinds::Hop => hop(input, time, intervals),
    }
}

/// A relation given as an argument: a name, or a query in parentheses.
fn factor(argument: &ast::Expr) -> Option<TableFactor> {
    let name = match argument {
        ast::Expr::Identifier(ident) => ObjectName::from(vec![ident.clone()]),
        ast::Expr::CompoundIdentifier(parts) => ObjectName::from(parts.clone()),
        ast::Expr::Subquery(query) => return Some(TableFactor::Derived { lateral: false, subquery: query.clone(), alias: None, sample: None }),
        ast::Expr::Nested(inner) => return factor(inner),
        _ => return None,
    };
    Some(TableFactor::Table {
        name,
        alias: None,
        args: None,
        with_hints: vec![],
        version: None,
        with_ordinality: false,
        partitions: vec![],
        json_path: None,
        sample: None,
        index_hints: vec![],
    })
}

/// A constant interval, checked: a size is longer than nothing.
fn interval(expr: Expr, is_offset: bool) -> Result<Expr> {
    let literal = match &expr {
        // INTERVAL '…' is a cast of a text until types are resolved.
        Expr::Cast(cast) => cast.expr.as_ref(),
        other => other,
    };
    let Expr::Literal(value, _) = literal else {
        return Err(external(
            Error::new(Kind::InvalidParameter, "the size of a window must be a constant interval").with_hint("for instance INTERVAL '10 seconds'"),
        ));
    };
    let value = match value {
        ScalarValue::Utf8(Some(text)) => {
            let field = arrow::datatypes::Field::new("", arrow::datatypes::DataType::Interval(arrow::datatypes::IntervalUnit::MonthDayNano), true);
            match super::semantics::constant(text, &field)? {
                Expr::Literal(value, _) => value,
                _ => return Err(external(Error::internal("a constant that is none"))),
            }
        }
        other => other.cast_to(&arrow::datatypes::DataType::Interval(arrow::datatypes::IntervalUnit::MonthDayNano))?,
    };
    if micros(&value).map_err(external)? <= 0 && !is_offset {
        return Err(external(Error::new(Kind::InvalidParameter, "the size of a window must be greater than zero")));
    }
    Ok(Expr::Literal(value, None))
}

/// All columns, with the qualifiers they have.
fn columns(plan: &LogicalPlan) -> Vec<Expr> {
    plan.schema().columns().into_iter().map(Expr::Column).collect()
}

/// New columns belong to the relation, so that `bid.window_start` works like `bid.ts`; over joins they have no qualifier.
fn qualifier(plan: &LogicalPlan) -> Option<TableReference> {
    let mut qualifiers = plan.schema().iter().map(|(q, _)| q);
    let first = qualifiers.next()??.clone();
    qualifiers.all(|q| q == Some(&first)).then_some(first)
}

fn tumble(input: LogicalPlan, time: Expr, intervals: Vec<Expr>) -> Result<LogicalPlan> {
    let arguments: Vec<Expr> = std::iter::once(time).chain(intervals).collect();
    let relation = qualifier(&input);
    let mut list = columns(&input);
    list.push(named(WINDOW_START).call(arguments.clone()).alias_qualified(relation.clone(), START));
    list.push(named(WINDOW_END).call(arguments).alias_qualified(relation, END));
    LogicalPlanBuilder::from(input).project(list)?.build()
}

fn hop(input: LogicalPlan, time: Expr, intervals: Vec<Expr>) -> Result<LogicalPlan> {
    let relation = qualifier(&input);
    let size = intervals[1].clone();
    let arguments: Vec<Expr> = std::iter::once(time).chain(intervals).collect();
    let mut list = columns(&input);
    list.push(named(HOP_STARTS).call(arguments).alias_qualified(relation.clone(), START));
    let listed = Column::new(relation.clone(), START);
    let unnested =
        LogicalPlanBuilder::from(input).project(list)?.unnest_column_with_options(listed, UnnestOptions::new().with_preserve_nulls(false))?.build()?;
    // Unnesting takes the qualifier off the column: it is found by its place, the last, and given back to the relation.
    let mut list = columns(&unnested);
    let start = list.pop().ok_or_else(|| external(Error::internal("a window without columns")))?;
    list.push(start.clone().alias_qualified(relation.clone(), START));
    list.push(named(WINDOW_PLUS).call(vec![start, size]).alias_qualified(relation, END));
    LogicalPlanBuilder::from(unnested).project(list)?.build()
}
