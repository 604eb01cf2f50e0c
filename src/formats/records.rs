//! Rows as JSON records: one object per row, its fields in the order of the columns. What is written here is read back by [`super::json`] into the same values.
//!
//! | column | JSON |
//! | --- | --- |
//! | boolean, numbers | themselves, with all digits; NaN and infinities are strings |
//! | jsonb | itself |
//! | timestamps | strings in ISO 8601, with a `T`; those with a time zone in UTC |
//! | arrays, rows | arrays, objects |
//! | anything else | its text, as Postgres prints it, as a string |

use crate::error::Result;
use crate::types::records::{RecordEncoder, Records};
use crate::types::text::{Column, TextStyle, is_jsonb, item_of};
use arrow::array::{Array, AsArray, ListArray, RecordBatch};
use arrow::datatypes::{DataType, Field, SchemaRef};
use std::io::Write;

/// The encoder of `ENCODE JSON`.
#[derive(Clone, Debug)]
pub struct JsonRecords {
    /// Names and types of the columns: those of batches may be what expressions are called.
    pub schema: SchemaRef,
    /// Columns of the key, in the key's order; empty: records have none.
    pub key: Vec<usize>,
}

impl RecordEncoder for JsonRecords {
    fn encode(&self, batch: &RecordBatch, rows: &[(usize, bool)], out: &mut Records) -> Result<()> {
        let columns = self.schema.fields().iter().zip(batch.columns()).map(|(field, column)| Named::new(field, column.as_ref())).collect::<Result<Vec<_>>>()?;
        let key_columns: Vec<&Named<'_>> = self.key.iter().map(|c| &columns[*c]).collect();
        let all: Vec<&Named<'_>> = columns.iter().collect();
        let (mut key, mut value, mut scratch) = (Vec::new(), Vec::new(), Vec::new());
        for (row, there) in rows {
            key.clear();
            value.clear();
            if !key_columns.is_empty() {
                write_object(&key_columns, *row, &mut key, &mut scratch);
            }
            if *there {
                write_object(&all, *row, &mut value, &mut scratch);
            }
            out.push(((!key_columns.is_empty()).then_some(key.as_slice()), there.then_some(value.as_slice())));
        }
        Ok(())
    }
}

/// A column with its name as JSON.
struct Named<'a> {
    name: Vec<u8>,
    values: Values<'a>,
}

impl<'a> Named<'a> {
    fn new(field: &Field, array: &'a dyn Array) -> Result<Named<'a>> {
        let mut name = Vec::new();
        write_string(field.name(), &mut name);
        Ok(Named { name, values: Values::new(field, array)? })
    }
}

struct Values<'a> {
    column: Column<'a>,
    shape: Shape<'a>,
}

enum Shape<'a> {
    Boolean,
    /// Its text is JSON.
    Plain,
    Float,
    Timestamp {
        zoned: bool,
    },
    List(&'a ListArray, Box<Values<'a>>),
    Struct(Vec<Named<'a>>),
    Text,
}

impl<'a> Values<'a> {
    fn new(field: &Field, array: &'a dyn Array) -> Result<Values<'a>> {
        let shape = match array.data_type() {
            DataType::Boolean => Shape::Boolean,
            DataType::Float32 | DataType::Float64 => Shape::Float,
            other if other.is_numeric() => Shape::Plain,
            DataType::Utf8 if is_jsonb(field) => Shape::Plain,
            DataType::Timestamp(_, zone) => Shape::Timestamp { zoned: zone.is_some() },
            DataType::List(item) => {
                let list = array.as_list::<i32>();
                let item = item_of(field).unwrap_or_else(|| item.clone());
                Shape::List(list, Box::new(Values::new(&item, list.values().as_ref())?))
            }
            DataType::Struct(fields) => {
                let columns = fields.iter().zip(array.as_struct().columns());
                Shape::Struct(columns.map(|(f, c)| Named::new(f, c.as_ref())).collect::<Result<_>>()?)
            }
            _ => Shape::Text,
        };
        Ok(Values { column: Column::new(field, array, &TextStyle::UTC)?, shape })
    }

    fn write(&self, row: usize, out: &mut Vec<u8>, scratch: &mut Vec<u8>) {
        if self.column.is_null(row) {
            return out.extend_from_slice(b"null");
        }
        match &self.shape {
            Shape::Plain => return self.column.write(row, out),
            Shape::List(list, items) => {
                let offsets = list.value_offsets();
                out.push(b'[');
                for item in offsets[row]..offsets[row + 1] {
                    if item > offsets[row] {
                        out.push(b',');
                    }
                    items.write(item as usize, out, scratch);
                }
                return out.push(b']');
            }
            Shape::Struct(columns) => return write_object(&columns.iter().collect::<Vec<_>>(), row, out, scratch),
            Shape::Boolean | Shape::Float | Shape::Timestamp { .. } | Shape::Text => {}
        }
        scratch.clear();
        self.column.write(row, scratch);
        let text = String::from_utf8_lossy(scratch);
        match self.shape {
            Shape::Boolean => out.extend_from_slice(if text == "t" { b"true" } else { b"false" }),
            Shape::Float if text.ends_with(|c: char| c.is_ascii_digit()) => out.extend_from_slice(text.as_bytes()),
            Shape::Timestamp { zoned } => {
                // Whole hours of a zone are written without minutes elsewhere; infinities have no zone.
                let whole = zoned && text.ends_with("+00");
                write_string(&format!("{}{}", text.replacen(' ', "T", 1), if whole { ":00" } else { "" }), out);
            }
            _ => write_string(&text, out),
        }
    }
}

fn write_object(columns: &[&Named<'_>], row: usize, out: &mut Vec<u8>, scratch: &mut Vec<u8>) {
    out.push(b'{');
    for (i, column) in columns.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        out.extend_from_slice(&column.name);
        out.push(b':');
        column.values.write(row, out, scratch);
    }
    out.push(b'}');
}

fn write_string(text: &str, out: &mut Vec<u8>) {
    if text.bytes().all(|b| b >= b' ' && b != b'"' && b != b'\\') {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        return out.push(b'"');
    }
    // Neither a text nor memory can fail.
    let _ = serde_json::to_writer(&mut *out, text);
    let _ = out.flush();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::records::Record;
    use crate::types::text::TYPE_KEY;
    use arrow::array::{
        ArrayRef, BooleanArray, Decimal128Array, Float64Array, Int64Array, StringArray, StructArray, TimestampMicrosecondArray, builder::Int32Builder,
        builder::ListBuilder,
    };
    use std::collections::HashMap;
    use std::sync::Arc;

    #[test]
    fn every_type_is_written_as_json_that_holds_all_of_it() {
        let mut lists = ListBuilder::new(Int32Builder::new());
        lists.append_value([Some(1), None]);
        lists.append_null();
        let pair = StructArray::from(vec![(Arc::new(Field::new("x", DataType::Int64, true)), Arc::new(Int64Array::from(vec![Some(7), None])) as ArrayRef)]);
        let columns: Vec<(Field, ArrayRef)> = vec![
            (Field::new("id", DataType::Int64, false), Arc::new(Int64Array::from(vec![9_007_199_254_740_993, -1]))),
            (Field::new("b", DataType::Boolean, true), Arc::new(BooleanArray::from(vec![Some(true), Some(false)]))),
            (Field::new("f", DataType::Float64, true), Arc::new(Float64Array::from(vec![1e22, f64::NAN]))),
            (
                Field::new("d", DataType::Decimal128(10, 2), true),
                Arc::new(Decimal128Array::from(vec![Some(-5), None]).with_precision_and_scale(10, 2).unwrap()),
            ),
            (Field::new("say \"s\"", DataType::Utf8, true), Arc::new(StringArray::from(vec!["a\"b\\\n\u{1}é", "plain"]))),
            (
                Field::new("t", DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, Some("UTC".into())), true),
                Arc::new(TimestampMicrosecondArray::from(vec![1_500_000, 0]).with_timezone("UTC")),
            ),
            (
                Field::new("j", DataType::Utf8, true).with_metadata(HashMap::from([(TYPE_KEY.to_owned(), "jsonb".to_owned())])),
                Arc::new(StringArray::from(vec![Some("{\"a\": [1]}"), None])),
            ),
            (Field::new("l", DataType::List(Arc::new(Field::new_list_field(DataType::Int32, true))), true), Arc::new(lists.finish())),
            (Field::new("r", pair.data_type().clone(), true), Arc::new(pair)),
        ];
        let schema = arrow::datatypes::Schema::new(columns.iter().map(|c| c.0.clone()).collect::<Vec<_>>());
        let batch = RecordBatch::try_new(Arc::new(schema), columns.into_iter().map(|c| c.1).collect()).unwrap();
        let mut records = Records::default();
        JsonRecords { schema: batch.schema(), key: vec![4, 0] }.encode(&batch, &[(0, true), (1, true), (1, false)], &mut records).unwrap();
        let read: Vec<Record<'_>> = Records::of_chunk(&records.chunks()[0]).unwrap();
        let text = |bytes: Option<&[u8]>| bytes.map_or("none".to_string(), |b| String::from_utf8(b.to_vec()).unwrap());
        assert_eq!(text(read[0].0), r#"{"say \"s\"":"a\"b\\\n\u0001é","id":9007199254740993}"#);
        assert_eq!(
            text(read[0].1),
            r#"{"id":9007199254740993,"b":true,"f":1e+22,"d":-0.05,"say \"s\"":"a\"b\\\n\u0001é","t":"1970-01-01T00:00:01.5+00:00","j":{"a": [1]},"l":[1,null],"r":{"x":7}}"#
        );
        assert_eq!(
            text(read[1].1),
            r#"{"id":-1,"b":false,"f":"NaN","d":null,"say \"s\"":"plain","t":"1970-01-01T00:00:00+00:00","j":null,"l":null,"r":{"x":null}}"#
        );
        assert_eq!((text(read[2].0), text(read[2].1)), (r#"{"say \"s\"":"plain","id":-1}"#.to_string(), "none".to_string()));
    }
}
