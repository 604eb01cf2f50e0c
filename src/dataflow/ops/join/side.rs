//! One side of a join: its rows by key, and how many rows each key has.

use crate::dataflow::operator::{BuildContext, Output};
use crate::dataflow::ops::consolidate::{codec_of, consolidate};
use crate::dataflow::ops::counts::Counts;
use crate::dataflow::ops::groups::{Groups, NO_GROUP};
use crate::dataflow::ops::windowed::WindowBound;
use crate::error::Result;
use crate::state::kept::Kept;
use crate::state::keyed::{Layout, Slot};
use crate::state::multiset::Multiset;
use crate::types::delta::Delta;
use crate::types::ids::TableId;
use crate::types::key::{Codec, Rows};
use crate::types::time::Watermarks;
use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::SchemaRef;
use std::sync::Arc;

/// See the module. `rows` and `counts` are there if the kind of join looks at them.
pub(super) struct Side {
    pub schema: SchemaRef,
    /// Ordinals of the key, in the order of the state key.
    keys: Vec<usize>,
    key_codec: Codec,
    row_codec: Codec,
    nulls_match: bool,
    /// What was added last: kept for its buffers.
    encoded: Rows,
    pub rows: Option<Multiset>,
    pub counts: Option<Counts>,
}

/// The keys of rows as bytes.
pub(super) struct KeyRows {
    bytes: Rows,
    nulls: Vec<NullBuffer>,
    has_columns: bool,
}

impl KeyRows {
    pub fn row(&self, row: usize) -> &[u8] {
        if self.has_columns { self.bytes.row(row) } else { &[] }
    }

    /// Whether a NULL in the key keeps the row from all partners.
    pub fn is_missing(&self, row: usize) -> bool {
        self.nulls.iter().any(|n| n.is_null(row))
    }
}

/// What came in on one side in this epoch.
pub(super) struct Change {
    pub delta: Delta,
    /// By key; rows with a NULL in it belong to none.
    pub groups: Groups,
}

impl Side {
    pub fn new(
        schema: &SchemaRef,
        keys: Vec<usize>,
        nulls_match: bool,
        layout: Layout,
        (rows, counts): (Option<TableId>, Option<TableId>),
        context: &BuildContext,
    ) -> Result<Side> {
        let types = keys.iter().map(|k| schema.field(*k).data_type().clone()).collect::<Vec<_>>();
        Ok(Side {
            schema: Arc::clone(schema),
            keys,
            key_codec: Codec::new(&types)?,
            row_codec: codec_of(schema)?,
            nulls_match,
            encoded: Rows::default(),
            rows: rows.map(|table| Multiset::new(table, layout, &context.table())),
            counts: counts.map(|table| Counts::new(table, layout, context)),
        })
    }

    /// The epoch's net change, without rows that are late for their window (the first key column, if there is a bound).
    pub fn change(&self, deltas: &mut Vec<Delta>, window: Option<&WindowBound>, before: &Watermarks, out: &mut Output) -> Result<Change> {
        let mut kept = Vec::with_capacity(deltas.len());
        for delta in deltas.drain(..) {
            let delta = match window {
                Some(bound) => bound.split_late(delta, self.keys[0], before, out)?,
                None => delta,
            };
            if !delta.is_empty() {
                kept.push(delta);
            }
        }
        let delta = match kept.is_empty() {
            true => Delta::inserts(RecordBatch::new_empty(Arc::clone(&self.schema))),
            false => consolidate(&self.schema, &kept)?,
        };
        self.grouped(delta)
    }

    /// Any rows of this side by key.
    pub fn grouped(&self, delta: Delta) -> Result<Change> {
        let keys = self.keys.iter().map(|k| Arc::clone(delta.column(*k))).collect::<Vec<_>>();
        let groups = Groups::of(&self.key_codec, &keys, delta.rows(), !self.nulls_match)?;
        Ok(Change { delta, groups })
    }

    /// The key of each row, without any window.
    pub fn key_rows(&self, delta: &Delta) -> Result<KeyRows> {
        let columns = self.keys.iter().map(|k| Arc::clone(delta.column(*k))).collect::<Vec<ArrayRef>>();
        let mut bytes = Rows::default();
        self.key_codec.encode(&columns, &mut bytes)?;
        let nulls = columns.iter().filter(|_| !self.nulls_match).filter_map(|c| c.logical_nulls()).filter(|n| n.null_count() > 0).collect();
        Ok(KeyRows { bytes, nulls, has_columns: !columns.is_empty() })
    }

    /// Ends of the windows that have rows, ascending.
    pub fn windows(&mut self) -> Result<Vec<i64>> {
        self.rows.as_mut().map_or(Ok(Vec::new()), Multiset::windows)
    }

    /// Takes the change into the rows.
    pub fn add(&mut self, change: &Change) -> Result<()> {
        let Some(table) = &mut self.rows else { return Ok(()) };
        if change.delta.is_empty() {
            return Ok(());
        }
        let encoded = &mut self.encoded;
        encoded.clear();
        self.row_codec.encode(change.delta.batch().columns(), encoded)?;
        let mut slots = Vec::with_capacity(change.groups.len());
        table.resolve(&change.groups.keys, &change.groups.hashes, &mut slots);
        for (row, group) in change.groups.of_row.iter().enumerate().filter(|(_, g)| **g != NO_GROUP) {
            table.add(slots[*group as usize], encoded.row(row), change.delta.weight(row));
        }
        Ok(())
    }

    /// Takes the change into the counts. Gives each key's count before and after.
    pub fn count(&mut self, change: &Change) -> Result<Vec<(i64, i64)>> {
        let Some(counts) = &mut self.counts else { return Ok(Vec::new()) };
        let mut sums = vec![0i64; change.groups.len()];
        for (row, group) in change.groups.of_row.iter().enumerate().filter(|(_, g)| **g != NO_GROUP) {
            sums[*group as usize] += change.delta.weight(row);
        }
        let before = counts.add(&change.groups.keys, &change.groups.hashes, &sums)?;
        Ok(before.into_iter().zip(sums).map(|(before, sum)| (before, before + sum)).collect())
    }

    /// Reads the rows of these keys; gives their slots.
    pub fn load(&mut self, keys: &Rows, hashes: &[u64]) -> Result<Vec<Slot>> {
        let mut slots = Vec::with_capacity(hashes.len());
        if let Some(table) = &mut self.rows {
            table.resolve(keys, hashes, &mut slots);
            table.load(&slots)?;
        }
        Ok(slots)
    }

    /// Visits the rows of a loaded slot.
    pub fn visit<'a>(&'a self, slot: Slot, mut each: impl FnMut(&'a [u8], i64)) {
        if let Some(table) = &self.rows {
            table.rows(slot).for_each(|(row, weight)| each(row, weight));
        }
    }

    pub fn decode<'a>(&self, rows: impl Iterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>> {
        let mut rows = rows;
        self.row_codec.decode(&mut rows)
    }

    /// All rows under these keys, as a delta with their weights, and the ordinal of each row's key.
    pub fn rows_of(&mut self, keys: &Rows, hashes: &[u64]) -> Result<(Delta, Vec<u32>)> {
        let slots = self.load(keys, hashes)?;
        let (mut rows, mut weights, mut of) = (Vec::new(), Vec::new(), Vec::new());
        for (key, slot) in slots.iter().enumerate() {
            self.visit(*slot, |row, weight| {
                rows.push(row);
                weights.push(weight);
                of.push(key as u32);
            });
        }
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows.len()));
        let batch = match rows.is_empty() {
            true => RecordBatch::new_empty(Arc::clone(&self.schema)),
            false => RecordBatch::try_new_with_options(Arc::clone(&self.schema), self.decode(rows.into_iter())?, &options)?,
        };
        Ok((Delta::new(batch, weights), of))
    }

    pub fn close(&mut self, upto: i64) -> Result<()> {
        if let Some(rows) = &mut self.rows {
            rows.close(upto);
        }
        self.counts.as_mut().map_or(Ok(()), |c| c.close(upto))
    }

    pub fn trim(&mut self) {
        if let Some(rows) = &mut self.rows {
            rows.trim();
        }
        if let Some(counts) = &mut self.counts {
            counts.trim();
        }
    }

    pub fn state(&mut self, each: &mut dyn FnMut(&mut dyn Kept)) {
        if let Some(rows) = &mut self.rows {
            each(rows);
        }
        if let Some(counts) = &mut self.counts {
            counts.state(each);
        }
    }
}

impl Change {
    /// The rows at these ordinals.
    pub fn take(&self, rows: Vec<u32>) -> Result<Delta> {
        self.delta.take(&UInt32Array::from(rows))
    }
}
