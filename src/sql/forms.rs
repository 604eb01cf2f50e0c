//! Forms of Postgres that DataFusion's planner does not know, or reads in another way, written as calls of functions before binding:
//!
//! | form | becomes |
//! | --- | --- |
//! | `x AT TIME ZONE z` | `timezone(z, x)` |
//! | `extract(f FROM x)`, `substring(x FROM … FOR …)` | `extract('f', x)`, `substring(x, …, …)` |
//! | `x [NOT] SIMILAR TO p` | `[NOT] tw_similar_to(x, p)` |
//! | `x ^ y`, `\|/ x`, `\|\|/ x`, `@ x`, `~ x`, `x ^@ y` | `power`, `sqrt`, `cbrt`, `abs`, `x # -1`, `starts_with` |
//! | `(row).f` | `row['f']` |
//! | `1e300`, `9223372036854775808` | a cast of a quoted literal to the type that holds it |
//! | `SELECT 1`, `VALUES (1)` | `1::int`, so that columns are what Postgres makes them |
//! | `INTERVAL '5' DAY` | `'5 DAY'::interval` |
//! | `x LIKE 'a!%' ESCAPE '!'` | `x LIKE 'a\\%'` |
//! | `mod(x, y)` | `x % y` |
//! | `jsonb_agg(x)`, `make_interval(days => 1)` and others | see [`super::aggregate_forms`], [`super::call_forms`] |
//! | `outer_relation.column` in a subquery | `public.outer_relation.column`, which cannot be a column's field |
//! | `x ? k`, `x && y`, `x LIKE ANY (a)` and others | see [`super::operator_forms`] |
//! | `FETCH FIRST n ROWS ONLY` | `LIMIT n` |
//! | windows and `WITH TIES` | see [`super::over`] |
//! | `ASOF JOIN`, `FOR SYSTEM_TIME AS OF t` | see [`super::asof`] |
//! | what tools ask the catalog with | see [`super::catalog_forms`] |
//! | `FROM generate_series(1, 3) g` | `… g(g)`, the name that Postgres gives the column |

use super::aggregate_forms;
use super::call_forms;
use super::functions::string::with_backslashes;
use super::names::function_name;
use super::operator_forms;
use super::over;
use super::types::folded;
use super::walk::{self, Rewrite};
use crate::catalog::catalog::PUBLIC;
use crate::types::text::decimal::Literal;
use datafusion::sql::sqlparser::ast::{
    self, AccessExpr, BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident, LimitClause, ObjectName,
    Query, SelectItem, SetExpr, Subscript, TableAlias, TableAliasColumnDef, TableFactor, UnaryOperator, Value, ValueWithSpan, VisitMut,
};
use datafusion::sql::sqlparser::tokenizer::Span;
use std::collections::HashMap;

/// Functions in FROM whose one column is called as they are.
const ONE_COLUMN: [&str; 5] = ["generate_series", "string_to_array", "current_schemas", "current_setting", "format_type"];

/// Digits of a numeric literal that the engine holds.
const DIGITS: usize = 38;

/// Rewrites every form in `tree`. Columns were named before, for a name comes from what was written.
pub fn rewrite(tree: &mut impl VisitMut) {
    walk::rewrite(tree, &mut Forms { scopes: Vec::new(), elements: Vec::new() });
}

struct Forms {
    /// Names of the relations in FROM, of each query entered, with their schemas as written.
    scopes: Vec<HashMap<String, Option<Ident>>>,
    /// Of the same queries: relations of one column, whose name alone stands for its value.
    elements: Vec<Vec<String>>,
}

impl Forms {
    /// `t.c` where `t` is a relation of an outer query: the planner would take `t` for a column of the inner one if it has such a column.
    /// Its schema goes before it.
    fn qualify_outer(&self, parts: &mut Vec<Ident>) {
        let [relation, _] = parts.as_slice() else { return };
        let Some((own, outer)) = self.scopes.split_last() else { return };
        let name = folded(relation);
        if let Some(schema) = outer.iter().rev().find_map(|scope| scope.get(&name)).filter(|_| !own.contains_key(&name)) {
            parts.insert(0, schema.clone().unwrap_or_else(|| Ident::new(PUBLIC)));
        }
    }
}

/// What the relations in FROM are called.
fn relations(body: &SetExpr, found: &mut HashMap<String, Option<Ident>>) {
    match body {
        SetExpr::Select(select) => {
            for table in &select.from {
                factor_names(&table.relation, found);
                table.joins.iter().for_each(|join| factor_names(&join.relation, found));
            }
        }
        SetExpr::SetOperation { left, right, .. } => {
            relations(left, found);
            relations(right, found);
        }
        _ => {}
    }
}

fn factor_names(factor: &TableFactor, found: &mut HashMap<String, Option<Ident>>) {
    match factor {
        TableFactor::Table { alias: Some(alias), .. } | TableFactor::Derived { alias: Some(alias), .. } => {
            found.insert(folded(&alias.name), None);
        }
        TableFactor::Table { name, .. } => {
            let parts: Vec<&Ident> = name.0.iter().filter_map(|p| p.as_ident()).collect();
            if let Some((last, rest)) = parts.split_last() {
                found.insert(folded(last), rest.last().map(|schema| (*schema).clone()));
            }
        }
        TableFactor::NestedJoin { table_with_joins, .. } => {
            factor_names(&table_with_joins.relation, found);
            table_with_joins.joins.iter().for_each(|join| factor_names(&join.relation, found));
        }
        _ => {}
    }
}

impl Rewrite for Forms {
    fn enter_query(&mut self, query: &mut Query) {
        over::resolve_windows(query);
        if query.fetch.as_ref().is_some_and(|fetch| fetch.with_ties) {
            over::with_ties(query);
        }
        if let (Some(fetch), false) = (query.fetch.take(), matches!(&query.limit_clause, Some(LimitClause::LimitOffset { limit: Some(_), .. }))) {
            let limit = Some(fetch.quantity.unwrap_or_else(|| number("1")));
            let offset = match query.limit_clause.take() {
                Some(LimitClause::LimitOffset { offset, .. }) => offset,
                _ => None,
            };
            query.limit_clause = Some(LimitClause::LimitOffset { limit, offset, limit_by: vec![] });
        }
        super::multisets::rewrite(&mut query.body);
        super::using::rewrite(&mut query.body);
        super::asof::rewrite(&mut query.body);
        type_items(&mut query.body);
        let mut names = HashMap::new();
        relations(&query.body, &mut names);
        self.scopes.push(names);
        self.elements.push(super::set_returning::elements(&query.body));
    }

    fn leave_query(&mut self) {
        self.scopes.pop();
        self.elements.pop();
    }

    fn table_factor(&mut self, factor: &mut TableFactor) {
        if let TableFactor::Table { name, args: Some(_), .. } | TableFactor::Function { name, .. } = factor {
            super::catalog_forms::unqualify(name);
        }
        super::set_returning::in_from(factor);
        if let TableFactor::NestedJoin { table_with_joins, .. } = factor {
            super::asof::joins(table_with_joins);
        }
        let TableFactor::Table { name, alias, args: Some(_), .. } = factor else { return };
        let Some(called) = function_name(name).filter(|name| ONE_COLUMN.contains(&name.as_str())) else { return };
        let alias = alias.get_or_insert_with(|| TableAlias { explicit: true, name: Ident::new(called), columns: vec![], at: None });
        if alias.columns.is_empty() {
            alias.columns.push(TableAliasColumnDef { name: alias.name.clone(), data_type: None });
        }
    }

    fn expr(&mut self, expr: &mut Expr) {
        if let Expr::CompoundFieldAccess { root, access_chain } = expr {
            qualified(root, access_chain);
            if let Expr::CompoundIdentifier(parts) = root.as_mut() {
                self.qualify_outer(parts);
            }
        }
        if let Expr::Identifier(name) = expr
            && self.elements.iter().flatten().any(|element| *element == folded(name))
        {
            *expr = Expr::CompoundIdentifier(vec![name.clone(), Ident::new(super::set_returning::VALUE)]);
        }
        if let Expr::CompoundIdentifier(parts) = expr {
            self.qualify_outer(parts);
        }
        let written = super::catalog_forms::rewritten(std::mem::replace(expr, value(Value::Null)));
        let own = self.scopes.last();
        let is_relation = |name: &Ident| own.is_some_and(|scope| scope.contains_key(&folded(name)));
        *expr = super::subquery_forms::rewritten(rewritten(written, is_relation));
    }
}

fn rewritten(expr: Expr, is_relation: impl Fn(&Ident) -> bool) -> Expr {
    match expr {
        Expr::AtTimeZone { timestamp, time_zone } => call("timezone", vec![*time_zone, *timestamp]),
        Expr::Extract { field, expr, .. } => call("extract", vec![string(field.to_string().trim_matches('\'').to_lowercase()), *expr]),
        Expr::Substring { expr, substring_from, substring_for, .. } => {
            let from = substring_from.map_or_else(|| number("1"), |e| *e);
            call("substring", [Some(*expr), Some(from), substring_for.map(|e| *e)].into_iter().flatten().collect())
        }
        Expr::Interval(interval) => interval_literal(interval),
        Expr::SimilarTo { negated, expr, pattern, escape_char } => {
            let escape = escape_char.map(Expr::Value);
            let similar = call("tw_similar_to", [Some(*expr), Some(*pattern), escape].into_iter().flatten().collect());
            if negated { Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(similar) } } else { similar }
        }
        Expr::UnaryOp { op: UnaryOperator::PGSquareRoot, expr } => call("sqrt", vec![*expr]),
        Expr::UnaryOp { op: UnaryOperator::PGCubeRoot, expr } => call("cbrt", vec![*expr]),
        Expr::UnaryOp { op: UnaryOperator::PGAbs, expr } => call("abs", vec![*expr]),
        Expr::UnaryOp { op: UnaryOperator::BitwiseNot, expr } => Expr::BinaryOp { left: expr, op: BinaryOperator::PGBitwiseXor, right: Box::new(number("-1")) },
        Expr::BinaryOp { left, op: BinaryOperator::PGExp, right } => call("power", vec![*left, *right]),
        Expr::BinaryOp { left, op: BinaryOperator::PGStartsWith, right } => call("starts_with", vec![*left, *right]),
        Expr::BinaryOp { left, op, right } => operator_forms::rewritten(*left, op, *right),
        Expr::AnyOp { left, compare_op, right, is_some } => operator_forms::any(*left, compare_op, *right, is_some),
        Expr::AllOp { left, compare_op, right } => operator_forms::all(*left, compare_op, *right),
        // A member of a row, or of a column that is one.
        Expr::CompoundFieldAccess { root, access_chain } if is_member(&root, &access_chain) => member(*root, access_chain),
        Expr::CompoundFieldAccess { root, access_chain } => Expr::CompoundFieldAccess { root, access_chain: access_chain.into_iter().map(access).collect() },
        Expr::Value(ValueWithSpan { value: Value::Number(text, long), span }) => match wide(&text) {
            Some(cast) => cast,
            None => Expr::Value(ValueWithSpan { value: Value::Number(text, long), span }),
        },
        Expr::Like { any: true, negated, expr, pattern, .. } => operator_forms::like_any(*expr, if negated { "!~~" } else { "~~" }, *pattern),
        Expr::ILike { any: true, negated, expr, pattern, .. } => operator_forms::like_any(*expr, if negated { "!~~*" } else { "~~*" }, *pattern),
        Expr::Like { negated, expr, pattern, .. } if operator_forms::array_of_all(&pattern).is_some() => {
            let array = operator_forms::array_of_all(&pattern).unwrap_or(*pattern);
            operator_forms::like_all(*expr, if negated { "!~~" } else { "~~" }, array)
        }
        Expr::ILike { negated, expr, pattern, .. } if operator_forms::array_of_all(&pattern).is_some() => {
            let array = operator_forms::array_of_all(&pattern).unwrap_or(*pattern);
            operator_forms::like_all(*expr, if negated { "!~~*" } else { "~~*" }, array)
        }
        Expr::Like { negated, any, expr, pattern, escape_char } => {
            let (pattern, escape_char) = backslashed(pattern, escape_char);
            Expr::Like { negated, any, expr, pattern, escape_char }
        }
        Expr::ILike { negated, any, expr, pattern, escape_char } => {
            let (pattern, escape_char) = backslashed(pattern, escape_char);
            Expr::ILike { negated, any, expr, pattern, escape_char }
        }
        Expr::Identifier(name) => call_forms::identifier(name),
        Expr::Value(ValueWithSpan { value: Value::UnicodeStringLiteral(text), span }) => {
            Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), span })
        }
        Expr::Function(mut function) => {
            over::plain_bounds(&mut function);
            match modulo(function) {
                Expr::Function(function) => match call_forms::rewritten(function) {
                    Expr::Function(function) => aggregate_forms::rewritten(function, is_relation),
                    other => other,
                },
                other => other,
            }
        }
        other => other,
    }
}

/// `(o).id` and `(o.address).street`.
fn is_member(root: &Expr, chain: &[AccessExpr]) -> bool {
    let named = matches!(root, Expr::Nested(inner) if matches!(inner.as_ref(), Expr::Identifier(_) | Expr::CompoundIdentifier(_)));
    named && chain.iter().all(|access| matches!(access, AccessExpr::Dot(Expr::Identifier(_))))
}

fn member(root: Expr, chain: Vec<AccessExpr>) -> Expr {
    let mut parts = match root {
        Expr::Nested(inner) => match *inner {
            Expr::Identifier(ident) => vec![ident],
            Expr::CompoundIdentifier(parts) => parts,
            other => return Expr::CompoundFieldAccess { root: Box::new(Expr::Nested(Box::new(other))), access_chain: chain },
        },
        other => return Expr::CompoundFieldAccess { root: Box::new(other), access_chain: chain },
    };
    parts.extend(chain.into_iter().filter_map(|access| if let AccessExpr::Dot(Expr::Identifier(ident)) = access { Some(ident) } else { None }));
    Expr::CompoundIdentifier(parts)
}

/// A constant pattern with another escape character than the backslash.
fn backslashed(pattern: Box<Expr>, escape: Option<ValueWithSpan>) -> (Box<Expr>, Option<ValueWithSpan>) {
    let text = |value: &Value| match value {
        Value::SingleQuotedString(text) => Some(text.clone()),
        _ => None,
    };
    let written = match pattern.as_ref() {
        Expr::Value(v) => text(&v.value),
        _ => None,
    };
    let character = escape.as_ref().and_then(|e| text(&e.value)).filter(|e| e.chars().count() <= 1);
    let (written, character) = match (written, character) {
        (Some(written), Some(character)) => (written, character),
        // What is not constant is turned row by row.
        (None, Some(character)) if character != "\\" => return (Box::new(call("tw_like_pattern", vec![*pattern, string(character)])), None),
        _ => return (pattern, escape),
    };
    (Box::new(string(with_backslashes(&written, &character))), None)
}

/// `mod(x, y)` is `x % y`.
fn modulo(function: Function) -> Expr {
    let operands = match &function.args {
        FunctionArguments::List(list) if function_name(&function.name).as_deref() == Some("mod") => match list.args.as_slice() {
            [FunctionArg::Unnamed(FunctionArgExpr::Expr(x)), FunctionArg::Unnamed(FunctionArgExpr::Expr(y))] => Some((x.clone(), y.clone())),
            _ => None,
        },
        _ => None,
    };
    match operands {
        Some((x, y)) => Expr::Nested(Box::new(Expr::BinaryOp { left: Box::new(x), op: BinaryOperator::Modulo, right: Box::new(y) })),
        None => Expr::Function(function),
    }
}

/// A quoted interval is read as Postgres reads it; `INTERVAL '5' DAY` as `5 day`.
fn interval_literal(interval: ast::Interval) -> Expr {
    let text = match interval.value.as_ref() {
        Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), .. }) if interval.last_field.is_none() => text.clone(),
        _ => return Expr::Interval(interval),
    };
    let text = match &interval.leading_field {
        Some(unit) if text.trim().parse::<f64>().is_ok() => format!("{text} {unit}"),
        Some(_) => return Expr::Interval(interval),
        None => text,
    };
    cast(string(text), ast::DataType::Interval { fields: None, precision: None })
}

/// `t.a[1]` is an element of a column: fields of rows stand behind parentheses.
fn qualified(root: &mut Expr, chain: &mut Vec<AccessExpr>) {
    let Expr::Identifier(first) = root else { return };
    let names = chain.iter().take_while(|step| matches!(step, AccessExpr::Dot(Expr::Identifier(_)))).count();
    if names == 0 || names == chain.len() {
        return;
    }
    let mut parts = vec![first.clone()];
    parts.extend(chain.drain(..names).filter_map(|step| if let AccessExpr::Dot(Expr::Identifier(name)) = step { Some(name) } else { None }));
    *root = Expr::CompoundIdentifier(parts);
}

/// A field's name is no column; a slice without a bound goes as far as there are elements.
fn access(step: AccessExpr) -> AccessExpr {
    match step {
        AccessExpr::Subscript(Subscript::Slice { lower_bound, upper_bound, stride: None }) => AccessExpr::Subscript(Subscript::Slice {
            lower_bound: lower_bound.or_else(|| Some(number("1"))),
            upper_bound: upper_bound.or_else(|| Some(number("2147483647"))),
            stride: None,
        }),
        AccessExpr::Dot(Expr::Identifier(ident)) => AccessExpr::Dot(string(folded(&ident))),
        other => other,
    }
}

/// A number that the planner would misread: with an exponent, or beyond bigint.
fn wide(text: &str) -> Option<Expr> {
    let has_exponent = text.contains(['e', 'E']);
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    if !has_exponent && (text.contains('.') && digits <= DIGITS || text.replace('_', "").parse::<i64>().is_ok()) {
        return None;
    }
    let plain = text.replace('_', "");
    let literal = Literal::parse(&plain).ok()?;
    let fits = usize::try_from(literal.scale()).is_ok_and(|s| s <= DIGITS)
        && literal.unscaled::<i128>(literal.scale()).is_some_and(|v| v.unsigned_abs() < 10u128.pow(DIGITS as u32));
    let data_type = if fits { ast::DataType::Numeric(ast::ExactNumberInfo::None) } else { ast::DataType::DoublePrecision };
    Some(cast(string(plain), data_type))
}

/// Whole numbers on their own in a select list or in VALUES are integers.
fn type_items(body: &mut SetExpr) {
    match body {
        SetExpr::Select(select) => {
            for item in &mut select.projection {
                if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item
                    && is_integer(expr)
                {
                    type_item(expr);
                }
            }
        }
        SetExpr::Values(values) => {
            for expr in values.rows.iter_mut().flat_map(|row| &mut row.content).filter(|e| is_integer(e)) {
                type_item(expr);
            }
        }
        SetExpr::SetOperation { left, right, .. } => {
            type_items(left);
            type_items(right);
        }
        _ => {}
    }
}

fn type_item(expr: &mut Expr) {
    let number = std::mem::replace(expr, value(Value::Null));
    *expr = cast(number, ast::DataType::Int(None));
}

fn is_integer(expr: &Expr) -> bool {
    match expr {
        Expr::Value(v) => matches!(&v.value, Value::Number(text, _) if text.parse::<i32>().is_ok()),
        Expr::UnaryOp { op: UnaryOperator::Minus | UnaryOperator::Plus, expr } => is_integer(expr),
        Expr::Nested(inner) => is_integer(inner),
        _ => false,
    }
}

pub(super) fn value(value: Value) -> Expr {
    Expr::Value(ValueWithSpan { value, span: Span::empty() })
}

pub(super) fn string(text: String) -> Expr {
    value(Value::SingleQuotedString(text))
}

pub(super) fn number(text: &str) -> Expr {
    value(Value::Number(text.to_owned(), false))
}

pub(super) fn cast(expr: Expr, data_type: ast::DataType) -> Expr {
    Expr::Cast { kind: ast::CastKind::DoubleColon, expr: Box::new(expr), data_type, array: false, format: None }
}

pub(super) fn call(name: &str, arguments: Vec<Expr>) -> Expr {
    let args = arguments.into_iter().map(|e| FunctionArg::Unnamed(FunctionArgExpr::Expr(e))).collect();
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses: vec![] }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: vec![],
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::sql::parse;

    /// The query that a query becomes.
    pub(in crate::sql) fn rewritten(text: &str) -> String {
        let mut query = parse::query(text).unwrap();
        rewrite(&mut query);
        query.to_string()
    }

    fn of(text: &str) -> String {
        let mut expr = parse::expression(text).unwrap();
        rewrite(&mut expr);
        expr.to_string()
    }

    #[test]
    fn forms_become_calls() {
        for (form, becomes) in [
            ("ts AT TIME ZONE 'UTC'", "timezone('UTC', ts)"),
            ("extract(EPOCH FROM ts)", "extract('epoch', ts)"),
            ("substring(a from 2 for 3)", "substring(a, 2, 3)"),
            ("substring(a for 3)", "substring(a, 1, 3)"),
            ("a NOT SIMILAR TO 'x%'", "NOT tw_similar_to(a, 'x%')"),
            ("|/ a + 2 ^ 3", "sqrt(a) + power(2, 3)"),
            ("(r).f", "r.f"),
            ("t.a[1]", "t.a[1]"),
            ("(t.r).f[2]", "(t.r).'f'[2]"),
            ("a LIKE 'x!%!!' ESCAPE '!'", "a LIKE 'x\\%\\!'"),
            ("1e3", "'1e3'::NUMERIC"),
            ("1e300", "'1e300'::DOUBLE PRECISION"),
            ("9223372036854775808", "'9223372036854775808'::NUMERIC"),
            ("1.5", "1.5"),
            ("interval '04:05'", "'04:05'::INTERVAL"),
            ("interval '5' day", "'5 DAY'::INTERVAL"),
        ] {
            assert_eq!(of(form), becomes, "{form}");
        }
    }

    #[test]
    fn a_relation_of_the_outer_query_is_told_from_a_column() {
        let query = rewritten("select name from city where exists (select 1 from person p where p.city = city.id)");
        assert!(query.ends_with("WHERE p.city = public.city.id)"), "{query}");
    }

    #[test]
    fn select_lists_and_series_are_what_postgres_makes_them() {
        let query = rewritten("select 1, -2, a from generate_series(1, 3) g fetch first 2 rows only");
        assert_eq!(query, "SELECT 1::INT, -2::INT, a FROM generate_series(1, 3) g (g) LIMIT 2");
    }
}
