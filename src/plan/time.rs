//! Event time through expressions: which computed columns are still bounded by a watermark.
//!
//! ```text
//!   ts                         Event          the watermark bounds it
//!   tw_window_start(ts, size)  WindowStart    closed when start + size <= watermark
//!   tw_window_end(ts, size)    WindowEnd      closed when end <= watermark
//!   tw_hop_starts(ts, …, size) a list of WindowStart, which Unnest takes apart
//!   tw_window_plus(start, size) WindowEnd     of a WindowStart of that size
//!   tw_cumulate_ends(ts, …)    a list of WindowEnd
//! ```
//! The functions are those that TUMBLE, HOP and CUMULATE in FROM become (sql/functions). Ends of sessions come from their operator (`lower/session.rs`). A window's end is itself an event time for windows above it; a
//! window's start is not, for rows of a window change until its end.

use super::{EventTime, TimeKind};
use crate::dataflow::ops::windowed::{WindowBound, WindowColumn};
use crate::types::ids::ObjectId;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::{Expr, ExprSchemable};

/// The event time of `expr` over an input with columns of `schema` and these event times.
pub(crate) fn event_time(expr: &Expr, schema: &DFSchema, input: &[EventTime]) -> Option<(TimeKind, Vec<ObjectId>)> {
    match expr {
        Expr::Alias(a) => event_time(&a.expr, schema, input),
        Expr::Column(c) => {
            let column = schema.maybe_index_of_column(c)?;
            input.iter().find(|t| t.column == column).map(|t| (t.kind, t.sources.clone()))
        }
        Expr::Cast(c) if c.expr.get_type(schema).ok()? == expr.get_type(schema).ok()? => event_time(&c.expr, schema, input),
        Expr::ScalarFunction(call) => {
            let (first, rest) = call.args.split_first()?;
            let time = event_time(first, schema, input);
            match (call.func.name(), time?, rest) {
                ("tw_window_start", (kind, sources), [size, ..]) if is_instant(&kind) => Some((TimeKind::WindowStart { size_micros: micros(size)? }, sources)),
                ("tw_window_end" | "tw_cumulate_ends", (kind, sources), [_, ..]) if is_instant(&kind) => Some((TimeKind::WindowEnd, sources)),
                ("tw_hop_starts", (kind, sources), [_, size, ..]) if is_instant(&kind) => Some((TimeKind::WindowStart { size_micros: micros(size)? }, sources)),
                ("tw_window_plus", (TimeKind::WindowStart { size_micros }, sources), [size]) if micros(size) == Some(size_micros) => {
                    Some((TimeKind::WindowEnd, sources))
                }
                _ => None,
            }
        }
        _ => None,
    }
}

pub(crate) fn is_instant(kind: &TimeKind) -> bool {
    matches!(kind, TimeKind::Event | TimeKind::WindowEnd)
}

/// How state keyed by a column of this kind is closed.
pub(crate) fn bound(time: &EventTime) -> WindowBound {
    let column = match time.kind {
        TimeKind::WindowStart { size_micros } => WindowColumn::Start { size_micros },
        TimeKind::WindowEnd | TimeKind::Event => WindowColumn::End,
    };
    WindowBound { column, sources: time.sources.clone() }
}

/// A literal interval of fixed length.
pub(crate) fn micros(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::Alias(a) => micros(&a.expr),
        Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(v)), _) if v.months == 0 => {
            i64::from(v.days).checked_mul(86_400_000_000)?.checked_add(v.nanoseconds / 1000)
        }
        Expr::Literal(ScalarValue::IntervalDayTime(Some(v)), _) => i64::from(v.days).checked_mul(86_400_000_000)?.checked_add(i64::from(v.milliseconds) * 1000),
        Expr::Literal(ScalarValue::DurationMicrosecond(Some(v)), _) => Some(*v),
        _ => None,
    }
}
