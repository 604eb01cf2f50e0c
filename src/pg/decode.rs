//! Parameters: bytes in text or binary format, with a declared OID, into Arrow arrays of length 1.
//!
//! A numeric comes as the narrowest decimal that holds it with its own scale, so that nothing of it is lost before the
//! session casts it to what the statement needs. A type that is not known here is taken as text.

use super::binary::{POSTGRES_EPOCH_DAYS, POSTGRES_EPOCH_MICROS};
use super::encode::Format;
use super::frame::utf8;
use super::types::{self, PgType};
use crate::error::{Error, Kind, Result};
use crate::types::float::Float;
use crate::types::text::decimal::{Literal, Unscaled};
use crate::types::text::{TextStyle, item_of, json, parse_value};
use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Decimal256Array, FixedSizeBinaryArray, Float32Array, Float64Array, Int16Array,
    Int32Array, Int64Array, IntervalMonthDayNanoArray, ListArray, StringArray, Time64MicrosecondArray, TimestampMicrosecondArray, new_empty_array,
    new_null_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, IntervalMonthDayNano, i256};
use std::sync::Arc;

/// Digits that the two widths of numeric hold.
const DECIMAL128_DIGITS: u8 = 38;
const DECIMAL256_DIGITS: u8 = 76;

/// One parameter's value. `oid` 0 and 705 (unknown) are text.
pub fn decode_parameter(oid: u32, format: Format, value: Option<&[u8]>, style: &TextStyle) -> Result<ArrayRef> {
    let field = types::field_of(oid).unwrap_or_else(|| Field::new("item", DataType::Utf8, true));
    let Some(value) = value else { return Ok(new_null_array(field.data_type(), 1)) };
    match format {
        Format::Text => decode_text(&field, value, style),
        Format::Binary => decode_binary(oid, &field, value),
    }
}

fn decode_text(field: &Field, value: &[u8], style: &TextStyle) -> Result<ArrayRef> {
    let text = no_zero_bytes(utf8(value)?)?;
    match field.data_type() {
        DataType::Decimal128(..) => {
            let literal = Literal::parse(text)?;
            numeric(|scale| literal.unscaled(scale), |scale| literal.unscaled(scale), literal.scale())
        }
        // An oid is written as a number; the names that reg* types may have are the session's business.
        DataType::Int64 if types::oid_of(field)? != types::INT8.oid && !text.trim().bytes().all(|b| b.is_ascii_digit()) => {
            Err(Error::new(Kind::InvalidText, format!("invalid input syntax for type oid: \"{text}\"")))
        }
        _ => parse_value(field, Some(text), style),
    }
}

fn no_zero_bytes(text: &str) -> Result<&str> {
    if text.contains('\0') {
        return Err(Error::new(Kind::InvalidEncoding, "invalid byte sequence for encoding \"UTF8\": 0x00"));
    }
    Ok(text)
}

/// The narrowest decimal with that scale; both closures give the value times 10^scale, if it fits.
fn numeric(narrow: impl Fn(i64) -> Option<i128>, wide: impl Fn(i64) -> Option<i256>, scale: i64) -> Result<ArrayRef> {
    let fits = |value: &i128| value.unsigned_abs() < 10u128.pow(DECIMAL128_DIGITS as u32);
    if scale <= DECIMAL128_DIGITS as i64
        && let Some(value) = narrow(scale).filter(fits)
    {
        return Ok(Arc::new(Decimal128Array::from(vec![value]).with_precision_and_scale(DECIMAL128_DIGITS, scale as i8)?));
    }
    let scale = scale.min(DECIMAL256_DIGITS as i64);
    let limit = i256::from_i128(10).checked_pow(DECIMAL256_DIGITS as u32);
    let value = wide(scale).filter(|v| limit.is_none_or(|limit| v.wrapping_abs() < limit));
    let value = value.ok_or_else(|| Error::new(Kind::NumericOutOfRange, "value overflows numeric format").with_detail("Numbers may have 76 digits."))?;
    Ok(Arc::new(Decimal256Array::from(vec![value]).with_precision_and_scale(DECIMAL256_DIGITS, scale as i8)?))
}

fn decode_binary(oid: u32, field: &Field, value: &[u8]) -> Result<ArrayRef> {
    match types::by_oid(oid) {
        Some((_, true)) => decode_array(field, value),
        Some((scalar, false)) => decode_scalar(scalar, value),
        None if oid == 0 => text_array(value),
        None => Err(Error::not_supported(format!("parameters of the type with OID {oid} cannot be read in binary format"))),
    }
}

fn decode_scalar(scalar: PgType, value: &[u8]) -> Result<ArrayRef> {
    Ok(match scalar {
        types::BOOL => Arc::new(BooleanArray::from(vec![bytes::<1>(value)? != [0]])),
        types::INT2 => Arc::new(Int16Array::from(vec![i16::from_be_bytes(bytes(value)?)])),
        types::INT4 => Arc::new(Int32Array::from(vec![i32::from_be_bytes(bytes(value)?)])),
        types::INT8 => Arc::new(Int64Array::from(vec![i64::from_be_bytes(bytes(value)?)])),
        types::OID | types::REGPROC | types::REGCLASS | types::REGTYPE | types::REGNAMESPACE | types::REGROLE => {
            Arc::new(Int64Array::from(vec![u32::from_be_bytes(bytes(value)?) as i64]))
        }
        types::FLOAT4 => Arc::new(Float32Array::from(vec![f32::from_be_bytes(bytes(value)?).one_nan()])),
        types::FLOAT8 => Arc::new(Float64Array::from(vec![f64::from_be_bytes(bytes(value)?).one_nan()])),
        types::NUMERIC => decode_numeric(value)?,
        types::BYTEA => Arc::new(BinaryArray::from(vec![value])),
        types::UUID => Arc::new(FixedSizeBinaryArray::try_from_iter([bytes::<16>(value)?].into_iter())?),
        types::DATE => {
            let days = i32::from_be_bytes(bytes(value)?).checked_add(POSTGRES_EPOCH_DAYS);
            Arc::new(Date32Array::from(vec![days.ok_or_else(|| out_of_range("date"))?]))
        }
        types::TIME => {
            let micros = i64::from_be_bytes(bytes(value)?);
            if !(0..=86_400_000_000).contains(&micros) {
                return Err(out_of_range("time"));
            }
            Arc::new(Time64MicrosecondArray::from(vec![micros]))
        }
        types::TIMESTAMP => Arc::new(TimestampMicrosecondArray::from(vec![timestamp(value)?])),
        types::TIMESTAMPTZ => Arc::new(TimestampMicrosecondArray::from(vec![timestamp(value)?]).with_timezone("UTC")),
        types::INTERVAL => {
            let [micros, rest] = [bytes::<8>(value.get(..8).unwrap_or_default())?, bytes::<8>(value.get(8..).unwrap_or_default())?];
            let (days, months) = (i64::from_be_bytes(rest) >> 32, i64::from_be_bytes(rest) as i32);
            let nanos = i64::from_be_bytes(micros).checked_mul(1000).ok_or_else(|| out_of_range("interval"))?;
            Arc::new(IntervalMonthDayNanoArray::from(vec![IntervalMonthDayNano::new(months, days as i32, nanos)]))
        }
        types::JSONB => match value.split_first() {
            Some((1, text)) => {
                let mut canonical = String::new();
                json::canonical_json(no_zero_bytes(utf8(text)?)?, &mut canonical)?;
                Arc::new(StringArray::from(vec![canonical]))
            }
            _ => return Err(Error::new(Kind::InvalidBinary, "unsupported jsonb version number")),
        },
        types::JSON => {
            json::check_json(no_zero_bytes(utf8(value)?)?)?;
            text_array(value)?
        }
        types::RECORD => return Err(Error::not_supported("input of anonymous composite types is not implemented")),
        _ => text_array(value)?,
    })
}

fn text_array(value: &[u8]) -> Result<ArrayRef> {
    Ok(Arc::new(StringArray::from(vec![no_zero_bytes(utf8(value)?)?])))
}

fn timestamp(value: &[u8]) -> Result<i64> {
    let micros = i64::from_be_bytes(bytes(value)?);
    // The two ends are Postgres's infinities.
    if micros == i64::MAX || micros == i64::MIN {
        return Err(Error::not_supported("infinite timestamps are not supported"));
    }
    micros.checked_add(POSTGRES_EPOCH_MICROS).ok_or_else(|| out_of_range("timestamp"))
}

fn out_of_range(type_name: &str) -> Error {
    Error::new(Kind::DatetimeOverflow, format!("{type_name} out of range"))
}

fn bytes<const N: usize>(value: &[u8]) -> Result<[u8; N]> {
    value.try_into().map_err(|_| incorrect())
}

fn incorrect() -> Error {
    Error::new(Kind::InvalidBinary, "incorrect binary data format in bind parameter")
}

/// See `write_numeric` in binary.rs for the format.
fn decode_numeric(value: &[u8]) -> Result<ArrayRef> {
    let words: Vec<i16> = value.chunks(2).map(|c| bytes(c).map(i16::from_be_bytes)).collect::<Result<_>>()?;
    let [count, weight, sign, scale, groups @ ..] = &words[..] else { return Err(incorrect()) };
    if *count as i64 != groups.len() as i64 || groups.iter().any(|g| !(0..10_000).contains(g)) || *scale < 0 {
        return Err(incorrect());
    }
    let negative = match *sign as u16 {
        0 => false,
        0x4000 => true,
        _ => return Err(Error::not_supported("numeric NaN and infinity are not supported").with_hint("use double precision")),
    };
    // Scales behind what a decimal can hold are cut to it; Postgres rounds there too.
    let scale = (*scale as i64).min(DECIMAL256_DIGITS as i64);
    numeric(|scale| unscaled(groups, *weight, negative, scale), |scale| unscaled(groups, *weight, negative, scale), scale)
}

fn unscaled<D: Unscaled>(groups: &[i16], weight: i16, negative: bool, scale: i64) -> Option<D> {
    let digit = |place: i64| {
        let group = weight as i64 - place.div_euclid(4);
        let group = usize::try_from(group).ok().and_then(|i| groups.get(i)).copied().unwrap_or(0);
        (group / [1, 10, 100, 1000][place.rem_euclid(4) as usize] % 10) as u8
    };
    let mut value = D::ZERO;
    for place in (-scale..=weight.max(0) as i64 * 4 + 3).rev() {
        value = value.push_digit(digit(place))?;
    }
    Some(if negative { value.negate() } else { value })
}

/// A one-dimensional array; the OID of its items must be what the parameter's type says.
fn decode_array(field: &Field, value: &[u8]) -> Result<ArrayRef> {
    let Some(item) = item_of(field) else { return Err(Error::internal("an array's OID gave no list")) };
    let mut rest = value;
    let mut number = || -> Result<i32> {
        let (head, tail) = rest.split_at_checked(4).ok_or_else(incorrect)?;
        rest = tail;
        Ok(i32::from_be_bytes(bytes(head)?))
    };
    let (dimensions, _has_nulls, oid) = (number()?, number()?, number()? as u32);
    let length = match dimensions {
        0 => 0,
        1 => (number()?, number()?).0,
        2..=6 => return Err(Error::not_supported("parameters with more than one array dimension are not supported")),
        _ => return Err(Error::new(Kind::Protocol, format!("invalid number of dimensions: {dimensions}"))),
    };
    let expected = types::oid_of(&item)?;
    if oid != expected {
        return Err(Error::new(Kind::DatatypeMismatch, format!("binary data has array element type {oid} instead of expected {expected}")));
    }
    // An item has at least its length, so a count beyond that is no count.
    if usize::try_from(length).map_or(true, |l| l > rest.len() / 4) {
        return Err(incorrect());
    }
    let mut items = Vec::with_capacity(length as usize);
    for _ in 0..length {
        let (head, tail) = rest.split_at_checked(4).ok_or_else(incorrect)?;
        let size = i32::from_be_bytes(bytes(head)?);
        let (item_value, tail) = if size == -1 {
            (None, tail)
        } else {
            let (v, tail) = usize::try_from(size).ok().and_then(|s| tail.split_at_checked(s)).ok_or_else(incorrect)?;
            (Some(v), tail)
        };
        rest = tail;
        items.push(decode_parameter(oid, Format::Binary, item_value, &TextStyle::UTC)?);
    }
    if !rest.is_empty() {
        return Err(incorrect());
    }
    list_of(item.data_type().clone(), items)
}

/// Numeric items may differ in width and scale: they are brought to the widest.
fn list_of(mut item_type: DataType, mut items: Vec<ArrayRef>) -> Result<ArrayRef> {
    if matches!(item_type, DataType::Decimal128(..)) && !items.is_empty() {
        let scale = items.iter().filter(|i| i.is_valid(0)).filter_map(|i| decimal_scale(i.data_type())).max().unwrap_or(0);
        let wide = items.iter().any(|i| matches!(i.data_type(), DataType::Decimal256(..)));
        item_type = if wide { DataType::Decimal256(DECIMAL256_DIGITS, scale) } else { DataType::Decimal128(DECIMAL128_DIGITS, scale) };
        items = items.iter().map(|i| Ok(arrow::compute::cast(i, &item_type)?)).collect::<Result<_>>()?;
    }
    let parts: Vec<&dyn Array> = items.iter().map(|i| i.as_ref()).collect();
    let values = if parts.is_empty() { new_empty_array(&item_type) } else { arrow::compute::concat(&parts)? };
    let field = Arc::new(Field::new("item", item_type, true));
    Ok(Arc::new(ListArray::try_new(field, OffsetBuffer::from_lengths([values.len()]), values, None)?))
}

fn decimal_scale(data_type: &DataType) -> Option<i8> {
    match data_type {
        DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) => Some(*scale),
        _ => None,
    }
}
