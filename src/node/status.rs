//! What the HTTP endpoints ask of the running server.

use super::config::Config;
use super::engine::NodeEngine;
use super::http::Status;
use super::metrics as names;
use crate::pg::server::PgStats;
use crate::types::time::{WATERMARK_END, WATERMARK_NONE};
use metrics::{counter, gauge};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

pub struct NodeStatus {
    running: OnceLock<(Arc<NodeEngine>, Arc<PgStats>)>,
    started: Instant,
    memory: u64,
}

impl NodeStatus {
    pub fn new(config: &Config) -> NodeStatus {
        NodeStatus { running: OnceLock::new(), started: Instant::now(), memory: config.memory }
    }

    /// Statements are served from now on.
    pub fn ready(&self, engine: Arc<NodeEngine>, sessions: Arc<PgStats>) {
        let _ = self.running.set((engine, sessions));
    }
}

impl Status for NodeStatus {
    fn not_ready(&self) -> Option<String> {
        self.running.get().is_none().then(|| "recovering the state of the last checkpoint".to_string())
    }

    fn refresh_metrics(&self) {
        gauge!(names::UPTIME).set(self.started.elapsed().as_secs_f64());
        gauge!(names::MEMORY_LIMIT).set(self.memory as f64);
        let Some((engine, sessions)) = self.running.get() else { return };
        gauge!(names::CONNECTIONS).set(sessions.open.load(Relaxed) as f64);
        let (statements, errors) = (sessions.queries.load(Relaxed), sessions.errors.load(Relaxed));
        counter!(names::STATEMENTS, "outcome" => "ok").absolute(statements.saturating_sub(errors));
        counter!(names::STATEMENTS, "outcome" => "error").absolute(errors);
        let shared = &engine.shared;
        let checkpoint = shared.system.checkpoint_status();
        let published = shared.published();
        gauge!(names::EPOCH).set(published.epoch.0 as f64);
        gauge!(names::STATE_DISK).set(published.snapshot.file_bytes(&[], &[u8::MAX]) as f64);
        gauge!(names::DURABLE_EPOCH).set(checkpoint.epoch.0 as f64);
        gauge!(names::STATE_MEMORY).set(shared.system.state_bytes() as f64);
        counter!(names::CHECKPOINTS).absolute(checkpoint.count);
        let catalog = shared.catalog.load();
        let now = shared.clock.now();
        for (id, status) in shared.system.sources() {
            let Some(object) = catalog.get(id) else { continue };
            let name = object.shown_name();
            if status.watermark != WATERMARK_NONE && status.watermark != WATERMARK_END {
                gauge!(names::SOURCE_WATERMARK_DELAY, "source" => name.clone()).set((now - status.watermark) as f64 / 1e6);
            }
            let dead: u64 = status.partitions.values().map(|p| p.dead_letters).sum();
            counter!(names::SOURCE_DEAD_LETTERS, "source" => name.clone()).absolute(dead);
            for (partition, state) in &status.partitions {
                let labels = [("source", name.clone()), ("partition", partition.to_string())];
                counter!(names::SOURCE_ROWS, &labels).absolute(state.rows);
                counter!(names::SOURCE_BYTES, &labels).absolute(state.bytes);
                if let Some(lag) = state.lag {
                    gauge!(names::SOURCE_LAG, &labels).set(lag as f64);
                }
            }
        }
        for (id, outbox) in shared.system.outboxes() {
            if let Some(object) = catalog.get(id) {
                gauge!(names::SINK_WAITING, "sink" => object.shown_name()).set(outbox.waiting().1 as f64);
                gauge!(names::SINK_UP, "sink" => object.shown_name()).set(if outbox.trouble().is_some() { 0.0 } else { 1.0 });
            }
        }
        for view in catalog.objects().filter(|o| o.is_isolated()) {
            if let Some((_, clock)) = shared.shown(view) {
                gauge!(names::VIEW_LAG, "view" => view.shown_name()).set((shared.system.shown_clock() - clock).max(0) as f64 / 1e6);
            }
        }
        let late = shared.system.durable(|d| d.late.iter().map(|(view, kept)| (*view, kept.total)).collect::<Vec<_>>());
        for (view, total) in late {
            if let Some(object) = catalog.get(view) {
                counter!(names::VIEW_LATE_ROWS, "view" => object.shown_name()).absolute(total);
            }
        }
    }
}
