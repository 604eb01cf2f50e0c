//! Arrays of what a document holds, for functions that give rows (`sql::set_returning` unnests them): elements, keys and values.
//! What json gives keeps its text; what jsonb gives is canonical anyway, for it is part of a canonical text.

use super::jsonb_edit::{Level, level};
use super::table::{Overload, Type, function};
use crate::error::{Error, Kind, Result};
use arrow::array::{Array, ArrayRef, AsArray, ListBuilder, StringBuilder};
use datafusion::logical_expr::ScalarUDF;
use std::sync::Arc;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    vec![
        function("tw_json_elements", &ELEMENTS),
        function("tw_json_elements_text", &ELEMENTS_TEXT),
        function("tw_json_keys", &KEYS),
        function("tw_json_each_keys", &EACH_KEYS),
        function("tw_json_each_values", &EACH_VALUES),
        function("tw_json_each_texts", &EACH_TEXTS),
        function("tw_jsonb", &JSONB),
        function("tw_json", &JSON),
    ]
}

const ELEMENTS: [Overload; 1] =
    [Overload { takes: &[Type::Jsonb], gives: Type::Texts, run: |c| lists(c, |d| Ok(elements(d)?.into_iter().map(raw).collect())) }];
const ELEMENTS_TEXT: [Overload; 1] =
    [Overload { takes: &[Type::Jsonb], gives: Type::Texts, run: |c| lists(c, |d| Ok(elements(d)?.into_iter().map(shown).collect())) }];
const KEYS: [Overload; 1] =
    [Overload { takes: &[Type::Jsonb], gives: Type::Texts, run: |c| lists(c, |d| Ok(fields(d, keys_of)?.into_iter().map(|(key, _)| Some(key)).collect())) }];
const EACH_KEYS: [Overload; 1] =
    [Overload { takes: &[Type::Jsonb], gives: Type::Texts, run: |c| lists(c, |d| Ok(fields(d, each_of)?.into_iter().map(|(key, _)| Some(key)).collect())) }];
const EACH_VALUES: [Overload; 1] =
    [Overload { takes: &[Type::Jsonb], gives: Type::Texts, run: |c| lists(c, |d| Ok(fields(d, each_of)?.into_iter().map(|(_, value)| raw(value)).collect())) }];
const EACH_TEXTS: [Overload; 1] = [Overload {
    takes: &[Type::Jsonb],
    gives: Type::Texts,
    run: |c| lists(c, |d| Ok(fields(d, each_of)?.into_iter().map(|(_, value)| shown(value)).collect())),
}];
/// The text of an element as the document that it is.
const JSONB: [Overload; 1] = [Overload { takes: &[Type::Text], gives: Type::Jsonb, run: |c| Ok(c[0].clone()) }];
const JSON: [Overload; 1] = [Overload { takes: &[Type::Text], gives: Type::Json, run: |c| Ok(c[0].clone()) }];

fn lists(columns: &[ArrayRef], of: impl Fn(&str) -> Result<Vec<Option<String>>>) -> Result<ArrayRef> {
    let documents = columns[0].as_string::<i32>();
    let mut out = ListBuilder::new(StringBuilder::new());
    for row in 0..documents.len() {
        for item in of(documents.value(row))? {
            out.values().append_option(item);
        }
        out.append(true);
    }
    Ok(Arc::new(out.finish()))
}

fn raw(part: &str) -> Option<String> {
    Some(part.to_owned())
}

/// A string without its quotes, null as NULL.
fn shown(part: &str) -> Option<String> {
    match part.as_bytes().first() {
        Some(b'"') => serde_json::from_str(part).ok(),
        Some(b'n') => None,
        _ => Some(part.to_owned()),
    }
}

fn invalid(message: String) -> Error {
    Error::new(Kind::InvalidParameter, message)
}

fn elements(document: &str) -> Result<Vec<&str>> {
    match level(document) {
        Level::Array(items) => Ok(items),
        Level::Object(_) => Err(invalid("cannot extract elements from an object".to_owned())),
        Level::Scalar(_) => Err(invalid("cannot extract elements from a scalar".to_owned())),
    }
}

fn keys_of(what: &str) -> String {
    format!("cannot call jsonb_object_keys on {what}")
}

fn each_of(_what: &str) -> String {
    "cannot call jsonb_each on a non-object".to_owned()
}

fn fields(document: &str, refused: fn(&str) -> String) -> Result<Vec<(String, &str)>> {
    match level(document) {
        Level::Object(fields) => Ok(fields),
        Level::Array(_) => Err(invalid(refused("an array"))),
        Level::Scalar(_) => Err(invalid(refused("a scalar"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_taken_apart() {
        assert_eq!(elements(r#"[1, "a", {"b": 2}]"#).unwrap(), ["1", "\"a\"", "{\"b\": 2}"]);
        assert_eq!(elements("{}").unwrap_err().message(), "cannot extract elements from an object");
        assert_eq!((shown("\"a\"").as_deref(), shown("null"), shown("1").as_deref()), (Some("a"), None, Some("1")));
        assert_eq!(fields("1", keys_of).unwrap_err().message(), "cannot call jsonb_object_keys on a scalar");
    }
}
