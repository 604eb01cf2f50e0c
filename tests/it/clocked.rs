//! The engine in this process, over a store in memory and a clock that the test moves, served on a free port like any server.

use crate::client::Client;
use std::sync::Arc;
use std::time::Duration;
use tidewater::node::config::Limits;
use tidewater::node::identity::Door;
use tidewater::node::node::{Started, start_on};
use tidewater::node::pool::Pools;
use tidewater::node::session::SessionBackend;
use tidewater::pg::server::Server;
use tidewater::state::memory::MemoryStore;
use tidewater::types::time::ManualClock;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;

pub struct Clocked {
    clock: Arc<ManualClock>,
    now: std::cell::Cell<i64>,
    port: u16,
    stop: watch::Sender<bool>,
    started: Started,
    runtime: Runtime,
}

impl Clocked {
    /// `now`: µs since 1970.
    pub fn start(now: i64) -> Clocked {
        let clock = Arc::new(ManualClock::at(now));
        let limits = Limits {
            epoch_rows: 64 * 1024,
            build_rows: 64 * 1024,
            step_bytes: 64 << 20,
            checkpoint_interval: Duration::from_millis(200),
            state_bytes: 64 << 20,
            dirty_bytes: 64 << 20,
            run_bytes: 64 << 20,
            queue_bytes: 64 << 20,
            reader_bytes: 64 << 20,
            spill: None,
            spill_bytes: 1 << 30,
            isolated_log_bytes: 1 << 30,
            data_dir: None,
            audit_log: None,
            subscription_bytes: 64 << 20,
            retain_history: Duration::from_secs(3600),
            history_bytes: 1 << 30,
            replay_timeout: Duration::from_secs(10),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let started = start_on(Arc::new(MemoryStore::new()), clock.clone(), limits, 2).unwrap();
        let backend = Arc::new(SessionBackend::new(started.engine.clone(), started.binder.clone(), Arc::new(Pools::new(2).unwrap()), Door::default()));
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (stop, stopped) = watch::channel(false);
        runtime.spawn(async move { Server::new(backend, None, 20).serve(listener, stopped).await });
        Clocked { clock, now: std::cell::Cell::new(now), port, stop, started, runtime }
    }

    pub fn connect(&self) -> Client {
        Client::connect(self.port).unwrap()
    }

    pub fn advance(&self, micros: i64) {
        self.now.set(self.now.get() + micros);
        self.clock.set(self.now.get());
    }
}

impl Drop for Clocked {
    fn drop(&mut self) {
        self.runtime.block_on(self.started.engine.stop()).ok();
        self.stop.send_replace(true);
    }
}
