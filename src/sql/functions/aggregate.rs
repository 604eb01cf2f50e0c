//! Aggregates with Postgres' result types: sum(bigint) is numeric, so that it cannot overflow, avg of integers and numerics is
//! numeric, so that it is exact to 16 digits, string_agg is text. DataFusion's own do the work; only the types of what goes in and
//! comes out differ. The conversion is inside, not a cast around the argument: the type of a call stays the same however often it is asked for.
//!
//! | argument | sum | avg |
//! | --- | --- | --- |
//! | smallint, int | bigint | numeric (38,16) |
//! | bigint | numeric (38,0) | numeric (38,16) |
//! | numeric(p,s) | numeric (38,s) | numeric (38,16) |
//! | real, double | double | double |

use super::table::external;
use crate::error::{Error, Kind};
use crate::sql::types::sql_type;
use arrow::array::{ArrayRef, BooleanArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue};
use datafusion::functions_aggregate::{average::avg_udaf, string_agg::string_agg_udaf, sum::sum_udaf};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, ReversedUDAF, Signature, Volatility};
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Which {
    Sum,
    Avg,
    StringAgg,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Typed {
    which: Which,
    signature: Signature,
    inner: Arc<AggregateUDF>,
}

pub(super) fn functions() -> Vec<Arc<AggregateUDF>> {
    let wrap = |which, inner| Arc::new(AggregateUDF::new_from_impl(Typed { which, signature: Signature::user_defined(Volatility::Immutable), inner }));
    vec![wrap(Which::Sum, sum_udaf()), wrap(Which::Avg, avg_udaf()), wrap(Which::StringAgg, string_agg_udaf())]
}

impl Typed {
    fn undefined(&self, arguments: &[DataType]) -> datafusion::error::DataFusionError {
        let names: Vec<String> = arguments.iter().map(|t| sql_type(&Field::new("", t.clone(), true))).collect();
        let error = Error::new(Kind::UndefinedFunction, format!("function {}({}) does not exist", self.name(), names.join(", ")));
        external(error.with_hint("No function matches the given name and argument types. You might need to add explicit type casts."))
    }

    /// What DataFusion's function is given.
    fn inner_types(&self, arguments: &[DataType]) -> Vec<DataType> {
        let Some(argument) = arguments.first() else { return Vec::new() };
        let first = match (self.which, argument) {
            (Which::Sum, t) if t.is_integer() && !matches!(t, DataType::Int64 | DataType::UInt32 | DataType::UInt64) => DataType::Int64,
            // DataFusion's sum adds ten digits of precision: 28 become 38.
            (Which::Sum, t) if t.is_integer() => DataType::Decimal128(28, 0),
            // DataFusion's avg adds four digits to precision and scale, and cuts: the last of 17 is there to be rounded.
            (Which::Avg, t) if is_averaged(t) => DataType::Decimal128(34, 13),
            (_, t) => t.clone(),
        };
        std::iter::once(first).chain(arguments[1..].iter().cloned()).collect()
    }

    fn inner_result(&self, arguments: &[DataType]) -> Result<DataType> {
        self.inner.return_type(&self.inner_types(arguments))
    }

    /// Fields of what the inner function is given and gives.
    fn inner_fields(&self, arguments: &[FieldRef], result: &FieldRef) -> Result<(Vec<FieldRef>, FieldRef)> {
        let types: Vec<DataType> = arguments.iter().map(|f| f.data_type().clone()).collect();
        let retyped = |field: &FieldRef, t: DataType| Arc::new(field.as_ref().clone().with_data_type(t));
        let fields = arguments.iter().zip(self.inner_types(&types)).map(|(field, t)| retyped(field, t)).collect();
        Ok((fields, retyped(result, self.inner_result(&types)?)))
    }

    /// Calls `make` with the arguments as the inner function wants them.
    fn with_inner<T>(&self, arguments: AccumulatorArgs<'_>, make: impl FnOnce(AccumulatorArgs<'_>) -> Result<T>) -> Result<Converted<T>> {
        let output = arguments.return_field.data_type().clone();
        let (fields, return_field) = self.inner_fields(arguments.expr_fields, &arguments.return_field)?;
        let inputs = fields.iter().map(|f| f.data_type().clone()).collect();
        let inner = make(AccumulatorArgs { return_field, expr_fields: &fields, ..arguments })?;
        Ok(Converted { inner, inputs, output })
    }
}

/// Whether an average has 16 digits.
fn is_averaged(number: &DataType) -> bool {
    number.is_integer() || matches!(number, DataType::Decimal128(_, scale) if *scale <= 12)
}

impl AggregateUDFImpl for Typed {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        &[]
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let is_text = |t: &DataType| matches!(t, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null);
        match (self.which, arguments) {
            (Which::StringAgg, [text, separator]) if is_text(text) && is_text(separator) => Ok(vec![DataType::Utf8, DataType::Utf8]),
            (Which::Sum | Which::Avg, [DataType::Interval(_) | DataType::Duration(_)]) => {
                Err(external(Error::not_supported(format!("{} over intervals is not supported", self.name())).with_hint("use extract(epoch from x)")))
            }
            (Which::Sum | Which::Avg, [DataType::Float16 | DataType::Float32 | DataType::Float64 | DataType::Null]) => Ok(vec![DataType::Float64]),
            (Which::Sum | Which::Avg, [number]) if number.is_numeric() => Ok(vec![number.clone()]),
            _ => Err(self.undefined(arguments)),
        }
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match (self.which, arguments) {
            (Which::StringAgg, _) => Ok(DataType::Utf8),
            (Which::Avg, [number]) if is_averaged(number) => Ok(DataType::Decimal128(38, 16)),
            _ => self.inner_result(arguments),
        }
    }

    fn accumulator(&self, arguments: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(self.with_inner(arguments, |a| self.inner.accumulator(a))?))
    }

    fn state_fields(&self, arguments: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let (fields, return_field) = self.inner_fields(arguments.input_fields, &arguments.return_field)?;
        self.inner.state_fields(StateFieldsArgs { input_fields: &fields, return_field, ..arguments })
    }

    fn groups_accumulator_supported(&self, arguments: AccumulatorArgs) -> bool {
        self.with_inner(arguments, |a| Ok(self.inner.groups_accumulator_supported(a))).is_ok_and(|supported| supported.inner)
    }

    fn create_groups_accumulator(&self, arguments: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(self.with_inner(arguments, |a| self.inner.create_groups_accumulator(a))?))
    }

    fn create_sliding_accumulator(&self, arguments: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(self.with_inner(arguments, |a| self.inner.create_sliding_accumulator(a))?))
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        if self.which == Which::StringAgg { ReversedUDAF::NotSupported } else { ReversedUDAF::Identical }
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        if self.which == Which::StringAgg { AggregateOrderSensitivity::HardRequirement } else { AggregateOrderSensitivity::Insensitive }
    }
}

/// An accumulator of DataFusion's behind conversions of what goes in and comes out.
#[derive(Debug)]
struct Converted<T> {
    inner: T,
    /// Types of the arguments; columns behind them (of ORDER BY) are handed on.
    inputs: Vec<DataType>,
    output: DataType,
}

impl<T> Converted<T> {
    fn converted(&self, values: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
        let convert = |(i, column): (usize, &ArrayRef)| match self.inputs.get(i) {
            Some(wanted) if wanted != column.data_type() => Ok(cast(column, wanted)?),
            _ => Ok(column.clone()),
        };
        values.iter().enumerate().map(convert).collect()
    }
}

impl Accumulator for Converted<Box<dyn Accumulator>> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let values = self.converted(values)?;
        self.inner.update_batch(&values)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.inner.evaluate()?.cast_to(&self.output)
    }

    fn size(&self) -> usize {
        self.inner.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.inner.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.inner.merge_batch(states)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let values = self.converted(values)?;
        self.inner.retract_batch(&values)
    }

    fn supports_retract_batch(&self) -> bool {
        self.inner.supports_retract_batch()
    }
}

impl GroupsAccumulator for Converted<Box<dyn GroupsAccumulator>> {
    fn update_batch(&mut self, values: &[ArrayRef], groups: &[usize], filter: Option<&BooleanArray>, total: usize) -> Result<()> {
        let values = self.converted(values)?;
        self.inner.update_batch(&values, groups, filter, total)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        Ok(cast(&self.inner.evaluate(emit_to)?, &self.output)?)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        self.inner.state(emit_to)
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.inner.merge_batch(states, groups, total)
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        self.inner.convert_to_state(&self.converted(values)?, filter)
    }

    fn size(&self) -> usize {
        self.inner.size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_have_the_types_of_postgres() {
        let [sum, avg, string_agg] = <[Arc<AggregateUDF>; 3]>::try_from(functions()).unwrap();
        let of = |f: &AggregateUDF, t: DataType| sql_type(&Field::new("", f.return_type(&[t]).unwrap(), true));
        assert_eq!(of(&sum, DataType::Int16), "bigint");
        assert_eq!(of(&sum, DataType::Int64), "numeric");
        assert_eq!(sum.return_type(&[DataType::Decimal128(10, 2)]).unwrap(), DataType::Decimal128(20, 2));
        assert_eq!(avg.return_type(&[DataType::Int32]).unwrap(), DataType::Decimal128(38, 16));
        assert_eq!(of(&avg, DataType::Float64), "double precision");
        assert_eq!(string_agg.return_type(&[DataType::Utf8, DataType::Utf8]).unwrap(), DataType::Utf8);
        assert!(string_agg.coerce_types(&[DataType::Int32, DataType::Utf8]).is_err());
    }
}
