//! What `pg_catalog` and the functions about it tell one statement.

use super::Context;
use crate::catalog::pg::{Facts, Listing, Role, SchemaFact};
use crate::sql::functions::catalog::Known;
use std::sync::Arc;

/// The one role that there is.
const OWNER: u32 = 10;

pub(super) fn known(context: &Context) -> Known {
    let listings = context.engine.system_relations().into_iter().map(|(name, schema)| Listing { name: name.to_owned(), schema }).collect();
    let owner = Role {
        oid: OWNER,
        name: "tidewater".into(),
        superuser: true,
        login: true,
        inherit: true,
        create_role: true,
        create_db: true,
        connection_limit: -1,
        valid_until: None,
        member_of: Vec::new(),
    };
    let catalog = context.engine.catalog();
    let facts = Facts {
        schemas: catalog.schemas().map(|s| SchemaFact { oid: s.id.0, name: s.name.clone(), owner: OWNER }).collect(),
        catalog,
        listings,
        settings: context.settings.facts(),
        sessions: context.sessions.facts(),
        roles: vec![owner],
        started_at: context.sessions.started_at,
        now: context.now,
        ..Facts::default()
    };
    let sessions = context.sessions.clone();
    let signal = Arc::new(move |pid, signal| sessions.signal(pid, signal));
    Known { facts: Arc::new(facts), path: context.path(), pid: context.pid, signal }
}
