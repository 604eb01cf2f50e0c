//! A sorted run: one step's change of one view by view key, immutable and shared with readers. A view as of an epoch is the snapshot of the last
//! checkpoint plus the runs since (design D4):
//!
//! ```text
//!   snapshot   a:1  b:1       d:2            (view rows in the store, space 0x30)
//!   runs            b:-   c:1                (older)
//!                         c:2      e:1       (newer)
//!   reads      a:1        c:2 d:2  e:1
//! ```
//!
//! Runs are merged geometrically, so that a view has few of them; those that a checkpoint under way contains are sealed: they are dropped together
//! when it is committed, and so never merged with later ones.

use super::checkpoint::{Action, Ops, space};
use super::store::Snapshot;
use crate::error::Result;
use crate::types::delta::Delta;
use crate::types::ids::TableId;
use crate::types::key::Rows;
use crate::types::time::Epoch;
use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

/// What key and value of a view's rows are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunKind {
    /// Key columns -> row; a newer entry replaces an older one.
    Unique,
    /// Row -> weight; weights add up.
    Weighted,
    /// Sequence (see `Materialize`) -> row; never replaced.
    Append,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    start: usize,
    key: u32,
    value: u32,
    /// Unique: 1 = present, 0 = deleted. Weighted: the weight. Append: 1.
    weight: i64,
}

/// See the module. Keys and rows lie in one buffer; entries are sorted by key and distinct.
#[derive(Clone, Debug)]
pub struct Run {
    kind: RunKind,
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

impl Run {
    pub fn new(kind: RunKind) -> Run {
        Run { kind, bytes: Vec::new(), entries: Vec::new() }
    }

    /// A netted change of rows under unique keys, as one run: all deletions first, so that an update of a key ends as its new row.
    pub fn of_unique(delta: &Delta, keys: &Rows, rows: &Rows) -> Run {
        let mut run = Run::new(RunKind::Unique);
        (0..rows.len()).filter(|i| delta.weight(*i) < 0).for_each(|i| run.delete(keys.row(i)));
        (0..rows.len()).filter(|i| delta.weight(*i) > 0).for_each(|i| run.put(keys.row(i), rows.row(i)));
        run.finish()
    }

    /// A change of rows that are their own keys, as one run.
    pub fn of_weighted(delta: &Delta, rows: &Rows) -> Run {
        let mut run = Run::new(RunKind::Weighted);
        rows.iter().enumerate().for_each(|(i, row)| run.add(row, delta.weight(i)));
        run.finish()
    }

    /// Unique and Append: the row under the key is now `row`.
    pub fn put(&mut self, key: &[u8], row: &[u8]) {
        self.push(key, row, 1);
    }

    /// Unique: the key is gone.
    pub fn delete(&mut self, key: &[u8]) {
        self.push(key, &[], 0);
    }

    /// Weighted: the row's weight changes by `weight`.
    pub fn add(&mut self, row: &[u8], weight: i64) {
        self.push(row, &[], weight);
    }

    fn push(&mut self, key: &[u8], value: &[u8], weight: i64) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value);
        self.entries.push(Entry { start, key: key.len() as u32, value: value.len() as u32, weight });
    }

    /// Sorts; of several changes of one key the last counts (Unique), or their sum (Weighted).
    pub fn finish(mut self) -> Run {
        if self.kind == RunKind::Append {
            debug_assert!(self.entries.windows(2).all(|w| self.key(&w[0]) < self.key(&w[1])), "sequences rise");
            return self;
        }
        let mut entries = std::mem::take(&mut self.entries);
        entries.sort_by(|a, b| self.key(a).cmp(self.key(b)));
        let mut merged: Vec<Entry> = Vec::with_capacity(entries.len());
        for entry in entries {
            match merged.last_mut() {
                Some(last) if self.key(last) == self.key(&entry) => {
                    let weight = if self.kind == RunKind::Weighted { last.weight + entry.weight } else { entry.weight };
                    *last = Entry { weight, ..entry };
                }
                _ => merged.push(entry),
            }
        }
        if self.kind == RunKind::Weighted {
            merged.retain(|e| e.weight != 0);
        }
        self.entries = merged;
        self
    }

    fn key(&self, entry: &Entry) -> &[u8] {
        &self.bytes[entry.start..entry.start + entry.key as usize]
    }

    fn value(&self, entry: &Entry) -> &[u8] {
        let from = entry.start + entry.key as usize;
        &self.bytes[from..from + entry.value as usize]
    }

    /// Unique: what the run knows of the key; `Some(None)`: it deletes it.
    fn find(&self, key: &[u8]) -> Option<Option<&[u8]>> {
        let at = self.entries.binary_search_by(|e| self.key(e).cmp(key)).ok()?;
        let entry = &self.entries[at];
        Some((entry.weight != 0).then(|| self.value(entry)))
    }

    pub fn kind(&self) -> RunKind {
        self.kind
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes held.
    pub fn size(&self) -> usize {
        self.bytes.len() + self.entries.len() * size_of::<Entry>()
    }

    /// Entries of the run (by position) as operations on the view's rows.
    pub fn write(&self, table: TableId, entries: Range<usize>, ops: &mut Ops) {
        let prefix = view_prefix(table);
        for entry in &self.entries[entries] {
            let key = self.key(entry);
            match self.kind {
                RunKind::Weighted => ops.push(Action::Merge, &[&prefix, key], &entry.weight.to_le_bytes()),
                _ if entry.weight == 0 => ops.push(Action::Delete, &[&prefix, key], &[]),
                _ => ops.push(Action::Put, &[&prefix, key], self.value(entry)),
            }
        }
    }

    /// One run with the effect of `older`, then `newer`.
    pub fn merge(older: &Run, newer: &Run) -> Run {
        let mut run = Run::new(older.kind);
        run.bytes.reserve(older.bytes.len() + newer.bytes.len());
        run.entries.reserve(older.entries.len() + newer.entries.len());
        let (mut a, mut b) = (0, 0);
        while a < older.entries.len() || b < newer.entries.len() {
            let order = match (older.entries.get(a), newer.entries.get(b)) {
                (Some(x), Some(y)) => older.key(x).cmp(newer.key(y)),
                (Some(_), None) => Ordering::Less,
                _ => Ordering::Greater,
            };
            match order {
                Ordering::Less => run.copy(older, a),
                Ordering::Greater => run.copy(newer, b),
                Ordering::Equal if older.kind == RunKind::Weighted => {
                    let weight = older.entries[a].weight + newer.entries[b].weight;
                    if weight != 0 {
                        run.push(newer.key(&newer.entries[b]), &[], weight);
                    }
                }
                Ordering::Equal => run.copy(newer, b),
            }
            a += usize::from(order != Ordering::Greater);
            b += usize::from(order != Ordering::Less);
        }
        run
    }

    fn copy(&mut self, from: &Run, i: usize) {
        let entry = &from.entries[i];
        self.push(from.key(entry), from.value(entry), entry.weight);
    }
}

/// The runs of one view since the last checkpoint, oldest first. Cheap to clone: readers hold one.
#[derive(Clone, Debug, Default)]
pub struct RunStack {
    /// Contained in the checkpoint under way.
    sealed: Vec<Arc<Run>>,
    open: Vec<(Epoch, Arc<Run>)>,
}

impl RunStack {
    /// Adds the change of one step. Merges while the newest run is not much smaller than the one before it.
    pub fn push(&mut self, step: Epoch, run: Run) {
        if run.is_empty() {
            return;
        }
        let append = run.kind() == RunKind::Append;
        self.open.push((step, Arc::new(run)));
        while let [.., (_, older), (step, newer)] = &self.open[..] {
            if append || newer.len() * 2 < older.len() {
                break;
            }
            let merged = (*step, Arc::new(Run::merge(older, newer)));
            self.open.truncate(self.open.len() - 2);
            self.open.push(merged);
        }
    }

    /// Lays changes that are of no epoch over these.
    pub fn lay_over(&mut self, changes: &RunStack) {
        self.open.extend(changes.iter().map(|run| (Epoch::default(), run.clone())));
    }

    /// A checkpoint begins that contains everything pushed so far.
    pub fn seal(&mut self) {
        self.sealed.extend(self.open.drain(..).map(|(_, run)| run));
    }

    /// That checkpoint is committed: its snapshot holds what was sealed.
    pub fn drop_sealed(&mut self) {
        self.sealed.clear();
    }

    pub fn size(&self) -> usize {
        self.iter().map(|r| r.size()).sum()
    }

    /// Oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Arc<Run>> {
        self.sealed.iter().chain(self.open.iter().map(|(_, run)| run))
    }
}

/// About how many bytes of files the rows of a view with keys `from <= key < to` take; see [`Snapshot::file_bytes`].
pub fn view_file_bytes(table: TableId, snapshot: &dyn Snapshot, from: &[u8], to: Option<&[u8]>) -> u64 {
    let end = to.map_or_else(|| view_prefix(TableId(table.0 + 1)).to_vec(), |to| [&view_prefix(table)[..], to].concat());
    snapshot.file_bytes(&[&view_prefix(table)[..], from].concat(), &end)
}

/// Appends the rows of `keys` (sorted, distinct) of a view of kind Unique, in their order, those that exist: the newest run that knows a key
/// counts, and the store is asked once for what no run knows.
pub fn look_up(table: TableId, snapshot: &dyn Snapshot, runs: &RunStack, keys: &[&[u8]], rows: &mut Rows) -> Result<()> {
    let known: Vec<Option<Option<&[u8]>>> = keys.iter().map(|key| runs.iter().rev().find_map(|run| run.find(key))).collect();
    let (prefix, mut asked) = (view_prefix(table), Rows::default());
    let mut places = Vec::new();
    for (i, key) in keys.iter().enumerate().filter(|(i, _)| known[*i].is_none()) {
        asked.push(&[&prefix, *key].concat());
        places.push(i);
    }
    let mut next = 0;
    if !asked.is_empty() {
        let asked: Vec<&[u8]> = asked.iter().collect();
        snapshot.get_many(&asked, &mut |i, value| {
            known[next..places[i]].iter().flatten().flatten().for_each(|row| rows.push(row));
            rows.push(value);
            next = places[i] + 1;
        })?;
    }
    known[next..].iter().flatten().flatten().for_each(|row| rows.push(row));
    Ok(())
}

fn view_prefix(table: TableId) -> [u8; 5] {
    let mut prefix = [space::VIEW; 5];
    prefix[1..].copy_from_slice(&table.0.to_be_bytes());
    prefix
}

/// Rows of one view in key order (Append: snapshot, then runs), a batch at a time.
pub struct ViewReader {
    kind: RunKind,
    snapshot: Arc<dyn Snapshot>,
    /// Where the store's scan goes on; `None`: it is done.
    store_from: Option<Vec<u8>>,
    store_to: Vec<u8>,
    /// Entries read ahead from the store.
    ahead: Rows,
    ahead_values: Rows,
    ahead_at: usize,
    /// How many entries are read next: few first, for a short range and a LIMIT need no more.
    ahead_max: usize,
    cursors: Vec<Cursor>,
    /// Of the newest row that was given out.
    last: Vec<u8>,
    /// Append: the last key of each stretch of rows of one writer before that of `last`.
    ends: Vec<Vec<u8>>,
}

struct Cursor {
    run: Arc<Run>,
    at: usize,
    end: usize,
}

/// Bytes of an Append key that say which worker wrote the row; the rest rises with every row of it.
pub const WRITER: usize = 2;
/// Store entries read per scan call: the first time, and at most.
const READ_AHEAD: std::ops::Range<usize> = 64..2048;

impl ViewReader {
    /// Keys `from <= key < to` of the view's key bytes; `None`: to the end.
    pub fn new(table: TableId, kind: RunKind, snapshot: Arc<dyn Snapshot>, runs: &RunStack, from: &[u8], to: Option<&[u8]>) -> ViewReader {
        let prefix = view_prefix(table);
        let store_from = [&prefix[..], from].concat();
        let store_to = match to {
            Some(to) => [&prefix[..], to].concat(),
            None => view_prefix(TableId(table.0 + 1)).to_vec(),
        };
        let cursors = runs
            .iter()
            .map(|run| Cursor {
                at: run.entries.partition_point(|e| run.key(e) < from),
                end: to.map_or(run.entries.len(), |to| run.entries.partition_point(|e| run.key(e) < to)),
                run: run.clone(),
            })
            .collect();
        let (ahead, ahead_values, last, ends) = Default::default();
        let (store_from, ahead_max) = (Some(store_from), READ_AHEAD.start);
        ViewReader { kind, snapshot, store_from, store_to, ahead, ahead_values, ahead_at: 0, ahead_max, cursors, last, ends }
    }

    /// Appends about `max` rows to `rows`, with their weights; false: there are no more.
    pub fn next(&mut self, max: usize, rows: &mut Rows, weights: &mut Vec<i64>) -> Result<bool> {
        let before = rows.len();
        while rows.len() - before < max {
            if self.ahead_at == self.ahead.len() && self.store_from.is_some() {
                self.read_ahead()?;
            }
            if !self.step(rows, weights) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The key of the newest row that was given out; empty: none was.
    pub fn last_key(&self) -> &[u8] {
        &self.last
    }

    /// Append: the key of the newest row of each writer that was given out, a writer perhaps several times, the newest last.
    pub fn newest_of_writers(&self) -> impl Iterator<Item = &[u8]> {
        self.ends.iter().map(Vec::as_slice).chain((!self.last.is_empty()).then_some(&self.last[..]))
    }

    fn read_ahead(&mut self) -> Result<()> {
        self.ahead.clear();
        self.ahead_values.clear();
        self.ahead_at = 0;
        let Some(from) = self.store_from.take() else { return Ok(()) };
        let (ahead, values, max) = (&mut self.ahead, &mut self.ahead_values, self.ahead_max);
        self.snapshot.scan(&from, &self.store_to, &mut |key, value| {
            ahead.push(&key[5..]);
            values.push(value);
            ahead.len() < max
        })?;
        self.ahead_max = (max * 4).min(READ_AHEAD.end);
        if self.ahead.len() == max {
            let mut next = from[..5].to_vec();
            next.extend_from_slice(self.ahead.row(max - 1));
            next.push(0);
            self.store_from = Some(next);
        }
        Ok(())
    }

    /// Yields the next key's row, if it is there; false at the end.
    fn step(&mut self, rows: &mut Rows, weights: &mut Vec<i64>) -> bool {
        if self.kind == RunKind::Append {
            return self.step_append(rows, weights);
        }
        let store = (self.ahead_at < self.ahead.len()).then(|| self.ahead.row(self.ahead_at));
        let least = self.cursors.iter().filter(|c| c.at < c.end).map(|c| c.run.key(&c.run.entries[c.at])).chain(store).min();
        let Some(key) = least.map(<[u8]>::to_vec) else { return false };
        let mut weight = 0;
        let mut newest: Option<&[u8]> = None;
        if store == Some(&key[..]) {
            let value = self.ahead_values.row(self.ahead_at);
            weight = if self.kind == RunKind::Weighted { weight_of(value) } else { 1 };
            newest = Some(value);
            self.ahead_at += 1;
        }
        for cursor in &mut self.cursors {
            if cursor.at < cursor.end && cursor.run.key(&cursor.run.entries[cursor.at]) == &key[..] {
                let entry = &cursor.run.entries[cursor.at];
                weight = if self.kind == RunKind::Weighted { weight + entry.weight } else { entry.weight };
                newest = Some(cursor.run.value(entry));
                cursor.at += 1;
            }
        }
        if weight != 0 {
            rows.push(if self.kind == RunKind::Weighted { &key } else { newest.unwrap_or_default() });
            weights.push(weight);
        }
        self.last = key;
        true
    }

    fn step_append(&mut self, rows: &mut Rows, weights: &mut Vec<i64>) -> bool {
        if self.ahead_at < self.ahead.len() {
            rows.push(self.ahead_values.row(self.ahead_at));
            note(&mut self.last, &mut self.ends, self.ahead.row(self.ahead_at));
            self.ahead_at += 1;
        } else if let Some(cursor) = self.cursors.iter_mut().find(|c| c.at < c.end) {
            let entry = &cursor.run.entries[cursor.at];
            rows.push(cursor.run.value(entry));
            note(&mut self.last, &mut self.ends, cursor.run.key(entry));
            cursor.at += 1;
        } else {
            return false;
        }
        weights.push(1);
        true
    }
}

/// Keeps the last key of each writer's stretch.
fn note(last: &mut Vec<u8>, ends: &mut Vec<Vec<u8>>, key: &[u8]) {
    if !last.is_empty() && last.get(..WRITER) != key.get(..WRITER) {
        ends.push(last.clone());
    }
    last.clear();
    last.extend_from_slice(key);
}

/// A merged weight as the store keeps it.
fn weight_of(value: &[u8]) -> i64 {
    value.try_into().map(i64::from_le_bytes).unwrap_or(0)
}

#[cfg(test)]
mod tests;
