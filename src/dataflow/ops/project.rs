//! Project: one output column per expression.
//!
//! Linear and without state: a retraction gives the same row as its insertion did. Columns that are passed on are shared,
//! not copied or evaluated; a projection of columns only costs nothing per row.

use super::evaluate::{evaluate, with_columns};
use crate::dataflow::operator::{BuildContext, Operator, Output, Spec};
use crate::error::{Error, Result};
use crate::types::delta::Delta;
use crate::types::expr::ExprRef;
use crate::types::time::Step;
use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;
use std::sync::Arc;

/// See the module.
#[derive(Clone, Debug)]
pub struct Project {
    pub exprs: Vec<ExprRef>,
    /// Of the output: one field per expression.
    pub schema: SchemaRef,
}

impl Project {
    /// Error: the schema does not fit the expressions.
    pub fn new(exprs: Vec<ExprRef>, schema: SchemaRef) -> Result<Self> {
        let fits = exprs.len() == schema.fields().len() && exprs.iter().zip(schema.fields()).all(|(e, f)| e.data_type().equals_datatype(f.data_type()));
        if fits {
            Ok(Project { exprs, schema })
        } else {
            Err(Error::internal(format!("a projection's schema {schema} does not fit its expressions {exprs:?}")))
        }
    }
}

impl Spec for Project {
    fn name(&self) -> &'static str {
        "Project"
    }

    fn details(&self) -> String {
        let column = |(e, f): (&ExprRef, &arrow::datatypes::FieldRef)| {
            let sql = e.sql();
            if sql == *f.name() { sql } else { format!("{sql} AS {}", f.name()) }
        };
        self.exprs.iter().zip(self.schema.fields()).map(column).collect::<Vec<_>>().join(", ")
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn build(&self, _context: &BuildContext) -> Result<Box<dyn Operator>> {
        let mut computed = Vec::new();
        let from = |e: &ExprRef| match e.as_column() {
            Some(i) => From::Input(i),
            None => {
                computed.push(Arc::clone(e));
                From::Computed(computed.len() - 1)
            }
        };
        let columns = self.exprs.iter().map(from).collect();
        Ok(Box::new(Running { columns, computed, schema: Arc::clone(&self.schema) }))
    }
}

/// Where an output column comes from.
enum From {
    Input(usize),
    Computed(usize),
}

struct Running {
    columns: Vec<From>,
    computed: Vec<ExprRef>,
    schema: SchemaRef,
}

impl Running {
    fn project(&self, delta: &Delta, out: &mut Output) -> Result<()> {
        let (computed, rows) = if self.computed.is_empty() { (Vec::new(), delta.clone()) } else { evaluate(&self.computed, delta, out)? };
        let column = |from: &From| -> ArrayRef {
            match from {
                From::Input(i) => Arc::clone(rows.column(*i)),
                From::Computed(i) => Arc::clone(&computed[*i]),
            }
        };
        let columns = self.columns.iter().map(column).collect();
        out.push(with_columns(&rows, &self.schema, columns)?);
        Ok(())
    }
}

impl Operator for Running {
    fn apply(&mut self, _step: &Step, inputs: &mut [Vec<Delta>], out: &mut Output) -> Result<()> {
        inputs[0].drain(..).try_for_each(|delta| self.project(&delta, out))
    }
}
