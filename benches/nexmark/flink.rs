//! Flink beside Tidewater: the same broker, topics and machine, one query after the other, both into a sink that keeps nothing (`make bench-flink`).
//! What Flink needs is in `benches/flink/`; it is installed once into the home folder's cache.

use super::expected::sources;
use super::{Figures, Way, asked, loaded, measure, per_source};
use crate::kafka::Kafka;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What Flink took for one query.
struct Theirs {
    seconds: f64,
    cpu_seconds: f64,
    peak_mib: f64,
}

/// Stops the cluster, also after a failure.
struct Cluster;

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(script("cluster.sh").arg("stop").status());
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/flink")
}

fn script(name: &str) -> Command {
    Command::new(folder().join(name))
}

/// Only `make bench-flink` runs it: Flink has to be installed, and takes half an hour.
#[test]
fn kafka_slow_bench_nexmark_beside_flink() {
    if std::env::var_os("BENCH_FLINK").is_none() {
        return;
    }
    let (count, queries) = asked();
    let backends = std::env::var("BENCH_BACKENDS").unwrap_or_else(|_| "rocksdb,hashmap".to_string());
    assert!(script("setup.sh").status().unwrap().success(), "benches/flink/setup.sh failed");
    let (prefix, per_source) = (loaded(count), per_source(count));
    let _cluster = Cluster;
    assert!(script("cluster.sh").arg("start").status().unwrap().success(), "benches/flink/cluster.sh start failed");
    println!("\n| query | rows | tidewater rows/s | CPU s | peak MiB | Flink state | rows/s | CPU s | peak MiB | rate | CPU | memory |");
    println!("| --- | ---: | ---: | ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |");
    let mut wrong = Vec::new();
    for query in queries.split(',').filter(|q| folder().join(format!("queries/{q}.sql")).exists()) {
        let rows = sources(query).iter().map(|s| per_source[s]).sum();
        match measure(query, Way::Blackhole, count, rows, &prefix) {
            Err(why) => wrong.push(format!("{query}: {why}")),
            Ok(ours) => backends.split(',').for_each(|backend| match theirs(query, backend, &prefix) {
                Ok(theirs) => print_row(&ours, backend, &theirs),
                Err(why) => wrong.push(format!("{query} on Flink with {backend}: {why}")),
            }),
        }
    }
    assert!(wrong.is_empty(), "no figures for:\n{}", wrong.join("\n"));
}

fn theirs(query: &str, backend: &str, prefix: &str) -> Result<Theirs, String> {
    let mut run = script("run.py");
    run.args([query, backend]).env("KAFKA", Kafka::shared().address()).env("TOPIC_PREFIX", format!("{prefix}-"));
    let output = run.output().map_err(|e| e.to_string())?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or("no message").to_string());
    }
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).map_err(|e| e.to_string())?;
    let number = |name: &str| value[name].as_f64().ok_or(format!("no {name}"));
    Ok(Theirs { seconds: number("seconds")?, cpu_seconds: number("cpu_seconds")?, peak_mib: number("peak_mib")? })
}

/// Ratios are ours to theirs: more rows per second, rows per CPU second, and the share of memory.
fn print_row(ours: &Figures, backend: &str, theirs: &Theirs) {
    let rate = |seconds: f64| ours.rows as f64 / seconds;
    println!(
        "| {} | {} | {:.0} | {:.2} | {:.0} | {backend} | {:.0} | {:.2} | {:.0} | {:.2} | {:.2} | {:.2} |",
        ours.query,
        ours.rows,
        rate(ours.seconds),
        ours.cpu_seconds,
        ours.peak_mib,
        rate(theirs.seconds),
        theirs.cpu_seconds,
        theirs.peak_mib,
        theirs.seconds / ours.seconds,
        theirs.cpu_seconds / ours.cpu_seconds,
        ours.peak_mib / theirs.peak_mib
    );
}
