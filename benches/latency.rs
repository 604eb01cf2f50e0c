//! What a person feels: how long a start takes, what an idle server holds, how soon an event can be read.

use crate::kafka::Kafka;
use crate::measure::{memory_mib, percentile};
use crate::server::Server;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const RATE: u64 = 10_000;

/// `make test` looks for a second, `make bench` for fifteen.
fn seconds() -> u64 {
    if std::env::var_os("BENCH_EVENTS").is_some() { 15 } else { 1 }
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

#[test]
fn kafka_slow_bench_latency_at_ten_thousand_events_a_second() {
    let kafka = Kafka::shared();
    kafka.create_topic("latency", 2);
    let server = Server::start();
    let mut client = server.connect();
    client.run(&format!(
        "CREATE SOURCE latency (id BIGINT) WITH (connector = 'kafka', topic = 'latency', properties.bootstrap.server = '{}') FORMAT PLAIN ENCODE JSON; \
         CREATE MATERIALIZED VIEW newest AS SELECT id % 2 AS half, max(id) AS id FROM latency GROUP BY id % 2",
        kafka.address()
    ));
    warm_up(kafka);
    let total = RATE * seconds();
    let sent = Arc::new(Mutex::new(vec![None; total as usize]));
    let times = sent.clone();
    let sender = std::thread::spawn(move || send(&times, total));
    let mut latencies = Vec::new();
    let mut seen = [-1i64, -1];
    let give_up = Instant::now() + Duration::from_secs(seconds() + 60);
    while (latencies.len() as u64) < total && Instant::now() < give_up {
        let rows = client.texts("SELECT half, id FROM newest");
        let now = Instant::now();
        let sent = sent.lock().unwrap();
        for row in rows {
            let (half, id) = (row[0].parse::<usize>().unwrap(), row[1].parse::<i64>().unwrap());
            let first = if seen[half] < 0 { half as i64 } else { seen[half] + 2 };
            latencies.extend((first..=id).step_by(2).filter_map(|n| sent[n as usize]).map(|t: Instant| (now - t).as_secs_f64() * 1000.0));
            seen[half] = id;
        }
        drop(sent);
        std::thread::sleep(Duration::from_millis(1));
    }
    sender.join().unwrap();
    assert_eq!(latencies.len() as u64, total, "every event became readable");
    latencies.sort_by(f64::total_cmp);
    println!(
        "\nKafka to readable at {RATE} events/s: p50 {:.0} ms, p99 {:.0} ms, most {:.0} ms",
        percentile(&latencies, 0.5),
        percentile(&latencies, 0.99),
        latencies[latencies.len() - 1]
    );
}

/// A broker that has just started takes 4,000 small requests a second, a warm one several times that: its queue is not what is measured.
fn warm_up(kafka: &Kafka) {
    kafka.create_topic("warm_up", 2);
    let feeder = kafka.prompt_producer();
    let end = Instant::now() + Duration::from_secs(seconds());
    let mut n = 0;
    while Instant::now() < end {
        (0..20).for_each(|i| feeder.send("warm_up", i % 2, &format!("{{\"id\":{n}}}")));
        n += 20;
        std::thread::sleep(Duration::from_micros(500));
    }
    feeder.flush();
}

/// Event n is due n / RATE seconds after the start, and goes to partition n % 2.
fn send(times: &Mutex<Vec<Option<Instant>>>, total: u64) {
    let feeder = Kafka::shared().prompt_producer();
    let start = Instant::now();
    for n in 0..total {
        let due = start + Duration::from_secs_f64(n as f64 / RATE as f64);
        if n % 10 == 0 {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        times.lock().unwrap()[n as usize] = Some(Instant::now());
        feeder.send("latency", (n % 2) as i32, &format!("{{\"id\":{n}}}"));
    }
    feeder.flush();
}
