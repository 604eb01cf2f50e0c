//! Numbers by Postgres' patterns: `to_char(1234.5, 'FM9,999.00')`, and back with `to_number`.
//!
//! | pattern | |
//! | --- | --- |
//! | `9`, `0` | a digit; `0` shows leading and trailing zeros |
//! | `.` `D`, `,` `G` | point, and separator between digits |
//! | `S MI PL SG PR` | signs: beside the number, in their place, or `<…>` of what is negative |
//! | `V` | moves the point: the digits behind it count |
//! | `EEEE`, `RN`, `TH th`, `L`, `FM` | scientific, Roman, ordinal, currency (a blank), without padding |
//!
//! The number is laid out in three steps: its digits are rounded to those that the pattern has, put into the pattern's places, and the sign goes
//! before the first place that shows something.

use super::table::{Overload, Type};
use super::table::{external, function};
use crate::error::{Error, Kind, Result};
use crate::types::text::decimal::write_decimal128;
use arrow::array::{ArrayRef, AsArray, Decimal128Array, StringArray};
use arrow::datatypes::{DataType, Decimal128Type, Field, FieldRef, Float64Type};
use datafusion::common::{Result as DataFusionResult, ScalarValue};
use datafusion::logical_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use std::sync::Arc;

/// Digits behind the point of a number whose pattern is no constant.
const UNKNOWN_SCALE: i8 = 9;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let signature = Signature::exact(vec![DataType::Utf8, DataType::Utf8], Volatility::Immutable);
    vec![Arc::new(ScalarUDF::new_from_impl(ToNumber { signature })), function("min_scale", &MIN_SCALE)]
}

const MIN_SCALE: [Overload; 1] = [Overload { takes: &[Type::Numeric(0)], gives: Type::Integer, run: min_scales }];

/// Digits behind the point that are not zeros at its end.
fn min_scales(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let values = columns[0].as_primitive::<Decimal128Type>();
    let scale = |mut value: i128| {
        let mut scale = i32::from(values.scale());
        while scale > 0 && value % 10 == 0 {
            (value, scale) = (value / 10, scale - 1);
        }
        scale
    };
    Ok(Arc::new(values.values().iter().map(|v| Some(scale(*v))).collect::<arrow::array::Int32Array>()))
}

/// The body of `to_char(numeric, pattern)`.
pub(super) fn numerics(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let (values, patterns) = (columns[0].as_primitive::<Decimal128Type>(), columns[1].as_string::<i32>());
    texts(values.len(), patterns, |row| {
        let mut text = Vec::new();
        write_decimal128(values.value(row), values.scale(), &mut text);
        String::from_utf8_lossy(&text).into_owned()
    })
}

/// The body of `to_char(double precision, pattern)`, of the fifteen digits that a double has.
pub(super) fn doubles(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let (values, patterns) = (columns[0].as_primitive::<Float64Type>(), columns[1].as_string::<i32>());
    texts(values.len(), patterns, |row| {
        let value = values.value(row);
        let whole = if value.abs() < 1.0 { 1 } else { value.abs().log10() as usize + 1 };
        format!("{value:.*}", 15usize.saturating_sub(whole))
    })
}

fn texts(rows: usize, patterns: &StringArray, number: impl Fn(usize) -> String) -> Result<ArrayRef> {
    let mut known: Option<(&str, Pattern)> = None;
    let mut out = Vec::with_capacity(rows);
    for row in 0..rows {
        let text = patterns.value(row);
        if known.as_ref().is_none_or(|(of, _)| *of != text) {
            known = Some((text, Pattern::parse(text)?));
        }
        out.push(known.as_ref().map(|(_, pattern)| pattern.shown(&number(row))).unwrap_or_default());
    }
    Ok(Arc::new(StringArray::from(out)))
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Piece {
    Nine,
    Zero,
    Point,
    Group,
    Sign,
    Minus,
    Plus,
    PlusMinus,
    Angle,
    Currency,
    Roman { lower: bool },
    Ordinal { lower: bool },
    Literal(char),
}

#[derive(Debug, Default)]
struct Pattern {
    pieces: Vec<Piece>,
    /// Places before and behind the point.
    whole: usize,
    fraction: usize,
    /// Places that `V` moves the point by.
    shift: usize,
    has_point: bool,
    fill: bool,
    scientific: bool,
}

const WORDS: [(&str, Piece); 13] = [
    ("mi", Piece::Minus),
    ("pl", Piece::Plus),
    ("sg", Piece::PlusMinus),
    ("pr", Piece::Angle),
    ("9", Piece::Nine),
    ("0", Piece::Zero),
    (".", Piece::Point),
    ("d", Piece::Point),
    (",", Piece::Group),
    ("g", Piece::Group),
    ("s", Piece::Sign),
    ("l", Piece::Currency),
    ("c", Piece::Literal('C')),
];

impl Pattern {
    fn parse(text: &str) -> Result<Pattern> {
        let mut pattern = Pattern::default();
        let (mut rest, mut shifted) = (text, false);
        while let Some(first) = rest.chars().next() {
            let begins = |word: &str| rest.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
            let taken = if first == '"' {
                let inner = rest[1..].split('"').next().unwrap_or_default();
                pattern.pieces.extend(inner.chars().map(Piece::Literal));
                (inner.len() + 2).min(rest.len())
            } else if begins("fm") {
                pattern.fill = true;
                2
            } else if begins("eeee") {
                pattern.scientific = true;
                4
            } else if begins("th") {
                pattern.pieces.push(Piece::Ordinal { lower: rest.starts_with('t') });
                2
            } else if begins("rn") {
                pattern.pieces.push(Piece::Roman { lower: rest.starts_with('r') });
                2
            } else if begins("v") {
                shifted = true;
                1
            } else if let Some((word, piece)) = WORDS.iter().find(|(word, _)| begins(word)) {
                pattern.add(*piece, shifted)?;
                word.len()
            } else {
                pattern.pieces.push(Piece::Literal(first));
                first.len_utf8()
            };
            rest = &rest[taken..];
        }
        let plain = |p: &Piece| matches!(p, Piece::Nine | Piece::Zero | Piece::Point);
        if pattern.scientific && !pattern.pieces.iter().all(plain) {
            return Err(
                syntax("\"EEEE\" is incompatible with other formats").with_detail("\"EEEE\" may only be used together with digit and decimal point patterns.")
            );
        }
        Ok(pattern)
    }

    fn add(&mut self, piece: Piece, shifted: bool) -> Result<()> {
        match piece {
            Piece::Nine | Piece::Zero if self.has_point => self.fraction += 1,
            Piece::Nine | Piece::Zero => {
                self.whole += 1;
                self.shift += usize::from(shifted);
            }
            Piece::Point if self.has_point => return Err(syntax("multiple decimal points")),
            Piece::Point if shifted => return Err(syntax("cannot use \"V\" and decimal point together")),
            Piece::Point => self.has_point = true,
            _ => {}
        }
        self.pieces.push(piece);
        Ok(())
    }

    fn has(&self, piece: Piece) -> bool {
        self.pieces.contains(&piece)
    }

    fn shown(&self, number: &str) -> String {
        if !number.contains(|c: char| c.is_ascii_digit()) {
            return number.to_owned();
        }
        if let Some(Piece::Roman { lower }) = self.pieces.iter().find(|p| matches!(p, Piece::Roman { .. })) {
            return self.roman(number, *lower);
        }
        if self.scientific {
            return self.exponential(number);
        }
        let digits = Digits::of(number, self.fraction, self.shift);
        self.laid_out(&digits)
    }

    /// The digits in their places.
    fn laid_out(&self, digits: &Digits) -> String {
        let overflows = digits.whole.len() > self.whole;
        let leading = self.whole.saturating_sub(digits.whole.len());
        // Nothing stands before the point, unless a zero must.
        let first_zero = self.pieces.iter().filter(|p| matches!(p, Piece::Nine | Piece::Zero)).take(self.whole).position(|p| *p == Piece::Zero);
        let kept = self.kept_fraction(digits);
        let mut out = Layout { text: String::new(), sign: self.sign_before(digits), shown: false };
        let (mut place, mut behind, mut after_point) = (0, 0, false);
        let last_place = self.pieces.iter().rposition(|p| matches!(p, Piece::Nine | Piece::Zero | Piece::Point));
        for (i, piece) in self.pieces.iter().enumerate() {
            match piece {
                Piece::Nine | Piece::Zero if !after_point => {
                    let is_zero = first_zero.is_some_and(|z| z <= place);
                    // A number without a whole part shows a zero in its last place, if it has no fraction.
                    let is_only = digits.whole.is_empty() && place + 1 == self.whole && (self.fraction == 0 || self.fill && kept == 0);
                    match () {
                        () if overflows => out.digit('#'),
                        () if place >= leading => out.digit(char::from(digits.whole.as_bytes()[place - leading])),
                        () if is_zero || is_only => out.digit('0'),
                        () if !self.fill => out.text.push(' '),
                        () => {}
                    }
                    place += 1;
                }
                Piece::Nine | Piece::Zero => {
                    match digits.fraction.as_bytes().get(behind) {
                        _ if overflows => out.digit('#'),
                        Some(digit) if behind < kept => out.digit(char::from(*digit)),
                        _ => {}
                    }
                    behind += 1;
                }
                Piece::Point => {
                    after_point = true;
                    if self.fraction > 0 {
                        out.digit('.');
                    }
                }
                Piece::Group if out.shown => out.text.push(','),
                Piece::Group if !self.fill => out.text.push(' '),
                Piece::Group | Piece::Angle => {}
                other => self.aside(*other, digits, &mut out),
            }
            if last_place == Some(i) {
                self.sign_behind(digits, &mut out);
            }
        }
        out.text
    }

    /// What stands before the first digit: a sign, or the place of one.
    fn sign_before(&self, digits: &Digits) -> Option<char> {
        let first_place = self.pieces.iter().position(|p| matches!(p, Piece::Nine | Piece::Zero | Piece::Point));
        let sign = self.pieces.iter().position(|p| *p == Piece::Sign);
        match (sign, digits.negative) {
            (Some(sign), negative) => (Some(sign) < first_place).then_some(if negative { '-' } else { '+' }),
            _ if self.has(Piece::Angle) => {
                if digits.negative {
                    Some('<')
                } else {
                    Some(' ').filter(|_| !self.fill)
                }
            }
            _ if self.has(Piece::Minus) || self.has(Piece::PlusMinus) => None,
            (None, true) => Some('-'),
            (None, false) => Some(' ').filter(|_| !self.fill),
        }
    }

    fn sign_behind(&self, digits: &Digits, out: &mut Layout) {
        let sign = self.pieces.iter().position(|p| *p == Piece::Sign);
        let first_place = self.pieces.iter().position(|p| matches!(p, Piece::Nine | Piece::Zero | Piece::Point));
        if sign.is_some() && sign > first_place {
            out.text.push(if digits.negative { '-' } else { '+' });
        }
        if self.has(Piece::Angle) && (digits.negative || !self.fill) {
            out.text.push(if digits.negative { '>' } else { ' ' });
        }
    }

    /// Pieces that are no places of digits.
    fn aside(&self, piece: Piece, digits: &Digits, out: &mut Layout) {
        let blank = |out: &mut Layout| {
            if !self.fill {
                out.text.push(' ');
            }
        };
        match piece {
            Piece::Minus if digits.negative => out.text.push('-'),
            Piece::Plus if !digits.negative => out.text.push('+'),
            Piece::PlusMinus => out.text.push(if digits.negative { '-' } else { '+' }),
            Piece::Minus | Piece::Plus => blank(out),
            Piece::Currency => out.text.push(' '),
            Piece::Ordinal { lower } if !digits.negative && !self.has_point => {
                let suffix = ordinal(&digits.whole);
                out.text.push_str(&if lower { suffix.to_owned() } else { suffix.to_uppercase() });
            }
            Piece::Literal(c) => out.text.push(c),
            _ => {}
        }
    }

    /// Digits of the fraction that are shown: without padding those behind the last that counts are not.
    fn kept_fraction(&self, digits: &Digits) -> usize {
        if !self.fill {
            return self.fraction;
        }
        let significant = digits.fraction.trim_end_matches('0').len();
        let places = self.pieces.iter().skip_while(|p| **p != Piece::Point).filter(|p| matches!(p, Piece::Nine | Piece::Zero));
        let zeros = places.enumerate().filter(|(_, p)| **p == Piece::Zero).map(|(i, _)| i + 1).last().unwrap_or(0);
        significant.max(zeros)
    }

    fn exponential(&self, number: &str) -> String {
        let (negative, digits) = (number.starts_with('-'), number.trim_start_matches(['-', '+']));
        let plain: String = digits.chars().filter(char::is_ascii_digit).collect();
        let first = plain.find(|c: char| c != '0');
        let point = digits.find('.').unwrap_or(digits.len()) as i64;
        let significant = first.map_or("", |f| &plain[f..]);
        let Some(first) = first else { return format!("{}0{}e+00", self.column(negative), self.zeros()) };
        let mantissa = Digits::of(&format!("{}.{}", &significant[..1], &significant[1..]), self.fraction, 0);
        let carried = mantissa.whole.len() > 1;
        let exponent = point - 1 - first as i64 + i64::from(carried);
        let whole = if carried { "1" } else { mantissa.whole.as_str() };
        let fraction = if self.fraction > 0 { format!(".{}", mantissa.fraction) } else { String::new() };
        let sign = if exponent < 0 { '-' } else { '+' };
        format!("{}{whole}{fraction}e{sign}{:02}", self.column(negative), exponent.abs())
    }

    fn column(&self, negative: bool) -> &'static str {
        if negative {
            "-"
        } else if self.fill {
            ""
        } else {
            " "
        }
    }

    fn zeros(&self) -> String {
        if self.fraction > 0 { format!(".{}", "0".repeat(self.fraction)) } else { String::new() }
    }

    fn roman(&self, number: &str, lower: bool) -> String {
        const WIDTH: usize = 15;
        let digits = Digits::of(number, 0, 0);
        let value = digits.whole.parse::<usize>().ok().filter(|v| !digits.negative && (1..4000).contains(v));
        let Some(mut value) = value else { return "#".repeat(WIDTH) };
        let mut text = String::new();
        for (worth, letters) in ROMAN {
            while value >= worth {
                text.push_str(letters);
                value -= worth;
            }
        }
        let text = if lower { text.to_lowercase() } else { text };
        if self.fill { text } else { format!("{text:>WIDTH$}") }
    }
}

const ROMAN: [(usize, &str); 13] =
    [(1000, "M"), (900, "CM"), (500, "D"), (400, "CD"), (100, "C"), (90, "XC"), (50, "L"), (40, "XL"), (10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I")];

fn ordinal(whole: &str) -> &'static str {
    let last = |n: usize| whole.len().checked_sub(n).map_or(whole, |at| &whole[at..]).parse::<u8>().unwrap_or(0);
    match (last(2), last(1)) {
        (11..=13, _) => "th",
        (_, 1) => "st",
        (_, 2) => "nd",
        (_, 3) => "rd",
        _ => "th",
    }
}

fn syntax(message: &str) -> Error {
    Error::new(Kind::Syntax, message)
}

/// What has been written.
struct Layout {
    text: String,
    /// Still to be written before the first digit.
    sign: Option<char>,
    shown: bool,
}

impl Layout {
    fn digit(&mut self, digit: char) {
        self.text.extend(self.sign.take());
        self.text.push(digit);
        self.shown |= digit != '.';
    }
}

/// A number rounded to a pattern's digits.
struct Digits {
    negative: bool,
    /// Without leading zeros: empty if less than one.
    whole: String,
    fraction: String,
}

impl Digits {
    /// Rounded half away from zero to `fraction` digits, its point moved to the right by `shift`.
    fn of(number: &str, fraction: usize, shift: usize) -> Digits {
        let unsigned = number.trim_start_matches(['-', '+']);
        let (whole, behind) = unsigned.split_once('.').unwrap_or((unsigned, ""));
        let places = fraction + shift;
        let mut digits: Vec<u8> = whole.bytes().chain(behind.bytes().chain(std::iter::repeat(b'0')).take(places)).collect();
        if behind.as_bytes().get(places).is_some_and(|next| *next >= b'5') {
            let carried = digits.iter().rposition(|d| *d != b'9');
            let from = carried.map_or(0, |at| at + 1);
            digits[from..].fill(b'0');
            match carried {
                Some(at) => digits[at] += 1,
                None => digits.insert(0, b'1'),
            }
        }
        let text = String::from_utf8_lossy(&digits).into_owned();
        let (whole, fraction) = text.split_at(text.len() - fraction);
        let nothing = digits.iter().all(|d| *d == b'0');
        Digits { negative: number.starts_with('-') && !nothing, whole: whole.trim_start_matches('0').to_owned(), fraction: fraction.to_owned() }
    }
}

/// `to_number(text, pattern)`: as many digits behind the point as the pattern has.
#[derive(Debug, PartialEq, Eq, Hash)]
struct ToNumber {
    signature: Signature,
}

impl ScalarUDFImpl for ToNumber {
    fn name(&self) -> &str {
        "to_number"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::Decimal128(38, UNKNOWN_SCALE))
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs) -> DataFusionResult<FieldRef> {
        let scale = match arguments.scalar_arguments.get(1).copied().flatten() {
            Some(ScalarValue::Utf8(Some(pattern))) => Pattern::parse(pattern).map_err(external)?.scale(),
            _ => UNKNOWN_SCALE,
        };
        Ok(Arc::new(Field::new(self.name(), DataType::Decimal128(38, scale), true)))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let (texts, patterns) = (arguments.args[0].to_array(arguments.number_rows)?, arguments.args[1].to_array(arguments.number_rows)?);
        let scale = if let DataType::Decimal128(_, scale) = arguments.return_field.data_type() { *scale } else { UNKNOWN_SCALE };
        let number = |(text, pattern): (Option<&str>, Option<&str>)| match text.zip(pattern) {
            Some((text, pattern)) => read(text, &Pattern::parse(pattern)?, scale).map(Some),
            None => Ok(None),
        };
        let numbers = texts.as_string::<i32>().iter().zip(patterns.as_string::<i32>()).map(number).collect::<Result<Decimal128Array>>().map_err(external)?;
        Ok(ColumnarValue::Array(Arc::new(numbers.with_precision_and_scale(38, scale)?)))
    }
}

impl Pattern {
    fn scale(&self) -> i8 {
        (self.fraction + self.shift).min(37) as i8
    }
}

/// The number that `text` holds where the pattern has places.
fn read(text: &str, pattern: &Pattern, scale: i8) -> Result<i128> {
    let mut letters = text.chars().peekable();
    let (mut negative, mut whole, mut fraction, mut after_point) = (text.contains('-') || text.contains('<'), String::new(), String::new(), false);
    negative &= pattern.pieces.iter().any(|p| matches!(p, Piece::Nine | Piece::Zero));
    for piece in &pattern.pieces {
        while letters.peek().is_some_and(|c| matches!(c, ' ' | '-' | '+' | '<')) {
            letters.next();
        }
        match piece {
            Piece::Nine | Piece::Zero => match letters.peek() {
                Some(c) if c.is_ascii_digit() => {
                    if after_point {
                        fraction.push(*c)
                    } else {
                        whole.push(*c)
                    };
                    letters.next();
                }
                Some('.') if !after_point && pattern.has_point => {}
                _ => {}
            },
            Piece::Point => {
                // Places that the text does not fill are passed over.
                if letters.peek() == Some(&'.') {
                    letters.next();
                }
                after_point = true;
            }
            Piece::Group if letters.peek() == Some(&',') => drop(letters.next()),
            Piece::Currency | Piece::Literal(_) if letters.peek().is_some_and(|c| !c.is_ascii_digit() && !matches!(c, '.' | ',')) => drop(letters.next()),
            _ => {}
        }
    }
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() {
        return Err(Error::new(Kind::InvalidText, format!("invalid input syntax for type numeric: \"{}\"", text.trim())));
    }
    let behind = fraction.len() + pattern.shift;
    let out_of_range = || Error::new(Kind::NumericOutOfRange, "value overflows numeric format");
    let power = 10i128.checked_pow((i64::from(scale) - behind as i64).unsigned_abs() as u32).ok_or_else(out_of_range)?;
    let value = digits.parse::<i128>().map_err(|_| out_of_range())?;
    let value = if i64::from(scale) >= behind as i64 { value.checked_mul(power).ok_or_else(out_of_range)? } else { value / power };
    Ok(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(number: &str, pattern: &str) -> String {
        Pattern::parse(pattern).unwrap().shown(number)
    }

    #[test]
    fn numbers_stand_in_their_places() {
        for (number, pattern, text) in [
            ("1234.5", "9999.99", " 1234.50"),
            ("1234.5", "FM9999.99", "1234.5"),
            ("1234", "FM9,999.00", "1,234.00"),
            ("-1234.5", "9999.99", "-1234.50"),
            ("0.5", "9.99", "  .50"),
            ("0.5", "0.99", " 0.50"),
            ("0", "999", "   0"),
            ("12", "0000", " 0012"),
            ("-12", "S999", " -12"),
            ("12", "999PR", "  12 "),
            ("-12", "999PR", " <12>"),
            ("-12", "999MI", " 12-"),
            ("12345", "999", " ###"),
            ("1", "9th", " 1st"),
            ("12.45", "99V9", " 125"),
            ("0.0004859", "9.99EEEE", " 4.86e-04"),
            ("485", "RN", "        CDLXXXV"),
            ("12", "9,999", "    12"),
        ] {
            assert_eq!(shown(number, pattern), text, "{number} {pattern}");
        }
    }

    #[test]
    fn numbers_are_read_from_their_places() {
        let of = |text: &str, pattern: &str, scale: i8| read(text, &Pattern::parse(pattern).unwrap(), scale).unwrap();
        assert_eq!(of("1,234.56", "9,999.99", 2), 123_456);
        assert_eq!(of("12,454.8-", "99G999D9S", 1), -124_548);
        assert_eq!(of("$1,234", "L9,999", 0), 1234);
        assert_eq!(read("x", &Pattern::parse("9").unwrap(), 0).unwrap_err().sqlstate(), "22P02");
    }
}
