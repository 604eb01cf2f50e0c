//! `JOIN b FOR SYSTEM_TIME AS OF PROCTIME()`: the binder names the scan of `b` so ([`AS_OF_PROCTIME`]), which here makes the join above it a TemporalJoin.
//!
//! The right side's relations are asked for before the left's: a view over existing data is filled with theirs first, so that rows of history meet what is there now.

use super::refuse;
use crate::error::{Error, Result};
use crate::plan::node::{Planner, Stream};
use crate::types::time::AS_OF_PROCTIME;
use datafusion::common::TableReference;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{JoinType, LogicalPlan, TableScan};
use std::sync::Arc;

/// Whether a scan is one of a relation as of processing time.
pub(super) fn is_versioned(scan: &TableScan) -> bool {
    scan.table_name.catalog() == Some(AS_OF_PROCTIME)
}

/// The right side of a join as an ordinary plan, if it is a relation as of processing time (under filters and projections).
pub(super) fn versioned(plan: &LogicalPlan) -> Result<Option<LogicalPlan>> {
    let mut found = false;
    plan.apply(|node| {
        if node.inputs().len() > 1 {
            return Ok(TreeNodeRecursion::Stop);
        }
        found |= matches!(node, LogicalPlan::TableScan(scan) if is_versioned(scan));
        Ok(TreeNodeRecursion::Continue)
    })?;
    if !found {
        return Ok(None);
    }
    let plain = plan.clone().transform_up(|node| match node {
        LogicalPlan::TableScan(mut scan) if is_versioned(&scan) => {
            scan.table_name = TableReference::bare(scan.table_name.table());
            Ok(Transformed::yes(LogicalPlan::TableScan(scan)))
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(Some(plain.data))
}

pub(super) fn misplaced() -> Error {
    refuse(
        "FOR SYSTEM_TIME AS OF PROCTIME() stands on the right side of a JOIN or LEFT JOIN",
        "write … FROM a JOIN b FOR SYSTEM_TIME AS OF PROCTIME() ON a.k = b.k",
    )
}

impl Planner<'_> {
    /// Both sides of a temporal join, the right one first.
    pub(super) fn temporal_sides(&mut self, left: &Arc<LogicalPlan>, right: &LogicalPlan, join_type: JoinType) -> Result<(Stream, Stream)> {
        if !matches!(join_type, JoinType::Inner | JoinType::Left) {
            return Err(misplaced());
        }
        let right = self.lower(right)?;
        let left = self.lower(left)?;
        if !left.append_only {
            return Err(refuse(
                "the left side of a join FOR SYSTEM_TIME AS OF PROCTIME() can take rows back",
                "join it without FOR SYSTEM_TIME, so that results follow both sides, or join below the aggregate; an append-only table is declared with APPEND ONLY",
            ));
        }
        Ok((left, right))
    }
}
