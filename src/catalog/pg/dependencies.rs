//! pg_rewrite and pg_depend: which relation reads which, by way of the rule that Postgres has for the query of each view, and what goes with what.

use super::classes::{self, Class};
use super::facts::Facts;
use super::oids::{self, Part};
use super::relations::Relation;
use super::sheet::Sheet;
use super::{attributes, constraints, foreign, indexes};
use crate::catalog::object::{Body, Object};
use crate::error::Result;
use arrow::array::RecordBatch;

/// One thing that hangs on another: relation that lists its kind, OID, column or 0.
type Address = (u32, u32, i16);

/// `n`: the dependent is dropped by CASCADE only. `a`: it goes with the other. `i`: it is part of the other.
type Dependency = (Address, Address, char);

/// The views and materialized views, with the OID of their rule, by that OID.
fn rules(facts: &Facts) -> Vec<(u32, &Object)> {
    let objects = classes::of_users(facts).into_iter().filter_map(|class| class.object());
    objects.filter(|o| matches!(o.body, Body::View(_) | Body::MaterializedView(_))).map(|o| (oids::of_part(o.id, Part::Rule), o)).collect()
}

pub fn rule_rows(relation: &'static Relation, facts: &Facts) -> Result<RecordBatch> {
    let rules = rules(facts);
    Sheet::new(relation, rules.len())
        .column("oid", rules.iter().map(|r| r.0))
        .all("rulename", "_RETURN")
        .column("ev_class", rules.iter().map(|r| r.1.id.0))
        .all("ev_type", '1')
        .all("ev_enabled", 'O')
        .all("is_instead", true)
        .finish()
}

pub fn rows(relation: &'static Relation, facts: &Facts) -> Result<RecordBatch> {
    let mut all: Vec<Dependency> = Vec::new();
    for class in classes::of_users(facts) {
        of_class(facts, &class, &mut all);
    }
    for default in attributes::defaults(facts) {
        all.push(((oids::PG_ATTRDEF, default.oid, 0), (oids::PG_CLASS, default.class, default.number), 'a'));
    }
    for constraint in constraints::all(facts) {
        let columns = constraint.columns().into_iter();
        all.extend(columns.map(|number| ((oids::PG_CONSTRAINT, constraint.oid, 0), (oids::PG_CLASS, constraint.table.id.0, number), 'a')));
    }
    for (rule, object) in rules(facts) {
        all.push(((oids::PG_REWRITE, rule, 0), (oids::PG_CLASS, object.id.0, 0), 'i'));
        let read = object.depends_on.iter().filter(|id| classes::by_oid(facts, id.0).is_some());
        all.extend(read.map(|id| ((oids::PG_REWRITE, rule, 0), (oids::PG_CLASS, id.0, 0), 'n')));
    }
    all.sort_unstable();
    sheet(relation, &all)
}

/// What a row of pg_class hangs on, and what hangs on it alone.
fn of_class(facts: &Facts, class: &Class<'_>, all: &mut Vec<Dependency>) {
    let itself = (oids::PG_CLASS, class.oid, 0);
    if let Some(index) = indexes::of(facts, class) {
        if index.is_primary {
            all.push((itself, (oids::PG_CONSTRAINT, oids::of_part(index.on.id, Part::KeyConstraint), 0), 'i'));
        } else {
            all.extend(index.columns().map(|column| (itself, (oids::PG_CLASS, index.on.id.0, indexes::number(column)), 'a')));
        }
        return;
    }
    all.push((itself, (oids::PG_NAMESPACE, class.namespace, 0), 'n'));
    all.push(((oids::PG_TYPE, class.row_type, 0), itself, 'i'));
    all.push(((oids::PG_TYPE, class.row_array, 0), (oids::PG_TYPE, class.row_type, 0), 'i'));
    if let Some(server) = foreign::server_of(class) {
        all.push((itself, (oids::PG_FOREIGN_SERVER, server, 0), 'n'));
    }
}

fn sheet(relation: &'static Relation, all: &[Dependency]) -> Result<RecordBatch> {
    Sheet::new(relation, all.len())
        .column("classid", all.iter().map(|d| d.0.0))
        .column("objid", all.iter().map(|d| d.0.1))
        .column("objsubid", all.iter().map(|d| i32::from(d.0.2)))
        .column("refclassid", all.iter().map(|d| d.1.0))
        .column("refobjid", all.iter().map(|d| d.1.1))
        .column("refobjsubid", all.iter().map(|d| i32::from(d.1.2)))
        .column("deptype", all.iter().map(|d| d.2))
        .finish()
}
