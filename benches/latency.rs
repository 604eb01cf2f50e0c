//! What a person feels: how long a start takes, what an idle server holds, how soon an event can be read.

use crate::kafka::Kafka;
use crate::measure::{memory_mib, percentile};
use crate::server::Server;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Message, Offset, TopicPartitionList};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Of each rate, events a second: `make test` tries one.
fn rates() -> &'static [u64] {
    if std::env::var_os("BENCH_EVENTS").is_some() { &[1_000, 10_000, 100_000] } else { &[10_000] }
}

/// `make test` looks for two seconds, `make bench` for fifteen.
fn seconds() -> u64 {
    if std::env::var_os("BENCH_EVENTS").is_some() { 15 } else { 2 }
}

#[test]
fn slow_bench_start_and_idle_memory() {
    let start = Instant::now();
    let mut server = Server::with(&[]);
    assert_eq!(server.connect().one("SELECT 1"), "1");
    let first = start.elapsed();
    server.connect().run("CREATE TABLE t (a int); INSERT INTO t VALUES (1)");
    server.kill();
    let start = Instant::now();
    server.restart();
    assert_eq!(server.connect().one("SELECT a FROM t"), "1");
    let again = start.elapsed();
    std::thread::sleep(Duration::from_secs(seconds()));
    let idle = memory_mib(server.pid(), "VmRSS");
    println!("\nstart to first query: {} ms empty, {} ms after kill -9; idle memory {idle:.0} MiB", first.as_millis(), again.as_millis());
    assert!(first < Duration::from_secs(10) && idle < 512.0);
}

/// From the producer's send to a SELECT that shows the event; beside it, what a plain consumer of the same topic needs.
#[test]
fn kafka_slow_bench_latency() {
    let kafka = Kafka::shared();
    warm_up(kafka);
    println!("\nevents/s  what                     p50 ms   p99 ms  most ms");
    for rate in rates() {
        let (alone, readable) = (format!("latency_alone_{rate}"), format!("latency_{rate}"));
        [&alone, &readable].iter().for_each(|topic| kafka.create_topic(topic, PARTITIONS as i32));
        print_row(*rate, "Kafka alone", consumed(kafka, &alone, *rate));
        print_row(*rate, "Kafka to SELECT", selected(kafka, &readable, *rate));
    }
}

/// From the send of the payment that completes a pattern (three merchants, more than $500, within two minutes) to a SELECT that shows the flagged card.
#[test]
fn kafka_slow_bench_latency_of_the_fraud_rule() {
    let flagged = |n: u64| n * PAYMENTS + PAYMENTS - 1;
    let newest = format!("SELECT card % {PARTITIONS} AS part, max(card) AS n FROM flagged GROUP BY card % {PARTITIONS}");
    print_fraud_row(
        "fraud rule to SELECT",
        Rule { topic: "latency_fraud", sink: None, emit: "", speed: 1, newest, total: FRAUD_RATE * seconds() / PAYMENTS },
        flagged,
    );
}

/// The same rule, results given out when a window closes: from the send of the payment with which the last partition's watermark passes the window's end to a SELECT that shows the window's cards.
/// Event time runs ten times as fast, so that a window closes every half second.
#[test]
fn kafka_slow_bench_latency_on_window_close() {
    const SPEED: u64 = 10;
    let per_second = FRAUD_RATE / SPEED;
    // Window n ends 5 * (n + 1) seconds after the first payment, and the watermark is 5 seconds behind; partitions take turns.
    let closes = move |n: u64| (5 * n + 10) * per_second + PAYMENTS;
    let newest = format!(
        "SELECT n % {PARTITIONS} AS part, max(n) AS n FROM (SELECT CAST((extract(epoch FROM window_end) - {EPOCH}) / 5 - 1 AS BIGINT) AS n FROM flagged) w GROUP BY n % {PARTITIONS}"
    );
    let total = (seconds() * SPEED - 10) / 5;
    print_fraud_row("closed window to SELECT", Rule { topic: "latency_close", sink: None, emit: "EMIT ON WINDOW CLOSE", speed: SPEED, newest, total }, closes);
}

/// The fraud rule once more, to a consumer of a Kafka sink's topic that reads committed records.
#[test]
fn kafka_slow_bench_latency_to_a_sink() {
    let flagged = |n: u64| n * PAYMENTS + PAYMENTS - 1;
    let newest = format!("SELECT card % {PARTITIONS} AS part, max(card) AS n FROM flagged GROUP BY card % {PARTITIONS}");
    let (topic, sink) = ("latency_sink", Some("latency_sunk"));
    warm_up_transactions(Kafka::shared());
    print_fraud_row("fraud rule to a sink", Rule { topic, sink, emit: "", speed: 1, newest, total: FRAUD_RATE * seconds() / PAYMENTS }, flagged);
}

/// One way to run the fraud rule.
struct Rule {
    topic: &'static str,
    /// The topic of a sink in which the newest numbers are looked for; `None`: they are asked for with SELECT.
    sink: Option<&'static str>,
    emit: &'static str,
    /// Seconds of event time in one second.
    speed: u64,
    /// A query of `part` and `n`, the newest number that is shown; so many numbers are awaited.
    newest: String,
    total: u64,
}

const FRAUD_RATE: u64 = 10_000;
/// Of so many payments the last three are of one card, new each time, which the third completes; the others are small ones of 10,000 honest cards.
const PAYMENTS: u64 = 100;
/// Seconds since 1970 at which event time begins.
const EPOCH: u64 = 1_700_000_000;

/// `event`: the payment that number n waits for.
fn print_fraud_row(what: &str, rule: Rule, event: impl Fn(u64) -> u64) {
    let kafka = Kafka::shared();
    warm_up(kafka);
    kafka.create_topic(rule.topic, PARTITIONS as i32);
    let server = Server::with(&["--memory", "4GiB"]);
    let mut client = server.connect();
    client.run(&format!(
        "CREATE SOURCE payments (card BIGINT, merchant BIGINT, amount NUMERIC(10, 2), ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '5 seconds') \
         WITH (connector = 'kafka', topic = '{}', properties.bootstrap.server = '{}') FORMAT PLAIN ENCODE JSON; \
         CREATE MATERIALIZED VIEW flagged AS SELECT card, window_start, window_end FROM HOP(payments, ts, INTERVAL '5 seconds', INTERVAL '2 minutes') \
           GROUP BY card, window_start, window_end HAVING count(DISTINCT merchant) >= 3 AND sum(amount) > 500 {}; \
         CREATE MATERIALIZED VIEW newest AS {}",
        rule.topic,
        kafka.address(),
        rule.emit,
        rule.newest
    ));
    let payment = move |n: u64| {
        let ts = chrono::DateTime::UNIX_EPOCH + chrono::Duration::microseconds((EPOCH * 1_000_000 + n * rule.speed * 1_000_000 / FRAUD_RATE) as i64);
        let honest = n % PAYMENTS < PAYMENTS - 3;
        let (card, amount) = if honest { (-1 - (n as i64 * 7919 % 10_000), 2) } else { ((n / PAYMENTS) as i64, 200) };
        format!("{{\"card\":{card},\"merchant\":{},\"amount\":{amount},\"ts\":\"{}\"}}", n % PAYMENTS, ts.format("%F %T%.6f"))
    };
    let mut sunk = rule.sink.map(|topic| {
        kafka.create_topic(topic, PARTITIONS as i32);
        client.run(&format!(
            "CREATE SINK sunk FROM newest WITH (connector = 'kafka', topic = '{topic}', properties.bootstrap.server = '{}') FORMAT UPSERT ENCODE JSON",
            kafka.address()
        ));
        consumer(kafka, topic)
    });
    let sent = Sent::start(rule.topic, FRAUD_RATE, payment, |n| n / PAYMENTS);
    let latencies = match &mut sunk {
        Some(consumer) => seen(|| record(consumer), rule.total, &sent, event),
        None => seen(|| asked(&mut client, "SELECT part, n FROM newest"), rule.total, &sent, event),
    };
    println!("\nevents/s  what                     p50 ms   p99 ms  most ms");
    print_row(FRAUD_RATE, what, latencies);
    sent.finish();
}

const PARTITIONS: u64 = 2;
/// Events of the first second do not count: a new topic's leaders have to be found by all sides.
const FIRST: Duration = Duration::from_secs(1);

fn print_row(rate: u64, what: &str, mut latencies: Vec<f64>) {
    latencies.sort_by(f64::total_cmp);
    let of = |share| percentile(&latencies, share);
    println!("{rate:>8}  {what:<23}  {:>7.1}  {:>7.1}  {:>7.1}", of(0.5), of(0.99), of(1.0));
}

/// Of all partitions from the beginning, of committed records.
fn consumer(kafka: &Kafka, topic: &str) -> BaseConsumer {
    let mut config = rdkafka::ClientConfig::new();
    config.set("bootstrap.servers", kafka.address()).set("group.id", "latency").set("fetch.wait.max.ms", "10").set("enable.auto.commit", "false");
    let consumer: BaseConsumer = config.create().unwrap();
    let mut assignment = TopicPartitionList::new();
    (0..PARTITIONS).for_each(|p| assignment.add_partition_offset(topic, p as i32, Offset::Beginning).unwrap());
    consumer.assign(&assignment).unwrap();
    consumer
}

/// Each event's way to a consumer that does nothing else.
fn consumed(kafka: &Kafka, topic: &str, rate: u64) -> Vec<f64> {
    let consumer = consumer(kafka, topic);
    let sent = Sent::start(topic, rate, |n| format!("{{\"id\":{n}}}"), |n| n);
    let (mut latencies, mut count) = (Vec::new(), 0);
    let give_up = Instant::now() + Duration::from_secs(seconds() + 60);
    while count < rate * seconds() && Instant::now() < give_up {
        let Some(message) = consumer.poll(Duration::from_millis(100)) else { continue };
        let message = message.unwrap();
        let text = std::str::from_utf8(message.payload().unwrap()).unwrap();
        let id: u64 = text.trim_start_matches("{\"id\":").trim_end_matches('}').parse().unwrap();
        count += 1;
        latencies.extend(sent.latency(id, Instant::now()));
    }
    assert_eq!(count, rate * seconds(), "every event came");
    sent.finish();
    latencies
}

/// Each event's way to a SELECT that shows it.
fn selected(kafka: &Kafka, topic: &str, rate: u64) -> Vec<f64> {
    let server = Server::start();
    let mut client = server.connect();
    client.run(&format!(
        "CREATE SOURCE latency (id BIGINT) WITH (connector = 'kafka', topic = '{topic}', properties.bootstrap.server = '{}') FORMAT PLAIN ENCODE JSON; \
         CREATE MATERIALIZED VIEW newest AS SELECT id % {PARTITIONS} AS part, max(id) AS id FROM latency GROUP BY id % {PARTITIONS}",
        kafka.address()
    ));
    let sent = Sent::start(topic, rate, |n| format!("{{\"id\":{n}}}"), |n| n);
    let latencies = seen(|| asked(&mut client, "SELECT part, id FROM newest"), rate * seconds(), &sent, |id| id);
    sent.finish();
    latencies
}

/// Looks again and again for the newest number of each part: number n, of part n % PARTITIONS, comes with event `event(n)`; `total` numbers are awaited.
fn seen(mut look: impl FnMut() -> Vec<(usize, u64)>, total: u64, sent: &Sent, event: impl Fn(u64) -> u64) -> Vec<f64> {
    let (mut latencies, mut count) = (Vec::new(), 0);
    let mut next: Vec<u64> = (0..PARTITIONS).collect();
    let give_up = Instant::now() + Duration::from_secs(seconds() + 60);
    while count < total && Instant::now() < give_up {
        let newest = look();
        let now = Instant::now();
        for (part, newest) in newest {
            while next[part] <= newest {
                latencies.extend(sent.latency(event(next[part]), now));
                count += 1;
                next[part] += PARTITIONS;
            }
        }
    }
    assert_eq!(count, total, "every event became readable");
    latencies
}

/// Part and newest number, as a statement gives them; asked a thousand times a second.
fn asked(client: &mut crate::client::Client, question: &str) -> Vec<(usize, u64)> {
    std::thread::sleep(Duration::from_millis(1));
    client.texts(question).iter().map(|row| (row[0].parse().unwrap(), row[1].parse().unwrap())).collect()
}

/// The same from the next record of a sink, if one comes.
fn record(consumer: &mut BaseConsumer) -> Vec<(usize, u64)> {
    let Some(message) = consumer.poll(Duration::from_millis(10)) else { return Vec::new() };
    let value: serde_json::Value = serde_json::from_slice(message.unwrap().payload().unwrap()).unwrap();
    vec![(value["part"].as_u64().unwrap() as usize, value["n"].as_u64().unwrap())]
}

/// A broker that has just started takes 4,000 small requests a second, a warm one several times that: its queue is not what is measured.
fn warm_up(kafka: &Kafka) {
    static WARM: std::sync::Once = std::sync::Once::new();
    WARM.call_once(|| {
        kafka.create_topic("warm_up", PARTITIONS as i32);
        consumed(kafka, "warm_up", 20_000);
    });
}

/// The same for its transactions: so many small ones, one after the other.
fn warm_up_transactions(kafka: &Kafka) {
    let transactions = 40 * seconds();
    kafka.create_topic("warm_up_transactions", PARTITIONS as i32);
    let mut config = rdkafka::ClientConfig::new();
    config.set("bootstrap.servers", kafka.address()).set("transactional.id", "warm_up").set("group.id", "warm_up").set("linger.ms", "1");
    let producer: BaseProducer = config.create().unwrap();
    let consumer: BaseConsumer = config.create().unwrap();
    producer.init_transactions(Duration::from_secs(30)).unwrap();
    for n in 0..transactions {
        producer.begin_transaction().unwrap();
        producer.send(BaseRecord::<str, str>::to("warm_up_transactions").payload("{}")).map_err(|e| e.0).unwrap();
        while producer.in_flight_count() > 0 {
            producer.poll(Duration::ZERO);
            std::thread::sleep(Duration::from_millis(1));
        }
        let mut position = TopicPartitionList::new();
        position.add_partition_offset("warm_up_transactions", 0, Offset::Offset(n as i64)).unwrap();
        producer.send_offsets_to_transaction(&position, &consumer.group_metadata().unwrap(), Duration::from_secs(30)).unwrap();
        producer.commit_transaction(Duration::from_secs(30)).unwrap();
    }
}

/// Events on their way into a topic, at an even rate.
struct Sent {
    start: Instant,
    /// Of each event, nanoseconds after the start.
    times: Arc<Vec<AtomicU64>>,
    sender: JoinHandle<()>,
}

impl Sent {
    /// Sends `rate` events a second: event n is due n / rate seconds after the start, looks like `event(n)`, and goes to partition `of(n)` % PARTITIONS.
    fn start(topic: &str, rate: u64, event: impl Fn(u64) -> String + Send + 'static, of: impl Fn(u64) -> u64 + Send + 'static) -> Sent {
        let feeder = Kafka::shared().prompt_producer();
        let total = rate * seconds();
        let (start, times) = (Instant::now(), Arc::new((0..total).map(|_| AtomicU64::new(0)).collect::<Vec<_>>()));
        let (noted, topic) = (times.clone(), topic.to_string());
        let sender = std::thread::spawn(move || {
            for n in 0..total {
                let due = start + Duration::from_secs_f64(n as f64 / rate as f64);
                if n % (rate / 1000).max(1) == 0 {
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                }
                let event = event(n);
                noted[n as usize].store(start.elapsed().as_nanos() as u64, Ordering::Release);
                feeder.send(&topic, (of(n) % PARTITIONS) as i32, &event);
            }
            feeder.flush();
        });
        Sent { start, times, sender }
    }

    /// Milliseconds from the send of event `n` to `seen`, if it counts.
    fn latency(&self, n: u64, seen: Instant) -> Option<f64> {
        let sent = Duration::from_nanos(self.times[n as usize].load(Ordering::Acquire));
        (sent >= FIRST).then(|| (seen - (self.start + sent)).as_secs_f64() * 1000.0)
    }

    fn finish(self) {
        self.sender.join().unwrap();
    }
}
