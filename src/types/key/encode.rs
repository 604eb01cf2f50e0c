//! Columns -> bytes. If every column has a fixed width and no NULL, rows have one width and each column is a strided copy. Otherwise
//! a first pass adds up each row's size, and a second lets every column write behind what the columns before it wrote.

use super::{Order, Rows, VALUE, check};
use crate::error::{Error, Result};
use crate::types::float::Float;
use arrow::array::cast::AsArray;
use arrow::array::{Array, ArrayRef, BooleanArray, FixedSizeBinaryArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes as dt;
use arrow::datatypes::{DataType, IntervalMonthDayNano, TimeUnit};

/// One column, ready to be written.
enum Source<'a> {
    Null,
    Boolean(&'a BooleanArray),
    I8(&'a [i8]),
    I16(&'a [i16]),
    I32(&'a [i32]),
    I64(&'a [i64]),
    U8(&'a [u8]),
    U16(&'a [u16]),
    U32(&'a [u32]),
    U64(&'a [u64]),
    F32(&'a [f32]),
    F64(&'a [f64]),
    I128(&'a [i128]),
    I256(&'a [dt::i256]),
    Interval(&'a [IntervalMonthDayNano]),
    Fixed(&'a FixedSizeBinaryArray),
    /// Text and bytes; `zeros`: whether any value contains a byte 0.
    Bytes {
        offsets: &'a OffsetBuffer<i32>,
        data: &'a [u8],
        zeros: bool,
    },
    /// Arrays: encoded elements, and which of them belong to a row.
    List {
        elements: Rows,
        offsets: &'a OffsetBuffer<i32>,
    },
    Struct(Rows),
}

struct Column<'a> {
    source: Source<'a>,
    nulls: Option<&'a NullBuffer>,
    order: Order,
}

/// Appends `n` rows, with `room` more bytes behind each.
pub(super) fn encode(fields: &[(DataType, Order)], columns: &[ArrayRef], n: usize, rows: &mut Rows, room: usize) -> Result<()> {
    let columns = fields.iter().zip(columns).map(|((_, order), c)| Column::new(c, *order)).collect::<Result<Vec<_>>>()?;
    let base = rows.bytes.len();
    let widths: Option<Vec<usize>> = columns.iter().map(|c| c.width().filter(|_| c.nulls.is_none())).collect();
    if let Some(widths) = widths {
        let width: usize = widths.iter().map(|w| w + 1).sum::<usize>() + room;
        rows.bytes.resize(base + n * width, VALUE);
        rows.ends.extend((1..=n).map(|i| base + i * width));
        let mut at = 0;
        for (column, w) in columns.iter().zip(&widths) {
            column.write_strided(&mut rows.bytes[base..], width, at + 1);
            at += w + 1;
        }
        return Ok(());
    }
    let first = rows.ends.len();
    rows.ends.resize(first + n, 0);
    let cursors = &mut rows.ends[first..];
    columns.iter().for_each(|c| c.add_sizes(cursors));
    let mut end = base;
    for cursor in cursors.iter_mut() {
        let size = *cursor;
        *cursor = end;
        end += size + room;
    }
    rows.bytes.resize(end, 0);
    columns.iter().for_each(|c| c.write(&mut rows.bytes, cursors));
    cursors.iter_mut().for_each(|cursor| *cursor += room);
    Ok(())
}

impl<'a> Column<'a> {
    fn new(array: &'a ArrayRef, order: Order) -> Result<Column<'a>> {
        let nulls = array.nulls().filter(|n| n.null_count() > 0);
        Ok(Column { source: Source::new(array)?, nulls, order })
    }

    /// Bytes of a value behind its tag, if all have the same.
    fn width(&self) -> Option<usize> {
        Some(match &self.source {
            Source::Boolean(_) | Source::I8(_) | Source::U8(_) => 1,
            Source::I16(_) | Source::U16(_) => 2,
            Source::I32(_) | Source::U32(_) | Source::F32(_) => 4,
            Source::I64(_) | Source::U64(_) | Source::F64(_) => 8,
            Source::I128(_) | Source::Interval(_) => 16,
            Source::I256(_) => 32,
            Source::Fixed(a) => a.value_length() as usize,
            Source::Null | Source::Bytes { .. } | Source::List { .. } | Source::Struct(_) => return None,
        })
    }

    fn is_null(&self, i: usize) -> bool {
        self.nulls.is_some_and(|n| n.is_null(i))
    }

    /// The fast path: rows of `width` bytes, this column's value at `at` in each; tags are there already.
    fn write_strided(&self, out: &mut [u8], width: usize, at: usize) {
        let mask = self.order.mask();
        match &self.source {
            Source::Boolean(a) => strided(out, width, at, mask, (0..a.len()).map(|i| [a.value(i) as u8])),
            Source::I8(v) => strided(out, width, at, mask, v.iter().map(|v| [*v as u8 ^ 0x80])),
            Source::U8(v) => strided(out, width, at, mask, v.iter().map(|v| [*v])),
            Source::I16(v) => strided(out, width, at, mask, v.iter().map(|v| (*v ^ i16::MIN).to_be_bytes())),
            Source::U16(v) => strided(out, width, at, mask, v.iter().map(|v| v.to_be_bytes())),
            Source::I32(v) => strided(out, width, at, mask, v.iter().map(|v| (*v ^ i32::MIN).to_be_bytes())),
            Source::U32(v) => strided(out, width, at, mask, v.iter().map(|v| v.to_be_bytes())),
            Source::I64(v) => strided(out, width, at, mask, v.iter().map(|v| (*v ^ i64::MIN).to_be_bytes())),
            Source::U64(v) => strided(out, width, at, mask, v.iter().map(|v| v.to_be_bytes())),
            Source::F32(v) => strided(out, width, at, mask, v.iter().map(|v| f32_bytes(*v))),
            Source::F64(v) => strided(out, width, at, mask, v.iter().map(|v| f64_bytes(*v))),
            Source::I128(v) => strided(out, width, at, mask, v.iter().map(|v| i128_bytes(*v))),
            Source::I256(v) => strided(out, width, at, mask, v.iter().map(|v| i256_bytes(*v))),
            Source::Interval(v) => strided(out, width, at, mask, v.iter().map(|v| i128_bytes(interval_length(*v)))),
            Source::Fixed(a) => {
                for (i, row) in out.chunks_exact_mut(width).enumerate() {
                    copy_masked(&mut row[at..at + a.value_length() as usize], a.value(i), mask);
                }
            }
            Source::Null | Source::Bytes { .. } | Source::List { .. } | Source::Struct(_) => unreachable!("these have no fixed width"),
        }
    }

    /// Adds this column's size in each row.
    fn add_sizes(&self, sizes: &mut [usize]) {
        if let Some(width) = self.width() {
            match self.nulls {
                None => sizes.iter_mut().for_each(|s| *s += width + 1),
                Some(nulls) => sizes.iter_mut().enumerate().for_each(|(i, s)| *s += if nulls.is_null(i) { 1 } else { width + 1 }),
            }
            return;
        }
        for (i, size) in sizes.iter_mut().enumerate() {
            *size += 1;
            if self.is_null(i) {
                continue;
            }
            *size += match &self.source {
                Source::Bytes { offsets, data, zeros } => {
                    let value = &data[offsets[i] as usize..offsets[i + 1] as usize];
                    let escapes = if *zeros { memchr::memchr_iter(0, value).count() } else { 0 };
                    value.len() + escapes + 2
                }
                Source::List { elements, offsets } => elements_of(elements, offsets, i).len() + 1,
                Source::Struct(rows) => rows.row(i).len(),
                _ => 0,
            };
        }
    }

    /// Writes each row's part at its cursor and moves the cursor behind it.
    fn write(&self, out: &mut [u8], cursors: &mut [usize]) {
        match &self.source {
            Source::Null => self.write_each(out, cursors, |_, _| 0),
            Source::Boolean(a) => self.write_fixed(out, cursors, |i| [a.value(i) as u8]),
            Source::I8(v) => self.write_fixed(out, cursors, |i| [v[i] as u8 ^ 0x80]),
            Source::U8(v) => self.write_fixed(out, cursors, |i| [v[i]]),
            Source::I16(v) => self.write_fixed(out, cursors, |i| (v[i] ^ i16::MIN).to_be_bytes()),
            Source::U16(v) => self.write_fixed(out, cursors, |i| v[i].to_be_bytes()),
            Source::I32(v) => self.write_fixed(out, cursors, |i| (v[i] ^ i32::MIN).to_be_bytes()),
            Source::U32(v) => self.write_fixed(out, cursors, |i| v[i].to_be_bytes()),
            Source::I64(v) => self.write_fixed(out, cursors, |i| (v[i] ^ i64::MIN).to_be_bytes()),
            Source::U64(v) => self.write_fixed(out, cursors, |i| v[i].to_be_bytes()),
            Source::F32(v) => self.write_fixed(out, cursors, |i| f32_bytes(v[i])),
            Source::F64(v) => self.write_fixed(out, cursors, |i| f64_bytes(v[i])),
            Source::I128(v) => self.write_fixed(out, cursors, |i| i128_bytes(v[i])),
            Source::I256(v) => self.write_fixed(out, cursors, |i| i256_bytes(v[i])),
            Source::Interval(v) => self.write_fixed(out, cursors, |i| i128_bytes(interval_length(v[i]))),
            Source::Fixed(a) => self.write_each(out, cursors, |i, out| copy(out, a.value(i))),
            Source::Bytes { offsets, data, zeros } => {
                let zeros = *zeros;
                self.write_each(out, cursors, |i, out| {
                    let value = &data[offsets[i] as usize..offsets[i + 1] as usize];
                    let end = if zeros { copy_escaped(out, value) } else { copy(out, value) };
                    out[end..end + 2].copy_from_slice(&[0x00, 0x01]);
                    end + 2
                });
            }
            Source::List { elements, offsets } => self.write_each(out, cursors, |i, out| {
                let end = copy(out, elements_of(elements, offsets, i));
                out[end] = 0;
                end + 1
            }),
            Source::Struct(rows) => self.write_each(out, cursors, |i, out| copy(out, rows.row(i))),
        }
    }

    fn write_fixed<const N: usize>(&self, out: &mut [u8], cursors: &mut [usize], value: impl Fn(usize) -> [u8; N]) {
        let mask = self.order.mask();
        for (i, cursor) in cursors.iter_mut().enumerate() {
            if self.is_null(i) {
                out[*cursor] = self.order.null_tag();
                *cursor += 1;
                continue;
            }
            let field = &mut out[*cursor..*cursor + N + 1];
            field[0] = VALUE;
            field[1..].copy_from_slice(&value(i).map(|b| b ^ mask));
            *cursor += N + 1;
        }
    }

    /// `value` writes a row's value (ascending) and returns its length.
    fn write_each(&self, out: &mut [u8], cursors: &mut [usize], value: impl Fn(usize, &mut [u8]) -> usize) {
        let is_null_type = matches!(self.source, Source::Null);
        for (i, cursor) in cursors.iter_mut().enumerate() {
            let field = &mut out[*cursor..];
            if is_null_type || self.is_null(i) {
                field[0] = self.order.null_tag();
                *cursor += 1;
                continue;
            }
            field[0] = VALUE;
            let length = value(i, &mut field[1..]);
            if self.order.descending {
                field[1..=length].iter_mut().for_each(|b| *b = !*b);
            }
            *cursor += length + 1;
        }
    }
}

impl<'a> Source<'a> {
    fn new(array: &'a ArrayRef) -> Result<Source<'a>> {
        use DataType as D;
        macro_rules! values {
            ($variant:ident, $t:ty) => {
                Source::$variant(array.as_primitive::<$t>().values())
            };
        }
        Ok(match array.data_type() {
            D::Null => Source::Null,
            D::Boolean => Source::Boolean(array.as_boolean()),
            D::Int8 => values!(I8, dt::Int8Type),
            D::Int16 => values!(I16, dt::Int16Type),
            D::Int32 => values!(I32, dt::Int32Type),
            D::Int64 => values!(I64, dt::Int64Type),
            D::UInt8 => values!(U8, dt::UInt8Type),
            D::UInt16 => values!(U16, dt::UInt16Type),
            D::UInt32 => values!(U32, dt::UInt32Type),
            D::UInt64 => values!(U64, dt::UInt64Type),
            D::Float32 => values!(F32, dt::Float32Type),
            D::Float64 => values!(F64, dt::Float64Type),
            D::Decimal128(..) => values!(I128, dt::Decimal128Type),
            D::Decimal256(..) => values!(I256, dt::Decimal256Type),
            D::Date32 => values!(I32, dt::Date32Type),
            D::Date64 => values!(I64, dt::Date64Type),
            D::Time32(TimeUnit::Second) => values!(I32, dt::Time32SecondType),
            D::Time32(_) => values!(I32, dt::Time32MillisecondType),
            D::Time64(TimeUnit::Nanosecond) => values!(I64, dt::Time64NanosecondType),
            D::Time64(_) => values!(I64, dt::Time64MicrosecondType),
            D::Timestamp(TimeUnit::Second, _) => values!(I64, dt::TimestampSecondType),
            D::Timestamp(TimeUnit::Millisecond, _) => values!(I64, dt::TimestampMillisecondType),
            D::Timestamp(TimeUnit::Microsecond, _) => values!(I64, dt::TimestampMicrosecondType),
            D::Timestamp(TimeUnit::Nanosecond, _) => values!(I64, dt::TimestampNanosecondType),
            D::Duration(TimeUnit::Second) => values!(I64, dt::DurationSecondType),
            D::Duration(TimeUnit::Millisecond) => values!(I64, dt::DurationMillisecondType),
            D::Duration(TimeUnit::Microsecond) => values!(I64, dt::DurationMicrosecondType),
            D::Duration(TimeUnit::Nanosecond) => values!(I64, dt::DurationNanosecondType),
            D::Interval(dt::IntervalUnit::MonthDayNano) => values!(Interval, dt::IntervalMonthDayNanoType),
            D::FixedSizeBinary(_) => Source::Fixed(array.as_fixed_size_binary()),
            D::Utf8 => Self::bytes(array.as_string::<i32>().offsets(), array.as_string::<i32>().values()),
            D::Binary => Self::bytes(array.as_binary::<i32>().offsets(), array.as_binary::<i32>().values()),
            D::List(_) => Self::list(array)?,
            D::Struct(_) => Self::structure(array)?,
            other => {
                check(other)?;
                return Err(Error::internal(format!("a column of type {other} has no encoding")));
            }
        })
    }

    fn bytes(offsets: &'a OffsetBuffer<i32>, data: &'a [u8]) -> Source<'a> {
        let used = &data[offsets[0] as usize..offsets[offsets.len() - 1] as usize];
        Source::Bytes { offsets, data, zeros: memchr::memchr(0, used).is_some() }
    }

    fn list(array: &'a ArrayRef) -> Result<Source<'a>> {
        let list = array.as_list::<i32>();
        let mut elements = Rows::default();
        encode(&[(list.values().data_type().clone(), Order::default())], &[list.values().clone()], list.values().len(), &mut elements, 0)?;
        Ok(Source::List { elements, offsets: list.offsets() })
    }

    fn structure(array: &'a ArrayRef) -> Result<Source<'a>> {
        let fields = array.as_struct().columns();
        let types: Vec<_> = fields.iter().map(|f| (f.data_type().clone(), Order::default())).collect();
        let mut rows = Rows::default();
        encode(&types, fields, array.len(), &mut rows, 0)?;
        Ok(Source::Struct(rows))
    }
}

/// The encoded elements of row `i`, which are neighbours.
fn elements_of<'r>(elements: &'r Rows, offsets: &OffsetBuffer<i32>, i: usize) -> &'r [u8] {
    let end = |k: i32| if k == 0 { 0 } else { elements.ends[k as usize - 1] };
    &elements.bytes[end(offsets[i])..end(offsets[i + 1])]
}

fn strided<const N: usize>(out: &mut [u8], width: usize, at: usize, mask: u8, values: impl Iterator<Item = [u8; N]>) {
    for (row, value) in out.chunks_exact_mut(width).zip(values) {
        row[at..at + N].copy_from_slice(&value.map(|b| b ^ mask));
    }
}

fn copy(out: &mut [u8], value: &[u8]) -> usize {
    out[..value.len()].copy_from_slice(value);
    value.len()
}

fn copy_masked(out: &mut [u8], value: &[u8], mask: u8) {
    out.iter_mut().zip(value).for_each(|(o, v)| *o = v ^ mask);
}

fn copy_escaped(out: &mut [u8], value: &[u8]) -> usize {
    let mut end = 0;
    for &byte in value {
        out[end] = byte;
        end += 1;
        if byte == 0 {
            out[end] = 0xFF;
            end += 1;
        }
    }
    end
}

fn f32_bytes(value: f32) -> [u8; 4] {
    let bits = value.canonical().to_bits();
    (if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }).to_be_bytes()
}

fn f64_bytes(value: f64) -> [u8; 8] {
    let bits = value.canonical().to_bits();
    (if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }).to_be_bytes()
}

fn i128_bytes(value: i128) -> [u8; 16] {
    (value ^ i128::MIN).to_be_bytes()
}

fn i256_bytes(value: dt::i256) -> [u8; 32] {
    let mut bytes = value.to_be_bytes();
    bytes[0] ^= 0x80;
    bytes
}

const DAY_NANOS: i128 = 24 * 3600 * 1_000_000_000;

/// How long an interval is as Postgres compares it, in nanoseconds.
fn interval_length(value: IntervalMonthDayNano) -> i128 {
    (value.months as i128 * 30 + value.days as i128) * DAY_NANOS + value.nanoseconds as i128
}

/// The canonical interval of a length: days and nanoseconds, no months.
pub(super) fn interval_of_length(length: i128) -> IntervalMonthDayNano {
    let days = (length / DAY_NANOS).clamp(i32::MIN as i128, i32::MAX as i128);
    let months = ((length - days * DAY_NANOS) / (30 * DAY_NANOS)).clamp(i32::MIN as i128, i32::MAX as i128);
    let rest = length - days * DAY_NANOS - months * 30 * DAY_NANOS;
    // What neither fits the days nor makes a whole month is less than 30 days: far below what 64 bits hold.
    IntervalMonthDayNano::new(months as i32, days as i32, rest as i64)
}
