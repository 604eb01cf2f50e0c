//! SESSION in FROM: the window functions that it became are one operator, which gives rows the bounds of their sessions. It hands on only the columns that are
//! asked for above it: where the time itself is not, rows that are equal otherwise move from one session to another as one.

use super::columns::Columns;
use crate::dataflow::ops::aggregate::EmitMode;
use crate::dataflow::ops::session::{Edge, Session};
use crate::error::{Error, Result};
use crate::plan::node::{Emit, Planner, Stream, nullable};
use crate::plan::time::{is_instant, micros};
use crate::plan::{EventTime, TimeKind};
use datafusion::common::DFSchema;
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{self as logical, Expr, WindowFunctionDefinition};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// The edge that a window expression gives; `None`: it is another function.
fn edge(expr: &Expr) -> Option<(Edge, &WindowFunction)> {
    match expr {
        Expr::Alias(a) => edge(&a.expr),
        Expr::WindowFunction(call) => {
            let WindowFunctionDefinition::WindowUDF(udf) = &call.fun else { return None };
            match udf.name() {
                "tw_session_start" => Some((Edge::Start, call)),
                "tw_session_end" => Some((Edge::End, call)),
                _ => None,
            }
        }
        _ => None,
    }
}

pub(super) fn is_session(node: &logical::Window) -> bool {
    node.window_expr.iter().all(|e| edge(e).is_some())
}

impl Planner<'_> {
    /// A projection over sessions, which need not hand on more than it reads.
    pub(super) fn session_columns(&mut self, node: &logical::Window, projection: &logical::Projection) -> Result<Stream> {
        let read = projection.expr.iter().flat_map(|e| e.column_refs()).filter_map(|c| node.schema.maybe_index_of_column(c)).collect::<BTreeSet<_>>();
        let read = read.into_iter().collect::<Vec<_>>();
        let input = self.session(node, &read)?;
        let field = |i: &usize| {
            let (qualifier, field) = node.schema.qualified_field(*i);
            (qualifier.cloned(), Arc::clone(field))
        };
        let schema = DFSchema::new_with_metadata(read.iter().map(field).collect(), HashMap::new())?;
        self.select(input, &projection.expr, &schema, &projection.schema)
    }

    /// These columns (ascending) of a Window node of sessions.
    pub(super) fn session(&mut self, node: &logical::Window, read: &[usize]) -> Result<Stream> {
        let calls = node.window_expr.iter().filter_map(edge).collect::<Vec<_>>();
        let Some((_, call)) = calls.first() else { return Err(Error::internal("sessions without a bound")) };
        let params = &call.params;
        let (Some(time), Some(gap_micros)) = (params.args.first(), params.args.get(1).and_then(micros)) else {
            return Err(Error::internal("sessions without a time or a gap"));
        };
        if calls.iter().any(|(_, other)| (&other.params.partition_by, &other.params.args) != (&params.partition_by, &params.args)) {
            return Err(
                Error::not_supported("sessions of different keys in one relation are not supported").with_hint("write each SESSION in a subquery of its own")
            );
        }
        let input = self.lower(&node.input)?;
        let width = input.schema.fields().len();
        let mut placed = Columns::beside(input, node.input.schema());
        let partition = params.partition_by.iter().map(|e| placed.place(e)).collect::<Result<Vec<_>>>()?;
        let time = placed.place(time)?;
        let (input, _) = placed.finish(self)?;
        let columns = read.iter().copied().filter(|c| *c < width).collect::<Vec<_>>();
        let edges = read.iter().filter_map(|c| c.checked_sub(width)).map(|e| calls[e].0).collect::<Vec<_>>();
        let schema = nullable(read.iter().map(|c| &node.schema.fields()[*c]));
        // What is taken back may be of a closed session, which nobody remembers.
        let bound = input.time(time).filter(|t| is_instant(&t.kind) && input.append_only);
        let sources = bound.map(|t| t.sources.clone()).unwrap_or_default();
        let emit = if self.emit == Emit::OnWindowClose && !sources.is_empty() { EmitMode::OnWindowClose } else { EmitMode::Changes };
        let ends = edges.iter().enumerate().filter(|(_, e)| **e == Edge::End && !sources.is_empty());
        let event_time = ends.map(|(i, _)| EventTime { column: columns.len() + i, sources: sources.clone(), kind: TimeKind::WindowEnd }).collect();
        let place = |c: &usize| columns.iter().position(|kept| kept == c);
        let key = input.key.as_ref().and_then(|key| key.iter().map(place).collect());
        let what = format!("Session {partition:?} {time} {gap_micros} {columns:?} {edges:?} {emit:?}");
        let (from, to, input_append_only) = (Arc::clone(&input.schema), Arc::clone(&schema), input.append_only);
        let (node, append_only) = self.add(what, &[&input], |allocate| {
            let (panes, rows, ends) = (allocate(), allocate(), allocate());
            Ok(Arc::new(Session { input: from, partition, time, gap_micros, columns, edges, sources, emit, input_append_only, schema: to, panes, rows, ends }))
        })?;
        self.windows_held += usize::from(emit == EmitMode::OnWindowClose);
        Ok(Stream { input: node, schema, append_only, key, event_time })
    }
}
