//! has_table_privilege() and its like: whether a role may.

use super::classes::{self, Of};
use super::facts::Facts;
use super::namespaces;
use crate::catalog::access::{Class, Privileges};
use crate::error::{Error, Kind, Result};

/// What only superusers read; everybody reads the rest of the catalogs.
pub const FOR_SUPERUSERS: [&str; 3] = ["pg_authid", "pg_shadow", "audit_log"];

/// The privileges of a text such as `SELECT, INSERT WITH GRANT OPTION`: each word, and whether the option is asked for.
fn words(text: &str) -> impl Iterator<Item = (String, bool)> + '_ {
    text.split(',').map(|word| {
        let word = word.trim().to_uppercase();
        match word.strip_suffix("WITH GRANT OPTION") {
            Some(privilege) => (privilege.trim().to_owned(), true),
            None => (word, false),
        }
    })
}

fn unrecognized(word: &str) -> Error {
    Error::new(Kind::InvalidParameter, format!("unrecognized privilege type: \"{word}\""))
}

/// Whether any of the privileges of a text is held.
fn any(text: &str, known: &[&str], holds: impl Fn(&str, bool) -> bool) -> Result<bool> {
    let mut found = false;
    for (word, option) in words(text) {
        if !known.contains(&word.as_str()) {
            return Err(unrecognized(&word.to_lowercase()));
        }
        found |= holds(&word, option);
    }
    Ok(found)
}

/// Of a relation; `None`: there is none of that OID.
pub fn on_relation(facts: &Facts, role: u32, oid: u32, text: &str) -> Result<Option<bool>> {
    let Some(class) = classes::by_oid(facts, oid) else { return Ok(None) };
    let (roles, all) = (facts.catalog.roles(), ["SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"]);
    let holds = |word: &str, option: bool| match class.of {
        Of::Object(object) | Of::Key(object) => match Privileges::named(word) {
            Some(_) if option && roles.owns(role, &object.access) => true,
            Some(wanted) if option => object.access.grantor(Class::Relation, &roles.rights_of(role), wanted).1 == wanted,
            Some(wanted) => roles.may(role, &object.access, Class::Relation, wanted),
            // What there is no statement for is the owner's, as in Postgres.
            None => roles.owns(role, &object.access),
        },
        Of::Catalog(_) | Of::Listing(_) => roles.is_superuser(role) || word == "SELECT" && !option && !FOR_SUPERUSERS.contains(&class.name.as_ref()),
    };
    any(text, &all, holds).map(Some)
}

/// Of a schema; `None`: there is none of that OID.
pub fn on_schema(facts: &Facts, role: u32, oid: u32, text: &str) -> Result<Option<bool>> {
    let Some(name) = namespaces::name_of(facts, oid) else { return Ok(None) };
    let (roles, access) = (facts.catalog.roles(), facts.catalog.roles().schema(name));
    let holds = |word: &str, option: bool| match Privileges::named(word) {
        Some(wanted) if option => roles.owns(role, &access) || access.grantor(Class::Schema, &roles.rights_of(role), wanted).1 == wanted,
        Some(wanted) => roles.may(role, &access, Class::Schema, wanted),
        None => false,
    };
    any(text, &["USAGE", "CREATE"], holds).map(Some)
}

/// Of the database: everybody may connect, and nobody but a superuser may do more.
pub fn on_database(facts: &Facts, role: u32, text: &str) -> Result<bool> {
    let holds = |word: &str, _| word == "CONNECT" || facts.catalog.roles().is_superuser(role);
    any(text, &["CREATE", "CONNECT", "TEMPORARY", "TEMP"], holds)
}

/// pg_has_role(): `MEMBER` is whether it may become the other, `USAGE` whether it has its rights already.
pub fn on_role(facts: &Facts, role: u32, of: u32, text: &str) -> Result<bool> {
    let roles = facts.catalog.roles();
    let holds = |word: &str, _| match word {
        "USAGE" => roles.is_superuser(role) || roles.rights_of(role).contains(&of),
        "SET" | "MEMBER" => roles.is_member(role, of),
        _ => roles.is_admin_of(role, of),
    };
    let text = text.to_uppercase().replace("WITH ADMIN OPTION", "WITH GRANT OPTION");
    any(&text, &["USAGE", "MEMBER", "SET"], |word, option| if option { roles.is_admin_of(role, of) } else { holds(word, option) })
}

/// The role of a name, `public` for everybody. Error: there is none (42704).
pub fn role_named(facts: &Facts, name: &str) -> Result<u32> {
    if name == "public" { Ok(crate::catalog::access::PUBLIC_ROLE) } else { facts.catalog.roles().find(name).map(|r| r.oid) }
}

/// The OID of the schema of that name. Error: there is none (3F000).
pub fn schema_named(facts: &Facts, name: &str) -> Result<u32> {
    let found = namespaces::oid_of(facts, name);
    found.ok_or_else(|| Error::new(Kind::InvalidSchemaName, format!("schema \"{name}\" does not exist")))
}
