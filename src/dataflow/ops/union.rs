//! Union: the rows of all inputs (UNION ALL; a Distinct behind it gives UNION).
//!
//! Linear and without state: weights of equal rows from different inputs add up wherever somebody looks at them.

use super::evaluate::with_columns;
use crate::dataflow::operator::{BuildContext, Distribution, Operator, Output, Spec};
use crate::error::Result;
use crate::types::delta::Delta;
use crate::types::time::Step;
use arrow::datatypes::SchemaRef;
use std::sync::Arc;

/// Inputs have the same column types in the same order; names are taken from `schema`.
#[derive(Clone, Debug)]
pub struct Union {
    pub inputs: usize,
    pub schema: SchemaRef,
}

impl Spec for Union {
    fn name(&self) -> &'static str {
        "Union"
    }

    fn details(&self) -> String {
        String::new()
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn distribution(&self) -> Vec<Distribution> {
        vec![Distribution::Any; self.inputs]
    }

    fn append_only(&self, inputs: &[bool]) -> bool {
        inputs.iter().all(|i| *i)
    }

    fn build(&self, _context: &BuildContext) -> Result<Box<dyn Operator>> {
        Ok(Box::new(Running { schema: Arc::clone(&self.schema) }))
    }
}

struct Running {
    schema: SchemaRef,
}

impl Operator for Running {
    fn apply(&mut self, _step: &Step, inputs: &mut [Vec<Delta>], out: &mut Output) -> Result<()> {
        for delta in inputs.iter_mut().flat_map(|port| port.drain(..)) {
            out.push(with_columns(&delta, &self.schema, delta.batch().columns().to_vec())?);
        }
        Ok(())
    }
}
