//! Logical plan -> incremental plan.

pub mod arithmetic;
mod error;
mod expr;
pub mod relation;

use crate::dataflow::operator::Fragment;
use crate::error::Result;
use crate::types::ids::{ObjectId, TableId};
use arrow::datatypes::SchemaRef;
use datafusion::logical_expr::LogicalPlan;

/// What the planner must know of a relation that a query scans. The scan's `TableSource` downcasts to it.
#[derive(Clone, Debug)]
pub struct Relation {
    pub id: ObjectId,
    pub name: String,
    pub schema: SchemaRef,
    /// Never retracts.
    pub append_only: bool,
    /// Ordinals whose values are unique in the relation (primary key of a table, key of a view); empty: not known.
    pub key: Vec<usize>,
    /// Columns that carry event time.
    pub event_time: Vec<EventTime>,
}

/// A column whose values are bounded by the watermarks of sources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventTime {
    pub column: usize,
    pub sources: Vec<ObjectId>,
    pub kind: TimeKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeKind {
    /// An event's own time: rows with values at or below the watermark are late.
    Event,
    /// Start of a window that ends `size_micros` later.
    WindowStart { size_micros: i64 },
    WindowEnd,
}

/// How the rows of a view are keyed in its storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ViewKey {
    /// These columns are unique: an update overwrites.
    Unique(Vec<usize>),
    /// The whole row, with a weight.
    Row,
    /// Never retracted: rows in order of arrival.
    Append,
}

#[derive(Clone, Debug)]
pub struct ViewPlan {
    /// Ends with `Materialize`.
    pub fragment: Fragment,
    pub schema: SchemaRef,
    pub key: ViewKey,
    pub append_only: bool,
    pub event_time: Vec<EventTime>,
    /// Relations read, without repeats.
    pub inputs: Vec<ObjectId>,
    /// The state table that holds the view's rows.
    pub rows: TableId,
}

/// Options of the view that change its plan.
pub struct Request<'a> {
    /// Bound and type-coerced, not yet optimized.
    pub query: &'a LogicalPlan,
    pub emit_on_window_close: bool,
    /// Hands out state tables, in a deterministic order.
    pub allocate: &'a mut dyn FnMut() -> TableId,
}

/// Error: `0A000` with what to write instead, for what cannot be maintained incrementally.
pub fn incremental(request: Request<'_>) -> Result<ViewPlan> {
    let _ = (request.query, request.emit_on_window_close, request.allocate);
    todo!()
}

/// The plan of a table's own storage (and of an upsert table's input): `Materialize` under a scan of the table's log, with `Upsert` before it for upsert feeds.
pub fn table(relation: &Relation, upsert: bool, allocate: &mut dyn FnMut() -> TableId) -> Result<ViewPlan> {
    let _ = (relation, upsert, allocate);
    todo!()
}

/// For EXPLAIN and for comparing a re-plan with the plan that built the state: the graph with state tables, one node a line.
pub fn explain(plan: &ViewPlan) -> String {
    let _ = plan;
    todo!()
}
