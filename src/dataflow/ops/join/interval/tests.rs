//! Interval joins of every kind against nested loops over the rows that were in time, and what is left of them in the store.

use super::{Expiry, IntervalJoin};
use crate::dataflow::harness::{Bag, EpochInput, Row, SOURCE, Trial, Value, add, random_epochs, schema, timestamp, to_delta};
use crate::dataflow::ops::join::tests::{KINDS, entries, reference};
use crate::dataflow::ops::join::{Join, JoinKind};
use crate::dataflow::ops::windowed::{WindowBound, WindowColumn};
use crate::error::Result;
use crate::types::expr::{Expr, ExprRef};
use crate::types::ids::TableId;
use crate::types::time::{WATERMARK_END, WATERMARK_NONE};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimestampMicrosecondType};
use rand::rngs::StdRng;
use std::sync::Arc;

const SECOND: i64 = 1_000_000;

/// `least <= right t - left t <= most`, over (k, t, v, k, t, u).
#[derive(Clone, Copy, Debug)]
struct Within {
    least: Option<i64>,
    most: Option<i64>,
}

impl Within {
    fn holds(&self, left: i64, right: i64) -> bool {
        self.least.is_none_or(|least| right - left >= least) && self.most.is_none_or(|most| right - left <= most)
    }
}

impl Expr for Within {
    fn eval(&self, batch: &RecordBatch) -> Result<ArrayRef> {
        let (l, r) = (batch.column(1).as_primitive::<TimestampMicrosecondType>(), batch.column(4).as_primitive::<TimestampMicrosecondType>());
        let holds = |i: usize| (l.is_valid(i) && r.is_valid(i)).then(|| self.holds(l.value(i), r.value(i)));
        Ok(Arc::new((0..batch.num_rows()).map(holds).collect::<BooleanArray>()))
    }

    fn data_type(&self) -> &DataType {
        &DataType::Boolean
    }

    fn sql(&self) -> String {
        format!("{self:?}")
    }

    fn columns(&self) -> Vec<usize> {
        vec![1, 4]
    }
}

struct Shape {
    kind: JoinKind,
    keyed: bool,
    within: Within,
    /// Whether the left, the right time carries a watermark.
    times: [bool; 2],
}

fn sides() -> [SchemaRef; 2] {
    let left = schema(&[("k", DataType::Int32), ("t", timestamp()), ("v", DataType::Int64)]);
    let right = schema(&[("k", DataType::Int32), ("t", timestamp()), ("u", DataType::Utf8)]);
    [left, right]
}

fn spec(shape: &Shape) -> IntervalJoin {
    let [left, right] = sides();
    let fields = match shape.kind {
        JoinKind::LeftSemi | JoinKind::LeftAnti => left.fields().to_vec(),
        JoinKind::RightSemi | JoinKind::RightAnti => right.fields().to_vec(),
        JoinKind::LeftMark => left.fields().iter().cloned().chain([Arc::new(Field::new("mark", DataType::Boolean, true))]).collect(),
        _ => left.fields().iter().chain(right.fields()).cloned().collect(),
    };
    let keys = if shape.keyed { vec![0] } else { Vec::new() };
    let residual: ExprRef = Arc::new(shape.within);
    let join = Join::shaped(shape.kind, (left, right), (keys.clone(), keys), false, Some(residual), None, None, Arc::new(Schema::new(fields))).unwrap();
    let expiry = |offset: Option<i64>, carries: bool| {
        let bound = WindowBound { column: WindowColumn::End, sources: vec![SOURCE] };
        offset.filter(|_| carries).map(|offset| Expiry { column: 1, offset, other: 1, bound })
    };
    let mut next = 0;
    let mut allocate = || {
        next += 1;
        TableId(next)
    };
    IntervalJoin::new(join, [expiry(shape.within.most, shape.times[1]), expiry(shape.within.least.map(|l| -l), shape.times[0])], &mut allocate)
}

fn time(row: &Row) -> Option<i64> {
    if let Value::Int(t) = row[1] { Some(t as i64) } else { None }
}

/// Rows of a port that were not behind the watermark when they came; all of them, if that drops nothing of the other side.
fn in_time(epochs: &[EpochInput], port: usize, drops: bool) -> Bag {
    let (mut bag, mut before) = (Bag::new(), WATERMARK_NONE);
    for epoch in epochs {
        for (row, weight) in &epoch.ports[port] {
            if !drops || time(row).is_none_or(|t| t > before) {
                add(&mut bag, row.clone(), *weight);
            }
        }
        before = epoch.watermark;
    }
    bag
}

/// Seconds about the epoch's number, some of them late, with a watermark that follows.
fn epochs(random: &mut StdRng) -> Vec<EpochInput> {
    let [left, right] = sides();
    let mut epochs = random_epochs(random, &[(left, true), (right, true)], 12);
    let last = epochs.len() - 1;
    for (i, epoch) in epochs.iter_mut().enumerate() {
        for (row, _) in epoch.ports.iter_mut().flatten() {
            if let Value::Int(t) = &mut row[1] {
                *t *= i128::from(SECOND);
            }
            if let Value::Int(k) = &mut row[0] {
                *k /= 4;
            }
        }
        epoch.watermark = if i == 0 { WATERMARK_NONE } else { (i as i64 - 4) * SECOND };
    }
    epochs[last].watermark = WATERMARK_END;
    epochs
}

fn check(shape: &Shape) {
    let join = spec(shape);
    let drops = [join.expiry[1].is_some(), join.expiry[0].is_some()];
    let [left, right] = sides();
    let trial = Trial { spec: Arc::new(join), inputs: vec![(left, true), (right, true)], forgets: false };
    let matches = |l: &Row, r: &Row| {
        let keys = !shape.keyed || (l[0] == r[0] && l[0] != Value::Null);
        keys && matches!((time(l), time(r)), (Some(l), Some(r)) if shape.within.holds(l, r))
    };
    trial.check(&epochs, &|epochs| reference(shape.kind, (3, 3), &matches, &in_time(epochs, 0, drops[0]), &in_time(epochs, 1, drops[1])));
}

#[test]
fn of_every_kind() {
    for kind in KINDS {
        check(&Shape { kind, keyed: true, within: Within { least: Some(0), most: Some(4 * SECOND) }, times: [true, true] });
    }
}

#[test]
fn without_equal_keys() {
    for kind in [JoinKind::Inner, JoinKind::Full, JoinKind::LeftAnti] {
        check(&Shape { kind, keyed: false, within: Within { least: Some(-SECOND), most: Some(SECOND) }, times: [true, true] });
    }
}

#[test]
fn with_one_watermark_or_an_open_interval() {
    for kind in [JoinKind::Inner, JoinKind::Left, JoinKind::Right, JoinKind::RightSemi] {
        check(&Shape { kind, keyed: true, within: Within { least: Some(-2 * SECOND), most: Some(0) }, times: [true, false] });
        check(&Shape { kind, keyed: true, within: Within { least: Some(0), most: None }, times: [true, true] });
        check(&Shape { kind, keyed: true, within: Within { least: None, most: Some(3 * SECOND) }, times: [true, true] });
    }
}

#[test]
fn at_one_instant_or_never() {
    for (least, most) in [(0, 0), (SECOND, -SECOND)] {
        check(&Shape { kind: JoinKind::Full, keyed: true, within: Within { least: Some(least), most: Some(most) }, times: [true, true] });
    }
}

/// Row texts, where the harness's values would be long.
fn row(k: i128, seconds: i128, last: Value) -> (Row, i64) {
    (vec![Value::Int(k), Value::Int(seconds * i128::from(SECOND)), last], 1)
}

#[test]
fn a_padded_row_is_corrected_until_the_watermark_and_stays_behind_it() {
    let join = spec(&Shape { kind: JoinKind::Left, keyed: true, within: Within { least: Some(0), most: Some(10 * SECOND) }, times: [true, true] });
    let [left, right] = sides();
    let trial = Trial { spec: Arc::new(join), inputs: vec![(left, true), (right, true)], forgets: false };
    let right = |k, seconds| row(k, seconds, Value::Text("b".to_string()));
    let epoch = |l: Vec<(Row, i64)>, r: Vec<(Row, i64)>, watermark: i64| EpochInput { ports: vec![l, r], watermark: watermark * SECOND };
    let steps = [
        // Two rows without partner.
        epoch(vec![row(1, 100, Value::Int(7)), row(2, 100, Value::Int(8))], vec![], 90),
        // The first partner of row 1, ten seconds after it; another, which corrects nothing any more.
        epoch(vec![], vec![right(1, 110), right(1, 101)], 109),
        // The watermark passes what row 2 waited for; its row stays.
        epoch(vec![], vec![], 110),
        // Late: at the watermark. Not joined, and told.
        epoch(vec![row(3, 110, Value::Int(9))], vec![right(2, 110)], 110),
    ];
    let text = |bag: &Bag| {
        let show = |v: &Value| match v {
            Value::Null => "-".to_string(),
            Value::Int(i) if i.abs() >= i128::from(SECOND) => format!("{}s", i / i128::from(SECOND)),
            Value::Int(i) => i.to_string(),
            Value::Text(t) => t.clone(),
            other => format!("{other:?}"),
        };
        bag.iter().map(|(row, w)| format!("{w:+} | {}", row.iter().map(show).collect::<Vec<_>>().join(" | "))).collect::<Vec<_>>()
    };
    let found = trial.outputs(&steps).into_iter().map(|(rows, late)| (text(&rows), text(&late))).collect::<Vec<_>>();
    let lines = |list: &[&str]| list.iter().map(|l| l.to_string()).collect::<Vec<_>>();
    assert_eq!(
        found,
        [
            (lines(&["+1 | 1 | 100s | 7 | - | - | -", "+1 | 2 | 100s | 8 | - | - | -"]), lines(&[])),
            (lines(&["-1 | 1 | 100s | 7 | - | - | -", "+1 | 1 | 100s | 7 | 1 | 101s | b", "+1 | 1 | 100s | 7 | 1 | 110s | b"]), lines(&[])),
            (lines(&[]), lines(&[])),
            (lines(&[]), lines(&["+1 | 2 | 110s | b", "+1 | 3 | 110s | 9"])),
        ]
    );
}

/// Entries in the store after each of many epochs with as many rows.
fn kept(shape: &Shape) -> Vec<usize> {
    let [left, right] = sides();
    entries(&spec(shape), &|n| {
        let rows = |last: fn(i128) -> Value| (0..5).map(|k| row(k, i128::from(n) + k % 2, last(i128::from(n)))).collect::<Vec<_>>();
        [to_delta(&left, &rows(Value::Int)), to_delta(&right, &rows(|n| Value::Text(n.to_string())))]
    })
}

#[test]
fn state_ends_with_the_watermark() {
    let within = Within { least: Some(0), most: Some(10 * SECOND) };
    let bounded = kept(&Shape { kind: JoinKind::Full, keyed: true, within, times: [true, true] });
    let (early, late) = (bounded[40], bounded[119]);
    assert!(late <= early + 60, "entries grow: {early} after 40 epochs, {late} after 120");
    // What the test would see if nothing were dropped.
    let unbounded = kept(&Shape { kind: JoinKind::Full, keyed: true, within, times: [true, false] });
    assert!(unbounded[119] > unbounded[40] + 300, "the left side has no expiry: {} and {}", unbounded[40], unbounded[119]);
}
