//! Primary keys, and NOT NULL, which is a check by a made-up name here, as in Postgres.

use super::columns::{self, Column};
use crate::catalog::catalog::DATABASE;
use crate::catalog::pg::constraints::{self, Constraint};
use crate::catalog::pg::facts::Facts;
use crate::catalog::pg::quoting::quoted;
use crate::catalog::pg::relations::Relation;
use crate::catalog::pg::sheet::Sheet;
use crate::error::Result;
use arrow::array::RecordBatch;

/// Columns of tables that may not be NULL.
fn not_null(facts: &Facts) -> Vec<Column<'_>> {
    columns::all(facts).into_iter().filter(|c| c.class.kind == 'r' && c.attribute.not_null).collect()
}

fn not_null_name(column: &Column<'_>) -> String {
    format!("{}_{}_{}_not_null", column.class.namespace, column.class.oid, column.attribute.number)
}

pub fn rows(relation: &'static Relation, facts: &Facts) -> Result<RecordBatch> {
    let keys = constraints::all(facts);
    let checks = not_null(facts);
    // Schema, name, table, kind.
    let of_keys = keys.iter().map(|k| (k.table.schema.as_str(), k.name.clone(), k.table.name.as_str(), "PRIMARY KEY"));
    let of_checks = checks.iter().map(|c| (c.schema, not_null_name(c), c.class.name.as_ref(), "CHECK"));
    let all: Vec<_> = of_keys.chain(of_checks).collect();
    Sheet::new(relation, all.len())
        .all("constraint_catalog", DATABASE)
        .column("constraint_schema", all.iter().map(|c| c.0))
        .column("constraint_name", all.iter().map(|c| &c.1))
        .all("table_catalog", DATABASE)
        .column("table_schema", all.iter().map(|c| c.0))
        .column("table_name", all.iter().map(|c| c.2))
        .column("constraint_type", all.iter().map(|c| c.3))
        .all("is_deferrable", "NO")
        .all("initially_deferred", "NO")
        .all("enforced", "YES")
        .finish()
}

pub fn checks(relation: &'static Relation, facts: &Facts) -> Result<RecordBatch> {
    let all = not_null(facts);
    Sheet::new(relation, all.len())
        .all("constraint_catalog", DATABASE)
        .column("constraint_schema", all.iter().map(|c| c.schema))
        .column("constraint_name", all.iter().map(not_null_name))
        .column("check_clause", all.iter().map(|c| format!("{} IS NOT NULL", quoted(&c.attribute.name))))
        .finish()
}

/// Each column of each primary key, with its place in the key.
fn key_parts<'a>(keys: &'a [Constraint<'a>]) -> Vec<(&'a Constraint<'a>, &'a str, i16)> {
    let parts = keys.iter().flat_map(|key| {
        let columns = key.table.primary_key().iter().filter_map(|ordinal| key.table.columns().get(*ordinal));
        (1..).zip(columns).map(move |(place, column)| (key, column.name.as_str(), place))
    });
    parts.collect()
}

pub fn key_columns(relation: &'static Relation, facts: &Facts) -> Result<RecordBatch> {
    let keys = constraints::all(facts);
    let parts = key_parts(&keys);
    usage(relation, &parts).column("ordinal_position", parts.iter().map(|p| p.2)).finish()
}

pub fn column_usage(relation: &'static Relation, facts: &Facts) -> Result<RecordBatch> {
    let keys = constraints::all(facts);
    usage(relation, &key_parts(&keys)).finish()
}

fn usage(relation: &'static Relation, parts: &[(&Constraint<'_>, &str, i16)]) -> Sheet {
    Sheet::new(relation, parts.len())
        .all("constraint_catalog", DATABASE)
        .column("constraint_schema", parts.iter().map(|p| &p.0.table.schema))
        .column("constraint_name", parts.iter().map(|p| &p.0.name))
        .all("table_catalog", DATABASE)
        .column("table_schema", parts.iter().map(|p| &p.0.table.schema))
        .column("table_name", parts.iter().map(|p| &p.0.table.name))
        .column("column_name", parts.iter().map(|p| p.1))
}

pub fn table_usage(relation: &'static Relation, facts: &Facts) -> Result<RecordBatch> {
    let all = constraints::all(facts);
    Sheet::new(relation, all.len())
        .all("table_catalog", DATABASE)
        .column("table_schema", all.iter().map(|c| &c.table.schema))
        .column("table_name", all.iter().map(|c| &c.table.name))
        .all("constraint_catalog", DATABASE)
        .column("constraint_schema", all.iter().map(|c| &c.table.schema))
        .column("constraint_name", all.iter().map(|c| &c.name))
        .finish()
}
