//! What `pg_catalog` and the functions about it tell one statement.

use super::Context;
use crate::catalog::pg::{Asked, Facts, Listing, PreparedFact, SchemaFact, SessionFact};
use crate::catalog::roles::Roles;
use crate::error::{Error, Kind, Result};
use crate::pg::prepared::Prepared;
use crate::sql::functions::catalog::{Known, Signal};
use std::sync::Arc;

pub(super) fn known(context: &Context) -> Known {
    let listings = context.engine.system_relations().into_iter().map(|(name, schema)| Listing { name: name.to_owned(), schema }).collect();
    let (role, catalog) = (context.role(), context.engine.catalog());
    let (settings, of_sessions) = (context.settings.clone(), context.clone());
    let facts = Facts {
        schemas: catalog.schemas().map(|s| SchemaFact { oid: s.id.0, name: s.name.clone(), owner: s.access.owner }).collect(),
        catalog,
        listings,
        settings: Asked::of(move || settings.facts()),
        prepared: prepared(context),
        sessions: Asked::of(move || of_sessions.sessions.facts().into_iter().map(|session| seen(&of_sessions, session)).collect()),
        role,
        started_at: context.sessions.started_at,
        now: context.now,
        ..Facts::default()
    };
    let (sessions, catalog) = (context.sessions.clone(), facts.catalog.clone());
    let signal = Arc::new(move |pid, signal| {
        let Some(other) = sessions.role_of(pid) else { return Ok(false) };
        check_signal(catalog.roles(), role, other, signal)?;
        Ok(sessions.signal(pid, signal))
    });
    let settings = context.settings.clone();
    let setting = Arc::new(move |name: &str, missing| settings.current(name, missing));
    Known { facts: Arc::new(facts), path: context.reading_path(), pid: context.pid, setting, signal }
}

fn prepared(context: &Context) -> Vec<PreparedFact> {
    let fact = |(name, prepared): (String, Arc<Prepared>)| PreparedFact {
        name,
        statement: prepared.text.clone(),
        prepare_time: prepared.at,
        parameter_types: prepared.description.parameters.clone(),
        from_sql: prepared.from_sql,
    };
    context.statements.named().into_iter().map(fact).collect()
}

/// What others do is told to those who have their rights.
fn seen(context: &Context, session: SessionFact) -> SessionFact {
    let catalog = context.engine.catalog();
    let (roles, role) = (catalog.roles(), context.role());
    if session.pid == context.pid || roles.is_superuser(role) || roles.rights_of(role).contains(&session.role) {
        return session;
    }
    let query = "<insufficient privilege>".to_owned();
    SessionFact { query, state: String::new(), client_addr: None, client_port: 0, xact_start: None, query_start: None, ..session }
}

/// Error: the session is of a role whose rights `role` does not have (42501).
fn check_signal(roles: &Roles, role: u32, other: u32, signal: Signal) -> Result<()> {
    if roles.is_superuser(role) || !roles.is_superuser(other) && roles.rights_of(role).contains(&other) {
        return Ok(());
    }
    let (verb, what, done) = if signal == Signal::Cancel { ("cancel", "query", "canceled") } else { ("terminate", "process", "terminated") };
    Err(Error::new(
        Kind::InsufficientPrivilege,
        if roles.is_superuser(other) {
            format!("must be a superuser to {verb} superuser {what}")
        } else {
            format!("must be a member of the role whose {what} is being {done}")
        },
    ))
}
