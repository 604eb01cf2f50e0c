//! Distinct: every row once, however often it came (SELECT DISTINCT, UNION).
//!
//! State: a count per row (`Keyed`, the whole row is the key). Only a count that leaves zero or comes back to it changes the output; a
//! retraction of one of several equal rows changes nothing. A row at zero is forgotten; the number of different rows is what bounds it.

use super::consolidate::types_of;
use super::counts::Counts;
use super::groups::Groups;
use crate::dataflow::operator::{Bound, BuildContext, Distribution, Operator, Output, Spec, StateTable};
use crate::error::Result;
use crate::state::kept::Kept;
use crate::state::keyed::Layout;
use crate::types::delta::Delta;
use crate::types::ids::TableId;
use crate::types::key::Codec;
use crate::types::time::Step;
use arrow::array::UInt32Array;
use arrow::compute::take_record_batch;
use arrow::datatypes::SchemaRef;
use std::sync::Arc;

/// See the module.
#[derive(Clone, Debug)]
pub struct Distinct {
    /// Of the input and the output.
    pub schema: SchemaRef,
    pub state: TableId,
}

impl Spec for Distinct {
    fn name(&self) -> &'static str {
        "Distinct"
    }

    fn details(&self) -> String {
        String::new()
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn distribution(&self) -> Vec<Distribution> {
        vec![Distribution::Hash((0..self.schema.fields().len()).collect())]
    }

    fn append_only(&self, inputs: &[bool]) -> bool {
        inputs[0]
    }

    fn state_tables(&self) -> Vec<StateTable> {
        vec![StateTable { id: self.state, what: "number of each row".to_string(), bounded_by: Bound::Keys("different rows") }]
    }

    fn build(&self, context: &BuildContext) -> Result<Box<dyn Operator>> {
        Ok(Box::new(Running {
            schema: Arc::clone(&self.schema),
            codec: Codec::new(&types_of(&self.schema))?,
            counts: Counts::new(self.state, Layout::Hash, context),
        }))
    }
}

struct Running {
    schema: SchemaRef,
    codec: Codec,
    counts: Counts,
}

impl Running {
    fn distinct(&mut self, delta: &Delta) -> Result<Delta> {
        let groups = Groups::of(&self.codec, delta.batch().columns(), delta.rows(), false)?;
        let mut sums = vec![0i64; groups.len()];
        groups.of_row.iter().enumerate().for_each(|(row, group)| sums[*group as usize] += delta.weight(row));
        let before = self.counts.add(&groups.keys, &groups.hashes, &sums)?;
        let (mut rows, mut weights) = (Vec::new(), Vec::new());
        for (group, (before, sum)) in before.iter().zip(&sums).enumerate() {
            match (*before > 0, before + sum > 0) {
                (false, true) => weights.push(1),
                (true, false) => weights.push(-1),
                _ => continue,
            }
            rows.push(groups.first[group]);
        }
        let batch = take_record_batch(delta.batch(), &UInt32Array::from(rows))?;
        Ok(Delta::new(batch, weights))
    }
}

impl Operator for Running {
    fn apply(&mut self, _step: &Step, inputs: &mut [Vec<Delta>], out: &mut Output) -> Result<()> {
        if !inputs[0].is_empty() {
            let delta = Delta::concat(&self.schema, &std::mem::take(&mut inputs[0]))?;
            out.push(self.distinct(&delta)?);
        }
        self.counts.trim();
        Ok(())
    }

    fn state(&mut self, each: &mut dyn FnMut(&mut dyn Kept)) {
        self.counts.state(each);
    }
}
