//! Records that are lines of CSV (RFC 4180). Values are read as Postgres reads texts of the declared types; as in its COPY, an unquoted
//! empty field is NULL and `""` is the empty text.

use super::format::{Decoded, Decoder, Payloads};
use crate::error::{Error, Kind, Result};
use crate::types::text::{Reader, TextStyle};
use arrow::array::{ArrayRef, BooleanArray};
use arrow::datatypes::Schema;

/// What the format's options say.
#[derive(Clone, Debug)]
pub struct CsvRules {
    pub delimiter: u8,
    /// An unquoted field of this text is NULL.
    pub null: String,
    /// The first record names the columns.
    pub header: bool,
    /// A column that the header does not name is NULL instead of an error.
    pub missing_is_null: bool,
}

/// Decodes CSV records.
pub struct CsvDecoder {
    rules: CsvRules,
    names: Vec<String>,
    not_null: Vec<bool>,
    readers: Vec<Reader>,
    /// Which field of a record each column is; `None`: none, so NULL.
    places: Vec<Option<usize>>,
    /// Fields that each record has.
    fields: usize,
    /// The record being read: its fields, their quotes taken off, and whether they had any.
    row: Vec<(String, bool)>,
}

impl CsvDecoder {
    /// Without a header, fields are the columns in declared order. Error: a declared type that has no text.
    pub fn new(schema: &Schema, not_null: &[bool], rules: CsvRules) -> Result<CsvDecoder> {
        let readers = schema.fields().iter().map(|f| Reader::new(f, &TextStyle::UTC)).collect::<Result<Vec<_>>>()?;
        let names: Vec<String> = schema.fields().iter().map(|f| f.name().clone()).collect();
        let places = (0..names.len()).map(Some).collect();
        Ok(CsvDecoder { rules, fields: names.len(), names, not_null: not_null.to_vec(), readers, places, row: Vec::new() })
    }

    /// Appends one value to every column; the message tells the first that is bad, the columns then hold NULLs for this record.
    fn record(&mut self, record: Option<&[u8]>) -> Option<String> {
        let parsed = match record.map(std::str::from_utf8) {
            None => Err("the record has no payload".to_string()),
            Some(Err(_)) => Err("the record is not UTF-8".to_string()),
            Some(Ok(text)) => split(text, self.rules.delimiter as char, &mut self.row),
        };
        let mut wrong = parsed.err();
        if wrong.is_none() && self.row.len() != self.fields {
            wrong = Some(format!("expected {} fields, got {}", self.fields, self.row.len()));
        }
        for (at, reader) in self.readers.iter_mut().enumerate() {
            let field = if wrong.is_some() { None } else { self.places[at].map(|place| &self.row[place]) };
            let text = field.filter(|(text, quoted)| *quoted || *text != self.rules.null).map(|(text, _)| text.as_str());
            let outcome = reader.append(text);
            if wrong.is_some() {
                continue;
            }
            if let Err(error) = outcome {
                wrong = Some(format!("column \"{}\": {}", self.names[at], error.message()));
            } else if text.is_none() && self.not_null[at] {
                wrong = Some(format!("column \"{}\": null in a NOT NULL column", self.names[at]));
            }
        }
        wrong
    }
}

impl Decoder for CsvDecoder {
    fn wants_header(&self) -> bool {
        self.rules.header
    }

    fn header(&mut self, record: &[u8]) -> Result<()> {
        let bad = |message: String| Error::new(Kind::InvalidText, format!("the CSV header cannot be used: {message}"));
        let text = std::str::from_utf8(record).map_err(|_| bad("it is not UTF-8".to_string()))?;
        let mut row = Vec::new();
        // Programs on some systems begin a file with a byte-order mark.
        split(text.trim_start_matches('\u{feff}'), self.rules.delimiter as char, &mut row).map_err(bad)?;
        let find = |name: &String| row.iter().position(|(h, _)| h.trim() == name).or_else(|| row.iter().position(|(h, _)| h.trim().eq_ignore_ascii_case(name)));
        let mut places = Vec::new();
        for (name, not_null) in self.names.iter().zip(&self.not_null) {
            let place = find(name);
            if place.is_none() && (!self.rules.missing_is_null || *not_null) {
                let listed: Vec<&str> = row.iter().map(|(h, _)| h.trim()).collect();
                return Err(bad(format!("it names no column \"{name}\""))
                    .with_hint(format!("it names {}; missing_fields = 'null' makes missing columns NULL", listed.join(", "))));
            }
            places.push(place);
        }
        self.places = places;
        self.fields = row.len();
        Ok(())
    }

    fn decode(&mut self, records: &Payloads) -> Result<Decoded> {
        let mut bad = Vec::new();
        for i in 0..records.len() {
            if let Some(message) = self.record(records.get(i)) {
                bad.push((i, message));
            }
        }
        let columns: Vec<ArrayRef> = self.readers.iter_mut().map(Reader::finish).collect();
        if bad.is_empty() {
            return Ok(Decoded { columns, bad });
        }
        let mut good = vec![true; records.len()];
        bad.iter().for_each(|(i, _)| good[*i] = false);
        let good = BooleanArray::from(good);
        let columns = columns.iter().map(|c| Ok(arrow::compute::filter(c, &good)?)).collect::<Result<_>>()?;
        Ok(Decoded { columns, bad })
    }
}

/// The fields of one record, without its line end.
fn split(text: &str, delimiter: char, row: &mut Vec<(String, bool)>) -> Result<(), String> {
    row.clear();
    let mut rest = text.strip_suffix('\n').unwrap_or(text);
    rest = rest.strip_suffix('\r').unwrap_or(rest);
    loop {
        let mut field = String::new();
        let quoted = rest.starts_with('"');
        if quoted {
            rest = &rest[1..];
            loop {
                let Some(end) = rest.find('"') else { return Err("a quoted field has no end".to_string()) };
                field.push_str(&rest[..end]);
                rest = &rest[end + 1..];
                // Two quotes stand for one.
                match rest.strip_prefix('"') {
                    Some(more) => {
                        field.push('"');
                        rest = more;
                    }
                    None => break,
                }
            }
        } else {
            let end = rest.find(delimiter).unwrap_or(rest.len());
            field.push_str(&rest[..end]);
            rest = &rest[end..];
        }
        row.push((field, quoted));
        match rest.strip_prefix(delimiter) {
            Some(more) => rest = more,
            None if rest.is_empty() => return Ok(()),
            None => return Err("text follows a quoted field".to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::AsArray;
    use arrow::datatypes::{DataType, Field, Int32Type};

    fn decoder(rules: CsvRules) -> CsvDecoder {
        let schema = Schema::new(vec![Field::new("a", DataType::Int32, true), Field::new("b", DataType::Utf8, true)]);
        CsvDecoder::new(&schema, &[true, false], rules).unwrap()
    }

    const RULES: CsvRules = CsvRules { delimiter: b',', null: String::new(), header: false, missing_is_null: false };

    #[test]
    fn quotes_nulls_and_bad_records() {
        let mut payloads = Payloads::default();
        for record in ["1,x", "2,\"y, \"\"z\"\"\nnext\"\r\n", "x,y", "3", "4,", "5,\"\"", ",x", "6,\"open", "7,\"x\"y"] {
            payloads.push(Some(record.as_bytes()));
        }
        let decoded = decoder(RULES).decode(&payloads).unwrap();
        assert_eq!(decoded.columns[0].as_primitive::<Int32Type>().values(), &[1, 2, 4, 5]);
        let texts: Vec<Option<&str>> = decoded.columns[1].as_string::<i32>().iter().collect();
        assert_eq!(texts, [Some("x"), Some("y, \"z\"\nnext"), None, Some("")]);
        let messages: Vec<&str> = decoded.bad.iter().map(|(_, m)| m.as_str()).collect();
        assert_eq!(
            messages,
            [
                "column \"a\": invalid input syntax for type integer: \"x\"",
                "expected 2 fields, got 1",
                "column \"a\": null in a NOT NULL column",
                "a quoted field has no end",
                "text follows a quoted field",
            ]
        );
    }

    #[test]
    fn a_header_places_the_columns() {
        let mut decoder = decoder(CsvRules { header: true, delimiter: b';', ..RULES });
        assert!(decoder.header(b"b;c").unwrap_err().message().contains("names no column \"a\""));
        decoder.header("\u{feff}c;B;a".as_bytes()).unwrap();
        let mut payloads = Payloads::default();
        payloads.push(Some(b"9;text;7"));
        let decoded = decoder.decode(&payloads).unwrap();
        assert_eq!(decoded.columns[0].as_primitive::<Int32Type>().values(), &[7]);
        assert_eq!(decoded.columns[1].as_string::<i32>().value(0), "text");
    }
}
