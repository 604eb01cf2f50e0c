//! What the server sends besides rows: every message is appended to the connection's output buffer.

use super::backend::{Notice, ResultColumn};
use super::binary::put;
use super::encode::{Format, patch_length_with_itself};
use super::types;
use crate::error::{Error, Result};

/// How bad a message is, as clients see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    Error,
    /// The connection ends behind it.
    Fatal,
}

fn message(out: &mut Vec<u8>, kind: u8, body: impl FnOnce(&mut Vec<u8>)) {
    out.push(kind);
    let start = out.len();
    put(out, [0; 4]);
    body(out);
    patch_length_with_itself(out, start);
}

/// A zero byte ends a text here, so one inside it (out of a user's bytes) is left out.
fn text(out: &mut Vec<u8>, text: &str) {
    out.extend(text.bytes().filter(|b| *b != 0));
    out.push(0);
}

pub fn authentication_ok(out: &mut Vec<u8>) {
    message(out, b'R', |b| put(b, 0i32.to_be_bytes()));
}

pub fn parameter_status(out: &mut Vec<u8>, name: &str, value: &str) {
    message(out, b'S', |b| {
        text(b, name);
        text(b, value);
    });
}

pub fn backend_key(out: &mut Vec<u8>, process: i32, secret: i32) {
    message(out, b'K', |b| {
        put(b, process.to_be_bytes());
        put(b, secret.to_be_bytes());
    });
}

/// Only 3.0 is spoken: the newest minor version, and the options of the start-up message that are not known.
pub fn negotiate_version(out: &mut Vec<u8>, unknown_options: &[String]) {
    message(out, b'v', |b| {
        put(b, (3i32 << 16).to_be_bytes());
        put(b, (unknown_options.len() as i32).to_be_bytes());
        unknown_options.iter().for_each(|o| text(b, o));
    });
}

/// `status`: I, T or E.
pub fn ready(out: &mut Vec<u8>, status: u8) {
    message(out, b'Z', |b| b.push(status));
}

pub fn parse_complete(out: &mut Vec<u8>) {
    message(out, b'1', |_| {});
}

pub fn bind_complete(out: &mut Vec<u8>) {
    message(out, b'2', |_| {});
}

pub fn close_complete(out: &mut Vec<u8>) {
    message(out, b'3', |_| {});
}

pub fn no_data(out: &mut Vec<u8>) {
    message(out, b'n', |_| {});
}

pub fn portal_suspended(out: &mut Vec<u8>) {
    message(out, b's', |_| {});
}

pub fn empty_query(out: &mut Vec<u8>) {
    message(out, b'I', |_| {});
}

pub fn command_complete(out: &mut Vec<u8>, tag: &str) {
    message(out, b'C', |b| text(b, tag));
}

pub fn parameter_description(out: &mut Vec<u8>, oids: &[u32]) {
    message(out, b't', |b| {
        put(b, (oids.len() as u16).to_be_bytes());
        oids.iter().for_each(|oid| put(b, oid.to_be_bytes()));
    });
}

/// `formats` has one entry per column.
pub fn row_description(out: &mut Vec<u8>, columns: &[ResultColumn], formats: &[Format]) -> Result<()> {
    let described = columns.iter().map(types::of_column).collect::<Result<Vec<_>>>()?;
    message(out, b'T', |b| {
        put(b, (columns.len() as i16).to_be_bytes());
        for ((column, wire), format) in columns.iter().zip(described).zip(formats) {
            text(b, &column.name);
            put(b, column.table_oid.to_be_bytes());
            put(b, column.attribute.to_be_bytes());
            put(b, wire.oid.to_be_bytes());
            put(b, wire.size.to_be_bytes());
            put(b, wire.modifier.to_be_bytes());
            put(b, format.code().to_be_bytes());
        }
    });
    Ok(())
}

pub fn error(out: &mut Vec<u8>, severity: Severity, error: &Error) {
    let severity = match severity {
        Severity::Error => "ERROR",
        Severity::Fatal => "FATAL",
    };
    message(out, b'E', |b| fields(b, severity, error.sqlstate(), error));
}

pub fn notice(out: &mut Vec<u8>, notice: &Notice) {
    match notice {
        Notice::ParameterStatus { name, value } => parameter_status(out, name, value),
        Notice::Message { severity, error } => {
            // A notice has the code of success, a warning that of what it warns of.
            let code = if *severity == "NOTICE" { "00000" } else { error.sqlstate() };
            message(out, b'N', |b| fields(b, severity, code, error));
        }
    }
}

fn fields(out: &mut Vec<u8>, severity: &str, code: &str, error: &Error) {
    let position = error.position().map(|p| p.to_string());
    let fields = [
        (b'S', Some(severity)),
        (b'V', Some(severity)),
        (b'C', Some(code)),
        (b'M', Some(error.message())),
        (b'D', error.detail()),
        (b'H', error.hint()),
        (b'P', position.as_deref()),
    ];
    for (field, value) in fields {
        if let Some(value) = value {
            out.push(field);
            text(out, value);
        }
    }
    out.push(0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn messages_carry_their_length_and_texts_lose_zero_bytes() {
        let mut out = Vec::new();
        command_complete(&mut out, "SELECT 1");
        assert_eq!(out, b"C\0\0\0\x0dSELECT 1\0");
        out.clear();
        error(&mut out, Severity::Error, &Error::new(Kind::Syntax, "a\0b").at(3));
        assert_eq!(out, b"E\0\0\0\x21SERROR\0VERROR\0C42601\0Mab\0P3\0\0");
    }
}
