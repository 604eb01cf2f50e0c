//! Kafka as a source, against a real broker: what it may do to us (stop, grow, lose a topic, hold rubbish) and what must then hold.

use crate::kafka::Kafka;
use crate::server::Server;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(90);

fn source(kafka: &Kafka, topic: &str, more: &str) -> String {
    format!(
        "CREATE SOURCE {topic} (id BIGINT, name VARCHAR) WITH (connector = 'kafka', topic = '{topic}', \
         properties.bootstrap.server = '{}', scan.startup.mode = 'earliest'{more}) FORMAT PLAIN ENCODE JSON; \
         CREATE MATERIALIZED VIEW {topic}_v AS SELECT count(*) AS n, sum(id) AS total FROM {topic}",
        kafka.address()
    )
}

fn feed(kafka: &Kafka, topic: &str, partitions: i32, ids: std::ops::Range<i64>) {
    let feeder = kafka.producer();
    for id in ids {
        feeder.send(topic, (id % i64::from(partitions)) as i32, &format!("{{\"id\": {id}, \"name\": \"n{id}\"}}"));
    }
    feeder.flush();
}

#[test]
fn kafka_rubbish_becomes_dead_letters_and_the_source_goes_on() {
    let kafka = Kafka::shared();
    kafka.create_topic("rubbish", 1);
    let feeder = kafka.producer();
    for value in [r#"{"id": 1, "name": "a"}"#, "no json", r#"{"id": "x", "name": "b"}"#, r#"{"name": "c"}"#, r#"{"id": 2, "name": null}"#] {
        feeder.send("rubbish", 0, value);
    }
    feeder.flush();
    let server = Server::start();
    let mut client = server.connect();
    client.run(&source(kafka, "rubbish", ""));
    client.until("SELECT total FROM rubbish_v", "3", PATIENCE);
    client.until("SELECT sum(dead_letters) FROM tidewater.sources", "3", PATIENCE);
    let letters = client.texts("SELECT partition, \"offset\", error, convert_from(raw, 'UTF8') FROM tidewater.dead_letters ORDER BY 2");
    let offsets: Vec<&str> = letters.iter().map(|r| r[1].as_str()).collect();
    assert_eq!(offsets, ["1", "2", "3"]);
    assert!(letters.iter().all(|r| !r[2].is_empty()) && letters[0][3] == "no json", "{letters:?}");
}

#[test]
fn kafka_metadata_columns_carry_the_record() {
    let kafka = Kafka::shared();
    kafka.create_topic("meta", 2);
    let feeder = kafka.producer();
    feeder.send_keyed("meta", 1, Some("k1"), Some(r#"{"id": 7}"#));
    feeder.flush();
    let server = Server::start();
    let mut client = server.connect();
    client.run(&format!(
        "CREATE SOURCE meta (id BIGINT) INCLUDE key AS k INCLUDE partition AS p INCLUDE offset AS o INCLUDE timestamp AS t \
         WITH (connector = 'kafka', topic = 'meta', properties.bootstrap.server = '{}') FORMAT PLAIN ENCODE JSON; \
         CREATE MATERIALIZED VIEW meta_v AS SELECT id, convert_from(k, 'UTF8') AS k, p, o, t IS NOT NULL AS t FROM meta",
        kafka.address()
    ));
    client.until("SELECT id FROM meta_v", "7", PATIENCE);
    let row = client.texts("SELECT k, p, o, t FROM meta_v").remove(0);
    assert_eq!((row[0].as_str(), row[3].as_str()), ("k1", "t"));
    assert_eq!((row[1].trim(), row[2].trim()), ("1", "0"));
}

#[test]
fn kafka_upsert_table_follows_keys_and_tombstones() {
    let kafka = Kafka::shared();
    kafka.create_topic("upserts", 1);
    let feeder = kafka.producer();
    for (key, value) in [
        ("1", Some(r#"{"id": 1, "v": 10}"#)),
        ("2", Some(r#"{"id": 2, "v": 20}"#)),
        ("1", Some(r#"{"id": 1, "v": 11}"#)),
        ("2", None),
        ("3", Some(r#"{"id": 3, "v": 30}"#)),
    ] {
        feeder.send_keyed("upserts", 0, Some(key), value);
    }
    feeder.flush();
    let server = Server::start();
    let mut client = server.connect();
    client.run(&format!(
        "CREATE TABLE upserts (id BIGINT PRIMARY KEY, v BIGINT) WITH (connector = 'kafka', topic = 'upserts', \
         properties.bootstrap.server = '{}') FORMAT UPSERT ENCODE JSON; CREATE MATERIALIZED VIEW upserts_v AS SELECT count(*) AS n, sum(v) AS s FROM upserts",
        kafka.address()
    ));
    client.until("SELECT s FROM upserts_v", "41", PATIENCE);
    assert_eq!(client.texts("SELECT id, v FROM upserts ORDER BY id"), [["1", "11"], ["3", "30"]]);
}

#[test]
fn kafka_partitions_added_later_are_read() {
    let kafka = Kafka::shared();
    kafka.create_topic("growing", 1);
    feed(kafka, "growing", 1, 0..1000);
    let server = Server::start();
    let mut client = server.connect();
    client.run(&source(kafka, "growing", ", properties.topic.metadata.refresh.interval.ms = '1000'"));
    client.until("SELECT n FROM growing_v", "1000", PATIENCE);
    kafka.set_partitions("growing", 3);
    feed(kafka, "growing", 3, 1000..4000);
    client.until("SELECT n FROM growing_v", "4000", PATIENCE);
    client.until("SELECT count(*) FROM tidewater.sources WHERE source = 'growing'", "3", PATIENCE);
}

#[test]
fn kafka_slow_broker_stopped_and_started_again() {
    let kafka = Kafka::start("stopped");
    kafka.create_topic("stopping", 2);
    feed(&kafka, "stopping", 2, 0..5000);
    let server = Server::start();
    let mut client = server.connect();
    client.run(&source(&kafka, "stopping", ""));
    client.until("SELECT n FROM stopping_v", "5000", PATIENCE);
    kafka.stop();
    client.until("SELECT count(*) FROM tidewater.sources WHERE last_error IS NOT NULL", "2", PATIENCE);
    assert_eq!(client.one("SELECT n FROM stopping_v"), "5000", "what was read stays readable");
    kafka.restart();
    feed(&kafka, "stopping", 2, 5000..9000);
    client.until("SELECT n FROM stopping_v", "9000", PATIENCE);
    client.until("SELECT count(*) FROM tidewater.sources WHERE last_error IS NOT NULL", "0", PATIENCE);
}

#[test]
fn kafka_slow_topic_recreated_stops_with_an_error_or_goes_on_but_never_counts_twice() {
    let kafka = Kafka::shared();
    kafka.create_topic("recreated", 1);
    feed(kafka, "recreated", 1, 0..1000);
    let server = Server::start();
    let mut client = server.connect();
    client.run(&source(kafka, "recreated", ""));
    client.until("SELECT n FROM recreated_v", "1000", PATIENCE);
    kafka.delete_topic("recreated");
    std::thread::sleep(Duration::from_secs(2));
    kafka.create_topic("recreated", 1);
    feed(kafka, "recreated", 1, 0..100);
    // The new topic ends before our position: the source must say so instead of beginning again in silence.
    client.until("SELECT count(*) FROM tidewater.sources WHERE last_error IS NOT NULL", "1", PATIENCE);
    assert_eq!(client.one("SELECT n FROM recreated_v"), "1000");
}
