//! How fast rows leave: printed, and checked to be complete. `TIDEWATER_WIRE_ROWS` sets how many; the default is small.

use super::fake::TestServer;
use super::raw::{Raw, bind, execute, parse, query, sync};
use std::io::Read;
use std::time::Instant;

#[test]
fn a_large_result_streams() {
    let rows: usize = std::env::var("TIDEWATER_WIRE_ROWS").ok().and_then(|n| n.parse().ok()).unwrap_or(100_000);
    let server = TestServer::start();
    let mut raw = Raw::connect(&server);
    for (name, format) in [("text", 0), ("binary", 1)] {
        let began = Instant::now();
        let sql = format!("wide {rows}");
        let messages = if format == 0 { vec![query(&sql)] } else { vec![parse("", &sql, &[]), bind("", "", &[], &[], &[format]), execute("", 0), sync()] };
        raw.send(&messages.concat());
        let (counted, bytes) = count_rows(&mut raw);
        let seconds = began.elapsed().as_secs_f64();
        println!("{name}: {:.2} million rows/s, {:.0} MB/s", counted as f64 / seconds / 1e6, bytes as f64 / seconds / 1e6);
        assert_eq!(counted, rows);
    }
}

/// Counts DataRow messages up to ReadyForQuery, without looking into them: the client must not be the slower side.
fn count_rows(raw: &mut Raw) -> (usize, usize) {
    let mut buffer = Vec::with_capacity(2 << 20);
    let mut chunk = vec![0; 1 << 20];
    let (mut rows, mut bytes) = (0, 0);
    loop {
        let read = raw.socket.read(&mut chunk).unwrap();
        assert!(read > 0, "the server closed");
        bytes += read;
        buffer.extend_from_slice(&chunk[..read]);
        let mut at = 0;
        while let Some(head) = buffer.get(at..at + 5) {
            let end = at + 1 + u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
            if end > buffer.len() {
                break;
            }
            rows += usize::from(head[0] == b'D');
            if head[0] == b'Z' {
                return (rows, bytes);
            }
            at = end;
        }
        buffer.drain(..at);
    }
}
