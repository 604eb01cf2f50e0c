//! UNION ALL. (UNION is a DISTINCT over it.) A column keeps its event time if all inputs give it the same kind; its watermark is
//! then the least of all their sources.

use crate::dataflow::ops::union::Union;
use crate::error::Result;
use crate::plan::EventTime;
use crate::plan::node::{Planner, Stream, both, nullable};
use datafusion::logical_expr as logical;
use std::sync::Arc;

impl Planner<'_> {
    pub(super) fn union(&mut self, node: &logical::Union) -> Result<Stream> {
        let inputs = node.inputs.iter().map(|i| self.lower(i)).collect::<Result<Vec<_>>>()?;
        let schema = nullable(node.schema.fields());
        let spec = Union { inputs: inputs.len(), schema: Arc::clone(&schema) };
        let ports = inputs.iter().collect::<Vec<_>>();
        let (input, append_only) = self.add("Union".to_string(), &ports, |_| Ok(Arc::new(spec)))?;
        let event_time = (0..schema.fields().len()).filter_map(|c| common_time(&inputs, c)).collect();
        Ok(Stream { input, schema, append_only, key: None, event_time })
    }
}

fn common_time(inputs: &[Stream], column: usize) -> Option<EventTime> {
    let (first, rest) = inputs.split_first()?;
    let start = first.time(column)?.clone();
    rest.iter().try_fold(start, |so_far, input| {
        let time = input.time(column).filter(|t| t.kind == so_far.kind)?;
        Some(EventTime { sources: both(&so_far.sources, &time.sources), ..so_far })
    })
}
