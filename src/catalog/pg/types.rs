//! Types: those of pg_type that never change, which of them a field of ours has, and the field of a catalog's column.
//!
//! The Arrow type says most of it. Where Postgres has several types for one of Arrow's, the field's metadata names the one that is
//! meant; where it has one that we have no values of (`pg_node_tree`, `xid`, `inet`), a text stands for it.

use super::oids;
use super::statics::{Record, records};
use crate::types::text::{TYPE_KEY, TYPMOD_KEY, item_of, list_of};
use arrow::datatypes::{DataType, Field, FieldRef, IntervalUnit, TimeUnit};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

/// What pg_type says of a type.
pub struct Type {
    pub oid: u32,
    pub name: &'static str,
    /// OID of its schema.
    pub namespace: u32,
    /// Bytes of a value; -1: they vary, -2: to the first zero.
    pub length: i16,
    pub by_value: bool,
    pub align: char,
    pub storage: char,
    /// Of an array or vector: its items' type.
    pub element: u32,
    /// The type of its arrays.
    pub array: u32,
    /// Of a domain: what it is over, with which modifier.
    pub base: u32,
    pub base_modifier: i32,
    pub collation: u32,
}

static TYPES: LazyLock<Vec<Type>> = LazyLock::new(|| records("pg_type").map(|r| exported_type(&r)).collect());
static BY_NAME: LazyLock<HashMap<&'static str, usize>> = LazyLock::new(|| TYPES.iter().enumerate().map(|(place, t)| (t.name, place)).collect());

fn exported_type(record: &Record) -> Type {
    Type {
        oid: record.number("oid"),
        name: record.text("typname"),
        namespace: record.number("typnamespace"),
        length: record.number("typlen"),
        by_value: record.flag("typbyval"),
        align: record.letter("typalign"),
        storage: record.letter("typstorage"),
        element: record.number("typelem"),
        array: record.number("typarray"),
        base: record.number("typbasetype"),
        base_modifier: record.number("typtypmod"),
        collation: record.number("typcollation"),
    }
}

impl Type {
    /// An array as SQL has them: int2vector is none.
    pub fn is_array(&self) -> bool {
        self.element != 0 && self.length == -1 && self.storage != 'p'
    }
}

pub fn by_oid(oid: u32) -> Option<&'static Type> {
    TYPES.binary_search_by_key(&oid, |t| t.oid).ok().map(|place| &TYPES[place])
}

/// By the name in pg_type, whatever the schema: the exported names are distinct.
pub fn exported(name: &str) -> Option<&'static Type> {
    BY_NAME.get(name).map(|place| &TYPES[*place])
}

/// `namespace`: OID of the schema.
pub fn find(namespace: u32, name: &str) -> Option<&'static Type> {
    exported(name).filter(|t| t.namespace == namespace)
}

/// The type under a domain, with the domain's modifier.
pub fn base_of(t: &'static Type) -> (&'static Type, i32) {
    match by_oid(t.base) {
        Some(base) => (base, t.base_modifier),
        None => (t, -1),
    }
}

/// OID and modifier of a column's type. `written`: the type as the column names it, for what the field does not say.
pub fn of_field(field: &Field, written: &str) -> (u32, i32) {
    let item = innermost(field);
    let scalar = scalar(&item);
    let modifier = item.metadata().get(TYPMOD_KEY).and_then(|m| m.parse().ok());
    let modifier = modifier.unwrap_or_else(|| super::type_names::modifier(written));
    match by_oid(scalar) {
        Some(t) if dimensions(field) > 0 => (t.array, modifier),
        _ => (scalar, modifier),
    }
}

/// Dimensions of an array; 0: it is none.
pub fn dimensions(field: &Field) -> i32 {
    match item_of(field) {
        Some(item) => 1 + dimensions(&item),
        None => 0,
    }
}

fn innermost(field: &Field) -> FieldRef {
    match item_of(field) {
        Some(item) => innermost(&item),
        None => Arc::new(field.clone()),
    }
}

fn scalar(field: &Field) -> u32 {
    if let Some(named) = field.metadata().get(TYPE_KEY).and_then(|name| exported(name)) {
        return named.oid;
    }
    match field.data_type() {
        DataType::Boolean => oids::BOOL,
        DataType::Int8 | DataType::UInt8 | DataType::Int16 => oids::INT2,
        DataType::Int32 | DataType::UInt16 => oids::INT4,
        DataType::Int64 | DataType::UInt32 => oids::INT8,
        DataType::Float16 | DataType::Float32 => oids::FLOAT4,
        DataType::Float64 => oids::FLOAT8,
        DataType::UInt64 | DataType::Decimal32(..) | DataType::Decimal64(..) | DataType::Decimal128(..) | DataType::Decimal256(..) => oids::NUMERIC,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => oids::BYTEA,
        DataType::FixedSizeBinary(_) => oids::UUID,
        DataType::Date32 | DataType::Date64 => oids::DATE,
        DataType::Time32(_) | DataType::Time64(_) => oids::TIME,
        DataType::Timestamp(_, None) => oids::TIMESTAMP,
        DataType::Timestamp(_, Some(_)) => oids::TIMESTAMPTZ,
        DataType::Interval(_) | DataType::Duration(_) => oids::INTERVAL,
        DataType::Struct(_) => oids::RECORD,
        _ if field.metadata().contains_key(TYPMOD_KEY) => oids::VARCHAR,
        _ => oids::TEXT,
    }
}

/// The field of a catalog's column.
pub fn field(name: &str, type_oid: u32) -> Field {
    let Some(declared) = by_oid(type_oid) else { return list_of(name, Field::new("item", DataType::Utf8, true)) };
    let (base, modifier) = base_of(declared);
    if base.length == -1 && base.element != 0 {
        let field = list_of(name, field("item", base.element));
        return if base.is_array() { field } else { marked(field, TYPE_KEY, base.name) };
    }
    let plain = |data_type| Field::new(name, data_type, true);
    let field = match base.name {
        "bool" => plain(DataType::Boolean),
        "int2" => plain(DataType::Int16),
        "int4" => plain(DataType::Int32),
        "int8" => plain(DataType::Int64),
        "float4" => plain(DataType::Float32),
        "float8" => plain(DataType::Float64),
        "numeric" => plain(DataType::Decimal128(38, 9)),
        "bytea" => plain(DataType::Binary),
        "interval" => plain(DataType::Interval(IntervalUnit::MonthDayNano)),
        "timestamptz" => plain(DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
        "oid" | "regproc" | "regclass" | "regtype" => marked(plain(DataType::Int64), TYPE_KEY, base.name),
        "char" | "name" | "varchar" => marked(plain(DataType::Utf8), TYPE_KEY, base.name),
        _ => plain(DataType::Utf8),
    };
    if modifier >= 0 { marked(field, TYPMOD_KEY, &modifier.to_string()) } else { field }
}

fn marked(mut field: Field, key: &str, mark: &str) -> Field {
    field.metadata_mut().insert(key.to_owned(), mark.to_owned());
    field
}

/// What a modifier adds to a type's name, in parentheses; empty: nothing.
pub fn modifier_text(type_oid: u32, modifier: i32) -> String {
    match type_oid {
        _ if modifier < 0 => String::new(),
        oids::VARCHAR | oids::BPCHAR if modifier >= 4 => format!("({})", modifier - 4),
        oids::NUMERIC if modifier >= 4 => {
            let (precision, scale) = numeric_digits(modifier);
            format!("({precision},{scale})")
        }
        oids::TIME | oids::TIMESTAMP | oids::TIMESTAMPTZ => format!("({modifier})"),
        oids::INTERVAL if modifier & 0xffff != 0xffff => format!("({})", modifier & 0xffff),
        _ => String::new(),
    }
}

/// Precision and scale of a numeric's modifier.
pub fn numeric_digits(modifier: i32) -> (i32, i32) {
    let packed = modifier - 4;
    // The scale has eleven bits, the first of them its sign.
    ((packed >> 16) & 0xffff, ((packed & 0x7ff) ^ 1024) - 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_of_a_catalog_column_has_the_type_that_it_stands_for() {
        for name in ["bool", "char", "name", "int8", "int2", "int4", "regproc", "text", "oid", "float4", "timestamptz", "interval", "_text", "_oid", "_char"] {
            let t = exported(name).unwrap();
            assert_eq!(of_field(&field("c", t.oid), "").0, t.oid, "{name}");
        }
        let keys = field("indkey", exported("int2vector").unwrap().oid);
        assert_eq!(keys.metadata().get(TYPE_KEY).map(String::as_str), Some("int2vector"));
        assert_eq!(*keys.data_type(), DataType::List(Arc::new(Field::new("item", DataType::Int16, true))));
        let yes = field("is_nullable", exported("yes_or_no").unwrap().oid);
        assert_eq!((of_field(&yes, ""), yes.data_type()), ((oids::VARCHAR, 7), &DataType::Utf8));
    }
}
