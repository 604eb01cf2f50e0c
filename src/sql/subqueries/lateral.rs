//! LATERAL: the right side of a join is a function of the left one's rows.

use super::domain::{Domain, filtered, outside};
use super::simple::has_subquery;
use super::{Unnesting, narrowed};
use crate::error::Error;
use crate::sql::asof::is_in_time;
use crate::sql::functions::table::external;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, JoinType, Result};
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Expr, Filter, Join, LogicalPlan, LogicalPlanBuilder};
use std::sync::Arc;

impl Unnesting {
    pub(super) fn join(&mut self, join: Join) -> Result<Transformed<LogicalPlan>> {
        if join.filter.as_ref().is_some_and(is_in_time) && (is_lateral(&join.right) || join.filter.as_ref().is_some_and(has_subquery)) {
            return Err(in_time());
        }
        if is_lateral(&join.right) && matches!(join.join_type, JoinType::Inner | JoinType::Left) {
            return self.lateral(join).map(Transformed::yes);
        }
        let hidden = join.filter.as_ref().is_some_and(has_subquery);
        if !hidden || join.join_type != JoinType::Inner {
            return Ok(Transformed::no(LogicalPlan::Join(join)));
        }
        // ON of an inner join is a condition on its rows.
        let (with, without): (Vec<Expr>, Vec<Expr>) = join.filter.map(split_conjunction_owned).unwrap_or_default().into_iter().partition(has_subquery);
        let plain = LogicalPlan::Join(Join { filter: conjunction(without), ..join });
        let Some(condition) = conjunction(with) else { return Ok(Transformed::no(plain)) };
        self.node(LogicalPlan::Filter(Filter::try_new(condition, Arc::new(plain))?))
    }

    fn lateral(&mut self, join: Join) -> Result<LogicalPlan> {
        let (left, schema) = (join.left.as_ref().clone(), Arc::clone(&join.schema));
        let right = Arc::unwrap_or_clone(join.right);
        let equal = join.on.into_iter().map(|(l, r)| l.eq(r));
        let condition = conjunction(equal.chain(join.filter));
        // The condition is one of the right side, over the left one's values.
        let right = match condition.filter(|c| !is_true(c)) {
            None => right,
            Some(condition) => filtered(right.clone(), outside_of(condition, left.schema(), right.schema())?)?,
        };
        let Some(domain) = Domain::of(self, &right, &left)? else {
            // What it refers to lies further out.
            return LogicalPlanBuilder::from(left.clone()).join_on(right, join.join_type, [datafusion::logical_expr::lit(true)])?.build();
        };
        let (rows, strict) = self.dependent(right, &domain)?;
        let joined = LogicalPlanBuilder::from(left.clone()).join_on(rows, join.join_type, [domain.condition(strict)?])?.build()?;
        narrowed(joined, &schema)
    }
}

/// A join with the nearest row in time, for each of some outer values.
pub(super) fn in_time() -> datafusion::error::DataFusionError {
    external(
        Error::not_supported("an ASOF JOIN, or one FOR SYSTEM_TIME AS OF, over outer references or with a subquery in its condition is not supported")
            .with_hint("make the join first, in FROM or WITH, and refer to its result"),
    )
}

fn is_lateral(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Subquery(_) => true,
        LogicalPlan::SubqueryAlias(alias) => is_lateral(&alias.input),
        _ => false,
    }
}

fn is_true(condition: &Expr) -> bool {
    matches!(condition, Expr::Literal(datafusion::common::ScalarValue::Boolean(Some(true)), _))
}

/// Columns of the left side as outer references; a name that both sides have is the right one's only if it is qualified so.
fn outside_of(condition: Expr, left: &DFSchema, right: &DFSchema) -> Result<Expr> {
    let mut hidden = Vec::new();
    for (qualifier, field) in left.iter() {
        let column = datafusion::common::Column::from((qualifier, field));
        if !right.has_column(&column) {
            hidden.push((qualifier.cloned(), Arc::clone(field)));
        }
    }
    let schema = DFSchema::new_with_metadata(hidden, Default::default())?;
    outside(condition, &schema)
}
