//! What an ASOF join forgets. With l and r the watermarks of the left and the right side's time:
//!
//! ```text
//!   the nearest AT OR BEFORE, BEFORE                                    the nearest AT OR AFTER, AFTER
//!   left row     its time <= r: no nearer one can come                  there is a right row for it with a time <= r: likewise
//!   right row    there is a newer one of its key with a time <= l, r    its time <= l, r
//!   stays        of each key the newest right row behind both           left rows that wait for a right row
//! ```
//!
//! A right row behind both watermarks is met only by left rows that are forgotten, so nobody asks for it when a match is taken back. To find what can go, a table
//! holds each key under the times of its rows, in buckets: when a bucket is behind the watermarks its keys are looked at, and their rows pruned.

use super::change::Change;
use super::{Expiry, Running};
use crate::dataflow::operator::BuildContext;
use crate::dataflow::ops::counts::Counts;
use crate::dataflow::ops::groups::{Groups, NO_GROUP};
use crate::dataflow::ops::ordered::order_part;
use crate::dataflow::ops::windowed::timestamps;
use crate::error::Result;
use crate::state::keyed::{Layout, Slot};
use crate::state::store::after_prefix;
use crate::types::ids::TableId;
use crate::types::key::{Rows, hash, window_key};
use crate::types::time::Step;
use arrow::array::{ArrayRef, TimestampMicrosecondArray};
use std::sync::Arc;

/// The length of a bucket, µs: state is kept that much longer, and a key is noted that much less often.
const BUCKET: i64 = 10_000_000;
/// Length of the window part of a key.
const WINDOW: usize = 9;

/// Keys by the times of their rows.
pub(super) struct Moments {
    pub keys: Counts,
    /// Buckets up to this end are closed.
    closed: Option<i64>,
}

impl Moments {
    pub fn new(table: TableId, context: &BuildContext) -> Moments {
        Moments { keys: Counts::placed(table, Layout::Windowed, context, place), closed: None }
    }
}

/// The worker that owns the key's rows owns the key here.
fn place(moment: &[u8]) -> u64 {
    const OWNER: u64 = 0xFF << 56;
    (hash(&moment[WINDOW.min(moment.len())..]) & OWNER) | (hash(moment) & !OWNER)
}

/// A bucket holds its start and not its end.
fn bucket_end(time: i64) -> i64 {
    time.div_euclid(BUCKET).saturating_add(1).saturating_mul(BUCKET)
}

impl Running {
    /// Notes under which times the keys of a change have rows.
    pub(super) fn remember(&mut self, side: usize, change: &Change) -> Result<()> {
        let Some(moments) = &mut self.moments else { return Ok(()) };
        let times = timestamps(change.delta.column(self.spec.times[side]))?;
        let floor = moments.closed.map_or(i64::MIN, |closed| closed.saturating_add(1));
        let (mut noted, mut moment) = (Groups::default(), Vec::new());
        for (row, group) in change.groups.of_row.iter().enumerate().filter(|(_, g)| **g != NO_GROUP) {
            moment.clear();
            moment.extend_from_slice(&window_key(bucket_end(times.value(row).max(floor))));
            moment.extend_from_slice(change.groups.keys.row(*group as usize));
            noted.add(row as u32, &moment);
        }
        let hashes = noted.keys.iter().map(place).collect::<Vec<_>>();
        moments.keys.add(&noted.keys, &hashes, &vec![1; hashes.len()])?;
        Ok(())
    }

    /// Forgets what the watermarks have passed.
    pub(super) fn expire(&mut self, step: &Step) -> Result<()> {
        let (Some(expiry), Some(moments)) = (&self.spec.expiry, &mut self.moments) else { return Ok(()) };
        let Some(right) = expiry.right.closed_upto(&step.after) else { return Ok(()) };
        let both = match &expiry.left {
            None => right,
            Some(left) => match left.closed_upto(&step.after) {
                Some(left) => left.min(right),
                None => return Ok(()),
            },
        };
        if moments.closed.is_some_and(|closed| closed >= both) {
            return Ok(());
        }
        moments.closed = Some(both);
        let mut groups = Groups::default();
        moments.keys.close_each(both, &mut |moment| groups.add(0, &moment[WINDOW.min(moment.len())..]))?;
        if groups.len() == 0 {
            return Ok(());
        }
        let limits = [self.limit(right)?, self.limit(both)?];
        let slots = [self.slots(0, &groups)?, self.slots(1, &groups)?];
        for (left, right) in slots[0].iter().zip(&slots[1]) {
            if self.spec.nearest.is_later() {
                self.prune_later(*left, *right, &limits)?;
            } else {
                self.prune_earlier(*left, *right, &limits)?;
            }
        }
        Ok(())
    }

    /// A time as stored rows of it begin.
    fn limit(&self, time: i64) -> Result<Vec<u8>> {
        let data_type = self.spec.inputs[1].field(self.spec.times[1]).data_type().clone();
        let column: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![time]).with_data_type(data_type));
        Ok(self.codecs[1].encode_order(&[column])?.row(0).to_vec())
    }

    fn prune_earlier(&mut self, left: Slot, right: Slot, [of_right, of_both]: &[Vec<u8>; 2]) -> Result<()> {
        self.prune(0, left, &[], Some(&after_prefix(of_right)))?;
        if self.forgets_right() {
            let mut newest = None;
            self.rows[1].backward(right, &after_prefix(of_both), &mut |row, weight| {
                newest = (weight > 0).then(|| row.to_vec());
                newest.is_none()
            })?;
            if let Some(newest) = newest {
                self.prune(1, right, &[], Some(&newest))?;
            }
        }
        Ok(())
    }

    /// Times are in descending order here.
    fn prune_later(&mut self, left: Slot, right: Slot, [of_right, of_both]: &[Vec<u8>; 2]) -> Result<()> {
        let mut newest = None;
        self.rows[1].forward(right, of_right, &mut |row, weight| {
            newest = (weight > 0).then(|| order_part(row).to_vec());
            newest.is_none()
        })?;
        if let Some(newest) = newest {
            let from = if self.spec.nearest.is_inclusive() { newest } else { after_prefix(&newest) };
            self.prune(0, left, &from, None)?;
        }
        if self.forgets_right() {
            self.prune(1, right, of_both, None)?;
        }
        Ok(())
    }

    fn forgets_right(&self) -> bool {
        matches!(&self.spec.expiry, Some(Expiry { left: Some(_), .. }))
    }

    /// Takes the rows from `from` to before `to` out of a group.
    fn prune(&mut self, side: usize, slot: Slot, from: &[u8], to: Option<&[u8]>) -> Result<()> {
        let (mut gone, mut weights) = (Rows::default(), Vec::new());
        self.rows[side].forward(slot, from, &mut |row, weight| {
            let goes = to.is_none_or(|to| row < to);
            if goes {
                gone.push(row);
                weights.push(weight);
            }
            goes
        })?;
        gone.iter().zip(weights).for_each(|(row, weight)| self.rows[side].add(slot, row, -weight));
        Ok(())
    }
}
