//! Relations that are queries over others, and the queries of users' views.

use super::facts::Facts;
use super::oids::{self, Part};
use super::relations;
use crate::catalog::object::Body;
use crate::types::ids::ObjectId;

/// Name in pg_catalog, query. Joins and conditions only, every name with its schema, columns named as in Postgres and in its order.
const QUERIES: [(&str, &str); 4] = [
    (
        "pg_tables",
        "SELECT n.nspname AS schemaname, c.relname AS tablename, o.rolname AS tableowner, s.spcname AS tablespace, \
         c.relhasindex AS hasindexes, c.relhasrules AS hasrules, c.relhastriggers AS hastriggers, c.relrowsecurity AS rowsecurity \
         FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
         JOIN pg_catalog.pg_roles AS o ON o.oid = c.relowner LEFT JOIN pg_catalog.pg_tablespace AS s ON s.oid = c.reltablespace \
         WHERE c.relkind = 'r'",
    ),
    (
        "pg_views",
        "SELECT n.nspname AS schemaname, c.relname AS viewname, o.rolname AS viewowner, pg_catalog.pg_get_viewdef(c.oid) AS definition \
         FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
         JOIN pg_catalog.pg_roles AS o ON o.oid = c.relowner WHERE c.relkind = 'v'",
    ),
    (
        "pg_matviews",
        "SELECT n.nspname AS schemaname, c.relname AS matviewname, o.rolname AS matviewowner, s.spcname AS tablespace, \
         c.relhasindex AS hasindexes, c.relispopulated AS ispopulated, pg_catalog.pg_get_viewdef(c.oid) AS definition \
         FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
         JOIN pg_catalog.pg_roles AS o ON o.oid = c.relowner LEFT JOIN pg_catalog.pg_tablespace AS s ON s.oid = c.reltablespace \
         WHERE c.relkind = 'm'",
    ),
    (
        "pg_indexes",
        "SELECT n.nspname AS schemaname, t.relname AS tablename, c.relname AS indexname, s.spcname AS tablespace, \
         pg_catalog.pg_get_indexdef(c.oid) AS indexdef \
         FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid JOIN pg_catalog.pg_class AS t ON t.oid = i.indrelid \
         JOIN pg_catalog.pg_namespace AS n ON n.oid = t.relnamespace LEFT JOIN pg_catalog.pg_tablespace AS s ON s.oid = c.reltablespace",
    ),
];

/// The query of a relation of pg_catalog that is one.
pub fn query(name: &str) -> Option<&'static str> {
    QUERIES.iter().find(|(n, _)| *n == name).map(|(_, query)| *query)
}

/// pg_get_viewdef(), for a view's OID: its query as it was typed. `None`: it is no view, or one that has no query to show.
pub fn definition(facts: &Facts, oid: u32) -> Option<String> {
    let typed = match relations::by_oid(oid) {
        Some(relation) => query(relation.name).filter(|_| relation.namespace == oids::PG_CATALOG)?,
        None => match &facts.catalog.get(ObjectId(oid))?.body {
            Body::View(view) => &view.query,
            Body::MaterializedView(view) => &view.query,
            _ => return None,
        },
    };
    Some(format!("{};", typed.trim().trim_end_matches(';').trim_end()))
}

/// pg_get_ruledef(): the rule that Postgres would have for a view. `None`: there is no such rule.
pub fn rule_definition(facts: &Facts, oid: u32) -> Option<String> {
    let view = facts.catalog.get(oids::object_of(oid, Part::Rule)?)?;
    let name = super::quoting::qualified(&view.schema, &view.name);
    Some(format!("CREATE RULE \"_RETURN\" AS\n    ON SELECT TO {name} DO INSTEAD {}", definition(facts, view.id.0)?))
}
