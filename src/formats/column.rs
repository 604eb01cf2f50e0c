//! One declared column being filled from JSON values, straight into the buffers of its Arrow array. Values can be taken back: a record that
//! turns out bad in its last field leaves no trace.

use super::object::Object;
use super::scan::{Bad, Checked, Cursor, bad_value, shown};
use crate::error::{Error, Result};
use crate::types::text::bytes::{parse_bytea, parse_uuid};
use crate::types::text::datetime::{parse_date, parse_time, parse_timestamp, parse_timestamptz};
use crate::types::text::decimal::{Literal, parse_decimal128, parse_decimal256};
use crate::types::text::interval::parse_interval;
use crate::types::text::json::canonical_json;
use crate::types::text::{TYPE_KEY, TYPMOD_KEY, Zone, item_of};
use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Decimal128Array, Decimal256Array, FixedSizeBinaryArray, ListArray, PrimitiveArray, StringArray, StructArray,
};
use arrow::array::{BooleanBufferBuilder, NullBufferBuilder};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Field, FieldRef, Fields, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, IntervalMonthDayNano,
    IntervalMonthDayNanoType, IntervalUnit, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType, i256,
};
use std::sync::Arc;

/// What a number stands for in a timestamp column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampUnit {
    Seconds,
    Millis,
    Micros,
}

/// How a text stands for bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteaText {
    /// As Postgres reads bytea: `\x` and hexadecimal digits, or its escape form.
    Postgres,
    Base64,
}

/// What the format's options say about values.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub timestamp_unit: TimestampUnit,
    pub bytea: ByteaText,
    /// A missing field of a nullable column is NULL instead of an error.
    pub missing_is_null: bool,
}

/// One column.
pub struct Column {
    pub name: String,
    values: Values,
    nulls: NullBufferBuilder,
    rows: usize,
    pub not_null: bool,
    rules: Rules,
}

enum Values {
    Boolean(BooleanBufferBuilder),
    Int16(Vec<i16>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
    Decimal128(Vec<i128>, u8, i8),
    Decimal256(Vec<i256>, u8, i8),
    Text(Bytes, TextKind),
    Binary(Bytes),
    Uuid(Vec<u8>),
    Date(Vec<i32>),
    Time(Vec<i64>),
    Timestamp(Vec<i64>, Option<Arc<str>>),
    Interval(Vec<IntervalMonthDayNano>),
    List(Vec<i32>, FieldRef, Box<Column>),
    Struct(Fields, Box<Object>),
}

/// Values of any length, back to back.
struct Bytes {
    offsets: Vec<i32>,
    bytes: Vec<u8>,
}

#[derive(Clone, Copy)]
enum TextKind {
    Plain,
    /// At most so many characters.
    Varchar(usize),
    Json,
    Jsonb,
}

impl Column {
    /// Error: a type that JSON values cannot fill.
    pub fn new(field: &Field, not_null: bool, rules: Rules) -> Result<Column> {
        let values = match field.data_type() {
            DataType::Boolean => Values::Boolean(BooleanBufferBuilder::new(0)),
            DataType::Int16 => Values::Int16(Vec::new()),
            DataType::Int32 => Values::Int32(Vec::new()),
            DataType::Int64 => Values::Int64(Vec::new()),
            DataType::Float32 => Values::Float32(Vec::new()),
            DataType::Float64 => Values::Float64(Vec::new()),
            DataType::Decimal128(p, s) => Values::Decimal128(Vec::new(), *p, *s),
            DataType::Decimal256(p, s) => Values::Decimal256(Vec::new(), *p, *s),
            DataType::Utf8 => Values::Text(Bytes::new(), text_kind(field)),
            DataType::Binary => Values::Binary(Bytes::new()),
            DataType::FixedSizeBinary(16) => Values::Uuid(Vec::new()),
            DataType::Date32 => Values::Date(Vec::new()),
            DataType::Time64(TimeUnit::Microsecond) => Values::Time(Vec::new()),
            DataType::Timestamp(TimeUnit::Microsecond, zone) => Values::Timestamp(Vec::new(), zone.clone()),
            DataType::Interval(IntervalUnit::MonthDayNano) => Values::Interval(Vec::new()),
            DataType::List(item) => {
                let of = item_of(field).unwrap_or_else(|| item.clone());
                Values::List(vec![0], item.clone(), Box::new(Column::new(&of, false, rules)?))
            }
            DataType::Struct(fields) => {
                let not_null = vec![false; fields.len()];
                Values::Struct(fields.clone(), Box::new(Object::new(fields, &not_null, rules)?))
            }
            other => return Err(Error::not_supported(format!("column \"{}\" of type {other} cannot be read from JSON", field.name()))),
        };
        Ok(Column { name: field.name().clone(), values, nulls: NullBufferBuilder::new(0), rows: 0, not_null, rules })
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Appends the value at the cursor. After an error the column must be cut back to what it had.
    #[inline]
    pub fn append(&mut self, cursor: &mut Cursor<'_>) -> Checked<()> {
        if cursor.peek() == b'n' && cursor.take_all(b"null") {
            return self.append_null();
        }
        self.append_value(cursor)?;
        self.nulls.append_non_null();
        self.rows += 1;
        Ok(())
    }

    /// Error: the column takes no NULL.
    pub fn append_null(&mut self) -> Checked<()> {
        if self.not_null {
            return bad_value("null in a NOT NULL column");
        }
        match &mut self.values {
            Values::Boolean(b) => b.append(false),
            Values::Int16(v) => v.push(0),
            Values::Int32(v) | Values::Date(v) => v.push(0),
            Values::Int64(v) | Values::Time(v) | Values::Timestamp(v, _) => v.push(0),
            Values::Float32(v) => v.push(0.0),
            Values::Float64(v) => v.push(0.0),
            Values::Decimal128(v, ..) => v.push(0),
            Values::Decimal256(v, ..) => v.push(i256::ZERO),
            Values::Text(b, _) | Values::Binary(b) => b.end_value()?,
            Values::Uuid(v) => v.extend_from_slice(&[0; 16]),
            Values::Interval(v) => v.push(IntervalMonthDayNano::ZERO),
            Values::List(offsets, _, item) => offsets.push(offset(item.rows)?),
            Values::Struct(_, object) => object.append_nulls()?,
        }
        self.nulls.append_null();
        self.rows += 1;
        Ok(())
    }

    fn append_value(&mut self, cursor: &mut Cursor<'_>) -> Checked<()> {
        match &mut self.values {
            Values::Int64(v) => v.push(integer(cursor, "bigint")?),
            Values::Int32(v) => v.push(narrow(integer(cursor, "integer")?, "integer")?),
            Values::Int16(v) => v.push(narrow(integer(cursor, "smallint")?, "smallint")?),
            Values::Text(bytes, kind) => append_text(cursor, bytes, *kind)?,
            Values::Timestamp(v, zone) => v.push(timestamp(cursor, zone.is_some(), self.rules.timestamp_unit)?),
            Values::Boolean(b) => b.append(boolean(cursor)?),
            Values::Float64(v) => v.push(float(cursor, "double precision")?),
            Values::Float32(v) => v.push(real(cursor)?),
            Values::Decimal128(v, p, s) => v.push(decimal(cursor, *p, *s, fast_decimal, parse_decimal128)?),
            Values::Decimal256(v, p, s) => v.push(decimal(cursor, *p, *s, |_, _, _| None, parse_decimal256)?),
            Values::Binary(bytes) => {
                let rules = self.rules.bytea;
                let value = from_string(cursor, "bytea", |t| if rules == ByteaText::Base64 { base64(t) } else { parse_bytea(t).map_err(worded) })?;
                bytes.bytes.extend_from_slice(&value);
                bytes.end_value()?;
            }
            Values::Uuid(v) => v.extend_from_slice(&from_string(cursor, "uuid", |t| parse_uuid(t).map_err(worded))?),
            Values::Date(v) => v.push(from_string(cursor, "date", |t| parse_date(t).map_err(worded))?),
            Values::Time(v) => v.push(from_string(cursor, "time", |t| parse_time(t).map_err(worded))?),
            Values::Interval(v) => v.push(from_string(cursor, "interval", |t| parse_interval(t).map_err(worded))?),
            Values::List(offsets, _, item) => {
                append_items(cursor, item)?;
                offsets.push(offset(item.rows)?);
            }
            Values::Struct(_, object) => {
                if cursor.peek() != b'{' {
                    return expected(cursor, "an object");
                }
                object.read(cursor)?;
            }
        }
        Ok(())
    }

    /// Cuts back to the first `rows` values, also when a value was half appended.
    pub fn truncate(&mut self, rows: usize) {
        match &mut self.values {
            Values::Boolean(b) => b.truncate(rows),
            Values::Int16(v) => v.truncate(rows),
            Values::Int32(v) | Values::Date(v) => v.truncate(rows),
            Values::Int64(v) | Values::Time(v) | Values::Timestamp(v, _) => v.truncate(rows),
            Values::Float32(v) => v.truncate(rows),
            Values::Float64(v) => v.truncate(rows),
            Values::Decimal128(v, ..) => v.truncate(rows),
            Values::Decimal256(v, ..) => v.truncate(rows),
            Values::Text(b, _) | Values::Binary(b) => b.truncate(rows),
            Values::Uuid(v) => v.truncate(rows * 16),
            Values::Interval(v) => v.truncate(rows),
            Values::List(offsets, _, item) => {
                offsets.truncate(rows + 1);
                item.truncate(offsets[rows] as usize);
            }
            Values::Struct(_, object) => object.truncate(rows),
        }
        if self.rows > rows {
            self.nulls.truncate(rows);
            self.rows = rows;
        }
    }

    /// The array, and a fresh start.
    pub fn finish(&mut self) -> Result<ArrayRef> {
        let nulls = self.nulls.finish();
        self.rows = 0;
        Ok(match &mut self.values {
            Values::Boolean(b) => Arc::new(BooleanArray::new(b.finish(), nulls)),
            Values::Int16(v) => primitive::<Int16Type>(v, nulls),
            Values::Int32(v) => primitive::<Int32Type>(v, nulls),
            Values::Int64(v) => primitive::<Int64Type>(v, nulls),
            Values::Float32(v) => primitive::<Float32Type>(v, nulls),
            Values::Float64(v) => primitive::<Float64Type>(v, nulls),
            Values::Decimal128(v, p, s) => Arc::new(Decimal128Array::new(taken(v), nulls).with_precision_and_scale(*p, *s)?),
            Values::Decimal256(v, p, s) => Arc::new(Decimal256Array::new(taken(v), nulls).with_precision_and_scale(*p, *s)?),
            Values::Text(b, _) => {
                let (offsets, bytes) = b.finish();
                Arc::new(StringArray::try_new(offsets, bytes, nulls)?)
            }
            Values::Binary(b) => {
                let (offsets, bytes) = b.finish();
                Arc::new(BinaryArray::try_new(offsets, bytes, nulls)?)
            }
            Values::Uuid(v) => Arc::new(FixedSizeBinaryArray::try_new(16, Buffer::from_vec(std::mem::take(v)), nulls)?),
            Values::Date(v) => primitive::<Date32Type>(v, nulls),
            Values::Time(v) => primitive::<Time64MicrosecondType>(v, nulls),
            Values::Timestamp(v, zone) => Arc::new(PrimitiveArray::<TimestampMicrosecondType>::new(taken(v), nulls).with_timezone_opt(zone.clone())),
            Values::Interval(v) => primitive::<IntervalMonthDayNanoType>(v, nulls),
            Values::List(offsets, field, item) => {
                let offsets = OffsetBuffer::new(ScalarBuffer::from(std::mem::replace(offsets, vec![0])));
                Arc::new(ListArray::try_new(field.clone(), offsets, item.finish()?, nulls)?)
            }
            Values::Struct(fields, object) => Arc::new(StructArray::try_new(fields.clone(), object.finish()?, nulls)?),
        })
    }
}

fn taken<T: arrow::datatypes::ArrowNativeType>(values: &mut Vec<T>) -> ScalarBuffer<T> {
    // The next batch is most likely as long as this one.
    let next = Vec::with_capacity(values.len());
    ScalarBuffer::from(std::mem::replace(values, next))
}

fn primitive<T: ArrowPrimitiveType>(values: &mut Vec<T::Native>, nulls: Option<NullBuffer>) -> ArrayRef {
    Arc::new(PrimitiveArray::<T>::new(taken(values), nulls))
}

fn offset(at: usize) -> Checked<i32> {
    i32::try_from(at).or_else(|_| bad_value("the batch holds more than 2 GiB of one column"))
}

impl Bytes {
    fn new() -> Self {
        Bytes { offsets: vec![0], bytes: Vec::new() }
    }

    #[inline]
    fn end_value(&mut self) -> Checked<()> {
        self.offsets.push(offset(self.bytes.len())?);
        Ok(())
    }

    fn truncate(&mut self, values: usize) {
        self.offsets.truncate(values + 1);
        self.bytes.truncate(self.offsets[values] as usize);
    }

    fn finish(&mut self) -> (OffsetBuffer<i32>, Buffer) {
        let mut offsets = Vec::with_capacity(self.offsets.len());
        offsets.push(0);
        let offsets = std::mem::replace(&mut self.offsets, offsets);
        let bytes = Vec::with_capacity(self.bytes.len());
        let bytes = std::mem::replace(&mut self.bytes, bytes);
        (OffsetBuffer::new(ScalarBuffer::from(offsets)), Buffer::from_vec(bytes))
    }
}

/// Reads what `tw.type` and `tw.typmod` say about a Utf8 column.
fn text_kind(field: &Field) -> TextKind {
    match field.metadata().get(TYPE_KEY).map(String::as_str) {
        Some("jsonb") => TextKind::Jsonb,
        Some("json") => TextKind::Json,
        // Postgres counts the four bytes of a length word into the modifier.
        _ => match field.metadata().get(TYPMOD_KEY).and_then(|m| m.parse::<usize>().ok()) {
            Some(modifier) if modifier >= 4 => TextKind::Varchar(modifier - 4),
            _ => TextKind::Plain,
        },
    }
}

/// `expected bigint, got string "abc"`.
#[cold]
fn expected<T>(cursor: &mut Cursor<'_>, what: &str) -> Checked<T> {
    let kind = match cursor.peek() {
        b'"' => "string ",
        b'{' => return bad_value(format!("expected {what}, got an object")),
        b'[' => return bad_value(format!("expected {what}, got an array")),
        b't' | b'f' => "",
        _ => "number ",
    };
    let text = cursor.skip()?;
    bad_value(format!("expected {what}, got {kind}{}", shown(text)))
}

#[cold]
fn out_of_range<T>(what: &str, text: &str) -> Checked<T> {
    bad_value(format!("number {} is out of range for {what}", shown(text.as_bytes())))
}

/// The message of an error of the text readers, without its type.
fn worded(error: Error) -> Box<Bad> {
    Box::new(Bad::Value(error.message().to_string()))
}

#[inline]
fn integer(cursor: &mut Cursor<'_>, what: &str) -> Checked<i64> {
    match cursor.small_integer() {
        Some(value) => Ok(value),
        None => long_integer(cursor, what),
    }
}

/// Numbers of 19 digits, and those written with a point or exponent but whole: `1e3`, `5.0`.
#[cold]
fn long_integer(cursor: &mut Cursor<'_>, what: &str) -> Checked<i64> {
    if !matches!(cursor.peek(), b'-' | b'0'..=b'9') {
        return expected(cursor, what);
    }
    let text = cursor.number()?;
    let literal = Literal::parse(text).map_err(worded)?;
    let scale = literal.scale();
    let (Some(whole), Some(exact)) = (literal.unscaled::<i128>(0), literal.unscaled::<i128>(scale.min(30))) else { return out_of_range(what, text) };
    // A rounded value is not the one that was written.
    if scale > 30 || whole.checked_mul(10i128.pow(scale as u32)) != Some(exact) {
        return bad_value(format!("expected {what}, got number {}", shown(text.as_bytes())));
    }
    i64::try_from(whole).or_else(|_| out_of_range(what, text))
}

#[inline]
fn narrow<T: TryFrom<i64>>(value: i64, what: &str) -> Checked<T> {
    T::try_from(value).or_else(|_| out_of_range(what, &value.to_string()))
}

fn boolean(cursor: &mut Cursor<'_>) -> Checked<bool> {
    if cursor.take_all(b"true") {
        Ok(true)
    } else if cursor.take_all(b"false") {
        Ok(false)
    } else {
        expected(cursor, "boolean")
    }
}

/// A number, or one of the three that JSON has no number for, as text.
fn float(cursor: &mut Cursor<'_>, what: &str) -> Checked<f64> {
    match cursor.peek() {
        b'"' if cursor.take_all(b"\"NaN\"") => Ok(f64::NAN),
        b'"' if cursor.take_all(b"\"Infinity\"") => Ok(f64::INFINITY),
        b'"' if cursor.take_all(b"\"-Infinity\"") => Ok(f64::NEG_INFINITY),
        b'-' | b'0'..=b'9' => {
            let text = cursor.number()?;
            match lexical_core::parse::<f64>(text.as_bytes()) {
                Ok(value) if value.is_finite() => Ok(value),
                _ => out_of_range(what, text),
            }
        }
        _ => expected(cursor, what),
    }
}

fn real(cursor: &mut Cursor<'_>) -> Checked<f32> {
    let wide = float(cursor, "real")?;
    let value = wide as f32;
    if wide.is_finite() && !value.is_finite() { out_of_range("real", &wide.to_string()) } else { Ok(value) }
}

type DecimalParser<T> = fn(&str, u8, i8) -> Result<T>;

/// A number, or a number in a string (many producers keep digits so). Digits beyond the scale are rounded, as Postgres does.
fn decimal<T>(cursor: &mut Cursor<'_>, precision: u8, scale: i8, fast: fn(&str, u8, i8) -> Option<T>, exact: DecimalParser<T>) -> Checked<T> {
    let parse = |text: &str| match fast(text, precision, scale) {
        Some(value) => Ok(value),
        None => exact(text, precision, scale).map_err(|e| Box::new(Bad::Value(format!("{}: {}", e.message(), shown(text.as_bytes()))))),
    };
    match cursor.peek() {
        b'-' | b'0'..=b'9' => parse(cursor.number()?),
        b'"' => parse(cursor.string()?.text(&mut Vec::new())?),
        _ => expected(cursor, &format!("numeric({precision},{scale})")),
    }
}

/// Plain digits with at most `scale` of them after the point, 18 in all.
fn fast_decimal(text: &str, precision: u8, scale: i8) -> Option<i128> {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    if digits.len() > 18 || digits.is_empty() {
        return None;
    }
    let (mut value, mut fraction) = (0i64, None::<i32>);
    for byte in digits.bytes() {
        match byte {
            b'0'..=b'9' => {
                value = value * 10 + i64::from(byte - b'0');
                fraction = fraction.map(|f| f + 1);
            }
            b'.' if fraction.is_none() => fraction = Some(0),
            _ => return None,
        }
    }
    let missing = u32::try_from(i32::from(scale) - fraction.unwrap_or(0)).ok()?;
    let value = i128::from(value).checked_mul(10i128.checked_pow(missing)?)?;
    let limit = 10i128.checked_pow(u32::from(precision))?;
    (value < limit).then_some(if negative { -value } else { value })
}

/// A string's value, parsed.
fn from_string<T>(cursor: &mut Cursor<'_>, what: &str, parse: impl Fn(&str) -> Checked<T>) -> Checked<T> {
    if cursor.peek() != b'"' {
        return expected(cursor, what);
    }
    parse(cursor.string()?.text(&mut Vec::new())?)
}

fn timestamp(cursor: &mut Cursor<'_>, with_zone: bool, unit: TimestampUnit) -> Checked<i64> {
    let what = if with_zone { "timestamptz" } else { "timestamp" };
    let (factor, scale) = match unit {
        TimestampUnit::Seconds => (1_000_000, 6),
        TimestampUnit::Millis => (1000, 3),
        TimestampUnit::Micros => (1, 0),
    };
    match cursor.peek() {
        b'"' => {
            let string = cursor.string()?;
            if let Some((local, offset)) = iso_timestamp(string.raw) {
                // Postgres drops the zone of a timestamp without time zone.
                return Ok(if with_zone { local - offset } else { local });
            }
            let mut scratch = Vec::new();
            let text = string.text(&mut scratch)?;
            if with_zone { parse_timestamptz(text, Zone::Utc) } else { parse_timestamp(text) }.map_err(worded)
        }
        b'-' | b'0'..=b'9' => {
            if let Some(whole) = cursor.small_integer() {
                return whole.checked_mul(factor).map_or_else(|| out_of_range(what, &whole.to_string()), Ok);
            }
            let text = cursor.number()?;
            let micros = Literal::parse(text).map_err(worded)?.unscaled::<i128>(scale);
            micros.and_then(|m| i64::try_from(m).ok()).map_or_else(|| out_of_range(what, text), Ok)
        }
        _ => expected(cursor, what),
    }
}

/// `2024-02-29T12:34:56[.123456][Z|+02:00]` (or a blank for the `T`), the form nearly all events have: local µs and offset from UTC in
/// µs. `None`: the general reader decides.
fn iso_timestamp(text: &[u8]) -> Option<(i64, i64)> {
    let digits =
        |at: usize, n: usize| -> Option<i64> { text.get(at..at + n)?.iter().try_fold(0, |sum, b| b.is_ascii_digit().then(|| sum * 10 + i64::from(b - b'0'))) };
    let is = |at: usize, byte: u8| text.get(at) == Some(&byte);
    if !(is(4, b'-') && is(7, b'-') && (is(10, b'T') || is(10, b' ')) && is(13, b':') && is(16, b':')) {
        return None;
    }
    let date = chrono::NaiveDate::from_ymd_opt(digits(0, 4)? as i32, digits(5, 2)? as u32, digits(8, 2)? as u32)?;
    let (hours, minutes, seconds) = (digits(11, 2)?, digits(14, 2)?, digits(17, 2)?);
    if hours > 23 || minutes > 59 || seconds > 59 || is(0, b'0') {
        return None;
    }
    let (mut at, mut fraction) = (19, 0);
    if is(19, b'.') {
        let n = text[20..].iter().take_while(|b| b.is_ascii_digit()).count();
        if n == 0 || n > 6 {
            return None;
        }
        fraction = digits(20, n)? * 10i64.pow(6 - n as u32);
        at = 20 + n;
    }
    let offset = match (text.get(at), text.len() - at) {
        (None, _) => 0,
        (Some(b'Z'), 1) => 0,
        (Some(sign @ (b'+' | b'-')), 6) if is(at + 3, b':') => {
            let (h, m) = (digits(at + 1, 2)?, digits(at + 4, 2)?);
            if h > 15 || m > 59 {
                return None;
            }
            (h * 3600 + m * 60) * if *sign == b'-' { -1_000_000 } else { 1_000_000 }
        }
        _ => return None,
    };
    let days = i64::from(date.signed_duration_since(chrono::NaiveDate::default()).num_days() as i32);
    Some((days * 86_400_000_000 + (hours * 3600 + minutes * 60 + seconds) * 1_000_000 + fraction, offset))
}

#[inline]
fn append_text(cursor: &mut Cursor<'_>, bytes: &mut Bytes, kind: TextKind) -> Checked<()> {
    match kind {
        TextKind::Plain if cursor.peek() == b'"' => cursor.string()?.append(&mut bytes.bytes)?,
        TextKind::Plain => return expected(cursor, "text"),
        TextKind::Varchar(limit) => {
            let what = format!("character varying({limit})");
            from_string(cursor, &what, |text| {
                let kept = match text.char_indices().nth(limit) {
                    None => text,
                    Some((end, _)) if text[end..].bytes().all(|b| b == b' ') => &text[..end],
                    Some(_) => return bad_value(format!("value too long for type {what}")),
                };
                Ok(kept.to_string())
            })
            .map(|kept| bytes.bytes.extend_from_slice(kept.as_bytes()))?;
        }
        TextKind::Json => bytes.bytes.extend_from_slice(cursor.skip()?),
        TextKind::Jsonb => {
            let text = std::str::from_utf8(cursor.skip()?).or_else(|_| bad_value("the text is not UTF-8"))?;
            let mut canonical = String::with_capacity(text.len() + 16);
            canonical_json(text, &mut canonical).map_err(worded)?;
            bytes.bytes.extend_from_slice(canonical.as_bytes());
        }
    }
    bytes.end_value()
}

fn append_items(cursor: &mut Cursor<'_>, item: &mut Column) -> Checked<()> {
    if !cursor.take(b'[') {
        return expected(cursor, "an array");
    }
    cursor.enter()?;
    cursor.blanks();
    if !cursor.take(b']') {
        loop {
            item.append(cursor)?;
            cursor.blanks();
            if cursor.take(b']') {
                break;
            }
            cursor.expect(b',')?;
            cursor.blanks();
        }
    }
    cursor.leave();
    Ok(())
}

/// Standard base64, padding optional.
fn base64(text: &str) -> Checked<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3 + 3);
    let (mut word, mut bits) = (0u32, 0);
    for byte in text.trim_end_matches('=').bytes() {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return bad_value("invalid base64"),
        };
        word = word << 6 | u32::from(six);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.push((word >> bits) as u8);
        }
    }
    if bits == 6 { bad_value("invalid base64") } else { Ok(out) }
}
