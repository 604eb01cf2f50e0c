//! Bytes in and out.

pub mod connector;
