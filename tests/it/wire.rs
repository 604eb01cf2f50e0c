//! The wire of the real server under clients that mean no good, and under many at once.

use crate::random::Random;
use crate::server::Server;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// A connection without a driver.
struct Raw(TcpStream);

impl Raw {
    fn connect(port: u16) -> Raw {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        stream.set_nodelay(true).unwrap();
        Raw(stream)
    }

    fn send(&mut self, bytes: &[u8]) -> bool {
        self.0.write_all(bytes).is_ok()
    }

    /// The whole answer to one query, up to ReadyForQuery.
    fn answer(&mut self) -> String {
        self.0.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut answer = Vec::new();
        let mut bytes = [0; 4096];
        while !(answer.len() >= 6 && answer[answer.len() - 6] == b'Z') {
            let n = self.0.read(&mut bytes).unwrap();
            assert!(n > 0, "the server closed");
            answer.extend_from_slice(&bytes[..n]);
        }
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Reads what comes until nothing does, or the server has closed (true).
    fn drain(&mut self) -> bool {
        let mut bytes = [0; 4096];
        loop {
            match self.0.read(&mut bytes) {
                Ok(0) => return true,
                // ReadyForQuery is the last of an answer.
                Ok(n) if n >= 6 && bytes[n - 6] == b'Z' => return false,
                Ok(_) => {}
                Err(_) => return false,
            }
        }
    }
}

fn startup() -> Vec<u8> {
    let mut body = 196_608u32.to_be_bytes().to_vec();
    body.extend_from_slice(b"user\0tidewater\0database\0tidewater\0\0");
    let mut message = (body.len() as u32 + 4).to_be_bytes().to_vec();
    message.extend(body);
    message
}

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut message = vec![tag];
    message.extend((body.len() as u32 + 4).to_be_bytes());
    message.extend_from_slice(body);
    message
}

/// Statements of every kind, some of them wrong.
const STATEMENTS: [&str; 20] = [
    "SELECT 1",
    "SELECT * FROM kept WHERE id = $1",
    "SELECT $1::int[], $2::numeric, $3::timestamptz",
    "INSERT INTO scratch VALUES ($1, $2)",
    "INSERT INTO scratch VALUES (1, 'x'); SELECT 1/0",
    "BEGIN",
    "SAVEPOINT s",
    "ROLLBACK TO s",
    "COMMIT",
    "COPY scratch FROM STDIN",
    "COPY (SELECT * FROM kept) TO STDOUT (FORMAT binary)",
    "DECLARE c CURSOR FOR SELECT * FROM generate_series(1, 100)",
    "FETCH 10 c",
    "PREPARE p (int) AS SELECT $1",
    "EXECUTE p(1)",
    "DEALLOCATE ALL",
    "SET search_path TO nowhere",
    "SELEC",
    "SELECT pg_sleep('x')",
    "SELECT count(*) FROM pg_catalog.pg_class c JOIN pg_attribute a ON a.attrelid = c.oid",
];

fn sensible(random: &mut Random) -> Vec<u8> {
    let sql = STATEMENTS[random.below(STATEMENTS.len() as u64) as usize].as_bytes();
    let name = ["", "a", "b"][random.below(3) as usize].as_bytes();
    let named = |rest: &[u8]| [name, b"\0", rest].concat();
    match random.below(12) {
        0..3 => message(b'Q', &[sql, b"\0"].concat()),
        3 => message(b'P', &named(&[sql, b"\0\0\0"].concat())),
        4 => message(b'B', &named(&[name, b"\0\0\x01\0\x01\0\x02\0\0\0\x02xy\xff\xff\xff\xff\0\0"].concat())),
        5 => message(b'D', &[if random.below(2) == 0 { b"S" } else { b"P" }, named(b"").as_slice()].concat()),
        6 => message(b'E', &named(&(random.below(5) as u32).to_be_bytes())),
        7 => message(b'S', b""),
        8 => message(b'C', &[b"P", named(b"").as_slice()].concat()),
        9 => message(b'd', b"1\tx\n"),
        10 => message([b'c', b'f'][random.below(2) as usize], b"why\0"),
        _ => message(b'H', b""),
    }
}

/// A sensible one, or one with bytes changed, cut off, doubled, or nothing but bytes.
fn some(random: &mut Random) -> Vec<u8> {
    let mut bytes = sensible(random);
    match random.below(10) {
        0..5 => {}
        5 | 6 => {
            for _ in 0..=random.below(4) {
                let at = random.below(bytes.len() as u64) as usize;
                bytes[at] = random.below(256) as u8;
            }
        }
        7 => bytes.truncate(random.below(bytes.len() as u64) as usize + 1),
        8 => bytes.extend(bytes.clone()),
        _ => bytes = (0..random.below(64) + 1).map(|_| random.below(256) as u8).collect(),
    }
    bytes
}

fn resident_mib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

/// `WIRE_MESSAGES` of them, 4,000 unless it says.
#[test]
fn any_bytes_in_any_state_leave_the_next_client_its_answers() {
    let wanted: u64 = std::env::var("WIRE_MESSAGES").ok().and_then(|n| n.parse().ok()).unwrap_or(4_000);
    let server = Server::start();
    let mut client = server.connect();
    client.run("CREATE TABLE kept (id INT PRIMARY KEY, v TEXT)");
    client.run("CREATE TABLE scratch (id INT, v TEXT)");
    client.run("INSERT INTO kept SELECT g, 'v' || g FROM generate_series(1, 100) AS t(g)");
    let mut random = Random::from_environment();
    let (mut sent, mut early) = (0, None);
    while sent < wanted {
        let mut raw = Raw::connect(server.sql_port);
        let start = startup();
        if random.below(20) > 0 {
            raw.send(&start);
            raw.drain();
        }
        for _ in 0..random.below(60) + 1 {
            sent += 1;
            let closed = !raw.send(&some(&mut random));
            // What is sent faster than it is answered stands in a queue; sometimes the answer is awaited.
            if closed || (random.below(8) == 0 && raw.send(&message(b'S', b"")) && raw.drain()) {
                break;
            }
        }
        if sent > wanted / 2 && early.is_none() {
            early = Some(resident_mib(server.pid()));
        }
        if random.below(10) == 0 {
            assert_eq!(client.texts("SELECT count(*), min(v), max(id) FROM kept"), [["100", "v1", "100"]]);
        }
    }
    let mut fresh = server.connect();
    assert_eq!(fresh.texts("SELECT count(*), min(v), max(id) FROM kept"), [["100", "v1", "100"]]);
    // Those that went without a word are gone.
    fresh.until("SELECT count(*) < 10 FROM pg_stat_activity", "t", Duration::from_secs(60));
    let (early, late) = (early.unwrap(), resident_mib(server.pid()));
    assert!(late < early + 150, "{early} MiB half way, {late} MiB at the end");
    assert!(!server.log().contains("panicked"), "{}", server.log());
}

#[test]
fn a_thousand_that_wait_and_a_hundred_that_ask() {
    let server = Server::with(&[]);
    let mut client = server.connect();
    client.run("CREATE TABLE kept (id INT PRIMARY KEY, v TEXT)");
    client.run("INSERT INTO kept SELECT g, 'v' || g FROM generate_series(1, 1000) AS t(g)");
    let before = resident_mib(server.pid());
    let began = Instant::now();
    let mut idle: Vec<Raw> = Vec::new();
    for _ in 0..1000 {
        let mut raw = Raw::connect(server.sql_port);
        raw.send(&startup());
        raw.answer();
        idle.push(raw);
    }
    println!("1000 connections in {:?}, {} MiB more", began.elapsed(), resident_mib(server.pid()) - before);
    assert!(client.number("SELECT count(*) FROM pg_stat_activity WHERE state = 'idle'") >= 1000);
    std::thread::scope(|scope| {
        for asker in 0..100 {
            let port = server.sql_port;
            scope.spawn(move || {
                let mut raw = Raw::connect(port);
                raw.send(&startup());
                raw.answer();
                for round in 0..20 {
                    let id = asker * 10 + round % 10 + 1;
                    raw.send(&message(b'Q', format!("SELECT v FROM kept WHERE id = {id}\0").as_bytes()));
                    let text = raw.answer();
                    assert!(text.contains(&format!("v{id}")), "asker {asker}: {text:?}");
                }
            });
        }
    });
    // The idle ones still answer.
    for raw in idle.iter_mut().step_by(100) {
        raw.send(&message(b'Q', b"SELECT 41 + 1\0"));
        assert!(raw.answer().contains("42"));
    }
}
