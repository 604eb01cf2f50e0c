//! Columns as text: the type is looked at once per column, then a value costs one branch.
//!
//! Arrow has several layouts for what Postgres calls one type (text as Utf8, LargeUtf8, Utf8View; timestamps in four
//! units). Only one of each, the canonical one, is printed here; [`canonical_array`] turns the others into it, a whole
//! column at a time, which the engine's own columns never need.

use super::bytes::{write_bool, write_bytea, write_uuid};
use super::datetime::{write_date, write_time, write_timestamp, write_timestamptz};
use super::decimal::{write_decimal128, write_decimal256};
use super::interval::write_interval;
use super::json::write_jsonb;
use super::nested::{write_element, write_field};
use super::number::{write_f32, write_f64, write_integer};
use super::{TYPE_KEY, TextStyle, Zone, item_of};
use crate::error::{Error, Result};
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Decimal256Array, FixedSizeBinaryArray, Float32Array, Float64Array,
    Int16Array, Int32Array, Int64Array, IntervalMonthDayNanoArray, ListArray, StringArray, Time64MicrosecondArray, TimestampMicrosecondArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, Fields, IntervalUnit, TimeUnit};
use std::sync::Arc;

/// A column that is ready to print.
#[derive(Clone, Debug)]
pub struct Column<'a> {
    nulls: Option<&'a NullBuffer>,
    values: Values<'a>,
}

#[derive(Clone, Debug)]
enum Values<'a> {
    Nothing,
    Boolean(&'a BooleanArray),
    Int16(&'a Int16Array),
    Int32(&'a Int32Array),
    Int64(&'a Int64Array),
    Float32(&'a Float32Array),
    Float64(&'a Float64Array),
    Decimal128(&'a Decimal128Array, i8),
    Decimal256(&'a Decimal256Array, i8),
    Text(&'a StringArray),
    Jsonb(&'a StringArray),
    Bytea(&'a BinaryArray),
    Uuid(&'a FixedSizeBinaryArray),
    Date(&'a Date32Array),
    Time(&'a Time64MicrosecondArray),
    Timestamp(&'a TimestampMicrosecondArray),
    Timestamptz(&'a TimestampMicrosecondArray, Zone),
    Interval(&'a IntervalMonthDayNanoArray),
    List(&'a ListArray, Box<Column<'a>>),
    /// `int2vector`, `oidvector`: items with blanks between.
    Vector(&'a ListArray, Box<Column<'a>>),
    Struct(Vec<Column<'a>>),
}

impl<'a> Column<'a> {
    /// `array` must be canonical (see [`canonical_array`]); `field` carries the metadata that tells jsonb from text.
    pub fn new(field: &Field, array: &'a dyn Array, style: &TextStyle) -> Result<Column<'a>> {
        let values = match array.data_type() {
            DataType::Null => Values::Nothing,
            DataType::Boolean => Values::Boolean(array.as_boolean()),
            DataType::Int16 => Values::Int16(array.as_primitive()),
            DataType::Int32 => Values::Int32(array.as_primitive()),
            DataType::Int64 => Values::Int64(array.as_primitive()),
            DataType::Float32 => Values::Float32(array.as_primitive()),
            DataType::Float64 => Values::Float64(array.as_primitive()),
            DataType::Decimal128(_, scale) => Values::Decimal128(array.as_primitive(), *scale),
            DataType::Decimal256(_, scale) => Values::Decimal256(array.as_primitive(), *scale),
            DataType::Utf8 if is_jsonb(field) => Values::Jsonb(array.as_string()),
            DataType::Utf8 => Values::Text(array.as_string()),
            DataType::Binary => Values::Bytea(array.as_binary()),
            DataType::FixedSizeBinary(16) => Values::Uuid(array.as_fixed_size_binary()),
            DataType::Date32 => Values::Date(array.as_primitive()),
            DataType::Time64(TimeUnit::Microsecond) => Values::Time(array.as_primitive()),
            DataType::Timestamp(TimeUnit::Microsecond, None) => Values::Timestamp(array.as_primitive()),
            DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => Values::Timestamptz(array.as_primitive(), style.timezone),
            DataType::Interval(IntervalUnit::MonthDayNano) => Values::Interval(array.as_primitive()),
            DataType::List(item) => {
                let list = array.as_list::<i32>();
                let item = item_of(field).unwrap_or_else(|| item.clone());
                let items = Box::new(Column::new(&item, list.values().as_ref(), style)?);
                if is_vector(field) { Values::Vector(list, items) } else { Values::List(list, items) }
            }
            DataType::Struct(_) if field.metadata().contains_key(TYPE_KEY) => match array.as_struct().column_by_name(NAME_OF_OID) {
                Some(names) => Values::Text(names.as_string()),
                None => return Err(Error::internal("an oid without its name")),
            },
            DataType::Struct(fields) => {
                let columns = fields.iter().zip(array.as_struct().columns());
                Values::Struct(columns.map(|(f, c)| Column::new(f, c.as_ref(), style)).collect::<Result<_>>()?)
            }
            other => return Err(Error::internal(format!("a column of arrow type {other} is not canonical"))),
        };
        Ok(Column { nulls: array.nulls(), values })
    }

    pub fn is_null(&self, row: usize) -> bool {
        self.nulls.is_some_and(|n| n.is_null(row)) || matches!(self.values, Values::Nothing)
    }

    /// Appends the text of a value that is not null.
    pub fn write(&self, row: usize, out: &mut Vec<u8>) {
        match &self.values {
            Values::Nothing => {}
            Values::Boolean(a) => write_bool(a.value(row), out),
            Values::Int16(a) => write_integer(a.value(row), out),
            Values::Int32(a) => write_integer(a.value(row), out),
            Values::Int64(a) => write_integer(a.value(row), out),
            Values::Float32(a) => write_f32(a.value(row), out),
            Values::Float64(a) => write_f64(a.value(row), out),
            Values::Decimal128(a, scale) => write_decimal128(a.value(row), *scale, out),
            Values::Decimal256(a, scale) => write_decimal256(a.value(row), *scale, out),
            Values::Text(a) => out.extend_from_slice(a.value(row).as_bytes()),
            Values::Jsonb(a) => write_jsonb(a.value(row), out),
            Values::Bytea(a) => write_bytea(a.value(row), out),
            Values::Uuid(a) => write_uuid(a.value(row), out),
            Values::Date(a) => write_date(a.value(row), out),
            Values::Time(a) => write_time(a.value(row), out),
            Values::Timestamp(a) => write_timestamp(a.value(row), out),
            Values::Timestamptz(a, zone) => write_timestamptz(a.value(row), *zone, out),
            Values::Interval(a) => write_interval(a.value(row), out),
            Values::List(a, items) => items.write_list(a, row, out),
            Values::Vector(a, items) => {
                let offsets = a.value_offsets();
                for (i, item) in (offsets[row] as usize..offsets[row + 1] as usize).enumerate() {
                    if i > 0 {
                        out.push(b' ');
                    }
                    items.write(item, out);
                }
            }
            Values::Struct(columns) => write_record(columns, row, out),
        }
    }

    /// `{1,NULL,"a b"}`: this column holds the items. A nested empty list prints as `{}`, as in Postgres, which has no
    /// arrays of empty arrays.
    fn write_list(&self, list: &ListArray, row: usize, out: &mut Vec<u8>) {
        let offsets = list.value_offsets();
        let nested = matches!(self.values, Values::List(..));
        let mut item = Vec::new();
        out.push(b'{');
        for i in offsets[row] as usize..offsets[row + 1] as usize {
            if i > offsets[row] as usize {
                out.push(b',');
            }
            if self.is_null(i) {
                out.extend_from_slice(b"NULL");
            } else if nested || self.never_quoted() {
                self.write(i, out);
            } else {
                item.clear();
                self.write(i, &mut item);
                write_element(&item, out);
            }
        }
        out.push(b'}');
    }

    /// Types whose text never needs quotes inside an array or a record.
    fn never_quoted(&self) -> bool {
        use Values::{Boolean, Decimal128, Decimal256, Float32, Float64, Int16, Int32, Int64, Time, Uuid};
        matches!(self.values, Boolean(_) | Int16(_) | Int32(_) | Int64(_) | Float32(_) | Float64(_) | Decimal128(..) | Decimal256(..) | Time(_) | Uuid(_))
    }
}

/// `(1,"a b",)`: a NULL field is empty.
fn write_record(columns: &[Column<'_>], row: usize, out: &mut Vec<u8>) {
    let mut field = Vec::new();
    out.push(b'(');
    for (i, column) in columns.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        if column.is_null(row) {
            continue;
        }
        if column.never_quoted() {
            column.write(row, out);
        } else {
            field.clear();
            column.write(row, &mut field);
            write_field(&field, out);
        }
    }
    out.push(b')');
}

/// Field of a struct that stands for an oid with its name: see `sql::functions::catalog`.
pub const NAME_OF_OID: &str = "name";

/// Whether a list is a vector of the catalog: its first item has number 0, and it prints without braces.
pub fn is_vector(field: &Field) -> bool {
    field.metadata().get(TYPE_KEY).is_some_and(|t| t == "int2vector" || t == "oidvector")
}

/// Whether a text, or the items of a list, are jsonb.
pub fn is_jsonb(field: &Field) -> bool {
    field.metadata().get(TYPE_KEY).is_some_and(|t| t == "jsonb")
}

/// Appends one value's text, nothing for NULL. For single values; whole columns go through [`Column`].
pub fn write_value(field: &Field, array: &ArrayRef, row: usize, out: &mut Vec<u8>, style: &TextStyle) -> Result<()> {
    let array = canonical_array(&array.slice(row, 1))?;
    let column = Column::new(field, array.as_ref(), style)?;
    if !column.is_null(0) {
        column.write(0, out);
    }
    Ok(())
}

/// The one layout of what Postgres calls one type; 0A000 for what Postgres has no type for.
pub fn canonical_type(data_type: &DataType) -> Result<DataType> {
    use DataType as D;
    Ok(match data_type {
        D::Int8 | D::UInt8 => D::Int16,
        D::UInt16 => D::Int32,
        D::UInt32 => D::Int64,
        D::UInt64 => D::Decimal128(20, 0),
        D::Float16 => D::Float32,
        D::Decimal32(p, s) | D::Decimal64(p, s) => D::Decimal128(*p, *s),
        D::LargeUtf8 | D::Utf8View => D::Utf8,
        D::LargeBinary | D::BinaryView => D::Binary,
        D::FixedSizeBinary(n) if *n != 16 => D::Binary,
        D::Date64 => D::Date32,
        D::Time32(_) | D::Time64(_) => D::Time64(TimeUnit::Microsecond),
        D::Timestamp(_, None) => D::Timestamp(TimeUnit::Microsecond, None),
        D::Timestamp(_, Some(zone)) => D::Timestamp(TimeUnit::Microsecond, Some(zone.clone())),
        D::Interval(_) | D::Duration(_) => D::Interval(IntervalUnit::MonthDayNano),
        D::Dictionary(_, values) => canonical_type(values)?,
        D::RunEndEncoded(_, values) => canonical_type(values.data_type())?,
        D::List(item) | D::LargeList(item) | D::FixedSizeList(item, _) | D::ListView(item) | D::LargeListView(item) => D::List(canonical_field(item)?),
        D::Struct(fields) => D::Struct(fields.iter().map(canonical_field).collect::<Result<Fields>>()?),
        D::Map(..) | D::Union(..) => return Err(Error::not_supported(format!("values of type {data_type} cannot be shown"))),
        same => same.clone(),
    })
}

fn canonical_field(field: &Arc<Field>) -> Result<Arc<Field>> {
    let data_type = canonical_type(field.data_type())?;
    Ok(if data_type == *field.data_type() { field.clone() } else { Arc::new(field.as_ref().clone().with_data_type(data_type)) })
}

/// The array itself where it is canonical already.
pub fn canonical_array(array: &ArrayRef) -> Result<ArrayRef> {
    let data_type = canonical_type(array.data_type())?;
    if data_type == *array.data_type() { Ok(array.clone()) } else { Ok(arrow::compute::cast(array, &data_type)?) }
}

#[cfg(test)]
mod tests;
