//! Ties the rooms into one program: its settings, what it tells about itself, and the engine that runs the views.

pub mod config;
pub mod data_dir;
pub mod engine_api;
pub mod http;
pub mod listen;
pub mod logs;
pub mod metrics;
pub mod pool;
pub mod session;
pub mod settings;
pub mod statement;
