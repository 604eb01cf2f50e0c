//! `CREATE SECRET` and `DROP SECRET`: a value for options of connectors, which nothing shows again.

use super::roles::Actor;
use super::{Context, Outcome};
use crate::catalog::access::Access;
use crate::catalog::catalog::{Catalog, PUBLIC};
use crate::catalog::object::{Body, Object};
use crate::catalog::roles::Secret;
use crate::error::{Error, Kind, Result};
use crate::node::engine_api::Secured;
use crate::sql::security::{Hidden, Security};
use crate::types::secret::referred;
use parking_lot::Mutex;
use std::sync::Arc;

pub(super) async fn execute(context: &Context, statement: &Security) -> Result<Outcome> {
    match statement {
        Security::CreateSecret { name, if_not_exists, value } => create(context, name, *if_not_exists, value).await,
        Security::DropSecret { names, if_exists } => drop_all(context, names, *if_exists).await,
        _ => Err(Error::internal("another statement came to secrets")),
    }
}

async fn create(context: &Context, name: &str, if_not_exists: bool, value: &Hidden) -> Result<Outcome> {
    let outcome = Outcome::command("CREATE SECRET");
    context.check_create_in(PUBLIC)?;
    let exists = format!("secret \"{name}\" already exists");
    if context.engine.catalog().roles().secrets.contains_key(name) {
        let error = |message| Error::new(Kind::DuplicateObject, message);
        return if if_not_exists { Ok(outcome.notice(error(format!("{exists}, skipping")))) } else { Err(error(exists)) };
    }
    let id = context.engine.allocate_object()?.0;
    // The value first: a name without one would be of no use. Without its name a value is forgotten.
    context.engine.secrets().put(id, value.reveal())?;
    let (name, owner) = (name.to_owned(), Actor::of(context).role);
    let added = context.engine.secure(Box::new(move |catalog| {
        let mut roles = catalog.roles().clone();
        if roles.secrets.contains_key(&name) {
            return Err(Error::new(Kind::DuplicateObject, exists));
        }
        roles.secrets.insert(name, Secret { id, access: Access::of(owner) });
        Ok(Secured { roles: Some(roles), ..Secured::default() })
    }));
    let added = added.await;
    if added.is_err() {
        context.engine.secrets().forget(&[id])?;
    }
    added.map(|_| outcome)
}

async fn drop_all(context: &Context, names: &[String], if_exists: bool) -> Result<Outcome> {
    let (names, role) = (names.to_vec(), context.role());
    let dropped: Arc<Mutex<Vec<u32>>> = Arc::default();
    let ids = dropped.clone();
    let change = move |catalog: &Catalog| {
        let mut roles = catalog.roles().clone();
        let mut notices = Vec::new();
        for name in &names {
            let secret = match roles.secret(name) {
                Err(e) if if_exists => {
                    notices.push(Error::new(Kind::UndefinedObject, format!("{}, skipping", e.message())));
                    continue;
                }
                found => found?,
            };
            if !roles.owns(role, &secret.access) {
                return Err(Error::new(Kind::InsufficientPrivilege, format!("must be owner of secret {name}")));
            }
            check_unused(catalog, name)?;
            ids.lock().push(secret.id);
            roles.secrets.remove(name);
        }
        Ok(Secured { roles: Some(roles), notices, ..Secured::default() })
    };
    let notices = context.engine.secure(Box::new(change)).await?;
    context.engine.secrets().forget(&dropped.lock())?;
    Ok(notices.into_iter().fold(Outcome::command("DROP SECRET"), Outcome::notice))
}

/// Error: a source or a sink is made with it (2BP01).
fn check_unused(catalog: &Catalog, name: &str) -> Result<()> {
    let uses = |object: &Object| {
        let options = match &object.body {
            Body::Sink(sink) => Some(&sink.options),
            _ => object.feed().map(|f| &f.options),
        };
        options.is_some_and(|o| o.values().any(|value| referred(value) == Some(name)))
    };
    let lines: Vec<String> = catalog.objects().filter(|o| uses(o)).map(|o| format!("{} {} depends on secret {name}", o.kind_name(), o.name)).collect();
    if lines.is_empty() {
        return Ok(());
    }
    Err(Error::new(Kind::DependentObjectsExist, format!("cannot drop secret {name} because other objects depend on it")).with_detail(lines.join("\n")))
}
