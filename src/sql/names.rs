//! Names of result columns, as Postgres gives them: `?column?`, the function, the type of a cast, `case`. DataFusion
//! would print the expression, and refuses equal names; so every unnamed item of a select list gets an alias before
//! binding, and equal names get a suffix that [`shown`] takes off again.
//!
//! The walk over the tree also puts the values of session functions (`current_setting('x')`, `current_user`) in place.

use super::walk::{self, Rewrite};
use crate::sql::types::{field, folded, sql_type};
use datafusion::sql::sqlparser::ast::{
    self, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, OrderBy, OrderByKind, Query, Select, SelectItem,
    SelectItemQualifiedWildcardKind, SetExpr, VisitMut,
};
use std::collections::HashSet;

/// Stands between a name and its suffix; no SQL text may hold it in a name that clients see.
pub(super) const SUFFIX: char = '\u{1}';
/// What has no name.
const UNNAMED: &str = "?column?";

/// The name a client sees.
pub fn shown(name: &str) -> &str {
    name.split(SUFFIX).next().unwrap_or(name)
}

/// Names every item of every select list of `query`; at the top, equal names are told apart.
pub fn name_columns(query: &mut Query) {
    walk::rewrite(query, &mut Naming);
    tell_columns_apart(query);
}

/// Tells equal names at the top of `query` apart; ORDER BY goes on to mean what it meant.
pub fn tell_columns_apart(query: &mut Query) {
    let before = aliases(&query.body);
    tell_apart_in(&mut query.body);
    let after = aliases(&query.body);
    let Some(OrderBy { kind: OrderByKind::Expressions(keys), .. }) = &mut query.order_by else { return };
    for key in keys {
        if let Expr::Identifier(ident) = &key.expr
            && let Some(at) = before.iter().position(|name| name.as_deref() == Some(folded(ident).as_str()))
            && let Some(Some(name)) = after.get(at)
            && before.get(at) != after.get(at)
        {
            key.expr = Expr::Identifier(Ident::with_quote('"', name));
        }
    }
}

/// The aliases in a select list, by place.
fn aliases(body: &SetExpr) -> Vec<Option<String>> {
    let SetExpr::Select(select) = body else { return Vec::new() };
    let alias = |item: &SelectItem| if let SelectItem::ExprWithAlias { alias, .. } = item { Some(folded(alias)) } else { None };
    select.projection.iter().map(alias).collect()
}

/// Names the items of one list (RETURNING).
pub fn name_items(items: &mut [SelectItem]) {
    name(items);
    tell_apart(items);
}

struct Naming;

impl Rewrite for Naming {
    fn enter_query(&mut self, query: &mut Query) {
        name_body(&mut query.body);
    }
}

fn name_body(body: &mut SetExpr) {
    match body {
        SetExpr::Select(select) => name(&mut select.projection),
        SetExpr::SetOperation { left, right, .. } => {
            name_body(left);
            name_body(right);
        }
        _ => {}
    }
}

/// Unnamed expressions get their name; where two are unnamed alike, also in subqueries, they are told apart.
fn name(items: &mut [SelectItem]) {
    let mut taken = HashSet::new();
    for (i, item) in items.iter_mut().enumerate() {
        let SelectItem::UnnamedExpr(expr) = item else { continue };
        if matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_)) {
            continue;
        }
        let mut alias = of(expr).unwrap_or_else(|| UNNAMED.to_owned());
        if !taken.insert(alias.clone()) {
            alias = format!("{alias}{SUFFIX}{i}");
        }
        let expr = std::mem::replace(expr, Expr::Identifier(Ident::new("")));
        *item = SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', alias) };
    }
}

fn tell_apart_in(body: &mut SetExpr) {
    match body {
        SetExpr::Select(select) => {
            let Select { projection, .. } = select.as_mut();
            tell_apart(projection);
        }
        SetExpr::SetOperation { left, .. } => tell_apart_in(left),
        SetExpr::Query(query) => tell_apart_in(&mut query.body),
        _ => {}
    }
}

/// Columns that repeat a name, or may repeat one of a wildcard, get a suffix.
fn tell_apart(items: &mut [SelectItem]) {
    let wildcard =
        items.iter().any(|i| matches!(i, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(_), _)));
    let mut taken = HashSet::new();
    for (i, item) in items.iter_mut().enumerate() {
        let (shown_name, expr) = match item {
            SelectItem::UnnamedExpr(expr) => (of(expr).unwrap_or_else(|| UNNAMED.to_owned()), expr),
            SelectItem::ExprWithAlias { expr, alias } => (folded(alias), expr),
            _ => continue,
        };
        if taken.insert(shown_name.clone()) && !wildcard {
            continue;
        }
        let expr = std::mem::replace(expr, Expr::Identifier(Ident::new("")));
        *item = SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', format!("{}{SUFFIX}{i}", shown(&shown_name))) };
    }
}

/// The name that Postgres gives an expression without an alias; `None`: `?column?`.
fn of(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Identifier(ident) => Some(folded(ident)),
        Expr::CompoundIdentifier(parts) => parts.last().map(folded),
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => of(inner),
        Expr::CompoundFieldAccess { root, access_chain } => {
            let field = access_chain.iter().rev().find_map(|a| match a {
                ast::AccessExpr::Dot(Expr::Identifier(ident)) => Some(folded(ident)),
                _ => None,
            });
            field.or_else(|| of(root))
        }
        Expr::Function(f) => f.name.0.last().and_then(|p| p.as_ident()).map(folded),
        Expr::Cast { expr, data_type, .. } => of(expr).filter(|_| !is_named_by_type(expr)).or_else(|| type_name(data_type)),
        Expr::TypedString(typed) => type_name(&typed.data_type),
        Expr::Interval(_) => Some("interval".into()),
        Expr::Case { else_result, .. } => else_result.as_deref().and_then(of).or_else(|| Some("case".into())),
        Expr::Subquery(query) => subquery(&query.body),
        Expr::Exists { .. } => Some("exists".into()),
        Expr::Array(_) => Some("array".into()),
        Expr::Extract { .. } => Some("extract".into()),
        Expr::Substring { shorthand, .. } => Some(if *shorthand { "substr" } else { "substring" }.into()),
        Expr::Position { .. } => Some("position".into()),
        Expr::Overlay { .. } => Some("overlay".into()),
        Expr::Ceil { .. } => Some("ceil".into()),
        Expr::Floor { .. } => Some("floor".into()),
        Expr::AtTimeZone { .. } => Some("timezone".into()),
        Expr::Tuple(_) => Some("row".into()),
        Expr::Trim { trim_where, .. } => Some(
            match trim_where {
                Some(ast::TrimWhereField::Leading) => "ltrim",
                Some(ast::TrimWhereField::Trailing) => "rtrim",
                _ => "btrim",
            }
            .into(),
        ),
        Expr::Value(value) if matches!(value.value, ast::Value::Boolean(_)) => Some("bool".into()),
        _ => None,
    }
}

fn subquery(body: &SetExpr) -> Option<String> {
    match body {
        SetExpr::Select(select) => match select.projection.first()? {
            SelectItem::UnnamedExpr(expr) => of(expr),
            SelectItem::ExprWithAlias { alias, .. } => Some(folded(alias)),
            _ => None,
        },
        SetExpr::SetOperation { left, .. } => subquery(left),
        SetExpr::Query(query) => subquery(&query.body),
        _ => None,
    }
}

/// A name that comes from a type or a keyword gives way to the type of a cast around it.
fn is_named_by_type(expr: &Expr) -> bool {
    match expr {
        Expr::Case { .. } | Expr::TypedString(_) | Expr::Interval(_) => true,
        Expr::Value(_) => true,
        Expr::Nested(inner) => is_named_by_type(inner),
        Expr::Cast { expr, .. } => of(expr).is_none() || is_named_by_type(expr),
        _ => false,
    }
}

/// A cast's column is called as the catalog calls the type: `int4`, not `integer`.
fn type_name(data_type: &ast::DataType) -> Option<String> {
    let (field, _) = field("", data_type).ok()?;
    let name = sql_type(&field);
    let base = name.split(['(', '[', '<']).next().unwrap_or(&name);
    Some(
        match base {
            "boolean" => "bool",
            "smallint" => "int2",
            "integer" => "int4",
            "bigint" => "int8",
            "real" => "float4",
            "double precision" => "float8",
            "character varying" => match data_type {
                ast::DataType::Char(_) | ast::DataType::Character(_) => "bpchar",
                _ => "varchar",
            },
            "time without time zone" => "time",
            "timestamp without time zone" => "timestamp",
            "timestamp with time zone" => "timestamptz",
            other => other,
        }
        .to_owned(),
    )
}

/// Replaces calls of session functions by the text that `value` gives for (name, constant arguments); `None`: not one of them.
pub fn substitute(
    tree: &mut impl VisitMut,
    value: &mut dyn FnMut(&str, &[String]) -> Option<crate::error::Result<Option<String>>>,
) -> crate::error::Result<()> {
    let mut substitution = Substitution { value, failed: None };
    walk::rewrite(tree, &mut substitution);
    substitution.failed.map_or(Ok(()), Err)
}

struct Substitution<'a> {
    value: &'a mut dyn FnMut(&str, &[String]) -> Option<crate::error::Result<Option<String>>>,
    failed: Option<crate::error::Error>,
}

impl Rewrite for Substitution<'_> {
    fn expr(&mut self, expr: &mut Expr) {
        let Expr::Function(call) = expr else { return };
        let Some((name, arguments)) = simple_call(call) else { return };
        match (self.value)(&name, &arguments) {
            None => {}
            Some(Err(error)) => self.failed = self.failed.take().or(Some(error)),
            Some(Ok(text)) => {
                let value = text.map_or(ast::Value::Null, ast::Value::SingleQuotedString);
                // A cast, so that the value is text and not a literal of unknown type.
                *expr = Expr::Cast {
                    kind: ast::CastKind::DoubleColon,
                    expr: Box::new(Expr::value(value)),
                    data_type: ast::DataType::Text,
                    array: false,
                    format: None,
                };
            }
        }
    }
}

/// A call whose arguments are all string, boolean or number literals.
fn simple_call(call: &Function) -> Option<(String, Vec<String>)> {
    let name = function_name(&call.name)?;
    let arguments = match &call.args {
        FunctionArguments::None => Vec::new(),
        FunctionArguments::List(list) => list
            .args
            .iter()
            .map(|a| match a {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(v))) => match &v.value {
                    ast::Value::SingleQuotedString(s) => Some(s.clone()),
                    ast::Value::Boolean(b) => Some(b.to_string()),
                    ast::Value::Number(n, _) => Some(n.to_string()),
                    _ => None,
                },
                _ => None,
            })
            .collect::<Option<Vec<_>>>()?,
        FunctionArguments::Subquery(_) => return None,
    };
    Some((name, arguments))
}

/// `f` or `pg_catalog.f`, folded.
pub fn function_name(name: &ObjectName) -> Option<String> {
    let parts: Vec<String> = name.0.iter().filter_map(|p| p.as_ident()).map(folded).collect();
    match parts.as_slice() {
        [only] => Some(only.clone()),
        [schema, last] if schema == "pg_catalog" => Some(last.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::parse;

    fn names(sql: &str) -> Vec<String> {
        let mut query = parse::query(sql).unwrap();
        name_columns(&mut query);
        let SetExpr::Select(select) = query.body.as_ref() else { panic!() };
        select
            .projection
            .iter()
            .map(|item| match item {
                SelectItem::UnnamedExpr(expr) => of(expr).unwrap(),
                SelectItem::ExprWithAlias { alias, .. } => shown(&alias.value).to_owned(),
                other => other.to_string(),
            })
            .collect()
    }

    /// As PostgreSQL 15 names them.
    #[test]
    fn columns_are_called_as_in_postgres() {
        let list = names(
            "select 1, 1+1, a, t.b, count(*), a::text, 1::bigint, '1'::varchar(3), case when a then 1 end, case when a then 1 else b end, coalesce(a, b), \
             (select max(x) from t), exists(select 1), array[1], true, extract(year from d), date '2024-01-01', interval '1 day', -a, a is null, \
             now() at time zone 'UTC', trim(a), lower(b)::text",
        );
        assert_eq!(
            list,
            [
                "?column?", "?column?", "a", "b", "count", "a", "int8", "varchar", "case", "b", "coalesce", "max", "exists", "array", "bool", "extract",
                "date", "interval", "?column?", "?column?", "timezone", "btrim", "lower"
            ]
        );
    }

    #[test]
    fn equal_names_are_told_apart_inside_and_shown_alike() {
        let mut query = parse::query("select a, a, 1, 2, *").unwrap();
        name_columns(&mut query);
        let text = query.to_string();
        assert_eq!(text.matches(SUFFIX).count(), 4, "{text}");
        assert_eq!(names("select a, a, 1, 2"), ["a", "a", "?column?", "?column?"]);
    }
}
