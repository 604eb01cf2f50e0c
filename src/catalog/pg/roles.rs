//! pg_authid and the views over it: who may log in, and what of. Passwords are never told.

use super::facts::{Facts, Role};
use super::oids;
use super::relations::Relation;
use super::sheet::Sheet;
use crate::error::Result;
use arrow::array::RecordBatch;

/// What stands for a password in views that everybody may read.
const HIDDEN: &str = "********";

fn sorted(facts: &Facts) -> Vec<&Role> {
    let mut roles: Vec<&Role> = facts.roles.iter().collect();
    roles.sort_by_key(|role| role.oid);
    roles
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
    sheet(relation, &sorted(facts)).finish()
}

pub fn role_rows(relation: &'static Relation, facts: &Facts) -> Result<RecordBatch> {
    sheet(relation, &sorted(facts)).all("rolpassword", HIDDEN).finish()
}

/// pg_user and pg_shadow: those that may log in.
pub fn user_rows(relation: &'static Relation, facts: &Facts) -> Result<RecordBatch> {
    let users: Vec<&Role> = sorted(facts).into_iter().filter(|r| r.login).collect();
    let password = if relation.name == "pg_user" { Some(HIDDEN) } else { None };
    Sheet::new(relation, users.len())
        .column("usename", users.iter().map(|r| &r.name))
        .column("usesysid", users.iter().map(|r| r.oid))
        .column("usecreatedb", users.iter().map(|r| r.create_db))
        .column("usesuper", users.iter().map(|r| r.superuser))
        .all("userepl", false)
        .column("usebypassrls", users.iter().map(|r| r.superuser))
        .all("passwd", password)
        .column("valuntil", users.iter().map(|r| r.valid_until))
        .finish()
}

/// pg_group: those that may not log in, with their members.
pub fn group_rows(relation: &'static Relation, facts: &Facts) -> Result<RecordBatch> {
    let groups: Vec<&Role> = sorted(facts).into_iter().filter(|r| !r.login).collect();
    let members = |group: &&Role| -> Vec<u32> { facts.roles.iter().filter(|r| r.member_of.contains(&group.oid)).map(|r| r.oid).collect() };
    Sheet::new(relation, groups.len())
        .column("groname", groups.iter().map(|r| &r.name))
        .column("grosysid", groups.iter().map(|r| r.oid))
        .column("grolist", groups.iter().map(members))
        .finish()
}

pub fn member_rows(relation: &'static Relation, facts: &Facts) -> Result<RecordBatch> {
    let mut members: Vec<(u32, u32)> = facts.roles.iter().flat_map(|r| r.member_of.iter().map(|group| (*group, r.oid))).collect();
    members.sort_unstable();
    Sheet::new(relation, members.len())
        .column("roleid", members.iter().map(|m| m.0))
        .column("member", members.iter().map(|m| m.1))
        .all("grantor", oids::OWNER)
        .finish()
}
