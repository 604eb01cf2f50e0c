//! The incremental plan while it is built: a list of specs in topological order, and what is known of each output (its key,
//! its event times, whether it ever retracts).
//!
//! A node that would do what an earlier one does over the same inputs is that one: queries that name a sub-query twice (Nexmark q5 counts
//! per window and again takes the maximum of the counts) keep its state once.

use super::{EventTime, TimeKind};
use crate::dataflow::operator::{Fragment, FragmentNode, Input, Spec};
use crate::error::{Error, Result};
use crate::types::ids::{NodeId, ObjectId, TableId};
use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use datafusion::logical_expr::RecursiveQuery;
use std::collections::HashMap;
use std::sync::Arc;

/// A lowered sub-plan: where its rows come from, and what holds for them. Columns stand as in the logical node's schema.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    pub input: Input,
    pub schema: SchemaRef,
    /// Never retracts.
    pub append_only: bool,
    /// Columns that are unique together; `Some` of no columns: there is at most one row.
    pub key: Option<Vec<usize>>,
    pub event_time: Vec<EventTime>,
}

impl Stream {
    pub fn time(&self, column: usize) -> Option<&EventTime> {
        self.event_time.iter().find(|t| t.column == column)
    }
}

/// When the view shows its windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Emit {
    Changes,
    OnWindowClose,
}

/// See the module.
pub(crate) struct Planner<'a> {
    frame: Frame,
    relations: Vec<ObjectId>,
    allocate: &'a mut dyn FnMut() -> TableId,
    pub emit: Emit,
    /// Aggregates that hold their windows back until they close.
    pub windows_held: usize,
    /// The loops being lowered, the innermost last; see `lower::recursion`.
    pub(super) loops: Vec<Loop>,
    /// Recursive queries lowered so far: one that is named twice runs once.
    pub(super) recursions: Vec<(RecursiveQuery, Stream)>,
    /// Bindings of a WITH MUTUALLY RECURSIVE whose rows are known.
    pub(super) finished: Vec<(String, Stream)>,
}

/// The nodes of one fragment, and what each does.
#[derive(Default)]
struct Frame {
    nodes: Vec<FragmentNode>,
    shared: HashMap<String, NodeId>,
}

/// A loop whose body is being lowered.
pub(crate) struct Loop {
    /// What is outside of it.
    outer: Frame,
    /// Name and rows of each variable.
    pub variables: Vec<(String, SchemaRef)>,
    /// Whether parts of a UNION in it that read no variable are of its base.
    pub is_mutual: bool,
    /// What the loop reads from outside.
    pub ports: Vec<Stream>,
}

impl<'a> Planner<'a> {
    pub fn new(emit: Emit, allocate: &'a mut dyn FnMut() -> TableId) -> Self {
        Planner {
            frame: Frame::default(),
            relations: Vec::new(),
            allocate,
            emit,
            windows_held: 0,
            loops: Vec::new(),
            recursions: Vec::new(),
            finished: Vec::new(),
        }
    }

    /// The node that does `what` over `inputs`, made unless there is one. `what` says all that its spec depends on, except names of columns.
    pub fn add(&mut self, what: String, inputs: &[&Stream], make: impl FnOnce(&mut dyn FnMut() -> TableId) -> Result<Arc<dyn Spec>>) -> Result<(Input, bool)> {
        let ports = inputs.iter().map(|s| s.input.clone()).collect::<Vec<_>>();
        let append_only = inputs.iter().map(|s| s.append_only).collect::<Vec<_>>();
        let identity = format!("{what} <- {ports:?}");
        if let Some(id) = self.frame.shared.get(&identity) {
            let spec = &self.frame.nodes[id.0 as usize].spec;
            return Ok((Input::Node(*id), spec.append_only(&append_only)));
        }
        let spec = make(self.allocate)?;
        let append_only = spec.append_only(&append_only);
        let id = NodeId(self.frame.nodes.len() as u32);
        self.frame.nodes.push(FragmentNode { spec, inputs: ports });
        self.frame.shared.insert(identity, id);
        Ok((Input::Node(id), append_only))
    }

    /// The rows of a relation.
    pub fn relation(&mut self, id: ObjectId) -> Input {
        if !self.relations.contains(&id) {
            self.relations.push(id);
        }
        Input::Relation(id)
    }

    pub fn table(&mut self) -> TableId {
        (self.allocate)()
    }

    /// From here on nodes are those of a loop's body.
    pub fn enter(&mut self, variables: Vec<(String, SchemaRef)>, is_mutual: bool) {
        self.loops.push(Loop { outer: std::mem::take(&mut self.frame), variables, is_mutual, ports: Vec::new() });
    }

    /// The body of the innermost loop, and what it reads from outside.
    pub fn leave(&mut self) -> Result<(Fragment, Vec<Stream>)> {
        let Loop { outer, ports, .. } = self.loops.pop().ok_or_else(|| Error::internal("no loop to leave"))?;
        let body = std::mem::replace(&mut self.frame, outer);
        Ok((Fragment { nodes: body.nodes }, ports))
    }

    /// Does `work` outside of the innermost loop.
    pub fn outside(&mut self, work: impl FnOnce(&mut Self) -> Result<Stream>) -> Result<Stream> {
        let mut left = self.loops.pop().ok_or_else(|| Error::internal("no loop to be outside of"))?;
        std::mem::swap(&mut self.frame, &mut left.outer);
        let stream = work(self);
        std::mem::swap(&mut self.frame, &mut left.outer);
        self.loops.push(left);
        stream
    }

    /// A stream from outside as the innermost loop reads it. Inside of a loop nothing is said of time, for rows of one event come at any level.
    pub fn port(&mut self, stream: Stream) -> Result<Stream> {
        let inner = self.loops.last_mut().ok_or_else(|| Error::internal("no loop that reads"))?;
        let known = inner.ports.iter().position(|p| p.input == stream.input);
        let place = known.unwrap_or(inner.ports.len());
        let port = Input::Port((inner.variables.len() + place) as u32);
        if known.is_none() {
            inner.ports.push(stream.clone());
        }
        Ok(Stream { input: port, event_time: Vec::new(), ..stream })
    }

    /// The finished fragment, and the relations it reads.
    pub fn finish(self) -> (Fragment, Vec<ObjectId>) {
        (Fragment { nodes: self.frame.nodes }, self.relations)
    }
}

/// A schema of these fields, all nullable: what an operator computes may be NULL whatever was declared of its input.
pub(crate) fn nullable<'f>(fields: impl IntoIterator<Item = &'f FieldRef>) -> SchemaRef {
    let free = |f: &FieldRef| if f.is_nullable() { Arc::clone(f) } else { Arc::new(f.as_ref().clone().with_nullable(true)) };
    Arc::new(Schema::new(fields.into_iter().map(free).collect::<Vec<_>>()))
}

/// Whether the kind names windows, which close as a whole.
pub(crate) fn is_window(kind: &TimeKind) -> bool {
    matches!(kind, TimeKind::WindowStart { .. } | TimeKind::WindowEnd)
}

/// Sources of both, in order, without repeats.
pub(crate) fn both(left: &[ObjectId], right: &[ObjectId]) -> Vec<ObjectId> {
    let mut all = left.iter().chain(right).copied().collect::<Vec<_>>();
    all.sort_unstable();
    all.dedup();
    all
}
