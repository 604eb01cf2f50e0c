//! GROUPING SETS, ROLLUP and CUBE: one Aggregate per set over a shared input, each with NULL for the columns it does not group by, and a Union of
//! them. The number of the set (bit = column left out) stands behind the group columns, as `grouping()` expects it.

use super::refuse;
use crate::dataflow::ops::union::Union;
use crate::error::Result;
use crate::plan::expr::{bind, column};
use crate::plan::node::{Planner, Stream, nullable};
use crate::types::expr::ExprRef;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::{self as logical, Expr, GroupingSet};
use std::sync::Arc;

/// Aggregates of one view; each keeps its groups.
const SETS_MAX: usize = 64;

impl Planner<'_> {
    pub(super) fn grouping_sets(&mut self, node: &logical::Aggregate, sets: &GroupingSet) -> Result<Stream> {
        let all = sets.distinct_expr().into_iter().cloned().collect::<Vec<_>>();
        let sets = enumerated(sets)?;
        let schema = nullable(node.schema.fields());
        let parts = sets.iter().map(|set| self.grouping_set(node, &all, set)).collect::<Result<Vec<_>>>()?;
        let spec = Union { inputs: parts.len(), schema: Arc::clone(&schema) };
        let ports = parts.iter().collect::<Vec<_>>();
        let (input, append_only) = self.add("Union".to_string(), &ports, |_| Ok(Arc::new(spec)))?;
        Ok(Stream { input, schema, append_only, key: Some((0..=all.len()).collect()), event_time: Vec::new() })
    }

    /// The groups of one set, with all columns of the node.
    fn grouping_set(&mut self, node: &logical::Aggregate, all: &[Expr], set: &[Expr]) -> Result<Stream> {
        let part = logical::Aggregate::try_new(Arc::clone(&node.input), set.to_vec(), node.aggr_expr.clone())?;
        let stream = self.aggregate(&part)?;
        let constant = |value: ScalarValue| bind(&Expr::Literal(value, None), &DFSchema::empty());
        let taken = |i: usize| column(i, stream.schema.field(i).name(), stream.schema.field(i).data_type());
        let mut exprs: Vec<ExprRef> = Vec::new();
        let mut left_out = 0u64;
        for (i, expr) in all.iter().enumerate() {
            let place = set.iter().position(|e| e == expr);
            left_out = left_out << 1 | u64::from(place.is_none());
            exprs.push(place.map_or_else(|| constant(ScalarValue::try_from(node.schema.field(i).data_type())?), |p| Ok(taken(p)))?);
        }
        exprs.push(constant(ScalarValue::UInt64(Some(left_out)).cast_to(node.schema.field(all.len()).data_type())?)?);
        exprs.extend((set.len()..stream.schema.fields().len()).map(taken));
        let schema = nullable(node.schema.fields());
        let (input, append_only) = self.project(&stream, exprs, &schema)?;
        Ok(Stream { input, schema, append_only, key: None, event_time: Vec::new() })
    }
}

/// The sets, each without repeated columns.
fn enumerated(sets: &GroupingSet) -> Result<Vec<Vec<Expr>>> {
    let too_many = || refuse("too many grouping sets for a materialized view", "group by fewer columns, or write the sets you need as GROUPING SETS");
    let listed: Vec<Vec<Expr>> = match sets {
        GroupingSet::GroupingSets(sets) => sets.clone(),
        GroupingSet::Rollup(columns) => (0..=columns.len()).rev().map(|n| columns[..n].to_vec()).collect(),
        GroupingSet::Cube(columns) if columns.len() > 6 => return Err(too_many()),
        GroupingSet::Cube(columns) => {
            let subset = |bits: usize| columns.iter().enumerate().filter(|(i, _)| bits >> i & 1 == 1).map(|(_, e)| e.clone()).collect();
            (0..1usize << columns.len()).map(subset).collect()
        }
    };
    if listed.len() > SETS_MAX {
        return Err(too_many());
    }
    let mut distinct: Vec<Vec<Expr>> = Vec::with_capacity(listed.len());
    for set in listed {
        let mut once: Vec<Expr> = Vec::with_capacity(set.len());
        set.into_iter().for_each(|e| {
            if !once.contains(&e) {
                once.push(e)
            }
        });
        if distinct.iter().any(|d| d.len() == once.len() && d.iter().all(|e| once.contains(e))) {
            return Err(refuse("the same grouping set twice in a materialized view is not supported", "name each set once"));
        }
        distinct.push(once);
    }
    Ok(distinct)
}
