//! Functions of doubles and of whole numbers, with Postgres' errors where the engine's give NaN, infinities or wrap around: `power`, `exp`, angles, `gcd`,
//! `factorial`, `width_bucket`, `to_hex`, `chr`.

use super::table::{Overload, Type, function, with_aliases};
use crate::error::{Error, Kind, Result};
use arrow::array::{ArrayRef, AsArray, Decimal128Array, Float64Array, Int32Array, Int64Array, StringArray};
use arrow::datatypes::{Float64Type, Int32Type, Int64Type};
use datafusion::logical_expr::ScalarUDF;
use std::sync::Arc;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    vec![
        with_aliases("power", &["pow"], &POWER),
        function("exp", &EXP),
        function("asin", &ASIN),
        function("acos", &ACOS),
        function("acosh", &ACOSH),
        function("sind", &SIND),
        function("cosd", &COSD),
        function("tand", &TAND),
        function("gcd", &GCD),
        function("lcm", &LCM),
        function("factorial", &FACTORIAL),
        function("width_bucket", &WIDTH_BUCKET),
        function("to_hex", &TO_HEX),
        function("chr", &CHR),
    ]
}

const POWER: [Overload; 1] = [Overload { takes: &[Type::Double, Type::Double], gives: Type::Double, run: powers }];
const EXP: [Overload; 1] = [Overload { takes: &[Type::Double], gives: Type::Double, run: |c| doubles(c, |v| in_range(v.exp(), v.is_finite(), v > 0.0)) }];
const ASIN: [Overload; 1] = [Overload { takes: &[Type::Double], gives: Type::Double, run: |c| doubles(c, |v| Ok(ratio(v)?.asin())) }];
const ACOS: [Overload; 1] = [Overload { takes: &[Type::Double], gives: Type::Double, run: |c| doubles(c, |v| Ok(ratio(v)?.acos())) }];
const ACOSH: [Overload; 1] =
    [Overload { takes: &[Type::Double], gives: Type::Double, run: |c| doubles(c, |v| if v < 1.0 { Err(input_out_of_range()) } else { Ok(v.acosh()) }) }];
const SIND: [Overload; 1] = [Overload { takes: &[Type::Double], gives: Type::Double, run: |c| doubles(c, |v| Ok(sine(v))) }];
const COSD: [Overload; 1] = [Overload { takes: &[Type::Double], gives: Type::Double, run: |c| doubles(c, |v| Ok(sine(v + 90.0))) }];
const TAND: [Overload; 1] = [Overload { takes: &[Type::Double], gives: Type::Double, run: |c| doubles(c, |v| Ok(sine(v) / sine(v + 90.0))) }];
const GCD: [Overload; 2] = [
    Overload { takes: &[Type::Integer, Type::Integer], gives: Type::Integer, run: |c| pairs_of_integers(c, |a, b| Some(divisor(a.into(), b.into()))) },
    Overload { takes: &[Type::Bigint, Type::Bigint], gives: Type::Bigint, run: |c| pairs_of_bigints(c, |a, b| Some(divisor(a.into(), b.into()))) },
];
const LCM: [Overload; 2] = [
    Overload { takes: &[Type::Integer, Type::Integer], gives: Type::Integer, run: |c| pairs_of_integers(c, |a, b| multiple(a.into(), b.into())) },
    Overload { takes: &[Type::Bigint, Type::Bigint], gives: Type::Bigint, run: |c| pairs_of_bigints(c, |a, b| multiple(a.into(), b.into())) },
];
const FACTORIAL: [Overload; 1] = [Overload { takes: &[Type::Bigint], gives: Type::Numeric(0), run: factorials }];
const WIDTH_BUCKET: [Overload; 1] = [Overload { takes: &[Type::Double, Type::Double, Type::Double, Type::Integer], gives: Type::Integer, run: buckets }];
const TO_HEX: [Overload; 2] = [
    Overload {
        takes: &[Type::Integer],
        gives: Type::Text,
        run: |c| Ok(Arc::new(c[0].as_primitive::<Int32Type>().iter().map(|v| v.map(|v| format!("{v:x}"))).collect::<StringArray>())),
    },
    Overload {
        takes: &[Type::Bigint],
        gives: Type::Text,
        run: |c| Ok(Arc::new(c[0].as_primitive::<Int64Type>().iter().map(|v| v.map(|v| format!("{v:x}"))).collect::<StringArray>())),
    },
];
const CHR: [Overload; 1] = [Overload { takes: &[Type::Integer], gives: Type::Text, run: characters }];

fn input_out_of_range() -> Error {
    Error::new(Kind::NumericOutOfRange, "input is out of range")
}

fn doubles(columns: &[ArrayRef], f: impl Fn(f64) -> Result<f64>) -> Result<ArrayRef> {
    let values = columns[0].as_primitive::<Float64Type>().values().iter();
    Ok(Arc::new(Float64Array::from(values.map(|v| f(*v)).collect::<Result<Vec<_>>>()?)))
}

/// A result of finite operands is finite, and not zero by accident.
fn in_range(result: f64, of_finite: bool, grows: bool) -> Result<f64> {
    match result {
        r if r.is_infinite() && of_finite => Err(Error::new(Kind::NumericOutOfRange, "value out of range: overflow")),
        0.0 if of_finite && !grows => Err(Error::new(Kind::NumericOutOfRange, "value out of range: underflow")),
        r => Ok(r),
    }
}

fn powers(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let (bases, exponents) = (columns[0].as_primitive::<Float64Type>(), columns[1].as_primitive::<Float64Type>());
    let power = |(base, exponent): (&f64, &f64)| {
        if *base == 0.0 && *exponent < 0.0 {
            return Err(Error::new(Kind::InvalidPower, "zero raised to a negative power is undefined"));
        }
        if *base < 0.0 && exponent.is_finite() && exponent.fract() != 0.0 {
            return Err(Error::new(Kind::InvalidPower, "a negative number raised to a non-integer power yields a complex result"));
        }
        in_range(base.powf(*exponent), base.is_finite() && exponent.is_finite(), *base == 0.0)
    };
    Ok(Arc::new(Float64Array::from(bases.values().iter().zip(exponents.values()).map(power).collect::<Result<Vec<_>>>()?)))
}

/// What has an arcus.
fn ratio(value: f64) -> Result<f64> {
    if (-1.0..=1.0).contains(&value) || value.is_nan() { Ok(value) } else { Err(input_out_of_range()) }
}

/// The sine of degrees, exact where it is a half or whole number.
fn sine(degrees: f64) -> f64 {
    let turn = degrees.rem_euclid(360.0);
    let (turn, sign) = if turn >= 180.0 { (turn - 180.0, -1.0) } else { (turn, 1.0) };
    let turn = if turn > 90.0 { 180.0 - turn } else { turn };
    let sine = match turn {
        0.0 => 0.0,
        30.0 => 0.5,
        90.0 => 1.0,
        // Beyond 45 degrees the cosine is the more exact one; at 45 both are one value.
        45.0 => std::f64::consts::FRAC_1_SQRT_2,
        t if t > 45.0 => (90.0 - t).to_radians().cos(),
        t => t.to_radians().sin(),
    };
    sign * sine
}

fn divisor(a: i128, b: i128) -> i128 {
    let (mut a, mut b) = (a.abs(), b.abs());
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

fn multiple(a: i128, b: i128) -> Option<i128> {
    if a == 0 || b == 0 { Some(0) } else { (a / divisor(a, b)).checked_mul(b).map(i128::abs) }
}

fn pairs_of_integers(columns: &[ArrayRef], f: impl Fn(i32, i32) -> Option<i128>) -> Result<ArrayRef> {
    let (a, b) = (columns[0].as_primitive::<Int32Type>(), columns[1].as_primitive::<Int32Type>());
    let out_of_range = || Error::new(Kind::NumericOutOfRange, "integer out of range");
    let made = a.values().iter().zip(b.values()).map(|(a, b)| f(*a, *b).and_then(|v| i32::try_from(v).ok()).ok_or_else(out_of_range));
    Ok(Arc::new(Int32Array::from(made.collect::<Result<Vec<_>>>()?)))
}

fn pairs_of_bigints(columns: &[ArrayRef], f: impl Fn(i64, i64) -> Option<i128>) -> Result<ArrayRef> {
    let (a, b) = (columns[0].as_primitive::<Int64Type>(), columns[1].as_primitive::<Int64Type>());
    let out_of_range = || Error::new(Kind::NumericOutOfRange, "bigint out of range");
    let made = a.values().iter().zip(b.values()).map(|(a, b)| f(*a, *b).and_then(|v| i64::try_from(v).ok()).ok_or_else(out_of_range));
    Ok(Arc::new(Int64Array::from(made.collect::<Result<Vec<_>>>()?)))
}

fn factorials(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let factorial = |of: &i64| {
        if *of < 0 {
            return Err(Error::new(Kind::NumericOutOfRange, "factorial of a negative number is undefined"));
        }
        // 33! is the last of 38 digits.
        let product = (*of <= 33).then(|| (1..=i128::from(*of)).product::<i128>());
        product.ok_or_else(|| Error::new(Kind::NumericOutOfRange, "value overflows numeric format"))
    };
    let made = columns[0].as_primitive::<Int64Type>().values().iter().map(factorial).collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(Decimal128Array::from(made).with_precision_and_scale(38, 0)?))
}

fn buckets(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let [operands, lows, highs] = [0, 1, 2].map(|i| columns[i].as_primitive::<Float64Type>());
    let counts = columns[3].as_primitive::<Int32Type>();
    let invalid = |message: &str| Err(Error::new(Kind::WidthBucket, message));
    let bucket = |row: usize| {
        let (operand, low, high, count) = (operands.value(row), lows.value(row), highs.value(row), counts.value(row));
        if count <= 0 {
            return invalid("count must be greater than zero");
        }
        if operand.is_nan() || low.is_nan() || high.is_nan() {
            return invalid("operand, lower bound, and upper bound cannot be NaN");
        }
        if low == high || !low.is_finite() || !high.is_finite() {
            return invalid(if low == high { "lower bound cannot equal upper bound" } else { "lower and upper bounds must be finite" });
        }
        // Bounds that fall count from the other side.
        let (place, length) = if low < high { (operand - low, high - low) } else { (low - operand, low - high) };
        match place {
            p if p < 0.0 => Ok(0),
            p if p >= length => count.checked_add(1).ok_or_else(|| Error::new(Kind::NumericOutOfRange, "integer out of range")),
            p => Ok((f64::from(count) * (p / length)) as i32 + 1),
        }
    };
    Ok(Arc::new(Int32Array::from((0..counts.len()).map(bucket).collect::<Result<Vec<_>>>()?)))
}

fn characters(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let character = |code: &i32| {
        let limit = |message: String| Error::new(Kind::ProgramLimit, message);
        match code {
            0 => Err(limit("null character not permitted".to_owned())),
            ..0 => Err(limit("character number must be positive".to_owned())),
            code => u32::try_from(*code)
                .ok()
                .and_then(char::from_u32)
                .map(String::from)
                .ok_or_else(|| limit(format!("requested character too large for encoding: {code}"))),
        }
    };
    Ok(Arc::new(StringArray::from(columns[0].as_primitive::<Int32Type>().values().iter().map(character).collect::<Result<Vec<_>>>()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_and_angles_have_their_errors() {
        let power = |base: f64, exponent: f64| {
            let column = |v: f64| Arc::new(Float64Array::from(vec![v])) as ArrayRef;
            powers(&[column(base), column(exponent)]).map(|c| c.as_primitive::<Float64Type>().value(0))
        };
        assert_eq!(power(2.0, 10.0).unwrap(), 1024.0);
        assert_eq!(power(0.0, -1.0).unwrap_err().sqlstate(), "2201F");
        assert_eq!(power(-8.0, 0.5).unwrap_err().sqlstate(), "2201F");
        assert_eq!(power(10.0, 400.0).unwrap_err().message(), "value out of range: overflow");
        assert_eq!(ratio(2.0).unwrap_err().sqlstate(), "22003");
        assert_eq!([sine(30.0), sine(150.0), sine(210.0), sine(90.0), sine(180.0)], [0.5, 0.5, -0.5, 1.0, -0.0]);
    }

    #[test]
    fn divisors_multiples_and_buckets() {
        assert_eq!((divisor(12, -18), divisor(0, 0), multiple(4, 6), multiple(0, 5)), (6, 0, Some(12), Some(0)));
        let double = |v: f64| Arc::new(Float64Array::from(vec![v])) as ArrayRef;
        let bucket = |v: f64, low: f64, high: f64| {
            buckets(&[double(v), double(low), double(high), Arc::new(Int32Array::from(vec![5]))]).unwrap().as_primitive::<Int32Type>().value(0)
        };
        assert_eq!([bucket(5.35, 0.024, 10.06), bucket(-1.0, 0.0, 10.0), bucket(10.0, 0.0, 10.0), bucket(9.0, 10.0, 0.0)], [3, 0, 6, 1]);
    }
}
