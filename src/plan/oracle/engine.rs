//! Runs a fragment on one thread over a store in memory: epochs, checkpoints, evictions, crashes with replay.

use super::world::Cut;
use crate::dataflow::check::checked;
use crate::dataflow::operator::{BuildContext, Fragment, FragmentNode, Input, Operator, Output};
use crate::error::Result;
use crate::state::checkpoint::{Generation, HandOver};
use crate::state::committed::Committed;
use crate::state::memory::MemoryStore;
use crate::state::store::Durability;
use crate::types::delta::Delta;
use crate::types::time::{Epoch, Step};
use arrow::datatypes::SchemaRef;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

/// Text of a row -> how often it is there.
pub type Rows = BTreeMap<String, i64>;

/// Changes what a node gives out: a seeded bug.
pub type Bug = Box<dyn FnMut(&FragmentNode, &mut Output)>;

pub struct Engine {
    fragment: Fragment,
    store: Arc<Committed>,
    cache_entries: Option<usize>,
    operators: Vec<Box<dyn Operator>>,
    generation: Generation,
    /// Epochs since the last committed checkpoint, and what the view held after each.
    since: Vec<(Cut, Epoch, Rows)>,
    pub rows: Rows,
    pub late: i64,
    /// What the view held at that checkpoint, and the late rows until then.
    stored: (Rows, i64),
    under_way: Option<UnderWay>,
    pub errors: Vec<(&'static str, String)>,
    pub bug: Option<Bug>,
}

/// A checkpoint that is handed over a piece after each epoch.
struct UnderWay {
    handed_over: HandOver,
    stored: (Rows, i64),
    /// How many of the epochs in `since` it contains.
    epochs: usize,
}

/// Operations of a piece: few, so that a checkpoint takes several epochs.
const PIECE: usize = 20;

impl Engine {
    pub fn new(fragment: Fragment, cache_entries: Option<usize>) -> Result<Engine> {
        let mut engine = Engine {
            fragment,
            store: Committed::new(Arc::new(MemoryStore::new()), Generation(0)),
            cache_entries,
            operators: Vec::new(),
            generation: Generation(0),
            since: Vec::new(),
            rows: Rows::new(),
            late: 0,
            stored: (Rows::new(), 0),
            under_way: None,
            errors: Vec::new(),
            bug: None,
        };
        engine.build(true)?;
        Ok(engine)
    }

    fn build(&mut self, fresh: bool) -> Result<()> {
        let context = BuildContext { store: Arc::clone(&self.store), worker: 0, workers: 1, cache_entries: self.cache_entries, fresh, checks: false };
        let relations = super::world::relations();
        let mut outputs: Vec<(SchemaRef, bool)> = Vec::new();
        self.operators.clear();
        for node in &self.fragment.nodes {
            let port = |input: &Input| match input {
                Input::Node(n) => outputs[n.0 as usize].clone(),
                Input::Relation(id) => relations.iter().find(|r| r.id == *id).map(|r| (r.schema.clone(), r.append_only)).unwrap(),
                Input::Port(_) => unreachable!("a view's own nodes read nodes and relations"),
            };
            let inputs = node.inputs.iter().map(port).collect::<Vec<_>>();
            let append_only = node.spec.append_only(&inputs.iter().map(|(_, a)| *a).collect::<Vec<_>>());
            outputs.push((node.spec.schema(), append_only));
            self.operators.push(checked(node.spec.as_ref(), inputs, node.spec.build(&context)?));
        }
        Ok(())
    }

    pub fn epoch(&mut self, epoch: Epoch, cut: &Cut) -> Result<()> {
        self.run(epoch, cut)?;
        self.since.push((cut.clone(), epoch, self.rows.clone()));
        self.hand_over(PIECE)
    }

    fn run(&mut self, epoch: Epoch, cut: &Cut) -> Result<()> {
        let step = Step { epoch, clock: cut.clock, before: cut.before.clone(), after: cut.after.clone() };
        let mut outputs: Vec<Vec<Delta>> = Vec::new();
        for (node, operator) in self.fragment.nodes.iter().zip(&mut self.operators) {
            let port = |input: &Input| match input {
                Input::Node(n) => outputs[n.0 as usize].clone(),
                Input::Relation(r) => cut.deltas.get(r).cloned().unwrap_or_default(),
                Input::Port(_) => unreachable!("a view's own nodes read nodes and relations"),
            };
            let mut inputs = node.inputs.iter().map(port).collect::<Vec<_>>();
            let mut out = Output::default();
            operator.apply(&step, &mut inputs, &mut out)?;
            if let Some(bug) = &mut self.bug {
                bug(node, &mut out);
            }
            self.late += out.late.iter().map(|l| l.rows.rows() as i64).sum::<i64>();
            self.errors.extend(out.errors.into_iter().flat_map(|e| e.errors));
            outputs.push(out.deltas);
        }
        for delta in outputs.last().into_iter().flatten() {
            for (i, row) in texts(delta.batch()).into_iter().enumerate() {
                let weight = self.rows.entry(row).or_default();
                *weight += delta.weight(i);
            }
        }
        self.rows.retain(|_, w| *w != 0);
        Ok(())
    }

    /// Begins a checkpoint; the epochs that follow are run while it is handed over.
    pub fn checkpoint(&mut self) -> Result<()> {
        self.hand_over(usize::MAX)?;
        self.generation = Generation(self.generation.0 + 1);
        self.operators.iter_mut().for_each(|o| o.state(&mut |kept| kept.checkpoint(self.generation)));
        self.under_way = Some(UnderWay { handed_over: HandOver::default(), stored: (self.rows.clone(), self.late), epochs: self.since.len() });
        Ok(())
    }

    /// A piece of the checkpoint under way, which is committed with its last one.
    fn hand_over(&mut self, piece: usize) -> Result<()> {
        let Some(UnderWay { handed_over, stored, epochs }) = self.under_way.take() else { return Ok(()) };
        match handed_over.piece(piece, |piece| self.operators.iter_mut().for_each(|o| o.state(&mut |kept| kept.hand_over(piece)))) {
            ControlFlow::Continue(handed_over) => self.under_way = Some(UnderWay { handed_over, stored, epochs }),
            ControlFlow::Break(mut ops) => {
                ops.sort();
                self.store.commit(self.generation, ops, Durability::Synced)?;
                self.operators.iter_mut().for_each(|o| o.state(&mut |kept| kept.committed(self.generation)));
                self.since.drain(..epochs);
                self.stored = stored;
            }
        }
        Ok(())
    }

    pub fn evict(&mut self) {
        self.operators.iter_mut().for_each(|o| o.state(&mut |kept| kept.evict(usize::MAX / 2)));
    }

    /// Forgets what is in memory, and replays the epochs since the checkpoint: each shows the same rows again. The error names the first that does not.
    pub fn crash(&mut self) -> Result<(), String> {
        let since = std::mem::take(&mut self.since);
        (self.rows, self.late) = self.stored.clone();
        self.under_way = None;
        self.generation = self.store.read().0;
        self.build(self.generation == Generation(0)).map_err(|e| e.to_string())?;
        for (cut, epoch, rows) in since {
            self.epoch(epoch, &cut).map_err(|e| e.to_string())?;
            if self.rows != rows {
                return Err(format!("epoch {epoch} was replayed as\n{:#?}\nafter it was shown as\n{rows:#?}", self.rows));
            }
        }
        Ok(())
    }
}

/// Rows as text; floats to 9 digits, for a batch sum adds in another order.
pub fn texts(batch: &arrow::array::RecordBatch) -> Vec<String> {
    use arrow::array::{Array, AsArray};
    let mut texts = crate::types::pretty::rows(batch).unwrap();
    let is_float = |f: &arrow::datatypes::FieldRef| f.data_type() == &arrow::datatypes::DataType::Float64;
    for (column, _) in batch.columns().iter().zip(batch.schema().fields()).filter(|(_, f)| is_float(f)) {
        let values = column.as_primitive::<arrow::datatypes::Float64Type>();
        for (row, text) in texts.iter_mut().enumerate().filter(|(row, _)| values.is_valid(*row)) {
            let exact = values.value(row).to_string();
            *text = text.replacen(&exact, "", 1);
            text.push_str(&format!(" ~{:.9}", values.value(row)));
        }
    }
    texts
}
