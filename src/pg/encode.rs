//! Result rows: from Arrow columns straight into DataRow messages.
//!
//! This message alone is not pgwire's, whose DataRow is a buffer per row that is copied into the next one. Rows are the
//! hot path: a [`RowEncoder`] knows the result's types and the client's formats. Per batch it resolves each column once;
//! per value it then writes into the connection's one output buffer, with the length patched in behind, and allocates
//! nothing.

use super::backend::ResultColumn;
use super::binary::{self, patch_length, put};
use crate::error::{Error, Kind, Result};
use crate::types::text::{self, TextStyle, canonical_array};
use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::Field;
use std::sync::Arc;

/// How a client wants a column, or sends a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Text,
    Binary,
}

impl Format {
    pub fn code(self) -> i16 {
        match self {
            Format::Text => 0,
            Format::Binary => 1,
        }
    }

    fn from_code(code: i16) -> Result<Format> {
        match code {
            0 => Ok(Format::Text),
            1 => Ok(Format::Binary),
            other => Err(Error::new(Kind::InvalidParameter, format!("unsupported format code: {other}"))),
        }
    }

    /// The format of each of `count` things: no code means text for all, one code holds for all. `None`: another number of codes.
    pub fn spread(codes: &[i16], count: usize) -> Result<Option<Vec<Format>>> {
        match codes {
            [] => Ok(Some(vec![Format::Text; count])),
            [one] => Ok(Some(vec![Format::from_code(*one)?; count])),
            many if many.len() == count => many.iter().map(|c| Format::from_code(*c)).collect::<Result<_>>().map(Some),
            _ => Ok(None),
        }
    }
}

/// What stays the same over all batches of a result.
pub struct RowEncoder {
    columns: Vec<(Arc<Field>, Format)>,
    style: TextStyle,
}

impl RowEncoder {
    /// `formats` has one entry per column.
    pub fn new(columns: &[ResultColumn], formats: &[Format], style: TextStyle) -> RowEncoder {
        let columns = columns.iter().zip(formats).map(|(c, f)| (c.field.clone(), *f)).collect();
        RowEncoder { columns, style }
    }

    /// Resolves the columns' types; cheap enough to be done for a few rows. `arrays`: see [`prepare`].
    pub fn rows<'a>(&self, arrays: &'a [ArrayRef]) -> Result<Rows<'a>> {
        if arrays.len() != self.columns.len() {
            return Err(Error::internal(format!("a batch has {} columns, its result has {}", arrays.len(), self.columns.len())));
        }
        let cells = self.columns.iter().zip(arrays).map(|((field, format), array)| {
            Ok(match format {
                Format::Text => Cell::Text(text::Column::new(field, array.as_ref(), &self.style)?),
                Format::Binary => Cell::Binary(binary::Column::new(field, array.as_ref())?),
            })
        });
        Ok(Rows { cells: cells.collect::<Result<_>>()? })
    }
}

/// A batch's columns in the layout that [`RowEncoder::rows`] wants.
pub fn prepare(batch: &RecordBatch) -> Result<Vec<ArrayRef>> {
    batch.columns().iter().map(canonical_array).collect()
}

enum Cell<'a> {
    Text(text::Column<'a>),
    Binary(binary::Column<'a>),
}

/// One batch, ready to be written.
pub struct Rows<'a> {
    cells: Vec<Cell<'a>>,
}

impl Rows<'_> {
    /// Appends one DataRow message; on an error the buffer is as it was.
    pub fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        let start = out.len();
        out.push(b'D');
        put(out, [0; 4]);
        put(out, (self.cells.len() as i16).to_be_bytes());
        for cell in &self.cells {
            let written = match cell {
                Cell::Text(column) => {
                    write_text(column, row, out);
                    Ok(())
                }
                Cell::Binary(column) => column.write_with_length(row, out),
            };
            if written.is_err() {
                out.truncate(start);
                return written;
            }
        }
        if out.len() - start > i32::MAX as usize {
            out.truncate(start);
            return Err(Error::new(Kind::TooComplex, "a result row is larger than 2 GB"));
        }
        patch_length_with_itself(out, start + 1);
        Ok(())
    }
}

fn write_text(column: &text::Column<'_>, row: usize, out: &mut Vec<u8>) {
    if column.is_null(row) {
        put(out, (-1i32).to_be_bytes());
        return;
    }
    let start = out.len();
    put(out, [0; 4]);
    column.write(row, out);
    patch_length(out, start);
}

/// A message's length counts its own four bytes, a value's does not.
pub(crate) fn patch_length_with_itself(out: &mut [u8], start: usize) {
    let length = (out.len() - start) as i32;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int32Array, StringArray};
    use arrow::datatypes::DataType;

    #[test]
    fn a_row_is_a_message_with_lengths() {
        let column = |t: DataType| ResultColumn { name: "c".into(), field: Arc::new(Field::new("c", t, true)), table_oid: 0, attribute: 0 };
        let columns = [column(DataType::Int32), column(DataType::Utf8)];
        let encoder = RowEncoder::new(&columns, &[Format::Binary, Format::Text], TextStyle::UTC);
        let arrays: Vec<ArrayRef> = vec![Arc::new(Int32Array::from(vec![7])), Arc::new(StringArray::from(vec![None::<&str>]))];
        let mut out = Vec::new();
        encoder.rows(&arrays).unwrap().write(0, &mut out).unwrap();
        assert_eq!(out, b"D\0\0\0\x12\0\x02\0\0\0\x04\0\0\0\x07\xff\xff\xff\xff");
    }

    #[test]
    fn format_codes_are_none_one_or_all() {
        use Format::{Binary, Text};
        assert_eq!(Format::spread(&[], 2).unwrap(), Some(vec![Text, Text]));
        assert_eq!(Format::spread(&[1], 2).unwrap(), Some(vec![Binary, Binary]));
        assert_eq!(Format::spread(&[1, 0], 2).unwrap(), Some(vec![Binary, Text]));
        assert_eq!(Format::spread(&[1, 0], 3).unwrap(), None);
        assert!(Format::spread(&[2], 1).is_err());
    }
}
