//! pg_constraint: the primary keys, the only constraints that have a name. NOT NULL is the column's own.

use super::classes;
use super::facts::Facts;
use super::indexes::number;
use super::namespaces;
use super::oids::{self, Part};
use super::quoting::quoted;
use super::relations::Relation;
use super::sheet::Sheet;
use crate::catalog::object::Object;
use crate::error::Result;
use arrow::array::RecordBatch;

/// One primary key.
pub struct Constraint<'a> {
    pub oid: u32,
    pub name: String,
    pub namespace: u32,
    pub table: &'a Object,
}

impl Constraint<'_> {
    /// Numbers of the key's columns, in the key's order.
    pub fn columns(&self) -> Vec<i16> {
        self.table.primary_key().iter().map(|ordinal| number(*ordinal)).collect()
    }
}

fn of<'a>(facts: &'a Facts, table: &'a Object) -> Option<Constraint<'a>> {
    let namespace = namespaces::oid_of(facts, &table.schema).filter(|_| !table.primary_key().is_empty())?;
    Some(Constraint { oid: oids::of_part(table.id, Part::KeyConstraint), name: classes::key_name(&facts.catalog, table), namespace, table })
}

/// All of them, by OID.
pub fn all(facts: &Facts) -> Vec<Constraint<'_>> {
    facts.catalog.objects().filter_map(|table| of(facts, table)).collect()
}

pub fn rows(relation: &'static Relation, facts: &Facts) -> Result<RecordBatch> {
    let all = all(facts);
    Sheet::new(relation, all.len())
        .column("oid", all.iter().map(|c| c.oid))
        .column("conname", all.iter().map(|c| &c.name))
        .column("connamespace", all.iter().map(|c| c.namespace))
        .all("contype", 'p')
        .all("convalidated", true)
        .column("conrelid", all.iter().map(|c| c.table.id.0))
        .column("conindid", all.iter().map(|c| oids::of_part(c.table.id, Part::KeyIndex)))
        .all("confupdtype", ' ')
        .all("confdeltype", ' ')
        .all("confmatchtype", ' ')
        .all("conislocal", true)
        .all("connoinherit", true)
        .column("conkey", all.iter().map(Constraint::columns))
        .finish()
}

/// pg_get_constraintdef(): `PRIMARY KEY (a, b)`. `None`: there is no such constraint.
pub fn definition(facts: &Facts, oid: u32) -> Option<String> {
    let table = facts.catalog.get(oids::object_of(oid, Part::KeyConstraint)?)?;
    let constraint = of(facts, table)?;
    let columns = constraint.table.primary_key().iter().filter_map(|ordinal| table.columns().get(*ordinal));
    Some(format!("PRIMARY KEY ({})", columns.map(|c| quoted(&c.name)).collect::<Vec<_>>().join(", ")))
}
