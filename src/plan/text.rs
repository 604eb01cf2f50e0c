//! Expressions as SQL for EXPLAIN: unqualified names, literals as written, parentheses wherever the tree has a fork. The text is part of the
//! stable form of a plan, so it says all that the expression computes.

use super::arithmetic::symbol;
use arrow::datatypes::{Decimal128Type, DecimalType};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr::{Between, BinaryExpr, Case, InList, Like};

/// See the module.
pub(crate) fn sql(expr: &Expr) -> String {
    match expr {
        Expr::Column(c) => c.name.clone(),
        Expr::Alias(a) => sql(&a.expr),
        Expr::Literal(value, _) => literal(value).unwrap_or_else(|| expr.to_string()),
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => format!("{} {op} {}", operand(left), operand(right)),
        Expr::Not(e) => format!("NOT {}", operand(e)),
        Expr::IsNull(e) => format!("{} IS NULL", operand(e)),
        Expr::IsNotNull(e) => format!("{} IS NOT NULL", operand(e)),
        Expr::IsTrue(e) => format!("{} IS TRUE", operand(e)),
        Expr::IsFalse(e) => format!("{} IS FALSE", operand(e)),
        Expr::IsNotTrue(e) => format!("{} IS NOT TRUE", operand(e)),
        Expr::Negative(e) => format!("-{}", operand(e)),
        Expr::Cast(c) => format!("CAST({} AS {})", sql(&c.expr), c.field.data_type()),
        Expr::TryCast(c) => format!("TRY_CAST({} AS {})", sql(&c.expr), c.field.data_type()),
        Expr::Between(Between { expr, negated, low, high }) => format!("{}{} BETWEEN {} AND {}", operand(expr), not(*negated), operand(low), operand(high)),
        Expr::Like(Like { negated, expr, pattern, escape_char, case_insensitive }) => {
            let escape = escape_char.map_or(String::new(), |c| format!(" ESCAPE '{c}'"));
            format!("{}{} {} {}{escape}", operand(expr), not(*negated), if *case_insensitive { "ILIKE" } else { "LIKE" }, operand(pattern))
        }
        Expr::InList(InList { expr, list, negated }) => format!("{}{} IN ({})", operand(expr), not(*negated), listed(list)),
        Expr::Case(case) => case_sql(case),
        Expr::ScalarFunction(call) => match (symbol(call.func.name()), call.args.as_slice()) {
            (Some(symbol), [left, right]) => format!("{} {symbol} {}", operand(left), operand(right)),
            (Some(symbol), [only]) => format!("{symbol}{}", operand(only)),
            _ => format!("{}({})", call.func.name(), listed(&call.args)),
        },
        other => other.to_string(),
    }
}

fn not(negated: bool) -> &'static str {
    if negated { " NOT" } else { "" }
}

fn listed(exprs: &[Expr]) -> String {
    exprs.iter().map(sql).collect::<Vec<_>>().join(", ")
}

/// In parentheses unless it is a single thing.
fn operand(expr: &Expr) -> String {
    match expr {
        Expr::Alias(a) => operand(&a.expr),
        Expr::Column(_) | Expr::Literal(..) | Expr::Cast(_) | Expr::TryCast(_) | Expr::Case(_) => sql(expr),
        Expr::ScalarFunction(call) if symbol(call.func.name()).is_none() => sql(expr),
        other => format!("({})", sql(other)),
    }
}

fn case_sql(case: &Case) -> String {
    let of = case.expr.as_ref().map_or(String::new(), |e| format!(" {}", sql(e)));
    let whens = case.when_then_expr.iter().map(|(when, then)| format!(" WHEN {} THEN {}", sql(when), sql(then))).collect::<String>();
    let otherwise = case.else_expr.as_ref().map_or(String::new(), |e| format!(" ELSE {}", sql(e)));
    format!("CASE{of}{whens}{otherwise} END")
}

/// `None`: a type whose plain text would not tell what it is.
fn literal(value: &ScalarValue) -> Option<String> {
    match value {
        value if value.is_null() => Some("NULL".to_string()),
        ScalarValue::Utf8(Some(text)) => Some(format!("'{}'", text.replace('\'', "''"))),
        ScalarValue::Boolean(_)
        | ScalarValue::Int16(_)
        | ScalarValue::Int32(_)
        | ScalarValue::Int64(_)
        | ScalarValue::UInt64(_)
        | ScalarValue::Float64(_)
        | ScalarValue::Decimal128(..) => match value {
            ScalarValue::Decimal128(Some(digits), _, scale) => Some(Decimal128Type::format_decimal(*digits, Decimal128Type::MAX_PRECISION, *scale)),
            plain => Some(plain.to_string()),
        },
        ScalarValue::IntervalMonthDayNano(Some(v)) => {
            let parts = [(v.months as i64, "months"), (v.days as i64, "days")].into_iter().filter(|(n, _)| *n != 0).map(|(n, unit)| format!("{n} {unit}"));
            let seconds = (v.nanoseconds != 0).then(|| format!("{} seconds", v.nanoseconds as f64 / 1e9));
            let parts = parts.chain(seconds).collect::<Vec<_>>();
            Some(format!("INTERVAL '{}'", if parts.is_empty() { "0".to_string() } else { parts.join(" ") }))
        }
        _ => None,
    }
}
