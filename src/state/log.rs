//! The durable records around state: the epoch log, the table logs, the catalog, named records; and the thread that commits checkpoints.
//!
//! The epoch log is written without sync: it survives `kill -9`, and a power failure loses at most the epochs since the last checkpoint, which syncs.
//! A table log is synced before its writer is answered.

use super::buffers;
use super::checkpoint::{Generation, Ops, space};
use super::committed::Committed;
use super::store::{Durability, Snapshot, Store, after_prefix};
use crate::error::{Error, Result};
use crate::types::ids::{ObjectId, TableId};
use crate::types::records::Records;
use crate::types::time::Epoch;
use crossbeam_channel::{Receiver, Sender};
use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::thread::JoinHandle;

/// See the module.
pub struct Logs {
    store: Arc<dyn Store>,
    /// Epochs that are in their log, and first table positions that may still be in theirs, so that trimming deletes just what is there.
    trimmed: Mutex<(VecDeque<u64>, BTreeMap<ObjectId, u64>)>,
}

fn key(space: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut key = vec![space];
    parts.iter().for_each(|p| key.extend_from_slice(p));
    key
}

impl Logs {
    pub fn new(store: Arc<dyn Store>) -> Result<Logs> {
        let logs = Logs { store, trimmed: Mutex::default() };
        let mut epochs = VecDeque::new();
        logs.scan(&[space::EPOCH_LOG], |k, _| epochs.push_back(number(&k[1..])))?;
        let mut tables = BTreeMap::new();
        logs.scan(&[space::TABLE_LOG], |k, _| {
            tables.entry(ObjectId(number(&k[1..5]) as u32)).or_insert(number(&k[5..]));
        })?;
        *logs.trimmed.lock() = (epochs, tables);
        Ok(logs)
    }

    fn scan(&self, prefix: &[u8], mut each: impl FnMut(&[u8], &[u8])) -> Result<()> {
        self.store.scan(prefix, &after_prefix(prefix), &mut |k, v| {
            each(k, v);
            true
        })
    }

    /// Returns once the cut survives `kill -9`.
    pub fn append_cut(&self, epoch: Epoch, cut: &[u8]) -> Result<()> {
        let mut ops = Ops::default();
        ops.put(&key(space::EPOCH_LOG, &[&epoch.0.to_be_bytes()]), cut);
        self.trimmed.lock().0.push_back(epoch.0);
        self.store.write(ops, Durability::Logged)
    }

    /// Cuts logged after `epoch`, in order.
    pub fn cuts_after(&self, epoch: Epoch) -> Result<Vec<Vec<u8>>> {
        let mut cuts = Vec::new();
        self.scan(&[space::EPOCH_LOG], |k, v| {
            if number(&k[1..]) > epoch.0 {
                cuts.push(v.to_vec());
            }
        })?;
        Ok(cuts)
    }

    /// Deletes cuts up to `epoch`, which the checkpoint contains.
    pub fn trim_epochs(&self, epoch: Epoch, ops: &mut Ops) {
        let epochs = &mut self.trimmed.lock().0;
        while let Some(first) = epochs.pop_front_if(|e| *e <= epoch.0) {
            ops.delete(&key(space::EPOCH_LOG, &[&first.to_be_bytes()]));
        }
    }

    /// Appends changes to tables' logs, each at its position, and `with` them what is to be true together with them. Returns once all survive power loss;
    /// of an error, none do.
    pub fn append_tables(&self, changes: &[(ObjectId, u64, Vec<u8>)], with: Ops) -> Result<()> {
        let mut ops = with;
        for (table, position, delta) in changes {
            ops.put(&table_key(*table, *position), delta);
            self.trimmed.lock().1.entry(*table).or_insert(*position);
        }
        self.store.write(ops, Durability::Synced)
    }

    /// Appends a change to a table's log. Survives power loss with what is synced behind it.
    pub fn append_part(&self, table: ObjectId, position: u64, delta: &[u8]) -> Result<()> {
        let mut ops = Ops::default();
        ops.put(&table_key(table, position), delta);
        self.trimmed.lock().1.entry(table).or_insert(position);
        self.store.write(ops, Durability::Logged)
    }

    /// Shows the changes of a table's log at and behind `from`, in order, with their positions.
    pub fn table_from(&self, table: ObjectId, from: u64, mut each: impl FnMut(u64, &[u8])) -> Result<()> {
        let end = after_prefix(&key(space::TABLE_LOG, &[&table.0.to_be_bytes()]));
        self.store.scan(&table_key(table, from), &end, &mut |k, v| {
            each(number(&k[5..]), v);
            true
        })
    }

    /// The change at a position of a table's log; `None`: it is gone.
    pub fn table_at(&self, table: ObjectId, position: u64) -> Result<Option<Vec<u8>>> {
        let mut change = None;
        self.store.get_many(&[&table_key(table, position)], &mut |_, v| change = Some(v.to_vec()))?;
        Ok(change)
    }

    /// Takes changes out of a table's log again that nobody was told of: those at and behind `from`.
    pub fn take_back(&self, table: ObjectId, from: u64) -> Result<()> {
        let mut ops = Ops::default();
        self.table_from(table, from, |position, _| ops.delete(&table_key(table, position)))?;
        self.store.write(ops, Durability::Logged)
    }

    /// Deletes a table's changes before `position`, which the checkpoint contains.
    pub fn trim_table(&self, table: ObjectId, position: u64, ops: &mut Ops) {
        if let Some(first) = self.trimmed.lock().1.get_mut(&table) {
            (*first..position).for_each(|p| ops.delete(&table_key(table, p)));
            *first = (*first).max(position);
        }
    }

    /// Survives `kill -9` on return, power loss after the next sync.
    pub fn append_isolated(&self, view: ObjectId, epoch: Epoch, entry: &[u8]) -> Result<()> {
        let mut ops = Ops::default();
        ops.put(&isolated_key(view, epoch), entry);
        self.store.write(ops, Durability::Logged)
    }

    pub fn isolated_entry(&self, view: ObjectId, epoch: Epoch) -> Result<Option<Vec<u8>>> {
        let mut entry = None;
        self.store.get_many(&[&isolated_key(view, epoch)], &mut |_, v| entry = Some(v.to_vec()))?;
        Ok(entry)
    }

    /// Epochs in an isolated view's log, in order, with the bytes of each.
    pub fn isolated_epochs(&self, view: ObjectId) -> Result<Vec<(Epoch, usize)>> {
        let mut epochs = Vec::new();
        self.scan(&key(space::ISOLATED_LOG, &[&view.0.to_be_bytes()]), |k, v| epochs.push((Epoch(number(&k[5..])), v.len())))?;
        Ok(epochs)
    }

    pub fn trim_isolated(&self, view: ObjectId, epoch: Epoch, ops: &mut Ops) {
        ops.delete(&isolated_key(view, epoch));
    }

    pub fn put_object(&self, id: ObjectId, definition: &[u8], ops: &mut Ops) {
        ops.put(&key(space::CATALOG, &[&id.0.to_be_bytes()]), definition);
    }

    /// What a sink has to publish: an entry of all `records` at `position`.
    pub fn put_outbox(&self, sink: ObjectId, position: u64, records: &Records, ops: &mut Ops) {
        for (chunk, bytes) in (0u32..).zip(records.chunks()) {
            ops.put(&key(space::OUTBOX, &[&sink.0.to_be_bytes(), &position.to_be_bytes(), &chunk.to_be_bytes()]), bytes);
        }
    }

    /// Survives `kill -9` on return, power loss after the next sync.
    pub fn append_outbox(&self, sink: ObjectId, position: u64, records: &Records) -> Result<()> {
        let mut ops = Ops::default();
        self.put_outbox(sink, position, records, &mut ops);
        self.store.write(ops, Durability::Logged)
    }

    /// Chunks of a sink's entries with `from <= position < to`, in order; no further entry once there are so many bytes. With the position behind the last one.
    pub fn outbox(&self, sink: ObjectId, from: u64, to: u64, bytes: usize) -> Result<(Vec<Vec<u8>>, u64)> {
        let (mut chunks, mut taken, mut last) = (Vec::new(), 0, None);
        self.store.scan(&outbox_key(sink, from), &outbox_key(sink, to), &mut |k, v| {
            let position = number(&k[5..13]);
            if last != Some(position) && taken >= bytes {
                return false;
            }
            last = Some(position);
            taken += v.len();
            chunks.push(v.to_vec());
            true
        })?;
        Ok((chunks, last.map_or(to, |position| position + 1)))
    }

    /// Bytes of a sink's entries with `from <= position < to`.
    pub fn outbox_bytes(&self, sink: ObjectId, from: u64, to: u64) -> Result<u64> {
        let mut bytes = 0;
        self.store.scan(&outbox_key(sink, from), &outbox_key(sink, to), &mut |_, v| {
            bytes += v.len() as u64;
            true
        })?;
        Ok(bytes)
    }

    /// Deletes a sink's entries with `from <= position < to`.
    pub fn trim_outbox(&self, sink: ObjectId, from: u64, to: u64, ops: &mut Ops) {
        ops.delete_range(&outbox_key(sink, from), &outbox_key(sink, to));
    }

    /// All before `position` is published. On return this, and all that was written before, survives power loss.
    pub fn put_published(&self, sink: ObjectId, position: u64) -> Result<()> {
        self.put_mark(sink, position, Durability::Synced)
    }

    /// What `put_published` said last.
    pub fn published(&self, sink: ObjectId) -> Result<Option<u64>> {
        self.mark(sink)
    }

    /// The object's record, its history, and its log if it is a table, an isolated view or a sink, and where that was shown or published.
    pub fn delete_object(&self, id: ObjectId, ops: &mut Ops) {
        ops.delete(&key(space::CATALOG, &[&id.0.to_be_bytes()]));
        for space in [space::TABLE_LOG, space::ISOLATED_LOG, space::OUTBOX, space::HISTORY, space::HISTORY_MARK] {
            let log = key(space, &[&id.0.to_be_bytes()]);
            ops.delete_range(&log, &after_prefix(&log));
        }
        ops.delete(&mark_key(id));
        self.trimmed.lock().1.remove(&id);
    }

    /// All objects' records, by rising id.
    pub fn objects(&self) -> Result<Vec<Vec<u8>>> {
        let mut all = Vec::new();
        self.scan(&[space::CATALOG], |_, v| all.push(v.to_vec()))?;
        Ok(all)
    }

    /// The isolated view is shown at `epoch` from now on. Survives `kill -9` on return.
    pub fn put_shown(&self, view: ObjectId, epoch: Epoch) -> Result<()> {
        self.put_mark(view, epoch.0, Durability::Logged)
    }

    /// The newest epoch that an isolated view was shown at.
    pub fn shown(&self, view: ObjectId) -> Result<Option<Epoch>> {
        Ok(self.mark(view)?.map(Epoch))
    }

    fn put_mark(&self, object: ObjectId, number: u64, durability: Durability) -> Result<()> {
        let mut ops = Ops::default();
        ops.put(&mark_key(object), &number.to_be_bytes());
        self.store.write(ops, durability)
    }

    fn mark(&self, object: ObjectId) -> Result<Option<u64>> {
        let mut value = None;
        self.store.get_many(&[&mark_key(object)], &mut |_, v| value = Some(number(v)))?;
        Ok(value)
    }

    /// Everything that a state table has on disk.
    pub fn delete_state(&self, table: TableId, ops: &mut Ops) {
        for space in [space::KEYED, space::KEYED_WINDOWED, space::MULTISET, space::MULTISET_WINDOWED, space::VIEW] {
            let prefix = key(space, &[&table.0.to_be_bytes()]);
            ops.delete_range(&prefix, &after_prefix(&prefix));
        }
    }

    pub fn record(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let key = key(space::RECORD, &[name.as_bytes()]);
        let mut value = None;
        self.store.get_many(&[&key], &mut |_, v| value = Some(v.to_vec()))?;
        Ok(value)
    }

    /// Survives `kill -9` on return, power loss after the next sync.
    pub fn put_record(&self, name: &str, value: &[u8]) -> Result<()> {
        let mut ops = Ops::default();
        self.put_record_into(name, value, &mut ops);
        self.store.write(ops, Durability::Logged)
    }

    pub fn put_record_into(&self, name: &str, value: &[u8], ops: &mut Ops) {
        ops.put(&key(space::RECORD, &[name.as_bytes()]), value);
    }
}

fn table_key(table: ObjectId, position: u64) -> Vec<u8> {
    key(space::TABLE_LOG, &[&table.0.to_be_bytes(), &position.to_be_bytes()])
}

fn isolated_key(view: ObjectId, epoch: Epoch) -> Vec<u8> {
    key(space::ISOLATED_LOG, &[&view.0.to_be_bytes(), &epoch.0.to_be_bytes()])
}

fn mark_key(object: ObjectId) -> Vec<u8> {
    key(space::MARK, &[&object.0.to_be_bytes()])
}

fn outbox_key(sink: ObjectId, position: u64) -> Vec<u8> {
    key(space::OUTBOX, &[&sink.0.to_be_bytes(), &position.to_be_bytes()])
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |n, b| n << 8 | u64::from(*b))
}

/// A checkpoint to commit: all workers' changes, and the records that go with them.
pub struct Commit {
    pub generation: Generation,
    pub parts: Vec<Ops>,
}

/// A commit that has ended.
pub struct CommitDone {
    pub generation: Generation,
    pub result: Result<()>,
    /// The store with this commit in it and nothing of later ones.
    pub snapshot: Arc<dyn Snapshot>,
    pub bytes: usize,
}

/// The thread that writes checkpoints, one at a time; dropping this waits for the one under way.
pub struct Checkpointer {
    /// `None`: being dropped.
    commits: Option<Sender<Commit>>,
    done: Receiver<CommitDone>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.commits = None;
        if let Some(thread) = self.thread.take() {
            // It does not panic: there is nothing to tell.
            drop(thread.join());
        }
    }
}

/// The checkpoint thread's: a third of what others get while all processors are busy.
const NICE: i32 = 5;

impl Checkpointer {
    /// `spare`: bytes of buffers that are kept from one checkpoint to the next.
    pub fn start(committed: Arc<Committed>, spare: usize) -> Result<Checkpointer> {
        buffers::keep(spare);
        let (commits, work) = crossbeam_channel::bounded::<Commit>(1);
        let (finished, done) = crossbeam_channel::bounded(1);
        let run = move || {
            // Who waits for a row goes first. Of a thread, not of the process, on Linux.
            #[cfg(target_os = "linux")]
            let _ = rustix::process::setpriority_process(None, NICE);
            for commit in work {
                let mut ops = Ops::default();
                commit.parts.into_iter().for_each(|part| ops.append(part));
                let bytes = ops.size();
                let result = committed.commit(commit.generation, ops, Durability::Synced);
                buffers::settle();
                let snapshot = committed.read().1;
                if finished.send(CommitDone { generation: commit.generation, result, snapshot, bytes }).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("checkpoint".into()).spawn(run)?;
        Ok(Checkpointer { commits: Some(commits), done, thread: Some(thread) })
    }

    pub fn submit(&self, commit: Commit) -> Result<()> {
        let sent = self.commits.as_ref().is_some_and(|commits| commits.send(commit).is_ok());
        if sent { Ok(()) } else { Err(Error::internal("the checkpoint thread has ended")) }
    }

    pub fn done(&self) -> &Receiver<CommitDone> {
        &self.done
    }
}

#[cfg(test)]
mod tests;
