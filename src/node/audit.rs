//! The audit log: who came in, who was turned away, and every statement that changes definitions, roles or grants, with its outcome. It is
//! readable as `tidewater.audit_log`, for superusers.
//!
//! ```text
//!   event -> a line of JSON in DIR/audit/current     written before the statement is answered, synced once a second
//!                              DIR/audit/previous    what current was when it was full
//!         -> the same line in the file of --audit-log, which the server never shortens
//! ```
//!
//! Statements come in without their secrets (`sql::parse`).

use crate::error::Result;
use crate::sql::ast::{CommentOn, ROLE, RelationKind, SESSION_AUTHORIZATION, StatementKind};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Events in one file; two are kept.
const EVENTS_PER_FILE: usize = 5_000;
/// Bytes of a statement that are kept.
const STATEMENT_BYTES: usize = 1 << 10;
const FOLDER: &str = "audit";

/// What happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// µs since 1970.
    pub at: i64,
    pub user: String,
    /// `None`: the server itself.
    pub address: Option<String>,
    /// `login`, `login failed`, `logout`, or the statement's tag.
    pub event: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statement: Option<String>,
    /// SQLSTATE; 00000: it was done.
    pub outcome: String,
}

/// See the module.
#[derive(Default)]
pub struct Audit {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    folder: Option<PathBuf>,
    current: Option<File>,
    in_current: usize,
    export: Option<(PathBuf, File)>,
    events: VecDeque<Event>,
    unsynced: bool,
}

fn append(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

/// A line that a crash cut short is none.
fn read(path: &Path) -> Vec<Event> {
    let text = std::fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(&text).lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

impl Audit {
    /// `data_dir`: where it is kept; `None`: in memory alone. `export`: where a copy goes.
    pub fn open(data_dir: Option<&PathBuf>, export: Option<&PathBuf>) -> Result<Audit> {
        let mut state = State::default();
        if let Some(dir) = data_dir {
            let folder = dir.join(FOLDER);
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
            let (previous, current) = (read(&folder.join("previous")), read(&folder.join("current")));
            state.in_current = current.len();
            state.events = previous.into_iter().chain(current).collect();
            let mut file = append(&folder.join("current"))?;
            // What follows a line that was cut short is a line of its own.
            file.write_all(b"\n")?;
            state.current = Some(file);
            state.folder = Some(folder);
        }
        if let Some(path) = export {
            let file = append(path).map_err(|e| crate::error::Error::from(e).with_detail(format!("audit_log = {}", path.display())))?;
            state.export = Some((path.clone(), file));
        }
        Ok(Audit { state: Mutex::new(state) })
    }

    /// Survives `kill -9` on return, power loss a second later. A log that cannot be written is told in the server's own.
    pub fn note(&self, mut event: Event) {
        if let Some(statement) = &mut event.statement
            && statement.len() > STATEMENT_BYTES
        {
            statement.truncate(statement.floor_char_boundary(STATEMENT_BYTES));
        }
        let mut state = self.state.lock();
        if let Err(error) = state.write(&event) {
            tracing::error!(%error, "an event is missing in the audit log");
        }
        state.events.push_back(event);
        if state.events.len() > 2 * EVENTS_PER_FILE {
            state.events.pop_front();
        }
    }

    /// Oldest first.
    pub fn events(&self) -> Vec<Event> {
        self.state.lock().events.iter().cloned().collect()
    }

    /// What was noted so far survives power loss on return.
    pub fn sync(&self) {
        let files = {
            let mut state = self.state.lock();
            if !std::mem::take(&mut state.unsynced) {
                return;
            }
            [&state.current, &state.export.as_ref().map(|(_, file)| file.try_clone()).and_then(|f| f.ok())].map(|f| f.as_ref().and_then(|f| f.try_clone().ok()))
        };
        for file in files.into_iter().flatten() {
            if let Err(error) = file.sync_data() {
                tracing::error!(%error, "the audit log could not be synced");
            }
        }
    }

    /// The copy's file is another one by now: it was moved away.
    pub fn reopen(&self) -> Result<()> {
        let mut state = self.state.lock();
        if let Some((path, file)) = &mut state.export {
            *file = append(path)?;
        }
        Ok(())
    }
}

impl State {
    fn write(&mut self, event: &Event) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        if let (Some(folder), true) = (&self.folder, self.in_current >= EVENTS_PER_FILE) {
            std::fs::rename(folder.join("current"), folder.join("previous"))?;
            self.current = Some(append(&folder.join("current"))?);
            self.in_current = 0;
        }
        self.in_current += 1;
        self.unsynced = true;
        if let Some(file) = &mut self.current {
            file.write_all(&line)?;
        }
        match &mut self.export {
            Some((_, file)) => file.write_all(&line),
            None => Ok(()),
        }
    }
}

/// What the log calls a statement, and what it is about; `None`: it changes no definition, role or grant.
pub fn audited(kind: &StatementKind) -> Option<(String, Option<String>)> {
    let (event, object) = match kind {
        StatementKind::CreateRelation(c) if c.kind == RelationKind::Source => ("CREATE SOURCE", Some(c.name.name.clone())),
        StatementKind::CreateRelation(c) => ("CREATE TABLE", Some(c.name.name.clone())),
        StatementKind::CreateTableAs(c) => ("CREATE TABLE AS", Some(c.name.name.clone())),
        StatementKind::Rename(r) => return Some((format!("ALTER {}", r.kind.name().to_uppercase()), Some(r.name.name.clone()))),
        StatementKind::CreateView(c) => (if c.materialized { "CREATE MATERIALIZED VIEW" } else { "CREATE VIEW" }, Some(c.name.name.clone())),
        StatementKind::CreateIndex(c) => ("CREATE INDEX", c.name.as_ref().map(|n| n.name.clone())),
        StatementKind::CreateSink(c) => ("CREATE SINK", Some(c.name.name.clone())),
        StatementKind::Drop(d) => {
            let names: Vec<&str> = d.names.iter().map(|n| n.name.as_str()).collect();
            return Some((format!("DROP {}", d.kind.name().to_uppercase()), Some(names.join(", "))));
        }
        StatementKind::Comment(c) => match &c.on {
            CommentOn::Object(_, name) | CommentOn::Column(name, _) => ("COMMENT", Some(name.name.clone())),
        },
        StatementKind::Security(s) => (s.tag(), s.object()),
        StatementKind::Set(set) if set.name == ROLE => ("SET ROLE", set.value.clone()),
        StatementKind::Set(set) if set.name == SESSION_AUTHORIZATION => ("SET SESSION AUTHORIZATION", set.value.clone()),
        _ => return None,
    };
    Some((event.to_owned(), object))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(n: usize) -> Event {
        Event { at: n as i64, user: "ann".into(), event: "login".into(), outcome: "00000".into(), ..Event::default() }
    }

    #[test]
    fn events_survive_and_are_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let (path, export) = (dir.path().to_path_buf(), dir.path().join("copy"));
        let audit = Audit::open(Some(&path), Some(&export)).unwrap();
        (0..EVENTS_PER_FILE * 2 + 10).for_each(|n| audit.note(event(n)));
        audit.sync();
        assert_eq!(audit.events().len(), 2 * EVENTS_PER_FILE);
        drop(audit);
        // A crash in the middle of a line.
        append(&path.join(FOLDER).join("current")).unwrap().write_all(b"{\"at\":").unwrap();
        let audit = Audit::open(Some(&path), None).unwrap();
        let events = audit.events();
        assert_eq!((events.len(), events.last()), (EVENTS_PER_FILE + 10, Some(&event(EVENTS_PER_FILE * 2 + 9))));
        audit.note(event(1));
        drop(audit);
        assert_eq!(Audit::open(Some(&path), None).unwrap().events().len(), EVENTS_PER_FILE + 11);
        assert_eq!(std::fs::read_to_string(export).unwrap().lines().count(), EVENTS_PER_FILE * 2 + 10);
    }
}
