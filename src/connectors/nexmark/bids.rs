//! The crate's bids, made in columns. The crate makes a bid in about 0.9 µs, most of it for three strings built character by character and
//! freed again; 46 of 50 events are bids, so this would be the ceiling of every Nexmark query. Here the same draws of the same random generator (xoshiro256++, seeded with the
//! event's number, as `rand 0.8`'s `SmallRng` is) go straight into Arrow's buffers, and stop after the last column that is wanted.
//! The tests compare with the crate, event by event.

use super::Item;
use crate::error::Result;
use arrow::array::{ArrayRef, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use nexmark::config::NexmarkConfig;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

/// One of so many recent auctions and persons is the hot one.
const HOT_GROUP: u64 = 100;
/// Channels that are not hot.
const CHANNELS: usize = 10_000;
/// Bytes of a bid without its extra text, as the crate counts them.
const BID_SIZE: usize = 32;

/// Makes bids.
pub struct Bids {
    config: NexmarkConfig,
    /// Milliseconds of event time between two events.
    delay: f32,
    /// Channel and URL of the hot ones.
    hot: Vec<(String, String)>,
    wants_extra: bool,
    wants_channel: bool,
    columns: HashMap<&'static str, Texts>,
    numbers: Numbers,
}

#[derive(Default)]
struct Numbers {
    auction: Vec<i64>,
    bidder: Vec<i64>,
    price: Vec<i64>,
    time: Vec<i64>,
}

/// Texts back to back.
#[derive(Default)]
struct Texts {
    offsets: Vec<i32>,
    bytes: Vec<u8>,
}

impl Bids {
    pub fn new(config: NexmarkConfig, items: &[Item]) -> Bids {
        // In the crate's own order of operations: it is f32, so every rounding counts.
        let delay = config.us_per_unit as f32 / config.first_rate as f32 * config.num_event_generators as f32;
        let hot = config.hot_channels.iter().cloned().zip(config.hot_urls.iter().cloned()).collect();
        Bids {
            delay,
            hot,
            wants_extra: items.contains(&Item::Extra),
            wants_channel: items.iter().any(|i| matches!(i, Item::BidChannel | Item::BidUrl)),
            config,
            columns: HashMap::new(),
            numbers: Numbers::default(),
        }
    }

    /// One array per item; `events` are numbers of bids.
    pub fn make(&mut self, events: &[i64], items: &[Item]) -> Result<Vec<ArrayRef>> {
        let n = &mut self.numbers;
        [&mut n.auction, &mut n.bidder, &mut n.price, &mut n.time].into_iter().for_each(|v| *v = Vec::with_capacity(events.len()));
        let mut channel = Texts::with_capacity(events.len(), 12);
        let mut url = Texts::with_capacity(events.len(), 64);
        let mut extra = Texts::with_capacity(events.len(), 80);
        let channels = channels();
        for &event in events {
            let (random, hot, at) = self.draw(event as u64);
            let mut random = random;
            if self.wants_channel {
                let (c, u) = if hot { &self.hot[at] } else { &channels[at] };
                channel.push(c);
                url.push(u);
            }
            if self.wants_extra {
                let length = self.extra_length(&mut random);
                extra.push_random(&mut random, length);
            }
        }
        let kinds = items.contains(&Item::EventType).then(|| StringArray::from_iter_values(std::iter::repeat_n("bid", events.len())));
        self.columns = [("channel", channel), ("url", url), ("extra", extra)].into();
        items.iter().map(|item| self.finish(*item, kinds.as_ref())).collect()
    }

    /// Draws a bid's numbers; gives the generator as it stands then, and which channel the bid has (hot or not, its ordinal).
    #[inline]
    fn draw(&mut self, event: u64) -> (Random, bool, usize) {
        let c = &self.config;
        let mut random = Random::seeded(event);
        let last_auction = last_auction(event, c);
        let auction = if random.below(c.hot_auction_ratio as u64) > 0 {
            last_auction / HOT_GROUP * HOT_GROUP
        } else {
            let first = last_auction.saturating_sub(c.in_flight_auctions as u64);
            first + random.below(last_auction - first + 1 + c.auction_id_lead as u64)
        };
        let last_person = last_person(event, c);
        let bidder = if random.below(c.hot_bidder_ratio as u64) > 0 {
            last_person / HOT_GROUP * HOT_GROUP + 1
        } else {
            let people = last_person + 1;
            let active = people.min(c.active_people as u64);
            people - active + random.below(active + c.person_id_lead as u64)
        };
        let price = (10.0_f32.powf(random.unit() * 6.0) * 100.0).round() as i64;
        let hot = random.below(c.hot_channel_ratio as u64) > 0;
        let at = if hot { random.below(self.hot.len() as u64) as usize } else { random.below_u32(CHANNELS as u32) as usize };
        let millis = c.base_time + ((event as f32 * self.delay) / 1000.0).round() as u64;
        self.numbers.auction.push((auction + c.first_auction_id as u64) as i64);
        self.numbers.bidder.push((bidder + c.first_person_id as u64) as i64);
        self.numbers.price.push(price);
        self.numbers.time.push(millis as i64 * 1000);
        (random, hot, at)
    }

    fn extra_length(&self, random: &mut Random) -> usize {
        let Some(average) = self.config.avg_bid_byte_size.checked_sub(BID_SIZE) else { return 0 };
        let delta = (average + 2) / 5;
        average - delta + if delta == 0 { 0 } else { random.below(2 * delta as u64) as usize }
    }

    fn finish(&mut self, item: Item, kinds: Option<&StringArray>) -> Result<ArrayRef> {
        let mut text = |name| self.columns.get_mut(name).map(std::mem::take).unwrap_or_default().finish();
        Ok(match item {
            Item::BidAuction => Arc::new(Int64Array::from(std::mem::take(&mut self.numbers.auction))),
            Item::BidBidder => Arc::new(Int64Array::from(std::mem::take(&mut self.numbers.bidder))),
            Item::BidPrice => Arc::new(Int64Array::from(std::mem::take(&mut self.numbers.price))),
            Item::DateTime => Arc::new(TimestampMicrosecondArray::from(std::mem::take(&mut self.numbers.time))),
            Item::BidChannel => text("channel")?,
            Item::BidUrl => text("url")?,
            Item::Extra => text("extra")?,
            _ => Arc::new(kinds.cloned().unwrap_or_else(|| StringArray::from(Vec::<&str>::new()))),
        })
    }
}

impl Texts {
    fn with_capacity(texts: usize, each: usize) -> Texts {
        let mut offsets = Vec::with_capacity(texts + 1);
        offsets.push(0);
        Texts { offsets, bytes: Vec::with_capacity(texts * each) }
    }

    #[inline]
    fn push(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
        self.offsets.push(self.bytes.len() as i32);
    }

    #[inline]
    fn push_random(&mut self, random: &mut Random, length: usize) {
        let start = self.bytes.len();
        self.bytes.resize(start + length, 0);
        for byte in &mut self.bytes[start..] {
            *byte = random.letter();
        }
        self.offsets.push(self.bytes.len() as i32);
    }

    fn finish(self) -> Result<ArrayRef> {
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.offsets));
        Ok(Arc::new(StringArray::try_new(offsets, Buffer::from_vec(self.bytes), None)?))
    }
}

/// The last auction before a bid, from 0.
fn last_auction(event: u64, c: &NexmarkConfig) -> u64 {
    let group = (c.person_proportion + c.auction_proportion + c.bid_proportion) as u64;
    event / group * c.auction_proportion as u64 + c.auction_proportion as u64 - 1
}

/// The last person before a bid, from 0.
fn last_person(event: u64, c: &NexmarkConfig) -> u64 {
    let group = (c.person_proportion + c.auction_proportion + c.bid_proportion) as u64;
    event / group * c.person_proportion as u64 + c.person_proportion as u64 - 1
}

/// Channel and URL of each channel that is not hot, as the crate makes them.
fn channels() -> &'static [(String, String)] {
    static CHANNEL_URLS: OnceLock<Vec<(String, String)>> = OnceLock::new();
    CHANNEL_URLS.get_or_init(|| {
        let make = |i: usize| {
            let mut random = Random::seeded(i as u64);
            let mut word = || {
                let length = 3 + random.below(2);
                (0..length).map(|_| if random.below_u32(13) == 0 { '_' } else { random.letter() as char }).collect::<String>()
            };
            let (a, b, c) = (word(), word(), word());
            let mut url = format!("https://www.nexmark.com/{a}/{b}/{c}/item.htm?query=1");
            if Random::seeded(i as u64).below_u32(10) > 0 {
                url.push_str(&format!("&channel_id={}", i64::from((i as i32).reverse_bits()).abs()));
            }
            (format!("channel-{i}"), url)
        };
        (0..CHANNELS).map(make).collect()
    })
}

/// xoshiro256++ with the ways of drawing that `rand 0.8` has.
#[derive(Clone, Copy)]
struct Random([u64; 4]);

impl Random {
    /// The state as `rand_core 0.6` derives it from a number: eight steps of PCG32.
    #[inline]
    fn seeded(mut seed: u64) -> Random {
        let mut half = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(11_634_580_027_462_260_723);
            let mixed = (((seed >> 18) ^ seed) >> 27) as u32;
            u64::from(mixed.rotate_right((seed >> 59) as u32))
        };
        Random(std::array::from_fn(|_| half() | half() << 32))
    }

    #[inline]
    fn next(&mut self) -> u64 {
        let [a, b, c, d] = self.0;
        let result = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let (c, d) = (c ^ a, d ^ b);
        self.0 = [a ^ d, b ^ c, c ^ (b << 17), d.rotate_left(45)];
        result
    }

    /// 0..bound, drawn from 64 bits.
    #[inline]
    fn below(&mut self, bound: u64) -> u64 {
        let zone = (bound << bound.leading_zeros()).wrapping_sub(1);
        loop {
            let wide = u128::from(self.next()) * u128::from(bound);
            if wide as u64 <= zone {
                return (wide >> 64) as u64;
            }
        }
    }

    /// 0..bound, drawn from 32 bits.
    #[inline]
    fn below_u32(&mut self, bound: u32) -> u32 {
        let zone = (bound << bound.leading_zeros()).wrapping_sub(1);
        loop {
            let wide = (self.next() >> 32) * u64::from(bound);
            if wide as u32 <= zone {
                return (wide >> 32) as u32;
            }
        }
    }

    /// a to z.
    #[inline]
    fn letter(&mut self) -> u8 {
        const ZONE: u32 = u32::MAX - (u32::MAX - 26 + 1) % 26;
        loop {
            let wide = (self.next() >> 32) * 26;
            if wide as u32 <= ZONE {
                return b'a' + (wide >> 32) as u8;
            }
        }
    }

    /// 0 to 1, without 1.
    #[inline]
    fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 * (1.0 / (1u32 << 24) as f32)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Column, FIRST_BID, GROUP};
    use super::*;
    use nexmark::EventGenerator;

    #[test]
    fn every_bid_is_the_crates_bid() {
        let items = [Item::BidAuction, Item::BidBidder, Item::BidPrice, Item::BidChannel, Item::BidUrl, Item::DateTime, Item::Extra, Item::EventType];
        let config = NexmarkConfig { base_time: 1_700_000_000_000, first_rate: 30_000, next_rate: 30_000, ..NexmarkConfig::default() };
        let ranges = [0..20_000, 5_000_000..5_002_000, 123_456_789_000..123_456_790_000];
        for range in ranges {
            let events: Vec<i64> = range.filter(|n| n % GROUP >= FIRST_BID).collect();
            let ours = Bids::new(config.clone(), &items).make(&events, &items).unwrap();
            let mut theirs: Vec<Column> = items.iter().map(|i| Column::new(*i, events.len())).collect();
            for n in &events {
                let event = EventGenerator::new(config.clone()).with_offset(*n as u64).next().unwrap();
                theirs.iter_mut().for_each(|c| c.push(&event));
            }
            for (i, (ours, theirs)) in ours.iter().zip(&mut theirs).enumerate() {
                assert_eq!(ours, &theirs.finish(), "{:?} from {}", items[i], events[0]);
            }
        }
    }
}
