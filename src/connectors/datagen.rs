//! Rows of any shape for trying things out: each column is a sequence or random, as its options say. Row n is a
//! function of (seed, n).

use super::connector::SourceRequest;
use super::generated::{BASE_TIME, EVENT_RATE, GeneratedSource, Generator, Maker, PARTITIONS, RATE, ROWS, SEED, Shape, below, made_columns, mix};
use super::options::{OptionKind, OptionSpec, Options, nearest, parse_duration};
use crate::error::{Error, Kind, Result};
use arrow::array::{ArrayRef, BooleanArray, Decimal128Array, FixedSizeBinaryArray, Float64Array, Int64Array, StringBuilder, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, TimeUnit};
use std::sync::Arc;

pub const OPTIONS: &[OptionSpec] = &[
    OptionSpec::new(
        "fields.*",
        OptionKind::Text,
        "",
        "fields.COLUMN.kind = sequence | random (default); start, end: of a sequence; min, max, seed: of random numbers; length: of random texts; max_past: how far random times reach back.",
    ),
    RATE,
    ROWS,
    SEED,
    PARTITIONS,
    BASE_TIME,
    EVENT_RATE,
];

/// What a field option may be called.
const FIELD_OPTIONS: &[&str] = &["kind", "start", "end", "min", "max", "length", "seed", "max_past"];

/// The source that `request` describes.
pub fn build(request: &SourceRequest<'_>) -> Result<GeneratedSource> {
    let options = Options::check(request.connector, OPTIONS, request.options)?;
    let shape = Shape::read(&options, request.created_at)?;
    let made = made_columns(request)?;
    check_names(&options, &made)?;
    let mut rows = shape.rows;
    let mut fields = Vec::new();
    for (at, (name, declared)) in made.into_iter().enumerate() {
        let field = field(&options, &shape, at as u64, name, declared)?;
        if let Kinds::Sequence { start, end: Some(end) } = field {
            rows = Some(rows.unwrap_or(i64::MAX).min(end.saturating_sub(start).saturating_add(1)));
        }
        fields.push(field);
    }
    let generator = Datagen { shape: shape.clone(), fields: fields.into() };
    GeneratedSource::new(request, &shape, rows, Box::new(generator))
}

/// How one column is made.
#[derive(Clone, Debug, PartialEq)]
enum Kinds {
    Sequence {
        start: i64,
        end: Option<i64>,
    },
    Integer {
        seed: u64,
        min: i64,
        max: i64,
    },
    Float {
        seed: u64,
        min: f64,
        max: f64,
    },
    Decimal {
        seed: u64,
        precision: u8,
        scale: i8,
        min: i128,
        max: i128,
    },
    Boolean {
        seed: u64,
    },
    Text {
        seed: u64,
        length: usize,
    },
    Uuid {
        seed: u64,
    },
    /// The event's time, or a random one up to `max_past` µs before.
    Time {
        seed: u64,
        max_past: i64,
    },
}

fn invalid(message: String) -> Error {
    Error::new(Kind::InvalidParameter, message)
}

fn check_names(options: &Options<'_>, made: &[(&str, &DataType)]) -> Result<()> {
    let columns: Vec<&str> = made.iter().map(|(n, _)| *n).collect();
    for (rest, _) in options.under("fields.") {
        let (column, option) =
            rest.rsplit_once('.').ok_or_else(|| invalid(format!("option \"fields.{rest}\" is incomplete")).with_hint("write fields.COLUMN.kind"))?;
        if !columns.contains(&column) {
            let hint = nearest(column, &columns).map_or(format!("columns are {}", columns.join(", ")), |n| format!("did you mean \"{n}\"?"));
            return Err(invalid(format!("option \"fields.{rest}\" names no column")).with_hint(hint));
        }
        if !FIELD_OPTIONS.contains(&option) {
            let near = nearest(option, FIELD_OPTIONS).map_or(String::new(), |n| format!("did you mean \"{n}\"? "));
            return Err(invalid(format!("a datagen column has no option \"{option}\"")).with_hint(format!("{near}options are {}", FIELD_OPTIONS.join(", "))));
        }
    }
    Ok(())
}

/// Options of one column.
struct Field<'a, 'b> {
    options: &'b Options<'a>,
    name: &'b str,
}

impl<'a> Field<'a, '_> {
    fn text(&self, option: &str) -> Option<&'a str> {
        let full = format!("{}.{option}", self.name);
        self.options.under("fields.").find(|(n, _)| *n == full).map(|(_, v)| v.trim())
    }

    fn parse<T: std::str::FromStr>(&self, option: &str, expected: &str) -> Result<Option<T>> {
        let Some(text) = self.text(option) else { return Ok(None) };
        let wrong = |_| invalid(format!("option \"fields.{}.{option}\" cannot be \"{text}\"", self.name)).with_hint(format!("it takes {expected}"));
        text.replace('_', "").parse().map(Some).map_err(wrong)
    }

    fn range<T: std::str::FromStr + PartialOrd + Copy>(&self, expected: &str, default: (T, T)) -> Result<(T, T)> {
        let (min, max) = (self.parse("min", expected)?.unwrap_or(default.0), self.parse("max", expected)?.unwrap_or(default.1));
        if min > max {
            return Err(invalid(format!("option \"fields.{}.min\" is above its max", self.name)));
        }
        Ok((min, max))
    }
}

fn field(options: &Options<'_>, shape: &Shape, at: u64, name: &str, declared: &DataType) -> Result<Kinds> {
    let field = Field { options, name };
    let seed = mix(field.parse("seed", "a whole number")?.unwrap_or(shape.seed), at);
    let kind = field.text("kind").unwrap_or("random").to_lowercase();
    if kind == "sequence" {
        return sequence(&field, declared);
    }
    if kind != "random" {
        return Err(invalid(format!("option \"fields.{name}.kind\" cannot be \"{kind}\"")).with_hint("it takes sequence or random"));
    }
    let whole = "a whole number";
    Ok(match declared {
        DataType::Int16 => field.range(whole, (0, i64::from(i16::MAX))).map(|(min, max)| Kinds::Integer { seed, min, max })?,
        DataType::Int32 => field.range(whole, (0, i64::from(i32::MAX))).map(|(min, max)| Kinds::Integer { seed, min, max })?,
        DataType::Int64 => field.range(whole, (0, i64::MAX)).map(|(min, max)| Kinds::Integer { seed, min, max })?,
        DataType::Float32 | DataType::Float64 => field.range("a number", (0.0, 1.0)).map(|(min, max)| Kinds::Float { seed, min, max })?,
        DataType::Decimal128(precision, scale) => {
            let limit = 10i64.saturating_pow(u32::from(*precision).saturating_sub(*scale as u32).min(15));
            let (min, max) = field.range(whole, (0, limit - 1))?;
            let unit = 10i128.pow(*scale as u32);
            Kinds::Decimal { seed, precision: *precision, scale: *scale, min: i128::from(min) * unit, max: i128::from(max) * unit }
        }
        DataType::Boolean => Kinds::Boolean { seed },
        DataType::Utf8 => Kinds::Text { seed, length: field.parse("length", whole)?.unwrap_or(10usize).min(1 << 20) },
        DataType::FixedSizeBinary(16) => Kinds::Uuid { seed },
        DataType::Timestamp(TimeUnit::Microsecond, _) | DataType::Date32 => Kinds::Time { seed, max_past: max_past(&field)? },
        _ => return Err(refuse(name)),
    })
}

fn sequence(field: &Field<'_, '_>, declared: &DataType) -> Result<Kinds> {
    if !matches!(declared, DataType::Int16 | DataType::Int32 | DataType::Int64) {
        return Err(Error::not_supported(format!("column \"{}\" cannot be a sequence", field.name)).with_hint("sequences are smallint, int or bigint"));
    }
    let start = field.parse("start", "a whole number")?.unwrap_or(0);
    let highest = match declared {
        DataType::Int16 => Some(i64::from(i16::MAX)),
        DataType::Int32 => Some(i64::from(i32::MAX)),
        _ => None,
    };
    let end = field.parse("end", "a whole number")?.or(highest);
    if end.is_some_and(|e| e < start || highest.is_some_and(|h| e > h)) {
        return Err(invalid(format!("option \"fields.{}.end\" is out of range", field.name)));
    }
    Ok(Kinds::Sequence { start, end })
}

fn max_past(field: &Field<'_, '_>) -> Result<i64> {
    let Some(text) = field.text("max_past") else { return Ok(0) };
    parse_duration(text)
        .ok_or_else(|| invalid(format!("option \"fields.{}.max_past\" cannot be \"{text}\"", field.name)).with_hint("it takes a duration such as '1 minute'"))
}

fn refuse(name: &str) -> Error {
    Error::not_supported(format!("connector \"datagen\" cannot make values of the type of column \"{name}\""))
        .with_hint("it makes integers, real, double precision, numeric(p,s), boolean, text, uuid, date, timestamp and timestamptz")
}

struct Datagen {
    shape: Shape,
    fields: Arc<[Kinds]>,
}

impl Generator for Datagen {
    fn maker(&self) -> Box<dyn Maker> {
        Box::new(DatagenMaker { shape: self.shape.clone(), fields: self.fields.clone() })
    }
}

struct DatagenMaker {
    shape: Shape,
    fields: Arc<[Kinds]>,
}

impl Maker for DatagenMaker {
    fn make(&mut self, events: &[i64]) -> Result<Vec<ArrayRef>> {
        self.fields.iter().map(|kind| column(kind, &self.shape, events)).collect()
    }
}

fn column(kind: &Kinds, shape: &Shape, events: &[i64]) -> Result<ArrayRef> {
    let words = |seed: u64| events.iter().map(move |n| mix(seed, *n as u64));
    Ok(match *kind {
        Kinds::Sequence { start, .. } => Arc::new(events.iter().map(|n| start.saturating_add(*n)).collect::<Int64Array>()),
        Kinds::Integer { seed, min, max } => {
            let span = max.wrapping_sub(min) as u64;
            let draw = move |w: u64| if span == u64::MAX { w } else { below(w, span + 1) };
            Arc::new(words(seed).map(|w| min.wrapping_add(draw(w) as i64)).collect::<Int64Array>())
        }
        Kinds::Float { seed, min, max } => Arc::new(words(seed).map(|w| min + (w >> 11) as f64 / (1u64 << 53) as f64 * (max - min)).collect::<Float64Array>()),
        Kinds::Decimal { seed, precision, scale, min, max } => {
            let draw = |w: u64| min + ((i128::from(w >> 1) * (max - min + 1).min(i128::from(i64::MAX))) >> 63);
            Arc::new(words(seed).map(draw).collect::<Decimal128Array>().with_precision_and_scale(precision, scale)?)
        }
        Kinds::Boolean { seed } => Arc::new(words(seed).map(|w| Some(w & 1 == 1)).collect::<BooleanArray>()),
        Kinds::Text { seed, length } => texts(seed, length, events),
        Kinds::Uuid { seed } => {
            let values = words(seed).map(|w| {
                let mut bytes = [0u8; 16];
                bytes[..8].copy_from_slice(&w.to_be_bytes());
                bytes[8..].copy_from_slice(&mix(w, 1).to_be_bytes());
                // Version 4, variant 1, as a random uuid is marked.
                bytes[6] = bytes[6] & 0x0f | 0x40;
                bytes[8] = bytes[8] & 0x3f | 0x80;
                bytes
            });
            Arc::new(FixedSizeBinaryArray::try_from_iter(values)?)
        }
        Kinds::Time { seed, max_past } => {
            let back = |n: i64| if max_past == 0 { 0 } else { below(mix(seed, n as u64), max_past as u64 + 1) as i64 };
            Arc::new(TimestampMicrosecondArray::from_iter_values(events.iter().map(|n| shape.time(*n) - back(*n))))
        }
    })
}

fn texts(seed: u64, length: usize, events: &[i64]) -> ArrayRef {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz012345";
    let mut builder = StringBuilder::with_capacity(events.len(), events.len() * length);
    let mut text = String::with_capacity(length);
    for n in events {
        text.clear();
        let mut word = 0;
        for i in 0..length {
            if i % 12 == 0 {
                word = mix(mix(seed, *n as u64), i as u64);
            }
            text.push(LETTERS[(word & 31) as usize] as char);
            word >>= 5;
        }
        builder.append_value(&text);
    }
    Arc::new(builder.finish())
}
