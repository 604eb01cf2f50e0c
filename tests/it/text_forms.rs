//! Text forms of values against a real PostgreSQL: what this program prints must be what PostgreSQL prints for the same
//! value, and must read back to it. Random values with extremes among them.

use crate::client::Client;
use crate::postgres::Postgres;
use crate::random::Random;
use arrow::array::{Array, ArrayRef, BinaryArray, Date32Array, Decimal128Array, FixedSizeBinaryArray, Float32Array, Float64Array};
use arrow::array::{IntervalMonthDayNanoArray, ListArray, StringArray, Time64MicrosecondArray, TimestampMicrosecondArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, IntervalMonthDayNano};
use std::collections::HashMap;
use std::sync::Arc;
use tidewater::types::text::{TYPE_KEY, TextStyle, Zone, parse_value, write_value};

/// Values of each type.
const VALUES: usize = 1000;

/// A type's name in PostgreSQL, and a random value of it.
type Generator = (&'static str, fn(&mut Random) -> ArrayRef);

const GENERATORS: [Generator; 12] = [
    ("float8", |r| Arc::new(Float64Array::from(vec![float(r)]))),
    ("float4", |r| Arc::new(Float32Array::from(vec![float(r) as f32]))),
    ("numeric", numeric),
    ("date", |r| Arc::new(Date32Array::from(vec![between(r, -2_440_000, 100_000_000) as i32]))),
    ("time", |r| Arc::new(Time64MicrosecondArray::from(vec![rounded(between_wide(r, 0, 86_400_000_000), r)]))),
    ("timestamp", |r| Arc::new(TimestampMicrosecondArray::from(vec![rounded(instant(r), r)]))),
    ("timestamptz", |r| Arc::new(TimestampMicrosecondArray::from(vec![between_wide(r, 0, 2_100_000_000_000_000)]).with_timezone("UTC"))),
    ("interval", |r| Arc::new(IntervalMonthDayNanoArray::from(vec![interval(r)]))),
    ("uuid", |r| Arc::new(FixedSizeBinaryArray::try_from_iter([bytes(r, 16)].into_iter()).unwrap())),
    ("bytea", |r| {
        let length = r.below(20) as usize;
        Arc::new(BinaryArray::from(vec![&bytes(r, length)[..]]))
    }),
    ("text[]", text_array),
    ("jsonb", |r| {
        let text = json(r, 3);
        parse_value(&field("jsonb", DataType::Utf8), Some(&text), &TextStyle::UTC).unwrap()
    }),
];

#[test]
fn values_print_and_read_as_in_postgres() {
    let mut random = Random::from_environment();
    let postgres = Postgres::start();
    let mut client = Client::connect_as(postgres.port, "tidewater", "tidewater").unwrap();
    for zone in ["UTC", "America/New_York", "Asia/Kolkata"] {
        let style = TextStyle { timezone: Zone::parse(zone).unwrap() };
        client.run(&format!("SET TimeZone = '{zone}'"));
        for (name, generate) in GENERATORS {
            let values: Vec<ArrayRef> = (0..VALUES).map(|_| generate(&mut random)).collect();
            let ours: Vec<String> = values.iter().map(|v| text(name, v, &style)).collect();
            let literals: Vec<String> = ours.iter().map(|t| format!("('{}')", t.replace('\'', "''"))).collect();
            let theirs = client.texts(&format!("SELECT v::{name}::text FROM (VALUES {}) AS t(v)", literals.join(", ")));
            for ((value, ours), theirs) in values.iter().zip(&ours).zip(&theirs) {
                assert_eq!(*ours, theirs[0], "{name} in {zone}");
                let back = parse_value(&field(name, value.data_type().clone()), Some(ours), &style).unwrap();
                assert_eq!(text(name, &back, &style), *ours, "{name} read back in {zone}");
                // A NaN is not equal to itself, and prints as one.
                assert!(back.to_data() == value.to_data() || ours.contains("NaN"), "{name} {ours} read back in {zone}");
            }
        }
    }
}

fn field(name: &str, data_type: DataType) -> Field {
    let metadata = if name == "jsonb" { HashMap::from([(TYPE_KEY.to_string(), name.to_string())]) } else { HashMap::new() };
    Field::new("v", data_type, true).with_metadata(metadata)
}

fn text(name: &str, value: &ArrayRef, style: &TextStyle) -> String {
    let mut out = Vec::new();
    write_value(&field(name, value.data_type().clone()), value, 0, &mut out, style).unwrap();
    String::from_utf8(out).unwrap()
}

fn wide(random: &mut Random) -> u64 {
    random.below(1 << 24) | random.below(1 << 24) << 20 | random.below(1 << 24) << 40
}

fn between(random: &mut Random, low: i64, high: i64) -> i64 {
    low + random.below((high - low) as u64) as i64
}

fn between_wide(random: &mut Random, low: i64, high: i64) -> i64 {
    low + (wide(random) % (high - low) as u64) as i64
}

/// Any bits; whole numbers and powers of ten, where layouts change; small decimal fractions.
fn float(random: &mut Random) -> f64 {
    match random.below(4) {
        0 => f64::from_bits(wide(random)),
        1 => (random.below(2_000_000) as f64 - 1_000_000.0) * 10f64.powi(random.below(20) as i32),
        2 => 10f64.powi(random.below(40) as i32 - 20) * if random.below(2) == 0 { 1.0 } else { -1.0 },
        _ => random.below(1_000_000) as f64 / 1000.0,
    }
}

fn numeric(random: &mut Random) -> ArrayRef {
    let scale = random.below(20) as i8;
    let value = (wide(random) as i128 - (1 << 62)) * i128::from(random.below(1000)) / 10i128.pow(random.below(20) as u32);
    Arc::new(Decimal128Array::from(vec![value]).with_precision_and_scale(38, scale).unwrap())
}

/// From 4700 before Christ to the year 200000, most of them near today.
fn instant(random: &mut Random) -> i64 {
    if random.below(2) == 0 {
        between_wide(random, -210_000_000_000_000_000, 6_200_000_000_000_000_000)
    } else {
        between_wide(random, 0, 2_000_000_000_000_000)
    }
}

/// Often without a fraction, or with a short one.
fn rounded(micros: i64, random: &mut Random) -> i64 {
    let unit = [1, 1000, 100_000, 1_000_000][random.below(4) as usize];
    micros / unit * unit
}

fn interval(random: &mut Random) -> IntervalMonthDayNano {
    let mut part = |bound: u64| if random.below(3) == 0 { 0 } else { random.below(2 * bound) as i64 - bound as i64 };
    let (months, days, micros) = (part(500), part(1000), part(1_000_000_000));
    IntervalMonthDayNano::new(months as i32, days as i32, rounded(micros * 100, random) * 1000)
}

fn bytes(random: &mut Random, length: usize) -> Vec<u8> {
    (0..length).map(|_| random.below(256) as u8).collect()
}

/// Words with everything in them that quoting must care for.
fn word(random: &mut Random) -> String {
    const PARTS: [&str; 16] = ["a", "B", " ", "\"", "\\", ",", "{", "}", "(", ")", "null", "é", "'", "\t", "\n", "1"];
    (0..random.below(4)).map(|_| PARTS[random.below(16) as usize]).collect()
}

fn text_array(random: &mut Random) -> ArrayRef {
    let items: Vec<Option<String>> = (0..random.below(5)).map(|_| (random.below(5) > 0).then(|| word(random))).collect();
    let offsets = OffsetBuffer::from_lengths([items.len()]);
    Arc::new(ListArray::new(Arc::new(Field::new("item", DataType::Utf8, true)), offsets, Arc::new(StringArray::from(items)), None))
}

fn json(random: &mut Random, depth: u32) -> String {
    let quoted = |random: &mut Random| format!("\"{}\"", word(random).replace('\\', "\\\\").replace('"', "\\u0022").replace('\n', "\\n").replace('\t', "\\t"));
    match random.below(if depth == 0 { 4 } else { 6 }) {
        0 => ["true", "false", "null"][random.below(3) as usize].to_string(),
        1 => format!("{}.{}e{}", between(random, -1000, 1000), random.below(1000), between(random, -10, 10)),
        2 => between(random, -1_000_000, 1_000_000).to_string(),
        3 => quoted(random),
        4 => format!("[{}]", (0..random.below(4)).map(|_| json(random, depth - 1)).collect::<Vec<_>>().join(" ,")),
        _ => {
            let fields = (0..random.below(5)).map(|_| format!("{} :{}", quoted(random), json(random, depth - 1)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
        }
    }
}
