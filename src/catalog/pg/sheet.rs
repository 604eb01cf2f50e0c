//! One relation's rows on their way to Arrow: columns are written by name, in any order; those that are not written are NULL,
//! or empty where the relation says NOT NULL (0, false, `''`, `{}`), which is what most of pg_class is.

use super::oids;
use super::relations::Relation;
use crate::error::{Error, Result};
use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, BooleanArray, Float32Array, Float64Array, Int64Array, IntervalMonthDayNanoArray, ListArray, PrimitiveArray,
    RecordBatch, StringArray, TimestampMicrosecondArray, new_null_array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{concat_batches, sort_to_indices, take_record_batch};
use arrow::datatypes::{DataType, Field, Int16Type, Int32Type, Int64Type, IntervalMonthDayNano};
use std::borrow::Cow;
use std::sync::Arc;

/// One value. Times and intervals are µs.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Cow<'a, str>),
    List(Vec<Value<'a>>),
}

/// The columns of one relation, as far as they are written.
pub struct Sheet {
    relation: &'static Relation,
    rows: usize,
    columns: Vec<Option<ArrayRef>>,
    /// The first thing that went wrong: our own mistake.
    wrong: Option<Error>,
}

impl Sheet {
    pub fn new(relation: &'static Relation, rows: usize) -> Sheet {
        Sheet { relation, rows, columns: vec![None; relation.columns.len()], wrong: None }
    }

    pub fn data_type(&self, column: &str) -> &DataType {
        self.relation.schema.field_with_name(column).map_or(&DataType::Null, Field::data_type)
    }

    pub fn column<'a, V: Into<Value<'a>>>(mut self, name: &str, values: impl IntoIterator<Item = V>) -> Sheet {
        let values: Vec<Value> = values.into_iter().map(Into::into).collect();
        match self.placed(name, &values) {
            Ok((place, array)) => self.columns[place] = Some(array),
            Err(error) => self.wrong = self.wrong.or(Some(error)),
        }
        self
    }

    /// The same value in every row.
    pub fn all<'a>(self, name: &str, value: impl Into<Value<'a>>) -> Sheet {
        let value = value.into();
        let rows = self.rows;
        self.column(name, std::iter::repeat_n(value, rows))
    }

    /// 0 in every column of numbers that is not written: counters that nobody counts.
    pub fn zeros(mut self) -> Sheet {
        for (column, field) in self.columns.iter_mut().zip(self.relation.schema.fields()) {
            if column.is_none() && *field.data_type() == DataType::Int64 {
                *column = Some(Arc::new(Int64Array::from_value(0, self.rows)));
            }
        }
        self
    }

    /// The rows, by OID if they have one.
    pub fn finish(self) -> Result<RecordBatch> {
        if let Some(error) = self.wrong {
            return Err(error);
        }
        let mut columns = Vec::with_capacity(self.columns.len());
        for ((written, field), column) in self.columns.into_iter().zip(self.relation.schema.fields()).zip(&self.relation.columns) {
            columns.push(match written {
                Some(array) => array,
                None if column.not_null => array(field.data_type(), &vec![empty(field.data_type(), column.type_oid); self.rows])?,
                None => new_null_array(field.data_type(), self.rows),
            });
        }
        by_oid(RecordBatch::try_new(self.relation.schema.clone(), columns)?)
    }

    fn placed(&self, name: &str, values: &[Value]) -> Result<(usize, ArrayRef)> {
        let place = self.relation.columns.iter().position(|c| c.name == name);
        let place = place.ok_or_else(|| Error::internal(format!("relation {} has no column {name}", self.relation.name)))?;
        if values.len() != self.rows {
            return Err(Error::internal(format!("column {}.{name} has {} values for {} rows", self.relation.name, values.len(), self.rows)));
        }
        Ok((place, array(self.relation.schema.field(place).data_type(), values)?))
    }
}

/// The rows of both, by OID.
pub fn joined(first: &RecordBatch, second: &RecordBatch) -> Result<RecordBatch> {
    by_oid(concat_batches(first.schema_ref(), [first, second])?)
}

fn by_oid(batch: RecordBatch) -> Result<RecordBatch> {
    let Some(oids) = batch.column_by_name("oid").and_then(|c| c.as_any().downcast_ref::<Int64Array>()) else { return Ok(batch) };
    if oids.values().is_sorted() {
        return Ok(batch);
    }
    let order = sort_to_indices(oids, None, None)?;
    Ok(take_record_batch(&batch, &order)?)
}

/// What stands where nothing is said and NULL may not stand.
fn empty(data_type: &DataType, type_oid: u32) -> Value<'static> {
    match data_type {
        DataType::Boolean => Value::Bool(false),
        DataType::Float32 | DataType::Float64 => Value::Float(0.0),
        DataType::List(_) => Value::List(Vec::new()),
        DataType::Utf8 if type_oid == oids::XID => Value::from("0"),
        DataType::Utf8 => Value::from(""),
        DataType::Int16 | DataType::Int32 | DataType::Int64 | DataType::Timestamp(..) | DataType::Interval(_) => Value::Int(0),
        _ => Value::Null,
    }
}

fn array(data_type: &DataType, values: &[Value]) -> Result<ArrayRef> {
    Ok(match data_type {
        DataType::Boolean => Arc::new(values.iter().map(Value::boolean).collect::<Result<BooleanArray>>()?),
        DataType::Int16 => integers::<Int16Type>(values)?,
        DataType::Int32 => integers::<Int32Type>(values)?,
        DataType::Int64 => integers::<Int64Type>(values)?,
        DataType::Float32 => Arc::new(values.iter().map(|v| Ok(v.float()?.map(|f| f as f32))).collect::<Result<Float32Array>>()?),
        DataType::Float64 => Arc::new(values.iter().map(Value::float).collect::<Result<Float64Array>>()?),
        DataType::Utf8 => Arc::new(values.iter().map(Value::text).collect::<Result<StringArray>>()?),
        DataType::Timestamp(_, zone) => {
            let times = values.iter().map(Value::integer).collect::<Result<TimestampMicrosecondArray>>()?;
            Arc::new(times.with_timezone_opt(zone.clone()))
        }
        DataType::Interval(_) => {
            let nanos = |v: &Value| Ok(v.integer()?.map(|micros| IntervalMonthDayNano::new(0, 0, micros * 1000)));
            Arc::new(values.iter().map(nanos).collect::<Result<IntervalMonthDayNanoArray>>()?)
        }
        DataType::List(item) => {
            let lists = values.iter().map(Value::list).collect::<Result<Vec<_>>>()?;
            let items: Vec<Value> = lists.iter().flat_map(|l| l.unwrap_or_default().iter().cloned()).collect();
            let offsets = OffsetBuffer::from_lengths(lists.iter().map(|l| l.map_or(0, <[Value]>::len)));
            let present = NullBuffer::from(lists.iter().map(Option::is_some).collect::<Vec<bool>>());
            Arc::new(ListArray::try_new(item.clone(), offsets, array(item.data_type(), &items)?, Some(present))?)
        }
        other if values.iter().all(|v| *v == Value::Null) => new_null_array(other, values.len()),
        other => return Err(Error::internal(format!("no value of a catalog has type {other}"))),
    })
}

fn integers<T: ArrowPrimitiveType>(values: &[Value]) -> Result<ArrayRef>
where
    T::Native: TryFrom<i64>,
{
    let narrow = |v: &Value| match v.integer()? {
        Some(wide) => T::Native::try_from(wide).map(Some).map_err(|_| v.misplaced("a smaller integer")),
        None => Ok(None),
    };
    Ok(Arc::new(values.iter().map(narrow).collect::<Result<PrimitiveArray<T>>>()?))
}

impl<'a> Value<'a> {
    /// A value as Postgres prints it, of an exported row.
    pub fn read(data_type: &DataType, text: &'a str) -> Value<'a> {
        match data_type {
            DataType::Boolean => Value::Bool(text == "t"),
            DataType::Int16 | DataType::Int32 | DataType::Int64 => text.parse().map_or(Value::Null, Value::Int),
            DataType::Float32 | DataType::Float64 => text.parse().map_or(Value::Null, Value::Float),
            DataType::List(item) => Value::List(items(text).into_iter().map(|i| Value::read(item.data_type(), i)).collect()),
            _ => Value::Text(Cow::Borrowed(text)),
        }
    }

    fn misplaced(&self, wanted: &str) -> Error {
        Error::internal(format!("{self:?} stands where {wanted} belongs"))
    }

    fn boolean(&self) -> Result<Option<bool>> {
        match self {
            Value::Null => Ok(None),
            Value::Bool(b) => Ok(Some(*b)),
            other => Err(other.misplaced("a boolean")),
        }
    }

    fn integer(&self) -> Result<Option<i64>> {
        match self {
            Value::Null => Ok(None),
            Value::Int(i) => Ok(Some(*i)),
            other => Err(other.misplaced("an integer")),
        }
    }

    fn float(&self) -> Result<Option<f64>> {
        match self {
            Value::Null => Ok(None),
            Value::Float(f) => Ok(Some(*f)),
            other => Err(other.misplaced("a float")),
        }
    }

    fn text(&self) -> Result<Option<&str>> {
        match self {
            Value::Null => Ok(None),
            Value::Text(t) => Ok(Some(t)),
            other => Err(other.misplaced("a text")),
        }
    }

    fn list(&self) -> Result<Option<&[Value<'a>]>> {
        match self {
            Value::Null => Ok(None),
            Value::List(items) => Ok(Some(items)),
            other => Err(other.misplaced("an array")),
        }
    }
}

/// The items of `1 2 3` or `{a,b,""}`; none of the exported ones has a comma or a quote inside.
fn items(text: &str) -> Vec<&str> {
    let (inner, separator) = match text.strip_prefix('{').and_then(|t| t.strip_suffix('}')) {
        Some(inner) => (inner, ','),
        None => (text, ' '),
    };
    inner.split(separator).filter(|i| !i.is_empty()).map(|i| i.trim_matches('"')).collect()
}

impl From<bool> for Value<'_> {
    fn from(value: bool) -> Self {
        Value::Bool(value)
    }
}

impl From<i16> for Value<'_> {
    fn from(value: i16) -> Self {
        Value::Int(value.into())
    }
}

impl From<i32> for Value<'_> {
    fn from(value: i32) -> Self {
        Value::Int(value.into())
    }
}

impl From<u32> for Value<'_> {
    fn from(value: u32) -> Self {
        Value::Int(value.into())
    }
}

impl From<i64> for Value<'_> {
    fn from(value: i64) -> Self {
        Value::Int(value)
    }
}

impl From<f64> for Value<'_> {
    fn from(value: f64) -> Self {
        Value::Float(value)
    }
}

impl From<char> for Value<'_> {
    fn from(value: char) -> Self {
        Value::Text(Cow::Owned(value.to_string()))
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(value: &'a str) -> Self {
        Value::Text(Cow::Borrowed(value))
    }
}

impl<'a> From<&'a String> for Value<'a> {
    fn from(value: &'a String) -> Self {
        Value::Text(Cow::Borrowed(value))
    }
}

impl From<String> for Value<'_> {
    fn from(value: String) -> Self {
        Value::Text(Cow::Owned(value))
    }
}

impl<'a> From<Cow<'a, str>> for Value<'a> {
    fn from(value: Cow<'a, str>) -> Self {
        Value::Text(value)
    }
}

impl<'a, V: Into<Value<'a>>> From<Option<V>> for Value<'a> {
    fn from(value: Option<V>) -> Self {
        value.map_or(Value::Null, Into::into)
    }
}

impl<'a, V: Into<Value<'a>>> From<Vec<V>> for Value<'a> {
    fn from(values: Vec<V>) -> Self {
        Value::List(values.into_iter().map(Into::into).collect())
    }
}
