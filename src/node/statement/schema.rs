//! Schemas: `CREATE SCHEMA`, `DROP SCHEMA`, and what a name without a schema means (`search_path`).

use super::access::{check_owner, may_use};
use super::drop::drop_all;
use super::{Context, Outcome, temporary};
use crate::catalog::catalog::{Catalog, PUBLIC, SYSTEM};
use crate::catalog::object::{Body, Object};
use crate::catalog::pg;
use crate::error::{Error, Kind, Result};
use crate::node::engine_api::When;
use crate::node::settings::Settings;
use crate::sql::ast::{CreateSchema, DropSchema, Name, Statement};
use crate::types::ids::ObjectId;
use crate::types::text::Zone;
use std::sync::Arc;

const PG_CATALOG: &str = "pg_catalog";
const INFORMATION_SCHEMA: &str = "information_schema";

/// The schemas of `search_path` that there are, in order.
pub fn path(settings: &Settings, catalog: &Catalog) -> Vec<String> {
    let user = settings.get("session_authorization").unwrap_or_default();
    let written = settings.get("search_path").unwrap_or_default();
    let mut path: Vec<String> = Vec::new();
    for part in pg::split_list(&written).unwrap_or_default() {
        // The system's own schema is called as the first user is, and nobody's by that.
        let is_system = part != "$user" && matches!(part.as_str(), SYSTEM | PG_CATALOG | INFORMATION_SCHEMA);
        let name = if part == "$user" { user.clone() } else { part };
        if !path.contains(&name) && (is_system || catalog.has_schema(&name)) {
            path.push(name);
        }
    }
    path
}

impl Context {
    /// The schemas in which a name without one is looked for, in order.
    pub(super) fn path(&self) -> Vec<String> {
        self.path.get_or_init(|| path(&self.settings, &self.engine.catalog())).clone()
    }

    /// The same, behind the session's own schema, where names are read.
    pub(super) fn reading_path(&self) -> Vec<String> {
        let own = temporary::exist(&self.engine.catalog(), self.pid).then(|| temporary::schema_of(self.pid));
        own.into_iter().chain(self.path()).collect()
    }

    /// Those of the path that the role may look into.
    fn usable_path(&self) -> Vec<String> {
        let catalog = self.engine.catalog();
        self.path().into_iter().filter(|schema| may_use(&catalog, Some(self.role()), schema)).collect()
    }

    /// The name with the schema in which it is found, or in which it would be made.
    pub(super) fn qualified(&self, name: &Name) -> Name {
        // Without one it is a name of `public`, and messages show it as it was written.
        let made = || self.usable_path().into_iter().next().filter(|schema| schema != PUBLIC);
        let found = || self.find(name).map(|object| object.schema.clone()).or_else(made);
        Name { schema: name.schema.clone().or_else(found), ..name.clone() }
    }

    /// The zone in which a query that is kept was read; `None`: UTC.
    pub(super) fn zone(&self) -> Option<String> {
        let zone = self.style().timezone;
        (zone != Zone::Utc).then(|| zone.name())
    }

    /// What a name stands for now.
    pub(super) fn find(&self, name: &Name) -> Option<Arc<Object>> {
        let catalog = self.engine.catalog();
        match &name.schema {
            Some(schema) => catalog.find(schema, &name.name).cloned(),
            None => catalog.find(&temporary::schema_of(self.pid), &name.name).or_else(|| catalog.find_in(&self.usable_path(), &name.name)).cloned(),
        }
    }

    /// The schema in which something of this name is made. Error: there is none (3F000), or it is the system's (42501).
    pub(super) fn schema_for(&self, name: &Name) -> Result<String> {
        let Some(schema) = name.schema.clone().or_else(|| self.usable_path().into_iter().next()) else {
            let error = Error::new(Kind::InvalidSchemaName, "no schema has been selected to create in");
            return Err(error.with_hint("SET search_path to a schema that exists").at(name.position));
        };
        check_user_schema(&schema).map_err(|e| e.at(name.position))?;
        if !self.engine.catalog().has_schema(&schema) {
            return Err(Error::new(Kind::InvalidSchemaName, format!("schema \"{schema}\" does not exist")).at(name.position));
        }
        self.check_create_in(&schema)?;
        Ok(schema)
    }
}

fn check_user_schema(schema: &str) -> Result<()> {
    if !matches!(schema, SYSTEM | PG_CATALOG | INFORMATION_SCHEMA) {
        return Ok(());
    }
    Err(Error::new(Kind::InsufficientPrivilege, format!("permission denied for schema {schema}"))
        .with_hint("objects are made in public, or in schemas of your own"))
}

pub(super) async fn create(context: &Context, statement: &Statement, create: &CreateSchema) -> Result<Outcome> {
    const TAG: &str = "CREATE SCHEMA";
    if create.name.starts_with("pg_") {
        let error = Error::new(Kind::ReservedName, format!("unacceptable schema name \"{}\"", create.name));
        return Err(error.with_detail("The prefix \"pg_\" is reserved for system schemas.").at(create.position));
    }
    let catalog = context.engine.catalog();
    if !context.is_superuser() && !catalog.roles().get(context.role()).is_some_and(|role| role.create_db) {
        let denied = Error::new(Kind::InsufficientPrivilege, "permission denied for database tidewater");
        return Err(denied.with_hint("superusers, and roles with CREATEDB, make schemas"));
    }
    let exists = matches!(create.name.as_str(), SYSTEM | INFORMATION_SCHEMA) || context.engine.catalog().has_schema(&create.name);
    if exists {
        let taken = |words: &str| Error::new(Kind::DuplicateSchema, format!("schema \"{}\" already exists{words}", create.name));
        return if create.if_not_exists { Ok(Outcome::command(TAG).notice(taken(", skipping"))) } else { Err(taken("").at(create.position)) };
    }
    let object = Object::new(context.engine.allocate_object()?, String::new(), create.name.clone(), statement.text.clone(), Body::Schema);
    context.create(object, None, When::Built).await?;
    Ok(Outcome::command(TAG))
}

pub(super) async fn drop(context: &Context, drop: &DropSchema) -> Result<Outcome> {
    let catalog = context.engine.catalog();
    let mut outcome = Outcome::command("DROP SCHEMA");
    let (mut schemas, mut held): (Vec<ObjectId>, Vec<ObjectId>) = (Vec::new(), Vec::new());
    for (name, position) in &drop.names {
        check_user_schema(name).map_err(|e| e.at(*position))?;
        if name == PUBLIC {
            let refused = Error::not_supported("DROP SCHEMA public is not supported").with_hint("drop the objects in it");
            return Err(refused.at(*position));
        }
        let Some(schema) = catalog.schema(name) else {
            let missing = |words: &str| Error::new(Kind::InvalidSchemaName, format!("schema \"{name}\" does not exist{words}"));
            if !drop.if_exists {
                return Err(missing("").at(*position));
            }
            outcome = outcome.notice(missing(", skipping"));
            continue;
        };
        check_owner(&catalog, context.role(), schema)?;
        let of: Vec<&Arc<Object>> = catalog.objects().filter(|o| o.schema == *name).collect();
        if !drop.cascade && !of.is_empty() {
            let lines: Vec<String> = of.iter().map(|o| format!("{} {name}.{} depends on schema {name}", o.kind_name(), o.name)).collect();
            return Err(Error::new(Kind::DependentObjectsExist, format!("cannot drop schema {name} because other objects depend on it"))
                .with_detail(lines.join("\n"))
                .with_hint("Use DROP ... CASCADE to drop the dependent objects too."));
        }
        if !schemas.contains(&schema.id) {
            schemas.push(schema.id);
            held.extend(of.iter().map(|o| o.id));
        }
    }
    drop_all(context, outcome, &catalog, &schemas, &catalog.with_dependants(&held)).await
}
