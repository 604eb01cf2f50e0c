//! jsonb: the operators `-> ->> #> #>> @> <@` and `jsonb_typeof`, `jsonb_array_length`. A value is kept as canonical text
//! (`types::text::json`), so a part of it is a slice of it: only the way to the part is parsed.

use super::table::{Overload, Type, function, with_aliases};
use crate::error::{Error, Kind, Result};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int32Array, StringArray};
use arrow::datatypes::Int32Type;
use datafusion::logical_expr::{Operator, ScalarUDF};
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    vec![with_aliases("jsonb_typeof", &["json_typeof"], &TYPEOF), with_aliases("jsonb_array_length", &["json_array_length"], &ARRAY_LENGTH)]
}

/// The function behind an operator whose left side is a jsonb.
pub fn operator(operator: Operator) -> Option<Arc<ScalarUDF>> {
    Some(match operator {
        Operator::Arrow => function("jsonb_get", &GET),
        Operator::LongArrow => function("jsonb_get_text", &GET_TEXT),
        Operator::HashArrow => function("jsonb_extract_path", &PATH),
        Operator::HashLongArrow => function("jsonb_extract_path_text", &PATH_TEXT),
        Operator::AtArrow => function("jsonb_contains", &CONTAINS),
        Operator::ArrowAt => function("jsonb_contained", &CONTAINED),
        _ => return None,
    })
}

const TYPEOF: [Overload; 1] = [Overload { takes: &[Type::Jsonb], gives: Type::Text, run: type_of }];
const ARRAY_LENGTH: [Overload; 1] = [Overload { takes: &[Type::Jsonb], gives: Type::Integer, run: array_length }];
const GET: [Overload; 2] = [
    Overload { takes: &[Type::Jsonb, Type::Text], gives: Type::Jsonb, run: |c| Ok(by_key(c, |part| Some(part.get().to_owned()))) },
    Overload { takes: &[Type::Jsonb, Type::Integer], gives: Type::Jsonb, run: |c| Ok(by_place(c, |part| Some(part.get().to_owned()))) },
];
const GET_TEXT: [Overload; 2] = [
    Overload { takes: &[Type::Jsonb, Type::Text], gives: Type::Text, run: |c| Ok(by_key(c, text_of)) },
    Overload { takes: &[Type::Jsonb, Type::Integer], gives: Type::Text, run: |c| Ok(by_place(c, text_of)) },
];
const PATH: [Overload; 1] = [Overload { takes: &[Type::Jsonb, Type::Texts], gives: Type::Jsonb, run: |c| Ok(by_path(c, |part| Some(part.get().to_owned()))) }];
const PATH_TEXT: [Overload; 1] = [Overload { takes: &[Type::Jsonb, Type::Texts], gives: Type::Text, run: |c| Ok(by_path(c, text_of)) }];
const CONTAINS: [Overload; 1] = [Overload { takes: &[Type::Jsonb, Type::Jsonb], gives: Type::Boolean, run: |c| containment(&c[0], &c[1]) }];
const CONTAINED: [Overload; 1] = [Overload { takes: &[Type::Jsonb, Type::Jsonb], gives: Type::Boolean, run: |c| containment(&c[1], &c[0]) }];

/// The value of one key of an object; the last, where a key is repeated.
struct Key<'k>(&'k str);

impl<'de> Visitor<'de> for Key<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            if key == self.0 {
                found = Some(map.next_value::<&'de RawValue>()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

fn first_byte(text: &str) -> u8 {
    text.trim_start().bytes().next().unwrap_or(b' ')
}

fn member<'a>(text: &'a str, key: &str) -> Option<&'a RawValue> {
    if first_byte(text) != b'{' {
        return None;
    }
    serde_json::Deserializer::from_str(text).deserialize_map(Key(key)).ok()?
}

fn elements(text: &str) -> Option<Vec<&RawValue>> {
    if first_byte(text) == b'[' { serde_json::from_str(text).ok() } else { None }
}

/// Negative places count from the end.
fn element(text: &str, place: i64) -> Option<&RawValue> {
    let elements = elements(text)?;
    let place = if place < 0 { place.checked_add(i64::try_from(elements.len()).ok()?)? } else { place };
    elements.get(usize::try_from(place).ok()?).copied()
}

/// A string without its quotes, JSON's null as NULL, everything else as it is printed.
fn text_of(part: &RawValue) -> Option<String> {
    match first_byte(part.get()) {
        b'"' => serde_json::from_str(part.get()).ok(),
        b'n' => None,
        _ => Some(part.get().to_owned()),
    }
}

type Shown = fn(&RawValue) -> Option<String>;

fn by_key(columns: &[ArrayRef], shown: Shown) -> ArrayRef {
    let (documents, keys) = (columns[0].as_string::<i32>(), columns[1].as_string::<i32>());
    let parts = (0..documents.len()).map(|row| member(documents.value(row), keys.value(row)).and_then(shown));
    Arc::new(parts.collect::<StringArray>())
}

fn by_place(columns: &[ArrayRef], shown: Shown) -> ArrayRef {
    let (documents, places) = (columns[0].as_string::<i32>(), columns[1].as_primitive::<Int32Type>());
    let parts = (0..documents.len()).map(|row| element(documents.value(row), i64::from(places.value(row))).and_then(shown));
    Arc::new(parts.collect::<StringArray>())
}

fn by_path(columns: &[ArrayRef], shown: Shown) -> ArrayRef {
    let (documents, paths) = (columns[0].as_string::<i32>(), columns[1].as_list::<i32>());
    let parts = (0..documents.len()).map(|row| {
        let steps = paths.value(row);
        let steps = steps.as_string::<i32>();
        let mut at: &RawValue = serde_json::from_str(documents.value(row)).ok()?;
        for step in steps {
            let step = step?;
            at = match first_byte(at.get()) {
                b'[' => element(at.get(), step.trim().parse().ok()?)?,
                _ => member(at.get(), step)?,
            };
        }
        shown(at)
    });
    Arc::new(parts.collect::<StringArray>())
}

fn type_of(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let name = |document: &str| match first_byte(document) {
        b'{' => "object",
        b'[' => "array",
        b'"' => "string",
        b't' | b'f' => "boolean",
        b'n' => "null",
        _ => "number",
    };
    Ok(Arc::new(columns[0].as_string::<i32>().iter().map(|document| document.map(name)).collect::<StringArray>()))
}

fn array_length(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let lengths = columns[0].as_string::<i32>().iter().map(|document| {
        let document = document.unwrap_or_default();
        let what = if first_byte(document) == b'{' { "a non-array" } else { "a scalar" };
        let refused = || Error::new(Kind::InvalidParameter, format!("cannot get array length of {what}"));
        elements(document).and_then(|e| i32::try_from(e.len()).ok()).ok_or_else(refused)
    });
    Ok(Arc::new(Int32Array::from(lengths.collect::<Result<Vec<i32>>>()?)))
}

fn containment(outer: &ArrayRef, inner: &ArrayRef) -> Result<ArrayRef> {
    let (outer, inner) = (outer.as_string::<i32>(), inner.as_string::<i32>());
    let read = |text: &str| -> Result<Value> {
        serde_json::from_str(text).map_err(|e| Error::new(Kind::InvalidText, "invalid input syntax for type json").with_detail(e.to_string()))
    };
    let contained = (0..outer.len()).map(|row| {
        let (outer, inner) = (read(outer.value(row))?, read(inner.value(row))?);
        // Only at the top an array contains a bare scalar.
        let scalar_in = matches!(&outer, Value::Array(items) if !inner.is_array() && !inner.is_object() && items.iter().any(|i| same(i, &inner)));
        Ok(scalar_in || contains(&outer, &inner))
    });
    Ok(Arc::new(BooleanArray::from(contained.collect::<Result<Vec<bool>>>()?)))
}

fn contains(outer: &Value, inner: &Value) -> bool {
    match (outer, inner) {
        (Value::Object(outer), Value::Object(inner)) => inner.iter().all(|(key, value)| outer.get(key).is_some_and(|o| contains(o, value))),
        (Value::Array(outer), Value::Array(inner)) => inner.iter().all(|value| outer.iter().any(|o| contains(o, value))),
        (outer, inner) => same(outer, inner),
    }
}

/// Equal scalars; numbers by value.
fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(l), Value::Number(r)) => l == r || l.as_f64() == r.as_f64(),
        (Value::Object(_) | Value::Array(_), _) => false,
        (left, right) => left == right,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_found_by_key_place_and_path() {
        let document = r#"{"a": {"b": [1, null, "x\ty"]}, "é": true}"#;
        let shown = |part: Option<&RawValue>| part.map(|p| p.get().to_owned());
        assert_eq!(shown(member(document, "é")).as_deref(), Some("true"));
        assert_eq!(shown(member(document, "a")).as_deref(), Some(r#"{"b": [1, null, "x\ty"]}"#));
        assert_eq!(shown(element("[1, 2, 3]", -1)).as_deref(), Some("3"));
        assert_eq!(shown(element("[1, 2, 3]", 3)), None);
        assert_eq!(shown(member("[1]", "a")), None);
        assert_eq!(text_of(element(r#"["x\ty"]"#, 0).unwrap()).as_deref(), Some("x\ty"));
        assert_eq!(text_of(element("[null]", 0).unwrap()), None);
    }

    #[test]
    fn containment_looks_into_objects_and_arrays() {
        let check = |outer: &str, inner: &str| {
            let column = |text: &str| Arc::new(StringArray::from(vec![text])) as ArrayRef;
            containment(&column(outer), &column(inner)).unwrap().as_boolean().value(0)
        };
        assert!(check(r#"{"a": 1, "b": [1, 2]}"#, r#"{"b": [2]}"#));
        assert!(check("[1, 2]", "1.0"));
        assert!(!check("[[1, 2]]", "[1]"));
        assert!(!check(r#"{"a": 1}"#, r#"{"a": 2}"#));
    }
}
