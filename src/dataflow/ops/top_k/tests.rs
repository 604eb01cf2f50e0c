//! Top-k against sorting all rows so far.

use super::{Ranking, TopK};
use crate::dataflow::harness::{Bag, EpochInput, Row, Trial, Value, add, random_epochs, schema, total};
use crate::types::ids::TableId;
use crate::types::key::Order;
use crate::types::time::WATERMARK_NONE;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

/// p (partition), a (descending, NULLs first), b (ascending), t
fn input() -> SchemaRef {
    schema(&[("t", DataType::Utf8), ("p", DataType::Int32), ("b", DataType::Int64), ("a", DataType::Int64)])
}

#[derive(Clone, Copy)]
struct Shape {
    partitioned: bool,
    ordered: bool,
    limit: Option<u64>,
    offset: u64,
    ranking: Ranking,
    rank_column: bool,
    append_only: bool,
}

fn trial(shape: Shape) -> Trial {
    let input = input();
    let mut fields = input.fields().to_vec();
    if shape.rank_column {
        fields.push(Arc::new(Field::new("rank", DataType::UInt64, false)));
    }
    // The harness has no unsigned values: ranks are cast to bigint.
    let fields = fields.into_iter().map(|f| if f.name() == "rank" { Arc::new(Field::new("rank", DataType::Int64, false)) } else { f });
    let spec = TopK {
        input: input.clone(),
        partition: if shape.partitioned { vec![1] } else { Vec::new() },
        order: if shape.ordered { vec![(3, Order { descending: true, nulls_first: true }), (2, Order::default())] } else { Vec::new() },
        limit: shape.limit,
        offset: shape.offset,
        ranking: shape.ranking,
        rank_column: shape.rank_column,
        input_append_only: shape.append_only,
        window: None,
        schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())),
        state: TableId(1),
    };
    Trial { spec: Arc::new(spec), inputs: vec![(input, shape.append_only)], forgets: !shape.append_only }
}

fn nulls_last(v: &Value) -> (bool, Value) {
    (*v == Value::Null, v.clone())
}

fn by_order(shape: Shape, a: &Row, b: &Row) -> Ordering {
    if !shape.ordered {
        return Ordering::Equal;
    }
    nulls_last(&b[3]).cmp(&nulls_last(&a[3])).then(nulls_last(&a[2]).cmp(&nulls_last(&b[2])))
}

fn expected(shape: Shape, bag: &Bag) -> Bag {
    let mut partitions: BTreeMap<Value, Vec<Row>> = BTreeMap::new();
    for (row, weight) in bag {
        let key = if shape.partitioned { row[1].clone() } else { Value::Null };
        partitions.entry(key).or_default().extend(std::iter::repeat_n(row.clone(), *weight as usize));
    }
    let mut out = Bag::new();
    for mut rows in partitions.into_values() {
        rows.sort_by(|a, b| {
            let whole = |r: &Row| r.iter().map(nulls_last).collect::<Vec<_>>();
            by_order(shape, a, b).then(whole(a).cmp(&whole(b)))
        });
        let (mut rank, mut dense) = (0, 0);
        for i in 0..rows.len() {
            if i == 0 || by_order(shape, &rows[i - 1], &rows[i]) != Ordering::Equal {
                (rank, dense) = (i + 1, dense + 1);
            }
            let number = match shape.ranking {
                Ranking::RowNumber => i + 1,
                Ranking::Rank => rank,
                Ranking::DenseRank => dense,
            };
            let number = number as u64;
            if number > shape.offset && shape.limit.is_none_or(|l| number <= shape.offset + l) {
                let mut row = rows[i].clone();
                if shape.rank_column {
                    row.push(Value::Int(number.into()));
                }
                add(&mut out, row, 1);
            }
        }
    }
    out
}

fn check(shape: Shape) {
    let trial = trial(shape);
    trial.check(&|random| random_epochs(random, &trial.inputs, 4), &|epochs: &[EpochInput]| expected(shape, &total(epochs, 0)));
}

const PLAIN: Shape = Shape { partitioned: true, ordered: true, limit: Some(3), offset: 0, ranking: Ranking::RowNumber, rank_column: false, append_only: false };

#[test]
fn limits_per_partition() {
    check(PLAIN);
    check(Shape { limit: Some(1), ..PLAIN });
    check(Shape { offset: 2, ..PLAIN });
    check(Shape { limit: None, offset: 4, ..PLAIN });
    check(Shape { append_only: true, ..PLAIN });
    check(Shape { append_only: true, offset: 2, ..PLAIN });
}

#[test]
fn many_rows_in_one_epoch() {
    for append_only in [false, true] {
        let trial = Trial { forgets: false, ..trial(Shape { append_only, ..PLAIN }) };
        let input = |random: &mut rand::rngs::StdRng| {
            let epochs = (0..6).map(|_| random_epochs(random, &trial.inputs, 3).into_iter().flat_map(|mut e| e.ports.remove(0)).filter(|r| r.1 > 0).collect());
            epochs.map(|rows| EpochInput { ports: vec![rows], watermark: WATERMARK_NONE }).collect()
        };
        trial.check(&input, &|epochs: &[EpochInput]| expected(PLAIN, &total(epochs, 0)));
    }
}

#[test]
fn limits_over_all() {
    check(Shape { partitioned: false, limit: Some(10), ..PLAIN });
    check(Shape { partitioned: false, ordered: false, limit: Some(5), ..PLAIN });
    check(Shape { partitioned: false, limit: Some(0), ..PLAIN });
}

#[test]
fn ranks() {
    for ranking in [Ranking::RowNumber, Ranking::Rank, Ranking::DenseRank] {
        for append_only in [false, true] {
            check(Shape { ranking, rank_column: true, append_only, ..PLAIN });
            check(Shape { ranking, rank_column: false, append_only, offset: 1, ..PLAIN });
        }
        check(Shape { ranking, rank_column: true, limit: None, ..PLAIN });
    }
}
