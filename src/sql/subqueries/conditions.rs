//! Conditions of WHERE. They only have to be true or not, so that most subqueries are semi and anti joins.
//!
//! `x NOT IN (…)` holds if no row is equal, no row is NULL, and `x` is not NULL unless there are no rows: three conditions, each with a key of its own.

use super::domain::{filtered, is_nullable, only_column, outside};
use super::simple::{has_subquery, is_closed, is_simple, rows_of};
use super::values::Outer;
use super::{Unnesting, narrowed};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::{Case, Exists, InSubquery, SetComparison, SetQuantifier};
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{BinaryExpr, Expr, Filter, LogicalPlan, Subquery, lit};
use std::sync::Arc;

impl Unnesting {
    pub(super) fn filter(&mut self, filter: Filter) -> Result<LogicalPlan> {
        let schema = Arc::clone(filter.input.schema());
        let mut conditions = Vec::new();
        for condition in split_conjunction_owned(filter.predicate) {
            split(condition, &schema, &mut conditions)?;
        }
        let mut outer = Outer::new(self, Arc::unwrap_or_clone(filter.input), true);
        let mut kept = Vec::new();
        for condition in conditions {
            kept.push(if is_join(&condition, &schema)? { condition } else { outer.value(condition)? });
        }
        let joined = outer.joined;
        let predicate = conjunction(kept).unwrap_or_else(|| lit(true));
        let filtered = LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(outer.plan))?);
        if joined { narrowed(filtered, &schema) } else { Ok(filtered) }
    }
}

/// A condition as conditions that are simpler, true where it is.
fn split(condition: Expr, schema: &DFSchema, out: &mut Vec<Expr>) -> Result<()> {
    match condition {
        Expr::Not(inner) => match *inner {
            Expr::Exists(e) => out.push(exists(rows_of(&e.subquery.subquery).clone(), !e.negated)),
            Expr::InSubquery(e) => return split(Expr::InSubquery(InSubquery { negated: !e.negated, ..e }), schema, out),
            Expr::SetComparison(e) => match e.op.negate() {
                Some(op) => {
                    let quantifier = if e.quantifier == SetQuantifier::Any { SetQuantifier::All } else { SetQuantifier::Any };
                    return split(Expr::SetComparison(SetComparison { op, quantifier, ..e }), schema, out);
                }
                None => out.push(Expr::Not(Box::new(Expr::SetComparison(e)))),
            },
            Expr::Case(case) => match known(&case) {
                Some((matched, unknown)) => {
                    split(Expr::Not(Box::new(matched)), schema, out)?;
                    return split(Expr::Not(Box::new(unknown)), schema, out);
                }
                None => out.push(Expr::Not(Box::new(Expr::Case(case)))),
            },
            other => out.push(Expr::Not(Box::new(other))),
        },
        Expr::Case(case) => match known(&case) {
            Some((matched, _)) => return split(matched, schema, out),
            None => out.push(Expr::Case(case)),
        },
        Expr::SetComparison(e) if !has_subquery(&e.expr) => {
            let plan = e.subquery.subquery.as_ref().clone();
            let compared = Expr::BinaryExpr(BinaryExpr::new(Box::new(outside(*e.expr, schema)?), e.op, Box::new(only_column(&plan))));
            out.push(match e.quantifier {
                SetQuantifier::Any => exists(filtered(plan, compared)?, false),
                SetQuantifier::All => exists(filtered(plan, Expr::IsNotTrue(Box::new(compared)))?, true),
            });
        }
        Expr::Exists(e) => out.push(exists(rows_of(&e.subquery.subquery).clone(), e.negated)),
        Expr::InSubquery(e) if !has_subquery(&e.expr) && !e.expr.contains_outer() => split_in(e, schema, out)?,
        other => out.push(other),
    }
    Ok(())
}

fn split_in(e: InSubquery, schema: &DFSchema, out: &mut Vec<Expr>) -> Result<()> {
    let closed = is_closed(&e.subquery.subquery)?;
    if closed || !e.negated && is_simple(&e.subquery, schema)? {
        out.push(Expr::InSubquery(e));
        return Ok(());
    }
    let plan = e.subquery.subquery.as_ref().clone();
    let y = only_column(&plan);
    let equal = outside((*e.expr).clone(), schema)?.eq(y.clone());
    out.push(exists(filtered(plan.clone(), equal)?, e.negated));
    if !e.negated {
        return Ok(());
    }
    if is_nullable(&y, plan.schema()) {
        out.push(exists(filtered(plan.clone(), y.is_null())?, true));
    }
    if is_nullable(&e.expr, schema) {
        out.push(e.expr.is_not_null().or(exists(plan, true)));
    }
    Ok(())
}

/// `CASE WHEN matched THEN TRUE WHEN unknown THEN NULL ELSE FALSE END`, which rows compared with subqueries become.
fn known(case: &Case) -> Option<(Expr, Expr)> {
    let is = |e: &Expr, value: Option<bool>| match e {
        Expr::Literal(ScalarValue::Boolean(v), _) => *v == value,
        Expr::Literal(ScalarValue::Null, _) => value.is_none(),
        _ => false,
    };
    let [(matched, yes), (unknown, null)] = case.when_then_expr.as_slice() else { return None };
    let otherwise = case.else_expr.as_ref()?;
    let shape = case.expr.is_none() && is(yes, Some(true)) && is(null, None) && is(otherwise, Some(false));
    let both = matches!((matched.as_ref(), unknown.as_ref()), (Expr::Exists(_), Expr::Exists(_)));
    (shape && both).then(|| (matched.as_ref().clone(), unknown.as_ref().clone()))
}

fn exists(plan: LogicalPlan, negated: bool) -> Expr {
    let outer_ref_columns = plan.all_out_ref_exprs();
    Expr::Exists(Exists { subquery: Subquery { subquery: Arc::new(plan), outer_ref_columns, spans: Default::default() }, negated })
}

/// Whether DataFusion makes a semi or anti join of it, or there is nothing to do.
fn is_join(condition: &Expr, schema: &DFSchema) -> Result<bool> {
    match condition {
        Expr::Exists(e) => is_simple(&e.subquery, schema),
        Expr::InSubquery(e) => Ok(!has_subquery(&e.expr) && !e.expr.contains_outer() && is_simple(&e.subquery, schema)?),
        other => Ok(!has_subquery(other)),
    }
}
