//! `round`, `trunc`, `ceil` and `floor`, `div`, `scale`: numerics keep as many digits behind the point as Postgres says, doubles round half to even.
//!
//! | call | digits of a numeric result |
//! | --- | --- |
//! | `round(n)`, `trunc(n)`, `ceil(n)`, `floor(n)`, `div(a, b)` | none |
//! | `round(n, 2)`, `trunc(n, 2)` | those that are named, none for negative ones |
//! | `round(n, x)` of a value that is no constant | those of `n` |
//! | `round(d, 2)` of a double, which Postgres does not have | those that are named: it gives a numeric there for what is a double here, `stddev` and its like |

use super::table::{Overload, Type, external, function};
use crate::error::{Error, Kind, Result};
use crate::sql::types::sql_type;
use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, Float64Array, Int32Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Field, FieldRef, Float64Type, Int32Type};
use datafusion::common::{Result as DataFusionResult, ScalarValue};
use datafusion::logical_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use std::sync::Arc;

/// What a numeric holds.
const DIGITS: u8 = 38;
/// Digits that a double may be rounded to.
const DOUBLE_DIGITS: i32 = 16;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let of = |way, aliases: &[&str]| {
        let aliases = aliases.iter().map(|a| (*a).to_owned()).collect();
        Arc::new(ScalarUDF::new_from_impl(Rounding { way, aliases, signature: Signature::user_defined(Volatility::Immutable) }))
    };
    vec![of(Way::Round, &[]), of(Way::Trunc, &[]), of(Way::Ceil, &["ceiling"]), of(Way::Floor, &[]), of(Way::Div, &[]), function("scale", &SCALE)]
}

const SCALE: [Overload; 1] = [Overload { takes: &[Type::Numeric(0)], gives: Type::Integer, run: scale_of }];

fn scale_of(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let scale = if let DataType::Decimal128(_, scale) = columns[0].data_type() { i32::from(*scale) } else { 0 };
    Ok(Arc::new(Int32Array::from(vec![scale; columns[0].len()])))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Way {
    Round,
    Trunc,
    Ceil,
    Floor,
    /// The whole part of a quotient.
    Div,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Rounding {
    way: Way,
    aliases: Vec<String>,
    signature: Signature,
}

impl ScalarUDFImpl for Rounding {
    fn name(&self) -> &str {
        match self.way {
            Way::Round => "round",
            Way::Trunc => "trunc",
            Way::Ceil => "ceil",
            Way::Floor => "floor",
            Way::Div => "div",
        }
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        let numeric = |t: &DataType| match t {
            DataType::Decimal128(..) => t.clone(),
            DataType::Decimal256(_, scale) => DataType::Decimal128(DIGITS, *scale),
            _ => DataType::Decimal128(19, 0),
        };
        let exact = |t: &DataType| t.is_integer() || t.is_decimal() || t.is_null();
        match (self.way, types) {
            (Way::Div, [a, b]) if exact(a) && exact(b) => Ok(vec![numeric(a), numeric(b)]),
            (Way::Round | Way::Trunc, [n, digits]) if exact(n) && (digits.is_integer() || digits.is_null()) => Ok(vec![numeric(n), DataType::Int32]),
            (Way::Round, [n, digits]) if n.is_floating() && (digits.is_integer() || digits.is_null()) => Ok(vec![DataType::Float64, DataType::Int32]),
            (Way::Div, _) => Err(self.undefined(types)),
            (_, [n]) if n.is_decimal() => Ok(vec![numeric(n)]),
            (_, [n]) if n.is_numeric() || n.is_null() => Ok(vec![DataType::Float64]),
            _ => Err(self.undefined(types)),
        }
    }

    fn return_type(&self, types: &[DataType]) -> DataFusionResult<DataType> {
        Ok(self.result(&self.coerce_types(types)?, Some(0)))
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs) -> DataFusionResult<FieldRef> {
        let types: Vec<DataType> = arguments.arg_fields.iter().map(|f| f.data_type().clone()).collect();
        let digits = match arguments.scalar_arguments.get(1) {
            None => Some(0),
            Some(value) => (*value).and_then(|v| {
                if let ScalarValue::Int32(Some(n)) = v {
                    Some(*n)
                } else if let ScalarValue::Int64(Some(n)) = v {
                    i32::try_from(*n).ok()
                } else {
                    None
                }
            }),
        };
        Ok(Arc::new(Field::new(self.name(), self.result(&self.coerce_types(&types)?, digits), true)))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let scalar = arguments.args.iter().all(|a| matches!(a, ColumnarValue::Scalar(_)));
        let rows = if scalar { 1 } else { arguments.number_rows };
        let mut columns = arguments.args.iter().map(|a| a.to_array(rows)).collect::<DataFusionResult<Vec<_>>>()?;
        if columns.len() == 2 && columns[0].data_type().is_floating() {
            columns[0] = cast(&columns[0], arguments.return_field.data_type())?;
        }
        let result: ArrayRef = match arguments.return_field.data_type() {
            DataType::Decimal128(precision, scale) => Arc::new(self.numerics(&columns, *precision, *scale).map_err(external)?),
            _ => Arc::new(columns[0].as_primitive::<Float64Type>().unary::<_, Float64Type>(|v| self.double(v)) as Float64Array),
        };
        Ok(if scalar { ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?) } else { ColumnarValue::Array(result) })
    }
}

impl Rounding {
    fn undefined(&self, types: &[DataType]) -> datafusion::error::DataFusionError {
        let names: Vec<String> = types.iter().map(|t| sql_type(&Field::new("", t.clone(), true))).collect();
        let error = Error::new(Kind::UndefinedFunction, format!("function {}({}) does not exist", self.name(), names.join(", ")));
        external(error.with_hint("No function matches the given name and argument types. You might need to add explicit type casts."))
    }

    /// `digits` behind the point; `None`: not known before it runs.
    fn result(&self, types: &[DataType], digits: Option<i32>) -> DataType {
        let (precision, scale) = match types {
            [DataType::Decimal128(precision, scale), ..] => (precision, scale),
            [_, _] => return DataType::Decimal128(DIGITS, digits.unwrap_or(DOUBLE_DIGITS).clamp(0, DOUBLE_DIGITS) as i8),
            _ => return DataType::Float64,
        };
        if self.way == Way::Div {
            return DataType::Decimal128(DIGITS, 0);
        }
        let digits = digits.map_or(*scale, |d| d.clamp(0, i32::from(DIGITS) - 1) as i8);
        let whole = i32::from(*precision) - i32::from(*scale) + 1;
        DataType::Decimal128((whole + i32::from(digits)).clamp(1, DIGITS.into()) as u8, digits)
    }

    fn double(&self, value: f64) -> f64 {
        match self.way {
            Way::Round => value.round_ties_even(),
            Way::Ceil => value.ceil(),
            Way::Floor => value.floor(),
            Way::Trunc | Way::Div => value.trunc(),
        }
    }

    fn numerics(&self, columns: &[ArrayRef], precision: u8, scale: i8) -> Result<Decimal128Array> {
        let values = columns[0].as_primitive::<Decimal128Type>();
        let from = i32::from(values.scale());
        let value = |row: usize| -> Result<Option<i128>> {
            if columns.iter().any(|c| c.is_null(row)) {
                return Ok(None);
            }
            let value = values.value(row);
            let made = match (self.way, columns.get(1)) {
                (Way::Div, Some(divisors)) => quotient(value, from, divisors.as_primitive::<Decimal128Type>(), row)?,
                (_, digits) => {
                    let digits = digits.map_or(0, |d| d.as_primitive::<Int32Type>().value(row));
                    self.cut(value, from - digits).and_then(|cut| moved(cut, from, i32::from(scale)))
                }
            };
            made.filter(|v| v.unsigned_abs() < 10u128.pow(precision.into()) || precision == DIGITS && v.unsigned_abs() < 10u128.pow(38))
                .map(Some)
                .ok_or_else(overflow)
        };
        let made: Decimal128Array = (0..values.len()).map(value).collect::<Result<Vec<_>>>()?.into();
        Ok(made.with_precision_and_scale(precision, scale)?)
    }

    /// `value` without its last `places` digits, which become zeros.
    fn cut(&self, value: i128, places: i32) -> Option<i128> {
        let Ok(places) = u32::try_from(places) else { return Some(value) };
        let Some(unit) = 10i128.checked_pow(places) else { return Some(0) };
        let (whole, rest) = (value / unit * unit, value % unit);
        let up = match self.way {
            Way::Round if rest.unsigned_abs() * 2 >= unit.unsigned_abs() && rest != 0 => rest.signum(),
            Way::Ceil if rest > 0 => 1,
            Way::Floor if rest < 0 => -1,
            _ => 0,
        };
        whole.checked_add(up * unit)
    }
}

fn overflow() -> Error {
    Error::new(Kind::NumericOutOfRange, "value overflows numeric format")
}

/// From one scale to another; digits that go are zeros.
fn moved(value: i128, from: i32, to: i32) -> Option<i128> {
    let power = 10i128.checked_pow((to - from).unsigned_abs())?;
    if to >= from { value.checked_mul(power) } else { Some(value / power) }
}

fn quotient(value: i128, scale: i32, divisors: &Decimal128Array, row: usize) -> Result<Option<i128>> {
    let divisor = divisors.value(row);
    if divisor == 0 {
        return Err(Error::new(Kind::DivisionByZero, "division by zero"));
    }
    let common = scale.max(i32::from(divisors.scale()));
    let (value, divisor) = (moved(value, scale, common), moved(divisor, i32::from(divisors.scale()), common));
    Ok(value.zip(divisor).map(|(value, divisor)| value / divisor))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(way: Way, value: i128, scale: i8, digits: i32) -> String {
        let rounding = Rounding { way, aliases: vec![], signature: Signature::user_defined(Volatility::Immutable) };
        let column = Arc::new(Decimal128Array::from(vec![value]).with_precision_and_scale(20, scale).unwrap()) as ArrayRef;
        let DataType::Decimal128(precision, to) = rounding.result(&[column.data_type().clone()], Some(digits)) else { panic!() };
        rounding.numerics(&[column, Arc::new(Int32Array::from(vec![digits]))], precision, to).unwrap().value_as_string(0)
    }

    #[test]
    fn digits_are_those_that_are_named() {
        assert_eq!(of(Way::Round, 2567, 3, 2), "2.57");
        assert_eq!(of(Way::Round, -25, 1, 0), "-3");
        assert_eq!(of(Way::Round, 25, 1, 3), "2.500");
        assert_eq!(of(Way::Round, 1_234_567, 3, -2), "1200");
        assert_eq!(of(Way::Trunc, -2567, 3, 1), "-2.5");
        assert_eq!(of(Way::Ceil, -12, 1, 0), "-1");
        assert_eq!(of(Way::Floor, -12, 1, 0), "-2");
    }
}
