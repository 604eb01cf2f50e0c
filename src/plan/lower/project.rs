//! SELECT lists: Project, and the event time of what they compute. A projection that changes nothing is none.

use super::session::is_session;
use crate::error::Result;
use crate::plan::EventTime;
use crate::plan::expr::bind;
use crate::plan::lower::columns::key_through;
use crate::plan::node::{Planner, Stream, nullable};
use crate::plan::time::event_time;
use datafusion::common::DFSchema;
use datafusion::logical_expr::{self as logical, Expr, LogicalPlan};

impl Planner<'_> {
    pub(super) fn projection(&mut self, node: &logical::Projection) -> Result<Stream> {
        if let LogicalPlan::Window(window) = node.input.as_ref()
            && is_session(window)
        {
            return self.session_columns(window, node);
        }
        let input = self.lower(&node.input)?;
        self.select(input, &node.expr, node.input.schema(), &node.schema)
    }

    /// `exprs` over `input`, whose columns are those of `from`; the output's are those of `to`.
    pub(super) fn select(&mut self, input: Stream, exprs: &[Expr], from: &DFSchema, to: &DFSchema) -> Result<Stream> {
        let bound = exprs.iter().map(|e| bind(e, from)).collect::<Result<Vec<_>>>()?;
        let schema = nullable(to.fields());
        if bound.len() == input.schema.fields().len() && bound.iter().enumerate().all(|(i, e)| e.as_column() == Some(i)) {
            return Ok(Stream { schema, ..input });
        }
        let time = |(at, e): (usize, &Expr)| event_time(e, from, &input.event_time).map(|(kind, sources)| EventTime { column: at, sources, kind });
        let times = exprs.iter().enumerate().filter_map(time).collect();
        let key = key_through(&input.key, &bound);
        let (node, append_only) = self.project(&input, bound, &schema)?;
        Ok(Stream { input: node, schema, append_only, key, event_time: times })
    }
}
