//! percentile_cont, percentile_disc and mode, WITHIN GROUP (ORDER BY x): the values are gathered and sorted. In views `dataflow/agg/picked.rs` maintains them.
//!
//! percentile_cont gives a double precision, the others what they order. NULLs do not count. A fraction outside of 0 to 1 is an error (22003).

use super::table::external;
use crate::error::{Error, Kind};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use arrow::compute::{SortOptions, cast, concat, filter, is_not_null, sort, take};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type, Schema};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};
use datafusion::physical_expr::PhysicalExpr;
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Which {
    Continuous,
    Discrete,
    Mode,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct OrderedSet {
    which: Which,
    signature: Signature,
}

pub(super) fn functions() -> Vec<Arc<AggregateUDF>> {
    let of = |which| Arc::new(AggregateUDF::new_from_impl(OrderedSet { which, signature: Signature::user_defined(Volatility::Immutable) }));
    vec![of(Which::Continuous), of(Which::Discrete), of(Which::Mode)]
}

impl AggregateUDFImpl for OrderedSet {
    fn name(&self) -> &str {
        match self.which {
            Which::Continuous => "percentile_cont",
            Which::Discrete => "percentile_disc",
            Which::Mode => "mode",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn supports_within_group_clause(&self) -> bool {
        true
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        match (self.which, arguments) {
            (Which::Mode, [value]) => Ok(vec![value.clone()]),
            (Which::Discrete, [value, fraction]) if fraction.is_numeric() => Ok(vec![value.clone(), DataType::Float64]),
            (Which::Continuous, [value, fraction]) if fraction.is_numeric() && value.is_numeric() => Ok(vec![DataType::Float64, DataType::Float64]),
            _ => {
                let error = Error::new(Kind::UndefinedFunction, format!("there is no {} over these types", self.name()));
                let hint = if self.which == Which::Mode { "mode() WITHIN GROUP (ORDER BY x)" } else { "percentile(0.5) WITHIN GROUP (ORDER BY x)" };
                Err(external(error.with_hint(format!("write {hint}"))))
            }
        }
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        Ok(if self.which == Which::Continuous { DataType::Float64 } else { arguments.first().cloned().unwrap_or(DataType::Null) })
    }

    fn state_fields(&self, arguments: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let item = Field::new_list_field(arguments.input_fields[0].data_type().clone(), true);
        Ok(vec![Arc::new(Field::new(format!("{}[values]", arguments.name), DataType::List(Arc::new(item)), true))])
    }

    fn accumulator(&self, arguments: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let options = arguments.order_bys.first().map(|s| s.options).unwrap_or_default();
        let value_type = arguments.expr_fields[0].data_type().clone();
        let fraction = arguments.exprs.get(1).map(constant).transpose()?.flatten();
        Ok(Box::new(Gathered { which: self.which, options, value_type, values: Vec::new(), fraction }))
    }
}

/// A fraction, which names no column.
fn constant(expr: &Arc<dyn PhysicalExpr>) -> Result<Option<f64>> {
    let row = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &RecordBatchOptions::new().with_row_count(Some(1)))?;
    let refused = || external(Error::not_supported("a fraction of a percentile must be a constant").with_hint("write one column for each fraction"));
    let value = expr.evaluate(&row).map_err(|_| refused())?.into_array(1)?;
    match ScalarValue::try_from_array(&value, 0)?.cast_to(&DataType::Float64)? {
        ScalarValue::Float64(fraction) => Ok(fraction),
        _ => Err(refused()),
    }
}

#[derive(Debug)]
struct Gathered {
    which: Which,
    options: SortOptions,
    value_type: DataType,
    values: Vec<ArrayRef>,
    fraction: Option<f64>,
}

impl Gathered {
    fn sorted(&self) -> Result<ArrayRef> {
        let parts: Vec<&dyn Array> = self.values.iter().map(AsRef::as_ref).collect();
        if parts.is_empty() {
            return Ok(arrow::array::new_empty_array(&self.value_type));
        }
        Ok(sort(&concat(&parts)?, Some(self.options))?)
    }

    /// Of runs of equal values the longest, the first of several.
    fn most_frequent(values: &ArrayRef) -> Result<usize> {
        let starts = arrow::compute::partition(std::slice::from_ref(values))?.ranges();
        Ok(starts.iter().fold(0..0, |best, run| if run.len() > best.len() { run.clone() } else { best }).start)
    }
}

impl Accumulator for Gathered {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        let present = filter(&columns[0], &is_not_null(&columns[0])?)?;
        if !present.is_empty() {
            self.values.push(present);
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let values = self.sorted()?;
        let output = if self.which == Which::Continuous { DataType::Float64 } else { self.value_type.clone() };
        if values.is_empty() {
            return ScalarValue::try_from(&output);
        }
        let at = |place: usize| ScalarValue::try_from_array(&take(&values, &arrow::array::UInt64Array::from(vec![place as u64]), None)?, 0);
        if self.which == Which::Mode {
            return at(Gathered::most_frequent(&values)?);
        }
        let Some(fraction) = self.fraction else { return ScalarValue::try_from(&output) };
        if !(0.0..=1.0).contains(&fraction) {
            return Err(external(Error::new(Kind::NumericOutOfRange, format!("percentile value {fraction} is not between 0 and 1"))));
        }
        if self.which == Which::Discrete {
            return at(((fraction * values.len() as f64).ceil() as usize).max(1) - 1);
        }
        let place = fraction * (values.len() - 1) as f64;
        let values = cast(&values, &DataType::Float64)?;
        let values = values.as_primitive::<Float64Type>();
        let (low, high) = (values.value(place.floor() as usize), values.value(place.ceil() as usize));
        Ok(ScalarValue::Float64(Some(if low == high { low } else { low + (place - place.floor()) * (high - low) })))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.values.iter().map(|v| v.get_array_memory_size()).sum::<usize>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let values = self.sorted()?;
        let list = datafusion::common::utils::SingleRowListArrayBuilder::new(values).build_list_array();
        Ok(vec![ScalarValue::List(Arc::new(list))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let lists = states[0].as_list::<i32>();
        self.values.extend((0..lists.len()).filter(|row| lists.is_valid(*row)).map(|row| lists.value(row)).filter(|v| !v.is_empty()));
        Ok(())
    }
}
