//! All sessions that there are: who they are, what they do (`pg_stat_activity`), and how one ends another's statement.

use super::audit::{Event, audited};
use super::engine_api::Engine;
use crate::catalog::pg::SessionFact;
use crate::catalog::roles::Role;
use crate::error::{Error, Kind, Result};
use crate::pg::backend::Peer;
use crate::sql::ast::Statement;
use crate::sql::functions::catalog::Signal;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;

/// See the module.
#[derive(Default)]
pub struct Sessions {
    /// By process number.
    all: Mutex<BTreeMap<i32, Arc<Activity>>>,
    /// When the server began, µs.
    pub started_at: i64,
}

/// One session. Times are µs since 1970.
pub struct Activity {
    peer: Peer,
    role: u32,
    user: String,
    began: i64,
    now: Mutex<Doing>,
}

/// What it does.
#[derive(Default)]
struct Doing {
    application_name: String,
    state: State,
    statement: Option<Arc<Statement>>,
    since: Option<i64>,
    transaction: Option<i64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    Active,
    #[default]
    Idle,
    InTransaction,
    Failed,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            State::Active => "active",
            State::Idle => "idle",
            State::InTransaction => "idle in transaction",
            State::Failed => "idle in transaction (aborted)",
        }
    }
}

impl Sessions {
    pub fn new(started_at: i64) -> Arc<Sessions> {
        Arc::new(Sessions { all: Mutex::default(), started_at })
    }

    /// Error: the role has as many sessions as it may have (53300).
    pub fn check_limit(&self, role: &Role) -> Result<()> {
        let Ok(limit) = usize::try_from(role.connection_limit) else { return Ok(()) };
        let open = || self.all.lock().values().filter(|a| a.role == role.oid).count();
        if role.superuser || open() < limit {
            return Ok(());
        }
        Err(Error::new(Kind::TooManyConnections, format!("too many connections for role \"{}\"", role.name)))
    }

    /// The role that a session connected as.
    pub fn role_of(&self, pid: i32) -> Option<u32> {
        self.all.lock().get(&pid).map(|a| a.role)
    }

    /// A session begins; it is over when what this gives is dropped.
    pub fn enter(self: &Arc<Self>, peer: Peer, role: &Role, application_name: String, now: i64) -> Place {
        let doing = Doing { application_name, ..Doing::default() };
        let pid = peer.pid;
        let activity = Arc::new(Activity { peer, role: role.oid, user: role.name.clone(), began: now, now: Mutex::new(doing) });
        self.all.lock().insert(pid, activity.clone());
        Place { sessions: self.clone(), activity }
    }

    pub fn facts(&self) -> Vec<SessionFact> {
        self.all.lock().values().map(|a| a.fact()).collect()
    }

    /// False: there is no such session.
    pub fn signal(&self, pid: i32, signal: Signal) -> bool {
        let found = self.all.lock().get(&pid).cloned();
        let Some(activity) = found else { return false };
        match signal {
            Signal::Cancel => activity.peer.stop.cancel(),
            Signal::Terminate => activity.peer.stop.terminate(),
        }
        true
    }
}

impl Activity {
    fn fact(&self) -> SessionFact {
        let now = self.now.lock();
        SessionFact {
            pid: self.peer.pid,
            role: self.role,
            user: self.user.clone(),
            application_name: now.application_name.clone(),
            client_addr: Some(self.peer.address.ip().to_string()),
            client_port: self.peer.address.port().into(),
            encrypted: self.peer.encrypted,
            backend_start: self.began,
            xact_start: now.transaction,
            query_start: now.since,
            state: now.state.name().into(),
            query: now.statement.as_ref().map(|s| s.text.clone()).unwrap_or_default(),
        }
    }
}

/// A session's place among all; dropping it takes it away.
pub struct Place {
    pub sessions: Arc<Sessions>,
    activity: Arc<Activity>,
}

impl Place {
    pub fn pid(&self) -> i32 {
        self.activity.peer.pid
    }

    pub fn begins(&self, statement: &Arc<Statement>, now: i64, transaction: Option<i64>) {
        let mut doing = self.activity.now.lock();
        doing.state = State::Active;
        doing.statement = Some(statement.clone());
        doing.since = Some(now);
        doing.transaction = Some(transaction.unwrap_or(now));
    }

    /// It waits for its client.
    pub fn rests(&self, state: State, transaction: Option<i64>) {
        let mut doing = self.activity.now.lock();
        (doing.state, doing.transaction) = (state, transaction);
    }

    /// An event of the audit log that this session is the cause of, done.
    pub fn event(&self, at: i64, event: &str) -> Event {
        let (user, address) = (self.activity.user.clone(), Some(self.activity.peer.address.ip().to_string()));
        Event { at, user, address, event: event.to_owned(), outcome: "00000".to_owned(), ..Event::default() }
    }

    /// A statement that the audit log tells of if it is one of those: when what this gives is dropped.
    pub fn noted(&self, engine: &Arc<dyn Engine>, statement: &Statement) -> Noted {
        let event = audited(&statement.kind).map(|(event, object)| {
            let statement = Some(statement.text.clone());
            // What it stays if nobody waits for the statement's end.
            let outcome = Kind::QueryCanceled.sqlstate().to_owned();
            Event { object, statement, outcome, ..self.event(engine.clock().now(), &event) }
        });
        Noted { engine: engine.clone(), event }
    }

    pub fn rename(&self, application_name: String) {
        self.activity.now.lock().application_name = application_name;
    }
}

/// See [`Place::noted`].
pub struct Noted {
    engine: Arc<dyn Engine>,
    event: Option<Event>,
}

impl Noted {
    pub fn ended(&mut self, error: Option<&Error>) {
        if let Some(event) = &mut self.event {
            event.outcome = error.map_or("00000", Error::sqlstate).to_owned();
        }
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        if let Some(event) = self.event.take() {
            self.engine.audit().note(event);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.sessions.all.lock().remove(&self.pid());
    }
}
