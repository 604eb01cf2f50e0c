//! What the tests compute themselves, in plain Rust over the input rows: no line of it is shared with the engine.

use std::collections::{BTreeMap, BTreeSet};

/// One payment as the fraud rule sees it; time in µs, money in cents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payment {
    pub card: String,
    pub merchant: String,
    pub cents: i64,
    pub time: i64,
}

/// One row of the fraud view.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flagged {
    pub card: String,
    pub window_end: i64,
    pub merchants: usize,
    pub payments: usize,
    pub cents: i64,
}

pub const SECOND: i64 = 1_000_000;
const SLIDE: i64 = 5 * SECOND;
const SIZE: i64 = 120 * SECOND;

/// Ends of the sliding windows that hold `time`.
pub fn hop_ends(time: i64, slide: i64, size: i64) -> impl Iterator<Item = i64> {
    let last_start = time.div_euclid(slide) * slide;
    (0..size / slide).map(move |k| last_start - k * slide + size)
}

/// The rule over all payments, as if every window had seen all of its payments.
pub fn flagged(payments: &[Payment]) -> BTreeSet<Flagged> {
    #[derive(Default)]
    struct Group<'a> {
        merchants: BTreeSet<&'a str>,
        payments: usize,
        cents: i64,
    }
    let mut groups: BTreeMap<(&str, i64), Group<'_>> = BTreeMap::new();
    for p in payments {
        for end in hop_ends(p.time, SLIDE, SIZE) {
            let group = groups.entry((&p.card, end)).or_default();
            group.merchants.insert(&p.merchant);
            group.payments += 1;
            group.cents += p.cents;
        }
    }
    let broken = groups.into_iter().filter(|(_, g)| g.merchants.len() >= 3 && g.cents > 50_000);
    broken
        .map(|((card, window_end), g)| Flagged { card: card.to_string(), window_end, merchants: g.merchants.len(), payments: g.payments, cents: g.cents })
        .collect()
}

/// `2023-11-14 22:13:20.25`, or the same with `+00` behind it, as µs since 1970.
pub fn micros(text: &str) -> i64 {
    let text = text.strip_suffix("+00").unwrap_or(text);
    let time = chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f").unwrap_or_else(|e| panic!("{text}: {e}"));
    time.and_utc().timestamp_micros()
}

/// `199.90` as cents.
pub fn cents(text: &str) -> i64 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    whole.parse::<i64>().unwrap() * 100 + format!("{fraction:0<2}")[..2].parse::<i64>().unwrap()
}

#[test]
fn windows_hold_their_time() {
    for time in [0, 1, 4_999_999, 5_000_000, 119_999_999, 120_000_000, -1] {
        let ends: Vec<i64> = hop_ends(time, SLIDE, SIZE).collect();
        assert_eq!(ends.len(), 24);
        assert!(ends.iter().all(|e| e - SIZE <= time && time < *e), "{time}: {ends:?}");
    }
}
