//! Rows that come and leave with the clock, against a look at all rows at each epoch's clock.

use super::{Moment, TemporalFilter};
use crate::dataflow::harness::{Bag, EpochInput, Row, Trial, Value, add, random_epochs, schema, timestamp, total};
use crate::error::Result;
use crate::types::expr::{Expr, ExprRef};
use crate::types::ids::TableId;
use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use rand::RngExt;
use rand::rngs::StdRng;
use std::sync::Arc;

const SECOND: i64 = 1_000_000;
const TIMESTAMP: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

#[derive(Debug)]
struct Column(usize);

impl Expr for Column {
    fn eval(&self, batch: &RecordBatch) -> Result<ArrayRef> {
        Ok(Arc::clone(batch.column(self.0)))
    }

    fn data_type(&self) -> &DataType {
        &TIMESTAMP
    }

    fn sql(&self) -> String {
        format!("#{}", self.0)
    }

    fn columns(&self) -> Vec<usize> {
        vec![self.0]
    }
}

/// What the filters are over: when a row begins and ends, and something else.
fn rows() -> SchemaRef {
    schema(&[("b", timestamp()), ("e", timestamp()), ("v", DataType::Int32)])
}

fn moments(list: &[(usize, i64)]) -> Vec<Moment> {
    list.iter().map(|(column, micros)| Moment { expr: Arc::new(Column(*column)) as ExprRef, micros: *micros }).collect()
}

fn trial(starts: &[(usize, i64)], ends: &[(usize, i64)], append_only: bool) -> Trial {
    let spec = TemporalFilter { starts: moments(starts), ends: moments(ends), schema: rows(), state: TableId(1) };
    Trial { spec: Arc::new(spec), inputs: vec![(rows(), append_only)], forgets: !append_only }
}

fn is_in(row: &Row, starts: &[(usize, i64)], ends: &[(usize, i64)], clock: i64) -> bool {
    let at = |(column, micros): &(usize, i64)| if let Value::Int(t) = row[*column] { Some(t as i64 + micros) } else { None };
    starts.iter().all(|m| at(m).is_some_and(|t| t <= clock)) && ends.iter().all(|m| at(m).is_some_and(|t| clock < t))
}

/// Times within some seconds, in half seconds; the clock goes on by up to three seconds an epoch, or stands.
fn epochs(random: &mut StdRng, append_only: bool) -> Vec<EpochInput> {
    let mut epochs = random_epochs(random, &[(rows(), append_only)], 20);
    let mut clock = 0;
    for epoch in &mut epochs {
        for (row, _) in epoch.ports.iter_mut().flatten() {
            for time in &mut row[..2] {
                if let Value::Int(t) = time {
                    *t *= i128::from(SECOND / 2);
                }
            }
        }
        clock += [0, 1, SECOND / 2, SECOND, 3 * SECOND - 1][random.random_range(0..5)];
        epoch.watermark = clock;
    }
    epochs
}

#[test]
fn rows_are_in_while_the_clock_is_between_their_moments() {
    let shapes: [(&[(usize, i64)], &[(usize, i64)]); 5] = [
        (&[], &[(0, 2 * SECOND)]),
        (&[(0, 0)], &[]),
        (&[(0, 1)], &[(1, 0)]),
        (&[(0, 0), (1, -SECOND)], &[(0, 4 * SECOND), (1, 3 * SECOND)]),
        (&[(1, 0)], &[(0, 0)]),
    ];
    for (starts, ends) in shapes {
        for append_only in [true, false] {
            let trial = trial(starts, ends, append_only);
            trial.check(&|random| epochs(random, append_only), &|epochs| {
                let clock = epochs[epochs.len() - 1].watermark;
                total(epochs, 0).into_iter().filter(|(row, _)| is_in(row, starts, ends, clock)).collect()
            });
        }
    }
}

#[test]
fn a_row_leaves_at_its_moment_and_not_before() {
    let trial = trial(&[], &[(0, 10)], false);
    let row = |b: i128, v: i128| vec![Value::Int(b), Value::Null, Value::Int(v)];
    let epoch = |rows: Vec<(Row, i64)>, clock: i64| EpochInput { ports: vec![rows], watermark: clock };
    let steps = [
        // Two rows that are in, one that is gone already, one without time.
        epoch(vec![(row(100, 1), 1), (row(105, 2), 2), (row(50, 3), 1), (vec![Value::Null, Value::Null, Value::Int(4)], 1)], 100),
        epoch(vec![], 109),
        epoch(vec![], 110),
        // One of two equal rows is taken back; the row that has left is, too, which changes nothing.
        epoch(vec![(row(105, 2), -1), (row(100, 1), -1)], 111),
        epoch(vec![], 2 * SECOND),
    ];
    let bag = |rows: &[(Row, i64)]| {
        let mut bag = Bag::new();
        rows.iter().for_each(|(row, weight)| add(&mut bag, row.clone(), *weight));
        bag
    };
    let found = trial.outputs(&steps).into_iter().map(|(rows, _)| rows).collect::<Vec<_>>();
    let expected = [bag(&[(row(100, 1), 1), (row(105, 2), 2)]), bag(&[]), bag(&[(row(100, 1), -1)]), bag(&[(row(105, 2), -1)]), bag(&[(row(105, 2), -1)])];
    assert_eq!(found, expected);
}
