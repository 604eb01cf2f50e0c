//! The queries' answers in plain Rust over the events, as a client would read them. Rows are not kept: what is compared is
//! how many there are and the sum of their hashes, which does not depend on their order.

use super::expected_bids;
use super::input::events;
use nexmark::event::{Auction, Bid, Event, Person};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

/// A multiset of rows, as far as two of them can be compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest {
    pub rows: u64,
    pub hashes: u64,
}

impl Digest {
    pub fn add(&mut self, row: &str) {
        let mut hasher = DefaultHasher::new();
        row.hash(&mut hasher);
        self.rows += 1;
        self.hashes = self.hashes.wrapping_add(hasher.finish());
    }
}

/// What the client asks for to see the query's result; columns that ties leave open are not asked for.
pub fn question(query: &str) -> &'static str {
    match query {
        "q0" => "SELECT auction, bidder, price, date_time, extra FROM q0",
        "q1" => "SELECT auction, bidder, price, date_time, extra FROM q1",
        "q2" => "SELECT auction, price FROM q2",
        "q3" => "SELECT name, city, state, id FROM q3",
        "q4" => "SELECT category, round(avg_final, 4) FROM q4",
        "q5" => "SELECT auction, num, window_end FROM q5",
        "q6" => "SELECT seller, id, round(avg_final, 4) FROM q6",
        "q7" => "SELECT auction, price, bidder, date_time, extra FROM q7",
        "q8" => "SELECT id, name, window_start FROM q8",
        "q9" => "SELECT id, price, bid_date_time FROM q9",
        "q10" => "SELECT * FROM q10",
        "q11" => "SELECT bidder, bid_count, window_start, window_end FROM q11",
        "q12" => "SELECT bidder, sum(bid_count) FROM q12 GROUP BY bidder",
        "q13" => "SELECT * FROM q13",
        "q14" => "SELECT * FROM q14",
        "q15" => "SELECT * FROM q15",
        "q16" => "SELECT * FROM q16",
        "q17" => "SELECT auction, day, total_bids, rank1_bids, rank2_bids, rank3_bids, min_price, max_price, round(avg_price, 4), sum_price FROM q17",
        "q18" => "SELECT auction, bidder, date_time FROM q18",
        "q19" => "SELECT auction, price, rank_number FROM q19",
        "q20" => {
            "SELECT auction, bidder, price, channel, url, bid_date_time, bid_extra, \
             item_name, description, initial_bid, reserve, date_time, expires, seller, extra FROM q20"
        }
        "q21" => "SELECT * FROM q21",
        "q22" => "SELECT * FROM q22",
        _ => panic!("no answer is known for {query}"),
    }
}

/// The sources a query reads.
pub fn sources(query: &str) -> &'static [&'static str] {
    match query {
        "q3" | "q8" => &["auction", "person"],
        "q4" | "q6" | "q9" | "q20" => &["auction", "bid"],
        _ => &["bid"],
    }
}

pub fn answer(query: &str, count: usize) -> Digest {
    let mut digest = Digest::default();
    let mut row = |text: String| digest.add(&text);
    match query {
        "q0" => bids(count).for_each(|b| row(format!("{}|{}|{}|{}|{}", b.auction, b.bidder, b.price, time(b.date_time), b.extra))),
        "q1" => bids(count).for_each(|b| row(format!("{}|{}|{}|{}|{}", b.auction, b.bidder, thousandths(b.price as u64 * 908), time(b.date_time), b.extra))),
        "q2" => bids(count).filter(|b| b.auction % 123 == 0).for_each(|b| row(format!("{}|{}", b.auction, b.price))),
        "q3" => q3(count, row),
        "q4" => q4(count, row),
        "q5" => q5(count, row),
        "q6" => q6(count, row),
        "q7" => q7(count, row),
        "q8" => q8(count, row),
        "q9" => winners(count).for_each(|(a, b)| row(format!("{}|{}|{}", a.id, b.price, time(b.date_time)))),
        "q10" => expected_bids::q10(count, row),
        "q11" => expected_bids::q11(count, row),
        "q12" => expected_bids::q12(count, row),
        "q13" => expected_bids::q13(count, row),
        "q14" => expected_bids::q14(count, row),
        "q15" => expected_bids::q15(count, row),
        "q16" => expected_bids::q16(count, row),
        "q17" => expected_bids::q17(count, row),
        "q18" => expected_bids::q18(count, row),
        "q19" => expected_bids::q19(count, row),
        "q20" => expected_bids::q20(count, row),
        "q21" => expected_bids::q21(count, row),
        "q22" => expected_bids::q22(count, row),
        _ => panic!("no answer is known for {query}"),
    }
    digest
}

pub fn bids(count: usize) -> impl Iterator<Item = Bid> {
    events(count).filter_map(|e| if let Event::Bid(b) = e { Some(b) } else { None })
}

pub fn auctions(count: usize) -> impl Iterator<Item = Auction> {
    events(count).filter_map(|e| if let Event::Auction(a) = e { Some(a) } else { None })
}

fn persons(count: usize) -> impl Iterator<Item = Person> {
    events(count).filter_map(|e| if let Event::Person(p) = e { Some(p) } else { None })
}

/// Milliseconds as Postgres prints a timestamp.
pub fn time(millis: u64) -> String {
    let text = chrono::DateTime::from_timestamp_millis(millis as i64).unwrap().format("%Y-%m-%d %H:%M:%S%.3f").to_string();
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_string() } else { text }
}

pub fn thousandths(n: u64) -> String {
    format!("{}.{:03}", n / 1000, n % 1000)
}

fn q3(count: usize, mut row: impl FnMut(String)) {
    let people: HashMap<usize, Person> = persons(count).filter(|p| ["or", "id", "ca"].contains(&p.state.as_str())).map(|p| (p.id, p)).collect();
    for a in auctions(count).filter(|a| a.category == 10) {
        if let Some(p) = people.get(&a.seller) {
            row(format!("{}|{}|{}|{}", p.name, p.city, p.state, a.id));
        }
    }
}

/// Every auction with bids in time, and its best bid: the highest, of equal ones the earliest.
fn winners(count: usize) -> impl Iterator<Item = (Auction, Bid)> {
    let all: HashMap<usize, Auction> = auctions(count).map(|a| (a.id, a)).collect();
    let mut best: HashMap<usize, Bid> = HashMap::new();
    for b in bids(count) {
        let in_time = all.get(&b.auction).is_some_and(|a| (a.date_time..=a.expires).contains(&b.date_time));
        let better = best.get(&b.auction).is_none_or(|o| (b.price, std::cmp::Reverse(b.date_time)) > (o.price, std::cmp::Reverse(o.date_time)));
        if in_time && better {
            best.insert(b.auction, b);
        }
    }
    all.into_iter().filter_map(move |(id, a)| best.remove(&id).map(|b| (a, b)))
}

fn q4(count: usize, mut row: impl FnMut(String)) {
    let mut categories: BTreeMap<usize, (u128, u128)> = BTreeMap::new();
    for (a, b) in winners(count) {
        let entry = categories.entry(a.category).or_default();
        *entry = (entry.0 + b.price as u128, entry.1 + 1);
    }
    for (category, (sum, n)) in categories {
        row(format!("{category}|{}", mean(sum, n)));
    }
}

/// Four decimals, half rounded up.
fn mean(sum: u128, n: u128) -> String {
    let rounded = (sum * 20_000 + n) / (2 * n);
    format!("{}.{:04}", rounded / 10_000, rounded % 10_000)
}

fn q6(count: usize, mut row: impl FnMut(String)) {
    let mut sellers: HashMap<usize, Vec<(u64, usize, u128)>> = HashMap::new();
    for (a, b) in winners(count) {
        sellers.entry(a.seller).or_default().push((b.date_time, a.id, b.price as u128));
    }
    for (seller, mut sales) in sellers {
        sales.sort_unstable();
        for (i, (_, id, _)) in sales.iter().enumerate() {
            let last = &sales[i.saturating_sub(10)..=i];
            row(format!("{seller}|{id}|{}", mean(last.iter().map(|s| s.2).sum(), last.len() as u128)));
        }
    }
}

fn q5(count: usize, mut row: impl FnMut(String)) {
    let mut windows: BTreeMap<u64, HashMap<usize, u64>> = BTreeMap::new();
    for b in bids(count) {
        let last_start = b.date_time / 2000 * 2000;
        for k in 0..5 {
            *windows.entry(last_start - k * 2000 + 10_000).or_default().entry(b.auction).or_default() += 1;
        }
    }
    for (end, counts) in windows {
        let most = counts.values().copied().max().unwrap();
        counts.iter().filter(|(_, n)| **n == most).for_each(|(auction, n)| row(format!("{auction}|{n}|{}", time(end))));
    }
}

fn q7(count: usize, mut row: impl FnMut(String)) {
    let mut highest: HashMap<u64, usize> = HashMap::new();
    for b in bids(count) {
        let most = highest.entry(b.date_time / 10_000 * 10_000 + 10_000).or_default();
        *most = (*most).max(b.price);
    }
    for b in bids(count) {
        // Both ends belong to the range: a bid on a boundary is compared with both windows.
        let end = b.date_time / 10_000 * 10_000 + 10_000;
        let boundary = (b.date_time % 10_000 == 0).then(|| end - 10_000);
        for end in std::iter::once(end).chain(boundary) {
            if highest.get(&end) == Some(&b.price) {
                row(format!("{}|{}|{}|{}|{}", b.auction, b.price, b.bidder, time(b.date_time), b.extra));
            }
        }
    }
}

fn q8(count: usize, mut row: impl FnMut(String)) {
    let sellers: HashSet<(usize, u64)> = auctions(count).map(|a| (a.seller, a.date_time / 10_000)).collect();
    let new: HashSet<(usize, String, u64)> = persons(count).map(|p| (p.id, p.name, p.date_time / 10_000)).collect();
    for (id, name, window) in new {
        if sellers.contains(&(id, window)) {
            row(format!("{id}|{name}|{}", time(window * 10_000)));
        }
    }
}
