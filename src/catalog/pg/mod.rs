//! pg_catalog and information_schema: what clients of Postgres ask to learn what there is. Everything is made anew from [`Facts`], on
//! demand, as plain rows of Arrow; nothing is stored but the objects themselves.
//!
//! ```text
//! relations.tsv ──> relations ──┐                      every relation of PostgreSQL 15 with its columns, rows or not
//! statics.tsv ────> statics ────┤                      rows that never change: types, functions, operators, …
//!                               ├──> find(), rows()
//! Facts ──> classes, attributes,│                      one file per theme; each gives whole relations
//!           indexes, roles, …  ─┤
//!                               └──> names, lookup     OID to text and back, as regclass and its like do
//! ```
//!
//! OIDs are the objects' numbers, or derived from them: [`oids`]. Rows are in OID order. The two `.tsv` files are written by `export.sh`.

mod attributes;
mod classes;
mod comments;
mod constraints;
mod dependencies;
mod facts;
mod foreign;
mod functions;
mod indexes;
mod information_schema;
mod lookup;
mod names;
mod namespaces;
pub mod oids;
pub mod privileges;
mod quoting;
mod relations;
mod roles;
mod row_types;
mod sessions;
mod sheet;
mod statics;
mod statistics;
mod type_names;
mod types;
mod views;
mod zones;

#[cfg(test)]
mod tests;

pub use comments::description;
pub use constraints::definition as constraint_definition;
pub use facts::{Asked, CursorFact, Facts, Listing, PreparedFact, SchemaFact, SessionFact, Setting};
pub use functions::{arguments as function_arguments, result as function_result};
pub use indexes::definition as index_definition;
pub use lookup::oid_of;
pub use names::{Reg, format_type, is_visible, name_of, user_name};
pub use namespaces::oid_of as namespace_oid;
pub use quoting::{quoted, split as split_name, split_list};
pub use statics::{Keyword, keywords};
pub use views::{definition as view_definition, rule_definition};

use crate::error::{Error, Kind, Result};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use relations::Relation;

/// A relation that was found.
#[derive(Clone, Debug)]
pub enum Found {
    /// [`rows`] gives its rows, with this schema.
    Rows(SchemaRef),
    /// A query over pg_catalog.
    View { query: &'static str, columns: Vec<String> },
}

/// The relation of that name; `None`: there is none. `schema`: `pg_catalog` or `information_schema`.
pub fn find(schema: &str, name: &str) -> Option<Found> {
    let relation = relation(schema, name)?;
    Some(match query_of(relation) {
        Some(query) => Found::View { query, columns: relation.columns.iter().map(|c| c.name.to_owned()).collect() },
        None => Found::Rows(relation.schema.clone()),
    })
}

/// The rows of a relation that [`find`] gives as rows. Errors: there is none (42P01); for a view, ours.
pub fn rows(schema: &str, name: &str, facts: &Facts) -> Result<RecordBatch> {
    let undefined = || Error::new(Kind::UndefinedTable, format!("relation \"{schema}.{name}\" does not exist"));
    let relation = relation(schema, name).ok_or_else(undefined)?;
    if query_of(relation).is_some() {
        return Err(Error::internal(format!("{schema}.{name} is a query, it has no rows of its own")));
    }
    let maker = match relation.namespace {
        oids::PG_CATALOG => MAKERS.iter().find(|(n, _)| *n == name).map(|(_, maker)| *maker),
        _ => information_schema::maker(name),
    };
    match maker {
        Some(maker) => maker(relation, facts),
        None => statics::rows(relation),
    }
}

/// Every relation of both schemas: schema, name.
pub fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    relations::all().iter().map(|r| (if r.namespace == oids::PG_CATALOG { namespaces::PG_CATALOG } else { namespaces::INFORMATION_SCHEMA }, r.name))
}

fn relation(schema: &str, name: &str) -> Option<&'static Relation> {
    let namespace = match schema {
        namespaces::PG_CATALOG => oids::PG_CATALOG,
        namespaces::INFORMATION_SCHEMA => oids::INFORMATION_SCHEMA,
        _ => return None,
    };
    relations::find(namespace, name)
}

fn query_of(relation: &Relation) -> Option<&'static str> {
    views::query(relation.name).filter(|_| relation.namespace == oids::PG_CATALOG)
}

/// Makes the rows of one relation.
type Maker = fn(&'static Relation, &Facts) -> Result<RecordBatch>;

/// The relations of pg_catalog that depend on the facts. All others have exported rows, or none.
const MAKERS: [(&str, Maker); 35] = [
    ("pg_attrdef", attributes::default_rows),
    ("pg_attribute", attributes::rows),
    ("pg_auth_members", roles::member_rows),
    ("pg_authid", roles::authid_rows),
    ("pg_class", classes::rows),
    ("pg_constraint", constraints::rows),
    ("pg_cursors", sessions::cursor_rows),
    ("pg_database", namespaces::database_rows),
    ("pg_depend", dependencies::rows),
    ("pg_description", comments::rows),
    ("pg_foreign_data_wrapper", foreign::wrapper_rows),
    ("pg_foreign_server", foreign::server_rows),
    ("pg_foreign_table", foreign::table_rows),
    ("pg_group", roles::group_rows),
    ("pg_index", indexes::rows),
    ("pg_namespace", namespaces::rows),
    ("pg_prepared_statements", sessions::prepared_rows),
    ("pg_rewrite", dependencies::rule_rows),
    ("pg_roles", roles::role_rows),
    ("pg_settings", sessions::setting_rows),
    ("pg_shadow", roles::user_rows),
    ("pg_stat_activity", sessions::activity_rows),
    ("pg_stat_all_indexes", statistics::index_rows),
    ("pg_stat_all_tables", statistics::table_rows),
    ("pg_stat_ssl", sessions::ssl_rows),
    ("pg_stat_database", statistics::database_rows),
    ("pg_stat_user_indexes", statistics::index_rows),
    ("pg_stat_user_tables", statistics::table_rows),
    ("pg_statio_all_indexes", statistics::index_rows),
    ("pg_statio_all_tables", statistics::table_rows),
    ("pg_statio_user_indexes", statistics::index_rows),
    ("pg_statio_user_tables", statistics::table_rows),
    ("pg_timezone_names", zones::rows),
    ("pg_type", row_types::rows),
    ("pg_user", roles::user_rows),
];
