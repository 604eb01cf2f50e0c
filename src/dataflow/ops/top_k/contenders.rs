//! What of an epoch's input a TopK looks at. On append-only input most rows are out at once: they stand behind the last row of a full partition, or behind
//! enough other new rows of their own. The ORDER BY columns tell, so the other columns of such rows are never touched.

use super::{Running, encode_order};
use crate::dataflow::ops::groups::Groups;
use crate::error::Result;
use crate::state::keyed::Slot;
use crate::types::delta::Delta;
use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::{concat, interleave_record_batch};

/// Rows, the partition of each, and the partitions' slots.
pub(super) struct Taken {
    pub rows: Delta,
    pub of_row: Vec<u32>,
    pub slots: Vec<Slot>,
}

impl Running {
    /// The rows that may be within the limit; ties at the limit are all among them.
    pub(super) fn contenders(&mut self, deltas: &[Delta]) -> Result<Taken> {
        let count = deltas.iter().map(Delta::rows).sum::<usize>();
        let keys = columns(deltas, &self.keys)?;
        let groups = Groups::of(&self.key_codec, &keys, count, false)?;
        let mut slots = Vec::with_capacity(groups.len());
        self.rows.resolve(&groups.keys, &groups.hashes, &mut slots);
        self.orders.clear();
        let order = columns(deltas, &self.stored[..self.ordered])?;
        encode_order(&self.order_codec, &order, count, &mut self.orders)?;
        let (orders, of_row) = (&self.orders, &groups.of_row);
        let mut rows: Vec<u32> =
            (0..count as u32).filter(|row| !self.boundaries.is_behind(slots[of_row[*row as usize] as usize], orders.row(*row as usize))).collect();
        rows.sort_unstable_by(|a, b| {
            let (a, b) = (*a as usize, *b as usize);
            of_row[a].cmp(&of_row[b]).then_with(|| orders.row(a).cmp(orders.row(b)))
        });
        let places = Places::of(deltas);
        let weight = |row: u32| {
            let (delta, row) = places.place(row);
            deltas[delta].weight(row)
        };
        let mut kept = Vec::with_capacity(rows.len());
        for partition in rows.chunk_by(|a, b| of_row[*a as usize] == of_row[*b as usize]) {
            let within = self.window.within(partition.iter().map(|row| (orders.row(*row as usize), weight(*row))));
            kept.extend_from_slice(&partition[..within]);
        }
        let batches: Vec<&RecordBatch> = deltas.iter().map(Delta::batch).collect();
        let at: Vec<(usize, usize)> = kept.iter().map(|row| places.place(*row)).collect();
        let weights: Vec<i64> = kept.iter().map(|row| weight(*row)).collect();
        let rows = Delta::new(interleave_record_batch(&batches, &at)?, weights);
        Ok(Taken { rows, of_row: kept.iter().map(|row| of_row[*row as usize]).collect(), slots })
    }
}

/// Columns of all deltas, one behind the other.
fn columns(deltas: &[Delta], ordinals: &[usize]) -> Result<Vec<ArrayRef>> {
    ordinals.iter().map(|column| Ok(concat(&deltas.iter().map(|d| d.column(*column).as_ref()).collect::<Vec<_>>())?)).collect()
}

/// Finds the n-th row of several deltas.
struct Places {
    /// Ordinal of each delta's first row.
    starts: Vec<u32>,
}

impl Places {
    fn of(deltas: &[Delta]) -> Places {
        let starts = deltas.iter().scan(0, |next, delta| Some(std::mem::replace(next, *next + delta.rows() as u32)));
        Places { starts: starts.collect() }
    }

    /// The delta, and the row in it. No delta is empty.
    fn place(&self, row: u32) -> (usize, usize) {
        let delta = self.starts.partition_point(|start| *start <= row) - 1;
        (delta, (row - self.starts[delta]) as usize)
    }
}
