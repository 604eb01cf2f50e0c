//! A scan that goes on over later and later epochs: what it gives out, with the changes of what it had taken, is the relation as it is at the end. For all
//! three kinds of keys, under random changes, checkpoints and restarts.

use super::*;
use crate::state::checkpoint::Ops;
use crate::state::memory::MemoryStore;
use crate::state::store::{Durability, Store};
use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use std::collections::BTreeMap;

const TABLE: TableId = TableId(7);

struct World {
    kind: RunKind,
    store: MemoryStore,
    snapshot: Arc<dyn Snapshot>,
    rows: RelationRows,
    /// Runs since the last checkpoint.
    pending: Vec<Run>,
    /// (k, v) -> how often.
    model: BTreeMap<(i64, i64), i64>,
    sequences: [u64; 3],
    epoch: u64,
    seed: u64,
}

impl World {
    fn new(kind: RunKind, seed: u64) -> World {
        let schema = Arc::new(Schema::new(vec![Field::new("k", DataType::Int64, false), Field::new("v", DataType::Int64, false)]));
        let key = if kind == RunKind::Unique { vec![0] } else { Vec::new() };
        let store = MemoryStore::new();
        let snapshot = store.snapshot();
        let rows = RelationRows::new(Layout::of_relation(TABLE, kind, &key, schema).unwrap(), None);
        World { kind, store, snapshot, rows, pending: Vec::new(), model: BTreeMap::new(), sequences: [0; 3], epoch: 0, seed }
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.seed >> 33) % bound
    }

    fn delta(&self, rows: &[(i64, i64, i64)]) -> Delta {
        let column = |f: fn(&(i64, i64, i64)) -> i64| Arc::new(rows.iter().map(f).collect::<Int64Array>()) as ArrayRef;
        let batch = RecordBatch::try_new(self.rows.schema().clone(), vec![column(|r| r.0), column(|r| r.1)]).unwrap();
        Delta::new(batch, rows.iter().map(|r| r.2).collect::<Vec<_>>())
    }

    /// One epoch's changes, of up to five keys.
    fn change(&mut self) -> Delta {
        let mut rows = Vec::new();
        for _ in 0..=self.below(5) {
            let (k, v) = (self.below(40) as i64, self.below(3) as i64);
            let old = self.model.iter().find(|((key, _), _)| *key == k).map(|(row, _)| *row);
            let changes = match (self.kind, old) {
                (RunKind::Append, _) | (_, None) => vec![(k, v, 1)],
                (RunKind::Weighted, Some(row)) if v == 0 => vec![(row.0, row.1, -1)],
                (RunKind::Weighted, Some(_)) => vec![(k, v, 1)],
                (RunKind::Unique, Some(row)) if v == 0 => vec![(row.0, row.1, -1)],
                (RunKind::Unique, Some(row)) => vec![(row.0, row.1, -1), (k, v, 1)],
            };
            for (k, v, weight) in changes {
                *self.model.entry((k, v)).or_default() += weight;
                rows.push((k, v, weight));
            }
            self.model.retain(|_, w| *w != 0);
        }
        let delta = self.delta(&rows);
        self.store_run(&delta);
        delta
    }

    fn store_run(&mut self, delta: &Delta) {
        let mut run = Run::new(self.kind);
        let (mut keys, mut rows) = (Rows::default(), Rows::default());
        Codec::new(&[DataType::Int64]).unwrap().encode(&delta.batch().columns()[..1], &mut keys).unwrap();
        Codec::rows(&[DataType::Int64, DataType::Int64]).unwrap().encode(delta.batch().columns(), &mut rows).unwrap();
        let writer = self.below(3) as usize;
        for i in 0..delta.rows() {
            match self.kind {
                RunKind::Unique if delta.weight(i) < 0 => run.delete(keys.row(i)),
                RunKind::Unique => run.put(keys.row(i), rows.row(i)),
                RunKind::Weighted => run.add(rows.row(i), delta.weight(i)),
                RunKind::Append => {
                    let sequence = self.sequences[writer];
                    run.put(&[&(writer as u16).to_be_bytes()[..], &sequence.to_be_bytes()].concat(), rows.row(i));
                    self.sequences[writer] += 1;
                }
            }
        }
        let run = run.finish();
        self.pending.push(run.clone());
        self.epoch += 1;
        self.rows.push(Epoch(self.epoch), run);
    }

    fn checkpoint(&mut self) {
        for run in std::mem::take(&mut self.pending) {
            let mut ops = Ops::default();
            run.write(TABLE, 0..run.len(), &mut ops);
            self.store.write(ops, Durability::Synced).unwrap();
        }
        self.rows.seal();
        self.rows.drop_sealed();
        self.snapshot = self.store.snapshot();
    }
}

fn add(sum: &mut BTreeMap<(i64, i64), i64>, delta: &Delta) {
    let column = |i: usize| delta.column(i).as_primitive::<Int64Type>().clone();
    let (k, v) = (column(0), column(1));
    for row in 0..delta.rows() {
        *sum.entry((k.value(row), v.value(row))).or_default() += delta.weight(row);
    }
    sum.retain(|_, w| *w != 0);
}

/// Scans `world` while it changes, and goes on over a newer epoch now and then.
fn scan_while_it_changes(world: &mut World) -> BTreeMap<(i64, i64), i64> {
    let (mut sum, mut tapped) = (BTreeMap::new(), Vec::new());
    let mut scan = world.rows.scan(world.snapshot.clone());
    loop {
        let turn = world.below(6);
        match turn {
            // Not for ever: rows may come faster than they are scanned.
            0 | 1 if world.epoch < 80 => tapped.push(world.change()),
            2 => world.checkpoint(),
            3 => {
                // As a checkpoint does, or a restart, which knows only what is durable.
                let taken: Taken = serde_json::from_slice(&serde_json::to_vec(&scan.taken()).unwrap()).unwrap();
                for delta in tapped.drain(..) {
                    if let Some(part) = world.rows.taken_part(&delta, &taken).unwrap() {
                        add(&mut sum, &part);
                    }
                }
                scan = world.rows.scan_behind(world.snapshot.clone(), &taken);
            }
            _ => match scan.next(1 + turn as usize % 2).unwrap() {
                Some(delta) => add(&mut sum, &delta),
                None => break,
            },
        }
    }
    tapped.iter().for_each(|delta| add(&mut sum, delta));
    sum
}

#[test]
fn a_scan_that_goes_on_over_later_epochs_gives_the_relation_as_it_is() {
    for kind in [RunKind::Unique, RunKind::Weighted, RunKind::Append] {
        for seed in 0..300 {
            let mut world = World::new(kind, seed);
            for _ in 0..20 {
                world.change();
            }
            let sum = scan_while_it_changes(&mut world);
            assert_eq!(sum, world.model, "{kind:?}, seed {seed}");
        }
    }
}
