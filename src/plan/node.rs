//! The incremental plan while it is built: a list of specs in topological order, and what is known of each output (its key,
//! its event times, whether it ever retracts).
//!
//! A node that would do what an earlier one does over the same inputs is that one: queries that name a sub-query twice (Nexmark q5 counts
//! per window and again takes the maximum of the counts) keep its state once.

use super::{EventTime, TimeKind};
use crate::dataflow::operator::{Fragment, FragmentNode, Input, Spec};
use crate::error::Result;
use crate::types::ids::{NodeId, ObjectId, TableId};
use arrow::datatypes::{FieldRef, Schema, SchemaRef};
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
    nodes: Vec<FragmentNode>,
    shared: HashMap<String, NodeId>,
    relations: Vec<ObjectId>,
    allocate: &'a mut dyn FnMut() -> TableId,
    pub emit: Emit,
    /// Aggregates that hold their windows back until they close.
    pub windows_held: usize,
}

impl<'a> Planner<'a> {
    pub fn new(emit: Emit, allocate: &'a mut dyn FnMut() -> TableId) -> Self {
        Planner { nodes: Vec::new(), shared: HashMap::new(), relations: Vec::new(), allocate, emit, windows_held: 0 }
    }

    /// The node that does `what` over `inputs`, made unless there is one. `what` says all that its spec depends on, except names of columns.
    pub fn add(&mut self, what: String, inputs: &[&Stream], make: impl FnOnce(&mut dyn FnMut() -> TableId) -> Result<Arc<dyn Spec>>) -> Result<(Input, bool)> {
        let ports = inputs.iter().map(|s| s.input.clone()).collect::<Vec<_>>();
        let append_only = inputs.iter().map(|s| s.append_only).collect::<Vec<_>>();
        let identity = format!("{what} <- {ports:?}");
        if let Some(id) = self.shared.get(&identity) {
            let spec = &self.nodes[id.0 as usize].spec;
            return Ok((Input::Node(*id), spec.append_only(&append_only)));
        }
        let spec = make(self.allocate)?;
        let append_only = spec.append_only(&append_only);
        let id = NodeId(self.nodes.len() as u32);
        self.nodes.push(FragmentNode { spec, inputs: ports });
        self.shared.insert(identity, id);
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

    /// The finished fragment, and the relations it reads.
    pub fn finish(self) -> (Fragment, Vec<ObjectId>) {
        (Fragment { nodes: self.nodes }, self.relations)
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
