//! Filter: the rows on which the predicate is true.
//!
//! Linear and without state: a retraction passes exactly when its insertion passed, for the predicate is a pure
//! function of the row. NULL counts as false.

use super::evaluate::evaluate;
use crate::dataflow::operator::{BuildContext, Operator, Output, Spec};
use crate::error::{Error, Result};
use crate::types::delta::Delta;
use crate::types::expr::ExprRef;
use crate::types::time::Step;
use arrow::array::{Array, BooleanArray};
use arrow::datatypes::{DataType, SchemaRef};
use std::sync::Arc;

/// See the module.
#[derive(Clone, Debug)]
pub struct Filter {
    /// Boolean, over the input's columns.
    pub predicate: ExprRef,
    /// Of the input, and so of the output.
    pub schema: SchemaRef,
}

impl Filter {
    /// Error: the predicate is not boolean.
    pub fn new(predicate: ExprRef, schema: SchemaRef) -> Result<Self> {
        match predicate.data_type() {
            DataType::Boolean => Ok(Filter { predicate, schema }),
            other => Err(Error::internal(format!("a filter's predicate is boolean, not {other}"))),
        }
    }
}

impl Spec for Filter {
    fn name(&self) -> &'static str {
        "Filter"
    }

    fn details(&self) -> String {
        self.predicate.sql()
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn build(&self, _context: &BuildContext) -> Result<Box<dyn Operator>> {
        Ok(Box::new(Running { predicate: [Arc::clone(&self.predicate)] }))
    }
}

struct Running {
    predicate: [ExprRef; 1],
}

impl Running {
    fn filter(&self, delta: &Delta, out: &mut Output) -> Result<()> {
        let (columns, good) = evaluate(&self.predicate, delta, out)?;
        let keep = columns[0].as_any().downcast_ref::<BooleanArray>();
        let keep = keep.ok_or_else(|| Error::internal("a filter's predicate gave a column that is not boolean"))?;
        out.push(good.filter(keep)?);
        Ok(())
    }
}

impl Operator for Running {
    fn apply(&mut self, _step: &Step, inputs: &mut [Vec<Delta>], out: &mut Output) -> Result<()> {
        inputs[0].drain(..).try_for_each(|delta| self.filter(&delta, out))
    }
}
