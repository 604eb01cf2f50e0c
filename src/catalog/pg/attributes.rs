//! pg_attribute and pg_attrdef: the columns of everything in pg_class. Rows here have no system columns (`ctid`, `xmin`), so there are none with
//! numbers below 1.

use super::classes::{self, Class, Of};
use super::facts::Facts;
use super::indexes;
use super::oids;
use super::relations::Relation;
use super::sheet::Sheet;
use super::types::{self, Type};
use crate::catalog::object::{Body, Column};
use crate::error::Result;
use arrow::array::RecordBatch;
use std::borrow::Cow;

/// One column.
#[derive(Clone)]
pub struct Attribute<'a> {
    /// From 1.
    pub number: i16,
    pub name: Cow<'a, str>,
    pub type_oid: u32,
    pub modifier: i32,
    /// Of an array; 0: it is none.
    pub dimensions: i32,
    pub not_null: bool,
    /// DEFAULT, or the expression of a generated column: SQL.
    pub default: Option<Cow<'a, str>>,
    pub is_generated: bool,
    pub collation: u32,
}

/// The columns of one relation, in order.
pub fn of<'a>(facts: &'a Facts, class: &Class<'a>) -> Vec<Attribute<'a>> {
    match class.of {
        Of::Catalog(relation) => numbered(relation.columns.iter().map(|c| of_catalog(relation, c.name, c.type_oid, c.not_null))),
        Of::Listing(listing) => numbered(listing.schema.fields().iter().map(|field| {
            let (type_oid, modifier) = types::of_field(field, "");
            plain(field.name(), type_oid, modifier, types::dimensions(field))
        })),
        Of::Object(object) => match indexes::of(facts, class) {
            Some(index) => of_index(&index),
            None => {
                let (is_declared, key) = (matches!(object.body, Body::Table(_) | Body::Source(_)), object.primary_key());
                numbered(object.columns().iter().enumerate().map(|(place, column)| of_user(column, is_declared, key.contains(&place))))
            }
        },
        Of::Key(_) => indexes::of(facts, class).map(|index| of_index(&index)).unwrap_or_default(),
    }
}

fn numbered<'a>(attributes: impl Iterator<Item = Attribute<'a>>) -> Vec<Attribute<'a>> {
    (1..).zip(attributes).map(|(number, attribute)| Attribute { number, ..attribute }).collect()
}

fn plain(name: &str, type_oid: u32, modifier: i32, dimensions: i32) -> Attribute<'_> {
    let collation = types::by_oid(type_oid).map_or(0, |t| t.collation);
    Attribute { number: 0, name: Cow::Borrowed(name), type_oid, modifier, dimensions, not_null: false, default: None, is_generated: false, collation }
}

fn of_catalog(relation: &Relation, name: &'static str, type_oid: u32, not_null: bool) -> Attribute<'static> {
    let declared = types::by_oid(type_oid);
    let is_array = declared.is_none_or(Type::is_array);
    let attribute = plain(name, type_oid, -1, is_array.into());
    // Texts of the catalog's tables are compared by their bytes.
    let collation = if relation.kind == 'r' && attribute.collation != 0 { oids::C_COLLATION } else { attribute.collation };
    Attribute { not_null, collation, ..attribute }
}

/// Columns of a query are nullable as far as anybody is told: Postgres says so too.
fn of_user(column: &Column, is_declared: bool, in_key: bool) -> Attribute<'_> {
    let (type_oid, modifier) = types::of_field(&column.field, &column.sql_type);
    let default = column.generated.as_deref().map(Cow::Borrowed).or_else(|| column.default.as_deref().map(|text| with_type(text, &column.sql_type)));
    Attribute {
        not_null: is_declared && (column.not_null || in_key),
        default: default.filter(|_| is_declared),
        is_generated: is_declared && column.generated.is_some(),
        ..plain(&column.name, type_oid, modifier, types::dimensions(&column.field))
    }
}

/// A quoted constant as Postgres shows it, with the type that it was read as.
fn with_type<'a>(default: &'a str, sql_type: &str) -> Cow<'a, str> {
    let inside = default.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
    if inside.is_none_or(|text| text.replace("''", "").contains('\'')) {
        return Cow::Borrowed(default);
    }
    let plain =
        sql_type.split_once('(').map_or_else(|| sql_type.to_owned(), |(name, rest)| format!("{name}{}", rest.split_once(')').map_or("", |(_, end)| end)));
    Cow::Owned(format!("{default}::{plain}"))
}

/// What an index keeps: columns of the relation that it is on, key first.
fn of_index<'a>(index: &indexes::IndexFacts<'a>) -> Vec<Attribute<'a>> {
    let columns = index.on.columns();
    numbered(index.columns().filter_map(|place| columns.get(place)).map(|column| Attribute { default: None, ..of_user(column, false, false) }))
}

/// Every column of every relation, with the relation's OID.
fn all(facts: &Facts) -> Vec<(Class<'_>, Attribute<'_>)> {
    classes::all(facts).into_iter().flat_map(|class| of(facts, &class).into_iter().map(move |a| (class.clone(), a))).collect()
}

/// What pg_attribute repeats of pg_type.
struct Layout {
    length: i16,
    by_value: bool,
    align: char,
    storage: char,
}

/// Rows of a relation as a value, and arrays of them, are the only types that are not among the exported ones.
fn layout(type_oid: u32) -> Layout {
    match types::by_oid(type_oid) {
        Some(t) => Layout { length: t.length, by_value: t.by_value, align: t.align, storage: t.storage },
        None => Layout { length: -1, by_value: false, align: 'd', storage: 'x' },
    }
}

pub fn rows(relation: &'static Relation, facts: &Facts) -> Result<RecordBatch> {
    let all = all(facts);
    let layouts: Vec<Layout> = all.iter().map(|(_, a)| layout(a.type_oid)).collect();
    Sheet::new(relation, all.len())
        .column("attrelid", all.iter().map(|(c, _)| c.oid))
        .column("attname", all.iter().map(|(_, a)| a.name.as_ref()))
        .column("atttypid", all.iter().map(|(_, a)| a.type_oid))
        .all("attstattarget", -1)
        .column("attlen", layouts.iter().map(|l| l.length))
        .column("attnum", all.iter().map(|(_, a)| a.number))
        .column("attndims", all.iter().map(|(_, a)| a.dimensions))
        .all("attcacheoff", -1)
        .column("atttypmod", all.iter().map(|(_, a)| a.modifier))
        .column("attbyval", layouts.iter().map(|l| l.by_value))
        .column("attalign", layouts.iter().map(|l| l.align))
        .column("attstorage", layouts.iter().map(|l| l.storage))
        .column("attnotnull", all.iter().map(|(_, a)| a.not_null))
        .column("atthasdef", all.iter().map(|(_, a)| a.default.is_some()))
        .column("attgenerated", all.iter().map(|(_, a)| if a.is_generated { "s" } else { "" }))
        .all("attislocal", true)
        .column("attcollation", all.iter().map(|(_, a)| a.collation))
        .finish()
}

/// One row of pg_attrdef.
pub struct ColumnDefault<'a> {
    pub oid: u32,
    /// OID of the relation, number of the column.
    pub class: u32,
    pub number: i16,
    pub expression: Cow<'a, str>,
}

/// Defaults and generated columns.
pub fn defaults(facts: &Facts) -> Vec<ColumnDefault<'_>> {
    let objects = classes::of_users(facts).into_iter().filter_map(|class| Some((class.object()?.id, class)));
    let defaults = objects.flat_map(|(id, class)| {
        let columns = of(facts, &class).into_iter();
        columns.filter_map(move |a| Some(ColumnDefault { oid: oids::default_of(id, a.number), class: class.oid, number: a.number, expression: a.default? }))
    });
    defaults.collect()
}

/// `adbin` is the expression's SQL.
pub fn default_rows(relation: &'static Relation, facts: &Facts) -> Result<RecordBatch> {
    let defaults = defaults(facts);
    Sheet::new(relation, defaults.len())
        .column("oid", defaults.iter().map(|d| d.oid))
        .column("adrelid", defaults.iter().map(|d| d.class))
        .column("adnum", defaults.iter().map(|d| d.number))
        .column("adbin", defaults.iter().map(|d| d.expression.as_ref()))
        .finish()
}
