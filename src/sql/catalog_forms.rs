//! Forms that tools ask the catalog with, written as others before binding:
//!
//! | form | becomes |
//! | --- | --- |
//! | `a OPERATOR(pg_catalog.~) b` | `a ~ b` |
//! | `a COLLATE "C"` | `a`: texts are compared byte by byte, as `default`, `C` and `POSIX` say |
//! | `x::regclass`, `to_regclass(x)` and the other names of things | `tw_regclass(x)`, `tw_to_regclass(x)` |
//! | `(information_schema._pg_expandarray(a)).n` | `unnest(tw_ordinals(a))`, with 1 for the first; `.x` is `unnest(a)` |

use super::forms::{call, number};
use super::functions::catalog::reg_named;
use super::names::function_name;
use super::types::folded;
use datafusion::sql::sqlparser::ast::{
    self, AccessExpr, BinaryOperator, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName,
};

/// Collations that compare bytes.
const COLLATIONS: [&str; 4] = ["default", "C", "POSIX", "ucs_basic"];

/// What a collation is called if it is none of ours.
pub(super) fn other_collation(name: &ObjectName) -> Option<String> {
    let last = name.0.last().and_then(|p| p.as_ident()).map(|i| i.value.clone()).unwrap_or_default();
    (!COLLATIONS.iter().any(|c| c.eq_ignore_ascii_case(&last))).then_some(last)
}

pub(super) fn rewritten(expr: Expr) -> Expr {
    match expr {
        Expr::Collate { expr, .. } => *expr,
        Expr::BinaryOp { left, op: BinaryOperator::PGCustomBinaryOperator(parts), right } => {
            let op = parts.last().and_then(|symbol| operator(symbol)).unwrap_or(BinaryOperator::PGCustomBinaryOperator(parts));
            Expr::BinaryOp { left, op, right }
        }
        Expr::Cast { kind, expr, data_type: DataType::Custom(name, modifiers), array, format } => match reg(&name) {
            Some(reg) => call(&format!("tw_{reg}"), vec![*expr]),
            None => Expr::Cast { kind, expr, data_type: DataType::Custom(name, modifiers), array, format },
        },
        Expr::Cast { kind, expr, data_type: DataType::Regclass, .. } if !matches!(kind, ast::CastKind::SafeCast) => call("tw_regclass", vec![*expr]),
        Expr::CompoundFieldAccess { root, access_chain } => match expanded(&root, &access_chain) {
            Some(rows) => rows,
            None => Expr::CompoundFieldAccess { root, access_chain },
        },
        Expr::Function(mut function) => {
            if is_expand(&function.name) {
                function.name = ObjectName::from(vec![Ident::new("tw_expandarray")]);
                return call("unnest", vec![Expr::Function(function)]);
            }
            unqualify(&mut function.name);
            first_subscript(function)
        }
        other => other,
    }
}

/// `regclass` and its like, also as `pg_catalog.regclass`.
fn reg(name: &ObjectName) -> Option<String> {
    function_name(name).filter(|name| reg_named(name).is_some())
}

/// `pg_catalog.f` is `f`.
pub(super) fn unqualify(name: &mut ObjectName) {
    if name.0.len() == 2
        && let Some(plain) = function_name(name)
    {
        *name = ObjectName::from(vec![Ident::new(plain)]);
    }
}

/// `array_lower(a, n)` is 1 where there is a length.
fn first_subscript(mut function: Function) -> Expr {
    if function_name(&function.name).as_deref() != Some("array_lower") {
        return Expr::Function(function);
    }
    function.name = ObjectName::from(vec![Ident::new("array_length")]);
    let binary = |left: Expr, op: BinaryOperator, right: &str| Expr::BinaryOp { left: Box::new(left), op, right: Box::new(number(right)) };
    Expr::Nested(Box::new(binary(binary(Expr::Function(function), BinaryOperator::Multiply, "0"), BinaryOperator::Plus, "1")))
}

fn operator(symbol: &str) -> Option<BinaryOperator> {
    Some(match symbol {
        "~" => BinaryOperator::PGRegexMatch,
        "~*" => BinaryOperator::PGRegexIMatch,
        "!~" => BinaryOperator::PGRegexNotMatch,
        "!~*" => BinaryOperator::PGRegexNotIMatch,
        "~~" => BinaryOperator::PGLikeMatch,
        "~~*" => BinaryOperator::PGILikeMatch,
        "!~~" => BinaryOperator::PGNotLikeMatch,
        "!~~*" => BinaryOperator::PGNotILikeMatch,
        "=" => BinaryOperator::Eq,
        "<>" => BinaryOperator::NotEq,
        "<" => BinaryOperator::Lt,
        "<=" => BinaryOperator::LtEq,
        ">" => BinaryOperator::Gt,
        ">=" => BinaryOperator::GtEq,
        "+" => BinaryOperator::Plus,
        "-" => BinaryOperator::Minus,
        "*" => BinaryOperator::Multiply,
        "/" => BinaryOperator::Divide,
        "%" => BinaryOperator::Modulo,
        "||" => BinaryOperator::StringConcat,
        "@>" => BinaryOperator::AtArrow,
        "<@" => BinaryOperator::ArrowAt,
        _ => return None,
    })
}

fn is_expand(name: &ObjectName) -> bool {
    name.0.last().and_then(|p| p.as_ident()).is_some_and(|i| folded(i) == "_pg_expandarray")
}

/// The rows of `(information_schema._pg_expandarray(a)).field`.
fn expanded(root: &Expr, fields: &[AccessExpr]) -> Option<Expr> {
    let mut inner = root;
    while let Expr::Nested(nested) = inner {
        inner = nested;
    }
    let (Expr::Function(Function { name, args: FunctionArguments::List(list), .. }), [AccessExpr::Dot(Expr::Identifier(field))]) = (inner, fields) else {
        return None;
    };
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(array))] = list.args.as_slice() else { return None };
    if !is_expand(name) {
        return None;
    }
    match folded(field).as_str() {
        "n" => Some(call("unnest", vec![call("tw_ordinals", vec![array.clone()])])),
        "x" => Some(call("unnest", vec![array.clone()])),
        _ => None,
    }
}
