//! WITH RECURSIVE in a subquery that reads its outer query: what it reads of it becomes a column of the recursion, so that the recursion itself reads nothing from outside.
//!
//! ```text
//! (WITH RECURSIVE r (a) AS (SELECT x FROM t WHERE t.k = o.k UNION ALL SELECT … FROM t, r WHERE …) SELECT a FROM r LIMIT 1)
//!   (WITH RECURSIVE r (a, tw_outer_0) AS (SELECT x, t.k FROM t UNION ALL SELECT …, r.tw_outer_0 FROM t, r WHERE …) SELECT a FROM r WHERE r.tw_outer_0 = o.k LIMIT 1)
//! ```
//!
//! Only equalities of the base term are taken out so; anything else that reads the outer query stays, and is refused when names are looked up.

use super::form;
use crate::sql::types::folded;
use crate::sql::walk::{self, Read};
use datafusion::sql::sqlparser::ast::{BinaryOperator, Cte, Expr, Ident, Query, Select, SelectItem, SetExpr, TableAliasColumnDef, TableFactor, TableWithJoins};
use std::ops::ControlFlow;

/// Takes the outer query's columns out of the recursion `cte`, which `query` reads.
pub(super) fn widen(cte: &mut Cte, query: &mut Query) {
    let name = folded(&cte.alias.name);
    if form(&cte.query).is_none() {
        return;
    }
    let Some(reader) = select_of(&mut query.body) else { return };
    let Some(alias) = alias_in(reader, &name) else { return };
    let SetExpr::SetOperation { left, right, .. } = cte.query.body.as_mut() else { return };
    let (SetExpr::Select(base), SetExpr::Select(term)) = (left.as_mut(), right.as_mut()) else { return };
    let Some(own) = alias_in(term, &name) else { return };
    for (i, (inner, outer)) in taken_out(base).into_iter().enumerate() {
        let column = Ident::new(format!("tw_outer_{i}"));
        base.projection.push(SelectItem::ExprWithAlias { expr: inner, alias: column.clone() });
        term.projection.push(SelectItem::UnnamedExpr(Expr::CompoundIdentifier(vec![own.clone(), column.clone()])));
        if !cte.alias.columns.is_empty() {
            cte.alias.columns.push(TableAliasColumnDef { name: column.clone(), data_type: None });
        }
        let same = equal(Expr::CompoundIdentifier(vec![alias.clone(), column]), outer);
        reader.selection = Some(match reader.selection.take() {
            Some(condition) => both(condition, same),
            None => same,
        });
    }
}

fn select_of(body: &mut SetExpr) -> Option<&mut Select> {
    match body {
        SetExpr::Select(select) => Some(select),
        _ => None,
    }
}

/// What a SELECT calls the recursion in its FROM.
fn alias_in(select: &Select, name: &str) -> Option<Ident> {
    let of = |factor: &TableFactor| match factor {
        TableFactor::Table { name: table, alias, .. } => match table.0.as_slice() {
            [part] if part.as_ident().is_some_and(|i| folded(i) == name) => Some(alias.as_ref().map_or_else(|| Ident::new(name), |a| a.name.clone())),
            _ => None,
        },
        _ => None,
    };
    let tables = |table: &TableWithJoins| of(&table.relation).or_else(|| table.joins.iter().find_map(|join| of(&join.relation)));
    select.from.iter().find_map(tables)
}

/// Equalities with the outer query's columns, taken off the condition: own expression, outer column.
fn taken_out(select: &mut Select) -> Vec<(Expr, Expr)> {
    let mut taken = Vec::new();
    let Some(condition) = select.selection.take() else { return taken };
    let mut rest: Option<Expr> = None;
    for part in conjuncts(condition) {
        match part {
            Expr::BinaryOp { left, op: BinaryOperator::Eq, right } if is_outer(&left) != is_outer(&right) && !(reads_outer(&left) && reads_outer(&right)) => {
                let (inner, outer) = if is_outer(&left) { (*right, *left) } else { (*left, *right) };
                taken.push((inner, outer));
            }
            other => {
                rest = Some(match rest {
                    Some(before) => both(before, other),
                    None => other,
                });
            }
        }
    }
    select.selection = rest;
    taken
}

fn conjuncts(expr: Expr) -> Vec<Expr> {
    match expr {
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => [conjuncts(*left), conjuncts(*right)].concat(),
        Expr::Nested(inner) if matches!(inner.as_ref(), Expr::BinaryOp { op: BinaryOperator::And, .. }) => conjuncts(*inner),
        other => vec![other],
    }
}

/// Schemas whose relations are written with them.
const SYSTEM: [&str; 2] = ["pg_catalog", "information_schema"];

/// `sql::forms` has written a column of an outer query with its schema.
fn is_outer(expr: &Expr) -> bool {
    matches!(expr, Expr::CompoundIdentifier(parts) if parts.len() == 3 && !SYSTEM.contains(&folded(&parts[0]).as_str()))
}

fn reads_outer(expr: &Expr) -> bool {
    struct Outer(bool);
    impl Read for Outer {
        fn expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            self.0 |= is_outer(expr);
            if self.0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }
    let mut outer = Outer(false);
    walk::read(expr, &mut outer);
    outer.0
}

fn both(left: Expr, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op: BinaryOperator::And, right: Box::new(right) }
}

fn equal(left: Expr, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op: BinaryOperator::Eq, right: Box::new(right) }
}
