//! The serial writer: DML statements resolve one after another against the newest state, go to the table's log, synced,
//! and are answered when an epoch that holds them is published (design D4, D16).
//!
//! One statement at a time is what makes `resolve` right: it sees everything that was written before it.

use super::engine_api::{Resolve, Written};
use super::scheduler::PendingWrite;
use super::shared::{Command, Shared};
use super::statement::values_text;
use super::transaction::Changes;
use crate::catalog::catalog;
use crate::catalog::object::{Object, Pending};
use crate::dataflow::ops::consolidate::consolidate;
use crate::error::{Error, Kind, Result};
use crate::state::checkpoint::Ops;
use crate::types::delta::Delta;
use crate::types::ids::ObjectId;
use crossbeam_channel::Sender;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, OwnedMutexGuard, oneshot};

pub struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) commands: Sender<Command>,
    /// Next position in each table's log; the lock is what makes the writer serial.
    positions: Arc<Mutex<Positions>>,
}

/// How long a statement waits for a sink that is full, and how often it looks.
const OUTBOX_PATIENCE: Duration = Duration::from_secs(5);
const OUTBOX_POLL: Duration = Duration::from_millis(20);

pub(super) type Positions = HashMap<ObjectId, u64>;

impl Writer {
    /// `positions`: behind the last change of each table's log.
    pub fn new(shared: Arc<Shared>, commands: Sender<Command>, positions: HashMap<ObjectId, u64>) -> Self {
        Writer { shared, commands, positions: Arc::new(Mutex::new(positions)) }
    }

    /// Waits until it is this writer's turn. Error: what a sink has still to publish has had no room for a while, and an epoch that held the rows would be for that sink too.
    pub(super) async fn begin(&self) -> Result<OwnedMutexGuard<Positions>> {
        let begun = Instant::now();
        while let Some(sink) = self.shared.system.full_outbox() {
            if begun.elapsed() > OUTBOX_PATIENCE {
                return Err(no_room(&self.shared, sink));
            }
            tokio::time::sleep(OUTBOX_POLL).await;
        }
        Ok(self.positions.clone().lock_owned().await)
    }

    /// See [`super::engine_api::Engine::write`].
    pub async fn write(&self, table: ObjectId, snapshot: impl FnOnce() -> Arc<dyn super::engine_api::Snapshot>, resolve: Resolve) -> Result<Written> {
        let positions = self.begin().await?;
        let delta = resolve(snapshot()).await?;
        let deltas = if delta.is_empty() { Vec::new() } else { vec![(table, delta)] };
        self.apply(positions, deltas, Vec::new()).await
    }

    /// See [`super::engine_api::Engine::commit`].
    pub async fn commit(&self, changes: &Changes, objects: &[ObjectId]) -> Result<Written> {
        let positions = self.begin().await?;
        let (shared, changes) = (self.shared.clone(), changes.clone());
        // Reads the disk, and this may be a thread of the network.
        let deltas = tokio::task::spawn_blocking(move || netted(&shared, &changes)).await;
        let deltas = deltas.map_err(|e| Error::internal(format!("the check of a transaction failed: {e}")))??;
        let catalog = self.shared.catalog.load_full();
        let objects = objects.iter().filter_map(|id| catalog.get(*id)).map(|object| committed(object)).collect();
        self.apply(positions, deltas, objects).await
    }

    /// Logs changes and objects, all or none, and has them shown as one epoch. Once begun it goes on without the caller: what is in the log must be shown,
    /// before anything else is written.
    async fn apply(&self, positions: OwnedMutexGuard<Positions>, deltas: Vec<(ObjectId, Delta)>, objects: Vec<Object>) -> Result<Written> {
        let shown = Written { epoch: self.shared.published().epoch };
        if deltas.is_empty() && objects.is_empty() {
            return Ok(shown);
        }
        let written = tokio::spawn(apply(self.shared.clone(), self.commands.clone(), positions, deltas, objects)).await;
        Ok(written.map_err(|e| Error::internal(format!("the writer failed: {e}")))??.unwrap_or(shown))
    }
}

/// What a transaction has changed of each table. Error: the rows it was made from are others by now.
fn netted(shared: &Shared, changes: &Changes) -> Result<Vec<(ObjectId, Delta)>> {
    let (catalog, published) = (shared.catalog.load(), shared.published());
    let mut deltas = Vec::new();
    for (table, made) in changes.deltas() {
        let (Some(object), Some(rows)) = (catalog.get(table), published.relations.get(&table)) else {
            return Err(Error::new(Kind::UndefinedTable, "a table that the transaction has written to was dropped meanwhile"));
        };
        let made: Vec<Delta> = made.iter().map(|d| d.as_ref().clone()).collect();
        let delta = consolidate(&object.arrow_schema(), &made)?;
        if let Some(row) = rows.conflict(&published.snapshot, &delta)? {
            return Err(conflict(object, &delta, row));
        }
        if !delta.is_empty() {
            deltas.push((table, delta));
        }
    }
    Ok(deltas)
}

/// The object as its transaction leaves it; a temporary one stays of its session.
fn committed(object: &Object) -> Object {
    let pending = Pending { before: None, dropped: object.pending.dropped };
    Object { uncommitted: object.is_temporary(), pending, ..object.clone() }
}

/// See [`Writer::apply`]. `None`: no rows were written.
async fn apply(
    shared: Arc<Shared>,
    commands: Sender<Command>,
    mut positions: OwnedMutexGuard<Positions>,
    deltas: Vec<(ObjectId, Delta)>,
    objects: Vec<Object>,
) -> Result<Option<Written>> {
    let write = |(table, delta)| PendingWrite { table, position: *positions.get(&table).unwrap_or(&0), delta, reply: None };
    let mut writes: Vec<PendingWrite> = deltas.into_iter().map(write).collect();
    let (logged, durable) = (writes.iter().map(|w| (w.table, w.position, w.delta.clone())).collect::<Vec<_>>(), objects.clone());
    let appended = tokio::task::spawn_blocking(move || {
        let mut ops = Ops::default();
        for object in &durable {
            shared.logs.put_object(object.id, &catalog::encode(object)?, &mut ops);
        }
        let logged = logged.iter().map(|(table, position, delta)| Ok((*table, *position, encode(delta)?))).collect::<Result<Vec<_>>>()?;
        shared.logs.append_tables(&logged, ops)
    });
    appended.await.map_err(|e| Error::internal(format!("the table log's writer failed: {e}")))??;
    positions.extend(writes.iter().map(|w| (w.table, w.position + 1)));
    let (reply, written) = oneshot::channel();
    let waits = writes.last_mut().map(|last| last.reply = Some(reply)).is_some();
    let (shown, in_catalog) = (!objects.is_empty()).then(oneshot::channel).unzip();
    commands.send(Command::Write { writes, objects, shown }).map_err(|_| shutting_down())?;
    if let Some(in_catalog) = in_catalog {
        in_catalog.await.map_err(|_| shutting_down())?;
    }
    if !waits {
        return Ok(None);
    }
    Ok(Some(Written { epoch: written.await.map_err(|_| shutting_down())?? }))
}

fn no_room(shared: &Shared, sink: ObjectId) -> Error {
    let name = shared.catalog.load().get(sink).map(|o| o.name.clone()).unwrap_or_default();
    Error::new(Kind::LimitExceeded, format!("sink \"{name}\" has no room for more rows to publish"))
        .with_detail("The other side does not take them, and all input waits.")
        .with_hint("last_error in tidewater.sinks says why; DROP SINK lets input go on")
}

/// Another transaction was faster.
fn conflict(table: &Object, delta: &Delta, row: usize) -> Error {
    let key = table.primary_key();
    let columns: Vec<usize> = if key.is_empty() { (0..table.columns().len()).collect() } else { key.to_vec() };
    let names: Vec<&str> = columns.iter().map(|c| table.columns()[*c].name.as_str()).collect();
    let values = values_text(delta.batch(), &columns, row).unwrap_or_default();
    Error::new(Kind::SerializationFailure, "could not serialize access due to concurrent update")
        .with_detail(format!("Another transaction has changed the row ({})=({values}) of table \"{}\".", names.join(", "), table.name))
        .with_hint("run the transaction again")
}

pub fn shutting_down() -> Error {
    Error::new(Kind::AdminShutdown, "the server is shutting down")
}

/// What an entry of a table's log is; its number is also that of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A change, or the last part of one.
    Whole = 1,
    /// A part of a change: more follow, or else it was never made.
    Part = 2,
}

impl Entry {
    pub fn of(bytes: &[u8]) -> Option<Entry> {
        [Entry::Whole, Entry::Part].into_iter().find(|entry| bytes.first() == Some(&(*entry as u8)))
    }
}

/// A delta as bytes, whole.
pub fn encode(delta: &Delta) -> Result<Vec<u8>> {
    encode_as(delta, Entry::Whole)
}

/// A delta as bytes: the kind of entry, row count, weights, then the columns by the row codec.
pub fn encode_as(delta: &Delta, entry: Entry) -> Result<Vec<u8>> {
    let types: Vec<_> = delta.schema().fields().iter().map(|f| f.data_type().clone()).collect();
    let mut rows = crate::types::key::Rows::default();
    crate::types::key::Codec::rows(&types)?.encode(delta.batch().columns(), &mut rows)?;
    let mut out = vec![entry as u8];
    out.extend_from_slice(&(delta.rows() as u32).to_le_bytes());
    for (i, row) in rows.iter().enumerate() {
        out.extend_from_slice(&delta.weight(i).to_le_bytes());
        out.extend_from_slice(&(row.len() as u32).to_le_bytes());
        out.extend_from_slice(row);
    }
    Ok(out)
}

/// The inverse of [`encode`], for a table with this schema.
pub fn decode(bytes: &[u8], schema: &arrow::datatypes::SchemaRef) -> Result<Delta> {
    let damaged = || Error::new(Kind::DataCorrupted, "a table log is damaged");
    let take = |at: &mut usize, n: usize| -> Result<&[u8]> {
        let part = bytes.get(*at..*at + n).ok_or_else(damaged)?;
        *at += n;
        Ok(part)
    };
    let mut at = 0;
    if Entry::of(take(&mut at, 1)?).is_none() {
        return Err(damaged().with_detail("unknown format version"));
    }
    let count = u32::from_le_bytes(take(&mut at, 4)?.try_into().map_err(|_| damaged())?);
    let (mut weights, mut rows) = (Vec::new(), Vec::new());
    for _ in 0..count {
        weights.push(i64::from_le_bytes(take(&mut at, 8)?.try_into().map_err(|_| damaged())?));
        let length = u32::from_le_bytes(take(&mut at, 4)?.try_into().map_err(|_| damaged())?) as usize;
        rows.push(take(&mut at, length)?);
    }
    let types: Vec<_> = schema.fields().iter().map(|f| f.data_type().clone()).collect();
    let columns = crate::types::key::Codec::rows(&types)?.decode(&mut rows.into_iter())?;
    let batch = arrow::array::RecordBatch::try_new(schema.clone(), columns)?;
    Ok(Delta::new(batch, weights))
}
