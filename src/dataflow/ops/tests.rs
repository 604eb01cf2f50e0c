//! The small operators: those without state by example, Distinct and Upsert against a naive computation.

use super::aggregate::{Aggregate, EmitMode};
use super::distinct::Distinct;
use super::filter::Filter;
use super::join::{Join, JoinKind};
use super::project::Project;
use super::top_k::{Ranking, TopK};
use super::union::Union;
use super::unnest::Unnest;
use super::upsert::Upsert;
use crate::dataflow::agg::function::{AggregateCall, Function};
use crate::dataflow::harness::{Bag, EpochInput, Row, Trial, Value, add, random_epochs, reads_after, schema, to_delta, total};
use crate::dataflow::operator::{BuildContext, Output, Spec};
use crate::error::{Error, Kind, Result};
use crate::state::checkpoint::Generation;
use crate::state::committed::Committed;
use crate::state::memory::MemoryStore;
use crate::types::delta::Delta;
use crate::types::expr::Expr;
use crate::types::ids::TableId;
use crate::types::key::Order;
use crate::types::pretty;
use crate::types::time::{Step, WATERMARK_NONE};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, ListArray, RecordBatch};
use arrow::datatypes::{DataType, Int64Type, SchemaRef};
use std::collections::BTreeMap;
use std::sync::Arc;

/// 100 / column 0; with `test`, whether that is above 10.
#[derive(Debug)]
struct Ratio {
    test: bool,
}

impl Expr for Ratio {
    fn eval(&self, batch: &RecordBatch) -> Result<ArrayRef> {
        let column = batch.column(0).as_primitive::<Int64Type>();
        if column.iter().any(|v| v == Some(0)) {
            return Err(Error::new(Kind::DivisionByZero, "division by zero"));
        }
        let ratio = column.iter().map(|v| v.map(|v| 100 / v));
        Ok(if self.test { Arc::new(ratio.map(|r| r.map(|r| r > 10)).collect::<BooleanArray>()) } else { Arc::new(ratio.collect::<Int64Array>()) })
    }

    fn data_type(&self) -> &DataType {
        if self.test { &DataType::Boolean } else { &DataType::Int64 }
    }

    fn sql(&self) -> String {
        if self.test { "100 / a > 10" } else { "100 / a" }.to_string()
    }

    fn columns(&self) -> Vec<usize> {
        vec![0]
    }
}

#[derive(Debug)]
struct Column(usize);

impl Expr for Column {
    fn eval(&self, batch: &RecordBatch) -> Result<ArrayRef> {
        Ok(batch.column(self.0).clone())
    }

    fn data_type(&self) -> &DataType {
        &DataType::Utf8
    }

    fn sql(&self) -> String {
        format!("c{}", self.0)
    }

    fn columns(&self) -> Vec<usize> {
        vec![self.0]
    }

    fn as_column(&self) -> Option<usize> {
        Some(self.0)
    }
}

fn apply(spec: &dyn Spec, inputs: Vec<Vec<Delta>>) -> (Vec<String>, Vec<String>) {
    let store = Committed::new(Arc::new(MemoryStore::new()), Generation(0));
    let context = BuildContext { store, worker: 0, workers: 1, cache_entries: None, fresh: true, checks: true };
    let (mut inputs, mut out) = (inputs, Output::default());
    spec.build(&context).unwrap().apply(&Step::default(), &mut inputs, &mut out).unwrap();
    let rows = out.deltas.iter().flat_map(|d| pretty::delta(d).unwrap()).collect();
    let error = |e: &crate::dataflow::operator::EvalErrors| {
        let rows = pretty::delta(&e.rows).unwrap();
        rows.into_iter().zip(&e.errors).map(|(row, (code, message))| format!("{row}: {code} {message}")).collect::<Vec<_>>()
    };
    (rows, out.errors.iter().flat_map(error).collect())
}

fn numbers() -> (SchemaRef, Delta) {
    let schema = schema(&[("a", DataType::Int64), ("b", DataType::Utf8)]);
    let row = |a: Option<i128>, b: &str, weight: i64| (vec![a.map_or(Value::Null, Value::Int), Value::Text(b.to_string())], weight);
    let delta = to_delta(&schema, &[row(Some(5), "x", 1), row(Some(0), "zero", -1), row(Some(50), "y", -1), row(None, "null", 1), row(Some(4), "z", -2)]);
    (schema, delta)
}

#[test]
fn filter_keeps_what_is_true_and_sets_errors_aside() {
    let (schema, delta) = numbers();
    let spec = Filter::new(Arc::new(Ratio { test: true }), schema).unwrap();
    let (rows, errors) = apply(&spec, vec![vec![delta]]);
    assert_eq!(rows, ["+1 | 5 | x", "-2 | 4 | z"]);
    assert_eq!(errors, ["-1 | 0 | zero: 22012 division by zero"]);
}

#[test]
fn project_evaluates_and_passes_on() {
    let (_, delta) = numbers();
    let out = schema(&[("b", DataType::Utf8), ("r", DataType::Int64)]);
    let spec = Project::new(vec![Arc::new(Column(1)), Arc::new(Ratio { test: false })], out).unwrap();
    let (rows, errors) = apply(&spec, vec![vec![delta]]);
    assert_eq!(rows, ["+1 | x | 20", "-1 | y | 2", "+1 | null | NULL", "-2 | z | 25"]);
    assert_eq!(errors, ["-1 | 0 | zero: 22012 division by zero"]);
}

#[test]
fn union_puts_together() {
    let (_, delta) = numbers();
    let spec = Union { inputs: 2, schema: schema(&[("x", DataType::Int64), ("y", DataType::Utf8)]) };
    let (rows, _) = apply(&spec, vec![vec![delta.slice(0, 1)], vec![delta.slice(2, 1)]]);
    assert_eq!(rows, ["+1 | 5 | x", "-1 | 50 | y"]);
}

#[test]
fn unnest_repeats_the_others() {
    let lists = vec![Some(vec![Some(1), None]), None, Some(vec![]), Some(vec![Some(3)])];
    let lists = ListArray::from_iter_primitive::<Int64Type, _, _>(lists);
    let names = Arc::new(arrow::array::StringArray::from(vec!["a", "b", "c", "d"]));
    let input = schema(&[("l", lists.data_type().clone()), ("n", DataType::Utf8)]);
    let batch = RecordBatch::try_new(input.clone(), vec![Arc::new(lists), names]).unwrap();
    let delta = Delta::new(batch, vec![1, 1, 1, -1]);
    let out = schema(&[("l", DataType::Int64), ("n", DataType::Utf8)]);
    let keep = Unnest::new(&input, vec![0], true, out.clone()).unwrap();
    assert_eq!(apply(&keep, vec![vec![delta.clone()]]).0, ["+1 | 1 | a", "+1 | NULL | a", "+1 | NULL | b", "-1 | 3 | d"]);
    let drop = Unnest::new(&input, vec![0], false, out).unwrap();
    assert_eq!(apply(&drop, vec![vec![delta]]).0, ["+1 | 1 | a", "+1 | NULL | a", "-1 | 3 | d"]);
    assert!(Unnest::new(&input, vec![1], true, input.clone()).is_err());
}

#[test]
fn distinct() {
    for append_only in [false, true] {
        let schema = schema(&[("a", DataType::Int32), ("b", DataType::Utf8)]);
        let spec = Distinct { schema: schema.clone(), state: TableId(1) };
        let trial = Trial { spec: Arc::new(spec), inputs: vec![(schema, append_only)], forgets: !append_only };
        trial.check(&|r| random_epochs(r, &trial.inputs, 3), &|epochs| total(epochs, 0).into_keys().map(|row| (row, 1)).collect());
    }
}

#[test]
fn upsert_keeps_the_last_of_each_key() {
    let fields = [("gone", DataType::Boolean), ("k", DataType::Int32), ("v", DataType::Utf8)];
    let input = schema(&fields);
    let spec = Upsert { input: input.clone(), key: vec![1], deletion: Some(0), schema: schema(&fields[1..]), state: TableId(1) };
    let trial = Trial { spec: Arc::new(spec), inputs: vec![(input, true)], forgets: false };
    let expected = |epochs: &[EpochInput]| -> Bag {
        let mut last: BTreeMap<Value, Row> = BTreeMap::new();
        for (row, _) in epochs.iter().flat_map(|e| &e.ports[0]) {
            if row[0] == Value::Bool(true) {
                last.remove(&row[1])
            } else {
                last.insert(row[1].clone(), row[1..].to_vec())
            };
        }
        let mut bag = Bag::new();
        last.into_values().for_each(|row| add(&mut bag, row, 1));
        bag
    };
    trial.check(&|r| random_epochs(r, &trial.inputs, 6), &expected);
    let row = |gone: bool, v: &str| (vec![Value::Bool(gone), Value::Int(1), Value::Text(v.to_string())], 1);
    let epoch = |rows: Vec<(Row, i64)>| EpochInput { ports: vec![rows], watermark: WATERMARK_NONE };
    let outputs = trial.outputs(&[epoch(vec![row(false, "a"), row(false, "b")]), epoch(vec![row(false, "b")]), epoch(vec![row(true, "")])]);
    let b = vec![Value::Int(1), Value::Text("b".to_string())];
    assert_eq!(outputs.into_iter().map(|o| o.0).collect::<Vec<_>>(), [Bag::from([(b.clone(), 1)]), Bag::new(), Bag::from([(b, -1)])]);
}

/// A one-row delta reads as much from a store of 1,000 rows as from one of 30,000.
#[test]
fn state_access_follows_the_delta() {
    let side = schema(&[("k", DataType::Int32), ("v", DataType::Int64)]);
    let row = |k: usize, v: usize| (vec![Value::Int(k as i128), Value::Int(v as i128)], 1i64);
    // One group of all, or groups of one row each.
    let one_group = |n: usize| (0..n).map(|i| row(2, i)).collect::<Vec<_>>();
    let many_groups = |n: usize| (0..n).map(|i| row(i, i)).collect::<Vec<_>>();
    let small = vec![(vec![Value::Int(11), Value::Int(1 << 40)], 1)];
    let large = vec![(vec![Value::Int(2), Value::Int(-1)], 1)];
    let mut next = 0;
    let mut allocate = || {
        next += 1;
        TableId(next)
    };
    let both = schema(&[("k", DataType::Int32), ("v", DataType::Int64), ("k", DataType::Int32), ("v", DataType::Int64)]);
    let join = Join::new(JoinKind::Left, (side.clone(), side.clone()), (vec![0], vec![0]), false, None, None, None, both, &mut allocate).unwrap();
    let max = AggregateCall { function: Function::Max, args: vec![1], distinct: false, filter: None, order_by: Vec::new(), output: DataType::Int64 };
    let group = Aggregate::new(side.clone(), vec![0], vec![max], None, EmitMode::Changes, false, side.clone(), &mut allocate).unwrap();
    let top = TopK {
        input: side.clone(),
        partition: vec![0],
        order: vec![(1, Order::default())],
        limit: Some(3),
        offset: 0,
        ranking: Ranking::RowNumber,
        rank_column: false,
        input_append_only: false,
        window: None,
        schema: side.clone(),
        state: allocate(),
    };
    let distinct = Distinct { schema: side.clone(), state: allocate() };
    let specs: [(Arc<dyn Spec>, usize, &Vec<_>); 4] =
        [(Arc::new(join), 2, &small), (Arc::new(group), 1, &large), (Arc::new(top), 1, &large), (Arc::new(distinct), 1, &small)];
    for (spec, ports, delta) in specs {
        let name = spec.name();
        let trial = Trial { spec, inputs: vec![(side.clone(), false); ports], forgets: false };
        let rows = |n: usize| if std::ptr::eq(delta, &large) { one_group(n) } else { many_groups(n) };
        let reads = |n: usize| reads_after(&trial, &vec![rows(n); ports], &vec![delta.clone(); ports]);
        let (few, many) = (reads(1_000), reads(30_000));
        assert!(many <= few + 10, "{name}: {few} reads at 1,000 rows, {many} at 30,000");
    }
}
