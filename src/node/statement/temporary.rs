//! Temporary tables. Each session that makes one has a schema of its own for them, `pg_temp_<pid>`, in which names are looked for first. They are
//! never committed to the catalog, only their rows are: a crash takes them away as it does what a transaction has made.

use super::Context;
use crate::catalog::access::Access;
use crate::catalog::catalog::Catalog;
use crate::catalog::object::{Body, Object, TEMPORARY};
use crate::error::{Error, Kind, Result};
use crate::node::engine_api::{Engine, When};
use crate::sql::ast::Name;
use crate::types::ids::ObjectId;

/// The schema of a session's temporary tables.
pub fn schema_of(pid: i32) -> String {
    format!("{TEMPORARY}{pid}")
}

/// Whether the session has any.
pub fn exist(catalog: &Catalog, pid: i32) -> bool {
    catalog.schema(&schema_of(pid)).is_some()
}

/// The end of a session's temporary tables.
pub async fn drop_all(engine: &dyn Engine, pid: i32) -> Result<()> {
    let catalog = engine.catalog();
    let Some(schema) = catalog.schema(&schema_of(pid)) else { return Ok(()) };
    let ids = catalog.with_dependants(&tables(&catalog, pid));
    engine.drop_objects(&ids.into_iter().chain([schema.id]).collect::<Vec<_>>()).await
}

/// In order of creation, with what transactions have dropped.
pub(super) fn tables(catalog: &Catalog, pid: i32) -> Vec<ObjectId> {
    let schema = schema_of(pid);
    catalog.all().filter(|o| o.schema == schema).map(|o| o.id).collect()
}

/// Where the session makes a temporary table, made if there is none yet. Error: the name says another schema.
pub(super) async fn schema_for(context: &Context, name: &Name) -> Result<String> {
    let own = schema_of(context.pid);
    if name.schema.as_ref().is_some_and(|schema| *schema != own && *schema != "pg_temp") {
        let refused = "cannot create temporary relation in non-temporary schema";
        return Err(Error::new(Kind::InvalidObjectDefinition, refused).at(name.position));
    }
    if exist(&context.engine.catalog(), context.pid) {
        return Ok(own);
    }
    let id = context.engine.allocate_object()?;
    let schema = Object { uncommitted: true, access: Access::of(context.role()), ..Object::new(id, String::new(), own.clone(), String::new(), Body::Schema) };
    context.engine.create(schema, None, When::Built).await?;
    Ok(own)
}

/// Error: something that stays reads what does not.
pub(super) fn check_lasting(catalog: &Catalog, object: &Object) -> Result<()> {
    if object.is_temporary() || !object.depends_on.iter().filter_map(|id| catalog.get(*id)).any(|o| o.is_temporary()) {
        return Ok(());
    }
    Err(Error::not_supported(format!("{}s must not use temporary tables", object.kind_name())).with_hint("make a table that is not temporary"))
}
