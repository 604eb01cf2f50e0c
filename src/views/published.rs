//! One published epoch: every relation's rows as the snapshot of the last checkpoint plus the runs since. Immutable: a statement that holds it
//! reads one consistent state however long it takes.

use super::stored::RelationRows;
use crate::error::{Error, Result};
use crate::state::store::Snapshot;
use crate::types::delta::Delta;
use crate::types::ids::ObjectId;
use crate::types::time::Epoch;
use arrow::array::{RecordBatch, UInt32Array};
use std::collections::HashMap;
use std::sync::Arc;

pub struct Published {
    pub epoch: Epoch,
    pub snapshot: Arc<dyn Snapshot>,
    pub relations: HashMap<ObjectId, RelationRows>,
}

/// A batch in which every row stands as often as its weight says. Error: a negative weight, which no relation has.
pub fn expand(delta: &Delta) -> Result<RecordBatch> {
    let Some(weights) = delta.weights().filter(|w| w.iter().any(|w| *w != 1)) else { return Ok(delta.batch().clone()) };
    let mut indices = Vec::with_capacity(weights.len());
    for (row, &weight) in weights.iter().enumerate() {
        let times = usize::try_from(weight).map_err(|_| Error::internal("a relation holds a row a negative number of times"))?;
        indices.extend(std::iter::repeat_n(row as u32, times));
    }
    Ok(arrow::compute::take_record_batch(delta.batch(), &UInt32Array::from(indices))?)
}
