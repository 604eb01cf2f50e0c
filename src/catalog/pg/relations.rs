//! Every table and view of pg_catalog and information_schema, with its columns: `relations.tsv`, which `export.sh` writes from a
//! real PostgreSQL 15. A relation that we have no rows for is here too, and empty.

use super::oids;
use super::types;
use arrow::datatypes::{Schema, SchemaRef};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

/// One relation.
pub struct Relation {
    pub oid: u32,
    /// OID of its schema.
    pub namespace: u32,
    pub name: &'static str,
    /// `r` or `v`.
    pub kind: char,
    pub row_type: u32,
    /// Arrays of its row type.
    pub row_array: u32,
    pub columns: Vec<CatalogColumn>,
    /// The columns in Arrow's terms.
    pub schema: SchemaRef,
}

pub struct CatalogColumn {
    pub name: &'static str,
    pub type_oid: u32,
    pub not_null: bool,
}

static RELATIONS: LazyLock<Vec<Relation>> = LazyLock::new(|| {
    let lines: Vec<Vec<&'static str>> = include_str!("relations.tsv").lines().map(|line| line.split('\t').collect()).collect();
    // A column may hold rows of another relation: its type is that relation's array type.
    let row_arrays: HashMap<String, u32> = lines.iter().filter_map(|l| Some((format!("_{}", l.get(2)?), l.get(5)?.parse().ok()?))).collect();
    lines.iter().filter_map(|line| relation(line, &row_arrays)).collect()
});

static BY_NAME: LazyLock<HashMap<(u32, &'static str), usize>> =
    LazyLock::new(|| RELATIONS.iter().enumerate().map(|(place, r)| ((r.namespace, r.name), place)).collect());

/// All of them, by OID.
pub fn all() -> &'static [Relation] {
    &RELATIONS
}

pub fn by_oid(oid: u32) -> Option<&'static Relation> {
    RELATIONS.binary_search_by_key(&oid, |r| r.oid).ok().map(|place| &RELATIONS[place])
}

/// `namespace`: OID of the schema.
pub fn find(namespace: u32, name: &str) -> Option<&'static Relation> {
    BY_NAME.get(&(namespace, name)).map(|place| &RELATIONS[*place])
}

fn relation(line: &[&'static str], row_arrays: &HashMap<String, u32>) -> Option<Relation> {
    let &[oid, schema, name, kind, row_type, row_array, columns] = line else { return None };
    let column = |text: &'static str| {
        let (name, type_name) = text.split_once(':')?;
        let not_null = type_name.ends_with('!');
        let type_name = type_name.trim_end_matches('!');
        let type_oid = types::exported(type_name).map(|t| t.oid).or_else(|| row_arrays.get(type_name).copied())?;
        Some(CatalogColumn { name, type_oid, not_null })
    };
    let columns: Vec<CatalogColumn> = columns.split(' ').filter_map(column).collect();
    let schema_oid = if schema == "pg_catalog" { oids::PG_CATALOG } else { oids::INFORMATION_SCHEMA };
    let fields: Vec<_> = columns.iter().map(|c| types::field(c.name, c.type_oid)).collect();
    Some(Relation {
        oid: oid.parse().ok()?,
        namespace: schema_oid,
        name,
        kind: kind.chars().next()?,
        row_type: row_type.parse().ok()?,
        row_array: row_array.parse().ok()?,
        columns,
        schema: Arc::new(Schema::new(fields)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_the_export_is_lost() {
        assert_eq!(RELATIONS.len(), include_str!("relations.tsv").lines().count());
        assert!(RELATIONS.is_sorted_by_key(|r| r.oid));
        let columns: usize = include_str!("relations.tsv").lines().map(|l| l.rsplit('\t').next().map_or(0, |c| c.split(' ').count())).sum();
        assert_eq!(RELATIONS.iter().map(|r| r.columns.len()).sum::<usize>(), columns);
        let class = find(oids::PG_CATALOG, "pg_class").unwrap();
        assert_eq!((class.oid, class.row_type, class.row_array, class.columns.len()), (oids::PG_CLASS, 83, 273, 33));
        assert_eq!(by_oid(oids::PG_CLASS).unwrap().name, "pg_class");
    }
}
