//! The changes of one relation that are kept for those who resume: `SUBSCRIBE … AS OF epoch`. It begins with the relation's first subscription.
//!
//! ```text
//!   on disk, with marks (state/history.rs)  |  in the checkpoint under way  |  since then
//! ```
//!
//! What no checkpoint has is in memory alone: after a crash the epochs behind the checkpoint are run again, and give the same changes.

use super::change::Change;
use crate::error::Result;
use crate::node::writer;
use crate::state::checkpoint::Ops;
use crate::state::history::{self, Mark};
use crate::state::store::Snapshot;
use crate::types::delta::Delta;
use crate::types::ids::ObjectId;
use crate::types::time::Epoch;
use arrow::datatypes::SchemaRef;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Bytes that are read of it at once.
const PIECE: usize = 1 << 20;

/// What a history is bounded by.
#[derive(Clone, Copy)]
pub struct Retention {
    pub age: Duration,
    /// On disk, about.
    pub bytes: u64,
}

/// See the module.
pub struct History {
    relation: ObjectId,
    /// Of what is on disk; never empty: whoever has everything up to the first one can go on.
    marks: VecDeque<Mark>,
    sealed: Vec<Arc<Change>>,
    open: Vec<Arc<Change>>,
    /// Of those two.
    held: usize,
}

impl History {
    /// One that begins behind `epoch`.
    pub fn begin(relation: ObjectId, epoch: Epoch, clock: i64) -> (History, Mark) {
        let mark = Mark { epoch, clock, bytes: 0 };
        (History::resume(relation, VecDeque::from([mark])), mark)
    }

    /// As an earlier run of the server has left it.
    pub fn resume(relation: ObjectId, marks: VecDeque<Mark>) -> History {
        History { relation, marks, sealed: Vec::new(), open: Vec::new(), held: 0 }
    }

    /// Changes of later epochs are all there.
    pub fn since(&self) -> Epoch {
        self.marks.front().map_or(Epoch(u64::MAX), |mark| mark.epoch)
    }

    pub fn add(&mut self, change: &Arc<Change>) {
        self.held += change.bytes;
        self.open.push(change.clone());
    }

    /// Bytes that wait for a checkpoint.
    pub fn held(&self) -> usize {
        self.held
    }

    /// A checkpoint of `epoch` begins. Gives the changes that are to be written with it.
    pub fn seal(&mut self, epoch: Epoch, clock: i64, retention: Retention, ops: &mut Ops) -> Vec<Arc<Change>> {
        self.trim(clock, retention, ops);
        if self.open.is_empty() {
            return Vec::new();
        }
        let mark = Mark { epoch, clock, bytes: self.open.iter().map(|c| c.bytes as u64).sum::<u64>().max(1) };
        history::put_mark(self.relation, mark, ops);
        self.marks.push_back(mark);
        let changes = std::mem::take(&mut self.open);
        self.sealed.extend(changes.iter().cloned());
        changes
    }

    fn trim(&mut self, clock: i64, retention: Retention, ops: &mut Ops) {
        let age = i64::try_from(retention.age.as_micros()).unwrap_or(i64::MAX);
        let mut bytes: u64 = self.marks.iter().skip(1).map(|m| m.bytes).sum();
        while let [first, next, ..] = self.marks.make_contiguous() {
            if next.clock > clock.saturating_sub(age) && bytes <= retention.bytes {
                return;
            }
            history::trim(self.relation, *first, *next, ops);
            bytes -= next.bytes;
            self.marks.pop_front();
        }
    }

    /// That checkpoint is committed.
    pub fn committed(&mut self) {
        self.held -= self.sealed.drain(..).map(|c| c.bytes).sum::<usize>();
    }

    /// All changes behind `epoch`. `snapshot`: of the last checkpoint.
    pub fn behind(&self, epoch: Epoch, schema: &SchemaRef, snapshot: Arc<dyn Snapshot>) -> Past {
        let rest = self.sealed.iter().chain(&self.open).filter(|c| c.epoch > epoch).cloned().collect();
        Past { relation: self.relation, schema: schema.clone(), snapshot: Some(snapshot), after: epoch, read: VecDeque::new(), rest }
    }
}

/// What goes into the store of changes.
pub fn encode(changes: &[(ObjectId, Arc<Change>)]) -> Result<Ops> {
    let mut ops = Ops::default();
    for (relation, change) in changes {
        let delta = change.delta()?;
        if !delta.is_empty() {
            history::put_entry(*relation, change.epoch, &writer::encode(&delta)?, &mut ops);
        }
    }
    Ok(ops)
}

/// Changes that were, oldest first.
pub struct Past {
    relation: ObjectId,
    schema: SchemaRef,
    /// `None`: all that is on disk was read.
    snapshot: Option<Arc<dyn Snapshot>>,
    after: Epoch,
    read: VecDeque<(Epoch, Vec<u8>)>,
    rest: VecDeque<Arc<Change>>,
}

impl Past {
    fn next_change(&mut self) -> Result<Option<(Epoch, Delta)>> {
        if self.read.is_empty()
            && let Some(snapshot) = &self.snapshot
        {
            self.read = history::entries_after(snapshot.as_ref(), self.relation, self.after, PIECE)?.into();
            match self.read.back() {
                Some((last, _)) => self.after = *last,
                None => self.snapshot = None,
            }
        }
        if let Some((epoch, bytes)) = self.read.pop_front() {
            return Ok(Some((epoch, writer::decode(&bytes, &self.schema)?)));
        }
        self.rest.pop_front().map(|change| Ok((change.epoch, change.delta()?))).transpose()
    }
}

impl Iterator for Past {
    type Item = Result<(Epoch, Delta)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_change().transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::memory::MemoryStore;
    use crate::state::store::{Durability, Store};
    use arrow::array::{ArrayRef, Int64Array, RecordBatch};

    const RELATION: ObjectId = ObjectId(7);
    const MINUTE: i64 = 60_000_000;

    fn change(epoch: u64) -> Arc<Change> {
        let column: ArrayRef = Arc::new(Int64Array::from(vec![epoch as i64]));
        let batch = RecordBatch::try_from_iter([("n", column)]).unwrap();
        Arc::new(Change::new(Epoch(epoch), batch.schema(), vec![Delta::inserts(batch)]))
    }

    fn behind(history: &History, store: &MemoryStore, epoch: u64) -> Vec<u64> {
        let past = history.behind(Epoch(epoch), &change(0).delta().unwrap().schema(), store.snapshot());
        past.map(|c| c.unwrap())
            .inspect(|(epoch, delta)| assert_eq!((delta.rows(), delta.column(0).len(), epoch.0 > 0), (1, 1, true)))
            .map(|(e, _)| e.0)
            .collect()
    }

    /// A checkpoint, from its beginning to its end.
    fn checkpoint(history: &mut History, store: &MemoryStore, epoch: u64, clock: i64, bytes: u64) {
        let mut ops = Ops::default();
        let retention = Retention { age: Duration::from_secs(600), bytes };
        let changes = history.seal(Epoch(epoch), clock, retention, &mut ops);
        ops.append(encode(&changes.into_iter().map(|c| (RELATION, c)).collect::<Vec<_>>()).unwrap());
        store.write(ops, Durability::Synced).unwrap();
        history.committed();
    }

    #[test]
    fn what_is_behind_an_epoch_is_there_wherever_it_is_kept() {
        let store = MemoryStore::new();
        let (mut history, mark) = History::begin(RELATION, Epoch(10), 0);
        let mut ops = Ops::default();
        history::put_mark(RELATION, mark, &mut ops);
        store.write(ops, Durability::Logged).unwrap();
        [12, 13].iter().for_each(|e| history.add(&change(*e)));
        assert_eq!(behind(&history, &store, 10), [12, 13]);
        checkpoint(&mut history, &store, 14, MINUTE, 1 << 20);
        history.add(&change(15));
        assert_eq!((behind(&history, &store, 10), behind(&history, &store, 12), behind(&history, &store, 15)), (vec![12, 13, 15], vec![13, 15], vec![]));
        checkpoint(&mut history, &store, 16, 2 * MINUTE, 1 << 20);
        assert_eq!(history.held(), 0);
        // Another run of the server.
        let mut history = History::resume(RELATION, history::marks(&store).unwrap().remove(&RELATION).unwrap());
        assert_eq!((history.since(), behind(&history, &store, 10)), (Epoch(10), vec![12, 13, 15]));
        // What is as old as the first checkpoint is too old; the rest is not.
        history.add(&change(20));
        checkpoint(&mut history, &store, 21, 11 * MINUTE, 1 << 20);
        assert_eq!((history.since(), behind(&history, &store, 14)), (Epoch(14), vec![15, 20]));
        // Too many bytes.
        history.add(&change(22));
        checkpoint(&mut history, &store, 23, 11 * MINUTE, 0);
        assert_eq!((history.since(), behind(&history, &store, 21)), (Epoch(21), vec![22]));
        assert_eq!(history::marks(&store).unwrap()[&RELATION].len(), 2);
    }
}
