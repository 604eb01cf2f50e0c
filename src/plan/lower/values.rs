//! Rows written in the query: VALUES, and the one row of a SELECT without FROM.

use crate::dataflow::ops::constant::Constant;
use crate::error::Result;
use crate::plan::expr::bind;
use crate::plan::node::{Planner, Stream, nullable};
use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::compute::concat_batches;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::DFSchema;
use datafusion::logical_expr as logical;
use std::sync::Arc;

impl Planner<'_> {
    pub(super) fn values(&mut self, node: &logical::Values) -> Result<Stream> {
        let schema = nullable(node.schema.fields());
        let none = DFSchema::empty();
        let rows = node.values.iter().map(|row| {
            let columns = row.iter().map(|e| bind(e, &none)?.eval(&nothing(1)?)).collect::<Result<Vec<_>>>()?;
            Ok(RecordBatch::try_new_with_options(Arc::clone(&schema), columns, &RecordBatchOptions::new().with_row_count(Some(1)))?)
        });
        let rows = rows.collect::<Result<Vec<_>>>()?;
        let batch = concat_batches(&schema, &rows)?;
        self.constant(batch, schema)
    }

    pub(super) fn empty(&mut self, node: &logical::EmptyRelation) -> Result<Stream> {
        let schema = nullable(node.schema.fields());
        let rows = usize::from(node.produce_one_row);
        let columns = schema.fields().iter().map(|f| arrow::array::new_null_array(f.data_type(), rows)).collect();
        let batch = RecordBatch::try_new_with_options(Arc::clone(&schema), columns, &RecordBatchOptions::new().with_row_count(Some(rows)))?;
        self.constant(batch, schema)
    }

    fn constant(&mut self, batch: RecordBatch, schema: SchemaRef) -> Result<Stream> {
        let key = (batch.num_rows() <= 1).then(Vec::new);
        let what = format!("Constant {:?} {}", batch.columns(), batch.num_rows());
        let (input, append_only) = self.add(what, &[], |allocate| Ok(Arc::new(Constant { rows: batch, state: allocate() })))?;
        Ok(Stream { input, schema, append_only, key, event_time: Vec::new() })
    }
}

fn nothing(rows: usize) -> Result<RecordBatch> {
    Ok(RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &RecordBatchOptions::new().with_row_count(Some(rows)))?)
}
