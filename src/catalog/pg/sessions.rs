//! What sessions are doing and what they have set: pg_stat_activity, pg_settings, prepared statements, cursors.

use super::facts::{Facts, SessionFact, Setting};
use super::oids;
use super::relations::Relation;
use super::sheet::Sheet;
use crate::catalog::catalog::DATABASE;
use crate::error::Result;
use arrow::array::RecordBatch;

pub fn activity_rows(relation: &'static Relation, facts: &Facts) -> Result<RecordBatch> {
    let all = &facts.sessions;
    let waits = |s: &SessionFact, what: &'static str| s.state.starts_with("idle").then_some(what);
    Sheet::new(relation, all.len())
        .all("datid", oids::DATABASE)
        .all("datname", DATABASE)
        .column("pid", all.iter().map(|s| s.pid))
        .column("usesysid", all.iter().map(|s| s.role))
        .column("usename", all.iter().map(|s| &s.user))
        .column("application_name", all.iter().map(|s| &s.application_name))
        .column("client_addr", all.iter().map(|s| s.client_addr.as_deref()))
        .column("client_port", all.iter().map(|s| s.client_port))
        .column("backend_start", all.iter().map(|s| s.backend_start))
        .column("xact_start", all.iter().map(|s| s.xact_start))
        .column("query_start", all.iter().map(|s| s.query_start))
        .column("state_change", all.iter().map(|s| s.query_start.unwrap_or(s.backend_start)))
        .column("wait_event_type", all.iter().map(|s| waits(s, "Client")))
        .column("wait_event", all.iter().map(|s| waits(s, "ClientRead")))
        .column("state", all.iter().map(|s| &s.state))
        .column("query", all.iter().map(|s| &s.query))
        .all("backend_type", "client backend")
        .finish()
}

/// Which connections are encrypted; by what, is not told.
pub fn ssl_rows(relation: &'static Relation, facts: &Facts) -> Result<RecordBatch> {
    let all = &facts.sessions;
    Sheet::new(relation, all.len()).column("pid", all.iter().map(|s| s.pid)).column("ssl", all.iter().map(|s| s.encrypted)).finish()
}

pub fn setting_rows(relation: &'static Relation, facts: &Facts) -> Result<RecordBatch> {
    let mut all: Vec<&Setting> = facts.settings.iter().collect();
    all.sort_by_key(|s| s.name.to_lowercase());
    Sheet::new(relation, all.len())
        .column("name", all.iter().map(|s| &s.name))
        .column("setting", all.iter().map(|s| &s.value))
        .column("unit", all.iter().map(|s| s.unit))
        .column("category", all.iter().map(|s| s.category))
        .column("short_desc", all.iter().map(|s| s.description))
        .column("context", all.iter().map(|s| s.context))
        .column("vartype", all.iter().map(|s| s.value_type))
        .column("source", all.iter().map(|s| if s.value == s.default { "default" } else { "session" }))
        .column("enumvals", all.iter().map(|s| (!s.choices.is_empty()).then(|| s.choices.clone())))
        .column("boot_val", all.iter().map(|s| &s.default))
        .column("reset_val", all.iter().map(|s| &s.default))
        .all("pending_restart", false)
        .finish()
}

pub fn prepared_rows(relation: &'static Relation, facts: &Facts) -> Result<RecordBatch> {
    let all = &facts.prepared;
    Sheet::new(relation, all.len())
        .column("name", all.iter().map(|p| &p.name))
        .column("statement", all.iter().map(|p| &p.statement))
        .column("prepare_time", all.iter().map(|p| p.prepare_time))
        .column("parameter_types", all.iter().map(|p| p.parameter_types.clone()))
        .column("from_sql", all.iter().map(|p| p.from_sql))
        .zeros()
        .finish()
}

pub fn cursor_rows(relation: &'static Relation, facts: &Facts) -> Result<RecordBatch> {
    let all = &facts.cursors;
    Sheet::new(relation, all.len())
        .column("name", all.iter().map(|c| &c.name))
        .column("statement", all.iter().map(|c| &c.statement))
        .column("is_holdable", all.iter().map(|c| c.is_holdable))
        .column("is_binary", all.iter().map(|c| c.is_binary))
        .column("is_scrollable", all.iter().map(|c| c.is_scrollable))
        .column("creation_time", all.iter().map(|c| c.creation_time))
        .finish()
}
