//! `FORMAT UPSERT`: a message with a payload is the new row of its key, one without deletes the key's row. What was deleted is told by the message's
//! key: a JSON object with the key columns, or the one key column's value as JSON or as plain text.

use super::source::payload_ordinals;
use crate::connectors::connector::{Batch, DeadRecord, Metadata, Position, RawRecords, SourceRequest};
use crate::connectors::encode::Encoding;
use crate::error::{Error, Kind, Result};
use crate::formats::format::{Decoder, Payloads};
use crate::types::text::{Reader, TextStyle};
use arrow::array::{ArrayRef, RecordBatch, UInt32Array, new_null_array};
use arrow::datatypes::{Field, Fields, SchemaRef};
use std::sync::Arc;

/// The key columns that a deletion fills from the message's key.
#[derive(Clone, Debug)]
pub struct KeyColumns {
    /// Ordinals among the declared columns; none if the key is an INCLUDE KEY column.
    ordinals: Vec<usize>,
    fields: Fields,
    encoding: Encoding,
}

impl KeyColumns {
    /// Error: no primary key, or a format that has no upserts.
    pub fn new(request: &SourceRequest<'_>, encoding: &Encoding) -> Result<KeyColumns> {
        if request.primary_key.is_empty() {
            return Err(Error::new(Kind::InvalidObjectDefinition, "FORMAT UPSERT needs a PRIMARY KEY")
                .with_hint("use CREATE TABLE … (…, PRIMARY KEY (column)) WITH (…) FORMAT UPSERT ENCODE JSON"));
        }
        if !encoding.is_json() {
            return Err(Error::not_supported("FORMAT UPSERT needs ENCODE JSON"));
        }
        let from_payload = payload_ordinals(request);
        let mut ordinals = Vec::new();
        for name in request.primary_key {
            let at =
                request.declared.index_of(name).map_err(|_| Error::new(Kind::UndefinedColumn, format!("column \"{name}\" named in key does not exist")))?;
            match &request.metadata[at] {
                None if from_payload.contains(&at) => ordinals.push(at),
                Some(Metadata::Key) => {}
                _ => {
                    return Err(Error::not_supported(format!("column \"{name}\" cannot be part of an upsert key"))
                        .with_hint("key columns come from the message's payload or from INCLUDE KEY"));
                }
            }
        }
        let fields: Fields = ordinals.iter().map(|at| Arc::new(request.declared.field(*at).clone())).collect();
        Ok(KeyColumns { ordinals, encoding: encoding.of(fields.clone()), fields })
    }

    pub fn decoder(&self) -> Result<Box<dyn Decoder>> {
        self.encoding.decoder()
    }

    /// The key columns of each message key (good ones), and which keys are bad.
    pub fn decode(&self, decoder: &mut dyn Decoder, keys: &Payloads) -> Result<(Vec<ArrayRef>, Vec<(usize, String)>)> {
        if self.ordinals.is_empty() {
            let missing = (0..keys.len()).filter(|i| keys.get(*i).is_none());
            return Ok((Vec::new(), missing.map(|i| (i, NO_KEY.to_string())).collect()));
        }
        if let [field] = &self.fields[..]
            && (0..keys.len()).all(|i| keys.get(i).is_none_or(|k| !k.starts_with(b"{")))
        {
            return single(field, decoder, keys);
        }
        let decoded = decoder.decode(keys)?;
        let bad = decoded.bad.into_iter().map(|(i, m)| (i, format!("key of a deletion: {m}"))).collect();
        Ok((decoded.columns, bad))
    }

    /// A row per deletion: its key columns and its metadata, all else NULL.
    pub fn rows(
        &self,
        schema: &SchemaRef,
        metadata: &[Option<Metadata>],
        keys: Vec<ArrayRef>,
        count: usize,
        column: &dyn Fn(&Metadata) -> Result<ArrayRef>,
    ) -> Result<RecordBatch> {
        let columns = metadata.iter().enumerate().map(|(at, m)| match (m, self.ordinals.iter().position(|o| *o == at)) {
            (Some(m), _) => column(m),
            (None, Some(key)) => Ok(keys[key].clone()),
            (None, None) => Ok(new_null_array(schema.field(at).data_type(), count)),
        });
        Ok(RecordBatch::try_new(schema.clone(), columns.collect::<Result<_>>()?)?)
    }
}

const NO_KEY: &str = "a deletion without a key";

/// Keys that are one value each: JSON if it is a JSON string, else text.
fn single(field: &Field, decoder: &mut dyn Decoder, keys: &Payloads) -> Result<(Vec<ArrayRef>, Vec<(usize, String)>)> {
    if (0..keys.len()).any(|i| keys.get(i).is_some_and(|k| k.starts_with(b"\""))) {
        // Wrapped as the object that the decoder knows.
        let mut wrapped = Payloads::default();
        for i in 0..keys.len() {
            let name = serde_json::to_string(field.name()).map_err(|e| Error::internal(e.to_string()))?;
            let value = keys.get(i).map(String::from_utf8_lossy);
            wrapped.push(value.map(|v| format!("{{{name}:{v}}}").into_bytes()).as_deref());
        }
        let decoded = decoder.decode(&wrapped)?;
        return Ok((decoded.columns, decoded.bad));
    }
    let mut reader = Reader::new(field, &TextStyle::UTC)?;
    let mut bad = Vec::new();
    for i in 0..keys.len() {
        let text = keys.get(i).map(std::str::from_utf8);
        let outcome = match text {
            None => Err(NO_KEY.to_string()),
            Some(Err(_)) => Err("the key of a deletion is not UTF-8".to_string()),
            Some(Ok(text)) => reader.append(Some(text)).map_err(|e| format!("key of a deletion: {}", e.message())),
        };
        if let Err(message) = outcome {
            bad.push((i, message));
        }
    }
    // A reader holds a NULL for a text that failed, and nothing for a key that never reached it.
    let column = reader.finish();
    let good = arrow::compute::is_not_null(&column)?;
    Ok((vec![arrow::compute::filter(&column, &good)?], bad))
}

/// Deletions of one poll, decoded.
pub struct Deletions {
    pub rows: RecordBatch,
    pub positions: Vec<Position>,
    pub dead: Vec<DeadRecord>,
}

/// Rows and deletions in the order of their positions.
pub fn merge(batch: Batch, deletions: Deletions) -> Result<Batch> {
    let (values, removed) = (batch.positions.len(), deletions.positions.len());
    let all: Vec<Position> = batch.positions.iter().chain(&deletions.positions).copied().collect();
    let mut order: Vec<u32> = (0..all.len() as u32).collect();
    order.sort_by_key(|i| all[*i as usize]);
    let schema = batch.rows.schema();
    let joined = arrow::compute::concat_batches(&schema, [&batch.rows, &deletions.rows])?;
    let rows = arrow::compute::take_record_batch(&joined, &UInt32Array::from(order.clone()))?;
    let mut dead = batch.dead;
    dead.extend(deletions.dead);
    dead.sort_by_key(|d| d.position);
    // A deletion has an empty record: the null payload pushed behind the others.
    let raw = batch.raw.map(|mut raw| {
        let empty = raw.payloads.len() as u32;
        Arc::make_mut(&mut raw.payloads).push(None);
        let of = |i: &u32| if (*i as usize) < values { raw.rows.as_ref().map_or(*i, |rows| rows[*i as usize]) } else { empty };
        let by_row = order.iter().map(of).collect();
        RawRecords { payloads: raw.payloads, rows: Some(by_row) }
    });
    let positions = order.iter().map(|i| all[*i as usize]).collect();
    let deleted = (removed > 0).then(|| order.iter().map(|i| *i as usize >= values).collect());
    Ok(Batch { rows, positions, deletions: deleted, dead, raw, ..batch })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connectors::encode::Header;
    use arrow::array::AsArray;
    use arrow::datatypes::{DataType, Int64Type, Schema};
    use std::collections::BTreeMap;

    fn keys(primary_key: &[String], texts: &[Option<&str>]) -> (Vec<ArrayRef>, Vec<String>) {
        let none = BTreeMap::new();
        let declared =
            Schema::new(vec![Field::new("id", DataType::Int64, true), Field::new("name", DataType::Utf8, true), Field::new("v", DataType::Float64, true)]);
        let request = SourceRequest {
            name: "s",
            connector: "kafka",
            options: &none,
            encode: Some("json"),
            encode_options: &none,
            upsert: true,
            primary_key,
            declared: Arc::new(declared),
            not_null: vec![true, false, false],
            metadata: vec![None, None, None],
            created_at: 0,
        };
        let columns = KeyColumns::new(&request, &Encoding::new(&request, Header::Impossible).unwrap()).unwrap();
        let mut payloads = Payloads::default();
        texts.iter().for_each(|t| payloads.push(t.map(str::as_bytes)));
        let (arrays, bad) = columns.decode(columns.decoder().unwrap().as_mut(), &payloads).unwrap();
        (arrays, bad.into_iter().map(|(i, m)| format!("{i} {m}")).collect())
    }

    #[test]
    fn a_deletions_key_is_an_object_or_the_value_itself() {
        let id = ["id".to_string()];
        let (arrays, bad) = keys(&id, &[Some("7"), Some("x"), None, Some("8")]);
        assert_eq!(arrays[0].as_primitive::<Int64Type>().values(), &[7, 8]);
        assert_eq!(bad, ["1 key of a deletion: invalid input syntax for type bigint: \"x\"", "2 a deletion without a key"]);
        let (arrays, _) = keys(&id, &[Some("{\"id\":9,\"more\":1}")]);
        assert_eq!(arrays[0].as_primitive::<Int64Type>().values(), &[9]);
        let (arrays, bad) = keys(&["name".to_string()], &[Some("\"quoted\"")]);
        assert_eq!((arrays[0].as_string::<i32>().value(0), bad.len()), ("quoted", 0));
        let (arrays, _) = keys(&["name".to_string(), "id".to_string()], &[Some("{\"id\":1,\"name\":\"a\"}")]);
        assert_eq!(arrays[0].as_string::<i32>().value(0), "a");
    }
}
