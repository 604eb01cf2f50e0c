//! Bytes and texts: `convert_from`, `convert_to`, `get_byte`, and `||` of bytea.

use super::table::{Overload, Type, function};
use crate::error::{Error, Kind, Result};
use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, Int32Array, StringBuilder};
use arrow::datatypes::Int32Type;
use datafusion::logical_expr::ScalarUDF;
use std::sync::Arc;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    vec![function("convert_from", &CONVERT_FROM), function("convert_to", &CONVERT_TO), function("get_byte", &GET_BYTE), concat()]
}

/// `bytea || bytea`.
pub fn concat() -> Arc<ScalarUDF> {
    function("byteacat", &CONCAT)
}

const CONVERT_FROM: [Overload; 1] = [Overload { takes: &[Type::Bytes, Type::Text], gives: Type::Text, run: convert_from }];
const CONVERT_TO: [Overload; 1] = [Overload { takes: &[Type::Text, Type::Text], gives: Type::Bytes, run: convert_to }];
const GET_BYTE: [Overload; 1] = [Overload { takes: &[Type::Bytes, Type::Integer], gives: Type::Integer, run: get_byte }];
const CONCAT: [Overload; 1] = [Overload { takes: &[Type::Bytes, Type::Bytes], gives: Type::Bytes, run: concatenated }];

/// Encodings that we convert: UTF-8 and those within it.
#[derive(Clone, Copy, PartialEq)]
enum Encoding {
    Utf8,
    Ascii,
    Latin1,
}

fn encoding(name: &str) -> Result<Encoding> {
    let plain: String = name.chars().filter(|c| c.is_ascii_alphanumeric()).collect::<String>().to_ascii_lowercase();
    match plain.as_str() {
        "utf8" | "unicode" => Ok(Encoding::Utf8),
        "sqlascii" => Ok(Encoding::Ascii),
        "latin1" | "iso88591" => Ok(Encoding::Latin1),
        _ => Err(Error::not_supported(format!("encoding \"{name}\" is not supported")).with_hint("encodings are UTF8 and LATIN1")),
    }
}

fn convert_from(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let (bytes, names) = (columns[0].as_binary::<i32>(), columns[1].as_string::<i32>());
    let mut texts = StringBuilder::with_capacity(bytes.len(), bytes.value_data().len());
    for row in 0..bytes.len() {
        let value = bytes.value(row);
        match encoding(names.value(row))? {
            Encoding::Latin1 => texts.append_value(value.iter().map(|b| char::from(*b)).collect::<String>()),
            Encoding::Utf8 | Encoding::Ascii => texts.append_value(utf8(value)?),
        }
    }
    Ok(Arc::new(texts.finish()))
}

fn utf8(value: &[u8]) -> Result<&str> {
    let invalid = |at: usize, length: usize| {
        let bytes: Vec<String> = value[at..(at + length).min(value.len())].iter().map(|b| format!("0x{b:02x}")).collect();
        Error::new(Kind::InvalidEncoding, format!("invalid byte sequence for encoding \"UTF8\": {}", bytes.join(" ")))
    };
    if let Some(at) = memchr::memchr(0, value) {
        return Err(invalid(at, 1));
    }
    std::str::from_utf8(value).map_err(|e| invalid(e.valid_up_to(), e.error_len().unwrap_or(value.len() - e.valid_up_to())))
}

fn convert_to(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let (texts, names) = (columns[0].as_string::<i32>(), columns[1].as_string::<i32>());
    let mut out: Vec<Vec<u8>> = Vec::with_capacity(texts.len());
    for row in 0..texts.len() {
        let text = texts.value(row);
        out.push(match encoding(names.value(row))? {
            Encoding::Latin1 => text.chars().map(latin1).collect::<Result<_>>()?,
            Encoding::Utf8 | Encoding::Ascii => text.as_bytes().to_vec(),
        });
    }
    Ok(Arc::new(BinaryArray::from_iter_values(out)))
}

fn latin1(c: char) -> Result<u8> {
    u8::try_from(u32::from(c)).map_err(|_| {
        let message = format!("character with code point {} has no equivalent in encoding \"LATIN1\"", u32::from(c));
        Error::new(Kind::InvalidEncoding, message)
    })
}

fn get_byte(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let (bytes, places) = (columns[0].as_binary::<i32>(), columns[1].as_primitive::<Int32Type>());
    let values = (0..bytes.len()).map(|row| {
        let (value, place) = (bytes.value(row), places.value(row));
        let found = usize::try_from(place).ok().and_then(|place| value.get(place));
        let range = || Error::new(Kind::ArraySubscript, format!("index {place} out of valid range, 0..{}", value.len() as i64 - 1));
        found.map(|byte| i32::from(*byte)).ok_or_else(range)
    });
    Ok(Arc::new(Int32Array::from(values.collect::<Result<Vec<i32>>>()?)))
}

fn concatenated(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let (left, right) = (columns[0].as_binary::<i32>(), columns[1].as_binary::<i32>());
    Ok(Arc::new(BinaryArray::from_iter_values((0..left.len()).map(|row| [left.value(row), right.value(row)].concat()))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::StringArray;

    fn from(bytes: &[u8], name: &str) -> Result<String> {
        let result = convert_from(&[Arc::new(BinaryArray::from_iter_values([bytes])), Arc::new(StringArray::from(vec![name]))])?;
        Ok(result.as_string::<i32>().value(0).to_owned())
    }

    #[test]
    fn bytes_are_checked_when_they_become_text() {
        assert_eq!(from("äb".as_bytes(), "UTF8").unwrap(), "äb");
        assert_eq!(from(&[0xe4], "latin1").unwrap(), "ä");
        let error = from(&[b'a', 0xff], "utf-8").unwrap_err();
        assert_eq!((error.sqlstate(), error.message()), ("22021", "invalid byte sequence for encoding \"UTF8\": 0xff"));
        assert_eq!(from(&[b'a', 0], "UTF8").unwrap_err().sqlstate(), "22021");
        assert_eq!(from(&[], "klingon").unwrap_err().sqlstate(), "0A000");
        assert!(latin1('€').is_err());
    }
}
