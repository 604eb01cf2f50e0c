//! Arithmetic whose *result types* differ from DataFusion's: numeric division keeps 16 digits behind the point; the
//! difference of two timestamps is an interval of days and time. (Overflow is checked elsewhere, behind type coercion.)

use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, IntervalMonthDayNanoArray};
use arrow::compute::kernels::arity;
use arrow::datatypes::{DataType, Decimal128Type, IntervalMonthDayNano, IntervalUnit, TimestampMicrosecondType, i256};
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::{ColumnarValue, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use std::sync::Arc;

/// Digits behind the point of a quotient.
const QUOTIENT_SCALE: i8 = 16;
const MICROS_PER_DAY: i64 = 86_400_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Op {
    /// numeric / numeric
    Divide,
    /// timestamp - timestamp
    Difference,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Arithmetic {
    op: Op,
    signature: Signature,
}

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    [Op::Divide, Op::Difference].map(function).to_vec()
}

fn function(op: Op) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(Arithmetic { op, signature: Signature::user_defined(Volatility::Immutable) }))
}

/// `timestamp - timestamp`.
pub fn difference() -> Arc<ScalarUDF> {
    function(Op::Difference)
}

/// The function that takes the place of `operator` between operands of these types; `None`: DataFusion's own is right.
pub fn replacement(operator: Operator, left: &DataType, right: &DataType) -> Option<Arc<ScalarUDF>> {
    let integers = left.is_signed_integer() && right.is_signed_integer();
    let is_numeric = |t: &DataType| matches!(t, DataType::Decimal128(..)) || t.is_signed_integer();
    let numerics = is_numeric(left) && is_numeric(right) && !integers;
    let times = matches!((left, right), (DataType::Timestamp(..), DataType::Timestamp(..)));
    match operator {
        Operator::Divide if numerics => Some(function(Op::Divide)),
        Operator::Minus if times => Some(difference()),
        _ => None,
    }
}

impl ScalarUDFImpl for Arithmetic {
    fn name(&self) -> &str {
        match self.op {
            Op::Divide => "tw_numeric_divide",
            Op::Difference => "tw_timestamp_difference",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let [left, right] = arguments else { return plan_err!("{} takes two arguments", self.name()) };
        let both = |t: DataType| Ok(vec![t.clone(), t]);
        match self.op {
            Op::Divide => Ok([left, right].map(|t| if t.is_integer() { DataType::Decimal128(38, 0) } else { t.clone() }).to_vec()),
            // Without zones both are wall clocks; with one on either side both are instants.
            Op::Difference => both(match (left, right) {
                (DataType::Timestamp(_, None), DataType::Timestamp(_, None)) => crate::sql::types::TIMESTAMP,
                _ => crate::sql::types::timestamptz(),
            }),
        }
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(match self.op {
            Op::Divide => DataType::Decimal128(38, QUOTIENT_SCALE),
            Op::Difference => DataType::Interval(IntervalUnit::MonthDayNano),
        })
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [left, right] = arguments.args.as_slice() else { return exec_err!("{} takes two arguments", self.name()) };
        let (left, right) = (left.to_array(arguments.number_rows)?, right.to_array(arguments.number_rows)?);
        let column = match self.op {
            Op::Divide => divide(&left, &right),
            Op::Difference => between(&left, &right),
        };
        column.map(ColumnarValue::Array)
    }
}

fn divide(left: &ArrayRef, right: &ArrayRef) -> Result<ArrayRef> {
    let (DataType::Decimal128(_, left_scale), DataType::Decimal128(_, right_scale)) = (left.data_type(), right.data_type()) else {
        return exec_err!("tw_numeric_divide takes numerics");
    };
    // left / right = l / 10^ls * 10^rs / r; to have 16 digits, l is scaled by 10^(16 - ls + rs).
    let shift = i32::from(QUOTIENT_SCALE) - i32::from(*left_scale) + i32::from(*right_scale);
    let (up, down) = (power(shift.max(0)), power((-shift).max(0)));
    let (left, right) = (left.as_primitive::<Decimal128Type>(), right.as_primitive::<Decimal128Type>());
    let quotient: Decimal128Array = arity::try_binary(left, right, |l, r| quotient(l, r, up, down))?;
    Ok(Arc::new(quotient.with_precision_and_scale(38, QUOTIENT_SCALE)?))
}

fn power(exponent: i32) -> i256 {
    i256::from_i128(10).wrapping_pow(exponent as u32)
}

/// Rounded half away from zero.
fn quotient(left: i128, right: i128, up: i256, down: i256) -> arrow::error::Result<i128> {
    if right == 0 {
        return Err(arrow::error::ArrowError::DivideByZero);
    }
    let out_of_range = || arrow::error::ArrowError::ArithmeticOverflow("numeric field overflow".into());
    let dividend = i256::from_i128(left).checked_mul(up).ok_or_else(out_of_range)?;
    let divisor = i256::from_i128(right).checked_mul(down).ok_or_else(out_of_range)?;
    let (quotient, rest) = (dividend.wrapping_div(divisor), dividend.wrapping_rem(divisor));
    let doubled = rest.wrapping_abs().checked_mul(i256::from_i128(2)).ok_or_else(out_of_range)?;
    let away = if doubled >= divisor.wrapping_abs() { 1 } else { 0 };
    let negative = (left < 0) != (right < 0);
    let rounded = quotient.wrapping_add(i256::from_i128(if negative { -away } else { away }));
    rounded.to_i128().filter(|q| q.unsigned_abs() < 10u128.pow(38)).ok_or_else(out_of_range)
}

fn between(left: &ArrayRef, right: &ArrayRef) -> Result<ArrayRef> {
    let (left, right) = (left.as_primitive::<TimestampMicrosecondType>(), right.as_primitive::<TimestampMicrosecondType>());
    let intervals: IntervalMonthDayNanoArray = arity::try_binary(left, right, |l, r| {
        let micros = l.checked_sub(r).ok_or_else(|| arrow::error::ArrowError::ArithmeticOverflow("interval out of range".into()))?;
        Ok(IntervalMonthDayNano::new(0, (micros / MICROS_PER_DAY) as i32, micros % MICROS_PER_DAY * 1000))
    })?;
    Ok(Arc::new(intervals))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn div(left: (i128, i8), right: (i128, i8)) -> String {
        let decimal = |(v, s)| Arc::new(Decimal128Array::from(vec![v]).with_precision_and_scale(38, s).unwrap()) as ArrayRef;
        match divide(&decimal(left), &decimal(right)) {
            Ok(column) => column.as_primitive::<Decimal128Type>().value_as_string(0),
            Err(e) => e.to_string(),
        }
    }

    #[test]
    fn quotients_keep_sixteen_digits_and_round_half_away_from_zero() {
        assert_eq!(div((10, 0), (4, 0)), "2.5000000000000000");
        assert_eq!(div((1, 0), (3, 0)), "0.3333333333333333");
        assert_eq!(div((-2, 0), (3, 0)), "-0.6666666666666667");
        assert_eq!(div((100, 2), (3, 1)), "3.3333333333333333");
        assert_eq!(div((1, 30), (1, 0)), "0.0000000000000000");
        assert!(div((1, 0), (0, 0)).contains("Divide by zero"));
    }
}
