//! pg_index, and the statements that would make its indexes. The primary key of a table is an index too, unique and always valid.

use super::classes::{self, Class, Of};
use super::facts::Facts;
use super::names::{self, Path};
use super::oids;
use super::quoting::{qualified, quoted};
use super::relations::Relation;
use super::sheet::Sheet;
use super::statics::records;
use super::types;
use crate::catalog::object::{IndexColumn, Object};
use crate::error::Result;
use arrow::array::RecordBatch;

/// One index.
pub struct IndexFacts<'a> {
    pub oid: u32,
    pub name: String,
    /// The table or materialized view whose rows it orders.
    pub on: &'a Object,
    pub key: Vec<IndexColumn>,
    /// Columns kept beside the key, as far as the statement names them.
    pub include: Vec<usize>,
    pub is_primary: bool,
    pub is_building: bool,
}

/// Bits of `indoption`.
const DESCENDING: i16 = 1;
const NULLS_FIRST: i16 = 2;

/// The index that a row of pg_class is; `None`: it is none, or what it is on is gone.
pub fn of<'a>(facts: &'a Facts, class: &Class<'a>) -> Option<IndexFacts<'a>> {
    let (on, key, include, is_primary) = match class.of {
        Of::Key(table) => {
            let key = table.primary_key().iter().map(|column| IndexColumn { column: *column, descending: false, nulls_first: false });
            (table, key.collect(), Vec::new(), true)
        }
        Of::Object(object) => {
            let index = object.index()?;
            (facts.catalog.get(index.on)?.as_ref(), index.key.clone(), index.include.clone().unwrap_or_default(), false)
        }
        _ => return None,
    };
    let is_building = class.object().is_some_and(Object::is_building);
    Some(IndexFacts { oid: class.oid, name: class.name.to_string(), on, key, include, is_primary, is_building })
}

/// All of them, by OID.
pub fn all(facts: &Facts) -> Vec<IndexFacts<'_>> {
    classes::of_users(facts).iter().filter_map(|class| of(facts, class)).collect()
}

impl IndexFacts<'_> {
    /// Ordinals of all columns that are told of, key first.
    pub fn columns(&self) -> impl Iterator<Item = usize> {
        self.key.iter().map(|k| k.column).chain(self.include.iter().copied())
    }

    fn numbers(&self) -> Vec<i16> {
        self.columns().map(number).collect()
    }

    fn type_of(&self, column: usize) -> u32 {
        self.on.columns().get(column).map_or(0, |c| types::of_field(&c.field, &c.sql_type).0)
    }

    fn collations(&self) -> Vec<u32> {
        self.key.iter().map(|k| types::by_oid(self.type_of(k.column)).map_or(0, |t| t.collation)).collect()
    }

    fn classes(&self) -> Vec<u32> {
        self.key.iter().map(|k| operator_class(self.type_of(k.column))).collect()
    }

    fn options(&self) -> Vec<i16> {
        let bit = |on: bool, bit: i16| if on { bit } else { 0 };
        self.key.iter().map(|k| bit(k.descending, DESCENDING) | bit(k.nulls_first, NULLS_FIRST)).collect()
    }
}

/// A column's number, from 1.
pub fn number(ordinal: usize) -> i16 {
    i16::try_from(ordinal + 1).unwrap_or(i16::MAX)
}

/// The btree operator class that orders a type; 0: none.
fn operator_class(type_oid: u32) -> u32 {
    let ordered = match type_oid {
        oids::VARCHAR => oids::TEXT,
        oid if types::by_oid(oid).is_some_and(types::Type::is_array) => oids::ANYARRAY,
        oid => oid,
    };
    records("pg_opclass").find(|c| c.number::<u32>("opcintype") == ordered).map_or(0, |c| c.number("oid"))
}

pub fn rows(relation: &'static Relation, facts: &Facts) -> Result<RecordBatch> {
    let all = all(facts);
    Sheet::new(relation, all.len())
        .column("indexrelid", all.iter().map(|i| i.oid))
        .column("indrelid", all.iter().map(|i| i.on.id.0))
        .column("indnatts", all.iter().map(|i| number(i.columns().count()) - 1))
        .column("indnkeyatts", all.iter().map(|i| number(i.key.len()) - 1))
        .column("indisunique", all.iter().map(|i| i.is_primary))
        .column("indisprimary", all.iter().map(|i| i.is_primary))
        .all("indimmediate", true)
        .column("indisvalid", all.iter().map(|i| !i.is_building))
        .column("indisready", all.iter().map(|i| !i.is_building))
        .all("indislive", true)
        .column("indkey", all.iter().map(IndexFacts::numbers))
        .column("indcollation", all.iter().map(IndexFacts::collations))
        .column("indclass", all.iter().map(IndexFacts::classes))
        .column("indoption", all.iter().map(IndexFacts::options))
        .finish()
}

/// pg_get_indexdef(): the whole statement for column 0, else the name of that column, empty if there is none. `pretty`: the relation's schema is
/// named only where it has to be. `None`: there is no such index.
pub fn definition(facts: &Facts, oid: u32, column: i32, pretty: bool) -> Option<String> {
    let class = classes::by_oid(facts, oid)?;
    let index = of(facts, &class)?;
    let name_of = |ordinal: usize| index.on.columns().get(ordinal).map(|c| quoted(&c.name)).unwrap_or_default();
    if column != 0 {
        let place = usize::try_from(column - 1).ok();
        return Some(place.and_then(|place| index.columns().nth(place)).map(name_of).unwrap_or_default().into_owned());
    }
    let key: Vec<String> = index.key.iter().map(|k| format!("{}{}", name_of(k.column), order(k))).collect();
    let unique = if index.is_primary { "UNIQUE " } else { "" };
    let on = if pretty { names::class_name(facts, index.on.id.0, &Path::usual())? } else { qualified(&index.on.schema, &index.on.name) };
    let statement = format!("CREATE {unique}INDEX {} ON {on} USING btree ({})", quoted(&index.name), key.join(", "));
    if index.include.is_empty() {
        return Some(statement);
    }
    let include: Vec<String> = index.include.iter().map(|ordinal| name_of(*ordinal).into_owned()).collect();
    Some(format!("{statement} INCLUDE ({})", include.join(", ")))
}

/// What Postgres says of an order that is not its default.
fn order(key: &IndexColumn) -> &'static str {
    match (key.descending, key.nulls_first) {
        (false, false) => "",
        (false, true) => " NULLS FIRST",
        (true, true) => " DESC",
        (true, false) => " DESC NULLS LAST",
    }
}
