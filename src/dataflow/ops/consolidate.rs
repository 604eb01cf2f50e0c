//! Consolidation: equal rows of a delta become one row with the sum of their weights; a sum of zero leaves no row.
//! State and views are touched by net changes only (design D2).

use super::groups::Groups;
use crate::error::Result;
use crate::types::delta::Delta;
use crate::types::key::{Codec, Rows};
use arrow::array::UInt32Array;
use arrow::datatypes::{DataType, SchemaRef};

/// All rows of `deltas` as one delta. Where nothing is retracted nothing can cancel: then the rows are only put together, and equal ones may repeat.
pub(crate) fn consolidate(schema: &SchemaRef, deltas: &[Delta]) -> Result<Delta> {
    let delta = Delta::concat(schema, deltas)?;
    let Some(weights) = delta.weights() else { return Ok(delta) };
    if weights.iter().all(|w| *w > 0) || schema.fields().is_empty() {
        return Ok(delta);
    }
    let mut rows = Rows::default();
    codec_of(schema)?.encode(delta.batch().columns(), &mut rows)?;
    let groups = Groups::of_rows(&rows);
    let mut sums = vec![0i64; groups.len()];
    groups.of_row.iter().zip(weights).for_each(|(group, weight)| sums[*group as usize] += weight);
    if groups.len() == delta.rows() && weights.iter().all(|w| *w != 0) {
        return Ok(delta);
    }
    let kept = (0..groups.len()).filter(|g| sums[*g] != 0).collect::<Vec<_>>();
    let indices: UInt32Array = kept.iter().map(|g| groups.first[*g]).collect::<Vec<_>>().into();
    let batch = arrow::compute::take_record_batch(delta.batch(), &indices)?;
    Ok(Delta::new(batch, kept.iter().map(|g| sums[*g]).collect::<Vec<_>>()))
}

/// The codec of whole rows of `schema`, as what they are.
pub(crate) fn codec_of(schema: &SchemaRef) -> Result<Codec> {
    Codec::rows(&types_of(schema))
}

pub(crate) fn types_of(schema: &SchemaRef) -> Vec<DataType> {
    schema.fields().iter().map(|f| f.data_type().clone()).collect()
}
