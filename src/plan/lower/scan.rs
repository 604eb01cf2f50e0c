//! A scan: the deltas of a relation, with the columns that the query reads.

use crate::dataflow::ops::processing_time::ProcessingTime;
use crate::error::{Error, Result};
use crate::plan::expr::column;
use crate::plan::lower::columns::key_through;
use crate::plan::lower::temporal_join::{is_versioned, misplaced};
use crate::plan::node::{Planner, Stream, nullable};
use crate::plan::recursion::work_table;
use crate::plan::relation::RelationSource;
use crate::plan::{EventTime, Relation};
use datafusion::logical_expr::TableScan;
use std::sync::Arc;

impl Planner<'_> {
    pub(super) fn scan(&mut self, scan: &TableScan) -> Result<Stream> {
        if let Some(name) = work_table(scan) {
            return self.scan_binding(scan, &name);
        }
        let Some(relation) = RelationSource::of(scan.source.as_ref()).cloned() else {
            return Err(Error::not_supported(format!("relation \"{}\" cannot be read by a materialized view", scan.table_name.table()))
                .with_hint("a view reads sources, tables and other materialized views; query system relations with SELECT"));
        };
        if is_versioned(scan) {
            return Err(misplaced());
        }
        if !scan.filters.is_empty() || scan.fetch.is_some() {
            return Err(Error::internal("a filter or limit was pushed into the scan of a relation, which takes none"));
        }
        let key = (!relation.key.is_empty()).then(|| relation.key.clone());
        let input = self.relation(relation.id);
        let whole =
            Stream { input, schema: nullable(relation.schema.fields()), append_only: relation.append_only, key, event_time: relation.event_time.clone() };
        let is_read = |column: &usize| scan.projection.as_ref().is_none_or(|p| p.contains(column));
        let whole = if relation.processing_time.iter().any(is_read) { self.dated(&relation, whole)? } else { whole };
        let Some(ordinals) = scan.projection.as_ref().filter(|p| !p.iter().copied().eq(0..whole.schema.fields().len())) else { return Ok(whole) };
        let exprs = ordinals.iter().map(|i| column(*i, whole.schema.field(*i).name(), whole.schema.field(*i).data_type())).collect::<Vec<_>>();
        let schema = nullable(ordinals.iter().map(|i| &whole.schema.fields()[*i]));
        let times = ordinals.iter().enumerate().filter_map(|(at, i)| whole.time(*i).map(|t| EventTime { column: at, ..t.clone() })).collect();
        let key = key_through(&whole.key, &exprs);
        let (input, append_only) = self.project(&whole, exprs, &schema)?;
        Ok(Stream { input, schema, append_only, key, event_time: times })
    }

    /// The rows of a binding of WITH MUTUALLY RECURSIVE.
    fn scan_binding(&mut self, scan: &TableScan, name: &str) -> Result<Stream> {
        let found = self.finished.iter().rfind(|(n, _)| n == name).map(|(_, rows)| rows.clone());
        let whole = found.ok_or_else(|| Error::internal(format!("the recursive query {name} is read before it is planned")))?;
        let Some(ordinals) = &scan.projection else { return Ok(whole) };
        let exprs = ordinals.iter().map(|i| column(*i, whole.schema.field(*i).name(), whole.schema.field(*i).data_type())).collect::<Vec<_>>();
        let schema = nullable(ordinals.iter().map(|i| &whole.schema.fields()[*i]));
        let key = key_through(&whole.key, &exprs);
        let (input, append_only) = self.project(&whole, exprs, &schema)?;
        Ok(Stream { input, schema, append_only, key, event_time: Vec::new() })
    }

    /// The relation's own rows with their processing time, if it has any.
    pub(in crate::plan) fn dated(&mut self, relation: &Relation, rows: Stream) -> Result<Stream> {
        if relation.processing_time.is_empty() {
            return Ok(rows);
        }
        let (columns, schema) = (relation.processing_time.clone(), Arc::clone(&rows.schema));
        let what = format!("ProcessingTime {columns:?}");
        let (input, append_only) = self.add(what, &[&rows], |_| Ok(Arc::new(ProcessingTime { columns, schema })))?;
        let mut event_time = rows.event_time;
        if append_only {
            event_time.extend(relation.processing_time.iter().copied().map(EventTime::by_clock));
        }
        Ok(Stream { input, append_only, event_time, schema: rows.schema, key: rows.key })
    }
}
