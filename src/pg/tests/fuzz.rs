//! Random bytes, random messages and mutated ones, in every state of the protocol. Nothing may panic, and the next
//! client gets right answers. A failing run is repeated by its printed seed: `TIDEWATER_WIRE_SEED=n`.

use super::fake::TestServer;
use super::raw::{Raw, bind, close, describe, execute, message, parse, query, startup, sync};
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant, SystemTime};

const TIME: Duration = Duration::from_secs(5);

#[test]
fn no_bytes_hurt_the_server() {
    let seed = std::env::var("TIDEWATER_WIRE_SEED").ok().and_then(|s| s.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_micros() as u64);
    println!("TIDEWATER_WIRE_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let server = TestServer::with_limit(1000);
    let began = Instant::now();
    let mut rounds = 0;
    while began.elapsed() < TIME {
        attack(&server, &mut random);
        rounds += 1;
        assert_eq!(server.stats.panics.load(SeqCst), 0, "seed {seed}, round {rounds}");
    }
    println!("{rounds} connections");
    let mut raw = Raw::connect(&server);
    assert_eq!(raw.ask(&[query("rows 1")]), "T2 | D 0,row 0 | C SELECT 1 | Z I");
    drop(raw);
    let ended = Instant::now();
    while server.stats.open.load(SeqCst) + server.live.load(SeqCst) as u64 > 0 {
        assert!(ended.elapsed() < Duration::from_secs(10), "sessions and streams of gone clients end; seed {seed}");
    }
}

/// One connection: a right or wrong start, some messages, some of them damaged, then it leaves in one way or another.
fn attack(server: &TestServer, random: &mut StdRng) {
    let mut raw = if random.random_bool(0.8) {
        Raw::connect(server)
    } else {
        let mut raw = Raw::open(server);
        let mut start = startup([3 << 16, 80_877_103, 80_877_102, 196_610][random.random_range(0..4)], &[("user", "ann")]);
        mutate(&mut start, random);
        let _ = raw.socket.write_all(&start);
        raw
    };
    raw.socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    for _ in 0..random.random_range(1..20) {
        let mut bytes = any_message(random);
        if random.random_bool(0.3) {
            mutate(&mut bytes, random);
        }
        if raw.socket.write_all(&bytes).is_err() {
            return;
        }
        if random.random_bool(0.2) {
            let _ = raw.socket.read(&mut [0; 4096]);
        }
    }
    if random.random_bool(0.5) {
        // A half-closed stream is read to its end: the server must close it.
        let _ = raw.socket.write_all(&sync()).and_then(|()| raw.socket.shutdown(Shutdown::Write));
        while raw.socket.read(&mut [0; 65536]).is_ok_and(|n| n > 0) {}
    }
}

fn any_message(random: &mut StdRng) -> Vec<u8> {
    const STATEMENTS: [&str; 14] = [
        "rows 3",
        "rows 2000",
        "types",
        "echo int4 text numeric",
        "echo jsonb bytea interval timestamptz",
        "fail",
        "late",
        "begin",
        "commit",
        "notice",
        "",
        "do X",
        "syntax",
        "set TimeZone Europe/Berlin",
    ];
    const OIDS: [u32; 12] = [0, 16, 17, 20, 23, 25, 705, 1007, 1186, 1231, 1700, 3802];
    let name = ["", "a", "b"][random.random_range(0..3)];
    let other = ["", "a", "b"][random.random_range(0..3)];
    let statement = STATEMENTS[random.random_range(0..STATEMENTS.len())];
    let target = [b'S', b'P'][random.random_range(0..2)];
    match random.random_range(0..12) {
        0 => query(statement),
        1 | 2 => {
            let oids: Vec<u32> = (0..random.random_range(0..4)).map(|_| OIDS[random.random_range(0..OIDS.len())]).collect();
            parse(name, statement, &oids)
        }
        3 | 4 => {
            let values: Vec<Option<Vec<u8>>> = (0..random.random_range(0..5)).map(|_| any_value(random)).collect();
            let values: Vec<Option<&[u8]>> = values.iter().map(Option::as_deref).collect();
            let format = [&[][..], &[0], &[1], &[1, 0, 1]][random.random_range(0..4)];
            bind(name, other, format, &values, format)
        }
        5 | 6 => execute(name, [0, 1, -1, i32::MAX, i32::MIN, 1000][random.random_range(0..6)]),
        7 => describe(target, name),
        8 => close(target, name),
        9 => sync(),
        10 => message(b"HXdcfFp!S"[random.random_range(0..9)], b""),
        _ => {
            let mut body = vec![0; random.random_range(0..60)];
            random.fill_bytes(&mut body);
            message(b"QPBDECHSF"[random.random_range(0..9)], &body)
        }
    }
}

/// A parameter: a fitting one now and then, or any bytes.
fn any_value(random: &mut StdRng) -> Option<Vec<u8>> {
    match random.random_range(0..6) {
        0 => None,
        1 => Some(b"7".to_vec()),
        2 => Some(7i32.to_be_bytes().to_vec()),
        3 => Some(b"{\"a\": [1, {\"b\": null}]}".to_vec()),
        4 => Some([0, 1, 0, 0, 0, 0, 0, 2, 0, 7, 0, 0].to_vec()),
        _ => {
            let mut bytes = vec![0; random.random_range(0..40)];
            random.fill_bytes(&mut bytes);
            Some(bytes)
        }
    }
}

fn mutate(bytes: &mut Vec<u8>, random: &mut StdRng) {
    for _ in 0..random.random_range(1..4) {
        if bytes.is_empty() {
            return;
        }
        let at = random.random_range(0..bytes.len());
        match random.random_range(0..4) {
            0 => bytes[at] = random.random(),
            1 => bytes.truncate(at),
            2 => bytes.insert(at, random.random()),
            _ => bytes[at] ^= 0x80,
        }
    }
}
