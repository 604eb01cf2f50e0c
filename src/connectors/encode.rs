//! `FORMAT … ENCODE …`: the options of the formats, and the decoder that they describe.

use super::connector::{Batch, DeadRecord, Metadata, Position, RawRecords, SourceRequest};
use super::options::{OptionKind, OptionSpec, Options};
use crate::error::{Error, Kind, Result};
use crate::formats::column::{ByteaText, Rules, TimestampUnit};
use crate::formats::csv::{CsvDecoder, CsvRules};
use crate::formats::format::{Decoder, Payloads};
use crate::formats::json::JsonDecoder;
use crate::formats::raw::RawDecoder;
use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Fields, Schema, SchemaRef};
use std::sync::Arc;

/// `ENCODE JSON (…)`.
pub const JSON: &[OptionSpec] = &[
    OptionSpec::new(
        "missing_fields",
        OptionKind::Choice(&["error", "null"]),
        "error",
        "Whether a missing field of a nullable column makes the record a dead letter, or the column NULL.",
    ),
    OptionSpec::new(
        "timestamp.format",
        OptionKind::Choice(&["iso", "millis", "micros", "seconds"]),
        "iso",
        "What a number stands for in a timestamp column, since 1970; iso: milliseconds. Texts are ISO 8601 or what Postgres reads.",
    )
    .or(&["timestamp_format"]),
    OptionSpec::new("bytea.format", OptionKind::Choice(&["hex", "base64"]), "hex", "How a string stands for bytea.").or(&["bytea_format"]),
];

/// `ENCODE CSV (…)`.
pub const CSV: &[OptionSpec] = &[
    OptionSpec::new("delimiter", OptionKind::Text, ",", "One character between fields."),
    OptionSpec::new(
        "header",
        OptionKind::Boolean,
        "true for files",
        "Whether the first record names the columns; else fields are the columns in declared order.",
    ),
    OptionSpec::new("without_header", OptionKind::Boolean, "", "The opposite of header."),
    OptionSpec::new("null", OptionKind::Text, "", "An unquoted field of this text is NULL."),
    OptionSpec::new("missing_fields", OptionKind::Choice(&["error", "null"]), "error", "Whether a column that the header does not name is an error, or NULL."),
];

/// How the records of a source are decoded; one decoder is made per reader.
#[derive(Clone, Debug)]
pub struct Encoding {
    kind: EncodingKind,
    /// The columns that come from the payload.
    schema: SchemaRef,
    not_null: Vec<bool>,
}

#[derive(Clone, Debug)]
enum EncodingKind {
    Json(Rules),
    Csv(CsvRules),
    Raw,
}

/// The payload's columns of a request: those that are not metadata.
pub fn payload_columns(request: &SourceRequest<'_>) -> (Fields, Vec<bool>) {
    let kept = request.declared.fields().iter().zip(&request.not_null).zip(&request.metadata).filter(|(_, m)| m.is_none());
    let (fields, not_null): (Vec<_>, Vec<_>) = kept.map(|((f, n), _)| (f.clone(), *n)).unzip();
    (fields.into(), not_null)
}

/// Values of the chosen settings.
impl Encoding {
    /// `header`: whether CSV has a header unless an option says so. Error: an unknown encoding or option, or a type that the format cannot fill.
    pub fn new(request: &SourceRequest<'_>, header: Header) -> Result<Encoding> {
        let (fields, not_null) = payload_columns(request);
        let name = request.encode.unwrap_or("json").to_lowercase();
        let options = request.encode_options;
        let kind = match name.as_str() {
            "json" => EncodingKind::Json(json_rules(&Options::check("json", JSON, options)?)),
            "csv" => EncodingKind::Csv(csv_rules(&Options::check("csv", CSV, options)?, header)?),
            "bytes" | "text" => {
                Options::check(&name, &[], options)?;
                EncodingKind::Raw
            }
            _ => return Err(Error::not_supported(format!("ENCODE {} is not supported", name.to_uppercase())).with_hint("use ENCODE JSON, CSV, BYTES or TEXT")),
        };
        let encoding = Encoding { kind, schema: Arc::new(Schema::new(fields)), not_null };
        // Types are checked now, not at the first record.
        encoding.decoder()?;
        Ok(encoding)
    }

    pub fn decoder(&self) -> Result<Box<dyn Decoder>> {
        Ok(match &self.kind {
            EncodingKind::Json(rules) => Box::new(JsonDecoder::new(&self.schema, &self.not_null, *rules)?),
            EncodingKind::Csv(rules) => Box::new(CsvDecoder::new(&self.schema, &self.not_null, rules.clone())?),
            EncodingKind::Raw => Box::new(RawDecoder::new(&self.schema)?),
        })
    }

    /// The same over some of the columns (a message's key).
    pub fn of(&self, fields: Fields) -> Encoding {
        let not_null = vec![true; fields.len()];
        Encoding { kind: self.kind.clone(), schema: Arc::new(Schema::new(fields)), not_null }
    }

    pub fn is_json(&self) -> bool {
        matches!(self.kind, EncodingKind::Json(_))
    }

    /// Whether a line break inside quotes belongs to the record.
    pub fn quotes_lines(&self) -> bool {
        matches!(self.kind, EncodingKind::Csv(_))
    }
}

/// Whether records come in a file, which may begin with a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    Expected,
    Impossible,
}

fn json_rules(options: &Options<'_>) -> Rules {
    Rules {
        timestamp_unit: match options.choice("timestamp.format").as_deref() {
            Some("seconds") => TimestampUnit::Seconds,
            Some("micros") => TimestampUnit::Micros,
            _ => TimestampUnit::Millis,
        },
        bytea: if options.choice("bytea.format").as_deref() == Some("base64") { ByteaText::Base64 } else { ByteaText::Postgres },
        missing_is_null: options.choice("missing_fields").as_deref() == Some("null"),
    }
}

fn csv_rules(options: &Options<'_>, header: Header) -> Result<CsvRules> {
    let invalid = |message: &str, hint: &str| Error::new(Kind::InvalidParameter, message).with_hint(hint);
    let delimiter = match options.text("delimiter").unwrap_or(",") {
        "\\t" | "tab" => b'\t',
        text => match text.as_bytes() {
            [byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\n' | b'\r') => *byte,
            _ => return Err(invalid("a CSV delimiter is one ASCII character", "write for instance delimiter = ';' or '\\t'")),
        },
    };
    let told = options.boolean("header")?.or(options.boolean("without_header")?.map(|without| !without));
    if told == Some(true) && header == Header::Impossible {
        return Err(invalid("messages have no header", "leave out header; fields are the columns in declared order"));
    }
    Ok(CsvRules {
        delimiter,
        null: options.text("null").unwrap_or("").to_string(),
        header: told.unwrap_or(header == Header::Expected),
        missing_is_null: options.choice("missing_fields").as_deref() == Some("null"),
    })
}

/// Records of one poll, before they are decoded. All vectors have one entry per record.
#[derive(Debug, Default)]
pub struct Received {
    pub payloads: Payloads,
    pub positions: Vec<Position>,
    /// The records' own times, µs; empty if the input has none.
    pub timestamps: Vec<Option<i64>>,
}

impl Received {
    pub fn clear(&mut self) {
        self.payloads.clear();
        self.positions.clear();
        self.timestamps.clear();
    }
}

/// Decodes records into a batch. `column` gives a metadata column over the records kept (their ordinals).
pub fn decode(
    decoder: &mut dyn Decoder,
    received: Received,
    range: (Position, Position),
    schema: &SchemaRef,
    metadata: &[Option<Metadata>],
    column: &dyn Fn(&Metadata, &[u32], &Payloads) -> Result<ArrayRef>,
) -> Result<Batch> {
    let Received { payloads, positions, timestamps } = received;
    let decoded = decoder.decode(&payloads)?;
    let dead: Vec<DeadRecord> = decoded
        .bad
        .into_iter()
        .map(|(i, error)| DeadRecord { position: positions[i], timestamp: timestamps.get(i).copied().flatten(), error, raw: Arc::from(payloads.raw(i)) })
        .collect();
    let kept: Vec<u32> = if dead.is_empty() {
        (0..positions.len() as u32).collect()
    } else {
        // Positions are distinct, so they tell the dead records apart.
        let mut next = dead.iter().map(|d| d.position).peekable();
        (0..positions.len() as u32).filter(|i| next.next_if_eq(&positions[*i as usize]).is_none()).collect()
    };
    let mut values = decoded.columns.into_iter();
    let columns = metadata.iter().map(|m| match m {
        None => values.next().ok_or_else(|| Error::internal("a decoder fills every column of the payload")),
        Some(m) => column(m, &kept, &payloads),
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(kept.len()));
    let rows = RecordBatch::try_new_with_options(schema.clone(), columns, &options)?;
    let bytes = payloads.bytes() as u64;
    let all = dead.is_empty();
    let positions = if all { positions } else { kept.iter().map(|i| positions[*i as usize]).collect() };
    let raw = RawRecords { payloads: Arc::new(payloads), rows: (!all).then_some(kept) };
    Ok(Batch { from: range.0, to: range.1, rows, positions, deletions: None, dead, raw: Some(raw), bytes, lag: None })
}
