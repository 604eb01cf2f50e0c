//! A connection's beginning and end.

use super::fake::TestServer;
use super::raw::{Raw, query, startup};
use std::io::Read;
use std::time::{Duration, Instant};

const V3: i32 = 3 << 16;

fn first_line(server: &TestServer, packet: &[u8]) -> String {
    let mut raw = Raw::open(server);
    raw.send(packet);
    raw.answers().join(" | ")
}

#[test]
fn a_session_begins_with_its_settings_and_key() {
    let server = TestServer::start();
    let mut raw = Raw::open(&server);
    raw.send(&startup(V3, &[("user", "ann"), ("database", "tidewater")]));
    let expected = "R | S DateStyle ISO, MDY | S TimeZone UTC | S client_encoding UTF8 | S server_version 15.18 (Tidewater) | K | Z I";
    assert_eq!(raw.answers().join(" | "), expected);
    assert_eq!(server.stats.open.load(std::sync::atomic::Ordering::SeqCst), 1);
}

#[test]
fn encryption_is_refused_and_a_newer_protocol_negotiated() {
    let server = TestServer::start();
    let mut raw = Raw::open(&server);
    let mut answer = [0; 1];
    for request in [80_877_103i32, 80_877_104] {
        raw.send(&[8i32, request].map(i32::to_be_bytes).concat());
        raw.socket.read_exact(&mut answer).unwrap();
        assert_eq!(answer, *b"N");
    }
    raw.send(&startup(V3 + 2, &[("user", "ann"), ("_pq_.option", "on")]));
    assert!(raw.answers().join(" | ").starts_with("v | R | "));
}

#[test]
fn who_may_not_come_in_is_told_why() {
    let server = TestServer::with_limit(1);
    assert_eq!(first_line(&server, &startup(V3, &[("user", "ann"), ("database", "x")])), "FATAL 3D000 database \"x\" does not exist | closed");
    assert_eq!(first_line(&server, &startup(V3, &[])), "FATAL 08P01 no PostgreSQL user name specified in startup packet | closed");
    assert_eq!(first_line(&server, &startup(2 << 16, &[])), "FATAL 0A000 unsupported frontend protocol 2.0: server supports 3.0 to 3.0 | closed");
    assert_eq!(first_line(&server, &[0, 0, 0, 3]), "FATAL 08P01 invalid length of startup packet | closed");
    assert_eq!(first_line(&server, b"GET / HTTP/1.1\r\n\r\n"), "FATAL 08P01 invalid length of startup packet | closed");
    let held = Raw::connect(&server);
    assert_eq!(first_line(&server, &startup(V3, &[("user", "ann")])), "FATAL 53300 sorry, too many clients already | closed");
    drop(held);
    let freed = Instant::now();
    while !first_try(&server) {
        assert!(freed.elapsed() < Duration::from_secs(10), "the place of a client that left is free again");
    }
}

fn first_try(server: &TestServer) -> bool {
    let mut raw = Raw::open(server);
    raw.send(&startup(V3, &[("user", "ann")]));
    raw.answers().last().is_some_and(|l| l == "Z I")
}

#[test]
fn shutdown_tells_idle_and_running_clients() {
    let mut server = TestServer::start();
    let (mut idle, mut busy, mut unread) = (Raw::connect(&server), Raw::connect(&server), Raw::connect(&server));
    busy.send(&query("hang"));
    unread.send(&query("forever"));
    std::thread::sleep(Duration::from_millis(100));
    let began = Instant::now();
    server.stop();
    assert!(began.elapsed() < Duration::from_secs(5), "a client that does not read does not hold the server");
    for client in [&mut idle, &mut busy] {
        assert_eq!(client.answers().join(" | "), "FATAL 57P01 terminating connection due to administrator command | closed");
    }
}

#[test]
fn a_panic_ends_its_connection_only() {
    let server = TestServer::start();
    let (mut other, mut raw) = (Raw::connect(&server), Raw::connect(&server));
    assert_eq!(raw.ask(&[query("rows 1; panic")]), "T2 | D 0,row 0 | C SELECT 1 | FATAL XX000 the connection met an internal error | closed");
    assert_eq!(other.ask(&[query("rows 1")]), "T2 | D 0,row 0 | C SELECT 1 | Z I");
    assert_eq!(server.stats.panics.load(std::sync::atomic::Ordering::SeqCst), 1);
    drop((raw, other));
    let began = Instant::now();
    while server.stats.open.load(std::sync::atomic::Ordering::SeqCst) > 0 {
        assert!(began.elapsed() < Duration::from_secs(10), "connections that ended are counted out");
    }
}
