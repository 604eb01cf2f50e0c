//! pg_type: the exported types, and two for each relation that has rows to speak of: the type of a row, named as the relation, and arrays of it.

use super::classes::{self, Class};
use super::facts::Facts;
use super::functions;
use super::oids;
use super::relations::Relation;
use super::sheet::{Sheet, joined};
use super::statics;
use crate::error::Result;
use arrow::array::RecordBatch;

/// One of the two.
struct RowType {
    oid: u32,
    name: String,
    namespace: u32,
    /// The relation whose row it is; 0: an array.
    relation: u32,
    /// What it is an array of; 0: no array.
    element: u32,
    /// The array of it; 0: it is one.
    array: u32,
}

/// `_t` for the rows of `t`; a relation that is called `_t` has that name for its own rows.
pub fn array_name(facts: &Facts, class: &Class<'_>) -> String {
    let name = format!("_{}", class.name);
    match classes::find(facts, class.namespace, &name) {
        Some(other) if other.row_type != 0 => format!("{name}_{}", class.oid),
        _ => name,
    }
}

fn all(facts: &Facts) -> Vec<RowType> {
    let with_rows = classes::all(facts).into_iter().filter(|class| class.row_type != 0);
    with_rows
        .flat_map(|class| {
            let named = |oid, name| RowType { oid, name, namespace: class.namespace, relation: 0, element: 0, array: 0 };
            let row = RowType { relation: class.oid, array: class.row_array, ..named(class.row_type, class.name.to_string()) };
            [row, RowType { element: class.row_type, ..named(class.row_array, array_name(facts, &class)) }]
        })
        .collect()
}

pub fn rows(relation: &'static Relation, facts: &Facts) -> Result<RecordBatch> {
    let all = all(facts);
    let function = |verb: &'static str| {
        let (row, array) = (functions::only(&format!("record_{verb}")), functions::only(&format!("array_{verb}")));
        all.iter().map(move |t| if t.element == 0 { row } else { array }).collect::<Vec<u32>>()
    };
    let subscript = functions::only("array_subscript_handler");
    let of_relations = Sheet::new(relation, all.len())
        .column("oid", all.iter().map(|t| t.oid))
        .column("typname", all.iter().map(|t| &t.name))
        .column("typnamespace", all.iter().map(|t| t.namespace))
        .all("typowner", oids::OWNER)
        .all("typlen", -1)
        .column("typtype", all.iter().map(|t| if t.element == 0 { 'c' } else { 'b' }))
        .column("typcategory", all.iter().map(|t| if t.element == 0 { 'C' } else { 'A' }))
        .all("typisdefined", true)
        .all("typdelim", ',')
        .column("typrelid", all.iter().map(|t| t.relation))
        .column("typsubscript", all.iter().map(|t| if t.element == 0 { 0 } else { subscript }))
        .column("typelem", all.iter().map(|t| t.element))
        .column("typarray", all.iter().map(|t| t.array))
        .column("typinput", function("in"))
        .column("typoutput", function("out"))
        .column("typreceive", function("recv"))
        .column("typsend", function("send"))
        .all("typalign", 'd')
        .all("typstorage", 'x')
        .all("typtypmod", -1)
        .finish()?;
    joined(&statics::rows(relation)?, &of_relations)
}
