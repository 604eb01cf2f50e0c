//! Types of expressions as Postgres resolves them, before DataFusion coerces what is left:
//!
//! - a whole number is an `integer` if it fits, and takes the type of the column it meets;
//! - a numeric that meets a float is a float ([`super::numbers`]);
//! - a quoted literal has no type until it meets one: `ts > '2024-01-01'`, `id = '5'` (22P02 if it is no such value);
//! - explicit casts, numeric division and differences of times are functions of ours (`functions::cast`, `functions::arithmetic`);
//! - a function's result that Postgres has no type for becomes the nearest ([`crate::sql::types::settled`]).

use super::functions::table::{Argument, Table, external};
use super::functions::{arithmetic, bytes, cast, interval, lists};
use super::marks;
use super::numbers;
use super::operators::{is_jsonb, no_operator};
use super::style;
use super::types::{self, TIMESTAMP, settled};
use crate::error::Error;
use crate::types::text::decimal::{Literal, write_decimal128};
use crate::types::text::{TYPE_KEY, TYPMOD_KEY, is_vector, parse_value};
use arrow::datatypes::{DataType, Field, FieldRef, IntervalUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::metadata::FieldMetadata;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::{Between, Cast, InList, Placeholder, ScalarFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    BinaryExpr, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Operator, WindowFrame, WindowFrameBound, WindowFrameUnits, when,
};
use datafusion::optimizer::AnalyzerRule;
use std::collections::BTreeMap;

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
            // A column's mark (of a length, say) is on all of its values.
            let marked = |(column, e): (usize, &Expr)| -> Result<Expr> {
                let mark = values.schema.field(column).metadata();
                Ok(match expression(e.clone(), &schema)?.data {
                    Expr::Literal(value, None) if !mark.is_empty() => Expr::Literal(value, Some(FieldMetadata::from(mark.clone()))),
                    other => other,
                })
            };
            let rows: Vec<Vec<Expr>> = values.values.iter().map(|row| row.iter().enumerate().map(marked).collect::<Result<_>>()).collect::<Result<_>>()?;
            return LogicalPlanBuilder::values(numbers::columns_alike(rows)?)?.build().map(Transformed::yes);
        }
        LogicalPlan::Join(join) => {
            if let Some(join) = numbers::join(join)? {
                return node(join).map(|t| Transformed::yes(t.data));
            }
        }
        LogicalPlan::Union(union) => {
            if let Some(union) = numbers::union(union)? {
                return Ok(Transformed::yes(union));
            }
        }
        _ => {}
    }
    let schema = merge_schema(&plan.inputs());
    let names = NamePreserver::new(&plan);
    let rewritten = plan.map_expressions(|expr| {
        let name = names.save(&expr);
        let typed = expression(expr, &schema)?.transform_data(|e| e.transform_up(|e| Ok(peers(e, &schema))))?;
        Ok(typed.update_data(|e| name.restore(e)))
    })?;
    // Children may have changed types even where this node's expressions have not.
    rewritten.map_data(LogicalPlan::recompute_schema)
}

/// One expression over columns of `schema`.
pub fn expression(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    expr.transform_up(|e| {
        Ok(match e {
            Expr::Literal(ScalarValue::Int64(Some(_)), _) => Transformed::yes(narrow(e)),
            Expr::BinaryExpr(binary) => Transformed::yes(binary_expr(binary, schema)?),
            Expr::Between(between) => Transformed::yes(between_expr(between, schema)?),
            Expr::InList(list) => Transformed::yes(in_list(list, schema)?),
            Expr::Case(case) => Transformed::yes(marks::marked(numbers::case(case, schema)?, schema)?),
            Expr::InSubquery(list) => numbers::in_subquery(list, schema)?,
            Expr::Cast(cast) => cast_expr(cast, schema)?,
            Expr::Negative(inner) if matches!(inner.get_type(schema), Ok(DataType::Interval(_))) => Transformed::yes(interval::negate().call(vec![*inner])),
            // A tree may come here more than once.
            again if cast::is_same(&again) => match again {
                Expr::ScalarFunction(mut call) if call.args.first().is_some_and(cast::is_same) => Transformed::yes(call.args.remove(0)),
                once => Transformed::no(once),
            },
            Expr::ScalarFunction(mut call) => {
                if let Some(marked) = lists::function(call.func.name()) {
                    call.func = marked;
                }
                let call = function(call, schema)?;
                settle(marks::marked(call, schema)?, schema)?
            }
            other => Transformed::no(other),
        })
    })
}

/// A RANGE frame that measures no distance counts groups of peers, which exist for every type; DataFusion takes RANGE for numbers and times only.
fn peers(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let Expr::WindowFunction(mut function) = expr else { return Transformed::no(expr) };
    let frame = &function.params.window_frame;
    let near = |bound: &WindowFrameBound| bound.is_unbounded() || *bound == WindowFrameBound::CurrentRow;
    let is_plain = |t: DataType| t.is_numeric() || is_text(&t) || matches!(t, DataType::Boolean | DataType::Date32 | DataType::Timestamp(..));
    let odd = function.params.order_by.first().and_then(|sort| sort.expr.get_type(schema).ok()).is_some_and(|t| !is_plain(t));
    if !odd || frame.units != WindowFrameUnits::Range || !near(&frame.start_bound) || !near(&frame.end_bound) {
        return Transformed::no(Expr::WindowFunction(function));
    }
    function.params.window_frame = WindowFrame::new_bounds(WindowFrameUnits::Groups, frame.start_bound.clone(), frame.end_bound.clone());
    Transformed::yes(Expr::WindowFunction(function))
}

/// A whole number is an integer if it fits.
pub fn narrow(expr: Expr) -> Expr {
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

/// `'{a,b}'` that a value is looked for in is an array of its type.
fn meet_items(array: Expr, needle: &Expr, schema: &DFSchema) -> Result<Expr> {
    match (&array, needle.get_type(schema)) {
        (Expr::Literal(ScalarValue::Utf8(Some(text)), _), Ok(item)) if has_literals(&item) => {
            let list = DataType::List(Field::new("item", item, true).into());
            let value = parse_value(&Field::new("", list, true), Some(text), &style::current()).map_err(external)?;
            Ok(Expr::Literal(ScalarValue::try_from_array(&value, 0)?, None))
        }
        (Expr::Placeholder(placeholder), Ok(item)) if placeholder.field.is_none() && !item.is_null() => {
            let list = Field::new("", DataType::List(Field::new("item", item, true).into()), true);
            Ok(Expr::Placeholder(Placeholder { id: placeholder.id.clone(), field: Some(list.into()) }))
        }
        _ => Ok(array),
    }
}

/// A quoted literal takes the type of what it meets.
fn meet(literal: Expr, other: Option<&DataType>) -> Result<Expr> {
    match (&literal, other) {
        (Expr::Literal(ScalarValue::Utf8(Some(text)), _), Some(data_type)) if !is_text(data_type) && has_literals(data_type) => {
            constant(text, &types::literal_field(data_type))
        }
        _ => Ok(literal),
    }
}

/// Types that a quoted literal may become by what it meets.
fn has_literals(data_type: &DataType) -> bool {
    !matches!(data_type, DataType::Null | DataType::Struct(_) | DataType::Map(..) | DataType::Dictionary(..) | DataType::Duration(_))
        && !data_type.is_unsigned_integer()
}

/// The value that `text` is of a type. A bigint stays a cast, for on its own a small one would be an integer.
pub fn constant(text: &str, field: &Field) -> Result<Expr> {
    let field = match field.data_type() {
        DataType::Interval(_) => field.clone().with_data_type(DataType::Interval(IntervalUnit::MonthDayNano)),
        DataType::Timestamp(..) => field.clone().with_data_type(settled(field.data_type())),
        DataType::Decimal128(..) if types::is_any_numeric(field) => match exact(text) {
            Some(value) => return Ok(Expr::Literal(value, None)),
            None => Field::new("", types::NUMERIC, true),
        },
        _ => field.clone(),
    };
    let array = parse_value(&field, Some(text), &style::current()).map_err(external)?;
    let marks = field.metadata().iter().filter(|(key, _)| field.data_type().is_nested() && [TYPE_KEY, TYPMOD_KEY].contains(&key.as_str()));
    let marks: BTreeMap<String, String> = marks.map(|(k, v)| (k.clone(), v.clone())).collect();
    let literal = Expr::Literal(ScalarValue::try_from_array(&array, 0)?, (!marks.is_empty()).then(|| FieldMetadata::from(marks)));
    Ok(match field.data_type() {
        DataType::Int64 => Expr::Cast(Cast::new(Box::new(literal), DataType::Int64)),
        _ => literal,
    })
}

/// A numeric with just the digits that were written.
fn exact(text: &str) -> Option<ScalarValue> {
    let literal = Literal::parse(text).ok()?;
    let scale = i8::try_from(literal.scale()).ok().filter(|s| *s <= 38)?;
    let value = literal.unscaled::<i128>(i64::from(scale))?;
    let digits = value.unsigned_abs().checked_ilog10().map_or(1, |d| d + 1).max(scale.unsigned_abs().into());
    (digits <= 38).then(|| ScalarValue::Decimal128(Some(value), digits as u8, scale))
}

fn is_quoted(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(ScalarValue::Utf8(_), _))
}

/// What a quoted literal becomes beside a time: added it is an interval; subtracted it is of the time's own type, if it reads so.
fn beside_time(literal: Expr, op: Operator, time: &DataType) -> Result<Expr> {
    let interval = DataType::Interval(IntervalUnit::MonthDayNano);
    match op {
        Operator::Minus => meet(literal.clone(), Some(time)).or_else(|error| meet(literal, Some(&interval)).map_err(|_| error)),
        _ => meet(literal, Some(&interval)),
    }
}

/// An operator with its operands as Postgres types them. Doing it twice changes nothing.
pub fn binary_expr(binary: BinaryExpr, schema: &DFSchema) -> Result<Expr> {
    let BinaryExpr { left, op, right } = binary;
    let (mut left, mut right) = (*left, *right);
    if op == Operator::StringConcat {
        return concatenation(left, right, schema);
    }
    let (left_type, right_type) = (left.get_type(schema).ok(), right.get_type(schema).ok());
    if (is_comparison(op) || is_arithmetic(op)) && !(is_quoted(&left) && is_quoted(&right)) {
        let is_time = |t: &DataType| matches!(t, DataType::Timestamp(..) | DataType::Date32 | DataType::Time64(_));
        let sum = matches!(op, Operator::Plus | Operator::Minus);
        if is_quoted(&right) {
            right = match &left_type {
                Some(time) if sum && is_time(time) => beside_time(right, op, time)?,
                other => meet(right, other.as_ref())?,
            };
        } else if is_quoted(&left) {
            left = match &right_type {
                Some(time) if sum && is_time(time) => beside_time(left, op, time)?,
                other => meet(left, other.as_ref())?,
            };
        } else if is_comparison(op) && (is_other(&left_type, &left, &right_type, schema) || is_other(&right_type, &right, &left_type, schema)) {
            return Err(no_operator(&left, &op, &right, schema));
        }
    }
    if left.get_type(schema).is_err() || right.get_type(schema).is_err() {
        return Ok(Expr::BinaryExpr(BinaryExpr { left: Box::new(left), op, right: Box::new(right) }));
    }
    let (left, right) = numbers::operands(left, right, schema)?;
    let (left_type, right_type) = (left.get_type(schema)?, right.get_type(schema)?);
    if let Some(function) = arithmetic::replacement(op, &left_type, &right_type) {
        return Ok(function.call(vec![left, right]));
    }
    let (left, right) = (Box::new(left), Box::new(right));
    Ok(match time_arithmetic(left, op, right, &left_type, &right_type) {
        Ok(expr) => expr,
        Err((left, right)) => Expr::BinaryExpr(BinaryExpr { left, op, right }),
    })
}

/// A text that is compared with a value of another kind, which Postgres does not convert by itself.
fn is_other(text: &Option<DataType>, expr: &Expr, other: &Option<DataType>, schema: &DFSchema) -> bool {
    let (Some(text), Some(other)) = (text, other) else { return false };
    let kind = other.is_numeric() || other.is_temporal() || matches!(other, DataType::Boolean | DataType::Interval(_) | DataType::FixedSizeBinary(_));
    is_text(text) && kind && !matches!(expr, Expr::Placeholder(_)) && !is_jsonb(expr, schema)
}

type Operands = (Box<Expr>, Box<Expr>);

/// Operators over dates and intervals whose types differ from DataFusion's; the operands come back if there is none.
fn time_arithmetic(left: Box<Expr>, op: Operator, right: Box<Expr>, left_type: &DataType, right_type: &DataType) -> std::result::Result<Expr, Operands> {
    use DataType as D;
    if let Some(days) = date_arithmetic(&left, op, &right, left_type, right_type) {
        return Ok(days);
    }
    let timestamp = |date: Box<Expr>| Box::new(Expr::Cast(Cast::new(date, TIMESTAMP)));
    let order = |e: Box<Expr>| Box::new(interval::order().call(vec![*e]));
    let (left, right) = match (left_type, op, right_type) {
        (D::Interval(_), Operator::Multiply, t) if t.is_numeric() => return Ok(interval::multiply().call(vec![*left, *right])),
        (t, Operator::Multiply, D::Interval(_)) if t.is_numeric() => return Ok(interval::multiply().call(vec![*right, *left])),
        (D::Interval(_), Operator::Divide, t) if t.is_numeric() => return Ok(interval::divide().call(vec![*left, *right])),
        (D::Interval(_), op, D::Interval(_)) if is_comparison(op) => (order(left), order(right)),
        (D::Date32, Operator::Plus | Operator::Minus, D::Interval(_)) => (timestamp(left), right),
        (D::Interval(_), Operator::Plus, D::Date32) => (left, timestamp(right)),
        _ => return Err((left, right)),
    };
    Ok(Expr::BinaryExpr(BinaryExpr { left, op, right }))
}

/// `||` joins texts, with the other side printed, and bytes; arrays are DataFusion's.
fn concatenation(left: Expr, right: Expr, schema: &DFSchema) -> Result<Expr> {
    let binary = |left: Expr, right: Expr| Expr::BinaryExpr(BinaryExpr { left: Box::new(left), op: Operator::StringConcat, right: Box::new(right) });
    let (Ok(left_type), Ok(right_type)) = (left.get_type(schema), right.get_type(schema)) else { return Ok(binary(left, right)) };
    let is_bytes = |t: &DataType| matches!(t, DataType::Binary | DataType::LargeBinary | DataType::BinaryView);
    if left_type.is_nested() || right_type.is_nested() || left_type.is_null() || right_type.is_null() {
        return Ok(binary(left, right));
    }
    if is_jsonb(&left, schema) && (is_jsonb(&right, schema) || is_quoted(&right)) {
        return Err(external(Error::not_supported("|| of jsonb is not supported").with_hint("cast both sides to text to join their texts")));
    }
    if is_bytes(&left_type) && (is_bytes(&right_type) || is_quoted(&right)) || is_bytes(&right_type) && is_quoted(&left) {
        let (left, right) = (meet(left, Some(&right_type))?, meet(right, Some(&left_type))?);
        return Ok(bytes::concat().call(vec![left, right]));
    }
    if !is_text(&left_type) && !is_text(&right_type) {
        return Err(no_operator(&left, &"||", &right, schema));
    }
    Ok(binary(as_text(left, schema)?, as_text(right, schema)?))
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

/// What is no text is printed, unless it is an array.
fn as_text(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    let Ok((_, from)) = expr.to_field(schema) else { return Ok(expr) };
    if is_text(from.data_type()) || matches!(from.data_type(), DataType::Null | DataType::List(_) | DataType::LargeList(_)) {
        return Ok(expr);
    }
    let text: FieldRef = Field::new("text", DataType::Utf8, true).into();
    Ok(cast::call(expr, &from, &text).unwrap_or_else(|e| e))
}

fn between_expr(between: Between, schema: &DFSchema) -> Result<Expr> {
    let data_type = between.expr.get_type(schema).ok();
    let low = meet(*between.low, data_type.as_ref())?;
    let high = meet(*between.high, data_type.as_ref())?;
    let expr = if is_quoted(&between.expr) { meet(*between.expr, low.get_type(schema).ok().as_ref())? } else { *between.expr };
    if matches!(data_type, Some(DataType::Interval(_))) {
        let [expr, low, high] = [expr, low, high].map(|e| Box::new(interval::order().call(vec![e])));
        return Ok(Expr::Between(Between { expr, low, high, negated: between.negated }));
    }
    numbers::between(Between { expr: Box::new(expr), low: Box::new(low), high: Box::new(high), negated: between.negated }, schema)
}

fn in_list(list: InList, schema: &DFSchema) -> Result<Expr> {
    let data_type = list.expr.get_type(schema).ok();
    let items = list.list.into_iter().map(|e| meet(e, data_type.as_ref())).collect::<Result<_>>()?;
    numbers::in_list(InList { expr: list.expr, list: items, negated: list.negated }, schema)
}

pub(super) fn cast_expr(cast: Cast, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let Ok((_, from)) = cast.expr.to_field(schema) else { return Ok(Transformed::no(Expr::Cast(cast))) };
    let Cast { expr, field } = cast;
    match (expr.as_ref(), field.data_type()) {
        (Expr::Literal(ScalarValue::Utf8(Some(text)), _), target) if !is_text(target) && has_literals(target) => {
            return constant(text, &field).map(Transformed::yes);
        }
        // A decimal literal is read as a float, not divided into one.
        (Expr::Literal(ScalarValue::Decimal128(Some(value), _, scale), _), DataType::Float64 | DataType::Float32) => {
            let mut text = Vec::new();
            write_decimal128(*value, *scale, &mut text);
            return constant(&String::from_utf8_lossy(&text), &Field::new("", field.data_type().clone(), true)).map(Transformed::yes);
        }
        _ => {}
    }
    if types::is_any_numeric(&field) {
        // `::numeric` keeps the digits there are.
        let digits = |precision: u8| Field::new("", DataType::Decimal128(precision, 0), true).into();
        let field = match from.data_type() {
            DataType::Decimal128(..) | DataType::Decimal256(..) => return Ok(Transformed::yes(*expr)),
            DataType::Int16 => digits(5),
            DataType::Int32 => digits(10),
            DataType::Int64 => digits(19),
            _ => Field::new("", types::NUMERIC, true).into(),
        };
        return cast_expr(Cast { expr, field }, schema).map(|t| Transformed::yes(t.data));
    }
    Ok(match cast::call(*expr, &from, &field) {
        Ok(call) => Transformed::yes(call),
        Err(expr) => Transformed::no(Expr::Cast(Cast { expr: Box::new(expr), field })),
    })
}

/// `round(stddev(x), 6)` of numerics is a numeric in Postgres, where a double cannot be rounded to digits: what is one here becomes a numeric.
fn rounded_double(arguments: &[Expr], schema: &DFSchema) -> Option<Expr> {
    let [value, Expr::Literal(ScalarValue::Int32(Some(digits)), _)] = arguments else { return None };
    let is_double = matches!(value.get_type(schema), Ok(DataType::Float32 | DataType::Float64));
    let scale = i8::try_from(*digits).ok().filter(|scale| is_double && (0..=16).contains(scale))?;
    Some(Expr::Cast(Cast::new(Box::new(value.clone()), DataType::Decimal128(38, scale))))
}

/// What `concat` joins is printed as on the wire.
fn printed(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    if !matches!(expr.get_type(schema), Ok(DataType::Boolean)) {
        return as_text(expr, schema);
    }
    let letter = |text: &str| Expr::Literal(ScalarValue::Utf8(Some(text.to_owned())), None);
    when(expr.clone(), letter("t")).when(expr.is_false(), letter("f")).end()
}

/// Arguments as Postgres types them: quoted literals take the type that the function wants, or that they stand beside.
fn function(mut call: ScalarFunction, schema: &DFSchema) -> Result<Expr> {
    match call.func.name() {
        "round" if call.args.len() == 2 => {
            if let Some(rounded) = rounded_double(&call.args, schema) {
                return Ok(rounded);
            }
        }
        "greatest" | "least" | "make_array" => call.args = numbers::alike(call.args, schema)?,
        "array_has" => {
            if let Ok([array, needle]) = <[Expr; 2]>::try_from(call.args.clone()) {
                let array = meet_items(array, &needle, schema)?;
                let (array, needle) = numbers::element(array, needle, schema)?;
                call.args = vec![array, needle];
            }
        }
        "array_element" if call.args.first().is_some_and(|a| a.to_field(schema).is_ok_and(|(_, f)| is_vector(&f))) => {
            return Ok(super::functions::array::vector_element().call(call.args));
        }
        "nullif" => {
            if let Ok([left, right]) = <[Expr; 2]>::try_from(call.args.clone()) {
                let (left, right) = numbers::operands(left, right, schema)?;
                call.args = vec![left, right];
            }
        }
        "concat" | "concat_ws" => call.args = call.args.into_iter().map(|e| printed(e, schema)).collect::<Result<_>>()?,
        "coalesce" => {
            let types = call.args.iter().filter(|e| !is_quoted(e)).filter_map(|e| e.get_type(schema).ok());
            let beside = types.into_iter().find(|t| !t.is_null());
            call.args = call.args.into_iter().map(|e| meet(e, beside.as_ref())).collect::<Result<_>>()?;
            call.args = numbers::alike(call.args, schema)?;
        }
        _ => {}
    }
    if let Some(table) = call.func.inner().downcast_ref::<Table>() {
        let untyped = |e: &Expr| is_quoted(e) || matches!(e, Expr::Placeholder(p) if p.field.is_none());
        let types: Option<Vec<Argument>> = call.args.iter().map(|e| Some(Argument { data_type: e.get_type(schema).ok()?, untyped: untyped(e) })).collect();
        if let Some(types) = types {
            call.args = table.typed(std::mem::take(&mut call.args), &types)?;
        }
    }
    Ok(Expr::ScalarFunction(call))
}

/// A result that Postgres has no type for is cast to the nearest.
fn settle(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let Ok(data_type) = expr.get_type(schema) else { return Ok(Transformed::no(expr)) };
    if let Expr::ScalarFunction(call) = &expr
        && call.func.name() == "array_length"
    {
        // An empty array has no dimensions; a length of 0 is not NULL only in `cardinality`.
        let length = Expr::Cast(Cast::new(Box::new(expr), DataType::Int32));
        let zero = Expr::Literal(ScalarValue::Int32(Some(0)), None);
        return when(length.clone().not_eq(zero), length).end().map(Transformed::yes);
    }
    let nearest = match &expr {
        Expr::ScalarFunction(call) if matches!(call.func.name(), "array_length" | "cardinality" | "array_position" | "array_ndims") => DataType::Int32,
        _ => settled(&data_type),
    };
    if nearest == data_type || matches!(data_type, DataType::Null | DataType::List(_)) {
        return Ok(Transformed::no(expr));
    }
    Ok(Transformed::yes(Expr::Cast(Cast::new(Box::new(expr), nearest))))
}
