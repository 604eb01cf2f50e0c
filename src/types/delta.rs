//! A delta: rows with weights, the unit that flows on every edge (a Z-set, Budiu et al., "DBSP", 2023).
//! +1 inserts a row, -1 retracts it, +n stands for n equal rows; an update is the old row at -1 beside
//! the new one at +1.

use crate::error::Result;
use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::datatypes::SchemaRef;
use std::sync::Arc;

/// `weights` is `None` where every row has weight +1, the common case of append-only input.
#[derive(Clone, Debug)]
pub struct Delta {
    batch: RecordBatch,
    weights: Option<Arc<[i64]>>,
}

impl Delta {
    /// Every row at weight +1.
    pub fn inserts(batch: RecordBatch) -> Self {
        Delta { batch, weights: None }
    }

    /// `weights` has one entry per row; a batch whose weights are all +1 is kept as inserts.
    pub fn new(batch: RecordBatch, weights: impl Into<Arc<[i64]>>) -> Self {
        let weights = weights.into();
        assert_eq!(batch.num_rows(), weights.len(), "a delta has one weight per row");
        let weights = if weights.iter().all(|w| *w == 1) { None } else { Some(weights) };
        Delta { batch, weights }
    }

    pub fn batch(&self) -> &RecordBatch {
        &self.batch
    }

    pub fn schema(&self) -> SchemaRef {
        self.batch.schema()
    }

    pub fn column(&self, i: usize) -> &ArrayRef {
        self.batch.column(i)
    }

    pub fn rows(&self) -> usize {
        self.batch.num_rows()
    }

    pub fn is_empty(&self) -> bool {
        self.batch.num_rows() == 0
    }

    /// `None`: every row is at +1.
    pub fn weights(&self) -> Option<&[i64]> {
        self.weights.as_deref()
    }

    pub fn weight(&self, row: usize) -> i64 {
        self.weights.as_ref().map_or(1, |w| w[row])
    }

    /// The same rows and weights with other columns (a projection).
    pub fn with_batch(&self, batch: RecordBatch) -> Delta {
        assert_eq!(batch.num_rows(), self.rows(), "a projection keeps the rows");
        Delta { batch, weights: self.weights.clone() }
    }

    /// Rows where `keep` is true; NULL counts as false.
    pub fn filter(&self, keep: &BooleanArray) -> Result<Delta> {
        if keep.null_count() == 0 && keep.true_count() == self.rows() {
            return Ok(self.clone());
        }
        let batch = arrow::compute::filter_record_batch(&self.batch, keep)?;
        let weights = self.weights.as_ref().map(|w| (0..w.len()).filter(|&i| keep.is_valid(i) && keep.value(i)).map(|i| w[i]).collect::<Arc<[i64]>>());
        Ok(Delta { batch, weights })
    }

    /// The rows at `indices`, in that order.
    pub fn take(&self, indices: &UInt32Array) -> Result<Delta> {
        let columns = arrow::compute::take_arrays(self.batch.columns(), indices, None)?;
        // Of a batch without columns this alone tells.
        let options = RecordBatchOptions::new().with_row_count(Some(indices.len()));
        let batch = RecordBatch::try_new_with_options(self.batch.schema(), columns, &options)?;
        let weights = self.weights.as_ref().map(|w| indices.values().iter().map(|&i| w[i as usize]).collect::<Arc<[i64]>>());
        Ok(Delta { batch, weights })
    }

    /// Zero-copy.
    pub fn slice(&self, offset: usize, length: usize) -> Delta {
        Delta { batch: self.batch.slice(offset, length), weights: self.weights.as_ref().map(|w| w[offset..offset + length].into()) }
    }

    /// The same rows with every weight's sign turned.
    pub fn negate(&self) -> Delta {
        let weights: Arc<[i64]> = (0..self.rows()).map(|i| -self.weight(i)).collect();
        Delta { batch: self.batch.clone(), weights: Some(weights) }
    }

    /// One delta with all rows of `deltas`, which share `schema`.
    pub fn concat(schema: &SchemaRef, deltas: &[Delta]) -> Result<Delta> {
        if let [only] = deltas {
            return Ok(only.clone());
        }
        let batch = arrow::compute::concat_batches(schema, deltas.iter().map(|d| &d.batch))?;
        if deltas.iter().all(|d| d.weights.is_none()) {
            return Ok(Delta::inserts(batch));
        }
        let weights: Arc<[i64]> = deltas.iter().flat_map(|d| (0..d.rows()).map(|i| d.weight(i))).collect();
        Ok(Delta { batch, weights: Some(weights) })
    }

    /// Bytes of the rows themselves and their weights, however large the buffers that they are parts of.
    pub fn size(&self) -> usize {
        let of_column = |column: &ArrayRef| column.to_data().get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size());
        self.batch.columns().iter().map(of_column).sum::<usize>() + self.weights.as_ref().map_or(0, |w| w.len() * 8)
    }

    /// Bytes held by the columns and weights.
    pub fn bytes(&self) -> usize {
        self.batch.get_array_memory_size() + self.weights.as_ref().map_or(0, |w| w.len() * 8)
    }
}
