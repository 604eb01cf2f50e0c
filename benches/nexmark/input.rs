//! The Nexmark events, the same for the generator, for Kafka and for the expected answers.

use crate::kafka::Kafka;
use nexmark::EventGenerator;
use nexmark::config::NexmarkConfig;
use nexmark::event::Event;
use std::fmt::Write as _;

/// As in sql/nexmark/sources.sql, milliseconds.
pub const BASE_TIME: u64 = 1_700_000_000_000;
pub const EVENT_RATE: usize = 10_000;
pub const PARTITIONS: usize = 2;

pub fn events(count: usize) -> impl Iterator<Item = Event> {
    let config = NexmarkConfig { base_time: BASE_TIME, first_rate: EVENT_RATE, next_rate: EVENT_RATE, ..NexmarkConfig::default() };
    EventGenerator::new(config).take(count)
}

/// The source that an event belongs to: its number among them, and its name.
pub fn kind(event: &Event) -> (usize, &'static str) {
    match event {
        Event::Person(_) => (0, "person"),
        Event::Auction(_) => (1, "auction"),
        Event::Bid(_) => (2, "bid"),
    }
}

/// Writes all events to topics `PREFIX-person`, …; event n of a kind goes to partition n % 2, so that times rise in each.
pub fn load(kafka: &Kafka, prefix: &str, count: usize) {
    let names = ["person", "auction", "bid"].map(|k| format!("{prefix}-{k}"));
    names.iter().for_each(|n| kafka.create_topic(n, PARTITIONS as i32));
    let feeder = kafka.producer();
    let mut seen = [0; 3];
    let mut text = String::new();
    for event in events(count) {
        let (at, _) = kind(&event);
        text.clear();
        json(&mut text, &event);
        feeder.send(&names[at], (seen[at] % PARTITIONS) as i32, &text);
        seen[at] += 1;
    }
    feeder.flush();
}

/// The generator's texts hold nothing that JSON would have to escape but quotes and backslashes.
fn json(out: &mut String, event: &Event) {
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    match event {
        Event::Person(p) => write!(
            out,
            r#"{{"id":{},"name":{},"email_address":{},"credit_card":{},"city":{},"state":{},"date_time":{},"extra":{}}}"#,
            p.id,
            quoted(&p.name),
            quoted(&p.email_address),
            quoted(&p.credit_card),
            quoted(&p.city),
            quoted(&p.state),
            p.date_time,
            quoted(&p.extra)
        ),
        Event::Auction(a) => write!(
            out,
            r#"{{"id":{},"item_name":{},"description":{},"initial_bid":{},"reserve":{},"date_time":{},"expires":{},"seller":{},"category":{},"extra":{}}}"#,
            a.id,
            quoted(&a.item_name),
            quoted(&a.description),
            a.initial_bid,
            a.reserve,
            a.date_time,
            a.expires,
            a.seller,
            a.category,
            quoted(&a.extra)
        ),
        Event::Bid(b) => write!(
            out,
            r#"{{"auction":{},"bidder":{},"price":{},"channel":{},"url":{},"date_time":{},"extra":{}}}"#,
            b.auction,
            b.bidder,
            b.price,
            quoted(&b.channel),
            quoted(&b.url),
            b.date_time,
            quoted(&b.extra)
        ),
    }
    .unwrap();
}
