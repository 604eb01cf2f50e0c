//! One file per kind of logical node, each saying which specs maintain it. What cannot be maintained is refused here, with what to write instead.

pub(crate) mod aggregate;
mod asof_join;
pub(crate) mod columns;
mod filter;
mod grouping_sets;
mod interval_join;
mod join;
mod over;
mod panes;
pub(crate) mod processing_time;
mod project;
mod recursion;
mod scan;
mod session;
pub(crate) mod temporal;
mod temporal_join;
mod top_k;
mod union;
mod unnest;
mod values;
mod window;

use crate::error::{Error, Result};
use crate::plan::asof::AsofJoin;
use crate::plan::node::{Planner, Stream};
use crate::plan::recursion::MutualRecursion;
use datafusion::logical_expr::LogicalPlan;

impl Planner<'_> {
    /// The specs that maintain `plan` (optimized, see `optimize.rs`).
    pub(crate) fn lower(&mut self, plan: &LogicalPlan) -> Result<Stream> {
        match plan {
            LogicalPlan::TableScan(scan) => self.scan(scan),
            LogicalPlan::Filter(filter) => self.filter(filter),
            LogicalPlan::Projection(projection) => self.projection(projection),
            LogicalPlan::SubqueryAlias(alias) => self.lower(&alias.input),
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate),
            LogicalPlan::Join(join) => self.join(join),
            LogicalPlan::Union(union) => self.union(union),
            LogicalPlan::Distinct(distinct) => self.distinct(distinct),
            LogicalPlan::Unnest(unnest) => self.unnest(unnest),
            LogicalPlan::Limit(limit) => self.limit(limit),
            LogicalPlan::Sort(sort) => self.sort(sort),
            LogicalPlan::Window(window) => self.window(window),
            LogicalPlan::Values(values) => self.values(values),
            LogicalPlan::EmptyRelation(empty) => self.empty(empty),
            // How rows are spread is decided by the operators' keys.
            LogicalPlan::Repartition(repartition) => self.lower(&repartition.input),
            LogicalPlan::Subquery(_) => Err(refuse(
                "a correlated subquery of this form cannot be maintained incrementally",
                "write it as a join, or correlate it by equal columns only",
            )),
            LogicalPlan::RecursiveQuery(query) => self.recursive_query(query),
            LogicalPlan::Extension(extension) => {
                if let Some(recursion) = MutualRecursion::of(extension) {
                    return self.mutual_recursion(recursion);
                }
                if let Some(join) = AsofJoin::of(extension) {
                    return self.asof_join(join);
                }
                let name = extension.node.name().to_string();
                Err(refuse(&format!("{name} cannot be maintained incrementally"), "run it as a SELECT over a view"))
            }
            LogicalPlan::Statement(_)
            | LogicalPlan::Dml(_)
            | LogicalPlan::Ddl(_)
            | LogicalPlan::Copy(_)
            | LogicalPlan::Explain(_)
            | LogicalPlan::Analyze(_)
            | LogicalPlan::DescribeTable(_) => Err(refuse("only a query can be a materialized view", "write CREATE MATERIALIZED VIEW name AS SELECT …")),
        }
    }
}

fn refuse(message: &str, hint: &str) -> Error {
    Error::not_supported(message).with_hint(hint)
}
