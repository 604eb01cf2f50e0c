//! `GRANT … ON` and `REVOKE … ON`: who may do what with relations, schemas and secrets.

use super::roles::Actor;
use super::target::find_in;
use crate::catalog::access::{Access, Class, PUBLIC_ROLE, Privileges};
use crate::catalog::catalog::{Catalog, PUBLIC};
use crate::catalog::object::{Body, Object};
use crate::catalog::roles::Roles;
use crate::error::{Error, Kind, Result};
use crate::node::engine_api::Secured;
use crate::sql::ast::Name;
use crate::sql::security::{Change, On, RoleName, Who};
use std::sync::Arc;

pub(super) fn change(catalog: &Catalog, actor: Actor, change: &Change) -> Result<Secured> {
    let mut roles = catalog.roles().clone();
    let grantees = change.grantees.iter().map(|g| grantee(&roles, actor, g, change)).collect::<Result<Vec<u32>>>()?;
    let changing = Changing { catalog, actor, change, grantees };
    let mut secured = Secured::default();
    match &change.on {
        On::Relations(_) | On::AllIn(_) => {
            for object in changing.relations()? {
                let mut object = Object::clone(&object);
                let what = format!("{} {}", object.kind_name(), object.name);
                changing.apply(&mut object.access, Class::Relation, &what, &mut secured.notices)?;
                secured.objects.push(object);
            }
        }
        On::Schemas(names) => {
            for (name, position) in names {
                if let Some(schema) = catalog.schema(name) {
                    let mut schema = Object::clone(schema);
                    changing.apply(&mut schema.access, Class::Schema, &format!("schema {name}"), &mut secured.notices)?;
                    secured.objects.push(schema);
                    continue;
                }
                if name != PUBLIC {
                    return Err(no_schema(name, *position));
                }
                let mut access = roles.schema(name);
                changing.apply(&mut access, Class::Schema, &format!("schema {name}"), &mut secured.notices)?;
                roles.set_schema(name, access);
            }
            secured.roles = Some(roles);
        }
        On::Secrets(names) => {
            for name in names {
                let mut secret = roles.secret(name)?.clone();
                changing.apply(&mut secret.access, Class::Secret, &format!("secret {name}"), &mut secured.notices)?;
                roles.secrets.insert(name.clone(), secret);
            }
            secured.roles = Some(roles);
        }
    }
    Ok(secured)
}

fn no_schema(name: &str, position: usize) -> Error {
    Error::new(Kind::InvalidSchemaName, format!("schema \"{name}\" does not exist")).at(position)
}

fn grantee(roles: &Roles, actor: Actor, name: &RoleName, change: &Change) -> Result<u32> {
    if name.who != Who::Public {
        return actor.find(roles, name).map(|r| r.oid);
    }
    if change.grant && change.option {
        return Err(Error::new(Kind::InvalidGrant, "grant options can only be granted to roles").at(name.position));
    }
    Ok(PUBLIC_ROLE)
}

struct Changing<'c> {
    catalog: &'c Catalog,
    actor: Actor,
    change: &'c Change,
    grantees: Vec<u32>,
}

impl Changing<'_> {
    fn relations(&self) -> Result<Vec<Arc<Object>>> {
        match &self.change.on {
            On::Relations(names) => names.iter().map(|name| self.relation(name)).collect(),
            On::AllIn(schemas) => {
                if let Some((name, position)) = schemas.iter().find(|(name, _)| !self.catalog.has_schema(name)) {
                    return Err(no_schema(name, *position));
                }
                Ok(self.catalog.objects().filter(|o| schemas.iter().any(|(s, _)| *s == o.schema) && has_rows(o)).cloned().collect())
            }
            On::Schemas(_) | On::Secrets(_) => Ok(Vec::new()),
        }
    }

    fn relation(&self, name: &Name) -> Result<Arc<Object>> {
        let object = find_in(self.catalog, self.actor.role, name)?;
        if has_rows(&object) {
            return Ok(object);
        }
        let what = object.kind_name();
        let article = if object.index().is_some() { "an" } else { "a" };
        Err(Error::new(Kind::WrongObjectType, format!("\"{}\" is {article} {what}", object.name))
            .with_detail("It has no rows that could be read.")
            .at(name.position))
    }

    /// Changes the grants on one thing. Error: the actor may grant nothing of it (42501).
    fn apply(&self, access: &mut Access, class: Class, what: &str, notices: &mut Vec<Error>) -> Result<()> {
        let roles = self.catalog.roles();
        let wanted = self.change.privileges.unwrap_or(class.privileges());
        let mine = roles.rights_of(self.actor.role);
        let (grantor, may) = if roles.is_superuser(self.actor.role) { (access.owner, wanted) } else { access.grantor(class, &mine, wanted) };
        if may.is_empty() {
            return self.refused(access, class, what, &mine, notices);
        }
        if may != wanted && self.change.privileges.is_some() {
            let done = if self.change.grant { "granted" } else { "revoked" };
            notices.push(Error::new(Kind::Notice, format!("not all privileges were {done} for {what}")));
        }
        for &grantee in &self.grantees {
            if self.change.grant {
                if self.change.option {
                    access.check_no_circle(class, grantee, grantor)?;
                }
                access.grant(class, grantee, grantor, may, self.change.option);
            } else {
                access.revoke(class, grantee, grantor, may, self.change.option, self.change.cascade)?;
            }
        }
        Ok(())
    }

    /// Whoever holds something of it is told that nothing was done, anybody else that he may not.
    fn refused(&self, access: &Access, class: Class, what: &str, mine: &std::collections::BTreeSet<u32>, notices: &mut Vec<Error>) -> Result<()> {
        if access.held(class, mine) == Privileges::NONE || class == Class::Schema {
            return Err(Error::new(Kind::InsufficientPrivilege, format!("permission denied for {what}")));
        }
        let done = if self.change.grant { "granted" } else { "revoked" };
        notices.push(Error::new(Kind::Notice, format!("no privileges were {done} for {what}")));
        Ok(())
    }
}

/// Indexes and sinks have nothing that could be granted.
fn has_rows(object: &Object) -> bool {
    !matches!(object.body, Body::Index(_) | Body::Sink(_))
}
