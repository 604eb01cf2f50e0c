//! Windows in FROM: the columns of `t` plus `window_start` and `window_end`.
//! `TUMBLE(t, ts, size[, offset])`, `HOP(t, ts, slide, size[, offset])`, `CUMULATE(t, ts, step, size[, offset])`, `SESSION(t PARTITION BY k, ts, gap)`
//! (the parser writes the last one's keys as arguments: `SESSION(t, k, ts, gap)`).
//!
//! ```text
//! TUMBLE  Projection(*, tw_window_start(ts, size, offset), tw_window_end(ts, size, offset))
//! HOP     Projection(*, tw_window_plus(window_start, size))
//!           Unnest(window_start)
//!             Projection(*, tw_hop_starts(ts, slide, size, offset) AS window_start)
//! CUMULATE  the same with tw_cumulate_ends(…) AS window_end below and tw_cumulate_start(window_end, size, offset) above
//! SESSION Projection(*, window_start, window_end)
//!           Window(tw_session_start(ts, gap) and tw_session_end(ts, gap) OVER (PARTITION BY k ORDER BY ts))
//! ```

use super::functions::session_window;
use super::functions::table::external;
use super::functions::window::{CUMULATE_ENDS, CUMULATE_START, HOP_STARTS, WINDOW_END, WINDOW_PLUS, WINDOW_START, micros, named};
use crate::error::{Error, Kind};
use crate::types::time::AS_OF_PROCTIME;
use datafusion::common::{Column, Result, ScalarValue, TableReference, UnnestOptions};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, WindowFrame, WindowFunctionDefinition};
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
    Cumulate,
    Session,
}

impl Kinds {
    fn of(name: &str) -> Option<Kinds> {
        Some(match name.to_lowercase().as_str() {
            "tumble" => Kinds::Tumble,
            "hop" => Kinds::Hop,
            "cumulate" => Kinds::Cumulate,
            "session" => Kinds::Session,
            _ => return None,
        })
    }

    /// How many intervals it takes; the last one is an offset if it is one more than the least.
    fn intervals(self) -> std::ops::RangeInclusive<usize> {
        match self {
            Kinds::Tumble => 1..=2,
            Kinds::Hop | Kinds::Cumulate => 2..=3,
            Kinds::Session => 1..=1,
        }
    }
}

impl RelationPlanner for Windows {
    fn plan_relation(&self, relation: TableFactor, context: &mut dyn RelationPlannerContext) -> Result<RelationPlanning> {
        if let TableFactor::Table { version: Some(_), .. } = &relation {
            return as_of_proctime(relation, context);
        }
        let TableFactor::Table { name, alias, args: Some(arguments), .. } = &relation else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let [part] = name.0.as_slice() else { return Ok(RelationPlanning::Original(Box::new(relation))) };
        let Some(kind) = part.as_ident().and_then(|i| Kinds::of(&i.value)) else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let plan = window(kind, &arguments.args, context)?;
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias.clone()))))
    }
}

/// A relation as of processing time: its name says so to the planner. Under no other name it is what it was. (Other times are conditions of joins by now, see [`super::asof`].)
fn as_of_proctime(mut relation: TableFactor, context: &mut dyn RelationPlannerContext) -> Result<RelationPlanning> {
    let TableFactor::Table { name, alias, version, .. } = &mut relation else { return Ok(RelationPlanning::Original(Box::new(relation))) };
    if version.take().is_some_and(|v| !super::asof::is_proctime(&v)) {
        return Err(external(
            Error::not_supported("FOR SYSTEM_TIME AS OF in this place is not supported").with_hint("it stands on the right side of a join in FROM"),
        ));
    }
    let Some(last) = name.0.last().and_then(|part| part.as_ident()).cloned() else { return Ok(RelationPlanning::Original(Box::new(relation))) };
    let schema = match name.0.as_slice() {
        [schema, _] => schema.as_ident().cloned().unwrap_or_else(|| ast::Ident::with_quote('"', "")),
        _ => ast::Ident::with_quote('"', ""),
    };
    *name = ObjectName::from(vec![ast::Ident::with_quote('"', AS_OF_PROCTIME), schema, last.clone()]);
    let alias = alias.take().unwrap_or_else(|| ast::TableAlias { explicit: true, name: last, columns: Vec::new(), at: None });
    let plan = context.plan(relation)?;
    Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, Some(alias)))))
}

fn usage(kind: Kinds) -> DataFusionError {
    let usage = match kind {
        Kinds::Tumble => "TUMBLE(relation, time column, size[, offset])",
        Kinds::Hop => "HOP(relation, time column, slide, size[, offset])",
        Kinds::Cumulate => "CUMULATE(relation, time column, step, size[, offset])",
        Kinds::Session => "SESSION(relation PARTITION BY keys, time column, gap)",
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
    let [relation, rest @ ..] = arguments.as_slice() else { return Err(usage(kind)) };
    // Keys of a session come first.
    let keys = if kind == Kinds::Session { rest.len().saturating_sub(2) } else { 0 };
    let (keys, rest) = rest.split_at(keys);
    let [time, rest @ ..] = rest else { return Err(usage(kind)) };
    if !kind.intervals().contains(&rest.len()) {
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
        let is_offset = i + 1 > *kind.intervals().start();
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
        Kinds::Cumulate => cumulate(input, time, intervals),
        Kinds::Session => {
            let keys = keys.iter().flat_map(|key| listed(key)).map(|key| context.sql_to_expr(key.clone(), &schema)).collect::<Result<_>>()?;
            session(input, keys, time, intervals)
        }
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

/// The keys of `PARTITION BY (a, b)`.
fn listed(key: &ast::Expr) -> &[ast::Expr] {
    match key {
        ast::Expr::Tuple(keys) => keys,
        one => std::slice::from_ref(one),
    }
}

/// Each row once per window: `list` of the windows' `first` bound below, the other bound from it above.
fn listed_windows(input: LogicalPlan, first: &str, list: Expr, other: impl FnOnce(Expr) -> (Expr, &'static str)) -> Result<LogicalPlan> {
    let relation = qualifier(&input);
    let mut columns_below = columns(&input);
    columns_below.push(list.alias_qualified(relation.clone(), first));
    let listed = Column::new(relation.clone(), first);
    let unnested =
        LogicalPlanBuilder::from(input).project(columns_below)?.unnest_column_with_options(listed, UnnestOptions::new().with_preserve_nulls(false))?.build()?;
    // Unnesting takes the qualifier off the column: it is found by its place, the last, and given back to the relation.
    let mut list = columns(&unnested);
    let bound = list.pop().ok_or_else(|| external(Error::internal("a window without columns")))?;
    let (other, name) = other(bound.clone());
    let mut bounds = [bound.alias_qualified(relation.clone(), first), other.alias_qualified(relation, name)];
    if name == START {
        bounds.reverse();
    }
    list.extend(bounds);
    LogicalPlanBuilder::from(unnested).project(list)?.build()
}

fn hop(input: LogicalPlan, time: Expr, intervals: Vec<Expr>) -> Result<LogicalPlan> {
    let size = intervals[1].clone();
    let starts = named(HOP_STARTS).call(std::iter::once(time).chain(intervals).collect());
    listed_windows(input, START, starts, |start| (named(WINDOW_PLUS).call(vec![start, size]), END))
}

fn cumulate(input: LogicalPlan, time: Expr, intervals: Vec<Expr>) -> Result<LogicalPlan> {
    let length = |interval: &Expr| match interval {
        Expr::Literal(value, _) => micros(value).map_err(external),
        _ => Err(external(Error::internal("an interval that is no constant"))),
    };
    if length(&intervals[1])? % length(&intervals[0])? != 0 {
        let error = Error::new(Kind::InvalidParameter, "the size of a cumulating window must be a multiple of its step");
        return Err(external(error.with_hint("for instance CUMULATE(t, ts, INTERVAL '10 minutes', INTERVAL '1 hour')")));
    }
    let sizes = intervals[1..].to_vec();
    let ends = named(CUMULATE_ENDS).call(std::iter::once(time).chain(intervals).collect());
    listed_windows(input, END, ends, |end| (named(CUMULATE_START).call(std::iter::once(end).chain(sizes).collect()), START))
}

fn session(input: LogicalPlan, keys: Vec<Expr>, time: Expr, gap: Vec<Expr>) -> Result<LogicalPlan> {
    let relation = qualifier(&input);
    let order = vec![time.clone().sort(true, false)];
    let arguments: Vec<Expr> = std::iter::once(time).chain(gap).collect();
    let edges = session_window::functions().map(|function| {
        let mut call = WindowFunction::new(WindowFunctionDefinition::WindowUDF(function), arguments.clone());
        call.params.partition_by = keys.clone();
        call.params.order_by = order.clone();
        call.params.window_frame = WindowFrame::new(Some(false));
        Expr::from(call)
    });
    let width = input.schema().fields().len();
    let windowed = LogicalPlanBuilder::from(input).window(edges)?.build()?;
    let mut list = columns(&windowed);
    for (column, name) in list[width..].iter_mut().zip([START, END]) {
        *column = column.clone().alias_qualified(relation.clone(), name);
    }
    LogicalPlanBuilder::from(windowed).project(list)?.build()
}
