//! Types of expressions as Postgres resolves them, before DataFusion coerces what is left:
//!
//! - a whole number is an `integer` if it fits, and takes the type of the column it meets;
//! - a quoted literal has no type until it meets one: `ts > '2024-01-01'`, `id = '5'` (22P02 if it is no such value);
//! - explicit casts, numeric division and differences of times are functions of ours (`functions::cast`, `functions::arithmetic`);
//! - a function's result that Postgres has no type for becomes the nearest ([`crate::sql::types::settled`]).

use super::functions::{arithmetic, cast};
use super::types::settled;
use crate::types::text::{TextStyle, parse_value};
use arrow::datatypes::{DataType, Field, FieldRef, IntervalUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::expr::{Between, Cast, InList};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{BinaryExpr, Case, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Operator};
use datafusion::optimizer::AnalyzerRule;

/// See the module. Doing it twice changes nothing.
#[derive(Debug)]
pub struct PostgresTypes;

impl AnalyzerRule for PostgresTypes {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(node).map(|t| t.data)
    }

    fn name(&self) -> &str {
        "postgres_types"
    }
}

fn node(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    match &plan {
        // Row counts are bigint, and must stay plain literals.
        LogicalPlan::Limit(_) => return Ok(Transformed::no(plan)),
        LogicalPlan::Values(values) => {
            let schema = DFSchema::empty();
            let rows: Vec<Vec<Expr>> = values
                .values
                .iter()
                .map(|row| row.iter().map(|e| expression(e.clone(), &schema).map(|t| t.data)).collect::<Result<_>>())
                .collect::<Result<_>>()?;
            return LogicalPlanBuilder::values(rows)?.build().map(Transformed::yes);
        }
        _ => {}
    }
    let schema = merge_schema(&plan.inputs());
    let names = NamePreserver::new(&plan);
    let rewritten = plan.map_expressions(|expr| {
        let name = names.save(&expr);
        Ok(expression(expr, &schema)?.update_data(|e| name.restore(e)))
    })?;
    // Children may have changed types even where this node's expressions have not.
    rewritten.map_data(LogicalPlan::recompute_schema)
}

/// One expression over columns of `schema`.
pub fn expression(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let rewritten = expr.transform_up(|e| {
        Ok(match e {
            Expr::BinaryExpr(binary) => Transformed::yes(binary_expr(binary, schema)?),
            Expr::Between(between) => Transformed::yes(between_expr(between, schema)?),
            Expr::InList(list) => Transformed::yes(in_list(list, schema)?),
            Expr::Case(case) => Transformed::yes(Expr::Case(case_expr(case))),
            Expr::Cast(cast) => cast_expr(cast, schema)?,
            Expr::ScalarFunction(call) => {
                let call = function(call, schema);
                settle(call, schema)?
            }
            other => Transformed::no(other),
        })
    })?;
    rewritten.map_data(|e| Ok(narrow_root(e)))
}

/// A whole number on its own (`SELECT 1`).
fn narrow_root(expr: Expr) -> Expr {
    match expr {
        Expr::Alias(mut alias) => {
            *alias.expr = narrow(*alias.expr);
            Expr::Alias(alias)
        }
        other => narrow(other),
    }
}

fn narrow(expr: Expr) -> Expr {
    match expr {
        Expr::Literal(ScalarValue::Int64(Some(v)), metadata) => match i32::try_from(v) {
            Ok(v) => Expr::Literal(ScalarValue::Int32(Some(v)), metadata),
            Err(_) => Expr::Literal(ScalarValue::Int64(Some(v)), metadata),
        },
        other => other,
    }
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

/// A literal takes the type of what it meets.
fn meet(literal: Expr, other: Option<&DataType>) -> Result<Expr> {
    match (&literal, other) {
        (Expr::Literal(ScalarValue::Int64(Some(_)), _), Some(DataType::Int64)) => Ok(literal),
        (Expr::Literal(ScalarValue::Int64(Some(_)), _), _) => Ok(narrow(literal)),
        (Expr::Literal(ScalarValue::Utf8(Some(text)), _), Some(data_type)) if !is_text(data_type) && has_literals(data_type) => {
            constant(text, &Field::new("", data_type.clone(), true))
        }
        _ => Ok(literal),
    }
}

/// Types that a quoted literal may become by what it meets.
fn has_literals(data_type: &DataType) -> bool {
    !matches!(data_type, DataType::Null | DataType::Struct(_) | DataType::Map(..) | DataType::Dictionary(..) | DataType::Duration(_))
        && !data_type.is_unsigned_integer()
}

/// The value that `text` is of a type.
pub fn constant(text: &str, field: &Field) -> Result<Expr> {
    let external = |e: crate::error::Error| DataFusionError::External(Box::new(e));
    let field = match field.data_type() {
        DataType::Interval(_) => field.clone().with_data_type(DataType::Interval(IntervalUnit::MonthDayNano)),
        DataType::Timestamp(..) => field.clone().with_data_type(settled(field.data_type())),
        _ => field.clone(),
    };
    let array = parse_value(&field, Some(text), &TextStyle::UTC).map_err(external)?;
    Ok(Expr::Literal(ScalarValue::try_from_array(&array, 0)?, None))
}

fn binary_expr(binary: BinaryExpr, schema: &DFSchema) -> Result<Expr> {
    let BinaryExpr { left, op, right } = binary;
    let (left_type, right_type) = (type_of(&left, schema), type_of(&right, schema));
    let is_quoted = |e: &Expr| matches!(e, Expr::Literal(ScalarValue::Utf8(_), _));
    let (mut left, mut right) = (*left, *right);
    if op == Operator::StringConcat {
        return Ok(Expr::BinaryExpr(BinaryExpr { left: Box::new(as_text(left, schema)?), op, right: Box::new(as_text(right, schema)?) }));
    }
    let meets = is_comparison(op) || is_arithmetic(op);
    if meets && !(is_quoted(&left) && is_quoted(&right)) {
        // timestamp ± '1 day': what a time meets in arithmetic is an interval.
        let partner = |t: &Option<DataType>| match t {
            Some(DataType::Timestamp(..) | DataType::Date32 | DataType::Time64(_)) if matches!(op, Operator::Plus | Operator::Minus) => {
                Some(DataType::Interval(IntervalUnit::MonthDayNano))
            }
            other => other.clone(),
        };
        if is_quoted(&left) || is_whole(&left) {
            left = meet(left, partner(&right_type).as_ref())?;
        }
        if is_quoted(&right) || is_whole(&right) {
            right = meet(right, partner(&left_type).as_ref())?;
        }
    }
    if let (Ok(l), Ok(r)) = (left.get_type(schema), right.get_type(schema)) {
        if let Some(function) = arithmetic::replacement(op, &l, &r) {
            return Ok(function.call(vec![left, right]));
        }
        if let Some(days) = date_arithmetic(&left, op, &right, &l, &r) {
            return Ok(days);
        }
    }
    Ok(Expr::BinaryExpr(BinaryExpr { left: Box::new(left), op, right: Box::new(right) }))
}

/// The type that an operand shows to the other: a whole number's is the smallest that holds it.
fn type_of(expr: &Expr, schema: &DFSchema) -> Option<DataType> {
    match expr {
        Expr::Literal(ScalarValue::Int64(Some(v)), _) => Some(if i32::try_from(*v).is_ok() { DataType::Int32 } else { DataType::Int64 }),
        other => other.get_type(schema).ok(),
    }
}

fn is_whole(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(ScalarValue::Int64(Some(_)), _))
}

fn is_comparison(op: Operator) -> bool {
    use Operator as O;
    matches!(op, O::Eq | O::NotEq | O::Lt | O::LtEq | O::Gt | O::GtEq | O::IsDistinctFrom | O::IsNotDistinctFrom)
}

fn is_arithmetic(op: Operator) -> bool {
    use Operator as O;
    matches!(op, O::Plus | O::Minus | O::Multiply | O::Divide | O::Modulo)
}

/// Dates count days: date - date is an integer, date ± integer a date.
fn date_arithmetic(left: &Expr, op: Operator, right: &Expr, left_type: &DataType, right_type: &DataType) -> Option<Expr> {
    let cast = |e: &Expr, t: DataType| Expr::Cast(Cast::new(Box::new(e.clone()), t));
    let days = |e: &Expr| cast(e, DataType::Int32);
    let compute = |l: Expr, r: Expr| Expr::BinaryExpr(BinaryExpr { left: Box::new(l), op, right: Box::new(r) });
    match (left_type, right_type, op) {
        (DataType::Date32, DataType::Date32, Operator::Minus) => Some(compute(days(left), days(right))),
        (DataType::Date32, t, Operator::Plus | Operator::Minus) if t.is_signed_integer() => Some(cast(&compute(days(left), days(right)), DataType::Date32)),
        (t, DataType::Date32, Operator::Plus) if t.is_signed_integer() => Some(cast(&compute(days(left), days(right)), DataType::Date32)),
        _ => None,
    }
}

/// `||` joins texts: what is none is printed first, unless it is an array.
fn as_text(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    let Ok((_, from)) = expr.to_field(schema) else { return Ok(expr) };
    if is_text(from.data_type()) || matches!(from.data_type(), DataType::Null | DataType::List(_) | DataType::LargeList(_)) {
        return Ok(expr);
    }
    let text: FieldRef = Field::new("text", DataType::Utf8, true).into();
    Ok(cast::call(narrow(expr), &from, &text).unwrap_or_else(|e| e))
}

fn between_expr(between: Between, schema: &DFSchema) -> Result<Expr> {
    let data_type = type_of(&between.expr, schema);
    let low = meet(*between.low, data_type.as_ref())?;
    let high = meet(*between.high, data_type.as_ref())?;
    Ok(Expr::Between(Between { expr: Box::new(narrow(*between.expr)), low: Box::new(low), high: Box::new(high), negated: between.negated }))
}

fn in_list(list: InList, schema: &DFSchema) -> Result<Expr> {
    let data_type = type_of(&list.expr, schema);
    let items = list.list.into_iter().map(|e| meet(e, data_type.as_ref())).collect::<Result<_>>()?;
    Ok(Expr::InList(InList { expr: Box::new(narrow(*list.expr)), list: items, negated: list.negated }))
}

fn case_expr(mut case: Case) -> Case {
    for (_, then) in &mut case.when_then_expr {
        **then = narrow(std::mem::take(then.as_mut()));
    }
    if let Some(otherwise) = &mut case.else_expr {
        **otherwise = narrow(std::mem::take(otherwise.as_mut()));
    }
    case
}

fn cast_expr(cast: Cast, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let Ok((_, from)) = cast.expr.to_field(schema) else { return Ok(Transformed::no(Expr::Cast(cast))) };
    if let Expr::Literal(ScalarValue::Utf8(Some(text)), _) = cast.expr.as_ref()
        && !is_text(cast.field.data_type())
        && has_literals(cast.field.data_type())
    {
        return constant(text, &cast.field).map(Transformed::yes);
    }
    let Cast { expr, field } = cast;
    Ok(match cast::call(*expr, &from, &field) {
        Ok(call) => Transformed::yes(call),
        Err(expr) => Transformed::no(Expr::Cast(Cast { expr: Box::new(expr), field })),
    })
}

/// Functions whose result has the type of their arguments see `integer` literals, and those whose scale is an argument see it before coercion
/// hides it in a cast; for the others the coercion decides.
fn function(mut call: datafusion::logical_expr::expr::ScalarFunction, _schema: &DFSchema) -> Expr {
    if matches!(call.func.name(), "coalesce" | "nullif" | "greatest" | "least" | "abs" | "make_array" | "pg_typeof" | "round" | "trunc") {
        call.args = call.args.into_iter().map(narrow).collect();
    }
    Expr::ScalarFunction(call)
}

/// A result that Postgres has no type for is cast to the nearest.
fn settle(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let Ok(data_type) = expr.get_type(schema) else { return Ok(Transformed::no(expr)) };
    let nearest = settled(&data_type);
    if nearest == data_type || matches!(data_type, DataType::Null | DataType::List(_)) {
        return Ok(Transformed::no(expr));
    }
    Ok(Transformed::yes(Expr::Cast(Cast::new(Box::new(expr), nearest))))
}
