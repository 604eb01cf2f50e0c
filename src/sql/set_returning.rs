//! Functions that give rows, as `unnest` of an array of these rows, which views and SELECTs both run:
//!
//! | form | becomes |
//! | --- | --- |
//! | `SELECT generate_series(1, n), …` | `SELECT unnest(tw_series(1, n)), …`; several in one list go in lock step, the shorter padded with NULL |
//! | `FROM unnest(a) [WITH ORDINALITY] t (x, o)` | `LATERAL (SELECT unnest(a), unnest(tw_ordinals(a))) t (x, o)` |
//! | `FROM jsonb_each(d) t` | `LATERAL (SELECT unnest(tw_json_each_keys(d)) AS key, tw_jsonb(unnest(tw_json_each_values(d))) AS value) t (key, value)` |
//! | `FROM jsonb_to_recordset(d) t (a int, b text)` | `LATERAL (SELECT (e ->> 'a')::int, e ->> 'b' FROM (SELECT tw_jsonb(unnest(tw_json_elements(d))) AS e) r) t (a, b)` |
//! | `FROM generate_series(1, t.n) g` | `LATERAL (SELECT unnest(tw_series(1, t.n)) AS g) g` |
//!
//! A series between constants in FROM stays a table function, for it may be long.

use super::forms::{call, cast, string};
use super::names::function_name;
use super::walk::{self, Read};
use crate::sql::parse;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, Query, SelectItem, SetExpr, TableAlias,
    TableAliasColumnDef, TableFactor, Value,
};
use std::ops::ControlFlow;

/// Functions of rows, and those of the arrays of these rows.
const ARRAYS: [(&str, &str); 11] = [
    ("generate_series", "tw_series"),
    ("generate_subscripts", "tw_subscripts"),
    ("regexp_matches", "tw_regexp_matches"),
    ("regexp_split_to_table", "regexp_split_to_array"),
    ("string_to_table", "string_to_array"),
    ("jsonb_array_elements", "tw_json_elements"),
    ("json_array_elements", "tw_json_elements"),
    ("jsonb_array_elements_text", "tw_json_elements_text"),
    ("json_array_elements_text", "tw_json_elements_text"),
    ("jsonb_object_keys", "tw_json_keys"),
    ("json_object_keys", "tw_json_keys"),
];

/// The column of an array's elements.
pub(super) const VALUE: &str = "value";

/// What the relations of a query are called that hold the elements of a document: `e` in `FROM jsonb_array_elements(d) e` is also the element.
pub(super) fn elements(body: &SetExpr) -> Vec<String> {
    let SetExpr::Select(select) = body else { return Vec::new() };
    let factors = select.from.iter().flat_map(|table| std::iter::once(&table.relation).chain(table.joins.iter().map(|join| &join.relation)));
    let name = |factor: &TableFactor| match factor {
        TableFactor::Table { name, args: Some(_), alias: Some(alias), .. } | TableFactor::Function { name, alias: Some(alias), .. }
            if alias.columns.is_empty() && function_name(name).is_some_and(|name| name.contains("_array_elements")) =>
        {
            Some(super::types::folded(&alias.name))
        }
        _ => None,
    };
    factors.filter_map(name).collect()
}

/// Functions of several columns, and the arrays of each.
const RECORDS: [(&str, [(&str, &str); 2]); 4] = [
    ("jsonb_each", [("key", "tw_json_each_keys"), ("value", "tw_json_each_values")]),
    ("json_each", [("key", "tw_json_each_keys"), ("value", "tw_json_each_values")]),
    ("jsonb_each_text", [("key", "tw_json_each_keys"), ("value", "tw_json_each_texts")]),
    ("json_each_text", [("key", "tw_json_each_keys"), ("value", "tw_json_each_texts")]),
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
    let document = document(&function_name(&function.name).unwrap_or_default(), array);
    function.name = ObjectName::from(vec![Ident::new(array)]);
    marked(document, call("unnest", vec![Expr::Function(function)]))
}

/// The function that says that a text is a document, of what `name` gives by `array`.
fn document(name: &str, array: &str) -> Option<&'static str> {
    let is_document = matches!(array, "tw_json_elements" | "tw_json_each_values");
    is_document.then_some(if name.starts_with("jsonb_") { "tw_jsonb" } else { "tw_json" })
}

fn marked(document: Option<&str>, rows: Expr) -> Expr {
    match document {
        Some(mark) => call(mark, vec![rows]),
        None => rows,
    }
}

fn array_function(name: &str) -> Option<&'static str> {
    ARRAYS.iter().find(|(rows, _)| *rows == name).map(|(_, array)| *array)
}

/// An item of FROM that calls a function of rows.
pub(super) fn in_from(factor: &mut TableFactor) {
    if let Some(records) = records(factor) {
        *factor = records;
        return;
    }
    let Some((name, arrays, ordinality, alias)) = called(factor) else { return };
    let own = alias.as_ref().map_or_else(|| Ident::new(name.clone()), |a| a.name.clone());
    let Some(mut query) = template() else { return };
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    let numbers = ordinality
        .then(|| arrays.first().map(|(_, array)| (call("unnest", vec![call("tw_ordinals", all_of(&arrays, array))]), Ident::new("ordinality"))))
        .flatten();
    let several = name == "unnest" && arrays.len() > 1;
    let elements = arrays.into_iter().enumerate().map(|(i, (column, array))| {
        let column = if several && i > 0 { Ident::new(format!("{}_{}", name, i + 1)) } else { column.map_or_else(|| own.clone(), Ident::new) };
        let inner = if let Expr::Function(f) = &array { function_name(&f.name).unwrap_or_default() } else { String::new() };
        (marked(document(&name, &inner), call("unnest", vec![array])), column)
    });
    select.projection = elements.chain(numbers).map(|(expr, alias)| SelectItem::ExprWithAlias { expr, alias }).collect();
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

/// The arrays whose longest decides how many rows there are: of one function all have one length.
fn all_of(arrays: &[Array], first: &Expr) -> Vec<Expr> {
    if arrays.iter().any(|(column, _)| column.is_some()) { vec![first.clone()] } else { arrays.iter().map(|(_, array)| array.clone()).collect() }
}

/// `jsonb_to_record` and `jsonb_to_recordset`, whose columns the query names.
fn records(factor: &TableFactor) -> Option<TableFactor> {
    let TableFactor::Table { name, alias: Some(alias), args: Some(arguments), with_ordinality: false, .. } = factor else { return None };
    let name = function_name(name)?;
    let [documents] = <[Expr; 1]>::try_from(plain(&arguments.args)?).ok()?;
    let rows = match name.as_str() {
        "jsonb_to_record" | "json_to_record" => call("tw_jsonb", vec![cast(documents, DataType::Text)]),
        "jsonb_to_recordset" | "json_to_recordset" => call("tw_jsonb", vec![call("unnest", vec![call("tw_json_elements", vec![documents])])]),
        _ => return None,
    };
    let mut inner = template()?;
    let element = Ident::new("tw_element");
    if let SetExpr::Select(select) = inner.body.as_mut() {
        select.projection = vec![SelectItem::ExprWithAlias { expr: rows, alias: element.clone() }];
    }
    let mut outer = parse::query("SELECT 0 FROM tw_elements").ok()?;
    let SetExpr::Select(select) = outer.body.as_mut() else { return None };
    let of_element = TableAlias { explicit: true, name: Ident::new("tw_elements"), columns: vec![], at: None };
    select.from.first_mut()?.relation = TableFactor::Derived { lateral: false, subquery: inner, alias: Some(of_element), sample: None };
    let column = |column: &TableAliasColumnDef| {
        let data_type = column.data_type.clone()?;
        let op = if matches!(data_type, DataType::JSON | DataType::JSONB) { BinaryOperator::Arrow } else { BinaryOperator::LongArrow };
        let key = string(super::types::folded(&column.name));
        let field = Expr::Nested(Box::new(Expr::BinaryOp { left: Box::new(Expr::Identifier(element.clone())), op, right: Box::new(key) }));
        Some(SelectItem::ExprWithAlias { expr: cast(field, data_type), alias: column.name.clone() })
    };
    select.projection = alias.columns.iter().map(column).collect::<Option<Vec<_>>>().filter(|columns| !columns.is_empty())?;
    let columns = alias.columns.iter().map(|c| TableAliasColumnDef { name: c.name.clone(), data_type: None }).collect();
    let alias = TableAlias { explicit: true, name: alias.name.clone(), columns, at: None };
    Some(TableFactor::Derived { lateral: true, subquery: outer, alias: Some(alias), sample: None })
}

/// An array and what its column is called, if not as the relation.
type Array = (Option<&'static str>, Expr);
type Called = (String, Vec<Array>, bool, Option<TableAlias>);

/// The function's name, the arrays of its rows, whether they are numbered, and its alias.
fn called(factor: &TableFactor) -> Option<Called> {
    match factor {
        TableFactor::UNNEST { alias, array_exprs, with_offset: false, with_ordinality, .. } => {
            Some(("unnest".to_owned(), unnamed(array_exprs.clone()), *with_ordinality, alias.clone()))
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

fn unnamed(arrays: Vec<Expr>) -> Vec<Array> {
    arrays.into_iter().map(|array| (None, array)).collect()
}

fn array(name: &str, mut arguments: Vec<Expr>) -> Option<Vec<Array>> {
    if name == "unnest" {
        return Some(unnamed(arguments));
    }
    if let Some((_, columns)) = RECORDS.iter().find(|(records, _)| *records == name) {
        return Some(columns.iter().map(|(column, array)| (Some(*column), call(array, arguments.clone()))).collect());
    }
    let array = array_function(name)?;
    if array == "tw_subscripts" {
        arguments.truncate(1);
    }
    let column = name.contains("_array_elements").then_some(VALUE);
    Some(vec![(column, call(array, arguments))])
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
