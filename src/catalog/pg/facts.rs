//! What the relations are made from, at one moment, for one session. Whoever asks gathers it; nothing here asks a clock or another room.

use crate::catalog::catalog::Catalog;
use arrow::datatypes::SchemaRef;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, LazyLock};

/// All that the relations tell. Times are µs since 1970.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    pub catalog: Arc<Catalog>,
    /// Schemas that users made: those beside pg_catalog, information_schema, public and tidewater. What stands in another schema is not shown.
    pub schemas: Vec<SchemaFact>,
    /// The relations of the schema `tidewater`, in an order in which only the end grows: the place gives the OID.
    pub listings: Vec<Listing>,
    pub settings: Asked<Setting>,
    pub sessions: Asked<SessionFact>,
    pub prepared: Vec<PreparedFact>,
    pub cursors: Vec<CursorFact>,
    /// OID of the role that asks.
    pub role: u32,
    /// When the server began.
    pub started_at: i64,
    pub now: i64,
}

/// Facts that are gathered when somebody asks for them, and once.
#[derive(Clone)]
pub struct Asked<T: 'static>(Arc<LazyLock<Vec<T>, Box<dyn FnOnce() -> Vec<T> + Send>>>);

impl<T: 'static> Asked<T> {
    pub fn of(gather: impl FnOnce() -> Vec<T> + Send + 'static) -> Asked<T> {
        Asked(Arc::new(LazyLock::new(Box::new(gather))))
    }
}

impl<T: 'static> Default for Asked<T> {
    fn default() -> Self {
        Asked::of(Vec::new)
    }
}

impl<T: 'static> Deref for Asked<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T: 'static> fmt::Debug for Asked<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "facts that may be asked for")
    }
}

/// One row of pg_namespace.
#[derive(Clone, Debug)]
pub struct SchemaFact {
    pub oid: u32,
    pub name: String,
    pub owner: u32,
}

/// A relation of the system's own.
#[derive(Clone, Debug)]
pub struct Listing {
    pub name: String,
    pub schema: SchemaRef,
}

/// One row of pg_settings.
#[derive(Clone, Debug)]
pub struct Setting {
    pub name: String,
    /// In the unit, if there is one.
    pub value: String,
    pub default: String,
    pub unit: Option<&'static str>,
    pub category: &'static str,
    pub description: &'static str,
    /// `user`, `internal`, `postmaster`, ….
    pub context: &'static str,
    /// `bool`, `integer`, `enum`, `string` or `real`.
    pub value_type: &'static str,
    /// What may be set, of an enum.
    pub choices: Vec<String>,
}

/// One row of pg_stat_activity.
#[derive(Clone, Debug)]
pub struct SessionFact {
    pub pid: i32,
    /// OID of the role that connected.
    pub role: u32,
    pub user: String,
    pub application_name: String,
    pub client_addr: Option<String>,
    pub client_port: i32,
    pub encrypted: bool,
    pub backend_start: i64,
    pub xact_start: Option<i64>,
    pub query_start: Option<i64>,
    /// `active`, `idle`, `idle in transaction`, `idle in transaction (aborted)`.
    pub state: String,
    pub query: String,
}

/// One row of pg_prepared_statements.
#[derive(Clone, Debug)]
pub struct PreparedFact {
    pub name: String,
    pub statement: String,
    pub prepare_time: i64,
    /// OIDs.
    pub parameter_types: Vec<u32>,
    /// By PREPARE, not by the protocol.
    pub from_sql: bool,
}

/// One row of pg_cursors.
#[derive(Clone, Debug)]
pub struct CursorFact {
    pub name: String,
    pub statement: String,
    pub is_holdable: bool,
    pub is_binary: bool,
    pub is_scrollable: bool,
    pub creation_time: i64,
}
