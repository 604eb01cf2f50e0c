//! The listener's loop: accepts connections, bounds their number, delivers cancel requests, ends them all at shutdown.
//!
//! Each connection is one task. A panic in it is caught at its edge: its client gets XX000, the server goes on.

use super::auth::{self, Attempts};
use super::backend::{Backend, Origin, Peer};
use super::connection::Connection;
use super::reply::{self, Severity};
use super::startup::{self, Request};
use super::tls::{self, Channel, Tls};
use super::wire::{Cancel, Interrupts, Stop, Wire};
use crate::error::{Error, Kind};
use futures::FutureExt;
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// Connections that may be in their start-up beyond the limit of sessions: cancel requests must come through when it is reached.
const STARTING_CONNECTIONS: usize = 100;
/// How long a client may take for its start-up, as Postgres's `authentication_timeout`.
const STARTUP_TIMEOUT: Duration = Duration::from_secs(60);
/// How long connections may take to end at shutdown before they are cut.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);
/// How long a client's last message may take to leave.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);
/// A pause after a failed accept (no file descriptors left), so that it is not tried in a tight loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Counts for the metrics page.
#[derive(Debug, Default)]
pub struct PgStats {
    /// Sessions open now.
    pub open: AtomicU64,
    /// Sessions begun since the start.
    pub connections: AtomicU64,
    /// Statements run.
    pub queries: AtomicU64,
    /// Rows sent.
    pub rows: AtomicU64,
    /// Statements that failed.
    pub errors: AtomicU64,
    /// Cancel requests that found a statement running.
    pub cancels: AtomicU64,
    /// Panics caught at a connection's edge: each is a bug.
    pub panics: AtomicU64,
}

/// The wire server over a backend.
#[derive(Clone)]
pub struct Server {
    shared: Arc<Shared>,
}

struct Shared {
    backend: Arc<dyn Backend>,
    tls: Option<Arc<Tls>>,
    attempts: Attempts,
    sessions: Arc<Semaphore>,
    max_connections: usize,
    stats: Arc<PgStats>,
    next_process: AtomicI32,
    /// By process number: what a cancel request needs.
    keys: Mutex<HashMap<i32, (i32, Arc<Cancel>)>>,
}

impl Server {
    /// `tls`: what connections may be encrypted with.
    pub fn new(backend: Arc<dyn Backend>, tls: Option<Arc<Tls>>, max_connections: usize) -> Server {
        Server {
            shared: Arc::new(Shared {
                backend,
                tls,
                attempts: Attempts::default(),
                sessions: Arc::new(Semaphore::new(max_connections)),
                max_connections,
                stats: Arc::default(),
                next_process: AtomicI32::new(1),
                keys: Mutex::default(),
            }),
        }
    }

    pub fn stats(&self) -> Arc<PgStats> {
        self.shared.stats.clone()
    }

    /// Serves until `shutdown` turns true (or its sender is gone), then tells every client (57P01) and ends.
    pub async fn serve(&self, listener: TcpListener, mut shutdown: watch::Receiver<bool>) {
        let mut tasks = JoinSet::new();
        let starting = Arc::new(Semaphore::new(self.shared.max_connections + STARTING_CONNECTIONS));
        let ending = shutdown.clone();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = shutdown.wait_for(|s| *s) => break,
                Some(_) = tasks.join_next(), if !tasks.is_empty() => continue,
            };
            match accepted {
                Ok((socket, peer)) => {
                    let Ok(place) = starting.clone().try_acquire_owned() else { continue };
                    let (shared, ending) = (self.shared.clone(), ending.clone());
                    tasks.spawn(async move {
                        shared.connection(socket, peer, ending).await;
                        drop(place);
                    });
                }
                Err(e) => {
                    tracing::warn!(error = %e, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(listener);
        let all_ended = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(SHUTDOWN_GRACE, all_ended).await.is_err() {
            tasks.shutdown().await;
        }
    }
}

impl Shared {
    /// A connection's whole life; whatever happens in it stays in it.
    async fn connection(&self, socket: TcpStream, peer: SocketAddr, shutdown: watch::Receiver<bool>) {
        // Answers leave in few large writes already; waiting to join them would only delay.
        if let Err(e) = socket.set_nodelay(true) {
            tracing::debug!(error = %e, "TCP_NODELAY was refused");
        }
        // A handshake that fails has no answer: the client's library knows best why.
        let Ok(Ok((mut wire, channel))) = tokio::time::timeout(STARTUP_TIMEOUT, tls::negotiate(socket, self.tls.as_deref())).await else { return };
        let lived = AssertUnwindSafe(self.live(&mut wire, peer, &channel, shutdown)).catch_unwind().await;
        let farewell = match lived {
            Ok(Stop::Gone) => None,
            Ok(Stop::Error(e) | Stop::Fatal(e)) => Some(e),
            Err(_) => {
                self.stats.panics.fetch_add(1, Relaxed);
                Some(Error::internal("the connection met an internal error").with_hint("the server's log has the details; please report it"))
            }
        };
        if let Some(e) = farewell
            && wire.put(&reply::error(Severity::Fatal, &e)).is_ok()
        {
            // The client may be gone, or not read: then nobody misses the message.
            let _ = tokio::time::timeout(FAREWELL_TIMEOUT, wire.flush()).await;
        }
        if channel.encrypted {
            let _ = tokio::time::timeout(FAREWELL_TIMEOUT, wire.close()).await;
        }
    }

    async fn live(&self, wire: &mut Wire, peer: SocketAddr, channel: &Channel, mut shutdown: watch::Receiver<bool>) -> Stop {
        let request = tokio::select! {
            request = tokio::time::timeout(STARTUP_TIMEOUT, startup::receive(wire)) => request,
            _ = shutdown.wait_for(|s| *s) => return Stop::Fatal(Error::new(Kind::CannotConnectNow, "the database system is shutting down")),
        };
        match request {
            Err(_) => Stop::Gone,
            Ok(Err(stop)) => stop,
            Ok(Ok(Request::Cancel { process, secret })) => {
                self.cancel(process, secret);
                Stop::Gone
            }
            Ok(Ok(Request::Session { parameters })) => self.session(wire, peer, channel, &parameters, shutdown).await,
        }
    }

    async fn session(
        &self,
        wire: &mut Wire,
        peer: SocketAddr,
        channel: &Channel,
        parameters: &BTreeMap<String, String>,
        mut shutdown: watch::Receiver<bool>,
    ) -> Stop {
        let user = parameters.get("user").map_or("", String::as_str);
        let origin = Origin { address: peer, encrypted: channel.encrypted, certificate: channel.client.clone() };
        let shown = auth::authenticate(self.backend.as_ref(), &self.attempts, wire, user, &origin, channel);
        let shown = tokio::select! {
            shown = tokio::time::timeout(STARTUP_TIMEOUT, shown) => shown,
            _ = shutdown.wait_for(|s| *s) => return Stop::Gone,
        };
        match shown {
            Err(_) => return Stop::Gone,
            Ok(Err(stop)) => return stop,
            Ok(Ok(())) => {}
        }
        let Ok(_place) = self.sessions.try_acquire() else {
            return Stop::Fatal(Error::new(Kind::TooManyConnections, "sorry, too many clients already"));
        };
        let key = Key::register(self);
        let peer = Peer { pid: key.process, address: peer, encrypted: channel.encrypted, stop: key.cancel.clone() };
        let session = match self.backend.connect(parameters, peer).await {
            Ok(session) => session,
            Err(e) => {
                self.backend.refused(user, &origin, &e);
                return Stop::Fatal(e);
            }
        };
        self.stats.connections.fetch_add(1, Relaxed);
        let interrupts = Interrupts::new(key.cancel.clone(), shutdown, session.commitment());
        Connection::new(wire, session, interrupts, self.stats.clone()).run(key.process, key.secret).await
    }

    /// A wrong key is ignored, and there is no answer in any case.
    fn cancel(&self, process: i32, secret: i32) {
        let found = self.keys.lock().get(&process).filter(|(s, _)| *s == secret).map(|(_, c)| c.clone());
        if found.is_some_and(|cancel| cancel.cancel()) {
            self.stats.cancels.fetch_add(1, Relaxed);
        }
    }
}

/// An open session's entry among the cancel keys and the counts; dropping it takes both back, also in a panic.
struct Key<'s> {
    shared: &'s Shared,
    process: i32,
    secret: i32,
    cancel: Arc<Cancel>,
}

impl Key<'_> {
    fn register(shared: &Shared) -> Key<'_> {
        // The low bits of a version 4 uuid are random, from the operating system.
        let secret = uuid::Uuid::new_v4().as_u128() as i32;
        let cancel = Arc::new(Cancel::default());
        let process = shared.next_process.fetch_add(1, Relaxed) & i32::MAX;
        shared.keys.lock().insert(process, (secret, cancel.clone()));
        shared.stats.open.fetch_add(1, Relaxed);
        Key { shared, process, secret, cancel }
    }
}

impl Drop for Key<'_> {
    fn drop(&mut self) {
        self.shared.keys.lock().remove(&self.process);
        self.shared.stats.open.fetch_sub(1, Relaxed);
    }
}
