//! What a condition says of the time between two columns: `right - left` is at least, or at most, so many microseconds.
//!
//! A comparison counts if both of its sides are sums of timestamps and fixed intervals, on either side of the sign, and one column of each input is left when all is
//! brought to one side: `b.ts >= a.ts - INTERVAL '5 s'`, `a.ts + INTERVAL '1 s' > b.ts`, `b.ts - a.ts <= INTERVAL '1 h'`, `a.ts = b.ts`. Months have no fixed length.

use super::time::micros;
use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, Operator};

/// `right - left >= least` and `right - left <= most`, µs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Ordinals in the schema of the condition.
    pub left: usize,
    pub right: usize,
    pub least: Option<i64>,
    pub most: Option<i64>,
}

/// Bounds between columns before `split` and columns from there on, one entry per pair of columns.
pub(crate) fn bounds(condition: &Expr, schema: &DFSchema, split: usize) -> Vec<Bounds> {
    let mut all: Vec<Bounds> = Vec::new();
    for found in split_conjunction(condition).into_iter().flat_map(|c| of_comparison(c, schema, split)) {
        add(&mut all, found);
    }
    all
}

/// The tighter of both, where the pair of columns is known already.
pub(crate) fn add(all: &mut Vec<Bounds>, found: Bounds) {
    match all.iter_mut().find(|b| (b.left, b.right) == (found.left, found.right)) {
        None => all.push(found),
        Some(known) => {
            known.least = known.least.max(found.least);
            known.most = known.most.into_iter().chain(found.most).min();
        }
    }
}

fn of_comparison(condition: &Expr, schema: &DFSchema, split: usize) -> Vec<Bounds> {
    match condition {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => compared(left, *op, right, schema, split).into_iter().collect(),
        Expr::Between(between) if !between.negated => [(Operator::GtEq, &between.low), (Operator::LtEq, &between.high)]
            .into_iter()
            .filter_map(|(op, bound)| compared(&between.expr, op, bound, schema, split))
            .collect(),
        _ => Vec::new(),
    }
}

fn compared(left: &Expr, op: Operator, right: &Expr, schema: &DFSchema, split: usize) -> Option<Bounds> {
    // left - right op 0
    let mut sum = Sum::of(left, schema)?.minus(Sum::of(right, schema)?);
    sum.times.sort_unstable();
    let [(first, sign), (second, opposite)] = sum.times[..] else { return None };
    if first >= split || second < split || sign != -opposite || sign.abs() != 1 {
        return None;
    }
    // With d = second - first:  opposite * d + nanos  op  0,  so  d  op  -nanos,  or  d  (op turned)  nanos.
    let (op, limit) = if opposite == 1 { (op, -sum.nanos) } else { (op.swap()?, sum.nanos) };
    let (floor, ceiling) = (limit.div_euclid(1000), -(-limit).div_euclid(1000));
    let (least, most) = match op {
        Operator::LtEq => (None, Some(floor)),
        Operator::Lt => (None, Some(ceiling - 1)),
        Operator::GtEq => (Some(ceiling), None),
        Operator::Gt => (Some(floor + 1), None),
        Operator::Eq => (Some(ceiling), Some(floor)),
        _ => return None,
    };
    let micros = |limit: Option<i128>| limit.map(i64::try_from).transpose().ok();
    Some(Bounds { left: first, right: second, least: micros(least)?, most: micros(most)? })
}

/// Columns with how often they are added, and a constant.
struct Sum {
    times: Vec<(usize, i32)>,
    nanos: i128,
}

impl Sum {
    fn of(expr: &Expr, schema: &DFSchema) -> Option<Sum> {
        match expr {
            Expr::Alias(a) => Sum::of(&a.expr, schema),
            Expr::Column(c) => {
                let column = schema.maybe_index_of_column(c)?;
                matches!(schema.field(column).data_type(), DataType::Timestamp(TimeUnit::Microsecond, _)).then(|| Sum { times: vec![(column, 1)], nanos: 0 })
            }
            Expr::Cast(c) if c.expr.get_type(schema).ok()? == expr.get_type(schema).ok()? => Sum::of(&c.expr, schema),
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Plus, right }) => Some(Sum::of(left, schema)?.plus(Sum::of(right, schema)?)),
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Minus, right }) => Some(Sum::of(left, schema)?.minus(Sum::of(right, schema)?)),
            Expr::ScalarFunction(call) => match (call.func.name(), call.args.as_slice()) {
                ("tw_timestamp_difference", [left, right]) => Some(Sum::of(left, schema)?.minus(Sum::of(right, schema)?)),
                // By what intervals are compared: their length in nanoseconds.
                ("tw_interval_order", [interval]) => Sum::of(interval, schema),
                _ => None,
            },
            Expr::Literal(ScalarValue::Decimal128(Some(nanos), _, 0), _) => Some(Sum { times: Vec::new(), nanos: *nanos }),
            Expr::Literal(..) => Some(Sum { times: Vec::new(), nanos: i128::from(micros(expr)?) * 1000 }),
            _ => None,
        }
    }

    fn plus(mut self, other: Sum) -> Sum {
        for (column, count) in other.times {
            match self.times.iter_mut().find(|(known, _)| *known == column) {
                Some((_, sum)) => *sum += count,
                None => self.times.push((column, count)),
            }
        }
        self.times.retain(|(_, count)| *count != 0);
        Sum { nanos: self.nanos + other.nanos, ..self }
    }

    fn minus(self, other: Sum) -> Sum {
        self.plus(Sum { times: other.times.into_iter().map(|(column, count)| (column, -count)).collect(), nanos: -other.nanos })
    }
}
