//! Numbers where DataFusion gives infinities or other names: `sqrt`, `ln`, `log`, `sign`, and random uuids.

use super::table::{Overload, Type, external, function, with_aliases};
use crate::error::{Error, Kind, Result};
use arrow::array::{ArrayRef, AsArray, Decimal128Array, FixedSizeBinaryArray, Float64Array};
use arrow::datatypes::{DataType, Decimal128Type, Field, FieldRef, Float64Type};
use datafusion::common::Result as DataFusionResult;
use datafusion::logical_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use std::collections::HashMap;
use std::sync::Arc;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let uuid = RandomUuid { signature: Signature::nullary(Volatility::Volatile) };
    vec![function("sqrt", &SQRT), function("ln", &LN), with_aliases("log", &["log10"], &LOG), function("sign", &SIGN), Arc::new(ScalarUDF::new_from_impl(uuid))]
}

const SQRT: [Overload; 1] = [Overload { takes: &[Type::Double], gives: Type::Double, run: |c| map(&c[0], sqrt) }];
const LN: [Overload; 1] = [Overload { takes: &[Type::Double], gives: Type::Double, run: |c| map(&c[0], |v| Ok(logarithm(v)?.ln())) }];
const LOG: [Overload; 2] = [
    Overload { takes: &[Type::Double], gives: Type::Double, run: |c| map(&c[0], |v| Ok(logarithm(v)?.log10())) },
    Overload { takes: &[Type::Double, Type::Double], gives: Type::Double, run: log_to_base },
];
const SIGN: [Overload; 2] = [
    Overload { takes: &[Type::Double], gives: Type::Double, run: |c| map(&c[0], |v| Ok(if v == 0.0 || v.is_nan() { v } else { v.signum() })) },
    Overload { takes: &[Type::Numeric(0)], gives: Type::Numeric(0), run: sign },
];

fn map(column: &ArrayRef, f: fn(f64) -> Result<f64>) -> Result<ArrayRef> {
    let mapped: Float64Array = column.as_primitive::<Float64Type>().values().iter().map(|v| f(*v)).collect::<Result<Vec<_>>>()?.into();
    Ok(Arc::new(mapped))
}

fn sqrt(value: f64) -> Result<f64> {
    if value < 0.0 { Err(Error::new(Kind::InvalidPower, "cannot take square root of a negative number")) } else { Ok(value.sqrt()) }
}

/// `value`, if it has a logarithm.
fn logarithm(value: f64) -> Result<f64> {
    match value {
        0.0 => Err(Error::new(Kind::InvalidLogarithm, "cannot take logarithm of zero")),
        v if v < 0.0 => Err(Error::new(Kind::InvalidLogarithm, "cannot take logarithm of a negative number")),
        v => Ok(v),
    }
}

fn log_to_base(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let (bases, values) = (columns[0].as_primitive::<Float64Type>(), columns[1].as_primitive::<Float64Type>());
    let logs = bases.values().iter().zip(values.values()).map(|(base, value)| {
        let base = logarithm(*base)?.ln();
        if base == 0.0 {
            return Err(Error::new(Kind::DivisionByZero, "division by zero"));
        }
        Ok(logarithm(*value)?.ln() / base)
    });
    Ok(Arc::new(Float64Array::from(logs.collect::<Result<Vec<_>>>()?)))
}

fn sign(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let signs: Decimal128Array = columns[0].as_primitive::<Decimal128Type>().unary(i128::signum);
    Ok(Arc::new(signs.with_precision_and_scale(38, 0)?))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct RandomUuid {
    signature: Signature,
}

impl ScalarUDFImpl for RandomUuid {
    fn name(&self) -> &str {
        "gen_random_uuid"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::FixedSizeBinary(16))
    }

    fn return_field_from_args(&self, _arguments: ReturnFieldArgs) -> DataFusionResult<FieldRef> {
        let metadata = HashMap::from([(crate::types::text::TYPE_KEY.to_owned(), "uuid".to_owned())]);
        Ok(Arc::new(Field::new(self.name(), DataType::FixedSizeBinary(16), false).with_metadata(metadata)))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let values = (0..arguments.number_rows.max(1)).map(|_| *uuid::Uuid::new_v4().as_bytes());
        let column = FixedSizeBinaryArray::try_from_iter(values).map_err(external)?;
        Ok(ColumnarValue::Array(Arc::new(column.slice(0, arguments.number_rows))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_root_or_logarithm_is_an_error() {
        assert_eq!(sqrt(-1.0).unwrap_err().sqlstate(), "2201F");
        assert_eq!(sqrt(4.0).unwrap(), 2.0);
        assert_eq!(logarithm(0.0).unwrap_err().message(), "cannot take logarithm of zero");
        assert_eq!(logarithm(-1.0).unwrap_err().sqlstate(), "2201E");
        let column = |v: f64| Arc::new(Float64Array::from(vec![v])) as ArrayRef;
        assert!((log_to_base(&[column(2.0), column(8.0)]).unwrap().as_primitive::<Float64Type>().value(0) - 3.0).abs() < 1e-12);
        assert_eq!(log_to_base(&[column(1.0), column(8.0)]).unwrap_err().sqlstate(), "22012");
    }
}
