//! Integers and floats.
//!
//! A float prints as the fewest digits that read back to the same bits, in fixed notation while the decimal exponent is
//! within -4..15 (double) or -4..6 (real), else as `1e+300`: exactly the thresholds of Postgres since version 12.

use super::{invalid_syntax, trim};
use crate::error::{Error, Kind, Result};
use crate::types::float::Float;
use std::str::FromStr;

pub fn write_integer(value: impl itoa::Integer, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

pub fn write_f64(value: f64, out: &mut Vec<u8>) {
    if write_special(value, out) {
        return;
    }
    let mut buffer = ryu::Buffer::new();
    let text = buffer.format_finite(value);
    if between_two(text, value.abs(), 53) {
        let inside = |text: &String| text.parse() == Ok(value) && !between_two(text, value.abs(), 53);
        return write_shortest(&fewest_digits(|digits| format!("{value:.digits$e}"), inside), 15, out);
    }
    write_shortest(text, 15, out);
}

pub fn write_f32(value: f32, out: &mut Vec<u8>) {
    if write_special(value as f64, out) {
        return;
    }
    let mut buffer = ryu::Buffer::new();
    let text = buffer.format_finite(value);
    if between_two(text, value.abs() as f64, 24) {
        let inside = |text: &String| text.parse() == Ok(value) && !between_two(text, value.abs() as f64, 24);
        return write_shortest(&fewest_digits(|digits| format!("{value:.digits$e}"), inside), 6, out);
    }
    write_shortest(text, 6, out);
}

/// Whether a decimal lies exactly in the middle between a float of `bits` bits and its neighbour, as 1e23 does. It reads
/// back only by the rule of rounding to even, on which Postgres does not rely, so it prints more digits. Only whole
/// numbers of more bits than the float has can lie so, and none above what 128 bits hold has so few digits.
fn between_two(text: &str, value: f64, bits: i32) -> bool {
    if value < (1u64 << bits) as f64 || value >= 1e38 {
        return false;
    }
    let (mantissa, exponent) = text.trim_start_matches('-').split_once('e').unwrap_or((text.trim_start_matches('-'), "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let fraction = fraction.trim_end_matches('0');
    let zeros = exponent.parse::<i32>().unwrap_or(0) - fraction.len() as i32;
    let digits = whole.bytes().chain(fraction.bytes()).fold(0u128, |sum, d| sum * 10 + (d - b'0') as u128);
    let Some(decimal) = u32::try_from(zeros).ok().and_then(|z| 10u128.checked_pow(z)).and_then(|p| digits.checked_mul(p)) else { return false };
    // The distance to the next float: the value's highest bit, less the bits that a float has.
    let step = 1u128 << (127 - (value as u128).leading_zeros() as i32 - (bits - 1));
    decimal.abs_diff(value as u128) * 2 == step
}

/// The first of the scientific forms with 1, 2, … digits that will do; 17 digits name every float.
fn fewest_digits(format: impl Fn(usize) -> String, will_do: impl Fn(&String) -> bool) -> String {
    (0..16).map(&format).find(will_do).unwrap_or_else(|| format(16))
}

fn write_special(value: f64, out: &mut Vec<u8>) -> bool {
    let text: &[u8] = match value {
        v if v.is_nan() => b"NaN",
        f64::INFINITY => b"Infinity",
        f64::NEG_INFINITY => b"-Infinity",
        v if v == 0.0 => {
            if v.is_sign_negative() {
                b"-0"
            } else {
                b"0"
            }
        }
        _ => return false,
    };
    out.extend_from_slice(text);
    true
}

/// `text` is ryu's form (`-1.5e-7`, `100.0`, `1e300`): its digits are right, its layout is not Postgres's.
fn write_shortest(text: &str, fixed_below: i32, out: &mut Vec<u8>) {
    let text = match text.strip_prefix('-') {
        Some(rest) => {
            out.push(b'-');
            rest
        }
        None => text,
    };
    let (mantissa, exponent) = match text.split_once('e') {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().unwrap_or(0)),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut buffer = [0u8; 40];
    let mut len = 0;
    for digit in whole.bytes().chain(fraction.bytes()) {
        buffer[len] = digit;
        len += 1;
    }
    let leading = buffer[..len].iter().take_while(|d| **d == b'0').count();
    let trailing = buffer[leading..len].iter().rev().take_while(|d| **d == b'0').count();
    let digits = &buffer[leading..len - trailing];
    let scientific = exponent + whole.len() as i32 - leading as i32 - 1;
    if (-4..fixed_below).contains(&scientific) {
        write_fixed(digits, scientific, out);
    } else {
        write_scientific(digits, scientific, out);
    }
}

fn write_fixed(digits: &[u8], scientific: i32, out: &mut Vec<u8>) {
    if scientific < 0 {
        out.extend_from_slice(b"0.");
        out.extend(std::iter::repeat_n(b'0', (-scientific - 1) as usize));
        out.extend_from_slice(digits);
        return;
    }
    let whole = scientific as usize + 1;
    if digits.len() <= whole {
        out.extend_from_slice(digits);
        out.extend(std::iter::repeat_n(b'0', whole - digits.len()));
    } else {
        out.extend_from_slice(&digits[..whole]);
        out.push(b'.');
        out.extend_from_slice(&digits[whole..]);
    }
}

fn write_scientific(digits: &[u8], scientific: i32, out: &mut Vec<u8>) {
    out.push(digits[0]);
    if digits.len() > 1 {
        out.push(b'.');
        out.extend_from_slice(&digits[1..]);
    }
    out.extend_from_slice(if scientific < 0 { b"e-" } else { b"e+" });
    let exponent = scientific.unsigned_abs();
    if exponent < 10 {
        out.push(b'0');
    }
    write_integer(exponent, out);
}

/// Integers of any width; `type_name` is for the message (`integer`).
pub fn parse_integer<T: FromStr<Err = std::num::ParseIntError>>(text: &str, type_name: &str) -> Result<T> {
    use std::num::IntErrorKind::{NegOverflow, PosOverflow};
    trim(text).parse::<T>().map_err(|e| match e.kind() {
        PosOverflow | NegOverflow => Error::new(Kind::NumericOutOfRange, format!("value \"{text}\" is out of range for type {type_name}")),
        _ => invalid_syntax(Kind::InvalidText, type_name, text),
    })
}

pub fn parse_f64(text: &str) -> Result<f64> {
    let value = parse_float::<f64>(text, "double precision")?;
    check_float(text, value.is_infinite(), value == 0.0, "double precision")?;
    Ok(value.one_nan())
}

pub fn parse_f32(text: &str) -> Result<f32> {
    let value = parse_float::<f32>(text, "real")?;
    check_float(text, value.is_infinite(), value == 0.0, "real")?;
    Ok(value.one_nan())
}

fn parse_float<T: FromStr>(text: &str, type_name: &str) -> Result<T> {
    trim(text).parse::<T>().map_err(|_| invalid_syntax(Kind::InvalidText, type_name, text))
}

/// A number too large or too small for the type is an error, not an infinity or a zero, unless that is what was written.
fn check_float(text: &str, infinite: bool, zero: bool, type_name: &str) -> Result<()> {
    let mantissa = text.split(['e', 'E']).next().unwrap_or(text);
    let has_digits = mantissa.bytes().any(|b| b.is_ascii_digit());
    let has_value = mantissa.bytes().any(|b| (b'1'..=b'9').contains(&b));
    if (infinite && has_digits) || (zero && has_value) {
        return Err(Error::new(Kind::NumericOutOfRange, format!("\"{}\" is out of range for type {type_name}", trim(text))));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn f64_text(value: f64) -> String {
        let mut out = Vec::new();
        write_f64(value, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn f32_text(value: f32) -> String {
        let mut out = Vec::new();
        write_f32(value, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn floats_print_the_fewest_digits_with_the_thresholds_of_postgres() {
        let cases = [
            (100.0, "100"),
            (1e300, "1e+300"),
            (-1.5, "-1.5"),
            (0.1, "0.1"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1.5e-7, "1.5e-07"),
            (1e14, "100000000000000"),
            (123456789012345.0, "123456789012345"),
            (1e15, "1e+15"),
            (1.2345678901234568e17, "1.2345678901234568e+17"),
            (0.30000000000000004, "0.30000000000000004"),
            (1e22, "1e+22"),
            (1e23, "9.999999999999999e+22"),
            (-1e23, "-9.999999999999999e+22"),
            (f64::MAX, "1.7976931348623157e+308"),
            (5e-324, "5e-324"),
            (0.0, "0"),
            (-0.0, "-0"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "Infinity"),
            (f64::NEG_INFINITY, "-Infinity"),
        ];
        for (value, text) in cases {
            assert_eq!(f64_text(value), text);
        }
        for (value, text) in [
            (1.0, "1"),
            (100000.0, "100000"),
            (1000000.0, "1e+06"),
            (8.589973e9, "8.589974e+09"),
            (300002000.0, "3.0000198e+08"),
            (0.1, "0.1"),
            (3.4028235e38, "3.4028235e+38"),
            (1e-5, "1e-05"),
        ] {
            assert_eq!(f32_text(value), text);
        }
    }

    #[test]
    fn numbers_read_as_postgres_reads_them() {
        assert_eq!(parse_integer::<i32>("  -42 ", "integer").unwrap(), -42);
        assert_eq!(parse_integer::<i32>("+7", "integer").unwrap(), 7);
        assert_eq!(parse_f64(" 1e300").unwrap(), 1e300);
        assert_eq!(parse_f64("-Infinity").unwrap(), f64::NEG_INFINITY);
        assert_eq!(parse_f64("inf").unwrap(), f64::INFINITY);
        assert!(parse_f64("nan").unwrap().is_nan());
        assert_eq!(parse_f64("0e500").unwrap(), 0.0);
        let message = |e: Error| format!("{} {}", e.sqlstate(), e.message());
        assert_eq!(message(parse_integer::<i32>("abc", "integer").unwrap_err()), "22P02 invalid input syntax for type integer: \"abc\"");
        assert_eq!(message(parse_integer::<i16>("99999", "smallint").unwrap_err()), "22003 value \"99999\" is out of range for type smallint");
        assert_eq!(message(parse_integer::<i64>("", "bigint").unwrap_err()), "22P02 invalid input syntax for type bigint: \"\"");
        assert_eq!(message(parse_integer::<i64>("1.5", "bigint").unwrap_err()), "22P02 invalid input syntax for type bigint: \"1.5\"");
        assert_eq!(message(parse_f64("1e400").unwrap_err()), "22003 \"1e400\" is out of range for type double precision");
        assert_eq!(message(parse_f64("1e-400").unwrap_err()), "22003 \"1e-400\" is out of range for type double precision");
        assert_eq!(message(parse_f32("1e39").unwrap_err()), "22003 \"1e39\" is out of range for type real");
        assert_eq!(message(parse_f64("x").unwrap_err()), "22P02 invalid input syntax for type double precision: \"x\"");
    }
}
