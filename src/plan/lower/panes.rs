//! HOP by panes: all windows begin and end at multiples of gcd(size, slide) (of CUMULATE: of the step), so an event's time matters only up to its pane. Rows that are equal but for
//! their place in the pane are combined before each is copied into its windows (Combine).
//!
//! ```text
//!   Unnest(starts)                                        Unnest(starts)
//!     Project(k, tw_hop_starts(ts, slide, size))   ->       Project(k, tw_hop_starts(pane, slide, size))
//!                                                             Combine
//!                                                               Project(k, pane of ts)
//! ```
//! Only where the time itself is not selected: then rows differ anyway.

use crate::dataflow::ops::combine::Combine;
use crate::error::{Error, Result};
use crate::plan::EventTime;
use crate::plan::expr::bind;
use crate::plan::lower::columns::key_through;
use crate::plan::node::{Planner, Stream, nullable};
use crate::plan::time::{event_time, micros};
use crate::types::expr::{Expr as Scalar, ExprRef};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, TimestampMicrosecondType};
use datafusion::common::{Column, DFSchema};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{self as logical, Expr};
use std::sync::Arc;

/// Name of the column between the two projections.
const PANE: &str = "__pane";

impl Planner<'_> {
    /// The rows of a projection that gives hop windows, through panes; `None`: they would not help.
    pub(super) fn panes(&mut self, node: &logical::Projection) -> Result<Option<Stream>> {
        let Some((position, call, width)) = node.expr.iter().enumerate().find_map(|(i, e)| hop(e).map(|(call, width)| (i, call, width))) else {
            return Ok(None);
        };
        let time = call.args[0].column_refs();
        let others = || node.expr.iter().enumerate().filter(move |(i, _)| *i != position);
        if others().any(|(_, e)| e.column_refs().iter().any(|c| time.contains(c))) {
            return Ok(None);
        }
        let input = self.lower(&node.input)?;
        let from = node.input.schema();
        let (pane, offset) = width;
        let mut exprs = others().map(|(_, e)| bind(e, from)).collect::<Result<Vec<ExprRef>>>()?;
        let time = bind(&call.args[0], from)?;
        exprs.push(Arc::new(Pane { sql: format!("pane({}, {} s)", time.sql(), pane as f64 / 1e6), data_type: time.data_type().clone(), time, pane, offset }));
        let mut fields = others().map(|(i, _)| node.schema.field(i).as_ref().clone().with_nullable(true)).collect::<Vec<_>>();
        fields.push(Field::new(PANE, exprs[fields.len()].data_type().clone(), true));
        let schema = Arc::new(Schema::new(fields));
        let (projected, append_only) = self.project(&input, exprs, &schema)?;
        let rows = Stream { input: projected, schema: Arc::clone(&schema), append_only, key: None, event_time: Vec::new() };
        let spec = Combine { schema: Arc::clone(&schema) };
        let (combined, append_only) = self.add("Combine".to_string(), &[&rows], |_| Ok(Arc::new(spec)))?;
        let rows = Stream { input: combined, append_only, ..rows };
        let times = |(at, e): (usize, &Expr)| event_time(e, from, &input.event_time).map(|(kind, sources)| EventTime { column: at, sources, kind });
        let event_time = node.expr.iter().enumerate().filter_map(times).collect();
        let bound = node.expr.iter().map(|e| bind(e, from)).collect::<Result<Vec<_>>>()?;
        let key = key_through(&input.key, &bound);
        self.over_panes(rows, node, position, call, key, event_time).map(Some)
    }

    /// The projection's columns over combined rows.
    fn over_panes(
        &mut self,
        rows: Stream,
        node: &logical::Projection,
        position: usize,
        call: &ScalarFunction,
        key: Option<Vec<usize>>,
        event_time: Vec<EventTime>,
    ) -> Result<Stream> {
        let pane = rows.schema.fields().len() - 1;
        let only_pane = DFSchema::try_from(Schema::new(
            rows.schema
                .fields()
                .iter()
                .enumerate()
                .map(|(i, f)| if i == pane { f.as_ref().clone() } else { f.as_ref().clone().with_name(format!("__{i}")) })
                .collect::<Vec<_>>(),
        ))?;
        let mut args = call.args.clone();
        args[0] = Expr::Column(Column::new_unqualified(PANE));
        let starts = bind(&Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(&call.func), args)), &only_pane)?;
        let mut exprs = Vec::with_capacity(node.expr.len());
        for i in 0..node.expr.len() {
            let at = if i < position { i } else { i.saturating_sub(1) };
            exprs.push(if i == position {
                Arc::clone(&starts)
            } else {
                crate::plan::expr::column(at, rows.schema.field(at).name(), rows.schema.field(at).data_type())
            });
        }
        let schema = nullable(node.schema.fields());
        let (input, append_only) = self.project(&rows, exprs, &schema)?;
        Ok(Stream { input, schema, append_only, key, event_time })
    }
}

/// The call of `tw_hop_starts` or `tw_cumulate_ends` that an expression is, with the width of its panes and their offset, µs.
fn hop(expr: &Expr) -> Option<(&ScalarFunction, (i64, i64))> {
    let call = match expr {
        Expr::Alias(a) => return hop(&a.expr),
        Expr::ScalarFunction(call) if matches!(call.func.name(), "tw_hop_starts" | "tw_cumulate_ends") => call,
        _ => return None,
    };
    let (slide, size) = (micros(call.args.get(1)?)?, micros(call.args.get(2)?)?);
    let offset = call.args.get(3).map_or(Some(0), micros)?;
    // One window per row: nothing is copied.
    (slide > 0 && size > slide).then(|| (call, (gcd(slide, size), offset)))
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// The beginning of the pane that holds a time.
struct Pane {
    time: ExprRef,
    pane: i64,
    offset: i64,
    data_type: DataType,
    sql: String,
}

impl std::fmt::Debug for Pane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "pane({:?}, {}, {})", self.time, self.pane, self.offset)
    }
}

impl Scalar for Pane {
    fn eval(&self, batch: &RecordBatch) -> Result<ArrayRef> {
        let times = self.time.eval(batch)?;
        let times = times
            .as_primitive_opt::<TimestampMicrosecondType>()
            .ok_or_else(|| Error::internal(format!("windows are of timestamps, not {}", times.data_type())))?;
        // A time at the edge of the calendar stays itself: its windows are out of range either way.
        let begin = |t: i64| t.checked_sub(self.offset).map_or(t, |from| t.checked_sub(from.rem_euclid(self.pane)).unwrap_or(t));
        Ok(Arc::new(times.unary::<_, TimestampMicrosecondType>(begin).with_data_type(times.data_type().clone())))
    }

    fn data_type(&self) -> &DataType {
        &self.data_type
    }

    fn sql(&self) -> String {
        self.sql.clone()
    }

    fn columns(&self) -> Vec<usize> {
        self.time.columns()
    }
}
