//! pg_namespace and pg_database: the four schemas that there always are, those of users, and the one database.

use super::facts::Facts;
use super::names;
use super::oids;
use super::relations::Relation;
use super::sheet::Sheet;
use crate::catalog::catalog::{DATABASE, PUBLIC, SYSTEM};
use crate::error::Result;
use arrow::array::RecordBatch;

pub const PG_CATALOG: &str = "pg_catalog";
pub const INFORMATION_SCHEMA: &str = "information_schema";

const BUILT_IN: [(u32, &str); 4] =
    [(oids::PG_CATALOG, PG_CATALOG), (oids::PUBLIC, PUBLIC), (oids::INFORMATION_SCHEMA, INFORMATION_SCHEMA), (oids::SYSTEM, SYSTEM)];

/// UTF8, as pg_encoding_to_char() numbers it.
const UTF8: i32 = 6;

/// OID, name and owner of every schema, by OID.
pub fn all(facts: &Facts) -> Vec<(u32, &str, u32)> {
    let built_in = BUILT_IN.iter().map(|(oid, name)| (*oid, *name, oids::OWNER));
    let mut all: Vec<_> = built_in.chain(facts.schemas.iter().map(|s| (s.oid, s.name.as_str(), s.owner))).collect();
    all.sort_unstable();
    all
}

pub fn oid_of(facts: &Facts, name: &str) -> Option<u32> {
    let built_in = BUILT_IN.iter().find(|(_, n)| *n == name).map(|(oid, _)| *oid);
    built_in.or_else(|| facts.schemas.iter().find(|s| s.name == name).map(|s| s.oid))
}

pub fn name_of(facts: &Facts, oid: u32) -> Option<&str> {
    let built_in = BUILT_IN.iter().find(|(o, _)| *o == oid).map(|(_, name)| *name);
    built_in.or_else(|| facts.schemas.iter().find(|s| s.oid == oid).map(|s| s.name.as_str()))
}

pub fn rows(relation: &'static Relation, facts: &Facts) -> Result<RecordBatch> {
    let all = all(facts);
    Sheet::new(relation, all.len())
        .column("oid", all.iter().map(|n| n.0))
        .column("nspname", all.iter().map(|n| n.1))
        .column("nspowner", all.iter().map(|n| n.2))
        .column("nspacl", all.iter().map(|n| facts.catalog.schema_access(n.1).texts(&|role| names::role_name(facts, role))))
        .finish()
}

pub fn database_rows(relation: &'static Relation, _facts: &Facts) -> Result<RecordBatch> {
    Sheet::new(relation, 1)
        .all("oid", oids::DATABASE)
        .all("datname", DATABASE)
        .all("datdba", oids::OWNER)
        .all("encoding", UTF8)
        .all("datlocprovider", 'c')
        .all("datallowconn", true)
        .all("datconnlimit", -1)
        .all("dattablespace", oids::TABLESPACE)
        .all("datcollate", "C")
        .all("datctype", "C")
        .finish()
}
