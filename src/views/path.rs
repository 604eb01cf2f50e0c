//! The ways to a relation's rows, and which one a query takes: the relation's own key or one of its indexes.
//!
//! The choice is a rule, not an estimate, so that it is the same every time and can be read off the statement: a single row of a unique key first; then the
//! way with the most leading key columns that are bound to values; then one that is bounded from a side behind them; then, in a look-up with a LIMIT,
//! one that has the wanted order; then the relation itself, then the older index. An index is a way only if it holds all columns that the query needs.

use super::condition::{Condition, conditions};
use super::published::Indexes;
use super::ranges::{KeyRanges, key_ranges};
use super::stored::RelationRows;
use crate::error::Result;
use crate::state::store::Snapshot;
use arrow::datatypes::SchemaRef;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Expr;
use std::sync::Arc;

/// A relation's rows with all ways to them, at one epoch.
#[derive(Clone)]
pub struct Paths {
    pub snapshot: Arc<dyn Snapshot>,
    pub relation: RelationRows,
    pub indexes: Indexes,
}

/// The way a query takes.
pub struct Choice<'a> {
    pub rows: &'a RelationRows,
    /// Its name, if it is an index.
    pub index: Option<&'a str>,
    /// `None`: all rows.
    pub ranges: Option<KeyRanges>,
}

impl Paths {
    pub fn schema(&self) -> &SchemaRef {
        self.relation.schema()
    }

    /// `needed`: the columns that are read, those of the filter among them. `preferred` decides between ways that are equal by the rule.
    pub fn choose(&self, asked: &[Condition], parameters: &[ScalarValue], needed: &[usize], preferred: &dyn Fn(&Choice<'_>) -> bool) -> Result<Choice<'_>> {
        let worth = |choice: &Choice<'_>| (choice.worth(), preferred(choice));
        let mut best = Choice { rows: &self.relation, index: None, ranges: key_ranges(&self.relation.layout.key, asked, parameters)? };
        for (name, rows) in self.indexes.iter() {
            if needed.iter().any(|c| rows.layout.place(*c).is_none()) {
                continue;
            }
            let choice = Choice { rows, index: Some(name), ranges: key_ranges(&rows.layout.key, asked, parameters)? };
            if worth(&choice) > worth(&best) {
                best = choice;
            }
        }
        Ok(best)
    }

    /// The same for the filters of a scan, which have no parameters any more.
    pub fn choose_for(&self, filters: &[Expr], projection: Option<&Vec<usize>>) -> Result<(Choice<'_>, Vec<Condition>)> {
        let asked = conditions(filters, self.schema());
        let needed: Vec<usize> = projection.cloned().unwrap_or_else(|| (0..self.schema().fields().len()).collect());
        Ok((self.choose(&asked, &[], &needed, &|_| false)?, asked))
    }
}

impl Choice<'_> {
    fn worth(&self) -> (bool, usize, bool) {
        self.ranges.as_ref().map_or((false, 0, false), |r| (self.is_by_key(), r.points, r.bounded))
    }

    /// Whether each range is one key of one row.
    pub fn is_by_key(&self) -> bool {
        self.rows.layout.is_unique() && self.ranges.as_ref().is_some_and(|r| r.points == self.rows.layout.key.len())
    }

    /// For EXPLAIN; `None`: all rows of the relation itself.
    pub fn shown(&self, asked: &[Condition], schema: &SchemaRef) -> Option<String> {
        let ranges = self.ranges.as_ref()?;
        let by = self.index.map_or_else(|| "key".to_owned(), |name| format!("index {name}"));
        let list: Vec<String> = ranges.used.iter().map(|i| asked[*i].shown(schema)).collect();
        let how = if self.is_by_key() { "look-up by" } else { "range of" };
        Some(format!("{how} {by} ({})", list.join(", ")))
    }
}
