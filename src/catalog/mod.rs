//! Named objects and their durable record.

pub mod object;
