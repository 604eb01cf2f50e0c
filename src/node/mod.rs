//! Ties the rooms into one program: its settings, what it tells about itself, and the engine that runs the views.

mod blocks;
pub mod building;
pub mod checkpoints;
pub mod config;
pub mod cut;
pub mod data_dir;
pub mod ddl;
pub mod engine;
pub mod engine_api;
pub mod feed;
pub mod http;
pub mod isolated;
pub mod listen;
pub mod listings;
pub mod logs;
pub mod metrics;
#[expect(clippy::module_inception, reason = "the room is named after what it makes")]
pub mod node;
mod numbers;
pub mod pool;
pub mod recover;
pub mod resume;
mod sample;
pub mod scheduler;
pub mod session;
pub mod sessions;
pub mod settings;
pub mod share;
pub mod shared;
pub mod sinks;
pub mod sources;
pub mod statement;
pub mod status;
pub mod subscriptions;
pub mod system;
mod transaction;
pub mod writer;
