//! Processing time: a column that tells when a row was taken in, by the clock of its epoch (`PROCTIME()` in CREATE SOURCE).
//!
//! The clock is the step's, which the epoch log keeps: a replayed epoch gives its rows the times that they had. So a row must not be dated
//! where it is read, ahead of its epoch, but here. Linear and without state; the input never retracts but for deletions by key, whose other columns nobody reads.

use super::evaluate::with_columns;
use crate::dataflow::operator::{BuildContext, Operator, Output, Spec};
use crate::error::Result;
use crate::types::delta::Delta;
use crate::types::time::Step;
use arrow::array::{ArrayRef, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, SchemaRef};
use std::sync::Arc;

/// `columns` are timestamps of `schema`, with or without a zone; their values in the input are not looked at.
#[derive(Clone, Debug)]
pub struct ProcessingTime {
    pub columns: Vec<usize>,
    pub schema: SchemaRef,
}

impl Spec for ProcessingTime {
    fn name(&self) -> &'static str {
        "ProcessingTime"
    }

    fn details(&self) -> String {
        self.columns.iter().map(|c| self.schema.field(*c).name().as_str()).collect::<Vec<_>>().join(", ")
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn build(&self, _context: &BuildContext) -> Result<Box<dyn Operator>> {
        Ok(Box::new(self.clone()))
    }
}

impl Operator for ProcessingTime {
    fn apply(&mut self, step: &Step, inputs: &mut [Vec<Delta>], out: &mut Output) -> Result<()> {
        for delta in inputs[0].drain(..) {
            let mut columns = delta.batch().columns().to_vec();
            for &at in &self.columns {
                columns[at] = repeated(step.clock, delta.rows(), self.schema.field(at).data_type());
            }
            out.push(with_columns(&delta, &self.schema, columns)?);
        }
        Ok(())
    }
}

fn repeated(clock: i64, rows: usize, data_type: &DataType) -> ArrayRef {
    let times = TimestampMicrosecondArray::from_value(clock, rows);
    match data_type {
        DataType::Timestamp(_, Some(zone)) => Arc::new(times.with_timezone(Arc::clone(zone))),
        _ => Arc::new(times),
    }
}
