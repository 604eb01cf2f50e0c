//! Threads for the processor's work of sessions (binding, planning, scans, aggregation), apart from the network's: a heavy SELECT must not keep
//! others from connecting. Their stacks are large, for planning a deep statement recurses. A few more are for what is done at once ([`brief`]): it must not wait
//! until a long query is.
//!
//! [`brief`]: crate::sql::brief

use crate::error::{Error, Kind, Result};
use crate::sql::ast::Statement;
use crate::sql::brief::is_brief;
use crate::sql::interrupt::Interrupt;
use arrow::array::RecordBatch;
use futures::Stream;
use futures::stream::BoxStream;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

const STACK_BYTES: usize = 32 << 20;
/// Batches that a query may be ahead of its reader.
const AHEAD: usize = 4;

/// Threads that are kept for brief statements.
const BRIEF_THREADS: usize = 2;
/// A text up to this is parsed there.
const BRIEF_TEXT_BYTES: usize = 16 << 10;

/// All threads of sessions.
pub struct Pools {
    queries: Arc<Pool>,
    brief: Arc<Pool>,
}

impl Pools {
    pub fn new(threads: usize) -> Result<Pools> {
        Ok(Pools { queries: Arc::new(Pool::new("query", threads.max(2))?), brief: Arc::new(Pool::new("brief", BRIEF_THREADS)?) })
    }

    /// Where a statement runs.
    pub fn of(&self, statement: &Statement) -> Arc<Pool> {
        if is_brief(statement) { self.brief.clone() } else { self.queries.clone() }
    }

    /// Where a text is parsed.
    pub fn of_text(&self, text: &str) -> &Pool {
        if text.len() <= BRIEF_TEXT_BYTES { &self.brief } else { &self.queries }
    }

    /// For work of any length.
    pub fn queries(&self) -> Arc<Pool> {
        self.queries.clone()
    }
}

pub struct Pool {
    runtime: Option<tokio::runtime::Runtime>,
}

impl Pool {
    fn new(name: &str, threads: usize) -> Result<Pool> {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(threads).thread_name(name).thread_stack_size(STACK_BYTES).enable_time().build()?;
        Ok(Pool { runtime: Some(runtime) })
    }

    fn spawn<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Abort<T> {
        let runtime = self.runtime.as_ref().expect("the runtime lives as long as the pool");
        Abort(runtime.spawn(work))
    }

    /// Runs `work` here. Dropping the future ends it at its next await.
    pub async fn run<T: Send + 'static>(&self, work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
        let interrupt = Interrupt::default();
        let mut task = self.spawn(interrupt.scope(work));
        let abandoned = Abandoned(Some(interrupt));
        let done = (&mut task.0).await;
        abandoned.disarm();
        match done {
            Ok(result) => result,
            Err(e) if e.is_panic() => Err(Error::internal("the statement met a bug in the server; the server goes on")),
            Err(_) => Err(Error::new(Kind::AdminShutdown, "the server is shutting down")),
        }
    }

    /// Pulls `stream` here, a few batches ahead of the reader. Dropping the result ends it.
    pub fn stream(&self, stream: BoxStream<'static, Result<RecordBatch>>) -> BoxStream<'static, Result<RecordBatch>> {
        let (sender, receiver) = mpsc::channel(AHEAD);
        let task = self.spawn(async move {
            let mut stream = stream;
            while let Some(batch) = futures::StreamExt::next(&mut stream).await {
                if sender.send(batch).await.is_err() {
                    return;
                }
            }
        });
        Box::pin(Pulled { receiver, task, ended: false, _abandoned: Abandoned(Some(Interrupt::current())) })
    }
}

impl Drop for Pool {
    /// A runtime must not block the thread that drops it, which may be one of another runtime.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A task that ends with its handle.
struct Abort<T>(JoinHandle<T>);

impl<T> Drop for Abort<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Pulled {
    receiver: mpsc::Receiver<Result<RecordBatch>>,
    task: Abort<()>,
    ended: bool,
    _abandoned: Abandoned,
}

/// Tells what runs that nobody waits for it any more, unless it is done.
struct Abandoned(Option<Interrupt>);

impl Abandoned {
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for Abandoned {
    fn drop(&mut self) {
        if let Some(interrupt) = &self.0 {
            interrupt.raise();
        }
    }
}

impl Stream for Pulled {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.receiver.poll_recv(cx) {
            Poll::Ready(None) if !self.ended => {
                // The task has ended: of itself, or by a panic, which must not look like the end of the rows.
                match Pin::new(&mut self.task.0).poll(cx) {
                    Poll::Pending => Poll::Pending,
                    Poll::Ready(result) => {
                        self.ended = true;
                        Poll::Ready(result.err().map(|_| Err(Error::internal("the statement met a bug in the server; the server goes on"))))
                    }
                }
            }
            other => other,
        }
    }
}
