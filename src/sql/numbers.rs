//! Exact numbers beside floats, where DataFusion would make a numeric of both (and fail for NaN, Infinity and 1e300):
//!
//! | where | Postgres' rule | here |
//! | --- | --- | --- |
//! | `a op b`, `nullif(a, b)`, `BETWEEN`, an `IN` of one value, `CASE a WHEN b` | there is an operator of doubles | both are doubles |
//! | `CASE`, `coalesce`, `greatest`, `least`, `ARRAY[…]`, `IN` of several constants, `UNION`, `VALUES` | a common type | the widest float among them |
//!
//! So `r = 0.1` of a real is false for 0.1, and `r IN (0.1, 0.2)` is true.

use super::functions::table::external;
use super::semantics::{binary_expr, cast_expr};
use super::types::sql_type;
use crate::error::{Error, Kind};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, DFSchema, JoinType, NullEquality, Result, ScalarValue, TableReference};
use datafusion::logical_expr::expr::{Between, Case, Cast, InList, InSubquery};
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, Join, LogicalPlan, LogicalPlanBuilder, Operator, Subquery, Union};
use std::sync::Arc;

fn is_exact(data_type: &DataType) -> bool {
    data_type.is_integer() || data_type.is_decimal()
}

fn is_float(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Float32 | DataType::Float64)
}

/// The float that exact numbers among these types become; `None`: there is no float, or nothing else.
fn common<'t>(types: impl Iterator<Item = &'t DataType> + Clone) -> Option<DataType> {
    let widest = [DataType::Float64, DataType::Float32].into_iter().find(|f| types.clone().any(|t| t == f))?;
    types.clone().any(is_exact).then_some(widest)
}

fn types_of(exprs: &[Expr], schema: &DFSchema) -> Vec<DataType> {
    exprs.iter().map(|e| e.get_type(schema).unwrap_or(DataType::Null)).collect()
}

/// A number as this float. A literal is read as one, not divided into one.
fn as_float(expr: Expr, float: &DataType, schema: &DFSchema) -> Result<Expr> {
    match expr {
        Expr::Negative(inner) if matches!(*inner, Expr::Literal(ScalarValue::Decimal128(..), _)) => {
            Ok(Expr::Negative(Box::new(as_float(*inner, float, schema)?)))
        }
        other if other.get_type(schema)? == *float => Ok(other),
        other => Ok(cast_expr(Cast::new(Box::new(other), float.clone()), schema)?.data),
    }
}

/// Two operands: doubles, if one of them is a numeric or an integer and the other a float.
pub(super) fn operands(left: Expr, right: Expr, schema: &DFSchema) -> Result<(Expr, Expr)> {
    let types = [left.get_type(schema)?, right.get_type(schema)?];
    if common(types.iter()).is_none() {
        return Ok((left, right));
    }
    Ok((as_float(left, &DataType::Float64, schema)?, as_float(right, &DataType::Float64, schema)?))
}

/// Values that take one type.
pub(super) fn alike(exprs: Vec<Expr>, schema: &DFSchema) -> Result<Vec<Expr>> {
    let types = types_of(&exprs, schema);
    let Some(float) = common(types.iter()) else { return Ok(exprs) };
    let one = |(e, t): (Expr, &DataType)| if is_exact(t) { as_float(e, &float, schema) } else { Ok(e) };
    exprs.into_iter().zip(&types).map(one).collect()
}

/// `needle = ANY (array)`.
pub(super) fn element(array: Expr, needle: Expr, schema: &DFSchema) -> Result<(Expr, Expr)> {
    let DataType::List(item) = array.get_type(schema)? else { return Ok((array, needle)) };
    if common([item.data_type().clone(), needle.get_type(schema)?].iter()).is_none() {
        return Ok((array, needle));
    }
    let doubles = DataType::List(Arc::new(item.as_ref().clone().with_data_type(DataType::Float64)));
    let array = if *item.data_type() == DataType::Float64 { array } else { Expr::Cast(Cast::new(Box::new(array), doubles)) };
    Ok((array, as_float(needle, &DataType::Float64, schema)?))
}

/// Rows of VALUES.
pub(super) fn columns_alike(mut rows: Vec<Vec<Expr>>) -> Result<Vec<Vec<Expr>>> {
    let schema = DFSchema::empty();
    let width = rows.first().map_or(0, Vec::len);
    (0..width).try_for_each(|column| without_common_numeric(&mut rows, column))?;
    let types: Vec<Vec<DataType>> = rows.iter().map(|row| types_of(row, &schema)).collect();
    let floats: Vec<Option<DataType>> = (0..width).map(|c| common(types.iter().filter_map(|t| t.get(c)))).collect();
    let value = |(e, float): (Expr, &Option<DataType>)| match float {
        Some(float) if is_exact(&e.get_type(&schema)?) => as_float(e, float, &schema),
        _ => Ok(e),
    };
    rows.into_iter().map(|row| row.into_iter().zip(&floats).map(value).collect()).collect()
}

/// The planner has made floats and numerics of a column one numeric: they become again what was written.
fn without_common_numeric(rows: &mut [Vec<Expr>], column: usize) -> Result<()> {
    let schema = DFSchema::empty();
    let numeric = |e: &Expr| match e {
        Expr::Cast(cast) if cast.field.data_type().is_decimal() && cast.field.metadata().is_empty() => Some(cast.field.data_type().clone()),
        _ => None,
    };
    let of_float = |e: &Expr| matches!(e, Expr::Cast(cast) if cast.expr.get_type(&schema).is_ok_and(|t| is_float(&t)));
    let Some(made) = rows.iter().find_map(|row| row.get(column).filter(|e| of_float(e)).and_then(numeric)) else { return Ok(()) };
    for value in rows.iter_mut().filter_map(|row| row.get_mut(column)) {
        if numeric(value).as_ref() == Some(&made)
            && let Expr::Cast(cast) = value
        {
            *value = cast.expr.as_ref().clone();
        }
    }
    Ok(())
}

/// A join on pairs of keys (`USING`) of which one is a float and the other exact; `None`: it has none.
pub(super) fn join(join: &Join) -> Result<Option<LogicalPlan>> {
    if join.null_equality == NullEquality::NullEqualsNull && matches!(join.join_type, JoinType::LeftSemi | JoinType::LeftAnti) {
        return set_operation(join);
    }
    let (left, right) = (join.left.schema(), join.right.schema());
    let is_mixed = |(l, r): &(Expr, Expr)| Ok(common([l.get_type(left)?, r.get_type(right)?].iter()).is_some());
    if !join.on.iter().map(is_mixed).collect::<Result<Vec<_>>>()?.contains(&true) {
        return Ok(None);
    }
    let doubles = |pair: &(Expr, Expr)| match is_mixed(pair)? {
        true => Ok((as_float(pair.0.clone(), &DataType::Float64, left)?, as_float(pair.1.clone(), &DataType::Float64, right)?)),
        false => Ok(pair.clone()),
    };
    let on = join.on.iter().map(doubles).collect::<Result<_>>()?;
    Ok(Some(LogicalPlan::Join(Join { on, ..join.clone() })))
}

/// INTERSECT and EXCEPT, which the planner has made joins of all columns.
fn set_operation(join: &Join) -> Result<Option<LogicalPlan>> {
    let (left, right) = (join.left.schema().fields(), join.right.schema().fields());
    let floats: Vec<Option<DataType>> = left.iter().zip(right).map(|(l, r)| common([l.data_type(), r.data_type()].into_iter())).collect();
    if floats.iter().all(Option::is_none) || left.len() != right.len() {
        return Ok(None);
    }
    let (left, right) = (Arc::new(cast_columns(&join.left, &floats)?), Arc::new(cast_columns(&join.right, &floats)?));
    LogicalPlan::Join(Join { left, right, ..join.clone() }).recompute_schema().map(Some)
}

/// A union with floats and exact numbers in a column; `None`: it has none.
pub(super) fn union(union: &Union) -> Result<Option<LogicalPlan>> {
    let width = union.schema.fields().len();
    if union.inputs.iter().any(|input| input.schema().fields().len() != width) {
        return Ok(None);
    }
    let floats: Vec<Option<DataType>> = (0..width).map(|c| common(union.inputs.iter().map(|input| input.schema().field(c).data_type()))).collect();
    if floats.iter().all(Option::is_none) {
        return Ok(None);
    }
    let inputs = union.inputs.iter().map(|input| cast_columns(input, &floats).map(Arc::new)).collect::<Result<_>>()?;
    Ok(Some(LogicalPlan::Union(Union::try_new_with_loose_types(inputs)?)))
}

/// The plan with its exact columns as these floats.
fn cast_columns(plan: &LogicalPlan, floats: &[Option<DataType>]) -> Result<LogicalPlan> {
    let schema = plan.schema();
    let column = |((qualifier, field), float): ((Option<&TableReference>, &FieldRef), &Option<DataType>)| {
        let column = Expr::Column(Column::from((qualifier, field)));
        match float {
            Some(float) if is_exact(field.data_type()) => Ok(as_float(column, float, schema)?.alias_qualified(qualifier.cloned(), field.name())),
            _ => Ok(column),
        }
    };
    let list = schema.iter().zip(floats).map(column).collect::<Result<Vec<Expr>>>()?;
    LogicalPlanBuilder::from(plan.clone()).project(list)?.build()
}

fn compared(left: Expr, op: Operator, right: Expr, schema: &DFSchema) -> Result<Expr> {
    binary_expr(BinaryExpr { left: Box::new(left), op, right: Box::new(right) }, schema)
}

/// Each bound is compared by itself.
pub(super) fn between(between: Between, schema: &DFSchema) -> Result<Expr> {
    let Between { expr, low, high, negated } = between;
    let types = [&expr, &low, &high].map(|e| e.get_type(schema).unwrap_or(DataType::Null));
    if common(types.iter()).is_none() || expr.is_volatile() {
        return Ok(Expr::Between(Between { expr, low, high, negated }));
    }
    let (from, to, both): (_, _, fn(Expr, Expr) -> Expr) =
        if negated { (Operator::Lt, Operator::Gt, Expr::or) } else { (Operator::GtEq, Operator::LtEq, Expr::and) };
    Ok(both(compared(*expr.clone(), from, *low, schema)?, compared(*expr, to, *high, schema)?))
}

/// Several constants are an array of one type; other values are compared one by one. (DataFusion compares values of a list by their bits.)
pub(super) fn in_list(list: InList, schema: &DFSchema) -> Result<Expr> {
    let InList { expr, list, negated } = list;
    let all: Vec<Expr> = [expr.as_ref().clone()].into_iter().chain(list).collect();
    let types = types_of(&all, schema);
    let plain = !types.iter().any(is_float) || common(types.iter()).is_none() && !all[1..].iter().any(Expr::any_column_refs);
    if plain {
        return Ok(Expr::InList(InList { expr, list: all.into_iter().skip(1).collect(), negated }));
    }
    let (mut constants, mut single): (Vec<Expr>, Vec<Expr>) = all.into_iter().skip(1).partition(|e| !e.any_column_refs());
    if constants.len() == 1 {
        single.append(&mut constants);
    }
    let op = if negated { Operator::NotEq } else { Operator::Eq };
    let mut tests = single.into_iter().map(|e| compared(*expr.clone(), op, e, schema)).collect::<Result<Vec<_>>>()?;
    if !constants.is_empty() {
        let mut all = alike([*expr].into_iter().chain(constants).collect(), schema)?;
        let expr = Box::new(all.remove(0));
        tests.push(Expr::InList(InList { expr, list: all, negated }));
    }
    let tests = tests.into_iter().reduce(if negated { Expr::and } else { Expr::or });
    Ok(tests.unwrap_or_else(|| Expr::Literal(ScalarValue::Boolean(Some(negated)), None)))
}

/// `CASE a WHEN b` compares as `a = b` does, where DataFusion looks floats up by their bits.
pub(super) fn case(case: Case, schema: &DFSchema) -> Result<Expr> {
    let Case { expr, when_then_expr, else_expr } = case;
    if expr.is_none() {
        when_then_expr.iter().try_for_each(|(when, _)| condition(when, schema, "CASE/WHEN"))?;
    }
    let whens = when_then_expr.iter().map(|(when, _)| when.as_ref());
    let floats = expr.as_deref().into_iter().chain(whens).any(|e| e.get_type(schema).is_ok_and(|t| is_float(&t)));
    let by_conditions = expr.is_some() && floats && !expr.as_ref().is_some_and(|e| e.is_volatile());
    let (mut whens, mut results): (Vec<Expr>, Vec<Expr>) = when_then_expr.into_iter().map(|(when, then)| (*when, *then)).unzip();
    let has_else = else_expr.is_some();
    results.extend(else_expr.map(|e| *e));
    let mut results = alike(results, schema)?;
    let else_expr = if has_else { results.pop().map(Box::new) } else { None };
    let expr = match expr {
        Some(expr) if by_conditions => {
            whens = whens.into_iter().map(|when| compared(*expr.clone(), Operator::Eq, when, schema)).collect::<Result<_>>()?;
            None
        }
        other => other,
    };
    let when_then_expr = whens.into_iter().zip(results).map(|(when, then)| (Box::new(when), Box::new(then))).collect();
    Ok(Expr::Case(Case { expr, when_then_expr, else_expr }))
}

/// What stands where a boolean must. Error: it is a number (42804).
pub(super) fn condition(expr: &Expr, schema: &DFSchema, place: &str) -> Result<()> {
    // A chain of conditions has looked at its operands.
    if matches!(expr, Expr::BinaryExpr(b) if matches!(b.op, Operator::And | Operator::Or)) {
        return Ok(());
    }
    match expr.get_type(schema) {
        Ok(data_type) if data_type.is_numeric() => {
            let message = format!("argument of {place} must be type boolean, not type {}", sql_type(&Field::new("", data_type, true)));
            Err(external(Error::new(Kind::DatatypeMismatch, message)))
        }
        _ => Ok(()),
    }
}

pub(super) fn in_subquery(list: InSubquery, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let plan = &list.subquery.subquery;
    let types = [list.expr.get_type(schema).unwrap_or(DataType::Null), plan.schema().field(0).data_type().clone()];
    if common(types.iter()).is_none() {
        return Ok(Transformed::no(Expr::InSubquery(list)));
    }
    let double = [Some(DataType::Float64)];
    let cast = Subquery { subquery: Arc::new(cast_columns(plan, &double)?), ..list.subquery.clone() };
    let expr = Box::new(as_float(*list.expr, &DataType::Float64, schema)?);
    Ok(Transformed::yes(Expr::InSubquery(InSubquery { expr, subquery: cast, negated: list.negated })))
}
