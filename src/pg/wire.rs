//! One connection's two directions of bytes, and what may interrupt the work between them.
//!
//! While a statement runs, the socket is read ahead a little: so that a client that went away is noticed and its query
//! ends, and so that a pipelining client does not block. Output gathers in one buffer; flushing it is where a slow
//! client holds the stream of rows back. A flush that is interrupted keeps its place, so an error message can follow
//! whatever part of a row went out already.

use super::backend::{Commitment, Stoppable};
use super::frame::Frame;
use crate::error::{Error, Kind, Result};
use bytes::BytesMut;
use parking_lot::Mutex;
use pgwire::messages::Message;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// Output that is gathered before it is sent: large enough to share the cost of a system call, small enough to stay in
/// a core's cache and to bring first rows early.
pub const FLUSH_BYTES: usize = 64 << 10;
/// Input that is read ahead while a statement runs.
const READ_AHEAD_BYTES: usize = 64 << 10;
/// An output buffer above this is given back when it is empty: one huge row should not be held for ever.
const KEEP_BYTES: usize = 1 << 20;

/// Why the work on a message ended early.
#[derive(Debug)]
pub enum Stop {
    /// The statement failed; the connection goes on.
    Error(Error),
    /// The connection must end, and the client is told.
    Fatal(Error),
    /// The client is gone.
    Gone,
}

impl From<Error> for Stop {
    fn from(e: Error) -> Stop {
        Stop::Error(e)
    }
}

impl From<std::io::Error> for Stop {
    fn from(_: std::io::Error) -> Stop {
        Stop::Gone
    }
}

pub struct Wire {
    reader: Box<dyn AsyncRead + Send + Unpin>,
    writer: Box<dyn AsyncWrite + Send + Unpin>,
    pub input: BytesMut,
    /// Messages for the client; what is before `sent` has left.
    pub out: Vec<u8>,
    sent: usize,
}

impl Wire {
    pub fn new(reader: impl AsyncRead + Send + Unpin + 'static, writer: impl AsyncWrite + Send + Unpin + 'static) -> Wire {
        Wire { reader: Box::new(reader), writer: Box::new(writer), input: BytesMut::new(), out: Vec::new(), sent: 0 }
    }

    /// Waits for the next message; `None` at the end of the stream. May be dropped and called again.
    pub async fn frame(&mut self) -> Result<Option<Frame>, Stop> {
        loop {
            if let Some(frame) = Frame::take(&mut self.input).map_err(Stop::Fatal)? {
                return Ok(Some(frame));
            }
            if self.read().await? == 0 {
                return Ok(None);
            }
        }
    }

    /// Whether the next message has come, and is of that kind.
    pub fn is_next(&self, kind: u8) -> bool {
        self.input.first() == Some(&kind)
    }

    /// Reads what there is, at least one byte, 0 at the end.
    pub async fn read(&mut self) -> std::io::Result<usize> {
        self.input.reserve(8 << 10);
        self.reader.read_buf(&mut self.input).await
    }

    /// Ends when the client is gone; reads ahead meanwhile, but not without bound.
    async fn watch(&mut self) {
        while self.input.len() < READ_AHEAD_BYTES {
            if !matches!(self.read().await, Ok(n) if n > 0) {
                return;
            }
        }
        std::future::pending().await
    }

    /// Appends a message. pgwire refuses one that no client would take (30 kB; 2 GB for rows' descriptions, errors and
    /// notices) after it began to write it, and writes into its own kind of buffer: hence the copy, for all but rows.
    pub fn put(&mut self, message: &impl Message) -> Result<()> {
        let mut encoded = BytesMut::with_capacity(message.message_length() + 1);
        message.encode(&mut encoded).map_err(|e| Error::new(Kind::TooComplex, "a message to the client is too long").caused_by(e))?;
        self.out.extend_from_slice(&encoded);
        Ok(())
    }

    /// Bytes that wait to be sent.
    pub fn pending(&self) -> usize {
        self.out.len() - self.sent
    }

    pub async fn flush(&mut self) -> Result<(), Stop> {
        while self.sent < self.out.len() {
            let written = self.writer.write(&self.out[self.sent..]).await?;
            if written == 0 {
                return Err(Stop::Gone);
            }
            self.sent += written;
        }
        self.writer.flush().await?;
        self.sent = 0;
        self.out.clear();
        if self.out.capacity() > KEEP_BYTES {
            self.out.shrink_to(FLUSH_BYTES);
        }
        Ok(())
    }
}

impl Wire {
    /// Says the end where the stream has a way to.
    pub async fn close(&mut self) -> std::io::Result<()> {
        self.writer.shutdown().await
    }
}

/// The part of a connection that a cancel request on another connection reaches.
#[derive(Default)]
pub struct Cancel {
    running: Mutex<Option<Arc<Notify>>>,
    ended: Notify,
}

impl Stoppable for Cancel {
    fn cancel(&self) {
        Cancel::cancel(self);
    }

    fn terminate(&self) {
        self.ended.notify_one();
    }
}

impl Cancel {
    /// Cancels what runs now; an idle connection takes no notice.
    pub fn cancel(&self) -> bool {
        let running = self.running.lock().clone();
        running.inspect(|r| r.notify_one()).is_some()
    }
}

/// What may interrupt a statement: a cancel request, its timeout, the server's end.
pub struct Interrupts {
    cancel: Arc<Cancel>,
    shutdown: watch::Receiver<bool>,
    running: Arc<Notify>,
    deadline: Option<Instant>,
    commitment: Arc<Commitment>,
}

impl Interrupts {
    pub fn new(cancel: Arc<Cancel>, shutdown: watch::Receiver<bool>, commitment: Arc<Commitment>) -> Interrupts {
        Interrupts { cancel, shutdown, running: Arc::new(Notify::new()), deadline: None, commitment }
    }

    /// A statement begins: from here on it can be cancelled, and one that was meant for the last one is forgotten.
    pub fn begin(&mut self, timeout: Option<Duration>) {
        self.commitment.reset();
        self.running = Arc::new(Notify::new());
        self.deadline = timeout.map(|t| Instant::now() + t);
        *self.cancel.running.lock() = Some(self.running.clone());
    }

    /// The next statement of the same message has its own time.
    pub fn begin_next(&mut self, timeout: Option<Duration>) {
        self.deadline = timeout.map(|t| Instant::now() + t);
    }

    pub fn end(&mut self) {
        *self.cancel.running.lock() = None;
        self.deadline = None;
    }

    /// Ends with the reason of the interruption, if there is one.
    async fn wait(&mut self) -> Stop {
        let deadline = self.deadline;
        let timeout = async move {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.running.notified() => Stop::Error(Error::new(Kind::QueryCanceled, "canceling statement due to user request")),
            () = timeout => Stop::Error(Error::new(Kind::QueryCanceled, "canceling statement due to statement timeout")),
            () = self.cancel.ended.notified() => Stop::Fatal(terminated()),
            () = shutting_down(&mut self.shutdown) => Stop::Fatal(terminated()),
        }
    }

    /// Waits for input, or for the server's end.
    pub async fn frame(&mut self, wire: &mut Wire) -> Result<Option<Frame>, Stop> {
        tokio::select! {
            biased;
            frame = wire.frame() => frame,
            () = self.cancel.ended.notified() => Err(Stop::Fatal(terminated())),
            () = shutting_down(&mut self.shutdown) => Err(Stop::Fatal(terminated())),
        }
    }

    /// Waits for more of what a statement takes in, or for its interruption.
    pub async fn copied(&mut self, wire: &mut Wire) -> Result<Option<Frame>, Stop> {
        tokio::select! {
            biased;
            stop = self.wait() => Err(stop),
            frame = wire.frame() => frame,
        }
    }

    /// Runs a statement's work until it is done, interrupted, or nobody waits for it any more.
    pub async fn guard<T>(&mut self, wire: &mut Wire, work: impl Future<Output = Result<T>>) -> Result<T, Stop> {
        let mut work = pin!(work);
        let stop = tokio::select! {
            biased;
            stop = self.wait() => stop,
            done = &mut work => return done.map_err(Stop::Error),
            () = wire.watch() => Stop::Gone,
        };
        // What is being committed is no longer cancelled: nobody could be told whether it came true.
        if matches!(stop, Stop::Fatal(_)) || self.commitment.cancel() { Err(stop) } else { work.await.map_err(Stop::Error) }
    }

    /// Sends what must be sent: a cancelled statement still gets its answer out, only the server's end is stronger.
    pub async fn finish(&mut self, wire: &mut Wire) -> Result<(), Stop> {
        tokio::select! {
            biased;
            flushed = wire.flush() => flushed,
            () = shutting_down(&mut self.shutdown) => Err(Stop::Fatal(terminated())),
        }
    }

    /// Sends what is gathered; waits for a slow client no longer than until an interruption.
    pub async fn flush(&mut self, wire: &mut Wire) -> Result<(), Stop> {
        tokio::select! {
            biased;
            stop = self.wait() => Err(stop),
            flushed = wire.flush() => flushed,
        }
    }
}

/// Ends when the server shuts down, also when nobody is left who could say so.
async fn shutting_down(shutdown: &mut watch::Receiver<bool>) {
    let _ = shutdown.wait_for(|s| *s).await;
}

fn terminated() -> Error {
    Error::new(Kind::AdminShutdown, "terminating connection due to administrator command")
}
