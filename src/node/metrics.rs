//! What the server measures of itself, by name: one table, so that help, dashboards and documentation agree.
//!
//! Counters and histograms are fed where things happen, through the `metrics` macros and these names; gauges
//! that are a look at state (lag, watermarks, memory) are set by the refresh that `/metrics` calls first.

use crate::error::{Error, Result};
use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

/// Records read from sources; labels source, partition.
pub const SOURCE_ROWS: &str = "tidewater_source_rows_total";
/// Bytes read from sources as received; labels source, partition.
pub const SOURCE_BYTES: &str = "tidewater_source_bytes_total";
/// Records that could not be decoded; label source.
pub const SOURCE_DEAD_LETTERS: &str = "tidewater_source_dead_letters_total";
/// Rows that came for closed windows; label view.
pub const VIEW_LATE_ROWS: &str = "tidewater_view_late_rows_total";
/// How far what an isolated view shows is behind the newest epoch; label view.
pub const VIEW_LAG: &str = "tidewater_view_lag_seconds";
/// Bytes that a sink has still to publish; label sink.
pub const SINK_WAITING: &str = "tidewater_sink_waiting_bytes";
/// Time from the sync of the store to the end of the transaction that publishes.
pub const SINK_SECONDS: &str = "tidewater_sink_transaction_seconds";
/// Whether a sink publishes (1), or tries to (0); label sink.
pub const SINK_UP: &str = "tidewater_sink_up";
/// Records known to wait in a partition; labels source, partition.
pub const SOURCE_LAG: &str = "tidewater_source_lag_rows";
/// How far a source's watermark is behind the clock; label source.
pub const SOURCE_WATERMARK_DELAY: &str = "tidewater_source_watermark_delay_seconds";
/// Newest epoch that views show.
pub const EPOCH: &str = "tidewater_epoch";
/// Newest epoch that survives a power failure.
pub const DURABLE_EPOCH: &str = "tidewater_durable_epoch";
/// Time that one epoch takes.
pub const EPOCH_SECONDS: &str = "tidewater_epoch_seconds";
/// Time from the moment that a reader hands a record over to the epoch that shows it, of the oldest record of each epoch.
pub const FRESHNESS_SECONDS: &str = "tidewater_freshness_seconds";
/// Rows that one epoch takes in.
pub const EPOCH_ROWS: &str = "tidewater_epoch_rows";
/// Time that one checkpoint takes.
pub const CHECKPOINT_SECONDS: &str = "tidewater_checkpoint_seconds";
/// Checkpoints written.
pub const CHECKPOINTS: &str = "tidewater_checkpoints_total";
/// Bytes that the engine's state holds in memory.
pub const STATE_MEMORY: &str = "tidewater_state_memory_bytes";
/// Bytes of the store's files.
pub const STATE_DISK: &str = "tidewater_state_disk_bytes";
/// The limit set by --memory.
pub const MEMORY_LIMIT: &str = "tidewater_memory_limit_bytes";
/// Memory of the process, as the operating system counts it.
pub const PROCESS_MEMORY: &str = "tidewater_process_resident_bytes";
/// Processor time of the process.
pub const PROCESS_CPU: &str = "tidewater_process_cpu_seconds_total";
/// Open client connections.
pub const CONNECTIONS: &str = "tidewater_connections";
/// Statements run; label outcome (ok, error).
pub const STATEMENTS: &str = "tidewater_statements_total";
/// Time since the server started.
pub const UPTIME: &str = "tidewater_uptime_seconds";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Counter,
    Gauge,
    Histogram,
}

/// Every metric: name, shape, unit, help.
const METRICS: &[(&str, Shape, Unit, &str)] = &[
    (SOURCE_ROWS, Shape::Counter, Unit::Count, "records read, by source and partition"),
    (SOURCE_BYTES, Shape::Counter, Unit::Bytes, "bytes read as received, by source and partition"),
    (SOURCE_DEAD_LETTERS, Shape::Counter, Unit::Count, "records that could not be decoded, by source"),
    (VIEW_LATE_ROWS, Shape::Counter, Unit::Count, "rows that came for closed windows, by view"),
    (VIEW_LAG, Shape::Gauge, Unit::Seconds, "how far an isolated view is behind the newest epoch, by view"),
    (SINK_WAITING, Shape::Gauge, Unit::Bytes, "what has still to be published, by sink"),
    (SINK_SECONDS, Shape::Histogram, Unit::Seconds, "time that a sink's transaction takes, the sync of the store before it included"),
    (SINK_UP, Shape::Gauge, Unit::Count, "whether what it is given is published, by sink: 1, or 0 while the other side does not take it"),
    (SOURCE_LAG, Shape::Gauge, Unit::Count, "records known to wait, by source and partition"),
    (SOURCE_WATERMARK_DELAY, Shape::Gauge, Unit::Seconds, "how far the watermark is behind the clock, by source"),
    (EPOCH, Shape::Gauge, Unit::Count, "newest epoch that views show"),
    (DURABLE_EPOCH, Shape::Gauge, Unit::Count, "newest epoch that survives a power failure"),
    (EPOCH_SECONDS, Shape::Histogram, Unit::Seconds, "time that one epoch takes"),
    (FRESHNESS_SECONDS, Shape::Histogram, Unit::Seconds, "time from reading a record to the epoch that shows it, the oldest of each epoch"),
    (EPOCH_ROWS, Shape::Histogram, Unit::Count, "rows that one epoch takes in"),
    (CHECKPOINT_SECONDS, Shape::Histogram, Unit::Seconds, "time that one checkpoint takes"),
    (CHECKPOINTS, Shape::Counter, Unit::Count, "checkpoints written"),
    (STATE_MEMORY, Shape::Gauge, Unit::Bytes, "bytes of state held in memory"),
    (STATE_DISK, Shape::Gauge, Unit::Bytes, "bytes of the store's files"),
    (MEMORY_LIMIT, Shape::Gauge, Unit::Bytes, "the limit set by --memory"),
    (PROCESS_MEMORY, Shape::Gauge, Unit::Bytes, "resident memory of the process"),
    (PROCESS_CPU, Shape::Gauge, Unit::Seconds, "processor time of the process since its start"),
    (CONNECTIONS, Shape::Gauge, Unit::Count, "open client connections"),
    (STATEMENTS, Shape::Counter, Unit::Count, "statements run, by outcome"),
    (UPTIME, Shape::Gauge, Unit::Seconds, "time since the server started"),
];

/// Upper bounds of the histograms' buckets, seconds: a fast epoch is under a millisecond, a slow one is seconds.
const SECONDS_BUCKETS: [f64; 14] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// The same for rows of an epoch.
const ROWS_BUCKETS: [f64; 8] = [1.0, 10.0, 100.0, 1_000.0, 10_000.0, 100_000.0, 1_000_000.0, 10_000_000.0];

/// Installs the recorder for this process and describes every metric; once per process.
pub fn install() -> Result<PrometheusHandle> {
    use metrics_exporter_prometheus::Matcher;
    let builder = PrometheusBuilder::new();
    let handle = builder
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS_BUCKETS)
        .and_then(|b| b.set_buckets_for_metric(Matcher::Suffix("_rows".into()), &ROWS_BUCKETS))
        .and_then(PrometheusBuilder::install_recorder)
        .map_err(|e| Error::internal(format!("cannot install the metrics recorder: {e}")))?;
    describe();
    Ok(handle)
}

fn describe() {
    for &(name, shape, unit, help) in METRICS {
        match shape {
            Shape::Counter => describe_counter!(name, unit, help),
            Shape::Gauge => describe_gauge!(name, unit, help),
            Shape::Histogram => describe_histogram!(name, unit, help),
        }
    }
}

/// Sets the gauges of the process itself.
pub fn refresh_process() {
    if let Some(bytes) = resident_bytes() {
        metrics::gauge!(PROCESS_MEMORY).set(bytes as f64);
    }
    if let Some(seconds) = cpu_seconds() {
        metrics::gauge!(PROCESS_CPU).set(seconds);
    }
}

/// Resident memory of this process.
pub fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// User and system time of this process. The kernel counts in ticks of 10 ms on every Linux.
fn cpu_seconds() -> Option<f64> {
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the program's name in brackets and may hold blanks; utime and stime are fields 14 and 15.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
    Some(ticks / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_prometheus_names_and_unique() {
        let mut seen = HashSet::new();
        for (name, shape, _, help) in METRICS {
            assert!(seen.insert(name), "{name} twice");
            assert!(name.starts_with("tidewater_") && name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{name}");
            assert!(*shape != Shape::Counter || name.ends_with("_total"), "{name} is a counter");
            assert!(!help.is_empty() && !help.ends_with('.'), "{name}");
        }
    }

    #[test]
    fn the_process_can_be_measured() {
        assert!(resident_bytes().unwrap() > 1 << 20);
        assert!(cpu_seconds().unwrap() >= 0.0);
    }
}
