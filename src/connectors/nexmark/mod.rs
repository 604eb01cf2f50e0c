//! The Nexmark benchmark's events (persons, auctions, bids of an online auction), from the crate `nexmark`, which
//! makes event n from n alone; bids are made here, the same but faster (bids.rs). Kinds that the source does not declare are never made: the number of an event tells its kind.
//!
//! In every 50 events the first is a person, the next 3 are auctions, the last 46 are bids; partitions take whole such groups, so each of
//! them sees all kinds.

mod bids;

use self::bids::Bids;
use super::connector::SourceRequest;
use super::generated::{BASE_TIME, EVENT_RATE, GeneratedSource, Generator, Maker, PARTITIONS, PREPARED, RATE, ROWS, Shape, match_columns};
use super::options::{OptionKind, OptionSpec, Options};
use crate::error::{Error, Result};
use arrow::array::{ArrayRef, Int64Builder, StringBuilder, TimestampMicrosecondBuilder};
use arrow::datatypes::{DataType, TimeUnit};
use nexmark::EventGenerator;
use nexmark::config::NexmarkConfig;
use nexmark::event::{Event, EventType};
use std::sync::Arc;

pub const OPTIONS: &[OptionSpec] = &[
    OptionSpec::new(
        "event_type",
        OptionKind::Choice(&["person", "auction", "bid", "all"]),
        "all",
        "Which events are the rows; all: every kind, columns of the other kinds are NULL.",
    )
    .or(&["table.type", "nexmark.table.type"]),
    RATE,
    ROWS,
    PARTITIONS,
    BASE_TIME,
    EVENT_RATE,
    PREPARED,
];

/// Events in one group of the benchmark, and where its auctions and bids begin.
const GROUP: i64 = 50;
const FIRST_AUCTION: i64 = 1;
const FIRST_BID: i64 = 4;

/// Where a column's values come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Item {
    EventType,
    DateTime,
    Extra,
    PersonId,
    PersonName,
    PersonEmail,
    PersonCard,
    PersonCity,
    PersonState,
    AuctionId,
    AuctionName,
    AuctionDescription,
    AuctionInitialBid,
    AuctionReserve,
    AuctionExpires,
    AuctionSeller,
    AuctionCategory,
    BidAuction,
    BidBidder,
    BidPrice,
    BidChannel,
    BidUrl,
}

const PERSON: &[(&str, Item)] = &[
    ("id", Item::PersonId),
    ("name", Item::PersonName),
    ("email_address", Item::PersonEmail),
    ("credit_card", Item::PersonCard),
    ("city", Item::PersonCity),
    ("state", Item::PersonState),
    ("date_time", Item::DateTime),
    ("extra", Item::Extra),
];
const AUCTION: &[(&str, Item)] = &[
    ("id", Item::AuctionId),
    ("item_name", Item::AuctionName),
    ("description", Item::AuctionDescription),
    ("initial_bid", Item::AuctionInitialBid),
    ("reserve", Item::AuctionReserve),
    ("date_time", Item::DateTime),
    ("expires", Item::AuctionExpires),
    ("seller", Item::AuctionSeller),
    ("category", Item::AuctionCategory),
    ("extra", Item::Extra),
];
const BID: &[(&str, Item)] = &[
    ("auction", Item::BidAuction),
    ("bidder", Item::BidBidder),
    ("price", Item::BidPrice),
    ("channel", Item::BidChannel),
    ("url", Item::BidUrl),
    ("date_time", Item::DateTime),
    ("extra", Item::Extra),
];
const SHARED: &[(&str, Item)] = &[("event_type", Item::EventType), ("date_time", Item::DateTime), ("extra", Item::Extra)];

/// Columns of `event_type = 'all'` carry their kind as prefix (`bid_price`), but for those that all kinds have.
fn offered(kind: Option<EventType>) -> Vec<(String, Item)> {
    let plain = |table: &[(&str, Item)]| table.iter().map(|(n, i)| (n.to_string(), *i)).collect::<Vec<_>>();
    match kind {
        Some(EventType::Person) => plain(PERSON),
        Some(EventType::Auction) => plain(AUCTION),
        Some(EventType::Bid) => plain(BID),
        None => {
            let prefixed = |prefix: &str, table: &[(&str, Item)]| {
                let own = table.iter().filter(|(_, i)| !matches!(i, Item::DateTime | Item::Extra));
                own.map(|(n, i)| (format!("{prefix}_{n}"), *i)).collect::<Vec<_>>()
            };
            [plain(SHARED), prefixed("person", PERSON), prefixed("auction", AUCTION), prefixed("bid", BID)].concat()
        }
    }
}

fn native_type(item: Item) -> DataType {
    match item {
        Item::DateTime | Item::AuctionExpires => DataType::Timestamp(TimeUnit::Microsecond, None),
        Item::EventType | Item::Extra | Item::PersonName | Item::PersonEmail | Item::PersonCard | Item::PersonCity | Item::PersonState => DataType::Utf8,
        Item::AuctionName | Item::AuctionDescription | Item::BidChannel | Item::BidUrl => DataType::Utf8,
        _ => DataType::Int64,
    }
}

/// The source that `request` describes.
pub fn build(request: &SourceRequest<'_>) -> Result<GeneratedSource> {
    let options = Options::check(request.connector, OPTIONS, request.options)?;
    let shape = Shape::read(&options, request.created_at)?;
    let kind_name = options.choice("event_type").unwrap_or_else(|| "all".to_string());
    let kind = match kind_name.as_str() {
        "person" => Some(EventType::Person),
        "auction" => Some(EventType::Auction),
        "bid" => Some(EventType::Bid),
        _ => None,
    };
    let offered = offered(kind);
    let types: Vec<(&str, DataType)> = offered.iter().map(|(n, i)| (n.as_str(), native_type(*i))).collect();
    let of = format!("connector \"nexmark\" with event_type = '{kind_name}'");
    let items = match_columns(request, &of, &types)?.into_iter().map(|at| offered[at].1).collect();
    // The crate counts whole events per second; the delay between them is what it derives from it.
    let rate = shape.event_rate.round().max(1.0) as usize;
    let config = NexmarkConfig { base_time: (shape.base_time / 1000) as u64, first_rate: rate, next_rate: rate, ..NexmarkConfig::default() };
    let rows = shape.rows;
    GeneratedSource::new(request, &shape, rows, Box::new(Nexmark { config, kind, items }))
}

struct Nexmark {
    config: NexmarkConfig,
    /// `None`: all.
    kind: Option<EventType>,
    items: Vec<Item>,
}

impl Generator for Nexmark {
    fn group(&self) -> i64 {
        GROUP
    }

    fn wanted(&self, event: i64) -> bool {
        let at = event % GROUP;
        match self.kind {
            None => true,
            Some(EventType::Person) => at < FIRST_AUCTION,
            Some(EventType::Auction) => (FIRST_AUCTION..FIRST_BID).contains(&at),
            Some(EventType::Bid) => at >= FIRST_BID,
        }
    }

    fn maker(&self) -> Box<dyn Maker> {
        if self.kind == Some(EventType::Bid) {
            return Box::new(BidMaker { bids: Bids::new(self.config.clone(), &self.items), items: self.items.clone() });
        }
        Box::new(NexmarkMaker { events: Some(EventGenerator::new(self.config.clone())), at: 0, items: self.items.clone() })
    }
}

struct BidMaker {
    bids: Bids,
    items: Vec<Item>,
}

impl Maker for BidMaker {
    fn make(&mut self, events: &[i64]) -> Result<Vec<ArrayRef>> {
        self.bids.make(events, &self.items)
    }
}

struct NexmarkMaker {
    /// Always there between calls: setting its offset consumes it.
    events: Option<EventGenerator>,
    at: i64,
    items: Vec<Item>,
}

impl Maker for NexmarkMaker {
    fn make(&mut self, events: &[i64]) -> Result<Vec<ArrayRef>> {
        let mut columns: Vec<Column> = self.items.iter().map(|i| Column::new(*i, events.len())).collect();
        let mut generator = self.events.take().ok_or_else(|| Error::internal("a Nexmark maker keeps its generator"))?;
        for &number in events {
            if number != self.at {
                generator = generator.with_offset(number as u64);
            }
            self.at = number + 1;
            if let Some(event) = generator.next() {
                columns.iter_mut().for_each(|c| c.push(&event));
            }
        }
        self.events = Some(generator);
        Ok(columns.iter_mut().map(Column::finish).collect())
    }
}

/// One column being built.
struct Column {
    item: Item,
    build: Build,
}

enum Build {
    Number(Int64Builder),
    Text(StringBuilder),
    Time(TimestampMicrosecondBuilder),
}

impl Column {
    fn new(item: Item, rows: usize) -> Self {
        let build = match native_type(item) {
            DataType::Utf8 => Build::Text(StringBuilder::with_capacity(rows, rows * 32)),
            DataType::Timestamp(..) => Build::Time(TimestampMicrosecondBuilder::with_capacity(rows)),
            _ => Build::Number(Int64Builder::with_capacity(rows)),
        };
        Column { item, build }
    }

    fn push(&mut self, event: &Event) {
        match &mut self.build {
            Build::Number(b) => b.append_option(number(self.item, event)),
            Build::Text(b) => b.append_option(text(self.item, event)),
            Build::Time(b) => b.append_option(time(self.item, event)),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match &mut self.build {
            Build::Number(b) => Arc::new(b.finish()),
            Build::Text(b) => Arc::new(b.finish()),
            Build::Time(b) => Arc::new(b.finish()),
        }
    }
}

fn number(item: Item, event: &Event) -> Option<i64> {
    let value = match (item, event) {
        (Item::BidAuction, Event::Bid(b)) => b.auction,
        (Item::BidBidder, Event::Bid(b)) => b.bidder,
        (Item::BidPrice, Event::Bid(b)) => b.price,
        (Item::AuctionId, Event::Auction(a)) => a.id,
        (Item::AuctionInitialBid, Event::Auction(a)) => a.initial_bid,
        (Item::AuctionReserve, Event::Auction(a)) => a.reserve,
        (Item::AuctionSeller, Event::Auction(a)) => a.seller,
        (Item::AuctionCategory, Event::Auction(a)) => a.category,
        (Item::PersonId, Event::Person(p)) => p.id,
        _ => return None,
    };
    Some(value as i64)
}

fn text(item: Item, event: &Event) -> Option<&str> {
    let value = match (item, event) {
        (Item::EventType, Event::Person(_)) => "person",
        (Item::EventType, Event::Auction(_)) => "auction",
        (Item::EventType, Event::Bid(_)) => "bid",
        (Item::Extra, Event::Person(p)) => &p.extra,
        (Item::Extra, Event::Auction(a)) => &a.extra,
        (Item::Extra, Event::Bid(b)) => &b.extra,
        (Item::BidChannel, Event::Bid(b)) => &b.channel,
        (Item::BidUrl, Event::Bid(b)) => &b.url,
        (Item::AuctionName, Event::Auction(a)) => &a.item_name,
        (Item::AuctionDescription, Event::Auction(a)) => &a.description,
        (Item::PersonName, Event::Person(p)) => &p.name,
        (Item::PersonEmail, Event::Person(p)) => &p.email_address,
        (Item::PersonCard, Event::Person(p)) => &p.credit_card,
        (Item::PersonCity, Event::Person(p)) => &p.city,
        (Item::PersonState, Event::Person(p)) => &p.state,
        _ => return None,
    };
    Some(value)
}

fn time(item: Item, event: &Event) -> Option<i64> {
    let millis = match (item, event) {
        (Item::AuctionExpires, Event::Auction(a)) => a.expires,
        (Item::AuctionExpires, _) => return None,
        _ => event.timestamp(),
    };
    Some(millis as i64 * 1000)
}
