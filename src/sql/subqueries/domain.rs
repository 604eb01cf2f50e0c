//! The values of the outer columns that a subquery refers to.

use super::{Unnesting, columns};
use crate::error::Error;
use crate::sql::functions::table::external;
use arrow::datatypes::FieldRef;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, Result, ScalarValue};
use datafusion::logical_expr::{Distinct, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Projection, Volatility, lit, when};
use std::sync::Arc;

/// One outer column, and what it is called where the subquery gives it out.
pub(super) struct Value {
    pub(super) outer: Column,
    pub(super) field: FieldRef,
    pub(super) name: String,
}

impl Value {
    pub(super) fn column(&self) -> Expr {
        Expr::Column(Column::new_unqualified(self.name.clone()))
    }
}

/// The outer columns of one subquery.
pub(super) struct Domain<'a> {
    pub(super) values: Vec<Value>,
    outer: &'a LogicalPlan,
}

impl<'a> Domain<'a> {
    /// The columns of `outer` that `subquery` refers to; `None`: it refers to none.
    pub(super) fn of(unnesting: &mut Unnesting, subquery: &LogicalPlan, outer: &'a LogicalPlan) -> Result<Option<Domain<'a>>> {
        let mut values: Vec<Value> = Vec::new();
        let schema = outer.schema();
        each_outer(subquery, &mut |column| {
            if values.iter().all(|v| v.outer != *column)
                && let Some(place) = schema.maybe_index_of_column(column)
            {
                let name = unnesting.name("outer");
                values.push(Value { outer: column.clone(), field: Arc::clone(schema.field(place)), name });
            }
        })?;
        Ok((!values.is_empty()).then_some(Domain { values, outer }))
    }

    pub(super) fn columns(&self) -> Vec<Expr> {
        self.values.iter().map(Value::column).collect()
    }

    /// Whether the plan refers to one of the values.
    pub(super) fn is_used(&self, plan: &LogicalPlan) -> Result<bool> {
        let mut used = false;
        each_outer(plan, &mut |column| used |= self.values.iter().any(|v| v.outer == *column))?;
        Ok(used)
    }

    /// The expression over the values' own columns.
    pub(super) fn inside(&self, expr: Expr) -> Result<Expr> {
        let replaced = expr.transform_up(|e| {
            Ok(match &e {
                Expr::OuterReferenceColumn(_, c) => match self.values.iter().find(|v| v.outer == *c) {
                    Some(value) => Transformed::yes(value.column()),
                    None => Transformed::no(e),
                },
                _ => Transformed::no(e),
            })
        })?;
        Ok(replaced.data)
    }

    /// The distinct values. Error: the outer query would compute others each time.
    pub(super) fn plan(&self) -> Result<LogicalPlan> {
        refuse_volatile(self.outer)?;
        let list = self.values.iter().map(|v| Expr::Column(v.outer.clone()).alias(v.name.clone())).collect();
        let values = LogicalPlan::Projection(Projection::try_new(list, Arc::new(self.outer.clone()))?);
        Ok(LogicalPlan::Distinct(Distinct::All(Arc::new(values))))
    }

    /// Where a row of the outer query is one of these values. `strict`: the plan has no row where one of them is NULL.
    pub(super) fn condition(&self, strict: bool) -> Result<Expr> {
        let pairs = self.values.iter().map(|v| same(Expr::Column(v.outer.clone()), v.column(), &v.field, strict || !v.field.is_nullable()));
        let conditions = pairs.collect::<Result<Vec<_>>>()?;
        Ok(conditions.into_iter().reduce(Expr::and).unwrap_or_else(|| lit(true)))
    }
}

/// Equal, NULL to NULL: as equal keys that are never NULL, for a join has one rule for all of its keys and optimizers mix them.
pub(super) fn same(left: Expr, right: Expr, field: &FieldRef, strict: bool) -> Result<Expr> {
    if strict {
        return Ok(left.eq(right));
    }
    let whole = |e: Expr| when(e.clone().is_null(), Expr::Literal(ScalarValue::new_default(field.data_type())?, None)).otherwise(e);
    Ok(left.clone().is_null().eq(right.clone().is_null()).and(whole(left)?.eq(whole(right)?)))
}

/// Outer references of a plan; those of subqueries inside of it are to that plan.
pub(super) fn each_outer(plan: &LogicalPlan, found: &mut dyn FnMut(&Column)) -> Result<()> {
    plan.apply(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|e| {
                if let Expr::OuterReferenceColumn(_, column) = e {
                    found(column);
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(())
}

/// `expr` over columns of `schema`, as a subquery over it sees it.
pub(super) fn outside(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    let referred = expr.transform_up(|e| {
        Ok(match e {
            Expr::Column(column) => match schema.maybe_index_of_column(&column) {
                Some(place) => Transformed::yes(Expr::OuterReferenceColumn(Arc::clone(schema.field(place)), column)),
                None => Transformed::no(Expr::Column(column)),
            },
            other => Transformed::no(other),
        })
    })?;
    Ok(referred.data)
}

fn refuse_volatile(plan: &LogicalPlan) -> Result<()> {
    let mut volatile = false;
    plan.apply(|node| {
        node.apply_expressions(|expr| {
            volatile |= expr.exists(|e| Ok(matches!(e, Expr::ScalarFunction(f) if f.func.signature().volatility == Volatility::Volatile)))?;
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    if !volatile {
        return Ok(());
    }
    Err(external(
        Error::not_supported("a correlated subquery of this form over a query with volatile functions is not supported")
            .with_hint("store the volatile values in a table first"),
    ))
}

/// The first column of a plan that gives one.
pub(super) fn only_column(plan: &LogicalPlan) -> Expr {
    columns(plan.schema()).swap_remove(0)
}

pub(super) fn is_nullable(expr: &Expr, schema: &DFSchema) -> bool {
    expr.nullable(schema).unwrap_or(true)
}

pub(super) fn filtered(plan: LogicalPlan, condition: Expr) -> Result<LogicalPlan> {
    LogicalPlanBuilder::from(plan).filter(condition)?.build()
}
