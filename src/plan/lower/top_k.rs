//! ORDER BY … LIMIT and DISTINCT ON: Top-N. A relation has no order, so ORDER BY alone is dropped, as Postgres keeps none in a materialized view.

use super::aggregate::{all_columns, order};
use super::columns::Columns;
use super::refuse;
use crate::dataflow::ops::top_k::{Ranking, TopK};
use crate::error::Result;
use crate::plan::node::{Emit, Planner, Stream, nullable};
use arrow::datatypes::FieldRef;
use datafusion::common::DFSchema;
use datafusion::logical_expr::{self as logical, Expr, FetchType, LogicalPlan, SkipType, SortExpr};
use std::sync::Arc;

/// Which rows of the order are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub skip: u64,
    /// `None`: all behind `skip`.
    pub fetch: Option<u64>,
}

/// What a Top-N counts, and whether the count is a column.
pub(super) struct Top {
    pub range: Range,
    pub ranking: Ranking,
    pub rank: Option<FieldRef>,
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
    fn best(&mut self, input: Stream, schema: &DFSchema, partition: &[Expr], sort: &[SortExpr], range: Range) -> Result<Stream> {
        let width = input.schema.fields().len();
        let best = self.top_k(input, schema, partition, sort, Top { range, ranking: Ranking::RowNumber, rank: None })?;
        if best.schema.fields().len() == width { Ok(best) } else { self.select(best, &all_columns(schema), schema, schema) }
    }

    /// As `best`, with the columns that partition and order need behind the input's, and the rank last if it is asked for.
    pub(super) fn top_k(&mut self, input: Stream, schema: &DFSchema, partition: &[Expr], sort: &[SortExpr], top: Top) -> Result<Stream> {
        let mut columns = Columns::beside(input, schema);
        let partition = partition.iter().map(|e| columns.place(e)).collect::<Result<Vec<_>>>()?;
        let order = sort.iter().map(|s| Ok((columns.place(&s.expr)?, order(s)))).collect::<Result<Vec<_>>>()?;
        columns.place_any()?;
        let (input, _) = columns.finish(self)?;
        let window = self.window_of(&input, &partition);
        let fields = input.schema.fields().iter().cloned().chain(top.rank.iter().cloned()).collect::<Vec<_>>();
        let to = nullable(&fields);
        let (limit, offset, ranking, rank_column) = (top.range.fetch, top.range.skip, top.ranking, top.rank.is_some());
        let what = format!("TopK {partition:?} {order:?} {limit:?} {offset} {ranking:?} {window:?} {:?}", top.rank.as_ref().map(|f| f.data_type().clone()));
        let key = match (ranking, limit) {
            (Ranking::RowNumber, Some(1)) => Some(partition.clone()),
            (Ranking::RowNumber, _) if input.key.is_none() && rank_column => Some(partition.iter().copied().chain([fields.len() - 1]).collect()),
            _ => input.key.clone(),
        };
        let (from, append_only, schema) = (Arc::clone(&input.schema), input.append_only, Arc::clone(&to));
        let bounded = window.is_some() || self.emit == Emit::OnWindowClose;
        let (node, append_only) = self.add(what, &[&input], |allocate| {
            Ok(Arc::new(TopK {
                input: from,
                partition,
                order,
                limit,
                offset,
                ranking,
                rank_column,
                input_append_only: append_only,
                window,
                schema,
                state: allocate(),
            }))
        })?;
        let event_time = if bounded { input.event_time } else { Vec::new() };
        Ok(Stream { input: node, schema: to, append_only, key, event_time })
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
