//! Recursion: runs operators in a loop, inside one epoch, until nothing changes any more (WITH RECURSIVE, WITH MUTUALLY RECURSIVE).
//!
//! *What it computes.* Semi-naive evaluation, kept as it would have run over the input of this moment. Every row of a loop variable has a *level*:
//! base rows are of level 0, and what the nested operators (the body) make of rows of level i is derived at level i + 1; of several rows, the
//! greatest of their levels counts. The level is a hidden last column inside the loop, so operators that know nothing of loops carry it along.
//! Of a variable without repeats (UNION) a row is *in* at the lowest level at which it is derived, and is fed to the body at that level alone;
//! of one with repeats (UNION ALL) it is fed at every level, with as many copies as derivations.
//!
//! ```text
//!   levels ascending:   changes of derivations at level i  ->  which rows are in at level i now, and were before  ->  fed to the body (-1 old, +1 new)
//!                              ^                                                                                          |
//!                              +--------------------------  changes of derivations at i + 1  <---------------------------+
//! ```
//!
//! *Why it ends, and is exact.* By induction: when level i is settled, all changes of derivations at i are known, for they come from rows of
//! level i - 1 and lower, which were settled before, and from the other inputs, which are fed first of all. So whether a row is in at i is final. A retraction runs
//! up the same levels that the insertion ran, *before* anything could be derived anew behind it. Take the edges s -> a -> b -> a, and s -> a withdrawn:
//!
//! ```text
//!                level 0        1        2
//!   before       a              b        (a again, from b; a is in at 0)
//!   level 0      -a at 0; a is still derived at 2: looked at again there
//!   level 1                     -b at 1, for a at 0 is gone
//!   level 2                              a's derivation at 2 is gone with b at 1: a is out
//! ```
//!
//! Nothing counts to infinity: rows of a cycle support each other at levels that only rows of lower levels lead to, and those are gone when
//! the level's turn comes. Work is bounded by the levels at which some row was in before or is in now.
//!
//! *State*: of each row, how often it is derived at which level ([`variable`]), and what the nested operators keep. A row without derivations is forgotten.
//! All of it is on one worker, the owner of the empty key: the workers would else have to meet at every level.
//!
//! *Limits.* Data can make a loop endless (UNION ALL over a cycle, `n + 1` without a bound). So rows derived beyond [`Limit::levels`] passes are not fed: they are
//! listed as errors of the view (or dropped, where the query says RETURN AT RECURSION LIMIT), and so are rows with more than [`COPIES_MAX`] copies. Both are
//! functions of the input alone, so a retraction takes rows out of the errors again.

mod level;
mod run;
#[cfg(test)]
mod tests;
mod variable;

pub use self::level::{FixedLevel, IsVariable, LEVEL, Latest, level_field, with_level};
use self::run::Running;
use self::variable::Derivations;
use crate::dataflow::operator::{Bound, BuildContext, Distribution, Fragment, Input, Operator, Spec, StateTable};
use crate::error::{Error, Result};
use crate::types::ids::TableId;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use std::sync::Arc;

/// Passes of a recursion that says nothing itself: far more than data is deep, and an endless loop is noticed within seconds.
pub const LEVELS_MAX: i64 = 10_000;
/// Copies of one row at one level: more are the sign of a loop that doubles them in each pass, and that no one could read.
pub const COPIES_MAX: i64 = 1 << 20;

/// See the module.
#[derive(Clone, Debug)]
pub struct Recursion {
    pub variables: Vec<Variable>,
    /// What is run in the loop. `Input::Port(p)`: variable p with its level, or, from `variables.len()` on, input `p - variables.len()`.
    pub body: Fragment,
    /// How many inputs there are.
    pub inputs: usize,
    pub limit: Limit,
    /// The variables whose rows come out. Of several, each row has its variable's number first, then the columns of all, NULL but for its own.
    pub results: Vec<usize>,
}

/// A loop variable: a relation that is defined by itself.
#[derive(Clone, Debug)]
pub struct Variable {
    pub name: String,
    /// Without the level.
    pub schema: SchemaRef,
    /// UNION: a row is there once, however often it is derived.
    pub distinct: bool,
    /// Inputs whose rows are of level 0.
    pub base: Vec<usize>,
    /// Nodes or ports of the body that derive rows; with a level behind their columns.
    pub derived: Vec<Input>,
    pub state: TableId,
}

/// How far the loop runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The highest level whose rows are there.
    pub levels: i64,
    pub beyond: Beyond,
}

/// What becomes of rows behind the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beyond {
    Errors,
    Dropped,
}

impl Default for Limit {
    fn default() -> Self {
        Limit { levels: LEVELS_MAX, beyond: Beyond::Errors }
    }
}

impl Recursion {
    fn append_only_body(&self, inputs: &[bool]) -> bool {
        let mut known: Vec<bool> = Vec::with_capacity(self.body.nodes.len());
        let of = |known: &[bool], input: &Input| match input {
            Input::Node(n) => known[n.0 as usize],
            Input::Port(p) => (*p as usize).checked_sub(self.variables.len()).is_none_or(|p| inputs[p]),
            Input::Relation(_) => false,
        };
        for node in &self.body.nodes {
            let ports = node.inputs.iter().map(|i| of(&known, i)).collect::<Vec<_>>();
            known.push(node.spec.append_only(&ports));
        }
        self.variables.iter().flat_map(|v| &v.derived).all(|d| of(&known, d))
    }
}

impl Spec for Recursion {
    fn name(&self) -> &'static str {
        "Recursion"
    }

    fn details(&self) -> String {
        let inputs = |v: &Variable| v.base.iter().map(|b| format!("port {}", self.variables.len() + b)).collect::<Vec<_>>();
        let derived =
            |v: &Variable| v.derived.iter().map(|d| if let Input::Node(n) = d { format!("step {}", n.0) } else { format!("{d:?}") }).collect::<Vec<_>>();
        let variable = |(port, v): (usize, &Variable)| {
            let union = if v.distinct { "UNION" } else { "UNION ALL" };
            let terms = [inputs(v), derived(v)].concat().join(&format!(" {union} "));
            format!("{} (port {port}) = {terms}", v.name)
        };
        let variables = self.variables.iter().enumerate().map(variable).collect::<Vec<_>>().join(", ");
        let beyond = if self.limit.beyond == Beyond::Dropped { ", rows beyond are dropped" } else { "" };
        format!("{variables}; at most {} passes{beyond}", self.limit.levels)
    }

    fn schema(&self) -> SchemaRef {
        if let [only] = self.results[..] {
            return Arc::clone(&self.variables[only].schema);
        }
        let number = Arc::new(Field::new("variable", DataType::Int32, false));
        let columns = self.results.iter().flat_map(|v| self.variables[*v].schema.fields().iter().cloned());
        Arc::new(Schema::new(std::iter::once(number).chain(columns).collect::<Vec<_>>()))
    }

    fn distribution(&self) -> Vec<Distribution> {
        vec![Distribution::Single; self.inputs]
    }

    /// Whether no input and no nested operator retracts, where a level that only falls takes nothing back from a UNION.
    fn append_only(&self, inputs: &[bool]) -> bool {
        inputs.iter().all(|i| *i) && self.append_only_body(inputs) && self.variables.iter().all(|v| v.distinct)
    }

    fn state_tables(&self) -> Vec<StateTable> {
        let own = self.variables.iter().map(|v| StateTable {
            id: v.state,
            what: format!("levels at which rows of {} are derived", v.name),
            bounded_by: Bound::Rows("different rows of the recursive query"),
        });
        own.chain(self.body.nodes.iter().flat_map(|n| n.spec.state_tables())).collect()
    }

    fn nested(&self) -> Option<&Fragment> {
        Some(&self.body)
    }

    fn build(&self, context: &BuildContext) -> Result<Box<dyn Operator>> {
        if self.body.nodes.iter().any(|n| n.inputs.iter().any(|i| matches!(i, Input::Relation(_)))) {
            return Err(Error::internal("a loop reads relations through its ports only"));
        }
        if self.body.has_timer() || self.body.nodes.iter().any(|n| !n.spec.watermarks().is_empty()) {
            return Err(Error::internal("nothing in a loop acts on time"));
        }
        // The one worker that is given rows owns all keys of its own tables, whatever the number of workers.
        let alone = BuildContext { worker: 0, workers: 1, ..context.clone() };
        let nodes = self.body.nodes.iter().map(|n| n.spec.build(&alone)).collect::<Result<Vec<_>>>()?;
        let variables = self.variables.iter().map(|v| Derivations::new(v, self.limit, &alone)).collect::<Result<Vec<_>>>()?;
        Ok(Box::new(Running::new(self.clone(), nodes, variables)))
    }
}
