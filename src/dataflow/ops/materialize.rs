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
use crate::dataflow::operator::{BuildContext, Distribution, Operator, Output, Spec, StateTable};
use crate::error::{Error, Kind, Result};
use crate::state::checkpoint::{Generation, Ops, space};
use crate::state::run::{Run, RunKind, RunStack};
use crate::types::delta::Delta;
use crate::types::ids::TableId;
use crate::types::key::{Codec, Rows};
use crate::types::time::Step;
use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;
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
    pub schema: SchemaRef,
}

impl Spec for Materialize {
    fn name(&self) -> &'static str {
        "Materialize"
    }

    fn details(&self) -> String {
        match &self.key {
            RowKey::Unique(columns) => format!("key ({})", columns.iter().map(|c| self.schema.field(*c).name().as_str()).collect::<Vec<_>>().join(", ")),
            RowKey::Row => "key: the whole row".to_string(),
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
        vec![StateTable { id: self.rows, what: "rows of the view".to_string(), bounded_by: "the view".to_string() }]
    }

    fn build(&self, context: &BuildContext) -> Result<Box<dyn Operator>> {
        let key_columns = if let RowKey::Unique(columns) = &self.key { columns.clone() } else { Vec::new() };
        let types = key_columns.iter().map(|c| self.schema.field(*c).data_type().clone()).collect::<Vec<_>>();
        let sequence = match self.key {
            RowKey::Append => Some(Sequence::open(self.rows, context)?),
            _ => None,
        };
        Ok(Box::new(Running {
            spec: self.clone(),
            key_columns,
            key_codec: Codec::new(&types)?,
            row_codec: codec_of(&self.schema)?,
            sequence,
            pending: RunStack::default(),
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
}

impl Running {
    fn run(&mut self, delta: &Delta) -> Result<Run> {
        let mut rows = Rows::default();
        self.row_codec.encode(delta.batch().columns(), &mut rows)?;
        match &mut self.sequence {
            Some(sequence) => sequence.run(delta, &rows),
            None if self.spec.key == RowKey::Row => {
                let mut run = Run::new(RunKind::Weighted);
                rows.iter().enumerate().for_each(|(i, row)| run.add(row, delta.weight(i)));
                Ok(run.finish())
            }
            None => self.unique(delta, &rows),
        }
    }

    /// All deletions first, so that an update of a key ends as its new row.
    fn unique(&self, delta: &Delta, rows: &Rows) -> Result<Run> {
        let mut keys = Rows::default();
        if self.key_columns.is_empty() {
            rows.iter().for_each(|_| keys.push(&[]));
        } else {
            let columns = self.key_columns.iter().map(|c| Arc::clone(delta.column(*c))).collect::<Vec<ArrayRef>>();
            self.key_codec.encode(&columns, &mut keys)?;
        }
        let mut run = Run::new(RunKind::Unique);
        (0..rows.len()).filter(|i| delta.weight(*i) < 0).for_each(|i| run.delete(keys.row(i)));
        (0..rows.len()).filter(|i| delta.weight(*i) > 0).for_each(|i| run.put(keys.row(i), rows.row(i)));
        Ok(run.finish())
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

    fn checkpoint(&mut self, _generation: Generation, ops: &mut Ops) -> Result<()> {
        std::mem::take(&mut self.pending).iter().for_each(|run| run.write(self.spec.rows, ops));
        if let Some(sequence) = &mut self.sequence {
            sequence.checkpoint(ops);
        }
        Ok(())
    }

    fn memory(&self) -> usize {
        self.pending.size()
    }
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
