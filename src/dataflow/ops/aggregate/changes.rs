//! From what groups were to what they are: -old +new where the row differs, and errors where a result cannot be given.

use crate::dataflow::agg::accumulator::Results;
use crate::dataflow::operator::{EvalErrors, Output};
use crate::error::Result;
use crate::types::delta::Delta;
use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array, make_comparator};
use arrow::compute::kernels::cmp::distinct;
use arrow::compute::{SortOptions, concat, take};
use arrow::datatypes::SchemaRef;
use std::cmp::Ordering;
use std::sync::Arc;

/// The output rows of some groups at one moment.
pub(super) struct GroupRows {
    /// Whether the group has a row at all.
    pub present: Vec<bool>,
    /// One column per call; empty if no group has a row.
    pub results: Vec<Results>,
}

impl GroupRows {
    pub fn none(groups: usize) -> Self {
        GroupRows { present: vec![false; groups], results: Vec::new() }
    }

    /// The first error of each group that has one.
    fn errors(&self) -> Vec<Option<(&'static str, String)>> {
        let mut errors = vec![None; self.present.len()];
        for (group, error) in self.results.iter().flat_map(|r| &r.bad) {
            let place = &mut errors[*group as usize];
            if self.present[*group as usize] && place.is_none() {
                *place = Some((error.sqlstate(), error.message().to_string()));
            }
        }
        errors
    }
}

/// Pushes what leads from `old` to `new`; `keys` are the group columns.
pub(super) fn changes(schema: &SchemaRef, keys: Vec<ArrayRef>, old: GroupRows, new: GroupRows, out: &mut Output) -> Result<()> {
    let groups = old.present.len();
    let (old_errors, new_errors) = (old.errors(), new.errors());
    let changed = changed(&old, &new)?;
    let (mut rows, mut weights) = (Vec::new(), Vec::new());
    let (mut error_rows, mut error_weights, mut errors) = (Vec::new(), Vec::new(), Vec::new());
    for g in 0..groups {
        if old_errors[g] != new_errors[g] {
            for (error, row, weight) in [(&old_errors[g], g, -1), (&new_errors[g], groups + g, 1)] {
                if let Some(error) = error {
                    error_rows.push(row as u32);
                    error_weights.push(weight);
                    errors.push(error.clone());
                }
            }
        }
        let (was, is) = (old.present[g] && old_errors[g].is_none(), new.present[g] && new_errors[g].is_none());
        if was && is && !changed[g] {
            continue;
        }
        if was {
            rows.push(g as u32);
            weights.push(-1);
        }
        if is {
            rows.push((groups + g) as u32);
            weights.push(1);
        }
    }
    let parts = Parts { schema, keys, old: old.results, new: new.results, groups };
    if !rows.is_empty() {
        out.push(parts.take(rows, weights)?);
    }
    if !error_rows.is_empty() {
        out.errors.push(EvalErrors { rows: parts.take(error_rows, error_weights)?, errors });
    }
    Ok(())
}

/// Pushes the rows of closed groups.
pub(super) fn closed_rows(schema: &SchemaRef, keys: Vec<ArrayRef>, rows: GroupRows, out: &mut Output) -> Result<()> {
    let none = GroupRows::none(rows.present.len());
    changes(schema, keys, none, rows, out)
}

/// Old and new rows of the groups, as columns to take from: ordinal g is the old row of group g, ordinal groups + g the new one.
struct Parts<'a> {
    schema: &'a SchemaRef,
    keys: Vec<ArrayRef>,
    old: Vec<Results>,
    new: Vec<Results>,
    groups: usize,
}

impl Parts<'_> {
    fn take(&self, rows: Vec<u32>, weights: Vec<i64>) -> Result<Delta> {
        let key_rows: UInt32Array = rows.iter().map(|r| r % self.groups as u32).collect::<Vec<_>>().into();
        let mut columns = self.keys.iter().map(|k| Ok(take(k, &key_rows, None)?)).collect::<Result<Vec<_>>>()?;
        let rows = UInt32Array::from(rows);
        for i in 0..self.old.len().max(self.new.len()) {
            columns.push(match (self.old.get(i), self.new.get(i)) {
                (Some(old), Some(new)) => take(&concat(&[&old.values, &new.values])?, &rows, None)?,
                (Some(only), None) | (None, Some(only)) => take(&only.values, &key_rows, None)?,
                (None, None) => unreachable!("i is below the longer length"),
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        Ok(Delta::new(RecordBatch::try_new_with_options(Arc::clone(self.schema), columns, &options)?, weights))
    }
}

/// Which groups' results differ.
fn changed(old: &GroupRows, new: &GroupRows) -> Result<Vec<bool>> {
    let mut changed = vec![false; old.present.len()];
    for (old, new) in old.results.iter().zip(&new.results) {
        if old.values.data_type().is_nested() {
            let compare = make_comparator(&old.values, &new.values, SortOptions::default())?;
            changed.iter_mut().enumerate().for_each(|(g, c)| *c |= compare(g, g) != Ordering::Equal);
        } else {
            let differs: BooleanArray = distinct(&old.values, &new.values)?;
            changed.iter_mut().enumerate().for_each(|(g, c)| *c |= differs.value(g));
        }
    }
    Ok(changed)
}
