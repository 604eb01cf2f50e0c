//! Views read from a snapshot and runs, against a plain map, while checkpoints come and go.

use super::*;
use crate::state::memory::MemoryStore;
use crate::state::store::{Durability, Store};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;

const TABLE: TableId = TableId(3);

/// Key -> row and weight, as a reader must see them.
type Model = BTreeMap<Vec<u8>, (Vec<u8>, i64)>;

struct View {
    kind: RunKind,
    store: MemoryStore,
    snapshot: Arc<dyn Snapshot>,
    stack: RunStack,
    /// Changes since the last checkpoint began.
    unwritten: Vec<Run>,
    under_way: Option<Ops>,
    model: Model,
    sequence: u64,
}

impl View {
    fn new(kind: RunKind) -> View {
        let store = MemoryStore::new();
        let snapshot = store.snapshot();
        View { kind, store, snapshot, stack: RunStack::default(), unwritten: vec![], under_way: None, model: Model::new(), sequence: 0 }
    }

    fn change(&mut self, epoch: u64, rng: &mut StdRng) {
        let mut run = Run::new(self.kind);
        for _ in 0..rng.random_range(0..12) {
            let key = vec![2, rng.random_range(0..30u8)];
            let row = vec![2, rng.random()];
            match self.kind {
                RunKind::Unique if rng.random() => {
                    run.put(&key, &row);
                    self.model.insert(key, (row, 1));
                }
                RunKind::Unique => {
                    run.delete(&key);
                    self.model.remove(&key);
                }
                RunKind::Weighted => {
                    let weight = rng.random_range(-1..3);
                    run.add(&key, weight);
                    self.model.entry(key.clone()).or_insert((key.clone(), 0)).1 += weight;
                    self.model.retain(|_, (_, w)| *w != 0);
                }
                RunKind::Append => {
                    self.sequence += 1;
                    let key = self.sequence.to_be_bytes();
                    run.put(&key, &row);
                    self.model.insert(key.to_vec(), (row, 1));
                }
            }
        }
        let run = run.finish();
        self.unwritten.push(run.clone());
        self.stack.push(Epoch(epoch), run);
    }

    fn begin_checkpoint(&mut self) {
        let mut ops = Ops::default();
        self.unwritten.drain(..).for_each(|run| run.write(TABLE, 0..run.len(), &mut ops));
        self.stack.seal();
        self.under_way = Some(ops);
    }

    fn end_checkpoint(&mut self) {
        if let Some(ops) = self.under_way.take() {
            self.store.write(ops, Durability::Synced).unwrap();
            self.snapshot = self.store.snapshot();
            self.stack.drop_sealed();
        }
    }

    fn read(&self, from: &[u8], to: Option<&[u8]>, batch: usize) -> Vec<(Vec<u8>, i64)> {
        let mut reader = ViewReader::new(TABLE, self.kind, self.snapshot.clone(), &self.stack, from, to);
        let (mut rows, mut weights) = (Rows::default(), Vec::new());
        while reader.next(batch, &mut rows, &mut weights).unwrap() {}
        rows.iter().map(<[u8]>::to_vec).zip(weights).collect()
    }

    fn expected(&self, from: &[u8], to: Option<&[u8]>) -> Vec<(Vec<u8>, i64)> {
        self.model.iter().filter(|(k, _)| &k[..] >= from && to.is_none_or(|to| &k[..] < to)).map(|(_, row)| row.clone()).collect()
    }
}

#[test]
fn a_reader_sees_snapshot_and_runs_as_one() {
    for (seed, kind) in (0..20).flat_map(|seed| [RunKind::Unique, RunKind::Weighted, RunKind::Append].map(|kind| (seed, kind))) {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut view = View::new(kind);
        for epoch in 0..80 {
            match rng.random_range(0..8) {
                0 if view.under_way.is_none() => view.begin_checkpoint(),
                1 => view.end_checkpoint(),
                _ => view.change(epoch, &mut rng),
            }
            let (a, b) = ([2, rng.random_range(0..30u8)], [2, rng.random_range(0..30u8)]);
            let batch = rng.random_range(1..50);
            assert_eq!(view.read(&[], None, batch), view.expected(&[], None), "{kind:?}, seed {seed}, epoch {epoch}");
            if kind != RunKind::Append {
                let to = Some(&b[..]).filter(|b| **b > a[..]);
                assert_eq!(view.read(&a, to, batch), view.expected(&a, to), "{kind:?} from {a:?} to {to:?}");
            }
        }
    }
}

#[test]
fn a_view_with_many_runs_keeps_few() {
    let mut rng = StdRng::seed_from_u64(1);
    let mut view = View::new(RunKind::Unique);
    (0..500).for_each(|epoch| view.change(epoch, &mut rng));
    assert!(view.stack.iter().count() <= 10, "{} runs", view.stack.iter().count());
    let held = view.stack.clone();
    view.begin_checkpoint();
    view.end_checkpoint();
    assert_eq!(view.stack.iter().count(), 0);
    assert!(held.size() > 0, "a reader keeps the runs it began with");
}

#[test]
fn single_keys_are_found_as_a_scan_finds_them() {
    for seed in 0..20 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut view = View::new(RunKind::Unique);
        for epoch in 0..60 {
            match rng.random_range(0..6) {
                0 if view.under_way.is_none() => view.begin_checkpoint(),
                1 => view.end_checkpoint(),
                _ => view.change(epoch, &mut rng),
            }
            let mut keys: Vec<Vec<u8>> = (0..rng.random_range(0..12)).map(|_| vec![2, rng.random_range(0..40u8)]).collect();
            keys.sort();
            keys.dedup();
            let asked: Vec<&[u8]> = keys.iter().map(|k| &k[..]).collect();
            let mut rows = Rows::default();
            look_up(TABLE, view.snapshot.as_ref(), &view.stack, &asked, &mut rows).unwrap();
            let expected: Vec<Vec<u8>> = keys.iter().filter_map(|k| view.model.get(k).map(|(row, _)| row.clone())).collect();
            assert_eq!(rows.iter().map(<[u8]>::to_vec).collect::<Vec<_>>(), expected, "seed {seed}, epoch {epoch}");
        }
    }
}
