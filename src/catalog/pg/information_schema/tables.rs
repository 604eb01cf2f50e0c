//! Relations, schemas, and the few things that there is one of.

use super::yes_or_no;
use crate::catalog::catalog::DATABASE;
use crate::catalog::pg::classes::{self, Class};
use crate::catalog::pg::facts::Facts;
use crate::catalog::pg::relations::Relation;
use crate::catalog::pg::sheet::Sheet;
use crate::catalog::pg::statics::records;
use crate::catalog::pg::{foreign, names, namespaces, oids, views as queries};
use crate::error::Result;
use arrow::array::RecordBatch;

/// Tables, views and sources, with the name of their schema.
pub(super) fn relations(facts: &Facts) -> Vec<(Class<'_>, &str)> {
    let shown = classes::all(facts).into_iter().filter(|c| matches!(c.kind, 'r' | 'v' | 'f'));
    shown.filter_map(|c| namespaces::name_of(facts, c.namespace).map(|schema| (c, schema))).collect()
}

pub fn rows(relation: &'static Relation, facts: &Facts) -> Result<RecordBatch> {
    let all = relations(facts);
    let kind = |c: &Class| match c.kind {
        'r' => "BASE TABLE",
        'v' => "VIEW",
        _ => "FOREIGN",
    };
    Sheet::new(relation, all.len())
        .all("table_catalog", DATABASE)
        .column("table_schema", all.iter().map(|(_, schema)| *schema))
        .column("table_name", all.iter().map(|(c, _)| c.name.as_ref()))
        .column("table_type", all.iter().map(|(c, _)| kind(c)))
        .column("is_insertable_into", all.iter().map(|(c, _)| yes_or_no(c.kind == 'r')))
        .all("is_typed", "NO")
        .finish()
}

pub fn views(relation: &'static Relation, facts: &Facts) -> Result<RecordBatch> {
    let all: Vec<_> = relations(facts).into_iter().filter(|(c, _)| c.kind == 'v').collect();
    Sheet::new(relation, all.len())
        .all("table_catalog", DATABASE)
        .column("table_schema", all.iter().map(|(_, schema)| *schema))
        .column("table_name", all.iter().map(|(c, _)| c.name.as_ref()))
        .column("view_definition", all.iter().map(|(c, _)| queries::definition(facts, c.oid)))
        .all("check_option", "NONE")
        .all("is_updatable", "NO")
        .all("is_insertable_into", "NO")
        .all("is_trigger_updatable", "NO")
        .all("is_trigger_deletable", "NO")
        .all("is_trigger_insertable_into", "NO")
        .finish()
}

pub fn view_usage(relation: &'static Relation, facts: &Facts) -> Result<RecordBatch> {
    let views = relations(facts).into_iter().filter(|(c, _)| c.kind == 'v').filter_map(|(c, _)| c.object());
    let pairs: Vec<_> = views.flat_map(|v| v.depends_on.iter().filter_map(move |id| Some((v, facts.catalog.get(*id)?)))).collect();
    Sheet::new(relation, pairs.len())
        .all("view_catalog", DATABASE)
        .column("view_schema", pairs.iter().map(|p| &p.0.schema))
        .column("view_name", pairs.iter().map(|p| &p.0.name))
        .all("table_catalog", DATABASE)
        .column("table_schema", pairs.iter().map(|p| &p.1.schema))
        .column("table_name", pairs.iter().map(|p| &p.1.name))
        .finish()
}

pub fn schemata(relation: &'static Relation, facts: &Facts) -> Result<RecordBatch> {
    let all = namespaces::all(facts);
    Sheet::new(relation, all.len())
        .all("catalog_name", DATABASE)
        .column("schema_name", all.iter().map(|n| n.1))
        .column("schema_owner", all.iter().map(|n| names::user_name(facts, n.2)))
        .finish()
}

pub fn catalog_name(relation: &'static Relation, _facts: &Facts) -> Result<RecordBatch> {
    Sheet::new(relation, 1).all("catalog_name", DATABASE).finish()
}

pub fn character_sets(relation: &'static Relation, _facts: &Facts) -> Result<RecordBatch> {
    Sheet::new(relation, 1)
        .all("character_set_name", "UTF8")
        .all("character_repertoire", "UCS")
        .all("form_of_use", "UTF8")
        .all("default_collate_catalog", DATABASE)
        .all("default_collate_schema", namespaces::PG_CATALOG)
        .all("default_collate_name", "default")
        .finish()
}

pub fn collations(relation: &'static Relation, _facts: &Facts) -> Result<RecordBatch> {
    let all: Vec<&str> = records("pg_collation").map(|r| r.text("collname")).collect();
    Sheet::new(relation, all.len())
        .all("collation_catalog", DATABASE)
        .all("collation_schema", namespaces::PG_CATALOG)
        .column("collation_name", all)
        .all("pad_attribute", "NO PAD")
        .finish()
}

pub fn foreign_tables(relation: &'static Relation, facts: &Facts) -> Result<RecordBatch> {
    let sources: Vec<_> = relations(facts).into_iter().filter_map(|(c, schema)| foreign::feed(&c).map(|feed| (c, schema, feed))).collect();
    Sheet::new(relation, sources.len())
        .all("foreign_table_catalog", DATABASE)
        .column("foreign_table_schema", sources.iter().map(|s| s.1))
        .column("foreign_table_name", sources.iter().map(|s| s.0.name.as_ref()))
        .all("foreign_server_catalog", DATABASE)
        .column("foreign_server_name", sources.iter().map(|s| &s.2.connector))
        .finish()
}

pub fn servers(relation: &'static Relation, facts: &Facts) -> Result<RecordBatch> {
    let all = foreign::connectors(facts);
    Sheet::new(relation, all.len())
        .all("foreign_server_catalog", DATABASE)
        .column("foreign_server_name", all.iter().copied())
        .all("foreign_data_wrapper_catalog", DATABASE)
        .all("foreign_data_wrapper_name", foreign::WRAPPER_NAME)
        .all("authorization_identifier", names::user_name(facts, oids::OWNER))
        .finish()
}

pub fn wrappers(relation: &'static Relation, facts: &Facts) -> Result<RecordBatch> {
    Sheet::new(relation, 1)
        .all("foreign_data_wrapper_catalog", DATABASE)
        .all("foreign_data_wrapper_name", foreign::WRAPPER_NAME)
        .all("authorization_identifier", names::user_name(facts, oids::OWNER))
        .all("foreign_data_wrapper_language", "c")
        .finish()
}
