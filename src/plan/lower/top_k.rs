//! ORDER BY … LIMIT and DISTINCT ON: Top-N. A relation has no order, so ORDER BY alone is dropped, as Postgres keeps none in a materialized view.

use super::aggregate::{all_columns, order};
use super::columns::Columns;
use super::refuse;
use crate::error::Result;
use crate::plan::node::{Planner, Stream};
use crate::types::key::Order;
use datafusion::common::DFSchema;
use datafusion::logical_expr::{self as logical, Expr, FetchType, LogicalPlan, SkipType, SortExpr};

/// Which rows of the order are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub skip: u64,
    /// `None`: all behind `skip`.
    pub fetch: Option<u64>,
}

impl Planner<'_> {
    pub(super) fn limit(&mut self, node: &logical::Limit) -> Result<Stream> {
        let (SkipType::Literal(skip), FetchType::Literal(fetch)) = (node.get_skip_type()?, node.get_fetch_type()?) else {
            return Err(refuse("LIMIT and OFFSET of a materialized view must be constants", "write a number"));
        };
        let range = Range { skip: skip as u64, fetch: fetch.map(|f| f as u64) };
        if range == (Range { skip: 0, fetch: None }) {
            return self.lower(&node.input);
        }
        self.limited(&node.input, range)
    }

    /// `plan` within `range` of its order: the Sort may stand below projections, which then go on top again.
    fn limited(&mut self, plan: &LogicalPlan, range: Range) -> Result<Stream> {
        match plan {
            LogicalPlan::SubqueryAlias(alias) => self.limited(&alias.input, range),
            LogicalPlan::Projection(p) if is_ordered(&p.input) => {
                let input = self.limited(&p.input, range)?;
                self.select(input, &p.expr, p.input.schema(), &p.schema)
            }
            LogicalPlan::Sort(sort) => {
                let input = self.lower(&sort.input)?;
                self.best(input, sort.input.schema(), &[], &sort.expr, range)
            }
            // Without ORDER BY any rows would do; ours are the first by value, the same at every epoch (design D14).
            other => {
                let input = self.lower(other)?;
                self.best(input, other.schema(), &[], &[], range)
            }
        }
    }

    pub(super) fn sort(&mut self, node: &logical::Sort) -> Result<Stream> {
        match node.fetch {
            None => self.lower(&node.input),
            Some(fetch) => self.limited(&LogicalPlan::Sort(logical::Sort { fetch: None, ..node.clone() }), Range { skip: 0, fetch: Some(fetch as u64) }),
        }
    }

    pub(super) fn distinct_on(&mut self, node: &logical::DistinctOn) -> Result<Stream> {
        let input = self.lower(&node.input)?;
        let order = node.sort_expr.clone().unwrap_or_default();
        let first = self.best(input, node.input.schema(), &node.on_expr, &order, Range { skip: 0, fetch: Some(1) })?;
        self.select(first, &node.select_expr, node.input.schema(), &node.schema)
    }

    /// The rows of `input` (columns of `schema`) within `range` of each partition's order.
    pub(super) fn best(&mut self, input: Stream, schema: &DFSchema, partition: &[Expr], sort: &[SortExpr], range: Range) -> Result<Stream> {
        let width = input.schema.fields().len();
        let mut columns = Columns::beside(input, schema);
        let partition = partition.iter().map(|e| columns.place(e)).collect::<Result<Vec<_>>>()?;
        let sort = sort.iter().map(|s| Ok((columns.place(&s.expr)?, order(s)))).collect::<Result<Vec<_>>>()?;
        let (input, _) = columns.finish(self)?;
        let wide = input.schema.fields().len();
        let best = self.top_k(input, partition, sort, range)?;
        if wide == width { Ok(best) } else { self.first_columns(best, schema) }
    }

    /// The columns of `schema`, without those that were computed behind them.
    fn first_columns(&mut self, input: Stream, schema: &DFSchema) -> Result<Stream> {
        self.select(input, &all_columns(schema), schema, schema)
    }

    fn top_k(&mut self, input: Stream, partition: Vec<usize>, order: Vec<(usize, Order)>, range: Range) -> Result<Stream> {
        let _ = (input, partition, order, range);
        Err(refuse("ORDER BY … LIMIT in a materialized view is not supported yet", "put the LIMIT into the SELECT that reads the view"))
    }
}

fn is_ordered(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Sort(_) => true,
        LogicalPlan::Projection(p) => is_ordered(&p.input),
        LogicalPlan::SubqueryAlias(a) => is_ordered(&a.input),
        _ => false,
    }
}
