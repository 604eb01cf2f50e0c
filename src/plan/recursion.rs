//! `WITH MUTUALLY RECURSIVE` as a logical node: the bindings' bodies, and the query over them. DataFusion's rules rewrite what is below it and know nothing of it.
//! What reads a binding is a scan of DataFusion's work table of its name.

use crate::dataflow::ops::recursion::Limit;
use crate::error::{Error, Result};
use datafusion::catalog::cte_worktable::CteWorkTable;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DFSchemaRef, DataFusionError};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, TableScan, UserDefinedLogicalNodeCore};
use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MutualRecursion {
    pub names: Vec<String>,
    /// One for each name, then the query.
    plans: Vec<LogicalPlan>,
    /// The highest level, and whether rows beyond it are dropped.
    levels: i64,
    drops: bool,
}

impl MutualRecursion {
    /// As a plan. `bodies` have the types of what scans of their names give.
    pub fn plan(bindings: Vec<(String, LogicalPlan)>, query: LogicalPlan, limit: Limit) -> LogicalPlan {
        let (names, mut plans): (Vec<String>, Vec<LogicalPlan>) = bindings.into_iter().unzip();
        plans.push(query);
        let drops = limit.beyond == crate::dataflow::ops::recursion::Beyond::Dropped;
        LogicalPlan::Extension(Extension { node: Arc::new(MutualRecursion { names, plans, levels: limit.levels, drops }) })
    }

    /// The node, if `plan` is one.
    pub(super) fn of(plan: &Extension) -> Option<&MutualRecursion> {
        plan.node.as_any().downcast_ref::<MutualRecursion>()
    }

    pub(super) fn bodies(&self) -> &[LogicalPlan] {
        &self.plans[..self.names.len()]
    }

    pub(super) fn query(&self) -> &LogicalPlan {
        &self.plans[self.names.len()]
    }

    pub(super) fn limit(&self) -> Limit {
        use crate::dataflow::ops::recursion::Beyond;
        Limit { levels: self.levels, beyond: if self.drops { Beyond::Dropped } else { Beyond::Errors } }
    }
}

/// The name of the recursive query whose rows a scan reads.
pub(super) fn work_table(scan: &TableScan) -> Option<String> {
    let provider = source_as_provider(&scan.source).ok()?;
    provider.downcast_ref::<CteWorkTable>().map(|t| t.name().to_string())
}

/// Whether `plan` scans a work table that `of` says yes to.
pub(super) fn reads(plan: &LogicalPlan, of: &dyn Fn(&str) -> bool) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        found |= matches!(node, LogicalPlan::TableScan(scan) if work_table(scan).is_some_and(|name| of(&name)));
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

/// Error: the plan cannot be run as a batch.
pub fn refuse_in_batch(plan: &LogicalPlan) -> Result<()> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        found |= matches!(node, LogicalPlan::Extension(e) if MutualRecursion::of(e).is_some());
        Ok(TreeNodeRecursion::Continue)
    })?;
    if !found {
        return Ok(());
    }
    Err(Error::not_supported("WITH MUTUALLY RECURSIVE is for materialized views")
        .with_hint("CREATE MATERIALIZED VIEW name AS WITH MUTUALLY RECURSIVE …, and SELECT from it"))
}

impl PartialOrd for MutualRecursion {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

impl UserDefinedLogicalNodeCore for MutualRecursion {
    fn name(&self) -> &str {
        "MutualRecursion"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        self.plans.iter().collect()
    }

    fn schema(&self) -> &DFSchemaRef {
        self.query().schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "MutualRecursion: {}", self.names.join(", "))
    }

    fn with_exprs_and_inputs(&self, _exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> datafusion::error::Result<Self> {
        if inputs.len() != self.plans.len() {
            return Err(DataFusionError::Internal("a recursion keeps its bodies".to_string()));
        }
        Ok(MutualRecursion { plans: inputs, ..self.clone() })
    }
}
