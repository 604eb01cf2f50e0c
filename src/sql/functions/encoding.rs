//! Bytes as text and back: `encode`, `decode`; and their bits: `octet_length`, `bit_length`, `bit_count`, `get_bit`, `set_bit`, `set_byte`.

use super::table::{Overload, Type, function};
use crate::error::{Error, Kind, Result};
use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, Int32Array, Int64Array, StringArray};
use arrow::datatypes::Int32Type;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use datafusion::logical_expr::ScalarUDF;
use std::sync::Arc;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    vec![
        function("encode", &ENCODE),
        function("decode", &DECODE),
        function("octet_length", &OCTET_LENGTH),
        function("bit_length", &BIT_LENGTH),
        function("bit_count", &BIT_COUNT),
        function("get_bit", &GET_BIT),
        function("set_bit", &SET_BIT),
        function("set_byte", &SET_BYTE),
    ]
}

const ENCODE: [Overload; 1] = [Overload { takes: &[Type::Bytes, Type::Text], gives: Type::Text, run: encoded }];
const DECODE: [Overload; 1] = [Overload { takes: &[Type::Text, Type::Text], gives: Type::Bytes, run: decoded }];
const OCTET_LENGTH: [Overload; 2] = [
    Overload { takes: &[Type::Text], gives: Type::Integer, run: |c| Ok(lengths_of_texts(c, 1)) },
    Overload { takes: &[Type::Bytes], gives: Type::Integer, run: |c| Ok(lengths_of_bytes(c, 1)) },
];
const BIT_LENGTH: [Overload; 2] = [
    Overload { takes: &[Type::Text], gives: Type::Integer, run: |c| Ok(lengths_of_texts(c, 8)) },
    Overload { takes: &[Type::Bytes], gives: Type::Integer, run: |c| Ok(lengths_of_bytes(c, 8)) },
];
const BIT_COUNT: [Overload; 1] = [Overload {
    takes: &[Type::Bytes],
    gives: Type::Bigint,
    run: |c| {
        Ok(Arc::new(c[0].as_binary::<i32>().iter().flatten().map(|b| b.iter().map(|byte| i64::from(byte.count_ones())).sum::<i64>()).collect::<Int64Array>()))
    },
}];
const GET_BIT: [Overload; 1] = [Overload { takes: &[Type::Bytes, Type::Integer], gives: Type::Integer, run: bits }];
const SET_BIT: [Overload; 1] = [Overload { takes: &[Type::Bytes, Type::Integer, Type::Integer], gives: Type::Bytes, run: with_bits }];
const SET_BYTE: [Overload; 1] = [Overload { takes: &[Type::Bytes, Type::Integer, Type::Integer], gives: Type::Bytes, run: with_bytes }];

fn lengths_of_texts(columns: &[ArrayRef], each: usize) -> ArrayRef {
    Arc::new(columns[0].as_string::<i32>().iter().map(|text| text.map(|t| (t.len() * each) as i32)).collect::<Int32Array>())
}

fn lengths_of_bytes(columns: &[ArrayRef], each: usize) -> ArrayRef {
    Arc::new(columns[0].as_binary::<i32>().iter().map(|bytes| bytes.map(|b| (b.len() * each) as i32)).collect::<Int32Array>())
}

/// Characters of a line of base64.
const LINE: usize = 76;

#[derive(Clone, Copy)]
enum Form {
    Hex,
    Base64,
    Escape,
}

fn form(name: &str) -> Result<Form> {
    match name.to_ascii_lowercase().as_str() {
        "hex" => Ok(Form::Hex),
        "base64" => Ok(Form::Base64),
        "escape" => Ok(Form::Escape),
        _ => Err(Error::new(Kind::InvalidParameter, format!("unrecognized encoding: \"{name}\""))),
    }
}

fn encoded(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let (bytes, names) = (columns[0].as_binary::<i32>(), columns[1].as_string::<i32>());
    let text = |row: usize| -> Result<String> {
        let value = bytes.value(row);
        Ok(match form(names.value(row))? {
            Form::Hex => value.iter().map(|byte| format!("{byte:02x}")).collect(),
            Form::Base64 => {
                let whole = STANDARD.encode(value);
                let lines: Vec<&str> = (0..whole.len()).step_by(LINE).map(|at| &whole[at..(at + LINE).min(whole.len())]).collect();
                lines.join("\n")
            }
            Form::Escape => value.iter().map(|byte| escaped(*byte)).collect(),
        })
    };
    Ok(Arc::new(StringArray::from((0..bytes.len()).map(text).collect::<Result<Vec<String>>>()?)))
}

/// Zero and bytes that are no ASCII are octal, a backslash is doubled.
fn escaped(byte: u8) -> String {
    match byte {
        b'\\' => "\\\\".to_owned(),
        0 | 0x80.. => format!("\\{byte:03o}"),
        plain => char::from(plain).to_string(),
    }
}

fn decoded(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let (texts, names) = (columns[0].as_string::<i32>(), columns[1].as_string::<i32>());
    let bytes = |row: usize| match form(names.value(row))? {
        Form::Hex => of_hex(texts.value(row)),
        Form::Base64 => of_base64(texts.value(row)),
        Form::Escape => of_escape(texts.value(row)),
    };
    Ok(Arc::new(BinaryArray::from_iter_values((0..texts.len()).map(bytes).collect::<Result<Vec<Vec<u8>>>>()?)))
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(Kind::InvalidParameter, message)
}

fn of_hex(text: &str) -> Result<Vec<u8>> {
    let digits = text.chars().filter(|c| !c.is_ascii_whitespace());
    let digits: Vec<u8> =
        digits.map(|c| c.to_digit(16).map(|d| d as u8).ok_or_else(|| invalid(format!("invalid hexadecimal digit: \"{c}\"")))).collect::<Result<_>>()?;
    if digits.len() % 2 == 1 {
        return Err(invalid("invalid hexadecimal data: odd number of digits"));
    }
    Ok(digits.chunks(2).map(|pair| pair[0] * 16 + pair[1]).collect())
}

fn of_base64(text: &str) -> Result<Vec<u8>> {
    let plain: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    if let Some(symbol) = plain.chars().find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '+' | '/' | '=')) {
        return Err(invalid(format!("invalid symbol \"{symbol}\" found while decoding base64 sequence")));
    }
    STANDARD
        .decode(&plain)
        .map_err(|_| invalid("invalid base64 end sequence").with_hint("Input data is missing padding, is truncated, or is otherwise corrupted."))
}

fn of_escape(text: &str) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.as_bytes();
    while let [first, rest @ ..] = bytes {
        let octal = |d: u8| (b'0'..=b'7').contains(&d).then(|| u32::from(d - b'0'));
        let (byte, taken) = match (first, rest) {
            (b'\\', [b'\\', ..]) => (b'\\', 2),
            (b'\\', [a @ b'0'..=b'3', b, c, ..]) if octal(*b).is_some() && octal(*c).is_some() => {
                ((octal(*a).unwrap_or(0) * 64 + octal(*b).unwrap_or(0) * 8 + octal(*c).unwrap_or(0)) as u8, 4)
            }
            (b'\\', _) => return Err(Error::new(Kind::InvalidText, "invalid input syntax for type bytea")),
            (plain, _) => (*plain, 1),
        };
        out.push(byte);
        bytes = &bytes[taken..];
    }
    Ok(out)
}

/// The place of the `n`-th of `count` things.
fn place(n: i32, count: usize) -> Result<usize> {
    let found = usize::try_from(n).ok().filter(|n| *n < count);
    found.ok_or_else(|| Error::new(Kind::ArraySubscript, format!("index {n} out of valid range, 0..{}", count as i64 - 1)))
}

fn bits(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let (bytes, places) = (columns[0].as_binary::<i32>(), columns[1].as_primitive::<Int32Type>());
    let bit = |row: usize| {
        let at = place(places.value(row), bytes.value(row).len() * 8)?;
        Ok(i32::from(bytes.value(row)[at / 8] >> (at % 8) & 1))
    };
    Ok(Arc::new(Int32Array::from((0..bytes.len()).map(bit).collect::<Result<Vec<i32>>>()?)))
}

fn with_bits(columns: &[ArrayRef]) -> Result<ArrayRef> {
    changed(columns, 8, |value, at, new| {
        match new {
            0 => value[at / 8] &= !(1 << (at % 8)),
            1 => value[at / 8] |= 1 << (at % 8),
            _ => return Err(invalid("new bit must be 0 or 1")),
        }
        Ok(())
    })
}

fn with_bytes(columns: &[ArrayRef]) -> Result<ArrayRef> {
    changed(columns, 1, |value, at, new| {
        value[at] = new as u8;
        Ok(())
    })
}

fn changed(columns: &[ArrayRef], per_byte: usize, change: impl Fn(&mut [u8], usize, i32) -> Result<()>) -> Result<ArrayRef> {
    let bytes = columns[0].as_binary::<i32>();
    let [places, news] = [1, 2].map(|i| columns[i].as_primitive::<Int32Type>());
    let one = |row: usize| {
        let mut value = bytes.value(row).to_vec();
        let at = place(places.value(row), value.len() * per_byte)?;
        change(&mut value, at, news.value(row))?;
        Ok(value)
    };
    Ok(Arc::new(BinaryArray::from_iter_values((0..bytes.len()).map(one).collect::<Result<Vec<Vec<u8>>>>()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_from_their_texts() {
        let value: Vec<u8> = (0..=255).collect();
        for name in ["hex", "base64", "escape"] {
            let names = Arc::new(StringArray::from(vec![name])) as ArrayRef;
            let text = encoded(&[Arc::new(BinaryArray::from_iter_values([&value])), names.clone()]).unwrap();
            assert_eq!(decoded(&[text, names]).unwrap().as_binary::<i32>().value(0), value, "{name}");
        }
        assert_eq!(of_hex("1").unwrap_err().message(), "invalid hexadecimal data: odd number of digits");
        assert_eq!(of_base64("A").unwrap_err().sqlstate(), "22023");
        assert_eq!(place(5, 2).unwrap_err().message(), "index 5 out of valid range, 0..1");
    }
}
