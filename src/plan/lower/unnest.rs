//! unnest() and HOP: one row per element of a list.

use crate::dataflow::ops::unnest::Unnest;
use crate::error::{Error, Result};
use crate::plan::EventTime;
use crate::plan::node::{Planner, Stream, nullable};
use datafusion::logical_expr::{self as logical, LogicalPlan};
use std::sync::Arc;

impl Planner<'_> {
    pub(super) fn unnest(&mut self, node: &logical::Unnest) -> Result<Stream> {
        let deep = node.list_type_columns.iter().any(|(_, list)| list.depth != 1);
        let in_order = node.dependency_indices.iter().copied().eq(0..node.input.schema().fields().len());
        if deep || !node.struct_type_columns.is_empty() || !in_order {
            return Err(Error::not_supported("unnest of nested arrays or of structs in a materialized view is not supported")
                .with_hint("unnest one level of an array at a time, and select the fields of a struct by name"));
        }
        let input = match node.input.as_ref() {
            LogicalPlan::Projection(projection) => match self.panes(projection)? {
                Some(rows) => rows,
                None => self.lower(&node.input)?,
            },
            other => self.lower(other)?,
        };
        let columns = node.list_type_columns.iter().map(|(i, _)| *i).collect::<Vec<_>>();
        let schema = nullable(node.schema.fields());
        let preserve_nulls = node.options.preserve_nulls();
        let (from, to) = (Arc::clone(&input.schema), Arc::clone(&schema));
        let what = format!("Unnest {columns:?} {preserve_nulls}");
        let (output, append_only) = self.add(what, &[&input], |_| Ok(Arc::new(Unnest::new(&from, columns.clone(), preserve_nulls, to)?)))?;
        // Window starts of one row are distinct: with them a key of the rows stays one.
        let is_window = |c: &usize| matches!(input.time(*c), Some(EventTime { .. }));
        let key = input.key.as_ref().filter(|_| columns.iter().all(is_window)).map(|k| k.iter().chain(&columns).copied().collect());
        Ok(Stream { input: output, schema, append_only, key, event_time: input.event_time })
    }
}
