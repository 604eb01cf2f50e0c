//! jsonb changed, and asked for keys: `||`, `-`, `#-`, `? ?| ?&`, `jsonb_set`, `jsonb_insert`, `jsonb_strip_nulls`, `jsonb_pretty`.
//!
//! A value is canonical text (`types::text::json`). One level of it is taken apart at a time ([`Level`]); what is below stays the text that it is, so
//! a change costs the levels on the way to it.

use super::table::{Overload, Type, function};
use crate::error::{Error, Kind, Result};
use crate::types::text::json::write_string;
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, StringArray};
use arrow::datatypes::Int32Type;
use datafusion::logical_expr::ScalarUDF;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    vec![
        concat(),
        remove(),
        function("tw_jsonb_remove_path", &REMOVE_PATH),
        function("tw_jsonb_has", &HAS),
        function("tw_jsonb_has_any", &HAS_ANY),
        function("tw_jsonb_has_all", &HAS_ALL),
        function("jsonb_set", &SET),
        function("jsonb_insert", &INSERT),
        function("jsonb_strip_nulls", &STRIP_NULLS),
        function("jsonb_pretty", &PRETTY),
    ]
}

/// `jsonb || jsonb`.
pub fn concat() -> Arc<ScalarUDF> {
    function("jsonb_concat", &CONCAT)
}

/// `jsonb - key`, `jsonb - keys`, `jsonb - place`.
pub fn remove() -> Arc<ScalarUDF> {
    function("tw_jsonb_remove", &REMOVE)
}

const CONCAT: [Overload; 1] =
    [Overload { takes: &[Type::Jsonb, Type::Jsonb], gives: Type::Jsonb, run: |c| texts(c, |row| Ok(joined(text(c, 0, row), text(c, 1, row)))) }];
const REMOVE: [Overload; 3] = [
    Overload { takes: &[Type::Jsonb, Type::Text], gives: Type::Jsonb, run: |c| texts(c, |row| without_keys(text(c, 0, row), &[text(c, 1, row)])) },
    Overload {
        takes: &[Type::Jsonb, Type::Texts],
        gives: Type::Jsonb,
        run: |c| texts(c, |row| without_keys(text(c, 0, row), &steps(c, 1, row).iter().map(String::as_str).collect::<Vec<_>>())),
    },
    Overload { takes: &[Type::Jsonb, Type::Integer], gives: Type::Jsonb, run: |c| texts(c, |row| without_place(text(c, 0, row), integer(c, 1, row))) },
];
const REMOVE_PATH: [Overload; 1] =
    [Overload { takes: &[Type::Jsonb, Type::Texts], gives: Type::Jsonb, run: |c| texts(c, |row| at_path(c, row, &Change::Remove)) }];
const HAS: [Overload; 1] =
    [Overload { takes: &[Type::Jsonb, Type::Text], gives: Type::Boolean, run: |c| booleans(c, |row| has(text(c, 0, row), text(c, 1, row))) }];
const HAS_ANY: [Overload; 1] = [Overload {
    takes: &[Type::Jsonb, Type::Texts],
    gives: Type::Boolean,
    run: |c| booleans(c, |row| steps(c, 1, row).iter().any(|key| has(text(c, 0, row), key))),
}];
const HAS_ALL: [Overload; 1] = [Overload {
    takes: &[Type::Jsonb, Type::Texts],
    gives: Type::Boolean,
    run: |c| booleans(c, |row| steps(c, 1, row).iter().all(|key| has(text(c, 0, row), key))),
}];
const SET: [Overload; 2] = [
    Overload {
        takes: &[Type::Jsonb, Type::Texts, Type::Jsonb],
        gives: Type::Jsonb,
        run: |c| texts(c, |row| at_path(c, row, &Change::Set { value: text(c, 2, row), create: true })),
    },
    Overload {
        takes: &[Type::Jsonb, Type::Texts, Type::Jsonb, Type::Boolean],
        gives: Type::Jsonb,
        run: |c| texts(c, |row| at_path(c, row, &Change::Set { value: text(c, 2, row), create: c[3].as_boolean().value(row) })),
    },
];
const INSERT: [Overload; 2] = [
    Overload {
        takes: &[Type::Jsonb, Type::Texts, Type::Jsonb],
        gives: Type::Jsonb,
        run: |c| texts(c, |row| at_path(c, row, &Change::Insert { value: text(c, 2, row), after: false })),
    },
    Overload {
        takes: &[Type::Jsonb, Type::Texts, Type::Jsonb, Type::Boolean],
        gives: Type::Jsonb,
        run: |c| texts(c, |row| at_path(c, row, &Change::Insert { value: text(c, 2, row), after: c[3].as_boolean().value(row) })),
    },
];
const STRIP_NULLS: [Overload; 1] = [Overload { takes: &[Type::Jsonb], gives: Type::Jsonb, run: |c| texts(c, |row| Ok(without_nulls(text(c, 0, row)))) }];
const PRETTY: [Overload; 1] = [Overload {
    takes: &[Type::Jsonb],
    gives: Type::Text,
    run: |c| {
        texts(c, |row| {
            let mut out = String::new();
            pretty(text(c, 0, row), 0, &mut out);
            Ok(out)
        })
    },
}];

fn text(columns: &[ArrayRef], column: usize, row: usize) -> &str {
    columns[column].as_string::<i32>().value(row)
}

fn integer(columns: &[ArrayRef], column: usize, row: usize) -> i32 {
    columns[column].as_primitive::<Int32Type>().value(row)
}

/// The texts of an array that are not NULL.
fn steps(columns: &[ArrayRef], column: usize, row: usize) -> Vec<String> {
    columns[column].as_list::<i32>().value(row).as_string::<i32>().iter().flatten().map(str::to_owned).collect()
}

fn texts(columns: &[ArrayRef], of: impl Fn(usize) -> Result<String>) -> Result<ArrayRef> {
    Ok(Arc::new(StringArray::from((0..columns[0].len()).map(of).collect::<Result<Vec<String>>>()?)))
}

fn booleans(columns: &[ArrayRef], of: impl Fn(usize) -> bool) -> Result<ArrayRef> {
    Ok(Arc::new(BooleanArray::from((0..columns[0].len()).map(of).collect::<Vec<bool>>())))
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(Kind::InvalidParameter, message)
}

/// The top of a document.
pub(super) enum Level<'d> {
    Object(Vec<(String, &'d str)>),
    Array(Vec<&'d str>),
    Scalar(&'d str),
}

/// Takes the top of a document apart; what cannot be read is a scalar.
pub(super) fn level(document: &str) -> Level<'_> {
    let read = match document.trim_start().as_bytes().first() {
        Some(b'{') => serde_json::Deserializer::from_str(document).deserialize_map(Fields).ok().map(Level::Object),
        Some(b'[') => serde_json::from_str::<Vec<&RawValue>>(document).ok().map(|items| Level::Array(items.into_iter().map(RawValue::get).collect())),
        _ => None,
    };
    read.unwrap_or(Level::Scalar(document))
}

/// The fields of an object, in their order.
struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = Vec<(String, &'de str)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Self::Value, A::Error> {
        let mut fields = Vec::new();
        while let Some((key, value)) = map.next_entry::<Cow<'de, str>, &'de RawValue>()? {
            fields.push((key.into_owned(), value.get()));
        }
        Ok(fields)
    }
}

/// Fields in canonical order; of equal keys the last one stays.
fn object<V: AsRef<str>>(mut fields: Vec<(String, V)>) -> String {
    fields.sort_by(|(a, _), (b, _)| a.len().cmp(&b.len()).then_with(|| a.cmp(b)));
    let mut out = String::from("{");
    for (i, (key, value)) in fields.iter().enumerate() {
        if fields.get(i + 1).is_some_and(|(next, _)| next == key) {
            continue;
        }
        out.push_str(if out.len() > 1 { ", " } else { "" });
        write_string(key, &mut out);
        out.push_str(": ");
        out.push_str(value.as_ref());
    }
    out.push('}');
    out
}

fn array<V: AsRef<str>>(items: &[V]) -> String {
    let items: Vec<&str> = items.iter().map(AsRef::as_ref).collect();
    format!("[{}]", items.join(", "))
}

/// Two objects become one; anything else is an array of one element beside arrays.
fn joined(left: &str, right: &str) -> String {
    match (level(left), level(right)) {
        (Level::Object(mut fields), Level::Object(others)) => {
            fields.extend(others);
            object(fields)
        }
        (left_level, right_level) => {
            let items = |level, whole| if let Level::Array(items) = level { items } else { vec![whole] };
            let mut all = items(left_level, left);
            all.extend(items(right_level, right));
            array(&all)
        }
    }
}

/// A string without its quotes.
fn string_of(scalar: &str) -> Option<Cow<'_, str>> {
    if scalar.starts_with('"') { serde_json::from_str::<String>(scalar).ok().map(Cow::Owned) } else { None }
}

fn without_keys(document: &str, keys: &[&str]) -> Result<String> {
    match level(document) {
        Level::Object(fields) => Ok(object(fields.into_iter().filter(|(key, _)| !keys.contains(&key.as_str())).collect())),
        Level::Array(items) => {
            let kept: Vec<&str> = items.into_iter().filter(|item| !string_of(item).is_some_and(|text| keys.contains(&text.as_ref()))).collect();
            Ok(array(&kept))
        }
        Level::Scalar(_) => Err(invalid("cannot delete from scalar")),
    }
}

fn without_place(document: &str, place: i32) -> Result<String> {
    match level(document) {
        Level::Object(_) => Err(invalid("cannot delete from object using integer index")),
        Level::Array(mut items) => {
            if let Some(at) = place_in(&items, i64::from(place)).filter(|at| *at < items.len()) {
                items.remove(at);
            }
            Ok(array(&items))
        }
        Level::Scalar(_) => Err(invalid("cannot delete from scalar")),
    }
}

/// Where a place counts to, negative ones from the end; `None`: before the first element.
fn place_in<T>(items: &[T], place: i64) -> Option<usize> {
    usize::try_from(if place < 0 { place + items.len() as i64 } else { place }).ok()
}

/// Whether a string is a key or an element at the top.
fn has(document: &str, key: &str) -> bool {
    match level(document) {
        Level::Object(fields) => fields.iter().any(|(k, _)| k == key),
        Level::Array(items) => items.iter().any(|item| string_of(item).is_some_and(|text| text == key)),
        Level::Scalar(scalar) => string_of(scalar).is_some_and(|text| text == key),
    }
}

/// What is done at the end of a path.
enum Change<'v> {
    Remove,
    Set { value: &'v str, create: bool },
    Insert { value: &'v str, after: bool },
}

fn at_path(columns: &[ArrayRef], row: usize, change: &Change<'_>) -> Result<String> {
    let (document, path) = (text(columns, 0, row), steps(columns, 1, row));
    if matches!(level(document), Level::Scalar(_)) {
        return Err(invalid(if matches!(change, Change::Remove) { "cannot delete path in scalar" } else { "cannot set path in scalar" }));
    }
    if path.is_empty() { Ok(document.to_owned()) } else { changed(document, &path, 0, change) }
}

/// `document` with the change at `path[depth..]`. A way that is not there changes nothing.
fn changed(document: &str, path: &[String], depth: usize, change: &Change<'_>) -> Result<String> {
    let (step, is_last) = (path[depth].as_str(), depth + 1 == path.len());
    match level(document) {
        Level::Scalar(scalar) => Ok(scalar.to_owned()),
        Level::Object(fields) => {
            let mut fields: Vec<(String, Cow<'_, str>)> = fields.into_iter().map(|(key, value)| (key, Cow::Borrowed(value))).collect();
            let at = fields.iter().position(|(key, _)| key == step);
            match (at, change) {
                (Some(at), _) if !is_last => fields[at].1 = Cow::Owned(changed(&fields[at].1, path, depth + 1, change)?),
                _ if !is_last => {}
                (Some(at), Change::Remove) => drop(fields.remove(at)),
                (Some(at), Change::Set { value, .. }) => fields[at].1 = Cow::Borrowed(value),
                (Some(_), Change::Insert { .. }) => {
                    return Err(invalid("cannot replace existing key").with_hint("Try using the function jsonb_set to replace key value."));
                }
                (None, Change::Set { value, create: true } | Change::Insert { value, .. }) => fields.push((step.to_owned(), Cow::Borrowed(value))),
                (None, _) => {}
            }
            Ok(object(fields))
        }
        Level::Array(items) => {
            let mut items: Vec<Cow<'_, str>> = items.into_iter().map(Cow::Borrowed).collect();
            let no_place = |_| Error::new(Kind::InvalidText, format!("path element at position {} is not an integer: \"{step}\"", depth + 1));
            let at = place_in(&items, i64::from(step.trim().parse::<i32>().map_err(no_place)?));
            match (at.filter(|at| *at < items.len()), change) {
                (Some(at), _) if !is_last => items[at] = Cow::Owned(changed(&items[at], path, depth + 1, change)?),
                _ if !is_last => {}
                (Some(at), Change::Remove) => drop(items.remove(at)),
                (Some(at), Change::Set { value, .. }) => items[at] = Cow::Borrowed(value),
                (Some(at), Change::Insert { value, after }) => items.insert(at + usize::from(*after), Cow::Borrowed(value)),
                (None, Change::Set { value, create: true } | Change::Insert { value, .. }) => {
                    items.insert(if at.is_some() { items.len() } else { 0 }, Cow::Borrowed(value));
                }
                (None, _) => {}
            }
            Ok(array(&items))
        }
    }
}

/// Without the fields that are null; elements of arrays stay.
fn without_nulls(document: &str) -> String {
    match level(document) {
        Level::Object(fields) => object(fields.into_iter().filter(|(_, value)| *value != "null").map(|(key, value)| (key, without_nulls(value))).collect()),
        Level::Array(items) => array(&items.into_iter().map(without_nulls).collect::<Vec<_>>()),
        Level::Scalar(scalar) => scalar.to_owned(),
    }
}

fn pretty(document: &str, depth: usize, out: &mut String) {
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n("    ", depth));
    };
    match level(document) {
        Level::Scalar(scalar) => out.push_str(scalar),
        Level::Object(fields) => {
            out.push('{');
            for (i, (key, value)) in fields.iter().enumerate() {
                out.push_str(if i > 0 { "," } else { "" });
                line(out, depth + 1);
                write_string(key, out);
                out.push_str(": ");
                pretty(value, depth + 1, out);
            }
            line(out, depth);
            out.push('}');
        }
        Level::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                out.push_str(if i > 0 { "," } else { "" });
                line(out, depth + 1);
                pretty(item, depth + 1, out);
            }
            line(out, depth);
            out.push(']');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(document: &str, path: &[&str], change: &Change<'_>) -> Result<String> {
        changed(document, &path.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>(), 0, change)
    }

    #[test]
    fn documents_are_joined_and_taken_from() {
        assert_eq!(joined(r#"{"b": 1, "a": 1}"#, r#"{"a": 2}"#), r#"{"a": 2, "b": 1}"#);
        assert_eq!(joined("[1]", r#"{"a": 2}"#), r#"[1, {"a": 2}]"#);
        assert_eq!(joined("1", "2"), "[1, 2]");
        assert_eq!(without_keys(r#"["a", "b"]"#, &["a"]).unwrap(), r#"["b"]"#);
        assert_eq!(without_place("[1, 2]", -1).unwrap(), "[1]");
        assert_eq!(without_place("[1, 2]", -3).unwrap(), "[1, 2]");
        assert_eq!(without_place("{}", 0).unwrap_err().sqlstate(), "22023");
        assert!(has(r#"{"a": 1}"#, "a") && has(r#"["a"]"#, "a") && !has(r#"["b"]"#, "a"));
    }

    #[test]
    fn a_change_stands_at_the_end_of_its_path() {
        let set = |create| Change::Set { value: "9", create };
        assert_eq!(change(r#"{"a": [1, {"b": 2}]}"#, &["a", "1", "b"], &set(true)).unwrap(), r#"{"a": [1, {"b": 9}]}"#);
        assert_eq!(change(r#"{"a": 1}"#, &["b"], &set(false)).unwrap(), r#"{"a": 1}"#);
        assert_eq!(change("[1, 2]", &["-5"], &set(true)).unwrap(), "[9, 1, 2]");
        assert_eq!(change("[1]", &["x"], &set(true)).unwrap_err().sqlstate(), "22P02");
        assert_eq!(change("[0, 1]", &["1"], &Change::Insert { value: "9", after: true }).unwrap(), "[0, 1, 9]");
        assert_eq!(change(r#"{"a": 1}"#, &["a"], &Change::Insert { value: "9", after: true }).unwrap_err().sqlstate(), "22023");
        assert_eq!(change("[1, [2, 3]]", &["1", "0"], &Change::Remove).unwrap(), "[1, [3]]");
    }

    #[test]
    fn nulls_go_and_lines_are_indented() {
        assert_eq!(without_nulls(r#"{"a": null, "c": [null, {"d": null}]}"#), r#"{"c": [null, {}]}"#);
        let mut out = String::new();
        pretty(r#"{"a": [1], "b": {}}"#, 0, &mut out);
        assert_eq!(out, "{\n    \"a\": [\n        1\n    ],\n    \"b\": {\n    }\n}");
    }
}
