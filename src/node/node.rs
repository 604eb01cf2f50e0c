//! The whole server: opens the data directory, brings the engine back to where it was, and serves until told to stop.

use super::checkpoints::CheckpointState;
use super::config::{Auth, Config, Limits};
use super::data_dir::DataDir;
use super::engine::NodeEngine;
use super::identity::Door;
use super::isolated::Crew;
use super::numbers::Numbers;
use super::pool::Pools;
use super::recover::{self, Replan};
use super::scheduler::{Lane, Scheduler};
use super::session::{self, SessionBackend};
use super::share::Share;
use super::shared::Shared;
use super::statement::replan::replan;
use super::status::NodeStatus;
use super::subscriptions::Subscriptions;
use super::writer::Writer;
use super::{http, listen, metrics};
use crate::connectors::pump::ReadAhead;
use crate::dataflow::exchange::Exchange;
use crate::dataflow::operator::BuildContext;
use crate::dataflow::worker::Worker;
use crate::error::{Error, Result};
use crate::pg::server::Server;
use crate::pg::tls::Tls;
use crate::sql::bind::Binder;
use crate::state::checkpoint::Generation;
use crate::state::committed::Committed;
use crate::state::fault::FaultyStore;
use crate::state::log::{Checkpointer, Logs};
use crate::state::rocks::RocksStore;
use crate::state::store::Store;
use crate::types::time::{Clock, Epoch, SystemClock};
use crate::views::published::Published;
use crossbeam_channel::Receiver;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{oneshot, watch};

/// Runs the server until SIGTERM, SIGINT or a failure of the engine. Returns after a clean checkpoint.
pub async fn serve(config: Config) -> Result<()> {
    let tls = config.tls()?.map(Tls::load).transpose()?.map(Arc::new);
    let data = DataDir::open(&config.data_dir)?;
    let pg_listener = listen::listen(config.listen, "listen").await?;
    let http_listener = listen::listen(config.http, "http").await?;
    let (stop, stopped) = watch::channel(false);
    let status = Arc::new(NodeStatus::new(&config));
    let endpoints = tokio::spawn(http::serve(http_listener, status.clone(), metrics::install()?, until(stopped.clone())));
    let path = data.path().join("state");
    let settings = config.clone();
    let started = tokio::task::spawn_blocking(move || start(&settings, &path)).await;
    let Started { engine, binder, ended } = started.map_err(|e| Error::internal(format!("the start failed: {e}")))??;
    if config.auth == Auth::Scram && !engine.shared.catalog.load().roles().has_passwords() {
        tracing::warn!("everybody is asked for a password, and no role has one: start with --auth trust once and ALTER ROLE tidewater PASSWORD '…'");
    }
    let door = Door { auth: config.auth, plain_from_afar: config.insecure_listen };
    let backend = Arc::new(SessionBackend::new(engine.clone(), binder, Arc::new(Pools::new(config.threads)?), door));
    let server = Server::new(backend, tls.clone(), MAX_CONNECTIONS);
    tokio::spawn(reload_on_hangup(tls, engine.clone(), until(stopped.clone())));
    tokio::spawn(sync_audit(engine.clone(), until(stopped.clone())));
    status.ready(engine.clone(), server.stats());
    let served = tokio::spawn(async move { server.serve(pg_listener, stopped).await });
    tracing::info!(listen = %config.listen, http = %config.http, data_dir = %config.data_dir.display(), "ready");
    let result = tokio::select! {
        failure = ended => failure.unwrap_or_else(|_| Err(Error::internal("the scheduler has ended"))),
        signal = terminated() => {
            signal?;
            tracing::info!("stopping: writing the last checkpoint");
            engine.stop().await
        }
    };
    stop.send_replace(true);
    let _ = tokio::time::timeout(STOP_TIMEOUT, async { tokio::join!(served, endpoints) }).await;
    drop(data);
    result
}

/// The audit log reaches the disk, once more at the end.
async fn sync_audit(engine: Arc<NodeEngine>, end: impl Future<Output = ()>) {
    let mut end = std::pin::pin!(end);
    let mut ended = false;
    while !ended {
        ended = tokio::select! {
            () = tokio::time::sleep(AUDIT_SYNC_INTERVAL) => false,
            () = &mut end => true,
        };
        let engine = engine.clone();
        let _ = tokio::task::spawn_blocking(move || engine.shared.audit.sync()).await;
    }
}

/// SIGHUP: the file of the audit log is opened again, certificates are read again. One that cannot be used is told, and the old one stays.
async fn reload_on_hangup(tls: Option<Arc<Tls>>, engine: Arc<NodeEngine>, end: impl Future<Output = ()>) {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut hangups) = signal(SignalKind::hangup()) else { return };
    let mut end = std::pin::pin!(end);
    loop {
        tokio::select! {
            _ = hangups.recv() => {}
            () = &mut end => return,
        }
        if let Err(error) = engine.shared.audit.reopen() {
            tracing::error!(%error, "the file of the audit log could not be opened again");
        }
        match tls.as_ref().map(|tls| tls.reload()) {
            Some(Ok(())) => tracing::info!("certificates were read again"),
            Some(Err(error)) => tracing::error!(%error, "certificates stay as they were"),
            None => tracing::info!("SIGHUP: there are no certificates to read again"),
        }
    }
}

/// Rows of the first epoch, and of the first with another view in it, and how long an epoch should take at most.
const FIRST_EPOCH_ROWS: usize = 2 * 1024;
const EPOCH_MAX: Duration = Duration::from_millis(200);
/// Sessions at once; each costs a task and some buffers.
const MAX_CONNECTIONS: usize = 2000;
/// What of the audit log power loss may take.
const AUDIT_SYNC_INTERVAL: Duration = Duration::from_secs(1);
/// How long connections may take to hear that the server stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

async fn until(mut stopped: watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stop| *stop).await;
}

async fn terminated() -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    Ok(())
}

/// A running engine.
pub struct Started {
    pub engine: Arc<NodeEngine>,
    pub binder: Arc<Binder>,
    /// Told when the scheduler ends, with its failure if that is why.
    pub ended: oneshot::Receiver<Result<()>>,
}

/// Opens the store under `path`, recovers, and starts the threads. Blocks until everything is as it was.
pub fn start(config: &Config, path: &std::path::Path) -> Result<Started> {
    let limits = config.limits();
    if let Some(spill) = &limits.spill {
        // A killed server leaves its files.
        if spill.exists() {
            std::fs::remove_dir_all(spill)?;
        }
        std::fs::create_dir(spill)?;
    }
    let mut store: Arc<dyn Store> = RocksStore::open(path, &config.rocks_options())?;
    // A hook for tests; see the file.
    if let Ok(fault) = std::env::var("TIDEWATER_TEST_FAULT") {
        store = FaultyStore::over(store, &fault)?;
    }
    start_on(store, Arc::new(SystemClock), limits, config.threads)
}

/// The engine over any store and clock.
pub fn start_on(store: Arc<dyn Store>, clock: Arc<dyn Clock>, limits: Limits, threads: usize) -> Result<Started> {
    let logs = Arc::new(Logs::new(store.clone())?);
    let record = recover::last_checkpoint(&logs)?;
    let committed = Committed::new(store.clone(), Generation(record.generation));
    let snapshot = committed.read().1;
    let published = Published::new(record.epoch, snapshot.clone(), &HashMap::new());
    let shared = Arc::new(Shared::new(clock, limits, logs, published)?);
    let (workers, worker_threads) = start_workers("worker", threads, &committed)?;
    let (commands, command_queue) = crossbeam_channel::unbounded();
    let (waker, wake) = crossbeam_channel::bounded(1);
    let mut scheduler = Scheduler {
        shared: shared.clone(),
        store,
        workers,
        worker_threads,
        commands: command_queue,
        wake,
        waker,
        read_ahead: ReadAhead::of(shared.limits.queue_bytes),
        main: Lane::default(),
        building: Vec::new(),
        isolated: Vec::new(),
        deliveries: Vec::new(),
        subscriptions: Subscriptions::default(),
        kept: BTreeMap::new(),
        committed: committed.clone(),
        running: HashMap::new(),
        relations: HashMap::new(),
        writes: VecDeque::new(),
        load: None,
        deferred: VecDeque::new(),
        table_positions: BTreeMap::new(),
        epoch: Epoch::default(),
        numbers: Numbers::load(&shared.logs)?,
        clock: i64::MIN,
        due: BTreeMap::new(),
        sequence: Epoch::default(),
        checkpoints: CheckpointState::new(Checkpointer::start(committed, 2 * shared.limits.dirty_bytes)?, snapshot, &record),
        state_bytes: 0,
        made: 0,
        share: Share::new(FIRST_EPOCH_ROWS, shared.limits.epoch_rows, EPOCH_MAX, shared.limits.step_bytes),
        feeds_shown: std::time::Instant::now(),
        stopping: None,
    };
    let binder = Arc::new(session::binder(threads, session::runtime(&shared.limits)?)?);
    let planner: &Replan<'_> = &|object| replan(&binder, object, shared.catalog.load_full(), shared.known.load_full());
    let positions = scheduler.recover(record, planner)?;
    let writer = Writer::new(shared.clone(), commands.clone(), positions);
    let (report, ended) = oneshot::channel();
    std::thread::Builder::new().name("scheduler".into()).spawn(move || {
        let _ = report.send(scheduler.run());
    })?;
    Ok(Started { engine: Arc::new(NodeEngine { shared, commands, writer }), binder, ended })
}

/// A crew of workers that run the same graphs, and the way to them; `name`: of their threads.
pub(super) fn start_workers(name: &str, threads: usize, committed: &Arc<Committed>) -> Result<Crew> {
    let exchange = Exchange::new(threads);
    let started = (0..threads).map(|worker| {
        let (sender, receiver): (_, Receiver<_>) = crossbeam_channel::unbounded();
        let context = BuildContext { store: committed.clone(), worker, workers: threads, cache_entries: None, fresh: false, checks: false };
        let worker_state = Worker::new(context, exchange.clone());
        let thread = std::thread::Builder::new().name(format!("{name}-{worker}")).spawn(move || worker_state.run(receiver))?;
        Ok((sender, thread))
    });
    Ok(started.collect::<Result<Vec<_>>>()?.into_iter().unzip())
}
