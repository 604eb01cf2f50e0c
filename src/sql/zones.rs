//! What an instant is in the session's time zone. Between an instant (timestamptz) and a clock (timestamp, date, time) stands a zone; DataFusion's is always UTC, so where the
//! session has another one this rule writes it out.
//!
//! | written | bound, in the zone z |
//! | --- | --- |
//! | `instant::timestamp`, `::date`, `::time`, also where types meet | `timezone(z, instant)`, cast on |
//! | `clock::timestamptz`, `date::timestamptz` | `timezone(z, clock)` |
//! | `date_trunc(unit, instant)` | `date_trunc(unit, instant, z)` |
//! | `extract(field FROM instant)`, `date_part`, `age(a, b)` | of `timezone(z, instant)` |
//! | `extract(timezone FROM instant)` | of `timezone(z, instant) - timezone('UTC', instant)` |
//! | `to_char(instant, pattern)` | `to_char(instant, pattern, z)` |
//! | `generate_series(instant, instant, step)` | the same with a clock of z |
//! | `to_timestamp(text, pattern)` | what it reads as UTC, on a clock of z |
//! | `instant ± interval` | its days and months on a clock of z, then its time |
//! | `current_date`, `localtimestamp` | from `now()` |

use super::functions::{arithmetic, clock, datetime, series, zone};
use super::style;
use super::types::{TIMESTAMP, timestamptz};
use crate::types::text::Zone;
use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{BinaryExpr, Cast, Expr, ExprSchemable, LogicalPlan, Operator, lit};
use datafusion::optimizer::AnalyzerRule;

/// See the module. It works on coerced types.
#[derive(Debug)]
pub struct Zones;

impl AnalyzerRule for Zones {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let zone = style::current().timezone;
        if zone == Zone::Utc {
            return Ok(plan);
        }
        let zone = zone.name();
        let zoned = plan.transform_up_with_subqueries(|node| {
            let schema = merge_schema(&node.inputs());
            let saver = NamePreserver::new(&node);
            node.map_expressions(|expr| {
                let name = saver.save(&expr);
                Ok(expr.transform_up(|e| zoned(e, &schema, &zone))?.update_data(|e| name.restore(e)))
            })
        })?;
        Ok(zoned.data)
    }

    fn name(&self) -> &str {
        "zones"
    }
}

/// One expression over columns of `schema`, in the session's zone.
pub fn expression(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    let zone = style::current().timezone;
    if zone == Zone::Utc { Ok(expr) } else { expr.transform_up(|e| zoned(e, schema, &zone.name())).map(|t| t.data) }
}

fn is_instant(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(_, Some(_)))
}

fn is_clock(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(_, None))
}

fn in_zone(zone: &str, time: Expr) -> Expr {
    zone::timezone().call(vec![lit(zone), time])
}

fn cast(expr: Expr, to: DataType) -> Expr {
    Expr::Cast(Cast::new(Box::new(expr), to))
}

fn zoned(expr: Expr, schema: &DFSchema, zone: &str) -> Result<Transformed<Expr>> {
    match expr {
        Expr::Cast(Cast { expr: inner, field }) => {
            let from = inner.get_type(schema)?;
            let to = field.data_type();
            // What stands on the way: DataFusion also compares in nanoseconds.
            let (way, made) = if is_instant(&from) && (is_clock(to) || matches!(to, DataType::Date32 | DataType::Time64(_))) {
                (timestamptz(), TIMESTAMP)
            } else if (is_clock(&from) || from == DataType::Date32) && is_instant(to) {
                (TIMESTAMP, timestamptz())
            } else {
                return Ok(Transformed::no(Expr::Cast(Cast { expr: inner, field })));
            };
            let inner = in_zone(zone, if from == way { *inner } else { cast(*inner, way) });
            Ok(Transformed::yes(if *to == made { inner } else { Expr::Cast(Cast { expr: Box::new(inner), field }) }))
        }
        Expr::ScalarFunction(call) => called(call, schema, zone),
        Expr::BinaryExpr(binary) => moved(binary, schema, zone),
        other => Ok(Transformed::no(other)),
    }
}

fn called(mut call: ScalarFunction, schema: &DFSchema, zone: &str) -> Result<Transformed<Expr>> {
    let instant = |e: &Expr| e.get_type(schema).is_ok_and(|t| is_instant(&t));
    let text = |e: &Expr| match e {
        Expr::Literal(ScalarValue::Utf8(Some(text)), _) => Some(text.to_lowercase()),
        _ => None,
    };
    let rewritten = match (call.func.name(), call.args.as_slice()) {
        ("date_trunc", [unit, time]) if instant(time) => datetime::date_trunc().call(vec![unit.clone(), time.clone(), lit(zone)]),
        // The seconds since 1970 are everywhere the same.
        ("extract" | "date_part", [field, _]) if text(field).is_some_and(|f| f == "epoch") => {
            return Ok(Transformed::no(Expr::ScalarFunction(call)));
        }
        ("extract" | "date_part", [field, time]) if instant(time) && text(field).is_some_and(|f| f.starts_with("timezone")) => {
            let field = text(field).unwrap_or_default();
            let of_offset = field.strip_prefix("timezone_").unwrap_or("epoch").to_owned();
            let offset = arithmetic::difference().call(vec![in_zone(zone, time.clone()), in_zone("UTC", time.clone())]);
            let whole = call.func.name() == "extract";
            call.args = vec![lit(of_offset), offset];
            let part = Expr::ScalarFunction(call);
            if whole { cast(part, DataType::Decimal128(19, 0)) } else { part }
        }
        ("extract" | "date_part", [_, time]) if instant(time) => {
            call.args[1] = in_zone(zone, call.args[1].clone());
            Expr::ScalarFunction(call)
        }
        ("to_char", [time, _]) if instant(time) => {
            call.args.push(lit(zone));
            Expr::ScalarFunction(call)
        }
        ("tw_series", [from, _, _]) if instant(from) => series::series_in(style::current().timezone).call(call.args),
        ("age", [a, b]) if instant(a) && instant(b) => {
            call.args = call.args.into_iter().map(|time| in_zone(zone, time)).collect();
            Expr::ScalarFunction(call)
        }
        ("to_timestamp", [_, _]) => in_zone(zone, in_zone("UTC", Expr::ScalarFunction(call))),
        ("localtimestamp", []) => in_zone(zone, clock::now().call(vec![])),
        ("current_date", []) => cast(in_zone(zone, clock::now().call(vec![])), DataType::Date32),
        _ => return Ok(Transformed::no(Expr::ScalarFunction(call))),
    };
    Ok(Transformed::yes(rewritten))
}

/// `instant ± interval`.
fn moved(binary: BinaryExpr, schema: &DFSchema, zone: &str) -> Result<Transformed<Expr>> {
    let unchanged = |binary| Ok(Transformed::no(Expr::BinaryExpr(binary)));
    if !matches!(binary.op, Operator::Plus | Operator::Minus) {
        return unchanged(binary);
    }
    let is_interval = |t: &DataType| matches!(t, DataType::Interval(_));
    let (left, right) = (binary.left.get_type(schema)?, binary.right.get_type(schema)?);
    let (instant, interval) = if is_instant(&left) && is_interval(&right) {
        (*binary.left, *binary.right)
    } else if is_interval(&left) && is_instant(&right) && binary.op == Operator::Plus {
        (*binary.right, *binary.left)
    } else {
        return unchanged(binary);
    };
    let op = |left: Expr, right: Expr| Expr::BinaryExpr(BinaryExpr { left: Box::new(left), op: binary.op, right: Box::new(right) });
    if let Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(value)), _) = &interval
        && (value.months, value.days) == (0, 0)
    {
        return Ok(Transformed::no(op(instant, interval)));
    }
    let days = datetime::date_trunc().call(vec![lit("day"), interval.clone()]);
    let time = Expr::BinaryExpr(BinaryExpr { left: Box::new(interval), op: Operator::Minus, right: Box::new(days.clone()) });
    let on_clock = in_zone(zone, op(in_zone(zone, instant), days));
    debug_assert!(on_clock.get_type(schema).is_ok_and(|t| t == timestamptz()), "a clock in a zone is an instant");
    Ok(Transformed::yes(op(on_clock, time)))
}
