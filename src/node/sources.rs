//! From a source's or table's definition to something that can be read: the connector, and the expressions that complete and date its rows.

use crate::catalog::object::{Body, Column, Include, Object, PROCESSING_TIME, Watermark};
use crate::connectors::connector::{Metadata, Partition, Source, SourceRequest};
use crate::connectors::options;
use crate::connectors::prepare::{Preparation, Replay};
use crate::error::{Error, Result};
use crate::plan::{EventTime, TimeKind};
use crate::types::expr::{ExprRef, eval_rows};
use crate::types::ids::ObjectId;
use crate::types::time::Clock;
use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Schema, TimestampMicrosecondType};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Records set aside as too far ahead of the clock, below a position, per partition.
pub type Verdicts = BTreeMap<Partition, Replay>;

pub struct Opened {
    pub source: Arc<dyn Source>,
    pub preparation: Preparation,
    /// µs; `None`: partitions never count as idle.
    pub idle_timeout: Option<i64>,
}

/// How the planner sees a declared watermark.
pub fn event_time(source: ObjectId, watermark: &Watermark) -> EventTime {
    EventTime { column: watermark.column, sources: vec![source], kind: TimeKind::Event }
}

/// Columns that `PROCTIME()` dates. Rows that statements write have the statement's time already; those of a table are dated once, before they are stored.
pub fn processing_time(object: &Object) -> Vec<usize> {
    let dated = |c: &Column| c.generated.as_deref() == Some(PROCESSING_TIME);
    if object.feed().is_none() {
        return Vec::new();
    }
    object.columns().iter().enumerate().filter(|(_, c)| dated(c)).map(|(i, _)| i).collect()
}

/// The watermark that rows written by statements move, of a table that no connector feeds.
pub fn table_watermark(object: &Object) -> Result<Option<ExprRef>> {
    match &object.body {
        Body::Table(table) if table.feed.is_none() => {
            table.watermark.as_ref().map(|w| crate::sql::scalar::compile(&w.expression, &object.arrow_schema())).transpose()
        }
        _ => Ok(None),
    }
}

/// The greatest value of a watermark expression over these rows; rows on which it fails promise nothing.
pub fn promised(watermark: &ExprRef, rows: &RecordBatch) -> Result<Option<i64>> {
    let (values, _, _) = eval_rows(std::slice::from_ref(watermark), rows)?;
    Ok(values.first().and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>()).and_then(arrow::compute::max))
}

/// Makes what reads the object's feed: through `running`, the connector that another reader of it uses, so that they share its connection and its pace.
/// Error: options, or an expression, that CREATE would have refused.
pub fn open(object: &Object, running: Option<Arc<dyn Source>>, clock: Arc<dyn Clock>, replay: Verdicts) -> Result<Opened> {
    let feed = object.feed().ok_or_else(|| Error::internal(format!("\"{}\" reads no connector", object.name)))?;
    let source = running.map_or_else(|| connect(object), Ok)?;
    let full = object.arrow_schema();
    let columns = object.columns();
    let generated = columns
        .iter()
        .enumerate()
        .filter_map(|(i, c)| c.generated.as_ref().map(|text| (i, text)))
        .map(|(i, text)| match text.as_str() {
            // Dated by the epoch.
            PROCESSING_TIME => Ok((i, crate::sql::scalar::compile("null::timestamptz", &full)?)),
            text => Ok((i, crate::sql::scalar::compile(text, &full)?)),
        })
        .collect::<Result<Vec<_>>>()?;
    let watermark = feed.watermark.as_ref().map(|w| crate::sql::scalar::compile(&w.expression, &full)).transpose()?;
    let timing = options::timing(&feed.connector, &feed.options, source.replays_history())?;
    let preparation = Preparation {
        full_schema: full,
        generated,
        not_null: columns.iter().enumerate().filter(|(_, c)| c.not_null).map(|(i, _)| i).collect(),
        primary_key: object.primary_key().to_vec(),
        watermark,
        event_time: feed.watermark.as_ref().map(|w| w.column),
        max_future_skew: timing.max_future_skew,
        clock,
        replay,
    };
    Ok(Opened { source, preparation, idle_timeout: timing.idle_timeout })
}

/// The connector of an object's feed, over the columns that come from outside.
pub fn connect(object: &Object) -> Result<Arc<dyn Source>> {
    let feed = object.feed().ok_or_else(|| Error::internal(format!("\"{}\" reads no connector", object.name)))?;
    let read: Vec<_> = object.columns().iter().filter(|c| c.generated.is_none()).collect();
    let declared = Arc::new(Schema::new(read.iter().map(|c| c.field.clone().with_name(&c.name)).collect::<Vec<_>>()));
    let primary_key: Vec<String> = object.primary_key().iter().map(|c| object.columns()[*c].name.clone()).collect();
    let nothing = BTreeMap::new();
    let request = SourceRequest {
        name: &object.name,
        connector: &feed.connector,
        options: &feed.options,
        encode: feed.format.as_ref().map(|f| f.encode.as_str()),
        encode_options: feed.format.as_ref().map_or(&nothing, |f| &f.options),
        upsert: feed.format.as_ref().is_some_and(|f| f.upsert),
        primary_key: &primary_key,
        declared,
        not_null: read.iter().map(|c| c.not_null).collect(),
        metadata: read.iter().map(|c| c.include.as_ref().map(metadata)).collect(),
        created_at: feed.created_at,
    };
    crate::connectors::build(&request)
}

/// What a reader is asked for.
pub fn metadata(include: &Include) -> Metadata {
    match include {
        Include::Key => Metadata::Key,
        Include::Partition => Metadata::Partition,
        Include::Offset => Metadata::Offset,
        Include::Timestamp => Metadata::Timestamp,
        Include::Header(name) => Metadata::Header(name.clone()),
        Include::Payload => Metadata::Payload,
    }
}
