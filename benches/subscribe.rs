//! How soon a row is in a SUBSCRIBE: 100 subscribers of one view, a row at a time.

use crate::measure::{cpu_seconds, percentile};
use crate::server::Server;
use futures::StreamExt;
use std::time::{Duration, Instant};
use tokio_postgres::{NoTls, SimpleQueryMessage};

const SUBSCRIBERS: usize = 100;

/// `make test` sends two seconds of rows, `make bench` fifteen.
fn rows() -> u64 {
    RATE * if std::env::var_os("BENCH_EVENTS").is_some() { 15 } else { 2 }
}

/// Rows a second.
const RATE: u64 = 50;

async fn connect(port: u16) -> tokio_postgres::Client {
    let settings = format!("host=127.0.0.1 port={port} user=tidewater dbname=tidewater");
    let (client, connection) = tokio_postgres::connect(&settings, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// When each of the rows 1, 2, … of the view was there.
async fn follow(client: tokio_postgres::Client, ready: tokio::sync::mpsc::Sender<()>, last: u64) -> Vec<Instant> {
    let mut messages = std::pin::pin!(client.simple_query_raw("SUBSCRIBE newest").await.unwrap());
    let mut seen = Vec::new();
    while let Some(message) = messages.next().await {
        let SimpleQueryMessage::Row(row) = message.unwrap() else { continue };
        if row.get(1) != Some("1") {
            continue;
        }
        let newest: u64 = row.get(2).unwrap().parse().unwrap();
        if newest == 0 {
            ready.send(()).await.unwrap();
            continue;
        }
        assert_eq!(newest, seen.len() as u64 + 1, "each row comes once, in order");
        seen.push(Instant::now());
        if newest == last {
            break;
        }
    }
    seen
}

/// From a row's epoch, which its INSERT waits for, to each subscriber; beside it from the INSERT's beginning, with the sync of the disk in it.
#[test]
fn slow_bench_subscribe_freshness() {
    let server = Server::start();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (seen, times) = runtime.block_on(async {
        let client = connect(server.sql_port).await;
        client
            .batch_execute("CREATE TABLE t (n BIGINT); INSERT INTO t VALUES (0); CREATE MATERIALIZED VIEW newest AS SELECT max(n) AS n FROM t")
            .await
            .unwrap();
        let (ready, mut all_ready) = tokio::sync::mpsc::channel(SUBSCRIBERS);
        let mut following = Vec::new();
        for _ in 0..SUBSCRIBERS {
            following.push(tokio::spawn(follow(connect(server.sql_port).await, ready.clone(), rows())));
        }
        for _ in 0..SUBSCRIBERS {
            all_ready.recv().await.unwrap();
        }
        let mut times = Vec::new();
        let mut ticks = tokio::time::interval(Duration::from_micros(1_000_000 / RATE));
        for n in 1..=rows() {
            ticks.tick().await;
            let begun = Instant::now();
            client.batch_execute(&format!("INSERT INTO t VALUES ({n})")).await.unwrap();
            times.push((begun, Instant::now()));
        }
        let mut seen = Vec::new();
        for follower in following {
            seen.push(follower.await.unwrap());
        }
        (seen, times)
    });
    let since = |from: fn(&(Instant, Instant)) -> Instant| {
        let mut all: Vec<f64> =
            seen.iter().flat_map(|s| s.iter().zip(&times)).map(|(seen, row)| seen.saturating_duration_since(from(row)).as_secs_f64() * 1e3).collect();
        all.sort_by(f64::total_cmp);
        [0.5, 0.99, 0.999, 1.0].map(|share| percentile(&all, share))
    };
    println!("\n{SUBSCRIBERS} subscribers of one view, {RATE} rows/s     p50 ms   p99 ms p99.9 ms  most ms");
    for (what, [p50, p99, p999, most]) in [("from the row's epoch", since(|row| row.1)), ("from the INSERT's beginning", since(|row| row.0))] {
        println!("{what:<47} {p50:>7.2}  {p99:>7.2}  {p999:>7.2}  {most:>7.2}");
    }
    println!("processor time of the server: {:.2} s in {} s", cpu_seconds(server.pid()), rows() / RATE);
    // A machine that builds something beside is slower; `make bench` prints what counts.
    assert!(since(|row| row.1)[0] < 50.0);
}
