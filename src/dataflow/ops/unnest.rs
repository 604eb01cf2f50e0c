//! Unnest: each row becomes one row per element of its list columns; the other columns repeat. HOP is this over the list
//! of a row's window starts.
//!
//! Linear and without state: a retraction of a row retracts the rows it became. Several lists of one row run side by side, the shorter
//! ones filled up with NULLs. An empty list gives no row; a NULL list one row of NULLs if `preserve_nulls`, otherwise none.

use crate::dataflow::operator::{BuildContext, Operator, Output, Spec};
use crate::error::{Error, Result};
use crate::types::delta::Delta;
use crate::types::time::Step;
use arrow::array::{Array, ArrayRef, AsArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, SchemaRef};
use std::sync::Arc;

/// The output has the input's columns in order, with each list column replaced by its elements.
#[derive(Clone, Debug)]
pub struct Unnest {
    pub columns: Vec<usize>,
    pub preserve_nulls: bool,
    pub schema: SchemaRef,
}

impl Unnest {
    /// Error: a column to unnest is not a list.
    pub fn new(input: &SchemaRef, columns: Vec<usize>, preserve_nulls: bool, schema: SchemaRef) -> Result<Self> {
        match columns.iter().find(|c| !matches!(input.field(**c).data_type(), DataType::List(_))) {
            None => Ok(Unnest { columns, preserve_nulls, schema }),
            Some(other) => Err(Error::not_supported(format!("unnest of {} in a materialized view is not supported", input.field(*other).data_type()))
                .with_hint("unnest an array, or select the fields of a struct by name")),
        }
    }
}

impl Spec for Unnest {
    fn name(&self) -> &'static str {
        "Unnest"
    }

    fn details(&self) -> String {
        self.columns.iter().map(|c| self.schema.field(*c).name().as_str()).collect::<Vec<_>>().join(", ")
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn build(&self, _context: &BuildContext) -> Result<Box<dyn Operator>> {
        Ok(Box::new(Running { spec: self.clone() }))
    }
}

struct Running {
    spec: Unnest,
}

impl Running {
    fn unnest(&self, delta: &Delta) -> Result<Delta> {
        let lists = self.spec.columns.iter().map(|c| delta.column(*c).as_list::<i32>()).collect::<Vec<_>>();
        let length = |row: usize| {
            let longest = lists.iter().filter(|l| l.is_valid(row)).map(|l| l.value_length(row) as usize).max();
            longest.unwrap_or(usize::from(self.spec.preserve_nulls))
        };
        let lengths = (0..delta.rows()).map(length).collect::<Vec<_>>();
        let parents: UInt32Array = lengths.iter().enumerate().flat_map(|(row, n)| std::iter::repeat_n(row as u32, *n)).collect::<Vec<_>>().into();
        let column = |i: usize| -> Result<ArrayRef> {
            match self.spec.columns.iter().position(|c| *c == i) {
                None => Ok(take(delta.column(i), &parents, None)?),
                Some(at) => {
                    let list = lists[at];
                    let element = |row: usize, k: usize| {
                        let start = list.value_offsets()[row] as usize;
                        (list.is_valid(row) && k < list.value_length(row) as usize).then_some((start + k) as u32)
                    };
                    let indices: UInt32Array =
                        lengths.iter().enumerate().flat_map(|(row, n)| (0..*n).map(move |k| (row, k))).map(|(row, k)| element(row, k)).collect();
                    Ok(take(list.values(), &indices, None)?)
                }
            }
        };
        let columns = (0..delta.batch().num_columns()).map(column).collect::<Result<Vec<_>>>()?;
        let weights = delta.weights().map(|w| parents.values().iter().map(|row| w[*row as usize]).collect::<Vec<_>>());
        let batch = arrow::array::RecordBatch::try_new(Arc::clone(&self.spec.schema), columns)?;
        Ok(match weights {
            None => Delta::inserts(batch),
            Some(weights) => Delta::new(batch, weights),
        })
    }
}

impl Operator for Running {
    fn apply(&mut self, _step: &Step, inputs: &mut [Vec<Delta>], out: &mut Output) -> Result<()> {
        for delta in inputs[0].drain(..) {
            out.push(self.unnest(&delta)?);
        }
        Ok(())
    }
}
