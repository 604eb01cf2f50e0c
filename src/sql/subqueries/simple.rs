//! Which subqueries DataFusion's own rules take: they become semi joins, anti joins and joins with aggregates, which keep less than the general form.

use super::domain::each_outer;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, FetchType, LogicalPlan, Operator, SkipType, Subquery};

/// EXISTS or IN whose outer references are to `schema`, in filters above everything else.
pub(super) fn is_simple(subquery: &Subquery, schema: &DFSchema) -> Result<bool> {
    Ok(refers_to(subquery, schema)? && in_filters(&subquery.subquery, &|_| true)?)
}

/// No outer references, or a subquery as a value, with at most one row: an aggregate whose outer references are equal to columns.
pub(super) fn is_simple_value(subquery: &Subquery, schema: &DFSchema) -> Result<bool> {
    if is_closed(&subquery.subquery)? {
        // Without a row the value is NULL, whatever its column says; that of an aggregate is there.
        let plan = &subquery.subquery;
        return Ok(at_most_one(plan) && (plan.schema().field(0).is_nullable() || is_aggregate(plan)));
    }
    let mut plan = subquery.subquery.as_ref();
    while let LogicalPlan::Projection(p) = plan {
        if p.expr.iter().any(|e| e.contains_outer() || has_subquery(e)) {
            return Ok(false);
        }
        plan = &p.input;
    }
    let LogicalPlan::Aggregate(aggregate) = plan else { return Ok(false) };
    let plain = aggregate.group_expr.is_empty() && !aggregate.aggr_expr.iter().any(Expr::contains_outer);
    Ok(plain && refers_to(subquery, schema)? && in_filters(&aggregate.input, &equates)?)
}

/// Whether it cannot have two rows. (DataFusion counts none of `SELECT 1`, and so none of a union of them.)
pub(super) fn at_most_one(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(p) => at_most_one(&p.input),
        LogicalPlan::SubqueryAlias(alias) => at_most_one(&alias.input),
        LogicalPlan::Filter(filter) => at_most_one(&filter.input),
        LogicalPlan::Sort(sort) => at_most_one(&sort.input),
        LogicalPlan::Limit(limit) => matches!(limit.get_fetch_type(), Ok(FetchType::Literal(Some(0 | 1)))) || at_most_one(&limit.input),
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        LogicalPlan::Values(values) => values.values.len() <= 1,
        LogicalPlan::EmptyRelation(_) => true,
        _ => false,
    }
}

fn is_aggregate(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(p) => is_aggregate(&p.input),
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        _ => false,
    }
}

/// What decides whether there is a row: an order and a limit do not, unless the limit is 0 or rows are skipped.
pub(super) fn rows_of(plan: &LogicalPlan) -> &LogicalPlan {
    match plan {
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => rows_of(&sort.input),
        LogicalPlan::Limit(limit) => match (limit.get_skip_type(), limit.get_fetch_type()) {
            (Ok(SkipType::Literal(0)), Ok(FetchType::Literal(None | Some(1..)))) => rows_of(&limit.input),
            _ => plan,
        },
        other => other,
    }
}

/// No outer references, in subqueries of it neither.
pub(super) fn is_closed(plan: &LogicalPlan) -> Result<bool> {
    let mut closed = true;
    each_outer(plan, &mut |_| closed = false)?;
    Ok(closed)
}

fn refers_to(subquery: &Subquery, schema: &DFSchema) -> Result<bool> {
    let mut all = true;
    each_outer(&subquery.subquery, &mut |column| all &= schema.maybe_index_of_column(column).is_some())?;
    Ok(all)
}

/// Outer references stand in filters that pass `good`, with nothing but projections between them and the top.
fn in_filters(plan: &LogicalPlan, good: &dyn Fn(&Expr) -> bool) -> Result<bool> {
    match plan {
        LogicalPlan::Projection(p) => Ok(!p.expr.iter().any(|e| e.contains_outer() || has_subquery(e)) && in_filters(&p.input, good)?),
        LogicalPlan::SubqueryAlias(alias) => in_filters(&alias.input, good),
        LogicalPlan::Filter(filter) => {
            let conditions = split_conjunction(&filter.predicate);
            let fine = conditions.into_iter().filter(|c| c.contains_outer()).all(|c| good(c) && !has_subquery(c));
            Ok(fine && in_filters(&filter.input, good)?)
        }
        other => is_closed(other),
    }
}

/// `inner = outer`: each side has columns of one query.
fn equates(condition: &Expr) -> bool {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = condition else { return false };
    let is_inner = |e: &Expr| !e.contains_outer();
    let is_outer = |e: &Expr| e.contains_outer() && e.column_refs().is_empty();
    is_inner(left) && is_outer(right) || is_outer(left) && is_inner(right)
}

pub(super) fn has_subquery(expr: &Expr) -> bool {
    let mut found = false;
    let visited = expr.apply(|e| {
        found |= matches!(e, Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_));
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    debug_assert!(visited.is_ok(), "the visitor never fails");
    found
}
