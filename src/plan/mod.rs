//! Logical plan -> incremental plan. In reading order: `relation` (what a query scans), `optimize` (which rewrites of DataFusion's are
//! safe), `lower` (logical node -> specs), `node` (the graph while it is built), `time` (event time through expressions), `bounds` (time between columns), `asof` (joins with the nearest row), `expr` and `arithmetic` (scalar
//! SQL), `explain`. No input, output, clock or state in here: a plan is a function of the query and what its relations are.

pub mod arithmetic;
pub mod asof;
mod bounds;
pub mod comparable;
mod error;
mod explain;
mod expr;
pub mod growth;
pub mod index;
pub mod lazy;
mod lower;
mod node;
mod null_safe;
pub mod optimize;
#[cfg(test)]
mod oracle;
pub mod recursion;
pub mod relation;
#[cfg(test)]
mod tests;
mod text;
mod time;

use crate::dataflow::operator::{Fragment, Spec};
use crate::dataflow::ops::blackhole::Blackhole;
use crate::dataflow::ops::deliver::Deliver;
use crate::dataflow::ops::materialize::{Materialize, RowKey};
use crate::dataflow::ops::upsert::Upsert;
use crate::error::{Error, Result};
use crate::types::ids::{CLOCK, ObjectId, TableId};
use crate::types::records::RecordEncoder;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::logical_expr::{Cast, Expr, LogicalPlan, LogicalPlanBuilder};
use index::IndexKey;
use node::{Emit, Planner, Stream};
use std::sync::Arc;

/// What the planner must know of a relation that a query scans. The scan's `TableSource` carries it (`relation::RelationSource`).
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
    /// Columns that carry the clock of the epoch that takes a row in.
    pub processing_time: Vec<usize>,
}

/// A column whose values are bounded by the watermarks of sources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventTime {
    pub column: usize,
    pub sources: Vec<ObjectId>,
    pub kind: TimeKind,
}

impl EventTime {
    /// A column that the clock of epochs dates.
    pub fn by_clock(column: usize) -> EventTime {
        EventTime { column, sources: vec![CLOCK], kind: TimeKind::Event }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeKind {
    /// An event's own time: rows with values at or below the watermark are late.
    Event,
    /// Start of a window that ends `size_micros` later.
    WindowStart {
        size_micros: i64,
    },
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
    /// Those of an index.
    Index(IndexKey),
    /// None are stored: a sink.
    Nothing,
}

#[derive(Clone, Debug)]
pub struct ViewPlan {
    /// Ends with `Materialize`, or a sink.
    pub fragment: Fragment,
    pub schema: SchemaRef,
    pub key: ViewKey,
    pub append_only: bool,
    pub event_time: Vec<EventTime>,
    /// Relations read, without repeats.
    pub inputs: Vec<ObjectId>,
    /// The state table that holds the view's rows; a sink has none.
    pub rows: Option<TableId>,
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
    let (planner, stream, schema) = lowered(request)?;
    finish(planner, stream, schema)
}

/// The plan of a query whose changes go into a sink that keeps nothing.
pub fn blackhole(request: Request<'_>) -> Result<ViewPlan> {
    let (planner, stream, schema) = lowered(request)?;
    let spec = Blackhole { schema: Arc::clone(&schema) };
    ended(planner, &stream, schema, Arc::new(spec))
}

/// How a sink publishes.
pub struct Delivery<'a> {
    /// By key, with the newest row of each: these columns, or, if there are none, those that the query is known to be unique in. `None`: rows are only ever added.
    pub key: Option<&'a [usize]>,
    /// Makes records of the rows, given their columns and key.
    pub encoder: &'a dyn Fn(SchemaRef, Vec<usize>) -> Arc<dyn RecordEncoder>,
}

/// The plan of a query whose changes are published. Error (0A000): rows that can change where rows are only to be added, a key that two rows may have.
pub fn delivered(request: Request<'_>, delivery: &Delivery<'_>) -> Result<ViewPlan> {
    let (planner, stream, schema) = lowered(request)?;
    let key = match delivery.key {
        None if stream.append_only => Vec::new(),
        None => {
            return Err(Error::not_supported("FORMAT PLAIN adds records, and rows of this query can change or go")
                .with_hint("use FORMAT UPSERT with primary_key = 'column, …', or give the view EMIT ON WINDOW CLOSE"));
        }
        Some(given) => unique_key(given, &stream, &schema)?,
    };
    let spec = Deliver { encoder: (delivery.encoder)(Arc::clone(&schema), key.clone()), key, schema: Arc::clone(&schema) };
    ended(planner, &stream, schema, Arc::new(spec))
}

/// The columns of a sink's key. Error: none are known to be unique, or not these.
fn unique_key(given: &[usize], stream: &Stream, schema: &SchemaRef) -> Result<Vec<usize>> {
    let names = |columns: &[usize]| columns.iter().map(|c| schema.field(*c).name().as_str()).collect::<Vec<_>>().join(", ");
    match &stream.key {
        Some(known) if given.is_empty() && !known.is_empty() => Ok(known.clone()),
        Some(known) if !given.is_empty() && known.iter().all(|c| given.contains(c)) => Ok(given.to_vec()),
        Some(known) if !known.is_empty() => Err(Error::not_supported(format!("two rows of the sink could have the same key ({})", names(given)))
            .with_hint(format!("its rows are known to be unique in ({}): name these columns in primary_key", names(known)))),
        _ => Err(Error::not_supported("FORMAT UPSERT needs a key, and nothing is known to be unique in the rows of this query").with_hint(
            "GROUP BY the key, or take the newest row of each with DISTINCT ON (key) … ORDER BY key, time DESC; or use FORMAT PLAIN if rows are only added",
        )),
    }
}

/// With a sink as its last node, which keeps no rows.
fn ended(mut planner: Planner<'_>, stream: &Stream, schema: SchemaRef, sink: Arc<dyn Spec>) -> Result<ViewPlan> {
    planner.add(sink.name().to_string(), &[stream], |_| Ok(sink))?;
    let (fragment, inputs) = planner.finish();
    Ok(ViewPlan { fragment, schema, key: ViewKey::Nothing, append_only: stream.append_only, event_time: Vec::new(), inputs, rows: None })
}

fn lowered(request: Request<'_>) -> Result<(Planner<'_>, Stream, SchemaRef)> {
    let optimized = as_bound(request.query, optimize::optimize(request.query)?)?;
    let emit = if request.emit_on_window_close { Emit::OnWindowClose } else { Emit::Changes };
    let mut planner = Planner::new(emit, request.allocate);
    let stream = planner.lower(&optimized)?;
    if emit == Emit::OnWindowClose {
        check_windows_close(&planner, &stream)?;
    }
    let schema: SchemaRef = Arc::clone(request.query.schema().inner());
    if !same_types(&schema, &stream.schema) {
        return Err(Error::internal(format!("the query gives {schema} and its incremental plan {}", stream.schema)));
    }
    Ok((planner, stream, schema))
}

/// Folding a constant can make a type narrower (the scale of `round(x, 1 + 1)`); what was bound, and told to the client, stands.
fn as_bound(bound: &LogicalPlan, optimized: LogicalPlan) -> Result<LogicalPlan> {
    if same_types(bound.schema().as_arrow(), optimized.schema().as_arrow()) || bound.schema().fields().len() != optimized.schema().fields().len() {
        return Ok(optimized);
    }
    let columns: Vec<Expr> = lower::aggregate::all_columns(optimized.schema())
        .into_iter()
        .zip(bound.schema().fields())
        .map(|(column, field)| {
            let name = column.qualified_name();
            Expr::Cast(Cast::new(Box::new(column), field.data_type().clone())).alias_qualified(name.0, name.1)
        })
        .collect();
    Ok(LogicalPlanBuilder::from(optimized).project(columns)?.build()?)
}

fn same_types(a: &Schema, b: &Schema) -> bool {
    a.fields().len() == b.fields().len() && a.fields().iter().zip(b.fields()).all(|(a, b)| a.data_type() == b.data_type())
}

/// Windows can be shown once only if something holds them back, and nothing behind it takes a row back.
fn check_windows_close(planner: &Planner<'_>, stream: &Stream) -> Result<()> {
    if planner.windows_held == 0 {
        return Err(Error::not_supported("EMIT ON WINDOW CLOSE needs a window in GROUP BY, over a relation with a watermark").with_hint(
            "group by window_start and window_end of TUMBLE or HOP over a source that declares WATERMARK FOR its time column, or drop EMIT ON WINDOW CLOSE",
        ));
    }
    if stream.append_only {
        return Ok(());
    }
    Err(Error::not_supported("EMIT ON WINDOW CLOSE: rows of this query can change after their window has closed")
        .with_hint("make the windowed GROUP BY the outermost step, join on equal windows only, or drop EMIT ON WINDOW CLOSE"))
}

fn finish(mut planner: Planner<'_>, stream: Stream, schema: SchemaRef) -> Result<ViewPlan> {
    let (key, row_key) = match &stream.key {
        _ if stream.append_only => (ViewKey::Append, RowKey::Append),
        Some(columns) if !columns.is_empty() => (ViewKey::Unique(columns.clone()), RowKey::Unique(columns.clone())),
        _ => (ViewKey::Row, RowKey::Row),
    };
    let rows = planner.table();
    let spec = Materialize { rows, key: row_key, leading: Vec::new(), schema: Arc::clone(&schema) };
    let append_only = spec.append_only(&[stream.append_only]);
    planner.add("Materialize".to_string(), &[&stream], |_| Ok(Arc::new(spec)))?;
    let event_time = stream.event_time.into_iter().filter(|t| matches!(schema.field(t.column).data_type(), DataType::Timestamp(..))).collect();
    let (fragment, inputs) = planner.finish();
    Ok(ViewPlan { fragment, schema, key, append_only, event_time, inputs, rows: Some(rows) })
}

/// The plan of a table's own storage (and of an upsert table's input): `Materialize` under a scan of the table's log, with `Upsert` before it for upsert feeds.
pub fn table(relation: &Relation, upsert: bool, allocate: &mut dyn FnMut() -> TableId) -> Result<ViewPlan> {
    let mut planner = Planner::new(Emit::Changes, allocate);
    let input = planner.relation(relation.id);
    let key = (!relation.key.is_empty()).then(|| relation.key.clone());
    let stream = Stream { input, schema: Arc::clone(&relation.schema), append_only: relation.append_only, key, event_time: relation.event_time.clone() };
    let stream = planner.dated(relation, stream)?;
    let stream = if upsert { upserted(&mut planner, stream)? } else { stream };
    finish(planner, stream, Arc::clone(&relation.schema))
}

/// The feed's records as deltas: the newest of each key counts, a retracted record deletes.
fn upserted(planner: &mut Planner<'_>, stream: Stream) -> Result<Stream> {
    let Some(key) = stream.key.clone() else {
        return Err(Error::internal("an upsert feed without a primary key"));
    };
    let (input, schema) = (Arc::clone(&stream.schema), Arc::clone(&stream.schema));
    let (node, append_only) =
        planner.add("Upsert".to_string(), &[&stream], |allocate| Ok(Arc::new(Upsert { input, key, deletion: None, schema, state: allocate() })))?;
    Ok(Stream { input: node, append_only, ..stream })
}

/// For comparing a re-plan with the plan that built the state: the graph with state tables, one node a line.
pub fn explain(plan: &ViewPlan) -> String {
    explain::graph(plan)
}

/// For EXPLAIN CREATE MATERIALIZED VIEW: the bound plan, the incremental plan, the graph with state tables.
pub fn explain_in_full(query: &LogicalPlan, plan: &ViewPlan) -> String {
    let indented = |text: &str| text.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n");
    let parts = [
        ("Bound plan", query.display_indent().to_string()),
        ("Incremental plan", explain::tree(plan, &relation::names(query))),
        ("Graph", explain::graph(plan)),
    ];
    parts.map(|(title, text)| format!("{title}\n{}\n", indented(&text))).join("\n")
}
