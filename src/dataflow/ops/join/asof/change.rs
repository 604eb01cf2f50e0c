//! What happens when rows come: right rows correct the left rows next to them, left rows find their match and are kept.

use super::Running;
use crate::dataflow::operator::Output;
use crate::dataflow::ops::consolidate::consolidate;
use crate::dataflow::ops::groups::{Groups, NO_GROUP};
use crate::dataflow::ops::ordered::order_part;
use crate::dataflow::ops::windowed::timestamps;
use crate::error::Result;
use crate::state::keyed::Slot;
use crate::state::store::after_prefix;
use crate::types::delta::Delta;
use crate::types::key::Rows;
use crate::types::time::Step;
use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array, new_null_array};
use arrow::compute::take;
use std::sync::Arc;

/// Pairs put together at once.
const PAIRS: usize = 8192;

/// The epoch's net change of one side.
pub(super) struct Change {
    pub delta: Delta,
    /// By key; rows with a NULL key or time belong to none.
    pub groups: Groups,
    /// As they are stored: time first.
    pub encoded: Rows,
}

/// A right row that appears or disappears under a key that has left rows.
struct Flip {
    group: usize,
    /// In the change.
    row: usize,
    appears: bool,
    /// The match, before the change, of the left rows behind it: in `found`.
    old: Option<u32>,
    /// The right row behind it before the change: in the list of neighbours.
    next: Option<usize>,
}

/// Left rows with what they meet.
#[derive(Default)]
struct Pairs {
    left: Vec<u32>,
    right: Vec<Option<u32>>,
    weights: Vec<i64>,
}

impl Pairs {
    fn push(&mut self, left: u32, right: Option<u32>, weight: i64) {
        self.left.push(left);
        self.right.push(right);
        self.weights.push(weight);
    }
}

impl Running {
    /// The rows of a side that are not late, summed up; `None`: there are none.
    pub(super) fn change(&self, side: usize, deltas: &mut Vec<Delta>, step: &Step, out: &mut Output) -> Result<Option<Change>> {
        let (schema, time) = (&self.spec.inputs[side], self.spec.times[side]);
        let bound = self.spec.expiry.as_ref().and_then(|e| if side == 0 { e.left.as_ref() } else { Some(&e.right) });
        let mut kept = Vec::with_capacity(deltas.len());
        for delta in deltas.drain(..) {
            let delta = match bound {
                Some(bound) => bound.split_late(delta, time, &step.before, out)?,
                None => delta,
            };
            if !delta.is_empty() {
                kept.push(delta);
            }
        }
        if kept.is_empty() {
            return Ok(None);
        }
        let delta = consolidate(schema, &kept)?;
        let keys = self.spec.keys[side].iter().map(|k| Arc::clone(delta.column(*k))).collect::<Vec<ArrayRef>>();
        let mut groups = Groups::of(&self.keys, &keys, delta.rows(), true)?;
        if let Some(nulls) = delta.column(time).logical_nulls() {
            groups.of_row.iter_mut().enumerate().filter(|(row, _)| nulls.is_null(*row)).for_each(|(_, group)| *group = NO_GROUP);
        }
        let encoded = self.codecs[side].encode(&delta)?;
        Ok(Some(Change { delta, groups, encoded }))
    }

    /// Slots of these keys on a side. What is forgotten in time is small, and read in one batch; of the rest only what is looked at is read.
    pub(super) fn slots(&mut self, side: usize, groups: &Groups) -> Result<Vec<Slot>> {
        let mut slots = Vec::with_capacity(groups.len());
        self.rows[side].resolve(&groups.keys, &groups.hashes, &mut slots);
        if self.spec.expiry.is_some() {
            self.rows[side].load(&slots)?;
        }
        Ok(slots)
    }

    fn add(&mut self, side: usize, change: &Change, slots: &[Slot]) {
        for (row, group) in change.groups.of_row.iter().enumerate().filter(|(_, g)| **g != NO_GROUP) {
            self.rows[side].add(slots[*group as usize], change.encoded.row(row), change.delta.weight(row));
        }
    }

    /// Takes the right side's change in, and gives left rows that were there their new matches.
    pub(super) fn correct(&mut self, change: &Change, out: &mut Output) -> Result<()> {
        self.found.clear();
        let slots = [self.slots(0, &change.groups)?, self.slots(1, &change.groups)?];
        let mut neighbours = Rows::default();
        let flips = self.flips(change, &slots, &mut neighbours)?;
        self.add(1, change, &slots[1]);
        let (mut lefts, mut pairs) = (Rows::default(), Pairs::default());
        for flip in &flips {
            let (row, left, right) = (change.encoded.row(flip.row), slots[0][flip.group], slots[1][flip.group]);
            let (_, next) = self.weight_and_next(right, row, &mut neighbours)?;
            let new = if flip.appears { Some(keep(&mut self.found, row)) } else { self.nearest(right, row)? };
            let end = [flip.next, next].into_iter().flatten().map(|n| neighbours.row(n)).min().map(|n| self.meets_from(n));
            let (start, padded) = (self.meets_from(row), self.spec.padded);
            self.rows[0].forward(left, &start, &mut |row, weight| {
                if end.as_ref().is_some_and(|end| row >= &end[..]) {
                    return false;
                }
                let at = lefts.len() as u32;
                lefts.push(row);
                for (found, weight) in [(flip.old, -weight), (new, weight)] {
                    if padded || found.is_some() {
                        pairs.push(at, found, weight);
                    }
                }
                true
            })?;
            if pairs.left.len() >= PAIRS {
                self.give(&self.codecs[0].decode(&lefts)?, std::mem::take(&mut pairs), out)?;
                lefts.clear();
            }
        }
        if !lefts.is_empty() {
            self.give(&self.codecs[0].decode(&lefts)?, pairs, out)?;
        }
        Ok(())
    }

    /// The right rows whose presence changes, seen before the change.
    fn flips(&mut self, change: &Change, slots: &[Vec<Slot>; 2], neighbours: &mut Rows) -> Result<Vec<Flip>> {
        let (mut order, starts) = change.groups.rows_by_group();
        let mut flips = Vec::new();
        for group in 0..change.groups.len() {
            let rows = &mut order[starts[group] as usize..starts[group + 1] as usize];
            let mut is_met = false;
            self.rows[0].first(slots[0][group], &mut |_, _| {
                is_met = true;
                false
            })?;
            if !is_met {
                continue;
            }
            rows.sort_unstable_by(|a, b| change.encoded.row(*a as usize).cmp(change.encoded.row(*b as usize)));
            for equal in rows.chunk_by(|a, b| change.encoded.row(*a as usize) == change.encoded.row(*b as usize)) {
                let at = equal[0] as usize;
                let (row, slot) = (change.encoded.row(at), slots[1][group]);
                let weight = equal.iter().map(|r| change.delta.weight(*r as usize)).sum::<i64>();
                let known = neighbours.len();
                let (before, next) = self.weight_and_next(slot, row, neighbours)?;
                if (before > 0) == (before + weight > 0) {
                    debug_assert!(neighbours.len() - known <= 1, "a walk notes one neighbour");
                    continue;
                }
                let old = if before > 0 { Some(keep(&mut self.found, row)) } else { self.nearest(slot, row)? };
                flips.push(Flip { group, row: at, appears: before <= 0, old, next });
            }
        }
        Ok(flips)
    }

    /// The weight of a right row, and the row behind it: where that is in `neighbours`.
    fn weight_and_next(&mut self, slot: Slot, row: &[u8], neighbours: &mut Rows) -> Result<(i64, Option<usize>)> {
        let (mut own, mut next) = (0, None);
        self.rows[1].forward(slot, row, &mut |found, weight| {
            if found == row {
                own = weight;
            } else if weight > 0 {
                next = Some(neighbours.len());
                neighbours.push(found);
            }
            next.is_none()
        })?;
        Ok((own, next))
    }

    /// The last right row before `bound`: where it is in `found`.
    fn nearest(&mut self, slot: Slot, bound: &[u8]) -> Result<Option<u32>> {
        let (mut nearest, found) = (None, &mut self.found);
        self.rows[1].backward(slot, bound, &mut |row, weight| {
            if weight > 0 {
                nearest = Some(keep(found, row));
            }
            nearest.is_none()
        })?;
        Ok(nearest)
    }

    /// Stored left rows from here on may meet this right row; and no right row from here on is met by a left row of this time.
    fn meets_from(&self, row: &[u8]) -> Vec<u8> {
        let time = order_part(row);
        if self.spec.nearest.is_inclusive() { time.to_vec() } else { after_prefix(time) }
    }

    /// Gives the left side's change with its matches, and keeps it.
    pub(super) fn arrive(&mut self, mut change: Change, step: &Step, out: &mut Output) -> Result<()> {
        self.found.clear();
        let slots = self.slots(1, &change.groups)?;
        let (mut order, starts) = change.groups.rows_by_group();
        let mut pairs = Pairs::default();
        for group in 0..change.groups.len() {
            let rows = &mut order[starts[group] as usize..starts[group + 1] as usize];
            rows.sort_unstable_by(|a, b| change.encoded.row(*a as usize).cmp(change.encoded.row(*b as usize)));
            // Rows of one time meet the same.
            for peers in rows.chunk_by(|a, b| order_part(change.encoded.row(*a as usize)) == order_part(change.encoded.row(*b as usize))) {
                let time = order_part(change.encoded.row(peers[0] as usize));
                let found = match self.spec.nearest.is_inclusive() {
                    true => self.nearest(slots[group], &after_prefix(time))?,
                    false => self.nearest(slots[group], time)?,
                };
                if found.is_some() || self.spec.padded {
                    peers.iter().for_each(|row| pairs.push(*row, found, change.delta.weight(*row as usize)));
                }
            }
        }
        if self.spec.padded {
            let alone = change.groups.of_row.iter().enumerate().filter(|(_, g)| **g == NO_GROUP);
            alone.for_each(|(row, _)| pairs.push(row as u32, None, change.delta.weight(row)));
        }
        self.give(change.delta.batch().columns(), pairs, out)?;
        self.drop_settled(&mut change, step)?;
        let slots = self.slots(0, &change.groups)?;
        self.add(0, &change, &slots);
        self.remember(0, &change)
    }

    /// A left row that is behind the right side's watermark has met what it can meet, and is not kept.
    fn drop_settled(&self, change: &mut Change, step: &Step) -> Result<()> {
        let expiry = self.spec.expiry.as_ref().filter(|_| !self.spec.nearest.is_later());
        let Some(upto) = expiry.and_then(|e| e.right.closed_upto(&step.before)) else { return Ok(()) };
        let times = timestamps(change.delta.column(self.spec.times[0]))?;
        for (row, group) in change.groups.of_row.iter_mut().enumerate() {
            if times.is_valid(row) && times.value(row) <= upto {
                *group = NO_GROUP;
            }
        }
        Ok(())
    }

    /// Pairs of these left rows with rows of `found`.
    fn give(&self, left: &[ArrayRef], pairs: Pairs, out: &mut Output) -> Result<()> {
        if pairs.left.is_empty() {
            return Ok(());
        }
        let (width, rows) = (left.len(), pairs.left.len());
        let (lefts, rights) = (UInt32Array::from(pairs.left), UInt32Array::from(pairs.right));
        let right = if rights.null_count() == rows { Vec::new() } else { self.codecs[1].decode(&self.found)? };
        let column = |(c, field): (&usize, &arrow::datatypes::FieldRef)| match c.checked_sub(width) {
            None => Ok(take(&left[*c], &lefts, None)?),
            Some(c) => match right.get(c) {
                Some(column) => Ok(take(column, &rights, None)?),
                None => Ok(new_null_array(field.data_type(), rows)),
            },
        };
        let columns = self.spec.output.iter().zip(self.spec.schema.fields()).map(column).collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        out.push(Delta::new(RecordBatch::try_new_with_options(Arc::clone(&self.spec.schema), columns, &options)?, pairs.weights));
        Ok(())
    }
}

/// Where `row` is in `rows`, put there unless it is the last one.
fn keep(rows: &mut Rows, row: &[u8]) -> u32 {
    if rows.len().checked_sub(1).is_none_or(|last| rows.row(last) != row) {
        rows.push(row);
    }
    (rows.len() - 1) as u32
}
