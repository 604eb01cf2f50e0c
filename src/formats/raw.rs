//! Records as they are, in one column of type bytea or text.

use super::format::{Decoded, Decoder, Payloads};
use crate::error::{Error, Result};
use arrow::array::{ArrayRef, BinaryBuilder, StringBuilder};
use arrow::datatypes::{DataType, Schema};
use std::sync::Arc;

/// Takes each record whole.
pub struct RawDecoder {
    text: bool,
}

impl RawDecoder {
    /// Error: anything else than one column of type bytea or text.
    pub fn new(schema: &Schema) -> Result<RawDecoder> {
        match schema.fields().iter().map(|f| f.data_type()).collect::<Vec<_>>()[..] {
            [DataType::Binary] => Ok(RawDecoder { text: false }),
            [DataType::Utf8] => Ok(RawDecoder { text: true }),
            _ => Err(Error::not_supported("ENCODE BYTES and ENCODE TEXT fill exactly one column of type bytea or text")
                .with_hint("declare one column, or use ENCODE JSON or ENCODE CSV")),
        }
    }
}

impl Decoder for RawDecoder {
    fn decode(&mut self, records: &Payloads) -> Result<Decoded> {
        let mut bad = Vec::new();
        let column: ArrayRef = if self.text {
            let mut builder = StringBuilder::with_capacity(records.len(), records.bytes());
            for i in 0..records.len() {
                match records.get(i).map(std::str::from_utf8) {
                    Some(Ok(text)) => builder.append_value(text),
                    Some(Err(_)) => bad.push((i, "the record is not UTF-8".to_string())),
                    None => bad.push((i, "the record has no payload".to_string())),
                }
            }
            Arc::new(builder.finish())
        } else {
            let mut builder = BinaryBuilder::with_capacity(records.len(), records.bytes());
            for i in 0..records.len() {
                match records.get(i) {
                    Some(bytes) => builder.append_value(bytes),
                    None => bad.push((i, "the record has no payload".to_string())),
                }
            }
            Arc::new(builder.finish())
        };
        Ok(Decoded { columns: vec![column], bad })
    }
}
