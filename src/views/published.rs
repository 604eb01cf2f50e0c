//! One published epoch: every relation's rows as the snapshot of the last checkpoint plus the runs since. Immutable: a statement that holds it
//! reads one consistent state however long it takes.

use super::provider::RowsTable;
use crate::error::{Error, Result};
use crate::state::run::{Run, RunKind, RunStack, ViewReader, view_file_bytes};
use crate::state::store::Snapshot;
use crate::types::delta::Delta;
use crate::types::ids::{ObjectId, TableId};
use crate::types::key::{Codec, Rows};
use crate::types::time::Epoch;
use arrow::array::{RecordBatch, UInt32Array};
use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use std::collections::HashMap;
use std::sync::Arc;

pub struct Published {
    pub epoch: Epoch,
    pub snapshot: Arc<dyn Snapshot>,
    pub relations: HashMap<ObjectId, RelationRows>,
}

/// The rows of one table or materialized view; cheap to clone.
#[derive(Clone, Debug)]
pub struct RelationRows {
    table: TableId,
    kind: RunKind,
    /// Key columns, for `RunKind::Unique`.
    key: Vec<usize>,
    schema: SchemaRef,
    runs: RunStack,
    /// May be read; false while the view is being built.
    pub ready: bool,
}

impl RelationRows {
    /// `key`: the key columns, for `RunKind::Unique`; empty otherwise.
    pub fn new(table: TableId, kind: RunKind, key: Vec<usize>, schema: SchemaRef) -> RelationRows {
        RelationRows { table, kind, key, schema, runs: RunStack::default(), ready: false }
    }

    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub fn push(&mut self, step: Epoch, run: Run) {
        self.runs.push(step, run);
    }

    /// A checkpoint begins that contains all runs so far.
    pub fn seal(&mut self) {
        self.runs.seal();
    }

    /// It is committed.
    pub fn drop_sealed(&mut self) {
        self.runs.drop_sealed();
    }

    pub fn run_bytes(&self) -> usize {
        self.runs.size()
    }

    /// All rows, a chunk at a time.
    pub fn scan(&self, snapshot: Arc<dyn Snapshot>) -> Result<RelationScan> {
        self.scan_range(snapshot, &[], None)
    }

    /// About how many rows there are, when a scan from the beginning has given `scanned` of them; `None`: there is nothing to tell from.
    pub fn estimated_rows(&self, snapshot: &Arc<dyn Snapshot>, scan: &RelationScan, scanned: u64) -> Option<u64> {
        let read = view_file_bytes(self.table, snapshot.as_ref(), &[], Some(scan.reader.last_key()));
        let all = view_file_bytes(self.table, snapshot.as_ref(), &[], None);
        (read > 0).then(|| (scanned as f64 * all as f64 / read as f64) as u64).map(|rows| rows.max(scanned))
    }

    fn scan_range(&self, snapshot: Arc<dyn Snapshot>, from: &[u8], to: Option<&[u8]>) -> Result<RelationScan> {
        let types: Vec<_> = self.schema.fields().iter().map(|f| f.data_type().clone()).collect();
        Ok(RelationScan {
            reader: ViewReader::new(self.table, self.kind, snapshot, &self.runs, from, to),
            codec: Codec::rows(&types)?,
            schema: self.schema.clone(),
            done: false,
        })
    }

    pub fn provider(&self, snapshot: Arc<dyn Snapshot>) -> Arc<dyn TableProvider> {
        Arc::new(RowsTable::new(self.clone(), snapshot))
    }

    /// Rows whose key columns equal one of `keys` (one column per key column, in the key's order): point look-ups.
    pub fn by_key(&self, snapshot: &Arc<dyn Snapshot>, keys: &RecordBatch) -> Result<RecordBatch> {
        if self.kind != RunKind::Unique {
            return Err(Error::internal("look-up by key in a relation without one"));
        }
        let types: Vec<_> = self.key.iter().map(|c| self.schema.field(*c).data_type().clone()).collect();
        let mut encoded = Rows::default();
        Codec::new(&types)?.encode(keys.columns(), &mut encoded)?;
        let mut found = Vec::new();
        for key in encoded.iter() {
            let after = [key, &[0]].concat();
            let mut scan = self.scan_range(snapshot.clone(), key, Some(&after))?;
            found.extend(scan.next(2)?.map(|d| d.batch().clone()));
        }
        Ok(arrow::compute::concat_batches(&self.schema, &found)?)
    }
}

/// A scan under way.
pub struct RelationScan {
    reader: ViewReader,
    codec: Codec,
    schema: SchemaRef,
    done: bool,
}

impl RelationScan {
    /// About `max` rows; `None` at the end.
    pub fn next(&mut self, max: usize) -> Result<Option<Delta>> {
        if self.done {
            return Ok(None);
        }
        let (mut rows, mut weights) = (Rows::default(), Vec::new());
        self.done = !self.reader.next(max, &mut rows, &mut weights)?;
        if rows.is_empty() {
            return Ok(None);
        }
        let columns = self.codec.decode(&mut rows.iter())?;
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows.len()));
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?;
        Ok(Some(Delta::new(batch, weights)))
    }
}

/// A batch in which every row stands as often as its weight says. Error: a negative weight, which no relation has.
pub fn expand(delta: &Delta) -> Result<RecordBatch> {
    let Some(weights) = delta.weights() else { return Ok(delta.batch().clone()) };
    let mut indices = Vec::with_capacity(weights.len());
    for (row, &weight) in weights.iter().enumerate() {
        let times = usize::try_from(weight).map_err(|_| Error::internal("a relation holds a row a negative number of times"))?;
        indices.extend(std::iter::repeat_n(row as u32, times));
    }
    Ok(arrow::compute::take_record_batch(delta.batch(), &UInt32Array::from(indices))?)
}
