//! Columns, and the items of those that are arrays.

use super::tables::relations;
use super::yes_or_no;
use crate::catalog::catalog::DATABASE;
use crate::catalog::pg::attributes::{self, Attribute};
use crate::catalog::pg::classes::Class;
use crate::catalog::pg::facts::Facts;
use crate::catalog::pg::relations::Relation;
use crate::catalog::pg::sheet::Sheet;
use crate::catalog::pg::statics::records;
use crate::catalog::pg::types::{self, Type};
use crate::catalog::pg::{names, namespaces, oids};
use crate::error::Result;
use arrow::array::RecordBatch;

/// Bytes that Postgres lets a text have.
const OCTETS_MAX: i32 = 1 << 30;
/// Bytes that a character of UTF8 may take.
const CHARACTER_OCTETS: i32 = 4;

/// One column of one relation.
pub(super) struct Column<'a> {
    pub class: Class<'a>,
    pub schema: &'a str,
    pub attribute: Attribute<'a>,
    /// The type as declared; `None`: rows of another relation.
    declared: Option<&'static Type>,
    /// The type under a domain, and the modifier that counts.
    base: u32,
    modifier: i32,
}

pub(super) fn all(facts: &Facts) -> Vec<Column<'_>> {
    let columns = relations(facts).into_iter().flat_map(|(class, schema)| {
        let attributes = attributes::of(facts, &class).into_iter();
        attributes.map(move |attribute| {
            let declared = types::by_oid(attribute.type_oid);
            let (base, base_modifier) = declared.map_or((attribute.type_oid, -1), |t| {
                let (base, modifier) = types::base_of(t);
                (base.oid, modifier)
            });
            let modifier = if attribute.modifier >= 0 { attribute.modifier } else { base_modifier };
            Column { class: class.clone(), schema, attribute, declared, base, modifier }
        })
    });
    columns.collect()
}

impl Column<'_> {
    fn is_domain(&self) -> bool {
        self.declared.is_some_and(|t| t.base != 0)
    }

    /// The standard has no word for vectors: Postgres calls them arrays here.
    fn data_type(&self, facts: &Facts) -> String {
        match types::by_oid(self.base) {
            Some(t) if t.element != 0 && t.length == -1 => "ARRAY".into(),
            Some(t) if t.namespace == oids::PG_CATALOG => names::format_type(facts, self.base, None),
            Some(_) => "USER-DEFINED".into(),
            None => "ARRAY".into(),
        }
    }

    fn type_schema(&self, facts: &Facts) -> String {
        let namespace = types::by_oid(self.base).map_or(oids::PG_CATALOG, |t| t.namespace);
        namespaces::name_of(facts, namespace).unwrap_or_default().to_owned()
    }

    fn type_name(&self) -> &'static str {
        types::by_oid(self.base).map_or("_record", |t| t.name)
    }

    fn length(&self) -> Option<i32> {
        (matches!(self.base, oids::VARCHAR | oids::BPCHAR) && self.modifier >= 4).then(|| self.modifier - 4)
    }

    fn octets(&self) -> Option<i32> {
        let is_text = matches!(self.base, oids::TEXT | oids::VARCHAR | oids::BPCHAR);
        is_text.then(|| self.length().map_or(OCTETS_MAX, |length| length.saturating_mul(CHARACTER_OCTETS)))
    }

    fn precision(&self) -> Option<i32> {
        match self.base {
            oids::INT2 => Some(16),
            oids::INT4 => Some(32),
            oids::INT8 => Some(64),
            oids::FLOAT4 => Some(24),
            oids::FLOAT8 => Some(53),
            oids::NUMERIC if self.modifier >= 0 => Some(types::numeric_digits(self.modifier).0),
            _ => None,
        }
    }

    fn radix(&self) -> Option<i32> {
        match self.base {
            oids::INT2 | oids::INT4 | oids::INT8 | oids::FLOAT4 | oids::FLOAT8 => Some(2),
            oids::NUMERIC => Some(10),
            _ => None,
        }
    }

    fn scale(&self) -> Option<i32> {
        match self.base {
            oids::INT2 | oids::INT4 | oids::INT8 => Some(0),
            oids::NUMERIC if self.modifier >= 0 => Some(types::numeric_digits(self.modifier).1),
            _ => None,
        }
    }

    fn time_precision(&self) -> Option<i32> {
        match self.base {
            oids::DATE => Some(0),
            oids::TIME | oids::TIMESTAMP | oids::TIMESTAMPTZ => Some(if self.modifier < 0 { 6 } else { self.modifier }),
            oids::INTERVAL => Some(if self.modifier < 0 || self.modifier & 0xffff == 0xffff { 6 } else { self.modifier & 0xffff }),
            _ => None,
        }
    }

    /// The default collation is not worth a word.
    fn collation(&self) -> Option<&'static str> {
        let collation = self.attribute.collation;
        let named = records("pg_collation").find(|r| collation != oids::DEFAULT_COLLATION && r.number::<u32>("oid") == collation);
        named.map(|r| r.text("collname"))
    }
}

pub fn rows(relation: &'static Relation, facts: &Facts) -> Result<RecordBatch> {
    let all = all(facts);
    let in_catalog = |is: bool| is.then_some(DATABASE);
    let collated: Vec<Option<&str>> = all.iter().map(Column::collation).collect();
    let sheet = Sheet::new(relation, all.len())
        .all("table_catalog", DATABASE)
        .column("table_schema", all.iter().map(|c| c.schema))
        .column("table_name", all.iter().map(|c| c.class.name.as_ref()))
        .column("column_name", all.iter().map(|c| c.attribute.name.as_ref()))
        .column("ordinal_position", all.iter().map(|c| c.attribute.number))
        .column("column_default", all.iter().map(|c| c.attribute.default.as_deref().filter(|_| !c.attribute.is_generated)))
        .column("is_nullable", all.iter().map(|c| yes_or_no(!c.attribute.not_null)))
        .column("data_type", all.iter().map(|c| c.data_type(facts)))
        .column("character_maximum_length", all.iter().map(Column::length))
        .column("character_octet_length", all.iter().map(Column::octets))
        .column("numeric_precision", all.iter().map(Column::precision))
        .column("numeric_precision_radix", all.iter().map(Column::radix))
        .column("numeric_scale", all.iter().map(Column::scale))
        .column("datetime_precision", all.iter().map(Column::time_precision))
        .column("collation_catalog", collated.iter().map(|c| in_catalog(c.is_some())))
        .column("collation_schema", collated.iter().map(|c| c.map(|_| namespaces::PG_CATALOG)))
        .column("collation_name", collated.iter().copied())
        .column("domain_catalog", all.iter().map(|c| in_catalog(c.is_domain())))
        .column("domain_schema", all.iter().map(|c| c.is_domain().then_some(namespaces::INFORMATION_SCHEMA)))
        .column("domain_name", all.iter().map(|c| c.declared.filter(|_| c.is_domain()).map(|t| t.name)));
    sheet
        .all("udt_catalog", DATABASE)
        .column("udt_schema", all.iter().map(|c| c.type_schema(facts)))
        .column("udt_name", all.iter().map(Column::type_name))
        .column("dtd_identifier", all.iter().map(|c| c.attribute.number.to_string()))
        .all("is_self_referencing", "NO")
        .all("is_identity", "NO")
        .all("identity_cycle", "NO")
        .column("is_generated", all.iter().map(|c| if c.attribute.is_generated { "ALWAYS" } else { "NEVER" }))
        .column("generation_expression", all.iter().map(|c| c.attribute.default.as_deref().filter(|_| c.attribute.is_generated)))
        .column("is_updatable", all.iter().map(|c| yes_or_no(c.class.kind == 'r')))
        .finish()
}

/// The types of the items of arrays.
pub fn elements(relation: &'static Relation, facts: &Facts) -> Result<RecordBatch> {
    let element = |c: Column<'_>| types::by_oid(c.base).filter(|t| t.is_array()).and_then(|t| types::by_oid(t.element));
    let arrays: Vec<_> = all(facts)
        .into_iter()
        .filter_map(|c| {
            let place = (c.schema, c.class.name.clone(), c.attribute.number);
            element(c).map(|t| (place, t))
        })
        .collect();
    Sheet::new(relation, arrays.len())
        .all("object_catalog", DATABASE)
        .column("object_schema", arrays.iter().map(|a| a.0.0))
        .column("object_name", arrays.iter().map(|a| a.0.1.as_ref()))
        .all("object_type", "TABLE")
        .column("collection_type_identifier", arrays.iter().map(|a| a.0.2.to_string()))
        .column("data_type", arrays.iter().map(|a| names::format_type(facts, a.1.oid, None)))
        .all("udt_catalog", DATABASE)
        .column("udt_schema", arrays.iter().map(|a| namespaces::name_of(facts, a.1.namespace)))
        .column("udt_name", arrays.iter().map(|a| a.1.name))
        .column("dtd_identifier", arrays.iter().map(|a| format!("a{}", a.0.2)))
        .finish()
}

pub fn type_usage(relation: &'static Relation, facts: &Facts) -> Result<RecordBatch> {
    let all = all(facts);
    Sheet::new(relation, all.len())
        .all("udt_catalog", DATABASE)
        .column("udt_schema", all.iter().map(|c| c.type_schema(facts)))
        .column("udt_name", all.iter().map(Column::type_name))
        .all("table_catalog", DATABASE)
        .column("table_schema", all.iter().map(|c| c.schema))
        .column("table_name", all.iter().map(|c| c.class.name.as_ref()))
        .column("column_name", all.iter().map(|c| c.attribute.name.as_ref()))
        .finish()
}
