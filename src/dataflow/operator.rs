//! The contract of the engine: a `Spec` is data that describes one operator; it builds one `Operator`
//! per worker thread. Operators are pure machines: time, input and storage come from outside.
//!
//! ```text
//!   Spec (in the plan, shared, immutable)  --build-->  Operator (one per worker, owns its share of state)
//!                                                        apply()  one epoch: deltas in, deltas out
//!                                                        due()    when the clock is to wake it
//!                                                        state()  all that it keeps, and of each part:
//!                                                                   checkpoint()  what is dirty now is owed
//!                                                                   hand_over()   a piece of what is owed -> ops
//!                                                                   committed()   those ops are durable
//!                                                                   evict()       give memory back
//! ```

use crate::error::Result;
use crate::state::committed::Committed;
use crate::state::kept::Kept;
use crate::state::keyed::TableContext;
use crate::state::run::Run;
use crate::types::delta::Delta;
use crate::types::ids::{NodeId, ObjectId, TableId};
use crate::types::records::Records;
use crate::types::time::Step;
use arrow::datatypes::SchemaRef;
use std::fmt;
use std::sync::Arc;

/// How an operator's input must be spread over the workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Distribution {
    /// Any worker may see any row.
    Any,
    /// Rows with equal values in these columns meet on the worker that owns the hash of those values.
    Hash(Vec<usize>),
    /// All rows meet on the worker that owns the hash of the empty key.
    Single,
}

/// What EXPLAIN says about one state table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateTable {
    pub id: TableId,
    /// For instance "left rows by (auction)".
    pub what: String,
    pub bounded_by: Bound,
}

/// What keeps a state table from growing for ever. `plan::growth` reads it: over a source that never ends, keys and rows do not bound anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Entries go when a watermark, or the clock, passes them.
    Watermark,
    /// One entry per different key; the text says of what: "groups".
    Keys(&'static str),
    /// The rows that there are now; the text says which.
    Rows(&'static str),
    /// Never more than a few entries; the text says how many.
    Constant(&'static str),
    /// The rows that the user asked for.
    View,
    /// Every row that ever came and was not retracted.
    Nothing,
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bound::Watermark => f.write_str("watermark"),
            Bound::Keys(of) | Bound::Rows(of) => write!(f, "number of {of}"),
            Bound::Constant(entries) => f.write_str(entries),
            Bound::View => f.write_str("the view"),
            Bound::Nothing => f.write_str("nothing"),
        }
    }
}

/// The description of one operator: its parameters, never its state.
pub trait Spec: fmt::Debug + Send + Sync {
    /// In the field's words: `Filter`, `HashAggregate`, `HashJoin`, `TopK`.
    fn name(&self) -> &'static str;

    /// The parameters in one line, for EXPLAIN; empty if there are none.
    fn details(&self) -> String;

    fn schema(&self) -> SchemaRef;

    /// One entry per input port.
    fn distribution(&self) -> Vec<Distribution> {
        vec![Distribution::Any]
    }

    /// Whether the output never retracts, given which inputs never do: of an operator that passes rows on one by one, if its input never does.
    fn append_only(&self, inputs: &[bool]) -> bool {
        inputs[0]
    }

    /// All that the operator keeps, with what its nested operators keep.
    fn state_tables(&self) -> Vec<StateTable> {
        Vec::new()
    }

    /// The operators that this one runs inside itself, for EXPLAIN.
    fn nested(&self) -> Option<&Fragment> {
        None
    }

    /// Sources whose watermarks the operator acts on; it is also run when one of these moves without rows.
    fn watermarks(&self) -> Vec<ObjectId> {
        Vec::new()
    }

    /// Whether the operator acts on the clock: then it is also run, without rows, in each step whose clock has reached what [`Operator::due`] said.
    fn has_timer(&self) -> bool {
        false
    }

    fn build(&self, context: &BuildContext) -> Result<Box<dyn Operator>>;
}

/// What an operator is built with.
#[derive(Clone)]
pub struct BuildContext {
    /// Tables read what is committed, never the store itself; see `state::committed`.
    pub store: Arc<Committed>,
    pub worker: usize,
    pub workers: usize,
    /// Upper bound of entries each cache keeps between epochs, for tests of the read-back paths; `None`: only memory bounds it.
    pub cache_entries: Option<usize>,
    /// Whether the state tables hold nothing on disk yet (a new view): look-ups need not ask the store.
    pub fresh: bool,
    /// Wrap every operator in `check.rs`: schemas, epoch order and weights are asserted on each edge.
    pub checks: bool,
}

impl BuildContext {
    /// What the operator's state tables are opened with.
    pub fn table(&self) -> TableContext {
        TableContext { store: Arc::clone(&self.store), worker: self.worker, workers: self.workers, cache_entries: self.cache_entries, fresh: self.fresh }
    }
}

/// What an operator gives besides deltas.
#[derive(Debug, Default)]
pub struct Output {
    pub deltas: Vec<Delta>,
    pub late: Vec<LateRows>,
    pub errors: Vec<EvalErrors>,
    /// The view's change of this epoch by view key; set by `Materialize` only.
    pub run: Option<Run>,
    /// What went into a sink; set by sinks only.
    pub sunk: Option<Sunk>,
    /// What a sink is to publish of the epoch; set by `Deliver` only.
    pub records: Records,
}

/// Rows that a sink took, by their weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Sunk {
    pub inserted: u64,
    pub retracted: u64,
}

impl Sunk {
    /// The rows of a delta.
    pub fn of(delta: &Delta) -> Sunk {
        let mut sunk = Sunk::default();
        for row in 0..delta.rows() {
            let weight = delta.weight(row);
            let count = if weight > 0 { &mut sunk.inserted } else { &mut sunk.retracted };
            *count += weight.unsigned_abs();
        }
        sunk
    }
}

impl std::ops::AddAssign for Sunk {
    fn add_assign(&mut self, other: Sunk) {
        self.inserted += other.inserted;
        self.retracted += other.retracted;
    }
}

impl Output {
    /// Empty deltas are dropped here, so that no operator sees one.
    pub fn push(&mut self, delta: Delta) {
        if !delta.is_empty() {
            self.deltas.push(delta);
        }
    }
}

/// Rows that came for closed windows; `window_end` has one entry per row, µs.
#[derive(Debug)]
pub struct LateRows {
    pub rows: Delta,
    pub window_end: Vec<i64>,
}

/// Rows on which an expression failed: a Z-set, so a retraction of the row retracts the error.
#[derive(Debug)]
pub struct EvalErrors {
    pub rows: Delta,
    /// One per row: SQLSTATE and message.
    pub errors: Vec<(&'static str, String)>,
}

/// One worker's share of an operator.
pub trait Operator: Send {
    /// One epoch. `inputs[port]` holds this worker's share, in any order, with no empty delta; output likewise.
    /// Late rows compare with `step.before`; windows close by `step.after`, after the rows.
    /// An error is a broken store or a broken invariant, never a bad row: those go to `out.errors`.
    fn apply(&mut self, step: &Step, inputs: &mut [Vec<Delta>], out: &mut Output) -> Result<()>;

    /// Of an operator with a timer, after each step: the clock (µs) at which it next has something to do without input, later than the step's; `None`: nothing
    /// waits. One that does not know, for its state has not been looked at since a restart, says `i64::MIN`.
    fn due(&self) -> Option<i64> {
        None
    }

    /// Visits all that the operator keeps, each table by itself; by default that is nothing.
    fn state(&mut self, _each: &mut dyn FnMut(&mut dyn Kept)) {}
}

/// Where a node's input comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Another node of the same fragment, by position in it (always smaller than the node's own).
    Node(NodeId),
    /// The deltas of a relation: a source, a table, or another materialized view.
    Relation(ObjectId),
    /// In a fragment that an operator runs inside itself (`ops::recursion`): a port that the operator feeds.
    Port(u32),
}

/// The incremental plan of one view (or table): nodes in topological order; the last is its `Materialize`.
#[derive(Clone, Debug, Default)]
pub struct Fragment {
    pub nodes: Vec<FragmentNode>,
}

impl Fragment {
    /// Whether some node is to be run when its time comes.
    pub fn has_timer(&self) -> bool {
        self.nodes.iter().any(|n| n.spec.has_timer())
    }
}

#[derive(Clone, Debug)]
pub struct FragmentNode {
    pub spec: Arc<dyn Spec>,
    pub inputs: Vec<Input>,
}
