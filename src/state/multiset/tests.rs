//! Multisets against a plain map of maps, over random interleavings of everything that may happen to them.

use super::*;
use crate::state::memory::MemoryStore;
use crate::state::store::{Durability, Store};
use crate::types::key::{hash, window_key};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::ops::ControlFlow;

type Model = BTreeMap<Vec<u8>, BTreeMap<Vec<u8>, i64>>;

fn context(store: &Arc<Committed>, fresh: bool, cache_entries: Option<usize>) -> TableContext {
    TableContext { store: store.clone(), worker: 0, workers: 1, cache_entries, fresh }
}

fn resolve(table: &mut Multiset, keys: &[Vec<u8>]) -> Vec<Slot> {
    let mut rows = Rows::default();
    keys.iter().for_each(|k| rows.push(k));
    let hashes: Vec<u64> = rows.iter().map(hash).collect();
    let mut slots = Vec::new();
    table.resolve(&rows, &hashes, &mut slots);
    slots
}

fn expected(model: &Model, key: &[u8]) -> Vec<(Vec<u8>, i64)> {
    model.get(key).into_iter().flatten().map(|(row, weight)| (row.clone(), *weight)).collect()
}

struct World {
    layout: Layout,
    /// Rows per key: few, or enough for partly known groups and trees.
    rows: u32,
    store: MemoryStore,
    committed_model: (i64, Model),
    in_flight: Vec<(Generation, Ops, i64, Model)>,
    /// Of the generation that is being handed over: what it has been given, watermark, model when it began.
    under_way: Option<(HandOver, i64, Model)>,
    generation: u32,
}

impl World {
    fn key(&self, open: i64, rng: &mut StdRng) -> Vec<u8> {
        let key = vec![b'k'; rng.random_range(0..6)];
        match self.layout {
            Layout::Hash => key,
            Layout::Windowed if rng.random_range(0..10) == 0 => [&[0x03][..], &key].concat(),
            Layout::Windowed => [&window_key(open + rng.random_range(1..4i64))[..], &key].concat(),
        }
    }

    fn run(&mut self, rng: &mut StdRng, steps: usize) {
        let committed = Committed::new(Arc::new(self.store.clone()), Generation(self.generation));
        let limit = [None, Some(2), Some(1000)][rng.random_range(0..3)];
        let mut table = Multiset::new(TableId(7), self.layout, &context(&committed, self.generation == 0, limit));
        let (mut watermark, mut model) = self.committed_model.clone();
        for _ in 0..steps {
            self.hand_over(&mut table, rng.random_range(1..20));
            match rng.random_range(0..14) {
                0..5 => self.add(&mut table, &mut model, watermark, rng),
                5 | 6 => self.look(&mut table, &model, watermark, rng),
                7 => {
                    self.hand_over(&mut table, usize::MAX);
                    self.generation += 1;
                    table.checkpoint(Generation(self.generation));
                    self.under_way = Some((HandOver::default(), watermark, model.clone()));
                }
                8..10 if !self.in_flight.is_empty() => {
                    let (generation, ops, watermark, model) = self.in_flight.remove(0);
                    committed.commit(generation, ops, Durability::Logged).unwrap();
                    self.committed_model = (watermark, model);
                    if rng.random() {
                        table.committed(generation); // else it hears of it with a later one
                    }
                }
                10 => table.evict(rng.random_range(0..4000)),
                11 if self.layout == Layout::Windowed => {
                    watermark += rng.random_range(0..3i64);
                    table.close(watermark);
                    model.retain(|k, _| window_of_key(k).is_none_or(|w| w > watermark));
                }
                _ => table.trim(),
            }
        }
        self.under_way = None;
        self.in_flight.clear();
        self.generation = committed.read().0.0.max(1);
    }

    fn hand_over(&mut self, table: &mut Multiset, piece: usize) {
        let Some((handed_over, watermark, model)) = self.under_way.take() else { return };
        match handed_over.piece(piece, |piece| table.hand_over(piece)) {
            ControlFlow::Continue(rest) => self.under_way = Some((rest, watermark, model)),
            ControlFlow::Break(ops) => self.in_flight.push((Generation(self.generation), ops, watermark, model)),
        }
    }

    fn add(&self, table: &mut Multiset, model: &mut Model, watermark: i64, rng: &mut StdRng) {
        let keys: Vec<_> = (0..rng.random_range(1..40)).map(|_| self.key(watermark, rng)).collect();
        for (key, slot) in keys.iter().zip(resolve(table, &keys)) {
            assert_eq!(table.key(slot), key);
            let group = model.entry(key.clone()).or_default();
            let row = format!("row {}", rng.random_range(0..self.rows)).into_bytes();
            let old = group.get(&row).copied().unwrap_or(0);
            let weight = if old > 0 && rng.random() { -old } else { rng.random_range(-1..3) };
            table.add(slot, &row, weight);
            *group.entry(row).or_default() += weight;
            group.retain(|_, w| *w != 0);
        }
        if rng.random() {
            table.trim();
        }
    }

    fn look(&self, table: &mut Multiset, model: &Model, watermark: i64, rng: &mut StdRng) {
        let keys: Vec<_> = (0..4).map(|_| self.key(watermark, rng)).collect();
        let slots = resolve(table, &keys);
        if rng.random_range(0..3) == 0 {
            self.look_around(table, model, &keys, &slots, rng);
        } else if rng.random() {
            table.load(&slots).unwrap();
            for (key, slot) in keys.iter().zip(slots) {
                let rows: Vec<_> = table.rows(slot).map(|(row, w)| (row.to_vec(), w)).collect();
                assert_eq!(rows, expected(model, key), "all of {key:?}");
            }
        } else {
            let n = rng.random_range(1..50);
            for (key, slot) in keys.iter().zip(slots) {
                let mut rows = Vec::new();
                table
                    .first(slot, &mut |row, w| {
                        rows.push((row.to_vec(), w));
                        rows.len() < n
                    })
                    .unwrap();
                let expected: Vec<_> = expected(model, key).into_iter().take(n).collect();
                assert_eq!(rows, expected, "the first {n} of {key:?}");
            }
        }
    }
}

impl World {
    /// Rows before and behind some row.
    fn look_around(&self, table: &mut Multiset, model: &Model, keys: &[Vec<u8>], slots: &[Slot], rng: &mut StdRng) {
        for (key, slot) in keys.iter().zip(slots) {
            let (n, from) = (rng.random_range(1..50), format!("row {}", rng.random_range(0..self.rows)).into_bytes());
            let mut found = Vec::new();
            let mut each = |row: &[u8], w: i64| {
                found.push((row.to_vec(), w));
                found.len() < n
            };
            let is_back: bool = rng.random();
            if is_back {
                table.backward(*slot, &from, &mut each).unwrap()
            } else {
                table.forward(*slot, &from, &mut each).unwrap()
            }
            let mut expected = expected(model, key);
            expected.retain(|(row, _)| (*row < from) == is_back);
            if is_back {
                expected.reverse();
            }
            expected.truncate(n);
            assert_eq!(found, expected, "{n} of {key:?} from {from:?}, back: {is_back}");
        }
    }
}

#[test]
fn agrees_with_a_map_over_checkpoints_evictions_and_kills() {
    for (seed, layout, rows) in (0..40).flat_map(|seed| [(seed, Layout::Hash, 5), (seed, Layout::Windowed, 5), (seed, Layout::Hash, 500)]) {
        let mut rng = StdRng::seed_from_u64(seed);
        let store = MemoryStore::new();
        let mut world = World { layout, rows, store, committed_model: Default::default(), in_flight: Vec::new(), under_way: None, generation: 0 };
        for _ in 0..4 {
            world.run(&mut rng, 200);
        }
    }
}

fn checkpoint(table: &mut Multiset, committed: &Committed, generation: u32) {
    table.checkpoint(Generation(generation));
    let ops = HandOver::whole(|whole| table.hand_over(whole));
    committed.commit(Generation(generation), ops, Durability::Logged).unwrap();
    table.committed(Generation(generation));
}

#[test]
fn the_first_rows_of_many_cost_no_more_than_those_of_few() {
    for n in [1_000, 100_000] {
        let store = MemoryStore::new();
        let committed = Committed::new(Arc::new(store.clone()), Generation(0));
        let mut table = Multiset::new(TableId(1), Layout::Hash, &context(&committed, true, None));
        let slot = resolve(&mut table, &[b"group".to_vec()])[0];
        (0..n).for_each(|i| table.add(slot, format!("{i:09}").as_bytes(), 1));
        checkpoint(&mut table, &committed, 1);
        assert_eq!(store.accesses().reads, 0);
        table.evict(usize::MAX);
        assert_eq!((table.len(), table.row_bytes), (0, 0));
        let slot = resolve(&mut table, &[b"group".to_vec()])[0];
        table.add(slot, b"000000000", -1);
        table.add(slot, b"0000000005", 1);
        let mut rows = Vec::new();
        table
            .first(slot, &mut |row, _| {
                rows.push(String::from_utf8(row.to_vec()).unwrap());
                rows.len() < 3
            })
            .unwrap();
        assert_eq!(rows, ["0000000005", "000000001", "000000002"]);
        assert_eq!(store.accesses().reads, FIRST_STEP as u64, "at {n} rows");
        let writes = store.accesses().writes;
        checkpoint(&mut table, &committed, 2);
        assert_eq!(store.accesses().writes - writes, 2);
    }
}

#[test]
fn rows_around_one_cost_no_more_among_many() {
    for n in [1_000, 100_000] {
        let store = MemoryStore::new();
        let committed = Committed::new(Arc::new(store.clone()), Generation(0));
        let mut table = Multiset::new(TableId(1), Layout::Hash, &context(&committed, true, None));
        let slot = resolve(&mut table, &[b"group".to_vec()])[0];
        (0..n).for_each(|i| table.add(slot, format!("{i:09}").as_bytes(), 1));
        checkpoint(&mut table, &committed, 1);
        table.evict(usize::MAX);
        let slot = resolve(&mut table, &[b"group".to_vec()])[0];
        let middle = format!("{:09}", n / 2).into_bytes();
        table.add(slot, &middle, -1);
        let mut rows = Vec::new();
        let mut each = |row: &[u8], _: i64| {
            rows.push(String::from_utf8(row.to_vec()).unwrap().parse::<i64>().unwrap() - n / 2);
            rows.len() % 2 != 0
        };
        table.backward(slot, &middle, &mut each).unwrap();
        table.forward(slot, &middle, &mut each).unwrap();
        assert_eq!(rows, [-1, -2, 1, 2]);
        assert_eq!(store.accesses().reads, 2 * FIRST_STEP as u64, "at {n} rows");
    }
}

#[test]
fn groups_that_came_and_went_or_were_only_asked_for_leave_nothing() {
    let store = MemoryStore::new();
    let committed = Committed::new(Arc::new(store.clone()), Generation(0));
    let mut table = Multiset::new(TableId(1), Layout::Hash, &context(&committed, true, None));
    for generation in 1..10 {
        let slots = resolve(&mut table, &[vec![generation as u8], vec![100], vec![200, generation as u8]]);
        table.add(slots[0], b"row", 1);
        table.add(slots[1], b"row", 1);
        table.trim();
        let slots = resolve(&mut table, &[vec![generation as u8]]);
        table.add(slots[0], b"row", -1);
        table.trim();
        checkpoint(&mut table, &committed, generation);
    }
    table.trim();
    assert_eq!((table.len(), store.entries(&[]), store.accesses().reads), (1, 1, 0));
}

#[test]
fn windows_closed_after_a_restart_are_deleted_even_if_nobody_looked_at_them() {
    let store = MemoryStore::new();
    let committed = Committed::new(Arc::new(store.clone()), Generation(0));
    let mut table = Multiset::new(TableId(1), Layout::Windowed, &context(&committed, true, None));
    for slot in resolve(&mut table, &(0..5).map(|w| window_key(w).to_vec()).collect::<Vec<_>>()) {
        table.add(slot, b"row", 1);
    }
    checkpoint(&mut table, &committed, 1);
    let mut table = Multiset::new(TableId(1), Layout::Windowed, &context(&committed, false, None));
    table.close(2);
    checkpoint(&mut table, &committed, 2);
    assert_eq!(store.entries(&[]), 2);
}
