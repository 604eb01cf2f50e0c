//! Kafka as a sink, against a real broker: what a consumer of committed records finds is what the query says, once, whatever is killed or stopped in between.

use crate::client::Client;
use crate::kafka::Kafka;
use crate::server::Server;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(90);

fn options(kafka: &Kafka, topic: &str, more: &str) -> String {
    format!("WITH (connector = 'kafka', topic = '{topic}', properties.bootstrap.server = '{}'{more})", kafka.address())
}

/// Waits until nothing waits to be published.
fn published(client: &mut Client) {
    client.until("SELECT sum(waiting_epochs) FROM tidewater.sinks WHERE status = 'live'", "0", PATIENCE);
}

/// The newest value of each key, as one who reads the topic keeps it; and how many records there were.
fn newest(kafka: &Kafka, topic: &str, partitions: i32) -> (BTreeMap<String, String>, usize) {
    let (mut rows, mut count) = (BTreeMap::new(), 0);
    for (_, key, value) in kafka.committed(topic, partitions) {
        count += 1;
        let key = key.expect("records of an upsert sink have keys");
        match value {
            Some(value) => drop(rows.insert(key, value)),
            None => assert!(rows.remove(&key).is_some(), "{key} goes, and was never there"),
        }
    }
    (rows, count)
}

#[test]
fn kafka_sink_by_key_follows_a_view() {
    let kafka = Kafka::shared();
    kafka.create_topic("totals", 3);
    let mut server = Server::start();
    let mut client = server.connect();
    client.run("CREATE TABLE sales (id BIGINT PRIMARY KEY, shop TEXT, amount NUMERIC(10,2))");
    client.run("INSERT INTO sales SELECT i, 'shop ' || i % 40, i FROM generate_series(1, 1000) AS g(i)");
    client.run("CREATE MATERIALIZED VIEW totals AS SELECT shop, count(*) AS n, sum(amount) AS total FROM sales GROUP BY shop");
    client.run(&format!("CREATE SINK out FROM totals {} FORMAT UPSERT ENCODE JSON", options(kafka, "totals", "")));
    published(&mut client);
    let (rows, count) = newest(kafka, "totals", 3);
    assert_eq!((rows.len(), count), (40, 40), "what was there before is published once");
    assert_eq!(rows[r#"{"shop":"shop 7"}"#], r#"{"shop":"shop 7","n":25,"total":12175.00}"#);
    client.run("UPDATE sales SET amount = amount + 1 WHERE id <= 10; DELETE FROM sales WHERE shop = 'shop 39'; INSERT INTO sales VALUES (5000, 'new', NULL)");
    server.terminate();
    server.restart();
    let mut client = server.connect();
    client.run("DELETE FROM sales WHERE id = 7");
    published(&mut client);
    let (rows, count) = newest(kafka, "totals", 3);
    let expected: BTreeMap<String, String> = client
        .texts("SELECT shop, n, total FROM totals")
        .into_iter()
        .map(|r| (format!("{{\"shop\":\"{}\"}}", r[0]), format!("{{\"shop\":\"{}\",\"n\":{},\"total\":{}}}", r[0], r[1], r[2].replace("NULL", "null"))))
        .collect();
    assert_eq!(rows, expected);
    assert_eq!(count, 40 + 10 + 1 + 1 + 1, "a change is one record, and nothing is published again");
    assert_eq!(client.one("SELECT inserted - retracted FROM tidewater.sinks"), "40");
}

#[test]
fn kafka_sink_writes_what_a_source_reads_back() {
    let kafka = Kafka::shared();
    kafka.create_topic("round_trip", 1);
    let server = Server::start();
    let mut client = server.connect();
    let columns = "id BIGINT, b BOOLEAN, i SMALLINT, r REAL, f DOUBLE PRECISION, d NUMERIC(20,4), n NUMERIC, t TEXT, u UUID, y BYTEA, \
                   dt DATE, tm TIME, ts TIMESTAMP, tz TIMESTAMPTZ, iv INTERVAL, j JSONB, a BIGINT[], s TEXT[]";
    client.run(&format!("CREATE TABLE given ({columns}) APPEND ONLY"));
    client.run(&format!("CREATE SINK back FROM given {} FORMAT PLAIN ENCODE JSON", options(kafka, "round_trip", "")));
    client.run(
        "INSERT INTO given VALUES \
         (1, true, -5, 1.5, 1e300, 123456789012.3456, 3.14159265358979323846264338327950288, 'q\"uote \\ é \n', \
          'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '\\xdeadbeef', '2026-02-28', '23:59:59.999999', '1999-12-31 23:59:59.5', \
          '2026-11-22 12:00:00.123456+02', '1 mon 2 days 03:04:05', '{\"b\": [1, null, \"x\"], \"a\": 1.50}', ARRAY[1, NULL, 3], ARRAY['a,b', '\"', NULL]), \
         (9007199254740993, false, 0, 'NaN', '-Infinity', -0.0001, 0, '', NULL, '', '0044-03-15 BC', '00:00', '0044-03-15 12:00:00 BC', '9999-12-31 23:59:59+00', '-1 day', '7', '{}', '{}'), \
         (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
    );
    client.run(&format!(
        "CREATE SOURCE again ({columns}) {} FORMAT PLAIN ENCODE JSON",
        options(kafka, "round_trip", ", properties.isolation.level = 'read_committed'")
    ));
    client.run("CREATE MATERIALIZED VIEW came_back AS SELECT * FROM again");
    client.until("SELECT count(*) + (SELECT coalesce(sum(dead_letters), 0) FROM tidewater.sources) FROM came_back", "3", PATIENCE);
    assert_eq!(client.texts("SELECT error FROM tidewater.dead_letters"), Vec::<Vec<String>>::new());
    assert_eq!(client.texts("SELECT * FROM came_back ORDER BY id"), client.texts("SELECT * FROM given ORDER BY id"));
}

#[test]
fn kafka_slow_sink_is_exactly_once_through_kills() {
    let kafka = Kafka::shared();
    kafka.create_topic("kills_in", 2);
    kafka.create_topic("kills_rows", 2);
    kafka.create_topic("kills_sums", 2);
    let mut server = Server::start();
    let mut client = server.connect();
    client.run(&format!("CREATE SOURCE kills (id BIGINT) {} FORMAT PLAIN ENCODE JSON", options(kafka, "kills_in", "")));
    client.run("CREATE MATERIALIZED VIEW sums AS SELECT id % 100 AS part, count(*) AS n, sum(id) AS total FROM kills GROUP BY id % 100");
    client.run(&format!("CREATE SINK kills_rows AS SELECT id, id % 7 AS d FROM kills {} FORMAT PLAIN ENCODE JSON", options(kafka, "kills_rows", "")));
    client.run(&format!("CREATE SINK kills_sums FROM sums {} FORMAT UPSERT ENCODE JSON", options(kafka, "kills_sums", ", primary_key = 'part'")));
    drop(client);
    const ROUNDS: i64 = 6;
    const PER_ROUND: i64 = 20_000;
    let feeder = kafka.producer();
    for round in 0..ROUNDS {
        for id in round * PER_ROUND..(round + 1) * PER_ROUND {
            feeder.send("kills_in", (id % 2) as i32, &format!("{{\"id\": {id}}}"));
            // In the middle of reading, of publishing, of a checkpoint: wherever it is.
            if id == round * PER_ROUND + (round + 1) * 2_500 {
                feeder.flush();
                std::thread::sleep(Duration::from_millis(150 * (round as u64 % 4)));
                server.kill();
                server.restart();
            }
        }
        feeder.flush();
    }
    let mut client = server.connect();
    let all = ROUNDS * PER_ROUND;
    client.until("SELECT sum(n) FROM sums", &all.to_string(), PATIENCE);
    published(&mut client);
    let mut ids: Vec<i64> = kafka
        .committed("kills_rows", 2)
        .into_iter()
        .map(|(_, key, value)| {
            assert_eq!(key, None);
            let text = value.unwrap();
            text.strip_prefix("{\"id\":").and_then(|t| t.split(',').next()).unwrap_or_else(|| panic!("{text}")).parse().unwrap()
        })
        .collect();
    ids.sort_unstable();
    assert!(ids.iter().copied().eq(0..all), "{} records of {all}, each once", ids.len());
    let expected: BTreeMap<String, String> = client
        .texts("SELECT part, n, total FROM sums")
        .into_iter()
        .map(|r| (format!("{{\"part\":{}}}", r[0]), format!("{{\"part\":{},\"n\":{},\"total\":{}}}", r[0], r[1], r[2])))
        .collect();
    assert_eq!(newest(kafka, "kills_sums", 2).0, expected);
}

#[test]
fn kafka_slow_sink_that_is_stuck_holds_the_input_back_and_goes_on() {
    let kafka = Kafka::start("stuck");
    kafka.create_topic("stuck", 1);
    let server = Server::start();
    let mut client = server.connect();
    client.run(
        "CREATE SOURCE ticks (n BIGINT) WITH (connector = 'datagen', fields.n.kind = 'sequence', fields.n.start = '1', datagen.rows.per.second = '50000'); \
         CREATE MATERIALIZED VIEW ticked AS SELECT count(*) AS n, sum(n) AS total FROM ticks",
    );
    let limit = 4 << 20;
    client.run(&format!(
        "CREATE SINK stuck AS SELECT n FROM ticks {} FORMAT PLAIN ENCODE JSON",
        options(&kafka, "stuck", &format!(", outbox.limit = '{limit}'"))
    ));
    published_some(&mut client);
    kafka.stop();
    client.until("SELECT status FROM tidewater.sinks", "retrying", PATIENCE);
    assert!(client.one("SELECT last_error FROM tidewater.sinks").contains("topic \"stuck\""));
    // Until the outbox is full.
    client.until(&format!("SELECT waiting_bytes > {limit} FROM tidewater.sinks"), "t", PATIENCE);
    std::thread::sleep(Duration::from_millis(300));
    let stopped = client.one("SELECT n FROM ticked");
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(client.one("SELECT n FROM ticked"), stopped, "input waits, and what is there is read");
    client.run("CREATE TABLE beside (n BIGINT)");
    let refused = client.fails("INSERT INTO beside VALUES (1)");
    assert_eq!((refused.code.as_str(), refused.message.as_str()), ("53400", "sink \"stuck\" has no room for more rows to publish"));
    let waiting = client.number("SELECT waiting_bytes FROM tidewater.sinks");
    assert!(waiting < 2 * limit, "{waiting} bytes wait, of {limit}");
    kafka.restart();
    client.until("SELECT status FROM tidewater.sinks", "live", PATIENCE);
    let start = Instant::now();
    while client.one("SELECT n FROM ticked") == stopped {
        assert!(start.elapsed() < PATIENCE, "the input goes on when the sink does");
        std::thread::sleep(Duration::from_millis(50));
    }
    // The generator does not end: what is there at some moment is a beginning of the sequence, each once.
    client.run("DROP SINK stuck");
    let numbers: Vec<i64> = kafka.committed("stuck", 1).into_iter().map(|(_, _, v)| v.unwrap()[5..].trim_end_matches('}').parse().unwrap()).collect();
    let mut sorted = numbers.clone();
    sorted.sort_unstable();
    assert!(sorted.len() as i64 >= stopped.parse().unwrap() && sorted.iter().copied().eq(1..=sorted.len() as i64), "{} numbers, each once", sorted.len());
}

/// Waits until something has gone through the sink.
fn published_some(client: &mut Client) {
    client.until("SELECT inserted > 0 FROM tidewater.sinks WHERE last_error IS NULL", "t", PATIENCE);
}

#[test]
fn kafka_sink_that_cannot_be_is_refused_with_words() {
    let kafka = Kafka::shared();
    kafka.create_topic("refused", 1);
    let server = Server::start();
    let mut client = server.connect();
    client.run("CREATE TABLE t (k BIGINT PRIMARY KEY, v TEXT); CREATE MATERIALIZED VIEW pairs AS SELECT v, k FROM t");
    let mut refusal = |from: &str, topic: &str, more: &str, format: &str| {
        let e = client.fails(&format!("CREATE SINK s {from} {} {format}", options(kafka, topic, more)));
        format!("{} {} {}", e.code, e.message, e.hint)
    };
    assert!(refusal("FROM t", "refused", "", "").starts_with("42601 this sink needs a format"));
    let plain = refusal("FROM t", "refused", "", "FORMAT PLAIN ENCODE JSON");
    assert!(plain.starts_with("0A000") && plain.contains("FORMAT UPSERT"), "{plain}");
    let key = refusal("FROM t", "refused", ", primary_key = 'v'", "FORMAT UPSERT ENCODE JSON");
    assert!(key.starts_with("0A000") && key.contains("unique in (k)"), "{key}");
    assert!(refusal("AS SELECT v FROM t", "refused", "", "FORMAT UPSERT ENCODE JSON").contains("nothing is known to be unique"));
    assert!(refusal("FROM t", "refused", ", primary_key = 'x'", "FORMAT UPSERT ENCODE JSON").starts_with("42703"));
    assert!(refusal("FROM t", "refused", ", properties.acks = '0'", "FORMAT UPSERT ENCODE JSON").contains("is decided by Tidewater"));
    assert!(refusal("FROM t", "nowhere", "", "FORMAT UPSERT ENCODE JSON").contains("topic \"nowhere\" does not exist"));
    assert!(refusal("FROM t", "refused", "", "FORMAT UPSERT ENCODE CSV").starts_with("0A000"));
    assert!(refusal("FROM t", "refused", ", outbox.limt = '1MB'", "FORMAT UPSERT ENCODE JSON").contains("did you mean \"outbox.limit\"?"));
    let e = client.fails("CREATE SINK s FROM t WITH (connector = 'blackhole') FORMAT PLAIN ENCODE JSON");
    assert_eq!(e.code, "42601");
    assert_eq!(client.one("SELECT count(*) FROM tidewater.sinks"), "0", "nothing is left of what was refused");
    client.run(&format!("CREATE SINK s FROM pairs {} FORMAT UPSERT ENCODE JSON", options(kafka, "refused", ", primary_key = 'k, v'")));
    client.run("INSERT INTO t VALUES (1, 'a'), (2, NULL); DROP SINK s");
    assert_eq!(client.one("SELECT count(*) FROM tidewater.sinks"), "0");
}

#[test]
fn kafka_sink_does_not_go_on_in_another_topic_of_the_same_name() {
    let kafka = Kafka::shared();
    kafka.create_topic("twice", 1);
    let mut server = Server::start();
    let mut client = server.connect();
    client.run("CREATE TABLE t (k BIGINT PRIMARY KEY); INSERT INTO t VALUES (1), (2)");
    client.run(&format!("CREATE SINK s FROM t {} FORMAT UPSERT ENCODE JSON", options(kafka, "twice", "")));
    published(&mut client);
    kafka.delete_topic("twice");
    server.terminate();
    kafka.create_topic("twice", 1);
    server.restart();
    let mut client = server.connect();
    client.run("INSERT INTO t VALUES (3)");
    client.until("SELECT last_error LIKE '%\"twice\" is not the one that the sink was created on%' FROM tidewater.sinks", "t", PATIENCE);
    assert_eq!(kafka.committed("twice", 1).len(), 0);
    client.run(&format!("DROP SINK s; CREATE SINK s FROM t {} FORMAT UPSERT ENCODE JSON", options(kafka, "twice", "")));
    published(&mut client);
    assert_eq!(newest(kafka, "twice", 1).0.len(), 3);
}
