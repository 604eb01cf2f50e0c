//! The wire.

pub mod backend;
