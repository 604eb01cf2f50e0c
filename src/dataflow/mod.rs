//! The engine: specs, operators, the graph that every worker runs, one epoch at a time.
//! No async, clock, random or io in here: a run can be replayed from its cuts.

pub mod agg;
pub mod check;
pub mod exchange;
#[cfg(test)]
pub mod harness;
pub mod operator;
pub mod ops;
pub mod trial;
pub mod worker;
