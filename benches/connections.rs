//! What a client waits for: a connection, the first row of a large result; and what connections and slow readers cost the server. Messages are read off the socket
//! here, for a driver has queues of its own.

use crate::measure::{cpu_seconds, memory_mib, percentile};
use crate::server::Server;
use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// `make test` reads fewer rows than `make bench`.
fn is_whole() -> bool {
    std::env::var_os("BENCH_EVENTS").is_some()
}

struct Connection(BufReader<TcpStream>);

impl Connection {
    /// Until ReadyForQuery.
    fn open(port: u16) -> Connection {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_nodelay(true).unwrap();
        let body = b"\0\x03\0\0user\0tidewater\0database\0tidewater\0\0";
        stream.write_all(&(body.len() as u32 + 4).to_be_bytes()).unwrap();
        stream.write_all(body).unwrap();
        let mut connection = Connection(BufReader::with_capacity(64 << 10, stream));
        connection.until(b'Z');
        connection
    }

    fn send(&mut self, messages: &[(u8, &[u8])]) {
        let mut bytes = Vec::new();
        for (tag, body) in messages {
            bytes.push(*tag);
            bytes.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
            bytes.extend_from_slice(body);
        }
        self.0.get_mut().write_all(&bytes).unwrap();
    }

    fn ask(&mut self, sql: &str) {
        self.send(&[(b'Q', format!("{sql}\0").as_bytes())]);
    }

    /// In the extended protocol, without a row limit.
    fn ask_extended(&mut self, sql: &str) {
        let parse = format!("\0{sql}\0\0\0");
        self.send(&[(b'P', parse.as_bytes()), (b'B', b"\0\0\0\0\0\0\0\0"), (b'E', b"\0\0\0\0\0"), (b'S', b"")]);
    }

    /// Reads up to a message of that kind; how many rows were before it.
    fn until(&mut self, kind: u8) -> u64 {
        let mut rows = 0;
        loop {
            let mut head = [0; 5];
            self.0.read_exact(&mut head).unwrap();
            let mut body = vec![0; u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize - 4];
            self.0.read_exact(&mut body).unwrap();
            assert_ne!(head[0], b'E', "{}", String::from_utf8_lossy(&body));
            if head[0] == kind {
                return rows;
            }
            rows += u64::from(head[0] == b'D');
        }
    }
}

fn millis(mut all: Vec<Duration>) -> [f64; 3] {
    all.sort();
    let all: Vec<f64> = all.iter().map(|d| d.as_secs_f64() * 1e3).collect();
    [0.5, 0.99, 1.0].map(|share| percentile(&all, share))
}

/// Rows in a view, as a checkpoint left them.
fn large(server: &Server, rows: u64) {
    let mut client = server.connect();
    client.run(&format!(
        "CREATE SOURCE numbers (n BIGINT, v BIGINT, name TEXT AS ('name of ' || n)) WITH (connector = 'datagen', rows = '{rows}', \
         fields.n.kind = 'sequence', fields.n.start = '1', fields.v.kind = 'random', fields.v.min = '1', fields.v.max = '1000000')"
    ));
    client.run("CREATE MATERIALIZED VIEW large AS SELECT * FROM numbers");
    client.until("SELECT count(*) FROM large", &rows.to_string(), Duration::from_secs(600));
    client.run("FLUSH");
}

#[test]
fn slow_bench_first_row_of_a_large_result() {
    let server = Server::with(&["--memory", "512MiB"]);
    let (rows, pid) = (if is_whole() { 10_000_000 } else { 500_000 }, server.pid());
    large(&server, rows);
    println!("\nSELECT * FROM large, {rows} rows     first row p50 ms  p99 ms  most ms");
    let mut medians = Vec::new();
    for (protocol, ask) in [("simple", Connection::ask as fn(&mut Connection, &str)), ("extended", Connection::ask_extended)] {
        let first = (0..20).map(|_| {
            let mut connection = Connection::open(server.sql_port);
            let begun = Instant::now();
            ask(&mut connection, "SELECT * FROM large");
            connection.until(b'D');
            begun.elapsed()
        });
        let [p50, p99, most] = millis(first.collect());
        println!("{protocol:<40} {p50:>12.1} {p99:>7.1} {most:>8.1}");
        medians.push(p50);
    }
    let before = memory_mib(pid, "VmRSS");
    let mut reader = Connection::open(server.sql_port);
    let begun = Instant::now();
    reader.ask("SELECT * FROM large");
    let read = reader.until(b'C');
    let (seconds, after) = (begun.elapsed().as_secs_f64(), memory_mib(pid, "VmHWM"));
    assert_eq!(read, rows);
    println!("all of it in {seconds:.1} s, {:.0} rows/s; {before:.0} MiB resident before, at most {after:.0} MiB ever", rows as f64 / seconds);
    // One who reads a row and then nothing: the scan waits for it.
    let before = memory_mib(pid, "VmRSS");
    let mut idlers: Vec<Connection> = (0..20).map(|_| Connection::open(server.sql_port)).collect();
    for idler in &mut idlers {
        idler.ask("SELECT * FROM large");
        idler.until(b'D');
    }
    std::thread::sleep(Duration::from_secs(1));
    let worked = cpu_seconds(pid);
    std::thread::sleep(Duration::from_secs(2));
    let (worked, held) = (cpu_seconds(pid) - worked, memory_mib(pid, "VmRSS") - before);
    println!("20 who read one row and wait: {held:.0} MiB more, {worked:.2} s of processor time in 2 s");
    assert!(medians.iter().all(|p50| *p50 < 50.0), "first rows came after {medians:.1?} ms");
    assert!(held < 150.0 && worked < 0.5, "slow readers hold {held:.0} MiB, and the server works for {worked:.2} s");
}

#[test]
fn slow_bench_connections() {
    let server = Server::start();
    let pid = server.pid();
    let mut client = server.connect();
    client.run("CREATE TABLE kept (id INT PRIMARY KEY, v TEXT); INSERT INTO kept SELECT g, 'v' || g FROM generate_series(1, 1000) AS t(g)");
    let connect = || {
        let begun = Instant::now();
        let connection = Connection::open(server.sql_port);
        (begun.elapsed(), connection)
    };
    let [p50, p99, most] = millis((0..500).map(|_| connect().0).collect());
    println!("\n                                 p50 ms   p99 ms  most ms");
    println!("connect                        {p50:>8.2} {p99:>8.2} {most:>8.2}");
    let before = memory_mib(pid, "VmRSS");
    let (took, _idle): (Vec<Duration>, Vec<Connection>) = (0..1000).map(|_| connect()).unzip();
    let [p50_idle, p99, most] = millis(took);
    println!("connect, up to 1,000 idle ones {p50_idle:>8.2} {p99:>8.2} {most:>8.2}   {:.1} KiB each", (memory_mib(pid, "VmRSS") - before) * 1.024);
    let (begun, time) = (Instant::now(), Duration::from_secs(if is_whole() { 10 } else { 2 }));
    let busy = |asker: usize| {
        let mut connection = Connection::open(server.sql_port);
        let mut took = Vec::new();
        while begun.elapsed() < time {
            let one = Instant::now();
            connection.ask(&format!("SELECT v FROM kept WHERE id = {}", asker * 10 + took.len() % 10 + 1));
            assert_eq!(connection.until(b'Z'), 1);
            took.push(one.elapsed());
        }
        took
    };
    let busy = &busy;
    let all: Vec<Duration> = std::thread::scope(|scope| {
        let askers: Vec<_> = (0..100).map(|asker| scope.spawn(move || busy(asker))).collect();
        askers.into_iter().flat_map(|asker| asker.join().unwrap()).collect()
    });
    let rate = all.len() as f64 / time.as_secs_f64();
    let [asked, p99, most] = millis(all);
    println!("a SELECT, 100 busy, 1,000 idle {asked:>8.2} {p99:>8.2} {most:>8.2}   {rate:.0}/s");
    assert!(p50 < 5.0 && p50_idle < 5.0, "a connection takes {p50:.1} and {p50_idle:.1} ms");
}
