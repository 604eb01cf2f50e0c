//! Who cannot keep up waits, or makes the input wait; memory stays where it was: a client that does not read its rows, a key that half of all events have, a view a hundred times
//! dearer than the rest. Each test measures resident memory and the effect.
//!
//! `make soak` makes them longer: `SLOW_READER_ROWS`, `HOT_KEY_EVENTS`, `DEAR_SECONDS`.

use crate::client::Client;
use crate::memory::resident_mebibytes;
use crate::server::Server;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(600);

fn setting(name: &str, default: i64) -> i64 {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

/// A connection that asks and then reads when it likes: messages of the protocol, by hand.
struct Idler(BufReader<TcpStream>);

impl Idler {
    fn connect(port: u16) -> Idler {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        let startup = [&196_608i32.to_be_bytes()[..], b"user\0tidewater\0database\0tidewater\0\0"].concat();
        stream.write_all(&[&(startup.len() as i32 + 4).to_be_bytes()[..], &startup].concat()).unwrap();
        let mut idler = Idler(BufReader::new(stream));
        while idler.message().0 != b'Z' {}
        idler
    }

    fn ask(&mut self, sql: &str) {
        let message = [b"Q", &(sql.len() as i32 + 5).to_be_bytes()[..], sql.as_bytes(), b"\0"].concat();
        self.0.get_mut().write_all(&message).unwrap();
    }

    fn message(&mut self) -> (u8, Vec<u8>) {
        let mut head = [0; 5];
        self.0.read_exact(&mut head).unwrap();
        let mut body = vec![0; u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize - 4];
        self.0.read_exact(&mut body).unwrap();
        (head[0], body)
    }

    /// Reads everything that was asked for: how many rows.
    fn rows(&mut self) -> i64 {
        let mut rows = 0;
        loop {
            match self.message() {
                (b'D', _) => rows += 1,
                (b'E', body) => panic!("{}", String::from_utf8_lossy(&body)),
                (b'Z', _) => return rows,
                _ => {}
            }
        }
    }
}

#[test]
fn a_client_that_does_not_read_holds_nobody_up() {
    let rows = setting("SLOW_READER_ROWS", 1_000_000);
    let server = Server::with(&["--memory", "512MiB"]);
    let mut client = server.connect();
    client.run("CREATE TABLE t (id BIGINT PRIMARY KEY, v BIGINT)");
    client.run("CREATE MATERIALIZED VIEW total AS SELECT count(*) AS n, sum(v) AS v FROM t");
    client.run("INSERT INTO t SELECT g, g FROM generate_series(1, 1000) AS x(g)");
    // One reads its result to the end, later; the others never do.
    let wide = format!("SELECT g.g, t.v, repeat('r', 100) FROM generate_series(1, {}) AS g(g) CROSS JOIN t", rows / 1000);
    let series = format!("SELECT g, repeat('r', 100) FROM generate_series(1, {rows}) AS x(g)");
    let before = resident_mebibytes(server.pid());
    let mut idlers: Vec<Idler> = (0..4).map(|_| Idler::connect(server.sql_port)).collect();
    idlers[0].ask(&wide);
    idlers[1].ask(&wide);
    idlers[2].ask(&series);
    idlers[3].ask("SELECT a.id, b.id, repeat('r', 100) FROM t a CROSS JOIN t b");
    let (mut peak, mut slowest) = (0, Duration::ZERO);
    for id in 1..=60 {
        let start = Instant::now();
        client.run(&format!("INSERT INTO t VALUES ({}, 0)", 10_000 + id));
        assert_eq!(client.texts("SELECT n, v FROM total"), [[(1000 + id).to_string(), "500500".to_string()]]);
        slowest = slowest.max(start.elapsed());
        peak = peak.max(resident_mebibytes(server.pid()));
        std::thread::sleep(Duration::from_millis(20));
    }
    println!("four results of {rows} rows wait: {before} to {peak} MiB; a write and a read beside them took at most {slowest:?}");
    assert!(peak < before + 100, "{peak} MiB are resident, {before} before");
    assert!(slowest < Duration::from_secs(3), "{slowest:?}");
    // It gets the rows of the epoch at which it asked, all of them.
    assert_eq!(idlers[0].rows(), rows / 1000 * 1000);
    let after = resident_mebibytes(server.pid());
    assert!(after < before + 100, "{after} MiB are resident, {before} before");
    // Whoever goes away leaves nothing behind.
    drop(idlers);
    client.run("DROP TABLE t CASCADE");
}

/// Half of all events have key 0, the others one of many.
const KEYS: i64 = 50_000;

fn event(n: i64) -> (i64, i64, i64) {
    let key = if n % 2 == 0 { 0 } else { n % KEYS };
    (key, n * 7919 % 1_000_003, n / 2 % 1000)
}

#[test]
fn one_key_with_half_of_all_events() {
    let events = setting("HOT_KEY_EVENTS", 300_000);
    let server = Server::with(&["--memory", "512MiB"]);
    let mut client = server.connect();
    client.run("CREATE TABLE names (k BIGINT PRIMARY KEY, name TEXT)");
    client.run(&format!("INSERT INTO names SELECT g, 'name ' || g FROM generate_series(0, {}) AS t(g)", KEYS - 1));
    client.run(&format!(
        "CREATE SOURCE event (n BIGINT, k BIGINT AS (CASE WHEN n % 2 = 0 THEN 0 ELSE n % {KEYS} END), v BIGINT AS (n * 7919 % 1000003), part BIGINT AS (n / 2 % 1000)) \
         WITH (connector = 'datagen', rows = '{events}', fields.n.kind = 'sequence', fields.n.start = '0')"
    ));
    client.run("SET background_ddl = true");
    client.run("CREATE MATERIALIZED VIEW grouped AS SELECT k, count(*) AS n, sum(v) AS total, min(v) AS least, max(v) AS most, count(DISTINCT part) AS parts FROM event GROUP BY k");
    client.run("CREATE MATERIALIZED VIEW named AS SELECT e.n, e.k, m.name FROM event e JOIN names m ON m.k = e.k");
    client.run("CREATE MATERIALIZED VIEW top AS SELECT k, n, v FROM (SELECT k, n, v, row_number() OVER (PARTITION BY k ORDER BY v DESC, n) AS r FROM event) AS x WHERE r <= 3");
    // The ranks within one partition change all the time: what is ranked are sums.
    client.run(
        "CREATE MATERIALIZED VIEW top_parts AS SELECT k, part, total FROM (SELECT k, part, total, row_number() OVER (PARTITION BY k ORDER BY total DESC, part) AS r \
         FROM (SELECT k, part, sum(v) AS total FROM event GROUP BY k, part) AS s) AS x WHERE r <= 3",
    );
    let (start, mut peak) = (Instant::now(), 0);
    let done = format!("SELECT (SELECT count(*) FROM tidewater.views WHERE status = 'live') = 4 AND (SELECT sum(rows) FROM tidewater.sources) = {events}");
    while client.one(&done) != "t" {
        peak = peak.max(resident_mebibytes(server.pid()));
        assert!(start.elapsed() < PATIENCE, "it does not end: {:?}", client.texts("SELECT view, status FROM tidewater.views"));
        std::thread::sleep(Duration::from_millis(50));
    }
    println!("{events} events in {:.1} s, at most {peak} MiB resident of --memory 512MiB", start.elapsed().as_secs_f64());
    assert!(peak < 640, "{peak} MiB are resident");
    check_hot(&mut client, events);
}

#[derive(Default)]
struct OfKey {
    sums: [i64; 4],
    parts: BTreeMap<i64, i64>,
    top: BTreeSet<(i64, i64)>,
}

fn check_hot(client: &mut Client, events: i64) {
    let mut expected: BTreeMap<i64, OfKey> = BTreeMap::new();
    for n in 0..events {
        let (key, v, part) = event(n);
        let of = expected.entry(key).or_insert_with(|| OfKey { sums: [0, 0, v, v], ..OfKey::default() });
        of.sums = [of.sums[0] + 1, of.sums[1] + v, of.sums[2].min(v), of.sums[3].max(v)];
        *of.parts.entry(part).or_default() += v;
        of.top.insert((-v, n));
        if of.top.len() > 3 {
            of.top.pop_last();
        }
    }
    let numbers = |row: Vec<String>| row.iter().map(|v| v.parse::<i64>().unwrap()).collect::<Vec<_>>();
    let groups = client.texts("SELECT k, n, total, least, most, parts FROM grouped ORDER BY k");
    assert_eq!(groups.len(), expected.len());
    for (row, (key, of)) in groups.into_iter().zip(&expected) {
        assert_eq!(numbers(row), [&[*key][..], &of.sums, &[of.parts.len() as i64]].concat());
    }
    let tops: Vec<Vec<i64>> = client.texts("SELECT k, v, n FROM top ORDER BY k, v DESC, n").into_iter().map(numbers).collect();
    assert!(tops == expected.iter().flat_map(|(k, of)| of.top.iter().map(|(v, n)| vec![*k, -*v, *n])).collect::<Vec<_>>(), "top differs");
    let ranked = |of: &OfKey| of.parts.iter().map(|(part, total)| (-*total, *part)).collect::<BTreeSet<_>>();
    let wanted: Vec<Vec<i64>> =
        expected.iter().flat_map(|(k, of)| ranked(of).into_iter().take(3).map(|(total, part)| vec![*k, part, -total]).collect::<Vec<_>>()).collect();
    let found: Vec<Vec<i64>> = client.texts("SELECT k, part, total FROM top_parts ORDER BY k, total DESC, part").into_iter().map(numbers).collect();
    assert!(found == wanted, "top_parts differs");
    let joined = "SELECT count(*), count(DISTINCT n), sum(n), sum(CASE WHEN k = 0 THEN 1 ELSE 0 END), bool_and(name = 'name ' || k) FROM named";
    let hot = expected[&0].sums[0];
    assert_eq!(client.texts(joined), [[events.to_string(), events.to_string(), (events * (events - 1) / 2).to_string(), hot.to_string(), "t".to_string()]]);
}

/// Rows that each event meets in the dear view.
const MET: i64 = 200;

/// Events taken in per second, while memory is watched: (rate, most MiB in the first and in the second half). An epoch's rows come and go within it.
fn watch(server: &Server, client: &mut Client, view: &str, time: Duration) -> (f64, u64, u64) {
    let count = format!("SELECT coalesce(sum(n), 0) FROM {view}");
    let (start, first) = (Instant::now(), client.number(&count));
    let mut most = [0, 0];
    while start.elapsed() < time {
        let half = &mut most[usize::from(start.elapsed() > time / 2)];
        *half = resident_mebibytes(server.pid()).max(*half);
        std::thread::sleep(Duration::from_millis(20));
    }
    ((client.number(&count) - first) as f64 / start.elapsed().as_secs_f64(), most[0], most[1])
}

#[test]
fn a_view_a_hundred_times_dearer_slows_its_sources() {
    let time = Duration::from_secs(setting("DEAR_SECONDS", 4) as u64);
    let server = Server::with(&["--memory", "512MiB"]);
    let mut client = server.connect();
    client.run("CREATE TABLE wide (k BIGINT, id BIGINT, PRIMARY KEY (k, id))");
    client.run(&format!("INSERT INTO wide SELECT g % 10, g FROM generate_series(0, {}) AS t(g)", 10 * MET - 1));
    let source = |name: &str| {
        format!("CREATE SOURCE {name} (n BIGINT, k BIGINT AS (n % 10)) WITH (connector = 'datagen', fields.n.kind = 'sequence', fields.n.start = '0')")
    };
    client.run(&source("fast"));
    client.run("CREATE MATERIALIZED VIEW alone AS SELECT k, count(*) AS n FROM fast GROUP BY k");
    let (alone, _, _) = watch(&server, &mut client, "alone", Duration::from_secs(2));
    client.run("DROP SOURCE fast CASCADE");
    client.run(&source("slowed"));
    client.run("CREATE MATERIALIZED VIEW dear AS SELECT (w.id + e.n) % 7 AS v, count(*) AS n FROM slowed e JOIN wide w ON w.k = e.k GROUP BY 1");
    client.run("CREATE MATERIALIZED VIEW cheap AS SELECT k, count(*) AS n FROM slowed GROUP BY k");
    // What it costs is found out in the first epochs.
    watch(&server, &mut client, "cheap", Duration::from_secs(1));
    let (slowed, first, second) = watch(&server, &mut client, "cheap", time);
    println!("{alone:.0} events/s, beside the dear view {slowed:.0}; at most {first} and then {second} MiB resident");
    assert!(slowed > 0.0 && slowed * 5.0 < alone, "the source is not slowed: {slowed:.0} of {alone:.0} events/s");
    assert!(first.max(second) < 640 && second < first + 100, "{first} and then {second} MiB are resident");
    // Nobody is ahead of anybody: both have the same events, and what was read ahead is bounded.
    let row: Vec<i64> = client.texts("SELECT (SELECT sum(n) FROM cheap), (SELECT sum(n) FROM dear)")[0].iter().map(|v| v.parse().unwrap()).collect();
    assert_eq!(row[1], row[0] * MET);
    // A write does not wait for the input that waits.
    let start = Instant::now();
    client.run("INSERT INTO wide VALUES (100, 1)");
    let took = start.elapsed();
    println!("a write beside it took {took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
}
