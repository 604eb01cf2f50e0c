//! A relation's rows as a table for DataFusion: a stream of batches, read as it is asked for, at one epoch. Of a scan's filters those that bind a key are
//! taken for the ranges of keys to read; all of them are applied behind it as well.

use super::path::Paths;
use super::published::expand;
use super::ranges::KeyRange;
use super::stored::{RelationRows, RelationScan};
use crate::error::{Error, Result};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::physical_plan::{ExecutionPlan, SendableRecordBatchStream};
use std::fmt;
use std::sync::Arc;

/// Rows read per batch.
const BATCH_ROWS: usize = 8192;

/// See the module.
pub struct RowsTable {
    pub paths: Paths,
}

impl fmt::Debug for RowsTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.paths.schema())
    }
}

#[async_trait]
impl TableProvider for RowsTable {
    fn schema(&self) -> SchemaRef {
        self.paths.schema().clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> datafusion::common::Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> datafusion::common::Result<Arc<dyn ExecutionPlan>> {
        let (choice, _) = self.paths.choose_for(filters, projection).map_err(external)?;
        let schema = match projection {
            Some(columns) => Arc::new(self.schema().project(columns)?),
            None => self.schema(),
        };
        let columns = (0..self.schema().fields().len()).filter(|_| projection.is_none()).chain(projection.into_iter().flatten().copied());
        let scan = Scan {
            columns: columns.filter_map(|c| choice.rows.layout.columns[c]).collect(),
            rows: choice.rows.clone(),
            ranges: choice.ranges.map(|r| r.ranges),
            paths: self.paths.clone(),
            schema: schema.clone(),
            batch_rows: limit.map_or(BATCH_ROWS, |l| l.clamp(1, BATCH_ROWS)),
        };
        Ok(Arc::new(StreamingTableExec::try_new(schema, vec![Arc::new(scan)], None, [], false, limit)?))
    }
}

fn external(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// One scan.
struct Scan {
    paths: Paths,
    rows: RelationRows,
    ranges: Option<Vec<KeyRange>>,
    /// Of a stored row, those that are wanted.
    columns: Vec<usize>,
    schema: SchemaRef,
    batch_rows: usize,
}

impl fmt::Debug for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.schema)
    }
}

impl Scan {
    fn open(&self) -> RelationScan {
        let snapshot = self.paths.snapshot.clone();
        match &self.ranges {
            Some(ranges) => self.rows.scan_ranges(snapshot, ranges.clone()),
            None => self.rows.scan(snapshot),
        }
    }
}

/// The next batch, as the query sees it.
fn pull(scan: &mut RelationScan, rows: usize, columns: &[usize], schema: &SchemaRef) -> Result<Option<RecordBatch>> {
    let Some(delta) = scan.next(rows)? else { return Ok(None) };
    // Column names and nullability are the relation's, also where an index stands in for it.
    let shown = expand(&delta)?.project(columns)?.with_schema(schema.clone())?;
    Ok(Some(shown))
}

impl PartitionStream for Scan {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (mut scan, batch_rows, columns, schema) = (self.open(), self.batch_rows, self.columns.clone(), self.schema.clone());
        let batches = std::iter::from_fn(move || pull(&mut scan, batch_rows, &columns, &schema).map_err(external).transpose());
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), futures::stream::iter(batches)))
    }
}
