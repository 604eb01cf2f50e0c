//! Calls whose arguments are written in another way, or which stand for other calls:
//!
//! | form | becomes |
//! | --- | --- |
//! | `make_interval(hours => 2)` | `make_interval(0, 0, 0, 0, 2, 0, 0)` |
//! | `make_timestamptz(…)`, with a zone | `make_timestamp(…)::timestamptz`, `timezone(zone, make_timestamp(…))` |
//! | `age(x)` | `age(current_date, x)` |
//! | `num_nulls(a, b)`, `num_nonnulls(a, b)` | `(a IS NULL)::int + (b IS NULL)::int` |
//! | `quote_literal(5)`, `quote_nullable(x)` | `quote_literal(5::text)`, `coalesce(quote_literal(x::text), 'NULL')` |
//! | `jsonb_extract_path(d, 'a', 'b')` | `d #> ARRAY['a', 'b']` |
//! | `current_schema`, `localtime` | `current_schema()`, `localtimestamp::time` |

use super::forms::{call, cast, number, string};
use super::names::function_name;
use super::types::folded;
use datafusion::sql::sqlparser::ast::{self, BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident};

/// Arguments of `make_interval`, in their order.
const INTERVAL_PARTS: [&str; 7] = ["years", "months", "weeks", "days", "hours", "mins", "secs"];

/// A name without parentheses that is a call.
pub(super) fn identifier(name: Ident) -> Expr {
    match name.value.to_ascii_lowercase().as_str() {
        "current_schema" if name.quote_style.is_none() => call("current_schema", vec![]),
        "localtime" if name.quote_style.is_none() => local_time(),
        _ => Expr::Identifier(name),
    }
}

fn local_time() -> Expr {
    cast(call("localtimestamp", vec![]), ast::DataType::Time(None, ast::TimezoneInfo::None))
}

/// The call, or what it stands for.
pub(super) fn rewritten(function: Function) -> Expr {
    let Some(name) = function_name(&function.name) else { return Expr::Function(function) };
    if name == "make_interval" {
        return make_interval(function);
    }
    let mut arguments = plain(&function).unwrap_or_default();
    let count = arguments.len();
    match (name.as_str(), count) {
        ("localtime", 0) => local_time(),
        ("make_timestamptz", 6) => cast(call("make_timestamp", arguments), ast::DataType::Timestamp(None, ast::TimezoneInfo::Tz)),
        ("make_timestamptz", 7) => {
            let zone = arguments.split_off(6);
            call("timezone", zone.into_iter().chain([call("make_timestamp", arguments)]).collect())
        }
        ("age", 1) => call("age", [call("current_date", vec![])].into_iter().chain(arguments).collect()),
        ("num_nulls", 1..) => sum(arguments.into_iter().map(|e| Expr::IsNull(Box::new(e)))),
        ("num_nonnulls", 1..) => sum(arguments.into_iter().map(|e| Expr::IsNotNull(Box::new(e)))),
        ("quote_literal", 1) => call("quote_literal", vec![as_text(arguments.remove(0))]),
        ("quote_nullable", 1) => call("coalesce", vec![call("quote_literal", vec![as_text(arguments.remove(0))]), string("NULL".to_owned())]),
        ("jsonb_extract_path" | "json_extract_path", 2..) => path(arguments, BinaryOperator::HashArrow),
        ("jsonb_extract_path_text" | "json_extract_path_text", 2..) => path(arguments, BinaryOperator::HashLongArrow),
        _ => Expr::Function(function),
    }
}

/// Why a call is not supported, and what to write instead.
pub(super) fn refused(function: &Function) -> Option<(&'static str, &'static str)> {
    match function_name(&function.name)?.as_str() {
        "current_time" => Some(("type time with time zone is not supported", "use localtime, or current_timestamp")),
        _ => None,
    }
}

fn plain(function: &Function) -> Option<Vec<Expr>> {
    let FunctionArguments::List(list) = &function.args else { return None };
    let one = |argument: &FunctionArg| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => Some(e.clone()),
        _ => None,
    };
    list.args.iter().map(one).collect()
}

fn make_interval(function: Function) -> Expr {
    let FunctionArguments::List(list) = &function.args else { return Expr::Function(function) };
    let mut parts: Vec<Expr> = INTERVAL_PARTS.iter().map(|_| number("0")).collect();
    for (i, argument) in list.args.iter().enumerate() {
        let (place, value) = match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => (Some(i), value),
            FunctionArg::Named { name, arg: FunctionArgExpr::Expr(value), .. } => (INTERVAL_PARTS.iter().position(|part| *part == folded(name)), value),
            _ => return Expr::Function(function),
        };
        match place.and_then(|place| parts.get_mut(place)) {
            Some(part) => *part = value.clone(),
            None => return Expr::Function(function),
        }
    }
    call("make_interval", parts)
}

fn as_text(expr: Expr) -> Expr {
    cast(expr, ast::DataType::Text)
}

/// How many of the conditions hold.
fn sum(conditions: impl Iterator<Item = Expr>) -> Expr {
    let ones = conditions.map(|condition| cast(Expr::Nested(Box::new(condition)), ast::DataType::Int(None)));
    let plus = |left, right| Expr::BinaryOp { left: Box::new(left), op: BinaryOperator::Plus, right: Box::new(right) };
    Expr::Nested(Box::new(ones.reduce(plus).unwrap_or_else(|| number("0"))))
}

fn path(mut arguments: Vec<Expr>, op: BinaryOperator) -> Expr {
    let steps = arguments.split_off(1);
    Expr::Nested(Box::new(Expr::BinaryOp { left: Box::new(arguments.remove(0)), op, right: Box::new(call("make_array", steps)) }))
}
