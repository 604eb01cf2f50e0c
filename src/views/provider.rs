//! A relation's rows as a table for DataFusion: a stream of batches, read as it is asked for, at one epoch.

use super::published::{RelationRows, expand};
use crate::state::store::Snapshot;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use datafusion::physical_plan::{ExecutionPlan, SendableRecordBatchStream};
use std::fmt;
use std::sync::Arc;

/// Rows read per batch.
const BATCH_ROWS: usize = 8192;

#[derive(Clone)]
struct Rows {
    rows: RelationRows,
    snapshot: Arc<dyn Snapshot>,
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.rows.schema())
    }
}

impl PartitionStream for Rows {
    fn schema(&self) -> &SchemaRef {
        self.rows.schema()
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let schema = self.rows.schema().clone();
        let external = |e: crate::error::Error| DataFusionError::External(Box::new(e));
        let batches: Box<dyn Iterator<Item = datafusion::common::Result<_>> + Send> = match self.rows.scan(self.snapshot.clone()) {
            Err(e) => Box::new(std::iter::once(Err(external(e)))),
            Ok(mut scan) => {
                Box::new(std::iter::from_fn(move || scan.next(BATCH_ROWS).transpose()).map(move |delta| delta.and_then(|d| expand(&d)).map_err(external)))
            }
        };
        Box::pin(RecordBatchStreamAdapter::new(schema, futures::stream::iter(batches)))
    }
}

/// See the module.
#[derive(Debug)]
pub struct RowsTable {
    rows: Rows,
}

impl RowsTable {
    pub fn new(rows: RelationRows, snapshot: Arc<dyn Snapshot>) -> RowsTable {
        RowsTable { rows: Rows { rows, snapshot } }
    }
}

#[async_trait]
impl TableProvider for RowsTable {
    fn schema(&self) -> SchemaRef {
        self.rows.rows.schema().clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> datafusion::common::Result<Arc<dyn ExecutionPlan>> {
        let table = StreamingTable::try_new(self.schema(), vec![Arc::new(self.rows.clone())])?;
        table.scan(state, projection, filters, limit).await
    }
}
