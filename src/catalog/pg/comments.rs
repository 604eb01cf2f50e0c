//! pg_description: what `COMMENT ON` said of objects and their columns, and what is said of the things that are always there.

use super::facts::Facts;
use super::oids;
use super::relations::Relation;
use super::sheet::Sheet;
use super::{classes, relations, statics};
use crate::error::Result;
use arrow::array::RecordBatch;

/// OID, relation that lists its kind, text.
const BUILT_IN: [(u32, u32, &str); 6] = [
    (oids::HEAP, oids::PG_AM, "rows of tables and materialized views"),
    (oids::BTREE, oids::PG_AM, "ordered index"),
    (oids::PG_CATALOG, oids::PG_NAMESPACE, "system catalog schema"),
    (oids::PUBLIC, oids::PG_NAMESPACE, "standard public schema"),
    (oids::SYSTEM, oids::PG_NAMESPACE, "what the system knows of its sources, views and sinks"),
    (oids::WRAPPER, oids::PG_FOREIGN_DATA_WRAPPER, "connectors of sources"),
];

/// One row.
struct Comment<'a> {
    oid: u32,
    /// OID of the relation that lists its kind.
    class: u32,
    /// 0: the object itself, n: its column with that number.
    column: i32,
    text: &'a str,
}

fn all(facts: &Facts) -> Vec<Comment<'_>> {
    let built_in = BUILT_IN.iter().map(|(oid, class, text)| Comment { oid: *oid, class: *class, column: 0, text });
    let objects = classes::of_users(facts).into_iter().filter_map(|class| class.object());
    let of_objects = objects.flat_map(|o| o.comments.iter().map(|(column, text)| Comment { oid: o.id.0, class: oids::PG_CLASS, column: *column, text }));
    let of_types = statics::records("pg_description").map(|r| Comment {
        oid: r.number("objoid"),
        class: r.number("classoid"),
        column: r.number("objsubid"),
        text: r.text("description"),
    });
    built_in.chain(of_types).chain(of_objects).collect()
}

pub fn rows(relation: &'static Relation, facts: &Facts) -> Result<RecordBatch> {
    let all = all(facts);
    Sheet::new(relation, all.len())
        .column("objoid", all.iter().map(|c| c.oid))
        .column("classoid", all.iter().map(|c| c.class))
        .column("objsubid", all.iter().map(|c| c.column))
        .column("description", all.iter().map(|c| c.text))
        .finish()
}

/// obj_description() and, for a `column` from 1, col_description(). `class`: the relation that lists the kind, `pg_class`, `pg_namespace`, ….
pub fn description(facts: &Facts, oid: u32, class: &str, column: i32) -> Option<String> {
    let class = relations::find(oids::PG_CATALOG, class)?.oid;
    all(facts).iter().find(|c| (c.oid, c.class, c.column) == (oid, class, column)).map(|c| c.text.to_owned())
}
