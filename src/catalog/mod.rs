//! Named objects and their durable record.

pub mod access;
pub mod catalog;
pub mod object;
pub mod pg;
pub mod roles;
