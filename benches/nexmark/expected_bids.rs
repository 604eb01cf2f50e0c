//! The answers of q10 to q22, nearly all of which look at bids alone.

use super::expected::{auctions, bids, thousandths, time};
use nexmark::event::{Auction, Bid};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// Milliseconds.
const SESSION_GAP: u64 = 10_000;

pub fn q10(count: usize, mut row: impl FnMut(String)) {
    for b in bids(count) {
        row(format!("{}|{}|{}|{}|{}|{}|{}", b.auction, b.bidder, b.price, time(b.date_time), b.extra, day(&b), minute(&b)));
    }
}

/// Bids of one bidder less than the gap apart are one session, which ends the gap behind its last bid.
pub fn q11(count: usize, mut row: impl FnMut(String)) {
    let mut times: HashMap<usize, Vec<u64>> = HashMap::new();
    bids(count).for_each(|b| times.entry(b.bidder).or_default().push(b.date_time));
    for (bidder, mut times) in times {
        times.sort_unstable();
        for session in times.chunk_by(|a, b| b - a < SESSION_GAP) {
            let (first, last) = (session[0], session[session.len() - 1]);
            row(format!("{bidder}|{}|{}|{}", session.len(), time(first), time(last + SESSION_GAP)));
        }
    }
}

/// When a bid is read is not known, only how many each bidder has.
pub fn q12(count: usize, mut row: impl FnMut(String)) {
    let mut counts: HashMap<usize, u64> = HashMap::new();
    bids(count).for_each(|b| *counts.entry(b.bidder).or_default() += 1);
    counts.into_iter().for_each(|(bidder, n)| row(format!("{bidder}|{n}")));
}

pub fn q13(count: usize, mut row: impl FnMut(String)) {
    for b in bids(count) {
        row(format!("{}|{}|{}|{}|value {}", b.auction, b.bidder, b.price, time(b.date_time), b.auction % 10_000));
    }
}

pub fn q14(count: usize, mut row: impl FnMut(String)) {
    for b in bids(count) {
        let price = b.price as u64 * 908;
        if price <= 1_000_000_000 || price >= 50_000_000_000 {
            continue;
        }
        let kind = match b.date_time / 3_600_000 % 24 {
            8..=18 => "dayTime",
            0..=6 | 20.. => "nightTime",
            _ => "otherTime",
        };
        let letters = b.extra.chars().filter(|c| *c == 'c').count();
        row(format!("{}|{}|{}|{kind}|{}|{}|{letters}", b.auction, b.bidder, thousandths(price), time(b.date_time), b.extra));
    }
}

/// Of all bids, and of those in each of the three ranges of prices.
#[derive(Default)]
struct Statistics {
    bids: [u64; 4],
    bidders: [HashSet<usize>; 4],
    auctions: [HashSet<usize>; 4],
    minute: String,
}

impl Statistics {
    fn add(&mut self, b: &Bid) {
        for at in [0, range(b)] {
            self.bids[at] += 1;
            self.bidders[at].insert(b.bidder);
            self.auctions[at].insert(b.auction);
        }
        self.minute = std::mem::take(&mut self.minute).max(minute(b));
    }

    fn columns(&self) -> String {
        let counts = self.bids.iter().copied().chain(self.bidders.iter().chain(&self.auctions).map(|s| s.len() as u64));
        counts.map(|n| n.to_string()).collect::<Vec<_>>().join("|")
    }
}

fn range(b: &Bid) -> usize {
    match b.price {
        0..10_000 => 1,
        10_000..1_000_000 => 2,
        _ => 3,
    }
}

pub fn q15(count: usize, mut row: impl FnMut(String)) {
    let mut days: BTreeMap<String, Statistics> = BTreeMap::new();
    bids(count).for_each(|b| days.entry(day(&b)).or_default().add(&b));
    days.iter().for_each(|(day, s)| row(format!("{day}|{}", s.columns())));
}

pub fn q16(count: usize, mut row: impl FnMut(String)) {
    let mut channels: HashMap<(String, String), Statistics> = HashMap::new();
    bids(count).for_each(|b| channels.entry((b.channel.clone(), day(&b))).or_default().add(&b));
    channels.iter().for_each(|((channel, day), s)| row(format!("{channel}|{day}|{}|{}", s.minute, s.columns())));
}

pub fn q17(count: usize, mut row: impl FnMut(String)) {
    let mut groups: HashMap<(usize, String), Vec<Bid>> = HashMap::new();
    bids(count).for_each(|b| groups.entry((b.auction, day(&b))).or_default().push(b));
    for ((auction, day), bids) in groups {
        let mut counts = [bids.len(), 0, 0, 0];
        bids.iter().for_each(|b| counts[range(b)] += 1);
        let prices = || bids.iter().map(|b| b.price as u128);
        let (sum, n) = (prices().sum::<u128>(), bids.len() as u128);
        // Four decimals, half rounded up.
        let average = (sum * 20_000 + n) / (2 * n);
        let [total, low, middle, high] = counts;
        let (least, most) = (prices().min().unwrap(), prices().max().unwrap());
        row(format!("{auction}|{day}|{total}|{low}|{middle}|{high}|{least}|{most}|{}.{:04}|{sum}", average / 10_000, average % 10_000));
    }
}

pub fn q18(count: usize, mut row: impl FnMut(String)) {
    let mut newest: HashMap<(usize, usize), u64> = HashMap::new();
    for b in bids(count) {
        let time = newest.entry((b.bidder, b.auction)).or_default();
        *time = b.date_time.max(*time);
    }
    newest.into_iter().for_each(|((bidder, auction), newest)| row(format!("{auction}|{bidder}|{}", time(newest))));
}

pub fn q19(count: usize, mut row: impl FnMut(String)) {
    let mut highest: HashMap<usize, BTreeSet<(Reverse<usize>, usize)>> = HashMap::new();
    for (n, b) in bids(count).enumerate() {
        let best = highest.entry(b.auction).or_default();
        best.insert((Reverse(b.price), n));
        if best.len() > 10 {
            best.pop_last();
        }
    }
    for (auction, best) in highest {
        best.iter().enumerate().for_each(|(rank, (price, _))| row(format!("{auction}|{}|{}", price.0, rank + 1)));
    }
}

pub fn q20(count: usize, mut row: impl FnMut(String)) {
    let all: HashMap<usize, Auction> = auctions(count).filter(|a| a.category == 10).map(|a| (a.id, a)).collect();
    for b in bids(count) {
        if let Some(a) = all.get(&b.auction) {
            let bid = format!("{}|{}|{}|{}|{}|{}|{}", b.auction, b.bidder, b.price, b.channel, b.url, time(b.date_time), b.extra);
            let auction =
                format!("{}|{}|{}|{}|{}|{}|{}|{}", a.item_name, a.description, a.initial_bid, a.reserve, time(a.date_time), time(a.expires), a.seller, a.extra);
            row(format!("{bid}|{auction}"));
        }
    }
}

pub fn q21(count: usize, mut row: impl FnMut(String)) {
    for b in bids(count) {
        let known = ["apple", "google", "facebook", "baidu"].iter().position(|c| *c == b.channel.to_lowercase()).map(|n| n.to_string());
        let told = b.url.split_once("&channel_id=").map(|(_, id)| id.split('&').next().unwrap().to_string());
        if let Some(id) = known.or(told) {
            row(format!("{}|{}|{}|{}|{id}", b.auction, b.bidder, b.price, b.channel));
        }
    }
}

pub fn q22(count: usize, mut row: impl FnMut(String)) {
    for b in bids(count) {
        let parts = b.url.split('/').collect::<Vec<_>>();
        let part = |n: usize| parts.get(n).copied().unwrap_or_default();
        row(format!("{}|{}|{}|{}|{}|{}|{}", b.auction, b.bidder, b.price, b.channel, part(3), part(4), part(5)));
    }
}

fn day(b: &Bid) -> String {
    format(b, "%Y-%m-%d")
}

fn minute(b: &Bid) -> String {
    format(b, "%H:%M")
}

fn format(b: &Bid, pattern: &str) -> String {
    chrono::DateTime::from_timestamp_millis(b.date_time as i64).unwrap().format(pattern).to_string()
}
