//! Who may do what: the owner everything, with what it made. The catalogs' own relations are not listed, everybody may read them.

use super::columns;
use super::tables::relations;
use super::yes_or_no;
use crate::catalog::catalog::DATABASE;
use crate::catalog::pg::facts::{Facts, Role};
use crate::catalog::pg::names;
use crate::catalog::pg::oids;
use crate::catalog::pg::relations::Relation;
use crate::catalog::pg::sheet::Sheet;
use crate::error::Result;
use arrow::array::RecordBatch;

const OF_TABLES: [&str; 7] = ["INSERT", "SELECT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"];
const OF_COLUMNS: [&str; 4] = ["INSERT", "SELECT", "UPDATE", "REFERENCES"];

/// table_privileges and role_table_grants.
pub fn tables(relation: &'static Relation, facts: &Facts) -> Result<RecordBatch> {
    let owner = names::user_name(facts, oids::OWNER);
    let users = relations(facts).into_iter().filter(|(c, _)| c.object().is_some());
    let all: Vec<_> = users.flat_map(|(c, schema)| OF_TABLES.iter().map(move |privilege| (schema, c.name.clone(), *privilege))).collect();
    Sheet::new(relation, all.len())
        .all("grantor", &owner)
        .all("grantee", &owner)
        .all("table_catalog", DATABASE)
        .column("table_schema", all.iter().map(|p| p.0))
        .column("table_name", all.iter().map(|p| p.1.as_ref()))
        .column("privilege_type", all.iter().map(|p| p.2))
        .all("is_grantable", "YES")
        .column("with_hierarchy", all.iter().map(|p| yes_or_no(p.2 == "SELECT")))
        .finish()
}

/// column_privileges and role_column_grants.
pub fn columns(relation: &'static Relation, facts: &Facts) -> Result<RecordBatch> {
    let owner = names::user_name(facts, oids::OWNER);
    let columns = columns::all(facts).into_iter().filter(|c| c.class.object().is_some());
    let all: Vec<_> = columns
        .flat_map(|c| {
            let column = (c.schema, c.class.name, c.attribute.name);
            OF_COLUMNS.iter().map(move |privilege| (column.clone(), *privilege))
        })
        .collect();
    Sheet::new(relation, all.len())
        .all("grantor", &owner)
        .all("grantee", &owner)
        .all("table_catalog", DATABASE)
        .column("table_schema", all.iter().map(|p| p.0.0))
        .column("table_name", all.iter().map(|p| p.0.1.as_ref()))
        .column("column_name", all.iter().map(|p| p.0.2.as_ref()))
        .column("privilege_type", all.iter().map(|p| p.1))
        .all("is_grantable", "YES")
        .finish()
}

pub fn enabled_roles(relation: &'static Relation, facts: &Facts) -> Result<RecordBatch> {
    Sheet::new(relation, facts.roles.len()).column("role_name", facts.roles.iter().map(|r| &r.name)).finish()
}

/// Memberships; nobody may hand one on.
pub fn applicable_roles(relation: &'static Relation, facts: &Facts) -> Result<RecordBatch> {
    let all: Vec<(&Role, String)> = facts.roles.iter().flat_map(|r| r.member_of.iter().map(move |group| (r, names::user_name(facts, *group)))).collect();
    Sheet::new(relation, all.len())
        .column("grantee", all.iter().map(|m| &m.0.name))
        .column("role_name", all.iter().map(|m| &m.1))
        .all("is_grantable", "NO")
        .finish()
}
