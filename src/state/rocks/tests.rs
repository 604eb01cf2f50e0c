//! The store's contract, against the store in memory and over reopening.

use super::*;
use crate::state::memory::MemoryStore;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Writes of this size are ingested here.
const LARGE: usize = 4096;

type Rows = Vec<(Vec<u8>, Vec<u8>)>;

fn open(dir: &tempfile::TempDir) -> Arc<RocksStore> {
    RocksStore::open(dir.path(), &RocksOptions { ingest_bytes: LARGE, ..RocksOptions::default() }).unwrap()
}

fn scanned(from: &[u8], to: &[u8], scan: impl FnOnce(&[u8], &[u8], &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<()>) -> Rows {
    let mut rows = Vec::new();
    scan(from, to, &mut |k, v| {
        rows.push((k.to_vec(), v.to_vec()));
        true
    })
    .unwrap();
    rows
}

fn all(store: &dyn Snapshot) -> Rows {
    // The version record is the store's own.
    let below = scanned(&[0], VERSION_KEY, |from, to, each| store.scan(from, to, each));
    [below, scanned(&after_prefix(VERSION_KEY), &[0xFE], |from, to, each| store.scan(from, to, each))].concat()
}

fn group(table: u8, hash: u8) -> Vec<u8> {
    [&[space::MULTISET, 0, 0, 0, table, hash][..], &[hash; 8], &[0, 0, 0, 1, hash]].concat()
}

fn random_ops(rng: &mut StdRng, large: bool) -> Ops {
    let mut ops = Ops::default();
    for _ in 0..rng.random_range(1..60) {
        let n = rng.random_range(0..20u8);
        match rng.random_range(0..10) {
            0..5 => ops.merge(&[&group(n % 2, n % 5)[..], &[n]].concat(), rng.random_range(-2..3)),
            5 => ops.merge(&[space::VIEW, 0, 0, 0, 1, n], rng.random_range(-1..2)),
            6 => ops.put(&[space::KEYED, 0, 0, 0, 1, n, n], &[n, rng.random()]),
            7 => ops.delete(&[space::KEYED, 0, 0, 0, 1, n, n]),
            8 => ops.put(&[space::RECORD, n], &[rng.random()]),
            _ => ops.delete(&[space::EPOCH_LOG, 0, 0, 0, 0, 0, 0, 0, n]),
        }
    }
    if rng.random_range(0..3) == 0 {
        let (a, b) = (rng.random_range(0..20u8), rng.random_range(0..20u8));
        ops.delete_range(&[space::KEYED, 0, 0, 0, 1, a.min(b)], &[space::KEYED, 0, 0, 0, 1, a.max(b)]);
        ops.delete_range(&group(0, a % 5), &after_prefix(&group(0, a % 5)));
    }
    if large {
        let filler: Vec<u8> = (0..LARGE).map(|i| (i * 7919 / 256) as u8).collect();
        ops.put(&[space::VIEW, 0, 0, 0, 9, rng.random_range(0..2)], &filler);
    }
    ops
}

#[test]
fn agrees_with_the_store_in_memory_over_small_and_large_writes_snapshots_and_reopening() {
    for seed in 0..6 {
        let mut rng = StdRng::seed_from_u64(seed);
        let dir = tempfile::tempdir().unwrap();
        let model = MemoryStore::new();
        for _ in 0..3 {
            let store = open(&dir);
            let mut old = None;
            for step in 0..30 {
                if step % 10 == 0 {
                    old = Some((store.snapshot(), all(&*model.snapshot())));
                }
                let mut log = Ops::default();
                log.put(&[space::EPOCH_LOG, 0, 0, 0, 0, 0, 0, 0, step % 20], b"cut");
                store.write(log.clone(), Durability::Logged).unwrap();
                model.write(log, Durability::Logged).unwrap();
                let ops = random_ops(&mut rng, step % 6 == 5);
                store.write(ops.clone(), if step % 2 == 0 { Durability::Synced } else { Durability::Logged }).unwrap();
                model.write(ops, Durability::Logged).unwrap();
                let (now, expected) = (store.snapshot(), model.snapshot());
                assert!(all(&*now) == all(&*expected), "seed {seed}, step {step}");
                look(&*now, &*expected);
            }
            let (old, expected) = old.unwrap();
            assert!(all(&*old) == expected, "a snapshot does not change");
            assert_eq!(std::fs::read_dir(&store.staging).unwrap().count(), 0, "files are moved");
        }
        let store = open(&dir);
        store.compact();
        assert!(all(&*store.snapshot()) == all(&*model.snapshot()), "compaction changes nothing");
    }
}

/// Point look-ups and prefix scans.
fn look(now: &dyn Snapshot, expected: &dyn Snapshot) {
    let groups: Vec<Vec<u8>> = (0..2).flat_map(|t| (0..7).map(move |h| group(t, h))).collect();
    let prefixes: Vec<&[u8]> = groups.iter().map(Vec::as_slice).collect();
    let keys: Vec<Vec<u8>> = groups.iter().flat_map(|g| (0..20u8).map(move |n| [&g[..], &[n]].concat())).collect();
    let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
    let seen = |snapshot: &dyn Snapshot| {
        let mut seen = Vec::new();
        snapshot.scan_prefixes(&prefixes, &mut |i, k, v| seen.push((i, k.to_vec(), v.to_vec()))).unwrap();
        snapshot.get_many(&keys, &mut |i, v| seen.push((i, vec![], v.to_vec()))).unwrap();
        for g in &prefixes {
            let from = [g, &[5][..]].concat();
            seen.extend(scanned(&from, &after_prefix(g), |from, to, each| snapshot.scan(from, to, each)).into_iter().map(|(k, v)| (0, k, v)));
        }
        seen
    };
    assert_eq!(seen(now), seen(expected));
}

#[test]
fn reads_are_counted_and_a_group_that_is_not_there_costs_none() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let mut ops = Ops::default();
    (0..10).for_each(|n| ops.merge(&[&group(1, 3)[..], &[n]].concat(), 1));
    store.write(ops, Durability::Logged).unwrap();
    let before = store.accesses();
    store.snapshot().scan_prefixes(&[&group(1, 2), &group(1, 3)], &mut |_, _, _| ()).unwrap();
    assert_eq!((before.writes, store.accesses().reads - before.reads), (10, 10));
    let mut n = 0;
    store
        .scan(&group(1, 3), &after_prefix(&group(1, 3)), &mut |_, _| {
            n += 1;
            n < 4
        })
        .unwrap();
    assert_eq!(store.accesses().reads - before.reads, 14);
}

#[test]
fn a_directory_is_opened_once_and_not_by_an_older_program() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let error = RocksStore::open(dir.path(), &RocksOptions::default()).err().unwrap();
    assert_eq!(error.kind(), Kind::InUse);
    assert!(error.message().contains("is in use by another tidewater"), "{error}");
    let mut ops = Ops::default();
    ops.put(VERSION_KEY, &2u32.to_le_bytes());
    store.write(ops, Durability::Synced).unwrap();
    drop(store);
    let error = RocksStore::open(dir.path(), &RocksOptions::default()).err().unwrap();
    assert!(error.message().contains("has format 2, newer than format 1"), "{error}");
}

#[test]
fn a_path_that_is_a_file_and_a_damaged_directory_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, b"x").unwrap();
    assert_eq!(RocksStore::open(&file, &RocksOptions::default()).err().unwrap().kind(), Kind::Io);
    drop(open(&dir));
    let manifest = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().path()).find(|p| p.to_string_lossy().contains("MANIFEST")).unwrap();
    std::fs::write(&manifest, b"damaged, damaged, damaged").unwrap();
    assert_eq!(RocksStore::open(dir.path(), &RocksOptions::default()).err().unwrap().kind(), Kind::DataCorrupted);
}
