//! information_schema: the same things in the words of the SQL standard. Materialized views and sinks are not in it, as in Postgres.

mod columns;
mod constraints;
mod privileges;
mod tables;

use super::facts::Facts;
use super::relations::Relation;
use crate::error::Result;
use arrow::array::RecordBatch;

/// Makes the rows of one relation.
type Maker = fn(&'static Relation, &Facts) -> Result<RecordBatch>;

/// The relations that have rows; all others are empty.
const MAKERS: [(&str, Maker); 24] = [
    ("applicable_roles", privileges::applicable_roles),
    ("character_sets", tables::character_sets),
    ("check_constraints", constraints::checks),
    ("collations", tables::collations),
    ("column_privileges", privileges::columns),
    ("column_udt_usage", columns::type_usage),
    ("columns", columns::rows),
    ("constraint_column_usage", constraints::column_usage),
    ("constraint_table_usage", constraints::table_usage),
    ("element_types", columns::elements),
    ("enabled_roles", privileges::enabled_roles),
    ("foreign_data_wrappers", tables::wrappers),
    ("foreign_servers", tables::servers),
    ("foreign_tables", tables::foreign_tables),
    ("information_schema_catalog_name", tables::catalog_name),
    ("key_column_usage", constraints::key_columns),
    ("role_column_grants", privileges::columns),
    ("role_table_grants", privileges::tables),
    ("schemata", tables::schemata),
    ("table_constraints", constraints::rows),
    ("table_privileges", privileges::tables),
    ("tables", tables::rows),
    ("view_table_usage", tables::view_usage),
    ("views", tables::views),
];

/// What makes the rows of a relation; `None`: it has none.
pub fn maker(name: &str) -> Option<Maker> {
    MAKERS.iter().find(|(n, _)| *n == name).map(|(_, maker)| *maker)
}

/// The standard's boolean.
fn yes_or_no(value: bool) -> &'static str {
    if value { "YES" } else { "NO" }
}
