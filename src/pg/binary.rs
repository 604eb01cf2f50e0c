//! Columns in Postgres's binary formats: big-endian numbers, days and microseconds counted from 2000-01-01, numerics in
//! groups of four decimal digits, arrays and records with a header of OIDs and lengths.

use super::types;
use crate::error::{Error, Kind, Result};
use crate::types::text::Zone;
use crate::types::text::{Column as TextColumn, TYPE_KEY, TextStyle, item_of};
use arrow::array::{
    Array, AsArray, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Decimal256Array, FixedSizeBinaryArray, Float32Array, Float64Array, Int16Array,
    Int32Array, Int64Array, IntervalMonthDayNanoArray, ListArray, Time64MicrosecondArray, TimestampMicrosecondArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, IntervalUnit, TimeUnit};

/// Days from 1970-01-01 to 2000-01-01.
pub(crate) const POSTGRES_EPOCH_DAYS: i32 = 10_957;
/// The same in microseconds.
pub(crate) const POSTGRES_EPOCH_MICROS: i64 = 946_684_800_000_000;
/// Dimensions that an array may have in Postgres.
const MAX_DIMENSIONS: usize = 6;

/// A column that is ready to be written in binary.
pub struct Column<'a> {
    nulls: Option<&'a NullBuffer>,
    values: Values<'a>,
    oid: u32,
}

enum Values<'a> {
    Nothing,
    Boolean(&'a BooleanArray),
    Int16(&'a Int16Array),
    Int32(&'a Int32Array),
    Int64(&'a Int64Array),
    /// An oid is an unsigned number of four bytes, whatever the engine keeps it in.
    Oid(&'a Int64Array),
    Float32(&'a Float32Array),
    Float64(&'a Float64Array),
    Decimal128(&'a Decimal128Array, i8),
    Decimal256(&'a Decimal256Array, i8),
    /// Types whose binary form is their text; jsonb has a version byte before it.
    Text(TextColumn<'a>),
    Jsonb(TextColumn<'a>),
    Bytea(&'a BinaryArray),
    Uuid(&'a FixedSizeBinaryArray),
    Date(&'a Date32Array),
    Time(&'a Time64MicrosecondArray),
    Timestamp(&'a TimestampMicrosecondArray),
    Interval(&'a IntervalMonthDayNanoArray),
    List(&'a ListArray, Box<Column<'a>>),
    Struct(Vec<Column<'a>>),
}

impl<'a> Column<'a> {
    /// `array` must be canonical, as for text.
    pub fn new(field: &Field, array: &'a dyn Array) -> Result<Column<'a>> {
        let oid = types::oid_of(field)?;
        let values = match array.data_type() {
            DataType::Null => Values::Nothing,
            DataType::Boolean => Values::Boolean(array.as_boolean()),
            DataType::Int16 => Values::Int16(array.as_primitive()),
            DataType::Int32 => Values::Int32(array.as_primitive()),
            DataType::Int64 if oid == types::INT8.oid => Values::Int64(array.as_primitive()),
            DataType::Int64 => Values::Oid(array.as_primitive()),
            DataType::Float32 => Values::Float32(array.as_primitive()),
            DataType::Float64 => Values::Float64(array.as_primitive()),
            DataType::Decimal128(_, scale) => Values::Decimal128(array.as_primitive(), *scale),
            DataType::Decimal256(_, scale) => Values::Decimal256(array.as_primitive(), *scale),
            DataType::Utf8 => {
                let text = TextColumn::new(field, array, &TextStyle { timezone: Zone::Utc })?;
                if oid == types::JSONB.oid { Values::Jsonb(text) } else { Values::Text(text) }
            }
            DataType::Binary => Values::Bytea(array.as_binary()),
            DataType::FixedSizeBinary(_) => Values::Uuid(array.as_fixed_size_binary()),
            DataType::Date32 => Values::Date(array.as_primitive()),
            DataType::Time64(TimeUnit::Microsecond) => Values::Time(array.as_primitive()),
            DataType::Timestamp(TimeUnit::Microsecond, _) => Values::Timestamp(array.as_primitive()),
            DataType::Interval(IntervalUnit::MonthDayNano) => Values::Interval(array.as_primitive()),
            DataType::List(item) => {
                let list = array.as_list::<i32>();
                let item = item_of(field).unwrap_or_else(|| item.clone());
                Values::List(list, Box::new(Column::new(&item, list.values().as_ref())?))
            }
            // An oid with its name.
            DataType::Struct(fields) if field.metadata().contains_key(TYPE_KEY) => return Column::new(&fields[0], array.as_struct().column(0).as_ref()),
            DataType::Struct(fields) => {
                let columns = fields.iter().zip(array.as_struct().columns());
                Values::Struct(columns.map(|(f, c)| Column::new(f, c.as_ref())).collect::<Result<_>>()?)
            }
            other => return Err(Error::internal(format!("a column of arrow type {other} is not canonical"))),
        };
        Ok(Column { nulls: array.nulls(), values, oid })
    }

    pub fn is_null(&self, row: usize) -> bool {
        self.nulls.is_some_and(|n| n.is_null(row)) || matches!(self.values, Values::Nothing)
    }

    /// Appends a value that is not null, without its length.
    pub fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        match &self.values {
            Values::Nothing => {}
            Values::Boolean(a) => out.push(a.value(row).into()),
            Values::Int16(a) => put(out, a.value(row).to_be_bytes()),
            Values::Int32(a) => put(out, a.value(row).to_be_bytes()),
            Values::Int64(a) => put(out, a.value(row).to_be_bytes()),
            Values::Oid(a) => put(out, (a.value(row) as u32).to_be_bytes()),
            Values::Float32(a) => put(out, a.value(row).to_be_bytes()),
            Values::Float64(a) => put(out, a.value(row).to_be_bytes()),
            Values::Decimal128(a, scale) => {
                let value = a.value(row);
                write_numeric(value < 0, itoa::Buffer::new().format(value.unsigned_abs()).as_bytes(), *scale, out);
            }
            Values::Decimal256(a, scale) => {
                let text = a.value(row).to_string();
                let digits = text.strip_prefix('-').unwrap_or(&text);
                write_numeric(digits.len() < text.len(), digits.as_bytes(), *scale, out);
            }
            Values::Text(a) => a.write(row, out),
            Values::Jsonb(a) => {
                out.push(1);
                a.write(row, out);
            }
            Values::Bytea(a) => out.extend_from_slice(a.value(row)),
            Values::Uuid(a) => out.extend_from_slice(a.value(row)),
            Values::Date(a) => put(out, a.value(row).saturating_sub(POSTGRES_EPOCH_DAYS).to_be_bytes()),
            Values::Time(a) => put(out, a.value(row).to_be_bytes()),
            Values::Timestamp(a) => put(out, a.value(row).saturating_sub(POSTGRES_EPOCH_MICROS).to_be_bytes()),
            Values::Interval(a) => {
                let value = a.value(row);
                put(out, (value.nanoseconds / 1000).to_be_bytes());
                put(out, value.days.to_be_bytes());
                put(out, value.months.to_be_bytes());
            }
            Values::List(a, items) => write_array(a, items, row, out)?,
            Values::Struct(columns) => write_record(columns, row, out)?,
        }
        Ok(())
    }

    /// Appends the length and the value, -1 for NULL.
    pub fn write_with_length(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        if self.is_null(row) {
            put(out, (-1i32).to_be_bytes());
            return Ok(());
        }
        let start = out.len();
        put(out, [0; 4]);
        self.write(row, out)?;
        patch_length(out, start);
        Ok(())
    }
}

pub(crate) fn put<const N: usize>(out: &mut Vec<u8>, bytes: [u8; N]) {
    out.extend_from_slice(&bytes);
}

/// Fills in the length of what follows the four bytes at `start`.
pub(crate) fn patch_length(out: &mut [u8], start: usize) {
    let length = (out.len() - start - 4) as i32;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

/// Count of groups, weight of the first one, sign, scale, then the groups of four decimal digits, aligned at the point.
fn write_numeric(negative: bool, digits: &[u8], scale: i8, out: &mut Vec<u8>) {
    let whole = digits.len() as i32 - scale as i32;
    // The digit at a distance from the point: 0 is the first one before it, -1 the first behind it.
    let digit = |place: i32| usize::try_from(whole - 1 - place).ok().and_then(|i| digits.get(i)).map_or(0, |d| (d - b'0') as i16);
    let group = |weight: i32| (0..4).rev().fold(0, |sum, i| sum * 10 + digit(weight * 4 + i));
    let mut first = (whole + 3).div_euclid(4) - 1;
    let mut last = -((scale.max(0) as i32 + 3) / 4);
    while first >= last && group(first) == 0 {
        first -= 1;
    }
    while last <= first && group(last) == 0 {
        last += 1;
    }
    let groups = first - last + 1;
    let weight = if groups <= 0 { 0 } else { first };
    put(out, (groups.max(0) as i16).to_be_bytes());
    put(out, (weight as i16).to_be_bytes());
    put(out, (if negative && groups > 0 { 0x4000u16 } else { 0 }).to_be_bytes());
    put(out, (scale.max(0) as i16).to_be_bytes());
    (0..groups).for_each(|i| put(out, group(first - i).to_be_bytes()));
}

/// Dimensions, whether there are NULLs, the items' OID, the bounds, then the items in row-major order.
fn write_array(list: &ListArray, items: &Column<'_>, row: usize, out: &mut Vec<u8>) -> Result<()> {
    let mut dimensions = Vec::new();
    measure(list, items, row, 0, &mut dimensions)?;
    let (mut leaf, mut nested) = (items, Vec::new());
    while let Values::List(inner, deeper) = &leaf.values {
        nested.push(*inner);
        leaf = deeper;
    }
    if dimensions.contains(&0) {
        dimensions.clear();
    }
    put(out, (dimensions.len() as i32).to_be_bytes());
    let flags = out.len();
    put(out, [0; 4]);
    put(out, leaf.oid.to_be_bytes());
    for length in &dimensions {
        put(out, length.to_be_bytes());
        put(out, 1i32.to_be_bytes());
    }
    let has_nulls = write_items(list, items, row, out)?;
    out[flags + 3] = has_nulls.into();
    Ok(())
}

/// Lengths of every dimension; Postgres has rectangular arrays only.
fn measure(list: &ListArray, items: &Column<'_>, row: usize, depth: usize, dimensions: &mut Vec<i32>) -> Result<()> {
    let ragged = || Error::not_supported("multidimensional arrays must have sub-arrays with matching dimensions").with_hint("read the value in text format");
    let range = list.value_offsets()[row]..list.value_offsets()[row + 1];
    let length = range.end - range.start;
    match dimensions.get(depth) {
        None if depth == MAX_DIMENSIONS => return Err(Error::new(Kind::TooComplex, "number of array dimensions exceeds the maximum allowed (6)")),
        None => dimensions.push(length),
        Some(known) if *known != length => return Err(ragged()),
        Some(_) => {}
    }
    if let Values::List(inner, deeper) = &items.values {
        for i in range {
            if items.is_null(i as usize) {
                return Err(ragged());
            }
            measure(inner, deeper, i as usize, depth + 1, dimensions)?;
        }
    }
    Ok(())
}

fn write_items(list: &ListArray, items: &Column<'_>, row: usize, out: &mut Vec<u8>) -> Result<bool> {
    let mut has_nulls = false;
    for i in list.value_offsets()[row] as usize..list.value_offsets()[row + 1] as usize {
        if let Values::List(inner, deeper) = &items.values {
            has_nulls |= write_items(inner, deeper, i, out)?;
        } else {
            has_nulls |= items.is_null(i);
            items.write_with_length(i, out)?;
        }
    }
    Ok(has_nulls)
}

fn write_record(columns: &[Column<'_>], row: usize, out: &mut Vec<u8>) -> Result<()> {
    put(out, (columns.len() as i32).to_be_bytes());
    for column in columns {
        put(out, column.oid.to_be_bytes());
        column.write_with_length(row, out)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numeric(value: i128, scale: i8) -> Vec<i16> {
        let mut out = Vec::new();
        write_numeric(value < 0, value.unsigned_abs().to_string().as_bytes(), scale, &mut out);
        out.chunks(2).map(|c| i16::from_be_bytes([c[0], c[1]])).collect()
    }

    #[test]
    fn numerics_are_groups_of_four_digits_around_the_point() {
        assert_eq!(numeric(0, 2), [0, 0, 0, 2]);
        assert_eq!(numeric(1, 0), [1, 0, 0, 0, 1]);
        assert_eq!(numeric(10000, 0), [1, 1, 0, 0, 1]);
        assert_eq!(numeric(-1234567, 2), [3, 1, 0x4000, 2, 1, 2345, 6700]);
        assert_eq!(numeric(5, 5), [1, -2, 0, 5, 5000]);
        assert_eq!(numeric(12345678, 4), [2, 0, 0, 4, 1234, 5678]);
        assert_eq!(numeric(20_000_000_000_000_000, 16), [1, 0, 0, 16, 2]);
        assert_eq!(numeric(42, -3), [2, 1, 0, 0, 4, 2000]);
    }
}
