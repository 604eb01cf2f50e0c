//! Joins whose keys are all plain or all NULL-safe (`a IS NOT DISTINCT FROM b`), never mixed.
//!
//! A join of DataFusion's has one rule of NULLs for all of its keys. Its rules add plain keys to a join that is NULL-safe (ExtractEquijoinPredicate, when a filter
//! has come down to it), and take keys of several joins together under the rule of the topmost (EliminateCrossJoin): rows with NULLs would be lost or invented.
//! So NULL-safe keys are conditions while rules work on joins, and become keys again at the end, where there are no others:
//!
//! ```text
//!   ON a.x IS NOT DISTINCT FROM b.x                      NULL-safe key x
//!   ON a.x IS NOT DISTINCT FROM b.x AND a.y = b.y        plain key y; x is compared for each pair
//! ```

use super::optimize::{Rule, around};
use datafusion::common::tree_node::Transformed;
use datafusion::common::{NullEquality, Result};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, Join, LogicalPlan, Operator, binary_expr};
use datafusion::optimizer::extract_equijoin_predicate::ExtractEquijoinPredicate;
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};
use std::sync::Arc;

/// NULL-safe keys become conditions.
#[derive(Debug)]
struct NullSafeConditions;

impl OptimizerRule for NullSafeConditions {
    fn name(&self) -> &str {
        "null_safe_conditions"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(&self, plan: LogicalPlan, _config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        match plan {
            LogicalPlan::Join(join) if join.null_equality == NullEquality::NullEqualsNull => {
                let Join { on, filter, .. } = join;
                let safe = |(left, right): (Expr, Expr)| binary_expr(left, Operator::IsNotDistinctFrom, right);
                let filter = conjunction(on.into_iter().map(safe).chain(filter));
                let null_equality = NullEquality::NullEqualsNothing;
                Ok(Transformed::yes(LogicalPlan::Join(Join { on: Vec::new(), filter, null_equality, ..join })))
            }
            other => Ok(Transformed::no(other)),
        }
    }
}

/// The rules with this one around that which finds keys of joins, which then has the last word too.
pub(super) fn with_unmixed_keys(rules: Vec<Rule>) -> Vec<Rule> {
    let keys = ExtractEquijoinPredicate::new();
    around(rules, keys.name(), || Arc::new(NullSafeConditions)).chain([Arc::new(ExtractEquijoinPredicate::new()) as Rule]).collect()
}
