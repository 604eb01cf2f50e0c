//! Everything that needs the running program: one link for all of it. Tests that take long or need Kafka say so in
//! their names: `cargo test --release --test it -- --skip kafka --skip slow` leaves the quick ones.
#![allow(clippy::unwrap_used)] // the modules are tests throughout; the lint's own exemption sees only #[test] functions

#[path = "../../benches/connections.rs"]
mod connections_bench;
#[path = "../../benches/latency.rs"]
mod latency_bench;
#[path = "../../benches/lookup.rs"]
mod lookup_bench;
#[path = "../../benches/measure.rs"]
mod measure;
#[path = "../../benches/nexmark/mod.rs"]
mod nexmark_bench;
#[path = "../../benches/subscribe.rs"]
mod subscribe_bench;

mod backpressure;
mod bounded;
mod busy;
mod chains;
mod client;
mod clocked;
mod copying;
mod copying_much;
mod crash;
mod documents;
mod driver_forms;
mod event_time;
mod examples;
mod faults;
mod fraud;
mod hammer;
mod isolated;
mod jobs;
mod judge;
mod kafka;
mod kafka_sink;
mod kafka_source;
mod lookup;
mod memory;
mod oracle;
mod postgres;
mod program;
mod random;
mod renaming;
mod security;
mod server;
mod slt;
mod subscribe;
mod subscribe_forms;
mod temporal;
mod text_forms;
mod tpch;
mod transactions;
mod watermark_state;
mod wire;
