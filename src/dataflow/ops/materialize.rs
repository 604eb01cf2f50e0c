//! Materialize: the last node of every view and table. It nets the epoch's change, keeps the rows for readers, and passes the change on to the
//! views that read this one.
//!
//! ```text
//!   delta --consolidate--> run      (handed to readers now, with the epoch)
//!                     \--> ops      (view rows in the store, with the next checkpoint)
//!                      \-> delta    (views on this view)
//! ```
//!
//! *Key of a stored row*: the unique columns, under which an update overwrites; or the whole row, with a weight that adds up, where nothing is known to be
//! unique; or, if the input never retracts, (worker, sequence), which rises with arrival and asks for no comparison. *State*: the rows
//! themselves are never read here, so only what the next checkpoint writes is held, and the next sequence number (append). It forgets nothing: the rows are the view.

use super::consolidate::{codec_of, consolidate};
use crate::dataflow::operator::{Bound, BuildContext, Distribution, Operator, Output, Spec, StateTable};
use crate::error::{Error, Kind, Result};
use crate::state::checkpoint::{Generation, HandOver, Ops, space};
use crate::state::kept::Kept;
use crate::state::run::{Run, RunKind, RunStack};
use crate::types::delta::Delta;
use crate::types::ids::TableId;
use crate::types::key::{Codec, Order, Rows};
use crate::types::time::Step;
use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;
use std::collections::VecDeque;
use std::sync::Arc;

/// How stored rows are keyed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowKey {
    /// These columns are unique.
    Unique(Vec<usize>),
    /// The whole row, with a weight.
    Row,
    /// Order of arrival; the input never retracts.
    Append,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Materialize {
    pub rows: TableId,
    pub key: RowKey,
    /// Of an index: how the leading columns of its rows are ordered, the unique ones if it has such. Empty: all ascending.
    pub leading: Vec<Order>,
    pub schema: SchemaRef,
}

impl Spec for Materialize {
    fn name(&self) -> &'static str {
        "Materialize"
    }

    fn details(&self) -> String {
        let order = |place: usize| match self.leading.get(place) {
            Some(Order { descending: true, nulls_first: true }) => " DESC",
            Some(Order { descending: true, .. }) => " DESC NULLS LAST",
            Some(Order { nulls_first: true, .. }) => " NULLS FIRST",
            _ => "",
        };
        let columns = |columns: &[usize]| {
            let named = columns.iter().enumerate().map(|(place, c)| format!("{}{}", self.schema.field(*c).name(), order(place)));
            named.collect::<Vec<_>>().join(", ")
        };
        match &self.key {
            RowKey::Unique(unique) => format!("key ({})", columns(unique)),
            RowKey::Row if self.leading.is_empty() => "key: the whole row".to_string(),
            RowKey::Row => format!("key: the whole row, by {}", columns(&(0..self.leading.len()).collect::<Vec<_>>())),
            RowKey::Append => "append".to_string(),
        }
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// Changes of one key must meet, for they overwrite each other; weights add up wherever they come from.
    fn distribution(&self) -> Vec<Distribution> {
        match &self.key {
            RowKey::Unique(columns) if columns.is_empty() => vec![Distribution::Single],
            RowKey::Unique(columns) => vec![Distribution::Hash(columns.clone())],
            RowKey::Row | RowKey::Append => vec![Distribution::Any],
        }
    }

    fn append_only(&self, inputs: &[bool]) -> bool {
        inputs[0]
    }

    fn state_tables(&self) -> Vec<StateTable> {
        vec![StateTable { id: self.rows, what: "rows of the view".to_string(), bounded_by: Bound::View }]
    }

    fn build(&self, context: &BuildContext) -> Result<Box<dyn Operator>> {
        let key_columns = if let RowKey::Unique(columns) = &self.key { columns.clone() } else { Vec::new() };
        let order = |place: usize| self.leading.get(place).copied().unwrap_or_default();
        let key_fields = key_columns.iter().enumerate().map(|(place, c)| (self.schema.field(*c).data_type().clone(), order(place))).collect();
        let row_codec = match self.key {
            RowKey::Row => Codec::led(&self.leading, &self.schema.fields().iter().map(|f| f.data_type().clone()).collect::<Vec<_>>())?,
            _ => codec_of(&self.schema)?,
        };
        let sequence = match self.key {
            RowKey::Append => Some(Sequence::open(self.rows, context)?),
            _ => None,
        };
        Ok(Box::new(Running {
            spec: self.clone(),
            key_columns,
            key_codec: Codec::ordered(key_fields)?,
            row_codec,
            sequence,
            pending: RunStack::default(),
            owed: Owed::default(),
        }))
    }
}

struct Running {
    spec: Materialize,
    key_columns: Vec<usize>,
    key_codec: Codec,
    row_codec: Codec,
    sequence: Option<Sequence>,
    /// What the next checkpoint writes; merged as it comes, so that a key that changes often is written once.
    pending: RunStack,
    owed: Owed,
}

/// What is still to be handed over to the checkpoint that has begun: runs, of the first one from an entry on, and the rest.
#[derive(Default)]
struct Owed {
    runs: VecDeque<Arc<Run>>,
    next: usize,
    rest: Ops,
}

impl Running {
    fn run(&mut self, delta: &Delta) -> Result<Run> {
        let mut rows = Rows::default();
        self.row_codec.encode(delta.batch().columns(), &mut rows)?;
        match &mut self.sequence {
            Some(sequence) => sequence.run(delta, &rows),
            None if self.spec.key == RowKey::Row => Ok(Run::of_weighted(delta, &rows)),
            None => self.unique(delta, &rows),
        }
    }

    fn unique(&self, delta: &Delta, rows: &Rows) -> Result<Run> {
        let mut keys = Rows::default();
        if self.key_columns.is_empty() {
            rows.iter().for_each(|_| keys.push(&[]));
        } else {
            let columns = self.key_columns.iter().map(|c| Arc::clone(delta.column(*c))).collect::<Vec<ArrayRef>>();
            self.key_codec.encode(&columns, &mut keys)?;
        }
        Ok(Run::of_unique(delta, &keys, rows))
    }
}

impl Operator for Running {
    fn apply(&mut self, step: &Step, inputs: &mut [Vec<Delta>], out: &mut Output) -> Result<()> {
        if inputs[0].is_empty() {
            return Ok(());
        }
        let delta = consolidate(&self.spec.schema, &std::mem::take(&mut inputs[0]))?;
        if delta.is_empty() {
            return Ok(());
        }
        let run = self.run(&delta)?;
        self.pending.push(step.epoch, run.clone());
        out.run = Some(run);
        out.push(delta);
        Ok(())
    }

    fn state(&mut self, each: &mut dyn FnMut(&mut dyn Kept)) {
        each(self);
    }
}

impl Kept for Running {
    fn checkpoint(&mut self, _generation: Generation) {
        self.owed.runs.extend(std::mem::take(&mut self.pending).iter().cloned());
        if let Some(sequence) = &mut self.sequence {
            sequence.checkpoint(&mut self.owed.rest);
        }
    }

    fn hand_over(&mut self, piece: &mut HandOver) {
        let Owed { runs, next, rest } = &mut self.owed;
        piece.append(std::mem::take(rest));
        while let Some(run) = runs.front().filter(|_| !piece.is_full()) {
            let count = piece.left().min(run.len() - *next);
            run.write(self.spec.rows, *next..*next + count, piece.add(count));
            *next += count;
            if *next == run.len() {
                runs.pop_front();
                *next = 0;
            }
        }
    }

    fn committed(&mut self, _generation: Generation) {}

    fn memory(&self) -> usize {
        self.pending.size() + self.owed.runs.iter().map(|run| run.size()).sum::<usize>()
    }

    /// What is held is still to be handed over.
    fn evict(&mut self, _bytes: usize) {}
}

/// Keys of appended rows: worker, then a number that rises.
struct Sequence {
    worker: u16,
    next: u64,
    saved: u64,
    /// Where `next` is kept in the store.
    record: Vec<u8>,
}

impl Sequence {
    fn open(table: TableId, context: &BuildContext) -> Result<Sequence> {
        let worker = context.worker as u16;
        let record = [&[space::KEYED][..], &table.0.to_be_bytes(), &worker.to_be_bytes()].concat();
        let mut stored = None;
        if !context.fresh {
            context.store.read().1.get_many(&[&record], &mut |_, value| stored = Some(value.try_into().map(u64::from_be_bytes)))?;
        }
        let next = stored.transpose().map_err(|_| Error::new(Kind::DataCorrupted, format!("sequence of state table {table} is damaged")))?.unwrap_or(0);
        Ok(Sequence { worker, next, saved: next, record })
    }

    fn run(&mut self, delta: &Delta, rows: &Rows) -> Result<Run> {
        let mut run = Run::new(RunKind::Append);
        let mut key = [0; 10];
        key[..2].copy_from_slice(&self.worker.to_be_bytes());
        for (i, row) in rows.iter().enumerate() {
            if delta.weight(i) < 0 {
                return Err(Error::internal("a row of an append-only view was retracted"));
            }
            for _ in 0..delta.weight(i) {
                key[2..].copy_from_slice(&self.next.to_be_bytes());
                run.put(&key, row);
                self.next += 1;
            }
        }
        Ok(run.finish())
    }

    fn checkpoint(&mut self, ops: &mut Ops) {
        if self.next != self.saved {
            ops.put(&self.record, &self.next.to_be_bytes());
            self.saved = self.next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataflow::harness::{Bag, EpochInput, add_delta, random_epochs, schema, to_delta, total};
    use crate::state::committed::Committed;
    use crate::state::memory::MemoryStore;
    use crate::state::run::ViewReader;
    use crate::state::store::Durability;
    use crate::types::time::Epoch;
    use arrow::array::RecordBatch;
    use arrow::datatypes::DataType;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};
    use std::ops::ControlFlow;

    /// What a reader sees: the committed rows and the runs since.
    fn read(spec: &Materialize, kind: RunKind, store: &Committed, runs: &RunStack) -> Bag {
        let mut reader = ViewReader::new(spec.rows, kind, store.read().1, runs, &[], None);
        let (mut rows, mut weights) = (Rows::default(), Vec::new());
        while reader.next(7, &mut rows, &mut weights).unwrap() {}
        let mut bag = Bag::new();
        if !rows.is_empty() {
            let columns = codec_of(&spec.schema).unwrap().decode(&mut rows.iter()).unwrap();
            add_delta(&mut bag, &Delta::new(RecordBatch::try_new(Arc::clone(&spec.schema), columns).unwrap(), weights));
        }
        bag
    }

    fn check(key: RowKey, kind: RunKind, epochs: &[EpochInput], random: &mut StdRng) {
        let schema = schema(&[("k", DataType::Int32), ("v", DataType::Utf8)]);
        let spec = Materialize { rows: TableId(9), key, leading: Vec::new(), schema: schema.clone() };
        let store = Committed::new(Arc::new(MemoryStore::new()), Generation(0));
        let context = |fresh| BuildContext { store: store.clone(), worker: 3, workers: 4, cache_entries: None, fresh, checks: true };
        let (mut operator, mut runs, mut generation) = (spec.build(&context(true)).unwrap(), RunStack::default(), 0);
        for (n, epoch) in epochs.iter().enumerate() {
            let mut out = Output::default();
            let rows = &epoch.ports[0];
            let (first, second) = rows.split_at(rows.len() / 2);
            let parts = [first, second].into_iter().filter(|p| !p.is_empty()).map(|p| to_delta(&schema, p)).collect();
            operator.apply(&Step { epoch: Epoch(n as u64 + 1), ..Step::default() }, &mut [parts], &mut out).unwrap();
            out.run.into_iter().for_each(|run| runs.push(Epoch(n as u64 + 1), run));
            assert_eq!(read(&spec, kind, &store, &runs), total(&epochs[..=n], 0), "{kind:?} after epoch {n}");
            if random.random_bool(0.5) {
                generation += 1;
                operator.state(&mut |kept| kept.checkpoint(Generation(generation)));
                let mut handed_over = HandOver::default();
                let ops = loop {
                    match handed_over.piece(random.random_range(1..9), |piece| operator.state(&mut |kept| kept.hand_over(piece))) {
                        ControlFlow::Continue(rest) => handed_over = rest,
                        ControlFlow::Break(ops) => break ops,
                    }
                };
                store.commit(Generation(generation), ops, Durability::Synced).unwrap();
                operator.state(&mut |kept| kept.committed(Generation(generation)));
                runs = RunStack::default();
                if random.random_bool(0.5) {
                    operator = spec.build(&context(false)).unwrap();
                }
                assert_eq!(read(&spec, kind, &store, &runs), total(&epochs[..=n], 0), "{kind:?} from the store after epoch {n}");
            }
        }
    }

    /// At most one row per key at any time: each new row of a key comes with the retraction of the one before, in any order.
    fn keyed(epochs: Vec<EpochInput>) -> Vec<EpochInput> {
        let mut live = std::collections::BTreeMap::new();
        let update = |rows: Vec<(crate::dataflow::harness::Row, i64)>| {
            let mut out = Vec::new();
            for (row, _) in rows {
                let old = live.insert(row[0].clone(), row.clone());
                out.push((row, 1));
                out.extend(old.map(|old| (old, -1)));
            }
            out
        };
        let ports = epochs.into_iter().map(|mut e| e.ports.remove(0)).map(update);
        ports.map(|rows| EpochInput { ports: vec![rows], watermark: 0 }).collect()
    }

    #[test]
    fn readers_see_the_rows_before_and_after_checkpoints_and_restarts() {
        let schema = schema(&[("k", DataType::Int32), ("v", DataType::Utf8)]);
        for seed in 1..30 {
            let mut random = StdRng::seed_from_u64(seed);
            let changing = random_epochs(&mut random, &[(schema.clone(), false)], 4);
            let growing = random_epochs(&mut random, &[(schema.clone(), true)], 4);
            check(RowKey::Row, RunKind::Weighted, &changing, &mut random);
            check(RowKey::Append, RunKind::Append, &growing, &mut random);
            check(RowKey::Unique(vec![0]), RunKind::Unique, &keyed(growing), &mut random);
        }
    }
}
