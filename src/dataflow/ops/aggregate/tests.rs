//! Aggregates against a naive computation over all rows so far.

use super::{Aggregate, EmitMode, WindowGroup};
use crate::dataflow::agg::accumulator::{Touched, Update};
use crate::dataflow::agg::function::{AggregateCall, Function};
use crate::dataflow::agg::regression::Pairs;
use crate::dataflow::harness::{Bag, EpochInput, Row, SOURCE, Trial, Value, add, random_epochs, schema, timestamp, total};
use crate::dataflow::ops::windowed::{WindowBound, WindowColumn};
use crate::types::ids::TableId;
use crate::types::key::{Order, Rows};
use crate::types::time::{WATERMARK_END, WATERMARK_NONE};
use arrow::array::{Array, ArrayRef, AsArray, Float64Array};
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, SchemaRef};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

fn call(function: Function, args: &[usize], output: DataType) -> AggregateCall {
    AggregateCall { function, args: args.to_vec(), distinct: false, filter: None, order_by: Vec::new(), output }
}

/// k, s | i (int), b (bigint), d (numeric(20,2)), f (double), t (text), p (boolean)
fn input() -> SchemaRef {
    schema(&[
        ("k", DataType::Int32),
        ("s", DataType::Utf8),
        ("i", DataType::Int32),
        ("b", DataType::Int64),
        ("d", DataType::Decimal128(20, 2)),
        ("f", DataType::Float64),
        ("t", DataType::Utf8),
        ("p", DataType::Boolean),
    ])
}

fn output(input: &SchemaRef, group: &[usize], calls: &[AggregateCall]) -> SchemaRef {
    let keys = group.iter().map(|g| input.field(*g).clone());
    let results = calls.iter().enumerate().map(|(i, c)| Field::new(format!("r{i}"), c.output.clone(), true));
    Arc::new(arrow::datatypes::Schema::new(keys.chain(results).collect::<Vec<_>>()))
}

fn aggregate(input: &SchemaRef, group: &[usize], calls: Vec<AggregateCall>, window: Option<WindowGroup>, emit: EmitMode, append_only: bool) -> Aggregate {
    let mut next = 0;
    let mut allocate = || {
        next += 1;
        TableId(next)
    };
    let schema = output(input, group, &calls);
    Aggregate::new(Arc::clone(input), group.to_vec(), calls, window, emit, append_only, schema, &mut allocate).unwrap()
}

fn trial(group: &[usize], calls: Vec<AggregateCall>, append_only: bool) -> Trial {
    let input = input();
    let spec = aggregate(&input, group, calls, None, EmitMode::Changes, append_only);
    Trial { spec: Arc::new(spec), inputs: vec![(input, append_only)], forgets: !append_only && !group.is_empty() }
}

/// Rows of each group, repeated by weight.
fn groups(bag: &Bag, group: &[usize]) -> BTreeMap<Row, Vec<Row>> {
    let mut groups: BTreeMap<Row, Vec<Row>> = BTreeMap::new();
    if group.is_empty() {
        groups.insert(Vec::new(), Vec::new());
    }
    for (row, weight) in bag {
        let key = group.iter().map(|g| row[*g].clone()).collect();
        groups.entry(key).or_default().extend(std::iter::repeat_n(row.clone(), *weight as usize));
    }
    groups
}

fn expect(group: &[usize], result: impl Fn(&[Row]) -> Row, epochs: &[EpochInput]) -> Bag {
    let groups = groups(&total(epochs, 0), group);
    groups.into_iter().map(|(key, rows)| (key.into_iter().chain(result(&rows)).collect(), 1)).collect()
}

/// Values of a column that are not NULL.
fn values(rows: &[Row], column: usize) -> Vec<Value> {
    rows.iter().map(|r| r[column].clone()).filter(|v| *v != Value::Null).collect()
}

fn ints(rows: &[Row], column: usize) -> Vec<i128> {
    values(rows, column).iter().map(|v| if let Value::Int(i) = v { *i } else { panic!("{v:?}") }).collect()
}

fn or_null(values: &[i128], result: impl Fn(&[i128]) -> i128) -> Value {
    if values.is_empty() { Value::Null } else { Value::Int(result(values)) }
}

fn rounded(numerator: i128, denominator: i128) -> i128 {
    let (quotient, rest) = (numerator / denominator, (numerator % denominator).abs() * 2);
    quotient + if rest >= denominator { numerator.signum() } else { 0 }
}

fn extreme(rows: &[Row], column: usize, max: bool) -> Value {
    let values = values(rows, column);
    let key = |v: &Value| match v {
        Value::Float(bits) => f64::from_bits(*bits),
        _ => 0.0,
    };
    let found = values.iter().cloned().reduce(|a, b| {
        let less = if matches!(a, Value::Float(_)) { key(&a) <= key(&b) } else { a <= b };
        if less != max { a } else { b }
    });
    found.unwrap_or(Value::Null)
}

fn simple_calls() -> Vec<AggregateCall> {
    vec![
        call(Function::Count, &[], DataType::Int64),
        call(Function::Count, &[2], DataType::Int64),
        call(Function::Sum, &[2], DataType::Int64),
        call(Function::Sum, &[3], DataType::Decimal128(38, 0)),
        call(Function::Sum, &[4], DataType::Decimal128(30, 2)),
        call(Function::Avg, &[2], DataType::Decimal128(38, 16)),
        call(Function::Min, &[3], DataType::Int64),
        call(Function::Max, &[6], DataType::Utf8),
        call(Function::Max, &[5], DataType::Float64),
        call(Function::BoolAnd, &[7], DataType::Boolean),
        call(Function::BoolOr, &[7], DataType::Boolean),
    ]
}

fn simple_results(rows: &[Row]) -> Row {
    let sum = |column: usize| or_null(&ints(rows, column), |v| v.iter().sum());
    let bools = values(rows, 7);
    let bool_result = |b: bool| if bools.is_empty() { Value::Null } else { Value::Bool(b) };
    vec![
        Value::Int(rows.len() as i128),
        Value::Int(values(rows, 2).len() as i128),
        sum(2),
        sum(3),
        sum(4),
        or_null(&ints(rows, 2), |v| rounded(v.iter().sum::<i128>() * 10i128.pow(16), v.len() as i128)),
        extreme(rows, 3, false),
        extreme(rows, 6, true),
        extreme(rows, 5, true),
        bool_result(bools.iter().all(|b| *b == Value::Bool(true))),
        bool_result(bools.contains(&Value::Bool(true))),
    ]
}

#[test]
fn grouped() {
    let trial = trial(&[1, 0], simple_calls(), false);
    trial.check(&|r| random_epochs(r, &trial.inputs, 4), &|epochs| expect(&[1, 0], simple_results, epochs));
}

#[test]
fn grouped_over_append_only_input() {
    let trial = trial(&[0], simple_calls(), true);
    trial.check(&|r| random_epochs(r, &trial.inputs, 9), &|epochs| expect(&[0], simple_results, epochs));
}

#[test]
fn without_group_by_there_is_always_a_row() {
    let trial = trial(&[], simple_calls(), false);
    trial.check(
        &|r| {
            let mut epochs = random_epochs(r, &trial.inputs, 5);
            let nothing = EpochInput { ports: vec![Vec::new()], watermark: WATERMARK_NONE };
            let all = total(&epochs, 0).into_iter().map(|(row, weight)| (row, -weight)).collect();
            epochs.insert(0, nothing.clone());
            epochs.push(EpochInput { ports: vec![all], watermark: WATERMARK_NONE });
            epochs.push(nothing);
            epochs
        },
        &|epochs| expect(&[], simple_results, epochs),
    );
}

#[test]
fn float_sums_do_not_drift() {
    let calls = vec![call(Function::Sum, &[5], DataType::Float64), call(Function::Avg, &[5], DataType::Float64)];
    let trial = trial(&[0], calls, false);
    let exact = |rows: &[Row]| {
        // Values are n/10, n·10^17 and n/1000 as doubles: a reference through the expansion's own tests, here by adding in one fixed order.
        let mut sum = crate::dataflow::agg::exact::ExactSum::default();
        let values = values(rows, 5);
        values.iter().for_each(|v| {
            if let Value::Float(bits) = v {
                sum.add(f64::from_bits(*bits), 1)
            }
        });
        match values.len() {
            0 => vec![Value::Null, Value::Null],
            n => vec![Value::Float(sum.value().to_bits()), Value::Float((sum.value() / n as f64).to_bits())],
        }
    };
    trial.check(&|r| random_epochs(r, &trial.inputs, 30), &|epochs| expect(&[0], exact, epochs));
}

#[test]
fn distinct_and_filter() {
    let mut calls = vec![
        call(Function::Count, &[2], DataType::Int64),
        call(Function::Sum, &[2], DataType::Int64),
        call(Function::Count, &[6], DataType::Int64),
        call(Function::Sum, &[3], DataType::Decimal128(38, 0)),
    ];
    calls[0].distinct = true;
    calls[1].distinct = true;
    (calls[2].distinct, calls[2].filter) = (true, Some(7));
    calls[3].filter = Some(7);
    let result = |rows: &[Row]| {
        let distinct: BTreeSet<i128> = ints(rows, 2).into_iter().collect();
        let kept: Vec<Row> = rows.iter().filter(|r| r[7] == Value::Bool(true)).cloned().collect();
        let texts: BTreeSet<Value> = values(&kept, 6).into_iter().collect();
        vec![
            Value::Int(distinct.len() as i128),
            or_null(&distinct.into_iter().collect::<Vec<_>>(), |v| v.iter().sum()),
            Value::Int(texts.len() as i128),
            or_null(&ints(&kept, 3), |v| v.iter().sum()),
        ]
    };
    let trial = trial(&[0], calls, false);
    trial.check(&|r| random_epochs(r, &trial.inputs, 5), &|epochs| expect(&[0], result, epochs));
}

#[test]
fn collected_in_order() {
    let list = DataType::List(Arc::new(Field::new("item", DataType::Int64, true)));
    let mut calls = vec![call(Function::StringAgg, &[6, 1], DataType::Utf8), call(Function::ArrayAgg, &[3], list)];
    calls[0].order_by = vec![(2, Order { descending: true, nulls_first: true })];
    let result = |rows: &[Row]| {
        let mut texts: Vec<&Row> = rows.iter().filter(|r| r[6] != Value::Null).collect();
        // i descending with NULLs first, then text, then separator with NULLs last.
        let nulls_last = |v: &Value| (*v == Value::Null, v.clone());
        texts.sort_by(|a, b| {
            let i = |r: &Row| (r[2] != Value::Null, std::cmp::Reverse(r[2].clone()));
            i(a).cmp(&i(b)).then(a[6].cmp(&b[6])).then(nulls_last(&a[1]).cmp(&nulls_last(&b[1])))
        });
        let text = |v: &Value| if let Value::Text(t) = v { t.clone() } else { String::new() };
        let mut joined = String::new();
        for (n, row) in texts.iter().enumerate() {
            if n > 0 {
                joined += &text(&row[1]);
            }
            joined += &text(&row[6]);
        }
        let mut list: Vec<Value> = rows.iter().map(|r| r[3].clone()).collect();
        list.sort_by_key(nulls_last);
        vec![if texts.is_empty() { Value::Null } else { Value::Text(joined) }, Value::List(list)]
    };
    let trial = trial(&[0], calls, false);
    trial.check(&|r| random_epochs(r, &trial.inputs, 4), &|epochs| expect(&[0], result, epochs));
}

#[test]
fn spreads() {
    let calls = vec![call(Function::VarPop, &[2], DataType::Float64), call(Function::StddevSamp, &[3], DataType::Float64)];
    let result = |rows: &[Row]| {
        let spread = |column: usize, sample: bool, root: bool| {
            let values = ints(rows, column);
            let (n, sum, squares) = (values.len() as i128, values.iter().sum::<i128>(), values.iter().map(|v| v * v).sum::<i128>());
            let divisor = n - i128::from(sample);
            if divisor <= 0 {
                return Value::Null;
            }
            let variance = (n * squares - sum * sum) as f64 / n as f64 / divisor as f64;
            Value::Float(if root { variance.sqrt() } else { variance }.to_bits())
        };
        vec![spread(2, false, false), spread(3, true, true)]
    };
    let trial = trial(&[0], calls, false);
    trial.check(&|r| random_epochs(r, &trial.inputs, 40), &|epochs| expect(&[0], result, epochs));
}

/// What was taken back leaves no trace: the bits are those of an accumulator that never saw it.
#[test]
fn regressions() {
    let pairs = [Pairs::Count, Pairs::SquaresX, Pairs::CovarianceSample, Pairs::Slope];
    let output = |p: Pairs| if p == Pairs::Count { DataType::Int64 } else { DataType::Float64 };
    assert!(call(Function::Regression(Pairs::Slope), &[2, 5], DataType::Float64).accumulator(&input(), false).is_err(), "integers are cast to doubles before");
    let calls = pairs.map(|p| call(Function::Regression(p), &[5, 5], output(p))).to_vec();
    let fresh = calls.clone();
    let result = move |rows: &[Row]| {
        let values = values(rows, 5).iter().map(|v| if let Value::Float(bits) = v { f64::from_bits(*bits) } else { panic!("a double") }).collect::<Vec<_>>();
        let column: ArrayRef = Arc::new(Float64Array::from(values));
        let slots = vec![0; column.len()];
        let touched = Touched { keys: &Rows::EMPTY, hashes: &[], slots: &[0] };
        let one = |call: &AggregateCall| {
            let mut accumulator = call.accumulator(&input(), false).unwrap();
            accumulator.load(0, None).unwrap();
            accumulator.update(&Update { slots: &slots, groups: &slots, weights: None, touched }, &[column.clone(), column.clone()], None).unwrap();
            let found = accumulator.result(&touched, None).unwrap().values;
            match (found.is_null(0), found.data_type()) {
                (true, _) => Value::Null,
                (_, DataType::Int64) => Value::Int(found.as_primitive::<Int64Type>().value(0).into()),
                _ => Value::Float(found.as_primitive::<Float64Type>().value(0).to_bits()),
            }
        };
        fresh.iter().map(one).collect()
    };
    let trial = trial(&[0], calls, false);
    trial.check(&|r| random_epochs(r, &trial.inputs, 40), &|epochs| expect(&[0], &result, epochs));
}

/// k, w (window start or end), v
fn windowed_input() -> SchemaRef {
    schema(&[("k", DataType::Int32), ("w", timestamp()), ("v", DataType::Int64)])
}

fn windowed(column: WindowColumn, emit: EmitMode) -> Trial {
    let input = windowed_input();
    let window = WindowGroup { position: 1, bound: WindowBound { column, sources: vec![SOURCE] } };
    let mut calls = vec![call(Function::Count, &[], DataType::Int64), call(Function::Max, &[2], DataType::Int64), call(Function::Count, &[2], DataType::Int64)];
    calls[2].distinct = true;
    let spec = aggregate(&input, &[0, 1], calls, Some(window), emit, true);
    Trial { spec: Arc::new(spec), inputs: vec![(input, true)], forgets: false }
}

fn windowed_epochs(random: &mut rand::rngs::StdRng) -> Vec<EpochInput> {
    let mut epochs = random_epochs(random, &[(windowed_input(), true)], 12);
    let mut watermark = -5;
    for epoch in &mut epochs {
        use rand::RngExt;
        watermark += random.random_range(0..4);
        epoch.watermark = if watermark < -3 { WATERMARK_NONE } else { watermark };
    }
    let last = epochs.len() - 1;
    epochs[last].watermark = WATERMARK_END;
    epochs
}

/// The rows that were not late when they came, by epoch.
fn in_time(epochs: &[EpochInput], size: i128) -> Bag {
    let mut bag = Bag::new();
    let mut before = WATERMARK_NONE;
    for epoch in epochs {
        for (row, weight) in &epoch.ports[0] {
            let open = match row[1] {
                Value::Int(w) => before == WATERMARK_NONE || w + size > i128::from(before),
                _ => true,
            };
            if open {
                add(&mut bag, row.clone(), *weight);
            }
        }
        before = epoch.watermark;
    }
    bag
}

fn windowed_expected(epochs: &[EpochInput], size: i128, only_closed: bool) -> Bag {
    let watermark = i128::from(epochs[epochs.len() - 1].watermark);
    let closed = |key: &Row| if let Value::Int(w) = key[1] { w + size <= watermark } else { false };
    let groups = groups(&in_time(epochs, size), &[0, 1]).into_iter().filter(|(key, _)| !only_closed || closed(key));
    let result = |(key, rows): (Row, Vec<Row>)| {
        let distinct: BTreeSet<Value> = values(&rows, 2).into_iter().collect();
        let results = [Value::Int(rows.len() as i128), extreme(&rows, 2, true), Value::Int(distinct.len() as i128)];
        (key.into_iter().chain(results).collect(), 1)
    };
    groups.map(result).collect()
}

#[test]
fn windows_close_and_late_rows_stay_out() {
    for (column, size) in [(WindowColumn::End, 0), (WindowColumn::Start { size_micros: 3 }, 3)] {
        windowed(column, EmitMode::Changes).check(&windowed_epochs, &|epochs| windowed_expected(epochs, size, false));
        windowed(column, EmitMode::OnWindowClose).check(&windowed_epochs, &|epochs| windowed_expected(epochs, size, true));
    }
}

#[test]
fn late_rows_are_handed_over() {
    let row = |k: i128, w: i128| (vec![Value::Int(k), Value::Int(w), Value::Int(7)], 1);
    let epochs = [
        EpochInput { ports: vec![vec![row(1, 10), row(2, 20)]], watermark: 15 },
        EpochInput { ports: vec![vec![row(3, 10), row(4, 15), row(5, 16)]], watermark: 15 },
    ];
    let outputs = windowed(WindowColumn::End, EmitMode::OnWindowClose).outputs(&epochs);
    let closed: Row = [1, 10, 1, 7, 1].map(Value::Int).to_vec();
    assert_eq!(outputs[0], (Bag::from([(closed, 1)]), Bag::new()));
    assert_eq!(outputs[1], (Bag::new(), Bag::from([row(3, 10), row(4, 15)])));
}
