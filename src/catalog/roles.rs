//! Roles, and what hangs on them: who is a member of whom, the grants of schemas, the names of secrets. One durable record
//! ([`encode`], [`decode`]); the grants of a relation are kept with the relation ([`super::access::Access`]).
//!
//! Roles are known by OID: a name may change, and one that is given to a new role brings no rights of the old one along.

use super::access::{Access, Class, Privileges};
use super::pg::oids;
use crate::error::{Error, Kind, Result};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The role that there is from the beginning, a superuser: it owns what nobody else does.
pub const OWNER_NAME: &str = "tidewater";

/// Version of the record.
const FORMAT_VERSION: u32 = 1;

/// One role, a row of pg_authid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    pub oid: u32,
    pub name: String,
    pub superuser: bool,
    pub login: bool,
    pub inherit: bool,
    pub create_role: bool,
    pub create_db: bool,
    /// -1: any number.
    pub connection_limit: i32,
    /// µs since 1970.
    pub valid_until: Option<i64>,
    /// `SCRAM-SHA-256$…`; a password is kept as nothing else.
    pub verifier: Option<String>,
    pub member_of: Vec<Membership>,
}

/// That a role is a member of another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    pub role: u32,
    /// It may hand the membership on.
    pub admin: bool,
    pub grantor: u32,
}

/// A secret as the catalog knows it; its value is elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    pub id: u32,
    pub access: Access,
}

/// All roles, and the grants of what is no relation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Roles {
    version: u32,
    /// By OID.
    roles: BTreeMap<u32, Role>,
    /// Schemas whose grants are not those that they begin with.
    schemas: BTreeMap<String, Access>,
    /// By name.
    pub secrets: BTreeMap<String, Secret>,
    /// Random, since there has been a password: what is told to those who try names that nobody has.
    pub seed: String,
}

impl Default for Roles {
    fn default() -> Roles {
        let owner = Role::owner();
        Roles { version: FORMAT_VERSION, roles: BTreeMap::from([(owner.oid, owner)]), schemas: BTreeMap::new(), secrets: BTreeMap::new(), seed: String::new() }
    }
}

impl Role {
    /// The one that there is from the beginning.
    pub fn owner() -> Role {
        Role { superuser: true, login: true, create_role: true, create_db: true, ..Role::new(oids::OWNER, OWNER_NAME) }
    }

    /// As `CREATE ROLE name` makes it.
    pub fn new(oid: u32, name: &str) -> Role {
        Role {
            oid,
            name: name.to_owned(),
            superuser: false,
            login: false,
            inherit: true,
            create_role: false,
            create_db: false,
            connection_limit: -1,
            valid_until: None,
            verifier: None,
            member_of: Vec::new(),
        }
    }

    pub fn is_member_of(&self, role: u32) -> bool {
        self.member_of.iter().any(|m| m.role == role)
    }
}

fn undefined(name: &str) -> Error {
    Error::new(Kind::UndefinedObject, format!("role \"{name}\" does not exist"))
}

impl Roles {
    /// By OID.
    pub fn all(&self) -> impl Iterator<Item = &Role> {
        self.roles.values()
    }

    pub fn get(&self, oid: u32) -> Option<&Role> {
        self.roles.get(&oid)
    }

    /// Error: there is none (42704).
    pub fn find(&self, name: &str) -> Result<&Role> {
        self.named(name).ok_or_else(|| undefined(name))
    }

    pub fn named(&self, name: &str) -> Option<&Role> {
        self.roles.values().find(|r| r.name == name)
    }

    /// The name of a role, as errors and lists tell it.
    pub fn name_of(&self, oid: u32) -> String {
        self.get(oid).map_or_else(|| format!("unknown (OID={oid})"), |role| role.name.clone())
    }

    /// Whether anybody has a password.
    pub fn has_passwords(&self) -> bool {
        self.roles.values().any(|r| r.verifier.is_some())
    }

    /// Error: the name is taken (42710) or cannot be a role's (42939).
    pub fn add(&mut self, role: Role) -> Result<()> {
        self.check_name(&role.name)?;
        self.roles.insert(role.oid, role);
        Ok(())
    }

    pub fn rename(&mut self, oid: u32, name: &str) -> Result<()> {
        self.check_name(name)?;
        if let Some(role) = self.roles.get_mut(&oid) {
            role.name = name.to_owned();
        }
        Ok(())
    }

    fn check_name(&self, name: &str) -> Result<()> {
        if name == "public" || name == "none" || name.starts_with("pg_") {
            let error = Error::new(Kind::ReservedName, format!("role name \"{name}\" is reserved"));
            return Err(if name.starts_with("pg_") { error.with_detail("Role names starting with \"pg_\" are reserved.") } else { error });
        }
        match self.named(name) {
            Some(_) => Err(Error::new(Kind::DuplicateObject, format!("role \"{name}\" already exists"))),
            None => Ok(()),
        }
    }

    pub fn get_mut(&mut self, oid: u32) -> Option<&mut Role> {
        self.roles.get_mut(&oid)
    }

    /// Takes the role away, with its memberships.
    pub fn remove(&mut self, oid: u32) {
        self.roles.remove(&oid);
        self.roles.values_mut().for_each(|r| r.member_of.retain(|m| m.role != oid));
    }

    pub fn is_superuser(&self, oid: u32) -> bool {
        self.get(oid).is_some_and(|r| r.superuser)
    }

    /// The role and all whose rights it has without asking: memberships that roles with INHERIT have.
    pub fn rights_of(&self, oid: u32) -> BTreeSet<u32> {
        self.closure(oid, |role| role.inherit)
    }

    /// Whether it may become the other role.
    pub fn is_member(&self, oid: u32, of: u32) -> bool {
        self.is_superuser(oid) || self.closure(oid, |_| true).contains(&of)
    }

    /// Whether it is a superuser, or may become one by SET ROLE.
    pub fn reaches_superuser(&self, oid: u32) -> bool {
        self.closure(oid, |_| true).iter().any(|role| self.is_superuser(*role))
    }

    fn closure(&self, oid: u32, follows: impl Fn(&Role) -> bool) -> BTreeSet<u32> {
        let mut all = BTreeSet::new();
        let mut waiting = vec![oid];
        while let Some(oid) = waiting.pop() {
            let Some(role) = self.get(oid).filter(|_| all.insert(oid)) else { continue };
            if follows(role) {
                waiting.extend(role.member_of.iter().map(|m| m.role));
            }
        }
        all
    }

    /// Whether it may grant membership in `of`: WITH ADMIN OPTION, by itself or by a role whose rights it has.
    pub fn is_admin_of(&self, oid: u32, of: u32) -> bool {
        let admin = |role: &Role| role.member_of.iter().any(|m| m.role == of && m.admin);
        self.is_superuser(oid) || self.rights_of(oid).iter().filter_map(|r| self.get(*r)).any(admin)
    }

    /// Whether it has the rights of the owner.
    pub fn owns(&self, oid: u32, access: &Access) -> bool {
        self.is_superuser(oid) || self.rights_of(oid).contains(&access.owner)
    }

    /// Whether it holds all of `wanted`.
    pub fn may(&self, oid: u32, access: &Access, class: Class, wanted: Privileges) -> bool {
        self.is_superuser(oid) || access.held(class, &self.rights_of(oid)).contains(wanted)
    }

    /// The grants of a schema.
    pub fn schema(&self, name: &str) -> Access {
        self.schemas.get(name).cloned().unwrap_or_else(Access::of_open_schema)
    }

    pub fn set_schema(&mut self, name: &str, access: Access) {
        self.schemas.insert(name.to_owned(), access);
    }

    /// Grants of schemas and secrets that there are, with how they are called.
    pub fn accesses(&self) -> impl Iterator<Item = (String, Class, &Access)> {
        let schemas = self.schemas.iter().map(|(name, access)| (format!("schema {name}"), Class::Schema, access));
        schemas.chain(self.secrets.iter().map(|(name, secret)| (format!("secret {name}"), Class::Secret, &secret.access)))
    }

    pub fn accesses_mut(&mut self) -> impl Iterator<Item = &mut Access> {
        self.schemas.values_mut().chain(self.secrets.values_mut().map(|s| &mut s.access))
    }

    /// Error: there is none of that name (42704).
    pub fn secret(&self, name: &str) -> Result<&Secret> {
        self.secrets.get(name).ok_or_else(|| Error::new(Kind::UndefinedObject, format!("secret \"{name}\" does not exist")))
    }
}

/// The durable form.
pub fn encode(roles: &Roles) -> Result<Vec<u8>> {
    serde_json::to_vec(roles).map_err(|e| Error::internal("roles cannot be written").caused_by(e))
}

/// The inverse of [`encode`]. Error: damaged, or written by a newer release.
pub fn decode(bytes: &[u8]) -> Result<Roles> {
    let roles: Roles =
        serde_json::from_slice(bytes).map_err(|e| Error::new(Kind::DataCorrupted, "the record of roles is damaged").with_detail(e.to_string()))?;
    if roles.version > FORMAT_VERSION {
        return Err(Error::new(Kind::ConfigFile, "the data directory was written by a newer release"));
    }
    Ok(roles)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> Roles {
        let mut roles = Roles::default();
        let member = |role| vec![Membership { role, admin: false, grantor: oids::OWNER }];
        roles.add(Role::new(100, "readers")).unwrap();
        roles.add(Role { member_of: member(100), ..Role::new(101, "team") }).unwrap();
        roles.add(Role { member_of: member(101), inherit: false, ..Role::new(102, "ann") }).unwrap();
        roles
    }

    #[test]
    fn rights_are_inherited_only_where_they_should_be() {
        let roles = three();
        assert_eq!(roles.rights_of(101), BTreeSet::from([100, 101]));
        // NOINHERIT: she has to SET ROLE.
        assert_eq!(roles.rights_of(102), BTreeSet::from([102]));
        assert!(roles.is_member(102, 100) && !roles.is_member(101, 102));
        assert!(roles.is_member(oids::OWNER, 102));
        let mut admins = three();
        admins.get_mut(100).unwrap().member_of = vec![Membership { role: oids::OWNER, admin: false, grantor: oids::OWNER }];
        assert!(admins.reaches_superuser(102) && !admins.is_superuser(102) && !roles.reaches_superuser(102));
        assert!(!roles.is_superuser(999) && roles.rights_of(999).is_empty());
    }

    #[test]
    fn names_are_unique_and_some_reserved() {
        let mut roles = three();
        assert_eq!(roles.add(Role::new(103, "ann")).unwrap_err().sqlstate(), "42710");
        assert_eq!(roles.add(Role::new(103, "public")).unwrap_err().sqlstate(), "42939");
        assert_eq!(roles.rename(102, "pg_x").unwrap_err().sqlstate(), "42939");
        roles.rename(102, "anna").unwrap();
        assert!(roles.named("ann").is_none() && roles.find("anna").unwrap().oid == 102);
        roles.remove(101);
        assert!(roles.get(102).unwrap().member_of.is_empty());
    }

    #[test]
    fn they_survive_their_durable_form() {
        let back = decode(&encode(&three()).unwrap()).unwrap();
        assert_eq!(back.all().map(|r| r.oid).collect::<Vec<_>>(), [10, 100, 101, 102]);
        let newer = String::from_utf8(encode(&back).unwrap()).unwrap().replace("\"version\":1", "\"version\":9");
        assert_eq!(decode(newer.as_bytes()).unwrap_err().kind(), Kind::ConfigFile);
    }
}
