//! The level as a column: its name, and the expressions that make it.

use crate::error::{Error, Result};
use crate::types::expr::Expr;
use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, FieldRef, Int32Type, Int64Type, Schema, SchemaRef};
use std::sync::Arc;

/// The hidden last column of every row in a loop. It is found by its place; the name is for people.
pub const LEVEL: &str = "(level)";

/// The hidden column.
pub fn level_field() -> FieldRef {
    Arc::new(Field::new(LEVEL, DataType::Int64, true))
}

/// `schema` with the level behind it.
pub fn with_level(schema: &SchemaRef) -> SchemaRef {
    Arc::new(Schema::new(schema.fields().iter().cloned().chain([level_field()]).collect::<Vec<_>>()))
}

/// The greater of two levels: that of a pair of rows.
#[derive(Debug)]
pub struct Latest {
    pub left: usize,
    pub right: usize,
}

impl Expr for Latest {
    fn eval(&self, batch: &RecordBatch) -> Result<ArrayRef> {
        let column = |i: usize| batch.column(i).as_primitive_opt::<Int64Type>().ok_or_else(|| Error::internal("a level that is no bigint"));
        Ok(Arc::new(arrow::compute::binary::<_, _, _, Int64Type>(column(self.left)?, column(self.right)?, i64::max)?))
    }

    fn data_type(&self) -> &DataType {
        &DataType::Int64
    }

    fn sql(&self) -> String {
        "greatest level".to_string()
    }

    fn columns(&self) -> Vec<usize> {
        vec![self.left, self.right]
    }
}

/// Whether a row of a result of several variables belongs to this one.
#[derive(Debug)]
pub struct IsVariable(pub usize);

impl Expr for IsVariable {
    fn eval(&self, batch: &RecordBatch) -> Result<ArrayRef> {
        let variables = batch.column(0).as_primitive_opt::<Int32Type>().ok_or_else(|| Error::internal("a row of no variable"))?;
        Ok(Arc::new(variables.values().iter().map(|v| Some(*v as usize == self.0)).collect::<BooleanArray>()))
    }

    fn data_type(&self) -> &DataType {
        &DataType::Boolean
    }

    fn sql(&self) -> String {
        format!("variable = {}", self.0)
    }

    fn columns(&self) -> Vec<usize> {
        vec![0]
    }
}

/// One level for all rows: of those that come from outside of the loop.
#[derive(Debug)]
pub struct FixedLevel(pub i64);

impl Expr for FixedLevel {
    fn eval(&self, batch: &RecordBatch) -> Result<ArrayRef> {
        Ok(Arc::new(Int64Array::from(vec![self.0; batch.num_rows()])))
    }

    fn data_type(&self) -> &DataType {
        &DataType::Int64
    }

    fn sql(&self) -> String {
        format!("level {}", self.0)
    }

    fn columns(&self) -> Vec<usize> {
        Vec::new()
    }
}
