//! Which of DataFusion's rules rewrite a view's plan. They are made for batch, so each is chosen, not inherited.
//!
//! | rule | used | reason |
//! | --- | --- | --- |
//! | RewriteSetComparison | yes | `x = ANY (SELECT …)` becomes EXISTS, which decorrelates |
//! | OptimizeUnions | yes | nested unions become one operator |
//! | SimplifyExpressions | yes | constants folded once, not per row; now() stands only where it is compared with times of rows, and is no constant to the simplifier |
//! | ComparableConstants (ours) | yes | before and behind SimplifyExpressions: rules compare constants by their bits |
//! | BothZeros (ours) | yes | lists of constants are looked up by their bits |
//! | DecorrelatePredicateSubquery, ScalarSubqueryToJoin, DecorrelateLateralJoin | yes | subqueries become joins, the only form we maintain |
//! | ExtractEquijoinPredicate, EliminateCrossJoin | yes | keys for arrangements; without a key both sides meet on one worker |
//! | NullSafeConditions (ours) | yes | around ExtractEquijoinPredicate: rules mix NULL-safe keys with plain ones |
//! | EliminateDuplicatedExpr, EliminateFilter | yes | smaller keys, fewer operators |
//! | EliminateOuterJoin | yes | an inner join keeps no counts of partners; valid at every epoch, for the filter above drops the padded rows |
//! | PushDownFilter | yes | rows that cannot matter never reach state |
//! | LeftConditions (ours) | yes | the same for the left side of an ASOF join, which PushDownFilter does not know |
//! | OptimizeProjections | yes | columns nobody reads never reach state |
//! | UnionsToFilter | no | needs both sides to be one scan; saves nothing that sharing of equal sub-plans does not |
//! | ReplaceDistinctWithAggregate | no | DISTINCT and DISTINCT ON have operators of their own, which keep less |
//! | EliminateJoin | no | rests on keys of inputs; a relation whose key is loosened later must not change a stored plan |
//! | EliminateLimit, PushDownLimit | no | a limit below another operator is true of a snapshot, not of a relation that retracts |
//! | PropagateEmptyRelation | no | an empty constant costs nothing at run time, and plans stay as written |
//! | FilterNullJoinKeys | no | the join drops NULL keys itself |
//! | SingleDistinctToGroupBy | no | two aggregates with the state of the inner one twice; DISTINCT in aggregates counts values per group |
//! | EliminateGroupByConstant | no | with all keys constant it changes the answer on empty input |
//! | CommonSubexprEliminate, ExtractLeafExpressions, PushDownLeafProjections | no | they evaluate expressions where the query does not, so other rows would fail |

use super::arithmetic;
use super::asof;
use super::comparable::with_comparable_constants;
use super::lower::processing_time;
use super::lower::temporal::{CLOCKS, is_maintained, reads_clock, refused};
use super::null_safe::with_unmixed_keys;
use crate::error::{Error, Kind, Result};
use datafusion::common::JoinType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, Join, LogicalPlan, Volatility};
use datafusion::optimizer::decorrelate_lateral_join::DecorrelateLateralJoin;
use datafusion::optimizer::decorrelate_predicate_subquery::DecorrelatePredicateSubquery;
use datafusion::optimizer::eliminate_cross_join::EliminateCrossJoin;
use datafusion::optimizer::eliminate_duplicated_expr::EliminateDuplicatedExpr;
use datafusion::optimizer::eliminate_filter::EliminateFilter;
use datafusion::optimizer::eliminate_outer_join::EliminateOuterJoin;
use datafusion::optimizer::extract_equijoin_predicate::ExtractEquijoinPredicate;
use datafusion::optimizer::optimize_projections::OptimizeProjections;
use datafusion::optimizer::optimize_unions::OptimizeUnions;
use datafusion::optimizer::push_down_filter::PushDownFilter;
use datafusion::optimizer::rewrite_set_comparison::RewriteSetComparison;
use datafusion::optimizer::scalar_subquery_to_join::ScalarSubqueryToJoin;
use datafusion::optimizer::simplify_expressions::SimplifyExpressions;
use datafusion::optimizer::{Optimizer, OptimizerContext, OptimizerRule};
use std::sync::Arc;

/// Rounds of all rules; most plans settle in two.
const PASSES: u8 = 5;

/// The plan that is lowered. Error: something in it has no value that could be maintained.
pub(crate) fn optimize(plan: &LogicalPlan) -> Result<LogicalPlan> {
    let plan = asof::lifted(processing_time::as_windows(plan.clone())?)?;
    refuse_unstable(&plan)?;
    refuse_many_rows(&plan)?;
    let plan = arithmetic::checked(plan)?;
    let mut config = ConfigOptions::new();
    // There is no operator that runs a subquery first: each becomes a join.
    config.optimizer.enable_physical_uncorrelated_scalar_subquery = false;
    config.optimizer.filter_null_join_keys = false;
    config.optimizer.max_passes = usize::from(PASSES);
    let mut context = OptimizerContext::new_with_config_options(Arc::new(config));
    context = context.with_max_passes(PASSES).without_query_execution_start_time();
    Ok(Optimizer::with_rules(with_sound_rules(rules())).optimize(plan, &context, |_, _| {})?)
}

/// One rewrite of plans.
pub type Rule = Arc<dyn OptimizerRule + Send + Sync>;

/// DataFusion's rules with ours around those that are wrong by themselves, for views and for SELECTs (`comparable`, `null_safe`).
pub fn with_sound_rules(rules: Vec<Rule>) -> Vec<Rule> {
    with_unmixed_keys(with_comparable_constants(rules))
}

/// The rules with one of `ours` before and one behind each that has this name.
pub(super) fn around(rules: Vec<Rule>, name: &str, ours: impl Fn() -> Rule) -> impl Iterator<Item = Rule> {
    rules.into_iter().flat_map(move |rule| if rule.name() == name { vec![ours(), rule, ours()] } else { vec![rule] })
}

fn rules() -> Vec<Rule> {
    vec![
        Arc::new(RewriteSetComparison::new()),
        Arc::new(OptimizeUnions::new()),
        Arc::new(SimplifyExpressions::new()),
        Arc::new(DecorrelatePredicateSubquery::new()),
        Arc::new(ScalarSubqueryToJoin::new()),
        Arc::new(DecorrelateLateralJoin::new()),
        Arc::new(ExtractEquijoinPredicate::new()),
        Arc::new(EliminateDuplicatedExpr::new()),
        Arc::new(EliminateFilter::new()),
        Arc::new(EliminateCrossJoin::new()),
        Arc::new(EliminateOuterJoin::new()),
        Arc::new(PushDownFilter::new()),
        Arc::new(asof::LeftConditions),
        Arc::new(OptimizeProjections::new()),
    ]
}

/// A function whose value depends on when or how often it is called has no incremental answer (design D14).
fn refuse_unstable(plan: &LogicalPlan) -> Result<()> {
    let mut refused = None;
    plan.apply_with_subqueries(|node| {
        if is_temporal(node) {
            return Ok(TreeNodeRecursion::Continue);
        }
        node.apply_expressions(|expr| {
            expr.apply(|e| {
                refused = refused.take().or_else(|| unstable(e));
                Ok(if refused.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
            })
        })
    })?;
    refused.map_or(Ok(()), Err)
}

/// A condition that compares the clock with times of rows, and has no other function of this kind: a temporal filter. The optimizer may move it, never evaluate it.
fn is_temporal(node: &LogicalPlan) -> bool {
    let condition = match node {
        LogicalPlan::Filter(filter) => &filter.predicate,
        LogicalPlan::Join(Join { filter: Some(filter), join_type: JoinType::Inner, on, .. }) if on.iter().all(|(l, r)| !reads_clock(l) && !reads_clock(r)) => {
            filter
        }
        _ => return false,
    };
    let schema = merge_schema(&node.inputs());
    let volatile = |e: &Expr| matches!(e, Expr::ScalarFunction(call) if call.func.signature().volatility == Volatility::Volatile);
    reads_clock(condition) && is_maintained(condition, &schema) && !condition.exists(|e| Ok(volatile(e))).unwrap_or(true)
}

fn unstable(expr: &Expr) -> Option<Error> {
    let refuse = |name: &str| Error::not_supported(format!("function {name}() cannot be used in a materialized view"));
    match expr {
        Expr::ScalarFunction(call) => {
            match call.func.signature().volatility {
                Volatility::Immutable => None,
                Volatility::Stable if call.func.name() == "proctime" => Some(
                    Error::not_supported("PROCTIME() in this place of a materialized view is not supported")
                        .with_hint("give it a name in a select list below: FROM (SELECT *, PROCTIME() AS p FROM …)"),
                ),
                Volatility::Stable if CLOCKS.contains(&call.func.name()) => Some(refused(expr)),
                Volatility::Stable => Some(refuse(call.func.name()).with_hint(
                    "its value depends on who asks, and when: compare times of the rows with now() in WHERE, or use it in the SELECT that reads the view",
                )),
                Volatility::Volatile => Some(refuse(call.func.name()).with_hint(
                    "its value is another at each call: compute it in the SELECT that reads the view, or store it in a column when rows are inserted",
                )),
            }
        }
        Expr::Placeholder(p) => Some(
            Error::new(Kind::UndefinedParameter, format!("there is no parameter {}", p.id))
                .with_hint("a materialized view cannot have parameters: write the value"),
        ),
        Expr::ScalarVariable(_, names) => {
            Some(Error::not_supported(format!("variable {} cannot be used in a materialized view", names.join("."))).with_hint("write the value"))
        }
        _ => None,
    }
}

/// A subquery used as a value becomes a join; that is right only if it has at most one row.
fn refuse_many_rows(plan: &LogicalPlan) -> Result<()> {
    let mut refused = false;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|e| {
                if let Expr::ScalarSubquery(s) = e {
                    refused |= s.outer_ref_columns.is_empty() && s.subquery.max_rows().is_none_or(|rows| rows > 1);
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    if !refused {
        return Ok(());
    }
    Err(Error::not_supported("a subquery used as a value in a materialized view must return at most one row by its form")
        .with_hint("use an aggregate without GROUP BY, such as max(…), or LIMIT 1, or write it as a join"))
}
