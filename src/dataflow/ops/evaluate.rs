//! Expressions over deltas: rows on which one fails leave the delta and become errors (design D15).

use crate::dataflow::operator::{EvalErrors, Output};
use crate::error::Result;
use crate::types::delta::Delta;
use crate::types::expr::{ExprRef, RowError, eval_rows};
use arrow::array::{ArrayRef, UInt32Array};
use std::sync::Arc;

/// One column per expression, and the rows they belong to: those of `delta` on which no expression fails. The others are
/// handed to `out.errors` with their weights, so that a retraction of a bad row retracts its error.
pub(crate) fn evaluate(exprs: &[ExprRef], delta: &Delta, out: &mut Output) -> Result<(Vec<ArrayRef>, Delta)> {
    let (columns, good, errors) = eval_rows(exprs, delta.batch())?;
    let Some(good) = good else { return Ok((columns, delta.clone())) };
    out.errors.push(bad_rows(delta, errors)?);
    Ok((columns, delta.filter(&good)?))
}

/// The failed rows of `delta` as errors.
pub(crate) fn bad_rows(delta: &Delta, errors: Vec<RowError>) -> Result<EvalErrors> {
    let rows: UInt32Array = errors.iter().map(|e| e.row as u32).collect::<Vec<_>>().into();
    let errors = errors.into_iter().map(|e| (e.error.sqlstate(), e.error.message().to_string())).collect();
    Ok(EvalErrors { rows: delta.take(&rows)?, errors })
}

/// `delta` with these columns instead, under `schema`.
pub(crate) fn with_columns(delta: &Delta, schema: &arrow::datatypes::SchemaRef, columns: Vec<ArrayRef>) -> Result<Delta> {
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(delta.rows()));
    Ok(delta.with_batch(arrow::array::RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?))
}
