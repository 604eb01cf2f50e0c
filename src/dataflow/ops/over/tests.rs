//! Window functions against their definition: for each row all rows of its partition are asked whether they are in its frame.

use super::call::{WindowCall, WindowFunction};
use super::frame::{Bound, Distance, Frame, Units};
use super::{Over, Running};
use crate::dataflow::agg::function::{AggregateCall, Function};
use crate::dataflow::harness::{Bag, EpochInput, Row, Trial, Value, add, random_epochs, reads_after, schema, to_delta, total};
use crate::dataflow::operator::{BuildContext, Output};
use crate::state::checkpoint::Generation;
use crate::state::committed::Committed;
use crate::state::memory::MemoryStore;
use crate::types::ids::TableId;
use crate::types::key::Order;
use crate::types::time::WATERMARK_NONE;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use std::collections::BTreeMap;
use std::sync::Arc;

const UP: Order = Order { descending: false, nulls_first: false };
const DOWN: Order = Order { descending: true, nulls_first: true };
const UP_FROM_NULLS: Order = Order { descending: false, nulls_first: true };

/// t, p (partition), b, a (order), ok
fn input() -> SchemaRef {
    schema(&[("t", DataType::Utf8), ("p", DataType::Int32), ("b", DataType::Int32), ("a", DataType::Int64), ("ok", DataType::Boolean)])
}

struct Shape {
    partitioned: bool,
    order: Option<Order>,
    calls: Vec<WindowCall>,
}

fn call(function: WindowFunction, frame: Frame, output: DataType) -> WindowCall {
    WindowCall { function, frame, ignore_nulls: false, output }
}

fn aggregate(function: Function, args: Vec<usize>, filter: Option<usize>, frame: Frame, output: DataType) -> WindowCall {
    let call_of = AggregateCall { function, args, distinct: false, filter, order_by: Vec::new(), output: output.clone() };
    call(WindowFunction::Aggregate(call_of), frame, output)
}

fn ranks() -> Vec<WindowCall> {
    use WindowFunction as F;
    let integers = [F::RowNumber, F::Rank, F::DenseRank, F::Ntile(3)].map(|f| call(f, Frame::ALL, DataType::Int64));
    let doubles = [F::PercentRank, F::CumeDist].map(|f| call(f, Frame::ALL, DataType::Float64));
    integers.into_iter().chain(doubles).collect()
}

fn shifts() -> Vec<WindowCall> {
    let shift =
        |back, default, ignore_nulls| WindowCall { ignore_nulls, ..call(WindowFunction::Shift { argument: 2, back, default }, Frame::ALL, DataType::Int32) };
    vec![shift(1, None, false), shift(-2, Some(1), false), shift(0, None, false)]
}

fn over_frame(frame: Frame) -> Vec<WindowCall> {
    let list = DataType::List(Arc::new(Field::new("item", DataType::Int32, true)));
    vec![
        call(WindowFunction::First(2), frame, DataType::Int32),
        call(WindowFunction::Last(0), frame, DataType::Utf8),
        WindowCall { ignore_nulls: true, ..call(WindowFunction::Nth(2, 2), frame, DataType::Int32) },
        aggregate(Function::Count, vec![], None, frame, DataType::Int64),
        aggregate(Function::Sum, vec![2], Some(4), frame, DataType::Int64),
        aggregate(Function::Max, vec![2], None, frame, DataType::Int32),
        aggregate(Function::Min, vec![0], Some(4), frame, DataType::Utf8),
        aggregate(Function::ArrayAgg, vec![2], None, frame, list),
    ]
}

fn spec(shape: &Shape, append_only: bool) -> Over {
    let input = input();
    let results = shape.calls.iter().enumerate().map(|(i, c)| Arc::new(Field::new(format!("r{i}"), c.output.clone(), true)));
    let schema = Arc::new(Schema::new(input.fields().iter().cloned().chain(results).collect::<Vec<_>>()));
    Over {
        input,
        partition: if shape.partitioned { vec![1] } else { Vec::new() },
        order: shape.order.map(|o| (3, o)).into_iter().collect(),
        calls: shape.calls.clone(),
        input_append_only: append_only,
        window: None,
        schema,
        state: TableId(1),
        marks: None,
    }
    .with_marks()
}

impl Over {
    fn with_marks(mut self) -> Over {
        self.marks = self.needs_marks().then_some(TableId(2));
        self
    }
}

fn nulls_last(v: &Value) -> (bool, Value) {
    (*v == Value::Null, v.clone())
}

/// Rows of a partition in order, by columns of `input`.
fn sorted(shape: &Shape, mut rows: Vec<Row>) -> Vec<Row> {
    rows.sort_by(|x, y| {
        let rest = |r: &Row| [0, 1, 2, 3, 4].iter().filter(|c| **c != 3 || shape.order.is_none()).map(|c| nulls_last(&r[*c])).collect::<Vec<_>>();
        let Some(order) = shape.order else { return rest(x).cmp(&rest(y)) };
        let value = match order {
            o if o.descending => nulls_last(&y[3]).cmp(&nulls_last(&x[3])),
            o if o.nulls_first => x[3].cmp(&y[3]),
            _ => nulls_last(&x[3]).cmp(&nulls_last(&y[3])),
        };
        value.then_with(|| rest(x).cmp(&rest(y)))
    });
    rows
}

/// One partition's rows, in order.
struct Partition<'a> {
    order: Option<Order>,
    rows: &'a [Row],
    groups: Vec<i64>,
}

impl Partition<'_> {
    fn value(&self, i: usize) -> Option<i64> {
        match &self.rows[i][3] {
            Value::Int(v) => Some(*v as i64 * if self.order.is_some_and(|o| o.descending) { -1 } else { 1 }),
            _ => None,
        }
    }

    /// Whether row k is not before the frame of row i (`is_start`), or not behind it.
    fn inside(&self, units: Units, bound: Bound, is_start: bool, i: usize, k: usize) -> bool {
        let within = |distance: i64, limit: i64| if is_start { distance >= limit } else { distance <= limit };
        let groups = self.groups[k] - self.groups[i];
        let far = |n: Distance| match n {
            Distance::Count(n) => n as i64,
            Distance::Number(n) => n as i64,
            other => panic!("{other:?}"),
        };
        let limit = match bound {
            Bound::Unbounded => return true,
            Bound::CurrentRow if units == Units::Range => return within(groups, 0),
            Bound::CurrentRow => 0,
            Bound::Preceding(n) => -far(n),
            Bound::Following(n) => far(n),
        };
        match (units, self.value(i), self.value(k)) {
            (Units::Rows, ..) => within(k as i64 - i as i64, limit),
            (Units::Groups, ..) => within(groups, limit),
            (Units::Range, None, _) => within(groups, 0),
            (Units::Range, Some(_), None) => {
                if is_start {
                    k > i
                } else {
                    k < i
                }
            }
            (Units::Range, Some(mine), Some(theirs)) => within(theirs - mine, limit),
        }
    }

    fn frame(&self, frame: Frame, i: usize) -> Vec<usize> {
        let inside = |k: &usize| self.inside(frame.units, frame.start, true, i, *k) && self.inside(frame.units, frame.end, false, i, *k);
        (0..self.rows.len()).filter(inside).collect()
    }

    fn result(&self, call: &WindowCall, i: usize) -> Value {
        let int = |n: usize| Value::Int(n as i128);
        let double = |x: f64| Value::Float(x.to_bits());
        let n = self.rows.len();
        let peers = (0..n).filter(|k| self.groups[*k] == self.groups[i]).collect::<Vec<_>>();
        let nth = |c: usize, n: usize, rows: Vec<usize>| {
            rows.iter().map(|k| &self.rows[*k][c]).filter(|v| !call.ignore_nulls || **v != Value::Null).nth(n).cloned().unwrap_or(Value::Null)
        };
        match &call.function {
            WindowFunction::RowNumber => int(i + 1),
            WindowFunction::Rank => int(peers[0] + 1),
            WindowFunction::DenseRank => int(self.groups[i] as usize + 1),
            WindowFunction::PercentRank => double(if n == 1 { 0.0 } else { peers[0] as f64 / (n - 1) as f64 }),
            WindowFunction::CumeDist => double((peers[0] + peers.len()) as f64 / n as f64),
            WindowFunction::Ntile(parts) => {
                let sizes = (0..*parts as usize).map(|part| n / *parts as usize + usize::from(part < n % *parts as usize));
                int(sizes
                    .scan(0, |end, size| {
                        *end += size;
                        Some(*end)
                    })
                    .take_while(|end| *end <= i)
                    .count()
                    + 1)
            }
            WindowFunction::Shift { argument, back, default } if call.ignore_nulls => {
                let known = |k: &usize| self.rows[*k][*argument] != Value::Null;
                let at = match back {
                    0 => Some(i),
                    back if *back > 0 => (0..i).rev().filter(known).nth(*back as usize - 1),
                    back => (i + 1..n).filter(known).nth(back.unsigned_abs() as usize - 1),
                };
                at.map_or(default.map_or(Value::Null, |d| self.rows[i][d].clone()), |k| self.rows[k][*argument].clone())
            }
            WindowFunction::Shift { argument, back, default } => match usize::try_from(i as i64 - back).ok().filter(|k| *k < n) {
                Some(k) => self.rows[k][*argument].clone(),
                None => default.map_or(Value::Null, |d| self.rows[i][d].clone()),
            },
            WindowFunction::First(c) => nth(*c, 0, self.frame(call.frame, i)),
            WindowFunction::Last(c) => nth(*c, 0, self.frame(call.frame, i).into_iter().rev().collect()),
            WindowFunction::Nth(c, n) => nth(*c, *n as usize - 1, self.frame(call.frame, i)),
            WindowFunction::Aggregate(aggregate) => self.aggregated(aggregate, self.frame(call.frame, i)),
        }
    }

    fn aggregated(&self, call: &AggregateCall, rows: Vec<usize>) -> Value {
        let kept = rows.into_iter().filter(|k| call.filter.is_none_or(|f| self.rows[*k][f] == Value::Bool(true))).collect::<Vec<_>>();
        let all = kept.iter().filter_map(|k| call.args.first().map(|c| self.rows[*k][*c].clone())).collect::<Vec<_>>();
        let values = all.iter().filter(|v| **v != Value::Null).cloned().collect::<Vec<_>>();
        match call.function {
            Function::Count => Value::Int(kept.len() as i128),
            Function::Sum if values.is_empty() => Value::Null,
            Function::Sum => Value::Int(values.iter().map(|v| if let Value::Int(v) = v { *v } else { 0 }).sum()),
            Function::Min => values.into_iter().min().unwrap_or(Value::Null),
            Function::Max => values.into_iter().max().unwrap_or(Value::Null),
            Function::ArrayAgg if all.is_empty() => Value::Null,
            Function::ArrayAgg => Value::List(all),
            other => panic!("no reference for {other:?}"),
        }
    }
}

fn expected(shape: &Shape, bag: &Bag) -> Bag {
    let mut partitions: BTreeMap<Value, Vec<Row>> = BTreeMap::new();
    for (row, weight) in bag {
        let key = if shape.partitioned { row[1].clone() } else { Value::Null };
        partitions.entry(key).or_default().extend(std::iter::repeat_n(row.clone(), *weight as usize));
    }
    let mut out = Bag::new();
    for rows in partitions.into_values() {
        let rows = sorted(shape, rows);
        let mut groups = vec![0];
        for pair in rows.windows(2) {
            let starts = shape.order.is_some() && pair[0][3] != pair[1][3];
            groups.push(groups[groups.len() - 1] + i64::from(starts));
        }
        let partition = Partition { order: shape.order, rows: &rows, groups };
        for (i, row) in rows.iter().enumerate() {
            let results = shape.calls.iter().map(|call| partition.result(call, i));
            add(&mut out, row.iter().cloned().chain(results).collect(), 1);
        }
    }
    out
}

fn check(shape: Shape) {
    let trial = Trial { spec: Arc::new(spec(&shape, false)), inputs: vec![(input(), false)], forgets: true };
    trial.check(&|random| random_epochs(random, &trial.inputs, 4), &|epochs: &[EpochInput]| expected(&shape, &total(epochs, 0)));
}

fn count(n: u64) -> Distance {
    Distance::Count(n)
}

#[test]
fn ranks_and_neighbours() {
    for order in [Some(UP), Some(DOWN), None] {
        check(Shape { partitioned: true, order, calls: ranks() });
        check(Shape { partitioned: true, order, calls: shifts() });
    }
    check(Shape { partitioned: false, order: Some(UP), calls: ranks().into_iter().chain(shifts()).collect() });
    let ignoring = shifts().into_iter().map(|c| WindowCall { ignore_nulls: true, ..c }).collect();
    check(Shape { partitioned: true, order: Some(UP), calls: ignoring });
}

#[test]
fn frames_of_rows() {
    let bounds = [
        (Bound::Preceding(count(2)), Bound::CurrentRow),
        (Bound::Preceding(count(1)), Bound::Following(count(1))),
        (Bound::Preceding(count(3)), Bound::Preceding(count(1))),
        (Bound::Following(count(1)), Bound::Following(count(2))),
        (Bound::Unbounded, Bound::CurrentRow),
        (Bound::CurrentRow, Bound::Unbounded),
        (Bound::Unbounded, Bound::Unbounded),
    ];
    for (start, end) in bounds {
        check(Shape { partitioned: true, order: Some(UP), calls: over_frame(Frame { units: Units::Rows, start, end }) });
    }
    check(Shape { partitioned: true, order: None, calls: over_frame(Frame { units: Units::Rows, start: Bound::Preceding(count(2)), end: Bound::CurrentRow }) });
}

#[test]
fn frames_of_groups() {
    for (start, end) in [
        (Bound::Preceding(count(1)), Bound::CurrentRow),
        (Bound::CurrentRow, Bound::Following(count(2))),
        (Bound::Preceding(count(2)), Bound::Preceding(count(1))),
        (Bound::Unbounded, Bound::Following(count(1))),
    ] {
        check(Shape { partitioned: true, order: Some(DOWN), calls: over_frame(Frame { units: Units::Groups, start, end }) });
    }
}

#[test]
fn frames_of_values() {
    let number = Distance::Number;
    for (start, end) in [
        (Bound::Preceding(number(1)), Bound::CurrentRow),
        (Bound::Preceding(number(1)), Bound::Following(number(1))),
        (Bound::Following(number(1)), Bound::Following(number(2))),
        (Bound::Unbounded, Bound::CurrentRow),
        (Bound::CurrentRow, Bound::Unbounded),
        (Bound::Unbounded, Bound::Preceding(number(1))),
    ] {
        for order in [UP, DOWN, UP_FROM_NULLS] {
            check(Shape { partitioned: true, order: Some(order), calls: over_frame(Frame { units: Units::Range, start, end }) });
        }
    }
}

#[test]
fn functions_that_reach_differently_in_one_operator() {
    let mut calls = shifts();
    calls.extend(over_frame(Frame { units: Units::Rows, start: Bound::Preceding(count(1)), end: Bound::CurrentRow }));
    calls.extend(over_frame(Frame { units: Units::Groups, start: Bound::CurrentRow, end: Bound::Following(count(1)) }));
    calls.extend(over_frame(Frame { units: Units::Range, start: Bound::Preceding(Distance::Number(1)), end: Bound::CurrentRow }));
    check(Shape { partitioned: true, order: Some(UP), calls });
}

/// Functions that go on from a mark, over frames from the partition's start.
fn running(units: Units) -> Vec<WindowCall> {
    use WindowFunction as F;
    let frame = Frame { units, start: Bound::Unbounded, end: Bound::CurrentRow };
    vec![
        call(F::RowNumber, frame, DataType::Int64),
        call(F::Rank, frame, DataType::Int64),
        call(F::DenseRank, frame, DataType::Int64),
        call(F::First(2), frame, DataType::Int32),
        call(F::Last(0), frame, DataType::Utf8),
        aggregate(Function::Count, vec![], None, frame, DataType::Int64),
        aggregate(Function::Sum, vec![2], Some(4), frame, DataType::Int64),
        aggregate(Function::Max, vec![2], None, frame, DataType::Int32),
        aggregate(Function::Min, vec![0], Some(4), frame, DataType::Utf8),
    ]
}

#[test]
fn running_functions_go_on_from_marks() {
    for units in [Units::Rows, Units::Range, Units::Groups] {
        for order in [Some(UP), Some(DOWN), None] {
            check(Shape { partitioned: true, order, calls: running(units) });
        }
        check(Shape { partitioned: false, order: Some(UP), calls: running(units) });
        for one in running(units) {
            check(Shape { partitioned: true, order: Some(UP), calls: vec![one] });
        }
        // Beside functions that look at some rows before and behind.
        let behind = Frame { units: Units::Rows, start: Bound::Preceding(count(2)), end: Bound::Following(count(1)) };
        let calls = running(units).into_iter().chain(shifts()).chain(over_frame(behind)).collect::<Vec<_>>();
        assert!(spec(&Shape { partitioned: true, order: Some(UP), calls: calls.clone() }, false).needs_marks());
        check(Shape { partitioned: true, order: Some(UP), calls });
    }
    let whole = running(Units::Rows).into_iter().chain(ranks()).collect();
    assert!(!spec(&Shape { partitioned: true, order: Some(UP), calls: whole }, false).needs_marks(), "percent_rank looks at the whole partition");
}

/// A row behind all others of a long partition reads and computes what is behind the last mark.
#[test]
fn a_running_function_touches_as_many_rows_of_a_long_partition_as_of_a_short_one() {
    let spec = spec(&Shape { partitioned: true, order: Some(UP), calls: running(Units::Range) }, false);
    let trial = Trial { spec: Arc::new(spec.clone()), inputs: vec![(input(), false)], forgets: false };
    let touched = [100, 10_000].map(|n| {
        let mut all = long_partition(n + 1);
        let changed = vec![all.pop().unwrap()];
        let mut running = Running::new(&spec, &context()).unwrap();
        running.update(&to_delta(&input(), &all), &mut Output::default()).unwrap();
        let spans = running.spans(&to_delta(&input(), &changed)).unwrap();
        (spans.rows.len(), reads_after(&trial, &[all], &[changed]))
    });
    assert!(touched.iter().all(|(rows, _)| *rows <= 4), "{touched:?}");
    assert!(touched[1].1 <= touched[0].1 + 64, "reads in steps of some dozens: {touched:?}");
}

/// Deltas as text: a row that comes in between changes its neighbour and nothing else.
#[test]
fn an_example() {
    let frame = Frame { units: Units::Rows, start: Bound::Preceding(count(1)), end: Bound::CurrentRow };
    let shape = Shape { partitioned: true, order: Some(UP), calls: vec![aggregate(Function::Sum, vec![2], None, frame, DataType::Int64)] };
    let trial = Trial { spec: Arc::new(spec(&shape, false)), inputs: vec![(input(), false)], forgets: false };
    let row = |a: i128| -> Row { vec![Value::Null, Value::Int(1), Value::Int(10 * a), Value::Int(a), Value::Null] };
    let epoch = |rows: Vec<(i128, i64)>| EpochInput { ports: vec![rows.into_iter().map(|(a, w)| (row(a), w)).collect()], watermark: WATERMARK_NONE };
    let outputs = trial.outputs(&[epoch(vec![(1, 1), (3, 1), (4, 1)]), epoch(vec![(2, 1)]), epoch(vec![(3, -1)])]);
    let texts = |bag: &Bag| bag.iter().map(|(row, weight)| format!("{weight:+} {:?} {:?}", row[3], row[5])).collect::<Vec<_>>();
    assert_eq!(texts(&outputs[0].0), ["+1 Int(1) Int(10)", "+1 Int(3) Int(40)", "+1 Int(4) Int(70)"]);
    assert_eq!(texts(&outputs[1].0), ["+1 Int(2) Int(30)", "-1 Int(3) Int(40)", "+1 Int(3) Int(50)"]);
    assert_eq!(texts(&outputs[2].0), ["-1 Int(3) Int(50)", "+1 Int(4) Int(60)", "-1 Int(4) Int(70)"]);
}

fn context() -> BuildContext {
    let store = Committed::new(Arc::new(MemoryStore::new()), Generation(0));
    BuildContext { store, worker: 0, workers: 1, cache_entries: None, fresh: true, checks: false }
}

/// n rows of one partition, of which every tenth value is there.
fn long_partition(n: i128) -> Vec<(Row, i64)> {
    (0..n).map(|a| (vec![Value::Null, Value::Int(1), Value::Int(a), Value::Int(10 * a), Value::Null], 1)).collect()
}

/// A change under a bounded frame reads and computes as much in a partition of a hundred rows as in one of ten thousand.
#[test]
fn a_bounded_frame_touches_as_many_rows_of_a_long_partition_as_of_a_short_one() {
    let ranged = Frame { units: Units::Range, start: Bound::Preceding(Distance::Number(30)), end: Bound::CurrentRow };
    let rows = Frame { units: Units::Rows, start: Bound::Preceding(count(3)), end: Bound::Following(count(1)) };
    let groups = Frame { units: Units::Groups, ..rows };
    let cases = [(shifts(), (2 + 1) * 2 + 1), (over_frame(rows), (3 + 1) * 2 + 1), (over_frame(groups), (3 + 1) * 2 + 1), (over_frame(ranged), 3 + 3 + 1)];
    for (calls, looked_at) in cases {
        let spec = spec(&Shape { partitioned: true, order: Some(UP), calls }, false);
        let trial = Trial { spec: Arc::new(spec.clone()), inputs: vec![(input(), false)], forgets: false };
        let touched = [100, 10_000].map(|n| {
            let all = long_partition(n);
            // A row between two others.
            let mut row = all[n as usize / 2].0.clone();
            row[3] = Value::Int(5 * n + 5);
            let changed = vec![(row, 1)];
            let mut running = Running::new(&spec, &context()).unwrap();
            running.spans(&to_delta(&input(), &all)).unwrap();
            let spans = running.spans(&to_delta(&input(), &changed)).unwrap();
            (spans.rows.len(), reads_after(&trial, &[all], &[changed]))
        });
        assert_eq!(touched[0], touched[1]);
        assert_eq!(touched[0].0, looked_at);
    }
}
