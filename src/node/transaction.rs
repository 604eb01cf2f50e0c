//! A transaction: the epoch it reads, and what it has changed and is not yet true for anybody else (design D16).
//!
//! ```text
//!   statement --snapshot + changes--> delta --> changes       (seen by the next statement, cut back by ROLLBACK TO)
//!   COMMIT    --> all changes, netted --> the writer checks that the rows they were made from are still there --> one epoch
//! ```
//!
//! Nothing waits for a lock: of two transactions that change the same row, the one that commits later is refused (40001). Objects that it
//! creates or alters are there at once, for others too, and marked: ROLLBACK, a lost connection or a crash takes them away, or back. Objects that it drops are found by
//! nobody any more, and go when it commits.

use super::engine_api::{Engine, Resolve, Snapshot};
use crate::catalog::object::Object;
use crate::error::{Error, Kind, Result};
use crate::sql::ast::Isolation;
use crate::state::run::RunStack;
use crate::types::delta::Delta;
use crate::types::ids::ObjectId;
use crate::types::time::Epoch;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// For how long a transaction may read one epoch: what was written since cannot be merged while it does.
const LONGEST_PIN: Duration = Duration::from_secs(600);

/// See the module. Used by one statement at a time.
pub struct Transaction {
    state: Mutex<State>,
}

struct State {
    isolation: Isolation,
    read_only: bool,
    /// Whether a statement has read or written.
    begun: bool,
    pinned: Option<(Arc<dyn Snapshot>, Instant)>,
    changes: Changes,
    created: Vec<ObjectId>,
    /// As they were before each change.
    altered: Vec<Arc<Object>>,
    dropped: Vec<ObjectId>,
    savepoints: Vec<Savepoint>,
}

/// Where ROLLBACK TO goes back to.
struct Savepoint {
    name: String,
    /// Of each table that was changed before: how many deltas, the runs, their rows.
    changes: BTreeMap<ObjectId, (usize, RunStack, u64)>,
    created: usize,
    altered: usize,
    dropped: usize,
}

/// Changes of tables, in the order of statements. Cheap to clone.
#[derive(Clone, Default)]
pub struct Changes {
    tables: BTreeMap<ObjectId, Changed>,
}

#[derive(Clone, Default)]
struct Changed {
    /// Each over the rows as the ones before left them.
    deltas: Vec<Arc<Delta>>,
    /// The same, for readers.
    runs: RunStack,
    rows: u64,
}

impl Changes {
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    pub fn runs(&self) -> BTreeMap<ObjectId, RunStack> {
        self.tables.iter().map(|(id, changed)| (*id, changed.runs.clone())).collect()
    }

    pub fn deltas(&self) -> impl Iterator<Item = (ObjectId, &[Arc<Delta>])> {
        self.tables.iter().map(|(id, changed)| (*id, &changed.deltas[..]))
    }

    /// What [`Changes::cut_back`] goes back to: deltas only come behind others, runs merge.
    fn mark(&self) -> BTreeMap<ObjectId, (usize, RunStack, u64)> {
        self.tables.iter().map(|(id, changed)| (*id, (changed.deltas.len(), changed.runs.clone(), changed.rows))).collect()
    }

    fn cut_back(&mut self, to: BTreeMap<ObjectId, (usize, RunStack, u64)>) {
        self.tables.retain(|id, _| to.contains_key(id));
        for (id, (deltas, runs, rows)) in to {
            // One that was dropped since stays so.
            let Some(changed) = self.tables.get_mut(&id) else { continue };
            changed.deltas.truncate(deltas);
            (changed.runs, changed.rows) = (runs, rows);
        }
    }

    fn add(&mut self, table: ObjectId, delta: Delta, snapshot: &dyn Snapshot) -> Result<()> {
        let changed = self.tables.entry(table).or_default();
        if let Some(run) = snapshot.run_of(table, &delta, changed.rows)? {
            changed.runs.push(Epoch::default(), run);
        }
        changed.rows += delta.rows() as u64;
        changed.deltas.push(Arc::new(delta));
        Ok(())
    }
}

/// What is left to do when a transaction is over.
#[derive(Default)]
pub struct Over {
    pub changes: Changes,
    pub made: Made,
    pub dropped: Vec<ObjectId>,
}

/// What ROLLBACK has to undo in the catalog.
#[derive(Default)]
pub struct Made {
    pub created: Vec<ObjectId>,
    altered: Vec<Arc<Object>>,
}

impl Made {
    /// All that has marks of the transaction.
    pub fn objects(&self) -> Vec<ObjectId> {
        let mut objects: Vec<ObjectId> = self.created.iter().copied().chain(self.altered.iter().map(|o| o.id)).collect();
        objects.sort_unstable();
        objects.dedup();
        objects
    }

    /// The altered ones, each as it was first.
    pub fn before(self) -> Vec<Object> {
        let mut before: Vec<Object> = Vec::new();
        for object in self.altered {
            if before.iter().all(|o| o.id != object.id) {
                before.push(object.as_ref().clone());
            }
        }
        before
    }

    pub fn is_empty(&self) -> bool {
        self.created.is_empty() && self.altered.is_empty()
    }
}

/// What a transaction that does not commit has made goes, with whatever others made over it; what it has altered is as it was.
pub async fn undo(engine: &dyn Engine, made: Made) -> Result<()> {
    let catalog = engine.catalog();
    let there = catalog.with_dependants(&catalog.present(&made.created));
    if !there.is_empty() {
        engine.drop_objects(&there).await?;
    }
    let before: Vec<Object> = made.before().into_iter().filter(|o| catalog.get(o.id).is_some() && !there.contains(&o.id)).collect();
    if before.is_empty() { Ok(()) } else { engine.alter(before).await }
}

impl Transaction {
    pub fn new(isolation: Isolation, read_only: bool) -> Transaction {
        let (changes, created, altered, dropped, savepoints) = Default::default();
        Transaction { state: Mutex::new(State { isolation, read_only, begun: false, pinned: None, changes, created, altered, dropped, savepoints }) }
    }

    /// `SET TRANSACTION`.
    pub fn set_modes(&self, isolation: Option<Isolation>, read_only: Option<bool>) -> Result<()> {
        let mut state = self.state.lock();
        let late = |what: &str| Err(Error::new(Kind::ActiveTransaction, format!("{what} must be called before any query")));
        if let Some(isolation) = isolation.filter(|i| *i != state.isolation) {
            if state.begun {
                return late("SET TRANSACTION ISOLATION LEVEL");
            }
            state.isolation = isolation;
        }
        match read_only {
            Some(false) if state.read_only && state.begun => return late("SET TRANSACTION READ WRITE"),
            Some(read_only) => state.read_only = read_only,
            None => {}
        }
        Ok(())
    }

    pub fn isolation(&self) -> Isolation {
        self.state.lock().isolation
    }

    pub fn is_read_only(&self) -> bool {
        self.state.lock().read_only
    }

    /// Tables whose rows are not for everybody to see as this transaction sees them.
    pub fn has_changed(&self) -> bool {
        !self.state.lock().changes.is_empty()
    }

    /// What a statement of it reads: the newest epoch, or the one that is pinned, with its own changes.
    pub async fn snapshot(&self, engine: &dyn Engine, wait_for: Option<Epoch>, reads: &[ObjectId]) -> Result<Arc<dyn Snapshot>> {
        let (pinned, pins) = {
            let mut state = self.state.lock();
            state.begun = true;
            (state.pinned.clone(), state.isolation.is_pinned() || state.read_only)
        };
        let base = match pinned {
            Some((_, since)) if since.elapsed() > LONGEST_PIN => {
                let minutes = LONGEST_PIN.as_secs() / 60;
                return Err(Error::new(Kind::SerializationFailure, format!("the transaction has read the same epoch for more than {minutes} minutes"))
                    .with_hint("begin it anew; long readers of the newest rows use READ COMMITTED"));
            }
            Some((snapshot, _)) => snapshot,
            None => engine.snapshot(wait_for, reads).await?,
        };
        let mut state = self.state.lock();
        // What reads no relation, but the catalog, has seen no epoch.
        if pins && state.pinned.is_none() && !reads.is_empty() {
            state.pinned = Some((base.clone(), Instant::now()));
        }
        if state.changes.is_empty() { Ok(base) } else { base.with_changes(&state.changes) }
    }

    /// Has a statement make a change of a table, on top of those before it.
    pub async fn write(&self, engine: &dyn Engine, wait_for: Option<Epoch>, table: ObjectId, resolve: Resolve) -> Result<()> {
        let snapshot = self.snapshot(engine, wait_for, &[table]).await?;
        let delta = resolve(snapshot.clone()).await?;
        if delta.is_empty() {
            return Ok(());
        }
        self.state.lock().changes.add(table, delta, snapshot.as_ref())
    }

    pub fn created(&self, object: ObjectId) {
        let mut state = self.state.lock();
        (state.begun, _) = (true, state.created.push(object));
    }

    pub fn has_created(&self, object: ObjectId) -> bool {
        self.state.lock().created.contains(&object)
    }

    pub fn has_altered(&self, object: ObjectId) -> bool {
        self.state.lock().altered.iter().any(|o| o.id == object)
    }

    /// An object is another; `before`: what it was.
    pub fn altered(&self, before: Arc<Object>) {
        let mut state = self.state.lock();
        (state.begun, _) = (true, state.altered.push(before));
    }

    /// Objects that go when it commits.
    pub fn dropped(&self, objects: &[ObjectId]) {
        let mut state = self.state.lock();
        (state.begun, _) = (true, state.dropped.extend(objects));
    }

    /// Error: the transaction has dropped the object.
    pub fn check_there(&self, object: &Object) -> Result<()> {
        if self.state.lock().dropped.contains(&object.id) {
            return Err(
                Error::new(Kind::UndefinedTable, format!("relation \"{}\" does not exist", object.name)).with_detail("This transaction has dropped it.")
            );
        }
        Ok(())
    }

    pub fn savepoint(&self, name: String) {
        let mut state = self.state.lock();
        let State { changes, created, altered, dropped, .. } = &*state;
        let savepoint = Savepoint { name, changes: changes.mark(), created: created.len(), altered: altered.len(), dropped: dropped.len() };
        state.savepoints.push(savepoint);
    }

    /// Forgets a savepoint, and those behind it. Gives how many are left.
    pub fn release(&self, name: &str) -> Result<usize> {
        let mut state = self.state.lock();
        let at = state.place(name)?;
        state.savepoints.truncate(at);
        Ok(at)
    }

    /// Goes back to a savepoint, which stays. Gives its number, and what was made since and is to be undone.
    pub fn rollback_to(&self, name: &str) -> Result<(usize, Made)> {
        let mut state = self.state.lock();
        let at = state.place(name)?;
        state.savepoints.truncate(at + 1);
        let State { changes, savepoints, .. } = &mut *state;
        let Savepoint { changes: mark, created, altered, dropped, .. } = &savepoints[at];
        let (created, altered, dropped) = (*created, *altered, *dropped);
        changes.cut_back(mark.clone());
        state.dropped.truncate(dropped);
        Ok((at, Made { created: state.created.split_off(created), altered: state.altered.split_off(altered) }))
    }

    pub fn is_savepoint(&self, name: &str) -> bool {
        self.state.lock().place(name).is_ok()
    }

    /// It is over.
    pub fn end(&self) -> Over {
        let mut state = self.state.lock();
        let State { changes, created, altered, dropped, .. } = &mut *state;
        let (mut changes, dropped) = (std::mem::take(changes), std::mem::take(dropped));
        changes.tables.retain(|table, _| !dropped.contains(table));
        Over { changes, made: Made { created: std::mem::take(created), altered: std::mem::take(altered) }, dropped }
    }
}

impl State {
    /// Of the newest savepoint of that name.
    fn place(&self, name: &str) -> Result<usize> {
        let at = self.savepoints.iter().rposition(|s| s.name == name);
        at.ok_or_else(|| Error::new(Kind::InvalidSavepoint, format!("savepoint \"{name}\" does not exist")))
    }
}
