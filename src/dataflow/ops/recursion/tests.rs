//! Closures of small graphs: cycles that lose their support, by hand and against a naive computation.

use super::{Beyond, Latest, Limit, Recursion, Variable, with_level};
use crate::dataflow::harness::{Bag, EpochInput, Row, Trial, Value, random_epochs, schema, to_delta, total};
use crate::dataflow::operator::{BuildContext, Fragment, FragmentNode, Input, Operator, Output, Spec};
use crate::dataflow::ops::join::{Join, JoinKind};
use crate::dataflow::ops::project::Project;
use crate::state::checkpoint::Generation;
use crate::state::committed::Committed;
use crate::state::memory::MemoryStore;
use crate::types::expr::{Expr, ExprRef};
use crate::types::ids::{NodeId, TableId};
use crate::types::pretty;
use crate::types::time::{Epoch, Step};
use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use std::collections::BTreeSet;
use std::sync::Arc;

fn edges() -> SchemaRef {
    schema(&[("a", DataType::Int64), ("b", DataType::Int64)])
}

fn allocate(next: &mut u32) -> impl FnMut() -> TableId {
    move || {
        *next += 1;
        TableId(*next)
    }
}

fn recursion(nodes: Vec<FragmentNode>, distinct: bool, limit: Limit) -> Recursion {
    let last = NodeId(nodes.len() as u32 - 1);
    let variable = Variable { name: "t".into(), schema: edges(), distinct, base: vec![0], derived: vec![Input::Node(last)], state: TableId(90) };
    Recursion { variables: vec![variable], body: Fragment { nodes }, inputs: 1, limit, results: vec![0] }
}

/// t = edges UNION [ALL] (t.a, e.b) of t JOIN edges e ON t.b = e.a
fn linear(distinct: bool, limit: Limit) -> Recursion {
    let inputs = (with_level(&edges()), edges());
    let join =
        Join::new(JoinKind::Inner, inputs, (vec![1], vec![0]), false, None, None, Some(vec![0, 4, 2]), with_level(&edges()), &mut allocate(&mut 0)).unwrap();
    recursion(vec![FragmentNode { spec: Arc::new(join), inputs: vec![Input::Port(0), Input::Port(1)] }], distinct, limit)
}

#[derive(Debug)]
struct Column(usize);

impl Expr for Column {
    fn eval(&self, batch: &RecordBatch) -> crate::error::Result<ArrayRef> {
        Ok(batch.column(self.0).clone())
    }

    fn data_type(&self) -> &DataType {
        &DataType::Int64
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

/// t = edges UNION (x.a, y.b) of t x JOIN t y ON x.b = y.a: the variable twice.
fn doubling() -> Recursion {
    let side = with_level(&edges());
    let wide: SchemaRef = Arc::new(Schema::new(["a", "b", "l", "r"].map(|n| Field::new(n, DataType::Int64, true)).to_vec()));
    let output = Some(vec![0, 4, 2, 5]);
    let join = Join::new(JoinKind::Inner, (side.clone(), side.clone()), (vec![1], vec![0]), false, None, None, output, wide, &mut allocate(&mut 0)).unwrap();
    let exprs: Vec<ExprRef> = vec![Arc::new(Column(0)), Arc::new(Column(1)), Arc::new(Latest { left: 2, right: 3 })];
    let latest = Project::new(exprs, side).unwrap();
    let nodes = vec![
        FragmentNode { spec: Arc::new(join), inputs: vec![Input::Port(0), Input::Port(0)] },
        FragmentNode { spec: Arc::new(latest), inputs: vec![Input::Node(NodeId(0))] },
    ];
    recursion(nodes, true, Limit::default())
}

/// Each step is a list of edges in ("+12 -21"), and gives what came out, errors behind a `!`.
fn run(spec: &Recursion, steps: &[&str]) -> Vec<String> {
    let store = Committed::new(Arc::new(MemoryStore::new()), Generation(0));
    let context = BuildContext { store, worker: 0, workers: 1, cache_entries: None, fresh: true, checks: true };
    let mut operator = spec.build(&context).unwrap();
    steps.iter().enumerate().map(|(n, step)| one_step(operator.as_mut(), n, step)).collect()
}

fn one_step(operator: &mut dyn Operator, n: usize, changes: &str) -> String {
    let rows: Vec<(Row, i64)> = changes
        .split_whitespace()
        .map(|edge| {
            let node = |at: usize| Value::Int(edge[at..=at].parse().unwrap());
            (vec![node(1), node(2)], if edge.starts_with('-') { -1 } else { 1 })
        })
        .collect();
    let mut out = Output::default();
    let step = Step { epoch: Epoch(n as u64 + 1), ..Step::default() };
    operator.apply(&step, &mut [vec![to_delta(&edges(), &rows)]], &mut out).unwrap();
    let text = |delta: &crate::types::delta::Delta, mark: &str| {
        pretty::delta(delta).unwrap().into_iter().map(|line| format!("{mark}{}", line.replace(" | ", ""))).collect::<Vec<_>>()
    };
    let mut lines: Vec<String> = out.deltas.iter().flat_map(|d| text(d, "")).collect();
    lines.extend(out.errors.iter().flat_map(|e| text(&e.rows, "!")));
    lines.sort();
    lines.join(" ")
}

fn closure(steps: &[&str]) -> Vec<String> {
    let linear = run(&linear(true, Limit::default()), steps);
    assert_eq!(linear, run(&doubling(), steps), "the variable once or twice is the same closure");
    linear
}

#[test]
fn a_chain_grows_and_breaks() {
    assert_eq!(
        closure(&["+12 +23", "+34", "-23", "+23", "-34"]),
        ["+112 +113 +123", "+114 +124 +134", "-113 -114 -123 -124", "+113 +114 +123 +124", "-114 -124 -134"]
    );
}

#[test]
fn a_cycle_of_two_dies_with_its_support() {
    // 1 -> 2 <-> 3: without the cycle's own edge nothing of it stays.
    assert_eq!(closure(&["+12 +23 +32", "-12", "-23", "+23"]), ["+112 +113 +122 +123 +132 +133", "-112 -113", "-122 -123 -133", "+122 +123 +133"]);
}

#[test]
fn a_cycle_of_three_breaks_anywhere() {
    let all = "+111 +112 +113 +121 +122 +123 +131 +132 +133";
    let steps = closure(&["+12 +23 +31", "-31", "+31", "-12", "-23 -31"]);
    assert_eq!(steps, [all, "-111 -121 -122 -131 -132 -133", "+111 +121 +122 +131 +132 +133", "-111 -112 -113 -122 -132 -133", "-121 -123 -131"]);
}

#[test]
fn a_self_loop_is_no_support_for_others() {
    assert_eq!(closure(&["+11 +12", "-12", "+12", "-11"]), ["+111 +112", "-112", "+112", "-111"]);
}

#[test]
fn a_cycle_attached_by_two_paths_holds_until_both_are_gone() {
    // 0 -> 1 -> 3 and 0 -> 2 -> 3, and 3 <-> 4 behind them.
    let steps = closure(&["+01 +02 +13 +23 +34 +43", "-13", "-02", "+13 -23"]);
    assert_eq!(steps[1], "-113 -114");
    assert_eq!(steps[2], "-102 -103 -104");
    assert_eq!(steps[3], "+103 +104 +113 +114 -123 -124");
}

#[test]
fn an_equal_edge_is_a_second_support() {
    assert_eq!(closure(&["+12 +12 +21", "-12", "-12"]), ["+111 +112 +121 +122", "", "-111 -112 -122"]);
}

#[test]
fn a_longer_way_takes_over() {
    // Levels rise where the short way is withdrawn, and what is behind moves with it.
    assert_eq!(closure(&["+19 +12 +23 +39 +98", "-19", "-23"]), ["+112 +113 +118 +119 +123 +128 +129 +138 +139 +198", "", "-113 -118 -119 -123 -128 -129"]);
}

#[test]
fn copies_add_up_under_union_all() {
    let spec = linear(false, Limit::default());
    assert_eq!(run(&spec, &["+12 +13 +24 +34", "-12", "+12 +12"]), ["+112 +113 +124 +134 +214", "-112 -114", "+212 +214"]);
}

#[test]
fn an_endless_loop_ends_at_the_limit_and_says_so() {
    let limit = Limit { levels: 3, beyond: Beyond::Errors };
    assert_eq!(run(&linear(false, limit), &["+12 +21", "-21"]), ["!+112 !+121 +211 +212 +221 +222", "!-112 !-121 -112 -211 -221 -222"]);
    // UNION ends by itself; a chain that is longer than the limit does not.
    assert_eq!(run(&linear(true, limit), &["+12 +21"]), ["+111 +112 +121 +122"]);
    let limit = Limit { levels: 1, ..limit };
    assert_eq!(run(&linear(true, limit), &["+12 +23 +34", "+13", "-12"]), [sorted("!+114 +112 +113 +123 +124 +134"), sorted("!-114 +114"), sorted("-112")]);
    let dropped = Limit { levels: 1, beyond: Beyond::Dropped };
    assert_eq!(run(&linear(true, dropped), &["+12 +23 +34"]), ["+112 +113 +123 +124 +134"]);
}

fn sorted(text: impl Into<String>) -> String {
    let text: String = text.into();
    let mut words = text.split(' ').map(str::to_string).collect::<Vec<_>>();
    words.sort();
    words.join(" ")
}

/// All pairs that are connected by edges that are there.
fn reachable(epochs: &[EpochInput]) -> Bag {
    let rows = total(epochs, 0);
    let mut found: BTreeSet<Row> = rows.keys().cloned().collect();
    loop {
        let mut next = found.clone();
        for x in &found {
            for y in rows.keys().filter(|y| x[1] == y[0] && x[1] != Value::Null) {
                next.insert(vec![x[0].clone(), y[1].clone()]);
            }
        }
        if next.len() == found.len() {
            return found.into_iter().map(|row| (row, 1)).collect();
        }
        found = next;
    }
}

#[test]
fn closures_of_random_graphs() {
    for (spec, append_only) in [(linear(true, Limit::default()), false), (doubling(), false), (linear(true, Limit::default()), true)] {
        assert_eq!(spec.append_only(&[append_only]), append_only);
        let inputs = vec![(edges(), append_only)];
        let trial = Trial { spec: Arc::new(spec), inputs: inputs.clone(), forgets: !append_only };
        trial.check(&|random| random_epochs(random, &inputs, 9), &reachable);
    }
}

/// odd = edges UNION even then an edge; even = odd then an edge. Rows of both come out side by side.
fn parity() -> Recursion {
    let step = |next: &mut u32| {
        let inputs = (with_level(&edges()), edges());
        Join::new(JoinKind::Inner, inputs, (vec![1], vec![0]), false, None, None, Some(vec![0, 4, 2]), with_level(&edges()), &mut allocate(next)).unwrap()
    };
    let mut next = 0;
    let (even, odd) = (step(&mut next), step(&mut next));
    let nodes = vec![
        FragmentNode { spec: Arc::new(even), inputs: vec![Input::Port(0), Input::Port(2)] },
        FragmentNode { spec: Arc::new(odd), inputs: vec![Input::Port(1), Input::Port(2)] },
    ];
    let variable = |name: &str, base, node, state| Variable {
        name: name.to_string(),
        schema: edges(),
        distinct: true,
        base,
        derived: vec![Input::Node(NodeId(node))],
        state: TableId(state),
    };
    let variables = vec![variable("odd", vec![0], 1, 90), variable("even", vec![], 0, 91)];
    Recursion { variables, body: Fragment { nodes }, inputs: 1, limit: Limit::default(), results: vec![0, 1] }
}

fn parities(epochs: &[EpochInput]) -> Bag {
    let rows = total(epochs, 0);
    let mut found: BTreeSet<(i128, Row)> = rows.keys().map(|row| (0, row.clone())).collect();
    loop {
        let mut next = found.clone();
        for (kind, x) in &found {
            next.extend(rows.keys().filter(|y| x[1] == y[0] && x[1] != Value::Null).map(|y| (1 - kind, vec![x[0].clone(), y[1].clone()])));
        }
        if next.len() == found.len() {
            let null = || vec![Value::Null, Value::Null];
            let row = |(kind, row): (i128, Row)| [vec![Value::Int(kind)], if kind == 0 { [row, null()].concat() } else { [null(), row].concat() }].concat();
            return found.into_iter().map(|r| (row(r), 1)).collect();
        }
        found = next;
    }
}

#[test]
fn two_variables_of_random_graphs() {
    let inputs = vec![(edges(), false)];
    let trial = Trial { spec: Arc::new(parity()), inputs: inputs.clone(), forgets: true };
    trial.check(&|random| random_epochs(random, &inputs, 7), &parities);
}
