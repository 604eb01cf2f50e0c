//! Constant: rows that the query itself writes (VALUES, SELECT without FROM), given out once.
//!
//! No input, so nothing is ever retracted. *State*: that they were given out, as a count under the empty key, so that a restart
//! does not do it again. The worker that owns the empty key gives them out in its first epoch.

use super::counts::Counts;
use crate::dataflow::operator::{Bound, BuildContext, Distribution, Operator, Output, Spec, StateTable};
use crate::error::Result;
use crate::state::kept::Kept;
use crate::state::keyed::Layout;
use crate::types::delta::Delta;
use crate::types::ids::{TableId, owner, virtual_node};
use crate::types::key::{Rows, hash};
use crate::types::time::Step;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

/// See the module.
#[derive(Clone, Debug)]
pub struct Constant {
    pub rows: RecordBatch,
    pub state: TableId,
}

impl Spec for Constant {
    fn name(&self) -> &'static str {
        "Constant"
    }

    fn details(&self) -> String {
        format!("{} rows", self.rows.num_rows())
    }

    fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }

    fn distribution(&self) -> Vec<Distribution> {
        Vec::new()
    }

    fn append_only(&self, _inputs: &[bool]) -> bool {
        true
    }

    fn state_tables(&self) -> Vec<StateTable> {
        vec![StateTable { id: self.state, what: "whether the rows were given out".to_string(), bounded_by: Bound::Constant("one entry") }]
    }

    fn build(&self, context: &BuildContext) -> Result<Box<dyn Operator>> {
        let owned = owner(virtual_node(hash(&[])), context.workers) == context.worker;
        Ok(Box::new(Running { rows: owned.then(|| self.rows.clone()), given: Counts::new(self.state, Layout::Hash, context) }))
    }
}

struct Running {
    /// Until they were given out; `None` on the other workers.
    rows: Option<RecordBatch>,
    given: Counts,
}

impl Operator for Running {
    fn apply(&mut self, _step: &Step, _inputs: &mut [Vec<Delta>], out: &mut Output) -> Result<()> {
        let Some(rows) = self.rows.take() else { return Ok(()) };
        let mut key = Rows::default();
        key.push(&[]);
        if self.given.get(&key, &[hash(&[])])? == [0] {
            self.given.add(&key, &[hash(&[])], &[1])?;
            out.push(Delta::inserts(rows));
        }
        Ok(())
    }

    fn state(&mut self, each: &mut dyn FnMut(&mut dyn Kept)) {
        self.given.state(each);
    }
}
