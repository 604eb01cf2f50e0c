//! Card payments with planted frauds, for the mission's rule: three distinct merchants and more than 500 spent with one card
//! within 2 minutes. Row n is a function of (seed, n).
//!
//! - A normal payment is made at one of the card's two home merchants, so a card without a fraud never reaches three distinct merchants,
//!   at whatever rate and cardinality: what is flagged is planted.
//! - In every `fraud_every` rows, 3 to 5 are one fraud: one card, as many distinct merchants, 180 to 400 each (at least 540 together), all within
//!   115 seconds of event time, never late or duplicated. `planted_fraud` is its number (row / fraud_every), NULL elsewhere.
//! - A late row's event time is up to `max_lateness` in the past. A duplicate repeats an earlier row in all columns, `duplicate` apart.

use super::connector::SourceRequest;
use super::generated::{BASE_TIME, EVENT_RATE, GeneratedSource, Generator, Maker, PARTITIONS, RATE, ROWS, SEED, Shape, below, match_columns, mix};
use super::options::{OptionKind, OptionSpec, Options};
use crate::error::{Error, Kind, Result};
use arrow::array::{ArrayRef, BooleanBuilder, Decimal128Builder, Int64Builder, StringBuilder, TimestampMicrosecondBuilder};
use arrow::datatypes::{DataType, TimeUnit};
use std::fmt::Write as _;
use std::sync::Arc;

pub const OPTIONS: &[OptionSpec] = &[
    RATE,
    ROWS,
    SEED,
    OptionSpec::new("cards", OptionKind::Integer { min: 1, max: 1_000_000_000 }, "10000", "How many cards there are."),
    OptionSpec::new("merchants", OptionKind::Integer { min: 8, max: 1_000_000_000 }, "1000", "How many merchants there are."),
    OptionSpec::new("late_share", OptionKind::Share, "0", "Share of rows whose event time is in the past."),
    OptionSpec::new("max_lateness", OptionKind::Duration, "30 seconds", "How far in the past at most."),
    OptionSpec::new("duplicate_share", OptionKind::Share, "0", "Share of rows that repeat one of the 100 rows before."),
    OptionSpec::new("fraud_every", OptionKind::Integer { min: 0, max: i64::MAX }, "10000", "One fraud is planted in every so many rows; 0: none."),
    PARTITIONS,
    BASE_TIME,
    EVENT_RATE,
];

/// A fraud lies within this much event time: a window of 2 minutes that slides by 5 seconds holds it whole.
const FRAUD_SPAN_MICROS: i64 = 115_000_000;
/// A duplicate repeats one of so many rows before it.
const DUPLICATE_REACH: u64 = 100;

const COLUMNS: &[(&str, Item)] = &[
    ("payment_id", Item::PaymentId),
    ("card_id", Item::CardId),
    ("card", Item::Card),
    ("merchant_id", Item::MerchantId),
    ("merchant", Item::Merchant),
    ("amount", Item::Amount),
    ("currency", Item::Currency),
    ("country", Item::Country),
    ("ts", Item::Time),
    ("late", Item::Late),
    ("duplicate", Item::Duplicate),
    ("planted_fraud", Item::PlantedFraud),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Item {
    PaymentId,
    CardId,
    Card,
    MerchantId,
    Merchant,
    Amount,
    Currency,
    Country,
    Time,
    Late,
    Duplicate,
    PlantedFraud,
}

fn native_type(item: Item) -> DataType {
    match item {
        Item::PaymentId | Item::CardId | Item::MerchantId | Item::PlantedFraud => DataType::Int64,
        Item::Card | Item::Merchant | Item::Currency | Item::Country => DataType::Utf8,
        Item::Amount => DataType::Decimal128(10, 2),
        Item::Time => DataType::Timestamp(TimeUnit::Microsecond, None),
        Item::Late | Item::Duplicate => DataType::Boolean,
    }
}

/// The source that `request` describes.
pub fn build(request: &SourceRequest<'_>) -> Result<GeneratedSource> {
    let options = Options::check(request.connector, OPTIONS, request.options)?;
    let shape = Shape::read(&options, request.created_at)?;
    let types: Vec<(&str, DataType)> = COLUMNS.iter().map(|(n, i)| (*n, native_type(*i))).collect();
    let items = match_columns(request, "connector \"payments\"", &types)?.into_iter().map(|at| COLUMNS[at].1).collect();
    let world = Arc::new(World::new(&options, &shape)?);
    let rows = shape.rows;
    GeneratedSource::new(request, &shape, rows, Box::new(Payments { world, items }))
}

/// Everything that the rows depend on besides their numbers.
#[derive(Debug)]
struct World {
    shape: Shape,
    cards: u64,
    merchants: u64,
    /// Compared with the top 32 bits of a random word.
    late_below: u64,
    duplicate_below: u64,
    max_lateness: u64,
    /// Rows from one fraud to the next; 0: no frauds.
    fraud_every: i64,
    /// Rows within which one fraud lies.
    fraud_span: i64,
}

impl World {
    fn new(options: &Options<'_>, shape: &Shape) -> Result<World> {
        let share = |name: &str| -> Result<u64> { Ok((options.number(name)?.unwrap_or(0.0) * (1u64 << 32) as f64) as u64) };
        let fraud_every = options.integer("fraud_every")?.unwrap_or(10_000);
        let in_time = (FRAUD_SPAN_MICROS as f64 / 1e6 * shape.event_rate) as i64;
        let fraud_span = fraud_every.min(in_time);
        if fraud_every > 0 && fraud_span < 10 {
            return Err(Error::new(Kind::InvalidParameter, "a planted fraud needs at least 10 rows within 115 seconds of event time")
                .with_hint("raise fraud_every or event_rate, or set fraud_every = 0"));
        }
        Ok(World {
            shape: shape.clone(),
            cards: options.integer("cards")?.unwrap_or(10_000) as u64,
            merchants: options.integer("merchants")?.unwrap_or(1000) as u64,
            late_below: share("late_share")?,
            duplicate_below: share("duplicate_share")?,
            max_lateness: options.duration("max_lateness")?.unwrap_or(30_000_000) as u64,
            fraud_every,
            fraud_span,
        })
    }

    /// An independent random word for each (row or card or fraud, purpose).
    fn word(&self, purpose: Purpose, number: i64) -> u64 {
        mix(mix(self.shape.seed, purpose as u64), number as u64)
    }

    /// A payment as it is before lateness and duplication.
    fn normal(&self, row: i64) -> Payment {
        let word = self.word(Purpose::Row, row);
        let card = below(word, self.cards);
        let home = mix(self.word(Purpose::Card, card as i64), word & 1);
        // Small amounts are common: the square of a uniform number, up to 160.00.
        let u = (word >> 8) & 0xffff;
        let cents = 100 + (u * u * 15_900) / (0xffff * 0xffff);
        let time = self.shape.time(row);
        Payment { id: row, card, merchant: below(home, self.merchants), cents, time, late: false, duplicate: false, fraud: None }
    }

    /// The same, late if its row is drawn so.
    fn original(&self, row: i64) -> Payment {
        let mut payment = self.normal(row);
        let word = self.word(Purpose::Late, row);
        if (word >> 32) < self.late_below {
            payment.late = true;
            payment.time -= 1 + below(mix(word, 1), self.max_lateness) as i64;
        }
        payment
    }

    fn fraud(&self, number: i64) -> Fraud {
        let word = self.word(Purpose::Fraud, number);
        let count = 3 + below(mix(word, 1), 3) as i64;
        let start = number * self.fraud_every + below(mix(word, 2), (self.fraud_every - self.fraud_span + 1) as u64) as i64;
        let slot = self.fraud_span / count;
        let mut rows = [i64::MIN; 5];
        for (i, row) in rows.iter_mut().enumerate().take(count as usize) {
            *row = start + i as i64 * slot + below(mix(word, 10 + i as u64), slot as u64) as i64;
        }
        Fraud { number, rows, card: below(mix(word, 3), self.cards), first_merchant: below(mix(word, 4), self.merchants), word }
    }

    fn row(&self, row: i64, frauds: &mut FraudCache) -> Payment {
        if let Some(payment) = frauds.planted(self, row) {
            return payment;
        }
        let word = self.word(Purpose::Duplicate, row);
        if (word >> 32) < self.duplicate_below {
            let earlier = row - 1 - below(mix(word, 1), DUPLICATE_REACH) as i64;
            let drawn_again = (self.word(Purpose::Duplicate, earlier) >> 32) < self.duplicate_below;
            // Only an ordinary row is repeated: else a row would depend on a chain of others.
            if earlier >= 0 && !drawn_again && frauds.planted(self, earlier).is_none() {
                return Payment { duplicate: true, ..self.original(earlier) };
            }
        }
        self.original(row)
    }
}

/// What a random word is for.
#[derive(Clone, Copy)]
enum Purpose {
    Row = 1,
    Card,
    Late,
    Duplicate,
    Fraud,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Payment {
    id: i64,
    card: u64,
    merchant: u64,
    cents: u64,
    time: i64,
    late: bool,
    duplicate: bool,
    fraud: Option<i64>,
}

/// Where one fraud's payments lie.
#[derive(Clone, Debug)]
struct Fraud {
    number: i64,
    /// Rising; `i64::MIN` where there is none.
    rows: [i64; 5],
    card: u64,
    first_merchant: u64,
    word: u64,
}

/// The fraud of the rows read now; neighbours in time, so two are enough.
#[derive(Default)]
struct FraudCache([Option<Fraud>; 2]);

impl FraudCache {
    /// The payment at `row` if it belongs to a fraud.
    fn planted(&mut self, world: &World, row: i64) -> Option<Payment> {
        if world.fraud_every == 0 || row < 0 {
            return None;
        }
        let number = row / world.fraud_every;
        let slot = &mut self.0[(number & 1) as usize];
        if slot.as_ref().is_none_or(|f| f.number != number) {
            *slot = Some(world.fraud(number));
        }
        let fraud = slot.as_ref()?;
        let i = fraud.rows.iter().position(|r| *r == row)? as u64;
        let cents = 18_000 + below(mix(fraud.word, 20 + i), 22_000);
        // Steps of one from the first: as many merchants as payments, all distinct.
        let merchant = (fraud.first_merchant + i) % world.merchants;
        Some(Payment { id: row, card: fraud.card, merchant, cents, time: world.shape.time(row), late: false, duplicate: false, fraud: Some(number) })
    }
}

struct Payments {
    world: Arc<World>,
    items: Vec<Item>,
}

impl Generator for Payments {
    fn maker(&self) -> Box<dyn Maker> {
        Box::new(PaymentMaker { world: self.world.clone(), items: self.items.clone(), frauds: FraudCache::default(), payments: Vec::new() })
    }
}

struct PaymentMaker {
    world: Arc<World>,
    items: Vec<Item>,
    frauds: FraudCache,
    payments: Vec<Payment>,
}

impl Maker for PaymentMaker {
    fn make(&mut self, events: &[i64]) -> Result<Vec<ArrayRef>> {
        self.payments.clear();
        for &row in events {
            self.payments.push(self.world.row(row, &mut self.frauds));
        }
        self.items.iter().map(|item| column(*item, &self.payments)).collect()
    }
}

fn column(item: Item, payments: &[Payment]) -> Result<ArrayRef> {
    Ok(match item {
        Item::PaymentId => numbers(payments, |p| Some(p.id)),
        Item::CardId => numbers(payments, |p| Some(p.card as i64)),
        Item::MerchantId => numbers(payments, |p| Some(p.merchant as i64)),
        Item::PlantedFraud => numbers(payments, |p| p.fraud),
        Item::Card => texts(payments, |p, out| write!(out, "4000 {:04} {:04} {:04}", p.card / 100_000_000, p.card / 10_000 % 10_000, p.card % 10_000)),
        Item::Merchant => texts(payments, |p, out| write!(out, "merchant-{}", p.merchant)),
        Item::Currency => texts(payments, |_, out| out.write_str("USD")),
        Item::Country => texts(payments, |p, out| out.write_str(["US", "GB", "DE", "FR", "JP", "BR", "IN", "ZA"][(p.merchant % 8) as usize])),
        Item::Late => booleans(payments, |p| p.late),
        Item::Duplicate => booleans(payments, |p| p.duplicate),
        Item::Time => {
            let mut b = TimestampMicrosecondBuilder::with_capacity(payments.len());
            payments.iter().for_each(|p| b.append_value(p.time));
            Arc::new(b.finish())
        }
        Item::Amount => {
            let mut b = Decimal128Builder::with_capacity(payments.len()).with_precision_and_scale(10, 2)?;
            payments.iter().for_each(|p| b.append_value(i128::from(p.cents)));
            Arc::new(b.finish())
        }
    })
}

fn numbers(payments: &[Payment], value: impl Fn(&Payment) -> Option<i64>) -> ArrayRef {
    let mut b = Int64Builder::with_capacity(payments.len());
    payments.iter().for_each(|p| b.append_option(value(p)));
    Arc::new(b.finish())
}

fn booleans(payments: &[Payment], value: impl Fn(&Payment) -> bool) -> ArrayRef {
    let mut b = BooleanBuilder::with_capacity(payments.len());
    payments.iter().for_each(|p| b.append_value(value(p)));
    Arc::new(b.finish())
}

fn texts(payments: &[Payment], write: impl Fn(&Payment, &mut StringBuilder) -> std::fmt::Result) -> ArrayRef {
    let mut b = StringBuilder::with_capacity(payments.len(), payments.len() * 16);
    for p in payments {
        write(p, &mut b).expect("a string builder takes all that fits in memory");
        b.append_value("");
    }
    Arc::new(b.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    fn world(options: &[(&str, &str)]) -> World {
        let values: BTreeMap<String, String> = options.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        let options = Options::check("payments", OPTIONS, &values).unwrap();
        World::new(&options, &Shape::read(&options, 1_700_000_000_000_000).unwrap()).unwrap()
    }

    #[test]
    fn every_fraud_has_the_pattern_and_no_other_card_does() {
        let world = world(&[
            ("cards", "500"),
            ("merchants", "50"),
            ("fraud_every", "2000"),
            ("event_rate", "100"),
            ("late_share", "0.05"),
            ("duplicate_share", "0.02"),
        ]);
        let mut cache = FraudCache::default();
        let payments: Vec<Payment> = (0..40_000).map(|n| world.row(n, &mut cache)).collect();
        let mut frauds: BTreeMap<i64, Vec<&Payment>> = BTreeMap::new();
        payments.iter().filter_map(|p| Some((p.fraud?, p))).for_each(|(f, p)| frauds.entry(f).or_default().push(p));
        assert_eq!(frauds.len(), 20);
        for fraud in frauds.values() {
            let merchants: BTreeSet<u64> = fraud.iter().map(|p| p.merchant).collect();
            let times = fraud.iter().map(|p| p.time);
            assert!(merchants.len() >= 3 && merchants.len() == fraud.len());
            assert!(fraud.iter().map(|p| p.cents).sum::<u64>() > 50_000);
            assert!(times.clone().max().unwrap() - times.min().unwrap() <= FRAUD_SPAN_MICROS);
            assert!(fraud.iter().all(|p| p.card == fraud[0].card && !p.late && !p.duplicate));
        }
        let planted: BTreeSet<u64> = frauds.values().map(|f| f[0].card).collect();
        let mut homes: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
        for p in payments.iter().filter(|p| !planted.contains(&p.card)) {
            homes.entry(p.card).or_default().insert(p.merchant);
        }
        assert!(homes.values().all(|m| m.len() <= 2));
    }

    #[test]
    fn a_row_does_not_depend_on_where_reading_began() {
        let world = world(&[("late_share", "0.1"), ("duplicate_share", "0.1"), ("fraud_every", "100")]);
        let mut cache = FraudCache::default();
        let all: Vec<Payment> = (0..2000).map(|n| world.row(n, &mut cache)).collect();
        for n in [0, 1, 99, 100, 777, 1999] {
            assert_eq!(world.row(n as i64, &mut FraudCache::default()), all[n]);
        }
        let share = |f: fn(&Payment) -> bool| all.iter().filter(|p| f(p)).count();
        assert!((120..280).contains(&share(|p| p.late)) && (100..280).contains(&share(|p| p.duplicate)));
    }

    #[test]
    fn frauds_that_do_not_fit_in_time_are_refused() {
        let values: BTreeMap<String, String> = [("event_rate".to_string(), "0.01".to_string())].into();
        let options = Options::check("payments", OPTIONS, &values).unwrap();
        let error = World::new(&options, &Shape::read(&options, 0).unwrap()).unwrap_err();
        assert_eq!(error.sqlstate(), "22023");
    }
}
