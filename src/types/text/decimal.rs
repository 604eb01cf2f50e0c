//! Numerics: an integer and a scale. The scale prints as it is (`1.50` stays `1.50`); reading rounds half away from zero
//! to the column's scale, as Postgres does.

use super::{invalid_syntax, number::write_integer, trim};
use crate::error::{Error, Kind, Result};
use arrow::datatypes::i256;

/// The two widths of a numeric's unscaled integer.
pub trait Unscaled: Copy + PartialOrd {
    const ZERO: Self;
    fn push_digit(self, digit: u8) -> Option<Self>;
    fn increment(self) -> Option<Self>;
    fn negate(self) -> Self;
}

impl Unscaled for i128 {
    const ZERO: i128 = 0;
    fn push_digit(self, digit: u8) -> Option<i128> {
        self.checked_mul(10)?.checked_add(digit as i128)
    }
    fn increment(self) -> Option<i128> {
        self.checked_add(1)
    }
    fn negate(self) -> i128 {
        self.wrapping_neg()
    }
}

impl Unscaled for i256 {
    const ZERO: i256 = i256::ZERO;
    fn push_digit(self, digit: u8) -> Option<i256> {
        self.checked_mul(i256::from_i128(10))?.checked_add(i256::from_i128(digit as i128))
    }
    fn increment(self) -> Option<i256> {
        self.checked_add(i256::ONE)
    }
    fn negate(self) -> i256 {
        self.wrapping_neg()
    }
}

pub fn write_decimal128(value: i128, scale: i8, out: &mut Vec<u8>) {
    if scale == 0 {
        return write_integer(value, out);
    }
    // Nearly every value fits a machine word, which prints several times faster.
    let mut buffer = itoa::Buffer::new();
    let digits = match i64::try_from(value) {
        Ok(word) => buffer.format(word),
        Err(_) => buffer.format(value),
    };
    write_scaled(digits, scale, out);
}

pub fn write_decimal256(value: i256, scale: i8, out: &mut Vec<u8>) {
    write_scaled(&value.to_string(), scale, out);
}

/// Puts the point into a decimal integer.
fn write_scaled(digits: &str, scale: i8, out: &mut Vec<u8>) {
    let digits = match digits.strip_prefix('-') {
        Some(rest) => {
            out.push(b'-');
            rest
        }
        None => digits,
    };
    if scale <= 0 {
        out.extend_from_slice(digits.as_bytes());
        if digits != "0" {
            out.extend(std::iter::repeat_n(b'0', scale.unsigned_abs() as usize));
        }
        return;
    }
    let scale = scale as usize;
    if digits.len() > scale {
        let (whole, fraction) = digits.as_bytes().split_at(digits.len() - scale);
        out.extend_from_slice(whole);
        out.push(b'.');
        out.extend_from_slice(fraction);
    } else {
        out.extend_from_slice(b"0.");
        out.extend(std::iter::repeat_n(b'0', scale - digits.len()));
        out.extend_from_slice(digits.as_bytes());
    }
}

/// A numeric literal taken apart: its digits, where the point stands among them, and the sign.
pub struct Literal<'a> {
    negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
    exponent: i64,
}

impl<'a> Literal<'a> {
    /// Reads `[+-]digits[.digits][e[+-]digits]`.
    pub fn parse(text: &'a str) -> Result<Literal<'a>> {
        let invalid = || invalid_syntax(Kind::InvalidText, "numeric", text);
        let bare = trim(text);
        if ["nan", "infinity", "inf", "-infinity", "-inf", "+infinity", "+inf"].iter().any(|s| bare.eq_ignore_ascii_case(s)) {
            return Err(Error::not_supported(format!("numeric value \"{bare}\" is not supported")).with_hint("use double precision"));
        }
        let (negative, rest) = match bare.as_bytes().first() {
            Some(b'-') => (true, &bare[1..]),
            Some(b'+') => (false, &bare[1..]),
            _ => (false, bare),
        };
        let (mantissa, exponent) = match rest.find(['e', 'E']) {
            Some(at) => (&rest[..at], rest[at + 1..].parse::<i32>().map_err(|_| invalid())? as i64),
            None => (rest, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let (whole, fraction) = (whole.as_bytes(), fraction.as_bytes());
        if whole.len() + fraction.len() == 0 || !whole.iter().chain(fraction).all(u8::is_ascii_digit) {
            return Err(invalid());
        }
        Ok(Literal { negative, whole, fraction, exponent })
    }

    /// Digits after the point that are needed to keep the value as written.
    pub fn scale(&self) -> i64 {
        (self.fraction.len() as i64 - self.exponent).max(0)
    }

    /// The value times 10^scale, rounded half away from zero; `None` when it does not fit.
    pub fn unscaled<D: Unscaled>(&self, scale: i64) -> Option<D> {
        let digit = |i: i64| -> u8 {
            let i = i as usize;
            self.whole.get(i).or_else(|| self.fraction.get(i.wrapping_sub(self.whole.len()))).map_or(0, |d| d - b'0')
        };
        let written = (self.whole.len() + self.fraction.len()) as i64;
        let kept = self.whole.len() as i64 + self.exponent + scale;
        let mut value = D::ZERO;
        for i in 0..kept.max(0) {
            if i >= written && value == D::ZERO {
                break; // only zeros were written: more of them change nothing
            }
            value = value.push_digit(digit(i))?;
        }
        if (0..written).contains(&kept) && digit(kept) >= 5 {
            value = value.increment()?;
        }
        Some(if self.negative { value.negate() } else { value })
    }
}

/// Reads into Decimal128(precision, scale).
pub fn parse_decimal128(text: &str, precision: u8, scale: i8) -> Result<i128> {
    if let Some(value) = parse_short(text.as_bytes(), precision, scale) {
        return Ok(value);
    }
    let limit = 10i128.checked_pow(precision as u32);
    let value = Literal::parse(text)?.unscaled::<i128>(scale as i64);
    value.filter(|v| limit.is_none_or(|limit| v.unsigned_abs() < limit.unsigned_abs())).ok_or_else(|| overflow(precision, scale))
}

/// `[-]digits[.digits]` that fits a machine word and needs no rounding: how prices come by the million. `None` leaves
/// the text to [`Literal`], be it right or wrong.
fn parse_short(text: &[u8], precision: u8, scale: i8) -> Option<i128> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    let (mut value, mut point) = (0i64, None);
    for (i, byte) in digits.iter().enumerate() {
        match byte {
            b'0'..=b'9' => value = value * 10 + (byte - b'0') as i64,
            b'.' if point.is_none() && digits.len() > 1 => point = Some(i),
            _ => return None,
        }
    }
    let fraction = point.map_or(0, |p| digits.len() - p - 1);
    let missing = u32::try_from(scale as i64 - fraction as i64).ok()?;
    let value = (value as i128).checked_mul(10i128.checked_pow(missing)?)?;
    let fits = value < 10i128.checked_pow(precision as u32)?;
    fits.then_some(if digits.len() < text.len() { -value } else { value })
}

/// Reads into Decimal256(precision, scale).
pub fn parse_decimal256(text: &str, precision: u8, scale: i8) -> Result<i256> {
    let limit = i256::from_i128(10).checked_pow(precision as u32);
    let value = Literal::parse(text)?.unscaled::<i256>(scale as i64);
    value.filter(|v| limit.is_none_or(|limit| v.wrapping_abs() < limit)).ok_or_else(|| overflow(precision, scale))
}

fn overflow(precision: u8, scale: i8) -> Error {
    let whole = precision as i16 - scale as i16;
    Error::new(Kind::NumericOutOfRange, "numeric field overflow")
        .with_detail(format!("A field with precision {precision}, scale {scale} must round to an absolute value less than 10^{whole}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(value: i128, scale: i8) -> String {
        let mut out = Vec::new();
        write_decimal128(value, scale, &mut out);
        let narrow = String::from_utf8(out).unwrap();
        let mut out = Vec::new();
        write_decimal256(i256::from_i128(value), scale, &mut out);
        assert_eq!(narrow, String::from_utf8(out).unwrap());
        narrow
    }

    #[test]
    fn the_scale_prints_as_it_is() {
        assert_eq!(print(150, 2), "1.50");
        assert_eq!(print(-5, 3), "-0.005");
        assert_eq!(print(0, 2), "0.00");
        assert_eq!(print(42, 0), "42");
        assert_eq!(print(42, -3), "42000");
        assert_eq!(print(20_000_000_000_000_000, 16), "2.0000000000000000");
        assert_eq!(print(i128::MAX, 0), "170141183460469231731687303715884105727");
    }

    #[test]
    fn reading_rounds_half_away_from_zero() {
        let cases = [
            ("1.005", 101),
            ("-1.005", -101),
            (" 12 ", 1200),
            (".5", 50),
            ("5.", 500),
            ("1e2", 10000),
            ("123e-4", 1),
            ("-0.004", 0),
            ("0.005", 1),
            ("0.0049999", 0),
            ("4e-1000", 0),
            ("0e2000000000", 0),
            ("+7.1", 710),
        ];
        for (text, value) in cases {
            assert_eq!(parse_decimal128(text, 38, 2).unwrap(), value, "{text}");
            assert_eq!(parse_decimal256(text, 76, 2).unwrap(), i256::from_i128(value), "{text}");
        }
        assert_eq!(Literal::parse("1.250").unwrap().scale(), 3);
        assert_eq!(Literal::parse("1.5e3").unwrap().scale(), 0);
    }

    #[test]
    fn what_does_not_fit_or_is_no_number_is_an_error() {
        let e = parse_decimal128("1000", 5, 2).unwrap_err();
        assert_eq!((e.sqlstate(), e.message()), ("22003", "numeric field overflow"));
        assert_eq!(e.detail(), Some("A field with precision 5, scale 2 must round to an absolute value less than 10^3."));
        assert_eq!(parse_decimal128("999.994", 5, 2).unwrap(), 99999);
        assert!(parse_decimal128("999.995", 5, 2).is_err());
        assert!(parse_decimal128("1e2000000000", 38, 9).is_err());
        for text in ["", "-", "1.2.3", "abc", "1e", "1e5x", "--1", "1e99999999999", "."] {
            let e = parse_decimal128(text, 38, 9).unwrap_err();
            assert_eq!(e.message(), format!("invalid input syntax for type numeric: \"{text}\""));
        }
        assert_eq!(parse_decimal128("NaN", 38, 9).unwrap_err().sqlstate(), "0A000");
    }
}
