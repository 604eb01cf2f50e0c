//! Records that are JSON objects, decoded in one pass over their bytes straight into Arrow buffers: no tree, no tape.
//!
//! Kinds are strict, for a value that is quietly turned into another one is a wrong result later: integers take whole numbers (`1e3` and `5.0` are), text takes
//! strings, boolean takes true and false. Numeric also takes a string of digits, floats take "NaN" and "Infinity", timestamps take
//! ISO 8601 or what Postgres reads, and numbers since the epoch. jsonb takes anything.

use super::column::Rules;
use super::format::{Decoded, Decoder, Payloads};
use super::object::Object;
use super::scan::{Bad, Checked, Cursor};
use crate::error::Result;
use arrow::datatypes::Schema;

/// Decodes JSON objects.
pub struct JsonDecoder {
    object: Object,
    rows: usize,
}

impl JsonDecoder {
    /// `not_null` tells the columns that take no null. Error: a declared type that JSON values cannot fill.
    pub fn new(schema: &Schema, not_null: &[bool], rules: Rules) -> Result<JsonDecoder> {
        Ok(JsonDecoder { object: Object::new(schema.fields(), not_null, rules)?, rows: 0 })
    }

    fn record(&mut self, record: &[u8]) -> Checked<()> {
        let mut cursor = Cursor::new(record);
        cursor.blanks();
        if cursor.at_end() {
            return super::scan::bad_value("the record is empty");
        }
        if cursor.peek() != b'{' {
            return cursor.unexpected("an object");
        }
        self.object.read(&mut cursor)?;
        cursor.blanks();
        if cursor.at_end() { Ok(()) } else { cursor.unexpected("the end of the record") }
    }
}

impl Decoder for JsonDecoder {
    fn decode(&mut self, records: &Payloads) -> Result<Decoded> {
        self.rows = 0;
        let mut bad = Vec::new();
        for i in 0..records.len() {
            let outcome = match records.get(i) {
                Some(record) => self.record(record),
                None => super::scan::bad_value("the record has no payload"),
            };
            match outcome {
                Ok(()) => self.rows += 1,
                Err(why) => {
                    self.object.truncate(self.rows);
                    let (Bad::Syntax(message) | Bad::Value(message)) = *why;
                    bad.push((i, message));
                }
            }
        }
        Ok(Decoded { columns: self.object.finish()?, bad })
    }
}

#[cfg(test)]
mod tests {
    use super::super::column::{ByteaText, TimestampUnit};
    use super::*;
    use crate::types::text::{Column as TextColumn, TextStyle};
    use arrow::datatypes::{DataType, Field, IntervalUnit, TimeUnit};
    use std::collections::HashMap;
    use std::sync::Arc;

    const RULES: Rules = Rules { timestamp_unit: TimestampUnit::Millis, bytea: ByteaText::Postgres, missing_is_null: false };

    /// Each good record as `a|b`, then each bad one as `#ordinal message`.
    fn decode(fields: Vec<Field>, rules: Rules, records: &[&str]) -> String {
        let not_null = vec![false; fields.len()];
        let schema = Schema::new(fields);
        let mut decoder = JsonDecoder::new(&schema, &not_null, rules).unwrap();
        let mut payloads = Payloads::default();
        records.iter().for_each(|r| payloads.push(Some(r.as_bytes())));
        let decoded = decoder.decode(&payloads).unwrap();
        let columns: Vec<TextColumn<'_>> =
            schema.fields().iter().zip(&decoded.columns).map(|(f, c)| TextColumn::new(f, c.as_ref(), &TextStyle::UTC).unwrap()).collect();
        let rows = records.len() - decoded.bad.len();
        assert!(decoded.columns.iter().all(|c| c.len() == rows));
        let mut lines: Vec<String> = Vec::new();
        for row in 0..rows {
            let values = columns.iter().map(|c| {
                let mut out = Vec::new();
                if c.is_null(row) {
                    out.extend_from_slice(b"NULL")
                } else {
                    c.write(row, &mut out)
                }
                String::from_utf8(out).unwrap()
            });
            lines.push(values.collect::<Vec<_>>().join("|"));
        }
        lines.extend(decoded.bad.iter().map(|(i, m)| format!("#{i} {m}")));
        lines.join("\n")
    }

    fn one(data_type: DataType, values: &[&str]) -> String {
        let records: Vec<String> = values.iter().map(|v| format!("{{\"c\":{v}}}")).collect();
        decode(vec![Field::new("c", data_type, true)], RULES, &records.iter().map(String::as_str).collect::<Vec<_>>())
    }

    #[test]
    fn fields_in_any_order_and_case_and_a_bad_record_leaves_no_trace() {
        let fields = vec![Field::new("a", DataType::Int64, true), Field::new("b", DataType::Utf8, true), Field::new("c", DataType::Float64, true)];
        let shown = decode(
            fields,
            RULES,
            &[
                r#"{"a":1,"b":"x","c":1.5}"#,
                r#" { "c" : 2 , "b" : "y\n" , "zzz" : [1,{"q":2}] , "A" : 7 } "#,
                r#"{"a":2,"b":"half","c":"no"}"#,
                r#"{"a":3,"b":null,"c":null}"#,
                r#"{"a":4,"b":"x"}"#,
                r#"{"a":5,"a":6,"b":"dup","c":0}"#,
                r#"{"a":5,"b":"x","c":0} x"#,
                r#"[1]"#,
                "",
                r#"{"a":5,"b":"x","c":0,}"#,
                "{\"a\":5,\"b\":\"\u{1}\",\"c\":0}",
            ],
        );
        assert_eq!(
            shown,
            "1|x|1.5\n7|y\n|2\n3|NULL|NULL\n6|dup|0\n\
            #2 column \"c\": expected double precision, got string \"no\"\n\
            #4 field \"c\" is missing (missing_fields = 'null' would take it as NULL)\n\
            #6 invalid JSON at byte 23: expected the end of the record, found x\n\
            #7 invalid JSON at byte 1: expected an object, found [1]\n\
            #8 the record is empty\n\
            #9 invalid JSON at byte 22: expected a field name, found }\n\
            #10 invalid JSON at byte 13: expected the rest of a string, found \u{1}\",\"c\":0}"
        );
    }

    #[test]
    fn integers_are_exact() {
        assert_eq!(
            one(DataType::Int64, &["9223372036854775807", "-9223372036854775808", "1e3", "5.0", "-0"]),
            "9223372036854775807\n-9223372036854775808\n1000\n5\n0"
        );
        assert_eq!(
            one(DataType::Int64, &["9223372036854775808", "1.5", "\"7\"", "true", "{}", "01"]),
            "\
            #0 column \"c\": number 9223372036854775808 is out of range for bigint\n\
            #1 column \"c\": expected bigint, got number 1.5\n\
            #2 column \"c\": expected bigint, got string \"7\"\n\
            #3 column \"c\": expected bigint, got true\n\
            #4 column \"c\": expected bigint, got an object\n\
            #5 invalid JSON at byte 6: expected a number, found 01}"
        );
        assert_eq!(one(DataType::Int16, &["32767", "32768"]), "32767\n#1 column \"c\": number 32768 is out of range for smallint");
    }

    #[test]
    fn numerics_are_exact_and_rounded_at_the_scale() {
        assert_eq!(one(DataType::Decimal128(10, 2), &["1.1", "\"12345678.91\"", "-0.005", "1e3", "1.004"]), "1.10\n12345678.91\n-0.01\n1000.00\n1.00");
        assert_eq!(
            one(DataType::Decimal128(4, 2), &["99.99", "100", "99.995", "\"x\""]),
            "99.99\n\
            #1 column \"c\": numeric field overflow: 100\n#2 column \"c\": numeric field overflow: 99.995\n\
            #3 column \"c\": invalid input syntax for type numeric: \"x\": x"
        );
    }

    #[test]
    fn times_are_read_as_iso_postgres_text_and_numbers() {
        let timestamp = DataType::Timestamp(TimeUnit::Microsecond, None);
        let zoned = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let values = [
            "1700000000000",
            "1700000000000.5",
            "\"2023-11-14T22:13:20.123Z\"",
            "\"2023-11-14 22:13:20\"",
            "\"14-Nov-2023 22:13\"",
            "\"2023-11-14T22:13:20+02:00\"",
            "\"nonsense\"",
            "\"2023-02-30 00:00:00\"",
        ];
        assert_eq!(one(timestamp, &values[..4]), "2023-11-14 22:13:20\n2023-11-14 22:13:20.0005\n2023-11-14 22:13:20.123\n2023-11-14 22:13:20");
        assert_eq!(
            one(zoned, &values[4..]),
            "2023-11-14 22:13:00+00\n2023-11-14 20:13:20+00\n\
            #2 column \"c\": invalid input syntax for type timestamp with time zone: \"nonsense\"\n\
            #3 column \"c\": date/time field value out of range: \"2023-02-30 00:00:00\""
        );
        assert_eq!(one(DataType::Date32, &["\"2024-02-29\"", "5"]), "2024-02-29\n#1 column \"c\": expected date, got number 5");
        assert_eq!(one(DataType::Interval(IntervalUnit::MonthDayNano), &["\"1 day 02:00\""]), "1 day 02:00:00");
        let seconds = Rules { timestamp_unit: TimestampUnit::Seconds, ..RULES };
        let field = Field::new("c", DataType::Timestamp(TimeUnit::Microsecond, None), true);
        assert_eq!(decode(vec![field], seconds, &["{\"c\":1700000000.25}"]), "2023-11-14 22:13:20.25");
    }

    #[test]
    fn jsonb_nested_and_binary_values() {
        let jsonb = Field::new("c", DataType::Utf8, true).with_metadata(HashMap::from([("tw.type".to_string(), "jsonb".to_string())]));
        assert_eq!(decode(vec![jsonb], RULES, &[r#"{"c":{"bb":1e1,"a":[true,"\u00e9"],"bb":2}}"#, r#"{"c":"x"}"#]), "{\"a\": [true, \"é\"], \"bb\": 2}\n\"x\"");
        let list = DataType::List(Arc::new(Field::new("item", DataType::Int32, true)));
        assert_eq!(
            one(list, &["[1,null,3]", "[]", "[1,\"x\"]", "null", "5"]),
            "{1,NULL,3}\n{}\nNULL\n#2 column \"c\": expected integer, got string \"x\"\n#4 column \"c\": expected an array, got number 5"
        );
        let pair = DataType::Struct(vec![Field::new("x", DataType::Int32, true), Field::new("y", DataType::Boolean, true)].into());
        assert_eq!(
            one(pair, &[r#"{"y":true,"x":1}"#, "null", r#"{"x":1,"y":2}"#, r#"{"x":1}"#]),
            "(1,t)\nNULL\n\
            #2 column \"c.y\": expected boolean, got number 2\n#3 column \"c\": field \"y\" is missing (missing_fields = 'null' would take it as NULL)"
        );
        assert_eq!(one(DataType::Binary, &[r#""\\x00ff""#]), "\\x00ff");
        let base64 = Rules { bytea: ByteaText::Base64, missing_is_null: true, ..RULES };
        let fields = vec![Field::new("c", DataType::Binary, true)];
        assert_eq!(decode(fields, base64, &[r#"{"c":"aGk="}"#, "{}", r#"{"c":"a"}"#]), "\\x6869\nNULL\n#2 column \"c\": invalid base64");
    }
}
