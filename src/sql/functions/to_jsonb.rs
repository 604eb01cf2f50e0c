//! `to_jsonb(anything)`, and what `jsonb_agg` and `jsonb_object_agg` are made of (`sql::aggregate_forms`): values, pairs of a key and a value, and arrays and objects of them.
//!
//! | value | jsonb |
//! | --- | --- |
//! | boolean, numbers | themselves; NaN and infinities are strings |
//! | jsonb | itself |
//! | timestamps | strings in ISO 8601, with a `T` |
//! | arrays, rows | arrays, objects |
//! | anything else | its text as a string |

use super::table::{Overload, Type, external, function};
use crate::error::{Error, Kind, Result};
use crate::types::text::json::{canonical_json, write_jsonb, write_string};
use crate::types::text::{TYPE_KEY, TextStyle, item_of, write_value};
use arrow::array::{Array, ArrayRef, AsArray, StringArray, StringBuilder};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result as DataFusionResult, exec_err};
use datafusion::logical_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use std::collections::HashMap;
use std::sync::Arc;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let of = |null| Arc::new(ScalarUDF::new_from_impl(ToJsonb { null, signature: Signature::any(1, Volatility::Immutable) }));
    vec![of(Null::Unknown), of(Null::Value), function("tw_jsonb_pair", &PAIR), function("tw_jsonb_array", &ARRAY), function("tw_jsonb_object", &OBJECT)]
}

const PAIR: [Overload; 1] = [Overload { takes: &[Type::Text, Type::Jsonb], gives: Type::Text, run: pair }];
const ARRAY: [Overload; 1] = [Overload { takes: &[Type::Texts], gives: Type::Jsonb, run: array }];
const OBJECT: [Overload; 1] = [Overload { takes: &[Type::Texts], gives: Type::Jsonb, run: object }];

/// What NULL becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Null {
    /// `to_jsonb`: NULL.
    Unknown,
    /// In aggregates: JSON's null.
    Value,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ToJsonb {
    null: Null,
    signature: Signature,
}

impl ScalarUDFImpl for ToJsonb {
    fn name(&self) -> &str {
        match self.null {
            Null::Unknown => "to_jsonb",
            Null::Value => "tw_jsonb_value",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::Utf8)
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs) -> DataFusionResult<FieldRef> {
        let nullable = self.null == Null::Unknown && arguments.arg_fields.first().is_none_or(|f| f.is_nullable());
        let mark = HashMap::from([(TYPE_KEY.to_owned(), "jsonb".to_owned())]);
        Ok(Arc::new(Field::new(self.name(), DataType::Utf8, nullable).with_metadata(mark)))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let ([value], [field]) = (arguments.args.as_slice(), arguments.arg_fields.as_slice()) else { return exec_err!("{} takes one value", self.name()) };
        let values = value.to_array(arguments.number_rows)?;
        let nulls = values.logical_nulls();
        let (mut out, mut text) = (StringBuilder::with_capacity(values.len(), values.len() * 8), String::new());
        for row in 0..values.len() {
            if self.null == Null::Unknown && nulls.as_ref().is_some_and(|n| n.is_null(row)) {
                out.append_null();
                continue;
            }
            text.clear();
            write(field, &values, row, &mut text).map_err(external)?;
            out.append_value(&text);
        }
        Ok(ColumnarValue::Array(Arc::new(out.finish())))
    }
}

/// Appends one value's canonical JSON.
fn write(field: &Field, values: &ArrayRef, row: usize, out: &mut String) -> Result<()> {
    if values.logical_nulls().is_some_and(|n| n.is_null(row)) {
        out.push_str("null");
        return Ok(());
    }
    match field.data_type() {
        DataType::List(item) => write_list(&item_of(field).unwrap_or_else(|| item.clone()), &values.as_list::<i32>().value(row), out),
        DataType::Struct(fields) => {
            let columns = values.as_struct().columns();
            let mut object = String::from("{");
            for (i, (field, column)) in fields.iter().zip(columns).enumerate() {
                object.push_str(if i == 0 { "" } else { "," });
                write_string(field.name(), &mut object);
                object.push(':');
                write(field, column, row, &mut object)?;
            }
            object.push('}');
            canonical_json(&object, out)
        }
        other => {
            let text = text_of(field, values, row)?;
            match other {
                DataType::Boolean => out.push_str(if values.as_boolean().value(row) { "true" } else { "false" }),
                t if t.is_floating() && !text.ends_with(|c: char| c.is_ascii_digit()) => write_string(&text, out),
                t if t.is_floating() => canonical_json(&text, out)?,
                t if t.is_numeric() => out.push_str(&text),
                _ if field.metadata().get(TYPE_KEY).is_some_and(|t| t == "jsonb") => {
                    let mut spaced = Vec::new();
                    write_jsonb(&text, &mut spaced);
                    out.push_str(&String::from_utf8_lossy(&spaced));
                }
                DataType::Timestamp(_, zone) => {
                    // Whole hours of a zone are written without minutes elsewhere.
                    let whole = zone.is_some() && text.as_bytes().iter().rev().nth(2).is_some_and(|b| matches!(b, b'+' | b'-'));
                    write_string(&format!("{}{}", text.replacen(' ', "T", 1), if whole { ":00" } else { "" }), out);
                }
                _ => write_string(&text, out),
            }
            Ok(())
        }
    }
}

fn write_list(item: &Field, items: &ArrayRef, out: &mut String) -> Result<()> {
    out.push('[');
    for i in 0..items.len() {
        out.push_str(if i == 0 { "" } else { ", " });
        write(item, items, i, out)?;
    }
    out.push(']');
    Ok(())
}

fn text_of(field: &Field, values: &ArrayRef, row: usize) -> Result<String> {
    let mut text = Vec::new();
    write_value(field, values, row, &mut text, &TextStyle::UTC)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// `{"key": value}`
fn pair(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let (keys, values) = (columns[0].as_string::<i32>(), columns[1].as_string::<i32>());
    let one = |(key, value): (Option<&str>, Option<&str>)| {
        let mut text = String::from("{");
        write_string(key?, &mut text);
        text.push_str(": ");
        text.push_str(value?);
        text.push('}');
        Some(text)
    };
    Ok(Arc::new(keys.iter().zip(values).map(one).collect::<StringArray>()))
}

fn array(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let lists = columns[0].as_list::<i32>();
    let one = |row: usize| {
        let items = lists.value(row);
        let texts: Vec<&str> = items.as_string::<i32>().iter().map(|text| text.unwrap_or("null")).collect();
        format!("[{}]", texts.join(", "))
    };
    Ok(Arc::new((0..lists.len()).map(|row| lists.is_valid(row).then(|| one(row))).collect::<StringArray>()))
}

/// Of equal keys the last one stays.
fn object(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let lists = columns[0].as_list::<i32>();
    let no_key = || Error::new(Kind::InvalidParameter, "field name must not be null");
    let one = |row: usize| -> Result<Option<String>> {
        if lists.is_null(row) {
            return Ok(None);
        }
        let items = lists.value(row);
        let pairs: Vec<&str> = items.as_string::<i32>().iter().map(|pair| pair.map(|p| &p[1..p.len() - 1]).ok_or_else(no_key)).collect::<Result<_>>()?;
        let mut text = String::new();
        canonical_json(&format!("{{{}}}", pairs.join(",")), &mut text)?;
        Ok(Some(text))
    };
    Ok(Arc::new((0..lists.len()).map(one).collect::<Result<StringArray>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Float64Array, TimestampMicrosecondArray};

    #[test]
    fn values_are_written_as_postgres_writes_them() {
        let of = |values: ArrayRef| {
            let (field, mut text) = (Field::new("c", values.data_type().clone(), true), String::new());
            write(&field, &values, 0, &mut text).unwrap();
            text
        };
        assert_eq!(of(Arc::new(Float64Array::from(vec![1e22]))), "10000000000000000000000");
        assert_eq!(of(Arc::new(Float64Array::from(vec![f64::NAN]))), "\"NaN\"");
        assert_eq!(of(Arc::new(Float64Array::from(vec![-0.0]))), "0");
        assert_eq!(of(Arc::new(Float64Array::from(vec![None]))), "null");
        assert_eq!(of(Arc::new(TimestampMicrosecondArray::from(vec![1_500_000]).with_timezone("UTC"))), "\"1970-01-01T00:00:01.5+00:00\"");
        assert_eq!(of(Arc::new(TimestampMicrosecondArray::from(vec![1_000_000]))), "\"1970-01-01T00:00:01\"");
    }
}
