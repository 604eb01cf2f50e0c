//! Joins in time over a batch: both sides in one list, by key, in order of time; each left row takes the last right row before it.
//!
//! ```text
//!   Projection(left columns, right columns)
//!     Filter(is a left row [, met a right one])
//!       Window(tw_nearest(column, is a right row) OVER (PARTITION BY key ORDER BY time, side, row))
//!         Union
//!           left columns, NULLs,        key, time, side, NULL, false
//!           NULLs,        right columns, key, time, side, row, true        without NULLs in key and time
//! ```
//!
//! Keys, times and whole rows are compared as the bytes that state would keep them as, so that a SELECT and a view agree on ties too. Of a row of the same time the right one comes
//! first if it may be met; where later rows are met, time runs backwards.

use super::{Nearest, Parts};
use crate::dataflow::ops::ordered::RowCodec;
use crate::error::Result;
use crate::types::delta::Delta;
use crate::types::key::{Codec, Order, Rows};
use arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion::common::metadata::FieldMetadata;
use datafusion::common::{Column, JoinType, Result as DataFusionResult, ScalarValue, exec_err, plan_err};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::{
    ColumnarValue, Expr, Join, LogicalPlan, LogicalPlanBuilder, PartitionEvaluator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
    WindowFrame, WindowFrameBound, WindowFrameUnits, WindowFunctionDefinition, WindowUDF, WindowUDFImpl, lit,
};
use std::sync::Arc;

/// The plan with its joins in time as what DataFusion runs.
pub fn in_batch(plan: LogicalPlan) -> Result<LogicalPlan> {
    super::replaced(plan, &|join, parts| windows(&join, &parts))
}

fn column(name: impl Into<String>) -> Expr {
    Expr::Column(Column::new_unqualified(name))
}

/// Columns of a side under names of their own, or NULLs in their place.
fn listed(schema: &datafusion::common::DFSchema, side: &str, as_nulls: bool) -> DataFusionResult<Vec<Expr>> {
    let one = |(i, (qualifier, field)): (usize, (Option<&datafusion::common::TableReference>, &FieldRef))| {
        let value = match as_nulls {
            true => Expr::Literal(ScalarValue::try_from(field.data_type())?, Some(FieldMetadata::from(field.metadata().clone()))),
            false => Expr::Column(Column::from((qualifier, field))),
        };
        Ok(value.alias(format!("__{side}_{i}")))
    };
    schema.iter().enumerate().map(one).collect()
}

fn windows(join: &Join, parts: &Parts) -> DataFusionResult<LogicalPlan> {
    let (left, right) = (join.left.schema(), join.right.schema());
    let part = |descending: bool| Arc::new(ScalarUDF::new_from_impl(Bytes::new(Encoded::Part { descending })));
    let whole = Arc::new(ScalarUDF::new_from_impl(Bytes::new(Encoded::Row)));
    let side = |is_right: bool| -> DataFusionResult<LogicalPlan> {
        let mut list = listed(left, "left", is_right)?;
        list.extend(listed(right, "right", !is_right)?);
        let key = |(l, r): &(Expr, Expr)| if is_right { r.clone() } else { l.clone() };
        if !parts.keys.is_empty() {
            list.push(part(false).call(parts.keys.iter().map(key).collect()).alias("__key"));
        }
        list.push(part(parts.nearest.is_later()).call(vec![key(&parts.times)]).alias("__time"));
        let is_inclusive = matches!(parts.nearest, Nearest::AtOrBefore | Nearest::AtOrAfter);
        list.push(lit(i32::from(is_right != is_inclusive)).alias("__side"));
        let row = if is_right { whole.call(right.columns().into_iter().map(Expr::Column).collect()) } else { lit(ScalarValue::Binary(None)) };
        list.push(row.alias("__row"));
        list.push(lit(is_right).alias("__is_right"));
        let input = if is_right { &join.right } else { &join.left };
        let rows = LogicalPlanBuilder::from(input.as_ref().clone()).project(list)?;
        let known = column("__time").is_not_null();
        match (is_right, parts.keys.is_empty()) {
            (false, _) => rows.build(),
            (true, true) => rows.filter(known)?.build(),
            (true, false) => rows.filter(known.and(column("__key").is_not_null()))?.build(),
        }
    };
    let all = LogicalPlanBuilder::from(side(false)?).union(side(true)?)?;
    let order = ["__time", "__side", "__row"].map(|name| column(name).sort(true, true)).to_vec();
    let function = Arc::new(WindowUDF::new_from_impl(LastRight { signature: Signature::any(2, Volatility::Immutable) }));
    let nearest = |name: String| {
        let mut call = WindowFunction::new(WindowFunctionDefinition::WindowUDF(Arc::clone(&function)), vec![column(name), column("__is_right")]);
        call.params.partition_by = if parts.keys.is_empty() { Vec::new() } else { vec![column("__key")] };
        call.params.order_by = order.clone();
        // The function sees whole partitions; DataFusion allows no other frame over bytes.
        call.params.window_frame =
            WindowFrame::new_bounds(WindowFrameUnits::Rows, WindowFrameBound::Preceding(ScalarValue::UInt64(None)), WindowFrameBound::CurrentRow);
        Expr::from(call)
    };
    let met = (0..right.fields().len()).map(|i| format!("__right_{i}")).chain(["__is_right".to_string()]);
    let windowed = all.window(met.map(nearest))?.build()?;
    let behind = windowed.schema().fields().len() - right.fields().len() - 1;
    let found = |i: usize| Expr::Column(Column::from(windowed.schema().qualified_field(behind + i)));
    let is_left = column("__is_right").is_false();
    let shown = if join.join_type == JoinType::Left { is_left } else { is_left.and(found(right.fields().len()).is_not_null()) };
    let left_columns = left.iter().enumerate().map(|(i, (q, f))| column(format!("__left_{i}")).alias_qualified(q.cloned(), f.name()));
    let right_columns = right.iter().enumerate().map(|(i, (q, f))| found(i).alias_qualified(q.cloned(), f.name()));
    let list = left_columns.chain(right_columns).collect::<Vec<_>>();
    LogicalPlanBuilder::from(windowed).filter(shown)?.project(list)?.build()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Encoded {
    /// Values by their order; NULL if one of them is.
    Part { descending: bool },
    /// A whole row by the order of its columns.
    Row,
}

/// Values as the bytes that state keeps them as.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Bytes {
    what: Encoded,
    signature: Signature,
}

impl Bytes {
    fn new(what: Encoded) -> Bytes {
        Bytes { what, signature: Signature::variadic_any(Volatility::Immutable) }
    }

    fn encode(&self, columns: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
        let encoded = match self.what {
            Encoded::Part { descending } => {
                let order = Order { descending, nulls_first: false };
                let codec = Codec::ordered(columns.iter().map(|c| (c.data_type().clone(), order)).collect())?;
                let mut encoded = Rows::default();
                codec.encode(columns, &mut encoded)?;
                encoded
            }
            Encoded::Row => {
                let fields = columns.iter().enumerate().map(|(i, c)| Field::new(i.to_string(), c.data_type().clone(), true));
                let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
                let options = RecordBatchOptions::new().with_row_count(Some(rows));
                let batch = RecordBatch::try_new_with_options(Arc::clone(&schema), columns.to_vec(), &options)?;
                RowCodec::new(&schema, &[])?.encode(&Delta::inserts(batch))?
            }
        };
        let nulls = columns.iter().filter(|_| self.what != Encoded::Row).filter_map(|c| c.logical_nulls()).collect::<Vec<_>>();
        let mut bytes = BinaryBuilder::with_capacity(rows, encoded.memory());
        for (i, row) in encoded.iter().enumerate() {
            bytes.append_option((!nulls.iter().any(|n| n.is_null(i))).then_some(row));
        }
        Ok(Arc::new(bytes.finish()))
    }
}

impl ScalarUDFImpl for Bytes {
    fn name(&self) -> &str {
        match self.what {
            Encoded::Part { descending: false } => "tw_order",
            Encoded::Part { descending: true } => "tw_order_descending",
            Encoded::Row => "tw_row",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::Binary)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let rows = arguments.number_rows;
        let columns = arguments.args.into_iter().map(|a| a.into_array(rows)).collect::<DataFusionResult<Vec<_>>>()?;
        self.encode(&columns, rows).map(ColumnarValue::Array).map_err(|e| DataFusionError::External(Box::new(e)))
    }
}

/// `tw_nearest(column, is a right row)`: the column's value in the last right row so far; NULL before the first.
#[derive(Debug, PartialEq, Eq, Hash)]
struct LastRight {
    signature: Signature,
}

impl WindowUDFImpl for LastRight {
    fn name(&self) -> &str {
        "tw_nearest"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn partition_evaluator(&self, _arguments: PartitionEvaluatorArgs) -> DataFusionResult<Box<dyn PartitionEvaluator>> {
        Ok(Box::new(Last))
    }

    fn field(&self, arguments: WindowUDFFieldArgs) -> DataFusionResult<FieldRef> {
        let Some(column) = arguments.input_fields().first() else { return plan_err!("tw_nearest takes a column") };
        Ok(Arc::new(column.as_ref().clone().with_name(arguments.name()).with_nullable(true)))
    }
}

/// Sees a whole partition, in order.
#[derive(Debug)]
struct Last;

impl PartitionEvaluator for Last {
    fn evaluate_all(&mut self, values: &[ArrayRef], rows: usize) -> DataFusionResult<ArrayRef> {
        let [column, is_right] = values else { return exec_err!("tw_nearest takes a column and a flag") };
        let Some(is_right) = is_right.as_boolean_opt() else { return exec_err!("tw_nearest takes a flag") };
        let mut last = None;
        let places = (0..rows).map(|i| {
            if is_right.value(i) {
                last = Some(i as u32);
            }
            last
        });
        Ok(take(column, &places.collect::<UInt32Array>(), None)?)
    }
}
