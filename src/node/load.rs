//! A change of a table that comes in parts, for it may not be in memory at once (a large COPY).
//!
//! ```text
//!   statement --part, part, ...--> table log, marked as parts --last one, synced--> it is made
//!   scheduler: some parts an epoch --> workers, views --> ...                   readers see the epoch of the last part, and none before
//! ```
//!
//! The writer stays locked from the first part to the epoch of the last: nobody else changes a table meanwhile. Parts without a last one were never made: who fails takes
//! them out of the log, and after a crash the start does. A change that was made is taken in to its end before clients are let in again.
//!
//! Until its end nothing is published: readers keep the epoch before it, of every relation. What would read in the middle of it (a new view, a new subscription) waits.

use super::engine_api::{Parts, Snapshot, Written};
use super::scheduler::{PendingWrite, Scheduler};
use super::shared::{Command, Shared};
use super::writer::{Entry, Positions, Writer, decode, encode_as, shutting_down};
use crate::error::{Error, Kind, Result};
use crate::state::checkpoint::Ops;
use crate::types::delta::Delta;
use crate::types::ids::ObjectId;
use crate::types::time::Epoch;
use crossbeam_channel::Sender;
use futures::TryStreamExt;
use std::sync::Arc;
use tokio::sync::{OwnedMutexGuard, oneshot};

/// A change that is in a table's log, from the part that the next epoch takes to the last one.
pub struct Load {
    table: ObjectId,
    next: u64,
    last: u64,
    reply: Option<oneshot::Sender<Result<Epoch>>>,
}

impl Load {
    /// After a start: nobody waits for it.
    pub fn resumed(table: ObjectId, next: u64, last: u64) -> Load {
        Load { table, next, last, reply: None }
    }
}

impl Writer {
    /// See [`super::engine_api::Engine::load`].
    pub async fn load(&self, table: ObjectId, snapshot: impl FnOnce() -> Arc<dyn Snapshot>, parts: Parts) -> Result<Written> {
        let positions = self.begin().await?;
        let first = positions.get(&table).copied().unwrap_or(0);
        let mut parts = parts(snapshot());
        let Some(mut newest) = parts.try_next().await? else { return Ok(Written { epoch: self.shared.published().epoch }) };
        let mut logged = Logged { shared: self.shared.clone(), table, first, next: first, made: false };
        while let Some(part) = parts.try_next().await? {
            logged.append(&std::mem::replace(&mut newest, part))?;
        }
        // From here on it goes on without the caller: what is made must be shown, before anything else is written.
        let made = tokio::spawn(make(logged, newest, positions, self.commands.clone())).await;
        made.map_err(|e| Error::internal(format!("the writer failed: {e}")))?
    }
}

/// Logs the last part, and has the scheduler take them all in.
async fn make(mut logged: Logged, last: Delta, mut positions: OwnedMutexGuard<Positions>, commands: Sender<Command>) -> Result<Written> {
    let logged = tokio::task::spawn_blocking(move || logged.finish(&last).map(|()| logged)).await;
    let logged = logged.map_err(|e| Error::internal(format!("the table log's writer failed: {e}")))??;
    positions.insert(logged.table, logged.next);
    let (reply, written) = oneshot::channel();
    let load = Load { table: logged.table, next: logged.first, last: logged.next - 1, reply: Some(reply) };
    commands.send(Command::Load(load)).map_err(|_| shutting_down())?;
    Ok(Written { epoch: written.await.map_err(|_| shutting_down())?? })
}

/// Parts in a table's log, from `first` to before `next`; gone when this is dropped before its end.
struct Logged {
    shared: Arc<Shared>,
    table: ObjectId,
    first: u64,
    next: u64,
    made: bool,
}

impl Logged {
    /// Not on another thread: who stops waiting must know what is in the log.
    fn append(&mut self, part: &Delta) -> Result<()> {
        self.shared.logs.append_part(self.table, self.next, &encode_as(part, Entry::Part)?)?;
        self.next += 1;
        Ok(())
    }

    fn finish(&mut self, last: &Delta) -> Result<()> {
        self.shared.logs.append_tables(&[(self.table, self.next, encode_as(last, Entry::Whole)?)], Ops::default())?;
        (self.next, self.made) = (self.next + 1, true);
        Ok(())
    }
}

impl Drop for Logged {
    fn drop(&mut self) {
        if !self.made
            && self.next > self.first
            && let Err(error) = self.shared.logs.take_back(self.table, self.first)
        {
            tracing::warn!(%error, "parts of a change that was not made stay in a table's log until the server is started anew");
        }
    }
}

impl Scheduler {
    /// The next command that can be served now.
    pub(super) fn next_command(&mut self) -> Option<Command> {
        if self.load.is_none() && !self.deferred.is_empty() {
            return self.deferred.pop_front();
        }
        loop {
            match self.commands.try_recv().ok()? {
                later @ (Command::Create { .. } | Command::Subscribe { .. }) if self.load.is_some() => self.deferred.push_back(later),
                command => return Some(command),
            }
        }
    }

    /// Changes of a table's log with `from <= position < to`.
    pub(super) fn logged_writes(&self, table: ObjectId, from: u64, to: u64) -> Result<Vec<PendingWrite>> {
        let Some(schema) = self.shared.catalog.load().get(table).map(|o| o.arrow_schema()) else { return Ok(Vec::new()) };
        let logged = (from..to).map(|position| Ok(self.shared.logs.table_at(table, position)?.map(|bytes| (position, bytes))));
        let written = |(position, bytes): (u64, Vec<u8>)| Ok(PendingWrite { table, position, delta: decode(&bytes, &schema)?, reply: None });
        logged.filter_map(Result::transpose).map(|logged| logged.and_then(written)).collect()
    }

    /// Parts for one epoch. Behind the last one the load is over: the epoch that has it is published.
    pub(super) fn take_parts(&mut self) -> Result<Vec<PendingWrite>> {
        let (mut parts, mut rows, mut bytes) = (Vec::new(), 0, 0);
        let Some(mut load) = self.load.take() else { return Ok(parts) };
        // As wide rows become rows of a view, they are in memory several times.
        while load.next <= load.last && rows < self.share.rows() && bytes < self.shared.limits.run_bytes / 4 {
            let Some(part) = self.logged_writes(load.table, load.next, load.next + 1)?.pop() else {
                let _ = load.reply.map(|reply| reply.send(Err(Error::new(Kind::UndefinedTable, "the table was dropped meanwhile"))));
                return Ok(parts);
            };
            rows += part.delta.rows();
            bytes += part.delta.batch().get_array_memory_size();
            load.next += 1;
            parts.push(part);
        }
        if load.next <= load.last {
            self.load = Some(load);
        } else if let Some(last) = parts.last_mut() {
            last.reply = load.reply;
        }
        Ok(parts)
    }

    /// At a start: takes in what is left of a change that was made before it.
    pub(super) fn finish_load(&mut self) -> Result<()> {
        while self.load.is_some() {
            self.hold_back()?;
            self.form_epoch(self.now(), 0)?;
            self.further_checkpoint()?;
            self.start_checkpoint_if_due()?;
        }
        Ok(())
    }
}
