//! Window functions: Over, one operator per PARTITION BY and ORDER BY, one behind the other.

use super::aggregate::{order, placed_aggregate};
use super::columns::{Columns, key_through};
use super::refuse;
use super::window::{number, window_function};
use crate::dataflow::agg::function::AggregateCall;
use crate::dataflow::ops::over::Over;
use crate::dataflow::ops::over::call::{WindowCall, WindowFunction};
use crate::dataflow::ops::over::frame::{Bound, Distance, Frame, Units};
use crate::error::{Error, Kind, Result};
use crate::plan::node::{Emit, Planner, Stream, nullable};
use crate::types::key::Order;
use arrow::datatypes::{DataType, IntervalMonthDayNano};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::{self, NullTreatment, WindowFunctionParams};
use datafusion::logical_expr::{self as logical, Expr, ExprSchemable, WindowFrame, WindowFrameBound, WindowFrameUnits, WindowFunctionDefinition};
use std::sync::Arc;

const MICROS_PER_DAY: i64 = 86_400_000_000;

/// Functions over the same partitions in the same order: ordinals of their columns, and of each its position in the query.
struct Window {
    partition: Vec<usize>,
    order: Vec<(usize, Order)>,
    calls: Vec<(usize, WindowCall)>,
}

impl Planner<'_> {
    pub(super) fn functions_over(&mut self, node: &logical::Window) -> Result<Stream> {
        let input = self.lower(&node.input)?;
        let width = input.schema.fields().len();
        let mut columns = Columns::beside(input, node.input.schema());
        let mut windows: Vec<Window> = Vec::new();
        for (position, expr) in node.window_expr.iter().enumerate() {
            let function = window_function(expr)?;
            let params = &function.params;
            let partition = params.partition_by.iter().filter(|e| !is_constant(e)).map(|e| columns.place(e)).collect::<Result<Vec<_>>>()?;
            let sorts = params.order_by.iter().filter(|s| !is_constant(&s.expr));
            let order = sorts.map(|s| Ok((columns.place(&s.expr)?, order(s)))).collect::<Result<Vec<_>>>()?;
            let call = call(function, node.schema.field(width + position).data_type(), &mut columns)?;
            match windows.iter_mut().find(|w| w.partition == partition && w.order == order) {
                Some(window) => window.calls.push((position, call)),
                None => windows.push(Window { partition, order, calls: vec![(position, call)] }),
            }
        }
        // Places are ordinals: all columns of the input are kept.
        let (mut stream, _) = columns.finish(self)?;
        let mut places = vec![0; node.window_expr.len()];
        for window in windows {
            let first = stream.schema.fields().len();
            window.calls.iter().enumerate().for_each(|(i, (position, _))| places[*position] = first + i);
            stream = self.over(stream, window, node, width)?;
        }
        self.rearranged(stream, width, &places, node)
    }

    fn over(&mut self, input: Stream, window: Window, node: &logical::Window, width: usize) -> Result<Stream> {
        let Window { partition, order, calls } = window;
        let bound = self.window_of(&input, &partition);
        let results = calls.iter().map(|(position, _)| Arc::clone(&node.schema.fields()[width + position]));
        let fields = input.schema.fields().iter().cloned().chain(results).collect::<Vec<_>>();
        let schema = nullable(&fields);
        let calls = calls.into_iter().map(|(_, call)| call).collect::<Vec<_>>();
        let what = format!("Over {partition:?} {order:?} {calls:?} {bound:?}");
        let (from, to, append_only) = (Arc::clone(&input.schema), Arc::clone(&schema), input.append_only);
        let is_bounded = bound.is_some() || self.emit == Emit::OnWindowClose;
        let (over, append_only) = self.add(what, &[&input], |allocate| {
            let state = allocate();
            let mut over = Over { input: from, partition, order, calls, input_append_only: append_only, window: bound, schema: to, state, marks: None };
            over.marks = over.needs_marks().then(&mut *allocate);
            over.check()?;
            Ok(Arc::new(over))
        })?;
        let event_time = if is_bounded { input.event_time } else { Vec::new() };
        Ok(Stream { input: over, schema, append_only, key: input.key, event_time })
    }

    /// The input's columns, then the results in the query's order.
    fn rearranged(&mut self, stream: Stream, width: usize, places: &[usize], node: &logical::Window) -> Result<Stream> {
        let columns = (0..width).chain(places.iter().copied()).collect::<Vec<_>>();
        if columns.iter().enumerate().all(|(i, c)| i == *c) && columns.len() == stream.schema.fields().len() {
            return Ok(stream);
        }
        let field = |c: &usize| stream.schema.field(*c);
        let exprs = columns.iter().map(|c| crate::plan::expr::column(*c, field(c).name(), field(c).data_type())).collect::<Vec<_>>();
        let key = key_through(&stream.key, &exprs);
        let schema = nullable(node.schema.fields());
        let event_time = stream.event_time.iter().filter(|t| t.column < width).cloned().collect();
        let (input, append_only) = self.project(&stream, exprs, &schema)?;
        Ok(Stream { input, schema, append_only, key, event_time })
    }
}

/// A constant neither divides nor orders rows.
fn is_constant(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(..) => true,
        Expr::Cast(cast) => is_constant(&cast.expr),
        Expr::Alias(alias) => is_constant(&alias.expr),
        _ => false,
    }
}

fn call(function: &expr::WindowFunction, output: &DataType, columns: &mut Columns<'_>) -> Result<WindowCall> {
    let params = &function.params;
    if params.distinct {
        return Err(refuse("DISTINCT is not implemented for window functions", "remove duplicates in a subquery first"));
    }
    let ignore_nulls = params.null_treatment == Some(NullTreatment::IgnoreNulls);
    let call = match &function.fun {
        WindowFunctionDefinition::AggregateUDF(udaf) => WindowFunction::Aggregate(aggregate(udaf, params, output, columns)?),
        WindowFunctionDefinition::WindowUDF(udf) => {
            if params.filter.is_some() {
                return Err(refuse("FILTER is not implemented for non-aggregate window functions", "use CASE in the argument"));
            }
            named(udf.name(), &params.args, output, columns)?
        }
    };
    let takes_nulls = matches!(call, WindowFunction::Shift { .. } | WindowFunction::First(_) | WindowFunction::Last(_) | WindowFunction::Nth(..));
    if ignore_nulls && !takes_nulls {
        return Err(refuse(&format!("function {} does not allow IGNORE NULLS", function.fun.name()), "leave out the NULLs with FILTER or in a subquery"));
    }
    let frame = if matches!(call, WindowFunction::Aggregate(_)) || takes_nulls { frame(&params.window_frame)? } else { Frame::ALL };
    Ok(WindowCall { function: call, frame, ignore_nulls, output: output.clone() })
}

fn aggregate(udaf: &Arc<logical::AggregateUDF>, params: &WindowFunctionParams, output: &DataType, columns: &mut Columns<'_>) -> Result<AggregateCall> {
    let params = expr::AggregateFunctionParams {
        args: params.args.clone(),
        distinct: false,
        filter: params.filter.clone(),
        order_by: Vec::new(),
        null_treatment: params.null_treatment,
    };
    placed_aggregate(&expr::AggregateFunction { func: Arc::clone(udaf), params }, output, columns)
}

fn named(name: &str, args: &[Expr], output: &DataType, columns: &mut Columns<'_>) -> Result<WindowFunction> {
    let place = |at: usize, columns: &mut Columns<'_>| columns.place(args.get(at).ok_or_else(|| Error::internal(format!("{name}() has too few arguments")))?);
    let count = |at: usize| {
        let refused = || refuse(&format!("{name}() with a number that is not a constant cannot be maintained incrementally"), "write the number");
        args.get(at).map_or(Ok(None), |arg| number(arg).map(Some).ok_or_else(refused))
    };
    let positive = |at: usize| match count(at)? {
        Some(n) if n > 0 => Ok(n.unsigned_abs()),
        _ => Err(Error::new(Kind::InvalidParameter, format!("argument of {name} must be greater than zero"))),
    };
    Ok(match name {
        "row_number" => WindowFunction::RowNumber,
        "rank" => WindowFunction::Rank,
        "dense_rank" => WindowFunction::DenseRank,
        "percent_rank" => WindowFunction::PercentRank,
        "cume_dist" => WindowFunction::CumeDist,
        "ntile" => WindowFunction::Ntile(positive(0)?),
        "lag" | "lead" => {
            let back = count(1)?.unwrap_or(1);
            let back = if name == "lag" { back } else { back.saturating_neg() };
            let default = args.get(2).filter(|d| !matches!(d, Expr::Literal(value, _) if value.is_null()));
            let default = default.map(|d| default_of(d, output, columns)).transpose()?;
            WindowFunction::Shift { argument: place(0, columns)?, back, default }
        }
        "first_value" => WindowFunction::First(place(0, columns)?),
        "last_value" => WindowFunction::Last(place(0, columns)?),
        "nth_value" => WindowFunction::Nth(place(0, columns)?, positive(1)?),
        other => {
            return Err(refuse(
                &format!("window function {other}() cannot be maintained incrementally"),
                "in a materialized view use the aggregates, row_number, rank, dense_rank, percent_rank, cume_dist, ntile, lag, lead, first_value, last_value or nth_value",
            ));
        }
    })
}

/// A default of the type that the function gives.
fn default_of(default: &Expr, output: &DataType, columns: &mut Columns<'_>) -> Result<usize> {
    if default.get_type(columns.schema())? == *output {
        return columns.place(default);
    }
    columns.place(&Expr::Cast(logical::Cast::new(Box::new(default.clone()), output.clone())))
}

fn frame(frame: &WindowFrame) -> Result<Frame> {
    let units = match frame.units {
        WindowFrameUnits::Rows => Units::Rows,
        WindowFrameUnits::Range => Units::Range,
        WindowFrameUnits::Groups => Units::Groups,
    };
    let bound = |bound: &WindowFrameBound| -> Result<Bound> {
        Ok(match bound {
            WindowFrameBound::CurrentRow => Bound::CurrentRow,
            WindowFrameBound::Preceding(far) | WindowFrameBound::Following(far) if far.is_null() => Bound::Unbounded,
            WindowFrameBound::Preceding(far) => Bound::Preceding(distance(far)?),
            WindowFrameBound::Following(far) => Bound::Following(distance(far)?),
        })
    };
    let frame = Frame { units, start: bound(&frame.start_bound)?, end: bound(&frame.end_bound)? };
    match (frame.start, frame.end) {
        (Bound::CurrentRow, Bound::Preceding(_)) => Err(windowing("frame starting from current row cannot have preceding rows")),
        (Bound::Following(_), Bound::Preceding(_)) => Err(windowing("frame starting from following row cannot have preceding rows")),
        (Bound::Following(_), Bound::CurrentRow) => Err(windowing("frame starting from following row cannot end with current row")),
        _ => Ok(frame),
    }
}

fn windowing(message: &str) -> Error {
    Error::new(Kind::Windowing, message)
}

fn distance(far: &ScalarValue) -> Result<Distance> {
    let (distance, is_negative) = match far {
        ScalarValue::UInt64(Some(n)) => (Distance::Count(*n), false),
        ScalarValue::Int16(Some(n)) => (Distance::Number((*n).into()), *n < 0),
        ScalarValue::Int32(Some(n)) => (Distance::Number((*n).into()), *n < 0),
        ScalarValue::Int64(Some(n)) => (Distance::Number((*n).into()), *n < 0),
        ScalarValue::Decimal128(Some(n), ..) => (Distance::Number(*n), *n < 0),
        ScalarValue::Float32(Some(x)) => (Distance::Real((*x).into()), x.is_nan() || *x < 0.0),
        ScalarValue::Float64(Some(x)) => (Distance::Real(*x), x.is_nan() || *x < 0.0),
        ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano { months, days, nanoseconds })) => {
            let micros = i64::from(*days).saturating_mul(MICROS_PER_DAY).saturating_add(nanoseconds / 1000);
            let length = i128::from(*months) * 30 * i128::from(MICROS_PER_DAY) + i128::from(micros);
            (Distance::Interval { months: *months, micros }, length < 0)
        }
        other => return Err(refuse(&format!("a RANGE frame with an offset of type {} is not supported", other.data_type()), "count rows with ROWS")),
    };
    if is_negative {
        return Err(Error::new(Kind::InvalidFrameSize, "invalid preceding or following size in window function"));
    }
    Ok(distance)
}
