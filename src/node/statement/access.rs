//! Whether a statement may. Everything that a statement reads is found by [`super::scope`], everything that it writes to, drops or
//! changes by [`super::target`] and `drop`: they ask here, and nobody else has to.
//!
//! | what | who may |
//! | --- | --- |
//! | a name in a schema | USAGE on the schema |
//! | rows of a relation | SELECT; within a view its owner's rights count, not the reader's |
//! | INSERT, UPDATE, DELETE, COPY … FROM | the privilege of that name |
//! | CREATE | CREATE on the schema, and SELECT on what the new object reads |
//! | DROP, COMMENT, CREATE INDEX, GRANT, OWNER TO | the owner, and who has the owner's rights |
//!
//! A superuser may everything.

use super::Context;
use crate::catalog::access::{Class, Privileges};
use crate::catalog::catalog::Catalog;
use crate::catalog::object::{Body, Object};
use crate::catalog::pg::privileges::FOR_SUPERUSERS;
use crate::error::{Error, Kind, Result};
use crate::sql::ast::Options;
use crate::types::secret::referred;
use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;

impl Context {
    /// Whose rights the statement has.
    pub(super) fn role(&self) -> u32 {
        self.settings.identity().current()
    }

    pub(super) fn is_superuser(&self) -> bool {
        self.engine.catalog().roles().is_superuser(self.role())
    }

    /// Error: 42501.
    pub(super) fn check_may(&self, object: &Object, wanted: Privileges) -> Result<()> {
        check(&self.engine.catalog(), self.role(), object, wanted)
    }

    /// Error: 42501.
    pub(super) fn check_owner(&self, object: &Object) -> Result<()> {
        check_owner(&self.engine.catalog(), self.role(), object)
    }

    /// Error: nothing may be created in the schema (42501).
    pub(super) fn check_create_in(&self, schema: &str) -> Result<()> {
        check_schema(&self.engine.catalog(), self.role(), schema, Privileges::CREATE)
    }

    /// What a source or sink reaches with the server's own rights is not for everybody: its files, and what librdkafka loads. Error: 42501.
    pub(super) fn check_connector(&self, connector: &str, options: &Options) -> Result<()> {
        for secret in options.values().filter_map(|value| referred(value)) {
            let catalog = self.engine.catalog();
            if !catalog.roles().may(self.role(), &catalog.roles().secret(secret)?.access, Class::Secret, Privileges::USAGE) {
                return Err(denied(format!("permission denied for secret {secret}")));
            }
        }
        let of_server = |name: &&String| OF_SERVER.iter().any(|end| name.ends_with(end));
        let what = match options.keys().find(of_server) {
            _ if self.is_superuser() => return Ok(()),
            _ if connector == "file" => "connector \"file\"".to_owned(),
            Some(option) => format!("option \"{option}\""),
            None => return Ok(()),
        };
        Err(denied(format!("permission denied to use {what}")).with_detail("It reads files of the server, which only superusers may."))
    }
}

/// Ends of the names of options that name a file, a library or a program of the server.
const OF_SERVER: [&str; 7] = ["location", "path", "paths", "file", "dir", "keytab", "cmd"];

fn denied(message: String) -> Error {
    Error::new(Kind::InsufficientPrivilege, message)
}

/// As Postgres names the kind in such messages.
fn kind_of(object: &Object) -> &'static str {
    match object.body {
        Body::Source(_) => "foreign table",
        _ => object.kind_name(),
    }
}

/// Whether `role` holds these privileges on a relation. Error: 42501.
pub(super) fn check(catalog: &Catalog, role: u32, object: &Object, wanted: Privileges) -> Result<()> {
    if catalog.roles().may(role, &object.access, Class::Relation, wanted) {
        return Ok(());
    }
    Err(denied(format!("permission denied for {} {}", kind_of(object), object.name)))
}

/// Whether it has the rights of the owner. Error: 42501.
pub(super) fn check_owner(catalog: &Catalog, role: u32, object: &Object) -> Result<()> {
    if catalog.roles().owns(role, &object.access) { Ok(()) } else { Err(denied(format!("must be owner of {} {}", kind_of(object), object.name))) }
}

/// Likewise of a schema.
pub(super) fn check_schema(catalog: &Catalog, role: u32, schema: &str, wanted: Privileges) -> Result<()> {
    if holds_in(catalog, role, schema, wanted) { Ok(()) } else { Err(denied(format!("permission denied for schema {schema}"))) }
}

fn holds_in(catalog: &Catalog, role: u32, schema: &str, wanted: Privileges) -> bool {
    let roles = catalog.roles();
    roles.is_superuser(role) || roles.may(role, &catalog.schema_access(schema), Class::Schema, wanted)
}

/// Whether names without a schema are looked for in this one.
pub(super) fn may_use(catalog: &Catalog, role: Option<u32>, schema: &str) -> bool {
    role.is_none_or(|role| catalog.schema(schema).is_none() || holds_in(catalog, role, schema, Privileges::USAGE))
}

/// Relations of the schema `tidewater` that hold rows, or parts of rows, of others, and the column that names whose.
const OF_OTHERS: [(&str, &str); 3] = [("dead_letters", "source"), ("late_rows", "view"), ("view_errors", "view")];

/// Error: the relation tells what only superusers are to know (42501).
pub(super) fn check_system(catalog: &Catalog, role: u32, name: &str) -> Result<()> {
    if !FOR_SUPERUSERS.contains(&name) || catalog.roles().is_superuser(role) {
        return Ok(());
    }
    let kind = if name == "pg_authid" { "table" } else { "view" };
    Err(denied(format!("permission denied for {kind} {name}")))
}

/// The rows of a relation of the schema `tidewater` that `role` may see: of what it may read.
pub(super) fn visible(catalog: &Catalog, role: u32, name: &str, rows: RecordBatch) -> Result<RecordBatch> {
    let Some((_, column)) = OF_OTHERS.iter().find(|(n, _)| *n == name).filter(|_| !catalog.roles().is_superuser(role)) else { return Ok(rows) };
    let whose =
        rows.column_by_name(column).and_then(|c| c.as_string_opt::<i32>()).ok_or_else(|| Error::internal(format!("{name} does not tell whose rows it has")))?;
    let may = |name: &str| catalog.objects().find(|o| o.shown_name() == name).is_some_and(|o| check(catalog, role, o, Privileges::SELECT).is_ok());
    let seen: BooleanArray = whose.iter().map(|object| Some(object.is_some_and(may))).collect();
    Ok(filter_record_batch(&rows, &seen)?)
}
