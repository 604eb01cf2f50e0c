//! Forms around subqueries that the planner does not know, written before binding:
//!
//! | form | becomes |
//! | --- | --- |
//! | `ARRAY(SELECT …)` | `tw_array((SELECT …))` |
//! | `(x, y) IN (SELECT …)`, `(x, y) = ANY (SELECT …)` | `CASE WHEN EXISTS (… WHERE x = a AND y = b) …` |
//! | `generate_series(1, n)` in a select list | see [`super::set_returning`] |

use super::forms::{call, value};
use super::functions::array::{LIKE, OF_SUBQUERY};
use super::names::function_name;
use super::{parse, set_returning};
use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion::sql::sqlparser::ast::{
    self, BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, Query, SetExpr, TableAlias, TableAliasColumnDef, TableFactor,
    UnaryOperator, Value,
};

pub(super) fn rewritten(expr: Expr) -> Expr {
    match expr {
        Expr::Function(function) => match array_of_subquery(function) {
            Ok(array) => array,
            Err(function) => set_returning::in_expression(*function),
        },
        Expr::InSubquery { expr, subquery, negated } => match row_of(*expr) {
            Ok(row) => row_in(row, *subquery, negated),
            Err(expr) => Expr::InSubquery { expr, subquery, negated },
        },
        Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, is_some } => match (row_of(*left), *right) {
            (Ok(row), Expr::Subquery(subquery)) => row_in(row, *subquery, false),
            (Ok(row), right) => Expr::AnyOp { left: Box::new(Expr::Tuple(row)), compare_op: BinaryOperator::Eq, right: Box::new(right), is_some },
            (Err(left), right @ Expr::Value(ast::ValueWithSpan { value: Value::Placeholder(_), .. })) => {
                let array = call(LIKE, vec![right, (*left).clone()]);
                Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right: Box::new(array), is_some }
            }
            (Err(left), right) => Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right: Box::new(right), is_some },
        },
        // The planner does not look for an array's columns in outer queries.
        Expr::Array(array) if array.elem.iter().any(|e| !set_returning::is_constant(e)) => call("make_array", array.elem),
        other => other,
    }
}

/// `ARRAY(SELECT …)` is a function of a subquery until this is a join.
fn array_of_subquery(function: Function) -> Result<Expr, Box<Function>> {
    match function.args {
        FunctionArguments::Subquery(query) if function_name(&function.name).as_deref() == Some("array") => Ok(call(OF_SUBQUERY, vec![Expr::Subquery(query)])),
        _ => Err(Box::new(function)),
    }
}

/// `(a, b)` and `ROW(a, b)`.
fn row_of(expr: Expr) -> Result<Vec<Expr>, Box<Expr>> {
    match expr {
        Expr::Tuple(row) => Ok(row),
        Expr::Function(function) if function_name(&function.name).as_deref() == Some("row") => match &function.args {
            FunctionArguments::List(list) => {
                let item = |a: &FunctionArg| if let FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) = a { Some(e.clone()) } else { None };
                list.args.iter().map(item).collect::<Option<Vec<_>>>().ok_or_else(|| Box::new(Expr::Function(function.clone())))
            }
            _ => Err(Box::new(Expr::Function(function))),
        },
        other => Err(Box::new(other)),
    }
}

/// A row is in a subquery's rows if one is equal, not if all of them are known to differ, and else it is not known.
fn row_in(row: Vec<Expr>, subquery: Query, negated: bool) -> Expr {
    let column = |i: usize| Expr::CompoundIdentifier(vec![Ident::new("tw_row"), Ident::new(format!("tw_{i}"))]);
    let equal = |(i, e): (usize, &Expr)| Expr::BinaryOp { left: Box::new(e.clone()), op: BinaryOperator::Eq, right: Box::new(column(i)) };
    let all = |conditions: Vec<Expr>| {
        let and = |left, right| Expr::BinaryOp { left: Box::new(left), op: BinaryOperator::And, right: Box::new(right) };
        conditions.into_iter().reduce(and).unwrap_or_else(|| value(Value::Boolean(true)))
    };
    let equals: Vec<Expr> = row.iter().enumerate().map(equal).collect();
    let may_equal = equals.iter().map(|e| Expr::IsNotFalse(Box::new(Expr::Nested(Box::new(e.clone()))))).collect();
    let columns = (0..row.len()).map(|i| TableAliasColumnDef { name: Ident::new(format!("tw_{i}")), data_type: None }).collect();
    let alias = TableAlias { explicit: true, name: Ident::new("tw_row"), columns, at: None };
    let exists = |condition: Expr| -> Expr {
        let Ok(mut query) = parse::query("SELECT 1 FROM t") else { return value(Value::Null) };
        if let SetExpr::Select(select) = query.body.as_mut() {
            select.selection = Some(condition);
            if let Some(from) = select.from.first_mut() {
                from.relation = TableFactor::Derived { lateral: false, subquery: Box::new(subquery.clone()), alias: Some(alias.clone()), sample: None };
            }
        }
        Expr::Exists { subquery: query, negated: false }
    };
    let when = |condition: Expr, result: Expr| ast::CaseWhen { condition, result };
    let boolean = |b: bool| value(Value::Boolean(b));
    let found = Expr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions: vec![when(exists(all(equals)), boolean(true)), when(exists(all(may_equal)), value(Value::Null))],
        else_result: Some(Box::new(boolean(false))),
    };
    if negated { Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(found) } } else { found }
}
