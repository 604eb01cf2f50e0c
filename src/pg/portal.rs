//! Portals, bound over prepared statements, and the rows that flow out of one.

use super::backend::Parameter;
use super::encode::{Format, RowEncoder, prepare};
use super::prepared::Prepared;
use super::scroll::Scroll;
use super::wire::{FLUSH_BYTES, Interrupts, Stop, Wire};
use crate::error::Result;
use arrow::array::{ArrayRef, RecordBatch};
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A statement after Bind.
pub struct Portal {
    pub prepared: Arc<Prepared>,
    pub parameters: Vec<Parameter>,
    /// One per column of the result.
    pub formats: Vec<Format>,
    pub state: State,
    /// `DECLARE … WITH HOLD`.
    pub hold: bool,
    /// Its transaction has committed.
    pub held: bool,
}

pub enum State {
    /// Bound, not executed.
    Fresh,
    /// Executed, with rows left.
    Open(RowStream),
    /// A cursor that may go back.
    Scroll(Box<Scroll>),
    /// All its rows are sent; executed again it gives none. `tag` is that of its rows.
    Drained { tag: &'static str },
    /// A command, which can run once.
    Done,
}

/// Whether a statement's rows came to their end, or to the client's limit.
#[derive(Debug, PartialEq, Eq)]
pub enum Sent {
    All,
    Suspended,
}

/// How long rows that are not there yet are waited for.
#[derive(Clone, Copy)]
pub enum Patience {
    Endless,
    /// For the first one: what has come with it is given, however little.
    First,
    Until(Instant),
}

/// The tag of rows that have no end.
const LIVE: &str = "SUBSCRIBE";

/// The rows of a running statement, on their way to the client.
pub struct RowStream {
    stream: BoxStream<'static, Result<RecordBatch>>,
    /// Columns of the current batch, and how far they are sent.
    arrays: Vec<ArrayRef>,
    next: usize,
    len: usize,
    /// Rows of the whole result so far.
    total: u64,
    pub tag: &'static str,
}

impl RowStream {
    pub fn new(stream: BoxStream<'static, Result<RecordBatch>>, tag: &'static str) -> RowStream {
        RowStream { stream, arrays: Vec::new(), next: 0, len: 0, total: 0, tag }
    }

    /// Sends rows up to a limit. They leave whenever 64 KiB are gathered, and before there is a wait for more; a client
    /// that does not read stops the stream here.
    pub async fn send(&mut self, wire: &mut Wire, interrupts: &mut Interrupts, to: &RowEncoder, limit: u64) -> Result<(Sent, u64), Stop> {
        self.send_patiently(wire, interrupts, to, limit, Patience::Endless).await
    }

    /// How long a FETCH waits: for a live result it need not become full.
    pub fn patience(&self, timeout: Option<Duration>) -> Patience {
        match timeout {
            // One that lasts longer than any clock has no end.
            Some(timeout) => Instant::now().checked_add(timeout).map_or(Patience::Endless, Patience::Until),
            None if self.tag == LIVE => Patience::First,
            None => Patience::Endless,
        }
    }

    /// As [`RowStream::send`]; `Sent::Suspended` with fewer rows than the limit: the patience was over.
    pub async fn send_patiently(
        &mut self,
        wire: &mut Wire,
        interrupts: &mut Interrupts,
        to: &RowEncoder,
        limit: u64,
        patience: Patience,
    ) -> Result<(Sent, u64), Stop> {
        let mut sent = 0;
        loop {
            while self.next < self.len && sent < limit {
                sent += self.write_rows(wire, to, limit - sent)?;
                if wire.pending() >= FLUSH_BYTES {
                    interrupts.flush(wire).await?;
                }
            }
            if sent == limit {
                return Ok((Sent::Suspended, sent));
            }
            if let Some(end) = self.read(wire, interrupts, patience, sent > 0).await? {
                return Ok((end, sent));
            }
        }
    }

    /// Steps over rows, up to a limit.
    pub async fn skip(&mut self, wire: &mut Wire, interrupts: &mut Interrupts, limit: u64, patience: Patience) -> Result<(Sent, u64), Stop> {
        let mut skipped = 0;
        loop {
            let step = ((self.len - self.next) as u64).min(limit - skipped);
            self.next += step as usize;
            skipped += step;
            if skipped == limit {
                return Ok((Sent::Suspended, skipped));
            }
            if let Some(end) = self.read(wire, interrupts, patience, skipped > 0).await? {
                return Ok((end, skipped));
            }
        }
    }

    /// The next batch, to be kept; `None`: there are no more.
    pub async fn batch(&mut self, wire: &mut Wire, interrupts: &mut Interrupts) -> Result<Option<RecordBatch>, Stop> {
        Ok(next_batch(&mut self.stream, wire, interrupts, None).await?.flatten())
    }

    /// The next batch takes the place of the current one. `Some`: there is none, or none yet. `some`: there were rows.
    async fn read(&mut self, wire: &mut Wire, interrupts: &mut Interrupts, patience: Patience, some: bool) -> Result<Option<Sent>, Stop> {
        let until = match patience {
            Patience::Endless => None,
            Patience::First => some.then(Instant::now),
            Patience::Until(until) => Some(until),
        };
        let next = next_batch(&mut self.stream, wire, interrupts, until).await?;
        let Some(Some(batch)) = next else { return Ok(Some(if next.is_none() { Sent::Suspended } else { Sent::All })) };
        self.arrays = prepare(&batch)?;
        (self.next, self.len) = (0, batch.num_rows());
        Ok(None)
    }

    /// Appends rows of the current batch until a buffer is full.
    fn write_rows(&mut self, wire: &mut Wire, to: &RowEncoder, limit: u64) -> Result<u64> {
        let rows = to.rows(&self.arrays)?;
        let first = self.next;
        let end = self.len.min(first.saturating_add(usize::try_from(limit).unwrap_or(usize::MAX)));
        while self.next < end && wire.pending() < FLUSH_BYTES {
            rows.write(self.next, &mut wire.out)?;
            self.next += 1;
        }
        let written = (self.next - first) as u64;
        self.total += written;
        Ok(written)
    }

    /// The complete tag. A query counts the rows of this very fetch, a change those it changed.
    pub fn complete_tag(&self, fetched: u64) -> String {
        row_tag(self.tag, if self.tag == "SELECT" { fetched } else { self.total })
    }
}

/// What a running statement gives next, `Some(None)` at its end; `None`: nothing has come until then. What is gathered for the client is sent before there is a wait.
pub async fn next_batch(
    stream: &mut BoxStream<'static, Result<RecordBatch>>,
    wire: &mut Wire,
    interrupts: &mut Interrupts,
    until: Option<Instant>,
) -> Result<Option<Option<RecordBatch>>, Stop> {
    let ready = stream.next().now_or_never();
    let batch = match ready {
        Some(batch) => {
            // A stream that is always ready must not keep its task from others, nor from being cancelled.
            interrupts.guard(wire, tokio::task::consume_budget().map(Ok)).await?;
            batch
        }
        None => {
            interrupts.flush(wire).await?;
            let next = stream.next();
            let waited = match until {
                Some(until) => interrupts.guard(wire, tokio::time::timeout_at(until, next).map(|next| Ok(next.ok()))).await?,
                None => interrupts.guard(wire, next.map(|next| Ok(Some(next)))).await?,
            };
            let Some(batch) = waited else { return Ok(None) };
            batch
        }
    };
    Ok(Some(batch.transpose()?))
}

/// Commands that count their rows do so behind their name; SHOW and EXPLAIN do not.
pub fn row_tag(tag: &str, rows: u64) -> String {
    match tag {
        "INSERT" => format!("INSERT 0 {rows}"),
        "SELECT" | "INSERT 0" | "UPDATE" | "DELETE" | "MERGE" | "FETCH" | "MOVE" | "COPY" => format!("{tag} {rows}"),
        other => other.to_string(),
    }
}
