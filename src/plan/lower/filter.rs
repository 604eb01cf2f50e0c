//! WHERE, HAVING and ON conditions that are left: Filter, and TemporalFilter for what speaks of the clock (`temporal.rs`). A filter over ROW_NUMBER() and its like is a Top-N (`window.rs`).

use super::window::is_ranked;
use crate::dataflow::ops::filter::Filter;
use crate::error::Result;
use crate::plan::expr::{bind, canonical};
use crate::plan::lower::temporal::reads_clock;
use crate::plan::node::{Planner, Stream};
use datafusion::common::DFSchema;
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{self as logical, Expr, LogicalPlan};
use std::sync::Arc;

impl Planner<'_> {
    pub(super) fn filter(&mut self, node: &logical::Filter) -> Result<Stream> {
        match node.input.as_ref() {
            LogicalPlan::Window(window) if is_ranked(window) => {
                if let Some(ranked) = self.ranked(&node.predicate, window)? {
                    return Ok(ranked);
                }
            }
            // The optimizer has cut columns that only the window function reads.
            LogicalPlan::Projection(cut) if cut.expr.iter().all(|e| matches!(e, Expr::Column(_))) => {
                if let LogicalPlan::Window(window) = cut.input.as_ref()
                    && is_ranked(window)
                    && let Some(ranked) = self.ranked(&node.predicate, window)?
                {
                    return self.select(ranked, &cut.expr, &window.schema, &cut.schema);
                }
            }
            _ => {}
        }
        let input = self.lower(&node.input)?;
        self.keep(input, &node.predicate, node.input.schema())
    }

    /// The rows of `input` (with columns of `schema`) on which `predicate` is true.
    pub(super) fn keep(&mut self, input: Stream, predicate: &Expr, schema: &DFSchema) -> Result<Stream> {
        let (timed, plain): (Vec<&Expr>, Vec<&Expr>) = split_conjunction(predicate).into_iter().partition(|part| reads_clock(part));
        let input = match conjunction(plain.into_iter().cloned()) {
            // Not taken apart where it need not be.
            Some(_) if timed.is_empty() => self.keep_where(input, predicate, schema)?,
            Some(plain) => self.keep_where(input, &plain, schema)?,
            None => input,
        };
        if timed.is_empty() { Ok(input) } else { self.temporal_filter(input, &timed, schema) }
    }

    fn keep_where(&mut self, input: Stream, predicate: &Expr, schema: &DFSchema) -> Result<Stream> {
        let predicate = bind(predicate, schema)?;
        let rows = Arc::clone(&input.schema);
        let (node, append_only) = self.add(format!("Filter {}", canonical(&predicate)), &[&input], |_| Ok(Arc::new(Filter::new(predicate, rows)?)))?;
        Ok(Stream { input: node, append_only, ..input })
    }
}
