//! All of the sessions' threads are at work on long queries: what is done at once is done all the same.

use crate::server::Server;
use std::time::{Duration, Instant};

/// The queries would take minutes.
const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn settings_and_signals_do_not_wait_for_long_queries() {
    let server = Server::start();
    let mut other = server.connect();
    let prepared = other.prepare("SELECT current_setting($1)");
    std::thread::scope(|scope| {
        let server = &server;
        let long = "SET statement_timeout = '60s'; SELECT count(*) FROM generate_series(1, 3000000) a, generate_series(1, 3000000) b WHERE a % 7 = b % 5";
        let busy: Vec<_> = (0..6).map(|_| scope.spawn(move || server.connect().fails(long))).collect();
        let begun = Instant::now();
        let active = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid()";
        other.until(active, "6", PATIENCE);
        other.run("SET application_name = 'watcher'; BEGIN; SHOW TimeZone; SELECT 1; COMMIT");
        assert_eq!(other.query(&prepared, &[&"application_name"]), [["watcher"]]);
        assert_eq!(server.connect().one("SELECT version() LIKE 'PostgreSQL 15%'"), "t");
        let ended = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid()";
        assert_eq!(other.texts(ended), vec![["t"]; 6]);
        for query in busy {
            assert_eq!(query.join().unwrap().code, "57014");
        }
        let took = begun.elapsed();
        println!("{took:?}");
        assert!(took < PATIENCE, "it took {took:?}");
    });
}

#[test]
fn a_timeout_holds_for_what_follows_in_its_message() {
    let server = Server::start();
    let long = "SELECT count(*) FROM generate_series(1, 200000) a, generate_series(1, 20000) b WHERE a % 7 = b % 5";
    let ended = server.connect().fails(&format!("SET statement_timeout = '300ms'; {long}"));
    assert_eq!((ended.code.as_str(), ended.message.as_str()), ("57014", "canceling statement due to statement timeout"));
}
