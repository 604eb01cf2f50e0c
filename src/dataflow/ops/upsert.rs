//! Upsert: a keyed feed, where a record replaces the one before it with the same key and a deletion removes it, becomes proper deltas (-old +new).
//!
//! Records of one key must come in their order. State: the row under each key (`Keyed`). Nothing is forgotten but what is deleted: the number of keys
//! bounds it. A record equal to the row that is there changes nothing.

use super::consolidate::codec_of;
use super::groups::Groups;
use crate::dataflow::agg::accumulator::grow;
use crate::dataflow::operator::{Bound, BuildContext, Distribution, Operator, Output, Spec, StateTable};
use crate::error::{Error, Result};
use crate::state::kept::{Kept, KeyedWith};
use crate::state::keyed::{Keyed, Layout, Slot, SlotValues};
use crate::types::delta::Delta;
use crate::types::ids::TableId;
use crate::types::key::{Codec, Rows};
use crate::types::time::Step;
use arrow::array::{Array, AsArray, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::SchemaRef;
use std::sync::Arc;

/// See the module.
#[derive(Clone, Debug)]
pub struct Upsert {
    pub input: SchemaRef,
    /// Ordinals of the key in the input.
    pub key: Vec<usize>,
    /// A boolean column of the input: true deletes the key. A retracted record deletes as well.
    pub deletion: Option<usize>,
    /// The input without the deletion column.
    pub schema: SchemaRef,
    pub state: TableId,
}

impl Upsert {
    fn kept(&self) -> Vec<usize> {
        (0..self.input.fields().len()).filter(|i| Some(*i) != self.deletion).collect()
    }
}

impl Spec for Upsert {
    fn name(&self) -> &'static str {
        "Upsert"
    }

    fn details(&self) -> String {
        format!("key ({})", self.key.iter().map(|c| self.input.field(*c).name().as_str()).collect::<Vec<_>>().join(", "))
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn distribution(&self) -> Vec<Distribution> {
        vec![Distribution::Hash(self.key.clone())]
    }

    fn append_only(&self, _inputs: &[bool]) -> bool {
        false
    }

    fn state_tables(&self) -> Vec<StateTable> {
        vec![StateTable { id: self.state, what: "row of each key".to_string(), bounded_by: Bound::Keys("keys") }]
    }

    fn build(&self, context: &BuildContext) -> Result<Box<dyn Operator>> {
        let types = self.key.iter().map(|c| self.input.field(*c).data_type().clone()).collect::<Vec<_>>();
        Ok(Box::new(Running {
            key_codec: Codec::new(&types)?,
            row_codec: codec_of(&self.schema)?,
            kept: self.kept(),
            keyed: Keyed::new(self.state, Layout::Hash, &context.table()),
            rows: StoredRows::default(),
            spec: self.clone(),
        }))
    }
}

/// The encoded row of each slot.
#[derive(Default)]
struct StoredRows {
    rows: Vec<Option<Box<[u8]>>>,
    bytes: usize,
}

impl StoredRows {
    fn set(&mut self, slot: Slot, row: Option<Box<[u8]>>) {
        let place = grow(&mut self.rows, slot);
        self.bytes += row.as_ref().map_or(0, |r| r.len());
        self.bytes -= place.as_ref().map_or(0, |r| r.len());
        *place = row;
    }

    fn get(&self, slot: Slot) -> Option<&[u8]> {
        self.rows[slot as usize].as_deref()
    }
}

impl SlotValues for StoredRows {
    fn load(&mut self, slot: Slot, stored: Option<&[u8]>) -> Result<()> {
        self.set(slot, stored.map(Into::into));
        Ok(())
    }

    fn store(&self, slot: Slot, out: &mut Vec<u8>) -> bool {
        let row = self.get(slot);
        out.extend_from_slice(row.unwrap_or_default());
        row.is_some()
    }

    fn clear(&mut self, slot: Slot) {
        self.set(slot, None);
    }

    fn width(&self) -> usize {
        size_of::<Option<Box<[u8]>>>()
    }

    fn bytes(&self, slot: Slot) -> usize {
        self.get(slot).map_or(0, <[u8]>::len)
    }

    fn heap(&self) -> usize {
        self.bytes
    }
}

struct Running {
    spec: Upsert,
    kept: Vec<usize>,
    key_codec: Codec,
    row_codec: Codec,
    keyed: Keyed,
    rows: StoredRows,
}

impl Running {
    fn upsert(&mut self, delta: &Delta) -> Result<Delta> {
        let keys = self.spec.key.iter().map(|c| Arc::clone(delta.column(*c))).collect::<Vec<_>>();
        let groups = Groups::of(&self.key_codec, &keys, delta.rows(), false)?;
        let mut last = vec![0u32; groups.len()];
        groups.of_row.iter().enumerate().for_each(|(row, group)| last[*group as usize] = row as u32);
        let deleted = self.deleted(delta, &last)?;
        let newest = take_record_batch(&delta.batch().project(&self.kept)?, &UInt32Array::from(last))?;
        let mut encoded = Rows::default();
        self.row_codec.encode(newest.columns(), &mut encoded)?;
        let mut slots = Vec::with_capacity(groups.len());
        self.keyed.resolve(&groups.keys, &groups.hashes, &mut self.rows, &mut slots)?;

        let (mut old, mut new) = (Rows::default(), Vec::new());
        for (group, slot) in slots.iter().enumerate() {
            let row = (!deleted[group]).then(|| encoded.row(group));
            let before = self.rows.get(*slot);
            if before == row {
                continue;
            }
            before.into_iter().for_each(|b| old.push(b));
            new.extend(row.map(|_| group as u32));
            self.rows.set(*slot, row.map(Into::into));
            self.keyed.touch(*slot);
        }
        let mut batches = vec![RecordBatch::try_new(Arc::clone(&self.spec.schema), take_record_batch(&newest, &UInt32Array::from(new))?.columns().to_vec())?];
        let retracted = old.len();
        if retracted > 0 {
            batches.insert(0, RecordBatch::try_new(Arc::clone(&self.spec.schema), self.row_codec.decode(&mut old.iter())?)?);
        }
        let batch = concat_batches(&self.spec.schema, &batches)?;
        let weights = (0..batch.num_rows()).map(|i| if i < retracted { -1 } else { 1 }).collect::<Vec<_>>();
        Ok(Delta::new(batch, weights))
    }

    /// Whether the last record of each key deletes it.
    fn deleted(&self, delta: &Delta, last: &[u32]) -> Result<Vec<bool>> {
        let flag = match self.spec.deletion {
            None => None,
            Some(column) => Some(delta.column(column).as_boolean_opt().ok_or_else(|| Error::internal("the deletion column is boolean"))?),
        };
        let deletes = |row: usize| delta.weight(row) < 0 || flag.is_some_and(|f| f.is_valid(row) && f.value(row));
        Ok(last.iter().map(|row| deletes(*row as usize)).collect())
    }
}

impl Operator for Running {
    fn apply(&mut self, _step: &Step, inputs: &mut [Vec<Delta>], out: &mut Output) -> Result<()> {
        if !inputs[0].is_empty() {
            let delta = Delta::concat(&self.spec.input, &std::mem::take(&mut inputs[0]))?;
            out.push(self.upsert(&delta)?);
        }
        self.keyed.trim(&mut self.rows);
        Ok(())
    }

    fn state(&mut self, each: &mut dyn FnMut(&mut dyn Kept)) {
        each(&mut KeyedWith(&mut self.keyed, &mut self.rows));
    }
}
