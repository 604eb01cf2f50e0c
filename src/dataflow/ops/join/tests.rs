//! Joins of every kind against nested loops over all rows so far.

use super::{Join, JoinKind, JoinWindow};
use crate::dataflow::harness::{Bag, EpochInput, Row, SOURCE, Trial, Value, add, random_epochs, schema, timestamp, to_delta, total};
use crate::dataflow::operator::{BuildContext, Output, Spec};
use crate::dataflow::ops::windowed::{WindowBound, WindowColumn};
use crate::error::Result;
use crate::state::checkpoint::{Generation, HandOver};
use crate::state::committed::Committed;
use crate::state::memory::MemoryStore;
use crate::state::store::Durability;
use crate::types::delta::Delta;
use crate::types::expr::{Expr, ExprRef};
use crate::types::ids::TableId;
use crate::types::time::{Epoch, Step, WATERMARK_END, WATERMARK_NONE, Watermarks};
use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use arrow::compute::kernels::cmp::lt;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use std::sync::Arc;

pub(super) const KINDS: [JoinKind; 9] = [
    JoinKind::Inner,
    JoinKind::Left,
    JoinKind::Right,
    JoinKind::Full,
    JoinKind::LeftSemi,
    JoinKind::LeftAnti,
    JoinKind::LeftMark,
    JoinKind::RightSemi,
    JoinKind::RightAnti,
];

/// Left `v` < right `v`, over (k, v, k, v, t).
#[derive(Debug)]
struct Less;

impl Expr for Less {
    fn eval(&self, batch: &RecordBatch) -> Result<ArrayRef> {
        let less: BooleanArray = lt(batch.column(1), batch.column(3))?;
        Ok(Arc::new(less))
    }

    fn data_type(&self) -> &DataType {
        &DataType::Boolean
    }

    fn sql(&self) -> String {
        "l.v < r.v".to_string()
    }

    fn columns(&self) -> Vec<usize> {
        vec![1, 3]
    }
}

fn sides(key: &DataType) -> [SchemaRef; 2] {
    let left = schema(&[("k", key.clone()), ("v", DataType::Int64)]);
    let right = schema(&[("k", key.clone()), ("v", DataType::Int64), ("t", DataType::Utf8)]);
    [left, right]
}

struct Shape {
    kind: JoinKind,
    keyed: bool,
    nulls_match: bool,
    residual: bool,
    append_only: [bool; 2],
}

fn trial(shape: &Shape) -> Trial {
    let [left, right] = sides(&DataType::Int32);
    let both = left.fields().iter().chain(right.fields()).cloned().collect::<Vec<_>>();
    let fields = match shape.kind {
        JoinKind::LeftSemi | JoinKind::LeftAnti => left.fields().to_vec(),
        JoinKind::RightSemi | JoinKind::RightAnti => right.fields().to_vec(),
        JoinKind::LeftMark => left.fields().iter().cloned().chain([Arc::new(Field::new("mark", DataType::Boolean, true))]).collect(),
        _ => both,
    };
    let keys = if shape.keyed { vec![0] } else { Vec::new() };
    let residual: Option<ExprRef> = shape.residual.then(|| Arc::new(Less) as ExprRef);
    let mut next = 0;
    let mut allocate = || {
        next += 1;
        TableId(next)
    };
    let output = Arc::new(Schema::new(fields));
    let join = Join::new(shape.kind, (left.clone(), right.clone()), (keys.clone(), keys), shape.nulls_match, residual, None, None, output, &mut allocate);
    let inputs = vec![(left, shape.append_only[0]), (right, shape.append_only[1])];
    Trial { spec: Arc::new(join.unwrap()), inputs, forgets: shape.append_only == [false, false] }
}

fn matches(shape: &Shape, left: &Row, right: &Row) -> bool {
    let keys = !shape.keyed || (left[0] == right[0] && (shape.nulls_match || left[0] != Value::Null));
    let residual = !shape.residual || (left[1] != Value::Null && right[1] != Value::Null && left[1] < right[1]);
    keys && residual
}

fn expected(shape: &Shape, left: &Bag, right: &Bag) -> Bag {
    reference(shape.kind, (2, 3), &|l, r| matches(shape, l, r), left, right)
}

/// Nested loops. `widths`: columns of both sides.
pub(super) fn reference(kind: JoinKind, widths: (usize, usize), matches: &dyn Fn(&Row, &Row) -> bool, left: &Bag, right: &Bag) -> Bag {
    let mut out = Bag::new();
    let joined = |l: &[Value], r: &[Value]| [l, r].concat();
    for (l, lw) in left {
        let partners: Vec<_> = right.iter().filter(|(r, _)| matches(l, r)).collect();
        let is = !partners.is_empty();
        match kind {
            JoinKind::LeftSemi if is => add(&mut out, l.clone(), *lw),
            JoinKind::LeftAnti if !is => add(&mut out, l.clone(), *lw),
            JoinKind::LeftMark => add(&mut out, joined(l, &[Value::Bool(is)]), *lw),
            JoinKind::Inner | JoinKind::Left | JoinKind::Right | JoinKind::Full => {
                partners.iter().for_each(|(r, rw)| add(&mut out, joined(l, r), lw * *rw));
                if !is && matches!(kind, JoinKind::Left | JoinKind::Full) {
                    add(&mut out, joined(l, &vec![Value::Null; widths.1]), *lw);
                }
            }
            _ => {}
        }
    }
    for (r, rw) in right {
        let is = left.keys().any(|l| matches(l, r));
        match kind {
            JoinKind::Right | JoinKind::Full if !is => add(&mut out, joined(&vec![Value::Null; widths.0], r), *rw),
            JoinKind::RightSemi if is => add(&mut out, r.clone(), *rw),
            JoinKind::RightAnti if !is => add(&mut out, r.clone(), *rw),
            _ => {}
        }
    }
    out
}

fn check(shape: Shape) {
    let trial = trial(&shape);
    trial.check(&|random| random_epochs(random, &trial.inputs, 5), &|epochs| expected(&shape, &total(epochs, 0), &total(epochs, 1)));
}

#[test]
fn on_equal_keys() {
    for kind in KINDS {
        check(Shape { kind, keyed: true, nulls_match: false, residual: false, append_only: [false, false] });
    }
}

#[test]
fn with_a_residual() {
    for kind in KINDS {
        check(Shape { kind, keyed: true, nulls_match: false, residual: true, append_only: [false, false] });
    }
}

#[test]
fn where_nulls_match() {
    for kind in KINDS {
        check(Shape { kind, keyed: true, nulls_match: true, residual: false, append_only: [false, false] });
    }
}

#[test]
fn without_keys() {
    for kind in [JoinKind::Inner, JoinKind::Left, JoinKind::LeftAnti, JoinKind::Full] {
        check(Shape { kind, keyed: false, nulls_match: false, residual: true, append_only: [false, false] });
        check(Shape { kind, keyed: false, nulls_match: false, residual: false, append_only: [false, false] });
    }
}

#[test]
fn over_append_only_inputs() {
    for kind in [JoinKind::Inner, JoinKind::Left, JoinKind::LeftSemi] {
        check(Shape { kind, keyed: true, nulls_match: false, residual: false, append_only: [true, true] });
        check(Shape { kind, keyed: true, nulls_match: false, residual: true, append_only: [true, false] });
    }
}

fn windowed(kind: JoinKind) -> Trial {
    let [left, right] = sides(&timestamp());
    let output = schema(&[("k", timestamp()), ("v", DataType::Int64), ("k", timestamp()), ("v", DataType::Int64), ("t", DataType::Utf8)]);
    let window = JoinWindow { position: 0, bound: WindowBound { column: WindowColumn::Start { size_micros: 2 }, sources: vec![SOURCE] } };
    let mut next = 0;
    let mut allocate = || {
        next += 1;
        TableId(next)
    };
    let join = Join::new(kind, (left.clone(), right.clone()), (vec![0], vec![0]), false, None, Some(window), None, output, &mut allocate);
    Trial { spec: Arc::new(join.unwrap()), inputs: vec![(left, true), (right, true)], forgets: false }
}

/// Rows of a port that were not late when they came.
fn in_time(epochs: &[EpochInput], port: usize) -> Bag {
    let (mut bag, mut before) = (Bag::new(), WATERMARK_NONE);
    for epoch in epochs {
        for (row, weight) in &epoch.ports[port] {
            if before == WATERMARK_NONE || !matches!(row[0], Value::Int(w) if w + 2 <= i128::from(before)) {
                add(&mut bag, row.clone(), *weight);
            }
        }
        before = epoch.watermark;
    }
    bag
}

#[test]
fn closed_windows_are_forgotten() {
    for kind in [JoinKind::Inner, JoinKind::Left, JoinKind::Full] {
        let shape = Shape { kind, keyed: true, nulls_match: false, residual: false, append_only: [true, true] };
        let trial = windowed(kind);
        let epochs = |random: &mut rand::rngs::StdRng| {
            let mut epochs = random_epochs(random, &trial.inputs, 12);
            let last = epochs.len() - 1;
            epochs.iter_mut().enumerate().for_each(|(i, e)| e.watermark = if i == 0 { WATERMARK_NONE } else { i as i64 - 4 });
            epochs[last].watermark = WATERMARK_END;
            epochs
        };
        trial.check(&epochs, &|epochs| expected(&shape, &in_time(epochs, 0), &in_time(epochs, 1)));
    }
}

#[test]
fn large_groups_come_out_in_parts() {
    let shape = Shape { kind: JoinKind::Left, keyed: true, nulls_match: false, residual: true, append_only: [true, true] };
    let trial = trial(&shape);
    let row = |k: i128, v: i128| vec![Value::Int(k), Value::Int(v)];
    let right = |k: i128, v: i128| vec![Value::Int(k), Value::Int(v), Value::Text("x".to_string())];
    let stored = (0..20_000).map(|i| (right(1 + i % 2, i), 1)).collect::<Vec<_>>();
    let probing = vec![(row(1, 5_000), 1), (row(2, 19_990), 1), (row(3, 0), 1), (row(1, -1), 2)];
    let epochs =
        [EpochInput { ports: vec![Vec::new(), stored], watermark: WATERMARK_NONE }, EpochInput { ports: vec![probing, Vec::new()], watermark: WATERMARK_NONE }];
    let mut sum = Bag::new();
    trial.outputs(&epochs).into_iter().for_each(|(out, _)| out.into_iter().for_each(|(row, weight)| add(&mut sum, row, weight)));
    assert_eq!(sum, expected(&shape, &total(&epochs, 0), &total(&epochs, 1)));
}

/// Entries in the store after each of 120 epochs; the watermark is a second further each time, and state is read back now and then.
pub(super) fn entries(spec: &dyn Spec, inputs: &dyn Fn(i64) -> [Delta; 2]) -> Vec<usize> {
    let memory = MemoryStore::new();
    let store = Committed::new(Arc::new(memory.clone()), Generation(0));
    let build = |fresh| spec.build(&BuildContext { store: store.clone(), worker: 0, workers: 1, cache_entries: Some(4), fresh, checks: false }).unwrap();
    let mut operator = build(true);
    let at = |seconds: i64| Watermarks([(SOURCE, seconds * 1_000_000)].into());
    let epoch = |n: i64| {
        let step = Step { epoch: Epoch(n as u64), clock: 0, before: at(n - 1), after: at(n) };
        operator.apply(&step, &mut inputs(n).map(|delta| vec![delta]), &mut Output::default()).unwrap();
        let generation = Generation(n as u32);
        operator.state(&mut |kept| kept.checkpoint(generation));
        let mut ops = HandOver::whole(|whole| operator.state(&mut |kept| kept.hand_over(whole)));
        ops.sort();
        store.commit(generation, ops, Durability::Synced).unwrap();
        operator.state(&mut |kept| kept.committed(generation));
        if n % 50 == 0 {
            operator = build(false);
        }
        memory.entries(&[])
    };
    (1..=120).map(epoch).collect()
}

#[test]
fn joins_on_equal_windows_drop_both_sides_when_they_close() {
    let trial = windowed(JoinKind::Full);
    let [left, right] = sides(&timestamp());
    let counts = entries(&*trial.spec, &|n| {
        let rows = |last: &[Value]| (0..5).map(|v| ([&[Value::Int(i128::from(n) * 1_000_000), Value::Int(v)], last].concat(), 1)).collect::<Vec<_>>();
        [to_delta(&left, &rows(&[])), to_delta(&right, &rows(&[Value::Text("x".to_string())]))]
    });
    assert!(counts[119] <= counts[40], "entries grow: {} after 40 epochs, {} after 120", counts[40], counts[119]);
}
