//! Sessions as docs/sql.md defines them, put together anew after every epoch from all rows that may still join: the judge's own, which knows nothing of the operator.

use super::world::{Cut, E};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, TimestampMicrosecondArray, UInt32Array};
use arrow::datatypes::{Field, Int64Type, Schema, SchemaRef, TimestampMicrosecondType};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Of `e`, by auction and ts; 3 seconds.
const GAP: i64 = 3_000_000;
const KEY: usize = 0;
const TIME: usize = 3;

/// Rows of `e`, one in each batch.
#[derive(Default)]
pub struct Sessions {
    open: Vec<RecordBatch>,
    /// With the bounds that they have for ever.
    settled: Vec<(RecordBatch, Option<(i64, i64)>)>,
    pub late: Vec<RecordBatch>,
}

fn key(row: &RecordBatch) -> Option<i64> {
    let column = row.column(KEY).as_primitive::<Int64Type>();
    column.is_valid(0).then(|| column.value(0))
}

fn time(row: &RecordBatch) -> Option<i64> {
    let column = row.column(TIME).as_primitive::<TimestampMicrosecondType>();
    column.is_valid(0).then(|| column.value(0))
}

impl Sessions {
    pub fn take(&mut self, cut: &Cut) {
        let was = self.open.len();
        for delta in cut.deltas.get(&E).into_iter().flatten() {
            let row = |i: usize| arrow::compute::take_record_batch(delta.batch(), &UInt32Array::from(vec![i as u32])).unwrap();
            let (timed, timeless): (Vec<_>, Vec<_>) = (0..delta.rows()).map(row).partition(|row| time(row).is_some());
            self.open.extend(timed);
            self.settled.extend(timeless.into_iter().map(|row| (row, None)));
        }
        let (before, after) = (cut.before.of(&[E]), cut.after.of(&[E]));
        let mut kept = Vec::new();
        for (session, bounds) in self.sessions() {
            if bounds.1 <= before && session.iter().all(|i| *i >= was) {
                self.late.extend(session.into_iter().map(|i| self.open[i].clone()));
            } else if bounds.1 <= after {
                self.settled.extend(session.into_iter().map(|i| (self.open[i].clone(), Some(bounds))));
            } else {
                kept.extend(session);
            }
        }
        self.open = kept.into_iter().map(|i| self.open[i].clone()).collect();
    }

    /// Ordinals of open rows that belong together.
    fn sessions(&self) -> Vec<(Vec<usize>, (i64, i64))> {
        let mut keys: BTreeMap<Option<i64>, Vec<(i64, usize)>> = BTreeMap::new();
        for (i, row) in self.open.iter().enumerate() {
            keys.entry(key(row)).or_default().extend(time(row).map(|t| (t, i)));
        }
        let mut sessions = Vec::new();
        for mut rows in keys.into_values() {
            rows.sort_unstable();
            for session in rows.chunk_by(|a, b| b.0 - a.0 < GAP) {
                sessions.push((session.iter().map(|(_, i)| *i).collect(), (session[0].0, session[session.len() - 1].0 + GAP)));
            }
        }
        sessions
    }

    /// All rows in time with their bounds, one in each batch.
    pub fn rows(&self, schema: &SchemaRef) -> Vec<RecordBatch> {
        let open = self.sessions().into_iter().flat_map(|(session, bounds)| session.into_iter().map(move |i| (i, bounds)));
        let open = open.map(|(i, bounds)| (&self.open[i], Some(bounds)));
        let all = self.settled.iter().map(|(row, bounds)| (row, *bounds)).chain(open);
        let with_bounds = |(row, bounds): (&RecordBatch, Option<(i64, i64)>)| {
            let bound = |at: Option<i64>| Arc::new(TimestampMicrosecondArray::from(vec![at])) as ArrayRef;
            let mut columns = row.columns().to_vec();
            columns.extend([bound(bounds.map(|b| b.0)), bound(bounds.map(|b| b.1))]);
            RecordBatch::try_new(schema.clone(), columns).unwrap()
        };
        all.map(with_bounds).collect()
    }
}

/// The columns of `e` and the bounds.
pub fn schema(e: &SchemaRef) -> SchemaRef {
    let time = e.field(TIME).data_type();
    let bounds = ["ws", "we"].map(|name| Arc::new(Field::new(name, time.clone(), true)));
    Arc::new(Schema::new(e.fields().iter().cloned().chain(bounds).collect::<Vec<_>>()))
}
