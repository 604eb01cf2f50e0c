//! Functions that give rows, as `unnest` of an array of these rows, which views and SELECTs both run:
//!
//! | form | becomes |
//! | --- | --- |
//! | `SELECT generate_series(1, n), …` | `SELECT unnest(tw_series(1, n)), …`; several in one list go in lock step, the shorter padded with NULL |
//! | `FROM unnest(a) [WITH ORDINALITY] t (x, o)` | `LATERAL (SELECT unnest(a), unnest(tw_ordinals(a))) t (x, o)` |
//! | `FROM generate_series(1, t.n) g` | `LATERAL (SELECT unnest(tw_series(1, t.n)) AS g) g` |
//!
//! A series between constants in FROM stays a table function, for it may be long.

use super::forms::call;
use super::names::function_name;
use super::walk::{self, Read};
use crate::sql::parse;
use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, Query, SelectItem, SetExpr, TableAlias, TableAliasColumnDef,
    TableFactor, Value,
};
use std::ops::ControlFlow;

/// Functions of rows, and those of the arrays of these rows.
const ARRAYS: [(&str, &str); 4] = [
    ("generate_series", "tw_series"),
    ("generate_subscripts", "tw_subscripts"),
    ("regexp_split_to_table", "regexp_split_to_array"),
    ("string_to_table", "string_to_array"),
];

/// A call of a function of rows in an expression.
pub(super) fn in_expression(mut function: Function) -> Expr {
    let Some(array) = function_name(&function.name).and_then(|name| array_function(&name)) else { return Expr::Function(function) };
    if array == "tw_subscripts"
        && let FunctionArguments::List(list) = &mut function.args
    {
        // The dimension: arrays have one.
        list.args.truncate(1);
    }
    function.name = ObjectName::from(vec![Ident::new(array)]);
    call("unnest", vec![Expr::Function(function)])
}

fn array_function(name: &str) -> Option<&'static str> {
    ARRAYS.iter().find(|(rows, _)| *rows == name).map(|(_, array)| *array)
}

/// An item of FROM that calls a function of rows.
pub(super) fn in_from(factor: &mut TableFactor) {
    let Some((name, arrays, ordinality, alias)) = called(factor) else { return };
    let own = alias.as_ref().map_or_else(|| Ident::new(name.clone()), |a| a.name.clone());
    let Some(mut query) = template() else { return };
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    let numbers = ordinality.then(|| (call("tw_ordinals", arrays.clone()), Ident::new("ordinality")));
    let several = arrays.len() > 1;
    let elements = arrays.into_iter().enumerate().map(|(i, array)| {
        let column = if several && i > 0 { Ident::new(format!("{}_{}", name, i + 1)) } else { own.clone() };
        (array, column)
    });
    select.projection = elements.chain(numbers).map(|(array, alias)| SelectItem::ExprWithAlias { expr: call("unnest", vec![array]), alias }).collect();
    let columns = alias.as_ref().map(|a| a.columns.clone()).unwrap_or_default();
    // Fewer names than columns: the others keep theirs.
    let names = select.projection.iter().filter_map(|item| match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(TableAliasColumnDef { name: alias.clone(), data_type: None }),
        _ => None,
    });
    let columns: Vec<TableAliasColumnDef> = columns.iter().cloned().chain(names.skip(columns.len())).collect();
    let alias = TableAlias { explicit: true, name: own, columns, at: None };
    *factor = TableFactor::Derived { lateral: true, subquery: query, alias: Some(alias), sample: None };
}

type Called = (String, Vec<Expr>, bool, Option<TableAlias>);

/// The function's name, the arrays of its rows, whether they are numbered, and its alias.
fn called(factor: &TableFactor) -> Option<Called> {
    match factor {
        TableFactor::UNNEST { alias, array_exprs, with_offset: false, with_ordinality, .. } => {
            Some(("unnest".to_owned(), array_exprs.clone(), *with_ordinality, alias.clone()))
        }
        TableFactor::Table { name, alias, args: Some(arguments), with_ordinality, .. } => {
            let name = function_name(name)?;
            let arguments = plain(&arguments.args)?;
            let constant = name == "generate_series" && !*with_ordinality && arguments.iter().all(is_constant);
            (!constant).then(|| array(&name, arguments)).flatten().map(|arrays| (name, arrays, *with_ordinality, alias.clone()))
        }
        TableFactor::Function { name, args, alias, with_ordinality, .. } => {
            let name = function_name(name)?;
            let arrays = array(&name, plain(args)?)?;
            Some((name, arrays, *with_ordinality, alias.clone()))
        }
        _ => None,
    }
}

fn array(name: &str, mut arguments: Vec<Expr>) -> Option<Vec<Expr>> {
    if name == "unnest" {
        return Some(arguments);
    }
    let array = array_function(name)?;
    if array == "tw_subscripts" {
        arguments.truncate(1);
    }
    Some(vec![call(array, arguments)])
}

fn plain(arguments: &[FunctionArg]) -> Option<Vec<Expr>> {
    let plain = arguments.iter().map(|a| match a {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => Some(e.clone()),
        _ => None,
    });
    plain.collect()
}

/// Without columns, parameters and subqueries.
pub(super) fn is_constant(expr: &Expr) -> bool {
    struct Columns(bool);
    impl Read for Columns {
        fn query(&mut self, _query: &Query) -> ControlFlow<()> {
            self.0 = true;
            ControlFlow::Break(())
        }

        fn expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            self.0 |= matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::CompoundFieldAccess { .. })
                || matches!(expr, Expr::Value(v) if matches!(v.value, Value::Placeholder(_)));
            if self.0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }
    let mut columns = Columns(false);
    walk::read(expr, &mut columns);
    !columns.0
}

fn template() -> Option<Box<Query>> {
    parse::query("SELECT 0").ok()
}

#[cfg(test)]
mod tests {
    use crate::sql::forms::tests::rewritten;

    #[test]
    fn functions_of_rows_become_unnested_arrays() {
        for (form, becomes) in [
            ("SELECT generate_series(x, 3) FROM t", "SELECT unnest(tw_series(x, 3)) FROM t"),
            ("SELECT * FROM t, unnest(a) AS u", "SELECT * FROM t, LATERAL (SELECT unnest(a) AS u) AS u (u)"),
            (
                "SELECT * FROM t, unnest(t.a) WITH ORDINALITY AS u (x, n)",
                "SELECT * FROM t, LATERAL (SELECT unnest(public.t.a) AS u, unnest(tw_ordinals(public.t.a)) AS ordinality) AS u (x, n)",
            ),
            ("SELECT * FROM t, generate_series(1, n) AS g", "SELECT * FROM t, LATERAL (SELECT unnest(tw_series(1, n)) AS g) AS g (g)"),
            ("SELECT * FROM generate_series(1, 3)", "SELECT * FROM generate_series(1, 3) AS generate_series (generate_series)"),
        ] {
            assert_eq!(rewritten(form), becomes, "{form}");
        }
    }
}
