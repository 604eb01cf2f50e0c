//! The words that every room speaks: deltas, keys as bytes, time, names of things, expressions.
//! No input or output, no SQL, no clock.

pub mod copy;
pub mod delta;
pub mod direction;
pub mod expr;
pub mod float;
pub mod ids;
pub mod key;
pub mod pretty;
pub mod records;
pub mod secret;
pub mod text;
pub mod time;
