//! A relation as DataFusion's binder sees it: a `TableSource` that carries what the planner must know.
//! The binder makes scans over [`RelationSource`]; a view's plan is lowered from them, and a batch execution (an ad-hoc SELECT,
//! the oracle) first [`attach`]es a provider of rows to each.

use super::Relation;
use crate::types::ids::ObjectId;
use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{Constraint, Constraints};
use datafusion::datasource::{TableProvider, provider_as_source};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{Distinct, Expr, JoinType, LogicalPlan, TableSource};
use std::collections::BTreeMap;
use std::sync::Arc;

/// See the module.
#[derive(Debug)]
pub struct RelationSource {
    relation: Arc<Relation>,
    constraints: Constraints,
}

impl RelationSource {
    /// The relation's key becomes a constraint, so that `GROUP BY key` allows the other columns in the select list, as in Postgres.
    pub fn new(relation: Arc<Relation>) -> RelationSource {
        let not_null = relation.key.iter().all(|&c| !relation.schema.field(c).is_nullable());
        let constraints = match (relation.key.is_empty(), not_null) {
            (true, _) => Vec::new(),
            (false, true) => vec![Constraint::PrimaryKey(relation.key.clone())],
            (false, false) => vec![Constraint::Unique(relation.key.clone())],
        };
        RelationSource { relation, constraints: Constraints::new_unverified(constraints) }
    }

    pub fn relation(&self) -> &Arc<Relation> {
        &self.relation
    }

    /// The relation behind a scan's source; `None`: a source that is not ours (a system table).
    pub fn of(source: &dyn TableSource) -> Option<&Arc<Relation>> {
        source.downcast_ref::<RelationSource>().map(RelationSource::relation)
    }
}

impl TableSource for RelationSource {
    fn schema(&self) -> SchemaRef {
        self.relation.schema.clone()
    }

    fn constraints(&self) -> Option<&Constraints> {
        Some(&self.constraints)
    }
}

/// The plan with a provider of rows under each scan of a relation, in subqueries too.
pub fn attach(plan: LogicalPlan, provider: &mut dyn FnMut(&Relation) -> DataFusionResult<Arc<dyn TableProvider>>) -> DataFusionResult<LogicalPlan> {
    let attached = plan.transform_up_with_subqueries(|node| {
        let LogicalPlan::TableScan(mut scan) = node else { return Ok(Transformed::no(node)) };
        let Some(relation) = RelationSource::of(scan.source.as_ref()) else { return Ok(Transformed::no(LogicalPlan::TableScan(scan))) };
        scan.source = provider_as_source(provider(relation)?);
        Ok(Transformed::yes(LogicalPlan::TableScan(scan)))
    })?;
    Ok(attached.data)
}

/// The column of a relation that each column of a plan's result shows as it is; `None`: it is computed.
pub fn origins(plan: &LogicalPlan) -> Vec<Option<(ObjectId, usize)>> {
    let width = plan.schema().fields().len();
    let of = |inner: &LogicalPlan, exprs: &[Expr]| -> Vec<Option<(ObjectId, usize)>> {
        let inner_origins = origins(inner);
        let origin = |expr: &Expr| match expr.clone().unalias_nested().data {
            Expr::Column(column) => inner_origins.get(inner.schema().maybe_index_of_column(&column)?).copied().flatten(),
            _ => None,
        };
        exprs.iter().map(origin).collect()
    };
    let mut found = match plan {
        LogicalPlan::TableScan(scan) => {
            let relation = RelationSource::of(scan.source.as_ref());
            let place = |i: usize| scan.projection.as_ref().map_or(i, |p| p[i]);
            (0..width).map(|i| relation.map(|r| (r.id, place(i)))).collect()
        }
        LogicalPlan::Projection(projection) => of(&projection.input, &projection.expr),
        LogicalPlan::Aggregate(aggregate) => of(&aggregate.input, &aggregate.group_expr),
        LogicalPlan::Join(join) => match join.join_type {
            JoinType::RightSemi | JoinType::RightAnti => origins(&join.right),
            _ => [origins(&join.left), origins(&join.right)].concat(),
        },
        LogicalPlan::Filter(_) | LogicalPlan::Sort(_) | LogicalPlan::Limit(_) | LogicalPlan::SubqueryAlias(_) | LogicalPlan::Window(_) => {
            plan.inputs().first().map(|input| origins(input)).unwrap_or_default()
        }
        LogicalPlan::Distinct(Distinct::All(input)) => origins(input),
        LogicalPlan::Distinct(Distinct::On(distinct)) => of(&distinct.input, &distinct.select_expr),
        _ => Vec::new(),
    };
    found.resize(width, None);
    found
}

/// Ids of the relations that a plan scans, in subqueries too, in order and without repeats.
pub fn scanned(plan: &LogicalPlan) -> Vec<ObjectId> {
    relations(plan).iter().map(|r| r.id).collect()
}

/// Their names.
pub fn names(plan: &LogicalPlan) -> BTreeMap<ObjectId, String> {
    relations(plan).iter().map(|r| (r.id, r.name.clone())).collect()
}

fn relations(plan: &LogicalPlan) -> Vec<Arc<Relation>> {
    let mut relations: Vec<Arc<Relation>> = Vec::new();
    let visited = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Some(relation) = RelationSource::of(scan.source.as_ref())
            && relations.iter().all(|r| r.id != relation.id)
        {
            relations.push(Arc::clone(relation));
        }
        Ok(TreeNodeRecursion::Continue)
    });
    debug_assert!(visited.is_ok(), "the visitor never fails");
    relations
}
