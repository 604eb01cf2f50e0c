//! What waits for one subscriber: changes in the order of their epochs, up to a bound in bytes. The scheduler never waits for it: who does not keep up is cut off.

use super::change::Change;
use crate::error::{Error, Kind, Result};
use crate::types::ids::ObjectId;
use crate::types::time::Epoch;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::Notify;

/// Something for the subscriber.
pub enum Item {
    Change(Arc<Change>),
    Progress { epoch: Epoch, durable: Epoch },
}

/// Why nothing comes any more.
#[derive(Clone, Debug)]
pub enum End {
    /// Bytes that waited were too many.
    Slow(usize),
    /// What it followed was dropped: its kind and name.
    Dropped(String),
    Stopping,
}

/// See the module.
pub struct Queue {
    pub pid: i32,
    pub relation: ObjectId,
    progress: bool,
    /// Of bytes.
    limit: usize,
    state: Mutex<State>,
    ready: Notify,
}

#[derive(Default)]
struct State {
    items: VecDeque<Item>,
    bytes: usize,
    /// Everything up to here was taken by the client's connection; `None`: it has not got the rows that it begins with.
    sent: Option<Epoch>,
    /// Of progress: epoch and durable epoch.
    told: Option<(Epoch, Epoch)>,
    end: Option<End>,
    /// Nobody listens any more.
    closed: bool,
}

impl Queue {
    pub fn new(pid: i32, relation: ObjectId, progress: bool, limit: usize) -> Queue {
        Queue { pid, relation, progress, limit, state: Mutex::default(), ready: Notify::new() }
    }

    /// False: it takes nothing more.
    pub fn push(&self, change: &Arc<Change>) -> bool {
        let mut state = self.state.lock();
        if !state.is_open() {
            return false;
        }
        let bytes = state.bytes + change.bytes;
        // One change is let through, however large.
        if bytes > self.limit && !state.items.is_empty() {
            state.end(End::Slow(bytes));
        } else {
            state.bytes = bytes;
            state.items.push_back(Item::Change(change.clone()));
        }
        let open = state.is_open();
        drop(state);
        self.ready.notify_one();
        open
    }

    /// Everything up to `epoch` is in it. Told if it is news and the subscriber wants to know; what was told and not taken yet is replaced.
    pub fn progressed(&self, epoch: Epoch, durable: Epoch) {
        if !self.progress {
            return;
        }
        let mut state = self.state.lock();
        if !state.is_open() || state.told == Some((epoch, durable)) {
            return;
        }
        state.told = Some((epoch, durable));
        if let Some(Item::Progress { .. }) = state.items.back() {
            state.items.pop_back();
        }
        state.items.push_back(Item::Progress { epoch, durable });
        drop(state);
        self.ready.notify_one();
    }

    /// What waits is given up; the subscriber is told why.
    pub fn end(&self, end: End) {
        self.state.lock().end(end);
        self.ready.notify_one();
    }

    pub fn close(&self) {
        let mut state = self.state.lock();
        (state.closed, state.bytes) = (true, 0);
        state.items.clear();
    }

    pub fn is_open(&self) -> bool {
        self.state.lock().is_open()
    }

    /// The subscriber has what it begins with, and everything up to `epoch`.
    pub fn begun(&self, epoch: Epoch) {
        let mut state = self.state.lock();
        state.sent = state.sent.max(Some(epoch));
    }

    /// Error: it was ended.
    pub fn check(&self) -> Result<()> {
        self.state.lock().check()
    }

    /// The next item, when it is there. May be dropped and called again.
    pub async fn next(&self) -> Result<Item> {
        loop {
            {
                let mut state = self.state.lock();
                state.check()?;
                if let Some(item) = state.items.pop_front() {
                    let epoch = match &item {
                        Item::Change(change) => {
                            state.bytes -= change.bytes;
                            change.epoch
                        }
                        Item::Progress { epoch, .. } => *epoch,
                    };
                    state.sent = state.sent.max(Some(epoch));
                    return Ok(item);
                }
            }
            self.ready.notified().await;
        }
    }

    pub fn bytes(&self) -> usize {
        self.state.lock().bytes
    }

    /// The newest epoch up to which everything was taken, if that is known, and whether something waits.
    pub fn sent(&self) -> (Option<Epoch>, bool) {
        let state = self.state.lock();
        (state.sent, !state.items.is_empty())
    }
}

impl State {
    fn is_open(&self) -> bool {
        self.end.is_none() && !self.closed
    }

    fn end(&mut self, end: End) {
        if self.is_open() {
            (self.end, self.bytes) = (Some(end), 0);
            self.items.clear();
        }
    }

    fn check(&self) -> Result<()> {
        Err(match &self.end {
            None => return Ok(()),
            Some(End::Stopping) => Error::new(Kind::AdminShutdown, "the server is shutting down"),
            Some(End::Dropped(what)) => Error::new(Kind::UndefinedTable, format!("{what} was dropped while a subscription followed it")),
            Some(End::Slow(bytes)) => {
                let slow = Error::new(Kind::LimitExceeded, "the subscription was ended, for its client does not read as fast as changes come")
                    .with_detail(format!("{bytes} bytes of changes waited for it."));
                match self.sent {
                    Some(epoch) => slow.with_hint(format!("go on from here: SUBSCRIBE … WITH (SNAPSHOT = false) AS OF {epoch}")),
                    None => slow.with_hint("read the rows that it begins with faster, or subscribe to a view with fewer rows"),
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::delta::Delta;
    use arrow::array::{ArrayRef, Int64Array, RecordBatch};
    use futures::FutureExt;

    fn change(epoch: u64, rows: i64) -> Arc<Change> {
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
        let batch = RecordBatch::try_from_iter([("n", column)]).unwrap();
        Arc::new(Change::new(Epoch(epoch), batch.schema(), vec![Delta::inserts(batch)]))
    }

    fn taken(queue: &Queue) -> Option<Result<(u64, bool)>> {
        let item = queue.next().now_or_never()?;
        Some(item.map(|item| match item {
            Item::Change(change) => (change.epoch.0, false),
            Item::Progress { epoch, .. } => (epoch.0, true),
        }))
    }

    #[test]
    fn changes_come_in_order_and_progress_once() {
        let queue = Queue::new(1, ObjectId(1), true, 1000);
        assert!(taken(&queue).is_none());
        assert!(queue.push(&change(5, 10)) && queue.push(&change(6, 10)));
        queue.progressed(Epoch(6), Epoch(1));
        queue.progressed(Epoch(9), Epoch(8));
        queue.progressed(Epoch(9), Epoch(8));
        assert_eq!((queue.bytes(), queue.sent()), (160, (None, true)));
        let all: Vec<_> = std::iter::from_fn(|| taken(&queue)).map(Result::unwrap).collect();
        assert_eq!(all, [(5, false), (6, false), (9, true)]);
        assert_eq!((queue.bytes(), queue.sent()), (0, (Some(Epoch(9)), false)));
        queue.progressed(Epoch(9), Epoch(8));
        assert!(taken(&queue).is_none());
    }

    #[test]
    fn who_does_not_keep_up_is_cut_off_and_holds_nothing() {
        let queue = Queue::new(1, ObjectId(1), false, 1000);
        // One is let through, however large.
        assert!(queue.push(&change(5, 1000)) && taken(&queue).is_some());
        assert!(queue.push(&change(6, 100)));
        assert!(!queue.push(&change(7, 100)) && !queue.push(&change(8, 1)));
        assert_eq!(queue.bytes(), 0);
        let error = taken(&queue).unwrap().unwrap_err();
        assert_eq!((error.sqlstate(), error.hint()), ("53400", Some("go on from here: SUBSCRIBE … WITH (SNAPSHOT = false) AS OF 5")));
    }
}
