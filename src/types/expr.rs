//! A scalar expression as the engine sees it: a batch in, a column out. The SQL side implements it.

use crate::error::{Error, Result};
use arrow::array::{ArrayRef, BooleanArray, RecordBatch, new_empty_array};
use arrow::datatypes::DataType;
use std::fmt;
use std::sync::Arc;

/// Pure and deterministic: the same batch gives the same column, always.
pub trait Expr: fmt::Debug + Send + Sync {
    /// One value per row. An error tells that some row fails; [`eval_rows`] finds out which.
    fn eval(&self, batch: &RecordBatch) -> Result<ArrayRef>;

    fn data_type(&self) -> &DataType;

    /// The expression as SQL over column names, for EXPLAIN.
    fn sql(&self) -> String;

    /// Ordinals of the input columns it reads.
    fn columns(&self) -> Vec<usize>;

    /// `Some(i)` if it is just input column `i`.
    fn as_column(&self) -> Option<usize> {
        None
    }
}

pub type ExprRef = Arc<dyn Expr>;

/// A row on which an expression failed (design D15), by its ordinal in the batch that was evaluated.
#[derive(Debug)]
pub struct RowError {
    pub row: usize,
    pub error: Error,
}

/// Evaluates every expression on every row that none of them fails on. Returns the columns over the good rows, the
/// mask of good rows (`None`: all), and what failed. A batch with k bad rows costs O(k log n) evaluations, not n.
pub fn eval_rows(exprs: &[ExprRef], batch: &RecordBatch) -> Result<(Vec<ArrayRef>, Option<BooleanArray>, Vec<RowError>)> {
    if let Ok(columns) = exprs.iter().map(|e| e.eval(batch)).collect::<Result<Vec<_>>>() {
        return Ok((columns, None, Vec::new()));
    }
    let mut errors = Vec::new();
    find_bad_rows(exprs, batch, 0, &mut errors);
    let mut good = vec![true; batch.num_rows()];
    errors.iter().for_each(|e| good[e.row] = false);
    let mask = BooleanArray::from(good);
    let kept = arrow::compute::filter_record_batch(batch, &mask)?;
    let columns = if kept.num_rows() == 0 {
        exprs.iter().map(|e| new_empty_array(e.data_type())).collect()
    } else {
        exprs.iter().map(|e| e.eval(&kept)).collect::<Result<Vec<_>>>()?
    };
    Ok((columns, Some(mask), errors))
}

fn find_bad_rows(exprs: &[ExprRef], batch: &RecordBatch, offset: usize, errors: &mut Vec<RowError>) {
    let Some(error) = exprs.iter().find_map(|e| e.eval(batch).err()) else { return };
    let n = batch.num_rows();
    if n <= 1 {
        if n == 1 {
            errors.push(RowError { row: offset, error });
        }
        return;
    }
    find_bad_rows(exprs, &batch.slice(0, n / 2), offset, errors);
    find_bad_rows(exprs, &batch.slice(n / 2, n - n / 2), offset + n / 2, errors);
}
