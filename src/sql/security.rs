//! Statements about roles, grants and secrets, after parsing and before any name is looked up.

use super::ast::{Name, ObjectKind};
use crate::catalog::access::{Class, Privileges};
use std::fmt;

/// See the module.
#[derive(Clone, Debug)]
pub enum Security {
    CreateRole {
        name: String,
        position: usize,
        options: RoleOptions,
    },
    AlterRole {
        role: RoleName,
        options: RoleOptions,
    },
    RenameRole {
        role: RoleName,
        to: String,
    },
    DropRole {
        roles: Vec<RoleName>,
        if_exists: bool,
    },
    Membership(Membership),
    Privileges(Change),
    /// `ALTER TABLE … OWNER TO`, and of other kinds.
    GiveObject {
        kind: ObjectKind,
        name: Name,
        to: RoleName,
    },
    ReassignOwned {
        from: Vec<RoleName>,
        to: RoleName,
    },
    CreateSecret {
        name: String,
        if_not_exists: bool,
        value: Hidden,
    },
    DropSecret {
        names: Vec<String>,
        if_exists: bool,
    },
}

/// A role as statements name it, with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleName {
    pub who: Who,
    pub position: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    Named(String),
    /// `CURRENT_USER`, `CURRENT_ROLE`.
    Current,
    /// `SESSION_USER`.
    Session,
    Public,
}

/// What CREATE and ALTER ROLE say; `None`: nothing.
#[derive(Clone, Debug, Default)]
pub struct RoleOptions {
    pub superuser: Option<bool>,
    pub login: Option<bool>,
    pub inherit: Option<bool>,
    pub create_role: Option<bool>,
    pub create_db: Option<bool>,
    /// `Some(None)`: `PASSWORD NULL`.
    pub password: Option<Option<Hidden>>,
    pub connection_limit: Option<i32>,
    pub valid_until: Option<String>,
    /// `IN ROLE`: it becomes a member of these.
    pub in_roles: Vec<RoleName>,
    /// `ROLE`: these become members of it.
    pub members: Vec<RoleName>,
    /// `ADMIN`: the same, and may hand it on.
    pub admins: Vec<RoleName>,
}

impl RoleOptions {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        let RoleOptions { superuser, login, inherit, create_role, create_db, password, connection_limit, valid_until, in_roles, members, admins } = self;
        let flags = [superuser, login, inherit, create_role, create_db];
        flags.iter().all(|f| f.is_none())
            && password.is_none()
            && connection_limit.is_none()
            && valid_until.is_none()
            && [in_roles, members, admins].iter().all(|r| r.is_empty())
    }
}

/// `GRANT role TO role`, and REVOKE.
#[derive(Clone, Debug)]
pub struct Membership {
    pub grant: bool,
    pub roles: Vec<RoleName>,
    pub members: Vec<RoleName>,
    /// `WITH ADMIN OPTION`; of REVOKE: `ADMIN OPTION FOR`.
    pub admin: bool,
}

/// `GRANT … ON … TO …`, and REVOKE.
#[derive(Clone, Debug)]
pub struct Change {
    pub grant: bool,
    /// `None`: `ALL`.
    pub privileges: Option<Privileges>,
    pub on: On,
    pub grantees: Vec<RoleName>,
    /// `WITH GRANT OPTION`; of REVOKE: `GRANT OPTION FOR`.
    pub option: bool,
    pub cascade: bool,
}

#[derive(Clone, Debug)]
pub enum On {
    Relations(Vec<Name>),
    /// `ALL TABLES IN SCHEMA`, with places.
    AllIn(Vec<(String, usize)>),
    Schemas(Vec<(String, usize)>),
    Secrets(Vec<String>),
}

impl On {
    pub fn class(&self) -> Class {
        match self {
            On::Relations(_) | On::AllIn(_) => Class::Relation,
            On::Schemas(_) => Class::Schema,
            On::Secrets(_) => Class::Secret,
        }
    }
}

impl Security {
    /// The command tag.
    pub fn tag(&self) -> &'static str {
        match self {
            Security::CreateRole { .. } => "CREATE ROLE",
            Security::AlterRole { .. } | Security::RenameRole { .. } => "ALTER ROLE",
            Security::DropRole { .. } => "DROP ROLE",
            Security::Membership(m) => {
                if m.grant {
                    "GRANT ROLE"
                } else {
                    "REVOKE ROLE"
                }
            }
            Security::Privileges(c) => {
                if c.grant {
                    "GRANT"
                } else {
                    "REVOKE"
                }
            }
            Security::GiveObject { kind: ObjectKind::MaterializedView, .. } => "ALTER MATERIALIZED VIEW",
            Security::GiveObject { kind: ObjectKind::Source, .. } => "ALTER SOURCE",
            Security::GiveObject { kind: ObjectKind::View, .. } => "ALTER VIEW",
            Security::GiveObject { kind: ObjectKind::Sink, .. } => "ALTER SINK",
            Security::GiveObject { .. } => "ALTER TABLE",
            Security::ReassignOwned { .. } => "REASSIGN OWNED",
            Security::CreateSecret { .. } => "CREATE SECRET",
            Security::DropSecret { .. } => "DROP SECRET",
        }
    }
}

impl Security {
    /// What it is about, in a word or a few.
    pub fn object(&self) -> Option<String> {
        let who = |roles: &[RoleName]| roles.iter().map(|r| r.text()).collect::<Vec<_>>().join(", ");
        Some(match self {
            Security::CreateRole { name, .. } | Security::CreateSecret { name, .. } => name.clone(),
            Security::AlterRole { role, .. } | Security::RenameRole { role, .. } => role.text(),
            Security::DropRole { roles, .. } => who(roles),
            Security::Membership(m) => who(&m.roles),
            Security::Privileges(change) => match &change.on {
                On::Relations(names) => names.iter().map(|n| n.name.as_str()).collect::<Vec<_>>().join(", "),
                On::AllIn(names) | On::Schemas(names) => names.iter().map(|n| n.0.as_str()).collect::<Vec<_>>().join(", "),
                On::Secrets(names) => names.join(", "),
            },
            Security::GiveObject { name, .. } => name.name.clone(),
            Security::ReassignOwned { from, .. } => who(from),
            Security::DropSecret { names, .. } => names.join(", "),
        })
    }
}

impl RoleName {
    fn text(&self) -> String {
        match &self.who {
            Who::Named(name) => name.clone(),
            Who::Current => "CURRENT_USER".to_owned(),
            Who::Session => "SESSION_USER".to_owned(),
            Who::Public => "PUBLIC".to_owned(),
        }
    }
}

/// A password or a secret's value, which nothing prints.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(String);

impl Hidden {
    pub fn new(text: String) -> Hidden {
        Hidden(text)
    }

    /// To whom it is meant for.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("********")
    }
}
