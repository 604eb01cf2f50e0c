//! pg_stat_…: a row for each table, materialized view and index of users, and one for the database. The counters are zeros: what happens
//! here is counted elsewhere (`tidewater.sources`, metrics).

use super::classes::{self, Class};
use super::facts::Facts;
use super::indexes::{self, IndexFacts};
use super::namespaces;
use super::oids;
use super::relations::Relation;
use super::sheet::Sheet;
use crate::catalog::catalog::DATABASE;
use crate::error::Result;
use arrow::array::RecordBatch;

pub fn table_rows(relation: &'static Relation, facts: &Facts) -> Result<RecordBatch> {
    let tables: Vec<Class> = classes::of_users(facts).into_iter().filter(|c| matches!(c.kind, 'r' | 'm')).collect();
    Sheet::new(relation, tables.len())
        .column("relid", tables.iter().map(|c| c.oid))
        .column("schemaname", tables.iter().map(|c| namespaces::name_of(facts, c.namespace)))
        .column("relname", tables.iter().map(|c| c.name.as_ref()))
        .zeros()
        .finish()
}

pub fn index_rows(relation: &'static Relation, facts: &Facts) -> Result<RecordBatch> {
    let all: Vec<IndexFacts> = indexes::all(facts);
    Sheet::new(relation, all.len())
        .column("relid", all.iter().map(|i| i.on.id.0))
        .column("indexrelid", all.iter().map(|i| i.oid))
        .column("schemaname", all.iter().map(|i| &i.on.schema))
        .column("relname", all.iter().map(|i| &i.on.name))
        .column("indexrelname", all.iter().map(|i| &i.name))
        .zeros()
        .finish()
}

pub fn database_rows(relation: &'static Relation, facts: &Facts) -> Result<RecordBatch> {
    Sheet::new(relation, 1)
        .all("datid", oids::DATABASE)
        .all("datname", DATABASE)
        .all("numbackends", i32::try_from(facts.sessions.len()).unwrap_or(i32::MAX))
        .all("stats_reset", facts.started_at)
        .zeros()
        .finish()
}
