//! Session: rows of one partition belong together while less than `gap` passes between one and the next; each row gets the bounds of its session.
//!
//! ```text
//!   gap 5        time  0  3        9 11            a row at 6 joins both: -4 rows with the old bounds, +5 with [0, 16)
//!                     [0 .... 8)  [9 .... 16)
//! ```
//!
//! A session holds its first time and ends `gap` behind its last, without that end. *State*: time is cut into panes as wide as the gap. All rows of a pane are
//! in one session, and sessions join only from one pane to the next; so a pane, found by its number, is all that is looked up: its first and last time (`panes`),
//! its rows (`rows`). An epoch reads the sessions that its rows touch and no others. *A retraction* takes a row out of its pane, and may part a session in two.
//! Rows whose session got other bounds are taken back and given again.
//!
//! *Watermark* (of append-only input): a session closes when the watermark reaches its end; its state is dropped, its rows never change again. What comes later
//! joins open sessions only. Of an epoch's rows those are late that are, together with the open sessions and each other, in a session that `step.before` has closed.
//! So a row is in time if its own session [time, time + gap) is open, and also if it is not but another row ties it to an open one. Without a watermark nothing closes, and the state is the input.
//! Under EMIT ON WINDOW CLOSE rows come out once, when their session closes.
//!
//! A row without a time is in no session: its bounds are NULL, and it never closes.

mod panes;
mod region;
mod running;
#[cfg(test)]
mod tests;

use self::running::Running;
use super::aggregate::EmitMode;
use super::windowed::{WindowBound, WindowColumn};
use crate::dataflow::operator::{Bound, BuildContext, Distribution, Operator, Spec, StateTable};
use crate::error::Result;
use crate::types::ids::{ObjectId, TableId};
use arrow::datatypes::SchemaRef;
use std::sync::Arc;

/// One of the two bounds of a session, as a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    Start,
    End,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Session {
    pub input: SchemaRef,
    pub partition: Vec<usize>,
    /// Ordinal of the time, a timestamp.
    pub time: usize,
    pub gap_micros: i64,
    /// Ordinals of the input columns that are handed on.
    pub columns: Vec<usize>,
    /// The bounds behind them.
    pub edges: Vec<Edge>,
    /// Whose watermarks close sessions; none: sessions never close. Only of append-only input.
    pub sources: Vec<ObjectId>,
    pub emit: EmitMode,
    pub input_append_only: bool,
    pub schema: SchemaRef,
    pub panes: TableId,
    pub rows: TableId,
    /// The ends of open sessions, where a watermark closes them.
    pub ends: TableId,
}

impl Session {
    fn bound(&self) -> WindowBound {
        WindowBound { column: WindowColumn::End, sources: self.sources.clone() }
    }
}

impl Spec for Session {
    fn name(&self) -> &'static str {
        "Session"
    }

    fn details(&self) -> String {
        let name = |i: &usize| self.input.field(*i).name().as_str();
        let partition = self.partition.iter().map(name).collect::<Vec<_>>().join(", ");
        let emit = if self.emit == EmitMode::OnWindowClose { "; emit on window close" } else { "" };
        format!("partition by ({partition}) gap {} s on {}{emit}", self.gap_micros as f64 / 1e6, name(&self.time))
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn distribution(&self) -> Vec<Distribution> {
        vec![if self.partition.is_empty() { Distribution::Single } else { Distribution::Hash(self.partition.clone()) }]
    }

    fn append_only(&self, _inputs: &[bool]) -> bool {
        self.emit == EmitMode::OnWindowClose
    }

    fn state_tables(&self) -> Vec<StateTable> {
        // Without a watermark sessions never close: the state is as many rows as came and were not taken back.
        let bounded_by = if self.sources.is_empty() { Bound::Nothing } else { Bound::Watermark };
        let table = |id: TableId, what: &str| StateTable { id, what: what.to_string(), bounded_by };
        let mut tables = vec![table(self.panes, "panes of open sessions"), table(self.rows, "rows of open sessions")];
        if !self.sources.is_empty() {
            tables.push(table(self.ends, "ends of open sessions"));
        }
        tables
    }

    fn watermarks(&self) -> Vec<ObjectId> {
        self.sources.clone()
    }

    fn has_timer(&self) -> bool {
        self.bound().is_by_clock()
    }

    fn build(&self, context: &BuildContext) -> Result<Box<dyn Operator>> {
        Ok(Box::new(Running::new(self.clone(), context)?))
    }
}
