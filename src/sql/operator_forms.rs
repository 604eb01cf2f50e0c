//! Operators that are functions of ours, written so before binding:
//!
//! | form | becomes |
//! | --- | --- |
//! | `d ? k`, `d ?\| a`, `d ?& a`, `d #- p` | `tw_jsonb_has(d, k)` and its like, `tw_jsonb_remove_path(d, p)` |
//! | `a && b` of arrays | `array_has_any(a, b)` |
//! | `(a, b) OVERLAPS (c, d)` | `tw_overlaps(a, b, c, d)` |
//! | `x ~ '\mword'` | `x ~ '\b{start}word'`, as [`super::functions::regular`] spells it |
//! | `x LIKE ANY (a)`, `x ~ ALL (a)` | `tw_like_any(x, a, '~~')`, `tw_like_all(x, a, '~')` |

use super::forms::{call, string};
use super::functions::regular::translated;
use super::names::function_name;
use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Value, ValueWithSpan};

pub(super) fn rewritten(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    let right = if sign(&op).is_some_and(|sign| sign.contains("~") && !sign.contains("~~")) { pattern(right) } else { right };
    let function = match op {
        BinaryOperator::Question => "tw_jsonb_has",
        BinaryOperator::QuestionPipe => "tw_jsonb_has_any",
        BinaryOperator::QuestionAnd => "tw_jsonb_has_all",
        BinaryOperator::HashMinus => "tw_jsonb_remove_path",
        BinaryOperator::PGOverlap => "array_has_any",
        BinaryOperator::Overlaps => match (left, right) {
            (Expr::Tuple(a), Expr::Tuple(b)) if a.len() == 2 && b.len() == 2 => return call("tw_overlaps", a.into_iter().chain(b).collect()),
            (left, right) => return Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) },
        },
        _ => return Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) },
    };
    call(function, vec![left, right])
}

/// A constant pattern in the words of the engine's regular expressions.
fn pattern(expr: Expr) -> Expr {
    match expr {
        Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), span }) => {
            Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(translated(&text)), span })
        }
        other => other,
    }
}

/// `x op ANY (array)`.
pub(super) fn any(left: Expr, op: BinaryOperator, right: Expr, is_some: bool) -> Expr {
    match sign(&op) {
        Some(sign) if !matches!(right, Expr::Subquery(_)) => of_list("tw_like_any", left, sign, right),
        _ => Expr::AnyOp { left: Box::new(left), compare_op: op, right: Box::new(right), is_some },
    }
}

/// `x op ALL (array)`.
pub(super) fn all(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    match sign(&op) {
        Some(sign) if !matches!(right, Expr::Subquery(_)) => of_list("tw_like_all", left, sign, right),
        _ => Expr::AllOp { left: Box::new(left), compare_op: op, right: Box::new(right) },
    }
}

/// `x LIKE ANY (array)`, whose operator is `sign`.
pub(super) fn like_any(left: Expr, sign: &str, pattern: Expr) -> Expr {
    let array = if let Expr::Nested(inner) = pattern { *inner } else { pattern };
    of_list("tw_like_any", left, sign, array)
}

/// The array of `x LIKE ALL (array)`, which the parser takes for a call.
pub(super) fn array_of_all(pattern: &Expr) -> Option<Expr> {
    let Expr::Function(Function { name, args: FunctionArguments::List(list), .. }) = pattern else { return None };
    match list.args.as_slice() {
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(array))] if function_name(name).as_deref() == Some("all") => Some(array.clone()),
        _ => None,
    }
}

pub(super) fn like_all(left: Expr, sign: &str, array: Expr) -> Expr {
    of_list("tw_like_all", left, sign, array)
}

fn of_list(function: &str, left: Expr, sign: &str, array: Expr) -> Expr {
    call(function, vec![left, array, string(sign.to_owned())])
}

fn sign(op: &BinaryOperator) -> Option<&'static str> {
    Some(match op {
        BinaryOperator::PGLikeMatch => "~~",
        BinaryOperator::PGILikeMatch => "~~*",
        BinaryOperator::PGNotLikeMatch => "!~~",
        BinaryOperator::PGNotILikeMatch => "!~~*",
        BinaryOperator::PGRegexMatch => "~",
        BinaryOperator::PGRegexIMatch => "~*",
        BinaryOperator::PGRegexNotMatch => "!~",
        BinaryOperator::PGRegexNotIMatch => "!~*",
        _ => return None,
    })
}
