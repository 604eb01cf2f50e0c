//! Texts into columns: one [`Reader`] per column takes values as Postgres reads them and gives the array.

use super::bytes::{parse_bool, parse_bytea, parse_uuid};
use super::datetime::{parse_date, parse_time, parse_timestamp, parse_timestamptz};
use super::decimal::{parse_decimal128, parse_decimal256};
use super::interval::parse_interval;
use super::json::{canonical_json, check_json};
use super::nested::{Element, split_array, split_record};
use super::number::{parse_f32, parse_f64, parse_integer};
use super::{TYPE_KEY, TYPMOD_KEY, TextStyle, Zone, item_of};
use crate::error::{Error, Kind, Result};
use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Decimal256Builder, FixedSizeBinaryBuilder, Float32Builder, Float64Builder,
    Int16Builder, Int32Builder, Int64Builder, IntervalMonthDayNanoBuilder, ListArray, StringBuilder, StructArray, Time64MicrosecondBuilder,
    TimestampMicrosecondBuilder,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, IntervalUnit, TimeUnit};
use std::cmp::Ordering;
use std::sync::Arc;

/// Reads values of one column. A value that fails is NULL in the column, so that columns of one table stay in step.
pub struct Reader {
    builder: Builder,
    rows: usize,
}

enum Builder {
    Boolean(BooleanBuilder),
    Int16(Int16Builder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    Float32(Float32Builder),
    Float64(Float64Builder),
    Decimal128(Decimal128Builder, u8, i8),
    Decimal256(Decimal256Builder, u8, i8),
    Text(StringBuilder, TextKind),
    Bytea(BinaryBuilder),
    Uuid(FixedSizeBinaryBuilder),
    Date(Date32Builder),
    Time(Time64MicrosecondBuilder),
    Timestamp(TimestampMicrosecondBuilder),
    Timestamptz(TimestampMicrosecondBuilder, Zone),
    Interval(IntervalMonthDayNanoBuilder),
    List { field: FieldRef, items: Box<Reader>, offsets: Vec<i32>, valid: Vec<bool> },
    Struct { fields: Fields, readers: Vec<Reader>, valid: Vec<bool> },
}

/// What a Utf8 column holds.
#[derive(Clone, Copy)]
enum TextKind {
    Plain,
    /// At most so many characters; longer input is an error unless the rest is blanks, which are cut.
    Varchar(usize),
    Json,
    Jsonb,
}

/// Reads one value into an array of length 1.
pub fn parse_value(field: &Field, text: Option<&str>, style: &TextStyle) -> Result<ArrayRef> {
    let mut reader = Reader::new(field, style)?;
    reader.append(text)?;
    Ok(reader.finish())
}

impl Reader {
    /// A column of the field's type, which must be canonical; its metadata tells jsonb, json and varchar(n) from text.
    pub fn new(field: &Field, style: &TextStyle) -> Result<Reader> {
        let builder = match field.data_type() {
            DataType::Boolean => Builder::Boolean(BooleanBuilder::new()),
            DataType::Int16 => Builder::Int16(Int16Builder::new()),
            DataType::Int32 => Builder::Int32(Int32Builder::new()),
            DataType::Int64 => Builder::Int64(Int64Builder::new()),
            DataType::Float32 => Builder::Float32(Float32Builder::new()),
            DataType::Float64 => Builder::Float64(Float64Builder::new()),
            DataType::Decimal128(p, s) => Builder::Decimal128(Decimal128Builder::new().with_data_type(field.data_type().clone()), *p, *s),
            DataType::Decimal256(p, s) => Builder::Decimal256(Decimal256Builder::new().with_data_type(field.data_type().clone()), *p, *s),
            DataType::Utf8 => Builder::Text(StringBuilder::new(), text_kind(field)),
            DataType::Binary => Builder::Bytea(BinaryBuilder::new()),
            DataType::FixedSizeBinary(16) => Builder::Uuid(FixedSizeBinaryBuilder::new(16)),
            DataType::Date32 => Builder::Date(Date32Builder::new()),
            DataType::Time64(TimeUnit::Microsecond) => Builder::Time(Time64MicrosecondBuilder::new()),
            DataType::Timestamp(TimeUnit::Microsecond, None) => Builder::Timestamp(TimestampMicrosecondBuilder::new()),
            DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => {
                let builder = TimestampMicrosecondBuilder::new().with_data_type(field.data_type().clone());
                Builder::Timestamptz(builder, style.timezone)
            }
            DataType::Interval(IntervalUnit::MonthDayNano) => Builder::Interval(IntervalMonthDayNanoBuilder::new()),
            DataType::List(item) => {
                let items = Box::new(Reader::new(&item_of(field).unwrap_or_else(|| item.clone()), style)?);
                Builder::List { field: item.clone(), items, offsets: vec![0], valid: Vec::new() }
            }
            DataType::Struct(fields) => {
                let readers = fields.iter().map(|f| Reader::new(f, style)).collect::<Result<_>>()?;
                Builder::Struct { fields: fields.clone(), readers, valid: Vec::new() }
            }
            other => return Err(Error::not_supported(format!("values of type {other} cannot be read from text"))),
        };
        Ok(Reader { builder, rows: 0 })
    }

    /// Appends a value, `None` for NULL.
    pub fn append(&mut self, text: Option<&str>) -> Result<()> {
        let Some(text) = text else {
            self.append_null();
            return Ok(());
        };
        let read = match &mut self.builder {
            Builder::List { items, offsets, valid, .. } => {
                self.rows += 1;
                return append_list(items, offsets, valid, text);
            }
            Builder::Struct { readers, valid, .. } => {
                self.rows += 1;
                return append_record(readers, valid, text);
            }
            scalar => append_scalar(scalar, text),
        };
        match read {
            Ok(()) => self.rows += 1,
            Err(_) => self.append_null(),
        }
        read
    }

    fn append_null(&mut self) {
        self.rows += 1;
        match &mut self.builder {
            Builder::Boolean(b) => b.append_null(),
            Builder::Int16(b) => b.append_null(),
            Builder::Int32(b) => b.append_null(),
            Builder::Int64(b) => b.append_null(),
            Builder::Float32(b) => b.append_null(),
            Builder::Float64(b) => b.append_null(),
            Builder::Decimal128(b, ..) => b.append_null(),
            Builder::Decimal256(b, ..) => b.append_null(),
            Builder::Text(b, _) => b.append_null(),
            Builder::Bytea(b) => b.append_null(),
            Builder::Uuid(b) => b.append_null(),
            Builder::Date(b) => b.append_null(),
            Builder::Time(b) => b.append_null(),
            Builder::Timestamp(b) => b.append_null(),
            Builder::Timestamptz(b, _) => b.append_null(),
            Builder::Interval(b) => b.append_null(),
            Builder::List { items, offsets, valid, .. } => {
                offsets.push(i32::try_from(items.rows).unwrap_or(i32::MAX));
                valid.push(false);
            }
            Builder::Struct { readers, valid, .. } => {
                readers.iter_mut().for_each(Reader::append_null);
                valid.push(false);
            }
        }
    }

    /// The column, and a fresh start.
    pub fn finish(&mut self) -> ArrayRef {
        self.rows = 0;
        match &mut self.builder {
            Builder::Boolean(b) => Arc::new(b.finish()),
            Builder::Int16(b) => Arc::new(b.finish()),
            Builder::Int32(b) => Arc::new(b.finish()),
            Builder::Int64(b) => Arc::new(b.finish()),
            Builder::Float32(b) => Arc::new(b.finish()),
            Builder::Float64(b) => Arc::new(b.finish()),
            Builder::Decimal128(b, ..) => Arc::new(b.finish()),
            Builder::Decimal256(b, ..) => Arc::new(b.finish()),
            Builder::Text(b, _) => Arc::new(b.finish()),
            Builder::Bytea(b) => Arc::new(b.finish()),
            Builder::Uuid(b) => Arc::new(b.finish()),
            Builder::Date(b) => Arc::new(b.finish()),
            Builder::Time(b) => Arc::new(b.finish()),
            Builder::Timestamp(b) => Arc::new(b.finish()),
            Builder::Timestamptz(b, _) => Arc::new(b.finish()),
            Builder::Interval(b) => Arc::new(b.finish()),
            Builder::List { field, items, offsets, valid } => {
                let offsets = OffsetBuffer::new(std::mem::replace(offsets, vec![0]).into());
                let nulls = NullBuffer::from(std::mem::take(valid));
                Arc::new(ListArray::new(field.clone(), offsets, items.finish(), Some(nulls).filter(|n| n.null_count() > 0)))
            }
            Builder::Struct { fields, readers, valid } => {
                let nulls = NullBuffer::from(std::mem::take(valid));
                let rows = nulls.len();
                let nulls = Some(nulls).filter(|n| n.null_count() > 0);
                if fields.is_empty() {
                    return Arc::new(StructArray::new_empty_fields(rows, nulls));
                }
                Arc::new(StructArray::new(fields.clone(), readers.iter_mut().map(Reader::finish).collect(), nulls))
            }
        }
    }
}

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

fn append_text(builder: &mut StringBuilder, kind: TextKind, text: &str) -> Result<()> {
    match kind {
        TextKind::Plain => builder.append_value(text),
        TextKind::Json => {
            check_json(text)?;
            builder.append_value(text);
        }
        TextKind::Jsonb => {
            let mut canonical = String::with_capacity(text.len() + 16);
            canonical_json(text, &mut canonical)?;
            builder.append_value(canonical);
        }
        TextKind::Varchar(limit) => match text.char_indices().nth(limit) {
            None => builder.append_value(text),
            Some((end, _)) if text[end..].bytes().all(|b| b == b' ') => builder.append_value(&text[..end]),
            Some(_) => return Err(Error::new(Kind::StringTruncation, format!("value too long for type character varying({limit})"))),
        },
    }
    Ok(())
}

fn append_scalar(builder: &mut Builder, text: &str) -> Result<()> {
    match builder {
        Builder::Boolean(b) => b.append_value(parse_bool(text)?),
        Builder::Int16(b) => b.append_value(parse_integer(text, "smallint")?),
        Builder::Int32(b) => b.append_value(parse_integer(text, "integer")?),
        Builder::Int64(b) => b.append_value(parse_integer(text, "bigint")?),
        Builder::Float32(b) => b.append_value(parse_f32(text)?),
        Builder::Float64(b) => b.append_value(parse_f64(text)?),
        Builder::Decimal128(b, p, s) => b.append_value(parse_decimal128(text, *p, *s)?),
        Builder::Decimal256(b, p, s) => b.append_value(parse_decimal256(text, *p, *s)?),
        Builder::Text(b, kind) => append_text(b, *kind, text)?,
        Builder::Bytea(b) => b.append_value(parse_bytea(text)?),
        Builder::Uuid(b) => b.append_value(parse_uuid(text)?)?,
        Builder::Date(b) => b.append_value(parse_date(text)?),
        Builder::Time(b) => b.append_value(parse_time(text)?),
        Builder::Timestamp(b) => b.append_value(parse_timestamp(text)?),
        Builder::Timestamptz(b, zone) => b.append_value(parse_timestamptz(text, *zone)?),
        Builder::Interval(b) => b.append_value(parse_interval(text)?),
        Builder::List { .. } | Builder::Struct { .. } => return Err(Error::internal("a nested value was read as a scalar")),
    }
    Ok(())
}

fn append_list(items: &mut Reader, offsets: &mut Vec<i32>, valid: &mut Vec<bool>, text: &str) -> Result<()> {
    let read = split_array(text).and_then(|elements| {
        let nested = matches!(items.builder, Builder::List { .. });
        elements.iter().try_for_each(|element| match element {
            Element::Null => items.append(None),
            Element::Nested(t) if nested => items.append(Some(t)),
            Element::Text(t) if !nested => items.append(Some(t)),
            _ => Err(Error::new(Kind::InvalidText, format!("malformed array literal: \"{text}\"")).with_detail("The array has another number of dimensions.")),
        })
    });
    // Items of a list that failed stay behind in the child, under a list that is NULL.
    offsets.push(i32::try_from(items.rows).unwrap_or(i32::MAX));
    valid.push(read.is_ok());
    read
}

fn append_record(readers: &mut [Reader], valid: &mut Vec<bool>, text: &str) -> Result<()> {
    let malformed = |detail| Error::new(Kind::InvalidText, format!("malformed record literal: \"{text}\"")).with_detail(detail);
    let fields = split_record(text).and_then(|fields| match fields.len().cmp(&readers.len()) {
        Ordering::Less => Err(malformed("Too few columns.")),
        Ordering::Greater => Err(malformed("Too many columns.")),
        Ordering::Equal => Ok(fields),
    });
    let read = match fields {
        Ok(fields) => readers.iter_mut().zip(fields).map(|(r, f)| r.append(f.as_deref())).fold(Ok(()), Result::and),
        Err(e) => {
            readers.iter_mut().for_each(Reader::append_null);
            Err(e)
        }
    };
    valid.push(read.is_ok());
    read
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::text::Column;
    use std::collections::HashMap;

    /// Reads and prints: the text that comes back, or the error.
    fn round(field: &Field, text: &str) -> String {
        match parse_value(field, Some(text), &TextStyle::UTC) {
            Ok(array) => {
                let mut out = Vec::new();
                Column::new(field, array.as_ref(), &TextStyle::UTC).unwrap().write(0, &mut out);
                String::from_utf8(out).unwrap()
            }
            Err(e) => format!("{} {}", e.sqlstate(), e.message()),
        }
    }

    fn field(data_type: DataType) -> Field {
        Field::new("c", data_type, true)
    }

    fn with(data_type: DataType, key: &str, value: &str) -> Field {
        field(data_type).with_metadata(HashMap::from([(key.to_string(), value.to_string())]))
    }

    fn list(item: DataType) -> DataType {
        DataType::List(Arc::new(field(item)))
    }

    #[test]
    fn what_prints_reads_back() {
        let timestamptz = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let cases = [
            (field(DataType::Boolean), "t"),
            (field(DataType::Int16), "-7"),
            (field(DataType::Float64), "1e+300"),
            (field(DataType::Decimal128(12, 2)), "15.50"),
            (field(DataType::Decimal256(60, 3)), "123456789012345678901234567890123456789012345.678"),
            (field(DataType::Binary), "\\x00ff"),
            (field(DataType::FixedSizeBinary(16)), "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
            (field(DataType::Date32), "0044-03-15 BC"),
            (field(timestamptz), "2024-02-29 12:00:00+00"),
            (field(DataType::Interval(IntervalUnit::MonthDayNano)), "1 mon -3 days"),
            (field(list(DataType::Utf8)), "{a,NULL,\"b c\",\"\"}"),
            (field(list(list(DataType::Int32))), "{{1,2},{3,NULL}}"),
            (field(DataType::Struct(vec![field(DataType::Int32), field(DataType::Utf8), field(DataType::Utf8)].into())), "(1,\"a b\",)"),
            (with(DataType::Utf8, TYPE_KEY, "json"), "{ \"a\" :1}"),
        ];
        for (field, text) in cases {
            assert_eq!(round(&field, text), text);
        }
        assert_eq!(round(&with(DataType::Utf8, TYPE_KEY, "jsonb"), "{ \"a\" :1}"), "{\"a\": 1}");
        assert_eq!(round(&with(DataType::Utf8, TYPMOD_KEY, "7"), "abc  "), "abc");
        assert_eq!(round(&with(DataType::Utf8, TYPMOD_KEY, "7"), "abcd"), "22001 value too long for type character varying(3)");
        assert_eq!(round(&field(list(DataType::Int32)), "{{1}}"), "22P02 malformed array literal: \"{{1}}\"");
        assert_eq!(round(&field(list(DataType::Int32)), "{1,x}"), "22P02 invalid input syntax for type integer: \"x\"");
        assert_eq!(round(&field(DataType::Struct(vec![field(DataType::Int32)].into())), "(1,2)"), "22P02 malformed record literal: \"(1,2)\"");
    }

    #[test]
    fn a_value_that_fails_is_null_and_the_next_one_is_right() {
        let pair = DataType::Struct(vec![field(DataType::Int32), field(list(DataType::Int32))].into());
        let mut reader = Reader::new(&field(pair.clone()), &TextStyle::UTC).unwrap();
        for (text, good) in [("(1,\"{1,2}\")", true), ("(x,\"{3}\")", false), ("(2,\"{4,x,5}\")", false), ("(2", false), ("(3,\"{6}\")", true)] {
            assert_eq!(reader.append(Some(text)).is_ok(), good);
        }
        reader.append(None).unwrap();
        let array = reader.finish();
        let f = field(pair);
        let column = Column::new(&f, array.as_ref(), &TextStyle::UTC).unwrap();
        assert_eq!((0..6).map(|i| column.is_null(i)).collect::<Vec<_>>(), [false, true, true, true, false, true]);
        let mut out = Vec::new();
        column.write(4, &mut out);
        assert_eq!(out, b"(3,{6})");
    }
}
