//! Named objects and their durable record.

pub mod catalog;
pub mod object;
pub mod pg;
