//! Logs over a reopened store, and the thread that commits.

use super::*;
use crate::error::Kind;
use crate::state::memory::MemoryStore;

fn logs(store: &MemoryStore) -> Logs {
    Logs::new(Arc::new(store.clone())).unwrap()
}

#[test]
fn cuts_come_back_in_order_behind_the_checkpoint() {
    let store = MemoryStore::new();
    let before = logs(&store);
    (1..=300).for_each(|e| before.append_cut(Epoch(e), &e.to_be_bytes()).unwrap());
    let after = logs(&store);
    let cuts = after.cuts_after(Epoch(298)).unwrap();
    assert_eq!(cuts, [299u64.to_be_bytes(), 300u64.to_be_bytes()]);
    let mut ops = Ops::default();
    after.trim_epochs(Epoch(298), &mut ops);
    store.write(ops, Durability::Synced).unwrap();
    assert_eq!(store.entries(&[space::EPOCH_LOG]), 2);
    // What is trimmed once is not trimmed again.
    let mut ops = Ops::default();
    after.trim_epochs(Epoch(299), &mut ops);
    assert_eq!(ops.len(), 1);
}

#[test]
fn a_tables_log_is_read_from_a_position_and_trimmed_before_one() {
    let store = MemoryStore::new();
    let (a, b) = (ObjectId(1), ObjectId(2));
    for position in 0..9u64 {
        logs(&store).append_tables(&[(a, position, vec![position as u8])], Ops::default()).unwrap();
    }
    logs(&store).append_tables(&[(a, 9, vec![9]), (b, 0, b"other".to_vec())], Ops::default()).unwrap();
    let logs = logs(&store);
    let mut ops = Ops::default();
    logs.trim_table(a, 4, &mut ops);
    store.write(ops, Durability::Synced).unwrap();
    let changes = |logs: &Logs, table, from| {
        let mut all = Vec::new();
        logs.table_from(table, from, |position, change| all.push((position, change.to_vec()))).unwrap();
        all
    };
    assert_eq!(changes(&logs, a, 7), [(7, vec![7]), (8, vec![8]), (9, vec![9])]);
    assert_eq!(changes(&logs, a, 0).first(), Some(&(4, vec![4])));
    logs.append_part(a, 10, &[10]).unwrap();
    assert_eq!(logs.table_at(a, 10).unwrap(), Some(vec![10]));
    logs.take_back(a, 9).unwrap();
    assert_eq!((changes(&logs, a, 8), logs.table_at(a, 9).unwrap()), (vec![(8, vec![8])], None));
    let mut ops = Ops::default();
    logs.delete_object(a, &mut ops);
    store.write(ops, Durability::Synced).unwrap();
    assert_eq!((changes(&logs, a, 0).len(), changes(&logs, b, 0).len()), (0, 1));
}

#[test]
fn deleted_state_is_gone_from_every_kind_of_table() {
    let store = MemoryStore::new();
    let mut ops = Ops::default();
    for space in [space::KEYED, space::KEYED_WINDOWED, space::MULTISET, space::MULTISET_WINDOWED, space::VIEW] {
        ops.put(&key(space, &[&1u32.to_be_bytes(), &[9]]), b"mine");
        ops.put(&key(space, &[&2u32.to_be_bytes(), &[9]]), b"another's");
    }
    store.write(ops, Durability::Synced).unwrap();
    let mut ops = Ops::default();
    logs(&store).delete_state(TableId(1), &mut ops);
    store.write(ops, Durability::Synced).unwrap();
    assert_eq!(store.entries(&[]), 5);
}

#[test]
fn a_commit_is_seen_when_it_is_reported_and_a_failed_one_is_not_seen() {
    let store = MemoryStore::new();
    let committed = Committed::new(Arc::new(store.clone()), Generation(0));
    let checkpointer = Checkpointer::start(committed.clone(), 1 << 20).unwrap();
    let commit = |generation: u32| {
        let mut ops = Ops::default();
        ops.put(&key(space::RECORD, &[b"checkpoint"]), &generation.to_be_bytes());
        checkpointer.submit(Commit { generation: Generation(generation), parts: vec![Ops::default(), ops] }).unwrap();
        checkpointer.done().recv().unwrap()
    };
    let done = commit(1);
    assert!(done.result.is_ok() && done.generation == Generation(1));
    assert_eq!(committed.read().0, Generation(1));
    store.fail_writes(Some(Kind::DiskFull));
    assert_eq!(commit(2).result.unwrap_err().kind(), Kind::DiskFull);
    assert_eq!(committed.read().0, Generation(1));
    store.fail_writes(None);
    assert!(commit(3).result.is_ok());
    assert_eq!(logs(&store).record("checkpoint").unwrap(), Some(3u32.to_be_bytes().to_vec()));
}
