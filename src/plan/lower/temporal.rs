//! Conditions on the clock: `ts > now() - INTERVAL '1 hour'` in WHERE becomes a TemporalFilter.
//!
//! A comparison counts if both of its sides are sums of now(), one time of the row and fixed intervals, however they are spread over the sides:
//!
//! ```text
//!   time + c >  now()   until time + c          time + c <= now()   from time + c
//!   time + c >= now()   until time + c + 1 µs   time + c <  now()   from time + c + 1 µs
//! ```

use crate::dataflow::ops::temporal_filter::{Moment, TemporalFilter};
use crate::error::{Error, Result};
use crate::plan::expr::{bind, canonical};
use crate::plan::node::{Planner, Stream};
use crate::plan::time::micros;
use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, Operator, Volatility};
use std::sync::Arc;

/// Functions whose value is the step's clock.
pub(crate) const CLOCKS: [&str; 5] = ["now", "current_timestamp", "transaction_timestamp", "statement_timestamp", "localtimestamp"];

const INTERVAL_ORDER: &str = "tw_interval_order";

impl Planner<'_> {
    /// The rows of `input` (with columns of `schema`) on which all of `conditions` hold at the clock.
    pub(super) fn temporal_filter(&mut self, input: Stream, conditions: &[&Expr], schema: &DFSchema) -> Result<Stream> {
        let (mut starts, mut ends) = (Vec::new(), Vec::new());
        for condition in conditions {
            for (edge, time, micros) in edges(condition, schema).ok_or_else(|| refused(condition))? {
                let moment = Moment { expr: bind(&time, schema)?, micros };
                match edge {
                    Edge::From => starts.push(moment),
                    Edge::Until => ends.push(moment),
                }
            }
        }
        let text = |moments: &[Moment]| moments.iter().map(|m| format!("{} + {}", canonical(&m.expr), m.micros)).collect::<Vec<_>>();
        let what = format!("TemporalFilter {:?} {:?}", text(&starts), text(&ends));
        let rows = Arc::clone(&input.schema);
        let (node, append_only) = self.add(what, &[&input], |allocate| Ok(Arc::new(TemporalFilter { starts, ends, schema: rows, state: allocate() })))?;
        // Rows come and leave behind any watermark.
        Ok(Stream { input: node, append_only, event_time: Vec::new(), ..input })
    }
}

/// Whether the value of `expr` depends on the time at which it is computed.
pub(crate) fn reads_clock(expr: &Expr) -> bool {
    let stable = |e: &Expr| matches!(e, Expr::ScalarFunction(call) if call.func.signature().volatility == Volatility::Stable);
    expr.exists(|e| Ok(stable(e))).unwrap_or(true)
}

/// Whether each part of the condition that reads the clock is one that can be maintained.
pub(crate) fn is_maintained(condition: &Expr, schema: &DFSchema) -> bool {
    split_conjunction(condition).into_iter().all(|part| !reads_clock(part) || edges(part, schema).is_some())
}

/// `expr` reads the clock where a view cannot.
pub(crate) fn refused(expr: &Expr) -> Error {
    let mut name = "now".to_string();
    let visited = expr.apply(|e| match e {
        Expr::ScalarFunction(call) if call.func.signature().volatility == Volatility::Stable => {
            name = call.func.name().to_string();
            Ok(TreeNodeRecursion::Stop)
        }
        _ => Ok(TreeNodeRecursion::Continue),
    });
    debug_assert!(visited.is_ok(), "the visitor never fails");
    Error::not_supported(format!("function {name}() in a materialized view can only be compared with a time of the row, in WHERE"))
        .with_hint("write WHERE ts > now() - INTERVAL '1 hour' (or <, BETWEEN), joined to other conditions by AND; intervals without months")
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Edge {
    From,
    Until,
}

/// What a condition says of the clock: from, or until, an expression and so many microseconds.
fn edges(condition: &Expr, schema: &DFSchema) -> Option<Vec<(Edge, Expr, i64)>> {
    match condition {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => compared(left, *op, right, schema),
        Expr::Between(between) if !between.negated => {
            let low = compared(&between.expr, Operator::GtEq, &between.low, schema)?;
            Some([low, compared(&between.expr, Operator::LtEq, &between.high, schema)?].concat())
        }
        _ => None,
    }
}

fn compared(left: &Expr, op: Operator, right: &Expr, schema: &DFSchema) -> Option<Vec<(Edge, Expr, i64)>> {
    let sum = Sum::of(left, schema)?.plus(Sum::of(right, schema)?.negated())?;
    let (sign, time) = sum.time?;
    if sum.clock != -sign {
        return None;
    }
    // time + nanos op now()
    let (op, nanos) = if sign == 1 { (op, sum.nanos) } else { (op.swap()?, -sum.nanos) };
    let (floor, ceiling) = (nanos.div_euclid(1000), -(-nanos).div_euclid(1000));
    let edges = match op {
        Operator::Gt => vec![(Edge::Until, ceiling)],
        Operator::GtEq => vec![(Edge::Until, floor + 1)],
        Operator::Lt => vec![(Edge::From, floor + 1)],
        Operator::LtEq => vec![(Edge::From, ceiling)],
        Operator::Eq => vec![(Edge::From, ceiling), (Edge::Until, floor + 1)],
        _ => return None,
    };
    edges.into_iter().map(|(edge, micros)| Some((edge, time.clone(), i64::try_from(micros).ok()?))).collect()
}

/// The clock, and a time of the row, with their signs, and a constant.
struct Sum {
    clock: i32,
    time: Option<(i32, Expr)>,
    nanos: i128,
}

impl Sum {
    fn of(expr: &Expr, schema: &DFSchema) -> Option<Sum> {
        let is_time = |t: &DataType| matches!(t, DataType::Timestamp(TimeUnit::Microsecond, _));
        if !reads_clock(expr) {
            let nanos = match expr {
                Expr::Literal(ScalarValue::Decimal128(Some(nanos), _, 0), _) => Some(*nanos),
                // By what intervals are compared: their length in nanoseconds.
                Expr::ScalarFunction(call) if call.func.name() == INTERVAL_ORDER => call.args.first().and_then(micros).map(|micros| i128::from(micros) * 1000),
                other => micros(other).map(|micros| i128::from(micros) * 1000),
            };
            if let Some(nanos) = nanos {
                return Some(Sum { clock: 0, time: None, nanos });
            }
            return is_time(&expr.get_type(schema).ok()?).then(|| Sum { clock: 0, time: Some((1, expr.clone())), nanos: 0 });
        }
        match expr {
            Expr::Alias(a) => Sum::of(&a.expr, schema),
            // Times without a zone are UTC, so a zone changes no number.
            Expr::Cast(c) if is_time(&c.expr.get_type(schema).ok()?) && is_time(&expr.get_type(schema).ok()?) => Sum::of(&c.expr, schema),
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Plus, right }) => Sum::of(left, schema)?.plus(Sum::of(right, schema)?),
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Minus, right }) => Sum::of(left, schema)?.plus(Sum::of(right, schema)?.negated()),
            Expr::ScalarFunction(call) => match (call.func.name(), call.args.as_slice()) {
                (clock, []) if CLOCKS.contains(&clock) => Some(Sum { clock: 1, time: None, nanos: 0 }),
                ("tw_timestamp_difference", [left, right]) => Sum::of(left, schema)?.plus(Sum::of(right, schema)?.negated()),
                (INTERVAL_ORDER, [interval]) => Sum::of(interval, schema),
                _ => None,
            },
            _ => None,
        }
    }

    fn plus(self, other: Sum) -> Option<Sum> {
        let time = match (self.time, other.time) {
            (Some(_), Some(_)) => return None,
            (one, other) => one.or(other),
        };
        Some(Sum { clock: self.clock + other.clock, time, nanos: self.nanos + other.nanos })
    }

    fn negated(self) -> Sum {
        Sum { clock: -self.clock, time: self.time.map(|(sign, time)| (-sign, time)), nanos: -self.nanos }
    }
}
