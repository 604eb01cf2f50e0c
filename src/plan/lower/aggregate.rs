//! GROUP BY and SELECT DISTINCT: Aggregate over the columns that its keys and arguments need.
//!
//! A window among the keys (`time.rs`) bounds the state: of several window columns the first is taken, as they close together. Under EMIT ON WINDOW
//! CLOSE every windowed aggregate of the view holds its rows back; those of an inner one reach the outer one in the epoch that closes both.

use super::columns::Columns;
use crate::dataflow::agg::function::{AggregateCall, Function};
use crate::dataflow::agg::regression::Pairs;
use crate::dataflow::ops::aggregate::{Aggregate, EmitMode};
use crate::dataflow::ops::distinct::Distinct;
use crate::dataflow::ops::windowed::WindowGroup;
use crate::error::{Error, Kind, Result};
use crate::plan::node::{Emit, Planner, Stream, is_window, nullable};
use crate::plan::time::bound;
use crate::plan::{EventTime, TimeKind};
use crate::types::key::Order;
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::expr::{AggregateFunction, NullTreatment};
use datafusion::logical_expr::{self as logical, Expr, ExprSchemable, LogicalPlan, SortExpr};
use std::sync::Arc;

impl Planner<'_> {
    pub(super) fn aggregate(&mut self, node: &logical::Aggregate) -> Result<Stream> {
        match node.group_expr.as_slice() {
            [Expr::GroupingSet(sets)] => return self.grouping_sets(node, sets),
            several if several.iter().any(|e| matches!(e, Expr::GroupingSet(_))) => {
                return Err(Error::not_supported("GROUP BY that mixes columns and grouping sets in a materialized view is not supported")
                    .with_hint("write all columns of each set: GROUPING SETS ((a, b), (a))"));
            }
            _ => {}
        }
        let input = self.lower(&node.input)?;
        let mut columns = Columns::of(input, node.input.schema());
        let group = node.group_expr.iter().map(|e| columns.place(e)).collect::<Result<Vec<_>>>()?;
        let outputs = node.schema.fields().iter().skip(group.len()).map(|f| f.data_type());
        let calls = node.aggr_expr.iter().zip(outputs).map(|(e, output)| aggregate_call(e, output, &mut columns)).collect::<Result<Vec<_>>>()?;
        let (input, places) = columns.finish(self)?;
        let group = group.iter().map(|p| places[*p]).collect();
        let calls = calls.into_iter().map(|call| call.at(&places)).collect();
        self.grouped(input, group, calls, nullable(node.schema.fields()))
    }

    pub(super) fn distinct(&mut self, node: &logical::Distinct) -> Result<Stream> {
        match node {
            logical::Distinct::All(input) => self.distinct_rows(input),
            logical::Distinct::On(on) => self.distinct_on(on),
        }
    }

    fn distinct_rows(&mut self, input: &LogicalPlan) -> Result<Stream> {
        let input = self.lower(input)?;
        let (group, schema) = ((0..input.schema.fields().len()).collect::<Vec<_>>(), Arc::clone(&input.schema));
        if self.window_of(&input, &group).is_some() {
            return self.grouped(input, group, Vec::new(), schema);
        }
        let rows = Arc::clone(&schema);
        let (node, append_only) = self.add("Distinct".to_string(), &[&input], |allocate| Ok(Arc::new(Distinct { schema: rows, state: allocate() })))?;
        Ok(Stream { input: node, schema, append_only, key: Some(group), event_time: Vec::new() })
    }

    /// One row per distinct values of the `group` columns of `input`.
    fn grouped(&mut self, input: Stream, group: Vec<usize>, calls: Vec<AggregateCall>, schema: SchemaRef) -> Result<Stream> {
        let window = self.window_of(&input, &group);
        let emit = match (self.emit, &window) {
            (Emit::OnWindowClose, Some(_)) => EmitMode::OnWindowClose,
            _ => EmitMode::Changes,
        };
        let what = format!("Aggregate {group:?} {calls:?} {window:?} {emit:?}");
        let (from, to, append_only) = (Arc::clone(&input.schema), Arc::clone(&schema), input.append_only);
        let positions = 0..group.len();
        let time = |p: usize| input.time(group[p]).map(|t| EventTime { column: p, ..t.clone() });
        let event_time = positions.clone().filter_map(time).filter(|t| window.is_some() || t.kind == TimeKind::Event).collect();
        let groups = group.clone();
        let (node, append_only) =
            self.add(what, &[&input], |allocate| Ok(Arc::new(Aggregate::new(from, groups, calls, window, emit, append_only, to, allocate)?)))?;
        self.windows_held += usize::from(emit == EmitMode::OnWindowClose);
        Ok(Stream { input: node, schema, append_only, key: Some(positions.collect()), event_time })
    }

    /// The window among key columns that bounds their state.
    pub(super) fn window_of(&self, input: &Stream, group: &[usize]) -> Option<WindowGroup> {
        let holds = self.emit == Emit::OnWindowClose;
        let bounds = |c: &usize| input.time(*c).filter(|t| is_window(&t.kind) || holds);
        let position = group.iter().position(|c| bounds(c).is_some_and(|t| is_window(&t.kind))).or_else(|| group.iter().position(|c| bounds(c).is_some()))?;
        Some(WindowGroup { position, bound: bound(bounds(&group[position])?) })
    }
}

/// A call whose ordinals are places until the columns are finished.
struct Placed(AggregateCall);

impl Placed {
    fn at(self, places: &[usize]) -> AggregateCall {
        let call = self.0;
        AggregateCall {
            args: call.args.iter().map(|p| places[*p]).collect(),
            filter: call.filter.map(|p| places[p]),
            order_by: call.order_by.iter().map(|(p, order)| (places[*p], *order)).collect(),
            ..call
        }
    }
}

fn aggregate_call(expr: &Expr, output: &DataType, columns: &mut Columns<'_>) -> Result<Placed> {
    match expr {
        Expr::Alias(a) => aggregate_call(&a.expr, output, columns),
        Expr::AggregateFunction(call) => placed(call, output, columns),
        other => Err(Error::internal(format!("{other} stands among aggregates and is none"))),
    }
}

/// A call over columns that are all kept, where places are ordinals.
pub(super) fn placed_aggregate(call: &AggregateFunction, output: &DataType, columns: &mut Columns<'_>) -> Result<AggregateCall> {
    Ok(placed(call, output, columns)?.0)
}

fn placed(call: &AggregateFunction, output: &DataType, columns: &mut Columns<'_>) -> Result<Placed> {
    let params = &call.params;
    let name = call.func.name();
    let function = match fraction(name, &params.args)? {
        Some(fraction) if name == "percentile_disc" => Function::PercentileDisc(fraction),
        Some(fraction) => Function::PercentileCont(fraction),
        None => function(name)?,
    };
    if params.null_treatment == Some(NullTreatment::IgnoreNulls) {
        return Err(Error::not_supported(format!("IGNORE NULLS in {name}() in a materialized view is not supported"))
            .with_hint(format!("write {name}(x) FILTER (WHERE x IS NOT NULL)")));
    }
    let counts_rows = function == Function::Count && !params.distinct && params.args.iter().all(|a| matches!(a, Expr::Literal(v, _) if !v.is_null()));
    let arg =
        |a: &Expr, columns: &mut Columns<'_>| columns.place(if matches!(function, Function::Sum | Function::Avg) { exact(a, columns.schema()) } else { a });
    let given = if matches!(function, Function::PercentileDisc(_) | Function::PercentileCont(_)) { &params.args[..1] } else { &params.args[..] };
    let args = if counts_rows { Vec::new() } else { given.iter().map(|a| arg(a, columns)).collect::<Result<Vec<_>>>()? };
    let filter = params.filter.as_ref().map(|f| columns.place(f)).transpose()?;
    let order_by = params.order_by.iter().map(|s| Ok((columns.place(&s.expr)?, order(s)))).collect::<Result<Vec<_>>>()?;
    Ok(Placed(AggregateCall { function, args, distinct: params.distinct, filter, order_by, output: output.clone() }))
}

/// The fraction of a percentile, as the bits of a double.
fn fraction(name: &str, args: &[Expr]) -> Result<Option<u64>> {
    if !matches!(name, "percentile_disc" | "percentile_cont") {
        return Ok(None);
    }
    let value = match args.get(1) {
        Some(Expr::Literal(value, _)) => value.cast_to(&DataType::Float64)?,
        _ => ScalarValue::Null,
    };
    let ScalarValue::Float64(Some(fraction)) = value else {
        return Err(
            Error::not_supported(format!("a fraction of {name}() in a materialized view must be a constant")).with_hint("write one column for each fraction")
        );
    };
    if !(0.0..=1.0).contains(&fraction) {
        return Err(Error::new(Kind::NumericOutOfRange, format!("percentile value {fraction} is not between 0 and 1")));
    }
    Ok(Some(fraction.to_bits()))
}

/// The argument of a sum without a cast that only widens it: our sums are exact over the narrow type, and faster.
fn exact<'e>(arg: &'e Expr, schema: &DFSchema) -> &'e Expr {
    let Expr::Cast(cast) = arg else { return arg };
    let Ok(from) = cast.expr.get_type(schema) else { return arg };
    let widens = match (&from, cast.field.data_type()) {
        (from, DataType::Int64 | DataType::Decimal128(..)) if from.is_signed_integer() => true,
        (DataType::Decimal128(precision, scale), DataType::Decimal128(to, to_scale)) => {
            to_scale >= scale && *to as i16 - *to_scale as i16 >= *precision as i16 - *scale as i16
        }
        _ => false,
    };
    if widens { &cast.expr } else { arg }
}

pub(super) fn order(sort: &SortExpr) -> Order {
    Order { descending: !sort.asc, nulls_first: sort.nulls_first }
}

fn function(name: &str) -> Result<Function> {
    Ok(match name {
        "count" => Function::Count,
        "sum" => Function::Sum,
        "avg" | "mean" => Function::Avg,
        "min" => Function::Min,
        "max" => Function::Max,
        "var_pop" => Function::VarPop,
        "var" | "var_samp" | "variance" => Function::VarSamp,
        "stddev_pop" => Function::StddevPop,
        "stddev" | "stddev_samp" => Function::StddevSamp,
        "bool_and" | "every" => Function::BoolAnd,
        "bool_or" => Function::BoolOr,
        "string_agg" => Function::StringAgg,
        "array_agg" => Function::ArrayAgg,
        "bit_and" => Function::BitAnd,
        "bit_or" => Function::BitOr,
        "bit_xor" => Function::BitXor,
        "first_value" => Function::FirstValue,
        "last_value" => Function::LastValue,
        "mode" => Function::Mode,
        other => {
            if let Some(pairs) = Pairs::of(other) {
                return Ok(Function::Regression(pairs));
            }
            return Err(Error::not_supported(format!("aggregate function {other}() cannot be maintained incrementally yet"))
                .with_hint("in a materialized view use count, sum, avg, min, max, stddev, variance, corr, covar_pop, covar_samp, regr_*, bool_and, bool_or, bit_and, bit_or, bit_xor, string_agg, array_agg, json_agg, jsonb_agg, percentile_cont, percentile_disc or mode"));
        }
    })
}

/// Columns of a plan without expressions of its own.
pub(crate) fn all_columns(schema: &DFSchema) -> Vec<Expr> {
    schema.iter().map(|(qualifier, field)| Expr::from((qualifier, field))).collect()
}
