//! The serial writer: DML statements resolve one after another against the newest state, go to the table's log, synced,
//! and are answered when an epoch that holds them is published (design D4, D16).
//!
//! One statement at a time is what makes `resolve` right: it sees everything that was written before it.

use super::engine_api::{Resolve, Written};
use super::scheduler::PendingWrite;
use super::shared::{Command, Shared};
use crate::error::{Error, Kind, Result};
use crate::types::delta::Delta;
use crate::types::ids::ObjectId;
use crossbeam_channel::Sender;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::{Mutex, oneshot};

pub struct Writer {
    shared: Arc<Shared>,
    commands: Sender<Command>,
    /// Next position in each table's log; the lock is what makes the writer serial.
    positions: Mutex<HashMap<ObjectId, u64>>,
}

impl Writer {
    /// `positions`: behind the last change of each table's log.
    pub fn new(shared: Arc<Shared>, commands: Sender<Command>, positions: HashMap<ObjectId, u64>) -> Self {
        Writer { shared, commands, positions: Mutex::new(positions) }
    }

    /// See [`super::engine_api::Engine::write`].
    pub async fn write(&self, table: ObjectId, snapshot: impl FnOnce() -> Arc<dyn super::engine_api::Snapshot>, resolve: Resolve) -> Result<Written> {
        let mut positions = self.positions.lock().await;
        let delta = resolve(snapshot()).await?;
        if delta.is_empty() {
            return Ok(Written { epoch: self.shared.published().epoch });
        }
        let position = *positions.get(&table).unwrap_or(&0);
        let (shared, logged) = (self.shared.clone(), delta.clone());
        let appended = tokio::task::spawn_blocking(move || shared.logs.append_table(table, position, &encode(&logged)?)).await;
        appended.map_err(|e| Error::internal(format!("the table log's writer failed: {e}")))??;
        positions.insert(table, position + 1);
        let (reply, written) = oneshot::channel();
        let write = PendingWrite { table, position, delta, reply: Some(reply) };
        self.commands.send(Command::Write(write)).map_err(|_| shutting_down())?;
        let epoch = written.await.map_err(|_| shutting_down())??;
        Ok(Written { epoch })
    }
}

pub fn shutting_down() -> Error {
    Error::new(Kind::AdminShutdown, "the server is shutting down")
}

/// A delta as bytes: row count, weights, then the columns by the row codec. Version 1.
pub fn encode(delta: &Delta) -> Result<Vec<u8>> {
    let types: Vec<_> = delta.schema().fields().iter().map(|f| f.data_type().clone()).collect();
    let mut rows = crate::types::key::Rows::default();
    crate::types::key::Codec::rows(&types)?.encode(delta.batch().columns(), &mut rows)?;
    let mut out = vec![1u8];
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
    if take(&mut at, 1)? != [1] {
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
