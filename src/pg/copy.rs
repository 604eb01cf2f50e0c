//! COPY: rows to the client and from it, in text, CSV and binary format.
//!
//! Rows come in as messages that end anywhere; [`Incoming`] cuts them, and reads each value as the column's type, so that a wrong one is told with its line and
//! column. The session gets them in batches as they come, and has nothing of them in the table before all of them are.

use super::backend::ResultColumn;
use super::binary;
use super::connection::Connection;
use super::decode::decode_parameter;
use super::encode::{Format, prepare};
use super::frame::MAX_MESSAGE_BYTES;
use super::portal::{next_batch, row_tag};
use super::types;
use super::wire::{FLUSH_BYTES, Stop};
use crate::error::{Error, Kind, Result};
use crate::types::copy::{CopyFormat, CopyOptions, ForceQuote};
use crate::types::text::{self, Reader, TYPMOD_KEY, TextStyle};
use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, new_empty_array};
use arrow::compute::concat;
use arrow::datatypes::{DataType, FieldRef, Schema};
use futures::stream::BoxStream;
use pgwire::messages::PgWireFrontendMessage as Message;
use pgwire::messages::copy::{CopyDone, CopyInResponse, CopyOutResponse};
use std::sync::Arc;

/// What a binary COPY begins with: the signature, no flags, no extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// And ends with: a row of -1 fields.
const TRAILER: [u8; 2] = (-1i16).to_be_bytes();
/// Rows of one batch that is read, and bytes of their text: what a COPY FROM holds in memory here.
const BATCH_ROWS: usize = 8192;
const BATCH_BYTES: usize = 1 << 20;
/// Bytes of one row, as of one INSERT.
const ROW_BYTES_MAX: usize = MAX_MESSAGE_BYTES;

impl Connection<'_> {
    /// Sends all rows. Gives the tag.
    pub(super) async fn copy_out(
        &mut self,
        columns: &[ResultColumn],
        mut stream: BoxStream<'static, Result<RecordBatch>>,
        options: &CopyOptions,
    ) -> Result<String, Stop> {
        let (format, codes) = codes(options, columns.len());
        let quoted = quoted(columns, options)?;
        self.wire.put(&CopyOutResponse::new(format, columns.len() as i16, codes))?;
        let fields: Vec<FieldRef> = columns.iter().map(|c| c.field.clone()).collect();
        let writer = Outgoing { fields, quoted, options, style: self.style() };
        if options.format != CopyFormat::Binary && options.header {
            let names: Vec<&str> = columns.iter().map(|c| c.name.as_str()).collect();
            data(&mut self.wire.out, |out| writer.names(&names, out));
        }
        // The header is no row: clients want it in one message with the first one.
        let mut head = if options.format == CopyFormat::Binary { HEADER } else { &[] };
        let mut rows = 0;
        while let Some(Some(batch)) = next_batch(&mut stream, self.wire, &mut self.interrupts, None).await? {
            let arrays = prepare(&batch)?;
            let cells = writer.cells(&arrays)?;
            for row in 0..batch.num_rows() {
                let mut written = Ok(());
                data(&mut self.wire.out, |out| {
                    out.extend_from_slice(std::mem::take(&mut head));
                    written = writer.row(&cells, row, out);
                });
                written?;
                if self.wire.pending() >= FLUSH_BYTES {
                    self.interrupts.flush(self.wire).await?;
                }
            }
            rows += batch.num_rows() as u64;
        }
        if options.format == CopyFormat::Binary {
            data(&mut self.wire.out, |out| {
                out.extend_from_slice(head);
                out.extend_from_slice(&TRAILER);
            });
        }
        self.wire.put(&CopyDone::new())?;
        self.complete_rows(&row_tag("COPY", rows), rows)?;
        Ok("COPY".into())
    }

    /// Takes all rows, then has them written. Gives the tag.
    pub(super) async fn copy_in(&mut self, relation: &str, columns: &[ResultColumn], options: &CopyOptions) -> Result<String, Stop> {
        let (format, codes) = codes(options, columns.len());
        self.wire.put(&CopyInResponse::new(format, columns.len() as i16, codes))?;
        self.interrupts.finish(self.wire).await?;
        let mut incoming = Incoming::new(relation, columns.iter().map(|c| c.field.clone()).collect(), options, self.style())?;
        loop {
            let Some(frame) = self.interrupts.copied(self.wire).await? else { return Err(Stop::Gone) };
            match frame.message()? {
                Message::CopyData(chunk) => {
                    incoming.take(&chunk.data)?;
                    self.hand_over(&mut incoming).await?;
                }
                // Sent before the client knew that it would copy.
                Message::Flush(_) | Message::Sync(_) => {}
                Message::CopyDone(_) => break,
                Message::CopyFail(failure) => {
                    let error = Error::new(Kind::QueryCanceled, format!("COPY from stdin failed: {}", failure.message));
                    return Err(error.in_context(format!("COPY {relation}, line {}", incoming.line)).into());
                }
                _ => return Err(Error::new(Kind::Protocol, "unexpected message type during COPY from stdin").into()),
            }
        }
        incoming.finish()?;
        self.hand_over(&mut incoming).await?;
        let rows = self.interrupts.guard(self.wire, self.session.copied()).await?;
        self.take_notices()?;
        self.complete_command(&row_tag("COPY", rows))?;
        Ok("COPY".into())
    }

    /// Whole batches go to the session.
    async fn hand_over(&mut self, incoming: &mut Incoming<'_>) -> Result<(), Stop> {
        for batch in std::mem::take(&mut incoming.batches) {
            self.interrupts.guard(self.wire, self.session.copy_rows(batch)).await?;
        }
        Ok(())
    }
}

/// The overall format, and that of each column.
fn codes(options: &CopyOptions, columns: usize) -> (i8, Vec<i16>) {
    let binary = options.format == CopyFormat::Binary;
    (i8::from(binary), vec![i16::from(binary); columns])
}

/// Appends one CopyData message.
fn data(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[b'd', 0, 0, 0, 0]);
    write(out);
    super::encode::patch_length_with_itself(out, start + 1);
}

/// Rows on their way out.
struct Outgoing<'a> {
    fields: Vec<FieldRef>,
    /// By column: its values are quoted, whatever they are.
    quoted: Vec<bool>,
    options: &'a CopyOptions,
    style: TextStyle,
}

enum Cells<'a> {
    Text(Vec<text::Column<'a>>),
    Binary(Vec<binary::Column<'a>>),
}

/// Which of the columns FORCE_QUOTE names. Error: one that is not copied (42P10).
fn quoted(columns: &[ResultColumn], options: &CopyOptions) -> Result<Vec<bool>> {
    let ForceQuote::Columns(names) = &options.force_quote else { return Ok(vec![options.force_quote == ForceQuote::All; columns.len()]) };
    if let Some(missing) = names.iter().find(|name| columns.iter().all(|c| c.name != **name)) {
        return Err(Error::new(Kind::InvalidColumnReference, format!("FORCE_QUOTE column \"{missing}\" not referenced by COPY")));
    }
    Ok(columns.iter().map(|c| names.contains(&c.name)).collect())
}

impl Outgoing<'_> {
    fn cells<'a>(&self, arrays: &'a [ArrayRef]) -> Result<Cells<'a>> {
        let pairs = self.fields.iter().zip(arrays);
        Ok(match self.options.format {
            CopyFormat::Binary => Cells::Binary(pairs.map(|(f, a)| binary::Column::new(f, a.as_ref())).collect::<Result<_>>()?),
            _ => Cells::Text(pairs.map(|(f, a)| text::Column::new(f, a.as_ref(), &self.style)).collect::<Result<_>>()?),
        })
    }

    fn row(&self, cells: &Cells<'_>, row: usize, out: &mut Vec<u8>) -> Result<()> {
        match cells {
            Cells::Binary(columns) => {
                out.extend_from_slice(&(columns.len() as i16).to_be_bytes());
                columns.iter().try_for_each(|c| c.write_with_length(row, out))
            }
            Cells::Text(columns) => {
                let mut value = Vec::new();
                for (i, column) in columns.iter().enumerate() {
                    if i > 0 {
                        out.push(self.options.delimiter());
                    }
                    if column.is_null(row) {
                        out.extend_from_slice(self.options.null().as_bytes());
                        continue;
                    }
                    value.clear();
                    column.write(row, &mut value);
                    self.value(&value, columns.len() == 1, self.quoted[i], out);
                }
                out.push(b'\n');
                Ok(())
            }
        }
    }

    fn names(&self, names: &[&str], out: &mut Vec<u8>) {
        for (i, name) in names.iter().enumerate() {
            if i > 0 {
                out.push(self.options.delimiter());
            }
            self.value(name.as_bytes(), names.len() == 1, false, out);
        }
        out.push(b'\n');
    }

    fn value(&self, value: &[u8], only: bool, quoted: bool, out: &mut Vec<u8>) {
        if self.options.format == CopyFormat::Csv {
            return self.csv_value(value, only, quoted, out);
        }
        for &byte in value {
            let letter = match byte {
                b'\\' => b'\\',
                0x08 => b'b',
                0x0c => b'f',
                b'\n' => b'n',
                b'\r' => b'r',
                b'\t' => b't',
                0x0b => b'v',
                other if other == self.options.delimiter() => other,
                other => {
                    out.push(other);
                    continue;
                }
            };
            out.extend_from_slice(&[b'\\', letter]);
        }
    }

    /// Quoted where it could be read as something else: the NULL text, or the end of the data on a line of its own.
    fn csv_value(&self, value: &[u8], only: bool, quoted: bool, out: &mut Vec<u8>) {
        let (quote, escape) = (self.options.quote(), self.options.escape());
        let odd = |b: &u8| *b == self.options.delimiter() || *b == quote || matches!(*b, b'\n' | b'\r');
        let (is_null, is_end) = (value == self.options.null().as_bytes(), only && value == b"\\.");
        if !(quoted || is_null || is_end || value.iter().any(odd)) {
            out.extend_from_slice(value);
            return;
        }
        out.push(quote);
        for &byte in value {
            if byte == quote || byte == escape {
                out.push(escape);
            }
            out.push(byte);
        }
        out.push(quote);
    }
}

/// Rows on their way in.
struct Incoming<'a> {
    relation: String,
    fields: Vec<FieldRef>,
    options: &'a CopyOptions,
    style: TextStyle,
    /// What is not yet a whole row.
    rest: Vec<u8>,
    /// In text: of the row that is read; in binary: the row.
    line: u64,
    /// The header is behind, or the rows' end was told.
    begun: bool,
    ended: bool,
    columns: Columns,
    /// What the batch that is being made has.
    rows: usize,
    bytes: usize,
    /// Batches that nobody has taken yet.
    batches: Vec<RecordBatch>,
}

/// The batch that is being made.
enum Columns {
    Text(Vec<Reader>),
    Binary(Vec<Vec<ArrayRef>>),
}

/// One value as it came.
type Cell = Option<Vec<u8>>;

impl<'a> Incoming<'a> {
    fn new(relation: &str, fields: Vec<FieldRef>, options: &'a CopyOptions, style: TextStyle) -> Result<Incoming<'a>> {
        let columns = Incoming::columns(&fields, options, &style)?;
        Ok(Incoming {
            relation: relation.to_owned(),
            fields,
            options,
            style,
            rest: Vec::new(),
            line: 0,
            begun: false,
            ended: false,
            columns,
            rows: 0,
            bytes: 0,
            batches: Vec::new(),
        })
    }

    fn columns(fields: &[FieldRef], options: &CopyOptions, style: &TextStyle) -> Result<Columns> {
        Ok(match options.format {
            CopyFormat::Binary => Columns::Binary(vec![Vec::new(); fields.len()]),
            _ => Columns::Text(fields.iter().map(|f| Reader::new(f, style)).collect::<Result<_>>()?),
        })
    }

    /// What the client has sent, cut anywhere.
    fn take(&mut self, chunk: &[u8]) -> Result<()> {
        self.rest.extend_from_slice(chunk);
        self.read(false)
    }

    /// All there is was sent.
    fn finish(&mut self) -> Result<()> {
        self.read(true)?;
        self.batch()
    }

    /// Takes whole rows off `rest`.
    fn read(&mut self, all: bool) -> Result<()> {
        let rest = std::mem::take(&mut self.rest);
        let mut at = 0;
        while at < rest.len() && !self.ended {
            let taken = match self.options.format {
                CopyFormat::Text => self.text_row(&rest[at..], all)?,
                CopyFormat::Csv => self.csv_row(&rest[at..], all)?,
                CopyFormat::Binary => self.binary_row(&rest[at..])?,
            };
            let Some(taken) = taken else { break };
            at += taken;
        }
        if all && at < rest.len() && !self.ended {
            return Err(self.bad("unexpected EOF in COPY data"));
        }
        self.rest = rest[at..].to_vec();
        if self.rest.len() > ROW_BYTES_MAX {
            let error = Error::new(Kind::TooComplex, "a row of COPY data is too long");
            return Err(self.placed(error.with_detail(format!("A row may have {} MiB.", ROW_BYTES_MAX >> 20)), None));
        }
        Ok(())
    }

    fn bad(&self, message: impl Into<String>) -> Error {
        self.placed(Error::new(Kind::BadCopy, message), None)
    }

    /// The error with the line, and the column and its value.
    fn placed(&self, error: Error, cell: Option<(usize, &Cell)>) -> Error {
        let place = format!("COPY {}, line {}", self.relation, self.line);
        error.in_context(match cell {
            Some((column, Some(value))) => {
                let shown: String = String::from_utf8_lossy(value).chars().take(100).collect();
                format!("{place}, column {}: \"{shown}\"", self.fields[column].name())
            }
            Some((column, None)) => format!("{place}, column {}: null input", self.fields[column].name()),
            None => place,
        })
    }

    fn row(&mut self, cells: &[Cell]) -> Result<()> {
        if cells.len() > self.fields.len() {
            return Err(self.bad("extra data after last expected column"));
        }
        if let Some(missing) = self.fields.get(cells.len()) {
            return Err(self.bad(format!("missing data for column \"{}\"", missing.name())));
        }
        for (i, cell) in cells.iter().enumerate() {
            let read = match &mut self.columns {
                Columns::Text(readers) => text_of(cell).and_then(|text| {
                    let text = text.map(|t| fitting(&self.fields[i], t)).transpose()?;
                    readers[i].append(text)
                }),
                Columns::Binary(columns) => value(&self.fields[i], cell.as_deref(), &self.style).map(|array| columns[i].push(array)),
            };
            read.map_err(|e| self.placed(e, Some((i, cell))))?;
        }
        self.rows += 1;
        self.bytes += cells.iter().flatten().map(Vec::len).sum::<usize>();
        if self.rows == BATCH_ROWS || self.bytes >= BATCH_BYTES { self.batch() } else { Ok(()) }
    }

    /// The rows so far as a batch.
    fn batch(&mut self) -> Result<()> {
        if self.rows == 0 {
            return Ok(());
        }
        let columns = Incoming::columns(&self.fields, self.options, &self.style)?;
        let arrays = match std::mem::replace(&mut self.columns, columns) {
            Columns::Text(readers) => readers.into_iter().map(|mut r| r.finish()).collect(),
            Columns::Binary(columns) => columns.iter().zip(&self.fields).map(|(parts, field)| joined(parts, field)).collect::<Result<Vec<_>>>()?,
        };
        let schema = Arc::new(Schema::new(self.fields.iter().map(|f| f.as_ref().clone()).collect::<Vec<_>>()));
        let options = RecordBatchOptions::new().with_row_count(Some(std::mem::take(&mut self.rows)));
        self.batches.push(RecordBatch::try_new_with_options(schema, arrays, &options)?);
        self.bytes = 0;
        Ok(())
    }

    /// A line of text format: bytes taken, with its end; `None`: it is not whole.
    fn text_row(&mut self, rest: &[u8], all: bool) -> Result<Option<usize>> {
        let Some((line, taken)) = line_of(rest, all) else { return Ok(None) };
        self.line += 1;
        if line == b"\\." {
            self.ended = true;
            return Ok(Some(taken));
        }
        if !std::mem::replace(&mut self.begun, true) && self.options.header {
            return Ok(Some(taken));
        }
        let cell = |raw: &[u8]| (raw != self.options.null().as_bytes()).then(|| unescaped(raw));
        let (mut cells, mut start, mut at) = (Vec::with_capacity(self.fields.len()), 0, 0);
        while let Some(byte) = line.get(at) {
            if *byte == self.options.delimiter() {
                cells.push(cell(&line[start..at]));
                start = at + 1;
            }
            at += if *byte == b'\\' { 2 } else { 1 };
        }
        cells.push(cell(&line[start..]));
        if self.fields.is_empty() && line.is_empty() {
            cells.clear();
        }
        self.row(&cells)?;
        Ok(Some(taken))
    }

    /// A record of CSV: may go over several lines.
    fn csv_row(&mut self, rest: &[u8], all: bool) -> Result<Option<usize>> {
        let (quote, escape, delimiter) = (self.options.quote(), self.options.escape(), self.options.delimiter());
        let (mut cells, mut value, mut quoted, mut inside, mut lines) = (Vec::new(), Vec::new(), false, false, 0);
        let mut at = 0;
        let end = loop {
            match rest.get(at).copied() {
                None if !all => return Ok(None),
                None if inside => {
                    self.line += 1;
                    return Err(self.bad("unterminated CSV quoted field"));
                }
                None => break at,
                Some(byte) if inside && byte == escape && (escape != quote || rest.get(at + 1) == Some(&quote)) => match rest.get(at + 1).copied() {
                    None if !all => return Ok(None),
                    Some(next) if next == quote || next == escape => {
                        value.push(next);
                        at += 1;
                    }
                    _ => value.push(byte),
                },
                // Whether it ends the value or is doubled is in the next chunk.
                Some(byte) if inside && byte == quote && rest.len() == at + 1 && !all => return Ok(None),
                Some(byte) if byte == quote => (quoted, inside) = (true, !inside),
                Some(byte) if !inside && byte == delimiter => {
                    cells.push(self.csv_cell(std::mem::take(&mut value), std::mem::take(&mut quoted)));
                }
                Some(b'\r') if !inside && rest.len() == at + 1 && !all => return Ok(None),
                Some(b'\r') if !inside && rest.get(at + 1) == Some(&b'\n') => break at + 2,
                Some(b'\n' | b'\r') if !inside => break at + 1,
                Some(byte) => {
                    lines += u64::from(byte == b'\n');
                    value.push(byte);
                }
            }
            at += 1;
        };
        self.line += 1 + lines;
        if cells.is_empty() && !quoted && value == b"\\." {
            self.ended = true;
            return Ok(Some(end));
        }
        cells.push(self.csv_cell(value, quoted));
        if std::mem::replace(&mut self.begun, true) || !self.options.header {
            self.row(&cells)?;
        }
        Ok(Some(end))
    }

    fn csv_cell(&self, value: Vec<u8>, quoted: bool) -> Cell {
        (quoted || value != self.options.null().as_bytes()).then_some(value)
    }

    fn binary_row(&mut self, rest: &[u8]) -> Result<Option<usize>> {
        if !self.begun {
            if rest.len() < HEADER.len() {
                return Ok(None);
            }
            if rest[..11] != HEADER[..11] {
                return Err(self.bad("COPY file signature not recognized"));
            }
            let extension = u32::from_be_bytes([rest[15], rest[16], rest[17], rest[18]]) as usize;
            if rest.len() < HEADER.len() + extension {
                return Ok(None);
            }
            self.begun = true;
            return Ok(Some(HEADER.len() + extension));
        }
        let Some(count) = rest.get(..2) else { return Ok(None) };
        self.line += 1;
        let count = i16::from_be_bytes([count[0], count[1]]);
        if count == -1 {
            self.ended = true;
            return Ok(Some(2));
        }
        if usize::try_from(count).ok() != Some(self.fields.len()) {
            return Err(self.bad(format!("row field count is {count}, expected {}", self.fields.len())));
        }
        let (mut cells, mut at) = (Vec::with_capacity(self.fields.len()), 2);
        for _ in 0..count {
            let Some(length) = rest.get(at..at + 4) else {
                self.line -= 1;
                return Ok(None);
            };
            let length = i32::from_be_bytes([length[0], length[1], length[2], length[3]]);
            at += 4;
            if length == -1 {
                cells.push(None);
                continue;
            }
            let Ok(length) = usize::try_from(length) else { return Err(self.bad("invalid field size")) };
            let Some(value) = rest.get(at..at + length) else {
                self.line -= 1;
                return Ok(None);
            };
            cells.push(Some(value.to_vec()));
            at += length;
        }
        self.row(&cells)?;
        Ok(Some(at))
    }
}

/// A line without its end, and how many bytes it takes with it; `None`: it is not whole.
fn line_of(rest: &[u8], all: bool) -> Option<(&[u8], usize)> {
    // An escaped line end is part of the line.
    let mut at = 0;
    while let Some(found) = memchr::memchr3(b'\\', b'\n', b'\r', &rest[at..]) {
        at += found;
        match rest[at] {
            b'\\' => at = (at + 2).min(rest.len()),
            b'\n' => return Some((&rest[..at], at + 1)),
            _ if rest.get(at + 1) == Some(&b'\n') => return Some((&rest[..at], at + 2)),
            _ if rest.len() == at + 1 && !all => return None,
            _ => return Some((&rest[..at], at + 1)),
        }
    }
    (all && !rest.is_empty()).then_some((rest, rest.len()))
}

/// Text format's escapes taken off.
fn unescaped(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len());
    let mut at = 0;
    while at < raw.len() {
        let byte = raw[at];
        at += 1;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let Some(&next) = raw.get(at) else {
            out.push(b'\\');
            break;
        };
        at += 1;
        let digits = |at: usize, most: usize, radix: u32| {
            let digits = raw[at..].iter().take(most).take_while(|b| (**b as char).is_digit(radix)).count();
            let text = std::str::from_utf8(&raw[at..at + digits]).unwrap_or_default();
            (u32::from_str_radix(text, radix).map(|v| v as u8).ok(), digits)
        };
        match next {
            b'b' => out.push(0x08),
            b'f' => out.push(0x0c),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'v' => out.push(0x0b),
            b'0'..=b'7' => {
                let (value, count) = digits(at - 1, 3, 8);
                out.extend(value);
                at += count - 1;
            }
            b'x' => match digits(at, 2, 16) {
                (Some(value), count) => {
                    out.push(value);
                    at += count;
                }
                (None, _) => out.push(b'x'),
            },
            other => out.push(other),
        }
    }
    out
}

/// A text for `varchar(n)`: blanks beyond n characters are cut off. Error: something else is (22001).
fn fitting<'t>(field: &FieldRef, text: &'t str) -> Result<&'t str> {
    let modifier = field.metadata().get(TYPMOD_KEY).filter(|_| *field.data_type() == DataType::Utf8).and_then(|m| m.parse::<usize>().ok());
    let Some(most) = modifier.and_then(|m| m.checked_sub(4)) else { return Ok(text) };
    match text.char_indices().nth(most) {
        None => Ok(text),
        Some((end, _)) if text[end..].bytes().all(|b| b == b' ') => Ok(&text[..end]),
        Some(_) => Err(Error::new(Kind::StringTruncation, format!("value too long for type character varying({most})"))),
    }
}

fn text_of(cell: &Cell) -> Result<Option<&str>> {
    let Some(bytes) = cell else { return Ok(None) };
    let text = super::frame::utf8(bytes)?;
    if text.contains('\0') {
        return Err(Error::new(Kind::InvalidEncoding, "invalid byte sequence for encoding \"UTF8\": 0x00"));
    }
    Ok(Some(text))
}

/// One value of binary format, as the column's type.
fn value(field: &FieldRef, value: Option<&[u8]>, style: &TextStyle) -> Result<ArrayRef> {
    let array = decode_parameter(types::oid_of(field)?, Format::Binary, value, style)?;
    if array.data_type() == field.data_type() { Ok(array) } else { Ok(arrow::compute::cast(&array, field.data_type())?) }
}

fn joined(parts: &[ArrayRef], field: &FieldRef) -> Result<ArrayRef> {
    if parts.is_empty() {
        return Ok(new_empty_array(field.data_type()));
    }
    Ok(concat(&parts.iter().map(|p| p.as_ref() as &dyn Array).collect::<Vec<_>>())?)
}
