//! Constants that floating-point columns are compared with: -0.0 becomes 0.0, and every NaN the same one.
//!
//! Postgres calls them equal, and so do our comparisons of rows; DataFusion's rules compare constants by their bits when they look for the narrower of
//! two conditions (`f <= '-0' AND f < 0` would be `f <= '-0'`). The rule stands before and behind the one that folds constants, which makes new ones.
//!
//! A list of constants (`f IN (0, 1, 2, 3)`) is looked up by the bits of the row's value: at the end one with a zero gets the other zero too. (A NaN needs none: those of
//! rows are all the same one, from input as from arithmetic.)

use super::optimize::{Rule, around};
use crate::types::float::Float;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan};
use datafusion::optimizer::simplify_expressions::SimplifyExpressions;
use datafusion::optimizer::utils::NamePreserver;
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};
use std::sync::Arc;

/// See the module.
#[derive(Debug)]
pub struct ComparableConstants;

impl OptimizerRule for ComparableConstants {
    fn name(&self) -> &str {
        "comparable_constants"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(&self, plan: LogicalPlan, _config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        // A plan's columns are named after its expressions; only conditions are not.
        match plan {
            LogicalPlan::Filter(_) | LogicalPlan::Join(_) | LogicalPlan::TableScan(_) => plan.map_expressions(|e| e.transform_up(comparison)),
            other => Ok(Transformed::no(other)),
        }
    }
}

/// A list of floats with a zero has both.
#[derive(Debug)]
struct BothZeros;

impl OptimizerRule for BothZeros {
    fn name(&self) -> &str {
        "both_zeros"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(&self, plan: LogicalPlan, _config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let names = NamePreserver::new(&plan);
        plan.map_expressions(|expr| {
            let name = names.save(&expr);
            let lists = expr.transform_up(|e| {
                Ok(match e {
                    Expr::InList(list) => both_zeros(list).update_data(Expr::InList),
                    other => Transformed::no(other),
                })
            })?;
            Ok(lists.update_data(|e| name.restore(e)))
        })
    }
}

/// The list with 0.0 and -0.0, if it has one of them.
pub fn both_zeros(mut list: InList) -> Transformed<InList> {
    let mut missing = Vec::new();
    for literal in list.list.iter().filter(|e| is_zero(e)) {
        let other = match literal {
            Expr::Literal(ScalarValue::Float64(Some(v)), mark) => Expr::Literal(ScalarValue::Float64(Some(-v)), mark.clone()),
            Expr::Literal(ScalarValue::Float32(Some(v)), mark) => Expr::Literal(ScalarValue::Float32(Some(-v)), mark.clone()),
            _ => continue,
        };
        // Constants are equal by their bits.
        if !list.list.contains(&other) && !missing.contains(&other) {
            missing.push(other);
        }
    }
    let changed = !missing.is_empty();
    list.list.append(&mut missing);
    Transformed::new_transformed(list, changed)
}

fn is_zero(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(ScalarValue::Float64(Some(v)), _) => *v == 0.0,
        Expr::Literal(ScalarValue::Float32(Some(v)), _) => *v == 0.0,
        _ => false,
    }
}

/// The rules with the first one around that which folds constants, and the second one at the end.
pub(super) fn with_comparable_constants(rules: Vec<Rule>) -> Vec<Rule> {
    around(rules, SimplifyExpressions::new().name(), || Arc::new(ComparableConstants)).chain([Arc::new(BothZeros) as Rule]).collect()
}

fn comparison(expr: Expr) -> Result<Transformed<Expr>> {
    Ok(match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if op.supports_propagation() => {
            let (left, right) = (constant(*left), constant(*right));
            let changed = left.transformed || right.transformed;
            let binary = Expr::BinaryExpr(BinaryExpr { left: Box::new(left.data), op, right: Box::new(right.data) });
            Transformed::new_transformed(binary, changed)
        }
        Expr::InList(InList { expr, list, negated }) => {
            let list: Vec<Transformed<Expr>> = list.into_iter().map(constant).collect();
            let changed = list.iter().any(|e| e.transformed);
            let mut list: Vec<Expr> = list.into_iter().map(|e| e.data).collect();
            let mut zeros = 0;
            list.retain(|e| !is_zero(e) || std::mem::replace(&mut zeros, 1) == 0);
            Transformed::new_transformed(Expr::InList(InList { expr, list, negated }), changed)
        }
        other => Transformed::no(other),
    })
}

fn constant(expr: Expr) -> Transformed<Expr> {
    match expr {
        Expr::Literal(ScalarValue::Float64(Some(v)), mark) => {
            let plain = v.canonical();
            Transformed::new_transformed(Expr::Literal(ScalarValue::Float64(Some(plain)), mark), plain.to_bits() != v.to_bits())
        }
        Expr::Literal(ScalarValue::Float32(Some(v)), mark) => {
            let plain = v.canonical();
            Transformed::new_transformed(Expr::Literal(ScalarValue::Float32(Some(plain)), mark), plain.to_bits() != v.to_bits())
        }
        other => Transformed::no(other),
    }
}
