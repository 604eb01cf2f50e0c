//! Bytes -> columns. Each column consumes its field from the front of every row; damaged bytes are an error, never a panic.

use super::encode::interval_of_length;
use super::{NULL_FIRST, NULL_LAST, Order, VALUE};
use crate::error::{Error, Kind, Result};
use arrow::array::{ArrayRef, BinaryArray, BooleanArray, FixedSizeBinaryArray, ListArray, NullArray, PrimitiveArray, StringArray, StructArray, UInt32Array};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes as dt;
use arrow::datatypes::{ArrowPrimitiveType, DataType, FieldRef, TimeUnit};
use std::sync::Arc;

fn damaged() -> Error {
    Error::new(Kind::DataCorrupted, "a stored row is damaged").with_hint("the data directory may come from a failing disk; restore it or rebuild the view")
}

/// Decodes one field of every row and moves the rows behind it.
pub(super) fn column(data_type: &DataType, order: Order, rows: &mut [&[u8]]) -> Result<ArrayRef> {
    use DataType as D;
    macro_rules! number {
        ($t:ty, $n:literal, $from:expr) => {
            numbers::<$t, $n>(data_type, order, rows, $from)
        };
    }
    macro_rules! int {
        ($t:ty, $native:ty, $n:literal) => {
            number!($t, $n, |b| <$native>::from_be_bytes(b) ^ <$native>::MIN)
        };
    }
    match data_type {
        D::Null => nulls_only(rows),
        D::Boolean => booleans(order, rows),
        D::Int8 => int!(dt::Int8Type, i8, 1),
        D::Int16 => int!(dt::Int16Type, i16, 2),
        D::Int32 => int!(dt::Int32Type, i32, 4),
        D::Int64 => int!(dt::Int64Type, i64, 8),
        D::UInt8 => int!(dt::UInt8Type, u8, 1),
        D::UInt16 => int!(dt::UInt16Type, u16, 2),
        D::UInt32 => int!(dt::UInt32Type, u32, 4),
        D::UInt64 => int!(dt::UInt64Type, u64, 8),
        D::Float32 => number!(dt::Float32Type, 4, f32_of),
        D::Float64 => number!(dt::Float64Type, 8, f64_of),
        D::Decimal128(..) => int!(dt::Decimal128Type, i128, 16),
        D::Decimal256(..) => number!(dt::Decimal256Type, 32, i256_of),
        D::Date32 => int!(dt::Date32Type, i32, 4),
        D::Date64 => int!(dt::Date64Type, i64, 8),
        D::Time32(TimeUnit::Second) => int!(dt::Time32SecondType, i32, 4),
        D::Time32(_) => int!(dt::Time32MillisecondType, i32, 4),
        D::Time64(TimeUnit::Nanosecond) => int!(dt::Time64NanosecondType, i64, 8),
        D::Time64(_) => int!(dt::Time64MicrosecondType, i64, 8),
        D::Timestamp(TimeUnit::Second, _) => int!(dt::TimestampSecondType, i64, 8),
        D::Timestamp(TimeUnit::Millisecond, _) => int!(dt::TimestampMillisecondType, i64, 8),
        D::Timestamp(TimeUnit::Microsecond, _) => int!(dt::TimestampMicrosecondType, i64, 8),
        D::Timestamp(TimeUnit::Nanosecond, _) => int!(dt::TimestampNanosecondType, i64, 8),
        D::Duration(TimeUnit::Second) => int!(dt::DurationSecondType, i64, 8),
        D::Duration(TimeUnit::Millisecond) => int!(dt::DurationMillisecondType, i64, 8),
        D::Duration(TimeUnit::Microsecond) => int!(dt::DurationMicrosecondType, i64, 8),
        D::Duration(TimeUnit::Nanosecond) => int!(dt::DurationNanosecondType, i64, 8),
        D::Interval(_) => number!(dt::IntervalMonthDayNanoType, 16, |b| interval_of_length(i128::from_be_bytes(b) ^ i128::MIN)),
        D::FixedSizeBinary(width) => fixed(*width, order, rows),
        D::Utf8 => {
            let (offsets, data, nulls) = bytes(order, rows)?;
            Ok(Arc::new(StringArray::try_new(offsets, data, nulls).map_err(|e| damaged().caused_by(e))?))
        }
        D::Binary => {
            let (offsets, data, nulls) = bytes(order, rows)?;
            Ok(Arc::new(BinaryArray::try_new(offsets, data, nulls).map_err(|e| damaged().caused_by(e))?))
        }
        D::List(_) | D::Struct(_) if order.descending => turned(data_type, order, rows),
        D::List(element) => list(element, rows),
        D::Struct(fields) => structure(fields, rows),
        other => Err(Error::internal(format!("a column of type {other} has no encoding"))),
    }
}

/// Takes the tag; whether a value follows.
#[inline]
fn tag(row: &mut &[u8]) -> Result<bool> {
    match row.split_first() {
        Some((&VALUE, rest)) => {
            *row = rest;
            Ok(true)
        }
        Some((&(NULL_FIRST | NULL_LAST), rest)) => {
            *row = rest;
            Ok(false)
        }
        _ => Err(damaged()),
    }
}

/// Which rows were NULL, built only if one is.
#[derive(Default)]
struct Validity(Vec<bool>);

impl Validity {
    fn null(&mut self, i: usize) {
        self.0.resize(i, true);
        self.0.push(false);
    }

    fn finish(mut self, n: usize) -> Option<NullBuffer> {
        if self.0.is_empty() {
            return None;
        }
        self.0.resize(n, true);
        Some(NullBuffer::from(self.0))
    }
}

fn numbers<T: ArrowPrimitiveType, const N: usize>(
    data_type: &DataType,
    order: Order,
    rows: &mut [&[u8]],
    from: impl Fn([u8; N]) -> T::Native,
) -> Result<ArrayRef> {
    let mask = order.mask();
    let mut validity = Validity::default();
    let mut values = Vec::with_capacity(rows.len());
    for (i, row) in rows.iter_mut().enumerate() {
        if tag(row)? {
            let (value, rest) = row.split_first_chunk::<N>().ok_or_else(damaged)?;
            values.push(from(value.map(|b| b ^ mask)));
            *row = rest;
        } else {
            validity.null(i);
            values.push(T::Native::default());
        }
    }
    let array = PrimitiveArray::<T>::try_new(ScalarBuffer::from(values), validity.finish(rows.len()))?;
    Ok(Arc::new(array.with_data_type(data_type.clone())))
}

fn f32_of(bytes: [u8; 4]) -> f32 {
    let bits = u32::from_be_bytes(bytes);
    f32::from_bits(if bits >> 31 == 1 { bits ^ 1 << 31 } else { !bits })
}

fn f64_of(bytes: [u8; 8]) -> f64 {
    let bits = u64::from_be_bytes(bytes);
    f64::from_bits(if bits >> 63 == 1 { bits ^ 1 << 63 } else { !bits })
}

fn i256_of(mut bytes: [u8; 32]) -> dt::i256 {
    bytes[0] ^= 0x80;
    dt::i256::from_be_bytes(bytes)
}

fn nulls_only(rows: &mut [&[u8]]) -> Result<ArrayRef> {
    rows.iter_mut().try_for_each(|row| if tag(row)? { Err(damaged()) } else { Ok(()) })?;
    Ok(Arc::new(NullArray::new(rows.len())))
}

fn booleans(order: Order, rows: &mut [&[u8]]) -> Result<ArrayRef> {
    let values = rows.iter_mut().map(|row| {
        if !tag(row)? {
            return Ok(None);
        }
        let (byte, rest) = row.split_first().ok_or_else(damaged)?;
        *row = rest;
        Ok(Some((byte ^ order.mask()) == 1))
    });
    Ok(Arc::new(values.collect::<Result<BooleanArray>>()?))
}

fn fixed(width: i32, order: Order, rows: &mut [&[u8]]) -> Result<ArrayRef> {
    let (mask, width_bytes) = (order.mask(), width as usize);
    let mut validity = Validity::default();
    let mut data = Vec::with_capacity(rows.len() * width_bytes);
    for (i, row) in rows.iter_mut().enumerate() {
        if tag(row)? {
            let (value, rest) = row.split_at_checked(width_bytes).ok_or_else(damaged)?;
            data.extend(value.iter().map(|b| b ^ mask));
            *row = rest;
        } else {
            validity.null(i);
            data.resize(data.len() + width_bytes, 0);
        }
    }
    Ok(Arc::new(FixedSizeBinaryArray::try_new(width, Buffer::from_vec(data), validity.finish(rows.len()))?))
}

type Bytes = (OffsetBuffer<i32>, Buffer, Option<NullBuffer>);

fn bytes(order: Order, rows: &mut [&[u8]]) -> Result<Bytes> {
    let mask = order.mask();
    let mut validity = Validity::default();
    let mut data: Vec<u8> = Vec::with_capacity(rows.iter().map(|r| r.len().min(64)).sum());
    let mut offsets = Vec::with_capacity(rows.len() + 1);
    offsets.push(0i32);
    for (i, row) in rows.iter_mut().enumerate() {
        if tag(row)? {
            *row = unescape(row, mask, &mut data)?;
        } else {
            validity.null(i);
        }
        offsets.push(i32::try_from(data.len()).map_err(|_| Error::new(Kind::TooComplex, "a column of more than 2 GiB of text was read at once"))?);
    }
    Ok((OffsetBuffer::new(ScalarBuffer::from(offsets)), Buffer::from_vec(data), validity.finish(rows.len())))
}

/// Appends the text at the front of `row` to `data` and returns what is behind it.
fn unescape<'a>(mut row: &'a [u8], mask: u8, data: &mut Vec<u8>) -> Result<&'a [u8]> {
    loop {
        let zero = memchr::memchr(mask, row).ok_or_else(damaged)?;
        append(data, &row[..zero], mask);
        let after = *row.get(zero + 1).ok_or_else(damaged)?;
        row = &row[zero + 2..];
        match after ^ mask {
            0x01 => return Ok(row),
            0xFF => data.push(0),
            _ => return Err(damaged()),
        }
    }
}

fn append(data: &mut Vec<u8>, bytes: &[u8], mask: u8) {
    if mask == 0 {
        data.extend_from_slice(bytes);
    } else {
        data.extend(bytes.iter().map(|b| b ^ mask));
    }
}

/// A descending nested field: turned into an ascending one in a copy of the rows.
fn turned(data_type: &DataType, order: Order, rows: &mut [&[u8]]) -> Result<ArrayRef> {
    let copies: Vec<Vec<u8>> = rows.iter().map(|row| row.iter().enumerate().map(|(i, b)| if i == 0 { *b } else { !b }).collect()).collect();
    let mut ascending: Vec<&[u8]> = copies.iter().map(Vec::as_slice).collect();
    let array = column(data_type, Order { descending: false, ..order }, &mut ascending)?;
    for (row, rest) in rows.iter_mut().zip(ascending) {
        *row = &row[row.len() - rest.len()..];
    }
    Ok(array)
}

fn list(element: &FieldRef, rows: &mut [&[u8]]) -> Result<ArrayRef> {
    let mut validity = Validity::default();
    let mut elements: Vec<&[u8]> = Vec::new();
    let mut offsets = Vec::with_capacity(rows.len() + 1);
    offsets.push(0i32);
    for (i, row) in rows.iter_mut().enumerate() {
        if tag(row)? {
            while *row.first().ok_or_else(damaged)? != 0 {
                let length = field_length(element.data_type(), row)?;
                elements.push(&row[..length]);
                *row = &row[length..];
            }
            *row = &row[1..];
        } else {
            validity.null(i);
        }
        offsets.push(elements.len() as i32);
    }
    let values = column(element.data_type(), Order::default(), &mut elements)?;
    Ok(Arc::new(ListArray::try_new(element.clone(), OffsetBuffer::new(ScalarBuffer::from(offsets)), values, validity.finish(rows.len()))?))
}

/// Children are decoded over the rows that have a struct, then spread over all.
fn structure(fields: &dt::Fields, rows: &mut [&[u8]]) -> Result<ArrayRef> {
    let mut validity = Validity::default();
    let mut present: Vec<&[u8]> = Vec::with_capacity(rows.len());
    for (i, row) in rows.iter_mut().enumerate() {
        if tag(row)? { present.push(row) } else { validity.null(i) }
    }
    let nulls = validity.finish(rows.len());
    let mut children = fields.iter().map(|f| column(f.data_type(), Order::default(), &mut present)).collect::<Result<Vec<_>>>()?;
    let mut rest = present.into_iter();
    for (i, row) in rows.iter_mut().enumerate() {
        if nulls.as_ref().is_none_or(|n| n.is_valid(i)) {
            *row = rest.next().ok_or_else(damaged)?;
        }
    }
    if let Some(nulls) = &nulls {
        let mut next = 0;
        let places: UInt32Array = nulls.iter().map(|valid| valid.then(|| (next, next += 1).0)).collect();
        children = children.iter().map(|c| arrow::compute::take(c, &places, None)).collect::<std::result::Result<_, _>>()?;
    }
    if fields.is_empty() {
        return Ok(Arc::new(StructArray::new_empty_fields(rows.len(), nulls)));
    }
    // Under a NULL struct even a NOT NULL child is NULL here; arrow wants such a child to be masked, which it is.
    Ok(Arc::new(StructArray::try_new(fields.clone(), children, nulls)?))
}

/// Length of the ascending field at the front of `bytes`.
fn field_length(data_type: &DataType, bytes: &[u8]) -> Result<usize> {
    let mut rest = bytes;
    if !tag(&mut rest)? {
        return Ok(1);
    }
    let value = match data_type {
        DataType::Boolean => 1,
        DataType::Utf8 | DataType::Binary => {
            let mut end = 0;
            loop {
                end += memchr::memchr(0, rest.get(end..).ok_or_else(damaged)?).ok_or_else(damaged)? + 2;
                if rest.get(end - 1) != Some(&0xFF) {
                    break end;
                }
            }
        }
        DataType::List(element) => {
            let mut end = 0;
            while *rest.get(end).ok_or_else(damaged)? != 0 {
                end += field_length(element.data_type(), &rest[end..])?;
            }
            end + 1
        }
        DataType::Struct(fields) => {
            fields.iter().try_fold(0, |end, f| Ok::<_, Error>(end + field_length(f.data_type(), rest.get(end..).ok_or_else(damaged)?)?))?
        }
        DataType::Interval(_) => 16,
        DataType::FixedSizeBinary(width) => *width as usize,
        other => other.primitive_width().ok_or_else(damaged)?,
    };
    if value > rest.len() { Err(damaged()) } else { Ok(value + 1) }
}
