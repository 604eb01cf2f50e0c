//! Keyed tables against a plain map, over random interleavings of everything that may happen to them.

use super::*;
use crate::state::memory::MemoryStore;
use crate::state::store::{Durability, Store};
use crate::types::ids::{owner, virtual_node};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// A sum per key; 0 is empty.
#[derive(Default)]
struct Sums(Vec<i64>);

impl SlotValues for Sums {
    fn load(&mut self, slot: Slot, stored: Option<&[u8]>) -> Result<()> {
        self.0.resize(self.0.len().max(slot as usize + 1), 0);
        self.0[slot as usize] = stored.map_or(0, |b| i64::from_le_bytes(b.try_into().unwrap()));
        Ok(())
    }

    fn store(&self, slot: Slot, out: &mut Vec<u8>) -> bool {
        out.extend_from_slice(&self.0[slot as usize].to_le_bytes());
        self.0[slot as usize] != 0
    }

    fn clear(&mut self, slot: Slot) {
        self.0[slot as usize] = i64::MIN; // whoever uses it without `load` is found out
    }

    fn width(&self) -> usize {
        size_of::<i64>()
    }
}

fn context(store: &Arc<Committed>, fresh: bool, cache_entries: Option<usize>) -> TableContext {
    TableContext { store: store.clone(), worker: 0, workers: 1, cache_entries, fresh }
}

fn rows(keys: &[Vec<u8>]) -> (Rows, Vec<u64>) {
    let mut rows = Rows::default();
    keys.iter().for_each(|k| rows.push(k));
    let hashes = rows.iter().map(hash).collect();
    (rows, hashes)
}

/// Adds to keys and returns the sums as they are then.
fn add(table: &mut Keyed, sums: &mut Sums, changes: &[(Vec<u8>, i64)]) -> Vec<i64> {
    let (rows, hashes) = rows(&changes.iter().map(|c| c.0.clone()).collect::<Vec<_>>());
    let mut slots = Vec::new();
    table.resolve(&rows, &hashes, sums, &mut slots).unwrap();
    for (slot, (key, change)) in slots.iter().zip(changes) {
        assert_eq!(table.key(*slot), &key[..]);
        if *change != 0 {
            sums.0[*slot as usize] += change;
            table.touch(*slot);
        }
    }
    slots.iter().map(|s| sums.0[*s as usize]).collect()
}

fn random_key(layout: Layout, open: i64, rng: &mut StdRng) -> Vec<u8> {
    let key = format!("k{}", rng.random_range(0..60)).repeat(if rng.random() { 1 } else { 9 }).into_bytes();
    match layout {
        Layout::Hash => key,
        Layout::Windowed if rng.random_range(0..10) == 0 => [&[0x03][..], &key].concat(),
        Layout::Windowed => [&window_key(open + rng.random_range(1..4i64))[..], &key].concat(),
    }
}

/// One process: what it believes is checked against `model`; at the end it is killed and the model set back to what was committed.
struct World {
    layout: Layout,
    store: MemoryStore,
    committed_model: (i64, BTreeMap<Vec<u8>, i64>),
    /// Handed over, not committed: generation, ops, watermark, model then.
    in_flight: Vec<(Generation, Ops, i64, BTreeMap<Vec<u8>, i64>)>,
    /// Of the generation that is being handed over: what it has been given, watermark, model when it began.
    under_way: Option<(HandOver, i64, BTreeMap<Vec<u8>, i64>)>,
    generation: u32,
}

impl World {
    fn run(&mut self, rng: &mut StdRng, steps: usize) {
        let committed = Committed::new(Arc::new(self.store.clone()), Generation(self.generation));
        let fresh = self.generation == 0;
        let limit = [None, Some(4), Some(1000)][rng.random_range(0..3)];
        let mut table = Keyed::new(TableId(7), self.layout, &context(&committed, fresh, limit));
        let mut sums = Sums::default();
        let (mut watermark, mut model) = self.committed_model.clone();
        for _ in 0..steps {
            self.hand_over(&mut table, &sums, rng.random_range(1..20));
            match rng.random_range(0..12) {
                0..6 => {
                    let changes: Vec<_> = (0..rng.random_range(1..20)).map(|_| (random_key(self.layout, watermark, rng), rng.random_range(-1..2))).collect();
                    changes.iter().for_each(|(k, c)| *model.entry(k.clone()).or_default() += c);
                    let sums_now = add(&mut table, &mut sums, &changes);
                    changes.iter().zip(sums_now).for_each(|((k, _), sum)| assert_eq!(sum, model[k], "{k:?}"));
                    table.trim(&mut sums);
                }
                6 => {
                    self.hand_over(&mut table, &sums, usize::MAX);
                    self.generation += 1;
                    table.checkpoint(Generation(self.generation));
                    self.under_way = Some((HandOver::default(), watermark, model.clone()));
                }
                7..9 if !self.in_flight.is_empty() => {
                    let (generation, ops, watermark, model) = self.in_flight.remove(0);
                    committed.commit(generation, ops, Durability::Logged).unwrap();
                    self.committed_model = (watermark, model);
                    if rng.random() {
                        table.committed(generation); // else it hears of it with a later one
                    }
                }
                9 => table.evict(rng.random_range(0..4000), &mut sums),
                10 if self.layout == Layout::Windowed => {
                    watermark += rng.random_range(0..3i64);
                    close(&mut table, &mut sums, watermark, &mut model);
                }
                _ => table.trim(&mut sums),
            }
        }
        self.under_way = None;
        self.in_flight.clear();
        // A killed process used up its generation numbers.
        self.generation = committed.read().0.0.max(1);
    }

    fn hand_over(&mut self, table: &mut Keyed, sums: &Sums, piece: usize) {
        let Some((handed_over, watermark, model)) = self.under_way.take() else { return };
        match handed_over.piece(piece, |piece| table.hand_over(sums, piece)) {
            ControlFlow::Continue(rest) => self.under_way = Some((rest, watermark, model)),
            ControlFlow::Break(ops) => self.in_flight.push((Generation(self.generation), ops, watermark, model)),
        }
    }
}

fn close(table: &mut Keyed, sums: &mut Sums, upto: i64, model: &mut BTreeMap<Vec<u8>, i64>) {
    let mut closed = Vec::new();
    table
        .close(
            upto,
            sums,
            Some(&mut |key, value| {
                closed.push((key.to_vec(), i64::from_le_bytes(value.try_into().unwrap())));
                Ok(())
            }),
        )
        .unwrap();
    let windows: Vec<_> = closed.iter().map(|(k, _)| window_of_key(k).unwrap()).collect();
    assert!(windows.is_sorted(), "windows close in order");
    closed.sort();
    let is_closed = |k: &[u8]| window_of_key(k).is_some_and(|w| w <= upto);
    let expected: Vec<_> = model.iter().filter(|(k, sum)| is_closed(k) && **sum != 0).map(|(k, sum)| (k.clone(), *sum)).collect();
    assert_eq!(closed, expected, "windows up to {upto}");
    model.retain(|k, _| !is_closed(k));
}

#[test]
fn agrees_with_a_map_over_checkpoints_evictions_and_kills() {
    for (seed, layout) in (0..60).flat_map(|seed| [(seed, Layout::Hash), (seed, Layout::Windowed)]) {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut world = World { layout, store: MemoryStore::new(), committed_model: Default::default(), in_flight: Vec::new(), under_way: None, generation: 0 };
        for _ in 0..4 {
            world.run(&mut rng, 150);
        }
    }
}

#[test]
fn a_new_table_reads_nothing_and_an_evicted_key_is_read_once() {
    for n in [1_000, 100_000] {
        let store = MemoryStore::new();
        let committed = Committed::new(Arc::new(store.clone()), Generation(0));
        let (mut table, mut sums) = (Keyed::new(TableId(1), Layout::Hash, &context(&committed, true, None)), Sums::default());
        let changes: Vec<_> = (0..n).map(|i| (format!("{i}").into_bytes(), 1)).collect();
        add(&mut table, &mut sums, &changes);
        add(&mut table, &mut sums, &changes);
        assert_eq!(store.accesses().reads, 0);
        checkpoint(&mut table, &sums, &committed, 1);
        table.evict(usize::MAX, &mut sums);
        assert_eq!(table.len(), 0);
        add(&mut table, &mut sums, &[(b"5".to_vec(), 1), (b"new".to_vec(), 1), (b"5".to_vec(), 1)]);
        let writes = store.accesses().writes;
        checkpoint(&mut table, &sums, &committed, 2);
        assert_eq!((store.accesses().reads, store.accesses().writes - writes), (2, 2), "at {n} keys");
    }
}

fn checkpoint(table: &mut Keyed, sums: &Sums, committed: &Committed, generation: u32) {
    table.checkpoint(Generation(generation));
    let ops = HandOver::whole(|whole| table.hand_over(sums, whole));
    committed.commit(Generation(generation), ops, Durability::Logged).unwrap();
    table.committed(Generation(generation));
}

#[test]
fn keys_that_came_and_went_leave_nothing_in_memory_or_on_disk() {
    let store = MemoryStore::new();
    let committed = Committed::new(Arc::new(store.clone()), Generation(0));
    let (mut table, mut sums) = (Keyed::new(TableId(1), Layout::Hash, &context(&committed, true, None)), Sums::default());
    for generation in 1..20 {
        let key = |n: u32| format!("{n}").into_bytes();
        add(&mut table, &mut sums, &[(key(generation), 1), (key(generation - 1), -1), (key(1000 + generation), 1), (key(1000 + generation), -1)]);
        table.trim(&mut sums);
        checkpoint(&mut table, &sums, &committed, generation);
    }
    table.trim(&mut sums);
    assert_eq!((table.len(), store.entries(&[]), store.accesses().reads), (2, 2, 0));
}

#[test]
fn after_a_restart_with_fewer_workers_windows_close_with_all_their_entries() {
    let store = MemoryStore::new();
    let committed = Committed::new(Arc::new(store.clone()), Generation(0));
    let keys: Vec<Vec<u8>> = (0..100).map(|i| [&window_key(i % 3)[..], format!("{i}").as_bytes()].concat()).collect();
    let mut ops = Ops::default();
    for worker in 0..2 {
        let mut table = Keyed::new(TableId(1), Layout::Windowed, &TableContext { worker, workers: 2, ..context(&committed, true, None) });
        let mut sums = Sums::default();
        let mine: Vec<_> = keys.iter().filter(|k| owner(virtual_node(hash(k)), 2) == worker).map(|k| (k.clone(), 1)).collect();
        add(&mut table, &mut sums, &mine);
        table.checkpoint(Generation(1));
        ops.append(HandOver::whole(|whole| table.hand_over(&sums, whole)));
    }
    committed.commit(Generation(1), ops, Durability::Synced).unwrap();
    let (mut table, mut sums) = (Keyed::new(TableId(1), Layout::Windowed, &context(&committed, false, None)), Sums::default());
    let mut model: BTreeMap<Vec<u8>, i64> = keys.iter().map(|k| (k.clone(), 1)).collect();
    close(&mut table, &mut sums, 1, &mut model);
    assert_eq!(add(&mut table, &mut sums, &[(keys[2].clone(), 1)]), [2]);
    checkpoint(&mut table, &sums, &committed, 2);
    assert_eq!(store.entries(&[]), 33);
    close(&mut table, &mut sums, i64::MAX, &mut BTreeMap::from_iter(keys.iter().skip(2).step_by(3).map(|k| (k.clone(), if *k == keys[2] { 2 } else { 1 }))));
    checkpoint(&mut table, &sums, &committed, 3);
    assert_eq!(store.entries(&[]), 0);
}

#[test]
fn a_failed_read_can_be_tried_again() {
    let store = MemoryStore::new();
    let committed = Committed::new(Arc::new(store.clone()), Generation(0));
    let (mut table, mut sums) = (Keyed::new(TableId(1), Layout::Hash, &context(&committed, true, None)), Sums::default());
    add(&mut table, &mut sums, &[(b"a".to_vec(), 5)]);
    checkpoint(&mut table, &sums, &committed, 1);
    table.evict(usize::MAX, &mut sums);
    store.fail_reads(Some(crate::error::Kind::Io));
    let (rows, hashes) = rows(&[b"a".to_vec()]);
    assert!(table.resolve(&rows, &hashes, &mut sums, &mut Vec::new()).is_err());
    store.fail_reads(None);
    assert_eq!(add(&mut table, &mut sums, &[(b"a".to_vec(), 1)]), [6]);
}
