//! The rows of one relation as they are stored: a snapshot and the runs since, by key. A table or view is stored under its own key; an index is a second
//! copy of a relation's rows under another key, kept by the same operator at the same epochs, so that one can stand in for the other.

use super::ranges::{KeyPart, KeyRange};
use crate::error::{Error, Result};
use crate::state::run::{self, Run, RunKind, RunStack, ViewReader};
use crate::state::store::Snapshot;
use crate::types::delta::Delta;
use crate::types::ids::{ObjectId, TableId};
use crate::types::key::{Codec, Order, Rows, is_exact};
use crate::types::time::Epoch;
use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use std::collections::VecDeque;
use std::sync::Arc;

/// Where and how rows are stored.
#[derive(Debug)]
pub struct Layout {
    table: TableId,
    kind: RunKind,
    /// The columns of a stored row.
    pub schema: SchemaRef,
    codec: Codec,
    /// What the stored key begins with; empty: nothing that a value could be found by.
    pub key: Vec<KeyPart>,
    /// By column of the relation: where it stands in a stored row.
    columns: Vec<Option<usize>>,
    pub index_of: Option<IndexOf>,
}

/// What an index is on, and what it is called.
#[derive(Debug)]
pub struct IndexOf {
    pub relation: ObjectId,
    pub name: String,
}

impl Layout {
    /// A relation's own rows. `unique`: the key columns, for `RunKind::Unique`; empty otherwise.
    pub fn of_relation(table: TableId, kind: RunKind, unique: &[usize], schema: SchemaRef) -> Result<Layout> {
        let part = |column: usize| KeyPart { column, data_type: schema.field(column).data_type().clone(), order: Order::default() };
        let key = match kind {
            RunKind::Unique => unique.iter().map(|c| part(*c)).collect(),
            // Whole rows, in the order of their columns as far as these keep one.
            RunKind::Weighted => (0..schema.fields().len()).map(part).take_while(|p| is_exact(&p.data_type)).collect(),
            RunKind::Append => Vec::new(),
        };
        let types: Vec<_> = schema.fields().iter().map(|f| f.data_type().clone()).collect();
        Ok(Layout { table, kind, columns: (0..types.len()).map(Some).collect(), codec: Codec::rows(&types)?, schema, key, index_of: None })
    }

    /// An index's rows: `columns` are those of its relation, the leading ones ordered by `orders`; these are `unique`, or the whole row is the key.
    pub fn of_index(table: TableId, on: IndexOf, columns: &[usize], orders: &[Order], unique: bool, schema: SchemaRef) -> Result<Layout> {
        let types: Vec<_> = schema.fields().iter().map(|f| f.data_type().clone()).collect();
        let leading = orders.len();
        let order = |at: usize| orders.get(at).copied().unwrap_or_default();
        let parts = columns.iter().enumerate().map(|(at, column)| KeyPart { column: *column, data_type: types[at].clone(), order: order(at) });
        let key = if unique {
            parts.take(leading).collect()
        } else {
            parts.enumerate().take_while(|(at, p)| *at < leading || is_exact(&p.data_type)).map(|(_, p)| p).collect()
        };
        // Of a whole row that is a key, the leading columns come back as what Postgres calls equal: see `plan::index`.
        let is_whole = |at: usize| unique || at >= leading || is_exact(&types[at]);
        let width = columns.iter().max().map_or(0, |c| c + 1);
        let places = (0..width).map(|c| (0..columns.len()).find(|at| columns[*at] == c && is_whole(*at))).collect();
        let (kind, codec) = if unique { (RunKind::Unique, Codec::rows(&types)?) } else { (RunKind::Weighted, Codec::led(orders, &types)?) };
        Ok(Layout { table, kind, schema, codec, key, columns: places, index_of: Some(on) })
    }

    /// Where a column of the relation stands in a stored row; `None`: it is not stored.
    pub fn place(&self, column: usize) -> Option<usize> {
        self.columns.get(column).copied().flatten()
    }

    /// Whether a key belongs to one row.
    pub fn is_unique(&self) -> bool {
        self.kind == RunKind::Unique
    }

    fn decode(&self, rows: &Rows, weights: Option<Vec<i64>>) -> Result<Delta> {
        let columns = self.codec.decode(&mut rows.iter())?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?;
        Ok(match weights {
            Some(weights) => Delta::new(batch, weights),
            None => Delta::inserts(batch),
        })
    }
}

/// The rows of one table, materialized view or index; cheap to clone.
#[derive(Clone, Debug)]
pub struct RelationRows {
    pub layout: Arc<Layout>,
    runs: RunStack,
    /// May be read; false while it is being built.
    pub ready: bool,
}

impl RelationRows {
    pub fn new(layout: Layout) -> RelationRows {
        RelationRows { layout: Arc::new(layout), runs: RunStack::default(), ready: false }
    }

    pub fn schema(&self) -> &SchemaRef {
        &self.layout.schema
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
    pub fn scan(&self, snapshot: Arc<dyn Snapshot>) -> RelationScan {
        RelationScan { rows: self.clone(), snapshot, reader: None, ranges: VecDeque::new(), everything: true, last: Vec::new() }
    }

    /// The rows whose keys lie in `ranges`.
    pub fn scan_ranges(&self, snapshot: Arc<dyn Snapshot>, ranges: Vec<KeyRange>) -> RelationScan {
        RelationScan { rows: self.clone(), snapshot, reader: None, ranges: ranges.into(), everything: false, last: Vec::new() }
    }

    /// About how many rows there are, when a scan from the beginning has given `scanned` of them; `None`: there is nothing to tell from.
    pub fn estimated_rows(&self, snapshot: &dyn Snapshot, scan: &RelationScan, scanned: u64) -> Option<u64> {
        let read = run::view_file_bytes(self.layout.table, snapshot, &[], Some(scan.last_key()));
        let all = run::view_file_bytes(self.layout.table, snapshot, &[], None);
        (read > 0).then(|| (scanned as f64 * all as f64 / read as f64) as u64).map(|rows| rows.max(scanned))
    }

    /// The rows of ranges that are one unique key each, its `from`.
    pub fn under(&self, snapshot: &dyn Snapshot, ranges: &[KeyRange]) -> Result<RecordBatch> {
        self.of_keys(snapshot, &ranges.iter().map(|r| &r.from[..]).collect::<Vec<_>>())
    }

    /// The rows under `keys`, which are encoded, sorted and distinct.
    fn of_keys(&self, snapshot: &dyn Snapshot, keys: &[&[u8]]) -> Result<RecordBatch> {
        if !self.layout.is_unique() {
            return Err(Error::internal("look-up by key in a relation without one"));
        }
        let mut rows = Rows::default();
        run::look_up(self.layout.table, snapshot, &self.runs, keys, &mut rows)?;
        Ok(self.layout.decode(&rows, None)?.batch().clone())
    }

    /// Rows whose key columns equal one of `keys` (one column per key column, in the key's order): point look-ups.
    pub fn by_key(&self, snapshot: &dyn Snapshot, keys: &RecordBatch) -> Result<RecordBatch> {
        let types = self.layout.key.iter().map(|p| (p.data_type.clone(), p.order)).collect();
        let mut encoded = Rows::default();
        Codec::ordered(types)?.encode(keys.columns(), &mut encoded)?;
        let mut sorted: Vec<&[u8]> = encoded.iter().collect();
        sorted.sort_unstable();
        sorted.dedup();
        self.of_keys(snapshot, &sorted)
    }
}

/// A scan under way.
pub struct RelationScan {
    rows: RelationRows,
    snapshot: Arc<dyn Snapshot>,
    /// Of the current range.
    reader: Option<ViewReader>,
    /// Those behind it.
    ranges: VecDeque<KeyRange>,
    /// One range of all keys is still to come.
    everything: bool,
    /// The last key of the ranges that are read.
    last: Vec<u8>,
}

impl RelationScan {
    /// About `max` rows; `None` at the end.
    pub fn next(&mut self, max: usize) -> Result<Option<Delta>> {
        let (mut rows, mut weights) = (Rows::default(), Vec::new());
        while rows.len() < max {
            let Some(reader) = &mut self.reader else {
                if !self.open() {
                    break;
                }
                continue;
            };
            if !reader.next(max - rows.len(), &mut rows, &mut weights)? {
                self.last = reader.last_key().to_vec();
                self.reader = None;
            }
        }
        if rows.is_empty() { Ok(None) } else { self.rows.layout.decode(&rows, Some(weights)).map(Some) }
    }

    /// The key of the newest row that was given out; empty: none was.
    fn last_key(&self) -> &[u8] {
        self.reader.as_ref().map(ViewReader::last_key).filter(|key| !key.is_empty()).unwrap_or(&self.last)
    }

    /// Goes on to the next range; false: there is none.
    fn open(&mut self) -> bool {
        let RelationRows { layout, runs, .. } = &self.rows;
        let reader = |from: &[u8], to: Option<&[u8]>| ViewReader::new(layout.table, layout.kind, self.snapshot.clone(), runs, from, to);
        self.reader = match self.ranges.pop_front() {
            Some(range) => Some(reader(&range.from, Some(&range.to))),
            None => std::mem::take(&mut self.everything).then(|| reader(&[], None)),
        };
        self.reader.is_some()
    }
}
