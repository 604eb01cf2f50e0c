//! A relation's rows as a table for DataFusion: a stream of batches, read as it is asked for, at one epoch. Of a scan's filters those that bind a key are
//! taken for the ranges of keys to read; all of them are applied behind it as well.

use super::path::Paths;
use super::published::expand;
use super::ranges::KeyRange;
use super::stored::RelationRows;
use crate::error::{Error, Result};
use arrow::array::{RecordBatch, RecordBatchOptions};
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
            columns: columns.filter_map(|c| choice.rows.layout.place(c)).collect(),
            rows: choice.rows.clone(),
            by_key: choice.is_by_key(),
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
    /// Each range is one key: read by one call.
    by_key: bool,
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

type Stored = Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;

impl Scan {
    /// Stored rows, a batch at a time.
    fn open(&self) -> Stored {
        let snapshot = self.paths.snapshot.clone();
        let mut scan = match &self.ranges {
            Some(ranges) if self.by_key => return Box::new(std::iter::once(self.rows.under(snapshot.as_ref(), ranges))),
            Some(ranges) => self.rows.scan_ranges(snapshot, ranges.clone()),
            None => self.rows.scan(snapshot),
        };
        let rows = self.batch_rows;
        Box::new(std::iter::from_fn(move || scan.next(rows).transpose()).map(|delta| expand(&delta?)))
    }
}

impl PartitionStream for Scan {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (columns, schema) = (self.columns.clone(), self.schema.clone());
        // Column names and nullability are the relation's, also where an index stands in for it.
        let shown = move |stored: Result<RecordBatch>| {
            let stored = stored?;
            let options = RecordBatchOptions::new().with_row_count(Some(stored.num_rows()));
            let columns = columns.iter().map(|c| stored.column(*c).clone()).collect();
            Ok(RecordBatch::try_new_with_options(schema.clone(), columns, &options)?)
        };
        let batches = self.open().map(move |stored| shown(stored).map_err(external));
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), futures::stream::iter(batches)))
    }
}
