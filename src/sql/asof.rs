//! Joins in time, written as ordinary joins whose condition says what they are (`functions/asof.rs`); the planner makes them what they say.
//!
//! | join | becomes |
//! | --- | --- |
//! | `a ASOF [LEFT] JOIN b MATCH_CONDITION (m) ON c` | `a [LEFT] JOIN b ON (c) AND tw_asof(m)` |
//! | `a ASOF [LEFT] JOIN b ON c AND m` | `a [LEFT] JOIN b ON tw_asof(c AND m)` |
//! | `a [LEFT] JOIN b FOR SYSTEM_TIME AS OF a.ts ON c` | `a [LEFT] JOIN b ON (c) AND tw_version_at(a.ts)` |
//!
//! `FOR SYSTEM_TIME AS OF PROCTIME()` stays ([`super::relations`]). What is none of these is refused when it is parsed ([`refused`]).

use super::forms::call;
use super::functions::asof::{ASOF, VERSION_AT};
use super::walk::{self, Read};
use datafusion::common::tree_node::TreeNode;
use datafusion::logical_expr as logical;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Join, JoinConstraint, JoinOperator, Query, SetExpr, Spanned, TableFactor,
    TableVersion, TableWithJoins, Value, ValueWithSpan, Visit,
};
use datafusion::sql::sqlparser::tokenizer::Location;
use std::ops::ControlFlow;

/// In a match condition: of a LEFT join. The tokens say so.
pub(super) const LEFT: &str = "tw_asof_left";

/// Writes the joins of every SELECT of `body` so.
pub(super) fn rewrite(body: &mut SetExpr) {
    match body {
        SetExpr::Select(select) => select.from.iter_mut().for_each(joins),
        SetExpr::SetOperation { left, right, .. } => {
            rewrite(left);
            rewrite(right);
        }
        _ => {}
    }
}

pub(super) fn joins(table: &mut TableWithJoins) {
    table.joins.iter_mut().for_each(join);
}

fn join(join: &mut Join) {
    match &mut join.join_operator {
        JoinOperator::AsOf { match_condition, constraint } => {
            let (condition, is_left) = unmarked(match_condition);
            let condition = match (constraint, is_true(condition)) {
                (JoinConstraint::On(on), true) => call(ASOF, vec![on.clone()]),
                (JoinConstraint::On(on), false) => both(on.clone(), call(ASOF, vec![condition.clone()])),
                _ => call(ASOF, vec![condition.clone()]),
            };
            let on = JoinConstraint::On(condition);
            join.join_operator = if is_left { JoinOperator::LeftOuter(on) } else { JoinOperator::Inner(on) };
        }
        JoinOperator::Join(JoinConstraint::On(on))
        | JoinOperator::Inner(JoinConstraint::On(on))
        | JoinOperator::Left(JoinConstraint::On(on))
        | JoinOperator::LeftOuter(JoinConstraint::On(on)) => {
            let TableFactor::Table { version, .. } = &mut join.relation else { return };
            if let Some(TableVersion::ForSystemTimeAsOf(time)) = version.take_if(|v| !is_proctime(v)) {
                *on = both(on.clone(), call(VERSION_AT, vec![time]));
            }
        }
        _ => {}
    }
}

fn both(on: Expr, mark: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(Expr::Nested(Box::new(on))), op: BinaryOperator::And, right: Box::new(mark) }
}

/// The condition as it was written, and whether the join is a LEFT one.
fn unmarked(condition: &Expr) -> (&Expr, bool) {
    if let Expr::Function(f) = condition
        && f.name.to_string() == LEFT
        && let FunctionArguments::List(list) = &f.args
        && let [FunctionArg::Unnamed(FunctionArgExpr::Expr(inner))] = list.args.as_slice()
    {
        return (inner, true);
    }
    (condition, false)
}

fn is_true(condition: &Expr) -> bool {
    matches!(condition, Expr::Value(ValueWithSpan { value: Value::Boolean(true), .. }))
}

/// `PROCTIME()`.
pub(super) fn is_proctime(version: &TableVersion) -> bool {
    matches!(version, TableVersion::ForSystemTimeAsOf(Expr::Function(f)) if f.name.to_string().eq_ignore_ascii_case("proctime"))
}

/// What of a FROM clause is no join in time that we have: a message, a hint, and where it stands.
pub(super) fn refused(table: &TableWithJoins) -> Option<(&'static str, &'static str, &TableFactor)> {
    let misplaced =
        ("FOR SYSTEM_TIME AS OF in this place", "it stands on the right side of a join: … FROM a [LEFT] JOIN b FOR SYSTEM_TIME AS OF a.ts ON a.k = b.k");
    let version = |factor: &TableFactor| if let TableFactor::Table { version: Some(v), .. } = factor { Some(v.clone()) } else { None };
    if version(&table.relation).is_some_and(|v| !is_proctime(&v)) {
        return Some((misplaced.0, misplaced.1, &table.relation));
    }
    table.joins.iter().find_map(|join| {
        let at = &join.relation;
        let version = version(&join.relation);
        match &join.join_operator {
            JoinOperator::AsOf { constraint: JoinConstraint::Using(_) | JoinConstraint::Natural, .. } => {
                Some(("USING of an ASOF JOIN", "write ON a.k = b.k", at))
            }
            JoinOperator::AsOf { .. } if version.is_some() => Some(("FOR SYSTEM_TIME AS OF in an ASOF JOIN", "write one of both", at)),
            JoinOperator::AsOf { .. } if matches!(&join.relation, TableFactor::Derived { lateral: true, .. } | TableFactor::Function { lateral: true, .. }) => {
                Some(("LATERAL on the right side of an ASOF JOIN", "join the relations of the subquery one by one", at))
            }
            JoinOperator::Join(JoinConstraint::On(_))
            | JoinOperator::Inner(JoinConstraint::On(_))
            | JoinOperator::Left(JoinConstraint::On(_))
            | JoinOperator::LeftOuter(JoinConstraint::On(_)) => {
                version.filter(|v| !matches!(v, TableVersion::ForSystemTimeAsOf(_))).map(|_| ("this version of a relation", misplaced.1, at))
            }
            _ => version.filter(|v| !is_proctime(v)).map(|_| (misplaced.0, misplaced.1, at)),
        }
    })
}

/// Where the first join in time of a statement says so.
pub(super) fn place(tree: &impl Visit) -> Option<Location> {
    let mut first = First(None);
    walk::read(tree, &mut first);
    first.0
}

struct First(Option<Location>);

impl First {
    fn of(&mut self, body: &SetExpr) {
        match body {
            SetExpr::Select(select) => select.from.iter().for_each(|table| self.joined(table)),
            SetExpr::SetOperation { left, right, .. } => {
                self.of(left);
                self.of(right);
            }
            _ => {}
        }
    }

    fn joined(&mut self, table: &TableWithJoins) {
        for join in &table.joins {
            let place = match (&join.join_operator, &join.relation) {
                // The condition may be one that the tokens were given; the relation is always written.
                (JoinOperator::AsOf { match_condition, .. }, relation) if is_true(unmarked(match_condition).0) => Some(relation.span().start),
                (JoinOperator::AsOf { match_condition, .. }, _) => Some(unmarked(match_condition).0.span().start),
                (_, TableFactor::Table { version: Some(TableVersion::ForSystemTimeAsOf(time)), .. }) => Some(time.span().start),
                _ => None,
            };
            self.0 = self.0.or(place);
        }
    }
}

impl Read for First {
    fn query(&mut self, query: &Query) -> ControlFlow<()> {
        self.of(&query.body);
        if self.0.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// Whether a condition of a bound join says that it is one in time.
pub(super) fn is_in_time(condition: &logical::Expr) -> bool {
    let mark = |e: &logical::Expr| matches!(e, logical::Expr::ScalarFunction(call) if [ASOF, VERSION_AT].contains(&call.func.name()));
    condition.exists(|e| Ok(mark(e))).unwrap_or(true)
}

#[cfg(test)]
mod tests {
    use crate::sql::forms::tests::rewritten;

    #[test]
    fn every_spelling_becomes_a_condition() {
        for (form, becomes) in [
            ("SELECT 1::int FROM a ASOF JOIN b MATCH_CONDITION (a.t >= b.t) ON a.k = b.k", "INNER JOIN b ON (a.k = b.k) AND tw_asof(a.t >= b.t)"),
            ("SELECT 1::int FROM a INNER ASOF JOIN b MATCH_CONDITION (a.t > b.t)", "INNER JOIN b ON tw_asof(a.t > b.t)"),
            (
                "SELECT 1::int FROM a ASOF LEFT JOIN b x MATCH_CONDITION ((a.t) <= x.t) ON a.k = x.k OR true",
                "LEFT OUTER JOIN b x ON (a.k = x.k OR true) AND tw_asof((a.t) <= x.t)",
            ),
            (
                "SELECT 1::int FROM a LEFT OUTER ASOF JOIN (SELECT * FROM b ORDER BY k) b ON a.k = b.k AND a.t < b.t",
                "LEFT OUTER JOIN (SELECT * FROM b ORDER BY k) b ON tw_asof(a.k = b.k AND a.t < b.t)",
            ),
            ("SELECT 1::int FROM a JOIN b FOR SYSTEM_TIME AS OF a.t AS x ON a.k = x.k", "JOIN b AS x ON (a.k = x.k) AND tw_version_at(a.t)"),
            ("SELECT 1::int FROM c JOIN (a ASOF JOIN b ON a.t >= b.t) ON true", "JOIN (a INNER JOIN b ON tw_asof(a.t >= b.t)) ON true"),
        ] {
            let text = rewritten(form);
            assert!(text.ends_with(becomes), "{form}\n{text}");
        }
    }
}
