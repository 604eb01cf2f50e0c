//! From a reader's batch to rows that the engine can take as they are: generated columns computed, NOT NULL checked, the watermark's
//! value per row, events from the future set aside. It runs on the pump's threads, ahead of the epoch.
//!
//! Everything here is a function of the record and the schema, but for one thing: whether an event is too far ahead of the clock. Those verdicts are
//! handed on, so that the epoch log can keep them, and come back as a [`Replay`] after a restart.

use super::connector::{Batch, DeadRecord, Partition, Position, RawRecords};
use crate::error::{Error, Result};
use crate::types::expr::{ExprRef, RowError, eval_rows};
use crate::types::time::{Clock, WATERMARK_NONE};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimestampMicrosecondType};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

/// What is done to the rows of one source.
pub struct Preparation {
    /// The declared columns, generated ones among them.
    pub full_schema: SchemaRef,
    /// Generated columns: ordinal in the full schema, expression over the full row (it reads no generated column).
    pub generated: Vec<(usize, ExprRef)>,
    /// Ordinals of NOT NULL columns.
    pub not_null: Vec<usize>,
    /// Ordinals of the primary key: the only columns that a deletion must have.
    pub primary_key: Vec<usize>,
    /// `WATERMARK FOR column AS expression`, over the full row; gives a timestamp.
    pub watermark: Option<ExprRef>,
    /// The watermark's column: the event's time.
    pub event_time: Option<usize>,
    /// µs; `None`: any time is taken.
    pub max_future_skew: Option<i64>,
    pub clock: Arc<dyn Clock>,
    /// Verdicts given before a restart.
    pub replay: BTreeMap<Partition, Replay>,
}

/// Which records of a partition were set aside for being ahead of the clock, up to a position.
#[derive(Clone, Debug, Default)]
pub struct Replay {
    /// Verdicts are known for the positions before this one.
    pub until: Position,
    pub skewed: BTreeSet<Position>,
}

/// Rows with all that goes with them.
#[derive(Debug)]
pub struct Ready {
    pub rows: RecordBatch,
    pub positions: Vec<Position>,
    /// The watermark expression's value per row, µs; `WATERMARK_NONE` where it is NULL.
    pub watermark_times: Option<Vec<i64>>,
    pub deletions: Option<Vec<bool>>,
    /// By position.
    pub dead: Vec<DeadRecord>,
    /// Positions of the dead records that only the clock condemned.
    pub skewed: Vec<Position>,
}

impl Preparation {
    /// The rows of `batch` that are good, and those that are not as dead letters.
    pub fn prepare(&self, partition: Partition, batch: Batch) -> Result<Ready> {
        let mut work = Work {
            ordinals: None,
            raw: batch.raw,
            positions: batch.positions,
            deletions: batch.deletions,
            dead: batch.dead,
            columns: self.place(&batch.rows)?,
            rows: batch.rows.num_rows(),
        };
        self.generate(&mut work)?;
        self.check_nulls(&mut work)?;
        let watermark_times = self.watermark(&mut work)?;
        let (watermark_times, skewed) = self.check_skew(partition, &mut work, watermark_times)?;
        work.dead.sort_by_key(|d| d.position);
        let rows = work.batch(&self.full_schema)?;
        Ok(Ready { rows, positions: work.positions, watermark_times, deletions: work.deletions.filter(|d| d.contains(&true)), dead: work.dead, skewed })
    }

    /// The full row with NULLs in place of generated columns.
    fn place(&self, rows: &RecordBatch) -> Result<Vec<ArrayRef>> {
        let mut read = rows.columns().iter();
        let columns = self.full_schema.fields().iter().enumerate().map(|(at, field)| {
            if self.generated.iter().any(|(g, _)| *g == at) {
                return Ok(new_null_array(field.data_type(), rows.num_rows()));
            }
            read.next().cloned().ok_or_else(|| Error::internal("a source reads every column that is not generated"))
        });
        columns.collect()
    }

    fn generate(&self, work: &mut Work) -> Result<()> {
        if self.generated.is_empty() || work.rows == 0 {
            return Ok(());
        }
        let expressions: Vec<ExprRef> = self.generated.iter().map(|(_, e)| e.clone()).collect();
        let (values, _, errors) = eval_rows(&expressions, &work.loose_batch(&self.full_schema)?)?;
        work.kill(row_errors(errors, "generated column"))?;
        for ((at, _), column) in self.generated.iter().zip(values) {
            let to = self.full_schema.field(*at).data_type();
            work.columns[*at] = if column.data_type() == to { column } else { arrow::compute::cast(&column, to)? };
        }
        Ok(())
    }

    fn check_nulls(&self, work: &mut Work) -> Result<()> {
        let mut bad: BTreeMap<usize, String> = BTreeMap::new();
        for &at in &self.not_null {
            let column = &work.columns[at];
            if column.null_count() == 0 {
                continue;
            }
            let excused = |row: usize| work.deletions.as_ref().is_some_and(|d| d[row]) && !self.primary_key.contains(&at);
            for row in (0..column.len()).filter(|r| column.is_null(*r) && !excused(*r)) {
                bad.entry(row).or_insert_with(|| format!("null value in column \"{}\" violates not-null constraint", self.full_schema.field(at).name()));
            }
        }
        work.kill(bad.into_iter().collect())
    }

    /// One value per row; rows on which the expression fails become dead letters.
    fn watermark(&self, work: &mut Work) -> Result<Option<Vec<i64>>> {
        let Some(expression) = &self.watermark else { return Ok(None) };
        if work.rows == 0 {
            return Ok(Some(Vec::new()));
        }
        let (values, _, errors) = eval_rows(std::slice::from_ref(expression), &work.loose_batch(&self.full_schema)?)?;
        work.kill(row_errors(errors, "watermark"))?;
        Ok(Some(micros_of(&values[0])?))
    }

    fn check_skew(&self, partition: Partition, work: &mut Work, times: Option<Vec<i64>>) -> Result<(Option<Vec<i64>>, Vec<Position>)> {
        let (Some(column), Some(skew)) = (self.event_time, self.max_future_skew) else { return Ok((times, Vec::new())) };
        let events = micros_of(&work.columns[column])?;
        let now = self.clock.now();
        let limit = now.saturating_add(skew);
        let replay = self.replay.get(&partition);
        let ahead = |row: usize| match replay {
            Some(r) if work.positions[row] < r.until => r.skewed.contains(&work.positions[row]),
            _ => events[row] > limit,
        };
        let bad: Vec<usize> = (0..work.rows).filter(|r| ahead(*r)).collect();
        if bad.is_empty() {
            return Ok((times, Vec::new()));
        }
        let skewed = bad.iter().map(|r| work.positions[*r]).collect();
        let times = times.map(|t| t.iter().enumerate().filter(|(r, _)| bad.binary_search(r).is_err()).map(|(_, v)| *v).collect());
        let name = self.full_schema.field(column).name();
        let worded = |r: usize| format!("column \"{name}\": event time {} is more than {} ahead of the clock", stamp(events[r]), span(skew));
        work.kill(bad.into_iter().map(|r| (r, worded(r))).collect())?;
        Ok((times, skewed))
    }
}

/// A batch in the making.
struct Work {
    columns: Vec<ArrayRef>,
    rows: usize,
    positions: Vec<Position>,
    deletions: Option<Vec<bool>>,
    dead: Vec<DeadRecord>,
    raw: Option<RawRecords>,
    /// Row of `raw` for each row that is left; `None`: all are.
    ordinals: Option<Vec<usize>>,
}

impl Work {
    /// Moves rows (rising) to the dead letters.
    fn kill(&mut self, bad: Vec<(usize, String)>) -> Result<()> {
        if bad.is_empty() {
            return Ok(());
        }
        let mut keep = vec![true; self.rows];
        for (row, error) in bad {
            keep[row] = false;
            let raw = match &self.raw {
                Some(raw) => Arc::from(raw.row(self.ordinals.as_ref().map_or(row, |o| o[row]))),
                None => Arc::from(self.rendered(row)?.into_bytes()),
            };
            self.dead.push(DeadRecord { position: self.positions[row], timestamp: None, error, raw });
        }
        let mask = BooleanArray::from(keep.clone());
        for column in &mut self.columns {
            *column = arrow::compute::filter(column, &mask)?;
        }
        let left = |row: &usize| keep[*row];
        self.positions = (0..self.rows).filter(left).map(|r| self.positions[r]).collect();
        self.deletions = self.deletions.take().map(|d| (0..self.rows).filter(left).map(|r| d[r]).collect());
        self.ordinals = Some((0..self.rows).filter(left).map(|r| self.ordinals.as_ref().map_or(r, |o| o[r])).collect());
        self.rows = self.positions.len();
        Ok(())
    }

    /// A generated row as text: what a dead letter shows where nothing was received.
    fn rendered(&self, row: usize) -> Result<String> {
        let options = FormatOptions::default().with_null("NULL");
        let mut text = String::new();
        for (at, column) in self.columns.iter().enumerate() {
            let separator = if at == 0 { "" } else { ", " };
            write!(text, "{separator}{}", ArrayFormatter::try_new(column, &options)?.value(row)).map_err(|_| Error::internal("a value has a text"))?;
        }
        Ok(text)
    }

    /// The rows under a schema in which every column may be NULL: generated columns are, before they are computed.
    fn loose_batch(&self, schema: &SchemaRef) -> Result<RecordBatch> {
        self.batch(&loose(schema))
    }

    fn batch(&self, schema: &SchemaRef) -> Result<RecordBatch> {
        // A deletion has only its key, whatever is declared.
        let schema = if self.deletions.is_some() { loose(schema) } else { schema.clone() };
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        Ok(RecordBatch::try_new_with_options(schema, self.columns.clone(), &options)?)
    }
}

fn loose(schema: &SchemaRef) -> SchemaRef {
    if schema.fields().iter().all(|f| f.is_nullable()) {
        return schema.clone();
    }
    let fields: Vec<Field> = schema.fields().iter().map(|f| f.as_ref().clone().with_nullable(true)).collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

fn row_errors(errors: Vec<RowError>, what: &str) -> Vec<(usize, String)> {
    errors.into_iter().map(|e| (e.row, format!("{what}: {}", e.error))).collect()
}

/// µs of a timestamp (or date) column; NULL is `WATERMARK_NONE`.
fn micros_of(column: &ArrayRef) -> Result<Vec<i64>> {
    let micros = match column.data_type() {
        DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, _) => column.clone(),
        other => arrow::compute::cast(column, &DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, None))
            .map_err(|e| Error::internal(format!("event time is a timestamp, not {other}")).caused_by(e))?,
    };
    let micros = micros.as_primitive::<TimestampMicrosecondType>();
    if micros.null_count() == 0 {
        return Ok(micros.values().to_vec());
    }
    Ok(micros.iter().map(|v| v.unwrap_or(WATERMARK_NONE)).collect())
}

fn stamp(micros: i64) -> String {
    chrono::DateTime::from_timestamp_micros(micros).map_or_else(|| format!("{micros} µs"), |t| t.format("%Y-%m-%d %H:%M:%S%.f").to_string())
}

fn span(micros: i64) -> String {
    humantime::format_duration(super::options::micros(micros)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::time::ManualClock;
    use arrow::array::{Int64Array, TimestampMicrosecondArray};
    use arrow::datatypes::TimeUnit;

    /// `a / b` of two bigint columns: fails on zero, as SQL's does.
    #[derive(Debug)]
    struct Quotient(DataType);
    impl crate::types::expr::Expr for Quotient {
        fn eval(&self, batch: &RecordBatch) -> Result<ArrayRef> {
            Ok(arrow::compute::kernels::numeric::div(batch.column(0), batch.column(1))?)
        }
        fn data_type(&self) -> &DataType {
            &self.0
        }
        fn sql(&self) -> String {
            "a / b".to_string()
        }
        fn columns(&self) -> Vec<usize> {
            vec![0, 1]
        }
    }

    #[derive(Debug)]
    struct Column(usize, DataType);
    impl crate::types::expr::Expr for Column {
        fn eval(&self, batch: &RecordBatch) -> Result<ArrayRef> {
            Ok(batch.column(self.0).clone())
        }
        fn data_type(&self) -> &DataType {
            &self.1
        }
        fn sql(&self) -> String {
            "c".to_string()
        }
        fn columns(&self) -> Vec<usize> {
            vec![self.0]
        }
    }

    fn preparation() -> Preparation {
        let time = DataType::Timestamp(TimeUnit::Microsecond, None);
        let field = |n: &str, t: &DataType| Field::new(n, t.clone(), true);
        let full = Schema::new(vec![field("a", &DataType::Int64), field("b", &DataType::Int64), field("q", &DataType::Int64), field("ts", &time)]);
        Preparation {
            full_schema: Arc::new(full),
            generated: vec![(2, Arc::new(Quotient(DataType::Int64)))],
            not_null: vec![0],
            primary_key: vec![],
            watermark: Some(Arc::new(Column(3, time))),
            event_time: Some(3),
            max_future_skew: Some(300_000_000),
            clock: Arc::new(ManualClock::at(0)),
            replay: BTreeMap::new(),
        }
    }

    /// Rows: fine, division by zero, NULL in a NOT NULL column, an hour ahead of the clock.
    fn batch() -> Batch {
        let time = DataType::Timestamp(TimeUnit::Microsecond, None);
        let schema = Schema::new(vec![Field::new("a", DataType::Int64, true), Field::new("b", DataType::Int64, true), Field::new("ts", time, true)]);
        let a: ArrayRef = Arc::new(Int64Array::from(vec![Some(6), Some(1), None, Some(8)]));
        let b: ArrayRef = Arc::new(Int64Array::from(vec![3, 0, 1, 2]));
        let ts: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![5, 6, 7, 3_600_000_000]));
        let rows = RecordBatch::try_new(Arc::new(schema), vec![a, b, ts]).unwrap();
        Batch { from: 10, to: 14, rows, positions: vec![10, 11, 12, 13], deletions: None, dead: vec![], raw: None, bytes: 0, lag: None }
    }

    #[test]
    fn each_bad_row_becomes_a_dead_letter_and_the_others_go_on() {
        let ready = preparation().prepare(0, batch()).unwrap();
        assert_eq!((ready.positions, ready.watermark_times, ready.skewed), (vec![10], Some(vec![5]), vec![13]));
        assert_eq!(ready.rows.column(2).as_primitive::<arrow::datatypes::Int64Type>().values(), &[2]);
        let errors: Vec<&str> = ready.dead.iter().map(|d| d.error.as_str()).collect();
        assert_eq!(
            errors,
            [
                "generated column: division by zero",
                "null value in column \"a\" violates not-null constraint",
                "column \"ts\": event time 1970-01-01 01:00:00 is more than 5m ahead of the clock",
            ]
        );
        assert_eq!(String::from_utf8_lossy(&ready.dead[2].raw), "8, 2, 4, 1970-01-01T01:00:00");
    }

    #[test]
    fn a_replayed_verdict_stands_whatever_the_clock_says() {
        let mut preparation = preparation();
        preparation.replay.insert(0, Replay { until: 14, skewed: [10].into() });
        let ready = preparation.prepare(0, batch()).unwrap();
        assert_eq!((ready.positions, ready.skewed), (vec![13], vec![10]));
    }
}
