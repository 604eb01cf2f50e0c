//! Combine: equal rows of one epoch become one row with the sum of their weights, where much work per row follows (HOP copies each row into
//! every window that holds it).
//!
//! ```text
//!   +1 | 7 | 12:00:03          pane of 2 s              +3 | 7 | 12:00:02
//!   +1 | 7 | 12:00:02   ->  +1 | 7 | 12:00:02 (x 3)  ->                     -> 5 windows, 5 rows instead of 15
//! ```
//!
//! No state: as a Z-set the output is the input, whatever is combined. So it may look and give up: where rows are nearly all different it lets
//! them pass for some epochs before it tries again.

use super::consolidate::codec_of;
use super::groups::Groups;
use crate::dataflow::operator::{BuildContext, Operator, Output, Spec};
use crate::error::Result;
use crate::types::delta::Delta;
use crate::types::key::{Codec, Rows};
use crate::types::time::Step;
use arrow::array::UInt32Array;
use arrow::compute::take_record_batch;
use arrow::datatypes::SchemaRef;
use std::sync::Arc;

/// Fewer rows are not worth a look (tests with small input look always).
const ROWS_MIN: usize = if cfg!(test) { 2 } else { 32 };
/// Epochs that pass unseen after one in which less than a fifth of the rows went away.
const EPOCHS_UNSEEN: u32 = 20;

/// See the module.
#[derive(Clone, Debug)]
pub struct Combine {
    pub schema: SchemaRef,
}

impl Spec for Combine {
    fn name(&self) -> &'static str {
        "Combine"
    }

    fn details(&self) -> String {
        String::new()
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn build(&self, _context: &BuildContext) -> Result<Box<dyn Operator>> {
        Ok(Box::new(Running { schema: Arc::clone(&self.schema), codec: codec_of(&self.schema)?, unseen: 0 }))
    }
}

struct Running {
    schema: SchemaRef,
    codec: Codec,
    /// Epochs that are still to pass.
    unseen: u32,
}

impl Running {
    fn combined(&mut self, delta: &Delta) -> Result<Delta> {
        let mut rows = Rows::default();
        self.codec.encode(delta.batch().columns(), &mut rows)?;
        let groups = Groups::of_rows(&rows);
        if groups.len() * 5 > delta.rows() * 4 {
            self.unseen = EPOCHS_UNSEEN;
        }
        let mut sums = vec![0i64; groups.len()];
        groups.of_row.iter().enumerate().for_each(|(row, group)| sums[*group as usize] += delta.weight(row));
        let kept = (0..groups.len()).filter(|g| sums[*g] != 0).collect::<Vec<_>>();
        let indices: UInt32Array = kept.iter().map(|g| groups.first[*g]).collect::<Vec<_>>().into();
        let weights = kept.iter().map(|g| sums[*g]).collect::<Vec<_>>();
        Ok(Delta::new(take_record_batch(delta.batch(), &indices)?, weights))
    }
}

impl Operator for Running {
    fn apply(&mut self, _step: &Step, inputs: &mut [Vec<Delta>], out: &mut Output) -> Result<()> {
        let rows = inputs[0].iter().map(Delta::rows).sum::<usize>();
        self.unseen = self.unseen.saturating_sub(1);
        if self.unseen > 0 || rows < ROWS_MIN || self.schema.fields().is_empty() {
            inputs[0].drain(..).for_each(|delta| out.push(delta));
            return Ok(());
        }
        let delta = Delta::concat(&self.schema, &std::mem::take(&mut inputs[0]))?;
        out.push(self.combined(&delta)?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Int64Array;
    use arrow::datatypes::{DataType, Field, Schema};

    fn delta(values: Vec<i64>, weights: Vec<i64>) -> Delta {
        let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, true)]));
        Delta::new(arrow::array::RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from(values))]).unwrap(), weights)
    }

    #[test]
    fn weights_of_equal_rows_add_up() {
        let input = delta((0..64).map(|i| i % 2).collect(), (0..64).map(|i| if i < 60 { 1 } else { -1 }).collect());
        let mut running = Running { schema: input.schema(), codec: codec_of(&input.schema()).unwrap(), unseen: 0 };
        let mut out = Output::default();
        running.apply(&Step::default(), &mut [vec![input]], &mut out).unwrap();
        assert_eq!(crate::types::pretty::delta(&out.deltas[0]).unwrap(), ["+28 | 0", "+28 | 1"]);
    }

    #[test]
    fn different_rows_pass_for_a_while() {
        let input = delta((0..64).collect(), vec![1; 64]);
        let mut running = Running { schema: input.schema(), codec: codec_of(&input.schema()).unwrap(), unseen: 0 };
        let mut out = Output::default();
        running.apply(&Step::default(), &mut [vec![input.clone()]], &mut out).unwrap();
        assert_eq!((out.deltas[0].rows(), running.unseen), (64, EPOCHS_UNSEEN));
    }
}
