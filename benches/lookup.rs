//! Rows of a view by its key, one prepared statement each, while 100,000 events a second change it.

use crate::measure::{cpu_seconds, percentile};
use crate::random::Random;
use crate::server::Server;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio_postgres::NoTls;

/// Events that change the view, per second.
const RATE: u64 = 100_000;

/// `make test` looks at few keys for a second, `make bench` at a million for ten.
fn scale() -> (u64, u64) {
    if std::env::var_os("BENCH_EVENTS").is_some() { (1_000_000, 10) } else { (10_000, 1) }
}

#[test]
fn slow_bench_point_select_while_ingesting() {
    let (keys, seconds) = scale();
    let server = Server::start();
    let mut client = server.connect();
    client.run(&format!(
        "CREATE SOURCE first (k bigint, v bigint) WITH (connector = 'datagen', rows = {keys}, fields.k.kind = 'sequence', fields.k.start = 0); \
         CREATE SOURCE live (k bigint, v bigint) WITH (connector = 'datagen', rate = {RATE}, fields.k.min = 0, fields.k.max = {}, fields.v.max = 1000); \
         CREATE MATERIALIZED VIEW totals AS SELECT k, count(*) AS n, sum(v)::bigint AS total \
           FROM (SELECT k, 0::bigint AS v FROM first UNION ALL SELECT k, v FROM live) AS both_of_them GROUP BY k",
        keys - 1
    ));
    client.until("SELECT count(*) FROM totals", &keys.to_string(), Duration::from_secs(60));
    println!("\n{keys} keys, {RATE} events/s wanted\nconnections  statements/s  p50 ms  p99 ms  most ms  events/s  server CPU s/s");
    for connections in [1, 8] {
        let read = |client: &mut crate::client::Client| client.number("SELECT sum(n)::bigint FROM totals");
        let (before, cpu, start) = (read(&mut client), cpu_seconds(server.pid()), Instant::now());
        let mut latencies = look_up(server.sql_port, connections, keys, Duration::from_secs(seconds));
        let took = start.elapsed().as_secs_f64();
        let (events, cpu) = ((read(&mut client) - before) as f64 / took, (cpu_seconds(server.pid()) - cpu) / took);
        latencies.sort_by(f64::total_cmp);
        let of = |share| percentile(&latencies, share);
        println!("{connections:>11}  {:>12.0}  {:>6.3}  {:>6.3}  {:>7.1}  {events:>8.0}  {cpu:.2}", latencies.len() as f64 / took, of(0.5), of(0.99), of(1.0));
        assert!(latencies.len() > 100);
    }
}

/// Every connection asks for one random key after the other; the times of all answers, in milliseconds.
fn look_up(port: u16, connections: u64, keys: u64, time: Duration) -> Vec<f64> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let asking: Vec<_> = (0..connections).map(|n| runtime.spawn(ask(port, n, keys, over.clone()))).collect();
    std::thread::sleep(time);
    over.store(true, Ordering::Relaxed);
    asking.into_iter().flat_map(|task| runtime.block_on(task).unwrap()).collect()
}

async fn ask(port: u16, seed: u64, keys: u64, over: Arc<AtomicBool>) -> Vec<f64> {
    let settings = format!("host=127.0.0.1 port={port} user=tidewater dbname=tidewater");
    let (client, connection) = tokio_postgres::connect(&settings, NoTls).await.unwrap();
    tokio::spawn(connection);
    let statement = client.prepare("SELECT n, total FROM totals WHERE k = $1").await.unwrap();
    let (mut random, mut latencies) = (Random::new(seed), Vec::new());
    while !over.load(Ordering::Relaxed) {
        let key = random.below(keys) as i64;
        let start = Instant::now();
        let row = client.query_one(&statement, &[&key]).await.unwrap();
        latencies.push(start.elapsed().as_secs_f64() * 1000.0);
        assert!(row.get::<_, i64>(0) >= 1, "key {key} is there");
    }
    latencies
}
