//! Rows that never change: types, functions, operators, …. They are in `statics.tsv`, which `export.sh` writes from a real PostgreSQL 15.

use super::relations::Relation;
use super::sheet::{Sheet, Value};
use crate::error::Result;
use arrow::array::RecordBatch;
use std::collections::HashMap;
use std::sync::LazyLock;

/// The exported rows of one relation. Columns that are not named have the default of their type.
pub struct Section {
    columns: Vec<&'static str>,
    rows: Vec<Vec<&'static str>>,
}

/// One exported row.
#[derive(Clone, Copy)]
pub struct Record {
    section: &'static Section,
    row: &'static [&'static str],
}

const NULL: &str = "\\N";

static SECTIONS: LazyLock<HashMap<&'static str, Section>> = LazyLock::new(|| {
    let mut sections = HashMap::new();
    let mut name = "";
    for line in include_str!("statics.tsv").lines() {
        if let Some(head) = line.strip_prefix('@') {
            let mut words = head.split(' ');
            name = words.next().unwrap_or_default();
            sections.insert(name, Section { columns: words.collect(), rows: Vec::new() });
        } else if let Some(section) = sections.get_mut(name) {
            section.rows.push(line.split('\t').collect());
        }
    }
    sections
});

/// The rows of a relation of pg_catalog, if any are exported.
pub fn section(name: &str) -> Option<&'static Section> {
    SECTIONS.get(name)
}

/// The same, one by one.
pub fn records(name: &str) -> impl Iterator<Item = Record> {
    section(name).into_iter().flat_map(|section| section.rows.iter().map(move |row| Record { section, row }))
}

impl Record {
    /// `None`: NULL.
    fn written(&self, column: &str) -> Option<&'static str> {
        let place = self.section.columns.iter().position(|c| *c == column)?;
        self.row.get(place).copied().filter(|text| *text != NULL)
    }

    /// NULL is an empty text.
    pub fn text(&self, column: &str) -> &'static str {
        self.written(column).unwrap_or_default()
    }

    /// A number that fits; 0 for NULL.
    pub fn number<N: std::str::FromStr + Default>(&self, column: &str) -> N {
        self.text(column).parse().unwrap_or_default()
    }

    pub fn flag(&self, column: &str) -> bool {
        self.text(column) == "t"
    }

    /// A "char".
    pub fn letter(&self, column: &str) -> char {
        self.text(column).chars().next().unwrap_or(' ')
    }

    /// The numbers of a vector (`1 2 3`) or an array (`{1,2,3}`); `None`: NULL.
    pub fn numbers(&self, column: &str) -> Option<Vec<u32>> {
        let inner = self.written(column)?.trim_start_matches('{').trim_end_matches('}');
        Some(inner.split([' ', ',']).filter_map(|n| n.parse().ok()).collect())
    }

    /// The letters of an array of "char"; `None`: NULL.
    pub fn letters(&self, column: &str) -> Option<Vec<char>> {
        Some(self.written(column)?.chars().filter(|c| c.is_ascii_alphabetic()).collect())
    }
}

/// What is exported of a relation, in OID order; nothing: no rows.
pub fn rows(relation: &'static Relation) -> Result<RecordBatch> {
    let Some(section) = section(relation.name) else { return Sheet::new(relation, 0).finish() };
    let mut sheet = Sheet::new(relation, section.rows.len());
    for (place, column) in section.columns.iter().enumerate() {
        let data_type = sheet.data_type(column).clone();
        let read = |row: &Vec<&'static str>| match row.get(place) {
            Some(text) if *text != NULL => Value::read(&data_type, text),
            _ => Value::Null,
        };
        sheet = sheet.column(column, section.rows.iter().map(read));
    }
    sheet.finish()
}

/// A word that SQL has a use for.
pub struct Keyword {
    pub word: &'static str,
    /// As in pg_get_keywords(): `U` unreserved, `C` not as a function or type, `T` as a function or type, `R` reserved.
    pub category: char,
    /// May be a column's name without AS.
    pub bare_label: bool,
}

/// Every keyword of PostgreSQL 15.
pub fn keywords() -> impl Iterator<Item = Keyword> {
    records("keywords").map(|r| Keyword { word: r.text("word"), category: r.letter("catcode"), bare_label: r.flag("barelabel") })
}
