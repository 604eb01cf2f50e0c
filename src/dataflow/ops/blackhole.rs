//! Blackhole: the last node of a sink that keeps nothing. It counts what reaches it.
//!
//! *A retraction* is counted as one. *State*: none here; the counts are part of the epoch's outcome and kept by the node, with its checkpoints.

use crate::dataflow::operator::{BuildContext, Operator, Output, Spec, Sunk};
use crate::error::Result;
use crate::types::delta::Delta;
use crate::types::time::Step;
use arrow::datatypes::SchemaRef;

/// See the module.
#[derive(Clone, Debug)]
pub struct Blackhole {
    pub schema: SchemaRef,
}

impl Spec for Blackhole {
    fn name(&self) -> &'static str {
        "Blackhole"
    }

    fn details(&self) -> String {
        String::new()
    }

    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn build(&self, _context: &BuildContext) -> Result<Box<dyn Operator>> {
        Ok(Box::new(BlackholeOp))
    }
}

struct BlackholeOp;

impl Operator for BlackholeOp {
    fn apply(&mut self, _step: &Step, inputs: &mut [Vec<Delta>], out: &mut Output) -> Result<()> {
        let mut sunk = Sunk::default();
        inputs.iter_mut().flat_map(|deltas| deltas.drain(..)).for_each(|delta| sunk += Sunk::of(&delta));
        out.sunk = Some(sunk);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int64Array, RecordBatch};
    use std::sync::Arc;

    #[test]
    fn insertions_and_retractions_are_counted_apart_with_their_weights() {
        let batch = RecordBatch::try_from_iter([("a", Arc::new(Int64Array::from(vec![1, 1, 2])) as _)]).unwrap();
        let mut out = Output::default();
        BlackholeOp.apply(&Step::default(), &mut [vec![Delta::new(batch, vec![2, -1, 1])]], &mut out).unwrap();
        assert_eq!(out.sunk, Some(Sunk { inserted: 3, retracted: 1 }));
        assert!(out.deltas.is_empty() && out.run.is_none());
    }
}
