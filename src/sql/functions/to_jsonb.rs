//! Values as JSON: `to_jsonb`, `to_json`, `jsonb_build_object` and its like, and what the aggregates of JSON are made of (`sql::aggregate_forms`).
//!
//! | value | jsonb | json |
//! | --- | --- | --- |
//! | boolean, numbers | themselves; NaN and infinities are strings | the same |
//! | jsonb, json | itself | its text |
//! | timestamps | strings in ISO 8601, with a `T`; instants in the session's zone | the same |
//! | arrays, rows | arrays, objects | the same without blanks |
//! | anything else | its text as a string | the same |

use super::table::{Overload, Type, external, function};
use crate::error::{Error, Kind, Result};
use crate::sql::style;
use crate::types::text::json::{canonical_json, write_jsonb, write_string};
use crate::types::text::{TYPE_KEY, TextStyle, Zone, item_of, write_value};
use arrow::array::{Array, ArrayRef, AsArray, StringArray, StringBuilder};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{DFSchema, Result as DataFusionResult, TableReference, exec_err};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility, lit};
use std::collections::HashMap;
use std::sync::Arc;

/// Every way to call them: the name, what is made, and of which type.
const CALLS: [(&str, Shape, Form); 12] = [
    ("to_jsonb", Shape::Value, Form::Jsonb),
    ("to_json", Shape::Value, Form::Json),
    ("tw_jsonb_value", Shape::Element, Form::Jsonb),
    ("tw_json_value", Shape::Element, Form::Json),
    ("jsonb_build_array", Shape::Array, Form::Jsonb),
    ("json_build_array", Shape::Array, Form::Json),
    ("jsonb_build_object", Shape::Object, Form::Jsonb),
    ("json_build_object", Shape::Object, Form::Json),
    ("tw_jsonb_row", Shape::Row, Form::Jsonb),
    ("row_to_json", Shape::Value, Form::Json),
    ("array_to_json", Shape::Value, Form::Json),
    ("tw_json_row", Shape::Row, Form::Json),
];

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let calls = CALLS.iter().map(|call| udf(*call, Zone::Utc));
    let made = [
        function("tw_jsonb_pair", &JSONB_PAIR),
        function("tw_json_pair", &JSON_PAIR),
        function("tw_jsonb_array", &JSONB_ARRAY),
        function("tw_json_array", &JSON_ARRAY),
        function("tw_json_rows", &JSON_ROWS),
        function("tw_jsonb_object", &JSONB_OBJECT),
        function("tw_json_object", &JSON_OBJECT),
        function("jsonb_object", &JSONB_OF_TEXTS),
        function("json_object", &JSON_OF_TEXTS),
    ];
    calls.chain(made).collect()
}

/// The function for the session's zone and with the columns of a relation, where a whole row of it is meant; `None`: none of these, or as it should be.
pub fn resolved(call: &ScalarFunction, schema: &DFSchema) -> Option<Expr> {
    let function = call.func.inner().downcast_ref::<ToJson>()?;
    let zone = style::current().timezone;
    #[expect(deprecated, reason = "the planner still gives it for `f(relation.*)`")]
    if let [Expr::Wildcard { qualifier: Some(relation), .. }] = call.args.as_slice() {
        return Some(whole_row(function, relation, schema, zone));
    }
    (function.zone == Zone::Utc && zone != Zone::Utc).then(|| udf(function.call, zone).call(call.args.clone()))
}

/// A column of the relation's name is that column; else the row is an object of all columns.
fn whole_row(function: &ToJson, relation: &TableReference, schema: &DFSchema, zone: Zone) -> Expr {
    let columns: Vec<(Option<&TableReference>, &FieldRef)> = schema.iter().filter(|(qualifier, _)| *qualifier == Some(relation)).collect();
    if let Some(column) = columns.iter().find(|(_, field)| field.name() == relation.table()) {
        return udf(function.call, zone).call(vec![Expr::Column((*column).into())]);
    }
    let row = if function.call.2 == Form::Jsonb { "tw_jsonb_row" } else { "tw_json_row" };
    let call = CALLS.iter().find(|call| call.0 == row).copied().unwrap_or(function.call);
    let fields = columns.into_iter().flat_map(|column| [lit(crate::sql::names::shown(column.1.name())), Expr::Column(column.into())]);
    udf(call, zone).call(fields.collect())
}

fn udf(call: (&'static str, Shape, Form), zone: Zone) -> Arc<ScalarUDF> {
    let signature = match call.1 {
        Shape::Value | Shape::Element => TypeSignature::Any(1),
        _ => TypeSignature::OneOf(vec![TypeSignature::Nullary, TypeSignature::VariadicAny]),
    };
    Arc::new(ScalarUDF::new_from_impl(ToJson { call, zone, signature: Signature::new(signature, Volatility::Immutable) }))
}

const JSONB_PAIR: [Overload; 1] = [Overload { takes: &[Type::Text, Type::Jsonb], gives: Type::Text, run: |c| Ok(pair(c, ": ")) }];
const JSON_PAIR: [Overload; 1] = [Overload { takes: &[Type::Text, Type::Json], gives: Type::Text, run: |c| Ok(pair(c, " : ")) }];
const JSONB_ARRAY: [Overload; 1] = [Overload { takes: &[Type::Texts], gives: Type::Jsonb, run: |c| Ok(joined(c, ["[", ", ", "]"])) }];
const JSON_ARRAY: [Overload; 1] = [Overload { takes: &[Type::Texts], gives: Type::Json, run: |c| Ok(joined(c, ["[", ", ", "]"])) }];
const JSON_ROWS: [Overload; 1] = [Overload { takes: &[Type::Texts], gives: Type::Json, run: |c| Ok(joined(c, ["[", ", \n ", "]"])) }];
const JSONB_OBJECT: [Overload; 1] = [Overload { takes: &[Type::Texts], gives: Type::Jsonb, run: |c| canonical(&of_pairs(c, ["{", ", ", "}"])?) }];
const JSON_OBJECT: [Overload; 1] = [Overload { takes: &[Type::Texts], gives: Type::Json, run: |c| of_pairs(c, ["{ ", ", ", " }"]) }];
const JSONB_OF_TEXTS: [Overload; 2] = [
    Overload { takes: &[Type::Texts], gives: Type::Jsonb, run: |c| canonical(&of_texts(c)?) },
    Overload { takes: &[Type::Texts, Type::Texts], gives: Type::Jsonb, run: |c| canonical(&of_texts(c)?) },
];
const JSON_OF_TEXTS: [Overload; 2] =
    [Overload { takes: &[Type::Texts], gives: Type::Json, run: of_texts }, Overload { takes: &[Type::Texts, Type::Texts], gives: Type::Json, run: of_texts }];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Shape {
    /// Of one value; of NULL it is NULL.
    Value,
    /// The same within an aggregate, where NULL is JSON's null.
    Element,
    Array,
    /// Of keys and values by turns.
    Object,
    /// The same of the columns of a row, without blanks.
    Row,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Form {
    Jsonb,
    Json,
}

impl Form {
    fn mark(self) -> &'static str {
        if self == Form::Jsonb { "jsonb" } else { "json" }
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ToJson {
    call: (&'static str, Shape, Form),
    /// In which instants are printed.
    zone: Zone,
    signature: Signature,
}

impl ScalarUDFImpl for ToJson {
    fn name(&self) -> &str {
        self.call.0
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::Utf8)
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs) -> DataFusionResult<FieldRef> {
        let nullable = self.call.1 == Shape::Value && arguments.arg_fields.first().is_none_or(|f| f.is_nullable());
        let mark = HashMap::from([(TYPE_KEY.to_owned(), self.call.2.mark().to_owned())]);
        Ok(Arc::new(Field::new(self.name(), DataType::Utf8, nullable).with_metadata(mark)))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let rows = arguments.number_rows;
        let columns = arguments.args.iter().map(|a| a.to_array(rows)).collect::<DataFusionResult<Vec<_>>>()?;
        let (_, shape, form) = self.call;
        let writer = Writer { form, style: TextStyle { timezone: self.zone } };
        let nulls = columns.first().and_then(|c| c.logical_nulls()).filter(|_| shape == Shape::Value);
        let (mut out, mut text) = (StringBuilder::with_capacity(rows, rows * 8), String::new());
        for row in 0..rows {
            if nulls.as_ref().is_some_and(|n| n.is_null(row)) {
                out.append_null();
                continue;
            }
            text.clear();
            let written = match (shape, columns.as_slice(), arguments.arg_fields.as_slice()) {
                (Shape::Value | Shape::Element, [values], [field]) => writer.value(field, values, row, &mut text),
                (Shape::Value | Shape::Element, ..) => return exec_err!("{} takes one value", self.name()),
                (Shape::Array, columns, fields) => writer.array(fields, columns, row, &mut text),
                (_, columns, fields) => writer.object(fields, columns, row, shape, &mut text),
            };
            written.map_err(external)?;
            out.append_value(&text);
        }
        Ok(ColumnarValue::Array(Arc::new(out.finish())))
    }
}

/// Writes values as jsonb or as json.
struct Writer {
    form: Form,
    style: TextStyle,
}

impl Writer {
    fn value(&self, field: &Field, values: &ArrayRef, row: usize, out: &mut String) -> Result<()> {
        if values.logical_nulls().is_some_and(|n| n.is_null(row)) {
            out.push_str("null");
            return Ok(());
        }
        match field.data_type() {
            DataType::List(item) => {
                let (item, items) = (item_of(field).unwrap_or_else(|| item.clone()), values.as_list::<i32>().value(row));
                out.push('[');
                for i in 0..items.len() {
                    out.push_str(if i == 0 { "" } else { self.comma() });
                    self.value(&item, &items, i, out)?;
                }
                out.push(']');
                Ok(())
            }
            DataType::Struct(fields) => {
                let mut object = String::from("{");
                for (i, (field, column)) in fields.iter().zip(values.as_struct().columns()).enumerate() {
                    object.push_str(if i == 0 { "" } else { "," });
                    write_string(field.name(), &mut object);
                    object.push(':');
                    self.value(field, column, row, &mut object)?;
                }
                object.push('}');
                self.finished(&object, out)
            }
            _ => self.scalar(field, values, row, out),
        }
    }

    fn comma(&self) -> &'static str {
        if self.form == Form::Jsonb { ", " } else { "," }
    }

    /// Keys of a jsonb have an order.
    fn finished(&self, object: &str, out: &mut String) -> Result<()> {
        if self.form == Form::Jsonb {
            return canonical_json(object, out);
        }
        out.push_str(object);
        Ok(())
    }

    fn scalar(&self, field: &Field, values: &ArrayRef, row: usize, out: &mut String) -> Result<()> {
        let text = self.text_of(field, values, row)?;
        match field.data_type() {
            DataType::Boolean => out.push_str(if values.as_boolean().value(row) { "true" } else { "false" }),
            t if t.is_floating() && !text.ends_with(|c: char| c.is_ascii_digit()) => write_string(&text, out),
            t if t.is_floating() && self.form == Form::Jsonb => canonical_json(&text, out)?,
            t if t.is_numeric() => out.push_str(&text),
            DataType::Timestamp(_, zone) => {
                // Whole hours of a zone are written without minutes elsewhere.
                let whole = zone.is_some() && text.as_bytes().iter().rev().nth(2).is_some_and(|b| matches!(b, b'+' | b'-'));
                write_string(&format!("{}{}", text.replacen(' ', "T", 1), if whole { ":00" } else { "" }), out);
            }
            _ => match field.metadata().get(TYPE_KEY).map(String::as_str) {
                Some("jsonb") => {
                    let mut spaced = Vec::new();
                    write_jsonb(&text, &mut spaced);
                    out.push_str(&String::from_utf8_lossy(&spaced));
                }
                Some("json") if self.form == Form::Jsonb => canonical_json(&text, out)?,
                Some("json") => out.push_str(&text),
                _ => write_string(&text, out),
            },
        }
        Ok(())
    }

    fn text_of(&self, field: &Field, values: &ArrayRef, row: usize) -> Result<String> {
        let mut text = Vec::new();
        write_value(field, values, row, &mut text, &self.style)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    fn array(&self, fields: &[FieldRef], columns: &[ArrayRef], row: usize, out: &mut String) -> Result<()> {
        out.push('[');
        for (i, (field, column)) in fields.iter().zip(columns).enumerate() {
            out.push_str(if i == 0 { "" } else { ", " });
            self.value(field, column, row, out)?;
        }
        out.push(']');
        Ok(())
    }

    fn object(&self, fields: &[FieldRef], columns: &[ArrayRef], row: usize, shape: Shape, out: &mut String) -> Result<()> {
        let invalid = |message: String| Err(Error::new(Kind::InvalidParameter, message));
        if !columns.len().is_multiple_of(2) {
            return invalid("argument list must have even number of elements".to_owned());
        }
        let (comma, colon) = if shape == Shape::Row { (",", ":") } else { (", ", " : ") };
        let mut object = String::from("{");
        for i in (0..columns.len()).step_by(2) {
            if columns[i].logical_nulls().is_some_and(|n| n.is_null(row)) {
                return invalid(format!("argument {}: key must not be null", i + 1));
            }
            if fields[i].data_type().is_nested() || fields[i].metadata().get(TYPE_KEY).is_some_and(|t| t == "jsonb" || t == "json") {
                return invalid("key value must be scalar, not array, composite, or json".to_owned());
            }
            let key = match columns[i].as_boolean_opt() {
                Some(booleans) => booleans.value(row).to_string(),
                None => self.text_of(&fields[i], &columns[i], row)?,
            };
            object.push_str(if i == 0 { "" } else { comma });
            write_string(&key, &mut object);
            object.push_str(colon);
            self.value(&fields[i + 1], &columns[i + 1], row, &mut object)?;
        }
        object.push('}');
        self.finished(&object, out)
    }
}

/// `"key": value`
fn pair(columns: &[ArrayRef], colon: &str) -> ArrayRef {
    let (keys, values) = (columns[0].as_string::<i32>(), columns[1].as_string::<i32>());
    let one = |(key, value): (Option<&str>, Option<&str>)| {
        let mut text = String::new();
        write_string(key?, &mut text);
        text.push_str(colon);
        text.push_str(value?);
        Some(text)
    };
    Arc::new(keys.iter().zip(values).map(one).collect::<StringArray>())
}

/// The texts of each list between `[open, comma, close]`.
fn joined(columns: &[ArrayRef], [open, comma, close]: [&str; 3]) -> ArrayRef {
    let lists = columns[0].as_list::<i32>();
    let one = |row: usize| {
        let items = lists.value(row);
        let texts: Vec<&str> = items.as_string::<i32>().iter().map(|text| text.unwrap_or("null")).collect();
        format!("{open}{}{close}", texts.join(comma))
    };
    Arc::new((0..lists.len()).map(|row| lists.is_valid(row).then(|| one(row))).collect::<StringArray>())
}

/// A pair is NULL where its key is.
fn of_pairs(columns: &[ArrayRef], signs: [&str; 3]) -> Result<ArrayRef> {
    let lists = columns[0].as_list::<i32>();
    let keyless = (0..lists.len()).any(|row| lists.is_valid(row) && lists.value(row).null_count() > 0);
    if keyless { Err(Error::new(Kind::InvalidParameter, "field name must not be null")) } else { Ok(joined(columns, signs)) }
}

/// Of equal keys the last one stays.
fn canonical(objects: &ArrayRef) -> Result<ArrayRef> {
    let one = |object: Option<&str>| -> Result<Option<String>> {
        let Some(object) = object else { return Ok(None) };
        let mut text = String::new();
        canonical_json(object, &mut text)?;
        Ok(Some(text))
    };
    Ok(Arc::new(objects.as_string::<i32>().iter().map(one).collect::<Result<StringArray>>()?))
}

/// `{"a" : "1"}` of keys and values by turns, or of keys and of values.
fn of_texts(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let wrong = |message: &str| Error::new(Kind::ArraySubscript, message);
    let one = |row: usize| -> Result<String> {
        let texts =
            |column: &ArrayRef| -> Vec<Option<String>> { column.as_list::<i32>().value(row).as_string::<i32>().iter().map(|t| t.map(str::to_owned)).collect() };
        let (keys, values): (Vec<_>, Vec<_>) = match columns {
            [both] => {
                let both = texts(both);
                if both.len() % 2 == 1 {
                    return Err(wrong("array must have even number of elements"));
                }
                (both.iter().step_by(2).cloned().collect(), both.iter().skip(1).step_by(2).cloned().collect())
            }
            [keys, values, ..] => (texts(keys), texts(values)),
            [] => Default::default(),
        };
        if keys.len() != values.len() {
            return Err(wrong("mismatched array dimensions"));
        }
        let mut object = String::from("{");
        for (i, (key, value)) in keys.iter().zip(&values).enumerate() {
            let Some(key) = key else { return Err(Error::new(Kind::InvalidParameter, "null value not allowed for object key")) };
            object.push_str(if i == 0 { "" } else { ", " });
            write_string(key, &mut object);
            object.push_str(" : ");
            match value {
                Some(value) => write_string(value, &mut object),
                None => object.push_str("null"),
            }
        }
        Ok(object + "}")
    };
    Ok(Arc::new(StringArray::from((0..columns[0].len()).map(one).collect::<Result<Vec<String>>>()?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Float64Array, TimestampMicrosecondArray};

    #[test]
    fn values_are_written_as_postgres_writes_them() {
        let of = |values: ArrayRef| {
            let (field, mut text) = (Field::new("c", values.data_type().clone(), true), String::new());
            Writer { form: Form::Jsonb, style: TextStyle::UTC }.value(&field, &values, 0, &mut text).unwrap();
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
