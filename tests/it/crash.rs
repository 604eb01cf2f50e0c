//! `kill -9`, ten times, in the middle of a million events from Kafka: nothing lost, nothing counted twice, nothing that was
//! shown taken back.

use crate::client::Client;
use crate::kafka::Kafka;
use crate::oracle::{SECOND, micros};
use crate::random::Random;
use crate::server::Server;
use std::collections::BTreeMap;
use std::time::Duration;

const EVENTS: i64 = 1_000_000;
const PARTITIONS: i64 = 4;
/// `KILLS=100` kills so often (`make soak`).
const KILLS: usize = 10;
/// Of so many events one is late by minutes.
const LATE_EVERY: i64 = 1000;
/// 2023-11-14 22:13:20
const BASE_TIME: i64 = 1_700_000_000 * SECOND;
const WINDOW: i64 = 10 * SECOND;
const PATIENCE: Duration = Duration::from_secs(240);

struct Event {
    id: i64,
    key: i64,
    amount: i64,
    time: i64,
}

/// Event n is a function of n: 20 s of event time per 10,000 events, spread over 997 keys.
fn event(n: i64) -> Event {
    let mixed = (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
    let late = if n % LATE_EVERY == LATE_EVERY - 1 { 180 * SECOND } else { 0 };
    Event { id: n, key: (mixed % 997) as i64, amount: (mixed / 997 % 1000) as i64, time: BASE_TIME + n * 2000 - late }
}

fn produce(kafka: &Kafka, topic: &str, from: i64, to: i64) {
    let feeder = kafka.producer();
    for n in from..to {
        let e = event(n);
        let text = format!("{{\"id\":{},\"k\":{},\"amount\":{},\"ts\":{}}}", e.id, e.key, e.amount, e.time / 1000);
        feeder.send(topic, (n % PARTITIONS) as i32, &text);
    }
    feeder.flush();
}

fn create(client: &mut Client, kafka: &Kafka, topic: &str) {
    client.run(&format!(
        "CREATE SOURCE {topic} (id BIGINT, k BIGINT, amount BIGINT, ts TIMESTAMP, taken_in TIMESTAMPTZ AS PROCTIME(), WATERMARK FOR ts AS ts - INTERVAL '5 seconds') \
         WITH (connector = 'kafka', topic = '{topic}', properties.bootstrap.server = '{}', scan.startup.mode = 'earliest') FORMAT PLAIN ENCODE JSON; \
         CREATE MATERIALIZED VIEW by_key AS SELECT k, count(*) AS n, sum(amount) AS total, min(id) AS first, max(id) AS last FROM {topic} GROUP BY k; \
         CREATE MATERIALIZED VIEW by_window AS SELECT k, window_end, count(*) AS n, sum(amount) AS total \
           FROM TUMBLE({topic}, ts, INTERVAL '10 seconds') GROUP BY k, window_start, window_end; \
         CREATE MATERIALIZED VIEW closed AS SELECT window_end, count(*) AS n, sum(amount) AS total \
           FROM TUMBLE({topic}, ts, INTERVAL '10 seconds') GROUP BY window_start, window_end EMIT ON WINDOW CLOSE; \
         CREATE MATERIALIZED VIEW by_clock AS SELECT date_trunc('second', taken_in) AS second, count(*) AS n, sum(id) AS ids FROM {topic} GROUP BY 1; \
         CREATE MATERIALIZED VIEW totals AS SELECT count(*) AS keys, sum(n) AS n, sum(total) AS total FROM by_key",
        kafka.address()
    ));
}

/// By time: two figures that never change once they are shown.
type Final = BTreeMap<String, (String, String)>;

/// What a reader sees that must stand for ever.
#[derive(Default)]
struct Seen {
    /// Closed windows.
    windows: Final,
    /// Rows by the second of the clock at which they were taken in, but for the last, which may still grow.
    seconds: Final,
}

impl Seen {
    fn read(client: &mut Client) -> Seen {
        let pairs = |rows: Vec<Vec<String>>| rows.into_iter().map(|r| (r[0].clone(), (r[1].clone(), r[2].clone()))).collect::<Final>();
        let windows = pairs(client.texts("SELECT window_end, n, total FROM closed"));
        let mut seconds = pairs(client.texts("SELECT second, n, ids FROM by_clock"));
        seconds.pop_last();
        Seen { windows, seconds }
    }

    /// What was seen before a kill must still stand: a replayed epoch has the clock that it had.
    fn check_kept_in(&self, now: &Seen, when: &str) {
        for (window, row) in &self.windows {
            assert_eq!(now.windows.get(window), Some(row), "window {window} had been shown {when}");
        }
        for (second, row) in &self.seconds {
            assert_eq!(now.seconds.get(second), Some(row), "second {second} of processing time had been shown {when}");
        }
    }
}

#[test]
fn kafka_slow_ten_kills_in_a_million_events() {
    let mut random = Random::from_environment();
    let kafka = Kafka::shared();
    kafka.create_topic("crash", PARTITIONS as i32);
    let mut server = Server::with(&["--threads", "2", "--checkpoint-interval", "400ms"]);
    create(&mut server.connect(), kafka, "crash");
    let producer = std::thread::spawn(|| produce(Kafka::shared(), "crash", 0, EVENTS));
    let mut seen = Seen::default();
    let kills = std::env::var("KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(KILLS);
    for kill in 0..kills {
        let mut client = server.connect();
        for _ in 0..=random.below(4) {
            std::thread::sleep(Duration::from_millis(random.below(250)));
            let now = Seen::read(&mut client);
            seen.check_kept_in(&now, &format!("before kill {kill}"));
            seen = now;
        }
        server.kill();
        server.restart();
    }
    producer.join().unwrap();
    let mut client = server.connect();
    client.until("SELECT n FROM totals", &EVENTS.to_string(), PATIENCE);
    check_keys(&mut client);
    check_windows(&mut client);
    seen.check_kept_in(&Seen::read(&mut client), "at the end");
    assert!(!seen.windows.is_empty() && !seen.seconds.is_empty(), "readers saw nothing that could have changed");
    assert_eq!(client.number("SELECT sum(n) FROM by_clock"), EVENTS);
    assert_eq!(client.number("SELECT sum(rows) FROM tidewater.sources WHERE source = 'crash'"), EVENTS);
}

/// An aggregate without windows sees every row, late or not.
fn check_keys(client: &mut Client) {
    let mut expected: BTreeMap<i64, [i64; 4]> = BTreeMap::new();
    for e in (0..EVENTS).map(event) {
        let row = expected.entry(e.key).or_insert([0, 0, e.id, e.id]);
        *row = [row[0] + 1, row[1] + e.amount, row[2].min(e.id), row[3].max(e.id)];
    }
    let found: BTreeMap<i64, [i64; 4]> = client
        .texts("SELECT k, n, total, first, last FROM by_key")
        .into_iter()
        .map(|r| r.iter().map(|v| v.parse::<i64>().unwrap()).collect::<Vec<_>>())
        .map(|v| (v[0], [v[1], v[2], v[3], v[4]]))
        .collect();
    assert!(found == expected, "by_key differs: {} keys instead of {}", found.len(), expected.len());
}

/// Windows hold all their rows but those listed as late.
fn check_windows(client: &mut Client) {
    let mut expected: BTreeMap<(i64, i64), i64> = BTreeMap::new();
    for e in (0..EVENTS).map(event) {
        *expected.entry((e.key, e.time.div_euclid(WINDOW) * WINDOW + WINDOW)).or_default() += 1;
    }
    let used = client.number("SELECT sum(n) FROM by_window");
    let late = client.number("SELECT late_rows FROM tidewater.views WHERE view = 'by_window'");
    assert_eq!(used + late, EVENTS, "every row is used or late");
    // How many depends on how far the partitions are apart when they are read: the slowest holds the watermark.
    assert!(late > 0 && late <= EVENTS / LATE_EVERY, "{late} late rows");
    let listed = client.texts("SELECT window_end AT TIME ZONE 'UTC', sum(weight) FROM tidewater.late_rows WHERE view = 'by_window' GROUP BY 1");
    let mut late_by_window: BTreeMap<i64, i64> = listed.into_iter().map(|r| (micros(&r[0]), r[1].parse().unwrap())).collect();
    let mut missing_by_window: BTreeMap<i64, i64> = BTreeMap::new();
    for ((_, end), n) in &expected {
        *missing_by_window.entry(*end).or_default() += n;
    }
    for row in client.texts("SELECT k, window_end, n FROM by_window") {
        let (key, end, n): (i64, i64, i64) = (row[0].parse().unwrap(), micros(&row[1]), row[2].parse().unwrap());
        assert!(expected.get(&(key, end)).is_some_and(|e| n <= *e), "key {key}, window {}: {n} rows", row[1]);
        *missing_by_window.entry(end).or_default() -= n;
    }
    missing_by_window.retain(|_, n| *n != 0);
    late_by_window.retain(|_, n| *n != 0);
    assert_eq!(missing_by_window, late_by_window, "what windows lack is what is listed as late");
}

/// Sessions of bids, and windows of the clock at which bids were read.
const WINDOWS: &str = "CREATE SOURCE bid (auction BIGINT, bidder BIGINT, date_time TIMESTAMP, taken_in TIMESTAMPTZ AS PROCTIME(), \
     WATERMARK FOR date_time AS date_time - INTERVAL '1 second') \
     WITH (connector = 'nexmark', event_type = 'bid', rows = '60000', rate = '20000', event_rate = '10000', base_time = '1700000000000'); \
     CREATE MATERIALIZED VIEW sessions AS SELECT bidder, window_start, window_end, count(*) AS n, sum(auction) AS t \
       FROM SESSION(bid PARTITION BY bidder, date_time, INTERVAL '500 milliseconds') GROUP BY bidder, window_start, window_end; \
     CREATE MATERIALIZED VIEW sessions_closed AS SELECT bidder, window_start, window_end, count(*) AS n, sum(auction) AS t \
       FROM SESSION(bid PARTITION BY bidder, date_time, INTERVAL '500 milliseconds') GROUP BY bidder, window_start, window_end EMIT ON WINDOW CLOSE; \
     CREATE MATERIALIZED VIEW by_clock AS SELECT window_end, count(*) AS n, sum(auction) AS t \
       FROM TUMBLE(bid, taken_in, INTERVAL '100 milliseconds') GROUP BY window_start, window_end EMIT ON WINDOW CLOSE";
const BIDS: &str = "55200";

#[test]
fn slow_sessions_and_windows_of_the_clock_stand_through_kills() {
    let mut random = Random::from_environment();
    let sessions = |client: &mut Client, view: &str| client.texts(&format!("SELECT * FROM {view} ORDER BY bidder, window_start"));
    let all_read = format!("SELECT sum(rows) = {BIDS} AND bool_and(status = 'ended') FROM tidewater.sources");
    let undisturbed = {
        let server = Server::start();
        let mut client = server.connect();
        client.run(&WINDOWS.replace("rate = '20000', ", ""));
        client.until(&all_read, "t", PATIENCE);
        sessions(&mut client, "sessions")
    };
    assert!(undisturbed.len() > 100, "{}", undisturbed.len());
    let mut server = Server::with(&["--threads", "2", "--checkpoint-interval", "300ms"]);
    server.connect().run(WINDOWS);
    let clock = |client: &mut Client| {
        let rows = client.texts("SELECT window_end, n, t FROM by_clock");
        rows.into_iter().map(|r| (r[0].clone(), (r[1].clone(), r[2].clone()))).collect::<Final>()
    };
    for kill in 0..4 {
        let mut client = server.connect();
        std::thread::sleep(Duration::from_millis(200 + random.below(400)));
        let seen = clock(&mut client);
        let closed = sessions(&mut client, "sessions_closed");
        server.kill();
        server.restart();
        let mut client = server.connect();
        let now = clock(&mut client);
        seen.iter().for_each(|(end, row)| assert_eq!(now.get(end), Some(row), "the window to {end} had been shown before kill {kill}"));
        let now = sessions(&mut client, "sessions_closed");
        closed.iter().for_each(|row| assert!(now.contains(row), "session {row:?} had been shown before kill {kill}"));
    }
    let mut client = server.connect();
    client.until(&all_read, "t", PATIENCE);
    // The last window closes by the clock, though no bid comes any more.
    client.until("SELECT sum(n) FROM by_clock", BIDS, PATIENCE);
    assert_eq!(sessions(&mut client, "sessions"), undisturbed);
    assert_eq!(sessions(&mut client, "sessions_closed"), undisturbed);
}
