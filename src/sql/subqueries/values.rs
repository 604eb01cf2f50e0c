//! Subqueries in expressions: each becomes a column that is joined to the input of the expression's node.

use super::domain::{Domain, filtered, is_nullable, only_column, outside};
use super::simple::{at_most_one, is_simple_value, rows_of};
use super::{Unnesting, columns};
use crate::sql::functions::array;
use crate::sql::functions::lists::array_agg;
use arrow::datatypes::FieldRef;
use datafusion::common::metadata::FieldMetadata;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, JoinType, Result, ScalarValue};
use datafusion::functions_aggregate::count::count_udaf;
use datafusion::logical_expr::expr::{InSubquery, ScalarFunction, SetComparison, SetQuantifier};
use datafusion::logical_expr::{
    Aggregate, Distinct, Expr, ExprFunctionExt, LogicalPlan, LogicalPlanBuilder, Operator, Projection, SortExpr, Subquery, lit, not, when,
};
use std::sync::Arc;

/// The input of a node whose expressions hold subqueries, while these are joined to it.
pub(super) struct Outer<'u> {
    unnesting: &'u mut Unnesting,
    /// As it was: what domains are taken from.
    original: LogicalPlan,
    pub(super) plan: LogicalPlan,
    pub(super) joined: bool,
    /// DataFusion takes simple subqueries of this node.
    leaves: bool,
}

impl<'u> Outer<'u> {
    pub(super) fn new(unnesting: &'u mut Unnesting, input: LogicalPlan, leaves: bool) -> Self {
        Outer { unnesting, original: input.clone(), plan: input, joined: false, leaves }
    }

    /// The expression with columns in the place of its subqueries.
    pub(super) fn value(&mut self, expr: Expr) -> Result<Expr> {
        let replaced = expr.transform_down(|e| {
            let replaced = |e: Expr| Transformed::new(e, true, TreeNodeRecursion::Jump);
            Ok(match e {
                Expr::ScalarSubquery(subquery) => {
                    if self.leaves && is_simple_value(&subquery, self.original.schema())? {
                        return Ok(Transformed::new(Expr::ScalarSubquery(subquery), false, TreeNodeRecursion::Jump));
                    }
                    replaced(self.scalar(subquery)?)
                }
                Expr::Exists(exists) => {
                    let found = self.exists(Arc::unwrap_or_clone(exists.subquery.subquery))?;
                    replaced(if exists.negated { not(found) } else { found })
                }
                Expr::InSubquery(InSubquery { expr, subquery, negated }) => {
                    let found = self.any(*expr, Operator::Eq, subquery)?;
                    replaced(if negated { not(found) } else { found })
                }
                Expr::SetComparison(SetComparison { expr, subquery, op, quantifier }) => replaced(match (quantifier, op.negate()) {
                    (SetQuantifier::Any, _) => self.any(*expr, op, subquery)?,
                    (SetQuantifier::All, Some(opposite)) => not(self.any(*expr, opposite, subquery)?),
                    (SetQuantifier::All, None) => Expr::SetComparison(SetComparison { expr, subquery, op, quantifier }),
                }),
                Expr::ScalarFunction(ScalarFunction { func, args }) if func.name() == array::OF_SUBQUERY => match <[Expr; 1]>::try_from(args) {
                    Ok([Expr::ScalarSubquery(subquery)]) => replaced(self.array(subquery)?),
                    Ok(args) => Transformed::no(Expr::ScalarFunction(ScalarFunction { func, args: args.to_vec() })),
                    Err(args) => Transformed::no(Expr::ScalarFunction(ScalarFunction { func, args })),
                },
                other => Transformed::no(other),
            })
        })?;
        Ok(replaced.data)
    }

    /// The only row's value. All rows of the subquery are gathered per outer row; where the value is asked for, more than one is an error.
    fn scalar(&mut self, subquery: Subquery) -> Result<Expr> {
        let plan = Arc::unwrap_or_clone(subquery.subquery);
        let field = Arc::clone(plan.schema().field(0));
        if at_most_one(&plan) {
            return Ok(marked(self.attach(plan, Attached::Row)?, &field));
        }
        let all = self.attach(plan, Attached::Gathered(Vec::new()))?;
        Ok(marked(array::only().call(vec![all]), &field))
    }

    fn array(&mut self, subquery: Subquery) -> Result<Expr> {
        let (plan, order) = in_order(Arc::unwrap_or_clone(subquery.subquery))?;
        let all = self.attach(plan, Attached::Gathered(order))?;
        Ok(array::or_empty().call(vec![all]))
    }

    /// Whether the subquery has a row; never NULL.
    pub(super) fn exists(&mut self, plan: LogicalPlan) -> Result<Expr> {
        Ok(self.attach(rows_of(&plan).clone(), Attached::Mark)?.is_not_null())
    }

    /// `x op ANY (subquery)`, NULL where neither a row matches nor all of them are known not to.
    fn any(&mut self, x: Expr, op: Operator, subquery: Subquery) -> Result<Expr> {
        let x = self.value(x)?;
        let plan = Arc::unwrap_or_clone(subquery.subquery);
        let (y, schema) = (only_column(&plan), Arc::clone(self.plan.schema()));
        let may_x = is_nullable(&x, &schema);
        let may_y = is_nullable(&y, plan.schema());
        let compared = Expr::BinaryExpr(datafusion::logical_expr::BinaryExpr::new(Box::new(outside(x.clone(), &schema)?), op, Box::new(y.clone())));
        let matched = self.exists(filtered(plan.clone(), compared)?)?;
        let mut unknown = Vec::new();
        if may_y {
            unknown.push(self.exists(filtered(plan.clone(), y.is_null())?)?);
        }
        if may_x {
            unknown.push(x.is_null().and(self.exists(plan)?));
        }
        match unknown.into_iter().reduce(Expr::or) {
            None => Ok(matched),
            Some(unknown) => when(matched, lit(true)).when(unknown, Expr::Literal(ScalarValue::Boolean(None), None)).otherwise(lit(false)),
        }
    }

    /// Joins what is asked of the subquery's rows, one row at most for each row here. Gives its column.
    fn attach(&mut self, plan: LogicalPlan, what: Attached) -> Result<Expr> {
        let name = self.unnesting.name("subquery");
        // Columns that came by joins are no part of the outer query, unless they are asked for.
        let within = |schema: &datafusion::common::DFSchema| -> Result<bool> {
            let mut all = true;
            super::domain::each_outer(&plan, &mut |c| {
                all &= self.plan.schema().maybe_index_of_column(c).is_none() || schema.maybe_index_of_column(c).is_some()
            })?;
            Ok(all)
        };
        let outer = if within(self.original.schema())? { self.original.clone() } else { self.plan.clone() };
        let outer = &outer;
        let Some(domain) = Domain::of(self.unnesting, &plan, outer)? else {
            let row = what.over(plan, Vec::new(), &name)?;
            let kind = if matches!(what, Attached::Gathered(_)) { JoinType::Inner } else { JoinType::Left };
            self.join(row, kind, lit(true))?;
            return Ok(Expr::Column(Column::new_unqualified(name)));
        };
        let (rows, strict) = self.unnesting.dependent(plan, &domain)?;
        let condition = domain.condition(strict)?;
        let rows = what.over(rows, domain.columns(), &name)?;
        self.join(rows, JoinType::Left, condition)?;
        Ok(Expr::Column(Column::new_unqualified(name)))
    }

    fn join(&mut self, right: LogicalPlan, kind: JoinType, condition: Expr) -> Result<()> {
        self.joined = true;
        let left = LogicalPlanBuilder::from(self.plan.clone());
        self.plan = match kind {
            JoinType::Inner => left.cross_join(right)?.build()?,
            kind => left.join_on(right, kind, [condition])?.build()?,
        };
        Ok(())
    }
}

/// What is asked of a subquery's rows.
enum Attached {
    /// The first column of the only row.
    Row,
    /// The first column of all rows, as an array in this order.
    Gathered(Vec<SortExpr>),
    /// Whether there are any.
    Mark,
}

impl Attached {
    /// One row per `values` (columns of `plan`) with the answer as column `name`.
    fn over(&self, plan: LogicalPlan, values: Vec<Expr>, name: &str) -> Result<LogicalPlan> {
        let plan = Arc::new(plan);
        let column = only_column(&plan);
        Ok(match self {
            Attached::Row => {
                let list = std::iter::once(column.alias(name)).chain(values).collect();
                LogicalPlan::Projection(Projection::try_new(list, plan)?)
            }
            Attached::Gathered(order) => {
                let all = array_agg().call(vec![column]);
                let all = if order.is_empty() { all } else { all.order_by(order.clone()).build()? };
                LogicalPlan::Aggregate(Aggregate::try_new(plan, values, vec![all.alias(name)])?)
            }
            Attached::Mark if values.is_empty() => {
                let counted = LogicalPlan::Aggregate(Aggregate::try_new(plan, vec![], vec![count_udaf().call(vec![lit(1i64)]).alias(name)])?);
                filtered(counted, Expr::Column(Column::new_unqualified(name)).gt(lit(0i64)))?
            }
            Attached::Mark => {
                let distinct = LogicalPlan::Projection(Projection::try_new(values, plan)?);
                let distinct = Arc::new(LogicalPlan::Distinct(Distinct::All(Arc::new(distinct))));
                let list = columns(distinct.schema()).into_iter().chain([lit(true).alias(name)]).collect();
                LogicalPlan::Projection(Projection::try_new(list, distinct)?)
            }
        })
    }
}

/// A subquery's rows without the Sort on top, and its order over their columns. The first column is the value.
fn in_order(plan: LogicalPlan) -> Result<(LogicalPlan, Vec<SortExpr>)> {
    let with_value = |inner: LogicalPlan, value: Expr| -> Result<LogicalPlan> {
        let list = std::iter::once(value.alias("__value")).chain(columns(inner.schema())).collect();
        Ok(LogicalPlan::Projection(Projection::try_new(list, Arc::new(inner))?))
    };
    Ok(match plan {
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => (Arc::unwrap_or_clone(sort.input), sort.expr),
        LogicalPlan::Projection(p) => match p.input.as_ref() {
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => (with_value(sort.input.as_ref().clone(), p.expr[0].clone())?, sort.expr.clone()),
            _ => (LogicalPlan::Projection(p), Vec::new()),
        },
        LogicalPlan::Limit(limit) => match limit.input.as_ref() {
            LogicalPlan::Sort(sort) => {
                let order = sort.expr.clone();
                (LogicalPlan::Limit(limit), order)
            }
            LogicalPlan::Projection(p) if matches!(p.input.as_ref(), LogicalPlan::Sort(_)) => {
                let LogicalPlan::Sort(sort) = p.input.as_ref() else { return Ok((LogicalPlan::Limit(limit), Vec::new())) };
                let (order, value) = (sort.expr.clone(), p.expr[0].clone());
                let sorted = Arc::clone(&p.input);
                (with_value(LogicalPlan::Limit(datafusion::logical_expr::Limit { input: sorted, ..limit }), value)?, order)
            }
            _ => (LogicalPlan::Limit(limit), Vec::new()),
        },
        other => (other, Vec::new()),
    })
}

/// The value with what marks its type (jsonb, a length).
fn marked(value: Expr, field: &FieldRef) -> Expr {
    if field.metadata().is_empty() {
        return value;
    }
    value.alias_with_metadata(field.name(), Some(FieldMetadata::from(field.metadata().clone())))
}
