//! Who may do what: the owner of a relation at first everything, then what was granted. Told is what concerns the role that asks. The catalogs'
//! own relations are not listed, everybody may read them.

use super::columns;
use super::tables::relations;
use super::yes_or_no;
use crate::catalog::access::{Class as Kind, Grant, PUBLIC_ROLE, Privileges};
use crate::catalog::catalog::DATABASE;
use crate::catalog::object::Object;
use crate::catalog::pg::facts::Facts;
use crate::catalog::pg::names;
use crate::catalog::pg::relations::Relation;
use crate::catalog::pg::sheet::Sheet;
use crate::catalog::roles::{Membership, Role};
use crate::error::Result;
use arrow::array::RecordBatch;

const OF_COLUMNS: Privileges = Privileges::ON_COLUMNS;

/// One privilege that one role granted another.
#[derive(Clone)]
struct Held {
    grantor: String,
    grantee: String,
    privilege: &'static str,
    grantable: bool,
}

/// What of an object's grants concerns the role that asks; `with_public`: also what everybody has.
fn held(facts: &Facts, object: &Object, with_public: bool) -> Vec<Held> {
    let roles = facts.catalog.roles();
    let enabled = roles.rights_of(facts.role);
    let sees_all = roles.is_superuser(facts.role);
    let seen = |g: &&Grant| {
        sees_all && g.grantee != PUBLIC_ROLE || enabled.contains(&g.grantee) || enabled.contains(&g.grantor) || with_public && g.grantee == PUBLIC_ROLE
    };
    let name = |role: u32| if role == PUBLIC_ROLE { "PUBLIC".to_owned() } else { names::user_name(facts, role) };
    let grants = object.access.grants(Kind::Relation);
    let one = |g: &Grant| {
        let (grantor, grantee, owner) = (name(g.grantor), name(g.grantee), g.grantee == object.access.owner);
        let privilege = |(p, privilege): (Privileges, &'static str)| Held {
            grantor: grantor.clone(),
            grantee: grantee.clone(),
            privilege,
            grantable: owner || g.grantable.contains(p),
        };
        g.privileges.names().map(privilege).collect::<Vec<_>>()
    };
    grants.iter().filter(seen).flat_map(one).collect()
}

/// table_privileges and role_table_grants.
pub fn tables(relation: &'static Relation, facts: &Facts) -> Result<RecordBatch> {
    let with_public = relation.name == "table_privileges";
    let relations = relations(facts);
    let of = |(c, schema): &(crate::catalog::pg::classes::Class<'_>, &'_ str)| {
        let held = c.object().map_or_else(Vec::new, |object| held(facts, object, with_public));
        held.into_iter().map(|h| ((*schema).to_owned(), c.name.to_string(), h)).collect::<Vec<_>>()
    };
    let all: Vec<(String, String, Held)> = relations.iter().flat_map(of).collect();
    Sheet::new(relation, all.len())
        .column("grantor", all.iter().map(|p| &p.2.grantor))
        .column("grantee", all.iter().map(|p| &p.2.grantee))
        .all("table_catalog", DATABASE)
        .column("table_schema", all.iter().map(|p| &p.0))
        .column("table_name", all.iter().map(|p| &p.1))
        .column("privilege_type", all.iter().map(|p| p.2.privilege))
        .column("is_grantable", all.iter().map(|p| yes_or_no(p.2.grantable)))
        .column("with_hierarchy", all.iter().map(|p| yes_or_no(p.2.privilege == "SELECT")))
        .finish()
}

/// column_privileges and role_column_grants: what is granted on a relation is so on each of its columns.
pub fn columns(relation: &'static Relation, facts: &Facts) -> Result<RecordBatch> {
    let with_public = relation.name == "column_privileges";
    let columns = columns::all(facts);
    let of = |c: &columns::Column<'_>| {
        let held = c.class.object().map_or_else(Vec::new, |object| held(facts, object, with_public));
        let on_columns = held.into_iter().filter(|h| OF_COLUMNS.names().any(|(_, name)| name == h.privilege));
        on_columns.map(|h| (c.schema.to_owned(), c.class.name.to_string(), c.attribute.name.to_string(), h)).collect::<Vec<_>>()
    };
    let all: Vec<(String, String, String, Held)> = columns.iter().flat_map(of).collect();
    Sheet::new(relation, all.len())
        .column("grantor", all.iter().map(|p| &p.3.grantor))
        .column("grantee", all.iter().map(|p| &p.3.grantee))
        .all("table_catalog", DATABASE)
        .column("table_schema", all.iter().map(|p| &p.0))
        .column("table_name", all.iter().map(|p| &p.1))
        .column("column_name", all.iter().map(|p| &p.2))
        .column("privilege_type", all.iter().map(|p| p.3.privilege))
        .column("is_grantable", all.iter().map(|p| yes_or_no(p.3.grantable)))
        .finish()
}

/// The roles whose rights the one that asks has.
pub fn enabled_roles(relation: &'static Relation, facts: &Facts) -> Result<RecordBatch> {
    let roles = facts.catalog.roles();
    let enabled: Vec<&Role> = roles.all().filter(|r| roles.is_member(facts.role, r.oid)).collect();
    Sheet::new(relation, enabled.len()).column("role_name", enabled.iter().map(|r| &r.name)).finish()
}

/// Memberships.
pub fn applicable_roles(relation: &'static Relation, facts: &Facts) -> Result<RecordBatch> {
    let of = |role: &'_ Role| role.member_of.iter().map(|m| (role.name.clone(), m.clone())).collect::<Vec<_>>();
    let all: Vec<(String, Membership)> = facts.catalog.roles().all().flat_map(of).collect();
    Sheet::new(relation, all.len())
        .column("grantee", all.iter().map(|m| &m.0))
        .column("role_name", all.iter().map(|m| names::user_name(facts, m.1.role)))
        .column("is_grantable", all.iter().map(|m| yes_or_no(m.1.admin)))
        .finish()
}
