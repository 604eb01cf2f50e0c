//! ASOF joins against nested loops over the rows that were in time: of changing inputs, of append-only ones with watermarks; and what is left of them in the store.

use super::{AsofJoin, AsofTables, Expiry, Nearest};
use crate::dataflow::harness::{Bag, EpochInput, Row, SOURCE, Trial, Value, add, random_epochs, reads_after, schema, timestamp, to_delta};
use crate::dataflow::ops::join::tests::entries;
use crate::dataflow::ops::windowed::{WindowBound, WindowColumn};
use crate::types::ids::TableId;
use crate::types::time::{WATERMARK_END, WATERMARK_NONE};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use rand::rngs::StdRng;
use std::sync::Arc;

const SECOND: i64 = 1_000_000;
const ALL: [Nearest; 4] = [Nearest::AtOrBefore, Nearest::Before, Nearest::AtOrAfter, Nearest::After];

#[derive(Clone, Copy, Debug)]
struct Shape {
    nearest: Nearest,
    padded: bool,
    keyed: bool,
    /// Whether the left, the right time carries a watermark.
    watermarks: [bool; 2],
}

/// Times are of this type.
fn sides(time: &DataType) -> [SchemaRef; 2] {
    let left = schema(&[("k", DataType::Int32), ("t", time.clone()), ("v", DataType::Int64)]);
    let right = schema(&[("k", DataType::Int32), ("u", DataType::Utf8), ("t", time.clone())]);
    [left, right]
}

fn spec(shape: Shape, time: &DataType) -> AsofJoin {
    let [left, right] = sides(time);
    let bound = |carries: bool| carries.then(|| WindowBound { column: WindowColumn::End, sources: vec![SOURCE] });
    let expiry = bound(shape.watermarks[1]).map(|right| Expiry { left: bound(shape.watermarks[0]), right });
    let keys = if shape.keyed { vec![0] } else { Vec::new() };
    AsofJoin {
        keys: [keys.clone(), keys],
        times: [1, 2],
        nearest: shape.nearest,
        padded: shape.padded,
        output: (0..6).collect(),
        schema: Arc::new(Schema::new(left.fields().iter().chain(right.fields()).cloned().collect::<Vec<_>>())),
        inputs: [left, right],
        tables: AsofTables { rows: [TableId(1), TableId(2)], moments: expiry.is_some().then_some(TableId(3)) },
        expiry,
    }
}

/// Nested loops. Values are ordered as SQL orders them but for NULL, which comes last.
fn expected(shape: Shape, left: &Bag, right: &Bag) -> Bag {
    let last = |v: &Value| (*v == Value::Null, v.clone());
    let mut all = Bag::new();
    for (l, weight) in left {
        let meets = |r: &&Row| {
            let known = l[1] != Value::Null && r[2] != Value::Null;
            let keys = !shape.keyed || (l[0] == r[0] && l[0] != Value::Null);
            known
                && keys
                && match shape.nearest {
                    Nearest::AtOrBefore => l[1] >= r[2],
                    Nearest::Before => l[1] > r[2],
                    Nearest::AtOrAfter => l[1] <= r[2],
                    Nearest::After => l[1] < r[2],
                }
        };
        let order = |r: &&Row| {
            let later = if shape.nearest.is_later() { std::cmp::Ordering::Less } else { std::cmp::Ordering::Greater };
            (r[2].clone(), last(&r[0]), last(&r[1]), later)
        };
        let found = right.iter().filter(|(_, w)| **w > 0).map(|(r, _)| r).filter(meets).max_by(|a, b| {
            let (a, b) = (order(a), order(b));
            let time = if shape.nearest.is_later() { b.0.cmp(&a.0) } else { a.0.cmp(&b.0) };
            time.then(a.1.cmp(&b.1)).then(a.2.cmp(&b.2))
        });
        match found {
            Some(r) => add(&mut all, l.iter().chain(r).cloned().collect(), *weight),
            None if shape.padded => add(&mut all, l.iter().cloned().chain(vec![Value::Null; 3]).collect(), *weight),
            None => {}
        }
    }
    all
}

fn shapes(watermarks: [bool; 2]) -> Vec<Shape> {
    ALL.iter().flat_map(|nearest| [false, true].map(|padded| Shape { nearest: *nearest, padded, keyed: true, watermarks })).collect()
}

#[test]
fn of_inputs_that_change() {
    for time in [DataType::Int64, DataType::Utf8, DataType::Decimal128(20, 2)] {
        for shape in shapes([false, false]) {
            let inputs = sides(&time).map(|s| (s, false)).to_vec();
            let trial = Trial { spec: Arc::new(spec(shape, &time)), inputs, forgets: true };
            let total = crate::dataflow::harness::total;
            trial.check(&|random| random_epochs(random, &trial.inputs, 7), &|epochs| expected(shape, &total(epochs, 0), &total(epochs, 1)));
        }
    }
}

#[test]
fn without_equal_keys() {
    for nearest in ALL {
        let shape = Shape { nearest, padded: true, keyed: false, watermarks: [false, false] };
        let inputs = sides(&DataType::Int64).map(|s| (s, false)).to_vec();
        let trial = Trial { spec: Arc::new(spec(shape, &DataType::Int64)), inputs, forgets: true };
        let total = crate::dataflow::harness::total;
        trial.check(&|random| random_epochs(random, &trial.inputs, 20), &|epochs| expected(shape, &total(epochs, 0), &total(epochs, 1)));
    }
}

fn time_of(row: &Row, port: usize) -> Option<i64> {
    if let Value::Int(t) = row[1 + port] { Some(t as i64) } else { None }
}

/// Rows of a port that were not behind the watermark when they came; all of them, if that drops nothing.
fn in_time(epochs: &[EpochInput], port: usize, drops: bool) -> Bag {
    let (mut bag, mut before) = (Bag::new(), WATERMARK_NONE);
    for epoch in epochs {
        for (row, weight) in &epoch.ports[port] {
            if !drops || time_of(row, port).is_none_or(|t| t > before) {
                add(&mut bag, row.clone(), *weight);
            }
        }
        before = epoch.watermark;
    }
    bag
}

/// Many epochs of tens of seconds, some rows late, with a watermark that follows.
fn epochs(random: &mut StdRng) -> Vec<EpochInput> {
    let mut epochs = random_epochs(random, &sides(&timestamp()).map(|s| (s, true)), 12);
    let more = random_epochs(random, &sides(&timestamp()).map(|s| (s, true)), 12);
    epochs.extend(more);
    let last = epochs.len() - 1;
    for (i, epoch) in epochs.iter_mut().enumerate() {
        for (port, rows) in epoch.ports.iter_mut().enumerate() {
            for (row, _) in rows {
                if let Value::Int(t) = &mut row[1 + port] {
                    *t = (*t * 4 + i as i128 * 7) * i128::from(SECOND);
                }
                if let Value::Int(k) = &mut row[0] {
                    *k /= 4;
                }
            }
        }
        epoch.watermark = if i == 0 { WATERMARK_NONE } else { (i as i64 * 7 - 9) * SECOND };
    }
    epochs[last].watermark = WATERMARK_END;
    epochs
}

#[test]
fn of_append_only_inputs_with_watermarks() {
    for watermarks in [[true, true], [false, true]] {
        for shape in shapes(watermarks) {
            let inputs = sides(&timestamp()).map(|s| (s, true)).to_vec();
            let trial = Trial { spec: Arc::new(spec(shape, &timestamp())), inputs, forgets: false };
            trial.check(&epochs, &|epochs| expected(shape, &in_time(epochs, 0, watermarks[0]), &in_time(epochs, 1, true)));
        }
    }
}

fn left(k: i128, seconds: i128, v: i128) -> Row {
    vec![Value::Int(k), Value::Int(seconds * i128::from(SECOND)), Value::Int(v)]
}

fn right(k: i128, u: &str, seconds: i128) -> Row {
    vec![Value::Int(k), Value::Text(u.to_string()), Value::Int(seconds * i128::from(SECOND))]
}

#[test]
fn a_match_is_corrected_by_a_nearer_row_and_handed_back() {
    let shape = Shape { nearest: Nearest::AtOrBefore, padded: true, keyed: true, watermarks: [false, false] };
    let trial = Trial { spec: Arc::new(spec(shape, &timestamp())), inputs: sides(&timestamp()).map(|s| (s, false)).to_vec(), forgets: false };
    let epoch = |l: Vec<(Row, i64)>, r: Vec<(Row, i64)>| EpochInput { ports: vec![l, r], watermark: WATERMARK_NONE };
    let steps = [
        epoch(vec![(left(1, 100, 7), 1)], vec![(right(1, "a", 90), 1), (right(1, "z", 101), 1)]),
        // Nearer; and a tie, of which the greater counts.
        epoch(vec![], vec![(right(1, "c", 95), 1), (right(1, "d", 95), 1)]),
        // An equal row more, and a row that is no nearer, change nothing.
        epoch(vec![], vec![(right(1, "d", 95), 1), (right(1, "b", 91), 1)]),
        epoch(vec![], vec![(right(1, "d", 95), -2), (right(1, "c", 95), -1)]),
        epoch(vec![], vec![(right(1, "a", 90), -1), (right(1, "b", 91), -1)]),
    ];
    let text = |bag: &Bag| {
        let show = |row: &Row| if row[4] == Value::Null { "-".to_string() } else { format!("{:?}", row[4]) };
        bag.iter().map(|(row, w)| format!("{w:+} {}", show(row))).collect::<Vec<_>>().join(", ")
    };
    let found = trial.outputs(&steps).into_iter().map(|(rows, _)| text(&rows)).collect::<Vec<_>>();
    assert_eq!(found, ["+1 Text(\"a\")", "-1 Text(\"a\"), +1 Text(\"d\")", "", "+1 Text(\"b\"), -1 Text(\"d\")", "+1 -, -1 Text(\"b\")",]);
}

/// Entries in the store after each of many epochs with as many rows.
fn kept(shape: Shape) -> Vec<usize> {
    let [l, r] = sides(&timestamp());
    entries(&spec(shape, &timestamp()), &|n| {
        let n = i128::from(n);
        let lefts = (0..5).map(|k| (left(k, n, n), 1)).collect::<Vec<_>>();
        let rights = (0..5).map(|k| (right(k, "u", n), 1)).collect::<Vec<_>>();
        [to_delta(&l, &lefts), to_delta(&r, &rights)]
    })
}

#[test]
fn state_ends_with_the_watermarks() {
    for nearest in ALL {
        let shape = Shape { nearest, padded: true, keyed: true, watermarks: [true, true] };
        let bounded = kept(shape);
        assert!(bounded[119] <= bounded[60] + 60, "{nearest:?}: entries grow: {} after 60 epochs, {} after 120", bounded[60], bounded[119]);
        // What the test would see if nothing were dropped.
        let unbounded = kept(Shape { watermarks: [false, false], ..shape });
        assert!(unbounded[119] > unbounded[60] + 400, "without watermarks all is kept: {} and {}", unbounded[60], unbounded[119]);
    }
}

#[test]
fn a_change_reads_its_neighbours_however_long_the_history() {
    let shape = Shape { nearest: Nearest::AtOrBefore, padded: true, keyed: true, watermarks: [false, false] };
    let trial = Trial { spec: Arc::new(spec(shape, &timestamp())), inputs: sides(&timestamp()).map(|s| (s, false)).to_vec(), forgets: false };
    let history = |n: i128| {
        let lefts = (0..n).map(|i| (left(1, i, i), 1)).collect::<Vec<_>>();
        let rights = (0..n).map(|i| (right(1, "u", i), 1)).collect::<Vec<_>>();
        [lefts, rights]
    };
    let reads = |n: i128| reads_after(&trial, &history(n), &[vec![(left(1, n - 3, -1), 1)], vec![(right(1, "v", n - 5), 1)]]);
    assert_eq!(reads(500), reads(20_000));
}
