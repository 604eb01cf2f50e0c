//! The rows of one relation as they are stored: a snapshot and the runs since, by key. A table or view is stored under its own key; an index is a second
//! copy of a relation's rows under another key, kept by the same operator at the same epochs, so that one can stand in for the other.

use super::ranges::{KeyPart, KeyRange};
use crate::error::{Error, Result};
use crate::state::run::{self, Run, RunKind, RunStack, ViewReader, WRITER};
use crate::state::store::Snapshot;
use crate::types::delta::Delta;
use crate::types::ids::{ObjectId, TableId};
use crate::types::key::{Codec, Order, Rows, is_exact};
use crate::types::time::Epoch;
use arrow::array::{BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, VecDeque};
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
}

/// What an index is on, and what it is called.
#[derive(Clone, Debug)]
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
        Ok(Layout { table, kind, columns: (0..types.len()).map(Some).collect(), codec: Codec::rows(&types)?, schema, key })
    }

    /// An index's rows: `columns` are those of its relation, the leading ones ordered by `orders`; these are `unique`, or the whole row is the key.
    pub fn of_index(table: TableId, columns: &[usize], orders: &[Order], unique: bool, schema: SchemaRef) -> Result<Layout> {
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
        Ok(Layout { table, kind, schema, codec, key, columns: places })
    }

    /// Where a column of the relation stands in a stored row; `None`: it is not stored.
    pub fn place(&self, column: usize) -> Option<usize> {
        self.columns.get(column).copied().flatten()
    }

    /// Whether a key belongs to one row.
    pub fn is_unique(&self) -> bool {
        self.kind == RunKind::Unique
    }

    fn rows(&self, batch: &RecordBatch) -> Result<Rows> {
        let mut rows = Rows::default();
        self.codec.encode(batch.columns(), &mut rows)?;
        Ok(rows)
    }

    /// The keys that these rows are stored under.
    fn keys(&self, batch: &RecordBatch) -> Result<Rows> {
        if !self.is_unique() {
            return self.rows(batch);
        }
        let types = self.key.iter().map(|p| (p.data_type.clone(), p.order)).collect();
        let columns: Vec<_> = self.key.iter().map(|p| batch.column(p.column).clone()).collect();
        let mut keys = Rows::default();
        Codec::ordered(types)?.encode(&columns, &mut keys)?;
        Ok(keys)
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
    /// Of the rows of an index.
    pub index_of: Option<IndexOf>,
    runs: RunStack,
    /// May be read; false while it is being built.
    pub ready: bool,
}

impl RelationRows {
    pub fn new(layout: Layout, index_of: Option<IndexOf>) -> RelationRows {
        RelationRows { layout: Arc::new(layout), index_of, runs: RunStack::default(), ready: false }
    }

    pub fn schema(&self) -> &SchemaRef {
        &self.layout.schema
    }

    pub fn push(&mut self, step: Epoch, run: Run) {
        self.runs.push(step, run);
    }

    /// A netted change of these rows that is of no epoch, as a run. `appended`: rows that such changes have appended before.
    pub fn change(&self, delta: &Delta, appended: u64) -> Result<Run> {
        let rows = self.layout.rows(delta.batch())?;
        Ok(match self.layout.kind {
            RunKind::Unique => Run::of_unique(delta, &self.layout.keys(delta.batch())?, &rows),
            RunKind::Weighted => Run::of_weighted(delta, &rows),
            RunKind::Append => {
                let mut run = Run::new(RunKind::Append);
                // Behind those of all workers.
                rows.iter().zip(appended..).for_each(|(row, number)| run.put(&[&[0xff; run::WRITER][..], &number.to_be_bytes()].concat(), row));
                run.finish()
            }
        })
    }

    /// The rows as they are with such changes.
    pub fn with_changes(&self, changes: &RunStack) -> RelationRows {
        let mut rows = self.clone();
        rows.runs.lay_over(changes);
        rows
    }

    /// A row of the netted `delta`, made from an older state of these rows, that does not fit to them any more: it goes and is not there, or it comes under a
    /// key that is taken.
    pub fn conflict(&self, snapshot: &Arc<dyn Snapshot>, delta: &Delta) -> Result<Option<usize>> {
        match self.layout.kind {
            RunKind::Append => Ok(None),
            RunKind::Unique => self.unique_conflict(snapshot.as_ref(), delta),
            RunKind::Weighted => self.weighted_conflict(snapshot, delta),
        }
    }

    fn unique_conflict(&self, snapshot: &dyn Snapshot, delta: &Delta) -> Result<Option<usize>> {
        let (keys, rows) = (self.layout.keys(delta.batch())?, self.layout.rows(delta.batch())?);
        let mut wanted: Vec<&[u8]> = keys.iter().collect();
        wanted.sort_unstable();
        wanted.dedup();
        let there = self.of_keys(snapshot, &wanted)?;
        let (there_keys, there_rows) = (self.layout.keys(&there)?, self.layout.rows(&there)?);
        let there: HashMap<&[u8], &[u8]> = there_keys.iter().zip(there_rows.iter()).collect();
        let gone: HashMap<&[u8], &[u8]> = (0..delta.rows()).filter(|i| delta.weight(*i) < 0).map(|i| (keys.row(i), rows.row(i))).collect();
        Ok((0..delta.rows()).find(|i| there.get(keys.row(*i)) != gone.get(keys.row(*i))))
    }

    fn weighted_conflict(&self, snapshot: &Arc<dyn Snapshot>, delta: &Delta) -> Result<Option<usize>> {
        let rows = self.layout.rows(delta.batch())?;
        for i in (0..delta.rows()).filter(|i| delta.weight(*i) < 0) {
            let key = rows.row(i);
            let only = KeyRange { from: key.into(), to: [key, &[0]].concat() };
            let mut scan = self.scan_ranges(snapshot.clone(), vec![only]);
            let mut weight = 0;
            while let Some(found) = scan.next(1)? {
                weight += (0..found.rows()).map(|row| found.weight(row)).sum::<i64>();
            }
            if weight + delta.weight(i) < 0 {
                return Ok(Some(i));
            }
        }
        Ok(None)
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
        self.scan_behind(snapshot, &Taken::default())
    }

    /// All rows but those that an earlier scan, of an older epoch, has taken.
    pub fn scan_behind(&self, snapshot: Arc<dyn Snapshot>, taken: &Taken) -> RelationScan {
        RelationScan { rows: self.clone(), snapshot, reader: None, ranges: taken.left(self.layout.kind).into(), taken: taken.clone() }
    }

    /// The rows whose keys lie in `ranges`.
    pub fn scan_ranges(&self, snapshot: Arc<dyn Snapshot>, ranges: Vec<KeyRange>) -> RelationScan {
        let ranges = ranges.into_iter().map(|r| (r.from, Some(r.to))).collect();
        RelationScan { rows: self.clone(), snapshot, reader: None, ranges, taken: Taken::default() }
    }

    /// The part of a later change of the relation that concerns rows which a scan has taken: the other part it will still see. Of append-only rows
    /// none: whatever came later is behind what was taken.
    pub fn taken_part(&self, delta: &Delta, taken: &Taken) -> Result<Option<Delta>> {
        let layout = &self.layout;
        let Some(last) = taken.last_key(layout.kind) else { return Ok(None) };
        let keys = layout.keys(delta.batch())?;
        let keep: BooleanArray = (0..delta.rows()).map(|row| Some(keys.row(row) <= last)).collect();
        Ok(Some(delta.filter(&keep)?).filter(|d| !d.is_empty()))
    }

    /// About how many rows a scan has still to give; `None`: there is nothing to tell from.
    pub fn estimated_left(&self, snapshot: &dyn Snapshot, scan: &RelationScan) -> Option<u64> {
        let last = scan.last_key()?;
        let read = run::view_file_bytes(self.layout.table, snapshot, &[], Some(last));
        let all = run::view_file_bytes(self.layout.table, snapshot, &[], None);
        (read > 0).then(|| (scan.taken.rows as f64 * all.saturating_sub(read) as f64 / read as f64) as u64)
    }

    /// About how many rows there are, when a scan from the beginning has given `scanned` of them; `None`: there is nothing to tell from.
    pub fn estimated_rows(&self, snapshot: &dyn Snapshot, scan: &RelationScan, scanned: u64) -> Option<u64> {
        self.estimated_left(snapshot, scan).map(|left| scanned + left)
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

/// How far a scan has come, so that another, of a later epoch, can go on behind it: the last key taken; of append-only rows, whose keys rise for each
/// writer apart, that of each writer. Durable (part of a building view's record).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    keys: Vec<Vec<u8>>,
    rows: u64,
}

/// Keys from one on, up to another or to the end.
type Range = (Vec<u8>, Option<Vec<u8>>);

impl Taken {
    /// Where rows have one order of keys.
    fn last_key(&self, kind: RunKind) -> Option<&[u8]> {
        self.keys.first().filter(|_| kind != RunKind::Append).map(Vec::as_slice)
    }

    /// The key ranges that are left.
    fn left(&self, kind: RunKind) -> Vec<Range> {
        let behind = |key: &[u8]| [key, &[0]].concat();
        if kind != RunKind::Append {
            return vec![(self.keys.first().map_or(Vec::new(), |last| behind(last)), None)];
        }
        let (mut ranges, mut start) = (Vec::new(), Some(Vec::new()));
        for last in &self.keys {
            let (Some(from), writer) = (start, last[..WRITER].to_vec()) else { return ranges };
            let next = u16::from_be_bytes([writer[0], writer[1]]).checked_add(1).map(|w| w.to_be_bytes().to_vec());
            ranges.push((from, Some(writer)));
            ranges.push((behind(last), next.clone()));
            start = next;
        }
        ranges.extend(start.map(|from| (from, None)));
        ranges
    }

    /// What one more reader has given out.
    fn add(&mut self, kind: RunKind, reader: &ViewReader) {
        if kind != RunKind::Append {
            if !reader.last_key().is_empty() {
                self.keys = vec![reader.last_key().to_vec()];
            }
            return;
        }
        for key in reader.newest_of_writers() {
            match self.keys.binary_search_by(|k| k[..WRITER].cmp(&key[..WRITER])) {
                Ok(at) => self.keys[at] = key.to_vec(),
                Err(at) => self.keys.insert(at, key.to_vec()),
            }
        }
    }
}

/// A scan under way.
pub struct RelationScan {
    rows: RelationRows,
    snapshot: Arc<dyn Snapshot>,
    /// Of the current range.
    reader: Option<ViewReader>,
    /// Those behind it.
    ranges: VecDeque<Range>,
    /// What was taken before `reader`; its rows are counted at once.
    taken: Taken,
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
                self.taken.add(self.rows.layout.kind, reader);
                self.reader = None;
            }
        }
        self.taken.rows += rows.len() as u64;
        if rows.is_empty() { Ok(None) } else { self.rows.layout.decode(&rows, Some(weights)).map(Some) }
    }

    /// What has been given out so far.
    pub fn taken(&self) -> Taken {
        let mut taken = self.taken.clone();
        if let Some(reader) = &self.reader {
            taken.add(self.rows.layout.kind, reader);
        }
        taken
    }

    /// The key of the newest row that was given out.
    fn last_key(&self) -> Option<&[u8]> {
        let of_reader = self.reader.as_ref().map(ViewReader::last_key).filter(|key| !key.is_empty());
        of_reader.or(self.taken.keys.last().map(Vec::as_slice))
    }

    /// Goes on to the next range; false: there is none.
    fn open(&mut self) -> bool {
        let RelationRows { layout, runs, .. } = &self.rows;
        let reader = |(from, to): Range| ViewReader::new(layout.table, layout.kind, self.snapshot.clone(), runs, &from, to.as_deref());
        self.reader = self.ranges.pop_front().map(reader);
        self.reader.is_some()
    }
}

#[cfg(test)]
mod tests;
