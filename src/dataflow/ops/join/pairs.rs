//! Matching: the rows of a change against the stored rows of the other side with the same key.
//!
//! Stored rows are decoded once per key, however many rows of the change meet them, and pairs are put together by `take`, some thousands at a time.
//! The residual condition (what is left of ON beside equal keys) is evaluated over those batches.

use super::side::{Change, Side};
use crate::dataflow::operator::Output;
use crate::dataflow::ops::evaluate::evaluate;
use crate::error::{Error, Result};
use crate::types::delta::Delta;
use crate::types::expr::ExprRef;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::SchemaRef;
use std::sync::Arc;

/// Pairs put together at once: enough to amortize a batch, few enough to stay in cache.
const PAIRS: usize = 8192;

/// How pairs are put together.
pub(super) struct Pairing {
    /// Left columns, then right columns.
    pub schema: SchemaRef,
    /// Over `schema`.
    pub residual: Option<ExprRef>,
}

/// Pairs of one batch.
pub(super) struct Matched {
    /// Left columns, then right columns; weights multiplied.
    pub rows: Delta,
    /// Of each pair, the ordinal of the change's row.
    pub own: UInt32Array,
}

#[derive(Default)]
struct Pending<'a> {
    stored: Vec<&'a [u8]>,
    stored_weights: Vec<i64>,
    /// Columns of `stored`, if none was added since.
    decoded: Option<Vec<ArrayRef>>,
    own: Vec<u32>,
    other: Vec<u32>,
    weights: Vec<i64>,
}

impl Pending<'_> {
    /// The stored rows as columns, decoded once however often a large group is flushed.
    fn decoded(&mut self, other: &Side) -> Result<Vec<ArrayRef>> {
        let known = self.decoded.take().filter(|columns| columns.first().is_some_and(|c| c.len() == self.stored.len()));
        let columns = known.map_or_else(|| other.decode(self.stored.iter().copied()), Ok)?;
        self.decoded = Some(columns.clone());
        Ok(columns)
    }

    fn forget_stored(&mut self) {
        self.stored.clear();
        self.stored_weights.clear();
        self.decoded = None;
    }
}

impl Pairing {
    /// Calls `each` with every pair of a row of `change` (which came on side `own`) and a stored row of `other` that passes the residual. Rows on which
    /// the residual fails do not match, and are errors.
    pub fn probe(
        &self,
        own: usize,
        change: &Change,
        other: &mut Side,
        out: &mut Output,
        mut each: impl FnMut(&mut Output, Matched) -> Result<()>,
    ) -> Result<()> {
        if change.groups.len() == 0 {
            return Ok(());
        }
        let slots = other.load(&change.groups.keys, &change.groups.hashes)?;
        let (order, starts) = change.groups.rows_by_group();
        let mut pending = Pending::default();
        for (group, slot) in slots.iter().enumerate() {
            let first = pending.stored.len();
            other.visit(*slot, |row, weight| {
                pending.stored.push(row);
                pending.stored_weights.push(weight);
            });
            let last = pending.stored.len();
            if first == last {
                continue;
            }
            for row in &order[starts[group] as usize..starts[group + 1] as usize] {
                let weight = change.delta.weight(*row as usize);
                for from in (first..last).step_by(PAIRS) {
                    let to = last.min(from + PAIRS);
                    pending.own.extend(std::iter::repeat_n(*row, to - from));
                    pending.other.extend(from as u32..to as u32);
                    pending.weights.extend(pending.stored_weights[from..to].iter().map(|w| w * weight));
                    if pending.own.len() >= PAIRS {
                        self.flush(own, change, other, &mut pending, out, &mut each)?;
                    }
                }
            }
            if pending.own.is_empty() {
                pending.forget_stored();
            }
        }
        self.flush(own, change, other, &mut pending, out, &mut each)
    }

    /// Puts the pending pairs together; the stored rows stay, for the group may go on.
    fn flush(
        &self,
        own: usize,
        change: &Change,
        other: &Side,
        pending: &mut Pending<'_>,
        out: &mut Output,
        each: &mut impl FnMut(&mut Output, Matched) -> Result<()>,
    ) -> Result<()> {
        if pending.own.is_empty() {
            return Ok(());
        }
        let stored = pending.decoded(other)?;
        let own_rows = UInt32Array::from(std::mem::take(&mut pending.own));
        let other_rows = UInt32Array::from(std::mem::take(&mut pending.other));
        let weights = std::mem::take(&mut pending.weights);
        let own_columns = taken(change.delta.batch().columns(), &own_rows)?;
        let other_columns = taken(&stored, &other_rows)?;
        let (left, right) = if own == 0 { (own_columns, other_columns) } else { (other_columns, own_columns) };
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(weights.len()));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), left.into_iter().chain(right).collect(), &options)?;
        let matched = self.filter(Matched { rows: Delta::new(batch, weights), own: own_rows }, out)?;
        if matched.rows.is_empty() { Ok(()) } else { each(out, matched) }
    }

    fn filter(&self, matched: Matched, out: &mut Output) -> Result<Matched> {
        let Some(residual) = &self.residual else { return Ok(matched) };
        let bad_before = out.errors.len();
        let (columns, good) = evaluate(std::slice::from_ref(residual), &matched.rows, out)?;
        let keep = columns[0].as_boolean_opt().ok_or_else(|| Error::internal("a join's residual is boolean"))?;
        if out.errors.len() == bad_before {
            let own = arrow::compute::filter(&matched.own, keep)?;
            return Ok(Matched { rows: good.filter(keep)?, own: own.as_primitive().clone() });
        }
        // Some rows failed: pair by pair, for the mask of good rows is not at hand here.
        let (mut rows, mut own) = (Vec::new(), Vec::new());
        let mut none = Output::default();
        for i in 0..matched.rows.rows() {
            let (columns, _) = evaluate(std::slice::from_ref(residual), &matched.rows.slice(i, 1), &mut none)?;
            if columns[0].as_boolean_opt().is_some_and(|c| !c.is_empty() && c.is_valid(0) && c.value(0)) {
                rows.push(i as u32);
                own.push(matched.own.value(i));
            }
        }
        Ok(Matched { rows: matched.rows.take(&rows.into())?, own: own.into() })
    }

    /// Of each row of `change` (of side `own`), the weights of the rows it matches on the other side, added up.
    pub fn match_counts(&self, own: usize, change: &Change, other: &mut Side, out: &mut Output) -> Result<Vec<i64>> {
        let mut counts = vec![0i64; change.delta.rows()];
        self.probe(own, change, other, out, |_, matched| {
            for (pair, row) in matched.own.values().iter().enumerate() {
                // The pair's weight is the product; the row's own weight is never zero.
                counts[*row as usize] += matched.rows.weight(pair) / change.delta.weight(*row as usize);
            }
            Ok(())
        })?;
        Ok(counts)
    }
}

fn taken(columns: &[ArrayRef], rows: &UInt32Array) -> Result<Vec<ArrayRef>> {
    columns.iter().map(|c| Ok(take(c, rows, None)?)).collect()
}
