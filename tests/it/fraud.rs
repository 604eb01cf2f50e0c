//! The mission's rule, as shipped in sql/fraud.sql: what it flags is what was planted, and what plain Rust computes.

use crate::client::Client;
use crate::examples::example;
use crate::oracle::{Flagged, Payment, cents, flagged, micros};
use crate::server::Server;
use std::collections::BTreeSet;
use std::time::Duration;

const ROWS: i64 = 150_000;

/// The shipped text over a bounded input with a fixed clock, plus a view that shows the input itself.
fn run_rule(client: &mut Client, late_share: &str, max_lateness: &str) {
    let text = example("fraud.sql")
        .replace("rate = '5000'", &format!("rows = '{ROWS}', event_rate = '500', base_time = '1700000000000'"))
        .replace("fraud_every = '25000'", "fraud_every = '5000'")
        .replace("late_share = '0.002'", &format!("late_share = '{late_share}'"))
        .replace("max_lateness = '30 seconds'", &format!("max_lateness = '{max_lateness}'"))
        .replace("cards = '10000'", "cards = '2000'")
        .replace("  country    VARCHAR,\n", "  planted_fraud BIGINT,\n");
    assert!(text.contains("planted_fraud") && text.contains(&format!("'{ROWS}'")) && text.contains(late_share));
    client.run(&text);
    client.run("CREATE MATERIALIZED VIEW input AS SELECT payment_id, card, merchant, amount, ts, planted_fraud FROM payments");
    client.until("SELECT count(*) FROM tidewater.sources WHERE source = 'payments' AND status <> 'ended'", "0", Duration::from_secs(120));
    client.until("SELECT count(*) FROM input", &ROWS.to_string(), Duration::from_secs(60));
}

fn payments(client: &mut Client) -> Vec<Payment> {
    let rows = client.texts("SELECT card, merchant, amount, ts FROM input");
    assert_eq!(rows.len() as i64, ROWS);
    rows.into_iter().map(|r| Payment { card: r[0].clone(), merchant: r[1].clone(), cents: cents(&r[2]), time: micros(&r[3]) }).collect()
}

fn view(client: &mut Client) -> BTreeSet<Flagged> {
    let rows = client.texts("SELECT card, window_end, merchants, payments, spent FROM fraud_windows");
    let row = |r: Vec<String>| Flagged {
        card: r[0].clone(),
        window_end: micros(&r[1]),
        merchants: r[2].parse().unwrap(),
        payments: r[3].parse().unwrap(),
        cents: cents(&r[4]),
    };
    rows.into_iter().map(row).collect()
}

fn column(client: &mut Client, sql: &str) -> BTreeSet<String> {
    client.texts(sql).into_iter().map(|r| r[0].clone()).collect()
}

#[test]
fn slow_flagged_cards_are_the_planted_ones_and_windows_match_plain_rust() {
    let server = Server::start();
    let mut client = server.connect();
    // Out of order within the watermark's delay: nothing is late, so every window must be exact.
    run_rule(&mut client, "0.05", "4 seconds");
    let planted = column(&mut client, "SELECT DISTINCT card FROM input WHERE planted_fraud IS NOT NULL");
    assert!(planted.len() > 20, "{} planted", planted.len());
    assert_eq!(column(&mut client, "SELECT card FROM flagged_cards"), planted);
    let expected = flagged(&payments(&mut client));
    let found = view(&mut client);
    let (missing, extra): (Vec<_>, Vec<_>) = (expected.difference(&found).take(3).collect(), found.difference(&expected).take(3).collect());
    assert!(found == expected, "{} windows instead of {}; missing {missing:?}; extra {extra:?}", found.len(), expected.len());
    assert_eq!(client.number("SELECT sum(late_rows) FROM tidewater.views"), 0);
}

#[test]
fn slow_late_payments_are_counted_and_every_planted_fraud_is_found() {
    let server = Server::start();
    let mut client = server.connect();
    run_rule(&mut client, "0.02", "200 seconds");
    let planted = column(&mut client, "SELECT DISTINCT card FROM input WHERE planted_fraud IS NOT NULL");
    assert_eq!(column(&mut client, "SELECT card FROM flagged_cards"), planted, "frauds are never late, and no other card breaks the rule");
    let late = client.number("SELECT late_rows FROM tidewater.views WHERE view = 'fraud_windows'");
    assert!(late > 1000, "{late} late");
    // Each late assignment takes one payment out of one window: the view may only hold less than the whole input gives.
    let whole = flagged(&payments(&mut client));
    for row in view(&mut client) {
        let full = whole.iter().find(|f| f.card == row.card && f.window_end == row.window_end);
        assert!(full.is_some_and(|f| f.payments >= row.payments && f.cents >= row.cents), "{row:?} against {full:?}");
    }
}
