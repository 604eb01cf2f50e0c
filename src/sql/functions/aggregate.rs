//! `sum` and `avg` with Postgres' result types: sum(bigint) is numeric, so that it cannot overflow, and avg of integers
//! and numerics is numeric, so that it is exact to 16 digits. DataFusion's own do the work; only the type their argument
//! is cast to differs.
//!
//! | argument | sum | avg |
//! | --- | --- | --- |
//! | smallint, int | bigint | numeric (38,16) |
//! | bigint | numeric (38,0) | numeric (38,16) |
//! | numeric(p,s) | numeric (38,s) | numeric (38,16) |
//! | real, double | double | double |

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Result, plan_err};
use datafusion::functions_aggregate::{average::avg_udaf, sum::sum_udaf};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, ReversedUDAF, Signature, Volatility};
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Which {
    Sum,
    Avg,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Numeric {
    which: Which,
    signature: Signature,
    inner: Arc<AggregateUDF>,
}

pub(super) fn functions() -> Vec<Arc<AggregateUDF>> {
    let wrap = |which, inner| Arc::new(AggregateUDF::new_from_impl(Numeric { which, signature: Signature::user_defined(Volatility::Immutable), inner }));
    vec![wrap(Which::Sum, sum_udaf()), wrap(Which::Avg, avg_udaf())]
}

impl AggregateUDFImpl for Numeric {
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
        let [argument] = arguments else { return plan_err!("{} takes one argument", self.name()) };
        let coerced = match (self.which, argument) {
            (Which::Sum, DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 | DataType::UInt16) => DataType::Int64,
            // DataFusion's sum adds ten digits of precision: 28 become 38.
            (Which::Sum, DataType::Int64 | DataType::UInt32 | DataType::UInt64) => DataType::Decimal128(28, 0),
            (Which::Sum, DataType::Decimal128(..) | DataType::Decimal256(..)) => argument.clone(),
            // DataFusion's avg adds four digits to precision and scale.
            (Which::Avg, t) if t.is_integer() => DataType::Decimal128(34, 12),
            (Which::Avg, DataType::Decimal128(_, scale)) if *scale <= 12 => DataType::Decimal128(34, 12),
            (Which::Avg, DataType::Decimal128(..) | DataType::Decimal256(..)) => argument.clone(),
            (_, DataType::Float16 | DataType::Float32 | DataType::Float64 | DataType::Null) => DataType::Float64,
            (_, DataType::Interval(_) | DataType::Duration(_)) => return plan_err!("{} over intervals is not supported", self.name()),
            _ => return plan_err!("Failed to coerce arguments to satisfy a call to '{}' function", self.name()),
        };
        Ok(vec![coerced])
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arguments)
    }

    fn accumulator(&self, arguments: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        self.inner.accumulator(arguments)
    }

    fn state_fields(&self, arguments: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        self.inner.state_fields(arguments)
    }

    fn groups_accumulator_supported(&self, arguments: AccumulatorArgs) -> bool {
        self.inner.groups_accumulator_supported(arguments)
    }

    fn create_groups_accumulator(&self, arguments: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        self.inner.create_groups_accumulator(arguments)
    }

    fn create_sliding_accumulator(&self, arguments: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        self.inner.create_sliding_accumulator(arguments)
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}
