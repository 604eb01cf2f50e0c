//! Statements that a client has prepared.

use super::backend::{Description, Parsed};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

/// A statement after Parse.
pub struct Prepared {
    /// `None`: the text was empty.
    pub statement: Option<Arc<dyn Parsed>>,
    pub description: Description,
    /// As it was sent; of PREPARE the whole statement.
    pub text: String,
    pub from_sql: bool,
    /// When it was prepared, µs.
    pub at: i64,
}

impl Prepared {
    pub fn new(statement: Option<Arc<dyn Parsed>>, description: Description, text: String, from_sql: bool) -> Prepared {
        let at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64);
        Prepared { statement, description, text, from_sql, at }
    }
}

/// The prepared statements of one connection by name; its session may list them.
#[derive(Default)]
pub struct Statements(Mutex<HashMap<String, Arc<Prepared>>>);

impl Statements {
    pub fn get(&self, name: &str) -> Option<Arc<Prepared>> {
        self.0.lock().get(name).cloned()
    }

    pub fn count(&self) -> usize {
        self.0.lock().len()
    }

    pub fn insert(&self, name: String, prepared: Prepared) {
        self.0.lock().insert(name, Arc::new(prepared));
    }

    pub fn remove(&self, name: &str) -> Option<Arc<Prepared>> {
        self.0.lock().remove(name)
    }

    pub fn clear(&self) {
        self.0.lock().clear();
    }

    /// Those that have a name, in its order.
    pub fn named(&self) -> Vec<(String, Arc<Prepared>)> {
        let mut named: Vec<_> = self.0.lock().iter().filter(|(name, _)| !name.is_empty()).map(|(name, p)| (name.clone(), p.clone())).collect();
        named.sort_by(|a, b| a.0.cmp(&b.0));
        named
    }
}
