//! The rows of a COPY FROM, from the first to the last: completed and checked as they come, put aside, and written when all of them are here.
//!
//! ```text
//!   batches --casts, defaults, NOT NULL--> rows of the table --+-- few: in memory --------------------------------> one change, as of INSERT
//!                                                              +-- more: a file in the folder of spills, --keys---> parts, which readers see together
//!                                                                  gone with this                        differ?
//! ```
//!
//! What stays in memory counts as what readers' queries take; in a transaction, which keeps its changes in memory, that is all of it.

use super::conflict::{OnConflict, duplicate, keys, resolve};
use super::insert::completed;
use super::target::Target;
use super::{Context, Outcome};
use crate::error::{Error, Kind, Result};
use crate::node::engine_api::{Parts, Resolve};
use crate::sql::errors::untranslated;
use crate::types::key::Codec;
use crate::types::time::Epoch;
use arrow::array::{AsArray, BinaryArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::datasource::provider_as_source;
use datafusion::error::DataFusionError;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::{SendableRecordBatchStream, SpillFile, SpillWriter, TaskContext};
use datafusion::logical_expr::{LogicalPlanBuilder, col};
use datafusion::physical_plan::SpillManager;
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, SpillMetrics};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use futures::{StreamExt, TryStreamExt, stream};
use parking_lot::Mutex;
use std::fmt;
use std::sync::Arc;

/// Bytes of rows that stay in memory: what a file and epochs of their own are not worth.
const KEPT_BYTES: usize = 4 << 20;

/// See the module.
pub struct Copied {
    target: Target,
    /// Of the table; the others are defaults.
    columns: Vec<usize>,
    count: u64,
    kept: Vec<RecordBatch>,
    reserved: MemoryReservation,
    runtime: Arc<RuntimeEnv>,
    file: Option<File>,
    /// Why the rows cannot go in by parts.
    whole: Option<&'static str>,
    /// The key of the last row, as long as each is greater than the one before it: then no two are equal.
    rising: Option<Vec<u8>>,
}

/// Rows on disk.
struct File {
    file: Arc<dyn SpillFile>,
    /// Never locked: it makes what others share a reference of.
    writer: Mutex<StreamWriter<Box<dyn SpillWriter>>>,
}

impl Copied {
    pub(super) fn new(context: &Context, target: Target, columns: Vec<usize>) -> Result<Copied> {
        context.check_writable("COPY FROM")?;
        let runtime = context.binder.state().runtime_env();
        let whole = match (&context.transaction, &target.table.watermark) {
            (Some(_), _) => Some("The changes of a transaction are in memory until it ends."),
            // Of one epoch no row is late for another.
            (None, Some(_)) => Some("Rows of a table with a watermark are taken in by one epoch."),
            (None, None) => None,
        };
        Ok(Copied {
            reserved: MemoryConsumer::new("COPY FROM").register(&runtime.memory_pool),
            runtime: runtime.clone(),
            target,
            columns,
            count: 0,
            kept: Vec::new(),
            file: None,
            whole,
            rising: Some(Vec::new()),
        })
    }

    /// Rows so far.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Takes some rows, of the columns that were asked for.
    pub async fn take(&mut self, context: &Context, rows: RecordBatch) -> Result<()> {
        let rows = completed(context, &self.target, &self.columns, rows).await?;
        self.count += rows.num_rows() as u64;
        self.follow_keys(&rows)?;
        if self.file.is_none() {
            let bytes = rows.get_array_memory_size();
            let room = self.reserved.try_grow(bytes);
            if room.is_ok() && (self.whole.is_some() || self.reserved.size() <= KEPT_BYTES) {
                self.kept.push(rows);
                return Ok(());
            }
            if let (Err(e), Some(reason)) = (room, self.whole) {
                let hint = "copy in several parts, or more at once outside of a transaction block into a table without a watermark";
                let error = Error::new(Kind::OutOfMemory, "COPY has more rows than fit in memory").with_detail(reason).with_hint(hint);
                return Err(error.caused_by(e));
            }
            self.begin_file()?;
        }
        self.put(&rows)
    }

    fn begin_file(&mut self) -> Result<()> {
        let file = self.runtime.disk_manager.create_tmp_file("COPY FROM").map_err(untranslated)?;
        let writer = StreamWriter::try_new(file.open_writer().map_err(untranslated)?, &self.target.schema())?;
        self.file = Some(File { file, writer: Mutex::new(writer) });
        let kept = std::mem::take(&mut self.kept);
        kept.iter().try_for_each(|rows| self.put(rows))?;
        self.reserved.free();
        Ok(())
    }

    fn put(&mut self, rows: &RecordBatch) -> Result<()> {
        let file = self.file.as_mut().ok_or_else(|| Error::internal("rows without a file"))?;
        file.writer.get_mut().write(rows).map_err(no_room)
    }

    fn follow_keys(&mut self, rows: &RecordBatch) -> Result<()> {
        let Some(last) = self.rising.as_mut().filter(|_| !self.target.table.primary_key.is_empty()) else { return Ok(()) };
        let (_, encoded) = keys(&self.target, rows)?;
        for key in encoded.iter() {
            if key <= last.as_slice() {
                self.rising = None;
                break;
            }
            last.clear();
            last.extend_from_slice(key);
        }
        Ok(())
    }

    /// Has all rows written. Error: keys that are there already, or twice among them; then none is.
    pub async fn written(mut self, context: &Context) -> Result<Outcome> {
        if context.engine.catalog().get(self.target.object.id).is_none() {
            return Err(Error::new(Kind::UndefinedTable, format!("relation \"{}\" was dropped meanwhile", self.target.name())));
        }
        let tag = format!("COPY {}", self.count);
        let written = match self.file.take() {
            None => self.write_at_once(context).await?,
            Some(mut file) => {
                file.writer.get_mut().finish().map_err(no_room)?;
                self.write_parts(context, file.file).await?
            }
        };
        Ok(Outcome { written, ..Outcome::command(tag) })
    }

    async fn write_at_once(self, context: &Context) -> Result<Option<Epoch>> {
        let rows = concat_batches(&self.target.schema(), &self.kept)?;
        let (inner, table) = (context.clone(), self.target.object.clone());
        let resolve: Resolve =
            Box::new(move |snapshot| Box::pin(async move { Ok(resolve(&inner, &self.target, rows, OnConflict::Fail, snapshot.as_ref()).await?.delta) }));
        context.write("COPY FROM", &table, resolve).await
    }

    async fn write_parts(self, context: &Context, file: Arc<dyn SpillFile>) -> Result<Option<Epoch>> {
        if self.rising.is_none() {
            self.check_keys_differ(context, &file).await?;
        }
        let rows = self.rows_of(file)?;
        let (context_of_parts, target) = (context.clone(), self.target.clone());
        let parts: Parts = Box::new(move |snapshot| {
            let part = move |rows| {
                let (context, target, snapshot) = (context_of_parts.clone(), target.clone(), snapshot.clone());
                async move { Ok(resolve(&context, &target, rows, OnConflict::Fail, snapshot.as_ref()).await?.delta) }
            };
            rows.map_err(untranslated).and_then(part).boxed()
        });
        context.load(&self.target.object, parts).await
    }

    /// Error: two rows have one key. Sorts the keys, with files where they are many.
    async fn check_keys_differ(&self, context: &Context, file: &Arc<dyn SpillFile>) -> Result<()> {
        let keys = Keys { target: self.target.clone(), rows: Mutex::new(Some(self.rows_of(file.clone())?)), schema: keys_schema() };
        let table = StreamingTable::try_new(keys_schema(), vec![Arc::new(keys)]).map_err(untranslated)?;
        let sorted = LogicalPlanBuilder::scan("keys", provider_as_source(Arc::new(table)), None).and_then(|b| b.sort([col(KEY).sort(true, false)]));
        let (_, mut stream) = context.binder.run(sorted.and_then(|b| b.build()).map_err(untranslated)?, context.now).await?;
        let mut last: Option<Vec<u8>> = None;
        while let Some(batch) = stream.try_next().await.map_err(untranslated)? {
            for key in batch.column(0).as_binary::<i32>().iter().flatten() {
                if last.as_deref() == Some(key) {
                    return Err(self.twice(key)?);
                }
                let last = last.get_or_insert_default();
                last.clear();
                last.extend_from_slice(key);
            }
        }
        Ok(())
    }

    /// What is in a file of rows.
    fn rows_of(&self, file: Arc<dyn SpillFile>) -> Result<SendableRecordBatchStream> {
        let reader = SpillManager::new(self.runtime.clone(), SpillMetrics::new(&ExecutionPlanMetricsSet::new(), 0), self.target.schema());
        reader.read_spill_as_stream_unbuffered(file, None).map_err(untranslated)
    }

    fn twice(&self, key: &[u8]) -> Result<Error> {
        let schema = self.target.schema().project(&self.target.table.primary_key)?;
        let types: Vec<DataType> = schema.fields().iter().map(|f| f.data_type().clone()).collect();
        let columns = Codec::new(&types)?.decode(&mut std::iter::once(key))?;
        Ok(duplicate(&self.target, &RecordBatch::try_new(Arc::new(schema), columns)?, 0))
    }
}

fn no_room(e: ArrowError) -> Error {
    let error = Error::new(Kind::DiskFull, "the rows of a COPY could not be put on disk").with_detail(e.to_string());
    error.with_hint("copy in several parts, or make room where --data-dir is").caused_by(e)
}

/// Column of keys as bytes.
const KEY: &str = "key";

fn keys_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new(KEY, DataType::Binary, false)]))
}

/// The keys of the rows in a file, as a relation that is read once.
struct Keys {
    target: Target,
    rows: Mutex<Option<SendableRecordBatchStream>>,
    schema: SchemaRef,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "keys of the rows for {}", self.target.name())
    }
}

impl PartitionStream for Keys {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (target, schema) = (self.target.clone(), self.schema.clone());
        let keys_of = move |rows: RecordBatch| -> Result<RecordBatch> {
            let (_, encoded) = keys(&target, &rows)?;
            Ok(RecordBatch::try_new(schema.clone(), vec![Arc::new(BinaryArray::from_iter_values(encoded.iter()))])?)
        };
        let rows = self.rows.lock().take();
        let keys = stream::iter(rows).flatten().map(move |rows| keys_of(rows?).map_err(|e| DataFusionError::External(Box::new(e))));
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), keys))
    }
}
