//! Accumulators: what an aggregate function remembers per group, in columns by slot. This is the list.

pub mod accumulator;
pub mod bits;
pub mod bools;
pub mod bytes;
pub mod count;
pub mod exact;
pub mod extreme;
pub mod float_sum;
pub mod function;
pub mod ordered;
pub mod picked;
pub mod regression;
pub mod sum;
pub mod variance;
