//! pg_authid and the views over it: who may log in, and what of. Passwords are never told.

use super::facts::Facts;
use super::relations::Relation;
use super::sheet::Sheet;
use crate::catalog::roles::Role;
use crate::error::Result;
use arrow::array::RecordBatch;

/// What stands for a password: not even the verifier is told.
const HIDDEN: &str = "********";

/// Whether there is one is told where only superusers read.
fn hidden(role: &Role) -> Option<&'static str> {
    role.verifier.is_some().then_some(HIDDEN)
}

/// By OID.
fn sorted(facts: &Facts) -> Vec<&Role> {
    facts.catalog.roles().all().collect()
}

/// What pg_authid and pg_roles have in common.
fn sheet(relation: &'static Relation, roles: &[&Role]) -> Sheet {
    Sheet::new(relation, roles.len())
        .column("oid", roles.iter().map(|r| r.oid))
        .column("rolname", roles.iter().map(|r| &r.name))
        .column("rolsuper", roles.iter().map(|r| r.superuser))
        .column("rolinherit", roles.iter().map(|r| r.inherit))
        .column("rolcreaterole", roles.iter().map(|r| r.create_role))
        .column("rolcreatedb", roles.iter().map(|r| r.create_db))
        .column("rolcanlogin", roles.iter().map(|r| r.login))
        .all("rolreplication", false)
        .column("rolbypassrls", roles.iter().map(|r| r.superuser))
        .column("rolconnlimit", roles.iter().map(|r| r.connection_limit))
        .column("rolvaliduntil", roles.iter().map(|r| r.valid_until))
}

pub fn authid_rows(relation: &'static Relation, facts: &Facts) -> Result<RecordBatch> {
    let roles = sorted(facts);
    sheet(relation, &roles).column("rolpassword", roles.iter().map(|r| hidden(r))).finish()
}

pub fn role_rows(relation: &'static Relation, facts: &Facts) -> Result<RecordBatch> {
    sheet(relation, &sorted(facts)).all("rolpassword", HIDDEN).finish()
}

/// pg_user and pg_shadow: those that may log in.
pub fn user_rows(relation: &'static Relation, facts: &Facts) -> Result<RecordBatch> {
    let users: Vec<&Role> = sorted(facts).into_iter().filter(|r| r.login).collect();
    let password = |r: &&Role| if relation.name == "pg_user" { Some(HIDDEN) } else { hidden(r) };
    Sheet::new(relation, users.len())
        .column("usename", users.iter().map(|r| &r.name))
        .column("usesysid", users.iter().map(|r| r.oid))
        .column("usecreatedb", users.iter().map(|r| r.create_db))
        .column("usesuper", users.iter().map(|r| r.superuser))
        .all("userepl", false)
        .column("usebypassrls", users.iter().map(|r| r.superuser))
        .column("passwd", users.iter().map(password))
        .column("valuntil", users.iter().map(|r| r.valid_until))
        .finish()
}

/// pg_group: those that may not log in, with their members.
pub fn group_rows(relation: &'static Relation, facts: &Facts) -> Result<RecordBatch> {
    let groups: Vec<&Role> = sorted(facts).into_iter().filter(|r| !r.login).collect();
    let members = |group: &&Role| -> Vec<u32> { facts.catalog.roles().all().filter(|r| r.is_member_of(group.oid)).map(|r| r.oid).collect() };
    Sheet::new(relation, groups.len())
        .column("groname", groups.iter().map(|r| &r.name))
        .column("grosysid", groups.iter().map(|r| r.oid))
        .column("grolist", groups.iter().map(members))
        .finish()
}

pub fn member_rows(relation: &'static Relation, facts: &Facts) -> Result<RecordBatch> {
    let of = |role: &'_ Role| role.member_of.iter().map(|m| (m.role, role.oid, m.grantor, m.admin)).collect::<Vec<_>>();
    let mut members: Vec<(u32, u32, u32, bool)> = facts.catalog.roles().all().flat_map(of).collect();
    members.sort_unstable();
    Sheet::new(relation, members.len())
        .column("roleid", members.iter().map(|m| m.0))
        .column("member", members.iter().map(|m| m.1))
        .column("grantor", members.iter().map(|m| m.2))
        .column("admin_option", members.iter().map(|m| m.3))
        .finish()
}
