//! Tidewater: a SQL streaming database. The rooms, in reading order:
//!
//! - [`error`]: the one error, its kinds and SQLSTATEs
//! - [`types`]: words that all rooms speak: deltas, keys, time, ids, expressions
//! - [`formats`], [`connectors`]: bytes in and out
//! - [`state`]: what is remembered
//! - [`dataflow`]: the engine: operators over deltas
//! - [`catalog`], [`sql`]: names, and text into bound statements
//! - [`plan`]: logical plans into incremental plans
//! - [`views`]: what is served
//! - [`pg`]: the wire
//! - [`node`]: ties the rooms into one program

pub mod catalog;
pub mod connectors;
pub mod dataflow;
pub mod error;
pub mod formats;
pub mod node;
pub mod pg;
pub mod plan;
pub mod sql;
pub mod state;
pub mod types;
pub mod views;
