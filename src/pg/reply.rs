//! The server's messages that take more than a line to make: the others are made where they are sent. All but rows are
//! pgwire's types, and encoded by it ([`super::wire::Wire::put`]); rows are written by encode.rs.

use super::backend::ResultColumn;
use super::encode::Format;
use super::types;
use crate::error::{Error, Kind, Result};
use pgwire::error::ErrorInfo;
use pgwire::messages::data::{FieldDescription, RowDescription};
use pgwire::messages::response::{CommandComplete, ErrorResponse, NoticeResponse, ReadyForQuery, TransactionStatus};
use pgwire::messages::startup::ParameterStatus;

/// How bad a message is, as clients see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    Error,
    /// The connection ends behind it.
    Fatal,
}

/// A zero byte ends a text on the wire, which pgwire leaves to its caller: one out of a user's bytes is left out.
fn text(text: &str) -> String {
    text.replace('\0', "")
}

pub fn parameter_status(name: &str, value: &str) -> ParameterStatus {
    ParameterStatus::new(text(name), text(value))
}

pub fn command_complete(tag: &str) -> CommandComplete {
    CommandComplete::new(text(tag))
}

/// `status`: I, T or E.
pub fn ready(status: u8) -> ReadyForQuery {
    ReadyForQuery::new(match status {
        b'I' => TransactionStatus::Idle,
        b'T' => TransactionStatus::Transaction,
        _ => TransactionStatus::Error,
    })
}

/// `formats` has one entry per column.
pub fn row_description(columns: &[ResultColumn], formats: &[Format]) -> Result<RowDescription> {
    let fields = columns.iter().zip(formats).map(|(column, format)| {
        let wire = types::of_column(column)?;
        let (name, table) = (text(&column.name), column.table_oid as i32);
        Ok(FieldDescription::new(name, table, column.attribute, wire.oid, wire.size, wire.modifier, format.code()))
    });
    Ok(RowDescription::new(fields.collect::<Result<_>>()?))
}

pub fn error(severity: Severity, error: &Error) -> ErrorResponse {
    let severity = match severity {
        Severity::Error => "ERROR",
        Severity::Fatal => "FATAL",
    };
    info(severity, error.sqlstate(), error).into()
}

/// A notice has the code of success, but where something is there already; a warning that of what it warns of.
pub fn notice(severity: &str, error: &Error) -> NoticeResponse {
    let code = match (severity, error.sqlstate()) {
        (_, code @ ("42P06" | "42P07")) => code,
        ("NOTICE", _) => "00000",
        (_, code) => code,
    };
    info(severity, code, error).into()
}

fn info(severity: &str, code: &str, error: &Error) -> ErrorInfo {
    let mut info = ErrorInfo::new(severity.to_string(), code.to_string(), text(error.message()));
    info.severity_nonlocalized = Some(severity.to_string());
    info.detail = error.detail().map(text);
    info.hint = error.hint().map(text);
    let about = error.is_about();
    (info.schema, info.table) = (about.schema.as_deref().map(text), about.table.as_deref().map(text));
    (info.column, info.constraint) = (about.column.as_deref().map(text), about.constraint.as_deref().map(text));
    info.where_context = error.context().map(text);
    // By this clients know that they are to prepare it anew.
    info.routine = (error.kind() == Kind::StalePlan).then(|| "RevalidateCachedQuery".to_owned());
    info.position = error.position().map(|p| p.to_string());
    info
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pg::wire::Wire;
    use arrow::datatypes::{DataType, Field};
    use pgwire::messages::Message;
    use std::sync::Arc;

    fn encoded(message: &impl Message) -> Vec<u8> {
        let mut wire = Wire::new(tokio::io::empty(), tokio::io::sink());
        wire.put(message).unwrap();
        wire.out
    }

    #[test]
    fn messages_carry_their_length_and_texts_lose_zero_bytes() {
        assert_eq!(encoded(&command_complete("SELECT 1")), b"C\0\0\0\x0dSELECT 1\0");
        let e = Error::new(Kind::Syntax, "a\0b").at(3);
        assert_eq!(encoded(&error(Severity::Error, &e)), b"E\0\0\0\x21SERROR\0VERROR\0C42601\0Mab\0P3\0\0");
        let e = Error::new(Kind::UndefinedTable, "m").with_detail("d").with_hint("h");
        assert_eq!(encoded(&notice("NOTICE", &e)), b"N\0\0\0\x25SNOTICE\0VNOTICE\0C00000\0Mm\0Dd\0Hh\0\0");
        assert_eq!(encoded(&ready(b'T')), b"Z\0\0\0\x05T");
        let column = ResultColumn { name: "i\0d".into(), field: Arc::new(Field::new("id", DataType::Int32, false)), table_oid: u32::MAX, attribute: 2 };
        let described = b"T\0\0\0\x1b\0\x01id\0\xff\xff\xff\xff\0\x02\0\0\0\x17\0\x04\xff\xff\xff\xff\0\x01";
        assert_eq!(encoded(&row_description(&[column], &[Format::Binary]).unwrap()), described);
    }

    #[test]
    fn a_message_that_no_client_would_take_is_not_begun() {
        let mut wire = Wire::new(tokio::io::empty(), tokio::io::sink());
        wire.put(&ready(b'I')).unwrap();
        assert_eq!(wire.put(&parameter_status("application_name", &"x".repeat(40_000))).unwrap_err().sqlstate(), "54001");
        assert_eq!(wire.out, b"Z\0\0\0\x05I");
    }
}
