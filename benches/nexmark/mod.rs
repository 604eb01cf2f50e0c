//! Nexmark through the shipped binary: each query on a fresh server with checkpoints on, from the generator into a view, from batches that were made in
//! memory beforehand into a sink that keeps nothing, from Kafka JSON into a view, and from Kafka JSON into such a sink. Every server is killed when it has
//! read all, and starts again, before its result is looked at. Every view is compared with plain Rust over the same events, every sink's net count with the
//! number of those rows; a query whose result differs fails, and prints no figure.

mod expected;
mod expected_bids;
mod flink;
mod input;

use crate::client::Client;
use crate::examples::{NEXMARK, example};
use crate::kafka::Kafka;
use crate::measure::{cpu_seconds, folder_mib, memory_mib};
use crate::server::Server;
use expected::{Digest, answer, question, sources};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// What `make test` runs; `make bench` sets BENCH_EVENTS.
const SMALL: usize = 60_000;
const PATIENCE: Duration = Duration::from_secs(900);

/// From where, into what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// In-process generator to a view.
    Generator,
    /// Batches made in memory beforehand to a sink that keeps nothing.
    Memory,
    /// Kafka JSON to a view.
    Kafka,
    /// Kafka JSON to a sink that keeps nothing.
    Blackhole,
}

impl Way {
    fn reads_kafka(self) -> bool {
        matches!(self, Way::Kafka | Way::Blackhole)
    }

    /// Into a view; else into a sink that keeps nothing.
    fn keeps_rows(self) -> bool {
        matches!(self, Way::Generator | Way::Kafka)
    }
}

struct Figures {
    query: String,
    way: Way,
    rows: u64,
    seconds: f64,
    cpu_seconds: f64,
    peak_mib: f64,
    state_mib: f64,
    /// Milliseconds from reading a record to the epoch that showed it: half of the epochs, 99 of 100 of them.
    freshness: [f64; 2],
    /// Milliseconds from the start after `kill -9` to the first answered query.
    recovery: f64,
    result_rows: u64,
}

#[test]
fn slow_nexmark_bench_from_the_generator() {
    run(Way::Generator);
}

#[test]
fn slow_nexmark_bench_from_memory() {
    run(Way::Memory);
}

#[test]
fn kafka_slow_nexmark_bench() {
    run(Way::Kafka);
}

#[test]
fn kafka_slow_nexmark_bench_into_a_blackhole() {
    run(Way::Blackhole);
}

/// How many events, and which queries.
fn asked() -> (usize, String) {
    let count = std::env::var("BENCH_EVENTS").ok().map_or(SMALL, |n| n.replace('_', "").parse().unwrap());
    (count, std::env::var("BENCH_QUERIES").unwrap_or_else(|_| NEXMARK.join(",")))
}

fn per_source(count: usize) -> HashMap<&'static str, u64> {
    let mut per_source = HashMap::new();
    input::events(count).for_each(|e| *per_source.entry(input::kind(&e).1).or_default() += 1);
    per_source
}

/// The topics with this many events: written once, read by every query.
fn loaded(count: usize) -> String {
    static LOADED: std::sync::Mutex<Vec<usize>> = std::sync::Mutex::new(Vec::new());
    let prefix = format!("nexmark-{count}");
    let mut loaded = LOADED.lock().unwrap();
    if !loaded.contains(&count) {
        input::load(Kafka::shared(), &prefix, count);
        loaded.push(count);
    }
    prefix
}

fn run(way: Way) {
    let name = format!("{way:?}").to_lowercase();
    if std::env::var("BENCH_INPUTS").is_ok_and(|ways| !ways.contains(&name)) {
        return;
    }
    let (count, queries) = asked();
    let per_source = per_source(count);
    let prefix = if way.reads_kafka() { loaded(count) } else { String::new() };
    let mut wrong = Vec::new();
    let mut table = Vec::new();
    // Not measured: memory that this machine touches for the first time costs more than all else.
    if let Some(first) = queries.split(',').next() {
        let rows = sources(first).iter().map(|s| per_source[s]).sum();
        drop(measure(first, way, count, rows, &prefix));
    }
    for query in queries.split(',') {
        let rows = sources(query).iter().map(|s| per_source[s]).sum();
        match measure(query, way, count, rows, &prefix) {
            Ok(figures) => table.push(figures),
            Err(why) => wrong.push(format!("{query}, {name}: {why}")),
        }
    }
    print_table(&table);
    assert!(wrong.is_empty(), "no figures for:\n{}", wrong.join("\n"));
}

/// Threads of the server: `make bench` takes those of BENCH_THREADS, else all cores; `make test` has the queries take turns with 1, 4 and 8.
fn threads(query: &str) -> String {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let number = NEXMARK.iter().position(|q| *q == query).unwrap_or(0);
    let small = [1, 4, 8][number % 3].to_string();
    let large = std::env::var("BENCH_THREADS").unwrap_or_else(|_| cores.to_string());
    if std::env::var_os("BENCH_EVENTS").is_some() { large } else { small }
}

/// One query on a fresh server, from CREATE (of batches in memory: from the first row) to the complete result.
fn measure(query: &str, way: Way, count: usize, rows: u64, prefix: &str) -> Result<Figures, String> {
    let memory = std::env::var("BENCH_MEMORY").unwrap_or_else(|_| "8GiB".to_string());
    let mut server = Server::with(&["--threads", &threads(query), "--memory", &memory]);
    let mut client = server.connect();
    create_sources(&mut client, query, way, count, prefix)?;
    let (mut cpu_before, mut start) = (cpu_seconds(server.pid()), Instant::now());
    client.try_rows(&definition(query, way)).map_err(|e| e.to_string())?;
    if way == Way::Memory {
        wait_for_rows(&server, 1, Duration::from_millis(1))?;
        (cpu_before, start) = (cpu_seconds(server.pid()), Instant::now());
    }
    wait_for_rows(&server, rows, Duration::from_millis(5))?;
    wait_for(&mut client, &all_read(way, rows), Duration::from_millis(5))?;
    let seconds = start.elapsed().as_secs_f64();
    let cpu = cpu_seconds(server.pid()) - cpu_before;
    let peak_mib = memory_mib(server.pid(), "VmHWM");
    let (_, metrics) = server.http("/metrics")?;
    let freshness = [0.5, 0.99].map(|share| 1000.0 * quantile(&metrics, "tidewater_freshness_seconds", share));
    server.kill();
    let killed = Instant::now();
    server.restart();
    client = server.connect();
    client.try_rows(if way.keeps_rows() { question(query) } else { "SELECT inserted FROM tidewater.sinks" }).map_err(|e| e.to_string())?;
    let recovery = killed.elapsed().as_secs_f64() * 1000.0;
    wait_for(&mut client, &all_read(way, rows), Duration::from_millis(10))?;
    client.try_rows("FLUSH").map_err(|e| e.to_string())?;
    let state_mib = folder_mib(server.dir());
    let found = if way.keeps_rows() { read(&mut client, question(query))? } else { sunk(&mut client)? };
    let status = server.terminate();
    if !status.success() {
        return Err(format!("the server ended with {status}"));
    }
    let expected = answer(query, count);
    let differs = match way {
        // A bidder has a row per window of the clock, and how many these are depends on when his bids are read.
        Way::Blackhole | Way::Memory if query == "q12" => found.rows < expected.rows,
        Way::Blackhole | Way::Memory => found.rows != expected.rows,
        Way::Generator | Way::Kafka => found != expected,
    };
    if differs {
        return Err(format!("{} rows that differ from the {} expected", found.rows, expected.rows));
    }
    Ok(Figures { query: query.to_string(), way, rows, seconds, cpu_seconds: cpu, peak_mib, state_mib, freshness, recovery, result_rows: found.rows })
}

/// A quantile of a histogram on the metrics page, by even distribution within its buckets; 0 if nothing was counted.
fn quantile(metrics: &str, name: &str, share: f64) -> f64 {
    let prefix = format!("{name}_bucket{{le=\"");
    let bucket = |line: &str| {
        let (bound, count) = line.strip_prefix(&prefix)?.split_once("\"} ")?;
        Some((bound.parse::<f64>().unwrap_or(f64::INFINITY), count.trim().parse::<f64>().ok()?))
    };
    let buckets: Vec<(f64, f64)> = metrics.lines().filter_map(bucket).collect();
    let wanted = buckets.last().map_or(0.0, |(_, total)| total * share);
    let (mut below, mut counted) = (0.0, 0.0);
    for (bound, count) in buckets {
        if count >= wanted && count > counted {
            return if bound.is_finite() { below + (bound - below) * (wanted - counted) / (count - counted) } else { below };
        }
        (below, counted) = (bound, count);
    }
    0.0
}

/// The shipped sources, of which only those that the query reads.
fn create_sources(client: &mut Client, query: &str, way: Way, count: usize, prefix: &str) -> Result<(), String> {
    let text = match way {
        Way::Generator | Way::Memory => {
            let prepared = way == Way::Memory;
            let options = format!("rows = '{count}', partitions = '{}', prepared = '{prepared}', event_rate", input::PARTITIONS);
            example("nexmark/sources.sql").replace("rate = '10000', event_rate", &options)
        }
        Way::Kafka | Way::Blackhole => {
            example("nexmark/sources_kafka.sql").replace("127.0.0.1:9092", &Kafka::shared().address()).replace("topic = '", &format!("topic = '{prefix}-"))
        }
    };
    for statement in text.split_inclusive(';') {
        if sources(query).iter().any(|s| statement.contains(&format!("NOT EXISTS {s} ("))) {
            client.try_rows(statement).map_err(|e| e.to_string())?;
        }
    }
    Ok(())
}

/// Tells whether everything is read.
fn all_read(way: Way, rows: u64) -> String {
    match way.reads_kafka() {
        false => format!("SELECT count(*) > 0 AND bool_and(status = 'ended') AND sum(rows) = {rows} FROM tidewater.sources"),
        true => format!("SELECT sum(rows) = {rows} FROM tidewater.sources"),
    }
}

/// Until so many rows are read in all, by the metrics page: a statement again and again would be planned each time, on the server's account.
fn wait_for_rows(server: &Server, rows: u64, pause: Duration) -> Result<(), String> {
    let start = Instant::now();
    loop {
        let (_, metrics) = server.http("/metrics")?;
        let of_partition = |line: &str| line.strip_prefix("tidewater_source_rows_total{")?.rsplit_once(' ')?.1.parse::<u64>().ok();
        let read: u64 = metrics.lines().filter_map(of_partition).sum();
        if read >= rows {
            return Ok(());
        }
        if start.elapsed() > PATIENCE {
            return Err(format!("{read} of {rows} rows are read after {PATIENCE:?}"));
        }
        std::thread::sleep(pause);
    }
}

fn wait_for(client: &mut Client, question: &str, pause: Duration) -> Result<(), String> {
    let start = Instant::now();
    loop {
        let answer = client.try_rows(question).map_err(|e| e.to_string())?;
        if answer[0][0].as_deref() == Some("t") {
            return Ok(());
        }
        if start.elapsed() > PATIENCE {
            return Err(format!("the input is not read after {PATIENCE:?}: {:?}", client.texts("SELECT * FROM tidewater.sources")));
        }
        std::thread::sleep(pause);
    }
}

fn read(client: &mut Client, sql: &str) -> Result<Digest, String> {
    let mut digest = Digest::default();
    client.each_row(sql, |values| digest.add(&values.join("|"))).map_err(|e| e.to_string())?;
    Ok(digest)
}

/// The shipped query, as a view or as a sink.
fn definition(query: &str, way: Way) -> String {
    let text = example(&format!("nexmark/{query}.sql"));
    if way.keeps_rows() {
        return text;
    }
    let sink = text.replace(&format!("CREATE MATERIALIZED VIEW IF NOT EXISTS {query} AS"), &format!("CREATE SINK {query} AS"));
    format!("{} WITH (connector = 'blackhole')", sink.trim_end().trim_end_matches(';'))
}

/// What the sink took, net: as many rows as the view would have.
fn sunk(client: &mut Client) -> Result<Digest, String> {
    let rows = client.try_rows("SELECT inserted - retracted FROM tidewater.sinks").map_err(|e| e.to_string())?;
    Ok(Digest { rows: rows[0][0].as_deref().unwrap_or_default().parse().map_err(|_| "the sink's count".to_string())?, hashes: 0 })
}

fn print_table(table: &[Figures]) {
    if table.is_empty() {
        return;
    }
    println!("\n| query | way | rows read | rows/s | CPU s per million | peak MiB | state MiB | freshness p50, p99 ms | recovery ms | result rows |");
    println!("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    for f in table {
        let (rate, cpu) = (f.rows as f64 / f.seconds, f.cpu_seconds * 1e6 / f.rows as f64);
        println!(
            "| {} | {:?} | {} | {rate:.0} | {cpu:.2} | {:.0} | {:.1} | {:.0}, {:.0} | {:.0} | {} |",
            f.query, f.way, f.rows, f.peak_mib, f.state_mib, f.freshness[0], f.freshness[1], f.recovery, f.result_rows
        );
    }
}
