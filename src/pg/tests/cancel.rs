//! Cancel requests, and clients that go away: whatever runs for them ends.

use super::fake::TestServer;
use super::raw::{Raw, bind, execute, parse, query, sync};
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

const CANCELED: &str = "ERROR 57014 canceling statement due to user request";

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_cancel_ends_a_statement_in_every_stage() {
    let server = TestServer::start();
    let mut raw = Raw::connect(&server);
    // Waits inside execute; waits for rows after the first ones came; streams as fast as it can.
    for (sql, rows) in [("hang", false), ("stuck", true), ("forever", true)] {
        for extended in [false, true] {
            let messages = if extended { vec![parse("", sql, &[]), bind("", "", &[], &[], &[]), execute("", 0), sync()] } else { vec![query(sql)] };
            raw.send(&messages.concat());
            if rows {
                // First rows come although the statement goes on.
                while raw.next().unwrap().0 != b'D' {}
            } else {
                std::thread::sleep(Duration::from_millis(50));
            }
            raw.cancel(&server, raw.secret);
            let lines = raw.answers();
            assert_eq!(lines[lines.len() - 2..], [CANCELED, "Z I"], "{sql}");
            eventually("the stream is dropped", || server.live.load(SeqCst) == 0);
        }
    }
    assert_eq!(server.stats.cancels.load(SeqCst), 6);
    assert_eq!(raw.ask(&[query("rows 1")]), "T2 | D 0,row 0 | C SELECT 1 | Z I");
}

#[test]
fn a_cancel_reaches_a_stream_that_its_client_does_not_read() {
    let server = TestServer::start();
    let mut raw = Raw::connect(&server);
    raw.send(&query("forever"));
    std::thread::sleep(Duration::from_millis(300));
    raw.cancel(&server, raw.secret);
    eventually("the stream is dropped though nobody reads", || server.live.load(SeqCst) == 0);
    let lines = raw.answers();
    assert_eq!(lines[lines.len() - 2..], [CANCELED, "Z I"]);
    assert!(lines[1..lines.len() - 2].iter().all(|l| l.starts_with("D ")), "no row is cut in two");
}

#[test]
fn a_wrong_key_or_an_idle_session_is_left_alone() {
    let server = TestServer::start();
    let mut raw = Raw::connect(&server);
    raw.cancel(&server, raw.secret);
    raw.send(&query("stuck"));
    while raw.next().unwrap().0 != b'D' {}
    raw.cancel(&server, raw.secret.wrapping_add(1));
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!((server.live.load(SeqCst), server.stats.cancels.load(SeqCst)), (1, 0));
    raw.cancel(&server, raw.secret);
    assert_eq!(raw.answers(), [CANCELED, "Z I"]);
}

#[test]
fn a_client_that_goes_away_takes_its_statement_along() {
    let server = TestServer::start();
    for sql in ["stuck", "forever"] {
        let mut raw = Raw::connect(&server);
        raw.send(&query(sql));
        while raw.next().unwrap().0 != b'D' {}
        drop(raw);
        eventually("the stream is dropped", || server.live.load(SeqCst) == 0);
    }
}

#[test]
fn a_statement_timeout_is_a_cancel_too() {
    let server = TestServer::start();
    let mut raw = Raw::connect(&server);
    raw.ask(&[query("set statement_timeout 50ms")]);
    assert_eq!(raw.ask(&[query("hang")]), "ERROR 57014 canceling statement due to statement timeout | Z I");
}
